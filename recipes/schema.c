#include "recipes/schema.h"

#include <math.h>
#include <string.h>

#define AT(member) offsetof(gd_recipe, member)
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MANY       1e15 /* "any number of": keeps integers exact in a double */

// clang-format off
/* The rows that a generator and a discriminator share. `p` is the section, `m` the field. */
#define NET_ROWS(p, m, width_also)                                                                 \
    {p ".arch", GD__CHOICE, AT(m.arch), NULL,                                                      \
     "network: a named architecture, or `layers` for a list of your own", .flags = GD__REQUIRED,   \
     .choices = WORDS("mlp", "dcgan", "layers"), .also = "model net network architecture type"},   \
    {p ".width", GD__INT, AT(m.width), "0",                                                        \
     "base number of channels, or units of an mlp's hidden layers; 0: the architecture's own",     \
     .low = 1, .high = 65536, .off = 0, .flags = GD__OFF, .needs = p ".arch=mlp dcgan",            \
     .also = "dim hidden channels features units " width_also},                                    \
    {p ".depth", GD__INT, AT(m.depth), "0",                                                        \
     "number of hidden layers; 0: the architecture's own", .low = 1, .high = 64, .off = 0,         \
     .flags = GD__OFF, .needs = p ".arch=mlp", .also = "n_layers num_layers"},                     \
    {p ".norm", GD__CHOICE, AT(m.norm), NULL,                                                      \
     "normalisation of hidden layers; null: the architecture's own",                               \
     .choices = WORDS("none", "batch", "instance", "layer"), .needs = p ".arch=mlp dcgan",         \
     .also = "norm_layer normalization batchnorm", .hints = "bn=batch in=instance ln=layer"},      \
    {p ".act", GD__CHOICE, AT(m.act), NULL,                                                        \
     "activation of hidden layers; null: the architecture's own",                                  \
     .choices = WORDS("relu", "leaky", "maxout"), .needs = p ".arch=mlp",                          \
     .also = "activation nonlinearity", .hints = "lrelu=leaky leakyrelu=leaky leaky_relu=leaky"},  \
    {p ".dropout_input", GD__FLOAT, AT(m.dropout_input), "0",                                      \
     "share of the input that dropout clears", .low = 0, .high = 1, .flags = GD__HIGH_OPEN,        \
     .needs = p ".arch=mlp"},                                                                      \
    {p ".dropout", GD__FLOAT, AT(m.dropout), "0",                                                  \
     "share of each hidden layer's output that dropout clears", .low = 0, .high = 1,               \
     .flags = GD__HIGH_OPEN, .needs = p ".arch=mlp", .also = "dropout_rate drop"},                 \
    {p ".init", GD__CHOICE, AT(m.init), "default",                                                 \
     "how weights start; `default` is what was published with the architecture",                   \
     .choices = WORDS("default", "normal", "xavier", "kaiming", "uniform"),                        \
     .also = "init_type initializer", .hints = "glorot=xavier he=kaiming"},                        \
    {p ".init_gain", GD__FLOAT, AT(m.init_gain), "0",                                              \
     "normal: standard deviation, uniform: half width, else a factor; 0: the initialiser's own",   \
     .low = 0, .high = 100, .flags = GD__LOW_OPEN | GD__OFF, .off = 0, .needs = p ".init=normal xavier uniform"},\
    {p ".layers", GD__LAYERS, AT(m.layers), NULL,                                                  \
     "the network as a list of layers, input first", .needs = p ".arch=layers"}

