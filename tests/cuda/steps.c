/* tests/cuda/steps.c -- see steps.h. */
#include "steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 3, SHAKES = 4 };

struct steps_ref {
    ops_prog exact, shaken[SHAKES];
};

/* ---- values ---- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

void steps_draw(const gd_binding *b, double *to) {
    int64_t n = gd_shape_count(b->shape);
    uint64_t key = 0;
    for (const char *s = b->name; *s; s++) key = key * 31 + (unsigned char)*s;
    bool scale = ends_with(b->name, "running_var") || (ends_with(b->name, "weight") && b->shape.rank == 1);
    ops_draw(to, n, b->dtype == GD_U8 ? OPS_BYTE : scale ? OPS_POSITIVE : OPS_NORMAL, SEED, key);
    for (int64_t i = 0; i < n; i++) {
        if (b->is_param && !scale) to[i] = (float)(0.15 * to[i]);
        if (!strcmp(b->name, "control:pick")) to[i] = i == 0;
        else if (!strncmp(b->name, "control:", 8) && n == 1) to[i] = 0.375;
    }
}

/* ---- ref, and ref with roundings ---- */

static int shaking; /* which of the SHAKES */

/* Each value up or down by one rounding. */
static void shake(double *x, int64_t n, gd_node node) {
    uint64_t z = ((uint64_t)node * SHAKES + (uint64_t)shaking) * 0x9e3779b97f4a7c15u;
    for (int64_t i = 0; i < n; i++) {
        z += 0x9e3779b97f4a7c15u;
        uint64_t y = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        y = (y ^ y >> 27) * 0x94d049bb133111ebu;
        x[i] *= 1 + (y >> 63 ? 0x1p-24 : -0x1p-24);
    }
}

static gd_status run_shaken(void *state, const gd_view *v, int s, const gd_memory *m) {
    gd_node node = v->step_nodes[v->steps[s].first_node];
    const gd_node_info *n = gd_graph_at(v->graph, node);
    gd_op_class c = gd_op_class_of(n->op);
    bool rounds = n->dtype == GD_BF16 && gd_op_arity(n->op) > 0;
    bool copies = c == GD_CLASS_MOVE || c == GD_CLASS_VIEW || n->op == GD_OP_CAST || n->op == GD_OP_BROADCAST;
    bool calculates = n->dtype == GD_F32 && n->op != GD_OP_CONST && !copies;
    int64_t count = rounds ? gd_shape_count(gd_node_shape(v->graph, n->in[0])) : 0;
    double *in = rounds ? m->node[n->in[0]] : NULL, *kept = malloc(((size_t)count + 1) * sizeof *kept);
    if (!kept) GD_FAIL(NOMEM, "shaken: no memory");
    if (rounds) {
        memcpy(kept, in, (size_t)count * sizeof *kept);
        shake(in, count, node);
    }
    gd_status st = gd_executor_ref()->run(state, v, s, m);
    if (rounds) memcpy(in, kept, (size_t)count * sizeof *kept);
    if (calculates) shake(m->node[node], gd_shape_count(n->shape), node);
    free(kept);
    return st;
}

static ops_prog run(const gd_step_graph *s, gd_precision precision, const gd_executor *x) {
    ops_prog p = ops_make(s->graph, x, s->n_outputs, s->outputs, precision);
    for (int i = 0; i < p.n; i++)
        if (p.buffer[i].is.is_input || p.buffer[i].is.is_param) steps_draw(&p.buffer[i].is, p.buffer[i].value);
    ops_run(&p);
    return p;
}

steps_ref *steps_ref_new(const gd_step_graph *s, gd_precision p) {
    static gd_executor shaken; /* programs point to it */
    steps_ref *r = malloc(sizeof *r);
    if (!r) ops_die("no memory");
    shaken = *gd_executor_ref();
    shaken.run = run_shaken;
    r->exact = run(s, p, gd_executor_ref());
    for (shaking = 0; shaking < SHAKES; shaking++) r->shaken[shaking] = run(s, p, &shaken);
    return r;
}

void steps_ref_free(steps_ref *r) {
    if (!r) return;
    ops_free(&r->exact);
    for (int i = 0; i < SHAKES; i++) ops_free(&r->shaken[i]);
    free(r);
}

/* ---- comparing ---- */

static double norm(const double *a, const double *b, int64_t n) {
    double d = 0, s = 0.01;
    for (int64_t i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        s += b[i] * b[i];
    }
    return isfinite(d) ? sqrt(d / s) : INFINITY;
}

double steps_distance(const steps_ref *r, const char *name, const double *have, double base) {
    int64_t n;
    const double *want = ops_value(&r->exact, name, &n);
    double moved = 0;
    for (int i = 0; i < SHAKES; i++) moved = fmax(moved, norm(ops_value(&r->shaken[i], name, NULL), want, n));
    return norm(have, want, n) / (base + 2 * moved);
}
