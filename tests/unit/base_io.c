/* File access: what is refused, with which text; interrupted, shortened and failing calls. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fault/faulty_io.h"

static char root[512];

static const char *in_root(const char *name) {
    static char path[4][1024];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", root, name);
    return path[next];
}

static int fresh_folder(void **state) {
    (void)state;
    const char *base = getenv("GANDIST_TEST_TMP");
    snprintf(root, sizeof root, "%s/base_io.%ld", base ? base : "/tmp", (long)getpid());
    if (gd_dir_remove(root) != GD_OK || gd_dir_make(root) != GD_OK) return -1;
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    gd_io_set(NULL);
    return gd_dir_remove(root) == GD_OK ? 0 : -1;
}

static void expect_content(const char *path, const char *text) {
    void *data = NULL;
    size_t bytes = 0;
    assert_int_equal(gd_file_read(path, 1 << 20, &data, &bytes), GD_OK);
    assert_int_equal(bytes, strlen(text));
    assert_string_equal((char *)data, text); /* there is a NUL behind */
    free(data);
}

static int count_entries(const char *path) {
    char **names;
    size_t count;
    assert_int_equal(gd_io_get()->list(path, &names, &count), 0);
    gd_io_free_names(names, count);
    return (int)count;
}

static void expect_refused(gd_status got, gd_status want, const char *says) {
    assert_int_equal(got, want);
    if (!strstr(gd_error_message(), says)) fail_msg("'%s' does not say '%s'", gd_error_message(), says);
}

static void reading_refuses_what_is_no_file(void **state) {
    (void)state;
    void *data = NULL;
    size_t bytes = 0;
    int fd = -1;
    uint64_t size = 0;
    expect_refused(gd_file_read(in_root("none"), 10, &data, &bytes), GD_NOINPUT, "none: does not exist");
    expect_refused(gd_file_read(root, 10, &data, &bytes), GD_NOINPUT, "is a folder; expected a regular file");
    assert_int_equal(mkfifo(in_root("pipe"), 0666), 0);
    alarm(5); /* blocking on the FIFO is the failure here */
    expect_refused(gd_file_read(in_root("pipe"), 10, &data, &bytes), GD_NOINPUT, "is a FIFO");
    expect_refused(gd_file_open(in_root("pipe"), &fd, &size), GD_NOINPUT, "is a FIFO");
    alarm(0);
    expect_refused(gd_file_read("/dev/zero", 10, &data, &bytes), GD_NOINPUT, "is a character device");
    assert_int_equal(symlink("loop", in_root("loop")), 0);
    expect_refused(gd_file_read(in_root("loop"), 10, &data, &bytes), GD_NOINPUT, "cannot be opened");
    assert_int_equal(gd_file_write(in_root("big"), "01234567890", 11), GD_OK);
    expect_refused(gd_file_read(in_root("big"), 10, &data, &bytes), GD_DATA, "has 11 B; expected at most 10 B");
    expect_refused(gd_file_read(in_root("big/x"), 10, &data, &bytes), GD_NOINPUT, "cannot be opened");
    assert_int_equal(gd_file_write(in_root("empty"), "", 0), GD_OK);
    expect_content(in_root("empty"), "");
    assert_null(data);
    if (geteuid() != 0) {
        assert_int_equal(chmod(in_root("big"), 0), 0);
        expect_refused(gd_file_read(in_root("big"), 100, &data, &bytes), GD_NOINPUT, "is not readable");
    }
    faulty_start((faulty){.at = 0, .error = EACCES, .kinds = 1 << CALL_OPEN});
    expect_refused(gd_file_read(in_root("big"), 100, &data, &bytes), GD_NOINPUT, "is not readable for this user");
    faulty_start((faulty){.at = 0, .error = EIO, .kinds = 1 << CALL_PREAD});
    expect_refused(gd_file_read(in_root("big"), 100, &data, &bytes), GD_IO, "reading at byte 0 failed");
    faulty_stop();
}

static void a_file_that_ends_early_is_noticed(void **state) {
    (void)state;
    int fd = -1;
    uint64_t size = 0;
    char buf[16];
    assert_int_equal(gd_file_write(in_root("f"), "0123456789", 10), GD_OK);
    assert_int_equal(gd_file_open(in_root("f"), &fd, &size), GD_OK);
    assert_int_equal(size, 10);
    assert_int_equal(gd_file_pread(fd, "f", buf, 4, 6), GD_OK);
    assert_memory_equal(buf, "6789", 4);
    expect_refused(gd_file_pread(fd, "f", buf, 5, 6), GD_DATA, "f: ends at byte 10; expected 1 more bytes");
    expect_refused(gd_file_pread(fd, "f", buf, 1, 1000), GD_DATA, "ends at byte 1000");
    close(fd);
}

