/* compute/cpu/wino.c -- planning and threading of wino.h.
 *
 * Forward and data pass, many tiles: a thread takes a block of tiles from transform to output; the weights
 * are transformed once, before. Few tiles (batch 1): all tiles are transformed once, before, and a thread
 * takes a panel of filters (channels) from its weights to its outputs, so that the transformed weights, up to
 * four times larger than they were, never leave its cache. How work is blocked changes no sum.
 * Weight pass: all threads transform a block of tiles, then share the products (point by rows of d), block
 * after block, so every element of d adds its tiles in order; with one block they share rows of filters
 * from products to dw. */
#include "compute/cpu/wino.h"

#include <omp.h>
#include <string.h>

enum {
    MIN_BLOCK_BYTES = 2 << 20,
    MAX_BLOCK_BYTES = 4 << 20, /* V and M of one thread         */
    MIN_SHARED_BYTES = 4 << 20,
    MAX_SHARED_BYTES = 16 << 20, /* V of both sides, weight pass */
    PANEL_BYTES = 12 << 20,      /* V of all tiles, by panel     */
    PANEL_M_BYTES = 1 << 20,     /* M of a thread, by panel      */
    MAX_GROUP = 4,               /* panels taken together: each group reads all of V */
    MIN_CHANNELS = 16,
    ROW_BLOCK = 48 /* rows of d in one task; every kernel's rows divide it */
};

/* ---- plan ---- */

static bool fits(const gd_dnnl_conv *c) {
    bool side = c->r == c->s && (c->r == 3 || c->r == 4), stride = c->stride == 1 || c->stride == 2;
    return side && stride && c->c % MIN_CHANNELS == 0 && c->k % MIN_CHANNELS == 0;
}

/* Outputs of the pass in one phase: the larger tile, where the map fills it, and where there are enough of them to
 * pay for transformed weights that are 25/9 times larger. */
static int tile_of(int taps, int64_t images, int64_t rows, int64_t columns) {
    enum { FEW_TILES = 32 };
    if (taps == 4) return 3;
    int64_t least = rows < columns ? rows : columns, tiles = images * ((rows + 3) / 4) * ((columns + 3) / 4);
    if (taps == 2) return least >= 8 && tiles >= FEW_TILES ? 4 : 2;
    /* F(2,3) does as many multiplications where F(4,3) hangs half over the edge. */
    return least >= 7 || least % 4 == 0 || least % 4 == 3 ? 4 : 2;
}

static void plan_shape(const gd_dnnl_conv *c, const gd__wino_kernels *k, int tile, gd__wino_shape *s) {
    s->stride = (int)c->stride;
    s->kernel = (int)c->r;
    s->phases = s->stride * s->stride;
    s->taps = (s->kernel + s->stride - 1) / s->stride;
    s->pad_h = c->pad[0], s->pad_w = c->pad[2];
    s->images = c->n, s->h = c->h, s->w = c->w, s->c = c->c;
    s->k = c->k, s->p = c->p, s->q = c->q;
    int64_t rows = c->p, columns = c->q;
    if (c->pass == GD_DNNL_BACKWARD_DATA) {
        rows = columns = 0;
        for (int a = 0; a < s->stride; a++) {
            int64_t down = gd__wino_count(s, s->h, s->pad_h, a), across = gd__wino_count(s, s->w, s->pad_w, a);
            rows = down > rows ? down : rows;
            columns = across > columns ? across : columns;
        }
    }
    s->m = tile ? tile : tile_of(s->taps, s->images, rows, columns);
    s->n = s->m + s->taps - 1;
    s->points = s->n * s->n;
    s->down = (rows + s->m - 1) / s->m;
    s->across = (columns + s->m - 1) / s->m;
    s->tiles = s->images * s->down * s->across;
    s->c_wide = gd__wino_up(c->c, k->columns);
    s->k_wide = gd__wino_up(c->k, k->columns);
}

/* Channels that a point's product sums over; d: columns of a row. */
static int64_t depth_of(const gd__wino *x) {
    return x->pass == GD_DNNL_BACKWARD_DATA ? x->shape.k : x->shape.phases * x->shape.c;
}

