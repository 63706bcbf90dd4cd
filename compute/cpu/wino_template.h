/* compute/cpu/wino_template.h -- see wino.h. Included by one file per instruction set, which defines
 * GD__WSET (the table), GD__WNAME, GD__WROWS, GD__WVECTORS (the product kernel: so many rows times
 * vectors), GD__WDOT_ROWS, LANES (floats of a vector), and the functions load, store, spread, fma3, sum_of_four
 * on the type `vector`; GD__WAHEAD where it pays to fetch what the next tile reads and writes. */
#include <string.h>

#include "compute/cpu/small.h"

enum { COLUMNS = GD__WVECTORS * LANES, MAX_N = 6, MAX_TAPS = 4 };
#define ALWAYS static inline __attribute__((always_inline))

#include "compute/cpu/wino_matrices.h"

/* ---- places ---- */

typedef struct spot {
    int64_t image, p, q; /* first output row and column of a tile */
} spot;

ALWAYS spot spot_of(const gd__wino_shape *s, int64_t tile) {
    int64_t each = s->down * s->across, rest = tile % each;
    return (spot){tile / each, rest / s->across * s->m, rest % s->across * s->m};
}

/* Phase of rows, of columns. */
ALWAYS int row_phase(const gd__wino_shape *s, int phase) { return s->stride == 2 ? phase >> 1 : 0; }
ALWAYS int column_phase(const gd__wino_shape *s, int phase) { return s->stride == 2 ? phase & 1 : 0; }

ALWAYS void store_points(const int n, vector v[MAX_N][MAX_N], float *to, int64_t point_step) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) store(to + (i * n + j) * point_step, v[i][j]);
}

ALWAYS void load_points(const int n, const float *from, int64_t point_step, vector v[MAX_N][MAX_N]) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) v[i][j] = load(from + (i * n + j) * point_step);
}

#ifdef GD__WAHEAD
enum { AHEAD = 1 };
#else
enum { AHEAD = 0 };
#endif

/* Brings near, to be written, the same channels of the next tile of V. */
ALWAYS void expect_points(const int n, const float *to, int64_t point_step) {
    for (int i = 0; AHEAD && i < n * n; i++) __builtin_prefetch(to + i * point_step, 1);
}

/* The same for side x side pixels of an image. */
ALWAYS void expect_pixels(const int side, const float *to, int64_t row, int64_t pixel) {
    for (int i = 0; AHEAD && i < side; i++)
        for (int j = 0; j < side; j++) __builtin_prefetch(to + i * row + j * pixel, 1);
}

/* A window of an image [h][w][c]: pixels at rows row + i step, columns likewise. */
typedef struct window {
    const float *image;
    int64_t h, w, c, row, column, step;
} window;

ALWAYS bool within(const window *d, const int side) {
    return d->row >= 0 && d->column >= 0 && d->row + (side - 1) * d->step < d->h &&
           d->column + (side - 1) * d->step < d->w;
}

/* Fetches what the next window, m pixels to the right, has that this one has not. */
ALWAYS void fetch_next(const window *d, int64_t c, const int side, const int m) {
    const float *at = d->image + (d->row * d->w + d->column + m * d->step) * d->c + c;
    for (int i = 0; AHEAD && i < side; i++)
        for (int j = side - m; j < side; j++) __builtin_prefetch(at + (i * d->w + j) * d->step * d->c);
}

/* side x side pixels of `window` from channel c on; zero outside the image. */
ALWAYS void load_pixels(const window *d, int64_t c, const int side, const bool whole, vector o[MAX_N][MAX_N]) {
    const float *at = d->image + (d->row * d->w + d->column) * d->c + c;
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            int64_t r = d->row + i * d->step, v = d->column + j * d->step;
            bool in = whole || (r >= 0 && r < d->h && v >= 0 && v < d->w);
            o[i][j] = in ? load(at + (i * d->w + j) * d->step * d->c) : spread(0.0f);
        }
}

