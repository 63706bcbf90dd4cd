/* The sets made from Fashion-MNIST: every byte against hashes that were computed elsewhere, from the same rules. */
#include "tests/unit/data_files.h"

#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/loader.h"
#include "tests/unit/sha256.h"

#define FOLDER "/usr/share/datasets/fashion-mnist/"
enum { BYTES = 32 * 32 };

typedef struct golden {
    const char *source;
    bool test;
    int part;
    int64_t count;
    const char *sha256;
} golden;

static const golden GOLDEN[] = {
    {"fashion32", true, 0, 10000, "2364637858a173aa0e745190f014fc8725b7e094c85554c0da5de720bfb02d3d"},
    {"edges2fashion", false, 0, 60000, "d2520c0a1271588980ebf91e49d18584a0d3e7aef32efa6d2ec74408ba15d94f"},
    {"edges2fashion", false, 1, 60000, "f21823848e3746519cfba6963d2cdca7d14fb77efc488374f5e245a186d0b3c7"},
    {"edges2fashion", true, 0, 10000, "e5184eb217878f85a812822e0d3c3114d66ed52ecb4792de8b62b1eb8421adbb"},
    {"edges2fashion", true, 1, 10000, "2364637858a173aa0e745190f014fc8725b7e094c85554c0da5de720bfb02d3d"},
    {"bags2shoes", false, 0, 6000, "b56fc6f6951a734d38ae9c37495764d7cb6d722dcca87b76b94f0a8d1403448d"},
    {"bags2shoes", false, 1, 18000, "aee2acbbcac7b692afc4ef2edda7c4b75b697dc239f437d31f518c713b460576"},
    {"bags2shoes", true, 0, 1000, "d50cdffc1923d8b342aabec01c2b98fb446556ca37568016726817cd4ef7beae"},
    {"bags2shoes", true, 1, 3000, "8ecd7afb101d11ff2d1020944ab69f56b32fd0aaa1108ea709c8b8af1255eb4f"},
};

static void hash_part(const gd_dataset *d, int part, int64_t count, char out[65]) {
    const size_t bytes = gd_sample_bytes(gd_dataset_shape(d, part));
    uint8_t *image = malloc(bytes);
    sha256 s;
    assert_non_null(image);
    sha256_begin(&s);
    for (int64_t i = 0; i < count; i++) {
        expect_ok(gd_dataset_get(d, part, i, 0, image));
        sha256_add(&s, image, bytes);
    }
    sha256_end(&s, out);
    free(image);
}

static void test_sha256_itself(void **state) {
    char text[65];
    sha256 s;
    (void)state;
    sha256_begin(&s);
    sha256_add(&s, "abc", 3);
    sha256_end(&s, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_golden(void **state) {
    char text[65];
    (void)state;
    for (size_t i = 0; i < sizeof GOLDEN / sizeof *GOLDEN; i++) {
        const golden *g = &GOLDEN[i];
        print_message("%s%s part %d\n", g->source, g->test ? " test" : "", g->part);
        gd_dataset *d = open_set((gd_dataset_spec){.source = g->source, .test = g->test});
        assert_int_equal(gd_dataset_part_count(d, g->part), g->count);
        hash_part(d, g->part, g->count, text);
        assert_string_equal(text, g->sha256);
        gd_dataset_close(d);
    }
}

/* ---- two domains with a known map ---- */

static void mirrored(const uint8_t *in, uint8_t *out) {
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++) out[32 * y + x] = in[32 * y + 31 - x];
}

static void inverted(const uint8_t *in, uint8_t *out) {
    for (int i = 0; i < BYTES; i++) out[i] = (uint8_t)(255 - in[i]);
}

/* Sample i of part p is picture `rank` 2i+p of those with the label (any when < 0), mapped when p is 1. */
static void check_halves(const char *source, bool test, int label, int64_t each,
                         void (*map)(const uint8_t *, uint8_t *)) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = source, .test = test}),
               *base = open_set((gd_dataset_spec){.source = "fashion32", .test = test});
    uint8_t got[BYTES], want[BYTES], other[BYTES];
    int64_t next[2] = {0}, seen = 0;
    assert_false(gd_dataset_aligned(d));
    for (int64_t n = 0; n < gd_dataset_count(base); n++) {
        if (label >= 0 && gd_dataset_label(base, n) != label) continue;
        const int p = (int)(seen++ % 2);
        expect_ok(gd_dataset_get(base, 0, n, 0, want));
        map(want, other);
        expect_ok(gd_dataset_get(d, p, next[p], 0, got));
        assert_memory_equal(got, p ? other : want, BYTES);
        expect_ok(gd_dataset_truth(d, p, next[p], got)); /* the map is its own inverse */
        assert_memory_equal(got, p ? want : other, BYTES);
        next[p]++;
    }
    for (int p = 0; p < 2; p++) {
        assert_int_equal(next[p], each);
        assert_int_equal(gd_dataset_part_count(d, p), each);
    }
    gd_dataset_close(d);
    gd_dataset_close(base);
}

