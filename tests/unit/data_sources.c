/* Sources that work: IDX in its forms, folders, the sets in the plane, Fashion-MNIST. */
#include "tests/unit/data_files.h"

#include <math.h>
#include <unistd.h>
#include <zlib.h>

static void put_gzip(const char *path, const char *from) {
    void *bytes;
    size_t n;
    expect_ok(gd_file_read(from, 1 << 24, &bytes, &n));
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, bytes, (unsigned)n), n);
    gzclose(f);
    free(bytes);
}

static void expect_shape(const gd_dataset *d, gd_sample_type type, int h, int w, int c) {
    gd_sample_shape s = gd_dataset_shape(d, 0);
    assert_int_equal(s.type, type);
    assert_int_equal(s.height, h);
    assert_int_equal(s.width, w);
    assert_int_equal(s.channels, c);
    assert_int_equal(gd_sample_bytes(s), h * w * c * (type == GD_SAMPLE_F32 ? 4 : 1));
}

static void test_idx(void **state) {
    uint8_t got[7 * 5], want[7 * 5];
    (void)state;
    put_idx("a.idx", 300, 7, 5);
    put_gzip("a.idx.gz", "a.idx");
    gd_dataset *plain = open_set((gd_dataset_spec){.source = "idx", .path = "a.idx"}),
               *packed = open_set((gd_dataset_spec){.source = "idx", .path = "a.idx.gz"});
    expect_shape(plain, GD_SAMPLE_U8, 7, 5, 1);
    assert_string_equal(gd_dataset_describe(plain), "idx: 300 images 7x5x1");
    assert_int_equal(gd_dataset_count(packed), 300);
    assert_int_equal(gd_dataset_parts(packed), 1);
    assert_int_equal(gd_dataset_fingerprint(plain), gd_dataset_fingerprint(packed));
    for (int i = 0; i < 300; i++) {
        noise(want, sizeof want, (uint32_t)i);
        expect_ok(gd_dataset_get(plain, 0, i, 0, got));
        assert_memory_equal(got, want, sizeof want);
        expect_ok(gd_dataset_get(packed, 0, i, 0, got));
        assert_memory_equal(got, want, sizeof want);
    }
    expect_error(gd_dataset_get(plain, 0, 300, 0, got), GD_INTERNAL, "sample 300");
    expect_error(gd_dataset_get(plain, 1, 0, 0, got), GD_INTERNAL, "part 1");
    gd_dataset_close(plain);
    gd_dataset_close(packed);
}

static void test_idx_size_channels_count(void **state) {
    (void)state;
    put_idx("b.idx", 20, 28, 28);
    gd_dataset *d =
        open_set((gd_dataset_spec){.source = "idx", .path = "b.idx", .size = 32, .channels = 3, .count = 12});
    assert_string_equal(gd_dataset_describe(d), "idx: 12 images 28x28x1 -> 32x32x3");
    expect_shape(d, GD_SAMPLE_U8, 32, 32, 3);
    for (int i = 0; i < 12; i++) {
        gd_image im = noise_image(28, 28, 1, (uint32_t)i), fitted;
        uint8_t got[32 * 32 * 3];
        expect_ok(gd_image_fit(&im, 32, &fitted));
        for (int pass = 0; pass < 2; pass++) { /* the second time from what was kept */
            memset(got, 0, sizeof got);
            expect_ok(gd_dataset_get(d, 0, i, 0, got));
            for (int k = 0; k < 32 * 32 * 3; k++) assert_int_equal(got[k], fitted.pixels[k / 3]);
        }
        gd_image_free(&im);
        gd_image_free(&fitted);
    }
    gd_dataset *all = open_set((gd_dataset_spec){.source = "idx", .path = "b.idx"});
    assert_int_not_equal(gd_dataset_fingerprint(all), gd_dataset_fingerprint(d));
    gd_dataset_close(all);
    gd_dataset_close(d);
}

static void test_idx_colour(void **state) {
    uint8_t file[4 + 16 + 54], got[27];
    uint8_t *p = put32(file, 0x00000804);
    (void)state;
    p = put32(put32(put32(put32(p, 2), 3), 3), 3);
    noise(p, 54, 5);
    put_file("rgb.idx", file, sizeof file);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "idx", .path = "rgb.idx"});
    expect_shape(d, GD_SAMPLE_U8, 3, 3, 3);
    expect_ok(gd_dataset_get(d, 0, 1, 0, got));
    assert_memory_equal(got, p + 27, 27);
    gd_dataset_close(d);
}

/* ---- folders ---- */

