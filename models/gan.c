/* models/gan.c -- the networks of a GAN, and what must hold between them. */
#include "models/gan.h"

#include <stdlib.h>

#include "models/layers.h"
#include "models/step.h"

static const char *const kind_text[GD_STEP_KIND_COUNT] = {
    [GD_STEP_D] = "d_step",
    [GD_STEP_G] = "g_step",
    [GD_STEP_DG_SHARED] = "shared_step",
    [GD_STEP_BOTH] = "both_step",
};

const char *gd_step_kind_text(gd_step_kind k) {
    return (unsigned)k < GD_STEP_KIND_COUNT ? kind_text[k] : "unknown_step";
}

static const gd__topology *const topologies[] = {
    [GD_TOPOLOGY_NOISE] = &gd__topology_noise,
};
enum { N_TOPOLOGIES = sizeof topologies / sizeof *topologies };

/* A generator that cannot reach half of the data's range (or goes beyond it by design) is a mistake. */
static gd_status check_range(const gd_net *g, gd_range range) {
    gd__act last = GD__ACT_NONE;
    if (g->output >= 0 && g->layers[g->output].kind == GD__LAYER_ACT) last = g->layers[g->output].act;
    if (range == GD_RANGE_SIGNED && last == GD__ACT_SIGMOID)
        GD_FAIL(CONFIG, "generator.output: sigmoid makes values in [0, 1], but the images are in [-1, 1]; use tanh");
    if (range == GD_RANGE_UNIT && last == GD__ACT_TANH)
        GD_FAIL(CONFIG, "generator.output: tanh makes values in [-1, 1], but the images are in [0, 1]; use sigmoid");
    return GD_OK;
}

gd_status gd__gan_add_net(gd_gan *m, const char *prefix, gd_group group, const gd_net_spec *s) {
    gd_net *net;
    if (m->n_nets == GD_NETS_MAX) GD_FAIL(INTERNAL, "%s: more than %d networks", prefix, GD_NETS_MAX);
    GD_TRY(gd_net_new(s, &net));
    m->owned[m->n_nets] = net;
    m->nets[m->n_nets++] = (gd_gan_net){.prefix = prefix, .group = group, .net = net};
    return s->generator ? check_range(net, m->spec.range) : GD_OK;
}

static gd_status check_images(const gd_net_spec *g, const gd_net_spec *d) {
    if (g->height == d->height && g->width_px == d->width_px && g->channels == d->channels) return GD_OK;
    GD_FAIL(CONFIG,
            "generator: makes images of %lldx%lldx%lld, but the discriminator reads %lldx%lldx%lld; both "
            "must be the data's",
            (long long)g->height, (long long)g->width_px, (long long)g->channels, (long long)d->height,
            (long long)d->width_px, (long long)d->channels);
}

static gd_status check_numbers(const gd_gan_spec *s) {
    const gd_loss_spec *l = &s->loss;
    if (s->global_batch < 1) GD_FAIL(CONFIG, "batch.global: %lld; expected at least 1", (long long)s->global_batch);
    if ((unsigned)l->kind > GD_LOSS_HINGE) GD_FAIL(INTERNAL, "gd_gan_new: no loss %d", (int)l->kind);
    if (!(l->d_scale >= 0) || !(l->g_scale >= 0))
        GD_FAIL(CONFIG, "loss: d_scale %g and g_scale %g; expected 0 (stands for 1) or more", l->d_scale, l->g_scale);
    if (!(l->label_real >= 0 && l->label_real <= 1))
        GD_FAIL(CONFIG, "loss.label_real: %g; expected more than 0 and at most 1", l->label_real);
    if (l->label_real > 0 && l->label_real < 1 && !gd_loss_has_probability(l->kind))
        GD_FAIL(CONFIG, "loss.label_real: only the cross-entropy losses have labels; remove the key or use "
                        "loss.kind non-saturating or minimax");
    return GD_OK;
}

/* The penalty is on the slope at single samples: batch norm would mix them. */
static gd_status check_penalty(const gd_gan *m) {
    const gd_penalty_spec *p = &m->spec.penalty;
    if (p->kind == GD_PENALTY_NONE) return GD_OK;
    if (!(p->lambda > 0) || !(p->target >= 0))
        GD_FAIL(CONFIG, "loss.penalty: lambda %g and target %g; expected more than 0, and 0 or more", p->lambda, p->target);
    for (int i = 0; i < m->n_nets; i++) {
        const gd_param_info *info;
        int n = gd_net_params(m->nets[i].net, &info);
        for (int k = 0; m->nets[i].group == GD_GROUP_D && k < n; k++)
            if (info[k].buffer)
                GD_FAIL(CONFIG,
                        "loss.penalty: a gradient penalty looks at single samples and batch norm mixes them; use "
                        "discriminator.norm none, layer or instance");
    }
    return GD_OK;
}

gd_status gd_gan_new(const gd_gan_spec *s, gd_gan **out) {
    if ((unsigned)s->topology >= N_TOPOLOGIES) GD_FAIL(INTERNAL, "gd_gan_new: no topology %d", (int)s->topology);
    GD_TRY(check_numbers(s));
    GD_TRY(check_images(&s->generator, &s->discriminator));
    gd_gan *m = calloc(1, sizeof *m);
    if (!m) GD_FAIL(NOMEM, "gan: no memory");
    m->spec = *s;
    m->topology = topologies[s->topology];
    m->spec.generator.generator = true;
    m->spec.discriminator.generator = false;
    gd_status st;
    GD_TRY_TO(fail, m->topology->nets(m));
    GD_TRY_TO(fail, check_penalty(m));
    *out = m;
    return GD_OK;
fail:
    gd_gan_free(m);
    return st;
}

void gd_gan_free(gd_gan *m) {
    if (!m) return;
    for (int i = 0; i < m->n_nets; i++) gd_net_free(m->owned[i]);
    free(m);
}

int gd_gan_nets(const gd_gan *m, const gd_gan_net **list) {
    *list = m->nets;
    return m->n_nets;
}

const gd_gan_spec *gd_gan_get_spec(const gd_gan *m) { return &m->spec; }
