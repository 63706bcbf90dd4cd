/* models/net.h -- a network: a list of layers, its parameters with names, shapes and initial values,
 * and how to write its forward pass into a graph. Owns no memory for values and runs nothing.
 *
 * Names are the state_dict keys of the public PyTorch code that each architecture comes from
 * ("main.0.weight"), in its order, so weights travel both ways. */
#ifndef GANDIST_MODELS_NET_H
#define GANDIST_MODELS_NET_H

#include "compute/graph.h"

typedef enum gd_init_kind { GD_INIT_CONST, GD_INIT_NORMAL, GD_INIT_UNIFORM, GD_INIT_DIRECTION } gd_init_kind;
typedef struct gd_init {
    gd_init_kind kind;
    double a, b; /* CONST: value. NORMAL: mean, standard deviation. UNIFORM: low, high. DIRECTION: a
                    vector of length 1, every direction equally likely */
} gd_init;

/* One stored tensor. In memory [K,R,S,C] for convolutions, [out,in] for dense layers; in files as
 * PyTorch has it: file dimension i is memory dimension file_perm[i]. */
typedef struct gd_param_info {
    const char *name;
    gd_shape shape;
    int file_perm[GD_RANK_MAX];
    gd_init init;
    bool buffer;     /* running statistics and singular vectors: saved, never trained              */
    bool replicated; /* a buffer made of parameters alone (spectral norm): every shard computes the
                        same bits, so it is never averaged over shards and mixes no samples         */
} gd_param_info;

/* A layer of an explicit list. Zero (pad: negative) or NULL: the default of its kind.
 *   dense     size units; norm, act (none)
 *   conv      size channels; kernel 3, stride 1, pad (kernel - 1) / 2; norm, act (none)
 *   deconv    size channels; kernel 4, stride 2, pad (kernel - stride) / 2; norm, act (none)
 *   maxout    size units of pieces (5) each          norm     norm (batch)
 *   act       act, slope (0.2) of leaky              dropout  rate (0.5)
 *   upsample  size (2): factor, nearest              avgpool  size (2)
 *   flatten   to C,H,W order                         reshape  shape: height, width, channels       */
typedef struct gd_layer_spec {
    const char *kind;
    int64_t size, kernel, stride, pad, pieces;
    int64_t shape[3];
    const char *norm, *act;
    double slope, rate;
    int bias; /* 1 yes, 0 no, -1 only where no norm follows */
    const char *where; /* "recipes/x.yaml:12:5" for messages, may be NULL */
} gd_layer_spec;

typedef struct gd_net_spec {
    const char *arch;         /* mlp dcgan unet resnet ... : a name of gd_net_archs()              */
    bool generator;           /* input [N,Z], or an image where in_channels > 0; output an image.
                                 Else image to logits [N,1], or of patches [N,h,w,1]                */
    int64_t latent;           /* Z                                                                  */
    int64_t in_channels;      /* image-to-image generators: of the input, whose sides are the output's */
    int64_t classes;          /* of a classifier: logits [N,classes]; 0: a discriminator            */
    int64_t height, width_px, channels; /* the image (points: 1 x 1 x 2)                            */
    int64_t width, depth;     /* base channels or units; hidden layers, residual blocks, levels of a U-Net,
                                 strided layers of a PatchGAN. 0: the architecture's                */
    bool spectral;            /* every dense and convolution weight is divided by its largest singular
                                 value (Miyato et al. 2018): its key becomes weight_orig, and buffers
                                 weight_u, weight_v come with it, as torch.nn.utils.spectral_norm   */
    const char *norm, *act, *output; /* NULL or "default": the architecture's. output of a generator:
                                 tanh sigmoid none; default tanh, for 1 x 1 pixel none              */
    double dropout_input, dropout;
    const char *init;         /* NULL or "default": the published one; normal xavier kaiming uniform
                                 pytorch he_uniform glorot_uniform                                  */
    double init_gain;         /* 0: the initialiser's (normal .02, xavier 1, uniform half width .05) */
    const gd_layer_spec *layers;
    int layer_count;
} gd_net_spec;

typedef struct gd_net gd_net;

const char *const *gd_net_archs(int *count);
/* Strings of the spec are copied. *out: owner: caller. Errors: CONFIG (says key, value, what fits,
 * "100 is not a multiple of 16; nearest 96 or 112"), NOMEM. */
GD_CHECKED gd_status gd_net_new(const gd_net_spec *s, gd_net **out);
void gd_net_free(gd_net *n);
int gd_net_params(const gd_net *n, const gd_param_info **list); /* buffers included; owner: n */
int64_t gd_net_param_count(const gd_net *n);                    /* trained numbers, no buffers */
/* Image-to-image generators and discriminators of patches are fully convolutional: gd_net_apply takes
 * images of other sides than the network was built for. GD_OK where h x w fits, else CONFIG (says the
 * nearest sides that do). Networks with dense layers fit only the sides they were built for. */
GD_CHECKED gd_status gd_net_fits(const gd_net *n, int64_t h, int64_t w);

/* Initial value of parameter `index` of the list into out (float, memory layout): a pure function of
 * (seed, purpose, name): the number of ranks and the order of calls do not matter. */
void gd_net_init_param(const gd_net *n, int index, uint64_t seed, uint32_t purpose, float *out);

/* The use of a network in one graph: its parameter nodes and the latest value of each buffer.
 * prefix "G" makes parameters named "G/main.0.weight". */
typedef struct gd_net_use gd_net_use;
typedef struct gd_apply_opts {
    bool eval;          /* running statistics, no dropout                                           */
    bool keep_dropout;  /* dropout even so: the noise of image-to-image generators                  */
    bool batch_stats;   /* eval, but with the statistics of this very batch                         */
    bool sync;          /* batch statistics over all shards                                         */
    bool no_update;     /* leave running statistics and singular vectors alone                      */
    uint32_t stream;    /* tells dropout masks of several applications apart (0..255)               */
} gd_apply_opts;
/* prefix: lives as long as the use. version: see gd_param. *out: owner: caller. Errors: NOMEM. */
GD_CHECKED gd_status gd_net_use_new(const gd_net *n, gd_graph *g, const char *prefix, int version,
                                    gd_net_use **out);
void gd_net_use_free(gd_net_use *u);
/* Forward pass: x [N,Z] or [N,H,W,C] -> output. Discriminators return logits [N,1], those of patches
 * [N,h,w,1], classifiers [N,classes]. Shape errors go into the graph. Batch-norm buffers move by 0.1
 * towards the batch's statistics (variance unbiased); without sync towards the average over shards, so
 * that replicas stay equal. Singular vectors move by one power iteration. With eval or no_update both
 * stay as they are. */
gd_node gd_net_apply(gd_net_use *u, gd_node x, const gd_apply_opts *o);
/* Node of parameter `index` (for gradients), latest node of buffer `index` (for outputs). */
gd_node gd_net_use_param(const gd_net_use *u, int index);
gd_node gd_net_use_buffer(const gd_net_use *u, int index);
/* Feature layers of the last application: of discriminators that have them (disco), and of classifiers,
 * where it is the input of the last layer with weights; 0: none. owner: u. */
int gd_net_use_features(const gd_net_use *u, const gd_node **list);

#endif
