/* dist/reduce.h -- the all-reduce of one group's gradients, bucket by bucket.
 *
 * Ranks of one host lie side by side in a shared window: each sums its part of every bucket in the
 * order of tree.h, straight from the arenas of the others, and writes it back to all. Between hosts
 * the leaders exchange buckets without blocking. The order of additions is always that of the tree
 * over all ranks, so every rank count that tree.h allows gives the same bits. */
#ifndef GANDIST_DIST_REDUCE_H
#define GANDIST_DIST_REDUCE_H

#include "dist/comm.h"

typedef struct gd_reducer gd_reducer;

/* Collective, `count` equal on all ranks. Allocates this rank's arena of count floats, 64-byte
 * aligned, zero. bucket_bytes 0: 1 MB. Errors: NOMEM, MPI. */
GD_CHECKED gd_status gd_reducer_new(gd_comm *c, size_t count, size_t bucket_bytes, gd_reducer **out);
/* Not collective: memory of a shared window stays until the communicator is freed. NULL is fine. */
void gd_reducer_free(gd_reducer *r);
float *gd_reducer_arena(gd_reducer *r); /* owner: r */
/* Collective. Between the two the arena must not be touched; after finish it holds the sum. */
GD_CHECKED gd_status gd_reducer_start(gd_reducer *r);
GD_CHECKED gd_status gd_reducer_finish(gd_reducer *r);

#endif
