/* compute/program.c -- from a graph to a program: passes, support, steps, kernels, memory. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compute/plan.h"

/* ---- names at the border ---- */

static int add_binding(gd_program *p, const char *name, const gd_node_info *n) {
    for (int b = 0; b < p->n_bindings; b++)
        if (!strcmp(p->binding[b].name, name)) return b;
    p->binding[p->n_bindings] = (gd_binding){.name = name, .dtype = n->dtype, .shape = n->shape};
    return p->n_bindings++;
}

static gd_status bind_leaves(gd_program *p) {
    for (gd_node n = 0; n < gd_graph_count(p->ir.graph); n++) {
        const gd_node_info *i = gd_graph_at(p->ir.graph, n);
        if (i->op != GD_OP_INPUT && i->op != GD_OP_PARAM) continue;
        gd_binding *b = &p->binding[add_binding(p, i->name, i)];
        if (!gd_shape_equal(b->shape, i->shape) || b->dtype != i->dtype)
            GD_FAIL(SHAPE, "%s: two nodes of this name differ in shape or type", i->name);
        if (i->op == GD_OP_INPUT) b->is_input = true;
        else b->is_param = true;
    }
    return GD_OK;
}

static gd_status bind_outputs(gd_program *p, const gd_output *out) {
    for (int r = 0; r < p->ir.n_roots; r++) {
        const gd_node_info *n = gd_graph_at(p->ir.graph, p->ir.root[r]);
        const char *name = gd_arena_strdup(p->arena, out[r].name);
        if (!name) GD_FAIL(NOMEM, "program: no memory");
        int at = add_binding(p, name, n);
        gd_binding *b = &p->binding[at];
        if (b->is_output) GD_FAIL(INTERNAL, "program: two outputs are called %s", name);
        if (b->is_input) GD_FAIL(INTERNAL, "program: %s is an input and cannot be an output as well", name);
        if (!gd_shape_equal(b->shape, n->shape) || b->dtype != n->dtype)
            GD_FAIL(SHAPE, "%s: the output differs in shape or type from the parameter of this name", name);
        b->is_output = true;
        p->root_binding[r] = at;
    }
    return GD_OK;
}

static gd_status make_bindings(gd_program *p, const gd_output *out) {
    size_t most = (size_t)gd_graph_count(p->ir.graph) + (size_t)p->ir.n_roots + 1;
    p->binding = gd_arena_alloc(p->arena, most * sizeof *p->binding);
    p->root_binding = gd_arena_alloc(p->arena, ((size_t)p->ir.n_roots + 1) * sizeof *p->root_binding);
    if (!p->binding || !p->root_binding) GD_FAIL(NOMEM, "program: no memory for %zu names", most);
    GD_TRY(bind_leaves(p));
    return bind_outputs(p, out);
}

/* ---- steps ---- */

/* "conv f32 [8,4,4,16] of f32 [8,8,8,3] and f32 [16,3,3,3]" */
static void describe(const gd_graph *g, const gd_node_info *n, char out[256]) {
    char shape[96];
    gd_shape_text(n->shape, shape);
    int at = snprintf(out, 256, "%s %s %s", gd_op_text(n->op), gd_dtype_text(n->dtype), shape);
    for (int k = 0; k < gd_op_arity(n->op) && at < 256; k++) {
        const gd_node_info *in = gd_graph_at(g, n->in[k]);
        gd_shape_text(in->shape, shape);
        at += snprintf(out + at, 256 - (size_t)at, " %s %s %s", k ? "and" : "of", gd_dtype_text(in->dtype), shape);
    }
}

static gd_status check_support(const gd_program *p, const gd__cluster *c) {
    for (int m = 0; m < c->n_members; m++) {
        const gd_node_info *n = gd_graph_at(p->ir.graph, c->member[m]);
        char why[256] = "", of[256];
        if (p->executor->supports(p->ir.graph, c->member[m], why, sizeof why)) continue;
        describe(p->ir.graph, n, of);
        GD_FAIL(UNSUP, "%s: executor %s cannot run %s: %s", n->name, p->executor->name, of, why);
    }
    return GD_OK;
}

