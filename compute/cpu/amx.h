/* compute/cpu/amx.h -- own convolutions on a processor's matrix tiles (AMX): 16 x 16 sums in 32 bits of products of 32
 * pairs of bf16. Any kernel, padding and number of channels, stride up to 3. Folder-internal.
 *
 * Operands are bf16, or f32, of which each is taken as the sum of two bf16 (its halves, 16 bits of 24): three products instead of
 * one, high low + high high + low high. What is left out is at most 2^-16 of a product, as much as Winograd's sums lose (Henry,
 * Tang and Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype, 2019). Numbers above 3.39e38 count as infinite.
 *
 * All passes are products of matrices, of which one is gathered block by block into memory that stays in the cache,
 * and the other is packed once a run:
 *   forward  y [pixel][k] = sum over r, s, c of x [under the pixel][r,s,c] w [k][r,s,c]
 *   data     the same over dy, phase by phase: rows of dx with the same (row + pad) % stride see the same taps, and a
 *            phase is a convolution of dy with stride 1 (as in wino.h)
 *   weights  dw [k][r,s,c] = sum over pixels of dy [pixel][k] x [under the pixel][r,s,c]
 * Results are f32 or bf16. The first two sum r, s, c (r, s, k) in order; the weight pass sums pixels in a number of
 * pieces that the shape alone gives, and adds them in order. */
#ifndef GANDIST_COMPUTE_CPU_AMX_H
#define GANDIST_COMPUTE_CPU_AMX_H

#include "compute/cpu/amx_kernels.h"
#include "compute/cpu/cpu.h"

enum { AMX_MAX_STRIDE = 3, AMX_MAX_PHASES = AMX_MAX_STRIDE * AMX_MAX_STRIDE };

/* One product of the forward or data pass. */
typedef struct gd__amx_phase {
    gd__amx_map map;       /* rows of the gathered matrix                                            */
    int tap_h, tap_w;      /* data pass: its first taps                                              */
    int64_t top, left;     /* its first pixel in the result; the next ones follow at a distance `step` */
    int64_t pixels, depth; /* rows, columns of the gathered matrix                                   */
    int64_t steps;         /* depth in steps of AMX_DEPTH                                            */
    int64_t block, blocks; /* rows gathered together                                                 */
    int64_t part;          /* steps of them gathered together                                        */
    size_t a_at, b_at;     /* of the gathered (by panel; of its first pixel in a band) and of the packed matrix */
} gd__amx_phase;

typedef struct gd__amx {
    const gd__amx_kernels *kernels;
    gd_dnnl_conv shape;
    int threads;
    int bytes, halves; /* of an operand's number: its bytes, and how many bf16 it is multiplied as */
    bool by_panel;    /* few pixels: threads share panels of weights, which they pack themselves */
    bool by_band;     /* tiles are rows of pixels as they lie, in bands of rows with their padding */
    gd__amx_map band; /* of those rows: r is 1, s the whole of a row                               */
    int64_t band_rows, bands, band_reach; /* rows of the result in one; rows of the input under one of them */
    int phases;
    gd__amx_phase phase[AMX_MAX_PHASES];
    int64_t step, out_h, out_w, columns, panels; /* of the result; columns: its channels */
    /* Weight pass: pixels in chunks of AMX_DEPTH, columns r s c. */
    int64_t chunks, filter_panels, column_blocks, pieces;
    int64_t wide, deep;                            /* columns of a block; chunks gathered together */
    size_t shared_bytes, own_bytes, scratch_bytes; /* of all threads, of each, together */
    size_t parts_at;                               /* partial sums                      */
} gd__amx;

/* Whether it can do c on this machine, and plans it. */
bool gd__amx_plan(const gd_dnnl_conv *c, int threads, gd__amx *out);
/* Whether it is expected to be faster than oneDNN, by rules measured with tests/bench/ops.c. */
bool gd__amx_pays(const gd__amx *x);
/* a, b, out as gd_dnnl_op_run. */
void gd__amx_run(const gd__amx *x, const void *a, const void *b, void *out, char *scratch);

#endif
