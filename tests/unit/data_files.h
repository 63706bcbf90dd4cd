/* tests/unit/data_files.h -- files and checks that the tests of data/ share. Paths are relative to the
 * test's own folder, in which it is run. */
#ifndef GANDIST_TESTS_DATA_FILES_H
#define GANDIST_TESTS_DATA_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/dataset.h"
#include "data/image.h"

#define expect_ok(call)                                                                            \
    do {                                                                                           \
        gd_status ok_ = (call);                                                                    \
        if (ok_ != GD_OK) print_error("%s: %s [%s]\n", #call, gd_error_message(), gd_error_trail()); \
        assert_int_equal(ok_, GD_OK);                                                              \
    } while (0)

/* The call fails with this code, and its message has all of: the texts of a list that NULL ends. */
#define expect_error(call, code, ...) expect_error_at((call), (code), (const char *[]){__VA_ARGS__, NULL}, __LINE__)

static inline void expect_error_at(gd_status st, gd_status code, const char *const *texts, int line) {
    if (st != code)
        print_error("line %d: status %s, expected %s: %s\n", line, gd_status_name(st), gd_status_name(code),
                    st == GD_OK ? "" : gd_error_message());
    assert_int_equal(st, code);
    for (; *texts; texts++) {
        if (strstr(gd_error_message(), *texts)) continue;
        print_error("line %d: '%s' lacks '%s'\n", line, gd_error_message(), *texts);
        fail();
    }
}

/* The top bytes of a linear congruential generator, as in data_golden/make.py. */
static inline void noise(uint8_t *out, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (uint8_t)(seed >> 24);
    }
}

static inline gd_image noise_image(int h, int w, int c, uint32_t seed) {
    gd_image im = {h, w, c, malloc((size_t)h * (size_t)w * (size_t)c)};
    assert_non_null(im.pixels);
    noise(im.pixels, (size_t)h * (size_t)w * (size_t)c, seed);
    return im;
}

/* Makes the folders above it. */
static inline void put_file(const char *path, const void *bytes, size_t n) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
        expect_ok(gd_dir_make(folder));
    }
    expect_ok(gd_file_write(path, bytes, n));
}

static inline void put_png(const char *path, int h, int w, int c, uint32_t seed) {
    gd_image im = noise_image(h, w, c, seed);
    uint8_t *bytes;
    size_t n;
    expect_ok(gd_image_encode_png(&im, NULL, &bytes, &n));
    put_file(path, bytes, n);
    free(bytes);
    gd_image_free(&im);
}

static inline uint8_t *put32(uint8_t *p, uint32_t v) {
    for (int i = 3; i >= 0; i--) *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

/* An IDX file of n images of noise; image i has seed i. */
static inline void put_idx(const char *path, uint32_t n, uint32_t h, uint32_t w) {
    const size_t each = (size_t)h * w;
    uint8_t *file = malloc(16 + n * each), *p = file;
    assert_non_null(file);
    p = put32(p, 0x00000803);
    p = put32(p, n);
    p = put32(p, h);
    p = put32(p, w);
    for (uint32_t i = 0; i < n; i++) noise(p + i * each, each, i);
    put_file(path, file, 16 + n * each);
    free(file);
}

/* A file of the source tree. owner: caller. */
static inline uint8_t *read_source(const char *path, size_t *n) {
    const char *root = getenv("GANDIST_SOURCE_DIR");
    void *bytes = NULL;
    assert_non_null(root);
    char *whole = gd_path_join(root, path);
    expect_ok(gd_file_read(whole, 1 << 24, &bytes, n));
    free(whole);
    return bytes;
}

static inline gd_dataset *open_set(gd_dataset_spec spec) {
    gd_dataset *d = NULL;
    expect_ok(gd_dataset_open(&spec, &d));
    return d;
}

#endif
