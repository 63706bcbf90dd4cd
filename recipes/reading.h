/* recipes/reading.h -- a recipe while it is read, and single values on their way in and out.
 * Internal to recipes/. */
#ifndef GANDIST_RECIPES_READING_H
#define GANDIST_RECIPES_READING_H

#include "recipes/out.h"
#include "recipes/schema.h"
#include "recipes/yaml.h"

// clang-format off
/* What gd_recipe.owner points to: the memory of a recipe, and where each value was given. */
typedef struct gd__owner {
    gd_arena *arena;
    gd__place given[GD__KEYS_MAX];     /* source NULL: the default */
    const char *origin[GD__KEYS_MAX];  /* the same as text         */
    uint64_t fingerprint;
} gd__owner;

typedef struct gd__reading {
    gd_recipe *recipe;
    gd__owner *owner;
    gd__problems problems;
    bool bad[GD__KEYS_MAX];            /* given, but not usable: no further rule looks at it */
    gd__place section[GD__SECTIONS_MAX]; /* where each section of the schema starts            */
    gd__place top;                     /* start of the recipe                                */
    int sources;
    bool understood;                   /* every text could be read to its end                */
    bool listed;                       /* a problem has listed the keys of a section already */
    bool inherited;                    /* what is read comes from a recipe named by `extends` */
} gd__reading;

enum { GD__FORMAT = 1 }; /* of recipes: the key `gandist` */
// clang-format on

/* value.c: one value of one key */

/* Stores the value of a node in the field of a key. Adds a problem and returns false if it does not
 * fit. */
bool gd__value_read(gd__reading *r, int key, const gd__node *n);
/* Stores the default. false: no memory. */
bool gd__value_reset(gd_recipe *recipe, gd_arena *arena, int key);
/* Appends the value as a recipe would say it, on one line. */
void gd__value_write(gd__out *out, const gd_recipe *recipe, int key);
bool gd__value_equal(const gd_recipe *a, const gd_recipe *b, int key);
/* The key that gd__key.needs names; -1: none. */
int gd__key_needed(int key);
/* Whether other keys give this one a meaning (gd__key.needs, and the needs of the key named there). If not,
 * *blocked is the last key of this chain whose own needs are not met. */
bool gd__value_applies(const gd_recipe *recipe, int key, int *blocked);
/* Whether `word` stands in the blank-separated `list`. */
bool gd__listed(const char *list, const char *word);
/* "> 0", "in [0, 1)", "0 or in [1, 64]"; empty when there is no range. full: with an end that is
 * only there to keep numbers sane. */
void gd__range_text(const gd__key *k, bool full, char *out, size_t room);

/* layers.c: explicit networks */
bool gd__layers_read(gd__reading *r, int key, const gd__node *n);
void gd__layers_write(gd__out *out, const gd_recipe_layer *layers, int count);
bool gd__layers_equal(const gd_recipe_layer *a, int na, const gd_recipe_layer *b, int nb);

/* tree.c: a whole text */

/* Takes over every value of a recipe's tree. */
void gd__tree_read(gd__reading *r, const gd__node *root);
/* Takes over the value of one `--set key=value`. */
void gd__tree_read_key(gd__reading *r, const char *key, const gd__node *value, gd__place at);

/* check.c: what no single value can tell */
void gd__check(gd__reading *r);

/* text.c: gd_recipe_fingerprint. false: no memory. */
bool gd__fingerprint(const gd_recipe *r, uint64_t *hash);

/* The same for all scalars: a number at this node, or a problem that starts with 'what'. */
bool gd__number_int(gd__reading *r, const gd__node *n, const char *what, int64_t *out);
bool gd__number_float(gd__reading *r, const gd__node *n, const char *what, double *out);
bool gd__bool(gd__reading *r, const gd__node *n, const char *what, bool *out);
/* One of the words (NULL ends them), or a problem "unknown what 'x'; one of: ...". *out: static. */
bool gd__word(gd__reading *r, const gd__node *n, const char *what, const char *const *words,
              const char *hints, const char **out);
/* "a map", "a list", "text \"x\"", for messages. owner: arena of r. */
const char *gd__node_text(gd__reading *r, const gd__node *n);

#endif
