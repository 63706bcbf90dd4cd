/* Whole trainings on an executor whose memory is not the host's (far_memory.h): every kind of GAN gives the bytes of the
 * executor cpu, on any number of ranks, and checkpoints move between the two. */
#include <errno.h>
#include <omp.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/dist/far_memory.h"
#include "tests/dist/variants.h"

enum { STEPS = 5 };

static gd_train_config plain_gan(void) {
    gd_train_config c = base_config();
    c.gan.generator = (gd_net_spec){.arch = "mlp",
                                    .generator = true,
                                    .latent = 6,
                                    .height = 16,
                                    .width_px = 16,
                                    .channels = 1,
                                    .width = 12,
                                    .depth = 2};
    c.gan.discriminator =
        (gd_net_spec){.arch = "mlp", .height = 16, .width_px = 16, .channels = 1, .width = 12, .depth = 2};
    c.optimizer[0] = c.optimizer[1] = (gd_optimizer_spec){.kind = GD_SGD, .lr = 1e-3, .momentum = 0.5};
    return c;
}

static gd_train_config wgan_clip(void) {
    gd_train_config c = base_config();
    c.gan.loss.kind = GD_LOSS_WASSERSTEIN;
    c.weight_clip = 0.01;
    c.schedule.d_steps = 3;
    c.optimizer[0] = c.optimizer[1] = (gd_optimizer_spec){.kind = GD_RMSPROP, .lr = 5e-5, .alpha = 0.99, .eps = 1e-8};
    return c;
}

static const variant more[] = {
    {"gan", plain_gan, &noise_data}, {"dcgan", base_config, &noise_data}, {"wgan-clip", wgan_clip, &noise_data}};
enum { MORE = sizeof more / sizeof *more };

static const variant *variant_at(int v) { return v < MORE ? &more[v] : &variants[v - MORE]; }

/* ---- a run and all it has told ---- */

typedef struct record {
    uint64_t hash;
    int n;
    double value[STEPS][GD__METRICS_MAX];
} record;

static gd_status remember(void *ctx, const gd_metrics *m) {
    record *r = ctx;
    EXPECT(r->n < STEPS);
    memcpy(r->value[r->n++], m->value, (size_t)m->count * sizeof(double));
    return GD_OK;
}

static record train(const gd_train_config *c, const gd_dataset *d) {
    static record r;
    gd_train_hooks h = {.ctx = &r, .on_metrics = remember};
    gd_trainer *t = NULL;
    memset(&r, 0, sizeof r);
    EXPECT_OK(gd_trainer_new(comm, c, d, &h, &t));
    EXPECT_OK(gd_trainer_run(t, STEPS));
    r.hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return r;
}

/* The config on `far` against the same on cpu. */
static void expect_equal(gd_train_config c, const gd_dataset *d, far_can can, const char *what) {
    static record near, far;
    c.check_every = 1;
    near = train(&c, d);
    c.executor = far_executor(can);
    far_take_counts();
    far = train(&c, d);
    EXPECT(near.hash == far.hash, "%s: another state", what);
    EXPECT(near.n == far.n && !memcmp(near.value, far.value, sizeof near.value), "%s: other metrics", what);
    EXPECT(far_take_counts().put > 0, "%s", what);
}

static void every_variant_gives_the_same_bytes(void) {
    for (int v = 0; v < MORE + VARIANTS; v++)
        expect_equal(variant_at(v)->config(), *variant_at(v)->data, (far_can)(v % 4), variant_at(v)->name);
}

static void shards_and_slices_do(void) {
    for (int v = 0; v < MORE + VARIANTS; v++) {
        gd_train_config c = variant_at(v)->config();
        c.shards = 4;
        c.shard_optimizer = v % 3 != 0;
        expect_equal(c, *variant_at(v)->data, v % 2 ? FAR_REPLAYS : FAR_ALL, variant_at(v)->name);
    }
}

