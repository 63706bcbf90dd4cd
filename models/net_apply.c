/* From the layer program to graph nodes. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/layers.h"

enum { AXIS_N = 1, AXIS_H = 2, AXIS_W = 4, AXIS_C = 8, FLAT_C = 2 };

static const double momentum = 0.1; /* of running statistics, as PyTorch */

gd_status gd_net_use_new(const gd_net *n, gd_graph *g, const char *prefix, int version, gd_net_use **out) {
    gd_net_use *u = calloc(1, sizeof *u + (size_t)n->n_params * sizeof *u->node);
    if (!u) GD_FAIL(NOMEM, "%s: %d parameters", prefix, n->n_params);
    *u = (gd_net_use){.net = n, .graph = g, .prefix = prefix, .node = (gd_node *)(u + 1)};
    for (int i = 0; i < n->n_params; i++) {
        char name[512];
        int len = snprintf(name, sizeof name, "%s/%s", prefix, n->params[i].name);
        if (len < 0 || (size_t)len >= sizeof name) {
            free(u);
            GD_FAIL(CONFIG, "the parameter name %s/%s is longer than %zu bytes", prefix, n->params[i].name,
                    sizeof name - 1);
        }
        u->node[i] = gd_param(g, name, n->params[i].shape, n->params[i].buffer ? 0 : version);
    }
    for (size_t i = 0; i < sizeof u->tap / sizeof *u->tap; i++) u->tap[i] = GD_NONE;
    *out = u;
    return GD_OK;
}

void gd_net_use_free(gd_net_use *u) { free(u); }
gd_node gd_net_use_param(const gd_net_use *u, int index) { return u->node[index]; }
gd_node gd_net_use_buffer(const gd_net_use *u, int index) { return u->node[index]; }

int gd_net_use_features(const gd_net_use *u, const gd_node **list) {
    *list = u->tap;
    return u->net->n_taps;
}

void gd__use_continue(gd_net_use *u, const gd_net_use *from) {
    for (int i = 0; i < u->net->n_params; i++)
        if (u->net->params[i].buffer) u->node[i] = from->node[i];
}

static bool averages(const gd_param_info *p) { return p->buffer && !p->replicated; }

void gd__use_average_buffers(gd_net_use *u) {
    gd_graph *g = u->graph;
    const gd_net *n = u->net;
    if (gd_graph_shards(g) == 1) return;
    gd_node all = GD_NONE;
    for (int i = 0; i < n->n_params; i++)
        if (averages(&n->params[i])) all = all == GD_NONE ? u->node[i] : gd_concat(g, all, u->node[i], 0);
    if (all == GD_NONE) return;
    all = gd_allreduce(g, gd_scale(g, all, 1.0 / (double)gd_graph_shards(g)));
    int64_t at = 0;
    for (int i = 0; i < n->n_params; i++) {
        if (!averages(&n->params[i])) continue;
        int64_t lo[GD_RANK_MAX] = {at}, hi[GD_RANK_MAX] = {at += gd_shape_count(n->params[i].shape)};
        u->node[i] = gd_slice(g, all, lo, hi);
    }
}

/* ---- layers ---- */

static int64_t samples(const gd_graph *g, gd_node x) { return gd_node_shape(g, x).dim[0]; }

/* A vector [C] as [1,C] or [1,1,1,C], to be broadcast over x. */
static gd_node over_channels(gd_graph *g, gd_node v, gd_node x) {
    gd_shape s = gd_node_shape(g, v);
    return gd_reshape(g, v, gd_node_shape(g, x).rank == 2 ? gd_shape2(1, s.dim[0]) : gd_shape4(1, 1, 1, s.dim[0]));
}

static gd_node add_bias(gd_net_use *u, const gd__layer *l, gd_node y) {
    return l->bias ? gd_add(u->graph, y, over_channels(u->graph, u->node[l->param + 1], y)) : y;
}

/* Of a dense layer or convolution, as this pass uses it. */
static gd_node weight_of(gd_net_use *u, const gd__layer *l, const gd_apply_opts *o) {
    return l->spectral ? gd__spectral_weight(u, l, !o->eval && !o->no_update) : u->node[l->param];
}

static gd_node apply_dense(gd_net_use *u, const gd__layer *l, gd_node x, gd_node w) {
    return add_bias(u, l, gd_matmul(u->graph, x, w, false, true));
}