static void test_folder(void **state) {
    /* In the order of the bytes of the whole names: '-' < '.' < '/' < 'a', upper before lower case. */
    static const char *const names[] = {"B.png", "a-1/z.png", "a.png", "a/b.PNG", "a/c/d.png", "b.png"};
    enum { N = sizeof names / sizeof *names };
    uint8_t got[5 * 4 * 3];
    char path[64];
    (void)state;
    expect_ok(gd_dir_remove("tree"));
    for (int i = N - 1; i >= 0; i--) {
        snprintf(path, sizeof path, "tree/%s", names[i]);
        put_png(path, 5, 4, 3, (uint32_t)i);
    }
    put_file("tree/notes.txt", "hello", 5);
    put_file("tree/._a.png", "not a picture", 13);
    put_file("tree/.git/x.png", "not a picture", 13);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "tree"});
    assert_string_equal(gd_dataset_describe(d), "folder: 6 images 5x4x3");
    for (int i = 0; i < N; i++) {
        gd_image want = noise_image(5, 4, 3, (uint32_t)i);
        expect_ok(gd_dataset_get(d, 0, i, 0, got));
        assert_memory_equal(got, want.pixels, sizeof got);
        gd_image_free(&want);
    }
    gd_dataset *two = open_set((gd_dataset_spec){.source = "folder", .path = "tree/", .count = 2});
    assert_int_equal(gd_dataset_count(two), 2);
    assert_int_not_equal(gd_dataset_fingerprint(two), gd_dataset_fingerprint(d));
    gd_dataset_close(two);
    uint64_t before = gd_dataset_fingerprint(d);
    gd_dataset_close(d);
    put_png("tree/new.png", 5, 4, 3, 9);
    d = open_set((gd_dataset_spec){.source = "folder", .path = "tree"});
    assert_int_not_equal(gd_dataset_fingerprint(d), before);
    gd_dataset_close(d);
}

static void test_folder_mixed(void **state) {
    (void)state;
    expect_ok(gd_dir_remove("mixed"));
    put_png("mixed/grey.png", 40, 20, 1, 1);
    put_png("mixed/rgb.png", 20, 40, 3, 2);
    assert_int_equal(symlink("rgb.png", "mixed/same.png"), 0); /* links are followed */
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "mixed", .size = 16});
    assert_string_equal(gd_dataset_describe(d), "folder: 3 images -> 16x16x3");
    uint8_t got[2][16 * 16 * 3];
    expect_ok(gd_dataset_get(d, 0, 1, 0, got[0]));
    expect_ok(gd_dataset_get(d, 0, 2, 0, got[1]));
    assert_memory_equal(got[0], got[1], sizeof got[0]);
    expect_ok(gd_dataset_get(d, 0, 0, 0, got[0]));
    for (int i = 0; i < 256; i++) assert_true(got[0][3 * i] == got[0][3 * i + 1] && got[0][3 * i] == got[0][3 * i + 2]);
    gd_dataset_close(d);
}

static int opens;

static int counting_open(const char *path, int flags, mode_t mode) {
    opens++;
    return gd_io_system()->open(path, flags, mode);
}

static void test_small_sets_are_kept(void **state) {
    gd_io table = *gd_io_system();
    uint8_t got[2][6 * 6 * 3];
    (void)state;
    put_png("kept/a.png", 8, 8, 3, 1);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "kept", .size = 6, .flip = true});
    table.open = counting_open;
    gd_io_set(&table);
    expect_ok(gd_dataset_get(d, 0, 0, 0, got[0]));
    assert_int_equal(opens, 1);
    for (uint64_t draw = 0; draw < 30; draw++) expect_ok(gd_dataset_get(d, 0, 0, draw, got[1]));
    assert_int_equal(opens, 1);
    expect_ok(gd_dataset_get(d, 0, 0, 0, got[1])); /* the mirror is not kept */
    assert_memory_equal(got[0], got[1], sizeof got[0]);
    gd_io_set(NULL);
    gd_dataset_close(d);
}

/* The first bad file is the slowest to be found out. */
static int slow_open(const char *path, int flags, mode_t mode) {
    if (strstr(path, "099.png")) usleep(50000);
    return gd_io_system()->open(path, flags, mode);
}

/* Enough files that several threads look at them. */
static void test_folder_many(void **state) {
    char path[64];
    uint8_t *bytes;
    size_t n;
    gd_image im = noise_image(2, 2, 1, 3);
    (void)state;
    expect_ok(gd_image_encode_png(&im, NULL, &bytes, &n));
    expect_ok(gd_dir_make("many"));
    for (int i = 0; i < 700; i++) {
        snprintf(path, sizeof path, "many/%03d.png", i);
        FILE *f = fopen(path, "wb"); /* without the fsync of put_file */
        assert_non_null(f);
        assert_int_equal(fwrite(bytes, 1, n, f), n);
        fclose(f);
    }
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "many"});
    assert_int_equal(gd_dataset_count(d), 700);
    gd_dataset_close(d);
    put_file("many/650.png", "", 0);
    put_file("many/099.png", "<html>", 6);
    put_file("many/300.png", bytes, n / 2);
    gd_dataset_spec spec = {.source = "folder", .path = "many"};
    gd_io table = *gd_io_system();
    table.open = slow_open;
    gd_io_set(&table);
    for (int i = 0; i < 3; i++)
        expect_error(gd_dataset_open(&spec, &d), GD_DATA, "many: 3 files are bad; the first",
                     "many/099.png: not a PNG");
    gd_io_set(NULL);
    free(bytes);
    gd_image_free(&im);
}

