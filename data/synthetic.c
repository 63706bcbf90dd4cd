/* data/synthetic.c -- samples made from (seed, index): 2-D mixtures and random pictures.
 *
 * The 2-D sets are the toy problems of Gulrajani et al. 2017 (improved training of Wasserstein GANs),
 * with the scales of their code: ring radius 2 / 1.414, grid step 2 / 2.828, roll / 7.5. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "data/source.h"

enum { POINTS = 100000, PICTURES = 60000, PICTURE_SIDE = 64, PICTURE_CHANNELS = 3 };

/* The held-out half is other draws of the same distribution. */
static gd_rng stream(const gd_dataset *d, uint32_t number) {
    return (gd_rng){.seed = d->seed, .purpose = GD_PURPOSE_SYNTHETIC | number << 16, .step = d->test ? 1 : 0};
}

/* Two standard normal numbers of sample `index`; stream 0 is left to what chooses the mode. */
static void noise2(const gd_dataset *d, int64_t index, double out[2]) {
    gd_rng r = stream(d, 1);
    float n[2];
    gd_rng_normal(&r, (uint64_t)index, 0, 2, n);
    out[0] = n[0];
    out[1] = n[1];
}

static int mode(const gd_dataset *d, int64_t index, uint64_t modes) {
    gd_rng r = stream(d, 0);
    return (int)gd_rng_below(&r, (uint64_t)index, modes);
}

static int ring_label(const gd_dataset *d, int part, int64_t index) {
    (void)part;
    return mode(d, index, 8);
}

static int grid_label(const gd_dataset *d, int part, int64_t index) {
    (void)part;
    return mode(d, index, 25);
}

static void ring_point(const gd_dataset *d, int part, int64_t index, float *out) {
    static const double H = 0.70710678118654752; /* sqrt(1/2) */
    const double cosine[8] = {1, H, 0, -H, -1, -H, 0, H};
    int m = mode(d, index, 8);
    double n[2];
    (void)part;
    noise2(d, index, n);
    out[0] = (float)((2 * cosine[m] + 0.02 * n[0]) / 1.414);
    out[1] = (float)((2 * cosine[(m + 6) % 8] + 0.02 * n[1]) / 1.414);
}

static void grid_point(const gd_dataset *d, int part, int64_t index, float *out) {
    int m = mode(d, index, 25);
    double n[2];
    (void)part;
    noise2(d, index, n);
    out[0] = (float)((2 * (m % 5 - 2) + 0.05 * n[0]) / 2.828);
    out[1] = (float)((2 * (m / 5 - 2) + 0.05 * n[1]) / 2.828);
}

static void swiss_roll_point(const gd_dataset *d, int part, int64_t index, float *out) {
    gd_rng r = stream(d, 0);
    float u;
    double n[2];
    (void)part;
    gd_rng_uniform(&r, (uint64_t)index, 0, 1, &u);
    noise2(d, index, n);
    double t = 1.5 * M_PI * (1 + 2 * (double)u);
    out[0] = (float)((t * cos(t) + 0.25 * n[0]) / 7.5);
    out[1] = (float)((t * sin(t) + 0.25 * n[1]) / 7.5);
}

/* What the samples depend on: the source, the seed, how many there are, and their size. */
static void identify(gd_dataset *d) {
    const gd_sample_shape s = d->raw[0];
    uint64_t facts[] = {d->seed, (uint64_t)d->part_count[0], (uint64_t)s.height, (uint64_t)s.width,
                        (uint64_t)s.channels};
    d->fingerprint = gd_hash64(facts, sizeof facts, gd_hash64(d->name, strlen(d->name), 0));
}

static gd_status points_open(const gd_dataset_spec *spec, gd_dataset *d) {
    d->parts = 1;
    d->part_count[0] = spec->count ? spec->count : POINTS;
    d->raw[0] = (gd_sample_shape){GD_SAMPLE_F32, 1, 1, 2};
    identify(d);
    return GD_OK;
}

static gd_status ring_open(const gd_dataset_spec *spec, gd_dataset *d) {
    d->classes = 8;
    return points_open(spec, d);
}

static gd_status grid_open(const gd_dataset_spec *spec, gd_dataset *d) {
    d->classes = 25;
    return points_open(spec, d);
}

static gd_status pictures_open(const gd_dataset_spec *spec, gd_dataset *d) {
    int side = spec->load ? spec->load : spec->size ? spec->size : PICTURE_SIDE;
    d->parts = 1;
    d->part_count[0] = spec->count ? spec->count : PICTURES;
    d->raw[0] = (gd_sample_shape){GD_SAMPLE_U8, side, side, spec->channels ? spec->channels : PICTURE_CHANNELS};
    identify(d);
    return GD_OK;
}

static gd_status pairs_open(const gd_dataset_spec *spec, gd_dataset *d) {
    GD_TRY(pictures_open(spec, d));
    d->parts = 2;
    d->aligned = true;
    d->part_count[1] = d->part_count[0];
    d->raw[1] = d->raw[0];
    return GD_OK;
}

static gd_status picture(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const gd_sample_shape s = d->raw[part];
    const size_t bytes = gd_sample_bytes(s);
    gd_rng r = stream(d, (uint32_t)part * 2);
    uint8_t *pixels = malloc(bytes);
    if (!pixels) GD_FAIL(NOMEM, "no memory for a picture of %d x %d pixels", s.width, s.height);
    for (size_t at = 0; at < bytes; at += 16) {
        uint32_t words[4];
        gd_rng_block(&r, (uint64_t)index, (uint32_t)(at / 16), words);
        memcpy(pixels + at, words, bytes - at < sizeof words ? bytes - at : sizeof words);
    }
    *out = (gd_image){s.height, s.width, s.channels, pixels};
    return GD_OK;
}

const gd__source gd__source_ring = {.open = ring_open, .point = ring_point, .label = ring_label, .test = true};
const gd__source gd__source_grid = {.open = grid_open, .point = grid_point, .label = grid_label, .test = true};
const gd__source gd__source_swiss_roll = {.open = points_open, .point = swiss_roll_point, .test = true};
const gd__source gd__source_synthetic = {.open = pictures_open, .image = picture, .test = true};
const gd__source gd__source_synthetic_pairs = {.open = pairs_open, .image = picture, .test = true};
