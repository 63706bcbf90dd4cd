#include "launch/metrics/sliced.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Directions that one pass over the samples projects on. */
enum { GROUP = 64, RUN = 256 };

/* Unit directions first .. first+GROUP-1, transposed: [d, GROUP]. */
static void draw_directions(int64_t d, int first, uint64_t seed, float *room, float *out) {
    gd_rng r = {.seed = seed, .purpose = GD_PURPOSE_EVALUATE};
    for (int k = 0; k < GROUP; k++) {
        double squares = 0;
        gd_rng_normal(&r, (uint64_t)(first + k), 0, (uint32_t)d, room);
        for (int64_t j = 0; j < d; j++) squares += (double)room[j] * (double)room[j];
        float scale = (float)(1 / sqrt(squares));
        for (int64_t j = 0; j < d; j++) out[j * GROUP + k] = room[j] * scale;
    }
}

static void project_row(const float *x, int64_t d, const float *direction, double out[GROUP]) {
    memset(out, 0, GROUP * sizeof *out);
    for (int64_t at = 0; at < d; at += RUN) {
        int64_t end = at + RUN < d ? at + RUN : d;
        float sum[GROUP] = {0};
        for (int64_t j = at; j < end; j++) {
            const float *row = direction + j * GROUP, v = x[j];
#pragma omp simd
            for (int k = 0; k < GROUP; k++) sum[k] += v * row[k];
        }
        for (int k = 0; k < GROUP; k++) out[k] += (double)sum[k];
    }
}

/* out [GROUP, n]: the projections of all samples. */
static gd_status project(const gd_points *p, const float *direction, float *out) {
    bool lost = false;
#pragma omp parallel reduction(|| : lost)
    {
        float *room = malloc((size_t)p->d * sizeof *room);
        lost = !room;
#pragma omp for
        for (int64_t i = 0; i < p->n; i++) {
            double value[GROUP];
            if (!room) continue;
            project_row(gd_points_row(p, i, room), p->d, direction, value);
            for (int k = 0; k < GROUP; k++) out[k * p->n + i] = (float)value[k];
        }
        free(room);
    }
    if (lost) GD_FAIL(NOMEM, "projections of %lld samples", (long long)p->n);
    return GD_OK;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double gd_wasserstein_1d(const float *a, int64_t n, const float *b, int64_t m) {
    /* The area between the two quantile functions, whose steps are at i/n and j/m: in units of 1/(n m). */
    double area = 0;
    int64_t i = 0, j = 0, at = 0;
    while (i < n && j < m) {
        int64_t end_a = (i + 1) * m, end_b = (j + 1) * n, end = end_a < end_b ? end_a : end_b;
        area += (double)(end - at) * fabs((double)a[i] - (double)b[j]);
        i += end == end_a;
        j += end == end_b;
        at = end;
    }
    return area / ((double)n * (double)m);
}

static void sum_distances(float *a, int64_t n, float *b, int64_t m, int count, double *sum) {
    double value[GROUP];
#pragma omp parallel for
    for (int k = 0; k < count; k++) {
        qsort(a + k * n, (size_t)n, sizeof *a, ascending);
        qsort(b + k * m, (size_t)m, sizeof *b, ascending);
        value[k] = gd_wasserstein_1d(a + k * n, n, b + k * m, m);
    }
    for (int k = 0; k < count; k++) *sum += value[k];
}

gd_status gd_sliced_wasserstein(const gd_points *a, const gd_points *b, int directions, uint64_t seed, double *out) {
    int64_t d = a->d;
    if (b->d != d)
        GD_FAIL(SHAPE, "sliced Wasserstein distance: samples of %lld and of %lld numbers", (long long)d,
                (long long)b->d);
    if (a->n < 1 || b->n < 1) GD_FAIL(DATA, "sliced Wasserstein distance: an empty set");
    float *room = malloc((size_t)d * sizeof *room), *direction = malloc((size_t)d * GROUP * sizeof *direction);
    float *pa = malloc((size_t)a->n * GROUP * sizeof *pa), *pb = malloc((size_t)b->n * GROUP * sizeof *pb);
    double sum = 0;
    gd_status st = GD_OK;
    if (!room || !direction || !pa || !pb)
        GD_FAIL_TO(done, NOMEM, "sliced Wasserstein distance of samples of %lld numbers", (long long)d);
    for (int first = 0; first < directions; first += GROUP) {
        int count = directions - first < GROUP ? directions - first : GROUP;
        draw_directions(d, first, seed, room, direction);
        GD_TRY_TO(done, project(a, direction, pa));
        GD_TRY_TO(done, project(b, direction, pb));
        sum_distances(pa, a->n, pb, b->n, count, &sum);
    }
    if (!isfinite(sum)) GD_FAIL_TO(done, NUMERIC, "sliced Wasserstein distance: the samples are not finite");
    *out = sum / directions;
done:
    free(pb);
    free(pa);
    free(direction);
    free(room);
    return st;
}
