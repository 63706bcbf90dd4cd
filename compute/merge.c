/* compute/merge.c -- common subexpressions become one node. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "compute/build.h"
#include "compute/passes.h"

typedef struct table {
    gd_node *slot; /* open addressing; GD_NONE: empty */
    size_t room;   /* a power of two                  */
} table;

/* Leaves are told apart by name, all others by what they compute. */
static bool is_named(gd_op op) { return op == GD_OP_INPUT || op == GD_OP_PARAM; }

typedef struct key {
    int32_t op, dtype, in[2];
    int32_t version;
} key;

static uint64_t hash_of(const gd_node_info *n, gd_node a, gd_node b) {
    key k;
    memset(&k, 0, sizeof k);
    k = (key){(int32_t)n->op, (int32_t)n->dtype, {a, b}, n->attr.version};
    uint64_t h = gd_hash64(&k, sizeof k, 0);
    if (is_named(n->op)) return gd_hash64(n->name, strlen(n->name), h);
    h = gd_hash64(&n->attr.value, sizeof n->attr.value, h);
    return gd_hash64(n->shape.dim, sizeof n->shape.dim, h);
}

static bool equal(const gd_node_info *n, gd_node a, gd_node b, const gd_node_info *there) {
    return there->op == n->op && there->dtype == n->dtype && there->in[0] == a && there->in[1] == b &&
           gd_shape_equal(there->shape, n->shape) && gd__attr_equal(&there->attr, &n->attr) &&
           (!is_named(n->op) || !strcmp(there->name, n->name));
}

static bool commutes(gd_op op) { return op == GD_OP_ADD || op == GD_OP_MUL; }

static gd_node rule_merge(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    table *t = ctx;
    if (commutes(n->op) && a > b) {
        gd_node swap = a;
        a = b;
        b = swap;
    }
    size_t at = hash_of(n, a, b) & (t->room - 1);
    for (; t->slot[at] != GD_NONE; at = (at + 1) & (t->room - 1)) {
        const gd_node_info *there = gd_graph_at(to, t->slot[at]);
        /* A node of a later phase may use an earlier one, not the other way round. */
        if (there->phase <= n->phase && equal(n, a, b, there)) return t->slot[at];
    }
    return t->slot[at] = gd__add_like(to, n, a, b);
}

gd_status gd__pass_merge(const gd__ir *from, gd__ir *to) {
    table t = {.room = 64};
    while (t.room < 2 * (size_t)gd_graph_count(from->graph) + 2) t.room *= 2;
    t.slot = malloc(t.room * sizeof *t.slot);
    if (!t.slot) GD_FAIL(NOMEM, "pass: no memory for %zu nodes", t.room);
    for (size_t i = 0; i < t.room; i++) t.slot[i] = GD_NONE;
    gd_status st = gd__rewrite(from->graph, from->n_roots, from->root, rule_merge, &t, to);
    free(t.slot);
    return st;
}
