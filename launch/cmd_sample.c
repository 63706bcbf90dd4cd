/* gandist sample, interpolate, arithmetic: pictures from a trained generator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "launch/commands.h"
#include "launch/device.h"
#include "launch/latents.h"
#include "launch/pictures.h"
#include "launch/trained.h"

enum { N_MAX = 100000, TERMS_MAX = 16, SEEDS_MAX = 64 };
static const uint64_t NEIGHBOURS = UINT64_C(1) << 62; /* seeds of noise that nobody asks for by number */

/* A trained run, and the device that it runs on from now on. */
typedef struct studio {
    gd_trained *model;
    gd_device device;
} studio;

static void leave(studio *s) {
    gd_trained_close(s->model);
    gd_device_close(&s->device);
}

static gd_status enter(const char *run, const char *weights, const char *device, studio *out) {
    *out = (studio){0};
    GD_TRY(gd_device_check(device));
    GD_TRY(gd_trained_open(run, weights, &out->model));
    gd_status st = gd_device_open_alone(device, false, &out->device);
    if (st == GD_OK) st = gd_trained_use(out->model, out->device.executor);
    if (st != GD_OK) leave(out);
    return st;
}

/* Latents in, samples out, and the file or folder they go to. */
static gd_status generate(gd_trained *t, int64_t n, const float *z, float **out) {
    float *x = malloc((size_t)(n * gd_shape_count(gd_trained_image(t))) * sizeof *x);
    if (!x) GD_FAIL(NOMEM, "%lld samples", (long long)n);
    gd_status st = gd_trained_generate(t, n, z, x);
    if (st == GD_OK) *out = x;
    else free(x);
    return st;
}

static gd_status make_sheet(gd_trained *t, int64_t n, const float *z, int columns, const char *path, const char *text) {
    float *x = NULL;
    GD_TRY(generate(t, n, z, &x));
    gd_status st = gd_pictures_sheet(path, x, (int)n, gd_trained_image(t), gd_trained_range(t), columns, text);
    free(x);
    if (st == GD_OK) printf("%s: %lld samples of %s\n", path, (long long)n, gd_trained_name(t));
    return st;
}

static float *new_latents(const gd_trained *t, int64_t n) {
    return malloc((size_t)(n * gd_trained_latent(t)) * sizeof(float));
}

static void draw(const gd_trained *t, uint64_t seed, int64_t n, float *z) {
    gd_latents_draw(seed, gd_trained_law(t), n, gd_trained_latent(t), z);
}

/* ---- sample ---- */

typedef struct sample_options {
    int64_t n, seed;
    const char *grid, *out, *weights, *device;
} sample_options;

static const gd_option sample_table[] = {
    {"n", GD_OPT_INT, offsetof(sample_options, n), "N", "how many (default 64)"},
    {"seed", GD_OPT_INT, offsetof(sample_options, seed), "S", "of the first sample; the others follow (default 0)"},
    {"grid", GD_OPT_TEXT, offsetof(sample_options, grid), "FILE.png", "one sheet (default samples.png)"},
    {"out", GD_OPT_TEXT, offsetof(sample_options, out), "DIR", "one file each instead"},
    {"weights", GD_OPT_TEXT, offsetof(sample_options, weights), "WHICH", "ema (default where kept) or live"},
    {"device", GD_OPT_TEXT, offsetof(sample_options, device), "DEVICE", "auto, cpu or cuda"},
};

static gd_status write_samples(gd_trained *t, const sample_options *o, const float *z) {
    if (!o->out) return make_sheet(t, o->n, z, 0, o->grid ? o->grid : "samples.png", gd_trained_name(t));
    float *x = NULL;
    GD_TRY(generate(t, o->n, z, &x));
    gd_status st = gd_pictures_files(o->out, x, (int)o->n, gd_trained_image(t), gd_trained_range(t));
    free(x);
    if (st == GD_OK) printf("%s: %lld files of %s\n", o->out, (long long)o->n, gd_trained_name(t));
    return st;
}

static gd_status run_sample(int argc, char **argv) {
    sample_options o = {.n = 64};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_sample, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    if (o.n < 1 || o.n > N_MAX) GD_FAIL(USAGE, "--n: must be 1 to %d, got %lld", N_MAX, (long long)o.n);
    if (o.seed < 0) GD_FAIL(USAGE, "--seed wants a seed (an integer from 0), got %lld", (long long)o.seed);
    if (o.grid && o.out) GD_FAIL(USAGE, "--grid makes one sheet and --out one file each: give one of them");
    studio s;
    GD_TRY(enter(args.item[0], o.weights, o.device, &s));
    float *z = new_latents(s.model, o.n);
    gd_status st = z ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%lld latents", (long long)o.n);
    if (st == GD_OK) {
        draw(s.model, (uint64_t)o.seed, o.n, z);
        st = write_samples(s.model, &o, z);
    }
    free(z);
    leave(&s);
    return st;
}