/* Channels of a tile in V and in M. */
static int64_t v_step(const gd__wino *x) { return depth_of(x) + WINO_PAD; }

static int64_t m_step(const gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    return (x->pass == GD_DNNL_FORWARD ? s->k_wide : x->pass == GD_DNNL_BACKWARD_DATA ? s->c_wide : s->k) + WINO_PAD;
}

/* U of a point with so many columns; of a phase of the data pass. */
static int64_t u_point(const gd__wino *x, int64_t columns) { return depth_of(x) * columns + WINO_POINT_PAD; }
static int64_t u_phase(const gd__wino *x) { return x->shape.points * u_point(x, x->shape.c_wide); }

/* V with `room` tiles a point. */
static gd__wino_place rows_of(const gd__wino *x, int64_t room) {
    return (gd__wino_place){.point = room * v_step(x), .tile = v_step(x), .width = INT32_MAX};
}

/* V and M of the weight pass, in panels of `width` channels. */
static gd__wino_place panels_of(const gd__wino_shape *s, int64_t channels, int64_t width) {
    int64_t panel = s->block * width;
    return (gd__wino_place){.point = gd__wino_up(channels, width) / width * panel + WINO_POINT_PAD,
                            .tile = width,
                            .panel = panel,
                            .width = width};
}
static gd__wino_place x_panels(const gd__wino *x) {
    return panels_of(&x->shape, x->shape.phases * x->shape.c, x->kernels->columns);
}
static gd__wino_place dy_panels(const gd__wino *x) { return panels_of(&x->shape, x->shape.k, ROW_BLOCK); }

/* Kernel 3 at stride 2 has no tap 3: the phases that would need it contribute nothing to the points at
 * infinity (data pass: at 0, as taps are flipped there). Returns how many of the leading channels count
 * (phases are ordered rows first). */
