/* models/init.c -- initial distributions of weights by rule, and drawing them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "models/layers.h"

static const char *const rule_names[GD__INIT_RULE_COUNT] = {"normal",  "xavier",     "kaiming",       "uniform",
                                                            "pytorch", "he_uniform", "glorot_uniform"};

bool gd__init_find(const char *name, gd__init_rule *out) {
    for (int i = 0; i < GD__INIT_RULE_COUNT; i++) {
        if (strcmp(name, rule_names[i]) == 0) {
            *out = (gd__init_rule)i;
            return true;
        }
    }
    return false;
}

/* PyTorch counts the fans of a weight by its stored shape, so a transposed convolution, stored
 * [in,out,R,S], has them swapped. */
static double torch_fan_in(gd__fans f) { return (f.transposed ? f.out : f.in) * f.taps; }

static gd_init normal(double std) { return (gd_init){GD_INIT_NORMAL, 0, std}; }
static gd_init uniform(double half) { return (gd_init){GD_INIT_UNIFORM, -half, half}; }
static gd_init uniform_of_std(double std) { return uniform(std * sqrt(3)); }

/* Fans of improved_wgan_training: only 1 / stride^2 of the taps meet in one place of the larger image. */
static gd_init wgan_gp(gd__fans f, bool he) {
    double stride2 = f.stride * f.stride;
    double in = f.in * f.taps / (f.transposed ? stride2 : 1);
    double out = f.out * f.taps / (f.transposed ? 1 : stride2);
    if (f.taps == 1 && f.stride == 0) return uniform_of_std(sqrt(he ? 2 / f.in : 2 / (f.in + f.out)));
    return uniform_of_std(sqrt((he ? 4 : 2) / (in + out)));
}

gd_init gd__init_weight(gd__init_rule rule, double gain, gd__fans f) {
    switch (rule) {
    case GD__INIT_XAVIER: return normal((gain > 0 ? gain : 1) * sqrt(2 / ((f.in + f.out) * f.taps)));
    case GD__INIT_KAIMING: return normal(sqrt(2 / torch_fan_in(f)));
    case GD__INIT_UNIFORM: return uniform(gain > 0 ? gain : 0.05);
    case GD__INIT_PYTORCH: return uniform(1 / sqrt(torch_fan_in(f)));
    case GD__INIT_HE_UNIFORM: return wgan_gp(f, true);
    case GD__INIT_GLOROT_UNIFORM: return wgan_gp(f, false);
    case GD__INIT_PYTORCH_0: return uniform(1 / sqrt(f.in * f.taps));
    default: return normal(gain > 0 ? gain : 0.02);
    }
}

gd_init gd__init_bias(gd__init_rule rule, gd__fans f) {
    if (rule == GD__INIT_PYTORCH) return uniform(1 / sqrt(torch_fan_in(f)));
    return rule == GD__INIT_PYTORCH_0 ? uniform(1 / sqrt(f.in * f.taps)) : (gd_init){GD_INIT_CONST, 0, 0};
}

/* Draws of a tensor. The name is the sample: 48 bits of its hash, which leaves the counter's step bits alone. */
static void draw(const char *name, gd_rng rng, bool normal, int64_t count, float *out) {
    uint64_t sample = gd_hash64(name, strlen(name), 0) >> 16;
    const int64_t block = 1 << 20; /* a multiple of 4, fits the draw count's 32 bits */
    for (int64_t at = 0; at < count; at += block) {
        uint32_t some = (uint32_t)(count - at < block ? count - at : block);
        if (normal) gd_rng_normal(&rng, sample, (uint32_t)at, some, out + at);
        else gd_rng_uniform(&rng, sample, (uint32_t)at, some, out + at);
    }
}

/* Normal coordinates give every direction the same chance. The network's own purpose tells equal names of several
 * networks apart. */
static void draw_direction(const char *name, uint64_t seed, uint32_t purpose, int64_t count, float *out) {
    gd_rng rng = {.seed = seed, .purpose = GD_PURPOSE_SPECTRAL | (purpose & 0xffff0000u) | (purpose & 0xffu) << 24};
    double squares = 0;
    draw(name, rng, true, count, out);
    for (int64_t i = 0; i < count; i++) squares += (double)out[i] * out[i];
    for (int64_t i = 0; i < count; i++) out[i] = (float)(out[i] / sqrt(squares));
}

void gd_net_init_param(const gd_net *n, int index, uint64_t seed, uint32_t purpose, float *out) {
    const gd_param_info *p = &n->params[index];
    int64_t count = gd_shape_count(p->shape);
    if (p->init.kind == GD_INIT_DIRECTION) {
        draw_direction(p->name, seed, purpose, count, out);
        return;
    }
    if (p->init.kind == GD_INIT_CONST) {
        for (int64_t i = 0; i < count; i++) out[i] = (float)p->init.a;
        return;
    }
    draw(p->name, (gd_rng){.seed = seed, .purpose = purpose}, p->init.kind == GD_INIT_NORMAL, count, out);
    float scale = (float)(p->init.kind == GD_INIT_NORMAL ? p->init.b : p->init.b - p->init.a);
    for (int64_t i = 0; i < count; i++) out[i] = (float)p->init.a + scale * out[i];
}
