/* launch/metrics/neighbours.h -- precision, recall (Kynkaanniemi et al. 2019), density and coverage
 * (Naeem et al. 2020). */
#ifndef GANDIST_LAUNCH_METRICS_NEIGHBOURS_H
#define GANDIST_LAUNCH_METRICS_NEIGHBOURS_H

#include "launch/metrics/points.h"

typedef struct gd_prdc {
    double precision; /* share of fakes inside the ball of some real vector                     */
    double recall;    /* share of reals inside the ball of some fake vector                     */
    double density;   /* mean over fakes of the number of real balls around one, divided by k   */
    double coverage;  /* share of reals whose own ball holds a fake                             */
} gd_prdc;

/* A vector's ball reaches to its k-th nearest neighbour in its own set; inside means nearer than that, as in
 * the density and coverage paper's code. Errors: DATA (a set of k or fewer), SHAPE, NOMEM. */
GD_CHECKED gd_status gd_neighbours(const gd_points *real, const gd_points *fake, int k, gd_prdc *out);

#endif
