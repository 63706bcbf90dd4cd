/* compute/grad_heavy.c -- gradient rules of products and convolutions.
 *
 * The three convolutions are the three partial adjoints of one trilinear form
 *     T(x, w, dy) = <conv(x, w), dy> = <x, conv_dx(dy, w)> = <w, conv_dw(x, dy)>,
 * so the gradient of each is made of the other two. Rows of x that no window covers (stride > 1)
 * are simply absent from T, and all three agree on it. */
#include "compute/grad.h"

/* The cotangent as an operand beside x, and the product in the dtype of the gradient it is. */
static gd_node operand(gd_graph *g, gd_node dy, gd_node beside) {
    return gd_cast(g, dy, gd_graph_at(g, beside)->dtype);
}

static gd_node finish(gd_graph *g, gd_node dx, gd_node x) {
    return dx == GD_NONE ? dx : gd_cast(g, dx, gd__grad_dtype(g, x));
}

GD_BINARY_RULE(matmul) {
    const gd_node_info *i = gd_graph_at(g, y);
    gd_node a = i->in[0], b = i->in[1];
    bool ta = i->attr.ta != 0, tb = i->attr.tb != 0;
    gd_node d = operand(g, dy, a);
    /* y = A B with A = a or a^T: dA = dy B^T, dB = A^T dy, and their transposes. */
    if (need[0]) dx[0] = finish(g, ta ? gd_matmul(g, b, d, tb, true) : gd_matmul(g, d, b, false, !tb), a);
    if (need[1]) dx[1] = finish(g, tb ? gd_matmul(g, d, a, true, ta) : gd_matmul(g, a, d, !ta, false), b);
}

static gd_conv_attr conv_attr(const gd_attr *a) {
    return (gd_conv_attr){a->stride, {a->pad[0], a->pad[1], a->pad[2], a->pad[3]}};
}

GD_BINARY_RULE(conv) {
    const gd_node_info *i = gd_graph_at(g, y);
    gd_node x = i->in[0], w = i->in[1], d = operand(g, dy, x);
    gd_conv_attr c = conv_attr(&i->attr);
    if (need[0]) dx[0] = finish(g, gd_conv_dx(g, d, w, gd_node_shape(g, x), c), x);
    if (need[1]) dx[1] = finish(g, gd_conv_dw(g, x, d, gd_node_shape(g, w), c), w);
}

GD_BINARY_RULE(conv_dx) {
    const gd_node_info *i = gd_graph_at(g, y);
    gd_node dy0 = i->in[0], w = i->in[1], x = operand(g, dy, w);
    gd_conv_attr c = conv_attr(&i->attr);
    if (need[0]) dx[0] = finish(g, gd_conv(g, x, w, c), dy0);
    if (need[1]) dx[1] = finish(g, gd_conv_dw(g, x, dy0, gd_node_shape(g, w), c), w);
}

GD_BINARY_RULE(conv_dw) {
    const gd_node_info *i = gd_graph_at(g, y);
    gd_node x = i->in[0], dy0 = i->in[1], w = operand(g, dy, x);
    gd_conv_attr c = conv_attr(&i->attr);
    if (need[0]) dx[0] = finish(g, gd_conv_dx(g, dy0, w, gd_node_shape(g, x), c), x);
    if (need[1]) dx[1] = finish(g, gd_conv(g, x, w, c), dy0);
}
