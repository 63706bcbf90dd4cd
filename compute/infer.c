/* compute/infer.c -- shape, dtype and attribute rules, one a row of the op table.
 *
 * Each rule checks what was asked for and sets shape and dtype of the node, or refuses it with its
 * name, the values found and what was expected. */
#include <inttypes.h>
#include <math.h>

#include "compute/build.h"

/* Larger tensors are mistakes; the bound keeps every product of sizes inside int64. */
#define COUNT_MAX  ((int64_t)1 << 40)
#define FACTOR_MAX 1024

typedef struct text {
    char s[96];
} text;

static text show(gd_shape s) {
    text t;
    gd_shape_text(s, t.s);
    return t;
}

static const gd_node_info *input(const gd_graph *g, const gd_node_info *n, int i) { return gd_graph_at(g, n->in[i]); }

/* Checks the sizes of the result and gives it to the node. */
static bool give(gd_graph *g, gd_node_info *n, gd_shape s, gd_dtype t) {
    if (s.rank < 1 || s.rank > GD_RANK_MAX)
        return gd__refuse(g, n->name, "rank %d; expected 1 to %d dimensions", s.rank, GD_RANK_MAX);
    gd_shape clean = {.rank = s.rank};
    int64_t count = 1;
    for (int i = 0; i < s.rank; i++) {
        if (s.dim[i] < 1 || s.dim[i] > COUNT_MAX / count)
            return gd__refuse(g, n->name,
                              "dimension %d of %s is %" PRId64
                              "; expected sizes of at least 1 and at most 2^40 elements in all",
                              i, show((gd_shape){i + 1, {s.dim[0], s.dim[1], s.dim[2], s.dim[3]}}).s, s.dim[i]);
        clean.dim[i] = s.dim[i];
        count *= s.dim[i];
    }
    n->shape = clean;
    n->dtype = t;
    return true;
}

static bool want_float(gd_graph *g, const gd_node_info *n, int i) {
    gd_dtype t = input(g, n, i)->dtype;
    if (t == GD_F32 || t == GD_BF16) return true;
    return gd__refuse(g, n->name, "input %s is %s; expected f32 or bf16; use gd_cast first", input(g, n, i)->name,
                      gd_dtype_text(t));
}

static bool want_f32(gd_graph *g, const gd_node_info *n, int i) {
    if (input(g, n, i)->dtype == GD_F32) return true;
    return gd__refuse(g, n->name, "input %s is %s; expected f32; use gd_cast first", input(g, n, i)->name,
                      gd_dtype_text(input(g, n, i)->dtype));
}

static bool want_same_dtype(gd_graph *g, const gd_node_info *n) {
    gd_dtype a = input(g, n, 0)->dtype, b = input(g, n, 1)->dtype;
    if (a == b) return true;
    return gd__refuse(g, n->name, "inputs are %s and %s; expected one dtype; use gd_cast first", gd_dtype_text(a),
                      gd_dtype_text(b));
}

static bool want_rank(gd_graph *g, const gd_node_info *n, int i, int rank, const char *letters) {
    gd_shape s = input(g, n, i)->shape;
    if (s.rank == rank) return true;
    return gd__refuse(g, n->name, "input %s has shape %s; expected rank %d, %s", input(g, n, i)->name, show(s).s, rank,
                      letters);
}

static bool want_axes(gd_graph *g, const gd_node_info *n) {
    int rank = input(g, n, 0)->shape.rank;
    uint32_t all = (1u << rank) - 1;
    if (n->attr.axes != 0 && (n->attr.axes & ~all) == 0) return true;
    return gd__refuse(g, n->name, "axes 0x%x on shape %s; expected at least one of the bits 0 to %d", n->attr.axes,
                      show(input(g, n, 0)->shape).s, rank - 1);
}

static gd_shape reduced(gd_shape s, uint32_t axes) {
    for (int i = 0; i < s.rank; i++)
        if (axes >> i & 1) s.dim[i] = 1;
    return s;
}

/* ---- leaves ---- */

