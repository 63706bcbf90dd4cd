/* compute/cpu/group_run.c -- runs a compiled group. See group.h. */
#include <omp.h>
#include <string.h>

#include "compute/cpu/group.h"

/* One thread's view of a run. pointer: inputs, constants, registers, outputs. */
typedef struct worker {
    const gd__group *x;
    const gd_memory *m;
    float **pointer;
    int64_t *fed; /* offset whose row a REPEAT register holds, -1: none */
    double *acc;  /* of one task                                        */
    int64_t reg_size;
} worker;

static int64_t tile_size(const gd__group *x) {
    int64_t n = x->space.tile[GD__ROW] * x->space.tile[GD__COLUMN];
    return (n + 15) / 16 * 16;
}

static int pointers(const gd__group *x) { return x->n_inputs + x->n_consts + x->n_regs + x->n_outputs; }

/* ---- scratch: threads' parts, then the accumulators of all runs where places are cut ---- */

static size_t pointer_bytes(const gd__group *x) { return gd__align64((size_t)pointers(x) * sizeof(float *)); }
static size_t fed_bytes(const gd__group *x) { return gd__align64((size_t)x->n_inputs * sizeof(int64_t)); }
static size_t acc_bytes(const gd__group *x) {
    return x->space.chunks == 1 ? gd__align64((size_t)x->acc_count * sizeof(double)) : 0;
}

static void plan_scratch(gd__group *x, int threads) {
    size_t regs = (size_t)x->n_regs * gd__align64((size_t)tile_size(x) * sizeof(float));
    x->thread_bytes = pointer_bytes(x) + fed_bytes(x) + acc_bytes(x) + regs;
    x->partial_at = x->thread_bytes * (size_t)threads;
    size_t runs = x->space.chunks == 1 ? 0 : (size_t)(x->space.places * x->space.chunks);
    x->base.scratch_bytes = x->partial_at + runs * (size_t)x->acc_count * sizeof(double);
}

static double *partial(const gd__group *x, const gd_memory *m, int64_t run) {
    return (double *)(void *)((char *)m->scratch + x->partial_at) + run * x->acc_count;
}

static worker worker_make(const gd__group *x, const gd_memory *m, int thread) {
    char *at = (char *)m->scratch + x->thread_bytes * (size_t)thread;
    worker w = {.x = x, .m = m, .reg_size = tile_size(x)};
    w.pointer = (float **)(void *)at;
    w.fed = (int64_t *)(void *)(at + pointer_bytes(x));
    w.acc = (double *)(void *)(at + pointer_bytes(x) + fed_bytes(x));
    float *reg = (float *)(void *)(at + pointer_bytes(x) + fed_bytes(x) + acc_bytes(x));
    for (int i = 0; i < x->n_inputs; i++) w.fed[i] = -1;
    for (int i = 0; i < x->n_consts; i++) w.pointer[x->n_inputs + i] = &x->value[i];
    for (int i = 0; i < x->n_regs; i++) w.pointer[x->n_inputs + x->n_consts + i] = reg + i * w.reg_size;
    return w;
}

static float *reg_of(const worker *w, int reg) { return w->pointer[w->x->n_inputs + w->x->n_consts + reg]; }

/* ---- inputs of a tile ---- */

static const void *element(const worker *w, const gd__input *in, int64_t offset) {
    return (const char *)w->m->node[in->node] + (size_t)offset * gd_dtype_bytes(in->dtype);
}

static void convert(const worker *w, const gd__input *in, int64_t offset, float *to, int64_t n) {
    const void *from = element(w, in, offset);
    if (in->dtype == GD_F32) memcpy(to, from, (size_t)n * sizeof *to);
    else if (in->dtype == GD_BF16) w->x->kernels->from_bf16(to, from, n);
    else w->x->kernels->from_u8(to, from, n);
}

/* All rows that a tile can have, by doubling. */
static void repeat_row(const worker *w, const gd__input *in, int64_t offset, float *to) {
    int64_t columns = w->x->space.tile[GD__COLUMN], all = columns * w->x->space.tile[GD__ROW];
    convert(w, in, offset, to, columns);
    for (int64_t done = columns; done < all; done *= 2)
        memcpy(to + done, to, (size_t)(done * 2 > all ? all - done : done) * sizeof *to);
}

