/* compute/graph.h -- the tensor graph: what is computed, never where or when.
 *
 * Nodes are small integers, made in topological order, immutable, and live as long as their graph.
 * A graph holds no data pointer; memory is the plan's business (program.h).
 *
 * Shapes. Up to 4 dimensions, row-major, contiguous. Images are [N,H,W,C] (channel fastest), dense
 * activations [N,C], convolution weights [K,R,S,C]. Letters: N batch, C/K channels, H,W / P,Q
 * spatial, R,S kernel, Z latent. Every binary elementwise builder broadcasts dimensions of size 1
 * (equal rank) by inserting BROADCAST nodes.
 *
 * Errors. Builders return a node. The first mistake is kept in the graph with the name of the node
 * and what was expected (gd_graph_status); from then on builders return GD_NONE, and GD_NONE as an
 * input is passed through silently. So model code reads like formulas and is checked once.
 *
 * Shards. A graph describes the work of one shard of the global batch. N is the shard's own batch;
 * what must see the global batch goes through gd_allreduce and uses gd_graph_shards(). */
#ifndef GANDIST_COMPUTE_GRAPH_H
#define GANDIST_COMPUTE_GRAPH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "compute/ops.h"

enum { GD_RANK_MAX = 4, GD_NONE = -1 };

typedef int32_t gd_node;

/* F32 is the working type. U8 and BF16 appear as INPUT types and through CAST; the executor `ref`
 * stores every type as double. */
typedef enum gd_dtype { GD_F32, GD_BF16, GD_U8 } gd_dtype;
size_t gd_dtype_bytes(gd_dtype t);
const char *gd_dtype_text(gd_dtype t);

typedef struct gd_shape {
    int rank;
    int64_t dim[GD_RANK_MAX]; /* entries at and behind rank are 0 */
} gd_shape;
gd_shape gd_shape1(int64_t a);
gd_shape gd_shape2(int64_t a, int64_t b);
gd_shape gd_shape4(int64_t n, int64_t h, int64_t w, int64_t c);
int64_t gd_shape_count(gd_shape s);
bool gd_shape_equal(gd_shape a, gd_shape b);
void gd_shape_text(gd_shape s, char out[96]); /* "[64,32,32,3]" */

typedef enum gd_random_kind { GD_RANDOM_UNIFORM, GD_RANDOM_NORMAL } gd_random_kind;

/* Attributes of all ops; unused fields are zero, so two attribute sets compare by memcmp. */
typedef struct gd_attr {
    double value;               /* CONST value, LEAKY slope, CLAMP low, NORMALIZE eps              */
    double value2;              /* CLAMP high                                                      */
    uint32_t axes;              /* SUM, NORMALIZE, NORM_RSTD: bit i = dimension i                  */
    int32_t axis;               /* CONCAT                                                          */
    int32_t perm[GD_RANK_MAX];  /* PERMUTE: output dimension i is input dimension perm[i]          */
    int64_t lo[GD_RANK_MAX];    /* SLICE begin; PAD, PAD_REFLECT, FOLD_REFLECT amount before       */
    int64_t hi[GD_RANK_MAX];    /* SLICE end (exclusive); PAD.. amount after                       */
    int32_t stride;             /* CONV*                                                           */
    int32_t pad[4];             /* CONV*: top, bottom, left, right of the image x                  */
    int32_t factor;             /* UPSAMPLE, SUMPOOL (both spatial directions)                     */
    int32_t ta, tb;             /* MATMUL: use a (b) transposed                                    */
    int32_t kind;               /* RANDOM: gd_random_kind; INPUT, CAST: gd_dtype; CONV*, MATMUL:
                                   gd_dtype of the result (0: F32)                                 */
    uint32_t purpose;           /* RANDOM: gd_purpose | stream << 16                               */
    int32_t sync;               /* NORMALIZE, NORM_RSTD: statistics over all shards                */
    int32_t version;            /* PARAM: 0, or how many updates it has seen in this program       */
    gd_shape shape;             /* BROADCAST, RESHAPE target; CONV_DX: of x; CONV_DW: of w         */
} gd_attr;

typedef struct gd_node_info {
    gd_op op;
    gd_dtype dtype;
    gd_shape shape;
    gd_node in[2];
    int phase;        /* see gd_graph_set_phase */
    gd_attr attr;
    const char *name; /* "D/conv3/y"; owner: the graph. INPUT, PARAM: unique, chosen by the caller */
} gd_node_info;

typedef struct gd_graph gd_graph;

