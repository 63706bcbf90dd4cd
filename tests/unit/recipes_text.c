/* Written recipes read back to the same values: the shipped ones and random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/rng.h"
#include "recipes/recipe.h"
#include "recipes/schema.h"

/* Writes r, reads it back, and fails unless nothing has changed. */
static void round_trip(const gd_recipe *r, bool origins) {
    char *text, *again, *diff;
    gd_recipe *copy = NULL;
    assert_int_equal(gd_recipe_text(r, origins, &text), GD_OK);
    if (gd_recipe_parse("written.yaml", text, strlen(text), NULL, &copy) != GD_OK)
        fail_msg("%s\n%s", gd_error_message(), text);
    assert_int_equal(gd_recipe_diff(r, copy, false, &diff), GD_OK);
    if (*diff) fail_msg("differs: %s\n%s", diff, text);
    assert_true(gd_recipe_fingerprint(r) == gd_recipe_fingerprint(copy));
    assert_int_equal(gd_recipe_text(copy, false, &again), GD_OK);
    if (!origins) assert_string_equal(text, again);
    free(diff);
    free(again);
    free(text);
    gd_recipe_free(copy);
}

static void folder_path(char out[1024]) {
    const char *source = getenv("GANDIST_SOURCE_DIR");
    snprintf(out, 1024, "%s/recipes", source ? source : ".");
}

static void shipped_recipes_are_good_and_survive(void **state) {
    (void)state;
    char folder[1024], path[2048];
    char **names;
    size_t count;
    int recipes = 0;
    folder_path(folder);
    assert_int_equal(gd_io_get()->list(folder, &names, &count), 0);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(names[i]);
        if (n < 5 || strcmp(names[i] + n - 5, ".yaml")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        gd_recipe *r = NULL;
        if (gd_recipe_load(path, NULL, &r) != GD_OK) fail_msg("%s", gd_error_message());
        if (strlen(r->name) + 5 != n || strncmp(r->name, names[i], n - 5))
            fail_msg("%s is named %s", names[i], r->name);
        round_trip(r, false);
        round_trip(r, true);
        gd_recipe_free(r);
        recipes++;
    }
    gd_io_free_names(names, count);
    assert_true(recipes >= 7);
}

static gd_recipe *shipped(const char *name) {
    char folder[1024], path[2048];
    gd_recipe *r = NULL;
    folder_path(folder);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (gd_recipe_load(path, NULL, &r) != GD_OK) fail_msg("%s", gd_error_message());
    return r;
}

/* The published numbers that the recipes are there for. */
static void shipped_recipes_have_the_published_numbers(void **state) {
    (void)state;
    gd_recipe *r = shipped("dcgan-64.yaml");
    assert_true(r->batch.global == 64 && r->generator.latent == 100 && r->generator.width == 64 &&
                r->data.image.size == 64);
    assert_true(r->schedule.share_fake && r->optimizer.g.lr == 2e-4 && r->optimizer.d.beta1 == 0.5 &&
                r->ema.decay == 0);
    gd_recipe_free(r);
    r = shipped("gan-paper.yaml");
    assert_true(r->schedule.simultaneous && r->loss.d_scale == 0.5 && r->batch.global == 100);
    assert_string_equal(r->discriminator.act, "maxout");
    assert_true(r->discriminator.dropout_input == 0.2 && r->discriminator.dropout == 0.5 &&
                r->discriminator.width == 240);
    assert_string_equal(r->optimizer.d.kind, "sgd");
    assert_true(r->optimizer.d.lr == 0.1 && r->optimizer.d.decay_rate == 1.000004 && r->optimizer.d.lr_floor == 1e-6);
    assert_true(r->optimizer.g.momentum == 0.5 && r->optimizer.g.momentum_final == 0.7 &&
                r->optimizer.g.momentum_steps == 125000);
    assert_true(r->generator.init_gain == 0.05 && r->discriminator.init_gain == 0.005);
    gd_recipe_free(r);
    r = shipped("wgan.yaml");
    assert_string_equal(r->loss.kind, "wasserstein");
    assert_true(r->loss.clip == 0.01 && r->schedule.d_steps == 5 && r->optimizer.d.lr == 5e-5 &&
                r->optimizer.d.alpha == 0.99);
    assert_true(r->schedule.warmup.steps == 25 && r->schedule.warmup.d_steps == 100 && r->schedule.warmup.every == 500);
    gd_recipe_free(r);
}

/* ---- random recipes ---- */

typedef struct dice {
    gd_rng rng;
    uint64_t next;
} dice;

static uint64_t below(dice *d, uint64_t n) { return gd_rng_below(&d->rng, d->next++, n); }

