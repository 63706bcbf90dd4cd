/* Step graphs of paired, two-way and classifier: gradients, shards, what each step kind reads and gives,
 * image pools, terms of the loss, the cost of the G step, translators and judges. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/models_check.h"

enum { BATCH = CHECK_BATCH, SIDE = 8 };

static const gd_layer_spec list_g[] = {
    {.kind = "conv", .size = 3, .pad = -1, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "dropout", .rate = 0.25},
    {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = -1},
};
static const gd_layer_spec list_d[] = {
    {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "batch", .act = "leaky", .bias = -1},
    {.kind = "conv", .size = 1, .pad = -1, .bias = -1}, /* a map of verdicts */
};
static const gd_layer_spec list_classes[] = {
    {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "dense", .size = 5, .bias = 1},
};

static gd_net_spec list(const gd_layer_spec *layers, int count, int64_t channels) {
    return (gd_net_spec){.arch = "layers",
                         .height = SIDE,
                         .width_px = SIDE,
                         .channels = channels,
                         .layers = layers,
                         .layer_count = count};
}

static gd_gan_spec paired(void) {
    gd_gan_spec s = {
        .topology = GD_TOPOLOGY_PAIRED, .generator = list(list_g, 3, 1), .discriminator = list(list_d, 2, 3)};
    s.generator.in_channels = 2;
    s.global_batch = BATCH;
    s.sync = true;
    s.loss.d_scale = 0.5;
    s.terms.l1 = 10;
    return s;
}

static gd_gan_spec two_way(void) {
    gd_gan_spec s = {
        .topology = GD_TOPOLOGY_TWO_WAY, .generator = list(list_g, 3, 1), .discriminator = list(list_d, 2, 1)};
    s.generator.in_channels = 1;
    s.global_batch = BATCH;
    s.sync = true;
    s.loss.kind = GD_LOSS_LEAST_SQUARES;
    s.loss.g_scale = 2;
    s.terms = (gd_terms_spec){.cycle_a = 10, .cycle_b = 8, .identity = 0.5};
    return s;
}

/* DiscoGAN's, from 2 channels to 1. */
static gd_gan_spec disco(void) {
    gd_net_spec net = {.arch = "disco", .height = 16, .width_px = 16, .channels = 1, .width = 1};
    gd_gan_spec s = {.topology = GD_TOPOLOGY_TWO_WAY, .generator = net, .discriminator = net};
    s.generator.in_channels = 2;
    s.generator.output = "sigmoid";
    s.global_batch = BATCH;
    s.sync = true;
    s.range = GD_RANGE_UNIT;
    s.loss = (gd_loss_spec){.d_scale = 0.5, .g_scale = 0.1};
    s.terms = (gd_terms_spec){.cycle_a = 1, .cycle_b = 1, .cycle_square = true, .feature = 0.9, .rate = true};
    return s;
}

/* Feature matching from noise. */
static gd_gan_spec noise(void) {
    gd_gan_spec s = disco();
    s.topology = GD_TOPOLOGY_NOISE;
    s.generator = (gd_net_spec){
        .arch = "mlp", .height = 16, .width_px = 16, .channels = 1, .width = 2, .latent = 3, .output = "sigmoid"};
    s.terms = (gd_terms_spec){.feature = 2};
    return s;
}

static gd_gan_spec classifier(void) {
    gd_gan_spec s = {.topology = GD_TOPOLOGY_CLASSIFIER, .discriminator = list(list_classes, 2, 2)};
    s.discriminator.classes = 5;
    s.global_batch = BATCH;
    s.sync = true;
    return s;
}

static gd_gan_spec pooled(void) {
    gd_gan_spec s = two_way();
    s.pool = true;
    return s;
}

static gd_gan_spec terms_only(gd_gan_spec s) {
    s.loss.g_off = true;
    return s;
}

