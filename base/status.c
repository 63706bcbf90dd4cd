/* base/status.c -- the error record of each thread. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local gd_error record;

static const struct {
    const char *name;
    int exit_code;
    const char *meaning;
} rows[GD_STATUS_COUNT] = {
#define GD_STATUS_ROW(name, exit_code, text) {#name, exit_code, text},
    GD_STATUS_LIST(GD_STATUS_ROW)
#undef GD_STATUS_ROW
};

/* A number that is no status can only come from a defect of ours (or a peer's broken message). */
static gd_status known(gd_status st) { return (int)st >= 0 && st < GD_STATUS_COUNT ? st : GD_INTERNAL; }

const char *gd_status_name(gd_status st) { return rows[known(st)].name; }
int gd_status_exit_code(gd_status st) { return rows[known(st)].exit_code; }
const char *gd_status_meaning(gd_status st) { return rows[known(st)].meaning; }

/* Cuts an unfinished UTF-8 sequence off the end: a message may be cut by the size of its room. */
static void trim_utf8(char *text) {
    size_t n = strlen(text), tail = 0;
    while (tail < 4 && tail < n && ((unsigned char)text[n - 1 - tail] & 0xc0) == 0x80) tail++;
    if (tail == n) return;
    unsigned char lead = (unsigned char)text[n - 1 - tail];
    size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (want > tail) text[n - 1 - tail] = '\0';
}

static void set_message(const char *format, va_list args) {
    char text[sizeof record.message]; /* args may point into the record itself */
    vsnprintf(text, sizeof text, format, args);
    trim_utf8(text);
    memcpy(record.message, text, strlen(text) + 1);
}

/* Paths as the compiler saw them are long and differ between build folders: folder/file.c is enough. */
static const char *short_path(const char *file) {
    const char *cut = file, *last = NULL;
    for (const char *p = file; *p; p++) {
        if (*p != '/') continue;
        if (last) cut = last + 1;
        last = p;
    }
    return cut;
}

static void add_to_trail(const char *file, int line) {
    static const char more[] = " < ...";
    char step[256];
    size_t used = strlen(record.trail);
    if (used >= sizeof more - 1 && strcmp(record.trail + used - (sizeof more - 1), more) == 0) return;
    int n = snprintf(step, sizeof step, "%s%s:%d", used ? " < " : "", short_path(file), line);
    size_t room = sizeof record.trail - used - sizeof more;
    if (n > 0 && (size_t)n < sizeof step && (size_t)n < room) memcpy(record.trail + used, step, (size_t)n + 1);
    else memcpy(record.trail + used, more, sizeof more);
}

gd_status gd_raise(gd_status st, const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_message(format, args);
    va_end(args);
    record.status = st;
    record.agreed = GD_OK;
    record.trail[0] = '\0';
    add_to_trail(file, line);
    return st;
}

gd_status gd_trace(gd_status st, const char *file, int line) {
    add_to_trail(file, line);
    return st;
}

gd_status gd_context(gd_status st, const char *format, ...) {
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence - 2, format, args);
    va_end(args);
    trim_utf8(sentence);
    strcat(sentence, ": ");
    size_t head = strlen(sentence), tail = strlen(record.message), room = sizeof record.message - 1 - head;
    if (tail > room) tail = room;
    memmove(record.message + head, record.message, tail);
    memcpy(record.message, sentence, head);
    record.message[head + tail] = '\0';
    trim_utf8(record.message);
    return st;
}

const char *gd_error_message(void) { return record.message; }
const char *gd_error_trail(void) { return record.trail; }

void gd_error_clear(void) {
    record.status = record.agreed = GD_OK;
    record.message[0] = record.trail[0] = '\0';
}

void gd_error_save(gd_status st, gd_error *out) {
    memset(out, 0, sizeof *out); /* it may travel to another rank as bytes */
    out->status = st;
    if (st == GD_OK) return;
    out->agreed = record.agreed;
    memcpy(out->message, record.message, strlen(record.message) + 1);
    memcpy(out->trail, record.trail, strlen(record.trail) + 1);
}

gd_status gd_error_restore(const gd_error *e) {
    if (e != &record) {
        record.status = e->status;
        record.agreed = e->agreed;
        snprintf(record.message, sizeof record.message, "%.*s", (int)sizeof e->message - 1, e->message);
        snprintf(record.trail, sizeof record.trail, "%.*s", (int)sizeof e->trail - 1, e->trail);
    }
    return e->status;
}

gd_status gd_error_agree(gd_status st, gd_status all) {
    record.agreed = known(all);
    return st;
}

bool gd_error_is_agreed(void) { return record.agreed != GD_OK; }
gd_status gd_error_agreed(gd_status st) { return st != GD_OK && gd_error_is_agreed() ? record.agreed : st; }
