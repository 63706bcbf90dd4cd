/* run.lock and starts.json: one holder at a time, dead ones are replaced, starts in vain are counted. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "dist/lock.h"
#include "tests/fault/checkpoint_rig.h"
#include "tests/fault/faulty_io.h"

static char note[4096];

static void keep_note(void *ctx, gd_level level, const char *line) {
    (void)ctx, (void)level;
    snprintf(note, sizeof note, "%s", line);
}

/* Without locks that were taken over, which stay for an hour. */
static int live_entries(void) {
    char **names;
    size_t n, stale = 0;
    assert_int_equal(gd_io_system()->list(rig_root, &names, &n), 0);
    for (size_t i = 0; i < n; i++) stale += strncmp(names[i], "run.lock.stale-", 15) == 0;
    gd_io_free_names(names, n);
    return (int)(n - stale);
}

static const char *lock_path(void) { return rig_path("run.lock"); }

static void write_lock(const char *text) { rig_expect(gd_file_write(lock_path(), text, strlen(text)), GD_OK, NULL); }

/* Which no process has: above every pid_max. */
enum { NO_PID = 0x7ffffff0 };

static void boot_id(char out[64]) {
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%63s", out), 1);
    fclose(f);
}

static void write_lock_of(const char *host, const char *boot, long pid, long start) {
    static unsigned planted; /* no two locks have the same token */
    char text[512];
    snprintf(text, sizeof text,
             "{\"host\": \"%s\", \"boot\": \"%s\", \"job\": \"4711\", \"pid\": %ld, \"pid_start\": %ld, \"since\": "
             "1000000000, \"token\": \"0123456789ab%04x\"}",
             host, boot, pid, start, ++planted);
    write_lock(text);
}

static void my_host(char out[64]) {
    memset(out, 0, 64);
    assert_int_equal(gethostname(out, 63), 0);
}

static gd_run_lock *take(void) {
    gd_run_lock *l = NULL;
    note[0] = '\0';
    rig_expect(gd_run_lock_take(rig_root, 0, &l), GD_OK, NULL);
    assert_false(gd_run_lock_lost(l));
    return l;
}

static void expect_taken_over(const char *why) {
    gd_run_lock *l = take();
    if (!strstr(note, why)) fail_msg("note '%s' does not say '%s'", note, why);
    gd_run_lock_release(l);
    assert_int_equal(live_entries(), 0);
}

static void one_at_a_time(void **state) {
    (void)state;
    gd_run_lock *first = take(), *second = NULL;
    char says[64];
    snprintf(says, sizeof says, "process %ld on ", (long)getpid());
    rig_expect(gd_run_lock_take(rig_root, 0, &second), GD_CANTCREAT, says);
    assert_non_null(strstr(gd_error_message(), "a training is using this run folder"));
    assert_non_null(strstr(gd_error_message(), "since 20"));
    assert_int_equal(live_entries(), 1);
    gd_run_lock_release(first);
    assert_int_equal(live_entries(), 0);
    gd_run_lock_release(take());
    gd_run_lock_release(NULL);
    assert_int_equal(note[0], '\0');
}

static void dead_holders_are_replaced(void **state) {
    (void)state;
    char host[64], boot[64];
    my_host(host);
    boot_id(boot);
    write_lock_of(host, boot, NO_PID, 1);
    expect_taken_over("process 2147483632 is gone");
    write_lock_of(host, boot, (long)getppid(), 1); /* the number lives, it is another process */
    expect_taken_over("is gone");
    write_lock_of(host, "00000000-another-boot", (long)getppid(), 1);
    expect_taken_over("was started anew");
}

