/* base/io.c -- the table of system calls in use. What is built on it is in io_file.c and io_dir.c. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int sys_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

/* For file systems without RENAME_NOREPLACE (NFS, some FUSE ones). link() does not replace either.
 * A folder cannot be linked; rename() replaces only an empty one, so what is lost in a race between
 * the check and the rename is an empty folder at most. */
static int rename_by_check(const char *from, const char *to) {
    struct stat st;
    if (lstat(from, &st) != 0) return -1;
    if (!S_ISDIR(st.st_mode)) return link(from, to) != 0 ? -1 : unlink(from);
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    if (errno != ENOENT) return -1;
    if (rename(from, to) == 0) return 0;
    if (errno == ENOTEMPTY) errno = EEXIST;
    return -1;
}

static int sys_rename_noreplace(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) return rename_by_check(from, to);
    return -1;
}

static int64_t sys_free_bytes(const char *path) {
    struct statvfs st;
    if (statvfs(path, &st) != 0) return -1;
    unsigned __int128 bytes = (unsigned __int128)st.f_bavail * st.f_frsize;
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Appends a copy of name. false: no memory. */
static bool push_name(char ***names, size_t *count, size_t *room, const char *name) {
    if (*count == *room) {
        size_t grown = *room ? 2 * *room : 16;
        char **p = realloc(*names, grown * sizeof *p);
        if (!p) return false;
        *names = p;
        *room = grown;
    }
    char *copy = strdup(name);
    if (!copy) return false;
    (*names)[(*count)++] = copy;
    return true;
}

static int sys_list(const char *path, char ***names, size_t *count) {
    char **all = NULL;
    size_t n = 0, room = 0;
    DIR *dir = opendir(path);
    if (!dir) return -1;
    int error = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            error = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!push_name(&all, &n, &room, entry->d_name)) {
            error = ENOMEM;
            break;
        }
    }
    closedir(dir);
    if (error) {
        gd_io_free_names(all, n);
        errno = error;
        return -1;
    }
    if (n) qsort(all, n, sizeof *all, compare_names);
    *names = all;
    *count = n;
    return 0;
}

static const gd_io system_table = {
    .open = sys_open,
    .close = close,
    .read = read,
    .pread = pread,
    .write = write,
    .fsync = fsync,
    .fstat = fstat,
    .stat = stat,
    .lstat = lstat,
    .mkdir = mkdir,
    .rename_noreplace = sys_rename_noreplace,
    .rename = rename,
    .unlink = unlink,
    .rmdir = rmdir,
    .ftruncate = ftruncate,
    .free_bytes = sys_free_bytes,
    .list = sys_list,
};
static const gd_io *table = &system_table;

const gd_io *gd_io_system(void) { return &system_table; }
const gd_io *gd_io_get(void) { return table; }
void gd_io_set(const gd_io *t) { table = t ? t : &system_table; }

void gd_io_free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}
