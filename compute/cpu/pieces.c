/* compute/cpu/pieces.c -- matrix products and weight gradients in a fixed number of pieces.
 *
 * oneDNN splits long sums over its threads, so their rounding depends on how many there are. Here the
 * work is cut by shape alone, every piece is an op made for one thread, and pieces run side by side:
 *   product  blocks of rows or of columns of the result
 *   weights  blocks of filters (their slice of dy is copied to be dense) times blocks of images, whose
 *            partial sums are added in order
 *   images   blocks of images of a forward or data pass: for those that oneDNN makes of products */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "compute/cpu/cpu.h"

enum {
    PIECES = 16,
    MIN_FILTERS = 32, /* weights                                                  */
    PRODUCT_PIECES = 8,
    MIN_BLOCK = 32 /* fewer: every piece of a product packs one operand again */
};
static const int64_t PARTIAL_FLOATS = 1 << 22; /* of all partial weight gradients together */

/* Largest divisor of n that is at most `most` and leaves blocks of at least `block`. */
static int divisor(int64_t n, int64_t most, int64_t block) {
    for (int64_t d = most; d > 1; d--)
        if (n % d == 0 && n / d >= block) return (int)d;
    return 1;
}

static gd_status pieces_alloc(gd__pieces *p, int n) {
    p->piece = calloc((size_t)n, sizeof *p->piece);
    if (!p->piece) GD_FAIL(NOMEM, "cpu: no memory for %d pieces", n);
    p->n = n;
    return GD_OK;
}

void gd__pieces_free(gd__pieces *p) {
    for (int i = 0; i < p->n; i++) gd_dnnl_op_free(p->piece[i].op);
    free(p->piece);
    memset(p, 0, sizeof *p);
}

/* ---- matrix product ---- */

static gd_status make_products(gd_dnnl *d, const gd_dnnl_matmul *mm, bool rows, gd__pieces *p) {
    gd_dnnl_matmul block = *mm;
    size_t in = gd_dtype_bytes(mm->in_type), out = gd_dtype_bytes(mm->out_type);
    if (rows) block.m /= p->n;
    else block.n /= p->n;
    for (int i = 0; i < p->n; i++) {
        gd__piece *x = &p->piece[i];
        GD_TRY(gd_dnnl_matmul_make(d, &block, &x->op));
        int64_t first = rows ? i * block.m : i * block.n;
        if (rows) x->a_at = (size_t)(mm->ta ? first : first * mm->a_row) * in;
        else x->b_at = (size_t)(mm->tb ? first * mm->b_row : first) * in;
        x->out_at = (size_t)(rows ? first * mm->c_row : first) * out;
        x->scratch_at = p->scratch_bytes;
        p->scratch_bytes += gd_dnnl_op_scratch(x->op);
    }
    return GD_OK;
}

gd_status gd__pieces_matmul(gd_dnnl *d, const gd_dnnl_matmul *mm, gd__pieces *out) {
    memset(out, 0, sizeof *out);
    bool rows = mm->m >= mm->n;
    out->work = mm->m * mm->n * mm->k;
    GD_TRY(pieces_alloc(out, divisor(rows ? mm->m : mm->n, PRODUCT_PIECES, MIN_BLOCK)));
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    gd_status st = make_products(d, mm, rows, out);
    omp_set_num_threads(before);
    if (st != GD_OK) gd__pieces_free(out);
    return st;
}

/* ---- weight gradient ---- */

static size_t dy_block_bytes(const gd__pieces *p) {
    const gd_dnnl_conv *c = &p->block;
    return p->filter_blocks == 1 ? 0 : gd__align64((size_t)(c->n * c->p * c->q * c->k) * gd_dtype_bytes(c->in_type));
}

static int64_t weights_of(const gd__pieces *p) { return p->all_k * p->block.r * p->block.s * p->block.c; }

static gd_status make_weights(gd_dnnl *d, gd__pieces *p) {
    const gd_dnnl_conv *c = &p->block;
    size_t in = gd_dtype_bytes(c->in_type), out = gd_dtype_bytes(c->out_type);
    for (int i = 0; i < p->n; i++) {
        gd__piece *x = &p->piece[i];
        GD_TRY(gd_dnnl_conv_make(d, c, &x->op));
        int image_block = i / p->filter_blocks;
        x->first_k = i % p->filter_blocks * c->k;
        x->first_n = image_block * c->n;
        x->a_at = (size_t)(x->first_n * c->h * c->w * c->c) * in;
        x->b_at = (size_t)(x->first_n * c->p * c->q * p->all_k) * in;
        int64_t partial = p->image_blocks > 1 ? image_block * weights_of(p) : 0;
        x->out_at = (size_t)(partial + x->first_k * c->r * c->s * c->c) * out;
        x->scratch_at = p->scratch_bytes;
        p->scratch_bytes += dy_block_bytes(p) + gd_dnnl_op_scratch(x->op);
    }
    p->partial_at = p->scratch_bytes;
    if (p->image_blocks > 1) p->scratch_bytes += (size_t)(p->image_blocks * weights_of(p)) * out;
    return GD_OK;
}

