/* Saving and going on: the same bits as a run that was never stopped, on the same or another number of
 * ranks; what is damaged is passed over, what belongs to another run is refused. */
#include "base/io.h"
#include "tests/dist/tiny_gan.h"

static gd_dataset *data;
static const char *folder;

/* ---- warnings, as rank 0 logs them ---- */

static char warnings[8192];

static void keep_warning(void *ctx, gd_level level, const char *line) {
    (void)ctx;
    size_t n = strlen(warnings);
    if (level == GD_LEVEL_WARN) snprintf(warnings + n, sizeof warnings - n, "%s\n", line);
}

static void start_test(const char *name) {
    folder = tiny_folder(name);
    *warnings = 0;
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

static gd_train_config saving_config(void) {
    gd_train_config c = tiny_config();
    c.shards = 12;
    c.checkpoint_dir = folder;
    c.checkpoint_every = 2;
    return c;
}

/* Resumes on c's ranks and trains on to `steps`. */
static uint64_t go_on(gd_comm *c, const gd_train_config *config, int64_t from, int64_t steps) {
    gd_trainer *t;
    gd_train_hooks none = {0};
    int64_t step = -1;
    EXPECT_OK(gd_trainer_new(c, config, data, &none, &t));
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == from && gd_trainer_step(t) == from, "resumed at step %lld, not %lld", (long long)step,
           (long long)from);
    EXPECT_OK(gd_trainer_run(t, steps));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

static gd_train_config unsaved(gd_train_config c) {
    c.checkpoint_dir = NULL;
    return c;
}

/* ---- exact ---- */

static void resumed_is_as_never_stopped(void) {
    start_test("exact");
    gd_train_config c = saving_config(), through = unsaved(c);
    uint64_t want = tiny_train(comm, &through, data, 7, NULL);
    tiny_train(comm, &c, data, 3, NULL); /* saved at 2 and, the end, at 3 */
    EXPECT(go_on(comm, &c, 3, 5) != want);
    EXPECT(go_on(comm, &c, 5, 7) == want);
}

/* Every optimiser's state and every counter takes part. */
static void resumed_with_other_optimisers(void) {
    start_test("kinds");
    gd_train_config c = saving_config();
    c.optimizer[GD_GROUP_G] =
        (gd_optimizer_spec){.kind = GD_SGD, .lr = 1e-2, .momentum = 0.5, .momentum_final = 0.9, .momentum_steps = 6};
    c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){
        .kind = GD_RMSPROP, .lr = 1e-3, .alpha = 0.99, .eps = 1e-8, .decay = GD_DECAY_EXPONENTIAL, .decay_rate = 1.01};
    c.schedule = (gd_schedule_spec){.d_steps = 2, .g_steps = 1, .warmup_steps = 2, .warmup_d_steps = 3};
    c.ema_start = 3;
    gd_train_config through = unsaved(c);
    uint64_t want = tiny_train(comm, &through, data, 5, NULL);
    tiny_train(comm, &c, data, 3, NULL);
    EXPECT(go_on(comm, &c, 3, 5) == want);
}

/* Saved by all ranks and continued by one, and the other way round. */
static void the_number_of_ranks_may_change(void) {
    start_test("ranks");
    gd_train_config c = saving_config(), through = unsaved(c);
    uint64_t want = tiny_train(comm, &through, data, 6, NULL), alone = 0;
    gd_comm *self;
    EXPECT_OK(gd_comm_self(&self));
    tiny_train(comm, &c, data, 2, NULL);
    if (rank == 0) go_on(self, &c, 2, 4);
    EXPECT_OK(gd_comm_barrier(comm));
    EXPECT(go_on(comm, &c, 4, 5) != want);
    if (rank == 0) alone = go_on(self, &c, 5, 6);
    EXPECT_OK(gd_comm_bcast(comm, 0, &alone, sizeof alone));
    EXPECT(alone == want);
    gd_comm_free(self);
}

static void nothing_there_starts_at_zero(void) {
    start_test("nothing");
    gd_train_config c = saving_config(), through = unsaved(c);
    EXPECT(go_on(comm, &c, 0, 2) == tiny_train(comm, &through, data, 2, NULL));
    gd_trainer *t;
    gd_train_hooks none = {0};
    int64_t step = 5;
    EXPECT_OK(gd_trainer_new(comm, &through, data, &none, &t)); /* no folder configured */
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == 0);
    gd_trainer_free(t);
}