static int64_t depth_at(const gd__wino *x, int point, int phase) {
    const gd__wino_shape *s = &x->shape;
    int64_t all = depth_of(x);
    if (s->stride == 1 || s->kernel == 4) return all;
    int none = x->pass == GD_DNNL_BACKWARD_DATA ? 0 : s->n - 1;
    bool row = point / s->n == none, column = point % s->n == none;
    if (x->pass == GD_DNNL_BACKWARD_DATA) return (row && phase >> 1) || (column && phase & 1) ? 0 : all;
    return row && column ? s->c : row ? 2 * s->c : column ? 3 * s->c : all;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* The largest group that leaves every thread two. */
static int group_of(const gd__wino *x) {
    int64_t panels = (x->pass == GD_DNNL_FORWARD ? x->shape.k_wide : x->shape.c_wide) / x->kernels->columns;
    int group = MAX_GROUP;
    while (group > 1 && panels < 2 * group * x->threads) group /= 2;
    return group;
}

static int64_t panel_block(const gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    int64_t rows = x->kernels->rows,
            most = PANEL_M_BYTES / (s->points * x->group * x->kernels->columns * (int64_t)sizeof(float));
    most = most < rows ? rows : most / rows * rows;
    int64_t all = gd__wino_up(s->tiles, rows);
    return most < all ? most : all;
}

/* A block reads all of U (adds to all of d) once: the larger they are, the larger the block. Measured
 * best: a third of U, for d as much as d. In the weight pass it must not depend on threads. */
static int64_t block_of(const gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    int64_t rows = x->kernels->rows, bytes = s->points * (v_step(x) + m_step(x)) * (int64_t)sizeof(float);
    int64_t u = s->points * s->phases * s->c * s->k * (int64_t)sizeof(float);
    if (x->pass == GD_DNNL_BACKWARD_WEIGHTS) {
        int64_t most = clamp(u, MIN_SHARED_BYTES, MAX_SHARED_BYTES) / bytes, all = gd__wino_up(s->tiles, rows);
        if (most > all) most = all;
        return most < rows ? rows : most / rows * rows;
    }
    if (x->pass == GD_DNNL_BACKWARD_DATA) u /= s->phases; /* phase by phase */
    int64_t most = clamp(u / 3, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES) / bytes, share = s->tiles / x->threads;
    if (most > share) most = share;
    return most < 2 * rows ? 2 * rows : most / rows * rows;
}

/* By panel where the weights outweigh the tiles: those then stay in the shared cache, panel after panel. */
static bool panels_pay(const gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    if (x->pass == GD_DNNL_BACKWARD_WEIGHTS) return false;
    int64_t v = s->points * gd__wino_up(s->tiles, x->kernels->rows) * v_step(x) * (int64_t)sizeof(float);
    int64_t wide = x->pass == GD_DNNL_FORWARD ? s->k : s->c;
    return v <= PANEL_BYTES && s->tiles <= wide && wide >= 2 * x->kernels->columns;
}

static void plan_bytes(gd__wino *x) {
    const gd__wino_shape *s = &x->shape;
    size_t f = sizeof(float), points = (size_t)s->points, rows = (size_t)x->kernels->rows;
    /* The product kernel may read a vector behind the last row of a matrix. */
    size_t slack = ((size_t)x->kernels->columns + rows) * f, threads = (size_t)x->threads;
    if (x->by_panel) {
        size_t columns = (size_t)(x->group * x->kernels->columns);
        x->u_bytes = gd__align64(points * (size_t)u_point(x, (int64_t)columns) * f);
        x->m_bytes = gd__align64(points * columns * (size_t)s->block * f);
        x->v_bytes = gd__align64(points * (size_t)(gd__wino_up(s->tiles, (int64_t)rows) * v_step(x)) * f + slack);
        x->scratch_bytes = x->v_bytes + threads * (x->u_bytes + x->m_bytes);
        return;
    }
    int64_t u = x->pass == GD_DNNL_FORWARD         ? s->points * u_point(x, s->k_wide)
                : x->pass == GD_DNNL_BACKWARD_DATA ? s->phases * u_phase(x)
                                                   : s->points * gd__wino_up(s->k, (int64_t)rows) * v_step(x);
    bool weights = x->pass == GD_DNNL_BACKWARD_WEIGHTS;
    int64_t v = weights ? x_panels(x).point : s->block * v_step(x),
            m = weights ? dy_panels(x).point : s->block * m_step(x);
    x->u_bytes = gd__align64((size_t)u * f + slack);
    x->v_bytes = gd__align64(points * (size_t)v * f + slack);
    x->m_bytes = gd__align64(points * (size_t)m * f + slack);
    x->scratch_bytes = x->u_bytes + (x->v_bytes + x->m_bytes) * (weights ? 1 : threads);
}

/* tile: its outputs in a dimension; 0: as the map suggests. */
static bool plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, int tile, gd__wino *out) {
    if (!fits(c)) return false;
    memset(out, 0, sizeof *out);
    out->kernels = kernels;
    out->pass = c->pass;
    out->threads = threads;
    plan_shape(c, kernels, tile, &out->shape);
    out->by_panel = panels_pay(out);
    out->group = group_of(out);
    out->shape.block = out->by_panel ? panel_block(out) : block_of(out);
    plan_bytes(out);
    return true;
}

bool gd__wino_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__wino *out) {
    return plan(c, kernels, threads, 0, out);
}

bool gd__wino_plan_other(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__wino *out) {
    if (!plan(c, kernels, threads, 0, out) || out->shape.taps == 4) return false;
    return plan(c, kernels, threads, out->shape.m == 4 ? 2 : 4, out);
}

/* The rule, from tests/bench/ops.c. Fewer tiles than this do not pay for the transform of the weights. */
bool gd__wino_pays(const gd__wino *x) {
    enum { FEWEST = 16 };
    return x->shape.tiles >= FEWEST;
}

/* ---- run ---- */

typedef struct job {
    const gd__wino *x;
    const float *in, *w;
    float *out, *u, *v, *m; /* v, m: of this thread; by panel: u, m */
} job;

/* The product takes whole groups of tiles. Those behind the last are not used; as zeros they cost no
 * traps for subnormal numbers. */
static void clear_rest(const job *j, int64_t count, int64_t room) {
    int64_t step = v_step(j->x);
    for (int point = 0; point < j->x->shape.points && count < room; point++)
        memset(j->v + (point * room + count) * step, 0, (size_t)((room - count) * step) * sizeof *j->v);
}

