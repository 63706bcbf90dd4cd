/* models/rounds.c -- the orders in which generators and discriminators learn from a scene, for every
 * topology that has one. Goodfellow et al. 2014, algorithm 1, and the orders of its public successors:
 * DCGAN and pix2pix (D, then G through the updated D, from the same images), CycleGAN (G, then D from the
 * images of before, through a pool), DiscoGAN (one or the other, on a batch of its own).
 *
 * Real and generated images go through a discriminator one after the other, each with its own batch
 * statistics, as in all of that code. Every pass is in training mode and moves running statistics, D's
 * in the G step too.
 *
 * Side 0 of a topology with two is domain A: its losses are loss_d_a and loss_g_ba. */
#include "models/step.h"

static const char *const loss_d_name[GD__SIDES_MAX] = {"loss_d_a", "loss_d_b"};
static const char *const loss_g_name[GD__SIDES_MAX] = {"loss_g_ba", "loss_g_ab"};
static const char *const pool_name[GD__SIDES_MAX] = {"pool:0", "pool:1"};
static const char *const pooled_name[GD__SIDES_MAX] = {"pooled:0", "pooled:1"};

/* ---- what all sides say ---- */

typedef enum view { RAW, PROBABILITY, ABOVE, BELOW } view;

/* The logit at which a discriminator is undecided. */
static double threshold(gd_loss_kind k) { return k == GD_LOSS_LEAST_SQUARES ? 0.5 : 0; }

static gd_node seen_as(gd__step *s, gd_node logits, view how) {
    gd_graph *g = s->graph;
    double t = threshold(s->gan->spec.loss.kind);
    switch (how) {
    case PROBABILITY: return gd_sigmoid(g, logits);
    case ABOVE: return gd_step(g, gd_shift(g, logits, -t));
    case BELOW: return gd_step(g, gd_shift(g, gd_neg(g, logits), t));
    default: return logits;
    }
}

/* Mean over samples, patches and sides. */
static gd_node mean_verdict(gd__step *s, int n, const gd__verdict *v, view how) {
    gd_node sum = GD_NONE;
    for (int i = 0; i < n; i++)
        sum = gd__step_plus(s, sum, gd_loss_mean(s->graph, seen_as(s, v[i].logits, how), s->gan->spec.global_batch));
    return gd_scale(s->graph, sum, 1.0 / n);
}

static view as_verdict(const gd__step *s) {
    return gd_loss_has_probability(s->gan->spec.loss.kind) ? PROBABILITY : RAW;
}

/* ---- the discriminators' part ---- */

/* real[i], fake[i]: verdicts of side i. */
static void d_metrics(gd__step *s, int n, const gd__verdict *real, const gd__verdict *fake) {
    gd_graph *g = s->graph;
    gd__step_metric(s, "d_real", mean_verdict(s, n, real, as_verdict(s)));
    gd__step_metric(s, "d_fake", mean_verdict(s, n, fake, as_verdict(s)));
    gd_node right = gd_add(g, mean_verdict(s, n, real, ABOVE), mean_verdict(s, n, fake, BELOW));
    gd__step_metric(s, "d_accuracy", gd_scale(g, right, 0.5));
}

static void train_d(gd__step *s, const gd__scene *c, const gd__verdict *real, const gd__verdict *fake) {
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node all_real = GD_NONE, all_fake = GD_NONE, penalty = GD_NONE, slope = GD_NONE;
    for (int i = 0; i < c->n_sides; i++) {
        gd_node loss_real = gd_loss_d_real(s->graph, &spec->loss, real[i].logits, spec->global_batch);
        gd_node loss_fake = gd_loss_d_fake(s->graph, &spec->loss, fake[i].logits, spec->global_batch);
        if (c->n_sides > 1) gd__step_metric(s, loss_d_name[i], gd_add(s->graph, loss_real, loss_fake));
        all_real = gd__step_plus(s, all_real, loss_real);
        all_fake = gd__step_plus(s, all_fake, loss_fake);
        if (!s->penalised) continue;
        gd_node norm = GD_NONE;
        penalty = gd__step_plus(s, penalty, gd__step_penalty(s, i, c->net[i], real[i].image, fake[i].image, &norm));
        slope = gd__step_plus(s, slope, norm);
    }
    gd_node loss = gd__step_plus(s, gd_add(s->graph, all_real, all_fake), penalty);
    gd__step_grads(s, GD_GROUP_D, loss);
    gd__step_metric(s, "loss_d", loss);
    gd__step_metric(s, "loss_d_real", all_real);
    gd__step_metric(s, "loss_d_fake", all_fake);
    if (s->penalised) {
        gd__step_metric(s, "penalty", penalty);
        gd__step_metric(s, "slope_norm", gd_scale(s->graph, slope, 1.0 / c->n_sides));
    }
    d_metrics(s, c->n_sides, real, fake);
}

/* ---- the generators' part ---- */

static bool reads_fake(const gd_gan_spec *s) { return !s->loss.g_off || s->terms.feature > 0; }
static bool reads_real(const gd_gan_spec *s) { return s->terms.feature > 0; }

