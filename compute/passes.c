/* compute/passes.c -- the order of the passes, and their dumps. */
#include "compute/passes.h"

#include <stdlib.h>

#include "base/io.h"
#include "compute/build.h"

enum { ROUNDS_MAX = 8 };

/* Shape and type are what the rules of the op make of the inputs as they are now. */
static gd_status verify_inferred(gd_graph *g, const gd_node_info *n) {
    gd_node_info fresh = *n;
    if (!gd__op_infer[n->op](g, &fresh)) return gd_context(gd_graph_status(g), "pass");
    if (gd_shape_equal(fresh.shape, n->shape) && fresh.dtype == n->dtype) return GD_OK;
    char is[96], should[96];
    gd_shape_text(n->shape, is);
    gd_shape_text(fresh.shape, should);
    GD_FAIL(INTERNAL, "pass: %s is %s %s; expected %s %s", n->name, gd_dtype_text(n->dtype), is,
            gd_dtype_text(fresh.dtype), should);
}

/* What holds between passes: inputs before users, no input of a later phase, shapes and types. */
static gd_status verify(const gd__ir *ir) {
    for (gd_node n = 0; n < gd_graph_count(ir->graph); n++) {
        const gd_node_info *i = gd_graph_at(ir->graph, n);
        for (int k = 0; k < gd_op_arity(i->op); k++) {
            if (i->in[k] < 0 || i->in[k] >= n) GD_FAIL(INTERNAL, "pass: %s reads a later node", i->name);
            if (gd_graph_at(ir->graph, i->in[k])->phase > i->phase)
                GD_FAIL(INTERNAL, "pass: %s reads a node of a later phase", i->name);
        }
        GD_TRY(verify_inferred(ir->graph, i));
    }
    return GD_OK;
}

gd_status gd__dump(const gd_program_opts *o, const char *what, gd__printer print, const void *of) {
    if (!o->dump_dir) return GD_OK;
    char name[256], *text = NULL;
    size_t bytes;
    int length = snprintf(name, sizeof name, "%s-%s.txt", o->name ? o->name : "program", what);
    if (length >= (int)sizeof name) GD_FAIL(CANTCREAT, "dump: the program's name is too long: %.100s...", name);
    GD_TRY(gd_dir_make(o->dump_dir));
    char *path = gd_path_join(o->dump_dir, name);
    FILE *f = path ? open_memstream(&text, &bytes) : NULL;
    gd_status st;
    if (!f) GD_FAIL_TO(done, NOMEM, "dump: no memory for %s", name);
    print(of, f);
    if (fclose(f)) GD_FAIL_TO(done, NOMEM, "dump: no memory for %s", name);
    st = gd_file_write(path, text, bytes);
done:
    free(text);
    free(path);
    return st;
}

static void print_graph(const void *graph, FILE *out) { gd_graph_print(graph, out); }

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
    char what[64];
    snprintf(what, sizeof what, "%02d-%s", ++p->number, name);
    return gd__dump(p->opts, what, print_graph, p->now.graph);
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

/* Lowered, from the graph of the caller, which stays as it is. */
static gd_status lower(passes *p, const gd_graph *g, int n_out, const gd_output *out) {
    gd__ir made;
    GD_TRY(gd_graph_status(g));
    gd_node *root = malloc(((size_t)n_out + 1) * sizeof *root);
    if (!root) GD_FAIL(NOMEM, "pass: no memory for %d outputs", n_out);
    gd_status st;
    for (int i = 0; i < n_out; i++) {
        root[i] = out[i].node;
        if (root[i] < 0 || root[i] >= gd_graph_count(g))
            GD_FAIL_TO(done, INTERNAL, "program: output %s is no node of the graph", out[i].name);
    }
    GD_TRY_TO(done, gd__rewrite(g, n_out, root, gd__rule_lower, NULL, &made));
    GD_TRY_TO(done, advance(p, &made, "lower"));
done:
    free(root);
    return st;
}

static gd_status versions(passes *p, const gd_graph *g, const gd_output *out) {
    gd__ir made;
    GD_TRY(gd__pass_versions(g, out, &p->now, &made));
    return advance(p, &made, "versions");
}

static gd_status run(passes *p, const gd_graph *g, int n_out, const gd_output *out) {
    GD_TRY(lower(p, g, n_out, out));
    GD_TRY(merge(p));
    GD_TRY(shrink(p));
    if (p->opts->precision == GD_PRECISION_BF16) {
        GD_TRY(apply(p, gd__rule_bf16, "bf16"));
        GD_TRY(shrink(p));
    }
    return versions(p, g, out);
}

gd_status gd__run_passes(const gd_graph *g, int n_out, const gd_output *out_list, const gd_program_opts *o,
                         gd__ir *ir) {
    passes p = {.opts = o};
    gd_status st = run(&p, g, n_out, out_list);
    if (st == GD_OK) *ir = p.now;
    else gd__ir_free(&p.now);
    return st;
}
