/* dist/checkpoint_write.c -- saving: what rank 0 does around the shards, and a whole save in one call.
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

/* ---- begin (rank 0): is there space, temporary folder ---- */

static gd_status check_space(const gd__save *j) {
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

/* What lies above a run folder may belong to somebody else, and may not be readable. */
static gd_status sync_if_allowed(const char *path) {
    int fd = gd_io_get()->open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 && (errno == EACCES || errno == EPERM)) return GD_OK;
    if (fd >= 0) gd_io_get()->close(fd);
    return gd_dir_sync(path);
}

/* The folder may have been made for this run: its own name must last as well as what is in it. */
static gd_status make_dir(const char *dir) {
    char parent[GD__PATH];
    GD_TRY(gd_dir_make(dir));
    GD_TRY(gd__path(parent, dir, ".."));
    GD_TRY(gd_dir_sync(parent));
    GD_TRY(gd__path(parent, dir, "../.."));
    return sync_if_allowed(parent);
}

gd_status gd__save_begin(const gd__save *j) {
    GD_TRY(make_dir(j->dir));
    GD_TRY(check_space(j));
    if (gd_io_get()->mkdir(j->temporary, 0777) == 0) return GD_OK;
    GD_FAIL(CANTCREAT, "%s: cannot be created (%s); check that its folder is writable and has space", j->temporary,
            strerror(errno));
}

void gd__save_discard(const gd__save *j, gd_status st) {
    gd_error why;
    if (!j->temporary[0]) return;
    gd_error_save(st, &why);
    if (gd_dir_remove(j->temporary) != GD_OK)
        GD_LOG(DIST, WARN, "a failed save leaves something behind: %s", gd_error_message());
    if (st != GD_OK) gd_error_restore(&why);
}

/* ---- manifest ---- */

static char *copy_text(const char *text, bool *bad) {
    char *copy = text ? strdup(text) : NULL;
    *bad = *bad || (text && !copy);
    return copy;
}

static gd_status fill_lists(const gd__save *j, gd_manifest *m, bool *bad) {
    const gd_state *s = j->s;
    for (int w = 0; w < j->writers; w++, m->file_count++) {
        char name[GD__NAME_ROOM];
        gd__save_shard_name(j, w, name);
        m->files[w] = (gd_manifest_file){.name = copy_text(name, bad),
                                         .bytes = j->shard[w].bytes,
                                         .hash = j->shard[w].hash,
                                         .head = j->shard[w].head,
                                         .has_head = true};
    }
    for (int i = 0; i < s->count; i++, m->tensor_count++) {
        const gd_state_tensor *t = gd__save_tensor(j, i);
        gd__layout l;
        if (!gd__layout_of(t, &l)) GD_FAIL(INTERNAL, "tensor '%s' has no file order", t->name);
        gd_shape shape = gd__layout_file_shape(&l);
        m->tensors[i] = (gd_manifest_tensor){copy_text(t->name, bad), shape, j->writer[i], j->hash[i]};
        m->state_hash += gd__tensor_term(t->name, shape, j->hash[i]);
    }
    return GD_OK;
}

static gd_status make_manifest(const gd__save *j, gd_manifest *m) {
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
    GD_TRY(fill_lists(j, m, &bad));
    if (bad) GD_FAIL(NOMEM, "checkpoint: no memory for the manifest");
    return GD_OK;
}

static gd_status write_manifest(const gd__save *j, uint64_t *state_hash) {
    gd_manifest m = {0};
    char *text = NULL, path[GD__PATH];
    size_t bytes = 0;
    gd_status st = GD_OK;
    GD_TRY(gd__path(path, j->temporary, GD__MANIFEST));
    GD_TRY_TO(done, make_manifest(j, &m));
    GD_TRY_TO(done, gd_manifest_render(&m, &text, &bytes));
    GD_TRY_TO(done, gd_file_write(path, text, bytes)); /* and fsync of the temporary folder */
    *state_hash = m.state_hash;
done:
    free(text);
    gd_manifest_free(&m);
    return st;
}

/* The shards as rank 0 sees them: all there, with the sizes that were reported. */
static gd_status check_shards(const gd__save *j) {
    for (int w = 0; w < j->writers; w++) {
        char name[GD__NAME_ROOM], path[GD__PATH];
        struct stat st;
        gd__save_shard_name(j, w, name);
        GD_TRY(gd__path(path, j->temporary, name));
        if (gd_io_get()->stat(path, &st) != 0)
            GD_FAIL(IO, "%s: rank %d wrote it, rank 0 does not see it (%s); do all hosts share this folder?", path,
                    gd__save_rank_of(j, w), strerror(errno));
        if ((uint64_t)st.st_size != j->shard[w].bytes)
            GD_FAIL(IO, "%s: has %lld bytes; rank %d wrote %llu", path, (long long)st.st_size, gd__save_rank_of(j, w),
                    (unsigned long long)j->shard[w].bytes);
    }
    return GD_OK;
}

