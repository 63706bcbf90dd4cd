/* gandist data: lists the sources, checks a data set, writes a derived one as files, packs pictures into a tar. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/tools.h"
#include "launch/commands.h"

typedef struct data_options {
    const char *out, *source, *path;
    int64_t size, channels, count;
    bool json;
} data_options;

static const gd_option table[] = {
    {"out", GD_OPT_TEXT, offsetof(data_options, out), "DIR|FILE", "derive: folder to write to; pack: the .tar file"},
    {"source", GD_OPT_TEXT, offsetof(data_options, source), "NAME",
     "check: read PATH as this source (default: guessed)"},
    {"path", GD_OPT_TEXT, offsetof(data_options, path), "PATH",
     "check, derive: where the source lies (default: its usual place)"},
    {"size", GD_OPT_INT, offsetof(data_options, size), "N", "check, derive: resize to N pixels (default: as stored)"},
    {"channels", GD_OPT_INT, offsetof(data_options, channels), "N", "check, derive: 1 or 3 (default: as stored)"},
    {"count", GD_OPT_INT, offsetof(data_options, count), "N", "check, derive: the first N samples (default: all)"},
    {"json", GD_OPT_FLAG, offsetof(data_options, json), NULL, "list, check: one JSON object a line"},
};

static const char *state_of(const gd_source_info *s) {
    if (s->synthetic) return "made in memory";
    if (!s->default_path) return "data.path needed";
    return gd_path_exists(s->default_path) ? "there" : "not installed";
}

static gd_status run_list(const data_options *o) {
    int count;
    const gd_source_info *s = gd_dataset_sources(&count);
    for (int i = 0; i < count; i++)
        if (o->json)
            printf("{\"source\":\"%s\",\"help\":\"%s\",\"state\":\"%s\",\"default_path\":%s%s%s}\n", s[i].name,
                   s[i].help, state_of(&s[i]), s[i].default_path ? "\"" : "",
                   s[i].default_path ? s[i].default_path : "null", s[i].default_path ? "\"" : "");
        else printf("%-16s %-17s %s\n", s[i].name, state_of(&s[i]), s[i].help);
    return GD_OK;
}

static bool is_source(const char *word) {
    int count;
    const gd_source_info *s = gd_dataset_sources(&count);
    for (int i = 0; i < count; i++)
        if (!strcmp(s[i].name, word)) return true;
    return false;
}

static gd_status check_number(const char *name, int64_t value, int64_t most) {
    if (value < 0 || value > most)
        GD_FAIL(USAGE, "gandist data: --%s %" PRId64 "; expected 0 to %" PRId64, name, value, most);
    return GD_OK;
}

/* word: the name of a source, or a path. */
static gd_status make_spec(const data_options *o, const char *word, gd_dataset_spec *out) {
    *out = (gd_dataset_spec){.source = o->source ? o->source : word, .path = o->path};
    GD_TRY(check_number("size", o->size, 65535));
    GD_TRY(check_number("channels", o->channels, 3));
    out->size = (int)o->size;
    out->channels = (int)o->channels;
    out->count = o->count;
    if (!o->source && is_source(word)) return GD_OK;
    if (o->path)
        GD_FAIL(USAGE, "gandist data: --path with '%s', which is no source; 'gandist data list' shows them", word);
    out->path = word;
    if (!o->source) GD_TRY(gd_data_guess(word, &out->source));
    return GD_OK;
}

