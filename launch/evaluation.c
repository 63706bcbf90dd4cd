#include "launch/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "launch/latents.h"
#include "launch/pictures.h"
#include "launch/setup.h"

enum { CHUNK = 256, FEW = 2 };

/* ---- sets ---- */

void gd_samples_free(gd_samples *s) {
    free(s->u8);
    free(s->f32);
    free(s->features);
    free(s->inception);
    free(s->label);
    free(s->confidence);
    *s = (gd_samples){0};
}

static int64_t size_of(const gd_samples *s) { return s->shape.dim[1] * s->shape.dim[2] * s->shape.dim[3]; }

gd_points gd_samples_points(const gd_samples *s) {
    return (gd_points){.n = s->shape.dim[0], .d = size_of(s), .f32 = s->f32, .u8 = s->u8};
}

gd_points gd_samples_features(const gd_samples *s) {
    return (gd_points){.n = s->shape.dim[0], .d = s->feature_count, .f32 = s->features};
}

gd_points gd_samples_inception(const gd_samples *s) {
    return (gd_points){.n = s->shape.dim[0], .d = GD_INCEPTION_FEATURES, .f32 = s->inception};
}

static gd_status allocate(gd_samples *s, int64_t n, int64_t h, int64_t w, int64_t c, bool points) {
    s->shape = gd_shape4(n, h, w, c);
    size_t count = (size_t)gd_shape_count(s->shape);
    if (points) s->f32 = malloc(count * sizeof *s->f32);
    else s->u8 = malloc(count);
    if (!s->f32 && !s->u8) GD_FAIL(NOMEM, "%lld samples", (long long)n);
    return GD_OK;
}

/* Stores network values as sample i and the ones behind it. */
static void store(gd_samples *s, int64_t i, int64_t n, const float *x, gd_range range) {
    size_t size = (size_t)size_of(s);
    if (s->f32) memcpy(s->f32 + (size_t)i * size, x, (size_t)n * size * sizeof *x);
    else gd_pictures_bytes(x, (size_t)n * size, range, s->u8 + (size_t)i * size);
}

/* Where a sample's bytes go. */
static void *place(gd_samples *s, int64_t i) {
    return s->f32 ? (void *)(s->f32 + i * size_of(s)) : (void *)(s->u8 + i * size_of(s));
}

/* ---- real samples ---- */

/* The recipe's data as it is: no augmentation. *out NULL: test was asked for, and the set has no held-out half. */
static gd_status open_data(const gd_recipe *r, bool test, gd_dataset **out) {
    gd_dataset_spec spec;
    *out = NULL;
    GD_TRY(gd_setup_dataset(r, &spec));
    spec.flip = false;
    spec.load = 0;
    spec.test = test;
    gd_status st = gd_dataset_open(&spec, out);
    return test && st == GD_NOINPUT ? GD_OK : st;
}

/* The order in which samples are taken from a set: another one than that of training. */
static int64_t pick(uint64_t seed, int64_t count, int64_t i) {
    gd_rng order = {.seed = seed, .purpose = GD_PURPOSE_EVALUATE};
    return (int64_t)gd_rng_permute(&order, (uint64_t)count, (uint64_t)i);
}

/* n samples of a part, from `first` on in the order of pick(). */
static gd_status take(const gd_dataset *d, int part, int64_t first, int64_t n, uint64_t seed, gd_samples *out) {
    gd_sample_shape s = gd_dataset_shape(d, part);
    int64_t count = gd_dataset_part_count(d, part);
    GD_TRY(allocate(out, n, s.height, s.width, s.channels, s.type == GD_SAMPLE_F32));
    for (int64_t i = 0; i < n; i++) GD_TRY(gd_dataset_get(d, part, pick(seed, count, first + i), 0, place(out, i)));
    return GD_OK;
}

static int64_t at_most(int64_t n, int64_t count) { return n < count ? n : count; }

