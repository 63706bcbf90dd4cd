/* A recipe as text again: whole, as a hash, and compared with another one. */
#include <string.h>

#include "base/hash.h"
#include "recipes/reading.h"

enum { ORIGIN_COLUMN = 44 };

static bool applies(const gd_recipe *r, int key) {
    int blocked;
    return gd__value_applies(r, key, &blocked);
}

/* Whether a key decides the result. train.steps does only where a schedule counts down to it. */
static bool decides(const gd_recipe *r, int key) {
    const gd_recipe_optimizer *o[] = {&r->optimizer.g, &r->optimizer.d};
    if (!strcmp(gd__keys[key].name, "train.steps"))
        for (size_t i = 0; i < sizeof o / sizeof *o; i++)
            if (!strcmp(o[i]->decay, "linear") && !o[i]->decay_end) return true;
    return !(gd__keys[key].flags & GD__FREE);
}

/* Bytes that two dotted names have in common up to and with a dot: the sections both lie in. */
static size_t common_sections(const char *a, const char *b) {
    size_t n = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.') n = i + 1;
    return n;
}

static void indent(gd__out *out, int depth) {
    for (int i = 0; i < depth; i++) gd__put(out, "  ");
}

/* Opens the sections of `name` that are not open since `before`, and returns its depth. */
static int put_sections(gd__out *out, const char *before, const char *name) {
    size_t shared = common_sections(before, name);
    int depth = 0;
    for (const char *s = name, *dot; (dot = strchr(s, '.')); s = dot + 1) {
        if (s >= name + shared) {
            indent(out, depth);
            gd__put(out, "%.*s:\n", (int)(dot - s), s);
        }
        depth++;
    }
    return depth;
}

static void put_origin(gd__out *out, size_t line_start, const char *origin) {
    size_t used = out->used - line_start;
    gd__put(out, "%*s# ", used < ORIGIN_COLUMN ? (int)(ORIGIN_COLUMN - used) : 1, "");
    /* A file's name may hold anything; the comment must stay one line of clean text. */
    for (const char *c = origin; *c; c++) gd__put(out, "%c", *c >= ' ' && *c < 0x7f ? *c : '?');
}

gd_status gd_recipe_text(const gd_recipe *r, bool origins, char **text) {
    gd__out out = {0};
    const char *before = "";
    gd__put(&out, "gandist: %d\n", GD__FORMAT);
    for (int i = 0; i < gd__key_count; i++) {
        if (!applies(r, i)) continue;
        const char *name = gd__keys[i].name, *dot = strrchr(name, '.');
        int depth = put_sections(&out, before, name);
        size_t start = out.used;
        indent(&out, depth);
        gd__put(&out, "%s: ", dot ? dot + 1 : name);
        gd__value_write(&out, r, i);
        if (origins) put_origin(&out, start, gd_recipe_origin(r, name));
        gd__put(&out, "\n");
        before = name;
    }
    return gd__out_take(&out, text);
}

/* value: as gd__value_write gives it. */
static bool is_left_out(const gd__key *k, const char *value) {
    return k->flags & GD__LATER && k->fallback && !strcmp(value, k->fallback);
}

/* Over the text of every value that has a meaning. A key that a later version adds changes nothing
 * as long as what it needs is not switched on, or (GD__LATER) it has its default. */
bool gd__fingerprint(const gd_recipe *r, uint64_t *hash) {
    bool good = true;
    uint64_t h = GD__FORMAT;
    for (int i = 0; i < gd__key_count; i++) {
        if (!decides(r, i) || !applies(r, i)) continue;
        gd__out out = {0};
        gd__put(&out, "%s=", gd__keys[i].name);
        gd__value_write(&out, r, i);
        good &= !out.nomem;
        if (good && !is_left_out(&gd__keys[i], out.text + strlen(gd__keys[i].name) + 1))
            h = gd_hash64(out.text, out.used, h);
        gd__out_free(&out);
    }
    *hash = h;
    return good;
}

gd_status gd_recipe_diff(const gd_recipe *a, const gd_recipe *b, bool must_match, char **text) {
    gd__out out = {0};
    for (int i = 0; i < gd__key_count; i++) {
        if (gd__value_equal(a, b, i)) continue;
        if (must_match && !decides(a, i) && !decides(b, i)) continue;
        gd__put(&out, "%s: ", gd__keys[i].name);
        gd__value_write(&out, a, i);
        gd__put(&out, " -> ");
        gd__value_write(&out, b, i);
        gd__put(&out, "\n");
    }
    return gd__out_take(&out, text);
}
