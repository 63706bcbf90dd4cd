/* launch/hang.h -- what becomes of a watchdog's words: the terminal, the run folder, exit code 86. */
#ifndef GANDIST_LAUNCH_HANG_H
#define GANDIST_LAUNCH_HANG_H

#include "dist/watchdog.h"
#include "recipes/recipe.h"

typedef struct gd_hang {
    gd_comm *comm;
    gd_watchdog *dog;
    char heartbeat[2200], events[2200], log[2200];
} gd_hang;

/* Watches as the recipe says, with files in the run folder. h stays where it is until gd_hang_end. Collective.
 * Errors: NOMEM, CANTCREAT, MPI, PEER. */
GD_CHECKED gd_status gd_hang_begin(gd_hang *h, gd_comm *c, const gd_recipe *r, const char *folder);
void gd_hang_end(gd_hang *h); /* a zero one is fine */

#endif
