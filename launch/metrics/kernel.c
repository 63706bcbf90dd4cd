#include "launch/metrics/kernel.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 1000, BLOCK_MIN = 50, BLOCKS = 10 };

static gd_points part(const gd_points *p, int64_t first, int64_t n) {
    return (gd_points){n, p->d, p->f32 ? p->f32 + first * p->d : NULL, p->u8 ? p->u8 + first * p->d : NULL};
}

/* Sum of the kernel over all pairs of a row of a and one of t; same: without the pairs of a row with itself.
 * Rows are added in order, so the number of threads does not matter. */
static gd_status kernel_sum(const gd_points *a, const gd__tiles *t, bool same, double *out) {
    double *row_sum = calloc((size_t)a->n, sizeof *row_sum);
    bool lost = !row_sum;
#pragma omp parallel reduction(|| : lost)
    {
        float *room = malloc((size_t)a->d * sizeof *room);
        lost = lost || !room;
#pragma omp for
        for (int64_t i = 0; i < a->n; i++) {
            double product[GD__TILE], sum = 0;
            if (!room || !row_sum) continue;
            const float *x = gd_points_row(a, i, room);
            for (int64_t b = 0; b < t->count; b++) {
                int rows = gd__tiles_rows(t, b);
                gd__tiles_products(t, b, x, product);
                for (int k = 0; k < rows; k++) {
                    double v = product[k] / (double)a->d + 1;
                    if (!same || b * GD__TILE + k != i) sum += v * v * v;
                }
            }
            row_sum[i] = sum;
        }
        free(room);
    }
    *out = 0;
    for (int64_t i = 0; i < a->n && !lost; i++) *out += row_sum[i];
    free(row_sum);
    if (lost) GD_FAIL(NOMEM, "kernel distance of %lld vectors", (long long)a->n);
    return GD_OK;
}

static gd_status block_value(const gd_points *a, const gd_points *b, double *out) {
    gd__tiles ta = {0}, tb = {0};
    double aa, bb, ab, m = (double)a->n;
    gd_status st;
    GD_TRY_TO(done, gd__tiles_make(a, &ta));
    GD_TRY_TO(done, gd__tiles_make(b, &tb));
    GD_TRY_TO(done, kernel_sum(a, &ta, true, &aa));
    GD_TRY_TO(done, kernel_sum(b, &tb, true, &bb));
    GD_TRY_TO(done, kernel_sum(a, &tb, false, &ab));
    *out = (aa + bb) / (m * (m - 1)) - 2 * ab / (m * m);
done:
    gd__tiles_free(&ta);
    gd__tiles_free(&tb);
    return st;
}

static int64_t block_size(int64_t n) {
    if (n >= BLOCK * BLOCKS) return BLOCK;
    int64_t tenth = n / BLOCKS;
    return tenth >= BLOCK_MIN ? tenth : n < BLOCK_MIN ? n : BLOCK_MIN;
}

gd_status gd_kernel_distance(const gd_points *a, const gd_points *b, gd_kid *out) {
    int64_t n = a->n < b->n ? a->n : b->n, size = block_size(n);
    if (a->d != b->d)
        GD_FAIL(SHAPE, "kernel distance: vectors of %lld and of %lld numbers", (long long)a->d, (long long)b->d);
    if (n < 2) GD_FAIL(DATA, "kernel distance: %lld samples; at least 2 are needed", (long long)n);
    double sum = 0, squares = 0;
    int blocks = (int)(n / size);
    for (int i = 0; i < blocks; i++) {
        gd_points x = part(a, i * size, size), y = part(b, i * size, size);
        double v;
        GD_TRY(block_value(&x, &y, &v));
        if (!isfinite(v)) GD_FAIL(NUMERIC, "kernel distance: the features are not finite");
        sum += v;
        squares += v * v;
    }
    double mean = sum / blocks, spread = squares / blocks - mean * mean;
    *out = (gd_kid){mean, blocks > 1 ? sqrt((spread > 0 ? spread : 0) / (blocks - 1)) : NAN, blocks, size};
    return GD_OK;
}
