/* tests/gpu/parity.c -- training steps of every family on a real GPU, in f32, tf32 and bf16, against `ref` in the norm of steps.h,
 * and captured graphs against the eager run, byte for byte. What can be run on the fake libraries is so in the default suite.
 *
 * Usage: [--properties FILE] [--bytes FILE] [FAMILY]...: properties: gets cuDNN's view of the GPU (the form of
 * tests/cuda/h200.json). bytes: a hash of what every step gives; written if it is not there, else every step must have its hash, so that a
 * second start, with the caches of the first, is compared byte for byte. Ends with 77 and the reason where no GPU can be used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cuda/families.h"
#include "../cuda/on_device.h"
#include "base/hash.h"
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
static FILE *bytes; /* of --bytes */
static bool comparing;

/* ---- repeats ---- */

static uint64_t hash_outputs(prog *x) {
    uint64_t h = 0;
    for (int b = 0; b < x->n; b++) {
        void *have = download(x, b);
        h = gd_hash64(have, binding_bytes(&x->list[b]), h);
        free(have);
    }
    return h;
}

/* Steps come in one order. */
static bool same_bytes(const char *name, uint64_t hash) {
    char text[17], line[160], want[160];
    if (!bytes) return true;
    gd_hash64_text(hash, text);
    snprintf(want, sizeof want, "%s %.100s\n", text, name);
    if (comparing) return fgets(line, sizeof line, bytes) && !strcmp(line, want);
    return fputs(want, bytes) >= 0;
}

static void open_bytes(const char *path) {
    comparing = gd_path_exists(path);
    bytes = fopen(path, comparing ? "r" : "w");
    if (!bytes) ops_die(path);
}

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
    bool repeats = same_bytes(name, hash_outputs(&x));
    bool same = same_captured(&x, s, m->precision), good = e <= 1 && same && repeats;
    steps++;
    failures += !good;
    printf("%-36s %7.3f of the limit %s%s%s, worst %s\n", name, e, good ? "ok" : "FAIL",
           same ? "" : ", the graph gives other bytes", repeats ? "" : ", other bytes than the start before", where);
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
    const char *properties = NULL;
    int first = 1, n;
    for (; first + 1 < argc && !strncmp(argv[first], "--", 2); first += 2) {
        if (!strcmp(argv[first], "--properties")) properties = argv[first + 1];
        else if (!strcmp(argv[first], "--bytes")) open_bytes(argv[first + 1]);
        else ops_die(argv[first]);
    }
    const family *list = families(&n);
    gd_status st = gd__cu_driver_open(&o, &device);
    if (st == GD_UNSUP) {
        printf("skipped: %s\n", gd_error_message());
        return 77;
    }
    ops_need(st, "GPU");
    print_device();
    if (properties) write_properties(properties);
    for (int m = 0; m < MODES; m++) {
        ops_need(gd__cu_executor_open(device, modes[m].math, &cuda), "executor");
        for (int i = 0; i < n; i++)
            if (wanted(list[i].name, argc - first, argv + first)) check_family(&list[i], &modes[m]);
        ops_need(gd__cu_executor_close(), "close");
    }
    ops_need(gd__cu_driver_close(device), "close");
    if (bytes && fclose(bytes)) ops_die("--bytes");
    printf("%d steps, %d failures%s\n", steps, failures, comparing ? ", compared with the start before" : "");
    return failures || !steps;
}
