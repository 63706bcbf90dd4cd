/* What `gandist data` does: guessing a source, checking all samples, writing sets as files, packing. */
#include "tests/unit/data_files.h"

#include <errno.h>
#include <unistd.h>

#include "data/tools.h"

static int enter(void **state) {
    (void)state;
    expect_ok(gd_dir_remove("made"));
    expect_ok(gd_dir_make("made"));
    return chdir("made");
}

/* ---- equal sets ---- */

static void expect_equal(const gd_dataset *a, const gd_dataset *b) {
    assert_int_equal(gd_dataset_parts(a), gd_dataset_parts(b));
    assert_int_equal(gd_dataset_classes(a), gd_dataset_classes(b));
    for (int p = 0; p < gd_dataset_parts(a); p++) {
        const size_t bytes = gd_sample_bytes(gd_dataset_shape(a, p));
        uint8_t *x = malloc(bytes), *y = malloc(bytes);
        assert_true(x && y);
        assert_int_equal(bytes, gd_sample_bytes(gd_dataset_shape(b, p)));
        assert_int_equal(gd_dataset_part_count(a, p), gd_dataset_part_count(b, p));
        for (int64_t i = 0; i < gd_dataset_part_count(a, p); i++) {
            expect_ok(gd_dataset_get(a, p, i, 0, x));
            expect_ok(gd_dataset_get(b, p, i, 0, y));
            assert_memory_equal(x, y, bytes);
            if (p == 0) assert_int_equal(gd_dataset_label(a, i), gd_dataset_label(b, i));
        }
        free(x);
        free(y);
    }
}

/* ---- derive ---- */

static void check_derived(gd_dataset_spec spec, const char *as) {
    for (int test = 0; test < 2; test++) {
        spec.test = test;
        gd_dataset *d = open_set(spec);
        expect_ok(gd_data_derive(d, "derived"));
        gd_dataset *back = NULL;
        const gd_dataset_spec again = {.source = as, .path = "derived", .test = test};
        expect_ok(gd_dataset_open(&again, &back));
        if (!strcmp(as, "idx")) expect_equal(d, back);
        else
            for (int p = 0; p < 2; p++) assert_int_equal(gd_dataset_part_count(back, p), gd_dataset_part_count(d, p));
        expect_error(gd_data_derive(d, "derived"), GD_CANTCREAT, "is there already");
        gd_dataset_close(back);
        gd_dataset_close(d);
    }
    expect_ok(gd_dir_remove("derived"));
}

static void test_derive_idx(void **state) {
    uint8_t labels[12] = {0};
    (void)state;
    put_idx("base/train-images-idx3-ubyte", 4, 28, 28);
    put_idx("base/test-images-idx3-ubyte", 3, 28, 28);
    put32(put32(labels, 0x801), 4);
    memcpy(labels + 8, (uint8_t[]){8, 5, 9, 1}, 4);
    put_file("base/train-labels-idx1-ubyte", labels, 12);
    put32(labels + 4, 3);
    put_file("base/test-labels-idx1-ubyte", labels, 11);
    check_derived((gd_dataset_spec){.source = "fashion32", .path = "base"}, "idx");
    check_derived((gd_dataset_spec){.source = "synthetic", .size = 5, .count = 7}, "idx"); /* colour */
}

static void test_derive_modes(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "stacked-fashion", .path = "base", .count = 20});
    uint8_t *bytes;
    void *file;
    size_t n;
    (void)state;
    expect_ok(gd_data_derive(d, "derived"));
    expect_ok(gd_file_read("derived/train-modes-idx1-short", 1 << 16, &file, &n));
    bytes = file;
    assert_int_equal(n, 8 + 40);
    assert_memory_equal(bytes, "\0\0\x0B\1\0\0\0\x14", 8);
    for (int i = 0; i < 20; i++) assert_int_equal(bytes[8 + 2 * i] << 8 | bytes[9 + 2 * i], gd_dataset_label(d, i));
    gd_dataset *back = open_set((gd_dataset_spec){.source = "idx", .path = "derived"}); /* not taken for labels */
    assert_int_equal(gd_dataset_classes(back), 0);
    gd_dataset_close(back);
    free(file);
    gd_dataset_close(d);
    expect_ok(gd_dir_remove("derived"));
}

static void test_derive_two(void **state) {
    uint8_t a[32 * 32], b[32 * 32];
    (void)state;
    check_derived((gd_dataset_spec){.source = "edges2fashion", .path = "base"}, "pairs");
    check_derived((gd_dataset_spec){.source = "bags2shoes", .path = "base"}, "unpaired");
    gd_dataset *d = open_set((gd_dataset_spec){.source = "edges2fashion", .path = "base"});
    expect_ok(gd_data_derive(d, "derived"));
    gd_dataset *back = open_set((gd_dataset_spec){.source = "pairs", .path = "derived"});
    for (int p = 0; p < 2; p++)
        for (int i = 0; i < 4; i++) {
            expect_ok(gd_dataset_get(d, p, i, 0, a));
            expect_ok(gd_dataset_get(back, p, i, 0, b));
            assert_memory_equal(a, b, sizeof a);
        }
    gd_dataset_close(back);
    gd_dataset_close(d);
    expect_ok(gd_dir_remove("derived"));
}

static void test_derive_refuses(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "ring"});
    (void)state;
    expect_error(gd_data_derive(d, "derived"), GD_UNSUP, "points");
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "synthetic", .flip = true});
    expect_error(gd_data_derive(d, "derived"), GD_UNSUP, "augmentation");
    gd_dataset_close(d);
}

/* ---- pack ---- */

