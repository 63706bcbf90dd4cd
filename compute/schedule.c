/* compute/schedule.c -- the order of the steps.
 *
 * A step may run when its inputs are there and all steps of earlier phases have run. Two orders are
 * tried: the one in which the graph was written (forward, then backward in reverse), and one that of
 * the next few steps in that order always takes the one that leaves the least memory in use. The order
 * with the lower peak is taken; the written one when they are equal.
 *
 * Lean orders put weight gradients off, whose inputs are there anyway: where outputs are wanted early, the written order
 * is taken, with what makes outputs at the first opportunity. Where parameters may come late, both orders begin with the steps that can do without them. */
#include <string.h>

#include "compute/plan.h"

enum { LOOK_AHEAD = 32 };

typedef struct edge {
    int to, next; /* next edge of the same producer, -1: none */
} edge;

typedef struct sorter {
    const gd__fusion *f;
    bool lean;        /* take what leaves the least memory in use */
    bool eager;       /* take what makes outputs as soon as it may run */
    const char *late; /* per cluster: 1 when it waits for late parameters; NULL: none does */
    edge *edge;
    int n_edges;
    int *first;          /* per cluster: its first edge                                 */
    int *needs;          /* per cluster: edges from clusters that have not run          */
    int *readers;        /* per node (base): members of clusters to run that read it    */
    int *ready, n_ready; /* clusters that may run now, in written order                 */
    int64_t live, peak;  /* bytes of values in use                                      */
} sorter;

static int64_t bytes_of(const gd__fusion *f, gd_node n) {
    const gd_node_info *i = gd_graph_at(f->graph, n);
    return f->output[n] ? 0 : gd_shape_count(i->shape) * (int64_t)gd_dtype_bytes(i->dtype); /* memory of the caller */
}

/* Calls see(ctx, node) for what members of c read from other clusters, once a member and input. */
typedef void (*visitor)(sorter *s, int c, gd_node base);
static void visit_inputs(sorter *s, int c, visitor see) {
    const gd__cluster *k = &s->f->cluster[c];
    for (int m = 0; m < k->n_members; m++) {
        const gd_node_info *i = gd_graph_at(s->f->graph, k->member[m]);
        for (int j = 0; j < gd_op_arity(i->op); j++) {
            gd_node base = s->f->base[i->in[j]];
            if (s->f->producer[base] >= 0 && s->f->producer[base] != c) see(s, c, base);
        }
    }
}

static void add_edge(sorter *s, int c, gd_node base) {
    int p = s->f->producer[base];
    s->edge[s->n_edges] = (edge){c, s->first[p]};
    s->first[p] = s->n_edges++;
    s->needs[c]++;
    s->readers[base]++;
}

/* ---- memory in use ---- */

static void stop_reading(sorter *s, int c, gd_node base) {
    (void)c;
    if (--s->readers[base] == 0) s->live -= bytes_of(s->f, base);
}

static void read_again(sorter *s, int c, gd_node base) {
    (void)c;
    if (s->readers[base]++ == 0) s->live += bytes_of(s->f, base);
}

static int64_t results_of(const sorter *s, int c, bool read_only) {
    const gd__cluster *k = &s->f->cluster[c];
    int64_t sum = 0;
    for (int r = 0; r < k->n_roots; r++)
        if (!read_only || s->readers[k->root[r]] > 0) sum += bytes_of(s->f, k->root[r]);
    return sum;
}

/* Bytes in use after c, were it next. */
static int64_t live_after(sorter *s, int c) {
    int64_t before = s->live;
    visit_inputs(s, c, stop_reading);
    int64_t after = s->live + results_of(s, c, true);
    visit_inputs(s, c, read_again);
    s->live = before;
    return after;
}

static void account(sorter *s, int c) {
    int64_t during = s->live + results_of(s, c, false);
    if (during > s->peak) s->peak = during;
    visit_inputs(s, c, stop_reading);
    s->live += results_of(s, c, true);
}

/* ---- what may run ---- */

/* Phases one after the other, each in two parts. */
static int part_of(const sorter *s, int c) { return 2 * s->f->cluster[c].phase + (s->late ? s->late[c] : 0); }

static bool makes_output(const sorter *s, int c) {
    const gd__cluster *k = &s->f->cluster[c];
    for (int r = 0; r < k->n_roots; r++)
        if (s->f->output[k->root[r]]) return true;
    return false;
}

static bool before(const sorter *s, int a, int b) {
    int in_a = part_of(s, a), in_b = part_of(s, b);
    if (in_a != in_b) return in_a < in_b;
    bool out_a = s->eager && makes_output(s, a), out_b = s->eager && makes_output(s, b);
    return out_a != out_b ? out_a : s->f->cluster[a].key < s->f->cluster[b].key;
}

static void push(sorter *s, int c) {
    int low = 0, high = s->n_ready;
    while (low < high) {
        int mid = (low + high) / 2;
        if (before(s, s->ready[mid], c)) low = mid + 1;
        else high = mid;
    }
    memmove(s->ready + low + 1, s->ready + low, (size_t)(s->n_ready++ - low) * sizeof *s->ready);
    s->ready[low] = c;
}

