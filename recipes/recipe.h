/* recipes/recipe.h -- a recipe: everything that decides a run's result, and how it reports.
 *
 * One schema table (schema.c) has a row per key: dotted name, type, default, range or choices,
 * help, where it lives in gd_recipe. The parser, the checks, `--set`, `--print-config`, `gandist
 * schema` and docs/recipe.md all come from that table; adding a key is adding a row (and a field
 * here). */
#ifndef GANDIST_RECIPES_RECIPE_H
#define GANDIST_RECIPES_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

// clang-format off
/* One entry of an explicit `layers:` list, for example {conv: 64, kernel: 4, stride: 2, pad: 1,
 * norm: batch, act: leaky}. Fields not given are -1 / NULL and get the layer's default in models/. */
typedef struct gd_recipe_layer {
    const char *kind; /* dense conv deconv upsample avgpool flatten reshape act norm dropout maxout */
    int64_t size;     /* units, output channels, factor; meaning by kind                            */
    int64_t kernel, stride, pad, pieces;
    int64_t shape[3]; /* reshape: height, width, channels                                           */
    const char *norm; /* none batch instance layer                                                  */
    const char *act;  /* none relu leaky tanh sigmoid                                               */
    double slope;     /* of leaky                                                                   */
    double rate;      /* of dropout                                                                 */
    int bias;         /* 0, 1; -1: only where no norm follows                                       */
    int line, column; /* for messages                                                               */
} gd_recipe_layer;

typedef struct gd_recipe_net {
    const char *arch; /* mlp dcgan layers resnet unet patchgan ...; `layers` when a list is given   */
    int64_t latent;   /* generator of topology noise                                                */
    const char *latent_kind; /* normal uniform unit-uniform sphere: gd_latent                       */
    int64_t width;    /* base channel count, or MLP units                                           */
    int64_t depth;    /* hidden layers of an mlp, residual blocks of a resnet, levels of a unet,
                         strided layers of a patchgan                                               */
    bool spectral;    /* spectral norm                                                              */
    const char *norm; /* none batch instance layer; spectral is a separate key                      */
    const char *act;  /* hidden activation of an mlp: relu leaky maxout                             */
    const char *output; /* generator: tanh sigmoid none                                             */
    double dropout_input, dropout;
    const char *init; /* default: the architecture's published one; normal xavier kaiming uniform   */
    double init_gain;
    gd_recipe_layer *layers;
    int layer_count;
} gd_recipe_net;

typedef struct gd_recipe_optimizer {
    const char *kind; /* adam rmsprop sgd                                                           */
    double lr, beta1, beta2, eps, alpha, momentum, weight_decay;
    const char *decay;        /* none linear exponential                                            */
    double decay_rate;        /* exponential: lr is divided by this at every update                 */
    double lr_floor;
    int64_t decay_start, decay_end;       /* linear: steps                                          */
    double momentum_final;                /* reached linearly after momentum_steps; -1: constant    */
    int64_t momentum_steps;
    double clip_norm;                     /* 0: off                                                 */
} gd_recipe_optimizer;

