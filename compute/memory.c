/* compute/memory.c -- life times and fixed offsets.
 *
 * Every stored value is bound memory of the caller, a view of another value, or a buffer: bytes that
 * are somebody's from one step to another. A group writes over a dying input of equal size, an
 * all-reduce sums where its input lies. Buffers get the lowest offset that is free for their life time,
 * large ones first. */
#include <stdlib.h>
#include <string.h>

#include "compute/plan.h"

enum { BAND = 64 }; /* guard bytes before and behind a buffer */

gd_node gd__base(const gd_program *p, gd_node n) {
    while (p->value[n].where == GD__ALIAS) n = p->value[n].index;
    return n;
}

size_t gd__node_bytes(const gd_program *p, gd_node n) {
    const gd_node_info *i = gd_graph_at(p->ir.graph, n);
    return (size_t)gd_shape_count(i->shape) * p->executor->element_bytes(i->dtype);
}

/* ---- who reads what, when ---- */

typedef struct lives {
    int *first, *last; /* per node (base): step that writes, last step that reads */
    int *mark, now;    /* per node: the last walk that came by                    */
} lives;

static void see_step(gd_program *p, int s, lives *l) {
    const gd_exec_step *step = &p->step[s];
    for (int m = 0; m < step->n_nodes; m++) {
        gd_node n = p->step_node[step->first_node + m];
        const gd_node_info *i = gd_graph_at(p->ir.graph, n);
        if (p->stored[n]) l->first[n] = l->last[n] = s;
        for (int k = 0; k < gd_op_arity(i->op); k++) {
            gd_node b = gd__base(p, i->in[k]);
            if (l->last[b] < s) l->last[b] = s;
        }
    }
}

/* -1: no step runs in this phase or before. */
static int last_step_of_phase(const gd_program *p, int phase) {
    int s = p->n_steps - 1;
    while (s >= 0 && p->step[s].phase > phase) s--;
    return s;
}

/* ---- outputs ---- */

static int find_binding(const gd_program *p, const char *name) {
    for (int b = 0; b < p->n_bindings; b++)
        if (!strcmp(p->binding[b].name, name)) return b;
    return -1;
}

static void copy_after(gd_program *p, int r, int s, lives *l) {
    gd_node n = p->ir.root[r], base = gd__base(p, n);
    if (l->last[base] < s) l->last[base] = s;
    p->copy[p->n_copies++] = (gd__copy){n, p->root_binding[r], s};
}

/* An output is written where it belongs when nobody reads it in a later phase: the caller may change
 * it at the pause. A second output of the same node is a copy. */
static void bind_output(gd_program *p, int r, lives *l) {
    gd_node n = p->ir.root[r], base = gd__base(p, n);
    int first = l->first[base]; /* -1: memory of the caller, there from the start */
    int phase = first < 0 ? gd_graph_at(p->ir.graph, n)->phase : p->step[first].phase;
    if (p->value[base].where == GD__NOWHERE && p->step[l->last[base]].phase == phase)
        p->value[base] = (gd__value){GD__BOUND, p->root_binding[r]};
    else copy_after(p, r, last_step_of_phase(p, phase), l);
}

/* New values of parameters are copied at the very end. They come first, since what they are copied
 * from must not be in memory that the caller may change at a pause. */
static void bind_outputs(gd_program *p, lives *l) {
    for (int r = 0; r < p->ir.n_roots; r++)
        if (p->binding[p->root_binding[r]].is_param) copy_after(p, r, p->n_steps - 1, l);
    for (int r = 0; r < p->ir.n_roots; r++)
        if (!p->binding[p->root_binding[r]].is_param) bind_output(p, r, l);
}

static int by_step(const void *a, const void *b) { return ((const gd__copy *)a)->step - ((const gd__copy *)b)->step; }

/* ---- buffers ---- */

/* Whether a member behind n needs b, itself or through virtual members, which an executor may compute
 * as late as it likes: the value in b must then outlive the writing of n. */
