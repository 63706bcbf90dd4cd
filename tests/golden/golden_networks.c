/* Forward passes, gradients and running statistics of whole networks against PyTorch (make.py). */
#include <stdlib.h>
#include <string.h>

#include "tests/golden/golden.h"

static const gd_layer_spec every_layer[] = {
    {.kind = "dense", .size = 96, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "reshape", .shape = {4, 4, 6}},
    {.kind = "upsample"},
    {.kind = "conv", .size = 5, .pad = -1, .norm = "instance", .act = "leaky", .bias = -1},
    {.kind = "deconv", .size = 4, .pad = -1, .norm = "layer", .act = "relu", .bias = -1},
    {.kind = "avgpool"},
    {.kind = "conv", .size = 3, .kernel = 5, .pad = -1, .act = "tanh", .bias = -1},
};

/* What else is compared: feature maps (part of the loss, too), the gradients of a gradient penalty, and spectral norm after
 * three training passes (evaluated behind them, not before). */
typedef enum extra { PLAIN, FEATURES, PENALTY, SPECTRAL } extra;

static const struct example {
    const char *file, *prefix;
    uint64_t stream;
    int64_t n;
    gd_net_spec net;
    extra extra;
} examples[] = {
// clang-format off
#define IMAGE(h, w, c) .height = h, .width_px = w, .channels = c
#define FROM_LATENT(z) .generator = true, .latent = z
#define FROM_IMAGE(c) .generator = true, .in_channels = c
    {"dcgan32.bin", "G", 10000, 4, {.arch = "dcgan", FROM_LATENT(6), IMAGE(32, 32, 3), .width = 4}, PLAIN},
    {"dcgan32.bin", "D", 11000, 4, {.arch = "dcgan", IMAGE(32, 32, 3), .width = 4}, PLAIN},
    {"dcgan64.bin", "G", 20000, 3, {.arch = "dcgan", FROM_LATENT(5), IMAGE(64, 64, 1), .width = 4}, PLAIN},
    {"dcgan64.bin", "D", 21000, 3, {.arch = "dcgan", IMAGE(64, 64, 1), .width = 4}, PLAIN},
    {"dcgan128.bin", "G", 30000, 2, {.arch = "dcgan", FROM_LATENT(4), IMAGE(128, 128, 3), .width = 2}, PLAIN},
    {"dcgan128.bin", "D", 31000, 2, {.arch = "dcgan", IMAGE(128, 128, 3), .width = 2}, PLAIN},
    {"maxout.bin", "G", 40000, 5, {.arch = "mlp", FROM_LATENT(7), IMAGE(4, 6, 2), .width = 20, .output = "sigmoid"}, PLAIN},
    {"maxout.bin", "D", 41000, 5, {.arch = "mlp", IMAGE(4, 6, 2), .width = 6}, PLAIN},
    {"wgan.bin", "G", 50000, 4,
     {.arch = "mlp", FROM_LATENT(7), IMAGE(6, 6, 3), .width = 12, .depth = 3, .output = "none"}, PLAIN},
    {"wgan.bin", "D", 51000, 4, {.arch = "mlp", IMAGE(6, 6, 3), .width = 12, .depth = 3, .act = "relu"}, PLAIN},
    {"wgan.bin", "N", 52000, 3, {.arch = "dcgan", FROM_LATENT(5), IMAGE(32, 32, 3), .width = 2, .norm = "none"}, PLAIN},
    {"wgan.bin", "L", 53000, 4,
     {.arch = "layers", FROM_LATENT(7), IMAGE(8, 8, 3), .layers = every_layer,
      .layer_count = sizeof every_layer / sizeof *every_layer}, PLAIN},
    {"unet.bin", "B", 100000, 2, {.arch = "unet", FROM_IMAGE(3), IMAGE(64, 64, 2), .width = 2}, PLAIN},
    {"unet.bin", "I", 101000, 2, {.arch = "unet", FROM_IMAGE(1), IMAGE(32, 64, 3), .width = 2, .norm = "instance"}, PLAIN},
    {"unet.bin", "N", 102000, 2, {.arch = "unet", FROM_IMAGE(3), IMAGE(16, 8, 3), .width = 3, .norm = "none"}, PLAIN},
    {"patchgan.bin", "3", 110000, 3, {.arch = "patchgan", IMAGE(32, 40, 4), .width = 3}, PLAIN},
    {"patchgan.bin", "1", 111000, 2,
     {.arch = "patchgan", IMAGE(16, 16, 3), .width = 4, .depth = 1, .norm = "instance"}, PLAIN},
    {"patchgan.bin", "5", 112000, 2, {.arch = "patchgan", IMAGE(96, 96, 3), .width = 1, .depth = 5, .norm = "none"}, PLAIN},
    {"patchgan.bin", "X", 113000, 2, {.arch = "pixel", IMAGE(6, 5, 4), .width = 5}, PLAIN},
    {"patchgan.bin", "Y", 114000, 2, {.arch = "pixel", IMAGE(4, 4, 3), .width = 5, .norm = "instance"}, PLAIN},
    {"resnet.bin", "I", 120000, 2, {.arch = "resnet", FROM_IMAGE(3), IMAGE(16, 20, 2), .width = 3, .depth = 2}, PLAIN},
    {"resnet.bin", "B", 121000, 3,
     {.arch = "resnet", FROM_IMAGE(1), IMAGE(12, 8, 3), .width = 3, .depth = 1, .norm = "batch"}, PLAIN},
    {"resnet_gp_g.bin", "G32", 130000, 3, {.arch = "resnet-gp", FROM_LATENT(6), IMAGE(32, 32, 3), .width = 4}, PLAIN},
    {"resnet_gp_g.bin", "G64", 131000, 2, {.arch = "resnet-gp", FROM_LATENT(5), IMAGE(64, 64, 1), .width = 2}, PLAIN},
    {"resnet_gp_d.bin", "D32", 140000, 3, {.arch = "resnet-gp", IMAGE(32, 32, 3), .width = 4}, PENALTY},
    {"resnet_gp_d.bin", "D64", 141000, 2, {.arch = "resnet-gp", IMAGE(64, 64, 1), .width = 2}, PENALTY},
    {"resnet_gp_d.bin", "L32", 142000, 2, {.arch = "resnet-gp", IMAGE(32, 32, 1), .width = 3, .norm = "layer"}, PENALTY},
    {"disco.bin", "G64", 150000, 2, {.arch = "disco", FROM_IMAGE(3), IMAGE(64, 64, 2), .width = 2, .output = "sigmoid"}, PLAIN},
    {"disco.bin", "G32", 151000, 2, {.arch = "disco", FROM_IMAGE(1), IMAGE(32, 64, 3), .width = 3, .output = "sigmoid"}, PLAIN},
    {"disco.bin", "D64", 152000, 2, {.arch = "disco", IMAGE(64, 64, 3), .width = 2}, FEATURES},
    {"disco.bin", "D32", 153000, 3, {.arch = "disco", IMAGE(32, 32, 1), .width = 3}, FEATURES},
    {"dcgan_k5.bin", "G28", 170000, 2, {.arch = "dcgan-k5", FROM_LATENT(5), IMAGE(28, 28, 1), .width = 2}, PLAIN},
    {"dcgan_k5.bin", "G32", 171000, 3, {.arch = "dcgan-k5", FROM_LATENT(5), IMAGE(32, 32, 3), .width = 2}, PLAIN},
    {"dcgan_k5.bin", "G64", 172000, 2, {.arch = "dcgan-k5", FROM_LATENT(5), IMAGE(64, 64, 1), .width = 2}, PLAIN},
    {"dcgan_k5.bin", "D28", 173000, 2, {.arch = "dcgan-k5", IMAGE(28, 28, 1), .width = 2}, PENALTY},
    {"dcgan_k5.bin", "D32", 174000, 2, {.arch = "dcgan-k5", IMAGE(32, 32, 3), .width = 2}, PENALTY},
    {"dcgan_k5.bin", "D64", 175000, 2, {.arch = "dcgan-k5", IMAGE(64, 64, 1), .width = 2}, PENALTY},
    {"spectral.bin", "D", 160000, 3, {.arch = "dcgan", IMAGE(32, 32, 3), .width = 4, .spectral = true}, SPECTRAL},
    {"spectral.bin", "G", 161000, 3, {.arch = "dcgan", FROM_LATENT(5), IMAGE(32, 32, 3), .width = 2, .spectral = true}, SPECTRAL},
    {"spectral.bin", "M", 162000, 4,
     {.arch = "mlp", IMAGE(4, 4, 3), .width = 9, .depth = 2, .act = "relu", .spectral = true}, SPECTRAL},
    // clang-format on
};

