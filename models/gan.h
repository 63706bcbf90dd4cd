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

/* noise      G makes images from latents; D judges images                                    topology_noise.c
 * paired     G turns the image a of a pair into b; D judges both together, a first           topology_paired.c
 * two-way    G_AB and G_BA between two domains; D_A judges images of domain A, D_B of B      topology_two_way.c
 * classifier no GAN: one network in the place of D learns labels, for measures of images     topology_classifier.c */
typedef enum gd_topology {
    GD_TOPOLOGY_NOISE, GD_TOPOLOGY_PAIRED, GD_TOPOLOGY_TWO_WAY, GD_TOPOLOGY_CLASSIFIER, GD_TOPOLOGY_COUNT
} gd_topology;

typedef enum gd_latent {      /* law of a latent's coordinates                                    */
    GD_LATENT_NORMAL,         /* N(0, 1)                                                          */
    GD_LATENT_UNIFORM,        /* U[-1, 1)                                                         */
    GD_LATENT_UNIT_UNIFORM,   /* U[-sqrt 3, sqrt 3): variance 1                                   */
    GD_LATENT_SPHERE          /* N(0, 1) divided by the vector's norm                             */
} gd_latent;

typedef enum gd_range {       /* how u8 images meet the network */
    GD_RANGE_SIGNED,          /* x / 127.5 - 1, generator ends in tanh    */
    GD_RANGE_UNIT,            /* x / 255, generator ends in sigmoid       */
    GD_RANGE_RAW              /* f32 points as they are                   */
} gd_range;

/* On the discriminator's slope; penalty.c has the formulas and where they come from. */
typedef enum gd_penalty_kind { GD_PENALTY_NONE, GD_PENALTY_GRADIENT, GD_PENALTY_R1, GD_PENALTY_DRAGAN } gd_penalty_kind;
typedef enum gd_penalty_at { GD_PENALTY_BETWEEN, GD_PENALTY_AT_REAL, GD_PENALTY_AT_FAKE } gd_penalty_at;
typedef struct gd_penalty_spec {
    gd_penalty_kind kind;
    gd_penalty_at at;         /* GRADIENT only                                                    */
    double lambda, target;    /* target: not R1                                                   */
    bool one_sided;           /* GRADIENT, DRAGAN: only norms above the target cost               */
    int64_t every;            /* programs with it are every n-th of those that train D; there lambda counts
                                 n-fold, so that its strength stays. 0: 1                         */
    int64_t pick;             /* on one of every `pick` samples: which, the control input says. 0: 1 */
} gd_penalty_spec;

/* Terms of the generator's loss beside the adversarial one. 0: off. */
typedef struct gd_terms_spec {
    double l1;                /* paired: weight of mean |G(a) - b|                                */
    double cycle_a, cycle_b;  /* two-way: weight of the distance of G_BA(G_AB(a)) to a, and of b's */
    bool cycle_square;        /* mean squares (DiscoGAN) instead of mean absolute values (CycleGAN) */
    double identity;          /* two-way: times cycle_b mean |G_AB(b) - b|, times cycle_a mean |G_BA(a) - a| */
    double feature;           /* two-way, noise: feature matching, batch means over the global batch */
    bool rate;                /* two-way: adversarial and feature terms times 1 - rate, cycle terms times
                                 rate, where rate is a control input (DiscoGAN)                   */
} gd_terms_spec;

typedef struct gd_gan_spec {
    gd_topology topology;
    gd_net_spec generator, discriminator; /* images are the data's. paired: generator from a to b, D of a's and
                                 b's channels together; two-way: G_AB from a to b and D_B, of which the other
                                 two follow; classifier: the discriminator alone                    */
    gd_latent latent;         /* topology noise                            */
    gd_loss_spec loss;
    gd_penalty_spec penalty;
    gd_terms_spec terms;
    bool instance_noise;      /* D sees all images plus normal noise of a controlled standard deviation */
    bool pool;                /* two-way: D sees what an image pool gives for the fakes of the step. D then
                                 learns in GD_STEP_GD_SHARED alone                                  */
    gd_range range;
    int64_t global_batch;     /* samples of one update, over all shards    */
    bool sync;                /* batch statistics over the global batch    */
} gd_gan_spec;

typedef struct gd_gan_net {
    const char *prefix;       /* "G", "D", "G_AB", "D_B": of parameter names in graphs and checkpoints */
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
    GD_STEP_GD_SHARED,/* phase 0: G's gradients; pause (G is updated, image pools turn over); phase 1: D's
                         gradients from the images of phase 0, or from what the pools gave for them  */
    GD_STEP_BOTH,     /* simultaneous: both gradients from the same parameters, one phase            */
    GD_STEP_KIND_COUNT
} gd_step_kind;
const char *gd_step_kind_text(gd_step_kind k);

