/* compute/cpu/wino.c -- planning and threading of wino.h.
 *
 * Forward and data pass: a thread takes a block of tiles from transform to output; how tiles are blocked
 * changes no sum. Weight pass: all threads transform a block
 * of tiles, then share the products (point by rows of d), block after block, so every element of d adds
 * its tiles in order. */
#include "compute/cpu/wino.h"

#include <omp.h>
#include <string.h>

enum {
    MIN_BLOCK_BYTES = 2 << 20,
    MAX_BLOCK_BYTES = 4 << 20, /* V and M of one thread         */
    MIN_SHARED_BYTES = 4 << 20,
    MAX_SHARED_BYTES = 16 << 20, /* V of both sides, weight pass */
    MIN_CHANNELS = 16,
    ROW_BLOCK = 48, /* rows of d in one task; every kernel's rows divide it */
    MIN_TILES = 64  /* fewer do not pay for the transform of the weights    */
};

/* ---- plan ---- */

static bool fits(const gd_dnnl_conv *c) {
    for (int i = 0; i < 4; i++)
        if (c->pad[i] != 1) return false;
    return c->r == 4 && c->s == 4 && c->stride == 2 && c->h == 2 * c->p && c->w == 2 * c->q &&
           c->c % MIN_CHANNELS == 0 && c->k % MIN_CHANNELS == 0;
}

static void plan_shape(const gd_dnnl_conv *c, const gd__wino_kernels *k, gd__wino_shape *s) {
    s->m = c->p >= 8 && c->q >= 8 ? 4 : 2;
    s->n = s->m + 1;
    s->points = s->n * s->n;
    s->images = c->n, s->h = c->h, s->w = c->w, s->c = c->c;
    s->k = c->k, s->p = c->p, s->q = c->q;
    s->down = (c->p + s->m - 1) / s->m;
    s->across = (c->q + s->m - 1) / s->m;
    s->tiles = s->images * s->down * s->across;
    s->c_wide = gd__wino_up(c->c, k->columns);
    s->k_wide = gd__wino_up(c->k, k->columns);
}

/* Channels of a tile in V and in M. */
static int64_t v_step(const gd__wino *x) {
    return (x->pass == GD_DNNL_BACKWARD_DATA ? x->shape.k : 4 * x->shape.c) + WINO_PAD;
}

static int64_t m_step(const gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    return (x->pass == GD_DNNL_FORWARD ? s->k_wide : x->pass == GD_DNNL_BACKWARD_DATA ? s->c_wide : s->k) + WINO_PAD;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* A block reads all of U (adds to all of d) once: the larger they are, the larger the block. Measured
 * best: a third of U, for d as much as d. In the weight pass it must not depend on threads. */
static int64_t block_of(const gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    int64_t rows = x->kernels->rows, bytes = s->points * (v_step(x) + m_step(x)) * (int64_t)sizeof(float);
    int64_t u = s->points * 4 * s->c * s->k * (int64_t)sizeof(float);
    if (x->pass == GD_DNNL_BACKWARD_WEIGHTS) {
        int64_t most = clamp(u, MIN_SHARED_BYTES, MAX_SHARED_BYTES) / bytes;
        return most < rows ? rows : most / rows * rows;
    }
    if (x->pass == GD_DNNL_BACKWARD_DATA) u /= 4; /* phase by phase */
    int64_t most = clamp(u / 3, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES) / bytes, share = s->tiles / x->threads;
    if (most > share) most = share;
    return most < 2 * rows ? 2 * rows : most / rows * rows;
}

static void plan_bytes(gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    size_t f = sizeof(float), points = (size_t)s->points;
    size_t columns = x->pass == GD_DNNL_FORWARD ? (size_t)(4 * s->c * s->k_wide)
                     : x->pass == GD_DNNL_BACKWARD_DATA
                         ? (size_t)(4 * s->k * s->c_wide)
                         : (size_t)(gd__wino_d_rows(s, x->kernels->rows) * (4 * s->c + WINO_PAD));
    /* The product kernel may read a vector behind the last row of a matrix. */
    size_t slack = (size_t)(x->kernels->columns + x->kernels->rows) * f;
    x->u_bytes = gd__align64(points * columns * f + slack);
    x->v_bytes = gd__align64(points * (size_t)(s->block * v_step(x)) * f + slack);
    x->m_bytes = gd__align64(points * (size_t)(s->block * m_step(x)) * f + slack);
    size_t each = x->v_bytes + x->m_bytes;
    x->scratch_bytes = x->u_bytes + each * (x->pass == GD_DNNL_BACKWARD_WEIGHTS ? 1 : (size_t)x->threads);
}

bool gd__wino_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__wino *out) {
    if (!fits(c)) return false;
    memset(out, 0, sizeof *out);
    out->kernels = kernels;
    out->pass = c->pass;
    out->threads = threads;
    plan_shape(c, kernels, &out->shape);
    out->shape.block = block_of(out);
    plan_bytes(out);
    return out->shape.tiles >= MIN_TILES;
}

/* ---- run ---- */

