#include "launch/pictures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

static uint8_t to_byte(float v, gd_range range) {
    float b = range == GD_RANGE_UNIT ? v * 255.0f : (v + 1.0f) * 127.5f;
    return (uint8_t)(b <= 0 || isnan(b) ? 0 : b >= 255 ? 255 : b + 0.5f);
}

void gd_pictures_bytes(const float *x, size_t count, gd_range range, uint8_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = to_byte(x[i], range);
}

void gd_pictures_floats(const uint8_t *x, size_t count, gd_range range, float *out) {
    for (size_t i = 0; i < count; i++) out[i] = range == GD_RANGE_UNIT ? x[i] / 255.0f : x[i] / 127.5f - 1;
}

gd_status gd_pictures_tile(const float *x, int height, int width, int channels, int as, gd_range range, gd_image *out) {
    size_t pixels = (size_t)height * (size_t)width;
    uint8_t *p = malloc(pixels * (size_t)as);
    if (!p) GD_FAIL(NOMEM, "a picture of %d x %d pixels", width, height);
    if (as == channels) gd_pictures_bytes(x, pixels * (size_t)as, range, p);
    else
        for (size_t i = 0; i < pixels; i++)
            for (int c = 0; c < as; c++) p[i * (size_t)as + (size_t)c] = to_byte(x[i], range);
    *out = (gd_image){height, width, as, p};
    return GD_OK;
}

static void to_image(const float *x, gd_shape s, gd_range range, uint8_t *pixels, gd_image *out) {
    size_t count = (size_t)(s.dim[1] * s.dim[2] * s.dim[3]);
    gd_pictures_bytes(x, count, range, pixels);
    *out = (gd_image){(int)s.dim[1], (int)s.dim[2], (int)s.dim[3], pixels};
}

/* Points in the plane, drawn over the square [-limit, limit]^2 that holds them. */
static gd_status scatter(const char *path, const float *x, int n, const char *text) {
    enum { SIDE = 512 };
    float limit = 1;
    for (int i = 0; i < 2 * n; i++)
        if (isfinite(x[i]) && fabsf(x[i]) > limit) limit = fabsf(x[i]);
    limit *= 1.05f;
    gd_image im = {SIDE, SIDE, 1, malloc(SIDE * SIDE)};
    if (!im.pixels) GD_FAIL(NOMEM, "%s: picture", path);
    memset(im.pixels, 255, SIDE * SIDE);
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[2 * i]) || !isfinite(x[2 * i + 1])) continue;
        int c = (int)((x[2 * i] / limit + 1) * 0.5f * (SIDE - 2));
        int r = (int)((1 - x[2 * i + 1] / limit) * 0.5f * (SIDE - 2));
        for (int d = 0; d < 4; d++) im.pixels[(r + d / 2) * SIDE + c + d % 2] = 0;
    }
    gd_status st = gd_image_write_png(path, &im, text);
    gd_image_free(&im);
    return st;
}

gd_status gd_pictures_sheet(const char *path, const float *x, int n, gd_shape image, gd_range range, int columns,
                            const char *text) {
    if (range == GD_RANGE_RAW) return scatter(path, x, n, text);
    size_t bytes = (size_t)(image.dim[1] * image.dim[2] * image.dim[3]);
    gd_image *tiles = calloc((size_t)n, sizeof *tiles), sheet = {0};
    uint8_t *pixels = malloc((size_t)n * bytes);
    gd_status st;
    if (!tiles || !pixels) GD_FAIL_TO(done, NOMEM, "%s: %d pictures", path, n);
    for (int i = 0; i < n; i++) to_image(x + (size_t)i * bytes, image, range, pixels + (size_t)i * bytes, &tiles[i]);
    if (columns <= 0) columns = (int)ceil(sqrt(n));
    GD_TRY_TO(done, gd_image_sheet(tiles, n, columns, 2, 255, &sheet));
    GD_TRY_TO(done, gd_image_write_png(path, &sheet, text));
done:
    gd_image_free(&sheet);
    free(pixels);
    free(tiles);
    return st;
}

gd_status gd_pictures_files(const char *dir, const float *x, int n, gd_shape image, gd_range range) {
    if (range == GD_RANGE_RAW)
        GD_FAIL(CONFIG, "%s: this generator makes points, not pictures; use --grid FILE.png", dir);
    size_t bytes = (size_t)(image.dim[1] * image.dim[2] * image.dim[3]);
    GD_TRY(gd_dir_make(dir));
    uint8_t *pixels = malloc(bytes);
    if (!pixels) GD_FAIL(NOMEM, "%s: picture", dir);
    gd_status st = GD_OK;
    for (int i = 0; i < n && st == GD_OK; i++) {
        char path[4096];
        gd_image im;
        snprintf(path, sizeof path, "%s/%04d.png", dir, i);
        to_image(x + (size_t)i * bytes, image, range, pixels, &im);
        st = gd_image_write_png(path, &im, NULL);
    }
    free(pixels);
    return st;
}
