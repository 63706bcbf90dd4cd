/* compute/grad.c -- reverse accumulation over the graph: gd_grad. */
#include <stdlib.h>
#include <string.h>

#include "compute/grad.h"

const gd__vjp_fn gd__op_vjp[GD_OP_COUNT] = {
#define GD_OP_VJP(name, text, in, class, infer, vjp) gd__##vjp,
    GD_OP_LIST(GD_OP_VJP)
#undef GD_OP_VJP
};

gd_dtype gd__grad_dtype(const gd_graph *g, gd_node x) { return gd_graph_at(g, x)->dtype == GD_BF16 ? GD_BF16 : GD_F32; }

/* One call of gd_grad. Both arrays: per node 0..y. */
typedef struct pass {
    bool *lies_between; /* node depends on some x_j and carries gradient to it */
    gd_node *sum;       /* gradient so far, GD_NONE: zero                      */
} pass;

static void mark(const gd_graph *g, gd_node y, int nx, const gd_node *x, pass *p) {
    for (int j = 0; j < nx; j++)
        if (x[j] <= y) p->lies_between[x[j]] = true;
    for (gd_node n = 0; n <= y; n++) {
        const gd_node_info *i = gd_graph_at(g, n);
        if (gd__op_vjp[i->op] == gd__vjp_zero) continue;
        for (int k = 0; k < gd_op_arity(i->op); k++)
            if (p->lies_between[i->in[k]]) p->lies_between[n] = true;
    }
}

static void accumulate(gd_graph *g, gd_node *sum, gd_node more) {
    if (more == GD_NONE) return;
    *sum = *sum == GD_NONE ? more : gd_add(g, *sum, more);
}

static void step_back(gd_graph *g, gd_node n, pass *p) {
    const gd_node_info *i = gd_graph_at(g, n);
    int arity = gd_op_arity(i->op);
    bool need[2] = {false, false};
    for (int k = 0; k < arity; k++) need[k] = p->lies_between[i->in[k]];
    /* An x_j whose op has gradient zero carries none further down. */
    if ((!need[0] && !need[1]) || gd__op_vjp[i->op] == gd__vjp_zero) return;
    gd__scope saved;
    gd__scope_enter(g, i->name, "grad", &saved);
    gd_node dx[2] = {GD_NONE, GD_NONE};
    gd__op_vjp[i->op](g, n, p->sum[n], need, dx);
    for (int k = 0; k < arity; k++)
        if (need[k]) accumulate(g, &p->sum[i->in[k]], dx[k]);
    gd__scope_leave(g, &saved);
}

static gd_node zero_for(gd_graph *g, gd_node x) {
    gd__scope saved;
    gd__scope_enter(g, gd_graph_at(g, x)->name, "grad", &saved);
    gd_node zero = gd_const(g, 0, gd_node_shape(g, x));
    gd__scope_leave(g, &saved);
    return zero;
}

/* Where the reverse pass starts: cot as y's gradient, checked. GD_NONE after an error. */
static gd_node start(gd_graph *g, gd_node y, gd_node cot) {
    gd_shape s = gd_node_shape(g, y);
    if (cot == GD_NONE) cot = gd_const(g, 1, s);
    if (gd__failed(g)) return GD_NONE;
    if (cot < 0 || cot >= gd_graph_count(g))
        return gd_graph_fail(g, GD_INTERNAL, "gradient of %s: cotangent %d is no node of this graph",
                             gd_graph_at(g, y)->name, (int)cot);
    if (!gd_shape_equal(gd_node_shape(g, cot), s)) {
        char is[96], want[96];
        gd_shape_text(gd_node_shape(g, cot), is);
        gd_shape_text(s, want);
        return gd_graph_fail(g, GD_SHAPE, "gradient of %s: the cotangent has shape %s; expected %s",
                             gd_graph_at(g, y)->name, is, want);
    }
    return gd_cast(g, cot, gd__grad_dtype(g, y));
}

static bool all_nodes(gd_graph *g, gd_node y, int nx, const gd_node *x) {
    if (gd__failed(g)) return false;
    for (int j = -1; j < nx; j++) {
        gd_node n = j < 0 ? y : x[j];
        if (n >= 0 && n < gd_graph_count(g)) continue;
        gd_graph_fail(g, GD_INTERNAL, "gradient: %s %d is no node of this graph", j < 0 ? "y" : "x", (int)n);
        return false;
    }
    return true;
}

void gd_grad(gd_graph *g, gd_node y, gd_node cot, int nx, const gd_node *x, gd_node *dx) {
    for (int j = 0; j < nx; j++) dx[j] = GD_NONE;
    if (!all_nodes(g, y, nx, x)) return;
    size_t count = (size_t)y + 1;
    pass p = {calloc(count, sizeof(bool)), malloc(count * sizeof(gd_node))};
    if (!p.lies_between || !p.sum) {
        gd_graph_fail(g, GD_NOMEM, "gradient of %s: no memory", gd_graph_at(g, y)->name);
        goto out;
    }
    for (size_t n = 0; n < count; n++) p.sum[n] = GD_NONE;
    mark(g, y, nx, x, &p);
    if (p.lies_between[y]) {
        p.sum[y] = start(g, y, cot);
        for (gd_node n = y; n >= 0 && !gd__failed(g); n--)
            if (p.sum[n] != GD_NONE && p.lies_between[n]) step_back(g, n, &p);
    }
    for (int j = 0; j < nx && !gd__failed(g); j++)
        dx[j] = x[j] <= y && p.sum[x[j]] != GD_NONE ? p.sum[x[j]] : zero_for(g, x[j]);
out:
    free(p.lies_between);
    free(p.sum);
}
