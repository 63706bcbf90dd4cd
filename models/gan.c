/* models/gan.c -- the networks of a GAN, and what must hold between them. */
#include "models/gan.h"

#include <stdlib.h>

#include "models/layers.h"
#include "models/step.h"

static const char *const kind_text[GD_STEP_KIND_COUNT] = {
    [GD_STEP_D] = "d_step",
    [GD_STEP_G] = "g_step",
    [GD_STEP_DG_SHARED] = "shared_step",
    [GD_STEP_GD_SHARED] = "g_first_step",
    [GD_STEP_BOTH] = "both_step",
};

const char *gd_step_kind_text(gd_step_kind k) {
    return (unsigned)k < GD_STEP_KIND_COUNT ? kind_text[k] : "unknown_step";
}

static const gd__topology *const topologies[GD_TOPOLOGY_COUNT] = {
    [GD_TOPOLOGY_NOISE] = &gd__topology_noise,
    [GD_TOPOLOGY_PAIRED] = &gd__topology_paired,
    [GD_TOPOLOGY_TWO_WAY] = &gd__topology_two_way,
    [GD_TOPOLOGY_CLASSIFIER] = &gd__topology_classifier,
};

/* ---- networks ---- */

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

/* ---- what must hold ---- */

gd_status gd__gan_check_images(const gd_net_spec *g, const gd_net_spec *d, int64_t channels) {
    if (d->classes)
        GD_FAIL(CONFIG, "topology: only classifier learns labels, but the discriminator has %lld classes",
                (long long)d->classes);
    if (g->height == d->height && g->width_px == d->width_px && d->channels == channels) return GD_OK;
    GD_FAIL(CONFIG,
            "generator: makes images of %lldx%lldx%lld, but the discriminator reads %lldx%lldx%lld; both "
            "must be the data's",
            (long long)g->height, (long long)g->width_px, (long long)channels, (long long)d->height,
            (long long)d->width_px, (long long)d->channels);
}

gd_status gd__gan_check_translation(const gd_gan_spec *s, const char *topology) {
    if (s->generator.in_channels > 0 && s->generator.channels > 0) return GD_OK;
    GD_FAIL(CONFIG,
            "topology: %s turns images into images, but the generator reads %lld channels; expected a data source "
            "with two parts",
            topology, (long long)s->generator.in_channels);
}

static gd_status check_loss(const gd_loss_spec *l) {
    if ((unsigned)l->kind > GD_LOSS_BLEND) GD_FAIL(INTERNAL, "gd_gan_new: no loss %d", (int)l->kind);
    if (!(l->d_scale >= 0) || !(l->g_scale >= 0))
        GD_FAIL(CONFIG, "loss: d_scale %g and g_scale %g; expected 0 (stands for 1) or more", l->d_scale, l->g_scale);
    if (!(l->label_real >= 0 && l->label_real <= 1))
        GD_FAIL(CONFIG, "loss.label_real: %g; expected more than 0 and at most 1", l->label_real);
    if (!(l->minimax >= 0 && l->minimax <= 1)) GD_FAIL(CONFIG, "loss.minimax: %g; expected 0 to 1", l->minimax);
    if (l->minimax > 0 && l->kind != GD_LOSS_BLEND)
        GD_FAIL(CONFIG, "loss.minimax: a share of minimax belongs to loss.kind blend; remove the key or use blend");
    if (l->label_real > 0 && l->label_real < 1 && !gd_loss_has_probability(l->kind))
        GD_FAIL(CONFIG, "loss.label_real: only the cross-entropy losses have labels; remove the key or use "
                        "loss.kind non-saturating or minimax");
    return GD_OK;
}

static gd_status check_terms(const gd_gan_spec *s) {
    const gd_terms_spec *t = &s->terms;
    const struct {
        const char *key;
        double value;
        bool two_way;
    } terms[] = {{"l1", t->l1, false},          {"feature", t->feature, false},  {"cycle_a", t->cycle_a, true},
                 {"cycle_b", t->cycle_b, true}, {"identity", t->identity, true}, {"cycle_kind", t->cycle_square, true},
                 {"rate", t->rate, true}};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        if (!(terms[i].value >= 0))
            GD_FAIL(CONFIG, "loss.terms.%s: %g; expected 0 (off) or more", terms[i].key, terms[i].value);
        if (terms[i].value > 0 && terms[i].two_way && s->topology != GD_TOPOLOGY_TWO_WAY)
            GD_FAIL(CONFIG, "loss.terms.%s: only topology two-way has it; remove the key or use two-way", terms[i].key);
    }
    return GD_OK;
}

static gd_status check_spec(const gd_gan_spec *s) {
    if ((unsigned)s->topology >= GD_TOPOLOGY_COUNT) GD_FAIL(INTERNAL, "gd_gan_new: no topology %d", (int)s->topology);
    if (s->global_batch < 1) GD_FAIL(CONFIG, "batch.global: %lld; expected at least 1", (long long)s->global_batch);
    GD_TRY(check_loss(&s->loss));
    GD_TRY(check_terms(s));
    if (s->pool && s->topology != GD_TOPOLOGY_TWO_WAY)
        GD_FAIL(CONFIG, "pool.size: only topology two-way has image pools; remove the key or use two-way");
    return topologies[s->topology]->check(s);
}

/* What depends on the discriminators as they were built. */
static gd_status check_nets(const gd_gan *m) {
    for (int i = 0; i < m->n_nets; i++) {
        if (m->nets[i].group != GD_GROUP_D) continue;
        GD_TRY(gd__penalty_check(&m->spec.penalty, m->nets[i].net));
        if (m->spec.terms.feature > 0 && m->nets[i].net->n_taps == 0)
            GD_FAIL(CONFIG,
                    "loss.terms.feature: feature matching reads the discriminator's inner features, and architecture "
                    "'%s' names none; use discriminator.arch disco, or 0",
                    m->spec.discriminator.arch);
    }
    return GD_OK;
}

gd_status gd_gan_new(const gd_gan_spec *s, gd_gan **out) {
    GD_TRY(check_spec(s));
    gd_gan *m = calloc(1, sizeof *m);
    if (!m) GD_FAIL(NOMEM, "gan: no memory");
    m->spec = *s;
    m->topology = topologies[s->topology];
    m->spec.generator.generator = true;
    m->spec.discriminator.generator = false;
    gd_status st;
    GD_TRY_TO(fail, m->topology->nets(m));
    GD_TRY_TO(fail, check_nets(m));
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

/* ---- which steps ---- */

/* An image pool gives for the images of this step what D learns from: only one order has a moment for it. */
bool gd_gan_has_step(const gd_gan *m, gd_step_kind kind) {
    if ((unsigned)kind >= GD_STEP_KIND_COUNT || !(m->topology->kinds >> kind & 1)) return false;
    return !m->spec.pool || kind == GD_STEP_GD_SHARED || kind == GD_STEP_G;
}

bool gd_gan_step_reads(const gd_gan *m, gd_step_kind kind) {
    if (!gd_gan_has_step(m, kind)) return false;
    return kind != GD_STEP_G || m->spec.topology != GD_TOPOLOGY_NOISE || m->spec.terms.feature > 0;
}

int gd_gan_pools(const gd_gan *m, gd_shape *image) {
    *image = gd_shape4(1, m->part[0].h, m->part[0].w, m->part[0].c);
    return m->spec.pool ? 2 : 0;
}
