#include "launch/metrics/parzen.h"

#include <math.h>
#include <stdlib.h>

enum { WIDTHS = 10 };

/* log mean exp over the fakes, from their squared distances. */
static double log_mean(const double *squares, int64_t n, double sigma) {
    double top = -INFINITY, sum = 0, scale = -0.5 / (sigma * sigma);
    for (int64_t i = 0; i < n; i++) top = fmax(top, squares[i] * scale);
    for (int64_t i = 0; i < n; i++) sum += exp(squares[i] * scale - top);
    return top + log(sum / (double)n);
}

/* Log-likelihoods of all of p for `count` widths: out [count, n]. */
static gd_status likelihoods(const gd__tiles *fakes, const gd_points *p, int count, const double *sigma, double *out) {
    /* u8 rows come as 2 v - 1 of values v in [0, 1]: distances are twice as large. */
    double shrink = p->u8 ? 0.25 : 1;
    bool lost = false;
#pragma omp parallel reduction(|| : lost)
    {
        float *room = malloc((size_t)p->d * sizeof *room);
        double *squares = malloc((size_t)(fakes->count * GD__TILE) * sizeof *squares);
        lost = !room || !squares;
#pragma omp for
        for (int64_t i = 0; i < p->n; i++) {
            if (!room || !squares) continue;
            const float *x = gd_points_row(p, i, room);
            for (int64_t b = 0; b < fakes->count; b++) gd__tiles_distances(fakes, b, x, squares + b * GD__TILE);
            for (int64_t j = 0; j < fakes->n; j++) squares[j] *= shrink;
            for (int k = 0; k < count; k++)
                out[k * p->n + i] =
                    log_mean(squares, fakes->n, sigma[k]) - (double)p->d * log(sigma[k] * sqrt(2 * M_PI));
        }
        free(squares);
        free(room);
    }
    if (lost) GD_FAIL(NOMEM, "parzen window of %lld samples", (long long)p->n);
    return GD_OK;
}

static double mean_of(const double *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i];
    return sum / (double)n;
}

static double standard_error(const double *v, int64_t n, double mean) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (v[i] - mean) * (v[i] - mean);
    return n > 1 ? sqrt(sum / (double)(n - 1) / (double)n) : NAN;
}

static gd_status choose_width(const gd__tiles *fakes, const gd_points *validation, double *out) {
    double sigma[WIDTHS], best = -INFINITY;
    double *value = malloc((size_t)validation->n * WIDTHS * sizeof *value);
    if (!value) GD_FAIL(NOMEM, "parzen window of %lld samples", (long long)validation->n);
    for (int k = 0; k < WIDTHS; k++) sigma[k] = pow(10, -1 + (double)k / (WIDTHS - 1));
    gd_status st = likelihoods(fakes, validation, WIDTHS, sigma, value);
    for (int k = 0; k < WIDTHS && st == GD_OK; k++) {
        double mean = mean_of(value + k * validation->n, validation->n);
        if (mean > best) {
            best = mean;
            *out = sigma[k];
        }
    }
    free(value);
    if (st == GD_OK && !isfinite(best)) GD_FAIL(NUMERIC, "parzen window: the samples are not finite");
    return st;
}

gd_status gd_parzen_window(const gd_points *fakes, const gd_points *validation, const gd_points *test, gd_parzen *out) {
    if (fakes->d != validation->d || fakes->d != test->d) GD_FAIL(SHAPE, "parzen window: samples of different sizes");
    if (fakes->n < 1 || validation->n < 1 || test->n < 1) GD_FAIL(DATA, "parzen window: an empty set");
    gd__tiles tiles = {0};
    double *value = malloc((size_t)test->n * sizeof *value);
    gd_status st;
    if (!value) GD_FAIL(NOMEM, "parzen window of %lld samples", (long long)test->n);
    GD_TRY_TO(done, gd__tiles_make(fakes, &tiles));
    GD_TRY_TO(done, choose_width(&tiles, validation, &out->sigma));
    GD_TRY_TO(done, likelihoods(&tiles, test, 1, &out->sigma, value));
    out->mean = mean_of(value, test->n);
    out->error = standard_error(value, test->n, out->mean);
done:
    gd__tiles_free(&tiles);
    free(value);
    return st;
}
