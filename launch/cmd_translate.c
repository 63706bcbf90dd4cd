/* gandist translate: images through a trained image-to-image generator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "launch/commands.h"
#include "launch/device.h"
#include "launch/inputs.h"
#include "launch/pictures.h"
#include "launch/trained.h"

enum { SHEET_MAX = 32, FIT_REACH = 1024, FILE_MAX = 1 << 30 };

typedef struct translate_options {
    const char *direction, *out, *weights, *sheet, *device;
    bool fit, no_noise;
} translate_options;

static const gd_option table[] = {
    {"direction", GD_OPT_TEXT, offsetof(translate_options, direction), "WAY",
     "AtoB or BtoA, A and B being the data's domains (default: the recipe's data.direction)"},
    {"out", GD_OPT_TEXT, offsetof(translate_options, out), "DIR",
     "folder for the results, NAME.png each; must be given"},
    {"sheet", GD_OPT_TEXT, offsetof(translate_options, sheet), "FILE.png",
     "also a sheet of the first 32, each beside its result"},
    {"fit", GD_OPT_FLAG, offsetof(translate_options, fit), NULL,
     "resize images to the nearest size that the network takes"},
    {"no-noise", GD_OPT_FLAG, offsetof(translate_options, no_noise), NULL,
     "paired: running statistics and no dropout, so that results do not vary"},
    {"weights", GD_OPT_TEXT, offsetof(translate_options, weights), "WHICH", "ema (default where kept) or live"},
    {"device", GD_OPT_TEXT, offsetof(translate_options, device), "DEVICE", "auto, cpu or cuda"},
};

typedef struct translation {
    const translate_options *opt;
    gd_trained *model;
    gd_device device;
    gd_inputs in;
    gd_translation how;
    gd_image tile[2 * SHEET_MAX]; /* input, result, input, result, ... */
    int tiles;
} translation;

/* ---- sizes ---- */

static bool takes(const translation *t, int64_t height, int64_t width) {
    return gd_trained_fits(t->model, t->how.direction, height, width);
}

/* The side nearest to `side` that the networks take in a square; of two equally near ones the larger. below, above:
 * the nearest on either side, 0: none within reach. */
static int64_t nearest_side(const translation *t, int64_t side, int64_t *below, int64_t *above) {
    *below = *above = 0;
    for (int64_t d = 0; d <= FIT_REACH && !(*below && *above); d++) {
        if (!*above && takes(t, side + d, side + d)) *above = side + d;
        if (!*below && side > d && takes(t, side - d, side - d)) *below = side - d;
        if (d == 0 && *above) *below = *above;
    }
    if (!*below || !*above) return *above + *below;
    return *above - side <= side - *below ? *above : *below;
}

static gd_status wrong_size(const translation *t, const char *path, const gd_image *im) {
    int64_t h[2], w[2];
    if (!nearest_side(t, im->height, &h[0], &h[1]) || !nearest_side(t, im->width, &w[0], &w[1]))
        GD_FAIL(DATA, "%s: the network takes no image of about %d x %d pixels", path, im->width, im->height);
    char text[2][64];
    for (int i = 0; i < 2; i++) {
        const int64_t *p = i ? h : w;
        if (!p[0] || !p[1] || p[0] == p[1]) snprintf(text[i], sizeof text[i], "%lld", (long long)(p[1] ? p[1] : p[0]));
        else snprintf(text[i], sizeof text[i], "%lld or %lld", (long long)p[0], (long long)p[1]);
    }
    GD_FAIL(DATA,
            "%s: %d x %d pixels, which the network does not take; nearest width %s, nearest height %s. "
            "Use --fit to resize, or change the image",
            path, im->width, im->height, text[0], text[1]);
}