static int pop(sorter *s) {
    int best = 0, part = part_of(s, s->ready[0]);
    int64_t least = s->lean ? live_after(s, s->ready[0]) : 0;
    for (int i = 1; s->lean && i < s->n_ready && i < LOOK_AHEAD && part_of(s, s->ready[i]) == part; i++) {
        int64_t live = live_after(s, s->ready[i]);
        if (live >= least) continue;
        least = live;
        best = i;
    }
    int c = s->ready[best];
    memmove(s->ready + best, s->ready + best + 1, (size_t)(--s->n_ready - best) * sizeof *s->ready);
    return c;
}

/* ---- the two orders ---- */

static gd_status allocate(sorter *s, size_t n) {
    size_t edges = 1, nodes = (size_t)gd_graph_count(s->f->graph) + 1;
    for (int c = 0; c < s->f->n_clusters; c++) edges += 2 * (size_t)s->f->cluster[c].n_members;
    s->edge = gd_arena_alloc(s->f->arena, edges * sizeof *s->edge);
    s->first = gd_arena_alloc(s->f->arena, n * sizeof *s->first);
    s->needs = gd_arena_alloc(s->f->arena, n * sizeof *s->needs);
    s->ready = gd_arena_alloc(s->f->arena, n * sizeof *s->ready);
    s->readers = gd_arena_alloc(s->f->arena, nodes * sizeof *s->readers);
    if (!s->edge || !s->first || !s->needs || !s->ready || !s->readers)
        GD_FAIL(NOMEM, "plan: no memory for %zu steps", n);
    return GD_OK;
}

static gd_status sort(const gd__fusion *f, const char *late, bool eager, bool lean, int *list, int64_t *peak) {
    sorter s = {.f = f, .late = late, .eager = eager, .lean = lean};
    GD_TRY(allocate(&s, (size_t)f->n_clusters + 1));
    for (int c = 0; c < f->n_clusters; c++) s.first[c] = -1;
    for (int c = 0; c < f->n_clusters; c++) visit_inputs(&s, c, add_edge);
    for (int c = 0; c < f->n_clusters; c++)
        if (!s.needs[c]) push(&s, c);
    for (int i = 0; i < f->n_clusters; i++) {
        if (!s.n_ready)
            GD_FAIL(INTERNAL, "plan: groups of the program need each other after %d of %d steps", i, f->n_clusters);
        int c = list[i] = pop(&s);
        account(&s, c);
        for (int e = s.first[c]; e >= 0; e = s.edge[e].next)
            if (--s.needs[s.edge[e].to] == 0) push(&s, s.edge[e].to);
    }
    *peak = s.peak;
    return GD_OK;
}

/* Clusters of phase 0 that need a parameter of that name, themselves or through others: *late, NULL without a name. */
static gd_status find_late(const gd__fusion *f, const char *prefix, char **late) {
    size_t nodes = (size_t)gd_graph_count(f->graph) + 1, clusters = (size_t)f->n_clusters + 1;
    *late = NULL;
    if (!prefix) return GD_OK;
    char *waits = gd_arena_alloc(f->arena, nodes);
    *late = gd_arena_alloc(f->arena, clusters);
    if (!waits || !*late) GD_FAIL(NOMEM, "plan: no memory for %zu nodes", nodes);
    memset(*late, 0, clusters);
    for (gd_node n = 0; n < gd_graph_count(f->graph); n++) { /* inputs come before what reads them */
        const gd_node_info *i = gd_graph_at(f->graph, n);
        waits[n] = i->op == GD_OP_PARAM && !strncmp(i->name, prefix, strlen(prefix));
        for (int k = 0; k < gd_op_arity(i->op); k++) waits[n] |= waits[i->in[k]];
    }
    for (int c = 0; c < f->n_clusters; c++)
        for (int m = 0; f->cluster[c].phase == 0 && m < f->cluster[c].n_members; m++)
            (*late)[c] |= waits[f->cluster[c].member[m]];
    return GD_OK;
}

gd_status gd__schedule(const gd__fusion *f, const char *prefix, bool eager, int **order) {
    size_t bytes = ((size_t)f->n_clusters + 1) * sizeof **order;
    int *written = gd_arena_alloc(f->arena, bytes), *lean = gd_arena_alloc(f->arena, bytes);
    int64_t written_peak, lean_peak;
    char *late;
    if (!written || !lean) GD_FAIL(NOMEM, "plan: no memory for %d steps", f->n_clusters);
    GD_TRY(find_late(f, prefix, &late));
    GD_TRY(sort(f, late, eager, false, written, &written_peak));
    *order = written;
    if (eager) return GD_OK;
    GD_TRY(sort(f, late, false, true, lean, &lean_peak));
    if (lean_peak < written_peak) *order = lean;
    return GD_OK;
}
