/* Optimiser state divided over the ranks (optimizer.shard) where programs, and updates, are in memory that is not the host's
 * (far_memory.h): the bytes of a run on the host that keeps all of it everywhere. */
#include <omp.h>

#include "base/io.h"
#include "tests/dist/far_memory.h"
#include "tests/dist/wide_variants.h"

enum { STEPS = 3 };

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

static size_t mirror_bytes(const gd_trainer *t, const void *host) {
    for (int i = 0; i < t->space.n; i++)
        if (t->space.mirror[i].host == host) return t->space.mirror[i].bytes;
    return 0;
}

/* Of moments the slice alone is there, else the slices would prove nothing; all parameters and averages are. */
static void expect_slices(const gd_trainer *t, const char *name) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        size_t slice = (a->last - a->first) * sizeof(float), all = a->count * sizeof(float);
        EXPECT(t->resident && t->sliced == (size > 1), "%s", name);
        EXPECT(size == 1 || slice < all, "%s: group %d, %zu bytes", name, g, slice);
        for (int m = 0; m < gd_optimizer_moments(&t->config.optimizer[g]); m++)
            EXPECT(mirror_bytes(t, a->moment[m]) == slice, "%s: moment %d", name, m);
        EXPECT(mirror_bytes(t, a->param) == all && (!a->ema || mirror_bytes(t, a->ema) == all), "%s", name);
    }
}

/* name: of what is wide enough for slices of all ranks. */
static void train(const gd_train_config *c, const gd_dataset *d, const char *name, record *r) {
    gd_train_hooks h = {.ctx = r, .on_metrics = remember};
    gd_trainer *t = NULL;
    memset(r, 0, sizeof *r);
    EXPECT_OK(gd_trainer_new(comm, c, d, &h, &t));
    if (c->shard_optimizer && name) expect_slices(t, name);
    EXPECT_OK(gd_trainer_run(t, STEPS));
    r->hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
}

/* The config whole and on the host, against the same in slices and there. */
static void expect_equal(gd_train_config c, const gd_exchanges *sums, const gd_dataset *d, const char *name) {
    static record near, far;
    c.check_every = 1;
    train(&c, d, name, &near);
    c.executor = far_executor(FAR_ALL);
    c.shard_optimizer = true;
    c.exchanges = sums;
    far_take_counts();
    train(&c, d, name, &far);
    EXPECT(near.hash == far.hash, "%s: another state", name);
    EXPECT(near.n == far.n && !memcmp(near.value, far.value, sizeof near.value), "%s: other metrics", name);
    far_counts n = far_take_counts();
    bool there = sums && size > 1;
    EXPECT(n.updates > 0 && n.rounds == (there ? n.updates : 0) && n.shares == 2 * n.rounds,
           "%s: %lld rounds, %lld shares", name, (long long)n.rounds, (long long)n.shares);
    EXPECT(!far_open_exchanges() && !far_aborted && !far_tickets());
}

static void every_kind_gives_the_bytes_of_a_whole_state(void) {
    for (int k = 0; k < WIDE_KINDS; k++) {
        gd_train_config c = wide_kinds[k].config();
        c.overlap = k % 2;
        c.shards = k % 3 ? 4 : 0;
        expect_equal(c, NULL, *wide_kinds[k].data, wide_kinds[k].name);
    }
}

/* Sums that each slice's rank alone gets, norms from all slices' squares, and parameters that are shared there. */
static void sums_there_do(void) {
    for (int k = 0; k < WIDE_KINDS; k++)
        for (int overlap = 0; overlap < (k % 3 ? 1 : 2); overlap++) {
            gd_train_config c = wide_kinds[k].config();
            c.overlap = (k + overlap) % 2;
            c.shards = 0;
            expect_equal(c, far_exchanges(comm), *wide_kinds[k].data, wide_kinds[k].name);
        }
}