static gd_status take_real(gd_evaluation *e, const gd_dataset *train, const gd_dataset *test, int part, uint64_t seed) {
    int64_t count = gd_dataset_part_count(train, part), n = at_most(e->n, count);
    if (n < FEW) GD_FAIL(DATA, "%s: %lld samples; a measure needs more", e->source, (long long)n);
    GD_TRY(take(train, part, 0, n, seed, &e->real));
    e->held_out = test != NULL;
    if (test) return take(test, part, 0, at_most(e->n, gd_dataset_part_count(test, part)), seed, &e->held);
    int64_t others = at_most(e->n, count - n);
    return others < FEW ? GD_OK : take(train, part, n, others, seed, &e->held);
}

/* ---- what the run makes ---- */

static gd_status generate(gd_evaluation *e, uint64_t seed) {
    gd_trained *m = e->model;
    gd_shape s = gd_trained_image(m);
    int64_t z = gd_trained_latent(m);
    GD_TRY(allocate(&e->fake, e->n, s.dim[1], s.dim[2], s.dim[3], gd_trained_range(m) == GD_RANGE_RAW));
    float *latent = malloc((size_t)(CHUNK * (z + size_of(&e->fake))) * sizeof *latent);
    if (!latent) GD_FAIL(NOMEM, "%d samples", CHUNK);
    float *made = latent + CHUNK * z;
    gd_status st = GD_OK;
    for (int64_t i = 0; i < e->n && st == GD_OK; i += CHUNK) {
        int64_t now = at_most(CHUNK, e->n - i);
        gd_latents_draw(seed + (uint64_t)i, gd_trained_law(m), now, z, latent);
        st = gd_trained_generate(m, now, latent, made);
        if (st == GD_OK) store(&e->fake, i, now, made, gd_trained_range(m));
    }
    free(latent);
    return st;
}

/* Sample i of the domain that is translated, and what it should become. */
static gd_status translate_one(gd_evaluation *e, const gd_dataset *d, int64_t i, int64_t index, uint8_t *bytes,
                               float *x, float *y) {
    gd_sample_shape in = gd_dataset_shape(d, e->direction);
    gd_translation how = {.direction = e->direction,
                          .height = in.height,
                          .width = in.width,
                          .noise = gd_trained_spec(e->model)->topology == GD_TOPOLOGY_PAIRED};
    gd_range range = gd_trained_range(e->model);
    GD_TRY(gd_dataset_get(d, e->direction, index, 0, bytes));
    gd_pictures_floats(bytes, gd_sample_bytes(in), range, x);
    GD_TRY(gd_trained_translate(e->model, &how, i, 1, x, y));
    store(&e->fake, i, 1, y, range);
    return e->truth.u8 ? gd_dataset_truth(d, e->direction, index, place(&e->truth, i)) : GD_OK;
}

static gd_status translate(gd_evaluation *e, const gd_dataset *d, uint64_t seed) {
    gd_sample_shape in = gd_dataset_shape(d, e->direction), out = gd_dataset_shape(d, 1 - e->direction);
    int64_t count = gd_dataset_part_count(d, e->direction), n = at_most(e->n, count);
    size_t bytes = gd_sample_bytes(in) + gd_sample_bytes(out);
    uint8_t *room = malloc(bytes * (1 + sizeof(float)) + sizeof(float));
    if (!room) GD_FAIL(NOMEM, "an image of %d x %d pixels", in.width, in.height);
    float *x = (float *)(void *)room, *y = x + gd_sample_bytes(in);
    uint8_t *raw = room + bytes * sizeof(float);
    gd_status st;
    GD_TRY_TO(done, allocate(&e->fake, n, out.height, out.width, out.channels, false));
    gd_status known = gd_dataset_truth(d, e->direction, 0, raw);
    if (known == GD_OK) GD_TRY_TO(done, allocate(&e->truth, n, out.height, out.width, out.channels, false));
    else if (known != GD_UNSUP) GD_TRY_TO(done, known);
    for (int64_t i = 0; i < n; i++) GD_TRY_TO(done, translate_one(e, d, i, pick(seed, count, i), raw, x, y));
done:
    free(room);
    return st;
}

