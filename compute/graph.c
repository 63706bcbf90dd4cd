/* compute/graph.c -- storage of nodes, names, phases and the first error of a graph. */
#include "compute/graph.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "compute/build.h"

struct gd_graph {
    gd_arena *arena;     /* nodes and names                                           */
    gd_node_info **node; /* each in the arena, so that gd_graph_at stays valid        */
    int count, room;
    int64_t shards;
    int phase;
    gd__scope scope;
    bool failed;
    gd_error error; /* the first one                                             */
};

gd_status gd_graph_new(int64_t shards, gd_graph **out) {
    if (shards < 1) GD_FAIL(INTERNAL, "graph: %lld shards; expected at least 1", (long long)shards);
    gd_graph *g = calloc(1, sizeof *g);
    if (!g) GD_FAIL(NOMEM, "graph: no memory");
    g->arena = gd_arena_new();
    if (!g->arena) {
        free(g);
        GD_FAIL(NOMEM, "graph: no memory");
    }
    g->shards = shards;
    *out = g;
    return GD_OK;
}

void gd_graph_free(gd_graph *g) {
    if (!g) return;
    gd_arena_free(g->arena);
    free(g->node);
    free(g);
}

/* ---- errors ---- */

gd_status gd_graph_status(const gd_graph *g) { return g->failed ? gd_error_restore(&g->error) : GD_OK; }

bool gd__failed(const gd_graph *g) { return g->failed; }

static void keep_error(gd_graph *g, gd_status st, const char *message) {
    if (g->failed) return;
    gd_raise(st, __FILE__, __LINE__, "%s", message);
    gd_error_save(st, &g->error);
    g->failed = true;
}

gd_node gd_graph_fail(gd_graph *g, gd_status st, const char *format, ...) {
    char text[1024];
    va_list v;
    va_start(v, format);
    vsnprintf(text, sizeof text, format, v);
    va_end(v);
    keep_error(g, st, text);
    return GD_NONE;
}

bool gd__refuse(gd_graph *g, const char *name, const char *format, ...) {
    char text[1024];
    int n = snprintf(text, sizeof text, "%.300s: ", name);
    va_list v;
    va_start(v, format);
    vsnprintf(text + n, sizeof text - (size_t)n, format, v);
    va_end(v);
    keep_error(g, GD_SHAPE, text);
    return false;
}

/* ---- names and phases ---- */

void gd_graph_push(gd_graph *g, const char *format, ...) {
    gd__scope *s = &g->scope;
    const int levels = (int)(sizeof s->cut / sizeof s->cut[0]);
    size_t at = strlen(s->text), room = sizeof s->text - at;
    int depth = s->depth++; /* counted even on failure: every push has its pop */
    if (depth >= levels) {
        gd_graph_fail(g, GD_INTERNAL, "graph: scope %s is nested deeper than %d", s->text, levels);
        return;
    }
    s->cut[depth] = (int)at;
    va_list v;
    va_start(v, format);
    int n = vsnprintf(s->text + at, room, format, v);
    va_end(v);
    if (n < 0 || (size_t)n + 2 > room) {
        s->text[at] = 0;
        gd_graph_fail(g, GD_INTERNAL, "graph: name scope below %s is too long", s->text);
        return;
    }
    memcpy(s->text + at + n, "/", 2);
}

void gd_graph_pop(gd_graph *g) {
    gd__scope *s = &g->scope;
    assert(s->depth > 0);
    if (--s->depth < (int)(sizeof s->cut / sizeof s->cut[0])) s->text[s->cut[s->depth]] = 0;
}

void gd__scope_enter(gd_graph *g, const char *beside, const char *sub, gd__scope *saved) {
    *saved = g->scope;
    const char *slash = strrchr(beside, '/');
    int n = slash ? (int)(slash - beside) + 1 : 0;
    char text[sizeof g->scope.text];
    int len = snprintf(text, sizeof text, "%.*s%s%s", n, beside, sub ? sub : "", sub ? "/" : "");
    /* Names are for people: one that no longer fits keeps the outer scope. */
    if (len < (int)sizeof text) memcpy(g->scope.text, text, (size_t)len + 1);
}

void gd__scope_leave(gd_graph *g, const gd__scope *saved) { g->scope = *saved; }

void gd__next_name(const gd_graph *g, gd_op op, char *out, size_t room) {
    snprintf(out, room, "%s%s%d", g->scope.text, gd_op_text(op), g->count);
}

void gd_graph_set_phase(gd_graph *g, int phase) {
    assert(phase >= 0);
    g->phase = phase;
}
int gd__graph_phase(const gd_graph *g) { return g->phase; }

