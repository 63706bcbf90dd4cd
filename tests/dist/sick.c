/* Training that falls sick, on purpose: watchers warn, stop, and lead back to the checkpoint from before, on all ranks
 * alike and with the same bits on any number of them. */
#include <omp.h>

#include "base/io.h"
#include "tests/dist/variants.h"

static const char *folder;
static char warnings[16384];

static void keep_warning(void *ctx, gd_level level, const char *line) {
    (void)ctx;
    size_t n = strlen(warnings);
    if (level == GD_LEVEL_WARN) snprintf(warnings + n, sizeof warnings - n, "%s\n", line);
}

static int times_warned(const char *what) {
    int times = 0;
    for (const char *s = warnings; (s = strstr(s, what)); s++) times++;
    return times;
}

static void start_test(const char *name) {
    folder = tiny_folder(name);
    *warnings = 0;
    EXPECT_OK(gd_log_configure("warn"));
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

/* Points on a ring by multilayer perceptrons: hundreds of iterations in a second. */
static gd_train_config ring_config(void) {
    gd_train_config c = base_config();
    gd_net_spec net = {.arch = "mlp", .height = 1, .width_px = 1, .channels = 2, .width = 8, .depth = 1};
    c.gan.range = GD_RANGE_RAW;
    c.gan.generator = c.gan.discriminator = net;
    c.gan.generator.generator = true;
    c.gan.generator.latent = 4;
    c.shards = 4;
    c.checkpoint_dir = folder;
    c.checkpoint_every = 10;
    c.checkpoint_keep = 20;
    c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.kind = GD_SGD, .lr = 0.01}; /* no memory of what it was */
    return c;
}

static gd_dataset *ring;

/* ---- harm ---- */

/* Done to the trainer when the step before `at` is over, `times` times at most. */
typedef struct harm {
    gd_trainer *t;
    int64_t at;
    int times, done;
    gd_group group;
    float value;      /* of every parameter of the group */
    const char *only; /* NULL, or the start of the names of those that are harmed */
} harm;

static int do_harm(void *ctx) {
    harm *h = ctx;
    if (h->done == h->times || h->t->counters.step != h->at - 1) return 0;
    for (int i = 0; i < h->t->n_slots; i++) {
        const gd__slot *s = &h->t->slot[i];
        if (s->group != h->group || s->info->buffer || (h->only && strncmp(s->name, h->only, strlen(h->only))))
            continue;
        for (size_t k = 0; k < s->count; k++) gd__slot_data(h->t, s)[k] = h->value;
    }
    h->done++;
    return 0;
}

/* Trains to `steps` with harm done; st: how it ends. Returns the trainer. */
static gd_trainer *train(gd_comm *c, const gd_train_config *config, const gd_dataset *d, harm *h, int64_t steps,
                         gd_status *st) {
    gd_train_hooks hooks = {.ctx = h, .poll = do_harm};
    gd_trainer *t = NULL;
    EXPECT_OK(gd_trainer_new(c, config, d, &hooks, &t));
    h->t = t;
    h->done = 0;
    *st = gd_trainer_run(t, steps);
    return t;
}

static void expect_end(gd_train_config c, harm h, int64_t steps, gd_status want, const char *text) {
    gd_status st;
    gd_trainer *t = train(comm, &c, ring, &h, steps, &st);
    EXPECT(st == want, "%s: %s", gd_status_name(st), gd_error_message());
    if (text) EXPECT(strstr(gd_error_message(), text), "%s", gd_error_message());
    gd_trainer_free(t);
}

static void expect_checkpoint(const char *name, bool there) {
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    EXPECT(gd_path_exists(path) == there, "%s", path);
}

/* ---- not finite ---- */

static const harm nan_at_27 = {.at = 27, .times = 1, .group = GD_GROUP_D, .value = NAN};

static void not_finite_leads_back(void) {
    start_test("nan");
    gd_train_config c = ring_config();
    c.on_nonfinite = GD_NONFINITE_ROLLBACK;
    harm h = nan_at_27;
    gd_status st;
    gd_trainer *t = train(comm, &c, ring, &h, 40, &st);
    EXPECT(st == GD_OK, "%s", gd_error_message());
    EXPECT(gd_trainer_step(t) == 40 && t->counters.rollbacks == 1);
    /* Updates 21 to 27 are undone; their samples are not seen again. */
    EXPECT(t->counters.updates[GD_GROUP_D] == 40 && t->counters.cursor == 47 * VARIANT_BATCH, "cursor %llu",
           (unsigned long long)t->counters.cursor);
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    if (rank == 0)
        EXPECT(times_warned("is not a number") == 1 && times_warned("back to the checkpoint of step 20") == 1, "%s",
               warnings);
    gd_train_config calm = c;
    calm.checkpoint_dir = NULL;
    harm none = {0};
    t = train(comm, &calm, ring, &none, 40, &st);
    EXPECT(st == GD_OK && gd_trainer_state_hash(t) != hash);
    gd_trainer_free(t);
    if (rank) return; /* the same by one rank */
    gd_comm *self;
    char other[1100];
    EXPECT_OK(gd_comm_self(&self));
    snprintf(other, sizeof other, "%s-alone", folder);
    EXPECT_OK(gd_dir_remove(other));
    c.checkpoint_dir = other;
    h = nan_at_27;
    t = train(self, &c, ring, &h, 40, &st);
    EXPECT(st == GD_OK && gd_trainer_state_hash(t) == hash);
    gd_trainer_free(t);
    gd_comm_free(self);
}