static void overlap_does(void) {
    for (int v = 0; v < MORE + VARIANTS; v++) {
        gd_train_config c = variant_at(v)->config();
        c.overlap = true;
        c.shard_optimizer = v % 2;
        c.bucket_bytes = 4096;
        expect_equal(c, *variant_at(v)->data, v % 2 ? FAR_REPLAYS : FAR_ALL, variant_at(v)->name);
    }
}

/* Gradients that are summed where they are: every variant, with and without overlap, gives the bytes of sums on the host, and all
 * updates are by such sums. */
static void sums_there_do(void) {
    for (int v = 0; v < MORE + VARIANTS; v++) {
        for (int overlap = 0; overlap < 2; overlap++) {
            gd_train_config c = variant_at(v)->config();
            c.overlap = overlap;
            c.exchanges = far_exchanges(comm);
            expect_equal(c, *variant_at(v)->data, FAR_ALL, variant_at(v)->name);
            EXPECT(!far_open_exchanges() && !far_aborted && !far_tickets());
        }
    }
}

/* With overlap every gradient is said to be final as soon as it is, in each update. */
static void sums_begin_in_the_midst_of_programs(void) {
    for (int overlap = 0; overlap < 2; overlap++) {
        gd_train_config c = base_config();
        gd_train_hooks none = {0};
        gd_trainer *t = NULL;
        c.executor = far_executor(FAR_ALL);
        c.exchanges = far_exchanges(comm);
        c.overlap = overlap;
        EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
        int64_t floats = (int64_t)(t->group[0].count + t->group[1].count);
        far_take_counts();
        EXPECT_OK(gd_trainer_run(t, STEPS));
        EXPECT(far_take_counts().early == (overlap && size > 1 ? STEPS * floats : 0));
        gd_trainer_free(t);
    }
}

/* Who sums on the host all the same, and that the others do not: rounds, and the words. */
static void where_sums_are_made(void) {
    for (int what = 0; what < 4; what++) { /* 2: optimizer.shard */
        static const char *const words[] = {NULL, "numerics.shards", NULL, "the device has none"};
        gd_train_config c = base_config();
        c.executor = far_executor(FAR_ALL);
        c.exchanges = what == 3 ? NULL : far_exchanges(comm);
        c.shards = what == 1 ? 4 : 0;
        c.shard_optimizer = what == 2;
        const char *why = gd_train_exchanges(&c, size);
        if (size == 1) EXPECT(!strcmp(why, "there is one rank"));
        else EXPECT(words[what] ? strstr(why, words[what]) != NULL : !why);
        far_take_counts();
        train(&c, noise_data);
        far_counts n = far_take_counts();
        EXPECT(n.rounds == (size > 1 && !words[what] ? 2 * STEPS : 0), "%d: %lld rounds", what, (long long)n.rounds);
        EXPECT(n.updates == 2 * STEPS || (what == 2 && n.updates < 2 * STEPS), "%d: %lld updates", what,
               (long long)n.updates); /* of small networks some slices are empty */
    }
}

static int64_t collectives_of(const gd_trainer *t) {
    int64_t n = 0;
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++)
        for (int v = 0; v < GD__VERSIONS; v++)
            if (t->kind[k][v].program) n += gd_program_get_stats(t->kind[k][v].program).collectives;
    return n;
}

/* Batch statistics, and running ones where each rank has its own, go with gradients: then runs do not pause for them. Networks that
 * have none need no exchange for them, and where gradients are summed on the host there is none. */
static void statistics_are_summed_there(void) {
    for (int what = 0; what < 5; what++) {
        gd_train_config c = what == 3 ? plain_gan() : base_config();
        gd_train_hooks none = {0};
        gd_trainer *t = NULL;
        bool there = size > 1 && what < 3;
        c.executor = far_executor(what ? FAR_ALL : FAR_UPDATES);
        c.exchanges = what == 4 ? NULL : far_exchanges(comm);
        c.overlap = what == 1;
        c.gan.sync = what != 2;
        EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
        EXPECT((t->statistics != NULL) == there && (!t->staged || !there));
        int64_t n = collectives_of(t); /* each program runs once an iteration */
        EXPECT((n > 0) == (size > 1 && what != 3));
        far_take_counts();
        EXPECT_OK(gd_trainer_run(t, STEPS));
        EXPECT(far_take_counts().among == (there ? STEPS * n : 0), "%d", what);
        gd_trainer_free(t);
        EXPECT(!far_open_exchanges() && !far_aborted);
    }
}

