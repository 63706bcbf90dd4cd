/* dist/gather.c -- slices of an array, to all ranks. */
#include <string.h>

#include "dist/reduce_internal.h"

/* Where all slices of this host's ranks come together: the leader's arena, or, where every rank speaks for
 * itself, its own. */
static gd_status gather(gd_reducer *r, const float *slice, const float **whole) {
    bool by_hosts = r->c->size > 1 && gd__host_is_node(r);
    float *all = by_hosts ? r->host[0] : r->arena;
    size_t first, last;
    gd_slice_of(r->count, r->c->rank, r->c->size, &first, &last);
    memcpy(all + first, slice, (last - first) * sizeof(float));
    *whole = all;
    if (!by_hosts) return gd__exchange_slices(r, all);
    gd__board_meet(r->c->mpi->board);
    gd_status st = gd__exchange_slices(r, all);
    if (r->c->hosts > 1) gd__board_meet(r->c->mpi->board);
    return st;
}

gd_status gd_reducer_gather(gd_reducer *r, const float *slice, const float **whole) {
    if (r->open) GD_FAIL(INTERNAL, "gather: a sum is under way in these arenas");
    GD_TRY(gd__enter(r->c, GD__SLICES, 0, r->count * sizeof(float)));
    return gd__leave(r->c, gather(r, slice, whole));
}

void gd_reducer_release(gd_reducer *r) {
    if (r->c->size == 1 || !gd__host_is_node(r)) return;
    gd__mark(r->c, GD__SLICES, 0);
    gd__board_meet(r->c->mpi->board);
    gd__mark(r->c, GD__ALONE, 0);
}
