/* tests/ops/cases.c -- every op of the table in at least three shapes or attribute sets: odd sizes,
 * asymmetric padding, strides 1 to 3, rows that no window covers, broadcasts of either side. */
#include "cases.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/build.h"

enum { CASE_MAX = 320 };
static ops_case list[CASE_MAX];
static int count;

static ops_case *add(gd_op op, const char *what, int n_in, gd_shape a, gd_shape b) {
    if (count == CASE_MAX) ops_die("CASE_MAX is too small");
    ops_case *c = &list[count++];
    snprintf(c->name, sizeof c->name, "%s/%s", gd_op_text(op), what);
    c->op = op;
    c->n_in = n_in;
    c->in[0] = a;
    c->in[1] = b;
    return c;
}

/* ---- elementwise ---- */

static void add_leaves(void) {
    static const gd_op leaf[] = {GD_OP_INPUT, GD_OP_PARAM, GD_OP_CONST, GD_OP_RANDOM};
    const gd_shape shape[] = {gd_shape1(5), gd_shape2(3, 7), gd_shape4(3, 3, 5, 2)};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 3; j++) {
            char what[16];
            snprintf(what, sizeof what, "%d", j);
            ops_case *c = add(leaf[i], what, 1, shape[j], (gd_shape){0});
            c->attr.value = 0.75 * j - 0.5;
            c->attr.kind = leaf[i] == GD_OP_RANDOM && j != 1 ? GD_RANDOM_NORMAL : GD_RANDOM_UNIFORM;
            c->attr.purpose = GD_PURPOSE_TEST | (uint32_t)j << 16;
            c->traits = OPS_LINEAR;
        }
    ops_case *c = add(GD_OP_INPUT, "u8", 1, gd_shape2(5, 9), (gd_shape){0});
    c->fill[0] = OPS_BYTE;
    c->attr.kind = GD_U8;
    c->traits = OPS_LINEAR;
}

typedef struct unary_row {
    gd_op op;
    ops_fill fill;
    int traits;
} unary_row;

static void add_unary(void) {
    static const unary_row row[] = {
        {GD_OP_NEG, OPS_NORMAL, OPS_LINEAR},
        {GD_OP_ABS, OPS_AWAY, 0},
        {GD_OP_SIGN, OPS_AWAY, 0},
        {GD_OP_STEP, OPS_AWAY, 0},
        {GD_OP_SQUARE, OPS_NORMAL, 0},
        {GD_OP_SQRT, OPS_POSITIVE, 0},
        {GD_OP_RSQRT, OPS_POSITIVE, 0},
        {GD_OP_RECIP, OPS_POSITIVE, 0},
        {GD_OP_EXP, OPS_NORMAL, 0},
        {GD_OP_LOG, OPS_POSITIVE, 0},
        {GD_OP_TANH, OPS_NORMAL, 0},
        {GD_OP_SIGMOID, OPS_NORMAL, 0},
        {GD_OP_SOFTPLUS, OPS_NORMAL, 0},
        {GD_OP_LEAKY, OPS_AWAY, 0},
        {GD_OP_LEAKY_SLOPE, OPS_AWAY, 0},
        {GD_OP_CLAMP, OPS_ODD, 0},
        {GD_OP_STOP, OPS_NORMAL, OPS_LINEAR | OPS_NO_FD},
        {GD_OP_CAST, OPS_NORMAL, OPS_NO_FD},
        {GD_OP_ALLREDUCE, OPS_NORMAL, OPS_LINEAR},
    };
    const gd_shape shape[] = {gd_shape1(37), gd_shape2(3, 5), gd_shape4(2, 3, 1, 5)};
    static const double slope[] = {0.2, 0, -1.5};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        for (int j = 0; j < 3; j++) {
            char what[16];
            snprintf(what, sizeof what, "%d", j);
            ops_case *c = add(row[i].op, what, 1, shape[j], (gd_shape){0});
            c->fill[0] = row[i].fill;
            c->traits = row[i].traits;
            if (c->op == GD_OP_LEAKY || c->op == GD_OP_LEAKY_SLOPE) c->attr.value = slope[j];
            if (c->op == GD_OP_CLAMP) c->attr.value = -0.4 * j, c->attr.value2 = 0.4;
            if (c->op == GD_OP_CAST) c->attr.kind = GD_BF16;
        }
}

