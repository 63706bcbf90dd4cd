/* tests/cuda/record_conv.h -- a convolution problem of cuDNN on host memory, by the executor cpu. */
#ifndef GANDIST_TESTS_CUDA_RECORD_CONV_H
#define GANDIST_TESTS_CUDA_RECORD_CONV_H

#include "compute/cuda/dnn.h"

gd_status record_conv_new(const gd__dnn_conv *c, void **out);
/* x, w, y: bf16 or f32 as the problem says; the one that the direction makes is written. */
gd_status record_conv_run(void *conv, void *x, void *w, void *y);
void record_conv_free(void *conv);

#endif