/* ---- by tiles ---- */

static void forward_block(const job *j, int64_t first, int64_t count) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    int64_t vs = v_step(j->x), ms = m_step(j->x), room = gd__wino_up(count, k->rows), depth = depth_of(j->x);
    k->input_forward(s, j->in, first, count, rows_of(j->x, room), j->v);
    clear_rest(j, count, room);
    for (int point = 0; point < s->points; point++)
        k->product(j->v + point * room * vs, vs, j->u + point * u_point(j->x, s->k_wide), depth * k->columns,
                   depth_at(j->x, point, 0), room, s->k_wide, j->m + point * room * ms, ms);
    k->output_forward(s, j->m, (gd__wino_columns){ms, 0, s->k}, first, count, room, j->out);
}

static void data_block(const job *j, int64_t first, int64_t count) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    int64_t vs = v_step(j->x), ms = m_step(j->x), room = gd__wino_up(count, k->rows);
    for (int phase = 0; phase < s->phases; phase++) {
        k->input_data(s, j->in, phase, first, count, rows_of(j->x, room), j->v);
        clear_rest(j, count, room);
        for (int point = 0; point < s->points; point++)
            k->product(j->v + point * room * vs, vs, j->u + phase * u_phase(j->x) + point * u_point(j->x, s->c_wide),
                       s->k * k->columns, depth_at(j->x, point, phase), room, s->c_wide, j->m + point * room * ms, ms);
        k->output_data(s, j->m, (gd__wino_columns){ms, 0, s->c}, phase, first, count, room, j->out);
    }
}

static void transform_weights(const job *j) {
    const gd__wino_shape *s = &j->x->shape;
    const gd__wino_kernels *k = j->x->kernels;
    int64_t depth = depth_of(j->x);
    if (j->x->pass == GD_DNNL_FORWARD) {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < s->k_wide / k->columns; panel++)
            k->weights_forward(s, j->w, panel, u_point(j->x, s->k_wide), j->u + panel * depth * k->columns);
        return;
    }
    int64_t panels = s->c_wide / k->columns;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < s->phases * panels; i++) {
        int64_t phase = i / panels, panel = i % panels;
        k->weights_data(s, j->w, (int)phase, panel, u_point(j->x, s->c_wide),
                        j->u + phase * u_phase(j->x) + panel * depth * k->columns);
    }
}

static void run_tiles(const job *j) {
    const gd__wino_shape *s = &j->x->shape;
    int64_t blocks = (s->tiles + s->block - 1) / s->block;
    transform_weights(j);
#pragma omp for schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t first = b * s->block, count = s->tiles - first < s->block ? s->tiles - first : s->block;
        if (j->x->pass == GD_DNNL_FORWARD) forward_block(j, first, count);
        else data_block(j, first, count);
    }
}

/* ---- by panels ---- */

static void one_group(const job *j, int phase, int64_t group) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    bool forward = j->x->pass == GD_DNNL_FORWARD;
    int64_t first_panel = group * j->x->group, panels = (forward ? s->k_wide : s->c_wide) / k->columns - first_panel;
    if (panels > j->x->group) panels = j->x->group;
    int64_t vs = v_step(j->x), all = gd__wino_up(s->tiles, k->rows), wide = panels * k->columns,
            panel_step = depth_of(j->x) * k->columns, point_step = u_point(j->x, wide);
    int64_t start = first_panel * k->columns, most = forward ? s->k : s->c;
    gd__wino_columns columns = {wide, start, start + wide < most ? start + wide : most};
    for (int64_t i = 0; i < panels; i++)
        if (forward) k->weights_forward(s, j->w, first_panel + i, point_step, j->u + i * panel_step);
        else k->weights_data(s, j->w, phase, first_panel + i, point_step, j->u + i * panel_step);
    for (int64_t first = 0; first < s->tiles; first += s->block) {
        int64_t count = s->tiles - first < s->block ? s->tiles - first : s->block, room = gd__wino_up(count, k->rows);
        for (int point = 0; point < s->points; point++)
            k->product(j->v + (point * all + first) * vs, vs, j->u + point * point_step, panel_step,
                       depth_at(j->x, point, phase), room, wide, j->m + point * room * wide, wide);
        if (forward) k->output_forward(s, j->m, columns, first, count, room, j->out);
        else k->output_data(s, j->m, columns, phase, first, count, room, j->out);
    }
}

