/* Steps whose numbers are not finite, for a while: their updates are not made, nothing that stays takes such a number,
 * and training goes on; after too many in a row it goes back. The same bits on any number of ranks, and after a
 * resume in the middle of them. */
#include <omp.h>

#include "base/hash.h"
#include "base/io.h"
#include "tests/dist/variants.h"

enum { FROM = 4, UNTIL = 14, SHARDS = 4 };

static const char *folder;
static gd_dataset *data;

/* ---- a weight that is not a number during some steps, on all ranks ---- */

static struct {
    gd_trainer *t;
    gd_group group;
    int64_t last; /* of the steps FROM.. */
    int times;    /* steps that it may still happen in */
    float before; /* while it is not */
    bool on;
    int skips, rollbacks; /* events */
    int64_t in_row;
    uint64_t good, then; /* hashes of weights and moments in front of FROM, and behind `last` */
} bad;

static float *weight(void) { return &bad.t->group[bad.group].param[3]; }

/* Weights, moments, averages of weights and the running statistics of D, which sees the images of a bad step. */
static uint64_t hash_lasting(const gd_trainer *t) {
    uint64_t h = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        h = gd_hash64(a->param, a->count * sizeof(float), h);
        for (int m = 0; m < 2; m++) h = gd_hash64(a->moment[m], (a->last - a->first) * sizeof(float), h);
        if (a->ema) h = gd_hash64(a->ema, a->count * sizeof(float), h);
    }
    for (int i = 0; i < t->n_slots; i++)
        if (t->slot[i].info->buffer && t->slot[i].group == GD_GROUP_D)
            h = gd_hash64(t->buffer[0] + t->slot[i].offset, t->slot[i].count * sizeof(float), h);
    return h;
}

/* The linker leads the trainer's call for its first batch of an iteration here. */
gd_status __real_gd_loader_next(gd_loader *l, gd_batch *out);
gd_status __wrap_gd_loader_next(gd_loader *l, gd_batch *out);
gd_status __wrap_gd_loader_next(gd_loader *l, gd_batch *out) {
    int64_t step = bad.t ? bad.t->plan.step : 0;
    if (!bad.on && bad.times && step >= FROM && step <= bad.last) {
        bad.before = *weight();
        bad.on = true;
        bad.times--;
        *weight() = NAN;
    }
    return __real_gd_loader_next(l, out);
}

/* When an iteration is over, before anything is decided or saved. */
static int between_iterations(void *ctx) {
    (void)ctx;
    int64_t step = bad.t->counters.step;
    if (bad.on) *weight() = bad.before;
    bad.on = false;
    if (step == FROM - 1) bad.good = hash_lasting(bad.t);
    if (step == bad.last) bad.then = hash_lasting(bad.t);
    return 0;
}

static void remember(void *ctx, const gd_event *e) {
    (void)ctx;
    if (!strcmp(e->kind, "rollback")) bad.rollbacks++;
    if (strcmp(e->kind, "skip")) return;
    bad.skips++;
    bad.in_row = bad.t->counters.skips;
}

static gd_trainer *start(gd_comm *c, const gd_train_config *config, const gd_dataset *d, int64_t last, int times) {
    gd_train_hooks hooks = {.poll = between_iterations, .on_event = remember};
    memset(&bad, 0, sizeof bad);
    bad.group = GD_GROUP_D;
    bad.last = last;
    bad.times = times;
    EXPECT_OK(gd_trainer_new(c, config, d, &hooks, &bad.t));
    return bad.t;
}

static void finish(void) {
    gd_trainer_free(bad.t);
    bad.t = NULL;
}

static gd_train_config skipping(const char *name) {
    gd_train_config c = tiny_config();
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
    c.shards = SHARDS;
    c.on_nonfinite = GD_NONFINITE_SKIP;
    c.checkpoint_dir = folder;
    c.checkpoint_every = 1;
    c.checkpoint_keep = 2 * UNTIL;
    c.checkpoint_wait = true;
    return c;
}

static void load_step(gd_trainer *t, int64_t step) {
    char path[1200];
    snprintf(path, sizeof path, "%s/step-%012d", folder, (int)step);
    EXPECT_OK(gd_trainer_load(t, path));
}

/* ---- tests ---- */

static uint64_t three_steps(gd_comm *c, const gd_train_config *config) {
    gd_trainer *t = start(c, config, data, FROM + 2, 3);
    EXPECT_OK(gd_trainer_run(t, UNTIL));
    EXPECT(t->counters.rollbacks == 0 && t->counters.skips == 0 && t->counters.step == UNTIL);
    EXPECT(bad.good == bad.then && bad.good != hash_lasting(t));
    if (gd_comm_rank(c) == 0) EXPECT(bad.skips == 3 && bad.in_row == 3, "%d events", bad.skips);
    uint64_t hash = gd_trainer_state_hash(t);
    finish();
    return hash;
}

