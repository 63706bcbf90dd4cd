/* compute/schedule.c -- the order of the steps.
 *
 * Of the steps whose inputs are there, the one that the graph was written for first runs next, phase
 * by phase. Graphs are written forward, then backward in reverse, which frees memory early. */
#include "compute/plan.h"

typedef struct edge {
    int to, next; /* next edge of the same producer, -1: none */
} edge;

typedef struct sorter {
    const gd__fusion *f;
    edge *edge;
    int n_edges;
    int *first; /* per cluster: its first edge                         */
    int *needs; /* per cluster: edges from clusters that have not run  */
    int *heap, n_ready; /* clusters that may run now; none is before its parent */
} sorter;

static void add_edges(sorter *s, int c) {
    const gd__cluster *k = &s->f->cluster[c];
    for (int m = 0; m < k->n_members; m++) {
        const gd_node_info *i = gd_graph_at(s->f->graph, k->member[m]);
        for (int j = 0; j < gd_op_arity(i->op); j++) {
            int p = s->f->producer[s->f->base[i->in[j]]];
            if (p < 0 || p == c) continue;
            s->edge[s->n_edges] = (edge){c, s->first[p]};
            s->first[p] = s->n_edges++;
            s->needs[c]++;
        }
    }
}

static bool before(const gd__cluster *a, const gd__cluster *b) {
    return a->phase != b->phase ? a->phase < b->phase : a->key < b->key;
}

static bool earlier(const sorter *s, int i, int j) {
    return before(&s->f->cluster[s->heap[i]], &s->f->cluster[s->heap[j]]);
}

static void swap(sorter *s, int i, int j) {
    int c = s->heap[i];
    s->heap[i] = s->heap[j];
    s->heap[j] = c;
}

static void push(sorter *s, int c) {
    int at = s->n_ready++;
    s->heap[at] = c;
    for (; at > 0 && earlier(s, at, (at - 1) / 2); at = (at - 1) / 2) swap(s, at, (at - 1) / 2);
}

static int pop(sorter *s) {
    int first = s->heap[0], at = 0;
    s->heap[0] = s->heap[--s->n_ready];
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < s->n_ready && earlier(s, child + 1, child)) child++;
        if (child >= s->n_ready || !earlier(s, child, at)) return first;
        swap(s, at, child);
        at = child;
    }
}

static gd_status prepare(sorter *s) {
    size_t n = (size_t)s->f->n_clusters + 1, edges = 1;
    for (int c = 0; c < s->f->n_clusters; c++) edges += 2 * (size_t)s->f->cluster[c].n_members;
    s->edge = gd_arena_alloc(s->f->arena, edges * sizeof *s->edge);
    s->first = gd_arena_alloc(s->f->arena, n * sizeof *s->first);
    s->needs = gd_arena_alloc(s->f->arena, n * sizeof *s->needs);
    s->heap = gd_arena_alloc(s->f->arena, n * sizeof *s->heap);
    if (!s->edge || !s->first || !s->needs || !s->heap) GD_FAIL(NOMEM, "plan: no memory for %zu steps", n);
    for (int c = 0; c < s->f->n_clusters; c++) s->first[c] = -1;
    for (int c = 0; c < s->f->n_clusters; c++) add_edges(s, c);
    for (int c = 0; c < s->f->n_clusters; c++)
        if (!s->needs[c]) push(s, c);
    return GD_OK;
}

gd_status gd__schedule(const gd__fusion *f, int **order) {
    sorter s = {.f = f};
    GD_TRY(prepare(&s));
    int *list = gd_arena_alloc(f->arena, ((size_t)f->n_clusters + 1) * sizeof *list);
    if (!list) GD_FAIL(NOMEM, "plan: no memory for %d steps", f->n_clusters);
    for (int i = 0; i < f->n_clusters; i++) {
        if (!s.n_ready) GD_FAIL(INTERNAL, "plan: groups of the program need each other after %d of %d steps", i, f->n_clusters);
        int c = list[i] = pop(&s);
        for (int e = s.first[c]; e >= 0; e = s.edge[e].next)
            if (--s.needs[s.edge[e].to] == 0) push(&s, s.edge[e].to);
    }
    *order = list;
    return GD_OK;
}
