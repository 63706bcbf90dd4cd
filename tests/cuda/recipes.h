/* tests/cuda/recipes.h -- the shipped recipes as graphs. */
#ifndef GANDIST_TESTS_CUDA_RECIPES_H
#define GANDIST_TESTS_CUDA_RECIPES_H

#include "models/gan.h"

/* Calls step for every step graph that a shipped recipe (of this name; NULL: all) can train with, on one rank: alternating
 * steps where it has them, of every penalty variant. Ends the test when a recipe cannot be read. Returns the number of recipes. */
int recipes_each(const char *only, void (*step)(void *ctx, const char *name, const gd_step_graph *s), void *ctx);

#endif
