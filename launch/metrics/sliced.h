/* launch/metrics/sliced.h -- sliced Wasserstein distance (Rabin et al. 2011). */
#ifndef GANDIST_LAUNCH_METRICS_SLICED_H
#define GANDIST_LAUNCH_METRICS_SLICED_H

#include "launch/metrics/points.h"

enum { GD_SLICED_DIRECTIONS = 512 };

/* Mean over random unit directions of the exact 1-Wasserstein distance of the projections; the sets may differ
 * in size. The directions follow from the seed. Errors: DATA (an empty set), SHAPE, NUMERIC, NOMEM. */
GD_CHECKED gd_status gd_sliced_wasserstein(const gd_points *a, const gd_points *b, int directions, uint64_t seed,
                                           double *out);
/* Of numbers on a line, both ascending. */
double gd_wasserstein_1d(const float *a, int64_t n, const float *b, int64_t m);

#endif
