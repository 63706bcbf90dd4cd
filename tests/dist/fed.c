/* Batches that travel to memory that is not the host's beside the steps (far_feed.h), and sets that stay there: every part,
 * cut and mirrored there, gives the bytes of the executor cpu on any number of ranks and shards, whatever is under way when a
 * training goes elsewhere. */
#include <omp.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/dist/far_feed.h"
#include "tests/dist/far_memory.h"
#include "tests/dist/variants.h"

enum { STEPS = 5 };

static gd_dataset *cut_data, *cut_pairs;

static gd_dataset *open_cut(const char *source) {
    gd_dataset *d = NULL;
    const gd_dataset_spec s = {
        .source = source, .size = 16, .load = 19, .channels = 1, .flip = true, .seed = 3, .count = 60};
    EXPECT_OK(gd_dataset_open(&s, &d));
    return d;
}

/* A variant's training, on its data cut and mirrored where they are pictures. */
static const gd_dataset *data_of(const variant *v) {
    return *v->data == noise_data ? cut_data : *v->data == pair_data ? cut_pairs : *v->data;
}

/* Batches travel, unless a test says otherwise. */
static gd_resident resident = GD_RESIDENT_NEVER;

static gd_trainer *open_on(const gd_executor *x, gd_train_config c, const gd_dataset *d) {
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.executor = x;
    c.resident = resident;
    EXPECT_OK(gd_trainer_new(comm, &c, d, &none, &t));
    far_feed_take_counts();
    return t;
}

static uint64_t close_it(gd_trainer *t) {
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    EXPECT(!far_feed_open());
    return hash;
}

static uint64_t train(const gd_executor *x, const gd_train_config *c, const gd_dataset *d) {
    gd_trainer *t = open_on(x, *c, d);
    EXPECT_OK(gd_trainer_run(t, STEPS));
    return close_it(t);
}

static void every_variant_gives_the_same_bytes(void) {
    for (int v = 0; v < VARIANTS; v++) {
        for (int how = 0; how < 3; how++) {
            gd_train_config c = variants[v].config();
            c.shards = how == 1 ? 4 : 0;
            c.overlap = how == 2;
            c.loader_workers = 2;
            const gd_dataset *d = data_of(&variants[v]);
            uint64_t near = train(gd_executor_cpu(), &c, d), far = train(far_executor(FAR_ALL), &c, d);
            far_feed_counts n = far_feed_take_counts();
            int parts = gd_dataset_parts(d);
            int64_t local = how == 1 ? 4 / size : 1, batches = n.takes / (parts * local);
            EXPECT(near == far, "%s, %d: another state", variants[v].name, how);
            EXPECT(batches >= STEPS && n.takes == batches * parts * local, "%lld takes", (long long)n.takes);
            /* What was sent and not taken is the batch after the end. */
            EXPECT(n.sends == batches * parts || n.sends == (batches + 1) * parts, "%lld sends", (long long)n.sends);
        }
    }
}

/* The bytes that travel are those of the pictures: nothing else of a batch does, and nothing twice. */
static void batches_travel_once(void) {
    gd_train_config c = base_config();
    gd_trainer *t = open_on(far_executor(FAR_ALL), c, cut_data);
    EXPECT_OK(gd_trainer_run(t, STEPS));
    far_feed_counts n = far_feed_take_counts();
    int64_t local = VARIANT_BATCH / size;
    EXPECT(n.bytes == n.sends * ((int64_t)gd_pick_bytes((uint64_t)local) + local * 19 * 19), "%lld bytes, %lld sends",
           (long long)n.bytes, (long long)n.sends);
    close_it(t);
}

/* Once it is decoded, the next batch sets out while this one is computed with. */
static void the_next_batch_sets_out_early(void) {
    bool seen = false;
    gd_trainer *t = open_on(far_executor(FAR_ALL), base_config(), cut_data);
    for (int step = 1; step <= 200 && !seen; step++) {
        usleep(5000);
        EXPECT_OK(gd_trainer_run(t, step));
        seen = t->feeding.ahead;
    }
    EXPECT(seen, "200 batches waited until they were needed");
    close_it(t);
}

