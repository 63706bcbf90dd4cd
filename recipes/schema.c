#include "recipes/schema.h"

#include <math.h>
#include <string.h>

#define AT(member) offsetof(gd_recipe, member)
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MANY       1e15 /* "any number of": keeps integers exact in a double */

// clang-format off
#define ANY_GAN "topology!classifier"

/* Architectures, and which of them read a key; models/net.c has the same table. Lists of words for `needs`. */
#define G_WITH_WIDTH   "mlp dcgan dcgan-k5 unet resnet resnet-gp disco"
#define G_WITH_DEPTH   "mlp unet resnet"
#define G_WITH_NORM    "mlp dcgan dcgan-k5 unet resnet resnet-gp disco"
#define G_WITH_DROPOUT "mlp unet resnet"
#define D_WITH_WIDTH   "mlp dcgan dcgan-k5 patchgan pixel resnet-gp disco"
#define D_WITH_DEPTH   "mlp patchgan"
#define D_WITH_NORM    "mlp dcgan dcgan-k5 patchgan pixel resnet-gp disco"
#define D_WITH_DROPOUT "mlp"

/* The rows that a generator and a discriminator share. `p` is the section, `m` the field, `R` the letter in the
 * lists above, `who` what the keys of every architecture need. */
#define NET_ROWS(p, m, R, who, net_also, width_also, depth_help)                                        \
    {p ".width", GD__INT, AT(m.width), "0",                                                        \
     "base number of channels, or units of an mlp's hidden layers; 0: the architecture's own",     \
     .low = 1, .high = 65536, .off = 0, .flags = GD__OFF, .needs = p ".arch=" R##_WITH_WIDTH,      \
     .also = "dim hidden channels features units " width_also},                                    \
    {p ".depth", GD__INT, AT(m.depth), "0",                                                        \
     depth_help "; 0: the architecture's own", .low = 1, .high = 64, .off = 0,                     \
     .flags = GD__OFF, .needs = p ".arch=" R##_WITH_DEPTH, .also = "num_layers " net_also},        \
    {p ".norm", GD__CHOICE, AT(m.norm), NULL,                                                      \
     "normalisation of hidden layers; null: the architecture's own",                               \
     .choices = WORDS("none", "batch", "instance", "layer"), .needs = p ".arch=" R##_WITH_NORM,    \
     .also = "norm_layer normalization batchnorm", .hints = "bn=batch in=instance ln=layer"},      \
    {p ".act", GD__CHOICE, AT(m.act), NULL,                                                        \
     "activation of hidden layers; null: the architecture's own",                                  \
     .choices = WORDS("relu", "leaky", "maxout"), .needs = p ".arch=mlp",                          \
     .also = "activation nonlinearity", .hints = "lrelu=leaky leakyrelu=leaky leaky_relu=leaky"},  \
    {p ".spectral", GD__BOOL, AT(m.spectral), "false",                                             \
     "spectral norm: every weight is divided by its largest singular value (Miyato et al. 2018)",  \
     .needs = who, .also = "spectral_norm sn use_spectral"},                \
    {p ".dropout_input", GD__FLOAT, AT(m.dropout_input), "0",                                      \
     "share of the input that dropout clears", .low = 0, .high = 1, .flags = GD__HIGH_OPEN,        \
     .needs = p ".arch=mlp"},                                                                      \
    {p ".dropout", GD__FLOAT, AT(m.dropout), "0",                                                  \
     "share of hidden outputs that dropout clears, where the architecture has dropout",            \
     .low = 0, .high = 1, .flags = GD__HIGH_OPEN, .needs = p ".arch=" R##_WITH_DROPOUT,            \
     .also = "dropout_rate drop use_dropout no_dropout"},                                          \
    {p ".init", GD__CHOICE, AT(m.init), "default",                                                 \
     "how weights start; `default` is what was published with the architecture",                   \
     .choices = WORDS("default", "normal", "xavier", "kaiming", "uniform", "pytorch", "he_uniform",\
                      "glorot_uniform"), .needs = who,                      \
     .also = "init_type initializer", .hints = "glorot=xavier he=kaiming"},                        \
    {p ".init_gain", GD__FLOAT, AT(m.init_gain), "0",                                              \
     "normal: standard deviation, uniform: half width, else a factor; 0: the initialiser's own",   \
     .low = 0, .high = 100, .flags = GD__LOW_OPEN | GD__OFF, .off = 0, .needs = p ".init=normal xavier uniform"},\
    {p ".layers", GD__LAYERS, AT(m.layers), NULL,                                                  \
     "the network as a list of layers, input first", .needs = p ".arch=layers"}

#define OPTIMIZER_ROWS(p, m, who, lr_also)                                                            \
    {p ".kind", GD__CHOICE, AT(m.kind), "adam", "update rule",                                     \
     .choices = WORDS("adam", "rmsprop", "sgd"), .also = "optimizer type name",                    \
     .hints = "momentum=sgd rms=rmsprop", .needs = who},                                                      \
    {p ".lr", GD__FLOAT, AT(m.lr), "0.0002", "learning rate", .low = 0, .high = 1000,              \
     .flags = GD__LOW_OPEN, .needs = who, .also = "learning_rate rate step_size " lr_also},                      \
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
     "L2: this times the parameter is added to its gradient", .low = 0, .high = 1, .needs = who, .also = "l2 wd"},\
    {p ".clip_norm", GD__FLOAT, AT(m.clip_norm), "0",                                              \
     "gradients are scaled down to this norm; 0: off", .low = 0, .high = 1e6,                      \
     .flags = GD__LOW_OPEN | GD__OFF, .off = 0, .needs = who, .also = "grad_clip gradient_clipping max_norm"},   \
    {p ".decay", GD__CHOICE, AT(m.decay), "none", "how the learning rate falls",                   \
     .choices = WORDS("none", "linear", "exponential"), .needs = who, .also = "scheduler lr_policy lr_decay"},   \
    {p ".decay_rate", GD__FLOAT, AT(m.decay_rate), "1.000004",                                     \
     "exponential: the learning rate is divided by this after every update", .low = 1,             \
     .high = 10, .flags = GD__LOW_OPEN, .needs = p ".decay=exponential", .also = "gamma"},         \
    {p ".lr_floor", GD__FLOAT, AT(m.lr_floor), "0",                                                \
     "exponential: the learning rate falls no further", .low = 0, .high = 1000,                    \
     .needs = p ".decay=exponential", .also = "min_lr lr_min"},                                    \
    {p ".decay_start", GD__INT, AT(m.decay_start), "0",                                            \
     "linear: the iteration from which the learning rate falls to 0; -1: in the middle of the run",\
     .low = 0, .high = MANY, .off = -1, .flags = GD__OFF, .needs = p ".decay=linear"},                                                                  \
    {p ".decay_end", GD__INT, AT(m.decay_end), "0",                                                \
     "linear: the iteration at which it is 0; 0: at train.steps", .low = 0, .high = MANY,          \
     .needs = p ".decay=linear"}

