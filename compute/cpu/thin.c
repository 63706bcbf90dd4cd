/* compute/cpu/thin.c -- see thin.h. */
#include "compute/cpu/thin.h"

#include <omp.h>
#include <string.h>

enum {
    MAX_FEW = 8,
    MAX_TAPS = 512,
    FOLD_ROWS = 16, /* least thin rows of a task: those at its edges are computed by both neighbours */
    PARTS = 16      /* partial weight gradients */
};

/* Four floats at any address. Lanes behind the last channel hold what lies there and are dropped. */
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

/* ---- plan ---- */

static bool sides_of(const gd_dnnl_conv *c, gd__thin *t) {
    bool from_few = c->c <= MAX_FEW && c->k > MAX_FEW && c->pass != GD_DNNL_FORWARD;
    bool to_few = c->k <= MAX_FEW && c->c > MAX_FEW && c->stride == 1 && c->pass != GD_DNNL_BACKWARD_DATA;
    if (!from_few && !to_few) return false;
    t->flip = to_few;
    t->fold = c->pass != GD_DNNL_BACKWARD_WEIGHTS;
    t->images = c->n;
    t->few = to_few ? c->k : c->c;
    t->wide = to_few ? c->c : c->k;
    t->h = to_few ? c->h : c->p, t->w = to_few ? c->w : c->q;
    t->thin_h = to_few ? c->p : c->h, t->thin_w = to_few ? c->q : c->w;
    t->r = c->r, t->s = c->s, t->stride = c->stride;
    t->pad_h = to_few ? c->r - 1 - c->pad[0] : c->pad[0];
    t->pad_w = to_few ? c->s - 1 - c->pad[2] : c->pad[2];
    t->taps = t->r * t->s * t->few;
    return true;
}

/* Floats from one pixel of T to the next, likewise of patches; WINO_PAD also lets `four` read over. */
static int64_t taps_step(const gd__thin *t) {
    int64_t to = t->fold ? t->kernels->columns : t->kernels->rows;
    return gd__wino_up(t->taps, to) + WINO_PAD;
}

/* Pixels of a wide row, at least one group of the product kernel. */
static int64_t row_room(const gd__thin *t) { return t->w > t->kernels->rows ? t->w : t->kernels->rows; }

/* A line of the thin map with its padding, as the taps of one row see it. */
static int64_t line_floats(const gd__thin *t) { return ((t->w - 1) * t->stride + t->s) * t->few + 4; }

/* Wide pixels that meet a thin one in a row, at most. */
static int64_t blocks_met(const gd__thin *t) { return (t->s + t->stride - 1) / t->stride; }

/* A thin row as fold_row sees it; `four` writes over its end. */
static int64_t folded_floats(const gd__thin *t) { return (t->w + blocks_met(t)) * t->stride * t->few + 4; }

static int64_t d_floats(const gd__thin *t) { return gd__wino_up(t->taps, t->kernels->rows) * t->wide; }

/* T of one row of the wide map. */
static size_t taps_bytes(const gd__thin *t) {
    return gd__align64((size_t)(row_room(t) * taps_step(t)) * sizeof(float));
}

static void plan_fold(gd__thin *t) {
    size_t f = sizeof(float);
    int64_t most = t->thin_h / FOLD_ROWS, want = (2 * t->threads + t->images - 1) / t->images;
    t->parts = want < most ? want : most;
    if (t->parts < 1) t->parts = 1;
    t->shared_bytes = gd__align64((size_t)(gd__wino_up(t->taps, t->kernels->columns) * t->wide) * f);
    t->own_bytes = taps_bytes(t) + gd__align64((size_t)(t->kernels->rows * t->wide) * f) +
                   gd__align64((size_t)folded_floats(t) * f);
}

static void plan_outer(gd__thin *t) {
    size_t f = sizeof(float);
    t->parts = t->images * t->h < PARTS ? t->images * t->h : PARTS;
    t->shared_bytes = gd__align64((size_t)(t->parts * d_floats(t)) * f);
    t->own_bytes = gd__align64((size_t)(t->w * taps_step(t)) * f) + gd__align64((size_t)line_floats(t) * f);
}

bool gd__thin_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__thin *out) {
    memset(out, 0, sizeof *out);
    out->kernels = kernels;
    out->threads = threads;
    if (!sides_of(c, out) || out->wide % kernels->columns != 0 || out->taps > MAX_TAPS) return false;
    if (out->fold) plan_fold(out);
    else plan_outer(out);
    out->scratch_bytes = out->shared_bytes + (size_t)threads * out->own_bytes;
    return true;
}