/* A process that was killed, for real. */
static void a_killed_holder_is_replaced(void **state) {
    (void)state;
    int pipe_fd[2];
    char byte;
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t child = fork();
    if (child == 0) {
        gd_run_lock *l = NULL;
        if (gd_run_lock_take(rig_root, 0, &l) == GD_OK && write(pipe_fd[1], "x", 1) == 1) pause();
        _exit(1);
    }
    assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
    gd_run_lock *l = NULL;
    rig_expect(gd_run_lock_take(rig_root, 0, &l), GD_CANTCREAT, "a training is using this run folder");
    kill(child, SIGKILL); /* not waited for: its number is still taken */
    for (int tries = 0; gd_run_lock_take(rig_root, 0, &l) != GD_OK && tries < 100; tries++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_non_null(l);
    gd_run_lock_release(l);
    waitpid(child, NULL, 0);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

static void set_age(const char *path, long seconds) {
    struct timeval t = {.tv_sec = time(NULL) - seconds}, times[2] = {t, t};
    assert_int_equal(utimes(path, times), 0);
}

/* Of another host only the lease can be judged, by the file system's clock. */
static void a_lease_runs_out(void **state) {
    (void)state;
    gd_run_lock *l = NULL;
    write_lock_of("elsewhere", "b", 1, 1);
    set_age(lock_path(), GD_LOCK_LEASE_S - 5);
    rig_expect(gd_run_lock_take(rig_root, 0, &l), GD_CANTCREAT, "process 1 on elsewhere, job 4711, since 2001-09-09");
    set_age(lock_path(), GD_LOCK_LEASE_S + 5);
    expect_taken_over("it was last seen 9");
    write_lock("garbage"); /* and so for one that nobody can read */
    rig_expect(gd_run_lock_take(rig_root, 0, &l), GD_CANTCREAT, "process 0 on unknown");
    set_age(lock_path(), GD_LOCK_LEASE_S + 5);
    expect_taken_over("last seen");
}

/* The holder's thread keeps the lease alive; who was taken over notices, and leaves the new lock alone. */
static void the_lease_is_renewed_until_lost(void **state) {
    (void)state;
    gd_run_lock *l = NULL;
    struct stat before, after;
    rig_expect(gd_run_lock_take(rig_root, 1, &l), GD_OK, NULL);
    assert_int_equal(stat(lock_path(), &before), 0);
    for (int i = 0; i < 100; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        assert_int_equal(stat(lock_path(), &after), 0);
        if (after.st_size > before.st_size) break;
    }
    assert_true(after.st_size > before.st_size);
    write_lock_of("elsewhere", "b", 1, 1);
    for (int i = 0; i < 100 && !gd_run_lock_lost(l); i++) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_true(gd_run_lock_lost(l));
    gd_run_lock_release(l);
    assert_true(gd_path_exists(lock_path()));
}

/* ---- many at once ---- */

static atomic_int holders, winners, refused;
static atomic_bool overlap;

static void *contend(void *ctx) {
    (void)ctx;
    gd_run_lock *l = NULL;
    gd_status st = gd_run_lock_take(rig_root, 0, &l);
    if (st == GD_OK) {
        if (atomic_fetch_add(&holders, 1) != 0) atomic_store(&overlap, true);
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        atomic_fetch_sub(&holders, 1);
        atomic_fetch_add(&winners, 1);
        gd_run_lock_release(l);
    } else if (st == GD_CANTCREAT) {
        atomic_fetch_add(&refused, 1);
    }
    return NULL;
}

/* Starts that find the same dead lock at the same moment: never two holders. */
static void of_many_starts_one_takes_over(void **state) {
    (void)state;
    enum { ROUNDS = 20, THREADS = 6 };
    char host[64], boot[64];
    my_host(host);
    boot_id(boot);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread[THREADS];
        winners = refused = 0;
        write_lock_of(host, boot, NO_PID, 1);
        for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, contend, NULL), 0);
        for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
        assert_false(overlap);
        assert_true(winners >= 1);
        assert_int_equal(winners + refused, THREADS);
        assert_false(gd_path_exists(lock_path()));
    }
}

