/* The metrics on sets whose values are known: closed forms, and numpy's (golden/metrics.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "launch/metrics/frechet.h"
#include "launch/metrics/kernel.h"
#include "launch/metrics/modes.h"
#include "launch/metrics/neighbours.h"
#include "launch/metrics/parzen.h"
#include "launch/metrics/sliced.h"
#include "launch/metrics/ssim.h"
#include "tests/golden/metrics.h"

static uint32_t value(uint32_t i, uint32_t j, uint32_t s) { /* as in golden/metrics.py */
    uint32_t h = i * 73856093u ^ j * 19349663u ^ s * 83492791u;
    h = (h ^ (h >> 13)) * 1274126177u;
    return (h ^ (h >> 16)) % 10007;
}

static gd_points floats(int n, int d, uint32_t s, float scale, float shift) {
    float *x = malloc((size_t)(n * d) * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < n * d; i++)
        x[i] = (float)value((uint32_t)(i / d), (uint32_t)(i % d), s) / 10007.0f * scale + shift;
    return (gd_points){.n = n, .d = d, .f32 = x};
}

static gd_points normals(int n, int d, uint64_t seed, float shift) {
    float *x = malloc((size_t)(n * d) * sizeof *x);
    gd_rng r = {.seed = seed, .purpose = GD_PURPOSE_TEST};
    assert_non_null(x);
    for (int i = 0; i < n; i++) gd_rng_normal(&r, (uint64_t)i, 0, (uint32_t)d, x + i * d);
    for (int i = 0; i < n * d; i++) x[i] += shift;
    return (gd_points){.n = n, .d = d, .f32 = x};
}

static void drop(gd_points p) {
    free((void *)(uintptr_t)p.f32);
    free((void *)(uintptr_t)p.u8);
}

static void near(double got, double want, double limit) {
    if (fabs(got - want) <= limit * fmax(1, fabs(want))) return;
    fail_msg("got %.15g, expected %.15g", got, want);
}

static void frechet_of_gaussians_in_closed_form(void **state) {
    (void)state;
    /* Diagonal covariances commute: the distance is |m1 - m2|^2 + sum (s1 - s2)^2. */
    const double m1[2] = {1, 2}, m2[2] = {4, -2}, c1[4] = {9, 0, 0, 4}, c2[4] = {1, 0, 0, 25}, zero[4] = {0};
    double v;
    assert_int_equal(gd_frechet_gaussians(2, m1, c1, m2, c2, &v), GD_OK);
    near(v, 25 + 4 + 9, 1e-12);
    assert_int_equal(gd_frechet_gaussians(2, m1, c1, m1, c1, &v), GD_OK);
    near(v, 0, 1e-12);
    assert_int_equal(gd_frechet_gaussians(2, m1, c1, m2, zero, &v), GD_OK); /* singular */
    near(v, 25 + 13, 1e-12);
    /* Not commuting, 2 x 2: tr (S1 S2)^(1/2) = sqrt(tr S1 S2 + 2 sqrt(det S1 det S2)). */
    const double a[4] = {2, 1, 1, 3}, b[4] = {5, -2, -2, 1};
    assert_int_equal(gd_frechet_gaussians(2, m1, a, m1, b, &v), GD_OK);
    near(v, 5 + 6 - 2 * sqrt(2 * 5 - 2 * 2 + 3 + 2 * sqrt(5.0 * 1.0)), 1e-12);
}