#define OPTIMIZER_ROWS(p, m, lr_also)                                                              \
    {p ".kind", GD__CHOICE, AT(m.kind), "adam", "update rule",                                     \
     .choices = WORDS("adam", "rmsprop", "sgd"), .also = "optimizer type name",                    \
     .hints = "momentum=sgd rms=rmsprop"},                                                         \
    {p ".lr", GD__FLOAT, AT(m.lr), "0.0002", "learning rate", .low = 0, .high = 1000,              \
     .flags = GD__LOW_OPEN, .also = "learning_rate rate step_size " lr_also},                      \
    {p ".betas", GD__FLOATS, AT(m.beta1), "[0.5, 0.999]",                                          \
     "decay of the running mean and of the running square", .count = 2, .low = 0, .high = 1,       \
     .flags = GD__HIGH_OPEN, .needs = p ".kind=adam", .also = "beta1 beta2 beta b1 b2"},           \
    {p ".eps", GD__FLOAT, AT(m.eps), "1e-08", "added to the root in the denominator", .low = 0,    \
     .high = 1, .flags = GD__LOW_OPEN, .needs = p ".kind=adam rmsprop", .also = "epsilon"},        \
    {p ".alpha", GD__FLOAT, AT(m.alpha), "0.99", "decay of the running square", .low = 0,          \
     .high = 1, .flags = GD__HIGH_OPEN, .needs = p ".kind=rmsprop", .also = "rho"},                \
    {p ".momentum", GD__FLOAT, AT(m.momentum), "0", "share of the last step that is kept",         \
     .low = 0, .high = 1, .flags = GD__HIGH_OPEN, .needs = p ".kind=sgd"},                         \
    {p ".momentum_final", GD__FLOAT, AT(m.momentum_final), "-1",                                   \
     "momentum after `momentum_steps`, reached linearly; -1: constant", .low = 0, .high = 1,       \
     .off = -1, .flags = GD__HIGH_OPEN | GD__OFF, .needs = p ".kind=sgd"},                         \
    {p ".momentum_steps", GD__INT, AT(m.momentum_steps), "0",                                      \
     "iterations over which momentum goes to `momentum_final`", .low = 0, .high = MANY,            \
     .needs = p ".kind=sgd"},                                                                      \
    {p ".weight_decay", GD__FLOAT, AT(m.weight_decay), "0",                                        \
     "L2: this times the parameter is added to its gradient", .low = 0, .high = 1, .also = "l2 wd"},\
    {p ".clip_norm", GD__FLOAT, AT(m.clip_norm), "0",                                              \
     "gradients are scaled down to this norm; 0: off", .low = 0, .high = 1e6,                      \
     .flags = GD__LOW_OPEN | GD__OFF, .off = 0, .also = "grad_clip gradient_clipping max_norm"},   \
    {p ".decay", GD__CHOICE, AT(m.decay), "none", "how the learning rate falls",                   \
     .choices = WORDS("none", "linear", "exponential"), .also = "scheduler lr_policy lr_decay"},   \
    {p ".decay_rate", GD__FLOAT, AT(m.decay_rate), "1.000004",                                     \
     "exponential: the learning rate is divided by this after every update", .low = 1,             \
     .high = 10, .flags = GD__LOW_OPEN, .needs = p ".decay=exponential", .also = "gamma"},         \
    {p ".lr_floor", GD__FLOAT, AT(m.lr_floor), "0",                                                \
     "exponential: the learning rate falls no further", .low = 0, .high = 1000,                    \
     .needs = p ".decay=exponential", .also = "min_lr lr_min"},                                    \
    {p ".decay_start", GD__INT, AT(m.decay_start), "0",                                            \
     "linear: the iteration from which the learning rate falls to 0", .low = 0, .high = MANY,      \
     .needs = p ".decay=linear"},                                                                  \
    {p ".decay_end", GD__INT, AT(m.decay_end), "0",                                                \
     "linear: the iteration at which it is 0; 0: at train.steps", .low = 0, .high = MANY,          \
     .needs = p ".decay=linear"}

