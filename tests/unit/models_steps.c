/* What step graphs compute, on ref: gradients against finite differences, one shard against several,
 * kinds against each other, running statistics, ranges, the sampler. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tests/unit/models_check.h"

enum { BATCH = CHECK_BATCH, SEED = CHECK_SEED, STEP = CHECK_STEP };

static const gd_layer_spec list_g[] = {
    {.kind = "dense", .size = 4 * 4 * 3, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "reshape", .shape = {4, 4, 3}},
    {.kind = "upsample"},
    {.kind = "conv", .size = 3, .pad = -1, .norm = "instance", .act = "leaky", .bias = -1},
    {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = -1},
};
static const gd_layer_spec list_d[] = {
    {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "layer", .act = "leaky", .bias = -1},
    {.kind = "dropout", .rate = 0.3},
    {.kind = "avgpool"},
    {.kind = "conv", .size = 1, .pad = -1, .bias = -1}, /* a map of verdicts */
};

static gd_gan_spec spec_of(const char *arch, int64_t size) {
    gd_net_spec net = {.arch = arch, .latent = 5, .height = size, .width_px = size, .channels = 1};
    if (strcmp(arch, "layers")) net.width = 3;
    gd_gan_spec s = {.generator = net, .discriminator = net, .global_batch = BATCH, .sync = true};
    if (!strcmp(arch, "layers")) {
        s.generator.layers = list_g;
        s.generator.layer_count = sizeof list_g / sizeof *list_g;
        s.discriminator.layers = list_d;
        s.discriminator.layer_count = sizeof list_d / sizeof *list_d;
    }
    return s;
}
static gd_gan_spec mlp(void) { return spec_of("mlp", 4); }
static gd_gan_spec dcgan(void) { return spec_of("dcgan", 16); }
static gd_gan_spec layers(void) { return spec_of("layers", 8); }

/* ---- gradients ---- */

static void gradients(gd_gan_spec s) {
    gd_gan *m = check_make(s);
    check_gradients(m);
    gd_gan_free(m);
}

static void gradients_of_losses(void **state) {
    (void)state;
    for (int k = 0; k <= GD_LOSS_BLEND; k++) {
        gd_gan_spec s = mlp();
        s.loss.kind = (gd_loss_kind)k;
        if (k == GD_LOSS_BLEND) s.loss.minimax = 0.3;
        gradients(s);
    }
    gd_gan_spec s = mlp();
    s.loss = (gd_loss_spec){.d_scale = 0.5, .g_scale = 2, .label_real = 0.9};
    s.latent = GD_LATENT_UNIFORM;
    gradients(s);
}

static void gradients_of_networks(void **state) {
    (void)state;
    gradients(dcgan());
    gradients(layers());
}

/* ---- shards ---- */

static void shards(gd_gan_spec s) {
    gd_gan *m = check_make(s);
    check_shards(m);
    gd_gan_free(m);
}

/* On the fast executor neither. */
static void shards_change_nothing(void **state) {
    (void)state;
    shards(mlp());
    shards(dcgan());
    shards(layers());
}

static void check_average(const char *name, const rig *both, rig *const half[2]) {
    int64_t n = rig_count(both, name);
    double *got = check_room(n), *a = check_room(n), *b = check_room(n);
    rig_get(half[0], 0, name, a);
    rig_get(half[1], 0, name, b);
    for (int64_t i = 0; i < n; i++) a[i] = (a[i] + b[i]) / 2;
    for (int k = 0; k < 2; k++) {
        rig_get(both, k, name, got);
        check_close(name, got, a, n, 1e-9);
    }
    free(got);
    free(a);
    free(b);
}