/* Loading a checkpoint of before drops what is under way: the samples that follow are those of the checkpoint. */
static void going_back_drops_what_is_under_way(void) {
    char folder[1100];
    uint64_t want = 0;
    snprintf(folder, sizeof folder, "%s", tiny_folder("fed"));
    for (int far = 0; far < 2; far++) {
        gd_train_config c = base_config();
        int64_t step = -1;
        if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
        EXPECT_OK(gd_comm_barrier(comm));
        c.checkpoint_dir = folder;
        c.overlap = true;
        c.loader_workers = 2;
        gd_trainer *t = open_on(far ? far_executor(FAR_ALL) : gd_executor_cpu(), c, cut_data);
        EXPECT_OK(gd_trainer_run(t, 3));
        for (int k = 0; k < 12; k++) {
            usleep(2000); /* a batch is on its way */
            EXPECT_OK(gd_trainer_resume(t, &step));
            EXPECT(step == 3);
        }
        EXPECT_OK(gd_trainer_run(t, STEPS));
        uint64_t hash = close_it(t);
        if (!far) want = hash;
        EXPECT(hash == want, "after going back %d", far);
    }
}

static void one_batch_is_sent_once(void) {
    gd_train_config c = base_config();
    c.overfit_batch = true;
    uint64_t near = train(gd_executor_cpu(), &c, cut_data);
    far_feed_take_counts();
    EXPECT(near == train(far_executor(FAR_ALL), &c, cut_data));
    far_feed_counts n = far_feed_take_counts();
    EXPECT(n.sends == 1 && n.takes == 1);
}

/* Without feeds batches are copied when they are needed. */
static void an_executor_may_have_none(void) {
    gd_train_config c = base_config();
    uint64_t near = train(gd_executor_cpu(), &c, cut_data);
    far_take_counts();
    EXPECT(near == train(far_executor(FAR_REPLAYS), &c, cut_data));
    EXPECT(far_feed_take_counts().sends == 0 && far_take_counts().put > 0);
}

/* ---- sets that stay there ---- */

enum { CUT_BYTES = 60 * 19 * 19 };

/* Of every part, cut and mirrored or not, the picks alone travel, and the bytes are those of the executor cpu. */
static void sets_stay(void) {
    for (int v = 0; v < VARIANTS; v++) {
        for (int how = 0; how < 3; how++) {
            gd_train_config c = variants[v].config();
            const gd_dataset *d = data_of(&variants[v]);
            c.shards = how == 1 ? 4 : 0;
            c.overlap = how == 2;
            c.loader_workers = 2;
            uint64_t near = train(gd_executor_cpu(), &c, d);
            resident = how == 1 ? GD_RESIDENT_AUTO : GD_RESIDENT_ALWAYS;
            EXPECT(near == train(far_executor(FAR_ALL), &c, d), "%s, %d: another state", variants[v].name, how);
            far_feed_counts n = far_feed_take_counts();
            EXPECT(n.sends >= STEPS && n.bytes == n.sends * (int64_t)gd_pick_bytes((uint64_t)(VARIANT_BATCH / size)),
                   "%lld bytes in %lld sends", (long long)n.bytes, (long long)n.sends);
            resident = GD_RESIDENT_NEVER;
        }
    }
}

static void going_back_does_with_them(void) {
    resident = GD_RESIDENT_ALWAYS;
    going_back_drops_what_is_under_way();
    resident = GD_RESIDENT_NEVER;
}

/* Whether the set stays with so much free memory on the last rank, and more than enough on the others. */
static bool stays(gd_resident how, size_t room, int64_t total_steps) {
    gd_train_config c = base_config();
    c.total_steps = total_steps;
    far_feed_room(rank == size - 1 ? room : SIZE_MAX);
    resident = how;
    gd_trainer *t = open_on(far_executor(FAR_ALL), c, cut_data);
    resident = GD_RESIDENT_NEVER;
    far_feed_room(SIZE_MAX);
    bool kept = t->kept.set[0] != NULL;
    EXPECT_OK(gd_trainer_run(t, 2));
    close_it(t);
    return kept;
}

/* All ranks do the same. */
static void where_sets_stay(void) {
    enum { A_PASS = 60 / VARIANT_BATCH + 1 };
    EXPECT(stays(GD_RESIDENT_AUTO, 2 * CUT_BYTES, A_PASS) && !stays(GD_RESIDENT_AUTO, 2 * CUT_BYTES - 2, A_PASS));
    EXPECT(stays(GD_RESIDENT_AUTO, SIZE_MAX, A_PASS) && !stays(GD_RESIDENT_AUTO, SIZE_MAX, A_PASS - 1));
    EXPECT(stays(GD_RESIDENT_ALWAYS, CUT_BYTES, 2) && !stays(GD_RESIDENT_NEVER, SIZE_MAX, A_PASS));
}