static gd_status make_steps(gd_program *p, const gd__fusion *f, const gd_program_opts *o) {
    int *order, nodes = 0;
    GD_TRY(gd__schedule(f, o->late, o->eager, &order));
    for (int c = 0; c < f->n_clusters; c++) nodes += f->cluster[c].n_members;
    size_t count = (size_t)gd_graph_count(p->ir.graph);
    p->n_steps = f->n_clusters;
    p->step = gd_arena_alloc(p->arena, ((size_t)p->n_steps + 1) * sizeof *p->step);
    p->step_node = gd_arena_alloc(p->arena, ((size_t)nodes + 1) * sizeof *p->step_node);
    p->stored = gd_arena_alloc(p->arena, (count + 1) * sizeof *p->stored);
    if (!p->step || !p->step_node || !p->stored) GD_FAIL(NOMEM, "program: no memory for %d steps", p->n_steps);
    for (size_t n = 0; n < count; n++) p->stored[n] = f->role[n] != GD__INLINE && f->role[n] != GD__VIRTUAL;
    for (int s = 0, at = 0; s < p->n_steps; s++) {
        const gd__cluster *c = &f->cluster[order[s]];
        GD_TRY(check_support(p, c));
        p->step[s] = (gd_exec_step){.first_node = at, .n_nodes = c->n_members, .phase = c->phase, .fused = c->fused};
        memcpy(p->step_node + at, c->member, (size_t)c->n_members * sizeof *c->member);
        at += c->n_members;
    }
    p->view = (gd_view){.graph = p->ir.graph,
                        .n_steps = p->n_steps,
                        .steps = p->step,
                        .step_nodes = p->step_node,
                        .stored = p->stored,
                        .guard = p->guard};
    return GD_OK;
}

static gd_status make_memory(gd_program *p, const gd__fusion *f) {
    size_t *scratch = gd_arena_alloc(p->arena, ((size_t)p->n_steps + 1) * sizeof *scratch);
    if (!scratch) GD_FAIL(NOMEM, "program: no memory for %d steps", p->n_steps);
    GD_TRY(p->executor->prepare(&p->view, scratch, &p->shared_bytes, &p->state));
    for (int s = 0; s < p->n_steps; s++) p->step[s].scratch_bytes = scratch[s];
    return gd__place(p, f, scratch);
}

/* ---- when outputs are complete ---- */

static int producer_of(const gd_program *p, gd_node n) {
    for (int s = 0; s < p->n_steps; s++)
        for (int m = 0; m < p->step[s].n_nodes; m++)
            if (p->step_node[p->step[s].first_node + m] == n && p->stored[n]) return s;
    return -1;
}

/* The step after which root r's output is what it is meant to be: where it is written, or copied. */
static int end_of(const gd_program *p, int r) {
    int b = p->root_binding[r];
    for (int c = 0; c < p->n_copies; c++)
        if (p->copy[c].binding == b) return p->copy[c].step;
    return producer_of(p, gd__base(p, p->ir.root[r]));
}

static int by_step(const void *a, const void *b) { return ((const gd__end *)a)->step - ((const gd__end *)b)->step; }

static gd_status make_ends(gd_program *p) {
    p->end = gd_arena_alloc(p->arena, ((size_t)p->ir.n_roots + 1) * sizeof *p->end);
    if (!p->end) GD_FAIL(NOMEM, "program: no memory for %d outputs", p->ir.n_roots);
    for (int r = 0; r < p->ir.n_roots; r++) p->end[p->n_ends++] = (gd__end){end_of(p, r), p->root_binding[r]};
    qsort(p->end, (size_t)p->n_ends, sizeof *p->end, by_step);
    return GD_OK;
}

static void print_plan(const void *program, FILE *out) { gd_program_print(program, out); }

static gd_status build(gd_program *p, const gd_graph *g, int n_out, const gd_output *out, const gd_program_opts *o) {
    gd__fusion f;
    GD_TRY(gd__run_passes(g, n_out, out, o, &p->ir));
    GD_TRY(make_bindings(p, out));
    GD_TRY(gd__fuse(&p->ir, p->executor->fuses && !o->no_fuse, &f));
    gd_status st = make_steps(p, &f, o);
    if (st == GD_OK) st = make_memory(p, &f);
    if (st == GD_OK) st = make_ends(p);
    if (st == GD_OK) st = gd__dump(o, "plan", print_plan, p);
    gd_arena_free(f.arena);
    return st;
}

/* Switches for looking inside a run of any command. */
static void read_environment(gd_program_opts *o) {
    const char *no_reuse = getenv("GANDIST_NO_REUSE"), *dump = getenv("GANDIST_DUMP_GRAPH");
    if (no_reuse && !strcmp(no_reuse, "1")) o->no_reuse = true;
    if (dump && *dump && !o->dump_dir) o->dump_dir = dump;
}

gd_status gd_program_make(const gd_graph *g, const gd_executor *x, int n_out, const gd_output *out_list,
                          const gd_program_opts *opts, gd_program **out) {
    gd_program_opts o = opts ? *opts : (gd_program_opts){0};
    read_environment(&o);
    gd_program *p = calloc(1, sizeof *p);
    if (!p || !(p->arena = gd_arena_new())) {
        free(p);
        GD_FAIL(NOMEM, "program: no memory");
    }
    p->executor = x;
    p->precision = o.precision;
    p->reuse = !o.no_reuse;
    p->guard = o.guard && !x->alloc;
    gd_status st = build(p, g, n_out, out_list, &o);
    if (st == GD_OK) *out = p;
    else gd_program_free(p);
    return st;
}