/* Without synchronised statistics each shard normalises alone, and running statistics are the average. */
static void local_statistics(void **state) {
    (void)state;
    gd_gan_spec s = dcgan();
    s.sync = false;
    gd_gan *m = check_make(s);
    s.global_batch = BATCH / 2;
    gd_gan *half_batch = check_make(s);
    for (int kind = 0; kind < GD_STEP_KIND_COUNT; kind++) {
        rig *both = check_open(m, (gd_step_kind)kind, 2), *half[2];
        check_run(both, m, BATCH / 2);
        for (int k = 0; k < 2; k++) {
            half[k] = check_open(half_batch, (gd_step_kind)kind, 1);
            half[k]->first_sample = (uint64_t)(k * BATCH / 2);
            check_set_inputs(half[k], half_batch, k * BATCH / 2);
            check_run(half[k], half_batch, BATCH / 2);
        }
        for (int b = 0; b < both->n_bindings; b++)
            if (both->bindings[b].is_output && !strchr(both->bindings[b].name, ':'))
                check_average(both->bindings[b].name, both, half);
        const char *loss = kind == GD_STEP_G ? "loss_g" : "loss_d";
        check_near(loss, rig_metric(both, loss), (rig_metric(half[0], loss) + rig_metric(half[1], loss)) / 2, 1e-9);
        for (int k = 0; k < 2; k++) rig_free(half[k]);
        rig_free(both);
    }
    gd_gan_free(half_batch);
    gd_gan_free(m);
}

/* ---- kinds against each other ---- */

static void same_gradients(const rig *a, const rig *b, const gd_gan_net *net) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p);
    for (int i = 0; i < n; i++) {
        char name[96];
        snprintf(name, sizeof name, "grad:%s/%s", net->prefix, p[i].name);
        if (!p[i].buffer) check_same(a, b, name);
    }
}

/* Sharing forward passes changes no gradient: neither side's flows into the other. */
static void sharing_changes_no_gradient(void **state) {
    (void)state;
    gd_gan *m = check_make(dcgan());
    const gd_gan_net *nets;
    gd_gan_nets(m, &nets);
    rig *d = check_open(m, GD_STEP_D, 1), *shared = check_open(m, GD_STEP_DG_SHARED, 1),
        *both = check_open(m, GD_STEP_BOTH, 1), *g_first = check_open(m, GD_STEP_GD_SHARED, 1);
    rig_run(d, SEED, STEP, BATCH, NULL, NULL);
    rig_run(shared, SEED, STEP, BATCH, NULL, NULL); /* D not updated at the pause */
    rig_run(both, SEED, STEP, BATCH, NULL, NULL);
    check_run(g_first, m, BATCH); /* G updated at the pause: D learns from its images of before */
    same_gradients(d, both, &nets[1]);
    same_gradients(d, g_first, &nets[1]);
    same_gradients(g_first, both, &nets[0]);
    same_gradients(d, shared, &nets[1]);
    same_gradients(shared, both, &nets[0]);
    check_near("loss_g", rig_metric(shared, "loss_g"), rig_metric(both, "loss_g"), 1e-9);
    /* and the updated D is what G's loss of the second phase sees */
    double before = rig_metric(shared, "loss_g");
    rig_fill_gan(shared, m, 0.5);
    check_run(shared, m, BATCH);
    assert_true(fabs(rig_metric(shared, "loss_g") - before) > 1e-3);
    same_gradients(d, shared, &nets[1]);
    rig_free(d);
    rig_free(shared);
    rig_free(g_first);
    rig_free(both);
    gd_gan_free(m);
}

/* Fresh latents in every program run, and other ones for G than for D. */
static void latents_depend_on_step(void **state) {
    (void)state;
    gd_gan *m = check_make(mlp());
    rig *d = check_open(m, GD_STEP_D, 1), *g = check_open(m, GD_STEP_G, 1);
    rig_run(d, SEED, 1, BATCH, NULL, NULL);
    rig_run(g, SEED, 1, BATCH, NULL, NULL);
    double first = rig_metric(d, "d_fake"), of_g = rig_metric(g, "d_fake_g");
    assert_true(fabs(first - of_g) > 1e-9);
    rig_run(d, SEED, 2, BATCH, NULL, NULL);
    assert_true(fabs(first - rig_metric(d, "d_fake")) > 1e-9);
    rig_run(d, SEED, 1, BATCH, NULL, NULL);
    assert_true(first == rig_metric(d, "d_fake"));
    rig_free(d);
    rig_free(g);
    gd_gan_free(m);
}

