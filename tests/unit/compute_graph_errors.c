/* tests/unit/compute_graph_errors.c -- a table of wrong builds and the words their message must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "compute/build.h"

typedef struct wrong {
    const char *what;
    void (*build)(gd_graph *g);
    const char *words[3]; /* all must appear */
} wrong;

static gd_node in(gd_graph *g, gd_shape s) { return gd_input(g, "x", GD_F32, s); }
static gd_node image(gd_graph *g) { return in(g, gd_shape4(2, 6, 5, 3)); }
static gd_node weights(gd_graph *g, int64_t k, int64_t r, int64_t c) {
    return gd_param(g, "w", gd_shape4(k, r, r, c), 0);
}

#define BUILD(name) static void name(gd_graph *g)
BUILD(add_sizes) { gd_add(g, in(g, gd_shape2(4, 3)), gd_param(g, "b", gd_shape2(4, 5), 0)); }
BUILD(add_ranks) { gd_add(g, in(g, gd_shape2(4, 3)), gd_param(g, "b", gd_shape1(3), 0)); }
BUILD(add_dtypes) { gd_add(g, in(g, gd_shape1(4)), gd_input(g, "h", GD_BF16, gd_shape1(4))); }
BUILD(tanh_of_u8) { gd_tanh(g, gd_input(g, "u", GD_U8, gd_shape1(4))); }
BUILD(scoped) {
    gd_graph_push(g, "D");
    gd_graph_push(g, "conv3");
    gd_conv(g, image(g), weights(g, 8, 3, 4), (gd_conv_attr){1, {0}});
}
BUILD(conv_kernel) { gd_conv(g, image(g), weights(g, 8, 7, 3), (gd_conv_attr){1, {0}}); }
BUILD(conv_stride) { gd_conv(g, image(g), weights(g, 8, 3, 3), (gd_conv_attr){0, {0}}); }
BUILD(conv_negative) { gd_conv(g, image(g), weights(g, 8, 3, 3), (gd_conv_attr){1, {0, -1, 0, 0}}); }
BUILD(conv_rank) { gd_conv(g, in(g, gd_shape2(4, 3)), weights(g, 8, 3, 3), (gd_conv_attr){1, {0}}); }
BUILD(conv_dx_size) {
    gd_conv_dx(g, in(g, gd_shape4(2, 3, 3, 8)), weights(g, 8, 3, 3), gd_shape4(2, 6, 6, 3), (gd_conv_attr){1, {0}});
}
BUILD(conv_dw_size) {
    gd_conv_dw(g, image(g), gd_input(g, "dy", GD_F32, gd_shape4(2, 4, 3, 7)), gd_shape4(8, 3, 3, 3),
               (gd_conv_attr){1, {0}});
}
BUILD(conv_dx_target) { gd_conv_dx(g, image(g), weights(g, 3, 3, 3), gd_shape2(2, 6), (gd_conv_attr){1, {0}}); }
BUILD(matmul_inner) { gd_matmul(g, in(g, gd_shape2(4, 3)), gd_param(g, "b", gd_shape2(5, 3), 0), false, false); }
BUILD(matmul_rank) { gd_matmul(g, image(g), gd_param(g, "b", gd_shape2(5, 3), 0), false, false); }
BUILD(reshape_count) { gd_reshape(g, image(g), gd_shape2(2, 91)); }
BUILD(broadcast_grow) { gd_broadcast(g, image(g), gd_shape4(2, 12, 5, 3)); }
BUILD(permute_twice) { gd_permute(g, image(g), (const int[]){0, 1, 1, 3}); }
BUILD(concat_other) { gd_concat(g, image(g), gd_param(g, "b", gd_shape4(2, 6, 4, 1), 0), 3); }
BUILD(concat_axis) { gd_concat(g, image(g), image(g), 4); }
BUILD(slice_empty) { gd_slice(g, image(g), (const int64_t[]){0, 2, 0, 0}, (const int64_t[]){2, 2, 5, 3}); }
BUILD(slice_beyond) { gd_slice(g, image(g), (const int64_t[]){0, 0, 0, 0}, (const int64_t[]){2, 7, 5, 3}); }
BUILD(pad_negative) { gd_pad(g, image(g), (const int64_t[]){0, -1, 0, 0}, (const int64_t[]){0, 0, 0, 0}); }
BUILD(reflect_wide) { gd_pad_reflect(g, image(g), 0, 0, 5, 0); }
BUILD(fold_wide) { gd_fold_reflect(g, image(g), 3, 3, 0, 0); }
BUILD(pool_rest) { gd_sumpool(g, image(g), 2); }
BUILD(up_zero) { gd_upsample(g, image(g), 0); }
BUILD(sum_axes) { gd_sum(g, in(g, gd_shape2(4, 3)), 4); }
BUILD(sum_nothing) { gd_sum(g, in(g, gd_shape2(4, 3)), 0); }
BUILD(norm_eps) { gd_normalize(g, image(g), 7, 0, false); }
BUILD(norm_bf16) { gd_normalize(g, gd_input(g, "h", GD_BF16, gd_shape2(4, 3)), 1, 1e-5, false); }
BUILD(clamp_order) { gd_clamp(g, image(g), 1, -1); }
BUILD(leaky_nan) { gd_leaky(g, image(g), NAN); }
BUILD(cast_u8) { gd_cast(g, image(g), GD_U8); }
BUILD(empty_input) { gd_input(g, "x", GD_F32, gd_shape4(2, 0, 5, 3)); }
BUILD(huge_param) { gd_param(g, "w", gd_shape2((int64_t)1 << 30, (int64_t)1 << 30), 0); }
BUILD(rank_five) { gd_const(g, 1, (gd_shape){5, {1, 1, 1, 1}}); }
BUILD(rank_none) { gd_const(g, 1, (gd_shape){0}); }
BUILD(const_nan) { gd_const(g, NAN, gd_shape1(1)); }
BUILD(param_again) { gd_param(g, "w", gd_shape1(3), 0), gd_param(g, "w", gd_shape1(4), 0); }
BUILD(input_param) { gd_param(g, "w", gd_shape1(3), 0), gd_input(g, "w", GD_F32, gd_shape1(3)); }
BUILD(no_name) { gd_param(g, "", gd_shape1(3), 0); }
BUILD(random_purpose) { gd_random(g, GD_RANDOM_NORMAL, 1u << 16, gd_shape1(3)); }
BUILD(foreign) { gd_neg(g, 17); }
BUILD(nowhere) { gd_add(g, image(g), GD_NONE); }
BUILD(cotangent) {
    gd_node x = image(g), dx;
    gd_grad(g, gd_exp(g, x), gd_const(g, 1, gd_shape1(2)), 1, &x, &dx);
}
BUILD(grad_nowhere) {
    gd_node x = GD_NONE, dx;
    gd_grad(g, image(g), GD_NONE, 1, &x, &dx);
}

