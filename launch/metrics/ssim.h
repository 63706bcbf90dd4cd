/* launch/metrics/ssim.h -- multi-scale structural similarity (Wang, Simoncelli, Bovik 2003). */
#ifndef GANDIST_LAUNCH_METRICS_SSIM_H
#define GANDIST_LAUNCH_METRICS_SSIM_H

#include <stdint.h>

#include "base/status.h"

enum { GD_SSIM_SCALES = 5, GD_SSIM_WINDOW = 11 };

/* Scales for images of this size: 5, or as many as keep the smaller side at 11 pixels (the window) or more, each
 * scale halving it; their weights are then scaled to sum to 1. 0: the image is smaller than the window. */
int gd_ssim_scales(int height, int width);
/* Of two images [h,w,c] of bytes: 1 when equal. An 11 x 11 Gaussian window of deviation 1.5 where it fits, mean
 * over channels, K1 0.01, K2 0.03; scales shrink by means of 2 x 2; a negative contrast term counts as 0.
 * Errors: SHAPE (smaller than 11 pixels), NOMEM. */
GD_CHECKED gd_status gd_ms_ssim(int height, int width, int channels, const uint8_t *a, const uint8_t *b, double *out);

#endif
