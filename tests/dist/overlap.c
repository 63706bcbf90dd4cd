/* Gradients that travel while programs compute (comm.overlap): the bytes, losses and norms of a run that waits for
 * them, for every kind of GAN, on one host and between several, with virtual shards and with divided optimiser state;
 * through saves and rollbacks; what runs ahead of its iteration changes nothing; and it does happen. */
#include <unistd.h>

#include "base/io.h"
#include "dist/comm_internal.h"
#include "dist/comm_mpi.h"
#include "tests/dist/variants.h"

enum { STEPS = 3, BUCKET = 1024 /* bytes: even tiny networks have many */ };

/* ---- what is trained ---- */

/* D, and G through the updated D: the order of DCGAN. */
static gd_train_config shared(void) {
    gd_train_config c = base_config();
    c.schedule.share_fake = true;
    return c;
}

static gd_train_config simultaneous(void) {
    gd_train_config c = base_config();
    c.schedule.simultaneous = true;
    return c;
}

/* No batch statistics over ranks, and norms that are clipped. */
static gd_train_config clipped(void) {
    gd_train_config c = shared();
    c.gan.sync = false;
    c.optimizer[0].clip_norm = c.optimizer[1].clip_norm = 0.02;
    return c;
}

/* The gradient of a critic's last bias is a constant: written ahead of anything that G could hold up. */
static gd_train_config biased(void) {
    gd_train_config c = wgan_gp();
    c.gan.generator.arch = c.gan.discriminator.arch = "mlp";
    c.gan.generator.width = c.gan.discriminator.width = 24;
    c.gan.generator.depth = c.gan.discriminator.depth = 2;
    return c;
}

static const variant more[] = {
    {"separate", base_config, &noise_data},
    {"shared", shared, &noise_data},
    {"simultaneous", simultaneous, &noise_data},
    {"clipped", clipped, &noise_data},
    {"biased", biased, &noise_data},
};
enum { MORE = sizeof more / sizeof *more, KINDS = VARIANTS + MORE };

static const variant *kind(int k) { return k < VARIANTS ? &variants[k] : &more[k - VARIANTS]; }

static gd_train_config overlapping(gd_train_config c) {
    c.overlap = true;
    c.bucket_bytes = BUCKET;
    return c;
}

/* ---- the same as without ---- */

typedef struct numbers { /* of every metric of every step */
    int n;
    double value[STEPS][GD__METRICS_MAX];
} numbers;

static gd_status keep_numbers(void *ctx, const gd_metrics *m) {
    numbers *r = ctx;
    EXPECT(r->n < STEPS);
    memcpy(r->value[r->n++], m->value, (size_t)m->count * sizeof(double));
    return GD_OK;
}

