/* dist/watch.h -- watchers for the known sicknesses of training.
 *
 *   collapse   generated samples grow alike            vanished   hardly any gradient reaches the generator
 *   exploding  the discriminator's loss or gradient    saturated  the discriminator is never wrong and has
 *              grows without bound                                nothing left to learn
 *
 * They read what was measured over all ranks, so every rank comes to the same conclusion without asking; what
 * they remember of earlier iterations is part of the training state, so a resumed run warns when the other one
 * would have. They change nothing in the training unless they act. Thresholds, with reasons: watch.c. */
#ifndef GANDIST_DIST_WATCH_H
#define GANDIST_DIST_WATCH_H

#include <stdbool.h>
#include <stdint.h>

typedef enum gd_watch { GD_WATCH_COLLAPSE, GD_WATCH_VANISHED, GD_WATCH_EXPLODING, GD_WATCH_SATURATED, GD_WATCH_COUNT } gd_watch;

/* WARN: a line in the log, once for each time it begins. STOP: the run ends with NUMERIC. ROLLBACK: back to the
 * newest checkpoint from before it began, and on from there with other random numbers and other data. */
typedef enum gd_watch_action { GD_WATCH_OFF, GD_WATCH_WARN, GD_WATCH_STOP, GD_WATCH_ROLLBACK } gd_watch_action;

typedef struct gd_watch_spec {
    gd_watch_action action[GD_WATCH_COUNT];
    int64_t every;              /* iterations between two looks at samples, for collapse; 0: no looks      */
} gd_watch_spec;

enum { GD_WATCH_LOOKS = 16 /* that are remembered */, GD_WATCH_DIRECTIONS = 2 };
/* What has a usual size, of which the smoothed logarithm is remembered. */
enum { GD_USUAL_GRAD_G, GD_USUAL_GRAD_D, GD_USUAL_LOSS_D, GD_USUAL_COUNT };

typedef struct gd_watch_state {   /* all zero: nothing seen yet */
    int64_t row[GD_WATCH_COUNT];  /* iterations (collapse: looks) in a row that were sick                   */
    int64_t looks;                /* so far; look i is spread[.][i % GD_WATCH_LOOKS]                        */
    double spread[GD_WATCH_DIRECTIONS][GD_WATCH_LOOKS];
    int64_t seen[GD_USUAL_COUNT]; /* iterations that made the level                                         */
    double level[GD_USUAL_COUNT];
} gd_watch_state;

/* What one iteration showed, equal on all ranks. NaN: was not measured. */
typedef struct gd_watch_sight {
    double spread[GD_WATCH_DIRECTIONS]; /* mean distance between two generated samples                      */
    double grad_g, grad_g_rms;          /* norm of G's gradient; the same over the root of its parameters    */
    double grad_d, loss_d;
    double accuracy;                    /* share of samples that D tells right                               */
    double rest;                        /* D's loss without penalty, above the least that it can be          */
} gd_watch_sight;

/* Adds an iteration to the history of the watchers that are not off. begun[k]: with it sickness k counts as one:
 * true once, until it was gone in between. Pure. */
void gd_watch_advance(const gd_watch_spec *spec, const gd_watch_sight *v, gd_watch_state *s, bool begun[GD_WATCH_COUNT]);
const char *gd_watch_name(gd_watch w); /* "collapse", as in a recipe */
/* What was seen, in numbers: "the mean distance ..." of a sickness that has begun. */
void gd_watch_explain(gd_watch w, const gd_watch_sight *v, const gd_watch_state *s, char *out, int room);
/* Mean over all pairs of n >= 2 images of `count` numbers of the root of their mean squared difference. */
double gd_watch_spread(const float *image, int n, int64_t count);

#endif
