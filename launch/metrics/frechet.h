/* launch/metrics/frechet.h -- Frechet distance of two sets, each seen as a Gaussian (Heusel et al. 2017). */
#ifndef GANDIST_LAUNCH_METRICS_FRECHET_H
#define GANDIST_LAUNCH_METRICS_FRECHET_H

#include "launch/metrics/points.h"

/* Mean [d] and covariance [d,d] (divided by n - 1) in double. Errors: DATA (fewer than 2 vectors), NOMEM. */
GD_CHECKED gd_status gd_moments(const gd_points *p, double *mean, double *covariance);
/* |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). The trace of the root is the sum of the roots of the
 * eigenvalues of R S2 R, where R is the symmetric root of S1; eigenvalues that rounding made negative count as 0,
 * so singular covariances (fewer vectors than numbers) need no offset. Errors: NUMERIC (not finite), NOMEM. */
GD_CHECKED gd_status gd_frechet_gaussians(int64_t d, const double *mean1, const double *cov1, const double *mean2,
                                          const double *cov2, double *out);
/* Both at once; of at most d vectors each by a shorter way that makes no [d,d]. All threads.
 * Errors: as above; SHAPE where the sets differ in d. */
GD_CHECKED gd_status gd_frechet(const gd_points *a, const gd_points *b, double *out);

#endif
