/* compute/cpu/wino_avx512.c -- 512-bit registers with fused multiply-add. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,fma,prfchw"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,fma,prfchw,prefer-vector-width=512")
#endif
#include <immintrin.h>
#define GD__WSET      gd__wino_avx512
#define GD__WNAME     "avx512"
#define GD__WROWS     12
#define GD__WVECTORS  2
#define GD__WDOT_ROWS 6
#define GD__WAHEAD
enum { LANES = 16 };
typedef __m512 vector;

static inline vector load(const float *p) { return _mm512_loadu_ps(p); }
static inline void store(float *p, vector v) { _mm512_storeu_ps(p, v); }
static inline vector spread(float f) { return _mm512_set1_ps(f); }
static inline vector fma3(vector a, vector b, vector c) { return _mm512_fmadd_ps(a, b, c); }

/* out[i]: sum of the lanes of v[i]. */
static inline void sum_of_four(const vector *v, float *out) {
    __m256 half[4];
    for (int i = 0; i < 4; i++) half[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
    __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

/* o[i]: lane i of every vector. */
#define GD__WCOLUMNS
static inline void store_columns(const vector v[16], float o[16][16]) {
    vector a[16], b[16]; /* b[i + j]: lanes 4 q + j of vectors i .. i + 3 in quarter q */
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = _mm512_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
            b[i + 2 * j + 1] = _mm512_shuffle_ps(a[i + j], a[i + j + 2], 0xee);
        }
    for (int j = 0; j < 4; j++) {
        vector even = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88),
               even2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
        vector odd = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd), odd2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
        store(o[j], _mm512_shuffle_f32x4(even, even2, 0x88));
        store(o[4 + j], _mm512_shuffle_f32x4(odd, odd2, 0x88));
        store(o[8 + j], _mm512_shuffle_f32x4(even, even2, 0xdd));
        store(o[12 + j], _mm512_shuffle_f32x4(odd, odd2, 0xdd));
    }
}

#include "compute/cpu/wino_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__wino_avx512_unused; /* a file must declare something */
#endif
