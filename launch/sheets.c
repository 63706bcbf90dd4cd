#include "launch/sheets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "launch/latents.h"
#include "launch/pictures.h"
#include "launch/setup.h"

/* Columns of one sample's group of tiles. */
enum { PAIRED_TILES = 3, TWO_WAY_TILES = 6 };

struct gd_sheet {
    gd_topology topology;
    gd_range range;
    int64_t n;
    gd_shape image;                      /* noise: of one sample                                    */
    float *latents;                      /* noise                                                   */
    gd_sample_shape shape[GD_PARTS_MAX]; /* else: of the domains                                    */
    float *part[GD_PARTS_MAX];           /* [n,H,W,C] in the generators' range                      */
};

static size_t floats_of(gd_sample_shape s) { return (size_t)s.height * (size_t)s.width * (size_t)s.channels; }

/* ---- which samples ---- */

/* The held-out part of the recipe's data set, or all of it as it is. */
static gd_status open_plain(const gd_recipe *r, gd_dataset **out) {
    gd_dataset_spec spec;
    GD_TRY(gd_setup_dataset(r, &spec));
    spec.flip = false;
    spec.load = 0;
    spec.test = true;
    gd_status st = gd_dataset_open(&spec, out);
    if (st != GD_NOINPUT) return st;
    spec.test = false;
    return gd_dataset_open(&spec, out);
}

static gd_status read_part(gd_sheet *s, const gd_dataset *d, int part, uint64_t seed) {
    size_t count = floats_of(s->shape[part]);
    int64_t available = gd_dataset_part_count(d, part);
    gd_rng order = {.seed = seed, .purpose = GD_PURPOSE_SAMPLES};
    uint8_t *bytes = malloc(gd_sample_bytes(s->shape[part]));
    s->part[part] = malloc((size_t)s->n * count * sizeof(float));
    gd_status st = bytes && s->part[part] ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "a sheet of samples");
    for (int64_t i = 0; i < s->n && st == GD_OK; i++) {
        int64_t index = (int64_t)gd_rng_permute(&order, (uint64_t)available, (uint64_t)(i % available));
        st = gd_dataset_get(d, part, index, 0, bytes);
        if (st == GD_OK) gd_pictures_floats(bytes, count, s->range, s->part[part] + (size_t)i * count);
    }
    free(bytes);
    return st;
}

static gd_status read_domains(gd_sheet *s, const gd_recipe *r) {
    gd_dataset *d;
    GD_TRY(open_plain(r, &d));
    gd_status st = gd_dataset_parts(d) == 2
                       ? GD_OK
                       : gd_raise(GD_INTERNAL, __FILE__, __LINE__, "a sheet of translations from a set of one part");
    for (int part = 0; part < 2 && st == GD_OK; part++) {
        s->shape[part] = gd_dataset_shape(d, part);
        st = read_part(s, d, part, r->seed);
    }
    gd_dataset_close(d);
    return st;
}

static gd_status draw_latents(gd_sheet *s, const gd_gan_spec *gan) {
    const gd_net_spec *g = &gan->generator;
    s->image = gd_shape4(1, g->height, g->width_px, g->channels);
    s->latents = malloc((size_t)(s->n * g->latent) * sizeof *s->latents);
    if (!s->latents) GD_FAIL(NOMEM, "%lld latents", (long long)s->n);
    gd_latents_draw(0, gan->latent, s->n, g->latent, s->latents);
    return GD_OK;
}

gd_status gd_sheet_open(const gd_recipe *r, const gd_gan_spec *gan, gd_sheet **out) {
    *out = NULL;
    if (gan->topology == GD_TOPOLOGY_CLASSIFIER) return GD_OK;
    gd_sheet *s = calloc(1, sizeof *s);
    if (!s) GD_FAIL(NOMEM, "a sheet of samples");
    *s = (gd_sheet){.topology = gan->topology, .range = gan->range, .n = r->log.samples.n};
    gd_status st = gan->topology == GD_TOPOLOGY_NOISE ? draw_latents(s, gan) : read_domains(s, r);
    if (st == GD_OK) *out = s;
    else gd_sheet_close(s);
    return st;
}

void gd_sheet_close(gd_sheet *s) {
    if (!s) return;
    free(s->latents);
    for (int i = 0; i < GD_PARTS_MAX; i++) free(s->part[i]);
    free(s);
}

/* ---- translations ---- */

/* A column of every group: n images of one shape. */
typedef struct column {
    const float *x;
    gd_sample_shape shape;
} column;