static bool needed_behind(const gd_program *p, const gd_exec_step *step, gd_node n, gd_node b, lives *l) {
    bool behind = false;
    l->now++;
    for (int m = 0; m < step->n_nodes; m++) {
        gd_node member = p->step_node[step->first_node + m];
        const gd_node_info *i = gd_graph_at(p->ir.graph, member);
        bool needs = false;
        for (int k = 0; k < gd_op_arity(i->op); k++) needs |= gd__base(p, i->in[k]) == b || l->mark[i->in[k]] == l->now;
        if (needs && behind) return true;
        if (needs && !p->stored[member]) l->mark[member] = l->now;
        behind |= member == n;
    }
    return false;
}

/* Whether b is copied to an output after step s. */
static bool copied_after(const gd_program *p, int s, gd_node b) {
    for (int c = 0; c < p->n_copies; c++)
        if (p->copy[c].step == s && gd__base(p, p->copy[c].node) == b) return true;
    return false;
}

/* A dying input whose memory step s may write n over; GD_NONE. */
static gd_node dying_input(const gd_program *p, int s, gd_node n, lives *l) {
    const gd_exec_step *step = &p->step[s];
    const gd_node_info *own = gd_graph_at(p->ir.graph, n);
    bool comm = gd_op_class_of(own->op) == GD_CLASS_COMM;
    if (!p->reuse || (!step->fused && !comm) || own->op == GD_OP_SUM) return GD_NONE;
    for (int m = 0; m < step->n_nodes; m++) {
        const gd_node_info *i = gd_graph_at(p->ir.graph, p->step_node[step->first_node + m]);
        for (int k = 0; k < gd_op_arity(i->op); k++) {
            gd_node b = gd__base(p, i->in[k]);
            const gd__value *v = &p->value[b];
            if (v->where != GD__ARENA || l->last[b] != s || l->first[b] >= s || b != i->in[k]) continue;
            if (!gd_shape_equal(gd_node_shape(p->ir.graph, b), own->shape)) continue;
            if (gd__node_bytes(p, b) != gd__node_bytes(p, n)) continue;
            /* The buffer may already belong to another result of this step. */
            if (p->buffer[v->index].last != s || p->buffer[v->index].first >= s) continue;
            if (needed_behind(p, step, n, b, l) || copied_after(p, s, b)) continue;
            return b;
        }
    }
    return GD_NONE;
}

static void new_buffer(gd_program *p, size_t bytes, int first, int last, gd_node n) {
    p->buffer[p->n_buffers++] = (gd__buffer){.bytes = bytes, .first = first, .last = last, .node = n};
}

static void buffer_step(gd_program *p, int s, lives *l, const size_t *scratch) {
    const gd_exec_step *step = &p->step[s];
    for (int m = 0; m < step->n_nodes; m++) {
        gd_node n = p->step_node[step->first_node + m];
        if (!p->stored[n] || p->value[n].where != GD__NOWHERE || l->first[n] != s) continue;
        gd_node over = dying_input(p, s, n, l);
        if (over != GD_NONE) {
            p->value[n] = p->value[over];
            /* first stays: the bytes are in use all along. last == s would offer them again. */
            p->buffer[p->value[n].index].last = l->last[n] > s ? l->last[n] : s + 1;
            continue;
        }
        p->value[n] = (gd__value){GD__ARENA, p->n_buffers};
        new_buffer(p, gd__node_bytes(p, n), s, l->last[n], n);
    }
    p->scratch[s] = scratch[s] ? p->n_buffers : -1;
    if (scratch[s]) new_buffer(p, scratch[s], s, s, GD_NONE);
}

/* ---- offsets ---- */

static int larger_first(const void *a, const void *b, void *ctx) {
    const gd_program *p = ctx;
    const gd__buffer *x = &p->buffer[*(const int *)a], *y = &p->buffer[*(const int *)b];
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->first != y->first ? x->first - y->first : *(const int *)a - *(const int *)b;
}

static size_t room_of(const gd_program *p, const gd__buffer *b) {
    size_t bytes = b->bytes + (p->guard ? 2 * BAND : 0);
    return (bytes + GD__ALIGN - 1) / GD__ALIGN * GD__ALIGN;
}

