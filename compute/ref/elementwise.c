/* compute/ref/elementwise.c -- leaves and elementwise ops: the obvious formulas. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "compute/ref/ref.h"

double gd__ref_bf16(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (f == f) bits += 0x7fff + (bits >> 16 & 1); /* not for NaN: it would become infinity */
    bits &= 0xffff0000u;
    if (f != f) bits |= 0x00400000u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Draws of sample n are keyed by its index in the global batch, so no split of the batch shows. */
static void draw(const gd__ref_call *c) {
    enum { BLOCK = 64 };
    const gd_node_info *n = c->n;
    const gd_rng r = {c->args->seed, n->attr.purpose, c->args->step};
    int64_t samples = n->shape.dim[0], draws = gd_shape_count(n->shape) / samples;
    float some[BLOCK];
    for (int64_t s = 0; s < samples; s++)
        for (int64_t at = 0; at < draws; at += BLOCK) {
            uint32_t now = (uint32_t)(draws - at < BLOCK ? draws - at : BLOCK);
            uint64_t sample = c->args->sample + (uint64_t)s;
            if (n->attr.kind == GD_RANDOM_NORMAL) gd_rng_normal(&r, sample, (uint32_t)at, now, some);
            else gd_rng_uniform(&r, sample, (uint32_t)at, now, some);
            for (uint32_t i = 0; i < now; i++) c->y[s * draws + at + i] = some[i];
        }
}

void gd__ref_leaf(const gd__ref_call *c) {
    if (c->n->op == GD_OP_RANDOM) draw(c);
    if (c->n->op != GD_OP_CONST) return; /* INPUT, PARAM: memory of the caller */
    int64_t count = gd_shape_count(c->n->shape);
    for (int64_t i = 0; i < count; i++) c->y[i] = c->n->attr.value;
}

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

static double unary(gd_op op, const gd_attr *t, double x) {
    switch (op) {
    case GD_OP_NEG: return -x;
    case GD_OP_ABS: return fabs(x);
    case GD_OP_SIGN: return (x > 0) - (x < 0);
    case GD_OP_STEP: return x > 0;
    case GD_OP_SQUARE: return x * x;
    case GD_OP_SQRT: return sqrt(x);
    case GD_OP_RSQRT: return 1 / sqrt(x);
    case GD_OP_RECIP: return 1 / x;
    case GD_OP_EXP: return exp(x);
    case GD_OP_LOG: return log(x);
    case GD_OP_TANH: return tanh(x);
    case GD_OP_SIGMOID: return sigmoid(x);
    case GD_OP_SOFTPLUS: return softplus(x);
    case GD_OP_LEAKY: return x > 0 ? x : t->value * x;
    case GD_OP_LEAKY_SLOPE: return x > 0 ? 1 : t->value;
    case GD_OP_CLAMP: return x < t->value ? t->value : x > t->value2 ? t->value2 : x;
    default: return x; /* STOP, and CAST: rounded by the caller */
    }
}

static double binary(gd_op op, double a, double b) {
    switch (op) {
    case GD_OP_ADD: return a + b;
    case GD_OP_SUB: return a - b;
    case GD_OP_MUL: return a * b;
    case GD_OP_DIV: return a / b;
    case GD_OP_MAX: return a > b ? a : b;
    default: return a < b ? a : b; /* MIN */
    }
}

void gd__ref_elementwise(const gd__ref_call *c) {
    const gd_node_info *n = c->n;
    int64_t count = gd_shape_count(n->shape);
    if (c->b)
        for (int64_t i = 0; i < count; i++) c->y[i] = binary(n->op, c->a[i], c->b[i]);
    else
        for (int64_t i = 0; i < count; i++) c->y[i] = unary(n->op, &n->attr, c->a[i]);
}
