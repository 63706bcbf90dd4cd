/* launch/session.h -- this process among the others: communicator, threads, who speaks, how it ends.
 *
 * One per process. Commands that need ranks begin a session; main.c ends it. */
#ifndef GANDIST_LAUNCH_SESSION_H
#define GANDIST_LAUNCH_SESSION_H

#include <stdbool.h>

#include "dist/comm.h"

typedef struct gd_host {        /* ranks of one host */
    char name[64];
    int ranks;
    int cores;                  /* that its ranks may use, together                                  */
    int threads, most_threads;  /* of the rank with the fewest and of that with the most             */
} gd_host;

typedef struct gd_layout {      /* how ranks share this host's cores */
    int cores;                  /* cores this process may use                                        */
    int threads;                /* OpenMP threads chosen for this rank                               */
    double share;               /* cores per rank; below 1: oversubscribed                           */
    const gd_host *host;        /* in the order of their first ranks; owner: the session             */
    int hosts;
    bool blocks;                /* each host has equally many neighbouring ranks, a power of two     */
} gd_layout;

/* Joins the other ranks (MPI when started by mpirun or srun, else alone), binds log lines to the rank,
 * chooses the number of threads: OMP_NUM_THREADS, else the cores this rank has for itself.
 * Collective. *comm: owner: the session. Errors: MPI (also: started N times, and none knows of the others),
 * UNSUP (hosts have different builds). */
GD_CHECKED gd_status gd_session_begin(gd_comm **comm, gd_layout *layout);
/* USAGE where a launcher started several processes, before they do what one of them is for. */
GD_CHECKED gd_status gd_session_check_one(const char *command);
/* Whether this process prints this error, its thread's last: rank 0, or a rank that failed and could tell nobody. */
bool gd_session_speaks(gd_status st);
/* On other ranks than 0: half a second, once. An error that all ranks have is then told by rank 0 alone. */
void gd_session_let_root_speak(void);
/* Leaves together when all ranks agree on st; else ends the job with the exit code of gd_error_agreed(st). */
void gd_session_end(gd_status st);
/* Signals as answers for gd_train_hooks.poll; 0 when none came. USR1: save and go on; USR2, HUP: save and leave;
 * TERM, INT: the same, the second one leaves at once. A signal that is ignored (nohup) stays so. */
void gd_session_watch_signals(void);
/* These signals wait, or come again (also those that whoever started this process had blocked). */
void gd_session_block_signals(bool block);
int gd_session_signal(void *ctx);

#endif
