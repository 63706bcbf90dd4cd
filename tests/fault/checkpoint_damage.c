/* Damage of every kind to the newest checkpoint: verify finds it, loading finds it, the older one is taken.
 * Every bit of manifest, headers and tensors; truncations, swaps, foreign, missing and unreadable files;
 * disks that fill up at any byte. With --long: every bit of a shard of 300 KB. */
#include "tests/fault/checkpoint_sim.h"

static long cases;

static mem_node *node_of(const char *path) {
    int n = mem_find(path);
    if (n < 0) fail_msg("%s: is not there", path);
    return &mem.node[n];
}

static const char *file_of(int64_t step, const char *name) {
    static char path[8][GD__PATH];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", sim_path(step), name);
    return path[next];
}

static const char *shard_of(int64_t step, int w, int writers) {
    char name[GD__NAME_ROOM];
    gd__save save = {.writers = writers};
    gd__save_shard_name(&save, w, name);
    return file_of(step, name);
}

/* Step 2 is bad: what says so, and that nothing believes it. says NULL: anything. */
static void expect_damaged(const char *says) {
    gd_verify_report report;
    int64_t step;
    cases++;
    gd_status st = gd_checkpoint_verify(sim_path(2), GD_VERIFY_DEEP, &report);
    if (st != GD_DATA && st != GD_NOINPUT) fail_msg("verify: %s", gd_status_name(st));
    if (says && !strstr(gd_error_message(), says)) fail_msg("'%s' does not say '%s'", gd_error_message(), says);
    if (sim_loads(sim_path(2), &step)) fail_msg("loads, but: %s", gd_error_message());
}

static void expect_good(void) {
    gd_verify_report report;
    gd_status st = gd_checkpoint_verify(sim_path(2), GD_VERIFY_DEEP, &report);
    if (st != GD_OK) fail_msg("%s", gd_error_message());
}

/* ---- bits ---- */

static void flip(mem_node *f, size_t bit) { f->data[bit / 8] = (char)(f->data[bit / 8] ^ 1 << bit % 8); }

static void every_bit_of(mem_node *f, size_t from, size_t to, const char *says) {
    for (size_t bit = 8 * from; bit < 8 * to; bit++) {
        flip(f, bit);
        expect_damaged(says);
        flip(f, bit);
    }
}

static void every_bit_of_shard(const char *path) {
    mem_node *f = node_of(path);
    gd_safetensors h;
    assert_int_equal(gd_safetensors_parse(path, f->data, f->size, f->size, &h), GD_OK);
    every_bit_of(f, 0, h.data_at, path);
    for (int i = 0; i < h.count; i++) {
        char says[300];
        snprintf(says, sizeof says, "tensor '%s'", h.tensor[i].name);
        every_bit_of(f, h.data_at + h.tensor[i].begin, h.data_at + h.tensor[i].end, says);
    }
    gd_safetensors_free(&h);
}

static void every_flipped_bit_is_found(void **state) {
    (void)state;
    cases = 0;
    for (int ranks = 1; ranks <= SIM_RANKS; ranks++) {
        sim_setup(NULL);
        sim_saved(1, 1);
        sim_saved(2, ranks);
        mem_node *m = node_of(file_of(2, "manifest.json"));
        every_bit_of(m, 0, m->size, "manifest.json");
        for (int w = 0; w < ranks; w++) every_bit_of_shard(shard_of(2, w, ranks));
        expect_good();
        flip(m, 99);
        assert_int_equal(sim_resume(), 1);
    }
    printf("%ld flipped bits\n", cases);
    assert_true(cases > 70000);
}

/* ---- files ---- */

static void older_is_taken(void) {
    assert_int_equal(sim_resume(), 1);
    sim_setup(NULL);
    sim_saved(1, 1);
    sim_saved(2, 3);
}

static void cut_to(const char *path, size_t size) {
    mem_node *f = node_of(path);
    size_t whole = f->size;
    char *copy = malloc(whole);
    assert_non_null(copy);
    memcpy(copy, f->data, whole);
    if (size > whole) mem_put(mem_find(path), whole, NULL, size - whole);
    f->size = size;
    expect_damaged(path);
    f->size = 0;
    mem_put(mem_find(path), 0, copy, whole);
    free(copy);
    expect_good();
}

