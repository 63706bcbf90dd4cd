/* compute/build.h -- adding nodes: what builders, gradient rules and passes share.
 * Folder-internal. */
#ifndef GANDIST_COMPUTE_BUILD_H
#define GANDIST_COMPUTE_BUILD_H

#include "compute/graph.h"

/* Adds one node: checks inputs and attributes (infer.c) and gives it shape, dtype, a name
 * "<scope>/<op><id>" and the current phase. b: GD_NONE for unary ops; attr NULL: all zero.
 * GD_NONE when the graph has an error or gets one here. Simplifies nothing. */
gd_node gd__add(gd_graph *g, gd_op op, gd_node a, gd_node b, const gd_attr *attr);
/* The same for a leaf with a name of its own (NULL: made up). attr: shape, and kind = dtype of INPUT. */
gd_node gd__add_leaf(gd_graph *g, gd_op op, const char *name, const gd_attr *attr);
/* A node like `like` (often of another graph: op, attributes, name, phase) on other inputs. */
gd_node gd__add_like(gd_graph *g, const gd_node_info *like, gd_node a, gd_node b);

/* True when x can be used as an input of a new node; a bad x without an earlier error (GD_NONE from
 * nowhere) becomes an error of node `op`. */
bool gd__usable(gd_graph *g, gd_op op, gd_node x);
/* Name that the next node will have. */
void gd__next_name(const gd_graph *g, gd_op op, char *out, size_t room);
bool gd__failed(const gd_graph *g);
/* The newest unary node of this op, input and attributes that may run in the current phase; GD_NONE. */
gd_node gd__find(const gd_graph *g, gd_op op, gd_node a, const gd_attr *attr);
bool gd__attr_equal(const gd_attr *a, const gd_attr *b); /* padding aside */
/* Records "name: ..." as a SHAPE error of the graph. Always false. */
bool gd__refuse(gd_graph *g, const char *name, const char *format, ...) GD_PRINTF(3, 4);

/* Shape and dtype of n from its inputs and attributes (op, in, attr, name are set); false after
 * gd__refuse. */
typedef bool (*gd__infer_fn)(gd_graph *g, gd_node_info *n);
extern const gd__infer_fn gd__op_infer[GD_OP_COUNT];
/* Result of gd_conv; false with the reason in why. */
bool gd__conv_shape(gd_shape x, gd_shape w, const gd_attr *a, gd_shape *y, char why[160]);

/* Gradient rule: y's inputs get dx[i] = (dy/dx_i)^T dy as new nodes where need[i]; GD_NONE: zero.
 * Refers to forward nodes only, so that its own gradient is right too. */
typedef void (*gd__vjp_fn)(gd_graph *g, gd_node y, gd_node dy, const bool need[2], gd_node dx[2]);
extern const gd__vjp_fn gd__op_vjp[GD_OP_COUNT];

/* Name prefix of new nodes. */
typedef struct gd__scope {
    char text[256]; /* "D/conv3/" or empty */
    int depth;
    int cut[16];    /* length of text before each push */
} gd__scope;
/* New nodes are named beside node `like` of graph `of`, one level down if sub is not NULL
 * ("D/conv3/conv12", "grad" -> "D/conv3/grad/..."). *saved goes back with gd__scope_leave. */
void gd__scope_enter(gd_graph *g, const char *beside, const char *sub, gd__scope *saved);
void gd__scope_leave(gd_graph *g, const gd__scope *saved);
int gd__graph_phase(const gd_graph *g);

#endif