const gd_command gd_command_sample = {
    .name = "sample",
    .summary = "draws samples from a trained generator",
    .usage = "RUN [options]",
    .example = "gandist sample runs/dcgan --n 100 --seed 3 --grid clothes.png",
    .options = sample_table,
    .option_count = sizeof sample_table / sizeof *sample_table,
    .min_args = 1,
    .max_args = 1,
    .run = run_sample,
};

/* ---- interpolate ---- */

typedef struct interpolate_options {
    gd_text_list from, to;
    int64_t steps;
    const char *mode, *out, *weights, *device;
} interpolate_options;

static const gd_option interpolate_table[] = {
    {"from", GD_OPT_TEXTS, offsetof(interpolate_options, from), "SEED",
     "start; several --from/--to pairs make several rows"},
    {"to", GD_OPT_TEXTS, offsetof(interpolate_options, to), "SEED", "end"},
    {"steps", GD_OPT_INT, offsetof(interpolate_options, steps), "N", "pictures a row, both ends included (default 10)"},
    {"mode", GD_OPT_TEXT, offsetof(interpolate_options, mode), "HOW", "linear (default) or slerp"},
    {"out", GD_OPT_TEXT, offsetof(interpolate_options, out), "FILE.png", "the sheet (default interpolation.png)"},
    {"weights", GD_OPT_TEXT, offsetof(interpolate_options, weights), "WHICH", "ema (default where kept) or live"},
    {"device", GD_OPT_TEXT, offsetof(interpolate_options, device), "DEVICE", "auto, cpu or cuda"},
};

static gd_status parse_seed(const char *option, const char *text, uint64_t *out) {
    int64_t v;
    if (!gd_parse_i64(text, &v, NULL) || v < 0)
        GD_FAIL(USAGE, "%s wants a seed (an integer from 0), got '%s'", option, text);
    *out = (uint64_t)v;
    return GD_OK;
}

static void interpolate_row(gd_trained *t, const interpolate_options *o, const uint64_t seed[2], float *ends,
                            float *z) {
    int64_t size = gd_trained_latent(t);
    draw(t, seed[0], 1, ends);
    draw(t, seed[1], 1, ends + size);
    bool slerp = o->mode && !strcmp(o->mode, "slerp");
    (slerp ? gd_latents_slerp : gd_latents_linear)(ends, ends + size, size, o->steps, z);
}

static gd_status interpolate(gd_trained *t, const interpolate_options *o, uint64_t (*seed)[2]) {
    int rows = o->from.count;
    int64_t n = rows * o->steps;
    float *z = new_latents(t, n), *ends = new_latents(t, 2);
    gd_status st = z && ends ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%lld latents", (long long)n);
    for (int row = 0; row < rows && st == GD_OK; row++)
        interpolate_row(t, o, seed[row], ends, z + row * o->steps * gd_trained_latent(t));
    if (st == GD_OK) st = make_sheet(t, n, z, (int)o->steps, o->out ? o->out : "interpolation.png", gd_trained_name(t));
    free(z);
    free(ends);
    return st;
}

static gd_status run_interpolate(int argc, char **argv) {
    interpolate_options o = {.steps = 10};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_interpolate, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    if (o.steps < 2 || o.steps > 1000) GD_FAIL(USAGE, "--steps: must be 2 to 1000, got %lld", (long long)o.steps);
    if (!o.from.count || o.from.count != o.to.count)
        GD_FAIL(USAGE, "--from and --to: give both, equally often (got %d and %d)", o.from.count, o.to.count);
    if (o.mode && strcmp(o.mode, "linear") && strcmp(o.mode, "slerp"))
        GD_FAIL(USAGE, "--mode: no mode '%s'; one of linear, slerp", o.mode);
    uint64_t seed[GD_LIST_MAX][2];
    for (int i = 0; i < o.from.count; i++) {
        GD_TRY(parse_seed("--from", o.from.item[i], &seed[i][0]));
        GD_TRY(parse_seed("--to", o.to.item[i], &seed[i][1]));
    }
    studio s;
    GD_TRY(enter(args.item[0], o.weights, o.device, &s));
    gd_status st = interpolate(s.model, &o, seed);
    leave(&s);
    return st;
}

const gd_command gd_command_interpolate = {
    .name = "interpolate",
    .summary = "walks between latents, a row for each pair of seeds",
    .usage = "RUN --from SEED --to SEED [options]",
    .example = "gandist interpolate runs/dcgan --from 1 --to 2 --mode slerp --out walk.png",
    .options = interpolate_table,
    .option_count = sizeof interpolate_table / sizeof *interpolate_table,
    .min_args = 1,
    .max_args = 1,
    .run = run_interpolate,
};

/* ---- arithmetic: Radford et al. 2015, section 6.3.2 ---- */

typedef struct arithmetic_options {
    gd_text_list plus, minus; /* values; signs and order come from the command line itself */
    const char *out, *weights, *device;
} arithmetic_options;

