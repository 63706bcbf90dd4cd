/* compute/cuda/nvrtc.h -- kernel texts to machine code, kept on disk by content. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_NVRTC_H
#define GANDIST_COMPUTE_CUDA_NVRTC_H

#include <stdbool.h>

#include "compute/cuda/text.h"

typedef struct gd__cu_header { /* what kernel texts include */
    const char *name, *text;
} gd__cu_header;
extern const gd__cu_header gd__cu_headers[]; /* ended by NULLs */

typedef struct gd__cu_compiler gd__cu_compiler;

typedef struct gd__cu_code {
    void *cubin; /* owner: caller, gd__cu_code_free */
    size_t bytes;
    int registers, spilled; /* of a thread; bytes that did not fit into registers */
    bool cached;            /* came from disk                                     */
} gd__cu_code;

/* cache: folder for compiled kernels, made if need be; NULL: none. Errors: UNSUP (no NVRTC), CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd__cu_compiler_open(const char *cache, gd__cu_compiler **out);
void gd__cu_compiler_close(gd__cu_compiler *c);
int gd__cu_compiler_version(const gd__cu_compiler *c); /* 13000 */

/* arch: 90 for sm_90. A damaged file of the cache is compiled anew; that a file cannot be written is no error. Errors:
 * INTERNAL (the text does not compile: the message has the compiler's words), UNSUP (unknown arch), NOMEM. */
GD_CHECKED gd_status gd__cu_compile(const gd__cu_compiler *c, const gd__cu_kernel *k, int arch, gd__cu_code *out);
void gd__cu_code_free(gd__cu_code *code);

#endif
