/* A recipe's tree against the schema: which keys are given, and what a key that is none might mean.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "recipes/reading.h"

/* Keys of the top that are about the text itself; they have no row in the schema. */
static const char *const text_keys[] = {"extends", "gandist"};
enum { TEXT_KEYS = sizeof text_keys / sizeof *text_keys, NAME_ROOM = 160 };

/* ---- what an unknown key might mean ---- */

static void dotted(char out[NAME_ROOM], const char *section, const char *leaf) {
    /* Longer than any key there is: cut, it stays unknown. */
    snprintf(out, NAME_ROOM, "%.*s%s%.*s", NAME_ROOM / 2 - 2, section, *section ? "." : "", NAME_ROOM / 2 - 2, leaf);
}

/* Lower case, '_' for '-': how the words of gd__key.also are written. */
static void plain_word(char out[NAME_ROOM], const char *word) {
    size_t i = 0;
    for (; word[i] && i + 1 < NAME_ROOM; i++) out[i] = word[i] == '-' ? '_' : (char)tolower((unsigned char)word[i]);
    out[i] = 0;
}

static const char *leaf_of(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* "optimizer.g" of "optimizer.g.lr"; "" of a key of the top. */
static void section_of(char out[NAME_ROOM], const char *name) {
    size_t n = (size_t)(leaf_of(name) - name);
    snprintf(out, NAME_ROOM, "%.*s", n ? (int)n - 1 : 0, name);
}

/* The key right in this section that other programs call `word`, or -1. */
static int called_here(const char *section, const char *word) {
    const char *leaf;
    for (int i = 0; i < gd__key_count; i++)
        if (gd__key_in(gd__keys[i].name, section, &leaf) && gd__keys[i].also && gd__listed(gd__keys[i].also, word))
            return i;
    return -1;
}

/* The key or section right in this section whose name is nearest. */
static const char *near_here(const char *section, const char *word) {
    const char *names[GD__KEYS_MAX + GD__SECTIONS_MAX + TEXT_KEYS];
    size_t n = 0;
    for (int i = 0; i < gd__key_count; i++) n += gd__key_in(gd__keys[i].name, section, &names[n]);
    for (int i = 0; i < gd__section_count; i++) n += gd__key_in(gd__sections[i].name, section, &names[n]);
    for (int i = 0; i < TEXT_KEYS && !*section; i++) names[n++] = text_keys[i];
    return gd_nearest(word, names, n);
}

/* The sections that have a key or section of this name, as "'optimizer.g' or 'optimizer.d'". */
static bool homes_of(const char *word, gd__out *out) {
    char section[NAME_ROOM];
    int count = 0;
    for (int i = 0; i < gd__key_count + gd__section_count && count < 4; i++) {
        const char *name = i < gd__key_count ? gd__keys[i].name : gd__sections[i - gd__key_count].name;
        if (strcmp(leaf_of(name), word)) continue;
        section_of(section, name);
        if (*section) gd__put(out, "%s'%s'", count++ ? " or " : "under ", section);
        else gd__put(out, "%sat the top", count++ ? " or " : "");
    }
    return count;
}

/* The keys anywhere that other programs call `word`, as "'optimizer.g.lr' or 'optimizer.d.lr'". */
static bool called_anywhere(const char *word, gd__out *out) {
    int count = 0;
    for (int i = 0; i < gd__key_count && count < 3; i++)
        if (gd__keys[i].also && gd__listed(gd__keys[i].also, word) && !gd__listed("kind type name size", word))
            gd__put(out, "%s'%s'", count++ ? " or " : "", gd__keys[i].name);
    return count;
}

static void list_here(const char *section, gd__out *out) {
    const char *leaf;
    int count = 0;
    for (int i = 0; i < gd__key_count + gd__section_count; i++) {
        const char *name = i < gd__key_count ? gd__keys[i].name : gd__sections[i - gd__key_count].name;
        if (gd__key_in(name, section, &leaf)) gd__put(out, "%s%s", count++ ? ", " : "", leaf);
    }
}

static void unknown_key(gd__reading *r, const char *section, const char *key, gd__place at) {
    gd__out tail = {0}, text = {0};
    char word[NAME_ROOM], full[NAME_ROOM];
    plain_word(word, key);
    int other = called_here(section, word);
    const char *near = other >= 0 ? leaf_of(gd__keys[other].name) : near_here(section, key);
    dotted(full, section, near ? near : "");
    int meant = near ? gd__key_find(full) : -1;
    if (meant >= 0) r->bad[meant] = true; /* and so it is not told to be missing as well */
    if (near) gd__put(&tail, "did you mean '%s'?", at.source->argument ? full : near);
    else if (strchr(key, '.') && (gd__key_find(key) >= 0 || gd__is_section(key)))
        gd__put(&tail, "write it nested, or with --set %s=...", key);
    else if (homes_of(word, &text)) gd__put(&tail, "it belongs %s", text.text);
    else if (called_anywhere(word, &text)) gd__put(&tail, "did you mean %s?", text.text);
    else if (r->listed) gd__put(&tail, "'gandist schema' lists the keys");
    else {
        list_here(section, &text);
        gd__put(&tail, "one of: %s", text.text ? text.text : "");
        r->listed = true;
    }
    const char *shown = gd__excerpt(r->problems.arena, key), *advice = tail.text ? tail.text : "";
    if (*section) gd__problem(&r->problems, at, "unknown key '%s' in '%s'; %s", shown, section, advice);
    else gd__problem(&r->problems, at, "unknown key '%s'; %s", shown, advice);
    r->problems.nomem |= tail.nomem || text.nomem;
    gd__out_free(&tail);
    gd__out_free(&text);
}

/* ---- taking values over ---- */

static void take_value(gd__reading *r, int key, const gd__node *n, gd__place at) {
    if ((gd__keys[key].flags & GD__OWN) && r->inherited) return;
    r->bad[key] = !gd__value_read(r, key, n);
    r->owner->given[key] = at;
}

static void take_version(gd__reading *r, const gd__node *n) {
    int64_t version;
    if (!gd__number_int(r, n, "'gandist'", &version) || version == GD__FORMAT) return;
    gd__problem(&r->problems, n->at, "recipes of format %lld are not known; this version reads format %d",
                (long long)version, GD__FORMAT);
}

/* A section that is no map: says how the section is written. */
static void no_map(gd__reading *r, const char *section, const gd__node *n) {
    const char *leaf, *first = NULL;
    bool kind = false;
    for (int i = 0; i < gd__key_count; i++)
        if (gd__key_in(gd__keys[i].name, section, &leaf)) {
            if (!first) first = leaf;
            kind |= !strcmp(leaf, "kind");
        }
    bool empty = n->kind == GD__SCALAR && n->plain && !*n->text;
    bool word = n->kind == GD__SCALAR && !empty;
    if (empty) gd__problem(&r->problems, n->at, "'%s' has no keys; give some, write {}, or remove it", section);
    else if (word && first)
        gd__problem(&r->problems, n->at, "'%s' wants a map such as {%s: %s}, got %s", section, kind ? "kind" : first,
                    gd__excerpt(r->problems.arena, n->text), gd__node_text(r, n));
    else gd__problem(&r->problems, n->at, "'%s' wants a map of keys, got %s", section, gd__node_text(r, n));
}

static void take_map(gd__reading *r, const char *section, const gd__node *map);

static void take_section(gd__reading *r, const char *section, const gd__node *n) {
    if (n->kind != GD__MAP) {
        no_map(r, section, n);
        return;
    }
    for (int i = 0; i < gd__section_count; i++)
        if (!strcmp(gd__sections[i].name, section)) r->section[i] = n->at;
    take_map(r, section, n);
}

static bool is_text_key(const char *section, const char *key) {
    bool found = false;
    for (int i = 0; i < TEXT_KEYS && !*section; i++) found |= !strcmp(key, text_keys[i]);
    return found;
}

static void take_entry(gd__reading *r, const char *section, const gd__node *n) {
    char full[NAME_ROOM];
    dotted(full, section, n->key);
    int key = strchr(n->key, '.') ? -1 : gd__key_find(full);
    if (key >= 0) take_value(r, key, n, n->at);
    else if (is_text_key(section, n->key)) {
        if (!strcmp(n->key, "gandist")) take_version(r, n); /* `extends` was followed before */
    } else if (!strchr(n->key, '.') && gd__is_section(full)) take_section(r, full, n);
    else unknown_key(r, section, n->key, n->key_at);
}

static void take_map(gd__reading *r, const char *section, const gd__node *map) {
    for (const gd__node *n = map->child; n; n = n->next) {
        if (gd__problems_full(&r->problems)) {
            r->problems.more = true;
            return;
        }
        const gd__node *first = map->child;
        while (first != n && strcmp(first->key, n->key)) first = first->next;
        if (first != n)
            gd__problem(&r->problems, n->key_at, "'%s' given twice; first at line %d",
                        gd__excerpt(r->problems.arena, n->key), first->key_at.line);
        else take_entry(r, section, n);
    }
}

void gd__tree_read(gd__reading *r, const gd__node *root) {
    if (root->kind != GD__MAP) {
        gd__problem(&r->problems, root->at, "a recipe is a map of keys such as 'seed: 1', not %s",
                    gd__node_text(r, root));
        return;
    }
    r->top = root->at;
    take_map(r, "", root);
}

/* Finds the part of a dotted name that is wrong. */
static void unknown_path(gd__reading *r, const char *name, gd__place at) {
    char section[NAME_ROOM] = "", full[NAME_ROOM], part[NAME_ROOM];
    for (const char *s = name;;) {
        size_t n = strcspn(s, ".");
        snprintf(part, sizeof part, "%.*s", (int)(n < NAME_ROOM ? n : NAME_ROOM - 1), s);
        dotted(full, section, part);
        if (gd__key_find(full) >= 0) {
            gd__problem(&r->problems, at, "'%s' is a value, it has no keys of its own", full);
            return;
        }
        if (!gd__is_section(full)) {
            unknown_key(r, section, part, at);
            return;
        }
        memcpy(section, full, sizeof section);
        s += n + (s[n] == '.');
    }
}

void gd__tree_read_key(gd__reading *r, const char *key, const gd__node *value, gd__place at) {
    int found = gd__key_find(key);
    if (found >= 0) take_value(r, found, value, at);
    else if (gd__is_section(key)) take_section(r, key, value);
    else if (is_text_key("", key)) gd__problem(&r->problems, at, "'%s' stands in a recipe only", key);
    else unknown_path(r, key, at);
}
