/* launch/measures.h -- the metrics of 'gandist evaluate', a table row each: what they need, where they make sense. */
#ifndef GANDIST_LAUNCH_MEASURES_H
#define GANDIST_LAUNCH_MEASURES_H

#include "launch/evaluation.h"

typedef struct gd_figure {
    const char *name;     /* "fd", "precision"                                                             */
    double value;
    double error;         /* standard error; NaN: none                                                     */
    double floor;         /* the same measure of other real samples: what a perfect generator would get. NaN: none */
} gd_figure;
enum { GD_FIGURES_MAX = 8 };
typedef struct gd_figures {
    gd_figure figure[GD_FIGURES_MAX];
    int count;
} gd_figures;

typedef struct gd_measure {
    const char *name, *help;
    bool usual;                                     /* measured where nothing is asked for */
    bool (*fits)(const gd_evaluation *e);           /* makes sense for this run; only models are there yet */
    bool (*needs_classifier)(const gd_evaluation *e);
    bool needs_inception;                           /* gd_evaluation_look comes first      */
    /* A count of 0: not known for this data, though it makes sense for the run. */
    gd_status (*run)(const gd_evaluation *e, uint64_t seed, gd_figures *out);
} gd_measure;

const gd_measure *gd_measures(int *count);          /* static table */

#endif
