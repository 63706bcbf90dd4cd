/* compute/cuda/dnn_of.c -- nodes as problems of cuDNN: needs nothing of it. See dnn.h. */
#include <stdio.h>

#include "compute/cuda/dnn.h"

static void conv_of(const gd_graph *g, const gd_node_info *n, gd__dnn_conv *c) {
    gd_shape a = gd_node_shape(g, n->in[0]), b = gd_node_shape(g, n->in[1]), o = n->shape;
    gd_shape x = n->op == GD_OP_CONV_DX ? o : a, w = n->op == GD_OP_CONV_DW ? o : b;
    gd_shape y = n->op == GD_OP_CONV ? o : n->op == GD_OP_CONV_DX ? a : b;
    c->op = n->op;
    c->n = x.dim[0], c->h = x.dim[1], c->w = x.dim[2], c->c = x.dim[3];
    c->k = w.dim[0], c->r = w.dim[1], c->s = w.dim[2];
    c->p = y.dim[1], c->q = y.dim[2];
    c->stride = n->attr.stride;
    for (int i = 0; i < 4; i++) c->pad[i] = n->attr.pad[i];
}

/* a b^T is a forward convolution of images of one pixel, a b the gradient of its input, a^T b that of its weights;
 * a^T b^T is the transpose of b a. */
static void product_of(const gd_graph *g, const gd_node_info *n, gd__dnn_conv *c, bool *transposed) {
    bool ta = n->attr.ta, tb = n->attr.tb;
    int64_t m = n->shape.dim[0], cols = n->shape.dim[1], l = gd_node_shape(g, n->in[0]).dim[ta ? 0 : 1];
    *c = (gd__dnn_conv){.math = c->math, .h = 1, .w = 1, .r = 1, .s = 1, .p = 1, .q = 1, .stride = 1};
    *transposed = ta && tb;
    if (!ta && tb) c->op = GD_OP_CONV, c->n = m, c->c = l, c->k = cols;
    else if (!ta) c->op = GD_OP_CONV_DX, c->n = m, c->k = l, c->c = cols;
    else if (!tb) c->op = GD_OP_CONV_DW, c->n = l, c->k = m, c->c = cols;
    else c->op = GD_OP_CONV_DX, c->n = cols, c->k = l, c->c = m;
}

static int64_t up8(int64_t n) { return (n + 7) / 8 * 8; }

void gd__dnn_of(const gd_graph *g, gd_node node, gd__dnn_math math, gd__dnn_conv *c, gd__dnn_conv *padded,
                bool *transposed) {
    const gd_node_info *n = gd_graph_at(g, node);
    *c = (gd__dnn_conv){.math = math};
    *transposed = false;
    if (n->op == GD_OP_MATMUL) product_of(g, n, c, transposed);
    else conv_of(g, n, c);
    *padded = *c;
    if (math == GD__DNN_F32) return;
    padded->c = up8(c->c);
    padded->k = up8(c->k);
}

void gd__dnn_text(const gd__dnn_conv *c, char out[192]) {
    static const char *const math[] = {"f32", "tf32", "bf16"};
    snprintf(out, 192,
             "%s %s%s x[%lld,%lld,%lld,%lld] w[%lld,%lld,%lld,%lld] y[%lld,%lld,%lld,%lld] stride %d pad %d,%d,%d,%d",
             gd_op_text(c->op), math[c->math], c->wide ? "-f32" : "", (long long)c->n, (long long)c->h, (long long)c->w,
             (long long)c->c, (long long)c->k, (long long)c->r, (long long)c->s, (long long)c->c, (long long)c->n,
             (long long)c->p, (long long)c->q, (long long)c->k, c->stride, c->pad[0], c->pad[1], c->pad[2], c->pad[3]);
}
