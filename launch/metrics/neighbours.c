#include "launch/metrics/neighbours.h"

#include <math.h>
#include <stdlib.h>

enum { K_MAX = 64 };

/* Keeps the k smallest of what it is shown, ascending. */
static void keep(double *smallest, int k, double v) {
    if (!(v < smallest[k - 1])) return;
    int at = k - 1;
    for (; at > 0 && smallest[at - 1] > v; at--) smallest[at] = smallest[at - 1];
    smallest[at] = v;
}

/* Squared distance of every vector to its k-th nearest other one. */
static gd_status radii(const gd_points *p, const gd__tiles *t, int k, double *out) {
    bool lost = false;
#pragma omp parallel reduction(|| : lost)
    {
        float *room = malloc((size_t)p->d * sizeof *room);
        lost = !room;
#pragma omp for
        for (int64_t i = 0; i < p->n; i++) {
            double distance[GD__TILE], smallest[K_MAX];
            if (!room) continue;
            const float *x = gd_points_row(p, i, room);
            for (int j = 0; j < k; j++) smallest[j] = INFINITY;
            for (int64_t b = 0; b < t->count; b++) {
                gd__tiles_distances(t, b, x, distance);
                for (int r = 0, rows = gd__tiles_rows(t, b); r < rows; r++)
                    if (b * GD__TILE + r != i) keep(smallest, k, distance[r]);
            }
            out[i] = smallest[k - 1];
        }
        free(room);
    }
    if (lost) GD_FAIL(NOMEM, "neighbours of %lld vectors", (long long)p->n);
    return GD_OK;
}

/* What one real vector has to do with all fakes. */
typedef struct tally {
    int64_t density;
    bool recalled, covered;
} tally;

static tally count_row(const gd__tiles *fakes, const float *x, double ball, const double *fake_ball, uint8_t *hit) {
    double distance[GD__TILE];
    tally c = {0};
    for (int64_t b = 0; b < fakes->count; b++) {
        gd__tiles_distances(fakes, b, x, distance);
        for (int r = 0, rows = gd__tiles_rows(fakes, b); r < rows; r++) {
            int64_t j = b * GD__TILE + r;
            c.recalled = c.recalled || distance[r] < fake_ball[j];
            if (!(distance[r] < ball)) continue;
            c.density++;
            c.covered = true;
#pragma omp atomic write
            hit[j] = 1; /* every thread writes the same value */
        }
    }
    return c;
}

static gd_status count(const gd_points *real, const gd__tiles *fakes, const double *ball, const double *fake_ball,
                       uint8_t *hit, int k, gd_prdc *out) {
    int64_t density = 0, recalled = 0, covered = 0, precise = 0;
    bool lost = false;
#pragma omp parallel reduction(|| : lost) reduction(+ : density, recalled, covered)
    {
        float *room = malloc((size_t)real->d * sizeof *room);
        lost = !room;
#pragma omp for
        for (int64_t i = 0; i < real->n; i++) {
            if (!room) continue;
            tally c = count_row(fakes, gd_points_row(real, i, room), ball[i], fake_ball, hit);
            density += c.density;
            recalled += c.recalled;
            covered += c.covered;
        }
        free(room);
    }
    if (lost) GD_FAIL(NOMEM, "neighbours of %lld vectors", (long long)real->n);
    for (int64_t j = 0; j < fakes->n; j++) precise += hit[j];
    *out = (gd_prdc){.precision = (double)precise / (double)fakes->n,
                     .recall = (double)recalled / (double)real->n,
                     .density = (double)density / (double)k / (double)fakes->n,
                     .coverage = (double)covered / (double)real->n};
    return GD_OK;
}

gd_status gd_neighbours(const gd_points *real, const gd_points *fake, int k, gd_prdc *out) {
    if (real->d != fake->d)
        GD_FAIL(SHAPE, "neighbours: vectors of %lld and of %lld numbers", (long long)real->d, (long long)fake->d);
    if (k < 1 || k > K_MAX) GD_FAIL(INTERNAL, "neighbours: k is %d; 1 to %d", k, K_MAX);
    if (real->n <= k || fake->n <= k)
        GD_FAIL(DATA,
                "neighbours: %lld real and %lld generated samples; the %d-th neighbour needs more than %d of each",
                (long long)real->n, (long long)fake->n, k, k);
    gd__tiles tr = {0}, tf = {0};
    double *ball = malloc((size_t)(real->n + fake->n) * sizeof *ball);
    uint8_t *hit = calloc((size_t)fake->n, 1);
    gd_status st;
    if (!ball || !hit) GD_FAIL_TO(done, NOMEM, "neighbours of %lld vectors", (long long)(real->n + fake->n));
    GD_TRY_TO(done, gd__tiles_make(real, &tr));
    GD_TRY_TO(done, gd__tiles_make(fake, &tf));
    GD_TRY_TO(done, radii(real, &tr, k, ball));
    GD_TRY_TO(done, radii(fake, &tf, k, ball + real->n));
    GD_TRY_TO(done, count(real, &tf, ball, ball + real->n, hit, k, out));
done:
    gd__tiles_free(&tr);
    gd__tiles_free(&tf);
    free(hit);
    free(ball);
    return st;
}
