#include "launch/metrics/frechet.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 }; /* vectors that stay in a cache */

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

/* Rows first .. first + n - 1 of p without their mean, into out. */
static void centre(const gd_points *p, int64_t first, int64_t n, const double *mean, float *room, double *out) {
    for (int64_t i = 0; i < n; i++) {
        const float *x = gd_points_row(p, first + i, room);
        for (int64_t j = 0; j < p->d; j++) out[i * p->d + j] = (double)x[j] - mean[j];
    }
}

/* The lower triangle of covariance += products of the n rows of off. Every element adds up in the order of the rows,
 * whatever the number of threads. */
static void add_products(int64_t d, int64_t n, const double *off, double *covariance) {
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t j = 0; j < d; j++)
        for (int64_t i = 0; i < n; i++) {
            double *row = covariance + j * d, v = off[i * d + j];
            const double *x = off + i * d;
            for (int64_t k = 0; k <= j; k++) row[k] += v * x[k];
        }
}

static gd_status check_count(const gd_points *p) {
    if (p->n < 2) GD_FAIL(DATA, "frechet distance: %lld samples; at least 2 are needed", (long long)p->n);
    return GD_OK;
}

gd_status gd_moments(const gd_points *p, double *mean, double *covariance) {
    int64_t d = p->d;
    GD_TRY(check_count(p));
    float *room = malloc((size_t)d * sizeof *room);
    double *off = malloc((size_t)(BLOCK * d) * sizeof *off);
    gd_status st = room && off ? mean_of(p, room, mean)
                               : gd_raise(GD_NOMEM, __FILE__, __LINE__, "moments of %lld features", (long long)d);
    if (st != GD_OK) goto done;
    memset(covariance, 0, (size_t)(d * d) * sizeof *covariance);
    for (int64_t i = 0; i < p->n; i += BLOCK) {
        int64_t n = p->n - i < BLOCK ? p->n - i : BLOCK;
        centre(p, i, n, mean, room, off);
        add_products(d, n, off, covariance);
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
    for (int64_t first = 0; first < d; first += BLOCK) {
        int64_t last = first + BLOCK < d ? first + BLOCK : d;
#pragma omp parallel for schedule(static)
        for (int64_t j = 0; j < d; j++)
            for (int64_t k = first; k < last; k++) {
                double v = y[k * d + j] * (scale ? scale[k] : 1), *column = out + j * d;
                const double *from = x + k * d;
                for (int64_t i = 0; i < d; i++) column[i] += v * from[i];
            }
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

/* ---- fewer vectors than numbers ----
 *
 * With the centred vectors as rows of X and Y, S1 S2 = X'X Y'Y / ((n1 - 1)(n2 - 1)). What is not zero of its eigenvalues are
 * the squares of the singular values of X Y', which is only n1 x n2. */

static double sum_of_squares(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* Sum of the singular values of X Y'. x: n1 rows, y: n2 rows of d. work: n1 n2 + 2 min(n1, n2) numbers. */
static gd_status sum_of_singular_values(int64_t d, int64_t n1, const double *x, int64_t n2, const double *y,
                                        double *work, double *out) {
    int64_t few = n1 < n2 ? n1 : n2;
    double *values = work + n1 * n2, *rest = values + few;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n1; i++)
        for (int64_t j = 0; j < n2; j++) {
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t k = 0; k < d; k++) sum += x[i * d + k] * y[j * d + k];
            work[j * n1 + i] = sum;
        }
    lapack_int info = LAPACKE_dgesvd(LAPACK_COL_MAJOR, 'N', 'N', (lapack_int)n1, (lapack_int)n2, work, (lapack_int)n1,
                                     values, NULL, 1, NULL, 1, rest);
    if (info) GD_FAIL(NUMERIC, "frechet distance: singular values: LAPACK dgesvd reports %d", (int)info);
    *out = 0;
    for (int64_t i = 0; i < few; i++) *out += values[i];
    return GD_OK;
}

/* m: 2 d numbers for the means, then (n1 + n2) d, then the work of sum_of_singular_values. */
static gd_status frechet_of_few(const gd_points *a, const gd_points *b, float *room, double *m, double *out) {
    int64_t d = a->d;
    double *mean2 = m + d, *x = mean2 + d, *y = x + a->n * d, *work = y + b->n * d, trace = 0, value = 0;
    double over1 = (double)(a->n - 1), over2 = (double)(b->n - 1);
    GD_TRY(mean_of(a, room, m));
    GD_TRY(mean_of(b, room, mean2));
    centre(a, 0, a->n, m, room, x);
    centre(b, 0, b->n, mean2, room, y);
    GD_TRY(sum_of_singular_values(d, a->n, x, b->n, y, work, &trace));
    for (int64_t i = 0; i < d; i++) value += (m[i] - mean2[i]) * (m[i] - mean2[i]);
    value += sum_of_squares(x, a->n * d) / over1 + sum_of_squares(y, b->n * d) / over2;
    *out = value - 2 * trace / sqrt(over1 * over2);
    return GD_OK;
}

gd_status gd_frechet(const gd_points *a, const gd_points *b, double *out) {
    int64_t d = a->d, n1 = a->n, n2 = b->n;
    if (b->d != d)
        GD_FAIL(SHAPE, "frechet distance: vectors of %lld and of %lld numbers", (long long)d, (long long)b->d);
    GD_TRY(check_count(a));
    GD_TRY(check_count(b));
    bool few = n1 <= d && n2 <= d;
    size_t numbers = (size_t)(few ? (2 + n1 + n2) * d + n1 * n2 + 2 * (n1 + n2) : 2 * d * (d + 1));
    double *m = malloc(numbers * sizeof *m);
    float *room = malloc((size_t)d * sizeof *room);
    gd_status st =
        m && room ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "frechet distance of %lld features", (long long)d);
    if (st == GD_OK && few) st = frechet_of_few(a, b, room, m, out);
    else if (st == GD_OK) {
        double *cov1 = m + d, *mean2 = cov1 + d * d, *cov2 = mean2 + d;
        st = gd_moments(a, m, cov1);
        if (st == GD_OK) st = gd_moments(b, mean2, cov2);
        if (st == GD_OK) st = gd_frechet_gaussians(d, m, cov1, mean2, cov2, out);
    }
    free(room);
    free(m);
    return st;
}
