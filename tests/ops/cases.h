/* tests/ops/cases.h -- the list of op cases that gradient, closure, parity and property tests share. */
#ifndef GANDIST_TESTS_OPS_CASES_H
#define GANDIST_TESTS_OPS_CASES_H

#include "harness.h"

typedef enum ops_trait {
    OPS_LINEAR = 1, /* in its first input, the second held                              */
    OPS_NO_FD = 2,  /* not differentiable by finite differences on purpose: stop, bf16  */
    OPS_LARGE = 4   /* for blocked and threaded kernels; too many runs for differences  */
} ops_trait;

/* One op under test: y = op(x0, x1), built by its public builder. */
typedef struct ops_case {
    char name[48];       /* "conv/3x3 s1"; unique */
    gd_op op;
    int n_in;
    gd_shape in[2];
    ops_fill fill[2];
    gd_attr attr;
    int traits;
} ops_case;

const ops_case *ops_cases(int *count);
/* The op itself on given nodes. */
gd_node ops_case_op(gd_graph *g, const ops_case *c, const gd_node x[2]);
/* Inputs "x0", "x1" (PARAM; INPUT for the case of INPUT) and y. */
gd_node ops_case_build(gd_graph *g, const ops_case *c, gd_node x[2]);

/* True when the case is asked for: no argument, or a name or op that argument 1 starts. */
bool ops_case_wanted(const ops_case *c, int argc, char **argv);
/* Argument 2 as seed; 1 when there is none. */
uint64_t ops_seed(int argc, char **argv);

#endif
