/* dist/checkpoint_reshard.c -- a checkpoint in another number of files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "dist/checkpoint_internal.h"

/* One tensor is in memory at a time. */
typedef struct source {
    gd_checkpoint *k;
    float *data;
    size_t room;
} source;

static gd_status fetch(void *ctx, int i, const float **data) {
    source *s = ctx;
    gd_state_tensor into = gd_checkpoint_state(s->k)->tensor[i];
    size_t bytes = (size_t)gd_shape_count(into.shape) * sizeof(float);
    if (bytes > s->room) {
        free(s->data);
        s->room = 0;
        s->data = malloc(bytes);
        if (!s->data) GD_FAIL(NOMEM, "tensor '%s': no memory for its %zu bytes", into.name, bytes);
        s->room = bytes;
    }
    into.data = s->data;
    *data = s->data;
    return gd_checkpoint_read(s->k, &into);
}

/* path without trailing slashes, and its folder. */
static gd_status split_path(const char *path, char whole[GD__PATH], char dir[GD__PATH]) {
    if (snprintf(whole, GD__PATH, "%s", path) >= GD__PATH / 2)
        GD_FAIL(NOINPUT, "%.64s...: the path is longer than %d bytes", path, GD__PATH / 2);
    for (size_t n = strlen(whole); n > 1 && whole[n - 1] == '/'; n--) whole[n - 1] = '\0';
    snprintf(dir, GD__PATH, "%s", whole);
    char *slash = strrchr(dir, '/');
    if (!slash) snprintf(dir, GD__PATH, ".");
    else if (slash == dir) slash[1] = '\0';
    else *slash = '\0';
    return GD_OK;
}

static gd_status write_all(gd__save *j) {
    uint64_t state_hash = 0;
    GD_TRY(gd__save_begin(j));
    for (int w = 0; w < j->writers; w++) GD_TRY(gd__save_shard(j, w));
    return gd__save_seal(j, &state_hash);
}

/* A crash between the renames leaves no step of this name: gd_checkpoint_recover takes the new one, or puts
 * the old one back. */
static gd_status replace(const gd__save *j, const char *path) {
    const gd_io *io = gd_io_get();
    char name[GD__NAME_ROOM], old[GD__PATH];
    snprintf(name, sizeof name, "%s%s", gd__replaced, strrchr(j->final, '/') + 1);
    GD_TRY(gd__path(old, j->dir, name));
    if (io->rename_noreplace(path, old) != 0)
        GD_FAIL(CANTCREAT, "%s: cannot be renamed to %s (%s)", path, old, strerror(errno));
    if (io->rename_noreplace(j->temporary, path) != 0) {
        int error = errno;
        if (io->rename_noreplace(old, path) != 0)
            GD_LOG(DIST, WARN, "%s is now %s; the next start puts it back", path, old);
        GD_FAIL(CANTCREAT, "%s: cannot be renamed to %s (%s)", j->temporary, path, strerror(error));
    }
    GD_TRY(gd_dir_sync(j->dir));
    if (gd__delete_checkpoint(old) != GD_OK)
        GD_LOG(DIST, WARN, "the files before resharding stay for now: %s", gd_error_message());
    return GD_OK;
}

static gd_status reshard(gd__save *j, source *from, const char *path, const char *dir) {
    const gd_state *s = gd_checkpoint_state(from->k);
    char name[GD__STEP_NAME];
    gd__step_name(s->counters.step, name);
    const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (strcmp(last, name) != 0)
        GD_FAIL(NOINPUT, "%s: is not called %s; only checkpoints in their run folder are resharded", path, name);
    j->dir = dir;
    j->s = s;
    j->size = 1;
    j->fetch = fetch;
    j->ctx = from;
    GD_TRY(gd__save_plan(j));
    GD_TRY(gd__temporary_name(dir, s->counters.step, j->temporary));
    gd_status st = write_all(j);
    if (st == GD_OK) st = replace(j, path);
    if (st != GD_OK) gd__save_discard(j, st);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

gd_status gd_checkpoint_reshard(const char *path, int shards) {
    char whole[GD__PATH], dir[GD__PATH];
    if (shards < 1 || shards > GD__WRITERS_MAX) GD_FAIL(USAGE, "%d shards; expected 1 to %d", shards, GD__WRITERS_MAX);
    GD_TRY(split_path(path, whole, dir));
    source from = {0};
    GD_TRY(gd_checkpoint_open(whole, &from.k));
    gd__save *j = calloc(1, sizeof *j);
    gd_status st = GD_OK;
    if (!j) GD_FAIL_TO(done, NOMEM, "%s: no memory to reshard it", path);
    j->writers = shards;
    st = reshard(j, &from, whole, dir);
    gd__save_free(j);
done:
    free(j);
    free(from.data);
    gd_checkpoint_close(from.k);
    return st;
}
