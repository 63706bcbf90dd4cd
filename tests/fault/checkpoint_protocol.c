/* What several parts of a checkpoint say about each other, and what happens to it behind the back of a save: each
 * contradiction has a rule that finds it. Each of these rules has a mutant (mutants.txt) that only this finds. */
#include "tests/fault/checkpoint_sim.h"

enum { RANKS = 2 };

static const char *file_of(int64_t step, const char *name) {
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", sim_path(step), name);
    return path[next];
}

static void expect_refused(const char *says) {
    gd_verify_report report;
    gd_status st = gd_checkpoint_verify(sim_path(2), GD_VERIFY_DEEP, &report);
    if (st != GD_DATA || !strstr(gd_error_message(), says))
        fail_msg("%s: '%s'; expected '%s'", gd_status_name(st), st == GD_OK ? "" : gd_error_message(), says);
}

/* ---- a manifest that is whole, and says something else ---- */

static void write_manifest(gd_manifest *m) {
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(gd_manifest_render(m, &text, &bytes), GD_OK);
    assert_int_equal(gd_file_write(file_of(2, "manifest.json"), text, bytes), GD_OK);
    free(text);
    gd_manifest_free(m);
}

static gd_manifest saved_manifest(void) {
    gd_manifest m = {0};
    void *text = NULL;
    size_t bytes = 0;
    sim_setup(NULL);
    sim_saved(2, RANKS);
    assert_int_equal(gd_file_read(file_of(2, "manifest.json"), 1 << 20, &text, &bytes), GD_OK);
    assert_int_equal(gd_manifest_parse("manifest", text, bytes, &m), GD_OK);
    assert_int_equal(m.tensor_count, SIM_TENSORS);
    free(text);
    return m;
}

static void a_manifest_that_lies_is_found(void **state) {
    (void)state;
    gd_manifest m = saved_manifest();
    m.counters.cursor++;
    write_manifest(&m);
    expect_refused("the state hash of its tensors and counters is");

    m = saved_manifest();
    mem.node[mem_find(file_of(2, m.files[0].name))].size--;
    write_manifest(&m);
    expect_refused("bytes; the manifest says");

    m = saved_manifest(); /* "z" is behind all others, as the order wants */
    m.tensors = realloc(m.tensors, (size_t)(m.tensor_count + 1) * sizeof *m.tensors);
    assert_non_null(m.tensors);
    m.tensors[m.tensor_count] = (gd_manifest_tensor){strdup("z/more"), {1, {3}}, 0, 1};
    m.state_hash += gd__tensor_term("z/more", (gd_shape){1, {3}}, 1);
    m.tensor_count++;
    write_manifest(&m);
    expect_refused("has no tensor 'z/more', which the manifest expects there");

    m = saved_manifest();
    m.tensors[0].file = 1 - m.tensors[0].file;
    write_manifest(&m);
    expect_refused("which the manifest does not have there");

    m = saved_manifest();
    for (int i = 0; i < m.tensor_count; i++)
        if (!strcmp(m.tensors[i].name, "G/a.weight")) m.tensors[i].shape = (gd_shape){1, {35}};
    write_manifest(&m);
    expect_refused("tensor 'G/a.weight' has the shape [7,5]; the manifest says [35]");
}

/* The first version had no hashes of headers: the hash of the file finds a header that is changed and still reads. */
static void a_changed_header_is_found_without_its_hash(void **state) {
    (void)state;
    gd_verify_report report;
    gd_manifest m = saved_manifest();
    for (int i = 0; i < m.file_count; i++) m.files[i].has_head = false;
    const char *path = file_of(2, m.files[1].name);
    write_manifest(&m);
    assert_int_equal(gd_checkpoint_verify(sim_path(2), GD_VERIFY_DEEP, &report), GD_OK);
    mem_node *f = &mem.node[mem_find(path)];
    char *run = memmem(f->data, f->size, "\"sim\"", 5);
    assert_non_null(run);
    run[2] = 'u';
    expect_refused("its tensors are good, but its header");
}

/* ---- behind the back of a save ---- */

static mem_call at_call;
static const char *at_path;
static int at_nth;
static bool at_end; /* after the call, else before it */
static void (*deed)(void);

