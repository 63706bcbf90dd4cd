/* compute/cpu/move.c -- ops that bring elements elsewhere, leaves with a rule, and copies.
 *
 * Permute, slice, pad and concat are one thing: a box of elements is copied between two strided
 * layouts. Dimensions that are neighbours in both are joined first, so the inner copies are as long
 * as the layouts allow. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/image.h"

/* ---- boxes ---- */

typedef struct box {
    int rank;
    size_t size;                                                            /* bytes of an element */
    int64_t dim[GD_RANK_MAX], to_step[GD_RANK_MAX], from_step[GD_RANK_MAX]; /* steps in elements */
    int64_t to_at, from_at;
} box;

static void dense_steps(gd_shape s, int64_t step[GD_RANK_MAX]) {
    int64_t n = 1;
    for (int i = s.rank - 1; i >= 0; i--) {
        step[i] = n;
        n *= s.dim[i];
    }
}

/* Drops dimensions of size 1 and joins neighbours that continue each other in both layouts. */
static void box_simplify(box *b) {
    int kept = 0;
    for (int i = 0; i < b->rank; i++) {
        if (b->dim[i] == 1) continue;
        int last = kept - 1;
        if (kept && b->to_step[last] == b->dim[i] * b->to_step[i] &&
            b->from_step[last] == b->dim[i] * b->from_step[i]) {
            b->dim[last] *= b->dim[i];
            b->to_step[last] = b->to_step[i];
            b->from_step[last] = b->from_step[i];
            continue;
        }
        b->dim[kept] = b->dim[i];
        b->to_step[kept] = b->to_step[i];
        b->from_step[kept++] = b->from_step[i];
    }
    b->rank = kept;
}

#define COPY_LOOP(type)                                                                                                \
    do {                                                                                                               \
        type *to_ = (type *)to;                                                                                        \
        const type *from_ = (const type *)from;                                                                        \
        for (int64_t i = 0; i < n; i++) to_[i * ts] = from_[i * fs];                                                   \
    } while (0)

static void copy_run(void *to, int64_t ts, const void *from, int64_t fs, int64_t n, size_t size) {
    if (ts == 1 && fs == 1) memcpy(to, from, (size_t)n * size);
    else if (size == 4) COPY_LOOP(uint32_t);
    else if (size == 2) COPY_LOOP(uint16_t);
    else COPY_LOOP(uint8_t);
}

static void box_copy(const box *b, void *to, const void *from) {
    int inner = b->rank - 1;
    int64_t outer = 1, length = b->rank ? b->dim[inner] : 1;
    int64_t ts = b->rank ? b->to_step[inner] : 1, fs = b->rank ? b->from_step[inner] : 1;
    for (int i = 0; i < inner; i++) outer *= b->dim[i];
#pragma omp parallel for num_threads(gd__threads_for(outer *length)) schedule(static)
    for (int64_t o = 0; o < outer; o++) {
        int64_t rest = o, t = b->to_at, f = b->from_at;
        for (int i = inner - 1; i >= 0; i--) {
            t += rest % b->dim[i] * b->to_step[i];
            f += rest % b->dim[i] * b->from_step[i];
            rest /= b->dim[i];
        }
        copy_run((char *)to + (size_t)t * b->size, ts, (const char *)from + (size_t)f * b->size, fs, length, b->size);
    }
}

typedef struct mover {
    gd__kernel base;
    gd_node out, in[2];
    int n_boxes;
    box box[2];
    bool clear; /* zeros first: pad */
    size_t bytes;
} mover;

static gd_status run_mover(gd__kernel *k, const gd_memory *m) {
    mover *v = (mover *)k;
    if (v->clear) memset(m->node[v->out], 0, v->bytes);
    for (int i = 0; i < v->n_boxes; i++) {
        const void *from = m->node[v->in[i]];
        if (from != m->node[v->out]) box_copy(&v->box[i], m->node[v->out], from);
    }
    return GD_OK;
}

/* The box of input i: all of it, unless the op says otherwise. */
static void mover_box(const gd_graph *g, const gd_node_info *n, int i, box *b) {
    gd_shape in = gd_node_shape(g, n->in[i]);
    int64_t to[GD_RANK_MAX], from[GD_RANK_MAX];
    *b = (box){.rank = in.rank, .size = gd_dtype_bytes(n->dtype)};
    dense_steps(in, from);
    dense_steps(n->op == GD_OP_RESHAPE || n->op == GD_OP_ALLREDUCE ? in : n->shape, to);
    for (int d = 0; d < in.rank; d++) {
        int source = n->op == GD_OP_PERMUTE ? n->attr.perm[d] : d;
        b->dim[d] = n->op == GD_OP_SLICE ? n->shape.dim[d] : in.dim[source];
        b->to_step[d] = to[d];
        b->from_step[d] = from[source];
        if (n->op == GD_OP_SLICE) b->from_at += n->attr.lo[d] * from[d];
        if (n->op == GD_OP_PAD) b->to_at += n->attr.lo[d] * to[d];
    }
    if (n->op == GD_OP_CONCAT && i == 1) {
        int a = n->attr.axis;
        b->to_at = gd_node_shape(g, n->in[0]).dim[a] * to[a];
    }
    box_simplify(b);
}

