/* dist/rules_avx512.c -- 512-bit registers. No fused multiply-add: it rounds differently. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,prefer-vector-width=512")
#endif
#define GD__RSET  gd__rules_avx512
#define GD__RNAME "avx512"
#include "dist/rules_template.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int gd__rules_avx512_unused; /* a file must declare something */
#endif
