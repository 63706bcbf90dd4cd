/* compute/cuda/optimizer.h -- kernels of flat optimisers, and of gradients' norms: the formulas of dist/optimizer.c, bit for bit.
 *
 * One grid over a whole arena of parameters; a thread takes four neighbours. With `average` the kernel also moves the
 * exponential average of the new values along. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_OPTIMIZER_H
#define GANDIST_COMPUTE_CUDA_OPTIMIZER_H

#include "compute/cuda/text.h"

typedef enum gd__cu_rule { GD__CU_ADAM, GD__CU_RMSPROP, GD__CU_MOMENTUM, GD__CU_SGD, GD__CU_RULES } gd__cu_rule;

/* Arguments of the kernel, in order: gd_kernel_update, p, g, m, v, average (kernel.h). m: only ADAM; v: the other
 * moment of ADAM, RMSPROP's and MOMENTUM's; what a rule does not have may be anything. Grid: gd__cu_optimizer_grid.
 * *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_optimizer(gd__cu_kernels *k, gd__cu_rule rule, bool average, int *index);
unsigned gd__cu_optimizer_grid(size_t count);
enum { GD__CU_OPTIMIZER_ARGS = 6 };

/* Sums of squares, gd_executor.square_sums. Arguments: a u64 that is the count, x, out (doubles). A thread has one lane of a
 * block, as the CPU does it; 16 blocks a launch's block. Grid: gd__cu_squares_grid. *index: in k. Errors: NOMEM. */
GD_CHECKED gd_status gd__cu_squares(gd__cu_kernels *k, int *index);
unsigned gd__cu_squares_grid(size_t count);
enum { GD__CU_SQUARES_ARGS = 3 };

#endif
