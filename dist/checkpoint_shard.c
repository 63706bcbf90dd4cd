/* dist/checkpoint_shard.c -- writing one shard: header, tensors, fsync. Hashes are of what was meant. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "dist/checkpoint_internal.h"

enum { FLUSHED = 8 << 20 /* bytes that are sent to the disk at a time, so that it works while more is made */ };

typedef struct shard_file {
    char path[GD__PATH];
    int fd;
    gd_hasher *hasher;
    uint64_t bytes, head, flushed;
} shard_file;

static gd_status put(shard_file *f, const void *data, size_t bytes) {
    gd_hasher_add(f->hasher, data, bytes); /* of what was meant, not of what is in the file then */
    f->bytes += bytes;
    GD_TRY(gd_file_write_fd(f->fd, f->path, data, bytes));
    if (f->bytes - f->flushed < FLUSHED) return GD_OK;
    gd_file_has_written(f->fd, f->flushed, f->bytes - f->flushed);
    f->flushed = f->bytes;
    return GD_OK;
}

static gd_status not_finite(const gd__save *j, const gd_state_tensor *t, const float *piece) {
    while (isfinite(*piece)) piece++;
    GD_FAIL(NUMERIC,
            "step %lld: a value of tensor '%s' is %s, so nothing is saved; lower the learning rate, clip gradients "
            "(optimizer.*.clip_norm), or go on from an older checkpoint with another seed",
            (long long)j->s->counters.step, t->name, isnan(*piece) ? "not a number" : "infinite");
}

static gd_status put_tensor(shard_file *f, const gd__save *j, int i, uint64_t *hash) {
    const gd_state_tensor *t = gd__save_tensor(j, i);
    gd__layout l;
    const float *data = t->data;
    if (!gd__layout_of(t, &l)) GD_FAIL(INTERNAL, "tensor '%s' has no file order", t->name);
    if (j->fetch) GD_TRY(j->fetch(j->ctx, j->order[i], &data));
    float piece[GD__PIECE];
    int64_t count = gd_shape_count(t->shape);
    *hash = 0;
    for (int64_t at = 0; at < count; at += GD__PIECE) {
        size_t n = count - at < GD__PIECE ? (size_t)(count - at) : GD__PIECE;
        gd__layout_gather(&l, data, at, n, piece);
        if (j->only_finite && !gd__all_finite(piece, n)) return not_finite(j, t, piece);
        *hash = gd__data_hash_add(*hash, piece, n);
        GD_TRY(put(f, piece, n * sizeof *piece));
    }
    return GD_OK;
}

static gd_status make_head(const gd__save *j, int w, char **head, size_t *bytes) {
    char step[24], shard[24];
    const char *metadata[] = {
        "format", "pt", "gandist.run_id", j->s->run_id ? j->s->run_id : "", "gandist.shard", shard, "gandist.step",
        step,     NULL};
    gd_safetensor *own = calloc((size_t)j->s->count + 1, sizeof *own);
    if (!own) GD_FAIL(NOMEM, "checkpoint: no memory for a header");
    int n = 0;
    for (int i = 0; i < j->s->count; i++) {
        gd__layout l;
        if (j->writer[i] != w || !gd__layout_of(gd__save_tensor(j, i), &l)) continue;
        own[n++] =
            (gd_safetensor){.name = (char *)(uintptr_t)gd__save_tensor(j, i)->name, .shape = gd__layout_file_shape(&l)};
    }
    snprintf(step, sizeof step, "%lld", (long long)j->s->counters.step);
    snprintf(shard, sizeof shard, "%d/%d", w, j->writers);
    gd_status st = gd_safetensors_head(own, n, metadata, head, bytes);
    free(own);
    return st;
}

static gd_status write_data(gd__save *j, int w, shard_file *f) {
    char *head = NULL;
    size_t head_bytes = 0;
    GD_TRY(make_head(j, w, &head, &head_bytes));
    f->head = gd_hash64(head, head_bytes, 0);
    gd_status st = put(f, head, head_bytes);
    free(head);
    for (int i = 0; i < j->s->count && st == GD_OK; i++)
        if (j->writer[i] == w) st = put_tensor(f, j, i, &j->hash[i]);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    /* Never tried again: after a failed fsync the kernel takes the pages for clean. */
    if (gd_io_get()->fsync(f->fd) != 0)
        GD_FAIL(IO, "%s: fsync failed (%s); this checkpoint is given up", f->path, strerror(errno));
    return GD_OK;
}

gd_status gd__save_shard(gd__save *j, int w) {
    const gd_io *io = gd_io_get();
    shard_file f = {.fd = -1};
    char name[GD__NAME_ROOM];
    gd_status st = GD_OK;
    gd__save_shard_name(j, w, name);
    GD_TRY(gd__path(f.path, j->temporary, name));
    f.hasher = gd_hasher_new();
    if (!f.hasher) GD_FAIL(NOMEM, "%s: no memory for its hash", f.path);
    do f.fd = io->open(f.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    while (f.fd < 0 && errno == EINTR);
    if (f.fd < 0) GD_FAIL_TO(done, CANTCREAT, "%s: cannot be created (%s)", f.path, strerror(errno));
    GD_TRY_TO(done, write_data(j, w, &f));
    int failed = io->close(f.fd);
    f.fd = -1;
    if (failed && errno != EINTR)
        GD_FAIL_TO(done, IO, "%s: closing failed (%s); this checkpoint is given up", f.path, strerror(errno));
    GD_TRY_TO(done, gd_dir_sync(j->temporary));
    j->shard[w] = (gd__shard_record){f.bytes, f.head, gd_hasher_128(f.hasher)};
done:
    if (f.fd >= 0) io->close(f.fd);
    gd_hasher_free(f.hasher);
    return st;
}
