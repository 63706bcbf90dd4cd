/* launch/metrics/parzen.h -- Parzen-window log-likelihood (Goodfellow et al. 2014, section 5). */
#ifndef GANDIST_LAUNCH_METRICS_PARZEN_H
#define GANDIST_LAUNCH_METRICS_PARZEN_H

#include "launch/metrics/points.h"

typedef struct gd_parzen {
    double sigma;       /* of the kernel: of ten values from 0.1 to 1, the best on the validation set */
    double mean, error; /* log-likelihood of a test sample, nats, and its standard error              */
} gd_parzen;

/* A Gaussian of width sigma on each of `fakes`, over images in [0, 1] (u8 sets are; f32 sets are taken as they
 * are). LL(x) = log mean exp(-|x - mu|^2 / 2 sigma^2) - d log(sigma sqrt(2 pi)).
 * Errors: DATA (an empty set), SHAPE, NUMERIC, NOMEM. */
GD_CHECKED gd_status gd_parzen_window(const gd_points *fakes, const gd_points *validation, const gd_points *test,
                                      gd_parzen *out);

#endif