static gd_gan_spec penalised(gd_gan_spec s) {
    static const gd_layer_spec list_plain[] = {
        {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "layer", .act = "tanh", .bias = -1},
        {.kind = "conv", .size = 1, .pad = -1, .bias = -1},
    };
    s.discriminator.layers = list_plain;
    s.penalty = (gd_penalty_spec){.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1, .pick = 2};
    s.instance_noise = true;
    return s;
}

typedef void (*check_fn)(gd_gan *m);

static void with(gd_gan_spec s, check_fn f) {
    gd_gan *m = check_make(s);
    f(m);
    gd_gan_free(m);
}

static void with_all(check_fn f) {
    with(paired(), f);
    with(two_way(), f);
    with(pooled(), f);
    with(disco(), f);
    with(noise(), f);
    with(classifier(), f);
    with(terms_only(paired()), f);
    with(terms_only(two_way()), f);
    with(terms_only(noise()), f);
    with(penalised(paired()), f);
    with(penalised(two_way()), f);
}

/* Where each term and topology has its own; the orders are those of models_steps.c. */
static void gradients(void **state) {
    (void)state;
    const struct {
        gd_gan_spec spec;
        gd_step_kind kind;
    } cases[] = {{paired(), GD_STEP_DG_SHARED},
                 {two_way(), GD_STEP_G},
                 {pooled(), GD_STEP_GD_SHARED},
                 {disco(), GD_STEP_G},
                 {noise(), GD_STEP_G},
                 {classifier(), GD_STEP_D},
                 {terms_only(paired()), GD_STEP_G},
                 {terms_only(two_way()), GD_STEP_G},
                 {terms_only(noise()), GD_STEP_G},
                 {penalised(paired()), GD_STEP_D},
                 {penalised(two_way()), GD_STEP_D}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gd_gan *m = check_make(cases[i].spec);
        check_gradients_of(m, cases[i].kind);
        gd_gan_free(m);
    }
}

/* One step that has everything that the others have. */
static void check_both_groups(gd_gan *m) {
    if (gd_gan_has_step(m, GD_STEP_GD_SHARED)) check_shards_of(m, GD_STEP_GD_SHARED);
    else check_shards_of(m, GD_STEP_D);
}

static void shards_change_nothing(void **state) {
    (void)state;
    with_all(check_both_groups);
}

/* ---- names ---- */

static const gd_output *find(const gd_step_graph *s, const char *name) {
    for (int i = 0; i < s->n_outputs; i++)
        if (!strcmp(s->outputs[i].name, name)) return &s->outputs[i];
    return NULL;
}

static bool reads(const gd_step_graph *s, const char *name) {
    for (int i = 0; i < gd_graph_count(s->graph); i++) {
        const gd_node_info *n = gd_graph_at(s->graph, i);
        if (n->op == GD_OP_INPUT && !strcmp(n->name, name)) return true;
    }
    return false;
}

/* Gradients exactly of the group that the kind trains; buffers always; data when promised. */
static void check_outputs_of(gd_gan *m, gd_step_kind kind) {
    gd_step_graph s;
    rig_ok(gd_gan_step(m, kind, true, 2, &s));
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(m, &nets), n_metrics = 0;
    for (int i = 0; i < n_nets; i++) {
        const gd_param_info *p;
        int n = gd_net_params(nets[i].net, &p);
        for (int k = 0; k < n; k++) {
            char name[128];
            snprintf(name, sizeof name, "%s%s/%s", p[k].buffer ? "" : "grad:", nets[i].prefix, p[k].name);
            bool want = p[k].buffer || check_trains(kind, nets[i].group);
            if (want != (find(&s, name) != NULL)) fail_msg("%s: %s", gd_step_kind_text(kind), name);
        }
    }
    for (int i = 0; i < s.n_outputs; i++) n_metrics += !strncmp(s.outputs[i].name, "metric:", 7);
    assert_true(n_metrics > 0 && n_metrics <= 24);
    assert_true(reads(&s, "data:0") == gd_gan_step_reads(m, kind));
    bool pool = gd_gan_get_spec(m)->pool && kind == GD_STEP_GD_SHARED;
    assert_true((find(&s, "pool:0") != NULL) == pool && (find(&s, "pool:1") != NULL) == pool);
    assert_true(reads(&s, "pooled:0") == pool && reads(&s, "pooled:1") == pool);
    assert_int_equal(s.n_phases, kind == GD_STEP_DG_SHARED || kind == GD_STEP_GD_SHARED ? 2 : 1);
    gd_step_graph_free(&s);
}