static void bad_steps_leave_no_trace(void) {
    gd_train_config c = skipping("skips");
    uint64_t hash = three_steps(comm, &c), alone = hash;
    gd_train_config calm = c;
    calm.checkpoint_dir = NULL;
    EXPECT(tiny_train(comm, &calm, data, UNTIL, NULL) != hash);
    if (rank == 0) {
        gd_comm *self;
        EXPECT_OK(gd_comm_self(&self));
        alone = three_steps(self, &calm);
        gd_comm_free(self);
    }
    EXPECT(alone == hash, "other bits on %d ranks", size);
}

static void a_row_of_skips_is_resumed(void) {
    gd_train_config c = skipping("skips-resumed");
    uint64_t want = three_steps(comm, &c);
    gd_train_config unsaved = c;
    unsaved.checkpoint_dir = NULL;
    gd_trainer *t = start(comm, &unsaved, data, FROM + 2, 1);
    load_step(t, FROM + 1);
    EXPECT(t->counters.skips == 2);
    EXPECT_OK(gd_trainer_run(t, UNTIL));
    EXPECT(gd_trainer_state_hash(t) == want);
    if (rank == 0) EXPECT(bad.skips == 1 && bad.in_row == 3);
    finish();
}

/* Checkpoints from within the row are not where it goes back to. */
static void too_many_in_a_row_lead_back(void) {
    gd_train_config c = skipping("skips-back");
    gd_trainer *t = start(comm, &c, data, FROM + GD_SKIPS_MAX, GD_SKIPS_MAX + 1);
    EXPECT_OK(gd_trainer_run(t, UNTIL));
    EXPECT(t->counters.rollbacks == 1 && t->counters.skips == 0);
    EXPECT(t->counters.cursor == (uint64_t)(UNTIL + GD_SKIPS_MAX + 1) * TINY_BATCH);
    if (rank == 0) EXPECT(bad.skips == GD_SKIPS_MAX && bad.rollbacks == 1);
    finish();
    char path[1200];
    for (int step = FROM - 1; step < FROM + GD_SKIPS_MAX; step++) {
        snprintf(path, sizeof path, "%s/undone-step-%012d", folder, step);
        EXPECT(gd_path_exists(path) == (step >= FROM), "%s", path);
    }
}

static void it_ends_when_it_stays(void) {
    gd_train_config c = skipping("skips-stay");
    gd_trainer *t = start(comm, &c, data, UNTIL, 1000);
    gd_status st = gd_trainer_run(t, UNTIL);
    EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), "went back 3 times already"), "%s", gd_error_message());
    if (rank == 0) EXPECT(bad.skips == 4 * GD_SKIPS_MAX && bad.rollbacks == 3, "%d %d", bad.skips, bad.rollbacks);
    finish();
}

/* Under every policy: what is left when the run ends is as it was. */
static void bad_updates_are_never_made(void) {
    gd_train_config c = skipping("skips-stop");
    c.on_nonfinite = GD_NONFINITE_STOP;
    gd_trainer *t = start(comm, &c, data, FROM, 1);
    EXPECT(gd_trainer_run(t, UNTIL) == GD_NUMERIC && bad.good == bad.then);
    EXPECT(strstr(gd_error_message(), "step 4: loss_d is not a number"), "%s", gd_error_message());
    finish();
}

/* Bad images of a generator would come back out of the pool for a long time. */
static void pools_take_no_bad_images(void) {
    gd_train_config c = cyclegan();
    c.on_nonfinite = GD_NONFINITE_SKIP;
    gd_trainer *t = start(comm, &c, pair_data, FROM, 1);
    bad.group = GD_GROUP_G;
    EXPECT_OK(gd_trainer_run(t, FROM + 3));
    if (rank == 0) EXPECT(bad.skips == 1, "%d steps were skipped", bad.skips);
    for (int p = 0; p < t->n_pools; p++)
        for (size_t i = 0; i < (size_t)t->config.pool_size * t->pool_floats; i++)
            EXPECT(isfinite(t->pool[p].image[i]), "pool %d: float %zu", p, i);
    finish();
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(bad_steps_leave_no_trace), RIG_TEST(a_row_of_skips_is_resumed),  RIG_TEST(too_many_in_a_row_lead_back),
        RIG_TEST(it_ends_when_it_stays),    RIG_TEST(bad_updates_are_never_made), RIG_TEST(pools_take_no_bad_images),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    gd_log_set_stderr(false);
    open_variant_data();
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    close_variant_data();
    return failed;
}
