/* Noise to image: one generator, one discriminator. Goodfellow et al. 2014. */
#include "models/layers.h"
#include "models/step.h"

enum { NET_G, NET_D };

static gd_status check(const gd_gan_spec *s) {
    const gd_terms_spec *t = &s->terms;
    GD_TRY(gd__gan_check_images(&s->generator, &s->discriminator, s->generator.channels));
    if (s->generator.in_channels)
        GD_FAIL(CONFIG, "topology: noise makes images from latents, but the generator reads images; use paired or "
                        "two-way");
    if (t->l1 > 0) GD_FAIL(CONFIG, "loss.terms.l1: topology noise has no true image; remove the key or use paired");
    if (s->loss.g_off && t->feature == 0)
        GD_FAIL(CONFIG, "loss.g_scale: 0 leaves the generator without a loss; use more, or loss.terms.feature");
    return GD_OK;
}

static gd_status nets(gd_gan *m) {
    const gd_net_spec *d = &m->spec.discriminator;
    m->part[0] = (gd__part){d->height, d->width_px, d->channels};
    GD_TRY(gd__gan_add_net(m, "G", GD_GROUP_G, &m->spec.generator));
    GD_TRY(gd__gan_add_net(m, "D", GD_GROUP_D, d));
    m->spec.generator = m->owned[NET_G]->spec; /* strings that live as long as m */
    m->spec.discriminator = m->owned[NET_D]->spec;
    return GD_OK;
}

static void scene(gd__step *s, gd_purpose purpose, gd__scene *out) {
    gd_node fake = gd__step_apply(s, NET_G, gd__step_latent(s, purpose));
    *out = (gd__scene){.n_sides = 1, .net = {NET_D}, .real = {gd__step_data(s, 0)}, .fake = {fake}};
}

static void sample(gd__step *s, bool batch_stats) {
    gd_node z = gd_input(s->graph, "z", GD_F32, gd_shape2(s->n, s->gan->spec.generator.latent));
    gd_apply_opts o = {.eval = true, .batch_stats = batch_stats};
    gd__step_output(s, "image", gd_net_apply(s->use[NET_G], z, &o));
}

const gd__topology gd__topology_noise = {
    .name = "noise",
    .kinds = GD__ROUNDS_KINDS,
    .check = check,
    .nets = nets,
    .step = gd__rounds_step,
    .scene = scene,
    .sample = sample,
};