static void add_binary(void) {
    static const gd_op op[] = {GD_OP_ADD, GD_OP_SUB, GD_OP_MUL, GD_OP_DIV, GD_OP_MAX, GD_OP_MIN};
    const struct {
        const char *what;
        gd_shape a, b;
    } pair[] = {
        {"same", gd_shape4(2, 3, 3, 5), gd_shape4(2, 3, 3, 5)},
        {"row", gd_shape2(5, 7), gd_shape2(1, 7)},
        {"channel", gd_shape4(1, 1, 1, 3), gd_shape4(2, 3, 5, 3)},
        {"sample", gd_shape4(3, 2, 3, 2), gd_shape4(3, 1, 1, 1)},
        {"both", gd_shape4(1, 3, 1, 2), gd_shape4(2, 1, 5, 1)},
    };
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 5; j++) {
            ops_case *c = add(op[i], pair[j].what, 2, pair[j].a, pair[j].b);
            bool kinks = op[i] == GD_OP_MAX || op[i] == GD_OP_MIN;
            c->fill[0] = kinks ? OPS_EVEN : OPS_NORMAL;
            c->fill[1] = kinks ? OPS_ODD : op[i] == GD_OP_DIV ? OPS_POSITIVE : OPS_NORMAL;
            c->traits = op[i] == GD_OP_MUL || op[i] == GD_OP_DIV ? OPS_LINEAR : 0;
        }
}

/* ---- moves and reductions ---- */

static ops_case *add_linear(gd_op op, const char *what, gd_shape x) {
    ops_case *c = add(op, what, 1, x, (gd_shape){0});
    c->traits = OPS_LINEAR;
    return c;
}

static void add_shapes(void) {
    add_linear(GD_OP_BROADCAST, "row", gd_shape2(1, 5))->attr.shape = gd_shape2(4, 5);
    add_linear(GD_OP_BROADCAST, "column", gd_shape2(3, 1))->attr.shape = gd_shape2(3, 7);
    add_linear(GD_OP_BROADCAST, "channel", gd_shape4(1, 1, 1, 3))->attr.shape = gd_shape4(2, 3, 5, 3);
    add_linear(GD_OP_BROADCAST, "middle", gd_shape4(2, 1, 3, 1))->attr.shape = gd_shape4(2, 5, 3, 3);
    add_linear(GD_OP_SUM, "all", gd_shape4(2, 3, 5, 3))->attr.axes = 15;
    add_linear(GD_OP_SUM, "NHW", gd_shape4(3, 2, 5, 7))->attr.axes = 7;
    add_linear(GD_OP_SUM, "HW", gd_shape4(3, 5, 2, 3))->attr.axes = 6;
    add_linear(GD_OP_SUM, "C", gd_shape4(2, 3, 2, 17))->attr.axes = 8;
    add_linear(GD_OP_SUM, "NW", gd_shape4(3, 2, 5, 2))->attr.axes = 5;
    add_linear(GD_OP_SUM, "vector", gd_shape1(33))->attr.axes = 1;
    add_linear(GD_OP_RESHAPE, "flatten", gd_shape4(2, 3, 5, 2))->attr.shape = gd_shape2(2, 30);
    add_linear(GD_OP_RESHAPE, "image", gd_shape2(3, 20))->attr.shape = gd_shape4(3, 2, 2, 5);
    add_linear(GD_OP_RESHAPE, "vector", gd_shape4(2, 1, 3, 3))->attr.shape = gd_shape1(18);
    static const int perm[][4] = {{0, 3, 1, 2}, {3, 1, 0, 2}, {2, 0, 3, 1}, {0, 2, 1, 3}};
    for (int i = 0; i < 4; i++) {
        char what[8];
        snprintf(what, sizeof what, "%d%d%d%d", perm[i][0], perm[i][1], perm[i][2], perm[i][3]);
        ops_case *c = add_linear(GD_OP_PERMUTE, what, gd_shape4(2, 3, 5, 4));
        for (int d = 0; d < 4; d++) c->attr.perm[d] = perm[i][d];
    }
    ops_case *c = add_linear(GD_OP_PERMUTE, "10", gd_shape2(5, 3));
    c->attr.perm[0] = 1;
}

static void add_joins(void) {
    const gd_shape a = gd_shape4(2, 3, 5, 3);
    for (int axis = 0; axis < 4; axis++) {
        gd_shape b = a;
        char what[16];
        snprintf(what, sizeof what, "axis%d", axis);
        b.dim[axis] = 2 + axis;
        add(GD_OP_CONCAT, what, 2, a, b)->attr.axis = axis;
    }
    add(GD_OP_CONCAT, "dense", 2, gd_shape2(3, 4), gd_shape2(3, 1))->attr.axis = 1;
}

