/* compute/build_shape.c -- builders of nodes that move, reduce, multiply and normalise.
 *
 * What would change nothing (a broadcast to the same shape, a factor of 1, ...) gives x itself. */
#include <string.h>

#include "compute/build.h"

gd_node gd_broadcast(gd_graph *g, gd_node x, gd_shape s) {
    if (!gd__usable(g, GD_OP_BROADCAST, x)) return GD_NONE;
    const gd_node_info *i = gd_graph_at(g, x);
    if (gd_shape_equal(i->shape, s)) return x;
    return gd__add(g, GD_OP_BROADCAST, x, GD_NONE, &(gd_attr){.shape = s});
}

gd_node gd_sum(gd_graph *g, gd_node x, uint32_t axes) {
    return gd__add(g, GD_OP_SUM, x, GD_NONE, &(gd_attr){.axes = axes});
}

gd_node gd_sum_all(gd_graph *g, gd_node x) { return gd_sum(g, x, (1u << gd_node_shape(g, x).rank) - 1); }

gd_node gd_mean(gd_graph *g, gd_node x, uint32_t axes) {
    gd_node y = gd_sum(g, x, axes);
    if (y == GD_NONE) return GD_NONE;
    int64_t few = gd_shape_count(gd_node_shape(g, y)), many = gd_shape_count(gd_node_shape(g, x));
    return gd_scale(g, y, (double)few / (double)many);
}

gd_node gd_reshape(gd_graph *g, gd_node x, gd_shape s) {
    if (gd__usable(g, GD_OP_RESHAPE, x) && gd_shape_equal(gd_node_shape(g, x), s)) return x;
    return gd__add(g, GD_OP_RESHAPE, x, GD_NONE, &(gd_attr){.shape = s});
}

gd_node gd_permute(gd_graph *g, gd_node x, const int *perm) {
    gd_attr a = {0};
    int rank = gd_node_shape(g, x).rank;
    bool moves = rank == 0;
    for (int i = 0; i < rank; i++) {
        a.perm[i] = perm[i];
        moves = moves || perm[i] != i;
    }
    return moves ? gd__add(g, GD_OP_PERMUTE, x, GD_NONE, &a) : x;
}

gd_node gd_concat(gd_graph *g, gd_node a, gd_node b, int axis) {
    return gd__add(g, GD_OP_CONCAT, a, b, &(gd_attr){.axis = axis});
}

gd_node gd_slice(gd_graph *g, gd_node x, const int64_t *lo, const int64_t *hi) {
    gd_attr a = {0};
    gd_shape s = gd_node_shape(g, x);
    bool cuts = s.rank == 0;
    for (int i = 0; i < s.rank; i++) {
        a.lo[i] = lo[i];
        a.hi[i] = hi[i];
        cuts = cuts || lo[i] != 0 || hi[i] != s.dim[i];
    }
    return cuts ? gd__add(g, GD_OP_SLICE, x, GD_NONE, &a) : x;
}

gd_node gd_pad(gd_graph *g, gd_node x, const int64_t *before, const int64_t *after) {
    gd_attr a = {0};
    int rank = gd_node_shape(g, x).rank;
    bool grows = rank == 0;
    for (int i = 0; i < rank; i++) {
        a.lo[i] = before[i];
        a.hi[i] = after[i];
        grows = grows || before[i] != 0 || after[i] != 0;
    }
    return grows ? gd__add(g, GD_OP_PAD, x, GD_NONE, &a) : x;
}

static gd_node border(gd_graph *g, gd_op op, gd_node x, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    gd_attr a = {.lo = {0, top, left}, .hi = {0, bottom, right}};
    if (gd__usable(g, op, x) && !top && !bottom && !left && !right) return x;
    return gd__add(g, op, x, GD_NONE, &a);
}

gd_node gd_pad_reflect(gd_graph *g, gd_node x, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    return border(g, GD_OP_PAD_REFLECT, x, top, bottom, left, right);
}

gd_node gd_fold_reflect(gd_graph *g, gd_node x, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    return border(g, GD_OP_FOLD_REFLECT, x, top, bottom, left, right);
}

static gd_node resample(gd_graph *g, gd_op op, gd_node x, int factor) {
    if (gd__usable(g, op, x) && factor == 1) return x;
    return gd__add(g, op, x, GD_NONE, &(gd_attr){.factor = factor});
}

gd_node gd_upsample(gd_graph *g, gd_node x, int factor) { return resample(g, GD_OP_UPSAMPLE, x, factor); }

gd_node gd_sumpool(gd_graph *g, gd_node x, int factor) { return resample(g, GD_OP_SUMPOOL, x, factor); }

gd_node gd_avgpool(gd_graph *g, gd_node x, int factor) {
    return gd_scale(g, gd_sumpool(g, x, factor), 1.0 / ((double)factor * factor));
}

/* ---- heavy ---- */

gd_node gd_matmul(gd_graph *g, gd_node a, gd_node b, bool ta, bool tb) {
    return gd__add(g, GD_OP_MATMUL, a, b, &(gd_attr){.ta = ta, .tb = tb});
}

static gd_node conv(gd_graph *g, gd_op op, gd_node a, gd_node b, gd_shape target, gd_conv_attr c) {
    gd_attr attr = {.stride = c.stride, .shape = target};
    for (int i = 0; i < 4; i++) attr.pad[i] = c.pad[i];
    return gd__add(g, op, a, b, &attr);
}

gd_node gd_conv(gd_graph *g, gd_node x, gd_node w, gd_conv_attr a) {
    return conv(g, GD_OP_CONV, x, w, (gd_shape){0}, a);
}

gd_node gd_conv_dx(gd_graph *g, gd_node dy, gd_node w, gd_shape x_shape, gd_conv_attr a) {
    return conv(g, GD_OP_CONV_DX, dy, w, x_shape, a);
}

gd_node gd_conv_dw(gd_graph *g, gd_node x, gd_node dy, gd_shape w_shape, gd_conv_attr a) {
    return conv(g, GD_OP_CONV_DW, x, dy, w_shape, a);
}

/* ---- over shards ---- */

gd_node gd_allreduce(gd_graph *g, gd_node x) {
    if (gd__usable(g, GD_OP_ALLREDUCE, x) && gd_graph_shards(g) == 1) return x;
    return gd__add(g, GD_OP_ALLREDUCE, x, GD_NONE, NULL);
}

/* With one shard sync says nothing: left out, so that equal nodes look equal. */
static gd_node norm(gd_graph *g, gd_op op, gd_node x, uint32_t axes, double eps, bool sync) {
    gd_attr a = {.axes = axes, .value = eps, .sync = sync && gd_graph_shards(g) > 1};
    return gd__add(g, op, x, GD_NONE, &a);
}

gd_node gd_normalize(gd_graph *g, gd_node x, uint32_t axes, double eps, bool sync) {
    return norm(g, GD_OP_NORMALIZE, x, axes, eps, sync);
}

gd_node gd_norm_rstd(gd_graph *g, gd_node x, uint32_t axes, double eps, bool sync) {
    return norm(g, GD_OP_NORM_RSTD, x, axes, eps, sync);
}
