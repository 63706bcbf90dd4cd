/* dist/reduce.h -- the all-reduce of one group's gradients, bucket by bucket, or its two halves.
 *
 * A reducer sums ranks x parts arenas: `parts` local shards on every rank. Arenas of one host lie side by
 * side in a shared window: each rank sums its share of all of them in the order of tree.h, straight from
 * the arenas of the others, and writes it back to all. Between hosts the leaders exchange buckets by
 * messages. Both begin with a bucket as soon as it is final on all ranks that it takes, and go on while
 * the program computes: at every gd_reducer_progress, and in every wait. The order of additions is always that of the tree over all shards, so every rank
 * gets the same bits, and so does every number of ranks. */
#ifndef GANDIST_DIST_REDUCE_H
#define GANDIST_DIST_REDUCE_H

#include "dist/comm.h"

typedef struct gd_reducer gd_reducer;

/* Slices: every rank has one, of whole units (the last one may be shorter), in the order of ranks. */
enum { GD_SLICE_UNIT = 4096 /* floats */ };
static inline void gd_slice_of(size_t count, int rank, int size, size_t *first, size_t *last) {
    size_t units = (count + GD_SLICE_UNIT - 1) / GD_SLICE_UNIT, ranks = (size_t)size;
    *first = units * (size_t)rank / ranks * GD_SLICE_UNIT;
    *last = units * ((size_t)rank + 1) / ranks * GD_SLICE_UNIT;
    if (*last > count) *last = count;
}

/* Collective, all arguments equal on all ranks. Allocates this rank's `parts` arenas of count floats,
 * 64-byte aligned, zero. bucket_bytes 0: 128 kB. *out: owner: caller. Errors: NOMEM, MPI. */
GD_CHECKED gd_status gd_reducer_new(gd_comm *c, size_t count, int parts, size_t bucket_bytes, gd_reducer **out);
/* Not collective: memory of a shared window stays until the next reducer is made or the communicator is
 * freed. In the middle of a round (a rank that leaves alone) what messages are under way in stays, too. NULL is fine. */
void gd_reducer_free(gd_reducer *r);
float *gd_reducer_arena(gd_reducer *r, int part); /* owner: r */
/* A round. open: collective, starts one; sliced: arena 0 will hold the sum in this rank's slice alone. ready: these
 * floats of all of this rank's arenas are final (each is said once) and are not touched by the caller until the end
 * of the round; all_ready: so are all the others. They are not collective: every rank says so when it is. finish:
 * collective; arena 0 holds the sum of all on every rank (sliced: the rest of it is of no use), the other arenas
 * nothing of use. Errors: MPI, INTERNAL (out of order). */
GD_CHECKED gd_status gd_reducer_open(gd_reducer *r, bool sliced);
void gd_reducer_ready(gd_reducer *r, size_t first, size_t last);
void gd_reducer_all_ready(gd_reducer *r);
GD_CHECKED gd_status gd_reducer_finish(gd_reducer *r);
bool gd_reducer_is_open(const gd_reducer *r);
/* open and all_ready. */
GD_CHECKED gd_status gd_reducer_start(gd_reducer *r, bool sliced);
/* Goes on with all rounds of c's reducers, without waiting; what fails is told by finish. Not collective. */
void gd_reducer_progress(gd_comm *c);
/* All slices of an array of count floats, of which every rank gives its own. They travel in the arenas, whose
 * sums are lost: what is outside of this rank's slice as soon as any rank comes here. *whole: to be read until gd_reducer_release; owner: r. Both collective. Errors: MPI. */
GD_CHECKED gd_status gd_reducer_gather(gd_reducer *r, const float *slice, const float **whole);
void gd_reducer_release(gd_reducer *r);

#endif