static void check_kinds(gd_gan *m) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        gd_step_graph s;
        if (gd_gan_has_step(m, (gd_step_kind)k)) check_outputs_of(m, (gd_step_kind)k);
        else
            rig_refused(gd_gan_step(m, (gd_step_kind)k, true, 1, &s), GD_CONFIG, "schedule",
                        gd_step_kind_text((gd_step_kind)k), NULL);
    }
}

static void outputs(void **state) {
    (void)state;
    with_all(check_kinds);
    gd_gan *m = check_make(pooled());
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++)
        assert_true(gd_gan_has_step(m, (gd_step_kind)k) == (k == GD_STEP_G || k == GD_STEP_GD_SHARED));
    gd_shape image;
    assert_int_equal(gd_gan_pools(m, &image), 2);
    assert_true(gd_shape_equal(image, gd_shape4(1, SIDE, SIDE, 1)));
    gd_gan_free(m);
    m = check_make(classifier());
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) assert_true(gd_gan_has_step(m, (gd_step_kind)k) == (k == GD_STEP_D));
    const gd_gan_net *nets;
    assert_int_equal(gd_gan_nets(m, &nets), 1);
    assert_int_equal(nets[0].group, GD_GROUP_D);
    assert_int_equal(gd_gan_pools(m, &image), 0);
    gd_gan_free(m);
    m = check_make(two_way());
    static const char *const prefix[] = {"G_AB", "G_BA", "D_A", "D_B"};
    assert_int_equal(gd_gan_nets(m, &nets), 4);
    for (int i = 0; i < 4; i++) assert_string_equal(nets[i].prefix, prefix[i]);
    gd_gan_free(m);
}

/* ---- pools ---- */

static void pools_are_complete(void *ctx, rig *r, int phase) {
    double **image = ctx;
    assert_int_equal(phase, 1);
    rig_get(r, 0, "pool:0", image[0]);
    rig_get(r, 0, "pool:1", image[1]);
    rig_set(r, 0, "pooled:0", image[0]);
    rig_set(r, 0, "pooled:1", image[1]);
}

/* A pool that gives back what it got is none. Others change what D learns, but not G. */
static void image_pools(void **state) {
    (void)state;
    gd_gan *with_pool = check_make(pooled()), *without = check_make(two_way());
    rig *a = check_open(with_pool, GD_STEP_GD_SHARED, 1), *b = check_open(without, GD_STEP_GD_SHARED, 1);
    int64_t n = rig_count(a, "pool:0");
    double *image[] = {check_room(n), check_room(n)};
    rig_run(b, CHECK_SEED, CHECK_STEP, BATCH, NULL, NULL);
    rig_run(a, CHECK_SEED, CHECK_STEP, BATCH, pools_are_complete, image);
    for (int64_t i = 0; i < n; i++) assert_true(fabs(image[0][i]) <= 1 && image[0][i] != image[1][i]);
    for (int i = 0; i < b->n_bindings; i++)
        if (b->bindings[i].is_output) check_same(b, a, b->bindings[i].name);
    rig_fill_gan(a, with_pool, 0.5);
    check_set_inputs(a, with_pool, 0);
    rig_run(a, CHECK_SEED, CHECK_STEP, BATCH, NULL, NULL);
    check_same(a, b, "metric:loss_g");
    check_same(a, b, "metric:loss_d_real");
    assert_true(fabs(rig_metric(a, "loss_d_fake") - rig_metric(b, "loss_d_fake")) > 1e-4);
    free(image[0]);
    free(image[1]);
    rig_free(a);
    rig_free(b);
    gd_gan_free(with_pool);
    gd_gan_free(without);
}

/* ---- terms ---- */

