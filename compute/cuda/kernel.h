/* compute/cuda/kernel.h -- the language of generated kernels: one text for NVRTC and for a C compiler.
 *
 *   KERNEL(name, pointers)          one block of GD_THREADS threads; block number BX
 *       SHARED(float, s, 256)       memory of the block
 *       PHASE { ... TX ... }        what every thread does; no return inside
 *       SYNC                        between phases: all threads have finished the one before
 *   END
 *
 * On a GPU a phase is straight code and SYNC a barrier. In C a phase is a loop over the threads and the
 * kernel a function that runs one block; a value that lives longer than a phase must be in shared memory.
 * gd_reversed turns the loop round: a kernel whose result changes has a race between threads.
 *
 * Arithmetic is the CPU's: rng_core.h and vmath.h, nothing contracted, IEEE division and roots. */
#ifndef GANDIST_COMPUTE_CUDA_KERNEL_H
#define GANDIST_COMPUTE_CUDA_KERNEL_H

#if defined(__CUDACC_RTC__)
#define __builtin_memcpy memcpy
#endif
#include "base/rng_core.h"
#include "compute/cpu/vmath.h"

#define GD_THREADS 256u

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;

#if defined(__CUDACC_RTC__)
#define KERNEL(name, pointers)                                                                      \
    struct name##_args {                                                                            \
        void *p[pointers];                                                                          \
    };                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 2) name(const name##_args gd_arg) {
#define ARG(type, i) ((type *)gd_arg.p[i])
#define BX blockIdx.x
#define TX threadIdx.x
#define SHARED(type, name, count) __shared__ type name[count];
#define PHASE
#define SYNC __syncthreads();
#define END }
#define ALIGNED(n) __align__(n)
#define UNROLL _Pragma("unroll")
#else
#include <string.h>
#define KERNEL(name, pointers)                                                                      \
    void name(u32 BX, void *const *gd_arg);                                                         \
    void name(u32 BX, void *const *gd_arg) {                                                        \
        (void)BX;
#define ARG(type, i) ((type *)gd_arg[i])
/* Never read before it is written: bytes of a NaN. */
#define SHARED(type, name, count)                                                                   \
    type name[count];                                                                               \
    memset(name, 0xff, sizeof name);
extern int gd_reversed;
#define PHASE                                                                                       \
    for (u32 gd_i = 0, TX; TX = gd_reversed ? GD_THREADS - 1 - gd_i : gd_i, gd_i < GD_THREADS; gd_i++)
#define SYNC
#define END }
#define ALIGNED(n) __attribute__((aligned(n)))
#define UNROLL
#endif

/* What one thread loads and stores at once: 4 or 8 neighbours, addresses multiples of 16 bytes or of the size. */
typedef struct ALIGNED(16) gd_f4 { float v[4]; } gd_f4;
typedef struct ALIGNED(16) gd_f8 { float v[8]; } gd_f8;
typedef struct ALIGNED(8) gd_h4 { u16 v[4]; } gd_h4;
typedef struct ALIGNED(16) gd_h8 { u16 v[8]; } gd_h8;
typedef struct ALIGNED(4) gd_b4 { u8 v[4]; } gd_b4;
typedef struct ALIGNED(8) gd_b8 { u8 v[8]; } gd_b8;
typedef struct ALIGNED(16) gd_16 { u32 v[4]; } gd_16; /* any 16 bytes that are only moved */

static inline float gdk_round(float x) { return gd__from_bf16(gd__to_bf16(x)); }
static inline float gdk_clamp(float x, float low, float high) {
    float y = x < low ? low : x;
    return y > high ? high : y;
}

/* ---- images ---- */

/* Index i of a padded line in the line of n below it. */
static inline i32 gdk_mirror(i32 i, i32 before, i32 n) {
    i -= before;
    if (i < 0) i = -i;
    return i < n ? i : 2 * (n - 1) - i;
}

/* The line padded by before and after: its k-th place (0, 1, 2) that shows pixel i; -1: none. */
static inline i32 gdk_unfold(i32 i, i32 k, i32 before, i32 after, i32 n) {
    if (k == 0) return i + before;
    if (k == 1) return i >= 1 && i <= before ? before - i : -1;
    return i <= n - 2 && i >= n - 1 - after ? before + 2 * (n - 1) - i : -1;
}

/* ---- what a launch brings along besides pointers to tensors ---- */

typedef struct gd_kernel_run { /* gd_run_args of compute/program.h */
    u64 seed, step, sample;
} gd_kernel_run;

typedef struct gd_kernel_pick { /* gd_pick of base/pick.h */
    u32 index, top, left, mirror;
} gd_kernel_pick;

typedef struct gd_kernel_squares { /* sums of squares, a block each */
    u64 last, first;               /* of these floats; first: of a block */
} gd_kernel_squares;

typedef struct gd_kernel_update { /* numbers of one update of an optimiser, rounded from double on the host */
    u64 count, first;             /* of parameters; 0: the two are a gd_kernel_squares */
    u64 n_sums;                   /* sums of squares that the norm is made of */
    float rate, scale, decay, clip, eps, b1, rest1, b2, rest2, root2, alpha, rest, momentum, average;
    double clip_norm; /* 0: none */
    u32 squares;      /* the rule squares gradients, and cannot have any whose square is not finite */
    u32 made;         /* 0: the update is left out */
} gd_kernel_update;

typedef struct gd_kernel_average { /* a moving average behind an update */
    u64 count;
    float decay;
    u32 judged; /* there is a norm: the update was not made where it is not finite */
} gd_kernel_average;

typedef struct gd_kernel_keep { /* running statistics after a program */
    u64 count;
    float decay;
    u32 average; /* whether there is one */
} gd_kernel_keep;

#endif
