/* compute/cuda/move.c -- ops that bring elements elsewhere: each thread fetches what belongs to its place.
 *
 * What is only copied is moved in units of up to 16 bytes, as wide as sizes, strides and borders along the last
 * dimension allow. FOLD_REFLECT and SUMPOOL add, in float. */
#include <stdio.h>
#include <string.h>

#include "compute/align.h"
#include "compute/cuda/emit.h"

enum { DIMS = GD_RANK_MAX };

typedef struct source { /* where the elements of one input come to lie */
    int64_t step[DIMS], at;
    int64_t from[DIMS], to[DIMS]; /* places of the output that this input fills */
} source;

typedef struct mover {
    int n;
    source in[2];
    int64_t dim[DIMS];
    int bytes; /* of a unit */
} mover;

static void dense_steps(const int64_t dim[DIMS], int64_t step[DIMS]) {
    int64_t n = 1;
    for (int i = DIMS - 1; i >= 0; i--) {
        step[i] = n;
        n *= dim[i];
    }
}

static void make_source(const gd_graph *g, const gd_node_info *n, int k, const int64_t out[DIMS], source *s) {
    int64_t dim[DIMS], step[DIMS];
    int shift = DIMS - n->shape.rank;
    gd__right_align(gd_node_shape(g, n->in[k]), dim);
    dense_steps(dim, step);
    s->at = 0;
    for (int d = 0; d < DIMS; d++) {
        bool real = d >= shift;
        s->step[d] = real && n->op == GD_OP_PERMUTE ? step[n->attr.perm[d - shift] + shift] : step[d];
        s->from[d] = 0;
        s->to[d] = out[d];
        if (real && n->op == GD_OP_SLICE) s->at += n->attr.lo[d - shift] * step[d];
        if (real && n->op == GD_OP_PAD) {
            s->from[d] = n->attr.lo[d - shift];
            s->to[d] = s->from[d] + dim[d];
            s->at -= s->from[d] * step[d];
        }
    }
    if (n->op != GD_OP_CONCAT) return;
    int a = n->attr.axis + shift;
    if (k == 0) s->to[a] = dim[a];
    else {
        s->from[a] = out[a] - dim[a];
        s->at -= s->from[a] * step[a];
    }
}

/* Whether units of `wide` elements fit all sizes, steps and borders. */
static bool unit_fits(const mover *m, int wide) {
    if (m->dim[DIMS - 1] % wide) return false;
    for (int k = 0; k < m->n; k++) {
        const source *s = &m->in[k];
        if (s->step[DIMS - 1] != 1 || s->at % wide || s->from[DIMS - 1] % wide || s->to[DIMS - 1] % wide) return false;
        for (int d = 0; d < DIMS - 1; d++)
            if (s->step[d] % wide) return false;
    }
    return true;
}

static void widen(mover *m, int size) {
    int wide = 16 / size;
    while (wide > 1 && !unit_fits(m, wide)) wide /= 2;
    m->dim[DIMS - 1] /= wide;
    m->bytes = size * wide;
    for (int k = 0; k < m->n; k++) {
        source *s = &m->in[k];
        s->at /= wide;
        s->from[DIMS - 1] /= wide;
        s->to[DIMS - 1] /= wide;
        for (int d = 0; d < DIMS - 1; d++) s->step[d] /= wide;
    }
}

static const char *unit_type(int bytes) {
    return bytes == 16 ? "gd_16" : bytes == 8 ? "u64" : bytes == 4 ? "u32" : bytes == 2 ? "u16" : "u8";
}

/* "i < count" and coordinates c0..c3 of place i. */
static void print_start(gd__cu_text *t, const int64_t dim[DIMS]) {
    int64_t count = dim[0] * dim[1] * dim[2] * dim[3];
    const char *ix = count < INT32_MAX ? "u32" : "u64";
    gd__cu_print(t, "  PHASE {\n    const %s i = (%s)BX * GD_THREADS + TX;\n    if (i < %lldu) {\n", ix, ix,
                 (long long)count);
    for (int64_t d = DIMS - 1, below = 1; d >= 0; below *= dim[d--])
        if (dim[d] > 1)
            gd__cu_print(t, "    const i32 c%d = (i32)(i / %lldu %% %lldu);\n", (int)d, (long long)below,
                         (long long)dim[d]);
}

