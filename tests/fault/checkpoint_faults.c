/* Every file-system call of a save fails once, with several errors; then every call of loading, verifying, listing,
 * recovering and retention, once and for good. Older checkpoints stay good, and what is committed is good. With --long
 * more errors, all of them once and for good in all of these. */
#include "base/log.h"
#include "tests/fault/checkpoint_rig.h"
#include "tests/fault/faulty_io.h"

static gd_status save(int64_t step) {
    gd_comm *c = NULL;
    rig_state r;
    rig_fill(&r, step);
    gd_status st = gd_comm_self(&c);
    if (st == GD_OK) st = gd_checkpoint_save(c, rig_root, &r.s, NULL);
    gd_comm_free(c);
    rig_free(&r);
    return st;
}

/* Works, without waiting for the disk. */
static void save_quietly(int64_t step) {
    faulty_start((faulty){.at = -1});
    rig_expect(save(step), GD_OK, NULL);
    faulty_stop();
}

static bool is_file_status(gd_status st) { return st == GD_IO || st == GD_CANTCREAT; }

/* After a save of step 2 that may have failed: 1 is whole; 2 is there and whole, or not there. */
static bool expect_sound(void) {
    gd_verify_report report;
    rig_expect(gd_checkpoint_verify(rig_path("step-000000000001"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
    bool there = gd_path_exists(rig_path("step-000000000002"));
    if (there) rig_expect(gd_checkpoint_verify(rig_path("step-000000000002"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
    return there;
}

static void sweep(faulty plan, int *cases, int *failures) {
    save_quietly(1);
    for (plan.at = 0;; plan.at++) {
        rig_expect(gd_dir_remove(rig_path("step-000000000002")), GD_OK, NULL);
        faulty_start(plan);
        gd_status st = save(2);
        int calls = faulty_stop();
        bool there = expect_sound();
        if (plan.at >= calls) {
            rig_expect(st, GD_OK, NULL); /* the plan is behind the last call: nothing was wrong */
            assert_true(there);
            return;
        }
        ++*cases;
        if (st == GD_OK) assert_true(there);
        else {
            ++*failures;
            if (!is_file_status(st))
                fail_msg("call %d: status %s: %s", plan.at, gd_status_name(st), gd_error_message());
            assert_true(strlen(gd_error_message()) > 20);
        }
        /* One failing call leaves nothing behind; where all fail, removing fails too, and retention does it. */
        if (!plan.sticky) assert_int_equal(rig_entries(rig_root), there ? 2 : 1);
        rig_expect(gd_checkpoint_retain(rig_root, 5), GD_OK, NULL);
        assert_int_equal(rig_entries(rig_root), expect_sound() ? 2 : 1); /* what was whole but for its name is taken */
        save_quietly(2);                                                 /* and the next try works */
        assert_true(expect_sound());
    }
}

static void any_call_may_fail_once(void **state) {
    (void)state;
    static const int errors_once[] = {EIO, ENOSPC, EDQUOT};
    for (size_t e = 0; e < sizeof errors_once / sizeof *errors_once; e++) {
        int cases = 0, failures = 0;
        sweep((faulty){.error = errors_once[e]}, &cases, &failures);
        assert_true(cases >= 30);
        assert_true(failures >=
                    cases - 8); /* not reported: closing a folder after fsync, what is only tried, a stat that mkdir
                                   makes up for */
    }
}

static void a_disk_may_go_away_for_good(void **state) {
    (void)state;
    int cases = 0, failures = 0;
    sweep((faulty){.error = EIO, .sticky = true}, &cases, &failures);
    assert_true(cases >= 30 && failures == cases - 1); /* not reported: closing the folder after its last fsync */
}

static void short_writes_may_fail_in_the_middle(void **state) {
    (void)state;
    int cases = 0, failures = 0;
    sweep((faulty){.error = ENOSPC, .sticky = true, .at_most = 9000, .kinds = 1 << CALL_WRITE}, &cases, &failures);
    assert_true(cases >= 8 && failures == cases);
}

static void fsync_may_fail(void **state) {
    (void)state;
    int cases = 0, failures = 0;
    sweep((faulty){.error = EIO, .kinds = 1 << CALL_FSYNC}, &cases, &failures);
    assert_int_equal(cases, 7); /* run folder, the one above; shard, folder, manifest, folder, checkpoints */
    assert_int_equal(failures, 7);
}

static void interrupted_calls_are_taken_up_again(void **state) {
    (void)state;
    assert_int_equal(save(1), GD_OK);
    faulty_start((faulty){.at = -1, .interrupt = true, .at_most = 1000});
    rig_expect(save(2), GD_OK, NULL);
    rig_expect_loads(rig_path("step-000000000002"), 2);
    faulty_stop();
    assert_true(expect_sound());
}

static void too_little_space_is_noticed_before_writing(void **state) {
    (void)state;
    assert_int_equal(save(1), GD_OK);
    faulty_start((faulty){.at = -1, .free_bytes = 300000});
    rig_expect(save(2), GD_CANTCREAT,
               "but 300 kB are free; free space or write to another folder (older checkpoints are kept)");
    faulty_stop();
    assert_false(expect_sound());
    assert_int_equal(rig_entries(rig_root), 1);
}

/* A save that finds its step there verifies it; while that cannot be done, nothing is moved or lost. */
static void an_existing_step_survives_failing_reads(void **state) {
    (void)state;
    assert_int_equal(save(1), GD_OK);
    assert_int_equal(save(2), GD_OK);
    for (faulty plan = {.error = EIO};; plan.at++) {
        faulty_start(plan);
        gd_status st = save(2);
        int calls = faulty_stop();
        assert_true(expect_sound());
        rig_expect(gd_checkpoint_retain(rig_root, 5), GD_OK, NULL); /* where removing failed */
        assert_int_equal(rig_entries(rig_root), 2);
        if (plan.at >= calls) break;
        assert_true(st == GD_OK || is_file_status(st));
    }
}

/* ---- reading ---- */

static gd_status verify(void) {
    gd_verify_report report;
    return gd_checkpoint_verify(rig_path("step-000000000001"), GD_VERIFY_DEEP, &report);
}

/* What is read is right. */
static gd_status load(void) {
    gd_checkpoint *k = NULL;
    rig_state want, got;
    GD_TRY(gd_checkpoint_open(rig_path("step-000000000001"), &k));
    rig_fill(&want, 1);
    rig_blank(&got);
    gd_status st = GD_OK;
    for (int i = 0; i < RIG_TENSORS && st == GD_OK; i++) st = gd_checkpoint_read(k, &got.tensor[i]);
    if (st == GD_OK) rig_expect_equal(&want, &got);
    gd_checkpoint_close(k);
    rig_free(&want);
    rig_free(&got);
    return st;
}

static gd_status list(void) {
    char **paths = NULL;
    int count = 0;
    GD_TRY(gd_checkpoint_list(rig_root, &paths, &count));
    if (count != 1) fail_msg("%d checkpoints are listed; expected 1", count);
    gd_checkpoint_list_free(paths, count);
    return GD_OK;
}

static gd_status recover(void) { return gd_checkpoint_recover(rig_root); }

typedef struct reader {
    const char *name;
    gd_status (*run)(void);
    int least; /* calls whose failure it cannot pass over */
} reader;

static const reader readers[] = {
    {"verify", verify, 12}, {"load", load, 12}, {"list", list, 1}, {"recover", recover, 1}};

/* Never may an I/O error look like damage, or harm anything. Closing a file that was read may fail unnoticed. */
static void reading_with(faulty plan, const reader *r, int *cases) {
    int failures = 0;
    gd_verify_report report;
    for (plan.at = 0;; plan.at++) {
        faulty_start(plan);
        gd_status st = r->run();
        int calls = faulty_stop();
        rig_expect(gd_checkpoint_verify(rig_path("step-000000000001"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
        if (plan.at >= calls) {
            rig_expect(st, GD_OK, NULL);
            break;
        }
        ++*cases;
        if (st != GD_OK && st != GD_IO && st != GD_NOINPUT)
            fail_msg("%s, call %d, %s: %s: %s", r->name, plan.at, strerror(plan.error), gd_status_name(st),
                     gd_error_message());
        if (st == GD_NOINPUT && plan.error == EIO) fail_msg("%s, call %d: '%s'", r->name, plan.at, gd_error_message());
        failures += st != GD_OK;
    }
    if (plan.error == EINTR ? failures > 0 : failures < r->least)
        fail_msg("%s, %s: %d failures are reported", r->name, strerror(plan.error), failures);
}

static void reading_reports_every_failure(void **state) {
    (void)state;
    int cases = 0;
    assert_int_equal(save(1), GD_OK);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        for (int sticky = 0; sticky < 2; sticky++)
            reading_with((faulty){.error = EIO, .sticky = sticky}, &readers[i], &cases);
    printf("%d cases\n", cases);
}

/* ---- retention ---- */

/* Deletion may stop anywhere: the newest stay whole, and a half-deleted one is no checkpoint. */
static void retention_with(faulty plan, int *cases) {
    int stopped = 0;
    for (plan.at = 0;; plan.at++) {
        for (int64_t step = plan.at == 0 ? 4 : 2; step >= 1; step--) save_quietly(step); /* 3 and 4 stay */
        faulty_start(plan);
        gd_status st = gd_checkpoint_retain(rig_root, 2);
        int calls = faulty_stop();
        char **paths;
        int count;
        gd_verify_report report;
        rig_expect(gd_checkpoint_list(rig_root, &paths, &count), GD_OK, NULL);
        assert_true(count >= 2);
        for (int i = 0; i < count; i++)
            rig_expect(gd_checkpoint_verify(paths[i], GD_VERIFY_DEEP, &report), GD_OK, NULL);
        assert_string_equal(paths[0], rig_path("step-000000000004"));
        gd_checkpoint_list_free(paths, count);
        if (plan.at >= calls) {
            assert_int_equal(st, GD_OK);
            break;
        }
        ++*cases;
        if (st != GD_OK && st != GD_IO) fail_msg("call %d: %s: %s", plan.at, gd_status_name(st), gd_error_message());
        stopped += st == GD_IO;
        rig_expect(gd_checkpoint_retain(rig_root, 2), GD_OK, NULL); /* it is finished the next time */
        assert_int_equal(rig_entries(rig_root), 2);
    }
    if (plan.sticky) assert_true(stopped >= 8);
}

static void retention_may_stop_anywhere(void **state) {
    (void)state;
    int cases = 0;
    for (int sticky = 0; sticky < 2; sticky++) retention_with((faulty){.error = EIO, .sticky = sticky}, &cases);
    printf("%d cases\n", cases);
}

/* ---- long ---- */

static const int errors[] = {EIO, ENOSPC, EDQUOT, EINTR, EROFS, EACCES, EPERM, EMFILE, ENFILE, ESTALE, ETIMEDOUT};
enum { ERRORS = sizeof errors / sizeof *errors };

/* Such a call is made again; one that is interrupted for ever is never over. */
enum { MAY_BE_INTERRUPTED = 1 << CALL_OPEN | 1 << CALL_READ | 1 << CALL_PREAD | 1 << CALL_WRITE };
static int most_sticky(int error) { return error == EINTR ? 1 : 2; }

static void every_error_of_a_save(void **state) {
    (void)state;
    int cases = 0, failures = 0;
    for (int e = 0; e < ERRORS; e++)
        for (int sticky = 0; sticky < most_sticky(errors[e]); sticky++)
            sweep((faulty){.error = errors[e], .sticky = sticky}, &cases, &failures);
    for (size_t part = 1000; part < 100000; part *= 3)
        sweep((faulty){.error = ENOSPC, .sticky = true, .at_most = part, .kinds = 1 << CALL_WRITE}, &cases, &failures);
    printf("%d cases, %d saves failed\n", cases, failures);
    assert_true(cases > 600);
}

static void every_error_of_reading_and_retention(void **state) {
    (void)state;
    int cases = 0;
    for (int e = 0; e < ERRORS; e++)
        for (int sticky = 0; sticky < most_sticky(errors[e]); sticky++) {
            faulty plan = {.error = errors[e], .sticky = sticky, .kinds = errors[e] == EINTR ? MAY_BE_INTERRUPTED : 0};
            assert_int_equal(gd_dir_remove(rig_root), GD_OK);
            save_quietly(1);
            for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) reading_with(plan, &readers[i], &cases);
            assert_int_equal(gd_dir_remove(rig_root), GD_OK);
            retention_with(plan, &cases);
        }
    printf("%d cases\n", cases);
    assert_true(cases > 1000);
}

static int setup(void **state) { return gd_log_configure("error") == GD_OK ? rig_setup(state) : -1; }

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(any_call_may_fail_once),
        TEST(a_disk_may_go_away_for_good),
        TEST(short_writes_may_fail_in_the_middle),
        TEST(fsync_may_fail),
        TEST(interrupted_calls_are_taken_up_again),
        TEST(too_little_space_is_noticed_before_writing),
        TEST(an_existing_step_survives_failing_reads),
        TEST(reading_reports_every_failure),
        TEST(retention_may_stop_anywhere),
    };
    const struct CMUnitTest long_tests[] = {TEST(every_error_of_a_save), TEST(every_error_of_reading_and_retention)};
    if (argc > 1 && !strcmp(argv[1], "--long")) return cmocka_run_group_tests(long_tests, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
