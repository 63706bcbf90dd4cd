/* tests/cuda/tune.c -- which plan is taken, on the fake cuDNN (fake.h), whose engines take what the test says: by heuristics, timed, of
 * all; what must not be taken; choices on disk, damaged and foreign ones; and rank 0's choices on another rank.
 * Usage: FOLDER of the fake libraries */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ops/harness.h"
#include "base/io.h"
#include "compute/cuda/dnn.h"
#include "compute/cuda/dnn_record.h"
#include "compute/cuda/driver.h"

static int failures;
static int (*ran)(void), (*live)(void), (*calls)(void);
static void (*fail_at)(int call);
static const char *(*failed)(void);
static char folder[2048];
static const gd__dnn_conv problem = {GD_OP_CONV, GD__DNN_BF16, false, 2, 8, 8, 8, 16, 3, 3, 8, 8, 1, {1, 1, 1, 1}};

static void expect(bool good, const char *what) {
    failures += !good;
    printf("%-60s %s%s\n", what, good ? "ok" : "FAIL ", good ? "" : gd_error_message());
}

static void open_fake(const char *fakes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/libcuda.so.1", fakes);
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!h) ops_die(dlerror());
    *(void **)&ran = dlsym(h, "fake_ran");
    *(void **)&live = dlsym(h, "fake_live");
    *(void **)&calls = dlsym(h, "fake_calls");
    *(void **)&fail_at = dlsym(h, "fake_fail_at");
    *(void **)&failed = dlsym(h, "fake_failed");
    setenv("GANDIST_CUDA_LIBRARIES", fakes, 1);
}

static gd__dnn *open_dnn(gd__dnn_tune tune, bool cache, bool nondeterministic) {
    const gd__dnn_opts o = {.cache = cache ? folder : NULL, .nondeterministic = nondeterministic, .tune = tune};
    gd__dnn *d;
    ops_need(gd__dnn_open(&o, &d), "open");
    return d;
}

/* Engine of the plan of c: in a process that has just started. Everything about the plan: *p, whose plan is gone. */
static int64_t engine_of(gd__dnn *d, const gd__dnn_conv *c, gd__dnn_plan *p) {
    ops_need(gd__dnn_make(d, "layer", c, p), "plan");
    const gd__dnn_plan all = *p;
    gd__dnn_plan_free(d, p);
    *p = all;
    p->plan = NULL;
    return p->engine;
}

static int64_t fresh(gd__dnn_tune tune, bool cache, bool nondeterministic, const gd__dnn_conv *c, gd__dnn_plan *p) {
    gd__dnn *d = open_dnn(tune, cache, nondeterministic);
    int64_t e = engine_of(d, c, p);
    gd__dnn_close(d);
    return e;
}

static void times(const char *text) { setenv("FAKE_DNN_TIMES", text, 1); }

/* ---- which ---- */

static void check_choice(void) {
    gd__dnn_plan p;
    gd__dnn_conv f32 = problem;
    f32.math = GD__DNN_F32;
    times("0:50,1:40,2:5,3:20,4:10,5:1,6:1,7:1");
    int before = ran();
    expect(fresh(GD__DNN_HEURISTIC, false, false, &problem, &p) == 0 && p.seconds == 0 && ran() == before,
           "heuristics: the first, and nothing runs");
    expect(fresh(GD__DNN_TIMED, false, false, &problem, &p) == 3 && p.candidates == 2 && p.seconds > 19e-6 &&
               p.seconds < 21e-6 && ran() > before,
           "timed: the fastest of those that fit and run");
    expect(fresh(GD__DNN_TIMED, false, true, &problem, &p) == 2 && !p.deterministic,
           "timed, any order of sums: another is faster");
    expect(fresh(GD__DNN_TIMED, false, false, &f32, &p) == 4 && !p.tensor_cores,
           "timed, strict f32: without tensor cores");
    times("0:50,3:50.5");
    expect(fresh(GD__DNN_TIMED, false, false, &problem, &p) == 0, "a tie: the lower number");
    times("0:50.5,3:50");
    expect(fresh(GD__DNN_TIMED, false, false, &problem, &p) == 0, "a tie, the other way: the lower number");
    times("0:52,3:50");
    expect(fresh(GD__DNN_ALL, false, false, &problem, &p) == 3, "all: no tie");
}

