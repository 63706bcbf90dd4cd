/* compute/cpu/wino_template.h -- see wino.h. Included by one file per instruction set, which defines
 * GD__WSET (the table), GD__WNAME, GD__WROWS, GD__WVECTORS (the product kernel: so many rows times
 * vectors), LANES (floats of a vector), and the functions load, store, spread, fma3 on the type
 * `vector`. */
#include <string.h>

#include "compute/cpu/wino.h"

enum { COLUMNS = GD__WVECTORS * LANES, MAX_N = 5 };
#define ALWAYS static inline __attribute__((always_inline))

/* ---- the small matrices, applied to vectors of channels; m is known when compiled ---- */

ALWAYS void apply_bt(const int m, const vector d[MAX_N], vector o[MAX_N]) {
    if (m == 2) {
        o[0] = d[1] - d[0];
        o[1] = d[1];
        o[2] = d[2] - d[1];
        return;
    }
    const vector two = spread(2.0f), three = spread(3.0f);
    vector a = d[3] - d[1], b = d[2] * two;
    o[0] = (d[0] * two - b) + a;
    o[1] = (d[3] - d[2]) - d[1] * two;
    o[2] = (d[3] - d[2] * three) + d[1] * two;
    o[3] = a;
    o[4] = (d[4] - d[2]) - a * two;
}

ALWAYS void apply_at(const int m, const vector x[MAX_N], vector y[4]) {
    if (m == 2) {
        y[0] = x[0] + x[1];
        y[1] = x[1] + x[2];
        return;
    }
    vector sum = x[1] + x[2], difference = x[1] - x[2];
    y[0] = (x[0] + sum) + x[3];
    y[1] = difference + x[3] * spread(2.0f);
    y[2] = sum + x[3] * spread(4.0f);
    y[3] = (difference + x[3] * spread(8.0f)) + x[4];
}

/* A: the transpose of apply_at. */
ALWAYS void apply_a(const int m, const vector y[4], vector o[MAX_N]) {
    o[0] = y[0];
    o[m] = y[m - 1];
    if (m == 2) {
        o[1] = y[0] + y[1];
        return;
    }
    vector even = y[0] + y[2], odd = y[1] + y[3];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = (y[0] + y[1] * spread(2.0f)) + (y[2] * spread(4.0f) + y[3] * spread(8.0f));
}

ALWAYS void apply_g(const int m, const vector g[2], vector o[MAX_N]) {
    if (m == 2) {
        o[0] = spread(0.0f) - g[0];
        o[1] = g[0] + g[1];
        o[2] = g[1];
        return;
    }
    o[0] = g[0] * spread(0.5f);
    o[1] = (g[0] + g[1]) * spread(-0.5f);
    o[2] = (g[0] - g[1]) * spread(-1.0f / 6);
    o[3] = (g[0] + g[1] * spread(2.0f)) * spread(1.0f / 6);
    o[4] = g[1];
}

/* The transpose of apply_g. */
ALWAYS void apply_gt(const int m, const vector x[MAX_N], vector g[2]) {
    if (m == 2) {
        g[0] = x[1] - x[0];
        g[1] = x[1] + x[2];
        return;
    }
    vector a = x[1] * spread(-0.5f), b = x[2] * spread(-1.0f / 6), c = x[3] * spread(1.0f / 6);
    g[0] = (x[0] * spread(0.5f) + a) + (b + c);
    g[1] = (a - b) + (c * spread(2.0f) + x[4]);
}

typedef enum transform { BT, AT, A, G, GT } transform;

ALWAYS void apply(const int m, const transform t, const vector *in, vector *out) {
    if (t == BT) apply_bt(m, in, out);
    else if (t == AT) apply_at(m, in, out);
    else if (t == A) apply_a(m, in, out);
    else if (t == G) apply_g(m, in, out);
    else apply_gt(m, in, out);
}

/* out [no][no] = T in [ni][ni] T^T */
ALWAYS void apply_both(const int m, const transform t, const int ni, const int no, vector in[MAX_N][MAX_N],
                       vector out[MAX_N][MAX_N]) {
    vector half[MAX_N][MAX_N], column[MAX_N], result[MAX_N];
    for (int j = 0; j < ni; j++) {
        for (int i = 0; i < ni; i++) column[i] = in[i][j];
        apply(m, t, column, result);
        for (int i = 0; i < no; i++) half[i][j] = result[i];
    }
    for (int i = 0; i < no; i++) apply(m, t, half[i], out[i]);
}

