/* models/step.h -- what topologies build step graphs from.
 *
 * A topology (topology_*.c) is a row: its networks, and one function for each step kind. Those
 * functions are written with the parts below: real images, latents, forward passes, losses, gradients
 * of a group, metrics. Shards, ranges, names of outputs, running statistics and dropout streams are
 * the parts' business, so a topology reads like the algorithm that it is.
 *
 * Errors: those of nodes stay in the graph, others in gd__step.st; both are checked once, at the end.
 * From the first error on parts do nothing and return GD_NONE.
 *
 * Folder-internal. */
#ifndef GANDIST_MODELS_STEP_H
#define GANDIST_MODELS_STEP_H

#include "base/arena.h"
#include "base/rng.h"
#include "models/gan.h"

typedef struct gd__step {
    const gd_gan *gan;
    gd_graph *graph;
    gd_arena *arena;               /* of outputs and their names                                      */
    int64_t n;                     /* samples of this shard                                           */
    gd_net_use *use[GD_NETS_MAX];  /* of each network: at the newest parameter version                */
    gd_net_use *past[GD_NETS_MAX]; /* at the version before, NULL: none                               */
    int version[GD_NETS_MAX];      /* updates that each network has seen in this program              */
    gd_output *outputs;
    int n_outputs, room_outputs;
    int phase;
    uint32_t streams;              /* forward passes so far: each has its own dropout masks           */
    gd_status st;
} gd__step;

typedef struct gd__topology {
    const char *name;
    gd_status (*nets)(gd_gan *m);  /* fills m->nets with gd__gan_add_net                              */
    void (*step[GD_STEP_KIND_COUNT])(gd__step *s);
    void (*sample)(gd__step *s, bool batch_stats); /* n generated images                              */
} gd__topology;
extern const gd__topology gd__topology_noise;

struct gd_gan {
    gd_gan_spec spec;              /* strings belong to the networks                                  */
    const gd__topology *topology;
    gd_gan_net nets[GD_NETS_MAX];
    gd_net *owned[GD_NETS_MAX];
    int n_nets;
};
/* A generator must end in what the recipe's range says. Errors: CONFIG, NOMEM. */
gd_status gd__gan_add_net(gd_gan *m, const char *prefix, gd_group group, const gd_net_spec *s);

/* Real images as the discriminator sees them, [n,H,W,C] f32 in the recipe's range, from input `name`. */
gd_node gd__step_real(gd__step *s, const char *name);
/* Fresh latents [n,Z] of the law that the recipe names. */
gd_node gd__step_latent(gd__step *s, gd_purpose purpose);
/* Training-mode forward pass of network `net` (index in gan->nets); its running statistics move. */
gd_node gd__step_apply(gd__step *s, int net, gd_node x);
/* The same without moving anything: a look at points that are no samples. */
gd_node gd__step_look(gd__step *s, int net, gd_node x);
/* The gradient penalty of network `net` between real and fake [n,H,W,C]: this shard's part, [1,1]. Adds the
 * metrics penalty and slope_norm. */
gd_node gd__step_penalty(gd__step *s, int net, gd_node real, gd_node fake);
/* Adds output "grad:<net>/<param>" = d loss / d param for every parameter of the group. */
void gd__step_grads(gd__step *s, gd_group group, gd_node loss);
/* Adds output "metric:<name>": x, one number. */
void gd__step_metric(gd__step *s, const char *name, gd_node x);
/* The same of the mean of the discriminator's verdict: probability of being real, or its raw output. */
void gd__step_metric_verdict(gd__step *s, const char *name, gd_node logits);
void gd__step_output(gd__step *s, const char *name, gd_node x);
/* A pause in which dist/ updates `group`: what follows reads its parameters after the update. */
void gd__step_pause(gd__step *s, gd_group updated);

#endif
