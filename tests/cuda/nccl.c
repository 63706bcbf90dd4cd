/* tests/cuda/nccl.c -- communicators of NCCL between 4 processes, on the fake libraries (fake.h): sums and copies are right, put on a
 * stream and captured, on two communicators at once; what is missing or too old is named; and whatever does not come to
 * an end -- a rank that does not come, that dies, other collectives, another count, an error of NCCL's -- is found within its deadline,
 * named, and can be aborted. Every call of the library fails once. Usage: FOLDER of the fake libraries, FOLDER with a libnccl that
 * lacks functions */
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
#include "compute/cuda/nccl.h"

enum { RANKS = 4, COUNT = 512, ROUNDS = 3, WORDS = 512 };

typedef struct shared { /* between the ranks of a case: what MPI carries otherwise */
    unsigned char id[2][GD_DEVICE_COMM_ID];
    gd_device_comm_journal journal[RANKS];
    char said[RANKS][WORDS];
} shared;

static shared *between;
static gd__cu_device *device;
static void *stream;
static int failures;
static void (*fail_at)(int call);
static int (*calls)(void), (*live)(void);
static const char *(*failed)(void);

static void expect(bool good, const char *what, const char *of) {
    failures += !good;
    if (!good) printf("FAIL %s: %s (%s)\n", of, what, gd_error_message());
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
}

/* ---- ranks ---- */

typedef gd_status (*part)(int rank);

static void open_device(void) {
    const gd__cu_driver_opts o = {0};
    ops_need(gd__cu_driver_open(&o, &device), "driver");
    ops_need(device->stream_new(device, false, &stream), "stream");
}

static void close_device(void) {
    ops_need(device->stream_free(device, stream), "stream");
    ops_need(gd__cu_driver_close(device), "driver");
}

static _Noreturn void be_rank(int rank, part run) {
    failures = 0;
    open_device();
    gd_status st = run(rank);
    snprintf(between->said[rank], WORDS, "%s", st == GD_OK ? "" : gd_error_message());
    close_device();
    if (live()) printf("FAIL rank %d leaves %d objects\n", rank, live()), failures++;
    fflush(stdout);
    _exit(failures ? 1 : 0);
}

/* A case: `run` on 4 ranks; how: FAKE_NCCL; words: of the error on every rank but `but` (NULL: there is none). */
static void on_ranks(const char *name, const char *how, part run, const char *words, int but) {
    pid_t pid[RANKS];
    double from = now();
    int bad = failures;
    setenv("FAKE_NCCL", how, 1);
    memset(between, 0, sizeof *between);
    for (int k = 0; k < 2; k++) ops_need(gd__nccl.make_id(between->id[k]), "id");
    fflush(stdout);
    for (int r = 0; r < RANKS; r++)
        if (!(pid[r] = fork())) be_rank(r, run);
    for (int r = 0; r < RANKS; r++) {
        int status;
        waitpid(pid[r], &status, 0);
        if (r == but) continue;
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a rank fails", name);
        bool said = words ? strstr(between->said[r], words) != NULL : !between->said[r][0];
        if (!said) printf("FAIL %s, rank %d: expected '%s', got '%s'\n", name, r, words ? words : "", between->said[r]);
        failures += !said;
    }
    expect(now() - from < 20, "it took long", name);
    setenv("FAKE_NCCL", "", 1);
    printf("%-28s %s  %s\n", name, bad == failures ? "ok" : "FAIL", between->said[but == 0]);
}

static gd_status join(int rank, int which, gd_device_comm **out) {
    const gd_device_comm_opts o = {.name = which ? "D" : "G",
                                   .rank = rank,
                                   .size = RANKS,
                                   .id = between->id[which],
                                   .most_blocks = 8,
                                   .open_seconds = 0.5,
                                   .call_seconds = 0.5};
    return gd__nccl.open(&o, out);
}

/* Leaves a communicator, whatever happened; st is what the rank says. */
static gd_status leave(gd_device_comm *c, gd_status st) {
    gd_error e;
    gd_error_save(st, &e);
    c->journal(c, &between->journal[c->rank]);
    if (st != GD_OK) {
        expect(c->all_reduce(c, stream, NULL, 0) == GD_NCCL, "a communicator that failed is used", "leave");
        expect(c->abort(c) == GD_OK && c->abort(c) == GD_OK, "abort", "leave");
        expect(c->poll(c) == GD_NCCL && strstr(gd_error_message(), "aborted"), "one that was aborted is used", "leave");
    }
    gd_status closed = c->close(c);
    return st == GD_OK ? closed : gd_error_restore(&e);
}

