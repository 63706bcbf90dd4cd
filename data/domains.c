/* data/domains.c -- sets of two domains in folders: aligned pairs (side by side in one file, or files of one
 * name in two folders), and pictures of two kinds that do not belong together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "data/folder.h"
#include "data/image_internal.h"
#include "data/source.h"

typedef struct domains {
    gd__two two;      /* [0] only when side by side */
    bool joined;      /* side by side: list[0] has both domains */
    int64_t first[2]; /* file of sample 0 */
} domains;

/* ---- where the files lie ---- */

static gd_status join(const char *folder, const char *name, char **out) {
    free(*out);
    *out = gd_path_join(folder, name);
    if (!*out) GD_FAIL(NOMEM, "%s: no memory for a file name", folder);
    return GD_OK;
}

static gd_status check_folder(const char *path) {
    if (gd_path_is_dir(path)) return GD_OK;
    if (!gd_path_exists(path))
        GD_FAIL(NOINPUT, "%s: does not exist; expected a folder of two domains; check data.path", path);
    GD_FAIL(DATA, "%s: is no folder; expected a folder of two domains; check data.path and data.source", path);
}

/* The sub-folder of `path` for a half, or NULL. */
static const char *half_of(const char *path, bool test) {
    static const char *const train[] = {"train", NULL}, *const held_out[] = {"test", "val", NULL};
    const char *const *n = test ? held_out : train;
    while (*n && !gd__has_folder(path, *n)) n++;
    return *n;
}

/* Both of a and b below root must be there. */
static gd_status two_folders(domains *s, const char *root, const char *a, const char *b) {
    const bool has_a = gd__has_folder(root, a), has_b = gd__has_folder(root, b);
    if (!has_a || !has_b)
        GD_FAIL(DATA, "%s: %s is there, but no %s; expected both folders, one of each domain", root, has_a ? a : b,
                has_a ? b : a);
    GD_TRY(join(root, a, &s->two.root[0]));
    GD_TRY(join(root, b, &s->two.root[1]));
    return GD_OK;
}

/* path/A and path/B, each with a sub-folder for the half. */
static gd_status halves_below(domains *s, const char *path, bool test) {
    GD_TRY(two_folders(s, path, "A", "B"));
    for (int p = 0; p < 2; p++) {
        const char *half = half_of(s->two.root[p], test);
        if (!half && test) GD_FAIL(NOINPUT, "%s: no held-out half; expected a sub-folder test or val", s->two.root[p]);
        if (!half) continue;
        char *below = NULL;
        GD_TRY(join(s->two.root[p], half, &below));
        free(s->two.root[p]);
        s->two.root[p] = below;
    }
    return GD_OK;
}

