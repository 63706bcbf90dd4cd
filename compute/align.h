/* compute/align.h -- shapes with all dimensions numbered alike, for executors' loops and kernels. Inside compute/. */
#ifndef GANDIST_COMPUTE_ALIGN_H
#define GANDIST_COMPUTE_ALIGN_H

#include "compute/graph.h"

/* Sizes padded with 1 in front, so that the last dimension is the last of all. */
static inline void gd__right_align(gd_shape s, int64_t dim[GD_RANK_MAX]) {
    int shift = GD_RANK_MAX - s.rank;
    for (int i = 0; i < GD_RANK_MAX; i++) dim[i] = i < shift ? 1 : s.dim[i - shift];
}

/* Steps of a dense tensor in elements; 0 where a size is 1, so that it is broadcast along a larger one. */
static inline void gd__broadcast_steps(const int64_t dim[GD_RANK_MAX], int64_t step[GD_RANK_MAX]) {
    int64_t n = 1;
    for (int i = GD_RANK_MAX - 1; i >= 0; i--) {
        step[i] = dim[i] == 1 ? 0 : n;
        n *= dim[i];
    }
}

#endif