enum { OUTPUTS_MAX = 160, PARAMS_MAX = 96, NAME_MAX = 160, FEATURES_MAX = 8 };

typedef struct work {
    const struct example *e;
    gd_net *net;
    gd_graph *graph;
    gd_net_use *use;
    gd_shape in, out, feature[FEATURES_MAX];
    int n_features;
    gd_output output[OUTPUTS_MAX];
    char name[OUTPUTS_MAX][NAME_MAX];
    int n_outputs;
} work;

static void add(work *w, const char *kind, const char *name, gd_node x) {
    assert_true(w->n_outputs < OUTPUTS_MAX);
    char *text = w->name[w->n_outputs];
    snprintf(text, NAME_MAX, "%s%s", kind, name);
    w->output[w->n_outputs++] = (gd_output){text, x};
}

static gd_node weighed(work *w, gd_node y, const char *cotangent) {
    gd_graph *g = w->graph;
    gd_node sum = gd_sum_all(g, gd_mul(g, y, gd_input(g, cotangent, GD_F32, gd_node_shape(g, y))));
    return gd_reshape(g, sum, gd_shape1(1));
}

/* Feature maps of the last application, as outputs, and their part of the loss. */
static gd_node features(work *w) {
    const gd_node *tap;
    gd_node loss = GD_NONE;
    w->n_features = gd_net_use_features(w->use, &tap);
    assert_true(w->n_features > 0 && w->n_features <= FEATURES_MAX);
    for (int i = 0; i < w->n_features; i++) {
        char name[32];
        snprintf(name, sizeof name, "feature%d", i);
        add(w, "", name, tap[i]);
        w->feature[i] = gd_node_shape(w->graph, tap[i]);
        snprintf(name, sizeof name, "cotangent%d", i);
        gd_node one = weighed(w, tap[i], name);
        loss = i ? gd_add(w->graph, loss, one) : one;
    }
    return loss;
}

