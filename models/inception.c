/* models/inception.c -- FID's Inception-v3. It differs from torchvision's in its pools: averages near the border are over
 * the pixels that are there, and the last block takes a maximum. */
#include "models/inception.h"

#include <stdio.h>

/* ---- pools of 3 x 3 windows, one dimension after the other ---- */

typedef gd_node (*join_fn)(gd_graph *g, gd_node a, gd_node b);

/* Pixels from .. from + size - 1 along dimension d (1: rows, 2: columns). */
static gd_node cut(gd_graph *g, gd_node x, int d, int64_t from, int64_t size) {
    gd_shape s = gd_node_shape(g, x);
    int64_t lo[GD_RANK_MAX] = {0}, hi[GD_RANK_MAX];
    for (int i = 0; i < s.rank; i++) hi[i] = s.dim[i];
    lo[d] = from;
    hi[d] = from + size;
    return gd_slice(g, x, lo, hi);
}

/* Pixels first, first + 2, ..., `count` of them. */
static gd_node every_second(gd_graph *g, gd_node x, int d, int64_t first, int64_t count) {
    gd_shape s = gd_node_shape(g, x), out = s, pairs;
    int64_t begin = first + 2 * count <= s.dim[d] ? first : first - 1; /* of pairs that lie inside */
    out.dim[d] = count;
    pairs = d == 1 ? gd_shape4(s.dim[0] * count, 2, s.dim[2], s.dim[3])
                   : gd_shape4(s.dim[0] * s.dim[1], count, 2, s.dim[3]);
    gd_node both = gd_reshape(g, cut(g, x, d, begin, 2 * count), pairs);
    return gd_reshape(g, cut(g, both, d, first - begin, 1), out);
}

/* Joins three neighbours along dimension d, at every place or at every second one. */
static gd_node join3(gd_graph *g, gd_node x, int d, int stride, join_fn join) {
    int64_t size = gd_node_shape(g, x).dim[d], count = (size - 3) / stride + 1;
    gd_node tap[3];
    for (int i = 0; i < 3; i++) tap[i] = stride == 1 ? cut(g, x, d, i, count) : every_second(g, x, d, i, count);
    return join(g, join(g, tap[0], tap[1]), tap[2]);
}

static gd_node window(gd_graph *g, gd_node x, int stride, join_fn join) {
    return join3(g, join3(g, x, 1, stride, join), 2, stride, join);
}

static gd_node frame(gd_graph *g, gd_node x) {
    const int64_t border[GD_RANK_MAX] = {0, 1, 1, 0};
    return gd_pad(g, x, border, border);
}

static gd_node max_half(gd_graph *g, gd_node x) { return window(g, x, 2, gd_max); }

/* The zeros of the frame change no maximum: x comes out of ReLUs. */
static gd_node max_same(gd_graph *g, gd_node x) { return window(g, frame(g, x), 1, gd_max); }

static gd_node average_same(gd_graph *g, gd_node x) {
    gd_shape s = gd_node_shape(g, x);
    gd_node ones = gd_const(g, 1, gd_shape4(1, s.dim[1], s.dim[2], 1));
    gd_node pixels = window(g, frame(g, ones), 1, gd_add); /* 9, 6 at borders, 4 in corners */
    return gd_mul(g, window(g, frame(g, x), 1, gd_add), gd_recip(g, pixels));
}

/* ---- units ---- */

typedef struct net {
    gd_graph *g;
    const char *block; /* "Mixed_5b." or empty */
} net;

typedef struct size {
    int h, w, stride;
    bool pad; /* by half of the window: keeps the size */
} size;
static const size one = {1, 1, 1, false}, three = {3, 3, 1, true}, five = {5, 5, 1, true}, half = {3, 3, 2, false},
                  inside = {3, 3, 1, false}, wide7 = {1, 7, 1, true}, tall7 = {7, 1, 1, true}, wide3 = {1, 3, 1, true},
                  tall3 = {3, 1, 1, true};

static gd_node param(const net *n, const char *unit, const char *what, gd_shape s) {
    char name[96];
    snprintf(name, sizeof name, "%s%s.%s", n->block, unit, what);
    return gd_param(n->g, name, s, 0);
}

static gd_node convolve(const net *n, gd_node x, const char *unit, int64_t channels, size s) {
    int top = s.pad ? s.h / 2 : 0, left = s.pad ? s.w / 2 : 0;
    gd_shape w = gd_shape4(channels, s.h, s.w, gd_node_shape(n->g, x).dim[3]);
    gd_conv_attr a = {s.stride, {top, top, left, left}};
    return gd_conv(n->g, x, param(n, unit, "weight", w), a);
}

static gd_node finish(const net *n, gd_node y, const char *unit) {
    int64_t channels = gd_node_shape(n->g, y).dim[3];
    gd_node bias = param(n, unit, "bias", gd_shape1(channels));
    return gd_leaky(n->g, gd_add(n->g, y, gd_reshape(n->g, bias, gd_shape4(1, 1, 1, channels))), 0);
}

static gd_node unit(const net *n, gd_node x, const char *name, int64_t channels, size s) {
    return finish(n, convolve(n, x, name, channels, s), name);
}

/* An average, then a 1 x 1 unit. Both are linear and one mixes pixels, the other channels: the convolution goes first
 * and leaves fewer channels to average. */
