/* models/penalty.c -- penalties on the slope of a discriminator.
 *
 * kind      at points                               cost of a sample, s = |grad_x sum(D(x))|
 * gradient  real + alpha (fake - real), alpha one   lambda (s - target)^2                        [1] eq. 3
 *           number a sample in [0,1); or real, fake
 * r1        real                                    lambda/2 s^2                                 [2] eq. 9
 * dragan    real + std/2 u, u uniform in [0,1) for  lambda (s - target)^2                        [3]
 *           every element, std that of all elements
 *           of the global batch
 * one-sided: max(0, s - target) instead of s - target ([1], section 4).
 * [1] Gulrajani et al. 2017  [2] Mescheder et al. 2018  [3] Kodali et al. 2017 (its code also walks part
 * of the way from real to that point)
 *
 * The gradient is a part of the graph like any other, so the loss that contains it is differentiated
 * once more. The public codes take the root of the plain sum of squares; here EPS is added, since the
 * root has no slope at 0 (it changes a norm of 1 by 5e-13).
 *
 * pick: of every `pick` neighbouring samples only one is looked at, so the passes through D that a
 * penalty costs are over n / pick samples. The control input "pick" is one-hot; all points are weighed
 * with it and summed, hence which samples are taken does not depend on the number of shards. */
#include "models/layers.h"
#include "models/step.h"

static const double EPS = 1e-12;
enum { AXIS_N = 1, AXIS_H = 2, AXIS_W = 4, AXIS_C = 8, PICK_AXIS = 2 };

static int64_t at_least_one(int64_t n) { return n > 1 ? n : 1; }

/* ---- points ---- */

/* One point between the real and the generated sample of each pair. */
static gd_node between(gd__step *s, uint32_t purpose, gd_node real, gd_node fake) {
    gd_node alpha = gd_random(s->graph, GD_RANDOM_UNIFORM, purpose, gd_shape4(s->n, 1, 1, 1));
    return gd_add(s->graph, real, gd_mul(s->graph, gd_sub(s->graph, fake, real), alpha));
}

/* A point beside each real sample. */
static gd_node beside(gd__step *s, uint32_t purpose, gd_node real) {
    gd_graph *g = s->graph;
    gd_node std = gd_recip(g, gd_norm_rstd(g, real, AXIS_N | AXIS_H | AXIS_W | AXIS_C, EPS, true));
    gd_node u = gd_random(g, GD_RANDOM_UNIFORM, purpose, gd_node_shape(g, real));
    return gd_add(g, real, gd_mul(g, gd_scale(g, u, 0.5), std));
}

/* side: tells the random numbers of several discriminators apart. */
static gd_node points(gd__step *s, int side, gd_node real, gd_node fake) {
    const gd_penalty_spec *p = &s->gan->spec.penalty;
    uint32_t purpose = GD_PURPOSE_PENALTY | (uint32_t)side << 16;
    if (p->kind == GD_PENALTY_R1) return real;
    if (p->kind == GD_PENALTY_DRAGAN) return beside(s, purpose, real);
    switch (p->at) {
    case GD_PENALTY_AT_REAL: return real;
    case GD_PENALTY_AT_FAKE: return fake;
    default: return between(s, purpose, real, fake);
    }
}

/* One of every `pick` neighbouring samples of x. */
static gd_node picked(gd__step *s, gd_node x, int64_t pick) {
    gd_graph *g = s->graph;
    gd_shape all = gd_node_shape(g, x);
    if (pick == 1 || all.rank != 4) return x;
    int64_t few = all.dim[0] / pick, rest = all.dim[1] * all.dim[2] * all.dim[3];
    gd_node groups = gd_reshape(g, x, gd_shape4(few, pick, rest, 1));
    gd_node which = gd_reshape(g, gd__step_control(s, "pick", pick), gd_shape4(1, pick, 1, 1));
    gd_node sum = gd_sum(g, gd_mul(g, groups, which), PICK_AXIS);
    return gd_reshape(g, sum, gd_shape4(few, all.dim[1], all.dim[2], all.dim[3]));
}

/* ---- cost ---- */

