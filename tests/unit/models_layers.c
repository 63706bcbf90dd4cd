/* Networks from an explicit list: every kind builds what it says and computes it; mistakes name the
 * recipe's line. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/layers.h"
#include "tests/unit/models_rig.h"

static gd_net_spec discriminator(const gd_layer_spec *l, int n, int64_t h, int64_t w, int64_t c) {
    return (gd_net_spec){.arch = "layers", .height = h, .width_px = w, .channels = c, .layers = l, .layer_count = n};
}

static gd_net_spec generator(const gd_layer_spec *l, int n, int64_t latent, int64_t h, int64_t w, int64_t c) {
    gd_net_spec s = discriminator(l, n, h, w, c);
    s.generator = true;
    s.latent = latent;
    return s;
}
#define COUNT(list) (int)(sizeof(list) / sizeof *(list))

static gd_net *make(gd_net_spec s) {
    gd_net *n;
    rig_ok(gd_net_new(&s, &n));
    return n;
}

/* The names of a network's parameters, one line. */
static void check_names(gd_net_spec s, const char *want) {
    gd_net *n = make(s);
    const gd_param_info *p;
    char text[1000] = "";
    int count = gd_net_params(n, &p);
    for (int i = 0; i < count; i++) {
        assert_true(strlen(text) + strlen(p[i].name) + 2 < sizeof text);
        if (i) strcat(text, " ");
        strcat(text, p[i].name);
    }
    assert_string_equal(text, want);
    gd_net_free(n);
}

static void numbers_as_sequential(void **state) {
    (void)state;
    /* Linear 0, BatchNorm 1, ReLU 2, Unflatten 3, Upsample 4, Conv 5, BatchNorm 6, LeakyReLU 7, Conv 8, Tanh 9 */
    static const gd_layer_spec g[] = {
        {.kind = "dense", .size = 4 * 4 * 6, .norm = "batch", .act = "relu", .bias = -1},
        {.kind = "reshape", .shape = {4, 4, 6}},
        {.kind = "upsample"},
        {.kind = "conv", .size = 5, .pad = -1, .norm = "batch", .act = "leaky", .bias = -1},
        {.kind = "conv", .size = 3, .pad = -1, .bias = -1, .act = "tanh"},
    };
    check_names(generator(g, COUNT(g), 7, 8, 8, 3),
                "main.0.weight main.1.weight main.1.bias main.1.running_mean main.1.running_var main.5.weight "
                "main.6.weight main.6.bias main.6.running_mean main.6.running_var main.8.weight main.8.bias");
    static const gd_layer_spec d[] = {
        {.kind = "conv", .size = 4, .kernel = 4, .stride = 2, .pad = 1, .act = "leaky", .slope = 0.1, .bias = 1},
        {.kind = "avgpool"},
        {.kind = "dropout", .rate = 0.25},
        {.kind = "flatten"},
        {.kind = "maxout", .size = 6, .pieces = 2, .bias = -1},
        {.kind = "act", .act = "relu"},
        {.kind = "norm", .norm = "layer"},
        {.kind = "dense", .size = 1},
    };
    check_names(discriminator(d, COUNT(d), 16, 16, 3),
                "main.0.weight main.0.bias main.5.weight main.5.bias main.8.weight main.8.bias main.9.weight");
    static const gd_layer_spec up[] = {
        {.kind = "deconv",
         .size = 8,
         .kernel = 4,
         .stride = 1,
         .pad = 0,
         .norm = "instance",
         .act = "relu",
         .bias = -1},
        {.kind = "deconv", .size = 3, .pad = -1, .act = "sigmoid", .bias = 1},
    };
    check_names(generator(up, COUNT(up), 5, 8, 8, 3), "main.0.weight main.3.weight main.3.bias");
}

/* ---- values ---- */

