/* dist/optimizer.h -- optimisers over flat arenas, as PyTorch defines them.
 *
 * adam    Kingma and Ba 2015, algorithm 1 with PyTorch's placement of eps (outside the corrected root)
 * rmsprop Hinton's lecture 6e: v = alpha v + (1-alpha) g^2, p -= lr g / (sqrt(v) + eps)
 * sgd     v = momentum v + g, p -= lr v   (Goodfellow 2014's code: pylearn2's v = m v - lr g; p += v)
 * Updates of element ranges are independent, so results do not depend on how a range is cut. */
#ifndef GANDIST_DIST_OPTIMIZER_H
#define GANDIST_DIST_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum gd_optimizer_kind { GD_ADAM, GD_RMSPROP, GD_SGD } gd_optimizer_kind;
typedef enum gd_decay_kind { GD_DECAY_NONE, GD_DECAY_LINEAR, GD_DECAY_EXPONENTIAL } gd_decay_kind;

typedef struct gd_optimizer_spec {
    gd_optimizer_kind kind;
    double lr, beta1, beta2, eps, alpha, momentum, weight_decay, clip_norm;
    gd_decay_kind decay;
    double decay_rate, lr_floor;           /* exponential: lr / rate^update, not below the floor    */
    int64_t decay_start, decay_end;        /* linear to 0, in iterations                            */
    double momentum_final;                 /* reached linearly over momentum_steps iterations       */
    int64_t momentum_steps;                /* 0: constant                                           */
} gd_optimizer_spec;

/* How many moment arenas (floats per parameter) the kind keeps: 2, 1, or 0/1. */
int gd_optimizer_moments(const gd_optimizer_spec *s);
/* Learning rate and momentum of update number `update` (from 0) in iteration `step` (from 1). */
double gd_optimizer_lr(const gd_optimizer_spec *s, int64_t step, int64_t update);
double gd_optimizer_momentum(const gd_optimizer_spec *s, int64_t step);
/* Numbers of one update. As in PyTorch they are made in double and rounded once; the rules work in float. */
typedef struct gd_optimizer_numbers {
    float rate, scale, decay, clip, eps, b1, rest1, b2, rest2, root2, alpha, rest, momentum;
} gd_optimizer_numbers;
gd_optimizer_numbers gd_optimizer_numbers_of(const gd_optimizer_spec *s, int64_t step, int64_t update,
                                             double scale, double clip);
/* The rules alone: one update with these numbers. */
void gd_optimizer_apply(gd_optimizer_kind kind, const gd_optimizer_numbers *u, size_t n, float *p, const float *g, float *m,
                        float *v);
/* p, g, m, v: n floats (m, v NULL when not kept). update: from 1. scale multiplies g first. clip > 0
 * clamps p afterwards. Uses OpenMP. */
void gd_optimizer_update(const gd_optimizer_spec *s, int64_t step, int64_t update, double scale,
                         double clip, size_t n, float *p, const float *g, float *m, float *v);
/* Sums of squares of x[first, last), of blocks of GD_SQUARES_BLOCK floats (compute/exec.h) each, in double and in a fixed order; last: a
 * multiple of 16, first: of the block. out[b] is of block b, for those in the range alone. Uses OpenMP; each block has the same bits
 * on every number of threads. */
void gd_square_sums(const float *x, size_t first, size_t last, double *out);
/* Of all blocks: GD_SQUARES_LANES sums, each of every so manieth block in order, are added in a binary tree, lane i and i + half of them. */
enum { GD_SQUARES_LANES = 256 };
double gd_sum_blocks(const double *sum, size_t blocks);

#endif
