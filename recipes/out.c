#include "recipes/out.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(gd__out *o, size_t bytes) {
    if (o->nomem) return false;
    if (o->used + bytes + 1 <= o->room) return true;
    size_t room = o->room ? o->room : 256;
    while (room < o->used + bytes + 1) room *= 2;
    char *text = realloc(o->text, room);
    if (!text) {
        o->nomem = true;
        return false;
    }
    o->text = text;
    o->room = room;
    return true;
}

void gd__put(gd__out *o, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !reserve(o, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(o->text + o->used, (size_t)n + 1, format, args);
    va_end(args);
    o->used += (size_t)n;
}

void gd__put_float(gd__out *o, double v) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    gd__put(o, "%s", text);
}

static bool is_plain(const char *s) {
    if (!isalnum((unsigned char)*s) && *s != '/' && *s != '_' && *s != '.') return false;
    for (const char *c = s; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("/_.-+", *c)) return false;
    return strcmp(s, "null") != 0 && strcmp(s, "...") != 0;
}

void gd__put_text(gd__out *o, const char *s) {
    if (is_plain(s)) {
        gd__put(o, "%s", s);
        return;
    }
    gd__put(o, "\"");
    for (; *s; s++) gd__put(o, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    gd__put(o, "\"");
}

gd_status gd__out_take(gd__out *o, char **text) {
    reserve(o, 0);
    if (o->nomem) {
        gd__out_free(o);
        GD_FAIL(NOMEM, "recipe: a text about it");
    }
    o->text[o->used] = 0;
    *text = o->text;
    *o = (gd__out){0};
    return GD_OK;
}

void gd__out_free(gd__out *o) {
    free(o->text);
    *o = (gd__out){0};
}
