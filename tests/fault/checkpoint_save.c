/* Checkpoints on one rank: round trip, layout of the files, damage, retention. */
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include "base/hash.h"
#include "dist/manifest.h"
#include "dist/safetensors.h"
#include "tests/fault/checkpoint_rig.h"

static void what_was_saved_is_read(void **state) {
    (void)state;
    rig_save(12);
    rig_expect_loads(rig_path("step-000000000012"), 12);
    assert_int_equal(rig_entries(rig_root), 1); /* nothing temporary is left */
    rig_state r;
    rig_fill(&r, 12);
    gd_verify_report report;
    rig_expect(gd_checkpoint_verify(rig_path("step-000000000012"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
    assert_true(report.state_hash == gd_state_hash(&r.s));
    assert_true(report.finite && report.step == 12 && report.files == 1 && report.tensors == RIG_TENSORS);
    assert_true(report.bytes > 4 * 37 * 4 * 4 * 33);
    rig_free(&r);
}

/* The bytes in the file are in file order: element (c,k,r,s) of D's weight is memory (k,r,s,c). */
static void files_hold_the_permuted_order(void **state) {
    (void)state;
    rig_state r;
    rig_fill(&r, 3);
    rig_save(3);
    const char *path = rig_path("step-000000000003/shard-0000-of-0001.safetensors");
    gd_safetensors h;
    uint64_t bytes;
    int fd = -1;
    rig_expect(gd_file_open(path, &fd, &bytes), GD_OK, NULL);
    rig_expect(gd_safetensors_read(fd, path, bytes, &h), GD_OK, NULL);
    assert_int_equal(h.count, RIG_TENSORS);
    assert_int_equal(h.data_at % 64, 0);
    assert_string_equal(h.step, "3");
    int seen = 0;
    for (int i = 0; i < h.count; i++) {
        if (i > 0) assert_true(strcmp(h.tensor[i - 1].name, h.tensor[i].name) < 0);
        if (strcmp(h.tensor[i].name, "D/main.0.weight") != 0) continue;
        seen++;
        assert_true(gd_shape_equal(h.tensor[i].shape, (gd_shape){4, {33, 37, 4, 4}}));
        float *file = malloc(h.tensor[i].end - h.tensor[i].begin);
        assert_non_null(file);
        rig_expect(gd_file_pread(fd, path, file, h.tensor[i].end - h.tensor[i].begin, h.data_at + h.tensor[i].begin),
                   GD_OK, NULL);
        for (int c = 0; c < 33; c++)
            for (int k = 0; k < 37; k++)
                for (int rs = 0; rs < 16; rs++)
                    assert_memory_equal(&file[(c * 37 + k) * 16 + rs], &r.data[1][(k * 16 + rs) * 33 + c],
                                        sizeof(float));
        free(file);
    }
    assert_int_equal(seen, 1);
    gd_safetensors_free(&h);
    close(fd);
    rig_free(&r);
}

static void saving_twice_gives_the_same_bytes(void **state) {
    (void)state;
    void *a, *b;
    size_t na, nb;
    for (int file = 0; file < 2; file++) {
        const char *name =
            file ? "step-000000000004/manifest.json" : "step-000000000004/shard-0000-of-0001.safetensors";
        rig_save(4);
        rig_expect(gd_file_read(rig_path(name), 1 << 24, &a, &na), GD_OK, NULL);
        rig_expect(gd_dir_remove(rig_root), GD_OK, NULL);
        rig_save(4);
        rig_expect(gd_file_read(rig_path(name), 1 << 24, &b, &nb), GD_OK, NULL);
        assert_int_equal(na, nb);
        assert_memory_equal(a, b, na);
        free(a);
        free(b);
    }
}

static void the_state_hash_sees_everything_but_order(void **state) {
    (void)state;
    rig_state r;
    rig_fill(&r, 9);
    uint64_t hash = gd_state_hash(&r.s);
    gd_state_tensor first = r.tensor[0];
    memmove(r.tensor, r.tensor + 1, (RIG_TENSORS - 1) * sizeof first);
    r.tensor[RIG_TENSORS - 1] = first;
    assert_true(gd_state_hash(&r.s) == hash);
    for (int i = 0; i < RIG_TENSORS; i++) {
        int64_t n = gd_shape_count(rig_shapes[i].shape);
        if (n == 0) continue;
        uint32_t *last = (uint32_t *)&r.data[i][n - 1];
        *last ^= 1;
        assert_true(gd_state_hash(&r.s) != hash);
        *last ^= 1;
    }
    r.s.counters.cursor++;
    assert_true(gd_state_hash(&r.s) != hash);
    r.s.counters.cursor--;
    r.tensor[0].name = "other";
    assert_true(gd_state_hash(&r.s) != hash);
    rig_free(&r);
}

static void opened_state_is_in_file_order(void **state) {
    (void)state;
    rig_save(1);
    gd_checkpoint *k;
    rig_expect(gd_checkpoint_open(rig_path("step-000000000001"), &k), GD_OK, NULL);
    const gd_state *s = gd_checkpoint_state(k);
    assert_string_equal(s->tensor[0].name, "D/empty");
    assert_string_equal(s->tensor[1].name, "D/main.0.weight");
    assert_true(gd_shape_equal(s->tensor[1].shape, (gd_shape){4, {33, 37, 4, 4}}));
    assert_null(s->tensor[1].data);
    /* Read as it is in the file: no permutation. */
    gd_state_tensor t = s->tensor[1];
    t.data = malloc((size_t)gd_shape_count(t.shape) * sizeof(float));
    assert_non_null(t.data);
    rig_expect(gd_checkpoint_read(k, &t), GD_OK, NULL);
    rig_state r;
    rig_fill(&r, 1);
    assert_memory_equal(&t.data[1], &r.data[1][33], sizeof(float)); /* (0,0,0,1): memory (0,0,1,0) */
    rig_free(&r);
    free(t.data);
    /* Misuse has its own messages. */
    float value[6];
    rig_expect(gd_checkpoint_read(k, &(gd_state_tensor){.name = "D/none", .shape = {1, {1}}, .data = value}), GD_DATA,
               "has no tensor 'D/none'");
    rig_expect(gd_checkpoint_read(k, &(gd_state_tensor){.name = "G/fc.bias", .shape = {1, {6}}, .data = value}),
               GD_SHAPE, "has the shape [20]; expected [6]");
    rig_expect(gd_checkpoint_read(k, &(gd_state_tensor){.name = "G/fc.weight", .shape = {2, {2, 3}}, .data = value}),
               GD_INTERNAL, "no permutation");
    gd_checkpoint_close(k);
}

static void a_wrong_state_is_refused(void **state) {
    (void)state;
    gd_comm *c;
    rig_state r;
    rig_fill(&r, 1);
    assert_int_equal(gd_comm_self(&c), GD_OK);
    r.tensor[1].name = r.tensor[0].name;
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_INTERNAL, "two tensors are called 'G/main.0.weight'");
    r.tensor[1].name = "";
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_INTERNAL, "has no name");
    r.tensor[1].name = "__metadata__";
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_DATA, "cannot be stored");
    r.tensor[1].name = "bad \xff utf8";
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_NOMEM, "UTF-8");
    r.tensor[1].name = "ok";
    r.tensor[1].file_perm[1] = 2;
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_INTERNAL, "no permutation");
    r.s.counters.step = 1000000000000;
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_INTERNAL, "expected 0 to 999999999999");
    assert_int_equal(rig_entries(rig_root), 0);
    gd_comm_free(c);
    rig_free(&r);
}

