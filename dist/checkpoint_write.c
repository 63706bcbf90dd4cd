/* dist/checkpoint_write.c -- saving: shards, agreement, manifest, one rename.
 *
 * Every step that can fail on one rank ends in gd_comm_agree, so all ranks go on or give up together.
 * Until the rename nothing but a temporary folder exists; the rename replaces nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/checkpoint_internal.h"

enum { WRITERS_MAX = 8, NAME_ROOM = 256 };
static const int64_t STEP_MAX = 999999999999; /* 12 digits */

typedef struct shard_record {
    uint64_t bytes;
    gd_hash128 hash;
} shard_record;

typedef struct save_job {
    gd_comm *comm;
    const char *dir;
    const gd_state *s;
    int rank, size, writers;
    int *order;          /* tensors by name: order[i] is an index into s->tensor          */
    int *writer;         /* by position in order                                          */
    uint64_t *hash;      /* by position in order: data hashes, complete after the gather   */
    shard_record *shard; /* by writer: complete after the gather                          */
    void *mine, *all;    /* of the gather                                                 */
    size_t gather_bytes;
    uint64_t data_bytes; /* of all tensors                                                */
    bool skip;           /* it is there already                                           */
    char final[GD__PATH], temporary[GD__PATH];
} save_job;

/* ---- plan: a pure function of the state and the number of ranks ---- */

static const gd_state_tensor *tensor_at(const save_job *j, int i) { return &j->s->tensor[j->order[i]]; }
static uint64_t tensor_bytes(const gd_state_tensor *t) { return (uint64_t)gd_shape_count(t->shape) * sizeof(float); }
/* Spread over the ranks, so that on several hosts several hosts write. */
static int rank_of_writer(const save_job *j, int w) { return (int)((int64_t)w * j->size / j->writers); }

static gd_status check_state(const gd_state *s) {
    if (s->counters.step < 0 || s->counters.step > STEP_MAX)
        GD_FAIL(INTERNAL, "checkpoint: step %lld; expected 0 to %lld", (long long)s->counters.step,
                (long long)STEP_MAX);
    for (int i = 0; i < s->count; i++) {
        const gd_state_tensor *t = &s->tensor[i];
        gd__layout l;
        if (!t->name || !t->name[0]) GD_FAIL(INTERNAL, "checkpoint: tensor %d has no name", i);
        if (!gd__layout_of(t, &l))
            GD_FAIL(INTERNAL, "checkpoint: tensor '%s': its file order is no permutation of its dimensions", t->name);
        if (!t->data && gd_shape_count(t->shape) > 0) GD_FAIL(INTERNAL, "checkpoint: tensor '%s' has no data", t->name);
    }
    return GD_OK;
}

static int by_name(const void *a, const void *b, void *state) {
    const gd_state *s = state;
    return strcmp(s->tensor[*(const int *)a].name, s->tensor[*(const int *)b].name);
}

/* Positions in order: large tensors first, of equals by name. */
static int by_size(const void *a, const void *b, void *job) {
    int x = *(const int *)a, y = *(const int *)b;
    uint64_t bx = tensor_bytes(tensor_at(job, x)), by = tensor_bytes(tensor_at(job, y));
    if (bx != by) return bx > by ? -1 : 1;
    return x - y;
}

/* Largest first, each to the writer that has least. */
static gd_status assign_writers(save_job *j) {
    uint64_t load[WRITERS_MAX] = {0};
    int *position = calloc((size_t)j->s->count + 1, sizeof *position);
    if (!position) GD_FAIL(NOMEM, "checkpoint: no memory for the plan of %d tensors", j->s->count);
    for (int i = 0; i < j->s->count; i++) position[i] = i;
    qsort_r(position, (size_t)j->s->count, sizeof *position, by_size, j);
    for (int i = 0; i < j->s->count; i++) {
        int least = 0;
        for (int w = 1; w < j->writers; w++)
            if (load[w] < load[least]) least = w;
        j->writer[position[i]] = least;
        load[least] += tensor_bytes(tensor_at(j, position[i]));
        j->data_bytes += tensor_bytes(tensor_at(j, position[i]));
    }
    free(position);
    return GD_OK;
}

