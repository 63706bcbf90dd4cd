/* The DCGAN-like networks of WGAN-GP. Gulrajani et al. 2017, as the authors' code has them: gan_mnist at 28 px (width 64,
 * no norm), gan_cifar at 32 px (width 128; generator normalised, its first layer unit by unit), and the DCGAN of gan_64x64
 * (width 64; layer norm in the critic). Kernel 5, stride 2, biases everywhere; the names are their TensorFlow scopes.
 *
 * Convolutions are padded as TensorFlow's SAME: 1 pixel before and 2 behind; 7 pixels become 4 with 2 and 2. At 28 px the
 * generator's second map is cut from 8 x 8 to 7 x 7, here before its norm, if it has one. */
#include <math.h>

#include "models/layers.h"

enum { KERNEL = 5, BASE = 4, MNIST = 28, SMALL = 32, LARGE = 64, MAPS_MAX = 4 };

typedef struct scheme {
    gd__build *b;
    gd__norm norm;
    int maps;      /* halvings: 3 or 4 */
    int64_t width; /* channels of the largest inner map */
} scheme;

static gd__conv_opts same(int64_t channels, int64_t large) {
    int before = large % 2 ? 2 : 1;
    return (gd__conv_opts){
        .channels = channels, .kernel = KERNEL, .stride = 2, .pad = {before, 2, before, 2}, .bias = true};
}

static gd__conv_opts doubling(int64_t channels, int64_t small, int64_t large) {
    gd__conv_opts o = same(channels, 0);
    o.pad[1] = o.pad[3] += (int)(2 * small - large); /* cut at the end */
    return o;
}

static int dense(gd__build *b, int x, const char *name, int64_t units) {
    gd__init_rule rule = b->rule;
    if (!b->rule_given && rule == GD__INIT_HE_UNIFORM) b->rule = GD__INIT_GLOROT_UNIFORM;
    x = gd__dense(b, x, name, units, true);
    b->rule = rule;
    return x;
}

static int generator(const scheme *s) {
    static const char *const names[][MAPS_MAX] = {{"2", "3", "5"}, {"2", "3", "4", "5"}};
    static const char *const norms[] = {"BN2", "BN3", "BN4"};
    gd__build *b = s->b;
    bool per_unit = b->spec->height < LARGE;
    int64_t channels = s->width << (s->maps - 1);
    int x = dense(b, GD__INPUT, "Input", BASE * BASE * channels);
    if (per_unit) x = gd__normalize(b, x, "BN1", s->norm, false);
    x = gd__reshape(b, x, BASE, BASE, channels);
    if (!per_unit) x = gd__normalize(b, x, "BN1", s->norm, false);
    x = gd__activate(b, x, GD__ACT_RELU, 0);
    int64_t size = BASE;
    for (int i = 0; i < s->maps; i++) {
        bool last = i == s->maps - 1;
        int64_t large = last ? b->spec->height : b->spec->height >> (s->maps - 1 - i);
        channels /= 2;
        x = gd__deconv(b, x, names[s->maps - 3][i], doubling(last ? b->spec->channels : channels, size, large));
        if (last) break;
        x = gd__activate(b, gd__normalize(b, x, norms[i], s->norm, false), GD__ACT_RELU, 0);
        size = large;
    }
    return gd__activate(b, x, gd__output_act(b), 0);
}

static int critic(const scheme *s) {
    static const char *const names[] = {"1", "2", "3", "4"}, *const norms[] = {"BN1", "BN2", "BN3", "BN4"};
    gd__build *b = s->b;
    int x = GD__INPUT;
    int64_t size = b->spec->height;
    for (int i = 0; i < s->maps; i++) {
        x = gd__conv(b, x, names[i], same(s->width << i, size));
        if (i) x = gd__normalize(b, x, norms[i], s->norm, false);
        x = gd__activate(b, x, GD__ACT_LEAKY, 0.2);
        size = (size + 1) / 2;
    }
    return dense(b, x, "Output", 1);
}

int gd__arch_dcgan_k5(gd__build *b) {
    const gd_net_spec *n = b->spec;
    int64_t size = n->height;
    if (n->height != n->width_px || (size != MNIST && size != SMALL && size != LARGE))
        GD__BUILD_FAIL(b, "%s: dcgan-k5 makes images of 28x28, 32x32 or 64x64, not %lldx%lld; set data.image.size",
                       gd__role(n), (long long)n->height, (long long)n->width_px);
    gd__norm usual = n->generator ? (size == MNIST ? GD__NORM_NONE : GD__NORM_BATCH)
                                  : (size == LARGE ? GD__NORM_LAYER : GD__NORM_NONE);
    scheme s = {.b = b,
                .norm = gd__norm_read(b, "norm", n->norm, usual),
                .maps = size == LARGE ? 4 : 3,
                .width = n->width        ? n->width
                         : size == SMALL ? 128
                                         : 64};
    if (s.norm == GD__NORM_INSTANCE && n->generator)
        GD__BUILD_FAIL(b, "generator.norm: instance norm needs images, and dcgan-k5's first norm has none; use batch");
    if (!b->rule_given) b->rule = size == LARGE ? GD__INIT_UNIFORM : GD__INIT_HE_UNIFORM;
    if (!b->rule_given && size == LARGE && b->gain == 0) b->gain = 0.02 * sqrt(3); /* standard deviation .02 */
    if (b->st != GD_OK) return 0;
    return n->generator ? generator(&s) : critic(&s);
}
