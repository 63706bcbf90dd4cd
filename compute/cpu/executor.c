/* compute/cpu/executor.c -- the executor `cpu`: one kernel a step. */
#include <stdlib.h>

#include "compute/cpu/cpu.h"

typedef struct state {
    gd_dnnl *dnnl;
    int threads; /* of every loop and oneDNN primitive; fixed when the program is made */
    int n_kernels;
    gd__kernel **kernel;
} state;

void *gd__kernel_new(size_t bytes, gd_status (*run)(gd__kernel *, const gd_memory *)) {
    gd__kernel *k = calloc(1, bytes);
    if (!k) return NULL;
    k->run = run;
    k->release = gd__kernel_release_plain;
    k->shared_bytes = bytes;
    return k;
}

void gd__kernel_release_plain(gd__kernel *k) { free(k); }

static size_t element_bytes(gd_dtype t) { return gd_dtype_bytes(t); }

static bool supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    gd_op op = gd_graph_at(g, n)->op;
    switch (gd_op_class_of(op)) {
    case GD_CLASS_HEAVY: return gd__heavy_supports(g, n, why, room);
    case GD_CLASS_EW:
    case GD_CLASS_RED: return gd__group_supports(g, n, why, room);
    case GD_CLASS_HIGH:
        snprintf(why, room, "%s is for the pass `lower`; it should be gone by now", gd_op_text(op));
        return false;
    default: return op == GD_OP_BROADCAST ? gd__group_supports(g, n, why, room) : gd__move_supports(g, n, why, room);
    }
}

static bool groupable(gd_op op) {
    gd_op_class c = gd_op_class_of(op);
    return c == GD_CLASS_EW || c == GD_CLASS_RED || op == GD_OP_BROADCAST;
}

static gd_status make_kernel(const gd_view *v, const gd_exec_step *s, gd_dnnl *d, gd__kernel **out) {
    const gd_node *nodes = v->step_nodes + s->first_node;
    gd_op op = gd_graph_at(v->graph, nodes[0])->op;
    if (s->fused || groupable(op)) return gd__make_group(v, s->n_nodes, nodes, out);
    if (gd_op_class_of(op) == GD_CLASS_HEAVY) return gd__make_heavy(v->graph, nodes[0], d, out);
    return gd__make_move(v->graph, nodes[0], out);
}

static void release(void *opaque) {
    state *x = opaque;
    if (!x) return;
    for (int i = 0; i < x->n_kernels; i++)
        if (x->kernel[i]) x->kernel[i]->release(x->kernel[i]);
    gd_dnnl_close(x->dnnl);
    free(x->kernel);
    free(x);
}

static gd_status prepare(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **out) {
    gd_status st = GD_OK;
    state *x = calloc(1, sizeof *x);
    if (!x) GD_FAIL(NOMEM, "cpu: no memory");
    x->threads = gd__threads_wanted();
    x->n_kernels = v->n_steps;
    x->kernel = calloc((size_t)v->n_steps + 1, sizeof *x->kernel);
    if (!x->kernel) {
        free(x);
        GD_FAIL(NOMEM, "cpu: no memory for %d kernels", v->n_steps);
    }
    gd__threads_enter(x->threads);
    GD_TRY_TO(err_release, gd_dnnl_open(&x->dnnl));
    size_t shared = sizeof *x;
    for (int i = 0; i < v->n_steps; i++) {
        GD_TRY_TO(err_release, make_kernel(v, &v->steps[i], x->dnnl, &x->kernel[i]));
        scratch[i] = x->kernel[i]->scratch_bytes;
        shared += x->kernel[i]->shared_bytes;
    }
    *shared_bytes = shared;
    *out = x;
    return GD_OK;
err_release:
    release(x);
    return st;
}

static gd_status run(void *opaque, const gd_view *v, int s, const gd_memory *m) {
    (void)v;
    state *x = opaque;
    gd__threads_enter(x->threads);
    return x->kernel[s]->run(x->kernel[s], m);
}

static const char *describe_step(void *opaque, const gd_view *v, int s) {
    (void)v;
    return ((state *)opaque)->kernel[s]->text;
}

const gd_executor *gd_executor_cpu(void) {
    static const gd_executor cpu = {
        .name = "cpu",
        .fuses = true,
        .element_bytes = element_bytes,
        .supports = supports,
        .prepare = prepare,
        .run = run,
        .release = release,
        .describe_step = describe_step,
    };
    return &cpu;
}
