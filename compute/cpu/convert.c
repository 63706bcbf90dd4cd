/* compute/cpu/convert.c -- whole tensors between bf16 and f32. */
#include "compute/cpu/cpu.h"
#include "compute/cpu/vmath.h"

void gd__widen(const uint16_t *bf16, float *out, int64_t n) {
#pragma omp parallel for simd num_threads(gd__threads_for(n)) schedule(static)
    for (int64_t i = 0; i < n; i++) out[i] = gd__from_bf16(bf16[i]);
}

void gd__narrow(const float *x, uint16_t *bf16, int64_t n) {
#pragma omp parallel for simd num_threads(gd__threads_for(n)) schedule(static)
    for (int64_t i = 0; i < n; i++) bf16[i] = gd__to_bf16(x[i]);
}
