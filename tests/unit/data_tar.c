/* Tar shards: samples in their order, labels, pairs, several shards; and archives that must be refused. */
#include "tests/unit/data_files.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "data/tar.h"

static void copy_from_corpus(const char *name, const char *to) {
    char path[128];
    size_t n;
    snprintf(path, sizeof path, "tests/fuzz/corpus/data_tar/%s", name);
    uint8_t *bytes = read_source(path, &n);
    put_file(to, bytes, n);
    free(bytes);
}

static int enter(void **state) {
    (void)state;
    expect_ok(gd_dir_remove("made"));
    expect_ok(gd_dir_make("made"));
    return chdir("made");
}

/* Sample `index` of part `part` is the noise picture 4x4x1 of this seed. */
static void expect_noise(const gd_dataset *d, int part, int64_t index, uint32_t seed) {
    uint8_t got[16], want[16];
    noise(want, 16, seed);
    expect_ok(gd_dataset_get(d, part, index, 0, got));
    assert_memory_equal(got, want, 16);
}

typedef struct good {
    const char *name;
    int count, parts, classes;
    uint32_t seeds[2]; /* of the first two samples' part 0 */
} good;

static const good GOOD[] = {
    {"good.tar", 2, 1, 0, {0, 1}},          {"good-labels.tar", 2, 1, 3, {0, 1}}, {"good-pairs.tar", 3, 2, 0, {0, 2}},
    {"good-dot.tar", 1, 1, 0, {0, 0}},      {"good-gnu.tar", 1, 1, 0, {0, 0}},    {"good-pax.tar", 2, 1, 0, {0, 1}},
    {"good-prefix.tar", 1, 1, 0, {0, 0}},   {"good-v7.tar", 1, 1, 0, {0, 0}},     {"good-base256.tar", 1, 1, 0, {0, 0}},
    {"good-one-zero.tar", 2, 1, 0, {0, 1}},
};

static void test_good(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        const good *g = &GOOD[i];
        print_message("%s\n", g->name);
        copy_from_corpus(g->name, g->name);
        gd_dataset *d = open_set((gd_dataset_spec){.source = "tar", .path = g->name});
        assert_int_equal(gd_dataset_count(d), g->count);
        assert_int_equal(gd_dataset_parts(d), g->parts);
        assert_int_equal(gd_dataset_classes(d), g->classes);
        assert_int_equal(gd_dataset_aligned(d), g->parts == 2);
        for (int k = 0; k < 2 && k < g->count; k++) expect_noise(d, 0, k, g->seeds[k]);
        gd_dataset_close(d);
    }
}

static void test_jpeg(void **state) {
    uint8_t got[8 * 8 * 3];
    (void)state;
    copy_from_corpus("good-jpeg.tar", "jpeg.tar");
    gd_dataset *d = open_set((gd_dataset_spec){.source = "tar", .path = "jpeg.tar"});
    assert_string_equal(gd_dataset_describe(d), "tar: 2 images 8x8x3");
    expect_ok(gd_dataset_get(d, 0, 1, 0, got));
    gd_dataset_close(d);
}

static void test_labels_and_pairs(void **state) {
    uint8_t hot[3], want_a[3] = {0, 0, 1}, want_b[3] = {1, 0, 0};
    (void)state;
    gd_dataset *d = open_set((gd_dataset_spec){.source = "tar", .path = "good-labels.tar", .labels = true});
    expect_ok(gd_dataset_get(d, 1, 0, 0, hot));
    assert_memory_equal(hot, want_a, 3);
    expect_ok(gd_dataset_get(d, 1, 1, 0, hot));
    assert_memory_equal(hot, want_b, 3);
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "tar", .path = "good-pairs.tar", .swap = true});
    for (int i = 0; i < 3; i++) {
        uint8_t truth[16], want[16];
        expect_noise(d, 0, i, (uint32_t)(2 * i + 1));
        expect_noise(d, 1, i, (uint32_t)(2 * i));
        expect_ok(gd_dataset_truth(d, 0, i, truth));
        noise(want, 16, (uint32_t)(2 * i));
        assert_memory_equal(truth, want, 16);
    }
    gd_dataset_close(d);
}

/* ---- many shards ---- */

typedef struct archive {
    uint8_t bytes[1 << 16];
    size_t used;
} archive;

static void add(archive *a, const char *name, const void *data, size_t n) {
    gd__tar_header(name, '0', n, a->bytes + a->used);
    a->used += GD__TAR_BLOCK;
    memcpy(a->bytes + a->used, data, n);
    a->used += (n + GD__TAR_BLOCK - 1) / GD__TAR_BLOCK * GD__TAR_BLOCK;
}

static void add_noise(archive *a, const char *name, uint32_t seed) {
    gd_image im = noise_image(4, 4, 1, seed);
    uint8_t *png;
    size_t n;
    expect_ok(gd_image_encode_png(&im, NULL, &png, &n));
    add(a, name, png, n);
    free(png);
    gd_image_free(&im);
}

