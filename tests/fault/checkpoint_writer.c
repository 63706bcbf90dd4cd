/* Saving behind the training: what is written is the moment of the snapshot, on any number of ranks; a save
 * that fails on one rank is given up by all; a second one waits; nothing is lost at the end. */
#include <math.h>
#include <stdatomic.h>
#include <time.h>

#include "base/log.h"
#include "dist/writer.h"
#include "tests/fault/checkpoint_rig.h"
#include "tests/fault/faulty_io.h"

static gd_comm *comm;
static int rank, size;

/* ---- a slow disk: writes wait for leave ---- */

static atomic_bool held;
static gd_io slow_table;

static ssize_t slow_write(int fd, const void *buf, size_t n) {
    while (atomic_load(&held)) nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    return gd_io_system()->write(fd, buf, n);
}

static void hold_writes(void) {
    slow_table = *gd_io_system();
    slow_table.write = slow_write;
    atomic_store(&held, true);
    gd_io_set(&slow_table);
}

static void let_writes_go(void) { atomic_store(&held, false); }

/* ---- what was told ---- */

static int told;
static int64_t told_step;
static gd_status told_status;
static char told_message[4096];

static void on_saved(void *ctx, const gd_saved *s) {
    (void)ctx;
    told++;
    told_step = s->step;
    told_status = s->st;
    snprintf(told_message, sizeof told_message, "%s", s->st == GD_OK ? "" : gd_error_message());
    assert_true(s->seconds >= 0 && s->blocked >= 0 && s->blocked <= s->seconds + 1e-3);
}

static gd_writer *new_writer(bool wait) {
    gd_writer *w = NULL;
    gd_writer_opts o = {.dir = rig_root, .keep = 2, .wait = wait, .on_saved = on_saved};
    rig_expect(gd_writer_new(comm, &o, &w), GD_OK, NULL);
    told = 0;
    return w;
}

/* As the training loop does after an iteration. false: nothing is under way any more. */
static bool iterate(gd_writer *w) {
    int *all = calloc((size_t)size, sizeof *all), word = gd_writer_word(w), strongest = 0;
    assert_non_null(all);
    rig_expect(gd_comm_allgather(comm, &word, sizeof word, all), GD_OK, NULL);
    for (int r = 0; r < size; r++) strongest = all[r] > strongest ? all[r] : strongest;
    free(all);
    rig_expect(gd_writer_advance(w, strongest), GD_OK, NULL);
    return gd_writer_active(w);
}

static void scramble(rig_state *r) {
    for (int i = 0; i < RIG_TENSORS; i++)
        memset(r->data[i], 0x5a, (size_t)gd_shape_count(r->tensor[i].shape) * sizeof(float));
    r->s.counters.step += 1000;
}

static void expect_checkpoint(int64_t step) {
    char name[40];
    gd_verify_report report;
    snprintf(name, sizeof name, "step-%012lld", (long long)step);
    rig_expect(gd_checkpoint_verify(rig_path(name), GD_VERIFY_DEEP, &report), GD_OK, NULL);
    assert_int_equal(report.files, size);
    rig_expect_loads(rig_path(name), step);
}

/* ---- tests ---- */

/* Training goes on and changes every value while the disk is slow; the file has the old ones. */
static void the_snapshot_is_what_is_written(void **state) {
    (void)state;
    rig_state r;
    rig_fill(&r, 6);
    gd_writer *w = new_writer(false);
    gd_writer_prepare(w, &r.s);
    hold_writes();
    rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
    scramble(&r);
    for (int i = 0; i < 50; i++) assert_true(iterate(w)); /* nothing waits for the disk */
    assert_int_equal(told, 0);
    let_writes_go();
    while (iterate(w)) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(told, 1);
    assert_int_equal(told_status, GD_OK);
    assert_int_equal(told_step, 6);
    gd_writer_free(w);
    gd_io_set(NULL);
    expect_checkpoint(6);
    rig_free(&r);
}

