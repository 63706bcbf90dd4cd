/* compute/cpu/thin.h -- own convolutions from or to at most 8 channels (images, score maps), whose other
 * side is wide. f32. Folder-internal.
 *
 * Two forms, in each of which the taps of the thin side make up the missing width of a matrix:
 *   fold    thin result: T[pixel][tap, channel] = wide[pixel][] w[][tap, channel], and each thin pixel adds
 *           up the taps that reach it. Data pass from few channels; forward pass to few, at stride 1.
 *   outer   weights: d[tap, channel][wide] = sum over pixels of thin[pixel at tap][channel] wide[pixel][].
 * A convolution to few channels is one from few turned round: its taps are flipped, its padding is
 * kernel - 1 - pad. Sums are taken in an order that the shape alone gives. */
#ifndef GANDIST_COMPUTE_CPU_THIN_H
#define GANDIST_COMPUTE_CPU_THIN_H

#include "compute/cpu/wino.h"

typedef struct gd__thin {
    const gd__wino_kernels *kernels; /* product and outer */
    int threads;
    bool fold, flip;         /* flip: to few channels     */
    int64_t images, few;     /* few: channels of the thin map */
    int64_t h, w, wide;      /* the wide map              */
    int64_t thin_h, thin_w;
    int64_t r, s, stride, pad_h, pad_w; /* thin row = wide row * stride + tap - pad */
    int64_t taps;            /* r s few: columns of T, rows of d */
    int64_t parts;           /* fold: blocks of thin rows of an image; outer: partial sums of all images */
    size_t shared_bytes, own_bytes, scratch_bytes;
} gd__thin;

/* Whether it can do c, and plans it. */
bool gd__thin_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__thin *out);
/* a, b, out as gd_dnnl_op_run. */
void gd__thin_run(const gd__thin *x, const float *a, const float *b, float *out, char *scratch);

#endif
