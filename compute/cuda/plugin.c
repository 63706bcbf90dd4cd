/* compute/cuda/plugin.c -- see plugin.h. */
#include "compute/cuda/plugin.h"

#include <stdio.h>

#include "compute/cuda/driver.h"

static gd_status look(int device, char *text, size_t room) {
    const gd__cu_driver_opts o = {.device = device};
    gd__cu_device *d;
    gd__cu_facts f;
    gd_error why;
    GD_TRY(gd__cu_driver_open(&o, &d));
    gd_status st = gd__cu_driver_facts(d, &f);
    gd_error_save(st, &why);
    gd_status closed = gd__cu_driver_close(d);
    if (st != GD_OK) return gd_error_restore(&why);
    if (closed != GD_OK) return gd_trace(closed, __FILE__, __LINE__);
    snprintf(text, room, "%s, %.0f GiB, capability %d.%d, CUDA %d.%d, cuDNN %zu.%zu", f.name,
             (double)f.memory / (1 << 30), f.arch / 10, f.arch % 10, f.driver / 1000, f.driver % 1000 / 10,
             f.cudnn / 10000, f.cudnn / 100 % 100);
    return GD_OK;
}

static bool probe(int device, char *text, size_t room) {
    if (look(device, text, room) == GD_OK) return true;
    snprintf(text, room, "%s", gd_error_message());
    gd_error_clear();
    return false;
}

__attribute__((visibility("default"))) extern const gd_cuda_plugin gandist_cuda_plugin;
const gd_cuda_plugin gandist_cuda_plugin = {
    .interface = GD_CUDA_PLUGIN_INTERFACE,
    .version = GANDIST_VERSION,
    .probe = probe,
};
