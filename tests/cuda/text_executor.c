/* tests/cuda/text_executor.c -- see text_executor.h. */
#include "text_executor.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute/cuda/kernel.h"
#include "shim.h"

enum { ARGS_MAX = 256 };
_Static_assert(sizeof(gd_kernel_run) == sizeof(gd_run_args) &&
                   offsetof(gd_kernel_run, sample) == offsetof(gd_run_args, sample),
               "kernels read gd_run_args as it is");

typedef struct state {
    gd_arena *arena;
    gd__cu_kernels kernels;
    gd__cu_step *step;
    void **heavy; /* per step: of the executor cpu, or NULL */
    int n_steps;
} state;

static bool is_heavy(const gd_graph *g, gd_node n) { return gd_op_class_of(gd_graph_at(g, n)->op) == GD_CLASS_HEAVY; }

static bool supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    return is_heavy(g, n) ? gd_executor_cpu()->supports(g, n, why, room) : gd__cu_supports(g, n, why, room);
}

static void release(void *opaque) {
    state *x = opaque;
    for (int s = 0; s < x->n_steps; s++)
        if (x->heavy[s]) gd_executor_cpu()->release(x->heavy[s]);
    gd__cu_kernels_free(&x->kernels);
    gd_arena_free(x->arena);
    free(x);
}

static gd_view only(const gd_view *v, int s) {
    gd_view one = *v;
    one.n_steps = 1;
    one.steps = v->steps + s;
    return one;
}

static gd_status prepare(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **out) {
    gd_status st = GD_OK;
    state *x = calloc(1, sizeof *x);
    if (!x || !(x->arena = gd_arena_new())) {
        free(x);
        GD_FAIL(NOMEM, "text: no memory");
    }
    x->step = gd_arena_alloc(x->arena, ((size_t)v->n_steps + 1) * sizeof *x->step);
    x->heavy = gd_arena_alloc(x->arena, ((size_t)v->n_steps + 1) * sizeof *x->heavy);
    if (!x->step || !x->heavy) GD_FAIL_TO(err_release, NOMEM, "text: no memory");
    x->n_steps = v->n_steps;
    for (int s = 0; s < v->n_steps; s++) {
        if (is_heavy(v->graph, v->step_nodes[v->steps[s].first_node])) {
            size_t shared;
            gd_view one = only(v, s);
            GD_TRY_TO(err_release, gd_executor_cpu()->prepare(&one, &scratch[s], &shared, &x->heavy[s]));
            continue;
        }
        GD_TRY_TO(err_release, gd__cu_emit(v, s, x->arena, &x->kernels, &x->step[s]));
        scratch[s] = x->step[s].scratch_bytes;
    }
    shim_collect(&x->kernels);
    *shared_bytes = sizeof *x;
    *out = x;
    return GD_OK;
err_release:
    release(x);
    return st;
}

static void *pointer_of(const gd__cu_arg *a, const gd_memory *m) {
    if (a->kind == GD__CU_RUN) return (void *)(uintptr_t)m->args;
    return a->kind == GD__CU_NODE ? m->node[a->node] : (char *)m->scratch + a->offset;
}

static gd_status run(void *opaque, const gd_view *v, int s, const gd_memory *m) {
    state *x = opaque;
    if (x->heavy[s]) {
        gd_view one = only(v, s);
        return gd_executor_cpu()->run(x->heavy[s], &one, 0, m);
    }
    for (int i = 0; i < x->step[s].n_launches; i++) {
        const gd__cu_launch *l = &x->step[s].launch[i];
        void *arg[ARGS_MAX];
        if (l->n_args > ARGS_MAX) GD_FAIL(INTERNAL, "text: %d arguments", l->n_args);
        for (int k = 0; k < l->n_args; k++) arg[k] = pointer_of(&l->arg[k], m);
        if (l->same_is_done && arg[0] == arg[1]) continue;
        shim_run(shim_find(x->kernels.list[l->kernel].name), l->grid, arg);
    }
    return GD_OK;
}

static const char *describe_step(void *opaque, const gd_view *v, int s) {
    (void)v;
    return ((state *)opaque)->step[s].text;
}

const gd_executor *text_executor(void) {
    static gd_executor text;
    text = *gd_executor_cpu();
    text.name = "cuda-text";
    text.supports = supports;
    text.prepare = prepare;
    text.run = run;
    text.release = release;
    text.describe_step = describe_step;
    return &text;
}

/* ---- only planning ---- */

static gd__cu_kernels planned; /* until the test ends */

static bool plans(const gd_graph *g, gd_node n, char *why, size_t room) {
    return is_heavy(g, n) || gd__cu_supports(g, n, why, room);
}

static gd_status plan(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **out) {
    gd_arena *a = gd_arena_new();
    gd_status st = GD_OK;
    if (!a) GD_FAIL(NOMEM, "text: no memory");
    for (int s = 0; s < v->n_steps; s++) {
        gd__cu_step step = {0};
        if (!is_heavy(v->graph, v->step_nodes[v->steps[s].first_node]))
            GD_TRY_TO(done, gd__cu_emit(v, s, a, &planned, &step));
        scratch[s] = step.scratch_bytes;
    }
    *shared_bytes = 0;
    *out = NULL;
done:
    gd_arena_free(a);
    return st;
}

static gd_status refuse(void *opaque, const gd_view *v, int s, const gd_memory *m) {
    (void)opaque, (void)v, (void)s, (void)m;
    GD_FAIL(INTERNAL, "text: the planner runs nothing");
}

static void nothing(void *opaque) { (void)opaque; }

const struct gd__cu_kernels *text_planned(void) { return &planned; }

const gd_executor *text_planner(void) {
    static gd_executor planner;
    planner = *text_executor();
    planner.name = "cuda-plan";
    planner.supports = plans;
    planner.prepare = plan;
    planner.run = refuse;
    planner.release = nothing;
    planner.describe_step = NULL;
    return &planner;
}
