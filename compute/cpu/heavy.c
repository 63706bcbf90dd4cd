/* compute/cpu/heavy.c -- matrix products and convolutions: oneDNN, or plain loops where it refuses.
 *
 * Forward and data passes are one oneDNN op over all threads. Where oneDNN would split sums by threads,
 * they run in pieces (pieces.c): products, weight gradients, and passes that it makes of products.
 *
 * bf16: where the processor has bf16 arithmetic, oneDNN takes the operands as they are. Elsewhere they
 * are widened to f32 in scratch, which gives the same sums of the same products. */
#include <stdlib.h>
#include <string.h>

#include "compute/cpu/thin.h"
#include "compute/cpu/wino.h"

typedef struct heavy {
    gd__kernel base;
    gd_node in[2], out;
    gd_dtype out_type;
    gd_dnnl_op *op; /* one of op, pieces, wino and thin, or none: plain loops */
    gd__pieces pieces;
    bool use_wino, use_thin;
    gd__wino wino;
    gd__thin thin;
    bool swap;         /* the product's operands are b, a */
    gd_dnnl_conv conv; /* for the plain loops */
    int64_t count[3];  /* elements of a, b, out */
    bool widen[2], narrow;
    bool clear;          /* zeros first: the data pass leaves rows of x that no output uses */
    size_t at[3], op_at; /* of the f32 copies and of the op's scratch, in scratch */
} heavy;

static gd_status run_heavy(gd__kernel *k, const gd_memory *m) {
    heavy *h = (heavy *)k;
    char *scratch = m->scratch;
    const void *in[2];
    for (int i = 0; i < 2; i++) {
        in[i] = m->node[h->in[i]];
        if (!h->widen[i]) continue;
        gd__widen(in[i], (float *)(void *)(scratch + h->at[i]), h->count[i]);
        in[i] = scratch + h->at[i];
    }
    void *out = h->narrow ? scratch + h->at[2] : m->node[h->out];
    if (h->clear) memset(out, 0, (size_t)h->count[2] * (h->narrow ? sizeof(float) : gd_dtype_bytes(h->out_type)));
    if (h->op) GD_TRY(gd_dnnl_op_run(h->op, in[0], in[1], out, scratch + h->op_at));
    else if (h->pieces.n) GD_TRY(gd__pieces_run(&h->pieces, in[h->swap], in[!h->swap], out, scratch + h->op_at));
    else if (h->use_wino) gd__wino_run(&h->wino, in[0], in[1], out, scratch + h->op_at);
    else if (h->use_thin) gd__thin_run(&h->thin, in[0], in[1], out, scratch + h->op_at);
    else gd__conv_plain(&h->conv, in[0], in[1], out);
    if (h->narrow) gd__narrow(out, m->node[h->out], h->count[2]);
    return GD_OK;
}

