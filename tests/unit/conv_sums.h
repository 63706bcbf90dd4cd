/* tests/unit/conv_sums.h -- what tests of convolutions compare with, and a table of the largest errors: each
 * implementation is held to its own limit. Included by one file a program. */
#ifndef GANDIST_TESTS_CONV_SUMS_H
#define GANDIST_TESTS_CONV_SUMS_H

#include "compute/cpu/conv.h"
#include "tests/unit/cpu_rig.h"

/* Adds the double sums of c's pass to out. */
static inline void conv_sums(const gd_dnnl_conv *c, const float *a, const float *b, double *out) {
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t i = 0; i < c->p; i++)
            for (int64_t j = 0; j < c->q; j++)
                for (int64_t rs = 0; rs < c->r * c->s; rs++) {
                    int64_t h = i * c->stride + rs / c->s - c->pad[0], v = j * c->stride + rs % c->s - c->pad[2];
                    if (h < 0 || h >= c->h || v < 0 || v >= c->w) continue;
                    int64_t x = ((n * c->h + h) * c->w + v) * c->c, y = ((n * c->p + i) * c->q + j) * c->k;
                    for (int64_t k = 0; k < c->k; k++) {
                        int64_t w = (k * c->r * c->s + rs) * c->c;
                        for (int64_t z = 0; z < c->c; z++)
                            if (c->pass == GD_DNNL_FORWARD) out[y + k] += (double)a[x + z] * (double)b[w + z];
                            else if (c->pass == GD_DNNL_BACKWARD_DATA)
                                out[x + z] += (double)a[y + k] * (double)b[w + z];
                            else out[w + z] += (double)a[x + z] * (double)b[y + k];
                    }
                }
}

/* Normal numbers. owner: caller, free. */
static inline float *conv_numbers(int64_t n, uint32_t stream) {
    const gd_rng rng = {.seed = 7, .purpose = GD_PURPOSE_TEST | stream << 16};
    float *x = rig_alloc((size_t)n * sizeof *x);
    gd_rng_normal(&rng, 0, 0, (uint32_t)n, x);
    return x;
}

typedef struct conv_error { /* of all cases of one name: the largest */
    char name[64];
    double error, limit;
    int cases;
} conv_error;

enum { CONV_ERRORS = 128 };
static conv_error conv_errors[CONV_ERRORS];
static int n_conv_errors;

static inline void conv_record(const char *name, double error, double limit) {
    int i = 0;
    while (i < n_conv_errors && strcmp(conv_errors[i].name, name)) i++;
    assert_true(i < CONV_ERRORS);
    conv_error *e = &conv_errors[i];
    if (i == n_conv_errors) {
        n_conv_errors++;
        snprintf(e->name, sizeof e->name, "%s", name);
        e->limit = limit;
    }
    if (error > e->error) e->error = error;
    e->cases++;
}

/* A group's teardown. */
static inline int conv_print_errors(void **state) {
    (void)state;
    printf("%-48s %9s %8s %5s\n", "implementation", "error", "limit", "cases");
    for (const conv_error *e = conv_errors; e < conv_errors + n_conv_errors; e++)
        printf("%-48s %9.2e %8.0e %5d\n", e->name, e->error, e->limit, e->cases);
    return 0;
}

#endif
