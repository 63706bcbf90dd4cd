/* tests/ops/compute_ref.c -- answers worked out by hand: the executor `ref` is the definition of each
 * op, so it is checked against numbers and not against other code. Kinks, extremes, ties, and draws. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "cases.h"

static int checked, failed;

static void expect(const char *what, const double *is, const double *want, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        checked++;
        double most = 1e-14 * fmax(1, fabs(want[i]));
        if (is[i] == want[i] || fabs(is[i] - want[i]) <= most) continue;
        failed++;
        printf("FAIL %s: element %lld is %.17g; expected %.17g\n", what, (long long)i, is[i], want[i]);
    }
}

/* y of one input tensor with the given values. */
typedef gd_node (*build_fn)(gd_graph *g, gd_node x);
static void check(const char *what, gd_shape s, const double *x, build_fn build, int64_t n, const double *want) {
    gd_graph *g = ops_graph(1);
    gd_output o = {"y", build(g, gd_param(g, "x", s, 0))};
    ops_need(gd_graph_status(g), what);
    ops_prog p = ops_make(g, gd_executor_ref(), 1, &o, GD_PRECISION_F32);
    gd_graph_free(g);
    int64_t count, is;
    double *to = ops_value(&p, "x", &count);
    memcpy(to, x, (size_t)count * sizeof *x);
    ops_run(&p);
    const double *y = ops_value(&p, "y", &is);
    expect(what, y, want, is == n ? n : 0);
    if (is != n) {
        failed++;
        printf("FAIL %s: %lld elements; expected %lld\n", what, (long long)is, (long long)n);
    }
    ops_free(&p);
}

/* d sum(op(x)) / dx */
static gd_node slope_of(gd_graph *g, gd_node x, gd_node y) {
    gd_node dx;
    gd_grad(g, gd_sum_all(g, y), GD_NONE, 1, &x, &dx);
    return dx;
}

#define BUILD(name, expression)                                                                                        \
    static gd_node name(gd_graph *g, gd_node x) { return (expression); }
BUILD(leaky, gd_leaky(g, x, 0.5))
BUILD(leaky_grad, slope_of(g, x, gd_leaky(g, x, 0.5)))
BUILD(relu_grad, slope_of(g, x, gd_leaky(g, x, 0)))
BUILD(backward_leaky_grad, slope_of(g, x, gd_leaky(g, x, -2)))
BUILD(abs_grad, slope_of(g, x, gd_abs(g, x)))
BUILD(clamp, gd_clamp(g, x, -1, 1))
BUILD(clamp_grad, slope_of(g, x, gd_clamp(g, x, -1, 1)))
BUILD(max_tie, slope_of(g, x, gd_max(g, x, gd_stop(g, x))))
BUILD(min_tie, slope_of(g, x, gd_min(g, gd_stop(g, x), x)))
BUILD(round_bf16, gd_cast(g, gd_cast(g, x, GD_BF16), GD_F32))

static void check_kinks(void) {
    const gd_shape s = gd_shape1(5);
    const double x[] = {-2, -1, 0, 1, 2};
    check("step", s, x, gd_step, 5, (const double[]){0, 0, 0, 1, 1});
    check("sign", s, x, gd_sign, 5, (const double[]){-1, -1, 0, 1, 1});
    check("leaky", s, x, leaky, 5, (const double[]){-1, -0.5, 0, 1, 2});
    check("leaky'", s, x, leaky_grad, 5, (const double[]){0.5, 0.5, 0.5, 1, 1});
    check("relu'", s, x, relu_grad, 5, (const double[]){0, 0, 0, 1, 1});
    check("leaky' of slope -2", s, x, backward_leaky_grad, 5, (const double[]){-2, -2, -2, 1, 1});
    check("abs'", s, x, abs_grad, 5, (const double[]){-1, -1, 0, 1, 1});
    check("clamp", s, x, clamp, 5, (const double[]){-1, -1, 0, 1, 1});
    check("clamp'", s, x, clamp_grad, 5, (const double[]){0, 0, 1, 0, 0});
    check("max' to a at a tie", s, x, max_tie, 5, (const double[]){0, 0, 0, 0, 0});
    check("min' to b at a tie", s, x, min_tie, 5, (const double[]){1, 1, 1, 1, 1});
}

