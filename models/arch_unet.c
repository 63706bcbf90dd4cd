/* The U-Net of pix2pix. Isola et al. 2017, section 3.2.1 and appendix 6.1, with the names, channels and dropouts of
 * its public PyTorch code (unet_256: depth 8, unet_128: depth 7; smaller images: fewer of the inner levels). Sides may be
 * any multiples of 2^depth.
 *
 * Level l (1 outermost) halves its map with a 4x4 convolution; on the way up a transposed convolution doubles it and the
 * two maps of one size are concatenated, the skip first. All channels from level 4 on are 8 x width. Dropout (0.5 there)
 * follows the up convolutions of the levels that are neither innermost nor among the four outer ones: it is the noise of
 * this generator. Five levels have none of these; there the innermost drops out, as in the paper's own code.
 * Convolutions have biases with instance norm, and the last one always. */
#include "models/layers.h"

enum { WIDTH = 64, DEPTH = 8, DEPTH_MAX = 12, OUTER = 4 };

typedef struct unet {
    gd__build *b;
    int depth;
    int64_t width;
    gd__norm norm;
    bool bias;
} unet;

static int64_t channels_of(const unet *u, int level) { return u->width << (level < OUTER ? level - 1 : OUTER - 1); }

static const char *name_of(const unet *u, const char *prefix, int module) {
    const char *name = gd_arena_printf(u->b->net->arena, "%s.%d", prefix, module);
    if (!name && u->b->st == GD_OK) u->b->st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "names of a U-Net");
    return name ? name : "";
}

static gd__conv_opts conv_of(int64_t channels, bool bias) {
    return (gd__conv_opts){.channels = channels, .kernel = 4, .stride = 2, .pad = GD__PAD(1), .bias = bias};
}

/* Level `level` >= 2 and all inside it: x -> [x, up(x)]. Modules of a block, as nn.Sequential numbers them: 0 LeakyReLU,
 * 1 down, 2 norm, 3 the block inside, 4 ReLU, 5 up, 6 norm, 7 dropout; innermost: 0, 1, 2 ReLU, 3 up, 4 norm. */
static int block(const unet *u, int level, const char *prefix, int x) {
    gd__build *b = u->b;
    bool inner = level == u->depth;
    if (b->st != GD_OK) return 0;
    int y = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
    y = gd__conv(b, y, name_of(u, prefix, 1), conv_of(channels_of(u, level), u->bias));
    if (!inner) {
        y = gd__normalize(b, y, name_of(u, prefix, 2), u->norm, false);
        const char *inside = gd_arena_printf(b->net->arena, "%s.3.model", prefix);
        y = block(u, level + 1, inside ? inside : "", y);
    }
    y = gd__activate(b, y, GD__ACT_RELU, 0);
    y = gd__deconv(b, y, name_of(u, prefix, inner ? 3 : 5), conv_of(channels_of(u, level - 1), u->bias));
    y = gd__normalize(b, y, name_of(u, prefix, inner ? 4 : 6), u->norm, false);
    if (level > OUTER && (!inner || level == OUTER + 1)) y = gd__dropout(b, y, b->spec->dropout);
    return gd__concat2(b, x, y);
}

/* Given, or how often the smaller side can be halved, as far as the published depth. */
static int depth_of(gd__build *b) {
    const gd_net_spec *n = b->spec;
    int halvings = gd__halvings(n->height < n->width_px ? n->height : n->width_px, 1);
    int64_t depth = n->depth ? n->depth : halvings < DEPTH ? halvings : DEPTH;
    if (depth < 2 || depth > DEPTH_MAX) {
        GD__BUILD_FAIL(b, "generator.depth: a unet of %lld levels; expected 2 to %d", (long long)depth, DEPTH_MAX);
        return 0;
    }
    if (n->dropout > 0 && depth <= OUTER)
        GD__BUILD_FAIL(
            b,
            "generator.dropout: a unet drops out behind its %d outer levels, and one of %lld levels has none "
            "there; use larger images, or remove the key",
            OUTER, (long long)depth);
    const char *why = gd_arena_printf(b->net->arena, "a unet of %lld levels (generator.depth)", (long long)depth);
    gd__check_sides(b, why ? why : "a unet", (int64_t)1 << depth, (int64_t)1 << depth);
    return (int)depth;
}

int gd__arch_unet(gd__build *b) {
    const gd_net_spec *n = b->spec;
    unet u = {.b = b, .width = n->width ? n->width : WIDTH, .norm = gd__norm_read(b, "norm", n->norm, GD__NORM_BATCH)};
    u.bias = u.norm == GD__NORM_INSTANCE;
    u.depth = depth_of(b);
    if (!b->rule_given) b->norm_std = 0.02; /* weights N(0, .02), norm scales N(1, .02) */
    if (b->st != GD_OK) return 0;
    int x = gd__conv(b, GD__INPUT, "model.model.0", conv_of(u.width, u.bias));
    x = block(&u, 2, "model.model.1.model", x);
    x = gd__activate(b, x, GD__ACT_RELU, 0);
    x = gd__deconv(b, x, "model.model.3", conv_of(n->channels, true));
    return gd__activate(b, x, gd__output_act(b), 0);
}
