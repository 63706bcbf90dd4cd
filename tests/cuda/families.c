/* tests/cuda/families.c -- see families.h. */
#include "families.h"

#define SQUARE(side, c) .height = (side), .width_px = (side), .channels = (c)

static const gd_layer_spec critic[] = {
    {.kind = "conv", .size = 8, .kernel = 4, .stride = 2, .pad = 1, .norm = "layer", .act = "leaky", .bias = -1},
    {.kind = "conv", .size = 6, .pad = 1, .norm = "instance", .act = "relu", .bias = -1},
    {.kind = "avgpool"},
    {.kind = "dropout", .rate = 0.3},
    {.kind = "conv", .size = 1, .pad = 1, .bias = -1},
};
static const gd_layer_spec maker[] = {
    {.kind = "dense", .size = 4 * 4 * 8, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "reshape", .shape = {4, 4, 8}},
    {.kind = "upsample"},
    {.kind = "conv", .size = 8, .pad = -1, .norm = "instance", .act = "leaky", .bias = -1},
    {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = -1},
};
static const gd_layer_spec labels[] = {
    {.kind = "conv", .size = 8, .kernel = 4, .stride = 2, .pad = 1, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "flatten"},
    {.kind = "maxout", .size = 12},
    {.kind = "dense", .size = 5, .bias = 1},
};

static const family list[] = {
    {"mlp",
     {.generator = {.arch = "mlp", SQUARE(8, 1), .latent = 10, .width = 24},
      .discriminator = {.arch = "mlp", SQUARE(8, 1), .width = 24},
      .latent = GD_LATENT_UNIFORM,
      .instance_noise = true}},
    {"points",
     {.generator = {.arch = "mlp", SQUARE(1, 2), .latent = 2, .width = 16},
      .discriminator = {.arch = "mlp", SQUARE(1, 2), .width = 16},
      .range = GD_RANGE_RAW,
      .loss = {.kind = GD_LOSS_WASSERSTEIN},
      .penalty = {.kind = GD_PENALTY_GRADIENT, .lambda = 0.1, .target = 1}}},
    {"dcgan",
     {.generator = {.arch = "dcgan", SQUARE(16, 3), .latent = 12, .width = 8},
      .discriminator = {.arch = "dcgan", SQUARE(16, 3), .width = 8},
      .latent = GD_LATENT_SPHERE}},
    {"dcgan-k5 spectral",
     {.generator = {.arch = "dcgan-k5", SQUARE(32, 3), .latent = 12, .width = 4},
      .discriminator = {.arch = "dcgan-k5", SQUARE(32, 3), .width = 4, .spectral = true},
      .loss = {.kind = GD_LOSS_HINGE}}},
    {"resnet-gp",
     {.generator = {.arch = "resnet-gp", SQUARE(32, 3), .latent = 12, .width = 8},
      .discriminator = {.arch = "resnet-gp", SQUARE(32, 3), .width = 8, .norm = "none"},
      .loss = {.kind = GD_LOSS_WASSERSTEIN},
      .penalty = {.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1, .pick = 2}}},
    {"layers dragan",
     {.generator = {.arch = "layers", SQUARE(8, 1), .latent = 5, .layers = maker, .layer_count = 5},
      .discriminator = {.arch = "layers", SQUARE(8, 1), .layers = critic, .layer_count = 5},
      .penalty = {.kind = GD_PENALTY_DRAGAN, .lambda = 10, .target = 1}}},
    {"blend r1",
     {.generator = {.arch = "dcgan", SQUARE(16, 1), .latent = 8, .width = 4},
      .discriminator = {.arch = "dcgan", SQUARE(16, 1), .width = 4, .norm = "instance"},
      .loss = {.kind = GD_LOSS_BLEND, .minimax = 0.25, .label_real = 0.9},
      .penalty = {.kind = GD_PENALTY_R1, .lambda = 10}}},
    {"pix2pix",
     {.topology = GD_TOPOLOGY_PAIRED,
      .generator = {.arch = "unet", SQUARE(32, 3), .in_channels = 1, .width = 8, .dropout = 0.5},
      .discriminator = {.arch = "patchgan", SQUARE(32, 4), .width = 8, .depth = 2},
      .loss = {.d_scale = 0.5},
      .terms = {.l1 = 100}}},
    {"cyclegan",
     {.topology = GD_TOPOLOGY_TWO_WAY,
      .generator = {.arch = "resnet", SQUARE(16, 3), .in_channels = 3, .width = 8, .depth = 1},
      .discriminator = {.arch = "patchgan", SQUARE(16, 3), .width = 8, .depth = 1, .norm = "instance"},
      .loss = {.kind = GD_LOSS_LEAST_SQUARES, .g_scale = 2},
      .terms = {.cycle_a = 10, .cycle_b = 10, .identity = 0.5},
      .pool = true}},
    {"discogan",
     {.topology = GD_TOPOLOGY_TWO_WAY,
      .generator = {.arch = "disco", SQUARE(16, 1), .in_channels = 3, .width = 4, .output = "sigmoid"},
      .discriminator = {.arch = "disco", SQUARE(16, 1), .width = 4},
      .loss = {.d_scale = 0.5, .g_scale = 0.1},
      .terms = {.cycle_a = 1, .cycle_b = 1, .cycle_square = true, .feature = 0.9, .rate = true},
      .range = GD_RANGE_UNIT}},
    {"classifier",
     {.topology = GD_TOPOLOGY_CLASSIFIER,
      .discriminator = {.arch = "layers", SQUARE(8, 2), .classes = 5, .layers = labels, .layer_count = 4}}},
};

const family *families(int *count) {
    *count = (int)(sizeof list / sizeof *list);
    return list;
}