/* Leaves im at a size that the network takes. */
static gd_status fit(const translation *t, const char *path, gd_image *im) {
    if (takes(t, im->height, im->width)) return GD_OK;
    if (!t->opt->fit) return wrong_size(t, path, im);
    int64_t unused[2], h = nearest_side(t, im->height, &unused[0], &unused[1]);
    int64_t w = nearest_side(t, im->width, &unused[0], &unused[1]);
    if (!h || !w) return wrong_size(t, path, im);
    gd_image resized;
    GD_TRY(gd_image_resize_bicubic(im, (int)h, (int)w, &resized));
    gd_image_free(im);
    *im = resized;
    return GD_OK;
}

/* ---- one image ---- */

static gd_status read_image(const translation *t, const char *path, gd_image *out) {
    void *bytes;
    size_t n;
    GD_TRY(gd_file_read(path, FILE_MAX, &bytes, &n));
    gd_status st = gd_image_decode(path, bytes, n, gd_trained_channels_in(t->model, t->how.direction), out);
    free(bytes);
    return st;
}

static gd_status run_network(translation *t, int64_t index, const gd_image *in, gd_image *out) {
    int channels = gd_trained_channels_out(t->model, t->how.direction);
    size_t pixels = (size_t)in->height * (size_t)in->width, n_in = pixels * (size_t)in->channels;
    float *x = malloc((n_in + pixels * (size_t)channels) * sizeof *x), *y = x + n_in;
    if (!x) GD_FAIL(NOMEM, "an image of %d x %d pixels", in->width, in->height);
    gd_range range = gd_trained_range(t->model);
    gd_pictures_floats(in->pixels, n_in, range, x);
    t->how.height = in->height;
    t->how.width = in->width;
    gd_status st = gd_trained_translate(t->model, &t->how, index, 1, x, y);
    if (st == GD_OK) st = gd_pictures_tile(y, in->height, in->width, channels, channels, range, out);
    free(x);
    return st;
}

/* A copy of im for the sheet: of its first tile's size, in colour if any tile may be. */
static gd_status keep_tile(translation *t, const gd_image *im) {
    int a = gd_trained_channels_in(t->model, t->how.direction), b = gd_trained_channels_out(t->model, t->how.direction);
    int channels = a > b ? a : b;
    const gd_image *first = t->tiles ? &t->tile[0] : im;
    gd_image same = {0}, *tile = &t->tile[t->tiles];
    GD_TRY(gd_image_resize(im, first->height, first->width, &same));
    size_t pixels = (size_t)same.height * (size_t)same.width;
    *tile = (gd_image){same.height, same.width, channels, malloc(pixels * (size_t)channels)};
    for (size_t i = 0; tile->pixels && i < pixels * (size_t)channels; i++)
        tile->pixels[i] = same.pixels[same.channels == channels ? i : i / (size_t)channels];
    gd_image_free(&same);
    if (!tile->pixels) GD_FAIL(NOMEM, "a sheet of images");
    t->tiles++;
    return GD_OK;
}

static gd_status translate_one(translation *t, int i) {
    gd_image in = {0}, out = {0};
    char path[4096];
    gd_status st;
    GD_TRY_TO(done, read_image(t, t->in.path[i], &in));
    GD_TRY_TO(done, fit(t, t->in.path[i], &in));
    GD_TRY_TO(done, run_network(t, i, &in, &out));
    snprintf(path, sizeof path, "%s/%s.png", t->opt->out, t->in.stem[i]);
    GD_TRY_TO(done, gd_image_write_png(path, &out, gd_trained_name(t->model)));
    if (t->opt->sheet && t->tiles < 2 * SHEET_MAX) {
        GD_TRY_TO(done, keep_tile(t, &in));
        GD_TRY_TO(done, keep_tile(t, &out));
    }
done:
    gd_image_free(&out);
    gd_image_free(&in);
    return st;
}

/* ---- all of them ---- */