/* ---- latents ---- */

/* A generator that passes its latent on as a picture, and a critic with one weight a pixel: with real
 * images of 0 its gradient is the mean latent. Of a batch of one: the latent. */
static void draw_latent(gd_latent law, uint64_t sample, double *z) {
    static const gd_layer_spec g[] = {{.kind = "reshape", .shape = {2, 3, 1}}};
    static const gd_layer_spec d[] = {{.kind = "dense", .size = 1, .bias = 0}};
    gd_net_spec net = {.arch = "layers", .latent = 6, .height = 2, .width_px = 3, .channels = 1, .output = "none"};
    gd_gan_spec s = {.generator = net, .discriminator = net, .latent = law, .global_batch = 1, .range = GD_RANGE_RAW};
    s.generator.layers = g;
    s.discriminator.layers = d;
    s.generator.layer_count = s.discriminator.layer_count = 1;
    s.loss.kind = GD_LOSS_WASSERSTEIN;
    gd_gan *m = check_make(s);
    rig *r = check_open(m, GD_STEP_D, 1);
    const double none[6] = {0};
    rig_set(r, 0, "data:0", none);
    r->first_sample = sample;
    rig_run(r, SEED, STEP, 1, NULL, NULL);
    rig_get(r, 0, "grad:D/main.0.weight", z);
    rig_free(r);
    gd_gan_free(m);
}

static void laws_of_latents(void **state) {
    (void)state;
    const gd_rng rng = {.seed = SEED, .purpose = GD_PURPOSE_LATENT_D, .step = STEP};
    for (uint64_t sample = 0; sample < 20; sample++) {
        double z[GD_LATENT_SPHERE + 1][6], norm = 0;
        float uniform[6], normal[6];
        gd_rng_uniform(&rng, sample, 0, 6, uniform);
        gd_rng_normal(&rng, sample, 0, 6, normal);
        for (int law = 0; law <= GD_LATENT_SPHERE; law++) draw_latent((gd_latent)law, sample, z[law]);
        for (int i = 0; i < 6; i++) norm += (double)normal[i] * (double)normal[i];
        for (int i = 0; i < 6; i++) {
            double u = 2 * (double)uniform[i] - 1;
            check_near("normal", z[GD_LATENT_NORMAL][i], (double)normal[i], 1e-6);
            check_near("uniform", z[GD_LATENT_UNIFORM][i], u, 1e-9);
            check_near("unit-uniform", z[GD_LATENT_UNIT_UNIFORM][i], sqrt(3) * u, 1e-9);
            check_near("sphere", z[GD_LATENT_SPHERE][i], (double)normal[i] / sqrt(norm), 1e-6);
        }
    }
}

/* ---- ranges and metrics ---- */

static void check_range(gd_range range, double byte, double want) {
    static const gd_layer_spec d[] = {{.kind = "dense", .size = 1, .bias = 0}};
    gd_gan_spec s = mlp();
    s.range = range;
    s.generator.output = range == GD_RANGE_UNIT ? "sigmoid" : NULL;
    s.loss.kind = GD_LOSS_WASSERSTEIN;
    s.discriminator =
        (gd_net_spec){.arch = "layers", .height = 4, .width_px = 4, .channels = 1, .layers = d, .layer_count = 1};
    gd_gan *m = check_make(s);
    rig *r = check_open(m, GD_STEP_D, 1);
    double real[BATCH * 16], first[16] = {1};
    for (int i = 0; i < BATCH * 16; i++) real[i] = i % 16 == 0 ? byte : 77;
    rig_set(r, 0, "data:0", real);
    rig_set(r, 0, "D/main.0.weight", first);
    rig_run(r, SEED, STEP, BATCH, NULL, NULL);
    check_near("d_real", rig_metric(r, "d_real"), want, 1e-9);
    check_near("loss_d_real", rig_metric(r, "loss_d_real"), -want, 1e-9);
    check_near("loss_d", rig_metric(r, "loss_d"), rig_metric(r, "loss_d_real") + rig_metric(r, "loss_d_fake"), 1e-9);
    rig_free(r);
    gd_gan_free(m);
}