static bool together(const gd__buffer *a, const gd__buffer *b) { return a->first <= b->last && b->first <= a->last; }

/* Lowest start at which b collides with none of the n placed ones, which are in order of offsets. */
static size_t lowest_start(const gd_program *p, const gd__buffer *b, const int *placed, int n) {
    size_t start = 0, need = room_of(p, b);
    for (int i = 0; i < n; i++) {
        const gd__buffer *o = &p->buffer[placed[i]];
        if (o->offset >= start + need) break;
        size_t end = o->offset + room_of(p, o);
        if (end > start && (!p->reuse || together(b, o))) start = end;
    }
    return start;
}

/* Inserts buffer b into the n placed ones, behind those of lower or equal offset. */
static void insert_placed(const gd_program *p, int *placed, int n, int b) {
    int at = n;
    while (at > 0 && p->buffer[placed[at - 1]].offset > p->buffer[b].offset) at--;
    memmove(placed + at + 1, placed + at, (size_t)(n - at) * sizeof *placed);
    placed[at] = b;
}

static void assign_offsets(gd_program *p, int *order, int *placed) {
    for (int i = 0; i < p->n_buffers; i++) order[i] = i;
    qsort_r(order, (size_t)p->n_buffers, sizeof *order, larger_first, p);
    for (int i = 0; i < p->n_buffers; i++) {
        gd__buffer *b = &p->buffer[order[i]];
        b->offset = lowest_start(p, b, placed, i);
        insert_placed(p, placed, i, order[i]);
        if (b->offset + room_of(p, b) > p->arena_bytes) p->arena_bytes = b->offset + room_of(p, b);
    }
    for (int i = 0; p->guard && i < p->n_buffers; i++) p->buffer[i].offset += BAND;
}

gd_status gd__place(gd_program *p, const gd__fusion *f, const size_t *scratch) {
    size_t nodes = (size_t)gd_graph_count(p->ir.graph) + 1;
    lives l = {.first = gd_arena_alloc(p->arena, nodes * sizeof(int)),
               .last = gd_arena_alloc(p->arena, nodes * sizeof(int)),
               .mark = gd_arena_alloc(p->arena, nodes * sizeof(int))};
    p->value = gd_arena_alloc(p->arena, nodes * sizeof *p->value);
    p->buffer = gd_arena_alloc(p->arena, (nodes + (size_t)p->n_steps) * sizeof *p->buffer);
    p->scratch = gd_arena_alloc(p->arena, ((size_t)p->n_steps + 1) * sizeof *p->scratch);
    p->copy = gd_arena_alloc(p->arena, ((size_t)p->ir.n_roots + 1) * sizeof *p->copy);
    int *order = gd_arena_alloc(p->arena, (nodes + (size_t)p->n_steps) * sizeof *order);
    int *placed = gd_arena_alloc(p->arena, (nodes + (size_t)p->n_steps) * sizeof *placed);
    if (!l.first || !l.last || !l.mark || !p->value || !p->buffer || !p->scratch || !p->copy || !order || !placed)
        GD_FAIL(NOMEM, "plan: no memory for %zu nodes", nodes);
    for (gd_node n = 0; n < gd_graph_count(p->ir.graph); n++) {
        l.first[n] = l.last[n] = -1;
        if (f->role[n] == GD__VIEW) p->value[n] = (gd__value){GD__ALIAS, f->base[n]};
        if (f->role[n] == GD__LEAF)
            p->value[n] = (gd__value){GD__BOUND, find_binding(p, gd_graph_at(p->ir.graph, n)->name)};
    }
    for (int s = 0; s < p->n_steps; s++) see_step(p, s, &l);
    bind_outputs(p, &l);
    qsort(p->copy, (size_t)p->n_copies, sizeof *p->copy, by_step);
    for (int s = 0; s < p->n_steps; s++) buffer_step(p, s, &l, scratch);
    assign_offsets(p, order, placed);
    return GD_OK;
}
