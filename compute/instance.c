/* compute/instance.c -- memory and execution of a program. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "compute/plan.h"

enum { BAND = 64, BAND_BYTE = 0xA5, DEAD_BYTE = 0xFF }; /* a float or double of 0xFF bytes is a NaN */

struct gd_instance {
    const gd_program *p;
    unsigned char *arena;
    bool own_arena;
    void **bound;  /* per binding, of the caller                       */
    void **node;   /* per node: where its value is                     */
    bool resolved; /* node[] matches bound[]                           */
    gd_run_args args;
    int step, phase;      /* of the run under way; step -1: it has not begun   */
    unsigned char *touch; /* per step, and for the start in front of them: sets of gd_instance_group; NULL: none */
    unsigned held;        /* sets that may not be touched                     */
    unsigned touched;     /* sets that were, since somebody asked             */
    bool cutting, cut;    /* pause behind outputs that hooks.cuts names; one was complete  */
    gd_run_hooks hooks;
    int told; /* outputs of the run that are known to be complete */
    bool running;
    bool serving;     /* paused for the collective of step - 1            */
    char broken[256]; /* guard: first overrun seen, as text               */
    double *seconds;  /* per step, when profiling                         */
    int64_t runs;
};

/* NULL: no memory. */
static void *new_arena(const gd_program *p, size_t bytes) {
    void *arena = NULL;
    if (!p->executor->alloc) return gd_memory_alloc(bytes);
    return p->executor->alloc(bytes, &arena) == GD_OK ? arena : NULL;
}

static gd_status make(const gd_program *p, void *arena, gd_instance **out) {
    if ((uintptr_t)arena % GD__ALIGN) GD_FAIL(INTERNAL, "instance: its memory is not aligned to %d bytes", GD__ALIGN);
    gd_instance *i = calloc(1, sizeof *i);
    if (!i) GD_FAIL(NOMEM, "instance: no memory");
    size_t bytes = p->arena_bytes ? p->arena_bytes : GD__ALIGN;
    i->p = p;
    i->own_arena = !arena;
    i->arena = arena ? arena : new_arena(p, bytes);
    i->bound = calloc((size_t)p->n_bindings + 1, sizeof *i->bound);
    i->node = calloc((size_t)gd_graph_count(p->ir.graph) + 1, sizeof *i->node);
    const char *profile = getenv("GANDIST_PROFILE");
    bool timed = profile && !strcmp(profile, "1");
    if (timed) i->seconds = calloc((size_t)p->n_steps + 1, sizeof *i->seconds);
    if (!i->arena || !i->bound || !i->node || (timed && !i->seconds)) {
        gd_instance_free(i);
        GD_FAIL(NOMEM, "instance: no memory for %zu bytes of activations", bytes);
    }
    if (!p->executor->alloc) memset(i->arena, p->guard ? DEAD_BYTE : 0, p->arena_bytes); /* touches every page, once */
    *out = i;
    return GD_OK;
}

gd_status gd_instance_make(const gd_program *p, gd_instance **out) { return make(p, NULL, out); }
gd_status gd_instance_make_on(const gd_program *p, void *arena, gd_instance **out) { return make(p, arena, out); }

void gd_instance_free(gd_instance *i) {
    if (!i) return;
    if (i->own_arena && i->p->executor->free) i->p->executor->free(i->arena);
    else if (i->own_arena) free(i->arena);
    free(i->bound);
    free(i->node);
    free(i->touch);
    free(i->seconds);
    free(i);
}

gd_status gd_instance_bind(gd_instance *i, const char *name, void *buffer) {
    if ((uintptr_t)buffer % GD__ALIGN) GD_FAIL(INTERNAL, "bind: %s is not aligned to %d bytes", name, GD__ALIGN);
    for (int b = 0; b < i->p->n_bindings; b++)
        if (!strcmp(i->p->binding[b].name, name)) {
            i->bound[b] = buffer;
            i->resolved = false;
        }
    return GD_OK;
}

static gd_status resolve(gd_instance *i) {
    const gd_program *p = i->p;
    for (int b = 0; b < p->n_bindings; b++)
        if (!i->bound[b]) GD_FAIL(INTERNAL, "run: nothing is bound to %s", p->binding[b].name);
    for (gd_node n = 0; n < gd_graph_count(p->ir.graph); n++) {
        const gd__value *v = &p->value[gd__base(p, n)];
        i->node[n] = v->where == GD__BOUND   ? i->bound[v->index]
                     : v->where == GD__ARENA ? (void *)(i->arena + p->buffer[v->index].offset)
                                             : NULL;
    }
    i->resolved = true;
    return GD_OK;
}

