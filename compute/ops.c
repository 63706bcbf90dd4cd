/* compute/ops.c -- text, arity and class of the op table. */
#include "compute/ops.h"

typedef struct op_row {
    const char *text;
    int arity;
    gd_op_class class;
} op_row;

static const op_row rows[] = {
#define GD_OP_ROW(name, text, in, class, infer, vjp) {text, in, GD_CLASS_##class},
    GD_OP_LIST(GD_OP_ROW)
#undef GD_OP_ROW
};
_Static_assert(sizeof rows / sizeof rows[0] == GD_OP_COUNT, "one row an op");

const char *gd_op_text(gd_op op) { return rows[op].text; }
int gd_op_arity(gd_op op) { return rows[op].arity; }
gd_op_class gd_op_class_of(gd_op op) { return rows[op].class; }
