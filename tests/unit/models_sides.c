/* Networks on images of other sides than they were built for, image to image with plain parts, features of classifiers,
 * and what networks refuse. */
#include <stdlib.h>
#include <string.h>

#include "models/layers.h"
#include "tests/unit/models_rig.h"

static gd_net *make(gd_net_spec s) {
    gd_net *n;
    rig_ok(gd_net_new(&s, &n));
    return n;
}

static gd_net_spec translator(const char *arch, int64_t size, int64_t from, int64_t to, const char *norm) {
    return (gd_net_spec){.arch = arch,
                         .generator = true,
                         .in_channels = from,
                         .height = size,
                         .width_px = size,
                         .channels = to,
                         .norm = norm};
}

static gd_net_spec judge(const char *arch, int64_t size, int64_t channels, const char *norm) {
    return (gd_net_spec){.arch = arch, .height = size, .width_px = size, .channels = channels, .norm = norm};
}

static gd_net_spec maker(const char *arch, int64_t size, int64_t channels, int64_t latent) {
    gd_net_spec s = judge(arch, size, channels, NULL);
    s.generator = true;
    s.latent = latent;
    return s;
}

static void check_count(gd_net_spec s, int64_t want) {
    gd_net *n = make(s);
    assert_int_equal(gd_net_param_count(n), want);
    gd_net_free(n);
}

/* ---- other sides ---- */

/* Output of a network built with s on [1,h,w,c]; parameters and x by stream. Length into *count. */
static double *run_at(gd_net_spec s, int64_t h, int64_t w, int64_t *count) {
    gd_net *n = make(s);
    gd_graph *g;
    gd_net_use *u;
    int64_t c = s.in_channels ? s.in_channels : s.channels;
    rig_ok(gd_graph_new(1, &g));
    rig_ok(gd_net_use_new(n, g, "P", 0, &u));
    gd_output out = {"y", gd_net_apply(u, gd_input(g, "x", GD_F32, gd_shape4(1, h, w, c)), NULL)};
    rig_ok(gd_graph_status(g));
    rig *r = rig_new(&(gd_step_graph){.graph = g, .outputs = &out, .n_outputs = 1, .n_phases = 1}, "ref");
    rig_fill_net(r, n, "P", 77, 0.3);
    double *x = malloc((size_t)(h * w * c) * sizeof *x);
    assert_non_null(x);
    rig_numbers(3, h * w * c, 1, 0, x);
    rig_set(r, 0, "x", x);
    rig_run(r, 0, 0, 1, NULL, NULL);
    *count = rig_count(r, "y");
    double *y = malloc((size_t)*count * sizeof *y);
    assert_non_null(y);
    rig_get(r, 0, "y", y);
    free(x);
    rig_free(r);
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(n);
    return y;
}

static void takes_other_sides(void **state) {
    (void)state;
    static const struct {
        const char *arch;
        bool generator;
        int64_t size, h, w;
    } row[] = {{"unet", true, 32, 64, 32}, {"resnet", true, 16, 24, 12},    {"disco", true, 32, 24, 40},
               {"pixel", false, 16, 5, 7}, {"patchgan", false, 32, 24, 41}, {"unet", true, 32, 32, 96}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        gd_net_spec s = translator(row[i].arch, row[i].size, 2, 1, NULL);
        s.generator = row[i].generator;
        if (!s.generator) s.in_channels = 0;
        s.width = 2;
        if (!strcmp(s.arch, "unet")) s.depth = 5;
        if (!strcmp(s.arch, "resnet")) s.depth = 1;
        gd_net *n = make(s);
        rig_ok(gd_net_fits(n, row[i].h, row[i].w));
        gd_net_free(n);
        int64_t count, want;
        double *got = run_at(s, row[i].h, row[i].w, &count);
        if (s.generator) assert_int_equal(count, row[i].h * row[i].w);
        if (strcmp(s.arch, "disco") != 0) { /* which would have another depth */
            s.height = row[i].h;
            s.width_px = row[i].w;
            double *built = run_at(s, row[i].h, row[i].w, &want);
            assert_int_equal(count, want);
            assert_memory_equal(got, built, (size_t)count * sizeof *got);
            free(built);
        }
        free(got);
    }
}

