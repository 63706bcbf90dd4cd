/* A small state, and a save by several ranks in one process, phase by phase, in memory (memory_io.h). */
#ifndef GANDIST_TESTS_CHECKPOINT_SIM_H
#define GANDIST_TESTS_CHECKPOINT_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "dist/checkpoint_internal.h"
#include "tests/fault/memory_io.h"

enum { SIM_TENSORS = 5, SIM_FLOATS = 64, SIM_RANKS = 4 };
#define SIM_DIR "/run/checkpoints"

typedef struct sim_state {
    gd_state s;
    gd_state_tensor tensor[SIM_TENSORS];
    float data[SIM_TENSORS][SIM_FLOATS];
} sim_state;

static const gd_state_tensor sim_shapes[SIM_TENSORS] = {
    {.name = "G/a.weight", .shape = {2, {5, 7}}, .file_perm = {1, 0}},
    {.name = "G/a.bias", .shape = {1, {5}}, .file_perm = {0}},
    {.name = "D/b.weight", .shape = {4, {2, 3, 2, 3}}, .file_perm = {0, 3, 1, 2}},
    {.name = "adam.m/G/a.weight", .shape = {2, {5, 7}}, .file_perm = {1, 0}},
    {.name = "D/scale", .shape = {0, {0}}, .file_perm = {0}},
};

static inline void sim_fill(sim_state *x, int64_t step) {
    memset(x, 0, sizeof *x);
    gd_rng rng = {.seed = 9, .purpose = GD_PURPOSE_TEST, .step = (uint64_t)step};
    for (int i = 0; i < SIM_TENSORS; i++) {
        gd_rng_normal(&rng, (uint64_t)i, 0, SIM_FLOATS, x->data[i]);
        x->tensor[i] = sim_shapes[i];
        x->tensor[i].data = x->data[i];
    }
    x->s = (gd_state){.tensor = x->tensor,
                      .count = SIM_TENSORS,
                      .counters = {.step = step, .updates = {step, 2 * step}, .cursor = 16 * (uint64_t)step},
                      .seed = 3,
                      .recipe_text = "name: sim\n",
                      .run_id = "sim"};
}

static int sim_rank; /* who is running */
static bool sim_dead[SIM_RANKS];

static inline bool sim_any_dead(int ranks) {
    bool any = false;
    for (int r = 0; r < ranks; r++) any = any || sim_dead[r];
    return any;
}

static inline gd_status sim_worse(gd_status a, gd_status b) { return a != GD_OK ? a : b; }

/* What all ranks together would answer. After a death nobody does anything any more, after a failure rank 0
 * tidies up, as the training job does. keep 0: no retention. */
static inline gd_status sim_run(gd__save *j, int ranks, int keep) {
    gd_status st = GD_OK;
    sim_rank = 0;
    GD_TRY(gd__temporary_name(SIM_DIR, j[0].s->counters.step, j[0].temporary));
    for (int r = 1; r < ranks; r++) memcpy(j[r].temporary, j[0].temporary, sizeof j[r].temporary);
    st = gd__save_begin(&j[0]);
    if (st != GD_OK || sim_any_dead(ranks)) return st;
    for (sim_rank = 0; sim_rank < ranks; sim_rank++) {
        int own = gd__save_own(&j[sim_rank]);
        if (own >= 0 && !sim_dead[sim_rank]) st = sim_worse(st, gd__save_shard(&j[sim_rank], own));
    }
    sim_rank = 0;
    if (st != GD_OK || sim_any_dead(ranks)) return st;
    for (int r = 0; r < ranks; r++) {
        gd__save_report(&j[r]);
        memcpy((char *)j[0].all + (size_t)r * j[r].report_bytes, j[r].mine, j[r].report_bytes);
    }
    gd__save_learn(&j[0]);
    GD_TRY(gd__save_commit(&j[0]));
    return keep && !sim_any_dead(ranks) ? gd_checkpoint_retain(SIM_DIR, keep) : GD_OK;
}

