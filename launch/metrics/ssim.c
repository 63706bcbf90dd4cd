#include "launch/metrics/ssim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double weights[GD_SSIM_SCALES] = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};

int gd_ssim_scales(int height, int width) {
    int side = height < width ? height : width, scales = 0;
    for (; scales < GD_SSIM_SCALES && side >> scales >= GD_SSIM_WINDOW; scales++) {
    }
    return scales;
}

static void make_window(double w[GD_SSIM_WINDOW]) {
    double sum = 0;
    for (int i = 0; i < GD_SSIM_WINDOW; i++) {
        double x = i - GD_SSIM_WINDOW / 2;
        sum += w[i] = exp(-x * x / (2 * 1.5 * 1.5));
    }
    for (int i = 0; i < GD_SSIM_WINDOW; i++) w[i] /= sum;
}

/* Gaussian mean of x * y where the window fits: out [h-10, w-10]; room: [h, w-10]. */
static void blur(int h, int w, const double *x, const double *y, double *room, double *out) {
    double g[GD_SSIM_WINDOW];
    int inner = w - GD_SSIM_WINDOW + 1;
    make_window(g);
    for (int r = 0; r < h; r++)
        for (int c = 0; c < inner; c++) {
            const double *px = x + r * w + c, *py = y + r * w + c;
            double sum = 0;
            for (int k = 0; k < GD_SSIM_WINDOW; k++) sum += g[k] * px[k] * py[k];
            room[r * inner + c] = sum;
        }
    for (int r = 0; r + GD_SSIM_WINDOW <= h; r++)
        for (int c = 0; c < inner; c++) {
            double sum = 0;
            for (int k = 0; k < GD_SSIM_WINDOW; k++) sum += g[k] * room[(r + k) * inner + c];
            out[r * inner + c] = sum;
        }
}

/* What one channel at one scale needs: the images, ones, five means, and room for blur. */
typedef struct plane {
    double *a, *b, *one, *ma, *mb, *aa, *bb, *ab, *room;
} plane;
enum { PLANES = sizeof(plane) / sizeof(double *) };

/* Means over the image of the contrast-structure term and of the full index. */
static void compare(int h, int w, plane *p, double *contrast, double *full) {
    const double c1 = (0.01 * 255) * (0.01 * 255), c2 = (0.03 * 255) * (0.03 * 255);
    int count = (h - GD_SSIM_WINDOW + 1) * (w - GD_SSIM_WINDOW + 1);
    for (int i = 0; i < h * w; i++) p->one[i] = 1;
    blur(h, w, p->a, p->one, p->room, p->ma);
    blur(h, w, p->b, p->one, p->room, p->mb);
    blur(h, w, p->a, p->a, p->room, p->aa);
    blur(h, w, p->b, p->b, p->room, p->bb);
    blur(h, w, p->a, p->b, p->room, p->ab);
    *contrast = *full = 0;
    for (int i = 0; i < count; i++) {
        double a = p->ma[i], b = p->mb[i];
        double cs = (2 * (p->ab[i] - a * b) + c2) / (p->aa[i] - a * a + p->bb[i] - b * b + c2);
        *contrast += cs / count;
        *full += cs * (2 * a * b + c1) / (a * a + b * b + c1) / count;
    }
}

static void halve(int h, int w, double *x) {
    for (int r = 0; r < h / 2; r++)
        for (int c = 0; c < w / 2; c++) {
            const double *p = x + 2 * r * w + 2 * c;
            x[r * (w / 2) + c] = 0.25 * (p[0] + p[1] + p[w] + p[w + 1]); /* written behind what is still read */
        }
}

static double channel_value(int h, int w, int scales, plane *p) {
    double total = 0, product = 1;
    for (int i = 0; i < scales; i++) total += weights[i];
    for (int i = 0; i < scales; i++) {
        double contrast, full;
        compare(h, w, p, &contrast, &full);
        double v = i + 1 < scales ? contrast : full;
        product *= pow(v > 0 ? v : 0, weights[i] / total);
        halve(h, w, p->a);
        halve(h, w, p->b);
        h /= 2;
        w /= 2;
    }
    return product;
}

gd_status gd_ms_ssim(int height, int width, int channels, const uint8_t *a, const uint8_t *b, double *out) {
    int scales = gd_ssim_scales(height, width), pixels = height * width;
    if (!scales)
        GD_FAIL(SHAPE, "ms-ssim: images of %d x %d pixels; its window needs %d x %d", width, height, GD_SSIM_WINDOW,
                GD_SSIM_WINDOW);
    double *room = malloc((size_t)pixels * PLANES * sizeof *room), *at[PLANES], sum = 0;
    plane p;
    if (!room) GD_FAIL(NOMEM, "ms-ssim of %d x %d pixels", width, height);
    for (int i = 0; i < PLANES; i++) at[i] = room + (size_t)i * (size_t)pixels;
    memcpy(&p, at, sizeof p);
    for (int c = 0; c < channels; c++) {
        for (int i = 0; i < pixels; i++) {
            p.a[i] = a[i * channels + c];
            p.b[i] = b[i * channels + c];
        }
        sum += channel_value(height, width, scales, &p);
    }
    free(room);
    *out = sum / channels;
    return GD_OK;
}