static gd_conv_attr conv_attr(const gd__layer *l) {
    return (gd_conv_attr){l->stride, {l->pad[0], l->pad[1], l->pad[2], l->pad[3]}};
}

static bool unpadded(const gd__layer *l) { return !l->pad[0] && !l->pad[1] && !l->pad[2] && !l->pad[3]; }

/* A kernel that covers its whole input once is a matrix product: with the channel fastest on both
 * sides the operands lie in memory as the product needs them. */
static gd_node apply_conv(gd_net_use *u, const gd__layer *l, gd_node x, gd_node w) {
    gd_graph *g = u->graph;
    gd_shape xs = gd_node_shape(g, x), ws = gd_node_shape(g, w);
    if (unpadded(l) && xs.dim[1] == l->kernel_h && xs.dim[2] == l->kernel_w) {
        int64_t inner = xs.dim[1] * xs.dim[2] * xs.dim[3];
        gd_node y = gd_matmul(g, gd_reshape(g, x, gd_shape2(xs.dim[0], inner)),
                              gd_reshape(g, w, gd_shape2(ws.dim[0], inner)), false, true);
        return add_bias(u, l, gd_reshape(g, y, gd_shape4(xs.dim[0], 1, 1, ws.dim[0])));
    }
    return add_bias(u, l, gd_conv(g, x, w, conv_attr(l)));
}

static gd_node apply_deconv(gd_net_use *u, const gd__layer *l, gd_node x, gd_node w) {
    gd_graph *g = u->graph;
    gd_shape xs = gd_node_shape(g, x), ws = gd_node_shape(g, w);
    int64_t n = xs.dim[0], h = l->kernel_h, v = l->kernel_w, c = ws.dim[3];
    if (unpadded(l) && xs.dim[1] == 1 && xs.dim[2] == 1) {
        gd_node y = gd_matmul(g, gd_reshape(g, x, gd_shape2(n, xs.dim[3])),
                              gd_reshape(g, w, gd_shape2(xs.dim[3], h * v * c)), false, false);
        return add_bias(u, l, gd_reshape(g, y, gd_shape4(n, h, v, c)));
    }
    /* From the map at hand, not from l->dims: fully convolutional networks take other sizes too. */
    h = (xs.dim[1] - 1) * l->stride + l->kernel_h - l->pad[0] - l->pad[1];
    v = (xs.dim[2] - 1) * l->stride + l->kernel_w - l->pad[2] - l->pad[3];
    return add_bias(u, l, gd_conv_dx(g, x, w, gd_shape4(n, h, v, c), conv_attr(l)));
}

static uint32_t norm_axes(const gd__layer *l, gd_shape s) {
    if (s.rank == 2) return l->norm == GD__NORM_LAYER ? FLAT_C : AXIS_N;
    return l->norm == GD__NORM_BATCH      ? AXIS_N | AXIS_H | AXIS_W
           : l->norm == GD__NORM_INSTANCE ? AXIS_H | AXIS_W
                                          : AXIS_H | AXIS_W | AXIS_C;
}

/* How many values of this shard each mean of a norm is over. */
static int64_t averaged(gd_shape s, uint32_t axes) {
    int64_t count = 1;
    for (int i = 0; i < s.rank; i++)
        if (axes >> i & 1) count *= s.dim[i];
    return count;
}

/* old + momentum (batch - old) of one running statistic. */
static void move(gd_net_use *u, int index, gd_node batch) {
    gd_graph *g = u->graph;
    batch = gd_reshape(g, batch, u->net->params[index].shape);
    u->node[index] = gd_add(g, gd_scale(g, u->node[index], 1 - momentum), gd_scale(g, batch, momentum));
}

/* Running statistics of x. The variance comes back from the 1 / sqrt(var + eps) that normalising
 * computes anyway, so these nodes cost one number a channel. */
static void update_running(gd_net_use *u, const gd__layer *l, gd_node x, uint32_t axes, bool sync) {
    gd_graph *g = u->graph;
    gd_shape s = gd_node_shape(g, x);
    double count = (double)averaged(s, axes);
    if (sync) count *= (double)gd_graph_shards(g);
    gd_node sum = gd_sum(g, x, axes);
    gd_node mean = gd_scale(g, sync ? gd_allreduce(g, sum) : sum, 1 / count);
    gd_node rstd = gd_norm_rstd(g, x, axes, l->eps, sync);
    gd_node var = gd_leaky(g, gd_shift(g, gd_recip(g, gd_square(g, rstd)), -l->eps), 0); /* not below 0 */
    move(u, l->running, mean);
    move(u, l->running + 1, gd_scale(g, var, count / (count - 1)));
}