static void set4(int64_t to[4], int64_t a, int64_t b, int64_t c, int64_t d) {
    to[0] = a, to[1] = b, to[2] = c, to[3] = d;
}

static void add_cut(gd_op op, const char *what, gd_shape x, const int64_t lo[4], const int64_t hi[4]) {
    ops_case *c = add_linear(op, what, x);
    memcpy(c->attr.lo, lo, sizeof c->attr.lo);
    memcpy(c->attr.hi, hi, sizeof c->attr.hi);
}

static void add_cuts(void) {
    int64_t lo[4], hi[4];
    set4(lo, 1, 0, 2, 1), set4(hi, 3, 2, 4, 3);
    add_cut(GD_OP_SLICE, "all", gd_shape4(3, 3, 5, 4), lo, hi);
    set4(lo, 0, 0, 0, 1), set4(hi, 2, 3, 3, 4);
    add_cut(GD_OP_SLICE, "channels", gd_shape4(2, 3, 3, 5), lo, hi);
    set4(lo, 2, 0, 0, 0), set4(hi, 5, 3, 0, 0);
    add_cut(GD_OP_SLICE, "rows", gd_shape2(7, 3), lo, hi);
    set4(lo, 0, 1, 2, 0), set4(hi, 0, 3, 0, 0);
    add_cut(GD_OP_PAD, "image", gd_shape4(2, 3, 4, 3), lo, hi);
    set4(lo, 1, 0, 0, 2), set4(hi, 0, 0, 1, 3);
    add_cut(GD_OP_PAD, "all", gd_shape4(2, 2, 3, 3), lo, hi);
    set4(lo, 0, 3, 0, 0), set4(hi, 2, 0, 0, 0);
    add_cut(GD_OP_PAD, "dense", gd_shape2(3, 5), lo, hi);
    static const int64_t border[][4] = {{1, 1, 1, 1}, {3, 0, 1, 2}, {0, 2, 4, 0}, {3, 3, 4, 4}};
    for (int i = 0; i < 4; i++) {
        char what[8];
        const int64_t *b = border[i];
        snprintf(what, sizeof what, "%d%d%d%d", (int)b[0], (int)b[1], (int)b[2], (int)b[3]);
        set4(lo, 0, b[0], b[2], 0), set4(hi, 0, b[1], b[3], 0);
        add_cut(GD_OP_PAD_REFLECT, what, gd_shape4(2, 4, 5, 3), lo, hi);
        add_cut(GD_OP_FOLD_REFLECT, what, gd_shape4(2, 4 + b[0] + b[1], 5 + b[2] + b[3], 3), lo, hi);
    }
    for (int f = 2; f <= 4; f++) {
        char what[8];
        snprintf(what, sizeof what, "x%d", f);
        add_linear(GD_OP_UPSAMPLE, what, gd_shape4(2, 3, 2, 5))->attr.factor = f;
        add_linear(GD_OP_SUMPOOL, what, gd_shape4(2, 2 * f, 3 * f, 3))->attr.factor = f;
    }
}

/* ---- heavy ---- */

static void add_matmuls(void) {
    static const int size[][3] = {{3, 5, 4}, {1, 7, 2}, {17, 33, 9}};
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < 4; t++) {
            int m = size[i][0], l = size[i][1], n = size[i][2], ta = t & 1, tb = t >> 1;
            char what[24];
            snprintf(what, sizeof what, "%dx%dx%d%s%s", m, l, n, ta ? " aT" : "", tb ? " bT" : "");
            ops_case *c = add(GD_OP_MATMUL, what, 2, ta ? gd_shape2(l, m) : gd_shape2(m, l),
                              tb ? gd_shape2(n, l) : gd_shape2(l, n));
            c->attr.ta = ta;
            c->attr.tb = tb;
            c->traits = OPS_LINEAR;
        }
}

typedef struct conv_row {
    const char *what;
    int traits, n, h, w, c, k, r, s, stride, pad[4];
} conv_row;

static void add_conv(const conv_row *v) {
    gd_attr a = {.stride = v->stride, .pad = {v->pad[0], v->pad[1], v->pad[2], v->pad[3]}};
    gd_shape x = gd_shape4(v->n, v->h, v->w, v->c), w = gd_shape4(v->k, v->r, v->s, v->c), y;
    char why[160];
    if (!gd__conv_shape(x, w, &a, &y, why)) ops_die(why);
    ops_case *c = add(GD_OP_CONV, v->what, 2, x, w);
    c->attr = a;
    c->traits = OPS_LINEAR | v->traits;
    a.shape = x;
    c = add(GD_OP_CONV_DX, v->what, 2, y, w);
    c->attr = a;
    c->traits = OPS_LINEAR | v->traits;
    a.shape = w;
    c = add(GD_OP_CONV_DW, v->what, 2, x, y);
    c->attr = a;
    c->traits = OPS_LINEAR | v->traits;
}

