/* dist/adaptive.c -- how many discriminator updates an iteration has, decided from what was measured. */
#include <math.h>

#include "dist/coordinator.h"

static int64_t within(const gd_adaptive_spec *s, int64_t steps) {
    return steps < s->min ? s->min : steps > s->max ? s->max : steps;
}

/* A discriminator that is often wrong, or whose gradient is small beside the generator's, gets another step. */
static int64_t decide(const gd_adaptive_spec *s, double mean, int64_t steps) {
    if (mean < s->low) return within(s, steps + 1);
    if (mean > s->high) return within(s, steps - 1);
    return steps;
}

void gd_adaptive_advance(const gd_adaptive_spec *s, double value, gd_adaptive_state *a) {
    if (s->kind == GD_ADAPTIVE_NONE) return;
    a->d_steps = a->next;
    if (isfinite(value)) {
        a->sum += value;
        a->count++;
    }
    if (a->count < s->every) return;
    a->next = decide(s, a->sum / (double)a->count, a->next);
    a->sum = 0;
    a->count = 0;
}