static double loss_of(gd_gan_spec s, const char *metric, double out[4]) {
    gd_gan *m = check_make(s);
    rig *r = check_open(m, GD_STEP_G, 1);
    static const char *const parts[] = {"loss_g_ab", "loss_g_ba", "cycle_a", "cycle_b"};
    check_run(r, m, BATCH);
    for (int i = 0; i < 4 && out; i++) out[i] = rig_metric(r, parts[i]);
    double value = rig_metric(r, metric);
    rig_free(r);
    gd_gan_free(m);
    return value;
}

/* loss_g is what the metrics of its terms say. */
static void terms_add_up(void **state) {
    (void)state;
    double p[4];
    gd_gan_spec s = two_way();
    double loss = loss_of(s, "loss_g", p), identity = loss_of(s, "identity", p);
    s.terms.identity = 0;
    double plain = loss_of(s, "loss_g", p);
    check_near("loss_g", plain, p[0] + p[1] + 10 * p[2] + 8 * p[3], 1e-9);
    assert_true(identity > 0.01 && loss > plain + 4 * identity && loss < plain + 5 * identity);
    s = disco();
    loss = loss_of(s, "loss_g", p);
    double feature = loss_of(s, "feature", p);
    assert_true(feature > 1e-6);
    check_near("loss_g", loss, 0.65 * (p[0] + p[1] + 0.9 * feature) + 0.35 * (p[2] + p[3]), 1e-9);
    s = paired();
    check_near("loss_g", loss_of(s, "loss_g", NULL), loss_of(s, "loss_g_gan", NULL) + 10 * loss_of(s, "l1", NULL),
               1e-9);
    check_near("loss_g", loss_of(terms_only(s), "loss_g", NULL), 10 * loss_of(s, "l1", NULL), 1e-9);
    s = noise();
    check_near("loss_g", loss_of(s, "loss_g", NULL), loss_of(s, "loss_g_gan", NULL) + 2 * loss_of(s, "feature", NULL),
               1e-9);
}

/* Both sides see the same images: no feature differs in the mean. */
static void equal_features_match(void **state) {
    (void)state;
    static const gd_layer_spec same[] = {{.kind = "act", .act = "leaky", .slope = 1}};
    gd_gan_spec s = disco();
    s.generator = (gd_net_spec){.arch = "layers",
                                .height = 16,
                                .width_px = 16,
                                .channels = 1,
                                .in_channels = 1,
                                .output = "none",
                                .layers = same,
                                .layer_count = 1};
    gd_gan *m = check_make(s);
    rig *r = check_open(m, GD_STEP_G, 2);
    int64_t n = rig_count(r, "data:0") * 2;
    double *x = check_room(n);
    for (int64_t i = 0; i < n; i++) x[i] = (double)(i * 37 % 256);
    rig_scatter(r, "data:0", x);
    rig_scatter(r, "data:1", x);
    check_run(r, m, BATCH / 2);
    check_near("feature", rig_metric(r, "feature"), 0, 1e-20);
    free(x);
    rig_free(r);
    gd_gan_free(m);
}

/* ---- cost ---- */

enum { FLOPS_SIDE = 16, FLOPS_BATCH = 2 };
/* Convolutions only, so that every pass costs what these say: multiply-adds times 2. */
static const gd_layer_spec flops_g[] = {{.kind = "conv", .size = 3, .pad = -1, .act = "tanh", .bias = 0},
                                        {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = 0}};
static const gd_layer_spec flops_d[] = {
    {.kind = "conv", .size = 5, .kernel = 4, .stride = 2, .pad = 1, .act = "tanh", .bias = 0},
    {.kind = "conv", .size = 1, .pad = -1, .bias = 0}};

static double flops_of(gd_gan_spec s, gd_step_kind kind) {
    s.generator.height = s.generator.width_px = s.discriminator.height = s.discriminator.width_px = FLOPS_SIDE;
    s.generator.layers = flops_g;
    s.generator.layer_count = 2;
    s.discriminator.layers = flops_d;
    s.global_batch = FLOPS_BATCH;
    gd_gan *m = check_make(s);
    rig *r = check_open(m, kind, 1);
    double n = gd_program_get_stats(r->program).flops;
    rig_free(r);
    gd_gan_free(m);
    return n;
}

