/* compute/ref/heavy.c -- matrix product and the three convolutions. */
#include <string.h>

#include "compute/ref/ref.h"

static void clear(const gd__ref_call *c) { memset(c->y, 0, (size_t)gd_shape_count(c->n->shape) * sizeof(double)); }

/* y[m,n] = sum over l of A[m,l] B[l,n], where A and B are read by their steps. */
static void matmul(const gd__ref_call *c) {
    bool ta = c->n->attr.ta != 0, tb = c->n->attr.tb != 0;
    int64_t M = c->n->shape.dim[0], N = c->n->shape.dim[1], L = c->sa.dim[ta ? 0 : 1];
    int64_t am = ta ? 1 : L, al = ta ? M : 1, bl = tb ? 1 : N, bn = tb ? L : 1;
    clear(c);
    for (int64_t m = 0; m < M; m++)
        for (int64_t l = 0; l < L; l++) {
            double a = c->a[m * am + l * al];
            for (int64_t n = 0; n < N; n++) c->y[m * N + n] += a * c->b[l * bl + n * bn];
        }
}

/* y = conv(x, w) in its parts. Which of x, w, y is written depends on the op. */
typedef struct conv {
    gd_shape xs, ws, ys;
    int64_t stride, top, left;
} conv;

/* For output pixel (n,p,q) and kernel pixel (r,s): offset of the image pixel under it, in pixels;
 * -1 where the window lies over the padding. */
static int64_t pixel(const conv *v, int64_t n, int64_t p, int64_t q, int64_t r, int64_t s) {
    int64_t h = p * v->stride + r - v->top, w = q * v->stride + s - v->left;
    if (h < 0 || h >= v->xs.dim[1] || w < 0 || w >= v->xs.dim[2]) return -1;
    return (n * v->xs.dim[1] + h) * v->xs.dim[2] + w;
}

/* One output pixel under one kernel pixel: x [C], y [K], w [K] rows of [C], wstep apart. */
typedef void (*touch_fn)(const conv *v, double *x, double *w, int64_t wstep, double *y);

static void touch_y(const conv *v, double *x, double *w, int64_t wstep, double *y) {
    for (int64_t k = 0; k < v->ws.dim[0]; k++)
        for (int64_t c = 0; c < v->ws.dim[3]; c++) y[k] += x[c] * w[k * wstep + c];
}

static void touch_x(const conv *v, double *x, double *w, int64_t wstep, double *y) {
    for (int64_t k = 0; k < v->ws.dim[0]; k++)
        for (int64_t c = 0; c < v->ws.dim[3]; c++) x[c] += y[k] * w[k * wstep + c];
}

static void touch_w(const conv *v, double *x, double *w, int64_t wstep, double *y) {
    for (int64_t k = 0; k < v->ws.dim[0]; k++)
        for (int64_t c = 0; c < v->ws.dim[3]; c++) w[k * wstep + c] += x[c] * y[k];
}

static void each_window(const conv *v, touch_fn touch, double *x, double *w, double *y) {
    int64_t R = v->ws.dim[1], S = v->ws.dim[2], C = v->ws.dim[3], K = v->ws.dim[0];
    int64_t P = v->ys.dim[1], Q = v->ys.dim[2];
    for (int64_t n = 0; n < v->ys.dim[0]; n++)
        for (int64_t p = 0; p < P; p++)
            for (int64_t q = 0; q < Q; q++)
                for (int64_t r = 0; r < R; r++)
                    for (int64_t s = 0; s < S; s++) {
                        int64_t at = pixel(v, n, p, q, r, s);
                        if (at < 0) continue;
                        touch(v, x + at * C, w + (r * S + s) * C, R * S * C, y + ((n * P + p) * Q + q) * K);
                    }
}

static void convolve(const gd__ref_call *c) {
    const gd_node_info *n = c->n;
    conv v = {.stride = n->attr.stride, .top = n->attr.pad[0], .left = n->attr.pad[2]};
    /* Only the written one of x, w, y is changed. */
    double *a = (double *)c->a, *b = (double *)c->b;
    clear(c);
    switch (n->op) {
    case GD_OP_CONV:
        v.xs = c->sa, v.ws = c->sb, v.ys = n->shape;
        each_window(&v, touch_y, a, b, c->y);
        break;
    case GD_OP_CONV_DX:
        v.xs = n->shape, v.ws = c->sb, v.ys = c->sa;
        each_window(&v, touch_x, c->y, b, a);
        break;
    default: /* CONV_DW */
        v.xs = c->sa, v.ws = n->shape, v.ys = c->sb;
        each_window(&v, touch_w, a, c->y, b);
        break;
    }
}

void gd__ref_heavy(const gd__ref_call *c) {
    if (c->n->op == GD_OP_MATMUL) matmul(c);
    else convolve(c);
}
