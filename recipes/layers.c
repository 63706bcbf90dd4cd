/* Explicit networks: a list of layers. The first key of an entry is its kind, the key's value its
 * main number or word: {conv: 64, kernel: 4}, {act: leaky, slope: 0.1}, {reshape: [4, 4, 128]}. A
 * kind that needs nothing more can be a word of its own: flatten. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "recipes/reading.h"

typedef enum field_type { COUNT, NUMBER, WORD, FLAG, SHAPE } field_type;

enum { LAYERS_MAX = 1024 };

static const char *const norms[] = {"none", "batch", "instance", "layer", NULL};
static const char *const acts[] = {"none", "relu", "leaky", "tanh", "sigmoid", NULL};

/* Numbers: low <= v <= high for counts, low < v < high for others. */
typedef struct field_info {
    const char *name;
    field_type type;
    size_t offset;
    double low, high;
    const char *const *words;
} field_info;

#define AT(member) offsetof(gd_recipe_layer, member)
// clang-format off
enum {
    KERNEL, STRIDE, PAD, PIECES, NORM, ACT, SLOPE, BIAS, EXTRAS,
    SIZE = EXTRAS, FACTOR, RATE, PIXELS, FIELDS, NOTHING = -1
};
static const field_info fields[FIELDS] = {
    [KERNEL] = {"kernel", COUNT, AT(kernel), 1, 1024, NULL},
    [STRIDE] = {"stride", COUNT, AT(stride), 1, 1024, NULL},
    [PAD]    = {"pad", COUNT, AT(pad), 0, 1024, NULL},
    [PIECES] = {"pieces", COUNT, AT(pieces), 2, 1024, NULL},
    [NORM]   = {"norm", WORD, AT(norm), 0, 0, norms},
    [ACT]    = {"act", WORD, AT(act), 0, 0, acts},
    [SLOPE]  = {"slope", NUMBER, AT(slope), 0, 100, NULL},
    [BIAS]   = {"bias", FLAG, AT(bias), 0, 0, NULL},
    [SIZE]   = {"size", COUNT, AT(size), 1, 1 << 20, NULL},
    [FACTOR] = {"factor", COUNT, AT(size), 1, 64, NULL},
    [RATE]   = {"rate", NUMBER, AT(rate), 0, 1, NULL},
    [PIXELS] = {"shape", SHAPE, AT(shape), 1, 1 << 20, NULL},
};

#define BIT(f) (1u << (f))
enum { OF_CONV = BIT(KERNEL) | BIT(STRIDE) | BIT(PAD) | BIT(NORM) | BIT(ACT) | BIT(SLOPE) | BIT(BIAS) };
static const struct layer_kind {
    const char *name;
    int head;        /* field that the kind's own value is; NOTHING: it has none */
    bool needs_head; /* false: the value may be left out, models/ has a default  */
    unsigned extras;
    const char *example;
} kinds[] = {
    {"dense",    SIZE,    true,  BIT(NORM) | BIT(ACT) | BIT(SLOPE) | BIT(BIAS), "{dense: 256, act: relu}"},
    {"conv",     SIZE,    true,  OF_CONV,                  "{conv: 64, kernel: 4, stride: 2, pad: 1}"},
    {"deconv",   SIZE,    true,  OF_CONV,                  "{deconv: 64, kernel: 4, stride: 2, pad: 1}"},
    {"upsample", FACTOR,  false, 0,                        "{upsample: 2}"},
    {"avgpool",  FACTOR,  false, 0,                        "{avgpool: 2}"},
    {"flatten",  NOTHING, false, 0,                        "flatten"},
    {"reshape",  PIXELS,  true,  0,                        "{reshape: [4, 4, 128]}"},
    {"act",      ACT,     true,  BIT(SLOPE),               "{act: relu}"},
    {"norm",     NORM,    false, 0,                        "{norm: batch}"},
    {"dropout",  RATE,    false, 0,                        "{dropout: 0.5}"},
    {"maxout",   SIZE,    true,  BIT(PIECES) | BIT(BIAS),  "{maxout: 240, pieces: 5}"},
};
// clang-format on
enum { KINDS = sizeof kinds / sizeof *kinds };

static void *field_at(gd_recipe_layer *l, int f) { return (char *)l + fields[f].offset; }
static const void *field_in(const gd_recipe_layer *l, int f) { return (const char *)l + fields[f].offset; }

/* ---- reading ---- */

static bool read_count(gd__reading *r, const gd__node *n, const char *what, const field_info *f, int64_t *out) {
    int64_t v;
    if (!gd__number_int(r, n, what, &v)) return false;
    if ((double)v < f->low || (double)v > f->high) {
        gd__problem(&r->problems, n->at, "%s must be in [%.15g, %.15g]; got %s", what, f->low, f->high, n->text);
        return false;
    }
    *out = v;
    return true;
}

