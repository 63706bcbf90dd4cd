/* compute/ops.h -- the table of tensor operations.
 *
 * One row an op: enum name, text, number of inputs, class, rule names. infer_* (infer.c) gives shape
 * and dtype and checks attributes when a node is built; vjp_* (grad_*.c) builds the gradient from ops
 * of this same table, so the table is closed under differentiation and gradients of gradients work
 * for all of it. A test walks the table and proves it.
 *
 * class: LEAF    no inputs, value from outside or from an attribute
 *        EW      elementwise: all inputs and the output have one shape; fused by executors
 *        VIEW    the same bytes under another shape
 *        MOVE    rearranges elements        RED  reduction        HEAVY  own kernel each
 *        COMM    sums over shards; execution pauses there, whoever runs the program does the sum
 *        HIGH    removed by lowering before execution (pass `lower`), differentiated as one op */
#ifndef GANDIST_COMPUTE_OPS_H
#define GANDIST_COMPUTE_OPS_H

/*    op             text            in class  infer          vjp                */
#define GD_OP_LIST(X)                                                                              \
    X(INPUT,         "input",         0, LEAF,  infer_leaf,    vjp_none)                           \
    X(PARAM,         "param",         0, LEAF,  infer_leaf,    vjp_none)                           \
    X(CONST,         "const",         0, LEAF,  infer_leaf,    vjp_none)                           \
    X(RANDOM,        "random",        0, LEAF,  infer_leaf,    vjp_none)                           \
    X(NEG,           "neg",           1, EW,    infer_same,    vjp_neg)                            \
    X(ABS,           "abs",           1, EW,    infer_same,    vjp_abs)                            \
    X(SIGN,          "sign",          1, EW,    infer_same,    vjp_zero)                           \
    X(STEP,          "step",          1, EW,    infer_same,    vjp_zero)                           \
    X(SQUARE,        "square",        1, EW,    infer_same,    vjp_square)                         \
    X(SQRT,          "sqrt",          1, EW,    infer_same,    vjp_sqrt)                           \
    X(RSQRT,         "rsqrt",         1, EW,    infer_same,    vjp_rsqrt)                          \
    X(RECIP,         "recip",         1, EW,    infer_same,    vjp_recip)                          \
    X(EXP,           "exp",           1, EW,    infer_same,    vjp_exp)                            \
    X(LOG,           "log",           1, EW,    infer_same,    vjp_log)                            \
    X(TANH,          "tanh",          1, EW,    infer_same,    vjp_tanh)                           \
    X(SIGMOID,       "sigmoid",       1, EW,    infer_same,    vjp_sigmoid)                        \
    X(SOFTPLUS,      "softplus",      1, EW,    infer_same,    vjp_softplus)                       \
    X(LEAKY,         "leaky",         1, EW,    infer_same,    vjp_leaky)                          \
    X(LEAKY_SLOPE,   "leaky_slope",   1, EW,    infer_same,    vjp_zero)                           \
    X(CLAMP,         "clamp",         1, EW,    infer_same,    vjp_clamp)                          \
    X(CAST,          "cast",          1, EW,    infer_cast,    vjp_cast)                           \
    X(STOP,          "stop_gradient", 1, EW,    infer_same,    vjp_zero)                           \
    X(ADD,           "add",           2, EW,    infer_same,    vjp_add)                            \
    X(SUB,           "sub",           2, EW,    infer_same,    vjp_sub)                            \
    X(MUL,           "mul",           2, EW,    infer_same,    vjp_mul)                            \
    X(DIV,           "div",           2, EW,    infer_same,    vjp_div)                            \
    X(MAX,           "max",           2, EW,    infer_same,    vjp_max)                            \
    X(MIN,           "min",           2, EW,    infer_same,    vjp_min)                            \
    X(BROADCAST,     "broadcast",     1, MOVE,  infer_bcast,   vjp_broadcast)                      \
    X(SUM,           "sum",           1, RED,   infer_sum,     vjp_sum)                            \
    X(RESHAPE,       "reshape",       1, VIEW,  infer_reshape, vjp_reshape)                        \
    X(PERMUTE,       "permute",       1, MOVE,  infer_permute, vjp_permute)                        \
    X(CONCAT,        "concat",        2, MOVE,  infer_concat,  vjp_concat)                         \
    X(SLICE,         "slice",         1, MOVE,  infer_slice,   vjp_slice)                          \
    X(PAD,           "pad",           1, MOVE,  infer_pad,     vjp_pad)                            \
    X(PAD_REFLECT,   "pad_reflect",   1, MOVE,  infer_pad,     vjp_pad_reflect)                    \
    X(FOLD_REFLECT,  "fold_reflect",  1, MOVE,  infer_fold,    vjp_fold_reflect)                   \
    X(UPSAMPLE,      "upsample",      1, MOVE,  infer_up,      vjp_upsample)                       \
    X(SUMPOOL,       "sumpool",       1, MOVE,  infer_pool,    vjp_sumpool)                        \
    X(MATMUL,        "matmul",        2, HEAVY, infer_matmul,  vjp_matmul)                         \
    X(CONV,          "conv",          2, HEAVY, infer_conv,    vjp_conv)                           \
    X(CONV_DX,       "conv_dx",       2, HEAVY, infer_conv_dx, vjp_conv_dx)                        \
    X(CONV_DW,       "conv_dw",       2, HEAVY, infer_conv_dw, vjp_conv_dw)                        \
    X(ALLREDUCE,     "allreduce",     1, COMM,  infer_same,    vjp_allreduce)                      \
    X(NORMALIZE,     "normalize",     1, HIGH,  infer_norm,    vjp_normalize)                      \
    X(NORM_RSTD,     "norm_rstd",     1, HIGH,  infer_norm,    vjp_norm_rstd)

typedef enum gd_op {
#define GD_OP_ENUM(name, text, in, class, infer, vjp) GD_OP_##name,
    GD_OP_LIST(GD_OP_ENUM)
#undef GD_OP_ENUM
        GD_OP_COUNT
} gd_op;

typedef enum gd_op_class {
    GD_CLASS_LEAF, GD_CLASS_EW, GD_CLASS_VIEW, GD_CLASS_MOVE, GD_CLASS_RED, GD_CLASS_HEAVY,
    GD_CLASS_COMM, GD_CLASS_HIGH
} gd_op_class;

const char *gd_op_text(gd_op op);
int gd_op_arity(gd_op op);
gd_op_class gd_op_class_of(gd_op op);

#endif
