/* gandist evaluate: measures of what a trained run makes. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "launch/commands.h"
#include "launch/device.h"
#include "launch/measures.h"

enum { MEASURES_MAX = 16, DIRECTIONS = 2, N_DEFAULT = 10000 };
static const char default_classifier[] = "runs/classifier";

typedef struct evaluate_options {
    int64_t n, seed;
    const char *metrics, *classifier, *weights, *inception, *device;
    bool json;
} evaluate_options;

static const gd_option table[] = {
    {"metrics", GD_OPT_TEXT, offsetof(evaluate_options, metrics), "LIST",
     "of fd,fid,kid,prdc,swd,modes,l1,ms-ssim,parzen,accuracy (default: what fits the run)"},
    {"n", GD_OPT_INT, offsetof(evaluate_options, n), "N", "samples of each set (default 10000, or all there are)"},
    {"classifier", GD_OPT_TEXT, offsetof(evaluate_options, classifier), "RUN",
     "whose features fd, kid, prdc and modes use (default runs/classifier)"},
    {"seed", GD_OPT_INT, offsetof(evaluate_options, seed), "S", "which samples and directions (default 1)"},
    {"weights", GD_OPT_TEXT, offsetof(evaluate_options, weights), "WHICH", "ema (default where kept) or live"},
    {"inception", GD_OPT_TEXT, offsetof(evaluate_options, inception), "FILE",
     "weights of FID's Inception network as safetensors, for fid (docs/evaluate.md)"},
    {"device", GD_OPT_TEXT, offsetof(evaluate_options, device), "DEVICE", "auto, cpu or cuda"},
    {"json", GD_OPT_FLAG, offsetof(evaluate_options, json), NULL, "one JSON object"},
};

typedef struct result {
    const char *skipped; /* why there are no figures; NULL: there are */
    gd_figures figures;
} result;

typedef struct evaluate {
    const evaluate_options *opt;
    const gd_measure *measure;
    int count;
    result result[DIRECTIONS][MEASURES_MAX];
    gd_evaluation e[DIRECTIONS];
    int directions;
    gd_trained *model, *classifier;
    gd_inception *inception;
    gd_device device;
    char classifier_hash[17], model_hash[17];
    bool wanted[MEASURES_MAX], asked[MEASURES_MAX];
} evaluate;

/* ---- what to measure ---- */

