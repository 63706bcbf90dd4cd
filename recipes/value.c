#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "recipes/reading.h"

static void *field(const gd_recipe *r, int key) { return (char *)(uintptr_t)r + gd__keys[key].offset; }

const char *gd__node_text(gd__reading *r, const gd__node *n) {
    if (n->kind != GD__SCALAR) return n->kind == GD__MAP ? "a map" : "a list";
    const char *s = gd_arena_printf(r->problems.arena, "text \"%s\"", gd__excerpt(r->problems.arena, n->text));
    return s ? s : "text";
}

/* Plain text that others read as a number but that is none here, with what to write instead. */
static bool refuse_odd_number(gd__reading *r, const gd__node *n, const char *what) {
    static const char *const endless[] = {".nan", ".NaN", ".NAN", "nan", "NaN",     ".inf",
                                          ".Inf", ".INF", "inf",  "Inf", "infinity"};
    const char *s = n->text, *digits = s + (*s == '-' || *s == '+');
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++)
        if (!strcmp(digits, endless[i])) {
            gd__problem(&r->problems, n->at, "%s must be a finite number; got %s", what, s);
            return true;
        }
    if (*s == '-' && strspn(digits, "0.") == strlen(digits) && *digits) {
        gd__problem(&r->problems, n->at, "%s must be a finite number; write 0 instead of %s", what, s);
        return true;
    }
    return false;
}

/* A scalar that can be a number at all; quotes make it text. */
static bool number_scalar(gd__reading *r, const gd__node *n, const char *what, const char *wanted) {
    if (n->kind == GD__SCALAR && n->plain && !refuse_odd_number(r, n, what)) return true;
    if (n->kind == GD__SCALAR && n->plain) return false;
    bool quoted = n->kind == GD__SCALAR && *n->text && strspn(n->text, "+-.0123456789eE") == strlen(n->text);
    gd__problem(&r->problems, n->at, "%s wants %s, got %s%s", what, wanted, gd__node_text(r, n),
                quoted ? "; remove the quotes" : "");
    return false;
}

bool gd__number_int(gd__reading *r, const gd__node *n, const char *what, int64_t *out) {
    if (!number_scalar(r, n, what, "an integer")) return false;
    bool overflow = false;
    double d;
    if (gd_parse_i64(n->text, out, &overflow)) return true;
    if (overflow)
        gd__problem(&r->problems, n->at, "%s does not fit 64 bits: %s", what, gd__excerpt(r->problems.arena, n->text));
    else if (gd_parse_f64(n->text, &d, NULL) && d == floor(d) && fabs(d) < 0x1p53)
        gd__problem(&r->problems, n->at, "%s wants an integer; write %lld", what, (long long)d);
    else if (gd_parse_f64(n->text, &d, NULL))
        gd__problem(&r->problems, n->at, "%s wants an integer, got %s", what, n->text);
    else gd__problem(&r->problems, n->at, "%s wants an integer, got %s", what, gd__node_text(r, n));
    return false;
}

bool gd__number_float(gd__reading *r, const gd__node *n, const char *what, double *out) {
    if (!number_scalar(r, n, what, "a number")) return false;
    bool overflow = false;
    if (gd_parse_f64(n->text, out, &overflow)) return true;
    if (overflow)
        gd__problem(&r->problems, n->at, "%s does not fit a double: %s", what, gd__excerpt(r->problems.arena, n->text));
    else gd__problem(&r->problems, n->at, "%s wants a number, got %s", what, gd__node_text(r, n));
    return false;
}

/* The choice that `word` stands for elsewhere, from "word=choice word=choice". */
static bool find_hint(const char *hints, const char *word, char *out, size_t room) {
    size_t n = strlen(word);
    for (const char *h = hints; h && *h; h += strcspn(h, " "), h += *h == ' ') {
        const char *eq = strchr(h, '=');
        if ((size_t)(eq - h) != n || strncmp(h, word, n)) continue;
        snprintf(out, room, "%.*s", (int)strcspn(eq + 1, " "), eq + 1);
        return true;
    }
    return false;
}

