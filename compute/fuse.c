/* compute/fuse.c -- which nodes get memory, and which of them are computed together.
 *
 * Elementwise and broadcast nodes need no memory when only nodes over the same shape read them: they
 * are virtual, computed inside every group that needs them. Recomputing costs a few operations an
 * element; storing and reading back costs eight bytes, which is far more. So a node with several
 * users is virtual, too, as long as it is cheap and reads at most as much as it saves.
 *
 * What is stored becomes the root of a group; roots over the same shape that read the same tensors
 * are joined, unless that closes a cycle: an ancestor set per cluster tells. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "compute/build.h"
#include "compute/plan.h"

enum {
    COST_SHARED_MAX = 24,
    LEAVES_SHARED_MAX = 2, /* of a virtual node with several users */
    COST_MAX = 64,
    LEAVES_MAX = 12, /* of a virtual node                    */
    GROUP_LEAVES_MAX = 24,
    GROUP_ROOTS_MAX = 12
};

/* What a node reads in the end: stored nodes behind virtual ones. */
typedef struct leaves {
    int count, cost;
    bool volatile_;               /* a parameter that changes between phases is among them */
    gd_node node[2 * LEAVES_MAX]; /* a binary node over two virtual ones */
} leaves;

typedef struct fuser {
    gd__fusion *f;
    const gd_graph *g;
    int count;
    bool fuse;
    const int *changes;     /* per node: gd__ir.overwritten */
    bool *wanted;           /* per node: a root of the program */
    int *first_user, *user; /* users of node n: user[first_user[n] .. first_user[n + 1]] */
    leaves *leaf;           /* per node */
    uint64_t **ancestor;    /* per cluster: bit set of clusters */
    size_t words;
    int *stamp, now; /* marks of graph walks */
    gd_node *found;  /* result of a walk */
} fuser;

static gd_shape space_of(const gd_graph *g, gd_node n) {
    const gd_node_info *i = gd_graph_at(g, n);
    return i->op == GD_OP_SUM ? gd_node_shape(g, i->in[0]) : i->shape;
}

static bool fusable(gd_op op) {
    gd_op_class c = gd_op_class_of(op);
    return c == GD_CLASS_EW || c == GD_CLASS_RED || op == GD_OP_BROADCAST;
}

static int cost_of(gd_op op) {
    switch (op) {
    case GD_OP_EXP:
    case GD_OP_LOG:
    case GD_OP_TANH:
    case GD_OP_SIGMOID:
    case GD_OP_SOFTPLUS: return 16;
    case GD_OP_SQRT:
    case GD_OP_RSQRT:
    case GD_OP_RECIP:
    case GD_OP_DIV: return 4;
    case GD_OP_BROADCAST:
    case GD_OP_CONST: return 0;
    default: return 1;
    }
}

/* ---- users and phases ---- */

static void list_users(fuser *x) {
    for (gd_node n = 0; n < x->count; n++) {
        const gd_node_info *i = gd_graph_at(x->g, n);
        for (int k = 0; k < gd_op_arity(i->op); k++) x->first_user[i->in[k] + 1]++;
    }
    for (int n = 0; n < x->count; n++) x->first_user[n + 1] += x->first_user[n];
    int *at = x->stamp; /* not in use yet */
    memcpy(at, x->first_user, (size_t)x->count * sizeof *at);
    for (gd_node n = 0; n < x->count; n++) {
        const gd_node_info *i = gd_graph_at(x->g, n);
        for (int k = 0; k < gd_op_arity(i->op); k++) x->user[at[i->in[k]]++] = n;
    }
    memset(x->stamp, 0, (size_t)x->count * sizeof *x->stamp);
}

/* A node runs in the earliest phase of its users, never before its own. What reads a parameter that
 * is about to change stays where it was written. */
static void set_phases(fuser *x) {
    int *phase = x->f->phase;
    for (gd_node n = x->count - 1; n >= 0; n--) {
        const gd_node_info *i = gd_graph_at(x->g, n);
        int earliest = x->wanted[n] ? i->phase : INT32_MAX;
        for (int k = x->first_user[n]; k < x->first_user[n + 1]; k++)
            if (phase[x->user[k]] < earliest) earliest = phase[x->user[k]];
        for (int k = 0; k < gd_op_arity(i->op); k++)
            if (x->leaf[x->f->base[i->in[k]]].volatile_) earliest = i->phase;
        phase[n] = earliest > i->phase && earliest != INT32_MAX ? earliest : i->phase;
    }
}