/* The offset is never negative where the input is read, its parts may be. */
static void print_fetch(gd__cu_text *t, const mover *m, int k) {
    const source *s = &m->in[k];
    gd__cu_print(t, "p%d[%lldll", k, (long long)s->at);
    for (int d = 0; d < DIMS; d++)
        if (m->dim[d] > 1 && s->step[d]) gd__cu_print(t, " + c%d * %lldll", d, (long long)s->step[d]);
    gd__cu_print(t, "]");
}

/* Whether place c belongs to input k; nothing is printed where it always does. */
static bool print_inside(gd__cu_text *t, const mover *m, int k) {
    const source *s = &m->in[k];
    bool any = false;
    for (int d = 0; d < DIMS; d++) {
        if (s->from[d] > 0) gd__cu_print(t, "%sc%d >= %lld", any ? " && " : "", d, (long long)s->from[d]);
        any |= s->from[d] > 0;
        if (s->to[d] < m->dim[d]) gd__cu_print(t, "%sc%d < %lld", any ? " && " : "", d, (long long)s->to[d]);
        any |= s->to[d] < m->dim[d];
    }
    return any;
}

static void print_copy(gd__cu_text *t, const mover *m) {
    const char *type = unit_type(m->bytes);
    for (int k = 0; k < m->n; k++) gd__cu_print(t, "  const %s *const p%d = ARG(const %s, %d);\n", type, k, type, k);
    gd__cu_print(t, "  %s *const q0 = ARG(%s, %d);\n", type, type, m->n);
    print_start(t, m->dim);
    if (m->bytes == 16) gd__cu_print(t, "    gd_16 v = {{0, 0, 0, 0}};\n");
    else gd__cu_print(t, "    %s v = 0;\n", type);
    for (int k = 0; k < m->n; k++) {
        gd__cu_text inside = {0};
        bool some = print_inside(&inside, m, k);
        if (inside.no_memory) t->no_memory = true;
        gd__cu_print(t, some ? "    if (%s) v = " : "    v = ", some && inside.at ? inside.at : "");
        print_fetch(t, m, k);
        gd__cu_print(t, ";\n");
        gd__cu_text_free(&inside);
    }
    gd__cu_print(t, "    q0[i] = v;\n    }\n  }\n");
}

static gd_status emit_copy(gd__cu_emitter *e, gd_node node, const gd_node_info *n) {
    mover m = {.n = gd_op_arity(n->op)};
    gd__cu_text t = {0};
    gd__cu_arg arg[3];
    gd__right_align(n->op == GD_OP_RESHAPE ? gd_node_shape(e->v->graph, n->in[0]) : n->shape, m.dim);
    for (int k = 0; k < m.n; k++) {
        make_source(e->v->graph, n, k, m.dim, &m.in[k]);
        arg[k] = (gd__cu_arg){.kind = GD__CU_NODE, .node = n->in[k]};
    }
    arg[m.n] = (gd__cu_arg){.kind = GD__CU_NODE, .node = node, .written = true};
    widen(&m, (int)gd_dtype_bytes(n->dtype));
    print_copy(&t, &m);
    int64_t count = m.dim[0] * m.dim[1] * m.dim[2] * m.dim[3];
    snprintf(e->out->text, sizeof e->out->text, "copy, units of %d bytes", m.bytes);
    GD_TRY(gd__cu_launch_add(e, &t, gd__cu_divide_up(count, GD__CU_THREADS), m.n + 1, arg));
    e->out->launch[0].same_is_done = n->op == GD_OP_ALLREDUCE || n->op == GD_OP_RESHAPE;
    return GD_OK;
}

/* ---- images ---- */

/* Offset of pixel (h, w) of an image of `in`, channel c3. */
static void print_pixel(gd__cu_text *t, const int64_t in[DIMS], const int64_t out[DIMS], const char *h, const char *w) {
    gd__cu_print(t, "p0[((%s * %lldll + (%s)) * %lldll + (%s)) * %lldll%s]", out[0] > 1 ? "c0" : "0", (long long)in[1],
                 h, (long long)in[2], w, (long long)in[3], out[3] > 1 ? " + c3" : "");
}

