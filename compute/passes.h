/* compute/passes.h -- graph to graph, one small step each. Folder-internal.
 *
 * A pass walks the nodes that the roots need, in order, and a rule says what stands for each of them
 * in a new graph. So every pass also removes dead code, and a pass never changes a graph. */
#ifndef GANDIST_COMPUTE_PASSES_H
#define GANDIST_COMPUTE_PASSES_H

#include "compute/program.h"

/* A graph with the nodes that somebody wants. */
typedef struct gd__ir {
    gd_graph *graph;
    int n_roots;
    gd_node *root;
    int *overwritten; /* per node, made by pass `versions`, NULL before: first phase in which the memory
                         of this PARAM holds a later version; INT32_MAX: never, or no PARAM            */
} gd__ir;

void gd__ir_free(gd__ir *ir);

/* The node of `to` that stands for n (a node of the old graph) on the translated inputs a, b. The
 * phase and the name scope of `to` are those of n. */
typedef gd_node (*gd__rule)(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b);
/* Errors: NOMEM, SHAPE and INTERNAL (a rule built something wrong). */
GD_CHECKED gd_status gd__rewrite(const gd_graph *from, int n_roots, const gd_node *root, gd__rule rule, void *ctx,
                                 gd__ir *to);

/* The passes as rules. */
gd_node gd__rule_lower(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b);
gd_node gd__rule_simplify(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b);
gd_node gd__rule_bf16(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b);
/* Common subexpressions: nodes equal in op, inputs and attributes become one. */
GD_CHECKED gd_status gd__pass_merge(const gd__ir *from, gd__ir *to);
/* Copies of parameters that would be overwritten before somebody reads them. g: as the caller wrote it,
 * with all versions; out: its outputs, one a root. Errors: also INTERNAL (a version that first appears
 * where a later one is read). */
GD_CHECKED gd_status gd__pass_versions(const gd_graph *g, const gd_output *out, const gd__ir *from, gd__ir *to);

/* All passes in their order; root r of *ir is out_list[r].node. Errors: as the passes; INTERNAL (an
 * output is no node of g); CANTCREAT and IO for dumps. */
GD_CHECKED gd_status gd__run_passes(const gd_graph *g, int n_out, const gd_output *out_list,
                                    const gd_program_opts *o, gd__ir *ir);

/* Writes what print prints of `of` to <dump_dir>/<program's name>-<what>.txt; nothing without a dump_dir.
 * Errors: CANTCREAT, IO, NOMEM. */
typedef void (*gd__printer)(const void *of, FILE *out);
GD_CHECKED gd_status gd__dump(const gd_program_opts *o, const char *what, gd__printer print, const void *of);

#endif
