/* compute/cpu/wino_avx2.c -- 256-bit registers with fused multiply-add. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
#define GD__WSET      gd__wino_avx2
#define GD__WNAME     "avx2"
#define GD__WROWS     6
#define GD__WVECTORS  2
#define GD__WDOT_ROWS 3
enum { LANES = 8 };
typedef __m256 vector;

static inline vector load(const float *p) { return _mm256_loadu_ps(p); }
static inline void store(float *p, vector v) { _mm256_storeu_ps(p, v); }
static inline vector spread(float f) { return _mm256_set1_ps(f); }
static inline vector fma3(vector a, vector b, vector c) { return _mm256_fmadd_ps(a, b, c); }

/* out[i]: sum of the lanes of v[i]. */
static inline void sum_of_four(const vector *v, float *out) {
    vector all = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

/* o[i]: lane i of every vector. */
#define GD__WCOLUMNS
static inline void store_columns(const vector v[8], float o[8][8]) {
    vector a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
            b[i + 2 * j + 1] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        store(o[i], _mm256_permute2f128_ps(b[i], b[i + 4], 0x20));
        store(o[i + 4], _mm256_permute2f128_ps(b[i], b[i + 4], 0x31));
    }
}

#include "compute/cpu/wino_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__wino_avx2_unused; /* a file must declare something */
#endif
