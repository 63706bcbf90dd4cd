/* Image pools where programs are (dist/pool_there.c): the bytes of pools on the host, on any number of ranks and shards, with overlap, in
 * checkpoints that move, when updates are skipped and when the run goes back; and images do not come to the host. */
#include <omp.h>
#include <unistd.h>

#include "base/io.h"
#include "dist/pool.h"
#include "tests/dist/far_memory.h"
#include "tests/dist/variants.h"

enum { STEPS = 5 };

/* Whether a training's pools live there: images of other ranks come by exchanges. */
typedef struct way {
    bool exchanges, overlap;
    int shards;
    int64_t places;
} way;

static const way ways[] = {{true, false, 0, 11}, {true, true, 0, 1},  {true, true, 0, 3},   {false, true, 0, 11},
                           {true, false, 4, 5},  {true, true, 8, 11}, {false, false, 4, 50}};
enum { WAYS = sizeof ways / sizeof *ways };

static bool is_there(const way *w) { return size == 1 || (w->exchanges && !w->shards); }

static gd_train_config config_of(const way *w, bool far) {
    gd_train_config c = cyclegan();
    c.overlap = w->overlap;
    c.shards = w->shards;
    c.pool_size = w->places;
    c.executor = far ? far_executor(FAR_ALL) : gd_executor_cpu();
    c.exchanges = far && w->exchanges ? far_exchanges(comm) : NULL;
    return c;
}

static uint64_t train(const gd_train_config *c, int64_t steps) {
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    EXPECT_OK(gd_trainer_new(comm, c, pair_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, steps));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

static void the_bytes_are_those_of_the_host(void) {
    for (int w = 0; w < WAYS; w++) {
        gd_train_config near = config_of(&ways[w], false), far = config_of(&ways[w], true);
        uint64_t want = train(&near, STEPS);
        far_take_counts();
        uint64_t got = train(&far, STEPS);
        far_counts n = far_take_counts();
        EXPECT(got == want, "way %d: another state", w);
        EXPECT(n.turns == (is_there(&ways[w]) ? 2 * STEPS : 0), "way %d: %lld turns there", w, (long long)n.turns);
        EXPECT(!far_tickets() && !far_open_exchanges() && !far_aborted);
    }
}

/* What the host gets in some iterations, but for the state at their end. */
static int64_t got_in(const way *w, int64_t steps, int64_t *later) {
    gd_train_config c = config_of(w, true);
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.check_every = 0;
    c.resident = GD_RESIDENT_NEVER; /* the stand-in would read a set that stays there */
    EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 2));
    far_take_counts();
    EXPECT_OK(gd_trainer_run(t, 2 + steps));
    far_counts n = far_take_counts();
    gd_trainer_free(t);
    *later = n.later;
    return n.got;
}

/* Ten more iterations get nothing more, and wait for nothing that is read later: metrics of a program, two norms, two times whether
 * statistics are finite, and of each pool which images it has refused. With pools on the host they get those of its shards. */
static void images_stay_there(void) {
    int64_t few, many;
    int64_t more = got_in(&ways[0], 12, &many) - got_in(&ways[0], 2, &few);
    EXPECT(more == 0, "%lld bytes in 10 iterations", (long long)more);
    EXPECT(many - few == 10 * (1 + 2 + 2 + 2), "%lld readings", (long long)(many - few));
    if (size == 1) return;
    more = got_in(&ways[3], 12, &many) - got_in(&ways[3], 2, &few);
    EXPECT(more >= 10 * 2 * (VARIANT_BATCH / size) * 256 * 4, "%lld bytes in 10 iterations", (long long)more);
}

/* ---- checkpoints ---- */

static const char *folder;

