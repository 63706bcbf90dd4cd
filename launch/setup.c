#include "launch/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *value, const char *word) { return value && !strcmp(value, word); }

/* ---- data ---- */

gd_status gd_setup_dataset(const gd_recipe *r, gd_dataset_spec *out) {
    *out = (gd_dataset_spec){.source = r->data.source,
                             .path = r->data.path,
                             .size = (int)r->data.image.size,
                             .load = (int)r->data.image.load,
                             .swap = is(r->data.direction, "BtoA"),
                             .labels = is(r->topology, "classifier"),
                             .channels = (int)r->data.image.channels,
                             .flip = r->data.flip,
                             .seed = r->seed,
                             .count = r->data.count};
    return GD_OK;
}

gd_setup_data gd_setup_data_of(const gd_dataset *d) {
    gd_setup_data s = {.parts = gd_dataset_parts(d), .classes = gd_dataset_classes(d)};
    for (int i = 0; i < s.parts; i++) s.part[i] = gd_dataset_shape(d, i);
    return s;
}

/* Whether the set has what the topology asks for. */
static gd_status check_domains(const gd_recipe *r, const gd_setup_data *d) {
    const char *where = gd_recipe_origin(r, "topology");
    bool translates = is(r->topology, "paired") || is(r->topology, "two-way");
    if (is(r->topology, "classifier") && d->classes < 2)
        GD_FAIL(CONFIG, "%s: topology 'classifier' learns labels; the source '%s' has none here; use one with labels",
                where, r->data.source);
    if (is(r->topology, "noise") && d->parts != 1)
        GD_FAIL(CONFIG, "%s: topology 'noise' makes images of one domain; the source '%s' has %d; use another source",
                where, r->data.source, d->parts);
    if (!translates) return GD_OK;
    if (d->parts != 2)
        GD_FAIL(CONFIG, "%s: topology '%s' works on two domains; the source '%s' has %d; use pairs or unpaired", where,
                r->topology, r->data.source, d->parts);
    if (d->part[0].height != d->part[1].height || d->part[0].width != d->part[1].width)
        GD_FAIL(CONFIG, "%s: the domains have images of %dx%d and %dx%d; expected one size; set 'data.image.size'",
                where, d->part[0].height, d->part[0].width, d->part[1].height, d->part[1].width);
    return GD_OK;
}

/* ---- networks ---- */

/* origin: where the list stands, "file:line:column"; its file is that of every layer. */
static gd_status setup_layers(const gd_recipe_net *n, const char *origin, gd_layer_spec **out) {
    enum { ROOM = 96 };
    int file = (int)strcspn(origin, ":");
    *out = NULL;
    if (!n->layer_count) return GD_OK;
    gd_layer_spec *l = calloc((size_t)n->layer_count, sizeof *l + ROOM);
    if (!l) GD_FAIL(NOMEM, "%d layers", n->layer_count);
    char *where = (char *)(l + n->layer_count);
    for (int i = 0; i < n->layer_count; i++, where += ROOM) {
        const gd_recipe_layer *f = &n->layers[i];
        snprintf(where, ROOM, "%.*s:%d:%d", file, origin, f->line, f->column);
        l[i] = (gd_layer_spec){.kind = f->kind,
                               .size = f->size,
                               .kernel = f->kernel,
                               .stride = f->stride,
                               .pad = f->pad,
                               .pieces = f->pieces,
                               .norm = f->norm,
                               .act = f->act,
                               .slope = f->slope,
                               .rate = f->rate,
                               .bias = f->bias,
                               .where = where,
                               .shape = {f->shape[0], f->shape[1], f->shape[2]}};
    }
    *out = l;
    return GD_OK;
}

