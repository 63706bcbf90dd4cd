/* The order of sums: against a reference that builds the tree as text, and the same bits for every way to
 * cut the leaves into ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "base/rng.h"
#include "dist/tree.h"

/* ---- the shape, written down by hand ---- */

static void write_tree(char *to, size_t room, int first, int n) {
    char left[512], right[512];
    if (n == 1) {
        snprintf(to, room, "%d", first);
        return;
    }
    int half = gd__tree_half(n);
    write_tree(left, sizeof left, first, half);
    write_tree(right, sizeof right, first + half, n - half);
    snprintf(to, room, "(%.200s %.200s)", left, right);
}

static void shapes_are_as_documented(void **state) {
    (void)state;
    static const char *const want[] = {[1] = "0",
                                       [2] = "(0 1)",
                                       [3] = "((0 1) 2)",
                                       [4] = "((0 1) (2 3))",
                                       [5] = "(((0 1) (2 3)) 4)",
                                       [6] = "(((0 1) (2 3)) (4 5))",
                                       [7] = "(((0 1) (2 3)) ((4 5) 6))",
                                       [8] = "(((0 1) (2 3)) ((4 5) (6 7)))",
                                       [9] = "((((0 1) (2 3)) ((4 5) (6 7))) 8)"};
    for (int n = 1; n <= 9; n++) {
        char text[512];
        write_tree(text, sizeof text, 0, n);
        assert_string_equal(text, want[n]);
    }
}

/* ---- values ---- */

enum { LEAVES = 48, COUNT = 5 * GD__TREE_TILE + 77 };
static float leaf[LEAVES][COUNT];
static const float *source[LEAVES];

static int fill(void **state) {
    (void)state;
    gd_rng rng = {.seed = 3, .purpose = GD_PURPOSE_TEST};
    for (int k = 0; k < LEAVES; k++) {
        gd_rng_normal(&rng, (uint64_t)k, 0, COUNT, leaf[k]);
        for (int i = 0; i < COUNT; i++)
            leaf[k][i] *= (float)(1 << (k * 7 + i) % 13); /* magnitudes differ: order shows */
        source[k] = leaf[k];
    }
    return 0;
}

/* One element, straight from the definition. */
static float reference(int first, int n, int i) {
    if (n == 1) return leaf[first][i];
    int p = 1;
    while (2 * p < n) p *= 2;
    return reference(first, p, i) + reference(first + p, n - p, i);
}

static void sums_follow_the_definition(void **state) {
    (void)state;
    static float out[COUNT];
    static const int counts[] = {1, 3, GD__TREE_TILE, GD__TREE_TILE + 1, COUNT};
    for (int n = 1; n <= LEAVES; n++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            gd__tree_sum(source, n, 0, (size_t)counts[c], out);
            for (int i = 0; i<counts[c]; i += counts[c]> 100 ? 61 : 1)
                if (out[i] != reference(0, n, i))
                    fail_msg("%d leaves, element %d of %d: %a, not %a", n, i, counts[c], out[i], reference(0, n, i));
        }
}

/* Otherwise the tests above could not fail for a wrong order. */
static void the_order_matters_for_these_values(void **state) {
    (void)state;
    int differ = 0;
    for (int i = 0; i < COUNT; i++) {
        float serial = leaf[0][i];
        for (int k = 1; k < LEAVES; k++) serial += leaf[k][i];
        differ += serial != reference(0, LEAVES, i);
    }
    assert_true(differ > COUNT / 4);
}