static inline gd_status sim_save(int64_t step, int ranks, int keep) {
    static gd__save j[SIM_RANKS];
    sim_state x;
    gd_status st = GD_OK;
    sim_fill(&x, step);
    for (int r = 0; r < ranks; r++) {
        j[r] = (gd__save){.dir = SIM_DIR, .s = &x.s, .rank = r, .size = ranks};
        st = sim_worse(st, gd__save_plan(&j[r]));
    }
    assert_int_equal(st, GD_OK);
    st = sim_run(j, ranks, keep);
    if (st != GD_OK && !sim_any_dead(ranks)) gd__save_discard(&j[0], st);
    for (int r = 0; r < ranks; r++) gd__save_free(&j[r]);
    return st;
}

static inline void sim_saved(int64_t step, int ranks) {
    if (sim_save(step, ranks, 0) != GD_OK) fail_msg("step %lld: %s", (long long)step, gd_error_message());
}

static inline const char *sim_path(int64_t step) {
    static char path[4][128];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], SIM_DIR "/step-%012lld", (long long)step);
    return path[next];
}

/* Opens and reads everything, as resuming does. What reads well must be the state of that step: 1 good, 0 refused. */
static inline bool sim_loads(const char *path, int64_t *step) {
    gd_checkpoint *k = NULL;
    sim_state want, got;
    gd_status st = gd_checkpoint_open(path, &k);
    if (st != GD_OK) return false;
    const gd_state *s = gd_checkpoint_state(k);
    sim_fill(&want, s->counters.step);
    sim_fill(&got, -1);
    bool good = s->count == SIM_TENSORS;
    for (int i = 0; i < SIM_TENSORS && good; i++) good = gd_checkpoint_read(k, &got.tensor[i]) == GD_OK;
    if (good) {
        assert_memory_equal(&s->counters, &want.s.counters, sizeof s->counters);
        assert_string_equal(s->recipe_text, want.s.recipe_text);
        assert_true(s->seed == want.s.seed);
        for (int i = 0; i < SIM_TENSORS; i++)
            assert_memory_equal(got.data[i], want.data[i], (size_t)gd_shape_count(sim_shapes[i].shape) * sizeof(float));
        *step = s->counters.step;
    }
    gd_checkpoint_close(k);
    return good;
}

/* The step that a start would go on from; -1: none. Never a wrong state. */
static inline int64_t sim_resume(void) {
    char **paths = NULL;
    int count = 0;
    int64_t step = -1;
    if (gd_checkpoint_recover(SIM_DIR) != GD_OK) fail_msg("recover: %s", gd_error_message());
    assert_int_equal(gd_checkpoint_list(SIM_DIR, &paths, &count), GD_OK);
    for (int i = 0; i < count && step < 0; i++)
        if (!sim_loads(paths[i], &step)) step = -1;
    gd_checkpoint_list_free(paths, count);
    return step;
}

static inline int sim_entries(void) {
    char **names;
    size_t n;
    assert_int_equal(mem_list(SIM_DIR, &names, &n), 0);
    gd_io_free_names(names, n);
    return (int)n;
}

static inline int sim_setup(void **state) {
    (void)state;
    memset(sim_dead, 0, sizeof sim_dead);
    mem_start();
    gd_log_set_stderr(false);
    return mem_mkdir("/run", 0777) == 0 ? 0 : -1;
}

static inline int sim_teardown(void **state) {
    (void)state;
    mem_stop();
    return 0;
}

/* Seed of a random test, and how to repeat it: printed with its name. */
static inline uint64_t sim_seed(const char *test, uint64_t usual) {
    const char *given = getenv("GANDIST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : usual;
    printf("%s: seed %llu; repeat with GANDIST_SEED=%llu ctest -R %s\n", test, (unsigned long long)seed,
           (unsigned long long)seed, test);
    return seed;
}

#endif
