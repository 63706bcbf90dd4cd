/* launch/plugin.h -- the CUDA plug-in: found, opened, and its executor with errors that are those of this program. */
#ifndef GANDIST_LAUNCH_PLUGIN_H
#define GANDIST_LAUNCH_PLUGIN_H

#include "compute/exec.h"

/* Opens a GPU of this host: number `device`, of those there are in turn. The plug-in is looked for in the folder
 * GANDIST_PLUGIN_DIR; without that beside the program, then in ../lib beside it. *executor: until gd_plugin_close.
 * text: what the GPU is, in one line. Once at a time. Errors: UNSUP and what the plug-in reports, all in words that fit
 * behind "CUDA cannot be used: ". */
GD_CHECKED gd_status gd_plugin_open(int device, const gd_executor **executor, char *text, size_t room);
bool gd_plugin_is_there(void); /* its file is; whether it and a GPU can be used, gd_plugin_open says */
int gd_plugin_gpus(void); /* of this host, once one is open */
/* After all programs of the executor are gone. Without an open GPU nothing. */
void gd_plugin_close(void);

#endif