static void ranges_threads_and_place_do_not_matter(void **state) {
    (void)state;
    static float whole[COUNT], other[COUNT];
    gd__tree_sum(source, LEAVES, 0, COUNT, whole);
    for (size_t at = 0, step = 1; at < COUNT; at += step, step = step * 3 + 1) {
        size_t now = COUNT - at < step ? COUNT - at : step;
        gd__tree_sum(source, LEAVES, at, now, other + at);
    }
    assert_memory_equal(whole, other, sizeof whole);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        gd__tree_sum(source, LEAVES, 0, COUNT, other);
        assert_memory_equal(whole, other, sizeof whole);
    }
    static float own[COUNT]; /* into one of the sources */
    for (int k = 0; k < LEAVES; k += 5) {
        const float *list[LEAVES];
        memcpy(list, source, sizeof list);
        memcpy(own, leaf[k], sizeof own);
        list[k] = own;
        gd__tree_sum(list, LEAVES, 0, COUNT, own);
        assert_memory_equal(whole, own, sizeof whole);
    }
}

/* What ranks do: each sums its own leaves if that is one number, then the ranks' numbers are summed. */
static void every_number_of_ranks_gives_the_same_bits(void **state) {
    (void)state;
    static float handed[LEAVES][COUNT], want[COUNT], got[COUNT];
    const float *list[LEAVES];
    for (int leaves = 1; leaves <= LEAVES; leaves++) {
        gd__tree_sum(source, leaves, 0, COUNT, want);
        for (int ranks = 1; ranks <= leaves; ranks++) {
            int local = leaves / ranks, n = gd__tree_handed(local);
            if (leaves % ranks) continue;
            for (int r = 0; r < ranks; r++)
                for (int k = 0; k < n; k++) {
                    list[r * n + k] = handed[r * n + k];
                    if (n == 1) gd__tree_sum(source + r * local, local, 0, COUNT, handed[r]);
                    else memcpy(handed[r * n + k], leaf[r * local + k], sizeof want);
                }
            gd__tree_sum(list, ranks * n, 0, COUNT, got);
            if (memcmp(want, got, sizeof want)) fail_msg("%d leaves on %d ranks", leaves, ranks);
        }
    }
}

static void doubles_have_the_same_tree(void **state) {
    (void)state;
    double x[2 * LEAVES];
    for (int n = 1; n <= LEAVES; n++)
        for (int i = 0; i < 50; i++) {
            /* Numbers of 24 bits: sums of floats in a tree of doubles are exact, so compare as doubles. */
            double want = 0;
            for (int k = 0; k < n; k++) want += x[2 * k] = (double)leaf[k][i];
            double got = gd__tree_sum_f64(x, n, 2);
            assert_true(got - want < 1e-9 && want - got < 1e-9);
        }
    double inexact[] = {1, 1e-16, 1e-16}; /* (1 + e) + e: both e are lost */
    assert_true(gd__tree_sum_f64(inexact, 3, 1) == 1.0);
    double grouped[] = {1, 0, 1e-16, 1e-16}; /* (1 + 0) + (e + e) */
    assert_true(gd__tree_sum_f64(grouped, 4, 1) == 1.0 + 2e-16);
}

/* The deepest tree that is allowed fits into the tiles of its depth. */
static void the_largest_tree_fits(void **state) {
    (void)state;
    static float one[16];
    static const float *many[GD__TREE_LEAVES];
    for (int i = 0; i < 16; i++) one[i] = 1;
    for (int k = 0; k < GD__TREE_LEAVES; k++) many[k] = one;
    float out[16];
    gd__tree_sum(many, GD__TREE_LEAVES, 0, 16, out);
    for (int i = 0; i < 16; i++) assert_true(out[i] == (float)GD__TREE_LEAVES);
    gd__tree_sum(many, GD__TREE_LEAVES - 1, 0, 16, out);
    for (int i = 0; i < 16; i++) assert_true(out[i] == (float)(GD__TREE_LEAVES - 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_as_documented),
        cmocka_unit_test(sums_follow_the_definition),
        cmocka_unit_test(the_order_matters_for_these_values),
        cmocka_unit_test(ranges_threads_and_place_do_not_matter),
        cmocka_unit_test(every_number_of_ranks_gives_the_same_bits),
        cmocka_unit_test(doubles_have_the_same_tree),
        cmocka_unit_test(the_largest_tree_fits),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