static void ranges(void **state) {
    (void)state;
    check_range(GD_RANGE_SIGNED, 0, -1);
    check_range(GD_RANGE_SIGNED, 255, 1);
    check_range(GD_RANGE_UNIT, 51, 0.2);
    check_range(GD_RANGE_RAW, -3.25, -3.25);
}

/* A discriminator of weights 0 answers 1/2. */
static void verdicts_are_probabilities(void **state) {
    (void)state;
    gd_gan *m = check_make(mlp());
    rig *r = check_open(m, GD_STEP_BOTH, 1);
    rig_fill_gan(r, m, 0);
    rig_run(r, SEED, STEP, BATCH, NULL, NULL);
    check_near("d_real", rig_metric(r, "d_real"), 0.5, 1e-9);
    check_near("d_fake", rig_metric(r, "d_fake"), 0.5, 1e-9);
    check_near("loss_d", rig_metric(r, "loss_d"), 2 * log(2), 1e-9);
    check_near("loss_g", rig_metric(r, "loss_g"), log(2), 1e-9);
    rig_free(r);
    gd_gan_free(m);
}

/* ---- the sampler ---- */

enum { PIXELS = 256, Z = 5 };

static void sample(gd_gan *m, int64_t n, bool batch_stats, double mean, double *image) {
    gd_step_graph s;
    rig_ok(gd_gan_sampler(m, n, batch_stats, &s));
    rig *r = rig_new(&s, "ref");
    gd_step_graph_free(&s);
    rig_fill_gan(r, m, 0.5);
    const gd_gan_net *nets;
    const gd_param_info *p;
    gd_gan_nets(m, &nets);
    int count = gd_net_params(nets[0].net, &p);
    for (int i = 0; i < count; i++) {
        char name[96];
        double v[64];
        snprintf(name, sizeof name, "G/%s", p[i].name);
        if (!strstr(name, "running_mean")) continue;
        int64_t c = gd_shape_count(p[i].shape);
        assert_true(c <= 64);
        for (int64_t k = 0; k < c; k++) v[k] = mean;
        rig_set(r, 0, name, v);
    }
    double z[8 * Z];
    rig_numbers(70, n * Z, 1, 0, z);
    rig_set(r, 0, "z", z);
    rig_run(r, SEED, STEP, n, NULL, NULL);
    rig_get(r, 0, "image", image);
    rig_free(r);
}

static double distance(const double *a, const double *b, int n) {
    double d = 0;
    for (int i = 0; i < n; i++) d = fmax(d, fabs(a[i] - b[i]));
    return d;
}

/* Eval: an image depends on its own latent and the running statistics alone. */
static void sampler_uses_running_statistics(void **state) {
    (void)state;
    gd_gan *m = check_make(dcgan());
    double *one = check_room(PIXELS), *four = check_room(4 * PIXELS), *moved = check_room(4 * PIXELS);
    sample(m, 1, false, 0, one);
    sample(m, 4, false, 0, four);
    assert_true(distance(one, four, PIXELS) < 1e-12);
    sample(m, 4, false, 0.3, moved);
    assert_true(distance(four, moved, 4 * PIXELS) > 1e-3);
    /* statistics of the batch: the other way round */
    sample(m, 2, true, 0, moved);
    sample(m, 4, true, 0, four);
    assert_true(distance(moved, four, PIXELS) > 1e-3);
    double *again = check_room(4 * PIXELS);
    sample(m, 4, true, 0.3, again);
    assert_true(distance(four, again, 4 * PIXELS) == 0);
    for (int i = 0; i < 4 * PIXELS; i++) assert_true(fabs(four[i]) <= 1);
    free(one);
    free(four);
    free(moved);
    free(again);
    gd_gan_free(m);
}

