/* base/io_dir.c -- folders and paths over the table of io.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io_internal.h"

char *gd_path_join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    char *out = NULL;
    const char *between = n == 0 || folder[n - 1] == '/' ? "" : "/";
    return asprintf(&out, "%s%s%s", folder, between, name) < 0 ? NULL : out;
}

char *gd__path_parent(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    if (n == 0) return strdup(".");
    while (n > 1 && path[n - 1] == '/') n--;
    return strndup(path, n);
}

bool gd_path_exists(const char *path) {
    struct stat st;
    return gd_io_get()->stat(path, &st) == 0;
}

bool gd_path_is_dir(const char *path) {
    struct stat st;
    return gd_io_get()->stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* One level. Another process may make it at the same time. */
static gd_status make_one(const char *path, const char *whole) {
    if (gd_io_get()->mkdir(path, 0777) == 0) return GD_OK;
    int error = errno;
    if (gd_path_is_dir(path)) return GD_OK; /* also where mkdir answers EROFS or EACCES before EEXIST */
    if (error == EEXIST) GD_FAIL(CANTCREAT, "%s: cannot be created: %s exists and is no folder", whole, path);
    GD_FAIL(CANTCREAT, "%s: cannot be created: mkdir %s failed (%s); check that its parent is writable", whole, path,
            strerror(error));
}

gd_status gd_dir_make(const char *path) {
    if (*path == '\0') GD_FAIL(CANTCREAT, "a folder with an empty name cannot be created; give a path");
    if (gd_path_is_dir(path)) return GD_OK;
    char *part = strdup(path);
    if (!part) GD_FAIL(NOMEM, "%s: no memory for its name", path);
    gd_status st = GD_OK;
    for (char *p = part + 1; *p; p++) {
        if (*p != '/' || p[-1] == '/') continue;
        *p = '\0';
        GD_TRY_TO(done, make_one(part, path));
        *p = '/';
    }
    GD_TRY_TO(done, make_one(part, path));
done:
    free(part);
    return st;
}

gd_status gd_dir_sync(const char *path) {
    const gd_io *io = gd_io_get();
    int fd;
    do fd = io->open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) GD_FAIL(IO, "%s: the folder cannot be opened for fsync (%s)", path, strerror(errno));
    /* EINVAL: this file system has no fsync of folders (some FUSE ones); it orders renames itself. */
    int error = io->fsync(fd) != 0 ? errno : 0;
    io->close(fd);
    if (error && error != EINVAL) GD_FAIL(IO, "%s: fsync of the folder failed (%s)", path, strerror(error));
    return GD_OK;
}

/* ---- removal ---- */

static gd_status remove_any(const char *path, int depth);

static gd_status remove_below(const char *path, int depth) {
    char **names = NULL;
    size_t count = 0;
    if (gd_io_get()->list(path, &names, &count) != 0) {
        if (errno == ENOENT) return GD_OK;
        GD_FAIL(IO, "%s: cannot be listed (%s)", path, strerror(errno));
    }
    gd_status st = GD_OK;
    for (size_t i = 0; i < count && st == GD_OK; i++) {
        char *child = gd_path_join(path, names[i]);
        if (!child) GD_FAIL_TO(done, NOMEM, "%s: no memory for a name in it", path);
        st = remove_any(child, depth + 1);
        free(child);
    }
done:
    gd_io_free_names(names, count);
    return st;
}

static gd_status remove_any(const char *path, int depth) {
    enum { DEEPEST = 64 };
    const gd_io *io = gd_io_get();
    struct stat st;
    if (io->lstat(path, &st) != 0) { /* lstat: links are removed, never followed */
        if (errno == ENOENT) return GD_OK;
        GD_FAIL(IO, "%s: cannot be looked at (%s)", path, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        if (io->unlink(path) != 0 && errno != ENOENT) GD_FAIL(IO, "%s: cannot be removed (%s)", path, strerror(errno));
        return GD_OK;
    }
    if (depth == DEEPEST) GD_FAIL(IO, "%s: more than %d folders deep; not removed", path, DEEPEST);
    GD_TRY(remove_below(path, depth));
    if (io->rmdir(path) != 0 && errno != ENOENT) GD_FAIL(IO, "%s: cannot be removed (%s)", path, strerror(errno));
    return GD_OK;
}

gd_status gd_dir_remove(const char *path) { return remove_any(path, 0); }
