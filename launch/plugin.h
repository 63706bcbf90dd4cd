/* launch/plugin.h -- the CUDA plug-in: found, opened, and its executor with errors that are those of this program. */
#ifndef GANDIST_LAUNCH_PLUGIN_H
#define GANDIST_LAUNCH_PLUGIN_H

#include "compute/exchange.h"
#include "compute/exec.h"

/* Opens a GPU of this host: number `device`, of those there are in turn; tf32: f32 convolutions in TF32. The plug-in is
 * looked for in the folder GANDIST_PLUGIN_DIR; without that beside the program, then in ../lib beside it. *executor: until
 * gd_plugin_close. text: what the GPU is, in one line. Once at a time. Errors: UNSUP and what the plug-in reports, all in
 * words that fit behind "CUDA cannot be used: ". */
GD_CHECKED gd_status gd_plugin_open(int device, bool tf32, const gd_executor **executor, char *text, size_t room);
bool gd_plugin_is_there(void); /* its file is; whether it and a GPU can be used, gd_plugin_open says */
int gd_plugin_gpus(void); /* of this host, once one is open */
/* Sums of gradients between GPUs, once one is open, with errors that are those of this program. version: of NCCL, 22809 for 2.28.9.
 * Errors: UNSUP (there is none that can be used: says why). */
const gd_exchanges *gd_plugin_exchanges(void);
GD_CHECKED gd_status gd_plugin_nccl(int *version);
const char *gd_plugin_bus(void); /* of the GPU that is open: processes of a host with the same one share it */
/* Where the plans of convolutions came from, in one line; empty: there are none, or nothing was timed for them. */
void gd_plugin_plans(char *text, size_t room);
/* After all programs of the executor are gone. Without an open GPU nothing. */
void gd_plugin_close(void);

#endif
