/* tests/cuda/old_plugin.c -- a plug-in of an older gandist: it must not be called. */
#include <stdlib.h>

#include "compute/cuda/plugin.h"

static bool probe(int device, char *text, size_t room) {
    (void)device, (void)text, (void)room;
    abort();
}

extern const gd_cuda_plugin gandist_cuda_plugin;
const gd_cuda_plugin gandist_cuda_plugin = {.interface = 0, .version = "0.0.9", .probe = probe};
