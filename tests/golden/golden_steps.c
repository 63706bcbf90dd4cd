/* One training step of every variant against PyTorch (make_steps.py): gradients of the group that learns,
 * running statistics and metrics. In steps with two phases the first group is updated in between. */
#include <stdlib.h>
#include <string.h>

#include "tests/golden/golden.h"

enum { SEED = 11, STEP = 4 };
static const double rate = 0.1; /* of the update at the pause */

typedef struct golden_case {
    const char *file;
    gd_step_kind kind;
    uint64_t stream;
    gd_gan_spec spec;
} golden_case;

/* ---- running ---- */

static void set_data(const golden_case *c, rig *r, const gd_binding *d) {
    int part = d->name[5] - '0';
    int64_t n = gd_shape_count(d->shape), classes = d->shape.dim[3];
    double *file = golden_room(n), *memory = golden_room(n);
    bool label = c->spec.topology == GD_TOPOLOGY_CLASSIFIER && part == 1;
    for (int64_t i = 0; i < n; i++) {
        double u = rig_number(c->stream + 8000 + (uint64_t)part, (uint64_t)(label ? i / classes : i)) + 1;
        file[i] = label ? i % classes == (int64_t)(u / 2 * (double)classes) : (double)(int)(u * 128);
    }
    golden_to_memory(d->shape, golden_image_perm, file, memory);
    rig_set(r, 0, d->name, label ? file : memory);
    free(file);
    free(memory);
}

static void set_pooled(const golden_case *c, rig *r, const gd_binding *d) {
    int64_t n = gd_shape_count(d->shape);
    double *file = golden_room(n), *memory = golden_room(n);
    rig_numbers(c->stream + 9000 + (uint64_t)(d->name[7] - '0'), n, 1, 0, file);
    golden_to_memory(d->shape, golden_image_perm, file, memory);
    rig_set(r, 0, d->name, memory);
    free(file);
    free(memory);
}

static void set_inputs(const golden_case *c, rig *r) {
    static const double controlled_rate = 0.375, pick[2] = {0, 1};
    for (int b = 0; b < r->n_bindings; b++) {
        const gd_binding *d = &r->bindings[b];
        if (!d->is_input) continue;
        if (!strncmp(d->name, "data:", 5)) set_data(c, r, d);
        else if (!strncmp(d->name, "pooled:", 7)) set_pooled(c, r, d);
        else if (!strcmp(d->name, "control:rate")) rig_set(r, 0, d->name, &controlled_rate);
        else if (!strcmp(d->name, "control:pick")) rig_set(r, 0, d->name, pick);
        else fail_msg("nobody knows the input %s", d->name);
    }
}

/* p -= rate * gradient, for the group that has its gradients by now. */
static void update(void *ctx, rig *r, int phase) {
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(ctx, &nets);
    assert_int_equal(phase, 1);
    for (int i = 0; i < n_nets; i++) {
        const gd_param_info *p;
        int n = gd_net_params(nets[i].net, &p);
        if (nets[i].group != (r->kind == GD_STEP_DG_SHARED ? GD_GROUP_D : GD_GROUP_G)) continue;
        for (int k = 0; k < n; k++) {
            char name[160], grad[176];
            if (p[k].buffer) continue;
            snprintf(name, sizeof name, "%s/%s", nets[i].prefix, p[k].name);
            snprintf(grad, sizeof grad, "grad:%s", name);
            int64_t count = gd_shape_count(p[k].shape);
            double *v = golden_room(count), *g = golden_room(count);
            rig_get(r, 0, name, v);
            rig_get(r, 0, grad, g);
            for (int64_t j = 0; j < count; j++) v[j] -= rate * g[j];
            rig_set(r, 0, name, v);
            free(v);
            free(g);
        }
    }
}

/* ---- comparing ---- */