static void run_panels(const job *j) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    bool forward = j->x->pass == GD_DNNL_FORWARD;
    int64_t vs = v_step(j->x), all = gd__wino_up(s->tiles, k->rows),
            panels = (forward ? s->k_wide : s->c_wide) / k->columns;
    for (int phase = 0; phase < (forward ? 1 : s->phases); phase++) {
#pragma omp single nowait
        clear_rest(j, s->tiles, all);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < s->tiles; t++)
            if (forward) k->input_forward(s, j->in, t, 1, rows_of(j->x, all), j->v + t * vs);
            else k->input_data(s, j->in, phase, t, 1, rows_of(j->x, all), j->v + t * vs);
#pragma omp for schedule(dynamic, 1)
        for (int64_t g = 0; g < (panels + j->x->group - 1) / j->x->group; g++) one_group(j, phase, g);
    }
}

/* ---- weights ---- */

/* Rows [row, row + rows) of d of one point; row: of a panel's first. in: x, w: dy. */
static void add_products(const job *j, int point, int64_t row, int64_t rows, int64_t count, bool add) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    const gd__wino_place x = x_panels(j->x), dy = dy_panels(j->x);
    int64_t vs = v_step(j->x), d_rows = gd__wino_up(s->k, k->rows);
    k->outer(j->m + point * dy.point + row / ROW_BLOCK * dy.panel, dy.tile, j->v + point * x.point, x.tile, x.panel,
             count, rows, depth_at(j->x, point, 0), add, j->u + (point * d_rows + row) * vs, vs);
}

static void run_weights(const job *j) {
    const gd__wino_kernels *k = j->x->kernels;
    const gd__wino_shape *s = &j->x->shape;
    const gd__wino_place x = x_panels(j->x), dy = dy_panels(j->x);
    int64_t d_rows = gd__wino_up(s->k, k->rows), blocks = (d_rows + ROW_BLOCK - 1) / ROW_BLOCK;
    for (int64_t first = 0; first < s->tiles; first += s->block) {
        int64_t count = s->tiles - first < s->block ? s->tiles - first : s->block;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < count; t++) {
            k->input_forward(s, j->in, first + t, 1, x, j->v + t * x.tile);
            k->input_weights(s, j->w, first + t, 1, dy, j->m + t * dy.tile);
        }
#pragma omp for schedule(static)
        for (int64_t t = 0; t < s->points * blocks; t++) {
            int64_t row = t % blocks * ROW_BLOCK, rows = d_rows - row < ROW_BLOCK ? d_rows - row : ROW_BLOCK;
            add_products(j, (int)(t / blocks), row, rows, count, first > 0);
        }
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < s->k; i++) k->output_weights(s, j->u + i * v_step(j->x), d_rows * v_step(j->x), i, j->out);
}

void gd__wino_run(const gd__wino *x, const float *a, const float *b, float *out, char *scratch) {
    /* Scratch is for x->threads of them. */
#pragma omp parallel num_threads(omp_get_max_threads() < x->threads ? omp_get_max_threads() : x->threads)
    {
        bool weights = x->pass == GD_DNNL_BACKWARD_WEIGHTS;
        size_t me = (size_t)omp_get_thread_num();
        job j = {.x = x, .in = a, .w = b, .out = out};
        if (x->by_panel) {
            char *own = scratch + x->v_bytes + me * (x->u_bytes + x->m_bytes);
            j.v = (float *)(void *)scratch;
            j.u = (float *)(void *)own;
            j.m = (float *)(void *)(own + x->u_bytes);
            run_panels(&j);
        } else {
            char *own = scratch + x->u_bytes + (weights ? 0 : me * (x->v_bytes + x->m_bytes));
            j.u = (float *)(void *)scratch;
            j.v = (float *)(void *)own;
            j.m = (float *)(void *)(own + x->v_bytes);
            if (weights) run_weights(&j);
            else run_tiles(&j);
        }
    }
}
