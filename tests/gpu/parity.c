/* tests/gpu/parity.c -- training steps of every family on a real GPU, in f32, tf32 and bf16, against `ref` in the norm of steps.h,
 * and captured graphs against the eager run, byte for byte. What can be run on the fake libraries is so in the default suite.
 *
 * Usage: [--properties FILE] [FAMILY]...: FILE gets cuDNN's view of the GPU (the form of tests/cuda/h200.json). Ends with 77
 * and the reason where no GPU can be used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cuda/families.h"
#include "../cuda/on_device.h"
#include "base/io.h"
#include "compute/cuda/driver.h"

enum { BATCH = 4, RUNS = 4, MODES = 3 };

typedef struct mode {
    const char *name;
    gd__dnn_math math;
    gd_precision precision;
    double base; /* of steps_distance */
} mode;
static const mode modes[MODES] = {
    {"f32", GD__DNN_F32, GD_PRECISION_F32, 1e-5},
    {"tf32", GD__DNN_TF32, GD_PRECISION_F32, 1e-3},
    {"bf16", GD__DNN_F32, GD_PRECISION_BF16, 2e-2},
};

static gd__cu_device *device;
static const gd_executor *cuda;
static int failures, steps;

/* ---- one step ---- */

/* RUNS more runs, eager in x and captured in another program: the same bytes. */
static bool same_captured(prog *x, const gd_step_graph *s, gd_precision p) {
    prog y = open_prog(device, cuda, s, p);
    gd__cu_replay *r;
    bool same = true;
    set_inputs(x);
    set_inputs(&y);
    ops_need(gd__cu_replay_new(y.p, y.i, &r), "replay");
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k};
        ops_need(gd_instance_run(x->i, &a), "eager");
        replay(r, &a);
    }
    for (int b = 0; b < x->n; b++) {
        void *eager = download(x, b), *graph = download(&y, b);
        same = same && !memcmp(eager, graph, binding_bytes(&x->list[b]));
        free(eager);
        free(graph);
    }
    ops_need(gd__cu_replay_free(r), "replay");
    close_prog(&y);
    return same;
}

static void check_step(const char *name, const gd_step_graph *s, const mode *m) {
    const gd_run_args a = {.seed = 7, .step = 3, .sample = 11}; /* those of steps_ref */
    char where[96] = "";
    steps_ref *ref = steps_ref_new(s, m->precision);
    prog x = open_prog(device, cuda, s, m->precision);
    set_inputs(&x);
    ops_need(gd_instance_run(x.i, &a), name);
    double e = worst_distance(&x, ref, m->base, where);
    bool same = same_captured(&x, s, m->precision), good = e <= 1 && same;
    steps++;
    failures += !good;
    printf("%-36s %7.3f of the limit %s%s, worst %s\n", name, e, good ? "ok" : "FAIL",
           same ? "" : ", the graph gives other bytes", where);
    steps_ref_free(ref);
    close_prog(&x);
}

static void check_family(const family *f, const mode *how) {
    static const gd_step_kind kind[] = {GD_STEP_D, GD_STEP_G};
    gd_gan_spec spec = f->spec;
    gd_gan *m;
    spec.global_batch = BATCH;
    spec.sync = true;
    ops_need(gd_gan_new(&spec, &m), f->name);
    for (int k = 0; k < 2; k++) {
        gd_step_graph s;
        char name[96];
        if (!gd_gan_has_step(m, kind[k])) continue;
        snprintf(name, sizeof name, "%s, %s, %s", f->name, gd_step_kind_text(kind[k]), how->name);
        ops_need(gd_gan_step(m, kind[k], true, 1, &s), name);
        check_step(name, &s, how);
        gd_step_graph_free(&s);
    }
    gd_gan_free(m);
}

/* ---- the GPU ---- */

static void write_properties(const char *path) {
    char *json;
    ops_need(gd__cu_driver_properties(device, &json), "properties");
    ops_need(gd_file_write(path, json, strlen(json)), path);
    free(json);
}

static bool wanted(const char *name, int n, char **names) {
    for (int i = 0; i < n; i++)
        if (!strcmp(name, names[i])) return true;
    return n == 0;
}

static void print_device(void) {
    gd__cu_facts f;
    ops_need(gd__cu_driver_facts(device, &f), "facts");
    printf("%s, sm_%d, %zu MiB, CUDA %d, NVRTC %d, cuDNN %zu\n", f.name, f.arch, f.memory >> 20, f.driver, f.nvrtc,
           f.cudnn);
}

int main(int argc, char **argv) {
    const gd__cu_driver_opts o = {.cache = getenv("GANDIST_CUDA_CACHE")};
    bool properties = argc > 2 && !strcmp(argv[1], "--properties");
    int first = properties ? 3 : 1, n;
    const family *list = families(&n);
    gd_status st = gd__cu_driver_open(&o, &device);
    if (st == GD_UNSUP) {
        printf("skipped: %s\n", gd_error_message());
        return 77;
    }
    ops_need(st, "GPU");
    print_device();
    if (properties) write_properties(argv[2]);
    for (int m = 0; m < MODES; m++) {
        ops_need(gd__cu_executor_open(device, modes[m].math, &cuda), "executor");
        for (int i = 0; i < n; i++)
            if (wanted(list[i].name, argc - first, argv + first)) check_family(&list[i], &modes[m]);
        ops_need(gd__cu_executor_close(), "close");
    }
    ops_need(gd__cu_driver_close(device), "close");
    printf("%d steps, %d failures\n", steps, failures);
    return failures || !steps;
}
