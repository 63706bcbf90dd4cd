/* compute/cpu/dnnl_shim.h -- the only door to oneDNN, for its C interfaces 2.x and 3.x.
 *
 * An op is a prepared primitive with its memory objects and, where the library prefers another
 * weight layout than ours, the reorder between the two. Everything is created by *_make; a run only
 * sets data handles and executes, so it allocates nothing here. Data is dense and row-major: images
 * [N,H,W,C], weights [K,R,S,C], matrices [rows,columns].
 *
 * One thread at a time may run an op: its memory objects are part of it. Different ops may run at the
 * same time. The number of OpenMP threads that is current during *_make is built into the op and must
 * be current in run. Results of FORWARD and BACKWARD_DATA do not depend on it (measured: 2.6, 3.7); those
 * of BACKWARD_WEIGHTS and of matrix products do, where the library splits the sum. */
#ifndef GANDIST_COMPUTE_CPU_DNNL_SHIM_H
#define GANDIST_COMPUTE_CPU_DNNL_SHIM_H

#include "compute/graph.h"

typedef struct gd_dnnl gd_dnnl; /* engine and stream */
typedef struct gd_dnnl_op gd_dnnl_op;

/* *out: owner: caller. Errors: UNSUP, NOMEM with the library's status. */
GD_CHECKED gd_status gd_dnnl_open(gd_dnnl **out);
void gd_dnnl_close(gd_dnnl *d); /* after all its ops; NULL is fine */

typedef enum gd_dnnl_pass { GD_DNNL_FORWARD, GD_DNNL_BACKWARD_DATA, GD_DNNL_BACKWARD_WEIGHTS } gd_dnnl_pass;

/* y [n,p,q,k] = conv(x [n,h,w,c], w [k,r,s,c]) and its two gradients. pad: top, bottom, left, right
 * of x; bottom and right must be what p and q need exactly. */
typedef struct gd_dnnl_conv {
    gd_dnnl_pass pass;
    gd_dtype in_type, out_type; /* of both operands, of the result: F32 or BF16 */
    int64_t n, h, w, c, k, r, s, p, q;
    int64_t stride, pad[4];
} gd_dnnl_conv;

/* *out: owner: caller. Errors: UNSUP when the library has no implementation, NOMEM. */
GD_CHECKED gd_status gd_dnnl_conv_make(gd_dnnl *d, const gd_dnnl_conv *c, gd_dnnl_op **out);
/* c [m,n] = op(a) op(b), op transposes when ta (tb): a is then [k,m], b [n,k]. *_row: elements from
 * one row in memory to the next, at least its length. */
typedef struct gd_dnnl_matmul {
    gd_dtype in_type, out_type;
    bool ta, tb;
    int64_t m, n, k, a_row, b_row, c_row;
} gd_dnnl_matmul;
GD_CHECKED gd_status gd_dnnl_matmul_make(gd_dnnl *d, const gd_dnnl_matmul *mm, gd_dnnl_op **out);
void gd_dnnl_op_free(gd_dnnl_op *op); /* NULL is fine */

size_t gd_dnnl_op_scratch(const gd_dnnl_op *op); /* bytes that run needs, 64-byte aligned */
/* Implementation chosen by the library ("brgconv:avx512_core"). owner: op. */
const char *gd_dnnl_op_text(const gd_dnnl_op *op);
/* a, b: FORWARD x, w; BACKWARD_DATA dy, w; BACKWARD_WEIGHTS x, dy; matrices a, b. */
GD_CHECKED gd_status gd_dnnl_op_run(gd_dnnl_op *op, const void *a, const void *b, void *out, void *scratch);

/* Row-major c [m,n] = op(a) op(b) in f32, all threads; for measurements. The library allocates. */
GD_CHECKED gd_status gd_dnnl_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                                   const float *b, float *c);
/* "oneDNN 2.6.3" of the library that is loaded. */
void gd_dnnl_version(char *out, size_t room);

#endif
