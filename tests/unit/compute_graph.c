/* tests/unit/compute_graph.c -- names, scopes, leaves, broadcasting, simplifications, printing and
 * differentiation bookkeeping of the graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/build.h"

static gd_graph *new_graph(int64_t shards) {
    gd_graph *g = NULL;
    assert_int_equal(gd_graph_new(shards, &g), GD_OK);
    return g;
}

static const char *name_of(gd_graph *g, gd_node n) { return gd_graph_at(g, n)->name; }
static gd_op op_of(gd_graph *g, gd_node n) { return gd_graph_at(g, n)->op; }

static void test_names(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape2(2, 3));
    assert_string_equal(name_of(g, x), "x");
    assert_string_equal(name_of(g, gd_neg(g, x)), "neg1");
    gd_graph_push(g, "D");
    gd_graph_push(g, "conv%d", 3);
    assert_string_equal(name_of(g, gd_neg(g, x)), "D/conv3/neg2");
    assert_string_equal(name_of(g, gd_param(g, "w", gd_shape1(4), 0)), "w");
    gd_graph_pop(g);
    gd_node y = gd_square(g, x);
    assert_string_equal(name_of(g, y), "D/square4");
    gd_graph_pop(g);
    gd_node dx;
    gd_grad(g, gd_sum_all(g, y), GD_NONE, 1, &x, &dx);
    assert_memory_equal(name_of(g, dx), "D/grad/", 7);
    assert_memory_equal(name_of(g, gd_neg(g, x)), "neg", 3); /* and the scope is as before */
    assert_int_equal(gd_graph_status(g), GD_OK);
    gd_graph_free(g);
}

static void test_scope_limits(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    for (int i = 0; i < 40; i++) gd_graph_push(g, "a");
    assert_int_equal(gd_graph_status(g), GD_INTERNAL);
    for (int i = 0; i < 40; i++) gd_graph_pop(g);
    gd_graph_free(g);
    g = new_graph(1);
    gd_graph_push(g, "%0300d", 1);
    assert_int_equal(gd_graph_status(g), GD_INTERNAL);
    gd_graph_pop(g);
    gd_graph_free(g);
}

static void test_leaves(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node w = gd_param(g, "w", gd_shape2(2, 3), 0);
    assert_int_equal(gd_param(g, "w", gd_shape2(2, 3), 0), w);
    assert_int_not_equal(gd_param(g, "w", gd_shape2(2, 3), 1), w); /* another value, same storage */
    gd_node x = gd_input(g, "x", GD_U8, gd_shape4(2, 3, 3, 1));
    assert_int_equal(gd_input(g, "x", GD_U8, gd_shape4(2, 3, 3, 1)), x);
    assert_int_equal(gd_graph_at(g, x)->dtype, GD_U8);
    /* garbage behind the rank does not matter */
    gd_shape dirty = {2, {2, 3, 77, 78}};
    assert_int_equal(gd_param(g, "w", dirty, 0), w);
    assert_int_equal(gd_graph_at(g, gd_const(g, 2, dirty))->shape.dim[3], 0);
    assert_int_equal(gd_graph_status(g), GD_OK);
    gd_graph_free(g);
}

static void test_broadcasting(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 1, 5, 3)), b = gd_param(g, "b", gd_shape4(1, 4, 1, 3), 0);
    gd_node y = gd_add(g, x, b);
    assert_true(gd_shape_equal(gd_node_shape(g, y), gd_shape4(2, 4, 5, 3)));
    assert_int_equal(op_of(g, gd_graph_at(g, y)->in[0]), GD_OP_BROADCAST);
    assert_int_equal(op_of(g, gd_graph_at(g, y)->in[1]), GD_OP_BROADCAST);
    gd_node same = gd_mul(g, x, x);
    assert_int_equal(gd_graph_at(g, same)->in[0], x);
    /* the gradient of a broadcast is one SUM over the repeated dimensions, and nothing else */
    gd_node db;
    int before = gd_graph_count(g);
    gd_grad(g, y, gd_input(g, "c", GD_F32, gd_shape4(2, 4, 5, 3)), 1, &b, &db);
    assert_int_equal(gd_graph_count(g), before + 2);
    assert_int_equal(op_of(g, db), GD_OP_SUM);
    assert_int_equal(gd_graph_at(g, db)->attr.axes, 1 | 4);
    gd_graph_free(g);
}

static void test_identities(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    const gd_shape s = gd_shape4(2, 4, 4, 3);
    gd_node x = gd_input(g, "x", GD_F32, s);
    const int64_t zero[4] = {0}, all[4] = {2, 4, 4, 3};
    assert_int_equal(gd_broadcast(g, x, s), x);
    assert_int_equal(gd_reshape(g, x, s), x);
    assert_int_equal(gd_permute(g, x, (const int[]){0, 1, 2, 3}), x);
    assert_int_equal(gd_slice(g, x, zero, all), x);
    assert_int_equal(gd_pad(g, x, zero, zero), x);
    assert_int_equal(gd_pad_reflect(g, x, 0, 0, 0, 0), x);
    assert_int_equal(gd_upsample(g, x, 1), x);
    assert_int_equal(gd_cast(g, x, GD_F32), x);
    assert_int_equal(gd_scale(g, x, 1), x);
    assert_int_equal(gd_shift(g, x, 0), x);
    assert_int_equal(gd_allreduce(g, x), x);
    assert_int_equal(gd_graph_count(g), 1);
    gd_graph_free(g);
    g = new_graph(2);
    x = gd_input(g, "x", GD_F32, s);
    assert_int_equal(op_of(g, gd_allreduce(g, x)), GD_OP_ALLREDUCE);
    gd_graph_free(g);
}