static gd_status ask(evaluate *v, const char *name) {
    const char *names[MEASURES_MAX];
    for (int i = 0; i < v->count; i++) {
        names[i] = v->measure[i].name;
        if (strcmp(names[i], name)) continue;
        v->wanted[i] = v->asked[i] = true;
        return GD_OK;
    }
    const char *near = gd_nearest(name, names, (size_t)v->count);
    GD_FAIL(USAGE, "--metrics: no metric '%s'%s%s%s; 'gandist evaluate --help' lists them", name,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static gd_status parse_metrics(evaluate *v) {
    if (!v->opt->metrics) {
        for (int i = 0; i < v->count; i++)
            v->wanted[i] = v->measure[i].usual || (v->measure[i].needs_inception && v->opt->inception);
        return GD_OK;
    }
    char *copy = strdup(v->opt->metrics), *rest = copy, *word;
    if (!copy) GD_FAIL(NOMEM, "--metrics");
    gd_status st = GD_OK;
    while (st == GD_OK && (word = strsep(&rest, ","))) st = ask(v, word);
    free(copy);
    return st;
}

/* Drops what makes no sense for the run, or says so where it was asked for by name. */
static gd_status choose(evaluate *v) {
    gd_evaluation e = {.model = v->model};
    for (int i = 0; i < v->count; i++) {
        if (!v->wanted[i] || v->measure[i].fits(&e)) continue;
        if (v->asked[i])
            GD_FAIL(USAGE, "--metrics %s: makes no sense for %s (topology %s, data %s)", v->measure[i].name,
                    gd_trained_name(v->model), gd_trained_topology(v->model), gd_trained_recipe(v->model)->data.source);
        v->wanted[i] = false;
    }
    return GD_OK;
}

static gd_status open_classifier(evaluate *v) {
    const char *path = v->opt->classifier ? v->opt->classifier : default_classifier, *first = NULL;
    gd_evaluation e = {.model = v->model};
    bool asked = v->opt->classifier != NULL;
    for (int i = 0; i < v->count; i++) {
        if (!v->wanted[i] || !v->measure[i].needs_classifier(&e)) continue;
        asked |= v->asked[i];
        if (!first) first = v->measure[i].name;
    }
    if (!first && asked) GD_FAIL(USAGE, "--classifier %s: none of the metrics needs one here", path);
    if (!first) return GD_OK;
    if (gd_path_exists(path)) {
        uint64_t hash;
        GD_TRY(gd_trained_open(path, NULL, &v->classifier));
        if (gd_trained_spec(v->classifier)->topology != GD_TOPOLOGY_CLASSIFIER)
            GD_FAIL(CONFIG,
                    "--classifier %s: a run of topology '%s'; expected a classifier, as recipes/classifier.yaml "
                    "trains",
                    path, gd_trained_topology(v->classifier));
        GD_TRY(gd_trained_hash(v->classifier, &hash));
        gd_hash64_text(hash, v->classifier_hash);
        return GD_OK;
    }
    if (asked)
        GD_FAIL(NOINPUT,
                "%s: no such run, and metric %s needs a classifier of the same kind of images; train one with "
                "'gandist recipes/classifier.yaml', or name one with --classifier",
                path, first);
    for (int i = 0; i < v->count; i++)
        if (v->wanted[i] && v->measure[i].needs_classifier(&e))
            for (int d = 0; d < v->directions; d++)
                v->result[d][i].skipped = "needs a classifier: 'gandist recipes/classifier.yaml', or --classifier RUN";
    return GD_OK;
}

static bool needs_inception(const evaluate *v) {
    for (int i = 0; i < v->count; i++)
        if (v->wanted[i] && v->measure[i].needs_inception) return true;
    return false;
}

static gd_status open_inception(evaluate *v) {
    bool needed = needs_inception(v);
    if (needed && !v->opt->inception)
        GD_FAIL(
            USAGE,
            "--metrics fid: needs the weights that define it: give --inception FILE.safetensors, converted once from "
            "pytorch-fid's pt_inception-2015-12-05-6726825d.pth with the few lines of python in "
            "docs/evaluate.md; fd is the same distance in the features of a classifier trained by gandist");
    if (!needed && v->opt->inception)
        GD_FAIL(USAGE, "--inception %s: none of the metrics needs it here; it is for fid, of runs that make images",
                v->opt->inception);
    if (!needed) return GD_OK;
    int64_t channels = gd_trained_image(v->model).dim[3];
    if (channels != 1 && channels != 3)
        GD_FAIL(CONFIG, "--metrics fid: this run's images have %lld channels; the network takes 1 or 3",
                (long long)channels);
    return gd_inception_open(v->opt->inception, v->device.executor, &v->inception);
}

static gd_status open_device(evaluate *v) {
    GD_TRY(gd_device_open_alone(v->opt->device, v->opt->json, &v->device));
    GD_TRY(gd_trained_use(v->model, v->device.executor));
    return v->classifier ? gd_trained_use(v->classifier, v->device.executor) : GD_OK;
}

/* As many samples as asked for, or the default within the memory that a set may take. */
static gd_status choose_count(evaluate *v, int64_t *n) {
    int64_t size = gd_shape_count(gd_trained_image(v->model)), most = GD_EVALUATION_BYTES / (size ? size : 1);
    if (gd_trained_range(v->model) == GD_RANGE_RAW) most /= (int64_t)sizeof(float);
    const int64_t seen = GD_EVALUATION_BYTES / (GD_INCEPTION_FEATURES * (int64_t)sizeof(float));
    if (needs_inception(v) && most > seen) most = seen;
    *n = v->opt->n ? v->opt->n : most < N_DEFAULT ? most : N_DEFAULT;
    if (*n < 2 || *n > most)
        GD_FAIL(USAGE, "--n: must be 2 to %lld (for samples of this size), got %lld", (long long)most, (long long)*n);
    return GD_OK;
}

/* ---- measuring ---- */

static gd_status measure_direction(evaluate *v, int d, int64_t n) {
    gd_evaluation *e = &v->e[d];
    uint64_t seed = (uint64_t)v->opt->seed;
    *e = (gd_evaluation){.model = v->model, .classifier = v->classifier, .direction = d, .n = n};
    GD_TRY(gd_evaluation_fill(e, seed));
    if (v->classifier) GD_TRY(gd_evaluation_classify(e));
    if (v->inception) GD_TRY(gd_evaluation_look(e, v->inception));
    for (int i = 0; i < v->count; i++) {
        result *r = &v->result[d][i];
        if (!v->wanted[i] || r->skipped) continue;
        GD_TRY(v->measure[i].run(e, seed, &r->figures));
        if (r->figures.count) continue;
        if (v->asked[i]) GD_FAIL(DATA, "--metrics %s: not known for the data '%s'", v->measure[i].name, e->source);
        r->skipped = "not known for this data";
    }
    return GD_OK;
}

/* ---- telling ---- */

static const char *way(const evaluate *v, int d) {
    if (!gd_trained_translates(v->model, 0)) return NULL;
    bool back = !strcmp(gd_trained_recipe(v->model)->data.direction, "BtoA");
    return (d == 1) != back ? "BtoA" : "AtoB";
}

static void print_figure(const gd_figure *f) {
    printf("  %-15s %12.6g", f->name, f->value);
    if (!isnan(f->error)) printf(" +- %-10.3g", f->error);
    else printf("   %-11s", "");
    if (!isnan(f->floor)) printf(" %12.6g", f->floor);
    putchar('\n');
}

static void print_direction(const evaluate *v, int d) {
    const gd_evaluation *e = &v->e[d];
    if (way(v, d)) printf("%s: ", way(v, d));
    if (e->fake.shape.dim[0])
        printf("%lld samples against %lld of the training set; floor: %lld %s\n", (long long)e->fake.shape.dim[0],
               (long long)e->real.shape.dim[0], (long long)e->held.shape.dim[0],
               e->held_out ? "held-out samples" : "other training samples");
    else
        printf("%lld %s\n", (long long)e->held.shape.dim[0],
               e->held_out ? "held-out samples" : "training samples (the set has no held-out ones)");
    printf("  %-15s %12s %14s %12s\n", "metric", "value", "", "floor");
    for (int i = 0; i < v->count; i++) {
        const result *r = &v->result[d][i];
        for (int k = 0; k < r->figures.count; k++) print_figure(&r->figures.figure[k]);
        if (v->wanted[i] && r->skipped) printf("  %-15s %12s   %s\n", v->measure[i].name, "-", r->skipped);
    }
}

static void print_text(const evaluate *v) {
    printf("%s, state_hash %s\n", gd_trained_name(v->model), v->model_hash);
    if (v->classifier) printf("features of %s, state_hash %s\n", gd_trained_name(v->classifier), v->classifier_hash);
    if (v->inception) printf("fid by %s, xxh3 of its weights %s\n", v->opt->inception, gd_inception_hash(v->inception));
    for (int d = 0; d < v->directions; d++) print_direction(v, d);
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *direction_json(const evaluate *v, int d) {
    const gd_evaluation *e = &v->e[d];
    json_t *metrics = json_object(), *skipped = json_object();
    for (int i = 0; i < v->count; i++) {
        const result *r = &v->result[d][i];
        for (int k = 0; k < r->figures.count; k++) {
            const gd_figure *f = &r->figures.figure[k];
            json_t *o = json_pack("{s:o}", "value", number(f->value));
            if (!isnan(f->error)) json_object_set_new(o, "error", number(f->error));
            if (!isnan(f->floor)) json_object_set_new(o, "floor", number(f->floor));
            json_object_set_new(metrics, f->name, o);
        }
        if (v->wanted[i] && r->skipped) json_object_set_new(skipped, v->measure[i].name, json_string(r->skipped));
    }
    return json_pack("{s:s?, s:I, s:I, s:I, s:b, s:o, s:o}", "direction", way(v, d), "samples",
                     (json_int_t)e->fake.shape.dim[0], "real", (json_int_t)e->real.shape.dim[0], "floor_samples",
                     (json_int_t)e->held.shape.dim[0], "held_out", (int)e->held_out, "metrics", metrics, "skipped",
                     skipped);
}

static gd_status print_json(const evaluate *v) {
    json_t *results = json_array();
    for (int d = 0; d < v->directions; d++) json_array_append_new(results, direction_json(v, d));
    json_t *root = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s?, s:s?, s:o}", "device", v->device.text, "run",
                             gd_trained_recipe(v->model)->name, "step", (json_int_t)gd_trained_step(v->model),
                             "weights", gd_trained_is_ema(v->model) ? "ema" : "live", "state_hash", v->model_hash,
                             "classifier_state_hash", v->classifier ? v->classifier_hash : NULL, "inception_hash",
                             v->inception ? gd_inception_hash(v->inception) : NULL, "results", results);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!text) GD_FAIL(NOMEM, "evaluate: the JSON text");
    puts(text);
    free(text);
    return GD_OK;
}