static void frechet_of_sets(void **state) {
    (void)state;
    gd_points a = floats(40, 5, 1, 1, 0), b = floats(30, 5, 2, 1, 0), c = floats(4, 6, 3, 1, 0),
              d = floats(5, 6, 4, 1, 0);
    double v;
    assert_int_equal(gd_frechet(&a, &b, &v), GD_OK);
    near(v, golden_frechet[0], 1e-9);
    assert_int_equal(gd_frechet(&c, &d, &v), GD_OK); /* fewer vectors than numbers */
    near(v, golden_frechet[1], 1e-6);
    gd_points many = floats(40, 6, 19, 1, 0), e = floats(20, 300, 20, 1, 0), f = floats(15, 300, 21, 1.5f, 0);
    assert_int_equal(gd_frechet(&c, &many, &v), GD_OK); /* one set of few, one of many */
    near(v, golden_frechet[2], 1e-6);
    assert_int_equal(gd_frechet(&e, &f, &v), GD_OK);
    near(v, golden_frechet[3], 1e-6);
    drop(many), drop(e), drop(f);
    e = floats(400, 150, 22, 1, 0), f = floats(300, 150, 23, 1, 0); /* more than a block of each */
    assert_int_equal(gd_frechet(&e, &f, &v), GD_OK);
    near(v, golden_frechet[4], 1e-9);
    drop(e), drop(f);
    assert_int_equal(gd_frechet(&a, &c, &v), GD_SHAPE);
    c.n = 1;
    assert_int_equal(gd_frechet(&c, &d, &v), GD_DATA);
    float *x = (float *)(uintptr_t)b.f32;
    x[7] = NAN;
    assert_int_equal(gd_frechet(&a, &b, &v), GD_NUMERIC);
    drop(a), drop(b), drop(c), drop(d);
}

static void kernel_distance(void **state) {
    (void)state;
    gd_points a = floats(60, 5, 5, 1, 0), b = floats(60, 5, 6, 1, 0), c = floats(130, 5, 7, 1, 0),
              d = floats(120, 5, 8, 1, 0);
    float *x = (float *)(uintptr_t)d.f32;
    for (int i = 0; i < 600; i++) x[i] *= x[i];
    gd_kid k;
    assert_int_equal(gd_kernel_distance(&a, &b, &k), GD_OK);
    near(k.mean, golden_kid[0], 1e-6);
    assert_int_equal(k.blocks, 1);
    assert_true(isnan(k.error));
    assert_int_equal(gd_kernel_distance(&c, &d, &k), GD_OK);
    near(k.mean, golden_kid[2], 1e-6);
    near(k.error, golden_kid[3], 1e-6);
    assert_int_equal(k.blocks, 2);
    drop(a), drop(b), drop(c), drop(d);
    /* Two sets of one law: zero within a few standard errors; a shifted one: far from it. */
    a = normals(1000, 8, 1, 0), b = normals(1000, 8, 2, 0), c = normals(1000, 8, 3, 1);
    assert_int_equal(gd_kernel_distance(&a, &b, &k), GD_OK);
    assert_int_equal(k.blocks, 10);
    assert_true(fabs(k.mean) < 4 * k.error);
    assert_int_equal(gd_kernel_distance(&a, &c, &k), GD_OK);
    assert_true(k.mean > 20 * k.error);
    drop(a), drop(b), drop(c);
}

