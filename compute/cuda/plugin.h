/* compute/cuda/plugin.h -- what libgandist_cuda.so offers, and who opens it may include: plain C, no CUDA.
 *
 * The plug-in is opened with dlopen (launch/plugin.c) and has its own copies of base/ and compute/: a status comes back
 * without its message, which `error` gives. Structs go from one copy to the other, so it and the program must be made of
 * one version and of the same sources: interface, version and sources are compared before anything is called. One thread,
 * the same for all calls but `probe`. */
#ifndef GANDIST_COMPUTE_CUDA_PLUGIN_H
#define GANDIST_COMPUTE_CUDA_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "compute/cuda/comm_device.h"
#include "compute/exchange.h"
#include "compute/exec.h"

enum { GD_CUDA_PLUGIN_INTERFACE = 4 };
#define GD_CUDA_PLUGIN_FILE "libgandist_cuda.so"
#define GD_CUDA_PLUGIN_SYMBOL "gandist_cuda_plugin" /* a gd_cuda_plugin */

typedef struct gd_cuda_open {
    int device;            /* of those that CUDA shows, in turn: any number from 0 on                  */
    const char *cache;     /* folder of compiled kernels and plans, made if need be; NULL: none        */
    bool tf32;             /* f32 convolutions in TF32                                                 */
    bool nondeterministic; /* convolutions may add in changing order                                   */
} gd_cuda_open;

typedef struct gd_cuda_plugin {
    int interface;       /* GD_CUDA_PLUGIN_INTERFACE; the members below belong to this number */
    const char *version; /* of gandist                                                        */
    const char *sources; /* GD_SOURCES_ID of sources_id.h, which the build makes: base/, compute/, compute/cuda/ */
    /* Whether GPU number `device` works, and all that is needed beside it is there. text: what it is, in one line, or
     * what is missing and what to do. Leaves nothing open. */
    bool (*probe)(int device, char *text, size_t room);
    /* Opens a GPU: one at a time in a process. *executor: as those of compute/exec.h, until close. text: as of probe, with
     * the GPU's number where there are several. Errors: UNSUP, CUDA, NOMEM, CANTCREAT, INTERNAL. */
    gd_status (*open)(const gd_cuda_open *o, const gd_executor **executor, char *text, size_t room);
    int (*gpus)(void); /* that CUDA shows, once one is open */
    /* The bus address of the one that is open: two processes of a host with the same one share a GPU. */
    const char *(*bus)(void);
    /* After all its programs are gone. Errors: CUDA. */
    gd_status (*close)(void);
    /* The message of the last status other than OK, of any function here, of the executor or of `comms`. */
    void (*error)(char *text, size_t room);
    /* Sums over ranks on streams of the device (NCCL), and those beside and among the executor's steps that are made of them. */
    const gd_device_comms *comms;
    const gd_exchanges *exchanges;
    /* Convolution plans, chosen by time or by heuristics (GANDIST_CUDA_TUNE), as gd_executor.measures, choices and take_choices have
     * it. plans_text: one line on where those of this process came from; empty: nothing was timed. */
    bool (*times_plans)(void);
    gd_status (*plans)(char **text);
    gd_status (*take_plans)(const void *text, size_t bytes);
    void (*plans_text)(char *text, size_t room);
} gd_cuda_plugin;

#endif
