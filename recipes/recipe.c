/* Reading a recipe: the texts it is made of in order, then the checks that need all of it. */
#include "recipes/recipe.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "recipes/reading.h"
#include "recipes/source.h"

enum { CHAIN_MAX = 8 }; /* recipes that extend one another */

/* The recipes that are being read: each was named by `extends` of the one before. */
typedef struct chain {
    const struct chain *up;
    const gd__source *source;
    int depth;
    bool is_file;
    dev_t device;
    ino_t inode;
} chain;

static chain chain_link(const chain *up, const gd__source *source) {
    chain c = {.up = up, .source = source, .depth = up ? up->depth + 1 : 1};
    struct stat st;
    c.is_file = gd_io_get()->stat(source->name, &st) == 0;
    if (c.is_file) {
        c.device = st.st_dev;
        c.inode = st.st_ino;
    }
    return c;
}

static bool runs_in_circle(const chain *c) {
    for (const chain *u = c->up; u; u = u->up)
        if (u->is_file && c->is_file && u->device == c->device && u->inode == c->inode) return true;
    return false;
}

/* The entry `extends` of the top, or NULL. */
static const gd__node *find_extends(const gd__node *root) {
    if (!root || root->kind != GD__MAP) return NULL;
    for (const gd__node *n = root->child; n; n = n->next)
        if (!strcmp(n->key, "extends")) return n;
    return NULL;
}

static gd_status read_text(gd__reading *r, gd__source *source, const chain *up);

/* Reads the recipe that `extends` names. What is wrong with the file itself is told where it was
 * named. */
static gd_status read_base(gd__reading *r, const gd__node *n, const chain *link) {
    r->understood = false; /* until the other recipe is there too */
    if (n->kind != GD__SCALAR || !*n->text) {
        gd__problem(&r->problems, n->at, "'extends' wants the path of a recipe, got %s",
                    n->kind == GD__SCALAR ? "nothing" : gd__node_text(r, n));
        return GD_OK;
    }
    const char *path = gd__source_beside(r->owner->arena, link->source->name, n->text);
    if (!path) GD_FAIL(NOMEM, "recipe %s: the path it extends", link->source->name);
    gd__source *base;
    gd_status st = gd__source_read(r->owner->arena, path, &base);
    if (st == GD_NOMEM) return gd_trace(st, __FILE__, __LINE__);
    if (st != GD_OK) {
        gd__problem(&r->problems, n->at, "'extends' cannot be followed: %s", gd_error_message());
        return GD_OK;
    }
    chain next = chain_link(link, base);
    if (runs_in_circle(&next)) {
        gd__problem(&r->problems, n->at, "'extends' runs in a circle: %s is being read already", path);
        return GD_OK;
    }
    if (next.depth > CHAIN_MAX) {
        gd__problem(&r->problems, n->at, "more than %d recipes extend one another", CHAIN_MAX);
        return GD_OK;
    }
    r->understood = true;
    return read_text(r, base, link);
}

static int problem_count(const gd__reading *r) { return r->problems.count + r->problems.more; }

/* Reads one text: first the recipe it extends, so that its own values come later and win. */
static gd_status read_text(gd__reading *r, gd__source *source, const chain *up) {
    chain link = chain_link(up, source);
    int before = problem_count(r);
    gd__node *root;
    GD_TRY(gd__yaml_read(&r->problems, source, 0, &root));
    const gd__node *extends = find_extends(root);
    if (extends) GD_TRY(read_base(r, extends, &link));
    source->order = r->sources++;
    r->inherited = up != NULL;
    r->understood &= root && root->kind == GD__MAP;
    if (root) gd__tree_read(r, root);
    else if (problem_count(r) == before && !up)
        GD_FAIL(CONFIG, "%s: empty; expected a recipe ('gandist schema' lists the keys)", source->name);
    else if (problem_count(r) == before)
        gd__problem(&r->problems, (gd__place){source, 1, 1}, "empty; expected a recipe");
    return GD_OK;
}

