/* compute/cuda/group.c -- kernels of a fused group. See group.h. */
#include <stdio.h>
#include <string.h>

#include "compute/cuda/group.h"

/* ---- parts ---- */

static bool is_sum(const gd__cu_part *p, int m) { return gd_graph_at(p->v->graph, p->nodes[m])->op == GD_OP_SUM; }

static int member_at(const gd__cu_part *p, gd_node node) {
    for (int m = 0; m < p->n; m++)
        if (p->nodes[m] == node) return m;
    return -1;
}

/* Marks what the sums and outputs of p need, from the last member to the first. */
static void mark_needed(gd__cu_part *p) {
    const gd_graph *g = p->v->graph;
    for (int i = 0; i < p->n_sums; i++) p->needed[member_at(p, p->sum[i])] = true;
    for (int i = 0; i < p->n_outputs; i++) p->needed[member_at(p, p->output[i])] = true;
    for (int m = p->n - 1; m >= 0; m--) {
        const gd_node_info *n = gd_graph_at(g, p->nodes[m]);
        for (int k = 0; p->needed[m] && k < gd_op_arity(n->op); k++) {
            int at = member_at(p, n->in[k]);
            if (at >= 0) p->needed[at] = true;
        }
    }
}

static void add_input(gd__cu_part *p, gd_node node) {
    const gd_node_info *n = gd_graph_at(p->v->graph, node);
    if (member_at(p, node) >= 0 || n->op == GD_OP_CONST) return;
    for (int i = 0; i < p->n_inputs; i++)
        if (p->input[i].node == node) return;
    p->input[p->n_inputs++] = (gd__cu_input){.node = node, .dtype = n->dtype};
}

static void list_inputs(gd__cu_part *p) {
    for (int m = 0; m < p->n; m++) {
        const gd_node_info *n = gd_graph_at(p->v->graph, p->nodes[m]);
        for (int k = 0; p->needed[m] && k < gd_op_arity(n->op); k++) add_input(p, n->in[k]);
    }
}

/* The part of sums over `axes` (0: none), with the group's other results when it is the last. */
static gd_status make_part(gd__cu_emitter *e, int n, const gd_node *nodes, uint32_t axes, bool last, gd__cu_part *p) {
    size_t room = (size_t)n;
    *p = (gd__cu_part){.v = e->v, .n = n, .nodes = nodes};
    p->needed = gd_arena_alloc(e->arena, room * sizeof *p->needed);
    p->input = gd_arena_alloc(e->arena, 2 * room * sizeof *p->input);
    p->sum = gd_arena_alloc(e->arena, room * sizeof *p->sum);
    p->output = gd_arena_alloc(e->arena, room * sizeof *p->output);
    if (!p->needed || !p->input || !p->sum || !p->output) GD_FAIL(NOMEM, "cuda: no memory for a group of %d nodes", n);
    for (int m = 0; m < n; m++) {
        if (is_sum(p, m)) {
            if (gd_graph_at(e->v->graph, nodes[m])->attr.axes == axes) p->sum[p->n_sums++] = nodes[m];
        } else if (last && e->v->stored[nodes[m]]) p->output[p->n_outputs++] = nodes[m];
    }
    mark_needed(p);
    list_inputs(p);
    const gd_node_info *first = gd_graph_at(e->v->graph, nodes[0]);
    gd_shape shape = first->op == GD_OP_SUM ? gd_node_shape(e->v->graph, first->in[0]) : first->shape;
    gd__cu_layout(e->v->graph, shape, axes, p);
    return GD_OK;
}

/* ---- launches of a part ---- */

/* Of one sum's chunks. */
static size_t partial_bytes(const gd__cu_part *p) {
    return (size_t)(p->space.chunks * p->space.kept * p->space.width) * sizeof(float);
}

static int list_args(const gd__cu_part *p, size_t scratch, gd__cu_arg *arg) {
    int n = 0;
    for (int i = 0; i < p->n_inputs; i++) arg[n++] = (gd__cu_arg){.kind = GD__CU_NODE, .node = p->input[i].node};
    for (int i = 0; i < p->n_outputs; i++)
        arg[n++] = (gd__cu_arg){.kind = GD__CU_NODE, .node = p->output[i], .written = true};
    for (int i = 0; i < p->n_sums; i++) {
        arg[n] = (gd__cu_arg){.kind = GD__CU_NODE, .node = p->sum[i], .written = true};
        if (p->space.chunks > 1)
            arg[n] = (gd__cu_arg){.kind = GD__CU_SCRATCH,
                                  .node = GD_NONE,
                                  .offset = (size_t)i * scratch,
                                  .bytes = partial_bytes(p),
                                  .written = true};
        n++;
    }
    return n;
}

static gd_status launch(gd__cu_emitter *e, gd__cu_text *t, const gd__cu_part *p, int64_t blocks, size_t scratch) {
    int n = p->n_inputs + p->n_outputs + p->n_sums;
    gd__cu_arg *arg = gd_arena_alloc(e->arena, (size_t)n * sizeof *arg);
    if (!arg) {
        gd__cu_text_free(t);
        GD_FAIL(NOMEM, "cuda: no memory for a launch");
    }
    list_args(p, scratch, arg);
    return gd__cu_launch_add(e, t, blocks, n, arg);
}

