/* data/image.c -- format detection, limits, channel conversion, fitting, contact sheets. */
#include "data/image.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "data/image_internal.h"

void gd_image_free(gd_image *im) {
    if (!im) return;
    free(im->pixels);
    *im = (gd_image){0};
}

gd_status gd__image_new(const char *name, int height, int width, int channels, gd_image *out) {
    size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    uint8_t *pixels = malloc(bytes ? bytes : 1);
    if (!pixels) GD_FAIL(NOMEM, "%s: no memory for %d x %d x %d pixels", name, width, height, channels);
    *out = (gd_image){height, width, channels, pixels};
    return GD_OK;
}

gd_status gd__image_limits(const char *name, uint64_t width, uint64_t height) {
    if (!width || !height)
        GD_FAIL(DATA, "%s: %llu x %llu pixels; " GD__REPLACE, name, (unsigned long long)width,
                (unsigned long long)height);
    if (width <= GD__SIDE_MAX && height <= GD__SIDE_MAX && width * height <= GD__PIXELS_MAX) return GD_OK;
    char w[32], h[32];
    gd_text_count(width, w, sizeof w);
    gd_text_count(height, h, sizeof h);
    const double mpx = (double)width * (double)height * 1e-6;
    GD_FAIL(DATA, "%s: %s x %s pixels are %.3g %s; the limit is %d Mpx and %d a side; shrink or remove the file", name,
            w, h, mpx < 1000 ? mpx : mpx * 1e-3, mpx < 1000 ? "Mpx" : "Gpx", GD__PIXELS_MAX / 1000000, GD__SIDE_MAX);
}

/* Names the format that the ending promises. */
static const char *promised(const char *name) {
    const char *dot = strrchr(name, '.');
    if (dot && !strcasecmp(dot, ".png")) return "not a PNG";
    if (dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"))) return "not a JPEG";
    return "neither PNG nor JPEG";
}

static gd_status unknown_format(const char *name, const uint8_t *b, size_t n) {
    char start[64];
    size_t show = n < 8 ? n : 8, printable = 0, len = 0;
    while (printable < show && b[printable] < 127 && isprint(b[printable])) printable++;
    if (printable >= 4 || printable == n) snprintf(start, sizeof start, "\"%.*s\"", (int)printable, (const char *)b);
    else
        for (size_t i = 0; i < show; i++)
            len += (size_t)snprintf(start + len, sizeof start - len, "%s%02X", i ? " " : "", b[i]);
    GD_FAIL(DATA, "%s: %s: starts with %s; expected a PNG or JPEG picture; replace or remove the file", name,
            promised(name), start);
}

gd_status gd__image_probe(const char *name, const void *bytes, size_t n, gd__image_info *out, bool *more) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    const uint8_t *b = bytes;
    bool unused;
    if (!more) more = &unused;
    *more = false;
    if (!n) GD_FAIL(DATA, "%s: 0 bytes; " GD__REPLACE, name);
    if (n >= 8 && !memcmp(b, png, 8)) return gd__png_probe(name, b, n, out, more);
    if (n >= 3 && b[0] == 0xFF && b[1] == 0xD8 && b[2] == 0xFF) return gd__jpeg_probe(name, b, n, out, more);
    return unknown_format(name, b, n);
}

