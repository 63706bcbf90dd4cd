/* recipes/problem.h -- what is wrong with a recipe, collected so that all of it is told at once.
 *
 * Each problem has a place and one sentence. At the end they become one message, ordered by place:
 *     recipes/x.yaml:7:8: 'train.steps' wants an integer, got text "many"
 *       steps: many
 *              ^
 * Internal to recipes/. */
#ifndef GANDIST_RECIPES_PROBLEM_H
#define GANDIST_RECIPES_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"

// clang-format off
/* One text that was read: a file, or an argument of --set. Lives as long as the recipe. */
typedef struct gd__source {
    const char *name;  /* "recipes/x.yaml"; "--set #2"                                             */
    const char *text;  /* NUL behind the end                                                       */
    size_t bytes;
    int order;         /* later ones override earlier ones                                         */
    bool argument;     /* a --set argument: places are told without line and column                */
} gd__source;

typedef struct gd__place {
    const gd__source *source; /* NULL: nowhere, the default                                        */
    int line, column;         /* from 1; column in characters                                      */
} gd__place;

enum { GD__PROBLEMS_MAX = 20 };

typedef struct gd__problems {
    gd_arena *arena;
    int count;
    bool more;  /* others were found and not kept */
    bool nomem; /* an allocation failed           */
    struct {
        gd__place at;
        const char *text;
    } list[GD__PROBLEMS_MAX];
} gd__problems;
// clang-format on

void gd__problem(gd__problems *p, gd__place at, const char *format, ...) GD_PRINTF(3, 4);
bool gd__problems_full(const gd__problems *p);
/* The message of all problems as an error: USAGE when all lie in --set, else CONFIG. OK when none.
 */
GD_CHECKED gd_status gd__problems_raise(gd__problems *p);

/* "recipes/x.yaml:7:8", "--set #2", "default". owner: arena. NULL: no memory. */
const char *gd__place_text(gd_arena *arena, gd__place at);
/* The first byte of the character at a place that has a source. NULL: behind the end. */
const char *gd__place_byte(gd__place at);
/* At most ~40 characters of `text` fit for one line of a message. owner: arena. Never NULL. */
const char *gd__excerpt(gd_arena *arena, const char *text);

#endif
