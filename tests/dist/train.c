/* Training by several ranks against the same training by one: losses, and with virtual shards every bit.
 * Every schedule and optimiser runs; one batch can be learnt by heart; samples come out. */
#include <omp.h>

#include "dist/comm_mpi.h"
#include "tests/dist/tiny_gan.h"

static gd_dataset *data;

static double relative(double a, double b) { return fabs(a - b) / fmax(fabs(a), 1e-3); }

/* A shard a rank: sums are rounded differently, and nothing else is different. */
static void losses_agree_to_rounding(void) {
    gd_train_config c = tiny_config();
    tiny_record alone, together;
    tiny_train_alone(&c, data, 20, &alone);
    tiny_train(comm, &c, data, 20, &together);
    if (rank) return;
    EXPECT(alone.n == 20 && together.n == 20);
    for (int i = 0; i < 20; i++) {
        EXPECT(relative(alone.loss_d[i], together.loss_d[i]) < 1e-5, "step %d: loss_d %.9g, alone %.9g", i + 1,
               together.loss_d[i], alone.loss_d[i]);
        EXPECT(relative(alone.loss_g[i], together.loss_g[i]) < 1e-5, "step %d: loss_g %.9g, alone %.9g", i + 1,
               together.loss_g[i], alone.loss_g[i]);
        EXPECT(relative(alone.grad_g[i], together.grad_g[i]) < 1e-3, "step %d: grad_norm_g", i + 1);
    }
    EXPECT(alone.loss_d[0] != alone.loss_d[19]); /* it does train */
}

/* A record has the same bits as another. */
static void expect_same(const tiny_record *a, const tiny_record *b, const char *what) {
    EXPECT(a->n == b->n, "%s", what);
    for (int i = 0; i < a->n; i++) {
        EXPECT(a->loss_d[i] == b->loss_d[i] && a->loss_g[i] == b->loss_g[i], "%s: losses of step %d", what, i + 1);
        EXPECT(a->grad_d[i] == b->grad_d[i] && a->grad_g[i] == b->grad_g[i], "%s: gradients of step %d", what, i + 1);
    }
}

/* Numbers of shards a rank that are powers of two, and that are not. */
static void shards_give_the_same_bits(void) {
    static const int shards[] = {4, 6, 12};
    for (size_t k = 0; k < sizeof shards / sizeof *shards; k++) {
        gd_train_config c = tiny_config();
        tiny_record alone, together;
        if (shards[k] % size) continue;
        c.shards = shards[k];
        uint64_t want = tiny_train_alone(&c, data, 6, &alone);
        uint64_t got = tiny_train(comm, &c, data, 6, &together);
        EXPECT(got == want, "%d shards on %d ranks: another state than on one", shards[k], size);
        if (rank == 0) expect_same(&alone, &together, "shards");
    }
}

static void use_threads(int n) {
    omp_set_num_threads(n);
    gd_cpu_set_threads(n);
}

static void threads_give_the_same_bits(void) {
    gd_train_config c = tiny_config();
    c.shards = 12;
    use_threads(1);
    uint64_t want = tiny_train_alone(&c, data, 4, NULL);
    use_threads(2);
    EXPECT(tiny_train(comm, &c, data, 4, NULL) == want);
    use_threads(1);
}

/* Ranks spread over pretended hosts: an even split, an uneven one, and interleaved ranks. */
static void hosts_give_the_same_bits(void) {
    const int host[3] = {rank >= size / 2, rank > 0, rank % 2};
    gd_train_config c = tiny_config();
    c.shards = 12;
    uint64_t want = tiny_train_alone(&c, data, 3, NULL);
    for (int k = 0; k < 3 && size > 1; k++) {
        gd_comm *spread;
        EXPECT_OK(gd__comm_mpi_as(host[k], &spread));
        EXPECT(tiny_train(spread, &c, data, 3, NULL) == want, "split %d", k);
        gd_comm_free(spread);
    }
}

/* Other seeds, batches and data are other runs: hashes can tell. */
static void other_runs_have_other_bits(void) {
    gd_train_config c = tiny_config();
    uint64_t one = tiny_train(comm, &c, data, 2, NULL);
    c.seed = 6;
    EXPECT(tiny_train(comm, &c, data, 2, NULL) != one);
    c.seed = 5;
    EXPECT(tiny_train(comm, &c, data, 2, NULL) == one);
    c.ema_start = 2;
    EXPECT(tiny_train(comm, &c, data, 2, NULL) != one);
}