static gd_status plan(save_job *j) {
    const gd_state *s = j->s;
    char name[GD__STEP_NAME];
    GD_TRY(check_state(s));
    size_t n = (size_t)s->count;
    j->writers = j->size < WRITERS_MAX ? j->size : WRITERS_MAX;
    if (j->writers > s->count) j->writers = s->count > 0 ? s->count : 1;
    j->gather_bytes = sizeof(shard_record) + n * sizeof(uint64_t);
    j->order = calloc(n + 1, sizeof *j->order);
    j->writer = calloc(n + 1, sizeof *j->writer);
    j->hash = calloc(n + 1, sizeof *j->hash);
    j->shard = calloc(WRITERS_MAX, sizeof *j->shard);
    j->mine = calloc(1, j->gather_bytes);
    j->all = calloc((size_t)j->size, j->gather_bytes);
    if (!j->order || !j->writer || !j->hash || !j->shard || !j->mine || !j->all)
        GD_FAIL(NOMEM, "checkpoint: no memory for the plan of %d tensors", s->count);
    for (int i = 0; i < s->count; i++) j->order[i] = i;
    qsort_r(j->order, n, sizeof *j->order, by_name, (void *)(uintptr_t)s);
    for (int i = 1; i < s->count; i++)
        if (strcmp(tensor_at(j, i - 1)->name, tensor_at(j, i)->name) == 0)
            GD_FAIL(INTERNAL, "checkpoint: two tensors are called '%s'", tensor_at(j, i)->name);
    GD_TRY(assign_writers(j));
    gd__step_name(s->counters.step, name);
    return gd__path(j->final, j->dir, name);
}

static void job_free(save_job *j) {
    free(j->order);
    free(j->writer);
    free(j->hash);
    free(j->shard);
    free(j->mine);
    free(j->all);
}

/* ---- begin (rank 0): is there one already, is there space, temporary folder ---- */

/* Out of the way under a name that no reader looks at. Nothing is ever deleted that might be evidence. */
static gd_status move_aside(const char *dir, const char *final) {
    enum { TRIES = 100 };
    char name[NAME_ROOM], to[GD__PATH];
    for (int i = 1; i <= TRIES; i++) {
        snprintf(name, sizeof name, i == 1 ? "damaged-%s" : "damaged-%s-%d", strrchr(final, '/') + 1, i);
        GD_TRY(gd__path(to, dir, name));
        if (gd_io_get()->rename_noreplace(final, to) == 0) {
            GD_LOG(DIST, WARN, "%s was damaged; it is now %s", final, to);
            return GD_OK;
        }
        if (errno != EEXIST) break;
    }
    GD_FAIL(CANTCREAT, "%s: is damaged and cannot be moved aside (%s); remove it", final, strerror(errno));
}

static gd_status look_for_existing(save_job *j) {
    struct stat st_file;
    if (gd_io_get()->lstat(j->final, &st_file) != 0) {
        if (errno == ENOENT) return GD_OK;
        GD_FAIL(CANTCREAT, "%s: cannot be looked at (%s)", j->final, strerror(errno));
    }
    gd_verify_report report;
    char manifest[GD__PATH];
    GD_TRY(gd__path(manifest, j->final, GD__MANIFEST));
    gd_status st = gd_checkpoint_verify(j->final, GD_VERIFY_DEEP, &report);
    /* Only what is damaged for certain: one that cannot be read just now stays where it is. */
    if (st == GD_DATA || (st == GD_NOINPUT && gd__is_missing(manifest))) return move_aside(j->dir, j->final);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    if (report.state_hash != gd_state_hash(j->s))
        GD_FAIL(CANTCREAT, "%s: exists and holds another state of this step; move it away, or write to another folder",
                j->final);
    j->skip = true;
    return GD_OK;
}

