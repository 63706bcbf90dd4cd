/* Random numbers: published vectors, golden values, distributions, permutation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"

/* Random123's kat_vectors. */
static void philox_gives_the_published_words(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        gd_philox4x32(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

static const gd_rng golden_rng = {.seed = 1234567890123456789u, .purpose = GD_PURPOSE_TEST, .step = 0x123456789abcu};

/* Written down once; equal for gcc and clang, -O0 to -O3, with and without AVX-512 and FMA. A change
 * of these bits breaks every checkpoint: resumed runs would draw other numbers. */
static void draws_are_the_golden_ones(void **state) {
    (void)state;
    static const float normal[8] = {0x1.d84cdcp-1f, 0x1.12bc9ap+1f, 0x1.497b04p+0f, -0x1.0ed83ep+0f,
                                    0x1.2b828ep-1f, 0x1.6f4faep+0f, -0x1.1df2ap-3f, 0x1.3d176ep-1f};
    static const float uniform[8] = {0x1.0b6bbp-4f,  0x1.7bb1cp-3f,  0x1.ff2e4p-3f,  0x1.c7ef18p-1f,
                                     0x1.34497cp-2f, 0x1.81d088p-3f, 0x1.a28d16p-1f, 0x1.242344p-2f};
    static const uint64_t order[10] = {2, 5, 1, 6, 7, 0, 9, 3, 8, 4}, below[6] = {868, 564, 405, 507, 842, 86};
    float x[8];
    gd_rng_normal(&golden_rng, 0xfedcba987654u, 0, 8, x);
    assert_memory_equal(x, normal, sizeof x);
    gd_rng_uniform(&golden_rng, 0xfedcba987654u, 0, 8, x);
    assert_memory_equal(x, uniform, sizeof x);
    for (uint64_t i = 0; i < 10; i++) assert_int_equal(gd_rng_permute(&golden_rng, 10, i), order[i]);
    for (uint64_t i = 0; i < 6; i++) assert_int_equal(gd_rng_below(&golden_rng, i, 1000), below[i]);
    enum { N = 1 << 20 };
    float *many = malloc(N * sizeof *many);
    assert_non_null(many);
    gd_rng_normal(&golden_rng, 5, 0, N, many);
    assert_true(gd_hash64(many, N * sizeof *many, 0) == 0x6c7d4e4755e558a0u);
    free(many);
}

/* The own log and sincos against the C library's in double precision, from the same words. */
static void normals_are_accurate(void **state) {
    (void)state;
    enum { BLOCKS = 50000 };
    float *x = malloc(4 * BLOCKS * sizeof *x);
    assert_non_null(x);
    gd_rng_normal(&golden_rng, 9, 0, 4 * BLOCKS, x);
    double worst = 0;
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint32_t w[4];
        gd_rng_block(&golden_rng, 9, b, w);
        for (int p = 0; p < 2; p++) {
            double r = sqrt(-2 * log(w[2 * p] * 0x1p-32 + 0x1p-33)), angle = w[2 * p + 1] * (2 * acos(-1.0) * 0x1p-32);
            worst = fmax(worst, fabs(r * cos(angle) - (double)x[4 * b + 2 * (uint32_t)p]));
            worst = fmax(worst, fabs(r * sin(angle) - (double)x[4 * b + 2 * (uint32_t)p + 1]));
        }
    }
    free(x);
    /* One unit in the last place at |z| = 4 is 4.8e-7; where u is next to 1 its own rounding rules
     * (|error of r| <= 2^-25 / r with r >= 2^-12 or so). */
    assert_true(worst < 4e-5);
    assert_true(worst > 0); /* or nothing was compared */
}

static void a_part_equals_the_whole(void **state) {
    (void)state;
    enum { N = 1003 };
    float whole[N], part[N];
    for (int kind = 0; kind < 2; kind++) {
        void (*draw)(const gd_rng *, uint64_t, uint32_t, uint32_t, float *) = kind ? gd_rng_normal : gd_rng_uniform;
        draw(&golden_rng, 77, 0, N, whole);
        for (uint32_t first = 0; first < 300; first += 52)
            for (uint32_t n = 0; n < 300; n += 7) {
                memset(part, 0xff, sizeof part);
                draw(&golden_rng, 77, first, n, part);
                assert_memory_equal(part, whole + first, n * sizeof *part);
                uint32_t behind;
                memcpy(&behind, part + n, sizeof behind);
                assert_int_equal(behind, UINT32_MAX); /* nothing is written behind n */
            }
    }
}

static void every_part_of_the_key_matters(void **state) {
    (void)state;
    const gd_rng r = {.seed = 1, .purpose = 2, .step = 3};
    const gd_rng others[] = {
        {2, 2, 3}, {1, 3, 3}, {1, 2, 4}, {1, 2 | 1 << 16, 3}, {1, 2, 3 + (1ull << 32)}, {1 + (1ull << 63), 2, 3}};
    uint32_t a[4], b[4];
    gd_rng_block(&r, 5, 6, a);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        gd_rng_block(&others[i], 5, 6, b);
        assert_memory_not_equal(a, b, sizeof a);
    }
    gd_rng_block(&r, 5 + (1ull << 32), 6, b);
    assert_memory_not_equal(a, b, sizeof a);
    gd_rng_block(&r, 5 + (1ull << 47), 6, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov: sqrt(n) times the largest distance. 2.0 is passed once in 1500 by a right one. */
static double ks(float *x, size_t n, double (*cdf)(double)) {
    qsort(x, n, sizeof *x, compare_floats);
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double f = cdf((double)x[i]);
        worst = fmax(worst, fmax(fabs(f - (double)i / (double)n), fabs(f - (double)(i + 1) / (double)n)));
    }
    return worst * sqrt((double)n);
}

static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2.0)); }
static double uniform_cdf(double x) { return x; }