/* Gradients and statistics of one network; returns how many records of the file that were. */
static int check_net(const golden *f, const rig *r, const gd_gan_net *net, double tolerance) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p), seen = 0;
    for (int k = 0; k < n; k++) {
        char name[160];
        snprintf(name, sizeof name, "%s%s/%s", p[k].buffer ? "" : "grad:", net->prefix, p[k].name);
        int b = rig_find(r, name);
        if (b < 0 || !r->bindings[b].is_output) continue;
        double *memory = golden_room(gd_shape_count(p[k].shape));
        rig_get(r, 0, name, memory);
        golden_check_param(f, name, &p[k], memory, tolerance);
        free(memory);
        seen++;
    }
    return seen;
}

static void check_case(const golden_case *c, const char *executor, double tolerance) {
    gd_gan *m;
    gd_step_graph s;
    const gd_gan_net *nets;
    rig_ok(gd_gan_new(&c->spec, &m));
    rig_ok(gd_gan_step(m, c->kind, true, 1, &s));
    rig *r = rig_new(&s, executor);
    gd_step_graph_free(&s);
    r->kind = c->kind;
    int n_nets = gd_gan_nets(m, &nets), seen = 0;
    for (int i = 0; i < n_nets; i++) golden_fill(r, nets[i].net, nets[i].prefix, c->stream + 1000 * (uint64_t)i);
    set_inputs(c, r);
    rig_run(r, SEED, STEP, c->spec.global_batch, update, m);
    golden *f = golden_open(c->file);
    for (int i = 0; i < n_nets; i++) seen += check_net(f, r, &nets[i], tolerance);
    for (int i = 0; i < f->n; i++) {
        const char *name = f->record[i].name;
        if (strncmp(name, "metric:", 7)) continue;
        double value = rig_metric(r, name + 7);
        golden_check(f, name, 1, &value, tolerance);
        seen++;
    }
    assert_int_equal(seen, f->n); /* every record was compared */
    golden_close(f);
    rig_free(r);
    gd_gan_free(m);
}

/* ---- the cases ---- */

#define SQUARE(side, c) .height = (side), .width_px = (side), .channels = (c)

static const gd_layer_spec critic[] = {
    {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "layer", .act = "leaky", .bias = -1},
    {.kind = "conv", .size = 4, .pad = 1, .act = "tanh", .bias = -1},
    {.kind = "conv", .size = 1, .pad = 1, .bias = -1},
};
static const gd_layer_spec labels[] = {
    {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "flatten"},
    {.kind = "dense", .size = 5, .bias = 1},
};

static gd_gan_spec pix2pix(void) {
    return (gd_gan_spec){.topology = GD_TOPOLOGY_PAIRED,
                         .generator = {.arch = "unet", SQUARE(16, 1), .in_channels = 2, .width = 2},
                         .discriminator = {.arch = "patchgan", SQUARE(16, 3), .width = 2, .depth = 1},
                         .loss = {.d_scale = 0.5},
                         .terms = {.l1 = 100},
                         .global_batch = 3,
                         .sync = true};
}

static gd_gan_spec cyclegan(double identity, bool pool) {
    return (gd_gan_spec){
        .topology = GD_TOPOLOGY_TWO_WAY,
        .generator = {.arch = "resnet", SQUARE(16, 3), .in_channels = 3, .width = 2, .depth = 1},
        .discriminator = {.arch = "patchgan", SQUARE(16, 3), .width = 2, .depth = 1, .norm = "instance"},
        .loss = {.kind = GD_LOSS_LEAST_SQUARES, .g_scale = 2},
        .terms = {.cycle_a = 10, .cycle_b = 10, .identity = identity},
        .pool = pool,
        .global_batch = 2,
        .sync = true};
}

static gd_gan_spec disco(void) {
    return (gd_gan_spec){
        .topology = GD_TOPOLOGY_TWO_WAY,
        .generator = {.arch = "disco", SQUARE(16, 1), .in_channels = 2, .width = 2, .output = "sigmoid"},
        .discriminator = {.arch = "disco", SQUARE(16, 1), .width = 2},
        .loss = {.d_scale = 0.5, .g_scale = 0.1},
        .terms = {.cycle_a = 1, .cycle_b = 1, .cycle_square = true, .feature = 0.9, .rate = true},
        .range = GD_RANGE_UNIT,
        .global_batch = 4,
        .sync = true};
}