/* In the G step D gets no weight gradients, and images of the data set no gradients: each pass of D costs
 * forward and backward to its input, each of G forward, weights, and backward except to the data. */
static void g_step_leaves_d_alone(void **state) {
    (void)state;
    const double pixels = 2.0 * FLOPS_BATCH * FLOPS_SIDE * FLOPS_SIDE, patches = pixels / 4;
    double g_last = pixels * 9 * 3, d_last = patches * 9 * 5;
    /* paired: a has 2 channels, D reads 3 */
    double g_first = pixels * 9 * 3 * 2, d_first = patches * 16 * 5 * 3;
    check_near("paired", flops_of(paired(), GD_STEP_G), 2 * g_first + 3 * g_last + 2 * (d_first + d_last), 0.5);
    check_near("paired", flops_of(terms_only(paired()), GD_STEP_G), 2 * g_first + 3 * g_last, 0.5);
    check_near("paired", flops_of(paired(), GD_STEP_D), g_first + g_last + 2 * (2 * d_first + 3 * d_last), 0.5);
    /* two-way: one channel everywhere; G runs on data, on the other's images, on data again (identity) */
    g_first = pixels * 9 * 3;
    d_first = patches * 16 * 5;
    double on_data = 2 * g_first + 3 * g_last, on_fake = 3 * g_first + 3 * g_last;
    check_near("two-way", flops_of(two_way(), GD_STEP_G), 2 * (2 * on_data + on_fake + 2 * (d_first + d_last)), 0.5);
    check_near("two-way", flops_of(two_way(), GD_STEP_D), 2 * (g_first + g_last + 2 * (2 * d_first + 3 * d_last)), 0.5);
    check_near("pooled", flops_of(pooled(), GD_STEP_GD_SHARED),
               2 * (2 * on_data + on_fake + 2 * (d_first + d_last) + 2 * (2 * d_first + 3 * d_last)), 0.5);
}

/* ---- classifier ---- */

static void cross_entropy(void **state) {
    (void)state;
    static const gd_layer_spec linear[] = {{.kind = "dense", .size = 5, .bias = 1}};
    gd_gan_spec s = {.topology = GD_TOPOLOGY_CLASSIFIER, .discriminator = list(linear, 1, 1)};
    s.discriminator.classes = 5;
    s.global_batch = 4;
    gd_gan *m = check_make(s);
    static const double logit[2][5] = {{1, -2, 0.5, 3, 0}, {900, -900, 0, 899, 5}}; /* exp of these is no number */
    for (int c = 0; c < 2; c++) {
        rig *r = check_open(m, GD_STEP_D, 2);
        double none[SIDE * SIDE * 5] = {0}, label[20] = {0}, loss = 0, grad[5], want[5] = {0}, top = logit[c][0],
                                  sum = 0;
        for (int k = 0; k < 5; k++) top = fmax(top, logit[c][k]);
        for (int k = 0; k < 5; k++) sum += exp(logit[c][k] - top);
        for (int i = 0; i < 4; i++) { /* labels 3, 0, 1, 2 */
            int which = (i + 3) % 4;
            label[5 * i + which] = 1;
            loss += (top + log(sum) - logit[c][which]) / 4;
            for (int k = 0; k < 5; k++) want[k] += (exp(logit[c][k] - top) / sum - (k == which)) / 4;
        }
        rig_set(r, -1, "D/main.0.weight", none);
        rig_set(r, -1, "D/main.0.bias", logit[c]);
        rig_scatter(r, "data:1", label);
        rig_run(r, CHECK_SEED, CHECK_STEP, 2, NULL, NULL);
        check_near("loss_d", rig_metric(r, "loss_d"), loss, 1e-9);
        check_near("accuracy", rig_metric(r, "accuracy"), 0.25, 1e-12);
        rig_sum(r, "grad:D/main.0.bias", grad);
        check_close("gradient", grad, want, 5, 1e-9);
        rig_free(r);
    }
    gd_gan_free(m);
}