static void distributions_are_right(void **state) {
    (void)state;
    enum { N = 1 << 18 };
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    gd_rng_uniform(&golden_rng, 1, 0, N, x);
    for (int i = 0; i < N; i++) assert_true(x[i] >= 0 && x[i] < 1);
    assert_true(ks(x, N, uniform_cdf) < 2.0);
    gd_rng_normal(&golden_rng, 1, 0, N, x);
    double moment[5] = {0}, neighbours = 0;
    for (int i = 0; i < N; i++) {
        double power = 1;
        for (int k = 0; k < 5; k++, power *= (double)x[i]) moment[k] += power / N;
        if (i + 1 < N) neighbours += (double)x[i] * (double)x[i + 1] / N;
    }
    double sigma = 1 / sqrt((double)N); /* limits are four standard errors */
    assert_true(fabs(moment[1]) < 4 * sigma);
    assert_true(fabs(moment[2] - 1) < 4 * sqrt(2.0) * sigma);
    assert_true(fabs(moment[3]) < 4 * sqrt(15.0) * sigma);
    assert_true(fabs(moment[4] - 3) < 4 * sqrt(96.0) * sigma);
    assert_true(fabs(neighbours) < 4 * sigma);
    assert_true(ks(x, N, normal_cdf) < 2.0);
    assert_true(x[0] < -4 && x[N - 1] > 4); /* sorted by ks: there are tails */
    free(x);
}

/* Words of neighbouring samples and steps are independent: each bit flips half of the time. */
static void neighbours_differ_in_half_of_the_bits(void **state) {
    (void)state;
    enum { N = 4096 };
    uint64_t flips[2] = {0};
    for (uint64_t s = 0; s < N; s++) {
        uint32_t a[4], b[4];
        gd_rng r = golden_rng;
        gd_rng_block(&r, s, 0, a);
        gd_rng_block(&r, s + 1, 0, b);
        for (int j = 0; j < 4; j++) flips[0] += (uint64_t)__builtin_popcount(a[j] ^ b[j]);
        r.step++;
        gd_rng_block(&r, s, 0, b);
        for (int j = 0; j < 4; j++) flips[1] += (uint64_t)__builtin_popcount(a[j] ^ b[j]);
    }
    double expected = N * 64.0, sigma = sqrt(N * 32.0);
    for (int i = 0; i < 2; i++) assert_true(fabs((double)flips[i] - expected) < 5 * sigma);
}

static void below_is_unbiased(void **state) {
    (void)state;
    enum { DRAWS = 30000 };
    for (uint64_t bound = 1; bound <= 7; bound += 2) {
        double count[7] = {0}, chi2 = 0;
        for (uint64_t i = 0; i < DRAWS; i++) {
            uint64_t x = gd_rng_below(&golden_rng, i, bound);
            assert_true(x < bound);
            count[x]++;
        }
        for (uint64_t i = 0; i < bound; i++)
            chi2 += pow(count[i] - (double)DRAWS / (double)bound, 2) * (double)bound / DRAWS;
        assert_true(chi2 < 30); /* 6 degrees of freedom: once in 25,000 */
    }
    /* A bound where a plain multiply-shift or a remainder is off by half: three quarters of 2^64.
     * Rejection happens for a quarter of the words; each third of the range must be hit equally. */
    const uint64_t third = 1ull << 62;
    double count[3] = {0}, chi2 = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        uint64_t x = gd_rng_below(&golden_rng, i, 3 * third);
        assert_true(x < 3 * third);
        count[x / third]++;
        /* Without rejection the residues modulo 3 of multiply-shift would be uneven as well. */
    }
    for (int i = 0; i < 3; i++) chi2 += pow(count[i] - DRAWS / 3.0, 2) * 3 / DRAWS;
    assert_true(chi2 < 20);
    double residue[3] = {0};
    chi2 = 0;
    for (uint64_t i = 0; i < DRAWS; i++) residue[gd_rng_below(&golden_rng, i, 3 * third) % 3]++;
    for (int i = 0; i < 3; i++) chi2 += pow(residue[i] - DRAWS / 3.0, 2) * 3 / DRAWS;
    assert_true(chi2 < 20);
}