/* ---- places ---- */

typedef struct spot {
    int64_t image, p, q; /* first output row and column of a tile */
} spot;

ALWAYS spot spot_of(const gd__wino_shape *s, int64_t tile) {
    int64_t each = s->down * s->across, rest = tile % each;
    return (spot){tile / each, rest / s->across * s->m, rest % s->across * s->m};
}

/* Phase bits: 2 rows, 1 columns; set: odd. */
ALWAYS int odd_row(int phase) { return phase >> 1; }
ALWAYS int odd_column(int phase) { return phase & 1; }

/* Tap t of a phase: odd 0, 2; even 1, 3. */
ALWAYS int tap(int odd, int t) { return 2 * t + !odd; }

ALWAYS void store_points(const int n, vector v[MAX_N][MAX_N], float *to, int64_t point_step) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) store(to + (i * n + j) * point_step, v[i][j]);
}

ALWAYS void load_points(const int n, const float *from, int64_t point_step, vector v[MAX_N][MAX_N]) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) v[i][j] = load(from + (i * n + j) * point_step);
}

/* side x side pixels at rows row0 + i step, columns likewise; zero outside. */
ALWAYS void load_pixels(const float *x, int64_t h, int64_t w, int64_t c, int64_t row0, int64_t column0, int64_t step,
                        const int side, vector d[MAX_N][MAX_N]) {
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            int64_t r = row0 + i * step, v = column0 + j * step;
            bool in = r >= 0 && r < h && v >= 0 && v < w;
            d[i][j] = in ? load(x + (r * w + v) * c) : spread(0.0f);
        }
}

/* ---- inputs ---- */

ALWAYS void input_forward_m(const int m, const gd__wino_shape *s, const float *x, int64_t first, int64_t count,
                            int64_t room, float *v) {
    int64_t step = 4 * s->c + WINO_PAD;
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        const float *image = x + at.image * s->h * s->w * s->c;
        for (int phase = 0; phase < 4; phase++)
            for (int64_t c = 0; c < s->c; c += LANES) {
                vector d[MAX_N][MAX_N], o[MAX_N][MAX_N];
                load_pixels(image + c, s->h, s->w, s->c, 2 * at.p - odd_row(phase), 2 * at.q - odd_column(phase), 2, m + 1, d);
                apply_both(m, BT, m + 1, m + 1, d, o);
                store_points(m + 1, o, v + t * step + phase * s->c + c, room * step);
            }
    }
}

/* The data pass of a phase: X[j] = dy[j] w[0] + dy[j - 1] w[1]; odd phases start one j later. */
ALWAYS void input_data_m(const int m, const gd__wino_shape *s, const float *dy, int phase, int64_t first, int64_t count,
                         int64_t room, float *v) {
    int64_t step = s->k + WINO_PAD;
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        const float *image = dy + at.image * s->p * s->q * s->k;
        for (int64_t k = 0; k < s->k; k += LANES) {
            vector d[MAX_N][MAX_N], o[MAX_N][MAX_N];
            load_pixels(image + k, s->p, s->q, s->k, at.p - 1 + odd_row(phase), at.q - 1 + odd_column(phase), 1, m + 1, d);
            apply_both(m, BT, m + 1, m + 1, d, o);
            store_points(m + 1, o, v + t * step + k, room * step);
        }
    }
}

ALWAYS void input_weights_m(const int m, const gd__wino_shape *s, const float *dy, int64_t first, int64_t count,
                            int64_t room, float *v) {
    int64_t step = s->k + WINO_PAD;
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        const float *image = dy + at.image * s->p * s->q * s->k;
        for (int64_t k = 0; k < s->k; k += LANES) {
            vector d[MAX_N][MAX_N], o[MAX_N][MAX_N];
            load_pixels(image + k, s->p, s->q, s->k, at.p, at.q, 1, m, d);
            apply_both(m, A, m, m + 1, d, o);
            store_points(m + 1, o, v + t * step + k, room * step);
        }
    }
}

/* ---- outputs ---- */

