/* models/step.h -- what topologies build step graphs from.
 *
 * A topology (topology_*.c) is a row: its networks, the images that its generators make of a batch (a
 * scene), and the terms of the generator's loss that are its own. The orders in which generator and
 * discriminator learn from a scene are the same for all of them and written once, in rounds.c. Shards,
 * ranges, names of outputs, running statistics and dropout streams are the business of the parts
 * below (step.c), so a topology reads like the paper that it is from.
 *
 * Errors: those of nodes stay in the graph, others in gd__step.st; both are checked once, at the end.
 * From the first error on parts do nothing and return GD_NONE. A term that is switched off is GD_NONE,
 * too: gd__step_plus takes it for 0.
 *
 * Folder-internal. */
#ifndef GANDIST_MODELS_STEP_H
#define GANDIST_MODELS_STEP_H

#include "base/arena.h"
#include "base/rng.h"
#include "models/gan.h"

enum { GD__SIDES_MAX = 2, GD__TAPS_MAX = 8 };

typedef struct gd__step {
    const gd_gan *gan;
    gd_graph *graph;
    gd_arena *arena;               /* of outputs and their names                                      */
    int64_t n;                     /* samples of this shard                                           */
    bool penalised;                /* this program computes the penalty                               */
    gd_net_use *use[GD_NETS_MAX];  /* of each network: at the newest parameter version                */
    gd_net_use *past[GD_NETS_MAX]; /* at the version before, NULL: none                               */
    int version[GD_NETS_MAX];      /* updates that each network has seen in this program              */
    gd_output *outputs;
    int n_outputs, room_outputs;
    int phase;
    uint32_t streams;              /* forward passes so far: each has its own dropout masks           */
    uint32_t noises;               /* images that got instance noise so far: each has its own         */
    gd_status st;
} gd__step;

/* What the discriminators compare: side i is discriminator net[i] with its real and generated images. */
typedef struct gd__scene {
    int n_sides;
    int net[GD__SIDES_MAX];
    gd_node real[GD__SIDES_MAX], fake[GD__SIDES_MAX];
    gd_node a, b;                  /* image to image: data, and what G makes of them, by domain       */
    gd_node fake_a, fake_b;
} gd__scene;

/* What a discriminator says of an image. */
typedef struct gd__verdict {
    gd_node image;                 /* as it saw it: with instance noise                               */
    gd_node logits;
    int n_taps;
    gd_node tap[GD__TAPS_MAX];     /* its feature layers                                              */
} gd__verdict;

typedef struct gd__topology {
    const char *name;
    unsigned kinds;                /* bit set of gd_step_kind                                         */
    gd_status (*check)(const gd_gan_spec *s); /* what only this topology asks of a spec: CONFIG       */
    gd_status (*nets)(gd_gan *m);  /* fills m->nets with gd__gan_add_net, and m->part                 */
    void (*step)(gd__step *s, gd_step_kind kind);
    /* For gd__rounds_step: a batch and what the generators make of it; and G's terms beside the
     * adversarial and feature ones, this shard's part, GD_NONE: none. */
    void (*scene)(gd__step *s, gd_purpose purpose, gd__scene *out);
    gd_node (*terms)(gd__step *s, const gd__scene *c);
    bool fake_first;               /* D judges generated images before real ones                      */
    /* NULL: none. One generated image a latent; the generator of a direction, -1: none. */
    void (*sample)(gd__step *s, bool batch_stats);
    int (*translator)(int direction);
} gd__topology;
extern const gd__topology gd__topology_noise, gd__topology_paired, gd__topology_two_way, gd__topology_classifier;

typedef struct gd__part {
    int64_t h, w, c;
} gd__part;