static bool check_random(gd_graph *g, const gd_node_info *n) {
    const gd_attr *a = &n->attr;
    if (a->kind != GD_RANDOM_UNIFORM && a->kind != GD_RANDOM_NORMAL)
        return gd__refuse(g, n->name, "random kind %d; expected uniform or normal", a->kind);
    if ((a->purpose & 0xffff) == 0)
        return gd__refuse(g, n->name, "purpose 0; expected a gd_purpose in the low 16 bits");
    int64_t draws = gd_shape_count(n->shape) / n->shape.dim[0];
    if (draws > UINT32_MAX) return gd__refuse(g, n->name, "%" PRId64 " draws a sample; expected less than 2^32", draws);
    return true;
}

static bool infer_leaf(gd_graph *g, gd_node_info *n) {
    const gd_attr *a = &n->attr;
    gd_dtype t = GD_F32;
    if (n->op == GD_OP_INPUT) {
        if (a->kind != GD_F32 && a->kind != GD_BF16 && a->kind != GD_U8)
            return gd__refuse(g, n->name, "dtype %d; expected f32, bf16 or u8", a->kind);
        t = (gd_dtype)a->kind;
    }
    if (n->op == GD_OP_PARAM && a->version < 0)
        return gd__refuse(g, n->name, "version %d; expected 0 or more", a->version);
    if (n->op == GD_OP_CONST && isnan(a->value)) return gd__refuse(g, n->name, "the value is not a number");
    if (!give(g, n, a->shape, t)) return false;
    return n->op != GD_OP_RANDOM || check_random(g, n);
}

/* ---- elementwise ---- */

static bool check_ew_attr(gd_graph *g, const gd_node_info *n) {
    const gd_attr *a = &n->attr;
    if ((n->op == GD_OP_LEAKY || n->op == GD_OP_LEAKY_SLOPE) && !isfinite(a->value))
        return gd__refuse(g, n->name, "slope %g; expected a finite number", a->value);
    if (n->op == GD_OP_CLAMP && !(a->value <= a->value2))
        return gd__refuse(g, n->name, "range %g to %g; expected low <= high", a->value, a->value2);
    return true;
}

static bool infer_same(gd_graph *g, gd_node_info *n) {
    gd_shape s = input(g, n, 0)->shape;
    if (!want_float(g, n, 0)) return false;
    if (n->op == GD_OP_ALLREDUCE && !want_f32(g, n, 0)) return false;
    if (gd_op_arity(n->op) == 2) {
        if (!want_same_dtype(g, n)) return false;
        if (!gd_shape_equal(s, input(g, n, 1)->shape))
            return gd__refuse(g, n->name, "shapes %s and %s; expected equal ones", show(s).s,
                              show(input(g, n, 1)->shape).s);
    }
    return check_ew_attr(g, n) && give(g, n, s, input(g, n, 0)->dtype);
}

static bool infer_cast(gd_graph *g, gd_node_info *n) {
    int t = n->attr.kind;
    if (t != GD_F32 && t != GD_BF16) return gd__refuse(g, n->name, "cast to dtype %d; expected f32 or bf16", t);
    return give(g, n, input(g, n, 0)->shape, (gd_dtype)t);
}

/* ---- shape ---- */

static bool infer_bcast(gd_graph *g, gd_node_info *n) {
    gd_shape x = input(g, n, 0)->shape, y = n->attr.shape;
    bool fits = x.rank == y.rank;
    for (int i = 0; fits && i < x.rank; i++) fits = x.dim[i] == y.dim[i] || x.dim[i] == 1;
    if (!fits)
        return gd__refuse(g, n->name, "%s cannot become %s; expected equal rank, and 1 where sizes differ", show(x).s,
                          y.rank <= GD_RANK_MAX ? show(y).s : "a shape of rank above 4");
    return give(g, n, y, input(g, n, 0)->dtype);
}

static bool infer_sum(gd_graph *g, gd_node_info *n) {
    if (!want_float(g, n, 0) || !want_axes(g, n)) return false;
    return give(g, n, reduced(input(g, n, 0)->shape, n->attr.axes), GD_F32);
}

