/* tests/unit/program_rig.c */
#include "program_rig.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "compute/plan.h"

void prog_ok(gd_status st) {
    if (st != GD_OK) fail_msg("%s: %s [%s]", gd_status_name(st), gd_error_message(), gd_error_trail());
}

void prog_refused(gd_status st, gd_status want, ...) {
    if (st != want)
        fail_msg("status %s (%s); expected %s", gd_status_name(st), gd_error_message(), gd_status_name(want));
    va_list v;
    va_start(v, want);
    for (const char *part; (part = va_arg(v, const char *));)
        if (!strstr(gd_error_message(), part)) fail_msg("message '%s' does not say '%s'", gd_error_message(), part);
    va_end(v);
}

gd_graph *prog_graph(int shards) {
    gd_graph *g = NULL;
    prog_ok(gd_graph_new(shards, &g));
    return g;
}

double prog_value_of(const char *name, int64_t at) {
    uint64_t h = gd_hash64(name, strlen(name), (uint64_t)at);
    return (float)((double)(h >> 40) / (1 << 23) - 1);
}

static double load(const prog *p, int b, int64_t at) {
    if (p->x->element_bytes(GD_F32) == sizeof(double)) return ((double *)p->memory[b])[at];
    if (p->list[b].dtype == GD_F32) return ((float *)p->memory[b])[at];
    assert_int_equal(p->list[b].dtype, GD_BF16);
    uint32_t bits = (uint32_t)((uint16_t *)p->memory[b])[at] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void store(prog *p, int b, int64_t at, double v) {
    if (p->x->element_bytes(GD_F32) == sizeof(double)) ((double *)p->memory[b])[at] = v;
    else {
        assert_int_equal(p->list[b].dtype, GD_F32);
        ((float *)p->memory[b])[at] = (float)v;
    }
}

int prog_find(const prog *p, const char *name) {
    for (int b = 0; b < p->n; b++)
        if (!strcmp(p->list[b].name, name)) return b;
    return -1;
}

static int find(const prog *p, const char *name) {
    int b = prog_find(p, name);
    if (b < 0) fail_msg("the program has no binding %s", name);
    return b;
}

double prog_get(const prog *p, const char *name, int64_t at) { return load(p, find(p, name), at); }
void prog_set(prog *p, const char *name, int64_t at, double value) { store(p, find(p, name), at, value); }
int64_t prog_count(const prog *p, const char *name) { return gd_shape_count(p->list[find(p, name)].shape); }

static void *aligned(size_t bytes) {
    void *p = NULL; /* not rounded up: the sanitizer sees the end */
    assert_int_equal(posix_memalign(&p, 64, bytes ? bytes : 1), 0);
    return memset(p, 0, bytes);
}

prog prog_make(const gd_graph *g, const char *executor, int n_out, const gd_output *out, gd_program_opts o) {
    prog p = {.x = gd_executor_find(executor)};
    prog_ok(gd_program_make(g, p.x, n_out, out, &o, &p.p));
    p.arena = aligned(gd_program_get_stats(p.p).arena_bytes);
    prog_ok(gd_instance_make_on(p.p, p.arena, &p.i));
    p.n = gd_program_bindings(p.p, &p.list);
    p.memory = calloc((size_t)p.n + 1, sizeof *p.memory);
    for (int b = 0; b < p.n; b++) {
        int64_t count = gd_shape_count(p.list[b].shape);
        p.memory[b] = aligned((size_t)count * p.x->element_bytes(p.list[b].dtype));
        prog_ok(gd_instance_bind(p.i, p.list[b].name, p.memory[b]));
        for (int64_t k = 0; k < count && (p.list[b].is_input || p.list[b].is_param); k++)
            store(&p, b, k, prog_value_of(p.list[b].name, k));
    }
    return p;
}

void prog_free(prog *p) {
    gd_instance_free(p->i);
    gd_program_free(p->p);
    for (int b = 0; b < p->n; b++) free(p->memory[b]);
    free(p->memory);
    free(p->arena);
    *p = (prog){0};
}

static void serve(const prog *p, const gd_pause *pause) {
    double *wide = (void *)pause->data;
    bool doubles = p->x->element_bytes(GD_F32) == sizeof(double);
    for (int64_t k = 0; k < pause->count; k++) {
        if (doubles) wide[k] *= 2;
        else pause->data[k] *= 2;
    }
}

int prog_run(prog *p, prog_pause at_pause, void *ctx) {
    const gd_run_args a = {.seed = 5, .step = 2, .sample = 40};
    int collectives = 0;
    gd_pause pause;
    prog_ok(gd_instance_start(p->i, &a, &pause));
    while (pause.kind != GD_PAUSE_DONE) {
        if (pause.kind == GD_PAUSE_COLLECTIVE) {
            serve(p, &pause);
            collectives++;
        } else if (at_pause) at_pause(p, pause.phase, ctx);
        prog_ok(gd_instance_resume(p->i, &pause));
    }
    prog_ok(gd_instance_check(p->i));
    return collectives;
}

int prog_steps_with(const prog *p, gd_op op) {
    int steps = 0;
    for (int s = 0; s < p->p->n_steps; s++) {
        const gd_exec_step *step = &p->p->step[s];
        bool has = false;
        for (int m = 0; m < step->n_nodes; m++)
            has |= gd_graph_at(p->p->ir.graph, p->p->step_node[step->first_node + m])->op == op;
        steps += has;
    }
    return steps;
}

void prog_check_memory(const prog *p) {
    size_t band = p->p->guard ? 64 : 0;
    for (int i = 0; i < p->p->n_buffers; i++) {
        const gd__buffer *a = &p->p->buffer[i];
        assert_true(a->first <= a->last);
        assert_int_equal(a->offset % 64, 0);
        assert_true(a->offset >= band && a->offset + a->bytes + band <= p->p->arena_bytes);
        for (int k = 0; k < i; k++) {
            const gd__buffer *b = &p->p->buffer[k];
            bool together = !p->p->reuse || (a->first <= b->last && b->first <= a->last);
            bool apart =
                a->offset + a->bytes + band <= b->offset - band || b->offset + b->bytes + band <= a->offset - band;
            if (together && !apart) fail_msg("buffers %d and %d overlap", i, k);
        }
    }
}
