/* tests/ops/compute_properties.c -- what must hold without knowing any answer.
 *
 * For every linear case A: <A x, y> = <x, A' y> with A' from the gradient rule, and
 * A (a x + b z) = a A x + b A z. For pairs of builders: each is the other's adjoint. For
 * convolution: shifting the image by the stride shifts the result by one; permuting the batch
 * permutes it. For norms: no change under x -> a x + b, mean 0 and variance 1. All on `ref`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

#define LIMIT 1e-11
static int checked, failed;

static void expect(const char *what, const char *name, double error) {
    checked++;
    if (error <= LIMIT) return;
    failed++;
    printf("FAIL %s of %s: error %.3g, limit %g\n", what, name, error, LIMIT);
}

static ops_prog run(gd_graph *g, int n_out, const gd_output *out, const ops_case *c) {
    ops_need(gd_graph_status(g), c ? c->name : "graph");
    ops_prog p = ops_make(g, gd_executor_ref(), n_out, out, GD_PRECISION_F32);
    gd_graph_free(g);
    for (int i = 0; i < p.n; i++) {
        ops_buffer *b = &p.buffer[i];
        if (b->is.is_output) continue;
        bool second = strcmp(b->is.name, "x1") == 0;
        uint64_t key = 0;
        for (const char *s = b->is.name; *s; s++) key = key * 31 + (unsigned char)*s;
        ops_draw(b->value, b->count, c && second ? c->fill[1] : OPS_NORMAL, 5, key);
    }
    ops_run(&p);
    return p;
}

static double value(const ops_prog *p, const char *name) { return *ops_value(p, name, NULL); }
static double relative(double a, double b) { return fabs(a - b) / fmax(1, fmax(fabs(a), fabs(b))); }

static gd_node dot(gd_graph *g, gd_node a, gd_node b) { return gd_sum_all(g, gd_mul(g, a, b)); }

static void check_adjoint(const ops_case *c) {
    gd_graph *g = ops_graph(1);
    gd_node x[2], dx;
    gd_node Ax = ops_case_build(g, c, x), y = gd_input(g, "c", GD_F32, gd_node_shape(g, Ax));
    if (c->op == GD_OP_STOP) goto out; /* its gradient is declared, not the adjoint */
    gd_grad(g, Ax, y, 1, x, &dx);
    gd_output o[2] = {{"left", dot(g, Ax, y)}, {"right", dot(g, gd_cast(g, x[0], GD_F32), dx)}};
    ops_prog p = run(g, 2, o, c);
    expect("adjoint", c->name, relative(value(&p, "left"), value(&p, "right")));
    ops_free(&p);
    return;
out:
    gd_graph_free(g);
}

static void check_linear(const ops_case *c) {
    gd_graph *g = ops_graph(1);
    gd_node x[2] = {gd_input(g, "x0", GD_F32, c->in[0]), GD_NONE}, z[2] = {GD_NONE, GD_NONE};
    z[0] = gd_input(g, "z", GD_F32, c->in[0]);
    if (c->n_in == 2) x[1] = z[1] = gd_input(g, "x1", GD_F32, c->in[1]);
    gd_node mix[2] = {gd_add(g, gd_scale(g, x[0], 1.5), gd_scale(g, z[0], -0.7)), x[1]};
    gd_node left = ops_case_op(g, c, mix);
    gd_node right = gd_add(g, gd_scale(g, ops_case_op(g, c, x), 1.5), gd_scale(g, ops_case_op(g, c, z), -0.7));
    gd_output o[2] = {{"left", left}, {"right", right}};
    ops_prog p = run(g, 2, o, c);
    int64_t n;
    const double *l = ops_value(&p, "left", &n);
    expect("linearity", c->name, ops_distance(l, ops_value(&p, "right", NULL), n, 1));
    ops_free(&p);
}

/* The builders that transposed convolution and weight gradients go by, against conv itself. */
static void check_conv_pair(const ops_case *c) {
    gd_graph *g = ops_graph(1);
    gd_conv_attr a = {c->attr.stride, {c->attr.pad[0], c->attr.pad[1], c->attr.pad[2], c->attr.pad[3]}};
    gd_node x = gd_input(g, "x", GD_F32, c->in[0]), w = gd_input(g, "w", GD_F32, c->in[1]);
    gd_node y = gd_conv(g, x, w, a), dy = gd_input(g, "dy", GD_F32, gd_node_shape(g, y));
    gd_output o[3] = {{"T", dot(g, y, dy)},
                      {"T_dx", dot(g, x, gd_conv_dx(g, dy, w, c->in[0], a))},
                      {"T_dw", dot(g, w, gd_conv_dw(g, x, dy, c->in[1], a))}};
    ops_prog p = run(g, 3, o, NULL);
    expect("conv_dx", c->name, relative(value(&p, "T"), value(&p, "T_dx")));
    expect("conv_dw", c->name, relative(value(&p, "T"), value(&p, "T_dw")));
    ops_free(&p);
}

/* Two results that should be equal. */
static void expect_same(gd_graph *g, gd_node a, gd_node b, const char *what, const char *name) {
    gd_output o[2] = {{"a", a}, {"b", b}};
    ops_prog p = run(g, 2, o, NULL);
    int64_t n;
    const double *va = ops_value(&p, "a", &n);
    expect(what, name, ops_distance(va, ops_value(&p, "b", NULL), n, 1));
    ops_free(&p);
}

