/* compute/ref/executor.c -- the table of the executor `ref`: one node a step. */
#include <stdio.h>

#include "compute/ref/ref.h"

static size_t element_bytes(gd_dtype t) {
    (void)t;
    return sizeof(double);
}

static bool supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    gd_op op = gd_graph_at(g, n)->op;
    if (gd_op_class_of(op) != GD_CLASS_HIGH) return true;
    snprintf(why, room, "%s is for the pass `lower`; it should be gone by now", gd_op_text(op));
    return false;
}

static gd_status prepare(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **state) {
    for (int s = 0; s < v->n_steps; s++) scratch[s] = 0;
    *shared_bytes = 0;
    *state = NULL;
    return GD_OK;
}

static const double *input(const gd_view *v, const gd_node_info *n, int i, const gd_memory *m, gd_shape *s) {
    if (n->in[i] == GD_NONE) return NULL;
    *s = gd_node_shape(v->graph, n->in[i]);
    return m->node[n->in[i]];
}

static gd_status run(void *state, const gd_view *v, int s, const gd_memory *m) {
    (void)state;
    gd_node node = v->step_nodes[v->steps[s].first_node];
    const gd_node_info *n = gd_graph_at(v->graph, node);
    gd__ref_call c = {.n = n, .y = m->node[node], .args = m->args};
    c.a = input(v, n, 0, m, &c.sa);
    c.b = input(v, n, 1, m, &c.sb);
    switch (gd_op_class_of(n->op)) {
    case GD_CLASS_LEAF: gd__ref_leaf(&c); break;
    case GD_CLASS_EW: gd__ref_elementwise(&c); break;
    case GD_CLASS_HEAVY: gd__ref_heavy(&c); break;
    case GD_CLASS_HIGH: GD_FAIL(INTERNAL, "%s: ref cannot run %s", n->name, gd_op_text(n->op));
    case GD_CLASS_VIEW:
    case GD_CLASS_MOVE:
    case GD_CLASS_RED:
    case GD_CLASS_COMM: gd__ref_move(&c); break; /* COMM: this shard's part, summed at the pause */
    }
    if (n->dtype == GD_BF16 && n->op != GD_OP_INPUT) {
        int64_t count = gd_shape_count(n->shape);
        for (int64_t i = 0; i < count; i++) c.y[i] = gd__ref_bf16(c.y[i]);
    }
    return GD_OK;
}

static void release(void *state) { (void)state; }

const gd_executor *gd_executor_ref(void) {
    static const gd_executor ref = {
        .name = "ref",
        .element_bytes = element_bytes,
        .supports = supports,
        .prepare = prepare,
        .run = run,
        .release = release,
    };
    return &ref;
}
