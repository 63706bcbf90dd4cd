/* Every kind of GAN, so small that a step takes milliseconds, and what must hold for all of them. */
#ifndef GANDIST_TESTS_VARIANTS_H
#define GANDIST_TESTS_VARIANTS_H

#include "tests/dist/tiny_gan.h"

enum { VARIANT_BATCH = 8, VARIANTS = 9 };

static gd_dataset *noise_data, *pair_data, *label_data;

static inline gd_dataset *open_data(const char *source, int side, bool labels) {
    gd_dataset *d = NULL;
    gd_dataset_spec s = {.source = source, .size = side, .channels = side ? 1 : 0, .seed = 3, .count = 60, .labels = labels};
    EXPECT_OK(gd_dataset_open(&s, &d));
    return d;
}

static inline void open_variant_data(void) {
    noise_data = open_data("synthetic", 16, false);
    pair_data = open_data("synthetic-pairs", 16, false);
    label_data = open_data("ring", 0, true);
}

static inline void close_variant_data(void) {
    gd_dataset_close(noise_data);
    gd_dataset_close(pair_data);
    gd_dataset_close(label_data);
}

/* ---- networks ---- */

/* Batch norm and dropout, as in the U-Net of pix2pix. */
static const gd_layer_spec translator_layers[] = {
    {.kind = "conv", .size = 4, .pad = -1, .norm = "batch", .act = "leaky", .bias = -1},
    {.kind = "dropout", .rate = 0.5},
    {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = -1},
};

static inline gd_net_spec image_net(const char *arch, bool generator) {
    return (gd_net_spec){.arch = arch, .generator = generator, .height = 16, .width_px = 16, .channels = 1, .width = 4};
}

static inline gd_train_config base_config(void) {
    gd_optimizer_spec adam = {.kind = GD_ADAM, .lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8};
    gd_train_config c = tiny_config();
    c.optimizer[0] = c.optimizer[1] = adam;
    c.gan.global_batch = VARIANT_BATCH;
    return c;
}

static inline gd_train_config translating(gd_topology topology, const char *generator, const char *discriminator) {
    gd_train_config c = base_config();
    c.gan.topology = topology;
    c.gan.generator = image_net(generator, true);
    c.gan.generator.in_channels = 1;
    c.gan.generator.depth = 1;
    c.gan.discriminator = image_net(discriminator, false);
    c.gan.discriminator.depth = 1;
    return c;
}

/* ---- variants ---- */

static inline gd_train_config pix2pix(void) {
    gd_train_config c = translating(GD_TOPOLOGY_PAIRED, "layers", "patchgan");
    c.gan.generator.depth = 0;
    c.gan.generator.width = 0;
    c.gan.generator.layers = translator_layers;
    c.gan.generator.layer_count = sizeof translator_layers / sizeof *translator_layers;
    c.gan.discriminator.channels = 2; /* a and b */
    c.gan.terms.l1 = 100;
    c.gan.loss.d_scale = 0.5;
    c.schedule.share_fake = true;
    return c;
}

/* The pool is full after the second step; 11 is no multiple of anything. */
static inline gd_train_config cyclegan(void) {
    gd_train_config c = translating(GD_TOPOLOGY_TWO_WAY, "resnet", "patchgan");
    c.gan.loss = (gd_loss_spec){.kind = GD_LOSS_LEAST_SQUARES, .g_scale = 2};
    c.gan.terms = (gd_terms_spec){.cycle_a = 10, .cycle_b = 10, .identity = 0.5};
    c.gan.pool = true;
    c.pool_size = 11;
    c.schedule.share_fake = c.schedule.g_first = true;
    c.optimizer[0].lr = c.optimizer[1].lr = 2e-5; /* Adam makes much of a ReLU that a rounded sum turned over */
    c.optimizer[0].decay = c.optimizer[1].decay = GD_DECAY_LINEAR;
    c.optimizer[0].decay_end = c.optimizer[1].decay_end = 40;
    return c;
}

