/* What goes wrong in training: numbers that are not finite, replicas that differ, hooks and saves that
 * fail, configurations that do not fit. All ranks leave together, and the message names the place. */
#include <unistd.h>

#include "base/io.h"
#include "tests/dist/tiny_gan.h"

static gd_dataset *data;

/* ---- faults put in by the poll hook, between two iterations ---- */

static gd_trainer *trainer;
static int64_t at_step;
static int at_rank;
static void (*fault)(void);

static int put_fault(void *ctx) {
    (void)ctx;
    if (gd_trainer_step(trainer) == at_step && rank == at_rank) fault();
    return 0;
}

static gd_status run_with_fault(gd_train_config *c, void (*what)(void), int64_t step, int on_rank, int64_t until) {
    gd_train_hooks h = {.poll = put_fault};
    fault = what;
    at_step = step;
    at_rank = on_rank;
    EXPECT_OK(gd_trainer_new(comm, c, data, &h, &trainer));
    return gd_trainer_run(trainer, until);
}

static void d_weight_becomes_nan(void) { trainer->group[GD_GROUP_D].param[3] = NAN; }
static void g_weight_becomes_nan(void) { trainer->group[GD_GROUP_G].param[3] = NAN; }
static void g_weight_becomes_infinite(void) { trainer->group[GD_GROUP_G].param[0] = INFINITY; }
static void flip_a_bit(void) {
    uint32_t bits;
    float *p = &trainer->group[GD_GROUP_G].param[2];
    memcpy(&bits, p, 4);
    bits ^= 1;
    memcpy(p, &bits, 4);
}
static void flip_a_moment(void) {
    trainer->group[GD_GROUP_D].moment[1][1] *= 1.0001f;
    trainer->group[GD_GROUP_D].moment[1][1] += 1e-9f;
}
static void flip_a_statistic(void) { trainer->buffer[0][0] += 1e-3f; }
static void nothing(void) {}

/* Every rank has the same status and words: the step after the fault, its first term, and the rank, unless
 * batch statistics over all ranks have spread it before any loss was made. */
static void losses_that_are_not_finite(void) {
    gd_train_config c = tiny_config();
    for (int bad = 0; bad < size; bad++)
        for (int sync = 0; sync < 2; sync++) {
            char text[128] = "step 3: loss_d is not a number;";
            c.gan.sync = sync;
            gd_status st = run_with_fault(&c, d_weight_becomes_nan, 2, bad, 6);
            if (!sync && size > 1) snprintf(text, sizeof text, "step 3: loss_d is not a number on rank %d alone", bad);
            EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), text), "%s: %s", gd_status_name(st),
                   gd_error_message());
            gd_trainer_free(trainer);
        }
}

/* A bad generator reaches all ranks through batch statistics or the gradients, whichever is first. */
static void generators_that_are_not_finite(void) {
    gd_train_config c = tiny_config();
    void (*const kinds[])(void) = {g_weight_becomes_nan, g_weight_becomes_infinite};
    for (int k = 0; k < 2; k++) {
        gd_status st = run_with_fault(&c, kinds[k], 2, size - 1, 6);
        EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), "step 3: "), "%s: %s", gd_status_name(st),
               gd_error_message());
        gd_trainer_free(trainer);
    }
}

/* Not even the first of several updates of an iteration slips through, nor what weight clipping would hide. */
static void early_updates_are_watched(void) {
    gd_train_config c = tiny_config();
    c.schedule.d_steps = 3;
    c.weight_clip = 0.05;
    c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.kind = GD_SGD, .lr = 1e38};
    gd_status st = run_with_fault(&c, d_weight_becomes_nan, 1, 0, 3);
    EXPECT(st == GD_NUMERIC && strstr(gd_error_message(), "step 2: "), "%s: %s", gd_status_name(st),
           gd_error_message());
    gd_trainer_free(trainer);
}

/* Nothing of a step that is not finite is saved. */
static void a_bad_step_is_not_saved(void) {
    gd_train_config c = tiny_config();
    char **paths;
    int count;
    c.checkpoint_dir = tiny_folder("numeric");
    c.checkpoint_every = 1;
    if (rank == 0) EXPECT_OK(gd_dir_remove(c.checkpoint_dir));
    EXPECT_OK(gd_comm_barrier(comm));
    /* The fault comes with the poll, after step 2 has been computed and before it is saved. Replicas that
     * differ are found first where there are several; one alone refuses to save it. */
    gd_status st = run_with_fault(&c, d_weight_becomes_nan, 2, 0, 6);
    EXPECT(st == (size > 1 ? GD_DIVERGED : GD_NUMERIC), "%s", gd_error_message());
    gd_trainer_free(trainer);
    EXPECT_OK(gd_checkpoint_list(c.checkpoint_dir, &paths, &count));
    EXPECT(count == 1, "%d", count);
    gd_checkpoint_list_free(paths, count);
}