/* ---- schedules and optimisers ---- */

typedef struct schedule_case {
    const char *name;
    gd_schedule_spec schedule;
    gd_optimizer_spec optimizer;
    int64_t d, g, draws; /* after three iterations */
    double clip;
} schedule_case;

static const schedule_case cases[] = {
    {"3:1, RMSProp, weight clipping",
     {.d_steps = 3, .g_steps = 1},
     {.kind = GD_RMSPROP, .lr = 5e-4, .alpha = 0.99, .eps = 1e-8},
     9,
     3,
     12,
     0.05},
    {"1:2, SGD", {.d_steps = 1, .g_steps = 2}, {.kind = GD_SGD, .lr = 1e-2}, 3, 6, 9, 0},
    {"simultaneous, momentum ramp and decay",
     {.d_steps = 1, .g_steps = 1, .simultaneous = true},
     {.kind = GD_SGD,
      .lr = 1e-2,
      .momentum = 0.5,
      .momentum_final = 0.7,
      .momentum_steps = 2,
      .decay = GD_DECAY_EXPONENTIAL,
      .decay_rate = 1.1,
      .lr_floor = 1e-6},
     3,
     3,
     3,
     0},
    {"shared fake, clipped gradients",
     {.d_steps = 1, .g_steps = 1, .share_fake = true},
     {.kind = GD_ADAM, .lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8, .clip_norm = 0.01},
     3,
     3,
     3,
     0},
    {"shared fake, 2:2, weight decay",
     {.d_steps = 2, .g_steps = 2, .share_fake = true},
     {.kind = GD_ADAM, .lr = 2e-4, .beta1 = 0, .beta2 = 0.9, .eps = 1e-8, .weight_decay = 0.1},
     6,
     6,
     9,
     0},
    {"warm-up burst",
     {.d_steps = 1, .g_steps = 1, .warmup_steps = 1, .warmup_d_steps = 4},
     {.kind = GD_ADAM,
      .lr = 2e-4,
      .beta1 = 0.5,
      .beta2 = 0.999,
      .eps = 1e-8,
      .decay = GD_DECAY_LINEAR,
      .decay_end = 10},
     6,
     3,
     9,
     0},
};

static void every_schedule_runs(void) {
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const schedule_case *x = &cases[k];
        gd_train_config c = tiny_config();
        gd_train_hooks none = {0};
        gd_trainer *t;
        c.schedule = x->schedule;
        c.optimizer[0] = c.optimizer[1] = x->optimizer;
        c.weight_clip = x->clip;
        c.shards = 12;
        uint64_t want = tiny_train_alone(&c, data, 3, NULL);
        EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
        EXPECT_OK(gd_trainer_run(t, 3));
        EXPECT(gd_trainer_state_hash(t) == want, "%s: another state than one rank has", x->name);
        EXPECT(t->counters.updates[GD_GROUP_D] == x->d && t->counters.updates[GD_GROUP_G] == x->g, "%s", x->name);
        EXPECT(t->counters.draws == (uint64_t)x->draws && t->counters.cursor == (uint64_t)(x->d * TINY_BATCH), "%s",
               x->name);
        for (size_t i = 0; x->clip > 0 && i < t->group[GD_GROUP_D].count; i++)
            EXPECT(fabs(t->group[GD_GROUP_D].param[i]) <= (float)x->clip);
        gd_trainer_free(t);
    }
}

/* A clipped gradient moves plain SGD by exactly lr x clip_norm. */
static void gradients_are_clipped_by_their_norm(void) {
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.kind = GD_SGD, .lr = 1, .clip_norm = 1e-2};
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    const gd__arenas *a = &t->group[GD_GROUP_D];
    float *before = malloc(a->count * sizeof *before);
    EXPECT(before);
    memcpy(before, a->param, a->count * sizeof *before);
    EXPECT_OK(gd_trainer_run(t, 1));
    double moved = 0;
    for (size_t i = 0; i < a->count; i++)
        moved += ((double)a->param[i] - before[i]) * ((double)a->param[i] - before[i]);
    EXPECT(fabs(sqrt(moved) - 1e-2) < 1e-5, "moved by %.9g", sqrt(moved));
    free(before);
    gd_trainer_free(t);
}