static void test_hflip(void **state) {
    (void)state;
    check_halves("fashion-hflip", false, 7, 3000, mirrored);
    check_halves("fashion-hflip", true, 7, 500, mirrored);
}

static void test_invert(void **state) {
    (void)state;
    check_halves("fashion-invert", false, -1, 30000, inverted);
    check_halves("fashion-invert", true, -1, 5000, inverted);
}

static void test_truth_of_pairs(void **state) {
    uint8_t got[BYTES], want[BYTES];
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        gd_dataset *d = open_set((gd_dataset_spec){.source = "edges2fashion", .swap = swap, .flip = true, .count = 50}),
                   *plain = open_set((gd_dataset_spec){.source = "edges2fashion", .count = 50});
        for (int i = 0; i < 50; i++)
            for (int from = 0; from < 2; from++) {
                expect_ok(gd_dataset_truth(d, from, i, got));
                expect_ok(gd_dataset_get(plain, swap ? from : 1 - from, i, 0, want));
                assert_memory_equal(got, want, BYTES);
            }
        gd_dataset_close(d);
        gd_dataset_close(plain);
    }
    gd_dataset *d = open_set((gd_dataset_spec){.source = "bags2shoes", .count = 50});
    expect_error(gd_dataset_truth(d, 0, 0, got), GD_UNSUP, "true map", "fashion-hflip");
    gd_dataset_close(d);
}

/* ---- stacked ---- */

static void test_stacked(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "stacked-fashion", .seed = 1}),
               *base = open_set((gd_dataset_spec){.source = "fashion32"});
    uint8_t got[BYTES * 3], want[BYTES];
    int hit[1000] = {0}, modes = 0;
    char text[65];
    (void)state;
    assert_int_equal(gd_dataset_count(d), 128000);
    assert_int_equal(gd_dataset_classes(d), 1000);
    for (uint64_t i = 0; i < 200; i++) {
        int mode = 0;
        expect_ok(gd_dataset_get(d, 0, (int64_t)i, 0, got));
        for (uint32_t c = 0; c < 3; c++) {
            const gd_rng r = {.seed = 1000, .purpose = GD_PURPOSE_SYNTHETIC | c << 16};
            const int64_t n = (int64_t)gd_rng_below(&r, i, 60000);
            expect_ok(gd_dataset_get(base, 0, n, 0, want));
            for (int k = 0; k < BYTES; k++) assert_int_equal(got[3 * k + (int)c], want[k]);
            mode = 10 * mode + gd_dataset_label(base, n);
        }
        assert_int_equal(gd_dataset_label(d, (int64_t)i), mode);
    }
    for (int64_t i = 0; i < 26000; i++) hit[gd_dataset_label(d, i)]++;
    for (int m = 0; m < 1000; m++) modes += hit[m] > 0;
    assert_int_equal(modes, 1000); /* 26 each are expected */
    hash_part(d, 0, 1000, text);
    assert_string_equal(text, "b01e80d6f25f77f73e418759564b9601e15e64d96752c50cf8e1556417effe3f");
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "stacked-fashion", .seed = 2, .count = 500, .test = true});
    assert_int_equal(gd_dataset_count(d), 500);
    hash_part(d, 0, 500, text); /* whatever the seed of the run */
    assert_string_equal(text, "0742f5129cf3345ca28f95690efbd8ab798a0fbf152fb72769019f63a55ccc96");
    gd_dataset_close(d);
    gd_dataset_close(base);
}

