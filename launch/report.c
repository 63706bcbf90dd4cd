#include "launch/report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

enum { POINTS_MAX = 400, CURVES_MAX = 4, WIDTH = 560, HEIGHT = 200, SHEETS_MAX = 24, PATH_ROOM = 4096 };
static const size_t file_limit = (size_t)1 << 32;

typedef struct curve {
    const char *key, *label, *colour;
} curve;

typedef struct chart {
    const char *title;
    curve curve[CURVES_MAX];
} chart;

static const chart charts[] = {
    {"Losses", {{"loss_d", "discriminator", "#2563eb"}, {"loss_g", "generator", "#d97706"}}},
    {"Mean output of the discriminator",
     {{"d_real", "on real samples", "#2563eb"}, {"d_fake", "on generated samples", "#d97706"}}},
    {"Terms of the generator's loss",
     {{"l1", "L1 to the target", "#2563eb"},
      {"cycle_a", "cycle a", "#059669"},
      {"cycle_b", "cycle b", "#d97706"},
      {"identity", "identity", "#7c3aed"}}},
    {"Accuracy",
     {{"accuracy", "classifier, on training batches", "#2563eb"}, {"d_accuracy", "discriminator", "#d97706"}}},
    {"Gradient norms", {{"grad_norm_d", "discriminator", "#2563eb"}, {"grad_norm_g", "generator", "#d97706"}}},
    {"Learning rates", {{"lr_d", "discriminator", "#2563eb"}, {"lr_g", "generator", "#d97706"}}},
    {"Images per second", {{"images_per_s", "all ranks", "#2563eb"}}},
};
enum { N_CHARTS = sizeof charts / sizeof *charts };

/* The lines of metrics.jsonl, thinned evenly to at most POINTS_MAX. */
typedef struct table {
    json_t *row[POINTS_MAX];
    int count;
} table;

static void free_table(table *t) {
    for (int i = 0; i < t->count; i++) json_decref(t->row[i]);
}

static size_t count_lines(const char *text, size_t bytes) {
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += text[i] == '\n';
    return n;
}

static gd_status read_table(const char *run, table *t) {
    char path[PATH_ROOM];
    void *text;
    size_t bytes, line = 0;
    t->count = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    if (!gd_path_exists(path)) return GD_OK;
    GD_TRY(gd_file_read(path, file_limit, &text, &bytes));
    size_t lines = count_lines(text, bytes), stride = lines / POINTS_MAX + 1;
    for (const char *p = text, *end; (end = memchr(p, '\n', bytes - (size_t)(p - (char *)text))); p = end + 1, line++) {
        if (line % stride && line + 1 != lines) continue;
        json_t *o = json_loadb(p, (size_t)(end - p), 0, NULL);
        if (o && t->count < POINTS_MAX) t->row[t->count++] = o;
        else json_decref(o);
    }
    free(text);
    return GD_OK;
}

