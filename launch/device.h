/* launch/device.h -- which executor a run gets: what --device means. */
#ifndef GANDIST_LAUNCH_DEVICE_H
#define GANDIST_LAUNCH_DEVICE_H

#include "compute/exec.h"
#include "dist/comm.h"

typedef struct gd_device {
    const gd_executor *executor;
    char text[768]; /* "cpu", or the GPU; for `auto` why it is not a GPU: one line for people */
} gd_device;

/* Whether it is one of auto (also NULL), cpu, cuda, ref. Errors: USAGE. */
GD_CHECKED gd_status gd_device_check(const char *wanted);
/* The same kind of executor on all ranks. With auto and cuda every rank opens a GPU of its host, those of a host in
 * turn. auto never fails: where a GPU cannot be used by some rank, all take the CPU. One at a time; ended by
 * gd_device_close. Collective. Errors: UNSUP and others of the plug-in (cuda: what is missing). */
GD_CHECKED gd_status gd_device_open(gd_comm *c, const char *wanted, gd_device *out);
/* When programs and trainers are gone. Not collective. */
void gd_device_close(gd_device *d);

#endif
