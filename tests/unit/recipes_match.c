/* The words that recipes/ accepts are those that models/ and data/ know, though neither sees the
 * other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "models/loss.h"
#include "models/net.h"
#include "recipes/reading.h"

static bool is_choice(const char *key, const char *word) {
    const char *const *c = gd__keys[gd__key_find(key)].choices;
    while (*c && strcmp(*c, word)) c++;
    return *c;
}

static void sources_match(void **state) {
    (void)state;
    int count, choices = 0;
    const gd_source_info *list = gd_dataset_sources(&count);
    for (int i = 0; i < count; i++)
        if (!is_choice("data.source", list[i].name)) fail_msg("data.source lacks %s", list[i].name);
    while (gd__keys[gd__key_find("data.source")].choices[choices]) choices++;
    assert_int_equal(choices, count);
}

static void losses_match(void **state) {
    (void)state;
    int count, choices = 0;
    const char *const *list = gd_loss_names(&count);
    for (int i = 0; i < count; i++)
        if (!is_choice("loss.kind", list[i])) fail_msg("loss.kind lacks %s", list[i]);
    while (gd__keys[gd__key_find("loss.kind")].choices[choices]) choices++;
    assert_int_equal(choices, count);
}

/* An architecture is a choice of one of the two networks at least, and there is no choice that is none. */
static void architectures_match(void **state) {
    (void)state;
    static const char *const keys[] = {"generator.arch", "discriminator.arch"};
    int count;
    const char *const *list = gd_net_archs(&count);
    for (int i = 0; i < count; i++)
        if (!is_choice(keys[0], list[i]) && !is_choice(keys[1], list[i])) fail_msg("no network has %s", list[i]);
    for (int k = 0; k < 2; k++)
        for (const char *const *c = gd__keys[gd__key_find(keys[k])].choices; *c; c++) {
            int i = 0;
            while (i < count && strcmp(list[i], *c)) i++;
            if (i == count) fail_msg("%s: models/ has no %s", keys[k], *c);
        }
}

static bool needs(const char *section, const char *leaf, const char *arch) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", section, leaf);
    const char *words = strchr(gd__keys[gd__key_find(name)].needs, '=');
    return words && gd__listed(words + 1, arch);
}

/* Whether models/ knows the key for this network; it says so when it does not. */
static bool reads(const gd_net_spec *base, const char *leaf) {
    gd_net_spec s = *base;
    if (!strcmp(leaf, "width")) s.width = 8;
    if (!strcmp(leaf, "depth")) s.depth = 2;
    if (!strcmp(leaf, "norm")) s.norm = "batch";
    if (!strcmp(leaf, "act")) s.act = "relu";
    if (!strcmp(leaf, "dropout")) s.dropout = 0.5;
    if (!strcmp(leaf, "dropout_input")) s.dropout_input = 0.5;
    gd_net *net = NULL;
    gd_status st = gd_net_new(&s, &net);
    gd_net_free(net);
    return st == GD_OK || !strstr(gd_error_message(), "has no such setting");
}

/* `needs` of the keys of a network lists the architectures that read them. */
static void keys_of_architectures_match(void **state) {
    (void)state;
    static const char *const sections[] = {"generator", "discriminator"};
    static const char *const leaves[] = {"width", "depth", "norm", "act", "dropout", "dropout_input"};
    int count;
    const char *const *list = gd_net_archs(&count);
    for (int i = 0; i < count; i++)
        for (int d = 0; d < 2; d++) {
            char key[32];
            snprintf(key, sizeof key, "%s.arch", sections[d]);
            if (!is_choice(key, list[i]) || !strcmp(list[i], "layers")) continue;
            bool from_image = !d && gd__listed("unet resnet disco", list[i]);
            gd_net_spec s = {.arch = list[i], .generator = !d, .height = 32, .width_px = 32, .channels = 1};
            if (!d && from_image) s.in_channels = 1;
            else if (!d) s.latent = 8;
            for (size_t k = 0; k < sizeof leaves / sizeof *leaves; k++)
                if (needs(sections[d], leaves[k], list[i]) != reads(&s, leaves[k]))
                    fail_msg("%s.%s with the architecture %s: recipes/ and models/ do not agree", sections[d],
                             leaves[k], list[i]);
        }
}

/* Every kind of layer, with and without its other keys, goes through models/. */
static void layer_kinds_match(void **state) {
    (void)state;
    static const char text[] =
        "data: {source: synthetic}\ngenerator: {arch: dcgan}\ntrain: {steps: 1}\n"
        "discriminator:\n  arch: layers\n  layers:\n"
        "    - {conv: 8, kernel: 4, stride: 2, pad: 1, norm: batch, act: leaky, slope: 0.1}\n"
        "    - {conv: 8}\n    - norm\n    - {norm: instance}\n    - {act: relu}\n    - {act: "
        "leaky, slope: 0.3}\n    - avgpool\n"
        "    - {upsample: 2}\n    - {deconv: 4, bias: true}\n    - flatten\n    - dropout\n    - "
        "{dropout: 0.1}\n"
        "    - {maxout: 32, pieces: 3}\n    - {dense: 64, act: tanh}\n    - {reshape: [4, 4, 4]}\n "
        "   - flatten\n    - {dense: 1}\n";
    gd_recipe *r = NULL;
    if (gd_recipe_parse("x.yaml", text, strlen(text), NULL, &r) != GD_OK) fail_msg("%s", gd_error_message());
    const gd_recipe_net *d = &r->discriminator;
    gd_layer_spec *list = calloc((size_t)d->layer_count, sizeof *list);
    assert_non_null(list);
    for (int i = 0; i < d->layer_count; i++) {
        const gd_recipe_layer *l = &d->layers[i];
        list[i] = (gd_layer_spec){.kind = l->kind,
                                  .size = l->size,
                                  .kernel = l->kernel,
                                  .stride = l->stride,
                                  .pad = l->pad,
                                  .pieces = l->pieces,
                                  .shape = {l->shape[0], l->shape[1], l->shape[2]},
                                  .norm = l->norm,
                                  .act = l->act,
                                  .slope = l->slope,
                                  .rate = l->rate,
                                  .bias = l->bias};
    }
    gd_net_spec spec = {.arch = d->arch,
                        .height = 16,
                        .width_px = 16,
                        .channels = 3,
                        .init = d->init,
                        .layers = list,
                        .layer_count = d->layer_count};
    gd_net *net = NULL;
    if (gd_net_new(&spec, &net) != GD_OK) fail_msg("%s", gd_error_message());
    gd_net_free(net);
    free(list);
    gd_recipe_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_match),       cmocka_unit_test(losses_match),
        cmocka_unit_test(architectures_match), cmocka_unit_test(keys_of_architectures_match),
        cmocka_unit_test(layer_kinds_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