/* A round that fails ends the training with its words, and the exchange is aborted. On all ranks alike: whoever is alone would wait
 * for MPI here. */
static void fail_third_round(bool begin, gd_status code) {
    gd_train_config c = base_config();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    if (size == 1) return;
    c.executor = far_executor(FAR_ALL);
    c.exchanges = far_exchanges(comm);
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    far_fail_round(3, begin);
    gd_status st = gd_trainer_run(t, STEPS);
    EXPECT(st == code && strstr(gd_error_message(), "this round was told to fail"), "%s: %s", gd_status_name(st),
           gd_error_message());
    far_fail_round(0, false);
    EXPECT_OK(gd_comm_ibcast_finish(comm)); /* of the next plan, for this communicator is used again */
    gd_trainer_free(t);
    EXPECT(far_aborted && !far_open_exchanges() && !far_tickets());
}

/* So does a sum of batch statistics, whether runs are replayed or not. */
static void statistics_that_fail_end_the_training(void) {
    for (int replays = 0; replays < 2; replays++) {
        gd_train_config c = base_config();
        gd_train_hooks none = {0};
        gd_trainer *t = NULL;
        if (size == 1) return;
        c.executor = far_executor(replays ? FAR_ALL : FAR_UPDATES);
        c.exchanges = far_exchanges(comm);
        c.overlap = replays;
        EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
        far_fail_sum((int)collectives_of(t) + 2); /* in the second iteration */
        EXPECT_ERROR(gd_trainer_run(t, STEPS), NCCL, "this sum was told to fail");
        EXPECT(gd_trainer_step(t) == !replays); /* which overlap begins ahead */
        far_fail_sum(0);
        if (!t->next_known) EXPECT_OK(gd_comm_ibcast_finish(comm));
        gd_trainer_free(t);
        EXPECT(far_aborted && !far_open_exchanges() && !far_tickets());
    }
}

static void a_sum_that_cannot_begin_ends_the_training(void) { fail_third_round(true, GD_NCCL); }
static void a_sum_that_does_not_end_does(void) { fail_third_round(false, GD_TIMEOUT); }

/* Ranks that sum different gradients are found when replicas are compared. */
static void sums_are_compared(void) {
    gd_train_config c = base_config();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    if (size == 1) return;
    c.executor = far_executor(FAR_ALL);
    c.exchanges = far_exchanges(comm);
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 2));
    EXPECT_OK(gd__check_replicas(t));
    if (rank == 1) EXPECT_OK(gd__begin_exchange(t, &t->group[GD_GROUP_D]));
    EXPECT_ERROR(gd__check_replicas(t), INTERNAL,
                 "ranks ask for different sums, gradients of D: rank 1 summed something else");
    gd_trainer_free(t);
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 2));
    EXPECT_OK(gd__check_replicas(t));
    if (rank == 1) EXPECT_OK(gd__sum_statistics(t, gd__space_at(&t->space, t->metric_value), 0));
    EXPECT_ERROR(gd__check_replicas(t), INTERNAL,
                 "ranks ask for different sums, batch statistics: rank 1 summed something else");
    gd_trainer_free(t);
}

static void runs_are_replayed(void) {
    for (int overlap = 0; overlap < 2; overlap++) {
        gd_train_config c = base_config();
        c.executor = far_executor(FAR_ALL);
        c.overlap = overlap;
        far_take_counts();
        train(&c, noise_data);
        far_counts n = far_take_counts();
        EXPECT(n.replays == 2 * STEPS && n.updates == 2 * STEPS, "%lld", (long long)n.replays);
    }
}

