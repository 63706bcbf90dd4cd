/* compute/cpu/conv.c -- the table of conv.h: one adapter per implementation, and the rule. */
#include "compute/cpu/choice_table.h"

#include <stdio.h>
#include <string.h>

static const gd__wino_kernels *best_set(void) {
    const gd__wino_kernels *usable[3];
    gd__wino_usable(usable);
    return usable[0];
}

/* ---- oneDNN ---- */

/* Kernel as large as the image: one number a filter and image, so y [n,k] = x [n,l] w [k,l]^T. */
static bool is_product(const gd_dnnl_conv *c) {
    return c->p == 1 && c->q == 1 && c->r == c->h && c->s == c->w && c->pad[0] == 0 && c->pad[2] == 0;
}

static gd_status make_product(gd__conv *x, gd_dnnl *d) {
    const gd_dnnl_conv *c = &x->shape;
    int64_t l = c->r * c->s * c->c;
    gd_dnnl_matmul mm = {.in_type = c->in_type, .out_type = c->out_type};
    if (c->pass == GD_DNNL_FORWARD) {
        mm.tb = true;
        mm.m = c->n, mm.n = c->k, mm.k = l, mm.a_row = l, mm.b_row = l;
    } else if (c->pass == GD_DNNL_BACKWARD_DATA) mm.m = c->n, mm.n = l, mm.k = c->k, mm.a_row = c->k, mm.b_row = l;
    else {
        mm.ta = x->swap = true; /* dw [k,l] = dy [n,k]^T x [n,l] */
        mm.m = c->k, mm.n = l, mm.k = c->n, mm.a_row = c->k, mm.b_row = l;
    }
    mm.c_row = mm.n;
    return gd__pieces_matmul(d, &mm, &x->pieces);
}

/* Forward and data passes are one op over all threads. Where oneDNN would split sums by threads, they run in
 * pieces: products, weight gradients, and passes that it makes of products. */
static gd_status make_library(gd__conv *x, gd_dnnl *d) {
    if (is_product(&x->shape)) return make_product(x, d);
    if (x->shape.pass == GD_DNNL_BACKWARD_WEIGHTS) return gd__pieces_weights(d, &x->shape, &x->pieces);
    GD_TRY(gd_dnnl_conv_make(d, &x->shape, &x->op));
    if (!strstr(gd_dnnl_op_text(x->op), "gemm")) return GD_OK;
    gd_dnnl_op_free(x->op);
    x->op = NULL;
    return gd__pieces_images(d, &x->shape, &x->pieces);
}

static gd_status plan_library(gd__conv *x, gd_dnnl *d, bool *taken) {
    gd_status st = make_library(x, d);
    *taken = st == GD_OK;
    if (st == GD_UNSUP) {
        gd_error_clear();
        return GD_OK;
    }
    if (st != GD_OK) return st;
    x->kind_bytes = x->op ? gd_dnnl_op_scratch(x->op) : x->pieces.scratch_bytes;
    if (x->op) snprintf(x->text, sizeof x->text, "%s", gd_dnnl_op_text(x->op));
    else snprintf(x->text, sizeof x->text, "%s, %d pieces", gd_dnnl_op_text(x->pieces.piece[0].op), x->pieces.n);
    return GD_OK;
}

static gd_status run_library(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    if (x->op) return gd_dnnl_op_run(x->op, a, b, out, scratch);
    return gd__pieces_run(&x->pieces, x->swap ? b : a, x->swap ? a : b, out, scratch);
}

/* ---- own ---- */

static void keep_wino(gd__conv *x) {
    x->kind_bytes = x->wino.scratch_bytes;
    snprintf(x->text, sizeof x->text, "winograd F(%d,%d) %s%s", x->wino.shape.m, x->wino.shape.taps,
             x->wino.kernels->name, x->wino.by_panel ? " by panel" : "");
}

static gd_status plan_wino(gd__conv *x, gd_dnnl *d, bool *taken) {
    (void)d;
    *taken = gd__wino_plan(&x->shape, best_set(), x->threads, &x->wino);
    if (*taken) keep_wino(x);
    return GD_OK;
}