static void waiting_saves_and_finishing_saves_are_equal(void **state) {
    (void)state;
    rig_state r;
    gd_status st;
    for (int wait = 0; wait < 2; wait++) {
        rig_fill(&r, 3 + wait);
        gd_writer *w = new_writer(wait);
        rig_expect(gd_writer_finish(w, &st), GD_OK, NULL); /* nothing to wait for */
        rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
        assert_int_equal(gd_writer_active(w), !wait);
        rig_expect(gd_writer_finish(w, &st), GD_OK, NULL);
        assert_int_equal(st, GD_OK);
        assert_int_equal(told, 1);
        gd_writer_free(w);
        expect_checkpoint(3 + wait);
        rig_free(&r);
    }
}

/* One after the other without a pause; retention happens behind, too. */
static void a_second_save_waits_for_the_first(void **state) {
    (void)state;
    gd_writer *w = new_writer(false);
    gd_status st;
    for (int64_t step = 1; step <= 5; step++) {
        rig_state r;
        rig_fill(&r, step);
        rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
        assert_int_equal(told, step - 1);
        rig_free(&r); /* names stay: they are constants */
    }
    rig_expect(gd_writer_finish(w, &st), GD_OK, NULL);
    assert_int_equal(st, GD_OK);
    gd_writer_free(w);
    expect_checkpoint(5);
    expect_checkpoint(4);
    assert_int_equal(gd_comm_barrier(comm), GD_OK);
    assert_int_equal(rig_entries(rig_root), 2);
}

/* Each rank in turn cannot write; rank 0 cannot commit, too. All know why, and the next save works. */
static void a_failing_save_is_given_up_by_all(void **state) {
    (void)state;
    static const faulty_call kinds[] = {CALL_WRITE, CALL_FSYNC, CALL_MKDIR, CALL_RENAME_NOREPLACE, CALL_FREE_BYTES};
    gd_status st;
    gd_writer *w = new_writer(false);
    int64_t step = 1;
    for (int bad = 0; bad < size; bad++)
        for (size_t k = 0; k < (bad ? 2 : sizeof kinds / sizeof *kinds); k++, step += 2) {
            rig_state r;
            rig_fill(&r, step);
            faulty_start((faulty){.at = rank == bad ? 0 : -1, .error = ENOSPC, .kinds = 1u << kinds[k]});
            rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
            rig_expect(gd_writer_finish(w, &st), GD_OK, NULL);
            assert_int_equal(gd_comm_barrier(comm), GD_OK);
            faulty_stop();
            assert_int_equal(st, told_status);
            if (rank == bad) assert_true(st == GD_IO || st == GD_CANTCREAT);
            else assert_int_equal(st, GD_PEER);
            assert_non_null(strstr(told_message, "No space left on device"));
            rig_free(&r);
            rig_fill(&r, step + 1);
            rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
            rig_expect(gd_writer_finish(w, &st), GD_OK, NULL);
            assert_int_equal(st, GD_OK);
            expect_checkpoint(step + 1);
            assert_int_equal(gd_comm_barrier(comm), GD_OK);
            assert_int_equal(rig_entries(rig_root), step + 1 == 2 ? 1 : 2);
            assert_int_equal(gd_comm_barrier(comm), GD_OK);
            rig_free(&r);
        }
    gd_writer_free(w);
}