static bool read_number(gd__reading *r, const gd__node *n, const char *what, const field_info *f, double *out) {
    double v;
    if (!gd__number_float(r, n, what, &v)) return false;
    if (!(v > f->low && v < f->high)) {
        gd__problem(&r->problems, n->at, "%s must be in (%.15g, %.15g); got %s", what, f->low, f->high, n->text);
        return false;
    }
    *out = v;
    return true;
}

static bool read_shape(gd__reading *r, const gd__node *n, const char *what, const field_info *f, int64_t out[3]) {
    if (n->kind != GD__LIST || n->count != 3) {
        gd__problem(&r->problems, n->at, "%s wants [height, width, channels], got %s", what,
                    n->kind == GD__LIST ? "another number of values" : gd__node_text(r, n));
        return false;
    }
    bool good = true;
    int i = 0;
    for (const gd__node *c = n->child; c; c = c->next) good &= read_count(r, c, what, f, &out[i++]);
    return good;
}

static bool read_field(gd__reading *r, const gd__node *n, const struct layer_kind *k, int f, gd_recipe_layer *l) {
    char what[96];
    bool flag = false;
    if (f == k->head) snprintf(what, sizeof what, "'%s'", k->name);
    else snprintf(what, sizeof what, "'%s' of %s", fields[f].name, k->name);
    switch (fields[f].type) {
    case COUNT: return read_count(r, n, what, &fields[f], field_at(l, f));
    case NUMBER: return read_number(r, n, what, &fields[f], field_at(l, f));
    case WORD: return gd__word(r, n, what, fields[f].words, NULL, field_at(l, f));
    case SHAPE: return read_shape(r, n, what, &fields[f], field_at(l, f));
    case FLAG:
        if (!gd__bool(r, n, what, &flag)) return false;
        *(int *)field_at(l, f) = flag;
        return true;
    }
    return false;
}

