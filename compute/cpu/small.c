/* compute/cpu/small.c -- planning and threading of small.h. */
#include "compute/cpu/small.h"

#include <omp.h>
#include <string.h>

enum {
    MOST_PIXELS = 4096,
    FILTERS = 4,         /* of one forward task                                           */
    DEPTH = 64,          /* data: filters packed together, a L1 cache full per panel      */
    MOST_CHANNELS = 256, /* data: packed together                                       */
    GROUPS = 4           /* weights: groups of filters that use an x row while it is in L1 */
};

/* ---- plan ---- */

static bool fits(const gd_dnnl_conv *c, const gd__wino_kernels *k) {
    if (c->n * c->p * c->q > MOST_PIXELS || c->n * c->h * c->w > INT32_MAX || c->c % k->columns) return false;
    return c->pass != GD_DNNL_FORWARD || c->k % FILTERS == 0;
}

/* Floats of a thread's packed rows. */
static int64_t own_floats(const gd__small *x) {
    const gd_dnnl_conv *c = &x->shape;
    if (c->pass == GD_DNNL_FORWARD) return 0;
    return c->pass == GD_DNNL_BACKWARD_WEIGHTS ? x->pixels * x->task : DEPTH * (x->task + WINO_PAD);
}

static int64_t task_of(const gd__small *x) {
    if (x->shape.pass == GD_DNNL_FORWARD) return FILTERS;
    if (x->shape.pass == GD_DNNL_BACKWARD_WEIGHTS) return GROUPS * x->kernels->rows;
    /* Two tasks a thread; MOST_CHANNELS and c are whole columns. */
    int64_t phases = x->shape.stride * x->shape.stride, share = (x->shape.c * phases - 1) / (2 * x->threads) + 1;
    int64_t most = x->shape.c < MOST_CHANNELS ? x->shape.c : MOST_CHANNELS;
    return gd__wino_up(share < most ? share : most, x->kernels->columns);
}

bool gd__small_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__small *out) {
    if (!fits(c, kernels)) return false;
    memset(out, 0, sizeof *out);
    out->kernels = kernels;
    out->shape = *c;
    out->threads = threads;
    out->taps = c->r * c->s;
    out->pixels = c->n * c->p * c->q;
    out->task = task_of(out);
    out->list_bytes = gd__align64((size_t)(out->taps * (out->pixels + 1)) * sizeof(gd__meeting));
    out->own_bytes = gd__align64((size_t)own_floats(out) * sizeof(float));
    out->scratch_bytes = out->list_bytes + (size_t)threads * out->own_bytes;
    return true;
}

/* ---- who meets whom ---- */

/* List of a tap: its first entry's x is how many follow. */
static gd__meeting *list_of(const gd__small *x, gd__meeting *lists, int64_t tap) {
    return lists + tap * (x->pixels + 1);
}

static void fill_list(const gd__small *x, int64_t tap, gd__meeting *list) {
    const gd_dnnl_conv *c = &x->shape;
    int64_t r = tap / c->s - c->pad[0], s = tap % c->s - c->pad[2];
    int32_t count = 0;
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t p = 0; p < c->p; p++)
            for (int64_t q = 0; q < c->q; q++) {
                int64_t h = p * c->stride + r, w = q * c->stride + s;
                if (h < 0 || h >= c->h || w < 0 || w >= c->w) continue;
                list[++count] =
                    (gd__meeting){(int32_t)((n * c->h + h) * c->w + w), (int32_t)((n * c->p + p) * c->q + q)};
            }
    list[0] = (gd__meeting){count, 0};
}

/* ---- passes: one task ---- */

static void forward_task(const gd__small *s, gd__meeting *lists, int64_t k, const float *x, const float *w, float *y) {
    const gd_dnnl_conv *c = &s->shape;
    for (int64_t i = 0; i < s->pixels; i++) memset(y + i * c->k + k, 0, FILTERS * sizeof *y);
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const gd__meeting *at = list_of(s, lists, tap);
        s->kernels->small_dots(at + 1, at->x, x, c->c, w + (k * s->taps + tap) * c->c, s->taps * c->c, y + k, c->k);
    }
}

/* Zeros channels of the pixels of x of one phase: those that the same taps reach. */
static void clear_phase(const gd_dnnl_conv *c, int64_t phase, int64_t first, int64_t wide, float *dx) {
    for (int64_t i = 0; i < c->n * c->h * c->w; i++) {
        int64_t h = i / c->w % c->h + c->pad[0], w = i % c->w + c->pad[2];
        if (h % c->stride * c->stride + w % c->stride != phase) continue;
        memset(dx + i * c->c + first, 0, (size_t)wide * sizeof *dx);
    }
}

