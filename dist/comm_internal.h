/* dist/comm_internal.h -- what a communication provider implements. Folder-internal.
 *
 * comm.c holds what is equal for all (agreement, trees); a provider moves bytes. */
#ifndef GANDIST_DIST_COMM_INTERNAL_H
#define GANDIST_DIST_COMM_INTERNAL_H

#include "dist/pulse.h"

typedef struct gd__provider {
    const char *name;
    gd_status (*bcast)(gd_comm *c, int root, void *data, size_t bytes);
    gd_status (*allgather)(gd_comm *c, const void *mine, size_t bytes, void *all);
    gd_status (*ibcast_start)(gd_comm *c, void *data, size_t bytes);
    gd_status (*ibcast_finish)(gd_comm *c);
    void (*abort)(gd_comm *c, int exit_code);
    void (*free)(gd_comm *c);
    /* Largest piece that allgather moves without a buffer of its own making; sums are cut to it. */
    size_t piece;
} gd__provider;

struct gd_comm {
    const gd__provider *provider;
    int rank, size, host_rank, host_size, hosts;
    struct gd__mpi *mpi;  /* provider mpi only */
    char (*host_name)[64]; /* per rank; NULL: one rank                      */
    int *leader;          /* per rank: host rank 0 of its host; NULL: one rank */
    gd__pulse **pulse;    /* host_size, of the provider                    */
    uint64_t label;       /* of this rank, without collective              */
    uint64_t steps;       /* gd__pulse.steps                               */
    struct gd__check *check; /* per rank; NULL: collectives are not compared */
    /* Reductions under way, a list that reduce.c keeps and goes on with; NULL: none. */
    struct gd_reducer *busy;
    bool (*advance)(gd_comm *c); /* NULL until there is a reducer */
    bool advancing;
    float *waits;         /* gd_comm_waits                                 */
    size_t waits_room, n_waits;
    int64_t looked;       /* when the trainer last went on with them, nanoseconds */
    /* of comm.c, for sums */
    void *gathered;       /* size x piece bytes  */
    float *packed;        /* piece bytes         */
    const float **leaf;   /* n_leaves pointers   */
    size_t n_leaves;
};

/* Goes on with what is under way in the background, as far as that can be done at once: whoever waits calls it again and
 * again, for others may wait for what this rank has to pass on. True: there is more to do. */
static inline bool gd__comm_advance(gd_comm *c) {
    if (!c->busy || c->advancing) return false;
    return c->advance(c);
}

/* Memory for sums of c->size parts, and for checks. Providers call it last. Errors: NOMEM, USAGE. */
GD_CHECKED gd_status gd__comm_make_room(gd_comm *c);

/* pulse.c. Errors: NOMEM, USAGE (GANDIST_CHECK). */
GD_CHECKED gd_status gd__checks_open(gd_comm *c);
/* Every rank does the same collective at the same label with as many bytes. Errors: INTERNAL, on all ranks alike. */
GD_CHECKED gd_status gd__compare(gd_comm *c, gd__op op, int root, size_t bytes);

/* Around every collective: what the watchdogs see. */
static inline void gd__mark(gd_comm *c, gd__op op, size_t bucket) {
    atomic_store_explicit(&c->pulse[c->host_rank]->label, gd__label_with(c->label, op, bucket), memory_order_relaxed);
}
static inline gd_status gd__enter(gd_comm *c, gd__op op, int root, size_t bytes) {
    gd__mark(c, op, 0);
    gd__pulse_arrive(c->pulse[c->host_rank]);
    return c->check ? gd__compare(c, op, root, bytes) : GD_OK;
}
/* Returns st. */
static inline gd_status gd__leave(gd_comm *c, gd_status st) {
    gd__mark(c, GD__ALONE, 0);
    return st;
}

#endif
