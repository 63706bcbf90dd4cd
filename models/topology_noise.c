/* Noise to image: one generator, one discriminator. Goodfellow et al. 2014, algorithm 1, and the
 * orders of its public successors.
 *
 * Real and generated samples go through the discriminator one after the other, each with its own
 * batch statistics, as in the public DCGAN code; running statistics see real, then generated. Every
 * forward pass is in training mode and moves them, the discriminator's in the G step too. */
#include "models/layers.h"
#include "models/step.h"

enum { NET_G, NET_D };

static gd_status nets(gd_gan *m) {
    GD_TRY(gd__gan_add_net(m, "G", GD_GROUP_G, &m->spec.generator));
    GD_TRY(gd__gan_add_net(m, "D", GD_GROUP_D, &m->spec.discriminator));
    m->spec.generator = m->owned[NET_G]->spec; /* strings that live as long as m */
    m->spec.discriminator = m->owned[NET_D]->spec;
    return GD_OK;
}

static gd_node generate(gd__step *s, gd_purpose purpose) {
    return gd__step_apply(s, NET_G, gd__step_latent(s, purpose));
}

/* D's side: both forward passes, loss, gradients, metrics. fake: generated images, constants here.
 * Returns D's output for them. */
static gd_node train_d(gd__step *s, gd_node fake) {
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node real = gd__step_real(s, "real"), on_real = gd__step_apply(s, NET_D, real);
    gd_node on_fake = gd__step_apply(s, NET_D, fake);
    gd_node loss_real = gd_loss_d_real(s->graph, &spec->loss, on_real, spec->global_batch);
    gd_node loss_fake = gd_loss_d_fake(s->graph, &spec->loss, on_fake, spec->global_batch);
    gd_node loss = gd_add(s->graph, loss_real, loss_fake);
    if (spec->penalty.kind == GD_PENALTY_GRADIENT) loss = gd_add(s->graph, loss, gd__step_penalty(s, NET_D, real, fake));
    gd__step_grads(s, GD_GROUP_D, loss);
    gd__step_metric(s, "loss_d", loss);
    gd__step_metric(s, "loss_d_real", loss_real);
    gd__step_metric(s, "loss_d_fake", loss_fake);
    gd__step_metric_verdict(s, "d_real", on_real);
    gd__step_metric_verdict(s, "d_fake", on_fake);
    return on_fake;
}

/* G's side. on_fake: D's output for G's images, through which the gradient reaches G. */
static void train_g(gd__step *s, gd_node on_fake) {
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node loss = gd_loss_g(s->graph, &spec->loss, on_fake, spec->global_batch);
    gd__step_grads(s, GD_GROUP_G, loss);
    gd__step_metric(s, "loss_g", loss);
    gd__step_metric_verdict(s, "d_fake_g", on_fake);
}

static void step_d(gd__step *s) { train_d(s, gd_stop(s->graph, generate(s, GD_PURPOSE_LATENT_D))); }

static void step_g(gd__step *s) { train_g(s, gd__step_apply(s, NET_D, generate(s, GD_PURPOSE_LATENT_G))); }

/* The public DCGAN loop: one batch of generated images for both, G's loss through the updated D. */
static void step_shared(gd__step *s) {
    gd_node fake = generate(s, GD_PURPOSE_LATENT_D);
    train_d(s, gd_stop(s->graph, fake));
    gd__step_pause(s, GD_GROUP_D);
    train_g(s, gd__step_apply(s, NET_D, fake));
}

/* Simultaneous updates share D's pass over the generated images, too: here no stop may come between,
 * and none is needed, since a group's gradients are taken with respect to its parameters only. */
static void step_both(gd__step *s) { train_g(s, train_d(s, generate(s, GD_PURPOSE_LATENT_D))); }

static void sample(gd__step *s, bool batch_stats) {
    gd_node z = gd_input(s->graph, "z", GD_F32, gd_shape2(s->n, s->gan->spec.generator.latent));
    gd_apply_opts o = {.eval = true, .batch_stats = batch_stats};
    gd__step_output(s, "image", gd_net_apply(s->use[NET_G], z, &o));
}

const gd__topology gd__topology_noise = {
    .name = "noise",
    .nets = nets,
    .step = {[GD_STEP_D] = step_d, [GD_STEP_G] = step_g, [GD_STEP_DG_SHARED] = step_shared, [GD_STEP_BOTH] = step_both},
    .sample = sample,
};
