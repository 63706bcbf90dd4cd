/* data/fashion.c -- sets that are made from Fashion-MNIST: every picture when it is asked for, from the
 * 28x28 pictures in memory. All start from the picture in the middle of 32x32 zeros. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "data/idx.h"
#include "data/image_internal.h"
#include "data/source.h"

enum {
    SOURCE_SIDE = 28,
    SIDE = 32,
    MARGIN = (SIDE - SOURCE_SIDE) / 2,
    CLASSES = 10,
    SNEAKER = 7,
    BAG = 8,
    EDGE = 320, /* |gx| + |gy| of the Sobel operator from which on a pixel is an edge */
    STACKED_TRAIN = 128000,
    STACKED_TEST = 26000,
    STACKED_SEED = 1000, /* part of the set: the same pictures in every run, whatever its seed */
    RULES = 1,           /* part of the fingerprints: to be raised when a rule changes the pictures */
};

typedef struct fashion {
    gd__idx base;
    int32_t *list[GD_PARTS_MAX]; /* sample -> picture of base; NULL: that of the same number */
} fashion;

/* ---- pictures ---- */

static int64_t picture_of(const fashion *f, int part, int64_t index) {
    return f->list[part] ? f->list[part][index] : index;
}

/* Picture n in the middle of zeros, with `stride` bytes from pixel to pixel. pixels: all zero. */
static void pad(const fashion *f, int64_t n, size_t stride, uint8_t *pixels) {
    const uint8_t *from = f->base.pixels + (size_t)n * SOURCE_SIDE * SOURCE_SIDE;
    for (size_t y = 0; y < SOURCE_SIDE; y++)
        for (size_t x = 0; x < SOURCE_SIDE; x++) pixels[((y + MARGIN) * SIDE + x + MARGIN) * stride] = *from++;
}

static gd_status blank(const gd_dataset *d, int channels, gd_image *out) {
    GD_TRY(gd__image_new(d->where, SIDE, SIDE, channels, out));
    memset(out->pixels, 0, (size_t)SIDE * SIDE * (size_t)channels);
    return GD_OK;
}

static gd_status padded_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const fashion *f = d->state;
    GD_TRY(blank(d, 1, out));
    pad(f, picture_of(f, part, index), 1, out->pixels);
    return GD_OK;
}

/* p: into rows of SIDE + 2 pixels. */
static bool is_edge(const uint8_t *p) {
    enum { ROW = SIDE + 2 };
    const uint8_t *a = p - ROW, *b = p, *c = p + ROW;
    const int gx = a[1] + 2 * b[1] + c[1] - a[-1] - 2 * b[-1] - c[-1];
    const int gy = c[-1] + 2 * c[0] + c[1] - a[-1] - 2 * a[0] - a[1];
    return abs(gx) + abs(gy) >= EDGE;
}

static gd_status edges_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const fashion *f = d->state;
    if (part == 1) return padded_image(d, part, index, out);
    uint8_t ringed[SIDE + 2][SIDE + 2] = {{0}};
    const uint8_t *from = f->base.pixels + (size_t)index * SOURCE_SIDE * SOURCE_SIDE;
    for (int y = 0; y < SOURCE_SIDE; y++)
        memcpy(&ringed[y + MARGIN + 1][MARGIN + 1], from + y * SOURCE_SIDE, SOURCE_SIDE);
    GD_TRY(gd__image_new(d->where, SIDE, SIDE, 1, out));
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) out->pixels[y * SIDE + x] = is_edge(&ringed[y + 1][x + 1]) ? 255 : 0;
    return GD_OK;
}

static void mirror(gd_image *im) {
    for (int y = 0; y < SIDE; y++) {
        uint8_t *row = im->pixels + y * SIDE;
        for (int l = 0, r = SIDE - 1; l < r; l++, r--) {
            const uint8_t v = row[l];
            row[l] = row[r];
            row[r] = v;
        }
    }
}

static void invert(gd_image *im) {
    for (int i = 0; i < SIDE * SIDE; i++) im->pixels[i] = (uint8_t)(255 - im->pixels[i]);
}

static gd_status hflip_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    GD_TRY(padded_image(d, part, index, out));
    if (part == 1) mirror(out);
    return GD_OK;
}

static gd_status hflip_truth(const gd_dataset *d, int from, int64_t index, gd_image *out) {
    GD_TRY(hflip_image(d, from, index, out));
    mirror(out);
    return GD_OK;
}

static gd_status invert_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    GD_TRY(padded_image(d, part, index, out));
    if (part == 1) invert(out);
    return GD_OK;
}

