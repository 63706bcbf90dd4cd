/* compute/cuda/optimizer.h -- kernels of flat optimisers, and of gradients' norms: the formulas of dist/optimizer.c, bit for bit.
 *
 * One grid over a whole arena of parameters; a thread takes four neighbours. With `average` the kernel also moves the
 * exponential average of the new values along. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_OPTIMIZER_H
#define GANDIST_COMPUTE_CUDA_OPTIMIZER_H

#include "compute/cuda/text.h"

typedef enum gd__cu_rule { GD__CU_ADAM, GD__CU_RMSPROP, GD__CU_MOMENTUM, GD__CU_SGD, GD__CU_RULES } gd__cu_rule;

/* Arguments of the kernel, in order: gd_kernel_update (kernel.h; where it is not made nothing changes), p, g, m, v, average.
 * m: only ADAM; v: the other moment of ADAM, RMSPROP's and MOMENTUM's; what a rule does not have may be anything. Grid:
 * gd__cu_optimizer_grid. *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_optimizer(gd__cu_kernels *k, gd__cu_rule rule, bool average, int *index);
unsigned gd__cu_optimizer_grid(size_t count);
enum { GD__CU_OPTIMIZER_ARGS = 6 };

/* Sums of squares. Arguments: gd_kernel_squares, x, out (doubles). A thread has one lane of a block, as the CPU does it; 16 blocks a
 * launch's block. Grid: gd__cu_squares_grid of last - first. *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_squares(gd__cu_kernels *k, int *index);
unsigned gd__cu_squares_grid(size_t count);
enum { GD__CU_SQUARES_ARGS = 3 };

/* From these sums to what an update does: dist/update.c's rules, and its order of additions. Arguments: gd_kernel_update, whose scale
 * and made are set; the sums; the norm, a double, infinite where the rule cannot have it. One block. *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_norm(gd__cu_kernels *k, int *index);
enum { GD__CU_NORM_ARGS = 3 };

/* A moving average, gd_executor.average. Arguments: gd_kernel_average, average, x, the norm (anything where there is none). Grid:
 * gd__cu_optimizer_grid. *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_average(gd__cu_kernels *k, int *index);
enum { GD__CU_AVERAGE_ARGS = 4 };

/* Running statistics, gd_executor.keep. Arguments: gd_kernel_keep, x, before, average (anything where there is none), a double: how
 * many were not finite. One block. *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_keep(gd__cu_kernels *k, int *index);
enum { GD__CU_KEEP_ARGS = 5 };

#endif