/* Weight element of wide channel l and column (row) j of T (d): [k][r][s][c], flipped or not. */
static int64_t weight_at(const gd__thin *t, int64_t l, int64_t j) {
    if (!t->flip) return l * t->taps + j;
    int64_t tap = t->r * t->s - 1 - j / t->few;
    return (j % t->few * t->r * t->s + tap) * t->wide + l;
}

/* ---- fold ---- */

static void pack_weights(const gd__thin *t, const float *w, float *u) {
    int64_t columns = t->kernels->columns, panels = gd__wino_up(t->taps, columns) / columns;
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t l = 0; l < t->wide; l++)
            for (int64_t j = 0; j < columns; j++) {
                int64_t at = panel * columns + j;
                u[(panel * t->wide + l) * columns + j] = at < t->taps ? w[weight_at(t, l, at)] : 0.0f;
            }
}

/* T of one row of the wide map, for the taps of rows [low, high]. The last pixels are a group of their own
 * that may overlap the one before. */
static void taps_of_row(const gd__thin *t, const float *row, const float *u, int64_t low, int64_t high, float *own,
                        float *copy) {
    const gd__wino_kernels *k = t->kernels;
    int64_t step = taps_step(t), columns = k->columns, whole = t->w / k->rows * k->rows, left = t->w - whole;
    int64_t from = low * t->s * t->few / columns, to = gd__wino_up((high + 1) * t->s * t->few, columns) / columns;
    const float *panel = u + from * columns * t->wide;
    float *out = own + from * columns;
    int64_t wide = (to - from) * columns, panel_step = columns * t->wide;
    k->product(row, t->wide, panel, panel_step, t->wide, whole, wide, out, step);
    if (left && whole) {
        int64_t first = t->w - k->rows;
        k->product(row + first * t->wide, t->wide, panel, panel_step, t->wide, k->rows, wide, out + first * step, step);
    } else if (left) {
        memcpy(copy, row, (size_t)(left * t->wide) * sizeof *copy);
        memset(copy + left * t->wide, 0, (size_t)((k->rows - left) * t->wide) * sizeof *copy);
        k->product(copy, t->wide, panel, panel_step, t->wide, k->rows, wide, out, step);
    }
}

/* Four floats from `from` on, of which those behind the first `valid` count as zero. */
static inline four some_of(const float *from, int64_t valid) {
    four x = *(const four *)from;
    for (int64_t c = 0; c < 4; c++)
        if (c >= valid) x[c] = 0.0f;
    return x;
}

/* Sums of one block of a thin row (fold_line), over the taps of one row. `from`: the first that meets. Lanes behind the
 * block are written too. */
static inline void fold_block_of(const float *from, int64_t met, int64_t whole, int64_t last_taps, int64_t run,
                                 int64_t step, float *to) {
    for (int64_t o = 0; o < run; o += 4) {
        const float *x = from + o;
        four sum = {0};
        for (int64_t j = 0; j < whole; j++, x += run - step) sum += *(const four *)x;
        if (met > whole) sum += some_of(x, last_taps - o);
        *(four *)(to + o) = sum;
    }
}

/* Adds tap row r of T to a row of the thin map. A block is `stride` pixels of that row, which follow each other in
 * memory as the taps do that reach them: taps [j stride, (j + 1) stride) of wide pixel block - j. */
static void fold_row(const gd__thin *t, const float *own, int64_t r, float *line, float *to) {
    const int64_t step = taps_step(t), run = t->stride * t->few, taps = t->s * t->few;
    const int64_t chunks = blocks_met(t), blocks = t->w + chunks - 1, whole = t->s / t->stride;
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block < t->w ? 0 : block - t->w + 1, end = block < chunks ? block + 1 : chunks;
        const float *from = own + r * taps + (block - first) * step + first * run;
        int64_t full = end < whole ? end - first : whole - first;
        fold_block_of(from, end - first, full > 0 ? full : 0, taps - whole * run, run, step, line + block * run);
    }
    int64_t before = t->pad_w * t->few, skip = before > 0 ? before : 0, room = t->thin_w * t->few + before;
    int64_t last = blocks * run < room ? blocks * run : room;
    for (int64_t i = skip; i < last; i++) to[i - before] += line[i];
}

/* Thin rows [first, end) of an image. */
static void fold_block(const gd__thin *t, const float *wide, const float *u, int64_t image, int64_t first, int64_t end,
                       float *thin, float *own, float *copy, float *line) {
    float *rows = thin + image * t->thin_h * t->thin_w * t->few;
    memset(rows + first * t->thin_w * t->few, 0, (size_t)((end - first) * t->thin_w * t->few) * sizeof *thin);
    for (int64_t i = 0; i < t->h; i++) {
        int64_t at = i * t->stride - t->pad_h, low = first - at, high = end - 1 - at; /* row at + r */
        if (low < 0) low = 0;
        if (high > t->r - 1) high = t->r - 1;
        if (low > high) continue;
        taps_of_row(t, wide + (image * t->h + i) * t->w * t->wide, u, low, high, own, copy);
        for (int64_t r = low; r <= high; r++) fold_row(t, own, r, line, rows + (at + r) * t->thin_w * t->few);
    }
}