static bool gate(mem_call call, const char *path, bool after) {
    if (deed && call == at_call && after == at_end && strstr(path, at_path) && --at_nth == 0) {
        void (*once)(void) = deed;
        deed = NULL;
        once();
    }
    return false;
}

static void expect_save_fails(mem_call call, const char *path, int nth, bool after, void (*what)(void),
                              const char *says) {
    sim_setup(NULL);
    sim_saved(1, RANKS);
    at_call = call;
    at_path = path;
    at_nth = nth;
    at_end = after;
    deed = what;
    mem_gate = gate;
    gd_status st = sim_save(2, RANKS, 2);
    mem_gate = NULL;
    assert_null(deed);
    if (st == GD_OK || !strstr(gd_error_message(), says))
        fail_msg("%s: '%s'; expected '%s'", gd_status_name(st), st == GD_OK ? "" : gd_error_message(), says);
    int64_t step = -1;
    assert_true(sim_loads(sim_path(1), &step) && step == 1);
}

/* The temporary folder's second shard. */
static const char *second_shard(void) {
    static char path[512];
    char **names;
    size_t n;
    assert_int_equal(mem_list(SIM_DIR, &names, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (strstr(names[i], ".tmp-"))
            snprintf(path, sizeof path, SIM_DIR "/%s/shard-0001-of-0002.safetensors", names[i]);
    gd_io_free_names(names, n);
    return path;
}

static void remove_shard(void) { assert_int_equal(mem_unlink(second_shard()), 0); }
static void cut_shard(void) { mem.node[mem_find(second_shard())].size -= 4; }
static void make_the_same_step(void) { assert_int_equal(mem_mkdir(sim_path(2), 0777), 0); }

static void a_save_looks_at_what_it_commits(void **state) {
    (void)state;
    expect_save_fails(MEM_CALL_CLOSE, "shard-0001", 1, true, remove_shard, "does not see it");
    expect_save_fails(MEM_CALL_CLOSE, "shard-0001", 1, true, cut_shard, "bytes; rank 1 wrote");
    /* the first rename is that of the manifest */
    expect_save_fails(MEM_CALL_RENAME, "/step-000000000002", 2, false, make_the_same_step,
                      "appeared while it was being written");
}

/* ---- what recovering believes ---- */

static void damage_a_tensor_in(const char *folder) {
    char path[GD__PATH + 64];
    snprintf(path, sizeof path, "%s/shard-0001-of-0002.safetensors", folder);
    mem_node *f = &mem.node[mem_find(path)];
    f->data[f->size - 1] ^= 1;
}

static void only_good_ones_get_their_name_back(void **state) {
    (void)state;
    char temporary[GD__PATH];
    for (int damaged = 0; damaged < 2; damaged++) {
        sim_setup(NULL);
        sim_saved(1, RANKS);
        sim_saved(2, RANKS);
        assert_int_equal(gd__temporary_name(SIM_DIR, 2, temporary), GD_OK);
        assert_int_equal(mem_move(sim_path(2), temporary, false), 0);
        if (damaged) damage_a_tensor_in(temporary);
        assert_int_equal(gd_checkpoint_recover(SIM_DIR), GD_OK);
        assert_true(mem_find(temporary) < 0);
        assert_int_equal(mem_find(sim_path(2)) >= 0, !damaged);
        assert_int_equal(sim_resume(), damaged ? 1 : 2);
    }
}

static void replaced_ones_stay_while_the_new_one_is_bad(void **state) {
    (void)state;
    static const char replaced[] = SIM_DIR "/replaced-step-000000000002";
    for (int damaged = 0; damaged < 2; damaged++) {
        sim_setup(NULL);
        sim_saved(2, RANKS);
        assert_int_equal(mem_move(sim_path(2), replaced, false), 0);
        sim_saved(2, RANKS);
        if (damaged) damage_a_tensor_in(sim_path(2));
        assert_int_equal(gd_checkpoint_recover(SIM_DIR), GD_OK);
        assert_int_equal(mem_find(replaced) >= 0, damaged);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sim_setup, sim_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_manifest_that_lies_is_found),
        TEST(a_changed_header_is_found_without_its_hash),
        TEST(a_save_looks_at_what_it_commits),
        TEST(only_good_ones_get_their_name_back),
        TEST(replaced_ones_stay_while_the_new_one_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
