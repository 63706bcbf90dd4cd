/* What step graphs compute, on ref: gradients against finite differences, one shard against several,
 * kinds against each other, running statistics, ranges, the sampler. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/models_rig.h"

enum { BATCH = 8, SEED = 3, STEP = 17 };

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

static gd_gan *make(gd_gan_spec s) {
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    return m;
}

static double *room(int64_t n) {
    double *p = calloc((size_t)n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

/* Real samples of the whole batch: bytes. `first`: skip that many samples. */
static void set_real(rig *r, const gd_gan *m, int64_t samples, int64_t first) {
    const gd_net_spec *d = &gd_gan_get_spec(m)->discriminator;
    int64_t one = d->height * d->width_px * d->channels;
    double *v = room(samples * one);
    for (int64_t i = 0; i < samples * one; i++)
        v[i] = (double)(int)((rig_number(99, (uint64_t)(first * one + i)) + 1) * 128);
    rig_scatter(r, "real", v);
    free(v);
}

static rig *open_step_on(const char *executor, const gd_gan *m, gd_step_kind kind, int64_t shards) {
    gd_step_graph s;
    rig_ok(gd_gan_step(m, kind, shards, &s));
    rig *r = rig_new(&s, executor);
    gd_step_graph_free(&s);
    rig_fill_gan(r, m, 0.5);
    set_real(r, m, gd_gan_get_spec(m)->global_batch, 0);
    return r;
}

static rig *open_step(const gd_gan *m, gd_step_kind kind, int64_t shards) {
    return open_step_on("ref", m, kind, shards);
}

/* D's parameters after an "update" at the pause: other numbers. */
static void fake_update(void *ctx, rig *r, int phase) {
    const gd_gan_net *nets;
    gd_gan_nets(ctx, &nets);
    assert_int_equal(phase, 1);
    const gd_param_info *p;
    int n = gd_net_params(nets[1].net, &p);
    for (int i = 0; i < n; i++) {
        if (p[i].buffer) continue;
        char name[96];
        snprintf(name, sizeof name, "D/%s", p[i].name);
        int64_t count = gd_shape_count(p[i].shape);
        double *v = room(count);
        rig_numbers(5000 + (uint64_t)i, count, 0.5, 0.1, v);
        rig_set(r, -1, name, v);
        free(v);
    }
}

static void run(rig *r, gd_gan *m, int64_t n) { rig_run(r, SEED, STEP, n, fake_update, m); }

/* ---- gradients ---- */

static double loss_at(rig *r, gd_gan *m, const char *name, double *v, int64_t i, double x, const char *metric) {
    double old = v[i];
    rig_fill_gan(r, m, 0.5);
    v[i] = x;
    rig_set(r, 0, name, v);
    v[i] = old;
    run(r, m, BATCH);
    return rig_metric(r, metric);
}

/* A few elements of each parameter by central differences. */
static void check_param(rig *r, gd_gan *m, const char *prefix, const gd_param_info *p, const char *metric) {
    const double h = 1e-5;
    char name[96], grad_name[112];
    snprintf(name, sizeof name, "%s/%s", prefix, p->name);
    snprintf(grad_name, sizeof grad_name, "grad:%s", name);
    int64_t count = gd_shape_count(p->shape);
    double *v = room(count), *grad = room(count), scale = 1e-3;
    rig_fill_gan(r, m, 0.5);
    rig_get(r, 0, name, v);
    run(r, m, BATCH);
    rig_get(r, 0, grad_name, grad);
    for (int64_t i = 0; i < count; i++) scale = fmax(scale, fabs(grad[i]));
    for (int64_t i = 0; i < count; i += count / 3 + 1) {
        double slope =
            (loss_at(r, m, name, v, i, v[i] + h, metric) - loss_at(r, m, name, v, i, v[i] - h, metric)) / (2 * h);
        if (!(fabs(slope - grad[i]) <= 1e-6 * scale))
            fail_msg("%s[%lld] is %.12g, differences say %.12g (largest %.3g)", grad_name, (long long)i, grad[i], slope,
                     scale);
    }
    free(v);
    free(grad);
}

