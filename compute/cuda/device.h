/* compute/cuda/device.h -- all that the executor asks of a device, as one table. Folder-internal.
 *
 * driver.c is the table over CUDA's driver, cuDNN and NVRTC. tests/cuda/record.c is a stand-in without a GPU: it runs
 * kernels as C, and checks what is put on streams: order of accesses by events, memory that is gone, what may
 * not be done while a stream is captured.
 *
 * Work is put on streams and happens later. Memory of `alloc` is the device's, that of `alloc_host` is pinned: copies
 * are between these two kinds only. While a stream is captured, nothing may be allocated, freed, loaded or waited for by
 * the host. One host thread. */
#ifndef GANDIST_COMPUTE_CUDA_DEVICE_H
#define GANDIST_COMPUTE_CUDA_DEVICE_H

#include "compute/cuda/dnn.h"
#include "compute/cuda/text.h"

typedef struct gd__cu_access { /* what a launch does with memory; says nothing to a real device */
    const void *at;
    size_t bytes;
    bool written; /* else read */
} gd__cu_access;

typedef struct gd__cu_device gd__cu_device;
struct gd__cu_device { /* every entry is required, errors: CUDA, NOMEM, UNSUP */
    const char *name;
    gd_status (*alloc)(gd__cu_device *d, size_t bytes, void **out);      /* 256-byte aligned */
    gd_status (*alloc_host)(gd__cu_device *d, size_t bytes, void **out);
    gd_status (*free)(gd__cu_device *d, void *memory);                   /* of either; NULL is fine */
    gd_status (*room)(gd__cu_device *d, size_t *bytes);                  /* of alloc that are free  */
    gd_status (*stream_new)(gd__cu_device *d, bool urgent, void **out);
    gd_status (*stream_free)(gd__cu_device *d, void *stream);
    gd_status (*stream_sync)(gd__cu_device *d, void *stream);
    gd_status (*event_new)(gd__cu_device *d, void **out);
    gd_status (*event_free)(gd__cu_device *d, void *event);
    gd_status (*event_record)(gd__cu_device *d, void *event, void *stream);
    gd_status (*event_wait)(gd__cu_device *d, void *stream, void *event);
    gd_status (*event_sync)(gd__cu_device *d, void *event);
    gd_status (*event_done)(gd__cu_device *d, void *event, bool *done); /* at once */
    gd_status (*copy)(gd__cu_device *d, void *stream, void *to, const void *from, size_t bytes);
    /* The host is about to read or write pinned memory itself. */
    gd_status (*host)(gd__cu_device *d, const void *at, size_t bytes, bool written);
    gd_status (*load)(gd__cu_device *d, const gd__cu_kernel *k, void **function); /* owner: d */
    /* Blocks of 256 threads. arg: n pointers; access: n of them, each what the launch does with arg's memory. */
    gd_status (*launch)(gd__cu_device *d, void *stream, void *function, uint32_t grid, int n, void *const *arg,
                        const gd__cu_access *access);
    gd_status (*plan)(gd__cu_device *d, const char *layer, const gd__dnn_conv *c, void **plan, size_t *workspace);
    gd_status (*plan_free)(gd__cu_device *d, void *plan);
    /* x, w, y as gd__dnn_run has them. access: of x, w, y and workspace. */
    gd_status (*convolve)(gd__cu_device *d, void *stream, void *plan, void *const arg[4], const gd__cu_access access[4]);
    gd_status (*capture)(gd__cu_device *d, void *stream); /* until capture_end nothing of it runs */
    gd_status (*capture_end)(gd__cu_device *d, void *stream, void **graph);
    gd_status (*graph_launch)(gd__cu_device *d, void *stream, void *graph);
    gd_status (*graph_free)(gd__cu_device *d, void *graph);
};

#endif
