/* compute/cuda/plugin.h -- what libgandist_cuda.so offers, and who opens it may include: plain C, no CUDA.
 *
 * The plug-in is opened with dlopen (launch/device.c) and has its own copies of base/ and compute/: what goes wrong comes
 * back as text. It and the program must be of one version: interface and version are compared before anything is called. */
#ifndef GANDIST_COMPUTE_CUDA_PLUGIN_H
#define GANDIST_COMPUTE_CUDA_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>

enum { GD_CUDA_PLUGIN_INTERFACE = 1 };
#define GD_CUDA_PLUGIN_FILE "libgandist_cuda.so"
#define GD_CUDA_PLUGIN_SYMBOL "gandist_cuda_plugin" /* a gd_cuda_plugin */

typedef struct gd_cuda_plugin {
    int interface;       /* GD_CUDA_PLUGIN_INTERFACE; the members below belong to this number */
    const char *version; /* of gandist                                                        */
    /* Whether GPU number `device` works, and all that is needed beside it is there. text: what it is, in one line, or
     * what is missing and what to do. Leaves nothing open. */
    bool (*probe)(int device, char *text, size_t room);
} gd_cuda_plugin;

#endif
