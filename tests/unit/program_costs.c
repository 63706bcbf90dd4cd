/* tests/unit/program_costs.c -- what a program says about its cost: flops by phase, memory of an order
 * that keeps it low, the profile, the printed plan; and foldings that leave nothing to compute. */
#include "program_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "compute/plan.h"

static const gd_program_opts plain = {0};

static int count(const prog *p) { return gd_graph_count(p->p->ir.graph); }

/* ---- foldings ---- */

static void functions_of_constants(void **state) {
    (void)state;
    const gd_shape s = gd_shape2(2, 3);
    gd_graph *g = prog_graph(1);
    gd_node c = gd_const(g, -0.75, s), far = gd_const(g, 800, s);
    const struct {
        gd_node node;
        double want;
    } fold[] = {{gd_exp(g, c), exp(-0.75)},
                {gd_log(g, gd_neg(g, c)), log(0.75)},
                {gd_tanh(g, c), tanh(-0.75)},
                {gd_sigmoid(g, c), 1 / (1 + exp(0.75))},
                {gd_softplus(g, c), log(1 + exp(-0.75))},
                {gd_softplus(g, far), 800},
                {gd_sigmoid(g, gd_neg(g, far)), 0}};
    const int n = sizeof fold / sizeof *fold;
    gd_output out[sizeof fold / sizeof *fold];
    static const char *const name[] = {"exp", "log", "tanh", "sigmoid", "softplus", "far", "none"};
    for (int i = 0; i < n; i++) out[i] = (gd_output){name[i], fold[i].node};
    prog p = prog_make(g, "ref", n, out, plain);
    for (gd_node k = 0; k < count(&p); k++) assert_int_equal(gd_graph_at(p.p->ir.graph, k)->op, GD_OP_CONST);
    prog_run(&p, NULL, NULL);
    for (int i = 0; i < n; i++)
        assert_true(fabs(prog_get(&p, name[i], 5) - fold[i].want) <= 1e-14 * fabs(fold[i].want));
    prog_free(&p);
    gd_graph_free(g);
}

/* A sum over shards of a number is known without asking them. */
static void constants_need_no_collective(void **state) {
    (void)state;
    gd_graph *g = prog_graph(4);
    gd_node y = gd_allreduce(g, gd_sum_all(g, gd_const(g, 0.5, gd_shape2(2, 3))));
    prog p = prog_make(g, "cpu", 1, &(gd_output){"y", y}, plain);
    assert_int_equal(gd_program_get_stats(p.p).collectives, 0);
    prog_run(&p, NULL, NULL);
    assert_float_equal(prog_get(&p, "y", 0), 12, 0);
    prog_free(&p);
    gd_graph_free(g);
}

static void permutations(void **state) {
    (void)state;
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 3, 4, 5)),
            row = gd_input(g, "row", GD_F32, gd_shape4(2, 1, 1, 5));
    static const int turn[] = {0, 3, 1, 2}, back[] = {0, 2, 3, 1}, other[] = {1, 0, 2, 3};
    const gd_output out[] = {
        {"same", gd_neg(g, gd_permute(g, gd_permute(g, x, turn), back))}, /* undone             */
        {"once", gd_permute(g, gd_permute(g, x, turn), other)},           /* one permutation    */
        {"view", gd_exp(g, gd_permute(g, row, turn))},                    /* only ones are moved */
    };
    for (int k = 0; k < 2; k++) {
        prog p = prog_make(g, k ? "cpu" : "ref", 3, out, plain);
        assert_int_equal(prog_steps_with(&p, GD_OP_PERMUTE), 1);
        prog_run(&p, NULL, NULL);
        for (int64_t i = 0; i < 120; i++) assert_float_equal(prog_get(&p, "same", i), -prog_value_of("x", i), 1e-7);
        for (int64_t i = 0; i < 10; i++)
            assert_float_equal(prog_get(&p, "view", i), exp(prog_value_of("row", i)), 1e-6);
        for (int64_t c = 0; c < 5; c++) /* once[c][n][h][w] = x[n][h][w][c] */
            for (int64_t i = 0; i < 24; i++)
                assert_float_equal(prog_get(&p, "once", c * 24 + i), prog_value_of("x", i * 5 + c), 1e-7);
        prog_free(&p);
    }
    gd_graph_free(g);
}

