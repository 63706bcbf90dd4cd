/* dist/watchdog.h -- notices that a rank hangs, says which one and where, and has the job ended.
 *
 * A thread of each rank looks at the pulses (pulse.h) of all ranks of its host and, where there are several hosts, at a
 * small file of each other host (heartbeat.h). It makes no MPI call. A rank that does not move counts as hanging when
 *   - its process does not run at all (stopped, frozen): after the usual limit, whatever it was doing;
 *   - it runs, and all others have come further or wait as it does: after the limit of its phase;
 *   - it moves, but nothing gets done (gd_comm_worked): after twice the usual limit of such movement; no step ends: after
 *     `patience` of it. Time in which a rank waits does not count.
 * The usual limit is `limit` seconds, or `factor` times the median step, whatever is longer. Start-up, loading, data,
 * saving, metrics and samples, and the first steps get `patience`, or `factor` times the longest that was seen.
 * The lowest rank of each host that still runs judges; it names who is missing, not who waits for it. */
#ifndef GANDIST_DIST_WATCHDOG_H
#define GANDIST_DIST_WATCHDOG_H

#include "dist/comm.h"

typedef struct gd_watchdog_spec {
    double limit, patience;  /* seconds; limit 0: no watchdog                                            */
    double factor;           /* >= 1                                                                     */
    const char *folder;      /* for the files of hosts (heartbeat.h), made when needed; also gd_watchdog_look reads
                                them. NULL: none, hosts know nothing of each other.
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

/* ---- from outside ---- */

typedef struct gd_rank_view { /* of a running job's rank, as its host last wrote it */
    int rank;
    char host[64];
    int64_t process;
    int64_t step;            /* it is at; 0: before the first                                            */
    char where[160];         /* "step 12, gradients of D: waits in an all-reduce"                        */
    bool waits;              /* in a collective                                                          */
    bool frozen;             /* its process has not run for the last seconds: stopped, swapped out       */
    double still_s;          /* since it came to this place, by this host's clock and the file system's  */
    double silent_s;         /* since its host wrote                                                     */
} gd_rank_view;
/* The ranks of the newest start of a run that has a file in `folder`, by number; a run that has ended in order has none.
 * Not collective; changes nothing, needs no MPI. *out: malloc'ed, caller frees; NULL where there is none. What is no
 * heartbeat is skipped. Errors: NOMEM. */
GD_CHECKED gd_status gd_watchdog_look(const char *folder, gd_rank_view **out, int *n);
/* "0-3, 7" of the ranks that are set. Returns out. */
char *gd_ranks_text(const unsigned char *set, int n, char *out, size_t room);

#endif
