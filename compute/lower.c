/* compute/lower.c -- NORMALIZE and NORM_RSTD as closed ops.
 *
 * Two passes over x: the variance is the mean of the squares of x - mean, which does not cancel as
 * mean(x^2) - mean^2 does. Both ops of one x are built from equal nodes, so gd__pass_merge leaves one
 * set of statistics. */
#include "compute/build.h"
#include "compute/passes.h"

static gd_node mean_of(gd_graph *g, gd_node x, const gd_attr *a) {
    gd_node sum = gd_sum(g, x, a->axes);
    if (sum == GD_NONE) return GD_NONE;
    double few = (double)gd_shape_count(gd_node_shape(g, sum)), many = (double)gd_shape_count(gd_node_shape(g, x));
    if (a->sync) {
        sum = gd_allreduce(g, sum);
        many *= (double)gd_graph_shards(g);
    }
    return gd_scale(g, sum, few / many);
}

gd_node gd__rule_lower(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    (void)ctx;
    if (n->op != GD_OP_NORMALIZE && n->op != GD_OP_NORM_RSTD) return gd__add_like(to, n, a, b);
    gd_node centred = gd_sub(to, a, mean_of(to, a, &n->attr));
    gd_node variance = mean_of(to, gd_square(to, centred), &n->attr);
    gd_node rstd = gd_rsqrt(to, gd_shift(to, variance, n->attr.value));
    return n->op == GD_OP_NORM_RSTD ? rstd : gd_mul(to, centred, rstd);
}
