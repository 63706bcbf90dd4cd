/* Spectral normalisation: what it converges to, what moves it, what it stores, and that shards never average it. Against
 * PyTorch: tests/golden. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/layers.h"
#include "tests/unit/models_rig.h"

static gd_net *make(gd_net_spec s) {
    gd_net *n;
    rig_ok(gd_net_new(&s, &n));
    return n;
}

static gd_net *of_layer(gd_layer_spec l, int64_t h, int64_t w, int64_t from, int64_t to) {
    return make((gd_net_spec){.arch = "layers",
                              .generator = true,
                              .in_channels = from,
                              .height = h,
                              .width_px = w,
                              .channels = to,
                              .spectral = true,
                              .layers = &l,
                              .layer_count = 1});
}

enum { PASSES = 40, LENGTH_MAX = 64 };

/* y = net(x) after PASSES training passes. */
static void converge(gd_net *n, gd_shape in, const double *x, const double *weight, double *y) {
    gd_graph *g;
    gd_net_use *u;
    rig_ok(gd_graph_new(1, &g));
    rig_ok(gd_net_use_new(n, g, "D", 0, &u));
    gd_node input = gd_input(g, "x", GD_F32, in);
    for (int i = 0; i < PASSES; i++) gd_net_apply(u, input, NULL);
    gd_output out = {"y", gd_net_apply(u, input, &(gd_apply_opts){.eval = true})};
    rig_ok(gd_graph_status(g));
    rig *r = rig_new(&(gd_step_graph){.graph = g, .outputs = &out, .n_outputs = 1, .n_phases = 1}, "ref");
    double start[LENGTH_MAX];
    rig_numbers(1, LENGTH_MAX, 0.25, 1, start);
    rig_set(r, 0, "D/main.0.weight_u", start);
    rig_set(r, 0, "D/main.0.weight_v", start + 1);
    rig_set(r, 0, "D/main.0.weight_orig", weight);
    rig_set(r, 0, "x", x);
    rig_run(r, 0, 0, in.dim[0], NULL, NULL);
    rig_get(r, 0, "y", y);
    rig_free(r);
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(n);
}

/* Singular values 3 and 1, turned: the largest becomes 1, the other a third. */
static void largest_becomes_one(void **state) {
    (void)state;
    const double c = cos(0.7), s = sin(0.7), x[2] = {c, s};
    const double weight[4] = {3 * c, 3 * s, -s, c}; /* rows 3 (c, s) and (-s, c) */
    double y[2];
    gd_layer_spec dense = {.kind = "dense", .size = 2};
    converge(of_layer(dense, 1, 1, 2, 2), gd_shape4(1, 1, 1, 2), x, weight, y);
    assert_true(fabs(y[0] - 1) < 1e-9 && fabs(y[1]) < 1e-9);
}

/* The matrix of a convolution is [out, everything else]: with one output channel sigma is the weight's length. That of a
 * transposed convolution, too: it has one column for its one output channel. */
static void matrices_of_convolutions(void **state) {
    (void)state;
    double weight[18], x[18], y[1], squares = 0, sum = 0;
    rig_numbers(4, 18, 1, 0, weight);
    rig_numbers(5, 18, 1, 0, x);
    for (int i = 0; i < 18; i++) {
        squares += weight[i] * weight[i];
        sum += weight[i] * x[i];
    }
    gd_net *n = make((gd_net_spec){.arch = "layers",
                                   .height = 3,
                                   .width_px = 3,
                                   .channels = 2,
                                   .spectral = true,
                                   .layers = &(gd_layer_spec){.kind = "conv", .size = 1, .kernel = 3, .bias = 0},
                                   .layer_count = 1});
    converge(n, gd_shape4(1, 3, 3, 2), x, weight, y);
    assert_true(fabs(y[0] - sum / sqrt(squares)) < 1e-9);

    gd_layer_spec up = {.kind = "deconv", .size = 1, .kernel = 3, .stride = 1, .pad = 1}; /* [in 2, 3 x 3, out 1] */
    converge(of_layer(up, 1, 1, 2, 1), gd_shape4(1, 1, 1, 2), x, weight, y);
    assert_true(fabs(y[0] - (x[0] * weight[4] + x[1] * weight[13]) / sqrt(squares)) < 1e-9);
}

