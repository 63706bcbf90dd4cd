/* Text, arena and hash. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/text.h"

static void integers_are_strict(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"7", 7},
                {"-12", -12},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",     "-",     "+1",    " 1",  "1 ",  "010", "00",  "-01",
                                      "0x10", "1_000", "1,000", "1.0", "1e3", "--1", "one", "1\n"};
    int64_t value = 0;
    bool overflow = true;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(gd_parse_i64(good[i].text, &value, &overflow));
        assert_true(value == good[i].value && !overflow);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        value = 42;
        assert_false(gd_parse_i64(bad[i], &value, &overflow));
        assert_true(value == 42 && !overflow);
    }
    assert_false(gd_parse_i64("9223372036854775808", &value, &overflow));
    assert_true(overflow);
    assert_false(gd_parse_i64("-99999999999999999999999", &value, NULL));
}

static void decimals_are_strict(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},         {"-0.0", -0.0},         {"1e-4", 1e-4},
                {"1E+04", 1e4},   {"0.5", 0.5},           {".5", 0.5},
                {"5.", 5},        {"-2.75e2", -275},      {"0e999999", 0},
                {"1e308", 1e308}, {"4.9e-324", 4.9e-324}, {"123456789012345678901234567890", 1.2345678901234568e29}};
    static const char *const bad[] = {"",      "-",     ".",     "-.",    "+1",   " 1",       "1 ", "01",
                                      "007.5", "0x1p3", "inf",   "nan",   "-inf", "infinity", "1e", "1e+",
                                      "1_0",   "1,5",   "1.5.2", "1e5.0", "--1",  ".e5",      "1f"};
    double value = 0;
    bool overflow = true;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(gd_parse_f64(good[i].text, &value, &overflow));
        assert_memory_equal(&value, &good[i].value, sizeof value);
        assert_false(overflow);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        value = 42;
        assert_false(gd_parse_f64(bad[i], &value, &overflow));
        assert_true(value == 42 && !overflow);
    }
    static const char *const out_of_range[] = {"1e309", "-1e400", "1e-400", "0.0001e-330"};
    for (size_t i = 0; i < sizeof out_of_range / sizeof *out_of_range; i++) {
        overflow = false;
        assert_false(gd_parse_f64(out_of_range[i], &value, &overflow));
        assert_true(overflow);
    }
}

static void booleans_are_true_and_false(void **state) {
    (void)state;
    bool value = false;
    assert_true(gd_parse_bool("true", &value) && value);
    assert_true(gd_parse_bool("false", &value) && !value);
    static const char *const bad[] = {"", "True", "yes", "1", "on", "true ", "falsee"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(gd_parse_bool(bad[i], &value));
}

static void nearest_finds_typos_only(void **state) {
    (void)state;
    static const char *const words[] = {"lr", "steps", "learning_rate", "batch", "beta1", "beta2", "seed", "G"};
    const size_t n = sizeof words / sizeof *words;
    assert_string_equal(gd_nearest("lerning_rate", words, n), "learning_rate");
    assert_string_equal(gd_nearest("setps", words, n), "steps"); /* neighbours swapped: 1 */
    assert_string_equal(gd_nearest("spets", words, n), "steps"); /* two changes */
    assert_string_equal(gd_nearest("Lr", words, n), "lr");
    assert_string_equal(gd_nearest("steps", words, n), "steps");
    assert_string_equal(gd_nearest("beta", words, n), "beta1");   /* the first of equals */
    assert_string_equal(gd_nearest("beta22", words, n), "beta2"); /* 1 beats 2 */
    assert_null(gd_nearest("ab", words, n));                      /* short words: one change at most */
    assert_null(gd_nearest("xyz", words, n));
    assert_null(gd_nearest("", words, n));
    assert_null(gd_nearest("momentum", words, n));
    assert_null(gd_nearest("steps", words, 0));
    char long_word[200];
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    const char *const long_words[] = {long_word};
    assert_null(gd_nearest(long_word, words, n));
    assert_null(gd_nearest("aaaa", long_words, 1));
}