static double number(const json_t *row, const char *key) {
    json_t *v = json_object_get(row, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Range of a chart's values; false when it has none. */
static bool range_of(const table *t, const chart *c, double *low, double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (int k = 0; k < CURVES_MAX && c->curve[k].key; k++)
        for (int i = 0; i < t->count; i++) {
            double v = number(t->row[i], c->curve[k].key);
            if (isnan(v)) continue;
            *low = fmin(*low, v);
            *high = fmax(*high, v);
        }
    if (*low > *high) return false;
    if (*low == *high) { /* a constant: some room around it */
        double room = *low ? 0.1 * fabs(*low) : 1;
        *low -= room;
        *high += room;
    }
    return true;
}

static void put_curve(FILE *f, const table *t, const curve *c, double low, double high) {
    double first = number(t->row[0], "step"), last = number(t->row[t->count - 1], "step");
    double span = last > first ? last - first : 1;
    fprintf(f, "<polyline fill='none' stroke='%s' stroke-width='1.5' points='", c->colour);
    for (int i = 0; i < t->count; i++) {
        double v = number(t->row[i], c->key), x = (number(t->row[i], "step") - first) / span;
        if (!isnan(v)) fprintf(f, "%.1f,%.1f ", x * WIDTH, HEIGHT - (v - low) / (high - low) * HEIGHT);
    }
    fputs("'/>\n", f);
}

static void put_chart(FILE *f, const table *t, const chart *c) {
    double low, high;
    if (!t->count || !range_of(t, c, &low, &high)) return;
    fprintf(f, "<figure><figcaption>%s", c->title);
    for (int k = 0; k < CURVES_MAX && c->curve[k].key; k++)
        fprintf(f, " <span style='color:%s'>&#9632; %s</span>", c->curve[k].colour, c->curve[k].label);
    fprintf(f, "</figcaption>\n<svg viewBox='-60 -10 %d %d' width='%d' role='img'>\n", WIDTH + 80, HEIGHT + 35, WIDTH);
    fprintf(f, "<rect width='%d' height='%d' class='frame'/>\n", WIDTH, HEIGHT);
    fprintf(f, "<text x='-6' y='8' text-anchor='end'>%.4g</text><text x='-6' y='%d' text-anchor='end'>%.4g</text>\n",
            high, HEIGHT, low);
    fprintf(f, "<text x='0' y='%d'>step %.0f</text><text x='%d' y='%d' text-anchor='end'>%.0f</text>\n", HEIGHT + 18,
            number(t->row[0], "step"), WIDTH, HEIGHT + 18, number(t->row[t->count - 1], "step"));
    for (int k = 0; k < CURVES_MAX && c->curve[k].key; k++) put_curve(f, t, &c->curve[k], low, high);
    fputs("</svg></figure>\n", f);
}

static void put_escaped(FILE *f, const char *text) {
    for (; *text; text++) switch (*text) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '\'': fputs("&#39;", f); break;
        default: fputc(*text, f);
        }
}

/* Sheets newest first; of many, evenly chosen ones. */
static void put_sheets(FILE *f, const char *run) {
    char path[PATH_ROOM], **names;
    size_t count;
    snprintf(path, sizeof path, "%s/samples", run);
    if (gd_io_get()->list(path, &names, &count)) return; /* no samples asked for */
    size_t stride = count / SHEETS_MAX + 1;
    for (size_t i = 0; i < count; i += stride) {
        const char *name = names[count - 1 - i];
        if (!strstr(name, ".png")) continue;
        fputs("<figure><figcaption>", f);
        put_escaped(f, name);
        fputs("</figcaption><img loading='lazy' src='samples/", f);
        put_escaped(f, name);
        fputs("' alt='generated samples'></figure>\n", f);
    }
    gd_io_free_names(names, count);
}

static void put_file(FILE *f, const char *run, const char *name) {
    char path[PATH_ROOM];
    void *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/%s", run, name);
    if (!gd_path_exists(path) || gd_file_read(path, file_limit, &text, &bytes) != GD_OK) return;
    fprintf(f, "<details><summary>%s</summary><pre>", name);
    put_escaped(f, text);
    fputs("</pre></details>\n", f);
    free(text);
}

static void put_page(FILE *f, const char *run, const char *title, const table *t) {
    fputs("<!doctype html><html lang='en'><head><meta charset='utf-8'><title>", f);
    put_escaped(f, title);
    fputs("</title><style>body{font:15px system-ui,sans-serif;margin:2em;max-width:1240px;color:#1f2937}"
          "figure{display:inline-block;margin:0 1.5em 1.5em 0;vertical-align:top}figcaption{margin-bottom:.4em}"
          "svg text{font-size:12px;fill:#4b5563}.frame{fill:#f9fafb;stroke:#d1d5db}"
          "img{image-rendering:pixelated;min-width:320px;max-width:560px}pre{background:#f9fafb;padding:1em;overflow:"
          "auto}"
          "</style></head><body><h1>",
          f);
    put_escaped(f, title);
    fputs("</h1>\n", f);
    if (t->count)
        fprintf(f, "<p>Step %.0f, %.0f images seen.</p>\n", number(t->row[t->count - 1], "step"),
                number(t->row[t->count - 1], "images"));
    for (int i = 0; i < N_CHARTS; i++) put_chart(f, t, &charts[i]);
    fputs("<h2>Samples</h2>\n", f);
    put_sheets(f, run);
    fputs("<h2>Configuration</h2>\n", f);
    put_file(f, run, "recipe.yaml");
    put_file(f, run, "build.json");
    fputs("</body></html>\n", f);
}

gd_status gd_report_write(const char *run, const char *title) {
    char path[PATH_ROOM], *text = NULL;
    size_t bytes = 0;
    table t;
    GD_TRY(read_table(run, &t));
    FILE *f = open_memstream(&text, &bytes); /* memory only: the file itself goes through base/io.h */
    if (f) put_page(f, run, title, &t);
    free_table(&t);
    if (!f || fclose(f)) {
        free(text);
        GD_FAIL(NOMEM, "%s/index.html: page of the run", run);
    }
    snprintf(path, sizeof path, "%s/index.html", run);
    gd_status st = gd_file_write(path, text, bytes);
    free(text);
    return st;
}