typedef struct gd_recipe {
    const char *name;
    uint64_t seed;
    struct {
        const char *source, *path;
        struct { int64_t size, channels, load; } image;
        const char *resident;  /* auto always never: in a GPU's memory                              */
        const char *direction; /* AtoB BtoA: which domain of a pair is the input                    */
        bool flip;
        int64_t workers, depth, count;
    } data;
    struct { int64_t global; } batch;
    const char *topology; /* noise paired two-way classifier */
    gd_recipe_net generator, discriminator;
    struct {
        const char *kind;  /* non-saturating minimax least-squares wasserstein hinge                */
        double d_scale;    /* factor on the discriminator's loss (GAN paper code: 0.5)              */
        double g_scale;    /* factor on the generator's adversarial loss                            */
        double label_real; /* one-sided label smoothing; 1: off                                     */
        double minimax;    /* blend: share of minimax in the generator's loss                       */
        struct { const char *kind, *at; double lambda, target, fraction; bool one_sided; int64_t every; } penalty;
        struct { double start, end; int64_t steps; } noise; /* instance noise on D's input          */
        struct {           /* gd_terms_spec                                                         */
            double l1, cycle_a, cycle_b, identity, feature;
            const char *cycle_kind;                              /* l1 l2                           */
            struct { bool on; double start, end; int64_t steps; } rate;
        } terms;
        double clip;       /* weight clipping of every D parameter to [-clip, clip]; 0: off         */
    } loss;
    struct {
        int64_t d_steps, g_steps;
        bool simultaneous; /* both gradients from the same parameters, then both updates            */
        bool share_fake;   /* G step reuses the last D step's fake batch (public DCGAN example)     */
        struct { int64_t steps, d_steps, every; } warmup; /* d_steps in the first `steps` iterations
                                               and in every `every`-th (WGAN: 25, 100, 500)         */
        const char *first;   /* discriminator generator: of a shared batch, who is updated first    */
        int64_t alternate;   /* iterations that train one side only, in turns; 0: off               */
        struct { const char *kind; double low, high; int64_t min, max, every; } adaptive;
    } schedule;
    struct { int64_t size; } pool; /* two-way: images per domain; 0: off                            */
    struct {                 /* action of each watcher: none warn stop rollback; dist/watch.h        */
        const char *collapse, *vanished, *exploding, *saturated;
        int64_t every;       /* steps between looks at samples (collapse)                           */
    } watch;
    struct { double limit, patience, factor; } watchdog; /* seconds; limit 0: off                    */
    struct { bool overlap; int64_t bucket; } comm; /* kilobytes                                     */
    struct {
        bool shard;          /* each rank keeps a part of the moments                               */
        gd_recipe_optimizer g, d;
    } optimizer;
    struct { double decay; int64_t start; bool warmup; } ema; /* decay 0: off                       */
    struct { int64_t steps; } train;
    struct {
        const char *precision;   /* fp32 bf16                                                       */
        bool tf32;               /* fp32 convolutions of a GPU in TF32                              */
        const char *kernels;     /* rule timed direct                                               */
        int64_t shards;          /* 0: one per rank                                                 */
        const char *batch_stats; /* global rank (later: shard)                                      */
        int64_t check_every;     /* replica hash check, steps; 0: only at checkpoints               */
        const char *on_nonfinite; /* skip rollback stop                                             */
    } numerics;
    struct { int64_t every, keep; bool wait; } checkpoint;
    struct {
        int64_t every;
        struct { int64_t every, n; } samples;
    } log;
    void *owner; /* arena of all strings and lists; recipes/ only */
} gd_recipe;

typedef struct gd_recipe_opts {
    const char *const *set; /* "key=value" from the command line, applied last, in order            */
    int set_count;
} gd_recipe_opts;
// clang-format on

/* Whether gd_recipe_load would find a file under this path or name. */
bool gd_recipe_exists(const char *path);
/* Reads, `extends:`-merges, overrides and checks a recipe. All errors (up to 20) come in one
 * message, each "file:line:col: text" with the line and a caret below it. path may also be the name
 * of a recipe without folder or ending: it is then looked for in ./recipes and the installed
 * recipes. *out: owner: caller, gd_recipe_free. Errors: NOINPUT, CONFIG, USAGE (a bad --set),
 * NOMEM. */
GD_CHECKED gd_status gd_recipe_load(const char *path, const gd_recipe_opts *o, gd_recipe **out);
/* The same from memory; name stands in messages. `extends:` is resolved against folder of name. */
GD_CHECKED gd_status gd_recipe_parse(const char *name, const char *text, size_t bytes,
                                     const gd_recipe_opts *o, gd_recipe **out);
void gd_recipe_free(gd_recipe *r);

/* Where a key's value was given: "recipes/dcgan.yaml:7:10", "--set #2", "default". owner: r. */
const char *gd_recipe_origin(const gd_recipe *r, const char *key);
/* A complete recipe (every key that means something in it, no extends) that parses back to the same
 * values; with `origins` each line carries a comment that says where the value came from. *out
 * malloc'ed. */
GD_CHECKED gd_status gd_recipe_text(const gd_recipe *r, bool origins, char **out);
/* Hash of what decides the result (not log, checkpoint, data.workers, train.steps ...). */
uint64_t gd_recipe_fingerprint(const gd_recipe *r);
/* Keys whose values differ between two recipes, as malloc'ed text, one "key: a -> b" a line, empty
 * when none. must_match: only those a resumed run may not change. */
GD_CHECKED gd_status gd_recipe_diff(const gd_recipe *a, const gd_recipe *b, bool must_match,
                                    char **out);

/* The schema as JSON Schema text or as the Markdown of docs/recipe.md. *out malloc'ed. */
GD_CHECKED gd_status gd_schema_json(char **out);
GD_CHECKED gd_status gd_schema_markdown(char **out);
GD_CHECKED gd_status gd_schema_text(char **out); /* for the terminal */

#endif
