/* dist/rules_base.c -- for every processor, and the choice. */
#define GD__RSET  gd__rules_base
#define GD__RNAME "base"
#include "dist/rules_template.h"

int gd__rules_usable(const gd__rules *out[3]) {
    int n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) out[n++] = &gd__rules_avx512;
    if (__builtin_cpu_supports("avx2")) out[n++] = &gd__rules_avx2;
#endif
    out[n++] = &gd__rules_base;
    return n;
}