ALWAYS void output_forward_m(const int m, const gd__wino_shape *s, const float *mm, int64_t first, int64_t count,
                             int64_t room, float *y) {
    int64_t step = s->k_wide + WINO_PAD;
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        for (int64_t k = 0; k < s->k; k += LANES) {
            vector x[MAX_N][MAX_N], o[MAX_N][MAX_N];
            load_points(m + 1, mm + t * step + k, room * step, x);
            apply_both(m, AT, m + 1, m, x, o);
            for (int i = 0; i < m; i++)
                for (int j = 0; j < m; j++)
                    if (at.p + i < s->p && at.q + j < s->q)
                        store(y + ((at.image * s->p + at.p + i) * s->q + at.q + j) * s->k + k, o[i][j]);
        }
    }
}

ALWAYS void output_data_m(const int m, const gd__wino_shape *s, const float *mm, int phase, int64_t first, int64_t count,
                          int64_t room, float *dx) {
    int64_t step = s->c_wide + WINO_PAD;
    for (int64_t t = 0; t < count; t++) {
        spot at = spot_of(s, first + t);
        for (int64_t c = 0; c < s->c; c += LANES) {
            vector x[MAX_N][MAX_N], o[MAX_N][MAX_N];
            load_points(m + 1, mm + t * step + c, room * step, x);
            apply_both(m, AT, m + 1, m, x, o);
            for (int i = 0; i < m; i++)
                for (int j = 0; j < m; j++) {
                    int64_t h = 2 * (at.p + i) + odd_row(phase), w = 2 * (at.q + j) + odd_column(phase);
                    if (h < s->h && w < s->w) store(dx + ((at.image * s->h + h) * s->w + w) * s->c + c, o[i][j]);
                }
        }
    }
}

ALWAYS void output_weights_m(const int m, const gd__wino_shape *s, const float *d, int64_t k, float *dw) {
    int64_t step = 4 * s->c + WINO_PAD, point_step = gd__wino_d_rows(s, GD__WROWS) * step;
    for (int phase = 0; phase < 4; phase++)
        for (int64_t c = 0; c < s->c; c += LANES) {
            vector x[MAX_N][MAX_N], g[MAX_N][MAX_N];
            load_points(m + 1, d + k * step + phase * s->c + c, point_step, x);
            apply_both(m, GT, m + 1, 2, x, g);
            for (int i = 0; i < 2; i++)
                for (int j = 0; j < 2; j++)
                    store(dw + ((k * 4 + tap(odd_row(phase), i)) * 4 + tap(odd_column(phase), j)) * s->c + c, g[i][j]);
        }
}

/* ---- weights ---- */

/* The 2x2 taps of a phase of filter k, flipped for the data pass, transformed. */
ALWAYS void taps(const int m, const gd__wino_shape *s, const float *w, int64_t k, int64_t c, int phase, const int flip,
                 vector o[MAX_N][MAX_N]) {
    vector g[MAX_N][MAX_N];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            int r = tap(odd_row(phase), flip ? 1 - i : i), v = tap(odd_column(phase), flip ? 1 - j : j);
            g[i][j] = load(w + ((k * 4 + r) * 4 + v) * s->c + c);
        }
    apply_both(m, G, 2, m + 1, g, o);
}

/* Columns are filters: a block of LANES channels by COLUMNS filters is transposed through `block`. */
ALWAYS void weights_forward_m(const int m, const gd__wino_shape *s, const float *w, int64_t panel, float *u) {
    enum { POINTS = MAX_N * MAX_N };
    float block[POINTS][COLUMNS][LANES];
    const int points = (m + 1) * (m + 1);
    int64_t point_step = 4 * s->c * s->k_wide;
    float *to = u + panel * COLUMNS * 4 * s->c;
    memset(block, 0, sizeof block);
    for (int phase = 0; phase < 4; phase++)
        for (int64_t c = 0; c < s->c; c += LANES) {
            for (int64_t j = 0; j < COLUMNS && panel * COLUMNS + j < s->k; j++) {
                vector o[MAX_N][MAX_N];
                taps(m, s, w, panel * COLUMNS + j, c, phase, 0, o);
                store_points(m + 1, o, block[0][j], COLUMNS * LANES);
            }
            for (int point = 0; point < points; point++)
                for (int i = 0; i < LANES; i++)
                    for (int j = 0; j < COLUMNS; j++)
                        to[point * point_step + (phase * s->c + c + i) * COLUMNS + j] = block[point][j][i];
        }
}

