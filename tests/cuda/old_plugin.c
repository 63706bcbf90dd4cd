/* tests/cuda/old_plugin.c -- a plug-in that must not be called: of an older gandist, or (STALE) of this one as it was before somebody
 * changed a file. */
#include <stdlib.h>

#include "compute/cuda/plugin.h"

static bool probe(int device, char *text, size_t room) {
    (void)device, (void)text, (void)room;
    abort();
}

static gd_status start(const gd_cuda_open *o, const gd_executor **executor, char *text, size_t room) {
    (void)o, (void)executor, (void)text, (void)room;
    abort();
}

#ifdef STALE
#define NUMBERS .interface = GD_CUDA_PLUGIN_INTERFACE, .version = GANDIST_VERSION, .sources = "0123456789abcdef"
#else
#define NUMBERS .interface = 0, .version = "0.0.9"
#endif

extern const gd_cuda_plugin gandist_cuda_plugin;
const gd_cuda_plugin gandist_cuda_plugin = {NUMBERS, .probe = probe, .open = start};
