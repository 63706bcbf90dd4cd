/* The residual networks of WGAN-GP. Gulrajani et al. 2017, appendices C and F, as the authors' code has them: at 32 px
 * gan_cifar_resnet (width 128 everywhere, critic without norm), at 64 px the "good" networks of gan_64x64 (width 64 to
 * 512, layer norm in the critic). Their TensorFlow scopes give the names. Weights are uniform, He's law for convolutions
 * and Glorot's for shortcuts and dense layers. Generators normalise over the batch. */
#include "models/layers.h"

typedef struct resnet {
    gd__build *b;
    gd__norm norm;
    const char *scope;
} resnet;

static const char *scoped(const resnet *r, const char *name) {
    const char *text = gd_arena_printf(r->b->net->arena, "%s.%s", r->scope, name);
    if (!text && r->b->st == GD_OK) r->b->st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "names of a network");
    return text ? text : "";
}

static int conv(const resnet *r, int x, const char *name, int64_t channels, int kernel, bool bias, bool glorot) {
    return gd__conv(r->b, x, name,
                    (gd__conv_opts){.channels = channels,
                                    .kernel = kernel,
                                    .pad = GD__PAD((kernel - 1) / 2),
                                    .bias = bias,
                                    .rule = GD__INIT_GLOROT_UNIFORM,
                                    .has_rule = glorot});
}

static int dense(gd__build *b, int x, const char *name, int64_t units) {
    gd__init_rule rule = b->rule;
    if (!b->rule_given) b->rule = GD__INIT_GLOROT_UNIFORM;
    x = gd__dense(b, x, name, units, true);
    b->rule = rule;
    return x;
}

static int norm_relu(const resnet *r, int x, const char *name) {
    return gd__activate(r->b, gd__normalize(r->b, x, name, r->norm, false), GD__ACT_RELU, 0);
}

/* The 1x1 convolution of a block's shortcut. It commutes with doubling and with means of 2x2, so it stands on the smaller
 * map, where it costs a quarter, wherever the authors' code has it. */
static int shortcut(const resnet *r, int x, int64_t channels) {
    return conv(r, x, scoped(r, "Shortcut"), channels, 1, true, true);
}

/* Doubles the map in front of the first convolution. */
static int up(const resnet *r, int x, int64_t channels, bool first_bias) {
    gd__build *b = r->b;
    int y = norm_relu(r, x, scoped(r, "BN1"));
    y = conv(r, gd__upsample(b, y, 2), scoped(r, "Conv1"), channels, 3, first_bias, false);
    y = norm_relu(r, y, scoped(r, "BN2"));
    y = conv(r, y, scoped(r, "Conv2"), channels, 3, true, false);
    return gd__sum2(b, gd__upsample(b, shortcut(r, x, channels), 2), y);
}

/* Norm, ReLU, 3x3 to `inner` channels, norm, ReLU, 3x3 to `channels`. */
static int two_convs(const resnet *r, int x, int64_t inner, int64_t channels, bool first_bias) {
    int y = norm_relu(r, x, scoped(r, "BN1"));
    y = conv(r, y, scoped(r, "Conv1"), inner, 3, first_bias, false);
    y = norm_relu(r, y, scoped(r, "BN2"));
    return conv(r, y, scoped(r, "Conv2"), channels, 3, true, false);
}

/* ---- 32 px ---- */

static int generator_32(resnet *r, int64_t width) {
    static const char *const scopes[] = {"1", "2", "3"};
    gd__build *b = r->b;
    int x = gd__reshape(b, dense(b, GD__INPUT, "Input", 16 * width), 4, 4, width);
    for (int i = 0; i < 3; i++) {
        r->scope = scopes[i];
        x = up(r, x, width, true);
    }
    x = norm_relu(r, x, "OutputN");
    return gd__activate(b, conv(r, x, "Output", b->spec->channels, 3, true, true), gd__output_act(b), 0);
}

/* No activation in front of the image's first convolution. */
static int first_block(const resnet *r, int64_t width) {
    gd__build *b = r->b;
    int y = gd__activate(b, conv(r, GD__INPUT, scoped(r, "Conv1"), width, 3, true, false), GD__ACT_RELU, 0);
    y = gd__avgpool(b, conv(r, y, scoped(r, "Conv2"), width, 3, true, false), 2);
    return gd__sum2(b, shortcut(r, gd__avgpool(b, GD__INPUT, 2), width), y);
}

static int critic_32(resnet *r, int64_t width) {
    gd__build *b = r->b;
    r->scope = "1";
    int x = first_block(r, width);
    r->scope = "2";
    int y = gd__avgpool(b, two_convs(r, x, width, width, true), 2);
    x = gd__sum2(b, shortcut(r, gd__avgpool(b, x, 2), width), y);
    r->scope = "3";
    x = gd__sum2(b, x, two_convs(r, x, width, width, true));
    r->scope = "4";
    x = gd__sum2(b, x, two_convs(r, x, width, width, true));
    x = gd__spatial_mean(b, gd__activate(b, x, GD__ACT_RELU, 0));
    return dense(b, x, "Output", 1);
}

/* ---- 64 px ---- */

static int generator_64(resnet *r, int64_t width) {
    static const struct {
        const char *scope;
        int factor;
    } blocks[] = {{"Res1", 8}, {"Res2", 4}, {"Res3", 2}, {"Res4", 1}};
    gd__build *b = r->b;
    int x = gd__reshape(b, dense(b, GD__INPUT, "Input", 16 * 8 * width), 4, 4, 8 * width);
    for (int i = 0; i < 4; i++) {
        r->scope = blocks[i].scope;
        x = up(r, x, blocks[i].factor * width, false);
    }
    x = norm_relu(r, x, "OutputN");
    return gd__activate(b, conv(r, x, "Output", b->spec->channels, 3, true, false), gd__output_act(b), 0);
}

static int critic_64(resnet *r, int64_t width) {
    static const struct {
        const char *scope;
        int in, out;
    } blocks[] = {{"Res1", 1, 2}, {"Res2", 2, 4}, {"Res3", 4, 8}, {"Res4", 8, 8}};
    gd__build *b = r->b;
    int x = conv(r, GD__INPUT, "Input", width, 3, true, true);
    for (int i = 0; i < 4; i++) {
        r->scope = blocks[i].scope;
        int y = gd__avgpool(b, two_convs(r, x, blocks[i].in * width, blocks[i].out * width, false), 2);
        x = gd__sum2(b, shortcut(r, gd__avgpool(b, x, 2), blocks[i].out * width), y);
    }
    return dense(b, x, "Output", 1);
}

int gd__arch_resnet_gp(gd__build *b) {
    const gd_net_spec *n = b->spec;
    bool small = n->height == 32;
    int64_t width = n->width ? n->width : small ? 128 : 64;
    gd__norm usual = n->generator ? GD__NORM_BATCH : small ? GD__NORM_NONE : GD__NORM_LAYER;
    resnet r = {.b = b, .norm = gd__norm_read(b, "norm", n->norm, usual), .scope = ""};
    if (n->height != n->width_px || (n->height != 32 && n->height != 64))
        GD__BUILD_FAIL(b, "%s: resnet-gp makes images of 32x32 or 64x64, not %lldx%lld; set data.image.size",
                       gd__role(n), (long long)n->height, (long long)n->width_px);
    if (!b->rule_given) b->rule = GD__INIT_HE_UNIFORM;
    if (b->st != GD_OK) return 0;
    if (n->generator) return small ? generator_32(&r, width) : generator_64(&r, width);
    return small ? critic_32(&r, width) : critic_64(&r, width);
}
