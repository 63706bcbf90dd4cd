/* Watchers on made-up histories: when something counts as sick, how often that is told, and what never is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "dist/watch.h"

static const gd_watch_spec all = {.action = {GD_WATCH_WARN, GD_WATCH_WARN, GD_WATCH_WARN, GD_WATCH_WARN}, .every = 1};

/* A healthy iteration, `wide` times more or less than usual. */
static gd_watch_sight healthy(uint64_t number, double wide) {
    gd_rng r = {.seed = 4, .purpose = GD_PURPOSE_TEST, .step = number};
    float u[4];
    gd_rng_uniform(&r, 0, 0, 4, u);
    double factor = pow(wide, 2 * (double)u[0] - 1), other = pow(wide, 2 * (double)u[1] - 1);
    return (gd_watch_sight){.spread = {0.7 * pow(2, (double)u[2] - 0.5), NAN},
                            .grad_g = 0.3 * factor,
                            .grad_g_rms = 1e-3 * factor,
                            .grad_d = 2 * other,
                            .loss_d = 1.2 * other,
                            .accuracy = 0.8 + 0.2 * (double)u[3],
                            .rest = 0.4};
}

/* Adds n healthy iterations; nothing may begin. */
static void stay_healthy(gd_watch_state *s, int n) {
    bool begun[GD_WATCH_COUNT];
    for (int i = 0; i < n; i++) {
        gd_watch_sight v = healthy((uint64_t)i, 10);
        gd_watch_advance(&all, &v, s, begun);
        for (int w = 0; w < GD_WATCH_COUNT; w++)
            if (begun[w]) fail_msg("iteration %d: %s", i, gd_watch_name((gd_watch)w));
    }
}

/* Repeats v up to `limit` times; returns at which one sickness w began, 0: never. It must begin once. */
static int begins(gd_watch w, const gd_watch_sight *v, gd_watch_state *s, int limit) {
    bool begun[GD_WATCH_COUNT];
    int at = 0;
    for (int i = 1; i <= limit; i++) {
        gd_watch_advance(&all, v, s, begun);
        for (int k = 0; k < GD_WATCH_COUNT; k++) {
            if (!begun[k]) continue;
            assert_int_equal(k, w);
            assert_int_equal(at, 0);
            at = i;
        }
    }
    return at;
}

static void healthy_runs_are_left_alone(void **state) {
    (void)state;
    gd_watch_state s = {0};
    stay_healthy(&s, 20000);
    assert_true(s.seen[GD_USUAL_GRAD_G] == 20000 && s.looks == 20000);
    assert_true(fabs(s.level[GD_USUAL_GRAD_G] - log2(0.3)) < 0.5); /* the geometric mean */
}

static void samples_that_grow_alike_are_collapse(void **state) {
    (void)state;
    gd_watch_state s = {0};
    stay_healthy(&s, 100);
    gd_watch_sight v = healthy(3, 1);
    v.spread[0] = 0.1;
    assert_int_equal(begins(GD_WATCH_COLLAPSE, &v, &s, 5), 2);
    stay_healthy(&s, 20);
    assert_int_equal(begins(GD_WATCH_COLLAPSE, &v, &s, 2), 2); /* told again when it was gone in between */
    stay_healthy(&s, 20);
    v.spread[0] = 0.3; /* less than half is no collapse */
    assert_int_equal(begins(GD_WATCH_COLLAPSE, &v, &s, 5), 0);
}

/* Iterations without a look change nothing, and do not break a row. */
static void only_looks_count(void **state) {
    (void)state;
    gd_watch_state s = {0};
    bool begun[GD_WATCH_COUNT];
    stay_healthy(&s, 20);
    gd_watch_sight v = healthy(3, 1), none = v;
    v.spread[0] = 0.01;
    none.spread[0] = NAN;
    gd_watch_advance(&all, &v, &s, begun);
    gd_watch_advance(&all, &none, &s, begun);
    assert_true(!begun[GD_WATCH_COLLAPSE] && s.looks == 21 && s.row[GD_WATCH_COLLAPSE] == 1);
    gd_watch_advance(&all, &v, &s, begun);
    assert_true(begun[GD_WATCH_COLLAPSE]);
}

/* The first looks have nothing to be compared with. */
static void the_first_looks_are_not_judged(void **state) {
    (void)state;
    gd_watch_state s = {0};
    gd_watch_sight v = healthy(3, 1);
    v.spread[0] = 100;
    assert_int_equal(begins(GD_WATCH_COLLAPSE, &v, &s, 2), 0);
    v.spread[0] = 1e-9;
    assert_int_equal(begins(GD_WATCH_COLLAPSE, &v, &s, 2), 0);
}

/* One of two generators is enough. */
static void either_direction_can_collapse(void **state) {
    (void)state;
    gd_watch_state s = {0};
    bool begun[GD_WATCH_COUNT];
    char text[256];
    gd_watch_sight v = healthy(3, 1);
    v.spread[0] = 0.5;
    v.spread[1] = 2;
    assert_int_equal(begins(GD_WATCH_COLLAPSE, &v, &s, 8), 0);
    v.spread[1] = 0.25;
    gd_watch_advance(&all, &v, &s, begun);
    gd_watch_advance(&all, &v, &s, begun);
    assert_true(begun[GD_WATCH_COLLAPSE]);
    gd_watch_explain(GD_WATCH_COLLAPSE, &v, &s, text, sizeof text);
    assert_non_null(strstr(text, "is 0.25, in the looks before about 2"));
}