static void add_convs(void) {
    static const conv_row row[] = {
        /*                   N  H  W  C   K  R  S  st  pad        */
        {"3x3 s1", 0, 2, 5, 5, 3, 4, 3, 3, 1, {1, 1, 1, 1}},
        {"4x4 s2", 0, 2, 8, 6, 3, 5, 4, 4, 2, {1, 1, 1, 1}},
        {"3x2 s3 asym", 0, 1, 8, 5, 3, 2, 3, 2, 3, {0, 1, 2, 0}},
        {"1x1 s2 gaps", 0, 2, 6, 7, 2, 3, 1, 1, 2, {0, 0, 0, 0}},
        {"4x4 valid", 0, 3, 4, 4, 5, 1, 4, 4, 1, {0, 0, 0, 0}},
        {"3x3 s2 short", 0, 1, 6, 8, 1, 3, 3, 3, 2, {0, 0, 1, 0}},
        {"5x4 s1 wide", 0, 1, 5, 6, 2, 2, 5, 4, 1, {3, 1, 2, 2}},
        {"2x2 s3 gaps", 0, 2, 9, 7, 3, 2, 2, 2, 3, {0, 0, 0, 0}},
        {"7x7 s1", 0, 1, 9, 8, 3, 2, 7, 7, 1, {3, 3, 3, 3}},
        {"4x4 s2 large", OPS_LARGE, 2, 16, 16, 16, 32, 4, 4, 2, {1, 1, 1, 1}},
        {"3x3 s1 large", OPS_LARGE, 3, 13, 17, 24, 16, 3, 3, 1, {1, 1, 1, 1}},
        {"4x4 s1 large", OPS_LARGE, 2, 9, 10, 17, 33, 4, 4, 1, {1, 2, 2, 1}},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) add_conv(&row[i]);
}

static void add_norms(void) {
    const struct {
        const char *what;
        gd_shape x;
        uint32_t axes;
        double eps;
    } row[] = {
        {"batch", gd_shape4(3, 2, 3, 5), 7, 1e-5},  {"instance", gd_shape4(2, 3, 5, 3), 6, 1e-5},
        {"layer", gd_shape4(2, 3, 2, 3), 14, 1e-3}, {"dense", gd_shape2(7, 3), 1, 1e-5},
        {"dense layer", gd_shape2(3, 9), 2, 0.5},   {"odd axes", gd_shape4(3, 2, 5, 2), 5, 1e-2},
    };
    static const gd_op op[] = {GD_OP_NORMALIZE, GD_OP_NORM_RSTD};
    for (int o = 0; o < 2; o++)
        for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
            ops_case *c = add(op[o], row[i].what, 1, row[i].x, (gd_shape){0});
            c->attr.axes = row[i].axes;
            c->attr.value = row[i].eps;
        }
}

static void add_large(void) {
    const gd_shape s = gd_shape4(3, 37, 21, 19), channel = gd_shape4(1, 1, 1, 19);
    add(GD_OP_TANH, "large", 1, s, (gd_shape){0})->traits = OPS_LARGE;
    add(GD_OP_MUL, "large", 2, s, channel)->traits = OPS_LARGE | OPS_LINEAR;
    add(GD_OP_ADD, "large", 2, gd_shape4(3, 1, 1, 19), s)->traits = OPS_LARGE;
    ops_case *c = add(GD_OP_SUM, "large", 1, s, (gd_shape){0});
    c->traits = OPS_LARGE | OPS_LINEAR;
    c->attr.axes = 7;
    c = add(GD_OP_NORMALIZE, "large", 1, s, (gd_shape){0});
    c->traits = OPS_LARGE;
    c->attr.axes = 6;
    c->attr.value = 1e-5;
    c = add(GD_OP_MATMUL, "large", 2, gd_shape2(65, 300), gd_shape2(300, 129));
    c->traits = OPS_LARGE | OPS_LINEAR;
}

const ops_case *ops_cases(int *n) {
    if (count == 0) {
        add_leaves();
        add_unary();
        add_binary();
        add_shapes();
        add_joins();
        add_cuts();
        add_matmuls();
        add_convs();
        add_norms();
        add_large();
    }
    *n = count;
    return list;
}

/* ---- building ---- */

