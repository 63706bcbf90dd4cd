/* compute/cpu/wino.h -- own convolutions by Winograd's minimal filtering, in three directions: square
 * kernels of side 3 and 4, stride 1 and 2, any padding. f32, channels multiples of 16. Folder-internal.
 *
 * Polyphase: output row p uses the rows stride p + r - pad. With r = stride t + a the taps of one phase
 * a < stride form a correlation with stride 1,
 *   y[p] = sum over phases a, taps t of X_a[p + t] w[stride t + a],   X_a[j] = x[stride j + a - pad],
 * in rows and columns: stride 2 has four phases with 2x2 taps (kernel 3: the tap r = 3 is absent, and so
 * are the products that only it needs), stride 1 has one with all taps. Each is done by F(m x m, t x t)
 * with n = m + t - 1 points a dimension (wino_matrices.h):
 *   y = A^T [(G w G^T) . (B^T X B)] A
 * Multiplications an output: 4x4 stride 2 from 16 to 9 (m = 2) or 6.25 (m = 4), 3x3 from 9 to 4 or 2.25,
 * 4x4 stride 1 from 16 to 4 (m = 3). Per point it is a matrix product over channels.
 * The data pass is a correlation of dy with the flipped taps, phase by phase; the weight pass is the
 * transpose. Largest error relative to the largest value: 1e-6 (n = 3, 4), 1e-5 (n = 5), 2e-5 (n = 6).
 *
 * Sums are taken in an order that the shape alone gives. */
#ifndef GANDIST_COMPUTE_CPU_WINO_H
#define GANDIST_COMPUTE_CPU_WINO_H

#include "compute/cpu/cpu.h"

struct gd__meeting; /* small.h */

typedef struct gd__wino_shape {
    int m, taps, n, points;   /* of a phase, a dimension: outputs and taps of a tile, inputs; n n */
    int stride, kernel, phases;
    int64_t pad_h, pad_w;     /* before the image                                         */
    int64_t images, h, w, c;  /* x                                                        */
    int64_t k, p, q;          /* y                                                        */
    int64_t down, across, tiles; /* tiles of an image's outputs (data: of a phase of dx); of all images */
    int64_t c_wide, k_wide;   /* c, k rounded up to whole columns of the product kernel   */
    int64_t block;            /* tiles done together by a thread (weights: by all)        */
} gd__wino_shape;

/* Channels of a tile's products: `step` floats from one tile to the next, channels [first, end). */
typedef struct gd__wino_columns {
    int64_t step, first, end;
} gd__wino_columns;

/* Where transformed inputs lie: channel c of a tile at tile * t + panel * (c / width) + c % width of its point. Of a
 * product with rows of V, a tile's channels follow each other (one panel holds all); of the weight pass, which reads all
 * tiles for a few channels, those of a panel do. */
typedef struct gd__wino_place {
    int64_t point, tile, panel, width; /* floats from one to the next; channels of a panel */
} gd__wino_place;

/* The loops of one instruction set. V: transformed inputs [point][tile][channels + WINO_PAD] or, in the weight pass,
 * [point][panel][tile][width]; M: products, likewise; U: transformed weights [point][panel of `columns`][depth]. first,
 * count: tiles of the image batch. room: tiles that a point has in M. *_step: floats from one point (tile) to the next. */
