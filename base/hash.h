/* base/hash.h -- XXH3 (xxHash library) in the two sizes that gandist writes to disk. */
#ifndef GANDIST_BASE_HASH_H
#define GANDIST_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gd_hash128 {
    uint64_t hi, lo;
} gd_hash128;

uint64_t gd_hash64(const void *data, size_t bytes, uint64_t seed);
gd_hash128 gd_hash_128(const void *data, size_t bytes);
/* The other way round: exactly 16 / 32 lower-case hex digits. false: text is something else. */
bool gd_hash64_parse(const char *text, uint64_t *out);
bool gd_hash128_parse(const char *text, gd_hash128 *out);
/* 16 / 32 lower-case hex digits and a NUL. */
void gd_hash64_text(uint64_t h, char out[17]);
void gd_hash128_text(gd_hash128 h, char out[33]);

/* Streaming form. NULL when memory is out. */
typedef struct gd_hasher gd_hasher;
gd_hasher *gd_hasher_new(void);
void gd_hasher_add(gd_hasher *h, const void *data, size_t bytes);
gd_hash128 gd_hasher_128(const gd_hasher *h);
void gd_hasher_free(gd_hasher *h);

#endif