static const char *const texts[] = {
    "a",
    "a b",
    "a: b",
    "'#x'",
    "\"tab\"",
    "\"\\\"q\\\" \\\\ back\"",
    "'it''s'",
    "\"[x]\"",
    "\"{x: 1}\"",
    "'- a'",
    "\"null\"",
    "\"~\"",
    "\"1e5\"",
    "\"true\"",
    "\"h\xC3\xA4user\"",
    "\"\xE4\xB8\xAD\xE6\x96\x87\"",
    "\"\xF0\x9F\x90\xB1\"",
    "'a #b'",
    "\"%x\"",
    "\"@x\"",
    "\"`x\"",
    "\"&a\"",
    "\"*a\"",
    "\"!t\"",
    "\" lead\"",
    "\"trail \"",
    "\"---\"",
    "\"a,b\"",
    "\"\\u00e9\"",
    "x+y_z-1.2",
    "\"<<\"",
    "\"?\"",
    "\"|\"",
};
static const char *const layers[] = {
    "flatten",
    "upsample",
    "{upsample: 3}",
    "avgpool",
    "dropout",
    "{dropout: 0.25}",
    "norm",
    "{norm: layer}",
    "{act: leaky, slope: 0.1}",
    "{act: tanh}",
    "{reshape: [4, 5, 6]}",
    "{conv: 7}",
    "{conv: 7, kernel: 5, stride: 2, pad: 0, norm: batch, act: leaky, slope: 0.3, bias: true}",
    "{deconv: 7, kernel: 4, bias: false}",
    "{dense: 9, norm: none, act: none}",
    "{maxout: 3, pieces: 2}",
};
#define PICK(d, list) (list)[below(d, sizeof(list) / sizeof *(list))]

static double number_in(dice *d, const gd__key *k) {
    if ((k->flags & GD__OFF) && !below(d, 4)) return k->off;
    if (!below(d, 6) && !(k->flags & GD__LOW_OPEN)) return k->low;
    if (!below(d, 6) && !(k->flags & GD__HIGH_OPEN) && k->high < 1e15) return k->high;
    double unit = ((double)below(d, 1 << 30) + 0.5) / (1 << 30);
    double high = k->high < 1000 ? k->high : k->low + 1000;
    return k->low + unit * (high - k->low);
}

/* "key=value" with a value that the key accepts on its own. */
static void random_value(dice *d, const gd__key *k, char *out, size_t room) {
    int n = snprintf(out, room, "%s=", k->name);
    out += n;
    room -= (size_t)n;
    size_t choices = 0;
    while (k->choices && k->choices[choices]) choices++;
    switch (k->type) {
    case GD__TEXT: snprintf(out, room, "%s", PICK(d, texts)); break;
    case GD__CHOICE: snprintf(out, room, "%s", k->choices[below(d, choices)]); break;
    case GD__BOOL: snprintf(out, room, "%s", below(d, 2) ? "true" : "false"); break;
    case GD__INT: snprintf(out, room, "%lld", (long long)number_in(d, k)); break;
    case GD__FLOAT: snprintf(out, room, "%.17g", number_in(d, k)); break;
    case GD__FLOATS: snprintf(out, room, "[%.17g, %.17g]", number_in(d, k), number_in(d, k)); break;
    case GD__LAYERS: snprintf(out, room, "[%s, %s, %s]", PICK(d, layers), PICK(d, layers), PICK(d, layers)); break;
    }
}

/* Tries a recipe with up to 8 random keys; false when the keys do not go together. */
static bool try_random(uint64_t number) {
    enum { MOST = 8, ROOM = 512 };
    static const char base[] = "data: {source: synthetic}\ngenerator: {arch: mlp}\ndiscriminator: "
                               "{arch: layers, layers: [flatten, {dense: 1}]}\n"
                               "train: {steps: 10}\nbatch: {global: 3840}\n";
    dice d = {{1, GD_PURPOSE_TEST, number}, 0};
    char set[MOST][ROOM];
    const char *list[MOST];
    int n = (int)below(&d, MOST + 1);
    for (int i = 0; i < n; i++) {
        random_value(&d, &gd__keys[below(&d, (uint64_t)gd__key_count)], set[i], ROOM);
        list[i] = set[i];
    }
    gd_recipe_opts o = {list, n};
    gd_recipe *r = NULL;
    gd_status st = gd_recipe_parse("random.yaml", base, strlen(base), &o, &r);
    if (st != GD_OK) {
        if (st != GD_CONFIG && st != GD_USAGE) fail_msg("%s: %s", gd_status_name(st), gd_error_message());
        return false;
    }
    round_trip(r, number % 2);
    gd_recipe_free(r);
    return true;
}

static void random_recipes_survive(void **state) {
    (void)state;
    int good = 0;
    for (uint64_t i = 0; i < 2500; i++) good += try_random(i);
    print_message("%d random recipes\n", good);
    assert_true(good >= 500);
}

/* Each value that a key accepts on its own is accepted. */
static void every_key_takes_values_of_its_kind(void **state) {
    (void)state;
    for (int i = 0; i < gd__key_count; i++) {
        char set[512];
        const char *list[] = {set};
        gd_recipe_opts o = {list, 1};
        for (uint64_t n = 0; n < 20; n++) {
            dice d = {{2, GD_PURPOSE_TEST, n}, (uint64_t)i * 100};
            random_value(&d, &gd__keys[i], set, sizeof set);
            gd_recipe *r = NULL;
            static const char nothing[] = "seed: 1\n";
            assert_int_not_equal(gd_recipe_parse("x.yaml", nothing, strlen(nothing), &o, &r), GD_OK);
            /* What is said about the key itself can only be about other keys: never its type or
             * range. */
            const char *about = strstr(gd_error_message(), "--set #1: ");
            if (about && (strstr(about, " wants ") || strstr(about, " must be in ") || strstr(about, "unknown")))
                fail_msg("%s: %s", set, about);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_recipes_are_good_and_survive),
        cmocka_unit_test(shipped_recipes_have_the_published_numbers),
        cmocka_unit_test(random_recipes_survive),
        cmocka_unit_test(every_key_takes_values_of_its_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