const gd__key gd__keys[] = {
    {"name", GD__TEXT, AT(name), NULL,
     "of the run and its folder; default: the file's name without ending",
     .flags = GD__FREE | GD__OWN, .also = "experiment run title"},
    {"seed", GD__INT, AT(seed), "1", "decides every random draw", .low = 0, .high = 0x1p63,
     .also = "random_seed manual_seed manualseed"},
    {"topology", GD__CHOICE, AT(topology), "noise",
     "noise: a generator makes images from random vectors, a discriminator judges them",
     .choices = WORDS("noise"), .hints = "gan=noise unconditional=noise"},

    {"data.source", GD__CHOICE, AT(data.source), NULL, "where training samples come from",
     .flags = GD__REQUIRED,
     .choices = WORDS("fashion-mnist", "idx", "folder", "ring", "grid", "swiss-roll", "synthetic"),
     .also = "dataset dataset_name set kind type",
     .hints = "mnist=idx fashion=fashion-mnist fmnist=fashion-mnist imagefolder=folder "
              "8gaussians=ring 25gaussians=grid swissroll=swiss-roll random=synthetic"},
    {"data.path", GD__TEXT, AT(data.path), NULL, "file or folder; null: the source's usual place",
     .flags = GD__FREE, .needs = "data.source=fashion-mnist idx folder",
     .also = "dataroot root dir data_dir datadir file"},
    {"data.flip", GD__BOOL, AT(data.flip), "false", "mirror every second image at random",
     .needs = "data.source!ring grid swiss-roll", .also = "hflip mirror random_flip"},
    {"data.count", GD__INT, AT(data.count), "0",
     "use only so many samples; 0: all, or as many as a synthetic source makes", .low = 1,
     .high = MANY, .off = 0, .flags = GD__OFF, .also = "max_dataset_size limit"},
    {"data.workers", GD__INT, AT(data.workers), "1", "threads of each rank that decode ahead",
     .low = 1, .high = 256, .flags = GD__FREE, .also = "num_workers threads num_threads"},
    {"data.depth", GD__INT, AT(data.depth), "2", "batches that are decoded ahead", .low = 1,
     .high = 256, .flags = GD__FREE, .also = "prefetch prefetch_factor"},
    {"data.image.size", GD__INT, AT(data.image.size), "0",
     "side in pixels after resize and centre crop; 0: as stored", .low = 1, .high = 16384, .off = 0,
     .flags = GD__OFF, .needs = "data.source!ring grid swiss-roll",
     .also = "image_size imagesize img_size resolution load_size"},
    {"data.image.channels", GD__INT, AT(data.image.channels), "0",
     "1 grey, 3 colour; 0: as stored", .low = 1, .high = 3, .off = 0, .flags = GD__OFF,
     .needs = "data.source!ring grid swiss-roll", .also = "nc input_nc output_nc"},

    {"batch.global", GD__INT, AT(batch.global), "64",
     "samples of one update over all ranks; must divide by their number", .low = 1, .high = 1 << 24,
     .also = "batch_size batchsize minibatch size total"},

    NET_ROWS("generator", generator, "ngf"),
    {"generator.latent", GD__INT, AT(generator.latent), "100", "length of the random vector",
     .low = 1, .high = 65536, .also = "nz z_dim zdim latent_dim noise_dim z"},
    {"generator.latent_kind", GD__CHOICE, AT(generator.latent_kind), "normal",
     "its law: standard normal, or uniform in [-1, 1)", .choices = WORDS("normal", "uniform"),
     .also = "noise_type z_dist prior", .hints = "gaussian=normal"},
    {"generator.output", GD__CHOICE, AT(generator.output), NULL,
     "last activation; tanh means images in [-1, 1], sigmoid in [0, 1]; null: the architecture's own",
     .choices = WORDS("tanh", "sigmoid", "none"), .also = "output_activation last_activation"},
    NET_ROWS("discriminator", discriminator, "ndf"),

    {"loss.kind", GD__CHOICE, AT(loss.kind), "non-saturating", "adversarial loss",
     .choices = WORDS("non-saturating", "minimax", "least-squares", "wasserstein", "hinge"),
     .also = "gan_mode adversarial objective type",
     .hints = "ns=non-saturating vanilla=non-saturating bce=non-saturating gan=non-saturating "
              "ls=least-squares lsgan=least-squares mse=least-squares wgan=wasserstein "
              "wgangp=wasserstein wgan-gp=wasserstein wgan_gp=wasserstein w=wasserstein"},
    {"loss.d_scale", GD__FLOAT, AT(loss.d_scale), "1", "factor on the discriminator's loss",
     .low = 0, .high = 1000, .flags = GD__LOW_OPEN},
    {"loss.label_real", GD__FLOAT, AT(loss.label_real), "1",
     "target for real samples: below 1 is one-sided label smoothing", .low = 0.5, .high = 1,
     .flags = GD__LOW_OPEN, .needs = "loss.kind=non-saturating minimax",
     .also = "label_smoothing real_label smoothing"},
    {"loss.clip", GD__FLOAT, AT(loss.clip), "0",
     "every discriminator parameter is kept in [-clip, clip]; 0: off", .low = 0, .high = 100,
     .off = 0, .flags = GD__LOW_OPEN | GD__OFF, .needs = "loss.kind=wasserstein",
     .also = "clip_value weight_clip clamp clamp_lower clamp_upper clipping"},
    {"loss.penalty.kind", GD__CHOICE, AT(loss.penalty.kind), "none",
     "gradient: on the norm of the discriminator's gradient by its input, between real and generated samples",
     .choices = WORDS("none", "gradient"), .hints = "gp=gradient wgan-gp=gradient"},
    {"loss.penalty.lambda", GD__FLOAT, AT(loss.penalty.lambda), "10", "weight of the penalty",
     .low = 0, .high = 1e9, .flags = GD__LOW_OPEN, .needs = "loss.penalty.kind=gradient",
     .also = "lambda_gp gp_weight gp_lambda weight gamma"},
    {"loss.penalty.target", GD__FLOAT, AT(loss.penalty.target), "1",
     "norm that costs nothing", .low = 0, .high = 1e9, .needs = "loss.penalty.kind=gradient",
     .also = "constant center"},
    {"loss.penalty.every", GD__INT, AT(loss.penalty.every), "1",
     "only in every n-th discriminator update (this version: 1)", .low = 1, .high = 1000000,
     .needs = "loss.penalty.kind=gradient", .also = "interval d_reg_every"},

    {"schedule.d_steps", GD__INT, AT(schedule.d_steps), "1",
     "discriminator updates of one iteration", .low = 1, .high = 1000,
     .also = "n_critic ncritic critic_iters diters d_iters k critic_steps"},
    {"schedule.g_steps", GD__INT, AT(schedule.g_steps), "1", "generator updates of one iteration",
     .low = 1, .high = 1000, .also = "g_iters"},
    {"schedule.simultaneous", GD__BOOL, AT(schedule.simultaneous), "false",
     "take both gradients from the same parameters, then update both", .also = "simultaneous_updates"},
    {"schedule.share_fake", GD__BOOL, AT(schedule.share_fake), "false",
     "the generator update reuses the fake batch of the discriminator update before it",
     .also = "reuse_fake shared_fake"},
    {"schedule.warmup.steps", GD__INT, AT(schedule.warmup.steps), "0",
     "the first iterations, which use `warmup.d_steps`", .low = 0, .high = MANY},
    {"schedule.warmup.d_steps", GD__INT, AT(schedule.warmup.d_steps), "0",
     "discriminator updates of a warm-up iteration; 0: none are planned", .low = 1, .high = 100000,
     .off = 0, .flags = GD__OFF},
    {"schedule.warmup.every", GD__INT, AT(schedule.warmup.every), "0",
     "every n-th iteration is a warm-up iteration too; 0: none", .low = 0, .high = MANY},
    {"schedule.adaptive.kind", GD__CHOICE, AT(schedule.adaptive.kind), "none",
     "a rule by which rank 0 changes d_steps while training", .choices = WORDS("none")},

    OPTIMIZER_ROWS("optimizer.g", optimizer.g, "lrg lr_g"),
    OPTIMIZER_ROWS("optimizer.d", optimizer.d, "lrd lr_d"),

    {"ema.decay", GD__FLOAT, AT(ema.decay), "0",
     "share of the averaged generator that is kept at each step; 0: no average", .low = 0, .high = 1,
     .flags = GD__HIGH_OPEN, .also = "ema_decay ema_beta moving_average"},
    {"ema.start", GD__INT, AT(ema.start), "0", "iteration at which averaging starts", .low = 0,
     .high = MANY, .needs = "ema.decay!0"},

    {"train.steps", GD__INT, AT(train.steps), NULL,
     "iterations of the whole run; schedules count on it", .low = 1, .high = MANY,
     .flags = GD__REQUIRED | GD__FREE,
     .also = "epochs n_epochs num_epochs niter iterations iters max_steps total_steps max_iter"},

    {"numerics.precision", GD__CHOICE, AT(numerics.precision), "fp32",
     "of activations and convolutions; sums, losses and parameters stay fp32",
     .choices = WORDS("fp32", "bf16"), .also = "dtype amp mixed_precision",
     .hints = "float32=fp32 f32=fp32 float=fp32 bfloat16=bf16"},
    {"numerics.shards", GD__INT, AT(numerics.shards), "0",
     "parts of the global batch that are summed in a fixed order, so that every number of ranks "
     "that divides it gives the same bits; 0: one per rank", .low = 1, .high = 65536, .off = 0,
     .flags = GD__OFF},
    {"numerics.batch_stats", GD__CHOICE, AT(numerics.batch_stats), "global",
     "batch norm sees the global batch, or each rank its part", .choices = WORDS("global", "rank"),
     .also = "sync_bn syncbn", .hints = "local=rank sync=global"},
    {"numerics.check_every", GD__INT, AT(numerics.check_every), "100",
     "steps between comparisons of all ranks' parameters; 0: only when saving", .low = 0,
     .high = MANY, .flags = GD__FREE},
    {"numerics.on_nonfinite", GD__CHOICE, AT(numerics.on_nonfinite), "stop",
     "what happens when a loss or gradient is not finite", .choices = WORDS("stop"),
     .flags = GD__FREE},

    {"checkpoint.every", GD__INT, AT(checkpoint.every), "1000",
     "steps between checkpoints; 0: only at the end", .low = 0, .high = MANY, .flags = GD__FREE,
     .also = "save_every save_freq save_interval snapshot"},
    {"checkpoint.keep", GD__INT, AT(checkpoint.keep), "3", "newest checkpoints that are kept",
     .low = 1, .high = 1000000, .flags = GD__FREE, .also = "max_to_keep keep_last"},

    {"log.every", GD__INT, AT(log.every), "50", "steps between lines of metrics", .low = 1,
     .high = MANY, .flags = GD__FREE, .also = "log_interval print_freq log_every"},
    {"log.samples.every", GD__INT, AT(log.samples.every), "500",
     "steps between sample sheets; 0: none", .low = 0, .high = MANY, .flags = GD__FREE,
     .also = "sample_interval sample_every display_freq"},
    {"log.samples.n", GD__INT, AT(log.samples.n), "64", "images on a sample sheet", .low = 1,
     .high = 4096, .flags = GD__FREE, .also = "n_samples num_samples"},
};
// clang-format on

