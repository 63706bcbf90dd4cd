#include "recipes/yaml.h"

#include <string.h>
#include <yaml.h>

typedef struct reader {
    gd__problems *problems;
    const gd__source *source;
    int shift; /* columns of line 1 before the text that is parsed */
    yaml_parser_t parser;
    gd__node *open[GD__DEPTH_MAX];
    const char *key[GD__DEPTH_MAX]; /* in a map: read, its value comes next             */
    gd__place key_at[GD__DEPTH_MAX];
    int depth, nodes, documents;
    gd__node *root;
    bool stop; /* nothing after this can be understood             */
} reader;

static gd__place place(const reader *r, yaml_mark_t m) {
    return (gd__place){r->source, (int)m.line + 1, (int)m.column + 1 + (m.line ? 0 : r->shift)};
}

static gd__node *new_node(reader *r, gd__kind kind, yaml_mark_t m) {
    gd__node *n = gd_arena_alloc(r->problems->arena, sizeof *n);
    if (!n) {
        r->problems->nomem = r->stop = true;
        return NULL;
    }
    n->kind = kind;
    n->at = place(r, m);
    if (++r->nodes > GD__NODES_MAX) {
        gd__problem(r->problems, n->at, "more than %d values; a recipe is smaller than that", GD__NODES_MAX);
        r->stop = true;
    }
    return n;
}

/* Hangs a finished or just opened node below the open map or list. */
static void attach(reader *r, gd__node *n) {
    if (!r->depth) {
        r->root = n;
        return;
    }
    gd__node *parent = r->open[r->depth - 1];
    if (parent->kind == GD__MAP) {
        n->key = r->key[r->depth - 1];
        n->key_at = r->key_at[r->depth - 1];
        r->key[r->depth - 1] = NULL;
    }
    if (parent->last) parent->last->next = n;
    else parent->child = n;
    parent->last = n;
    parent->count++;
}

static bool awaits_key(const reader *r) {
    return r->depth && r->open[r->depth - 1]->kind == GD__MAP && !r->key[r->depth - 1];
}

static void refuse_marks(reader *r, yaml_mark_t m, const void *anchor, const void *tag) {
    if (anchor) gd__problem(r->problems, place(r, m), "anchors and aliases are not supported; write the value out");
    if (tag) gd__problem(r->problems, place(r, m), "tags are not supported; remove the '!...'");
}

static void open_node(reader *r, gd__kind kind, yaml_mark_t m) {
    if (awaits_key(r)) {
        gd__problem(r->problems, place(r, m), "a key must be a word, not a %s", kind == GD__MAP ? "map" : "list");
        r->stop = true;
        return;
    }
    if (r->depth == GD__DEPTH_MAX) {
        gd__problem(r->problems, place(r, m), "nesting deeper than %d", GD__DEPTH_MAX);
        r->stop = true;
        return;
    }
    gd__node *n = new_node(r, kind, m);
    if (!n) return;
    attach(r, n);
    r->key[r->depth] = NULL;
    r->open[r->depth++] = n;
}

static void take_key(reader *r, const char *text, size_t bytes, gd__place at, bool plain) {
    if (plain && !strcmp(text, "<<"))
        gd__problem(r->problems, at, "merge keys are not supported; use 'extends: other.yaml'");
    if (bytes > GD__KEY_MAX)
        gd__problem(r->problems, at, "a key of %zu bytes; the longest allowed is %d", bytes, GD__KEY_MAX);
    r->key[r->depth - 1] = text;
    r->key_at[r->depth - 1] = at;
}

static void take_scalar(reader *r, const yaml_event_t *e) {
    const char *value = (const char *)e->data.scalar.value;
    size_t bytes = e->data.scalar.length;
    gd__place at = place(r, e->start_mark);
    if (!gd__yaml_is_line(value, bytes)) {
        gd__problem(r->problems, at, "line breaks and control characters are not allowed in a text");
        value = "";
        bytes = 0;
    } else if (bytes > GD__TEXT_MAX) {
        gd__problem(r->problems, at, "a text of %zu bytes; the longest allowed is %d", bytes, GD__TEXT_MAX);
        value = "";
        bytes = 0;
    }
    const char *text = gd_arena_strdup(r->problems->arena, value);
    if (!text) {
        r->problems->nomem = r->stop = true;
        return;
    }
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (awaits_key(r)) {
        take_key(r, text, bytes, at, plain);
        return;
    }
    gd__node *n = new_node(r, GD__SCALAR, e->start_mark);
    if (!n) return;
    n->text = text;
    n->plain = plain;
    attach(r, n);
}

static void take_document(reader *r, const yaml_event_t *e) {
    if (r->documents++) {
        gd__place at = place(r, e->start_mark);
        gd__problem(r->problems, at, "a second document starts at line %d; a recipe is one document", at.line);
        r->stop = true;
    } else if (e->data.document_start.tag_directives.start != e->data.document_start.tag_directives.end) {
        gd__problem(r->problems, place(r, e->start_mark), "tags are not supported; remove the %%TAG line");
    }
}

static void take_event(reader *r, const yaml_event_t *e) {
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT: take_document(r, e); break;
    case YAML_ALIAS_EVENT:
        refuse_marks(r, e->start_mark, "", NULL);
        r->stop = true;
        break;
    case YAML_SCALAR_EVENT:
        refuse_marks(r, e->start_mark, e->data.scalar.anchor, e->data.scalar.tag);
        take_scalar(r, e);
        break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_marks(r, e->start_mark, e->data.sequence_start.anchor, e->data.sequence_start.tag);
        open_node(r, GD__LIST, e->start_mark);
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_marks(r, e->start_mark, e->data.mapping_start.anchor, e->data.mapping_start.tag);
        open_node(r, GD__MAP, e->start_mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: r->depth--; break;
    default: break;
    }
    if (gd__problems_full(r->problems)) r->stop = true;
}

static gd_status syntax_error(reader *r) {
    yaml_parser_t *y = &r->parser;
    if (y->error == YAML_MEMORY_ERROR) GD_FAIL(NOMEM, "recipe %s: its YAML text", r->source->name);
    gd__syntax_error e = {.problem = y->problem,
                          .context = y->context,
                          .problem_at = place(r, y->problem_mark),
                          .context_at = place(r, y->context_mark)};
    gd__yaml_explain(r->problems, &e);
    r->stop = true;
    return GD_OK;
}

static int characters(const char *s, size_t bytes) {
    int n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

gd_status gd__yaml_read(gd__problems *p, const gd__source *source, size_t skip, gd__node **root) {
    *root = NULL;
    if (!gd__yaml_check_text(p, source)) return GD_OK;
    reader r = {.problems = p, .source = source, .shift = characters(source->text, skip)};
    if (!yaml_parser_initialize(&r.parser)) GD_FAIL(NOMEM, "recipe %s: its YAML parser", source->name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)source->text + skip, source->bytes - skip);
    gd_status st = GD_OK;
    for (bool more = true; more && !r.stop && st == GD_OK;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r.parser, &e)) {
            st = syntax_error(&r);
        } else {
            take_event(&r, &e);
            more = e.type != YAML_STREAM_END_EVENT;
            yaml_event_delete(&e);
        }
    }
    yaml_parser_delete(&r.parser);
    if (st == GD_OK && p->nomem) GD_FAIL(NOMEM, "recipe %s: its values", source->name);
    if (st == GD_OK && !r.stop) *root = r.root;
    return st;
}
