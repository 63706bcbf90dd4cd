/* Any bytes as a recipe, or as a --set argument ("--set " in front). What is accepted must be
 * writable and read back to the same values; what is refused must say why. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recipes/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what, const char *detail) {
    if (condition) return;
    fprintf(stderr, "%s: %s\n", what, detail);
    abort();
}

static void check_round_trip(const gd_recipe *r) {
    char *text = NULL, *diff = NULL;
    gd_recipe *again = NULL;
    require(gd_recipe_text(r, true, &text) == GD_OK, "not writable", gd_error_message());
    require(gd_recipe_parse("again.yaml", text, strlen(text), NULL, &again) == GD_OK, text, gd_error_message());
    require(gd_recipe_diff(r, again, false, &diff) == GD_OK && !*diff, "differs after writing", diff);
    require(gd_recipe_fingerprint(r) == gd_recipe_fingerprint(again), "fingerprint differs after writing", text);
    free(diff);
    free(text);
    gd_recipe_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char base[] = "data: {source: synthetic}\ngenerator: {arch: dcgan}\ndiscriminator: {arch: dcgan}\n"
                               "train: {steps: 10}\n";
    static const char mark[] = "--set ";
    const char *text = (const char *)data;
    char *argument = NULL;
    gd_recipe_opts o = {(const char *const *)&argument, 0};
    if (size >= sizeof mark - 1 && !memcmp(data, mark, sizeof mark - 1)) {
        size_t n = size - (sizeof mark - 1);
        argument = malloc(n + 1);
        require(argument != NULL, "memory", "out");
        memcpy(argument, data + sizeof mark - 1, n);
        argument[n] = 0;
        o.set_count = 1;
        text = base;
        size = sizeof base - 1;
    }
    gd_recipe *r = NULL;
    gd_status st = gd_recipe_parse("fuzz.yaml", text, size, &o, &r);
    if (st == GD_OK) check_round_trip(r);
    else require((st == GD_CONFIG || st == GD_USAGE) && *gd_error_message(), gd_status_name(st), gd_error_message());
    gd_recipe_free(r);
    free(argument);
    return 0;
}
