/* dist/checkpoint_read.c -- opening, reading and verifying. No MPI, no write access. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "dist/checkpoint_internal.h"

struct gd_checkpoint {
    char path[GD__PATH];
    gd_manifest m;
    gd_safetensors *head; /* per file of the manifest                                       */
    uint64_t *at;         /* per tensor of the manifest: offset of its first byte in the file */
    gd_state_tensor *tensor;
    gd_state state;
};

/* ---- opening ---- */

bool gd__is_missing(const char *path) {
    struct stat st;
    return gd_io_get()->stat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

static gd_status read_manifest(const char *path, gd_manifest *out) {
    char file[GD__PATH];
    void *text = NULL;
    size_t bytes = 0;
    struct stat st_folder;
    if (gd_io_get()->stat(path, &st_folder) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) GD_FAIL(NOINPUT, "%s: no such checkpoint", path);
        if (errno == ELOOP || errno == EACCES)
            GD_FAIL(NOINPUT, "%s: cannot be looked at (%s); check the path", path, strerror(errno));
        GD_FAIL(IO, "%s: cannot be looked at (%s)", path, strerror(errno));
    }
    if (!S_ISDIR(st_folder.st_mode))
        GD_FAIL(NOINPUT, "%s: is no folder; expected a checkpoint folder (step-...)", path);
    GD_TRY(gd__path(file, path, GD__MANIFEST));
    if (gd__is_missing(file))
        GD_FAIL(NOINPUT,
                "%s: has no %s: it was never committed, or its deletion was interrupted; use another checkpoint", path,
                GD__MANIFEST);
    GD_TRY(gd_file_read(file, GD_MANIFEST_BYTES_MAX, &text, &bytes));
    gd_status st = gd_manifest_parse(file, text, bytes, out);
    free(text);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* A folder called step-N holds step N; any other name may hold any step. */
static gd_status check_step_name(const char *path, const gd_manifest *m) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') from--;
    char name[GD__STEP_NAME] = "";
    if (n - from < sizeof name) memcpy(name, path + from, n - from);
    int64_t step = gd__step_of(name);
    if (step >= 0 && step != m->counters.step)
        GD_FAIL(DATA, "%s: its manifest is of step %" PRId64 "; expected step %" PRId64, path, m->counters.step, step);
    return GD_OK;
}

static int compare_tensor_name(const void *key, const void *element) {
    return strcmp(key, ((const gd_manifest_tensor *)element)->name);
}

static int find_tensor(const gd_manifest *m, const char *name) {
    const gd_manifest_tensor *t =
        bsearch(name, m->tensors, (size_t)m->tensor_count, sizeof *m->tensors, compare_tensor_name);
    return t ? (int)(t - m->tensors) : -1;
}

/* What is in the file, and what the manifest says is in it, are the same. at[]: 0 = not seen yet. */
static gd_status match_tensors(gd_checkpoint *k, int file, const char *path) {
    const gd_safetensors *h = &k->head[file];
    for (int i = 0; i < h->count; i++) {
        const gd_safetensor *t = &h->tensor[i];
        int found = find_tensor(&k->m, t->name);
        if (found < 0 || k->m.tensors[found].file != file)
            GD_FAIL(DATA, "%s: holds tensor '%s', which the manifest does not have there", path, t->name);
        if (!gd_shape_equal(t->shape, k->m.tensors[found].shape)) {
            char have[96], want[96];
            gd_shape_text(t->shape, have);
            gd_shape_text(k->m.tensors[found].shape, want);
            GD_FAIL(DATA, "%s: tensor '%s' has the shape %s; the manifest says %s", path, t->name, have, want);
        }
        k->at[found] = h->data_at + t->begin; /* never 0: the header is in front */
    }
    return GD_OK;
}

static gd_status open_file(gd_checkpoint *k, int file) {
    const gd_manifest_file *f = &k->m.files[file];
    char path[GD__PATH], step[24];
    uint64_t bytes = 0;
    int fd = -1;
    GD_TRY(gd__path(path, k->path, f->name));
    gd_status st = gd_file_open(path, &fd, &bytes);
    if (st == GD_NOINPUT && gd__is_missing(path)) GD_FAIL(DATA, "%s: is missing from its checkpoint", path);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    if (bytes != f->bytes)
        GD_FAIL_TO(close, DATA, "%s: has %" PRIu64 " bytes; the manifest says %" PRIu64 ": it is %s", path, bytes,
                   f->bytes, bytes < f->bytes ? "cut off" : "too long");
    GD_TRY_TO(close, gd_safetensors_read(fd, path, bytes, &k->head[file]));
    snprintf(step, sizeof step, "%" PRId64, k->m.counters.step);
    const char *has = k->head[file].step;
    if (!has || strcmp(has, step) != 0)
        GD_FAIL_TO(close, DATA, "%s: is of step %.24s; the manifest is of step %s", path, has ? has : "(none)", step);
    if (f->has_head && f->head != k->head[file].hash)
        GD_FAIL_TO(close, DATA, "%s: its header (bytes 0 to %" PRIu64 ") does not fit its hash: the file is damaged",
                   path, k->head[file].data_at - 1);
    GD_TRY_TO(close, match_tensors(k, file, path));
close:
    gd_io_get()->close(fd);
    return st;
}

