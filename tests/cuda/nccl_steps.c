/* tests/cuda/nccl_steps.c -- programs whose sums over ranks NCCL makes among their steps, between 1, 2 and 4 processes on the fake
 * libraries (fake.h): eager and captured they give the bytes of the same additions on the host, and runs do not pause. And a rank that
 * stops in front of a sum, in any stage of capturing, is found by who waits for steps behind it, however they wait: within the deadline,
 * by an error that names the sums. Then graphs go before communicators, and nothing is left. Usage: FOLDER of the fake libraries */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../ops/harness.h"
#include "compute/cuda/driver.h"
#include "compute/cuda/exchange.h"
#include "compute/cuda/executor.h"
#include "compute/cuda/nccl.h"

enum { RANKS = 4, COUNT = 500, RUNS = 5, WORDS = 512 };

typedef struct shared { /* between the ranks of a case: what MPI carries otherwise */
    unsigned char id[GD_EXCHANGE_ID];
    char said[RANKS][WORDS];
} shared;

typedef struct scenario {
    const char *name, *how; /* how: FAKE_NCCL */
    int ranks;
    bool captured;
    int stop;          /* the run that the last rank stops in front of; RUNS: none */
    const char *words; /* of the error of all others; NULL: there is none          */
} scenario;

static shared *between;
static int failures;
static int (*live)(void);

