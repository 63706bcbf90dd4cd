/* DiscoGAN's networks. Kim et al. 2017, section 3.3, as the authors' code has them at 64 px: a light encoder-decoder
 * without skips, and a DCGAN discriminator whose inner maps are features for matching. No biases.
 *
 * The image is halved until its smaller side is 4 to 7 pixels: 4 times at 64 px as published, one level fewer at 32 px
 * (so the discriminator has two feature layers there, not three). Sides of the generator's input may be any multiples of
 * 2^levels. The authors' images are in [0, 1] and their generators end in a sigmoid; here recipes say `output: sigmoid`.
 *
 * Weights start as PyTorch 0.1 left them: U(+-1 / sqrt(in channels x taps)), norm scales U(0, 1). */
#include "models/layers.h"

enum { WIDTH = 64, SMALLEST = 4, DEPTH_MAX = 8 };

static int depth_of(gd__build *b) {
    const gd_net_spec *n = b->spec;
    int depth = gd__halvings(n->height < n->width_px ? n->height : n->width_px, SMALLEST);
    if (!n->generator && n->height != n->width_px)
        GD__BUILD_FAIL(b, "discriminator: disco takes square images, not %lldx%lld", (long long)n->height,
                       (long long)n->width_px);
    if (depth > DEPTH_MAX)
        GD__BUILD_FAIL(b, "%s: disco takes image sides up to 2047, not %lldx%lld", gd__role(n), (long long)n->height,
                       (long long)n->width_px);
    const char *why = gd_arena_printf(b->net->arena, "disco halves the image %d times", depth);
    if (b->st == GD_OK) gd__check_sides(b, why ? why : "disco", (int64_t)1 << depth, 4 * SMALLEST);
    return depth;
}

static gd__conv_opts halve(int64_t channels) {
    return (gd__conv_opts){.channels = channels, .kernel = 4, .stride = 2, .pad = GD__PAD(1)};
}

static int generator(gd__build *b, int depth, int64_t width, gd__norm norm) {
    gd__seq s = {b, "main", 0};
    int x = GD__INPUT;
    for (int i = 0; i < depth; i++) {
        x = gd__conv(b, x, gd__seq_name(&s), halve(width << i));
        if (i) x = gd__normalize(b, x, gd__seq_name(&s), norm, false);
        x = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
        gd__seq_skip(&s);
    }
    for (int i = depth - 2; i >= 0; i--) {
        x = gd__deconv(b, x, gd__seq_name(&s), halve(width << i));
        x = gd__normalize(b, x, gd__seq_name(&s), norm, false);
        x = gd__activate(b, x, GD__ACT_RELU, 0);
        gd__seq_skip(&s);
    }
    x = gd__deconv(b, x, gd__seq_name(&s), halve(b->spec->channels));
    return gd__activate(b, x, gd__output_act(b), 0);
}

static const char *numbered(gd__build *b, const char *what, int number) {
    const char *name = gd_arena_printf(b->net->arena, "%s%d", what, number);
    if (!name && b->st == GD_OK) b->st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "names of a network");
    return name ? name : "";
}

static int discriminator(gd__build *b, int depth, int64_t width, gd__norm norm) {
    int x = GD__INPUT;
    for (int i = 0; i < depth; i++) {
        x = gd__conv(b, x, numbered(b, "conv", i + 1), halve(width << i));
        if (i) x = gd__normalize(b, x, numbered(b, "bn", i + 1), norm, false);
        x = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
        if (i) gd__tap(b, x);
    }
    x = gd__conv(b, x, numbered(b, "conv", depth + 1),
                 (gd__conv_opts){.channels = 1, .kernel = (int)(b->spec->height >> depth)});
    return gd__flatten(b, x);
}

int gd__arch_disco(gd__build *b) {
    const gd_net_spec *n = b->spec;
    int depth = depth_of(b);
    int64_t width = n->width ? n->width : WIDTH;
    gd__norm norm = gd__norm_read(b, "norm", n->norm, GD__NORM_BATCH);
    if (!b->rule_given) {
        b->rule = GD__INIT_PYTORCH_0;
        b->norm_uniform = true;
    }
    if (b->st != GD_OK) return 0;
    return n->generator ? generator(b, depth, width, norm) : discriminator(b, depth, width, norm);
}
