#include "dist/events.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "dist/json_internal.h"

/* ---- writing ---- */

static json_t *text_value(const char *text) {
    json_t *s = json_string(text);
    if (s) return s;
    char *plain = strdup(text);
    if (!plain) return NULL;
    for (char *p = plain; *p; p++)
        if (*p & 0x80) *p = '?';
    s = json_string(plain);
    free(plain);
    return s;
}

static json_t *number_value(double v) {
    bool whole = v == floor(v) && fabs(v) < 9e15;
    return whole ? json_integer((json_int_t)v) : json_real(v);
}

static bool put(json_t *o, const char *key, json_t *value) { return json_object_set_new(o, key, value) == 0; }

static json_t *render(const gd_event *e) {
    char when[32] = "?";
    time_t now = time(NULL);
    struct tm day;
    if (gmtime_r(&now, &day)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &day);
    json_t *o = json_object();
    bool good = o && put(o, "time", json_string(when)) && put(o, "event", json_string(e->kind));
    if (good && e->step >= 0) good = put(o, "step", json_integer((json_int_t)e->step));
    for (int i = 0; good && i < e->count; i++) {
        const gd_event_field *f = &e->field[i];
        if (f->text) good = put(o, f->key, text_value(f->text));
        else if (isfinite(f->number)) good = put(o, f->key, number_value(f->number));
    }
    if (good) return o;
    json_decref(o);
    return NULL;
}

gd_status gd_events_add(const char *path, const gd_event *e) {
    char *text = gd__json_text(render(e), JSON_COMPACT | JSON_REAL_PRECISION(6));
    size_t n = text ? strlen(text) : 0;
    char *line = text ? realloc(text, n + 2) : NULL;
    if (!line) {
        free(text);
        GD_FAIL(NOMEM, "%s: no memory for an event", path);
    }
    memcpy(line + n, "\n", 2);
    gd_status st = gd_file_append(path, line, n + 1);
    free(line);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

gd_status gd_events_mend(const char *path) {
    int fd;
    uint64_t size;
    char last = '\n';
    if (!gd_path_exists(path)) return GD_OK;
    GD_TRY(gd_file_open(path, &fd, &size));
    gd_status st = size ? gd_file_pread(fd, path, &last, 1, size - 1) : GD_OK;
    gd_io_get()->close(fd);
    if (st == GD_OK && last != '\n') st = gd_file_append(path, "\n", 1);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* ---- reading ---- */

/* Cuts what is no whole line off both ends; at_start: the text begins where the file does. */
static void keep_whole_lines(char *text, size_t *bytes, bool at_start) {
    char *end = memrchr(text, '\n', *bytes), *begin = at_start ? text : memchr(text, '\n', *bytes);
    if (!end || !begin) {
        *bytes = 0;
        return;
    }
    if (!at_start) begin++;
    *bytes = end + 1 > begin ? (size_t)(end + 1 - begin) : 0;
    memmove(text, begin, *bytes);
}

gd_status gd_lines_tail(const char *path, size_t room, char **text) {
    int fd;
    uint64_t size = 0;
    *text = NULL;
    if (gd_path_exists(path)) GD_TRY(gd_file_open(path, &fd, &size));
    else fd = -1;
    size_t bytes = size < room ? (size_t)size : room;
    gd_status st = GD_OK;
    *text = calloc(1, bytes + 1);
    if (!*text) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: no memory to read it", path);
    else if (bytes) st = gd_file_pread(fd, path, *text, bytes, size - bytes);
    if (fd >= 0) gd_io_get()->close(fd);
    if (st != GD_OK) {
        free(*text);
        *text = NULL;
        return gd_trace(st, __FILE__, __LINE__);
    }
    keep_whole_lines(*text, &bytes, bytes == size);
    (*text)[bytes] = '\0';
    return GD_OK;
}