/* ---- holds ---- */

static unsigned char set_of_value(const gd_program *p, const signed char *set, gd_node n) {
    const gd__value *v = &p->value[gd__base(p, n)];
    return (unsigned char)(v->where == GD__BOUND && set[v->index] >= 0 ? 1u << set[v->index] : 0);
}

gd_status gd_instance_group(gd_instance *i, const signed char *set) {
    const gd_program *p = i->p;
    unsigned char *touch = calloc((size_t)p->n_steps + 1, 1);
    if (!touch) GD_FAIL(NOMEM, "instance: no memory for %d steps", p->n_steps);
    for (int s = 0; s < p->n_steps; s++)
        for (int m = 0; m < p->step[s].n_nodes; m++) {
            gd_node n = p->step_node[p->step[s].first_node + m];
            const gd_node_info *info = gd_graph_at(p->ir.graph, n);
            if (p->stored[n]) touch[s + 1] |= set_of_value(p, set, n);
            for (int k = 0; k < gd_op_arity(info->op); k++) touch[s + 1] |= set_of_value(p, set, info->in[k]);
        }
    for (int c = 0; c < p->n_copies; c++) {
        const gd__copy *k = &p->copy[c];
        touch[k->step + 1] |= set_of_value(p, set, k->node);
        if (set[k->binding] >= 0) touch[k->step + 1] |= (unsigned char)(1u << set[k->binding]);
    }
    free(i->touch);
    i->touch = touch;
    return GD_OK;
}

void gd_instance_hold(gd_instance *i, unsigned sets) { i->held = sets; }

/* The held sets that step s (-1: the start) would touch. */
static unsigned kept_from(const gd_instance *i, int s) { return i->touch ? i->touch[s + 1] & i->held : 0; }

unsigned gd_instance_held(const gd_instance *i) { return i->held; }
gd_run_hooks gd_instance_hooks(const gd_instance *i) { return i->hooks; }
void gd_instance_cut(gd_instance *i, bool on) { i->cutting = on; }

unsigned gd_instance_needs(const gd_instance *i, bool start) {
    int s = start ? -1 : i->step;
    if (!i->touch || s >= i->p->n_steps) return 0;
    return i->touch[s + 1] | (start && i->p->n_steps ? i->touch[1] : 0);
}

unsigned gd_instance_take_touched(gd_instance *i) {
    unsigned sets = i->touched;
    i->touched = 0;
    return sets;
}

void gd_instance_set_hooks(gd_instance *i, const gd_run_hooks *h) { i->hooks = h ? *h : (gd_run_hooks){0}; }

/* ---- guard bands and dead memory ---- */

static void paint(gd_instance *i, const gd__buffer *b) {
    unsigned char *at = i->arena + b->offset;
    memset(at - BAND, BAND_BYTE, BAND);
    memset(at, DEAD_BYTE, b->bytes);
    memset(at + b->bytes, BAND_BYTE, BAND);
}

static bool band_intact(const unsigned char *at) {
    for (int k = 0; k < BAND; k++)
        if (at[k] != BAND_BYTE) return false;
    return true;
}

static void inspect(gd_instance *i, const gd__buffer *b, int s) {
    const unsigned char *at = i->arena + b->offset;
    bool before = band_intact(at - BAND), behind = band_intact(at + b->bytes);
    if ((before && behind) || *i->broken) return;
    snprintf(i->broken, sizeof i->broken, "%s: written %s its %zu bytes by step %d or an earlier one",
             b->node == GD_NONE ? "scratch" : gd_graph_at(i->p->ir.graph, b->node)->name, before ? "behind" : "before",
             b->bytes, s);
}

static void guard_before(gd_instance *i, int s) {
    for (int b = 0; b < i->p->n_buffers; b++)
        if (i->p->buffer[b].first == s) paint(i, &i->p->buffer[b]);
}

static void guard_after(gd_instance *i, int s) {
    for (int b = 0; b < i->p->n_buffers; b++) {
        const gd__buffer *k = &i->p->buffer[b];
        if (k->first > s || k->last < s) continue;
        inspect(i, k, s);
        if (k->last == s) memset(i->arena + k->offset, DEAD_BYTE, k->bytes);
    }
}