/* Weighted sum over all sides of what G is told about its images; GD_NONE: nothing. */
static gd_node adversarial(gd__step *s, int n, const gd__verdict *real, const gd__verdict *fake) {
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node sum = GD_NONE, adversarial = GD_NONE, feature = GD_NONE;
    for (int i = 0; i < n && !spec->loss.g_off; i++) {
        gd_node loss = gd_loss_g(s->graph, &spec->loss, fake[i].logits, spec->global_batch);
        adversarial = gd__step_plus(s, adversarial, loss);
        if (n > 1) gd__step_metric(s, loss_g_name[i], loss);
    }
    sum = adversarial;
    for (int i = 0; i < n && spec->terms.feature > 0; i++)
        feature = gd__step_plus(s, feature, gd__step_feature(s, &real[i], &fake[i]));
    if (feature != GD_NONE) {
        gd__step_metric(s, "feature", feature);
        sum = gd__step_plus(s, sum, gd_scale(s->graph, feature, spec->terms.feature));
    }
    if (n == 1 && adversarial != GD_NONE && (feature != GD_NONE || s->gan->topology->terms))
        gd__step_metric(s, "loss_g_gan", adversarial);
    return sum;
}

static void train_g(gd__step *s, const gd__scene *c, const gd__verdict *real, const gd__verdict *fake) {
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node loss = adversarial(s, c->n_sides, real, fake);
    if (spec->terms.rate && loss != GD_NONE) {
        gd_node rate = gd__step_control(s, "rate", 1);
        loss = gd_mul(s->graph, loss, gd_shift(s->graph, gd_neg(s->graph, rate), 1));
    }
    if (s->gan->topology->terms) loss = gd__step_plus(s, loss, s->gan->topology->terms(s, c));
    gd__step_grads(s, GD_GROUP_G, loss);
    gd__step_metric(s, "loss_g", loss);
    if (reads_fake(spec)) gd__step_metric(s, "d_fake_g", mean_verdict(s, c->n_sides, fake, as_verdict(s)));
}

/* ---- forward passes ---- */

/* Verdicts on the images of `list`, side by side. */
static void judge(gd__step *s, const gd__scene *c, const gd_node *list, gd__verdict *out) {
    for (int i = 0; i < c->n_sides; i++) out[i] = gd__step_judge(s, c->net[i], list[i]);
}

/* D's own look at both, with generated images that are constants. */
static void judge_and_train_d(gd__step *s, const gd__scene *c, const gd_node *fake) {
    gd__verdict on_real[GD__SIDES_MAX], on_fake[GD__SIDES_MAX];
    gd_node fixed[GD__SIDES_MAX];
    for (int i = 0; i < c->n_sides; i++) fixed[i] = gd_stop(s->graph, fake[i]);
    if (s->gan->topology->fake_first) judge(s, c, fixed, on_fake);
    judge(s, c, c->real, on_real);
    if (!s->gan->topology->fake_first) judge(s, c, fixed, on_fake);
    train_d(s, c, on_real, on_fake);
}

/* Through D as it is now; D's parameters are constants for G's gradients. */
static void judge_and_train_g(gd__step *s, const gd__scene *c) {
    gd__verdict on_real[GD__SIDES_MAX] = {0}, on_fake[GD__SIDES_MAX] = {0};
    if (reads_real(&s->gan->spec)) judge(s, c, c->real, on_real);
    if (reads_fake(&s->gan->spec)) judge(s, c, c->fake, on_fake);
    train_g(s, c, on_real, on_fake);
}

/* Simultaneous updates share D's passes: here no stop may come between, and none is needed, since a
 * group's gradients are taken with respect to its parameters only. */
static void train_both(gd__step *s, const gd__scene *c) {
    gd__verdict on_real[GD__SIDES_MAX], on_fake[GD__SIDES_MAX];
    if (s->gan->topology->fake_first) judge(s, c, c->fake, on_fake);
    judge(s, c, c->real, on_real);
    if (!s->gan->topology->fake_first) judge(s, c, c->fake, on_fake);
    train_d(s, c, on_real, on_fake);
    train_g(s, c, on_real, on_fake);
}

/* G first, and D from the images of before its update: through the pools, where there are some. */
static void train_g_then_d(gd__step *s, const gd__scene *c) {
    gd_node fake[GD__SIDES_MAX];
    judge_and_train_g(s, c);
    for (int i = 0; i < c->n_sides && s->gan->spec.pool; i++) gd__step_output(s, pool_name[i], c->fake[i]);
    gd__step_pause(s, GD_GROUP_G);
    for (int i = 0; i < c->n_sides; i++)
        fake[i] = s->gan->spec.pool ? gd_input(s->graph, pooled_name[i], GD_F32, gd_node_shape(s->graph, c->fake[i]))
                                    : c->fake[i];
    judge_and_train_d(s, c, fake);
}

void gd__rounds_step(gd__step *s, gd_step_kind kind) {
    gd__scene c = {0};
    s->gan->topology->scene(s, kind == GD_STEP_G ? GD_PURPOSE_LATENT_G : GD_PURPOSE_LATENT_D, &c);
    switch (kind) {
    case GD_STEP_D: judge_and_train_d(s, &c, c.fake); break;
    case GD_STEP_G: judge_and_train_g(s, &c); break;
    case GD_STEP_DG_SHARED:
        judge_and_train_d(s, &c, c.fake);
        gd__step_pause(s, GD_GROUP_D);
        judge_and_train_g(s, &c);
        break;
    case GD_STEP_GD_SHARED: train_g_then_d(s, &c); break;
    case GD_STEP_BOTH: train_both(s, &c); break;
    default: break;
    }
}
