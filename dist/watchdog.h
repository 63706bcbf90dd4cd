/* dist/watchdog.h -- notices that a rank hangs, says which one and where, and has the job ended.
 *
 * A thread of each rank looks at the pulses (pulse.h) of all ranks of its host and, where there are several hosts, at a
 * small file of each other host (heartbeat.h). It makes no MPI call. A rank that does not move counts as hanging when
 *   - its process does not run at all (stopped, frozen): after the usual limit, whatever it was doing;
 *   - it runs, and all others have come further or wait as it does: after the limit of its phase.
 * The usual limit is `limit` seconds, or `factor` times the median step, whatever is longer. Start-up, loading, data,
 * saving, metrics and samples, and the first steps get `patience`, or `factor` times the longest that was seen.
 * The lowest rank of each host that still runs judges; it names who is missing, not who waits for it. */
#ifndef GANDIST_DIST_WATCHDOG_H
#define GANDIST_DIST_WATCHDOG_H

#include "dist/comm.h"

typedef struct gd_watchdog_spec {
    double limit, patience;  /* seconds; limit 0: no watchdog                                            */
    double factor;           /* >= 1                                                                     */
    const char *folder;      /* for the files of hosts, made when needed; NULL: hosts know nothing of each other.
                                Borrowed until gd_watchdog_stop                                          */
    /* Called in the watchdog's thread, of one rank. hang false: somebody takes long, in a phase that may; text is one
     * line. hang true: the report, many lines; it must end the job (gd_comm_abort, exit code 86) and may not return. It
     * must not wait for what the training thread may hold: the log's lock, malloc's. Text is valid during the call. */
    void (*tell)(void *ctx, bool hang, const char *text);
    void *ctx;
} gd_watchdog_spec;

typedef struct gd_watchdog gd_watchdog;

/* Begins to watch. To be called by the thread that trains: it is the one whose stack is shown. c must outlive the
 * watchdog; one at a time in a process. *out NULL where limit is 0. Collective. Errors: NOMEM, CANTCREAT, MPI, PEER. */
GD_CHECKED gd_status gd_watchdog_start(gd_comm *c, const gd_watchdog_spec *s, gd_watchdog **out);
/* Not collective: ranks that are still watched by others count as if they had no watchdog. NULL is fine. */
void gd_watchdog_stop(gd_watchdog *w);

#endif
