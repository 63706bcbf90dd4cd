/* data/image_internal.h -- what the decoders share. Not for other folders. */
#ifndef GANDIST_DATA_IMAGE_INTERNAL_H
#define GANDIST_DATA_IMAGE_INTERNAL_H

#include <stdbool.h>

#include "data/image.h"

/* A picture beyond these is refused before anything is allocated for it. */
enum {
    GD__SIDE_MAX = 65535,
    GD__PIXELS_MAX = 64 * 1000 * 1000,
    GD__SCANS_MAX = 100, /* of one JPEG; each scan may cost a pass over the whole picture */
};

/* What every "damaged file" message advises. */
#define GD__REPLACE "expected a whole picture; replace or remove the file"

typedef struct gd__image_info {
    int height, width, channels; /* as stored; alpha not counted, palette counts as 3 */
    bool jpeg;
} gd__image_info;

/* Reads format and size from the first n bytes of a file and checks the limits. *more (may be NULL)
 * is set when the header may lie behind these n bytes. Errors: DATA. */
gd_status gd__image_probe(const char *name, const void *bytes, size_t n, gd__image_info *out,
                          bool *more);
gd_status gd__image_limits(const char *name, uint64_t width, uint64_t height);
/* Pixels of info->height x width x channels, malloc'ed. Errors: NOMEM. */
gd_status gd__image_new(const char *name, int height, int width, int channels, gd_image *out);

gd_status gd__png_probe(const char *name, const uint8_t *bytes, size_t n, gd__image_info *out,
                        bool *more);
gd_status gd__jpeg_probe(const char *name, const uint8_t *bytes, size_t n, gd__image_info *out,
                         bool *more);
/* Decode with channels as stored. Errors: DATA, NOMEM. */
gd_status gd__png_decode(const char *name, const uint8_t *bytes, size_t n,
                         const gd__image_info *info, gd_image *out);
gd_status gd__jpeg_decode(const char *name, const uint8_t *bytes, size_t n,
                          const gd__image_info *info, gd_image *out);

/* in -> 1 or 3 channels. 3 to 1 is Pillow's integer form of ITU-R 601 luma. In place; may reallocate. */
gd_status gd__image_convert(gd_image *im, int channels);
/* The h x w window at (top, left) of in resized to full_h x full_w: equal to resizing and cropping,
 * without computing what is cropped away. */
typedef enum gd__filter { GD__BILINEAR, GD__BICUBIC } gd__filter;
gd_status gd__image_resize_window(const gd_image *in, gd__filter filter_kind, int full_h, int full_w, int top,
                                  int left, int h, int w, gd_image *out);

/* ---- pictures that are a span of a file: the whole file, or a member of a tar ---- */

/* n bytes at `at`, malloc'ed, within the limit for picture files. Errors: DATA (too large, ends), IO, NOMEM. */
gd_status gd__span_read(int fd, const char *name, uint64_t at, uint64_t n, void **bytes);
/* Format and size by two short reads; what seems cut off is decoded, so that it is found out before
 * training. Errors: DATA, IO, NOMEM. */
gd_status gd__span_probe(int fd, const char *name, uint64_t at, uint64_t n, gd__image_info *out);

/* check(arg, i) for all i below count, by several threads. The error of the lowest i comes out, with how many
 * more there are; NOINPUT becomes DATA: the set said that the file is there. */
gd_status gd__check_all(const char *where, size_t count, gd_status (*check)(void *arg, size_t i), void *arg);

#endif