static void numbers_for_people(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 B"},
                 {1, "1 B"},
                 {999, "999 B"},
                 {1000, "1 kB"},
                 {1500, "1.5 kB"},
                 {312000, "312 kB"},
                 {999499, "999 kB"},
                 {999600, "1 MB"},
                 {1500000000, "1.5 GB"},
                 {1234567890, "1.23 GB"},
                 {UINT64_MAX, "18.4 EB"}};
    char out[40];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        gd_text_bytes(sizes[i].bytes, out, sizeof out);
        assert_string_equal(out, sizes[i].text);
    }
    static const struct {
        uint64_t n;
        const char *text;
    } counts[] = {{0, "0"},
                  {12, "12"},
                  {999, "999"},
                  {1000, "1,000"},
                  {1234567, "1,234,567"},
                  {UINT64_MAX, "18,446,744,073,709,551,615"}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        gd_text_count(counts[i].n, out, sizeof out);
        assert_string_equal(out, counts[i].text);
    }
    gd_text_count(1234567, out, 4); /* no room: cut, not written over */
    assert_string_equal(out, "1,2");
}

static void arena_gives_zeroed_aligned_memory(void **state) {
    (void)state;
    gd_arena *a = gd_arena_new();
    assert_non_null(a);
    size_t total = 0;
    unsigned char *kept[200];
    for (size_t i = 0; i < 200; i++) {
        size_t bytes = i % 17 == 0 ? 5000 * i : i; /* small ones and some larger than a chunk */
        unsigned char *p = kept[i] = gd_arena_alloc(a, bytes);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t j = 0; j < bytes; j++) assert_int_equal(p[j], 0);
        memset(p, (int)(i + 1), bytes);
        total += bytes;
    }
    for (size_t i = 1; i < 200; i++)
        if (i % 17 != 0) assert_int_equal(kept[i][i - 1], i + 1); /* nobody wrote over it */
    assert_int_equal(gd_arena_used(a), total);
    assert_string_equal(gd_arena_strdup(a, "hello"), "hello");
    assert_string_equal(gd_arena_printf(a, "%s-%03d", "x", 7), "x-007");
    assert_string_equal(gd_arena_strdup(a, ""), "");
    assert_null(gd_arena_alloc(a, SIZE_MAX));
    assert_null(gd_arena_alloc(a, SIZE_MAX - 64));
    gd_arena_free(a);
    gd_arena_free(NULL);
}

static void hashes_are_xxh3(void **state) {
    (void)state;
    char text[33];
    gd_hash64_text(gd_hash64("", 0, 0), text);
    assert_string_equal(text, "2d06800538d394c2"); /* published: XXH3 of nothing */
    gd_hash128_text(gd_hash_128("", 0), text);
    assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
    gd_hash64_text(0x1f, text);
    assert_string_equal(text, "000000000000001f");
    uint64_t word = 0;
    gd_hash128 wide = {0};
    assert_true(gd_hash64_parse("2d06800538d394c2", &word) && word == 0x2d06800538d394c2u);
    assert_true(gd_hash128_parse("99aa06d3014798d86001c324468d497f", &wide));
    assert_true(wide.hi == 0x99aa06d3014798d8u && wide.lo == 0x6001c324468d497fu);
    static const char *const bad[] = {
        "", "2d06800538d394c", "2d06800538d394c22", "2D06800538d394c2", " d06800538d394c2", "0x06800538d394c2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(gd_hash64_parse(bad[i], &word) || gd_hash128_parse(bad[i], &wide));
    assert_true(gd_hash64("abc", 3, 0) != gd_hash64("abc", 3, 1));
}

static void streamed_hash_equals_the_whole(void **state) {
    (void)state;
    enum { N = 5000 };
    unsigned char data[N];
    for (int i = 0; i < N; i++) data[i] = (unsigned char)(i * 31 + i / 256);
    for (size_t piece = 1; piece < N; piece = piece * 3 + 1) {
        gd_hasher *h = gd_hasher_new();
        assert_non_null(h);
        for (size_t at = 0; at < N; at += piece) gd_hasher_add(h, data + at, at + piece <= N ? piece : N - at);
        gd_hasher_add(h, NULL, 0);
        gd_hash128 streamed = gd_hasher_128(h), whole = gd_hash_128(data, N);
        assert_true(streamed.hi == whole.hi && streamed.lo == whole.lo);
        gd_hasher_free(h);
    }
    gd_hasher_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_strict),
        cmocka_unit_test(decimals_are_strict),
        cmocka_unit_test(booleans_are_true_and_false),
        cmocka_unit_test(nearest_finds_typos_only),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(hashes_are_xxh3),
        cmocka_unit_test(streamed_hash_equals_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
