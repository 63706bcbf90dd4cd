/* What a training is said to take of memory that is not the host's is what it then asks for: every variant, on any number of ranks,
 * with sums there and on the host, divided state, shards, batches that travel and sets that stay. */
#include "tests/dist/far_feed.h"
#include "tests/dist/far_memory.h"
#include "tests/dist/variants.h"

/* Up to a thousandth, and single numbers (norms and the like), each padded to a cache line. */
static void expect_near(size_t said, int64_t there, const char *name, const char *what) {
    int64_t limit = there / 1000 + 512, off = (int64_t)said - there;
    EXPECT(off <= limit && off >= -limit, "%s, %s: %zu bytes said, %lld there", name, what, said, (long long)there);
}

/* What the largest slices of divided state take more than rank 0's. */
static int64_t other_slices(const gd_trainer *t) {
    int64_t floats = 0;
    for (int g = 0; g < GD_GROUP_COUNT && t->resident && t->sliced; g++) {
        const gd__arenas *a = &t->group[g];
        int64_t more = (int64_t)gd__largest_slice(a->count, size) - (int64_t)(a->last - a->first);
        floats += more * gd_optimizer_moments(&t->config.optimizer[g]);
    }
    return floats * (int64_t)sizeof(float);
}

/* Rank 0's, which it is about: it makes the pictures, too. */
static void expect_cost(gd_train_config c, const gd_dataset *d, far_can can, const char *name) {
    gd_train_hooks none = {0};
    gd_train_cost said;
    gd_trainer *t = NULL;
    c.executor = far_executor(can);
    EXPECT_OK(gd_train_estimate(&c, d, size, &said));
    far_take_counts();
    far_feed_take_counts();
    EXPECT_OK(gd_trainer_new(comm, &c, d, &none, &t));
    EXPECT_OK(gd_trainer_run(t, 3));
    far_counts n = far_take_counts();
    far_feed_counts f = far_feed_take_counts();
    int64_t there = n.asked + f.slots + other_slices(t);
    size_t kept = t->kept.set[0] ? gd__set_bytes(t) : 0;
    gd_trainer_free(t);
    if (rank) return;
    expect_near(said.there.total_bytes, there, name, "of the device");
    EXPECT((int64_t)said.there.pinned_bytes == f.pinned, "%s: %zu bytes pinned said, %lld there", name,
           said.there.pinned_bytes, (long long)f.pinned);
    EXPECT(said.there.set_bytes == kept, "%s: a set of %zu bytes said, %zu there", name, said.there.set_bytes, kept);
    EXPECT(said.there.param_bytes > 0 && said.there.activation_bytes > 0 && said.there.data_bytes > 0);
}

static void every_variant_takes_what_is_said(void) {
    for (int v = 0; v < VARIANTS; v++)
        for (int can = 0; can < 4; can++) {
            gd_train_config c = variants[v].config();
            c.exchanges = v % 2 ? far_exchanges(comm) : NULL;
            c.resident = v % 3 ? GD_RESIDENT_NEVER : GD_RESIDENT_ALWAYS;
            c.shards = can == 1 ? 4 : 0;
            c.shard_optimizer = can == 2;
            c.overlap = v % 2;
            expect_cost(c, *variants[v].data, (far_can)can, variants[v].name);
        }
}

static size_t set_said(const gd_train_config *c, size_t free_bytes) {
    gd_train_cost said;
    far_feed_room(free_bytes);
    EXPECT_OK(gd_train_estimate(c, noise_data, size, &said));
    EXPECT(said.there.free_bytes == free_bytes);
    return said.there.set_bytes;
}

/* auto: many samples are drawn, or few; there is room for twice the set, or less: behind all else, which is there before it. */
static void whether_the_set_stays_is_foretold(void) {
    gd_train_config c = base_config();
    gd_train_cost said;
    const size_t set = 60 * 256;
    c.resident = GD_RESIDENT_AUTO;
    c.total_steps = 1000;
    c.loader_depth = 3;
    c.executor = far_executor(FAR_ALL);
    expect_cost(c, noise_data, FAR_ALL, "auto");
    EXPECT_OK(gd_train_estimate(&c, noise_data, size, &said));
    EXPECT(said.there.set_bytes == set);
    size_t rest = said.there.total_bytes - set - 2 * gd_pick_bytes((uint64_t)(VARIANT_BATCH / size));
    EXPECT(set_said(&c, rest + 2 * set) == set);
    EXPECT(set_said(&c, rest + 2 * set - 1) == 0);
    far_feed_room(2 * set - 1);
    expect_cost(c, noise_data, FAR_ALL, "little room");
    far_feed_room(SIZE_MAX);
    c.total_steps = 3;
    expect_cost(c, noise_data, FAR_ALL, "few samples");
    EXPECT(set_said(&c, SIZE_MAX) == 0);
}

/* Memory of the host has no such part. */
static void a_cpu_has_none(void) {
    gd_train_config c = base_config();
    gd_train_cost said;
    EXPECT_OK(gd_train_estimate(&c, noise_data, size, &said));
    EXPECT(!said.there.total_bytes && !said.there.pinned_bytes && !said.there.free_bytes);
}

int main(void) {
    const rig_test tests[] = {RIG_TEST(a_cpu_has_none), RIG_TEST(every_variant_takes_what_is_said),
                              RIG_TEST(whether_the_set_stays_is_foretold)};
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