/* y = net(x) for one shard on ref; x, y in memory order. bind (may be NULL) sets parameters "D/...". */
typedef void (*bind_fn)(rig *r);
static int64_t apply_net(gd_net *net, gd_shape in, const double *x, gd_apply_opts o, bind_fn bind, double *y) {
    gd_graph *g;
    gd_net_use *u;
    rig_ok(gd_graph_new(1, &g));
    rig_ok(gd_net_use_new(net, g, "D", 0, &u));
    gd_output out = {"y", gd_net_apply(u, gd_input(g, "x", GD_F32, in), &o)};
    rig_ok(gd_graph_status(g));
    gd_step_graph step = {.graph = g, .outputs = &out, .n_outputs = 1, .n_phases = 1};
    rig *r = rig_new(&step, "ref");
    rig_set(r, 0, "x", x);
    if (bind) bind(r);
    rig_run(r, 3, 5, in.dim[0], NULL, NULL);
    rig_get(r, 0, "y", y);
    int64_t count = rig_count(r, "y");
    rig_free(r);
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(net);
    return count;
}

static int64_t apply(gd_net_spec s, gd_shape in, const double *x, gd_apply_opts o, bind_fn bind, double *y) {
    return apply_net(make(s), in, x, o, bind, y);
}

static const gd_apply_opts eval = {.eval = true};

/* 1x2x2 image with channels (a b): flatten gives C,H,W order, reshape goes back. */
static void flatten_is_chw(void **state) {
    (void)state;
    static const gd_layer_spec flat[] = {{.kind = "flatten"}, {.kind = "maxout", .size = 1, .pieces = 8, .bias = 0}};
    gd_net *n = make(discriminator(flat, 2, 2, 2, 2));
    gd_net_free(n);
    static const gd_layer_spec back[] = {{.kind = "reshape", .shape = {2, 2, 2}}};
    const double x[8] = {0, 1, 2, 3, 10, 11, 12, 13}, want[8] = {0, 10, 1, 11, 2, 12, 3, 13};
    double y[8];
    assert_int_equal(apply(generator(back, 1, 8, 2, 2, 2), gd_shape2(1, 8), x, eval, NULL, y), 8);
    assert_memory_equal(y, want, sizeof want);
    static const gd_layer_spec both[] = {
        {.kind = "reshape", .shape = {2, 2, 2}}, {.kind = "flatten"}, {.kind = "reshape", .shape = {1, 1, 8}}};
    assert_int_equal(apply(generator(both, 3, 8, 1, 1, 8), gd_shape2(1, 8), x, eval, NULL, y), 8);
    assert_memory_equal(y, x, sizeof x);
}

static void upsample_and_avgpool(void **state) {
    (void)state;
    static const gd_layer_spec up[] = {{.kind = "reshape", .shape = {1, 2, 1}}, {.kind = "upsample", .size = 2}};
    static const gd_layer_spec pool[] = {{.kind = "reshape", .shape = {2, 4, 1}}, {.kind = "avgpool"}};
    const double x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, doubled[8] = {1, 1, 2, 2, 1, 1, 2, 2};
    double y[8];
    assert_int_equal(apply(generator(up, 2, 2, 2, 4, 1), gd_shape2(1, 2), x, eval, NULL, y), 8);
    assert_memory_equal(y, doubled, sizeof doubled);
    assert_int_equal(apply(generator(pool, 2, 8, 1, 2, 1), gd_shape2(1, 8), x, eval, NULL, y), 2);
    assert_true(fabs(y[0] - 3.5) < 1e-12 && fabs(y[1] - 5.5) < 1e-12);
}

static void bind_maxout(rig *r) {
    const double w[8] = {1, 0, 0, 1, -1, -1, 0, 0}, b[4] = {0, 0.5, 0, -7};
    rig_set(r, 0, "D/main.0.weight", w);
    rig_set(r, 0, "D/main.0.bias", b);
}

/* Units 0, 1 are pieces of group 0; units 2, 3 of group 1. */
static void maxout_takes_groups(void **state) {
    (void)state;
    static const gd_layer_spec l[] = {{.kind = "maxout", .size = 2, .pieces = 2, .bias = -1}};
    const double x[4] = {1, 2, 3, -2};
    double y[4];
    assert_int_equal(apply(generator(l, 1, 2, 1, 1, 2), gd_shape2(2, 2), x, eval, bind_maxout, y), 4);
    const double want[4] = {2.5, -3, 3, -1};
    for (int i = 0; i < 4; i++) assert_true(fabs(y[i] - want[i]) < 1e-12);
}