static gd_status invert_truth(const gd_dataset *d, int from, int64_t index, gd_image *out) {
    GD_TRY(invert_image(d, from, index, out));
    invert(out);
    return GD_OK;
}

/* The picture in channel c of stacked sample `index`. */
static int64_t stacked_picture(const gd_dataset *d, int64_t index, uint32_t c) {
    const fashion *f = d->state;
    const gd_rng r = {.seed = STACKED_SEED, .purpose = GD_PURPOSE_SYNTHETIC | c << 16, .step = d->test ? 1 : 0};
    return (int64_t)gd_rng_below(&r, (uint64_t)index, (uint64_t)f->base.count);
}

static gd_status stacked_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    (void)part;
    GD_TRY(blank(d, 3, out));
    for (uint32_t c = 0; c < 3; c++) pad(d->state, stacked_picture(d, index, c), 3, out->pixels + c);
    return GD_OK;
}

static int stacked_label(const gd_dataset *d, int part, int64_t index) {
    const fashion *f = d->state;
    int mode = 0;
    (void)part;
    for (uint32_t c = 0; c < 3; c++) mode = 10 * mode + f->base.labels[stacked_picture(d, index, c)];
    return mode;
}

static int fashion_label(const gd_dataset *d, int part, int64_t index) {
    const fashion *f = d->state;
    return f->base.labels[picture_of(f, part, index)];
}

/* ---- opening ---- */

static gd_status check_base(const gd_dataset_spec *spec, const gd__idx *x) {
    if (x->height != SOURCE_SIDE || x->width != SOURCE_SIDE || x->channels != 1)
        GD_FAIL(DATA, "%s: pictures of %dx%dx%d; expected 28x28x1 as in Fashion-MNIST; check data.path", spec->path,
                x->height, x->width, x->channels);
    if (!x->labels)
        GD_FAIL(NOINPUT, "%s: no labels; this set is made by them; expected ...labels-idx1-ubyte beside the images",
                spec->path);
    if (x->classes > CLASSES)
        GD_FAIL(DATA, "%s: labels up to %d; expected 0 to 9 as in Fashion-MNIST; check data.path", spec->path,
                x->classes - 1);
    return GD_OK;
}

static gd_status base_open(const gd_dataset_spec *spec, gd_dataset *d) {
    fashion *f = calloc(1, sizeof *f);
    if (!f) GD_FAIL(NOMEM, "%s: no memory for the data set", spec->path);
    d->state = f;
    GD_TRY(gd__fashion_load(spec, &f->base));
    GD_TRY(check_base(spec, &f->base));
    d->classes = CLASSES;
    return GD_OK;
}

/* Keeps only the pictures that a list names, in order, and renumbers the lists. Lists ascend. */
static void compact(fashion *f, const int64_t count[GD_PARTS_MAX]) {
    const size_t bytes = SOURCE_SIDE * SOURCE_SIDE;
    int64_t at[GD_PARTS_MAX] = {0};
    int32_t kept = 0;
    for (int32_t n = 0; n < f->base.count; n++) {
        bool used = false;
        for (int p = 0; p < GD_PARTS_MAX; p++) {
            if (at[p] == count[p] || f->list[p][at[p]] != n) continue;
            f->list[p][at[p]++] = kept;
            used = true;
        }
        if (!used) continue;
        memmove(f->base.pixels + (size_t)kept * bytes, f->base.pixels + (size_t)n * bytes, bytes);
        f->base.labels[kept++] = f->base.labels[n];
    }
    f->base.count = kept;
    uint8_t *smaller = realloc(f->base.pixels, (size_t)kept * bytes);
    if (smaller) f->base.pixels = smaller;
}

/* Names, sizes, counts, and all that the pictures are made of. */
static void identify(gd_dataset *d) {
    const fashion *f = d->state;
    const uint64_t facts[] = {RULES, (uint64_t)d->part_count[0], (uint64_t)d->part_count[1], STACKED_SEED};
    uint64_t h = gd_hash64(d->name, strlen(d->name), 0);
    h = gd_hash64(facts, sizeof facts, h);
    h = gd_hash64(f->base.labels, (size_t)f->base.count, h);
    for (int p = 0; p < d->parts; p++)
        if (f->list[p]) h = gd_hash64(f->list[p], (size_t)d->part_count[p] * sizeof *f->list[p], h);
    d->fingerprint = gd_hash64(f->base.pixels, (size_t)f->base.count * SOURCE_SIDE * SOURCE_SIDE, h);
}

