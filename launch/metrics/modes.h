/* launch/metrics/modes.h -- how many modes of a set with known modes a generator finds. */
#ifndef GANDIST_LAUNCH_METRICS_MODES_H
#define GANDIST_LAUNCH_METRICS_MODES_H

#include "launch/metrics/points.h"

typedef struct gd_mixture { /* equal Gaussians in the plane */
    int modes;
    double centre[32][2], std;
} gd_mixture;
/* The mixture behind a data source. false: the source is none. */
bool gd_mixture_of(const char *source, gd_mixture *out);

typedef struct gd_modes {
    int modes;           /* that there are                                                         */
    int hit;             /* with at least one good sample                                          */
    int well;            /* stacked sets: with a tenth of an equal share of sure samples; else hit */
    double good;         /* mixtures: share of samples within 3 std of the nearest centre; stacked sets: share
                            that the classifier is sure of                                         */
    double reverse_kl;   /* of the samples' histogram over nearest modes (or classes) to equal shares, nats */
} gd_modes;

/* Samples of a mixture, d = 2 (VEEGAN's and PacGAN's measure). Points that are not finite are in no mode.
 * Errors: DATA (no samples), SHAPE. */
GD_CHECKED gd_status gd_modes_mixture(const gd_mixture *m, const gd_points *p, gd_modes *out);

enum { GD_STACK = 3 }; /* images on top of each other in a stacked set: its channels */
/* Stacked sets, classes^3 modes: label [n,3] and the classifier's confidence [n,3] of each channel. Sure: all
 * three above 0.9. A perfect generator has a reverse KL of about (modes - 1) / 2n, and classifier errors make
 * modes of their own: compare with the same measure of real stacks. Errors: DATA (no samples), NOMEM. */
GD_CHECKED gd_status gd_modes_stacked(int classes, int64_t n, const int *label, const float *confidence,
                                      gd_modes *out);

#endif