void gd_evaluation_free(gd_evaluation *e) {
    gd_samples_free(&e->fake);
    gd_samples_free(&e->real);
    gd_samples_free(&e->held);
    gd_samples_free(&e->truth);
}

/* ---- the classifier's view ---- */

/* Which class, and the softmax of it. */
static void decide(const float *logits, int classes, int *label, float *confidence) {
    int best = 0;
    double sum = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    for (int k = 0; k < classes; k++) sum += exp((double)logits[k] - (double)logits[best]);
    *label = best;
    *confidence = (float)(1 / sum);
}

/* Channel c of sample i (of all channels, where the classifier takes them all) in the classifier's range. */
static void view(const gd_samples *s, int64_t i, int c, gd_range range, uint8_t *room, float *x) {
    int64_t pixels = s->shape.dim[1] * s->shape.dim[2], channels = s->shape.dim[3];
    const uint8_t *from = s->u8 + i * pixels * channels;
    if (s->parts == 1) {
        gd_pictures_floats(from, (size_t)(pixels * channels), range, x);
        return;
    }
    for (int64_t p = 0; p < pixels; p++) room[p] = from[p * channels + c];
    gd_pictures_floats(room, (size_t)pixels, range, x);
}

static gd_status check_fits(const gd_evaluation *e, const gd_samples *s, int *parts) {
    gd_shape want = gd_trained_image(e->classifier);
    bool stack = !strcmp(e->source, "stacked-fashion") && s->shape.dim[3] == 3 && want.dim[3] == 1;
    *parts = stack ? 3 : 1;
    if (s->u8 && s->shape.dim[1] == want.dim[1] && s->shape.dim[2] == want.dim[2] &&
        (stack || s->shape.dim[3] == want.dim[3]))
        return GD_OK;
    if (!s->u8) GD_FAIL(CONFIG, "--metrics: a classifier sees images, and this run makes points; use modes, swd");
    GD_FAIL(
        CONFIG,
        "--classifier: it was trained on images of %lld x %lld x %lld, this run makes %lld x %lld x %lld; train one "
        "with --set data.image.size=%lld --set data.image.channels=%lld, on data with labels",
        (long long)want.dim[1], (long long)want.dim[2], (long long)want.dim[3], (long long)s->shape.dim[1],
        (long long)s->shape.dim[2], (long long)s->shape.dim[3], (long long)s->shape.dim[1], (long long)s->shape.dim[3]);
}

/* Features and decisions of samples first .. first+n-1; all parts of a sample lie beside each other. */
static gd_status classify_chunk(const gd_evaluation *e, gd_samples *s, int64_t first, int64_t n, float *x,
                                float *logits, uint8_t *room) {
    int classes = gd_trained_classes(e->classifier), parts = s->parts;
    int64_t size = gd_shape_count(gd_trained_image(e->classifier)), at = first * parts;
    float *features = s->feature_count ? s->features + first * s->feature_count : NULL;
    for (int64_t i = 0; i < n * parts; i++)
        view(s, first + i / parts, (int)(i % parts), gd_trained_range(e->classifier), room, x + i * size);
    GD_TRY(gd_trained_classify(e->classifier, n * parts, x, logits, features));
    for (int64_t i = 0; i < n * parts; i++)
        decide(logits + i * classes, classes, &s->label[at + i], &s->confidence[at + i]);
    return GD_OK;
}

