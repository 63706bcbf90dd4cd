/* A file table (base/io.h) that fails, shortens or interrupts chosen calls, over the real one.
 *
 *     faulty_start((faulty){.at = 7, .error = EIO});  // the 7th call (from 0) fails, the others work
 *     ... code under test ...
 *     int calls = faulty_stop();                      // how many calls there were; real table again
 *
 * Closing always closes, also when it fails: no descriptor leaks into the next case. */
#ifndef GANDIST_TESTS_FAULTY_IO_H
#define GANDIST_TESTS_FAULTY_IO_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/io.h"

typedef enum faulty_call {
    CALL_OPEN, CALL_CLOSE, CALL_READ, CALL_PREAD, CALL_WRITE, CALL_FSYNC, CALL_FSTAT, CALL_STAT, CALL_LSTAT,
    CALL_MKDIR, CALL_RENAME_NOREPLACE, CALL_RENAME, CALL_UNLINK, CALL_RMDIR, CALL_FTRUNCATE, CALL_FREE_BYTES, CALL_LIST,
    CALL_KINDS
} faulty_call;

typedef struct faulty {
    int at;             /* index of the call that fails; -1: none                                  */
    int error;          /* errno of it; 0: it works                                                */
    bool sticky;        /* all later calls fail too (of the kinds in `kinds`): a disk that is gone  */
    uint32_t kinds;     /* bit mask of 1 << faulty_call; only these are counted and fail; 0: all    */
    bool interrupt;     /* every other open, read, pread and write answers EINTR first              */
    size_t at_most;     /* reads and writes move at most so many bytes; 0: no limit                 */
    int64_t free_bytes; /* what free_bytes answers; 0: the truth                                    */
} faulty;

static faulty faulty_plan;
static int faulty_calls, faulty_hits, faulty_toggle;

/* True: this call fails now, errno is set. */
static bool faulty_now(faulty_call kind) {
    if (faulty_plan.kinds && !(faulty_plan.kinds >> kind & 1)) return false;
    int index = faulty_calls++;
    bool hit = faulty_plan.at >= 0 && faulty_plan.error && (index == faulty_plan.at || (faulty_plan.sticky && index > faulty_plan.at));
    if (!hit) return false;
    faulty_hits++;
    errno = faulty_plan.error;
    return true;
}

static bool faulty_eintr(void) {
    if (!faulty_plan.interrupt || (++faulty_toggle & 1) == 0) return false;
    errno = EINTR;
    return true;
}

static size_t faulty_part(size_t n) { return faulty_plan.at_most && n > faulty_plan.at_most ? faulty_plan.at_most : n; }

static int faulty_open(const char *path, int flags, mode_t mode) {
    return faulty_eintr() || faulty_now(CALL_OPEN) ? -1 : gd_io_system()->open(path, flags, mode);
}
static int faulty_close(int fd) {
    bool fails = faulty_now(CALL_CLOSE);
    int error = errno, result = gd_io_system()->close(fd);
    if (!fails) return result;
    errno = error;
    return -1;
}
static ssize_t faulty_read(int fd, void *buf, size_t n) {
    return faulty_eintr() || faulty_now(CALL_READ) ? -1 : gd_io_system()->read(fd, buf, faulty_part(n));
}
static ssize_t faulty_pread(int fd, void *buf, size_t n, off_t at) {
    return faulty_eintr() || faulty_now(CALL_PREAD) ? -1 : gd_io_system()->pread(fd, buf, faulty_part(n), at);
}
static ssize_t faulty_write(int fd, const void *buf, size_t n) {
    return faulty_eintr() || faulty_now(CALL_WRITE) ? -1 : gd_io_system()->write(fd, buf, faulty_part(n));
}
/* Really waiting for the disk would only make the tests slow: no power is cut here. */
static int faulty_fsync(int fd) {
    (void)fd;
    return faulty_now(CALL_FSYNC) ? -1 : 0;
}
static int faulty_fstat(int fd, struct stat *st) { return faulty_now(CALL_FSTAT) ? -1 : gd_io_system()->fstat(fd, st); }
static int faulty_stat(const char *path, struct stat *st) { return faulty_now(CALL_STAT) ? -1 : gd_io_system()->stat(path, st); }
static int faulty_lstat(const char *path, struct stat *st) { return faulty_now(CALL_LSTAT) ? -1 : gd_io_system()->lstat(path, st); }
static int faulty_mkdir(const char *path, mode_t mode) { return faulty_now(CALL_MKDIR) ? -1 : gd_io_system()->mkdir(path, mode); }
static int faulty_rename_noreplace(const char *from, const char *to) {
    return faulty_now(CALL_RENAME_NOREPLACE) ? -1 : gd_io_system()->rename_noreplace(from, to);
}
static int faulty_rename(const char *from, const char *to) { return faulty_now(CALL_RENAME) ? -1 : gd_io_system()->rename(from, to); }
static int faulty_unlink(const char *path) { return faulty_now(CALL_UNLINK) ? -1 : gd_io_system()->unlink(path); }
static int faulty_rmdir(const char *path) { return faulty_now(CALL_RMDIR) ? -1 : gd_io_system()->rmdir(path); }
static int faulty_ftruncate(int fd, off_t n) { return faulty_now(CALL_FTRUNCATE) ? -1 : gd_io_system()->ftruncate(fd, n); }
static int64_t faulty_free_bytes(const char *path) {
    if (faulty_now(CALL_FREE_BYTES)) return -1;
    return faulty_plan.free_bytes ? faulty_plan.free_bytes : gd_io_system()->free_bytes(path);
}
static int faulty_list(const char *path, char ***names, size_t *count) {
    return faulty_now(CALL_LIST) ? -1 : gd_io_system()->list(path, names, count);
}

static void faulty_start(faulty plan) {
    static const gd_io table = {
        .open = faulty_open, .close = faulty_close, .read = faulty_read, .pread = faulty_pread, .write = faulty_write,
        .fsync = faulty_fsync, .fstat = faulty_fstat, .stat = faulty_stat, .lstat = faulty_lstat, .mkdir = faulty_mkdir,
        .rename_noreplace = faulty_rename_noreplace, .rename = faulty_rename, .unlink = faulty_unlink, .rmdir = faulty_rmdir,
        .ftruncate = faulty_ftruncate, .free_bytes = faulty_free_bytes, .list = faulty_list,
    };
    faulty_plan = plan;
    faulty_calls = faulty_hits = faulty_toggle = 0;
    gd_io_set(&table);
}

static int faulty_stop(void) {
    gd_io_set(NULL);
    return faulty_calls;
}

#endif
