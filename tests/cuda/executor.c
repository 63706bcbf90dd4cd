/* tests/cuda/executor.c -- the executor `cuda` on the stand-in device: training steps of every family give ref's results in the
 * norm of steps.h, captured graphs the eager run's bytes, and after warm-up nothing is allocated and nobody waits.
 *
 * What the stand-in checks on the way: every access of every kernel, copy and convolution. Usage: [FAMILY] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "families.h"
#include "on_device.h"
#include "record.h"

enum { BATCH = 4, RUNS = 7 };

static gd__cu_device *device;
static const gd_executor *cuda;
static int failures;

/* ---- eager and captured ---- */

static void expect(bool good, const char *name, const char *what) {
    failures += !good;
    if (!good) printf("FAIL %s: %s\n", name, what);
}

/* The same runs, eager in one program and captured in another: same bytes of all outputs. */
static void check_replay(const char *name, const gd_step_graph *s, gd_precision precision) {
    prog eager = open_prog(device, cuda, s, precision), graph = open_prog(device, cuda, s, precision);
    gd__cu_replay *r;
    record_counts before = {0}, after;
    ops_need(gd__cu_replay_new(graph.p, graph.i, &r), "replay");
    set_inputs(&eager);
    set_inputs(&graph);
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
        if (k == 2) before = record_get_counts(device); /* the first run is eager, the second is captured */
        replay(r, &a);
    }
    after = record_get_counts(device);
    expect(after.allocations == before.allocations && after.graphs == before.graphs, name, "allocates after warm-up");
    /* Keys come through a ring of 4: the host waits only for a run that is 4 behind. */
    expect(after.syncs - before.syncs <= RUNS - 2 && after.copies > before.copies, name, "waits after warm-up");
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
        ops_need(gd_instance_run(eager.i, &a), "eager");
    }
    for (int b = 0; b < eager.n; b++) {
        void *x = download(&eager, b), *y = download(&graph, b);
        expect(!memcmp(x, y, binding_bytes(&eager.list[b])), name, eager.list[b].name);
        free(x);
        free(y);
    }
    ops_need(gd__cu_replay_free(r), "replay");
    close_prog(&eager);
    close_prog(&graph);
}

static void check_step(const char *name, const gd_step_graph *s, bool half) {
    const gd_run_args a = {.seed = 7, .step = 3, .sample = 11};
    gd_precision precision = half ? GD_PRECISION_BF16 : GD_PRECISION_F32;
    char where[96] = "";
    steps_ref *ref = steps_ref_new(s, precision);
    prog x = open_prog(device, cuda, s, precision);
    set_inputs(&x);
    ops_need(gd_instance_run(x.i, &a), name);
    double e = worst_distance(&x, ref, half ? 2e-3 : 1e-5, where);
    failures += !(e <= 1);
    printf("%-36s %6.3f of the limit %s, worst %s\n", name, e, e <= 1 ? "ok" : "FAIL", where);
    steps_ref_free(ref);
    close_prog(&x);
    check_replay(name, s, precision);
}

static void check_family(const family *f) {
    static const gd_step_kind kind[] = {GD_STEP_DG_SHARED, GD_STEP_GD_SHARED, GD_STEP_D};
    gd_gan_spec spec = f->spec;
    gd_gan *m;
    spec.global_batch = BATCH;
    spec.sync = true;
    ops_need(gd_gan_new(&spec, &m), f->name);
    int k = spec.topology == GD_TOPOLOGY_TWO_WAY ? 1 : gd_gan_has_step(m, kind[0]) ? 0 : 2;
    for (int half = 0; half < 2; half++) {
        gd_step_graph s;
        char name[96];
        snprintf(name, sizeof name, "%s, %s, %s", f->name, gd_step_kind_text(kind[k]), half ? "bf16" : "f32");
        ops_need(gd_gan_step(m, kind[k], true, 1, &s), name);
        check_step(name, &s, half);
        gd_step_graph_free(&s);
    }
    gd_gan_free(m);
}

/* All transpositions of a product, and channels that need padding, in both precisions: parity of single nodes. */
static void check_products(void) {
    for (int t = 0; t < 8; t++) {
        bool ta = t & 1, tb = t & 2, half = t & 4;
        gd_graph *g = ops_graph(1);
        gd_node a = gd_input(g, "a", GD_F32, ta ? gd_shape2(9, 6) : gd_shape2(6, 9));
        gd_node b = gd_input(g, "b", GD_F32, tb ? gd_shape2(11, 9) : gd_shape2(9, 11));
        gd_output out = {"y", gd_matmul(g, a, b, ta, tb)};
        gd_step_graph s = {.graph = g, .outputs = &out, .n_outputs = 1, .n_phases = 1};
        char name[96];
        ops_need(gd_graph_status(g), "product");
        snprintf(name, sizeof name, "product%s%s, %s", ta ? " aT" : "", tb ? " bT" : "", half ? "bf16" : "f32");
        check_step(name, &s, half);
        gd_graph_free(g);
    }
}

/* Sums of squares of small whole numbers are exact in any order; room grows, and a smaller arena comes after a larger one. */
static void check_squares(void) {
    static float x[3 * GD_SQUARES_BLOCK + 32];
    static const size_t counts[] = {64, 3 * GD_SQUARES_BLOCK + 32, GD_SQUARES_BLOCK, 0};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)((int)(i % 7) - 3);
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        double out[5] = {-1, -1, -1, -1, -1};
        void *at;
        ops_need(cuda->alloc(sizeof x, &at), "memory");
        ops_need(cuda->put(at, x, sizeof x), "put");
        ops_need(cuda->square_sums(at, counts[k], out), "squares");
        cuda->free(at);
        for (size_t b = 0; b < 5; b++) {
            double want = b * GD_SQUARES_BLOCK < counts[k] ? 0 : -1;
            for (size_t i = b * GD_SQUARES_BLOCK; i < counts[k] && i < (b + 1) * GD_SQUARES_BLOCK; i++)
                want += x[i] * x[i];
            expect(out[b] == want, "squares", "another sum");
        }
    }
}

int main(int argc, char **argv) {
    int n;
    const family *list = families(&n);
    device = record_new(1);
    if (!device) return 1;
    /* tf32: channels of f32 tensors are padded, too; and no engine widens, so that operands are. */
    for (int math = GD__DNN_F32; math <= GD__DNN_TF32; math++) {
        record_no_wide(device, math == GD__DNN_TF32);
        ops_need(gd__cu_executor_open(device, (gd__dnn_math)math, &cuda), "executor");
        if (argc < 2) check_products();
        if (argc < 2) check_squares();
        for (int i = 0; i < n; i++)
            if (argc < 2 ? math == GD__DNN_F32 || i % 4 == 2 : !strcmp(list[i].name, argv[1])) check_family(&list[i]);
        ops_need(gd__cu_executor_close(), "close");
    }
    record_counts c = record_get_counts(device);
    gd_status st = record_end(device);
    if (st != GD_OK) printf("FAIL %s\n", gd_error_message());
    printf("%d launches, %d convolutions, %d copies, %d graphs launched %d times, %d failures\n", c.launches,
           c.convolutions, c.copies, c.graphs, c.graph_launches, failures + (st != GD_OK));
    return failures || st != GD_OK;
}
