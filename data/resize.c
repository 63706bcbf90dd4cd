/* data/resize.c -- bilinear and bicubic resampling with Pillow's arithmetic.
 *
 * Two passes, horizontal then vertical, each a weighted sum over the support of a kernel that is
 * widened by the scale when shrinking (antialiasing). Weights are normalised in double, rounded to 22
 * fractional bits; sums are 32-bit integers and the picture between the passes is 8-bit. Integer sums
 * make the result independent of the order of evaluation. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_internal.h"

enum { BITS = 22, HALF = 1 << (BITS - 1) };

/* Weights of `count` consecutive outputs: output i reads inputs from[i] .. from[i]+taps[i]-1. */
typedef struct filter {
    int count, stride;
    int *from, *taps;
    int32_t *weight; /* count x stride, all in one block that begins at from */
} filter;

static double triangle(double d) {
    d = fabs(d);
    return d < 1.0 ? 1.0 - d : 0.0;
}

/* The cubic of Keys with a = -1/2, in the order of evaluation that Pillow has. */
static double cubic(double d) {
    static const double a = -0.5;
    d = fabs(d);
    if (d < 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1;
    return d < 2.0 ? (((d - 5) * d + 8) * d - 4) * a : 0.0;
}

typedef struct kernel {
    double (*at)(double);
    double support;
} kernel;

static const kernel KERNEL[] = {[GD__BILINEAR] = {triangle, 1.0}, [GD__BICUBIC] = {cubic, 2.0}};

static void filter_row(const kernel *kn, filter *f, int i, double middle, double widen, int in) {
    double sum = 0, inverse = 1.0 / widen, support = kn->support * widen;
    int from = (int)(middle - support + 0.5), to = (int)(middle + support + 0.5);
    if (from < 0) from = 0;
    if (to > in) to = in;
    for (int k = from; k < to; k++) sum += kn->at((k - middle + 0.5) * inverse);
    int32_t *q = f->weight + (size_t)i * (size_t)f->stride;
    for (int k = from; k < to; k++) {
        double w = kn->at((k - middle + 0.5) * inverse);
        w = (sum != 0.0 ? w / sum : w) * (1 << BITS);
        q[k - from] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    f->from[i] = from;
    f->taps[i] = to - from;
}

/* Outputs first .. first+count-1 of the map from `in` to `full` pixels. */
static gd_status filter_make(const kernel *kn, int in, int full, int first, int count, filter *out) {
    double scale = (double)in / full, widen = scale < 1.0 ? 1.0 : scale;
    filter f = {.count = count, .stride = (int)ceil(kn->support * widen) * 2 + 1};
    size_t cells = (size_t)count * (2 + (size_t)f.stride);
    f.from = malloc(cells * sizeof(int32_t));
    if (!f.from) GD_FAIL(NOMEM, "no memory to resize %d to %d pixels", in, full);
    f.taps = f.from + count;
    f.weight = f.taps + count;
    for (int i = 0; i < count; i++) filter_row(kn, &f, i, (first + i + 0.5) * scale, widen, in);
    *out = f;
    return GD_OK;
}

static uint8_t clip8(int32_t sum) {
    int32_t v = sum >> BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void row_grey(const filter *f, const uint8_t *in, uint8_t *out) {
    for (int x = 0; x < f->count; x++) {
        const int32_t *w = f->weight + (size_t)x * (size_t)f->stride;
        const uint8_t *p = in + f->from[x];
        int32_t sum = HALF;
        for (int k = 0; k < f->taps[x]; k++) sum += p[k] * w[k];
        out[x] = clip8(sum);
    }
}

static void row_rgb(const filter *f, const uint8_t *in, uint8_t *out) {
    for (int x = 0; x < f->count; x++, out += 3) {
        const int32_t *w = f->weight + (size_t)x * (size_t)f->stride;
        const uint8_t *p = in + 3 * (size_t)f->from[x];
        int32_t r = HALF, g = HALF, b = HALF;
        for (int k = 0; k < f->taps[x]; k++, p += 3) {
            r += p[0] * w[k];
            g += p[1] * w[k];
            b += p[2] * w[k];
        }
        out[0] = clip8(r);
        out[1] = clip8(g);
        out[2] = clip8(b);
    }
}

/* Rows top .. top+rows-1 of in, resampled to f->count columns. */
static void horizontal(const gd_image *in, const filter *f, int top, int rows, uint8_t *out) {
    size_t c = (size_t)in->channels, line = (size_t)in->width * c, made = (size_t)f->count * c;
    for (int y = 0; y < rows; y++) {
        const uint8_t *from = in->pixels + (size_t)(top + y) * line;
        if (c == 1) row_grey(f, from, out + (size_t)y * made);
        else row_rgb(f, from, out + (size_t)y * made);
    }
}

/* in: rows of `line` bytes, of which the first is input row `top`. sum: line cells. */
static void vertical(const uint8_t *in, size_t line, const filter *f, int top, int32_t *sum, uint8_t *out) {
    for (int y = 0; y < f->count; y++, out += line) {
        const int32_t *w = f->weight + (size_t)y * (size_t)f->stride;
        const uint8_t *p = in + (size_t)(f->from[y] - top) * line;
        for (size_t x = 0; x < line; x++) sum[x] = HALF;
        for (int k = 0; k < f->taps[y]; k++, p += line)
            for (size_t x = 0; x < line; x++) sum[x] += p[x] * w[k];
        for (size_t x = 0; x < line; x++) out[x] = clip8(sum[x]);
    }
}

static gd_status two_passes(const gd_image *in, const filter *fx, const filter *fy, gd_image *out) {
    const int last = fy->count - 1, top = fy->from[0];
    const int rows = fy->from[last] + fy->taps[last] - top; /* from and its end never decrease */
    const size_t line = (size_t)fx->count * (size_t)in->channels;
    uint8_t *between = malloc((size_t)rows * line);
    int32_t *sum = malloc(line * sizeof *sum);
    gd_image made = {0};
    gd_status st = GD_OK;
    if (!between || !sum) GD_FAIL_TO(done, NOMEM, "no memory to resize %d x %d pixels", in->width, in->height);
    GD_TRY_TO(done, gd__image_new("resize", fy->count, fx->count, in->channels, &made));
    horizontal(in, fx, top, rows, between);
    vertical(between, line, fy, top, sum, made.pixels);
    *out = made;
done:
    free(between);
    free(sum);
    return st;
}

gd_status gd__image_resize_window(const gd_image *in, gd__filter filter_kind, int full_h, int full_w, int top, int left,
                                  int h, int w, gd_image *out) {
    const kernel *kn = &KERNEL[filter_kind];
    filter fx = {0}, fy = {0};
    gd_status st;
    GD_TRY_TO(done, filter_make(kn, in->width, full_w, left, w, &fx));
    GD_TRY_TO(done, filter_make(kn, in->height, full_h, top, h, &fy));
    GD_TRY_TO(done, two_passes(in, &fx, &fy, out));
done:
    free(fx.from);
    free(fy.from);
    return st;
}
