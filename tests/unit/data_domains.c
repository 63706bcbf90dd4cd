/* Sets of two domains in folders: pairs in their layouts, unpaired folders, and what must be refused. */
#include "tests/unit/data_files.h"

#include <unistd.h>

#include "data/loader.h"

static int enter(void **state) {
    (void)state;
    expect_ok(gd_dir_remove("made"));
    expect_ok(gd_dir_make("made"));
    return chdir("made");
}

/* ---- files ---- */

static void put_image(const char *path, const gd_image *im) {
    uint8_t *png;
    size_t n;
    expect_ok(gd_image_encode_png(im, NULL, &png, &n));
    put_file(path, png, n);
    free(png);
}

enum { H = 4, W = 6, C = 3, BYTES = H * W * C };

/* Noise of seed in the left half, of seed + 500 in the right half. */
static void put_joined(const char *path, uint32_t seed) {
    gd_image a = noise_image(H, W, C, seed), b = noise_image(H, W, C, seed + 500), both = noise_image(H, 2 * W, C, 0);
    for (int y = 0; y < H; y++) {
        memcpy(both.pixels + y * 2 * W * C, a.pixels + y * W * C, W * C);
        memcpy(both.pixels + (2 * y + 1) * W * C, b.pixels + y * W * C, W * C);
    }
    put_image(path, &both);
    gd_image_free(&a);
    gd_image_free(&b);
    gd_image_free(&both);
}

static void expect_noise(const gd_dataset *d, int part, int64_t index, uint32_t seed) {
    uint8_t got[BYTES], want[BYTES];
    noise(want, BYTES, seed);
    expect_ok(gd_dataset_get(d, part, index, 0, got));
    assert_memory_equal(got, want, BYTES);
}

/* Samples first .. first+n-1 in this order, from the getter, the other half as truth, and in both directions. */
static void check_pairs(const char *source, const char *path, bool test, int64_t n, uint32_t first) {
    for (int swap = 0; swap < 2; swap++) {
        gd_dataset *d = open_set((gd_dataset_spec){.source = source, .path = path, .test = test, .swap = swap});
        assert_true(gd_dataset_aligned(d));
        for (int p = 0; p < 2; p++) assert_int_equal(gd_dataset_part_count(d, p), n);
        for (int64_t i = 0; i < n; i++)
            for (int p = 0; p < 2; p++) {
                uint8_t truth[BYTES], want[BYTES];
                expect_noise(d, p, i, first + (uint32_t)i + (p != swap ? 500 : 0));
                expect_ok(gd_dataset_truth(d, p, i, truth));
                noise(want, BYTES, first + (uint32_t)i + (p != swap ? 0 : 500));
                assert_memory_equal(truth, want, BYTES);
            }
        gd_dataset_close(d);
    }
}

static void test_side_by_side(void **state) {
    char path[64];
    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "joined/train/%u.png", i);
        put_joined(path, i);
        snprintf(path, sizeof path, "flat/%u.png", i);
        put_joined(path, 50 + i);
    }
    put_joined("joined/val/a.png", 10);
    put_joined("joined/val/b.png", 11);
    check_pairs("pairs", "joined", false, 5, 0);
    check_pairs("pairs", "joined", true, 2, 10);
    put_joined("joined/test/a.png", 20); /* test goes before val */
    check_pairs("pairs", "joined", true, 1, 20);
    check_pairs("pairs", "flat", false, 5, 50);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "pairs", .path = "joined"}),
               *two = open_set((gd_dataset_spec){.source = "pairs", .path = "joined", .count = 2}),
               *other = open_set((gd_dataset_spec){.source = "pairs", .path = "joined", .swap = true});
    assert_string_equal(gd_dataset_describe(d), "pairs: 5 images 4x6x3 with 5 images 4x6x3");
    assert_int_equal(gd_dataset_count(two), 2);
    assert_int_not_equal(gd_dataset_fingerprint(d), gd_dataset_fingerprint(two));
    assert_int_not_equal(gd_dataset_fingerprint(d), gd_dataset_fingerprint(other));
    gd_dataset_close(d);
    gd_dataset_close(two);
    gd_dataset_close(other);
}

/* The order is that of the names without endings: "a-1" comes behind "a", though "a-1.png" comes before "a.png". */
static void put_two(const char *a, const char *b) {
    static const char *const stems[] = {"a", "a-1", "sub/b"};
    char path[64];
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t p = 0; p < 2; p++) {
            snprintf(path, sizeof path, "%s/%s.%s", p ? b : a, stems[i], i == 1 && p ? "PNG" : "png");
            put_png(path, H, W, C, i + 500 * p);
        }
}

