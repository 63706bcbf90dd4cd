/* compute/cpu/wino_avx2.c -- 256-bit registers with fused multiply-add. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
#define GD__WSET     gd__wino_avx2
#define GD__WNAME    "avx2"
#define GD__WROWS    6
#define GD__WVECTORS 2
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

#include "compute/cpu/wino_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__wino_avx2_unused; /* a file must declare something */
#endif