/* Three shards: an average would not even be exact. Batch norm's statistics are averaged, singular vectors are not. */
static void shards_do_not_average(void **state) {
    (void)state;
    gd_net *n =
        make((gd_net_spec){.arch = "dcgan", .height = 16, .width_px = 16, .channels = 1, .width = 2, .spectral = true});
    gd_graph *g;
    gd_net_use *u;
    rig_ok(gd_graph_new(3, &g));
    rig_ok(gd_net_use_new(n, g, "D", 0, &u));
    gd_net_apply(u, gd_input(g, "x", GD_F32, gd_shape4(2, 16, 16, 1)), NULL);
    const gd_param_info *p;
    int count = gd_net_params(n, &p), replicated = 0, averaged = 0;
    gd_node *before = malloc((size_t)count * sizeof *before);
    assert_non_null(before);
    for (int i = 0; i < count; i++) before[i] = u->node[i];
    gd__use_average_buffers(u);
    rig_ok(gd_graph_status(g));
    for (int i = 0; i < count; i++) {
        bool changed = before[i] != u->node[i];
        assert_int_equal(changed, p[i].buffer && !p[i].replicated);
        replicated += p[i].replicated;
        averaged += changed;
    }
    assert_int_equal(replicated, 2 * 3); /* three convolutions */
    assert_int_equal(averaged, 2);       /* one norm */
    free(before);
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(n);
}

/* Only training passes that may update move the vectors. */
static void eval_leaves_them(void **state) {
    (void)state;
    gd_net *n = make((gd_net_spec){.arch = "mlp", .height = 2, .width_px = 2, .channels = 1, .spectral = true});
    gd_graph *g;
    gd_net_use *u;
    rig_ok(gd_graph_new(1, &g));
    rig_ok(gd_net_use_new(n, g, "D", 0, &u));
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 2, 2, 1));
    const gd_param_info *p;
    int count = gd_net_params(n, &p), i = 0;
    while (i < count && !p[i].replicated) i++;
    assert_true(i < count);
    gd_node before = u->node[i];
    gd_net_apply(u, x, &(gd_apply_opts){.eval = true});
    gd_net_apply(u, x, &(gd_apply_opts){.no_update = true});
    assert_int_equal(u->node[i], before);
    gd_net_apply(u, x, NULL);
    assert_int_not_equal(u->node[i], before);
    rig_ok(gd_graph_status(g));
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(n);
}

static void names_and_counts(void **state) {
    (void)state;
    gd_net_spec s = {.arch = "dcgan", .height = 16, .width_px = 16, .channels = 3, .width = 2, .spectral = true};
    gd_net *n = make(s);
    const gd_param_info *p;
    static const char *const want[] = {"main.0.weight_orig", "main.0.weight_u", "main.0.weight_v",
                                       "main.2.weight_orig"};
    assert_true(gd_net_params(n, &p) > 4);
    for (int i = 0; i < 4; i++) assert_string_equal(p[i].name, want[i]);
    assert_int_equal(gd_shape_count(p[1].shape), 2);
    assert_int_equal(gd_shape_count(p[2].shape), 3 * 16);
    int64_t count = gd_net_param_count(n);
    gd_net_free(n);
    s.spectral = false;
    n = make(s);
    assert_int_equal(gd_net_param_count(n), count);
    gd_net_free(n);
}

/* Unit vectors, other ones for other networks and seeds. */
static void starts_with_directions(void **state) {
    (void)state;
    gd_net *n =
        make((gd_net_spec){.arch = "mlp", .height = 4, .width_px = 4, .channels = 1, .width = 40, .spectral = true});
    const gd_param_info *p;
    int count = gd_net_params(n, &p), checked = 0;
    float a[1024], b[1024];
    for (int i = 0; i < count; i++) {
        int64_t length = gd_shape_count(p[i].shape);
        if (!p[i].replicated) continue;
        assert_true(length <= 1024);
        double squares = 0;
        gd_net_init_param(n, i, 3, GD_PURPOSE_INIT_D | 1u << 16, a);
        for (int64_t k = 0; k < length; k++) squares += (double)a[k] * a[k];
        assert_true(fabs(squares - 1) < 1e-5);
        const uint32_t others[] = {GD_PURPOSE_INIT_D, GD_PURPOSE_INIT_G | 1u << 16};
        for (int k = 0; k < 2 && length > 8; k++) {
            gd_net_init_param(n, i, 3, others[k], b);
            assert_memory_not_equal(a, b, (size_t)length * sizeof *a);
        }
        gd_net_init_param(n, i, 3, GD_PURPOSE_INIT_D | 1u << 16, b);
        assert_memory_equal(a, b, (size_t)length * sizeof *a);
        checked++;
    }
    assert_int_equal(checked, 6);
    gd_net_free(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_becomes_one),   cmocka_unit_test(matrices_of_convolutions),
        cmocka_unit_test(shards_do_not_average), cmocka_unit_test(eval_leaves_them),
        cmocka_unit_test(names_and_counts),      cmocka_unit_test(starts_with_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