static void interrupted_and_short_calls_go_on(void **state) {
    (void)state;
    char text[1000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    text[sizeof text - 1] = '\0';
    faulty_start((faulty){.at = -1, .interrupt = true, .at_most = 7});
    assert_int_equal(gd_file_write(in_root("f"), text, strlen(text)), GD_OK);
    assert_int_equal(gd_file_append(in_root("f"), "tail", 4), GD_OK);
    void *data = NULL;
    size_t bytes = 0;
    assert_int_equal(gd_file_read(in_root("f"), 2000, &data, &bytes), GD_OK);
    assert_true(faulty_stop() > 250); /* 999 bytes by sevens, twice */
    assert_int_equal(bytes, 1003);
    assert_memory_equal(data, text, strlen(text));
    assert_string_equal((char *)data + 999, "tail");
    free(data);
}

static void a_write_that_takes_nothing_is_no_endless_loop(void **state) {
    (void)state;
    alarm(5);
    assert_int_equal(gd_file_write(in_root("f"), "old", 3), GD_OK);
    faulty_start((faulty){.at = 0, .error = ENOSPC, .sticky = true, .kinds = 1 << CALL_WRITE});
    expect_refused(gd_file_write(in_root("f"), "new", 3), GD_IO,
                   "writing failed after 0 of 3 bytes (No space left on device)");
    faulty_stop();
    alarm(0);
    expect_content(in_root("f"), "old");
}

/* Every call of gd_file_write fails once: old or new content, no temporary file, right status. */
static void writing_leaves_old_or_new(void **state) {
    (void)state;
    static const int errors[] = {EIO, ENOSPC, EROFS};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        int failures = 0;
        for (int at = 0;; at++) {
            assert_int_equal(gd_file_write(in_root("f"), "old", 3), GD_OK);
            faulty_start((faulty){.at = at, .error = errors[e], .at_most = 2});
            gd_status st = gd_file_write(in_root("f"), "newer", 5);
            int calls = faulty_stop();
            if (at >= calls) {
                assert_int_equal(st, GD_OK);
                break;
            }
            assert_int_equal(faulty_hits, 1);
            void *data = NULL;
            size_t bytes = 0;
            assert_int_equal(gd_file_read(in_root("f"), 100, &data, &bytes), GD_OK);
            assert_true(strcmp(data, "old") == 0 || strcmp(data, "newer") == 0);
            assert_true(st != GD_OK || strcmp(data, "newer") == 0);
            assert_true(st == GD_OK || st == GD_IO || st == GD_CANTCREAT);
            free(data);
            assert_int_equal(count_entries(root), 1);
            failures += st != GD_OK;
        }
        assert_true(failures >= 8); /* open, 3 writes, fsync, close, rename, and the folder's open and fsync */
    }
    expect_refused(gd_file_write(in_root("no/such/f"), "x", 1), GD_CANTCREAT, "check that its folder exists");
}

static void temporary_names_of_others_are_left_alone(void **state) {
    (void)state;
    faulty_start((faulty){.at = 0, .error = EEXIST, .kinds = 1 << CALL_OPEN});
    assert_int_equal(gd_file_write(in_root("f"), "x", 1), GD_OK);
    faulty_start((faulty){.at = 0, .error = EEXIST, .sticky = true, .kinds = 1 << CALL_OPEN});
    expect_refused(gd_file_write(in_root("f"), "y", 1), GD_CANTCREAT, "all temporary names beside it are taken");
    faulty_stop();
    expect_content(in_root("f"), "x");
}

static void appending_leaves_no_torn_record(void **state) {
    (void)state;
    assert_int_equal(gd_file_append(in_root("log"), "one\n", 4), GD_OK);
    assert_int_equal(gd_file_append(in_root("log"), "two\n", 4), GD_OK);
    expect_content(in_root("log"), "one\ntwo\n");
    faulty_start((faulty){.at = 1, .error = ENOSPC, .at_most = 2, .kinds = 1 << CALL_WRITE});
    expect_refused(gd_file_append(in_root("log"), "three\n", 6), GD_IO, "after 2 of 6 bytes");
    faulty_stop();
    expect_content(in_root("log"), "one\ntwo\n");
    expect_refused(gd_file_append(root, "x", 1), GD_CANTCREAT, "cannot be created");
    assert_int_equal(mkfifo(in_root("pipe"), 0666), 0);
    alarm(5);
    expect_refused(gd_file_append(in_root("pipe"), "x", 1), GD_CANTCREAT, "pipe");
    alarm(0);
}

