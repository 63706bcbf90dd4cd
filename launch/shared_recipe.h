/* launch/shared_recipe.h -- the recipe of a job: rank 0's on every rank. */
#ifndef GANDIST_LAUNCH_SHARED_RECIPE_H
#define GANDIST_LAUNCH_SHARED_RECIPE_H

#include "dist/comm.h"
#include "recipes/recipe.h"

/* Rank 0 reads it, and its resolved text decides on every rank: a stale copy on another host cannot make ranks differ. Hosts
 * that find another recipe at this path are listed in a warning. *recipe, *text: owner: caller (gd_recipe_free, free).
 * Collective. Errors: as gd_recipe_load, NOMEM, PEER, MPI. */
GD_CHECKED gd_status gd_shared_recipe(gd_comm *c, const char *path, const gd_recipe_opts *o, gd_recipe **recipe,
                                      char **text);

#endif