static gd_status check_space(const save_job *j) {
    /* The data, their headers and the manifest (names, shapes, hashes), and some slack. */
    uint64_t needed = j->data_bytes + j->data_bytes / 8 + (uint64_t)j->s->count * 1024 + (1 << 20);
    int64_t have = gd_io_get()->free_bytes(j->dir);
    if (have < 0) GD_FAIL(CANTCREAT, "%s: its free space cannot be read (%s)", j->dir, strerror(errno));
    if ((uint64_t)have >= needed) return GD_OK;
    char need_text[32], have_text[32];
    gd_text_bytes(needed, need_text, sizeof need_text);
    gd_text_bytes((uint64_t)have, have_text, sizeof have_text);
    GD_FAIL(CANTCREAT,
            "%s: the checkpoint of step %lld needs %s, but %s are free; free space or write to another folder (older "
            "checkpoints are kept)",
            j->dir, (long long)j->s->counters.step, need_text, have_text);
}

static gd_status begin(save_job *j) {
    GD_TRY(gd_dir_make(j->dir));
    GD_TRY(look_for_existing(j));
    if (j->skip) return GD_OK;
    GD_TRY(check_space(j));
    return gd__temporary_make(j->dir, j->s->counters.step, j->temporary);
}

/* Removes the temporary folder and keeps the error that led here. */
static void discard(const save_job *j, gd_status st) {
    gd_error why;
    if (j->rank != 0 || !j->temporary[0]) return;
    gd_error_save(st, &why);
    if (gd_dir_remove(j->temporary) != GD_OK)
        GD_LOG(DIST, WARN, "a failed save leaves something behind: %s", gd_error_message());
    if (st != GD_OK) gd_error_restore(&why);
}

/* Collective. All ranks know then whether and where to write. */
static gd_status begin_together(save_job *j) {
    struct {
        int skip;
        char name[NAME_ROOM];
    } told = {0};
    GD_TRY(gd_comm_agree(j->comm, j->rank == 0 ? begin(j) : GD_OK));
    if (j->rank == 0) {
        told.skip = j->skip;
        if (!j->skip) snprintf(told.name, sizeof told.name, "%s", strrchr(j->temporary, '/') + 1);
    }
    gd_status st = gd_comm_bcast(j->comm, 0, &told, sizeof told);
    if (st != GD_OK) {
        discard(j, st);
        return gd_trace(st, __FILE__, __LINE__);
    }
    j->skip = told.skip;
    if (j->rank == 0 || j->skip) return GD_OK;
    told.name[NAME_ROOM - 1] = '\0';
    return gd__path(j->temporary, j->dir, told.name); /* fits: the same length as on rank 0 */
}

/* ---- one shard ---- */

typedef struct shard_file {
    char path[GD__PATH];
    int fd;
    gd_hasher *hasher;
    uint64_t bytes;
} shard_file;

static gd_status put(shard_file *f, const void *data, size_t bytes) {
    gd_hasher_add(f->hasher, data, bytes); /* of what was meant, not of what is in the file then */
    f->bytes += bytes;
    return gd_file_write_fd(f->fd, f->path, data, bytes);
}

static gd_status put_tensor(shard_file *f, const gd_state_tensor *t, uint64_t *hash) {
    gd__layout l;
    if (!gd__layout_of(t, &l)) GD_FAIL(INTERNAL, "tensor '%s' has no file order", t->name);
    float piece[GD__PIECE];
    int64_t count = gd_shape_count(t->shape);
    *hash = 0;
    for (int64_t at = 0; at < count; at += GD__PIECE) {
        size_t n = count - at < GD__PIECE ? (size_t)(count - at) : GD__PIECE;
        gd__layout_gather(&l, t->data, at, n, piece);
        *hash = gd__data_hash_add(*hash, piece, n);
        GD_TRY(put(f, piece, n * sizeof *piece));
    }
    return GD_OK;
}

static gd_status make_head(const save_job *j, int w, char **head, size_t *bytes) {
    char step[24], shard[24];
    const char *metadata[] = {
        "format", "pt", "gandist.run_id", j->s->run_id ? j->s->run_id : "", "gandist.shard", shard, "gandist.step",
        step,     NULL};
    gd_safetensor *own = calloc((size_t)j->s->count + 1, sizeof *own);
    if (!own) GD_FAIL(NOMEM, "checkpoint: no memory for a header");
    int n = 0;
    for (int i = 0; i < j->s->count; i++) {
        gd__layout l;
        if (j->writer[i] != w || !gd__layout_of(tensor_at(j, i), &l)) continue;
        own[n++] =
            (gd_safetensor){.name = (char *)(uintptr_t)tensor_at(j, i)->name, .shape = gd__layout_file_shape(&l)};
    }
    snprintf(step, sizeof step, "%lld", (long long)j->s->counters.step);
    snprintf(shard, sizeof shard, "%d/%d", w, j->writers);
    gd_status st = gd_safetensors_head(own, n, metadata, head, bytes);
    free(own);
    return st;
}