#define WATCH_HINTS "off=none log=warn abort=stop restore=rollback"

const gd__key gd__keys[] = {
    {"name", GD__TEXT, AT(name), NULL,
     "of the run and its folder; default: the file's name without ending",
     .flags = GD__FREE | GD__OWN, .also = "experiment run title"},
    {"seed", GD__INT, AT(seed), "1", "decides every random draw", .low = 0, .high = 0x1p63,
     .also = "random_seed manual_seed manualseed"},
    {"topology", GD__CHOICE, AT(topology), "noise",
     "noise: images from random vectors; paired: from the other image of a pair; two-way: between two domains without "
     "pairs, in both directions; classifier: no GAN, the discriminator learns labels, for measures of images",
     .choices = WORDS("noise", "paired", "two-way", "classifier"), .also = "dataset_mode model",
     .hints = "gan=noise unconditional=noise pix2pix=paired aligned=paired cyclegan=two-way cycle_gan=two-way "
              "unaligned=two-way unpaired=two-way discogan=two-way"},

    {"data.source", GD__CHOICE, AT(data.source), NULL, "where training samples come from",
     .flags = GD__REQUIRED,
     .choices = WORDS("fashion-mnist", "fashion32", "edges2fashion", "bags2shoes", "stacked-fashion", "fashion-hflip",
                      "fashion-invert", "idx", "cifar10", "folder", "pairs", "split-pairs", "unpaired", "tar", "ring",
                      "grid", "swiss-roll", "synthetic", "synthetic-pairs"),
     .also = "dataset dataset_name set kind type",
     .hints = "mnist=idx fashion=fashion-mnist fmnist=fashion-mnist imagefolder=folder cifar=cifar10 cifar-10=cifar10 "
              "8gaussians=ring 25gaussians=grid swissroll=swiss-roll random=synthetic aligned=pairs "
              "unaligned=unpaired webdataset=tar facades=pairs maps=pairs edges2shoes=pairs horse2zebra=unpaired "
              "celeba=folder lsun=folder"},
    {"data.path", GD__TEXT, AT(data.path), NULL, "file or folder; null: the source's usual place",
     .flags = GD__FREE, .needs = "data.source!" GD__POINTS " synthetic synthetic-pairs",
     .also = "dataroot root dir data_dir datadir file"},
    {"data.direction", GD__CHOICE, AT(data.direction), "AtoB",
     "which domain is the first, that of the input; BtoA exchanges the two",
     .choices = WORDS("AtoB", "BtoA"), .needs = "data.source=" GD__DOMAINS, .also = "which_direction",
     .hints = "atob=AtoB btoa=BtoA A2B=AtoB B2A=BtoA a2b=AtoB b2a=BtoA"},
    {"data.flip", GD__BOOL, AT(data.flip), "false", "mirror every second image at random",
     .needs = "data.source!" GD__POINTS, .also = "hflip mirror random_flip no_flip"},
    {"data.count", GD__INT, AT(data.count), "0",
     "use only so many samples; 0: all, or as many as a synthetic source makes", .low = 1,
     .high = MANY, .off = 0, .flags = GD__OFF, .also = "max_dataset_size limit"},
    {"data.workers", GD__INT, AT(data.workers), "1", "threads of each rank that decode ahead",
     .low = 1, .high = 256, .flags = GD__FREE, .also = "num_workers threads num_threads nthreads"},
    {"data.depth", GD__INT, AT(data.depth), "2", "batches that are decoded ahead", .low = 1,
     .high = 256, .flags = GD__FREE, .also = "prefetch prefetch_factor"},
    {"data.resident", GD__CHOICE, AT(data.resident), "auto",
     "whether the decoded set stays in a GPU's memory instead of travelling batch by batch; auto: where it takes at most "
     "half of what is free there and at least as many samples as it has are drawn; without a GPU it changes nothing",
     .choices = WORDS("auto", "always", "never"), .flags = GD__FREE, .also = "in_memory cache cache_dataset device_data",
     .hints = "true=always false=never yes=always no=never on=always off=never gpu=always host=never"},
    {"data.image.size", GD__INT, AT(data.image.size), "0",
     "side in pixels after resize and centre crop; 0: as stored", .low = 1, .high = 16384, .off = 0,
     .flags = GD__OFF, .needs = "data.source!" GD__POINTS,
     .also = "image_size imagesize img_size resolution crop_size crop finesize fine_size"},
    {"data.image.channels", GD__INT, AT(data.image.channels), "0",
     "1 grey, 3 colour; 0: as stored", .low = 1, .high = 3, .off = 0, .flags = GD__OFF,
     .needs = "data.source!" GD__POINTS, .also = "nc input_nc output_nc"},
    {"data.image.load", GD__INT, AT(data.image.load), "0",
     "images are first resized to this side, whatever their shape, then `size` pixels are cut out at a random place; "
     "0: no", .low = 1, .high = 16384, .off = 0, .flags = GD__OFF, .needs = "data.source!" GD__POINTS,
     .also = "load_size loadsize scale_size jitter"},

    {"batch.global", GD__INT, AT(batch.global), "64",
     "samples of one update over all ranks; must divide by their number", .low = 1, .high = 1 << 24,
     .also = "batch_size batchsize minibatch size total"},

    {"generator.arch", GD__CHOICE, AT(generator.arch), NULL,
     "network: a named architecture, or `layers` for a list of your own", .flags = GD__REQUIRED,
     .choices = WORDS("mlp", "dcgan", "dcgan-k5", "unet", "resnet", "resnet-gp", "disco", "layers"),
     .needs = ANY_GAN, .also = "model net network architecture type netg which_model_netg",
     .hints = "unet_256=unet unet_128=unet unet_32=unet resnet_9blocks=resnet resnet_6blocks=resnet u-net=unet "
              "discogan=disco resnet_gp=resnet-gp dcgan_k5=dcgan-k5"},
    NET_ROWS("generator", generator, G, ANY_GAN, "n_blocks n_downs n_residual_blocks num_downs n_layers", "ngf",
             "hidden layers of an mlp, levels of a unet, or residual blocks of a resnet"),
    {"generator.latent", GD__INT, AT(generator.latent), "100", "length of the random vector",
     .low = 1, .high = 65536, .needs = "topology=noise", .also = "nz z_dim zdim latent_dim noise_dim z"},
    {"generator.latent_kind", GD__CHOICE, AT(generator.latent_kind), "normal",
     "its law: standard normal, uniform in [-1, 1), uniform with variance 1, or normal divided by its length",
     .choices = WORDS("normal", "uniform", "unit-uniform", "sphere"), .needs = "topology=noise",
     .also = "noise_type z_dist prior noise", .hints = "gaussian=normal spherical=sphere"},
    {"generator.output", GD__CHOICE, AT(generator.output), NULL,
     "last activation; tanh means images in [-1, 1], sigmoid in [0, 1]; null: tanh, and none for points",
     .choices = WORDS("tanh", "sigmoid", "none"), .needs = ANY_GAN,
     .also = "output_activation last_activation", .hints = "linear=none"},

    {"discriminator.arch", GD__CHOICE, AT(discriminator.arch), NULL,
     "network: a named architecture, or `layers` for a list of your own", .flags = GD__REQUIRED,
     .choices = WORDS("mlp", "dcgan", "dcgan-k5", "patchgan", "pixel", "resnet-gp", "disco", "layers"),
     .also = "model net network architecture type netd which_model_netd",
     .hints = "basic=patchgan n_layers=patchgan 1x1=pixel discogan=disco resnet_gp=resnet-gp dcgan_k5=dcgan-k5"},
    NET_ROWS("discriminator", discriminator, D, NULL, "n_layers_d n_layers", "ndf",
             "hidden layers of an mlp, or strided layers of a patchgan (3 see 70 x 70 pixels)"),

    {"loss.kind", GD__CHOICE, AT(loss.kind), "non-saturating", "adversarial loss",
     .choices = WORDS("non-saturating", "minimax", "least-squares", "wasserstein", "hinge", "blend"),
     .needs = ANY_GAN, .also = "gan_mode adversarial objective type",
     .hints = "ns=non-saturating vanilla=non-saturating bce=non-saturating gan=non-saturating "
              "ls=least-squares lsgan=least-squares mse=least-squares wgan=wasserstein "
              "wgangp=wasserstein wgan-gp=wasserstein wgan_gp=wasserstein w=wasserstein"},
    {"loss.d_scale", GD__FLOAT, AT(loss.d_scale), "1", "factor on the discriminator's loss",
     .low = 0, .high = 1000, .flags = GD__LOW_OPEN, .needs = ANY_GAN},
    {"loss.g_scale", GD__FLOAT, AT(loss.g_scale), "1",
     "factor on the generator's adversarial loss; 0: it learns from `loss.terms` alone",
     .low = 0, .high = 1000, .needs = ANY_GAN, .also = "lambda_gan lambda_adv gan_weight"},
    {"loss.label_real", GD__FLOAT, AT(loss.label_real), "1",
     "target for real samples: below 1 is one-sided label smoothing", .low = 0.5, .high = 1,
     .flags = GD__LOW_OPEN, .needs = "loss.kind=non-saturating minimax blend",
     .also = "label_smoothing real_label smoothing"},
    {"loss.minimax", GD__FLOAT, AT(loss.minimax), "0.5",
     "blend: share of minimax in the generator's loss, the rest is non-saturating", .low = 0, .high = 1,
     .needs = "loss.kind=blend", .also = "minimax_share blend"},
    {"loss.clip", GD__FLOAT, AT(loss.clip), "0",
     "every discriminator parameter is kept in [-clip, clip]; 0: off", .low = 0, .high = 100,
     .off = 0, .flags = GD__LOW_OPEN | GD__OFF, .needs = "loss.kind=wasserstein",
     .also = "clip_value weight_clip clamp clamp_lower clamp_upper clipping"},
    {"loss.penalty.kind", GD__CHOICE, AT(loss.penalty.kind), "none",
     "gradient: on the norm of the discriminator's gradient by its input (WGAN-GP); r1: on its square at real samples; "
     "dragan: on its norm around real samples",
     .choices = WORDS("none", "gradient", "r1", "dragan"), .needs = ANY_GAN,
     .hints = "gp=gradient wgan-gp=gradient wgan_gp=gradient R1=r1"},
    {"loss.penalty.lambda", GD__FLOAT, AT(loss.penalty.lambda), "10", "weight of the penalty",
     .low = 0, .high = 1e9, .flags = GD__LOW_OPEN, .needs = "loss.penalty.kind!none",
     .also = "lambda_gp gp_weight gp_lambda weight gamma r1_gamma"},
    {"loss.penalty.at", GD__CHOICE, AT(loss.penalty.at), "between",
     "where the gradient is taken: at a random point between a real and a generated sample, or at one of the two",
     .choices = WORDS("between", "real", "fake"), .needs = "loss.penalty.kind=gradient", .also = "type where points",
     .hints = "mixed=between interpolates=between generated=fake"},
    {"loss.penalty.target", GD__FLOAT, AT(loss.penalty.target), "1",
     "norm that costs nothing", .low = 0, .high = 1e9, .needs = "loss.penalty.kind=gradient dragan",
     .also = "constant center"},
    {"loss.penalty.one_sided", GD__BOOL, AT(loss.penalty.one_sided), "false",
     "only norms above the target cost", .needs = "loss.penalty.kind=gradient dragan", .also = "onesided one_side"},
    {"loss.penalty.every", GD__INT, AT(loss.penalty.every), "1",
     "only in every n-th discriminator update, there n times as strong", .low = 1, .high = 1000000,
     .needs = "loss.penalty.kind!none", .also = "interval d_reg_every lazy"},
    {"loss.penalty.fraction", GD__FLOAT, AT(loss.penalty.fraction), "1",
     "share of the samples that get the penalty: 1, 0.5, 0.25 or one n-th; rank 0 draws which", .low = 0, .high = 1,
     .flags = GD__LOW_OPEN, .needs = "loss.penalty.kind!none", .also = "share subset"},
    {"loss.noise.start", GD__FLOAT, AT(loss.noise.start), "0",
     "standard deviation of normal noise on every image that the discriminator sees, at the first iteration",
     .low = 0, .high = 100, .needs = ANY_GAN, .also = "std sigma instance_noise"},
    {"loss.noise.end", GD__FLOAT, AT(loss.noise.end), "0",
     "standard deviation after `steps` iterations, reached linearly", .low = 0, .high = 100, .needs = ANY_GAN},
    {"loss.noise.steps", GD__INT, AT(loss.noise.steps), "0", "iterations over which the noise goes from start to end",
     .low = 0, .high = MANY, .needs = ANY_GAN},
    {"loss.terms.l1", GD__FLOAT, AT(loss.terms.l1), "0",
     "weight of the mean absolute difference of the generated image and the pair's other one", .low = 0, .high = 1e6,
     .needs = "topology=paired", .also = "lambda_l1 l1_weight lambda"},
    {"loss.terms.cycle_a", GD__FLOAT, AT(loss.terms.cycle_a), "0",
     "weight of how far an image of the first domain is from itself after a way there and back", .low = 0, .high = 1e6,
     .needs = "topology=two-way", .also = "lambda_a cycle lambda_cyc reconstruction"},
    {"loss.terms.cycle_b", GD__FLOAT, AT(loss.terms.cycle_b), "0",
     "the same for images of the second domain", .low = 0, .high = 1e6,
     .needs = "topology=two-way", .also = "lambda_b"},
    {"loss.terms.cycle_kind", GD__CHOICE, AT(loss.terms.cycle_kind), "l1",
     "that distance: mean absolute (l1) or mean squared (l2) difference", .choices = WORDS("l1", "l2"),
     .needs = "topology=two-way", .hints = "mse=l2 mae=l1 L1=l1 L2=l2"},
    {"loss.terms.identity", GD__FLOAT, AT(loss.terms.identity), "0",
     "weight, relative to the cycle's, of how much a generator changes an image that is in its target domain already",
     .low = 0, .high = 1e6, .needs = "topology=two-way", .also = "lambda_identity lambda_idt idt"},
    {"loss.terms.feature", GD__FLOAT, AT(loss.terms.feature), "0",
     "weight of feature matching: the distance of the mean features that the discriminator has of real and of "
     "generated images", .low = 0, .high = 1e6, .needs = "topology=noise two-way",
     .also = "feature_matching fm lambda_feat"},
    {"loss.terms.rate.enabled", GD__BOOL, AT(loss.terms.rate.on), "false",
     "cycle terms times a rate, adversarial and feature terms times one minus it", .needs = "topology=two-way"},
    {"loss.terms.rate.start", GD__FLOAT, AT(loss.terms.rate.start), "0.01", "the rate in the first iterations",
     .low = 0, .high = 1, .needs = "loss.terms.rate.enabled=true", .also = "starting_rate"},
    {"loss.terms.rate.end", GD__FLOAT, AT(loss.terms.rate.end), "0.5", "the rate afterwards",
     .low = 0, .high = 1, .needs = "loss.terms.rate.enabled=true", .also = "default_rate"},
    {"loss.terms.rate.steps", GD__INT, AT(loss.terms.rate.steps), "10000", "how many the first iterations are",
     .low = 0, .high = MANY, .needs = "loss.terms.rate.enabled=true", .also = "gan_curriculum"},

    {"schedule.d_steps", GD__INT, AT(schedule.d_steps), "1",
     "discriminator updates of one iteration", .low = 1, .high = 1000, .needs = ANY_GAN,
     .also = "n_critic ncritic critic_iters diters d_iters k critic_steps"},
    {"schedule.g_steps", GD__INT, AT(schedule.g_steps), "1", "generator updates of one iteration",
     .low = 1, .high = 1000, .needs = ANY_GAN, .also = "g_iters update_interval"},
    {"schedule.simultaneous", GD__BOOL, AT(schedule.simultaneous), "false",
     "take both gradients from the same parameters, then update both", .needs = ANY_GAN,
     .also = "simultaneous_updates"},
    {"schedule.share_fake", GD__BOOL, AT(schedule.share_fake), "false",
     "one generator and one discriminator update, next to each other, use the same fake batch", .needs = ANY_GAN,
     .also = "reuse_fake shared_fake"},
    {"schedule.first", GD__CHOICE, AT(schedule.first), "discriminator",
     "which of the two that share a batch is updated first",
     .choices = WORDS("discriminator", "generator"), .needs = "schedule.share_fake=true",
     .also = "order", .hints = "d=discriminator g=generator D=discriminator G=generator"},
    {"schedule.alternate", GD__INT, AT(schedule.alternate), "0",
     "so many iterations train the discriminator only, the next so many the generator only, and so on; 0: off",
     .low = 1, .high = MANY, .off = 0, .flags = GD__OFF, .needs = ANY_GAN, .also = "alternating sgd_alt"},
    {"schedule.warmup.steps", GD__INT, AT(schedule.warmup.steps), "0",
     "the first iterations, which use `warmup.d_steps`", .low = 0, .high = MANY, .needs = ANY_GAN},
    {"schedule.warmup.d_steps", GD__INT, AT(schedule.warmup.d_steps), "0",
     "discriminator updates of a warm-up iteration; 0: none are planned", .low = 1, .high = 100000,
     .off = 0, .flags = GD__OFF, .needs = ANY_GAN},
    {"schedule.warmup.every", GD__INT, AT(schedule.warmup.every), "0",
     "every n-th iteration is a warm-up iteration too; 0: none", .low = 0, .high = MANY, .needs = ANY_GAN},
    {"schedule.adaptive.kind", GD__CHOICE, AT(schedule.adaptive.kind), "none",
     "by what rank 0 changes d_steps while training: the discriminator's accuracy on real and generated samples, or "
     "the norm of its gradient over that of the generator's",
     .choices = WORDS("none", "accuracy", "grad-ratio"), .needs = ANY_GAN,
     .hints = "grad_ratio=grad-ratio gradient=grad-ratio acc=accuracy"},
    {"schedule.adaptive.low", GD__FLOAT, AT(schedule.adaptive.low), "0.6",
     "below it the discriminator gets one update more", .low = 0, .high = 1e6,
     .needs = "schedule.adaptive.kind!none", .also = "lower threshold_low"},
    {"schedule.adaptive.high", GD__FLOAT, AT(schedule.adaptive.high), "0.9",
     "above it the discriminator gets one update less", .low = 0, .high = 1e6,
     .needs = "schedule.adaptive.kind!none", .also = "upper threshold_high"},
    {"schedule.adaptive.min", GD__INT, AT(schedule.adaptive.min), "1", "fewest discriminator updates",
     .low = 1, .high = 1000, .needs = "schedule.adaptive.kind!none", .also = "min_d_steps"},
    {"schedule.adaptive.max", GD__INT, AT(schedule.adaptive.max), "5", "most discriminator updates",
     .low = 1, .high = 1000, .needs = "schedule.adaptive.kind!none", .also = "max_d_steps"},
    {"schedule.adaptive.every", GD__INT, AT(schedule.adaptive.every), "100",
     "iterations whose mean decides, and after which d_steps may change", .low = 1, .high = MANY,
     .needs = "schedule.adaptive.kind!none", .also = "interval window"},

    {"pool.size", GD__INT, AT(pool.size), "0",
     "generated images of each domain that are kept, over all ranks; the discriminator sees one of them in place of "
     "every second new one; 0: off", .low = 1, .high = 1 << 20, .off = 0, .flags = GD__OFF,
     .needs = "topology=two-way", .also = "pool_size poolsize buffer"},

    {"watch.collapse", GD__CHOICE, AT(watch.collapse), "warn",
     "generated samples that grow alike: what to do", .choices = WORDS("none", "warn", "stop", "rollback"), .hints = WATCH_HINTS,
     .flags = GD__FREE, .needs = ANY_GAN, .also = "mode_collapse"},
    {"watch.vanished", GD__CHOICE, AT(watch.vanished), "warn",
     "a generator that hardly gets a gradient: what to do", .choices = WORDS("none", "warn", "stop", "rollback"), .hints = WATCH_HINTS,
     .flags = GD__FREE, .needs = ANY_GAN, .also = "vanishing"},
    {"watch.exploding", GD__CHOICE, AT(watch.exploding), "warn",
     "a discriminator whose loss or gradient grows without bound: what to do",
     .choices = WORDS("none", "warn", "stop", "rollback"), .hints = WATCH_HINTS, .flags = GD__FREE, .needs = ANY_GAN, .also = "explosion"},
    {"watch.saturated", GD__CHOICE, AT(watch.saturated), "warn",
     "a discriminator that is never wrong: what to do", .choices = WORDS("none", "warn", "stop", "rollback"), .hints = WATCH_HINTS,
     .flags = GD__FREE, .needs = ANY_GAN, .also = "saturation"},
    {"watch.every", GD__INT, AT(watch.every), "500", "steps between looks at samples, for `collapse`",
     .low = 1, .high = MANY, .flags = GD__FREE, .needs = "watch.collapse!none"},

    {"watchdog.limit", GD__FLOAT, AT(watchdog.limit), "60",
     "seconds without any movement after which a rank counts as hanging and the job ends (exit code 86); 0: never",
     .low = 0, .high = 1e6, .flags = GD__LOW_OPEN | GD__OFF | GD__FREE, .off = 0, .also = "timeout hang_timeout"},
    {"watchdog.patience", GD__FLOAT, AT(watchdog.patience), "1800",
     "the same for start-up, loading, reading data, saving, samples and the first steps", .low = 0, .high = 1e7,
     .flags = GD__LOW_OPEN | GD__FREE, .needs = "watchdog.limit!0"},
    {"watchdog.factor", GD__FLOAT, AT(watchdog.factor), "20",
     "never earlier than so many times the median step, or the longest such phase so far", .low = 1, .high = 1e6,
     .flags = GD__FREE, .needs = "watchdog.limit!0"},

    {"comm.overlap", GD__BOOL, AT(comm.overlap), "true",
     "gradients travel between ranks while they compute what can do without them: the same numbers, sooner",
     .flags = GD__FREE, .also = "overlap_comm overlap communication async_allreduce"},
    {"comm.bucket", GD__INT, AT(comm.bucket), "128",
     "kilobytes of gradients that travel together; 16 such buckets are under way between hosts",
     .low = 1, .high = 1048576, .flags = GD__FREE,
     .also = "bucket_cap_mb bucket_size allreduce_bucket_size fusion_threshold"},

    {"optimizer.shard", GD__BOOL, AT(optimizer.shard), "false",
     "every rank keeps the moments of its part of the parameters only (ZeRO-1): less memory, the same numbers",
     .flags = GD__FREE, .also = "zero zero1 zero_stage zero_optimization shard_optimizer"},
    OPTIMIZER_ROWS("optimizer.g", optimizer.g, ANY_GAN, "lrg lr_g"),
    OPTIMIZER_ROWS("optimizer.d", optimizer.d, NULL, "lrd lr_d"),

    {"ema.decay", GD__FLOAT, AT(ema.decay), "0",
     "share of the averaged generator that is kept at each step; 0: no average", .low = 0, .high = 1,
     .flags = GD__HIGH_OPEN, .needs = ANY_GAN, .also = "ema_decay ema_beta moving_average"},
    {"ema.start", GD__INT, AT(ema.start), "0", "iteration at which averaging starts", .low = 0,
     .high = MANY, .needs = "ema.decay!0"},
    {"ema.warmup", GD__BOOL, AT(ema.warmup), "false",
     "the average's update t keeps at most (1 + t) / (10 + t), so that the start is forgotten soon",
     .needs = "ema.decay!0", .also = "ema_rampup use_num_updates rampup"},

    {"train.steps", GD__INT, AT(train.steps), NULL,
     "iterations of the whole run; schedules count on it", .low = 1, .high = MANY,
     .flags = GD__REQUIRED | GD__FREE,
     .also = "epochs n_epochs num_epochs niter iterations iters max_steps total_steps max_iter"},

    {"numerics.precision", GD__CHOICE, AT(numerics.precision), "fp32",
     "of activations and convolutions; sums, losses and parameters stay fp32",
     .choices = WORDS("fp32", "bf16"), .also = "dtype amp mixed_precision",
     .hints = "float32=fp32 f32=fp32 float=fp32 bfloat16=bf16"},
    {"numerics.tf32", GD__BOOL, AT(numerics.tf32), "false",
     "convolutions and products in fp32 round their factors where that is faster: on a GPU to TF32 (10 bits); on a CPU with "
     "AMX those of convolutions to two bf16 halves (16 bits); elsewhere it changes nothing",
     .flags = GD__LATER, .also = "allow_tf32 tensor_cores float32_matmul_precision"},
    {"numerics.kernels", GD__CHOICE, AT(numerics.kernels), "rule",
     "which of several implementations computes a convolution: by a rule over its shape; the fastest of those that rank "
     "0 times at the start, as kernels.txt of the run then says; or the rule without Winograd and without "
     "halves (`numerics.tf32`), so that every product of a sum is taken",
     .choices = WORDS("rule", "timed", "direct"), .flags = GD__LATER,
     .also = "autotune benchmark cudnn_benchmark winograd convolution", .hints = "auto=timed exact=direct fixed=rule"},
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
    {"numerics.on_nonfinite", GD__CHOICE, AT(numerics.on_nonfinite), "skip",
     "when a loss, gradient or running statistic is not finite: the update is skipped, after 5 such steps in a row the "
     "run goes back to the newest checkpoint from before, with other random numbers and data, and after 3 times it "
     "ends; or it goes back at once; or it ends at once",
     .choices = WORDS("skip", "rollback", "stop"), .flags = GD__FREE, .also = "nan nonfinite", .hints = "abort=stop"},

    {"checkpoint.every", GD__INT, AT(checkpoint.every), "1000",
     "steps between checkpoints; 0: only at the end", .low = 0, .high = MANY, .flags = GD__FREE,
     .also = "save_every save_freq save_interval snapshot"},
    {"checkpoint.keep", GD__INT, AT(checkpoint.keep), "3", "newest checkpoints that are kept",
     .low = 1, .high = 1000000, .flags = GD__FREE, .also = "max_to_keep keep_last"},
    {"checkpoint.wait", GD__BOOL, AT(checkpoint.wait), "false",
     "training waits while a checkpoint is written, which needs no memory for a copy of the state",
     .flags = GD__FREE, .also = "blocking synchronous async"},

    {"log.every", GD__INT, AT(log.every), "50", "steps between lines of metrics", .low = 1,
     .high = MANY, .flags = GD__FREE, .also = "log_interval print_freq log_every"},
    {"log.samples.every", GD__INT, AT(log.samples.every), "500",
     "steps between sample sheets; 0: none", .low = 0, .high = MANY, .flags = GD__FREE, .needs = ANY_GAN,
     .also = "sample_interval sample_every display_freq"},
    {"log.samples.n", GD__INT, AT(log.samples.n), "64", "images on a sample sheet", .low = 1,
     .high = 4096, .flags = GD__FREE, .needs = ANY_GAN, .also = "n_samples num_samples"},
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
    {"loss.penalty", "A penalty on the discriminator's slope (Gulrajani et al. 2017; r1: Mescheder et al. 2018; "
                     "dragan: Kodali et al. 2017)."},
    {"loss.noise", "Noise on all images that the discriminator sees (Sonderby et al. 2017)."},
    {"loss.terms", "What the generator minimises beside the adversarial loss. 0: off."},
    {"loss.terms.rate", "A balance between cycle and adversarial terms that changes once (DiscoGAN's code)."},
    {"schedule", "Who is updated how often. An iteration is `d_steps` discriminator updates, then "
                 "`g_steps` generator updates."},
    {"schedule.warmup", "Iterations with more discriminator updates (Arjovsky et al. 2017: the first "
                        "25 and every 500th use 100)."},
    {"schedule.adaptive",
     "A number of discriminator updates that follows the training: within `min` and `max`, one more "
     "or less at a time, decided by rank 0 from numbers reduced over all ranks, and logged."},
    {"pool", "A history of generated images for the discriminators (Shrivastava et al. 2017; CycleGAN: 50)."},
    {"watch", "Known sicknesses of training: none (do not look), warn, stop the run, or rollback to the newest "
              "checkpoint from before it."},
    {"watchdog", "Who notices that a rank hangs, and when (docs/cluster.md)."},
    {"comm", "How ranks exchange gradients (docs/scaling.md)."},
    {"optimizer", "One optimiser for each side, and where its state lies."},
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
_Static_assert(sizeof gd__sections / sizeof *gd__sections <= GD__SECTIONS_MAX, "GD__SECTIONS_MAX is too small");

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
