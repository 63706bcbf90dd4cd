/* compute/grad_shape.c -- gradient rules of ops that move and reduce: each is the adjoint. */
#include "compute/grad.h"

static uint32_t repeated_axes(gd_shape narrow, gd_shape wide) {
    uint32_t axes = 0;
    for (int i = 0; i < wide.rank; i++)
        if (narrow.dim[i] != wide.dim[i]) axes |= 1u << i;
    return axes;
}

/* SUM gives f32 whatever it is given, so both rules cast where bf16 is around. */
static gd_node sum_back(gd_graph *g, gd_node x, gd_node y, gd_node dy) {
    gd_node dx = gd_sum(g, dy, repeated_axes(gd_node_shape(g, x), gd_node_shape(g, y)));
    return gd_cast(g, dx, gd__grad_dtype(g, x));
}

static gd_node spread_back(gd_graph *g, gd_node x, gd_node dy) {
    return gd_cast(g, gd_broadcast(g, dy, gd_node_shape(g, x)), gd__grad_dtype(g, x));
}

static gd_node permute_back(gd_graph *g, const gd_node_info *i, gd_node dy) {
    int inverse[GD_RANK_MAX] = {0};
    for (int k = 0; k < i->shape.rank; k++) inverse[i->attr.perm[k]] = k;
    return gd_permute(g, dy, inverse);
}

static gd_node slice_back(gd_graph *g, const gd_node_info *i, gd_node x, gd_node dy) {
    int64_t after[GD_RANK_MAX] = {0};
    gd_shape s = gd_node_shape(g, x);
    for (int k = 0; k < s.rank; k++) after[k] = s.dim[k] - i->attr.hi[k];
    return gd_pad(g, dy, i->attr.lo, after);
}

static gd_node pad_back(gd_graph *g, const gd_node_info *i, gd_node x, gd_node dy) {
    int64_t end[GD_RANK_MAX] = {0};
    gd_shape s = gd_node_shape(g, x);
    for (int k = 0; k < s.rank; k++) end[k] = i->attr.lo[k] + s.dim[k];
    return gd_slice(g, dy, i->attr.lo, end);
}

typedef gd_node (*border_fn)(gd_graph *, gd_node, int64_t, int64_t, int64_t, int64_t);
static gd_node border_back(gd_graph *g, border_fn adjoint, const gd_attr *a, gd_node dy) {
    return adjoint(g, dy, a->lo[1], a->hi[1], a->lo[2], a->hi[2]);
}

// clang-format off
GD_UNARY_RULE(broadcast,    sum_back(g, x, y, dy))
GD_UNARY_RULE(sum,          spread_back(g, x, dy))
GD_UNARY_RULE(reshape,      gd_reshape(g, dy, gd_node_shape(g, x)))
GD_UNARY_RULE(permute,      permute_back(g, i, dy))
GD_UNARY_RULE(slice,        slice_back(g, i, x, dy))
GD_UNARY_RULE(pad,          pad_back(g, i, x, dy))
GD_UNARY_RULE(pad_reflect,  border_back(g, gd_fold_reflect, &i->attr, dy))
GD_UNARY_RULE(fold_reflect, border_back(g, gd_pad_reflect, &i->attr, dy))
GD_UNARY_RULE(upsample,     gd_sumpool(g, dy, i->attr.factor))
GD_UNARY_RULE(sumpool,      gd_upsample(g, dy, i->attr.factor))
/* Every shard's result is the sum, so every shard's input feeds the objective of all shards. */
GD_UNARY_RULE(allreduce,    gd_allreduce(g, dy))
// clang-format on

GD_BINARY_RULE(concat) {
    const gd_node_info *i = gd_graph_at(g, y);
    int64_t lo[GD_RANK_MAX] = {0}, hi[GD_RANK_MAX] = {0};
    for (int k = 0; k < i->shape.rank; k++) hi[k] = i->shape.dim[k];
    int axis = i->attr.axis;
    int64_t cut = gd_node_shape(g, i->in[0]).dim[axis];
    hi[axis] = cut;
    if (need[0]) dx[0] = gd_slice(g, dy, lo, hi);
    lo[axis] = cut;
    hi[axis] = i->shape.dim[axis];
    if (need[1]) dx[1] = gd_slice(g, dy, lo, hi);
}
