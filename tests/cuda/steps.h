/* tests/cuda/steps.h -- training steps of the families: their values, and how near to `ref` an executor must come.
 *
 * Norm. |have - ref| / |ref| of each tensor (2-norms; |ref| at least 0.1), where ref has the step's precision: in bf16 it
 * rounds what the program says, in double. Limit: base + 2 moved. moved is how far ref goes from itself, at most in four runs,
 * when every value of f32, and of what is rounded to bf16 the value before, is changed by 2^-24 of it: one rounding of f32. No
 * executor that calculates in f32 can be expected nearer. It is far below base but where norms follow each other (CycleGAN in
 * f32: 2e-5) and where one bf16 rounding that falls the other way grows from layer to layer (pix2pix, CycleGAN: 0.1 to 0.2). */
#ifndef GANDIST_TESTS_CUDA_STEPS_H
#define GANDIST_TESTS_CUDA_STEPS_H

#include "../ops/harness.h"
#include "models/gan.h"

/* What an input or a parameter holds. */
void steps_draw(const gd_binding *b, double *to);

/* ref's results of one step, with ops_run's keys. */
typedef struct steps_ref steps_ref;
steps_ref *steps_ref_new(const gd_step_graph *s, gd_precision p);
void steps_ref_free(steps_ref *r);
/* Distance of output `name` over its limit. base: 1e-5 in f32; 2e-2 in bf16, 2e-3 where sums are f32 on a CPU. */
double steps_distance(const steps_ref *r, const char *name, const double *have, double base);

#endif