static const gd_option arithmetic_table[] = {
    {"plus", GD_OPT_TEXTS, offsetof(arithmetic_options, plus), "S,S,S",
     "add the mean latent of these seeds (tiles of 'sample', counted from 0); may be repeated"},
    {"minus", GD_OPT_TEXTS, offsetof(arithmetic_options, minus), "S,S,S", "subtract it; may be repeated"},
    {"out", GD_OPT_TEXT, offsetof(arithmetic_options, out), "FILE.png", "the sheet (default arithmetic.png)"},
    {"weights", GD_OPT_TEXT, offsetof(arithmetic_options, weights), "WHICH", "ema (default where kept) or live"},
    {"device", GD_OPT_TEXT, offsetof(arithmetic_options, device), "DEVICE", "auto, cpu or cuda"},
};

typedef struct term {
    double sign;
    uint64_t seed[SEEDS_MAX];
    int count;
} term;

static gd_status parse_term(const char *option, const char *text, double sign, term *out) {
    char copy[1024], *rest = copy, *word;
    if (strlen(text) >= sizeof copy) GD_FAIL(USAGE, "%s: list longer than %zu letters", option, sizeof copy - 1);
    strcpy(copy, text);
    *out = (term){.sign = sign};
    while ((word = strsep(&rest, ","))) {
        if (out->count == SEEDS_MAX) GD_FAIL(USAGE, "%s: more than %d seeds", option, SEEDS_MAX);
        GD_TRY(parse_seed(option, word, &out->seed[out->count++]));
    }
    return GD_OK;
}

/* One row of the sheet: the term's samples, then the sample of their mean latent. */
static void term_row(const gd_trained *t, const term *m, int columns, float *row, float *sum) {
    int64_t size = gd_trained_latent(t);
    float *mean = row + (columns - 1) * size;
    memset(row, 0, (size_t)(columns * size) * sizeof *row);
    for (int i = 0; i < m->count; i++) {
        draw(t, m->seed[i], 1, row + i * size);
        for (int64_t j = 0; j < size; j++) mean[j] += row[i * size + j] / (float)m->count;
    }
    /* Rows shorter than the longest repeat their mean, so that the sheet has no empty tile. */
    for (int i = m->count; i < columns - 1; i++) memcpy(row + i * size, mean, (size_t)size * sizeof *row);
    for (int64_t j = 0; j < size; j++) sum[j] += (float)m->sign * mean[j];
}

/* Rows of terms; the last row holds the result and its neighbours (uniform noise +-0.25, as the paper). */
static gd_status arithmetic(gd_trained *t, const term *terms, int n, const arithmetic_options *o) {
    int columns = 3;
    for (int i = 0; i < n; i++)
        if (terms[i].count + 1 > columns) columns = terms[i].count + 1;
    int64_t size = gd_trained_latent(t), rows = n + 1;
    float *z = new_latents(t, rows * columns);
    if (!z) GD_FAIL(NOMEM, "%lld latents", (long long)(rows * columns));
    float *result = z + n * columns * size;
    memset(result, 0, (size_t)(columns * size) * sizeof *z);
    for (int i = 0; i < n; i++) term_row(t, &terms[i], columns, z + i * columns * size, result);
    for (int c = 1; c < columns; c++) {
        gd_latents_draw(NEIGHBOURS + (uint64_t)c, true, 1, size, result + c * size);
        for (int64_t j = 0; j < size; j++) result[c * size + j] = result[j] + 0.25f * result[c * size + j];
    }
    char text[400];
    snprintf(text, sizeof text, "%s; rows: terms with their mean last; last row: result, then its neighbours",
             gd_trained_name(t));
    gd_status st = make_sheet(t, rows * columns, z, columns, o->out ? o->out : "arithmetic.png", text);
    free(z);
    return st;
}

static gd_status run_arithmetic(int argc, char **argv) {
    arithmetic_options o = {0};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_arithmetic, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    int n = o.plus.count + o.minus.count;
    if (!n || n > TERMS_MAX) GD_FAIL(USAGE, "arithmetic: 1 to %d terms of --plus and --minus, got %d", TERMS_MAX, n);
    term terms[TERMS_MAX];
    for (int i = 0; i < o.plus.count; i++) GD_TRY(parse_term("--plus", o.plus.item[i], 1, &terms[i]));
    for (int i = 0; i < o.minus.count; i++)
        GD_TRY(parse_term("--minus", o.minus.item[i], -1, &terms[o.plus.count + i]));
    studio s;
    GD_TRY(enter(args.item[0], o.weights, o.device, &s));
    gd_status st = arithmetic(s.model, terms, n, &o);
    leave(&s);
    return st;
}

const gd_command gd_command_arithmetic = {
    .name = "arithmetic",
    .summary = "adds and subtracts mean latents (the DCGAN experiment)",
    .usage = "RUN --plus S,S,S --minus S,S,S --plus S,S,S [options]",
    .example = "gandist arithmetic runs/dcgan --plus 1,4,9 --minus 2,3,5 --plus 7,8,11 --out sum.png",
    .options = arithmetic_table,
    .option_count = sizeof arithmetic_table / sizeof *arithmetic_table,
    .min_args = 1,
    .max_args = 1,
    .run = run_arithmetic,
};
