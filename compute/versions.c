/* compute/versions.c -- values of parameters that would be overwritten before they are read.
 *
 * Two nodes PARAM of one name are one memory. Version 0 read in a phase in which the graph also reads
 * version 1 comes too late: the caller has updated the memory at the pause. The same holds for an
 * output that is a parameter which another output overwrites. Such readers get a copy, made in the
 * phase of what they read. A copy is a CAST to the type that is there already. Other passes would
 * remove it, so this one is the last.
 *
 * Which parameters are updated, and when, the graph of the caller says: also by versions that nothing
 * in the program reads in the end. */
#include <stdlib.h>
#include <string.h>

#include "compute/build.h"
#include "compute/passes.h"

typedef struct later { /* a parameter in a version above 0 */
    const char *name;
    int version, phase; /* phase: the first that reads it  */
} later;

typedef struct versions {
    int count;
    later *list;
} versions;

static const gd_node_info *param_behind(const gd_graph *g, gd_node n) {
    while (gd_op_class_of(gd_graph_at(g, n)->op) == GD_CLASS_VIEW) n = gd_graph_at(g, n)->in[0];
    return gd_graph_at(g, n)->op == GD_OP_PARAM ? gd_graph_at(g, n) : NULL;
}

/* Phase from which on memory of parameter p holds a later version than p's. */
static int overwritten_in(const versions *v, const gd_node_info *p) {
    int phase = INT32_MAX;
    for (int i = 0; i < v->count; i++) {
        const later *l = &v->list[i];
        if (l->version > p->attr.version && l->phase < phase && !strcmp(l->name, p->name)) phase = l->phase;
    }
    return phase;
}

/* One entry a node PARAM, first read where its earliest user is, or where it was written. */
static gd_status find_versions(const gd_graph *g, versions *v) {
    size_t count = (size_t)gd_graph_count(g) + 1;
    int *first_read = malloc(count * sizeof *first_read);
    v->list = malloc(count * sizeof *v->list);
    if (!first_read || !v->list) {
        free(first_read);
        GD_FAIL(NOMEM, "pass: no memory for %zu nodes", count);
    }
    for (size_t n = 0; n < count; n++) first_read[n] = INT32_MAX;
    for (gd_node n = 0; n < gd_graph_count(g); n++) {
        const gd_node_info *i = gd_graph_at(g, n);
        for (int k = 0; k < gd_op_arity(i->op); k++)
            if (i->phase < first_read[i->in[k]]) first_read[i->in[k]] = i->phase;
    }
    for (gd_node n = 0; n < gd_graph_count(g); n++) {
        const gd_node_info *i = gd_graph_at(g, n);
        if (i->op != GD_OP_PARAM || i->attr.version == 0) continue;
        v->list[v->count++] = (later){i->name, i->attr.version, first_read[n] == INT32_MAX ? i->phase : first_read[n]};
    }
    free(first_read);
    return GD_OK;
}

static gd_node copy_of(gd_graph *to, gd_node a) {
    const gd_attr same = {.kind = (int32_t)gd_graph_at(to, a)->dtype};
    int phase = gd__graph_phase(to);
    gd_graph_set_phase(to, gd_graph_at(to, a)->phase);
    gd_node copy = gd__find(to, GD_OP_CAST, a, &same);
    if (copy == GD_NONE) copy = gd__add(to, GD_OP_CAST, a, GD_NONE, &same);
    gd_graph_set_phase(to, phase);
    return copy;
}

/* What a node of `phase` reads for a. */
static gd_node safe_input(const versions *v, gd_graph *to, gd_node a, int phase) {
    if (a == GD_NONE || v->count == 0) return a;
    const gd_node_info *p = param_behind(to, a);
    if (!p) return a;
    int from = overwritten_in(v, p);
    if (from > phase) return a;
    if (gd_graph_at(to, a)->phase >= from)
        return gd_graph_fail(to, GD_INTERNAL,
                             "%s: version %d appears in phase %d, which reads a later version; expected it in an "
                             "earlier phase",
                             p->name, p->attr.version, gd_graph_at(to, a)->phase);
    return copy_of(to, a);
}

static gd_node rule_versions(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    const versions *v = ctx;
    a = safe_input(v, to, a, n->phase);
    b = safe_input(v, to, b, n->phase);
    return gd__add_like(to, n, a, b);
}

/* An output that is a parameter, or a view of one, whose memory somebody writes before the run ends.
 * (A later version as well: the copy is then a step of its phase, so that there is a pause before.) */
static bool output_at_risk(const versions *v, const gd_graph *g, int n_out, const gd_output *out, int r, gd_node n) {
    const gd_node_info *p = param_behind(g, n);
    if (!p) return false;
    if (p->attr.version > 0 || overwritten_in(v, p) != INT32_MAX) return true;
    for (int q = 0; q < n_out; q++)
        if (q != r && !strcmp(out[q].name, p->name)) return true;
    return false;
}

static gd_status list_overwritten(const versions *v, gd__ir *ir) {
    size_t count = (size_t)gd_graph_count(ir->graph);
    ir->overwritten = malloc((count + 1) * sizeof *ir->overwritten);
    if (!ir->overwritten) GD_FAIL(NOMEM, "pass: no memory for %zu nodes", count);
    for (size_t n = 0; n < count; n++) {
        const gd_node_info *i = gd_graph_at(ir->graph, (gd_node)n);
        ir->overwritten[n] = i->op == GD_OP_PARAM ? overwritten_in(v, i) : INT32_MAX;
    }
    return GD_OK;
}

static gd_status copy_outputs(const versions *v, const gd_output *out, gd__ir *ir) {
    for (int r = 0; r < ir->n_roots; r++)
        if (output_at_risk(v, ir->graph, ir->n_roots, out, r, ir->root[r]))
            ir->root[r] = copy_of(ir->graph, ir->root[r]);
    return gd_graph_status(ir->graph);
}

gd_status gd__pass_versions(const gd_graph *g, const gd_output *out, const gd__ir *from, gd__ir *to) {
    versions v = {0};
    gd_status st;
    *to = (gd__ir){0};
    GD_TRY_TO(done, find_versions(g, &v));
    GD_TRY_TO(done, gd__rewrite(from->graph, from->n_roots, from->root, rule_versions, &v, to));
    GD_TRY_TO(done, copy_outputs(&v, out, to));
    GD_TRY_TO(done, list_overwritten(&v, to));
done:
    if (st != GD_OK) gd__ir_free(to);
    free(v.list);
    return st;
}