/* Squares of the slope of each sample, [n,1,1,1]. */
static gd_node slope_squares(gd__step *s, int net, gd_node x) {
    gd_graph *g = s->graph;
    gd_node verdict = gd__step_look(s, net, x), slope = GD_NONE;
    gd_grad(g, gd_sum_all(g, verdict), GD_NONE, 1, &x, &slope);
    return gd_sum(g, gd_square(g, slope), AXIS_H | AXIS_W | AXIS_C);
}

gd_node gd__step_penalty(gd__step *s, int side, int net, gd_node real, gd_node fake, gd_node *norm) {
    gd_graph *g = s->graph;
    const gd_penalty_spec *p = &s->gan->spec.penalty;
    int64_t pick = at_least_one(p->pick), count = s->gan->spec.global_batch / pick;
    gd_node squares = slope_squares(s, net, picked(s, points(s, side, real, fake), pick));
    gd_node slope = gd_sqrt(g, gd_shift(g, squares, EPS)), cost;
    if (p->kind == GD_PENALTY_R1) cost = gd_scale(g, squares, 0.5);
    else {
        cost = gd_shift(g, slope, -p->target);
        cost = gd_square(g, p->one_sided ? gd_leaky(g, cost, 0) : cost);
    }
    *norm = gd_loss_mean(g, slope, count);
    return gd_scale(g, gd_loss_mean(g, cost, count), p->lambda * (double)at_least_one(p->every));
}

/* ---- what cannot work ---- */

/* The penalty is on the slope at single samples: batch norm would mix them. */
static gd_status check_net(const gd_penalty_spec *p, const gd_net *net) {
    for (int i = 0; i < net->n_layers; i++)
        if (net->layers[i].kind == GD__LAYER_NORM && net->layers[i].norm == GD__NORM_BATCH)
            GD_FAIL(CONFIG, "loss.penalty: a gradient penalty looks at single samples and batch norm mixes them; use "
                            "discriminator.norm none, layer or instance");
    if (p->pick > 1 && net->n_draws)
        GD_FAIL(CONFIG,
                "loss.penalty.fraction: dropout is drawn for whole batches, and only 1 of %lld samples is "
                "looked at; use fraction 1, or a discriminator without dropout",
                (long long)p->pick);
    return GD_OK;
}

gd_status gd__penalty_check(const gd_penalty_spec *p, const gd_net *net) {
    if (p->kind == GD_PENALTY_NONE) return GD_OK;
    if (!(p->lambda > 0) || !(p->target >= 0))
        GD_FAIL(CONFIG, "loss.penalty: lambda %g and target %g; expected more than 0, and 0 or more", p->lambda,
                p->target);
    if (p->every < 0 || p->pick < 0)
        GD_FAIL(CONFIG, "loss.penalty: every %lld, on one of %lld samples; expected at least 1", (long long)p->every,
                (long long)p->pick);
    if (p->kind != GD_PENALTY_GRADIENT && p->at != GD_PENALTY_BETWEEN)
        GD_FAIL(CONFIG, "loss.penalty.at: only kind gradient has a choice of points; remove the key");
    if (p->kind == GD_PENALTY_R1 && p->one_sided)
        GD_FAIL(CONFIG, "loss.penalty.one_sided: r1 has no target that a slope could be below; remove the key");
    return check_net(p, net);
}

gd_status gd__penalty_check_shards(const gd_gan_spec *s, int64_t shards) {
    int64_t pick = at_least_one(s->penalty.pick), unit = pick * shards, low = s->global_batch / unit * unit;
    if (s->penalty.kind == GD_PENALTY_NONE || s->global_batch % unit == 0) return GD_OK;
    char fits[64];
    if (low) snprintf(fits, sizeof fits, "%lld or %lld", (long long)low, (long long)(low + unit));
    else snprintf(fits, sizeof fits, "%lld", (long long)unit);
    GD_FAIL(CONFIG,
            "loss.penalty.fraction: one of %lld samples, but each of %lld shards has %lld; use batch.global %s, or "
            "another fraction",
            (long long)pick, (long long)shards, (long long)(s->global_batch / shards), fits);
}
