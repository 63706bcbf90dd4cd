/* base/memory.h -- large memory for numbers. */
#ifndef GANDIST_BASE_MEMORY_H
#define GANDIST_BASE_MEMORY_H

#include <stddef.h>

enum { GD_MEMORY_ALIGN = 64 };

/* bytes (0 is fine) at a multiple of GD_MEMORY_ALIGN; content undefined; NULL: no memory. Owner: caller, who calls free. From 2 MiB on
 * the system is asked for large pages: loops that step through megabytes miss the translation cache less. */
void *gd_memory_alloc(size_t bytes);

#endif
