/* recipes/source.h -- where a recipe's text comes from: found by path or by name, read as a whole.
 * Internal to recipes/. */
#ifndef GANDIST_RECIPES_SOURCE_H
#define GANDIST_RECIPES_SOURCE_H

#include "recipes/problem.h"

/* The file that `path` means: itself, or for a bare name such as "dcgan" the recipe of that name in
 * ./recipes or among the installed ones. owner: arena. NULL: no memory. */
const char *gd__source_find(gd_arena *arena, const char *path);
/* The file that `extends: path` in the recipe `from` means. owner: arena. NULL: no memory. */
const char *gd__source_beside(gd_arena *arena, const char *from, const char *path);

/* Reads a file. *out: owner: arena. Errors: NOINPUT, CONFIG (too large), IO, NOMEM. */
GD_CHECKED gd_status gd__source_read(gd_arena *arena, const char *path, gd__source **out);
/* The same of a text in memory, which is copied. Errors: CONFIG (too large), NOMEM. */
GD_CHECKED gd_status gd__source_copy(gd_arena *arena, const char *name, const char *text,
                                     size_t bytes, gd__source **out);

/* "dcgan" of "recipes/dcgan.yaml". owner: arena. NULL: no memory. */
const char *gd__source_stem(gd_arena *arena, const char *path);

#endif
