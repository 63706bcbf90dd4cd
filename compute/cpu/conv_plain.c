/* compute/cpu/conv_plain.c -- convolution by plain loops, for the shapes that oneDNN refuses, such as
 * padding as wide as the kernel. Correct for every shape, vectorised over channels, an order of magnitude
 * below the library. */
#include <string.h>

#include "compute/cpu/cpu.h"

static float dot(const float *a, const float *b, int64_t n) {
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static void axpy(float f, const float *x, float *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += f * x[i];
}

static const float *x_at(const gd_dnnl_conv *c, const float *x, int64_t n, int64_t h, int64_t w) {
    return x + ((n * c->h + h) * c->w + w) * c->c;
}

static const float *w_at(const gd_dnnl_conv *c, const float *w, int64_t k, int64_t r, int64_t s) {
    return w + ((k * c->r + r) * c->s + s) * c->c;
}

/* Row (column) of x under output p and tap r; false when it lies in the padding. */
static bool inside(int64_t p, int64_t r, int64_t stride, int64_t pad, int64_t size, int64_t *at) {
    *at = p * stride + r - pad;
    return *at >= 0 && *at < size;
}

static void forward_row(const gd_dnnl_conv *c, const float *x, const float *w, float *y, int64_t n, int64_t p) {
    int64_t h, v;
    for (int64_t q = 0; q < c->q; q++)
        for (int64_t k = 0; k < c->k; k++) {
            float sum = 0;
            for (int64_t r = 0; r < c->r; r++)
                for (int64_t s = 0; s < c->s; s++)
                    if (inside(p, r, c->stride, c->pad[0], c->h, &h) && inside(q, s, c->stride, c->pad[2], c->w, &v))
                        sum += dot(x_at(c, x, n, h, v), w_at(c, w, k, r, s), c->c);
            y[((n * c->p + p) * c->q + q) * c->k + k] = sum;
        }
}

static void backward_data_image(const gd_dnnl_conv *c, const float *dy, const float *w, float *dx, int64_t n) {
    int64_t h, v;
    memset(dx + n * c->h * c->w * c->c, 0, (size_t)(c->h * c->w * c->c) * sizeof *dx);
    for (int64_t p = 0; p < c->p; p++)
        for (int64_t r = 0; r < c->r; r++) {
            if (!inside(p, r, c->stride, c->pad[0], c->h, &h)) continue;
            for (int64_t q = 0; q < c->q; q++)
                for (int64_t s = 0; s < c->s; s++) {
                    if (!inside(q, s, c->stride, c->pad[2], c->w, &v)) continue;
                    float *to = dx + ((n * c->h + h) * c->w + v) * c->c;
                    const float *from = dy + ((n * c->p + p) * c->q + q) * c->k;
                    for (int64_t k = 0; k < c->k; k++) axpy(from[k], w_at(c, w, k, r, s), to, c->c);
                }
        }
}

static void backward_weights_filter(const gd_dnnl_conv *c, const float *x, const float *dy, float *dw, int64_t k) {
    int64_t h, v;
    memset(dw + k * c->r * c->s * c->c, 0, (size_t)(c->r * c->s * c->c) * sizeof *dw);
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t p = 0; p < c->p; p++)
            for (int64_t q = 0; q < c->q; q++) {
                float f = dy[((n * c->p + p) * c->q + q) * c->k + k];
                for (int64_t r = 0; r < c->r; r++)
                    for (int64_t s = 0; s < c->s; s++)
                        if (inside(p, r, c->stride, c->pad[0], c->h, &h) &&
                            inside(q, s, c->stride, c->pad[2], c->w, &v))
                            axpy(f, x_at(c, x, n, h, v), dw + ((k * c->r + r) * c->s + s) * c->c, c->c);
            }
}

void gd__conv_plain(const gd_dnnl_conv *c, const float *a, const float *b, float *out) {
    int threads = gd__threads_for(c->n * c->p * c->q * c->k * c->r * c->s * c->c);
    if (c->pass == GD_DNNL_FORWARD) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < c->n * c->p; i++) forward_row(c, a, b, out, i / c->p, i % c->p);
    } else if (c->pass == GD_DNNL_BACKWARD_DATA) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t n = 0; n < c->n; n++) backward_data_image(c, a, b, out, n);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t k = 0; k < c->k; k++) backward_weights_filter(c, a, b, out, k);
    }
}
