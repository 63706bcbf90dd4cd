/* dist/writer.h -- saving behind the training: a snapshot, and a thread that writes it.
 *
 * The training thread is held up by a copy of this rank's share of the state; a thread of each rank then
 * writes its shard. That thread makes no MPI call, ever: what ranks must agree on goes through the word that
 * they exchange after every iteration anyway, and each phase of a save begins on all ranks at that point:
 *
 *   begin (rank 0) | shards (writers) | commit and retention (rank 0)
 *
 * A save that fails anywhere is given up by all ranks together; older checkpoints are never harmed. */
#ifndef GANDIST_DIST_WRITER_H
#define GANDIST_DIST_WRITER_H

#include "dist/checkpoint.h"

typedef struct gd_writer gd_writer;

typedef struct gd_saved {
    int64_t step;
    const char *path;        /* of the checkpoint; owner: the writer, until the next save          */
    double seconds, blocked; /* from start to end; how long training was held up by it             */
    gd_status st;            /* not OK: the message is this thread's error record                  */
} gd_saved;

typedef struct gd_writer_opts {
    const char *dir;         /* outlives the writer                                                */
    int keep;                /* of gd_checkpoint_retain                                            */
    bool wait;               /* no snapshot but of spread tensors: every save is over when gd_writer_start returns */
    void (*on_saved)(void *ctx, const gd_saved *s); /* on every rank, in the training thread       */
    void *ctx;
} gd_writer_opts;

/* c outlives it. Not collective. Errors: NOMEM. */
GD_CHECKED gd_status gd_writer_new(gd_comm *c, const gd_writer_opts *o, gd_writer **out);
/* Waits for this rank's thread, which may be in the middle of a file; a save that is not committed yet stays
 * a temporary folder. Not collective. NULL is fine. */
void gd_writer_free(gd_writer *w);
/* Memory for the snapshots of states of this layout, so that the first save takes no longer than others.
 * Without memory saves are written while training waits, and a warning says so. Not collective. */
void gd_writer_prepare(gd_writer *w, const gd_state *s);

/* Snapshot; the saving goes on behind. Names in s outlive the save; values may change at once. A save that is
 * under way is waited for first. Collective. Errors: PEER, MPI; what goes wrong with the save itself is told
 * to on_saved alone. */
GD_CHECKED gd_status gd_writer_start(gd_writer *w, const gd_state *s);

/* The states of this rank that others must know, the strongest last: of all ranks' the largest counts. */
enum { GD_WRITER_IDLE, GD_WRITER_DONE, GD_WRITER_FAILED, GD_WRITER_BUSY };
int gd_writer_word(const gd_writer *w);
/* strongest: the largest word of all ranks, equal on all. Begins the next phase, or ends the save. Collective
 * when it is DONE or FAILED, else free. Errors: PEER, MPI. */
GD_CHECKED gd_status gd_writer_advance(gd_writer *w, int strongest);
/* Waits until nothing is under way. *st: how the last save ended (OK if there was none). Collective.
 * Errors: PEER, MPI. */
GD_CHECKED gd_status gd_writer_finish(gd_writer *w, gd_status *st);
bool gd_writer_active(const gd_writer *w);

#endif