static void shard_name(const save_job *j, int w, char out[NAME_ROOM]) {
    snprintf(out, NAME_ROOM, "shard-%04d-of-%04d.safetensors", w, j->writers);
}

static gd_status write_data(save_job *j, int w, shard_file *f) {
    char *head = NULL;
    size_t head_bytes = 0;
    GD_TRY(make_head(j, w, &head, &head_bytes));
    gd_status st = put(f, head, head_bytes);
    free(head);
    for (int i = 0; i < j->s->count && st == GD_OK; i++)
        if (j->writer[i] == w) st = put_tensor(f, tensor_at(j, i), &j->hash[i]);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    /* Never tried again: after a failed fsync the kernel takes the pages for clean. */
    if (gd_io_get()->fsync(f->fd) != 0)
        GD_FAIL(IO, "%s: fsync failed (%s); this checkpoint is given up", f->path, strerror(errno));
    return GD_OK;
}

static gd_status write_shard(save_job *j, int w) {
    const gd_io *io = gd_io_get();
    shard_file f = {.fd = -1};
    char name[NAME_ROOM];
    gd_status st = GD_OK;
    shard_name(j, w, name);
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
    j->shard[w] = (shard_record){f.bytes, gd_hasher_128(f.hasher)};
done:
    if (f.fd >= 0) io->close(f.fd);
    gd_hasher_free(f.hasher);
    return st;
}

static int own_writer(const save_job *j) {
    for (int w = 0; w < j->writers; w++)
        if (rank_of_writer(j, w) == j->rank) return w;
    return -1;
}

/* ---- commit ---- */

/* Collective. What each writer wrote becomes known to all. */
static gd_status gather(save_job *j) {
    int own = own_writer(j);
    size_t hash_bytes = (size_t)j->s->count * sizeof *j->hash;
    if (own >= 0) memcpy(j->mine, &j->shard[own], sizeof *j->shard);
    memcpy((char *)j->mine + sizeof *j->shard, j->hash, hash_bytes);
    GD_TRY(gd_comm_allgather(j->comm, j->mine, j->gather_bytes, j->all));
    for (int w = 0; w < j->writers; w++) {
        const char *from = (const char *)j->all + (size_t)rank_of_writer(j, w) * j->gather_bytes;
        memcpy(&j->shard[w], from, sizeof *j->shard);
        for (int i = 0; i < j->s->count; i++)
            if (j->writer[i] == w)
                memcpy(&j->hash[i], from + sizeof *j->shard + (size_t)i * sizeof *j->hash, sizeof *j->hash);
    }
    return GD_OK;
}

static char *copy_text(const char *text, bool *bad) {
    char *copy = text ? strdup(text) : NULL;
    *bad = *bad || (text && !copy);
    return copy;
}

static gd_status make_manifest(const save_job *j, gd_manifest *m) {
    const gd_state *s = j->s;
    bool bad = false;
    *m = (gd_manifest){.counters = s->counters,
                       .seed = s->seed,
                       .recipe_fingerprint = s->recipe_fingerprint,
                       .data_fingerprint = s->data_fingerprint,
                       .state_hash = gd__counter_term(&s->counters)};
    m->recipe_text = copy_text(s->recipe_text, &bad);
    m->run_id = copy_text(s->run_id, &bad);
    m->files = calloc((size_t)j->writers, sizeof *m->files);
    m->tensors = calloc((size_t)s->count + 1, sizeof *m->tensors);
    if (bad || !m->files || !m->tensors) GD_FAIL(NOMEM, "checkpoint: no memory for the manifest");
    for (int w = 0; w < j->writers; w++, m->file_count++) {
        char name[NAME_ROOM];
        shard_name(j, w, name);
        m->files[w] = (gd_manifest_file){copy_text(name, &bad), j->shard[w].bytes, j->shard[w].hash};
    }
    for (int i = 0; i < s->count; i++, m->tensor_count++) {
        gd__layout l;
        if (!gd__layout_of(tensor_at(j, i), &l))
            GD_FAIL(INTERNAL, "tensor '%s' has no file order", tensor_at(j, i)->name);
        gd_shape shape = gd__layout_file_shape(&l);
        m->tensors[i] = (gd_manifest_tensor){copy_text(tensor_at(j, i)->name, &bad), shape, j->writer[i], j->hash[i]};
        m->state_hash += gd__tensor_term(tensor_at(j, i)->name, shape, j->hash[i]);
    }
    if (bad) GD_FAIL(NOMEM, "checkpoint: no memory for the manifest");
    return GD_OK;
}

