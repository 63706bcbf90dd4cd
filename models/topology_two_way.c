/* Two domains without pairs: G_AB and G_BA, D_A judges images of domain A, D_B of B. Zhu et al. 2017
 * (CycleGAN) and Kim et al. 2017 (DiscoGAN), with the orders of their public code.
 *
 * G's loss adds, with their weights, the distances of G_BA(G_AB(a)) to a and of G_AB(G_BA(b)) to b; those
 * of G_AB(b) to b and G_BA(a) to a (identity; times the other weights, as in CycleGAN's code); and
 * feature matching on both sides. With terms.rate the cycle terms are multiplied by a controlled
 * rate, and adversarial and feature terms by 1 - rate (DiscoGAN's curriculum).
 *
 * CycleGAN's least squares are mean squares: with the 1/2 of loss.h, d_scale 1 and g_scale 2. Sides: 0
 * is domain A (D_A, and pool 0), 1 is domain B. */
#include "models/layers.h"
#include "models/step.h"

enum { NET_AB, NET_BA, NET_DA, NET_DB };

static gd_status check_identity(const gd_gan_spec *s) {
    const gd_terms_spec *t = &s->terms;
    if (t->identity > 0 && s->generator.in_channels != s->generator.channels)
        GD_FAIL(CONFIG,
                "loss.terms.identity: the domains have %lld and %lld channels, and an image of one is none of the "
                "other; expected 0 or equal channels",
                (long long)s->generator.in_channels, (long long)s->generator.channels);
    if (t->identity > 0 && t->cycle_a == 0 && t->cycle_b == 0)
        GD_FAIL(CONFIG, "loss.terms.identity: it is a factor on cycle_a and cycle_b, which are 0; give one of them");
    return GD_OK;
}

static gd_status check(const gd_gan_spec *s) {
    const gd_terms_spec *t = &s->terms;
    const gd_net_spec *g = &s->generator;
    GD_TRY(gd__gan_check_translation(s, "two-way"));
    GD_TRY(gd__gan_check_images(g, &s->discriminator, g->channels));
    GD_TRY(check_identity(s));
    bool cycle = t->cycle_a > 0 || t->cycle_b > 0;
    if (t->l1 > 0)
        GD_FAIL(CONFIG, "loss.terms.l1: topology two-way has no pairs; remove the key or use topology paired");
    if (t->rate && !cycle)
        GD_FAIL(CONFIG, "loss.terms.rate: it weighs cycle terms against the others, but cycle_a and cycle_b are 0");
    if (s->loss.g_off && !cycle && t->feature == 0)
        GD_FAIL(CONFIG, "loss.g_scale: 0 leaves the generators without a loss; use more, or a cycle or feature term");
    if (s->pool && g->in_channels != g->channels)
        GD_FAIL(CONFIG,
                "pool.size: both pools hold images of one shape, but the domains have %lld and %lld channels; use 0",
                (long long)g->in_channels, (long long)g->channels);
    return GD_OK;
}

static gd_status nets(gd_gan *m) {
    const gd_net_spec *g = &m->spec.generator;
    gd_net_spec back = *g, d_a = m->spec.discriminator;
    m->part[0] = (gd__part){g->height, g->width_px, g->in_channels};
    m->part[1] = (gd__part){g->height, g->width_px, g->channels};
    back.in_channels = g->channels;
    back.channels = d_a.channels = g->in_channels;
    GD_TRY(gd__gan_add_net(m, "G_AB", GD_GROUP_G, g));
    GD_TRY(gd__gan_add_net(m, "G_BA", GD_GROUP_G, &back));
    GD_TRY(gd__gan_add_net(m, "D_A", GD_GROUP_D, &d_a));
    GD_TRY(gd__gan_add_net(m, "D_B", GD_GROUP_D, &m->spec.discriminator));
    m->spec.generator = m->owned[NET_AB]->spec; /* strings that live as long as m */
    m->spec.discriminator = m->owned[NET_DB]->spec;
    return GD_OK;
}

static void scene(gd__step *s, gd_purpose purpose, gd__scene *out) {
    (void)purpose;
    *out = (gd__scene){.n_sides = 2, .net = {NET_DA, NET_DB}, .a = gd__step_data(s, 0), .b = gd__step_data(s, 1)};
    out->fake_b = gd__step_apply(s, NET_AB, out->a);
    out->fake_a = gd__step_apply(s, NET_BA, out->b);
    out->real[0] = out->a;
    out->real[1] = out->b;
    out->fake[0] = out->fake_a;
    out->fake[1] = out->fake_b;
}

/* weight times the distance; the distance itself is a metric. */
static gd_node weighted(gd__step *s, double weight, gd_node distance) {
    return weight > 0 ? gd_scale(s->graph, distance, weight) : GD_NONE;
}

static gd_node cycles(gd__step *s, const gd__scene *c) {
    const gd_terms_spec *t = &s->gan->spec.terms;
    gd_node sum = GD_NONE;
    if (t->cycle_a > 0) {
        gd_node d = gd__step_distance(s, gd__step_apply(s, NET_BA, c->fake_b), c->a, t->cycle_square);
        gd__step_metric(s, "cycle_a", d);
        sum = weighted(s, t->cycle_a, d);
    }
    if (t->cycle_b > 0) {
        gd_node d = gd__step_distance(s, gd__step_apply(s, NET_AB, c->fake_a), c->b, t->cycle_square);
        gd__step_metric(s, "cycle_b", d);
        sum = gd__step_plus(s, sum, weighted(s, t->cycle_b, d));
    }
    return t->rate && sum != GD_NONE ? gd_mul(s->graph, sum, gd__step_control(s, "rate", 1)) : sum;
}

static gd_node identities(gd__step *s, const gd__scene *c) {
    const gd_terms_spec *t = &s->gan->spec.terms;
    if (!(t->identity > 0)) return GD_NONE;
    gd_node same_b = gd__step_distance(s, gd__step_apply(s, NET_AB, c->b), c->b, false);
    gd_node same_a = gd__step_distance(s, gd__step_apply(s, NET_BA, c->a), c->a, false);
    gd__step_metric(s, "identity", gd_add(s->graph, same_a, same_b));
    return gd__step_plus(s, weighted(s, t->identity * t->cycle_b, same_b),
                         weighted(s, t->identity * t->cycle_a, same_a));
}

static gd_node terms(gd__step *s, const gd__scene *c) {
    gd_node cycle = cycles(s, c);
    return gd__step_plus(s, cycle, identities(s, c));
}

static int translator(int direction) { return direction == 0 ? NET_AB : NET_BA; }

const gd__topology gd__topology_two_way = {
    .name = "two-way",
    .kinds = GD__ROUNDS_KINDS,
    .check = check,
    .nets = nets,
    .step = gd__rounds_step,
    .scene = scene,
    .terms = terms,
    .translator = translator,
};
