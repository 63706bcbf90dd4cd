/* data/dataset.c -- the table of sources, and what is common to all of them. */
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
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
    char all[512] = "";
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
    if (points && (s->size || s->load || s->channels || s->flip))
        GD_FAIL(CONFIG,
                "%s: gives points of the plane; image size, load, channels and flip have no meaning "
                "there; leave them out",
                info->name);
    if (s->load && (!s->size || s->load < s->size || s->load > GD__SIDE_MAX))
        GD_FAIL(CONFIG,
                "%s: pictures of %d pixels to be cut out of %d; expected a size, and at least as much to load "
                "(at most %d); set data.image.size and data.image.load",
                info->name, s->size, s->load, GD__SIDE_MAX);
    if (s->swap && s->labels)
        GD_FAIL(CONFIG, "%s: labels of a set whose two domains are swapped; expected one of the two", info->name);
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

gd_status gd__source_limit_both(const gd_dataset_spec *spec, const char *path, int64_t have[2]) {
    int64_t most = have[0] > have[1] ? have[0] : have[1];
    GD_TRY(gd__source_limit(spec, path, &most));
    for (int p = 0; p < 2; p++)
        if (have[p] > most) have[p] = most;
    return GD_OK;
}

static bool is_label(const gd_dataset *d, int part) { return d->labels && part == 1; }

static bool worth_keeping(const gd_dataset *d, int part) {
    if (is_label(d, part)) return false;
    if (!d->source->in_memory) return true;
    return memcmp(&d->raw[part], &d->ready[part], sizeof d->raw[part]) != 0 &&
           (uint64_t)d->part_count[part] * gd_sample_bytes(d->ready[part]) <= GD__KEEP_COPIES_MAX;
}

/* Decides what is kept. Memory is touched, and so really used, only as pictures come in. */
static void keep_pictures(gd_dataset *d) {
    uint64_t total = 0;
    for (int p = 0; p < d->parts; p++)
        if (worth_keeping(d, p)) total += (uint64_t)d->part_count[p] * gd_sample_bytes(d->ready[p]);
    if (d->source->point || total > GD__KEEP_MAX) return;
    for (int p = 0; p < d->parts; p++) {
        if (!worth_keeping(d, p)) continue;
        const size_t n = (size_t)d->part_count[p];
        gd__kept k = {.pixels = malloc(n * gd_sample_bytes(d->ready[p])), .state = calloc(n, 1)};
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
        if (!is_label(d, p)) {
            if (d->size) s.height = s.width = d->size;
            if (d->channels) s.channels = d->channels;
        }
        d->shape[p] = d->ready[p] = s;
        if (d->crop && !is_label(d, p)) d->ready[p].height = d->ready[p].width = d->load;
    }
}

/* After the source is open: which of its domains is part 0. */
static gd_status swap_domains(gd_dataset *d) {
    if (d->parts != 2)
        GD_FAIL(CONFIG, "%s: holds one domain; the other direction needs a set of two (pairs, unpaired, ...)",
                d->where);
    const int64_t count = d->part_count[0];
    const gd_sample_shape raw = d->raw[0];
    d->part_count[0] = d->part_count[1];
    d->raw[0] = d->raw[1];
    d->part_count[1] = count;
    d->raw[1] = raw;
    return GD_OK;
}

static gd_status add_labels(gd_dataset *d) {
    if (d->parts != 1) GD_FAIL(CONFIG, "%s: holds two domains; labels can be used with sets of one only", d->where);
    if (!d->classes)
        GD_FAIL(CONFIG, "%s: the source '%s' has no labels here; expected a set with labels (docs/data.md)", d->where,
                d->name);
    d->parts = 2;
    d->aligned = true;
    d->part_count[1] = d->part_count[0];
    d->raw[1] = (gd_sample_shape){GD_SAMPLE_U8, 1, 1, d->classes};
    return GD_OK;
}

/* The hash of the content alone stays what it was before there were choices. */
static uint64_t identify_choices(const gd_dataset *d) {
    const uint64_t facts[] = {d->swap, d->labels, d->test};
    if (!d->swap && !d->labels && !d->test) return d->fingerprint;
    return gd_hash64(facts, sizeof facts, d->fingerprint);
}

static int describe_part(const gd_dataset *d, int p, char *at, size_t room) {
    const gd_sample_shape r = d->raw[p], s = d->shape[p];
    char n[32];
    gd_text_count((uint64_t)d->part_count[p], n, sizeof n);
    const char *with = p ? (d->aligned ? " with" : " and") : "";
    if (is_label(d, p)) return snprintf(at, room, " with labels of %d classes", d->classes);
    if (s.type == GD_SAMPLE_F32) return snprintf(at, room, "%s %s points of %d numbers", with, n, s.channels);
    if (!r.height) return snprintf(at, room, "%s %s images -> %dx%dx%d", with, n, s.height, s.width, s.channels);
    if (!memcmp(&r, &s, sizeof r))
        return snprintf(at, room, "%s %s images %dx%dx%d", with, n, s.height, s.width, s.channels);
    return snprintf(at, room, "%s %s images %dx%dx%d -> %dx%dx%d", with, n, r.height, r.width, r.channels, s.height,
                    s.width, s.channels);
}

static void describe(gd_dataset *d) {
    char *at = d->describe, *end = at + sizeof d->describe;
    at += snprintf(at, (size_t)(end - at), "%s%s:", d->name, d->test ? ", test half" : "");
    for (int p = 0; p < d->parts && at < end; p++) at += describe_part(d, p, at, (size_t)(end - at));
}

static gd_status open_source(gd_dataset *d, const gd_dataset_spec *s) {
    if (s->test && !d->source->test)
        GD_FAIL(NOINPUT,
                "%s: the source '%s' has no held-out half; give the pictures to evaluate on as a data set of their "
                "own",
                d->where, d->name);
    GD_TRY(d->source->open(s, d));
    if (s->swap) GD_TRY(swap_domains(d));
    if (s->labels) GD_TRY(add_labels(d));
    d->fingerprint = identify_choices(d);
    return GD_OK;
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
    d->load = s.load;
    d->channels = s.channels;
    d->flip = s.flip && !s.test;
    d->crop = s.load && !s.test;
    d->swap = s.swap;
    d->labels = s.labels;
    d->test = s.test;
    d->seed = s.seed;
    d->where = strdup(s.path ? s.path : d->name);
    gd_status st;
    if (!d->where) GD_FAIL_TO(fail, NOMEM, "%s: no memory for the data set", d->name);
    GD_TRY_TO(fail, open_source(d, &s));
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

int64_t gd_dataset_part_count(const gd_dataset *d, int part) { return d->part_count[part]; }

bool gd_dataset_aligned(const gd_dataset *d) { return d->aligned; }

int gd_dataset_classes(const gd_dataset *d) { return d->classes; }

int gd_dataset_label(const gd_dataset *d, int64_t index) {
    if (!d->classes || index < 0 || index >= d->part_count[0]) return -1;
    return d->source->label(d, d->swap ? 1 : 0, index);
}

gd_sample_shape gd_dataset_shape(const gd_dataset *d, int part) { return d->shape[part]; }

uint64_t gd_dataset_fingerprint(const gd_dataset *d) { return d->fingerprint; }

const char *gd_dataset_describe(const gd_dataset *d) { return d->describe; }

size_t gd_sample_bytes(gd_sample_shape s) {
    return (size_t)s.height * (size_t)s.width * (size_t)s.channels * (s.type == GD_SAMPLE_F32 ? sizeof(float) : 1);
}
