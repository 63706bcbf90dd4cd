/* GANs that are wide enough for several slices of optimiser state on every rank (optimizer.shard). */
#ifndef GANDIST_TESTS_WIDE_VARIANTS_H
#define GANDIST_TESTS_WIDE_VARIANTS_H

#include "tests/dist/variants.h"

enum { WIDE_BATCH = 12 /* goes into 1, 2, 3 and 4 ranks */ };

/* Wide enough for slices of several units on every rank; one sum order on every number of ranks. */
static inline gd_train_config wide(gd_train_config c) {
    c.gan.generator.width = c.gan.discriminator.width = 24;
    c.gan.global_batch = c.shards = WIDE_BATCH;
    return c;
}

static inline gd_train_config dcgan(void) { return wide(tiny_config()); }

/* Goodfellow's optimiser, over perceptrons. */
static inline gd_train_config gan(void) {
    gd_train_config c = wide(tiny_config());
    c.gan.generator.arch = c.gan.discriminator.arch = "mlp";
    c.gan.generator.width = c.gan.discriminator.width = 96;
    c.gan.generator.depth = c.gan.discriminator.depth = 2;
    c.optimizer[0] = c.optimizer[1] =
        (gd_optimizer_spec){.kind = GD_SGD, .lr = 1e-2, .momentum = 0.5, .momentum_final = 0.7, .momentum_steps = 5};
    c.ema_decay = 0;
    return c;
}

static inline gd_train_config plain_sgd(void) {
    gd_train_config c = gan();
    c.optimizer[0] = c.optimizer[1] = (gd_optimizer_spec){.kind = GD_SGD, .lr = 1e-2, .clip_norm = 1e-2};
    return c;
}

static inline gd_train_config clipped_by_norm(void) {
    gd_train_config c = dcgan();
    c.optimizer[0].clip_norm = c.optimizer[1].clip_norm = 0.02;
    c.optimizer[0].weight_decay = c.optimizer[1].weight_decay = 0.1;
    c.schedule.share_fake = true;
    return c;
}

static inline gd_train_config wgan(void) {
    gd_train_config c = dcgan();
    c.gan.loss.kind = GD_LOSS_WASSERSTEIN;
    c.schedule.d_steps = 3;
    c.weight_clip = 0.02;
    c.optimizer[0] = c.optimizer[1] = (gd_optimizer_spec){
        .kind = GD_RMSPROP, .lr = 5e-3, .alpha = 0.99, .eps = 1e-8, .decay = GD_DECAY_LINEAR, .decay_end = 9};
    return c;
}

static inline gd_train_config wide_wgan_gp(void) {
    gd_train_config c = wide(wgan_gp());
    c.gan.penalty.pick = 0; /* a shard is one sample */
    return c;
}
static inline gd_train_config wide_adaptive(void) { return wide(adaptive()); }
static inline gd_train_config wide_cyclegan(void) {
    gd_train_config c = wide(cyclegan());
    c.gan.generator.width = 8; /* its layers are many */
    return c;
}
static inline gd_train_config wide_pix2pix(void) {
    gd_train_config c = wide(pix2pix());
    c.gan.generator.arch = "unet";
    c.gan.generator.width = 8;
    c.gan.generator.depth = 4;
    c.gan.generator.layers = NULL;
    c.gan.generator.layer_count = 0;
    return c;
}

static const variant wide_kinds[] = {
    {"gan", gan, &noise_data},
    {"plain sgd", plain_sgd, &noise_data},
    {"wgan", wgan, &noise_data},
    {"dcgan", dcgan, &noise_data},
    {"wgan-gp", wide_wgan_gp, &noise_data},
    {"adaptive, spectral norm", wide_adaptive, &noise_data},
    {"clipped by norm", clipped_by_norm, &noise_data},
    {"pix2pix", wide_pix2pix, &pair_data},
    {"cyclegan", wide_cyclegan, &pair_data},
};
enum { WIDE_KINDS = sizeof wide_kinds / sizeof *wide_kinds };

static inline gd_train_config sharded(gd_train_config c) {
    c.shard_optimizer = true;
    return c;
}

#endif