static void rgb_to_luma(const uint8_t *rgb, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++, rgb += 3)
        out[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

gd_status gd__image_convert(gd_image *im, int channels) {
    if (!channels || im->channels == channels) return GD_OK;
    size_t n = (size_t)im->height * (size_t)im->width;
    if (channels == 1) { /* shrinks in place: byte i is written after bytes 3i.. were read */
        rgb_to_luma(im->pixels, n, im->pixels);
    } else {
        uint8_t *rgb = realloc(im->pixels, 3 * n);
        if (!rgb) GD_FAIL(NOMEM, "no memory for %d x %d x 3 pixels", im->width, im->height);
        for (size_t i = n; i-- > 0;) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = rgb[i];
        im->pixels = rgb;
    }
    im->channels = channels;
    return GD_OK;
}

gd_status gd_image_decode(const char *name, const void *bytes, size_t n, int channels, gd_image *out) {
    if (channels != 0 && channels != 1 && channels != 3)
        GD_FAIL(CONFIG, "%s: %d channels asked for; expected 1, 3 or 0 (as stored)", name, channels);
    gd__image_info info;
    gd_image im = {0};
    GD_TRY(gd__image_probe(name, bytes, n, &info, NULL));
    if (info.jpeg) GD_TRY(gd__jpeg_decode(name, bytes, n, &info, &im));
    else GD_TRY(gd__png_decode(name, bytes, n, &info, &im));
    gd_status st = gd__image_convert(&im, channels);
    if (st != GD_OK) {
        gd_image_free(&im);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = im;
    return GD_OK;
}

/* round((full - size) / 2) with halves to even, as Python rounds. */
static int centre(int full, int size) {
    int d = full - size;
    return d % 2 == 0 ? d / 2 : (d / 2 % 2 == 0 ? d / 2 : d / 2 + 1);
}

gd_status gd_image_fit(const gd_image *in, int size, gd_image *out) {
    if (size < 1 || size > GD__SIDE_MAX) GD_FAIL(CONFIG, "image size %d; expected 1 to %d", size, GD__SIDE_MAX);
    bool wide = in->width > in->height;
    int64_t longer = wide ? in->width : in->height, shorter = wide ? in->height : in->width;
    if (shorter < 1) GD_FAIL(DATA, "image of %d x %d pixels cannot be resized", in->width, in->height);
    int64_t full = size * longer / shorter; /* the shorter side becomes `size`, the other is cut off */
    if (full > INT32_MAX / 4)
        GD_FAIL(DATA, "image of %d x %d pixels is too thin to be resized to %d", in->width, in->height, size);
    int h = wide ? size : (int)full, w = wide ? (int)full : size;
    return gd__image_resize_window(in, GD__BILINEAR, h, w, centre(h, size), centre(w, size), size, size, out);
}

static gd_status resize(const gd_image *in, gd__filter kind, int height, int width, gd_image *out) {
    if (height < 1 || width < 1 || height > GD__SIDE_MAX || width > GD__SIDE_MAX)
        GD_FAIL(CONFIG, "image size %d x %d; expected 1 to %d a side", width, height, GD__SIDE_MAX);
    return gd__image_resize_window(in, kind, height, width, 0, 0, height, width, out);
}

gd_status gd_image_resize(const gd_image *in, int height, int width, gd_image *out) {
    return resize(in, GD__BILINEAR, height, width, out);
}

gd_status gd_image_resize_bicubic(const gd_image *in, int height, int width, gd_image *out) {
    return resize(in, GD__BICUBIC, height, width, out);
}

gd_status gd_image_sheet(const gd_image *images, int n, int columns, int gap, uint8_t background, gd_image *out) {
    if (n < 1 || columns < 1 || gap < 0)
        GD_FAIL(CONFIG, "sheet of %d images in %d columns with gap %d; expected at least one of each", n, columns, gap);
    if (columns > n) columns = n;
    const int h = images[0].height, w = images[0].width, c = images[0].channels;
    for (int i = 1; i < n; i++)
        if (images[i].height != h || images[i].width != w || images[i].channels != c)
            GD_FAIL(CONFIG, "sheet: image %d is %dx%dx%d, the first %dx%dx%d; expected one size", i, images[i].width,
                    images[i].height, images[i].channels, w, h, c);
    int rows = (n + columns - 1) / columns;
    int64_t height = (int64_t)rows * (h + gap) + gap, width = (int64_t)columns * (w + gap) + gap;
    GD_TRY(gd__image_limits("sheet", (uint64_t)width, (uint64_t)height));
    gd_image sheet;
    GD_TRY(gd__image_new("sheet", (int)height, (int)width, c, &sheet));
    memset(sheet.pixels, background, (size_t)height * (size_t)width * (size_t)c);
    for (int i = 0; i < n; i++) {
        size_t top = (size_t)(gap + i / columns * (h + gap)), left = (size_t)(gap + i % columns * (w + gap));
        size_t line = (size_t)w * (size_t)c;
        for (int y = 0; y < h; y++)
            memcpy(sheet.pixels + ((top + (size_t)y) * (size_t)width + left) * (size_t)c,
                   images[i].pixels + (size_t)y * line, line);
    }
    *out = sheet;
    return GD_OK;
}
