/* base/rng.h -- counter-based random numbers: every draw is a pure function of
 * (seed, purpose, step, sample, index), so results do not depend on ranks, threads or order.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * key     = the two words of mix64(seed, purpose)
 * counter = { block index, sample low, sample high + step high bits, step low } (see rng.c)
 * One block gives four 32-bit words; draw i is word i%4 of block i/4.
 *
 * uniform: (word >> 8) * 2^-24, in [0, 1).
 * normal : Box-Muller on two consecutive words with this module's own log and sincos, made of IEEE
 *          add, multiply, fma, sqrt and integer operations only: bits are equal on every executor
 *          and compiler (built with -ffp-contract=off). */
#ifndef GANDIST_BASE_RNG_H
#define GANDIST_BASE_RNG_H

#include <stdint.h>

/* What a draw is for. The numbers are part of the checkpoint format: append only. */
#define GD_PURPOSE_LIST(X)                                                                         \
    X(INIT_G, 1) X(INIT_D, 2) X(LATENT_D, 3) X(LATENT_G, 4) X(PENALTY, 5) X(DROPOUT, 6)            \
    X(SHUFFLE, 7) X(FLIP, 8) X(CROP, 9) X(POOL, 10) X(INSTANCE_NOISE, 11) X(SAMPLES, 12)           \
    X(SYNTHETIC, 13) X(SPECTRAL, 14) X(SUBSET, 15) X(TEST, 16) X(EVALUATE, 17) X(LABEL, 18)

typedef enum gd_purpose {
#define GD_PURPOSE_ENUM(name, number) GD_PURPOSE_##name = number,
    GD_PURPOSE_LIST(GD_PURPOSE_ENUM)
#undef GD_PURPOSE_ENUM
} gd_purpose;

typedef struct gd_rng {
    uint64_t seed;
    uint32_t purpose; /* gd_purpose; models may add a stream number in the upper 16 bits */
    uint64_t step;    /* < 2^48 */
} gd_rng;

/* The four words of one block. */
void gd_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
void gd_rng_block(const gd_rng *r, uint64_t sample, uint32_t block, uint32_t out[4]);

/* Draws first .. first+n-1 of `sample` into out. first is a multiple of 4. */
void gd_rng_uniform(const gd_rng *r, uint64_t sample, uint32_t first, uint32_t n, float *out);
void gd_rng_normal(const gd_rng *r, uint64_t sample, uint32_t first, uint32_t n, float *out);
/* One integer in [0, bound), bound >= 1, without modulo bias (64-bit multiply-shift with rejection
 * over further blocks). */
uint64_t gd_rng_below(const gd_rng *r, uint64_t sample, uint64_t bound);

/* Bijection of [0, n) keyed by (seed, purpose, step): a balanced Feistel network over the next even
 * power of two with cycle walking. Gives element i of an epoch's order without storing the order. */
uint64_t gd_rng_permute(const gd_rng *r, uint64_t n, uint64_t i);

#endif