static gd_node build_move(gd_graph *g, const ops_case *c, const gd_node x[2]) {
    const gd_attr *a = &c->attr;
    int perm[GD_RANK_MAX];
    for (int i = 0; i < GD_RANK_MAX; i++) perm[i] = a->perm[i];
    switch (c->op) {
    case GD_OP_BROADCAST: return gd_broadcast(g, x[0], a->shape);
    case GD_OP_SUM: return gd_sum(g, x[0], a->axes);
    case GD_OP_RESHAPE: return gd_reshape(g, x[0], a->shape);
    case GD_OP_PERMUTE: return gd_permute(g, x[0], perm);
    case GD_OP_CONCAT: return gd_concat(g, x[0], x[1], a->axis);
    case GD_OP_SLICE: return gd_slice(g, x[0], a->lo, a->hi);
    case GD_OP_PAD: return gd_pad(g, x[0], a->lo, a->hi);
    case GD_OP_PAD_REFLECT: return gd_pad_reflect(g, x[0], a->lo[1], a->hi[1], a->lo[2], a->hi[2]);
    case GD_OP_FOLD_REFLECT: return gd_fold_reflect(g, x[0], a->lo[1], a->hi[1], a->lo[2], a->hi[2]);
    case GD_OP_UPSAMPLE: return gd_upsample(g, x[0], a->factor);
    default: return gd_sumpool(g, x[0], a->factor);
    }
}

static gd_node build_binary(gd_graph *g, const ops_case *c, const gd_node x[2]) {
    const gd_attr *a = &c->attr;
    gd_conv_attr v = {a->stride, {a->pad[0], a->pad[1], a->pad[2], a->pad[3]}};
    switch (c->op) {
    case GD_OP_ADD: return gd_add(g, x[0], x[1]);
    case GD_OP_SUB: return gd_sub(g, x[0], x[1]);
    case GD_OP_MUL: return gd_mul(g, x[0], x[1]);
    case GD_OP_DIV: return gd_div(g, x[0], x[1]);
    case GD_OP_MAX: return gd_max(g, x[0], x[1]);
    case GD_OP_MIN: return gd_min(g, x[0], x[1]);
    case GD_OP_MATMUL: return gd_matmul(g, x[0], x[1], a->ta, a->tb);
    case GD_OP_CONV: return gd_conv(g, x[0], x[1], v);
    case GD_OP_CONV_DX: return gd_conv_dx(g, x[0], x[1], a->shape, v);
    default: return gd_conv_dw(g, x[0], x[1], a->shape, v);
    }
}

static gd_node build_leaf(gd_graph *g, const ops_case *c, const gd_node x[2]) {
    gd_shape s = c->in[0];
    switch (c->op) {
    case GD_OP_CONST: return gd_mul(g, x[0], gd_const(g, c->attr.value, s));
    case GD_OP_RANDOM: return gd_mul(g, x[0], gd_random(g, (gd_random_kind)c->attr.kind, c->attr.purpose, s));
    default: return gd_scale(g, gd_cast(g, x[0], GD_F32), 3); /* INPUT, PARAM */
    }
}

gd_node ops_case_op(gd_graph *g, const ops_case *c, const gd_node x[2]) {
    switch (gd_op_class_of(c->op)) {
    case GD_CLASS_LEAF: return build_leaf(g, c, x);
    case GD_CLASS_EW:
        if (gd_op_arity(c->op) == 2) return build_binary(g, c, x);
        /* gd_cast back, so that results are f32 */
        return gd_cast(g, gd__add(g, c->op, x[0], GD_NONE, &c->attr), GD_F32);
    case GD_CLASS_HEAVY: return build_binary(g, c, x);
    case GD_CLASS_HIGH:
    case GD_CLASS_COMM: return gd__add(g, c->op, x[0], GD_NONE, &c->attr);
    default: return build_move(g, c, x);
    }
}

gd_node ops_case_build(gd_graph *g, const ops_case *c, gd_node x[2]) {
    static const char *const name[2] = {"x0", "x1"};
    for (int i = 0; i < 2; i++) {
        x[i] = GD_NONE;
        if (i >= c->n_in) continue;
        x[i] = c->op == GD_OP_INPUT ? gd_input(g, name[i], (gd_dtype)c->attr.kind, c->in[i])
                                    : gd_param(g, name[i], c->in[i], 0);
    }
    return ops_case_op(g, c, x);
}

bool ops_case_wanted(const ops_case *c, int argc, char **argv) {
    return argc < 2 || strncmp(c->name, argv[1], strlen(argv[1])) == 0;
}

uint64_t ops_seed(int argc, char **argv) { return argc > 2 ? strtoull(argv[2], NULL, 10) : 1; }