/* Statistics of each shard by itself: another result, still equal replicas. */
static void local_statistics_keep_replicas_equal(void) {
    gd_train_config c = tiny_config();
    c.gan.sync = false;
    c.check_every = 1;
    c.shards = 12;
    uint64_t local = tiny_train(comm, &c, data, 3, NULL);
    EXPECT(local == tiny_train_alone(&c, data, 3, NULL));
    c.gan.sync = true;
    EXPECT(local != tiny_train_alone(&c, data, 3, NULL));
}

/* ---- learning, samples, metrics ---- */

static void one_batch_can_be_learnt(void) {
    gd_train_config c = tiny_config();
    tiny_record r;
    c.overfit_batch = true;
    c.optimizer[GD_GROUP_G].lr = 1e-5; /* the generator hardly moves: the discriminator can win */
    tiny_train(comm, &c, data, 60, &r);
    if (rank) return;
    double first = r.loss_d[0], last = r.loss_d[59];
    EXPECT(last < 0.5 * first, "loss_d went from %g to %g", first, last);
}

/* Overfitting stays with the first batch over a second run, too. */
static void overfitting_keeps_its_batch(void) {
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    c.overfit_batch = true;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 1));
    size_t bytes = (size_t)(t->n * 16 * 16);
    char *batch = malloc(bytes);
    EXPECT(batch);
    memcpy(batch, t->batch[0][0], bytes);
    EXPECT_OK(gd_trainer_run(t, 3));
    EXPECT(!memcmp(batch, t->batch[0][0], bytes));
    free(batch);
    gd_trainer_free(t);
}

static void samples_come_out(void) {
    enum { N = 37, Z = 6, IMAGE = 16 * 16 }; /* more than one batch of the sampler */
    static float z[N * Z], live[N * IMAGE], ema[N * IMAGE], again[5 * IMAGE];
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    for (int i = 0; i < N * Z; i++) z[i] = (float)sin(i);
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 3));
    uint64_t before = gd_trainer_state_hash(t);
    if (rank) {
        EXPECT_ERROR(gd_trainer_sample(t, 1, z, true, live), INTERNAL, "only rank 0");
    } else {
        EXPECT_OK(gd_trainer_sample(t, N, z, false, live));
        EXPECT_OK(gd_trainer_sample(t, N, z, true, ema));
        EXPECT_OK(gd_trainer_sample(t, 5, z, true, again));
        EXPECT(!memcmp(again, ema, sizeof again));   /* the number of samples changes none of them */
        EXPECT(memcmp(live, ema, sizeof live) != 0); /* two sets of weights */
        for (int i = 0; i < N * IMAGE; i++) EXPECT(fabsf(ema[i]) <= 1);
        EXPECT(memcmp(ema, ema + IMAGE, IMAGE * sizeof *ema) != 0);
    }
    EXPECT(gd_trainer_state_hash(t) == before);
    EXPECT_OK(gd_trainer_run(t, 4)); /* sampling used the memory of training: nothing is broken */
    uint64_t after = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    EXPECT(after == tiny_train(comm, &c, data, 4, NULL));
}

static void metrics_are_complete(void) {
    static const char *const names[] = {"loss_d",   "loss_g",      "loss_d_real", "loss_d_fake", "d_real", "d_fake",
                                        "d_fake_g", "grad_norm_d", "grad_norm_g", "lr_d",        "lr_g"};
    gd_train_config c = tiny_config();
    gd_train_hooks h = {0};
    gd_trainer *t;
    tiny_record r = {0};
    h.ctx = &r;
    h.on_metrics = tiny_remember;
    c.log_every = 2;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &h, &t));
    EXPECT_OK(gd_trainer_run(t, 5));
    if (rank == 0) {
        EXPECT(r.n == 3); /* 2, 4, and the last one */
        EXPECT(r.last.step == 5 && r.last.images == 5 * TINY_BATCH);
        EXPECT(r.last.seconds > 0 && r.last.images_per_s > 0 && r.last.data_wait_s >= 0 && r.last.exposed_comm_s >= 0);
    } else {
        EXPECT(r.n == 0); /* rank 0 only */
    }
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        EXPECT(gd__metric_index(t, names[k]) >= 0, "%s", names[k]);
    gd_train_times times;
    gd_trainer_times(t, &times);
    EXPECT(times.iterations == 5 && times.total > 0 && times.total_min <= times.total && times.d_step > 0 &&
           times.g_step > 0);
    EXPECT(times.d_step + times.g_step < 1.5 * times.total + 0.05 && times.optimizer > 0);
    gd_trainer_times_reset(t);
    gd_trainer_times(t, &times);
    EXPECT(times.iterations == 0 && times.total == 0);
    gd_trainer_free(t);
}