static const struct layer_kind *find_kind(gd__reading *r, const char *name, gd__place at) {
    const char *names[KINDS];
    for (int i = 0; i < KINDS; i++) {
        names[i] = kinds[i].name;
        if (!strcmp(name, names[i])) return &kinds[i];
    }
    const char *near = gd_nearest(name, names, KINDS);
    gd__out list = {0};
    for (int i = 0; i < KINDS; i++) gd__put(&list, "%s%s", i ? ", " : "", names[i]);
    gd__problem(&r->problems, at, "unknown layer '%s'; its first key is one of: %s%s%s%s",
                gd__excerpt(r->problems.arena, name), list.text ? list.text : "", near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
    gd__out_free(&list);
    return NULL;
}

static bool is_empty(const gd__node *n) { return n->kind == GD__SCALAR && n->plain && !*n->text; }

/* The value behind the kind. */
static bool read_head(gd__reading *r, const gd__node *n, const struct layer_kind *k, gd_recipe_layer *l) {
    if (k->head == NOTHING) {
        if (is_empty(n)) return true;
        gd__problem(&r->problems, n->at, "'%s' has no value; write the word alone", k->name);
        return false;
    }
    if (is_empty(n)) {
        gd__problem(&r->problems, n->at, "'%s' has no value; write it as in %s", k->name, k->example);
        return false;
    }
    return read_field(r, n, k, k->head, l);
}

static bool read_extra(gd__reading *r, const gd__node *n, const struct layer_kind *k, gd_recipe_layer *l) {
    const char *names[EXTRAS];
    size_t count = 0;
    for (int f = 0; f < EXTRAS; f++) {
        if (!(k->extras & BIT(f))) continue;
        if (!strcmp(n->key, fields[f].name)) return read_field(r, n, k, f, l);
        names[count++] = fields[f].name;
    }
    const char *near = gd_nearest(n->key, names, count);
    gd__problem(&r->problems, n->key_at, "a %s layer has no '%s'%s%s%s", k->name,
                gd__excerpt(r->problems.arena, n->key), near ? "; did you mean '" : "; it is written as in ",
                near ? near : k->example, near ? "'?" : "");
    return false;
}

static bool read_map(gd__reading *r, const gd__node *n, gd_recipe_layer *l) {
    const gd__node *head = n->child;
    if (!head) {
        gd__problem(&r->problems, n->at, "an empty layer; write it as in %s", kinds[0].example);
        return false;
    }
    const struct layer_kind *k = find_kind(r, head->key, head->key_at);
    if (!k) return false;
    l->kind = k->name;
    bool good = read_head(r, head, k, l);
    for (const gd__node *c = head->next; c && !gd__problems_full(&r->problems); c = c->next) {
        const gd__node *first = head;
        while (first != c && strcmp(first->key, c->key)) first = first->next;
        if (first != c) {
            gd__problem(&r->problems, c->key_at, "'%s' given twice; first at line %d", c->key, first->key_at.line);
            good = false;
        } else {
            good &= read_extra(r, c, k, l);
        }
    }
    return good;
}

static bool read_entry(gd__reading *r, const gd__node *n, gd_recipe_layer *l) {
    *l = (gd_recipe_layer){.size = -1,
                           .kernel = -1,
                           .stride = -1,
                           .pad = -1,
                           .pieces = -1,
                           .shape = {-1, -1, -1},
                           .slope = -1,
                           .rate = -1,
                           .bias = -1,
                           .line = n->at.line,
                           .column = n->at.column};
    if (n->kind == GD__MAP) return read_map(r, n, l);
    if (n->kind == GD__LIST) {
        gd__problem(&r->problems, n->at, "a layer is a map such as %s, not a list", kinds[0].example);
        return false;
    }
    const struct layer_kind *k = find_kind(r, n->text, n->at);
    if (!k) return false;
    l->kind = k->name;
    if (!k->needs_head) return true;
    gd__problem(&r->problems, n->at, "'%s' has no value; write it as in %s", k->name, k->example);
    return false;
}

bool gd__layers_read(gd__reading *r, int key, const gd__node *n) {
    const char *name = gd__keys[key].name;
    if (n->kind != GD__LIST || !n->count) {
        gd__problem(&r->problems, n->at, "'%s' wants a list of layers, got %s", name,
                    n->kind == GD__LIST ? "an empty one" : gd__node_text(r, n));
        return false;
    }
    if (n->count > LAYERS_MAX) {
        gd__problem(&r->problems, n->at, "'%s' has %d layers; at most %d are allowed", name, n->count, LAYERS_MAX);
        return false;
    }
    gd_recipe_layer *list = gd_arena_alloc(r->owner->arena, (size_t)n->count * sizeof *list);
    if (!list) {
        r->problems.nomem = true;
        return false;
    }
    bool good = true;
    int i = 0;
    for (const gd__node *c = n->child; c && !gd__problems_full(&r->problems); c = c->next)
        good &= read_entry(r, c, &list[i++]);
    if (!good) return false;
    gd_recipe_net *net = (gd_recipe_net *)((char *)r->recipe + gd__keys[key].offset - offsetof(gd_recipe_net, layers));
    net->layers = list;
    net->layer_count = n->count;
    return true;
}

/* ---- writing and comparing ---- */

static bool is_given(const gd_recipe_layer *l, int f) {
    const void *at = field_in(l, f);
    switch (fields[f].type) {
    case COUNT:
    case SHAPE: return *(const int64_t *)at >= 0;
    case NUMBER: return *(const double *)at >= 0;
    case WORD: return *(const char *const *)at != NULL;
    case FLAG: return *(const int *)at >= 0;
    }
    return false;
}

static void write_field(gd__out *out, const gd_recipe_layer *l, int f) {
    const void *at = field_in(l, f);
    const int64_t *n = at;
    switch (fields[f].type) {
    case COUNT: gd__put(out, "%lld", (long long)*n); break;
    case NUMBER: gd__put_float(out, *(const double *)at); break;
    case WORD: gd__put(out, "%s", *(const char *const *)at); break;
    case FLAG: gd__put(out, "%s", *(const int *)at ? "true" : "false"); break;
    case SHAPE: gd__put(out, "[%lld, %lld, %lld]", (long long)n[0], (long long)n[1], (long long)n[2]); break;
    }
}

static const struct layer_kind *kind_of(const gd_recipe_layer *l) {
    const struct layer_kind *k = kinds;
    while (strcmp(k->name, l->kind)) k++;
    return k;
}

static void write_entry(gd__out *out, const gd_recipe_layer *l) {
    const struct layer_kind *k = kind_of(l);
    if (k->head == NOTHING || !is_given(l, k->head)) {
        gd__put(out, "%s", k->name);
        return;
    }
    gd__put(out, "{%s: ", k->name);
    write_field(out, l, k->head);
    for (int f = 0; f < EXTRAS; f++) {
        if (!(k->extras & BIT(f)) || !is_given(l, f)) continue;
        gd__put(out, ", %s: ", fields[f].name);
        write_field(out, l, f);
    }
    gd__put(out, "}");
}

void gd__layers_write(gd__out *out, const gd_recipe_layer *layers, int count) {
    if (!count) {
        gd__put(out, "null");
        return;
    }
    for (int i = 0; i < count; i++) {
        gd__put(out, "%s", i ? ", " : "[");
        write_entry(out, &layers[i]);
    }
    gd__put(out, "]");
}

static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static bool same_layer(const gd_recipe_layer *a, const gd_recipe_layer *b) {
    return !strcmp(a->kind, b->kind) && a->size == b->size && a->kernel == b->kernel && a->stride == b->stride &&
           a->pad == b->pad && a->pieces == b->pieces && !memcmp(a->shape, b->shape, sizeof a->shape) &&
           same_text(a->norm, b->norm) && same_text(a->act, b->act) && a->slope == b->slope && a->rate == b->rate &&
           a->bias == b->bias;
}

bool gd__layers_equal(const gd_recipe_layer *a, int na, const gd_recipe_layer *b, int nb) {
    if (na != nb) return false;
    for (int i = 0; i < na; i++)
        if (!same_layer(&a[i], &b[i])) return false;
    return true;
}
