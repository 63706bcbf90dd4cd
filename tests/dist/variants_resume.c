/* Every kind of GAN, stopped after each of its first steps and resumed: pools that fill and that turn over, places in a
 * k:1 schedule, in a penalty's interval, in an adaptive window. The same bits as a run that was never stopped. */
#include <omp.h>

#include "base/io.h"
#include "tests/dist/variants.h"

enum { STEPS = 7 };
static const char *folder;

static void start_test(const char *name) {
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

/* Goes on from step `from` to the end on c's ranks; returns the state hash. */
static uint64_t go_on(gd_comm *c, gd_train_config config, const gd_dataset *d, int64_t from, gd_counters *end) {
    gd_trainer *t;
    gd_train_hooks none = {0};
    char path[1200];
    config.checkpoint_dir = NULL;
    snprintf(path, sizeof path, "%s/step-%012lld", folder, (long long)from);
    EXPECT_OK(gd_trainer_new(c, &config, d, &none, &t));
    EXPECT_OK(gd_trainer_load(t, path));
    EXPECT(gd_trainer_step(t) == from);
    EXPECT_OK(gd_trainer_run(t, STEPS));
    uint64_t hash = gd_trainer_state_hash(t);
    *end = t->counters;
    gd_trainer_free(t);
    return hash;
}

static void expect_exact(const variant *v) {
    gd_train_config c = v->config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    gd_counters end, other;
    gd_comm *self;
    c.shards = 4;
    c.checkpoint_dir = folder;
    c.checkpoint_every = 1;
    c.checkpoint_keep = STEPS;
    EXPECT_OK(gd_comm_self(&self));
    EXPECT_OK(gd_trainer_new(comm, &c, *v->data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, STEPS));
    uint64_t want = gd_trainer_state_hash(t);
    end = t->counters;
    gd_trainer_free(t);
    for (int64_t from = 1; from < STEPS; from++) {
        EXPECT(go_on(comm, c, *v->data, from, &other) == want, "%s, stopped after step %d", v->name, (int)from);
        EXPECT(!memcmp(&end, &other, sizeof end), "%s, stopped after step %d: counters", v->name, (int)from);
    }
    if (rank == 0)
        EXPECT(go_on(self, c, *v->data, 3, &other) == want && !memcmp(&end, &other, sizeof end), "%s, by one rank",
               v->name);
    EXPECT_OK(gd_comm_barrier(comm));
    gd_comm_free(self);
}

static void resumed_is_as_never_stopped(void) {
    for (int i = 0; i < VARIANTS; i++) {
        start_test("variant");
        expect_exact(&variants[i]);
    }
}

/* The images of a pool are loaded, not only its size: other contents are another end. */
static void a_pool_is_part_of_the_state(void) {
    start_test("pool");
    gd_train_config c = cyclegan();
    gd_train_hooks none = {0};
    gd_trainer *t;
    EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 3));
    uint64_t want = gd_trainer_state_hash(t);
    t->pool[1].image[7] += 0.5f;
    EXPECT(gd_trainer_state_hash(t) != want);
    t->pool[1].image[7] -= 0.5f;
    gd_trainer_free(t);
}

int main(void) {
    const rig_test tests[] = {RIG_TEST(resumed_is_as_never_stopped), RIG_TEST(a_pool_is_part_of_the_state)};
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