/* Ranks whose slice of a small network is empty have its norm and its parameters all the same. */
static void empty_slices_do(void) {
    for (int there = 0; there < 2; there++) {
        gd_train_config c = base_config(), z = c;
        static record near, far;
        c.optimizer[0].clip_norm = c.optimizer[1].clip_norm = 0.02;
        z = c;
        z.executor = far_executor(FAR_ALL);
        z.shard_optimizer = true;
        z.exchanges = there ? far_exchanges(comm) : NULL;
        train(&c, noise_data, NULL, &near);
        train(&z, noise_data, NULL, &far);
        EXPECT(near.hash == far.hash && !memcmp(near.value, far.value, sizeof near.value), "%d", there);
    }
}

/* ---- checkpoints ---- */

static const char *folder;

static void start_test(const char *name) {
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

typedef struct way {
    bool sliced, far, there;
} way;

static uint64_t leg(gd_train_config c, const gd_dataset *d, way w, int64_t from, int64_t until) {
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    int64_t step;
    c.executor = w.far ? far_executor(FAR_ALL) : gd_executor_cpu();
    c.shard_optimizer = w.sliced;
    c.exchanges = w.there ? far_exchanges(comm) : NULL;
    c.checkpoint_dir = folder;
    EXPECT_OK(gd_trainer_new(comm, &c, d, &none, &t));
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == from);
    EXPECT_OK(gd_trainer_run(t, until));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

/* From each way to each other one. */
static void checkpoints_move_between_all_ways(void) {
    static const way near = {0}, there = {.far = true, .there = true}, near_sliced = {.sliced = true},
                     far_sliced = {.far = true, .sliced = true},
                     there_sliced = {.far = true, .there = true, .sliced = true};
    const way round[] = {there_sliced, near, there_sliced, near_sliced, there_sliced, far_sliced, there_sliced,
                         far_sliced,   near, far_sliced,   near_sliced, far_sliced,   there};
    enum { LEGS = sizeof round / sizeof *round };
    for (int k = 0; k < 4; k++) { /* every kind of optimiser */
        gd_train_config c = wide_kinds[k].config();
        c.shards = 0;
        start_test("far-slices-whole");
        uint64_t want = leg(c, *wide_kinds[k].data, (way){0}, 0, LEGS), got = 0;
        start_test("far-slices-legs");
        for (int i = 0; i < LEGS; i++) got = leg(c, *wide_kinds[k].data, round[i], i, i + 1);
        EXPECT(got == want, "%s", wide_kinds[k].name);
    }
}

/* ---- what is not finite ---- */

static void sickness_is_the_same(void) {
    for (int policy = GD_NONFINITE_ROLLBACK; policy <= GD_NONFINITE_SKIP; policy++) {
        uint64_t hash[3];
        for (int far = 0; far < 3; far++) {
            gd_train_config c = dcgan();
            gd_train_hooks none = {0};
            gd_trainer *t = NULL;
            start_test("far-slices-sick");
            c.executor = far ? far_executor(FAR_ALL) : gd_executor_cpu();
            c.shard_optimizer = far;
            c.exchanges = far == 2 ? far_exchanges(comm) : NULL;
            c.shards = 0;
            c.on_nonfinite = (gd_nonfinite)policy;
            c.checkpoint_dir = folder;
            c.checkpoint_every = 1;
            c.optimizer[GD_GROUP_D].lr = 1e18; /* numbers are soon too large */
            EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
            gd_status st = gd_trainer_run(t, 12);
            EXPECT(st == GD_NUMERIC || st == GD_OK, "%s", gd_error_message());
            EXPECT(t->counters.rollbacks + t->counters.skips > 0);
            EXPECT_OK(gd__hash_moments(t)); /* after an error nobody has yet */
            hash[far] = gd_trainer_state_hash(t);
            gd_trainer_free(t);
        }
        EXPECT(hash[0] == hash[1] && hash[0] == hash[2], "policy %d", policy);
    }
}

/* ---- pictures ---- */

static void averages_are_the_same(void) {
    enum { N = 3, IMAGE = 256 };
    static float z[N * 6], out[3][N * IMAGE];
    for (int i = 0; i < N * 6; i++) z[i] = (float)sin(i);
    for (int far = 0; far < 3; far++) {
        gd_train_config c = dcgan();
        gd_train_hooks none = {0};
        gd_trainer *t = NULL;
        c.executor = far ? far_executor(FAR_ALL) : gd_executor_cpu();
        c.shard_optimizer = far;
        c.exchanges = far == 2 ? far_exchanges(comm) : NULL;
        c.shards = 0;
        EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
        EXPECT_OK(gd_trainer_run(t, 3));
        if (rank == 0) EXPECT_OK(gd_trainer_sample(t, N, z, true, out[far]));
        gd_trainer_free(t);
    }
    EXPECT(!memcmp(out[0], out[1], sizeof out[0]) && !memcmp(out[0], out[2], sizeof out[0]));
}

/* ---- what travels ---- */

/* Through the host, of an update: all gradients to it, the slice of their sum back, and the parameters of the slice
 * to it and of the others back. */
static void slices_travel(void) {
    gd_train_config c = dcgan();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.executor = far_executor(FAR_ALL);
    c.shard_optimizer = true;
    c.shards = 0;
    c.check_every = 0;
    c.resident = GD_RESIDENT_NEVER; /* the stand-in would read a set that stays there */
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 2));
    int64_t all = 0, slice = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        all += (int64_t)(t->group[g].count * sizeof(float));
        slice += (int64_t)((t->group[g].last - t->group[g].first) * sizeof(float));
    }
    far_take_counts();
    EXPECT_OK(gd_trainer_run(t, 12));
    far_counts n = far_take_counts();
    int64_t state = all * 4, rest = 1 << 20; /* fetched once, at the end; batches, metrics and statistics */
    if (size > 1) {
        EXPECT(n.got >= 10 * (all + slice) && n.got <= 10 * (all + slice) + state + rest, "%lld", (long long)n.got);
        EXPECT(n.put >= 10 * all && n.put <= 10 * all + rest, "%lld", (long long)n.put);
    } else EXPECT(n.got <= state + rest && n.put <= rest, "%lld, %lld", (long long)n.got, (long long)n.put);
    EXPECT(n.updates == 2 * 10);
    gd_trainer_free(t);
}

