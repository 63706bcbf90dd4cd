/* compute/cpu/vkernels_template.h -- see vkernels.h. Included by one file per instruction set, which
 * defines GD__VSET (the table's name), GD__VNAME and GD__VBYTES (of a vector register). */
#include <string.h>

#include "compute/cpu/vkernels.h"
#include "compute/cpu/vmath.h"

static inline float gd__vleaky(float x, float slope) {
    float low = x * slope;
    return x > 0.0f ? x : low;
}

static inline float gd__vclamp(float x, float low, float high) {
    float y = x < low ? low : x;
    return y > high ? high : y;
}

/* ---- elementwise ---- */

#define BODY_UNUSED (void)b_, (void)c_, (void)p, (void)q

#define DEFINE_UNARY(name, expression)                                                              \
    static void name##_v(float *d, const float *a_, const float *b_, const float *c_, int64_t n,    \
                         const float *attr) {                                                       \
        const float p = attr[0], q = attr[1];                                                       \
        BODY_UNUSED;                                                                                \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                       \
            const float a = a_[i];                                                                  \
            d[i] = expression;                                                                      \
        }                                                                                           \
    }                                                                                               \
    static void name##_s(float *d, const float *a_, const float *b_, const float *c_, int64_t n,    \
                         const float *attr) {                                                       \
        const float p = attr[0], q = attr[1], a = *a_;                                              \
        BODY_UNUSED;                                                                                \
        const float value = expression;                                                             \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) d[i] = value;                           \
    }

/* suffix: v or s for each operand; a_at: how operand a is read. */
#define DEFINE_VARIANT(name, suffix, expression, a_at, b_at, c_at)                                  \
    static void name##_##suffix(float *d, const float *a_, const float *b_, const float *c_,        \
                                int64_t n, const float *attr) {                                     \
        const float p = attr[0], q = attr[1];                                                       \
        const float a0 = *a_, b0 = *b_, c0 = *c_;                                                   \
        (void)a0, (void)b0, (void)c0, (void)p, (void)q;                                             \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                       \
            const float a = a_at, b = b_at, c = c_at;                                               \
            (void)c;                                                                                \
            d[i] = expression;                                                                      \
        }                                                                                           \
    }

#define DEFINE_BINARY(name, expression)                                                             \
    DEFINE_VARIANT(name, vv, expression, a_[i], b_[i], c0)                                          \
    DEFINE_VARIANT(name, sv, expression, a0, b_[i], c0)                                             \
    DEFINE_VARIANT(name, vs, expression, a_[i], b0, c0)

#define DEFINE_TERNARY(name, expression)                                                            \
    DEFINE_VARIANT(name, vvv, expression, a_[i], b_[i], c_[i])                                      \
    DEFINE_VARIANT(name, vsv, expression, a_[i], b0, c_[i])                                         \
    DEFINE_VARIANT(name, vvs, expression, a_[i], b_[i], c0)                                         \
    DEFINE_VARIANT(name, vss, expression, a_[i], b0, c0)

GD__VUNARY(DEFINE_UNARY)
GD__VBINARY(DEFINE_BINARY)
GD__VTERNARY(DEFINE_TERNARY)

/* ---- conversions ---- */

static void from_bf16(float *d, const uint16_t *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) d[i] = gd__from_bf16(x[i]);
}

static void from_u8(float *d, const uint8_t *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) d[i] = (float)(int32_t)x[i];
}

static void to_bf16(uint16_t *d, const float *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) d[i] = gd__to_bf16(x[i]);
}

/* ---- sums ----
 * LANES running sums whatever the register width, so every instruction set adds in the same order. */

enum { LANES = 32, REGISTERS = LANES * 4 / GD__VBYTES };
typedef float vector __attribute__((vector_size(GD__VBYTES)));

static inline vector load(const float *p) {
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Columns first .. first + LANES - 1. */
static void add_lanes(double *acc, const float *v, int64_t rows, int64_t step) {
    vector s[REGISTERS];
    float lane[LANES];
    for (int j = 0; j < REGISTERS; j++) s[j] = load(v + j * (GD__VBYTES / 4));
    for (int64_t r = 1; r < rows; r++)
        for (int j = 0; j < REGISTERS; j++) s[j] += load(v + r * step + j * (GD__VBYTES / 4));
    memcpy(lane, s, sizeof lane);
#pragma omp simd
    for (int j = 0; j < LANES; j++) acc[j] += (double)lane[j];
}

/* Fewer than LANES columns. */
static void add_few(double *acc, const float *v, int64_t rows, int64_t step, int64_t columns) {
    float lane[LANES] = {0};
    for (int64_t r = 0; r < rows; r++)
#pragma omp simd
        for (int64_t j = 0; j < columns; j++) lane[j] += v[r * step + j];
    for (int64_t j = 0; j < columns; j++) acc[j] += (double)lane[j];
}

/* Narrow rows: as many as fit into the lanes are taken side by side. */
static void add_narrow(double *acc, const float *v, int64_t rows, int64_t columns) {
    int64_t group = LANES / columns, wide = group * columns, done = rows / group;
    double lane[LANES] = {0};
    add_few(lane, v, done, wide, wide);
    for (int64_t i = 0; i < wide; i++) acc[i % columns] += lane[i];
    add_few(acc, v + done * wide, rows - done * group, columns, columns);
}

static void add_columns(double *acc, const float *v, int64_t rows, int64_t columns) {
    if (columns <= LANES / 2 && rows > 1) {
        add_narrow(acc, v, rows, columns);
        return;
    }
    int64_t c = 0;
    for (; c + LANES <= columns; c += LANES) add_lanes(acc + c, v + c, rows, columns);
    if (c < columns) add_few(acc + c, v + c, rows, columns, columns - c);
}

static double total(const float *v, int64_t n) {
    double lane[LANES] = {0};
    int64_t rows = n / LANES;
    if (rows) add_lanes(lane, v, rows, LANES);
    for (int64_t i = rows * LANES; i < n; i++) lane[i - rows * LANES] += (double)v[i];
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

/* ---- table ---- */

#define ROW_UNARY(name, expression) [GD__V_##name] = {[0] = name##_v, [1] = name##_s},
#define ROW_BINARY(name, expression) [GD__V_##name] = {[0] = name##_vv, [1] = name##_sv, [2] = name##_vs},
#define ROW_TERNARY(name, expression)                                                               \
    [GD__V_##name] = {[0] = name##_vvv, [2] = name##_vsv, [4] = name##_vvs, [6] = name##_vss},

const gd__vkernels GD__VSET = {
    .name = GD__VNAME,
    .fn = {GD__VUNARY(ROW_UNARY) GD__VBINARY(ROW_BINARY) GD__VTERNARY(ROW_TERNARY)},
    .from_bf16 = from_bf16,
    .from_u8 = from_u8,
    .to_bf16 = to_bf16,
    .add_columns = add_columns,
    .total = total,
};
