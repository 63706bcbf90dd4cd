/* dist/optimizer.c -- one pass over a range per update; elements do not know of each other. */
#include "dist/optimizer.h"

#include <math.h>

#include "compute/exec.h"

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

typedef gd_optimizer_numbers update;

static inline float limit(float p, float clip) {
    if (clip <= 0) return p;
    return p > clip ? clip : p < -clip ? -clip : p;
}

static void adam(const update *u, size_t n, float *restrict p, const float *restrict g, float *restrict m,
                 float *restrict v) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u->scale + u->decay * p[i];
        m[i] = u->b1 * m[i] + u->rest1 * d;
        v[i] = u->b2 * v[i] + u->rest2 * d * d;
        float root = sqrtf(v[i]) / u->root2 + u->eps;
        p[i] = limit(p[i] - u->rate * (m[i] / root), u->clip);
    }
}

static void rmsprop(const update *u, size_t n, float *restrict p, const float *restrict g, float *restrict v) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u->scale + u->decay * p[i];
        v[i] = u->alpha * v[i] + u->rest * d * d;
        p[i] = limit(p[i] - u->rate * (d / (sqrtf(v[i]) + u->eps)), u->clip);
    }
}

static void momentum(const update *u, size_t n, float *restrict p, const float *restrict g, float *restrict v) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u->scale + u->decay * p[i];
        v[i] = u->momentum * v[i] + d;
        p[i] = limit(p[i] - u->rate * v[i], u->clip);
    }
}

static void plain(const update *u, size_t n, float *restrict p, const float *restrict g) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) p[i] = limit(p[i] - u->rate * (g[i] * u->scale + u->decay * p[i]), u->clip);
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

void gd_optimizer_apply(gd_optimizer_kind kind, const gd_optimizer_numbers *u, size_t n, float *p, const float *g,
                        float *m, float *v) {
    switch (kind) {
    case GD_ADAM: adam(u, n, p, g, m, v); break;
    case GD_RMSPROP: rmsprop(u, n, p, g, m); break;
    case GD_SGD:
        if (m) momentum(u, n, p, g, m);
        else plain(u, n, p, g);
        break;
    }
}

void gd_optimizer_update(const gd_optimizer_spec *s, int64_t step, int64_t number, double scale, double clip, size_t n,
                         float *p, const float *g, float *m, float *v) {
    const update u = gd_optimizer_numbers_of(s, step, number, scale, clip);
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
