/* Fashion-MNIST at its Debian place: all its pixels, and what its publication says about it. */
#include "tests/unit/data_files.h"

#include <math.h>
#include <zlib.h>

#include "base/rng.h"
#include "data/loader.h"

#define FOLDER "/usr/share/datasets/fashion-mnist/"

static void check_pixels(const gd_dataset *d, int count, uint32_t crc, double *mean, double *deviation) {
    uint8_t image[28 * 28];
    uLong got = 0;
    double sum = 0, squares = 0;
    assert_int_equal(gd_dataset_count(d), count);
    for (int i = 0; i < count; i++) {
        uint64_t s = 0, q = 0;
        expect_ok(gd_dataset_get(d, 0, i, 0, image));
        got = crc32(got, image, sizeof image);
        for (size_t k = 0; k < sizeof image; k++) s += image[k], q += (uint64_t)image[k] * image[k];
        sum += (double)s;
        squares += (double)q;
    }
    assert_int_equal(got, crc);
    double n = (double)count * sizeof image;
    *mean = sum / n / 255;
    *deviation = sqrt(squares / n / 255 / 255 - *mean * *mean);
}

static void test_training_set(void **state) {
    double mean, deviation;
    (void)state;
    gd_dataset *d = open_set((gd_dataset_spec){.source = "fashion-mnist"});
    assert_string_equal(gd_dataset_describe(d), "fashion-mnist: 60,000 images 28x28x1");
    check_pixels(d, 60000, 0xae65dccd, &mean, &deviation);
    assert_true(fabs(mean - 0.28604) < 5e-6);
    assert_true(fabs(deviation - 0.35302) < 1e-5);
    gd_dataset_close(d);
}

static void test_test_set(void **state) {
    double mean, deviation;
    (void)state;
    gd_dataset *d = open_set((gd_dataset_spec){.source = "fashion-mnist", .path = FOLDER "t10k-images-idx3-ubyte.gz"});
    check_pixels(d, 10000, 0x12728439, &mean, &deviation);
    gd_dataset_close(d);
}

static void test_labels_are_refused(void **state) {
    gd_dataset_spec spec = {.source = "fashion-mnist", .path = FOLDER "train-labels-idx1-ubyte.gz"};
    gd_dataset *d;
    (void)state;
    expect_error(gd_dataset_open(&spec, &d), GD_DATA, "labels-idx1", "60,000", "expected 3");
}

/* At 32 pixels, as a recipe asks for it: resized, not padded. */
static void test_at_32(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "fashion-mnist", .size = 32, .channels = 1}),
               *small = open_set((gd_dataset_spec){.source = "fashion-mnist"});
    gd_loader_opts o = {.seed = 1, .global = 64, .local = 64};
    gd_loader *l;
    gd_batch b;
    (void)state;
    assert_string_equal(gd_dataset_describe(d), "fashion-mnist: 60,000 images 28x28x1 -> 32x32x1");
    expect_ok(gd_loader_open(d, &o, &l));
    expect_ok(gd_loader_next(l, &b));
    for (uint64_t i = 0; i < 64; i++) {
        gd_rng r = {.seed = 1, .purpose = GD_PURPOSE_SHUFFLE};
        gd_image im = {28, 28, 1, malloc(28 * 28)}, want;
        assert_non_null(im.pixels);
        expect_ok(gd_dataset_get(small, 0, (int64_t)gd_rng_permute(&r, 60000, i), 0, im.pixels));
        expect_ok(gd_image_resize(&im, 32, 32, &want));
        assert_memory_equal((const uint8_t *)b.part[0] + i * 1024, want.pixels, 1024);
        gd_image_free(&im);
        gd_image_free(&want);
    }
    gd_loader_close(l);
    gd_dataset_close(d);
    gd_dataset_close(small);
}

int main(void) {
    if (!gd_path_exists(FOLDER "train-images-idx3-ubyte.gz")) {
        printf("skipped: the Debian package dataset-fashion-mnist is not installed\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_set),
        cmocka_unit_test(test_test_set),
        cmocka_unit_test(test_labels_are_refused),
        cmocka_unit_test(test_at_32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