/* Columns are channels: nothing to transpose; those behind the last are zero. */
ALWAYS void weights_data_m(const int m, const gd__wino_shape *s, const float *w, int phase, int64_t panel, float *u) {
    int64_t point_step = s->k * s->c_wide;
    float *to = u + phase * s->points * point_step + panel * COLUMNS * s->k;
    for (int64_t k = 0; k < s->k; k++)
        for (int64_t j = 0; j < COLUMNS; j += LANES) {
            vector o[MAX_N][MAX_N];
            int64_t c = panel * COLUMNS + j;
            if (c < s->c) taps(m, s, w, k, c, phase, 1, o);
            else
                for (int a = 0; a <= m; a++)
                    for (int b = 0; b <= m; b++) o[a][b] = spread(0.0f);
            store_points(m + 1, o, to + k * COLUMNS + j, point_step);
        }
}

/* ---- products ---- */

/* c [rows][columns] (+)= a [rows][depth] b [depth][columns]; a(i, l) = a[i a_row + l a_depth]. */
ALWAYS void kernel(int64_t depth, const float *a, int64_t a_row, int64_t a_depth, const float *b, int64_t b_depth,
                   const bool add, float *c, int64_t c_row) {
    vector sum[GD__WROWS][GD__WVECTORS];
    for (int i = 0; i < GD__WROWS; i++)
        for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = add ? load(c + i * c_row + j * LANES) : spread(0.0f);
    for (int64_t l = 0; l < depth; l++) {
        vector row[GD__WVECTORS];
        for (int j = 0; j < GD__WVECTORS; j++) row[j] = load(b + l * b_depth + j * LANES);
        for (int i = 0; i < GD__WROWS; i++) {
            vector f = spread(a[i * a_row + l * a_depth]);
            for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = fma3(f, row[j], sum[i][j]);
        }
    }
    for (int i = 0; i < GD__WROWS; i++)
        for (int j = 0; j < GD__WVECTORS; j++) store(c + i * c_row + j * LANES, sum[i][j]);
}

static void product(const float *v, int64_t v_step, const float *u, int64_t depth, int64_t room, int64_t wide, float *m,
                    int64_t m_step) {
    for (int64_t j = 0; j < wide; j += COLUMNS)
        for (int64_t i = 0; i < room; i += GD__WROWS)
            kernel(depth, v + i * v_step, v_step, 1, u + j * depth, COLUMNS, false, m + i * m_step + j, m_step);
}

static void outer(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t count, int64_t n_rows,
                  int64_t wide, bool add, float *d, int64_t d_step) {
    for (int64_t j = 0; j < wide; j += COLUMNS)
        for (int64_t i = 0; i < n_rows; i += GD__WROWS)
            if (add) kernel(count, a + i, 1, a_step, b + j, b_step, true, d + i * d_step + j, d_step);
            else kernel(count, a + i, 1, a_step, b + j, b_step, false, d + i * d_step + j, d_step);
}

/* ---- table ---- */

#define BY_M(name, parameters, arguments)                                                           \
    static void name parameters {                                                                   \
        if (s->m == 4) name##_m(4, arguments);                                                      \
        else name##_m(2, arguments);                                                                \
    }
#define LIST(...) __VA_ARGS__

BY_M(weights_forward, (const gd__wino_shape *s, const float *w, int64_t panel, float *u), LIST(s, w, panel, u))
BY_M(weights_data, (const gd__wino_shape *s, const float *w, int phase, int64_t panel, float *u), LIST(s, w, phase, panel, u))
BY_M(input_forward, (const gd__wino_shape *s, const float *x, int64_t first, int64_t count, int64_t room, float *v),
     LIST(s, x, first, count, room, v))
BY_M(input_data, (const gd__wino_shape *s, const float *dy, int phase, int64_t first, int64_t count, int64_t room, float *v),
     LIST(s, dy, phase, first, count, room, v))
BY_M(input_weights, (const gd__wino_shape *s, const float *dy, int64_t first, int64_t count, int64_t room, float *v),
     LIST(s, dy, first, count, room, v))
BY_M(output_forward, (const gd__wino_shape *s, const float *m, int64_t first, int64_t count, int64_t room, float *y),
     LIST(s, m, first, count, room, y))
BY_M(output_data, (const gd__wino_shape *s, const float *m, int phase, int64_t first, int64_t count, int64_t room, float *dx),
     LIST(s, m, phase, first, count, room, dx))
BY_M(output_weights, (const gd__wino_shape *s, const float *d, int64_t k, float *dw), LIST(s, d, k, dw))

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
};
