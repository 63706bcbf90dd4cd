/* Stopped at each of many steps in a row and resumed: the bytes of a run that was never stopped. Between them the
 * runs come by everything that a step can be: each place of a k:1 and of an alternating schedule, updates with and
 * without penalty, a pool that fills and that is full, the edge of an epoch inside and at the end of a step, rates
 * that are constant and that fall, a noise that ends, an average that begins.
 * 30 steps, each resumed for a few steps and every tenth to the end; with --long 60, all to the end, and a run that
 * is stopped after each. */
#include <omp.h>

#include "base/io.h"
#include "tests/dist/variants.h"

enum { STEPS_MAX = 62, AHEAD = 2, WHOLE_EVERY = 10 };
static int stops = 30;
static bool all_whole;
static const char *folder;

static void fall_from(gd_train_config *c, int64_t start) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        c->optimizer[g].decay = GD_DECAY_LINEAR;
        c->optimizer[g].decay_start = start;
        c->optimizer[g].decay_end = 500;
    }
}

/* 3 D updates on 24 of 60 samples a step; a penalty in every second of them; noise until step 20. */
static gd_train_config penalised(void) {
    gd_train_config c = wgan_gp();
    c.schedule.noise.steps = 20;
    fall_from(&c, 13);
    return c;
}

/* The pools are full after the fourth step. */
static gd_train_config pooled(void) {
    gd_train_config c = cyclegan();
    c.pool_size = 29;
    fall_from(&c, 11);
    return c;
}

/* 2 D steps, then one of G, by turns; its average begins after the third. */
static gd_train_config by_turns(void) {
    gd_train_config c = alternating();
    c.schedule.warmup_steps = 0;
    fall_from(&c, 17);
    return c;
}

static const variant runs[] = {
    {"penalised", penalised, &noise_data}, {"pooled", pooled, &pair_data}, {"by turns", by_turns, &noise_data}};

static void start_test(const char *name) {
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

static gd_trainer *trainer_of(const gd_train_config *c, const variant *v) {
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    EXPECT_OK(gd_trainer_new(comm, c, *v->data, &none, &t));
    return t;
}

/* The run that is never stopped, with a checkpoint of every step; hash[]: after each step. */
static void run_through(const gd_train_config *c, const variant *v, int last, uint64_t hash[STEPS_MAX + 1]) {
    gd_trainer *t = trainer_of(c, v);
    for (int64_t step = 1; step <= last; step++) {
        EXPECT_OK(gd_trainer_run(t, step));
        hash[step] = gd_trainer_state_hash(t);
        EXPECT(hash[step] != hash[step - 1]);
    }
    gd_trainer_free(t);
}

static void stop_after(const gd_train_config *c, const variant *v, int from, int to, const uint64_t *hash) {
    char path[1200];
    gd_trainer *t = trainer_of(c, v);
    snprintf(path, sizeof path, "%s/step-%012d", folder, from);
    EXPECT_OK(gd_trainer_load(t, path));
    EXPECT(gd_trainer_state_hash(t) == hash[from], "%s: step %d is loaded as something else", v->name, from);
    EXPECT_OK(gd_trainer_run(t, to));
    EXPECT(gd_trainer_state_hash(t) == hash[to], "%s, stopped after step %d: another state at step %d", v->name, from,
           to);
    gd_trainer_free(t);
}

/* One more way: a run that is stopped after every single step. */
static void stop_always(const gd_train_config *c, const variant *v, const uint64_t *hash) {
    uint64_t got = 0;
    for (int64_t step = 0; step < stops; step++) {
        int64_t at = -1;
        gd_trainer *t = trainer_of(c, v);
        EXPECT_OK(gd_trainer_resume(t, &at));
        EXPECT(at == step);
        EXPECT_OK(gd_trainer_run(t, step + 1));
        got = gd_trainer_state_hash(t);
        gd_trainer_free(t);
    }
    EXPECT(got == hash[stops], "%s, stopped after every step: another state at step %d", v->name, stops);
}

static void stopped_at_every_step(void) {
    for (size_t k = 0; k < sizeof runs / sizeof *runs; k++) {
        const variant *v = &runs[k];
        const int last = stops + 2;
        uint64_t hash[STEPS_MAX + 1] = {0};
        start_test("steps");
        gd_train_config c = v->config(), silent;
        c.shards = 4;
        c.checkpoint_dir = folder;
        c.checkpoint_every = 1;
        c.checkpoint_keep = last;
        run_through(&c, v, last, hash);
        silent = c;
        silent.checkpoint_dir = NULL;
        for (int from = 1; from <= stops; from++) {
            bool whole = all_whole || from % WHOLE_EVERY == 0 || from + AHEAD > last;
            stop_after(&silent, v, from, whole ? last : from + AHEAD, hash);
        }
        if (!all_whole) continue;
        start_test("always");
        c.checkpoint_dir = folder;
        c.checkpoint_keep = 2;
        stop_always(&c, v, hash);
    }
}

int main(int argc, char **argv) {
    const rig_test tests[] = {RIG_TEST(stopped_at_every_step)};
    if (argc > 1 && !strcmp(argv[1], "--long")) {
        stops = 60;
        all_whole = true;
    }
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
