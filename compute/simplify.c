/* compute/simplify.c -- constants, symbolic zeros and ones, and ops that undo or repeat each other.
 *
 * Zero times anything is zero, also where the other factor might be infinite: gradients of branches
 * that do not depend on a value are exact zeros here, and what feeds only them disappears. */
#include <math.h>

#include "compute/build.h"
#include "compute/passes.h"

static bool constant(const gd_graph *g, gd_node x, double *value) {
    if (x == GD_NONE || gd_graph_at(g, x)->op != GD_OP_CONST) return false;
    *value = gd_graph_at(g, x)->attr.value;
    return true;
}

static bool is_constant(const gd_graph *g, gd_node x, double value) {
    double v;
    return constant(g, x, &v) && v == value;
}

static gd_node fill(gd_graph *to, const gd_node_info *n, double value) { return gd_const(to, value, n->shape); }

/* Value of a unary elementwise op of a constant; false for ops that have none here. */
static bool fold_unary(const gd_node_info *n, double v, double *out) {
    switch (n->op) {
    case GD_OP_NEG: *out = -v; return true;
    case GD_OP_ABS: *out = fabs(v); return true;
    case GD_OP_SIGN: *out = (v > 0) - (v < 0); return true;
    case GD_OP_STEP: *out = v > 0; return true;
    case GD_OP_SQUARE: *out = v * v; return true;
    case GD_OP_SQRT: *out = sqrt(v); return true;
    case GD_OP_RSQRT: *out = 1 / sqrt(v); return true;
    case GD_OP_RECIP: *out = 1 / v; return true;
    case GD_OP_EXP: *out = exp(v); return true;
    case GD_OP_LOG: *out = log(v); return true;
    case GD_OP_TANH: *out = tanh(v); return true;
    case GD_OP_SIGMOID: *out = v < 0 ? exp(v) / (1 + exp(v)) : 1 / (1 + exp(-v)); return true;
    case GD_OP_SOFTPLUS: *out = fmax(v, 0) + log1p(exp(-fabs(v))); return true;
    case GD_OP_LEAKY: *out = v > 0 ? v : n->attr.value * v; return true;
    case GD_OP_LEAKY_SLOPE: *out = v > 0 ? 1 : n->attr.value; return true;
    case GD_OP_CLAMP: *out = fmin(fmax(v, n->attr.value), n->attr.value2); return true;
    case GD_OP_STOP: *out = v; return true;
    default: return false;
    }
}

/* Whether every value of type `from` is one of type `to`: bytes have 8 bits, as bf16 has. */
static bool exact(gd_dtype from, gd_dtype to) { return from == to || to == GD_F32 || (from == GD_U8 && to == GD_BF16); }

static gd_node simplify_unary(gd_graph *to, const gd_node_info *n, gd_node a) {
    const gd_node_info *x = gd_graph_at(to, a);
    double v, w;
    /* What is no number, the root of -1 say, is left to the run: no CONST is NaN. */
    if (constant(to, a, &v) && fold_unary(n, v, &w) && !isnan(w)) return fill(to, n, w);
    if (n->op == GD_OP_NEG && x->op == GD_OP_NEG) return x->in[0];
    if (n->op == GD_OP_STOP) return a; /* gradients have been taken */
    if (n->op == GD_OP_CAST && x->dtype == n->dtype) return a;
    if (n->op == GD_OP_CAST && x->op == GD_OP_CAST && exact(gd_graph_at(to, x->in[0])->dtype, x->dtype))
        return gd_cast(to, x->in[0], n->dtype);
    return gd__add_like(to, n, a, GD_NONE);
}

static bool fold_binary(gd_op op, double u, double v, double *out) {
    switch (op) {
    case GD_OP_ADD: *out = u + v; return true;
    case GD_OP_SUB: *out = u - v; return true;
    case GD_OP_MUL: *out = u * v; return true;
    case GD_OP_DIV: *out = u / v; return true;
    case GD_OP_MAX: *out = u > v ? u : v; return true;
    case GD_OP_MIN: *out = u < v ? u : v; return true;
    default: return false;
    }
}

static gd_node simplify_mul(gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    double u, v;
    if (is_constant(to, a, 0) || is_constant(to, b, 0)) return fill(to, n, 0);
    if (is_constant(to, a, 1)) return b;
    if (is_constant(to, b, 1)) return a;
    if (constant(to, a, &u)) { /* constants stand second */
        gd_node swap = a;
        a = b;
        b = swap;
    }
    const gd_node_info *x = gd_graph_at(to, a);
    if (constant(to, b, &v) && x->op == GD_OP_MUL && constant(to, x->in[1], &u))
        return gd_mul(to, x->in[0], fill(to, n, u * v));
    return gd__add_like(to, n, a, b);
}