static void a_checkpoint_can_be_named(void) {
    start_test("named");
    gd_train_config c = saving_config();
    uint64_t want = tiny_train(comm, &c, data, 6, NULL);
    gd_trainer *t;
    gd_train_hooks none = {0};
    char path[1200];
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    snprintf(path, sizeof path, "%s/step-000000000005", folder);
    EXPECT_ERROR(gd_trainer_load(t, path), NOINPUT, path);
    snprintf(path, sizeof path, "%s/step-000000000004", folder);
    EXPECT_OK(gd_trainer_load(t, path));
    EXPECT(gd_trainer_step(t) == 4);
    EXPECT_OK(gd_trainer_run(t, 6)); /* step 6 is there already, with the same state: left alone */
    EXPECT(gd_trainer_state_hash(t) == want);
    gd_trainer_free(t);
}

static void old_checkpoints_go(void) {
    start_test("keep");
    gd_train_config c = saving_config();
    char **paths;
    int count;
    c.checkpoint_every = 1;
    c.checkpoint_keep = 2;
    tiny_train(comm, &c, data, 5, NULL);
    EXPECT_OK(gd_comm_barrier(comm)); /* rank 0 deletes */
    EXPECT_OK(gd_checkpoint_list(folder, &paths, &count));
    EXPECT(count == 2 && strstr(paths[0], "step-000000000005") && strstr(paths[1], "step-000000000004"), "%d left",
           count);
    gd_checkpoint_list_free(paths, count);
}

/* ---- damaged ---- */

/* Flips a byte behind the header of the first shard of a checkpoint. */
static void damage(int64_t step) {
    char path[1300];
    char **names;
    size_t n, bytes;
    void *read;
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) {
        snprintf(path, sizeof path, "%s/step-%012lld", folder, (long long)step);
        EXPECT(gd_io_system()->list(path, &names, &n) == 0);
        for (size_t i = 0; i < n; i++)
            if (!strncmp(names[i], "shard-0000", 10))
                snprintf(path, sizeof path, "%s/step-%012lld/%s", folder, (long long)step, names[i]);
        gd_io_free_names(names, n);
        EXPECT_OK(gd_file_read(path, 1 << 24, &read, &bytes));
        char *content = read;
        content[bytes - 5] ^= 1;
        FILE *f = fopen(path, "wb");
        EXPECT(f && fwrite(content, 1, bytes, f) == bytes && fclose(f) == 0);
        free(content);
    }
    EXPECT_OK(gd_comm_barrier(comm));
}

static void damaged_ones_are_passed_over(void) {
    start_test("damaged");
    gd_train_config c = saving_config(), through = unsaved(c);
    uint64_t want = tiny_train(comm, &through, data, 7, NULL);
    tiny_train(comm, &c, data, 6, NULL); /* 2, 4, 6 */
    damage(6);
    gd_log_set_sink(keep_warning, NULL);
    EXPECT_OK(gd_log_configure("warn"));
    EXPECT(go_on(comm, &c, 4, 7) == want);
    EXPECT(strstr(warnings, "step-000000000006 is not usable") && strstr(warnings, "shard-0000"), "warnings: %s",
           warnings);
    EXPECT_OK(gd_log_configure("error"));
    gd_log_set_sink(NULL, NULL);
}

static void no_good_one_is_no_fresh_start(void) {
    start_test("hopeless");
    gd_train_config c = saving_config();
    gd_trainer *t;
    gd_train_hooks none = {0};
    int64_t step;
    tiny_train(comm, &c, data, 4, NULL);
    damage(2);
    damage(4);
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    EXPECT_ERROR(gd_trainer_resume(t, &step), NOINPUT, "2 checkpoints and none of them is usable");
    gd_trainer_free(t);
}

/* ---- of another run ---- */

static gd_status difference(const char *before, const char *now, char **out) {
    *out = malloc(256);
    EXPECT(*out);
    snprintf(*out, 256, "  was '%.60s', is '%.60s'", before, now);
    return GD_OK;
}

