/* dist/starts.c -- starts.json: starts of a run that brought no new checkpoint, and what they said. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "dist/json_internal.h"
#include "dist/lock.h"

enum { PATH_ROOM = 4096, BYTES_MAX = 1 << 20, SAID_ROOM = 512 };

typedef struct start {
    char when[32], host[64], said[SAID_ROOM]; /* said "": it did not say anything */
    int64_t pid;
} start;

typedef struct record {
    int64_t newest; /* step of the newest checkpoint when they began */
    char what[17];
    int count;
    start start[GD_STARTS_MAX];
} record;

static gd_status path_of(const char *folder, char out[PATH_ROOM]) {
    if (snprintf(out, PATH_ROOM, "%s/starts.json", folder) >= PATH_ROOM)
        GD_FAIL(CANTCREAT, "%.64s...: the path is too long", folder);
    return GD_OK;
}

/* ---- reading ---- */

static void copy_text(const json_t *o, const char *key, char *out, size_t room) {
    const char *text = json_string_value(json_object_get(o, key));
    snprintf(out, room, "%s", text ? text : "");
}

/* false: another program wrote it. */
static bool parse(const json_t *o, record *out) {
    const json_t *starts = json_object_get(o, "starts"), *newest = json_object_get(o, "newest");
    size_t n = json_array_size(starts);
    *out = (record){.newest = json_integer_value(newest)};
    if (!json_is_integer(newest) || !json_is_array(starts) || n > GD_STARTS_MAX) return false;
    copy_text(o, "what", out->what, sizeof out->what);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_array_get(starts, i);
        start *to = &out->start[out->count++];
        copy_text(s, "when", to->when, sizeof to->when);
        copy_text(s, "host", to->host, sizeof to->host);
        copy_text(s, "said", to->said, sizeof to->said);
        to->pid = json_integer_value(json_object_get(s, "pid"));
    }
    return true;
}

/* *there false: there is none that can be read. */
static gd_status read_record(const char *path, record *out, bool *there) {
    void *text = NULL;
    size_t bytes = 0;
    bool no_memory;
    json_error_t error;
    *there = false;
    if (!gd_path_exists(path)) return GD_OK;
    gd_status st = gd_file_read(path, BYTES_MAX, &text, &bytes);
    if (st == GD_NOMEM) return gd_trace(st, __FILE__, __LINE__);
    if (st != GD_OK) {
        GD_LOG(DIST, WARN, "earlier starts are not known: %s", gd_error_message());
        return GD_OK;
    }
    json_t *o = gd__json_load(text, bytes, &error, &no_memory);
    free(text);
    if (no_memory) GD_FAIL(NOMEM, "%s: no memory to read it", path);
    *there = parse(o, out);
    gd__json_unload(o);
    return GD_OK;
}

/* ---- writing ---- */

/* A message may hold bytes that are no UTF-8 (a file name): they become '?'. */
static json_t *plain_text(const char *said) {
    char text[SAID_ROOM];
    json_t *s = json_string(said);
    if (s) return s;
    snprintf(text, sizeof text, "%s", said);
    for (char *p = text; *p; p++)
        if (*p & 0x80) *p = '?';
    return json_string(text);
}

static json_t *render(const record *r) {
    json_t *starts = json_array(), *root;
    bool bad = !starts;
    for (int i = 0; i < r->count && !bad; i++) {
        const start *s = &r->start[i];
        json_t *o = json_pack("{s:s, s:s, s:I}", "when", s->when, "host", s->host, "pid", (json_int_t)s->pid);
        bad = !o || (s->said[0] && json_object_set_new(o, "said", plain_text(s->said)) != 0);
        bad = json_array_append_new(starts, o) != 0 || bad;
    }
    root =
        bad ? NULL : json_pack("{s:I, s:s, s:O}", "newest", (json_int_t)r->newest, "what", r->what, "starts", starts);
    json_decref(starts);
    return root;
}

static gd_status store(const char *path, const record *r) {
    char *text = gd__json_text(render(r), JSON_INDENT(1));
    if (!text) GD_FAIL(NOMEM, "%s: no memory", path);
    gd_status st = gd_file_write(path, text, strlen(text));
    free(text);
    return st;
}

/* ---- the public functions ---- */

static gd_status refuse(const char *path, const record *r) {
    char said[GD_STARTS_MAX * (SAID_ROOM + 128)] = "", from[48] = "no checkpoint yet";
    size_t at = 0;
    if (r->newest >= 0) snprintf(from, sizeof from, "the newest is of step %" PRId64, r->newest);
    for (int i = 0; i < r->count; i++) {
        const start *s = &r->start[i];
        int put = snprintf(said + at, sizeof said - at, "\n  %s on %s: %s", s->when, s->host,
                           s->said[0] ? s->said : "did not say (killed, or its host went down)");
        at += put > 0 ? (size_t)put : 0;
    }
    GD_FAIL(NOPROGRESS,
            "%d starts in a row brought no new checkpoint (%s); mend what stops them, then change the recipe, remove "
            "%s or start anew with --fresh. They said:%s",
            r->count, from, path, said);
}

static void describe_me(start *s) {
    time_t now = time(NULL);
    struct tm day;
    *s = (start){.when = "?", .host = "?", .pid = getpid()};
    if (localtime_r(&now, &day)) strftime(s->when, sizeof s->when, "%Y-%m-%d %H:%M:%S", &day);
    if (gethostname(s->host, sizeof s->host - 1) != 0) snprintf(s->host, sizeof s->host, "?");
}

gd_status gd_starts_begin(const char *folder, int64_t newest, uint64_t what) {
    char path[PATH_ROOM], word[17];
    record r = {.newest = newest};
    bool there;
    GD_TRY(path_of(folder, path));
    gd_hash64_text(what, word);
    GD_TRY(read_record(path, &r, &there));
    if (!there || r.newest != newest || strcmp(r.what, word) != 0) {
        r = (record){.newest = newest};
        memcpy(r.what, word, sizeof r.what);
    }
    if (r.count == GD_STARTS_MAX) return refuse(path, &r);
    describe_me(&r.start[r.count++]);
    return store(path, &r);
}

gd_status gd_starts_end(const char *folder, const char *said) {
    char path[PATH_ROOM];
    record r = {.newest = -1};
    bool there;
    GD_TRY(path_of(folder, path));
    if (!said) {
        if (gd_io_get()->unlink(path) == 0 || errno == ENOENT) return GD_OK;
        GD_FAIL(IO, "%s: cannot be removed (%s)", path, strerror(errno));
    }
    GD_TRY(read_record(path, &r, &there));
    if (!there || !r.count) GD_FAIL(IO, "%s: does not hold this start any more", path);
    start *last = &r.start[r.count - 1];
    snprintf(last->said, sizeof last->said, "%s", said);
    return store(path, &r);
}