static bool infer_reshape(gd_graph *g, gd_node_info *n) {
    gd_shape x = input(g, n, 0)->shape, y = n->attr.shape;
    if (!give(g, n, y, input(g, n, 0)->dtype)) return false;
    if (gd_shape_count(x) != gd_shape_count(y))
        return gd__refuse(g, n->name, "%s has %" PRId64 " elements, %s has %" PRId64 "; expected as many", show(x).s,
                          gd_shape_count(x), show(y).s, gd_shape_count(y));
    return true;
}

static bool infer_permute(gd_graph *g, gd_node_info *n) {
    gd_shape x = input(g, n, 0)->shape, y = {.rank = x.rank};
    uint32_t seen = 0;
    for (int i = 0; i < x.rank; i++) {
        int p = n->attr.perm[i];
        if (p < 0 || p >= x.rank || seen >> p & 1)
            return gd__refuse(g, n->name,
                              "output dimension %d is input dimension %d of %s; expected each of 0 to "
                              "%d once",
                              i, p, show(x).s, x.rank - 1);
        seen |= 1u << p;
        y.dim[i] = x.dim[p];
    }
    return give(g, n, y, input(g, n, 0)->dtype);
}

static bool infer_concat(gd_graph *g, gd_node_info *n) {
    gd_shape a = input(g, n, 0)->shape, b = input(g, n, 1)->shape;
    int axis = n->attr.axis;
    if (!want_same_dtype(g, n)) return false;
    if (axis < 0 || axis >= a.rank)
        return gd__refuse(g, n->name, "axis %d of %s; expected 0 to %d", axis, show(a).s, a.rank - 1);
    bool fits = a.rank == b.rank;
    for (int i = 0; fits && i < a.rank; i++) fits = i == axis || a.dim[i] == b.dim[i];
    if (!fits)
        return gd__refuse(g, n->name, "%s and %s do not join along axis %d; expected equal sizes in all others",
                          show(a).s, show(b).s, axis);
    a.dim[axis] += b.dim[axis];
    return give(g, n, a, input(g, n, 0)->dtype);
}

static bool infer_slice(gd_graph *g, gd_node_info *n) {
    gd_shape x = input(g, n, 0)->shape, y = x;
    for (int i = 0; i < x.rank; i++) {
        int64_t lo = n->attr.lo[i], hi = n->attr.hi[i];
        if (lo < 0 || hi <= lo || hi > x.dim[i])
            return gd__refuse(g, n->name,
                              "slice %" PRId64 " to %" PRId64 " of dimension %d of %s; expected "
                              "0 <= begin < end <= %" PRId64,
                              lo, hi, i, show(x).s, x.dim[i]);
        y.dim[i] = hi - lo;
    }
    return give(g, n, y, input(g, n, 0)->dtype);
}

/* Amounts of PAD, PAD_REFLECT and FOLD_REFLECT; inner: the unpadded sizes. */
static bool check_amounts(gd_graph *g, const gd_node_info *n, gd_shape inner) {
    bool reflect = n->op != GD_OP_PAD;
    for (int i = 0; i < inner.rank; i++) {
        int64_t lo = n->attr.lo[i], hi = n->attr.hi[i];
        int64_t most = !reflect ? COUNT_MAX : i == 1 || i == 2 ? inner.dim[i] - 1 : 0;
        if (lo < 0 || hi < 0 || lo > most || hi > most)
            return gd__refuse(g, n->name,
                              "padding %" PRId64 " before and %" PRId64 " after dimension %d of size "
                              "%" PRId64 "; expected 0 to %" PRId64,
                              lo, hi, i, inner.dim[i], most);
    }
    return true;
}

static bool infer_pad(gd_graph *g, gd_node_info *n) {
    gd_shape x = input(g, n, 0)->shape, y = x;
    if (n->op == GD_OP_PAD_REFLECT && !want_rank(g, n, 0, 4, "[N,H,W,C]")) return false;
    if (!check_amounts(g, n, x)) return false;
    for (int i = 0; i < x.rank; i++) y.dim[i] += n->attr.lo[i] + n->attr.hi[i];
    return give(g, n, y, input(g, n, 0)->dtype);
}

