/* compute/cuda/heavy.c -- see heavy.h. */
#include "compute/cuda/heavy.h"

#include <stdio.h>
#include <string.h>

enum { X, W, Y, WORKSPACE };

typedef struct tensor { /* in memory, [N,H,W,C] or what stands for it */
    gd_dtype type;
    int64_t dim[4], step[4];
} tensor;

static void set_dense(tensor *t, gd_dtype type, int64_t a, int64_t b, int64_t c, int64_t d) {
    *t = (tensor){type, {a, b, c, d}, {b * c * d, c * d, d, 1}};
}

static int64_t count_of(const tensor *t) { return t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]; }

/* The three tensors of a problem. */
static void tensors_of(const gd__dnn_conv *c, gd_dtype type, tensor t[3]) {
    set_dense(&t[X], type, c->n, c->h, c->w, c->c);
    set_dense(&t[W], type, c->k, c->r, c->s, c->c);
    set_dense(&t[Y], type, c->n, c->p, c->q, c->k);
}

/* Which of x, w, y the node's inputs and result are. */
static void roles_of(const gd_node_info *n, const gd__dnn_conv *c, int role[3]) {
    bool product = n->op == GD_OP_MATMUL, both = product && n->attr.ta && n->attr.tb;
    if (c->op == GD_OP_CONV) role[0] = X, role[1] = W, role[2] = Y;
    else if (c->op == GD_OP_CONV_DX) role[0] = both ? W : Y, role[1] = both ? Y : W, role[2] = X;
    else role[0] = product ? Y : X, role[1] = product ? X : Y, role[2] = W;
}

bool gd__cu_heavy_supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    const gd_node_info *i = gd_graph_at(g, n);
    gd_dtype a = gd_graph_at(g, i->in[0])->dtype, b = gd_graph_at(g, i->in[1])->dtype;
    bool fits = a == b && a != GD_U8 && (i->dtype == GD_F32 || (i->dtype == GD_BF16 && a == GD_BF16));
    if (!fits)
        snprintf(why, room, "%s of %s and %s to %s; expected both f32 or both bf16", gd_op_text(i->op),
                 gd_dtype_text(a), gd_dtype_text(b), gd_dtype_text(i->dtype));
    return fits;
}

/* ---- copies ---- */

static void print_load(gd__cu_text *t, gd_dtype type, const tensor *from) {
    gd__cu_print(t, "%sp0[", type == GD_BF16 ? "gd__from_bf16(" : "");
    for (int d = 0; d < 4; d++) gd__cu_print(t, "%sc%d * %lldu", d ? " + " : "", d, (long long)from->step[d]);
    gd__cu_print(t, "]%s", type == GD_BF16 ? ")" : "");
}

/* to[c] = from[c] where from reaches, else 0; types converted. One thread an element. */
static gd_status emit_resize(gd__cu_emitter *e, const tensor *from, const gd__cu_arg *source, const tensor *to,
                             const gd__cu_arg *target) {
    gd__cu_text t = {0};
    int64_t count = count_of(to), below = count;
    bool first = true;
    gd__cu_print(&t, "  const %s *const p0 = ARG(const %s, 0);\n  %s *const q0 = ARG(%s, 1);\n",
                 gd__cu_c_type(from->type), gd__cu_c_type(from->type), gd__cu_c_type(to->type),
                 gd__cu_c_type(to->type));
    gd__cu_print(&t, "  PHASE {\n    const u64 i = (u64)BX * GD_THREADS + TX;\n    if (i < %lldu) {\n",
                 (long long)count);
    for (int d = 0; d < 4; d++) {
        below /= to->dim[d];
        gd__cu_print(&t, "    const u32 c%d = (u32)(i / %lldu %% %lldu);\n", d, (long long)below,
                     (long long)to->dim[d]);
    }
    gd__cu_print(&t, "    const float v = ");
    for (int d = 0; d < 4; d++) {
        if (from->dim[d] == to->dim[d]) continue;
        gd__cu_print(&t, "%sc%d < %lldu", first ? "" : " && ", d, (long long)from->dim[d]);
        first = false;
    }
    gd__cu_print(&t, first ? "" : " ? ");
    print_load(&t, from->type, from);
    gd__cu_print(&t, "%s;\n    q0[i] = %s;\n    }\n  }\n", first ? "" : " : 0.0f",
                 to->type == GD_BF16 ? "gd__to_bf16(v)" : "v");
    const gd__cu_arg arg[2] = {*source, *target};
    return gd__cu_launch_add(e, &t, gd__cu_divide_up(count, GD__CU_THREADS), 2, arg);
}

static size_t take_scratch(gd__cu_heavy *h, size_t bytes) {
    size_t at = h->scratch_bytes;
    h->scratch_bytes += (bytes + 255) / 256 * 256;
    return at;
}

