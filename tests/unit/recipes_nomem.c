/* Reading and writing a recipe when the n-th allocation fails: an error and no leak, or the same
 * result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recipes/recipe.h"

/* The linker sends our calls here (--wrap); those inside shared libraries stay as they are. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long until_failure = -1; /* allocations that still succeed; below 0: all do */
static bool fail_on;            /* all after the first failure fail too            */
static long failed;

static bool fails(void) {
    if (until_failure < 0 || until_failure-- > 0) return false;
    if (fail_on) until_failure = 0;
    failed++;
    return true;
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }

static const char good[] = "data: {source: synthetic}\ngenerator: {arch: layers, layers: [{dense: "
                           "64, act: relu}, {dense: 3072}]}\n"
                           "discriminator: {arch: dcgan}\ntrain: {steps: 10}\n";
static const char wrong[] = "seed: x\nbatch: {globl: 3}\nlr: 1\nfrobnicate: 4\nloss: {kind: hindge, clip: 1}\n";

static gd_status use(const char *text, uint64_t *fingerprint) {
    static const char *const set[] = {"optimizer.g={kind: sgd, lr: 0.5}"};
    gd_recipe_opts o = {set, 1};
    gd_recipe *r = NULL;
    char *written = NULL, *diff = NULL;
    GD_TRY(gd_recipe_parse("x.yaml", text, strlen(text), &o, &r));
    *fingerprint = gd_recipe_fingerprint(r);
    gd_status st = gd_recipe_text(r, true, &written);
    if (st == GD_OK) st = gd_recipe_diff(r, r, false, &diff);
    free(written);
    free(diff);
    gd_recipe_free(r);
    return st;
}

static gd_status use_schema(const char *text, uint64_t *fingerprint) {
    (void)text;
    *fingerprint = 0;
    char *out;
    GD_TRY(gd_schema_markdown(&out));
    free(out);
    GD_TRY(gd_schema_text(&out));
    free(out);
    return GD_OK;
}

/* Fails the n-th allocation for every n there is. */
static void every_allocation(gd_status (*call)(const char *, uint64_t *), const char *text, gd_status want) {
    uint64_t expected = 0, got = 0;
    assert_int_equal(call(text, &expected), want);
    for (int mode = 0; mode < 2; mode++) {
        fail_on = mode;
        long n = 0, reached = 1;
        for (; reached; n++) {
            failed = 0;
            until_failure = n;
            gd_status st = call(text, &got);
            reached = failed;
            until_failure = -1;
            if (st != GD_NOMEM && st != want)
                fail_msg("allocation %ld: %s: %s", n, gd_status_name(st), gd_error_message());
            if (st == GD_OK) assert_true(got == expected);
            assert_true(n < 100000);
        }
        assert_true(n > 1);
    }
}

static void a_good_recipe(void **state) {
    (void)state;
    every_allocation(use, good, GD_OK);
}

static void a_wrong_recipe(void **state) {
    (void)state;
    every_allocation(use, wrong, GD_CONFIG);
}

static void the_schema(void **state) {
    (void)state;
    every_allocation(use_schema, NULL, GD_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_recipe),
        cmocka_unit_test(a_wrong_recipe),
        cmocka_unit_test(the_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