static bool infer_fold(gd_graph *g, gd_node_info *n) {
    gd_shape x = input(g, n, 0)->shape, y = x;
    if (!want_float(g, n, 0) || !want_rank(g, n, 0, 4, "[N,H,W,C]")) return false;
    for (int i = 0; i < x.rank; i++) {
        y.dim[i] -= n->attr.lo[i] + n->attr.hi[i];
        if (y.dim[i] < 1)
            return gd__refuse(g, n->name,
                              "folding %" PRId64 " and %" PRId64 " leaves nothing of "
                              "dimension %d of %s",
                              n->attr.lo[i], n->attr.hi[i], i, show(x).s);
    }
    return check_amounts(g, n, y) && give(g, n, y, input(g, n, 0)->dtype);
}

static bool want_factor(gd_graph *g, const gd_node_info *n) {
    if (!want_rank(g, n, 0, 4, "[N,H,W,C]")) return false;
    if (n->attr.factor >= 1 && n->attr.factor <= FACTOR_MAX) return true;
    return gd__refuse(g, n->name, "factor %d; expected 1 to %d", n->attr.factor, FACTOR_MAX);
}

static bool infer_up(gd_graph *g, gd_node_info *n) {
    if (!want_factor(g, n)) return false;
    gd_shape y = input(g, n, 0)->shape;
    y.dim[1] *= n->attr.factor;
    y.dim[2] *= n->attr.factor;
    return give(g, n, y, input(g, n, 0)->dtype);
}

static bool infer_pool(gd_graph *g, gd_node_info *n) {
    if (!want_float(g, n, 0) || !want_factor(g, n)) return false;
    gd_shape y = input(g, n, 0)->shape;
    int f = n->attr.factor;
    if (y.dim[1] % f || y.dim[2] % f)
        return gd__refuse(g, n->name, "height and width of %s; expected multiples of the factor %d", show(y).s, f);
    y.dim[1] /= f;
    y.dim[2] /= f;
    return give(g, n, y, input(g, n, 0)->dtype);
}

/* ---- heavy ---- */

/* Operands of one float dtype; result dtype from the attribute. */
static bool want_operands(gd_graph *g, const gd_node_info *n) {
    if (!want_float(g, n, 0) || !want_float(g, n, 1) || !want_same_dtype(g, n)) return false;
    if (n->attr.kind == GD_F32 || n->attr.kind == GD_BF16) return true;
    return gd__refuse(g, n->name, "result dtype %d; expected f32 or bf16", n->attr.kind);
}

static bool infer_matmul(gd_graph *g, gd_node_info *n) {
    if (!want_operands(g, n) || !want_rank(g, n, 0, 2, "[M,L]") || !want_rank(g, n, 1, 2, "[L,N]")) return false;
    gd_shape a = input(g, n, 0)->shape, b = input(g, n, 1)->shape;
    int ta = n->attr.ta != 0, tb = n->attr.tb != 0;
    if (a.dim[!ta] != b.dim[tb])
        return gd__refuse(g, n->name, "%s%s times %s%s: inner sizes %" PRId64 " and %" PRId64 "; expected equal ones",
                          show(a).s, ta ? "^T" : "", show(b).s, tb ? "^T" : "", a.dim[!ta], b.dim[tb]);
    return give(g, n, gd_shape2(a.dim[ta], b.dim[!tb]), (gd_dtype)n->attr.kind);
}

