/* data/image.h -- 8-bit images in memory: decoding, resampling, cropping, writing. */
#ifndef GANDIST_DATA_IMAGE_H
#define GANDIST_DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* height x width x channels bytes, channel fastest. pixels: malloc'ed, gd_image_free. */
typedef struct gd_image {
    int height, width, channels; /* channels 1 or 3 */
    uint8_t *pixels;
} gd_image;

void gd_image_free(gd_image *im);
/* PNG or JPEG by content, with the limits of the bad-input catalogue. name is for messages.
 * channels: 1 (ITU-R 601 luma), 3, or 0 (as stored, alpha dropped over nothing). Errors: DATA, NOMEM. */
GD_CHECKED gd_status gd_image_decode(const char *name, const void *bytes, size_t n, int channels,
                                     gd_image *out);
/* Bilinear (triangle, antialiased when shrinking), equal bit for bit to Pillow's Image.resize
 * (BILINEAR) on L and RGB images. */
GD_CHECKED gd_status gd_image_resize(const gd_image *in, int height, int width, gd_image *out);
/* The same with Pillow's BICUBIC (a = -1/2, antialiased), as in the public pix2pix and CycleGAN code. */
GD_CHECKED gd_status gd_image_resize_bicubic(const gd_image *in, int height, int width, gd_image *out);
/* torchvision's Resize(size) (shorter side) and CenterCrop(size). */
GD_CHECKED gd_status gd_image_fit(const gd_image *in, int size, gd_image *out);
/* PNG, 8-bit grey or RGB, atomically (base/io.h). text may be NULL, else a tEXt "Description". */
GD_CHECKED gd_status gd_image_write_png(const char *path, const gd_image *im, const char *text);
/* The same into memory; *out malloc'ed. */
GD_CHECKED gd_status gd_image_encode_png(const gd_image *im, const char *text, uint8_t **out,
                                         size_t *bytes);
/* n images of one size, in rows of `columns`, `gap` pixels of `background` between and around. */
GD_CHECKED gd_status gd_image_sheet(const gd_image *images, int n, int columns, int gap,
                                    uint8_t background, gd_image *out);

#endif