/* ---- right ---- */

static float value(int rank, int i) { return (float)((rank + 1) * (i % 13)); }

/* a: all-reduce, then the sums scattered and gathered again, then rank 2's first half to all. */
static gd_status put_four(gd_device_comm *c, float *a, float *mine) {
    enum { EACH = COUNT / RANKS };
    GD_TRY(c->all_reduce(c, stream, a, COUNT));
    GD_TRY(c->reduce_scatter(c, stream, a, mine, EACH));
    GD_TRY(c->all_gather(c, stream, mine, a, EACH));
    return c->broadcast(c, stream, a, COUNT / 2, 2);
}

/* Rank 1 has none of it. */
static const int64_t border[RANKS + 1] = {0, 100, 100, 300, COUNT};

static gd_status put_parts(gd_device_comm *c, float *a) {
    GD_TRY(c->reduce_parts(c, stream, a, border));
    return c->gather_parts(c, stream, a, border);
}

static void fill(int rank, float *a) {
    for (int i = 0; i < COUNT; i++) a[i] = value(rank, i);
}

/* The fake's device memory is the host's. */
static bool is_sum(const float *a, float times) {
    for (int i = 0; i < COUNT; i++)
        if (a[i] != (value(0, i) + value(1, i) + value(2, i) + value(3, i)) * times) return false;
    return true;
}
static bool is_right(void *const a[2], void *const parts[2]) {
    return is_sum(a[0], RANKS) && is_sum(a[1], RANKS) && is_sum(parts[0], 1) && is_sum(parts[1], 1);
}

static gd_status two_communicators(int rank, gd_device_comm *const c[2]) {
    void *a[2], *mine[2], *parts[2], *graph;
    for (int k = 0; k < 2; k++) {
        GD_TRY(c[k]->alloc(c[k], COUNT * sizeof(float), &a[k]));
        GD_TRY(c[k]->alloc(c[k], COUNT / RANKS * sizeof(float), &mine[k]));
        GD_TRY(c[k]->alloc(c[k], COUNT * sizeof(float), &parts[k]));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < 2; k++) fill(rank, a[k]), fill(rank, parts[k]);
        for (int k = 0; k < 2; k++) GD_TRY(put_four(c[k], a[k], mine[k]));
        for (int k = 0; k < 2; k++) GD_TRY(put_parts(c[k], parts[k]));
        GD_TRY(c[0]->wait(c[0], stream, 5));
        expect(is_right(a, parts), "wrong sums", "eager");
    }
    GD_TRY(device->capture(device, stream));
    for (int k = 0; k < 2; k++) {
        GD_TRY(put_four(c[k], a[k], mine[k]));
        GD_TRY(put_parts(c[k], parts[k]));
        GD_TRY(c[k]->poll(c[k]));
    }
    GD_TRY(device->capture_end(device, stream, &graph));
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < 2; k++) fill(rank, a[k]), fill(rank, parts[k]);
        GD_TRY(device->graph_launch(device, stream, graph));
        GD_TRY(c[1]->wait(c[1], stream, 5));
        expect(is_right(a, parts), "wrong sums", "captured");
    }
    GD_TRY(device->graph_free(device, graph));
    expect(c[0]->free(c[0], a[1]) == GD_INTERNAL, "memory of another communicator", "free");
    for (int k = 0; k < 2; k++) {
        c[k]->journal(c[k], &between->journal[rank]);
        expect(between->journal[rank].calls == 6 * (ROUNDS + 1), "calls are counted", "journal");
        GD_TRY(c[k]->free(c[k], a[k])); /* close frees the rest */
    }
    return GD_OK;
}

static gd_status right(int rank) {
    gd_device_comm *c[2];
    for (int k = 0; k < 2; k++) GD_TRY(join(rank, k, &c[k]));
    gd_status st = two_communicators(rank, c);
    st = leave(c[0], st);
    return leave(c[1], st);
}

static gd_status memory_in_capture(int rank) {
    gd_device_comm *c;
    void *a, *graph = NULL;
    GD_TRY(join(rank, 0, &c));
    ops_need(device->capture(device, stream), "capture");
    gd_status st = c->alloc(c, 64, &a);
    gd_error e;
    gd_error_save(st, &e);
    expect(device->capture_end(device, stream, &graph) == GD_CUDA, "the capture goes on", "capture");
    gd_status closed = c->close(c);
    expect(closed == GD_OK, "the communicator is still good", "capture");
    return gd_error_restore(&e);
}