struct gd_gan {
    gd_gan_spec spec;              /* strings belong to the networks                                  */
    const gd__topology *topology;
    gd_gan_net nets[GD_NETS_MAX];
    gd_net *owned[GD_NETS_MAX];
    int n_nets;
    gd__part part[2];              /* images of the data set's parts                                  */
};
/* A generator must end in what the recipe's range says. Errors: CONFIG, NOMEM. */
gd_status gd__gan_add_net(gd_gan *m, const char *prefix, gd_group group, const gd_net_spec *s);
/* Errors: CONFIG unless g makes images of h x w, judged by a discriminator for images of h x w x channels. */
gd_status gd__gan_check_images(const gd_net_spec *g, const gd_net_spec *d, int64_t channels);
/* Errors: CONFIG unless the generator reads images (has in_channels) and makes some. */
gd_status gd__gan_check_translation(const gd_gan_spec *s, const char *topology);

/* ---- values ---- */
/* Images of the data set's part `part`, [n,H,W,C] f32 in the recipe's range. */
gd_node gd__step_data(gd__step *s, int part);
/* What the step plan says: input "control:<name>", [1,k]. */
gd_node gd__step_control(gd__step *s, const char *name, int64_t k);
/* Fresh latents [n,Z] of the law that the recipe names. */
gd_node gd__step_latent(gd__step *s, gd_purpose purpose);
/* x + y, where GD_NONE is 0. */
gd_node gd__step_plus(gd__step *s, gd_node x, gd_node y);
/* Mean over the global batch of |x - y| (square: of its square): this shard's part, [1,1]. */
gd_node gd__step_distance(gd__step *s, gd_node x, gd_node y, bool square);

/* ---- networks ---- */
/* Training-mode forward pass of network `net` (index in gan->nets); its running statistics move. */
gd_node gd__step_apply(gd__step *s, int net, gd_node x);
/* The same without moving anything: a look at points that are no samples. */
gd_node gd__step_look(gd__step *s, int net, gd_node x);
/* Training-mode pass of a discriminator over an image, with instance noise where the recipe has it. */
gd__verdict gd__step_judge(gd__step *s, int net, gd_node image);
/* Feature matching: over all taps, the sum of mean over C,H,W of (mean over the global batch of real's
 * features - of fake's)^2. real is a constant. This shard's part, [1,1]. */
gd_node gd__step_feature(gd__step *s, const gd__verdict *real, const gd__verdict *fake);

/* The recipe's penalty on discriminator `net`, side `side` of the scene, of images as it saw them: this
 * shard's part, [1,1]. *norm: of the slope, mean over the samples it looks at, this shard's part. */
gd_node gd__step_penalty(gd__step *s, int side, int net, gd_node real, gd_node fake, gd_node *norm);
/* Errors: CONFIG where the penalty cannot work with this network, or as it is described (penalty.c). */
gd_status gd__penalty_check(const gd_penalty_spec *p, const gd_net *net);
/* Errors: CONFIG where `pick` does not divide the n samples of a shard. */
gd_status gd__penalty_check_shards(const gd_gan_spec *s, int64_t shards);

/* ---- outputs ---- */
/* Adds output "grad:<net>/<param>" = d loss / d param for every parameter of the group. */
void gd__step_grads(gd__step *s, gd_group group, gd_node loss);
/* Adds output "metric:<name>": x, one number. */
void gd__step_metric(gd__step *s, const char *name, gd_node x);
void gd__step_output(gd__step *s, const char *name, gd_node x);
/* A pause in which dist/ updates `group`: what follows reads its parameters after the update. */
void gd__step_pause(gd__step *s, gd_group updated);

/* ---- orders (rounds.c) ---- */
/* A whole step of any kind, for topologies with scenes. */
void gd__rounds_step(gd__step *s, gd_step_kind kind);
/* Kinds of gd__rounds_step. */
enum {
    GD__ROUNDS_KINDS = 1u << GD_STEP_D | 1u << GD_STEP_G | 1u << GD_STEP_DG_SHARED | 1u << GD_STEP_GD_SHARED |
                       1u << GD_STEP_BOTH
};

#endif