static void check_setting(void) {
    const gd__dnn_opts o = {0};
    gd__dnn *d;
    gd__dnn_plan p;
    times("0:50,3:20");
    unsetenv("GANDIST_CUDA_TUNE");
    expect(fresh(GD__DNN_BY_ENVIRONMENT, false, false, &problem, &p) == 0, "no setting: heuristics");
    setenv("GANDIST_CUDA_TUNE", "timed", 1);
    expect(fresh(GD__DNN_BY_ENVIRONMENT, false, false, &problem, &p) == 3, "GANDIST_CUDA_TUNE=timed");
    expect(fresh(GD__DNN_HEURISTIC, false, false, &problem, &p) == 0, "what the caller says comes first");
    setenv("GANDIST_CUDA_TUNE", "fast", 1);
    expect(gd__dnn_open(&o, &d) == GD_USAGE &&
               strstr(gd_error_message(), "GANDIST_CUDA_TUNE=fast; expected heuristic, timed or all"),
           "another word is refused");
    const gd__dnn_opts saved = {.device = "{\"deviceName\": \"saved\"}", .tune = GD__DNN_TIMED};
    expect(gd__dnn_open(&saved, &d) == GD_UNSUP && strstr(gd_error_message(), "cannot be timed"),
           "a device that is not here cannot be timed");
    unsetenv("GANDIST_CUDA_TUNE");
}

/* Every engine is refused: layer, problem and reasons are in the message. */
static void check_unsupported(void) {
    const gd__dnn_opts o = {.tune = GD__DNN_TIMED, .workspace_max = 100};
    gd__dnn *d;
    gd__dnn_plan p;
    ops_need(gd__dnn_open(&o, &d), "open");
    gd_status st = gd__dnn_make(d, "generator/up3", &problem, &p);
    const char *m = gd_error_message();
    expect(st == GD_UNSUP && strstr(m, "generator/up3: cuDNN 91900 has no plan for conv bf16 x[2,8,8,8]") &&
               strstr(m, "engine 0: workspace of 512 bytes") && strstr(m, "engine 1: no tensor cores") &&
               strstr(m, "engine 2: changing order of sums"),
           "nothing fits: layer, problem and reasons");
    printf("  %s\n", m);
    gd__dnn_close(d);
}

/* ---- on disk ---- */

static char *only_file(void) {
    char **names;
    size_t n = 0;
    if (gd_io_get()->list(folder, &names, &n) || n != 1) ops_die("expected one file of the cache");
    char *path = gd_path_join(folder, names[0]);
    gd_io_free_names(names, n);
    return path;
}

static void check_disk(void) {
    gd__dnn_plan p;
    ops_need(gd_dir_remove(folder), folder);
    times("0:50,3:20");
    expect(fresh(GD__DNN_TIMED, true, false, &problem, &p) == 3 && !p.cached, "timed, and kept");
    times("0:20,3:50");
    int before = ran();
    expect(fresh(GD__DNN_TIMED, true, false, &problem, &p) == 3 && p.cached && p.candidates == 2 && ran() == before,
           "the choice comes from disk, and nothing runs");
    expect(fresh(GD__DNN_HEURISTIC, true, false, &problem, &p) == 0 && !p.cached, "heuristics do not take timed ones");
    expect(fresh(GD__DNN_ALL, true, false, &problem, &p) == 0 && !p.cached, "nor do those who time all");
    expect(fresh(GD__DNN_TIMED, true, true, &problem, &p) == 0 && !p.cached, "nor those who asked for something else");
}

