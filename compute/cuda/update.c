/* compute/cuda/update.c -- gd_executor.update and square_sums: the kernels of optimizer.h, each loaded when it is first needed. */
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

static struct {
    gd__cu_kernels kernels;
    void *function[GD__CU_RULES][2]; /* without and with an average */
    void *numbers;                   /* a gd_kernel_update on the device */
    void *squares, *count;           /* function; a u64 on the device */
    double *sums;                    /* on the device */
    size_t n_sums;
} here;

static gd_status load(gd__cu_device *d, const gd_update *u, bool average, void **out) {
    void **function = &here.function[u->rule][average];
    int index;
    if (!here.numbers) GD_TRY(d->alloc(d, sizeof(gd_kernel_update), &here.numbers));
    if (!*function) {
        GD_TRY(gd__cu_optimizer(&here.kernels, (gd__cu_rule)u->rule, average, &index));
        GD_TRY(d->load(d, &here.kernels.list[index], function));
    }
    *out = *function;
    return GD_OK;
}

gd_status gd__cu_update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average) {
    gd__cu_device *d = gd__cu_get_device();
    gd_kernel_update k = {.count = u->count};
    size_t bytes = u->count * sizeof *p;
    void *function = NULL;
    memcpy(&k.rate, &u->rate, offsetof(gd_update, average) - offsetof(gd_update, rate) + sizeof u->average);
    GD_TRY(load(d, u, average != NULL, &function));
    GD_TRY(gd__cu_put(here.numbers, &k, sizeof k));
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

/* Room for n sums: it grows at the first steps, to what the largest network needs. */
static gd_status make_squares(gd__cu_device *d, size_t n) {
    int index;
    void *sums;
    if (!here.count) GD_TRY(d->alloc(d, sizeof(uint64_t), &here.count));
    if (!here.squares) {
        GD_TRY(gd__cu_squares(&here.kernels, &index));
        GD_TRY(d->load(d, &here.kernels.list[index], &here.squares));
    }
    if (n <= here.n_sums) return GD_OK;
    GD_TRY(d->alloc(d, n * sizeof(double), &sums));
    void *old = here.sums; /* nothing runs that uses it: each call has waited */
    here.sums = sums;
    here.n_sums = n;
    return d->free(d, old);
}

gd_status gd__cu_square_sums(const float *x, size_t count, double *out) {
    gd__cu_device *d = gd__cu_get_device();
    size_t n = (count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK, bytes = n * sizeof(double);
    const uint64_t number = count;
    if (!count) return GD_OK;
    GD_TRY(make_squares(d, n));
    GD_TRY(gd__cu_put(here.count, &number, sizeof number));
    void *arg[GD__CU_SQUARES_ARGS] = {here.count, (void *)(uintptr_t)x, here.sums};
    const gd__cu_access access[GD__CU_SQUARES_ARGS] = {
        {here.count, sizeof number, false}, {x, count * sizeof *x, false}, {here.sums, bytes, true}};
    GD_TRY(d->launch(d, gd__cu_stream(), here.squares, gd__cu_squares_grid(count), GD__CU_SQUARES_ARGS, arg, access));
    return gd__cu_get(out, here.sums, bytes);
}

gd_status gd__cu_update_close(gd__cu_device *d) {
    void *const memory[] = {here.numbers, here.count, here.sums};
    gd_status st = GD_OK;
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        gd_status gone = d->free(d, memory[i]);
        if (st == GD_OK) st = gone;
    }
    gd__cu_kernels_free(&here.kernels);
    memset(&here, 0, sizeof here);
    return st;
}