/* By sums there nothing of it does, but for the state, once, and what an iteration tells. */
static void nothing_travels_through_the_host(void) {
    gd_train_config c = dcgan();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    if (size == 1) return;
    c.executor = far_executor(FAR_ALL);
    c.exchanges = far_exchanges(comm);
    c.shard_optimizer = true;
    c.shards = 0;
    c.check_every = 0;
    c.resident = GD_RESIDENT_NEVER; /* the stand-in would read a set that stays there */
    EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 2));
    int64_t all = (int64_t)((t->group[0].count + t->group[1].count) * sizeof(float));
    far_take_counts();
    EXPECT_OK(gd_trainer_run(t, 22));
    far_counts n = far_take_counts();
    EXPECT(n.updates == 2 * 20 && n.rounds == 2 * 20 && n.shares == 4 * 20);
    EXPECT(n.got <= 4 * all && n.put <= all, "%lld, %lld of %lld", (long long)n.got, (long long)n.put, (long long)all);
    gd_trainer_free(t);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(every_kind_gives_the_bytes_of_a_whole_state),
        RIG_TEST(sums_there_do),
        RIG_TEST(empty_slices_do),
        RIG_TEST(checkpoints_move_between_all_ways),
        RIG_TEST(sickness_is_the_same),
        RIG_TEST(averages_are_the_same),
        RIG_TEST(slices_travel),
        RIG_TEST(nothing_travels_through_the_host),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
