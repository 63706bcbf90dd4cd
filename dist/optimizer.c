/* dist/optimizer.c -- one pass over a range per update; elements do not know of each other. Loops: rules.h. */
#include "dist/optimizer.h"

#include <math.h>

#include "compute/exec.h"
#include "dist/rules.h"

int gd_optimizer_moments(const gd_optimizer_spec *s) {
    switch (s->kind) {
    case GD_ADAM: return 2;
    case GD_RMSPROP: return 1;
    case GD_SGD: return s->momentum > 0 || s->momentum_final > 0 ? 1 : 0;
    }
    return 0;
}

double gd_optimizer_lr(const gd_optimizer_spec *s, int64_t step, int64_t update) {
    if (s->decay == GD_DECAY_EXPONENTIAL) {
        double lr = s->lr * pow(s->decay_rate, -(double)update);
        return lr > s->lr_floor ? lr : s->lr_floor;
    }
    if (s->decay != GD_DECAY_LINEAR || step <= s->decay_start) return s->lr;
    if (step >= s->decay_end) return 0;
    return s->lr * (double)(s->decay_end - step) / (double)(s->decay_end - s->decay_start);
}

double gd_optimizer_momentum(const gd_optimizer_spec *s, int64_t step) {
    if (s->momentum_steps <= 0 || s->momentum_final < 0) return s->momentum;
    double t = (double)(step - 1) / (double)s->momentum_steps;
    return s->momentum + (s->momentum_final - s->momentum) * (t < 0 ? 0 : t > 1 ? 1 : t);
}

gd_optimizer_numbers gd_optimizer_numbers_of(const gd_optimizer_spec *s, int64_t step, int64_t number, double scale,
                                             double clip) {
    bool is_adam = s->kind == GD_ADAM;
    double lr = gd_optimizer_lr(s, step, number - 1);
    return (gd_optimizer_numbers){.rate = (float)(is_adam ? lr / (1 - pow(s->beta1, (double)number)) : lr),
                                  .scale = (float)scale,
                                  .decay = (float)s->weight_decay,
                                  .clip = (float)clip,
                                  .eps = (float)s->eps,
                                  .b1 = (float)s->beta1,
                                  .rest1 = (float)(1 - s->beta1),
                                  .b2 = (float)s->beta2,
                                  .rest2 = (float)(1 - s->beta2),
                                  .root2 = (float)(is_adam ? sqrt(1 - pow(s->beta2, (double)number)) : 1),
                                  .alpha = (float)s->alpha,
                                  .rest = (float)(1 - s->alpha),
                                  .momentum = (float)gd_optimizer_momentum(s, step)};
}

/* Elements a thread takes together: what its rules read and write of them is a first-level cache full. */
enum { RULE_BLOCK = 2048 };

/* One block, which begins at element `at`. */
static void apply_block(const gd__rules *r, gd_optimizer_kind kind, const gd_optimizer_numbers *u, size_t at, size_t n,
                        float *p, const float *g, float *m, float *v) {
    switch (kind) {
    case GD_ADAM: r->adam(u, n, p + at, g + at, m + at, v + at); break;
    case GD_RMSPROP: r->rmsprop(u, n, p + at, g + at, m + at); break;
    case GD_SGD:
        if (m) r->momentum(u, n, p + at, g + at, m + at);
        else r->plain(u, n, p + at, g + at);
        break;
    }
}

void gd_optimizer_apply(gd_optimizer_kind kind, const gd_optimizer_numbers *u, size_t n, float *p, const float *g,
                        float *m, float *v) {
    const gd__rules *usable[3];
    gd__rules_usable(usable);
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < n; at += RULE_BLOCK)
        apply_block(usable[0], kind, u, at, n - at < RULE_BLOCK ? n - at : RULE_BLOCK, p, g, m, v);
}

void gd_optimizer_update(const gd_optimizer_spec *s, int64_t step, int64_t number, double scale, double clip, size_t n,
                         float *p, const float *g, float *m, float *v) {
    const gd_optimizer_numbers u = gd_optimizer_numbers_of(s, step, number, scale, clip);
    gd_optimizer_apply(s->kind, &u, n, p, g, m, v);
}

/* ---- norms ---- */

enum { LANES = 16 };

/* n is a multiple of LANES. Lanes of their own, so that additions need not wait for each other. */
static double square_sum(const float *x, size_t n) {
    double lane[LANES] = {0}, sum = 0;
    for (size_t i = 0; i < n; i += LANES)
#pragma omp simd
        for (size_t k = 0; k < LANES; k++) lane[k] += (double)x[i + k] * x[i + k];
    for (size_t k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

void gd_square_sums(const float *x, size_t first, size_t last, double *out) {
    const size_t block = GD_SQUARES_BLOCK;
    ptrdiff_t from = (ptrdiff_t)(first / block), to = (ptrdiff_t)((last + block - 1) / block);
#pragma omp parallel for schedule(static) if (to - from > 16)
    for (ptrdiff_t b = from; b < to; b++) {
        size_t at = (size_t)b * block, end = at + block < last ? at + block : last;
        out[b] = square_sum(x + at, end - at);
    }
}

double gd_sum_blocks(const double *sum, size_t blocks) {
    double lane[GD_SQUARES_LANES] = {0};
    for (size_t b = 0; b < blocks; b += GD_SQUARES_LANES)
        for (size_t i = 0; i < GD_SQUARES_LANES && b + i < blocks; i++) lane[i] += sum[b + i];
    for (size_t half = GD_SQUARES_LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}
