/* The elementary functions against the C library in double, over floats of every size, and bf16
 * rounding against its definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants the headers above first
#include <cmocka.h>

#include "compute/cpu/vmath.h"

static double log_of(double x) { return log(x); }
static double sigmoid_of(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double softplus_of(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

typedef struct function {
    const char *name;
    float (*ours)(float);
    double (*exact)(double);
    double limit; /* units in the last place */
} function;

static float our_exp(float x) { return gd__vexp(x); }
static float our_log(float x) { return gd__vlog(x); }
static float our_tanh(float x) { return gd__vtanh(x); }
static float our_sigmoid(float x) { return gd__vsigmoid(x); }
static float our_softplus(float x) { return gd__vsoftplus(x); }

static const function functions[] = {
    {"exp", our_exp, exp, 1.5},
    {"log", our_log, log_of, 1.5},
    {"tanh", our_tanh, tanh, 2.0},
    {"sigmoid", our_sigmoid, sigmoid_of, 3.0},
    {"softplus", our_softplus, softplus_of, 3.0},
};

/* Distance in units of the last place of the exact value, subnormals included. */
static double error_of(float got, double exact) {
    float nearest = (float)exact;
    if (isinf(nearest) || isinf(got)) return nearest == got ? 0 : 1e9;
    int e;
    frexp(exact, &e);
    double unit = ldexp(1, (e < -125 ? -125 : e) - 24);
    return fabs((double)got - exact) / unit;
}

static void test_accuracy(void **state) {
    (void)state;
    enum { STRIDE = 2053 }; /* prime: hits all exponents and many mantissas */
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++) {
        const function *fn = &functions[f];
        double worst = 0;
        float at = 0;
        for (uint64_t u = 0; u < UINT64_C(1) << 32; u += STRIDE) {
            float x = gd__float((uint32_t)u);
            if (isnan(x) || (fn->exact == log_of && !(x > 0))) continue;
            double e = error_of(fn->ours(x), fn->exact((double)x));
            if (e > worst) worst = e, at = x;
        }
        print_message("%s: worst error %.2f units in the last place, at %.9g\n", fn->name, worst, (double)at);
        if (!(worst <= fn->limit))
            fail_msg("%s: worst error %.2f at %.9g; limit %.1f", fn->name, worst, (double)at, fn->limit);
    }
}

static void test_special(void **state) {
    (void)state;
    assert_true(gd__vexp(-INFINITY) == 0 && gd__vexp(INFINITY) == INFINITY && gd__vexp(0) == 1);
    assert_true(gd__vexp(89) == INFINITY && gd__vexp(-104) == 0);
    assert_true(gd__vlog(0) == -INFINITY && gd__vlog(-0.0f) == -INFINITY && gd__vlog(INFINITY) == INFINITY &&
                gd__vlog(1) == 0);
    assert_true(isnan(gd__vlog(-1)) && isnan(gd__vlog(-INFINITY)));
    assert_true(gd__vtanh(INFINITY) == 1 && gd__vtanh(-INFINITY) == -1 && gd__vtanh(0) == 0);
    assert_true(gd__vsigmoid(INFINITY) == 1 && gd__vsigmoid(-INFINITY) == 0 && gd__vsigmoid(0) == 0.5f);
    assert_true(gd__vsoftplus(INFINITY) == INFINITY && gd__vsoftplus(-INFINITY) == 0);
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++) assert_true(isnan(functions[f].ours(NAN)));
}

static void test_bf16(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = gd__from_bf16((uint16_t)h);
        if (isnan(x)) assert_true(isnan(gd__from_bf16(gd__to_bf16(x))));
        else assert_int_equal(gd__to_bf16(x), h);
    }
    assert_int_equal(gd__to_bf16(gd__float(0x3f808000u)), 0x3f80); /* a tie goes to the even one */
    assert_int_equal(gd__to_bf16(gd__float(0x3f818000u)), 0x3f82);
    assert_int_equal(gd__to_bf16(gd__float(0x3f808001u)), 0x3f81);
    assert_int_equal(gd__to_bf16(gd__float(0x7f7fffffu)), 0x7f80);          /* rounds to infinity */
    assert_true(isnan(gd__from_bf16(gd__to_bf16(gd__float(0x7f800001u))))); /* a NaN with low bits only */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accuracy), cmocka_unit_test(test_special),
                                       cmocka_unit_test(test_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
