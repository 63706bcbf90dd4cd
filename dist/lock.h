/* dist/lock.h -- one training at a time in a run folder, and how often it was started in vain.
 *
 *   run.lock                who trains here; its age is the lease, renewed by a thread of the holder
 *   run.lock.stale-<token>  a lock that was taken over, for an hour
 *   starts.json             starts since the last new checkpoint, and what they said
 *
 * Reading a run (verify, sample, evaluate) takes no lock. Rank 0 only; nothing here is collective. */
#ifndef GANDIST_DIST_LOCK_H
#define GANDIST_DIST_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum {
    GD_LOCK_LEASE_S = 90,   /* not renewed for so long, by a holder on another host: it is dead    */
    GD_STARTS_MAX = 5       /* starts without a new checkpoint; the next one is refused            */
};

typedef struct gd_run_lock gd_run_lock;

/* Takes folder/run.lock. Of a dead holder (its process on this host is gone, this host was booted anew,
 * another host's lease ran out) it is taken over with a note in the log. A holder that lives is left alone.
 * lease_s: 0: GD_LOCK_LEASE_S. Errors: CANTCREAT (who holds it, since when; or not writable), IO, NOMEM. */
GD_CHECKED gd_status gd_run_lock_take(const char *folder, int lease_s, gd_run_lock **out);
/* Whether it was taken over by somebody else meanwhile (this process was stopped for longer than the lease):
 * then nothing more may be written into the folder. Cheap: asks no file system. */
bool gd_run_lock_lost(const gd_run_lock *l);
/* Gives it back. NULL is fine. A lock that was lost stays with its new holder. */
void gd_run_lock_release(gd_run_lock *l);

typedef struct gd_lock_view {
    bool there, alive;       /* alive: as far as can be seen from here                              */
    char host[64], job[64];  /* job: of Slurm; "": none                                             */
    int64_t pid, since;      /* since: seconds since 1970                                           */
    double age_s;            /* since the last renewal, by this host's clock                        */
    char why[128];           /* of a dead one                                                       */
} gd_lock_view;
/* Who trains in a folder, without touching anything. Errors: NOINPUT, IO, NOMEM. */
GD_CHECKED gd_status gd_run_lock_look(const char *folder, gd_lock_view *out);

/* ---- starts ---- */

/* Remembers a start before it does anything. newest: step of the newest checkpoint, -1: none. what: hash of
 * what the user may have changed since (recipe, program, ranks). A newer checkpoint or another `what`
 * begins to count anew. Errors: NOPROGRESS (with what the last starts said; this one is not counted), IO,
 * CANTCREAT, NOMEM. A damaged starts.json counts as none. */
GD_CHECKED gd_status gd_starts_begin(const char *folder, int64_t newest, uint64_t what);
/* How that start ended: NULL: well, so nothing is remembered any more. Errors: IO, CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd_starts_end(const char *folder, const char *said);

#endif