/* shards: into how many equal parts the global batch is cut (>= 1). Errors: NOMEM. */
GD_CHECKED gd_status gd_graph_new(int64_t shards, gd_graph **out);
void gd_graph_free(gd_graph *g);
/* GD_OK, or the first error made while building. Raises it into this thread's record. */
GD_CHECKED gd_status gd_graph_status(const gd_graph *g);
/* Puts an error of model code (a bad layer, say) into the graph; returns GD_NONE. */
gd_node gd_graph_fail(gd_graph *g, gd_status st, const char *format, ...) GD_PRINTF(3, 4);
int64_t gd_graph_shards(const gd_graph *g);
int gd_graph_count(const gd_graph *g);
const gd_node_info *gd_graph_at(const gd_graph *g, gd_node n); /* n valid; owner: g */
gd_shape gd_node_shape(const gd_graph *g, gd_node n);          /* rank 0 for GD_NONE */
/* Name prefix for nodes built from now on: push "D", push "conv3" gives "D/conv3/...". */
void gd_graph_push(gd_graph *g, const char *format, ...) GD_PRINTF(2, 3);
void gd_graph_pop(gd_graph *g);
/* Phase of nodes built from now on. A program runs phase 0, pauses, phase 1, ...: parameters may be
 * updated at the pause. A node runs in the earliest phase that one of its users is in, and never
 * before its own: values of an earlier phase stay alive for later ones. */
void gd_graph_set_phase(gd_graph *g, int phase);
/* One line a node: "12 conv [64,32,32,64] D/conv1 <- 10 11 stride=2". */
void gd_graph_print(const gd_graph *g, FILE *out);

/* ---- leaves ---- (a name asked for again, with the same version, gives the node that is there) */
gd_node gd_input(gd_graph *g, const char *name, gd_dtype t, gd_shape s);
/* A value owned by the caller that persists between runs. Two nodes of one name are the same
 * storage; version says how many updates inside this program came before (0 unless phases). */
gd_node gd_param(gd_graph *g, const char *name, gd_shape s, int version);
gd_node gd_const(gd_graph *g, double value, gd_shape s);
/* Draws keyed by (run seed, purpose, run step, global sample): element j of sample n (dimension 0)
 * is draw j. uniform [0,1) or standard normal, as base/rng.h. Its gradient is none. */
gd_node gd_random(gd_graph *g, gd_random_kind kind, uint32_t purpose, gd_shape s);

/* ---- elementwise (source: the obvious formula; step(0) = 0, sign(0) = 0, leaky'(0) = slope) ---- */
gd_node gd_neg(gd_graph *g, gd_node x);
gd_node gd_abs(gd_graph *g, gd_node x);
gd_node gd_sign(gd_graph *g, gd_node x);
gd_node gd_step(gd_graph *g, gd_node x); /* 1 where x > 0, else 0; derivative declared 0 */
gd_node gd_square(gd_graph *g, gd_node x);
gd_node gd_sqrt(gd_graph *g, gd_node x);
gd_node gd_rsqrt(gd_graph *g, gd_node x);
gd_node gd_recip(gd_graph *g, gd_node x);
gd_node gd_exp(gd_graph *g, gd_node x);
gd_node gd_log(gd_graph *g, gd_node x);
gd_node gd_tanh(gd_graph *g, gd_node x);
gd_node gd_sigmoid(gd_graph *g, gd_node x);
gd_node gd_softplus(gd_graph *g, gd_node x); /* log(1 + e^x), stable for every x */
gd_node gd_leaky(gd_graph *g, gd_node x, double slope); /* slope 0: ReLU */
gd_node gd_leaky_slope(gd_graph *g, gd_node x, double slope); /* x > 0 ? 1 : slope */
gd_node gd_clamp(gd_graph *g, gd_node x, double low, double high);
gd_node gd_cast(gd_graph *g, gd_node x, gd_dtype t);
gd_node gd_stop(gd_graph *g, gd_node x); /* x, but gradients stop here */
gd_node gd_add(gd_graph *g, gd_node a, gd_node b);
gd_node gd_sub(gd_graph *g, gd_node a, gd_node b);
gd_node gd_mul(gd_graph *g, gd_node a, gd_node b);
gd_node gd_div(gd_graph *g, gd_node a, gd_node b);
gd_node gd_max(gd_graph *g, gd_node a, gd_node b); /* gradient to a where a > b, else to b */
gd_node gd_min(gd_graph *g, gd_node a, gd_node b);
gd_node gd_scale(gd_graph *g, gd_node x, double factor); /* x * const */
gd_node gd_shift(gd_graph *g, gd_node x, double offset); /* x + const */