/* What happens in 20 steps. *params: bytes of one network pair's. */
static far_counts counts_of(far_can can, int64_t *params) {
    gd_train_config c = base_config();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.executor = far_executor(can);
    c.check_every = 0;
    c.resident = GD_RESIDENT_NEVER; /* the stand-in would read a set that stays there */
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    *params = (int64_t)((t->group[0].count + t->group[1].count) * sizeof(float));
    EXPECT_OK(gd_trainer_run(t, 2));
    far_take_counts();
    EXPECT_OK(gd_trainer_run(t, 22));
    far_counts n = far_take_counts();
    gd_trainer_free(t);
    return n;
}

/* One rank's one shard has nothing to exchange: gradients stay, and what is made of them, and nobody waits for it: metrics of two
 * programs, two norms, and two times whether statistics are finite are read later; state comes once, at the end. */
static void gradients_stay_where_they_are(void) {
    int64_t params;
    far_counts there = counts_of(FAR_ALL, &params), here = counts_of(FAR_REPLAYS, &params);
    EXPECT(here.got >= 20 * params, "%lld of %lld", (long long)here.got, (long long)params);
    if (size > 1) EXPECT(there.got >= 20 * params && !there.later);
    else
        EXPECT(there.got <= 6 * params && there.later == 20 * 6, "%lld, %lld", (long long)there.got,
               (long long)there.later);
}

/* ---- what the host does with the state ---- */

static const char *folder;