static void release_heavy(gd__kernel *k) {
    heavy *h = (heavy *)k;
    gd_dnnl_op_free(h->op);
    gd__pieces_free(&h->pieces);
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
static bool conv_regular(gd_dnnl_conv *c, bool *clear) {
    int64_t bottom = reach(c->p, c->r, c->h, c->stride, c->pad[0]);
    int64_t right = reach(c->q, c->s, c->w, c->stride, c->pad[2]);
    *clear = c->pass == GD_DNNL_BACKWARD_DATA && (bottom < 0 || right < 0);
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

/* ---- choice ---- */

static gd_status make_matmul(const gd_graph *g, const gd_node_info *n, gd_dnnl *d, gd_dtype in, gd_dtype out,
                             heavy *h) {
    gd_shape a = gd_node_shape(g, n->in[0]), b = gd_node_shape(g, n->in[1]);
    gd_dnnl_matmul mm = {.in_type = in, .out_type = out, .ta = n->attr.ta, .tb = n->attr.tb};
    mm.m = n->shape.dim[0], mm.n = n->shape.dim[1], mm.k = a.dim[mm.ta ? 0 : 1];
    mm.a_row = a.dim[1], mm.b_row = b.dim[1], mm.c_row = mm.n;
    return gd__pieces_matmul(d, &mm, &h->pieces);
}

/* Kernel as large as the image: one number a filter and image, so y [n,k] = x [n,l] w [k,l]^T. */
static bool is_product(const gd_dnnl_conv *c) {
    return c->p == 1 && c->q == 1 && c->r == c->h && c->s == c->w && c->pad[0] == 0 && c->pad[2] == 0;
}

static gd_status make_product(const gd_dnnl_conv *c, gd_dnnl *d, heavy *h) {
    int64_t l = c->r * c->s * c->c;
    gd_dnnl_matmul mm = {.in_type = c->in_type, .out_type = c->out_type};
    if (c->pass == GD_DNNL_FORWARD) {
        mm.tb = true;
        mm.m = c->n, mm.n = c->k, mm.k = l, mm.a_row = l, mm.b_row = l;
    } else if (c->pass == GD_DNNL_BACKWARD_DATA) mm.m = c->n, mm.n = l, mm.k = c->k, mm.a_row = c->k, mm.b_row = l;
    else {
        mm.ta = h->swap = true; /* dw [k,l] = dy [n,k]^T x [n,l] */
        mm.m = c->k, mm.n = l, mm.k = c->n, mm.a_row = c->k, mm.b_row = l;
    }
    mm.c_row = mm.n;
    return gd__pieces_matmul(d, &mm, &h->pieces);
}

static gd_status make_op(const gd_graph *g, const gd_node_info *n, gd_dnnl *d, gd_dtype in, gd_dtype out, heavy *h) {
    if (n->op == GD_OP_MATMUL) return make_matmul(g, n, d, in, out, h);
    gd_dnnl_conv c = h->conv;
    c.in_type = in;
    c.out_type = out;
    if (is_product(&c)) return make_product(&c, d, h);
    if (n->op == GD_OP_CONV_DW) return gd__pieces_weights(d, &c, &h->pieces);
    GD_TRY(gd_dnnl_conv_make(d, &c, &h->op));
    if (!strstr(gd_dnnl_op_text(h->op), "gemm")) return GD_OK;
    gd_dnnl_op_free(h->op);
    h->op = NULL;
    return gd__pieces_images(d, &c, &h->pieces);
}

/* Own kernels, where they are faster than the library's. */
static bool try_own(heavy *h) {
    const gd__wino_kernels *usable[3];
    int threads = gd__threads_wanted();
    gd__wino_usable(usable);
    h->use_wino = gd__wino_plan(&h->conv, usable[0], threads, &h->wino) && gd__wino_pays(&h->wino);
    if (!h->use_wino && !is_product(&h->conv)) h->use_thin = gd__thin_plan(&h->conv, usable[0], threads, &h->thin);
    return h->use_wino || h->use_thin;
}

/* The library's op for these types, else for f32, else (convolutions) plain loops: h->op stays NULL. */
static gd_status choose(const gd_graph *g, const gd_node_info *n, gd_dnnl *d, gd_dtype in, gd_dtype out, heavy *h) {
    if (n->op != GD_OP_MATMUL) {
        gd_dnnl_conv c;
        conv_dims(g, n, &c);
        h->conv = c;
        if (!conv_regular(&c, &h->clear)) {
            h->widen[0] = h->widen[1] = in == GD_BF16;
            h->narrow = out == GD_BF16;
            return GD_OK;
        }
        h->conv = c;
        if (in == GD_F32 && out == GD_F32 && try_own(h)) return GD_OK;
    }
    gd_status st = make_op(g, n, d, in, out, h);
    if (st == GD_UNSUP && (in == GD_BF16 || out == GD_BF16)) {
        gd_error_clear();
        h->widen[0] = h->widen[1] = in == GD_BF16;
        h->narrow = out == GD_BF16;
        if (n->op != GD_OP_MATMUL && try_own(h)) return GD_OK;
        st = make_op(g, n, d, GD_F32, GD_F32, h);
    }
    if (st == GD_UNSUP && n->op != GD_OP_MATMUL) {
        gd_error_clear();
        st = GD_OK;
    }
    return st;
}

static void plan_scratch(heavy *h) {
    size_t top = 0;
    for (int i = 0; i < 3; i++) {
        h->at[i] = top;
        if (i < 2 ? h->widen[i] : h->narrow) top += gd__align64((size_t)h->count[i] * sizeof(float));
    }
    h->op_at = top;
    h->base.scratch_bytes = top + (h->op         ? gd_dnnl_op_scratch(h->op)
                                   : h->use_wino ? h->wino.scratch_bytes
                                   : h->use_thin ? h->thin.scratch_bytes
                                                 : h->pieces.scratch_bytes);
}

static void describe(heavy *h) {
    const char *kernel = h->op         ? gd_dnnl_op_text(h->op)
                         : h->pieces.n ? gd_dnnl_op_text(h->pieces.piece[0].op)
                                       : "plain loops";
    char pieces[64] = "";
    if (h->use_wino) {
        kernel = "winograd ";
        snprintf(pieces, sizeof pieces, "F(%d,%d) %s%s", h->wino.shape.m, h->wino.shape.taps, h->wino.kernels->name,
                 h->wino.by_panel ? " by panel" : "");
    }
    if (h->use_thin) {
        kernel = h->thin.flip ? "to few channels " : "from few channels ";
        snprintf(pieces, sizeof pieces, "%s", h->thin.kernels->name);
    }
    if (h->pieces.n) snprintf(pieces, sizeof pieces, ", %d pieces", h->pieces.n);
    snprintf(h->base.text, sizeof h->base.text, "%s%s%s", kernel, pieces,
             h->widen[0] || h->narrow ? ", bf16 as f32" : "");
}

gd_status gd__make_heavy(const gd_graph *g, gd_node n, gd_dnnl *d, gd__kernel **out) {
    const gd_node_info *i = gd_graph_at(g, n);
    heavy *h = gd__kernel_new(sizeof *h, run_heavy);
    if (!h) GD_FAIL(NOMEM, "%s: no memory", i->name);
    h->base.release = release_heavy;
    h->out = n;
    h->out_type = i->dtype;
    for (int j = 0; j < 2; j++) {
        h->in[j] = i->in[j];
        h->count[j] = gd_shape_count(gd_node_shape(g, i->in[j]));
    }
    h->count[2] = gd_shape_count(i->shape);
    gd_status st = choose(g, i, d, gd_graph_at(g, i->in[0])->dtype, i->dtype, h);
    if (st != GD_OK) {
        release_heavy(&h->base);
        gd_context(st, "%s", i->name);
        return gd_trace(st, __FILE__, __LINE__);
    }
    plan_scratch(h);
    describe(h);
    *out = &h->base;
    return GD_OK;
}