static void print_gather(gd__cu_text *t, const gd_node_info *n, const int64_t in[DIMS], const int64_t out[DIMS]) {
    char h[96], w[96];
    const gd_attr *a = &n->attr;
    if (n->op == GD_OP_UPSAMPLE) {
        snprintf(h, sizeof h, "c1 / %d", a->factor);
        snprintf(w, sizeof w, "c2 / %d", a->factor);
    } else {
        snprintf(h, sizeof h, "gdk_mirror(c1, %lld, %lld)", (long long)a->lo[1], (long long)in[1]);
        snprintf(w, sizeof w, "gdk_mirror(c2, %lld, %lld)", (long long)a->lo[2], (long long)in[2]);
    }
    gd__cu_print(t, "    q0[i] = ");
    print_pixel(t, in, out, h, w);
    gd__cu_print(t, ";\n");
}

static void print_adds(gd__cu_text *t, const gd_node_info *n, const int64_t in[DIMS], const int64_t out[DIMS]) {
    const gd_attr *a = &n->attr;
    bool half = n->dtype == GD_BF16;
    int many = n->op == GD_OP_SUMPOOL ? a->factor : 3;
    gd__cu_print(t,
                 "    float sum = 0;\n    UNROLL\n    for (i32 y = 0; y < %d; y++) {\n    UNROLL\n    for (i32 x = 0; "
                 "x < %d; x++) {\n",
                 many, many);
    if (n->op == GD_OP_SUMPOOL)
        gd__cu_print(t, "    const i32 h = c1 * %d + y, w = c2 * %d + x;\n    ", a->factor, a->factor);
    else
        gd__cu_print(t,
                     "    const i32 h = gdk_unfold(c1, y, %lld, %lld, %lld), w = gdk_unfold(c2, x, %lld, %lld, %lld);\n"
                     "    if (h >= 0 && w >= 0) ",
                     (long long)a->lo[1], (long long)a->hi[1], (long long)out[1], (long long)a->lo[2],
                     (long long)a->hi[2], (long long)out[2]);
    gd__cu_print(t, "sum += %s", half ? "gd__from_bf16(" : "");
    print_pixel(t, in, out, "h", "w");
    gd__cu_print(t, "%s;\n    }\n    }\n    q0[i] = %s;\n", half ? ")" : "", half ? "gd__to_bf16(sum)" : "sum");
}

static gd_status emit_image(gd__cu_emitter *e, gd_node node, const gd_node_info *n) {
    gd__cu_text t = {0};
    int64_t in[DIMS], out[DIMS];
    bool adds = n->op == GD_OP_FOLD_REFLECT || n->op == GD_OP_SUMPOOL;
    int size = (int)gd_dtype_bytes(n->dtype), wide = adds ? 1 : 16 / size;
    gd__right_align(gd_node_shape(e->v->graph, n->in[0]), in);
    gd__right_align(n->shape, out);
    while (out[3] % wide) wide /= 2;
    in[3] /= wide;
    out[3] /= wide;
    const char *type = adds ? gd__cu_c_type(n->dtype) : unit_type(size * wide);
    gd__cu_print(&t, "  const %s *const p0 = ARG(const %s, 0);\n  %s *const q0 = ARG(%s, 1);\n", type, type, type,
                 type);
    print_start(&t, out);
    for (int d = 1; d < 3; d++)
        if (out[d] == 1) gd__cu_print(&t, "    const i32 c%d = 0;\n", d);
    if (adds) print_adds(&t, n, in, out);
    else print_gather(&t, n, in, out);
    gd__cu_print(&t, "    }\n  }\n");
    snprintf(e->out->text, sizeof e->out->text, "image, units of %d bytes", size * wide);
    const gd__cu_arg arg[2] = {{.kind = GD__CU_NODE, .node = n->in[0]},
                               {.kind = GD__CU_NODE, .node = node, .written = true}};
    return gd__cu_launch_add(e, &t, gd__cu_divide_up(out[0] * out[1] * out[2] * out[3], GD__CU_THREADS), 2, arg);
}

gd_status gd__cu_emit_move(gd__cu_emitter *e, gd_node node) {
    const gd_node_info *n = gd_graph_at(e->v->graph, node);
    switch (n->op) {
    case GD_OP_PAD_REFLECT:
    case GD_OP_FOLD_REFLECT:
    case GD_OP_UPSAMPLE:
    case GD_OP_SUMPOOL: return emit_image(e, node, n);
    case GD_OP_PERMUTE:
    case GD_OP_CONCAT:
    case GD_OP_SLICE:
    case GD_OP_PAD:
    case GD_OP_RESHAPE:
    case GD_OP_ALLREDUCE: return emit_copy(e, node, n);
    default: GD_FAIL(INTERNAL, "%s: there is no kernel for %s", n->name, gd_op_text(n->op));
    }
}
