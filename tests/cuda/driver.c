/* tests/cuda/driver.c -- driver.c, cuDNN's plans and NVRTC's cache on the fake libraries (fake.h): a step gives the bytes of the
 * stand-in device, eager and captured, with a cold and a warm cache; what is not there is named; and every call of the
 * libraries that fails becomes an error that names it, with nothing left behind. Usage: FOLDER of the fake libraries */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "compute/cuda/driver.h"
#include "compute/cuda/library.h"
#include "families.h"
#include "on_device.h"
#include "record.h"

enum { RUNS = 4 };

static int failures;
static void (*fail_at)(int call);
static int (*calls)(void), (*live)(void);
static const char *(*failed)(void);

static void expect(bool good, const char *what, const char *of) {
    failures += !good;
    if (!good) printf("FAIL %s: %s (%s)\n", of, what, gd_error_message());
}

/* ---- the fake, beside what opens it ---- */

static void *symbol(void *library, const char *name) {
    void *f = dlsym(library, name);
    if (!f) ops_die(name);
    return f;
}

static void open_fake(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/libcuda.so.1", folder);
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!h) ops_die(dlerror());
    *(void **)&fail_at = symbol(h, "fake_fail_at");
    *(void **)&calls = symbol(h, "fake_calls");
    *(void **)&live = symbol(h, "fake_live");
    *(void **)&failed = symbol(h, "fake_failed");
    setenv("GANDIST_CUDA_LIBRARIES", folder, 1);
}

/* ---- a step ---- */

typedef struct results {
    int n;
    size_t bytes[ON_DEVICE_BINDINGS];
    void *at[ON_DEVICE_BINDINGS];
} results;

static results run_step(gd__cu_device *d, const gd_executor *x, const gd_step_graph *s, gd_precision p, bool captured) {
    results r = {0};
    gd__cu_replay *graphs = NULL;
    prog g = open_prog(d, x, s, p);
    set_inputs(&g);
    if (captured) ops_need(gd__cu_replay_new(g.p, g.i, &graphs), "replay");
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 2};
        if (captured) replay(graphs, &a);
        else ops_need(gd_instance_run(g.i, &a), "run");
    }
    r.n = g.n;
    for (int b = 0; b < g.n; b++) {
        r.bytes[b] = binding_bytes(&g.list[b]);
        r.at[b] = download(&g, b);
    }
    ops_need(gd__cu_replay_free(graphs), "replay");
    close_prog(&g);
    return r;
}

static bool same(const results *a, const results *b) {
    for (int i = 0; i < a->n; i++)
        if (a->bytes[i] != b->bytes[i] || memcmp(a->at[i], b->at[i], a->bytes[i])) return false;
    return a->n == b->n && a->n > 0;
}

static void forget(results *r) {
    for (int i = 0; i < r->n; i++) free(r->at[i]);
}

static results on_record(const gd_step_graph *s, gd_precision p, gd__dnn_math math) {
    gd__cu_device *d = record_new(1);
    const gd_executor *x;
    if (!d) ops_die("no memory");
    ops_need(gd__cu_executor_open(d, math, &x), "executor");
    results r = run_step(d, x, s, p, false);
    ops_need(gd__cu_executor_close(), "close");
    ops_need(record_end(d), "record");
    return r;
}

static results on_driver(const char *cache, const gd_step_graph *s, gd_precision p, gd__dnn_math math, bool captured) {
    const gd__cu_driver_opts o = {.cache = cache};
    gd__cu_device *d;
    const gd_executor *x;
    ops_need(gd__cu_driver_open(&o, &d), "driver");
    ops_need(gd__cu_executor_open(d, math, &x), "executor");
    results r = run_step(d, x, s, p, captured);
    ops_need(gd__cu_executor_close(), "close");
    ops_need(gd__cu_driver_close(d), "close");
    return r;
}

static void check_step(const char *name, const char *cache, const gd_step_graph *s, gd_precision p, gd__dnn_math math) {
    results want = on_record(s, p, math);
    for (int k = 0; k < 4; k++) { /* the second time everything comes from the cache */
        static const char *const of[] = {"eager", "captured", "eager, warm cache", "captured, no cache"};
        char what[128];
        fail_at(0);
        results have = on_driver(k < 3 ? cache : NULL, s, p, math, k & 1);
        snprintf(what, sizeof what, "%s, %s: other bytes than the stand-in's", name, of[k]);
        expect(same(&want, &have), what, "driver");
        snprintf(what, sizeof what, "%s, %s: %d objects left", name, of[k], live());
        expect(live() == 0, what, "driver");
        printf("%s, %s: %d calls\n", name, of[k], calls());
        forget(&have);
    }
    forget(&want);
}