static gd_node simplify_binary(gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    double u, v, w;
    if (constant(to, a, &u) && constant(to, b, &v) && fold_binary(n->op, u, v, &w) && !isnan(w)) return fill(to, n, w);
    switch (n->op) {
    case GD_OP_MUL: return simplify_mul(to, n, a, b);
    case GD_OP_ADD:
        if (is_constant(to, a, 0)) return b;
        if (is_constant(to, b, 0)) return a;
        break;
    case GD_OP_SUB:
        if (is_constant(to, b, 0)) return a;
        if (is_constant(to, a, 0)) return gd_neg(to, b);
        break;
    case GD_OP_DIV:
        if (is_constant(to, a, 0)) return fill(to, n, 0);
        if (is_constant(to, b, 1)) return a;
        break;
    default: break;
    }
    return gd__add_like(to, n, a, b);
}

static gd_node simplify_sum(gd_graph *to, const gd_node_info *n, gd_node a) {
    double v;
    gd_shape s = gd_node_shape(to, a);
    double many = (double)gd_shape_count(s) / (double)gd_shape_count(n->shape);
    if (constant(to, a, &v)) return fill(to, n, v * many);
    return gd_shape_equal(s, n->shape) ? gd_cast(to, a, GD_F32) : gd__add_like(to, n, a, GD_NONE);
}

/* Permutations of permutations join; one that only moves dimensions of size 1 leaves memory as it is. */
static gd_node simplify_permute(gd_graph *to, const gd_node_info *n, gd_node a) {
    const gd_node_info *x = gd_graph_at(to, a);
    int perm[GD_RANK_MAX], last = -1;
    for (int i = 0; i < n->shape.rank; i++) perm[i] = n->attr.perm[i];
    if (x->op == GD_OP_PERMUTE) {
        for (int i = 0; i < n->shape.rank; i++) perm[i] = x->attr.perm[n->attr.perm[i]];
        a = x->in[0];
    }
    for (int i = 0; i < n->shape.rank; i++) {
        if (n->shape.dim[i] == 1) continue;
        if (perm[i] < last) return gd_permute(to, a, perm);
        last = perm[i];
    }
    return gd_reshape(to, a, n->shape);
}

/* Ops that only rearrange: a constant stays one, repeated ones join. */
static gd_node simplify_move(gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    const gd_node_info *x = gd_graph_at(to, a);
    double v;
    bool all = constant(to, a, &v), zero = all && v == 0;
    switch (n->op) {
    case GD_OP_BROADCAST:
        if (all) return fill(to, n, v);
        return x->op == GD_OP_BROADCAST ? gd_broadcast(to, x->in[0], n->shape) : gd_broadcast(to, a, n->shape);
    case GD_OP_RESHAPE:
        if (all) return fill(to, n, v);
        return gd_reshape(to, x->op == GD_OP_RESHAPE ? x->in[0] : a, n->shape);
    case GD_OP_PERMUTE: return all ? fill(to, n, v) : simplify_permute(to, n, a);
    case GD_OP_SLICE:
    case GD_OP_PAD_REFLECT:
    case GD_OP_UPSAMPLE:
        if (all) return fill(to, n, v);
        break;
    case GD_OP_SUMPOOL:
        if (all) return fill(to, n, v * n->attr.factor * n->attr.factor);
        break;
    case GD_OP_PAD:
    case GD_OP_FOLD_REFLECT:
        if (zero) return fill(to, n, 0);
        break;
    case GD_OP_CONCAT:
        if (all && is_constant(to, b, v)) return fill(to, n, v);
        break;
    default: break;
    }
    return gd__add_like(to, n, a, b);
}

gd_node gd__rule_simplify(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    double v;
    (void)ctx;
    switch (gd_op_class_of(n->op)) {
    case GD_CLASS_EW: return gd_op_arity(n->op) == 1 ? simplify_unary(to, n, a) : simplify_binary(to, n, a, b);
    case GD_CLASS_RED: return simplify_sum(to, n, a);
    case GD_CLASS_VIEW:
    case GD_CLASS_MOVE: return simplify_move(to, n, a, b);
    case GD_CLASS_HEAVY:
        if (n->dtype == GD_F32 && (is_constant(to, a, 0) || is_constant(to, b, 0))) return fill(to, n, 0);
        break;
    case GD_CLASS_COMM:
        if (constant(to, a, &v)) return fill(to, n, v * (double)gd_graph_shards(to));
        break;
    default: break;
    }
    return gd__add_like(to, n, a, b);
}