static gd_status plan_wino_other(gd__conv *x, gd_dnnl *d, bool *taken) {
    (void)d;
    *taken = gd__wino_plan_other(&x->shape, best_set(), x->threads, &x->wino);
    if (*taken) keep_wino(x);
    return GD_OK;
}

static gd_status run_wino(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    gd__wino_run(&x->wino, a, b, out, scratch);
    return GD_OK;
}

static gd_status plan_thin(gd__conv *x, gd_dnnl *d, bool *taken) {
    (void)d;
    *taken = !is_product(&x->shape) && gd__thin_plan(&x->shape, best_set(), x->threads, &x->thin);
    if (!*taken) return GD_OK;
    x->kind_bytes = x->thin.scratch_bytes;
    snprintf(x->text, sizeof x->text, "%s few channels %s", x->thin.flip ? "to" : "from", x->thin.kernels->name);
    return GD_OK;
}

static gd_status run_thin(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    gd__thin_run(&x->thin, a, b, out, scratch);
    return GD_OK;
}

static gd_status plan_small(gd__conv *x, gd_dnnl *d, bool *taken) {
    (void)d;
    *taken = gd__small_plan(&x->shape, best_set(), x->threads, &x->small);
    if (!*taken) return GD_OK;
    x->kind_bytes = x->small.scratch_bytes;
    snprintf(x->text, sizeof x->text, "products by tap %s", x->small.kernels->name);
    return GD_OK;
}

static gd_status run_small(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    gd__small_run(&x->small, a, b, out, scratch);
    return GD_OK;
}

static gd_status plan_amx(gd__conv *x, gd_dnnl *d, bool *taken) {
    (void)d;
    *taken = gd__amx_plan(&x->shape, x->threads, &x->amx);
    if (!*taken) return GD_OK;
    x->kind_bytes = x->amx.scratch_bytes;
    snprintf(x->text, sizeof x->text, "amx%s%s", x->amx.halves > 1 ? " of halves" : "",
             x->amx.by_panel  ? " by panel"
             : x->amx.by_band ? " by band"
                              : "");
    return GD_OK;
}

static gd_status run_amx(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    gd__amx_run(&x->amx, a, b, out, scratch);
    return GD_OK;
}

static gd_status plan_plain(gd__conv *x, gd_dnnl *d, bool *taken) {
    (void)d;
    *taken = true;
    snprintf(x->text, sizeof x->text, "plain loops");
    return GD_OK;
}

static gd_status run_plain(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    (void)scratch;
    gd__conv_plain(&x->shape, a, b, out);
    return GD_OK;
}

/* ---- table ---- */

enum { PLAIN = 7 };

const gd__conv_kind gd__conv_kinds[] = {
    {"amx", GD__OF_BF16, false, false, plan_amx, run_amx},
    {"amx-halves", GD__OF_F32, true, true, plan_amx, run_amx},
    {"products", GD__OF_F32, false, false, plan_small, run_small},
    {"winograd", GD__OF_F32, true, false, plan_wino, run_wino}, /* with the tile that suits most maps of the size */
    {"thin", GD__OF_F32, false, false, plan_thin, run_thin},
    {"onednn", GD__OF_BOTH, false, false, plan_library, run_library},
    {"winograd-other", GD__OF_F32, true, false, plan_wino_other, run_wino}, /* with the other tile: never the rule's */
    [PLAIN] = {"plain", GD__OF_F32, false, false, plan_plain, run_plain},
    {.name = NULL},
};

const gd__conv_kind *gd__conv_kind_find(const char *name, size_t length) {
    for (const gd__conv_kind *k = gd__conv_kinds; k->name; k++)
        if (strlen(k->name) == length && !memcmp(k->name, name, length)) return k;
    return NULL;
}