gd_status gd__pieces_weights(gd_dnnl *d, const gd_dnnl_conv *c, gd__pieces *out) {
    memset(out, 0, sizeof *out);
    out->all_k = c->k;
    out->work = c->n * c->p * c->q * c->k * c->r * c->s * c->c;
    out->filter_blocks = divisor(c->k, PIECES, MIN_FILTERS);
    int64_t most = PIECES / out->filter_blocks, room = PARTIAL_FLOATS / (c->k * c->r * c->s * c->c);
    out->image_blocks = c->out_type == GD_F32 ? divisor(c->n, most < room ? most : room, 1) : 1;
    out->block = *c;
    out->block.k /= out->filter_blocks;
    out->block.n /= out->image_blocks;
    GD_TRY(pieces_alloc(out, out->filter_blocks * out->image_blocks));
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    gd_status st = make_weights(d, out);
    omp_set_num_threads(before);
    if (st != GD_OK) gd__pieces_free(out);
    return st;
}

/* The piece's filters of dy, made dense. */
static const void *copy_dy(const gd__pieces *p, const gd__piece *x, const char *dy, char *to) {
    const gd_dnnl_conv *c = &p->block;
    if (p->filter_blocks == 1) return dy;
    size_t size = gd_dtype_bytes(c->in_type), run = (size_t)c->k * size, step = (size_t)p->all_k * size;
    const char *from = dy + (size_t)x->first_k * size;
    for (int64_t i = 0; i < c->n * c->p * c->q; i++) memcpy(to + (size_t)i * run, from + (size_t)i * step, run);
    return to;
}

static void add_partials(const gd__pieces *p, const float *partial, float *out) {
    int64_t n = weights_of(p);
#pragma omp parallel for simd num_threads(gd__threads_for(n * p->image_blocks)) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        float s = partial[i];
        for (int b = 1; b < p->image_blocks; b++) s += partial[b * n + i];
        out[i] = s;
    }
}

/* ---- forward and data passes ---- */

static gd_status make_images(gd_dnnl *d, gd__pieces *p) {
    const gd_dnnl_conv *c = &p->block;
    size_t in = gd_dtype_bytes(c->in_type), out = gd_dtype_bytes(c->out_type);
    int64_t x_count = c->n * c->h * c->w * c->c, y_count = c->n * c->p * c->q * c->k;
    bool forward = c->pass == GD_DNNL_FORWARD;
    for (int i = 0; i < p->n; i++) {
        gd__piece *x = &p->piece[i];
        GD_TRY(gd_dnnl_conv_make(d, c, &x->op));
        x->a_at = (size_t)(i * (forward ? x_count : y_count)) * in;
        x->out_at = (size_t)(i * (forward ? y_count : x_count)) * out;
        x->scratch_at = p->scratch_bytes;
        p->scratch_bytes += gd_dnnl_op_scratch(x->op);
    }
    return GD_OK;
}

gd_status gd__pieces_images(gd_dnnl *d, const gd_dnnl_conv *c, gd__pieces *out) {
    memset(out, 0, sizeof *out);
    out->work = c->n * c->p * c->q * c->k * c->r * c->s * c->c;
    GD_TRY(pieces_alloc(out, divisor(c->n, PIECES, 1)));
    out->block = *c;
    out->block.n /= out->n;
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    gd_status st = make_images(d, out);
    omp_set_num_threads(before);
    if (st != GD_OK) gd__pieces_free(out);
    return st;
}

/* ---- running ---- */

static gd_status run_piece(const gd__pieces *p, const gd__piece *x, const char *a, const char *b, char *out,
                           char *scratch) {
    char *own = scratch + x->scratch_at;
    const void *operand = b + x->b_at;
    if (p->filter_blocks) {
        operand = copy_dy(p, x, b + x->b_at, own);
        own += dy_block_bytes(p);
        if (p->image_blocks > 1) out = scratch + p->partial_at;
    }
    return gd_dnnl_op_run(x->op, a + x->a_at, operand, out + x->out_at, own);
}

gd_status gd__pieces_run(const gd__pieces *p, const void *a, const void *b, void *out, char *scratch) {
    gd_error error = {.status = GD_OK};
#pragma omp parallel num_threads(p->n == 1 ? 1 : gd__threads_for(p->work))
    {
        omp_set_num_threads(1); /* of this thread inside this region: what the ops were made for */
#pragma omp for schedule(static)
        for (int i = 0; i < p->n; i++) {
            gd_status st = run_piece(p, &p->piece[i], a, b, out, scratch);
            if (st == GD_OK) continue;
#pragma omp critical(gd__pieces_error)
            gd_error_save(st, &error);
        }
    }
    if (error.status != GD_OK) return gd_error_restore(&error);
    if (p->image_blocks > 1) add_partials(p, (const float *)(const void *)(scratch + p->partial_at), out);
    return GD_OK;
}
