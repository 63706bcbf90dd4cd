/* data/names.c -- what lies in a folder. None of it answers "not there" for want of memory. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "data/folder.h"

/* A path that does not fit cannot be opened either. */
static bool below(const char *folder, const char *name, char out[PATH_MAX]) {
    const size_t n = strlen(folder);
    const char *between = n == 0 || folder[n - 1] == '/' ? "" : "/";
    return snprintf(out, PATH_MAX, "%s%s%s", folder, between, name) < PATH_MAX;
}

bool gd__has(const char *folder, const char *name) {
    char path[PATH_MAX];
    return below(folder, name, path) && gd_path_exists(path);
}

bool gd__has_folder(const char *folder, const char *name) {
    char path[PATH_MAX];
    return below(folder, name, path) && gd_path_is_dir(path);
}

gd_status gd__folder_names(const char *path, char ***names, size_t *count) {
    if (gd_io_get()->list(path, names, count) == 0) return GD_OK;
    if (errno == ENOMEM) GD_FAIL(NOMEM, "%s: no memory for the names in it", path);
    GD_FAIL(DATA, "%s: the folder cannot be read (%s); check its permissions", path, strerror(errno));
}
