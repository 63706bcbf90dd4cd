/* compute/cuda/library.h -- CUDA's libraries, opened at run time. Folder-internal.
 *
 * Nothing links to them: a machine without them gets a message. They are looked for in the folder of the environment's
 * GANDIST_CUDA_LIBRARIES (a toolkit's lib64, or a Python wheel's lib), then where the loader looks. */
#ifndef GANDIST_COMPUTE_CUDA_LIBRARY_H
#define GANDIST_COMPUTE_CUDA_LIBRARY_H

#include <stddef.h>

#include "base/status.h"

/* One function of a library: its name and where its address goes. */
typedef struct gd__cu_symbol {
    const char *name;
    size_t offset; /* of a function pointer in the table */
} gd__cu_symbol;

/* Opens the first of `names` (ended by NULL) that there is and fills `table`. *handle: closed with
 * gd__cu_library_close. Errors: UNSUP (none there, or a function is missing; says which). */
GD_CHECKED gd_status gd__cu_library_open(const char *const *names, const gd__cu_symbol *symbols, int n_symbols,
                                         void *table, void **handle);
/* Fills `table` with more functions of an open library. name: for messages. Errors: UNSUP (one is missing; says which). */
GD_CHECKED gd_status gd__cu_library_find(void *handle, const char *name, const gd__cu_symbol *symbols, int n_symbols,
                                         void *table);
void gd__cu_library_close(void *handle); /* NULL is fine */

#endif