static void casts(void **state) {
    (void)state;
    const gd_shape s = gd_shape2(4, 16);
    gd_graph *g = prog_graph(1);
    gd_node u = gd_input(g, "u", GD_U8, s), x = gd_input(g, "x", GD_F32, s);
    gd_node exact = gd_cast(g, gd_cast(g, u, GD_F32), GD_BF16), rounds = gd_cast(g, gd_cast(g, x, GD_BF16), GD_F32);
    const gd_output out[] = {{"exact", exact}, {"rounds", rounds}};
    prog p = prog_make(g, "ref", 2, out, plain);
    int n = 0;
    for (gd_node k = 0; k < count(&p); k++) n += gd_graph_at(p.p->ir.graph, k)->op == GD_OP_CAST;
    assert_int_equal(n, 3); /* u8 -> bf16 at once; f32 -> bf16 -> f32 loses bits and stays */
    for (int64_t i = 0; i < 64; i++) prog_set(&p, "u", i, (double)(i * 255 / 63));
    prog_run(&p, NULL, NULL);
    int changed = 0;
    for (int64_t i = 0; i < 64; i++) {
        assert_float_equal(prog_get(&p, "exact", i), prog_get(&p, "u", i), 0);
        changed += prog_get(&p, "rounds", i) != prog_get(&p, "x", i);
        assert_float_equal(prog_get(&p, "rounds", i), prog_get(&p, "x", i), 1.0 / 256);
    }
    assert_true(changed > 16);
    prog_free(&p);
    gd_graph_free(g);
}

/* ---- flops, memory ---- */

static void flops(void **state) {
    (void)state;
    gd_graph *g = prog_graph(1);
    const gd_conv_attr c = {2, {1, 1, 1, 1}};
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 8, 8, 3)), w = gd_param(g, "w", gd_shape4(5, 4, 4, 3), 0);
    gd_node y = gd_conv(g, x, w, c); /* [2,4,4,5] */
    gd_node m = gd_matmul(g, gd_reshape(g, y, gd_shape2(2, 80)), gd_param(g, "v", gd_shape2(7, 80), 0), false, true);
    gd_graph_set_phase(g, 1);
    gd_node dx = gd_conv_dx(g, y, gd_scale(g, w, 2), gd_shape4(2, 8, 8, 3), c);
    gd_graph_set_phase(g, 2);
    gd_node dw = gd_conv_dw(g, gd_exp(g, x), y, gd_shape4(5, 4, 4, 3), c);
    const gd_output out[] = {{"m", m}, {"dx", dx}, {"dw", dw}};
    prog p = prog_make(g, "cpu", 3, out, plain);
    gd_program_stats s = gd_program_get_stats(p.p);
    const double conv = 2.0 * (2 * 4 * 4) * 5 * (4 * 4 * 3), product = 2.0 * 2 * 7 * 80;
    assert_true(s.phase_flops[0] == conv + product && s.phase_flops[1] == conv && s.phase_flops[2] == conv);
    assert_true(s.phase_flops[3] == 0 && s.flops == 3 * conv + product);
    prog_free(&p);
    gd_graph_free(g);
}

/* Ten large values, each only needed for its sum. Written so that all are made before the first is used; run
 * in another order, two are enough. */