static void check_extremes(void) {
    const double x[] = {-1000, 0, 1000};
    check("softplus", gd_shape1(3), x, gd_softplus, 3, (const double[]){0, log(2), 1000});
    check("sigmoid", gd_shape1(3), x, gd_sigmoid, 3, (const double[]){0, 0.5, 1});
    check("tanh", gd_shape1(3), x, gd_tanh, 3, (const double[]){-1, 0, 1});
    /* bf16 has 8 significant bits: 257 is halfway between 256 and 258, 259 between 258 and 260 */
    const double r[] = {257, 259, 257.001, -259, 1.0 / 3, INFINITY};
    check("bf16", gd_shape1(6), r, round_bf16, 6, (const double[]){256, 260, 258, -260, 0.333984375, INFINITY});
}

BUILD(conv_by_hand,
      gd_conv(g, x,
              gd_reshape(g, gd_slice(g, gd_reshape(g, x, gd_shape1(9)), (const int64_t[]){0}, (const int64_t[]){4}),
                         gd_shape4(1, 2, 2, 1)),
              (gd_conv_attr){2, {1, 0, 0, 1}}))
BUILD(outer, gd_matmul(g, x, x, true, false))
BUILD(reflected, gd_pad_reflect(g, x, 2, 0, 0, 1))
BUILD(folded, gd_fold_reflect(g, x, 0, 1, 1, 0))
BUILD(doubled, gd_upsample(g, x, 2))
BUILD(turned, gd_permute(g, x, (const int[]){0, 2, 1, 3}))

static void check_layouts(void) {
    const double x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const gd_shape s = gd_shape4(1, 3, 3, 1);
    /* x with a row of zeros above and a column of zeros right; windows at rows 0, 2 and columns 0, 2;
     * kernel 1 2 / 3 4 is not flipped:
     *   0 0 0 0      [0 0 / 1 2] = 3+8 = 11        [0 0 / 3 0] = 9
     *   1 2 3 0      [4 5 / 7 8] = 4+10+21+32 = 67 [6 0 / 9 0] = 6+27 = 33  */
    check("conv", s, x, conv_by_hand, 4, (const double[]){11, 9, 67, 33});
    check("matmul", gd_shape2(2, 2), x, outer, 4, (const double[]){10, 14, 14, 20});
    check("pad_reflect", s, x, reflected, 20,
          (const double[]){7, 8, 9, 8, 4, 5, 6, 5, 1, 2, 3, 2, 4, 5, 6, 5, 7, 8, 9, 8});
    /* below row 1 lies its mirror image of row 0, left of column 0 that of column 1 */
    check("fold_reflect", s, x, folded, 4, (const double[]){2 + 8, 3 + 1 + 9 + 7, 5, 6 + 4});
    check("upsample", gd_shape4(1, 1, 2, 1), x, doubled, 8, (const double[]){1, 1, 2, 2, 1, 1, 2, 2});
    check("permute", s, x, turned, 9, (const double[]){1, 4, 7, 2, 5, 8, 3, 6, 9});
}

/* Sample n of the shard draws with the key of its index in the global batch: 11 + n (see ops_run). */
static void check_random(gd_random_kind kind) {
    enum { SAMPLES = 3, DRAWS = 150 };
    gd_graph *g = ops_graph(1);
    uint32_t purpose = GD_PURPOSE_TEST | 5u << 16;
    gd_output o = {"z", gd_random(g, kind, purpose, gd_shape2(SAMPLES, DRAWS))};
    ops_prog p = ops_make(g, gd_executor_ref(), 1, &o, GD_PRECISION_F32);
    gd_graph_free(g);
    ops_run(&p);
    const gd_rng r = {7, purpose, 3};
    for (int n = 0; n < SAMPLES; n++) {
        float some[DRAWS];
        double want[DRAWS];
        if (kind == GD_RANDOM_NORMAL) gd_rng_normal(&r, 11 + (uint64_t)n, 0, DRAWS, some);
        else gd_rng_uniform(&r, 11 + (uint64_t)n, 0, DRAWS, some);
        for (int i = 0; i < DRAWS; i++) want[i] = some[i];
        expect("random", ops_value(&p, "z", NULL) + n * DRAWS, want, DRAWS);
    }
    ops_free(&p);
}

int main(void) {
    check_kinks();
    check_extremes();
    check_layouts();
    check_random(GD_RANDOM_UNIFORM);
    check_random(GD_RANDOM_NORMAL);
    printf("%d numbers checked, %d wrong\n", checked, failed);
    return failed || checked == 0;
}
