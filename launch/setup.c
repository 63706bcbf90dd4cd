#include "launch/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

gd_status gd_setup_dataset(const gd_recipe *r, gd_dataset_spec *out) {
    *out = (gd_dataset_spec){.source = r->data.source,
                             .path = r->data.path,
                             .size = (int)r->data.image.size,
                             .channels = (int)r->data.image.channels,
                             .flip = r->data.flip,
                             .seed = r->seed,
                             .count = r->data.count};
    return GD_OK;
}

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

static gd_net_spec setup_net(const gd_recipe_net *n, const gd_layer_spec *layers, gd_sample_shape image,
                             bool generator) {
    return (gd_net_spec){.arch = n->arch,
                         .generator = generator,
                         .latent = n->latent,
                         .height = image.height,
                         .width_px = image.width,
                         .channels = image.channels,
                         .width = n->width,
                         .depth = n->depth,
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
                           .decay_end = o->decay_end ? o->decay_end : steps, /* 0: with the run */
                           .momentum_final = o->momentum_final,
                           .momentum_steps = o->momentum_steps};
    s.kind = !strcmp(o->kind, "rmsprop") ? GD_RMSPROP : !strcmp(o->kind, "sgd") ? GD_SGD : GD_ADAM;
    s.decay = !strcmp(o->decay, "linear")        ? GD_DECAY_LINEAR
              : !strcmp(o->decay, "exponential") ? GD_DECAY_EXPONENTIAL
                                                 : GD_DECAY_NONE;
    return s;
}

/* How images meet the network follows from what the generator ends with. */
static gd_range image_range(const char *output, gd_sample_shape image) {
    if (image.type == GD_SAMPLE_F32) return GD_RANGE_RAW;
    return output && !strcmp(output, "sigmoid") ? GD_RANGE_UNIT : GD_RANGE_SIGNED;
}

static gd_status setup_gan(const gd_recipe *r, gd_sample_shape image, gd_setup *s) {
    gd_gan_spec *g = &s->config.gan;
    if (strcmp(r->topology, "noise"))
        GD_FAIL(CONFIG, "%s: topology '%s' is not there yet; this version trains 'noise'",
                gd_recipe_origin(r, "topology"), r->topology);
    g->topology = GD_TOPOLOGY_NOISE;
    GD_TRY(setup_layers(&r->generator, gd_recipe_origin(r, "generator.layers"), &s->layers[GD_GROUP_G]));
    GD_TRY(setup_layers(&r->discriminator, gd_recipe_origin(r, "discriminator.layers"), &s->layers[GD_GROUP_D]));
    g->generator = setup_net(&r->generator, s->layers[GD_GROUP_G], image, true);
    g->discriminator = setup_net(&r->discriminator, s->layers[GD_GROUP_D], image, false);
    g->latent_uniform = !strcmp(r->generator.latent_kind, "uniform");
    if (!gd_loss_find(r->loss.kind, &g->loss.kind))
        GD_FAIL(CONFIG, "%s: no loss '%s'", gd_recipe_origin(r, "loss.kind"), r->loss.kind);
    g->loss.d_scale = r->loss.d_scale;
    g->loss.label_real = r->loss.label_real;
    if (!strcmp(r->loss.penalty.kind, "gradient")) {
        if (r->loss.penalty.every != 1)
            GD_FAIL(CONFIG, "%s: %lld is not there yet; this version applies the penalty in every discriminator update",
                    gd_recipe_origin(r, "loss.penalty.every"), (long long)r->loss.penalty.every);
        g->penalty = (gd_penalty_spec){GD_PENALTY_GRADIENT, r->loss.penalty.lambda, r->loss.penalty.target};
    }
    g->range = image_range(r->generator.output, image);
    g->global_batch = r->batch.global;
    g->sync = !strcmp(r->numerics.batch_stats, "global");
    return GD_OK;
}

gd_status gd_setup_train(const gd_recipe *r, gd_sample_shape image, gd_setup *out) {
    memset(out, 0, sizeof *out);
    gd_train_config *c = &out->config;
    gd_status st;
    GD_TRY_TO(fail, setup_gan(r, image, out));
    c->seed = r->seed;
    c->optimizer[GD_GROUP_G] = setup_optimizer(&r->optimizer.g, r->train.steps);
    c->optimizer[GD_GROUP_D] = setup_optimizer(&r->optimizer.d, r->train.steps);
    c->schedule = (gd_schedule_spec){.d_steps = r->schedule.d_steps,
                                     .g_steps = r->schedule.g_steps,
                                     .simultaneous = r->schedule.simultaneous,
                                     .share_fake = r->schedule.share_fake,
                                     .warmup_steps = r->schedule.warmup.steps,
                                     .warmup_d_steps = r->schedule.warmup.d_steps,
                                     .warmup_every = r->schedule.warmup.every};
    c->weight_clip = r->loss.clip;
    c->ema_decay = r->ema.decay;
    c->ema_start = r->ema.start;
    c->total_steps = r->train.steps;
    c->shards = r->numerics.shards;
    c->precision = !strcmp(r->numerics.precision, "bf16") ? GD_PRECISION_BF16 : GD_PRECISION_F32;
    c->loader_workers = (int)r->data.workers;
    c->loader_depth = (int)r->data.depth;
    c->check_every = r->numerics.check_every;
    c->checkpoint_every = r->checkpoint.every;
    c->checkpoint_keep = (int)r->checkpoint.keep;
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
