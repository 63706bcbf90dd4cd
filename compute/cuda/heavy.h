/* compute/cuda/heavy.h -- a matrix product or convolution: copies where cuDNN needs other shapes, and its plan. Folder-internal.
 *
 * Channels are padded to multiples of 8 for tensor cores: an operand that is not gets a copy with zeros behind its channels, in the step's
 * scratch; the result is computed beside its place and cut. The same copies widen bf16 operands
 * where cuDNN has no engine that gives an f32 result of them. */
#ifndef GANDIST_COMPUTE_CUDA_HEAVY_H
#define GANDIST_COMPUTE_CUDA_HEAVY_H

#include "compute/cuda/device.h"
#include "compute/cuda/emit.h"

typedef struct gd__cu_heavy {
    gd__dnn_conv conv;          /* as cuDNN gets it     */
    gd__cu_arg arg[4];          /* x, w, y, workspace   */
    size_t bytes[4];
    gd__cu_step before, after;  /* copies               */
    void *plan;
    size_t scratch_bytes;
} gd__cu_heavy;

/* f32_math: of f32 operands; bf16 operands are multiplied as bf16. The plan is the device's (its plan_free). Memory of
 * *out is of a. Errors: UNSUP (names the layer), NOMEM. */
GD_CHECKED gd_status gd__cu_make_heavy(const gd_view *v, int s, gd__cu_device *d, gd__dnn_math f32_math, gd_arena *a,
                                       gd__cu_kernels *kernels, gd__cu_heavy *out);
bool gd__cu_heavy_supports(const gd_graph *g, gd_node n, char *why, size_t room);

#endif