static void start_test(const char *name) {
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

static uint64_t leg(gd_train_config c, int64_t from, int64_t until) {
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    int64_t step;
    c.checkpoint_dir = folder;
    EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == from);
    EXPECT_OK(gd_trainer_run(t, until));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

/* Legs here and there, and there alone; the first one while the pool fills. */
static void checkpoints_move(void) {
    for (int w = 0; w < WAYS; w += 2) {
        gd_train_config near = config_of(&ways[w], false), far = config_of(&ways[w], true);
        start_test("pools-whole");
        uint64_t want = leg(near, 0, 5), got = 0;
        for (int first = 0; first < (w ? 2 : 3); first++) {
            start_test("pools-legs");
            for (int i = 0; i < 3; i++)
                got = leg(first == 2 || i % 2 == first ? far : near, i ? 2 * i - 1 : 0, 2 * i + 1);
            EXPECT(got == want, "way %d, first %d", w, first);
        }
    }
}

/* ---- sickness ---- */

static bool pools_are_finite(gd_trainer *t) {
    for (int p = 0; p < t->n_pools; p++)
        for (size_t i = 0; i < (size_t)t->config.pool_size * t->pool_floats; i++)
            if (!isfinite(t->pool[p].image[i])) return false;
    return true;
}

/* Images are soon not finite: none of them is kept, and the iterations' numbers, skips, and ways back are those of the CPU. */
static void what_is_not_finite_is_kept_nowhere(void) {
    for (int policy = GD_NONFINITE_ROLLBACK; policy <= GD_NONFINITE_SKIP; policy++)
        for (int w = 0; w < 2; w++) {
            uint64_t hash[2];
            gd_status st[2];
            for (int far = 0; far < 2; far++) {
                gd_train_config c = config_of(&ways[w], far);
                gd_train_hooks none = {0};
                gd_trainer *t = NULL;
                start_test("pools-sick");
                c.on_nonfinite = (gd_nonfinite)policy;
                c.checkpoint_dir = folder;
                c.checkpoint_every = 1;
                c.optimizer[GD_GROUP_G].lr = 1e38; /* numbers are soon too large */
                EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
                st[far] = gd_trainer_run(t, 9);
                EXPECT(st[far] == GD_NUMERIC || st[far] == GD_OK, "%s", gd_error_message());
                EXPECT(t->counters.rollbacks + t->counters.skips > 0);
                EXPECT_OK(gd__fetch_state(t));
                EXPECT(pools_are_finite(t), "policy %d, way %d, far %d", policy, w, far);
                hash[far] = gd_trainer_state_hash(t);
                gd_trainer_free(t);
            }
            EXPECT(hash[0] == hash[1] && st[0] == st[1], "policy %d, way %d", policy, w);
        }
}

/* An image with a number that is not finite is told of, and the place has what it had. */
static void refusals_are_told(void) {
    gd_train_config c = config_of(&ways[0], true);
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 1));
    gd__pool *k = &t->pool[1];
    EXPECT_OK(gd__fetch_state(t));
    float before = k->image[8 * t->pool_floats + 5];
    for (size_t i = 0; i < t->pool_floats; i++) k->made[0][i] = i == 7 ? NAN : 2;
    EXPECT_OK(gd__space_put(&t->space, k->made[0], (size_t)t->n * t->pool_floats * sizeof(float)));
    gd_pool_decide(&(gd_pool_rules){.pool = 1, .size = 11}, 1, 8, VARIANT_BATCH, t->pool_give, t->pool_keep);
    EXPECT(t->pool_keep[8] == 0); /* the pool fills */
    t->now.skipped = 0;
    EXPECT_OK(gd__turn_there(t, k));
    EXPECT(!t->now.skipped);
    EXPECT_OK(gd__take_late(t));
    EXPECT(t->now.skipped == GD__NO_IMAGES);
    EXPECT_OK(gd__fetch_state(t));
    EXPECT(k->image[8 * t->pool_floats + 5] == before);
    EXPECT(k->image[0] != before || before == 0);
    gd_trainer_free(t);
}

/* Before the first step an image may be set from outside, as any other part of the state. */
static void images_that_are_set_are_seen(void) {
    uint64_t hash[3];
    for (int far = 0; far < 3; far++) {
        gd_train_config c = config_of(&ways[0], far);
        gd_train_hooks none = {0};
        gd_trainer *t = NULL;
        EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
        EXPECT_OK(gd_trainer_run(t, 2));
        const gd_state *s = gd_trainer_state(t);
        for (int i = 0; i < s->count && far < 2; i++)
            if (!strcmp(s->tensor[i].name, "pool/1"))
                for (int k = 0; k < 11 * 256; k++) s->tensor[i].data[k] += 0.25f;
        EXPECT_OK(gd_trainer_run(t, 5));
        hash[far] = gd_trainer_state_hash(t);
        gd_trainer_free(t);
    }
    EXPECT(hash[0] == hash[1] && hash[1] != hash[2]);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(the_bytes_are_those_of_the_host),
        RIG_TEST(images_stay_there),
        RIG_TEST(checkpoints_move),
        RIG_TEST(what_is_not_finite_is_kept_nowhere),
        RIG_TEST(refusals_are_told),
        RIG_TEST(images_that_are_set_are_seen),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