static const wrong table[] = {
    {"add sizes", add_sizes, {"add2", "[4,3]", "[4,5]"}},
    {"add ranks", add_ranks, {"add2", "[3]", "equal rank"}},
    {"add dtypes", add_dtypes, {"f32 and bf16", "gd_cast"}},
    {"tanh of u8", tanh_of_u8, {"tanh1", "u is u8", "gd_cast"}},
    {"names the scope", scoped, {"D/conv3/conv2: ", "x has 3 channels", "w is for 4"}},
    {"conv kernel", conv_kernel, {"conv2", "6x5", "7x7"}},
    {"conv stride", conv_stride, {"stride 0", "at least 1"}},
    {"conv padding", conv_negative, {"padding 0 -1 0 0", "0 or more"}},
    {"conv rank", conv_rank, {"[4,3]", "ranks 2 and 4", "[N,H,W,C]"}},
    {"conv_dx size", conv_dx_size, {"conv_dx2", "[2,3,3,8]", "expected [2,4,4,8]"}},
    {"conv_dw size", conv_dw_size, {"conv_dw2", "[2,4,3,7]", "expected [2,4,3,8]"}},
    {"conv_dx target", conv_dx_target, {"rank 2", "expected 4"}},
    {"matmul inner", matmul_inner, {"[4,3]", "[5,3]", "3 and 5"}},
    {"matmul rank", matmul_rank, {"matmul2", "[2,6,5,3]", "rank 2, [M,L]"}},
    {"reshape count", reshape_count, {"180", "182"}},
    {"broadcast", broadcast_grow, {"[2,6,5,3]", "[2,12,5,3]", "1 where sizes differ"}},
    {"permute", permute_twice, {"output dimension 2", "each of 0 to 3 once"}},
    {"concat sizes", concat_other, {"[2,6,5,3]", "[2,6,4,1]", "axis 3"}},
    {"concat axis", concat_axis, {"axis 4", "expected 0 to 3"}},
    {"slice empty", slice_empty, {"slice 2 to 2", "dimension 1"}},
    {"slice beyond", slice_beyond, {"slice 0 to 7", "<= 6"}},
    {"pad", pad_negative, {"padding -1 before", "dimension 1"}},
    {"reflect", reflect_wide, {"padding 5 before", "size 5", "expected 0 to 4"}},
    {"fold", fold_wide, {"fold_reflect1", "leaves nothing of dimension 1"}},
    {"sumpool", pool_rest, {"sumpool1", "[2,6,5,3]", "multiples of the factor 2"}},
    {"upsample", up_zero, {"factor 0"}},
    {"sum axes", sum_axes, {"axes 0x4", "bits 0 to 1"}},
    {"sum of nothing", sum_nothing, {"axes 0x0", "at least one"}},
    {"norm eps", norm_eps, {"normalize1", "eps 0", "positive"}},
    {"norm dtype", norm_bf16, {"h is bf16", "expected f32"}},
    {"clamp", clamp_order, {"range 1 to -1", "low <= high"}},
    {"leaky", leaky_nan, {"slope", "finite"}},
    {"cast", cast_u8, {"cast to dtype 2", "f32 or bf16"}},
    {"empty input", empty_input, {"x: ", "dimension 1", "at least 1"}},
    {"huge", huge_param, {"w: ", "2^40"}},
    {"rank 5", rank_five, {"rank 5", "1 to 4"}},
    {"rank 0", rank_none, {"rank 0", "1 to 4"}},
    {"const", const_nan, {"not a number"}},
    {"param again", param_again, {"w: ", "[3]", "one name is one storage"}},
    {"input and param", input_param, {"w: ", "asked for as input", "param"}},
    {"no name", no_name, {"param: no name"}},
    {"random purpose", random_purpose, {"purpose 0"}},
    {"foreign node", foreign, {"neg0", "input 17 is no node"}},
    {"GD_NONE from nowhere", nowhere, {"add1", "input -1 is no node"}},
    {"cotangent", cotangent, {"gradient of exp", "cotangent has shape [2]", "[2,6,5,3]"}},
    {"gradient to nowhere", grad_nowhere, {"gradient: x -1 is no node"}},
};