/* Any call fails: no lock is left behind that nobody holds, and nobody's lock is lost. */
static void any_call_may_fail(void **state) {
    (void)state;
    char host[64], boot[64];
    my_host(host);
    boot_id(boot);
    for (int dead = 0; dead < 2; dead++)
        for (faulty plan = {.error = EIO};; plan.at++) {
            gd_run_lock *l = NULL;
            rig_expect(gd_dir_remove(rig_root), GD_OK, NULL);
            rig_expect(gd_dir_make(rig_root), GD_OK, NULL);
            if (dead) write_lock_of(host, boot, NO_PID, 1);
            faulty_start(plan);
            gd_status st = gd_run_lock_take(rig_root, 0, &l);
            int calls = faulty_stop();
            if (st != GD_OK) {
                if (st != GD_IO && st != GD_CANTCREAT) fail_msg("call %d: %s", plan.at, gd_status_name(st));
                l = take();
            }
            gd_run_lock_release(l);
            assert_false(gd_path_exists(lock_path()));
            if (plan.at >= calls) break;
        }
}

/* ---- starts ---- */

static void starts_in_vain_are_counted(void **state) {
    (void)state;
    for (int i = 0; i < GD_STARTS_MAX; i++) {
        char said[64];
        rig_expect(gd_starts_begin(rig_root, 12, 77), GD_OK, NULL);
        snprintf(said, sizeof said, "reason %d, \xff", i);
        if (i != 1) rig_expect(gd_starts_end(rig_root, said), GD_OK, NULL); /* the second was killed */
    }
    for (int i = 0; i < 2; i++) { /* refused ones do not count */
        rig_expect(gd_starts_begin(rig_root, 12, 77), GD_NOPROGRESS, "5 starts in a row brought no new checkpoint");
        assert_int_equal(gd_status_exit_code(GD_NOPROGRESS), 93);
        assert_non_null(strstr(gd_error_message(), "the newest is of step 12"));
        assert_non_null(strstr(gd_error_message(), "reason 0, ?"));
        assert_non_null(strstr(gd_error_message(), "reason 4, ?"));
        assert_non_null(strstr(gd_error_message(), "did not say (killed"));
    }
    rig_expect(gd_starts_begin(rig_root, 12, 78), GD_OK, NULL); /* another recipe */
    rig_expect(gd_starts_begin(rig_root, 12, 77), GD_OK, NULL);
}

static void progress_counts_anew(void **state) {
    (void)state;
    for (int64_t step = -1; step < 20; step++) {
        rig_expect(gd_starts_begin(rig_root, step, 1), GD_OK, NULL);
        rig_expect(gd_starts_end(rig_root, "killed"), GD_OK, NULL);
    }
    for (int i = 0; i < 3 * GD_STARTS_MAX; i++) {
        rig_expect(gd_starts_begin(rig_root, 20, 1), GD_OK, NULL);
        rig_expect(gd_starts_end(rig_root, NULL), GD_OK, NULL); /* ended well */
    }
    assert_int_equal(live_entries(), 0);
    rig_expect(gd_starts_end(rig_root, NULL), GD_OK, NULL);
    rig_expect(gd_starts_end(rig_root, "late"), GD_IO, "does not hold this start");
    rig_expect(gd_file_write(rig_path("starts.json"), "{", 1), GD_OK, NULL);
    rig_expect(gd_starts_end(rig_root, "late"), GD_IO, "does not hold this start");
    rig_expect(gd_starts_begin(rig_root, 20, 1), GD_OK, NULL); /* damaged: counts as none */
}

static int setup(void **state) {
    if (rig_setup(state) != 0 || gd_dir_make(rig_root) != GD_OK) return -1;
    gd_log_set_stderr(false);
    gd_log_set_sink(keep_note, NULL);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_at_a_time),     TEST(dead_holders_are_replaced),       TEST(a_killed_holder_is_replaced),
        TEST(a_lease_runs_out),  TEST(the_lease_is_renewed_until_lost), TEST(of_many_starts_one_takes_over),
        TEST(any_call_may_fail), TEST(starts_in_vain_are_counted),      TEST(progress_counts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
