/* models/layers.h -- the layer program of a network: what architectures fill and gd_net_apply runs.
 *
 * A network is a list of layers in execution order. Layer i reads the network's input or earlier
 * layers, so residual sums and U-Net skips are layers like any other. Architectures (arch_*.c) and
 * explicit `layers:` lists add layers through the gd__* builders below and share everything behind.
 *
 * Sizes of one sample are known while building (gd__dims): a layer that does not fit is refused there
 * with a message, before any graph exists. Builders keep the first error in the builder; later calls
 * do nothing and return 0, so architecture code reads straight through and is checked once.
 *
 * Folder-internal. */
#ifndef GANDIST_MODELS_LAYERS_H
#define GANDIST_MODELS_LAYERS_H

#include "base/arena.h"
#include "models/net.h"

enum { GD__INPUT = -1 };         /* layer index that stands for the network's input             */
enum { GD__DROPOUTS_MAX = 256 }; /* a dropout's number is 8 bits of its random numbers' purpose */

/* One sample: an image of h x w x c, or c numbers (flat, h = w = 1). */
typedef struct gd__dims {
    int64_t h, w, c;
    bool flat;
} gd__dims;

/*    kind       text        reads  what                                                              */
#define GD__LAYER_LIST(X)                                                                              \
    X(DENSE,    "dense",    1) /* weight [out,in], bias                                              */ \
    X(CONV,     "conv",     1) /* weight [K,R,S,C], bias                                             */ \
    X(DECONV,   "deconv",   1) /* transposed convolution: weight [in,R,S,out], bias                  */ \
    X(NORM,     "norm",     1) /* weight, bias, running_mean, running_var, as the norm has them      */ \
    X(ACT,      "act",      1)                                                                         \
    X(DROPOUT,  "dropout",  1) /* inverted: kept values are scaled by 1 / (1 - rate)                 */ \
    X(MAXOUT,   "maxout",   1) /* max over groups of `factor` neighbouring units                     */ \
    X(FLATTEN,  "flatten",  1) /* h x w x c -> c*h*w numbers in C,H,W order (as PyTorch)             */ \
    X(RESHAPE,  "reshape",  1) /* numbers in C,H,W order -> h x w x c                                */ \
    X(UPSAMPLE, "upsample", 1) /* nearest                                                            */ \
    X(AVGPOOL,  "avgpool",  1)                                                                         \
    X(REFLECT,  "reflect",  1) /* border of pad[] mirrored pixels                                    */ \
    X(SPATIAL,  "spatial",  1) /* mean over height and width -> flat                                 */ \
    X(SUM,      "sum",      2)                                                                         \
    X(CONCAT,   "concat",   2) /* channels                                                           */

typedef enum gd__layer_kind {
#define GD__LAYER_ENUM(kind, text, reads) GD__LAYER_##kind,
    GD__LAYER_LIST(GD__LAYER_ENUM)
#undef GD__LAYER_ENUM
        GD__LAYER_KIND_COUNT
} gd__layer_kind;
extern const char *const gd__layer_text[GD__LAYER_KIND_COUNT];

typedef enum gd__norm { GD__NORM_NONE, GD__NORM_BATCH, GD__NORM_INSTANCE, GD__NORM_LAYER } gd__norm;
typedef enum gd__act {
    GD__ACT_NONE, GD__ACT_RELU, GD__ACT_LEAKY, GD__ACT_TANH, GD__ACT_SIGMOID, GD__ACT_MAXOUT
} gd__act;

typedef struct gd__layer {
    gd__layer_kind kind;
    int in[2];
    gd__dims dims;         /* of its output                                                          */
    const char *label;     /* "main.3": of graph nodes                                               */
    int param;             /* index of its first parameter (weight), -1: none                        */
    int running;           /* NORM: index of running_mean, running_var follows; -1: none             */
    int spectral;          /* DENSE, CONV, DECONV: index of weight_u, weight_v follows; 0: none      */
    bool bias;             /* DENSE, CONV, DECONV                                                    */
    int kernel_h, kernel_w, stride, pad[4]; /* CONV, DECONV (of the larger image), REFLECT          */
    gd__norm norm;
    double eps;
    gd__act act;
    double slope, rate;
    int factor;            /* UPSAMPLE, AVGPOOL, MAXOUT                                              */
    int draw;              /* DROPOUT: number of this dropout in the network                         */
} gd__layer;