static void test_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        gd_graph *g = NULL;
        assert_int_equal(gd_graph_new(1, &g), GD_OK);
        table[i].build(g);
        gd_status st = gd_graph_status(g);
        const char *is = gd_error_message();
        if (st == GD_OK) fail_msg("%s: built without an error", table[i].what);
        for (int w = 0; w < 3 && table[i].words[w]; w++)
            if (!strstr(is, table[i].words[w]))
                fail_msg("%s: message is \"%s\"; expected it to say \"%s\"", table[i].what, is, table[i].words[w]);
        gd_graph_free(g);
    }
}

/* The first error stays, nothing is built after it, and GD_NONE passes through silently. */
static void test_first_error_stays(void **state) {
    (void)state;
    gd_graph *g = NULL;
    assert_int_equal(gd_graph_new(1, &g), GD_OK);
    gd_node x = image(g);
    gd_node bad = gd_sumpool(g, x, 2);
    assert_int_equal(bad, GD_NONE);
    int count = gd_graph_count(g);
    gd_node later = gd_tanh(g, gd_add(g, bad, x)), dx = 5;
    assert_int_equal(later, GD_NONE);
    assert_int_equal(gd_mean(g, x, 1), GD_NONE);
    assert_int_equal(gd_const(g, 1, gd_shape1(2)), GD_NONE);
    gd_grad(g, later, GD_NONE, 1, &x, &dx);
    assert_int_equal(dx, GD_NONE);
    assert_int_equal(gd_graph_count(g), count);
    gd_graph_fail(g, GD_CONFIG, "another");
    assert_int_equal(gd_graph_status(g), GD_SHAPE);
    assert_non_null(strstr(gd_error_message(), "sumpool1"));
    gd_graph_free(g);
}

static void test_model_error(void **state) {
    (void)state;
    gd_graph *g = NULL;
    assert_int_equal(gd_graph_new(0, &g), GD_INTERNAL);
    assert_null(g);
    assert_int_equal(gd_graph_new(1, &g), GD_OK);
    assert_int_equal(gd_graph_fail(g, GD_CONFIG, "layer %d: bad", 3), GD_NONE);
    assert_int_equal(gd_graph_status(g), GD_CONFIG);
    assert_string_equal(gd_error_message(), "layer 3: bad");
    gd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_first_error_stays),
        cmocka_unit_test(test_model_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