/* image: what the network makes or judges. */
static gd_net_spec setup_net(const gd_recipe_net *n, const gd_layer_spec *layers, gd_sample_shape image) {
    return (gd_net_spec){.arch = n->arch,
                         .height = image.height,
                         .width_px = image.width,
                         .channels = image.channels,
                         .width = n->width,
                         .depth = n->depth,
                         .spectral = n->spectral,
                         .norm = n->norm,
                         .act = n->act,
                         .output = n->output,
                         .dropout_input = n->dropout_input,
                         .dropout = n->dropout,
                         .init = n->init,
                         .init_gain = n->init_gain,
                         .layers = layers,
                         .layer_count = n->layer_count};
}

static gd_status setup_nets(const gd_recipe *r, const gd_setup_data *d, gd_setup *s) {
    gd_gan_spec *g = &s->config.gan;
    gd_sample_shape image = d->part[g->topology == GD_TOPOLOGY_PAIRED || g->topology == GD_TOPOLOGY_TWO_WAY];
    GD_TRY(setup_layers(&r->generator, gd_recipe_origin(r, "generator.layers"), &s->layers[GD_GROUP_G]));
    GD_TRY(setup_layers(&r->discriminator, gd_recipe_origin(r, "discriminator.layers"), &s->layers[GD_GROUP_D]));
    g->discriminator = setup_net(&r->discriminator, s->layers[GD_GROUP_D], image);
    if (g->topology == GD_TOPOLOGY_CLASSIFIER) {
        g->discriminator.classes = d->classes;
        return GD_OK;
    }
    g->generator = setup_net(&r->generator, s->layers[GD_GROUP_G], image);
    g->generator.generator = true;
    if (g->topology == GD_TOPOLOGY_NOISE) g->generator.latent = r->generator.latent;
    else g->generator.in_channels = d->part[0].channels;
    if (g->topology == GD_TOPOLOGY_PAIRED) g->discriminator.channels += d->part[0].channels; /* it judges a and b */
    return GD_OK;
}

/* ---- loss ---- */

static int64_t at_least_one(int64_t n) { return n > 0 ? n : 1; }

static void setup_penalty(const gd_recipe *r, gd_penalty_spec *p) {
    const char *kind = r->loss.penalty.kind;
    if (is(kind, "none")) return;
    p->kind = is(kind, "r1") ? GD_PENALTY_R1 : is(kind, "dragan") ? GD_PENALTY_DRAGAN : GD_PENALTY_GRADIENT;
    p->at = is(r->loss.penalty.at, "real")   ? GD_PENALTY_AT_REAL
            : is(r->loss.penalty.at, "fake") ? GD_PENALTY_AT_FAKE
                                             : GD_PENALTY_BETWEEN;
    p->lambda = r->loss.penalty.lambda;
    p->target = r->loss.penalty.target;
    p->one_sided = r->loss.penalty.one_sided;
    p->every = r->loss.penalty.every;
    p->pick = at_least_one((int64_t)(1 / r->loss.penalty.fraction + 0.5)); /* recipes/ made sure that it fits */
}

static gd_terms_spec setup_terms(const gd_recipe *r) {
    return (gd_terms_spec){.l1 = r->loss.terms.l1,
                           .cycle_a = r->loss.terms.cycle_a,
                           .cycle_b = r->loss.terms.cycle_b,
                           .cycle_square = is(r->loss.terms.cycle_kind, "l2"),
                           .identity = r->loss.terms.identity,
                           .feature = r->loss.terms.feature,
                           .rate = r->loss.terms.rate.on};
}

static gd_status setup_loss(const gd_recipe *r, gd_gan_spec *g) {
    if (!gd_loss_find(r->loss.kind, &g->loss.kind))
        GD_FAIL(CONFIG, "%s: no loss '%s'", gd_recipe_origin(r, "loss.kind"), r->loss.kind);
    g->loss.d_scale = r->loss.d_scale;
    g->loss.g_scale = r->loss.g_scale;
    g->loss.g_off = r->loss.g_scale == 0;
    g->loss.label_real = r->loss.label_real;
    if (g->loss.kind == GD_LOSS_BLEND) g->loss.minimax = r->loss.minimax;
    g->terms = setup_terms(r);
    g->instance_noise = r->loss.noise.start > 0 || r->loss.noise.end > 0;
    setup_penalty(r, &g->penalty);
    return GD_OK;
}

