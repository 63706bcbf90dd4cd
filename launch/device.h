/* launch/device.h -- which executor a run gets: what --device means. */
#ifndef GANDIST_LAUNCH_DEVICE_H
#define GANDIST_LAUNCH_DEVICE_H

#include "compute/exec.h"
#include "dist/train.h"

typedef struct gd_device {
    const gd_executor *executor;
    char text[768]; /* "cpu", or the GPU; for `auto` why it is not a GPU: one line for people */
    const gd_exchanges *exchanges; /* NULL: gradients are summed on the host                   */
    char sums[512]; /* "by NCCL 2.28.9", or why they are not summed there; empty: no GPU, or one rank */
} gd_device;

/* Whether it is one of auto (also NULL), cpu, cuda, ref. Errors: USAGE. */
GD_CHECKED gd_status gd_device_check(const char *wanted);
/* The same kind of executor on all ranks; tf32: numerics.tf32, which a GPU alone knows (else a warning says so). With
 * auto and cuda every rank opens a GPU of its host, those of a host in turn. auto never fails: where a GPU cannot be used
 * by some rank, all take the CPU. One at a time; ended by gd_device_close. Collective. Errors: UNSUP and others of the
 * plug-in (cuda: what is missing). */
GD_CHECKED gd_status gd_device_open(gd_comm *c, const char *wanted, bool tf32, gd_device *out);
/* Puts the executor into c, and how gradients are summed: between GPUs by NCCL, or in host memory, on all ranks alike.
 * GANDIST_CUDA_COMM, as rank 0 has it: auto (NCCL where it is there and every rank has a GPU of its own, and the recipe
 * lets it), nccl, staged. d->sums says which and why. Collective. Errors: USAGE (another word), UNSUP (nccl, and it cannot
 * be), NOMEM. */
GD_CHECKED gd_status gd_device_use(gd_comm *comm, gd_device *d, gd_train_config *c);
/* For a command of one process that trains nothing: the executor, in strict float32. quiet: else a line on stdout says which
 * device it is, and with auto why it is not a GPU. Errors: as gd_device_open; UNSUP (ref, whose numbers are no float32). Not
 * collective. */
GD_CHECKED gd_status gd_device_open_alone(const char *wanted, bool quiet, gd_device *out);
/* When programs and trainers are gone. Not collective. */
void gd_device_close(gd_device *d);

#endif
