/* Discriminators that judge patches. Isola et al. 2017, appendix 6.1.2, as the public PyTorch code has them.
 *
 * patchgan: `depth` strided 4x4 convolutions (n_layers; 3: receptive field 70, 1: 16, 5: 286), one of stride 1, and one
 * to a map of verdicts. pixel: 1x1 convolutions, every pixel by itself. No norm on the first layer. Biases where no norm
 * follows, and with instance norm everywhere. */
#include "models/layers.h"

enum { WIDTH = 64, DEPTH = 3, DEPTH_MAX = 8, FACTOR_MAX = 8 };

typedef struct style {
    int64_t width;
    gd__norm norm;
    bool bias; /* of layers that a norm follows */
} style;

static style read_style(gd__build *b) {
    const gd_net_spec *n = b->spec;
    style s = {.width = n->width ? n->width : WIDTH, .norm = gd__norm_read(b, "norm", n->norm, GD__NORM_BATCH)};
    s.bias = s.norm == GD__NORM_INSTANCE;
    if (!b->rule_given) b->norm_std = 0.02; /* weights N(0, .02), norm scales N(1, .02) */
    return s;
}

/* Convolution, norm, LeakyReLU. */
static int layer(gd__build *b, gd__seq *s, style t, int x, gd__conv_opts o) {
    o.bias = t.bias;
    x = gd__conv(b, x, gd__seq_name(s), o);
    const char *norm = gd__seq_name(s); /* the module is there with norm none, too */
    x = gd__normalize(b, x, norm, t.norm, false);
    gd__seq_skip(s);
    return gd__activate(b, x, GD__ACT_LEAKY, 0.2);
}

static int64_t factor(int layer) { return layer < 3 ? (int64_t)1 << layer : FACTOR_MAX; }

int gd__arch_patchgan(gd__build *b) {
    const gd_net_spec *n = b->spec;
    style t = read_style(b);
    int depth = n->depth ? (int)(n->depth > DEPTH_MAX ? DEPTH_MAX + 1 : n->depth) : DEPTH;
    if (depth > DEPTH_MAX)
        GD__BUILD_FAIL(b, "discriminator.depth: a patchgan of %lld strided layers; expected 1 to %d",
                       (long long)n->depth, DEPTH_MAX);
    int64_t side = n->height < n->width_px ? n->height : n->width_px;
    if (side >> depth < 3)
        GD__BUILD_FAIL(b,
                       "discriminator: a patchgan of %d strided layers leaves %lld pixels of %lld, and two layers come "
                       "after them that need 3; use a smaller discriminator.depth",
                       depth, (long long)(side >> depth), (long long)side);
    if (b->st != GD_OK) return 0;
    gd__seq s = {b, "model", 0};
    int x = gd__conv(b, GD__INPUT, gd__seq_name(&s),
                     (gd__conv_opts){.channels = t.width, .kernel = 4, .stride = 2, .pad = GD__PAD(1), .bias = true});
    x = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
    gd__seq_skip(&s);
    for (int i = 1; i <= depth; i++)
        x = layer(b, &s, t, x,
                  (gd__conv_opts){
                      .channels = t.width * factor(i), .kernel = 4, .stride = i < depth ? 2 : 1, .pad = GD__PAD(1)});
    return gd__conv(b, x, gd__seq_name(&s),
                    (gd__conv_opts){.channels = 1, .kernel = 4, .pad = GD__PAD(1), .bias = true});
}

int gd__arch_pixel(gd__build *b) {
    style t = read_style(b);
    gd__seq s = {b, "net", 0};
    if (b->st != GD_OK) return 0;
    int x = gd__conv(b, GD__INPUT, gd__seq_name(&s), (gd__conv_opts){.channels = t.width, .kernel = 1, .bias = true});
    x = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
    gd__seq_skip(&s);
    x = layer(b, &s, t, x, (gd__conv_opts){.channels = 2 * t.width, .kernel = 1});
    return gd__conv(b, x, gd__seq_name(&s), (gd__conv_opts){.channels = 1, .kernel = 1, .bias = t.bias});
}
