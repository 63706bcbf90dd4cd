/* tests/cuda/on_device.c -- see on_device.h. */
#include "on_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t binding_bytes(const gd_binding *b) { return (size_t)gd_shape_count(b->shape) * gd_dtype_bytes(b->dtype); }

/* Floats or bytes. */
static void fill(const gd_binding *b, void *to) {
    int64_t n = gd_shape_count(b->shape);
    double *v = malloc(((size_t)n + 1) * sizeof *v);
    if (!v) ops_die("no memory");
    steps_draw(b, v);
    for (int64_t i = 0; i < n; i++) {
        if (b->dtype == GD_U8) ((uint8_t *)to)[i] = (uint8_t)v[i];
        else ((float *)to)[i] = (float)v[i];
    }
    free(v);
}

static void upload(prog *x, int b) {
    size_t bytes = binding_bytes(&x->list[b]);
    ops_need(x->device->host(x->device, x->pinned, bytes, true), "host");
    fill(&x->list[b], x->pinned);
    ops_need(x->device->copy(x->device, gd__cu_stream(), x->at[b], x->pinned, bytes), "copy");
    ops_need(gd__cu_finish(), "finish");
}

void *download(prog *x, int b) {
    size_t bytes = binding_bytes(&x->list[b]);
    void *v = malloc(bytes + 1);
    if (!v) ops_die("no memory");
    ops_need(x->device->copy(x->device, gd__cu_stream(), x->pinned, x->at[b], bytes), x->list[b].name);
    ops_need(gd__cu_finish(), "finish");
    ops_need(x->device->host(x->device, x->pinned, bytes, false), "host");
    return memcpy(v, x->pinned, bytes);
}

prog open_prog(gd__cu_device *d, const gd_executor *executor, const gd_step_graph *s, gd_precision precision) {
    prog x = {.device = d};
    size_t most = 0;
    const gd_program_opts o = {.precision = precision};
    ops_need(gd_program_make(s->graph, executor, s->n_outputs, s->outputs, &o, &x.p), "program");
    ops_need(gd_instance_make(x.p, &x.i), "instance");
    x.n = gd_program_bindings(x.p, &x.list);
    if (x.n > ON_DEVICE_BINDINGS) ops_die("too many bindings");
    for (int b = 0; b < x.n; b++) {
        size_t bytes = binding_bytes(&x.list[b]);
        if (bytes > most) most = bytes;
        ops_need(d->alloc(d, bytes, &x.at[b]), "alloc");
        ops_need(gd_instance_bind(x.i, x.list[b].name, x.at[b]), x.list[b].name);
    }
    ops_need(d->alloc_host(d, most, &x.pinned), "pinned");
    return x;
}

void close_prog(prog *x) {
    ops_need(gd__cu_finish(), "finish");
    gd_instance_free(x->i);
    for (int b = 0; b < x->n; b++) ops_need(x->device->free(x->device, x->at[b]), "free");
    ops_need(x->device->free(x->device, x->pinned), "free");
    gd_program_free(x->p);
}

void set_inputs(prog *x) {
    for (int b = 0; b < x->n; b++)
        if (x->list[b].is_input || x->list[b].is_param) upload(x, b);
}

void replay(gd__cu_replay *r, const gd_run_args *a) {
    gd_pause p;
    ops_need(gd__cu_replay_start(r, a, &p), "replay");
    while (p.kind != GD_PAUSE_DONE) ops_need(gd__cu_replay_resume(r, &p), "replay");
}

double worst_distance(prog *x, const steps_ref *ref, double base, char where[96]) {
    double worst = 0;
    for (int b = 0; b < x->n; b++) {
        int64_t n = gd_shape_count(x->list[b].shape);
        if (!x->list[b].is_output) continue;
        float *have = download(x, b);
        double *wide = malloc(((size_t)n + 1) * sizeof *wide);
        if (!wide) ops_die("no memory");
        for (int64_t i = 0; i < n; i++) wide[i] = (double)have[i];
        double e = steps_distance(ref, x->list[b].name, wide, base);
        if (!(e <= worst)) worst = e, snprintf(where, 96, "%s", x->list[b].name);
        free(wide);
        free(have);
    }
    return worst;
}
