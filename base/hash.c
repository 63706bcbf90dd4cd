/* base/hash.c -- XXH3 behind our own types, so that xxhash.h stays out of every other file. */
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct gd_hasher {
    XXH3_state_t *state; /* asks for 64-byte alignment: only the library may allocate it */
};

uint64_t gd_hash64(const void *data, size_t bytes, uint64_t seed) { return XXH3_64bits_withSeed(data, bytes, seed); }

gd_hash128 gd_hash_128(const void *data, size_t bytes) {
    XXH128_hash_t h = XXH3_128bits(data, bytes);
    return (gd_hash128){.hi = h.high64, .lo = h.low64};
}

void gd_hash64_text(uint64_t h, char out[17]) { snprintf(out, 17, "%016llx", (unsigned long long)h); }

void gd_hash128_text(gd_hash128 h, char out[33]) {
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
}

static bool parse_word(const char *text, uint64_t *out) {
    uint64_t word = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f')) return false; /* a NUL too */
        word = word << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    *out = word;
    return true;
}

bool gd_hash64_parse(const char *text, uint64_t *out) {
    uint64_t word;
    if (!parse_word(text, &word) || text[16] != '\0') return false;
    *out = word;
    return true;
}

bool gd_hash128_parse(const char *text, gd_hash128 *out) {
    gd_hash128 h;
    if (!parse_word(text, &h.hi) || !parse_word(text + 16, &h.lo) || text[32] != '\0') return false;
    *out = h;
    return true;
}

gd_hasher *gd_hasher_new(void) {
    gd_hasher *h = malloc(sizeof *h);
    if (!h) return NULL;
    h->state = XXH3_createState();
    if (!h->state || XXH3_128bits_reset(h->state) != XXH_OK) {
        gd_hasher_free(h);
        return NULL;
    }
    return h;
}

void gd_hasher_add(gd_hasher *h, const void *data, size_t bytes) {
    if (bytes) XXH3_128bits_update(h->state, data, bytes);
}

gd_hash128 gd_hasher_128(const gd_hasher *h) {
    XXH128_hash_t d = XXH3_128bits_digest(h->state);
    return (gd_hash128){.hi = d.high64, .lo = d.low64};
}

void gd_hasher_free(gd_hasher *h) {
    if (!h) return;
    XXH3_freeState(h->state);
    free(h);
}
