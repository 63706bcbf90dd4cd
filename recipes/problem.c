#include "recipes/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    SHOWN = 100, /* characters of a source line that are shown                               */
    ROOM = 3900  /* bytes of the whole message; the error record holds 4096 with its context */
};

void gd__problem(gd__problems *p, gd__place at, const char *format, ...) {
    if (gd__problems_full(p)) {
        p->more = true;
        return;
    }
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *copy = gd_arena_strdup(p->arena, text);
    if (!copy) {
        p->nomem = true;
        return;
    }
    p->list[p->count].at = at;
    p->list[p->count++].text = copy;
}

bool gd__problems_full(const gd__problems *p) { return p->count == GD__PROBLEMS_MAX; }

const char *gd__place_text(gd_arena *arena, gd__place at) {
    if (!at.source) return "default";
    if (at.source->argument) return at.source->name;
    return gd_arena_printf(arena, "%s:%d:%d", at.source->name, at.line, at.column);
}

const char *gd__excerpt(gd_arena *arena, const char *text) {
    enum { KEEP = 40 };
    char out[KEEP + 8];
    size_t n = 0;
    for (; text[n] && n < KEEP; n++) out[n] = (unsigned char)text[n] < ' ' ? ' ' : text[n];
    if (text[n]) {
        while (n && ((unsigned char)text[n] & 0xC0) == 0x80) n--; /* not inside a character */
        memcpy(out + n, "...", 3);
        n += 3;
    }
    out[n] = 0;
    const char *copy = gd_arena_strdup(arena, out);
    return copy ? copy : "";
}

static bool is_break(char c) { return c == '\n' || c == '\r' || !c; }

/* Start of line `line` (from 1), or NULL. A line ends with LF, CRLF or CR. */
static const char *find_line(const char *text, int line) {
    for (; line > 1; line--) {
        while (!is_break(*text)) text++;
        if (!*text) return NULL;
        if (text[0] == '\r' && text[1] == '\n') text++;
        text++;
    }
    return text;
}

static const char *next_character(const char *s) {
    do s++;
    while (((unsigned char)*s & 0xC0) == 0x80);
    return s;
}

typedef struct writer {
    char *out;
    size_t used, room;
    bool full;
} writer;

static void put(writer *w, const char *s, size_t n) {
    if (w->full || w->used + n + 1 > w->room) {
        w->full = true;
        return;
    }
    memcpy(w->out + w->used, s, n);
    w->used += n;
    w->out[w->used] = 0;
}

const char *gd__place_byte(gd__place at) {
    const char *s = find_line(at.source->text, at.line);
    for (int i = 1; s && i < at.column && !is_break(*s); i++) s = next_character(s);
    return s;
}

/* The source line and a caret below the column; a long line is cut to a window around the column.
 */
static void put_line(writer *w, gd__place at) {
    const char *s = find_line(at.source->text, at.line);
    if (!s || is_break(*s)) return;
    int before = at.column - 1, skip = before > SHOWN * 3 / 4 ? before - SHOWN / 2 : 0;
    for (int i = 0; i < skip && !is_break(*s); i++) s = next_character(s);
    put(w, "\n  ", 3);
    const char *end = s;
    for (int i = 0; i < SHOWN && !is_break(*end); i++) end = next_character(end);
    put(w, s, (size_t)(end - s));
    put(w, "\n  ", 3);
    for (int i = skip; i < before; i++) {
        put(w, *s == '\t' ? "\t" : " ", 1);
        if (!is_break(*s)) s = next_character(s);
    }
    put(w, "^", 1);
}

static int place_order(gd__place a, gd__place b) {
    int oa = a.source ? a.source->order : -1, ob = b.source ? b.source->order : -1;
    if (oa != ob) return oa < ob ? -1 : 1;
    if (a.line != b.line) return a.line < b.line ? -1 : 1;
    return a.column < b.column ? -1 : a.column > b.column;
}

static void sort(gd__problems *p) {
    for (int i = 1; i < p->count; i++)
        for (int j = i; j > 0 && place_order(p->list[j].at, p->list[j - 1].at) < 0; j--) {
            __typeof__(p->list[0]) t = p->list[j];
            p->list[j] = p->list[j - 1];
            p->list[j - 1] = t;
        }
}

gd_status gd__problems_raise(gd__problems *p) {
    if (p->nomem) GD_FAIL(NOMEM, "recipe: the list of its errors");
    if (!p->count) return GD_OK;
    char message[ROOM + 64];
    writer w = {message, 0, ROOM, false};
    int told = 0;
    bool files = false;
    for (int i = 0; i < p->count; i++) files |= !p->list[i].at.source || !p->list[i].at.source->argument;
    sort(p);
    for (; told < p->count; told++) {
        gd__place at = p->list[told].at;
        const char *where = gd__place_text(p->arena, at);
        size_t mark = w.used;
        if (told) put(&w, "\n", 1);
        put(&w, where ? where : "", where ? strlen(where) : 0);
        put(&w, ": ", 2);
        put(&w, p->list[told].text, strlen(p->list[told].text));
        if (at.source) put_line(&w, at);
        if (w.full) {
            w.used = mark;
            break;
        }
    }
    w.full = false;
    w.room = sizeof message;
    message[w.used] = 0;
    if (told < p->count || p->more) {
        char tail[64];
        int n = p->more ? snprintf(tail, sizeof tail, "\nand more errors after these")
                        : snprintf(tail, sizeof tail, "\nand %d more", p->count - told);
        put(&w, tail, (size_t)n);
    }
    return gd_raise(files ? GD_CONFIG : GD_USAGE, __FILE__, __LINE__, "%s", message);
}