static void start(gd__conv *x, const gd__conv_kind *kind, const gd_dnnl_conv *c, bool as_f32) {
    const int64_t in = c->n * c->h * c->w * c->c, weights = c->k * c->r * c->s * c->c, out = c->n * c->p * c->q * c->k;
    const int64_t count[3][3] = {{in, weights, out}, {out, weights, in}, {in, out, weights}};
    memset(x, 0, sizeof *x);
    x->kind = kind;
    x->shape = *c;
    x->as_f32 = as_f32;
    gd__copies_plan(&x->copies, as_f32, c->in_type, c->out_type, count[c->pass]);
    if (as_f32) x->shape.in_type = x->shape.out_type = GD_F32;
    x->clear = c->pass == GD_DNNL_BACKWARD_DATA && ((c->p - 1) * c->stride + c->r - c->h - c->pad[0] < 0 ||
                                                    (c->q - 1) * c->stride + c->s - c->w - c->pad[2] < 0);
    x->threads = gd__threads_wanted();
}

static void finish(gd__conv *x) {
    x->scratch_bytes = x->copies.bytes + x->kind_bytes;
    size_t length = strlen(x->text);
    if (x->as_f32) snprintf(x->text + length, sizeof x->text - length, ", bf16 as f32");
}

gd_status gd__conv_plan(const gd__conv_kind *kind, const gd_dnnl_conv *c, bool as_f32, gd_dnnl *d, gd__conv *out,
                        bool *taken) {
    bool bf16 = c->in_type == GD_BF16 || c->out_type == GD_BF16;
    memset(out, 0, sizeof *out);
    *taken = false;
    int operands = as_f32 || !bf16 ? GD__OF_F32 : GD__OF_BF16;
    if ((as_f32 && !bf16) || (kind->operands != GD__OF_BOTH && (int)kind->operands != operands)) return GD_OK;
    start(out, kind, c, as_f32);
    gd_status st = kind->plan(out, d, taken);
    if (st == GD_OK && *taken) finish(out);
    else memset(out, 0, sizeof *out);
    return st;
}

void gd__conv_plan_plain(const gd_dnnl_conv *c, gd__conv *out) {
    start(out, &gd__conv_kinds[PLAIN], c, c->in_type == GD_BF16 || c->out_type == GD_BF16);
    snprintf(out->text, sizeof out->text, "plain loops");
    finish(out);
}

void gd__conv_free(gd__conv *x) {
    gd_dnnl_op_free(x->op);
    gd__pieces_free(&x->pieces);
    memset(x, 0, sizeof *x);
}

gd_status gd__conv_run(const gd__conv *x, const void *a, const void *b, void *out, char *scratch) {
    a = gd__copies_in(&x->copies, 0, a, scratch);
    b = gd__copies_in(&x->copies, 1, b, scratch);
    void *to = gd__copies_out(&x->copies, out, scratch);
    if (x->clear) memset(to, 0, (size_t)x->copies.count[2] * gd_dtype_bytes(x->shape.out_type));
    GD_TRY(x->kind->run(x, a, b, to, scratch + x->copies.bytes));
    gd__copies_done(&x->copies, out, scratch);
    return GD_OK;
}

/* ---- the rule ---- */

/* Whether a planned kind is expected to be faster than those behind it in the table. */
static bool pays(const gd__conv *x) {
    if (x->kind->plan == plan_wino) return gd__wino_pays(&x->wino);
    if (x->kind->plan == plan_amx) return gd__amx_pays(&x->amx);
    if (x->kind->plan == plan_small) return !is_product(&x->shape) && gd__small_pays(&x->small);
    return x->kind->plan != plan_wino_other;
}

bool gd__conv_may(const gd__conv_kind *kind, bool transforms) {
    return (!kind->transforms || transforms) && (!kind->rounds || gd__choice_may_halve());
}

static gd_status first_that_pays(const gd_dnnl_conv *c, bool as_f32, bool transforms, gd_dnnl *d, gd__conv *out) {
    for (const gd__conv_kind *k = gd__conv_kinds; k->name; k++) {
        bool taken;
        if (!gd__conv_may(k, transforms)) continue;
        GD_TRY(gd__conv_plan(k, c, as_f32, d, out, &taken));
        if (taken && pays(out)) return GD_OK;
        if (taken) gd__conv_free(out);
    }
    return GD_OK;
}

gd_status gd__conv_rule(const gd_dnnl_conv *c, bool transforms, gd_dnnl *d, gd__conv *out) {
    GD_TRY(first_that_pays(c, false, transforms, d, out));
    if (!out->kind) GD_TRY(first_that_pays(c, true, transforms, d, out));
    return GD_OK;
}
