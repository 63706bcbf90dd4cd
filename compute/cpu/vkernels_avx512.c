/* compute/cpu/vkernels_avx512.c -- 512-bit registers. No fused multiply-add: it rounds differently. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")
#endif
#define GD__VSET   gd__vkernels_avx512
#define GD__VNAME  "avx512"
#define GD__VBYTES 64
#include "compute/cpu/vkernels_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__vkernels_avx512_unused; /* a file must declare something */
#endif
