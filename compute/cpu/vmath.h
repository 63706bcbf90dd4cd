/* compute/cpu/vmath.h -- elementary functions in a form that vectorises: no branches, no calls, only
 * IEEE add, multiply, divide, square root and integer operations. Without contraction (the build
 * forbids it) every instruction set gives the same bits.
 *
 * Worst errors seen over two million floats of every size (tests/unit/cpu_vmath.c), in units of the last
 * place: exp 0.94, log 0.74, tanh 1.2, sigmoid 2.1, softplus 1.8.
 * Special values: exp(-inf) = 0, exp(inf) = inf, log(0) = -inf, log(x < 0) = NaN, tanh(+-inf) = +-1,
 * NaN stays NaN. Subnormal results are kept unless the thread flushes them. */
#ifndef GANDIST_COMPUTE_CPU_VMATH_H
#define GANDIST_COMPUTE_CPU_VMATH_H

#include <float.h>
#include <math.h>
#include <stdint.h>

static inline uint32_t gd__bits(float x) {
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}

static inline float gd__float(uint32_t u) {
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

static inline float gd__from_bf16(uint16_t h) { return gd__float((uint32_t)h << 16); }

/* To nearest, ties to even; NaN stays a NaN. */
static inline uint16_t gd__to_bf16(float x) {
    uint32_t u = gd__bits(x);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* Argument reduction to |r| <= ln2/2 and the polynomial of Cephes expf; 2^n in two factors, so that
 * results reach from the smallest subnormal to infinity. */
static inline float gd__vexp(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float t = x < -104.0f ? -104.0f : x;
    t = t > 89.0f ? 89.0f : t;
    float shifted = t * 1.44269504088896341f + magic;
    float n = shifted - magic;
    int32_t i = (int32_t)(gd__bits(shifted) - 0x4b400000u);
    float r = (t - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = (p * (r * r) + r) + 1.0f;
    int32_t half = i >> 1, rest = i - half;
    return (y * gd__float((uint32_t)(half + 127) << 23)) * gd__float((uint32_t)(rest + 127) << 23);
}

/* x = m 2^e with m in [sqrt(1/2), sqrt(2)), polynomial of Cephes logf in m - 1. */
static inline float gd__vlog(float x) {
    float s = x < FLT_MIN ? x * 33554432.0f : x; /* 2^25 lifts subnormals */
    float lift = x < FLT_MIN ? -25.0f : 0.0f;
    uint32_t bits = gd__bits(s);
    int32_t e = (int32_t)(bits - 0x3f3504f3u) >> 23; /* bits of sqrt(1/2) */
    float f = gd__float(bits - ((uint32_t)e << 23)) - 1.0f;
    float z = f * f, scale = (float)e + lift;
    float p = 7.0376836292e-2f;
    p = p * f + -1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f + -1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f + -1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f + -2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = (p * f) * z;
    p = p + scale * -2.12194440e-4f;
    p = p + z * -0.5f;
    float y = (f + p) + scale * 0.693359375f;
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN; /* negative or NaN */
}

/* log(1 + e) for e in [0, 1]: the logarithm of the rounded sum plus what rounding lost. */
static inline float gd__vlog1p(float e) {
    float u = 1.0f + e;
    return gd__vlog(u) + (e - (u - 1.0f)) / u;
}

/* Odd polynomial of Cephes tanhf near 0, 1 - 2 / (e^2x + 1) beyond. */
static inline float gd__vtanh(float x) {
    float a = x < 0.0f ? -x : x;
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z + -5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z + -3.33332819422e-1f;
    float small = (p * z) * x + x;
    float large = 1.0f - 2.0f / (gd__vexp(a + a) + 1.0f);
    large = x < 0.0f ? -large : large;
    return a < 0.625f ? small : large;
}

/* Written with e^-|x|, so that no side loses relative accuracy. */
static inline float gd__vsigmoid(float x) {
    float e = gd__vexp(x < 0.0f ? x : -x);
    float top = x < 0.0f ? e : 1.0f;
    return top / (1.0f + e);
}

static inline float gd__vsoftplus(float x) {
    float e = gd__vexp(x < 0.0f ? x : -x);
    float top = x > 0.0f ? x : 0.0f;
    return x == x ? top + gd__vlog1p(e) : x;
}

#endif