/* How images meet the network follows from what the generator ends with. */
static gd_range image_range(const char *output, gd_sample_shape image) {
    if (image.type == GD_SAMPLE_F32) return GD_RANGE_RAW;
    return is(output, "sigmoid") ? GD_RANGE_UNIT : GD_RANGE_SIGNED;
}

static gd_topology topology_of(const char *name) {
    return is(name, "paired")       ? GD_TOPOLOGY_PAIRED
           : is(name, "two-way")    ? GD_TOPOLOGY_TWO_WAY
           : is(name, "classifier") ? GD_TOPOLOGY_CLASSIFIER
                                    : GD_TOPOLOGY_NOISE;
}

static gd_latent latent_of(const char *name) {
    return is(name, "uniform")        ? GD_LATENT_UNIFORM
           : is(name, "unit-uniform") ? GD_LATENT_UNIT_UNIFORM
           : is(name, "sphere")       ? GD_LATENT_SPHERE
                                      : GD_LATENT_NORMAL;
}

static gd_status setup_gan(const gd_recipe *r, const gd_setup_data *d, gd_setup *s) {
    gd_gan_spec *g = &s->config.gan;
    GD_TRY(check_domains(r, d));
    g->topology = topology_of(r->topology);
    GD_TRY(setup_nets(r, d, s));
    if (g->topology != GD_TOPOLOGY_CLASSIFIER) GD_TRY(setup_loss(r, g));
    g->latent = latent_of(r->generator.latent_kind);
    g->pool = r->pool.size > 0;
    g->range = image_range(r->generator.output, d->part[0]);
    g->global_batch = r->batch.global;
    g->sync = is(r->numerics.batch_stats, "global");
    return GD_OK;
}

/* ---- training ---- */

/* steps: of the run. Its end and its middle are what the decay's defaults stand for. */
static gd_optimizer_spec setup_optimizer(const gd_recipe_optimizer *o, int64_t steps) {
    gd_optimizer_spec s = {.lr = o->lr,
                           .beta1 = o->beta1,
                           .beta2 = o->beta2,
                           .eps = o->eps,
                           .alpha = o->alpha,
                           .momentum = o->momentum,
                           .weight_decay = o->weight_decay,
                           .clip_norm = o->clip_norm,
                           .decay_rate = o->decay_rate,
                           .lr_floor = o->lr_floor,
                           .decay_start = o->decay_start,
                           .decay_end = o->decay_end ? o->decay_end : steps,
                           .momentum_final = o->momentum_final,
                           .momentum_steps = o->momentum_steps};
    if (s.decay_start < 0) s.decay_start = s.decay_end / 2;
    s.kind = is(o->kind, "rmsprop") ? GD_RMSPROP : is(o->kind, "sgd") ? GD_SGD : GD_ADAM;
    s.decay = is(o->decay, "linear")        ? GD_DECAY_LINEAR
              : is(o->decay, "exponential") ? GD_DECAY_EXPONENTIAL
                                            : GD_DECAY_NONE;
    return s;
}

static gd_schedule_spec setup_schedule(const gd_recipe *r) {
    gd_schedule_spec s = {.d_steps = r->schedule.d_steps,
                          .g_steps = r->schedule.g_steps,
                          .simultaneous = r->schedule.simultaneous,
                          .share_fake = r->schedule.share_fake,
                          .warmup_steps = r->schedule.warmup.steps,
                          .warmup_d_steps = r->schedule.warmup.d_steps,
                          .warmup_every = r->schedule.warmup.every,
                          .g_first = is(r->schedule.first, "generator"),
                          .alternate = r->schedule.alternate,
                          .noise = {r->loss.noise.start, r->loss.noise.end, r->loss.noise.steps}};
    if (r->loss.terms.rate.on) {
        s.rate.start = r->loss.terms.rate.start;
        s.rate.end = r->loss.terms.rate.end;
        s.rate.steps = r->loss.terms.rate.steps;
    }
    const char *adaptive = r->schedule.adaptive.kind;
    if (!is(adaptive, "none"))
        s.adaptive =
            (gd_adaptive_spec){.kind = is(adaptive, "accuracy") ? GD_ADAPTIVE_ACCURACY : GD_ADAPTIVE_GRAD_RATIO,
                               .low = r->schedule.adaptive.low,
                               .high = r->schedule.adaptive.high,
                               .min = r->schedule.adaptive.min,
                               .max = r->schedule.adaptive.max,
                               .every = r->schedule.adaptive.every};
    return s;
}