/* Groups side by side until the sheet is about as wide as high. */
static int groups_across(int64_t n, int tiles) {
    int g = (int)lround(sqrt((double)n / tiles));
    return g < 1 ? 1 : g;
}

static gd_status write_groups(const gd_sheet *s, const column *c, int tiles, const char *path, const char *text) {
    int64_t count = s->n * tiles;
    int channels = c[0].shape.channels > c[1].shape.channels ? c[0].shape.channels : c[1].shape.channels;
    gd_image *tile = calloc((size_t)count, sizeof *tile), sheet = {0};
    gd_status st = tile ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: %lld pictures", path, (long long)count);
    for (int64_t i = 0; i < count && st == GD_OK; i++) {
        const column *from = &c[i % tiles];
        st = gd_pictures_tile(from->x + (size_t)(i / tiles) * floats_of(from->shape), from->shape.height,
                              from->shape.width, from->shape.channels, channels, s->range, &tile[i]);
    }
    if (st == GD_OK) st = gd_image_sheet(tile, (int)count, groups_across(s->n, tiles) * tiles, 2, 255, &sheet);
    if (st == GD_OK) st = gd_image_write_png(path, &sheet, text);
    gd_image_free(&sheet);
    for (int64_t i = 0; tile && i < count; i++) gd_image_free(&tile[i]);
    free(tile);
    return st;
}

static gd_status write_paired(gd_sheet *s, gd_trainer *t, const char *path, const char *text) {
    float *made = malloc((size_t)s->n * floats_of(s->shape[1]) * sizeof *made);
    if (!made) GD_FAIL(NOMEM, "%s: %lld pictures", path, (long long)s->n);
    gd_status st = gd_trainer_translate(t, 0, s->n, s->part[0], true, made);
    column c[PAIRED_TILES] = {{s->part[0], s->shape[0]}, {made, s->shape[1]}, {s->part[1], s->shape[1]}};
    if (st == GD_OK) st = write_groups(s, c, PAIRED_TILES, path, text);
    free(made);
    return st;
}

static gd_status write_two_way(gd_sheet *s, gd_trainer *t, const char *path, const char *text) {
    size_t size_a = (size_t)s->n * floats_of(s->shape[0]), size_b = (size_t)s->n * floats_of(s->shape[1]);
    float *room = malloc(2 * (size_a + size_b) * sizeof *room);
    if (!room) GD_FAIL(NOMEM, "%s: %lld pictures", path, (long long)s->n);
    float *ab = room, *aba = ab + size_b, *ba = aba + size_a, *bab = ba + size_a;
    gd_status st;
    GD_TRY_TO(done, gd_trainer_translate(t, 0, s->n, s->part[0], true, ab));
    GD_TRY_TO(done, gd_trainer_translate(t, 1, s->n, ab, true, aba));
    GD_TRY_TO(done, gd_trainer_translate(t, 1, s->n, s->part[1], true, ba));
    GD_TRY_TO(done, gd_trainer_translate(t, 0, s->n, ba, true, bab));
    column c[TWO_WAY_TILES] = {{s->part[0], s->shape[0]}, {ab, s->shape[1]}, {aba, s->shape[0]},
                               {s->part[1], s->shape[1]}, {ba, s->shape[0]}, {bab, s->shape[1]}};
    GD_TRY_TO(done, write_groups(s, c, TWO_WAY_TILES, path, text));
done:
    free(room);
    return st;
}

static gd_status write_noise(gd_sheet *s, gd_trainer *t, const char *path, const char *text) {
    float *made = malloc((size_t)(s->n * gd_shape_count(s->image)) * sizeof *made);
    if (!made) GD_FAIL(NOMEM, "%s: %lld samples", path, (long long)s->n);
    gd_status st = gd_trainer_sample(t, s->n, s->latents, true, made);
    if (st == GD_OK) st = gd_pictures_sheet(path, made, (int)s->n, s->image, s->range, 0, text);
    free(made);
    return st;
}

gd_status gd_sheet_write(gd_sheet *s, gd_trainer *t, const char *path, const char *text) {
    switch (s->topology) {
    case GD_TOPOLOGY_NOISE: return write_noise(s, t, path, text);
    case GD_TOPOLOGY_PAIRED: return write_paired(s, t, path, text);
    case GD_TOPOLOGY_TWO_WAY: return write_two_way(s, t, path, text);
    default: GD_FAIL(INTERNAL, "%s: this topology has no sheet", path);
    }
}
