/* launch/latents.h -- latent vectors by seed, so that pictures can be asked for again. */
#ifndef GANDIST_LAUNCH_LATENTS_H
#define GANDIST_LAUNCH_LATENTS_H

#include <stdint.h>

#include "models/gan.h"

/* The latents of seeds first .. first+n-1 into z [n,size]: of that law. A latent is
 * named by one seed everywhere: tile i of `sample --seed S` and of the sheets made while training (S = 0)
 * is what `interpolate --from` and `arithmetic --plus` call S + i. */
void gd_latents_draw(uint64_t first, gd_latent law, int64_t n, int64_t size, float *z);
/* z [steps,size] from a to b, both included. Linear, or spherical (Shoemake 1985; White 2016). */
void gd_latents_linear(const float *a, const float *b, int64_t size, int64_t steps, float *z);
void gd_latents_slerp(const float *a, const float *b, int64_t size, int64_t steps, float *z);

#endif