/* A step as a graph. Bindings by name:
 *   in   "data:0" "data:1"  U8 (F32 for points) [n,H,W,C], this shard's samples of that part of the data set:
 *                           the image; a and b; the image and its label (one-hot, 0 or 1)
 *        "control:<name>"   F32, from the step plan: what changes from step to step without being random
 *                             noise_std [1,1]     standard deviation of instance noise
 *                             rate      [1,1]     terms.rate
 *                             pick      [1,pick]  one-hot: which of `pick` neighbouring samples get the penalty
 *        "pooled:<i>"       F32 [n,H,W,C], read in phase 1 of GD_STEP_GD_SHARED: what pool i gave
 *        "G/<param>"        parameters and buffers, float, memory layout
 *   out  "grad:G/<param>"   this shard's part of the gradient of the mean loss: sum over shards
 *        "G/<buffer>"       new running statistics, of every network that has some; equal on all shards
 *        "pool:<i>"         F32 [n,H,W,C], complete at the pause: this step's fakes for pool i
 *        "metric:<name>"    one number, this shard's part: sum over shards
 * Metrics (as kind and spec have them), means over the global batch, patches, and both sides of two-way:
 *   loss_d, loss_d_real, loss_d_fake, loss_g   what is minimised, and its parts; loss_d has the penalty in it
 *   loss_d_a, loss_d_b, loss_g_ab, loss_g_ba   two-way: of D_A, D_B without penalty; adversarial, of G_AB, G_BA
 *   loss_g_gan                                 the adversarial part, where loss_g has terms beside it
 *   penalty, slope_norm                        with its weight; mean of |grad_x D|
 *   l1, cycle_a, cycle_b, identity, feature    without their weights; identity, feature: sums of both sides
 *   d_real, d_fake, d_fake_g                   D's output: probabilities for cross-entropy losses, raw otherwise;
 *                                              d_fake_g: what the G step saw
 *   d_accuracy                                 share of real and generated that D tells right: logits above and
 *                                              below 0 (least-squares: 1/2)
 *   accuracy                                   classifier
 * z comes from RANDOM nodes, purpose LATENT_G in GD_STEP_G, else LATENT_D. */
typedef struct gd_step_graph {
    gd_graph *graph;
    gd_output *outputs;
    int n_outputs;
    int n_phases;
    struct gd_arena *arena;   /* of outputs and their names */
} gd_step_graph;
/* with_penalty: only where spec.penalty.every > 1 the two programs differ; else it is ignored.
 * Every network runs in training mode and its running statistics move once a forward pass.
 * shards: number of equal parts of the global batch; must divide it. *out: owner: caller,
 * gd_step_graph_free. Errors: CONFIG, SHAPE, NOMEM. */
GD_CHECKED gd_status gd_gan_step(const gd_gan *m, gd_step_kind kind, bool with_penalty, int64_t shards,
                                 gd_step_graph *out);
/* Whether this topology has the kind, and whether programs of the kind read data parts. */
bool gd_gan_has_step(const gd_gan *m, gd_step_kind kind);
bool gd_gan_step_reads(const gd_gan *m, gd_step_kind kind);
/* Number of image pools ("pool:<i>") and the shape [1,H,W,C] of their images. */
int gd_gan_pools(const gd_gan *m, gd_shape *image);
/* z "z" [n,Z] -> "image" [n,H,W,C] in the generator's range; eval mode: running statistics, no dropout
 * (batch_stats: statistics of this very batch instead). One shard. Errors: as gd_gan_step. */
GD_CHECKED gd_status gd_gan_sampler(const gd_gan *m, int64_t n, bool batch_stats, gd_step_graph *out);
/* Image to image: "x" f32 [n,h,w,C] in the generators' range -> "image". direction 0: a to b, 1: b to a
 * (two-way only). h, w: any the network takes. batch_stats, keep_dropout: see gd_apply_opts (the public
 * pix2pix code translates with both). Errors: as gd_gan_step; CONFIG for topologies that translate nothing. */
GD_CHECKED gd_status gd_gan_translator(const gd_gan *m, int direction, int64_t n, int64_t h, int64_t w,
                                       bool batch_stats, bool keep_dropout, gd_step_graph *out);
/* Network `net` of the discriminators on images: "x" f32 [n,H,W,C] in the range -> "verdict" [n,K] (flat) and,
 * where the network has taps, "features" [n,F], the last tap, flat. Eval mode. The classifier's use. */
GD_CHECKED gd_status gd_gan_judge(const gd_gan *m, int net, int64_t n, gd_step_graph *out);
void gd_step_graph_free(gd_step_graph *s);

#endif