bool gd__conv_shape(gd_shape x, gd_shape w, const gd_attr *a, gd_shape *y, char why[160]) {
    if (x.rank != 4 || w.rank != 4) {
        snprintf(why, 160, "ranks %d and %d; expected x [N,H,W,C] and w [K,R,S,C]", x.rank, w.rank);
        return false;
    }
    if (x.dim[3] != w.dim[3]) {
        snprintf(why, 160, "x has %" PRId64 " channels, w is for %" PRId64 "; expected as many", x.dim[3], w.dim[3]);
        return false;
    }
    bool pads = true;
    for (int i = 0; i < 4; i++) pads = pads && a->pad[i] >= 0;
    if (a->stride < 1 || !pads) {
        snprintf(why, 160, "stride %d, padding %d %d %d %d; expected at least 1, and 0 or more", a->stride, a->pad[0],
                 a->pad[1], a->pad[2], a->pad[3]);
        return false;
    }
    int64_t h = x.dim[1] + a->pad[0] + a->pad[1], v = x.dim[2] + a->pad[2] + a->pad[3];
    if (h < w.dim[1] || v < w.dim[2]) {
        snprintf(why, 160, "padded image %" PRId64 "x%" PRId64 "; expected at least the kernel's %" PRId64 "x%" PRId64,
                 h, v, w.dim[1], w.dim[2]);
        return false;
    }
    *y = gd_shape4(x.dim[0], (h - w.dim[1]) / a->stride + 1, (v - w.dim[2]) / a->stride + 1, w.dim[0]);
    return true;
}

/* The convolution y = conv(x, w) that a CONV* node belongs to; refuses what does not fit it. */
static bool check_conv(gd_graph *g, const gd_node_info *n, gd_shape x, gd_shape w, gd_shape *y) {
    char why[160];
    if (gd__conv_shape(x, w, &n->attr, y, why)) return true;
    return gd__refuse(g, n->name, "x %s, w %s: %s", show(x).s, show(w).s, why);
}

static bool want_target(gd_graph *g, const gd_node_info *n) {
    gd_node_info probe = *n; /* only the sizes are checked here */
    if (n->attr.shape.rank == 4) return give(g, &probe, n->attr.shape, GD_F32);
    return gd__refuse(g, n->name, "target shape has rank %d; expected 4", n->attr.shape.rank);
}

static bool want_dy(gd_graph *g, const gd_node_info *n, int i, gd_shape y) {
    gd_shape dy = input(g, n, i)->shape;
    if (gd_shape_equal(dy, y)) return true;
    return gd__refuse(g, n->name, "dy %s has shape %s; expected %s", input(g, n, i)->name, show(dy).s, show(y).s);
}

static bool infer_conv(gd_graph *g, gd_node_info *n) {
    gd_shape y;
    if (!want_operands(g, n)) return false;
    if (!check_conv(g, n, input(g, n, 0)->shape, input(g, n, 1)->shape, &y)) return false;
    return give(g, n, y, (gd_dtype)n->attr.kind);
}

static bool infer_conv_dx(gd_graph *g, gd_node_info *n) {
    gd_shape y;
    if (!want_operands(g, n) || !want_target(g, n)) return false;
    if (!check_conv(g, n, n->attr.shape, input(g, n, 1)->shape, &y)) return false;
    return want_dy(g, n, 0, y) && give(g, n, n->attr.shape, (gd_dtype)n->attr.kind);
}

static bool infer_conv_dw(gd_graph *g, gd_node_info *n) {
    gd_shape y;
    if (!want_operands(g, n) || !want_target(g, n)) return false;
    if (!check_conv(g, n, input(g, n, 0)->shape, n->attr.shape, &y)) return false;
    return want_dy(g, n, 1, y) && give(g, n, n->attr.shape, (gd_dtype)n->attr.kind);
}

/* ---- high ---- */

static bool infer_norm(gd_graph *g, gd_node_info *n) {
    if (!want_f32(g, n, 0) || !want_axes(g, n)) return false;
    if (!(n->attr.value > 0) || !isfinite(n->attr.value))
        return gd__refuse(g, n->name, "eps %g; expected a positive number", n->attr.value);
    gd_shape x = input(g, n, 0)->shape;
    return give(g, n, n->op == GD_OP_NORMALIZE ? x : reduced(x, n->attr.axes), GD_F32);
}

const gd__infer_fn gd__op_infer[GD_OP_COUNT] = {
#define GD_OP_INFER(name, text, in, class, infer, vjp) infer,
    GD_OP_LIST(GD_OP_INFER)
#undef GD_OP_INFER
};