static gd_node averaged(const net *n, gd_node x, int64_t channels) {
    gd_node y = convolve(n, x, "branch_pool", channels, one);
    return finish(n, average_same(n->g, y), "branch_pool");
}

static gd_node beside(const net *n, gd_node a, gd_node b) { return gd_concat(n->g, a, b, 3); }

static gd_node beside4(const net *n, gd_node a, gd_node b, gd_node c, gd_node d) {
    return beside(n, beside(n, a, b), beside(n, c, d));
}

/* ---- blocks ---- */

static gd_node block_a(gd_graph *g, gd_node x, const char *name, int64_t pool) {
    net n = {g, name};
    gd_node a = unit(&n, x, "branch1x1", 64, one);
    gd_node b = unit(&n, unit(&n, x, "branch5x5_1", 48, one), "branch5x5_2", 64, five);
    gd_node c = unit(&n, unit(&n, x, "branch3x3dbl_1", 64, one), "branch3x3dbl_2", 96, three);
    c = unit(&n, c, "branch3x3dbl_3", 96, three);
    return beside4(&n, a, b, c, averaged(&n, x, pool));
}

static gd_node block_b(gd_graph *g, gd_node x, const char *name) {
    net n = {g, name};
    gd_node a = unit(&n, x, "branch3x3", 384, half);
    gd_node b = unit(&n, unit(&n, x, "branch3x3dbl_1", 64, one), "branch3x3dbl_2", 96, three);
    b = unit(&n, b, "branch3x3dbl_3", 96, half);
    return beside(&n, beside(&n, a, b), max_half(g, x));
}

static gd_node block_c(gd_graph *g, gd_node x, const char *name, int64_t middle) {
    net n = {g, name};
    gd_node a = unit(&n, x, "branch1x1", 192, one);
    gd_node b = unit(&n, unit(&n, x, "branch7x7_1", middle, one), "branch7x7_2", middle, wide7);
    b = unit(&n, b, "branch7x7_3", 192, tall7);
    gd_node c = unit(&n, unit(&n, x, "branch7x7dbl_1", middle, one), "branch7x7dbl_2", middle, tall7);
    c = unit(&n, unit(&n, c, "branch7x7dbl_3", middle, wide7), "branch7x7dbl_4", middle, tall7);
    c = unit(&n, c, "branch7x7dbl_5", 192, wide7);
    return beside4(&n, a, b, c, averaged(&n, x, 192));
}

static gd_node block_d(gd_graph *g, gd_node x, const char *name) {
    net n = {g, name};
    gd_node a = unit(&n, unit(&n, x, "branch3x3_1", 192, one), "branch3x3_2", 320, half);
    gd_node b = unit(&n, unit(&n, x, "branch7x7x3_1", 192, one), "branch7x7x3_2", 192, wide7);
    b = unit(&n, unit(&n, b, "branch7x7x3_3", 192, tall7), "branch7x7x3_4", 192, half);
    return beside(&n, beside(&n, a, b), max_half(g, x));
}

static gd_node block_e(gd_graph *g, gd_node x, const char *name, bool last) {
    net n = {g, name};
    gd_node a = unit(&n, x, "branch1x1", 320, one), b = unit(&n, x, "branch3x3_1", 384, one);
    b = beside(&n, unit(&n, b, "branch3x3_2a", 384, wide3), unit(&n, b, "branch3x3_2b", 384, tall3));
    gd_node c = unit(&n, unit(&n, x, "branch3x3dbl_1", 448, one), "branch3x3dbl_2", 384, three);
    c = beside(&n, unit(&n, c, "branch3x3dbl_3a", 384, wide3), unit(&n, c, "branch3x3dbl_3b", 384, tall3));
    gd_node d = last ? unit(&n, max_same(g, x), "branch_pool", 192, one) : averaged(&n, x, 192);
    return beside4(&n, a, b, c, d);
}

gd_node gd_inception_features(gd_graph *g, gd_node x) {
    net n = {g, ""};
    x = unit(&n, x, "Conv2d_1a_3x3", 32, half);
    x = unit(&n, x, "Conv2d_2a_3x3", 32, inside);
    x = unit(&n, x, "Conv2d_2b_3x3", 64, three);
    x = unit(&n, max_half(g, x), "Conv2d_3b_1x1", 80, one);
    x = max_half(g, unit(&n, x, "Conv2d_4a_3x3", 192, inside));
    x = block_a(g, x, "Mixed_5b.", 32);
    x = block_a(g, x, "Mixed_5c.", 64);
    x = block_a(g, x, "Mixed_5d.", 64);
    x = block_b(g, x, "Mixed_6a.");
    x = block_c(g, x, "Mixed_6b.", 128);
    x = block_c(g, x, "Mixed_6c.", 160);
    x = block_c(g, x, "Mixed_6d.", 160);
    x = block_c(g, x, "Mixed_6e.", 192);
    x = block_d(g, x, "Mixed_7a.");
    x = block_e(g, x, "Mixed_7b.", false);
    x = block_e(g, x, "Mixed_7c.", true);
    return gd_reshape(g, gd_mean(g, x, 1u << 1 | 1u << 2),
                      gd_shape2(gd_node_shape(g, x).dim[0], GD_INCEPTION_FEATURES));
}
