/* compute/grad_norm.c -- gradient rules of NORMALIZE and NORM_RSTD.
 *
 * With m values a group (over all shards with sync), r = 1/sqrt(var + eps) and h = (x - mean) r:
 *     dh_i/dx_j = r (delta_ij - 1/m - h_i h_j / m)        dr/dx_j = -r^2 h_j / m
 * exactly, for every eps. Both are written in h and r, which are nodes with these same rules, so
 * derivatives of any order follow. Ioffe and Szegedy 2015, section 3. */
#include "compute/grad.h"

/* 1 / number of values a group. */
static double group_weight(const gd_graph *g, gd_shape s, const gd_attr *a) {
    double m = a->sync ? (double)gd_graph_shards(g) : 1;
    for (int i = 0; i < s.rank; i++)
        if (a->axes >> i & 1) m *= (double)s.dim[i];
    return 1 / m;
}

/* The statistic beside a forward node: the one that is there, so that what flows into it gathers in
 * one place, or a new one, which shares its sums with the other when lowered. */
static gd_node statistic(gd_graph *g, gd_op op, gd_node x, const gd_attr *a) {
    gd_node there = gd__find(g, op, x, a);
    return there != GD_NONE ? there : gd__add(g, op, x, GD_NONE, a);
}

/* Group means of u and v. Across shards both travel in one collective. */
static void group_means(gd_graph *g, const gd_attr *a, gd_node *u, gd_node *v) {
    gd_shape s = gd_node_shape(g, *u);
    double weight = group_weight(g, s, a);
    *u = gd_sum(g, *u, a->axes);
    *v = gd_sum(g, *v, a->axes);
    if (a->sync) {
        gd_shape half = gd_node_shape(g, *u);
        int last = half.rank - 1;
        gd_node both = gd_allreduce(g, gd_concat(g, *u, *v, last));
        int64_t lo[GD_RANK_MAX] = {0}, hi[GD_RANK_MAX];
        for (int i = 0; i < GD_RANK_MAX; i++) hi[i] = half.dim[i];
        *u = gd_slice(g, both, lo, hi);
        lo[last] = half.dim[last];
        hi[last] = 2 * half.dim[last];
        *v = gd_slice(g, both, lo, hi);
    }
    *u = gd_scale(g, *u, weight);
    *v = gd_scale(g, *v, weight);
}

/* dx = r (dy - mean(dy) - h mean(dy h)) */
static gd_node normalize_back(gd_graph *g, const gd_attr *a, gd_node x, gd_node h, gd_node dy) {
    gd_node mean_dy = dy, mean_dyh = gd_mul(g, dy, h);
    group_means(g, a, &mean_dy, &mean_dyh);
    gd_node inner = gd_sub(g, gd_sub(g, dy, mean_dy), gd_mul(g, h, mean_dyh));
    return gd_mul(g, inner, statistic(g, GD_OP_NORM_RSTD, x, a));
}

/* dx = -dr r^2 / m h, where dr comes from every shard that uses r. */
static gd_node rstd_back(gd_graph *g, const gd_attr *a, gd_node x, gd_node r, gd_node dr) {
    if (a->sync) dr = gd_allreduce(g, dr);
    double weight = group_weight(g, gd_node_shape(g, x), a);
    gd_node factor = gd_scale(g, gd_mul(g, dr, gd_square(g, r)), -weight);
    return gd_mul(g, statistic(g, GD_OP_NORMALIZE, x, a), factor);
}

GD_UNARY_RULE(normalize, normalize_back(g, &i->attr, x, y, dy))
GD_UNARY_RULE(norm_rstd, rstd_back(g, &i->attr, x, y, dy))
