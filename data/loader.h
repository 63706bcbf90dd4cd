/* data/loader.h -- the deterministic stream of batches, decoded ahead by worker threads.
 *
 * The cursor (one integer: samples drawn so far by all ranks) is the whole state. Draw c is sample
 * gd_rng_permute(epoch c / count) [c % count]: an epoch's order is a keyed bijection, nothing is
 * stored. A global batch is draws cursor .. cursor+global-1; this rank decodes draws
 * cursor+first .. cursor+first+local-1. The result does not depend on workers or depth. */
#ifndef GANDIST_DATA_LOADER_H
#define GANDIST_DATA_LOADER_H

#include "data/dataset.h"

typedef struct gd_loader_opts {
    uint64_t seed;
    int64_t global;  /* samples of one global batch, over all ranks         */
    int64_t first;   /* this rank's first sample within the global batch    */
    int64_t local;   /* this rank's number of samples, >= 1                 */
    uint64_t cursor; /* where to start                                      */
    int workers;     /* decoding threads; 0: 1                              */
    int depth;       /* batches decoded ahead; 0: 2                         */
    int held;        /* batches that stay valid: until so many further calls of gd_loader_next; 0: 1 */
    bool whole;      /* whole samples (dataset.h), and gd_batch.pick what to take of each */
    bool absent;     /* whole, but there are no samples: a pick's index is the sample's number in the set */
    /* Memory of batches, GD_PICK_ALIGN aligned; NULL: the host's. Called by open and close alone. */
    gd_status (*alloc)(size_t bytes, void **out);
    void (*free)(void *memory);
} gd_loader_opts;

typedef struct gd_batch {
    const void *part[GD_PARTS_MAX]; /* local x shape, as gd_dataset_shape says                     */
    const gd_pick *pick[GD_PARTS_MAX]; /* whole: local of them, gd_pick_bytes(local) before part, where nothing lies if
                                          samples are absent; else NULL                            */
    uint64_t cursor;                /* of the global batch                                         */
    double wait_s;                  /* how long gd_loader_next waited for the workers              */
} gd_batch;

typedef struct gd_loader gd_loader;

/* d must outlive the loader. Errors: CONFIG (fewer samples than one global batch), NOMEM. */
GD_CHECKED gd_status gd_loader_open(const gd_dataset *d, const gd_loader_opts *o, gd_loader **out);
/* The next batch. b->part: owner: loader; valid until the held-th further call, a seek or close. The error of a worker
 * comes out at the batch that it hit, of several the one of the lowest draw; the loader stays at that
 * batch, with the same error, until a seek. Not collective. */
GD_CHECKED gd_status gd_loader_next(gd_loader *l, gd_batch *b);
/* Whether gd_loader_next would return a batch at once. */
bool gd_loader_ready(gd_loader *l);
uint64_t gd_loader_cursor(const gd_loader *l); /* of the batch that comes next */
/* Goes on at any cursor; what was decoded ahead is dropped. Returns GD_OK. */
GD_CHECKED gd_status gd_loader_seek(gd_loader *l, uint64_t cursor);
void gd_loader_close(gd_loader *l); /* joins the workers; NULL is fine */

#endif
