/* data/check.c -- what lies at a path, and whether all of it can be decoded. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/source.h"
#include "data/tools.h"

enum { SHOWN = 10 };

/* ---- guessing ---- */

static bool has(const char *folder, const char *name) {
    char *path = gd_path_join(folder, name);
    const bool there = path && gd_path_exists(path);
    free(path);
    return there;
}

static bool ends_in_tar(const char *name) {
    const size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".tar");
}

static bool has_shards(const char *folder) {
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    if (gd_io_get()->list(folder, &names, &count) != 0) return false; /* opening it will say why */
    for (size_t i = 0; i < count; i++) found |= ends_in_tar(names[i]);
    gd_io_free_names(names, count);
    return found;
}

static bool shards_below(const char *path, const char *name) {
    char *folder = gd_path_join(path, name);
    const bool found = folder && gd_path_is_dir(folder) && has_shards(folder);
    free(folder);
    return found;
}

static const char *guess_folder(const char *path) {
    if (has(path, "trainA") || has(path, "trainB")) return "unpaired";
    if (has(path, "data_batch_1.bin") || has(path, "cifar-10-batches-bin")) return "cifar10";
    if (has(path, "train-images-idx3-ubyte") || has(path, "train-images-idx3-ubyte.gz")) return "idx";
    if (has_shards(path) || shards_below(path, "train")) return "tar";
    if (has(path, "A") && has(path, "B")) return "pairs";
    return has(path, "train") && (has(path, "val") || has(path, "test")) ? "pairs" : "folder";
}

gd_status gd_data_guess(const char *path, const char **source) {
    uint8_t start[2] = {0xFF, 0xFF};
    int fd;
    uint64_t size;
    if (gd_path_is_dir(path)) {
        *source = guess_folder(path);
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

static gd_status note(gd_data_report *r, int part, int64_t index) {
    char *grown;
    if (r->bad++ >= SHOWN) return GD_OK;
    if (asprintf(&grown, "%spart %d, sample %" PRId64 ": %s\n", r->errors ? r->errors : "", part, index,
                 gd_error_message()) < 0)
        GD_FAIL(NOMEM, "no memory for a list of errors");
    free(r->errors);
    r->errors = grown;
    return GD_OK;
}

gd_status gd_data_check(const gd_dataset *d, gd_data_report *out) {
    *out = (gd_data_report){0};
    for (int p = 0; p < d->parts; p++) {
        void *sample = malloc(gd_sample_bytes(d->shape[p]));
        gd_status st = sample ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: no memory for a sample", d->where);
        for (int64_t i = 0; i < d->part_count[p] && st == GD_OK; i++, out->samples++)
            if (gd_dataset_get(d, p, i, 0, sample) != GD_OK) st = note(out, p, i);
        free(sample);
        if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    }
    return GD_OK;
}
