/* launch/session.h -- this process among the others: communicator, threads, who speaks, how it ends.
 *
 * One per process. Commands that need ranks begin a session; main.c ends it. */
#ifndef GANDIST_LAUNCH_SESSION_H
#define GANDIST_LAUNCH_SESSION_H

#include <stdbool.h>

#include "dist/comm.h"

typedef struct gd_layout {      /* how ranks share this host's cores */
    int cores;                  /* cores this process may use                                        */
    int threads;                /* OpenMP threads chosen for this rank                               */
    double share;               /* cores per rank; below 1: oversubscribed                           */
} gd_layout;

/* Joins the other ranks (MPI when started by mpirun or srun, else alone), binds log lines to the rank,
 * chooses the number of threads: OMP_NUM_THREADS, else the cores this rank has for itself.
 * Collective. *comm: owner: the session. Errors: MPI. */
GD_CHECKED gd_status gd_session_begin(gd_comm **comm, gd_layout *layout);
/* Whether this process prints this error: rank 0, or the rank that failed itself, never the others. */
bool gd_session_speaks(gd_status st);
/* On other ranks than 0: half a second, once. An error that all ranks have is then told by rank 0 alone. */
void gd_session_let_root_speak(void);
/* Leaves together when all ranks agree on st; else ends the job with st's exit code. */
void gd_session_end(gd_status st);
/* Signals USR1, USR2, TERM as answers for gd_train_hooks.poll; 0 when none came. */
void gd_session_watch_signals(void);
int gd_session_signal(void *ctx);

#endif
