/* base/rng_core.h -- the arithmetic of base/rng.h, in a form that C and CUDA compilers both take.
 *
 * Only integer operations and the IEEE single operations add, multiply and square root, each rounded
 * to nearest, in a fixed order, nothing fused: every compiler and device gets the same bits. Nothing
 * in here is ever subnormal, so flushing to zero changes nothing either.
 *
 * For files that make random numbers in bulk; everybody else includes base/rng.h. */
#ifndef GANDIST_BASE_RNG_CORE_H
#define GANDIST_BASE_RNG_CORE_H

#if defined(__CUDACC_RTC__)
typedef unsigned int uint32_t;
typedef int int32_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GD_RNG_FN static inline __host__ __device__
#else
#define GD_RNG_FN static inline
#endif

#if defined(__CUDA_ARCH__)
GD_RNG_FN float gd__add(float a, float b) { return __fadd_rn(a, b); } /* never fused by nvcc */
GD_RNG_FN float gd__mul(float a, float b) { return __fmul_rn(a, b); }
GD_RNG_FN float gd__sqrt(float a) { return __fsqrt_rn(a); }
GD_RNG_FN float gd__float_of(uint32_t bits) { return __uint_as_float(bits); }
GD_RNG_FN uint32_t gd__bits_of(float value) { return __float_as_uint(value); }
#else
GD_RNG_FN float gd__add(float a, float b) { return a + b; } /* needs -ffp-contract=off */
GD_RNG_FN float gd__mul(float a, float b) { return a * b; }
GD_RNG_FN float gd__sqrt(float a) { return __builtin_sqrtf(a); }
GD_RNG_FN float gd__float_of(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
GD_RNG_FN uint32_t gd__bits_of(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}
#endif

/* ---- Philox4x32-10 ---- */

/* The counter is changed in place into the four words. */
GD_RNG_FN void gd__philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    uint32_t c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    c[0] = c0;
    c[1] = c1;
    c[2] = c2;
    c[3] = c3;
}

/* Bijection of 64-bit words (the finaliser of SplitMix64, Steele et al. 2014). */
GD_RNG_FN uint64_t gd__mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* For one seed, different purposes have different keys; for one purpose, different seeds have. */
GD_RNG_FN uint64_t gd__rng_key(uint64_t seed, uint32_t purpose) {
    const uint64_t golden = 0x9e3779b97f4a7c15ull;
    return gd__mix64(gd__mix64(seed + golden) ^ ((uint64_t)purpose * golden));
}

/* counter = { block, sample bits 0-31, sample bits 32-47 | step bits 32-47 << 16, step bits 0-31 } */
GD_RNG_FN void gd__rng_words(uint64_t key, uint64_t step, uint64_t sample, uint32_t block, uint32_t out[4]) {
    out[0] = block;
    out[1] = (uint32_t)sample;
    out[2] = ((uint32_t)(sample >> 32) & 0xffffu) | ((uint32_t)(step >> 32) << 16);
    out[3] = (uint32_t)step;
    gd__philox(out, (uint32_t)key, (uint32_t)(key >> 32));
}

/* ---- floating point ---- */

/* In [0, 1), a multiple of 2^-24: exact. */
GD_RNG_FN float gd__uniform(uint32_t word) { return gd__mul((float)(int32_t)(word >> 8), 0x1p-24f); }

/* Natural logarithm of a normal positive x, about 1 ulp (the polynomial of Cephes logf). */
GD_RNG_FN float gd__log(float x) {
    uint32_t bits = gd__bits_of(x);
    /* x = m 2^e with m in [sqrt(1/2), sqrt(2)): 0x3f3504f3 are the bits of sqrt(1/2). */
    int32_t e = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float f = gd__add(gd__float_of(bits - ((uint32_t)e << 23)), -1.0f);
    float z = gd__mul(f, f), scale = (float)e;
    float p = 7.0376836292e-2f;
    p = gd__add(gd__mul(p, f), -1.1514610310e-1f);
    p = gd__add(gd__mul(p, f), 1.1676998740e-1f);
    p = gd__add(gd__mul(p, f), -1.2420140846e-1f);
    p = gd__add(gd__mul(p, f), 1.4249322787e-1f);
    p = gd__add(gd__mul(p, f), -1.6668057665e-1f);
    p = gd__add(gd__mul(p, f), 2.0000714765e-1f);
    p = gd__add(gd__mul(p, f), -2.4999993993e-1f);
    p = gd__add(gd__mul(p, f), 3.3333331174e-1f);
    p = gd__mul(gd__mul(p, f), z);
    p = gd__add(p, gd__mul(scale, -2.12194440e-4f)); /* ln 2 = 0.693359375 - 2.1219444e-4 */
    p = gd__add(p, gd__mul(z, -0.5f));
    return gd__add(gd__add(f, p), gd__mul(scale, 0.693359375f));
}

/* Cosine and sine of 2 pi turn / 2^32. The reduction is done in integers, so it is exact; the
 * polynomials (Cephes sinf, cosf) see |x| <= pi/4 only. */
GD_RNG_FN void gd__sincos(uint32_t turn, float *cosine, float *sine) {
    uint32_t quarter = (turn + 0x20000000u) >> 30; /* nearest; 4 wraps to 0 by the addition */
    float x = gd__mul((float)(int32_t)(turn - (quarter << 30)), 1.46291807926715968e-9f); /* 2 pi / 2^32 */
    float z = gd__mul(x, x);
    float s = gd__add(gd__mul(z, -1.9515295891e-4f), 8.3321608736e-3f);
    s = gd__add(gd__mul(s, z), -1.6666654611e-1f);
    s = gd__add(gd__mul(gd__mul(s, z), x), x);
    float c = gd__add(gd__mul(z, 2.443315711809948e-5f), -1.388731625493765e-3f);
    c = gd__add(gd__mul(c, z), 4.166664568298827e-2f);
    c = gd__add(gd__add(gd__mul(gd__mul(c, z), z), gd__mul(z, -0.5f)), 1.0f);
    /* Quarters 0 1 2 3: (c, s) (-s, c) (-c, -s) (s, -c), chosen with masks, no branches. */
    uint32_t odd = 0u - (quarter & 1u), cb = gd__bits_of(c), sb = gd__bits_of(s);
    uint32_t flip = (cb ^ sb) & odd;
    *cosine = gd__float_of((cb ^ flip) ^ (((quarter + 1u) & 2u) << 30));
    *sine = gd__float_of((sb ^ flip) ^ ((quarter & 2u) << 30));
}

/* Box and Muller 1958. The radius comes from all 32 bits of its word: u in [2^-33, 1], |z| < 6.77. */
GD_RNG_FN void gd__normal_pair(uint32_t radius_word, uint32_t angle_word, float *z0, float *z1) {
    /* (float)uint32 in two exact halves and one rounding: the same everywhere, and SSE2 has it. */
    float high = gd__mul((float)(int32_t)(radius_word >> 16), 65536.0f);
    float word = gd__add(high, (float)(int32_t)(radius_word & 0xffffu));
    float u = gd__add(gd__mul(word, 0x1p-32f), 0x1p-33f);
    float r = gd__sqrt(gd__mul(gd__log(u), -2.0f));
    float c, s;
    gd__sincos(angle_word, &c, &s);
    *z0 = gd__mul(r, c);
    *z1 = gd__mul(r, s);
}

#endif