/* What was changed by going back is in the checkpoint: the seed and the place in the data. */
static void a_run_that_went_back_can_be_resumed(void) {
    start_test("nan-resumed");
    gd_train_config c = ring_config();
    gd_train_hooks none = {0};
    gd_status st;
    int64_t step;
    c.on_nonfinite = GD_NONFINITE_ROLLBACK;
    harm h = nan_at_27;
    gd_trainer *t = train(comm, &c, ring, &h, 35, &st);
    EXPECT(st == GD_OK);
    EXPECT_OK(gd_trainer_run(t, 40));
    uint64_t want = gd_trainer_state_hash(t);
    gd_counters end = t->counters;
    gd_trainer_free(t);
    EXPECT_OK(gd_trainer_new(comm, &c, ring, &none, &t));
    char path[1200];
    snprintf(path, sizeof path, "%s/step-%012d", folder, 30);
    EXPECT_OK(gd_trainer_load(t, path));
    EXPECT(t->counters.rollbacks == 1);
    EXPECT_OK(gd_trainer_run(t, 40));
    EXPECT(gd_trainer_state_hash(t) == want && !memcmp(&end, &t->counters, sizeof end));
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == 40 && gd_trainer_state_hash(t) == want);
    gd_trainer_free(t);
}

static void not_finite_ends_the_run_when_it_stays(void) {
    start_test("nan-stays");
    gd_train_config c = ring_config();
    harm h = nan_at_27;
    expect_end(c, h, 40, GD_NUMERIC, "step 27: ");
    expect_checkpoint("step-000000000020", true);
    expect_checkpoint("step-000000000040", false);
    start_test("nan-stays2");
    c.on_nonfinite = GD_NONFINITE_ROLLBACK;
    h.times = 100;
    expect_end(c, h, 40, GD_NUMERIC, "the run went back 3 times already");
    start_test("nan-early"); /* before the first checkpoint */
    h.at = 5;
    expect_end(c, h, 40, GD_NUMERIC, "there is no checkpoint from before to go back to");
    c.checkpoint_dir = NULL;
    h = nan_at_27;
    expect_end(c, h, 40, GD_NUMERIC, "there is no checkpoint from before to go back to");
}

/* In the very last iteration, too. */
static void the_last_step_can_be_undone(void) {
    start_test("nan-last");
    gd_train_config c = ring_config();
    c.on_nonfinite = GD_NONFINITE_ROLLBACK;
    harm h = nan_at_27;
    expect_end(c, h, 27, GD_OK, NULL);
    expect_checkpoint("step-000000000027", true);
}

/* ---- watchers ---- */

/* A discriminator of zeros says the same of everything, and stays like that. */
static const harm dead_at_25 = {.at = 25, .times = 1, .group = GD_GROUP_D, .value = 0};

static gd_train_config watching(gd_watch w, gd_watch_action action) {
    gd_train_config c = ring_config();
    c.watch.action[w] = action;
    c.watch.every = 2;
    return c;
}

static void a_warning_is_given_once(void) {
    start_test("warn");
    gd_train_config c = watching(GD_WATCH_VANISHED, GD_WATCH_WARN), off = ring_config();
    gd_status st;
    harm h = dead_at_25;
    gd_trainer *t = train(comm, &c, ring, &h, 90, &st);
    EXPECT(st == GD_OK && t->counters.watch.row[GD_WATCH_VANISHED] == 66);
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    if (rank == 0)
        EXPECT(times_warned("step 74: hardly any gradient reaches the generator") == 1 &&
                   times_warned("watch.vanished") == 1,
               "%s", warnings);
    else EXPECT(!*warnings, "%s", warnings);
    off.checkpoint_dir = NULL;
    h = dead_at_25;
    t = train(comm, &off, ring, &h, 90, &st);
    EXPECT(st == GD_OK && gd_trainer_state_hash(t) == hash); /* who looks changes nothing */
    gd_trainer_free(t);
}

static void a_watcher_can_stop_the_run(void) {
    start_test("stop");
    expect_end(watching(GD_WATCH_VANISHED, GD_WATCH_STOP), dead_at_25, 90, GD_NUMERIC, "step 74: hardly any gradient");
    expect_checkpoint("step-000000000070", true);
    expect_checkpoint("step-000000000074", false);
}