static gd_node scale_shift(gd_net_use *u, const gd__layer *l, gd_node y) {
    if (l->param < 0) return y;
    gd_graph *g = u->graph;
    return gd_add(g, gd_mul(g, y, over_channels(g, u->node[l->param], y)), over_channels(g, u->node[l->param + 1], y));
}

static gd_node apply_norm(gd_net_use *u, const gd__layer *l, gd_node x, const gd_apply_opts *o) {
    gd_graph *g = u->graph;
    gd_shape s = gd_node_shape(g, x);
    uint32_t axes = norm_axes(l, s);
    if (l->norm == GD__NORM_BATCH && o->eval && !o->batch_stats) {
        gd_node rstd = gd_rsqrt(g, gd_shift(g, u->node[l->running + 1], l->eps));
        gd_node y = gd_sub(g, x, over_channels(g, u->node[l->running], x));
        return scale_shift(u, l, gd_mul(g, y, over_channels(g, rstd, x)));
    }
    bool sync = o->sync && l->norm == GD__NORM_BATCH;
    if (averaged(s, axes) * (sync ? gd_graph_shards(g) : 1) == 1)
        return gd_graph_fail(g, GD_CONFIG,
                             "%s/%s: the norm's statistics are of a single value, so its output is a "
                             "constant; use a larger batch or map, or another norm",
                             u->prefix, l->label);
    gd_node y = gd_normalize(g, x, axes, l->eps, sync);
    if (l->running >= 0 && !o->no_update && !o->eval) update_running(u, l, x, axes, sync);
    return scale_shift(u, l, y);
}

static gd_node apply_act(gd_graph *g, const gd__layer *l, gd_node x) {
    switch (l->act) {
    case GD__ACT_TANH: return gd_tanh(g, x);
    case GD__ACT_SIGMOID: return gd_sigmoid(g, x);
    default: return gd_leaky(g, x, l->slope);
    }
}

/* Keeps a value where u < 1 - rate, u uniform in [0,1). */
static gd_node apply_dropout(gd_net_use *u, const gd__layer *l, gd_node x, const gd_apply_opts *o) {
    if (o->eval && !o->keep_dropout) return x;
    gd_graph *g = u->graph;
    uint32_t purpose = GD_PURPOSE_DROPOUT | (o->stream & 0xff) << 24 | (uint32_t)(l->draw & 0xff) << 16;
    gd_node draw = gd_random(g, GD_RANDOM_UNIFORM, purpose, gd_node_shape(g, x));
    gd_node keep = gd_step(g, gd_shift(g, gd_neg(g, draw), 1 - l->rate));
    return gd_mul(g, x, gd_scale(g, keep, 1 / (1 - l->rate)));
}

/* Unit i is the maximum of units i * pieces ... of x: a maximum over the last axis of [N*units,pieces]. */
static gd_node apply_maxout(gd_graph *g, const gd__layer *l, gd_node x) {
    gd_shape s = gd_node_shape(g, x);
    int64_t rows = gd_shape_count(s) / l->factor;
    gd_node groups = gd_reshape(g, x, gd_shape2(rows, l->factor)), best = GD_NONE;
    for (int i = 0; i < l->factor; i++) {
        int64_t lo[GD_RANK_MAX] = {0, i}, hi[GD_RANK_MAX] = {rows, i + 1};
        gd_node one = gd_slice(g, groups, lo, hi);
        best = i ? gd_max(g, best, one) : one;
    }
    if (s.rank) s.dim[s.rank - 1] /= l->factor;
    return gd_reshape(g, best, s);
}

static const int to_chw[GD_RANK_MAX] = {0, 3, 1, 2}, to_hwc[GD_RANK_MAX] = {0, 2, 3, 1};

static gd_node apply_flatten(gd_graph *g, gd_node x) {
    gd_shape s = gd_node_shape(g, x);
    if (s.dim[3] > 1 && s.dim[1] * s.dim[2] > 1) x = gd_permute(g, x, to_chw);
    return gd_reshape(g, x, gd_shape2(s.dim[0], s.dim[1] * s.dim[2] * s.dim[3]));
}

