/* tests/cuda/text_executor.h -- an executor that runs programs on generated kernels without a GPU.
 *
 * Fused groups, moves and leaves are the CUDA executor's kernels, run by shim.h; matrix products and convolutions are
 * those of the executor cpu. Programs can be made one after the other and are compiled together at the first run. */
#ifndef GANDIST_TESTS_CUDA_TEXT_EXECUTOR_H
#define GANDIST_TESTS_CUDA_TEXT_EXECUTOR_H

#include "compute/exec.h"

const gd_executor *text_executor(void);
/* The same, to look at: programs of any size can be made, and not run. Nothing is compiled. */
const gd_executor *text_planner(void);
/* Kernels of the planner's programs so far, each once. */
const struct gd__cu_kernels *text_planned(void);

#endif
