/* Hangs, and what looks like one: a rank that does not go on is named with its stack, on one host and on two; slow ranks,
 * long saves and long samples are no hangs. And ranks that come to different collectives (GANDIST_CHECK). What happens to
 * a process that is stopped, tests/cli/hang.sh shows with the program itself. */
#include <stdatomic.h>
#include <time.h>

#include "base/io.h"
#include "dist/comm_mpi.h"
#include "dist/watchdog.h"
#include "tests/dist/tiny_gan.h"

static gd_dataset *data;

/* What this rank's watchdog said; it does not end the job here, so that the test can go on. */
static char said[64 * 1024];
static _Atomic int hangs, slow_samples;

static void listen(void *ctx, bool hang, const char *text) {
    (void)ctx;
    if (hang && !atomic_load(&hangs)) snprintf(said, sizeof said, "%s", text);
    if (hang) atomic_fetch_add(&hangs, 1);
    else if (strstr(text, "step 8, metrics and samples"))
        atomic_fetch_add(&slow_samples, 1); /* a busy machine is slow elsewhere, too */
}

static void sleep_for(double seconds) {
    double until = gd__seconds() + seconds;
    while (gd__seconds() < until) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static gd_watchdog_spec spec(double limit, double patience) {
    return (gd_watchdog_spec){.limit = limit, .patience = patience, .factor = 2, .tell = listen};
}

/* ---- who sleeps ---- */

typedef struct nap {
    int64_t at, calls; /* sleeps at this call; 0: at all of them */
    double seconds;
} nap;

static void take(nap *n) {
    n->calls++;
    if (!n->at || n->calls == n->at) sleep_for(n->seconds);
}

static int sleepy_poll(void *ctx) {
    take(ctx);
    return 0;
}

static gd_status sleepy_samples(void *ctx, int64_t step) {
    (void)step;
    take(ctx);
    return GD_OK;
}

static double slow_sync;
static int fsync_slowly(int fd) {
    sleep_for(slow_sync);
    return gd_io_system()->fsync(fd);
}

/* Trains under a watchdog. */
static void train(gd_comm *c, const gd_watchdog_spec *w, const gd_train_config *config, gd_train_hooks h,
                  int64_t steps) {
    gd_watchdog *dog;
    gd_trainer *t;
    atomic_store(&hangs, 0);
    atomic_store(&slow_samples, 0);
    said[0] = 0;
    EXPECT_OK(gd_watchdog_start(c, w, &dog));
    EXPECT(dog);
    EXPECT_OK(gd_trainer_new(c, config, data, &h, &t));
    EXPECT_OK(gd_trainer_run(t, steps));
    gd_trainer_free(t);
    gd_watchdog_stop(dog);
}

/* ---- no hangs ---- */

static void a_slow_rank_is_no_hang(void) {
    gd_train_config c = tiny_config();
    gd_watchdog_spec w = spec(1.5, 20);
    nap n = {.seconds = rank == size - 1 ? 0.5 : 0}; /* far more than three times what a step takes */
    train(comm, &w, &c, (gd_train_hooks){.ctx = &n, .poll = sleepy_poll}, 9);
    EXPECT(!atomic_load(&hangs), "%s", said);
}

static void long_samples_are_no_hang(void) {
    gd_train_config c = tiny_config();
    gd_watchdog_spec w = spec(1, 30);
    nap n = {.at = 1, .seconds = 4};
    c.sample_every = 8;
    train(comm, &w, &c, (gd_train_hooks){.ctx = &n, .on_samples = sleepy_samples}, 10);
    EXPECT(!atomic_load(&hangs), "%s", said);
    EXPECT(rank || atomic_load(&slow_samples) == 1, "rank 0 is told that samples take long, once; it was %d times",
           atomic_load(&slow_samples));
}

static void a_long_save_is_no_hang(void) {
    gd_train_config c = tiny_config();
    gd_watchdog_spec w = spec(1, 30);
    gd_io io = *gd_io_system();
    io.fsync = fsync_slowly;
    slow_sync = size == 1 ? 0.15 : rank == size - 1 ? 1 : 0; /* alone it syncs more often */
    c.checkpoint_dir = tiny_folder("long-save");
    c.checkpoint_every = 8;
    c.checkpoint_wait = true;
    if (!rank) EXPECT_OK(gd_dir_remove(c.checkpoint_dir));
    EXPECT_OK(gd_comm_barrier(comm));
    gd_io_set(&io);
    train(comm, &w, &c, (gd_train_hooks){0}, 9);
    gd_io_set(NULL);
    EXPECT(!atomic_load(&hangs), "%s", said);
}

/* ---- hangs ---- */

/* The last rank stays in its poll hook; rank 0's watchdog speaks. */
static void a_rank_that_does_not_come_is_named(void) {
    gd_train_config c = tiny_config();
    gd_watchdog_spec w = spec(1, 30);
    nap n = {.at = rank == size - 1 ? 9 : -1, .seconds = 4};
    char who[64], stack[64];
    train(comm, &w, &c, (gd_train_hooks){.ctx = &n, .poll = sleepy_poll}, 12);
    EXPECT(atomic_load(&hangs) == (rank == 0), "%d hangs", atomic_load(&hangs));
    if (rank) return;
    snprintf(who, sizeof who, "rank %d does not ", size - 1);
    snprintf(stack, sizeof stack, "stack of rank %d, innermost first", size - 1);
    if (getenv("GANDIST_TEST_SHOW")) printf("%s\n", said);
    EXPECT(strstr(said, who) && strstr(said, "step 9, agreement") && strstr(said, stack), "%s", said);
    EXPECT(strstr(said, "nanosleep"), "%s", said);
    EXPECT(size == 1 || strstr(said, "step 9, agreement: waits in an all-gather"), "%s", said);
}

static gd_executor stuck_executor;
static gd_status get_stuck(void *state, const gd_view *v, int s, const gd_memory *m) {
    static int runs;
    if (s == 0 && ++runs == 17) sleep_for(5); /* D of step 9, which begins before step 8 ends */
    return gd_executor_cpu()->run(state, v, s, m);
}

/* Gradients are under way; the others come to where they need them, and are said to wait for those of G. */
static void who_keeps_an_exchange_is_named(void) {
    gd_train_config c = tiny_config();
    gd_watchdog_spec w = spec(1, 30);
    char who[64];
    if (size == 1) return;
    c.overlap = true;
    c.bucket_bytes = 1024;
    c.gan.sync = false;
    stuck_executor = *gd_executor_cpu();
    stuck_executor.run = get_stuck;
    if (rank == size - 1) c.executor = &stuck_executor;
    train(comm, &w, &c, (gd_train_hooks){0}, 12);
    EXPECT(atomic_load(&hangs) == (rank == 0), "%d hangs", atomic_load(&hangs));
    if (rank) return;
    snprintf(who, sizeof who, "rank %d does not ", size - 1);
    EXPECT(strstr(said, who) && strstr(said, "gradients of G: waits in an all-reduce"), "%s", said);
}

/* ---- movement that leads nowhere ---- */

typedef struct turn {
    gd_comm *c;
    int64_t calls;
    bool alone; /* the last rank, by itself */
} turn;

/* Somebody of this rank's host has spoken a second ago, enough to ask others for their stacks. */
static bool was_said(const gd_comm *c, double *when) {
    for (int i = 0; i < c->host_size && *when == 0; i++)
        if (atomic_load(&c->pulse[i]->spoken)) *when = gd__seconds();
    return *when > 0 && gd__seconds() > *when + 1;
}

/* At step 9 ranks exchange words for ever, or until rank 0's watchdog has said something; or one is busy with itself. */
static int turn_round(void *ctx) {
    turn *n = ctx;
    double until = gd__seconds() + 30, more = 1, when = 0;
    if (++n->calls != 9 || (n->alone && rank != size - 1)) return 0;
    for (int64_t i = 0; more > 0 && gd__seconds() < until; i++) {
        gd_comm_label(n->c, i % 2 ? GD_PHASE_CONTROL : GD_PHASE_COMPUTE, -1, 9);
        more = !atomic_load(&hangs) && (rank == 0 || n->alone);
        if (n->alone) more = more && !was_said(n->c, &when) && gd__seconds() < until - 10;
        else EXPECT_OK(gd_comm_sum_f64(n->c, &more, 1));
        if (size == 1 || n->alone) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    gd_comm_label(n->c, GD_PHASE_CONTROL, -1, 9);
    return 0;
}

static void turning(gd_comm *c, bool alone) {
    gd_train_config config = tiny_config();
    gd_watchdog_spec w = spec(1, 30);
    turn n = {.c = c, .alone = alone};
    char who[80], stack[64];
    bool one = alone || size == 1;
    w.folder = tiny_folder("heartbeat");
    double start = gd__seconds();
    train(c, &w, &config, (gd_train_hooks){.ctx = &n, .poll = turn_round}, 12);
    bool speaks = gd_comm_hosts(c) == 1 ? rank == 0 : alone ? rank == size / 2 : rank == 0;
    EXPECT(!speaks || atomic_load(&hangs) == 1, "%d hangs", atomic_load(&hangs));
    EXPECT(gd__seconds() - start < 25, "took %.0f s", gd__seconds() - start);
    if (!speaks) return;
    if (one) snprintf(who, sizeof who, "rank %d moves, but nothing gets done", size - 1);
    else snprintf(who, sizeof who, "rank 0-%d move, but nothing gets done", gd_comm_host_size(c) - 1);
    if (!one && gd_comm_host_size(c) == 1) snprintf(who, sizeof who, "rank 0 moves, but nothing gets done");
    snprintf(stack, sizeof stack, "stack of rank %d, innermost first", one ? size - 1 : 0);
    if (getenv("GANDIST_TEST_SHOW")) printf("%s\n", said);
    EXPECT(strstr(said, who) && strstr(said, "step 9") && strstr(said, stack), "%s", said);
}

static void ranks_that_turn_round_are_named(void) { turning(comm, false); }
static void a_rank_that_turns_round_is_named(void) { turning(comm, true); }
static void so_are_those_of_two_hosts(void) {
    gd_comm *spread;
    if (size == 1) return;
    EXPECT_OK(gd__comm_mpi_as(rank >= size / 2, &spread));
    turning(spread, false);
    turning(spread, true);
    gd_comm_free(spread);
}

/* Two hosts know of each other through files. */
static void other_hosts_are_seen(void) {
    gd_comm *spread;
    gd_train_config c = tiny_config();
    gd_watchdog_spec w = spec(1.5, 30);
    nap samples = {.at = 1, .seconds = 4}, sleep = {.at = rank == size - 1 ? 9 : -1, .seconds = 5};
    char who[64];
    if (size == 1) return;
    w.folder = tiny_folder("heartbeat");
    EXPECT_OK(gd__comm_mpi_as(rank >= size / 2, &spread));
    c.sample_every = 8;
    train(spread, &w, &c, (gd_train_hooks){.ctx = &samples, .on_samples = sleepy_samples}, 10);
    EXPECT(!atomic_load(&hangs), "%s", said);
    c.sample_every = 0;
    train(spread, &w, &c, (gd_train_hooks){.ctx = &sleep, .poll = sleepy_poll}, 12);
    snprintf(who, sizeof who, "rank %d does not come to where the others wait", size - 1);
    EXPECT(rank || (atomic_load(&hangs) == 1 && strstr(said, who)), "%s", said);
    gd_comm_free(spread);
}

/* ---- different collectives ---- */

static void different_collectives_are_named(void) {
    int64_t mine[2] = {rank, rank}, all[2 * 64];
    gd_comm *checked;
    if (size == 1) return;
    EXPECT(!setenv("GANDIST_CHECK", "collectives", 1));
    EXPECT_OK(gd_comm_mpi(&checked));
    EXPECT_OK(gd_comm_allgather(checked, mine, sizeof *mine, all));
    /* another collective */
    if (rank == 1) EXPECT_ERROR(gd_comm_barrier(checked), INTERNAL, "rank 1: start-up: waits in a barrier");
    else EXPECT_ERROR(gd_comm_bcast(checked, 0, mine, 8), INTERNAL, "rank 1: start-up: waits in a barrier");
    EXPECT(strstr(gd_error_message(), "rank 0") && strstr(gd_error_message(), "a broadcast of 8 bytes"), "%s",
           gd_error_message());
    /* another size; another step; another network */
    EXPECT_ERROR(gd_comm_allgather(checked, mine, rank == 1 ? 16 : 8, all), INTERNAL,
                 "rank 1: start-up: waits in an all-gather of 16 bytes");
    gd_comm_label(checked, GD_PHASE_REDUCE, GD_GROUP_D, rank == 1 ? 8 : 7);
    EXPECT_ERROR(gd_comm_agree(checked, GD_OK), INTERNAL, "rank 1: step 8, gradients of D: waits in an agreement");
    gd_comm_label(checked, GD_PHASE_REDUCE, rank == 1 ? GD_GROUP_G : GD_GROUP_D, 7);
    EXPECT_ERROR(gd_comm_sum_f64(checked, (double[2]){0}, 2), INTERNAL,
                 "rank 1: step 7, gradients of G: waits in a sum");
    /* and afterwards all is well again */
    gd_comm_label(checked, GD_PHASE_REDUCE, GD_GROUP_D, 7);
    EXPECT_OK(gd_comm_allgather(checked, mine, sizeof *mine, all));
    for (int r = 0; r < size; r++) EXPECT(all[r] == r);
    gd_comm_free(checked);
    EXPECT(!setenv("GANDIST_CHECK", "colectives", 1));
    EXPECT_ERROR(gd_comm_mpi(&checked), USAGE, "no check 'colectives'");
    /* One rank that has it is enough: launchers do not hand variables to all hosts. */
    EXPECT(rank ? !unsetenv("GANDIST_CHECK") : !setenv("GANDIST_CHECK", "collectives", 1));
    EXPECT_OK(gd_comm_mpi(&checked));
    EXPECT(checked->check);
    gd_comm_free(checked);
    EXPECT(!setenv("GANDIST_CHECK", "collectives", 1));
}

/* ---- stragglers ---- */

static gd_executor slow_executor;
static gd_status run_slowly(void *state, const gd_view *v, int s, const gd_memory *m) {
    static double awake; /* since then */
    if (s == 0) {        /* as long as the work since the last time took, so that it is slow on any machine */
        double worked = awake > 0 ? gd__seconds() - awake : 0;
        sleep_for(fmin(fmax(worked, 0.004), 0.1));
        awake = gd__seconds();
    }
    return gd_executor_cpu()->run(state, v, s, m);
}

static void hear(void *ctx, gd_level level, const char *line) {
    (void)ctx, (void)level;
    if (strstr(line, "keeps the others waiting")) snprintf(said, sizeof said, "%s", line);
}

/* The last rank computes longer than the others. */
static void a_straggler_is_named(void) {
    gd_train_config c = tiny_config();
    char who[32];
    slow_executor = *gd_executor_cpu();
    slow_executor.run = run_slowly;
    if (rank == size - 1) c.executor = &slow_executor;
    said[0] = 0;
    EXPECT_OK(gd_log_configure("warn"));
    gd_log_set_stderr(false);
    gd_log_set_sink(hear, NULL);
    tiny_train(comm, &c, data, 3 * GD__STRAGGLER_WINDOW, NULL);
    gd_log_set_sink(NULL, NULL);
    gd_log_set_stderr(true);
    EXPECT_OK(gd_log_configure("error"));
    snprintf(who, sizeof who, "rank %d on ", size - 1);
    EXPECT((rank || size == 1) ? !said[0] : strstr(said, who) && strstr(said, "with its computing, for 300 steps"),
           "%s", said);
}

static void a_watchdog_may_be_off(void) {
    gd_watchdog_spec w = spec(0, 30);
    gd_watchdog *dog = (gd_watchdog *)&w;
    EXPECT_OK(gd_watchdog_start(comm, &w, &dog));
    EXPECT(!dog);
    gd_watchdog_stop(dog);
}

/* As the program ends a job: what tests/cli/hang.sh runs. */
static void end_job(void *ctx, bool hang, const char *text) {
    (void)ctx;
    fprintf(stderr, "%s\n", text);
    if (hang) gd_comm_abort(comm, gd_status_exit_code(GD_TIMEOUT));
}

static void turn_until_the_end(void) {
    gd_train_config config = tiny_config();
    gd_watchdog_spec w = spec(1, 30);
    turn n = {.c = comm};
    w.tell = end_job;
    train(comm, &w, &config, (gd_train_hooks){.ctx = &n, .poll = turn_round}, 12);
    EXPECT(false, "nobody has ended the job");
}

int main(int argc, char **argv) {
    const rig_test end[] = {RIG_TEST(turn_until_the_end)};
    const rig_test tests[] = {
        RIG_TEST(different_collectives_are_named),
        RIG_TEST(a_watchdog_may_be_off),
        RIG_TEST(a_straggler_is_named),
        RIG_TEST(a_slow_rank_is_no_hang),
        RIG_TEST(long_samples_are_no_hang),
        RIG_TEST(a_long_save_is_no_hang),
        RIG_TEST(a_rank_that_does_not_come_is_named),
        RIG_TEST(who_keeps_an_exchange_is_named),
        RIG_TEST(ranks_that_turn_round_are_named),
        RIG_TEST(a_rank_that_turns_round_is_named),
        RIG_TEST(so_are_those_of_two_hosts),
        RIG_TEST(other_hosts_are_seen),
    };
    gd_cpu_set_threads(1);
    data = tiny_data(64);
    bool turns = argc > 1 && !strcmp(argv[1], "--turn");
    int failed = turns ? rig_main(end, 1) : rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