static gd_status find_pairs(domains *s, const char *path, bool test) {
    GD_TRY(check_folder(path));
    if (gd__has_folder(path, "trainA") || gd__has_folder(path, "trainB"))
        GD_FAIL(DATA,
                "%s: has folders trainA and trainB: pictures without partners; expected pairs; set data.source to "
                "unpaired",
                path);
    const char *half = half_of(path, test);
    if (!half && (gd__has_folder(path, "A") || gd__has_folder(path, "B"))) {
        GD_TRY(halves_below(s, path, test));
        return GD_OK;
    }
    if (!half && test) GD_FAIL(NOINPUT, "%s: no held-out half; expected a sub-folder test or val", path);
    if (half) GD_TRY(join(path, half, &s->two.root[0]));
    else if (!(s->two.root[0] = strdup(path))) GD_FAIL(NOMEM, "%s: no memory for its name", path);
    if (!gd__has_folder(s->two.root[0], "A") && !gd__has_folder(s->two.root[0], "B")) {
        s->joined = true;
        return GD_OK;
    }
    char *root = s->two.root[0];
    s->two.root[0] = NULL;
    gd_status st = two_folders(s, root, "A", "B");
    free(root);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status find_unpaired(domains *s, const char *path, bool test) {
    const char *a = test ? "testA" : "trainA", *b = test ? "testB" : "trainB";
    GD_TRY(check_folder(path));
    if (!gd__has_folder(path, a) && !gd__has_folder(path, b)) {
        if (test) GD_FAIL(NOINPUT, "%s: no held-out half; expected folders testA and testB", path);
        GD_FAIL(DATA,
                "%s: has neither trainA nor trainB; expected a folder of each domain by these names; check data.path "
                "and data.source",
                path);
    }
    GD_TRY(two_folders(s, path, a, b));
    return GD_OK;
}

/* ---- opening ---- */

static gd_status check_pair_sizes(const domains *s) {
    for (size_t i = 0; i < s->two.list[0].count; i++) {
        const gd__file *a = &s->two.list[0].files[i], *b = &s->two.list[1].files[i];
        if (a->width != b->width || a->height != b->height)
            GD_FAIL(DATA, "%s/%s: %dx%d pixels, but its partner in %s has %dx%d; expected equal sizes", s->two.root[0],
                    a->name, a->width, a->height, s->two.root[1], b->width, b->height);
    }
    return GD_OK;
}

static gd_status check_widths(const domains *s) {
    uint64_t odd = 0;
    const gd__file *first = NULL;
    for (size_t i = 0; i < s->two.list[0].count; i++) {
        const gd__file *f = &s->two.list[0].files[i];
        if (f->width % 2 == 0) continue;
        if (!odd++) first = f;
    }
    if (!odd) return GD_OK;
    char n[32];
    gd_text_count(odd, n, sizeof n);
    GD_FAIL(
        DATA,
        "%s/%s: %d pixels wide, which is odd (%s such file%s); expected two pictures of one width side by side; for "
        "two folders name them A and B",
        s->two.root[0], first->name, first->width, n, odd == 1 ? "" : "s");
}

static gd_status domains_new(const gd_dataset_spec *spec, gd_dataset *d, domains **out) {
    d->parts = 2;
    d->state = *out = calloc(1, sizeof **out);
    if (!*out) GD_FAIL(NOMEM, "%s: no memory for the data set", spec->path);
    return GD_OK;
}

static gd_status probe_both(const gd_dataset_spec *spec, gd_dataset *d, domains *s) {
    const int lists = s->joined ? 1 : 2;
    for (int p = 0; p < lists; p++) {
        GD_TRY(gd__folder_probe(s->two.root[p], &s->two.list[p]));
        if (s->joined) GD_TRY(check_widths(s));
        GD_TRY(gd__folder_shape(s->two.root[p], &s->two.list[p], spec->size, &d->raw[p]));
        d->fingerprint = gd_hash64(&d->fingerprint, sizeof d->fingerprint, gd__folder_identify(&s->two.list[p]));
    }
    return GD_OK;
}

static gd_status open_joined(const gd_dataset_spec *spec, gd_dataset *d, domains *s) {
    GD_TRY(gd__folder_scan(s->two.root[0], &s->two.list[0]));
    int64_t count = (int64_t)s->two.list[0].count;
    GD_TRY(gd__source_limit(spec, spec->path, &count));
    gd__folder_cut(&s->two.list[0], count);
    GD_TRY(probe_both(spec, d, s));
    d->raw[0].width /= 2;
    d->raw[1] = d->raw[0];
    return GD_OK;
}

static gd_status open_matched(const gd_dataset_spec *spec, gd_dataset *d, domains *s) {
    GD_TRY(gd__two_scan(&s->two));
    GD_TRY(gd__two_match(spec->path, &s->two));
    int64_t count = (int64_t)s->two.list[0].count;
    GD_TRY(gd__source_limit(spec, spec->path, &count));
    for (int p = 0; p < 2; p++) gd__folder_cut(&s->two.list[p], count);
    GD_TRY(probe_both(spec, d, s));
    GD_TRY(check_pair_sizes(s));
    return GD_OK;
}

static gd_status pairs_open(const gd_dataset_spec *spec, gd_dataset *d) {
    domains *s;
    GD_TRY(domains_new(spec, d, &s));
    GD_TRY(find_pairs(s, spec->path, spec->test));
    if (s->joined) GD_TRY(open_joined(spec, d, s));
    else GD_TRY(open_matched(spec, d, s));
    d->aligned = true;
    d->part_count[0] = d->part_count[1] = (int64_t)s->two.list[0].count;
    return GD_OK;
}

/* As the DiscoGAN code splits edges2shoes; its test half is whole pairs. */
static gd_status split_open(const gd_dataset_spec *spec, gd_dataset *d) {
    GD_TRY(pairs_open(spec, d));
    if (spec->test) return GD_OK;
    domains *s = d->state;
    const int64_t pairs = d->part_count[0];
    if (pairs < 2) GD_FAIL(DATA, "%s: one pair cannot be split into two domains; expected at least two", spec->path);
    d->aligned = false;
    d->part_count[0] = s->first[1] = pairs / 2;
    d->part_count[1] = pairs - pairs / 2;
    d->fingerprint = gd_hash64(d->name, strlen(d->name), d->fingerprint);
    return GD_OK;
}

static gd_status unpaired_open(const gd_dataset_spec *spec, gd_dataset *d) {
    domains *s;
    GD_TRY(domains_new(spec, d, &s));
    GD_TRY(find_unpaired(s, spec->path, spec->test));
    GD_TRY(gd__two_scan(&s->two));
    for (int p = 0; p < 2; p++) d->part_count[p] = (int64_t)s->two.list[p].count;
    GD_TRY(gd__source_limit_both(spec, spec->path, d->part_count));
    for (int p = 0; p < 2; p++) gd__folder_cut(&s->two.list[p], d->part_count[p]);
    GD_TRY(probe_both(spec, d, s));
    const gd_sample_shape a = d->raw[0], b = d->raw[1];
    if (!spec->size && (a.height != b.height || a.width != b.width))
        GD_FAIL(DATA,
                "%s: pictures of %dx%d in A, of %dx%d in B; expected one size; set data.image.size to resize them",
                spec->path, a.width, a.height, b.width, b.height);
    return GD_OK;
}

/* ---- samples ---- */

static gd_status cut_half(const char *name, const gd_image *whole, int part, gd_image *out) {
    const int width = whole->width / 2;
    const size_t c = (size_t)whole->channels, line = (size_t)whole->width * c, half = (size_t)width * c;
    GD_TRY(gd__image_new(name, whole->height, width, whole->channels, out));
    for (size_t y = 0; y < (size_t)whole->height; y++)
        memcpy(out->pixels + y * half, whole->pixels + y * line + (part ? half : 0), half);
    return GD_OK;
}

static gd_status decode(const domains *s, int part, int64_t index, gd_image *out) {
    const int l = s->joined ? 0 : part;
    return gd__folder_decode(s->two.root[l], &s->two.list[l].files[s->first[part] + index], out);
}

/* The width may have become odd if the file was changed since: then both halves differ from the raw size. */
static gd_status domains_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const domains *s = d->state;
    gd_image whole;
    GD_TRY(decode(s, part, index, &whole));
    if (!s->joined) {
        *out = whole;
        return GD_OK;
    }
    gd_status st = cut_half(d->where, &whole, part, out);
    gd_image_free(&whole);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status pairs_pair(const gd_dataset *d, int64_t index, gd_image out[GD_PARTS_MAX]) {
    const domains *s = d->state;
    gd_image whole = {0};
    gd_status st = GD_OK;
    if (!s->joined) {
        for (int p = 0; p < 2; p++) GD_TRY_TO(fail, decode(s, p, index, &out[p]));
        return GD_OK;
    }
    GD_TRY(decode(s, 0, index, &whole));
    for (int p = 0; p < 2; p++) GD_TRY_TO(fail, cut_half(d->where, &whole, p, &out[p]));
    gd_image_free(&whole);
    return GD_OK;
fail:
    gd_image_free(&whole);
    for (int p = 0; p < 2; p++) gd_image_free(&out[p]);
    return st;
}

static void domains_close(gd_dataset *d) {
    domains *s = d->state;
    if (s) gd__two_free(&s->two);
}

const gd__source gd__source_pairs = {
    .open = pairs_open, .image = domains_image, .pair = pairs_pair, .close = domains_close, .test = true};
const gd__source gd__source_split_pairs = {
    .open = split_open, .image = domains_image, .pair = pairs_pair, .close = domains_close, .test = true};
const gd__source gd__source_unpaired = {
    .open = unpaired_open, .image = domains_image, .close = domains_close, .test = true};
