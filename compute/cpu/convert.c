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

/* ---- copies of operands ---- */

void gd__copies_plan(gd__copies *c, bool as_f32, gd_dtype in, gd_dtype out, const int64_t count[3]) {
    *c = (gd__copies){.widen = as_f32 && in == GD_BF16, .narrow = as_f32 && out == GD_BF16};
    for (int i = 0; i < 3; i++) {
        c->count[i] = count[i];
        c->at[i] = c->bytes;
        if (i < 2 ? c->widen : c->narrow) c->bytes += gd__align64((size_t)count[i] * sizeof(float));
    }
}

const void *gd__copies_in(const gd__copies *c, int i, const void *x, char *scratch) {
    if (!c->widen) return x;
    gd__widen(x, (float *)(void *)(scratch + c->at[i]), c->count[i]);
    return scratch + c->at[i];
}

void *gd__copies_out(const gd__copies *c, void *out, char *scratch) { return c->narrow ? scratch + c->at[2] : out; }

void gd__copies_done(const gd__copies *c, void *out, const char *scratch) {
    if (c->narrow) gd__narrow((const float *)(const void *)(scratch + c->at[2]), out, c->count[2]);
}