/* u [filter][channel] of one tap. Weights of a filter lie far from those of the next: the processor does not
 * foresee them. */
static void pack_channels(const float *w, int64_t w_step, int64_t depth, int64_t wide, float *u, int64_t u_step) {
    enum { AHEAD = 6, LINE = 16 };
    for (int64_t l = 0; l < depth; l++) {
        if (l + AHEAD < depth)
            for (int64_t j = 0; j < wide; j += LINE) __builtin_prefetch(w + (l + AHEAD) * w_step + j);
        memcpy(u + l * u_step, w + l * w_step, (size_t)wide * sizeof *u);
    }
}

/* A phase of some channels of dx. */
static void data_task(const gd__small *s, gd__meeting *lists, int64_t task, const float *dy, const float *w, float *dx,
                      float *u) {
    const gd_dnnl_conv *c = &s->shape;
    int64_t phase = task % (c->stride * c->stride), first = task / (c->stride * c->stride) * s->task;
    int64_t wide = c->c - first < s->task ? c->c - first : s->task, step = s->taps * c->c, u_step = s->task + WINO_PAD;
    clear_phase(c, phase, first, wide, dx);
    for (int64_t k = 0; k < c->k; k += DEPTH)
        for (int64_t tap = 0; tap < s->taps; tap++) {
            const gd__meeting *at = list_of(s, lists, tap);
            int64_t depth = c->k - k < DEPTH ? c->k - k : DEPTH;
            if (tap / c->s % c->stride * c->stride + tap % c->s % c->stride != phase || !at->x) continue;
            pack_channels(w + k * step + tap * c->c + first, step, depth, wide, u, u_step);
            for (int64_t j = 0; j < wide; j += s->kernels->columns)
                s->kernels->small_rows(at + 1, at->x, dy + k, c->k, depth, u + j, u_step, dx + first + j, c->c);
        }
}

/* a [group][pixel of y][filter of the group]: rows of the kernel; those behind the last filter are zero. */
static void pack_filters(const gd__small *s, int64_t first, const float *dy, float *a) {
    int64_t rows = s->kernels->rows, k = s->shape.k;
    for (int64_t g = 0; g < s->task; g += rows)
        for (int64_t i = 0; i < s->pixels; i++)
            for (int64_t j = 0; j < rows; j++)
                a[g * s->pixels + i * rows + j] = first + g + j < k ? dy[i * k + first + g + j] : 0.0f;
}

static void weights_task(const gd__small *s, gd__meeting *lists, int64_t first, const float *x, const float *dy,
                         float *dw, float *a) {
    const gd_dnnl_conv *c = &s->shape;
    int64_t rows = s->kernels->rows, end = c->k - first < s->task ? c->k - first : s->task, step = s->taps * c->c;
    pack_filters(s, first, dy, a);
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const gd__meeting *at = list_of(s, lists, tap);
        for (int64_t g = 0; g < end; g += rows)
            for (int64_t j = 0; j < c->c; j += s->kernels->columns)
                s->kernels->small_outer(at + 1, at->x, a + g * s->pixels, x + j, c->c, end - g,
                                        dw + (first + g) * step + tap * c->c + j, step);
    }
}

/* ---- run ---- */

static int64_t tasks_of(const gd__small *s) {
    const gd_dnnl_conv *c = &s->shape;
    if (c->pass == GD_DNNL_BACKWARD_DATA) return (c->c + s->task - 1) / s->task * c->stride * c->stride;
    return (c->k + s->task - 1) / s->task;
}

void gd__small_run(const gd__small *s, const float *a, const float *b, float *out, char *scratch) {
    int64_t tasks = tasks_of(s);
    /* Scratch is for s->threads of them. */
#pragma omp parallel num_threads(omp_get_max_threads() < s->threads ? omp_get_max_threads() : s->threads)
    {
        gd__meeting *lists = (gd__meeting *)(void *)scratch;
        float *own = (float *)(void *)(scratch + s->list_bytes + (size_t)omp_get_thread_num() * s->own_bytes);
#pragma omp for schedule(static)
        for (int64_t tap = 0; tap < s->taps; tap++) fill_list(s, tap, list_of(s, lists, tap));
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks; i++) {
            if (s->shape.pass == GD_DNNL_FORWARD) forward_task(s, lists, i * s->task, a, b, out);
            else if (s->shape.pass == GD_DNNL_BACKWARD_DATA) data_task(s, lists, i, a, b, out, own);
            else weights_task(s, lists, i * s->task, a, b, out, own);
        }
    }
}

/* The rule, from tests/bench/ops.c: beyond that many pixels oneDNN and Winograd use the weights often enough to
 * pay for bringing them into their own order. */
bool gd__small_pays(const gd__small *x) {
    enum { MOST = 64 };
    return x->pixels <= MOST;
}
