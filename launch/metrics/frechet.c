#include "launch/metrics/frechet.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static gd_status mean_of(const gd_points *p, float *room, double *mean) {
    memset(mean, 0, (size_t)p->d * sizeof *mean);
    for (int64_t i = 0; i < p->n; i++) {
        const float *x = gd_points_row(p, i, room);
        for (int64_t j = 0; j < p->d; j++) mean[j] += (double)x[j];
    }
    for (int64_t j = 0; j < p->d; j++) {
        mean[j] /= (double)p->n;
        if (!isfinite(mean[j])) GD_FAIL(NUMERIC, "frechet distance: feature %lld is not finite", (long long)j);
    }
    return GD_OK;
}

gd_status gd_moments(const gd_points *p, double *mean, double *covariance) {
    int64_t d = p->d;
    if (p->n < 2) GD_FAIL(DATA, "frechet distance: %lld samples; at least 2 are needed", (long long)p->n);
    float *room = malloc((size_t)d * sizeof *room);
    double *off = malloc((size_t)d * sizeof *off);
    gd_status st = room && off ? mean_of(p, room, mean)
                               : gd_raise(GD_NOMEM, __FILE__, __LINE__, "moments of %lld features", (long long)d);
    if (st != GD_OK) goto done;
    memset(covariance, 0, (size_t)(d * d) * sizeof *covariance);
    for (int64_t i = 0; i < p->n; i++) {
        const float *x = gd_points_row(p, i, room);
        for (int64_t j = 0; j < d; j++) off[j] = (double)x[j] - mean[j];
        for (int64_t j = 0; j < d; j++) {
            double *row = covariance + j * d, v = off[j];
            for (int64_t k = 0; k <= j; k++) row[k] += v * off[k];
        }
    }
    for (int64_t j = 0; j < d; j++)
        for (int64_t k = 0; k <= j; k++) {
            double v = covariance[j * d + k] / (double)(p->n - 1);
            covariance[j * d + k] = covariance[k * d + j] = v;
        }
done:
    free(off);
    free(room);
    return st;
}

/* Eigenvalues of the symmetric matrix a, ascending; its eigenvectors replace a as columns when wanted. */
static gd_status eigen(int64_t d, bool vectors, double *a, double *values) {
    lapack_int info =
        LAPACKE_dsyevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'U', (lapack_int)d, a, (lapack_int)d, values);
    if (info) GD_FAIL(NUMERIC, "frechet distance: eigenvalues of a covariance: LAPACK dsyevd reports %d", (int)info);
    return GD_OK;
}

/* out = x diag(scale) y' for column-major x, y of d columns; scale NULL: 1. */
static void product(int64_t d, const double *x, const double *scale, const double *y, double *out) {
    memset(out, 0, (size_t)(d * d) * sizeof *out);
    for (int64_t k = 0; k < d; k++)
        for (int64_t j = 0; j < d; j++) {
            double v = y[k * d + j] * (scale ? scale[k] : 1), *column = out + j * d;
            const double *from = x + k * d;
            for (int64_t i = 0; i < d; i++) column[i] += v * from[i];
        }
}

static double root(double v) { return v > 0 ? sqrt(v) : 0; }

/* tr (S1 S2)^(1/2). work: 3 matrices and one vector. */
static gd_status root_trace(int64_t d, const double *cov1, const double *cov2, double *work, double *out) {
    double *a = work, *r = a + d * d, *b = r + d * d, *values = b + d * d;
    memcpy(a, cov1, (size_t)(d * d) * sizeof *a);
    GD_TRY(eigen(d, true, a, values));
    for (int64_t i = 0; i < d; i++) values[i] = root(values[i]);
    product(d, a, values, a, r);    /* R                          */
    product(d, r, NULL, cov2, b);   /* R S2, as S2 is symmetric   */
    product(d, b, NULL, r, a);      /* R S2 R                     */
    for (int64_t i = 0; i < d; i++) /* rounding left it not quite symmetric */
        for (int64_t j = 0; j < i; j++) a[i * d + j] = a[j * d + i] = 0.5 * (a[i * d + j] + a[j * d + i]);
    GD_TRY(eigen(d, false, a, values));
    *out = 0;
    for (int64_t i = 0; i < d; i++) *out += root(values[i]);
    return GD_OK;
}

gd_status gd_frechet_gaussians(int64_t d, const double *mean1, const double *cov1, const double *mean2,
                               const double *cov2, double *out) {
    double *work = malloc((size_t)(3 * d * d + d) * sizeof *work), trace = 0, value = 0;
    if (!work) GD_FAIL(NOMEM, "frechet distance of %lld features", (long long)d);
    gd_status st = root_trace(d, cov1, cov2, work, &trace);
    free(work);
    GD_TRY(st);
    for (int64_t i = 0; i < d; i++) {
        value += (mean1[i] - mean2[i]) * (mean1[i] - mean2[i]);
        value += cov1[i * d + i] + cov2[i * d + i];
    }
    *out = value - 2 * trace;
    return GD_OK;
}

gd_status gd_frechet(const gd_points *a, const gd_points *b, double *out) {
    int64_t d = a->d;
    if (b->d != d)
        GD_FAIL(SHAPE, "frechet distance: vectors of %lld and of %lld numbers", (long long)d, (long long)b->d);
    double *m = malloc((size_t)(2 * d * (d + 1)) * sizeof *m);
    if (!m) GD_FAIL(NOMEM, "frechet distance of %lld features", (long long)d);
    double *cov1 = m + d, *mean2 = cov1 + d * d, *cov2 = mean2 + d;
    gd_status st = gd_moments(a, m, cov1);
    if (st == GD_OK) st = gd_moments(b, mean2, cov2);
    if (st == GD_OK) st = gd_frechet_gaussians(d, m, cov1, mean2, cov2, out);
    free(m);
    return st;
}
