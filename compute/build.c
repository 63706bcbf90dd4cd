/* compute/build.c -- builders of leaves and elementwise nodes. */
#include <stdio.h>
#include <string.h>

#include "compute/build.h"

/* ---- leaves ---- */

/* One name is one storage, so a name asked for again gives the node that is there: a gradient to
 * it then sees every use. */
static gd_node named_leaf(gd_graph *g, gd_op op, const char *name, const gd_attr *attr) {
    if (gd__failed(g)) return GD_NONE;
    if (!name || !name[0])
        return gd_graph_fail(g, GD_INTERNAL, "%s: no name; expected one to bind it by", gd_op_text(op));
    for (gd_node n = 0; n < gd_graph_count(g); n++) {
        const gd_node_info *i = gd_graph_at(g, n);
        if ((i->op != GD_OP_INPUT && i->op != GD_OP_PARAM) || strcmp(i->name, name) != 0) continue;
        if (i->op != op || i->attr.kind != attr->kind || !gd_shape_equal(i->shape, attr->shape)) {
            char was[96];
            gd_shape_text(i->shape, was);
            return gd_graph_fail(g, GD_SHAPE,
                                 "%s: asked for as %s of another shape or dtype; there is %s %s %s "
                                 "already, and one name is one storage",
                                 name, gd_op_text(op), gd_op_text(i->op), gd_dtype_text(i->dtype), was);
        }
        if (i->attr.version == attr->version) return n;
    }
    return gd__add_leaf(g, op, name, attr);
}

gd_node gd_input(gd_graph *g, const char *name, gd_dtype t, gd_shape s) {
    return named_leaf(g, GD_OP_INPUT, name, &(gd_attr){.kind = (int32_t)t, .shape = s});
}

gd_node gd_param(gd_graph *g, const char *name, gd_shape s, int version) {
    return named_leaf(g, GD_OP_PARAM, name, &(gd_attr){.version = version, .shape = s});
}

gd_node gd_const(gd_graph *g, double value, gd_shape s) {
    return gd__add_leaf(g, GD_OP_CONST, NULL, &(gd_attr){.value = value, .shape = s});
}

gd_node gd_random(gd_graph *g, gd_random_kind kind, uint32_t purpose, gd_shape s) {
    return gd__add_leaf(g, GD_OP_RANDOM, NULL, &(gd_attr){.kind = (int32_t)kind, .purpose = purpose, .shape = s});
}

/* ---- elementwise, one input ---- */

#define UNARY(function, op)                                                                                            \
    gd_node function(gd_graph *g, gd_node x) { return gd__add(g, op, x, GD_NONE, NULL); }
UNARY(gd_neg, GD_OP_NEG)
UNARY(gd_abs, GD_OP_ABS)
UNARY(gd_sign, GD_OP_SIGN)
UNARY(gd_step, GD_OP_STEP)
UNARY(gd_square, GD_OP_SQUARE)
UNARY(gd_sqrt, GD_OP_SQRT)
UNARY(gd_rsqrt, GD_OP_RSQRT)
UNARY(gd_recip, GD_OP_RECIP)
UNARY(gd_exp, GD_OP_EXP)
UNARY(gd_log, GD_OP_LOG)
UNARY(gd_tanh, GD_OP_TANH)
UNARY(gd_sigmoid, GD_OP_SIGMOID)
UNARY(gd_softplus, GD_OP_SOFTPLUS)
UNARY(gd_stop, GD_OP_STOP)
#undef UNARY

gd_node gd_leaky(gd_graph *g, gd_node x, double slope) {
    return gd__add(g, GD_OP_LEAKY, x, GD_NONE, &(gd_attr){.value = slope});
}

gd_node gd_leaky_slope(gd_graph *g, gd_node x, double slope) {
    return gd__add(g, GD_OP_LEAKY_SLOPE, x, GD_NONE, &(gd_attr){.value = slope});
}

gd_node gd_clamp(gd_graph *g, gd_node x, double low, double high) {
    return gd__add(g, GD_OP_CLAMP, x, GD_NONE, &(gd_attr){.value = low, .value2 = high});
}

gd_node gd_cast(gd_graph *g, gd_node x, gd_dtype t) {
    if (!gd__usable(g, GD_OP_CAST, x)) return GD_NONE;
    if (gd_graph_at(g, x)->dtype == t) return x;
    return gd__add(g, GD_OP_CAST, x, GD_NONE, &(gd_attr){.kind = (int32_t)t});
}

/* ---- elementwise, two inputs ---- */

/* Common shape of a and b; false when they do not broadcast. */
static bool common_shape(gd_shape a, gd_shape b, gd_shape *out) {
    if (a.rank != b.rank) return false;
    *out = a;
    for (int i = 0; i < a.rank; i++) {
        if (a.dim[i] != b.dim[i] && a.dim[i] != 1 && b.dim[i] != 1) return false;
        if (a.dim[i] == 1) out->dim[i] = b.dim[i];
    }
    return true;
}

static gd_node binary(gd_graph *g, gd_op op, gd_node a, gd_node b) {
    if (!gd__usable(g, op, a) || !gd__usable(g, op, b)) return GD_NONE;
    gd_shape sa = gd_node_shape(g, a), sb = gd_node_shape(g, b), s;
    if (!common_shape(sa, sb, &s)) {
        char name[300], ta[96], tb[96];
        gd__next_name(g, op, name, sizeof name);
        gd_shape_text(sa, ta);
        gd_shape_text(sb, tb);
        gd__refuse(g, name,
                   "shapes %s (%s) and %s (%s) do not fit; expected equal rank, and in each "
                   "dimension equal sizes or 1",
                   ta, gd_graph_at(g, a)->name, tb, gd_graph_at(g, b)->name);
        return GD_NONE;
    }
    gd_node wide_a = gd_broadcast(g, a, s);
    return gd__add(g, op, wide_a, gd_broadcast(g, b, s), NULL);
}

gd_node gd_add(gd_graph *g, gd_node a, gd_node b) { return binary(g, GD_OP_ADD, a, b); }
gd_node gd_sub(gd_graph *g, gd_node a, gd_node b) { return binary(g, GD_OP_SUB, a, b); }
gd_node gd_mul(gd_graph *g, gd_node a, gd_node b) { return binary(g, GD_OP_MUL, a, b); }
gd_node gd_div(gd_graph *g, gd_node a, gd_node b) { return binary(g, GD_OP_DIV, a, b); }
gd_node gd_max(gd_graph *g, gd_node a, gd_node b) { return binary(g, GD_OP_MAX, a, b); }
gd_node gd_min(gd_graph *g, gd_node a, gd_node b) { return binary(g, GD_OP_MIN, a, b); }

/* A constant of x's shape and dtype. */
static gd_node const_like(gd_graph *g, gd_op op, gd_node x, double value) {
    if (!gd__usable(g, op, x)) return GD_NONE;
    return gd_cast(g, gd_const(g, value, gd_node_shape(g, x)), gd_graph_at(g, x)->dtype);
}

gd_node gd_scale(gd_graph *g, gd_node x, double factor) {
    return factor == 1 ? x : gd_mul(g, x, const_like(g, GD_OP_MUL, x, factor));
}

gd_node gd_shift(gd_graph *g, gd_node x, double offset) {
    return offset == 0 ? x : gd_add(g, x, const_like(g, GD_OP_ADD, x, offset));
}
