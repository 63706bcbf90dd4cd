/* Four real image sets (../shared/data, optional): every file decodes, to the pixels that Pillow gets.
 * The table is printed by data_golden/make.py. */
#include "tests/unit/data_files.h"

#include <zlib.h>

typedef struct real_set {
    const char *folder;
    int count, height, width, channels;
    uint32_t crc; /* of all pixels in order */
} real_set;

static const real_set SETS[] = {
    {"openmoji-pairs/train", 1079, 128, 256, 3, 0x8ee32f0c},
    {"openmoji-pairs/val", 120, 128, 256, 3, 0x34cc1b36},
    {"openmoji-pairs/test", 109, 128, 256, 3, 0xaf4dda6b},
    {"nuclei-pairs/train", 249, 256, 512, 1, 0x27279b1b},
    {"nuclei-pairs/val", 46, 256, 512, 1, 0x8075bf18},
    {"nuclei-pairs/test", 39, 256, 512, 1, 0x01b85153},
    {"fruit-unpaired/trainA", 960, 100, 100, 3, 0x1d6bbad9},
    {"fruit-unpaired/trainB", 960, 100, 100, 3, 0xab21e3c3},
    {"fruit-unpaired/testA", 160, 100, 100, 3, 0xbc1914d0},
    {"fruit-unpaired/testB", 162, 100, 100, 3, 0x010caa4a},
    {"tiles32", 2425, 32, 32, 3, 0x2714afb3},
};

static char *root;

static void check_set(const real_set *s) {
    char *path = gd_path_join(root, s->folder);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = path});
    const gd_sample_shape shape = gd_dataset_shape(d, 0);
    const size_t bytes = gd_sample_bytes(shape);
    uint8_t *pixels = malloc(bytes);
    uLong crc = 0;
    assert_non_null(pixels);
    print_message("%s: %s\n", s->folder, gd_dataset_describe(d));
    assert_int_equal(gd_dataset_count(d), s->count);
    assert_int_equal(shape.height, s->height);
    assert_int_equal(shape.width, s->width);
    assert_int_equal(shape.channels, s->channels);
    for (int i = 0; i < s->count; i++) {
        expect_ok(gd_dataset_get(d, 0, i, 0, pixels));
        crc = crc32(crc, pixels, (uInt)bytes);
    }
    assert_int_equal(crc, s->crc);
    free(pixels);
    gd_dataset_close(d);
    free(path);
}

static void test_sets(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof SETS / sizeof *SETS; i++) check_set(&SETS[i]);
}

int main(void) {
    const char *source = getenv("GANDIST_SOURCE_DIR");
    root = source ? gd_path_join(source, "../shared/data") : NULL;
    if (!root || !gd_path_is_dir(root)) {
        printf("skipped: the image sets of ../shared/data are not there\n");
        free(root);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sets)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(root);
    return failed;
}