static void set_bases(fuser *x) {
    for (gd_node n = 0; n < x->count; n++) {
        const gd_node_info *i = gd_graph_at(x->g, n);
        bool view = gd_op_class_of(i->op) == GD_CLASS_VIEW;
        x->f->base[n] = view ? x->f->base[i->in[0]] : n;
        x->leaf[n].volatile_ = x->changes[n] != INT32_MAX;
    }
}

/* ---- roles ---- */

/* Whether every user can take n inside its group, now. */
static bool users_take_inside(const fuser *x, gd_node n) {
    gd_shape s = gd_node_shape(x->g, n);
    for (int k = x->first_user[n]; k < x->first_user[n + 1]; k++) {
        gd_node u = x->user[k];
        if (!fusable(gd_graph_at(x->g, u)->op) || !gd_shape_equal(space_of(x->g, u), s)) return false;
        if (x->leaf[n].volatile_ && x->f->phase[u] > x->f->phase[n]) return false;
    }
    return true;
}

static void add_leaf(leaves *l, gd_node n) {
    for (int i = 0; i < l->count; i++)
        if (l->node[i] == n) return;
    assert(l->count < (int)(sizeof l->node / sizeof *l->node));
    l->node[l->count++] = n;
}

/* Leaves and cost of n if it were virtual. */
static void gather(fuser *x, gd_node n) {
    const gd_node_info *i = gd_graph_at(x->g, n);
    leaves *l = &x->leaf[n];
    l->cost = cost_of(i->op);
    for (int k = 0; k < gd_op_arity(i->op); k++) {
        gd_node in = i->in[k];
        const leaves *of = &x->leaf[in];
        l->volatile_ = l->volatile_ || of->volatile_ || x->leaf[x->f->base[in]].volatile_;
        if (x->f->role[in] == GD__INLINE) continue;
        if (x->f->role[in] != GD__VIRTUAL) {
            add_leaf(l, in);
            continue;
        }
        l->cost += of->cost;
        for (int j = 0; j < of->count; j++) add_leaf(l, of->node[j]);
    }
}

static int full_leaves(const fuser *x, gd_node n) {
    int64_t size = gd_shape_count(gd_node_shape(x->g, n));
    int full = 0;
    for (int i = 0; i < x->leaf[n].count; i++) full += gd_shape_count(gd_node_shape(x->g, x->leaf[n].node[i])) == size;
    return full;
}

static bool cheap(const fuser *x, gd_node n) {
    const leaves *l = &x->leaf[n];
    int uses = x->first_user[n + 1] - x->first_user[n];
    if (l->cost > COST_MAX || l->count > LEAVES_MAX) return false;
    return uses == 1 || (l->cost <= COST_SHARED_MAX && full_leaves(x, n) <= LEAVES_SHARED_MAX);
}

static bool only_groups_read(const fuser *x, gd_node n) {
    if (x->wanted[n]) return false;
    for (int k = x->first_user[n]; k < x->first_user[n + 1]; k++)
        if (!fusable(gd_graph_at(x->g, x->user[k])->op)) return false;
    return true;
}

static gd__role role_of(fuser *x, gd_node n) {
    gd_op op = gd_graph_at(x->g, n)->op;
    gd_op_class c = gd_op_class_of(op);
    if (op == GD_OP_INPUT || op == GD_OP_PARAM) return GD__LEAF;
    if (c == GD_CLASS_VIEW) return GD__VIEW;
    if (!x->fuse) return GD__SINGLE;
    if (op == GD_OP_CONST) return only_groups_read(x, n) ? GD__INLINE : GD__SINGLE;
    if (!fusable(op)) return GD__SINGLE;
    gather(x, n);
    if (op == GD_OP_SUM || x->wanted[n] || !users_take_inside(x, n)) return GD__GROUPED;
    return cheap(x, n) ? GD__VIRTUAL : GD__GROUPED;
}

static void reset_leaves(fuser *x, gd_node n) {
    if (x->f->role[n] != GD__VIRTUAL) x->leaf[n].volatile_ = x->changes[n] != INT32_MAX;
}

/* ---- clusters ---- */

static bool is_ancestor(const fuser *x, int a, int of) { return x->ancestor[of][a / 64] >> (a % 64) & 1; }

static void inherit(fuser *x, int c, int from) {
    for (size_t w = 0; w < x->words; w++) x->ancestor[c][w] |= x->ancestor[from][w];
    x->ancestor[c][from / 64] |= UINT64_C(1) << (from % 64);
}

