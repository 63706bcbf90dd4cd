/* compute/grad.h -- what the gradient rules share. Folder-internal. */
#ifndef GANDIST_COMPUTE_GRAD_H
#define GANDIST_COMPUTE_GRAD_H

#include "compute/build.h"

/* gd__vjp_add, gd__vjp_conv, ...: the rules named in the op table (see gd__vjp_fn). */
#define GD_OP_VJP_DECLARE(name, text, in, class, infer, vjp)                                       \
    void gd__##vjp(gd_graph *g, gd_node y, gd_node dy, const bool need[2], gd_node dx[2]);
GD_OP_LIST(GD_OP_VJP_DECLARE)
#undef GD_OP_VJP_DECLARE

/* Defines the rule of a unary op: `expression` is dx in terms of g, i (the node's info), x, y, dy. */
#define GD_UNARY_RULE(rule, expression)                                                            \
    void gd__vjp_##rule(gd_graph *g, gd_node y, gd_node dy, const bool need[2], gd_node dx[2]) {   \
        const gd_node_info *i = gd_graph_at(g, y);                                                 \
        gd_node x = i->in[0];                                                                      \
        (void)need, (void)x, (void)dy;                                                             \
        dx[0] = (expression);                                                                      \
    }
/* Head of the rule of a binary op y = op(a, b). */
#define GD_BINARY_RULE(rule)                                                                       \
    void gd__vjp_##rule(gd_graph *g, gd_node y, gd_node dy, const bool need[2], gd_node dx[2])

/* dtype that the gradient to x has: x's own, f32 for integers. */
gd_dtype gd__grad_dtype(const gd_graph *g, gd_node x);

#endif
