/* data/derive.c -- the samples of a set as files: IDX for one domain, PNG for two. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/image_internal.h"
#include "data/output.h"
#include "data/source.h"
#include "data/tools.h"

enum { BYTE_LABELS = 256 };

static const char *half(const gd_dataset *d) { return d->test ? "test" : "train"; }

/* ---- IDX ---- */

static gd_status open_idx(const gd_dataset *d, const char *folder, const char *name, uint8_t type, int dims,
                          const int64_t *dim, gd__output *o) {
    char *path;
    uint8_t header[4 + 4 * 4] = {0, 0, type, (uint8_t)dims};
    for (int i = 0; i < 4 * dims; i++) header[4 + i] = (uint8_t)(dim[i / 4] >> (24 - 8 * (i % 4)));
    if (asprintf(&path, "%s/%s-%s", folder, half(d), name) < 0) GD_FAIL(NOMEM, "%s: no memory for a file name", folder);
    gd_status st = gd__output_open(path, o);
    free(path);
    if (st == GD_OK) st = gd__output_put(o, header, 4 + 4 * (size_t)dims);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status write_images(const gd_dataset *d, const char *folder) {
    const gd_sample_shape s = d->shape[0];
    const int64_t dim[] = {d->part_count[0], s.height, s.width, s.channels};
    gd__output o = {.fd = -1};
    gd_status st;
    uint8_t *pixels = malloc(gd_sample_bytes(s));
    if (!pixels) GD_FAIL(NOMEM, "%s: no memory for a picture", d->where);
    GD_TRY_TO(done, open_idx(d, folder, "images-idx3-ubyte", 0x08, s.channels == 1 ? 3 : 4, dim, &o));
    for (int64_t i = 0; i < dim[0]; i++) {
        GD_TRY_TO(done, gd_dataset_get(d, 0, i, 0, pixels));
        GD_TRY_TO(done, gd__output_put(&o, pixels, gd_sample_bytes(s)));
    }
    GD_TRY_TO(done, gd__output_commit(&o));
done:
    gd__output_close(&o);
    free(pixels);
    return st;
}

static gd_status write_labels(const gd_dataset *d, const char *folder) {
    const bool wide = d->classes > BYTE_LABELS;
    const size_t each = wide ? 2 : 1, n = (size_t)d->part_count[0];
    gd__output o = {.fd = -1};
    gd_status st;
    uint8_t *labels = malloc(n * each);
    if (!labels) GD_FAIL(NOMEM, "%s: no memory for its labels", d->where);
    for (size_t i = 0; i < n; i++) {
        const int label = gd_dataset_label(d, (int64_t)i);
        if (wide) labels[2 * i] = (uint8_t)(label >> 8);
        labels[each * i + each - 1] = (uint8_t)label;
    }
    GD_TRY_TO(done, open_idx(d, folder, wide ? "modes-idx1-short" : "labels-idx1-ubyte", wide ? 0x0B : 0x08, 1,
                             d->part_count, &o));
    GD_TRY_TO(done, gd__output_put(&o, labels, n * each));
    GD_TRY_TO(done, gd__output_commit(&o));
done:
    gd__output_close(&o);
    free(labels);
    return st;
}

/* ---- PNG ---- */

/* Without an fsync for each of many thousand files. */
static gd_status write_png(const char *path, const gd_image *im) {
    uint8_t *png;
    size_t n;
    GD_TRY(gd_image_encode_png(im, NULL, &png, &n));
    gd_status st = GD_OK;
    int fd = gd_io_get()->open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) st = gd_raise(GD_CANTCREAT, __FILE__, __LINE__, "%s: cannot be created (%s)", path, strerror(errno));
    else st = gd_file_write_fd(fd, path, png, n);
    if (fd >= 0 && gd_io_get()->close(fd) != 0 && st == GD_OK)
        st = gd_raise(GD_IO, __FILE__, __LINE__, "%s: cannot be written (%s)", path, strerror(errno));
    free(png);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status new_folder(const char *folder, const char *half_name, const char *domain, char **out) {
    gd_status st;
    if (asprintf(out, "%s/%s%s", folder, half_name, domain) < 0) {
        *out = NULL;
        GD_FAIL(NOMEM, "%s: no memory for a file name", folder);
    }
    if (gd_path_exists(*out))
        GD_FAIL_TO(fail, CANTCREAT, "%s: is there already; remove it, or choose another folder", *out);
    GD_TRY_TO(fail, gd_dir_make(*out));
    return GD_OK;
fail:
    free(*out);
    *out = NULL;
    return st;
}

/* Sample i of part `part` into columns of a picture that is `columns` pictures wide. */
static gd_status place(const gd_dataset *d, int part, int64_t i, int column, uint8_t *one, gd_image *im) {
    const gd_sample_shape s = d->shape[part];
    const size_t line = (size_t)s.width * (size_t)s.channels, whole = (size_t)im->width * (size_t)im->channels;
    GD_TRY(gd_dataset_get(d, part, i, 0, one));
    for (size_t y = 0; y < (size_t)s.height; y++)
        memcpy(im->pixels + y * whole + (size_t)column * line, one + y * line, line);
    return GD_OK;
}

/* Parts first .. first+columns-1 side by side, one file a sample. */
static gd_status write_files(const gd_dataset *d, const char *folder, const char *domain, int first, int columns) {
    const gd_sample_shape s = d->shape[first];
    char *below = NULL, *path = NULL;
    gd_image im = {0};
    gd_status st;
    uint8_t *one = malloc(gd_sample_bytes(s));
    if (!one) GD_FAIL(NOMEM, "%s: no memory for a picture", d->where);
    GD_TRY_TO(done, gd__image_new(d->where, s.height, s.width * columns, s.channels, &im));
    GD_TRY_TO(done, new_folder(folder, half(d), domain, &below));
    for (int64_t i = 0; i < d->part_count[first]; i++) {
        for (int c = 0; c < columns; c++) GD_TRY_TO(done, place(d, first + c, i, c, one, &im));
        free(path);
        path = NULL;
        if (asprintf(&path, "%s/%06" PRId64 ".png", below, i) < 0) {
            path = NULL;
            GD_FAIL_TO(done, NOMEM, "%s: no memory for a file name", folder);
        }
        GD_TRY_TO(done, write_png(path, &im));
    }
    GD_TRY_TO(done, gd_dir_sync(below));
done:
    gd_image_free(&im);
    free(path);
    free(below);
    free(one);
    return st;
}

gd_status gd_data_derive(const gd_dataset *d, const char *folder) {
    if (d->source->point || d->labels)
        GD_FAIL(UNSUP, "%s: points and one-hot labels are not written as files; expected a set of pictures", d->where);
    if (d->crop || d->flip)
        GD_FAIL(UNSUP, "%s: augmentation is drawn anew for each use; expected a set without it", d->where);
    GD_TRY(gd_dir_make(folder));
    if (d->parts == 1) {
        GD_TRY(write_images(d, folder));
        if (d->classes) GD_TRY(write_labels(d, folder));
        return GD_OK;
    }
    if (!d->aligned) {
        GD_TRY(write_files(d, folder, "A", 0, 1));
        GD_TRY(write_files(d, folder, "B", 1, 1));
        return GD_OK;
    }
    if (memcmp(&d->shape[0], &d->shape[1], sizeof d->shape[0]) != 0)
        GD_FAIL(UNSUP, "%s: the two pictures of a pair have different shapes; expected equal ones; set image.channels",
                d->where);
    GD_TRY(write_files(d, folder, "", 0, 2));
    return GD_OK;
}
