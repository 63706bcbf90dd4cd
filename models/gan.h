/* models/gan.h -- a GAN: its networks, and the step graphs of its topology.
 *
 * Networks belong to one of two groups, generators and discriminators; each group has one flat
 * parameter arena, one gradient arena, one optimiser and its own all-reduce (dist/). */
#ifndef GANDIST_MODELS_GAN_H
#define GANDIST_MODELS_GAN_H

#include "compute/program.h"
#include "models/loss.h"
#include "models/net.h"

enum { GD_NETS_MAX = 4 };
typedef enum gd_group { GD_GROUP_G, GD_GROUP_D, GD_GROUP_COUNT } gd_group;

typedef enum gd_topology { GD_TOPOLOGY_NOISE } gd_topology;

typedef enum gd_range {       /* how u8 images meet the network */
    GD_RANGE_SIGNED,          /* x / 127.5 - 1, generator ends in tanh    */
    GD_RANGE_UNIT,            /* x / 255, generator ends in sigmoid       */
    GD_RANGE_RAW              /* f32 points as they are                   */
} gd_range;

typedef enum gd_penalty_kind { GD_PENALTY_NONE, GD_PENALTY_GRADIENT } gd_penalty_kind;
typedef struct gd_penalty_spec { /* on the discriminator's slope, see penalty.c */
    gd_penalty_kind kind;
    double lambda, target;
} gd_penalty_spec;

typedef struct gd_gan_spec {
    gd_topology topology;
    gd_net_spec generator, discriminator;
    bool latent_uniform;      /* z uniform in [-1,1), else standard normal */
    gd_loss_spec loss;
    gd_penalty_spec penalty;  /* in every discriminator update             */
    gd_range range;
    int64_t global_batch;     /* samples of one update, over all shards    */
    bool sync;                /* batch statistics over the global batch    */
} gd_gan_spec;

typedef struct gd_gan_net {
    const char *prefix;       /* "G", "D": of parameter names in graphs and checkpoints */
    gd_group group;
    const gd_net *net;
} gd_gan_net;

typedef struct gd_gan gd_gan;
/* Strings of the spec are copied; the field `generator` of both networks is set by their role. *out:
 * owner: caller. Not collective. Errors: CONFIG (the message names the recipe's key), NOMEM. */
GD_CHECKED gd_status gd_gan_new(const gd_gan_spec *s, gd_gan **out);
void gd_gan_free(gd_gan *m);
int gd_gan_nets(const gd_gan *m, const gd_gan_net **list);
const gd_gan_spec *gd_gan_get_spec(const gd_gan *m);

/* What one program computes. The gradients of both groups never mix: a group's gradient outputs
 * exist only in the kinds that train it. */
typedef enum gd_step_kind {
    GD_STEP_D,        /* fresh z, D's gradients                                                      */
    GD_STEP_G,        /* fresh z, G's gradients; D's parameters are constants                        */
    GD_STEP_DG_SHARED,/* phase 0: D's gradients; pause (D is updated); phase 1: G's gradients through
                         the updated D from the same z and the same G forward pass                   */
    GD_STEP_BOTH,     /* simultaneous: both gradients from the same parameters, one phase            */
    GD_STEP_KIND_COUNT
} gd_step_kind;
const char *gd_step_kind_text(gd_step_kind k);

/* A step as a graph. Bindings by name:
 *   in   "real"             U8 (F32 for points) [n,H,W,C], this shard's samples
 *        "G/<param>"        parameters and buffers, float, memory layout
 *   out  "grad:G/<param>"   this shard's part of the gradient of the mean loss: sum over shards
 *        "G/<buffer>"       new running statistics, of every network that has some; equal on all shards
 *        "metric:<name>"    one number, this shard's part: sum over shards
 * Metrics (as the kind has them): loss_d, loss_d_real, loss_d_fake, loss_g, d_real, d_fake (means of
 * the discriminator's output: probabilities for cross-entropy losses, raw otherwise), d_fake_g (what
 * the G step saw). z comes from RANDOM nodes, purpose LATENT_G in GD_STEP_G, else LATENT_D. */
typedef struct gd_step_graph {
    gd_graph *graph;
    gd_output *outputs;
    int n_outputs;
    int n_phases;
    struct gd_arena *arena;   /* of outputs and their names */
} gd_step_graph;
/* Every network runs in training mode and its running statistics move once a forward pass.
 * shards: number of equal parts of the global batch; must divide it. *out: owner: caller,
 * gd_step_graph_free. Errors: CONFIG, SHAPE, NOMEM. */
GD_CHECKED gd_status gd_gan_step(const gd_gan *m, gd_step_kind kind, int64_t shards, gd_step_graph *out);
/* z "z" [n,Z] -> "image" [n,H,W,C] in the generator's range; eval mode: running statistics, no dropout
 * (batch_stats: statistics of this very batch instead). One shard. Errors: as gd_gan_step. */
GD_CHECKED gd_status gd_gan_sampler(const gd_gan *m, int64_t n, bool batch_stats, gd_step_graph *out);
void gd_step_graph_free(gd_step_graph *s);

#endif