static void activations(void **state) {
    (void)state;
    const double x[3] = {-1, 0, 2};
    const struct {
        const char *act;
        double slope;
        double want[3];
    } row[] = {
        {"relu", 0, {0, 0, 2}},
        {"leaky", 0, {-0.2, 0, 2}},
        {"leaky", 0.01, {-0.01, 0, 2}},
        {"tanh", 0, {-0.76159415595576488, 0, 0.9640275800758169}},
        {"sigmoid", 0, {0.2689414213699951, 0.5, 0.88079707797788243}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        gd_layer_spec l = {.kind = "act", .act = row[i].act, .slope = row[i].slope};
        double y[3];
        assert_int_equal(apply(generator(&l, 1, 3, 1, 1, 3), gd_shape2(1, 3), x, eval, NULL, y), 3);
        for (int k = 0; k < 3; k++) assert_true(fabs(y[k] - row[i].want[k]) < 1e-12);
    }
}

/* Kept values are scaled by 1 / (1 - rate); eval passes everything; streams have their own masks. */
static void dropout_keeps_the_mean(void **state) {
    (void)state;
    enum { N = 64, C = 64 };
    gd_layer_spec l = {.kind = "dropout", .rate = 0.2};
    double *x = malloc(N * C * sizeof *x), *y = malloc(N * C * sizeof *y), *z = malloc(N * C * sizeof *z);
    assert_true(x && y && z);
    for (int i = 0; i < N * C; i++) x[i] = 1;
    gd_net_spec s = generator(&l, 1, C, 1, 1, C);
    apply(s, gd_shape2(N, C), x, eval, NULL, y);
    assert_memory_equal(x, y, N * C * sizeof *x);
    apply(s, gd_shape2(N, C), x, (gd_apply_opts){0}, NULL, y);
    apply(s, gd_shape2(N, C), x, (gd_apply_opts){.stream = 1}, NULL, z);
    int kept = 0, differ = 0;
    for (int i = 0; i < N * C; i++) {
        assert_true(y[i] == 0 || fabs(y[i] - 1.25) < 1e-12);
        kept += y[i] > 0;
        differ += y[i] != z[i];
    }
    double share = (double)kept / (N * C), error = 5 * sqrt(0.2 * 0.8 / (N * C));
    assert_true(fabs(share - 0.8) < error);
    assert_true(differ > N * C / 5);
    /* eval with keep_dropout has the training masks */
    apply(s, gd_shape2(N, C), x, (gd_apply_opts){.eval = true, .keep_dropout = true}, NULL, z);
    assert_memory_equal(y, z, N * C * sizeof *y);
    free(x);
    free(y);
    free(z);
}

static double mean_of(const double *v, int n, int step) {
    double s = 0;
    for (int i = 0; i < n; i++) s += v[i * step];
    return s / n;
}

static void bind_unit_norm(rig *r) {
    const double one[2] = {1, 1}, zero[2] = {0, 0};
    rig_set(r, 0, "D/main.1.weight", one);
    rig_set(r, 0, "D/main.1.bias", zero);
}

/* Which numbers each norm averages: [N=2, 2x2, C=2] in memory order n,h,w,c. */
static void norms_average_their_axes(void **state) {
    (void)state;
    double x[16], y[16];
    rig_numbers(5, 16, 2, 1, x);
    for (int kind = 0; kind < 3; kind++) {
        static const char *const name[] = {"batch", "instance", "layer"};
        gd_layer_spec l[] = {{.kind = "reshape", .shape = {2, 2, 2}}, {.kind = "norm", .norm = name[kind]}};
        assert_int_equal(apply(generator(l, 2, 8, 2, 2, 2), gd_shape2(2, 8), x, (gd_apply_opts){0}, bind_unit_norm, y),
                         16);
        double over_n = 0, over_sample = 0, over_map = 0;
        for (int c = 0; c < 2; c++) over_n += fabs((mean_of(y + c, 4, 2) + mean_of(y + 8 + c, 4, 2)) / 2);
        for (int n = 0; n < 2; n++) over_sample += fabs(mean_of(y + 8 * n, 8, 1));
        for (int k = 0; k < 4; k++) over_map += fabs(mean_of(y + 8 * (k / 2) + k % 2, 4, 2));
        assert_true((over_n < 1e-9) == (kind == 0 || kind == 1));
        assert_true((over_map < 1e-9) == (kind == 1));
        assert_true((over_sample < 1e-9) == (kind == 2 || kind == 1));
    }
}

/* ---- layers that only architectures use: written with the builders ---- */

static gd__build builder(gd__dims input) {
    gd_arena *a = gd_arena_new();
    assert_non_null(a);
    gd_net *n = gd_arena_alloc(a, sizeof *n);
    assert_non_null(n);
    n->arena = a;
    n->input = input;
    return (gd__build){.net = n, .spec = &n->spec};
}

/* A reflected border of 1 around a 3x3 map, then the sum of it with itself, shrunk to channel means. */
static void reflect_sum_spatial(void **state) {
    (void)state;
    const double x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const double bordered[25] = {5, 4, 5, 6, 5, 2, 1, 2, 3, 2, 5, 4, 5, 6, 5, 8, 7, 8, 9, 8, 5, 4, 5, 6, 5};
    double y[50];
    gd__build b = builder((gd__dims){3, 3, 1, false});
    b.net->output = gd__reflect(&b, GD__INPUT, 1);
    assert_int_equal(apply_net(b.net, gd_shape4(1, 3, 3, 1), x, eval, NULL, y), 25);
    assert_memory_equal(y, bordered, sizeof bordered);
    b = builder((gd__dims){3, 3, 1, false});
    int twice = gd__sum2(&b, GD__INPUT, GD__INPUT);
    int pair = gd__concat2(&b, twice, GD__INPUT); /* channels: 2x, x */
    b.net->output = gd__spatial_mean(&b, pair);
    assert_int_equal(b.st, GD_OK);
    assert_int_equal(apply_net(b.net, gd_shape4(1, 3, 3, 1), x, eval, NULL, y), 2);
    assert_true(fabs(y[0] - 10) < 1e-12 && fabs(y[1] - 5) < 1e-12);
}

static void taps_give_features(void **state) {
    (void)state;
    gd__build b = builder((gd__dims){4, 4, 1, false});
    int h = gd__conv(&b, GD__INPUT, "main.0", (gd__conv_opts){.channels = 2, .kernel = 2, .stride = 2});
    gd__tap(&b, h);
    b.net->output = gd__dense(&b, h, "main.1", 1, true);
    assert_int_equal(b.st, GD_OK);
    gd_graph *g;
    gd_net_use *u;
    const gd_node *taps;
    rig_ok(gd_graph_new(1, &g));
    rig_ok(gd_net_use_new(b.net, g, "D", 0, &u));
    assert_int_equal(gd_net_use_features(u, &taps), 1);
    assert_int_equal(taps[0], GD_NONE); /* not applied yet */
    gd_node y = gd_net_apply(u, gd_input(g, "x", GD_F32, gd_shape4(3, 4, 4, 1)), NULL);
    rig_ok(gd_graph_status(g));
    assert_true(gd_shape_equal(gd_node_shape(g, taps[0]), gd_shape4(3, 2, 2, 2)));
    assert_true(gd_shape_equal(gd_node_shape(g, y), gd_shape2(3, 1)));
    /* an input that does not fit is the graph's error */
    assert_int_equal(gd_net_apply(u, gd_input(g, "bad", GD_F32, gd_shape4(3, 4, 4, 2)), NULL), GD_NONE);
    rig_refused(gd_graph_status(g), GD_SHAPE, "[3,4,4,2]", "C = 1", NULL);
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(b.net);
}

static void maps_must_match(void **state) {
    (void)state;
    gd__build b = builder((gd__dims){4, 4, 1, false});
    int half = gd__avgpool(&b, GD__INPUT, 2);
    gd__sum2(&b, GD__INPUT, half);
    rig_refused(b.st, GD_CONFIG, "sum of 4x4x1 and 2x2x1", NULL);
    gd_net_free(b.net);
    b = builder((gd__dims){4, 4, 1, false});
    gd__reflect(&b, GD__INPUT, 4);
    rig_refused(b.st, GD_CONFIG, "more than 4 pixels", "4x4", NULL);
    gd_net_free(b.net);
    b = builder((gd__dims){1, 1, 8, true});
    int x = GD__INPUT;
    for (int i = 0; i < GD__DROPOUTS_MAX; i++) x = gd__dropout(&b, x, 0.5);
    assert_int_equal(b.st, GD_OK);
    gd__dropout(&b, x, 0.5);
    rig_refused(b.st, GD_CONFIG, "more than 256 dropouts", NULL);
    gd_net_free(b.net);
}

/* ---- refusals ---- */

static void refuse(gd_layer_spec l, const char *part, const char *part2) {
    gd_layer_spec list[] = {{.kind = "conv", .size = 4, .pad = -1, .where = "recipes/x.yaml:9:5"}, l};
    list[1].where = "recipes/x.yaml:10:5";
    gd_net_spec s = discriminator(list, 2, 8, 8, 3);
    gd_net *n = NULL;
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, "recipes/x.yaml:10:5", part, part2, NULL);
    assert_null(n);
}