/* ---- maps ---- */

static gd_status emit_map(gd__cu_emitter *e, const gd__cu_part *p) {
    gd__cu_text t = {0};
    const gd__cu_space *s = &p->space;
    gd__cu_print_pointers(&t, p);
    gd__cu_print(&t, "  PHASE {\n    const %s k = (%s)BX * GD_THREADS + TX;\n    if (k < %lldu) {\n", gd__cu_index(s),
                 gd__cu_index(s), (long long)s->kept);
    gd__cu_print_places(&t, s, true, "k");
    gd__cu_print_body(&t, p);
    gd__cu_print(&t, "    }\n  }\n");
    return launch(e, &t, p, gd__cu_divide_up(s->kept, GD__CU_THREADS), 0);
}

/* ---- sums ----
 * A thread adds its places of r in order, a block its lanes by halves, the second kernel the chunks likewise. */

static void print_thread_sums(gd__cu_text *t, const gd__cu_space *s, int n_sums) {
    const char *ix = gd__cu_index(s), *of = s->lanes_together ? "/" : "%";
    int64_t each = gd__cu_divide_up(s->summed, s->chunks);
    gd__cu_print(t, "    const %s k = (%s)(BX / %lldu) * %du + TX %s %du;\n", ix, ix, (long long)s->chunks, s->columns,
                 of, s->lanes_together ? s->lanes : s->columns);
    gd__cu_print(t, "    const u32 lane = TX %s %du;\n", s->lanes_together ? "%" : "/",
                 s->lanes_together ? s->lanes : s->columns);
    gd__cu_print(t, "    const %s first = (%s)(BX %% %lldu) * %lldu;\n", ix, ix, (long long)s->chunks, (long long)each);
    gd__cu_print(t, "    const %s last = first + %lldu < %lldu ? first + %lldu : %lldu;\n", ix, (long long)each,
                 (long long)s->summed, (long long)each, (long long)s->summed);
    for (int i = 0; i < n_sums; i++) gd__cu_print(t, "    float a%d[%d] = {0};\n", i, s->width);
    gd__cu_print(t, "    if (k < %lldu) {\n", (long long)s->kept);
}

static void print_loop(gd__cu_text *t, const gd__cu_space *s) {
    gd__cu_print(t, "    for (%s r = first + lane; r < last; r += %du) {\n", gd__cu_index(s), s->lanes);
}

/* Results of places k, from a thread's registers or from shared memory. */
static void print_results(gd__cu_text *t, const gd__cu_space *s, int n_sums, bool shared) {
    const char *ix = gd__cu_index(s);
    gd__cu_print(t, "    for (u32 j = 0; j < %du; j++) {\n", s->width);
    gd__cu_print(t, "    const %s o = (%s)(BX %% %lldu) * %lldu + k * %du + j;\n", ix, ix, (long long)s->chunks,
                 (long long)(s->kept * s->width), s->width);
    for (int i = 0; i < n_sums; i++) {
        if (shared) gd__cu_print(t, "    z%d[o] = s%d[TX * %du + j];\n", i, i, s->width);
        else gd__cu_print(t, "    z%d[o] = a%d[j];\n", i, i);
    }
    gd__cu_print(t, "    }\n");
}

static void print_tree(gd__cu_text *t, const gd__cu_space *s, int n_sums) {
    int step = s->lanes_together ? 1 : s->columns;
    for (int half = s->lanes / 2; half; half /= 2) {
        gd__cu_print(t, "  PHASE {\n    if (TX %s %du < %du)\n      for (u32 j = 0; j < %du; j++) {\n",
                     s->lanes_together ? "%" : "/", s->lanes_together ? s->lanes : s->columns, half, s->width);
        for (int i = 0; i < n_sums; i++)
            gd__cu_print(t, "        s%d[TX * %du + j] += s%d[(TX + %du) * %du + j];\n", i, s->width, i, half * step,
                         s->width);
        gd__cu_print(t, "      }\n  } SYNC\n");
    }
}

static void print_end(gd__cu_text *t, const gd__cu_space *s, int n_sums) {
    if (s->lanes == 1) {
        print_results(t, s, n_sums, false);
        gd__cu_print(t, "    }\n  }\n");
        return;
    }
    gd__cu_print(t, "    }\n    for (u32 j = 0; j < %du; j++) {\n", s->width);
    for (int i = 0; i < n_sums; i++) gd__cu_print(t, "    s%d[TX * %du + j] = a%d[j];\n", i, s->width, i);
    gd__cu_print(t, "    }\n  } SYNC\n");
    print_tree(t, s, n_sums);
    gd__cu_print(t, "  PHASE {\n    const %s k = (%s)(BX / %lldu) * %du + TX %s %du;\n", gd__cu_index(s),
                 gd__cu_index(s), (long long)s->chunks, s->columns, s->lanes_together ? "/" : "%",
                 s->lanes_together ? s->lanes : s->columns);
    gd__cu_print(t, "    if (k < %lldu && TX %s %du == 0) {\n", (long long)s->kept, s->lanes_together ? "%" : "/",
                 s->lanes_together ? s->lanes : s->columns);
    print_results(t, s, n_sums, true);
    gd__cu_print(t, "    }\n  }\n");
}