static uint64_t train(gd_comm *c, const gd_train_config *config, const gd_dataset *d, numbers *r) {
    gd_trainer *t;
    gd_train_hooks h = {.ctx = r, .on_metrics = keep_numbers};
    *r = (numbers){0};
    EXPECT_OK(gd_trainer_new(c, config, d, &h, &t));
    EXPECT_OK(gd_trainer_run(t, STEPS));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

static void expect_the_same(gd_comm *c, gd_train_config config, const variant *v, const char *how) {
    static numbers with, without;
    gd_train_config o = overlapping(config);
    uint64_t want = train(c, &config, *v->data, &without), got = train(c, &o, *v->data, &with);
    EXPECT(got == want, "%s, %s: %016llx, not %016llx", v->name, how, (unsigned long long)got,
           (unsigned long long)want);
    EXPECT(!memcmp(&with, &without, sizeof with), "%s, %s: other numbers", v->name, how);
}

static void on_one_host(void) {
    for (int k = 0; k < KINDS; k++) expect_the_same(comm, kind(k)->config(), kind(k), "one host");
}

static void with_virtual_shards(void) {
    for (int k = 0; k < KINDS; k++) {
        gd_train_config c = kind(k)->config();
        c.shards = VARIANT_BATCH;
        if (c.gan.penalty.pick > 1) continue; /* a shard is one sample */
        expect_the_same(comm, c, kind(k), "shards");
    }
}

static void with_divided_state(void) {
    for (int k = 0; k < KINDS; k++) {
        gd_train_config c = kind(k)->config();
        c.shard_optimizer = true;
        expect_the_same(comm, c, kind(k), "divided");
    }
}

/* Halves; one rank alone and the others together, who all speak for themselves; and every rank alone. */
static void between_hosts(void) {
    const int host[3] = {rank >= size / 2, rank > 0, rank};
    int arrangements = size > 2 ? 3 : 1;
    if (size == 1 || gd_comm_hosts(comm) > 1) return;
    for (int h = 0; h < arrangements; h++) {
        gd_comm *apart;
        EXPECT_OK(gd__comm_mpi_as(host[h], &apart));
        for (int k = h; k < KINDS; k += arrangements) {
            gd_train_config c = kind(k)->config();
            expect_the_same(apart, c, kind(k), "hosts");
            c.shards = size < VARIANT_BATCH && c.gan.penalty.pick <= 1 ? VARIANT_BATCH : 0;
            c.shard_optimizer = true;
            expect_the_same(apart, c, kind(k), "hosts, shards, divided");
        }
        EXPECT_OK(gd_comm_barrier(apart));
        gd_comm_free(apart);
    }
}

/* ---- restarts ---- */

static void start_folder(gd_train_config *c, const char *name) {
    c->checkpoint_dir = tiny_folder(name);
    if (rank == 0) EXPECT_OK(gd_dir_remove(c->checkpoint_dir));
    EXPECT_OK(gd_comm_barrier(comm));
}

/* Saved in the middle, while the next iteration's program may have begun, and gone on from there. */
static void a_resumed_run_is_the_same(void) {
    for (int k = 0; k < KINDS; k += 2) {
        gd_train_config c = overlapping(kind(k)->config());
        gd_train_hooks none = {0};
        gd_trainer *t;
        int64_t step;
        uint64_t want = tiny_train(comm, &c, *kind(k)->data, STEPS, NULL);
        start_folder(&c, "overlap-resume");
        c.checkpoint_every = 1;
        EXPECT(tiny_train(comm, &c, *kind(k)->data, 2, NULL) != want);
        EXPECT_OK(gd_trainer_new(comm, &c, *kind(k)->data, &none, &t));
        EXPECT_OK(gd_trainer_resume(t, &step));
        EXPECT(step == 2);
        EXPECT_OK(gd_trainer_run(t, STEPS));
        EXPECT(gd_trainer_state_hash(t) == want, "%s", kind(k)->name);
        gd_trainer_free(t);
    }
}

/* The report of a step fails on rank 0: all leave, and go on from that very step with that very batch. */
static gd_status fail_once(void *ctx, const gd_metrics *m) {
    int64_t *at = ctx;
    if (m->step != *at) return GD_OK;
    *at = 0;
    GD_FAIL(IO, "no space");
}

static void a_run_that_failed_goes_on(void) {
    for (int k = 0; k < KINDS; k++) {
        gd_train_config c = overlapping(kind(k)->config());
        int64_t at = 2;
        gd_train_hooks h = {.ctx = &at, .on_metrics = fail_once};
        gd_trainer *t;
        uint64_t want = tiny_train(comm, &c, *kind(k)->data, STEPS, NULL);
        EXPECT_OK(gd_trainer_new(comm, &c, *kind(k)->data, &h, &t));
        if (rank == 0) EXPECT_ERROR(gd_trainer_run(t, STEPS), IO, "no space");
        else EXPECT_ERROR(gd_trainer_run(t, STEPS), PEER, "no space");
        EXPECT(gd_trainer_step(t) == 2);
        EXPECT_OK(gd_trainer_run(t, STEPS));
        EXPECT(gd_trainer_state_hash(t) == want, "%s", kind(k)->name);
        gd_trainer_free(t);
    }
}

/* ---- it does overlap ---- */

static int64_t ahead_seen;

/* What the poll hook finds at the end of an iteration. */
static gd_trainer *polled;
static int look(void *ctx) {
    (void)ctx;
    ahead_seen += polled->ahead;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        EXPECT(!polled->group[g].pending, "group %d is pending at the end of an iteration", g);
        EXPECT(!gd_reducer_is_open(polled->group[g].reducer), "group %d", g);
    }
    return 0;
}

