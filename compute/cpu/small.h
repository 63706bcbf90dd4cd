/* compute/cpu/small.h -- own convolutions of small maps with large weights, as matrix products. f32.
 * Folder-internal.
 *
 * Where an image is a few pixels and the weights are megabytes, time is what reading the weights takes. Each tap
 * (r, s) is one matrix product over the pixels that it reaches, taken directly on the weights as they lie
 * ([K,R,S,C]): nothing is transposed, reordered or padded, the weights are read (written) once, and taps that fall
 * into the padding cost nothing.
 *   forward   y[pixel][k]  += x[pixel at tap][] . w[k][tap][]          rows of both are contiguous: dot products
 *   data      dx[pixel at tap][c] += sum over k of dy[pixel][k] w[k][tap][c]
 *   weights   dw[k][tap][c] = sum over pixels of dy[pixel][k] x[pixel at tap][c]
 * Threads share filters (forward, weights) or channels (data). Sums run tap by tap, pixel by pixel: an order that
 * the shape alone gives. */
#ifndef GANDIST_COMPUTE_CPU_SMALL_H
#define GANDIST_COMPUTE_CPU_SMALL_H

#include "compute/cpu/wino.h"

/* A pixel of x and the pixel of y that it meets under a tap. */
typedef struct gd__meeting {
    int32_t x, y;
} gd__meeting;

typedef struct gd__small {
    const gd__wino_kernels *kernels;
    gd_dnnl_conv shape;
    int threads;
    int64_t taps, pixels;  /* pixels: of y, all images; as many meetings a tap may have */
    int64_t task;          /* filters (data: channels) that a thread takes together */
    size_t list_bytes, own_bytes, scratch_bytes; /* lists of all taps; packed rows of a thread */
} gd__small;

/* Whether it can do c, and plans it. */
bool gd__small_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__small *out);
/* Whether it is expected to be faster than oneDNN, by rules measured with tests/bench/ops.c. */
bool gd__small_pays(const gd__small *x);
/* a, b, out as gd_dnnl_op_run. */
void gd__small_run(const gd__small *x, const float *a, const float *b, float *out, char *scratch);

#endif
