/* compute/cpu/vkernels_base.c -- for every processor, and the choice among the others. */
#define GD__VSET   gd__vkernels_base
#define GD__VNAME  "base"
#define GD__VBYTES 16
#include "compute/cpu/vkernels_template.h"

int gd__vkernels_usable(const gd__vkernels *out[3]) {
    int n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        out[n++] = &gd__vkernels_avx512;
    if (__builtin_cpu_supports("avx2")) out[n++] = &gd__vkernels_avx2;
#endif
    out[n++] = &gd__vkernels_base;
    return n;
}
