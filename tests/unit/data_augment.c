/* Resize, random crop, mirror: keyed by the draw, shared by a pair, absent from the held-out half. */
#include "tests/unit/data_files.h"

enum { N = 6, H = 10, W = 13, C = 3, LOAD = 9, SIZE = 6, OFF = LOAD - SIZE + 1, BYTES = SIZE * SIZE * C };

/* The same pictures in A and B, so that both parts of a pair must come out alike. */
static int make(void **state) {
    static const char *const folders[] = {"twin/A",      "twin/B",       "twin/test/A",
                                          "twin/test/B", "apart/trainA", "apart/trainB"};
    char path[64];
    (void)state;
    for (uint32_t i = 0; i < N; i++)
        for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) {
            snprintf(path, sizeof path, "%s/%u.png", folders[k], i);
            put_png(path, H, W, C, i);
        }
    return 0;
}

static gd_image loaded(uint32_t seed) {
    gd_image im = noise_image(H, W, C, seed), out;
    expect_ok(gd_image_resize_bicubic(&im, LOAD, LOAD, &out));
    gd_image_free(&im);
    return out;
}

/* Which window of `im`, mirrored or not, is `got`: top * 2 * OFF + left * 2 + mirrored; -1: none. */
static int window_of(const gd_image *im, const uint8_t *got) {
    for (int top = 0; top < OFF; top++)
        for (int left = 0; left < OFF; left++)
            for (int mirror = 0; mirror < 2; mirror++) {
                bool same = true;
                for (int y = 0; y < SIZE && same; y++)
                    for (int x = 0; x < SIZE && same; x++) {
                        const int from = left + (mirror ? SIZE - 1 - x : x);
                        same = !memcmp(got + (y * SIZE + x) * C, im->pixels + ((top + y) * LOAD + from) * C, C);
                    }
                if (same) return (top * OFF + left) * 2 + mirror;
            }
    return -1;
}

static gd_dataset_spec spec_of(const char *source, const char *path, bool flip) {
    return (gd_dataset_spec){.source = source, .path = path, .size = SIZE, .load = LOAD, .flip = flip, .seed = 11};
}

/* Every place is drawn about as often as any other, and the second asking gives the same. */
static void test_crops(void **state) {
    enum { DRAWS = 6400, PLACES = OFF * OFF * 2 };
    gd_dataset *d = open_set(spec_of("unpaired", "apart", true));
    gd_image im = loaded(2);
    int hits[PLACES] = {0};
    uint8_t got[BYTES], again[BYTES];
    (void)state;
    assert_string_equal(gd_dataset_describe(d), "unpaired: 6 images 10x13x3 -> 6x6x3 and 6 images 10x13x3 -> 6x6x3");
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        expect_ok(gd_dataset_get(d, 0, 2, draw, got));
        expect_ok(gd_dataset_get(d, 0, 2, draw, again));
        assert_memory_equal(got, again, BYTES);
        const int w = window_of(&im, got);
        assert_in_range(w, 0, PLACES - 1);
        hits[w]++;
    }
    for (int i = 0; i < PLACES; i++) assert_in_range(hits[i], DRAWS / PLACES - 70, DRAWS / PLACES + 70); /* 5 sigma */
    gd_image_free(&im);
    gd_dataset_close(d);
}

/* Shared by the parts of a pair, whichever is asked first; independent without pairs. */
static void test_shared_by_pairs(void **state) {
    gd_dataset *pairs = open_set(spec_of("pairs", "twin", true)), *apart = open_set(spec_of("unpaired", "apart", true));
    uint8_t a[BYTES], b[BYTES];
    int equal = 0;
    (void)state;
    for (uint64_t draw = 0; draw < 400; draw++) {
        expect_ok(gd_dataset_get(pairs, 1, 1, draw, b));
        expect_ok(gd_dataset_get(pairs, 0, 1, draw, a));
        assert_memory_equal(a, b, BYTES);
        expect_ok(gd_dataset_get(apart, 0, 1, draw, a));
        expect_ok(gd_dataset_get(apart, 1, 1, draw, b));
        equal += !memcmp(a, b, BYTES);
    }
    assert_in_range(equal, 1, 40); /* 12.5 are expected of 32 places */
    gd_dataset_close(pairs);
    gd_dataset_close(apart);
}