static void test_two_folders(void **state) {
    (void)state;
    put_two("two/A", "two/B");
    check_pairs("pairs", "two", false, 3, 0);
    put_two("below/train/A", "below/train/B");
    put_two("below/test/A", "below/test/B");
    check_pairs("pairs", "below", false, 3, 0);
    check_pairs("pairs", "below", true, 3, 0);
    put_two("above/A/train", "above/B/train");
    put_two("above/A/val", "above/B/val");
    check_pairs("pairs", "above", false, 3, 0);
    check_pairs("pairs", "above", true, 3, 0);
}

static int opens;

static int counting_open(const char *path, int flags, mode_t mode) {
    opens++;
    return gd_io_system()->open(path, flags, mode);
}

/* Through the loader a file of two pictures is read once a draw, and both parts are cut and mirrored alike. */
static void check_decoded_together(bool swap) {
    gd_io table = *gd_io_system();
    gd_dataset *d = open_set(
                   (gd_dataset_spec){.source = "pairs", .path = "joined", .flip = true, .seed = 3, .swap = swap}),
               *same = open_set(
                   (gd_dataset_spec){.source = "pairs", .path = "joined", .flip = true, .seed = 3, .swap = swap});
    gd_loader *l;
    gd_batch b;
    uint8_t want[BYTES];
    table.open = counting_open;
    opens = 0;
    gd_io_set(&table);
    expect_ok(gd_loader_open(d, &(gd_loader_opts){.seed = 1, .global = 5, .local = 5, .workers = 1, .depth = 1}, &l));
    expect_ok(gd_loader_next(l, &b));
    assert_in_range(opens, 5, 5); /* later batches are made of kept pictures */
    gd_io_set(NULL);
    for (uint64_t i = 0; i < 5; i++) {
        int found = 0;
        for (int64_t k = 0; k < 5; k++) {
            bool all = true;
            for (int p = 0; p < 2; p++) {
                expect_ok(gd_dataset_get(same, p, k, i, want));
                all &= !memcmp((const uint8_t *)b.part[p] + i * BYTES, want, BYTES);
            }
            found += all;
        }
        assert_int_equal(found, 1);
    }
    gd_loader_close(l);
    gd_dataset_close(d);
    gd_dataset_close(same);
}

static void test_decoded_together(void **state) {
    (void)state;
    check_decoded_together(false);
    check_decoded_together(true);
}

static void test_split(void **state) {
    (void)state;
    gd_dataset *d = open_set((gd_dataset_spec){.source = "split-pairs", .path = "joined"});
    uint8_t out[BYTES];
    assert_false(gd_dataset_aligned(d));
    assert_int_equal(gd_dataset_part_count(d, 0), 2);
    assert_int_equal(gd_dataset_part_count(d, 1), 3);
    for (uint32_t i = 0; i < 2; i++) expect_noise(d, 0, i, i);
    for (uint32_t i = 0; i < 3; i++) expect_noise(d, 1, i, 502 + i);
    expect_error(gd_dataset_truth(d, 0, 0, out), GD_UNSUP, "true map");
    gd_dataset *pairs = open_set((gd_dataset_spec){.source = "pairs", .path = "joined"});
    assert_int_not_equal(gd_dataset_fingerprint(d), gd_dataset_fingerprint(pairs));
    gd_dataset_close(pairs);
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "split-pairs", .path = "joined", .swap = true});
    assert_int_equal(gd_dataset_part_count(d, 0), 3);
    expect_noise(d, 0, 0, 502);
    gd_dataset_close(d);
    check_pairs("split-pairs", "joined", true, 1, 20); /* the test half is whole pairs */
}

static void test_unpaired(void **state) {
    char path[64];
    (void)state;
    for (uint32_t i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "apart/%s/%u.png", i < 3 ? "trainA" : "trainB", i);
        put_png(path, H, W, C, i);
    }
    put_png("apart/testA/x.png", H, W, C, 20);
    put_png("apart/testB/y.png", H, W, C, 21);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "unpaired", .path = "apart"}),
               *test = open_set((gd_dataset_spec){.source = "unpaired", .path = "apart", .test = true, .swap = true}),
               *few = open_set((gd_dataset_spec){.source = "unpaired", .path = "apart", .count = 4});
    assert_string_equal(gd_dataset_describe(d), "unpaired: 3 images 4x6x3 and 4 images 4x6x3");
    assert_false(gd_dataset_aligned(d));
    assert_int_equal(gd_dataset_count(d), 4);
    for (uint32_t i = 0; i < 3; i++) expect_noise(d, 0, i, i);
    for (uint32_t i = 0; i < 4; i++) expect_noise(d, 1, i, 3 + i);
    expect_noise(test, 0, 0, 21);
    expect_noise(test, 1, 0, 20);
    assert_int_equal(gd_dataset_part_count(few, 0), 3); /* each domain has at most so many */
    assert_int_equal(gd_dataset_part_count(few, 1), 4);
    assert_int_not_equal(gd_dataset_fingerprint(d), gd_dataset_fingerprint(test));
    gd_dataset_close(d);
    gd_dataset_close(test);
    gd_dataset_close(few);
}

