/* models/spectral.c -- spectral normalisation. Miyato et al. 2018, algorithm 1, as torch.nn.utils.spectral_norm.
 *
 * A weight as a matrix W [output units, everything else] is divided by sigma = u' W v, where u and v come closer to its
 * first singular vectors by one power iteration a training pass: v = W' u / |W' u|, u = W v / |W v|. They are constants
 * for the gradient, W in sigma is not. Both are buffers, made of parameters alone, so all shards hold the same bits.
 *
 * Products are written as multiplications and sums: they stay f32 in mixed precision, as all statistics do. */
#include "models/layers.h"

static const double EPS = 1e-12; /* of a length */

/* The matrix in memory: [rows, columns], rows being the output units; for transposed convolutions, stored [in,R,S,out],
 * it is [columns, rows]. */
typedef struct matrix {
    gd_graph *g;
    int row_axis;
    int64_t rows, columns;
} matrix;

static matrix matrix_of(gd_graph *g, const gd__layer *l, gd_shape w) {
    bool transposed = l->kind == GD__LAYER_DECONV;
    int64_t rows = w.dim[transposed ? w.rank - 1 : 0];
    return (matrix){g, transposed, rows, gd_shape_count(w) / rows};
}

/* A vector of n numbers along one of the matrix's two axes. */
static gd_node along(const matrix *m, gd_node x, int64_t n, int axis) {
    return gd_reshape(m->g, x, axis ? gd_shape2(1, n) : gd_shape2(n, 1));
}

static gd_node times_u(const matrix *m, gd_node w, gd_node u) {
    return gd_sum(m->g, gd_mul(m->g, w, u), 1u << m->row_axis);
}

static gd_node times_v(const matrix *m, gd_node w, gd_node v) {
    return gd_sum(m->g, gd_mul(m->g, w, v), 2u >> m->row_axis);
}

static gd_node unit(gd_graph *g, gd_node x) {
    gd_node length = gd_sqrt(g, gd_sum_all(g, gd_square(g, x)));
    return gd_div(g, x, gd_max(g, length, gd_const(g, EPS, gd_shape2(1, 1))));
}

/* Files hold v in PyTorch's order, C,R,S; a convolution's weight lies in memory as R,S,C. */
static gd_node reorder(gd_graph *g, const gd__layer *l, gd_node v, int64_t columns, bool to_memory) {
    static const int into[GD_RANK_MAX] = {0, 2, 3, 1}, back[GD_RANK_MAX] = {0, 3, 1, 2};
    int64_t taps = (int64_t)l->kernel_h * l->kernel_w;
    if (l->kind != GD__LAYER_CONV || taps == 1 || columns == taps) return v;
    int64_t h = l->kernel_h, w = l->kernel_w, c = columns / taps;
    v = gd_reshape(g, v, to_memory ? gd_shape4(1, c, h, w) : gd_shape4(1, h, w, c));
    return gd_permute(g, v, to_memory ? into : back);
}

gd_node gd__spectral_weight(gd_net_use *use, const gd__layer *l, bool move) {
    gd_graph *g = use->graph;
    gd_node weight = use->node[l->param], *u_buffer = &use->node[l->spectral], *v_buffer = u_buffer + 1;
    gd_shape shape = gd_node_shape(g, weight);
    if (weight == GD_NONE) return GD_NONE;
    matrix m = matrix_of(g, l, shape);
    int u_axis = m.row_axis, v_axis = 1 - m.row_axis;
    gd_node w = gd_reshape(g, weight, m.row_axis ? gd_shape2(m.columns, m.rows) : gd_shape2(m.rows, m.columns));
    gd_node u = along(&m, *u_buffer, m.rows, u_axis);
    gd_node v = along(&m, reorder(g, l, *v_buffer, m.columns, true), m.columns, v_axis);
    if (move) {
        gd_node fixed = gd_stop(g, w);
        v = unit(g, times_u(&m, fixed, u));
        u = unit(g, times_v(&m, fixed, v));
        *u_buffer = gd_reshape(g, u, gd_shape1(m.rows));
        *v_buffer = gd_reshape(g, reorder(g, l, v, m.columns, false), gd_shape1(m.columns));
    }
    gd_node sigma = gd_sum_all(g, gd_mul(g, u, times_v(&m, w, v)));
    if (shape.rank == 4) sigma = gd_reshape(g, sigma, gd_shape4(1, 1, 1, 1));
    return gd_mul(g, weight, gd_recip(g, sigma));
}
