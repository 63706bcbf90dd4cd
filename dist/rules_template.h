/* dist/rules_template.h -- see rules.h. Included by one file per instruction set, which defines GD__RSET (the
 * table's name) and GD__RNAME. Numbers are copied first: loops would read them again after each store. */
#include <math.h>

#include "dist/rules.h"

static inline float limit(float p, float clip) {
    if (clip <= 0) return p;
    return p > clip ? clip : p < -clip ? -clip : p;
}

static void adam(const gd_optimizer_numbers *numbers, size_t n, float *restrict p, const float *restrict g,
                 float *restrict m, float *restrict v) {
    const gd_optimizer_numbers u = *numbers;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u.scale + u.decay * p[i];
        m[i] = u.b1 * m[i] + u.rest1 * d;
        v[i] = u.b2 * v[i] + u.rest2 * d * d;
        float root = sqrtf(v[i]) / u.root2 + u.eps;
        p[i] = limit(p[i] - u.rate * (m[i] / root), u.clip);
    }
}

static void rmsprop(const gd_optimizer_numbers *numbers, size_t n, float *restrict p, const float *restrict g,
                    float *restrict v) {
    const gd_optimizer_numbers u = *numbers;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u.scale + u.decay * p[i];
        v[i] = u.alpha * v[i] + u.rest * d * d;
        p[i] = limit(p[i] - u.rate * (d / (sqrtf(v[i]) + u.eps)), u.clip);
    }
}

static void momentum(const gd_optimizer_numbers *numbers, size_t n, float *restrict p, const float *restrict g,
                     float *restrict v) {
    const gd_optimizer_numbers u = *numbers;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * u.scale + u.decay * p[i];
        v[i] = u.momentum * v[i] + d;
        p[i] = limit(p[i] - u.rate * v[i], u.clip);
    }
}

static void plain(const gd_optimizer_numbers *numbers, size_t n, float *restrict p, const float *restrict g) {
    const gd_optimizer_numbers u = *numbers;
#pragma omp simd
    for (size_t i = 0; i < n; i++) p[i] = limit(p[i] - u.rate * (g[i] * u.scale + u.decay * p[i]), u.clip);
}

const gd__rules GD__RSET = {.name = GD__RNAME, .adam = adam, .rmsprop = rmsprop, .momentum = momentum, .plain = plain};