typedef struct gd__wino_kernels {
    const char *name;
    int rows, columns; /* of the product kernel */
    /* U of one panel, for the forward pass and for a phase of the data pass. */
    void (*weights_forward)(const gd__wino_shape *s, const float *w, int64_t panel, int64_t point_step, float *u);
    void (*weights_data)(const gd__wino_shape *s, const float *w, int phase, int64_t panel, int64_t point_step, float *u);
    /* x -> V, channels phase * c + channel. */
    void (*input_forward)(const gd__wino_shape *s, const float *x, int64_t first, int64_t count, gd__wino_place at,
                          float *v);
    /* dy -> V for one phase of the data pass. */
    void (*input_data)(const gd__wino_shape *s, const float *dy, int phase, int64_t first, int64_t count,
                       gd__wino_place at, float *v);
    /* dy -> V for the weight pass. */
    void (*input_weights)(const gd__wino_shape *s, const float *dy, int64_t first, int64_t count, gd__wino_place at,
                          float *v);
    /* M[tile][column] = sum over depth V[tile][] U[][column], of one point. Panels of U lie panel_step apart. */
    void (*product)(const float *v, int64_t v_step, const float *u, int64_t panel_step, int64_t depth, int64_t room,
                    int64_t wide, float *m, int64_t m_step);
    /* d[row][column] (+)= sum over count tiles of a[tile][row] b[tile][column]; n_rows rounded up to `rows`. The columns of
     * b are in panels of `columns`, which lie b_panel apart. */
    void (*outer)(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t b_panel, int64_t count,
                  int64_t n_rows, int64_t wide, bool add, float *d, int64_t d_step);
    void (*output_forward)(const gd__wino_shape *s, const float *m, gd__wino_columns k, int64_t first, int64_t count,
                           int64_t room, float *y);
    void (*output_data)(const gd__wino_shape *s, const float *m, gd__wino_columns c, int phase, int64_t first,
                        int64_t count, int64_t room, float *dx);
    /* d [point][row][phases c + WINO_PAD], points point_step apart, of filter k (d points to its row) -> dw. */
    void (*output_weights)(const gd__wino_shape *s, const float *d, int64_t point_step, int64_t k, float *dw);
    /* Of small.h, over `count` meetings. y[y][0..3] += x[x][] . w[0..3][], depth floats. */
    void (*small_dots)(const struct gd__meeting *at, int64_t count, const float *x, int64_t depth, const float *w,
                       int64_t w_step, float *y, int64_t y_step);
    /* dx[x][columns] += sum over depth of dy[y][] u[][columns]; k, c: floats from one pixel to the next. */
    void (*small_rows)(const struct gd__meeting *at, int64_t count, const float *dy, int64_t k, int64_t depth,
                       const float *u, int64_t u_step, float *dx, int64_t c);
    /* dw[row][columns] = sum over meetings of a[y][row] x[x][columns], for valid of `rows` rows. */
    void (*small_outer)(const struct gd__meeting *at, int64_t count, const float *a, const float *x, int64_t c,
                        int64_t valid, float *dw, int64_t dw_step);
} gd__wino_kernels;

enum {
    WINO_PAD = 16,          /* floats: rows a power of two apart would share cache sets        */
    WINO_POINT_PAD = 5 * 16 /* likewise points, each of which is written some lines at a time */
};

static inline int64_t gd__wino_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* First j of a phase a whose row of dx, stride j + a - pad, is inside; and how many there are. */
static inline int64_t gd__wino_first(const gd__wino_shape *s, int64_t pad, int a) {
    return pad > a ? (pad - a + s->stride - 1) / s->stride : -((a - pad) / s->stride);
}
static inline int64_t gd__wino_count(const gd__wino_shape *s, int64_t size, int64_t pad, int a) {
    return (size - 1 + pad - a) / s->stride - gd__wino_first(s, pad, a) + 1;
}

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
    bool by_panel; /* few tiles: threads share panels of weights, not tiles */
    int group;     /* panels that a thread takes together                   */
    size_t u_bytes, v_bytes, m_bytes; /* shared U (weights: D); V and M of a thread (weights: of all); by_panel: */
    size_t scratch_bytes;             /* U and M of a thread, shared V */
} gd__wino;

/* Whether it can do c, and plans it. Tile sizes follow from the shape. */
bool gd__wino_plan(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__wino *out);
/* The same with the other tile, of F(2,2) and F(4,2), F(2,3) and F(4,3): false also where there is none. */
bool gd__wino_plan_other(const gd_dnnl_conv *c, const gd__wino_kernels *kernels, int threads, gd__wino *out);
/* Whether it is expected to be faster than oneDNN, by rules measured with tests/bench/ops.c. */
bool gd__wino_pays(const gd__wino *x);
/* a, b, out as gd_dnnl_op_run. */
void gd__wino_run(const gd__wino *p, const float *a, const float *b, float *out, char *scratch);

#endif