bool gd__word(gd__reading *r, const gd__node *n, const char *what, const char *const *words, const char *hints,
              const char **out) {
    if (n->kind != GD__SCALAR) {
        gd__problem(&r->problems, n->at, "%s wants a word, got %s", what, gd__node_text(r, n));
        return false;
    }
    size_t count = 0;
    gd__out list = {0};
    for (; words[count]; count++) {
        if (!strcmp(words[count], n->text)) {
            *out = words[count];
            gd__out_free(&list);
            return true;
        }
        gd__put(&list, "%s%s", count ? ", " : "", words[count]);
    }
    char hint[40];
    const char *near = find_hint(hints, n->text, hint, sizeof hint) ? hint : gd_nearest(n->text, words, count);
    gd__problem(&r->problems, n->at, "unknown value '%s' of %s; one of: %s%s%s%s",
                gd__excerpt(r->problems.arena, n->text), what, list.text ? list.text : "",
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    gd__out_free(&list);
    return false;
}

static bool in_range(const gd__key *k, double v) {
    if ((k->flags & GD__OFF) && v == k->off) return true;
    bool low = k->flags & GD__LOW_OPEN ? v > k->low : v >= k->low;
    bool high = k->flags & GD__HIGH_OPEN ? v < k->high : v <= k->high;
    return low && high;
}

void gd__range_text(const gd__key *k, bool full, char *out, size_t room) {
    *out = 0;
    if (k->type != GD__INT && k->type != GD__FLOAT && k->type != GD__FLOATS) return;
    char off[32] = "";
    if (k->flags & GD__OFF) snprintf(off, sizeof off, "%.15g or ", k->off);
    bool open = k->flags & GD__LOW_OPEN;
    if (k->high >= 1e9 && !full) snprintf(out, room, "%s%s %.15g", off, open ? ">" : ">=", k->low);
    else
        snprintf(out, room, "%sin %c%.15g, %.15g%c", off, open ? '(' : '[', k->low, k->high,
                 k->flags & GD__HIGH_OPEN ? ')' : ']');
}

static bool check_range(gd__reading *r, const gd__key *k, const gd__node *n, double v) {
    if (in_range(k, v)) return true;
    char range[96];
    gd__range_text(k, v > k->high, range, sizeof range);
    gd__problem(&r->problems, n->at, "'%s' must be %s; got %s (%s)", k->name, range, n->text, k->help);
    return false;
}

bool gd__bool(gd__reading *r, const gd__node *n, const char *what, bool *out) {
    if (n->kind == GD__SCALAR && n->plain && gd_parse_bool(n->text, out)) return true;
    static const char *const yes[] = {"yes", "Yes", "on", "On", "True", "TRUE", "1", "y"};
    static const char *const no[] = {"no", "No", "off", "Off", "False", "FALSE", "0", "n"};
    const char *write = NULL;
    for (size_t i = 0; n->kind == GD__SCALAR && i < sizeof yes / sizeof *yes; i++)
        write = !strcmp(n->text, yes[i]) ? "true" : !strcmp(n->text, no[i]) ? "false" : write;
    gd__problem(&r->problems, n->at, "%s wants true or false, got %s%s%s", what, gd__node_text(r, n),
                write ? "; write " : "", write ? write : "");
    return false;
}

static bool read_floats(gd__reading *r, const gd__key *k, const gd__node *n, const char *what, double *out) {
    if (n->kind != GD__LIST || n->count != k->count) {
        gd__problem(&r->problems, n->at, "%s wants a list of %d numbers such as %s, got %s", what, k->count,
                    k->fallback, n->kind == GD__LIST ? "another number of them" : gd__node_text(r, n));
        return false;
    }
    double v[8];
    int i = 0;
    bool good = true;
    for (const gd__node *c = n->child; c; c = c->next, i++)
        good &= gd__number_float(r, c, what, &v[i]) && check_range(r, k, c, v[i]);
    if (good) memcpy(out, v, (size_t)k->count * sizeof *v);
    return good;
}

static bool is_null(const gd__node *n) {
    return n->kind == GD__SCALAR && n->plain && (!strcmp(n->text, "null") || !strcmp(n->text, "~"));
}

static bool nullable(const gd__key *k) { return !k->fallback && !(k->flags & GD__REQUIRED); }

bool gd__value_read(gd__reading *r, int key, const gd__node *n) {
    const gd__key *k = &gd__keys[key];
    void *at = field(r->recipe, key);
    char what[96];
    snprintf(what, sizeof what, "'%s'", k->name);
    if (is_null(n) && nullable(k)) return gd__value_reset(r->recipe, r->owner->arena, key);
    if (n->kind == GD__SCALAR && n->plain && (!*n->text || is_null(n))) {
        gd__problem(&r->problems, n->at, "%s has no value; give one or remove the key", what);
        return false;
    }
    int64_t i;
    double d;
    switch (k->type) {
    case GD__INT:
        if (!gd__number_int(r, n, what, &i) || !check_range(r, k, n, (double)i)) return false;
        *(int64_t *)at = i;
        return true;
    case GD__FLOAT:
        if (!gd__number_float(r, n, what, &d) || !check_range(r, k, n, d)) return false;
        *(double *)at = d;
        return true;
    case GD__BOOL: return gd__bool(r, n, what, at);
    case GD__FLOATS: return read_floats(r, k, n, what, at);
    case GD__CHOICE: return gd__word(r, n, what, k->choices, k->hints, at);
    case GD__LAYERS: return gd__layers_read(r, key, n);
    case GD__TEXT:
        if (n->kind != GD__SCALAR || !*n->text) {
            gd__problem(&r->problems, n->at, "%s wants text, got %s", what, gd__node_text(r, n));
            return false;
        }
        *(const char **)at = n->text;
        return true;
    }
    return false;
}

static const char *find_choice(const char *const *choices, const char *word) {
    while (strcmp(*choices, word)) choices++;
    return *choices;
}

bool gd__value_reset(gd_recipe *recipe, gd_arena *arena, int key) {
    const gd__key *k = &gd__keys[key];
    const char *s = k->fallback;
    void *at = field(recipe, key);
    switch (k->type) {
    case GD__INT: *(int64_t *)at = s ? strtoll(s, NULL, 10) : 0; break;
    case GD__FLOAT: *(double *)at = s ? strtod(s, NULL) : 0; break;
    case GD__BOOL: *(bool *)at = s && !strcmp(s, "true"); break;
    case GD__CHOICE: *(const char **)at = s ? find_choice(k->choices, s) : NULL; break;
    case GD__TEXT:
        *(const char **)at = s ? gd_arena_strdup(arena, s) : NULL;
        if (s && !*(const char **)at) return false;
        break;
    case GD__FLOATS:
        for (int i = 0; i < k->count; i++) {
            char *end;
            ((double *)at)[i] = strtod(s + 1, &end); /* behind '[' or ',' */
            s = end;
        }
        break;
    case GD__LAYERS: {
        gd_recipe_net *net = (gd_recipe_net *)((char *)at - offsetof(gd_recipe_net, layers));
        net->layers = NULL;
        net->layer_count = 0;
        break;
    }
    }
    return true;
}

void gd__value_write(gd__out *out, const gd_recipe *recipe, int key) {
    const gd__key *k = &gd__keys[key];
    const void *at = field(recipe, key);
    switch (k->type) {
    case GD__INT: gd__put(out, "%lld", (long long)*(const int64_t *)at); break;
    case GD__FLOAT: gd__put_float(out, *(const double *)at); break;
    case GD__BOOL: gd__put(out, "%s", *(const bool *)at ? "true" : "false"); break;
    case GD__CHOICE:
    case GD__TEXT: {
        const char *s = *(const char *const *)at;
        if (s) gd__put_text(out, s);
        else gd__put(out, "null");
        break;
    }
    case GD__FLOATS:
        for (int i = 0; i < k->count; i++) {
            gd__put(out, "%s", i ? ", " : "[");
            gd__put_float(out, ((const double *)at)[i]);
        }
        gd__put(out, "]");
        break;
    case GD__LAYERS: {
        const gd_recipe_net *net = (const gd_recipe_net *)((const char *)at - offsetof(gd_recipe_net, layers));
        gd__layers_write(out, net->layers, net->layer_count);
        break;
    }
    }
}

bool gd__value_equal(const gd_recipe *a, const gd_recipe *b, int key) {
    const gd__key *k = &gd__keys[key];
    const void *x = field(a, key), *y = field(b, key);
    switch (k->type) {
    case GD__INT: return *(const int64_t *)x == *(const int64_t *)y;
    case GD__FLOAT: return *(const double *)x == *(const double *)y;
    case GD__BOOL: return *(const bool *)x == *(const bool *)y;
    case GD__FLOATS: return !memcmp(x, y, (size_t)k->count * sizeof(double));
    case GD__CHOICE:
    case GD__TEXT: {
        const char *s = *(const char *const *)x, *t = *(const char *const *)y;
        return s && t ? !strcmp(s, t) : s == t;
    }
    case GD__LAYERS: {
        const gd_recipe_net *m = (const gd_recipe_net *)((const char *)x - offsetof(gd_recipe_net, layers));
        const gd_recipe_net *n = (const gd_recipe_net *)((const char *)y - offsetof(gd_recipe_net, layers));
        return gd__layers_equal(m->layers, m->layer_count, n->layers, n->layer_count);
    }
    }
    return false;
}

bool gd__listed(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; n && *s; s += strcspn(s, " "), s += *s == ' ')
        if (strcspn(s, " ") == n && !strncmp(s, word, n)) return true;
    return false;
}

