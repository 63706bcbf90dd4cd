/* The generator of CycleGAN. Johnson et al. 2016; Zhu et al. 2017, appendix 7.2, as the public PyTorch code has it:
 * c7s1-w, d2w, d4w, `depth` residual blocks, u2w, uw, c7s1-3, reflected borders, no activation after a block's sum.
 * 6 blocks below 256 pixels, 9 from there on. Every map is a function of the map before it alone, so any image whose
 * sides are multiples of 4 can be translated. */
#include "models/layers.h"

enum { WIDTH = 64, STRIDES = 2, BIG = 256, BLOCKS_MAX = 64 };

typedef struct resnet {
    gd__build *b;
    gd__norm norm;
    bool bias;
} resnet;

static int conv(const resnet *r, int x, const char *name, int64_t channels, int kernel, int stride, int pad) {
    return gd__conv(
        r->b, x, name,
        (gd__conv_opts){
            .channels = channels, .kernel = kernel, .stride = stride, .pad = GD__PAD(pad), .bias = r->bias});
}

/* The module of the norm exists with norm none, too. */
static int norm_relu(const resnet *r, gd__seq *s, int x) {
    x = gd__normalize(r->b, x, gd__seq_name(s), r->norm, false);
    gd__seq_skip(s);
    return gd__activate(r->b, x, GD__ACT_RELU, 0);
}

/* Modules of conv_block: 0 reflect, 1 conv, 2 norm, 3 ReLU, [4 dropout], reflect, conv, norm. */
static int residual(const resnet *r, const char *module, int x, int64_t channels) {
    gd__build *b = r->b;
    const char *prefix = gd_arena_printf(b->net->arena, "%s.conv_block", module);
    gd__seq s = {b, prefix ? prefix : module, 1};
    int y = conv(r, gd__reflect(b, x, 1), gd__seq_name(&s), channels, 3, 1, 0);
    y = norm_relu(r, &s, y);
    if (b->spec->dropout > 0) {
        y = gd__dropout(b, y, b->spec->dropout);
        gd__seq_skip(&s);
    }
    gd__seq_skip(&s);
    y = conv(r, gd__reflect(b, y, 1), gd__seq_name(&s), channels, 3, 1, 0);
    y = gd__normalize(b, y, gd__seq_name(&s), r->norm, false);
    return gd__sum2(b, x, y);
}

static int up(const resnet *r, gd__seq *s, int x, int64_t channels) {
    /* PyTorch's padding 1 with output_padding 1: one row and column less is cut at the end. */
    x = gd__deconv(
        r->b, x, gd__seq_name(s),
        (gd__conv_opts){.channels = channels, .kernel = 3, .stride = 2, .pad = {1, 0, 1, 0}, .bias = r->bias});
    return norm_relu(r, s, x);
}

int gd__arch_resnet(gd__build *b) {
    const gd_net_spec *n = b->spec;
    int64_t width = n->width ? n->width : WIDTH, blocks = n->depth ? n->depth : n->height >= BIG ? 9 : 6;
    resnet r = {.b = b, .norm = gd__norm_read(b, "norm", n->norm, GD__NORM_INSTANCE)};
    r.bias = r.norm == GD__NORM_INSTANCE;
    gd__seq s = {b, "model", 1};
    gd__check_sides(b, "a resnet", 1 << STRIDES, 2 << STRIDES); /* its smallest map is reflected, so 2 x 2 at least */
    if (blocks > BLOCKS_MAX)
        GD__BUILD_FAIL(b, "generator.depth: %lld residual blocks; expected at most %d", (long long)blocks, BLOCKS_MAX);
    if (!b->rule_given) b->norm_std = 0.02; /* weights N(0, .02), norm scales N(1, .02) */
    if (b->st != GD_OK) return 0;
    int x = conv(&r, gd__reflect(b, GD__INPUT, 3), gd__seq_name(&s), width, 7, 1, 0);
    x = norm_relu(&r, &s, x);
    for (int i = 1; i <= STRIDES; i++) {
        x = conv(&r, x, gd__seq_name(&s), width << i, 3, 2, 1);
        x = norm_relu(&r, &s, x);
    }
    for (int64_t i = 0; i < blocks; i++) x = residual(&r, gd__seq_name(&s), x, width << STRIDES);
    for (int i = STRIDES - 1; i >= 0; i--) x = up(&r, &s, x, width << i);
    gd__seq_skip(&s); /* reflected border */
    x = gd__conv(b, gd__reflect(b, x, 3), gd__seq_name(&s),
                 (gd__conv_opts){.channels = n->channels, .kernel = 7, .bias = true});
    return gd__activate(b, x, gd__output_act(b), 0);
}