/* ---- labels ---- */

static void test_labels(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "fashion-mnist", .labels = true, .size = 64, .channels = 3});
    int hits[10] = {0};
    uint8_t hot[10];
    (void)state;
    assert_string_equal(gd_dataset_describe(d),
                        "fashion-mnist: 60,000 images 28x28x1 -> 64x64x3 with labels of 10 classes");
    assert_int_equal(gd_dataset_parts(d), 2);
    assert_true(gd_dataset_aligned(d));
    assert_int_equal(gd_sample_bytes(gd_dataset_shape(d, 1)), 10);
    for (int64_t i = 0; i < 60000; i++) {
        int ones = 0;
        expect_ok(gd_dataset_get(d, 1, i, 0, hot));
        for (int k = 0; k < 10; k++) ones += hot[k];
        assert_int_equal(ones, 1);
        assert_int_equal(hot[gd_dataset_label(d, i)], 1);
        hits[gd_dataset_label(d, i)]++;
    }
    for (int k = 0; k < 10; k++) assert_int_equal(hits[k], 6000);
    assert_int_equal(gd_dataset_label(d, 0), 9); /* the first picture is an ankle boot */
    assert_int_equal(gd_dataset_label(d, 60000), -1);
    gd_dataset *plain = open_set((gd_dataset_spec){.source = "fashion-mnist", .size = 64, .channels = 3});
    assert_int_not_equal(gd_dataset_fingerprint(d), gd_dataset_fingerprint(plain));
    gd_dataset_close(plain);
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "bags2shoes", .swap = true, .test = true});
    for (int64_t i = 0; i < 3000; i++) {
        const int label = gd_dataset_label(d, i);
        assert_true(label == 5 || label == 7 || label == 9);
    }
    gd_dataset_close(d);
}

static void put_labels(const char *path, const uint8_t *labels, uint32_t n) {
    uint8_t file[64];
    memcpy(put32(put32(file, 0x801), n), labels, n);
    put_file(path, file, 8 + n);
}

/* The two halves, and both directions, are different data: a run cannot go on with another of them. */
static void test_fingerprints(void **state) {
    static const char *const sources[] = {"fashion32",     "edges2fashion",  "bags2shoes", "stacked-fashion",
                                          "fashion-hflip", "fashion-invert", "idx"};
    static const uint8_t labels[] = {7, 8, 9, 5, 7, 8, 7, 7};
    enum { N = sizeof sources / sizeof *sources, PICTURES = sizeof labels };
    uint64_t seen[N * 2 + 1];
    size_t n = 0;
    (void)state;
    put_idx("small/train-images-idx3-ubyte", PICTURES, 28, 28);
    put_labels("small/train-labels-idx1-ubyte", labels, PICTURES);
    put_idx("small/test-images-idx3-ubyte", PICTURES - 1, 28, 28);
    put_labels("small/test-labels-idx1-ubyte", labels, PICTURES - 1);
    for (int i = 0; i < N; i++)
        for (int test = 0; test < 2; test++) {
            gd_dataset *d = open_set((gd_dataset_spec){.source = sources[i], .test = test, .path = "small"});
            seen[n++] = gd_dataset_fingerprint(d);
            gd_dataset_close(d);
        }
    gd_dataset *d = open_set((gd_dataset_spec){.source = "edges2fashion", .swap = true, .path = "small"});
    seen[n++] = gd_dataset_fingerprint(d);
    gd_dataset_close(d);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) assert_int_not_equal(seen[i], seen[k]);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* At 64 pixels a pair is resized as everything else, grey spread over three channels; through the loader. */