static void check_dcgan(const char *cache) {
    int n;
    const family *f = families(&n);
    while (strcmp(f->name, "dcgan") != 0) f++;
    gd_gan_spec spec = f->spec;
    gd_gan *m;
    gd_step_graph s;
    spec.global_batch = 4;
    spec.sync = true;
    ops_need(gd_gan_new(&spec, &m), f->name);
    ops_need(gd_gan_step(m, GD_STEP_DG_SHARED, true, 1, &s), f->name);
    check_step("dcgan f32", cache, &s, GD_PRECISION_F32, GD__DNN_F32);
    check_step("dcgan tf32", cache, &s, GD_PRECISION_F32, GD__DNN_TF32);
    check_step("dcgan bf16", cache, &s, GD_PRECISION_BF16, GD__DNN_F32);
    gd_step_graph_free(&s);
    gd_gan_free(m);
}

/* ---- what is not there ---- */

static void check_missing(const char *is, int number, const char *words) {
    const gd__cu_driver_opts o = {.device = number};
    gd__cu_device *d = NULL;
    setenv("FAKE_CUDA", is, 1);
    expect(gd__cu_driver_open(&o, &d) == GD_UNSUP && strstr(gd_error_message(), words), words, "missing");
    expect(live() == 0, "objects left", words);
    gd_error_clear();
    unsetenv("FAKE_CUDA");
}

static void check_facts(void) {
    const gd__cu_driver_opts o = {0};
    gd__cu_device *d;
    gd__cu_facts f;
    char *json;
    ops_need(gd__cu_driver_open(&o, &d), "driver");
    ops_need(gd__cu_driver_facts(d, &f), "facts");
    ops_need(gd__cu_driver_properties(d, &json), "properties");
    expect(!strcmp(f.name, "fake GPU") && f.arch == 90 && f.driver == 13000 && f.nvrtc == 13000 && f.cudnn == 91900 &&
               f.memory == (size_t)1 << 30 && strstr(json, "fake GPU"),
           "facts", "driver");
    free(json);
    ops_need(gd__cu_driver_close(d), "close");
}

/* ---- every call fails once ---- */

/* Products in bf16 and random numbers: all kinds of calls. */
static gd_graph *small_graph(gd_output out[2]) {
    gd_graph *g = ops_graph(1);
    gd_node a = gd_input(g, "a", GD_F32, gd_shape2(6, 9)), b = gd_param(g, "b", gd_shape2(9, 11), 0);
    out[0] = (gd_output){"y", gd_matmul(g, a, b, false, false)};
    out[1] = (gd_output){"z", gd_mul(g, a, gd_random(g, GD_RANDOM_NORMAL, 3, gd_shape2(6, 9)))};
    ops_need(gd_graph_status(g), "small");
    return g;
}

enum { PARTS = 4, FLOATS = 128 }; /* a, b, y, z */

/* Binds each to its part of `memory`. */
static gd_status bind_parts(gd_instance *i, char *memory) {
    static const char *const name[PARTS] = {"a", "b", "y", "z"};
    for (int k = 0; k < PARTS; k++) GD_TRY(gd_instance_bind(i, name[k], memory + (size_t)k * FLOATS * sizeof(float)));
    return GD_OK;
}

static gd_status run_captured(gd__cu_replay *r) {
    for (int k = 0; k < 3; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k};
        gd_pause p;
        GD_TRY(gd__cu_replay_start(r, &a, &p));
        while (p.kind != GD_PAUSE_DONE) GD_TRY(gd__cu_replay_resume(r, &p));
    }
    return GD_OK;
}

static gd_status run_program(gd__cu_device *d, const gd_program *p, float *pinned, float *memory) {
    enum { BYTES = PARTS * FLOATS * sizeof(float) };
    gd_instance *i = NULL;
    gd__cu_replay *r = NULL;
    gd_status st;
    for (int k = 0; k < PARTS * FLOATS; k++) pinned[k] = (float)(k % 7) - 3;
    GD_TRY_TO(done, gd_instance_make(p, &i));
    GD_TRY_TO(done, bind_parts(i, (char *)memory));
    GD_TRY_TO(done, d->copy(d, gd__cu_stream(), memory, pinned, BYTES));
    GD_TRY_TO(done, gd__cu_replay_new(p, i, &r));
    GD_TRY_TO(done, run_captured(r));
    GD_TRY_TO(done, d->copy(d, gd__cu_stream(), pinned, memory, BYTES));
    GD_TRY_TO(done, gd__cu_finish());
done:;
    gd_error e;
    gd_error_save(st, &e);
    gd_status gone = gd__cu_replay_free(r);
    gd_instance_free(i);
    return st == GD_OK ? gone : gd_error_restore(&e);
}