static void test_pack(void **state) {
    char name[160], path[200];
    int64_t samples;
    (void)state;
    put_png("pics/b.png", 4, 5, 3, 1);
    put_png("pics/a/x.y.PNG", 4, 5, 3, 2);
    memset(name, 'n', sizeof name);
    snprintf(path, sizeof path, "pics/a/%.140s.png", name); /* more than a header holds */
    put_png(path, 4, 5, 3, 3);
    expect_ok(gd_data_pack("pics", "pics.tar", &samples));
    assert_int_equal(samples, 3);
    assert_false(gd_path_exists("pics.tar.partial"));
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "pics"}),
               *back = open_set((gd_dataset_spec){.source = "tar", .path = "pics.tar"});
    expect_equal(d, back);
    gd_dataset_close(d);
    gd_dataset_close(back);
    expect_error(gd_data_pack("pics", "pics.tar", &samples), GD_CANTCREAT, "pics.tar: is there already");
}

static void test_pack_pairs(void **state) {
    int64_t samples;
    (void)state;
    put_png("two/A/x.png", 4, 5, 3, 1);
    put_png("two/A/y.png", 4, 5, 3, 2);
    put_png("two/B/x.png", 4, 5, 3, 3);
    expect_error(gd_data_pack("two", "two.tar", &samples), GD_DATA, "1 picture without a partner: y.png (A)");
    assert_false(gd_path_exists("two.tar"));
    assert_false(gd_path_exists("two.tar.partial"));
    put_png("two/B/y.PNG", 4, 5, 3, 4);
    expect_ok(gd_data_pack("two", "two.tar", &samples));
    assert_int_equal(samples, 2);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "pairs", .path = "two"}),
               *back = open_set((gd_dataset_spec){.source = "tar", .path = "two.tar"});
    expect_equal(d, back);
    gd_dataset_close(d);
    gd_dataset_close(back);
}

static int failing_fsync(int fd) {
    (void)fd;
    errno = EIO;
    return -1;
}

static void test_pack_refuses(void **state) {
    int64_t samples;
    gd_io table = *gd_io_system();
    (void)state;
    put_png("same/a.b.png", 4, 5, 3, 1);
    put_png("same/a_b.png", 4, 5, 3, 2);
    expect_error(gd_data_pack("same", "same.tar", &samples), GD_DATA, "two pictures come to the name 'a_b'");
    put_png("cut/a.png", 4, 5, 3, 1);
    put_file("cut/b.png", "\x89PNG\r\n\x1a\n", 8);
    expect_error(gd_data_pack("cut", "cut.tar", &samples), GD_DATA, "cut/b.png: damaged PNG");
    expect_error(gd_data_pack("pics", "nowhere/x.tar", &samples), GD_CANTCREAT, "nowhere/x.tar");
    expect_error(gd_data_pack("nowhere", "x.tar", &samples), GD_NOINPUT, "nowhere: does not exist");
    table.fsync = failing_fsync;
    gd_io_set(&table);
    expect_error(gd_data_pack("pics", "x.tar", &samples), GD_IO, "x.tar", "Input/output error");
    gd_io_set(NULL);
    assert_false(gd_path_exists("x.tar"));
    assert_false(gd_path_exists("x.tar.partial"));
}

/* ---- guess and check ---- */

static void expect_guess(const char *path, const char *want) {
    const char *got = "";
    expect_ok(gd_data_guess(path, &got));
    assert_string_equal(got, want);
}

static void test_guess(void **state) {
    const char *got;
    (void)state;
    put_png("un/trainA/x.png", 4, 4, 1, 1);
    put_png("split/train/x.png", 4, 4, 1, 1);
    put_png("split/val/x.png", 4, 4, 1, 1);
    put_file("cifar/data_batch_1.bin", "x", 1);
    put_file("shards/train/0.tar", "x", 1);
    put_file("plain.txt", "hello", 5);
    expect_guess("un", "unpaired");
    expect_guess("two", "pairs");
    expect_guess("split", "pairs");
    expect_guess("cifar", "cifar10");
    expect_guess("shards", "tar");
    expect_guess("shards/train", "tar");
    expect_guess("pics.tar", "tar");
    expect_guess("base", "idx");
    expect_guess("base/train-images-idx3-ubyte", "idx");
    expect_guess("pics", "folder");
    expect_error(gd_data_guess("plain.txt", &got), GD_DATA, "plain.txt: neither a tar nor an IDX");
    expect_error(gd_data_guess("nowhere", &got), GD_NOINPUT, "nowhere: does not exist");
}

/* Damage in the middle, which opening does not see. */
static void test_check(void **state) {
    char path[64];
    gd_data_report r;
    (void)state;
    for (int i = 0; i < 30; i++) {
        snprintf(path, sizeof path, "look/%02d.png", i);
        put_png(path, 20, 20, 3, (uint32_t)i);
        if (i < 15) continue;
        void *bytes;
        size_t n;
        expect_ok(gd_file_read(path, 1 << 20, &bytes, &n));
        ((uint8_t *)bytes)[n / 2] ^= 1;
        put_file(path, bytes, n);
        free(bytes);
    }
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "look"});
    expect_ok(gd_data_check(d, &r));
    assert_int_equal(r.samples, 30);
    assert_int_equal(r.bad, 15);
    assert_non_null(strstr(r.errors, "part 0, sample 15: look/15.png: damaged PNG"));
    assert_non_null(strstr(r.errors, "sample 24"));
    assert_null(strstr(r.errors, "sample 25")); /* ten are shown */
    free(r.errors);
    gd_dataset_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derive_idx),     cmocka_unit_test(test_derive_modes), cmocka_unit_test(test_derive_two),
        cmocka_unit_test(test_derive_refuses), cmocka_unit_test(test_pack),         cmocka_unit_test(test_pack_pairs),
        cmocka_unit_test(test_pack_refuses),   cmocka_unit_test(test_guess),        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, enter, NULL);
}