static void write_archive(archive *a, const char *path) {
    FILE *f = fopen(path, "wb"); /* without the fsync of put_file */
    assert_non_null(f);
    assert_int_equal(fwrite(a->bytes, 1, a->used + 1024, f), a->used + 1024);
    fclose(f);
    memset(a, 0, sizeof *a);
}

static atomic_int open_now; /* headers are looked at by several threads */

static int counting_open(const char *path, int flags, mode_t mode) {
    atomic_fetch_add(&open_now, 1);
    return gd_io_system()->open(path, flags, mode);
}

static int counting_close(int fd) {
    atomic_fetch_sub(&open_now, 1);
    return gd_io_system()->close(fd);
}

/* More shards than are kept open. Keys repeat from shard to shard, as writers that number from 0 do. */
static void test_shards(void **state) {
    enum { SHARDS = 300 };
    static archive a;
    char name[64];
    gd_io table = *gd_io_system();
    (void)state;
    expect_ok(gd_dir_make("many/train"));
    expect_ok(gd_dir_make("many/val"));
    for (int i = 0; i < SHARDS; i++) {
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "%d.png", k);
            add_noise(&a, name, (uint32_t)(3 * i + k));
        }
        snprintf(name, sizeof name, "many/train/%06d.tar", i);
        write_archive(&a, name);
    }
    add_noise(&a, "x.png", 7);
    write_archive(&a, "many/val/0.tar");
    table.open = counting_open;
    table.close = counting_close;
    gd_io_set(&table);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "tar", .path = "many"});
    assert_int_equal(gd_dataset_count(d), 3 * SHARDS);
    assert_in_range(atomic_load(&open_now), 200, 260);
    for (int i = 0; i < 3 * SHARDS; i++) expect_noise(d, 0, i, (uint32_t)i);
    gd_dataset_close(d);
    assert_int_equal(atomic_load(&open_now), 0);
    d = open_set((gd_dataset_spec){.source = "tar", .path = "many", .test = true});
    assert_int_equal(gd_dataset_count(d), 1);
    expect_noise(d, 0, 0, 7);
    gd_dataset_close(d);
    d = open_set((gd_dataset_spec){.source = "tar", .path = "many", .count = 5});
    assert_int_equal(gd_dataset_count(d), 5);
    gd_dataset_close(d);
    gd_io_set(NULL);
}

static void test_fingerprint(void **state) {
    static archive a;
    uint64_t seen[4];
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        add_noise(&a, i == 1 ? "y.png" : "x.png", 1);
        if (i >= 2) add(&a, "x.cls", i == 2 ? "1" : "0", 1);
        write_archive(&a, "f.tar");
        gd_dataset *d = open_set((gd_dataset_spec){.source = "tar", .path = "f.tar", .labels = i >= 2});
        seen[i] = gd_dataset_fingerprint(d);
        gd_dataset_close(d);
        for (uint32_t k = 0; k < i; k++) assert_int_not_equal(seen[i], seen[k]);
    }
}

/* ---- bad archives ---- */

typedef struct bad {
    const char *name, *text[3];
} bad;

