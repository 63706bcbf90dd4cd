/* compute/passes.c -- the order of the passes, and their dumps. */
#include "compute/passes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

enum { ROUNDS_MAX = 8 };

/* What holds between passes: inputs before users, later phases never read by earlier ones. */
static gd_status verify(const gd__ir *ir) {
    for (gd_node n = 0; n < gd_graph_count(ir->graph); n++) {
        const gd_node_info *i = gd_graph_at(ir->graph, n);
        for (int k = 0; k < gd_op_arity(i->op); k++) {
            if (i->in[k] < 0 || i->in[k] >= n) GD_FAIL(INTERNAL, "pass: %s reads a later node", i->name);
            if (gd_graph_at(ir->graph, i->in[k])->phase > i->phase)
                GD_FAIL(INTERNAL, "pass: %s reads a node of a later phase", i->name);
        }
    }
    return GD_OK;
}

static gd_status dump(const gd__ir *ir, const gd_program_opts *o, int number, const char *pass) {
    if (!o->dump_dir) return GD_OK;
    char path[4096], *text = NULL;
    size_t bytes;
    GD_TRY(gd_dir_make(o->dump_dir));
    snprintf(path, sizeof path, "%s/%s-%02d-%s.txt", o->dump_dir, o->name ? o->name : "program", number, pass);
    FILE *f = open_memstream(&text, &bytes);
    if (!f) GD_FAIL(NOMEM, "%s: no memory", path);
    gd_graph_print(ir->graph, f);
    gd_status st = GD_OK;
    if (fclose(f)) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: no memory", path);
    else st = gd_file_write(path, text, bytes);
    free(text);
    return st;
}

typedef struct passes {
    const gd_program_opts *opts;
    gd__ir now;
    int number; /* of passes run */
} passes;

/* Takes over what a pass made. */
static gd_status advance(passes *p, gd__ir *made, const char *name) {
    gd__ir_free(&p->now);
    p->now = *made;
    GD_TRY(verify(&p->now));
    return dump(&p->now, p->opts, ++p->number, name);
}

static gd_status apply(passes *p, gd__rule rule, const char *name) {
    gd__ir made;
    GD_TRY(gd__rewrite(p->now.graph, p->now.n_roots, p->now.root, rule, NULL, &made));
    return advance(p, &made, name);
}

static gd_status merge(passes *p) {
    gd__ir made;
    GD_TRY(gd__pass_merge(&p->now, &made));
    return advance(p, &made, "merge");
}

/* Simplifying makes nodes equal and merging makes new things to simplify: until nothing shrinks. */
static gd_status shrink(passes *p) {
    int before = INT32_MAX;
    for (int i = 0; i < ROUNDS_MAX && gd_graph_count(p->now.graph) < before; i++) {
        before = gd_graph_count(p->now.graph);
        GD_TRY(apply(p, gd__rule_simplify, "simplify"));
        GD_TRY(merge(p));
    }
    return GD_OK;
}

static gd_status run(passes *p, const gd_graph *g, int n_roots, const gd_node *root) {
    gd__ir made;
    GD_TRY(gd__rewrite(g, n_roots, root, gd__rule_lower, NULL, &made));
    GD_TRY(advance(p, &made, "lower"));
    GD_TRY(merge(p));
    GD_TRY(shrink(p));
    if (p->opts->precision != GD_PRECISION_BF16) return GD_OK;
    GD_TRY(apply(p, gd__rule_bf16, "bf16"));
    return shrink(p);
}

gd_status gd__run_passes(const gd_graph *g, int n_roots, const gd_node *root, const gd_program_opts *o, gd__ir *out) {
    passes p = {.opts = o};
    GD_TRY(gd_graph_status(g));
    gd_status st = run(&p, g, n_roots, root);
    if (st == GD_OK) *out = p.now;
    else gd__ir_free(&p.now);
    return st;
}
