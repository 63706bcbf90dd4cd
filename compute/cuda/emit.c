/* compute/cuda/emit.c -- see emit.h. */
#include "compute/cuda/emit.h"

#include <stdio.h>
#include <string.h>

static bool groupable(gd_op op) {
    gd_op_class c = gd_op_class_of(op);
    return c == GD_CLASS_EW || c == GD_CLASS_RED || op == GD_OP_BROADCAST;
}

bool gd__cu_supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    const gd_node_info *i = gd_graph_at(g, n);
    bool adds = i->op == GD_OP_FOLD_REFLECT || i->op == GD_OP_SUMPOOL, fits;
    switch (gd_op_class_of(i->op)) {
    case GD_CLASS_HIGH:
        snprintf(why, room, "%s is for the pass `lower`; it should be gone by now", gd_op_text(i->op));
        return false;
    case GD_CLASS_HEAVY: snprintf(why, room, "%s is none of the generated kernels", gd_op_text(i->op)); return false;
    case GD_CLASS_RED:
    case GD_CLASS_COMM: fits = i->dtype == GD_F32; break;
    default: fits = (!groupable(i->op) && !adds) || i->dtype == GD_F32 || i->dtype == GD_BF16;
    }
    if (!fits) snprintf(why, room, "%s to %s; expected f32 or bf16", gd_op_text(i->op), gd_dtype_text(i->dtype));
    return fits;
}

gd_status gd__cu_launch_add(gd__cu_emitter *e, gd__cu_text *body, int64_t blocks, int n_args, const gd__cu_arg *arg) {
    gd_status st = GD_OK;
    gd__cu_step *s = e->out;
    int kernel;
    if (blocks > INT32_MAX)
        GD_FAIL_TO(done, UNSUP, "cuda: a kernel of %lld blocks; expected at most 2^31 - 1", (long long)blocks);
    GD_TRY_TO(done, gd__cu_kernels_add(e->kernels, n_args, body, &kernel));
    if (s->n_launches == e->room) {
        int room = e->room ? 2 * e->room : 2;
        gd__cu_launch *more = gd_arena_alloc(e->arena, (size_t)room * sizeof *more);
        if (!more) GD_FAIL_TO(done, NOMEM, "cuda: no memory for %d launches", room);
        if (s->n_launches) memcpy(more, s->launch, (size_t)s->n_launches * sizeof *more);
        s->launch = more;
        e->room = room;
    }
    gd__cu_launch *l = &s->launch[s->n_launches];
    *l = (gd__cu_launch){.kernel = kernel, .grid = (uint32_t)blocks, .n_args = n_args};
    l->arg = gd_arena_alloc(e->arena, (size_t)n_args * sizeof *arg);
    if (!l->arg) GD_FAIL_TO(done, NOMEM, "cuda: no memory for a launch");
    memcpy(l->arg, arg, (size_t)n_args * sizeof *arg);
    s->n_launches++;
done:
    gd__cu_text_free(body);
    return st;
}

/* ---- constants and random numbers ---- */

static gd_status emit_const(gd__cu_emitter *e, gd_node node, const gd_node_info *n) {
    gd__cu_text t = {0};
    int64_t count = gd_shape_count(n->shape);
    float f = (float)n->attr.value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    gd__cu_print(&t,
                 "  float *const q0 = ARG(float, 0);\n  PHASE {\n    const u64 i = (u64)BX * GD_THREADS + TX;\n"
                 "    if (i < %lldu) q0[i] = gd__float_of(0x%08xu);\n  }\n",
                 (long long)count, bits);
    snprintf(e->out->text, sizeof e->out->text, "fill");
    const gd__cu_arg arg = {.kind = GD__CU_NODE, .node = node, .written = true};
    return gd__cu_launch_add(e, &t, gd__cu_divide_up(count, GD__CU_THREADS), 1, &arg);
}

/* A thread makes one block of four draws. The key is a function of seed and purpose, made anew by each. */
static gd_status emit_random(gd__cu_emitter *e, gd_node node, const gd_node_info *n) {
    gd__cu_text t = {0};
    int64_t samples = n->shape.dim[0], draws = gd_shape_count(n->shape) / samples;
    int64_t blocks = gd__cu_divide_up(draws, 4);
    bool normal = n->attr.kind == GD_RANDOM_NORMAL;
    gd__cu_print(
        &t, "  const gd_kernel_run *const run = ARG(const gd_kernel_run, 0);\n  float *const q0 = ARG(float, 1);\n");
    gd__cu_print(&t, "  PHASE {\n    const u64 i = (u64)BX * GD_THREADS + TX;\n    if (i < %lldu) {\n",
                 (long long)(samples * blocks));
    gd__cu_print(
        &t, "    const u64 n = i / %lldu;\n    const u32 block = (u32)(i %% %lldu);\n    u32 w[4];\n    float z[4];\n",
        (long long)blocks, (long long)blocks);
    gd__cu_print(&t, "    gd__rng_words(gd__rng_key(run->seed, 0x%xu), run->step, run->sample + n, block, w);\n",
                 n->attr.purpose);
    if (normal)
        gd__cu_print(
            &t, "    gd__normal_pair(w[0], w[1], &z[0], &z[1]);\n    gd__normal_pair(w[2], w[3], &z[2], &z[3]);\n");
    else gd__cu_print(&t, "    for (u32 j = 0; j < 4; j++) z[j] = gd__uniform(w[j]);\n");
    gd__cu_print(&t,
                 "    UNROLL\n    for (u32 j = 0; j < 4; j++)\n      if (block * 4 + j < %lldu) q0[n * %lldu + block * "
                 "4 + j] = z[j];\n    }\n  }\n",
                 (long long)draws, (long long)draws);
    snprintf(e->out->text, sizeof e->out->text, "philox");
    const gd__cu_arg arg[2] = {{.kind = GD__CU_RUN, .node = GD_NONE},
                               {.kind = GD__CU_NODE, .node = node, .written = true}};
    return gd__cu_launch_add(e, &t, gd__cu_divide_up(samples * blocks, GD__CU_THREADS), 2, arg);
}

/* ---- choice ---- */

gd_status gd__cu_emit(const gd_view *v, int s, gd_arena *a, gd__cu_kernels *kernels, gd__cu_step *out) {
    gd__cu_emitter e = {.v = v, .arena = a, .kernels = kernels, .out = out};
    const gd_node *nodes = v->step_nodes + v->steps[s].first_node;
    const gd_node_info *n = gd_graph_at(v->graph, nodes[0]);
    gd_status st;
    *out = (gd__cu_step){0};
    if (v->steps[s].fused || groupable(n->op)) st = gd__cu_emit_group(&e, v->steps[s].n_nodes, nodes);
    else if (n->op == GD_OP_CONST) st = emit_const(&e, nodes[0], n);
    else if (n->op == GD_OP_RANDOM) st = emit_random(&e, nodes[0], n);
    else st = gd__cu_emit_move(&e, nodes[0]);
    if (st == GD_OK) return GD_OK;
    gd_context(st, "%s", n->name);
    return gd_trace(st, __FILE__, __LINE__);
}
