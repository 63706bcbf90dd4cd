/* Adversarial losses against their formulas, on ref. */
#include <math.h>
#include <string.h>

#include "tests/unit/models_rig.h"

enum { N = 6, N_GLOBAL = 24 };
static const double logits[N] = {-40, -1.5, 0, 0.25, 1, 40};

/* log(1 + e^x) the slow way that is right for these numbers. */
static double softplus(double x) { return x > 30 ? x : log1p(exp(x)); }
static double square(double x) { return x * x; }

static double value_d_real(gd_loss_kind k, double x, double label) {
    switch (k) {
    case GD_LOSS_NON_SATURATING:
    case GD_LOSS_BLEND:
    case GD_LOSS_MINIMAX: return label * softplus(-x) + (1 - label) * softplus(x);
    case GD_LOSS_LEAST_SQUARES: return square(x - 1) / 2;
    case GD_LOSS_WASSERSTEIN: return -x;
    case GD_LOSS_HINGE: return fmax(0, 1 - x);
    }
    return NAN;
}

static double value_d_fake(gd_loss_kind k, double x) {
    switch (k) {
    case GD_LOSS_NON_SATURATING:
    case GD_LOSS_BLEND:
    case GD_LOSS_MINIMAX: return softplus(x);
    case GD_LOSS_LEAST_SQUARES: return square(x) / 2;
    case GD_LOSS_WASSERSTEIN: return x;
    case GD_LOSS_HINGE: return fmax(0, 1 + x);
    }
    return NAN;
}

/* m: the share of minimax in a blend. */
static double value_g(gd_loss_kind k, double x, double m) {
    switch (k) {
    case GD_LOSS_NON_SATURATING: return softplus(-x);
    case GD_LOSS_MINIMAX: return -softplus(x);
    case GD_LOSS_BLEND: return (1 - m) * softplus(-x) - m * softplus(x);
    case GD_LOSS_LEAST_SQUARES: return square(x - 1) / 2;
    case GD_LOSS_WASSERSTEIN:
    case GD_LOSS_HINGE: return -x;
    }
    return NAN;
}

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)))) fail_msg("%.17g, expected %.17g", got, want);
}

/* The three losses of logits of shape s, on one shard. */
static void compute(const gd_loss_spec *l, gd_shape s, double out[3]) {
    gd_graph *g;
    rig_ok(gd_graph_new(1, &g));
    gd_node x = gd_input(g, "x", GD_F32, s);
    gd_output list[] = {{"real", gd_loss_d_real(g, l, x, N_GLOBAL)},
                        {"fake", gd_loss_d_fake(g, l, x, N_GLOBAL)},
                        {"g", gd_loss_g(g, l, x, N_GLOBAL)}};
    rig_ok(gd_graph_status(g));
    gd_step_graph step = {.graph = g, .outputs = list, .n_outputs = 3, .n_phases = 1};
    rig *r = rig_new(&step, "ref");
    rig_set(r, 0, "x", logits);
    rig_run(r, 0, 0, s.dim[0], NULL, NULL);
    for (int i = 0; i < 3; i++) rig_get(r, 0, list[i].name, &out[i]);
    rig_free(r);
    gd_graph_free(g);
}

static void check(gd_loss_spec l, gd_shape s) {
    double got[3], want[3] = {0};
    double label = l.label_real == 0 ? 1 : l.label_real;
    double per = (double)N_GLOBAL * N / (double)s.dim[0]; /* samples of all shards x patches */
    double d = l.d_scale == 0 ? 1 : l.d_scale, gs = l.g_scale == 0 ? 1 : l.g_scale;
    for (int i = 0; i < N; i++) {
        want[0] += d * value_d_real(l.kind, logits[i], label) / per;
        want[1] += d * value_d_fake(l.kind, logits[i]) / per;
        want[2] += gs * value_g(l.kind, logits[i], l.minimax) / per;
    }
    compute(&l, s, got);
    for (int i = 0; i < 3; i++) near(got[i], want[i]);
}

static void formulas(void **state) {
    (void)state;
    for (int k = 0; k <= GD_LOSS_BLEND; k++) {
        check((gd_loss_spec){.kind = (gd_loss_kind)k}, gd_shape2(N, 1));
        check((gd_loss_spec){.kind = (gd_loss_kind)k, .d_scale = 0.5, .g_scale = 2}, gd_shape2(N, 1));
        check((gd_loss_spec){.kind = (gd_loss_kind)k}, gd_shape4(2, 3, 1, 1)); /* patches */
    }
    check((gd_loss_spec){.kind = GD_LOSS_NON_SATURATING, .label_real = 0.9}, gd_shape2(N, 1));
    check((gd_loss_spec){.kind = GD_LOSS_MINIMAX, .label_real = 0.7}, gd_shape2(N, 1));
    static const double shares[] = {0.25, 0.5, 1}; /* 0 is in the loop above */
    for (int i = 0; i < 3; i++) check((gd_loss_spec){.kind = GD_LOSS_BLEND, .minimax = shares[i]}, gd_shape2(N, 1));
    check((gd_loss_spec){.kind = GD_LOSS_BLEND, .minimax = 0.3, .label_real = 0.9, .g_scale = 3},
          gd_shape4(2, 3, 1, 1));
}

/* A discriminator that cannot tell: 2 ln 2 for cross-entropy, 1/4 each for least squares at 1/2. */
static void balance(void **state) {
    (void)state;
    near(2 * value_d_real(GD_LOSS_NON_SATURATING, 0, 1), 1.3862943611198906);
    gd_graph *g;
    rig_ok(gd_graph_new(1, &g));
    gd_loss_spec ns = {.kind = GD_LOSS_NON_SATURATING}, ls = {.kind = GD_LOSS_LEAST_SQUARES};
    gd_node zero = gd_input(g, "zero", GD_F32, gd_shape2(N, 1)), half = gd_input(g, "half", GD_F32, gd_shape2(N, 1));
    gd_output list[] = {
        {"ns", gd_add(g, gd_loss_d_real(g, &ns, zero, N), gd_loss_d_fake(g, &ns, zero, N))},
        {"ls", gd_add(g, gd_loss_d_real(g, &ls, half, N), gd_loss_d_fake(g, &ls, half, N))},
    };
    rig_ok(gd_graph_status(g));
    gd_step_graph step = {.graph = g, .outputs = list, .n_outputs = 2, .n_phases = 1};
    rig *r = rig_new(&step, "ref");
    const double halves[N] = {.5, .5, .5, .5, .5, .5}, zeros[N] = {0};
    double got;
    rig_set(r, 0, "zero", zeros);
    rig_set(r, 0, "half", halves);
    rig_run(r, 0, 0, N, NULL, NULL);
    rig_get(r, 0, "ns", &got);
    near(got, 2 * log(2));
    rig_get(r, 0, "ls", &got);
    near(got, 0.25);
    rig_free(r);
    gd_graph_free(g);
}

static void names(void **state) {
    (void)state;
    int count;
    const char *const *list = gd_loss_names(&count);
    assert_int_equal(count, GD_LOSS_BLEND + 1);
    for (int i = 0; i < count; i++) {
        gd_loss_kind k;
        assert_true(gd_loss_find(list[i], &k));
        assert_int_equal(k, i);
    }
    gd_loss_kind k;
    assert_false(gd_loss_find("wgan", &k));
    assert_true(gd_loss_has_probability(GD_LOSS_MINIMAX));
    assert_true(gd_loss_has_probability(GD_LOSS_BLEND));
    assert_false(gd_loss_has_probability(GD_LOSS_HINGE));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(formulas), cmocka_unit_test(balance), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
