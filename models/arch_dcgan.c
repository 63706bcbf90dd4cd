/* DCGAN. Radford, Metz and Chintala 2015, in the form of its public PyTorch code: kernel 4, no biases,
 * batch norm everywhere but at the generator's output and the discriminator's input.
 *
 * The smallest map has `base` x `base` pixels, 4 <= base < 8, and is doubled (halved) `levels` times
 * to the image: 64 = 4 x 2^4. Sizes that are no power of two keep the scheme with a larger base. */
#include "models/layers.h"

enum { WIDTH = 64, BASE = 4 };

static bool scheme(gd__build *b, int *base, int *levels) {
    const gd_net_spec *n = b->spec;
    int64_t size = n->height;
    if (n->height != n->width_px)
        GD__BUILD_FAIL(b, "%s: dcgan makes square images, not %lldx%lld; crop them square or use `layers:`",
                       gd__role(n), (long long)n->height, (long long)n->width_px);
    if (size < 2 * BASE || size > 1024)
        GD__BUILD_FAIL(b, "%s: dcgan takes image sizes from %d to 1024, not %lld", gd__role(n), 2 * BASE,
                       (long long)size);
    if (b->st != GD_OK) return false;
    *levels = gd__halvings(size, BASE);
    int64_t step = (int64_t)1 << *levels;
    if (size % step) {
        GD__BUILD_FAIL(b, "%s: dcgan halves the image %d times: %lld is not a multiple of %lld; nearest %lld or %lld",
                       gd__role(n), *levels, (long long)size, (long long)step, (long long)(size / step * step),
                       (long long)((size / step + 1) * step));
        return false;
    }
    *base = (int)(size / step);
    return true;
}

static int generator(gd__build *b, int base, int levels, int64_t width, gd__norm norm) {
    gd__seq s = {b, "main", 0};
    int64_t channels = width << (levels - 1);
    int x = gd__deconv(b, GD__INPUT, gd__seq_name(&s), (gd__conv_opts){.channels = channels, .kernel = base});
    for (int i = 1;; i++) {
        if (norm != GD__NORM_NONE) x = gd__normalize(b, x, gd__seq_name(&s), norm, false);
        x = gd__activate(b, x, GD__ACT_RELU, 0);
        gd__seq_skip(&s);
        channels /= 2;
        bool last = i == levels;
        x = gd__deconv(
            b, x, gd__seq_name(&s),
            (gd__conv_opts){
                .channels = last ? b->spec->channels : channels, .kernel = 4, .stride = 2, .pad = GD__PAD(1)});
        if (last) return gd__activate(b, x, gd__output_act(b), 0);
    }
}

static int discriminator(gd__build *b, int base, int levels, int64_t width, gd__norm norm) {
    gd__seq s = {b, "main", 0};
    int x = GD__INPUT;
    for (int i = 0; i < levels; i++) {
        x = gd__conv(b, x, gd__seq_name(&s),
                     (gd__conv_opts){.channels = width << i, .kernel = 4, .stride = 2, .pad = GD__PAD(1)});
        if (i && norm != GD__NORM_NONE) x = gd__normalize(b, x, gd__seq_name(&s), norm, false);
        x = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
        gd__seq_skip(&s);
    }
    x = gd__conv(b, x, gd__seq_name(&s), (gd__conv_opts){.channels = 1, .kernel = base});
    return gd__flatten(b, x);
}

int gd__arch_dcgan(gd__build *b) {
    const gd_net_spec *n = b->spec;
    int base, levels;
    int64_t width = n->width ? n->width : WIDTH;
    gd__norm norm = gd__norm_read(b, "norm", n->norm, GD__NORM_BATCH);
    if (width > 1 << 14)
        GD__BUILD_FAIL(b, "%s.width: %lld channels; expected at most %d", gd__role(n), (long long)width, 1 << 14);
    if (!b->rule_given) { /* N(0, .02), norm scales N(1, .02) */
        b->rule = GD__INIT_NORMAL;
        b->norm_std = 0.02;
    }
    if (!scheme(b, &base, &levels)) return 0;
    return n->generator ? generator(b, base, levels, width, norm) : discriminator(b, base, levels, width, norm);
}
