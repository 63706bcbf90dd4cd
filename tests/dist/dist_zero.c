/* Optimiser state divided over the ranks (optimizer.shard): the bytes of a run that keeps all of it everywhere, for
 * every kind of GAN and optimiser, through checkpoints, other numbers of ranks, and going back; and less memory. */
#include <malloc.h>
#include <unistd.h>

#include "base/io.h"
#include "dist/comm_mpi.h"
#include "tests/dist/wide_variants.h"

enum { STEPS = 3, MOMENTS_MAX = 2 };

static const char *folder;

static void start_test(const char *name) {
    folder = tiny_folder(name);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

static gd_trainer *trainer_of(gd_comm *c, const gd_train_config *config, const gd_dataset *d) {
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    EXPECT_OK(gd_trainer_new(c, config, d, &none, &t));
    return t;
}

/* ---- the same bytes ---- */

/* Else the slices would prove nothing. */
static void expect_several_slices(const gd_train_config *z, const gd_dataset *d, const char *name) {
    gd_trainer *t = trainer_of(comm, z, d);
    for (int g = 0; g < GD_GROUP_COUNT && size > 1; g++) {
        const gd__arenas *a = &t->group[g];
        EXPECT(t->sliced && a->last - a->first < a->count, "%s: group %d, %zu values", name, g, a->count);
    }
    gd_trainer_free(t);
}

static bool same_numbers(const tiny_record *a, const tiny_record *b) {
    size_t bytes = (size_t)a->n * sizeof(double);
    return a->n == b->n && !memcmp(a->loss_d, b->loss_d, bytes) && !memcmp(a->loss_g, b->loss_g, bytes) &&
           !memcmp(a->grad_d, b->grad_d, bytes) && !memcmp(a->grad_g, b->grad_g, bytes);
}

/* Norms, losses and the state; and the state that one rank alone has. */
static void the_same_bytes_as_whole(void) {
    static tiny_record with, without;
    for (int k = 0; k < WIDE_KINDS; k++) {
        gd_train_config c = wide_kinds[k].config(), z = sharded(c);
        uint64_t want = tiny_train(comm, &c, *wide_kinds[k].data, STEPS, rank ? NULL : &without);
        uint64_t got = tiny_train(comm, &z, *wide_kinds[k].data, STEPS, rank ? NULL : &with);
        EXPECT(got == want, "%s: %016llx, not %016llx", wide_kinds[k].name, (unsigned long long)got,
               (unsigned long long)want);
        if (rank == 0) EXPECT(same_numbers(&with, &without), "%s: other losses or norms", wide_kinds[k].name);
        expect_several_slices(&z, *wide_kinds[k].data, wide_kinds[k].name);
        EXPECT(tiny_train_alone(&z, *wide_kinds[k].data, STEPS, NULL) == want, "%s: not what one rank has",
               wide_kinds[k].name);
    }
}

/* One shard a rank: other sums on every number of ranks, but the same with and without slices. */
static void the_same_bytes_without_virtual_shards(void) {
    gd_train_config c = clipped_by_norm();
    c.shards = 0;
    gd_train_config z = sharded(c);
    EXPECT(tiny_train(comm, &z, noise_data, STEPS, NULL) == tiny_train(comm, &c, noise_data, STEPS, NULL));
}

/* Ranks on pretended hosts: halves, a first one alone, and alternating ones; hosts that sum by themselves (one shard a
 * rank), and ranks that speak for themselves (three). */
static void the_same_bytes_between_hosts(void) {
    const int host[3] = {rank >= size / 2, rank > 0, rank % 2};
    if (size == 1 || gd_comm_hosts(comm) > 1) return;
    for (int k = 0; k < 6; k++) {
        gd_train_config c = clipped_by_norm();
        gd_comm *apart;
        c.shards = k < 3 ? 0 : WIDE_BATCH;
        gd_train_config z = sharded(c);
        uint64_t want = tiny_train(comm, &c, noise_data, 2, NULL);
        EXPECT_OK(gd__comm_mpi_as(host[k % 3], &apart));
        uint64_t got = tiny_train(apart, &z, noise_data, 2, NULL);
        EXPECT(got == want, "hosts, arrangement %d", k);
        EXPECT_OK(gd_comm_barrier(comm));
        gd_comm_free(apart);
    }
}

/* ---- memory ---- */

/* This rank's moments as the allocator knows them. */
static size_t moment_bytes(const gd_trainer *t) {
    size_t bytes = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        for (int m = 0; m < MOMENTS_MAX; m++)
            if (t->group[g].moment[m]) bytes += malloc_usable_size(t->group[g].moment[m]);
    return bytes;
}

/* One rank's part, give or take a unit for each of four arenas; and what --dry-run says. */
static void moments_take_a_part_of_the_memory(void) {
    gd_train_config c = dcgan(), z = sharded(c);
    gd_train_cost whole, part;
    gd_trainer *t = trainer_of(comm, &c, noise_data);
    size_t all = moment_bytes(t);
    gd_trainer_free(t);
    t = trainer_of(comm, &z, noise_data);
    size_t mine = moment_bytes(t), unit = GD_SLICE_UNIT * sizeof(float), slack = 4 * (unit + 256);
    gd_trainer_free(t);
    EXPECT(all > 20 * unit);
    EXPECT(mine <= all / (size_t)size + slack && mine + slack >= all / (size_t)size, "%zu of %zu bytes", mine, all);
    EXPECT_OK(gd_train_estimate(&c, noise_data, size, &whole));
    EXPECT_OK(gd_train_estimate(&z, noise_data, size, &part));
    EXPECT(whole.optimizer_bytes <= all && whole.optimizer_bytes + 512 >= all, "%zu said, %zu there",
           whole.optimizer_bytes, all);
    double most = (double)mine, said = (double)part.optimizer_bytes;
    EXPECT(said + 1024 >= most && said <= (double)all / size + (double)slack, "%g said, %g there", said, most);
    EXPECT(whole.total_bytes - part.total_bytes == whole.optimizer_bytes - part.optimizer_bytes);
    z.checkpoint_wait = c.checkpoint_wait = true;
    EXPECT_OK(gd_train_estimate(&c, noise_data, size, &whole));
    EXPECT_OK(gd_train_estimate(&z, noise_data, size, &part));
    EXPECT(whole.snapshot_bytes == 0 && (part.snapshot_bytes > 0) == (size > 1)); /* what is collected for a save */
}

/* ---- checkpoints ---- */

static gd_train_config saving(gd_train_config c) {
    c.checkpoint_dir = folder;
    c.checkpoint_every = 1;
    return c;
}

static uint64_t go_on(gd_comm *c, const gd_train_config *config, const gd_dataset *d, int64_t from, int64_t steps) {
    int64_t step = -1;
    gd_trainer *t = trainer_of(c, config, d);
    EXPECT_OK(gd_trainer_resume(t, &step));
    EXPECT(step == from, "resumed at step %lld, not %lld", (long long)step, (long long)from);
    EXPECT_OK(gd_trainer_run(t, steps));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

static uint64_t go_on_alone(const gd_train_config *config, const gd_dataset *d, int64_t from, int64_t steps) {
    uint64_t hash = 0;
    if (rank == 0) {
        gd_comm *self;
        EXPECT_OK(gd_comm_self(&self));
        hash = go_on(self, config, d, from, steps);
        gd_comm_free(self);
    }
    EXPECT_OK(gd_comm_bcast(comm, 0, &hash, sizeof hash));
    return hash;
}

/* Sliced, whole, by one rank, sliced by all again: what each leaves the next goes on from. */
static void checkpoints_pass_between_all_ways_of_training(void) {
    for (int k = 0; k < WIDE_KINDS; k += 2) { /* every kind of optimiser, penalty, pools */
        start_test("zero-resume");
        const gd_dataset *d = *wide_kinds[k].data;
        gd_train_config c = wide_kinds[k].config();
        uint64_t want = tiny_train(comm, &c, d, 5, NULL);
        c = saving(c);
        gd_train_config z = sharded(c);
        tiny_train(comm, &z, d, 1, NULL);
        go_on(comm, &c, d, 1, 2);
        go_on(comm, &z, d, 2, 3);
        go_on_alone(&z, d, 3, 4);
        EXPECT(go_on(comm, &z, d, 4, 5) == want, "%s", wide_kinds[k].name);
    }
}

/* The files: as a whole state's, name by name and hash by hash. */
static void files_are_those_of_a_whole_state(void) {
    char path[1200];
    uint64_t hash[2];
    int tensors[2];
    gd_train_config c = dcgan();
    for (int z = 0; z < 2; z++) {
        start_test("zero-files");
        c = saving(c);
        c.shard_optimizer = z;
        c.checkpoint_wait = z && size > 2; /* without a snapshot, too */
        uint64_t ran = tiny_train(comm, &c, noise_data, 2, NULL);
        gd_verify_report r;
        snprintf(path, sizeof path, "%s/step-%012d", folder, 2);
        EXPECT_OK(gd_checkpoint_verify(path, GD_VERIFY_DEEP, &r));
        EXPECT(r.state_hash == ran);
        hash[z] = r.state_hash;
        tensors[z] = r.tensors;
    }
    EXPECT(hash[0] == hash[1] && tensors[0] == tensors[1]);
}

static void a_save_in_one_call_collects_the_state(void) {
    start_test("zero-call");
    gd_train_config c = sharded(dcgan());
    gd_trainer *t = trainer_of(comm, &c, noise_data);
    EXPECT_OK(gd_trainer_run(t, 2));
    char *path = NULL;
    gd_verify_report r;
    EXPECT_OK(gd_checkpoint_save(comm, folder, gd_trainer_state(t), &path));
    EXPECT_OK(gd_checkpoint_verify(path, GD_VERIFY_DEEP, &r));
    EXPECT(r.state_hash == gd_trainer_state_hash(t));
    EXPECT_OK(gd_trainer_run(t, 3)); /* what travelled in the gradients' place leaves no trace */
    gd_train_config whole = dcgan();
    EXPECT(gd_trainer_state_hash(t) == tiny_train(comm, &whole, noise_data, 3, NULL));
    EXPECT_OK(gd_trainer_load(t, path));
    EXPECT(gd_trainer_state_hash(t) == r.state_hash);
    EXPECT_OK(gd_trainer_run(t, 3));
    EXPECT(gd_trainer_state_hash(t) == tiny_train(comm, &whole, noise_data, 3, NULL));
    free(path);
    gd_trainer_free(t);
}

/* Damage in a moment that is this rank's or another's: all pass over that checkpoint. */
static void a_damaged_moment_is_passed_over(void) {
    start_test("zero-damage");
    gd_train_config c = saving(sharded(dcgan()));
    c.checkpoint_keep = 9;
    uint64_t want = tiny_train(comm, &c, noise_data, 3, NULL);
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) { /* the last byte of the last tensor of the first shard */
        char path[1300];
        void *text;
        size_t bytes;
        char **paths;
        int count;
        EXPECT_OK(gd_checkpoint_list(folder, &paths, &count));
        EXPECT(count == 3);
        snprintf(path, sizeof path, "%s/shard-0000-of-%04d.safetensors", paths[0], size);
        gd_checkpoint_list_free(paths, count);
        EXPECT_OK(gd_file_read(path, 1 << 24, &text, &bytes));
        const char *head = (const char *)text + 8;
        const char *names = strstr(head, "\"adam.");
        EXPECT(names && names < head + 65536, "no moments in the first shard");
        uint64_t n;
        unsigned long long begin;
        memcpy(&n, text, 8);
        EXPECT(sscanf(strstr(names, "data_offsets"), "data_offsets\":[%llu", &begin) == 1);
        ((char *)text)[8 + n + begin] ^= 1;
        EXPECT(unlink(path) == 0);
        EXPECT_OK(gd_file_write(path, text, bytes));
        free(text);
    }
    EXPECT_OK(gd_comm_barrier(comm));
    EXPECT(go_on(comm, &c, noise_data, 2, 3) == want);
}

/* ---- the state that is registered ---- */

/* Every moment that a step changes lies in a registered part, and in the state hash. */
static void every_moment_is_registered(void) {
    gd_train_config c = sharded(dcgan());
    gd_trainer *t = trainer_of(comm, &c, noise_data);
    EXPECT_OK(gd_trainer_run(t, 2));
    const gd_state *s = gd_trainer_state(t);
    double changed = 0, registered = 0, all = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        for (size_t i = 0; i < t->group[g].last - t->group[g].first; i++) changed += t->group[g].moment[1][i] != 0;
    for (int i = 0; i < s->count; i++) {
        const gd_state_tensor *x = &s->tensor[i];
        EXPECT(x->spread == (size > 1 && !strncmp(x->name, "adam.", 5)), "%s", x->name);
        if (strncmp(x->name, "adam.v/", 7)) continue;
        int64_t n = x->spread ? x->last - x->first : gd_shape_count(x->shape);
        for (int64_t k = 0; k < n; k++) registered += x->data[k] != 0;
        all += (double)n;
    }
    EXPECT(changed == registered && changed > 0, "%g changed, %g of them registered", changed, registered);
    EXPECT_OK(gd_comm_sum_f64(comm, &all, 1)); /* no element twice, none left out */
    double want = 0;
    for (int i = 0; i < t->n_slots; i++) want += t->slot[i].info->buffer ? 0 : (double)t->slot[i].count;
    EXPECT(all == want, "%g of %g", all, want);
    uint64_t before = gd_trainer_state_hash(t);
    for (int bad = 0; bad < size; bad++) { /* a bit of any rank's counts */
        uint32_t *bits = (uint32_t *)(void *)t->group[GD_GROUP_D].moment[0];
        if (rank == bad) *bits ^= 1;
        EXPECT_OK(gd__hash_moments(t));
        EXPECT(gd_trainer_state_hash(t) != before, "rank %d's moments are not in the state hash", bad);
        if (rank == bad) *bits ^= 1;
    }
    EXPECT_OK(gd__hash_moments(t));
    EXPECT(gd_trainer_state_hash(t) == before);
    gd_trainer_free(t);
}

/* ---- faults ---- */

typedef struct fault {
    gd_trainer *t;
    int64_t at; /* when this step is over */
    int rank;   /* -1: all */
    float value;
    int done;
} fault;

/* The first parameter of D becomes another. */
static int harm(void *ctx) {
    fault *f = ctx;
    if (f->done || f->t->counters.step != f->at || (f->rank >= 0 && rank != f->rank)) return 0;
    f->t->group[GD_GROUP_D].param[0] = f->value;
    f->done++;
    return 0;
}

static gd_status run_with(const gd_train_config *c, fault f, int64_t steps, uint64_t *hash) {
    gd_train_hooks h = {.ctx = &f, .poll = harm};
    gd_trainer *t = NULL;
    EXPECT_OK(gd_trainer_new(comm, c, noise_data, &h, &t));
    f.t = t;
    gd_status st = gd_trainer_run(t, steps);
    *hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return st;
}

static void replicas_are_compared_without_slices(void) {
    gd_train_config c = sharded(dcgan());
    uint64_t hash;
    c.check_every = 1;
    EXPECT(run_with(&c, (fault){.at = -1}, 3, &hash) == GD_OK, "%s", gd_error_message());
    if (size == 1) return;
    EXPECT(run_with(&c, (fault){.at = 2, .rank = size - 1, .value = 9}, 5, &hash) == GD_DIVERGED, "%s",
           gd_error_message());
    EXPECT(strstr(gd_error_message(), "step 2: the training state of rank"), "%s", gd_error_message());
}

/* Back to a checkpoint, moments too, as without slices. */
static void not_finite_leads_back(void) {
    uint64_t hash[2];
    for (int z = 0; z < 2; z++) {
        start_test("zero-back");
        gd_train_config c = saving(dcgan());
        c.shard_optimizer = z;
        c.checkpoint_every = 2;
        c.on_nonfinite = GD_NONFINITE_ROLLBACK;
        EXPECT(run_with(&c, (fault){.at = 3, .rank = -1, .value = NAN}, 6, &hash[z]) == GD_OK, "%s",
               gd_error_message());
    }
    EXPECT(hash[0] == hash[1]);
}

static int leave_at_two(void *ctx) { return ((fault *)ctx)->t->counters.step == 2 ? 2 : 0; }

/* The hash that a run prints when it leaves on request. */
static void leaving_on_request_knows_the_hash(void) {
    uint64_t hash[2];
    for (int z = 0; z < 2; z++) {
        start_test("zero-leave");
        gd_train_config c = saving(dcgan());
        fault f = {0};
        gd_train_hooks h = {.ctx = &f, .poll = leave_at_two};
        c.shard_optimizer = z;
        EXPECT_OK(gd_trainer_new(comm, &c, noise_data, &h, &f.t));
        EXPECT_ERROR(gd_trainer_run(f.t, 5), REQUEUE, "step 2: saved on request");
        hash[z] = gd_trainer_state_hash(f.t);
        gd_trainer_free(f.t);
    }
    EXPECT(hash[0] == hash[1]);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(the_same_bytes_as_whole),
        RIG_TEST(the_same_bytes_without_virtual_shards),
        RIG_TEST(the_same_bytes_between_hosts),
        RIG_TEST(moments_take_a_part_of_the_memory),
        RIG_TEST(checkpoints_pass_between_all_ways_of_training),
        RIG_TEST(files_are_those_of_a_whole_state),
        RIG_TEST(a_save_in_one_call_collects_the_state),
        RIG_TEST(a_damaged_moment_is_passed_over),
        RIG_TEST(every_moment_is_registered),
        RIG_TEST(replicas_are_compared_without_slices),
        RIG_TEST(not_finite_leads_back),
        RIG_TEST(leaving_on_request_knows_the_hash),
    };
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
