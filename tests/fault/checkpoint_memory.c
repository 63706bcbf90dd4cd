/* Memory runs out: the n-th allocation fails, for every n, once or from then on, in everything that touches a
 * checkpoint. It is reported as such, never taken for damage, and leaks nothing. The linker routes the
 * allocations of this program through the functions below. */
#include <stdio.h>

#include "base/log.h"
#include "dist/lock.h"
#include "dist/writer.h"
#include "tests/fault/checkpoint_rig.h"
#include "tests/fault/faulty_io.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__real_XXH3_createState(void);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_asprintf(char **out, const char *format, ...);
void *__wrap_XXH3_createState(void);

static int allocations, fail_at = -1;
static bool sticky;

static bool fails(void) {
    int i = allocations++;
    return fail_at >= 0 && (i == fail_at || (sticky && i > fail_at));
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t each) { return fails() ? NULL : __real_calloc(n, each); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t align, size_t n) { return fails() ? NULL : __real_aligned_alloc(align, n); }
char *__wrap_strdup(const char *s) { return fails() ? NULL : __real_strdup(s); }
void *__wrap_XXH3_createState(void) { return fails() ? NULL : __real_XXH3_createState(); }
int __wrap_asprintf(char **out, const char *format, ...) {
    va_list v;
    *out = NULL;
    if (fails()) return -1;
    va_start(v, format);
    int n = vasprintf(out, format, v);
    va_end(v);
    return n;
}

/* ---- what is tried ---- */

static gd_comm *self;
static rig_state saved;

static gd_status verify(void) {
    gd_verify_report report;
    return gd_checkpoint_verify(rig_path("step-000000000001"), GD_VERIFY_DEEP, &report);
}

static rig_state into;

static gd_status load(void) {
    gd_checkpoint *k = NULL;
    GD_TRY(gd_checkpoint_open(rig_path("step-000000000001"), &k));
    gd_status st = GD_OK;
    for (int i = 0; i < RIG_TENSORS && st == GD_OK; i++) st = gd_checkpoint_read(k, &into.tensor[i]);
    gd_checkpoint_close(k);
    return st;
}

static gd_status save(void) { return gd_checkpoint_save(self, rig_root, &saved.s, NULL); }

static gd_status list(void) {
    char **paths = NULL;
    int count = 0;
    gd_status st = gd_checkpoint_list(rig_root, &paths, &count);
    if (st == GD_OK) gd_checkpoint_list_free(paths, count);
    return st;
}

static gd_status retain(void) { return gd_checkpoint_retain(rig_root, 2); }
static gd_status reshard(void) { return gd_checkpoint_reshard(rig_path("step-000000000001"), 3); }

static gd_status behind(void) {
    gd_writer *w = NULL;
    gd_writer_opts o = {.dir = rig_root, .keep = 5};
    gd_status result = GD_OK, st;
    GD_TRY(gd_writer_new(self, &o, &w));
    gd_writer_prepare(w, &saved.s);
    st = gd_writer_start(w, &saved.s);
    if (st == GD_OK) st = gd_writer_finish(w, &result);
    gd_writer_free(w);
    return st == GD_OK ? result : st;
}

static gd_status lock(void) {
    gd_run_lock *l = NULL;
    gd_status st = gd_run_lock_take(rig_root, 0, &l);
    gd_run_lock_release(l);
    return st;
}

static gd_status starts(void) {
    gd_status st = gd_starts_begin(rig_root, 1, 2);
    return st == GD_OK ? gd_starts_end(rig_root, "it stopped") : st;
}

typedef struct trial {
    const char *name;
    gd_status (*run)(void);
    int least; /* allocations that it has for certain */
} trial;

static const trial trials[] = {
    {"verify", verify, 20},   {"load", load, 20},     {"save", save, 20}, {"list", list, 4},     {"retain", retain, 4},
    {"reshard", reshard, 40}, {"writer", behind, 20}, {"lock", lock, 5},  {"starts", starts, 8},
};

static gd_status run_failing(const trial *t, int at) {
    allocations = 0;
    fail_at = at;
    gd_status st = t->run();
    fail_at = -1;
    return st;
}

static void expect_old_one(void) {
    gd_verify_report report;
    rig_expect(gd_checkpoint_verify(rig_path("step-000000000001"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
}

static void expect_whole_new_one(void) {
    gd_verify_report report;
    const char *path = rig_path("step-000000000002");
    if (gd_path_exists(path)) rig_expect(gd_checkpoint_verify(path, GD_VERIFY_DEEP, &report), GD_OK, NULL);
}

static void try_all(const trial *t) {
    int failures = 0;
    for (int at = 0;; at++) {
        rig_expect(gd_dir_remove(rig_path("step-000000000002")), GD_OK, NULL);
        rig_expect(gd_starts_end(rig_root, NULL), GD_OK, NULL);
        gd_status st = run_failing(t, at);
        bool over = at >= allocations;
        /* A folder that cannot be listed for want of memory is an I/O error to those who list it. */
        if (st != GD_OK && st != GD_NOMEM && st != GD_IO)
            fail_msg("%s, allocation %d: %s: %s", t->name, at, gd_status_name(st), gd_error_message());
        failures += st != GD_OK;
        expect_old_one();
        expect_whole_new_one();
        rig_expect(gd_checkpoint_recover(rig_root), GD_OK, NULL);
        if (!over) continue;
        rig_expect(st, GD_OK, NULL);
        break;
    }
    if (failures < t->least) fail_msg("%s: %d failures", t->name, failures);
}

static void the_nth_allocation_fails(void **state) {
    (void)state;
    for (int s = 0; s < 2; s++) {
        sticky = s;
        for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) try_all(&trials[i]);
    }
}

static int setup(void **state) {
    if (rig_setup(state) != 0) return -1;
    faulty_start((faulty){.at = -1}); /* does not wait for the disk */
    rig_save(1);
    rig_fill(&saved, 2);
    rig_fill(&into, 1);
    return gd_comm_self(&self) == GD_OK ? 0 : -1;
}

static int teardown(void **state) {
    faulty_stop();
    gd_comm_free(self);
    rig_free(&saved);
    rig_free(&into);
    return rig_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(the_nth_allocation_fails, setup, teardown)};
    gd_log_set_stderr(false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
