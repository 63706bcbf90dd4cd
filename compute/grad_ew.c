/* compute/grad_ew.c -- gradient rules of leaves and elementwise ops. */
#include <assert.h>

#include "compute/grad.h"

/* Leaves have no inputs to pass a gradient to, so this is never called. */
void gd__vjp_none(gd_graph *g, gd_node y, gd_node dy, const bool need[2], gd_node dx[2]) {
    (void)g, (void)y, (void)dy, (void)need, (void)dx;
    assert(!"a leaf has no gradient rule");
}

/* Piecewise constant, or declared so: no gradient. */
void gd__vjp_zero(gd_graph *g, gd_node y, gd_node dy, const bool need[2], gd_node dx[2]) {
    (void)g, (void)y, (void)dy, (void)need;
    dx[0] = GD_NONE;
}

static gd_node one_minus(gd_graph *g, gd_node x) { return gd_shift(g, gd_neg(g, x), 1); }

/* 1 where low < x < high. */
static gd_node inside(gd_graph *g, gd_node x, const gd_attr *a) {
    gd_node above = gd_step(g, gd_shift(g, x, -a->value));
    return gd_mul(g, above, gd_step(g, gd_shift(g, gd_neg(g, x), a->value2)));
}

/* leaky keeps the sign unless the slope is negative, so y tells the side as well as x does; y is what
 * the next layer needs anyway, and x then dies early. */
static gd_node slope_of(gd_graph *g, gd_node x, gd_node y, double slope) {
    return gd_leaky_slope(g, slope >= 0 ? y : x, slope);
}

// clang-format off
GD_UNARY_RULE(neg,      gd_neg(g, dy))
GD_UNARY_RULE(abs,      gd_mul(g, dy, gd_sign(g, x)))
GD_UNARY_RULE(square,   gd_mul(g, dy, gd_scale(g, x, 2)))
GD_UNARY_RULE(sqrt,     gd_div(g, gd_scale(g, dy, 0.5), y))
GD_UNARY_RULE(rsqrt,    gd_mul(g, gd_scale(g, dy, -0.5), gd_mul(g, y, gd_square(g, y))))
GD_UNARY_RULE(recip,    gd_neg(g, gd_mul(g, dy, gd_square(g, y))))
GD_UNARY_RULE(exp,      gd_mul(g, dy, y))
GD_UNARY_RULE(log,      gd_div(g, dy, x))
GD_UNARY_RULE(tanh,     gd_mul(g, dy, one_minus(g, gd_square(g, y))))
GD_UNARY_RULE(sigmoid,  gd_mul(g, dy, gd_mul(g, y, one_minus(g, y))))
GD_UNARY_RULE(softplus, gd_mul(g, dy, gd_sigmoid(g, x)))
GD_UNARY_RULE(leaky,    gd_mul(g, dy, slope_of(g, x, y, i->attr.value)))
GD_UNARY_RULE(clamp,    gd_mul(g, dy, inside(g, x, &i->attr)))
GD_UNARY_RULE(cast,     gd_cast(g, dy, gd__grad_dtype(g, x)))
// clang-format on

GD_BINARY_RULE(add) {
    (void)g, (void)y;
    for (int k = 0; k < 2; k++)
        if (need[k]) dx[k] = dy;
}

GD_BINARY_RULE(sub) {
    (void)y;
    if (need[0]) dx[0] = dy;
    if (need[1]) dx[1] = gd_neg(g, dy);
}

GD_BINARY_RULE(mul) {
    const gd_node_info *i = gd_graph_at(g, y);
    if (need[0]) dx[0] = gd_mul(g, dy, i->in[1]);
    if (need[1]) dx[1] = gd_mul(g, dy, i->in[0]);
}

GD_BINARY_RULE(div) {
    gd_node da = gd_div(g, dy, gd_graph_at(g, y)->in[1]);
    if (need[0]) dx[0] = da;
    if (need[1]) dx[1] = gd_neg(g, gd_mul(g, da, y)); /* y = a/b, so a/b^2 = y/b */
}

/* wins: 1 where the first input is the result. The gradient goes there, else to the second. */
static void choose(gd_graph *g, gd_node wins, gd_node dy, const bool need[2], gd_node dx[2]) {
    gd_node to_a = gd_mul(g, dy, wins);
    if (need[0]) dx[0] = to_a;
    if (need[1]) dx[1] = gd_sub(g, dy, to_a);
}

GD_BINARY_RULE(max) {
    const gd_node_info *i = gd_graph_at(g, y);
    choose(g, gd_step(g, gd_sub(g, i->in[0], i->in[1])), dy, need, dx);
}

GD_BINARY_RULE(min) {
    const gd_node_info *i = gd_graph_at(g, y);
    choose(g, gd_step(g, gd_sub(g, i->in[1], i->in[0])), dy, need, dx);
}