/* ---- differentiation ---- */

static void test_independent(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x[3] = {gd_param(g, "a", gd_shape1(3), 0), gd_param(g, "b", gd_shape1(3), 0), GD_NONE}, dx[3];
    gd_node y = gd_exp(g, x[0]);
    x[2] = gd_tanh(g, y); /* made after y */
    gd_grad(g, y, GD_NONE, 3, x, dx);
    assert_int_not_equal(op_of(g, dx[0]), GD_OP_CONST);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(op_of(g, dx[i]), GD_OP_CONST);
        assert_true(gd_graph_at(g, dx[i])->attr.value == 0);
        assert_true(gd_shape_equal(gd_node_shape(g, dx[i]), gd_shape1(3)));
    }
    gd_graph_free(g);
}

static int count_op(gd_graph *g, int from, gd_op op) {
    int n = 0;
    for (int i = from; i < gd_graph_count(g); i++) n += op_of(g, i) == op;
    return n;
}

/* Only what lies between y and the x_j is differentiated: no weight gradients in a step that wants
 * the input's, nothing below an inner x_j, nothing behind a stop. */
static void test_between(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 5, 5, 3)), w = gd_param(g, "w", gd_shape4(4, 3, 3, 3), 0);
    gd_node v = gd_param(g, "v", gd_shape4(2, 3, 3, 4), 0), dx;
    gd_conv_attr a = {1, {1, 1, 1, 1}};
    gd_node h = gd_conv(g, x, w, a), y = gd_sum_all(g, gd_conv(g, gd_tanh(g, h), v, a));
    int before = gd_graph_count(g);
    gd_grad(g, y, GD_NONE, 1, &x, &dx);
    assert_int_equal(count_op(g, before, GD_OP_CONV_DX), 2);
    assert_int_equal(count_op(g, before, GD_OP_CONV_DW), 0);
    before = gd_graph_count(g);
    gd_grad(g, y, GD_NONE, 1, &h, &dx);
    assert_int_equal(count_op(g, before, GD_OP_CONV_DX), 1);
    before = gd_graph_count(g);
    gd_grad(g, gd_sum_all(g, gd_add(g, gd_stop(g, gd_exp(g, h)), h)), GD_NONE, 1, &x, &dx);
    assert_int_equal(count_op(g, before, GD_OP_MUL), 0); /* the rule of exp would need one */
    assert_int_equal(gd_graph_status(g), GD_OK);
    gd_graph_free(g);
}

/* An inner x_j gets its total gradient, and so does one below it. */
static void test_inner(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_param(g, "x", gd_shape1(1), 0), h = gd_exp(g, x);
    gd_node both[2] = {x, h}, d[2];
    gd_grad(g, gd_square(g, h), GD_NONE, 2, both, d);
    assert_int_equal(op_of(g, d[0]), GD_OP_MUL);
    assert_int_equal(gd_graph_at(g, d[0])->in[0], d[1]); /* dx = dh exp(x) */
    assert_int_equal(gd_graph_at(g, d[0])->in[1], h);
    gd_graph_free(g);
}

static void test_phases(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_param(g, "x", gd_shape4(2, 3, 3, 2), 0), dx;
    gd_node y = gd_normalize(g, x, 7, 1e-5, false);
    gd_graph_set_phase(g, 1);
    int before = gd_graph_count(g);
    gd_grad(g, gd_sum_all(g, gd_square(g, y)), GD_NONE, 1, &x, &dx);
    for (int i = before; i < gd_graph_count(g); i++) assert_int_equal(gd_graph_at(g, i)->phase, 1);
    assert_int_equal(gd_graph_at(g, y)->phase, 0);
    gd_graph_free(g);
}

/* Backward of a norm: one statistics node, the forward's result used again, second order too. */
static void test_norm_reuse(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_param(g, "x", gd_shape4(2, 3, 3, 2), 0), dx, ddx;
    gd_node y = gd_normalize(g, x, 7, 1e-5, false);
    gd_grad(g, gd_sum_all(g, gd_exp(g, y)), GD_NONE, 1, &x, &dx);
    assert_int_equal(count_op(g, 0, GD_OP_NORMALIZE), 1);
    assert_int_equal(count_op(g, 0, GD_OP_NORM_RSTD), 1);
    gd_grad(g, gd_sum_all(g, gd_square(g, dx)), GD_NONE, 1, &x, &ddx);
    assert_int_equal(count_op(g, 0, GD_OP_NORMALIZE), 1);
    assert_int_equal(count_op(g, 0, GD_OP_NORM_RSTD), 1);
    gd_graph_free(g);
    /* over shards: both means in one collective */
    g = new_graph(2);
    x = gd_param(g, "x", gd_shape4(2, 3, 3, 2), 0);
    y = gd_normalize(g, x, 7, 1e-5, true);
    gd_grad(g, gd_sum_all(g, gd_exp(g, y)), GD_NONE, 1, &x, &dx);
    assert_int_equal(count_op(g, 0, GD_OP_ALLREDUCE), 1);
    gd_graph_free(g);
}

