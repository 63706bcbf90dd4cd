/* base/memory.c -- see memory.h. */
#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LARGE_PAGE = 2 << 20 };

void *gd_memory_alloc(size_t bytes) {
    const size_t align = bytes < LARGE_PAGE ? GD_MEMORY_ALIGN : LARGE_PAGE;
    void *p = NULL;
    if (posix_memalign(&p, align, bytes ? bytes : 1) != 0) return NULL;
    if (align == LARGE_PAGE) (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish: small pages do as well */
    return p;
}
