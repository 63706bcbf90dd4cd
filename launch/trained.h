/* launch/trained.h -- a trained run as it is used: reads the recipe and the newest good checkpoint, needs
 * neither MPI nor, where the recipe says what its images look like, the data set. */
#ifndef GANDIST_LAUNCH_TRAINED_H
#define GANDIST_LAUNCH_TRAINED_H

#include "compute/exec.h"
#include "dist/checkpoint.h"
#include "models/gan.h"
#include "recipes/recipe.h"

typedef struct gd_trained gd_trained;

/* path: a run folder or one checkpoint folder inside it. weights: "ema" or "live"; NULL: EMA where the
 * run keeps one. Of a classifier its network is read, else the generators. Errors: NOINPUT, DATA, CONFIG, USAGE
 * (weights), NOMEM, what loading reports. */
GD_CHECKED gd_status gd_trained_open(const char *path, const char *weights, gd_trained **out);
void gd_trained_close(gd_trained *t);
/* What its networks run on, before they first do; without this the CPU. Parameters are put there. x outlives t. Errors: the
 * executor's. */
GD_CHECKED gd_status gd_trained_use(gd_trained *t, const gd_executor *x);
const gd_recipe *gd_trained_recipe(const gd_trained *t);
const gd_gan_spec *gd_trained_spec(const gd_trained *t); /* topology, range, networks; owner: t       */
const gd_gan *gd_trained_gan(const gd_trained *t);
int64_t gd_trained_latent(const gd_trained *t);          /* Z; 0 where nothing is made from latents   */
gd_latent gd_trained_law(const gd_trained *t);
gd_shape gd_trained_image(const gd_trained *t);          /* [1,H,W,C] of what it makes, or classifies */
gd_range gd_trained_range(const gd_trained *t);
const char *gd_trained_name(const gd_trained *t);        /* "dcgan, step 4000, ema weights"           */
const char *gd_trained_topology(const gd_trained *t);    /* "noise", "paired", "two-way", "classifier" */
/* State hash of the checkpoint: all of it is read. Errors: DATA, IO. */
GD_CHECKED gd_status gd_trained_hash(const gd_trained *t, uint64_t *out);

/* z [n,Z] -> out [n,H,W,C]. Errors: CONFIG (makes nothing from latents), NUMERIC, what the executor reports. */
GD_CHECKED gd_status gd_trained_generate(gd_trained *t, int64_t n, const float *z, float *out);

typedef struct gd_translation {
    int direction;      /* 0: a to b, 1: b to a                                          */
    int64_t height, width;
    bool noise;         /* dropout and the statistics of each image itself, as the public pix2pix code has them;
                           else running statistics and no dropout                        */
} gd_translation;
/* Whether there is a generator of this direction. */
bool gd_trained_translates(const gd_trained *t, int direction);
/* Whether that generator takes images of this size. */
bool gd_trained_fits(const gd_trained *t, int direction, int64_t height, int64_t width);
/* Channels of the images that a translation takes and gives. */
int gd_trained_channels_in(const gd_trained *t, int direction);
int gd_trained_channels_out(const gd_trained *t, int direction);
/* x [n,h,w,C] -> out [n,h,w,C], one by one; image i draws its dropout as sample `first` + i.
 * Errors: SHAPE, CONFIG (a size or direction the networks do not take), what the executor reports. */
GD_CHECKED gd_status gd_trained_translate(gd_trained *t, const gd_translation *how, int64_t first, int64_t n,
                                          const float *x, float *out);

/* The classifier: x [n,H,W,C] -> logits [n,classes] and its features [n,F] (NULL: not wanted). */
int gd_trained_classes(const gd_trained *t);
int64_t gd_trained_features(gd_trained *t); /* F; 0: the network has no features layer, or cannot be built */
GD_CHECKED gd_status gd_trained_classify(gd_trained *t, int64_t n, const float *x, float *logits, float *features);

/* One stored tensor in memory layout: prefix and name as in gd_gan_nets and gd_net_params; `ema`: its moving
 * average where there is one. Errors: DATA, SHAPE, IO. */
GD_CHECKED gd_status gd_trained_tensor(const gd_trained *t, const char *prefix, const gd_param_info *p, bool ema,
                                       float *into);
bool gd_trained_is_ema(const gd_trained *t); /* which weights were chosen on opening */
int64_t gd_trained_step(const gd_trained *t);

#endif