static void check_unfit(gd_net_spec s, int64_t h, int64_t w, const char *part) {
    gd_net *n = make(s);
    rig_refused(gd_net_fits(n, h, w), GD_CONFIG, "do not fit", part, NULL);
    rig_ok(gd_net_fits(n, s.height, s.width_px));
    if (!s.latent) {
        gd_graph *g;
        gd_net_use *u;
        rig_ok(gd_graph_new(1, &g));
        rig_ok(gd_net_use_new(n, g, "P", 0, &u));
        gd_node x = gd_input(g, "x", GD_F32, gd_shape4(1, h, w, n->input.c));
        assert_int_equal(gd_net_apply(u, x, NULL), GD_NONE);
        rig_refused(gd_graph_status(g), GD_SHAPE, "do not fit", part, NULL);
        gd_net_use_free(u);
        gd_graph_free(g);
    }
    gd_net_free(n);
}

static void refuses_other_sides(void **state) {
    (void)state;
    check_unfit(translator("unet", 64, 3, 3, NULL), 100, 64, "nearest 64x64 or 128x64");
    check_unfit(translator("resnet", 64, 3, 3, NULL), 66, 31, "nearest 64x28 or 68x32");
    check_unfit(translator("disco", 32, 3, 3, NULL), 36, 33, "nearest 32x32 or 40x40");
    check_unfit(judge("dcgan", 32, 3, NULL), 64, 64, "nearest 39x39"); /* strides leave rows out at the end */
    check_unfit(judge("patchgan", 32, 3, NULL), 8, 8, "nearest 24x24");
    check_unfit(maker("dcgan", 32, 3, 8), 64, 64, "nearest 32x32");
    check_unfit(translator("mlp", 4, 1, 1, NULL), 4, 5, "nearest 4x4");
}

/* ---- image to image with plain parts ---- */

static void plain_translators(void **state) {
    (void)state;
    check_count((gd_net_spec){.arch = "mlp",
                              .generator = true,
                              .in_channels = 2,
                              .height = 1,
                              .width_px = 1,
                              .channels = 2,
                              .width = 128,
                              .depth = 2,
                              .act = "leaky"},
                2 * 128 + 128 + 128 * 128 + 128 + 128 * 2 + 2);
    static const gd_layer_spec list[] = {{.kind = "conv", .size = 4, .pad = -1, .act = "relu", .bias = -1},
                                         {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = -1}};
    gd_net_spec s = translator("layers", 8, 3, 1, NULL);
    s.layers = list;
    s.layer_count = 2;
    gd_net *n = make(s);
    assert_int_equal(gd_net_param_count(n), 4 * 3 * 9 + 4 + 4 * 9 + 1);
    rig_ok(gd_net_fits(n, 11, 7));
    gd_net_free(n);
}

static void classifiers_have_features(void **state) {
    (void)state;
    static const gd_layer_spec list[] = {
        {.kind = "conv", .size = 4, .pad = -1, .stride = 2, .act = "relu", .bias = -1},
        {.kind = "dense", .size = 12, .act = "relu", .bias = -1},
        {.kind = "dropout"},
        {.kind = "dense", .size = 10, .bias = -1},
    };
    gd_net_spec s = judge("layers", 8, 1, NULL);
    s.layers = list;
    s.layer_count = 4;
    s.classes = 10;
    gd_net *n = make(s);
    assert_int_equal(n->n_taps, 1);
    assert_int_equal(n->layers[n->tap[0]].kind, GD__LAYER_DROPOUT);
    assert_int_equal(n->layers[n->tap[0]].dims.c, 12);
    assert_int_equal(n->layers[n->output].dims.c, 10);
    gd_net_free(n);
    s = judge("mlp", 8, 1, NULL);
    s.classes = 3;
    n = make(s);
    assert_int_equal(n->layers[n->output].dims.c, 3);
    assert_int_equal(n->layers[n->tap[0]].dims.c, 240);
    gd_net_free(n);
}