/* Rule that gives a weight its initial distribution (init.c). */
typedef enum gd__init_rule {
    GD__INIT_NORMAL,   /* N(0, gain), gain .02                                                       */
    GD__INIT_XAVIER,   /* N(0, gain sqrt(2 / (in + out))), gain 1. Glorot and Bengio 2010            */
    GD__INIT_KAIMING,  /* N(0, sqrt(2 / in)). He et al. 2015                                         */
    GD__INIT_UNIFORM,  /* U(-gain, gain), gain .05                                                   */
    GD__INIT_PYTORCH,  /* U(-b, b), b = 1 / sqrt(in): the default of PyTorch's layers, biases too    */
    GD__INIT_HE_UNIFORM,     /* as WGAN-GP's code: std sqrt(4 / (in + out)) with stride; dense 2/in  */
    GD__INIT_GLOROT_UNIFORM, /* the same code with he_init off: std sqrt(2 / (in + out))             */
    GD__INIT_RULE_COUNT,     /* of those that recipes can name                                       */
    GD__INIT_PYTORCH_0 = GD__INIT_RULE_COUNT /* PYTORCH before 0.4: transposed convolutions count in x taps, too */
} gd__init_rule;

typedef struct gd__fans {
    double in, out;     /* channels                                                                  */
    double taps;        /* kernel height x width; 1 for dense                                        */
    double stride;
    bool transposed;
} gd__fans;
gd_init gd__init_weight(gd__init_rule rule, double gain, gd__fans f);
gd_init gd__init_bias(gd__init_rule rule, gd__fans f);
/* "normal" ...; false when there is none of that name. */
bool gd__init_find(const char *name, gd__init_rule *out);

struct gd_net {
    gd_arena *arena;
    gd_net_spec spec;         /* strings and layers copied                                           */
    gd__layer *layers;
    int n_layers, room_layers;
    int output;               /* index of the layer that is the result                               */
    gd_param_info *params;
    int n_params, room_params;
    int n_draws;              /* dropouts                                                            */
    int n_taps;               /* layers whose outputs are read as features (feature matching)        */
    int tap[8];
    gd__dims input;
};

typedef struct gd__build {
    gd_net *net;
    const gd_net_spec *spec;
    gd_status st;             /* of the first mistake; its message is in the error record            */
    const char *where;        /* "recipe.yaml:12:5", of the layer being added; NULL: none            */
    gd__init_rule rule;       /* of weights                                                          */
    double gain;              /* 0: the rule's                                                       */
    bool rule_given;          /* the user's choice, architectures must not replace it                */
    double norm_std;          /* norm scales start N(1, norm_std)                                    */
    bool norm_uniform;        /* norm scales start U(0, 1): PyTorch before 1.2                       */
} gd__build;

#define GD__BUILD_FAIL(b, ...)                                                                       \
    do {                                                                                             \
        if ((b)->st == GD_OK) (b)->st = gd_raise(GD_CONFIG, __FILE__, __LINE__, __VA_ARGS__);        \
    } while (0)

typedef struct gd__conv_opts {
    int64_t channels;         /* of the output                                                       */
    int kernel, stride;       /* stride 0: 1                                                         */
    int kernel_h, kernel_w;   /* 0: kernel                                                           */
    int pad[4];               /* top, bottom, left, right; for deconv: cut from the full result      */
    bool bias;
    gd__init_rule rule;       /* used when has_rule and the user has not chosen                      */
    bool has_rule;
} gd__conv_opts;
/* The same padding on all sides. */
#define GD__PAD(p) {(p), (p), (p), (p)}

/* All: x and y are layer indices (GD__INPUT: the input); name: state_dict key without ".weight".
 * Return the index of the new layer. */
gd__dims gd__dims_of(const gd__build *b, int x);
int gd__dense(gd__build *b, int x, const char *name, int64_t units, bool bias);
int gd__conv(gd__build *b, int x, const char *name, gd__conv_opts o);
int gd__deconv(gd__build *b, int x, const char *name, gd__conv_opts o);
/* norm none: returns x. affine_instance: InstanceNorm has scale and shift (PyTorch: not). */
int gd__normalize(gd__build *b, int x, const char *name, gd__norm norm, bool affine_instance);
int gd__activate(gd__build *b, int x, gd__act act, double slope); /* none: returns x */
int gd__dropout(gd__build *b, int x, double rate);                /* rate 0: returns x */
int gd__maxout(gd__build *b, int x, int64_t pieces);
int gd__flatten(gd__build *b, int x);                             /* already flat: returns x */
int gd__reshape(gd__build *b, int x, int64_t h, int64_t w, int64_t c);
int gd__upsample(gd__build *b, int x, int64_t factor);
int gd__avgpool(gd__build *b, int x, int64_t factor);
int gd__reflect(gd__build *b, int x, int pad);
int gd__spatial_mean(gd__build *b, int x);
int gd__sum2(gd__build *b, int x, int y);
int gd__concat2(gd__build *b, int x, int y);
void gd__tap(gd__build *b, int x); /* x is a feature layer */