static gd_status write_manifest(const save_job *j) {
    gd_manifest m = {0};
    char *text = NULL, path[GD__PATH];
    size_t bytes = 0;
    gd_status st = GD_OK;
    GD_TRY(gd__path(path, j->temporary, GD__MANIFEST));
    GD_TRY_TO(done, make_manifest(j, &m));
    GD_TRY_TO(done, gd_manifest_render(&m, &text, &bytes));
    GD_TRY_TO(done, gd_file_write(path, text, bytes)); /* and fsync of the temporary folder */
done:
    free(text);
    gd_manifest_free(&m);
    return st;
}

/* The shards as rank 0 sees them: all there, with the sizes that were reported. */
static gd_status check_shards(const save_job *j) {
    for (int w = 0; w < j->writers; w++) {
        char name[NAME_ROOM], path[GD__PATH];
        struct stat st;
        shard_name(j, w, name);
        GD_TRY(gd__path(path, j->temporary, name));
        if (gd_io_get()->stat(path, &st) != 0)
            GD_FAIL(IO, "%s: rank %d wrote it, rank 0 does not see it (%s); do all hosts share this folder?", path,
                    rank_of_writer(j, w), strerror(errno));
        if ((uint64_t)st.st_size != j->shard[w].bytes)
            GD_FAIL(IO, "%s: has %lld bytes; rank %d wrote %llu", path, (long long)st.st_size, rank_of_writer(j, w),
                    (unsigned long long)j->shard[w].bytes);
    }
    return GD_OK;
}

static gd_status commit(const save_job *j) {
    GD_TRY(check_shards(j));
    GD_TRY(write_manifest(j));
    if (gd_io_get()->rename_noreplace(j->temporary, j->final) != 0) {
        if (errno == EEXIST)
            GD_FAIL(CANTCREAT, "%s: appeared while it was being written; is another run using this folder?", j->final);
        GD_FAIL(CANTCREAT, "%s: cannot be renamed to %s (%s)", j->temporary, j->final, strerror(errno));
    }
    return gd_dir_sync(j->dir);
}

/* Collective. */
static gd_status write_together(save_job *j) {
    int own = own_writer(j);
    gd_status st = gd_comm_agree(j->comm, own >= 0 ? write_shard(j, own) : GD_OK);
    if (st == GD_OK) st = gather(j);
    if (st == GD_OK) st = gd_comm_agree(j->comm, j->rank == 0 ? commit(j) : GD_OK);
    if (st == GD_OK) return GD_OK;
    discard(j, st); /* all ranks have left the folder: they agreed */
    return gd_trace(st, __FILE__, __LINE__);
}

gd_status gd_checkpoint_save(gd_comm *c, const char *dir, const gd_state *s, char **path) {
    save_job j = {.comm = c, .dir = dir, .s = s, .rank = gd_comm_rank(c), .size = gd_comm_size(c)};
    char *result = NULL;
    gd_status st = plan(&j);
    if (st == GD_OK && path && !(result = strdup(j.final)))
        st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "checkpoint: no memory for its path");
    GD_TRY_TO(done, gd_comm_agree(c, st));
    GD_TRY_TO(done, begin_together(&j));
    if (!j.skip) GD_TRY_TO(done, write_together(&j));
    if (path) {
        *path = result;
        result = NULL;
    }
done:
    free(result);
    job_free(&j);
    return st;
}