static void an_existing_step_is_left_alone(void **state) {
    (void)state;
    gd_comm *c;
    rig_state r;
    struct stat before, after;
    char *path = NULL;
    rig_save(12);
    assert_int_equal(stat(rig_path("step-000000000012/manifest.json"), &before), 0);
    rig_fill(&r, 12);
    assert_int_equal(gd_comm_self(&c), GD_OK);
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, &path), GD_OK, NULL);
    assert_string_equal(path, rig_path("step-000000000012"));
    free(path);
    r.data[0][0] += 1; /* another state of the same step */
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_CANTCREAT, "exists and holds another state");
    assert_int_equal(stat(rig_path("step-000000000012/manifest.json"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    rig_expect_loads(rig_path("step-000000000012"), 12);
    assert_int_equal(rig_entries(rig_root), 1);
    gd_comm_free(c);
    rig_free(&r);
}

static void flip(const char *path, uint64_t at) {
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static void a_damaged_step_is_moved_aside(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig_save(12);
        flip(rig_path("step-000000000012/shard-0000-of-0001.safetensors"), 30000);
        rig_save(12);
        rig_expect_loads(rig_path("step-000000000012"), 12);
    }
    gd_verify_report report;
    rig_expect(gd_checkpoint_verify(rig_path("damaged-step-000000000012"), GD_VERIFY_DEEP, &report), GD_DATA,
               "damaged");
    rig_expect(gd_checkpoint_verify(rig_path("damaged-step-000000000012-2"), GD_VERIFY_DEEP, &report), GD_DATA,
               "damaged");
    assert_int_equal(rig_entries(rig_root), 3);
}

/* Every 97th byte of the shard, every byte of its header and of the manifest: noticed, and the file named. */
static void every_flipped_byte_is_noticed(void **state) {
    (void)state;
    rig_save(5);
    const char *folder = rig_path("step-000000000005");
    static const char *const names[] = {"shard-0000-of-0001.safetensors", "manifest.json"};
    gd_verify_report report;
    for (int f = 0; f < 2; f++) {
        char path[1300];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, names[f]);
        assert_int_equal(stat(path, &st), 0);
        int checked = 0;
        for (off_t at = 0; at < st.st_size; at += f == 1 ? 7 : at < 1024 ? 1 : 97, checked++) {
            flip(path, (uint64_t)at);
            rig_expect(gd_checkpoint_verify(folder, GD_VERIFY_DEEP, &report), GD_DATA, names[f]);
            flip(path, (uint64_t)at);
        }
        assert_true(checked > 200);
    }
    rig_expect(gd_checkpoint_verify(folder, GD_VERIFY_DEEP, &report), GD_OK, NULL);
    /* Reading one tensor notices too, and says which and where. */
    flip(rig_path("step-000000000005/shard-0000-of-0001.safetensors"), 40000);
    rig_expect(gd_checkpoint_verify(folder, GD_VERIFY_QUICK, &report), GD_OK, NULL);
    gd_checkpoint *k;
    rig_state r;
    rig_blank(&r);
    rig_expect(gd_checkpoint_open(folder, &k), GD_OK, NULL);
    rig_expect(gd_checkpoint_read(k, &r.tensor[1]), GD_DATA, "tensor 'D/main.0.weight' (78144 bytes at offset");
    rig_expect(gd_checkpoint_read(k, &r.tensor[0]), GD_OK, NULL);
    gd_checkpoint_close(k);
    rig_free(&r);
}

static void missing_and_cut_files_are_named(void **state) {
    (void)state;
    gd_checkpoint *k = NULL;
    gd_verify_report report;
    const char *folder = rig_path("step-000000000007"),
               *shard = rig_path("step-000000000007/shard-0000-of-0001.safetensors");
    rig_expect(gd_checkpoint_open(folder, &k), GD_NOINPUT, "no such checkpoint");
    rig_save(7);
    struct stat st;
    assert_int_equal(stat(shard, &st), 0);
    assert_int_equal(truncate(shard, st.st_size - 1), 0);
    rig_expect(gd_checkpoint_verify(folder, GD_VERIFY_QUICK, &report), GD_DATA, "it is cut off");
    assert_int_equal(truncate(shard, st.st_size + 1), 0);
    rig_expect(gd_checkpoint_verify(folder, GD_VERIFY_QUICK, &report), GD_DATA, "it is too long");
    assert_int_equal(truncate(shard, st.st_size - 4), 0);
    assert_int_equal(truncate(shard, st.st_size), 0); /* right size, zeros at the end */
    rig_expect(gd_checkpoint_verify(folder, GD_VERIFY_DEEP, &report), GD_DATA, "does not fit its hash");
    assert_int_equal(unlink(shard), 0);
    rig_expect(gd_checkpoint_open(folder, &k), GD_DATA, "is missing from its checkpoint");
    assert_int_equal(mkdir(shard, 0777), 0);
    rig_expect(gd_checkpoint_open(folder, &k), GD_NOINPUT, "is a folder");
    assert_int_equal(rmdir(shard), 0);
    /* A shard of another step with the right size. */
    rig_save(8);
    assert_int_equal(rename(rig_path("step-000000000008/shard-0000-of-0001.safetensors"), shard), 0);
    rig_expect(gd_checkpoint_open(folder, &k), GD_DATA, "is of step 8; the manifest is of step 7");
    /* A whole folder under another step's name. */
    rig_save(9);
    assert_int_equal(rename(rig_path("step-000000000009"), rig_path("step-000000000010")), 0);
    rig_expect(gd_checkpoint_open(rig_path("step-000000000010/"), &k), GD_DATA,
               "its manifest is of step 9; expected step 10");
    assert_int_equal(rename(rig_path("step-000000000010"), rig_path("best")), 0);
    rig_expect_loads(rig_path("best"), 9);
    rig_expect(gd_file_write(rig_path("best/shard-0001-of-0002.safetensors"), "x", 1), GD_OK, NULL);
    rig_expect(gd_checkpoint_verify(rig_path("best"), GD_VERIFY_QUICK, &report), GD_DATA, "is not in the manifest");
    rig_expect(gd_file_write(rig_path("best/manifest.json"), "{}", 2), GD_OK, NULL);
    rig_expect(gd_checkpoint_open(rig_path("best"), &k), GD_DATA, "manifest.json");
    assert_int_equal(unlink(rig_path("best/manifest.json")), 0);
    rig_expect(gd_checkpoint_open(rig_path("best"), &k), GD_NOINPUT, "never committed");
    assert_int_equal(mkfifo(rig_path("best/manifest.json"), 0666), 0);
    alarm(5);
    rig_expect(gd_checkpoint_open(rig_path("best"), &k), GD_NOINPUT, "FIFO");
    alarm(0);
    assert_null(k);
}

static void values_that_are_not_finite_are_reported(void **state) {
    (void)state;
    gd_comm *c;
    rig_state r;
    gd_verify_report report;
    rig_fill(&r, 2);
    r.data[2][599] = (float)NAN;
    assert_int_equal(gd_comm_self(&c), GD_OK);
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_OK, NULL);
    rig_expect(gd_checkpoint_verify(rig_path("step-000000000002"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
    assert_false(report.finite);
    gd_comm_free(c);
    rig_free(&r);
}

static void unknown_texts_may_be_absent(void **state) {
    (void)state;
    gd_comm *c;
    gd_checkpoint *k;
    rig_state r;
    rig_fill(&r, 2);
    r.s.recipe_text = r.s.run_id = NULL;
    r.s.count = 0; /* and no tensor at all */
    assert_int_equal(gd_comm_self(&c), GD_OK);
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_OK, NULL);
    rig_expect(gd_checkpoint_open(rig_path("step-000000000002"), &k), GD_OK, NULL);
    assert_null(gd_checkpoint_state(k)->recipe_text);
    assert_null(gd_checkpoint_state(k)->run_id);
    assert_int_equal(gd_checkpoint_state(k)->count, 0);
    gd_checkpoint_close(k);
    gd_comm_free(c);
    rig_free(&r);
}

/* ---- folders ---- */

static void expect_list(const int64_t *steps, int n) {
    char **paths;
    int count;
    rig_expect(gd_checkpoint_list(rig_root, &paths, &count), GD_OK, NULL);
    assert_int_equal(count, n);
    for (int i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "step-%012lld", (long long)steps[i]);
        assert_string_equal(paths[i], rig_path(name));
    }
    gd_checkpoint_list_free(paths, count);
}

static void the_list_has_committed_ones_newest_first(void **state) {
    (void)state;
    expect_list(NULL, 0); /* no folder yet */
    rig_save(9);
    rig_save(100);
    rig_save(20);
    rig_expect(gd_dir_make(rig_path("step-000000000500")), GD_OK, NULL); /* no manifest */
    rig_expect(gd_dir_make(rig_path("step-000000000600.tmp-host-1-1")), GD_OK, NULL);
    rig_expect(gd_dir_make(rig_path("step-700")), GD_OK, NULL);
    rig_expect(gd_file_write(rig_path("step-000000000800"), "", 0), GD_OK, NULL);
    rig_expect(gd_file_write(rig_path("step-000000000600.tmp-host-1-1/manifest.json"), "{}", 2), GD_OK, NULL);
    expect_list((const int64_t[]){100, 20, 9}, 3);
}

static void retain_keeps_the_newest(void **state) {
    (void)state;
    for (int64_t step = 8; step <= 12; step++) rig_save(step);
    rig_expect(gd_checkpoint_retain(rig_root, 3), GD_OK, NULL);
    expect_list((const int64_t[]){12, 11, 10}, 3);
    rig_expect(gd_checkpoint_retain(rig_root, 3), GD_OK, NULL);
    expect_list((const int64_t[]){12, 11, 10}, 3);
    rig_expect(gd_checkpoint_retain(rig_root, 0), GD_OK, NULL); /* never the newest */
    expect_list((const int64_t[]){12}, 1);
    rig_expect_loads(rig_path("step-000000000012"), 12);
    assert_int_equal(rig_entries(rig_root), 1);
    rig_expect(gd_checkpoint_retain(rig_path("none"), 2), GD_OK, NULL);
}

/* One that cannot be opened does not take the place of a good one. */
static void retain_counts_good_ones(void **state) {
    (void)state;
    for (int64_t step = 1; step <= 4; step++) rig_save(step);
    assert_int_equal(unlink(rig_path("step-000000000004/shard-0000-of-0001.safetensors")), 0);
    rig_expect(gd_checkpoint_retain(rig_root, 1), GD_OK, NULL);
    expect_list((const int64_t[]){4, 3}, 2);
}

static void set_age(const char *path, long seconds) {
    struct timeval times[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(utimes(path, times), 0);
}

static void retain_removes_what_dead_runs_left(void **state) {
    (void)state;
    char host[64] = "", mine[160], parent[160], dead[160];
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p; p++)
        if (*p == '-') *p = '_';
    snprintf(mine, sizeof mine, "step-000000000003.tmp-%s-%ld-1f", host, (long)getpid());
    snprintf(parent, sizeof parent, "step-000000000003.tmp-%s-%ld-1f", host, (long)getppid());
    snprintf(dead, sizeof dead, "step-000000000003.tmp-%s-%d-1f", host, 0x7ffffff0); /* above every pid_max */
    rig_save(2);
    const char *const gone[] = {mine, dead, "step-000000000003.tmp-elsewhere-77-1f", "step-000000000001"};
    const char *const kept[] = {parent, "step-000000000004.tmp-elsewhere-78-2f", "step-000000000005", "mine", "step-6"};
    for (int i = 0; i < 4; i++) {
        char file[300];
        rig_expect(gd_dir_make(rig_path(gone[i])), GD_OK, NULL);
        snprintf(file, sizeof file, "%s/shard-0000-of-0001.safetensors", gone[i]);
        rig_expect(gd_file_write(rig_path(file), "x", 1), GD_OK, NULL);
    }
    for (int i = 0; i < 5; i++) rig_expect(gd_dir_make(rig_path(kept[i])), GD_OK, NULL);
    rig_expect(gd_file_write(rig_path("step-000000000005/notes.txt"), "x", 1), GD_OK, NULL); /* not ours alone */
    set_age(rig_path(gone[2]), 3700);
    set_age(rig_path(kept[1]), 600);
    rig_expect(gd_checkpoint_retain(rig_root, 3), GD_OK, NULL);
    for (int i = 0; i < 4; i++) assert_false(gd_path_exists(rig_path(gone[i])));
    for (int i = 0; i < 5; i++) assert_true(gd_path_exists(rig_path(kept[i])));
    expect_list((const int64_t[]){2}, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_saved_is_read),
        TEST(files_hold_the_permuted_order),
        TEST(saving_twice_gives_the_same_bytes),
        TEST(the_state_hash_sees_everything_but_order),
        TEST(opened_state_is_in_file_order),
        TEST(a_wrong_state_is_refused),
        TEST(an_existing_step_is_left_alone),
        TEST(a_damaged_step_is_moved_aside),
        TEST(every_flipped_byte_is_noticed),
        TEST(missing_and_cut_files_are_named),
        TEST(values_that_are_not_finite_are_reported),
        TEST(unknown_texts_may_be_absent),
        TEST(the_list_has_committed_ones_newest_first),
        TEST(retain_keeps_the_newest),
        TEST(retain_counts_good_ones),
        TEST(retain_removes_what_dead_runs_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