/* Each update on a batch of its own; the rate changes on the way. */
static inline gd_train_config discogan(void) {
    gd_train_config c = translating(GD_TOPOLOGY_TWO_WAY, "disco", "disco");
    c.gan.generator.depth = c.gan.discriminator.depth = 0;
    c.gan.loss = (gd_loss_spec){.d_scale = 0.5, .g_scale = 0.1};
    c.gan.terms = (gd_terms_spec){.cycle_a = 1, .cycle_b = 1, .cycle_square = true, .feature = 0.9, .rate = true};
    c.schedule.g_steps = 2;
    c.schedule.rate.start = 0.01;
    c.schedule.rate.end = 0.5;
    c.schedule.rate.steps = 4;
    c.optimizer[0].weight_decay = c.optimizer[1].weight_decay = 1e-5;
    c.ema_decay = 0.99;
    c.ema_warmup = true;
    return c;
}

static inline gd_train_config wgan_gp(void) {
    gd_train_config c = base_config();
    c.gan.discriminator.norm = "none";
    c.gan.loss.kind = GD_LOSS_WASSERSTEIN;
    c.gan.penalty = (gd_penalty_spec){.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1, .every = 2, .pick = 2};
    c.gan.instance_noise = true;
    c.schedule.d_steps = 3;
    c.schedule.noise.start = 0.5;
    c.schedule.noise.steps = 6;
    return c;
}

static inline gd_train_config classifier(void) {
    gd_train_config c = base_config();
    c.gan.topology = GD_TOPOLOGY_CLASSIFIER;
    c.gan.range = GD_RANGE_RAW;
    c.gan.generator = (gd_net_spec){0};
    c.gan.discriminator = (gd_net_spec){
        .arch = "mlp", .height = 1, .width_px = 1, .channels = 2, .width = 12, .depth = 2, .dropout = 0.2, .classes = 8};
    c.optimizer[GD_GROUP_D].lr = 1e-2;
    return c;
}

/* Spectral norm and hinge; D gets more or fewer steps every third iteration. */
static inline gd_train_config adaptive(void) {
    gd_train_config c = base_config();
    c.gan.discriminator.spectral = true;
    c.gan.discriminator.norm = "none";
    c.gan.loss.kind = GD_LOSS_HINGE;
    c.schedule.adaptive =
        (gd_adaptive_spec){.kind = GD_ADAPTIVE_ACCURACY, .low = 0.95, .high = 0.98, .min = 1, .max = 4, .every = 3};
    return c;
}

static inline gd_train_config ratio(void) {
    gd_train_config c = base_config();
    c.schedule.d_steps = 4;
    c.schedule.adaptive =
        (gd_adaptive_spec){.kind = GD_ADAPTIVE_GRAD_RATIO, .low = 1e-3, .high = 2e-3, .min = 2, .max = 4, .every = 2};
    c.schedule.share_fake = true;
    return c;
}

/* G first from shared images, then one more D step; DRAGAN. */
static inline gd_train_config generator_first(void) {
    gd_train_config c = base_config();
    c.gan.discriminator.norm = "none";
    c.gan.penalty = (gd_penalty_spec){.kind = GD_PENALTY_DRAGAN, .lambda = 1, .target = 1, .every = 3};
    c.schedule = (gd_schedule_spec){.d_steps = 2, .g_steps = 1, .share_fake = true, .g_first = true};
    return c;
}

static inline gd_train_config alternating(void) {
    gd_train_config c = base_config();
    c.schedule.alternate = 2;
    c.schedule.d_steps = 2;
    c.ema_start = 3;
    c.ema_warmup = true;
    return c;
}

typedef struct variant {
    const char *name;
    gd_train_config (*config)(void);
    gd_dataset *const *data;
} variant;

static const variant variants[VARIANTS] = {
    {"pix2pix", pix2pix, &pair_data},   {"cyclegan", cyclegan, &pair_data},
    {"discogan", discogan, &pair_data}, {"wgan-gp", wgan_gp, &noise_data},
    {"classifier", classifier, &label_data}, {"adaptive accuracy", adaptive, &noise_data},
    {"adaptive ratio", ratio, &noise_data}, {"generator first", generator_first, &noise_data},
    {"alternating", alternating, &noise_data},
};

#endif
