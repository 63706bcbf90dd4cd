/* compute/cpu/heavy.c -- matrix products and convolutions.
 *
 * Products are oneDNN's in a fixed number of pieces (pieces.c), as it splits sums by threads. Convolutions have
 * several implementations behind one interface (conv.h), of which one is chosen (choice.h). bf16: where the
 * processor has bf16 arithmetic, oneDNN takes the operands as they are; elsewhere they are widened to f32. */
#include <stdlib.h>
#include <string.h>

#include "compute/cpu/conv.h"

typedef struct heavy {
    gd__kernel base;
    gd_node in[2], out;
    gd__conv conv;
    gd__pieces product; /* of a matrix product */
    gd__copies copies;  /* likewise            */
} heavy;

static gd_status run_conv(gd__kernel *k, const gd_memory *m) {
    heavy *h = (heavy *)k;
    return gd__conv_run(&h->conv, m->node[h->in[0]], m->node[h->in[1]], m->node[h->out], m->scratch);
}

static gd_status run_product(gd__kernel *k, const gd_memory *m) {
    heavy *h = (heavy *)k;
    char *scratch = m->scratch;
    const void *a = gd__copies_in(&h->copies, 0, m->node[h->in[0]], scratch);
    const void *b = gd__copies_in(&h->copies, 1, m->node[h->in[1]], scratch);
    void *out = gd__copies_out(&h->copies, m->node[h->out], scratch);
    GD_TRY(gd__pieces_run(&h->product, a, b, out, scratch + h->copies.bytes));
    gd__copies_done(&h->copies, m->node[h->out], scratch);
    return GD_OK;
}

static void release_heavy(gd__kernel *k) {
    heavy *h = (heavy *)k;
    gd__conv_free(&h->conv);
    gd__pieces_free(&h->product);
    free(h);
}

/* ---- shapes ---- */

static void conv_dims(const gd_graph *g, const gd_node_info *n, gd_dnnl_conv *c) {
    gd_shape a = gd_node_shape(g, n->in[0]), b = gd_node_shape(g, n->in[1]), o = n->shape;
    gd_shape x = n->op == GD_OP_CONV_DX ? o : a;
    gd_shape w = n->op == GD_OP_CONV_DW ? o : b;
    gd_shape y = n->op == GD_OP_CONV ? o : n->op == GD_OP_CONV_DX ? a : b;
    c->pass = n->op == GD_OP_CONV      ? GD_DNNL_FORWARD
              : n->op == GD_OP_CONV_DX ? GD_DNNL_BACKWARD_DATA
                                       : GD_DNNL_BACKWARD_WEIGHTS;
    c->n = x.dim[0], c->h = x.dim[1], c->w = x.dim[2], c->c = x.dim[3];
    c->k = w.dim[0], c->r = w.dim[1], c->s = w.dim[2];
    c->p = y.dim[1], c->q = y.dim[2];
    c->stride = n->attr.stride;
    for (int i = 0; i < 4; i++) c->pad[i] = n->attr.pad[i];
}

/* Padding behind the image that the outputs really reach: (p - 1) stride + r - h - pad. Negative:
 * the last rows of x are used by no output. */
static int64_t reach(int64_t out, int64_t kernel, int64_t in, int64_t stride, int64_t before) {
    return (out - 1) * stride + kernel - in - before;
}

/* Puts the padding into oneDNN's terms; false for padding as wide as the kernel, which not all of its
 * implementations do. */
static bool conv_regular(gd_dnnl_conv *c) {
    int64_t bottom = reach(c->p, c->r, c->h, c->stride, c->pad[0]);
    int64_t right = reach(c->q, c->s, c->w, c->stride, c->pad[2]);
    c->pad[1] = bottom > 0 ? bottom : 0;
    c->pad[3] = right > 0 ? right : 0;
    return c->pad[0] < c->r && c->pad[1] < c->r && c->pad[2] < c->s && c->pad[3] < c->s;
}

bool gd__heavy_supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    const gd_node_info *i = gd_graph_at(g, n);
    gd_dtype a = gd_graph_at(g, i->in[0])->dtype, b = gd_graph_at(g, i->in[1])->dtype;
    if (a == b && a != GD_U8 && i->dtype != GD_U8) return true;
    snprintf(why, room, "%s of %s and %s to %s; expected both f32 or both bf16", gd_op_text(i->op), gd_dtype_text(a),
             gd_dtype_text(b), gd_dtype_text(i->dtype));
    return false;
}

/* ---- kernels ---- */

static gd_status make_product(const gd_graph *g, const gd_node_info *n, gd_dnnl *d, gd_dtype in, heavy *h) {
    gd_shape a = gd_node_shape(g, n->in[0]), b = gd_node_shape(g, n->in[1]);
    const int64_t count[3] = {gd_shape_count(a), gd_shape_count(b), gd_shape_count(n->shape)};
    gd_dnnl_matmul mm = {.in_type = in, .out_type = n->dtype, .ta = n->attr.ta, .tb = n->attr.tb};
    mm.m = n->shape.dim[0], mm.n = n->shape.dim[1], mm.k = a.dim[mm.ta ? 0 : 1];
    mm.a_row = a.dim[1], mm.b_row = b.dim[1], mm.c_row = mm.n;
    gd_status st = gd__pieces_matmul(d, &mm, &h->product);
    bool as_f32 = st == GD_UNSUP && (in == GD_BF16 || n->dtype == GD_BF16);
    if (as_f32) {
        gd_error_clear();
        mm.in_type = mm.out_type = GD_F32;
        st = gd__pieces_matmul(d, &mm, &h->product);
    }
    if (st != GD_OK) return st;
    gd__copies_plan(&h->copies, as_f32, in, n->dtype, count);
    h->base.run = run_product;
    h->base.scratch_bytes = h->copies.bytes + h->product.scratch_bytes;
    snprintf(h->base.text, sizeof h->base.text, "%s, %d pieces%s", gd_dnnl_op_text(h->product.piece[0].op),
             h->product.n, as_f32 ? ", bf16 as f32" : "");
    return GD_OK;
}

static gd_status make_conv(const gd_graph *g, const gd_node_info *n, gd_dnnl *d, gd_dtype in, heavy *h) {
    gd_dnnl_conv c = {.in_type = in, .out_type = n->dtype};
    conv_dims(g, n, &c);
    gd_dnnl_conv regular = c;
    if (conv_regular(&regular)) GD_TRY(gd__conv_make(&regular, d, &h->conv));
    else gd__conv_plan_plain(&c, &h->conv);
    h->base.run = run_conv;
    h->base.scratch_bytes = h->conv.scratch_bytes;
    snprintf(h->base.text, sizeof h->base.text, "%s", h->conv.text);
    return GD_OK;
}

gd_status gd__make_heavy(const gd_graph *g, gd_node n, gd_dnnl *d, gd__kernel **out) {
    const gd_node_info *i = gd_graph_at(g, n);
    heavy *h = gd__kernel_new(sizeof *h, NULL);
    if (!h) GD_FAIL(NOMEM, "%s: no memory", i->name);
    h->base.release = release_heavy;
    h->out = n;
    h->in[0] = i->in[0];
    h->in[1] = i->in[1];
    gd_dtype in = gd_graph_at(g, i->in[0])->dtype;
    gd_status st = i->op == GD_OP_MATMUL ? make_product(g, i, d, in, h) : make_conv(g, i, d, in, h);
    if (st != GD_OK) {
        release_heavy(&h->base);
        gd_context(st, "%s", i->name);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = &h->base;
    return GD_OK;
}
