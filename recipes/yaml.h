/* recipes/yaml.h -- the part of YAML that a recipe may use, as a tree that knows where everything
 * was.
 *
 * Maps, lists and scalars in block or flow style, in one UTF-8 document. Refused: anchors, aliases,
 * tags, merge keys, more documents, keys that are not text, control characters. Bounds: 1 MiB,
 * depth 32, 20,000 nodes, keys of 64 and texts of 4096 bytes. Built on libyaml's events, which know
 * no types: the schema decides what a scalar is. Internal to recipes/. */
#ifndef GANDIST_RECIPES_YAML_H
#define GANDIST_RECIPES_YAML_H

#include "recipes/problem.h"

// clang-format off
enum { GD__BYTES_MAX = 1 << 20, GD__DEPTH_MAX = 32, GD__NODES_MAX = 20000, GD__KEY_MAX = 64, GD__TEXT_MAX = 4096 };

typedef enum gd__kind { GD__SCALAR, GD__MAP, GD__LIST } gd__kind;

typedef struct gd__node {
    gd__kind kind;
    bool plain;               /* a scalar without quotes          */
    const char *text;         /* of a scalar                      */
    gd__place at;
    const char *key;          /* of an entry of a map             */
    gd__place key_at;
    struct gd__node *child, *last, *next;
    int count;                /* of children                      */
} gd__node;
// clang-format on

/* Reads source->text from byte `skip` on. *root: owner: problems->arena; NULL when the text is
 * empty or a problem was added that leaves no tree. Duplicate keys are left to the caller. Errors:
 * NOMEM. */
GD_CHECKED gd_status gd__yaml_read(gd__problems *p, const gd__source *source, size_t skip,
                                   gd__node **root);

/* Adds a problem and returns false unless the text is UTF-8 without control characters. */
bool gd__yaml_check_text(gd__problems *p, const gd__source *source);

/* Whether a text (UTF-8, as libyaml hands it over) is one line without control characters. */
bool gd__yaml_is_line(const char *text, size_t bytes);

/* What libyaml says about a syntax error, and where, from 0 (syntax.c turns it into our words). */
typedef struct gd__syntax_error {
    const char *problem, *context; /* may be NULL */
    gd__place problem_at, context_at;
} gd__syntax_error;
void gd__yaml_explain(gd__problems *p, const gd__syntax_error *e);

#endif
