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
#include "recipes/recipe.h"
#include "recipes/schema.h"

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

static void architectures_match(void **state) {
    (void)state;
    int count, choices = 0;
    const char *const *list = gd_net_archs(&count);
    for (int i = 0; i < count; i++)
        if (!is_choice("generator.arch", list[i])) fail_msg("generator.arch lacks %s", list[i]);
    while (gd__keys[gd__key_find("generator.arch")].choices[choices]) choices++;
    assert_int_equal(choices, count);
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
        cmocka_unit_test(sources_match),
        cmocka_unit_test(losses_match),
        cmocka_unit_test(architectures_match),
        cmocka_unit_test(layer_kinds_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