/* One --set argument, from 1. */
static gd_status read_argument(gd__reading *r, const char *argument, int number) {
    char name[32];
    snprintf(name, sizeof name, "--set #%d", number);
    gd__source *source;
    GD_TRY(gd__source_copy(r->owner->arena, name, argument, strlen(argument), &source));
    source->argument = true;
    source->order = r->sources++;
    r->inherited = false;
    gd__place start = {source, 1, 1};
    const char *sign = strchr(source->text, '=');
    if (!sign || sign == source->text) {
        gd__problem(&r->problems, start, "expected KEY=VALUE such as seed=7, got \"%s\"",
                    gd__excerpt(r->owner->arena, source->text));
        return GD_OK;
    }
    const char *key = gd_arena_printf(r->owner->arena, "%.*s", (int)(sign - source->text), source->text);
    if (!key) GD_FAIL(NOMEM, "%s", name);
    int before = problem_count(r);
    gd__node *root;
    GD_TRY(gd__yaml_read(&r->problems, source, (size_t)(sign - source->text) + 1, &root));
    if (root) gd__tree_read_key(r, key, root, start);
    else if (problem_count(r) == before)
        gd__problem(&r->problems, start, "'%s' has no value", gd__excerpt(r->owner->arena, key));
    return GD_OK;
}

static gd_status new_recipe(gd__reading *r) {
    gd_arena *arena = gd_arena_new();
    if (!arena) GD_FAIL(NOMEM, "recipe");
    *r = (gd__reading){.problems.arena = arena, .understood = true};
    r->recipe = gd_arena_alloc(arena, sizeof *r->recipe);
    r->owner = gd_arena_alloc(arena, sizeof *r->owner);
    bool good = r->recipe && r->owner;
    for (int i = 0; good && i < gd__key_count; i++) good = gd__value_reset(r->recipe, arena, i);
    if (!good) {
        gd_arena_free(arena);
        GD_FAIL(NOMEM, "recipe");
    }
    r->owner->arena = arena;
    r->recipe->owner = r->owner;
    return GD_OK;
}

/* After all texts: the default name, the checks, and where everything came from as text. */
static gd_status finish(gd__reading *r, const gd__source *source) {
    gd_arena *arena = r->owner->arena;
    if (!r->recipe->name) r->recipe->name = gd__source_stem(arena, source->name);
    if (!r->recipe->name) GD_FAIL(NOMEM, "recipe %s: its name", source->name);
    if (!r->top.source) r->top = (gd__place){source, 1, 1};
    if (r->understood) gd__check(r);
    GD_TRY(gd__problems_raise(&r->problems));
    for (int i = 0; i < gd__key_count; i++) {
        r->owner->origin[i] = gd__place_text(arena, r->owner->given[i]);
        if (!r->owner->origin[i]) GD_FAIL(NOMEM, "recipe %s: where its values come from", source->name);
    }
    if (!gd__fingerprint(r->recipe, &r->owner->fingerprint)) GD_FAIL(NOMEM, "recipe %s: its fingerprint", source->name);
    return GD_OK;
}

static gd_status read_all(gd__reading *r, gd__source *source, const gd_recipe_opts *o) {
    GD_TRY(read_text(r, source, NULL));
    for (int i = 0; o && i < o->set_count; i++) GD_TRY(read_argument(r, o->set[i], i + 1));
    return finish(r, source);
}

gd_status gd_recipe_load(const char *path, const gd_recipe_opts *o, gd_recipe **out) {
    gd__reading r;
    gd__source *source;
    gd_status st;
    GD_TRY(new_recipe(&r));
    const char *found = gd__source_find(r.owner->arena, path);
    if (!found) GD_FAIL_TO(fail, NOMEM, "recipe %s", path);
    GD_TRY_TO(fail, gd__source_read(r.owner->arena, found, &source));
    GD_TRY_TO(fail, read_all(&r, source, o));
    *out = r.recipe;
    return GD_OK;
fail:
    gd_recipe_free(r.recipe);
    return st;
}

gd_status gd_recipe_parse(const char *name, const char *text, size_t bytes, const gd_recipe_opts *o, gd_recipe **out) {
    gd__reading r;
    gd__source *source;
    gd_status st;
    GD_TRY(new_recipe(&r));
    GD_TRY_TO(fail, gd__source_copy(r.owner->arena, name, text, bytes, &source));
    GD_TRY_TO(fail, read_all(&r, source, o));
    *out = r.recipe;
    return GD_OK;
fail:
    gd_recipe_free(r.recipe);
    return st;
}

void gd_recipe_free(gd_recipe *r) {
    if (!r) return;
    gd__owner *owner = r->owner;
    gd_arena_free(owner->arena); /* the recipe itself is in it */
}

const char *gd_recipe_origin(const gd_recipe *r, const char *key) {
    int i = gd__key_find(key);
    const gd__owner *owner = r->owner;
    return i < 0 ? "default" : owner->origin[i];
}

uint64_t gd_recipe_fingerprint(const gd_recipe *r) { return ((const gd__owner *)r->owner)->fingerprint; }