static void order_keeps_memory_low(void **state) {
    (void)state;
    enum { BRANCHES = 10 };
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape2(64, 64)), large[BRANCHES], sum = GD_NONE;
    for (int k = 0; k < BRANCHES; k++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", k);
        large[k] = gd_matmul(g, x, gd_param(g, name, gd_shape2(64, 64), 0), false, false);
    }
    for (int k = 0; k < BRANCHES; k++) {
        gd_node total = gd_sum_all(g, gd_square(g, large[k]));
        sum = k ? gd_add(g, sum, total) : total;
    }
    const gd_output out = {"sum", sum};
    prog one = prog_make(g, "cpu", 1, &out, (gd_program_opts){.no_reuse = true}),
         two = prog_make(g, "cpu", 1, &out, plain);
    size_t each = 64 * 64 * sizeof(float);
    assert_true(gd_program_get_stats(one.p).arena_bytes >= BRANCHES * each);
    size_t values = 0;
    for (int s = 0; s < two.p->n_steps; s++) {
        size_t live = 0;
        for (int b = 0; b < two.p->n_buffers; b++) {
            const gd__buffer *k = &two.p->buffer[b];
            if (k->node != GD_NONE && k->first <= s && s <= k->last) live += k->bytes;
        }
        if (live > values) values = live;
    }
    if (values >= 2 * each) fail_msg("%zu bytes live; expected less than %zu", values, 2 * each);
    prog_run(&one, NULL, NULL);
    prog_run(&two, NULL, NULL);
    assert_true(prog_get(&one, "sum", 0) == prog_get(&two, "sum", 0));
    prog_free(&one);
    prog_free(&two);
    gd_graph_free(g);
}

/* ---- as text ---- */

static char *profile_of(const prog *p) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    assert_non_null(f);
    gd_instance_print_profile(p->i, f);
    fclose(f);
    return text;
}

static void profile(void **state) {
    (void)state;
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape2(64, 64));
    gd_node y = gd_exp(g, gd_matmul(g, gd_matmul(g, x, x, false, false), x, false, true));
    const gd_output out = {"y", y};
    prog p = prog_make(g, "cpu", 1, &out, plain);
    prog_run(&p, NULL, NULL);
    char *text = profile_of(&p);
    assert_int_equal(strlen(text), 0); /* nobody asked */
    free(text);
    prog_free(&p);
    setenv("GANDIST_PROFILE", "1", 1);
    p = prog_make(g, "cpu", 1, &out, plain);
    unsetenv("GANDIST_PROFILE");
    for (int k = 0; k < 3; k++) prog_run(&p, NULL, NULL);
    text = profile_of(&p);
    assert_non_null(strstr(text, "3 runs"));
    assert_non_null(strstr(text, "matmul, 2 steps"));
    assert_non_null(strstr(text, "group, 1 steps"));
    assert_non_null(strstr(text, "GFLOP/s"));
    double share = 0, ms, percent; /* of the kinds, then of the steps: 100 % each */
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (sscanf(line, "%lf ms %lf %%", &ms, &percent) == 2) share += percent;
    assert_float_equal(share, 200, 1);
    free(text);
    prog_free(&p);
    gd_graph_free(g);
}

static void plan_is_dumped(void **state) {
    (void)state;
    const char *tmp = getenv("GANDIST_TEST_TMP");
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/plan", tmp ? tmp : ".");
    snprintf(path, sizeof path, "%s/program-plan.txt", folder);
    gd_graph *g = prog_graph(1);
    gd_output out = {"y", gd_exp(g, gd_input(g, "x", GD_F32, gd_shape2(4, 16)))};
    setenv("GANDIST_DUMP_GRAPH", folder, 1);
    prog p = prog_make(g, "cpu", 1, &out, plain);
    unsetenv("GANDIST_DUMP_GRAPH");
    void *text;
    size_t bytes;
    prog_ok(gd_file_read(path, 1 << 16, &text, &bytes));
    assert_non_null(strstr(text, "step 0 phase 0 group"));
    assert_non_null(strstr(text, "bound to y"));
    free(text);
    prog_free(&p);
    gd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_constants),
        cmocka_unit_test(constants_need_no_collective),
        cmocka_unit_test(permutations),
        cmocka_unit_test(casts),
        cmocka_unit_test(flops),
        cmocka_unit_test(order_keeps_memory_low),
        cmocka_unit_test(profile),
        cmocka_unit_test(plan_is_dumped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
