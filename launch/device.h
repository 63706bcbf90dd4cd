/* launch/device.h -- which executor a run gets: what --device means. */
#ifndef GANDIST_LAUNCH_DEVICE_H
#define GANDIST_LAUNCH_DEVICE_H

#include "compute/exec.h"

typedef struct gd_device {
    const gd_executor *executor;
    char text[768]; /* "cpu", and for `auto` why it is not a GPU: one line for people */
} gd_device;

/* wanted: auto (also NULL), cpu, cuda, ref. auto never fails: without a GPU that can be used the CPU is taken. The CUDA
 * plug-in is looked for in the folder GANDIST_PLUGIN_DIR; without that beside the program, then in ../lib beside it. Errors:
 * USAGE (another word), UNSUP (cuda: what is missing). */
GD_CHECKED gd_status gd_device_choose(const char *wanted, gd_device *out);

#endif