static void start_test(const char *name) {
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

static uint64_t leg(gd_train_config c, const gd_dataset *d, const gd_executor *x, int64_t from, int64_t until) {
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    int64_t step;
    c.executor = x;
    c.checkpoint_dir = folder;
    EXPECT_OK(gd_trainer_new(comm, &c, d, &none, &t));
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == from);
    EXPECT_OK(gd_trainer_run(t, until));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

/* cpu, far, cpu, far: the bytes of one run on cpu. */
static void checkpoints_move(void) {
    const gd_executor *const x[] = {gd_executor_cpu(), far_executor(FAR_ALL), gd_executor_cpu(),
                                    far_executor(FAR_PLAIN)};
    for (int v = 0; v < MORE + VARIANTS; v++) {
        gd_train_config c = variant_at(v)->config();
        c.shard_optimizer = v % 2;
        c.overlap = v % 3 == 0;
        start_test("far-whole");
        uint64_t want = leg(c, *variant_at(v)->data, gd_executor_cpu(), 0, 6), got = 0;
        start_test("far-legs");
        for (int i = 0; i < 3; i++) got = leg(c, *variant_at(v)->data, x[i + v % 2], 2 * i, 2 * i + 2);
        EXPECT(got == want, "%s", variant_at(v)->name);
    }
}

/* Steps that are not finite: what is skipped, and going back, are the same. */
static void sickness_is_the_same(void) {
    for (int policy = GD_NONFINITE_ROLLBACK; policy <= GD_NONFINITE_SKIP; policy++) {
        uint64_t hash[2];
        for (int far = 0; far < 2; far++) {
            gd_train_config c = base_config();
            gd_train_hooks none = {0};
            gd_trainer *t = NULL;
            start_test("far-sick");
            c.executor = far ? far_executor(FAR_ALL) : gd_executor_cpu();
            c.on_nonfinite = (gd_nonfinite)policy;
            c.checkpoint_dir = folder;
            c.checkpoint_every = 1;
            c.optimizer[GD_GROUP_D].lr = 1e18; /* numbers are soon too large */
            EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
            gd_status st = gd_trainer_run(t, 12);
            EXPECT(st == GD_NUMERIC || st == GD_OK, "%s", gd_error_message());
            EXPECT(t->counters.rollbacks + t->counters.skips > 0);
            hash[far] = gd_trainer_state_hash(t);
            gd_trainer_free(t);
        }
        EXPECT(hash[0] == hash[1], "policy %d", policy);
    }
}

/* Looks at samples, and pictures in the middle of a training: live and averaged, both directions. */
static void pictures_are_the_same(void) {
    enum { N = 3, IMAGE = 256 };
    static float x[N * IMAGE], out[2][3][N * IMAGE];
    uint64_t hash[2];
    for (int i = 0; i < N * IMAGE; i++) x[i] = (float)sin(i);
    for (int v = 0; v < 2; v++) {
        for (int far = 0; far < 2; far++) {
            gd_train_config c = v ? discogan() : base_config();
            gd_train_hooks none = {0};
            gd_trainer *t = NULL;
            c.executor = far ? far_executor(FAR_ALL) : gd_executor_cpu();
            c.watch.every = 2;
            c.watch.action[GD_WATCH_COLLAPSE] = GD_WATCH_WARN;
            EXPECT_OK(gd_trainer_new(comm, &c, v ? pair_data : noise_data, &none, &t));
            EXPECT_OK(gd_trainer_run(t, 3));
            for (int k = 0; k < 3 && rank == 0; k++)
                EXPECT_OK(v ? gd_trainer_translate(t, k == 2, N, x, k == 1, out[far][k])
                            : gd_trainer_sample(t, N, x, k == 1, out[far][k]));
            EXPECT_OK(gd_trainer_run(t, 5));
            hash[far] = gd_trainer_state_hash(t);
            gd_trainer_free(t);
        }
        EXPECT(hash[0] == hash[1] && !memcmp(out[0], out[1], sizeof out[0]), "%d", v);
    }
}

/* Weights from elsewhere, before the first step. */
static void weights_that_are_set_are_trained(void) {
    uint64_t hash[2];
    for (int far = 0; far < 2; far++) {
        gd_train_config c = base_config();
        gd_train_hooks none = {0};
        gd_trainer *t = NULL;
        c.executor = far ? far_executor(FAR_ALL) : gd_executor_cpu();
        EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
        const gd_state *s = gd_trainer_state(t);
        for (int i = 0; i < s->count; i++)
            if (s->tensor[i].data) s->tensor[i].data[0] += 0.25f;
        EXPECT_OK(gd_trainer_run(t, 2));
        hash[far] = gd_trainer_state_hash(t);
        gd_trainer_free(t);
    }
    EXPECT(hash[0] == hash[1]);
}

/* That the host's memory is not the executor's: a step that is given it, or a host that reads the other, is found. */
static void the_test_can_fail(void) {
    const gd_executor *x = far_executor(FAR_PLAIN);
    void *memory;
    float host[4] = {1, 2, 3, 4};
    EXPECT_OK(x->alloc(sizeof host, &memory));
    EXPECT_OK(x->put(memory, host, sizeof host));
    EXPECT_ERROR(x->copy(NULL, memory, host, sizeof host), INTERNAL, "the wrong memories");
    int pair[2];
    EXPECT(!pipe(pair) && write(pair[1], memory, 1) < 0 && errno == EFAULT, "the host can read it");
    close(pair[0]);
    close(pair[1]);
    x->free(memory);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(the_test_can_fail),
        RIG_TEST(every_variant_gives_the_same_bytes),
        RIG_TEST(shards_and_slices_do),
        RIG_TEST(overlap_does),
        RIG_TEST(sums_there_do),
        RIG_TEST(sums_begin_in_the_midst_of_programs),
        RIG_TEST(where_sums_are_made),
        RIG_TEST(statistics_are_summed_there),
        RIG_TEST(statistics_that_fail_end_the_training),
        RIG_TEST(a_sum_that_cannot_begin_ends_the_training),
        RIG_TEST(a_sum_that_does_not_end_does),
        RIG_TEST(sums_are_compared),
        RIG_TEST(gradients_stay_where_they_are),
        RIG_TEST(runs_are_replayed),
        RIG_TEST(checkpoints_move),
        RIG_TEST(sickness_is_the_same),
        RIG_TEST(pictures_are_the_same),
        RIG_TEST(weights_that_are_set_are_trained),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