ALWAYS float *channel_at(const gd__wino_place *at, float *tile, int64_t c) {
    return tile + c / at->width * at->panel + c % at->width;
}

/* All channels of a window, transformed by t, to channels from `from` on of a tile of V. */
ALWAYS void transform_window(const int m, const int taps, const transform t, const window *d, const gd__wino_place *at,
                             int64_t from, float *tile) {
    const int n = m + taps - 1, side = t == A ? m : n;
    const bool whole = within(d, side);
    for (int64_t c = 0; c < d->c; c += LANES) {
        vector x[MAX_N][MAX_N], o[MAX_N][MAX_N];
        float *to = channel_at(at, tile, from + c);
        if (whole) load_pixels(d, c, side, true, x);
        else load_pixels(d, c, side, false, x);
        fetch_next(d, c, side, m);
        /* Rows of V stay in the second cache; panels are shared by all threads and do not. */
        if (at->panel) expect_points(n, to + at->tile, at->point);
        apply_both(m, taps, t, x, o);
        store_points(n, o, to, at->point);
    }
}

/* ---- inputs ---- */

ALWAYS void input_forward_m(const int m, const int taps, const gd__wino_shape *s, const float *x, int64_t first,
                            int64_t count, gd__wino_place to, float *v) {
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        const float *image = x + at.image * s->h * s->w * s->c;
        for (int phase = 0; phase < s->phases; phase++) {
            window d = {.image = image, .h = s->h, .w = s->w, .c = s->c, .step = s->stride};
            d.row = s->stride * at.p + row_phase(s, phase) - s->pad_h;
            d.column = s->stride * at.q + column_phase(s, phase) - s->pad_w;
            transform_window(m, taps, BT, &d, &to, phase * s->c, v + t * to.tile);
        }
    }
}

/* dx_a[j] = sum over t of dy[j - t] w[t]: the taps flipped, the window starts taps - 1 before. */
ALWAYS void input_data_m(const int m, const int taps, const gd__wino_shape *s, const float *dy, int phase,
                         int64_t first, int64_t count, gd__wino_place to, float *v) {
    int64_t row = gd__wino_first(s, s->pad_h, row_phase(s, phase)) - (taps - 1),
            column = gd__wino_first(s, s->pad_w, column_phase(s, phase)) - (taps - 1);
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        window d = {.image = dy + at.image * s->p * s->q * s->k, .h = s->p, .w = s->q, .c = s->k, .step = 1};
        d.row = at.p + row;
        d.column = at.q + column;
        transform_window(m, taps, BT, &d, &to, 0, v + t * to.tile);
    }
}

ALWAYS void input_weights_m(const int m, const int taps, const gd__wino_shape *s, const float *dy, int64_t first,
                            int64_t count, gd__wino_place to, float *v) {
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        window d = {.image = dy + at.image * s->p * s->q * s->k, .h = s->p, .w = s->q, .c = s->k, .step = 1};
        d.row = at.p;
        d.column = at.q;
        transform_window(m, taps, A, &d, &to, 0, v + t * to.tile);
    }
}

/* ---- outputs ---- */

ALWAYS void output_forward_m(const int m, const int taps, const gd__wino_shape *s, const float *mm, gd__wino_columns k,
                             int64_t first, int64_t count, int64_t room, float *y) {
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        float *to = y + ((at.image * s->p + at.p) * s->q + at.q) * s->k;
        int64_t down = s->p - at.p, across = s->q - at.q;
        for (int64_t c = k.first; c < k.end; c += LANES) {
            vector x[MAX_N][MAX_N], o[MAX_N][MAX_N];
            load_points(m + taps - 1, mm + t * k.step + c - k.first, room * k.step, x);
            apply_both(m, taps, AT, x, o);
            for (int i = 0; i < m; i++)
                for (int j = 0; j < m; j++)
                    if (i < down && j < across) store(to + (i * s->q + j) * s->k + c, o[i][j]);
            expect_pixels(m, to + m * s->k + c, s->q * s->k, s->k);
        }
    }
}

