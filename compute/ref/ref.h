/* compute/ref/ref.h -- the executor `ref`: each op once, in double, as plainly as it can be said.
 * It is the definition that other executors are measured against. Folder-internal. */
#ifndef GANDIST_COMPUTE_REF_REF_H
#define GANDIST_COMPUTE_REF_REF_H

#include "compute/exec.h"

/* One node to compute: y from a and b. Every dtype is stored as double. y overlaps an input only in
 * elementwise ops, or where it is that input (a view). */
typedef struct gd__ref_call {
    const gd_node_info *n;
    gd_shape sa, sb;      /* of a and b */
    const double *a, *b;  /* NULL: no such input */
    double *y;
    const gd_run_args *args;
} gd__ref_call;

void gd__ref_leaf(const gd__ref_call *c);        /* CONST, RANDOM                                   */
void gd__ref_elementwise(const gd__ref_call *c);
void gd__ref_move(const gd__ref_call *c);        /* MOVE, SUM and views                             */
void gd__ref_heavy(const gd__ref_call *c);
double gd__ref_bf16(double x);                   /* nearest bf16 value, ties to even                */

#endif
