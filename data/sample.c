/* data/sample.c -- from the raw image of a source to a finished sample: channels, fit, crop, mirror.
 *
 * What does not depend on the draw comes first, and its result may be kept; then a draw decides which
 * window of it is handed out, and whether mirrored. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/image_internal.h"
#include "data/source.h"

/* Parts that belong together are cropped and mirrored together; points and labels are not pictures. */
gd_pick gd_dataset_pick(const gd_dataset *d, int part, uint64_t draw) {
    const uint32_t stream = d->aligned ? 0 : (uint32_t)part << 16;
    gd_pick w = {0};
    if (d->source->point || (d->labels && part == 1)) return w;
    if (d->crop) {
        const gd_rng r = {.seed = d->seed, .purpose = GD_PURPOSE_CROP | stream};
        const uint64_t places = (uint64_t)(d->load - d->size) + 1, at = gd_rng_below(&r, draw, places * places);
        w.top = (uint32_t)(at / places);
        w.left = (uint32_t)(at % places);
    }
    const gd_rng r = {.seed = d->seed, .purpose = GD_PURPOSE_FLIP | stream};
    w.mirror = d->flip && gd_rng_below(&r, draw, 2) != 0;
    return w;
}

static void copy_row(const uint8_t *from, size_t width, size_t c, bool mirror, uint8_t *out) {
    if (!mirror) memcpy(out, from, width * c);
    else
        for (size_t x = width; x-- > 0; out += c)
            for (size_t i = 0; i < c; i++) out[i] = from[x * c + i];
}

/* pixels: of shape `in`; out: of shape `s`, no larger. */
static void copy_window(const uint8_t *pixels, gd_sample_shape in, gd_sample_shape s, gd_pick w, uint8_t *out) {
    const size_t c = (size_t)s.channels, line = (size_t)in.width * c, made = (size_t)s.width * c;
    pixels += w.top * line + w.left * c;
    for (int y = 0; y < s.height; y++, pixels += line, out += made)
        copy_row(pixels, (size_t)s.width, c, w.mirror != 0, out);
}

/* Aspect is not kept with load: the public pix2pix code squashes whatever it gets. */
static gd_status fit(const gd_dataset *d, gd_sample_shape want, gd_image *im) {
    gd_image fitted;
    if (im->height == want.height && im->width == want.width) return GD_OK;
    if (d->load) GD_TRY(gd_image_resize_bicubic(im, want.height, want.width, &fitted));
    else GD_TRY(gd_image_fit(im, d->size, &fitted));
    gd_image_free(im);
    *im = fitted;
    return GD_OK;
}

/* Grey pictures are fitted before they are spread over three channels: the result is equal. */
static gd_status prepare(const gd_dataset *d, gd_sample_shape want, gd_image *im) {
    if (want.channels == 1) GD_TRY(gd__image_convert(im, 1));
    if (d->size) GD_TRY(fit(d, want, im));
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
    const size_t bytes = gd_sample_bytes(d->ready[part]);
    uint8_t expected = MISSING;
    if (!k->pixels || !atomic_compare_exchange_strong(&k->state[index], &expected, WRITING)) return;
    memcpy(k->pixels + (size_t)index * bytes, pixels, bytes);
    atomic_store_explicit(&k->state[index], THERE, memory_order_release);
}

static const uint8_t *kept(const gd_dataset *d, int part, int64_t index) {
    const gd__kept *k = &d->kept[part];
    if (!k->pixels || atomic_load_explicit(&k->state[index], memory_order_acquire) != THERE) return NULL;
    return k->pixels + (size_t)index * gd_sample_bytes(d->ready[part]);
}

static gd_status check_index(const gd_dataset *d, int part, int64_t index) {
    if (part < 0 || part >= d->parts)
        GD_FAIL(INTERNAL, "%s: part %d asked for; there are %d", d->where, part, d->parts);
    if (index < 0 || index >= d->part_count[part])
        GD_FAIL(INTERNAL, "%s: sample %" PRId64 " of part %d asked for; there are %" PRId64, d->where, index, part,
                d->part_count[part]);
    return GD_OK;
}

static int stored_part(const gd_dataset *d, int part) { return d->swap ? 1 - part : part; }

/* pixels: before cropping. draw NULL: all of them. */
static void hand_out(const gd_dataset *d, int part, const uint64_t *draw, const uint8_t *pixels, void *out) {
    if (!draw) memcpy(out, pixels, gd_sample_bytes(d->ready[part]));
    else copy_window(pixels, d->ready[part], d->shape[part], gd_dataset_pick(d, part, *draw), out);
}

