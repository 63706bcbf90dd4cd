/* Paired images (a, b): G turns a into b. Isola et al. 2017, and the public PyTorch code (pix2pix).
 *
 * D judges a and b together, as channels, a first: what it learns is whether b belongs to a. G's loss
 * adds l1 times the mean absolute difference to the true b. G's only noise is its dropout. D looks at
 * generated images first, as the public code does. */
#include "models/layers.h"
#include "models/step.h"

enum { NET_G, NET_D };

static gd_status check(const gd_gan_spec *s) {
    const gd_terms_spec *t = &s->terms;
    const gd_net_spec *g = &s->generator;
    GD_TRY(gd__gan_check_translation(s, "paired"));
    GD_TRY(gd__gan_check_images(g, &s->discriminator, g->in_channels + g->channels));
    if (t->feature > 0)
        GD_FAIL(CONFIG, "loss.terms.feature: topology paired has none; remove the key or use noise or two-way");
    if (s->loss.g_off && t->l1 == 0)
        GD_FAIL(CONFIG, "loss.g_scale: 0 leaves the generator without a loss; use more, or loss.terms.l1");
    return GD_OK;
}

static gd_status nets(gd_gan *m) {
    const gd_net_spec *g = &m->spec.generator;
    m->part[0] = (gd__part){g->height, g->width_px, g->in_channels};
    m->part[1] = (gd__part){g->height, g->width_px, g->channels};
    GD_TRY(gd__gan_add_net(m, "G", GD_GROUP_G, g));
    GD_TRY(gd__gan_add_net(m, "D", GD_GROUP_D, &m->spec.discriminator));
    m->spec.generator = m->owned[NET_G]->spec; /* strings that live as long as m */
    m->spec.discriminator = m->owned[NET_D]->spec;
    return GD_OK;
}

static void scene(gd__step *s, gd_purpose purpose, gd__scene *out) {
    (void)purpose;
    *out = (gd__scene){.n_sides = 1, .net = {NET_D}, .a = gd__step_data(s, 0), .b = gd__step_data(s, 1)};
    out->fake_b = gd__step_apply(s, NET_G, out->a);
    out->real[0] = gd_concat(s->graph, out->a, out->b, 3);
    out->fake[0] = gd_concat(s->graph, out->a, out->fake_b, 3);
}

static gd_node terms(gd__step *s, const gd__scene *c) {
    gd_node l1 = gd__step_distance(s, c->fake_b, c->b, false);
    gd__step_metric(s, "l1", l1);
    double weight = s->gan->spec.terms.l1;
    return weight > 0 ? gd_scale(s->graph, l1, weight) : GD_NONE;
}

static int translator(int direction) { return direction == 0 ? NET_G : -1; }

const gd__topology gd__topology_paired = {
    .name = "paired",
    .kinds = GD__ROUNDS_KINDS,
    .check = check,
    .nets = nets,
    .step = gd__rounds_step,
    .scene = scene,
    .terms = terms,
    .fake_first = true,
    .translator = translator,
};