/* ---- shape ---- (what would change nothing gives x itself) */
gd_node gd_broadcast(gd_graph *g, gd_node x, gd_shape s);  /* dimensions of 1 are repeated         */
gd_node gd_sum(gd_graph *g, gd_node x, uint32_t axes);     /* summed dimensions stay, with size 1  */
gd_node gd_sum_all(gd_graph *g, gd_node x);                /* -> [1,..] of x's rank                */
gd_node gd_mean(gd_graph *g, gd_node x, uint32_t axes);    /* over this shard only                 */
gd_node gd_reshape(gd_graph *g, gd_node x, gd_shape s);
gd_node gd_permute(gd_graph *g, gd_node x, const int *perm);
gd_node gd_concat(gd_graph *g, gd_node a, gd_node b, int axis);
gd_node gd_slice(gd_graph *g, gd_node x, const int64_t *lo, const int64_t *hi);
gd_node gd_pad(gd_graph *g, gd_node x, const int64_t *before, const int64_t *after);
gd_node gd_pad_reflect(gd_graph *g, gd_node x, int64_t top, int64_t bottom, int64_t left, int64_t right);
/* Adjoint of pad_reflect: the border is folded back and added. */
gd_node gd_fold_reflect(gd_graph *g, gd_node x, int64_t top, int64_t bottom, int64_t left, int64_t right);
gd_node gd_upsample(gd_graph *g, gd_node x, int factor);   /* nearest; [N,H,W,C] -> [N,fH,fW,C]    */
gd_node gd_sumpool(gd_graph *g, gd_node x, int factor);    /* sums factor x factor blocks: adjoint */
gd_node gd_avgpool(gd_graph *g, gd_node x, int factor);

/* ---- heavy ---- */
/* a [M,L] (or [L,M] with ta), b [L,N] (or [N,L] with tb) -> [M,N]. */
gd_node gd_matmul(gd_graph *g, gd_node a, gd_node b, bool ta, bool tb);
/* pad: top, bottom, left, right of x (zeros). */
typedef struct gd_conv_attr {
    int stride;
    int pad[4];
} gd_conv_attr;
/* Cross-correlation. x [N,H,W,C], w [K,R,S,C] -> [N,P,Q,K], P = (H + top + bottom - R)/stride + 1. */
gd_node gd_conv(gd_graph *g, gd_node x, gd_node w, gd_conv_attr a);
/* Input gradient of conv, also the forward pass of a transposed convolution.
 * dy [N,P,Q,K], w [K,R,S,C], x_shape [N,H,W,C] (stride makes H,W ambiguous) -> x_shape.
 * Dumoulin and Visin 2016, chapter 4. */
gd_node gd_conv_dx(gd_graph *g, gd_node dy, gd_node w, gd_shape x_shape, gd_conv_attr a);
/* Weight gradient of conv. x [N,H,W,C], dy [N,P,Q,K], w_shape [K,R,S,C] -> w_shape. */
gd_node gd_conv_dw(gd_graph *g, gd_node x, gd_node dy, gd_shape w_shape, gd_conv_attr a);

/* ---- over shards ---- */
gd_node gd_allreduce(gd_graph *g, gd_node x); /* sum over all shards; x itself when there is one */
/* (x - mean) / sqrt(var + eps) with mean and biased variance over `axes` (and over all shards with
 * sync). Batch norm: axes N,H,W. Instance norm: H,W. Layer norm: all but N. Ioffe and Szegedy 2015;
 * Ulyanov et al. 2016; Ba et al. 2016. Scale and shift are separate nodes. */
gd_node gd_normalize(gd_graph *g, gd_node x, uint32_t axes, double eps, bool sync);
/* 1 / sqrt(var + eps), shape as gd_sum(x, axes). */
gd_node gd_norm_rstd(gd_graph *g, gd_node x, uint32_t axes, double eps, bool sync);

/* ---- differentiation (grad.c) ---- */
/* Appends nodes for d<cot,y>/dx_j of every x_j: dx[j] has the shape of x[j] (a zero CONST where y
 * does not depend on x_j) and its dtype (f32 for u8). Over shards: of the sum over all of them. cot has the shape of y; GD_NONE: ones (y should then be one number).
 * x_j is any node, not only a leaf. Works on its own results: gradients of gradients. */
void gd_grad(gd_graph *g, gd_node y, gd_node cot, int nx, const gd_node *x, gd_node *dx);

#endif
