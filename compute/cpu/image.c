/* compute/cpu/image.c -- reflected borders, nearest upsampling, and their adjoints.
 *
 * All four are a list of source rows (columns) for each row (column) of the output: one for the moves,
 * up to three for a folded border, `factor` for a pool. A pixel is its C channels. */
#include "compute/cpu/image.h"

#include <stdlib.h>
#include <string.h>

#include "compute/cpu/vmath.h"

/* Sources of every position along one axis: from[first[i]] .. from[first[i + 1] - 1]. */
typedef struct sources {
    int32_t *first, *from;
} sources;

typedef struct image {
    gd__kernel base;
    gd_node in, out;
    gd_dtype dtype;
    bool adds;
    int64_t n, h, w, c, in_h, in_w; /* of the output; of the input */
    sources rows, columns;
} image;

/* ---- sums ---- */

static void add_f32(float *to, const float *from, int64_t n, bool start) {
    if (start) {
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

enum { BLOCK = 256 }; /* channels that are summed in f32 before they are rounded to bf16 */

static void sum_pixel_f32(const image *v, const float *from, float *to, int64_t h, int64_t w) {
    for (int32_t r = v->rows.first[h]; r < v->rows.first[h + 1]; r++)
        for (int32_t s = v->columns.first[w]; s < v->columns.first[w + 1]; s++)
            add_f32(to, from + (v->rows.from[r] * v->in_w + v->columns.from[s]) * v->c, v->c,
                    r == v->rows.first[h] && s == v->columns.first[w]);
}

static void sum_pixel_bf16(const image *v, const uint16_t *from, uint16_t *to, int64_t h, int64_t w) {
    for (int64_t c = 0; c < v->c; c += BLOCK) {
        int64_t n = v->c - c < BLOCK ? v->c - c : BLOCK;
        float sum[BLOCK] = {0};
        for (int32_t r = v->rows.first[h]; r < v->rows.first[h + 1]; r++)
            for (int32_t s = v->columns.first[w]; s < v->columns.first[w + 1]; s++) {
                const uint16_t *x = from + (v->rows.from[r] * v->in_w + v->columns.from[s]) * v->c + c;
                for (int64_t i = 0; i < n; i++) sum[i] += gd__from_bf16(x[i]);
            }
        for (int64_t i = 0; i < n; i++) to[c + i] = gd__to_bf16(sum[i]);
    }
}

static void sum_row(const image *v, const char *from, char *to, int64_t h) {
    for (int64_t w = 0; w < v->w; w++) {
        if (v->dtype == GD_F32)
            sum_pixel_f32(v, (const float *)(const void *)from, (float *)(void *)to + w * v->c, h, w);
        else sum_pixel_bf16(v, (const uint16_t *)(const void *)from, (uint16_t *)(void *)to + w * v->c, h, w);
    }
}

/* ---- moves ---- */

static void move_row(const image *v, const char *from, char *to, int64_t h, size_t pixel) {
    const char *row = from + (size_t)(v->rows.from[v->rows.first[h]] * v->in_w) * pixel;
    for (int64_t w = 0; w < v->w; w++)
        memcpy(to + (size_t)w * pixel, row + (size_t)v->columns.from[v->columns.first[w]] * pixel, pixel);
}

static gd_status run_image(gd__kernel *k, const gd_memory *m) {
    const image *v = (image *)k;
    const char *from = m->node[v->in];
    char *to = m->node[v->out];
    size_t pixel = (size_t)v->c * gd_dtype_bytes(v->dtype);
    int64_t work = v->n * v->c * (v->adds ? v->in_h * v->in_w : v->h * v->w);
#pragma omp parallel for num_threads(gd__threads_for(work)) schedule(static)
    for (int64_t i = 0; i < v->n * v->h; i++) {
        const char *source = from + (size_t)(i / v->h * v->in_h * v->in_w) * pixel;
        char *row = to + (size_t)(i * v->w) * pixel;
        if (v->adds) sum_row(v, source, row, i % v->h);
        else move_row(v, source, row, i % v->h, pixel);
    }
    return GD_OK;
}

static void release_image(gd__kernel *k) {
    image *v = (image *)k;
    free(v->rows.first);
    free(v->rows.from);
    free(v->columns.first);
    free(v->columns.from);
    free(v);
}

/* ---- the lists ---- */

/* Position of the padded axis -> position inside, by reflection about the border elements. */
static int64_t reflect(int64_t i, int64_t before, int64_t size) {
    int64_t at = i - before;
    if (at < 0) at = -at;
    return at >= size ? 2 * (size - 1) - at : at;
}

/* Source number `which` of output position i along an axis, -1 when there are no more. */
static int64_t source(const gd_node_info *n, int axis, int64_t i, int64_t in_size, int64_t size, int which) {
    int64_t before = n->attr.lo[axis], padded = in_size;
    switch (n->op) {
    case GD_OP_UPSAMPLE: return which ? -1 : i / n->attr.factor;
    case GD_OP_SUMPOOL: return which < n->attr.factor ? i * n->attr.factor + which : -1;
    case GD_OP_PAD_REFLECT: return which ? -1 : reflect(i, before, in_size);
    default: /* FOLD_REFLECT: all padded positions that reflect to i, in order */
        for (int64_t p = 0, seen = 0; p < padded; p++)
            if (reflect(p, before, size) == i && seen++ == which) return p;
        return -1;
    }
}

static bool fill_sources(const gd_node_info *n, int axis, int64_t in_size, int64_t size, sources *s) {
    int64_t most = size > in_size ? size : in_size;
    s->first = malloc((size_t)(size + 1) * sizeof *s->first);
    s->from = malloc((size_t)most * sizeof *s->from);
    if (!s->first || !s->from) return false;
    int32_t used = 0;
    for (int64_t i = 0; i < size; i++) {
        s->first[i] = used;
        int64_t at;
        for (int which = 0; (at = source(n, axis, i, in_size, size, which)) >= 0; which++)
            s->from[used++] = (int32_t)at;
    }
    s->first[size] = used;
    return true;
}

gd_status gd__make_image(const gd_graph *g, gd_node node, gd__kernel **out) {
    const gd_node_info *n = gd_graph_at(g, node);
    gd_shape in = gd_node_shape(g, n->in[0]), o = n->shape;
    image *v = gd__kernel_new(sizeof *v, run_image);
    if (!v) GD_FAIL(NOMEM, "%s: no memory", n->name);
    v->base.release = release_image;
    v->in = n->in[0];
    v->out = node;
    v->dtype = n->dtype;
    v->adds = n->op == GD_OP_FOLD_REFLECT || n->op == GD_OP_SUMPOOL;
    v->n = o.dim[0], v->h = o.dim[1], v->w = o.dim[2], v->c = o.dim[3];
    v->in_h = in.dim[1], v->in_w = in.dim[2];
    if (!fill_sources(n, 1, v->in_h, v->h, &v->rows) || !fill_sources(n, 2, v->in_w, v->w, &v->columns)) {
        release_image(&v->base);
        GD_FAIL(NOMEM, "%s: no memory", n->name);
    }
    v->base.shared_bytes += (size_t)(v->h + v->w + v->in_h + v->in_w) * 2 * sizeof(int32_t);
    snprintf(v->base.text, sizeof v->base.text, "pixels of %lld", (long long)v->c);
    *out = &v->base;
    return GD_OK;
}
