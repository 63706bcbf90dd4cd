/* compute/cuda/dnn_tune.h -- what a plan takes on the device. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_DNN_TUNE_H
#define GANDIST_COMPUTE_CUDA_DNN_TUNE_H

#include "compute/cuda/dnn.h"

typedef struct gd__dnn_timer gd__dnn_timer; /* a stream, events and memory of the current context */

/* Room for the three tensors of c, in several copies so that they do not stay in the cache of the device, and `workspace`
 * bytes. *out: owner: caller. Errors: UNSUP (no driver), CUDA, NOMEM. */
GD_CHECKED gd_status gd__dnn_timer_open(const gd__dnn_conv *c, size_t workspace, gd__dnn_timer **out);
void gd__dnn_timer_close(gd__dnn_timer *t); /* NULL is fine */
/* Median of several runs, after some that do not count. Errors: CUDA (also: the plan cannot run). */
GD_CHECKED gd_status gd__dnn_timer_run(gd__dnn_timer *t, gd__dnn *d, const gd__dnn_plan *p, double *seconds);

#endif