/* ---- wrong ---- */

static gd_status one_is_away(int rank) {
    gd_device_comm *c;
    if (rank == 1) return GD_OK;
    double from = now();
    gd_status st = join(rank, 0, &c);
    expect(now() - from < 3, "the deadline is kept", "away");
    return st;
}

/* For an event on the stream: also when it was reached before. */
static gd_status wait_event(gd_device_comm *c, double seconds) {
    void *event;
    gd_error e;
    GD_TRY(device->event_new(device, &event));
    gd_status st = device->event_record(device, event, stream);
    for (int i = 0; i < 2 && st == GD_OK; i++) st = c->wait_event(c, event, seconds);
    gd_error_save(st, &e);
    gd_status gone = device->event_free(device, event);
    return st == GD_OK ? gone : gd_error_restore(&e);
}

/* Two collectives; `other` says whether rank 2 puts another second one on its stream; then everyone waits. */
static gd_status second_differs(int rank, gd_status (*second)(gd_device_comm *c, int rank, float *a)) {
    gd_device_comm *c;
    void *a;
    GD_TRY(join(rank, 0, &c));
    gd_status st;
    GD_TRY_TO(out, c->alloc(c, COUNT * sizeof(float), &a));
    GD_TRY_TO(out, c->all_reduce(c, stream, a, COUNT));
    GD_TRY_TO(out, c->wait(c, stream, 5));
    GD_TRY_TO(out, second(c, rank, a));
    double from = now();
    GD_TRY_TO(out, rank % 2 ? c->wait(c, stream, 0.5) : wait_event(c, 0.5));
    expect(now() - from < 3, "the deadline is kept", "second");
out:
    return leave(c, st);
}

static gd_status other_collective(gd_device_comm *c, int rank, float *a) {
    if (rank == 2) return c->all_gather(c, stream, a + 2 * COUNT / RANKS, a, COUNT / RANKS);
    return c->all_reduce(c, stream, a, COUNT);
}
static gd_status other_count(gd_device_comm *c, int rank, float *a) {
    return c->all_reduce(c, stream, a, rank == 3 ? COUNT - 1 : COUNT);
}
static gd_status other_root(gd_device_comm *c, int rank, float *a) {
    return c->broadcast(c, stream, a, COUNT, rank == 1);
}
static gd_status other_parts(gd_device_comm *c, int rank, float *a) {
    static const int64_t other[RANKS + 1] = {0, 100, 101, 300, COUNT};
    return c->reduce_parts(c, stream, a, rank == 2 ? other : border);
}
static gd_status one_dies(gd_device_comm *c, int rank, float *a) {
    if (rank == 3) _exit(0);
    return c->all_reduce(c, stream, a, COUNT);
}
static gd_status one_waits_only(gd_device_comm *c, int rank, float *a) {
    return rank == 0 ? GD_OK : c->all_reduce(c, stream, a, COUNT);
}
static gd_status two_more(gd_device_comm *c, int rank, float *a) {
    (void)rank;
    for (int k = 0; k < 2; k++) GD_TRY(c->all_reduce(c, stream, a, COUNT));
    return GD_OK;
}

static gd_status differ_collective(int rank) { return second_differs(rank, other_collective); }
static gd_status differ_count(int rank) { return second_differs(rank, other_count); }
static gd_status differ_root(int rank) { return second_differs(rank, other_root); }
static gd_status differ_parts(int rank) { return second_differs(rank, other_parts); }
static gd_status differ_dies(int rank) { return second_differs(rank, one_dies); }
static gd_status differ_waits(int rank) { return second_differs(rank, one_waits_only); }
static gd_status differ_none(int rank) { return second_differs(rank, two_more); }

/* What the journals of the last case say. */
static void check_journals(const char *name, const char *words) {
    char text[256] = "";
    bool same = gd__nccl.same(between->journal, RANKS, text, sizeof text);
    if (same || !strstr(text, words)) printf("FAIL %s: expected '%s', got '%s'\n", name, words, text), failures++;
    else printf("%-28s ok  %s\n", "", text);
}

