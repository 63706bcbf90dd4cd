/* compute/cuda/update.c -- gd_executor.update and keep: the kernels of optimizer.h, each loaded when it is first needed. */
#include <stddef.h>
#include <string.h>

#include "compute/cuda/executor.h"
#include "compute/cuda/kernel.h"
#include "compute/cuda/optimizer.h"

_Static_assert((int)GD_UPDATE_ADAM == GD__CU_ADAM && (int)GD_UPDATE_RMSPROP == GD__CU_RMSPROP &&
                   (int)GD_UPDATE_MOMENTUM == GD__CU_MOMENTUM && (int)GD_UPDATE_SGD == GD__CU_SGD,
               "the same rules");
_Static_assert(offsetof(gd_kernel_update, average) - offsetof(gd_kernel_update, rate) ==
                   offsetof(gd_update, average) - offsetof(gd_update, rate),
               "the same numbers");
_Static_assert(offsetof(gd_kernel_update, count) == offsetof(gd_kernel_squares, last) &&
                   offsetof(gd_kernel_update, first) == offsetof(gd_kernel_squares, first),
               "an update of all gradients says which squares are summed");

static struct {
    gd__cu_kernels kernels;
    void *function[GD__CU_RULES][2]; /* without and with an average */
    void *squares, *norm, *average, *keep;
    void *numbers, *squaring, *averaging, *keeping; /* a gd_kernel_update, _squares, _average, _keep on the device */
    double *sums;                                   /* there, too */
    size_t n_sums;
} here;

/* ---- the norm ---- */

static gd_status load_one(gd__cu_device *d, gd_status (*text)(gd__cu_kernels *k, int *index), void **function) {
    int index;
    if (*function) return GD_OK;
    GD_TRY(text(&here.kernels, &index));
    return d->load(d, &here.kernels.list[index], function);
}

/* Room for n sums: it grows at the first steps, to what the largest network needs. */
static gd_status make_sums(gd__cu_device *d, size_t n) {
    void *sums, *old = here.sums;
    if (n <= here.n_sums) return GD_OK;
    GD_TRY(d->alloc(d, n * sizeof(double), &sums));
    here.sums = sums;
    here.n_sums = n;
    if (old) GD_TRY(gd__cu_finish());
    return d->free(d, old);
}

static size_t blocks_of(size_t floats) { return (floats + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK; }

/* range: a gd_kernel_squares there. */
static gd_status put_squares(gd__cu_device *d, void *range, const float *x, size_t first, size_t last, double *sums) {
    size_t bytes = (last - first) * sizeof *x, from = first / GD_SQUARES_BLOCK;
    GD_TRY(load_one(d, gd__cu_squares, &here.squares));
    void *arg[GD__CU_SQUARES_ARGS] = {range, (void *)(uintptr_t)x, sums};
    const gd__cu_access access[GD__CU_SQUARES_ARGS] = {{range, sizeof(gd_kernel_squares), false},
                                                       {x + first, bytes, false},
                                                       {sums + from, (blocks_of(last) - from) * sizeof *sums, true}};
    return d->launch(d, gd__cu_stream(), here.squares, gd__cu_squares_grid(last - first), GD__CU_SQUARES_ARGS, arg,
                     access);
}

gd_status gd__cu_sum_squares(const float *x, size_t first, size_t last, double *sums) {
    gd__cu_device *d = gd__cu_get_device();
    const gd_kernel_squares k = {.last = last, .first = first};
    if (first >= last) return GD_OK;
    if (!here.squaring) GD_TRY(d->alloc(d, sizeof k, &here.squaring));
    GD_TRY(gd__cu_put(here.squaring, &k, sizeof k));
    return put_squares(d, here.squaring, x, first, last, sums);
}

/* Decides, on the device, by how much gradients are scaled and whether the update is made. */
static gd_status decide(gd__cu_device *d, const gd_update *u, const float *g, double *norm) {
    size_t n = u->sums ? u->n_sums : blocks_of(u->count);
    const double *sums = u->sums;
    GD_TRY(load_one(d, gd__cu_norm, &here.norm));
    if (!sums) {
        GD_TRY(make_sums(d, n));
        GD_TRY(put_squares(d, here.numbers, g, 0, u->count, here.sums));
        sums = here.sums;
    }
    void *arg[GD__CU_NORM_ARGS] = {here.numbers, (void *)(uintptr_t)sums, norm};
    const gd__cu_access access[GD__CU_NORM_ARGS] = {
        {here.numbers, sizeof(gd_kernel_update), true}, {sums, n * sizeof *sums, false}, {norm, sizeof *norm, true}};
    return d->launch(d, gd__cu_stream(), here.norm, 1, GD__CU_NORM_ARGS, arg, access);
}

/* ---- the update ---- */

static gd_status load_rule(gd__cu_device *d, const gd_update *u, bool average, void **out) {
    void **function = &here.function[u->rule][average];
    int index;
    if (!*function) {
        GD_TRY(gd__cu_optimizer(&here.kernels, (gd__cu_rule)u->rule, average, &index));
        GD_TRY(d->load(d, &here.kernels.list[index], function));
    }
    *out = *function;
    return GD_OK;
}

gd_status gd__cu_update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average,
                        double *norm) {
    gd__cu_device *d = gd__cu_get_device();
    gd_kernel_update k = {.count = u->count,
                          .n_sums = u->sums ? u->n_sums : blocks_of(u->count),
                          .clip_norm = u->clip_norm,
                          .squares = u->rule == GD_UPDATE_ADAM || u->rule == GD_UPDATE_RMSPROP,
                          .made = 1};
    size_t bytes = u->count * sizeof *p;
    void *function = NULL;
    if (!u->count && !(norm && u->sums)) return GD_OK;
    memcpy(&k.rate, &u->rate, offsetof(gd_update, average) - offsetof(gd_update, rate) + sizeof u->average);
    GD_TRY(load_rule(d, u, average != NULL, &function));
    if (!here.numbers) GD_TRY(d->alloc(d, sizeof k, &here.numbers));
    GD_TRY(gd__cu_put(here.numbers, &k, sizeof k));
    if (norm) GD_TRY(decide(d, u, g, norm));
    if (!u->count) return GD_OK; /* others have all of it, and the norm */
    /* An argument that the rule does not know may be anything. */
    void *arg[GD__CU_OPTIMIZER_ARGS] = {here.numbers, p,         (void *)(uintptr_t)g,
                                        m ? m : p,    v ? v : p, average ? average : p};
    const gd__cu_access access[GD__CU_OPTIMIZER_ARGS] = {{here.numbers, sizeof k, false},
                                                         {p, bytes, true},
                                                         {g, bytes, false},
                                                         {arg[3], m ? bytes : 0, true},
                                                         {arg[4], v ? bytes : 0, true},
                                                         {arg[5], average ? bytes : 0, true}};
    return d->launch(d, gd__cu_stream(), function, gd__cu_optimizer_grid(u->count), GD__CU_OPTIMIZER_ARGS, arg, access);
}