/* Others may have taken what was free a moment ago. */
static void a_set_that_fits_no_more_travels(void) {
    enum { A_PASS = 60 / VARIANT_BATCH + 1 };
    far_feed_refuse(rank == size - 1 ? CUT_BYTES : 0);
    EXPECT(!stays(GD_RESIDENT_AUTO, SIZE_MAX, A_PASS));
    gd_train_config c = base_config();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.executor = far_executor(FAR_ALL);
    c.resident = GD_RESIDENT_ALWAYS;
    gd_status st = gd_trainer_new(comm, &c, cut_data, &none, &t);
    far_feed_refuse(0);
    EXPECT(st == (rank == size - 1 ? GD_NOMEM : GD_PEER), "%s", gd_status_name(st));
    EXPECT(strstr(gd_error_message(), "data.resident: part 0 of the set, on the device"), "%s", gd_error_message());
}

static void a_set_that_does_not_fit_is_refused(void) {
    gd_train_config c = base_config();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.executor = far_executor(FAR_ALL);
    c.resident = GD_RESIDENT_ALWAYS;
    far_feed_room(rank == size - 1 ? CUT_BYTES - 1 : SIZE_MAX);
    gd_status st = gd_trainer_new(comm, &c, cut_data, &none, &t);
    far_feed_room(SIZE_MAX);
    EXPECT(st == (rank == size - 1 ? GD_CONFIG : GD_PEER), "%s", gd_status_name(st));
    EXPECT(strstr(gd_error_message(), "data.resident: the set cannot stay on the device: it takes ") &&
               strstr(gd_error_message(), " are free; use never, or auto"),
           "%s", gd_error_message());
    EXPECT(!t && !far_feed_open());
}

/* What far_feed.h is there to find. */
static void the_test_can_fail(void) {
    const gd_executor *x = far_executor(FAR_ALL);
    const gd_feed_opts o = {
        .slots = 2, .count = 4, .take = 4, .pixel = 1, .height = 3, .width = 3, .out_height = 2, .out_width = 2};
    size_t bytes = (size_t)gd_pick_bytes(4) + 36;
    void *feed, *pinned, *memory;
    char *host;
    EXPECT_OK(x->feed_new(&o, &feed));
    EXPECT_OK(x->pin(bytes, &pinned));
    EXPECT_OK(x->alloc(16, &memory));
    host = memset(pinned, 0, bytes);
    EXPECT_ERROR(x->feed_send(feed, 0, host + 1), INTERNAL, "not pinned");
    EXPECT_OK(x->feed_send(feed, 0, pinned));
    EXPECT_ERROR(x->feed_send(feed, 0, pinned), INTERNAL, "a second batch");
    EXPECT_OK(x->feed_take(feed, 0, 0, memory));
    host[bytes - 1] = 1;
    EXPECT_ERROR(x->feed_sent(feed, 0), INTERNAL, "had not left");
    EXPECT_ERROR(x->feed_take(feed, 0, 1, memory), INTERNAL, "beyond the batch");
    x->free(memory);
    x->feed_free(feed);
    x->unpin(pinned);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(the_test_can_fail),
        RIG_TEST(every_variant_gives_the_same_bytes),
        RIG_TEST(batches_travel_once),
        RIG_TEST(the_next_batch_sets_out_early),
        RIG_TEST(going_back_drops_what_is_under_way),
        RIG_TEST(one_batch_is_sent_once),
        RIG_TEST(an_executor_may_have_none),
        RIG_TEST(sets_stay),
        RIG_TEST(going_back_does_with_them),
        RIG_TEST(where_sets_stay),
        RIG_TEST(a_set_that_fits_no_more_travels),
        RIG_TEST(a_set_that_does_not_fit_is_refused),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    cut_data = open_cut("synthetic");
    cut_pairs = open_cut("synthetic-pairs");
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(cut_data);
    gd_dataset_close(cut_pairs);
    close_variant_data();
    return failed;
}
