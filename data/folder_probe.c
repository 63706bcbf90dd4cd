/* data/folder_probe.c -- looks at the header of every picture file, several files at a time.
 *
 * A file costs one open, two short reads and one close. */
#include <stdlib.h>

#include "base/io.h"
#include "data/folder.h"
#include "data/image_internal.h"

typedef struct probe {
    const char *root;
    gd__file *files;
} probe;

/* *path: owner: caller, NULL after errors. */
static gd_status open_file(const char *root, const gd__file *f, char **path, int *fd, uint64_t *size) {
    *path = gd_path_join(root, f->name);
    if (!*path) GD_FAIL(NOMEM, "%s: no memory for a file name", root);
    gd_status st = gd_file_open(*path, fd, size);
    if (st == GD_OK) return GD_OK;
    free(*path);
    *path = NULL;
    return gd_trace(st, __FILE__, __LINE__);
}

gd_status gd__folder_decode(const char *root, const gd__file *f, gd_image *out) {
    char *path;
    void *bytes = NULL;
    int fd;
    uint64_t size;
    gd_status st;
    GD_TRY(open_file(root, f, &path, &fd, &size));
    GD_TRY_TO(done, gd__span_read(fd, path, 0, size, &bytes));
    GD_TRY_TO(done, gd_image_decode(path, bytes, (size_t)size, 0, out));
done:
    gd_io_get()->close(fd);
    free(bytes);
    free(path);
    return st;
}

static gd_status probe_file(void *arg, size_t i) {
    const probe *p = arg;
    gd__file *f = &p->files[i];
    gd__image_info info;
    char *path;
    int fd;
    uint64_t size;
    GD_TRY(open_file(p->root, f, &path, &fd, &size));
    gd_status st = gd__span_probe(fd, path, 0, size, &info);
    gd_io_get()->close(fd);
    free(path);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    f->height = info.height;
    f->width = info.width;
    f->channels = info.channels;
    return GD_OK;
}

gd_status gd__folder_probe(const char *root, gd__file_list *list) {
    probe p = {.root = root, .files = list->files};
    GD_TRY(gd__check_all(root, list->count, probe_file, &p));
    return GD_OK;
}
