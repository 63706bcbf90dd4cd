/* tests/ops/compute_closure.c -- the op table is closed under differentiation.
 *
 * Walks the table: every row has cases, every case's gradient builds without error, and each op that
 * its rule builds is a leaf or has a rule itself. Only the four ops declared piecewise constant may
 * build nothing. Then third derivatives of every case build, too. */
#include <string.h>

#include "cases.h"
#include "compute/grad.h"

static bool declared_zero(gd_op op) {
    return op == GD_OP_SIGN || op == GD_OP_STEP || op == GD_OP_LEAKY_SLOPE || op == GD_OP_STOP;
}

/* Ops that can be passed through on the way back. */
static bool has_rule(gd_op op) {
    return gd__op_vjp[op] && (gd__op_vjp[op] != gd__vjp_none || gd_op_class_of(op) == GD_CLASS_LEAF);
}

static int complain(const char *name, const char *what) {
    printf("FAIL %s: %s\n", name, what);
    return 1;
}

/* Builds the rule of one case alone; marks the ops it used in built. */
static int check_rule(const ops_case *c, bool built[GD_OP_COUNT]) {
    gd_graph *g = ops_graph(1);
    gd_node x[2], dx[2];
    gd_node y = ops_case_build(g, c, x), cot = gd_input(g, "c", GD_F32, gd_node_shape(g, y));
    int before = gd_graph_count(g), bad = 0;
    gd_grad(g, y, cot, c->n_in, x, dx);
    ops_need(gd_graph_status(g), c->name);
    int rules = 0;
    for (int n = before; n < gd_graph_count(g); n++) {
        gd_op op = gd_graph_at(g, n)->op;
        built[op] = true;
        rules += op != GD_OP_CONST;
        if (!has_rule(op)) bad += complain(c->name, "its rule builds an op without a rule");
    }
    for (int i = 0; i < c->n_in; i++)
        if (!gd_shape_equal(gd_node_shape(g, dx[i]), c->in[i]))
            bad += complain(c->name, "the gradient has another shape than the input");
    if (declared_zero(c->op) && rules) bad += complain(c->name, "declared zero, but builds nodes");
    if (!declared_zero(c->op) && gd_op_class_of(c->op) != GD_CLASS_LEAF) {
        /* dy itself may be the gradient (add), but then it is not a zero constant */
        for (int i = 0; i < c->n_in; i++)
            if (gd_graph_at(g, dx[i])->op == GD_OP_CONST) bad += complain(c->name, "gradient is zero");
    }
    gd_graph_free(g);
    return bad;
}

/* Third derivatives: all ops that rules build appear inside gradients again. */
static int check_deep(const ops_case *c) {
    gd_graph *g = ops_graph(1);
    gd_node x[2], dx[2];
    gd_node y = ops_case_build(g, c, x);
    for (int order = 0; order < 3; order++) {
        y = gd_sum_all(g, gd_tanh(g, y)); /* tanh: so that no order is linear */
        gd_grad(g, y, GD_NONE, c->n_in, x, dx);
        y = dx[0];
    }
    gd_status st = gd_graph_status(g);
    gd_graph_free(g);
    return st == GD_OK ? 0 : complain(c->name, gd_error_message());
}

/* Reductions by a sync norm over shards. */
static int check_sharded(void) {
    int bad = 0;
    for (int which = 0; which < 2; which++) {
        gd_graph *g = ops_graph(4);
        gd_node x = gd_param(g, "x", gd_shape4(2, 3, 3, 5), 0), dx = x;
        gd_node y = which ? gd_norm_rstd(g, x, 7, 1e-5, true) : gd_normalize(g, x, 7, 1e-5, true);
        for (int order = 0; order < 3; order++) {
            gd_grad(g, gd_sum_all(g, gd_square(g, y)), GD_NONE, 1, &x, &dx);
            y = dx;
        }
        if (gd_graph_status(g) != GD_OK) bad += complain("sync norm", gd_error_message());
        for (int n = 0; n < gd_graph_count(g); n++)
            if (!has_rule(gd_graph_at(g, n)->op)) bad += complain("sync norm", "an op without a rule");
        gd_graph_free(g);
    }
    return bad;
}

int main(void) {
    int n, bad = 0, cases[GD_OP_COUNT] = {0};
    bool built[GD_OP_COUNT] = {false};
    const ops_case *list = ops_cases(&n);
    for (int i = 0; i < n; i++) {
        cases[list[i].op]++;
        bad += check_rule(&list[i], built);
        bad += check_deep(&list[i]);
        for (int j = 0; j < i; j++)
            if (strcmp(list[i].name, list[j].name) == 0) bad += complain(list[i].name, "named twice");
    }
    for (int op = 0; op < GD_OP_COUNT; op++) {
        if (cases[op] < 3) bad += complain(gd_op_text((gd_op)op), "fewer than three cases");
        if (built[op] && !has_rule((gd_op)op)) bad += complain(gd_op_text((gd_op)op), "has no rule");
        if ((gd__op_vjp[op] == gd__vjp_zero) != declared_zero((gd_op)op))
            bad += complain(gd_op_text((gd_op)op), "has gradient zero, which nobody declared");
    }
    bad += check_sharded();
    printf("%d ops, %d cases, %d complaints\n", GD_OP_COUNT, n, bad);
    return bad || n == 0;
}
