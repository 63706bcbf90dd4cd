/* compute/cpu/vkernels_avx2.c -- 256-bit registers. No fused multiply-add: it rounds differently. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define GD__VSET   gd__vkernels_avx2
#define GD__VNAME  "avx2"
#define GD__VBYTES 32
#include "compute/cpu/vkernels_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__vkernels_avx2_unused; /* a file must declare something */
#endif