/* ---- the command ---- */

static gd_status evaluate_run(evaluate *v, const char *path) {
    uint64_t hash;
    int64_t n;
    GD_TRY(parse_metrics(v));
    GD_TRY(gd_trained_open(path, v->opt->weights, &v->model));
    v->directions = gd_trained_translates(v->model, 1) ? 2 : 1;
    GD_TRY(choose(v));
    GD_TRY(choose_count(v, &n));
    GD_TRY(open_classifier(v));
    GD_TRY(open_device(v));
    GD_TRY(open_inception(v));
    GD_TRY(gd_trained_hash(v->model, &hash));
    gd_hash64_text(hash, v->model_hash);
    for (int d = 0; d < v->directions; d++) GD_TRY(measure_direction(v, d, n));
    if (v->opt->json) return print_json(v);
    print_text(v);
    return GD_OK;
}

static gd_status run(int argc, char **argv) {
    evaluate_options o = {.seed = 1};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_evaluate, argc, argv, &o, &args, &helped));
    if (!helped) GD_TRY(gd_device_check(o.device));
    evaluate v = {.opt = &o};
    v.measure = gd_measures(&v.count);
    if (helped) {
        puts("\nmetrics:");
        for (int i = 0; i < v.count; i++) printf("  %-10s %s\n", v.measure[i].name, v.measure[i].help);
        return GD_OK;
    }
    if (o.seed < 0) GD_FAIL(USAGE, "--seed wants an integer from 0, got %lld", (long long)o.seed);
    gd_status st = evaluate_run(&v, args.item[0]);
    for (int d = 0; d < DIRECTIONS; d++) gd_evaluation_free(&v.e[d]);
    gd_inception_close(v.inception);
    gd_trained_close(v.classifier);
    gd_trained_close(v.model);
    gd_device_close(&v.device);
    return st;
}

const gd_command gd_command_evaluate = {
    .name = "evaluate",
    .summary = "measures what a trained run makes",
    .usage = "RUN [options]",
    .example = "gandist evaluate runs/dcgan --metrics fd,prdc,swd --n 5000",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
