/* compute/cpu/wino_base.c -- for every processor (the compiler's 128-bit vectors), and the choice. */
#define GD__WSET     gd__wino_base
#define GD__WNAME    "base"
#define GD__WROWS    4
#define GD__WVECTORS 2
#define GD__WDOT_ROWS 3
enum { LANES = 4 };
typedef float vector __attribute__((vector_size(16)));
typedef float loose __attribute__((vector_size(16), aligned(4), may_alias));

static inline vector load(const float *p) { return *(const loose *)p; }
static inline void store(float *p, vector v) { *(loose *)p = v; }
static inline vector spread(float f) { return (vector){f, f, f, f}; }
static inline vector fma3(vector a, vector b, vector c) { return a * b + c; }

/* out[i]: sum of the lanes of v[i]. */
static inline void sum_of_four(const vector *v, float *out) {
    for (int i = 0; i < 4; i++) out[i] = (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
}

#include "compute/cpu/wino_template.h"

int gd__wino_usable(const gd__wino_kernels *out[3]) {
    int n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) out[n++] = &gd__wino_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = &gd__wino_avx2;
#endif
    out[n++] = &gd__wino_base;
    return n;
}