const int gd__key_count = sizeof gd__keys / sizeof *gd__keys;
_Static_assert(sizeof gd__keys / sizeof *gd__keys <= GD__KEYS_MAX, "GD__KEYS_MAX is too small");
_Static_assert(offsetof(gd_recipe_optimizer, beta2) == offsetof(gd_recipe_optimizer, beta1) + sizeof(double),
               "betas is read into two doubles in a row");
_Static_assert(offsetof(gd_recipe_net, layer_count) == offsetof(gd_recipe_net, layers) + sizeof(gd_recipe_layer *),
               "the number of layers stands behind their list");

const gd__section gd__sections[] = {
    {"data", "Where samples come from and how they are prepared."},
    {"data.image", "What an image looks like when it reaches the network."},
    {"batch", "How many samples an update sees."},
    {"generator", "The network that makes samples."},
    {"discriminator", "The network that judges samples."},
    {"loss", "What the two networks minimise."},
    {"loss.penalty", "A penalty on the discriminator's slope (Gulrajani et al. 2017)."},
    {"schedule", "Who is updated how often. An iteration is `d_steps` discriminator updates, then "
                 "`g_steps` generator updates."},
    {"schedule.warmup", "Iterations with more discriminator updates (Arjovsky et al. 2017: the first "
                        "25 and every 500th use 100)."},
    {"schedule.adaptive", "Schedules that react to the training."},
    {"optimizer", "One optimiser for each side."},
    {"optimizer.g", "Of the generator."},
    {"optimizer.d", "Of the discriminator."},
    {"ema", "A running average of the generator's parameters, used for samples."},
    {"train", "How long."},
    {"numerics", "Precision, and what is guaranteed about the result."},
    {"checkpoint", "When the training state is saved."},
    {"log", "What the run reports."},
    {"log.samples", "Sheets of generated images."},
};
const int gd__section_count = sizeof gd__sections / sizeof *gd__sections;

int gd__key_find(const char *name) {
    for (int i = 0; i < gd__key_count; i++)
        if (!strcmp(gd__keys[i].name, name)) return i;
    return -1;
}

bool gd__is_section(const char *name) {
    for (int i = 0; i < gd__section_count; i++)
        if (!strcmp(gd__sections[i].name, name)) return true;
    return false;
}

bool gd__key_in(const char *name, const char *section, const char **leaf) {
    size_t n = strlen(section);
    if (n) {
        if (strncmp(name, section, n) || name[n] != '.') return false;
        name += n + 1;
    }
    if (strchr(name, '.')) return false;
    *leaf = name;
    return true;
}
