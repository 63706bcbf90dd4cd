/* compute/cuda/dnn.h -- convolutions and matrix products as plans of cuDNN's backend graph API. Folder-internal.
 *
 * gd__dnn_of      a node -> the problem that cuDNN gets: channels padded, products as 1x1 convolutions
 * gd__dnn_make    problem -> plan: by heuristics, the first engine that fits what was asked for, or the fastest of several
 *                 that were timed; kept on disk by key
 * gd__dnn_export, gd__dnn_import   the choices of rank 0 on all ranks
 *
 * Layout NHWC and KRSC, sums in f32. bf16: all three tensors bf16, or the result f32 (`wide`); tf32 and f32: all f32.
 * Planning needs no GPU: a device can be given as the text of its properties. */
#ifndef GANDIST_COMPUTE_CUDA_DNN_H
#define GANDIST_COMPUTE_CUDA_DNN_H

#include <stdbool.h>
#include <stdint.h>

#include "compute/graph.h"

typedef enum gd__dnn_math {
    GD__DNN_F32,  /* every product in f32: no tensor cores                    */
    GD__DNN_TF32, /* f32 storage, factors rounded to 10 bits for tensor cores */
    GD__DNN_BF16
} gd__dnn_math;

/* One of the three directions of a convolution. Named by the forward direction: x [n,h,w,c], w [k,r,s,c], y [n,p,q,k]. */
typedef struct gd__dnn_conv {
    gd_op op; /* CONV, CONV_DX, CONV_DW */
    gd__dnn_math math;
    bool wide; /* BF16: the result is not rounded but stored in f32; only engines that are compiled for a problem do it */
    int64_t n, h, w, c, k, r, s, p, q;
    int stride, pad[4]; /* top, bottom, left, right */
} gd__dnn_conv;

/* The problem of HEAVY node n. *c: as it is; *padded: with channels that are multiples of 8 where tensor cores are used.
 * A product with both factors transposed has its result transposed: *transposed. */
void gd__dnn_of(const gd_graph *g, gd_node n, gd__dnn_math math, gd__dnn_conv *c, gd__dnn_conv *padded, bool *transposed);
/* "conv bf16 x[8,64,64,8] w[64,4,4,8] y[8,32,32,64] stride 2 pad 1,1,1,1" ("bf16-f32": wide): all that a plan follows
 * from. */
void gd__dnn_text(const gd__dnn_conv *c, char out[192]);

typedef struct gd__dnn gd__dnn;

typedef enum gd__dnn_tune {
    GD__DNN_BY_ENVIRONMENT, /* GANDIST_CUDA_TUNE: heuristic (also where it is not set), timed, all */
    GD__DNN_HEURISTIC,      /* the same choice on every start                                       */
    GD__DNN_TIMED,          /* the first 8 that fit are run a few times; two starts may choose differently */
    GD__DNN_ALL             /* all that fit are                                                     */
} gd__dnn_tune;

typedef struct gd__dnn_opts {
    const char *device;       /* JSON of a device's properties; NULL: of the current CUDA device     */
    const char *cache;        /* folder of plans, made if need be; NULL: none                        */
    bool nondeterministic;    /* engines that add in changing order may be used                      */
    size_t workspace_max;     /* bytes; 0: 512 MiB                                                   */
    gd__dnn_tune tune;
} gd__dnn_opts;

/* *out: owner: caller. Errors: UNSUP (no cuDNN 9, or it refuses the device, or plans for a device that is not here are to
 * be timed), USAGE (GANDIST_CUDA_TUNE), CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd__dnn_open(const gd__dnn_opts *o, gd__dnn **out);
void gd__dnn_close(gd__dnn *d);
size_t gd__dnn_version(const gd__dnn *d); /* 91900 */
/* The properties of the current device as JSON, to be saved. owner: caller (malloc'ed). Errors: UNSUP, NOMEM. */
GD_CHECKED gd_status gd__dnn_device(gd__dnn *d, char **json);

typedef struct gd__dnn_plan {
    void *plan;           /* cuDNN's descriptor; d must outlive it */
    int64_t engine;
    size_t workspace;     /* bytes */
    bool tensor_cores, deterministic, cached, imported;
    double seconds;       /* what it took when it was chosen; 0: it was not timed  */
    int candidates;       /* of which it was the fastest                           */
} gd__dnn_plan;

/* name: of the layer, for messages. Not while a stream is captured. Errors: UNSUP (names layer, problem and why each engine was
 * refused, or that rank 0's choice is none here), CUDA (timing failed in a way that leaves no device), NOMEM. */
GD_CHECKED gd_status gd__dnn_make(gd__dnn *d, const char *name, const gd__dnn_conv *c, gd__dnn_plan *out);
void gd__dnn_plan_free(const gd__dnn *d, gd__dnn_plan *p);
/* Whether plans that are made from here on are timed. */
bool gd__dnn_times(const gd__dnn *d);
/* All plans made so far, so that another rank with the same cuDNN and kind of device makes the same; none where all are by heuristics,
 * which say the same everywhere. *text: owner: caller, free. Errors: NOMEM. */
GD_CHECKED gd_status gd__dnn_export(const gd__dnn *d, char **text);
/* Before plans are made: what the text has is used, whatever the setting; what it has not is chosen by heuristics. Errors,
 * and then nothing is taken: DATA (damaged), CONFIG (of another cuDNN, device or other wishes), NOMEM. */
GD_CHECKED gd_status gd__dnn_import(gd__dnn *d, const void *text, size_t bytes);
/* "12 convolutions: 9 timed, 2 from the cache, 1 imported"; empty where all are by heuristics. */
void gd__dnn_summary(const gd__dnn *d, char out[128]);
/* Puts the plan's work on the stream (a cudaStream_t). Device pointers, 16-byte aligned; workspace of the plan's bytes.
 * Allocates host memory only. Errors: CUDA, UNSUP (no device). */
GD_CHECKED gd_status gd__dnn_run(gd__dnn *d, const gd__dnn_plan *p, void *stream, void *x, void *w, void *y,
                                 void *workspace);

#endif
