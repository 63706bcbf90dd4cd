/* launch/scaling.h -- the same work per rank on more and more ranks: gandist bench --scaling. */
#ifndef GANDIST_LAUNCH_SCALING_H
#define GANDIST_LAUNCH_SCALING_H

#include <stdbool.h>

#include "launch/options.h"

typedef struct gd_scaling {
    const char *counts;     /* "1,2,4": ranks of each run, rising                                   */
    const char *launcher;   /* what starts ranks: "mpirun --oversubscribe"; NULL: that              */
    const char *recipe;
    const gd_text_list *set; /* keys for every run                                                  */
    int64_t batch;          /* of each rank                                                         */
    int64_t threads;        /* of each rank; 0: the cores of this machine over the most ranks       */
    int64_t steps, warmup;
    int64_t rounds;         /* of all counts in turns, up to GD_SCALING_ROUNDS                      */
    bool json;
} gd_scaling;

enum { GD_SCALING_MAX = 16, GD_SCALING_ROUNDS = 99 };
/* Errors: USAGE (no rising list of counts). */
GD_CHECKED gd_status gd_scaling_counts(const char *text, int *count, int counts[GD_SCALING_MAX]);
/* Starts the launcher with this very program once for each count, one after the other, in every round, and prints a row
 * for each count: of the round with the median efficiency. Efficiency compares runs of one round, so that a slow moment
 * of the machine hits both. Errors: USAGE, UNSUP (no such launcher), MPI (a run that fails; its own words are above),
 * DATA (it said something else), NOMEM. */
GD_CHECKED gd_status gd_scaling_run(const gd_scaling *s);

#endif