static void fill_state(gd_checkpoint *k) {
    const gd_manifest *m = &k->m;
    for (int i = 0; i < m->tensor_count; i++)
        k->tensor[i] =
            (gd_state_tensor){.name = m->tensors[i].name, .shape = m->tensors[i].shape, .file_perm = {0, 1, 2, 3}};
    k->state = (gd_state){.tensor = k->tensor,
                          .count = m->tensor_count,
                          .counters = m->counters,
                          .seed = m->seed,
                          .recipe_fingerprint = m->recipe_fingerprint,
                          .data_fingerprint = m->data_fingerprint,
                          .recipe_text = m->recipe_text,
                          .run_id = m->run_id};
}

static gd_status open_all(gd_checkpoint *k) {
    GD_TRY(read_manifest(k->path, &k->m));
    GD_TRY(check_step_name(k->path, &k->m));
    k->head = calloc((size_t)k->m.file_count, sizeof *k->head);
    k->at = calloc((size_t)k->m.tensor_count + 1, sizeof *k->at);
    k->tensor = calloc((size_t)k->m.tensor_count + 1, sizeof *k->tensor);
    if (!k->head || !k->at || !k->tensor) GD_FAIL(NOMEM, "%s: no memory to open it", k->path);
    for (int i = 0; i < k->m.file_count; i++) GD_TRY(open_file(k, i));
    for (int i = 0; i < k->m.tensor_count; i++)
        if (k->at[i] == 0)
            GD_FAIL(DATA, "%s/%s: has no tensor '%s', which the manifest expects there", k->path,
                    k->m.files[k->m.tensors[i].file].name, k->m.tensors[i].name);
    fill_state(k);
    return GD_OK;
}