ALWAYS void output_data_m(const int m, const int taps, const gd__wino_shape *s, const float *mm, gd__wino_columns c,
                          int phase, int64_t first, int64_t count, int64_t room, float *dx) {
    int a = row_phase(s, phase), b = column_phase(s, phase);
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        int64_t h = s->stride * (gd__wino_first(s, s->pad_h, a) + at.p) + a - s->pad_h,
                w = s->stride * (gd__wino_first(s, s->pad_w, b) + at.q) + b - s->pad_w;
        float *to = dx + ((at.image * s->h + h) * s->w + w) * s->c;
        int64_t down = s->h - h, across = s->w - w;
        for (int64_t l = c.first; l < c.end; l += LANES) {
            vector x[MAX_N][MAX_N], o[MAX_N][MAX_N];
            load_points(m + taps - 1, mm + t * c.step + l - c.first, room * c.step, x);
            apply_both(m, taps, AT, x, o);
            for (int i = 0; i < m; i++)
                for (int j = 0; j < m; j++)
                    if (i * s->stride < down && j * s->stride < across)
                        store(to + (i * s->w + j) * s->stride * s->c + l, o[i][j]);
            expect_pixels(m, to + m * s->stride * s->c + l, s->stride * s->w * s->c, s->stride * s->c);
        }
    }
}

ALWAYS void output_weights_m(const int m, const int taps, const gd__wino_shape *s, const float *d, int64_t point_step,
                             int64_t k, float *dw) {
    for (int phase = 0; phase < s->phases; phase++)
        for (int64_t c = 0; c < s->c; c += LANES) {
            vector x[MAX_N][MAX_N], g[MAX_N][MAX_N];
            load_points(m + taps - 1, d + phase * s->c + c, point_step, x);
            apply_both(m, taps, GT, x, g);
            for (int i = 0; i < taps; i++)
                for (int j = 0; j < taps; j++) {
                    int r = s->stride * i + row_phase(s, phase), v = s->stride * j + column_phase(s, phase);
                    if (r < s->kernel && v < s->kernel)
                        store(dw + ((k * s->kernel + r) * s->kernel + v) * s->c + c, g[i][j]);
                }
        }
}

/* ---- weights ---- */

#ifndef GD__WCOLUMNS
/* o[i]: lane i of every vector. */
ALWAYS void store_columns(const vector v[LANES], float o[LANES][LANES]) {
    float square[LANES][LANES];
    for (int a = 0; a < LANES; a++) store(square[a], v[a]);
    for (int a = 0; a < LANES; a++)
        for (int b = 0; b < LANES; b++) o[a][b] = square[b][a];
}
#endif

/* Columns are filters: LANES filters by LANES channels of a tap are transposed, then transformed. */
typedef float tap_block[MAX_TAPS][MAX_TAPS][LANES][LANES]; /* [tap][channel][filter] */

ALWAYS void load_taps(const int taps, const gd__wino_shape *s, const float *w, int64_t k, int64_t c, int phase,
                      tap_block o) {
    for (int i = 0; i < taps; i++)
        for (int j = 0; j < taps; j++) {
            int r = s->stride * i + row_phase(s, phase), v = s->stride * j + column_phase(s, phase);
            vector square[LANES];
            for (int f = 0; f < LANES; f++) {
                bool in = r < s->kernel && v < s->kernel && k + f < s->k;
                const float *at = w + (((k + f) * s->kernel + r) * s->kernel + v) * s->c + c;
                square[f] = in ? load(at) : spread(0.0f);
                if (AHEAD) __builtin_prefetch(at + LANES);
            }
            store_columns(square, o[i][j]);
        }
}