static gd_node apply_reshape(gd_graph *g, const gd__layer *l, gd_node x) {
    gd__dims d = l->dims;
    int64_t n = samples(g, x);
    if (d.c == 1 || d.h * d.w == 1) return gd_reshape(g, x, gd_shape4(n, d.h, d.w, d.c));
    return gd_permute(g, gd_reshape(g, x, gd_shape4(n, d.c, d.h, d.w)), to_hwc);
}

static gd_node apply_spatial(gd_graph *g, gd_node x) {
    gd_shape s = gd_node_shape(g, x);
    return gd_reshape(g, gd_mean(g, x, AXIS_H | AXIS_W), gd_shape2(s.dim[0], s.dim[3]));
}

static gd_node apply_layer(gd_net_use *u, const gd__layer *l, gd_node x, gd_node y, const gd_apply_opts *o) {
    gd_graph *g = u->graph;
    switch (l->kind) {
    case GD__LAYER_DENSE: return apply_dense(u, l, x, weight_of(u, l, o));
    case GD__LAYER_CONV: return apply_conv(u, l, x, weight_of(u, l, o));
    case GD__LAYER_DECONV: return apply_deconv(u, l, x, weight_of(u, l, o));
    case GD__LAYER_NORM: return apply_norm(u, l, x, o);
    case GD__LAYER_ACT: return apply_act(g, l, x);
    case GD__LAYER_DROPOUT: return apply_dropout(u, l, x, o);
    case GD__LAYER_MAXOUT: return apply_maxout(g, l, x);
    case GD__LAYER_FLATTEN: return apply_flatten(g, x);
    case GD__LAYER_RESHAPE: return apply_reshape(g, l, x);
    case GD__LAYER_UPSAMPLE: return gd_upsample(g, x, l->factor);
    case GD__LAYER_AVGPOOL: return gd_avgpool(g, x, l->factor);
    case GD__LAYER_REFLECT: return gd_pad_reflect(g, x, l->pad[0], l->pad[1], l->pad[2], l->pad[3]);
    case GD__LAYER_SPATIAL: return apply_spatial(g, x);
    case GD__LAYER_SUM: return gd_add(g, x, y);
    case GD__LAYER_CONCAT: return gd_concat(g, x, y, 3);
    case GD__LAYER_KIND_COUNT: break;
    }
    return GD_NONE;
}

static gd_node check_input(gd_net_use *u, gd_node x) {
    gd_shape s = gd_node_shape(u->graph, x);
    gd__dims d = u->net->input;
    char text[160];
    if (!d.flat && s.rank == 4 && s.dim[3] == d.c) {
        if (gd__fits(u->net, s.dim[1], s.dim[2], text)) return x;
        return gd_graph_fail(u->graph, GD_SHAPE, "%s: %s", u->prefix, text);
    }
    if (d.flat && s.rank == 2 && s.dim[1] == d.c) return x;
    gd_shape_text(s, text);
    return gd_graph_fail(u->graph, GD_SHAPE, "%s: input is %s; expected %s%lld", u->prefix, text,
                         d.flat ? "[N,Z] with Z = " : "[N,H,W,C] with C = ", (long long)d.c);
}

gd_node gd_net_apply(gd_net_use *u, gd_node x, const gd_apply_opts *o) {
    static const gd_apply_opts none;
    const gd_net *n = u->net;
    if (!o) o = &none;
    if (x == GD_NONE || check_input(u, x) == GD_NONE) return GD_NONE;
    gd_node *value = calloc((size_t)n->n_layers + 1, sizeof *value);
    if (!value) return gd_graph_fail(u->graph, GD_NOMEM, "%s: %d layers", u->prefix, n->n_layers);
    value[0] = x; /* value[i + 1]: of layer i */
    for (int i = 0; i < n->n_layers; i++) {
        const gd__layer *l = &n->layers[i];
        gd_graph_push(u->graph, "%s/%s", u->prefix, l->label);
        value[i + 1] = apply_layer(u, l, value[l->in[0] + 1], value[l->in[1] + 1], o);
        gd_graph_pop(u->graph);
    }
    for (int i = 0; i < n->n_taps; i++) u->tap[i] = value[n->tap[i] + 1];
    x = value[n->output + 1];
    free(value);
    return x;
}