static gd_watch_action action_of(const char *name) {
    return is(name, "warn")       ? GD_WATCH_WARN
           : is(name, "stop")     ? GD_WATCH_STOP
           : is(name, "rollback") ? GD_WATCH_ROLLBACK
                                  : GD_WATCH_OFF;
}

static gd_watch_spec setup_watch(const gd_recipe *r) {
    gd_watch_spec w = {0};
    if (is(r->topology, "classifier")) return w;
    w.action[GD_WATCH_COLLAPSE] = action_of(r->watch.collapse);
    w.action[GD_WATCH_VANISHED] = action_of(r->watch.vanished);
    w.action[GD_WATCH_EXPLODING] = action_of(r->watch.exploding);
    w.action[GD_WATCH_SATURATED] = action_of(r->watch.saturated);
    if (w.action[GD_WATCH_COLLAPSE] != GD_WATCH_OFF) w.every = r->watch.every;
    return w;
}

gd_status gd_setup_train(const gd_recipe *r, const gd_setup_data *d, gd_setup *out) {
    memset(out, 0, sizeof *out);
    gd_train_config *c = &out->config;
    gd_status st;
    GD_TRY_TO(fail, setup_gan(r, d, out));
    c->seed = r->seed;
    c->optimizer[GD_GROUP_G] = setup_optimizer(&r->optimizer.g, r->train.steps);
    c->optimizer[GD_GROUP_D] = setup_optimizer(&r->optimizer.d, r->train.steps);
    c->shard_optimizer = r->optimizer.shard;
    c->overlap = r->comm.overlap;
    c->bucket_bytes = (size_t)r->comm.bucket * 1024;
    c->schedule = setup_schedule(r);
    c->weight_clip = r->loss.clip;
    c->pool_size = r->pool.size;
    c->ema_decay = r->ema.decay;
    c->ema_start = r->ema.start;
    c->ema_warmup = r->ema.warmup;
    c->watch = setup_watch(r);
    c->on_nonfinite = is(r->numerics.on_nonfinite, "skip")       ? GD_NONFINITE_SKIP
                      : is(r->numerics.on_nonfinite, "rollback") ? GD_NONFINITE_ROLLBACK
                                                                 : GD_NONFINITE_STOP;
    c->total_steps = r->train.steps;
    c->shards = r->numerics.shards;
    c->precision = is(r->numerics.precision, "bf16") ? GD_PRECISION_BF16 : GD_PRECISION_F32;
    c->loader_workers = (int)r->data.workers;
    c->loader_depth = (int)r->data.depth;
    c->resident = is(r->data.resident, "always")  ? GD_RESIDENT_ALWAYS
                  : is(r->data.resident, "never") ? GD_RESIDENT_NEVER
                                                  : GD_RESIDENT_AUTO;
    c->check_every = r->numerics.check_every;
    c->checkpoint_every = r->checkpoint.every;
    c->checkpoint_keep = (int)r->checkpoint.keep;
    c->checkpoint_wait = r->checkpoint.wait;
    c->recipe_fingerprint = gd_recipe_fingerprint(r);
    c->log_every = r->log.every;
    c->sample_every = r->log.samples.every;
    return GD_OK;
fail:
    gd_setup_free(out);
    return st;
}

void gd_setup_free(gd_setup *s) {
    for (int i = 0; i < GD_GROUP_COUNT; i++) {
        free(s->layers[i]);
        s->layers[i] = NULL;
    }
}
