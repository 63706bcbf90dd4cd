/* dist/comm_internal.h -- what a communication provider implements. Folder-internal.
 *
 * comm.c holds what is equal for all (agreement, trees); a provider moves bytes. */
#ifndef GANDIST_DIST_COMM_INTERNAL_H
#define GANDIST_DIST_COMM_INTERNAL_H

#include "dist/comm.h"

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
    /* of comm.c, for sums */
    void *gathered;       /* size x piece bytes  */
    float *packed;        /* piece bytes         */
    const float **leaf;   /* n_leaves pointers   */
    size_t n_leaves;
};

/* Memory for sums of c->size parts. Providers call it last. Errors: NOMEM. */
GD_CHECKED gd_status gd__comm_make_room(gd_comm *c);

#endif
