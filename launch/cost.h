/* launch/cost.h -- the table that --dry-run prints. */
#ifndef GANDIST_LAUNCH_COST_H
#define GANDIST_LAUNCH_COST_H

#include <stdio.h>

#include "dist/train.h"

/* Parameters, memory of one rank by kind, on its device (in words) and its host, bytes all-reduced per update, operations and, on a
 * CPU, estimated time per iteration (from a short measurement of this machine's matrix product). Errors: as
 * gd_train_estimate. */
GD_CHECKED gd_status gd_cost_print(const gd_train_config *c, const gd_dataset *d, const char *device, int ranks,
                                   bool json, FILE *out);
/* Operations per second of a large f32 matrix product with the threads in use, best of a few runs. */
double gd_peak_flops(void);

#endif