/* Cluster that makes what is read through `n`; -1: it is there from the start. */
static int producer_of(const fuser *x, gd_node n) { return x->f->producer[x->f->base[n]]; }

static gd_status new_cluster(fuser *x, gd_node n, bool fused, int *out) {
    int c = x->f->n_clusters;
    x->ancestor[c] = gd_arena_alloc(x->f->arena, x->words * sizeof **x->ancestor);
    if (!x->ancestor[c]) GD_FAIL(NOMEM, "plan: no memory for %d steps", c);
    x->f->cluster[c] = (gd__cluster){.fused = fused, .phase = x->f->phase[n], .key = n, .space = space_of(x->g, n)};
    x->f->n_clusters++;
    *out = c;
    return GD_OK;
}

static gd_status add_root(fuser *x, int c, gd_node n) {
    gd__cluster *k = &x->f->cluster[c];
    if (k->n_roots == k->room) {
        int room = k->room ? 2 * k->room : 2;
        gd_node *more = gd_arena_alloc(x->f->arena, (size_t)room * sizeof *more);
        if (!more) GD_FAIL(NOMEM, "plan: no memory for a group of %d", room);
        if (k->n_roots) memcpy(more, k->root, (size_t)k->n_roots * sizeof *more);
        k->root = more;
        k->room = room;
    }
    k->root[k->n_roots++] = n;
    x->f->producer[n] = c;
    return GD_OK;
}

/* Whether root n, which reads l, may join cluster c. */
static bool may_join(const fuser *x, int c, gd_node n, const leaves *l) {
    const gd__cluster *k = &x->f->cluster[c];
    if (!k->fused || k->phase != x->f->phase[n] || k->n_roots >= GROUP_ROOTS_MAX) return false;
    if (!gd_shape_equal(k->space, space_of(x->g, n))) return false;
    for (int i = 0; i < l->count; i++) {
        int p = producer_of(x, l->node[i]);
        if (p < 0) continue;
        /* A sum is complete only when its group has run; a view may be read in another order. */
        if (p == c && (gd_graph_at(x->g, l->node[i])->op == GD_OP_SUM || x->f->base[l->node[i]] != l->node[i]))
            return false;
        if (p != c && is_ancestor(x, c, p)) return false;
    }
    return true;
}

/* Adds what a root reads to the set `into` of the cluster's leaves; the number of tensors as large as
 * the space that both know. */
static int shared_leaves(const fuser *x, int c, const leaves *l, int *total) {
    const gd__cluster *k = &x->f->cluster[c];
    int64_t size = gd_shape_count(k->space);
    int shared = 0;
    *total = l->count;
    for (int r = 0; r < k->n_roots; r++) {
        const leaves *o = &x->leaf[k->root[r]];
        *total += o->count;
        for (int i = 0; i < l->count; i++) {
            if (gd_shape_count(gd_node_shape(x->g, l->node[i])) != size) continue;
            if (l->node[i] == k->root[r]) shared++;
            for (int j = 0; j < o->count; j++) shared += l->node[i] == o->node[j];
        }
    }
    return shared;
}

static int find_group(const fuser *x, gd_node n, const leaves *l) {
    for (int c = x->f->n_clusters - 1; c >= 0; c--) {
        int total;
        if (!may_join(x, c, n, l)) continue;
        if (shared_leaves(x, c, l, &total) > 0 && total <= GROUP_LEAVES_MAX) return c;
    }
    return -1;
}

/* c reads what `node` lists: so do, through c, all that read c, unless c is new and nobody does. */
static void depend(fuser *x, int c, const gd_node *node, int count, bool is_new) {
    for (int i = 0; i < count; i++) {
        int p = producer_of(x, node[i]);
        if (p >= 0 && p != c) inherit(x, c, p);
    }
    for (int d = 0; !is_new && d < x->f->n_clusters; d++)
        if (d != c && is_ancestor(x, c, d)) inherit(x, d, c);
}

static gd_status place_root(fuser *x, gd_node n) {
    const leaves *l = &x->leaf[n];
    int c = find_group(x, n, l);
    bool is_new = c < 0;
    if (is_new) GD_TRY(new_cluster(x, n, true, &c));
    GD_TRY(add_root(x, c, n));
    depend(x, c, l->node, l->count, is_new);
    return GD_OK;
}

static gd_status place_single(fuser *x, gd_node n) {
    const gd_node_info *i = gd_graph_at(x->g, n);
    int c;
    GD_TRY(new_cluster(x, n, false, &c));
    GD_TRY(add_root(x, c, n));
    depend(x, c, i->in, gd_op_arity(i->op), true);
    return GD_OK;
}

