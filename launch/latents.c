#include "launch/latents.h"

#include <math.h>

#include "base/rng.h"

void gd_latents_draw(uint64_t first, bool uniform, int64_t n, int64_t size, float *z) {
    gd_rng r = {.purpose = GD_PURPOSE_SAMPLES, .step = 0};
    for (int64_t i = 0; i < n; i++) {
        float *row = z + i * size;
        if (!uniform) {
            gd_rng_normal(&r, first + (uint64_t)i, 0, (uint32_t)size, row);
            continue;
        }
        gd_rng_uniform(&r, first + (uint64_t)i, 0, (uint32_t)size, row);
        for (int64_t j = 0; j < size; j++) row[j] = 2 * row[j] - 1;
    }
}

static double fraction(int64_t i, int64_t steps) { return steps > 1 ? (double)i / (double)(steps - 1) : 0; }

static void mix(const float *a, const float *b, int64_t size, double wa, double wb, float *out) {
    for (int64_t j = 0; j < size; j++) out[j] = (float)(wa * a[j] + wb * b[j]);
}

void gd_latents_linear(const float *a, const float *b, int64_t size, int64_t steps, float *z) {
    for (int64_t i = 0; i < steps; i++) {
        double t = fraction(i, steps);
        mix(a, b, size, 1 - t, t, z + i * size);
    }
}

void gd_latents_slerp(const float *a, const float *b, int64_t size, int64_t steps, float *z) {
    double aa = 0, bb = 0, ab = 0;
    for (int64_t j = 0; j < size; j++) {
        aa += (double)a[j] * a[j];
        bb += (double)b[j] * b[j];
        ab += (double)a[j] * b[j];
    }
    double cosine = aa > 0 && bb > 0 ? fmax(-1, fmin(1, ab / sqrt(aa * bb))) : 1;
    double angle = acos(cosine), s = sin(angle);
    if (s < 1e-6) { /* nearly parallel: the arc is a line */
        gd_latents_linear(a, b, size, steps, z);
        return;
    }
    for (int64_t i = 0; i < steps; i++) {
        double t = fraction(i, steps);
        mix(a, b, size, sin((1 - t) * angle) / s, sin(t * angle) / s, z + i * size);
    }
}