static void expand_rows(const worker *w, const gd__input *in, int64_t offset, float *to, int64_t rows,
                        int64_t columns) {
    for (int64_t r = 0; r < rows; r++) {
        float value;
        convert(w, in, offset + r * in->step[GD__ROW], &value, 1);
        for (int64_t c = 0; c < columns; c++) to[r * columns + c] = value;
    }
}

/* Whether an output written before the input's last use has the input's memory. */
static bool clobbered(const worker *w, const gd__input *in) {
    const gd__group *x = w->x;
    for (int o = 0; o < x->n_outputs; o++)
        if (x->output[o].first_write < in->last_use && w->m->node[x->output[o].node] == w->m->node[in->node])
            return true;
    return false;
}

static void feed(worker *w, int i, const int64_t start[GD__DIMS], int64_t rows, int64_t columns) {
    const gd__input *in = &w->x->input[i];
    int64_t offset = 0;
    for (int d = 0; d < GD__DIMS; d++) offset += start[d] * in->step[d];
    float *reg = in->reg >= 0 ? reg_of(w, in->reg) : NULL;
    w->pointer[i] = reg;
    switch (in->feed) {
    case GD__FEED_DIRECT:
        w->pointer[i] = (float *)(uintptr_t)element(w, in, offset);
        if (in->safe_reg >= 0 && clobbered(w, in)) {
            memcpy(reg_of(w, in->safe_reg), w->pointer[i], (size_t)(rows * columns) * sizeof(float));
            w->pointer[i] = reg_of(w, in->safe_reg);
        }
        break;
    case GD__FEED_CONVERT: convert(w, in, offset, reg, rows * columns); break;
    case GD__FEED_NUMBER:
        if (reg) convert(w, in, offset, reg, 1);
        else w->pointer[i] = (float *)(uintptr_t)element(w, in, offset);
        break;
    case GD__FEED_REPEAT:
        if (w->fed[i] != offset) repeat_row(w, in, offset, reg);
        w->fed[i] = offset;
        break;
    case GD__FEED_EXPAND: expand_rows(w, in, offset, reg, rows, columns); break;
    }
}

/* ---- a tile ---- */

static void add_to_sum(const gd__vkernels *k, const gd__sum *s, double *acc, const float *v, int64_t rows,
                       int64_t columns) {
    bool keep_rows = s->keep[GD__ROW] && rows > 1, keep_columns = s->keep[GD__COLUMN];
    if (!keep_rows && keep_columns) k->add_columns(acc, v, rows, columns);
    else if (!keep_rows) *acc += k->total(v, rows * columns);
    else
        for (int64_t r = 0; r < rows; r++) {
            double *to = acc + r * s->acc_step[GD__ROW];
            if (keep_columns) k->add_columns(to, v + r * columns, 1, columns);
            else *to += k->total(v + r * columns, columns);
        }
}

static double *sum_place(const worker *w, const gd__sum *s, double *acc, const int64_t start[GD__DIMS]) {
    double *at = acc + s->acc_at;
    for (int d = 0; d < GD__DIMS; d++)
        if (!w->x->space.free[d]) at += start[d] * s->acc_step[d];
    return at;
}

static void run_instr(const worker *w, const gd__instr *i, const int64_t start[GD__DIMS], int64_t rows, int64_t columns,
                      double *acc) {
    float *const *p = w->pointer;
    int64_t n = rows * columns;
    const float *a = p[i->src_at[0]];
    switch (i->kind) {
    case GD__CALC: i->fn(p[i->dst_at], a, p[i->src_at[1]], p[i->src_at[2]], i->number ? 1 : n, i->attr); break;
    case GD__STORE: memcpy(p[i->dst_at], a, (size_t)n * sizeof *a); break;
    case GD__STORE_BF16: w->x->kernels->to_bf16((uint16_t *)(void *)p[i->dst_at], a, n); break;
    case GD__SUM: {
        const gd__sum *s = &w->x->sum[i->target];
        add_to_sum(w->x->kernels, s, sum_place(w, s, acc, start), a, rows, columns);
    }
    }
}