/* All ranks say the same of a state that is not finite, whoever writes the tensor; it is not saved. */
static void a_state_that_is_not_finite_is_refused(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    gd_status st;
    gd_writer *w = new_writer(false);
    for (int i = 0; i < RIG_TENSORS; i++) {
        rig_state r;
        char says[200];
        const size_t count = (size_t)gd_shape_count(rig_shapes[i].shape);
        rig_fill(&r, 2 * i + 1);
        snprintf(says, sizeof says, "step %d: a value of tensor '%s' is %s", 2 * i + 1, rig_shapes[i].name,
                 i % 3 ? "infinite" : "not a number");
        if (count) r.data[i][count - 1] = odd[i % 3];
        rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
        rig_expect(gd_writer_finish(w, &st), GD_OK, NULL);
        assert_int_equal(st, count ? GD_NUMERIC : GD_OK);
        assert_int_equal(told_status, st);
        if (count) assert_non_null(strstr(told_message, says));
        assert_int_equal(gd_comm_barrier(comm), GD_OK);
        char name[40];
        snprintf(name, sizeof name, "step-%012d", 2 * i + 1);
        assert_int_equal(gd_path_exists(rig_path(name)), !count);
        assert_int_equal(gd_comm_barrier(comm), GD_OK);
        rig_free(&r);
        rig_fill(&r, 2 * i + 2);
        rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
        rig_expect(gd_writer_finish(w, &st), GD_OK, NULL);
        assert_int_equal(st, GD_OK);
        expect_checkpoint(2 * i + 2);
        rig_free(&r);
    }
    gd_writer_free(w);
}

/* A state that cannot be saved at all does not end the run either. */
static void a_wrong_state_is_told(void **state) {
    (void)state;
    rig_state r;
    rig_fill(&r, 1);
    gd_writer *w = new_writer(false);
    r.tensor[1].name = r.tensor[0].name;
    gd_writer_prepare(w, &r.s);
    rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
    assert_int_equal(told, 1);
    assert_int_equal(told_status, GD_INTERNAL);
    assert_non_null(strstr(told_message, "two tensors are called"));
    assert_false(gd_writer_active(w));
    gd_writer_free(w);
    rig_free(&r);
}

/* The process leaves in the middle (an error elsewhere): older ones stay, the next start tidies up. */
static void leaving_in_the_middle_harms_nothing(void **state) {
    (void)state;
    rig_state r;
    rig_fill(&r, 1);
    gd_writer *w = new_writer(true);
    rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
    gd_writer_free(w);
    rig_free(&r);
    rig_fill(&r, 2);
    w = new_writer(false);
    rig_expect(gd_writer_start(w, &r.s), GD_OK, NULL);
    for (int i = 0; i < 2; i++) iterate(w);
    gd_writer_free(w);
    rig_free(&r);
    assert_int_equal(gd_comm_barrier(comm), GD_OK);
    expect_checkpoint(1);
    assert_int_equal(gd_comm_barrier(comm), GD_OK);
    if (rank == 0) rig_expect(gd_checkpoint_recover(rig_root), GD_OK, NULL);
    assert_int_equal(gd_comm_barrier(comm), GD_OK);
    int left = rig_entries(rig_root);
    assert_true(left == 1 || left == 2); /* it may have been whole already */
    if (left == 2) expect_checkpoint(2);
}

static int setup(void **state) {
    (void)state;
    long number = (long)getpid();
    if (gd_comm_bcast(comm, 0, &number, sizeof number) != GD_OK) return -1;
    rig_name_root("checkpoint_writer", number);
    if (rank == 0 && gd_dir_remove(rig_root) != GD_OK) return -1;
    return gd_comm_barrier(comm) == GD_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    gd_io_set(NULL);
    if (gd_comm_barrier(comm) != GD_OK) return -1;
    return rank != 0 || gd_dir_remove(rig_root) == GD_OK ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_snapshot_is_what_is_written),       TEST(waiting_saves_and_finishing_saves_are_equal),
        TEST(a_second_save_waits_for_the_first),     TEST(a_failing_save_is_given_up_by_all),
        TEST(a_state_that_is_not_finite_is_refused), TEST(a_wrong_state_is_told),
        TEST(leaving_in_the_middle_harms_nothing),
    };
#ifdef CHECKPOINT_ALONE /* without MPI, for the thread sanitizer */
    gd_status st = gd_comm_self(&comm);
#else
    gd_status st = gd_comm_mpi(&comm);
#endif
    if (gd_log_configure("error") != GD_OK || st != GD_OK) {
        fprintf(stderr, "%s\n", gd_error_message());
        return 1;
    }
    rank = gd_comm_rank(comm);
    size = gd_comm_size(comm);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gd_comm_free(comm);
    return failed;
}