/* Checkpoints from after it began are of no use, and out of the way of those that come. */
static void a_watcher_can_lead_back(void) {
    start_test("back");
    gd_train_config c = watching(GD_WATCH_VANISHED, GD_WATCH_ROLLBACK);
    gd_status st;
    harm h = dead_at_25;
    gd_trainer *t = train(comm, &c, ring, &h, 90, &st);
    EXPECT(st == GD_OK, "%s", gd_error_message());
    EXPECT(t->counters.rollbacks == 1 && t->counters.watch.row[GD_WATCH_VANISHED] == 0);
    gd_trainer_free(t);
    if (rank == 0) EXPECT(times_warned("back to the checkpoint of step 20") == 1, "%s", warnings);
    expect_checkpoint("step-000000000020", true);
    expect_checkpoint("undone-step-000000000020", false);
    expect_checkpoint("undone-step-000000000030", true);
    expect_checkpoint("undone-step-000000000070", true);
    expect_checkpoint("step-000000000070", true); /* saved again */
    start_test("back-nowhere");
    h = dead_at_25;
    h.at = 3;
    expect_end(c, h, 90, GD_NUMERIC, "no checkpoint from before");
}

/* A generator that forgets what it was told gives one point. */
static void collapse_is_seen_in_samples(void) {
    start_test("collapse");
    gd_train_config c = watching(GD_WATCH_COLLAPSE, GD_WATCH_STOP);
    gd_status st;
    harm h = {.at = 21, .times = 1, .group = GD_GROUP_G, .value = 0};
    gd_trainer *t = train(comm, &c, ring, &h, 20, &st);
    EXPECT(st == GD_OK && t->counters.watch.looks == 10 && gd__metric_index(t, "spread") >= 0);
    EXPECT(t->counters.watch.spread[0][0] > 0 && t->counters.watch.spread[0][9] > 0);
    st = gd_trainer_run(t, 40);
    EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), "step 24: generated samples grow alike"), "%s",
           gd_error_message());
    gd_trainer_free(t);
}

/* One of two generators, which translate a fixed set of pictures. */
static void collapse_of_one_direction_is_seen(void) {
    start_test("collapse-two");
    gd_train_config c = cyclegan();
    gd_status st;
    c.watch.action[GD_WATCH_COLLAPSE] = GD_WATCH_STOP;
    c.watch.every = 1;
    harm h = {.at = 7, .times = 1, .group = GD_GROUP_G, .value = 0, .only = "G_BA/"};
    gd_trainer *t = train(comm, &c, pair_data, &h, 20, &st);
    EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), "step 8: generated samples grow alike"), "%s",
           gd_error_message());
    EXPECT(gd__metric_index(t, "spread_ab") >= 0 && gd__metric_index(t, "spread_ba") >= 0);
    gd_trainer_free(t);
}

/* A loss that is out of hand at once, before it is infinite. */
static void explosion_is_seen(void) {
    start_test("explosion");
    gd_train_config c = watching(GD_WATCH_EXPLODING, GD_WATCH_STOP);
    c.gan.loss.kind = GD_LOSS_WASSERSTEIN;
    c.optimizer[GD_GROUP_D].lr = 2;
    gd_status st;
    harm none = {0};
    gd_trainer *t = train(comm, &c, ring, &none, 3000, &st);
    EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), "the discriminator grows without bound"), "%s",
           gd_error_message());
    gd_trainer_free(t);
}

/* The history goes on where it was, whichever step a run was stopped at. */
static void the_history_is_resumed(void) {
    start_test("history");
    gd_train_config c = watching(GD_WATCH_COLLAPSE, GD_WATCH_WARN);
    for (int w = 0; w < GD_WATCH_COUNT; w++) c.watch.action[w] = GD_WATCH_WARN;
    gd_train_hooks none = {0};
    gd_status st;
    c.checkpoint_every = 3;
    harm calm = {0};
    gd_trainer *t = train(comm, &c, ring, &calm, 30, &st);
    gd_counters end = t->counters;
    EXPECT(st == GD_OK && end.watch.looks == 15 && end.watch.seen[GD_USUAL_GRAD_D] == 30);
    gd_trainer_free(t);
    for (int from = 3; from < 30; from += 9) {
        char path[1200];
        gd_train_config unsaved = c;
        unsaved.checkpoint_dir = NULL;
        snprintf(path, sizeof path, "%s/step-%012d", folder, from);
        EXPECT_OK(gd_trainer_new(comm, &unsaved, ring, &none, &t));
        EXPECT_OK(gd_trainer_load(t, path));
        EXPECT_OK(gd_trainer_run(t, 30));
        EXPECT(!memcmp(&end, &t->counters, sizeof end), "from step %d", from);
        gd_trainer_free(t);
    }
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(not_finite_leads_back),
        RIG_TEST(a_run_that_went_back_can_be_resumed),
        RIG_TEST(not_finite_ends_the_run_when_it_stays),
        RIG_TEST(the_last_step_can_be_undone),
        RIG_TEST(a_warning_is_given_once),
        RIG_TEST(a_watcher_can_stop_the_run),
        RIG_TEST(a_watcher_can_lead_back),
        RIG_TEST(collapse_is_seen_in_samples),
        RIG_TEST(collapse_of_one_direction_is_seen),
        RIG_TEST(explosion_is_seen),
        RIG_TEST(the_history_is_resumed),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    gd_log_set_stderr(false);
    gd_log_set_sink(keep_warning, NULL);
    open_variant_data();
    ring = open_data("ring", 0, false);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(ring);
    close_variant_data();
    return failed;
}