static void run_tile(worker *w, const int64_t place[GD__DIMS], double *acc) {
    const gd__group *x = w->x;
    const gd__space *s = &x->space;
    int64_t start[GD__DIMS], offset = 0;
    for (int d = 0; d < GD__DIMS; d++) {
        start[d] = place[d] * s->tile[d];
        offset = offset * s->dim[d] + start[d];
    }
    int64_t rows = s->dim[GD__ROW] - start[GD__ROW], columns = s->dim[GD__COLUMN] - start[GD__COLUMN];
    if (rows > s->tile[GD__ROW]) rows = s->tile[GD__ROW];
    if (columns > s->tile[GD__COLUMN]) columns = s->tile[GD__COLUMN];
    for (int i = 0; i < x->n_inputs; i++) feed(w, i, start, rows, columns);
    float **out = w->pointer + x->n_inputs + x->n_consts + x->n_regs;
    for (int o = 0; o < x->n_outputs; o++)
        out[o] = (float *)(void *)((char *)w->m->node[x->output[o].node] +
                                   (size_t)offset * gd_dtype_bytes(x->output[o].dtype));
    for (int i = 0; i < x->n_instrs; i++) run_instr(w, &x->instr[i], start, rows, columns, acc);
}

/* ---- places, runs ---- */

/* index counts the axes that are free (or are not), last fastest. */
static void locate(const gd__space *s, bool free, int64_t index, int64_t place[GD__DIMS]) {
    for (int d = GD__DIMS - 1; d >= 0; d--) {
        if (s->free[d] != free) continue;
        place[d] = index % s->grid[d];
        index /= s->grid[d];
    }
}

static void write_sum(const gd__group *x, const gd_memory *m, const gd__sum *s, const int64_t place[GD__DIMS],
                      const double *acc) {
    int64_t start[GD__DIMS], n[GD__DIMS];
    for (int d = 0; d < GD__DIMS; d++) {
        start[d] = x->space.free[d] ? place[d] * x->space.tile[d] : 0;
        int64_t rest = x->space.dim[d] - start[d];
        n[d] = s->extent[d] < rest ? s->extent[d] : rest;
    }
    float *to = m->node[s->node];
    for (int d = 0; d < GD__DIMS; d++) to += start[d] * s->step[d];
    acc += s->acc_at;
    for (int64_t i = 0; i < n[0]; i++)
        for (int64_t j = 0; j < n[1]; j++)
            for (int64_t r = 0; r < n[2]; r++)
                for (int64_t c = 0; c < n[3]; c++)
                    to[i * s->step[0] + j * s->step[1] + r * s->step[2] + c * s->step[3]] =
                        (float)acc[i * s->acc_step[0] + j * s->acc_step[1] + r * s->acc_step[2] + c * s->acc_step[3]];
}

static void write_sums(const gd__group *x, const gd_memory *m, int64_t place_index, const double *acc) {
    int64_t place[GD__DIMS] = {0};
    locate(&x->space, true, place_index, place);
    for (int i = 0; i < x->n_sums; i++) write_sum(x, m, &x->sum[i], place, acc);
}

static void run_task(worker *w, int64_t task) {
    const gd__group *x = w->x;
    const gd__space *s = &x->space;
    int64_t place[GD__DIMS] = {0}, chunk = task % s->chunks;
    locate(s, true, task / s->chunks, place);
    double *acc = s->chunks == 1 ? w->acc : partial(x, w->m, task);
    if (x->acc_count) memset(acc, 0, (size_t)x->acc_count * sizeof *acc);
    int64_t first = s->runs_tiles * chunk / s->chunks, last = s->runs_tiles * (chunk + 1) / s->chunks;
    for (int64_t t = first; t < last; t++) {
        locate(s, false, t, place);
        run_tile(w, place, acc);
    }
    if (s->chunks == 1 && x->n_sums) write_sums(x, w->m, task, acc);
}

enum { ADD_BLOCK = 512 };