/* im: raw, freed here. */
static gd_status finish(const gd_dataset *d, int part, int64_t index, const uint64_t *draw, bool once, gd_image *im,
                        void *out) {
    gd_status st;
    GD_TRY_TO(done, prepare(d, d->ready[part], im));
    if (!once) keep(d, part, index, im->pixels);
    hand_out(d, part, draw, im->pixels, out);
done:
    gd_image_free(im);
    return st;
}

static gd_status one_hot(const gd_dataset *d, int64_t index, uint8_t *out) {
    const int label = d->source->label(d, 0, index);
    if (label < 0 || label >= d->classes)
        GD_FAIL(INTERNAL, "%s: sample %" PRId64 " has the label %d of %d", d->where, index, label, d->classes);
    memset(out, 0, (size_t)d->classes);
    out[label] = 1;
    return GD_OK;
}

/* once: it is not asked for again. */
static gd_status get(const gd_dataset *d, int part, int64_t index, const uint64_t *draw, bool once, void *out) {
    GD_TRY(check_index(d, part, index));
    if (d->labels && part == 1) return one_hot(d, index, out);
    if (d->source->point) {
        d->source->point(d, stored_part(d, part), index, out);
        return GD_OK;
    }
    const uint8_t *ready = kept(d, part, index);
    if (ready) {
        hand_out(d, part, draw, ready, out);
        return GD_OK;
    }
    gd_image im = {0};
    GD_TRY(d->source->image(d, stored_part(d, part), index, &im));
    return finish(d, part, index, draw, once, &im, out);
}

gd_status gd_dataset_get(const gd_dataset *d, int part, int64_t index, uint64_t draw, void *out) {
    return get(d, part, index, &draw, false, out);
}

gd_sample_shape gd_dataset_whole_shape(const gd_dataset *d, int part) { return d->ready[part]; }

typedef struct run {
    const gd_dataset *d;
    int part;
    int64_t first;
    uint8_t *out;
} run;

static gd_status get_one(void *arg, size_t i) {
    const run *r = arg;
    return get(r->d, r->part, r->first + (int64_t)i, NULL, true, r->out + i * gd_sample_bytes(r->d->ready[r->part]));
}

gd_status gd_dataset_whole_run(const gd_dataset *d, int part, int64_t first, int64_t n, void *out) {
    run r = {d, part, first, out};
    return gd__check_all(d->where, (size_t)n, get_one, &r);
}

static bool decode_together(const gd_dataset *d, const int64_t index[GD_PARTS_MAX]) {
    return d->source->pair && d->aligned && !d->labels && index[0] == index[1] && !kept(d, 0, index[0]) &&
           !kept(d, 1, index[1]);
}

gd_status gd__dataset_sample(const gd_dataset *d, const int64_t index[GD_PARTS_MAX], const uint64_t *draw,
                             void *const out[GD_PARTS_MAX]) {
    for (int p = 0; p < d->parts; p++) GD_TRY(check_index(d, p, index[p]));
    if (!decode_together(d, index)) {
        for (int p = 0; p < d->parts; p++) GD_TRY(get(d, p, index[p], draw, false, out[p]));
        return GD_OK;
    }
    gd_image im[GD_PARTS_MAX] = {0};
    gd_status st = GD_OK;
    GD_TRY(d->source->pair(d, index[0], im));
    for (int p = 0; p < d->parts && st == GD_OK; p++)
        st = finish(d, p, index[p], draw, false, &im[stored_part(d, p)], out[p]);
    for (int p = 0; p < GD_PARTS_MAX; p++) gd_image_free(&im[p]);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

gd_status gd_dataset_truth(const gd_dataset *d, int from, int64_t index, void *out) {
    gd_image im = {0};
    gd_status st;
    GD_TRY(check_index(d, from, index));
    if (d->parts != 2 || d->labels || (!d->aligned && !d->source->truth))
        GD_FAIL(UNSUP,
                "%s: the true map between its domains is not known; expected pairs, fashion-hflip or fashion-invert",
                d->where);
    const gd_sample_shape shape = d->shape[1 - from];
    const int stored = stored_part(d, from);
    if (d->aligned) GD_TRY_TO(done, d->source->image(d, 1 - stored, index, &im));
    else GD_TRY_TO(done, d->source->truth(d, stored, index, &im));
    GD_TRY_TO(done, prepare(d, shape, &im));
    copy_window(im.pixels, shape, shape, (gd_pick){0}, out);
done:
    gd_image_free(&im);
    return st;
}