/* Outputs "<kind><param>": d loss / d param of every parameter; first, where not NULL, d loss / d x. */
static void gradients(work *w, gd_node loss, gd_node x, const char *dx_name, const char *kind) {
    const gd_param_info *p;
    int n = gd_net_params(w->net, &p), count = 1;
    gd_node at[PARAMS_MAX] = {x}, dx[PARAMS_MAX];
    assert_true(n < PARAMS_MAX);
    for (int i = 0; i < n; i++)
        if (!p[i].buffer) at[count++] = gd_net_use_param(w->use, i);
    gd_grad(w->graph, loss, GD_NONE, count, at, dx);
    if (dx_name) add(w, "", dx_name, dx[0]);
    count = 1;
    for (int i = 0; i < n; i++)
        if (!p[i].buffer) add(w, kind, p[i].name, dx[count++]);
}

/* mean (|dD/dx| - 1)^2 and its gradients. */
static void penalty(work *w, gd_node x) {
    gd_graph *g = w->graph;
    gd_node slope, y = gd_net_apply(w->use, x, NULL);
    gd_grad(g, gd_sum_all(g, y), GD_NONE, 1, &x, &slope);
    gd_node norm = gd_sqrt(g, gd_sum(g, gd_square(g, slope), 2 | 4 | 8));
    add(w, "", "slope_norm", gd_reshape(g, norm, gd_shape1(w->e->n)));
    gradients(w, gd_mean(g, gd_square(g, gd_shift(g, norm, -1)), 1), x, NULL, "penalty:");
}

/* Evaluation pass, training pass, and the gradients of sum(y cotangent). */
static void build(work *w) {
    const gd_net_spec *s = &w->e->net;
    const gd_apply_opts eval = {.eval = true};
    gd_graph *g = w->graph;
    int64_t channels = s->in_channels ? s->in_channels : s->channels;
    w->in = s->latent ? gd_shape2(w->e->n, s->latent) : gd_shape4(w->e->n, s->height, s->width_px, channels);
    gd_node x = gd_input(g, "x", GD_F32, w->in);
    if (w->e->extra != SPECTRAL) add(w, "", "eval", gd_net_apply(w->use, x, &eval));
    for (int i = 0; w->e->extra == SPECTRAL && i < 2; i++) gd_net_apply(w->use, x, NULL);
    gd_node y = gd_net_apply(w->use, x, NULL);
    add(w, "", "y", y);
    w->out = gd_node_shape(g, y);
    gd_node loss = weighed(w, y, "cotangent");
    if (w->e->extra == FEATURES) loss = gd_add(g, loss, features(w));
    gradients(w, loss, x, "dx", "grad:");
    const gd_param_info *p;
    int n = gd_net_params(w->net, &p);
    for (int i = 0; i < n; i++)
        if (p[i].buffer) add(w, "P/", p[i].name, gd_net_use_buffer(w->use, i));
    if (w->e->extra == PENALTY) penalty(w, x);
    if (w->e->extra == SPECTRAL) add(w, "", "eval", gd_net_apply(w->use, x, &eval));
    rig_ok(gd_graph_status(g));
}

