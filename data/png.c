/* data/png.c -- PNG through libpng, into and out of memory.
 *
 * libpng reports errors by a long jump: everything it calls back into only copies bytes, and what is
 * allocated here is reachable after the jump. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/image_internal.h"

typedef struct png_input {
    const uint8_t *bytes;
    size_t left;
    const char *name;
    int row, rows;
    bool short_of_input;
    char error[160];
} png_input;

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

gd_status gd__png_probe(const char *name, const uint8_t *b, size_t n, gd__image_info *out, bool *more) {
    if (n < 33) { /* signature 8, IHDR 25 */
        *more = true;
        GD_FAIL(DATA, "%s: damaged PNG: ends within its header; " GD__REPLACE, name);
    }
    if (memcmp(b + 8, "\0\0\0\rIHDR", 8))
        GD_FAIL(DATA, "%s: damaged PNG: does not begin with IHDR; " GD__REPLACE, name);
    uint64_t width = big32(b + 16), height = big32(b + 20);
    GD_TRY(gd__image_limits(name, width, height));
    bool grey = b[25] == PNG_COLOR_TYPE_GRAY || b[25] == PNG_COLOR_TYPE_GRAY_ALPHA;
    *out = (gd__image_info){(int)height, (int)width, grey ? 1 : 3, false};
    return GD_OK;
}

static void on_error(png_structp png, png_const_charp message) {
    png_input *in = png_get_error_ptr(png);
    snprintf(in->error, sizeof in->error, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message; /* about chunks that do not touch the pixels */
}

static void on_read(png_structp png, png_bytep to, size_t n) {
    png_input *in = png_get_io_ptr(png);
    if (n > in->left) {
        in->short_of_input = true;
        png_error(png, "ends early");
    }
    memcpy(to, in->bytes, n);
    in->bytes += n;
    in->left -= n;
}

/* 8 bits a channel, grey or RGB, no alpha, no gamma. 16-bit values keep their high byte. */
static void set_transforms(png_structp png, png_infop info) {
    int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16) png_set_strip_16(png);
    png_set_strip_alpha(png);
}

/* All that may jump. Returns false after an error. */
static bool read_rows(png_structp png, png_infop info, png_input *in, gd_image *out) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_read_fn(png, in, on_read);
    png_set_user_limits(png, GD__SIDE_MAX, GD__SIDE_MAX);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    /* -1: all chunks that do not touch the pixels, so text of any size is skipped, not unpacked. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, info);
    set_transforms(png, info);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t line = (size_t)out->width * (size_t)out->channels;
    if (png_get_rowbytes(png, info) != line) png_error(png, "rows of unexpected length");
    for (int p = 0; p < passes; p++)
        for (in->row = 0; in->row < out->height; in->row++)
            png_read_row(png, out->pixels + (size_t)in->row * line, NULL);
    png_read_end(png, NULL);
    return true;
}

static gd_status decode_failed(const png_input *in) {
    if (in->short_of_input && in->row < in->rows)
        GD_FAIL(DATA, "%s: damaged PNG: ends early (row %d of %d); " GD__REPLACE, in->name, in->row, in->rows);
    GD_FAIL(DATA, "%s: damaged PNG: %s; " GD__REPLACE, in->name, in->error);
}

/* Deflate packs at most 1032 to 1: a picture that cannot be in so few bytes is refused before memory
 * is taken for it. b: a whole header, as the probe has checked. */
static gd_status check_plausible(const char *name, const uint8_t *b, size_t n, const gd__image_info *info) {
    static const uint8_t samples[7] = {1, 0, 3, 1, 2, 0, 4}; /* by colour type */
    const uint64_t bits = (uint64_t)b[24] * (b[25] < sizeof samples ? samples[b[25]] : 0);
    const uint64_t raw = ((uint64_t)info->width * bits + 7) / 8 * (uint64_t)info->height;
    if (raw / 1032 <= n) return GD_OK;
    GD_FAIL(DATA, "%s: damaged PNG: %d x %d pixels cannot be in %zu bytes; " GD__REPLACE, name, info->width,
            info->height, n);
}