static void test_bf16_gradients(void **state) {
    (void)state;
    gd_graph *g = new_graph(1);
    gd_node x = gd_input(g, "x", GD_BF16, gd_shape4(2, 4, 4, 3)), w = gd_param(g, "w", gd_shape4(2, 3, 3, 3), 0);
    gd_node y = gd_conv(g, x, gd_cast(g, w, GD_BF16), (gd_conv_attr){1, {0}}), both[2] = {x, w}, d[2], dd[2];
    assert_int_equal(gd_graph_at(g, y)->dtype, GD_F32);
    gd_grad(g, gd_sum_all(g, gd_square(g, y)), GD_NONE, 2, both, d);
    assert_int_equal(gd_graph_at(g, d[0])->dtype, GD_BF16);
    assert_int_equal(gd_graph_at(g, d[1])->dtype, GD_F32);
    gd_grad(g, gd_sum_all(g, gd_square(g, d[1])), GD_NONE, 2, both, dd);
    gd_node s = gd_sum(g, gd_scale(g, x, 2), 14), ds;
    gd_grad(g, s, GD_NONE, 1, &x, &ds);
    assert_int_equal(gd_graph_at(g, ds)->dtype, GD_BF16);
    assert_int_equal(gd_graph_status(g), GD_OK);
    gd_graph_free(g);
}

/* ---- text ---- */

static void test_print(void **state) {
    (void)state;
    gd_graph *g = new_graph(2);
    gd_node x = gd_input(g, "x", GD_U8, gd_shape4(2, 8, 6, 3)), w = gd_param(g, "w", gd_shape4(5, 4, 4, 3), 1);
    gd_node z = gd_random(g, GD_RANDOM_NORMAL, GD_PURPOSE_DROPOUT | 2u << 16, gd_shape2(2, 3));
    gd_graph_push(g, "D");
    gd_node y = gd_conv(g, gd_cast(g, x, GD_F32), w, (gd_conv_attr){2, {1, 1, 0, 2}});
    gd_graph_set_phase(g, 1);
    gd_leaky(g, gd_normalize(g, y, 7, 0.5, true), 0.25);
    gd_matmul(g, z, z, true, false);
    gd_permute(g, z, (const int[]){1, 0});
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    gd_graph_print(g, out);
    fclose(out);
    assert_int_equal(gd_graph_status(g), GD_OK);
    static const char *const want = "0 input [2,8,6,3] x u8\n"
                                    "1 param [5,4,4,3] w version=1\n"
                                    "2 random [2,3] random2 normal purpose=6 stream=2\n"
                                    "3 cast [2,8,6,3] D/cast3 <- 0\n"
                                    "4 conv [2,4,3,5] D/conv4 <- 3 1 stride=2 pad=1,1,0,2\n"
                                    "5 normalize [2,4,3,5] D/normalize5 <- 4 axes=012 eps=0.5 sync phase=1\n"
                                    "6 leaky [2,4,3,5] D/leaky6 <- 5 slope=0.25 phase=1\n"
                                    "7 matmul [3,3] D/matmul7 <- 2 2 transposed=a phase=1\n"
                                    "8 permute [3,2] D/permute8 <- 2 perm=10 phase=1\n";
    assert_string_equal(text, want);
    free(text);
    gd_graph_free(g);
}

static void test_add_like(void **state) {
    (void)state;
    gd_graph *a = new_graph(1), *b = new_graph(1);
    gd_graph_push(a, "G");
    gd_graph_set_phase(a, 2);
    gd_node y = gd_leaky(a, gd_param(a, "p", gd_shape1(3), 0), 0.5);
    gd_node p = gd__add_like(b, gd_graph_at(a, gd_graph_at(a, y)->in[0]), GD_NONE, GD_NONE);
    gd_node z = gd__add_like(b, gd_graph_at(a, y), p, GD_NONE);
    assert_string_equal(name_of(b, p), "p");
    assert_string_equal(name_of(b, z), name_of(a, y));
    assert_int_equal(gd_graph_at(b, z)->phase, 2);
    assert_true(gd__attr_equal(&gd_graph_at(b, z)->attr, &gd_graph_at(a, y)->attr));
    gd_graph_free(a);
    gd_graph_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_scope_limits),   cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_broadcasting), cmocka_unit_test(test_identities),     cmocka_unit_test(test_independent),
        cmocka_unit_test(test_between),      cmocka_unit_test(test_inner),          cmocka_unit_test(test_phases),
        cmocka_unit_test(test_norm_reuse),   cmocka_unit_test(test_bf16_gradients), cmocka_unit_test(test_print),
        cmocka_unit_test(test_add_like),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