/* ---- refusals ---- */

static void refuse(gd_net_spec s, const char *part, const char *part2) {
    gd_net *n = NULL;
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, part, part2, NULL);
    assert_null(n);
}

static void refuses_sizes(void **state) {
    (void)state;
    gd_net_spec s = translator("unet", 96, 3, 3, NULL);
    refuse(s, "96 is not a multiple of 64", "nearest 64 or 128");
    s.depth = 5;
    check_count(s, 54413955 - 3 * 12584960); /* three inner levels of 512 channels fewer than unet_256 */
    s.depth = 13;
    refuse(s, "13 levels", "2 to 12");
    s.depth = 8;
    refuse(s, "sides from 256 on", "use at least 256");
    s = translator("unet", 16, 3, 3, NULL);
    s.dropout = 0.5;
    refuse(s, "generator.dropout", "4 levels");
    refuse(translator("resnet", 30, 3, 3, NULL), "30 is not a multiple of 4", "nearest 28 or 32");
    refuse(translator("resnet", 4, 3, 3, NULL), "from 8 on", NULL);
    s = translator("resnet", 32, 3, 3, NULL);
    s.depth = 65;
    refuse(s, "generator.depth", "65 residual blocks");
    refuse(translator("disco", 70, 3, 3, NULL), "70 is not a multiple of 16", "nearest 64 or 80");
    refuse(judge("disco", 8, 3, NULL), "from 16 on", NULL);
    s = judge("disco", 64, 3, NULL);
    s.width_px = 32;
    refuse(s, "square", "64x32");
    s = judge("patchgan", 32, 3, NULL);
    s.depth = 4;
    refuse(s, "4 strided layers", "discriminator.depth");
    s.depth = 9;
    refuse(s, "9 strided layers", "1 to 8");
    refuse(maker("resnet-gp", 48, 3, 128), "32x32 or 64x64", "48x48");
    refuse(judge("dcgan-k5", 48, 3, NULL), "28x28, 32x32 or 64x64", "48x48");
}

static void refuses_roles(void **state) {
    (void)state;
    refuse(maker("unet", 64, 3, 100), "unet cannot be a generator from latents", "dcgan");
    refuse(translator("dcgan", 64, 3, 3, NULL), "dcgan cannot be a generator from images", "unet");
    refuse(judge("unet", 64, 3, NULL), "unet cannot be a discriminator", "patchgan");
    refuse(maker("patchgan", 64, 3, 100), "patchgan cannot be a generator", NULL);
    gd_net_spec s = translator("unet", 64, 3, 3, NULL);
    s.latent = 100;
    refuse(s, "generator.latent", "takes no latent");
    s = judge("dcgan", 64, 3, NULL);
    s.classes = 10;
    refuse(s, "discriminator.classes", "no such setting");
    s = judge("mlp", 8, 1, NULL);
    s.classes = 1;
    refuse(s, "1 classes", "at least 2");
    s.classes = -1;
    refuse(s, "must not be negative", NULL);
    s = judge("patchgan", 64, 3, NULL);
    s.dropout = 0.5;
    refuse(s, "discriminator.dropout", "no such setting");
    s = maker("dcgan-k5", 32, 3, 8);
    s.norm = "instance";
    refuse(s, "generator.norm", "use batch");
    static const gd_layer_spec list[] = {{.kind = "dense", .size = 9, .bias = -1}};
    s = judge("layers", 8, 1, NULL);
    s.layers = list;
    s.layer_count = 1;
    s.classes = 10;
    refuse(s, "1x1x9", "10 classes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_other_sides),         cmocka_unit_test(refuses_other_sides),
        cmocka_unit_test(plain_translators),         cmocka_unit_test(refuses_sizes),
        cmocka_unit_test(classifiers_have_features), cmocka_unit_test(refuses_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