static void a_lost_gradient_is_vanished(void **state) {
    (void)state;
    gd_watch_state s = {0};
    stay_healthy(&s, 1000);
    gd_watch_sight v = healthy(3, 1);
    v.grad_g = 0.3 / 400;
    assert_int_equal(begins(GD_WATCH_VANISHED, &v, &s, 200), 50);
    gd_watch_state fresh = {0}; /* so small that an optimiser cannot use it: whatever was usual */
    v.grad_g_rms = 1e-9;
    assert_int_equal(begins(GD_WATCH_VANISHED, &v, &fresh, 60), 50);
    gd_watch_state other = {0};
    stay_healthy(&other, 1000);
    v = healthy(3, 1);
    v.grad_g = 0.3 / 30;
    assert_int_equal(begins(GD_WATCH_VANISHED, &v, &other, 200), 0);
    v.grad_g = NAN; /* an iteration that trains D only */
    assert_int_equal(begins(GD_WATCH_VANISHED, &v, &other, 200), 0);
}

static void growth_without_bound_is_exploding(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        gd_watch_state s = {0};
        stay_healthy(&s, 1000);
        gd_watch_sight v = healthy(3, 1);
        if (k == 0) v.grad_d = 2 * 4000;
        if (k == 1) v.loss_d = -2.2 * 4000;
        if (k == 2) v.grad_d = 2 * 300;
        assert_int_equal(begins(GD_WATCH_EXPLODING, &v, &s, 20), k < 2 ? 5 : 0);
    }
    gd_watch_state fresh = {0};
    gd_watch_sight v = healthy(3, 1);
    v.loss_d = -2e6;
    assert_int_equal(begins(GD_WATCH_EXPLODING, &v, &fresh, 20), 5);
    gd_watch_state wasserstein = {0}; /* starts at 0 and finds its size */
    v = healthy(3, 1);
    v.loss_d = 1e-4;
    assert_int_equal(begins(GD_WATCH_EXPLODING, &v, &wasserstein, 300), 0);
    v.loss_d = -50;
    assert_int_equal(begins(GD_WATCH_EXPLODING, &v, &wasserstein, 300), 0);
}

static void a_discriminator_that_is_never_wrong_is_saturated(void **state) {
    (void)state;
    gd_watch_state s = {0};
    gd_watch_sight v = healthy(3, 1);
    v.accuracy = 1;
    v.rest = 1e-3;
    assert_int_equal(begins(GD_WATCH_SATURATED, &v, &s, 2500), 1000);
    v.rest = 0.1; /* right, but there is something to learn */
    assert_int_equal(begins(GD_WATCH_SATURATED, &v, &s, 1500), 0);
    v.rest = NAN; /* Wasserstein */
    assert_int_equal(begins(GD_WATCH_SATURATED, &v, &s, 1500), 0);
    v.rest = 1e-3;
    v.accuracy = 0.99;
    assert_int_equal(begins(GD_WATCH_SATURATED, &v, &s, 1500), 0);
}

static void what_is_off_remembers_nothing(void **state) {
    (void)state;
    const gd_watch_spec off = {0};
    gd_watch_state s = {0}, nothing = {0};
    bool begun[GD_WATCH_COUNT];
    gd_watch_sight v = healthy(3, 1);
    v.loss_d = 1e9;
    for (int i = 0; i < 100; i++) {
        gd_watch_advance(&off, &v, &s, begun);
        for (int w = 0; w < GD_WATCH_COUNT; w++) assert_false(begun[w]);
    }
    assert_memory_equal(&s, &nothing, sizeof s);
}

static void spread_is_the_mean_distance_of_pairs(void **state) {
    (void)state;
    const float image[3][2] = {{0, 0}, {3, 4}, {0, 0}};
    double one = sqrt(25.0 / 2);
    assert_true(fabs(gd_watch_spread(&image[0][0], 3, 2) - 2 * one / 3) < 1e-12);
    assert_true(gd_watch_spread(&image[0][0], 2, 2) == one);
    assert_true(gd_watch_spread(&image[1][0], 1 + 1, 1) == 1); /* 3 and 4 */
}

static void every_sickness_is_explained(void **state) {
    (void)state;
    gd_watch_state s = {0};
    gd_watch_sight v = healthy(3, 1);
    char text[256], other[256];
    stay_healthy(&s, 300);
    for (int w = 0; w < GD_WATCH_COUNT; w++) {
        gd_watch_explain((gd_watch)w, &v, &s, text, sizeof text);
        assert_true(strlen(text) > 30 && strlen(text) < sizeof text - 1 && !strstr(text, "nan"));
        gd_watch_explain((gd_watch)((w + 1) % GD_WATCH_COUNT), &v, &s, other, sizeof other);
        assert_string_not_equal(text, other);
    }
    assert_string_equal(gd_watch_name(GD_WATCH_SATURATED), "saturated");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy_runs_are_left_alone),
        cmocka_unit_test(samples_that_grow_alike_are_collapse),
        cmocka_unit_test(only_looks_count),
        cmocka_unit_test(the_first_looks_are_not_judged),
        cmocka_unit_test(either_direction_can_collapse),
        cmocka_unit_test(a_lost_gradient_is_vanished),
        cmocka_unit_test(growth_without_bound_is_exploding),
        cmocka_unit_test(a_discriminator_that_is_never_wrong_is_saturated),
        cmocka_unit_test(what_is_off_remembers_nothing),
        cmocka_unit_test(spread_is_the_mean_distance_of_pairs),
        cmocka_unit_test(every_sickness_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
