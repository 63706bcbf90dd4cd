/* compute/cuda/emit.h -- from a step of a program to kernels and launches. Folder-internal.
 *
 * emit.c    which emitter a step has; constants and random numbers
 * group.c   fused groups: parts, launches     space.c  how threads share the work     body.c  what one of them computes
 * move.c    ops that bring elements elsewhere
 *
 * Everything follows from shapes, so equal programs have equal kernels, and sums add in one order on every device.
 * Matrix products and convolutions are not here: cuDNN runs them (dnn.h). */
#ifndef GANDIST_COMPUTE_CUDA_EMIT_H
#define GANDIST_COMPUTE_CUDA_EMIT_H

#include "compute/cuda/text.h"
#include "compute/exec.h"

enum { GD__CU_THREADS = 256 };

typedef enum gd__cu_arg_kind {
    GD__CU_NODE,    /* memory of `node`                                    */
    GD__CU_SCRATCH, /* the step's scratch, from byte `offset` on           */
    GD__CU_RUN      /* gd_kernel_run (kernel.h) of this run, on the device */
} gd__cu_arg_kind;

typedef struct gd__cu_arg {
    gd__cu_arg_kind kind;
    gd_node node;
    size_t offset, bytes; /* SCRATCH */
    bool written; /* else read */
} gd__cu_arg;

/* One launch of 1-dimensional blocks of GD__CU_THREADS threads. */
typedef struct gd__cu_launch {
    int kernel; /* in the list of kernels                              */
    uint32_t grid;
    int n_args;
    gd__cu_arg *arg;
    bool same_is_done; /* nothing to do when the first two arguments are one memory */
} gd__cu_launch;

typedef struct gd__cu_step {
    int n_launches;
    gd__cu_launch *launch;
    size_t scratch_bytes;
    char text[96]; /* for describe_step */
} gd__cu_step;

/* Whether node n has a kernel here; if not, the reason is in why. */
bool gd__cu_supports(const gd_graph *g, gd_node n, char *why, size_t room);
/* Kernels and launches of step s of v, which is no HEAVY op. Memory of *out is of a. Errors: NOMEM, UNSUP (more than
 * 2^31 blocks), INTERNAL (an op that has no kernel). */
GD_CHECKED gd_status gd__cu_emit(const gd_view *v, int s, gd_arena *a, gd__cu_kernels *kernels, gd__cu_step *out);

/* ---- between the files of the emitter ---- */

/* State of one step's emission. */
typedef struct gd__cu_emitter {
    const gd_view *v;
    gd_arena *arena;
    gd__cu_kernels *kernels;
    gd__cu_step *out;
    int room; /* of out->launch */
} gd__cu_emitter;

/* Adds kernel and launch; frees the body. arg: copied. */
gd_status gd__cu_launch_add(gd__cu_emitter *e, gd__cu_text *body, int64_t blocks, int n_args, const gd__cu_arg *arg);
gd_status gd__cu_emit_group(gd__cu_emitter *e, int n, const gd_node *nodes);
gd_status gd__cu_emit_move(gd__cu_emitter *e, gd_node node);
const char *gd__cu_c_type(gd_dtype t); /* "float", "u16", "u8" */

static inline int64_t gd__cu_divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