/* text with one occurrence of `from` replaced. owner: caller. */
static char *with(const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    if (!at) ops_die(from);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

/* A file of the cache that was changed is made anew; that it is not taken shows in the engine: the fake now prefers 0. */
static void try_damaged(const char *path, const char *text, const char *what) {
    gd__dnn_plan p;
    ops_need(gd_file_write(path, text, strlen(text)), path);
    expect(fresh(GD__DNN_TIMED, true, false, &problem, &p) == 0 && !p.cached, what);
    expect(fresh(GD__DNN_TIMED, true, false, &problem, &p) == 0 && p.cached, "  and mended");
}

static char *rehashed(const char *text, const char *from, const char *to) {
    gd__dnn_record r;
    char *out;
    ops_need(gd__dnn_record_parse(text, strlen(text), &r), "record");
    if (!strcmp(from, "plan")) free(r.plan), r.plan = strdup(to);
    else if (!strcmp(from, "key")) free(r.key), r.key = strdup(to);
    else if (!strcmp(from, "workspace")) r.workspace = strtoul(to, NULL, 10);
    else if (!strcmp(from, "deterministic")) r.deterministic = false;
    ops_need(gd__dnn_record_print(&r, &out), "record");
    gd__dnn_record_free(&r);
    return out;
}

static void check_damage(void) {
    gd__dnn_plan p;
    void *file;
    size_t bytes;
    ops_need(gd_dir_remove(folder), folder);
    times("0:50,3:20");
    fresh(GD__DNN_TIMED, true, false, &problem, &p);
    times("0:20,3:50");
    char *path = only_file();
    ops_need(gd_file_read(path, 1 << 20, &file, &bytes), path);
    char *good = strndup(file, bytes);
    static const struct {
        const char *what, *from, *to;
        bool rehash;
    } attack[] = {
        {"another engine in the plan's text", "fake 3 ", "fake 0 ", false},
        {"a workspace that is too small", "\"workspace\": 512", "\"workspace\": 1", false},
        {"a workspace below zero", "\"workspace\": 512", "\"workspace\": -512", false},
        {"an engine below zero", "\"engine\": 3", "\"engine\": -3", false},
        {"a time that is none", "\"candidates\": 2", "\"candidates\": -2", false},
        {"no hash", "\"hash\"", "\"hush\"", false},
        {"one member more", "\"hash\"", "\"a\": 1, \"hash\"", false},
        {"a member twice", "\"hash\"", "\"engine\": 3, \"hash\"", false},
        {"a number for a text", "\"key\": \"", "\"key\": 1, \"was\": \"", false},
        {"another key, with its hash", "key", "cudnn 91900 device 0000000000000000 conv", true},
        {"a plan that cuDNN does not take, with its hash", "plan", "no plan", true},
        {"a plan of another workspace, with its hash", "workspace", "256", true},
        {"too large a workspace, with its hash", "workspace", "99999999999", true},
        {"adds in changing order, with its hash", "deterministic", "", true},
    };
    for (size_t i = 0; i < sizeof attack / sizeof *attack; i++) {
        char *bad =
            attack[i].rehash ? rehashed(good, attack[i].from, attack[i].to) : with(good, attack[i].from, attack[i].to);
        try_damaged(path, bad, attack[i].what);
        free(bad);
    }
    try_damaged(path, "", "an empty file");
    try_damaged(path, "[]", "a list");
    good[bytes / 2] = 0;
    try_damaged(path, good, "half a file");
    free(good);
    free(file);
    free(path);
}

/* ---- from rank to rank ---- */

static gd__dnn *importer(const char *text, gd_status wanted, const char *words, const char *what) {
    gd__dnn *d = open_dnn(GD__DNN_TIMED, false, false);
    gd_status st = gd__dnn_import(d, text, strlen(text));
    expect(st == wanted && (!words || strstr(gd_error_message(), words)), what);
    gd_error_clear();
    return d;
}

static void check_ranks(void) {
    gd__dnn_conv other = problem;
    gd__dnn_plan p;
    char *text, *again, summary[128];
    other.k = 24;
    times("0:50,3:20");
    gd__dnn *zero = open_dnn(GD__DNN_TIMED, false, false);
    engine_of(zero, &problem, &p);
    ops_need(gd__dnn_export(zero, &text), "export");
    times("0:20,3:50");
    expect(engine_of(zero, &problem, &p) == 3, "what was timed once holds for the process");
    gd__dnn_summary(zero, summary);
    expect(!strcmp(summary, "1 convolutions: 1 timed, 0 from the cache, 0 imported"), summary);
    gd__dnn_close(zero);
    gd__dnn *one = importer(text, GD_OK, NULL, "rank 1 takes rank 0's choices");
    int before = ran();
    expect(engine_of(one, &problem, &p) == 3 && p.imported && p.candidates == 2, "and makes the same plan");
    expect(engine_of(one, &other, &p) == 0 && !p.imported && !p.candidates && ran() == before,
           "what rank 0 did not have goes by heuristics");
    ops_need(gd__dnn_export(one, &again), "export");
    expect(strstr(again, "w[24,3,3,8]") != NULL && strstr(again, "w[16,3,3,8]") != NULL,
           "all of it can go on to others");
    gd__dnn_close(one);
    free(again);
    char *bad = with(text, "fake 3 ", "fake 0 ");
    gd__dnn_close(importer(bad, GD_DATA, "damaged", "a damaged list is refused"));
    free(bad);
    gd__dnn_close(importer("{", GD_DATA, "no JSON", "what is no list is refused"));
    gd__dnn_close(importer("{}", GD_DATA, "expected a list", "nor is an object"));
    size_t n = strlen(text);
    bad = malloc(2 * n + 8);
    sprintf(bad, "[%.*s, %s", (int)(strrchr(text, ']') - text - 1), strchr(text, '[') + 1, strchr(text, '[') + 1);
    gd__dnn_close(importer(bad, GD_DATA, "twice", "one plan twice is refused"));
    free(bad);
    free(text);
}

/* A list whose records are right, but of something else. */
static void check_foreign(void) {
    gd__dnn_plan p;
    char *text;
    times("0:50,3:20");
    gd__dnn *d = open_dnn(GD__DNN_TIMED, false, true);
    engine_of(d, &problem, &p);
    ops_need(gd__dnn_export(d, &text), "export");
    gd__dnn_close(d);
    gd__dnn_close(importer(text, GD_CONFIG, "expected the same settings on all ranks", "other wishes are refused"));
    gd__dnn_records list;
    ops_need(gd__dnn_records_parse(text, strlen(text), &list), "list");
    free(text);
    free(list.list[0].key);
    list.list[0].key = strdup("cudnn 91800 device 0123456789abcdef conv workspace 536870912");
    ops_need(gd__dnn_records_print(&list, &text), "list");
    gd__dnn_close(importer(text, GD_CONFIG, "one GPU model and one cuDNN on all ranks", "another cuDNN is refused"));
    gd__dnn_records_free(&list);
    free(text);
}

/* What tells one GPU from the next of its kind makes no difference; another kind does, and so does an engine that is not there. */
static void check_unequal_devices(void) {
    gd__dnn_plan p;
    char *text;
    times("0:50,3:20");
    gd__dnn *d = open_dnn(GD__DNN_TIMED, false, false);
    expect(gd__dnn_times(d) && engine_of(d, &problem, &p) == 3, "rank 0 times");
    ops_need(gd__dnn_export(d, &text), "export");
    gd__dnn_close(d);
    setenv("FAKE_DNN_NUMBER", "5", 1);
    d = importer(text, GD_OK, NULL, "the next GPU of one kind takes its choices");
    expect(!gd__dnn_times(d) && engine_of(d, &problem, &p) == 3 && p.imported, "and makes the same plan");
    gd__dnn_close(d);
    setenv("FAKE_DNN_MODEL", "another GPU", 1);
    gd__dnn_close(importer(text, GD_CONFIG, "one GPU model and one cuDNN on all ranks", "another kind does not"));
    unsetenv("FAKE_DNN_MODEL");
    unsetenv("FAKE_DNN_NUMBER");
    setenv("FAKE_DNN_REFUSES", "3", 1);
    d = importer(text, GD_OK, NULL, "an engine that is not there is not noticed yet");
    int before = ran();
    gd_status st = gd__dnn_make(d, "generator/up3", &problem, &p);
    const char *m = gd_error_message();
    expect(st == GD_UNSUP && strstr(m, "generator/up3: cuDNN 91900 has no plan for conv bf16 x[2,8,8,8]") &&
               strstr(m, "by engine 3, which rank 0 has chosen") && strstr(m, "GANDIST_CUDA_TUNE=heuristic") &&
               ran() == before,
           "but when its plan is made: layer, problem, engine, what to do");
    printf("  %s\n", m);
    gd__dnn_close(d);
    unsetenv("FAKE_DNN_REFUSES");
    free(text);
}

/* All ranks by heuristics: there is nothing to hand on, and what comes from one that times none turns timing off. */
static void check_heuristics(void) {
    gd__dnn_plan p;
    char *text, summary[128];
    times("0:50,3:20");
    gd__dnn *d = open_dnn(GD__DNN_HEURISTIC, false, false);
    engine_of(d, &problem, &p);
    ops_need(gd__dnn_export(d, &text), "export");
    gd__dnn_summary(d, summary);
    expect(!gd__dnn_times(d) && !strcmp(text, "[]") && !*summary, "heuristics hand nothing on");
    gd__dnn_close(d);
    d = importer(text, GD_OK, NULL, "a rank that would time takes that");
    int before = ran();
    expect(!gd__dnn_times(d) && engine_of(d, &problem, &p) == 0 && ran() == before, "and goes by heuristics, too");
    gd__dnn_close(d);
    free(text);
}

/* ---- every call fails once ---- */

static void check_failing_calls(void) {
    gd__dnn_plan p;
    int errors = 0, others = 0, bad = 0;
    times("0:50,3:20");
    gd__dnn *d = open_dnn(GD__DNN_TIMED, false, false);
    int before = live();
    fail_at(0);
    engine_of(d, &problem, &p);
    gd__dnn_close(d);
    int n = calls();
    for (int k = 1; k <= n; k++) {
        d = open_dnn(GD__DNN_TIMED, false, false);
        fail_at(k);
        gd_status st = gd__dnn_make(d, "layer", &problem, &p);
        if (st == GD_OK) {
            others += p.engine != 3;
            gd__dnn_plan_free(d, &p);
        } else errors++;
        fail_at(0);
        bad += live() != before;
        if (live() != before)
            printf("call %d of %d, %s: %d objects left\n", k, n, failed() ? failed() : "", live() - before);
        gd_error_clear();
        gd__dnn_close(d);
    }
    expect(bad == 0 && errors > 10 && others > 0, "calls that fail: an error or another plan, and nothing is left");
    printf("  %d calls, %d became errors, %d led to the next best\n", n, errors, others);
}

int main(int argc, char **argv) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    if (argc < 2) return 2;
    open_fake(argv[1]);
    snprintf(folder, sizeof folder, "%s/plans", tmp ? tmp : "/tmp");
    check_choice();
    check_setting();
    check_unsupported();
    check_disk();
    check_damage();
    check_ranks();
    check_foreign();
    check_unequal_devices();
    check_heuristics();
    check_failing_calls();
    expect(live() == 0, "nothing is left");
    printf("%d failures\n", failures);
    return failures != 0;
}