static gd_status run_on(gd__cu_device *d, const gd_executor *x, const gd_graph *g, const gd_output out[2],
                        float *result) {
    const gd_program_opts o = {.precision = GD_PRECISION_BF16};
    void *memory = NULL, *pinned = NULL;
    gd_program *p = NULL;
    gd_status st;
    GD_TRY_TO(done, gd_program_make(g, x, 2, out, &o, &p));
    GD_TRY_TO(done, d->alloc(d, PARTS * FLOATS * sizeof(float), &memory));
    GD_TRY_TO(done, d->alloc_host(d, PARTS * FLOATS * sizeof(float), &pinned));
    GD_TRY_TO(done, run_program(d, p, pinned, memory));
    memcpy(result, pinned, PARTS * FLOATS * sizeof(float));
done:;
    gd_error e;
    gd_error_save(st, &e);
    gd_program_free(p);
    gd_status first = d->free(d, memory), second = d->free(d, pinned);
    if (st != GD_OK) return gd_error_restore(&e);
    return first == GD_OK ? second : first;
}

static gd_status run_small(const gd_graph *g, const gd_output out[2], float *result) {
    const gd__cu_driver_opts o = {0};
    gd__cu_device *d;
    const gd_executor *x;
    gd_error e;
    GD_TRY(gd__cu_driver_open(&o, &d));
    gd_status st = gd__cu_executor_open(d, GD__DNN_F32, &x);
    if (st == GD_OK) {
        st = run_on(d, x, g, out, result);
        gd_error_save(st, &e);
        gd_status closed = gd__cu_executor_close();
        if (st == GD_OK) st = closed;
        else gd_error_restore(&e);
    }
    gd_error_save(st, &e);
    gd_status closed = gd__cu_driver_close(d);
    return st == GD_OK ? closed : gd_error_restore(&e);
}

/* What ends a life may fail without a word where something else has gone wrong or the end is near, and cuDNN's planning goes
 * on to the next engine; then the results are right all the same. */
static bool may_be_silent(const char *f) {
    static const char *const words[] = {"Destroy", "Free", "Unload", "Release", "Synchronize", "cudnnBackend"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(f, words[i])) return true;
    return false;
}

/* The message names the function, or the library and what it was doing. */
static bool names(const char *f) {
    const char *message = gd_error_message();
    if (strstr(message, f)) return true;
    if (!strncmp(f, "cudnn", 5)) return strstr(message, "cudnn") || strstr(message, "cuDNN");
    return !strncmp(f, "nvrtc", 5) ? strstr(message, "nvrtc") != NULL : strstr(message, "no memory for") != NULL;
}

static void check_failing_calls(void) {
    static float want[PARTS * FLOATS], have[PARTS * FLOATS];
    gd_output out[2];
    gd_graph *g = small_graph(out);
    int errors = 0;
    fail_at(0);
    ops_need(run_small(g, out, want), "small");
    int n = calls();
    for (int k = 1; k <= n; k++) {
        char what[128];
        memset(have, 0, sizeof have);
        fail_at(k);
        gd_status st = run_small(g, out, have);
        const char *f = failed();
        if (!f) break; /* what failed in earlier calls made fewer necessary */
        snprintf(what, sizeof what, "call %d, %s", k, f);
        errors += st != GD_OK;
        if (st != GD_OK) expect(names(f), "is not named", what);
        else expect(may_be_silent(f) && !memcmp(want, have, sizeof want), "is not noticed", what);
        fail_at(0);
        expect(live() == 0, "something is left", what);
        gd_error_clear();
    }
    expect(n > 100 && errors > n / 2, "calls", "failing calls");
    printf("%d calls, %d became errors\n", n, errors);
    gd_graph_free(g);
}

int main(int argc, char **argv) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    char cache[4096];
    if (argc < 2) return 2;
    open_fake(argv[1]);
    snprintf(cache, sizeof cache, "%s/cuda-cache", tmp ? tmp : "/tmp");
    ops_need(gd_dir_remove(cache), cache);
    check_missing("none", 0, "finds no GPU");
    check_missing("old", 0, "compute capability 7.0; expected 8.0");
    check_missing("no-dnn", 0, "cudnn: there is no device that it can use");
    check_missing("", 3, "there is no GPU 3; expected 0 to 0");
    check_facts();
    check_dcgan(cache);
    check_failing_calls();
    printf("%d failures\n", failures);
    return failures != 0;
}