/* ---- bad sets ---- */

typedef struct bad {
    gd_dataset_spec spec;
    gd_status code;
    const char *text[3];
} bad;

#define SET(s, p)                                                                                                      \
    { .source = s, .path = p }

// clang-format off
static const bad BAD[] = {
    {SET("pairs", "nowhere"),       GD_NOINPUT, {"nowhere: does not exist", "data.path"}},
    {SET("pairs", "file"),          GD_DATA, {"file: is no folder"}},
    {SET("pairs", "apart"),         GD_DATA, {"trainA and trainB", "set data.source to unpaired"}},
    {SET("pairs", "onlyA"),         GD_DATA, {"onlyA: A is there, but no B"}},
    {SET("pairs", "onlyB/"),        GD_DATA, {"onlyB", "B is there, but no A"}},
    {SET("pairs", "lonely"),        GD_DATA, {"lonely: 7 pictures without a partner: a1.png (A), a2.png (A), a3.png (A), b1.png (B), b2.png (B), ...; A has 4 pictures, B 5"}},
    {SET("pairs", "endings"),       GD_DATA, {"endings/A: x.jpeg and x.png differ in their endings only"}},
    {SET("pairs", "odd"),           GD_DATA, {"odd/b.png: 7 pixels wide, which is odd (2 such files)", "side by side"}},
    {SET("pairs", "unequal"),       GD_DATA, {"unequal/A/x.png: 6x4 pixels, but its partner in unequal/B has 5x4"}},
    {SET("pairs", "emptyB"),        GD_DATA, {"domain B (domain A has 1 pictures): emptyB/B: 0 images"}},
    {SET("pairs", "emptyA"),        GD_DATA, {"domain A: emptyA/A: 0 images"}},
    {SET("pairs", "mixed"),         GD_DATA, {"different sizes", "data.image.size"}},
    {{.source = "pairs", .path = "flat", .test = true}, GD_NOINPUT, {"flat: no held-out half", "test or val"}},
    {{.source = "pairs", .path = "two", .test = true},  GD_NOINPUT, {"two/A: no held-out half", "test or val"}},
    {{.source = "pairs", .path = "flat", .count = 6},   GD_CONFIG, {"flat: holds 5 samples; the first 6"}},
    {{.source = "pairs", .path = "flat", .labels = true}, GD_CONFIG, {"two domains; labels"}},
    {SET("split-pairs", "one"),     GD_DATA, {"one pair cannot be split"}},
    {SET("unpaired", "nowhere"),    GD_NOINPUT, {"nowhere: does not exist"}},
    {SET("unpaired", "two"),        GD_DATA, {"neither trainA nor trainB"}},
    {SET("unpaired", "half"),       GD_DATA, {"half: trainA is there, but no trainB"}},
    {SET("unpaired", "void"),       GD_DATA, {"domain B (domain A has 1 pictures): void/trainB: 0 images; the folder is empty"}},
    {SET("unpaired", "differ"),     GD_DATA, {"differ: pictures of 6x4 in A, of 4x6 in B", "data.image.size"}},
    {{.source = "unpaired", .path = "half", .test = true}, GD_NOINPUT, {"half: no held-out half", "testA and testB"}},
    {{.source = "unpaired", .path = "apart", .count = 5},  GD_CONFIG, {"holds 4 samples; the first 5"}},
    {{.source = "folder", .path = "flat", .test = true},   GD_NOINPUT, {"'folder' has no held-out half"}},
    {{.source = "folder", .path = "flat", .swap = true},   GD_CONFIG, {"holds one domain"}},
    {{.source = "folder", .path = "flat", .labels = true}, GD_CONFIG, {"'folder' has no labels"}},
    {{.source = "synthetic", .size = 32, .load = 16},      GD_CONFIG, {"32 pixels to be cut out of 16", "data.image.load"}},
    {{.source = "synthetic", .load = 16},                  GD_CONFIG, {"data.image.size"}},
    {{.source = "ring", .load = 16},                       GD_CONFIG, {"points of the plane"}},
};
// clang-format on