/* ---- points ---- */

static double sq(double x) { return x * x; }

/* Distance to the nearest of n modes; counts the hits of each. */
static void check_modes(const char *source, int modes, double (*mode)(int, int), double deviation) {
    enum { N = 20000 };
    gd_dataset *d = open_set((gd_dataset_spec){.source = source, .seed = 5, .count = N});
    int hits[25] = {0};
    double square = 0;
    expect_shape(d, GD_SAMPLE_F32, 1, 1, 2);
    for (int i = 0; i < N; i++) {
        float p[2];
        int best = 0;
        double nearest = 1e9;
        expect_ok(gd_dataset_get(d, 0, i, (uint64_t)i, p));
        for (int m = 0; m < modes; m++) {
            double r = sq(p[0] - mode(m, 0)) + sq(p[1] - mode(m, 1));
            if (r < nearest) nearest = r, best = m;
        }
        assert_true(sqrt(nearest) < 6.5 * deviation);
        hits[best]++;
        square += nearest;
    }
    double per_axis = sqrt(square / N / 2), expected = (double)N / modes;
    assert_true(fabs(per_axis / deviation - 1) < 0.02); /* standard error 0.0035 */
    for (int m = 0; m < modes; m++) assert_true(fabs(hits[m] - expected) < 5 * sqrt(expected));
    gd_dataset_close(d);
}

static double ring_mode(int m, int axis) {
    double angle = m * 2 * M_PI / 8;
    return 2 * (axis ? sin(angle) : cos(angle)) / 1.414;
}

static double grid_mode(int m, int axis) { return 2 * ((axis ? m / 5 : m % 5) - 2) / 2.828; }

static void test_points(void **state) {
    (void)state;
    check_modes("ring", 8, ring_mode, 0.02 / 1.414);
    check_modes("grid", 25, grid_mode, 0.05 / 2.828);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "swiss-roll", .seed = 5});
    assert_string_equal(gd_dataset_describe(d), "swiss-roll: 100,000 points of 2 numbers");
    double worst = 0;
    for (int i = 0; i < 5000; i++) { /* radius t at angle t, both over the same turn */
        float p[2];
        expect_ok(gd_dataset_get(d, 0, i, 0, p));
        double r = hypot(p[0], p[1]) * 7.5, angle = atan2(p[1], p[0]), off = remainder(r - angle, 2 * M_PI);
        assert_in_range((int)r, 3, 15); /* 1.5 pi to 4.5 pi, and noise of 0.25 */
        if (fabs(off) > worst) worst = fabs(off);
    }
    assert_true(worst < 1.8 && worst > 0.3);
    gd_dataset_close(d);
}

static void test_synthetic(void **state) {
    uint8_t a[64 * 64 * 3], b[64 * 64 * 3];
    double mean = 0;
    (void)state;
    gd_dataset *d = open_set((gd_dataset_spec){.source = "synthetic", .seed = 1}),
               *other = open_set((gd_dataset_spec){.source = "synthetic", .seed = 2});
    assert_string_equal(gd_dataset_describe(d), "synthetic: 60,000 images 64x64x3");
    assert_int_not_equal(gd_dataset_fingerprint(d), gd_dataset_fingerprint(other));
    expect_ok(gd_dataset_get(d, 0, 5, 0, a));
    expect_ok(gd_dataset_get(other, 0, 5, 0, b));
    assert_memory_not_equal(a, b, sizeof a);
    expect_ok(gd_dataset_get(d, 0, 5, 99, b));
    assert_memory_equal(a, b, sizeof a);
    for (size_t i = 0; i < sizeof a; i++) mean += a[i] / (double)sizeof a;
    assert_true(fabs(mean - 127.5) < 4); /* standard error 0.67 */
    gd_dataset_close(d);
    gd_dataset_close(other);
}

static void test_sources_table(void **state) {
    int n;
    const gd_source_info *info = gd_dataset_sources(&n);
    (void)state;
    assert_in_range(n, 7, 100);
    for (int i = 0; i < n; i++) {
        assert_non_null(info[i].name);
        assert_true(strlen(info[i].help) > 10);
        for (int k = 0; k < i; k++) assert_string_not_equal(info[i].name, info[k].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_idx_size_channels_count),
        cmocka_unit_test(test_idx_colour),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_folder_mixed),
        cmocka_unit_test(test_folder_many),
        cmocka_unit_test(test_small_sets_are_kept),
        cmocka_unit_test(test_points),
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_sources_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