static void neighbours(void **state) {
    (void)state;
    gd_points a = floats(50, 3, 9, 1, 0), b = floats(145, 3, 10, 0.6f, 0.3f), far = floats(70, 3, 11, 1, 100);
    gd_prdc p;
    assert_int_equal(gd_neighbours(&a, &b, 5, &p), GD_OK);
    near(p.precision, golden_prdc[0], 1e-12);
    near(p.recall, golden_prdc[1], 1e-12);
    near(p.density, golden_prdc[2], 1e-12);
    near(p.coverage, golden_prdc[3], 1e-12);
    assert_int_equal(gd_neighbours(&a, &a, 5, &p), GD_OK); /* a copy: everything is found */
    assert_true(p.precision == 1 && p.recall == 1 && p.coverage == 1);
    assert_int_equal(gd_neighbours(&a, &far, 5, &p), GD_OK);
    assert_true(p.precision == 0 && p.recall == 0 && p.density == 0 && p.coverage == 0);
    a.n = 5;
    assert_int_equal(gd_neighbours(&a, &b, 5, &p), GD_DATA);
    drop(a), drop(b), drop(far);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void sliced_wasserstein(void **state) {
    (void)state;
    gd_points a = floats(1, 9, 11, 1, 0), b = floats(1, 7, 12, 1, 0);
    qsort((void *)(uintptr_t)a.f32, 9, sizeof(float), ascending);
    qsort((void *)(uintptr_t)b.f32, 7, sizeof(float), ascending);
    near(gd_wasserstein_1d(a.f32, 9, b.f32, 7), golden_wasserstein[0], 1e-7);
    drop(a), drop(b);
    /* Shifted by v: in direction u the distance is |u.v|; in the plane its mean is 2 |v| / pi. */
    double v, again;
    a = normals(200, 2, 4, 0), b = normals(200, 2, 4, 3);
    assert_int_equal(gd_sliced_wasserstein(&a, &b, 4096, 1, &v), GD_OK);
    near(v, 2 / M_PI * 3 * sqrt(2), 0.02);
    assert_int_equal(gd_sliced_wasserstein(&a, &a, GD_SLICED_DIRECTIONS, 1, &v), GD_OK);
    near(v, 0, 1e-12);
    drop(a), drop(b);
    a = floats(300, 1, 1, 1, 0), b = floats(300, 1, 1, 1, -5); /* on a line: exactly the shift */
    assert_int_equal(gd_sliced_wasserstein(&a, &b, 100, 1, &v), GD_OK);
    near(v, 5, 1e-5);
    drop(a), drop(b);
    a = normals(100, 300, 5, 0), b = normals(150, 300, 6, 0);
    assert_int_equal(gd_sliced_wasserstein(&a, &b, 70, 9, &v), GD_OK);
    assert_int_equal(gd_sliced_wasserstein(&a, &b, 70, 9, &again), GD_OK);
    assert_true(v == again && v > 0.01 && v < 0.3);
    assert_int_equal(gd_sliced_wasserstein(&a, &b, 70, 10, &again), GD_OK);
    assert_true(v != again);
    b.d = 299;
    assert_int_equal(gd_sliced_wasserstein(&a, &b, 70, 10, &again), GD_SHAPE);
    drop(a), drop(b);
}

static void bytes_mean_what_networks_see(void **state) {
    (void)state;
    const uint8_t bytes[3] = {0, 255, 51};
    gd_points p = {.n = 1, .d = 3, .u8 = bytes};
    float room[3];
    const float *x = gd_points_row(&p, 0, room);
    near((double)x[0], -1, 0);
    near((double)x[1], 1, 0);
    near((double)x[2], -0.6, 1e-6);
}

static void mixture_modes(void **state) {
    (void)state;
    gd_mixture m;
    gd_modes r;
    assert_false(gd_mixture_of("swiss-roll", &m));
    assert_true(gd_mixture_of("ring", &m));
    assert_int_equal(m.modes, 8);
    float x[8][2];
    for (int i = 0; i < 8; i++) { /* every mode once */
        x[i][0] = (float)m.centre[i][0];
        x[i][1] = (float)m.centre[i][1];
    }
    gd_points p = {.n = 8, .d = 2, .f32 = &x[0][0]};
    assert_int_equal(gd_modes_mixture(&m, &p, &r), GD_OK);
    assert_int_equal(r.hit, 8);
    near(r.good, 1, 0);
    near(r.reverse_kl, 0, 1e-12);
    /* Four modes twice, one sample 2.9 and one 3.1 deviations off. */
    for (int i = 4; i < 8; i++) x[i][0] = x[i - 4][0], x[i][1] = x[i - 4][1];
    x[4][1] += (float)(2.9 * m.std);
    x[5][1] += (float)(3.1 * m.std);
    assert_int_equal(gd_modes_mixture(&m, &p, &r), GD_OK);
    assert_int_equal(r.hit, 4);
    near(r.good, 7.0 / 8, 1e-12);
    near(r.reverse_kl, log(2), 1e-12);
    /* All in one place, and one lost. */
    for (int i = 0; i < 8; i++) x[i][0] = (float)m.centre[3][0], x[i][1] = (float)m.centre[3][1];
    x[0][0] = NAN;
    assert_int_equal(gd_modes_mixture(&m, &p, &r), GD_OK);
    assert_int_equal(r.hit, 1);
    near(r.good, 7.0 / 8, 1e-12);
    near(r.reverse_kl, log(8), 1e-12);
    assert_true(gd_mixture_of("grid", &m));
    assert_int_equal(m.modes, 25);
    near(m.centre[24][1], 4 / 2.828, 1e-12);
}

static void stacked_modes(void **state) {
    (void)state;
    enum { N = 2000 };
    static int label[N][3];
    static float confidence[N][3];
    gd_modes r;
    for (int i = 0; i < N; i++) /* modes 0..499, four samples each; those of the first 100 modes are unsure */
        for (int c = 0; c < 3; c++) {
            int mode = i % 500;
            label[i][c] = c == 0 ? mode / 100 : c == 1 ? mode / 10 % 10 : mode % 10;
            confidence[i][c] = mode < 100 && c == 1 ? 0.5f : 0.95f;
        }
    assert_int_equal(gd_modes_stacked(10, N, &label[0][0], &confidence[0][0], &r), GD_OK);
    assert_int_equal(r.modes, 1000);
    assert_int_equal(r.hit, 500);
    assert_int_equal(r.well, 400);
    near(r.good, 0.8, 1e-12);
    near(r.reverse_kl, log(2), 1e-12);
    assert_int_equal(gd_modes_stacked(10, 0, &label[0][0], &confidence[0][0], &r), GD_DATA);
}

static void parzen(void **state) {
    (void)state;
    gd_points fakes = floats(30, 4, 13, 1, 0), validation = floats(20, 4, 14, 1, 0), test = floats(25, 4, 15, 1, 0);
    gd_parzen p;
    assert_int_equal(gd_parzen_window(&fakes, &validation, &test, &p), GD_OK);
    near(p.sigma, golden_parzen[0], 1e-12);
    near(p.mean, golden_parzen[1], 1e-6);
    near(p.error, golden_parzen[2], 1e-6);
    /* One kernel on one point: the density of a Gaussian at its centre, the narrowest being the best. */
    const uint8_t bytes[4] = {0, 100, 200, 255};
    gd_points one = {.n = 1, .d = 4, .u8 = bytes};
    assert_int_equal(gd_parzen_window(&one, &one, &one, &p), GD_OK);
    near(p.sigma, 0.1, 1e-12);
    near(p.mean, -4 * log(0.1 * sqrt(2 * M_PI)), 1e-12);
    drop(fakes), drop(validation), drop(test);
}

static uint8_t *image(int h, int w, int c, uint32_t s) {
    uint8_t *x = malloc((size_t)(h * w * c));
    assert_non_null(x);
    for (uint32_t i = 0; i < (uint32_t)(h * w * c); i++)
        x[i] = (uint8_t)(value(i / 4, 7, s) % 200 + value(i, 3, s) % 56);
    return x;
}

static void ssim(void **state) {
    (void)state;
    uint8_t *a = image(64, 48, 3, 16), *b = image(64, 48, 3, 17), *c = image(176, 180, 1, 18), *d = malloc(176 * 180);
    double v;
    assert_non_null(d);
    assert_int_equal(gd_ssim_scales(64, 48), 3);
    assert_int_equal(gd_ssim_scales(176, 180), 5);
    assert_int_equal(gd_ssim_scales(10, 400), 0);
    assert_int_equal(gd_ms_ssim(64, 48, 3, a, b, &v), GD_OK);
    near(v, golden_ssim[0], 1e-9);
    for (int i = 0; i < 176 * 180; i++) d[i] = c[i / 180 * 180 + (i % 180 + 178) % 180];
    assert_int_equal(gd_ms_ssim(176, 180, 1, c, d, &v), GD_OK);
    near(v, golden_ssim[1], 1e-9);
    assert_int_equal(gd_ms_ssim(64, 48, 3, a, a, &v), GD_OK);
    near(v, 1, 1e-12);
    assert_int_equal(gd_ms_ssim(10, 64, 1, a, b, &v), GD_SHAPE);
    free(a), free(b), free(c), free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frechet_of_gaussians_in_closed_form),
        cmocka_unit_test(frechet_of_sets),
        cmocka_unit_test(kernel_distance),
        cmocka_unit_test(neighbours),
        cmocka_unit_test(sliced_wasserstein),
        cmocka_unit_test(bytes_mean_what_networks_see),
        cmocka_unit_test(mixture_modes),
        cmocka_unit_test(stacked_modes),
        cmocka_unit_test(parzen),
        cmocka_unit_test(ssim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