gd_status gd_checkpoint_open(const char *path, gd_checkpoint **out) {
    if (strlen(path) >= GD__PATH / 2)
        GD_FAIL(NOINPUT, "%.64s...: the path is longer than %d bytes", path, GD__PATH / 2);
    gd_checkpoint *k = calloc(1, sizeof *k);
    if (!k) GD_FAIL(NOMEM, "%s: no memory to open it", path);
    snprintf(k->path, sizeof k->path, "%s", path);
    gd_status st = open_all(k);
    if (st != GD_OK) {
        gd_checkpoint_close(k);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = k;
    return GD_OK;
}

void gd_checkpoint_close(gd_checkpoint *k) {
    if (!k) return;
    for (int i = 0; k->head && i < k->m.file_count; i++) gd_safetensors_free(&k->head[i]);
    free(k->head);
    free(k->at);
    free(k->tensor);
    gd_manifest_free(&k->m);
    free(k);
}

const gd_state *gd_checkpoint_state(const gd_checkpoint *k) { return &k->state; }

/* ---- reading ---- */

static gd_status damaged_tensor(const char *path, const gd_checkpoint *k, int i) {
    GD_FAIL(DATA,
            "%s: tensor '%s' (%" PRIu64 " bytes at offset %" PRIu64
            ") does not fit its hash: the file is damaged; use another checkpoint",
            path, k->m.tensors[i].name, (uint64_t)gd_shape_count(k->m.tensors[i].shape) * sizeof(float), k->at[i]);
}

static gd_status find_wanted(const gd_checkpoint *k, const gd_state_tensor *into, gd__layout *l, int *found) {
    if (!gd__layout_of(into, l))
        GD_FAIL(INTERNAL, "tensor '%s': its file order is no permutation of its dimensions", into->name);
    *found = find_tensor(&k->m, into->name);
    if (*found < 0)
        GD_FAIL(DATA, "%s: has no tensor '%s'; expected one: it is of another network or optimizer", k->path,
                into->name);
    gd_shape want = gd__layout_file_shape(l), have = k->m.tensors[*found].shape;
    if (!gd_shape_equal(want, have)) {
        char want_text[96], have_text[96];
        gd_shape_text(want, want_text);
        gd_shape_text(have, have_text);
        GD_FAIL(SHAPE, "%s: tensor '%s' has the shape %s; expected %s: it is of another network", k->path, into->name,
                have_text, want_text);
    }
    return GD_OK;
}

/* Into memory, piece by piece, as they are hashed. */
static uint64_t take_pieces(const gd__layout *l, const gd_state_tensor *into, const float *from, int64_t first,
                            int64_t count, uint64_t hash) {
    for (int64_t at = 0; at < count; at += GD__PIECE) {
        size_t n = count - at < GD__PIECE ? (size_t)(count - at) : GD__PIECE;
        hash = gd__data_hash_add(hash, from + at, n);
        if (into->spread) gd__layout_scatter_part(l, from + at, first + at, n, into->first, into->last, into->data);
        else gd__layout_scatter(l, from + at, first + at, n, into->data);
    }
    return hash;
}

gd_status gd_checkpoint_read(gd_checkpoint *k, const gd_state_tensor *into) {
    enum { READ = 16 * GD__PIECE /* what a disk likes to be asked for: 1 MiB */ };
    gd__layout l;
    int found = -1, fd = -1;
    char path[GD__PATH];
    uint64_t bytes = 0, hash = 0;
    float *part = NULL;
    gd_status st = GD_OK;
    GD_TRY(find_wanted(k, into, &l, &found));
    if (into->spread && into->first == into->last) return GD_OK;
    GD_TRY(gd__path(path, k->path, k->m.files[k->m.tensors[found].file].name));
    GD_TRY(gd_file_open(path, &fd, &bytes));
    int64_t count = gd_shape_count(into->shape);
    part = malloc((size_t)(count < READ ? count : READ) * sizeof *part + 1);
    if (!part) GD_FAIL_TO(close, NOMEM, "%s: no memory for reading tensor '%s'", path, into->name);
    for (int64_t at = 0; at < count; at += READ) {
        int64_t n = count - at < READ ? count - at : READ;
        GD_TRY_TO(close,
                  gd_file_pread(fd, path, part, (size_t)n * sizeof *part, k->at[found] + (uint64_t)at * sizeof *part));
        hash = take_pieces(&l, into, part, at, n, hash);
    }
    if (hash != k->m.tensors[found].hash) st = damaged_tensor(path, k, found);
close:
    free(part);
    gd_io_get()->close(fd);
    return st;
}

typedef struct read_all {
    gd_checkpoint *k;
    const gd_state_tensor *into;
    int count, first_bad;
    int64_t total; /* numbers */
    gd_error error;
} read_all;

enum { SLOTS = 256 };

/* The tensors whose middle number lies in a slot of all the numbers. */
static void read_slot(read_all *a, int64_t slot) {
    int64_t before = 0;
    for (int i = 0; i < a->count; i++) {
        const int64_t size = gd_shape_count(a->into[i].shape), middle = before + size / 2;
        before += size;
        if (middle * SLOTS / (a->total + 1) != slot) continue;
        gd_status st = gd_checkpoint_read(a->k, &a->into[i]);
        if (st == GD_OK) continue;
#pragma omp critical(gd_checkpoint_read_all)
        if (i < a->first_bad) {
            a->first_bad = i;
            gd_error_save(st, &a->error);
        }
    }
}

/* Each thread reads tensors that follow each other, about as many bytes as the others: the system reads ahead for a
 * reader that goes on where it was. The error is that of the first tensor that has one, as if read in turn. */
gd_status gd_checkpoint_read_all(gd_checkpoint *k, const gd_state_tensor *into, int count) {
    read_all a = {.k = k, .into = into, .count = count, .first_bad = count, .error = {.status = GD_OK}};
    for (int i = 0; i < count; i++) a.total += gd_shape_count(into[i].shape);
#pragma omp parallel for schedule(static)
    for (int slot = 0; slot < SLOTS; slot++) read_slot(&a, slot);
    return a.first_bad < count ? gd_error_restore(&a.error) : GD_OK;
}

/* ---- verifying ---- */

typedef struct scan {
    const gd_checkpoint *k;
    const char *path;
    int fd;
    gd_hasher *hasher; /* of the whole file */
    gd_verify_report *report;
} scan;

static gd_status scan_head(const scan *s, uint64_t bytes) {
    char piece[4096];
    for (uint64_t at = 0; at < bytes; at += sizeof piece) {
        size_t n = bytes - at < sizeof piece ? (size_t)(bytes - at) : sizeof piece;
        GD_TRY(gd_file_pread(s->fd, s->path, piece, n, at));
        gd_hasher_add(s->hasher, piece, n);
    }
    return GD_OK;
}

static gd_status scan_tensor(const scan *s, int i) {
    const gd_manifest_tensor *t = &s->k->m.tensors[i];
    float piece[GD__PIECE];
    uint64_t hash = 0;
    int64_t count = gd_shape_count(t->shape);
    for (int64_t at = 0; at < count; at += GD__PIECE) {
        size_t n = count - at < GD__PIECE ? (size_t)(count - at) : GD__PIECE;
        GD_TRY(gd_file_pread(s->fd, s->path, piece, n * sizeof *piece, s->k->at[i] + (uint64_t)at * sizeof *piece));
        gd_hasher_add(s->hasher, piece, n * sizeof *piece);
        hash = gd__data_hash_add(hash, piece, n);
        if (!gd__all_finite(piece, n)) s->report->finite = false;
    }
    if (hash != t->hash) return damaged_tensor(s->path, s->k, i);
    s->report->state_hash += gd__tensor_term(t->name, t->shape, hash);
    return GD_OK;
}

/* Header and tensors follow each other without holes (checked on opening), so this sees every byte. */
static gd_status scan_file(const gd_checkpoint *k, int file, gd_verify_report *report) {
    char path[GD__PATH];
    uint64_t bytes = 0;
    const gd_safetensors *h = &k->head[file];
    GD_TRY(gd__path(path, k->path, k->m.files[file].name));
    scan s = {.k = k, .path = path, .fd = -1, .report = report};
    GD_TRY(gd_file_open(path, &s.fd, &bytes));
    gd_status st = GD_OK;
    s.hasher = gd_hasher_new();
    if (!s.hasher) GD_FAIL_TO(close, NOMEM, "%s: no memory for its hash", path);
    GD_TRY_TO(close, scan_head(&s, h->data_at));
    for (int i = 0; i < h->count; i++) GD_TRY_TO(close, scan_tensor(&s, find_tensor(&k->m, h->tensor[i].name)));
    gd_hash128 found = gd_hasher_128(s.hasher), want = k->m.files[file].hash;
    if (found.hi != want.hi || found.lo != want.lo)
        GD_FAIL_TO(close, DATA, "%s: its tensors are good, but its header (bytes 0 to %" PRIu64 ") was changed", path,
                   h->data_at - 1);
close:
    gd_hasher_free(s.hasher);
    gd_io_get()->close(s.fd);
    return st;
}

/* A shard that the manifest does not know is from another save: somebody mixed two folders. */
static gd_status check_foreign(const gd_checkpoint *k) {
    char **names = NULL;
    size_t count = 0;
    if (gd_io_get()->list(k->path, &names, &count) != 0) GD_FAIL(IO, "%s: cannot be listed", k->path);
    gd_status st = GD_OK;
    for (size_t i = 0; i < count && st == GD_OK; i++) {
        bool known = !gd__is_shard_name(names[i]);
        for (int f = 0; f < k->m.file_count && !known; f++) known = strcmp(k->m.files[f].name, names[i]) == 0;
        if (!known)
            st = gd_raise(GD_DATA, __FILE__, __LINE__,
                          "%s/%s: is not in the manifest: it belongs to another checkpoint", k->path, names[i]);
    }
    gd_io_free_names(names, count);
    return st;
}

static gd_status verify_opened(const gd_checkpoint *k, gd_verify_depth depth, gd_verify_report *out) {
    gd_verify_report r = {
        .step = k->m.counters.step, .files = k->m.file_count, .tensors = k->m.tensor_count, .finite = true};
    for (int i = 0; i < k->m.file_count; i++) r.bytes += k->m.files[i].bytes;
    GD_TRY(check_foreign(k));
    if (depth == GD_VERIFY_DEEP) {
        r.state_hash = gd__counter_term(&k->m.counters);
        for (int i = 0; i < k->m.file_count; i++) GD_TRY(scan_file(k, i, &r));
        if (r.state_hash != k->m.state_hash)
            GD_FAIL(DATA,
                    "%s/%s: the state hash of its tensors and counters is %016" PRIx64
                    "; the manifest says %016" PRIx64,
                    k->path, GD__MANIFEST, r.state_hash, k->m.state_hash);
    }
    *out = r;
    return GD_OK;
}

gd_status gd_checkpoint_verify(const char *path, gd_verify_depth depth, gd_verify_report *out) {
    gd_checkpoint *k = NULL;
    GD_TRY(gd_checkpoint_open(path, &k));
    gd_status st = verify_opened(k, depth, out);
    gd_checkpoint_close(k);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}
