#include "launch/latents.h"

#include <math.h>

#include "base/rng.h"

static void draw_uniform(const gd_rng *r, uint64_t seed, double half, int64_t size, float *z) {
    gd_rng_uniform(r, seed, 0, (uint32_t)size, z);
    for (int64_t j = 0; j < size; j++) z[j] = (float)(half * (2 * (double)z[j] - 1));
}

static void onto_sphere(int64_t size, float *z) {
    double squares = 0;
    for (int64_t j = 0; j < size; j++) squares += (double)z[j] * z[j];
    for (int64_t j = 0; j < size; j++) z[j] = (float)(z[j] / sqrt(squares));
}

void gd_latents_draw(uint64_t first, gd_latent law, int64_t n, int64_t size, float *z) {
    gd_rng r = {.purpose = GD_PURPOSE_SAMPLES, .step = 0};
    for (int64_t i = 0; i < n; i++) {
        float *row = z + i * size;
        uint64_t seed = first + (uint64_t)i;
        if (law == GD_LATENT_UNIFORM || law == GD_LATENT_UNIT_UNIFORM) {
            draw_uniform(&r, seed, law == GD_LATENT_UNIFORM ? 1 : sqrt(3), size, row);
            continue;
        }
        gd_rng_normal(&r, seed, 0, (uint32_t)size, row);
        if (law == GD_LATENT_SPHERE) onto_sphere(size, row);
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