static void truncated_and_extended(void **state) {
    (void)state;
    sim_saved(1, 1);
    sim_saved(2, 3);
    cases = 0;
    for (int f = 0; f < 4; f++) {
        const char *path = f ? shard_of(2, f - 1, 3) : file_of(2, "manifest.json");
        size_t size = node_of(path)->size;
        for (size_t n = 0; n < size; n += 16)
            for (size_t d = 0; d < 3; d++)
                if (n + d >= 1 && n + d - 1 < size) cut_to(path, n + d - 1);
        cut_to(path, size - 1);
        for (size_t more = 1; more < 100; more += 33) cut_to(path, size + more);
    }
    printf("%ld cuts\n", cases);
    assert_true(cases > 300);
    node_of(shard_of(2, 1, 3))->size--;
    older_is_taken();
}

static void swap_files(const char *a, const char *b) {
    mem_node *x = node_of(a), *y = node_of(b), t = *x;
    *x = *y;
    *y = t;
}

static void swapped_and_foreign_files(void **state) {
    (void)state;
    sim_saved(1, 3);
    sim_saved(2, 3);
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < a; b++) {
            swap_files(shard_of(2, a, 3), shard_of(2, b, 3));
            expect_damaged(NULL);
            swap_files(shard_of(2, a, 3), shard_of(2, b, 3));
        }
    for (int w = 0; w < 3; w++) { /* of another step: the same size and names */
        swap_files(shard_of(2, w, 3), shard_of(1, w, 3));
        expect_damaged("is of step 1; the manifest is of step 2");
        swap_files(shard_of(2, w, 3), shard_of(1, w, 3));
    }
    swap_files(file_of(2, "manifest.json"), file_of(1, "manifest.json"));
    expect_damaged("its manifest is of step 1; expected step 2");
    swap_files(file_of(2, "manifest.json"), file_of(1, "manifest.json"));
    expect_good();
    /* Of the same step of another run: only the hashes can tell. */
    for (int w = 0; w < 3; w++) {
        mem_node *f = node_of(shard_of(2, w, 3));
        char last = f->data[f->size - 1];
        f->data[f->size - 1] = (char)(last + 1);
        expect_damaged("does not fit its hash");
        f->data[f->size - 1] = last;
    }
    /* More shards than the manifest knows. Nothing in it is wrong, so loading takes it; verify says it. */
    gd_verify_report report;
    assert_int_equal(gd_file_write(shard_of(2, 0, 4), "x", 1), GD_OK);
    assert_int_equal(gd_checkpoint_verify(sim_path(2), GD_VERIFY_QUICK, &report), GD_DATA);
    assert_non_null(strstr(gd_error_message(), "is not in the manifest"));
}

static void missing_and_unreadable_files(void **state) {
    (void)state;
    sim_saved(1, 1);
    sim_saved(2, 3);
    for (int f = 0; f < 4; f++) {
        const char *path = f ? shard_of(2, f - 1, 3) : file_of(2, "manifest.json");
        mem_node *n = node_of(path);
        n->unreadable = true;
        expect_damaged("is not readable");
        n->unreadable = false;
        assert_int_equal(mem_move(path, "/run/away", false), 0);
        expect_damaged(f ? "is missing from its checkpoint" : "never committed");
        assert_int_equal(mem_mkdir(path, 0777), 0);
        expect_damaged("is a folder");
        assert_int_equal(mem_rmdir(path), 0);
        assert_int_equal(mem_move("/run/away", path, false), 0);
        expect_good();
    }
    assert_int_equal(mem_unlink(shard_of(2, 1, 3)), 0);
    older_is_taken();
}

/* ---- full disks ---- */

static int64_t size_of_one(void) {
    sim_setup(NULL);
    sim_saved(1, 3);
    int64_t bytes = mem_used();
    sim_setup(NULL);
    return bytes;
}