/* ---- trained networks at work ---- */

static rig *open_graph(gd_step_graph *s, const gd_gan *m) {
    rig *r = rig_new(s, "ref");
    gd_step_graph_free(s);
    rig_fill_gan(r, m, 0.5);
    int64_t n = rig_count(r, "x");
    double *x = check_room(n);
    rig_numbers(88, n, 1, 0, x);
    rig_set(r, 0, "x", x);
    free(x);
    rig_run(r, CHECK_SEED, CHECK_STEP, 2, NULL, NULL);
    return r;
}

static void check_translation(gd_gan *m, int direction, int64_t side, int64_t in, int64_t out) {
    gd_step_graph s;
    rig_ok(gd_gan_translator(m, direction, 2, side, side, false, false, &s));
    rig *r = open_graph(&s, m);
    assert_int_equal(rig_count(r, "x"), 2 * side * side * in);
    assert_int_equal(rig_count(r, "image"), 2 * side * side * out);
    rig_free(r);
}

static void translators(void **state) {
    (void)state;
    gd_gan *m = check_make(disco());
    check_translation(m, 0, 16, 2, 1);
    check_translation(m, 1, 16, 1, 2);
    check_translation(m, 0, 32, 2, 1);
    gd_gan_free(m);
    m = check_make(paired());
    check_translation(m, 0, 5, 2, 1);
    gd_step_graph s;
    rig_refused(gd_gan_translator(m, 1, 1, 8, 8, false, false, &s), GD_CONFIG, "paired", "b to a", NULL);
    rig_refused(gd_gan_translator(m, 0, 1, 0, 8, false, false, &s), GD_CONFIG, "at least 1", NULL);
    rig_refused(gd_gan_sampler(m, 1, false, &s), GD_CONFIG, "paired", "latents", NULL);
    gd_gan_free(m);
}

/* Running statistics and no dropout; or this image's statistics and dropout, as the public code does. */
static void translation_modes(void **state) {
    (void)state;
    gd_gan *m = check_make(paired());
    double image[4][2 * SIDE * SIDE], apart = 0;
    for (int i = 0; i < 4; i++) {
        gd_step_graph s;
        rig_ok(gd_gan_translator(m, 0, 2, SIDE, SIDE, i & 1, i & 2, &s));
        rig *r = open_graph(&s, m);
        rig_get(r, 0, "image", image[i]);
        rig_free(r);
    }
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < a; b++, apart = 0) {
            for (int i = 0; i < 2 * SIDE * SIDE; i++) apart = fmax(apart, fabs(image[a][i] - image[b][i]));
            assert_true(apart > 1e-3);
        }
    gd_gan_free(m);
}

static void judges(void **state) {
    (void)state;
    gd_step_graph s;
    gd_gan *m = check_make(disco());
    for (int i = 0; i < 2; i++) {
        rig_ok(gd_gan_judge(m, i, 2, &s));
        rig *r = open_graph(&s, m);
        assert_int_equal(rig_count(r, "x"), 2 * 16 * 16 * (i ? 1 : 2));
        assert_int_equal(rig_count(r, "verdict"), 2);
        assert_int_equal(rig_count(r, "features"), 2 * 4 * 4 * 2);
        rig_free(r);
    }
    rig_refused(gd_gan_judge(m, 2, 2, &s), GD_CONFIG, "no discriminator 2", NULL);
    rig_refused(gd_gan_judge(m, 0, 0, &s), GD_CONFIG, "at least 1", NULL);
    gd_gan_free(m);
    m = check_make(paired());
    rig_ok(gd_gan_judge(m, 0, 2, &s));
    rig *r = open_graph(&s, m);
    assert_int_equal(rig_count(r, "verdict"), 2 * 4 * 4); /* patches */
    assert_int_equal(rig_find(r, "features"), -1);
    rig_free(r);
    gd_gan_free(m);
    m = check_make(classifier());
    rig_ok(gd_gan_judge(m, 0, 2, &s));
    r = open_graph(&s, m);
    assert_int_equal(rig_count(r, "verdict"), 2 * 5);
    assert_int_equal(rig_count(r, "features"), 2 * 4 * 4 * 3); /* what the last layer reads */
    rig_free(r);
    gd_gan_free(m);
}

