/* compute/ref/move.c -- ops that rearrange or add up elements.
 *
 * Most are a walk over a box of up to four dimensions with one step a dimension on each side; a step
 * of 0 repeats (broadcast) or adds up (sum). The image ops map rows and columns instead. */
#include <string.h>

#include "compute/ref/ref.h"

typedef struct box {
    int64_t dim[GD_RANK_MAX], to_step[GD_RANK_MAX], from_step[GD_RANK_MAX];
    int64_t to_at, from_at;
} box;

static void dense_steps(gd_shape s, int64_t step[GD_RANK_MAX]) {
    int64_t n = 1;
    for (int i = GD_RANK_MAX - 1; i >= 0; i--) {
        step[i] = i < s.rank ? n : 0;
        if (i < s.rank) n *= s.dim[i];
    }
}

/* A box over all of shape `over`, with dense steps of `to` and `from`. */
static box box_over(gd_shape over, gd_shape to, gd_shape from) {
    box b = {.to_at = 0};
    for (int i = 0; i < GD_RANK_MAX; i++) b.dim[i] = i < over.rank ? over.dim[i] : 1;
    dense_steps(to, b.to_step);
    dense_steps(from, b.from_step);
    return b;
}

static void add_row(const box *b, double *to, const double *from) {
    int64_t n = b->dim[3], ts = b->to_step[3], fs = b->from_step[3];
    for (int64_t i = 0; i < n; i++) to[i * ts] += from[i * fs];
}

static void copy_row(const box *b, double *to, const double *from) {
    int64_t n = b->dim[3], ts = b->to_step[3], fs = b->from_step[3];
    for (int64_t i = 0; i < n; i++) to[i * ts] = from[i * fs];
}

static void walk(const box *b, void (*row)(const box *, double *, const double *), double *to, const double *from) {
    const int64_t *t = b->to_step, *f = b->from_step;
    to += b->to_at;
    from += b->from_at;
    for (int64_t i = 0; i < b->dim[0]; i++)
        for (int64_t j = 0; j < b->dim[1]; j++)
            for (int64_t k = 0; k < b->dim[2]; k++)
                row(b, to + i * t[0] + j * t[1] + k * t[2], from + i * f[0] + j * f[1] + k * f[2]);
}

static void clear(const gd__ref_call *c) { memset(c->y, 0, (size_t)gd_shape_count(c->n->shape) * sizeof(double)); }

static void broadcast(const gd__ref_call *c) {
    box b = box_over(c->n->shape, c->n->shape, c->sa);
    for (int i = 0; i < c->sa.rank; i++)
        if (c->sa.dim[i] == 1) b.from_step[i] = 0;
    walk(&b, copy_row, c->y, c->a);
}

static void sum(const gd__ref_call *c) {
    box b = box_over(c->sa, c->n->shape, c->sa);
    for (int i = 0; i < c->sa.rank; i++)
        if (c->n->attr.axes >> i & 1) b.to_step[i] = 0;
    clear(c);
    walk(&b, add_row, c->y, c->a);
}

static void permute(const gd__ref_call *c) {
    int64_t from[GD_RANK_MAX];
    dense_steps(c->sa, from);
    box b = box_over(c->n->shape, c->n->shape, c->sa);
    for (int i = 0; i < c->sa.rank; i++) b.from_step[i] = from[c->n->attr.perm[i]];
    walk(&b, copy_row, c->y, c->a);
}

static void concat(const gd__ref_call *c) {
    box a = box_over(c->sa, c->n->shape, c->sa), b = box_over(c->sb, c->n->shape, c->sb);
    int axis = c->n->attr.axis;
    b.to_at = c->sa.dim[axis] * b.to_step[axis];
    walk(&a, copy_row, c->y, c->a);
    walk(&b, copy_row, c->y, c->b);
}

static void slice(const gd__ref_call *c) {
    box b = box_over(c->n->shape, c->n->shape, c->sa);
    for (int i = 0; i < c->sa.rank; i++) b.from_at += c->n->attr.lo[i] * b.from_step[i];
    walk(&b, copy_row, c->y, c->a);
}

static void pad(const gd__ref_call *c) {
    box b = box_over(c->sa, c->n->shape, c->sa);
    for (int i = 0; i < c->sa.rank; i++) b.to_at += c->n->attr.lo[i] * b.to_step[i];
    clear(c);
    walk(&b, copy_row, c->y, c->a);
}

/* ---- images: a large and a small one, each large pixel belongs to one small pixel ---- */

/* Index i of a padded line in the line of n below it: -2 -1 | 0 1 .. -> 2 1 | 0 1 .. */
static int64_t mirror(int64_t i, int64_t before, int64_t n) {
    i -= before;
    if (i < 0) i = -i;
    return i < n ? i : 2 * (n - 1) - i;
}

/* Where pixel i of the large image, along dimension d, is in the small one. */
static int64_t source(const gd_node_info *n, int d, int64_t i, int64_t small) {
    bool reflects = n->op == GD_OP_PAD_REFLECT || n->op == GD_OP_FOLD_REFLECT;
    return reflects ? mirror(i, n->attr.lo[d], small) : i / n->attr.factor;
}

/* gathers: y is the large image and copies; else y is the small one and adds up. */
static void image(const gd__ref_call *c, bool gathers) {
    gd_shape large = gathers ? c->n->shape : c->sa, small = gathers ? c->sa : c->n->shape;
    int64_t channels = large.dim[3];
    if (!gathers) clear(c);
    for (int64_t n = 0; n < large.dim[0]; n++)
        for (int64_t h = 0; h < large.dim[1]; h++)
            for (int64_t w = 0; w < large.dim[2]; w++) {
                int64_t sh = source(c->n, 1, h, small.dim[1]), sw = source(c->n, 2, w, small.dim[2]);
                int64_t in_large = ((n * large.dim[1] + h) * large.dim[2] + w) * channels;
                int64_t in_small = ((n * small.dim[1] + sh) * small.dim[2] + sw) * channels;
                for (int64_t k = 0; k < channels; k++) {
                    if (gathers) c->y[in_large + k] = c->a[in_small + k];
                    else c->y[in_small + k] += c->a[in_large + k];
                }
            }
}

void gd__ref_move(const gd__ref_call *c) {
    switch (c->n->op) {
    case GD_OP_BROADCAST: broadcast(c); break;
    case GD_OP_SUM: sum(c); break;
    case GD_OP_PERMUTE: permute(c); break;
    case GD_OP_CONCAT: concat(c); break;
    case GD_OP_SLICE: slice(c); break;
    case GD_OP_PAD: pad(c); break;
    case GD_OP_PAD_REFLECT:
    case GD_OP_UPSAMPLE: image(c, true); break;
    case GD_OP_FOLD_REFLECT:
    case GD_OP_SUMPOOL: image(c, false); break;
    default: /* RESHAPE, ALLREDUCE: the same elements, often the same memory */
        if (c->y != c->a) memcpy(c->y, c->a, (size_t)gd_shape_count(c->n->shape) * sizeof(double));
    }
}
