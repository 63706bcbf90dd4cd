/* tests/cuda/shim.h -- generated kernels on a machine without a GPU: their text, compiled by the C compiler.
 *
 * Texts are collected first and compiled together, since starting a compiler costs more than a kernel. With
 * GANDIST_SANITIZE_FLAGS (set by CTest) they get the sanitizers of the build. */
#ifndef GANDIST_TESTS_CUDA_SHIM_H
#define GANDIST_TESTS_CUDA_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "compute/cuda/emit.h"

typedef void (*shim_fn)(uint32_t block, void *const *arg);

/* Remembers the kernels of the list that are not known yet. Ends the test when memory is out. */
void shim_collect(const gd__cu_kernels *k);
/* Compiles what was collected and not yet built. Ends the test with the compiler's message when that fails. */
void shim_build(void);
int shim_count(void); /* kernels known */
/* The kernel's function, built if need be. Ends the test when nobody collected it. */
shim_fn shim_find(const char *name);
/* Order of threads in a phase, and of blocks in shim_run: last first. */
void shim_reverse(bool reversed);
void shim_run(shim_fn f, uint32_t grid, void *const *arg);

#endif