/* lie: others fill the disk while it is written; else it is known before. */
static void fill_at(int64_t budget, bool lie, int *refused) {
    sim_setup(NULL);
    sim_saved(1, 3);
    mem_budget = mem_used() + budget;
    mem_free_lie = lie ? INT64_MAX : -1;
    gd_status st = sim_save(2, 3, 2);
    cases++;
    if (st != GD_OK) {
        ++*refused;
        if (st != GD_CANTCREAT && st != GD_IO) fail_msg("%s: %s", gd_status_name(st), gd_error_message());
        if (!strstr(gd_error_message(), "space") && !strstr(gd_error_message(), " free"))
            fail_msg("'%s' does not speak of space", gd_error_message());
        assert_int_equal(sim_entries(), 1);
        assert_int_equal(sim_resume(), 1);
    } else {
        assert_int_equal(sim_resume(), 2);
    }
    mem_budget = mem_free_lie = -1; /* there is room again */
    assert_int_equal(sim_save(3, 3, 2), GD_OK);
    assert_int_equal(sim_resume(), 3);
}

static void fill(int sizes) {
    int64_t one = size_of_one();
    int refused = 0;
    for (int i = 0; i < sizes; i++)
        for (int lie = 0; lie < 2; lie++) fill_at(one * 22 * i / (10 * (sizes - 1)), lie, &refused);
    printf("%d disk sizes, %d saves refused\n", sizes, refused);
    assert_true(refused > sizes && refused < 2 * sizes);
}

static void disks_that_fill_up(void **state) {
    (void)state;
    fill(20);
}

/* ---- long ---- */

static void disks_of_many_sizes(void **state) {
    (void)state;
    fill(96);
}

static bool reads_well(gd_state_tensor *into) {
    gd_checkpoint *k = NULL;
    if (gd_checkpoint_open(sim_path(2), &k) != GD_OK) return false;
    gd_status st = gd_checkpoint_read(k, into);
    gd_checkpoint_close(k);
    return st == GD_OK;
}

/* Every bit of a shard of 300 KB: 2.4 million. Verifying names the tensor, and loading refuses it. */
static void every_bit_of_a_large_shard(void **state) {
    (void)state;
    enum { FLOATS = 75000 };
    static float values[FLOATS];
    gd_comm *c = NULL;
    gd_state_tensor t = {.name = "G/large", .shape = {1, {FLOATS}}, .file_perm = {0}, .data = values};
    gd_state s = {.tensor = &t, .count = 1, .counters = {.step = 2}};
    gd_rng rng = {.seed = 4, .purpose = GD_PURPOSE_TEST};
    gd_rng_normal(&rng, 0, 0, FLOATS, values);
    assert_int_equal(gd_comm_self(&c), GD_OK);
    assert_int_equal(gd_checkpoint_save(c, SIM_DIR, &s, NULL), GD_OK);
    gd_comm_free(c);
    const char *path = shard_of(2, 0, 1);
    mem_node *f = node_of(path);
    gd_verify_report report;
    gd_safetensors h;
    assert_int_equal(gd_safetensors_parse(path, f->data, f->size, f->size, &h), GD_OK);
    assert_true(reads_well(&t));
    for (size_t bit = 0; bit < 8 * f->size; bit++) {
        flip(f, bit);
        if (gd_checkpoint_verify(sim_path(2), GD_VERIFY_DEEP, &report) != GD_DATA) fail_msg("bit %zu", bit);
        const char *says = bit < 8 * h.data_at ? path : "tensor 'G/large'";
        if (!strstr(gd_error_message(), says)) fail_msg("bit %zu: '%s'", bit, gd_error_message());
        if (reads_well(&t)) fail_msg("bit %zu is loaded", bit);
        flip(f, bit);
    }
    gd_safetensors_free(&h);
    expect_good();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sim_setup, sim_teardown)
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(swapped_and_foreign_files), TEST(missing_and_unreadable_files), TEST(truncated_and_extended),
        TEST(disks_that_fill_up),        TEST(every_flipped_bit_is_found), /* the longest one last */
    };
    const struct CMUnitTest long_tests[] = {TEST(disks_of_many_sizes), TEST(every_bit_of_a_large_shard)};
    if (argc > 1 && !strcmp(argv[1], "--long")) return cmocka_run_group_tests(long_tests, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
