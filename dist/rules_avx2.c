/* dist/rules_avx2.c -- 256-bit registers. No fused multiply-add: it rounds differently. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define GD__RSET  gd__rules_avx2
#define GD__RNAME "avx2"
#include "dist/rules_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__rules_avx2_unused; /* a file must declare something */
#endif
