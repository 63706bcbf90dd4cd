/* Speed of the executor cpu, op by op: the convolutions of the public networks in three directions and
 * the fused groups around them.
 *   test_bench_ops [batch 64] [threads 0: all] [seconds a measurement 0.3] [network ...] [timed] [halves]
 * network: dcgan, unet, patchgan, resnet, critic, groups; none: all. bf16: the networks named (dcgan) in bf16 too; only16:
 * in bf16 only. timed: implementations are chosen by timing (choice.h) and the times of all candidates, taken in turns,
 * end the output. halves: they may be taken (numerics.tf32).
 * Prints nominal GFLOP/s (padding counted, all multiplications of a direct convolution), their share of the peak (a
 * large matrix product; more than all of it where Winograd multiplies less), the floor by it, and GB/s (each tensor of
 * a group counted once). The best of many runs, as other work on a machine only ever adds; even so compare only numbers
 * of one run. */
#include <stdio.h>
#include <time.h>

#include "compute/cpu/choice_table.h"
#include "compute/cpu/group.h"
#include "tests/unit/cpu_rig.h"

static double budget = 0.3, peak; /* seconds; FLOP/s */

/* With one thread its own CPU time, which other work on the machine disturbs less. */
static double now(void) {
    struct timespec t;
    clock_gettime(gd__threads_wanted() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of the best run of the step with these nodes. */
static double measure(rig *r, int n_nodes, const gd_node *nodes, char text[128]) {
    const gd_executor *cpu = gd_executor_cpu();
    gd_exec_step step = {.n_nodes = n_nodes, .fused = n_nodes > 1};
    gd_view v = r->view;
    v.n_steps = 1;
    v.steps = &step;
    v.step_nodes = nodes;
    void *state;
    size_t scratch = 0, shared = 0;
    rig_ok(cpu->prepare(&v, &scratch, &shared, &state));
    gd_memory m = rig_memory(r, scratch);
    double best = 1e9, start = now();
    rig_ok(cpu->run(state, &v, 0, &m));
    for (int n = 0; n < 5 || now() - start < budget; n++) {
        double t0 = now();
        rig_ok(cpu->run(state, &v, 0, &m));
        double t = now() - t0;
        if (t < best) best = t;
    }
    snprintf(text, 128, "%s", cpu->describe_step(state, &v, 0));
    cpu->release(state);
    return best;
}

static gd_node leaf(gd_graph *g, const char *name, gd_shape s, gd_dtype t) {
    gd_attr a = {.shape = s, .kind = (int32_t)t};
    return gd__add_leaf(g, GD_OP_INPUT, name, &a);
}

/* FLOP/s of a matrix product of the library on the same threads: what the floor of a layer is counted by. */
static double peak_rate(void) {
    enum { SIDE = 1024 };
    size_t bytes = SIDE * SIDE * sizeof(float);
    float *a = rig_alloc(bytes), *b = rig_alloc(bytes), *c = rig_alloc(bytes);
    double best = 1e9, start = now();
    for (int i = 0; i < SIDE * SIDE; i++) a[i] = b[i] = (float)(i % 7) * 0.1f;
    for (int n = 0; n < 5 || now() - start < budget; n++) {
        double t0 = now();
        rig_ok(gd_dnnl_sgemm(false, false, SIDE, SIDE, SIDE, a, b, c));
        double t = now() - t0;
        if (t < best) best = t;
    }
    free(a);
    free(b);
    free(c);
    return 2.0 * SIDE * SIDE * SIDE / best;
}

/* ---- convolutions ---- */

typedef struct layer {
    int64_t h, c, k, r; /* image side and channels of x, filters, kernel side */
    int32_t stride, pad;
} layer;

enum { MAX_LAYERS = 20 };
typedef struct net_layers {
    const char *name;
    int64_t batch; /* 0: as the command line says */
    layer layers[MAX_LAYERS];
} net_layers;

/* Transposed layers stand for themselves turned round: their forward pass is conv_dx, their data pass conv. */
static const net_layers nets[] = {
    // clang-format off
    {"dcgan", 0, {{64, 3, 64, 4, 2, 1}, {32, 64, 128, 4, 2, 1}, {16, 128, 256, 4, 2, 1}, {8, 256, 512, 4, 2, 1},
                  {4, 512, 1, 4, 1, 0}, {4, 512, 100, 4, 1, 0}}},
    {"unet", 1, {{256, 3, 64, 4, 2, 1}, {128, 64, 128, 4, 2, 1}, {64, 128, 256, 4, 2, 1}, {32, 256, 512, 4, 2, 1},
                 {16, 512, 512, 4, 2, 1}, {8, 512, 512, 4, 2, 1}, {4, 512, 512, 4, 2, 1}, {2, 512, 512, 4, 2, 1},
                 {4, 512, 1024, 4, 2, 1}, {8, 512, 1024, 4, 2, 1}, {16, 512, 1024, 4, 2, 1}, {32, 256, 1024, 4, 2, 1},
                 {64, 128, 512, 4, 2, 1}, {128, 64, 256, 4, 2, 1}, {256, 3, 128, 4, 2, 1}}},
    {"patchgan", 1, {{256, 6, 64, 4, 2, 1}, {128, 64, 128, 4, 2, 1}, {64, 128, 256, 4, 2, 1}, {32, 256, 512, 4, 1, 1},
                     {31, 512, 1, 4, 1, 1}, {128, 3, 64, 4, 2, 1}, {64, 64, 128, 4, 2, 1}, {32, 128, 256, 4, 2, 1},
                     {16, 256, 512, 4, 1, 1}, {15, 512, 1, 4, 1, 1}}},
    {"resnet", 1, {{134, 3, 64, 7, 1, 0}, {128, 64, 128, 3, 2, 1}, {64, 128, 256, 3, 2, 1}, {34, 256, 256, 3, 1, 0},
                   {66, 256, 256, 3, 1, 0}, {134, 64, 3, 7, 1, 0}}},
    {"critic", 0, {{32, 3, 128, 3, 1, 1}, {32, 128, 128, 3, 1, 1}, {16, 128, 128, 3, 1, 1}, {8, 128, 128, 3, 1, 1},
                   {64, 64, 64, 3, 1, 1}, {32, 64, 128, 3, 1, 1}, {8, 512, 512, 3, 1, 1}, {16, 128, 128, 1, 1, 0}}},
    // clang-format on
};

static double one_conv(gd_op op, int64_t batch, const layer *l, gd_dtype t, char text[128], double *work) {
    gd_graph *g;
    rig r;
    char why[160];
    gd_shape x = gd_shape4(batch, l->h, l->h, l->c), w = gd_shape4(l->k, l->r, l->r, l->c), y;
    gd_attr a = {.stride = l->stride, .pad = {l->pad, l->pad, l->pad, l->pad}};
    assert_true(gd__conv_shape(x, w, &a, &y, why));
    *work = 2.0 * (double)gd_shape_count(y) * (double)(l->r * l->r * l->c);
    rig_ok(gd_graph_new(1, &g));
    gd_node in0 = leaf(g, "a", op == GD_OP_CONV_DX ? y : x, t), in1 = leaf(g, "b", op == GD_OP_CONV_DW ? y : w, t);
    if (op != GD_OP_CONV_DW) a.kind = (int32_t)t;
    a.shape = op == GD_OP_CONV_DX ? x : op == GD_OP_CONV_DW ? w : (gd_shape){0};
    gd_node n = gd__add(g, op, in0, in1, &a);
    rig_open(&r, g);
    rig_fill(&r, in0, 1, 1);
    rig_fill(&r, in1, 2, 1);
    double seconds = measure(&r, 1, &n, text);
    rig_close(&r);
    return seconds;
}

static void convolutions(const net_layers *net, int64_t batch, gd_dtype t) {
    static const gd_op ops[] = {GD_OP_CONV, GD_OP_CONV_DX, GD_OP_CONV_DW};
    double sum[3] = {0}, flops = 0;
    if (net->batch) batch = net->batch;
    printf("%s, %s, batch %lld\n", net->name, gd_dtype_text(t), (long long)batch);
    for (const layer *l = net->layers; l < net->layers + MAX_LAYERS && l->h; l++) {
        double work = 0;
        for (int o = 0; o < 3; o++) {
            char text[128];
            double s = one_conv(ops[o], batch, l, t, text, &work);
            sum[o] += s;
            printf(
                "  %-8s %3lldx%-3lld %4lld -> %-4lld %lldx%lld/%d %8.3f ms (floor %8.3f) %7.1f GFLOP/s %4.0f %%  %s\n",
                gd_op_text(ops[o]), (long long)l->h, (long long)l->h, (long long)l->c, (long long)l->k, (long long)l->r,
                (long long)l->r, (int)l->stride, 1e3 * s, 1e3 * work / peak, 1e-9 * work / s, 100 * work / s / peak,
                text);
            fflush(stdout);
        }
        flops += work;
    }
    printf("  all      forward %.1f ms (%.0f GFLOP/s), dx %.1f (%.0f), dw %.1f (%.0f)\n", 1e3 * sum[0],
           1e-9 * flops / sum[0], 1e3 * sum[1], 1e-9 * flops / sum[1], 1e3 * sum[2], 1e-9 * flops / sum[2]);
}

/* ---- groups ---- */

typedef struct net {
    gd_graph *g;
    gd_shape full, small;
    int n;
    gd_node member[32];
    gd_node in[8];
    int n_in;
} net;

static gd_node input(net *b, const char *name, gd_shape s) { return b->in[b->n_in++] = leaf(b->g, name, s, GD_F32); }
static gd_node add(net *b, gd_op op, gd_node x, gd_node y, gd_attr a) {
    return b->member[b->n++] = gd__add(b->g, op, x, y, &a);
}
static gd_node wide(net *b, const char *name) {
    return add(b, GD_OP_BROADCAST, input(b, name, b->small), GD_NONE, (gd_attr){.shape = b->full});
}

/* Sums of x and x squared over all but the channels. */
static void statistics(net *b) {
    gd_node x = input(b, "x", b->full);
    add(b, GD_OP_SUM, x, GD_NONE, (gd_attr){.axes = 7});
    add(b, GD_OP_SUM, add(b, GD_OP_SQUARE, x, GD_NONE, (gd_attr){0}), GD_NONE, (gd_attr){.axes = 7});
}

/* leaky((x - mean) * rstd * scale + shift) */
static void normalise(net *b) {
    gd_node x = add(b, GD_OP_SUB, input(b, "x", b->full), wide(b, "mean"), (gd_attr){0});
    x = add(b, GD_OP_MUL, add(b, GD_OP_MUL, x, wide(b, "rstd"), (gd_attr){0}), wide(b, "scale"), (gd_attr){0});
    x = add(b, GD_OP_ADD, x, wide(b, "shift"), (gd_attr){0});
    add(b, GD_OP_LEAKY, x, GD_NONE, (gd_attr){.value = 0.2});
}

/* Sums of g and g * xhat with g = dy * leaky'(y), xhat = (x - mean) * rstd. */
static void backward_sums(net *b) {
    gd_node slope = add(b, GD_OP_LEAKY_SLOPE, input(b, "y", b->full), GD_NONE, (gd_attr){.value = 0.2});
    gd_node g = add(b, GD_OP_MUL, input(b, "dy", b->full), slope, (gd_attr){0});
    gd_node x = add(b, GD_OP_SUB, input(b, "x", b->full), wide(b, "mean"), (gd_attr){0});
    x = add(b, GD_OP_MUL, x, wide(b, "rstd"), (gd_attr){0});
    add(b, GD_OP_SUM, g, GD_NONE, (gd_attr){.axes = 7});
    add(b, GD_OP_SUM, add(b, GD_OP_MUL, g, x, (gd_attr){0}), GD_NONE, (gd_attr){.axes = 7});
}

/* (g - m1 - xhat * m2) * rstd */
static void backward_x(net *b) {
    gd_node slope = add(b, GD_OP_LEAKY_SLOPE, input(b, "y", b->full), GD_NONE, (gd_attr){.value = 0.2});
    gd_node g = add(b, GD_OP_MUL, input(b, "dy", b->full), slope, (gd_attr){0}), rstd = wide(b, "rstd");
    gd_node x = add(b, GD_OP_SUB, input(b, "x", b->full), wide(b, "mean"), (gd_attr){0});
    x = add(b, GD_OP_MUL, x, rstd, (gd_attr){0});
    g = add(b, GD_OP_SUB, g, wide(b, "m1"), (gd_attr){0});
    g = add(b, GD_OP_SUB, g, add(b, GD_OP_MUL, x, wide(b, "m2"), (gd_attr){0}), (gd_attr){0});
    add(b, GD_OP_MUL, g, rstd, (gd_attr){0});
}

static void tanh_only(net *b) { add(b, GD_OP_TANH, input(b, "x", b->full), GD_NONE, (gd_attr){0}); }

static void group(const char *name, void (*build)(net *), gd_shape full) {
    net b = {.full = full, .small = gd_shape4(1, 1, 1, full.dim[3])};
    rig r;
    char text[128], shape[96];
    rig_ok(gd_graph_new(1, &b.g));
    build(&b);
    rig_open(&r, b.g);
    double bytes = 0;
    for (int i = 0; i < b.n_in; i++) {
        rig_fill(&r, b.in[i], (uint32_t)i, 1);
        bytes += (double)rig_bytes(&r, b.in[i]);
    }
    for (int i = 0; i < b.n; i++) { /* only ends are stored */
        bool used = false;
        for (int k = i + 1; k < b.n; k++) {
            const gd_node_info *u = gd_graph_at(b.g, b.member[k]);
            used = used || u->in[0] == b.member[i] || u->in[1] == b.member[i];
        }
        r.stored[b.member[i]] = !used;
        if (!used) bytes += (double)rig_bytes(&r, b.member[i]);
    }
    double s = measure(&r, b.n, b.member, text);
    gd_shape_text(full, shape);
    printf("  %-14s %-16s %7.3f ms %6.1f GB/s  %s\n", name, shape, 1e3 * s, 1e-9 * bytes / s, text);
    rig_close(&r);
}

static void groups(int64_t batch) {
    static const int64_t maps[][2] = {{64, 3}, {32, 64}, {16, 128}, {8, 256}, {4, 512}};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        gd_shape s = gd_shape4(batch, maps[i][0], maps[i][0], maps[i][1]);
        group("statistics", statistics, s);
        group("normalise", normalise, s);
        group("backward sums", backward_sums, s);
        group("backward x", backward_x, s);
        group("tanh", tanh_only, s);
    }
}

static bool named(const char *name, int argc, char **argv) {
    for (int i = 4; i < argc; i++)
        if (!strcmp(argv[i], name)) return true;
    return false;
}

/* No network is named, or this one. */
static bool wanted(const char *name, int argc, char **argv) {
    static const char *const others[] = {"timed", "bf16", "only16"};
    int words = argc - 4;
    for (int i = 0; i < 3; i++) words -= named(others[i], argc, argv);
    return words <= 0 || named(name, argc, argv);
}

static void print_choices(void) {
    char *text;
    rig_ok(gd_choice_export(&text));
    printf("%s", text);
    free(text);
}

int main(int argc, char **argv) {
    int64_t batch = argc > 1 ? atoll(argv[1]) : 64;
    gd_cpu_set_threads(argc > 2 ? atoi(argv[2]) : 0);
    if (argc > 3) budget = atof(argv[3]);
    bool timed = named("timed", argc, argv);
    if (timed) gd_choice_set_mode(GD_CHOICE_TIMED);
    gd_choice_allow_halves(named("halves", argc, argv));
    gd__choice_allow(600);
    char version[64];
    gd_dnnl_version(version, sizeof version);
    gd__threads_enter(gd__threads_wanted());
    peak = peak_rate();
    printf("%s, %d threads, peak %.1f GFLOP/s\n", version, gd__threads_wanted(), 1e-9 * peak);
    bool only16 = named("only16", argc, argv), bf16 = argc <= 4 || only16 || named("bf16", argc, argv);
    if (!only16 && wanted("groups", argc, argv)) groups(batch);
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
        if (!only16 && wanted(nets[i].name, argc, argv)) convolutions(&nets[i], batch, GD_F32);
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
        if (bf16 && wanted(nets[i].name, argc, argv)) convolutions(&nets[i], batch, GD_BF16);
    if (timed) print_choices();
    return 0;
}