/* Adds the runs of every place in order; the result is in the first run's accumulators. */
static void add_runs(const gd__group *x, const gd_memory *m) {
    int64_t blocks = (x->acc_count + ADD_BLOCK - 1) / ADD_BLOCK, chunks = x->space.chunks;
    int64_t tasks = x->space.places * blocks;
#pragma omp parallel for num_threads(gd__threads_for(tasks *ADD_BLOCK *chunks)) schedule(static)
    for (int64_t t = 0; t < tasks; t++) {
        int64_t first = t % blocks * ADD_BLOCK, n = x->acc_count - first < ADD_BLOCK ? x->acc_count - first : ADD_BLOCK;
        double *to = partial(x, m, t / blocks * chunks) + first;
        for (int64_t c = 1; c < chunks; c++) {
            const double *from = to + c * x->acc_count;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) to[i] += from[i];
        }
    }
    for (int64_t p = 0; p < x->space.places; p++) write_sums(x, m, p, partial(x, m, p * chunks));
}

static gd_status run_group(gd__kernel *k, const gd_memory *m) {
    const gd__group *x = (gd__group *)k;
    const gd__space *s = &x->space;
    int64_t tasks = s->places * s->chunks, elements = 1;
    for (int d = 0; d < GD__DIMS; d++) elements *= s->dim[d];
    int threads = tasks == 1 ? 1 : gd__threads_for(elements * x->work / 4);
#pragma omp parallel num_threads(threads)
    {
        worker w = worker_make(x, m, omp_get_thread_num());
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tasks; t++) run_task(&w, t);
    }
    if (s->chunks > 1) add_runs(x, m);
    return GD_OK;
}

/* ---- making ---- */

static void release_group(gd__kernel *k) {
    gd__group *x = (gd__group *)k;
    gd_arena_free(x->arena);
    gd__kernel_release_plain(k);
}

static void describe(gd__group *x, int members) {
    const gd__space *s = &x->space;
    snprintf(x->base.text, sizeof x->base.text,
             "group %s: %d nodes, %d ops, %d in, %d out, %d sums, %lldx%lld, %lld tasks", x->kernels->name, members,
             x->n_instrs, x->n_inputs, x->n_outputs, x->n_sums, (long long)s->tile[GD__ROW],
             (long long)s->tile[GD__COLUMN], (long long)(s->places * s->chunks));
}

gd_status gd__make_group_with(const gd_view *v, int n, const gd_node *nodes, const gd__vkernels *kernels,
                              gd__kernel **out) {
    gd_status st = GD_OK;
    gd__group *x = gd__kernel_new(sizeof *x, run_group);
    if (!x) GD_FAIL(NOMEM, "cpu: no memory for a group of %d nodes", n);
    x->base.release = release_group;
    x->kernels = kernels;
    x->arena = gd_arena_new();
    if (!x->arena) GD_FAIL_TO(err_release, NOMEM, "cpu: no memory for a group of %d nodes", n);
    GD_TRY_TO(err_release, gd__group_values(v, n, nodes, x));
    gd__group_layout(v->graph, gd__group_shape(v->graph, n, nodes), n, x);
    GD_TRY_TO(err_release, gd__group_finish(x));
    plan_scratch(x, gd__threads_wanted());
    x->base.shared_bytes += gd_arena_used(x->arena);
    describe(x, n);
    *out = &x->base;
    return GD_OK;
err_release:
    release_group(&x->base);
    return st;
}

gd_status gd__make_group(const gd_view *v, int n, const gd_node *nodes, gd__kernel **out) {
    const gd__vkernels *usable[3];
    gd__vkernels_usable(usable);
    return gd__make_group_with(v, n, nodes, usable[0], out);
}

bool gd__group_supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    const gd_node_info *i = gd_graph_at(g, n);
    bool fits = i->dtype == GD_F32 || (i->dtype == GD_BF16 && i->op != GD_OP_SUM);
    if (!fits) snprintf(why, room, "%s to %s; expected f32 or bf16", gd_op_text(i->op), gd_dtype_text(i->dtype));
    return fits;
}
