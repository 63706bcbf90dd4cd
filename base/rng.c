/* base/rng.c -- see rng.h for the contract and rng_core.h for the arithmetic.
 *
 * Layout of the counter (part of the checkpoint format, as are the key and the round keys below):
 *   word 0  block index; bit 31 is set for the rounds of gd_rng_permute, so draws never reach them
 *   word 1  sample, bits 0-31
 *   word 2  sample, bits 32-47, and step, bits 32-47, in the upper half
 *   word 3  step, bits 0-31
 * key = gd__rng_key(seed, purpose), low word first. */
#include "base/rng.h"

#include <assert.h>
#include <string.h>

#include "base/rng_core.h"

void gd_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    gd__philox(c, key[0], key[1]);
    memcpy(out, c, sizeof c);
}

void gd_rng_block(const gd_rng *r, uint64_t sample, uint32_t block, uint32_t out[4]) {
    gd__rng_words(gd__rng_key(r->seed, r->purpose), r->step, sample, block, out);
}

/* ---- draws in bulk ---- */

/* Blocks are made in groups, words side by side: the loops over a group have no branches and no
 * dependence between iterations, so compilers turn them into vector code. */
enum { GROUP = 32 };

typedef struct words {
    uint32_t w[4][GROUP]; /* word, block */
} words;

static void make_words(const gd_rng *r, uint64_t sample, uint32_t first_block, uint32_t blocks, words *out) {
    uint64_t key = gd__rng_key(r->seed, r->purpose);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t c[4];
        gd__rng_words(key, r->step, sample, first_block + i, c);
        for (int j = 0; j < 4; j++) out->w[j][i] = c[j];
    }
}

typedef void (*transform)(const words *w, uint32_t blocks, float out[GROUP * 4]);

static void to_uniform(const words *w, uint32_t blocks, float out[GROUP * 4]) {
    for (uint32_t i = 0; i < blocks; i++)
        for (int j = 0; j < 4; j++) out[4 * i + j] = gd__uniform(w->w[j][i]);
}

static void to_normal(const words *w, uint32_t blocks, float out[GROUP * 4]) {
    float z[4][GROUP];
    for (int pair = 0; pair < 4; pair += 2)
        for (uint32_t i = 0; i < blocks; i++)
            gd__normal_pair(w->w[pair][i], w->w[pair + 1][i], &z[pair][i], &z[pair + 1][i]);
    for (uint32_t i = 0; i < blocks; i++)
        for (int j = 0; j < 4; j++) out[4 * i + j] = z[j][i];
}

static void fill(const gd_rng *r, uint64_t sample, uint32_t first, uint32_t n, float *out, transform t) {
    assert(first % 4 == 0);
    words w;
    uint32_t block = first / 4;
    for (; n >= GROUP * 4; n -= GROUP * 4, out += GROUP * 4, block += GROUP) {
        make_words(r, sample, block, GROUP, &w);
        t(&w, GROUP, out);
    }
    if (n == 0) return;
    float rest[GROUP * 4];
    make_words(r, sample, block, (n + 3) / 4, &w);
    t(&w, (n + 3) / 4, rest);
    memcpy(out, rest, n * sizeof *out);
}

void gd_rng_uniform(const gd_rng *r, uint64_t sample, uint32_t first, uint32_t n, float *out) {
    fill(r, sample, first, n, out, to_uniform);
}

void gd_rng_normal(const gd_rng *r, uint64_t sample, uint32_t first, uint32_t n, float *out) {
    fill(r, sample, first, n, out, to_normal);
}

/* ---- integers ---- */

/* Lemire 2019, "Fast random integer generation in an interval": the high half of x * bound, where x
 * is drawn again while the low half falls into the 2^64 mod bound values that would be too many. */
uint64_t gd_rng_below(const gd_rng *r, uint64_t sample, uint64_t bound) {
    for (uint32_t block = 0;; block++) {
        uint32_t w[4];
        gd_rng_block(r, sample, block, w);
        unsigned __int128 m = (unsigned __int128)(w[0] | (uint64_t)w[1] << 32) * bound;
        uint64_t low = (uint64_t)m;
        if (low >= bound || low >= (0 - bound) % bound) return (uint64_t)(m >> 64);
    }
}

/* ---- permutation ---- */

enum { FEISTEL_ROUNDS = 8 };
static const uint32_t PERMUTE_BLOCK = 0x80000000u;

/* Bits of one half: 2^(2 half) is the smallest even power of two that is >= n, at least 4. */
static int half_bits(uint64_t n) {
    int half = 1;
    while (half < 32 && (n - 1) >> (2 * half) != 0) half++;
    return half;
}

static uint64_t feistel(const gd_rng *r, uint64_t x, int half) {
    const uint32_t mask = half == 32 ? UINT32_MAX : (1u << half) - 1;
    uint32_t left = (uint32_t)(x >> half) & mask, right = (uint32_t)x & mask;
    for (uint32_t round = 0; round < FEISTEL_ROUNDS; round++) {
        uint32_t w[4];
        gd_rng_block(r, right, PERMUTE_BLOCK | round, w);
        uint32_t next = left ^ (w[0] & mask);
        left = right;
        right = next;
    }
    return (uint64_t)left << half | right;
}

/* Cycle walking: the permutation of the larger set, followed until it lands in [0, n) again, is a
 * permutation of [0, n). The larger set has fewer than 4 n elements: under four rounds on average. */
uint64_t gd_rng_permute(const gd_rng *r, uint64_t n, uint64_t i) {
    assert(n == 0 || i < n); /* a walk from outside may never come in */
    if (n < 2) return 0;
    int half = half_bits(n);
    do i = feistel(r, i, half);
    while (i >= n);
    return i;
}
