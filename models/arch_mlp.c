/* Multi-layer perceptrons. Without keys: the MNIST networks of Goodfellow et al. 2014, generator
 * 100-1200-1200-784 and discriminator of two maxout layers of 240 units x 5 pieces.
 *
 * Modules are numbered as an nn.Sequential of dense, norm and activation; dropouts take no number, so
 * switching them does not rename weights. */
#include "models/layers.h"

enum { DEPTH = 2, WIDTH = 1200, MAXOUT_WIDTH = 240, PIECES = 5 };

static int hidden(gd__build *b, gd__seq *s, int x, gd__norm norm, gd__act act, int64_t width) {
    bool maxout = act == GD__ACT_MAXOUT;
    x = gd__dense(b, x, gd__seq_name(s), maxout ? width * PIECES : width, true);
    if (norm != GD__NORM_NONE) x = gd__normalize(b, x, gd__seq_name(s), norm, false);
    gd__seq_skip(s);
    return maxout ? gd__maxout(b, x, PIECES) : gd__activate(b, x, act, 0);
}

int gd__arch_mlp(gd__build *b) {
    const gd_net_spec *n = b->spec;
    const char *role = gd__role(n);
    gd__act act = gd__act_read(b, "act", n->act, n->generator ? GD__ACT_RELU : GD__ACT_MAXOUT,
                               GD__ACTS_HIDDEN | 1u << GD__ACT_TANH | 1u << GD__ACT_MAXOUT);
    gd__norm norm = gd__norm_read(b, "norm", n->norm, GD__NORM_NONE);
    if (norm == GD__NORM_INSTANCE)
        GD__BUILD_FAIL(b, "%s.norm: instance norm needs images inside the network, an mlp has none; use batch or layer",
                       role);
    int64_t depth = n->depth ? n->depth : DEPTH;
    int64_t width = n->width ? n->width : act == GD__ACT_MAXOUT ? MAXOUT_WIDTH : WIDTH;
    /* Uniform with He's variance (the toy networks of Gulrajani et al. 2017), last layer Glorot's. */
    if (!b->rule_given) b->rule = GD__INIT_HE_UNIFORM;

    gd__seq s = {b, "main", 0};
    int x = gd__dropout(b, gd__flatten(b, GD__INPUT), n->dropout_input);
    for (int64_t i = 0; i < depth; i++) {
        if (i) x = gd__dropout(b, x, n->dropout);
        x = hidden(b, &s, x, norm, act, width);
    }
    x = gd__dropout(b, x, n->dropout);
    if (!b->rule_given) b->rule = GD__INIT_GLOROT_UNIFORM;
    if (!n->generator) return gd__dense(b, x, gd__seq_name(&s), n->classes ? n->classes : 1, true);
    x = gd__dense(b, x, gd__seq_name(&s), n->height * n->width_px * n->channels, true);
    x = gd__reshape(b, x, n->height, n->width_px, n->channels);
    return gd__activate(b, x, gd__output_act(b), 0);
}