static void check_gradients(gd_gan_spec s) {
    gd_gan *m = make(s);
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(m, &nets);
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        rig *r = open_step(m, (gd_step_kind)k, 1);
        for (int i = 0; i < n_nets; i++) {
            if (k == (nets[i].group == GD_GROUP_G ? GD_STEP_D : GD_STEP_G)) continue;
            const gd_param_info *p;
            int n = gd_net_params(nets[i].net, &p);
            for (int j = 0; j < n; j++)
                if (!p[j].buffer) check_param(r, m, nets[i].prefix, &p[j], i ? "loss_d" : "loss_g");
        }
        rig_free(r);
    }
    gd_gan_free(m);
}

static void gradients_of_losses(void **state) {
    (void)state;
    for (int k = 0; k <= GD_LOSS_HINGE; k++) {
        gd_gan_spec s = mlp();
        s.loss.kind = (gd_loss_kind)k;
        check_gradients(s);
    }
    gd_gan_spec s = mlp();
    s.loss = (gd_loss_spec){.d_scale = 0.5, .g_scale = 2, .label_real = 0.9};
    s.latent_uniform = true;
    check_gradients(s);
}

static void gradients_of_networks(void **state) {
    (void)state;
    check_gradients(dcgan());
    check_gradients(layers());
}

/* A critic without batch norm, so that a penalty may look at single samples. */
static gd_gan_spec penalised(gd_gan_spec s, const char *norm, double target) {
    s.loss.kind = GD_LOSS_WASSERSTEIN;
    s.discriminator.norm = norm;
    s.penalty = (gd_penalty_spec){GD_PENALTY_GRADIENT, 10, target};
    return s;
}

/* The loss contains a gradient: its own gradient is of second order. */
static void gradients_of_penalties(void **state) {
    (void)state;
    check_gradients(penalised(mlp(), NULL, 1));
    check_gradients(penalised(dcgan(), "none", 1));
    check_gradients(penalised(dcgan(), "layer", 0.5));
    check_gradients(penalised(dcgan(), "instance", 0));
    check_gradients(penalised(layers(), NULL, 1));
}

static void penalty_refuses_batch_norm(void **state) {
    (void)state;
    gd_gan_spec s = penalised(dcgan(), "batch", 1);
    gd_gan *m;
    assert_int_equal(gd_gan_new(&s, &m), GD_CONFIG);
    assert_non_null(strstr(gd_error_message(), "discriminator.norm none, layer or instance"));
}

/* ---- shards ---- */

static void near(const char *what, double got, double want, double error) {
    if (!(fabs(got - want) <= error)) fail_msg("%s: %.15g, expected %.15g", what, got, want);
}

/* Within `tolerance` of the largest value. */
static void close_values(const char *what, const double *got, const double *want, int64_t n, double tolerance) {
    double scale = 1e-3;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) near(what, got[i], want[i], tolerance * scale);
}

static void same_values(const char *what, const double *got, const double *want, int64_t n) {
    close_values(what, got, want, n, 1e-9);
}

/* Every output of a run on several shards is that of one shard. */
static void compare_outputs(const rig *one, const rig *many, double tolerance) {
    assert_int_equal(one->n_bindings, many->n_bindings);
    for (int b = 0; b < one->n_bindings; b++) {
        const gd_binding *d = &one->bindings[b];
        if (!d->is_output) continue;
        int64_t n = gd_shape_count(d->shape);
        double *want = room(n), *got = room(n);
        rig_get(one, 0, d->name, want);
        bool buffer = !strchr(d->name, ':');
        if (!buffer) rig_sum(many, d->name, got);
        for (int k = 0; k < many->shards; k++) {
            if (buffer) rig_get(many, k, d->name, got); /* all shards hold the same */
            close_values(d->name, got, want, n, tolerance);
        }
        free(want);
        free(got);
    }
}

static void check_shards(gd_gan_spec s) {
    gd_gan *m = make(s);
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        rig *one = open_step(m, (gd_step_kind)k, 1);
        run(one, m, BATCH);
        for (int64_t shards = 2; shards <= 4; shards *= 2) {
            rig *many = open_step(m, (gd_step_kind)k, shards);
            run(many, m, BATCH / shards);
            compare_outputs(one, many, 1e-9);
            rig_free(many);
        }
        rig_free(one);
    }
    gd_gan_free(m);
}