/* nn.Sequential: counts modules and names them "main.0", "main.1", ... */
typedef struct gd__seq {
    gd__build *b;
    const char *prefix;
    int next;
} gd__seq;
const char *gd__seq_name(gd__seq *s); /* name of the next module; owner: the network's arena */
static inline void gd__seq_skip(gd__seq *s) { s->next++; } /* a module without parameters */

/* Names of norms and activations. NULL and "default" give `fallback`; an unknown name or one outside
 * `allowed` (bit set of enum values) is an error of the builder that names `key`. */
bool gd__is_default(const char *name);
gd__norm gd__norm_read(gd__build *b, const char *key, const char *name, gd__norm fallback);
gd__act gd__act_read(gd__build *b, const char *key, const char *name, gd__act fallback, unsigned allowed);
enum {
    GD__ACTS_HIDDEN = 1u << GD__ACT_RELU | 1u << GD__ACT_LEAKY,
    GD__ACTS_OUTPUT = 1u << GD__ACT_NONE | 1u << GD__ACT_TANH | 1u << GD__ACT_SIGMOID,
    GD__ACTS_PLAIN = GD__ACTS_HIDDEN | GD__ACTS_OUTPUT,
};
/* What a generator ends with: spec.output, else tanh for images and nothing for points (1 x 1 pixel). */
gd__act gd__output_act(gd__build *b);
/* "generator" or "discriminator", for messages. */
const char *gd__role(const gd_net_spec *s);

/* The architectures: each fills the builder from its spec and returns the output layer. */
typedef struct gd__arch {
    const char *name;
    int (*build)(gd__build *b);
    unsigned uses;  /* GD__USES_*: keys it understands; others given are refused */
    unsigned roles; /* GD__FROM_LATENT ...: what it can be                       */
} gd__arch;
enum {
    GD__USES_WIDTH = 1, GD__USES_DEPTH = 2, GD__USES_NORM = 4, GD__USES_ACT = 8, GD__USES_DROPOUT = 16,
    GD__USES_LAYERS = 32, GD__USES_DROPOUT_INPUT = 64, GD__USES_CLASSES = 128
};
enum { GD__FROM_LATENT = 1, GD__FROM_IMAGE = 2, GD__JUDGE = 4, GD__ANY_ROLE = 7 };
int gd__arch_mlp(gd__build *b);
int gd__arch_dcgan(gd__build *b);
int gd__arch_dcgan_k5(gd__build *b);
int gd__arch_layers(gd__build *b);
int gd__arch_unet(gd__build *b);
int gd__arch_patchgan(gd__build *b);
int gd__arch_pixel(gd__build *b);
int gd__arch_resnet(gd__build *b);
int gd__arch_resnet_gp(gd__build *b);
int gd__arch_disco(gd__build *b);

/* ---- sides (sides.c) ---- */

/* Refuses sides of the spec's images that are no multiples of `step` or below `least`, and names the nearest ones. why:
 * "a unet of 8 levels". For architectures that halve and double maps. */
void gd__check_sides(gd__build *b, const char *why, int64_t step, int64_t least);
/* How often `size` can be halved before it is below `base`: levels of DCGAN-like networks. */
int gd__halvings(int64_t size, int64_t base);
/* Whether the network works on h x w images; else why not into text. */
bool gd__fits(const gd_net *n, int64_t h, int64_t w, char text[160]);

/* ---- running (net_apply.c) ---- */
struct gd_net_use {
    const gd_net *net;
    gd_graph *graph;
    const char *prefix;
    gd_node *node;  /* per parameter: its node; per buffer: its latest value                         */
    gd_node tap[8]; /* feature layers of the last application                                        */
};
/* Buffers go on from where `from` left them (the same network at another parameter version). */
void gd__use_continue(gd_net_use *u, const gd_net_use *from);
/* Without synchronised statistics: buffers become the average over shards, one reduction for all. Those that are the
 * same everywhere stay as they are, to the bit. */
void gd__use_average_buffers(gd_net_use *u);
/* The weight of a layer divided by its largest singular value (spectral.c). move: one power iteration first. */
gd_node gd__spectral_weight(gd_net_use *u, const gd__layer *l, bool move);

#endif