static void expect(bool good, const char *what, const char *of) {
    failures += !good;
    if (!good) printf("FAIL %s: %s (%s)\n", of, what, gd_error_message());
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what a rank computes: the square of a sum of 2 x, summed again ---- */

typedef struct work {
    int rank, ranks;
    gd__cu_device *device;
    const gd_executor *cuda;
    gd_program *program;
    gd_instance *instance;
    gd__cu_replay *replay; /* NULL: eager */
    gd_exchange *exchange;
    void *in, *out, *grad;
} work;

static float value(int rank, int run, int i) { return (float)(rank + 1) / (float)(i % 7 + run + 3); }

static gd_program *make_program(const gd_executor *cuda, int ranks) {
    gd_graph *g = ops_graph(ranks);
    gd_program *p;
    const gd_program_opts none = {.name = "sums"};
    gd_node x = gd_scale(g, gd_input(g, "x", GD_F32, gd_shape1(COUNT)), 2), s = gd_allreduce(g, x);
    const gd_output out = {"y", gd_allreduce(g, gd_mul(g, s, s))};
    ops_need(gd_graph_status(g), "graph");
    ops_need(gd_program_make(g, cuda, 1, &out, &none, &p), "program");
    gd_graph_free(g);
    return p;
}

/* In the order of dist/tree.h, as the fake adds. */
static float tree(const float *x, int n) {
    int half = 1;
    if (n == 1) return *x;
    while (2 * half < n) half *= 2;
    return tree(x, half) + tree(x + half, n - half);
}

static bool is_right(const work *w, int run, const float *y) {
    for (int i = 0; i < COUNT; i++) {
        float part[RANKS];
        for (int r = 0; r < w->ranks; r++) part[r] = value(r, run, i) * 2;
        float s = tree(part, w->ranks);
        for (int r = 0; r < w->ranks; r++) part[r] = s * s;
        float want = tree(part, w->ranks);
        if (memcmp(&want, &y[i], sizeof want) != 0) return false;
    }
    return true;
}

static gd_status put_sum(void *ctx, float *data, int64_t count) {
    return gd__cu_exchange_sum(((work *)ctx)->exchange, data, (size_t)count);
}

static void open_work(work *w, bool captured) {
    const gd__cu_driver_opts o = {0};
    const gd_exchange_opts e = {.name = "batch statistics",
                                .rank = w->rank,
                                .size = w->ranks,
                                .id = between->id,
                                .open_seconds = 60,
                                .seconds = 1};
    const gd_run_hooks h = {.ctx = w, .sum = put_sum};
    ops_need(gd__cu_driver_open(&o, &w->device), "driver");
    ops_need(gd__cu_executor_open(w->device, GD__DNN_F32, &w->cuda), "executor");
    w->program = make_program(w->cuda, w->ranks);
    ops_need(gd_instance_make(w->program, &w->instance), "instance");
    ops_need(w->cuda->alloc(COUNT * sizeof(float), &w->in), "memory");
    ops_need(w->cuda->alloc(COUNT * sizeof(float), &w->out), "memory");
    ops_need(gd_instance_bind(w->instance, "x", w->in), "bind");
    ops_need(gd_instance_bind(w->instance, "y", w->out), "bind");
    gd_instance_set_hooks(w->instance, &h);
    if (captured) ops_need(gd__cu_replay_new(w->program, w->instance, &w->replay), "replay");
    ops_need(gd__cu_exchange_open(w->device, gd__cu_stream(), &gd__nccl, &e, &w->exchange), "exchange");
    ops_need(gd__cu_exchange_alloc(w->exchange, COUNT * sizeof(float), &w->grad), "gradients");
    const float none[COUNT] = {0};
    ops_need(w->cuda->put(w->grad, none, sizeof none), "gradients");
}

/* All ranks together, unless something failed. */
static gd_status close_work(work *w, gd_status st) {
    gd_error why;
    gd_error_save(st, &why);
    ops_need(gd__cu_replay_free(w->replay), "replay");
    gd_status closed = gd__cu_exchange_close(w->exchange, st != GD_OK);
    expect(closed == GD_OK, "close", "exchange");
    gd_instance_free(w->instance);
    w->cuda->free(w->in);
    w->cuda->free(w->out);
    gd_program_free(w->program);
    ops_need(gd__cu_executor_close(), "executor");
    ops_need(gd__cu_driver_close(w->device), "driver");
    return st == GD_OK ? closed : gd_error_restore(&why);
}

/* ---- runs ---- */

/* A round beside the steps, and behind those so far. */
static gd_status put_round(const work *w) {
    GD_TRY(gd__cu_exchange_begin(w->exchange, w->grad, COUNT));
    GD_TRY(gd__cu_exchange_all_ready(w->exchange));
    return gd__cu_exchange_end(w->exchange);
}

/* Reads the result, by every way that the host can wait for it. */
static gd_status read_result(const work *w, int how, float *y) {
    void *ticket;
    double waited;
    if (how % 4 == 0) GD_TRY(gd__cu_finish());
    if (how % 4 == 1) GD_TRY(gd__cu_exchange_settle(w->exchange, &waited));
    if (how % 4 != 2) return w->cuda->get(y, w->out, COUNT * sizeof *y);
    GD_TRY(w->cuda->get_later(w->out, COUNT * sizeof *y, &ticket));
    return w->cuda->take(ticket, y);
}

static gd_status run_once(work *w, int run) {
    const gd_run_args a = {.seed = 1, .step = (uint64_t)run};
    float x[COUNT], y[COUNT];
    gd_pause p = {.phase = 0};
    for (int i = 0; i < COUNT; i++) x[i] = value(w->rank, run, i);
    GD_TRY(w->cuda->put(w->in, x, sizeof x));
    GD_TRY(w->replay ? gd__cu_replay_start(w->replay, &a, &p) : gd_instance_start(w->instance, &a, &p));
    expect(p.kind == GD_PAUSE_DONE, "it pauses", "run");
    if (run % 2) GD_TRY(put_round(w));
    GD_TRY(read_result(w, w->rank + run, y));
    expect(is_right(w, run, y), "other bytes", "run");
    return GD_OK;
}

/* A gather by itself: what each rank made, in its own place, on all. */
static gd_status gather_once(const work *w) {
    float all[RANKS] = {0}, mine = (float)(10 + w->rank);
    float *at = w->in;
    GD_TRY(w->cuda->put(at + w->rank, &mine, sizeof mine));
    GD_TRY(gd__cu_exchange_gather(w->exchange, at + w->rank, sizeof mine, at));
    GD_TRY(w->cuda->get(all, at, (size_t)w->ranks * sizeof *all));
    for (int r = 0; r < w->ranks; r++) expect(all[r] == (float)(10 + r), "another part", "gather");
    return GD_OK;
}

static gd_status run_all(work *w, const scenario *c) {
    bool stops = w->rank == c->ranks - 1;
    for (int run = 0; run < RUNS; run++) {
        if (stops && run == c->stop) {
            fflush(stdout);
            _exit(failures != 0);
        }
        double from = now();
        gd_status st = run_once(w, run);
        expect(now() - from < 5, "the deadline is kept", c->name);
        if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    }
    return gather_once(w);
}

/* ---- ranks ---- */

static _Noreturn void be_rank(const scenario *c, int rank) {
    work w = {.rank = rank, .ranks = c->ranks};
    failures = 0;
    open_work(&w, c->captured);
    gd_status st = close_work(&w, run_all(&w, c));
    snprintf(between->said[rank], WORDS, "%s", st == GD_OK ? "" : gd_error_message());
    if (live()) printf("FAIL rank %d leaves %d objects\n", rank, live()), failures++;
    fflush(stdout);
    _exit(failures != 0);
}

static void run_scenario(const scenario *c) {
    pid_t pid[RANKS];
    int bad = failures;
    setenv("FAKE_NCCL", c->how, 1);
    memset(between, 0, sizeof *between);
    ops_need(gd__nccl.make_id(between->id), "id");
    fflush(stdout);
    for (int r = 0; r < c->ranks; r++)
        if (!(pid[r] = fork())) be_rank(c, r);
    for (int r = 0; r < c->ranks; r++) {
        int status;
        waitpid(pid[r], &status, 0);
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a rank fails", c->name);
        if (c->stop < RUNS && r == c->ranks - 1) continue;
        bool said = c->words ? strstr(between->said[r], c->words) != NULL : !between->said[r][0];
        if (!said)
            printf("FAIL %s, rank %d: expected '%s', got '%s'\n", c->name, r, c->words ? c->words : "",
                   between->said[r]);
        failures += !said;
    }
    printf("%-36s %d ranks, %-8s %s  %s\n", c->name, c->ranks, c->captured ? "captured" : "eager",
           bad == failures ? "ok" : "FAIL", between->said[0]);
}

int main(int argc, char **argv) {
    static const char late[] = "did not end within 1 s; last put on a stream: call ", gone[] = "remote process exited";
    static const scenario list[] = {
        {"right", "", 1, false, RUNS, NULL},
        {"right", "", 2, false, RUNS, NULL},
        {"right", "", 4, false, RUNS, NULL},
        {"right", "", 1, true, RUNS, NULL},
        {"right", "", 2, true, RUNS, NULL},
        {"right", "", 4, true, RUNS, NULL},
        {"a rank stops at once", "", 4, true, 0, late},
        {"a rank stops before it captures", "", 4, true, 1, late},
        {"a rank stops before it launches", "", 4, true, 2, late},
        {"a rank stops later", "", 2, true, 4, late},
        {"a rank stops", "", 4, false, 3, late},
        {"a rank stops, which NCCL notices", "notice", 4, true, 3, gone},
        {"an error of NCCL's", "async", 2, true, RUNS, "batch statistics, rank"},
    };
    char path[4096];
    if (argc < 2) return 2;
    setenv("GANDIST_CUDA_LIBRARIES", argv[1], 1);
    snprintf(path, sizeof path, "%s/libcuda.so.1", argv[1]);
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!h) ops_die(dlerror());
    if (!(*(void **)&live = dlsym(h, "fake_live"))) ops_die("fake_live");
    between = mmap(NULL, sizeof *between, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (between == MAP_FAILED) ops_die("no memory");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) run_scenario(&list[i]);
    printf("%d failures\n", failures);
    return failures != 0;
}