static void shards_change_nothing(void **state) {
    (void)state;
    check_shards(mlp());
    check_shards(dcgan());
    check_shards(layers());
    check_shards(penalised(dcgan(), "layer", 1));
}

/* The fast executor, two shards, against the definition on one. */
static void check_cpu(gd_gan_spec s) {
    gd_gan *m = make(s);
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        rig *one = open_step(m, (gd_step_kind)k, 1), *cpu = open_step_on("cpu", m, (gd_step_kind)k, 2);
        run(one, m, BATCH);
        run(cpu, m, BATCH / 2);
        compare_outputs(one, cpu, 1e-4);
        rig_free(cpu);
        rig_free(one);
    }
    gd_gan_free(m);
}

static void cpu_computes_the_same(void **state) {
    (void)state;
    check_cpu(mlp());
    check_cpu(dcgan());
    check_cpu(layers());
}

static void check_average(const char *name, const rig *both, rig *const half[2]) {
    int64_t n = rig_count(both, name);
    double *got = room(n), *a = room(n), *b = room(n);
    rig_get(half[0], 0, name, a);
    rig_get(half[1], 0, name, b);
    for (int64_t i = 0; i < n; i++) a[i] = (a[i] + b[i]) / 2;
    for (int k = 0; k < 2; k++) {
        rig_get(both, k, name, got);
        same_values(name, got, a, n);
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
    gd_gan *m = make(s);
    s.global_batch = BATCH / 2;
    gd_gan *half_batch = make(s);
    for (int kind = 0; kind < GD_STEP_KIND_COUNT; kind++) {
        rig *both = open_step(m, (gd_step_kind)kind, 2), *half[2];
        run(both, m, BATCH / 2);
        for (int k = 0; k < 2; k++) {
            half[k] = open_step(half_batch, (gd_step_kind)kind, 1);
            half[k]->first_sample = (uint64_t)(k * BATCH / 2);
            set_real(half[k], half_batch, BATCH / 2, k * BATCH / 2);
            run(half[k], half_batch, BATCH / 2);
        }
        for (int b = 0; b < both->n_bindings; b++)
            if (both->bindings[b].is_output && !strchr(both->bindings[b].name, ':'))
                check_average(both->bindings[b].name, both, half);
        const char *loss = kind == GD_STEP_G ? "loss_g" : "loss_d";
        near(loss, rig_metric(both, loss), (rig_metric(half[0], loss) + rig_metric(half[1], loss)) / 2, 1e-9);
        for (int k = 0; k < 2; k++) rig_free(half[k]);
        rig_free(both);
    }
    gd_gan_free(half_batch);
    gd_gan_free(m);
}

/* ---- kinds against each other ---- */

static void same_output(const rig *a, const rig *b, const char *name) {
    int64_t n = rig_count(a, name);
    double *x = room(n), *y = room(n);
    rig_get(a, 0, name, x);
    rig_get(b, 0, name, y);
    same_values(name, x, y, n);
    free(x);
    free(y);
}

static void same_gradients(const rig *a, const rig *b, const gd_gan_net *net) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p);
    for (int i = 0; i < n; i++) {
        char name[96];
        snprintf(name, sizeof name, "grad:%s/%s", net->prefix, p[i].name);
        if (!p[i].buffer) same_output(a, b, name);
    }
}

/* Sharing forward passes changes no gradient: neither side's flows into the other. */
static void sharing_changes_no_gradient(void **state) {
    (void)state;
    gd_gan *m = make(dcgan());
    const gd_gan_net *nets;
    gd_gan_nets(m, &nets);
    rig *d = open_step(m, GD_STEP_D, 1), *shared = open_step(m, GD_STEP_DG_SHARED, 1),
        *both = open_step(m, GD_STEP_BOTH, 1);
    rig_run(d, SEED, STEP, BATCH, NULL, NULL);
    rig_run(shared, SEED, STEP, BATCH, NULL, NULL); /* D not updated at the pause */
    rig_run(both, SEED, STEP, BATCH, NULL, NULL);
    same_gradients(d, both, &nets[1]);
    same_gradients(d, shared, &nets[1]);
    same_gradients(shared, both, &nets[0]);
    near("loss_g", rig_metric(shared, "loss_g"), rig_metric(both, "loss_g"), 1e-9);
    /* and the updated D is what G's loss of the second phase sees */
    double before = rig_metric(shared, "loss_g");
    rig_fill_gan(shared, m, 0.5);
    rig_run(shared, SEED, STEP, BATCH, fake_update, m);
    assert_true(fabs(rig_metric(shared, "loss_g") - before) > 1e-3);
    same_gradients(d, shared, &nets[1]);
    rig_free(d);
    rig_free(shared);
    rig_free(both);
    gd_gan_free(m);
}