static void mistakes_name_their_line(void **state) {
    (void)state;
    refuse((gd_layer_spec){.kind = "covn", .size = 3}, "did you mean 'conv'", "maxout");
    refuse((gd_layer_spec){.kind = "dense"}, "needs its size", NULL);
    refuse((gd_layer_spec){.kind = "act"}, "needs its act", NULL);
    refuse((gd_layer_spec){.kind = "act", .act = "none"}, "does nothing", NULL);
    refuse((gd_layer_spec){.kind = "flatten", .size = 3}, "has no size", NULL);
    refuse((gd_layer_spec){.kind = "dense", .size = 3, .kernel = 2}, "has no kernel", NULL);
    refuse((gd_layer_spec){.kind = "conv", .size = 3, .kernel = 11, .pad = 0}, "larger than its padded input", "8x8");
    refuse((gd_layer_spec){.kind = "conv", .size = 3, .kernel = 3, .pad = 3}, "pad 3", "0 to 2");
    refuse((gd_layer_spec){.kind = "conv", .size = 3, .kernel = 5000}, "at most 1024", NULL);
    refuse((gd_layer_spec){.kind = "conv", .size = 3, .pad = -1, .norm = "bach"}, "norm is 'bach'", NULL);
    refuse((gd_layer_spec){.kind = "conv", .size = 3, .pad = -1, .act = "maxout"}, "act is 'maxout'", NULL);
    refuse((gd_layer_spec){.kind = "reshape", .shape = {3, 3, 3}}, "needs 27 numbers", "256");
    refuse((gd_layer_spec){.kind = "avgpool", .size = 3}, "does not divide", "8x8");
    refuse((gd_layer_spec){.kind = "dropout", .rate = 1.5}, "dropout 1.5", NULL);
    static const gd_layer_spec flat[] = {{.kind = "dense", .size = 9}, {.kind = "upsample", .where = "r.yaml:3:1"}};
    gd_net_spec s = discriminator(flat, 2, 8, 8, 3);
    gd_net *n = NULL;
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, "r.yaml:3:1", "layer 2", "needs an image", NULL);
    s = discriminator(flat, 1, 8, 8, 3);
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, "discriminator", "1x1x9", "one number", NULL);
    s = generator(flat, 1, 4, 8, 8, 3);
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, "generator", "8x8x3", NULL);
    s = discriminator(flat, 0, 8, 8, 3);
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, "empty list", NULL);
    assert_null(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_as_sequential),
        cmocka_unit_test(flatten_is_chw),
        cmocka_unit_test(upsample_and_avgpool),
        cmocka_unit_test(maxout_takes_groups),
        cmocka_unit_test(activations),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(norms_average_their_axes),
        cmocka_unit_test(mistakes_name_their_line),
        cmocka_unit_test(reflect_sum_spatial),
        cmocka_unit_test(taps_give_features),
        cmocka_unit_test(maps_must_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
