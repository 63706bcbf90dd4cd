/* compute/rewrite.c -- the walk behind every pass. */
#include <stdlib.h>
#include <string.h>

#include "compute/build.h"
#include "compute/passes.h"

void gd__ir_free(gd__ir *ir) {
    gd_graph_free(ir->graph);
    free(ir->root);
    free(ir->overwritten);
    *ir = (gd__ir){0};
}

/* Marks what the roots need; nodes are in topological order. */
static void mark_live(const gd_graph *g, int n_roots, const gd_node *root, bool *live) {
    for (int i = 0; i < n_roots; i++) live[root[i]] = true;
    for (gd_node n = gd_graph_count(g) - 1; n >= 0; n--) {
        if (!live[n]) continue;
        const gd_node_info *i = gd_graph_at(g, n);
        for (int k = 0; k < gd_op_arity(i->op); k++) live[i->in[k]] = true;
    }
}

static gd_status check_same(const gd_graph *from, gd_node n, const gd_graph *to, gd_node m) {
    const gd_node_info *a = gd_graph_at(from, n);
    GD_TRY(gd_graph_status(to));
    if (m == GD_NONE) GD_FAIL(INTERNAL, "pass: nothing stands for %s", a->name);
    const gd_node_info *b = gd_graph_at(to, m);
    if (gd_shape_equal(a->shape, b->shape) && (a->dtype == b->dtype || a->op == GD_OP_CAST)) return GD_OK;
    char was[96], is[96];
    gd_shape_text(a->shape, was);
    gd_shape_text(b->shape, is);
    GD_FAIL(INTERNAL, "pass: %s was %s %s and became %s %s", a->name, gd_dtype_text(a->dtype), was,
            gd_dtype_text(b->dtype), is);
}

static gd_status translate(const gd_graph *from, const bool *live, gd__rule rule, void *ctx, gd_graph *to,
                           gd_node *map) {
    for (gd_node n = 0; n < gd_graph_count(from); n++) {
        if (!live[n]) continue;
        const gd_node_info *i = gd_graph_at(from, n);
        gd__scope saved;
        gd_graph_set_phase(to, i->phase);
        gd__scope_enter(to, i->name, NULL, &saved);
        map[n] = rule(ctx, to, i, i->in[0] == GD_NONE ? GD_NONE : map[i->in[0]],
                      i->in[1] == GD_NONE ? GD_NONE : map[i->in[1]]);
        gd__scope_leave(to, &saved);
        GD_TRY(check_same(from, n, to, map[n]));
    }
    return GD_OK;
}

gd_status gd__rewrite(const gd_graph *from, int n_roots, const gd_node *root, gd__rule rule, void *ctx, gd__ir *to) {
    size_t count = (size_t)gd_graph_count(from);
    *to = (gd__ir){0};
    GD_TRY(gd_graph_new(gd_graph_shards(from), &to->graph));
    to->n_roots = n_roots;
    to->root = malloc(((size_t)n_roots + 1) * sizeof *to->root);
    gd_node *map = malloc((count + 1) * sizeof *map);
    bool *live = calloc(count + 1, sizeof *live);
    gd_status st;
    if (!to->root || !map || !live) GD_FAIL_TO(done, NOMEM, "pass: no memory for %zu nodes", count);
    mark_live(from, n_roots, root, live);
    GD_TRY_TO(done, translate(from, live, rule, ctx, to->graph, map));
    for (int i = 0; i < n_roots; i++) to->root[i] = map[root[i]];
    st = GD_OK;
done:
    free(map);
    free(live);
    if (st != GD_OK) gd__ir_free(to);
    return st;
}