static gd_status make_mover(const gd_graph *g, gd_node node, gd__kernel **out) {
    const gd_node_info *n = gd_graph_at(g, node);
    mover *v = gd__kernel_new(sizeof *v, run_mover);
    if (!v) GD_FAIL(NOMEM, "%s: no memory", n->name);
    v->out = node;
    v->n_boxes = gd_op_arity(n->op);
    for (int i = 0; i < v->n_boxes; i++) {
        v->in[i] = n->in[i];
        mover_box(g, n, i, &v->box[i]);
    }
    v->clear = n->op == GD_OP_PAD;
    v->bytes = (size_t)gd_shape_count(n->shape) * gd_dtype_bytes(n->dtype);
    const box *b = &v->box[0];
    bool dense = b->rank == 0 || (b->to_step[b->rank - 1] == 1 && b->from_step[b->rank - 1] == 1);
    snprintf(v->base.text, sizeof v->base.text, "copy, %s of %lld", dense ? "runs" : "strided",
             (long long)(b->rank ? b->dim[b->rank - 1] : 1));
    *out = &v->base;
    return GD_OK;
}

/* ---- leaves ---- */

typedef struct leaf {
    gd__kernel base;
    gd_node out;
    int64_t samples, draws; /* RANDOM; CONST: one sample of all elements */
    gd_attr attr;
    bool nothing; /* INPUT, PARAM: bound by the caller */
} leaf;

static gd_status run_const(gd__kernel *k, const gd_memory *m) {
    leaf *l = (leaf *)k;
    float *to = m->node[l->out];
    float value = (float)l->attr.value;
    if (l->nothing) return GD_OK;
#pragma omp parallel for simd num_threads(gd__threads_for(l->draws)) schedule(static)
    for (int64_t i = 0; i < l->draws; i++) to[i] = value;
    return GD_OK;
}

static gd_status run_random(gd__kernel *k, const gd_memory *m) {
    leaf *l = (leaf *)k;
    float *to = m->node[l->out];
    const gd_rng r = {m->args->seed, l->attr.purpose, m->args->step};
    bool normal = l->attr.kind == GD_RANDOM_NORMAL;
    uint32_t draws = (uint32_t)l->draws;
    /* One draw costs some tens of operations. */
#pragma omp parallel for num_threads(gd__threads_for(l->samples * l->draws * 16)) schedule(static)
    for (int64_t n = 0; n < l->samples; n++) {
        uint64_t sample = m->args->sample + (uint64_t)n;
        if (normal) gd_rng_normal(&r, sample, 0, draws, to + n * l->draws);
        else gd_rng_uniform(&r, sample, 0, draws, to + n * l->draws);
    }
    return GD_OK;
}

static gd_status make_leaf(const gd_graph *g, gd_node node, gd__kernel **out) {
    const gd_node_info *n = gd_graph_at(g, node);
    bool random = n->op == GD_OP_RANDOM;
    leaf *l = gd__kernel_new(sizeof *l, random ? run_random : run_const);
    if (!l) GD_FAIL(NOMEM, "%s: no memory", n->name);
    l->out = node;
    l->attr = n->attr;
    l->samples = random ? n->shape.dim[0] : 1;
    l->draws = gd_shape_count(n->shape) / l->samples;
    l->nothing = n->op == GD_OP_INPUT || n->op == GD_OP_PARAM;
    snprintf(l->base.text, sizeof l->base.text, "%s", l->nothing ? "bound" : random ? "philox" : "fill");
    *out = &l->base;
    return GD_OK;
}

/* ---- choice ---- */

bool gd__move_supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    const gd_node_info *i = gd_graph_at(g, n);
    bool adds = i->op == GD_OP_FOLD_REFLECT || i->op == GD_OP_SUMPOOL || i->op == GD_OP_ALLREDUCE;
    bool fits = !adds || i->dtype == GD_F32 || (i->dtype == GD_BF16 && i->op != GD_OP_ALLREDUCE);
    if (!fits) snprintf(why, room, "%s of %s; expected f32", gd_op_text(i->op), gd_dtype_text(i->dtype));
    return fits;
}

gd_status gd__make_move(const gd_graph *g, gd_node n, gd__kernel **out) {
    switch (gd_graph_at(g, n)->op) {
    case GD_OP_PAD_REFLECT:
    case GD_OP_FOLD_REFLECT:
    case GD_OP_UPSAMPLE:
    case GD_OP_SUMPOOL: return gd__make_image(g, n, out);
    case GD_OP_INPUT:
    case GD_OP_PARAM:
    case GD_OP_CONST:
    case GD_OP_RANDOM: return make_leaf(g, n, out);
    default: return make_mover(g, n, out);
    }
}
