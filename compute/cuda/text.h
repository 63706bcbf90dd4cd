/* compute/cuda/text.h -- texts of kernels, each kept once. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_TEXT_H
#define GANDIST_COMPUTE_CUDA_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"

/* A text that grows. Memory that runs out is kept in mind and told at the end. */
typedef struct gd__cu_text {
    char *at;      /* malloc'ed */
    size_t used, room;
    bool no_memory;
} gd__cu_text;

void gd__cu_print(gd__cu_text *t, const char *format, ...) GD_PRINTF(2, 3);
void gd__cu_text_free(gd__cu_text *t);

/* A kernel: what is between KERNEL(name, pointers) and END is `body` (kernel.h). Its name is a hash of both, so
 * equal kernels have equal names everywhere. Launched with blocks of 256 threads. */
typedef struct gd__cu_kernel {
    char name[24];
    int pointers;
    const char *source; /* whole text, with its #include */
} gd__cu_kernel;

typedef struct gd__cu_kernels { /* zero-initialised: empty */
    gd_arena *arena;
    int n, room;
    gd__cu_kernel *list;
} gd__cu_kernels;

/* *index: of the kernel with this body, added if it is new. Errors: NOMEM (also one kept in `body`). */
GD_CHECKED gd_status gd__cu_kernels_add(gd__cu_kernels *k, int pointers, const gd__cu_text *body, int *index);
void gd__cu_kernels_free(gd__cu_kernels *k);

#endif
