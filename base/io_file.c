/* base/io_file.c -- whole files over the table of io.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io_internal.h"
#include "base/text.h"

enum { AT_ONCE = 1 << 30 }; /* one read or write call moves less than 2 GiB on Linux */

/* ---- reading ---- */

static const char *kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a FIFO (named pipe)";
    case S_IFCHR: return "a character device";
    case S_IFBLK: return "a block device";
    case S_IFSOCK: return "a socket";
    default: return "no regular file";
    }
}

/* What is wrong with the path itself is NOINPUT, what is wrong with the machine is IO. */
static gd_status cannot_open(const char *path, int error) {
    switch (error) {
    case ENOENT: GD_FAIL(NOINPUT, "%s: does not exist; check the path", path);
    case EACCES:
    case EPERM:
        GD_FAIL(NOINPUT, "%s: is not readable for this user (%s); check its permissions", path, strerror(error));
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG: GD_FAIL(NOINPUT, "%s: cannot be opened (%s); check the path", path, strerror(error));
    default: GD_FAIL(IO, "%s: cannot be opened for reading (%s)", path, strerror(error));
    }
}

static gd_status refuse_kind(const char *path, mode_t mode) {
    if (S_ISREG(mode)) return GD_OK;
    GD_FAIL(NOINPUT, "%s: is %s; expected a regular file", path, kind_of(mode));
}

gd_status gd_file_open(const char *path, int *fd, uint64_t *size) {
    const gd_io *io = gd_io_get();
    struct stat st;
    /* Opening a device can already do something to it, so the kind is looked at first. */
    if (io->stat(path, &st) != 0) return cannot_open(path, errno);
    GD_TRY(refuse_kind(path, st.st_mode));
    int opened;
    do opened = io->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    while (opened < 0 && errno == EINTR);
    if (opened < 0) return cannot_open(path, errno);
    gd_status bad = GD_OK; /* and again: the name may mean something else by now */
    if (io->fstat(opened, &st) != 0) bad = cannot_open(path, errno);
    else bad = refuse_kind(path, st.st_mode);
    if (bad != GD_OK) {
        io->close(opened);
        return bad;
    }
    *fd = opened;
    *size = (uint64_t)st.st_size;
    return GD_OK;
}