/* The average follows the parameters up to ema_start, and moves by 1 - decay a step from then on. */
static void the_average_moves_as_said(void) {
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    c.ema_decay = 0.75;
    c.ema_start = 2;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    const gd__arenas *g = &t->group[GD_GROUP_G];
    EXPECT(!memcmp(g->ema, g->param, g->count * sizeof(float)));
    EXPECT_OK(gd_trainer_run(t, 2));
    EXPECT(!memcmp(g->ema, g->param, g->count * sizeof(float)));
    EXPECT(!memcmp(t->buffer_ema, t->buffer[0], t->buffer_count * sizeof(float)));
    float *before = malloc(g->count * sizeof *before), statistic = t->buffer[0][0];
    EXPECT(before);
    memcpy(before, g->param, g->count * sizeof *before);
    EXPECT_OK(gd_trainer_run(t, 3));
    for (size_t i = 0; i < g->count; i++) EXPECT(g->ema[i] == 0.75f * before[i] + 0.25f * g->param[i]);
    EXPECT(t->buffer_ema[0] == 0.75f * statistic + 0.25f * t->buffer[0][0] && statistic != t->buffer[0][0]);
    free(before);
    gd_trainer_free(t);
}

/* ---- names, as checkpoints have them ---- */

static bool has_tensor(const gd_trainer *t, const char *name) {
    for (int i = 0; i < t->state.count; i++)
        if (!strcmp(t->state.tensor[i].name, name)) return true;
    return false;
}

static void tensors_have_their_names(void) {
    static const char *const all[] = {"G/main.0.weight",        "D/main.0.weight",           "G/main.1.running_mean",
                                      "ema/G/main.0.weight",    "ema/G/main.1.running_mean", "adam.m/G/main.0.weight",
                                      "adam.v/G/main.0.weight", "rmsprop.v/D/main.0.weight"};
    static const char *const none_of[] = {"ema/D/main.0.weight", "adam.m/G/main.1.running_mean",
                                          "adam.m/D/main.0.weight", "rmsprop.m/D/main.0.weight",
                                          "sgd.v/G/main.0.weight"};
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.kind = GD_RMSPROP, .lr = 1e-4, .alpha = 0.99, .eps = 1e-8};
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) EXPECT(has_tensor(t, all[i]), "%s", all[i]);
    for (size_t i = 0; i < sizeof none_of / sizeof *none_of; i++) EXPECT(!has_tensor(t, none_of[i]), "%s", none_of[i]);
    gd_trainer_free(t);
    c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.kind = GD_SGD, .lr = 1e-4, .momentum = 0.5};
    c.ema_decay = 0;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    EXPECT(has_tensor(t, "sgd.v/D/main.0.weight") && !has_tensor(t, "ema/G/main.0.weight"));
    gd_trainer_free(t);
}

/* Going on in the same trainer is the same as going through. */
static void runs_can_be_continued(void) {
    gd_train_config c = tiny_config();
    gd_train_hooks none = {0};
    gd_trainer *t;
    uint64_t want = tiny_train(comm, &c, data, 5, NULL);
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 2));
    EXPECT_OK(gd_trainer_run(t, 5));
    EXPECT_OK(gd_trainer_run(t, 4)); /* already done */
    EXPECT(gd_trainer_step(t) == 5 && gd_trainer_state_hash(t) == want);
    gd_trainer_free(t);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(losses_agree_to_rounding),
        RIG_TEST(shards_give_the_same_bits),
        RIG_TEST(threads_give_the_same_bits),
        RIG_TEST(hosts_give_the_same_bits),
        RIG_TEST(other_runs_have_other_bits),
        RIG_TEST(every_schedule_runs),
        RIG_TEST(gradients_are_clipped_by_their_norm),
        RIG_TEST(local_statistics_keep_replicas_equal),
        RIG_TEST(one_batch_can_be_learnt),
        RIG_TEST(overfitting_keeps_its_batch),
        RIG_TEST(samples_come_out),
        RIG_TEST(metrics_are_complete),
        RIG_TEST(the_average_moves_as_said),
        RIG_TEST(tensors_have_their_names),
        RIG_TEST(runs_can_be_continued),
    };
    use_threads(1);
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