gd_status gd_instance_check(const gd_instance *i) {
    if (*i->broken) GD_FAIL(INTERNAL, "%s", i->broken);
    return GD_OK;
}

/* ---- running ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Outputs that are not written in place; step -1: of a program that has no steps. */
static gd_status copy_outputs(const gd_instance *i, int s) {
    const gd_executor *x = i->p->executor;
    for (int c = 0; c < i->p->n_copies; c++) {
        const gd__copy *k = &i->p->copy[c];
        void *to = i->bound[k->binding];
        size_t bytes = gd__node_bytes(i->p, k->node);
        if (k->step != s || to == i->node[k->node]) continue;
        if (x->copy) GD_TRY(x->copy(i->p->state, to, i->node[k->node], bytes));
        else memcpy(to, i->node[k->node], bytes);
    }
    return GD_OK;
}

static gd_status run_step(gd_instance *i, int s) {
    const gd_program *p = i->p;
    void *scratch = p->scratch[s] < 0 ? NULL : i->arena + p->buffer[p->scratch[s]].offset;
    gd_memory m = {.node = i->node, .scratch = scratch, .args = &i->args};
    if (p->guard) guard_before(i, s);
    double start = i->seconds ? now() : 0;
    i->running = false; /* a run that fails cannot be resumed */
    GD_TRY(p->executor->run(p->state, &p->view, s, &m));
    i->running = true;
    if (i->seconds) i->seconds[s] += now() - start;
    return GD_OK;
}

static gd_status tell_done(gd_instance *i, int s) {
    const gd_program *p = i->p;
    for (; i->told < p->n_ends && p->end[i->told].step <= s; i->told++) {
        int binding = p->end[i->told].binding;
        if (i->hooks.done) GD_TRY(i->hooks.done(i->hooks.ctx, binding));
        i->cut |= i->cutting && i->hooks.cuts && i->hooks.cuts(i->hooks.ctx, binding);
    }
    return GD_OK;
}

/* Once the values of step s are there; for a collective: when it has been served. */
static gd_status finish_step(gd_instance *i, int s) {
    GD_TRY(copy_outputs(i, s));
    if (i->p->guard && s >= 0) guard_after(i, s);
    return tell_done(i, s);
}

static bool is_collective(const gd_program *p, int s) {
    return gd_op_class_of(gd_graph_at(p->ir.graph, p->step_node[p->step[s].first_node])->op) == GD_CLASS_COMM;
}

static void pause_at_collective(const gd_instance *i, int s, gd_pause *pause) {
    gd_node n = i->p->step_node[i->p->step[s].first_node];
    const gd_node_info *info = gd_graph_at(i->p->ir.graph, n);
    *pause = (gd_pause){.kind = GD_PAUSE_COLLECTIVE,
                        .phase = i->phase,
                        .name = info->name,
                        .data = i->node[n],
                        .count = gd_shape_count(info->shape)};
}

/* Whether to pause for outputs that are complete: where the phase ends there is another pause. */
static bool take_cut(gd_instance *i) {
    const gd_program *p = i->p;
    bool cut = i->cut && i->step < p->n_steps && (i->step < 0 || p->step[i->step].phase == i->phase);
    i->cut = false;
    return cut;
}

gd_status gd_instance_resume(gd_instance *i, gd_pause *pause) {
    const gd_program *p = i->p;
    if (!i->running) GD_FAIL(INTERNAL, "run: resumed without a start");
    if (i->serving) GD_TRY(finish_step(i, i->step - 1));
    i->serving = false;
    while (i->step < p->n_steps) {
        if (take_cut(i)) {
            *pause = (gd_pause){.kind = GD_PAUSE_CUT, .phase = i->phase};
            return GD_OK;
        }
        if (i->step >= 0 && p->step[i->step].phase > i->phase) {
            i->phase = p->step[i->step].phase;
            *pause = (gd_pause){.kind = GD_PAUSE_PHASE, .phase = i->phase};
            return GD_OK;
        }
        if (kept_from(i, i->step)) {
            *pause = (gd_pause){.kind = GD_PAUSE_HELD, .phase = i->phase, .held = kept_from(i, i->step)};
            return GD_OK;
        }
        if (i->hooks.between) GD_TRY(i->hooks.between(i->hooks.ctx));
        int s = i->step++;
        if (i->touch) i->touched |= i->touch[s + 1];
        if (s >= 0) GD_TRY(run_step(i, s));
        i->serving = s >= 0 && is_collective(p, s);
        if (i->serving) {
            pause_at_collective(i, s, pause);
            if (!i->hooks.sum) return GD_OK;
            GD_TRY(i->hooks.sum(i->hooks.ctx, pause->data, pause->count));
            i->serving = false;
        }
        GD_TRY(finish_step(i, s));
    }
    i->running = false;
    i->runs++;
    *pause = (gd_pause){.kind = GD_PAUSE_DONE, .phase = i->phase};
    return GD_OK;
}

