/* data/check.c -- what lies at a path, and whether all of it can be decoded. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/folder.h"
#include "data/source.h"
#include "data/tools.h"

enum { SHOWN = 10 };

/* ---- guessing ---- */

static bool ends_in_tar(const char *name) {
    const size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".tar");
}

/* A folder that cannot be read has none: opening it will say why. */
static gd_status has_shards(const char *folder, bool *out) {
    char **names = NULL;
    size_t count = 0;
    gd_status st = gd__folder_names(folder, &names, &count);
    if (st == GD_NOMEM) return gd_trace(st, __FILE__, __LINE__);
    if (st != GD_OK) return GD_OK;
    for (size_t i = 0; i < count; i++) *out |= ends_in_tar(names[i]);
    gd_io_free_names(names, count);
    return GD_OK;
}

static gd_status find_shards(const char *path, bool *out) {
    *out = false;
    GD_TRY(has_shards(path, out));
    if (*out || !gd__has_folder(path, "train")) return GD_OK;
    char *folder = gd_path_join(path, "train");
    if (!folder) GD_FAIL(NOMEM, "%s: no memory for a file name", path);
    gd_status st = has_shards(folder, out);
    free(folder);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static const char *guess_by_names(const char *path) {
    if (gd__has(path, "trainA") || gd__has(path, "trainB")) return "unpaired";
    if (gd__has(path, "data_batch_1.bin") || gd__has(path, "cifar-10-batches-bin")) return "cifar10";
    if (gd__has(path, "train-images-idx3-ubyte") || gd__has(path, "train-images-idx3-ubyte.gz")) return "idx";
    return NULL;
}

static gd_status guess_folder(const char *path, const char **source) {
    bool shards;
    *source = guess_by_names(path);
    if (*source) return GD_OK;
    GD_TRY(find_shards(path, &shards));
    if (shards) *source = "tar";
    else if (gd__has(path, "A") && gd__has(path, "B")) *source = "pairs";
    else if (gd__has(path, "train") && (gd__has(path, "val") || gd__has(path, "test"))) *source = "pairs";
    else *source = "folder";
    return GD_OK;
}

gd_status gd_data_guess(const char *path, const char **source) {
    uint8_t start[2] = {0xFF, 0xFF};
    int fd;
    uint64_t size;
    if (gd_path_is_dir(path)) {
        GD_TRY(guess_folder(path, source));
        return GD_OK;
    }
    GD_TRY(gd_file_open(path, &fd, &size));
    gd_status st = gd_file_pread(fd, path, start, size < 2 ? (size_t)size : 2, 0);
    gd_io_get()->close(fd);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    *source = ends_in_tar(path) ? "tar" : "idx";
    if (ends_in_tar(path) || (!start[0] && !start[1]) || (start[0] == 0x1F && start[1] == 0x8B)) return GD_OK;
    GD_FAIL(DATA, "%s: neither a tar nor an IDX file; expected one of these, or a folder; name the source", path);
}

/* ---- checking ---- */

static gd_status note(gd_data_report *r, gd_status why, int part, int64_t index) {
    char *grown;
    if (why == GD_NOMEM) return gd_trace(why, __FILE__, __LINE__); /* says nothing about the sample */
    if (r->bad++ >= SHOWN) return GD_OK;
    if (asprintf(&grown, "%spart %d, sample %" PRId64 ": %s\n", r->errors ? r->errors : "", part, index,
                 gd_error_message()) < 0)
        GD_FAIL(NOMEM, "no memory for a list of errors");
    free(r->errors);
    r->errors = grown;
    return GD_OK;
}

static gd_status check_part(const gd_dataset *d, int part, void *sample, gd_data_report *out) {
    for (int64_t i = 0; i < d->part_count[part]; i++, out->samples++) {
        gd_status st = gd_dataset_get(d, part, i, 0, sample);
        if (st != GD_OK) GD_TRY(note(out, st, part, i));
    }
    return GD_OK;
}

gd_status gd_data_check(const gd_dataset *d, gd_data_report *out) {
    *out = (gd_data_report){0};
    for (int p = 0; p < d->parts; p++) {
        void *sample = malloc(gd_sample_bytes(d->shape[p]));
        if (!sample) GD_FAIL(NOMEM, "%s: no memory for a sample", d->where);
        gd_status st = check_part(d, p, sample, out);
        free(sample);
        if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    }
    return GD_OK;
}