static void make_bad(void) {
    put_file("file", "x", 1);
    put_png("onlyA/A/x.png", H, W, C, 1);
    put_png("onlyB/B/x.png", H, W, C, 1);
    for (int i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof path, "lonely/A/a%d.png", i);
        put_png(path, H, W, C, 1);
        snprintf(path, sizeof path, "lonely/B/b%d.png", i + 1);
        put_png(path, H, W, C, 1);
    }
    put_png("lonely/B/a0.png", H, W, C, 1);
    put_png("endings/A/x.png", H, W, C, 1);
    put_png("endings/A/x.jpeg", H, W, C, 1);
    put_png("endings/B/x.png", H, W, C, 1);
    put_png("odd/a.png", H, 6, C, 1);
    put_png("odd/b.png", H, 7, C, 1);
    put_png("odd/c.png", H, 7, C, 1);
    put_png("unequal/A/x.png", H, W, C, 1);
    put_png("unequal/B/x.png", H, W - 1, C, 1);
    put_png("emptyB/A/x.png", H, W, C, 1);
    expect_ok(gd_dir_make("emptyB/B"));
    put_png("emptyA/B/x.png", H, W, C, 1);
    expect_ok(gd_dir_make("emptyA/A"));
    put_png("mixed/a.png", H, 2 * W, C, 1);
    put_png("mixed/b.png", H + 1, 2 * W, C, 1);
    put_joined("one/a.png", 1);
    put_png("half/trainA/x.png", H, W, C, 1);
    put_png("void/trainA/x.png", H, W, C, 1);
    expect_ok(gd_dir_make("void/trainB"));
    put_png("differ/trainA/x.png", H, W, C, 1);
    put_png("differ/trainB/x.png", W, H, C, 1);
}

static void test_bad(void **state) {
    (void)state;
    make_bad();
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const bad *b = &BAD[i];
        gd_dataset_spec spec = b->spec;
        gd_dataset *d = NULL;
        print_message("%s %s\n", spec.source, spec.path ? spec.path : "");
        const char *text[4] = {b->text[0], b->text[1], b->text[2], NULL};
        expect_error_at(gd_dataset_open(&spec, &d), b->code, text, (int)i);
        assert_null(d);
    }
    gd_dataset_close(open_set((gd_dataset_spec){.source = "unpaired", .path = "differ", .size = 4}));
    gd_dataset_close(open_set((gd_dataset_spec){.source = "pairs", .path = "mixed", .size = 4}));
}

/* A file that becomes narrower while it is used: an error, and no read beyond it. */
static void test_changed(void **state) {
    uint8_t out[BYTES];
    (void)state;
    put_joined("changing/a.png", 1);
    put_joined("changing/b.png", 2);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "pairs", .path = "changing"});
    put_png("changing/a.png", H, 3, C, 1);
    expect_error(gd_dataset_get(d, 1, 0, 0, out), GD_DATA, "changing", "1 x 4", "6 x 4");
    assert_int_equal(unlink("changing/b.png"), 0);
    expect_error(gd_dataset_get(d, 0, 1, 0, out), GD_NOINPUT, "changing/b.png");
    gd_dataset_close(d);
}

/* ---- the real sets of ../shared/data ---- */

typedef struct real {
    const char *folder, *source;
    bool test;
    const char *describe;
} real;

static const real REAL[] = {
    {"openmoji-pairs", "pairs", false, "pairs: 1,079 images 128x128x3 with 1,079 images 128x128x3"},
    {"openmoji-pairs", "pairs", true, "pairs, test half: 109 images 128x128x3 with 109 images 128x128x3"},
    {"nuclei-pairs", "pairs", false, "pairs: 249 images 256x256x1 with 249 images 256x256x1"},
    {"nuclei-pairs", "split-pairs", false, "split-pairs: 124 images 256x256x1 and 125 images 256x256x1"},
    {"fruit-unpaired", "unpaired", false, "unpaired: 960 images 100x100x3 and 960 images 100x100x3"},
    {"fruit-unpaired", "unpaired", true, "unpaired, test half: 160 images 100x100x3 and 162 images 100x100x3"},
};

static void test_real(void **state) {
    char *root = gd_path_join(getenv("GANDIST_SOURCE_DIR"), "../shared/data");
    (void)state;
    if (!gd_path_is_dir(root)) {
        print_message("skipped: the image sets of ../shared/data are not there\n");
        free(root);
        skip();
    }
    for (size_t i = 0; i < sizeof REAL / sizeof *REAL; i++) {
        char *path = gd_path_join(root, REAL[i].folder);
        gd_dataset *d = open_set((gd_dataset_spec){.source = REAL[i].source, .path = path, .test = REAL[i].test});
        assert_string_equal(gd_dataset_describe(d), REAL[i].describe);
        gd_dataset_close(d);
        free(path);
    }
    free(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_side_by_side),     cmocka_unit_test(test_two_folders),
        cmocka_unit_test(test_decoded_together), cmocka_unit_test(test_split),
        cmocka_unit_test(test_unpaired),         cmocka_unit_test(test_bad),
        cmocka_unit_test(test_changed),          cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, enter, NULL);
}