static void check_hangs(void) {
    on_ranks("a rank that does not come", "", one_is_away, "ncclCommInitRankConfig did not end within 0.5 s", 1);
    on_ranks("init that never ends", "never", right, "communicator G, rank", -1);
    on_ranks("another collective", "", differ_collective, "did not end within 0.5 s", -1);
    check_journals("another collective",
                   "call 1 is all-reduce of 512 floats on rank 0 and all-gather of 128 floats on rank 2");
    on_ranks("another count", "", differ_count, "last put on a stream: call 1, all-reduce of 51", -1);
    check_journals("another count",
                   "call 1 is all-reduce of 512 floats on rank 0 and all-reduce of 511 floats on rank 3");
    on_ranks("another root", "", differ_root, "last put on a stream: call 1, broadcast of 512 floats from", -1);
    check_journals("another root",
                   "broadcast of 512 floats from 0 on rank 0 and broadcast of 512 floats from 1 on rank 1");
    on_ranks("other parts", "", differ_parts, "last put on a stream: call 1, reduction of 512 floats in parts", -1);
    check_journals("other parts", "on rank 0 and reduction of 512 floats in parts");
    on_ranks("a rank that dies", "", differ_dies, "a rank is gone", 3);
    on_ranks("a rank that dies, noticed", "notice", differ_dies, "remote process exited", 3);
    on_ranks("a rank that forgets one", "", differ_waits, "did not end within", 0);
    check_journals("a rank that forgets one",
                   "rank 1 made 2 calls and rank 0 1: rank 0 never came to call 1, all-reduce of 512");
    on_ranks("an error of NCCL's", "async", differ_none, "NCCL says: a cable was pulled", -1);
}

/* ---- journals by themselves ---- */

static void check_long_journals(void) {
    static gd_device_comm_journal j[2];
    char text[256] = "";
    memset(j, 0, sizeof j);
    for (int r = 0; r < 2; r++)
        for (int k = 0; k < 300; k++) gd__cu_journal_add(&j[r], GD_DEVICE_ALL_REDUCE, k == 20 ? 7 + r : 9, 0);
    expect(!gd__cu_journal_same(j, 2, text, sizeof text) && strstr(text, "before the last 64 of 300"), text, "journal");
    gd__cu_journal_add(&j[0], GD_DEVICE_ALL_GATHER, 5, 0);
    expect(!gd__cu_journal_same(j, 2, text, sizeof text) &&
               strstr(text, "rank 1 never came to call 300, all-gather of 5"),
           text, "journal");
    gd__cu_journal_last(&(gd_device_comm_journal){0}, text);
    expect(!strcmp(text, "nothing"), text, "journal");
}

/* ---- the library ---- */

/* In a process of its own, since the library stays open. */
static void in_child(const char *name, void (*run)(const char *), const char *arg) {
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        failures = 0;
        run(arg);
        fflush(stdout);
        _exit(failures != 0);
    }
    waitpid(pid, &status, 0);
    expect(WIFEXITED(status) && !WEXITSTATUS(status), "fails", name);
}

static void says(const char *words) {
    int version = 0;
    gd_status st = gd__nccl.version(&version);
    expect(st == GD_UNSUP && strstr(gd_error_message(), words), words, "library");
    printf("%-28s %s  %s\n", "library", st == GD_UNSUP ? "ok" : "FAIL", gd_error_message());
}

static void old_library(const char *unused) {
    (void)unused;
    setenv("FAKE_NCCL", "old", 1);
    says("libnccl.so.2 is version 2.18.5; expected 2.19.0 or newer");
    setenv("FAKE_NCCL", "", 1); /* tried again */
    int version = 0;
    expect(gd__nccl.version(&version) == GD_OK && version == 22809, "version", "library");
}
static void short_library(const char *folder) {
    setenv("GANDIST_CUDA_LIBRARIES", folder, 1);
    says("libnccl.so.2 has no ncclGetUniqueId; expected a newer version");
}
static void no_library(const char *folder) {
    setenv("GANDIST_CUDA_LIBRARIES", folder, 1);
    if (dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL)) printf("a system's libnccl.so.2 is there: not tried without\n");
    else says("libnccl.so.2 cannot be opened");
}
/* What the system has is good enough to be opened, or says why. */
static void real_library(const char *unused) {
    (void)unused;
    int version = 0;
    unsetenv("GANDIST_CUDA_LIBRARIES");
    gd_status st = gd__nccl.version(&version);
    if (st == GD_OK) printf("%-28s ok  %d\n", "the system's NCCL", version);
    else printf("%-28s --  %s\n", "the system's NCCL", gd_error_message());
    expect(st == GD_OK ? version >= 21900 : st == GD_UNSUP, "version", "the system's NCCL");
}

