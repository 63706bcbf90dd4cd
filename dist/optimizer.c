#include "dist/optimizer.h"

#include <math.h>

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

/* Numbers of one update; loops below work in float, as PyTorch does. */
typedef struct update {
    float lr, scale, decay, clip, eps, b1, b2, correct1, correct2, alpha, momentum;
} update;

static inline float limit(float p, float clip) {
    if (clip <= 0) return p;
    return p > clip ? clip : p < -clip ? -clip : p;
}

static void adam(const update *u, size_t n, float *restrict p, const float *restrict g, float *restrict m,
                 float *restrict v) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u->scale + u->decay * p[i];
        m[i] = u->b1 * m[i] + (1 - u->b1) * d;
        v[i] = u->b2 * v[i] + (1 - u->b2) * d * d;
        float root = sqrtf(v[i]) / u->correct2 + u->eps;
        p[i] = limit(p[i] - u->lr / u->correct1 * (m[i] / root), u->clip);
    }
}

static void rmsprop(const update *u, size_t n, float *restrict p, const float *restrict g, float *restrict v) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u->scale + u->decay * p[i];
        v[i] = u->alpha * v[i] + (1 - u->alpha) * d * d;
        p[i] = limit(p[i] - u->lr * (d / (sqrtf(v[i]) + u->eps)), u->clip);
    }
}

static void momentum(const update *u, size_t n, float *restrict p, const float *restrict g, float *restrict v) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u->scale + u->decay * p[i];
        v[i] = u->momentum * v[i] + d;
        p[i] = limit(p[i] - u->lr * v[i], u->clip);
    }
}

static void plain(const update *u, size_t n, float *restrict p, const float *restrict g) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) p[i] = limit(p[i] - u->lr * (g[i] * u->scale + u->decay * p[i]), u->clip);
}

void gd_optimizer_update(const gd_optimizer_spec *s, int64_t step, int64_t number, double scale, double clip,
                         size_t n, float *p, const float *g, float *m, float *v) {
    update u = {.lr = (float)gd_optimizer_lr(s, step, number - 1),
                .scale = (float)scale,
                .decay = (float)s->weight_decay,
                .clip = (float)clip,
                .eps = (float)s->eps,
                .b1 = (float)s->beta1,
                .b2 = (float)s->beta2,
                .correct1 = (float)(1 - pow(s->beta1, (double)number)),
                .correct2 = (float)sqrt(1 - pow(s->beta2, (double)number)),
                .alpha = (float)s->alpha,
                .momentum = (float)gd_optimizer_momentum(s, step)};
    switch (s->kind) {
    case GD_ADAM: adam(&u, n, p, g, m, v); break;
    case GD_RMSPROP: rmsprop(&u, n, p, g, m); break;
    case GD_SGD:
        if (m) momentum(&u, n, p, g, m);
        else plain(&u, n, p, g);
        break;
    }
}