gd_status gd__save_seal(const gd__save *j, uint64_t *state_hash) {
    GD_TRY(check_shards(j));
    return write_manifest(j, state_hash);
}

/* ---- commit (rank 0): is it there already, rename ---- */

/* Out of the way under a name that no reader looks at. Nothing is ever deleted that might be evidence. */
static gd_status move_aside(const char *dir, const char *final) {
    enum { TRIES = 100 };
    char name[GD__NAME_ROOM], to[GD__PATH];
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

/* *there: the same state, undamaged. */
static gd_status look_for_existing(const gd__save *j, uint64_t state_hash, bool *there) {
    struct stat st_file;
    *there = false;
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
    if (report.state_hash != state_hash)
        GD_FAIL(CANTCREAT, "%s: exists and holds another state of this step; move it away, or write to another folder",
                j->final);
    *there = true;
    return GD_OK;
}

gd_status gd__save_commit(const gd__save *j) {
    uint64_t state_hash = 0;
    bool there = false;
    GD_TRY(gd__save_seal(j, &state_hash));
    GD_TRY(look_for_existing(j, state_hash, &there));
    if (there) {
        gd__save_discard(j, GD_OK);
        return GD_OK;
    }
    if (gd_io_get()->rename_noreplace(j->temporary, j->final) != 0) {
        if (errno == EEXIST)
            GD_FAIL(CANTCREAT, "%s: appeared while it was being written; is another run using this folder?", j->final);
        GD_FAIL(CANTCREAT, "%s: cannot be renamed to %s (%s)", j->temporary, j->final, strerror(errno));
    }
    return gd_dir_sync(j->dir);
}

/* ---- a whole save, together ---- */

/* Collective. The name of the temporary folder is rank 0's. */
static gd_status begin_together(gd_comm *c, gd__save *j) {
    GD_TRY(gd_comm_agree(c, j->rank == 0 ? gd__temporary_name(j->dir, j->s->counters.step, j->temporary) : GD_OK));
    GD_TRY(gd_comm_bcast(c, 0, j->temporary, sizeof j->temporary));
    return gd_comm_agree(c, j->rank == 0 ? gd__save_begin(j) : GD_OK);
}

/* Collective. */
static gd_status write_together(gd_comm *c, gd__save *j) {
    int own = gd__save_own(j);
    GD_TRY(begin_together(c, j));
    gd_status st = gd_comm_agree(c, own >= 0 ? gd__save_shard(j, own) : GD_OK);
    gd__save_report(j);
    if (st == GD_OK) st = gd_comm_allgather(c, j->mine, j->report_bytes, j->all);
    if (st == GD_OK) {
        gd__save_learn(j);
        st = gd_comm_agree(c, j->rank == 0 ? gd__save_commit(j) : GD_OK);
    }
    if (st == GD_OK) return GD_OK;
    if (j->rank == 0) gd__save_discard(j, st); /* all ranks have left the folder: they agreed */
    return gd_trace(st, __FILE__, __LINE__);
}

/* Of a state with spread tensors: the state that the save is of then, and its values here. */
typedef struct collected {
    gd_state state;
    char *room;
} collected;

/* Collective. */
static gd_status collect_spread(gd_comm *c, gd__save *j, collected *k) {
    gd_state_tensor *list = calloc((size_t)j->s->count + 1, sizeof *list);
    k->room = malloc(gd__save_room(j, false) + 1);
    gd_status st = GD_OK;
    if (!list || !k->room) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "checkpoint: no memory for its tensors");
    k->state = *j->s;
    k->state.tensor = list;
    GD_TRY(gd_comm_agree(c, st));
    memcpy(list, j->s->tensor, (size_t)j->s->count * sizeof *list);
    j->s = &k->state;
    return gd__save_copy(j, false, list, k->room);
}

gd_status gd_checkpoint_save(gd_comm *c, const char *dir, const gd_state *s, char **path) {
    gd__save *j = calloc(1, sizeof *j);
    collected k = {.room = NULL};
    char *result = NULL;
    gd_status st = j ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "checkpoint: no memory for a save");
    if (j) {
        *j = (gd__save){.dir = dir, .s = s, .rank = gd_comm_rank(c), .size = gd_comm_size(c)};
        st = gd__save_plan(j);
    }
    if (st == GD_OK && path && !(result = strdup(j->final)))
        st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "checkpoint: no memory for its path");
    GD_TRY_TO(done, gd_comm_agree(c, st));
    if (s->collect) GD_TRY_TO(done, collect_spread(c, j, &k));
    GD_TRY_TO(done, write_together(c, j));
    if (path) {
        *path = result;
        result = NULL;
    }
done:
    free(result);
    free(k.state.tensor);
    free(k.room);
    if (j) gd__save_free(j);
    free(j);
    return st;
}
