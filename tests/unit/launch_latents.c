/* Latents by seed, and the two ways between them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "launch/latents.h"

enum { SIZE = 64, STEPS = 9 };

static double dot(const float *a, const float *b) {
    double s = 0;
    for (int i = 0; i < SIZE; i++) s += (double)a[i] * b[i];
    return s;
}

static void seeds_name_single_latents(void **state) {
    (void)state;
    float sheet[4 * SIZE], one[SIZE];
    gd_latents_draw(10, GD_LATENT_NORMAL, 4, SIZE, sheet);
    for (int i = 0; i < 4; i++) {
        gd_latents_draw(10 + (uint64_t)i, GD_LATENT_NORMAL, 1, SIZE, one);
        assert_memory_equal(one, sheet + i * SIZE, sizeof one);
    }
    assert_memory_not_equal(sheet, sheet + SIZE, sizeof one);
}

static void uniform_stays_in_range(void **state) {
    (void)state;
    float z[100 * SIZE], low = 0, high = 0;
    gd_latents_draw(0, GD_LATENT_UNIFORM, 100, SIZE, z);
    for (int i = 0; i < 100 * SIZE; i++) {
        low = fminf(low, z[i]);
        high = fmaxf(high, z[i]);
    }
    assert_true(low >= -1 && low < -0.99f);
    assert_true(high < 1 && high > 0.99f);
}

static void both_ways_start_and_end_at_the_ends(void **state) {
    (void)state;
    float a[SIZE], b[SIZE], z[STEPS * SIZE];
    void (*const ways[])(const float *, const float *, int64_t, int64_t, float *) = {gd_latents_linear,
                                                                                     gd_latents_slerp};
    gd_latents_draw(1, GD_LATENT_NORMAL, 1, SIZE, a);
    gd_latents_draw(2, GD_LATENT_NORMAL, 1, SIZE, b);
    for (int w = 0; w < 2; w++) {
        ways[w](a, b, SIZE, STEPS, z);
        for (int j = 0; j < SIZE; j++) {
            assert_true(fabsf(z[j] - a[j]) < 1e-6f);
            assert_true(fabsf(z[(STEPS - 1) * SIZE + j] - b[j]) < 1e-6f);
        }
    }
}

/* Unit vectors stay on the sphere, at equal angles from one step to the next. */
static void slerp_keeps_norm_and_speed(void **state) {
    (void)state;
    float a[SIZE], b[SIZE], z[STEPS * SIZE];
    gd_latents_draw(3, GD_LATENT_NORMAL, 1, SIZE, a);
    gd_latents_draw(4, GD_LATENT_NORMAL, 1, SIZE, b);
    double na = sqrt(dot(a, a)), nb = sqrt(dot(b, b));
    for (int j = 0; j < SIZE; j++) {
        a[j] = (float)(a[j] / na);
        b[j] = (float)(b[j] / nb);
    }
    double step = acos(dot(a, b)) / (STEPS - 1);
    gd_latents_slerp(a, b, SIZE, STEPS, z);
    for (int i = 0; i < STEPS; i++) {
        assert_true(fabs(dot(z + i * SIZE, z + i * SIZE) - 1) < 1e-5);
        if (i) assert_true(fabs(acos(dot(z + i * SIZE, z + (i - 1) * SIZE)) - step) < 1e-3);
    }
}

static void slerp_of_equal_ends_is_finite(void **state) {
    (void)state;
    float a[SIZE], z[STEPS * SIZE];
    gd_latents_draw(5, GD_LATENT_NORMAL, 1, SIZE, a);
    gd_latents_slerp(a, a, SIZE, STEPS, z);
    for (int j = 0; j < SIZE; j++) assert_true(fabsf(z[4 * SIZE + j] - a[j]) < 1e-6f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_name_single_latents),           cmocka_unit_test(uniform_stays_in_range),
        cmocka_unit_test(both_ways_start_and_end_at_the_ends), cmocka_unit_test(slerp_keeps_norm_and_speed),
        cmocka_unit_test(slerp_of_equal_ends_is_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
