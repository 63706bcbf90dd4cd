/* launch/pictures.h -- from generator output to picture files. */
#ifndef GANDIST_LAUNCH_PICTURES_H
#define GANDIST_LAUNCH_PICTURES_H

#include "data/image.h"
#include "models/gan.h"

/* n samples [n,H,W,C] in `range` to one sheet. Points (C = 2, 1 x 1) become a scatter plot.
 * columns 0: as square as possible. Errors: CANTCREAT, IO, NOMEM. */
GD_CHECKED gd_status gd_pictures_sheet(const char *path, const float *x, int n, gd_shape image,
                                       gd_range range, int columns, const char *text);
/* Each sample as dir/0000.png ... */
GD_CHECKED gd_status gd_pictures_files(const char *dir, const float *x, int n, gd_shape image,
                                       gd_range range);
/* Between network values and bytes: `count` numbers in `range` (not RAW). */
void gd_pictures_bytes(const float *x, size_t count, gd_range range, uint8_t *out);
void gd_pictures_floats(const uint8_t *x, size_t count, gd_range range, float *out);
/* One image [height,width,channels] in `range` as bytes with `as` channels: equal to channels, or 3 from 1 (grey
 * in each). *out: owner: caller. Errors: NOMEM. */
GD_CHECKED gd_status gd_pictures_tile(const float *x, int height, int width, int channels, int as, gd_range range,
                                      gd_image *out);

#endif
