/* data/output.c -- a file that is written piece by piece and appears when it is whole. */
#include "data/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

gd_status gd__output_open(const char *path, gd__output *out) {
    gd_status st;
    *out = (gd__output){.fd = -1};
    if (gd_path_exists(path)) GD_FAIL(CANTCREAT, "%s: is there already; remove it, or choose another name", path);
    out->path = strdup(path);
    if (!out->path || asprintf(&out->partial, "%s.partial", path) < 0) {
        out->partial = NULL;
        GD_FAIL_TO(fail, NOMEM, "%s: no memory for a file name", path);
    }
    out->fd = gd_io_get()->open(out->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0) GD_FAIL_TO(fail, CANTCREAT, "%s: cannot be created (%s)", out->partial, strerror(errno));
    return GD_OK;
fail:
    free(out->path);
    free(out->partial);
    *out = (gd__output){.fd = -1};
    return st;
}

gd_status gd__output_put(gd__output *o, const void *bytes, size_t n) {
    GD_TRY(gd_file_write_fd(o->fd, o->partial, bytes, n));
    return GD_OK;
}

gd_status gd__output_commit(gd__output *o) {
    if (gd_io_get()->fsync(o->fd) != 0)
        GD_FAIL(IO, "%s: cannot be written to the disk (%s)", o->partial, strerror(errno));
    if (gd_io_get()->rename_noreplace(o->partial, o->path) != 0)
        GD_FAIL(CANTCREAT, "%s: cannot be created (%s)", o->path, strerror(errno));
    free(o->partial); /* nothing to take away any more */
    o->partial = NULL;
    return GD_OK;
}

void gd__output_close(gd__output *o) {
    if (o->fd >= 0) gd_io_get()->close(o->fd);
    if (o->partial) gd_io_get()->unlink(o->partial);
    free(o->path);
    free(o->partial);
    *o = (gd__output){.fd = -1};
}