static gd_gan_spec noise(gd_loss_spec loss, gd_penalty_spec penalty) {
    return (gd_gan_spec){.generator = {.arch = "mlp", SQUARE(8, 1), .latent = 5, .width = 6, .depth = 2},
                         .discriminator = {.arch = "layers", SQUARE(8, 1), .layers = critic, .layer_count = 3},
                         .latent = GD_LATENT_UNIFORM,
                         .loss = loss,
                         .penalty = penalty,
                         .global_batch = 4,
                         .sync = true};
}

static gd_gan_spec classifier(void) {
    return (gd_gan_spec){
        .topology = GD_TOPOLOGY_CLASSIFIER,
        .discriminator = {.arch = "layers", SQUARE(8, 2), .classes = 5, .layers = labels, .layer_count = 3},
        .global_batch = 6,
        .sync = true};
}

#define LOSS(...)    ((gd_loss_spec){__VA_ARGS__})
#define PENALTY(...) ((gd_penalty_spec){__VA_ARGS__})

static void check_images(const char *executor, double tolerance) {
    const golden_case cases[] = {
        {"steps_pix2pix.bin", GD_STEP_DG_SHARED, 200000, pix2pix()},
        {"steps_cyclegan.bin", GD_STEP_GD_SHARED, 210000, cyclegan(0, true)},
        {"steps_cyclegan_identity.bin", GD_STEP_GD_SHARED, 220000, cyclegan(0.5, false)},
        {"steps_disco_d.bin", GD_STEP_D, 230000, disco()},
        {"steps_disco_g.bin", GD_STEP_G, 240000, disco()},
        {"steps_classifier.bin", GD_STEP_D, 360000, classifier()},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i], executor, tolerance);
}

static void check_noise(const char *executor, double tolerance) {
    const gd_loss_spec wasserstein = {.kind = GD_LOSS_WASSERSTEIN}, hinge = {.kind = GD_LOSS_HINGE}, plain = {0};
    const gd_penalty_spec none = {0}, gp = {.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1};
    const golden_case cases[] = {
        {"steps_wgan_gp_d.bin", GD_STEP_D, 250000, noise(wasserstein, gp)},
        {"steps_one_sided_d.bin", GD_STEP_D, 260000,
         noise(wasserstein, PENALTY(.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 0.5, .one_sided = true))},
        {"steps_r1_d.bin", GD_STEP_D, 270000, noise(plain, PENALTY(.kind = GD_PENALTY_R1, .lambda = 10))},
        {"steps_dragan_d.bin", GD_STEP_D, 280000,
         noise(plain, PENALTY(.kind = GD_PENALTY_DRAGAN, .lambda = 10, .target = 1))},
        {"steps_hinge_d.bin", GD_STEP_D, 290000, noise(hinge, none)},
        {"steps_picked_d.bin", GD_STEP_D, 300000,
         noise(wasserstein, PENALTY(.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1, .pick = 2))},
        {"steps_smooth_d.bin", GD_STEP_D, 310000, noise(LOSS(.label_real = 0.9), none)},
        {"steps_wgan_gp_g.bin", GD_STEP_G, 330000, noise(wasserstein, none)},
        {"steps_hinge_g.bin", GD_STEP_G, 340000, noise(hinge, none)},
        {"steps_blend_g.bin", GD_STEP_G, 350000, noise(LOSS(.kind = GD_LOSS_BLEND, .minimax = 0.25), none)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i], executor, tolerance);
}

/* Doubles on both sides: what differs is the order of sums, and the 1e-12 under the penalty's root. */
static void ref_agrees(void **state) {
    (void)state;
    check_images("ref", 1e-9);
    check_noise("ref", 1e-9);
}

/* Floats. The long chain of instance norms of CycleGAN's step amplifies rounding: PyTorch in float32 is
 * off by 2.2e-5 there. */
static void cpu_agrees(void **state) {
    (void)state;
    check_images("cpu", 3e-5);
    check_noise("cpu", 1e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ref_agrees), cmocka_unit_test(cpu_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
