/* dist/rules.h -- the inner loops of optimisers (optimizer.h) on one thread, compiled once per instruction set from
 * rules_template.h: Adam's root and divisions are what an update takes its time for, and 512-bit registers do them
 * four times as fast as 128-bit ones. All give the same bits: each element goes through the same IEEE operations,
 * without fused multiply-add. */
#ifndef GANDIST_DIST_RULES_H
#define GANDIST_DIST_RULES_H

#include "dist/optimizer.h"

typedef struct gd__rules {
    const char *name; /* "avx2" */
    /* n elements; m: first moment, v: second moment, or the only one that the rule keeps. */
    void (*adam)(const gd_optimizer_numbers *u, size_t n, float *p, const float *g, float *m, float *v);
    void (*rmsprop)(const gd_optimizer_numbers *u, size_t n, float *p, const float *g, float *v);
    void (*momentum)(const gd_optimizer_numbers *u, size_t n, float *p, const float *g, float *v);
    void (*plain)(const gd_optimizer_numbers *u, size_t n, float *p, const float *g);
} gd__rules;

extern const gd__rules gd__rules_base;
#if defined(__x86_64__)
extern const gd__rules gd__rules_avx2, gd__rules_avx512;
#endif

/* Rules that this processor runs, best first; returns how many (at least 1). */
int gd__rules_usable(const gd__rules *out[3]);

#endif