/* A discriminator of known answers: how many of them are right. */
static void accuracy(void **state) {
    (void)state;
    static const gd_layer_spec g[] = {{.kind = "dense", .size = 1, .bias = 1}, {.kind = "reshape", .shape = {1, 1, 1}}};
    static const gd_layer_spec d[] = {{.kind = "dense", .size = 1, .bias = 0}};
    const double real[BATCH] = {-1, -0.5, 0, 0.2, 0.4, 0.6, 1, 2}, one = 1, zero = 0;
    const struct {
        gd_loss_kind loss;
        double fake, want;
    } cases[] = {{GD_LOSS_NON_SATURATING, -0.25, (5.0 / 8 + 1) / 2},
                 {GD_LOSS_WASSERSTEIN, 0.25, 5.0 / 16},
                 {GD_LOSS_HINGE, 0, 5.0 / 16},
                 {GD_LOSS_LEAST_SQUARES, 0.25, (3.0 / 8 + 1) / 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gd_net_spec net = {.arch = "layers", .latent = 1, .height = 1, .width_px = 1, .channels = 1};
        gd_gan_spec s = {.generator = net, .discriminator = net, .global_batch = BATCH, .range = GD_RANGE_RAW};
        s.generator.layers = g;
        s.generator.layer_count = 2;
        s.discriminator.layers = d;
        s.discriminator.layer_count = 1;
        s.loss.kind = cases[i].loss;
        gd_gan *m = check_make(s);
        rig *r = check_open(m, GD_STEP_D, 2);
        rig_scatter(r, "data:0", real);
        rig_set(r, -1, "G/main.0.weight", &zero);
        rig_set(r, -1, "G/main.0.bias", &cases[i].fake);
        rig_set(r, -1, "D/main.0.weight", &one);
        rig_run(r, SEED, STEP, BATCH / 2, NULL, NULL);
        check_near("d_accuracy", rig_metric(r, "d_accuracy"), cases[i].want, 1e-12);
        rig_free(r);
        gd_gan_free(m);
    }
}

/* Nobody but D sees the noise, every image its own, and a deviation of 0 is none at all. */
static void instance_noise(void **state) {
    (void)state;
    gd_gan_spec s = layers();
    gd_gan *plain = check_make(s);
    s.instance_noise = true;
    gd_gan *noisy = check_make(s);
    const double zero = 0;
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        rig *a = check_open(plain, (gd_step_kind)k, 1), *b = check_open(noisy, (gd_step_kind)k, 1);
        const char *loss = k == GD_STEP_G ? "loss_g" : "loss_d";
        check_run(a, plain, BATCH);
        check_run(b, noisy, BATCH);
        assert_true(fabs(rig_metric(a, loss) - rig_metric(b, loss)) > 1e-4);
        rig_set(b, 0, "control:noise_std", &zero);
        rig_fill_gan(b, noisy, 0.5);
        check_run(b, noisy, BATCH);
        check_near(loss, rig_metric(b, loss), rig_metric(a, loss), 1e-12);
        rig_free(a);
        rig_free(b);
    }
    check_gradients_of(noisy, GD_STEP_DG_SHARED);
    check_shards_of(noisy, GD_STEP_DG_SHARED);
    gd_gan_free(plain);
    gd_gan_free(noisy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_losses),
        cmocka_unit_test(gradients_of_networks),
        cmocka_unit_test(shards_change_nothing),
        cmocka_unit_test(local_statistics),
        cmocka_unit_test(sharing_changes_no_gradient),
        cmocka_unit_test(latents_depend_on_step),
        cmocka_unit_test(laws_of_latents),
        cmocka_unit_test(ranges),
        cmocka_unit_test(verdicts_are_probabilities),
        cmocka_unit_test(accuracy),
        cmocka_unit_test(instance_noise),
        cmocka_unit_test(sampler_uses_running_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
