/* compute/cpu/amx_kernels.c -- matrix tiles with AVX-512 around them. */
#include "compute/cpu/amx_kernels.h"

#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#include <cpuid.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16"))),        \
                             apply_to = function)
#else
#pragma GCC target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16,prefer-vector-width=512")
#endif
#include <immintrin.h>

/* The compiler does not know that tiles read memory: what was stored before is stored before. */
#define BARRIER() __asm__ volatile("" ::: "memory")

static void enter(void) {
    struct {
        uint8_t palette, start, none[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = AMX_ROWS;
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
}

static void leave(void) { _tile_release(); }

/* ---- gather ---- */

static inline __mmask32 first_of(int64_t n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1; }

static inline void zero(uint16_t *to, int64_t n) {
    for (; n >= 32; n -= 32, to += 32) _mm512_storeu_si512(to, _mm512_setzero_si512());
    if (n > 0) _mm512_mask_storeu_epi16(to, first_of(n), _mm512_setzero_si512());
}

static inline void copy(uint16_t *to, const uint16_t *from, int64_t n) {
    for (; n >= 32; n -= 32, to += 32, from += 32) _mm512_storeu_si512(to, _mm512_loadu_si512(from));
    if (n > 0) _mm512_mask_storeu_epi16(to, first_of(n), _mm512_maskz_loadu_epi16(first_of(n), from));
}

/* What 16 numbers miss as bf16. */
static inline __m512 missing(__m512 x, __m256i high) {
    return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
}

static inline void halves_of(__m512 a, __m512 b, __m512i *high, __m512i *low) {
    *high = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    *low = (__m512i)_mm512_cvtne2ps_pbh(missing(b, _mm512_extracti64x4_epi64(*high, 1)),
                                        missing(a, _mm512_castsi512_si256(*high)));
}

static inline void copy_halves(uint16_t *high, uint16_t *low, const float *from, int64_t n) {
    __m512i h, l;
    for (; n >= 32; n -= 32, high += 32, low += 32, from += 32) {
        halves_of(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16), &h, &l);
        _mm512_storeu_si512(high, h);
        _mm512_storeu_si512(low, l);
    }
    if (n <= 0) return;
    __mmask32 mask = first_of(n);
    __mmask16 second = (__mmask16)(mask >> 16);
    halves_of(_mm512_maskz_loadu_ps((__mmask16)mask, from), _mm512_maskz_loadu_ps(second, second ? from + 16 : from),
              &h, &l);
    _mm512_mask_storeu_epi16(high, mask, h);
    _mm512_mask_storeu_epi16(low, mask, l);
}

static void split(const float *x, int64_t n, int64_t room, uint16_t *high, uint16_t *low) {
    copy_halves(high, low, x, n);
    zero(high + n, room - n);
    zero(low + n, room - n);
}

static inline int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* Below, rest 0: x is bf16. */

static inline void zero_both(uint16_t *to, int64_t n, int64_t rest) {
    zero(to, n);
    if (rest) zero(to + rest, n);
}

static inline void copy_any(uint16_t *to, const void *x, int64_t at, int64_t n, int64_t rest) {
    if (rest) copy_halves(to, to + rest, (const float *)x + at, n);
    else copy(to, (const uint16_t *)x + at, n);
}

static inline __attribute__((always_inline)) void gather_pixel(const gd__amx_map *m, const void *x, int64_t image,
                                                               int64_t i, int64_t j, int64_t low, int64_t high,
                                                               uint16_t *out, int64_t rest) {
    if (!m->s) return; /* a phase without taps */
    int64_t run = m->s * m->c, top = i * m->step + m->top, left = j * m->step + m->left;
    int64_t from = left < 0 ? -left * m->c : 0, to = m->w - left < m->s ? (m->w - left) * m->c : run;
    for (int64_t r = low / run; r * run < high; r++) {
        int64_t a = low > r * run ? low - r * run : 0, b = high - r * run < run ? high - r * run : run;
        bool inside = top + r >= 0 && top + r < m->h;
        int64_t a1 = inside ? clamp(from, a, b) : b, b1 = inside ? clamp(to, a1, b) : b;
        zero_both(out, a1 - a, rest);
        if (b1 > a1) copy_any(out + (a1 - a), x, image + ((top + r) * m->w + left) * m->c + a1, b1 - a1, rest);
        zero_both(out + (b1 - a), b - b1, rest);
        out += b - a;
    }
}

static inline __attribute__((always_inline)) void gather_any(const gd__amx_map *m, const void *x, int64_t first,
                                                             int64_t count, int64_t low, int64_t high, uint16_t *out,
                                                             int64_t pitch, int64_t rest) {
    int64_t image = first / (m->p * m->q), i = first / m->q % m->p, j = first % m->q;
    int64_t columns = high - low, tail = (AMX_DEPTH - columns % AMX_DEPTH) % AMX_DEPTH;
    for (int64_t n = 0; n < count; n++, out += pitch) {
        gather_pixel(m, x, image * m->h * m->w * m->c, i, j, low, high, out, rest);
        zero_both(out + columns, tail, rest);
        if (++j < m->q) continue;
        j = 0;
        if (++i < m->p) continue;
        i = 0;
        image++;
    }
}

static void gather(const gd__amx_map *m, const void *x, int64_t first, int64_t count, int64_t low, int64_t high,
                   uint16_t *out, int64_t pitch, int64_t rest) {
    (void)rest;
    gather_any(m, x, first, count, low, high, out, pitch, 0);
}

static void gather_halves(const gd__amx_map *m, const void *x, int64_t first, int64_t count, int64_t low, int64_t high,
                          uint16_t *out, int64_t pitch, int64_t rest) {
    gather_any(m, x, first, count, low, high, out, pitch, rest);
}

/* ---- packing ---- */

/* Elements of a and b in turns: those of columns 0 to 15, of 16 to 31. */
static inline void in_turns(__m512i a, __m512i b, __m512i *low, __m512i *high) {
    const __m512i one = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                         5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    *low = _mm512_permutex2var_epi16(a, one, b);
    *high = _mm512_permutex2var_epi16(a, _mm512_add_epi16(one, _mm512_set1_epi16(16)), b);
}

static void pack(const uint16_t *const rows[AMX_DEPTH], int64_t columns, char *out) {
    __mmask32 mask = first_of(columns);
    for (int i = 0; i < AMX_DEPTH / 2; i++) {
        const uint16_t *a = rows[2 * i], *b = rows[2 * i + 1];
        __m512i low, high;
        in_turns(_mm512_maskz_loadu_epi16(a ? mask : 0, a), _mm512_maskz_loadu_epi16(b ? mask : 0, b), &low, &high);
        _mm512_storeu_si512(out + i * 64, low);
        _mm512_storeu_si512(out + AMX_TILE + i * 64, high);
    }
}

/* 16 x 16 elements of 32 bits. */
static inline void transpose(__m512i v[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
        v[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
        v[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
        v[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
    }
}

static void pack_across(const uint16_t *x, int64_t pitch, int64_t columns, int64_t depth, char *out) {
    for (int64_t at = 0; at < depth; at += AMX_DEPTH, out += AMX_STEP)
        for (int half = 0; half < 2; half++) {
            __m512i v[16];
            for (int i = 0; i < 16; i++) {
                int64_t column = half * 16 + i;
                __mmask32 mask = column < columns ? first_of(depth - at) : 0;
                v[i] = _mm512_maskz_loadu_epi16(mask, mask ? x + column * pitch + at : x);
            }
            transpose(v);
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(out + half * AMX_TILE + i * 64, v[i]);
        }
}

static void turn(const uint16_t *x, int64_t pitch, int64_t rows, int64_t columns, char *out) {
    __m512i low[16], high[16];
    for (int i = 0; i < 16; i++) {
        __mmask32 mask = first_of(columns);
        bool one = 2 * i < rows, two = 2 * i + 1 < rows;
        in_turns(_mm512_maskz_loadu_epi16(one ? mask : 0, one ? x + 2 * i * pitch : x),
                 _mm512_maskz_loadu_epi16(two ? mask : 0, two ? x + (2 * i + 1) * pitch : x), &low[i], &high[i]);
    }
    transpose(low);
    transpose(high);
    for (int i = 0; i < 16; i++) {
        _mm512_storeu_si512(out + i * 64, low[i]);
        _mm512_storeu_si512(out + AMX_TILE + i * 64, high[i]);
    }
}

/* ---- product ---- */

enum { TILE_BYTES = AMX_WIDE * sizeof(float) }; /* from a row of c to the next */

static inline void whole_run(const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t run, int64_t steps) {
    const char *left = a->at + (size_t)run * a->jump, *right = b->at + (size_t)run * b->jump;
    size_t pitch = a->pitch, step = a->step, next = a->next, b_pitch = b->pitch, b_step = b->step, b_next = b->next;
    for (int64_t i = 0; i < steps; i++, left += step, right += b_step) {
        _tile_loadd(6, right, b_pitch);
        _tile_loadd(4, left, pitch);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + b_next, b_pitch);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, left + next, pitch);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* The same of halves. What is small goes first; each tile of halves is read once. */
static inline void whole_run_of_halves(const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t run, int64_t steps) {
    const char *left = a->at + (size_t)run * a->jump, *right = b->at + (size_t)run * b->jump;
    size_t pitch = a->pitch, step = a->step, next = a->next, low = a->low;
    size_t b_pitch = b->pitch, b_step = b->step, b_next = b->next, b_low = b->low;
    for (int64_t i = 0; i < steps; i++, left += step, right += b_step) {
        _tile_loadd(6, right + b_low, b_pitch);
        _tile_loadd(4, left, pitch);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + b_low + b_next, b_pitch);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, left + next, pitch);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, right, b_pitch);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + b_next, b_pitch);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(4, left + low, pitch);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, left + next + low, pitch);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* One step of the tiles of A in 4 and of B in 6, and of those beside them. */
static inline void part_step(const gd__amx_tiles *a, const gd__amx_tiles *b, const char *left, const char *right,
                             bool tall, bool wide) {
    _tile_loadd(6, right, b->pitch);
    _tile_loadd(4, left, a->pitch);
    _tile_dpbf16ps(0, 4, 6);
    if (wide) {
        _tile_loadd(7, right + b->next, b->pitch);
        _tile_dpbf16ps(1, 4, 7);
    }
    if (!tall) return;
    _tile_loadd(5, left + a->next, a->pitch);
    _tile_dpbf16ps(2, 5, 6);
    if (wide) _tile_dpbf16ps(3, 5, 7);
}

/* Tiles 1 to 3 as far as they exist. */
static inline void part_run(const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t run, int64_t steps, bool tall,
                            bool wide, bool halves) {
    const char *left = a->at + (size_t)run * a->jump, *right = b->at + (size_t)run * b->jump;
    for (int64_t i = 0; i < steps; i++, left += a->step, right += b->step) {
        if (halves) part_step(a, b, left, right + b->low, tall, wide);
        part_step(a, b, left, right, tall, wide);
        if (halves) part_step(a, b, left + a->low, right, tall, wide);
    }
}

static inline __attribute__((always_inline)) void product_any(const gd__amx_tiles *a, const gd__amx_tiles *b,
                                                              int64_t runs, int64_t steps, bool tall, bool wide,
                                                              bool add, float *c, bool halves) {
    float *lower = c + AMX_ROWS * AMX_WIDE;
    BARRIER();
    if (add) {
        _tile_loadd(0, c, TILE_BYTES);
        _tile_loadd(1, c + AMX_ROWS, TILE_BYTES);
        _tile_loadd(2, lower, TILE_BYTES);
        _tile_loadd(3, lower + AMX_ROWS, TILE_BYTES);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t run = 0; run < runs; run++)
        if (!tall || !wide) part_run(a, b, run, steps, tall, wide, halves);
        else if (halves) whole_run_of_halves(a, b, run, steps);
        else whole_run(a, b, run, steps);
    _tile_stored(0, c, TILE_BYTES);
    if (wide) _tile_stored(1, c + AMX_ROWS, TILE_BYTES);
    if (tall) _tile_stored(2, lower, TILE_BYTES);
    if (tall && wide) _tile_stored(3, lower + AMX_ROWS, TILE_BYTES);
    BARRIER();
}

static void product(const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t runs, int64_t steps, bool tall, bool wide,
                    bool add, float *c) {
    product_any(a, b, runs, steps, tall, wide, add, c, false);
}

static void product_of_halves(const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t runs, int64_t steps, bool tall,
                              bool wide, bool add, float *c) {
    product_any(a, b, runs, steps, tall, wide, add, c, true);
}

static void put(const float *c, int64_t rows, int64_t columns, const int64_t *at, bool bf16, void *out) {
    __mmask32 mask = first_of(columns);
    for (int64_t i = 0; i < rows; i++, c += AMX_WIDE) {
        __m512 low = _mm512_loadu_ps(c), high = _mm512_loadu_ps(c + 16);
        if (bf16) _mm512_mask_storeu_epi16((uint16_t *)out + at[i], mask, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        else {
            _mm512_mask_storeu_ps((float *)out + at[i], (__mmask16)mask, low);
            if (mask >> 16) _mm512_mask_storeu_ps((float *)out + at[i] + 16, (__mmask16)(mask >> 16), high);
        }
    }
}

static const gd__amx_kernels kernels = {
    .enter = enter,
    .leave = leave,
    .gather = {gather, gather_halves},
    .split = split,
    .pack = pack,
    .pack_across = pack_across,
    .turn = turn,
    .product = {product, product_of_halves},
    .put = put,
};
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC reset_options
#endif

/* ---- this machine ---- */

static bool usable;

/* Tile registers must be saved by the system (bits of XCR0), which a process asks for. */
static void look(void) {
    enum { TILE = 1 << 24, BF16 = 1 << 22, OSXSAVE = 1 << 27, TILE_STATE = 3 << 17, ARCH_REQ = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) return;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & TILE) || !(d & BF16)) return;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & TILE_STATE) != TILE_STATE) return;
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512bf16"))
        return;
    usable = syscall(SYS_arch_prctl, ARCH_REQ, TILE_DATA) == 0;
}

const gd__amx_kernels *gd__amx_usable(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look);
    return usable ? &kernels : NULL;
}
#else
const gd__amx_kernels *gd__amx_usable(void) { return NULL; }
#endif