/* Fresh latents in every program run, and other ones for G than for D. */
static void latents_depend_on_step(void **state) {
    (void)state;
    gd_gan *m = make(mlp());
    rig *d = open_step(m, GD_STEP_D, 1), *g = open_step(m, GD_STEP_G, 1);
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

/* ---- ranges and metrics ---- */

static void check_range(gd_range range, double byte, double want) {
    static const gd_layer_spec d[] = {{.kind = "dense", .size = 1, .bias = 0}};
    gd_gan_spec s = mlp();
    s.range = range;
    s.generator.output = range == GD_RANGE_UNIT ? "sigmoid" : NULL;
    s.loss.kind = GD_LOSS_WASSERSTEIN;
    s.discriminator =
        (gd_net_spec){.arch = "layers", .height = 4, .width_px = 4, .channels = 1, .layers = d, .layer_count = 1};
    gd_gan *m = make(s);
    rig *r = open_step(m, GD_STEP_D, 1);
    double real[BATCH * 16], first[16] = {1};
    for (int i = 0; i < BATCH * 16; i++) real[i] = i % 16 == 0 ? byte : 77;
    rig_set(r, 0, "real", real);
    rig_set(r, 0, "D/main.0.weight", first);
    rig_run(r, SEED, STEP, BATCH, NULL, NULL);
    near("d_real", rig_metric(r, "d_real"), want, 1e-9);
    near("loss_d_real", rig_metric(r, "loss_d_real"), -want, 1e-9);
    near("loss_d", rig_metric(r, "loss_d"), rig_metric(r, "loss_d_real") + rig_metric(r, "loss_d_fake"), 1e-9);
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
    gd_gan *m = make(mlp());
    rig *r = open_step(m, GD_STEP_BOTH, 1);
    rig_fill_gan(r, m, 0);
    rig_run(r, SEED, STEP, BATCH, NULL, NULL);
    near("d_real", rig_metric(r, "d_real"), 0.5, 1e-9);
    near("d_fake", rig_metric(r, "d_fake"), 0.5, 1e-9);
    near("loss_d", rig_metric(r, "loss_d"), 2 * log(2), 1e-9);
    near("loss_g", rig_metric(r, "loss_g"), log(2), 1e-9);
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
    gd_gan *m = make(dcgan());
    double *one = room(PIXELS), *four = room(4 * PIXELS), *moved = room(4 * PIXELS);
    sample(m, 1, false, 0, one);
    sample(m, 4, false, 0, four);
    assert_true(distance(one, four, PIXELS) < 1e-12);
    sample(m, 4, false, 0.3, moved);
    assert_true(distance(four, moved, 4 * PIXELS) > 1e-3);
    /* statistics of the batch: the other way round */
    sample(m, 2, true, 0, moved);
    sample(m, 4, true, 0, four);
    assert_true(distance(moved, four, PIXELS) > 1e-3);
    double *again = room(4 * PIXELS);
    sample(m, 4, true, 0.3, again);
    assert_true(distance(four, again, 4 * PIXELS) == 0);
    for (int i = 0; i < 4 * PIXELS; i++) assert_true(fabs(four[i]) <= 1);
    free(one);
    free(four);
    free(moved);
    free(again);
    gd_gan_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_losses),        cmocka_unit_test(gradients_of_networks),
        cmocka_unit_test(gradients_of_penalties),
        cmocka_unit_test(penalty_refuses_batch_norm),
        cmocka_unit_test(shards_change_nothing),      cmocka_unit_test(local_statistics),
        cmocka_unit_test(cpu_computes_the_same),      cmocka_unit_test(sharing_changes_no_gradient),
        cmocka_unit_test(latents_depend_on_step),     cmocka_unit_test(ranges),
        cmocka_unit_test(verdicts_are_probabilities), cmocka_unit_test(sampler_uses_running_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
