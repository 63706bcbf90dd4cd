#include "launch/run_folder.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/log.h"

enum { PATH_ROOM = 4096 };
static const size_t metrics_limit = (size_t)1 << 32;

struct gd_run_folder {
    char root[PATH_ROOM / 2];
    char path[PATH_ROOM];
    char log[PATH_ROOM], events[PATH_ROOM];
    bool event_lost; /* it was said */
};

const char *gd_run_folder_path(gd_run_folder *f, const char *name) {
    snprintf(f->path, sizeof f->path, "%s/%s", f->root, name);
    return f->path;
}

/* Whatever this thread is about to report stays what it was. */
static bool add_event(const gd_run_folder *f, const gd_event *e) {
    gd_error before;
    gd_error_save(GD_INTERNAL, &before);
    bool added = gd_events_add(f->events, e) == GD_OK;
    if (!added) (void)gd_error_restore(&before);
    return added;
}

void gd_run_folder_event(gd_run_folder *f, const gd_event *e) {
    if (!f || add_event(f, e) || f->event_lost) return;
    f->event_lost = true;
    GD_LOG(LAUNCH, WARN, "%s: event '%s' could not be written; this is not said again", f->events, e->kind);
}

/* Sink of the log, under its lock: must log nothing itself. A lost log line must not end a run, so failures are
 * dropped. */
static void to_log_file(void *ctx, gd_level level, const char *line) {
    gd_run_folder *f = ctx;
    char text[8192];
    int n = snprintf(text, sizeof text, "%s\n", line);
    if (n > 0 && gd_file_append(f->log, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1) != GD_OK)
        gd_error_clear();
    if (level > GD_LEVEL_WARN) return;
    gd_event_field what = GD_EVENT_TEXT("text", line);
    (void)add_event(f, &(gd_event){"warning", -1, &what, 1});
}

void gd_run_folder_note(gd_run_folder *f, const char *format, ...) {
    char line[1024];
    time_t now = time(NULL);
    struct tm day;
    size_t at = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S ", localtime_r(&now, &day));
    va_list v;
    va_start(v, format);
    vsnprintf(line + at, sizeof line - at, format, v);
    va_end(v);
    to_log_file(f, GD_LEVEL_INFO, line);
}

static gd_status move_aside(const char *path) {
    for (int k = 1; k < 10000; k++) {
        char to[PATH_ROOM];
        snprintf(to, sizeof to, "%s.old-%d", path, k);
        if (!gd_io_get()->rename_noreplace(path, to)) {
            GD_LOG(LAUNCH, INFO, "%s moved to %s", path, to);
            return GD_OK;
        }
        if (errno != EEXIST && errno != ENOTEMPTY)
            GD_FAIL(CANTCREAT, "%s: cannot be moved aside to %s: %s", path, to, strerror(errno));
    }
    GD_FAIL(CANTCREAT, "%s: has 10,000 older runs beside it; remove some", path);
}

gd_status gd_run_folder_open(const char *path, bool fresh, gd_run_folder **out) {
    if (strlen(path) >= PATH_ROOM / 2) GD_FAIL(CANTCREAT, "run folder: path longer than %d", PATH_ROOM / 2);
    if (fresh && gd_path_exists(path)) GD_TRY(move_aside(path));
    gd_run_folder *f = calloc(1, sizeof *f);
    if (!f) GD_FAIL(NOMEM, "run folder %s", path);
    gd_status st;
    snprintf(f->root, sizeof f->root, "%s", path);
    snprintf(f->log, sizeof f->log, "%s/log.txt", path);
    snprintf(f->events, sizeof f->events, "%s/events.jsonl", path);
    GD_TRY_TO(fail, gd_dir_make(gd_run_folder_path(f, "samples")));
    GD_TRY_TO(fail, gd_dir_make(gd_run_folder_path(f, "checkpoints")));
    GD_TRY_TO(fail, gd_events_mend(f->events));
    gd_log_set_sink(to_log_file, f);
    *out = f;
    return GD_OK;
fail:
    free(f);
    return st;
}

void gd_run_folder_close(gd_run_folder *f) {
    if (!f) return;
    gd_log_set_sink(NULL, NULL);
    free(f);
}

/* End of the lines whose step is at most `step`; a line cut short by a crash ends it too. */
static size_t lines_up_to(const char *text, size_t bytes, int64_t step) {
    size_t at = 0;
    while (at < bytes) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        if (!newline) break;
        size_t length = (size_t)(newline - (text + at));
        json_t *o = json_loadb(text + at, length, 0, NULL);
        bool keep = o && json_integer_value(json_object_get(o, "step")) <= step;
        json_decref(o);
        if (!keep) break;
        at += length + 1;
    }
    return at;
}

gd_status gd_run_folder_rewind(gd_run_folder *f, int64_t step) {
    const char *path = gd_run_folder_path(f, "metrics.jsonl");
    if (!gd_path_exists(path)) return GD_OK;
    void *text;
    size_t bytes;
    GD_TRY(gd_file_read(path, metrics_limit, &text, &bytes));
    size_t keep = lines_up_to(text, bytes, step);
    gd_status st = keep == bytes ? GD_OK : gd_file_write(path, text, keep);
    free(text);
    return st;
}

static void set_real(json_t *o, const char *key, double v) {
    if (isfinite(v)) json_object_set_new(o, key, json_real(v));
}

char *gd_metrics_json(const gd_metrics *m) {
    json_t *o = json_pack("{s:I s:I}", "step", (json_int_t)m->step, "images", (json_int_t)m->images);
    if (!o) return NULL;
    for (int i = 0; i < m->count; i++) set_real(o, m->name[i], m->value[i]);
    set_real(o, "images_per_s", m->images_per_s);
    set_real(o, "data_wait", m->data_wait_s);
    set_real(o, "exposed_comm", m->exposed_comm_s);
    char *line = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(o);
    size_t n = line ? strlen(line) : 0;
    char *with_newline = line ? realloc(line, n + 2) : NULL;
    if (!with_newline) {
        free(line);
        return NULL;
    }
    memcpy(with_newline + n, "\n", 2);
    return with_newline;
}

gd_status gd_run_folder_metrics(gd_run_folder *f, const gd_metrics *m) {
    char *line = gd_metrics_json(m);
    if (!line) GD_FAIL(NOMEM, "metrics line");
    gd_status st = gd_file_append(gd_run_folder_path(f, "metrics.jsonl"), line, strlen(line));
    free(line);
    return st;
}
