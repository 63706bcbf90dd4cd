/* compute/plan.h -- from a graph to steps and memory: what the parts of a program share. Folder-internal.
 *
 *   fuse.c      which nodes are stored, which live inside groups; groups without cycles
 *   schedule.c  the order of the steps
 *   memory.c    life times and offsets
 *   program.c   puts them together; instance.c runs them */
#ifndef GANDIST_COMPUTE_PLAN_H
#define GANDIST_COMPUTE_PLAN_H

#include "base/arena.h"
#include "compute/exec.h"
#include "compute/passes.h"

/* ---- fuse.c ---- */

typedef enum gd__role {
    GD__LEAF,    /* INPUT, PARAM: memory of the caller                                               */
    GD__INLINE,  /* CONST that only groups read; a node nobody needs                                 */
    GD__VIEW,    /* the memory of another node                                                       */
    GD__VIRTUAL, /* lives inside the groups that need it, in each of them anew                       */
    GD__GROUPED, /* stored result of a group                                                         */
    GD__SINGLE   /* a step of its own                                                                */
} gd__role;

typedef struct gd__cluster { /* a step to be */
    bool fused;
    int phase, key;          /* key: order in which the graph was written                            */
    gd_shape space;          /* fused: the iteration space                                           */
    int n_roots, room;
    gd_node *root;           /* stored results; not fused: the one node                              */
    int n_members;
    gd_node *member;         /* fused: roots and virtual nodes, in graph order                       */
} gd__cluster;

typedef struct gd__fusion {
    const gd_graph *graph;
    gd_arena *arena;         /* of everything below                                                  */
    gd__role *role;          /* per node                                                             */
    int *phase;              /* per node: the one it runs in                                         */
    gd_node *base;           /* per node: itself, or for views whose memory it is                    */
    int *producer;           /* per node: cluster, -1: none                                          */
    bool *output;            /* per node: an output of the program, or one is a view of it           */
    int n_clusters;
    gd__cluster *cluster;
} gd__fusion;

/* fuse: offer groups; else every node is a step. f->arena frees all. Errors: NOMEM, INTERNAL. */
GD_CHECKED gd_status gd__fuse(const gd__ir *ir, bool fuse, gd__fusion *f);

/* ---- schedule.c ---- */

/* Order of the clusters: n_clusters indices, allocated in f->arena. late (NULL: none) and eager: of gd_program_opts.
 * Errors: NOMEM, INTERNAL (a cycle). */
GD_CHECKED gd_status gd__schedule(const gd__fusion *f, const char *late, bool eager, int **order);

/* ---- memory.c ---- */

typedef enum gd__where { GD__NOWHERE, GD__BOUND, GD__ARENA, GD__ALIAS } gd__where;

typedef struct gd__value { /* where a node's value is */
    gd__where where;
    int index;               /* BOUND: binding; ARENA: buffer; ALIAS: node                           */
} gd__value;

typedef struct gd__buffer {
    size_t bytes, offset;    /* offset: of the data, behind the guard band                           */
    int first, last;         /* steps at which it is written first and read last; last may be n_steps */
    gd_node node;            /* of the first owner, for messages; GD_NONE: scratch of step `first`   */
} gd__buffer;

typedef struct gd__copy {    /* an output that cannot be written in place                            */
    gd_node node;
    int binding, step;       /* after this step; -1: at the start                                     */
} gd__copy;

typedef struct gd__end {     /* an output is complete                                                  */
    int step, binding;       /* after this step; -1: at the start                                     */
} gd__end;

enum { GD__ALIGN = 64 };

struct gd_program {
    gd__ir ir;
    const gd_executor *executor;
    gd_precision precision;
    bool reuse, guard;
    int n_steps;
    gd_exec_step *step;
    gd_node *step_node;
    bool *stored;
    gd__value *value;        /* per node                                                             */
    int n_buffers;
    gd__buffer *buffer;
    int *scratch;            /* per step: buffer, -1: none                                           */
    int n_copies;
    gd__copy *copy;          /* by step                                                              */
    int n_ends;
    gd__end *end;            /* of every output, by step                                             */
    int n_bindings;
    gd_binding *binding;
    int *root_binding;       /* per root of ir: the output that it is                                */
    size_t arena_bytes, shared_bytes;
    gd_view view;
    void *state;
    gd_arena *arena;         /* of the lists above                                                   */
};

/* Places every stored node and the scratch of every step. bytes: scratch per step. Errors: NOMEM. */
GD_CHECKED gd_status gd__place(gd_program *p, const gd__fusion *f, const size_t *bytes);
/* Memory of a value: the node itself, or the one that it is a view of. */
gd_node gd__base(const gd_program *p, gd_node n);
size_t gd__node_bytes(const gd_program *p, gd_node n);
/* Of one heavy node, multiply-adds counted as two; 0 for all others. */
double gd__flops(const gd_graph *g, const gd_node_info *n);

#endif