void gd_program_free(gd_program *p) {
    if (!p) return;
    if (p->state) p->executor->release(p->state);
    gd__ir_free(&p->ir);
    gd_arena_free(p->arena);
    free(p);
}

/* ---- what it costs ---- */

static double product(gd_shape s) { return (double)gd_shape_count(s); }

double gd__flops(const gd_graph *g, const gd_node_info *n) {
    gd_shape a = n->in[0] == GD_NONE ? n->shape : gd_node_shape(g, n->in[0]);
    gd_shape b = n->in[1] == GD_NONE ? n->shape : gd_node_shape(g, n->in[1]);
    switch (n->op) {
    case GD_OP_MATMUL: return 2 * product(n->shape) * (double)a.dim[n->attr.ta ? 0 : 1];
    case GD_OP_CONV: return 2 * product(n->shape) * (double)(b.dim[1] * b.dim[2] * b.dim[3]);
    case GD_OP_CONV_DX: return 2 * product(a) * (double)(b.dim[1] * b.dim[2] * b.dim[3]);
    case GD_OP_CONV_DW: return 2 * product(b) * (double)(n->shape.dim[1] * n->shape.dim[2] * n->shape.dim[3]);
    default: return 0;
    }
}

gd_program_stats gd_program_get_stats(const gd_program *p) {
    gd_program_stats s = {.arena_bytes = p->arena_bytes,
                          .shared_bytes = p->shared_bytes,
                          .nodes = gd_graph_count(p->ir.graph),
                          .steps = p->n_steps};
    const int phases = sizeof s.phase_flops / sizeof *s.phase_flops;
    for (int i = 0; i < p->n_steps; i++) {
        const gd_exec_step *step = &p->step[i];
        gd_node n = p->step_node[step->first_node];
        const gd_node_info *info = gd_graph_at(p->ir.graph, n);
        double flops = step->fused ? 0 : gd__flops(p->ir.graph, info);
        s.flops += flops;
        s.phase_flops[step->phase < phases ? step->phase : phases - 1] += flops;
        if (gd_op_class_of(info->op) != GD_CLASS_COMM) continue;
        s.collectives++;
        s.collective_bytes += gd__node_bytes(p, n);
    }
    return s;
}

int gd_program_done(const gd_program *p, int k) { return k >= 0 && k < p->n_ends ? p->end[k].binding : -1; }

int gd_program_bindings(const gd_program *p, const gd_binding **list) {
    *list = p->binding;
    return p->n_bindings;
}

/* ---- as text ---- */

static void print_value(const gd_program *p, gd_node n, FILE *out) {
    const gd__value *v = &p->value[n];
    char shape[96];
    gd_shape_text(gd_node_shape(p->ir.graph, n), shape);
    fprintf(out, "    %d %s %s ", (int)n, gd_graph_at(p->ir.graph, n)->name, shape);
    if (v->where == GD__BOUND) fprintf(out, "bound to %s\n", p->binding[v->index].name);
    else if (v->where == GD__ARENA) {
        const gd__buffer *b = &p->buffer[v->index];
        fprintf(out, "bytes %zu..%zu, steps %d..%d\n", b->offset, b->offset + b->bytes, b->first, b->last);
    } else fputs("inside\n", out);
}

void gd_program_print(const gd_program *p, FILE *out) {
    fprintf(out, "%d steps, %d nodes, arena %zu bytes, executor %s\n", p->n_steps, gd_graph_count(p->ir.graph),
            p->arena_bytes, p->executor->name);
    for (int s = 0; s < p->n_steps; s++) {
        const gd_exec_step *step = &p->step[s];
        const char *kernel = p->executor->describe_step ? p->executor->describe_step(p->state, &p->view, s) : NULL;
        gd_op op = gd_graph_at(p->ir.graph, p->step_node[step->first_node])->op;
        fprintf(out, "step %d phase %d %s%s%s", s, step->phase, step->fused ? "group" : gd_op_text(op),
                kernel ? ", " : "", kernel ? kernel : "");
        if (p->scratch[s] >= 0) fprintf(out, ", scratch %zu bytes", p->buffer[p->scratch[s]].bytes);
        fputc('\n', out);
        for (int m = 0; m < step->n_nodes; m++) print_value(p, p->step_node[step->first_node + m], out);
    }
    for (int c = 0; c < p->n_copies; c++)
        fprintf(out, "after step %d: %s = node %d\n", p->copy[c].step, p->binding[p->copy[c].binding].name,
                (int)p->copy[c].node);
}