/* ---- replicas ---- */

static void replicas_that_differ_are_named(void) {
    void (*const kinds[])(void) = {flip_a_bit, flip_a_moment, flip_a_statistic};
    if (size == 1) return;
    for (int k = 0; k < 3; k++)
        for (int bad = 0; bad < size; bad += size - 1) {
            char text[64];
            gd_train_config c = tiny_config();
            c.check_every = 2;
            gd_status st = run_with_fault(&c, kinds[k], 2, bad, 6);
            EXPECT(st == GD_DIVERGED, "%s: %s", gd_status_name(st), gd_error_message());
            snprintf(text, sizeof text, "step 2: the training state of rank %d differs", size == 2 ? 1 : bad);
            EXPECT(strstr(gd_error_message(), text), "%s", gd_error_message());
            EXPECT(!strstr(gd_error_message(), "no majority") == (size > 2), "%s", gd_error_message());
            gd_trainer_free(trainer);
        }
}

static void a_save_compares_replicas(void) {
    gd_train_config c = tiny_config();
    if (size == 1) return;
    c.checkpoint_dir = tiny_folder("diverged");
    c.checkpoint_every = 3;
    if (rank == 0) EXPECT_OK(gd_dir_remove(c.checkpoint_dir));
    EXPECT_OK(gd_comm_barrier(comm));
    gd_status st = run_with_fault(&c, flip_a_bit, 1, size - 1, 6);
    EXPECT(st == GD_DIVERGED && strstr(gd_error_message(), "step 3: "), "%s: %s", gd_status_name(st),
           gd_error_message());
    EXPECT(access(c.checkpoint_dir, F_OK) != 0); /* nothing was written */
    gd_trainer_free(trainer);
}

static void equal_replicas_pass(void) {
    gd_train_config c = tiny_config();
    c.check_every = 1;
    EXPECT_OK(run_with_fault(&c, nothing, 1, 0, 3));
    gd_trainer_free(trainer);
}

/* ---- hooks and saves ---- */

static gd_status disk_is_full(void *ctx, const gd_metrics *m) {
    if (m->step < *(int64_t *)ctx) return GD_OK;
    GD_FAIL(IO, "metrics.jsonl: disk is full");
}

static gd_status no_pictures(void *ctx, int64_t step) {
    (void)ctx;
    GD_FAIL(CANTCREAT, "samples/%lld.png: no", (long long)step);
}

/* A report of rank 0 that fails ends the run on all ranks; the communicator is as good as before. */
static void failing_hooks_end_all_ranks(void) {
    gd_train_config c = tiny_config();
    int64_t from = 2;
    gd_train_hooks h = {.ctx = &from, .on_metrics = disk_is_full};
    gd_trainer *t;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &h, &t));
    if (rank == 0) EXPECT_ERROR(gd_trainer_run(t, 5), IO, "disk is full");
    else EXPECT_ERROR(gd_trainer_run(t, 5), PEER, "rank 0: metrics.jsonl: disk is full");
    EXPECT(gd_trainer_step(t) == 2);
    from = 100;
    EXPECT_OK(gd_trainer_run(t, 5));
    gd_trainer_free(t);
    h = (gd_train_hooks){.on_samples = no_pictures};
    c.sample_every = 3;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &h, &t));
    if (rank == 0) EXPECT_ERROR(gd_trainer_run(t, 5), CANTCREAT, "samples/3.png");
    else EXPECT_ERROR(gd_trainer_run(t, 5), PEER, "samples/3.png");
    gd_trainer_free(t);
}

typedef struct saves {
    int good, bad;
} saves;

static void count_saves(void *ctx, int64_t step, const char *path, double seconds, gd_status st) {
    saves *s = ctx;
    if (st == GD_OK) {
        char want[64];
        snprintf(want, sizeof want, "step-%012lld", (long long)step);
        EXPECT(strstr(path, want) && seconds > 0);
        s->good++;
    } else {
        EXPECT(*gd_error_message());
        s->bad++;
    }
}