int gd__key_needed(int key) {
    const char *needs = gd__keys[key].needs;
    if (!needs) return -1;
    char name[96];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(needs, "=!"), needs);
    return gd__key_find(name);
}

/* A value as a word of gd__key.needs. */
static void plain_value(const gd_recipe *recipe, int key, char *out, size_t room) {
    const void *at = field(recipe, key);
    const char *text;
    *out = 0;
    switch (gd__keys[key].type) {
    case GD__FLOAT: snprintf(out, room, "%.15g", *(const double *)at); break;
    case GD__INT: snprintf(out, room, "%lld", (long long)*(const int64_t *)at); break;
    case GD__BOOL: snprintf(out, room, "%s", *(const bool *)at ? "true" : "false"); break;
    case GD__CHOICE:
    case GD__TEXT:
        text = *(const char *const *)at;
        if (text) snprintf(out, room, "%s", text);
        break;
    case GD__FLOATS:
    case GD__LAYERS: break;
    }
}

bool gd__value_applies(const gd_recipe *recipe, int key, int *blocked) {
    bool applies = true;
    for (int i = key, other; (other = gd__key_needed(i)) >= 0; i = other) {
        const char *words = gd__keys[i].needs + strcspn(gd__keys[i].needs, "=!");
        char value[40];
        plain_value(recipe, other, value, sizeof value);
        if (gd__listed(words + 1, value) == (*words == '=')) continue;
        *blocked = i; /* the last one is the root of it all */
        applies = false;
    }
    return applies;
}
