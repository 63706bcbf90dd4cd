/* launch/evaluation.h -- the sets of samples that a trained run is measured on. */
#ifndef GANDIST_LAUNCH_EVALUATION_H
#define GANDIST_LAUNCH_EVALUATION_H

#include "data/dataset.h"
#include "launch/inception.h"
#include "launch/metrics/points.h"
#include "launch/trained.h"

/* Images as bytes, as a file would hold them, or points as they are. */
typedef struct gd_samples {
    gd_shape shape;        /* [n,H,W,C]                                                  */
    uint8_t *u8;
    float *f32;
    float *features;       /* [n,F] once the classifier has seen them; NULL before       */
    int64_t feature_count; /* F                                                          */
    int *label;            /* [n,parts]: what the classifier says                        */
    float *confidence;     /* [n,parts]: and how sure it is                              */
    float *inception;      /* [n,2048] once FID's network has seen them; NULL before     */
    int parts;             /* 1; 3: each channel was classified by itself                */
} gd_samples;
void gd_samples_free(gd_samples *s);
gd_points gd_samples_points(const gd_samples *s);
gd_points gd_samples_features(const gd_samples *s);
gd_points gd_samples_inception(const gd_samples *s);

/* One way through a run: what it made, and what that is compared with. */
typedef struct gd_evaluation {
    gd_trained *model;
    gd_trained *classifier;    /* NULL: none is needed                                                     */
    const char *source;        /* of the data                                                              */
    int direction;             /* translations; else 0                                                     */
    int64_t n;                 /* samples wanted of each set                                               */
    gd_samples fake, real;     /* made by the run; of its training set                                     */
    gd_samples held;           /* other real samples, for the value that a perfect generator would have: held-out
                                  ones, or training samples that are not in `real`; none where there are too few */
    bool held_out;             /* held: of the held-out half of the set                                    */
    gd_samples truth;          /* translations: what each of `fake` should be, where the set knows         */
    double accuracy;           /* classifiers: share of the held-out samples it tells right                */
} gd_evaluation;

/* Fills in the sets for e->model, e->direction and e->n. Memory: at most GD_EVALUATION_BYTES for each set.
 * Errors: NOINPUT, DATA (too few samples), what the executor reports, NOMEM. */
#define GD_EVALUATION_BYTES ((int64_t)1 << 31)
GD_CHECKED gd_status gd_evaluation_fill(gd_evaluation *e, uint64_t seed);
void gd_evaluation_free(gd_evaluation *e); /* the sets, not the models */

/* Lets e->classifier see the sets. Errors: CONFIG (it takes other images), what the executor reports, NOMEM. */
GD_CHECKED gd_status gd_evaluation_classify(gd_evaluation *e);
/* Lets FID's network see the sets of images. Errors: CONFIG (not 1 or 3 channels), what the executor reports, NOMEM. */
GD_CHECKED gd_status gd_evaluation_look(gd_evaluation *e, gd_inception *net);

#endif