static void expect_refused(const gd_train_config *c, const gd_dataset *d, gd_status code, const char *text) {
    gd_trainer *t;
    gd_train_hooks none = {0};
    int64_t step;
    EXPECT_OK(gd_trainer_new(comm, c, d, &none, &t));
    gd_status st = gd_trainer_resume(t, &step);
    EXPECT(st == code && strstr(gd_error_message(), text), "%s: %s", gd_status_name(st), gd_error_message());
    gd_trainer_free(t);
}

static void another_run_is_refused(void) {
    start_test("foreign");
    gd_train_config c = saving_config();
    tiny_train(comm, &c, data, 4, NULL);
    gd_train_config recipe = c;
    recipe.recipe_fingerprint++;
    expect_refused(&recipe, data, GD_CONFIG, "step-000000000004: was trained under another recipe; set");
    recipe.recipe_text = "name: other\n";
    recipe.recipe_difference = difference;
    expect_refused(&recipe, data, GD_CONFIG, "was 'name: tiny");
    gd_dataset *less = tiny_data(99);
    expect_refused(&c, less, GD_DATA, "was trained on other data");
    gd_dataset_close(less);
    gd_train_config seed = c;
    seed.seed = 77;
    expect_refused(&seed, data, GD_CONFIG, "was trained with seed 5");
    gd_train_config shape = c; /* fingerprints agree, tensors do not */
    shape.ema_decay = 0;
    expect_refused(&shape, data, GD_NOINPUT, "none of them is usable");
    EXPECT(go_on(comm, &c, 4, 5)); /* all of that has harmed nothing */
}

/* ---- on request ---- */

static int wish_step, wish_rank, wish_kind;
static gd_trainer *wishing;

/* The answer of one rank counts for all. */
static int wish(void *ctx) {
    (void)ctx;
    return wish_rank == rank && gd_trainer_step(wishing) == wish_step ? wish_kind : 0;
}

static void leave_with(int kind, int step, gd_status want_status, int64_t saved) {
    gd_train_config c = saving_config(), through = unsaved(c);
    gd_train_hooks h = {.poll = wish};
    gd_status st;
    c.checkpoint_every = 0;
    wish_kind = kind;
    wish_step = step;
    wish_rank = size - 1;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &h, &wishing));
    st = gd_trainer_run(wishing, 5);
    EXPECT(st == want_status, "%s: %s", gd_status_name(st), gd_error_message());
    EXPECT(gd_trainer_step(wishing) == (kind == 1 ? 5 : step));
    uint64_t hash = gd_trainer_state_hash(wishing);
    gd_trainer_free(wishing);
    if (kind == 2 && st == GD_REQUEUE)
        EXPECT(strstr(gd_error_message(), "step 3: saved on request"), "%s", gd_error_message());
    if (kind == 1) EXPECT(hash == tiny_train(comm, &through, data, 5, NULL));
    char **paths, want[64];
    int count;
    EXPECT_OK(gd_comm_barrier(comm)); /* rank 0 deletes */
    EXPECT_OK(gd_checkpoint_list(folder, &paths, &count));
    snprintf(want, sizeof want, "step-%012lld", (long long)saved);
    if (saved) EXPECT(count && strstr(paths[count - 1], want), "oldest: %s", count ? paths[count - 1] : "none");
    else EXPECT(count == 0);
    gd_checkpoint_list_free(paths, count);
}

static void requests_are_followed_by_all(void) {
    start_test("request1");
    leave_with(1, 3, GD_OK, 3); /* save, go on */
    start_test("request2");
    leave_with(2, 3, GD_REQUEUE, 3); /* save, leave */
    start_test("request3");
    leave_with(3, 3, GD_REQUEUE, 0); /* leave */
    start_test("request4");
    leave_with(2, 5, GD_OK, 5); /* at the end: done and saved anyway */
    start_test("request5");
    leave_with(3, 5, GD_REQUEUE, 0); /* at the end, unsaved: not done */
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(resumed_is_as_never_stopped),    RIG_TEST(resumed_with_other_optimisers),
        RIG_TEST(the_number_of_ranks_may_change), RIG_TEST(nothing_there_starts_at_zero),
        RIG_TEST(a_checkpoint_can_be_named),      RIG_TEST(old_checkpoints_go),
        RIG_TEST(damaged_ones_are_passed_over),   RIG_TEST(no_good_one_is_no_fresh_start),
        RIG_TEST(another_run_is_refused),         RIG_TEST(requests_are_followed_by_all),
    };
    gd_log_set_stderr(false);
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
