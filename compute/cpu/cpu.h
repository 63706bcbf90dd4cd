/* compute/cpu/cpu.h -- what the files of the executor cpu share. Folder-internal.
 *
 * prepare makes one kernel a step; a kernel knows its shapes and finds its data in gd_memory when it
 * runs. A kernel never allocates while it runs: its temporary memory is gd_memory.scratch, of the
 * size that it asked for in prepare.
 *
 * Threads. Work is cut into pieces whose number and borders follow from shapes alone, and partial
 * results are added in the order of the pieces: the number of threads changes nothing but the time. */
#ifndef GANDIST_COMPUTE_CPU_CPU_H
#define GANDIST_COMPUTE_CPU_CPU_H

#include "compute/cpu/dnnl_shim.h"
#include "compute/exec.h"

typedef struct gd__kernel gd__kernel;
struct gd__kernel {
    gd_status (*run)(gd__kernel *k, const gd_memory *m);
    void (*release)(gd__kernel *k); /* frees k itself */
    size_t scratch_bytes;           /* per instance, alive during the step */
    size_t shared_bytes;            /* held by the kernel */
    char text[128];                 /* for describe_step */
};

/* A zeroed kernel of `bytes` bytes whose first member is a gd__kernel; NULL when memory is out. */
void *gd__kernel_new(size_t bytes, gd_status (*run)(gd__kernel *, const gd_memory *));
void gd__kernel_release_plain(gd__kernel *k); /* release of kernels that own nothing else */

/* Makers of kernels, by op class. *out: owner: caller. Errors: UNSUP, NOMEM, INTERNAL. */
gd_status gd__make_heavy(const gd_graph *g, gd_node n, gd_dnnl *d, gd__kernel **out);
gd_status gd__make_move(const gd_graph *g, gd_node n, gd__kernel **out);
gd_status gd__make_group(const gd_view *v, int n_nodes, const gd_node *nodes, gd__kernel **out);

/* Whether node n can run; if not, the reason is in why. */
bool gd__heavy_supports(const gd_graph *g, gd_node n, char *why, size_t room);
bool gd__move_supports(const gd_graph *g, gd_node n, char *why, size_t room);
bool gd__group_supports(const gd_graph *g, gd_node n, char *why, size_t room);

/* Threads for a loop over `work` elementary operations: all, or 1 when a parallel region would cost more
 * than it saves. Counts for the calling thread; set by gd__threads_enter. */
int gd__threads_for(int64_t work);
int gd__threads_wanted(void);       /* what a program made now will use */
void gd__threads_enter(int threads); /* all loops and oneDNN calls of this thread from now on */

/* A heavy op cut into pieces that are each one oneDNN op for one thread, so that the order of sums is
 * fixed. Offsets in bytes. */
typedef struct gd__piece {
    gd_dnnl_op *op;
    size_t a_at, b_at, out_at, scratch_at;
    int64_t first_k, first_n; /* backward weights: the block of filters and of images */
} gd__piece;

typedef struct gd__pieces {
    int n;
    int64_t work; /* multiplications of all */
    gd__piece *piece;
    size_t scratch_bytes;
    /* backward weights: blocks of filters; of images, each of which leaves a partial sum when there is
     * more than one; dy is copied block by block when filters are cut. */
    int filter_blocks, image_blocks;
    gd_dnnl_conv block;    /* shape of one piece       */
    int64_t all_k;         /* filters of the whole     */
    size_t partial_at;
} gd__pieces;

/* Errors: UNSUP when oneDNN has no implementation, NOMEM. */
gd_status gd__pieces_matmul(gd_dnnl *d, const gd_dnnl_matmul *mm, gd__pieces *out);
gd_status gd__pieces_weights(gd_dnnl *d, const gd_dnnl_conv *c, gd__pieces *out);
gd_status gd__pieces_images(gd_dnnl *d, const gd_dnnl_conv *c, gd__pieces *out); /* forward and data passes */
gd_status gd__pieces_run(const gd__pieces *p, const void *a, const void *b, void *out, char *scratch);
void gd__pieces_free(gd__pieces *p);

/* Convolution by plain loops, for shapes that oneDNN refuses. f32, any padding. Same meaning of a, b
 * and out as gd_dnnl_op_run. */
void gd__conv_plain(const gd_dnnl_conv *c, const float *a, const float *b, float *out);

/* Conversions, n elements. */
void gd__widen(const uint16_t *bf16, float *out, int64_t n);
void gd__narrow(const float *x, uint16_t *bf16, int64_t n);

/* f32 copies of bf16 operands and result, in scratch, where an implementation only works on f32: the same sums of the
 * same products. Operands 0, 1; result 2. */
typedef struct gd__copies {
    bool widen, narrow;
    int64_t count[3];
    size_t at[3], bytes;
} gd__copies;

void gd__copies_plan(gd__copies *c, bool as_f32, gd_dtype in, gd_dtype out, const int64_t count[3]);
/* The operand, or its copy, made now. */
const void *gd__copies_in(const gd__copies *c, int i, const void *x, char *scratch);
/* Where to compute the result; gd__copies_done brings it to `out`. */
void *gd__copies_out(const gd__copies *c, void *out, char *scratch);
void gd__copies_done(const gd__copies *c, void *out, const char *scratch);

static inline size_t gd__align64(size_t n) { return (n + 63) & ~(size_t)63; }

#endif
