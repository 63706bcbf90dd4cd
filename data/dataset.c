/* data/dataset.c -- the table of sources, and what is common to all of them. */
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/image_internal.h"
#include "data/source.h"

#define ROW(c, name, help, path, synthetic) {name, help, path, synthetic},
static const gd_source_info INFO[] = {GD__SOURCE_LIST(ROW)};
#undef ROW
#define ROW(c, name, help, path, synthetic) &gd__source_##c,
static const gd__source *const SOURCE[] = {GD__SOURCE_LIST(ROW)};
#undef ROW
enum { SOURCES = sizeof INFO / sizeof *INFO };

const gd_source_info *gd_dataset_sources(int *count) {
    *count = SOURCES;
    return INFO;
}

static gd_status find_source(const char *name, int *out) {
    const char *names[SOURCES];
    char all[256] = "";
    for (int i = 0; i < SOURCES; i++) {
        names[i] = INFO[i].name;
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
        if (name && !strcmp(name, names[i])) {
            *out = i;
            return GD_OK;
        }
    }
    const char *near = name ? gd_nearest(name, names, SOURCES) : NULL;
    GD_FAIL(CONFIG, "data source '%s' is unknown; expected one of: %s%s%s%s", name ? name : "", all,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static gd_status check_spec(const gd_dataset_spec *s, const gd_source_info *info, bool points) {
    if (s->size < 0 || s->size > GD__SIDE_MAX)
        GD_FAIL(CONFIG, "%s: image size %d; expected 1 to %d, or 0 for the size as stored", info->name, s->size,
                GD__SIDE_MAX);
    if (s->channels != 0 && s->channels != 1 && s->channels != 3)
        GD_FAIL(CONFIG, "%s: %d image channels; expected 1, 3, or 0 for as stored", info->name, s->channels);
    if (s->count < 0)
        GD_FAIL(CONFIG, "%s: %" PRId64 " samples; expected at least 1, or 0 for all", info->name, s->count);
    if (points && (s->size || s->channels || s->flip))
        GD_FAIL(CONFIG,
                "%s: gives points of the plane; image size, channels and flip have no meaning "
                "there; leave them out",
                info->name);
    if (info->synthetic && s->path)
        GD_FAIL(CONFIG, "%s: is made in memory and reads no path; leave the path '%s' out", info->name, s->path);
    if (!info->synthetic && !info->default_path && !s->path)
        GD_FAIL(CONFIG, "%s: no path given; expected the place of the data; set data.path", info->name);
    return GD_OK;
}

gd_status gd__source_limit(const gd_dataset_spec *spec, const char *path, int64_t *have) {
    if (!spec->count) return GD_OK;
    if (spec->count > *have)
        GD_FAIL(CONFIG,
                "%s: holds %" PRId64 " samples; the first %" PRId64 " are asked for; lower "
                "data.count",
                path, *have, spec->count);
    *have = spec->count;
    return GD_OK;
}

/* Decides what is kept. Memory is touched, and so really used, only as pictures come in. */
static void keep_pictures(gd_dataset *d) {
    uint64_t total = 0;
    for (int p = 0; p < d->parts; p++) total += (uint64_t)d->part_count[p] * gd_sample_bytes(d->shape[p]);
    if (d->source->point || total > GD__KEEP_MAX) return;
    for (int p = 0; p < d->parts; p++) {
        if (d->source->in_memory && !memcmp(&d->raw[p], &d->shape[p], sizeof d->raw[p])) continue;
        const size_t n = (size_t)d->part_count[p];
        gd__kept k = {.pixels = malloc(n * gd_sample_bytes(d->shape[p])), .state = calloc(n, 1)};
        if (k.pixels && k.state) {
            d->kept[p] = k;
            continue;
        }
        free(k.pixels);
        free(k.state);
        GD_LOG(DATA, WARN, "%s: no memory to keep decoded pictures; each pass decodes them again", d->where);
    }
}

static void final_shapes(gd_dataset *d) {
    for (int p = 0; p < d->parts; p++) {
        gd_sample_shape s = d->raw[p];
        if (d->size) s.height = s.width = d->size;
        if (d->channels) s.channels = d->channels;
        d->shape[p] = s;
    }
}

static void describe(gd_dataset *d) {
    char *at = d->describe, *end = at + sizeof d->describe;
    at += snprintf(at, (size_t)(end - at), "%s:", d->name);
    for (int p = 0; p < d->parts && at < end; p++) {
        const gd_sample_shape r = d->raw[p], s = d->shape[p];
        char n[32];
        gd_text_count((uint64_t)d->part_count[p], n, sizeof n);
        at += snprintf(at, (size_t)(end - at), "%s %s", p ? (d->aligned ? " with" : " and") : "", n);
        if (s.type == GD_SAMPLE_F32) at += snprintf(at, (size_t)(end - at), " points of %d numbers", s.channels);
        else if (!r.height)
            at += snprintf(at, (size_t)(end - at), " images -> %dx%dx%d", s.height, s.width, s.channels);
        else if (memcmp(&r, &s, sizeof r))
            at += snprintf(at, (size_t)(end - at), " images %dx%dx%d -> %dx%dx%d", r.height, r.width, r.channels,
                           s.height, s.width, s.channels);
        else at += snprintf(at, (size_t)(end - at), " images %dx%dx%d", s.height, s.width, s.channels);
    }
}

gd_status gd_dataset_open(const gd_dataset_spec *spec, gd_dataset **out) {
    int i = 0;
    GD_TRY(find_source(spec->source, &i));
    GD_TRY(check_spec(spec, &INFO[i], SOURCE[i]->point));
    gd_dataset_spec s = *spec;
    if (!s.path) s.path = INFO[i].default_path;
    gd_dataset *d = calloc(1, sizeof *d);
    if (!d) GD_FAIL(NOMEM, "%s: no memory for the data set", INFO[i].name);
    d->source = SOURCE[i];
    d->name = INFO[i].name;
    d->size = s.size;
    d->channels = s.channels;
    d->flip = s.flip;
    d->seed = s.seed;
    d->where = strdup(s.path ? s.path : d->name);
    gd_status st;
    if (!d->where) GD_FAIL_TO(fail, NOMEM, "%s: no memory for the data set", d->name);
    GD_TRY_TO(fail, d->source->open(&s, d));
    final_shapes(d);
    describe(d);
    keep_pictures(d);
    *out = d;
    return GD_OK;
fail:
    gd_dataset_close(d);
    return st;
}

void gd_dataset_close(gd_dataset *d) {
    if (!d) return;
    if (d->source->close) d->source->close(d);
    for (int p = 0; p < GD_PARTS_MAX; p++) {
        free(d->kept[p].pixels);
        free(d->kept[p].state);
    }
    free(d->state);
    free(d->where);
    free(d);
}

int64_t gd_dataset_count(const gd_dataset *d) {
    int64_t most = 0;
    for (int p = 0; p < d->parts; p++)
        if (d->part_count[p] > most) most = d->part_count[p];
    return most;
}

int gd_dataset_parts(const gd_dataset *d) { return d->parts; }

gd_sample_shape gd_dataset_shape(const gd_dataset *d, int part) { return d->shape[part]; }

uint64_t gd_dataset_fingerprint(const gd_dataset *d) { return d->fingerprint; }

const char *gd_dataset_describe(const gd_dataset *d) { return d->describe; }

size_t gd_sample_bytes(gd_sample_shape s) {
    return (size_t)s.height * (size_t)s.width * (size_t)s.channels * (s.type == GD_SAMPLE_F32 ? sizeof(float) : 1);
}

/* Parts that belong together are mirrored together. */
static bool mirrored(const gd_dataset *d, int part, uint64_t draw) {
    uint32_t stream = d->aligned ? 0 : (uint32_t)part << 16;
    gd_rng r = {.seed = d->seed, .purpose = GD_PURPOSE_FLIP | stream};
    return d->flip && gd_rng_below(&r, draw, 2);
}

static void copy_rows(const uint8_t *pixels, gd_sample_shape s, bool mirror, uint8_t *out) {
    const size_t c = (size_t)s.channels, w = (size_t)s.width, h = (size_t)s.height;
    if (!mirror) {
        memcpy(out, pixels, h * w * c);
        return;
    }
    for (size_t y = 0; y < h; y++, pixels += w * c)
        for (size_t x = w; x-- > 0; out += c)
            for (size_t i = 0; i < c; i++) out[i] = pixels[x * c + i];
}

/* Grey pictures are fitted before they are spread over three channels: the result is equal. */
static gd_status prepare(const gd_dataset *d, gd_sample_shape want, gd_image *im) {
    if (want.channels == 1) GD_TRY(gd__image_convert(im, 1));
    if (d->size && (im->height != d->size || im->width != d->size)) {
        gd_image fitted;
        GD_TRY(gd_image_fit(im, d->size, &fitted));
        gd_image_free(im);
        *im = fitted;
    }
    GD_TRY(gd__image_convert(im, want.channels));
    if (im->height != want.height || im->width != want.width)
        GD_FAIL(DATA,
                "%s: a picture of %d x %d pixels; all had %d x %d when the data set was opened; do not "
                "change files while they are in use",
                d->where, im->width, im->height, want.width, want.height);
    return GD_OK;
}

enum { MISSING, WRITING, THERE };

/* One thread of several that decoded the same picture stores it; the others need not wait. */
static void keep(const gd_dataset *d, int part, int64_t index, const uint8_t *pixels) {
    const gd__kept *k = &d->kept[part];
    const size_t bytes = gd_sample_bytes(d->shape[part]);
    uint8_t expected = MISSING;
    if (!k->pixels || !atomic_compare_exchange_strong(&k->state[index], &expected, WRITING)) return;
    memcpy(k->pixels + (size_t)index * bytes, pixels, bytes);
    atomic_store_explicit(&k->state[index], THERE, memory_order_release);
}

static const uint8_t *kept(const gd_dataset *d, int part, int64_t index) {
    const gd__kept *k = &d->kept[part];
    if (!k->pixels || atomic_load_explicit(&k->state[index], memory_order_acquire) != THERE) return NULL;
    return k->pixels + (size_t)index * gd_sample_bytes(d->shape[part]);
}

static gd_status check_index(const gd_dataset *d, int part, int64_t index) {
    if (part < 0 || part >= d->parts)
        GD_FAIL(INTERNAL, "%s: part %d asked for; there are %d", d->where, part, d->parts);
    if (index < 0 || index >= d->part_count[part])
        GD_FAIL(INTERNAL, "%s: sample %" PRId64 " of part %d asked for; there are %" PRId64, d->where, index, part,
                d->part_count[part]);
    return GD_OK;
}

gd_status gd_dataset_get(const gd_dataset *d, int part, int64_t index, uint64_t draw, void *out) {
    GD_TRY(check_index(d, part, index));
    if (d->source->point) {
        d->source->point(d, part, index, out);
        return GD_OK;
    }
    const gd_sample_shape shape = d->shape[part];
    const uint8_t *ready = kept(d, part, index);
    if (ready) {
        copy_rows(ready, shape, mirrored(d, part, draw), out);
        return GD_OK;
    }
    gd_image im = {0};
    gd_status st;
    GD_TRY_TO(done, d->source->image(d, part, index, &im));
    GD_TRY_TO(done, prepare(d, shape, &im));
    keep(d, part, index, im.pixels);
    copy_rows(im.pixels, shape, mirrored(d, part, draw), out);
done:
    gd_image_free(&im);
    return st;
}
