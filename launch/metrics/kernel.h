/* launch/metrics/kernel.h -- kernel distance (Binkowski et al. 2018). */
#ifndef GANDIST_LAUNCH_METRICS_KERNEL_H
#define GANDIST_LAUNCH_METRICS_KERNEL_H

#include "launch/metrics/points.h"

typedef struct gd_kid {
    double mean;   /* of the blocks' values                       */
    double error;  /* its standard error; NaN for one block alone */
    int blocks;
    int64_t block; /* vectors of each set in one block            */
} gd_kid;

/* Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, over disjoint blocks: of 1000
 * vectors, fewer where that would give less than ten blocks (but not below 50). Values around 0, below it
 * too, mean that the sets are alike. The sets must be in random order. Errors: DATA (fewer than 2), SHAPE, NOMEM. */
GD_CHECKED gd_status gd_kernel_distance(const gd_points *a, const gd_points *b, gd_kid *out);

#endif
