/* compute/cpu/vkernels.h -- the inner loops of fused groups: one function an operation, over a tile of
 * floats. Compiled once per instruction set from vkernels_template.h; all give the same bits, since
 * they only add, multiply, divide and take roots in a fixed order, and sums use fixed lanes.
 * Folder-internal.
 *
 * Operands are whole tiles or single numbers. mode says which: bit i set = operand i is one number. */
#ifndef GANDIST_COMPUTE_CPU_VKERNELS_H
#define GANDIST_COMPUTE_CPU_VKERNELS_H

#include <stdbool.h>
#include <stdint.h>

// clang-format off
/*    name          result, of a and the attributes p, q */
#define GD__VUNARY(X)                                                                               \
    X(MOV,          a)                                                                              \
    X(NEG,          -a)                                                                             \
    X(ABS,          gd__float(gd__bits(a) & 0x7fffffffu))                                           \
    X(SIGN,         (a > 0.0f ? 1.0f : 0.0f) - (a < 0.0f ? 1.0f : 0.0f))                            \
    X(STEP,         a > 0.0f ? 1.0f : 0.0f)                                                         \
    X(SQUARE,       a * a)                                                                          \
    X(SQRT,         sqrtf(a))                                                                       \
    X(RSQRT,        1.0f / sqrtf(a))                                                                \
    X(RECIP,        1.0f / a)                                                                       \
    X(EXP,          gd__vexp(a))                                                                    \
    X(LOG,          gd__vlog(a))                                                                    \
    X(TANH,         gd__vtanh(a))                                                                   \
    X(SIGMOID,      gd__vsigmoid(a))                                                                \
    X(SOFTPLUS,     gd__vsoftplus(a))                                                               \
    X(LEAKY,        a > 0.0f ? a : a * p)                                                           \
    X(LEAKY_SLOPE,  a > 0.0f ? 1.0f : p)                                                            \
    X(CLAMP,        gd__vclamp(a, p, q))                                                            \
    X(ROUND_BF16,   gd__from_bf16(gd__to_bf16(a)))
/*    of a and b; TIMES_SLOPE: LEAKY_SLOPE(b) * a */
#define GD__VBINARY(X)                                                                              \
    X(ADD,          a + b)                                                                          \
    X(SUB,          a - b)                                                                          \
    X(MUL,          a * b)                                                                          \
    X(DIV,          a / b)                                                                          \
    X(MAX,          a > b ? a : b)                                                                  \
    X(MIN,          a < b ? a : b)                                                                  \
    X(TIMES_SLOPE,  a * (b > 0.0f ? 1.0f : p))                                                      \
    X(ADD_LEAKY,    gd__vleaky(a + b, p))
/*    of a, b and c; each rounded twice like the two operations that it stands for */
#define GD__VTERNARY(X)                                                                             \
    X(MUL_ADD,      a * b + c)                                                                      \
    X(MUL_SUB,      a * b - c)                                                                      \
    X(SUB_MUL,      (a - b) * c)                                                                    \
    X(SUBR_MUL,     c - a * b)                                                                      \
    X(MUL_ADD_LEAKY, gd__vleaky(a * b + c, p))
// clang-format on

typedef enum gd__vop {
#define GD__VENUM(name, expression) GD__V_##name,
    GD__VUNARY(GD__VENUM) GD__VBINARY(GD__VENUM) GD__VTERNARY(GD__VENUM)
#undef GD__VENUM
        GD__V_COUNT
} gd__vop;

/* d[i] = f(a[i], b[i], c[i]) for i < n; unused operands are ignored; d may be one of them. attr: p, q. */
typedef void (*gd__vfn)(float *d, const float *a, const float *b, const float *c, int64_t n, const float *attr);

typedef struct gd__vkernels {
    const char *name; /* "avx2" */
    /* [op][mode]; NULL: this mix of tiles and numbers does not exist. A number as only or every
     * operand is run with mode 0 and n = 1. */
    gd__vfn fn[GD__V_COUNT][8];
    void (*from_bf16)(float *d, const uint16_t *x, int64_t n);
    void (*from_u8)(float *d, const uint8_t *x, int64_t n);
    void (*to_bf16)(uint16_t *d, const float *x, int64_t n);
    /* acc[c] += sum over r of v[r * columns + c]. */
    void (*add_columns)(double *acc, const float *v, int64_t rows, int64_t columns);
    /* Sum of v[0..n-1]: 32 lanes, added pairwise. */
    double (*total)(const float *v, int64_t n);
} gd__vkernels;

extern const gd__vkernels gd__vkernels_base;
#if defined(__x86_64__)
extern const gd__vkernels gd__vkernels_avx2, gd__vkernels_avx512;
#endif

/* Kernels that this processor runs, best first; returns how many (at least 1). */
int gd__vkernels_usable(const gd__vkernels *out[3]);

#endif