static void run_fold(const gd__thin *t, const float *wide, const float *w, float *thin, float *u, float *own) {
    float *copy = own + taps_bytes(t) / sizeof(float);
    float *line = copy + gd__align64((size_t)(t->kernels->rows * t->wide) * sizeof(float)) / sizeof(float);
    pack_weights(t, w, u);
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < t->images * t->parts; i++) {
        int64_t part = i % t->parts, first = part * t->thin_h / t->parts, end = (part + 1) * t->thin_h / t->parts;
        fold_block(t, wide, u, i / t->parts, first, end, thin, own, copy, line);
    }
}

/* ---- outer ---- */

/* Tap row r of the patches under one row of the wide map, from a line of the thin map (NULL: padding). */
static void patch_row(const gd__thin *t, const float *from, int64_t r, float *line, float *patch) {
    int64_t run = t->s * t->few, step = taps_step(t), length = (t->w - 1) * t->stride + t->s;
    int64_t before = t->pad_w < 0 ? 0 : t->pad_w < length ? t->pad_w : length, skip = t->pad_w < 0 ? -t->pad_w : 0;
    int64_t inside = t->thin_w - skip < length - before ? t->thin_w - skip : length - before;
    if (!from || inside < 0) inside = 0;
    memset(line, 0, (size_t)line_floats(t) * sizeof *line);
    if (inside) memcpy(line + before * t->few, from + skip * t->few, (size_t)(inside * t->few) * sizeof *line);
    for (int64_t q = 0; q < t->w; q++) {
        const float *x = line + q * t->stride * t->few;
        float *to = patch + q * step + r * run;
        for (int64_t j = 0; j < run; j += 4) *(four *)(to + j) = *(const four *)(x + j);
    }
}

/* Partial sum number `part`: a block of the rows of all images, in order. */
static void outer_part(const gd__thin *t, const float *thin, const float *wide, int64_t part, float *d, float *patch,
                       float *line) {
    const gd__wino_kernels *k = t->kernels;
    int64_t rows = t->images * t->h, first = part * rows / t->parts, end = (part + 1) * rows / t->parts;
    int64_t step = taps_step(t), n_rows = gd__wino_up(t->taps, k->rows);
    for (int64_t i = first; i < end; i++) {
        for (int64_t r = 0; r < t->r; r++) {
            int64_t at = i % t->h * t->stride + r - t->pad_h;
            bool in = at >= 0 && at < t->thin_h;
            patch_row(t, in ? thin + (i / t->h * t->thin_h + at) * t->thin_w * t->few : NULL, r, line, patch);
        }
        for (int64_t q = 0; q < t->w; q++)
            memset(patch + q * step + t->taps, 0, (size_t)(n_rows - t->taps) * sizeof *patch);
        k->outer(patch, step, wide + i * t->w * t->wide, t->wide, k->columns, t->w, n_rows, t->wide, i > first, d,
                 t->wide);
    }
}

static void run_outer(const gd__thin *t, const float *thin, const float *wide, float *dw, float *d, float *own) {
    float *line = own + gd__align64((size_t)(t->w * taps_step(t)) * sizeof(float)) / sizeof(float);
    int64_t each = d_floats(t);
#pragma omp for schedule(dynamic, 1)
    for (int64_t part = 0; part < t->parts; part++) outer_part(t, thin, wide, part, d + part * each, own, line);
#pragma omp for schedule(static)
    for (int64_t j = 0; j < t->taps; j++)
        for (int64_t l = 0; l < t->wide; l++) {
            float sum = d[j * t->wide + l];
            for (int64_t part = 1; part < t->parts; part++) sum += d[part * each + j * t->wide + l];
            dw[weight_at(t, l, j)] = sum;
        }
}

void gd__thin_run(const gd__thin *t, const float *a, const float *b, float *out, char *scratch) {
#pragma omp parallel num_threads(omp_get_max_threads() < t->threads ? omp_get_max_threads() : t->threads)
    {
        float *shared = (float *)(void *)scratch;
        float *own = (float *)(void *)(scratch + t->shared_bytes + (size_t)omp_get_thread_num() * t->own_bytes);
        if (t->fold) run_fold(t, a, b, out, shared, own);
        /* Weight passes get x, dy. */
        else if (t->flip) run_outer(t, b, a, out, shared, own);
        else run_outer(t, a, b, out, shared, own);
    }
}