typedef struct job {
    const gd__wino *x;
    const float *in, *w;
    float *out, *u, *v, *m; /* v, m: of this thread */
} job;

/* The product takes whole groups of tiles. Those behind the last are not used; as zeros they cost no
 * traps for subnormal numbers. */
static void clear_rest(const job *j, int64_t count, int64_t room) {
    int64_t step = v_step(j->x);
    for (int point = 0; point < j->x->shape.points && count < room; point++)
        memset(j->v + (point * room + count) * step, 0, (size_t)((room - count) * step) * sizeof *j->v);
}

static void forward_block(const job *j, int64_t first, int64_t count) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    int64_t vs = v_step(j->x), ms = m_step(j->x), room = gd__wino_up(count, k->rows);
    k->input_forward(s, j->in, first, count, room, j->v);
    clear_rest(j, count, room);
    for (int point = 0; point < s->points; point++)
        k->product(j->v + point * room * vs, vs, j->u + point * 4 * s->c * s->k_wide, 4 * s->c, room, s->k_wide,
                   j->m + point * room * ms, ms);
    k->output_forward(s, j->m, first, count, room, j->out);
}

static void data_block(const job *j, int64_t first, int64_t count) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    int64_t vs = v_step(j->x), ms = m_step(j->x), room = gd__wino_up(count, k->rows);
    for (int phase = 0; phase < 4; phase++) {
        k->input_data(s, j->in, phase, first, count, room, j->v);
        clear_rest(j, count, room);
        for (int point = 0; point < s->points; point++)
            k->product(j->v + point * room * vs, vs, j->u + (phase * s->points + point) * s->k * s->c_wide, s->k, room,
                       s->c_wide, j->m + point * room * ms, ms);
        k->output_data(s, j->m, phase, first, count, room, j->out);
    }
}

static void transform_weights(const job *j) {
    const gd__wino_shape *s = &j->x->shape;
    int columns = j->x->kernels->columns;
    if (j->x->pass == GD_DNNL_FORWARD) {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < s->k_wide / columns; panel++)
            j->x->kernels->weights_forward(s, j->w, panel, j->u);
        return;
    }
    int64_t panels = s->c_wide / columns;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < 4 * panels; i++) j->x->kernels->weights_data(s, j->w, (int)(i / panels), i % panels, j->u);
}

static void run_tiles(const job *j) {
    const gd__wino_shape *s = &j->x->shape;
    int64_t blocks = (s->tiles + s->block - 1) / s->block;
#pragma omp for schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t first = b * s->block, count = s->tiles - first < s->block ? s->tiles - first : s->block;
        if (j->x->pass == GD_DNNL_FORWARD) forward_block(j, first, count);
        else data_block(j, first, count);
    }
}

/* One task: rows of d of one point. in: x, w: dy. */
static void add_products(const job *j, int64_t task, int64_t count, bool add) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    int64_t vs = v_step(j->x), ms = m_step(j->x), d_rows = gd__wino_d_rows(s, k->rows), ds = 4 * s->c + WINO_PAD;
    int64_t per_point = (d_rows + ROW_BLOCK - 1) / ROW_BLOCK, point = task / per_point,
            row = task % per_point * ROW_BLOCK;
    int64_t rows = d_rows - row < ROW_BLOCK ? d_rows - row : ROW_BLOCK;
    k->outer(j->m + point * s->block * ms + row, ms, j->v + point * s->block * vs, vs, count, rows, 4 * s->c, add,
             j->u + (point * d_rows + row) * ds, ds);
}

static void run_weights(const job *j) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    int64_t tasks = s->points * ((gd__wino_d_rows(s, k->rows) + ROW_BLOCK - 1) / ROW_BLOCK);
    for (int64_t first = 0; first < s->tiles; first += s->block) {
        int64_t count = s->tiles - first < s->block ? s->tiles - first : s->block;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < count; t++) {
            k->input_forward(s, j->in, first + t, 1, s->block, j->v + t * v_step(j->x));
            k->input_weights(s, j->w, first + t, 1, s->block, j->m + t * m_step(j->x));
        }
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tasks; t++) add_products(j, t, count, first > 0);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < s->k; i++) k->output_weights(s, j->u, i, j->out);
}

void gd__wino_run(const gd__wino *x, const float *a, const float *b, float *out, char *scratch) {
    /* Scratch is for x->threads of them. */
#pragma omp parallel num_threads(omp_get_max_threads() < x->threads ? omp_get_max_threads() : x->threads)
    {
        bool weights = x->pass == GD_DNNL_BACKWARD_WEIGHTS;
        size_t each = weights ? 0 : (size_t)omp_get_thread_num() * (x->v_bytes + x->m_bytes);
        char *own = scratch + x->u_bytes + each;
        job j = {.x = x, .in = a, .w = b, .out = out};
        j.u = (float *)(void *)scratch;
        j.v = (float *)(void *)own;
        j.m = (float *)(void *)(own + x->v_bytes);
        if (weights) run_weights(&j);
        else {
            transform_weights(&j);
            run_tiles(&j);
        }
    }
}
