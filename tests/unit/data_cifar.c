/* CIFAR-10 in its binary version, with files of the real size that take no room on the disk. */
#include "tests/unit/data_files.h"

#include <fcntl.h>
#include <unistd.h>

enum { RECORD = 3073, RECORDS = 10000, PIXELS = 32 * 32 * 3 };

/* Zeros but for record n: this label, planes of noise. */
static void put_batch(const char *path, int n, uint8_t label, uint32_t seed, off_t bytes) {
    uint8_t record[RECORD] = {label};
    noise(record + 1, RECORD - 1, seed);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, record, RECORD, (off_t)n * RECORD), RECORD);
    assert_int_equal(ftruncate(fd, bytes), 0);
    close(fd);
}

static void put_all(const char *folder) {
    char path[64];
    expect_ok(gd_dir_make(folder));
    for (int i = 1; i <= 5; i++) {
        snprintf(path, sizeof path, "%s/data_batch_%d.bin", folder, i);
        put_batch(path, 100 * i, (uint8_t)(i + 1), (uint32_t)i, RECORD * RECORDS);
    }
    snprintf(path, sizeof path, "%s/test_batch.bin", folder);
    put_batch(path, 9999, 9, 6, RECORD * RECORDS);
}

static int make(void **state) {
    (void)state;
    put_all("set");
    put_all("above/cifar-10-batches-bin");
    return 0;
}

static void expect_record(const gd_dataset *d, int64_t index, int label, uint32_t seed) {
    uint8_t planes[PIXELS], got[PIXELS];
    noise(planes, PIXELS, seed);
    expect_ok(gd_dataset_get(d, 0, index, 0, got));
    for (int i = 0; i < 1024; i++)
        for (int c = 0; c < 3; c++) assert_int_equal(got[3 * i + c], planes[1024 * c + i]);
    assert_int_equal(gd_dataset_label(d, index), label);
}

static void test_both_halves(void **state) {
    static const char *const paths[] = {"set", "above"};
    uint64_t seen[2][2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        gd_dataset *d = open_set((gd_dataset_spec){.source = "cifar10", .path = paths[i]}),
                   *test =
                       open_set((gd_dataset_spec){.source = "cifar10", .path = paths[i], .test = true, .labels = true});
        uint8_t hot[10];
        assert_string_equal(gd_dataset_describe(d), "cifar10: 50,000 images 32x32x3");
        assert_string_equal(gd_dataset_describe(test),
                            "cifar10, test half: 10,000 images 32x32x3 with labels of 10 classes");
        for (int k = 1; k <= 5; k++) expect_record(d, 10000 * (k - 1) + 100 * k, k + 1, (uint32_t)k);
        expect_record(test, 9999, 9, 6);
        expect_ok(gd_dataset_get(test, 1, 9999, 0, hot));
        assert_memory_equal(hot, ((uint8_t[]){0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), 10);
        assert_int_equal(gd_dataset_classes(d), 10);
        seen[i][0] = gd_dataset_fingerprint(d);
        seen[i][1] = gd_dataset_fingerprint(test);
        gd_dataset_close(d);
        gd_dataset_close(test);
    }
    assert_int_equal(seen[0][0], seen[1][0]);
    assert_int_not_equal(seen[0][0], seen[0][1]);
    gd_dataset *few = open_set((gd_dataset_spec){.source = "cifar10", .path = "set", .count = 20});
    assert_int_equal(gd_dataset_count(few), 20);
    assert_int_not_equal(gd_dataset_fingerprint(few), seen[0][0]);
    gd_dataset_close(few);
}

static void expect_refused(gd_status code, const char *a, const char *b) {
    gd_dataset *d = NULL;
    const gd_dataset_spec spec = {.source = "cifar10", .path = "set"};
    expect_error(gd_dataset_open(&spec, &d), code, a, b);
    assert_null(d);
}

static void test_bad(void **state) {
    gd_dataset *d;
    gd_dataset_spec spec = {.source = "cifar10", .path = "nowhere"};
    (void)state;
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "nowhere: does not exist", "data_batch_1.bin");
    spec.path = "set/data_batch_1.bin";
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "is no folder", "data_batch_1.bin");
    put_batch("set/data_batch_2.bin", 0, 1, 1, RECORD * (RECORDS - 1));
    expect_refused(GD_DATA, "set/data_batch_2.bin: 30,726,927 bytes, 3,073 too few", "10,000 records");
    put_batch("set/data_batch_2.bin", 0, 1, 1, RECORD * RECORDS + 1);
    expect_refused(GD_DATA, "1 too many", "binary version");
    put_batch("set/data_batch_2.bin", 1234, 10, 1, RECORD * RECORDS);
    expect_refused(GD_DATA, "record 1234 has the label 10", "0 to 9");
    unlink("set/data_batch_2.bin");
    expect_refused(GD_NOINPUT, "set/data_batch_2.bin: does not exist", "");
    put_batch("set/data_batch_2.bin", 200, 3, 2, RECORD * RECORDS);
    d = open_set((gd_dataset_spec){.source = "cifar10", .path = "set", .labels = true});
    put_batch("set/data_batch_2.bin", 0, 1, 1, 1000); /* cut short while it is used */
    uint8_t out[PIXELS];
    expect_error(gd_dataset_get(d, 0, 15000, 0, out), GD_DATA, "data_batch_2.bin");
    gd_dataset_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_halves),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, make, NULL);
}