/* ---- refusals ---- */

static void refuse(gd_gan_spec s, const char *part, const char *part2) {
    gd_gan *m = NULL;
    rig_refused(gd_gan_new(&s, &m), GD_CONFIG, part, part2, NULL);
    assert_null(m);
}

#define CHANGED(spec, change, part, part2)                                                                             \
    do {                                                                                                               \
        gd_gan_spec s = (spec);                                                                                        \
        s.change;                                                                                                      \
        refuse(s, part, part2);                                                                                        \
    } while (0)

static void refusals(void **state) {
    (void)state;
    CHANGED(paired(), pool = true, "pool.size", "two-way");
    CHANGED(noise(), pool = true, "pool.size", "two-way");
    CHANGED(paired(), terms.cycle_a = 1, "loss.terms.cycle_a", "two-way");
    CHANGED(noise(), terms.identity = 1, "loss.terms.identity", "two-way");
    CHANGED(paired(), terms.rate = true, "loss.terms.rate", "two-way");
    CHANGED(noise(), terms.cycle_square = true, "loss.terms.cycle_kind", "two-way");
    CHANGED(two_way(), terms.l1 = 1, "loss.terms.l1", "paired");
    CHANGED(noise(), terms.l1 = 1, "loss.terms.l1", "paired");
    CHANGED(paired(), terms.l1 = -1, "loss.terms.l1", "-1");
    CHANGED(two_way(), terms.cycle_b = (double)NAN, "loss.terms.cycle_b", "nan");
    CHANGED(paired(), terms.feature = 1, "loss.terms.feature", "paired");
    CHANGED(two_way(), terms.feature = 1, "loss.terms.feature", "disco");
    CHANGED(disco(), terms.identity = 1, "loss.terms.identity", "2 and 1 channels");
    CHANGED(disco(), pool = true, "pool.size", "2 and 1 channels");
    CHANGED(two_way(), terms = ((gd_terms_spec){.identity = 1}), "loss.terms.identity", "cycle_a and cycle_b");
    CHANGED(disco(), terms = ((gd_terms_spec){.rate = true}), "loss.terms.rate", "cycle_a and cycle_b");
    CHANGED(terms_only(paired()), terms.l1 = 0, "loss.g_scale", "loss.terms.l1");
    CHANGED(terms_only(noise()), terms.feature = 0, "loss.g_scale", "loss.terms.feature");
    CHANGED(terms_only(two_way()), terms = ((gd_terms_spec){0}), "loss.g_scale", "without a loss");
    CHANGED(two_way(), loss.minimax = 0.5, "loss.minimax", "blend");
    CHANGED(two_way(), generator.in_channels = 0, "two-way", "two parts");
    CHANGED(paired(), discriminator.channels = 1, "8x8x3", "8x8x1");
    CHANGED(noise(), generator.in_channels = 1, "topology", "latents");
    CHANGED(classifier(), discriminator.classes = 1, "topology", "1 classes");
    CHANGED(classifier(), instance_noise = true, "classifier", "loss.noise");
    CHANGED(paired(), discriminator.classes = 3, "only classifier", "3 classes");
    CHANGED(two_way(), penalty = ((gd_penalty_spec){.kind = GD_PENALTY_R1, .lambda = 1}), "loss.penalty", "batch norm");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients),
        cmocka_unit_test(shards_change_nothing),
        cmocka_unit_test(outputs),
        cmocka_unit_test(image_pools),
        cmocka_unit_test(terms_add_up),
        cmocka_unit_test(equal_features_match),
        cmocka_unit_test(g_step_leaves_d_alone),
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(translators),
        cmocka_unit_test(translation_modes),
        cmocka_unit_test(judges),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