gd_status gd_instance_start(gd_instance *i, const gd_run_args *a, gd_pause *pause) {
    if (!i->resolved) GD_TRY(resolve(i));
    i->args = *a;
    i->step = -1;
    i->phase = 0;
    i->running = true;
    i->serving = false;
    i->told = 0;
    i->touched = 0;
    i->cut = false;
    return gd_instance_resume(i, pause);
}

gd_status gd_instance_run(gd_instance *i, const gd_run_args *a) {
    gd_pause pause;
    GD_TRY(gd_instance_start(i, a, &pause));
    while (pause.kind != GD_PAUSE_DONE) GD_TRY(gd_instance_resume(i, &pause));
    return GD_OK;
}

/* ---- profile ---- */

/* What a step counts as in the profile: its op, or GD_OP_COUNT for a group. */
static int kind_of(const gd_program *p, int s) {
    return p->step[s].fused ? GD_OP_COUNT : (int)gd_graph_at(p->ir.graph, p->step_node[p->step[s].first_node])->op;
}

static double flops_of(const gd_program *p, int s) {
    gd_node n = p->step_node[p->step[s].first_node];
    return p->step[s].fused ? 0 : gd__flops(p->ir.graph, gd_graph_at(p->ir.graph, n));
}

static void print_line(FILE *out, double seconds, double total, double flops) {
    fprintf(out, "%9.3f ms %5.1f %% ", 1e3 * seconds, total > 0 ? 100 * seconds / total : 0);
    if (flops > 0 && seconds > 0) fprintf(out, "%8.1f GFLOP/s  ", 1e-9 * flops / seconds);
    else fprintf(out, "%18s", "");
}

static void print_kinds(const gd_instance *i, double total, FILE *out) {
    const gd_program *p = i->p;
    struct {
        double seconds, flops;
        int steps;
    } kind[GD_OP_COUNT + 1] = {{0, 0, 0}};
    for (int s = 0; s < p->n_steps; s++) {
        int k = kind_of(p, s);
        kind[k].seconds += i->seconds[s] / (double)i->runs;
        kind[k].flops += flops_of(p, s);
        kind[k].steps++;
    }
    for (int k = 0; k <= GD_OP_COUNT; k++) {
        if (!kind[k].steps) continue;
        print_line(out, kind[k].seconds, total, kind[k].flops);
        fprintf(out, "%s, %d steps\n", k == GD_OP_COUNT ? "group" : gd_op_text((gd_op)k), kind[k].steps);
    }
}

static void print_step(const gd_instance *i, int s, double total, FILE *out) {
    const gd_program *p = i->p;
    const gd_exec_step *step = &p->step[s];
    const gd_node_info *n = gd_graph_at(p->ir.graph, p->step_node[step->first_node + step->n_nodes - 1]);
    const char *kernel = p->executor->describe_step ? p->executor->describe_step(p->state, &p->view, s) : NULL;
    char shape[96];
    gd_shape_text(n->shape, shape);
    print_line(out, i->seconds[s] / (double)i->runs, total, flops_of(p, s));
    fprintf(out, "%-9s %-20s %s  %s\n", step->fused ? "group" : gd_op_text(n->op), shape, n->name,
            kernel ? kernel : "");
}

void gd_instance_print_profile(const gd_instance *i, FILE *out) {
    if (!i->seconds || !i->runs) return;
    double total = 0; /* of one run */
    for (int s = 0; s < i->p->n_steps; s++) total += i->seconds[s] / (double)i->runs;
    fprintf(out, "%lld runs, %.3f ms each; by kind, then step by step\n", (long long)i->runs, 1e3 * total);
    print_kinds(i, total, out);
    for (int s = 0; s < i->p->n_steps; s++) print_step(i, s, total, out);
}
