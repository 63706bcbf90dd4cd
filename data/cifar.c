/* data/cifar.c -- CIFAR-10 in its binary version: data_batch_1.bin .. data_batch_5.bin and test_batch.bin, each
 * 10,000 records of a label byte and 32 x 32 pixels, red plane, green plane, blue plane.
 *
 * Opening reads the files once, for the labels and the fingerprint. Pictures are read where they lie, when they
 * are asked for: all ranks of a machine share one copy in the page cache. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "data/image_internal.h"
#include "data/source.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, FILE_RECORDS = 10000, FILES = 5, CLASSES = 10 };

typedef struct cifar {
    char *folder;
    int files, fd[FILES];
    uint8_t labels[FILES * FILE_RECORDS];
} cifar;

static void file_name(const gd_dataset *d, int n, char out[32]) {
    if (d->test) snprintf(out, 32, "test_batch.bin");
    else snprintf(out, 32, "data_batch_%d.bin", n + 1);
}

/* The archive of the binary version unpacks into a folder of its own. */
static gd_status find_folder(const char *path, char **out) {
    *out = gd_path_join(path, "cifar-10-batches-bin");
    if (!*out) GD_FAIL(NOMEM, "%s: no memory for a file name", path);
    if (gd_path_is_dir(*out)) return GD_OK;
    free(*out);
    *out = strdup(path);
    if (!*out) GD_FAIL(NOMEM, "%s: no memory for a file name", path);
    if (gd_path_is_dir(path)) return GD_OK;
    GD_FAIL(NOINPUT,
            "%s: %s; expected the folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin; check "
            "data.path",
            path, gd_path_exists(path) ? "is no folder" : "does not exist");
}

static gd_status check_size(const char *path, uint64_t size) {
    const uint64_t want = (uint64_t)RECORD * FILE_RECORDS;
    if (size == want) return GD_OK;
    char have[32], whole[32], off[32];
    gd_text_count(size, have, sizeof have);
    gd_text_count(want, whole, sizeof whole);
    gd_text_count(size < want ? want - size : size - want, off, sizeof off);
    GD_FAIL(DATA,
            "%s: %s bytes, %s too %s; expected %s (10,000 records of 3,073); copy it again, and take the binary "
            "version",
            path, have, off, size < want ? "few" : "many", whole);
}

/* Labels of one file, and *hash over all its bytes. */
static gd_status read_labels(int fd, const char *path, uint8_t *labels, uint64_t *hash) {
    enum { AT_ONCE = 100 };
    uint8_t *records = malloc((size_t)AT_ONCE * RECORD);
    gd_status st = GD_OK;
    if (!records) GD_FAIL(NOMEM, "%s: no memory to read it", path);
    for (int first = 0; first < FILE_RECORDS; first += AT_ONCE) {
        GD_TRY_TO(done, gd_file_pread(fd, path, records, (size_t)AT_ONCE * RECORD, (uint64_t)first * RECORD));
        *hash = gd_hash64(records, (size_t)AT_ONCE * RECORD, *hash);
        for (int i = 0; i < AT_ONCE; i++) {
            labels[first + i] = records[(size_t)i * RECORD];
            if (labels[first + i] < CLASSES) continue;
            GD_FAIL_TO(done, DATA,
                       "%s: record %d has the label %d; expected 0 to 9; copy it again, and take the binary "
                       "version of CIFAR-10",
                       path, first + i, labels[first + i]);
        }
    }
done:
    free(records);
    return st;
}

static gd_status open_file(gd_dataset *d, int n) {
    cifar *c = d->state;
    char name[32];
    uint64_t size;
    gd_status st;
    file_name(d, n, name);
    char *path = gd_path_join(c->folder, name);
    if (!path) GD_FAIL(NOMEM, "%s: no memory for a file name", c->folder);
    GD_TRY_TO(done, gd_file_open(path, &c->fd[n], &size));
    c->files = n + 1;
    GD_TRY_TO(done, check_size(path, size));
    GD_TRY_TO(done, read_labels(c->fd[n], path, c->labels + (size_t)n * FILE_RECORDS, &d->fingerprint));
done:
    free(path);
    return st;
}

static gd_status cifar_open(const gd_dataset_spec *spec, gd_dataset *d) {
    const int files = spec->test ? 1 : FILES;
    cifar *c = calloc(1, sizeof *c);
    if (!c) GD_FAIL(NOMEM, "%s: no memory for the data set", spec->path);
    d->state = c;
    GD_TRY(find_folder(spec->path, &c->folder));
    for (int n = 0; n < files; n++) GD_TRY(open_file(d, n));
    d->parts = 1;
    d->classes = CLASSES;
    d->part_count[0] = (int64_t)files * FILE_RECORDS;
    d->raw[0] = (gd_sample_shape){GD_SAMPLE_U8, SIDE, SIDE, 3};
    GD_TRY(gd__source_limit(spec, spec->path, &d->part_count[0]));
    d->fingerprint = gd_hash64(&d->part_count[0], sizeof d->part_count[0], d->fingerprint);
    return GD_OK;
}

static gd_status cifar_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const cifar *c = d->state;
    const int n = (int)(index / FILE_RECORDS);
    const uint64_t at = (uint64_t)(index % FILE_RECORDS) * RECORD + 1;
    uint8_t planes[3 * PLANE];
    char name[32];
    (void)part;
    file_name(d, n, name);
    GD_TRY(gd_file_pread(c->fd[n], name, planes, sizeof planes, at));
    GD_TRY(gd__image_new(d->where, SIDE, SIDE, 3, out));
    for (int i = 0; i < PLANE; i++)
        for (int k = 0; k < 3; k++) out->pixels[3 * i + k] = planes[k * PLANE + i];
    return GD_OK;
}

static int cifar_label(const gd_dataset *d, int part, int64_t index) {
    (void)part;
    return ((const cifar *)d->state)->labels[index];
}

static void cifar_close(gd_dataset *d) {
    cifar *c = d->state;
    if (!c) return;
    for (int n = 0; n < c->files; n++) gd_io_get()->close(c->fd[n]);
    free(c->folder);
}

/* Not in memory, but in the page cache, once for all ranks: a copy for each rank would be a waste. */
const gd__source gd__source_cifar10 = {.open = cifar_open,
                                       .image = cifar_image,
                                       .label = cifar_label,
                                       .close = cifar_close,
                                       .in_memory = true,
                                       .test = true};