/* A save that fails is reported and training goes on; only the last one must succeed. */
static void failing_saves_do_not_stop_training(void) {
    gd_train_config c = tiny_config();
    saves s = {0};
    gd_train_hooks h = {.ctx = &s, .on_checkpoint = count_saves};
    gd_trainer *t;
    const char *place = tiny_folder("in-the-way");
    c.checkpoint_dir = place;
    c.checkpoint_every = 1;
    if (rank == 0) {
        EXPECT_OK(gd_dir_remove(place));
        unlink(place);
        EXPECT_OK(gd_file_write(place, "a file", 6)); /* where the folder would be */
    }
    EXPECT_OK(gd_comm_barrier(comm));
    EXPECT_OK(gd_trainer_new(comm, &c, data, &h, &t));
    gd_status st = gd_trainer_run(t, 3);
    EXPECT(st == (rank ? GD_PEER : GD_CANTCREAT) || st == GD_CANTCREAT, "%s: %s", gd_status_name(st),
           gd_error_message());
    EXPECT(gd_trainer_step(t) == 3);
    if (rank == 0) EXPECT(s.bad == 3 && s.good == 0);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT(unlink(place) == 0);
    EXPECT_OK(gd_comm_barrier(comm));
    EXPECT_OK(gd_trainer_run(t, 4));
    if (rank == 0) EXPECT(s.bad == 3 && s.good == 1);
    else EXPECT(s.bad == 0 && s.good == 0); /* rank 0 only */
    gd_trainer_free(t);
}

/* ---- configurations ---- */

static void expect_new_fails(const gd_train_config *c, const gd_dataset *d, gd_status code, const char *text) {
    gd_train_hooks none = {0};
    gd_trainer *t;
    gd_status st = gd_trainer_new(comm, c, d, &none, &t);
    EXPECT(st == code && strstr(gd_error_message(), text), "%s: %s", gd_status_name(st), gd_error_message());
}

static void what_does_not_fit_is_refused(void) {
    gd_train_config c = tiny_config();
    c.gan.global_batch = 13;
    if (size == 2) expect_new_fails(&c, data, GD_CONFIG, "global batch 13 over 2 ranks does not divide; use 12 or 14");
    if (size == 3) expect_new_fails(&c, data, GD_CONFIG, "global batch 13 over 3 ranks does not divide; use 12 or 15");
    c.gan.global_batch = 1;
    if (size == 4)
        expect_new_fails(&c, data, GD_CONFIG, "global batch 1 over 4 ranks does not divide; use 4, or another");
    c = tiny_config();
    c.shards = 5;
    expect_new_fails(&c, data, GD_CONFIG, "global batch 12 cannot be cut into 5 shards");
    c.shards = 1;
    if (size > 1) expect_new_fails(&c, data, GD_CONFIG, "1 shards over");
    c = tiny_config();
    c.executor = gd_executor_ref();
    expect_new_fails(&c, data, GD_UNSUP, "executor ref");
    gd_dataset *few = tiny_data(8);
    c = tiny_config();
    expect_new_fails(&c, few, GD_CONFIG, "8");
    gd_dataset_close(few);
    c.gan.generator.arch = "nonsense";
    expect_new_fails(&c, data, GD_CONFIG, "nonsense");
}

/* One rank alone is wrong: the others hear why. */
static void one_failing_rank_is_heard(void) {
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    if (rank == size - 1) c.executor = gd_executor_ref();
    gd_status st = gd_trainer_new(comm, &c, data, &none, &t);
    EXPECT(st == (rank == size - 1 ? GD_UNSUP : GD_PEER) && strstr(gd_error_message(), "executor ref"), "%s",
           gd_error_message());
    c = tiny_config();
    EXPECT(tiny_train(comm, &c, data, 1, NULL) != 0); /* nothing is left over */
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(losses_that_are_not_finite),
        RIG_TEST(generators_that_are_not_finite),
        RIG_TEST(early_updates_are_watched),
        RIG_TEST(a_bad_step_is_not_saved),
        RIG_TEST(replicas_that_differ_are_named),
        RIG_TEST(a_save_compares_replicas),
        RIG_TEST(equal_replicas_pass),
        RIG_TEST(failing_hooks_end_all_ranks),
        RIG_TEST(failing_saves_do_not_stop_training),
        RIG_TEST(what_does_not_fit_is_refused),
        RIG_TEST(one_failing_rank_is_heard),
    };
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