/* A set of all pictures in order, with `parts` parts. */
static gd_status whole_open(const gd_dataset_spec *spec, gd_dataset *d, int parts) {
    GD_TRY(base_open(spec, d));
    const fashion *f = d->state;
    d->parts = parts;
    d->aligned = parts == 2;
    for (int p = 0; p < parts; p++) {
        d->part_count[p] = f->base.count;
        GD_TRY(gd__source_limit(spec, spec->path, &d->part_count[p]));
        d->raw[p] = (gd_sample_shape){GD_SAMPLE_U8, SIDE, SIDE, 1};
    }
    identify(d);
    return GD_OK;
}

static gd_status fashion32_open(const gd_dataset_spec *spec, gd_dataset *d) { return whole_open(spec, d, 1); }

static gd_status edges_open(const gd_dataset_spec *spec, gd_dataset *d) { return whole_open(spec, d, 2); }

static gd_status stacked_open(const gd_dataset_spec *spec, gd_dataset *d) {
    GD_TRY(base_open(spec, d));
    d->parts = 1;
    d->classes = CLASSES * CLASSES * CLASSES;
    d->part_count[0] = spec->count ? spec->count : spec->test ? STACKED_TEST : STACKED_TRAIN;
    d->raw[0] = (gd_sample_shape){GD_SAMPLE_U8, SIDE, SIDE, 3};
    identify(d);
    return GD_OK;
}

/* Which domain a picture belongs to: 0, 1, or -1 for none. seen: pictures of this kind before it. */
typedef int choose(int label, int64_t seen);

static int choose_bags_shoes(int label, int64_t seen) {
    (void)seen;
    return label == BAG ? 0 : label == 5 || label == SNEAKER || label == 9 ? 1 : -1;
}

static int choose_hflip(int label, int64_t seen) { return label == SNEAKER ? (int)(seen % 2) : -1; }

static int choose_invert(int label, int64_t seen) {
    (void)label;
    return (int)(seen % 2);
}

static gd_status two_open(const gd_dataset_spec *spec, gd_dataset *d, choose *domain) {
    GD_TRY(base_open(spec, d));
    fashion *f = d->state;
    int64_t count[GD_PARTS_MAX] = {0}, seen = 0;
    for (int p = 0; p < GD_PARTS_MAX; p++) {
        f->list[p] = malloc((size_t)f->base.count * sizeof *f->list[p]);
        if (!f->list[p]) GD_FAIL(NOMEM, "%s: no memory for a list of pictures", spec->path);
    }
    for (int64_t n = 0; n < f->base.count; n++) {
        const int p = domain(f->base.labels[n], seen);
        if (p < 0) continue;
        f->list[p][count[p]++] = (int32_t)n;
        seen++;
    }
    if (!count[0] || !count[1])
        GD_FAIL(DATA, "%s: no picture of domain %s; expected all classes of Fashion-MNIST; check data.path", spec->path,
                count[0] ? "B" : "A");
    GD_TRY(gd__source_limit_both(spec, spec->path, count));
    compact(f, count);
    d->parts = 2;
    for (int p = 0; p < 2; p++) {
        d->part_count[p] = count[p];
        d->raw[p] = (gd_sample_shape){GD_SAMPLE_U8, SIDE, SIDE, 1};
    }
    identify(d);
    return GD_OK;
}

static gd_status bags_open(const gd_dataset_spec *spec, gd_dataset *d) { return two_open(spec, d, choose_bags_shoes); }

static gd_status hflip_open(const gd_dataset_spec *spec, gd_dataset *d) { return two_open(spec, d, choose_hflip); }

static gd_status invert_open(const gd_dataset_spec *spec, gd_dataset *d) { return two_open(spec, d, choose_invert); }

static void fashion_close(gd_dataset *d) {
    fashion *f = d->state;
    if (!f) return;
    gd__idx_free(&f->base);
    for (int p = 0; p < GD_PARTS_MAX; p++) free(f->list[p]);
}

#define DERIVED(c, o, i, l, t)                                                                                         \
    const gd__source gd__source_##c = {                                                                                \
        .open = o, .image = i, .truth = t, .label = l, .close = fashion_close, .in_memory = true, .test = true}
DERIVED(fashion32, fashion32_open, padded_image, fashion_label, NULL);
DERIVED(edges2fashion, edges_open, edges_image, fashion_label, NULL);
DERIVED(bags2shoes, bags_open, padded_image, fashion_label, NULL);
DERIVED(stacked_fashion, stacked_open, stacked_image, stacked_label, NULL);
DERIVED(fashion_hflip, hflip_open, hflip_image, fashion_label, hflip_truth);
DERIVED(fashion_invert, invert_open, invert_image, fashion_label, invert_truth);
