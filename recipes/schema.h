/* recipes/schema.h -- the one table behind parsing, checks, help, docs and the JSON schema.
 *
 * A row is a key of a recipe. Everything said about a key stands in its row; a rule that ties
 * several keys together stands in check.c. Internal to recipes/ and its tests. */
#ifndef GANDIST_RECIPES_SCHEMA_H
#define GANDIST_RECIPES_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "recipes/recipe.h"

// clang-format off
typedef enum gd__type {
    GD__TEXT,   /* const char *; NULL when the key is null                                          */
    GD__CHOICE, /* const char *, one of `choices`; NULL when the key is null                        */
    GD__INT,    /* int64_t (or a uint64_t that stays below 2^63)                                    */
    GD__FLOAT,  /* double                                                                           */
    GD__BOOL,   /* bool                                                                             */
    GD__FLOATS, /* `count` doubles in a row                                                         */
    GD__LAYERS  /* gd_recipe_layer * and, in the field behind it, their number                      */
} gd__type;

enum {
    GD__REQUIRED = 1,  /* has no default                                                            */
    GD__FREE = 2,      /* does not decide the result: may differ between a run and its resumption   */
    GD__OWN = 4,       /* not taken over from the recipe named by `extends`                         */
    GD__LOW_OPEN = 8,  /* `low` itself is out of range                                              */
    GD__HIGH_OPEN = 16,/* `high` itself is out of range                                             */
    GD__OFF = 32,      /* `off` is allowed beside the range                                         */
    GD__LATER = 64     /* not in the fingerprint while it has its default: runs from before it go on */
};

typedef struct gd__key {
    const char *name;     /* dotted                                                                 */
    gd__type type;
    size_t offset;        /* of the field in gd_recipe                                              */
    const char *fallback; /* the default as a recipe would say it; NULL: null, or required          */
    const char *help;     /* what it is, with its unit; half a sentence                             */
    int flags, count;
    double low, high, off;
    const char *const *choices;
    /* "other.key=word word": this key has a meaning only while the other key has one of the values;
     * "other.key!word word": only while it has none of them. The other key must have a meaning itself. */
    const char *needs;
    const char *also;     /* what other programs call it, in words; for suggestions                 */
    const char *hints;    /* "word=choice word=choice": what others call a choice                   */
} gd__key;
// clang-format on

/* Sources of points in the plane, of two domains, and of those with aligned pairs. */
#define GD__POINTS  "ring grid swiss-roll"
#define GD__PAIRS   "edges2fashion pairs synthetic-pairs"
#define GD__DOMAINS GD__PAIRS " bags2shoes fashion-hflip fashion-invert split-pairs unpaired"

enum { GD__KEYS_MAX = 192, GD__SECTIONS_MAX = 32 };
extern const gd__key gd__keys[];
extern const int gd__key_count;

/* A group of keys, with the sentence that opens its part of the docs. */
typedef struct gd__section {
    const char *name, *help;
} gd__section;
extern const gd__section gd__sections[];
extern const int gd__section_count;

/* -1 when there is no such key. */
int gd__key_find(const char *name);
bool gd__is_section(const char *name);
/* Whether `name` lies directly in `section` ("" is the top); *leaf is then its last part. */
bool gd__key_in(const char *name, const char *section, const char **leaf);

#endif
