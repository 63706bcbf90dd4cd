/* compute/cuda/driver.h -- the device table over CUDA's driver, cuDNN and NVRTC, all opened at run time. Folder-internal.
 *
 * The device's primary context is used, which cuDNN shares. Kernels are compiled by NVRTC for the device, once a process
 * and once a cache folder. Streams are captured in thread-local mode: other threads may go on calling CUDA. */
#ifndef GANDIST_COMPUTE_CUDA_DRIVER_H
#define GANDIST_COMPUTE_CUDA_DRIVER_H

#include "compute/cuda/device.h"

typedef struct gd__cu_driver_opts {
    int device;            /* number among those that CUDA shows                                     */
    bool wrap;             /* any number: of those there are, in turn                                */
    const char *cache;     /* folder of compiled kernels and plans, made if need be; NULL: none      */
    bool nondeterministic; /* convolutions may add in changing order                                 */
} gd__cu_driver_opts;

/* *out: owner: caller, gd__cu_driver_close. Errors: UNSUP (no driver, no such device, one that is too old, cuDNN or NVRTC
 * missing: says which), CUDA (a call failed: says which and CUDA's words), CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd__cu_driver_open(const gd__cu_driver_opts *o, gd__cu_device **out);
/* What it allocated and nobody freed goes with the context. NULL is fine. Errors: CUDA. */
GD_CHECKED gd_status gd__cu_driver_close(gd__cu_device *d);

typedef struct gd__cu_facts {
    char name[128];      /* "NVIDIA H200"              */
    char bus[32];        /* "0000:3b:00.0": of this host */
    int number, count;   /* which of how many          */
    int arch;            /* 90: compute capability 9.0 */
    size_t memory, free; /* bytes                      */
    int driver, nvrtc;   /* 13000: CUDA 13.0           */
    size_t cudnn;        /* 91900: cuDNN 9.19          */
} gd__cu_facts;
GD_CHECKED gd_status gd__cu_driver_facts(gd__cu_device *d, gd__cu_facts *out);
/* cuDNN's view of the device as JSON, as tests/cuda/h200.json has it. owner: caller. */
GD_CHECKED gd_status gd__cu_driver_properties(gd__cu_device *d, char **json);

/* Whether convolution plans are timed from here on; all plans made so far as text, and those of rank 0 before plans are
 * made: gd__dnn_times, gd__dnn_export, gd__dnn_import. summary: as gd__dnn_summary. */
bool gd__cu_driver_times_plans(gd__cu_device *d);
GD_CHECKED gd_status gd__cu_driver_plans(gd__cu_device *d, char **text);
GD_CHECKED gd_status gd__cu_driver_take_plans(gd__cu_device *d, const void *text, size_t bytes);
void gd__cu_driver_plans_summary(gd__cu_device *d, char out[128]);

#endif