gd_status gd__png_decode(const char *name, const uint8_t *bytes, size_t n, const gd__image_info *info, gd_image *out) {
    gd_image im = {0};
    png_infop pi = NULL;
    png_input in = {.bytes = bytes, .left = n, .name = name, .rows = info->height};
    GD_TRY(check_plausible(name, bytes, n, info));
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &in, on_error, on_warning);
    gd_status st = GD_OK;
    if (png) pi = png_create_info_struct(png);
    if (!pi) GD_FAIL_TO(fail, NOMEM, "%s: no memory to decode a PNG", name);
    GD_TRY_TO(fail, gd__image_new(name, info->height, info->width, info->channels, &im));
    if (!read_rows(png, pi, &in, &im)) GD_TRY_TO(fail, decode_failed(&in));
    png_destroy_read_struct(&png, &pi, NULL);
    *out = im;
    return GD_OK;
fail:
    gd_image_free(&im);
    if (png) png_destroy_read_struct(&png, pi ? &pi : NULL, NULL);
    return st;
}

typedef struct png_output {
    uint8_t *bytes;
    size_t used, room;
    char error[160];
} png_output;

static void on_write_error(png_structp png, png_const_charp message) {
    png_output *o = png_get_error_ptr(png);
    snprintf(o->error, sizeof o->error, "%s", message);
    png_longjmp(png, 1);
}

static void on_write(png_structp png, png_bytep from, size_t n) {
    png_output *o = png_get_io_ptr(png);
    if (o->used + n > o->room) {
        size_t room = 2 * (o->used + n) + 4096;
        uint8_t *grown = realloc(o->bytes, room);
        if (!grown) png_error(png, "out of memory");
        o->bytes = grown;
        o->room = room;
    }
    memcpy(o->bytes + o->used, from, n);
    o->used += n;
}

static void on_flush(png_structp png) { (void)png; }

static bool write_rows(png_structp png, png_infop info, png_output *o, const gd_image *im, char *text) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_write_fn(png, o, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)im->width, (png_uint_32)im->height, 8,
                 im->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    char key[] = "Description";
    png_text t = {.compression = PNG_TEXT_COMPRESSION_NONE, .key = key, .text = text};
    if (text) png_set_text(png, info, &t, 1);
    png_write_info(png, info);
    for (int y = 0; y < im->height; y++)
        png_write_row(png, im->pixels + (size_t)y * (size_t)im->width * (size_t)im->channels);
    png_write_end(png, info);
    return true;
}

gd_status gd_image_encode_png(const gd_image *im, const char *text, uint8_t **out, size_t *bytes) {
    if (im->channels != 1 && im->channels != 3) GD_FAIL(CONFIG, "PNG of %d channels; expected 1 or 3", im->channels);
    GD_TRY(gd__image_limits("PNG", (uint64_t)im->width, (uint64_t)im->height));
    png_output o = {0};
    char *copy = text ? strdup(text) : NULL; /* libpng wants it writable */
    png_infop info = NULL;
    gd_status st = GD_OK;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &o, on_write_error, on_warning);
    if (png) info = png_create_info_struct(png);
    if (!info || (text && !copy)) GD_FAIL_TO(done, NOMEM, "no memory to encode a PNG");
    if (!write_rows(png, info, &o, im, copy))
        GD_FAIL_TO(done, NOMEM, "PNG of %d x %d pixels: %s", im->width, im->height, o.error);
    *out = o.bytes;
    *bytes = o.used;
    o.bytes = NULL;
done:
    free(o.bytes);
    free(copy);
    if (png) png_destroy_write_struct(&png, info ? &info : NULL);
    return st;
}

gd_status gd_image_write_png(const char *path, const gd_image *im, const char *text) {
    uint8_t *bytes;
    size_t n;
    GD_TRY(gd_image_encode_png(im, text, &bytes, &n));
    gd_status st = gd_file_write(path, bytes, n);
    free(bytes);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    return GD_OK;
}
