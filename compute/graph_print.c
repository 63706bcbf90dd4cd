/* compute/graph_print.c -- a graph as text, one line a node. */
#include <inttypes.h>
#include <stdio.h>

#include "compute/build.h"

static void print_range(FILE *out, const gd_node_info *n, const char *what) {
    int rank = n->op == GD_OP_SLICE || n->op == GD_OP_PAD ? n->shape.rank : 3;
    fprintf(out, " %s", what);
    for (int i = 0; i < rank; i++) fprintf(out, "%s%" PRId64 ":%" PRId64, i ? "," : "=", n->attr.lo[i], n->attr.hi[i]);
}

static void print_result_dtype(FILE *out, const gd_attr *a) {
    if (a->kind != GD_F32) fprintf(out, " result=%s", gd_dtype_text((gd_dtype)a->kind));
}

static void print_conv(FILE *out, const gd_attr *a) {
    fprintf(out, " stride=%d pad=%d,%d,%d,%d", a->stride, a->pad[0], a->pad[1], a->pad[2], a->pad[3]);
    print_result_dtype(out, a);
}

static void print_axes(FILE *out, const gd_node_info *n) {
    fprintf(out, " axes=");
    for (int i = 0; i < GD_RANK_MAX; i++)
        if (n->attr.axes >> i & 1) fprintf(out, "%d", i);
}

static void print_perm(FILE *out, const gd_node_info *n) {
    fprintf(out, " perm=");
    for (int i = 0; i < n->shape.rank; i++) fprintf(out, "%d", n->attr.perm[i]);
}

static void print_attr(FILE *out, const gd_node_info *n) {
    const gd_attr *a = &n->attr;
    switch (n->op) {
    case GD_OP_PARAM:
        if (a->version) fprintf(out, " version=%d", a->version);
        break;
    case GD_OP_CONST: fprintf(out, " value=%.17g", a->value); break;
    case GD_OP_RANDOM:
        fprintf(out, " %s purpose=%u stream=%u", a->kind == GD_RANDOM_NORMAL ? "normal" : "uniform",
                a->purpose & 0xffff, a->purpose >> 16);
        break;
    case GD_OP_LEAKY:
    case GD_OP_LEAKY_SLOPE: fprintf(out, " slope=%.17g", a->value); break;
    case GD_OP_CLAMP: fprintf(out, " range=%.17g,%.17g", a->value, a->value2); break;
    case GD_OP_SUM: print_axes(out, n); break;
    case GD_OP_PERMUTE: print_perm(out, n); break;
    case GD_OP_CONCAT: fprintf(out, " axis=%d", a->axis); break;
    case GD_OP_SLICE: print_range(out, n, "range"); break;
    case GD_OP_PAD:
    case GD_OP_PAD_REFLECT:
    case GD_OP_FOLD_REFLECT: print_range(out, n, "border"); break;
    case GD_OP_UPSAMPLE:
    case GD_OP_SUMPOOL: fprintf(out, " factor=%d", a->factor); break;
    case GD_OP_MATMUL:
        fprintf(out, " transposed=%s%s", a->ta ? "a" : "", a->tb ? "b" : "");
        print_result_dtype(out, a);
        break;
    case GD_OP_CONV:
    case GD_OP_CONV_DX:
    case GD_OP_CONV_DW: print_conv(out, a); break;
    case GD_OP_NORMALIZE:
    case GD_OP_NORM_RSTD:
        print_axes(out, n);
        fprintf(out, " eps=%.17g%s", a->value, a->sync ? " sync" : "");
        break;
    default: break; /* no attributes, or the shape, which is printed anyway */
    }
}

void gd_graph_print(const gd_graph *g, FILE *out) {
    for (gd_node i = 0; i < gd_graph_count(g); i++) {
        const gd_node_info *n = gd_graph_at(g, i);
        char shape[96];
        gd_shape_text(n->shape, shape);
        fprintf(out, "%d %s %s %s", (int)i, gd_op_text(n->op), shape, n->name);
        if (n->in[0] != GD_NONE) fprintf(out, " <- %d", (int)n->in[0]);
        if (n->in[1] != GD_NONE) fprintf(out, " %d", (int)n->in[1]);
        print_attr(out, n);
        if (n->dtype != GD_F32) fprintf(out, " %s", gd_dtype_text(n->dtype));
        if (n->phase) fprintf(out, " phase=%d", n->phase);
        fputc('\n', out);
    }
}