static bool same(const tensor *a, const tensor *b) {
    return a->type == b->type && !memcmp(a->dim, b->dim, sizeof a->dim) && !memcmp(a->step, b->step, sizeof a->step);
}

/* Gives role r of the problem the memory of `node`, or a copy in scratch. is: what is in memory. */
static gd_status place(gd__cu_emitter *e, gd__cu_heavy *h, int r, gd_node node, const tensor *is, const tensor *wanted,
                       bool result) {
    gd__cu_arg at_node = {.kind = GD__CU_NODE, .node = node, .written = result};
    size_t bytes = (size_t)count_of(wanted) * gd_dtype_bytes(wanted->type);
    h->bytes[r] = bytes;
    h->arg[r] = at_node;
    if (same(is, wanted)) return GD_OK;
    h->arg[r] = (gd__cu_arg){
        .kind = GD__CU_SCRATCH, .node = GD_NONE, .offset = take_scratch(h, bytes), .bytes = bytes, .written = result};
    gd__cu_arg copy = h->arg[r];
    copy.written = !result;
    e->out = result ? &h->after : &h->before;
    e->room = result ? 0 : h->before.n_launches; /* launches are added to lists of exactly so many */
    if (result) {                                /* `is` is a window of what the problem computes */
        tensor from = *wanted;
        memcpy(from.dim, is->dim, sizeof from.dim);
        if (is->step[3] != 1) memcpy(from.step, is->step, sizeof from.step);
        tensor to;
        set_dense(&to, is->type, is->dim[0], is->dim[1], is->dim[2], is->dim[3]);
        return emit_resize(e, &from, &copy, &to, &at_node);
    }
    return emit_resize(e, is, &at_node, wanted, &copy);
}

/* The problem and its plan. f32 of bf16: cuDNN widens what it makes where it has an engine for that; else the operands are
 * widened and multiplied in tf32, which holds every bf16 number, so that products and sums are the same. */
static gd_status plan(const gd_graph *g, gd_node node, gd__cu_device *d, gd__dnn_math f32_math, gd__cu_heavy *out,
                      gd__dnn_conv *c, size_t *workspace) {
    const gd_node_info *n = gd_graph_at(g, node);
    bool half = gd_graph_at(g, n->in[0])->dtype == GD_BF16, transposed;
    gd__dnn_of(g, node, half ? GD__DNN_BF16 : f32_math, c, &out->conv, &transposed);
    c->wide = out->conv.wide = half && n->dtype == GD_F32;
    gd_status st = d->plan(d, n->name, &out->conv, &out->plan, workspace);
    if (st != GD_UNSUP || !out->conv.wide) return st;
    gd_error_clear();
    gd__dnn_of(g, node, GD__DNN_TF32, c, &out->conv, &transposed);
    return d->plan(d, n->name, &out->conv, &out->plan, workspace);
}

gd_status gd__cu_make_heavy(const gd_view *v, int s, gd__cu_device *d, gd__dnn_math f32_math, gd_arena *a,
                            gd__cu_kernels *kernels, gd__cu_heavy *out) {
    gd__cu_emitter e = {.v = v, .arena = a, .kernels = kernels};
    gd_node node = v->step_nodes[v->steps[s].first_node];
    const gd_node_info *n = gd_graph_at(v->graph, node);
    gd__dnn_conv c;
    tensor is[3], wanted[3];
    int role[3];
    size_t workspace;
    *out = (gd__cu_heavy){0};
    GD_TRY(plan(v->graph, node, d, f32_math, out, &c, &workspace));
    roles_of(n, &c, role);
    tensors_of(&c, gd_graph_at(v->graph, n->in[0])->dtype, is);
    tensors_of(&out->conv, out->conv.math == GD__DNN_BF16 ? GD_BF16 : GD_F32, wanted);
    is[role[2]].type = n->dtype;
    if (out->conv.wide) wanted[role[2]].type = GD_F32;
    if (n->op == GD_OP_MATMUL && n->attr.ta &&
        n->attr.tb) { /* element (m, n) of the node is element (n, 0, 0, m) of x */
        int64_t m = c.c, cols = c.n;
        is[X] = (tensor){n->dtype, {1, 1, m, cols}, {0, 0, 1, out->conv.c}};
    }
    for (int i = 0; i < 3; i++)
        GD_TRY(place(&e, out, role[i], i < 2 ? n->in[i] : node, &is[role[i]], &wanted[role[i]], i == 2));
    out->bytes[WORKSPACE] = workspace;
    out->arg[WORKSPACE] = (gd__cu_arg){.kind = GD__CU_SCRATCH,
                                       .node = GD_NONE,
                                       .offset = take_scratch(out, workspace),
                                       .bytes = workspace,
                                       .written = true};
    return GD_OK;
}
