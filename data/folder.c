/* data/folder.c -- the source "folder": PNG and JPEG files of a folder and its sub-folders. */
#include "data/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "data/source.h"

enum { SIZES = 6 /* shown in a message */ };

/* ---- what the files have in common ---- */

typedef struct size_count {
    const gd__file *first;
    uint64_t count;
} size_count;

static gd_status mixed_sizes(const char *root, const gd__file_list *l) {
    size_count seen[SIZES] = {{0}};
    char text[1024];
    size_t used = 0, sizes = 0;
    uint64_t rest = 0;
    for (size_t i = 0; i < l->count; i++) {
        const gd__file *f = &l->files[i];
        size_t k = 0;
        while (k < sizes && (seen[k].first->width != f->width || seen[k].first->height != f->height)) k++;
        if (k == SIZES) {
            rest++;
            continue;
        }
        if (k == sizes) seen[sizes++].first = f;
        seen[k].count++;
    }
    for (size_t k = 0; k < sizes && used < sizeof text; k++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%dx%d: %" PRIu64 " (first %.80s)", k ? ", " : "",
                                 seen[k].first->width, seen[k].first->height, seen[k].count, seen[k].first->name);
    if (rest && used < sizeof text) snprintf(text + used, sizeof text - used, ", others: %" PRIu64, rest);
    GD_FAIL(DATA, "%s: pictures of different sizes: %s; expected one size; set data.image.size to resize them", root,
            text);
}

gd_status gd__folder_shape(const char *root, const gd__file_list *l, bool any_size, gd_sample_shape *out) {
    gd_sample_shape s = {GD_SAMPLE_U8, l->files[0].height, l->files[0].width, 1};
    for (size_t i = 0; i < l->count; i++) {
        const gd__file *f = &l->files[i];
        if (f->channels > s.channels) s.channels = f->channels;
        if (f->height == l->files[0].height && f->width == l->files[0].width) continue;
        if (!any_size) return mixed_sizes(root, l);
        s.height = s.width = 0;
    }
    *out = s;
    return GD_OK;
}

uint64_t gd__folder_identify(const gd__file_list *l) {
    uint64_t h = l->count;
    for (size_t i = 0; i < l->count; i++) {
        const gd__file *f = &l->files[i];
        h = gd_hash64(f->name, strlen(f->name), h);
        h = gd_hash64(&f->bytes, sizeof f->bytes, h);
    }
    return h;
}

void gd__folder_cut(gd__file_list *l, int64_t count) {
    while (l->count > (size_t)count) free(l->files[--l->count].name);
}

/* ---- the source ---- */

static gd_status folder_open(const gd_dataset_spec *spec, gd_dataset *d) {
    gd__file_list *l = calloc(1, sizeof *l);
    if (!l) GD_FAIL(NOMEM, "%s: no memory for its list of files", spec->path);
    d->state = l;
    GD_TRY(gd__folder_scan(spec->path, l));
    d->parts = 1;
    d->part_count[0] = (int64_t)l->count;
    GD_TRY(gd__source_limit(spec, spec->path, &d->part_count[0]));
    gd__folder_cut(l, d->part_count[0]);
    GD_TRY(gd__folder_probe(spec->path, l));
    GD_TRY(gd__folder_shape(spec->path, l, spec->size, &d->raw[0]));
    d->fingerprint = gd__folder_identify(l);
    return GD_OK;
}

static gd_status folder_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const gd__file_list *l = d->state;
    (void)part;
    return gd__folder_decode(d->where, &l->files[index], out);
}

static void folder_close(gd_dataset *d) {
    if (d->state) gd__file_list_free(d->state);
}

const gd__source gd__source_folder = {.open = folder_open, .image = folder_image, .close = folder_close};