static void the_next_iteration_has_begun(void) {
    for (int k = 0; k < KINDS; k++) {
        gd_train_config c = overlapping(kind(k)->config());
        gd_train_hooks h = {.poll = look};
        ahead_seen = 0;
        EXPECT_OK(gd_trainer_new(comm, &c, *kind(k)->data, &h, &polled));
        EXPECT_OK(gd_trainer_run(polled, STEPS));
        EXPECT(ahead_seen == (size > 1 ? STEPS - 1 : 0), "%s: %d times", kind(k)->name, (int)ahead_seen);
        gd_trainer_free(polled);
    }
}

/* A program that may wait for G begins with what it can do without, and gives the same numbers. */
static void late_parameters_are_read_late(void) {
    gd_train_config c = overlapping(shared());
    gd_train_hooks none = {0};
    gd_trainer *t;
    gd_run_args a = {.seed = 1};
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    if (size > 1) {
        gd_instance *i = t->kind[GD_STEP_DG_SHARED][GD__PLAIN].instance[0];
        gd_pause pause;
        int collectives = 0;
        gd_instance_hold(i, 1u << GD__SET_PARAMS(GD_GROUP_G));
        EXPECT_OK(gd_instance_start(i, &a, &pause));
        for (; pause.kind == GD_PAUSE_COLLECTIVE; collectives++) EXPECT_OK(gd_instance_resume(i, &pause));
        EXPECT(pause.kind == GD_PAUSE_HELD && pause.held == 1u << GD__SET_PARAMS(GD_GROUP_G));
        EXPECT(collectives >= 2, "%d", collectives); /* forward and backward through D's batch norm */
    }
    gd_trainer_free(t);
}

/* ---- a rank that fails while gradients travel (tests/cli/overlap.sh runs this) ---- */

enum { CODE = 70 };

static gd_status run_or_fail(void *state, const gd_view *v, int s, const gd_memory *m) {
    static int calls;
    bool travels = polled && (polled->group[GD_GROUP_G].pending || polled->group[GD_GROUP_D].pending);
    if (rank == 1 && travels && polled->comm->busy && ++calls == 9) GD_FAIL(INTERNAL, "a fault of this test");
    return gd_executor_cpu()->run(state, v, s, m);
}

/* As the program does: who fails alone ends the job. Until then the others wait. */
static void one_rank_fails(void) {
    gd_train_config c = overlapping(shared());
    gd_train_hooks none = {0};
    gd_executor x = *gd_executor_cpu();
    gd_comm *apart;
    x.run = run_or_fail;
    c.executor = &x;
    EXPECT_OK(gd__comm_mpi_as(rank, &apart));
    EXPECT_OK(gd_trainer_new(apart, &c, noise_data, &none, &polled));
    gd_status st = gd_trainer_run(polled, 1000);
    fprintf(stderr, "rank %d: %s\n", rank, st == GD_OK ? "no error" : gd_error_message());
    gd_trainer *t = polled;
    polled = NULL;
    gd_trainer_free(t); /* with messages under way */
    gd_comm_abort(apart, CODE);
}

int main(int argc, char **argv) {
    const rig_test failing[] = {RIG_TEST(one_rank_fails)};
    const rig_test tests[] = {
        RIG_TEST(on_one_host),
        RIG_TEST(with_virtual_shards),
        RIG_TEST(with_divided_state),
        RIG_TEST(between_hosts),
        RIG_TEST(a_resumed_run_is_the_same),
        RIG_TEST(a_run_that_failed_goes_on),
        RIG_TEST(the_next_iteration_has_begun),
        RIG_TEST(late_parameters_are_read_late),
    };
    open_variant_data();
    if (argc > 1 && !strcmp(argv[1], "--fail")) return rig_main(failing, 1);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