static void folders_are_made_listed_removed(void **state) {
    (void)state;
    assert_int_equal(gd_dir_make(in_root("a/b//c/")), GD_OK);
    assert_int_equal(gd_dir_make(in_root("a/b/c")), GD_OK); /* existing is fine */
    assert_true(gd_path_is_dir(in_root("a/b/c")));
    assert_int_equal(gd_file_write(in_root("a/f"), "x", 1), GD_OK);
    assert_true(gd_path_exists(in_root("a/f")) && !gd_path_is_dir(in_root("a/f")));
    expect_refused(gd_dir_make(in_root("a/f")), GD_CANTCREAT, "exists and is no folder");
    expect_refused(gd_dir_make(in_root("a/f/g")), GD_CANTCREAT, "cannot be created");
    expect_refused(gd_dir_make(""), GD_CANTCREAT, "empty name");
    assert_int_equal(gd_file_write(in_root("keep"), "x", 1), GD_OK);
    assert_int_equal(symlink("../keep", in_root("a/link")), 0);
    assert_int_equal(symlink("..", in_root("a/up")), 0); /* never followed */
    assert_int_equal(gd_file_write(in_root("a/B"), "x", 1), GD_OK);
    char **names;
    size_t count;
    assert_int_equal(gd_io_get()->list(in_root("a"), &names, &count), 0);
    assert_int_equal(count, 5);
    static const char *const sorted[] = {"B", "b", "f", "link", "up"}; /* bytewise */
    for (size_t i = 0; i < count; i++) assert_string_equal(names[i], sorted[i]);
    gd_io_free_names(names, count);
    assert_int_equal(gd_dir_sync(in_root("a")), GD_OK);
    assert_int_equal(gd_dir_remove(in_root("a")), GD_OK);
    assert_int_equal(gd_dir_remove(in_root("a")), GD_OK); /* missing is fine */
    assert_false(gd_path_exists(in_root("a")));
    expect_content(in_root("keep"), "x");
    expect_refused(gd_dir_sync(in_root("a")), GD_IO, "the folder cannot be opened");
    faulty_start((faulty){.at = 0, .error = EINVAL, .kinds = 1 << CALL_FSYNC}); /* no such thing here */
    assert_int_equal(gd_dir_sync(root), GD_OK);
    faulty_start((faulty){.at = 0, .error = EIO, .kinds = 1 << CALL_FSYNC});
    expect_refused(gd_dir_sync(root), GD_IO, "fsync of the folder failed");
    faulty_stop();
}

static void removing_reports_every_failure(void **state) {
    (void)state;
    for (int at = 0;; at++) {
        assert_int_equal(gd_dir_make(in_root("a/b")), GD_OK);
        assert_int_equal(gd_file_write(in_root("a/b/f"), "x", 1), GD_OK);
        faulty_start((faulty){.at = at, .error = EIO});
        gd_status st = gd_dir_remove(in_root("a"));
        int calls = faulty_stop();
        assert_int_equal(st, at < calls ? GD_IO : GD_OK);
        if (at >= calls) break;
    }
}

static void rename_noreplace_replaces_nothing(void **state) {
    (void)state;
    const gd_io *io = gd_io_system();
    assert_int_equal(gd_dir_make(in_root("from")), GD_OK);
    assert_int_equal(gd_dir_make(in_root("to")), GD_OK);
    assert_int_equal(io->rename_noreplace(in_root("from"), in_root("to")), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(io->rename_noreplace(in_root("from"), in_root("new")), 0);
    assert_true(gd_path_is_dir(in_root("new")) && !gd_path_exists(in_root("from")));
    assert_int_equal(io->rename_noreplace(in_root("from"), in_root("x")), -1);
    assert_int_equal(errno, ENOENT);
}

static void paths_are_joined(void **state) {
    (void)state;
    static const struct {
        const char *folder, *name, *joined;
    } cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *joined = gd_path_join(cases[i].folder, cases[i].name);
        assert_string_equal(joined, cases[i].joined);
        free(joined);
    }
    assert_int_equal(chdir(root), 0);
    assert_int_equal(gd_file_write("bare", "x", 1), GD_OK); /* its folder is "." */
    expect_content("bare", "x");
    assert_true(gd_io_get()->free_bytes(".") > 0);
    assert_int_equal(gd_io_get()->free_bytes("none"), -1);
    assert_int_equal(chdir("/"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_folder, remove_folder)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reading_refuses_what_is_no_file),
        TEST(a_file_that_ends_early_is_noticed),
        TEST(interrupted_and_short_calls_go_on),
        TEST(a_write_that_takes_nothing_is_no_endless_loop),
        TEST(writing_leaves_old_or_new),
        TEST(temporary_names_of_others_are_left_alone),
        TEST(appending_leaves_no_torn_record),
        TEST(folders_are_made_listed_removed),
        TEST(removing_reports_every_failure),
        TEST(rename_noreplace_replaces_nothing),
        TEST(paths_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
