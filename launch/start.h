/* launch/start.h -- what comes before a run does anything in its folder: the lock, what dead runs left, and
 * how many starts were in vain. Rank 0 only. */
#ifndef GANDIST_LAUNCH_START_H
#define GANDIST_LAUNCH_START_H

#include <stdbool.h>

#include "base/status.h"

typedef struct gd_start gd_start;

/* For --fresh: nobody trains in the folder that is about to be moved aside. Errors: CANTCREAT, IO. */
GD_CHECKED gd_status gd_start_check(const char *folder);
/* Locks the run folder, makes whole saves of dead runs checkpoints again, counts this start. recipe_text and
 * ranks: when they change, starts are counted anew. Errors: CANTCREAT (somebody trains here), NOPROGRESS, IO. */
GD_CHECKED gd_status gd_start_begin(const char *folder, const char *recipe_text, int ranks, gd_start **out);
/* Somebody else has the folder now: leave at once, and write nothing more. NULL: false. */
bool gd_start_lost(const gd_start *s);
/* st: how the run ended; its message is remembered for the next start, and stays. NULL is fine. */
void gd_start_end(gd_start *s, gd_status st);

#endif