/* The two halves one after the other. A set without a held-out half is complete, too. */
static gd_status open_half(gd_dataset_spec *spec, bool test, gd_dataset **out) {
    spec->test = test;
    *out = NULL;
    gd_status st = gd_dataset_open(spec, out);
    if (test && st == GD_NOINPUT) return GD_OK;
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static void print_report(const gd_dataset *d, const gd_dataset_spec *spec, const gd_data_report *r, bool json) {
    char hash[17], samples[32], bad[32];
    gd_hash64_text(gd_dataset_fingerprint(d), hash);
    gd_text_count((uint64_t)r->samples, samples, sizeof samples);
    gd_text_count((uint64_t)r->bad, bad, sizeof bad);
    if (json) {
        printf("{\"source\":\"%s\",\"test\":%s,\"describe\":\"%s\",\"samples\":%" PRId64 ",\"bad\":%" PRId64
               ",\"classes\":%d,\"fingerprint\":\"%s\"}\n",
               spec->source, spec->test ? "true" : "false", gd_dataset_describe(d), r->samples, r->bad,
               gd_dataset_classes(d), hash);
        return;
    }
    printf("%s\n  decoded %s, bad %s", gd_dataset_describe(d), samples, bad);
    if (gd_dataset_classes(d)) printf(", %d classes", gd_dataset_classes(d));
    printf(", fingerprint %s\n", hash);
    if (r->errors) fputs(r->errors, stdout);
}

static gd_status check_half(const data_options *o, gd_dataset_spec *spec, bool test, int64_t *bad) {
    gd_dataset *d;
    gd_data_report r = {0};
    GD_TRY(open_half(spec, test, &d));
    if (!d) {
        if (!o->json) puts("no held-out half");
        return GD_OK;
    }
    gd_status st = gd_data_check(d, &r);
    if (st == GD_OK) print_report(d, spec, &r, o->json);
    *bad += r.bad;
    free(r.errors);
    gd_dataset_close(d);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status run_check(const data_options *o, const char *word) {
    gd_dataset_spec spec;
    int64_t bad = 0;
    GD_TRY(make_spec(o, word, &spec));
    GD_TRY(check_half(o, &spec, false, &bad));
    GD_TRY(check_half(o, &spec, true, &bad));
    if (bad)
        GD_FAIL(DATA, "%s: %" PRId64 " samples cannot be decoded; expected whole pictures; replace or remove them",
                word, bad);
    return GD_OK;
}

static gd_status derive_half(const data_options *o, gd_dataset_spec *spec, bool test) {
    gd_dataset *d;
    GD_TRY(open_half(spec, test, &d));
    if (!d) return GD_OK;
    gd_status st = gd_data_derive(d, o->out);
    if (st == GD_OK) printf("%s: written to %s\n", gd_dataset_describe(d), o->out);
    gd_dataset_close(d);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

static gd_status run_derive(const data_options *o, const char *name) {
    gd_dataset_spec spec;
    if (!o->out) GD_FAIL(USAGE, "gandist data derive: where to? give --out DIR");
    GD_TRY(make_spec(o, name, &spec));
    GD_TRY(derive_half(o, &spec, false));
    GD_TRY(derive_half(o, &spec, true));
    return GD_OK;
}

static gd_status run_pack(const data_options *o, const char *folder) {
    int64_t samples;
    char n[32];
    if (!o->out) GD_FAIL(USAGE, "gandist data pack: where to? give --out FILE.tar");
    GD_TRY(gd_data_pack(folder, o->out, &samples));
    gd_text_count((uint64_t)samples, n, sizeof n);
    printf("%s: packed %s samples; use it with data: {source: tar, path: %s}\n", o->out, n, o->out);
    return GD_OK;
}

static gd_status unknown_action(const char *word) {
    static const char *const names[] = {"list", "check", "derive", "pack"};
    const char *near = gd_nearest(word, names, sizeof names / sizeof *names);
    GD_FAIL(USAGE, "gandist data: unknown action '%s'; expected list, check, derive or pack%s%s%s", word,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static gd_status run(int argc, char **argv) {
    data_options o = {0};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_data, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    const char *action = args.item[0], *what = args.count > 1 ? args.item[1] : NULL;
    const bool list = !strcmp(action, "list");
    if (list && what) GD_FAIL(USAGE, "gandist data list: takes no argument, got '%s'", what);
    if (list) return run_list(&o);
    gd_status (*act)(const data_options *, const char *) = !strcmp(action, "check")    ? run_check
                                                           : !strcmp(action, "derive") ? run_derive
                                                           : !strcmp(action, "pack")   ? run_pack
                                                                                       : NULL;
    if (!act) return unknown_action(action);
    if (!what) GD_FAIL(USAGE, "gandist data %s: of what? 'gandist data --help' shows the usage", action);
    return act(&o, what);
}

const gd_command gd_command_data = {
    .name = "data",
    .summary = "lists, checks, derives and packs data sets",
    .usage = "list | check SOURCE|PATH | derive SOURCE|PATH --out DIR | pack FOLDER --out FILE.tar",
    .example = "gandist data check edges2fashion",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
