/* compute/cpu/wino.h -- own convolutions 4x4, stride 2, padding 1 (what GANs are made of), in three
 * directions. f32, channels multiples of 16. Folder-internal.
 *
 * Polyphase: of the rows h = 2 p + r - 1 that output row p uses, those with odd h see only the taps
 * r = 0, 2 and those with even h only r = 1, 3. Rows and columns together give four phases, each a
 * correlation with 2x2 taps and stride 1:
 *   y[p] = sum over phases, t in {0, 1} of X[p + t] w[t],   odd: X[j] = x[2j - 1], even: X[j] = x[2j]
 * Each is done by Winograd's minimal filtering F(m x m, 2 x 2) (Winograd 1980; Lavin and Gray 2015) with
 * n = m + 1 points a dimension: 0, 1, infinity for m = 2 and 0, 1, -1, 2, infinity for m = 4:
 *   y = A^T [(G w G^T) . (B^T X B)] A
 * so 16 multiplications an output become 9 or 6.25; per point it is a matrix product over channels.
 * The gradients are the same matrices transposed. Largest relative error 1e-6 (m = 2), 1e-5 (m = 4).
 *
 * Sums are taken in an order that the shape alone gives. */
#ifndef GANDIST_COMPUTE_CPU_WINO_H
#define GANDIST_COMPUTE_CPU_WINO_H

#include "compute/cpu/cpu.h"

typedef struct gd__wino_shape {
    int m, n, points;         /* tile of outputs, of inputs; n n                          */
    int64_t images, h, w, c;  /* x                                                        */
    int64_t k, p, q;          /* y                                                        */
    int64_t down, across, tiles; /* tiles of an image's outputs; of all images            */
    int64_t c_wide, k_wide;   /* c, k rounded up to whole columns of the product kernel   */
    int64_t block;            /* tiles done together by a thread (weights: by all)        */
} gd__wino_shape;

/* The loops of one instruction set. V: transformed inputs [point][tile][channels + WINO_PAD]; M: products,
 * likewise; U: transformed weights in panels of `columns`. first, count: tiles of the image batch. room:
 * tiles that a point has in V and M. */
typedef struct gd__wino_kernels {
    const char *name;
    int rows, columns; /* of the product kernel */
    /* U of panel `panel`, for the forward and for the data pass (phase 0 to 3). */
    void (*weights_forward)(const gd__wino_shape *s, const float *w, int64_t panel, float *u);
    void (*weights_data)(const gd__wino_shape *s, const float *w, int phase, int64_t panel, float *u);
    /* x -> V, channels phase * c + channel. */
    void (*input_forward)(const gd__wino_shape *s, const float *x, int64_t first, int64_t count, int64_t room, float *v);
    /* dy -> V for one phase of the data pass. */
    void (*input_data)(const gd__wino_shape *s, const float *dy, int phase, int64_t first, int64_t count, int64_t room,
                       float *v);
    /* dy -> V for the weight pass. */
    void (*input_weights)(const gd__wino_shape *s, const float *dy, int64_t first, int64_t count, int64_t room, float *v);
    /* M[tile][column] = sum over depth V[tile][] U[][column], of one point. */
    void (*product)(const float *v, int64_t v_step, const float *u, int64_t depth, int64_t room, int64_t wide, float *m,
                    int64_t m_step);
    /* d[row][column] (+)= sum over count tiles of a[tile][row] b[tile][column]; n_rows rounded up to `rows`. */
    void (*outer)(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t count, int64_t n_rows,
                  int64_t wide, bool add, float *d, int64_t d_step);
    void (*output_forward)(const gd__wino_shape *s, const float *m, int64_t first, int64_t count, int64_t room, float *y);
    void (*output_data)(const gd__wino_shape *s, const float *m, int phase, int64_t first, int64_t count, int64_t room,
                        float *dx);
    /* d [point][k][4 c + WINO_PAD] of filter k -> dw. */
    void (*output_weights)(const gd__wino_shape *s, const float *d, int64_t k, float *dw);
} gd__wino_kernels;

enum { WINO_PAD = 16 }; /* floats: rows a power of two apart would share cache sets */

static inline int64_t gd__wino_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
/* Rows of d are rounded up: k to a multiple of the kernel's rows. */
static inline int64_t gd__wino_d_rows(const gd__wino_shape *s, int rows) { return gd__wino_up(s->k, rows); }

extern const gd__wino_kernels gd__wino_base;
#if defined(__x86_64__)
extern const gd__wino_kernels gd__wino_avx2, gd__wino_avx512;
#endif
/* Kernels that this processor runs, best first; returns how many. */
int gd__wino_usable(const gd__wino_kernels *out[3]);

typedef struct gd__wino {
    const gd__wino_kernels *kernels;
    gd__wino_shape shape;
    gd_dnnl_pass pass;
    int threads;
    size_t u_bytes, v_bytes, m_bytes; /* shared U (weights: D); V and M of a thread (weights: of all) */
    size_t scratch_bytes;
} gd__wino;

/* Whether it can do c, and plans it: tile size by the rule m = 4 from maps of 8 on. */
bool gd__wino_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__wino *out);
/* a, b, out as gd_dnnl_op_run. */
void gd__wino_run(const gd__wino *p, const float *a, const float *b, float *out, char *scratch);

#endif
