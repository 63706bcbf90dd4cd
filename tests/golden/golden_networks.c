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

static const struct example {
    const char *file, *prefix;
    uint64_t stream;
    int64_t n;
    gd_net_spec net;
} examples[] = {
    {"dcgan32.bin",
     "G",
     10000,
     4,
     {.arch = "dcgan", .generator = true, .latent = 6, .height = 32, .width_px = 32, .channels = 3, .width = 4}},
    {"dcgan32.bin", "D", 11000, 4, {.arch = "dcgan", .height = 32, .width_px = 32, .channels = 3, .width = 4}},
    {"dcgan64.bin",
     "G",
     20000,
     3,
     {.arch = "dcgan", .generator = true, .latent = 5, .height = 64, .width_px = 64, .channels = 1, .width = 4}},
    {"dcgan64.bin", "D", 21000, 3, {.arch = "dcgan", .height = 64, .width_px = 64, .channels = 1, .width = 4}},
    {"dcgan128.bin",
     "G",
     30000,
     2,
     {.arch = "dcgan", .generator = true, .latent = 4, .height = 128, .width_px = 128, .channels = 3, .width = 2}},
    {"dcgan128.bin", "D", 31000, 2, {.arch = "dcgan", .height = 128, .width_px = 128, .channels = 3, .width = 2}},
    {"maxout.bin",
     "G",
     40000,
     5,
     {.arch = "mlp",
      .generator = true,
      .latent = 7,
      .height = 4,
      .width_px = 6,
      .channels = 2,
      .width = 20,
      .output = "sigmoid"}},
    {"maxout.bin", "D", 41000, 5, {.arch = "mlp", .height = 4, .width_px = 6, .channels = 2, .width = 6}},
    {"wgan.bin",
     "G",
     50000,
     4,
     {.arch = "mlp",
      .generator = true,
      .latent = 7,
      .height = 6,
      .width_px = 6,
      .channels = 3,
      .width = 12,
      .depth = 3,
      .output = "none"}},
    {"wgan.bin",
     "D",
     51000,
     4,
     {.arch = "mlp", .height = 6, .width_px = 6, .channels = 3, .width = 12, .depth = 3, .act = "relu"}},
    {"wgan.bin",
     "N",
     52000,
     3,
     {.arch = "dcgan",
      .generator = true,
      .latent = 5,
      .height = 32,
      .width_px = 32,
      .channels = 3,
      .width = 2,
      .norm = "none"}},
    {"wgan.bin",
     "L",
     53000,
     4,
     {.arch = "layers",
      .generator = true,
      .latent = 7,
      .height = 8,
      .width_px = 8,
      .channels = 3,
      .layers = every_layer,
      .layer_count = sizeof every_layer / sizeof *every_layer}},
};

enum { OUTPUTS_MAX = 64 };

typedef struct work {
    const struct example *e;
    gd_net *net;
    gd_graph *graph;
    gd_net_use *use;
    gd_shape in, out;
    gd_output output[OUTPUTS_MAX];
    char name[OUTPUTS_MAX][64];
    int n_outputs;
} work;

static void add(work *w, const char *kind, const char *name, gd_node x) {
    assert_true(w->n_outputs < OUTPUTS_MAX);
    char *text = w->name[w->n_outputs];
    snprintf(text, 64, "%s%s", kind, name);
    w->output[w->n_outputs++] = (gd_output){text, x};
}

/* Evaluation pass, training pass, and the gradients of sum(y cotangent). */
static void build(work *w) {
    const gd_net_spec *s = &w->e->net;
    gd_graph *g = w->graph;
    w->in = s->generator ? gd_shape2(w->e->n, s->latent) : gd_shape4(w->e->n, s->height, s->width_px, s->channels);
    gd_node x = gd_input(g, "x", GD_F32, w->in);
    add(w, "", "eval", gd_net_apply(w->use, x, &(gd_apply_opts){.eval = true}));
    gd_node y = gd_net_apply(w->use, x, NULL);
    add(w, "", "y", y);
    w->out = gd_node_shape(g, y);
    gd_node loss = gd_sum_all(g, gd_mul(g, y, gd_input(g, "cotangent", GD_F32, w->out)));
    const gd_param_info *p;
    int n = gd_net_params(w->net, &p), count = 0;
    gd_node at[OUTPUTS_MAX], dx[OUTPUTS_MAX];
    at[count++] = x;
    for (int i = 0; i < n; i++)
        if (!p[i].buffer) at[count++] = gd_net_use_param(w->use, i);
    gd_grad(g, loss, GD_NONE, count, at, dx);
    add(w, "", "dx", dx[0]);
    count = 1;
    for (int i = 0; i < n; i++) {
        if (p[i].buffer) add(w, "P/", p[i].name, gd_net_use_buffer(w->use, i));
        else add(w, "grad:", p[i].name, dx[count++]);
    }
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
    char record[64];
    memcpy(p.file_perm, s.rank == 4 ? golden_image_perm : same, sizeof p.file_perm);
    double *got = golden_room(gd_shape_count(s));
    rig_get(r, 0, name, got);
    snprintf(record, sizeof record, "%s/%s", w->e->prefix, name);
    golden_check_param(f, record, &p, got, tolerance);
    free(got);
}

static void check_params(const golden *f, const work *w, const rig *r, double tolerance) {
    const gd_param_info *p;
    int n = gd_net_params(w->net, &p);
    for (int i = 0; i < n; i++) {
        char name[64], record[64];
        snprintf(name, sizeof name, "%s%s", p[i].buffer ? "P/" : "grad:", p[i].name);
        snprintf(record, sizeof record, "%s/%s%s", w->e->prefix, p[i].buffer ? "" : "grad:", p[i].name);
        double *got = golden_room(gd_shape_count(p[i].shape));
        rig_get(r, 0, name, got);
        golden_check_param(f, record, &p[i], got, tolerance);
        free(got);
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
    golden_fill(r, w.net, "P", e->stream);
    set_numbers(r, "x", w.in, e->stream + 900);
    set_numbers(r, "cotangent", w.out, e->stream + 901);
    rig_run(r, 0, 0, e->n, NULL, NULL);
    check_tensor(f, &w, r, "eval", w.out, tolerance);
    check_tensor(f, &w, r, "y", w.out, tolerance);
    check_tensor(f, &w, r, "dx", w.in, tolerance);
    check_params(f, &w, r, tolerance);
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
    run_all("cpu", 1e-4);
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