static void bad_ids(const char *unused) {
    unsigned char id[GD_DEVICE_COMM_ID], other[GD_DEVICE_COMM_ID];
    gd_device_comm *c;
    gd_device_comm_opts o = {.name = "G", .rank = 0, .size = 1, .id = id};
    (void)unused;
    ops_need(gd__nccl.make_id(id), "id");
    memcpy(other, id, sizeof id);
    const int32_t version = 22705;
    memcpy(id + 16, &version, sizeof version);
    expect(gd__nccl.open(&o, &c) == GD_USAGE &&
               strstr(gd_error_message(), "this rank has NCCL 2.28.9, rank 0 has 2.27.5; expected one version"),
           "another version", "id");
    memset(id, 0, sizeof id);
    expect(gd__nccl.open(&o, &c) == GD_USAGE && strstr(gd_error_message(), "none of rank 0's"), "zeros", "id");
    o.id = other;
    o.rank = 1;
    expect(gd__nccl.open(&o, &c) == GD_USAGE && strstr(gd_error_message(), "rank 1 of 1"), "a rank too far", "id");
    o.rank = 0;
    o.size = 99; /* the fake refuses */
    expect(gd__nccl.open(&o, &c) == GD_NCCL && strstr(gd_error_message(), "ncclCommInitRankConfig: 4 (failed)"),
           "refused", "id");
}

/* ---- every call fails once ---- */

static gd_status alone(void) {
    gd_device_comm *c;
    void *a;
    gd_error e;
    unsigned char id[GD_DEVICE_COMM_ID];
    gd_status st;
    GD_TRY(gd__nccl.make_id(id));
    const gd_device_comm_opts o = {.name = "G", .size = 1, .id = id, .open_seconds = 1, .call_seconds = 1};
    GD_TRY(gd__nccl.open(&o, &c));
    GD_TRY_TO(out, c->alloc(c, 64, &a));
    memset(a, 0, 64);
    GD_TRY_TO(out, c->all_reduce(c, stream, a, 16));
    GD_TRY_TO(out, c->reduce_scatter(c, stream, a, a, 16));
    GD_TRY_TO(out, c->all_gather(c, stream, a, a, 16));
    GD_TRY_TO(out, c->broadcast(c, stream, a, 16, 0));
    GD_TRY_TO(out, c->reduce_parts(c, stream, a, (const int64_t[]){0, 16}));
    GD_TRY_TO(out, c->gather_parts(c, stream, a, (const int64_t[]){0, 16}));
    GD_TRY_TO(out, c->wait(c, stream, 1));
    GD_TRY_TO(out, wait_event(c, 1));
    GD_TRY_TO(out, c->free(c, a));
out:
    gd_error_save(st, &e);
    gd_status closed = c->close(c);
    return st == GD_OK ? closed : gd_error_restore(&e);
}

static void failing_calls(const char *unused) {
    int n, errors = 0;
    (void)unused;
    open_device();
    int before = live();
    ops_need(alone(), "alone"); /* the library is open from now on */
    fail_at(0);
    ops_need(alone(), "alone");
    n = calls();
    for (int k = 1; k <= n; k++) {
        fail_at(k);
        gd_status st = alone();
        const char *f = failed();
        if (!f) break;
        errors += st != GD_OK;
        expect(st != GD_OK && strstr(gd_error_message(), f), "is not named", f);
        fail_at(0);
        expect(live() == before, "something is left", f);
    }
    fail_at(0);
    expect(errors == n && n > 15, "calls", "failing calls");
    printf("%d calls, %d became errors that name them\n", n, errors);
    close_device();
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    setenv("GANDIST_CUDA_LIBRARIES", argv[1], 1);
    open_fake(argv[1]);
    between = mmap(NULL, sizeof *between, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (between == MAP_FAILED) ops_die("no memory");
    in_child("an old library", old_library, NULL);
    in_child("a library without functions", short_library, argv[2]);
    in_child("no library", no_library, "/nowhere");
    in_child("the system's library", real_library, NULL);
    in_child("bad ids", bad_ids, NULL);
    in_child("failing calls", failing_calls, NULL);
    on_ranks("right", "", right, NULL, -1);
    on_ranks("right, nothing registered", "no-register", right, NULL, -1);
    on_ranks("memory in a capture", "", memory_in_capture, "ncclMemAlloc: 1", -1);
    check_hangs();
    check_long_journals();
    printf("%d failures\n", failures);
    return failures != 0;
}