static gd_status classify(const gd_evaluation *e, gd_samples *s) {
    int64_t n = s->shape.dim[0], size = gd_shape_count(gd_trained_image(e->classifier));
    if (!n || s->label) return GD_OK;
    GD_TRY(check_fits(e, s, &s->parts));
    int classes = gd_trained_classes(e->classifier);
    s->feature_count = gd_trained_features(e->classifier) * s->parts;
    s->features = malloc((size_t)(n * s->feature_count + 1) * sizeof *s->features);
    s->label = malloc((size_t)(n * s->parts) * sizeof *s->label);
    s->confidence = malloc((size_t)(n * s->parts) * sizeof *s->confidence);
    float *x = malloc((size_t)(CHUNK * s->parts * (size + classes)) * sizeof *x);
    uint8_t *room = malloc((size_t)size);
    gd_status st = GD_OK;
    if (!s->features || !s->label || !s->confidence || !x || !room)
        st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "features of %lld samples", (long long)n);
    for (int64_t i = 0; i < n && st == GD_OK; i += CHUNK)
        st = classify_chunk(e, s, i, at_most(CHUNK, n - i), x, x + CHUNK * s->parts * size, room);
    free(room);
    free(x);
    return st;
}

gd_status gd_evaluation_classify(gd_evaluation *e) {
    GD_TRY(classify(e, &e->real));
    GD_TRY(classify(e, &e->held));
    return classify(e, &e->fake);
}

/* ---- the view of FID's network ---- */

static gd_status look(gd_inception *net, gd_samples *s) {
    int64_t n = s->shape.dim[0];
    if (!n) return GD_OK;
    s->inception = malloc((size_t)(n * GD_INCEPTION_FEATURES) * sizeof *s->inception);
    if (!s->inception) GD_FAIL(NOMEM, "features of %lld samples", (long long)n);
    return gd_inception_look(net, n, s->shape.dim[1], s->shape.dim[2], s->shape.dim[3], s->u8, s->inception);
}

gd_status gd_evaluation_look(gd_evaluation *e, gd_inception *net) {
    GD_TRY(look(net, &e->real));
    GD_TRY(look(net, &e->held));
    return look(net, &e->fake);
}

/* ---- all of it ---- */

/* A classifier: share of the held-out samples, of training samples where none are held out, that it tells right. */
static gd_status measure_accuracy(gd_evaluation *e, const gd_dataset *d, uint64_t seed) {
    int64_t count = gd_dataset_part_count(d, 0), right = 0, n = e->held.shape.dim[0];
    const gd_samples *s = &e->held;
    if (!n) GD_FAIL(DATA, "%s: no held-out samples, and too few others; use a smaller --n", e->source);
    for (int64_t i = 0; i < n; i++) {
        int label = gd_dataset_label(d, pick(seed, count, (e->held_out ? 0 : e->real.shape.dim[0]) + i));
        right += label == s->label[i];
    }
    e->accuracy = (double)right / (double)n;
    return GD_OK;
}

static gd_status fill(gd_evaluation *e, const gd_dataset *train, const gd_dataset *test, uint64_t seed) {
    switch (gd_trained_spec(e->model)->topology) {
    case GD_TOPOLOGY_NOISE: GD_TRY(take_real(e, train, test, 0, seed)); return generate(e, seed);
    case GD_TOPOLOGY_CLASSIFIER:
        GD_TRY(take_real(e, train, test, 0, seed));
        e->classifier = e->model;
        GD_TRY(classify(e, &e->held));
        return measure_accuracy(e, test ? test : train, seed);
    default: GD_TRY(take_real(e, train, test, 1 - e->direction, seed)); return translate(e, test ? test : train, seed);
    }
}

gd_status gd_evaluation_fill(gd_evaluation *e, uint64_t seed) {
    const gd_recipe *r = gd_trained_recipe(e->model);
    gd_dataset *train = NULL, *test = NULL;
    gd_status st = open_data(r, false, &train);
    e->source = r->data.source;
    if (st == GD_OK) st = open_data(r, true, &test);
    if (st == GD_OK) st = fill(e, train, test, seed);
    gd_dataset_close(test);
    gd_dataset_close(train);
    return st;
}
