/* data/idx.c -- the sources "idx" and "fashion-mnist": byte images of one IDX file, kept in memory. */
#include "data/idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "data/image_internal.h"
#include "data/source.h"

/* ---- which file ---- */

static gd_status in_folder(const char *folder, char **out) {
    static const char *const names[] = {"train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *out = gd_path_join(folder, names[i]);
        if (!*out) GD_FAIL(NOMEM, "%s: no memory for a file name", folder);
        if (gd_path_exists(*out)) return GD_OK;
        free(*out);
    }
    *out = NULL;
    GD_FAIL(NOINPUT, "%s: holds no train-images-idx3-ubyte, gzipped or not; check data.path", folder);
}

/* path with `word` in place of the "train" in its last part. NULL in *out: there is none. */
static gd_status instead_of_train(const char *path, const char *word, char **out) {
    const char *slash = strrchr(path, '/'), *at = strstr(slash ? slash + 1 : path, "train");
    *out = NULL;
    if (!at) return GD_OK;
    if (asprintf(out, "%.*s%s%s", (int)(at - path), path, word, at + strlen("train")) < 0) {
        *out = NULL;
        GD_FAIL(NOMEM, "%s: no memory for the name of its test half", path);
    }
    return GD_OK;
}

static gd_status find_test(const char *train, char **out) {
    static const char *const words[] = {"t10k", "test"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        GD_TRY(instead_of_train(train, words[i], out));
        if (*out && gd_path_exists(*out)) return GD_OK;
        free(*out);
    }
    *out = NULL;
    GD_FAIL(NOINPUT,
            "%s: no held-out half; expected a file of the same name with t10k or test in place of train beside it",
            train);
}

gd_status gd__idx_find(const char *path, bool test, char **out) {
    char *train;
    if (gd_path_is_dir(path)) GD_TRY(in_folder(path, &train));
    else train = strdup(path);
    if (!train) GD_FAIL(NOMEM, "%s: no memory for its name", path);
    if (!test) {
        *out = train;
        return GD_OK;
    }
    gd_status st = find_test(train, out);
    free(train);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* ---- the sources ---- */

/* Over the first part_count images, and all pixels. Labels count where they are handed out. */
static uint64_t identify(const gd_dataset_spec *spec, const gd_dataset *d, const gd__idx *x) {
    const uint64_t facts[] = {(uint64_t)d->part_count[0], (uint64_t)x->height, (uint64_t)x->width,
                              (uint64_t)x->channels};
    const size_t bytes = (size_t)x->count * (size_t)x->height * (size_t)x->width * (size_t)x->channels;
    uint64_t h = gd_hash64(facts, sizeof facts, gd_hash64(x->pixels, bytes, 0));
    return spec->labels && x->labels ? gd_hash64(x->labels, (size_t)x->count, h) : h;
}

static gd_status idx_open(const gd_dataset_spec *spec, gd_dataset *d) {
    char *path;
    gd__idx *x = calloc(1, sizeof *x);
    if (!x) GD_FAIL(NOMEM, "%s: no memory for the data set", spec->path);
    d->state = x;
    GD_TRY(gd__idx_find(spec->path, spec->test, &path));
    gd_status st = gd__idx_load(path, x);
    free(path);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    d->parts = 1;
    d->part_count[0] = x->count;
    d->classes = x->classes;
    d->raw[0] = (gd_sample_shape){GD_SAMPLE_U8, x->height, x->width, x->channels};
    GD_TRY(gd__source_limit(spec, spec->path, &d->part_count[0]));
    d->fingerprint = identify(spec, d, x);
    return GD_OK;
}

static gd_status check_there(const gd_dataset_spec *spec) {
    if (gd_path_exists(spec->path)) return GD_OK;
    GD_FAIL(NOINPUT,
            "%s: Fashion-MNIST is not there; expected the images as an IDX file; install the Debian "
            "package dataset-fashion-mnist or set data.path",
            spec->path);
}

gd_status gd__fashion_load(const gd_dataset_spec *spec, gd__idx *out) {
    char *path;
    GD_TRY(check_there(spec));
    GD_TRY(gd__idx_find(spec->path, spec->test, &path));
    gd_status st = gd__idx_load(path, out);
    free(path);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status fashion_open(const gd_dataset_spec *spec, gd_dataset *d) {
    GD_TRY(check_there(spec));
    return idx_open(spec, d);
}

gd_status gd__idx_image(const char *name, const gd__idx *x, int64_t index, gd_image *out) {
    const size_t bytes = (size_t)x->height * (size_t)x->width * (size_t)x->channels;
    GD_TRY(gd__image_new(name, x->height, x->width, x->channels, out));
    memcpy(out->pixels, x->pixels + (size_t)index * bytes, bytes);
    return GD_OK;
}

static gd_status idx_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    (void)part;
    return gd__idx_image(d->where, d->state, index, out);
}

static int idx_label(const gd_dataset *d, int part, int64_t index) {
    const gd__idx *x = d->state;
    (void)part;
    return x->labels ? x->labels[index] : -1;
}

static void idx_close(gd_dataset *d) {
    if (d->state) gd__idx_free(d->state);
}

#define IDX_SOURCE(how)                                                                                                \
    { .open = how, .image = idx_image, .label = idx_label, .close = idx_close, .in_memory = true, .test = true }
const gd__source gd__source_idx = IDX_SOURCE(idx_open);
const gd__source gd__source_fashion = IDX_SOURCE(fashion_open);
