/* tests/cuda/record_conv.c -- see record_conv.h. */
#include "record_conv.h"

#include <stdlib.h>

#include "compute/build.h"
#include "compute/cpu/choice.h"
#include "compute/exec.h"

typedef struct conv {
    gd_op op;
    gd_program *program;
    gd_instance *instance;
} conv;

/* The one node of the problem. gd__add, since builders give f32 results. */
static gd_node build(const gd__dnn_conv *c, gd_graph *g) {
    gd_dtype t = c->math == GD__DNN_BF16 ? GD_BF16 : GD_F32;
    gd_shape x = gd_shape4(c->n, c->h, c->w, c->c), w = gd_shape4(c->k, c->r, c->s, c->c),
             y = gd_shape4(c->n, c->p, c->q, c->k);
    gd_attr a = {.stride = c->stride,
                 .pad = {c->pad[0], c->pad[1], c->pad[2], c->pad[3]},
                 .kind = (int32_t)(c->wide ? GD_F32 : t)};
    if (c->op == GD_OP_CONV_DX) a.shape = x;
    if (c->op == GD_OP_CONV_DW) a.shape = w;
    gd_node first = gd_input(g, "a", t, c->op == GD_OP_CONV_DX ? y : x);
    gd_node second = gd_input(g, "b", t, c->op == GD_OP_CONV_DW ? y : w);
    return gd__add(g, c->op, first, second, &a);
}

gd_status record_conv_new(const gd__dnn_conv *c, void **out) {
    gd_graph *g = NULL;
    gd_status st;
    conv *v = calloc(1, sizeof *v);
    if (!v) GD_FAIL(NOMEM, "record: no memory");
    v->op = c->op;
    gd_choice_set_mode(GD_CHOICE_DIRECT); /* as cuDNN: every product as it is */
    GD_TRY_TO(done, gd_graph_new(1, &g));
    gd_output o = {"out", build(c, g)};
    GD_TRY_TO(done, gd_graph_status(g));
    GD_TRY_TO(done, gd_program_make(g, gd_executor_cpu(), 1, &o, NULL, &v->program));
    GD_TRY_TO(done, gd_instance_make(v->program, &v->instance));
    *out = v;
done:
    gd_graph_free(g);
    if (st != GD_OK) record_conv_free(v);
    return st;
}

gd_status record_conv_run(void *opaque, void *x, void *w, void *y) {
    conv *v = opaque;
    const gd_run_args args = {0};
    GD_TRY(gd_instance_bind(v->instance, "a", v->op == GD_OP_CONV_DX ? y : x));
    GD_TRY(gd_instance_bind(v->instance, "b", v->op == GD_OP_CONV_DW ? y : w));
    GD_TRY(gd_instance_bind(v->instance, "out", v->op == GD_OP_CONV ? y : v->op == GD_OP_CONV_DX ? x : w));
    return gd_instance_run(v->instance, &args);
}

void record_conv_free(void *opaque) {
    conv *v = opaque;
    if (!v) return;
    gd_instance_free(v->instance);
    gd_program_free(v->program);
    free(v);
}