/* ---- nodes ---- */

int64_t gd_graph_shards(const gd_graph *g) { return g->shards; }
int gd_graph_count(const gd_graph *g) { return g->count; }

const gd_node_info *gd_graph_at(const gd_graph *g, gd_node n) {
    assert(n >= 0 && n < g->count);
    return g->node[n];
}

gd_shape gd_node_shape(const gd_graph *g, gd_node n) {
    return n < 0 || n >= g->count ? (gd_shape){0} : g->node[n]->shape;
}

bool gd__usable(gd_graph *g, gd_op op, gd_node x) {
    if (g->failed) return false;
    if (x >= 0 && x < g->count) return true;
    char name[300];
    gd__next_name(g, op, name, sizeof name);
    gd_graph_fail(g, GD_INTERNAL, "%s: input %d is no node of this graph", name, (int)x);
    return false;
}

/* Attribute sets are compared by memcmp: no garbage in padding or behind the rank of the shape. */
_Static_assert(offsetof(gd_attr, shape) == 2 * 8 + 6 * 4 + 8 * 8 + 12 * 4, "no padding before shape");
static void set_attr(gd_attr *to, const gd_attr *from) {
    if (!from) return;
    memcpy(to, from, offsetof(gd_attr, shape));
    to->shape.rank = from->shape.rank;
    for (int i = 0; i < from->shape.rank && i < GD_RANK_MAX; i++) to->shape.dim[i] = from->shape.dim[i];
}

bool gd__attr_equal(const gd_attr *a, const gd_attr *b) {
    gd_attr x, y;
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    set_attr(&x, a);
    set_attr(&y, b);
    return memcmp(&x, &y, sizeof x) == 0;
}

gd_node gd__find(const gd_graph *g, gd_op op, gd_node a, const gd_attr *attr) {
    for (gd_node n = g->count - 1; n > a && a >= 0; n--) {
        const gd_node_info *i = g->node[n];
        if (i->op == op && i->in[0] == a && i->in[1] == GD_NONE && i->phase <= g->phase &&
            gd__attr_equal(&i->attr, attr))
            return n;
    }
    return GD_NONE;
}

static bool make_room(gd_graph *g) {
    if (g->count < g->room) return true;
    int room = g->room ? 2 * g->room : 256;
    gd_node_info **p = realloc(g->node, (size_t)room * sizeof(gd_node_info *));
    if (!p) return false;
    g->node = p;
    g->room = room;
    return true;
}

static gd_node append(gd_graph *g, gd_op op, const char *name, gd_node a, gd_node b, const gd_attr *attr, int phase) {
    char text[300];
    if (!name) gd__next_name(g, op, text, sizeof text);
    gd_node_info *n = make_room(g) ? gd_arena_alloc(g->arena, sizeof *n) : NULL;
    const char *own = n ? gd_arena_strdup(g->arena, name ? name : text) : NULL;
    if (!own) return gd_graph_fail(g, GD_NOMEM, "graph: no memory for node %d", g->count);
    n->op = op;
    n->in[0] = a;
    n->in[1] = b;
    n->phase = phase;
    n->name = own;
    set_attr(&n->attr, attr);
    if (!gd__op_infer[op](g, n)) return GD_NONE;
    g->node[g->count] = n;
    return g->count++;
}

gd_node gd__add(gd_graph *g, gd_op op, gd_node a, gd_node b, const gd_attr *attr) {
    if (!gd__usable(g, op, a)) return GD_NONE;
    if (gd_op_arity(op) == 2 && !gd__usable(g, op, b)) return GD_NONE;
    return append(g, op, NULL, a, gd_op_arity(op) == 2 ? b : GD_NONE, attr, g->phase);
}

gd_node gd__add_leaf(gd_graph *g, gd_op op, const char *name, const gd_attr *attr) {
    return g->failed ? GD_NONE : append(g, op, name, GD_NONE, GD_NONE, attr, g->phase);
}

gd_node gd__add_like(gd_graph *g, const gd_node_info *like, gd_node a, gd_node b) {
    int arity = gd_op_arity(like->op);
    if (g->failed) return GD_NONE;
    if (arity > 0 && !gd__usable(g, like->op, a)) return GD_NONE;
    if (arity > 1 && !gd__usable(g, like->op, b)) return GD_NONE;
    return append(g, like->op, like->name, arity > 0 ? a : GD_NONE, arity > 1 ? b : GD_NONE, &like->attr, like->phase);
}