static gd_status choose_direction(const translate_options *o, const gd_trained *model, int *out) {
    bool recipe_back = !strcmp(gd_trained_recipe(model)->data.direction, "BtoA"), back = recipe_back;
    if (o->direction && strcmp(o->direction, "AtoB") && strcmp(o->direction, "BtoA"))
        GD_FAIL(USAGE, "--direction: no direction '%s'; one of AtoB, BtoA", o->direction);
    if (o->direction) back = !strcmp(o->direction, "BtoA");
    *out = back != recipe_back;
    if (!gd_trained_translates(model, 0))
        GD_FAIL(CONFIG, "%s: its topology is '%s', which translates no images; see 'gandist sample'",
                gd_trained_name(model), gd_trained_topology(model));
    if (!gd_trained_translates(model, *out))
        GD_FAIL(USAGE, "--direction %s: %s was trained from %s only", o->direction, gd_trained_name(model),
                recipe_back ? "B to A" : "A to B");
    return GD_OK;
}

/* Results never take the place of what was given. */
static gd_status check_out(const translation *t) {
    struct stat out, in;
    for (int i = 0; i < t->in.count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.png", t->opt->out, t->in.stem[i]);
        if (gd_io_get()->stat(path, &out) || gd_io_get()->stat(t->in.path[i], &in)) continue;
        if (out.st_dev == in.st_dev && out.st_ino == in.st_ino)
            GD_FAIL(USAGE, "--out %s: %s would be overwritten by its own result; use another folder", t->opt->out,
                    t->in.path[i]);
    }
    return GD_OK;
}

static gd_status write_sheet(const translation *t) {
    if (!t->opt->sheet) return GD_OK;
    gd_image sheet = {0};
    int columns = t->tiles <= 8 ? 2 : t->tiles <= 32 ? 4 : 8;
    gd_status st = gd_image_sheet(t->tile, t->tiles, columns, 2, 255, &sheet);
    if (st == GD_OK) st = gd_image_write_png(t->opt->sheet, &sheet, gd_trained_name(t->model));
    gd_image_free(&sheet);
    if (st == GD_OK) printf("%s: %d of them beside their results\n", t->opt->sheet, t->tiles / 2);
    return st;
}

static gd_status translate(translation *t, const gd_text_list *args) {
    GD_TRY(gd_trained_open(args->item[0], t->opt->weights, &t->model));
    GD_TRY(choose_direction(t->opt, t->model, &t->how.direction));
    t->how.noise = gd_trained_spec(t->model)->topology == GD_TOPOLOGY_PAIRED && !t->opt->no_noise;
    GD_TRY(gd_inputs_find(args, 1, &t->in));
    GD_TRY(check_out(t));
    GD_TRY(gd_device_open_alone(t->opt->device, false, &t->device));
    GD_TRY(gd_trained_use(t->model, t->device.executor));
    GD_TRY(gd_dir_make(t->opt->out));
    for (int i = 0; i < t->in.count; i++) GD_TRY(translate_one(t, i));
    bool swapped = !strcmp(gd_trained_recipe(t->model)->data.direction, "BtoA");
    printf("%s: %d image%s by %s, %s\n", t->opt->out, t->in.count, t->in.count > 1 ? "s" : "",
           gd_trained_name(t->model), (t->how.direction == 1) != swapped ? "B to A" : "A to B");
    return write_sheet(t);
}

static gd_status run(int argc, char **argv) {
    translate_options o = {0};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_translate, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    if (!o.out) GD_FAIL(USAGE, "gandist translate: --out DIR must be given: where the results go");
    GD_TRY(gd_device_check(o.device));
    translation t = {.opt = &o};
    gd_status st = translate(&t, &args);
    for (int i = 0; i < t.tiles; i++) gd_image_free(&t.tile[i]);
    gd_inputs_free(&t.in);
    gd_trained_close(t.model);
    gd_device_close(&t.device);
    return st;
}

const gd_command gd_command_translate = {
    .name = "translate",
    .summary = "turns images into the other domain with a trained pix2pix, CycleGAN or DiscoGAN",
    .usage = "RUN INPUT... --out DIR [options]",
    .example = "gandist translate runs/cyclegan photos/ --out zebras --sheet zebras.png",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 2,
    .max_args = GD_LIST_MAX,
    .run = run,
};