/* The seed of the run counts; the direction of the pair does not change where a draw is cut. */
static void test_seed_and_swap(void **state) {
    gd_dataset_spec spec = spec_of("pairs", "twin", true);
    gd_dataset *d = open_set(spec);
    spec.swap = true;
    gd_dataset *swapped = open_set(spec);
    spec.seed = 12;
    gd_dataset *other = open_set(spec);
    uint8_t a[BYTES], b[BYTES];
    int differ = 0;
    (void)state;
    for (uint64_t draw = 0; draw < 100; draw++) {
        expect_ok(gd_dataset_get(d, 0, 3, draw, a));
        expect_ok(gd_dataset_get(swapped, 1, 3, draw, b));
        assert_memory_equal(a, b, BYTES);
        expect_ok(gd_dataset_get(other, 1, 3, draw, b));
        differ += memcmp(a, b, BYTES) != 0;
    }
    assert_in_range(differ, 80, 100);
    gd_dataset_close(d);
    gd_dataset_close(swapped);
    gd_dataset_close(other);
}

/* The held-out half is resized to size at once, and never cut or mirrored; so is the truth of training pairs. */
static void test_test_half(void **state) {
    gd_dataset_spec spec = spec_of("pairs", "twin", true);
    gd_dataset *train = open_set(spec);
    spec.test = true;
    gd_dataset *d = open_set(spec);
    uint8_t got[BYTES];
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        gd_image im = noise_image(H, W, C, i), want;
        expect_ok(gd_image_resize_bicubic(&im, SIZE, SIZE, &want));
        for (uint64_t draw = 0; draw < 8; draw++) {
            expect_ok(gd_dataset_get(d, 0, i, draw, got));
            assert_memory_equal(got, want.pixels, BYTES);
        }
        expect_ok(gd_dataset_truth(train, 0, i, got));
        assert_memory_equal(got, want.pixels, BYTES);
        gd_image_free(&im);
        gd_image_free(&want);
    }
    gd_dataset_close(train);
    gd_dataset_close(d);
}

/* load equal to size: squashed, not cut; channels as asked for. */
static void test_no_room_to_crop(void **state) {
    gd_dataset_spec spec = spec_of("pairs", "twin", false);
    spec.load = SIZE;
    spec.channels = 1;
    gd_dataset *d = open_set(spec);
    uint8_t got[2][SIZE * SIZE];
    (void)state;
    assert_int_equal(gd_sample_bytes(gd_dataset_shape(d, 0)), SIZE * SIZE);
    for (uint64_t draw = 0; draw < 8; draw++) {
        expect_ok(gd_dataset_get(d, 0, 0, draw, got[draw > 0]));
        assert_memory_equal(got[0], got[draw > 0], sizeof got[0]);
    }
    gd_dataset_close(d);
}

static void test_synthetic_pairs(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "synthetic-pairs", .size = SIZE, .load = LOAD, .count = 10});
    uint8_t a[BYTES], b[BYTES];
    (void)state;
    assert_true(gd_dataset_aligned(d));
    expect_ok(gd_dataset_get(d, 0, 3, 5, a));
    expect_ok(gd_dataset_get(d, 1, 3, 5, b));
    assert_memory_not_equal(a, b, BYTES);
    expect_ok(gd_dataset_get(d, 0, 3, 5, b));
    assert_memory_equal(a, b, BYTES);
    gd_dataset_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crops),           cmocka_unit_test(test_shared_by_pairs),
        cmocka_unit_test(test_seed_and_swap),   cmocka_unit_test(test_test_half),
        cmocka_unit_test(test_no_room_to_crop), cmocka_unit_test(test_synthetic_pairs),
    };
    return cmocka_run_group_tests(tests, make, NULL);
}