/* Collects n and the virtual nodes behind it. */
static int collect(fuser *x, gd_node n, int count) {
    if (x->stamp[n] == x->now) return count;
    x->stamp[n] = x->now;
    const gd_node_info *i = gd_graph_at(x->g, n);
    for (int k = 0; k < gd_op_arity(i->op); k++)
        if (x->f->role[i->in[k]] == GD__VIRTUAL) count = collect(x, i->in[k], count);
    x->found[count++] = n;
    return count;
}

static int by_id(const void *a, const void *b) {
    return (*(const gd_node *)a > *(const gd_node *)b) - (*(const gd_node *)a < *(const gd_node *)b);
}

static gd_status list_members(fuser *x) {
    for (int c = 0; c < x->f->n_clusters; c++) {
        gd__cluster *k = &x->f->cluster[c];
        int count = 0;
        x->now++;
        if (k->fused)
            for (int r = 0; r < k->n_roots; r++) count = collect(x, k->root[r], count);
        else x->found[count++] = k->root[0];
        k->member = gd_arena_alloc(x->f->arena, (size_t)count * sizeof *k->member);
        if (!k->member) GD_FAIL(NOMEM, "plan: no memory for a group of %d nodes", count);
        memcpy(k->member, x->found, (size_t)count * sizeof *k->member);
        qsort(k->member, (size_t)count, sizeof *k->member, by_id);
        k->n_members = count;
    }
    return GD_OK;
}

static gd_status form_clusters(fuser *x) {
    for (gd_node n = 0; n < x->count; n++) {
        x->f->producer[n] = -1;
        x->f->role[n] = role_of(x, n);
        if (x->f->role[n] == GD__SINGLE) GD_TRY(place_single(x, n));
        if (x->f->role[n] == GD__GROUPED) GD_TRY(place_root(x, n));
        reset_leaves(x, n);
    }
    return list_members(x);
}

static gd_status allocate(fuser *x) {
    size_t n = (size_t)x->count + 1;
    gd_arena *a = x->f->arena;
    x->words = n / 64 + 1;
    x->f->role = gd_arena_alloc(a, n * sizeof *x->f->role);
    x->f->phase = gd_arena_alloc(a, n * sizeof *x->f->phase);
    x->f->base = gd_arena_alloc(a, n * sizeof *x->f->base);
    x->f->producer = gd_arena_alloc(a, n * sizeof *x->f->producer);
    x->f->cluster = gd_arena_alloc(a, n * sizeof *x->f->cluster);
    x->wanted = gd_arena_alloc(a, n * sizeof *x->wanted);
    x->f->output = gd_arena_alloc(a, n * sizeof *x->f->output);
    x->first_user = gd_arena_alloc(a, (n + 1) * sizeof *x->first_user);
    x->user = gd_arena_alloc(a, 2 * n * sizeof *x->user);
    x->leaf = gd_arena_alloc(a, n * sizeof *x->leaf);
    x->ancestor = gd_arena_alloc(a, n * sizeof *x->ancestor);
    x->stamp = gd_arena_alloc(a, n * sizeof *x->stamp);
    x->found = gd_arena_alloc(a, n * sizeof *x->found);
    if (!x->f->role || !x->f->phase || !x->f->base || !x->f->producer || !x->f->cluster || !x->wanted ||
        !x->f->output || !x->first_user || !x->user || !x->leaf || !x->ancestor || !x->stamp || !x->found)
        GD_FAIL(NOMEM, "plan: no memory for %d nodes", x->count);
    return GD_OK;
}

gd_status gd__fuse(const gd__ir *ir, bool fuse, gd__fusion *f) {
    *f = (gd__fusion){.graph = ir->graph, .arena = gd_arena_new()};
    if (!f->arena) GD_FAIL(NOMEM, "plan: no memory");
    fuser x = {.f = f, .g = ir->graph, .count = gd_graph_count(ir->graph), .fuse = fuse, .changes = ir->overwritten};
    gd_status st;
    GD_TRY_TO(fail, allocate(&x));
    for (int i = 0; i < ir->n_roots; i++) x.wanted[ir->root[i]] = true;
    set_bases(&x);
    for (int i = 0; i < ir->n_roots; i++) f->output[f->base[ir->root[i]]] = true;
    list_users(&x);
    set_phases(&x);
    GD_TRY_TO(fail, form_clusters(&x));
    return GD_OK;
fail:
    gd_arena_free(f->arena);
    *f = (gd__fusion){0};
    return st;
}