// clang-format off
static const bad BAD[] = {
    {"bad-checksum.tar",       {"member 1 (at byte 0) has a wrong checksum"}},
    {"bad-checksum-text.tar",  {"member 1 (at byte 0) has a wrong checksum"}},
    {"bad-checksum-base256.tar", {"member 1 (at byte 0) has a wrong checksum"}},
    {"bad-size-text.tar",      {"member 1 'x.png': its size is no number"}},
    {"bad-size-huge.tar",      {"member 1 'x.png': 8589934591 bytes, but the archive ends after"}},
    {"bad-size-base256.tar",   {"member 1 'x.png': 18446744073709551615 bytes, but the archive ends"}},
    {"bad-size-wide.tar",      {"its size is no number"}},
    {"bad-size-negative.tar",  {"its size is no number"}},
    {"bad-size-pax.tar",       {"a size of '-5' in its pax record"}},
    {"bad-size-pax-huge.tar",  {"9223372036854775807 bytes, but the archive ends"}},
    {"bad-pax.tar",            {"a damaged pax record"}},
    {"bad-pax-zero.tar",       {"a damaged pax record"}},
    {"bad-pax-global.tar",     {"a global pax record that names or sizes all members"}},
    {"bad-sparse.tar",         {"member 2 'x.png': is a sparse file"}},
    {"bad-sparse-gnu.tar",     {"member 1 'x.png': is a sparse file"}},
    {"bad-long-name.tar",      {"5000 bytes of names; the limit is 4096"}},
    {"bad-long-end.tar",       {"ends behind the long name"}},
    {"bad-dots.tar",           {"member 1 '../../x.png': a name that leaves its folder"}},
    {"bad-dots-inside.tar",    {"'a/../b.png': a name that leaves"}},
    {"bad-absolute.tar",       {"'/etc/x.png': a name that leaves"}},
    {"bad-control.tar",        {"'x?.png': a name with control characters (0A)"}},
    {"bad-no-name.tar",        {"member 1 '': has no name"}},
    {"bad-symlink.tar",        {"member 3 'link.png': is a symbolic link", "expected regular files"}},
    {"bad-hardlink.tar",       {"member 3 'link.png': is a hard link"}},
    {"bad-device.tar",         {"'null.png': is a device"}},
    {"bad-fifo.tar",           {"'fifo.png': is a FIFO"}},
    {"bad-type.tar",           {"'x.png': is of type 4D"}},
    {"bad-no-end.tar",         {"ends behind member 2 without its end marker"}},
    {"bad-cut-header.tar",     {"ends behind member 2"}},
    {"bad-cut-data.tar",       {"member 3 '2.png': 900 bytes, but the archive ends after 400"}},
    {"bad-behind.tar",         {"data behind its end marker (member 2 was the last)", "expected one archive"}},
    {"bad-gzip.tar",           {"gzip data", "run gunzip"}},
    {"bad-empty.tar",          {"no pictures", "key.png"}},
    {"bad-text.tar",           {"wrong checksum"}},
    {"bad-picture.tar",        {"bad-picture.tar: x.png: not a PNG: starts with \"<html"}},
    {"bad-cut-picture.tar",    {"bad-cut-picture.tar: x.png: damaged PNG"}},
    {"bad-sizes.tar",          {"pictures of different sizes: 0.png has 4x4, 2.png 5x4", "data.image.size"}},
    {"bad-label.tar",          {"sample 'a': its .cls is no class", "0 to 65535"}},
    {"bad-label-huge.tar",     {"sample 'a': its .cls is no class"}},
    {"bad-labels.tar",         {"sample 'b': has no label, those before it have one"}},
    {"bad-alone-label.tar",    {"sample 'a': has a label but no picture"}},
    {"bad-twice.tar",          {"two samples '0'", "next to each other"}},
    {"bad-two-pictures.tar",   {"sample 'a': has another picture, .jpg"}},
    {"bad-half-pair.tar",      {"sample '0': has a but no b"}},
    {"bad-mixed.tar",          {"sample '2': is a pair, those before it are single pictures"}},
};
// clang-format on

static void test_bad(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        gd_dataset *d = NULL;
        gd_dataset_spec spec = {.source = "tar", .path = BAD[i].name};
        print_message("%s\n", BAD[i].name);
        copy_from_corpus(BAD[i].name, BAD[i].name);
        const char *text[4] = {BAD[i].name, BAD[i].text[0], BAD[i].text[1], NULL};
        expect_error_at(gd_dataset_open(&spec, &d), GD_DATA, text, (int)i);
        assert_null(d);
    }
}

static void test_bad_places(void **state) {
    gd_dataset *d;
    gd_dataset_spec spec = {.source = "tar", .path = "nowhere.tar"};
    (void)state;
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "nowhere.tar: does not exist", ".tar or a folder");
    spec.path = "many/val/0.tar";
    spec.test = true;
    expect_error(gd_dataset_open(&spec, &d), GD_NOINPUT, "no held-out half");
    expect_ok(gd_dir_make("none"));
    spec = (gd_dataset_spec){.source = "tar", .path = "none"};
    expect_error(gd_dataset_open(&spec, &d), GD_DATA, "no file named .tar");
    put_file("tiny.tar", "hello", 5);
    spec.path = "tiny.tar";
    expect_error(gd_dataset_open(&spec, &d), GD_DATA, "tiny.tar: 5 bytes");
    spec = (gd_dataset_spec){.source = "tar", .path = "good.tar", .labels = true};
    expect_error(gd_dataset_open(&spec, &d), GD_CONFIG, "no labels");
}

/* ---- every call fails once ---- */

static int calls_left;

static ssize_t failing_pread(int fd, void *buf, size_t n, off_t at) {
    if (calls_left-- > 0) return gd_io_system()->pread(fd, buf, n, at);
    errno = EIO;
    return -1;
}

static void test_read_errors(void **state) {
    gd_io table = *gd_io_system();
    gd_dataset_spec spec = {.source = "tar", .path = "good-labels.tar"};
    int failures = 0;
    (void)state;
    table.pread = failing_pread;
    gd_io_set(&table);
    for (int n = 0;; n++) {
        gd_dataset *d = NULL;
        calls_left = n;
        gd_status st = gd_dataset_open(&spec, &d);
        gd_dataset_close(d);
        if (st == GD_OK) break;
        assert_int_equal(st, GD_IO);
        failures++;
    }
    gd_io_set(NULL);
    assert_in_range(failures, 7, 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_jpeg),        cmocka_unit_test(test_labels_and_pairs),
        cmocka_unit_test(test_shards),     cmocka_unit_test(test_bad),         cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_bad_places), cmocka_unit_test(test_read_errors),
    };
    return cmocka_run_group_tests(tests, enter, NULL);
}
