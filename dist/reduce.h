/* dist/reduce.h -- the all-reduce of one group's gradients, bucket by bucket.
 *
 * A reducer sums ranks x parts arenas: `parts` local shards on every rank. Arenas of one host lie side by
 * side in a shared window: each rank sums its share of all of them in the order of tree.h, straight from
 * the arenas of the others, and writes it back to all. Between hosts the leaders exchange buckets with
 * non-blocking calls. The order of additions is always that of the tree over all shards, so every rank
 * gets the same bits, and so does every number of ranks. */
#ifndef GANDIST_DIST_REDUCE_H
#define GANDIST_DIST_REDUCE_H

#include "dist/comm.h"

typedef struct gd_reducer gd_reducer;

/* Collective, all arguments equal on all ranks. Allocates this rank's `parts` arenas of count floats,
 * 64-byte aligned, zero. bucket_bytes 0: 1 MB. *out: owner: caller. Errors: NOMEM, MPI. */
GD_CHECKED gd_status gd_reducer_new(gd_comm *c, size_t count, int parts, size_t bucket_bytes, gd_reducer **out);
/* Not collective: memory of a shared window stays until the next reducer is made or the communicator is
 * freed. NULL is fine. */
void gd_reducer_free(gd_reducer *r);
float *gd_reducer_arena(gd_reducer *r, int part); /* owner: r */
/* Collective. Between the two no arena may be touched; after finish arena 0 holds the sum of all on every
 * rank, and the others hold nothing of use. Errors: MPI. */
GD_CHECKED gd_status gd_reducer_start(gd_reducer *r);
GD_CHECKED gd_status gd_reducer_finish(gd_reducer *r);

#endif