static void test_at_64(void **state) {
    gd_dataset_spec spec = {.source = "edges2fashion", .size = 64, .channels = 3};
    gd_dataset *d = open_set(spec), *small = open_set((gd_dataset_spec){.source = "edges2fashion"});
    gd_loader_opts o = {.seed = 1, .global = 16, .local = 16};
    gd_loader *l;
    gd_batch b;
    (void)state;
    expect_ok(gd_loader_open(d, &o, &l));
    expect_ok(gd_loader_next(l, &b));
    for (uint64_t i = 0; i < 16; i++)
        for (int p = 0; p < 2; p++) {
            const gd_rng r = {.seed = 1, .purpose = GD_PURPOSE_SHUFFLE};
            gd_image im = {32, 32, 1, malloc(BYTES)}, want;
            assert_non_null(im.pixels);
            expect_ok(gd_dataset_get(small, p, (int64_t)gd_rng_permute(&r, 60000, i), 0, im.pixels));
            expect_ok(gd_image_resize(&im, 64, 64, &want));
            const uint8_t *got = (const uint8_t *)b.part[p] + i * 64 * 64 * 3;
            for (int k = 0; k < 64 * 64 * 3; k++) assert_int_equal(got[k], want.pixels[k / 3]);
            gd_image_free(&im);
            gd_image_free(&want);
        }
    gd_loader_close(l);
    gd_dataset_close(d);
    gd_dataset_close(small);
}

static void test_opening_is_quick(void **state) {
    (void)state;
    const double start = seconds();
    gd_dataset_close(open_set((gd_dataset_spec){.source = "edges2fashion"}));
    print_message("opening edges2fashion: %.2f s of CPU\n", seconds() - start);
    assert_true(seconds() - start < 3); /* 0.2 s when nothing slows it down; sanitizers do */
}

/* ---- what is not Fashion-MNIST ---- */

static void test_wrong_base(void **state) {
    gd_dataset *d;
    gd_dataset_spec spec = {.source = "bags2shoes", .path = "x/train-images-idx3-ubyte"};
    (void)state;
    put_idx("x/train-images-idx3-ubyte", 4, 28, 28);
    unlink("x/train-labels-idx1-ubyte");
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "no labels", "labels-idx1");
    put_labels("x/train-labels-idx1-ubyte", (uint8_t[]){8, 5, 10, 9}, 4);
    expect_error(gd_dataset_open(&spec, &d), GD_DATA, "labels up to 10", "0 to 9");
    put_labels("x/train-labels-idx1-ubyte", (uint8_t[]){8, 8, 1, 8}, 4);
    expect_error(gd_dataset_open(&spec, &d), GD_DATA, "no picture of domain B");
    put_labels("x/train-labels-idx1-ubyte", (uint8_t[]){8, 5, 1, 9}, 4);
    d = open_set(spec);
    assert_int_equal(gd_dataset_part_count(d, 0), 1);
    assert_int_equal(gd_dataset_part_count(d, 1), 2);
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "bags2shoes", .path = "x"}); /* the folder of the files */
    gd_dataset_close(d);
    spec.count = 3;
    expect_error(gd_dataset_open(&spec, &d), GD_CONFIG, "holds 2 samples", "first 3");
    spec = (gd_dataset_spec){.source = "fashion32", .path = "x", .test = true};
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "no held-out half", "t10k");
    put_idx("y/train-images-idx3-ubyte", 4, 32, 32);
    spec = (gd_dataset_spec){.source = "fashion32", .path = "y"};
    expect_error(gd_dataset_open(&spec, &d), GD_DATA, "32x32x1", "28x28x1");
    spec = (gd_dataset_spec){.source = "edges2fashion", .path = "nowhere"};
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "nowhere", "dataset-fashion-mnist");
}

int main(void) {
    if (!gd_path_exists(FOLDER "train-images-idx3-ubyte.gz")) {
        printf("skipped: the Debian package dataset-fashion-mnist is not installed\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_itself),    cmocka_unit_test(test_golden),     cmocka_unit_test(test_hflip),
        cmocka_unit_test(test_invert),           cmocka_unit_test(test_stacked),    cmocka_unit_test(test_labels),
        cmocka_unit_test(test_truth_of_pairs),   cmocka_unit_test(test_at_64),      cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_opening_is_quick), cmocka_unit_test(test_wrong_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