static void set_numbers(rig *r, const char *name, gd_shape s, uint64_t stream) {
    int64_t count = gd_shape_count(s);
    double *file = golden_room(count), *memory = golden_room(count);
    static const int same[GD_RANK_MAX] = {0, 1, 2, 3};
    rig_numbers(stream, count, 1, 0, file);
    golden_to_memory(s, s.rank == 4 ? golden_image_perm : same, file, memory);
    rig_set(r, 0, name, memory);
    free(file);
    free(memory);
}

static void check_tensor(const golden *f, const work *w, const rig *r, const char *name, gd_shape s, double tolerance) {
    static const int same[GD_RANK_MAX] = {0, 1, 2, 3};
    gd_param_info p = {.shape = s};
    char record[NAME_MAX];
    memcpy(p.file_perm, s.rank == 4 ? golden_image_perm : same, sizeof p.file_perm);
    double *got = golden_room(gd_shape_count(s));
    rig_get(r, 0, name, got);
    snprintf(record, sizeof record, "%s/%s", w->e->prefix, name);
    golden_check_param(f, record, &p, got, tolerance);
    free(got);
}

/* Gradients of kind "grad:" or "penalty:"; buffers with the former. */
static void check_params(const golden *f, const work *w, const rig *r, const char *kind, double tolerance) {
    const gd_param_info *p;
    int n = gd_net_params(w->net, &p);
    for (int i = 0; i < n; i++) {
        char name[NAME_MAX], record[NAME_MAX];
        if (p[i].buffer && strcmp(kind, "grad:") != 0) continue;
        snprintf(name, sizeof name, "%s%s", p[i].buffer ? "P/" : kind, p[i].name);
        snprintf(record, sizeof record, "%s/%s%s", w->e->prefix, p[i].buffer ? "" : kind, p[i].name);
        double *got = golden_room(gd_shape_count(p[i].shape));
        rig_get(r, 0, name, got);
        golden_check_param(f, record, &p[i], got, tolerance);
        free(got);
    }
}

static void check_all(const golden *f, const work *w, const rig *r, double tolerance) {
    check_tensor(f, w, r, "eval", w->out, tolerance);
    check_tensor(f, w, r, "y", w->out, tolerance);
    check_tensor(f, w, r, "dx", w->in, tolerance);
    check_params(f, w, r, "grad:", tolerance);
    for (int i = 0; i < w->n_features; i++) {
        char name[32];
        snprintf(name, sizeof name, "feature%d", i);
        check_tensor(f, w, r, name, w->feature[i], tolerance);
    }
    if (w->e->extra != PENALTY) return;
    check_tensor(f, w, r, "slope_norm", gd_shape1(w->e->n), tolerance);
    check_params(f, w, r, "penalty:", tolerance);
}

static void set_all(const work *w, rig *r) {
    uint64_t stream = w->e->stream;
    golden_fill(r, w->net, "P", stream);
    set_numbers(r, "x", w->in, stream + 900);
    set_numbers(r, "cotangent", w->out, stream + 901);
    for (int i = 0; i < w->n_features; i++) {
        char name[32];
        snprintf(name, sizeof name, "cotangent%d", i);
        set_numbers(r, name, w->feature[i], stream + 902 + (uint64_t)i);
    }
}

static void run_example(const struct example *e, const char *executor, double tolerance) {
    work w = {.e = e};
    golden *f = golden_open(e->file);
    rig_ok(gd_net_new(&e->net, &w.net));
    rig_ok(gd_graph_new(1, &w.graph));
    rig_ok(gd_net_use_new(w.net, w.graph, "P", 0, &w.use));
    build(&w);
    gd_step_graph step = {.graph = w.graph, .outputs = w.output, .n_outputs = w.n_outputs, .n_phases = 1};
    rig *r = rig_new(&step, executor);
    set_all(&w, r);
    rig_run(r, 0, 0, e->n, NULL, NULL);
    check_all(f, &w, r, tolerance);
    rig_free(r);
    gd_net_use_free(w.use);
    gd_graph_free(w.graph);
    gd_net_free(w.net);
    golden_close(f);
}

static void run_all(const char *executor, double tolerance) {
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) run_example(&examples[i], executor, tolerance);
}

static void ref_agrees(void **state) {
    (void)state;
    run_all("ref", 1e-9);
}

static void cpu_agrees(void **state) {
    (void)state;
    run_all("cpu", 1e-5);
}

/* That there is something to compare. */
static void records_are_complete(void **state) {
    (void)state;
    golden *g = golden_open("dcgan64.bin");
    assert_int_equal(golden_find(g, "G/y")->elements, 3 * 64 * 64);
    assert_true(golden_find(g, "G/y")->n > 100);
    assert_int_equal(golden_find(g, "D/grad:main.11.weight")->elements, 32 * 16);
    golden_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_complete),
        cmocka_unit_test(ref_agrees),
        cmocka_unit_test(cpu_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