ALWAYS void weights_forward_m(const int m, const int taps, const gd__wino_shape *s, const float *w, int64_t panel,
                              int64_t point_step, float *u) {
    for (int phase = 0; phase < s->phases; phase++)
        for (int64_t c = 0; c < s->c; c += LANES)
            for (int j = 0; j < COLUMNS; j += LANES) {
                tap_block block;
                load_taps(taps, s, w, panel * COLUMNS + j, c, phase, block);
                for (int l = 0; l < LANES; l++) {
                    vector g[MAX_N][MAX_N], o[MAX_N][MAX_N];
                    for (int a = 0; a < taps; a++)
                        for (int b = 0; b < taps; b++) g[a][b] = load(block[a][b][l]);
                    apply_both(m, taps, G, g, o);
                    store_points(m + taps - 1, o, u + (phase * s->c + c + l) * COLUMNS + j, point_step);
                }
            }
}

/* Columns are channels: nothing to transpose; those behind the last are zero. The taps are flipped. */
ALWAYS void weights_data_m(const int m, const int taps, const gd__wino_shape *s, const float *w, int phase,
                           int64_t panel, int64_t point_step, float *u) {
    int a = row_phase(s, phase), b = column_phase(s, phase);
    for (int64_t k = 0; k < s->k; k++)
        for (int64_t l = 0; l < COLUMNS; l += LANES) {
            vector g[MAX_N][MAX_N], o[MAX_N][MAX_N];
            int64_t c = panel * COLUMNS + l;
            for (int i = 0; i < taps; i++)
                for (int j = 0; j < taps; j++) {
                    int r = s->stride * (taps - 1 - i) + a, v = s->stride * (taps - 1 - j) + b;
                    bool in = c < s->c && r < s->kernel && v < s->kernel;
                    const float *at = w + ((k * s->kernel + r) * s->kernel + v) * s->c + c;
                    g[i][j] = in ? load(at) : spread(0.0f);
                    if (AHEAD) __builtin_prefetch(at + 2 * s->kernel * s->kernel * s->c);
                }
            apply_both(m, taps, G, g, o);
            store_points(m + taps - 1, o, u + k * COLUMNS + l, point_step);
        }
}

/* ---- products ---- */

/* c [rows][columns] (+)= a [rows][depth] b [depth][columns]; a(i, l) = a[i a_row + l a_depth]. Meanwhile brings
 * ahead_step floats a step of depth from `ahead` on near, for a later call. */
ALWAYS void kernel(int64_t depth, const float *a, int64_t a_row, int64_t a_depth, const float *b, int64_t b_depth,
                   const bool add, float *c, int64_t c_row, const float *ahead, int64_t ahead_step) {
    vector sum[GD__WROWS][GD__WVECTORS];
    for (int i = 0; i < GD__WROWS; i++)
        for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = add ? load(c + i * c_row + j * LANES) : spread(0.0f);
    for (int64_t l = 0; l < depth; l++) {
        vector row[GD__WVECTORS];
        for (int j = 0; j < GD__WVECTORS; j++) row[j] = load(b + l * b_depth + j * LANES);
        __builtin_prefetch(ahead + l * ahead_step);
        for (int i = 0; i < GD__WROWS; i++) {
            vector f = spread(a[i * a_row + l * a_depth]);
            for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = fma3(f, row[j], sum[i][j]);
        }
    }
    for (int i = 0; i < GD__WROWS; i++)
        for (int j = 0; j < GD__WVECTORS; j++) store(c + i * c_row + j * LANES, sum[i][j]);
}

/* Panels of U come from far: while one is used, each call fetches its share of the next. */
static void product(const float *v, int64_t v_step, const float *u, int64_t panel_step, int64_t depth, int64_t room,
                    int64_t wide, float *m, int64_t m_step) {
    int64_t calls = room / GD__WROWS, step = calls < COLUMNS ? COLUMNS / (calls ? calls : 1) : 1;
    for (int64_t j = 0; j < wide; j += COLUMNS) {
        const float *panel = u + j / COLUMNS * panel_step, *next = j + COLUMNS < wide ? panel + panel_step : panel;
        for (int64_t i = 0; i < calls; i++)
            kernel(depth, v + i * GD__WROWS * v_step, v_step, 1, panel, COLUMNS, false, m + i * GD__WROWS * m_step + j,
                   m_step, next + i * depth * COLUMNS / calls, step);
    }
}