/* ---- a moving average by itself ---- */

gd_status gd__cu_move_average(float *average, const float *x, size_t count, float decay, const double *norm) {
    gd__cu_device *d = gd__cu_get_device();
    const gd_kernel_average k = {.count = count, .decay = decay, .judged = norm != NULL};
    size_t bytes = count * sizeof *x;
    if (!count) return GD_OK;
    GD_TRY(load_one(d, gd__cu_average, &here.average));
    if (!here.averaging) GD_TRY(d->alloc(d, sizeof k, &here.averaging));
    GD_TRY(gd__cu_put(here.averaging, &k, sizeof k));
    void *other = norm ? (void *)(uintptr_t)norm : average;
    void *arg[GD__CU_AVERAGE_ARGS] = {here.averaging, average, (void *)(uintptr_t)x, other};
    const gd__cu_access access[GD__CU_AVERAGE_ARGS] = {{here.averaging, sizeof k, false},
                                                       {average, bytes, true},
                                                       {x, bytes, false},
                                                       {other, norm ? sizeof *norm : 0, false}};
    return d->launch(d, gd__cu_stream(), here.average, gd__cu_optimizer_grid(count), GD__CU_AVERAGE_ARGS, arg, access);
}

/* ---- running statistics ---- */

gd_status gd__cu_keep_statistics(float *x, const float *before, float *average, size_t count, float decay,
                                 double *kept) {
    gd__cu_device *d = gd__cu_get_device();
    const gd_kernel_keep k = {.count = count, .decay = decay, .average = average != NULL};
    size_t bytes = count * sizeof *x;
    if (!count) return GD_OK;
    GD_TRY(load_one(d, gd__cu_keep, &here.keep));
    if (!here.keeping) GD_TRY(d->alloc(d, sizeof k, &here.keeping));
    GD_TRY(gd__cu_put(here.keeping, &k, sizeof k));
    void *arg[GD__CU_KEEP_ARGS] = {here.keeping, x, (void *)(uintptr_t)before, average ? average : x, kept};
    const gd__cu_access access[GD__CU_KEEP_ARGS] = {{here.keeping, sizeof k, false},
                                                    {x, bytes, true},
                                                    {before, bytes, false},
                                                    {arg[3], average ? bytes : 0, true},
                                                    {kept, sizeof *kept, true}};
    return d->launch(d, gd__cu_stream(), here.keep, 1, GD__CU_KEEP_ARGS, arg, access);
}

gd_status gd__cu_update_close(gd__cu_device *d) {
    void *const memory[] = {here.numbers, here.squaring, here.averaging, here.keeping, here.sums};
    gd_status st = GD_OK;
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        gd_status gone = d->free(d, memory[i]);
        if (st == GD_OK) st = gone;
    }
    gd__cu_kernels_free(&here.kernels);
    memset(&here, 0, sizeof here);
    return st;
}