static void check_conv_shift(const ops_case *c) {
    gd_graph *g = ops_graph(1);
    int s = c->attr.stride;
    gd_conv_attr a = {s, {c->attr.pad[0], c->attr.pad[1], c->attr.pad[2], c->attr.pad[3]}};
    gd_node x = gd_input(g, "x", GD_F32, c->in[0]), w = gd_input(g, "w", GD_F32, c->in[1]);
    gd_node y = gd_conv(g, x, w, a);
    int64_t before[4] = {0, s, s, 0}, after[4] = {0};
    gd_node moved = gd_conv(g, gd_pad(g, x, before, after), w, a);
    gd_shape size = gd_node_shape(g, moved);
    int64_t lo[4] = {0, 1, 1, 0}, hi[4] = {size.dim[0], size.dim[1], size.dim[2], size.dim[3]};
    expect_same(g, gd_slice(g, moved, lo, hi), y, "shift", c->name);
}

/* The first sample moved to the end. */
static gd_node rotate(gd_graph *g, gd_node x) {
    gd_shape s = gd_node_shape(g, x);
    int64_t lo[4] = {0}, hi[4];
    memcpy(hi, s.dim, sizeof hi);
    hi[0] = 1;
    gd_node first = gd_slice(g, x, lo, hi);
    lo[0] = 1;
    hi[0] = s.dim[0];
    return gd_concat(g, gd_slice(g, x, lo, hi), first, 0);
}

static void check_batch(const ops_case *c) {
    if (c->in[0].dim[0] < 2) return;
    gd_graph *g = ops_graph(1);
    gd_node x[2] = {gd_input(g, "x", GD_F32, c->in[0]), GD_NONE};
    if (c->n_in == 2) x[1] = gd_input(g, "w", GD_F32, c->in[1]);
    gd_node moved[2] = {rotate(g, x[0]), x[1]};
    gd_node y = ops_case_op(g, c, x);
    if (gd_node_shape(g, y).dim[0] > 1) y = rotate(g, y); /* else: a statistic of the whole batch */
    expect_same(g, ops_case_op(g, c, moved), y, "batch order", c->name);
}

static void check_norm(const ops_case *c) {
    const double eps = 1e-13;
    gd_graph *g = ops_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, c->in[0]);
    gd_node y = gd_normalize(g, x, c->attr.axes, eps, false);
    expect_same(g, gd_normalize(g, gd_shift(g, gd_scale(g, x, 3), -2), c->attr.axes, eps, false), y, "scale and shift",
                c->name);
    g = ops_graph(1);
    x = gd_input(g, "x", GD_F32, c->in[0]);
    y = gd_normalize(g, x, c->attr.axes, eps, false);
    gd_node mean = gd_mean(g, y, c->attr.axes), square = gd_mean(g, gd_square(g, y), c->attr.axes);
    expect_same(g, gd_sub(g, square, mean), gd_const(g, 1, gd_node_shape(g, mean)), "mean and variance", c->name);
    g = ops_graph(1);
    x = gd_input(g, "x", GD_F32, c->in[0]);
    gd_node r = gd_norm_rstd(g, x, c->attr.axes, 0.1, false);
    gd_node centred = gd_sub(g, x, gd_mean(g, x, c->attr.axes));
    expect_same(g, gd_mul(g, centred, r), gd_normalize(g, x, c->attr.axes, 0.1, false), "rstd", c->name);
}

/* Rows that a stride leaves uncovered get no gradient; those beside them do. */
static void check_gaps(void) {
    gd_graph *g = ops_graph(1);
    gd_node dy = gd_input(g, "dy", GD_F32, gd_shape4(1, 3, 3, 2)), w = gd_input(g, "w", GD_F32, gd_shape4(2, 1, 1, 3));
    gd_output o = {"dx", gd_conv_dx(g, dy, w, gd_shape4(1, 6, 6, 3), (gd_conv_attr){2, {0}})};
    ops_prog p = run(g, 1, &o, NULL);
    const double *dx = ops_value(&p, "dx", NULL);
    for (int h = 0; h < 6; h++)
        for (int v = 0; v < 6; v++)
            for (int c = 0; c < 3; c++) {
                bool covered = h % 2 == 0 && v % 2 == 0;
                expect("gap", "conv_dx", covered == (dx[(h * 6 + v) * 3 + c] != 0) ? 0 : 1);
            }
    ops_free(&p);
}

int main(int argc, char **argv) {
    int n;
    const ops_case *list = ops_cases(&n);
    for (int i = 0; i < n; i++) {
        const ops_case *c = &list[i];
        if ((c->traits & OPS_LARGE) || !ops_case_wanted(c, argc, argv)) continue;
        bool norm = gd_op_class_of(c->op) == GD_CLASS_HIGH;
        if (c->traits & OPS_LINEAR) {
            check_adjoint(c);
            check_linear(c);
        }
        if (c->op == GD_OP_CONV) {
            check_conv_pair(c);
            check_conv_shift(c);
        }
        if (c->op == GD_OP_CONV || c->op == GD_OP_CONV_DX || norm) check_batch(c);
        if (c->op == GD_OP_NORMALIZE) check_norm(c);
    }
    check_gaps();
    printf("%d properties checked, %d failed\n", checked, failed);
    return failed || checked == 0;
}