gd_status gd_file_pread(int fd, const char *path, void *buf, size_t n, uint64_t at) {
    const gd_io *io = gd_io_get();
    for (size_t done = 0; done < n;) {
        size_t want = n - done < AT_ONCE ? n - done : AT_ONCE;
        ssize_t got = io->pread(fd, (char *)buf + done, want, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            GD_FAIL(IO, "%s: reading at byte %llu failed (%s)", path, (unsigned long long)(at + done), strerror(errno));
        if (got == 0)
            GD_FAIL(DATA, "%s: ends at byte %llu; expected %llu more bytes there: the file is cut off", path,
                    (unsigned long long)(at + done), (unsigned long long)(n - done));
        done += (size_t)got;
    }
    return GD_OK;
}

void gd_file_has_written(int fd, uint64_t at, uint64_t bytes) {
    (void)sync_file_range(fd, (off_t)at, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
}

gd_status gd_file_read(const char *path, size_t limit, void **out, size_t *bytes) {
    int fd = -1;
    uint64_t size = 0;
    char *buf = NULL;
    gd_status st = GD_OK;
    GD_TRY(gd_file_open(path, &fd, &size));
    if (size > limit) {
        char have[32], most[32];
        gd_text_bytes(size, have, sizeof have);
        gd_text_bytes(limit, most, sizeof most);
        GD_FAIL_TO(close, DATA, "%s: has %s; expected at most %s", path, have, most);
    }
    buf = size < SIZE_MAX ? malloc((size_t)size + 1) : NULL;
    if (!buf) GD_FAIL_TO(close, NOMEM, "%s: no memory for its %llu bytes", path, (unsigned long long)size);
    GD_TRY_TO(close, gd_file_pread(fd, path, buf, (size_t)size, 0));
    buf[size] = '\0';
    *out = buf;
    *bytes = (size_t)size;
    buf = NULL;
close:
    free(buf);
    gd_io_get()->close(fd);
    return st;
}

/* ---- writing ---- */

static gd_status cannot_create(const char *path, int error) {
    if (error == ENOSPC || error == EDQUOT)
        GD_FAIL(CANTCREAT, "%s: cannot be created (%s); free space or choose another folder", path, strerror(error));
    GD_FAIL(CANTCREAT, "%s: cannot be created (%s); check that its folder exists and is writable", path,
            strerror(error));
}

gd_status gd_file_write_fd(int fd, const char *path, const void *buf, size_t n) {
    const gd_io *io = gd_io_get();
    for (size_t done = 0; done < n;) {
        size_t want = n - done < AT_ONCE ? n - done : AT_ONCE;
        ssize_t put = io->write(fd, (const char *)buf + done, want);
        if (put < 0 && errno == EINTR) continue;
        if (put == 0) errno = ENOSPC; /* a regular file takes at least one byte, or has no room */
        if (put <= 0) GD_FAIL(IO, "%s: writing failed after %zu of %zu bytes (%s)", path, done, n, strerror(errno));
        done += (size_t)put;
    }
    return GD_OK;
}

gd_status gd__close(int fd, const char *path) {
    /* Linux has closed the descriptor even when it answers EINTR: never close twice. */
    if (gd_io_get()->close(fd) != 0 && errno != EINTR)
        GD_FAIL(IO, "%s: closing failed, what was written may be lost (%s)", path, strerror(errno));
    return GD_OK;
}

static int open_writing(const char *path, int flags) {
    int fd;
    do fd = gd_io_get()->open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* A name beside path that no other process uses. *name: owner caller. */
static gd_status open_temporary(const char *path, char **name, int *fd) {
    static atomic_uint serial;
    enum { TRIES = 100 }; /* other hosts on a shared folder may have our process number */
    for (int i = 0; i < TRIES; i++) {
        unsigned mine = atomic_fetch_add(&serial, 1);
        if (asprintf(name, "%s.tmp-%ld-%u", path, (long)getpid(), mine) < 0) {
            *name = NULL;
            GD_FAIL(NOMEM, "%s: no memory for a temporary name", path);
        }
        *fd = open_writing(*name, O_EXCL);
        if (*fd >= 0) return GD_OK;
        int error = errno;
        free(*name);
        *name = NULL;
        if (error != EEXIST) return cannot_create(path, error);
    }
    GD_FAIL(CANTCREAT, "%s: all temporary names beside it are taken; remove %s.tmp-*", path, path);
}

static gd_status sync_fd(int fd, const char *path) {
    if (gd_io_get()->fsync(fd) != 0)
        GD_FAIL(IO, "%s: fsync failed, what was written may be lost (%s)", path, strerror(errno));
    return GD_OK;
}

gd_status gd_file_write(const char *path, const void *buf, size_t bytes) {
    const gd_io *io = gd_io_get();
    char *name = NULL;
    int fd = -1;
    gd_status st = GD_OK;
    char *parent = gd__path_parent(path);
    if (!parent) GD_FAIL(NOMEM, "%s: no memory for its folder's name", path);
    GD_TRY_TO(done, open_temporary(path, &name, &fd));
    GD_TRY_TO(close, gd_file_write_fd(fd, path, buf, bytes));
    GD_TRY_TO(close, sync_fd(fd, path));
    st = gd__close(fd, path);
    fd = -1;
    if (st != GD_OK) goto close;
    if (io->rename(name, path) != 0) {
        st = cannot_create(path, errno);
        goto close;
    }
    free(name); /* it is path now */
    name = NULL;
    GD_TRY_TO(close, gd_dir_sync(parent));
close:
    if (fd >= 0) io->close(fd);
    if (name) io->unlink(name);
done:
    free(name);
    free(parent);
    return st;
}

gd_status gd_file_append(const char *path, const void *buf, size_t bytes) {
    const gd_io *io = gd_io_get();
    struct stat st_file;
    gd_status st = GD_OK;
    int fd = open_writing(path, O_APPEND);
    if (fd < 0) return cannot_create(path, errno);
    if (io->fstat(fd, &st_file) != 0) GD_FAIL_TO(close, IO, "%s: fstat failed (%s)", path, strerror(errno));
    if (!S_ISREG(st_file.st_mode))
        GD_FAIL_TO(close, CANTCREAT, "%s: is %s; expected a regular file", path, kind_of(st_file.st_mode));
    st = gd_file_write_fd(fd, path, buf, bytes);
    if (st != GD_OK) { /* no torn record stays behind; if this fails too, the first error counts */
        int ignored = io->ftruncate(fd, st_file.st_size);
        (void)ignored;
        goto close;
    }
    st = gd__close(fd, path);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
close:
    io->close(fd);
    return st;
}