static void print_shared(gd__cu_text *t, const gd__cu_space *s, int n_sums) {
    for (int i = 0; i < n_sums && s->lanes > 1; i++)
        gd__cu_print(t, "  SHARED(float, s%d, %d)\n", i, GD__CU_THREADS * s->width);
}

/* Adds the chunks, which lie one behind the other in scratch. */
static gd_status emit_finish(gd__cu_emitter *e, const gd__cu_part *p, size_t scratch) {
    int64_t places = p->space.kept * p->space.width;
    gd__cu_space s = {
        .dim = {1, 1, p->space.chunks, places}, .keep = {true, true, false, true}, .vector = 1, .width = 1};
    gd__cu_text t = {0};
    int n = 2 * p->n_sums;
    gd__cu_arg *arg = gd_arena_alloc(e->arena, (size_t)n * sizeof *arg);
    if (!arg) GD_FAIL(NOMEM, "cuda: no memory for a launch");
    s.kept = places;
    s.summed = p->space.chunks;
    s.wide = places * p->space.chunks >= INT32_MAX;
    gd__cu_tile(&s, true);
    s.chunks = 1;
    for (int i = 0; i < p->n_sums; i++) {
        gd__cu_print(&t, "  const float *const p%d = ARG(const float, %d);\n  float *const z%d = ARG(float, %d);\n", i,
                     i, i, p->n_sums + i);
        arg[i] = (gd__cu_arg){
            .kind = GD__CU_SCRATCH, .node = GD_NONE, .offset = (size_t)i * scratch, .bytes = partial_bytes(p)};
        arg[p->n_sums + i] = (gd__cu_arg){.kind = GD__CU_NODE, .node = p->sum[i], .written = true};
    }
    print_shared(&t, &s, p->n_sums);
    gd__cu_print(&t, "  PHASE {\n");
    print_thread_sums(&t, &s, p->n_sums);
    print_loop(&t, &s);
    for (int i = 0; i < p->n_sums; i++)
        gd__cu_print(&t, "    a%d[0] += p%d[r * %lldu + k];\n", i, i, (long long)places);
    gd__cu_print(&t, "    }\n");
    print_end(&t, &s, p->n_sums);
    return gd__cu_launch_add(e, &t, gd__cu_divide_up(s.kept, s.columns), n, arg);
}

static gd_status emit_sums(gd__cu_emitter *e, const gd__cu_part *p) {
    gd__cu_text t = {0};
    const gd__cu_space *s = &p->space;
    size_t scratch = (partial_bytes(p) + 255) / 256 * 256;
    gd__cu_print_pointers(&t, p);
    print_shared(&t, s, p->n_sums);
    gd__cu_print(&t, "  PHASE {\n");
    print_thread_sums(&t, s, p->n_sums);
    gd__cu_print_places(&t, s, true, "k");
    print_loop(&t, s);
    gd__cu_print_places(&t, s, false, "r");
    gd__cu_print_body(&t, p);
    gd__cu_print(&t, "    }\n");
    print_end(&t, s, p->n_sums);
    GD_TRY(launch(e, &t, p, gd__cu_divide_up(s->kept, s->columns) * s->chunks, scratch));
    if (s->chunks == 1) return GD_OK;
    if (e->out->scratch_bytes < (size_t)p->n_sums * scratch) e->out->scratch_bytes = (size_t)p->n_sums * scratch;
    return emit_finish(e, p, scratch);
}

/* ---- the group ---- */

/* Sets of axes of the group's sums, each once; returns how many. */
static int list_axes(const gd_graph *g, int n, const gd_node *nodes, uint32_t axes[16]) {
    int count = 0;
    for (int m = 0; m < n; m++) {
        const gd_node_info *i = gd_graph_at(g, nodes[m]);
        if (i->op != GD_OP_SUM) continue;
        int k = 0;
        while (k < count && axes[k] != i->attr.axes) k++;
        if (k == count) axes[count++] = i->attr.axes; /* four dimensions: never more than 15 */
    }
    return count;
}

gd_status gd__cu_emit_group(gd__cu_emitter *e, int n, const gd_node *nodes) {
    uint32_t axes[16] = {0};
    int parts = list_axes(e->v->graph, n, nodes, axes), sums = 0;
    if (parts == 0) parts = 1;
    for (int i = 0; i < parts; i++) {
        gd__cu_part p;
        GD_TRY(make_part(e, n, nodes, axes[i], i == parts - 1, &p));
        GD_TRY(p.n_sums ? emit_sums(e, &p) : emit_map(e, &p));
        sums += p.n_sums;
    }
    snprintf(e->out->text, sizeof e->out->text, "group: %d nodes, %d sums, %d kernels", n, sums, e->out->n_launches);
    return GD_OK;
}