/* d is large: the rows of the next call are fetched in this one, and its share of b's next panel. */
static void outer(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t b_panel, int64_t count,
                  int64_t n_rows, int64_t wide, bool add, float *d, int64_t d_step) {
    const int64_t calls = (n_rows + GD__WROWS - 1) / GD__WROWS, share = count * b_step / calls;
    for (int64_t j = 0; j < wide; j += COLUMNS, b += b_panel) {
        const float *ahead = j + COLUMNS < wide ? b + b_panel : b;
        for (int64_t i = 0; i < n_rows; i += GD__WROWS, ahead += share) {
            float *to = d + i * d_step + j;
            const float *next = i + GD__WROWS < n_rows ? to + GD__WROWS * d_step : d + j + COLUMNS;
            for (int r = 0; add && r < GD__WROWS; r++) __builtin_prefetch(next + r * d_step, 1);
            if (add) kernel(count, a + i, 1, a_step, b, b_step, true, to, d_step, ahead, b_step / calls);
            else kernel(count, a + i, 1, a_step, b, b_step, false, to, d_step, ahead, b_step / calls);
        }
    }
}

#include "compute/cpu/small_template.h"

/* ---- table ---- */

#define BY_TILE(name, parameters, arguments)                                                        \
    static void name parameters {                                                                   \
        if (s->taps == 2 && s->m == 4) name##_m(4, 2, arguments);                                   \
        else if (s->taps == 2) name##_m(2, 2, arguments);                                           \
        else if (s->taps == 3 && s->m == 4) name##_m(4, 3, arguments);                              \
        else if (s->taps == 3) name##_m(2, 3, arguments);                                           \
        else name##_m(3, 4, arguments);                                                             \
    }
#define LIST(...) __VA_ARGS__

BY_TILE(weights_forward, (const gd__wino_shape *s, const float *w, int64_t panel, int64_t point_step, float *u),
        LIST(s, w, panel, point_step, u))
BY_TILE(weights_data, (const gd__wino_shape *s, const float *w, int phase, int64_t panel, int64_t point_step, float *u),
        LIST(s, w, phase, panel, point_step, u))
BY_TILE(input_forward, (const gd__wino_shape *s, const float *x, int64_t first, int64_t count, gd__wino_place at, float *v),
        LIST(s, x, first, count, at, v))
BY_TILE(input_data,
        (const gd__wino_shape *s, const float *dy, int phase, int64_t first, int64_t count, gd__wino_place at, float *v),
        LIST(s, dy, phase, first, count, at, v))
BY_TILE(input_weights, (const gd__wino_shape *s, const float *dy, int64_t first, int64_t count, gd__wino_place at, float *v),
        LIST(s, dy, first, count, at, v))
BY_TILE(output_forward,
        (const gd__wino_shape *s, const float *m, gd__wino_columns k, int64_t first, int64_t count, int64_t room,
         float *y),
        LIST(s, m, k, first, count, room, y))
BY_TILE(output_data,
        (const gd__wino_shape *s, const float *m, gd__wino_columns c, int phase, int64_t first, int64_t count,
         int64_t room, float *dx),
        LIST(s, m, c, phase, first, count, room, dx))
BY_TILE(output_weights, (const gd__wino_shape *s, const float *d, int64_t point_step, int64_t k, float *dw),
        LIST(s, d, point_step, k, dw))

const gd__wino_kernels GD__WSET = {
    .name = GD__WNAME,
    .rows = GD__WROWS,
    .columns = COLUMNS,
    .weights_forward = weights_forward,
    .weights_data = weights_data,
    .input_forward = input_forward,
    .input_data = input_data,
    .input_weights = input_weights,
    .product = product,
    .outer = outer,
    .output_forward = output_forward,
    .output_data = output_data,
    .output_weights = output_weights,
    .small_dots = small_dots,
    .small_rows = small_rows,
    .small_outer = small_outer,
};