static void permutation_is_a_bijection(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 257, 1000, 1023, 4096, 4097, 60000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint64_t n = sizes[k];
        uint8_t *seen = calloc(n, 1);
        assert_non_null(seen);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t j = gd_rng_permute(&golden_rng, n, i);
            assert_true(j < n);
            assert_false(seen[j]);
            seen[j] = 1;
        }
        free(seen);
    }
    /* Large sets by sample: in range, and different for different inputs. */
    const uint64_t huge = UINT64_MAX - 5;
    uint64_t last = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t j = gd_rng_permute(&golden_rng, huge, i);
        assert_true(j < huge && j != last);
        last = j;
    }
}

/* Chi-square of (first element) and of (who is where) for all orders of three; over many keys. */
static void permutation_is_well_mixed(void **state) {
    (void)state;
    enum { KEYS = 12000, N = 3, SLOTS = 16 };
    double order[27] = {0}, chi2 = 0;
    for (uint64_t k = 0; k < KEYS; k++) {
        gd_rng r = {.seed = k, .purpose = GD_PURPOSE_SHUFFLE, .step = k / 7};
        order[9 * gd_rng_permute(&r, N, 0) + 3 * gd_rng_permute(&r, N, 1) + gd_rng_permute(&r, N, 2)]++;
    }
    for (int i = 0; i < 27; i++)
        if (order[i] > 0) chi2 += pow(order[i] - KEYS / 6.0, 2) * 6 / KEYS;
    assert_true(chi2 < 30); /* 5 degrees of freedom */
    /* 1000 elements: where an element goes is even over SLOTS parts, also for its neighbour relative to it. */
    double place[SLOTS] = {0}, distance[SLOTS] = {0};
    for (uint64_t i = 0; i < KEYS; i++) {
        gd_rng r = {.seed = 1, .purpose = GD_PURPOSE_SHUFFLE, .step = i};
        uint64_t a = gd_rng_permute(&r, 1000, 500), b = gd_rng_permute(&r, 1000, 501);
        place[a * SLOTS / 1000]++;
        distance[(a + 1000 - b) % 1000 * SLOTS / 1000]++;
    }
    double chi_place = 0, chi_distance = 0, expected = (double)KEYS / SLOTS;
    for (int i = 0; i < SLOTS; i++) {
        chi_place += pow(place[i] - expected, 2) / expected;
        chi_distance += pow(distance[i] - expected, 2) / expected;
    }
    assert_true(chi_place < 45 && chi_distance < 45); /* 15 degrees of freedom: once in 13,000 */
}

/* One epoch's order has no trend and no runs: correlation of place and element, fixed points. */
static void one_order_looks_random(void **state) {
    (void)state;
    enum { N = 60000 };
    double sum = 0;
    int fixed = 0, ascents = 0;
    uint64_t last = 0;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t j = gd_rng_permute(&golden_rng, N, i);
        sum += ((double)i / N - 0.5) * ((double)j / N - 0.5) * 12 / N;
        fixed += i == j;
        ascents += i > 0 && j > last;
        last = j;
    }
    assert_true(fabs(sum) < 4 / sqrt((double)N));
    assert_true(fixed < 8); /* 1 on average */
    assert_true(abs(ascents - N / 2) < 4 * sqrt(N / 12.0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_words),
        cmocka_unit_test(draws_are_the_golden_ones),
        cmocka_unit_test(normals_are_accurate),
        cmocka_unit_test(a_part_equals_the_whole),
        cmocka_unit_test(every_part_of_the_key_matters),
        cmocka_unit_test(distributions_are_right),
        cmocka_unit_test(neighbours_differ_in_half_of_the_bits),
        cmocka_unit_test(below_is_unbiased),
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(permutation_is_well_mixed),
        cmocka_unit_test(one_order_looks_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
