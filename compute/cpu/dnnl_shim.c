#include "compute/cpu/dnnl_shim.h"

#include <inttypes.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

/* ---- what differs between 2.x and 3.x ----
 * 2.x: memory descriptors are plain structs, primitives are described by a struct of their own.
 * 3.x: memory descriptors are opaque and owned, primitive descriptors are created directly. */

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t desc_ref;
typedef dnnl_memory_desc_t desc; /* a handle */

static desc_ref ref_of(const desc *d) { return *d; }
static void desc_drop(desc *d) {
    if (*d) dnnl_memory_desc_destroy(*d);
}
static bool desc_equal(desc_ref a, desc_ref b) { return dnnl_memory_desc_equal(a, b); }

static dnnl_status_t desc_make(desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t t, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(d, rank, dims, t, tag);
}
static dnnl_status_t desc_make_strided(desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t t,
                                       const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(d, rank, dims, t, strides);
}

#else

typedef const dnnl_memory_desc_t *desc_ref;
typedef dnnl_memory_desc_t desc;

static desc_ref ref_of(const desc *d) { return d; }
static void desc_drop(desc *d) { (void)d; }
static bool desc_equal(desc_ref a, desc_ref b) { return dnnl_memory_desc_equal(a, b); }

static dnnl_status_t desc_make(desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t t, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(d, rank, dims, t, tag);
}
static dnnl_status_t desc_make_strided(desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t t,
                                       const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(d, rank, dims, t, strides);
}

#endif

/* What a convolution primitive is made from. */
typedef struct conv_parts {
    desc x, w, y;
    dnnl_dims_t strides, low, high;
} conv_parts;

#if DNNL_VERSION_MAJOR >= 3

static dnnl_status_t conv_desc(dnnl_primitive_desc_t *out, gd_dnnl_pass pass, const conv_parts *c,
                               dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, dnnl_engine_t engine) {
    const dnnl_dims_t dilates = {0, 0};
    switch (pass) {
    case GD_DNNL_FORWARD:
        return dnnl_convolution_forward_primitive_desc_create(out, engine, dnnl_forward_training,
                                                              dnnl_convolution_direct, c->x, c->w, NULL, c->y,
                                                              c->strides, dilates, c->low, c->high, attr);
    case GD_DNNL_BACKWARD_DATA:
        return dnnl_convolution_backward_data_primitive_desc_create(
            out, engine, dnnl_convolution_direct, c->x, c->w, c->y, c->strides, dilates, c->low, c->high, hint, attr);
    default:
        return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, dnnl_convolution_direct, c->x, c->w,
                                                                       NULL, c->y, c->strides, dilates, c->low, c->high,
                                                                       hint, attr);
    }
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, const desc *a, const desc *b, const desc *c,
                                 dnnl_primitive_attr_t attr, dnnl_engine_t engine) {
    return dnnl_matmul_primitive_desc_create(out, engine, *a, *b, NULL, *c, attr);
}

#else

static dnnl_status_t conv_desc(dnnl_primitive_desc_t *out, gd_dnnl_pass pass, const conv_parts *c,
                               dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr, dnnl_engine_t engine) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s;
    switch (pass) {
    case GD_DNNL_FORWARD:
        s = dnnl_convolution_forward_desc_init(&d, dnnl_forward_training, dnnl_convolution_direct, &c->x, &c->w, NULL,
                                               &c->y, c->strides, c->low, c->high);
        break;
    case GD_DNNL_BACKWARD_DATA:
        s = dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &c->x, &c->w, &c->y, c->strides,
                                                     c->low, c->high);
        break;
    default:
        s = dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, &c->x, &c->w, NULL, &c->y,
                                                        c->strides, c->low, c->high);
    }
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &d, attr, engine, hint);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, const desc *a, const desc *b, const desc *c,
                                 dnnl_primitive_attr_t attr, dnnl_engine_t engine) {
    dnnl_matmul_desc_t d;
    dnnl_status_t s = dnnl_matmul_desc_init(&d, a, b, NULL, c);
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &d, attr, engine, NULL);
}

#endif

/* ---- the same for both ---- */

struct gd_dnnl {
    dnnl_engine_t engine;
    dnnl_primitive_attr_t attr; /* scratch comes from the caller */
};

/* One primitive with its arguments. */
typedef struct stage {
    dnnl_primitive_t primitive; /* NULL: stage not needed */
    dnnl_memory_t pad;          /* scratch of the library, NULL when it needs none */
    int n_args;
    dnnl_exec_arg_t arg[4];
} stage;

struct gd_dnnl_op {
    gd_dnnl *owner;
    dnnl_stream_t stream; /* its own, so that ops can run side by side */
    /* Operands as the caller has them. */
    dnnl_memory_t a, b, out;
    /* The weight operand as the library wants it; NULL when that is the caller's own layout. */
    dnnl_memory_t packed;
    size_t packed_bytes, scratch_bytes, pad_at;
    stage pack, main, unpack;
    char what[200], text[64];
};

static const char *status_text(dnnl_status_t s) {
    switch (s) {
    case dnnl_out_of_memory: return "out of memory";
    case dnnl_invalid_arguments: return "invalid arguments";
    case dnnl_unimplemented: return "not implemented";
    case dnnl_runtime_error: return "runtime error";
    default: return "failed";
    }
}

static gd_status failed(dnnl_status_t s, const char *what, const char *call, int line) {
    gd_status st = s == dnnl_out_of_memory ? GD_NOMEM : s == dnnl_unimplemented ? GD_UNSUP : GD_INTERNAL;
    return gd_raise(st, __FILE__, line, "oneDNN %d.%d.%d, %s: %s (status %d) in %s", dnnl_version()->major,
                    dnnl_version()->minor, dnnl_version()->patch, what, status_text(s), (int)s, call);
}

#define DNNL_TRY(what, call)                                                                                           \
    do {                                                                                                               \
        dnnl_status_t status_ = (call);                                                                                \
        if (status_ != dnnl_success) return failed(status_, what, #call, __LINE__);                                    \
    } while (0)

gd_status gd_dnnl_open(gd_dnnl **out) {
    gd_dnnl *d = calloc(1, sizeof *d);
    if (!d) GD_FAIL(NOMEM, "oneDNN: no memory");
    dnnl_status_t s = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (s == dnnl_success) s = dnnl_primitive_attr_create(&d->attr);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_scratchpad_mode(d->attr, dnnl_scratchpad_mode_user);
    if (s != dnnl_success) {
        gd_dnnl_close(d);
        return failed(s, "CPU engine", "gd_dnnl_open", __LINE__);
    }
    *out = d;
    return GD_OK;
}

void gd_dnnl_close(gd_dnnl *d) {
    if (!d) return;
    if (d->attr) dnnl_primitive_attr_destroy(d->attr);
    if (d->engine) dnnl_engine_destroy(d->engine);
    free(d);
}

void gd_dnnl_version(char *out, size_t room) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(out, room, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

static dnnl_data_type_t type_of(gd_dtype t) { return t == GD_BF16 ? dnnl_bf16 : dnnl_f32; }

static size_t round_up(size_t n) { return (n + 63) & ~(size_t)63; }

/* ---- stages ---- */

/* Makes the primitive of pd and the memory object of its scratch, which all stages place at pad_at. */
static gd_status stage_make(gd_dnnl_op *op, dnnl_primitive_desc_t pd, stage *s) {
    DNNL_TRY(op->what, dnnl_primitive_create(&s->primitive, pd));
    desc_ref pad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    size_t bytes = pad ? dnnl_memory_desc_get_size(pad) : 0;
    if (bytes == 0) return GD_OK;
    DNNL_TRY(op->what, dnnl_memory_create(&s->pad, pad, op->owner->engine, DNNL_MEMORY_NONE));
    if (op->pad_at + bytes > op->scratch_bytes) op->scratch_bytes = op->pad_at + bytes;
    return GD_OK;
}

static void stage_args(stage *s, int n, const dnnl_exec_arg_t *arg) {
    memcpy(s->arg, arg, (size_t)n * sizeof *arg);
    s->n_args = n;
    if (s->pad) s->arg[s->n_args++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, s->pad};
}

static void stage_drop(stage *s) {
    if (s->primitive) dnnl_primitive_destroy(s->primitive);
    if (s->pad) dnnl_memory_destroy(s->pad);
}

static gd_status stage_run(gd_dnnl_op *op, stage *s, char *scratch) {
    if (!s->primitive) return GD_OK;
    if (s->pad) DNNL_TRY(op->what, dnnl_memory_set_data_handle(s->pad, scratch + op->pad_at));
    DNNL_TRY(op->what, dnnl_primitive_execute(s->primitive, op->stream, s->n_args, s->arg));
    return GD_OK;
}

static gd_status reorder_make(gd_dnnl_op *op, desc_ref from, dnnl_memory_t from_memory, desc_ref to,
                              dnnl_memory_t to_memory, stage *s) {
    gd_dnnl *d = op->owner;
    dnnl_primitive_desc_t pd;
    DNNL_TRY(op->what, dnnl_reorder_primitive_desc_create(&pd, from, d->engine, to, d->engine, d->attr));
    gd_status st = stage_make(op, pd, s);
    dnnl_primitive_desc_destroy(pd);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    const dnnl_exec_arg_t arg[] = {{DNNL_ARG_FROM, from_memory}, {DNNL_ARG_TO, to_memory}};
    stage_args(s, 2, arg);
    return GD_OK;
}

/* Space for the weight operand in the library's layout, at the start of scratch. */
static gd_status packed_make(gd_dnnl_op *op, desc_ref wanted) {
    op->packed_bytes = round_up(dnnl_memory_desc_get_size(wanted));
    op->pad_at = op->scratch_bytes = op->packed_bytes;
    DNNL_TRY(op->what, dnnl_memory_create(&op->packed, wanted, op->owner->engine, DNNL_MEMORY_NONE));
    return GD_OK;
}

/* ---- ops ---- */

/* Argument numbers of a primitive: operands a and b, result; which of the three the weights are. */
typedef struct roles {
    int a, b, out;
    dnnl_query_t weights_query;
    bool weights_are_out;
} roles;

static gd_status op_finish(gd_dnnl_op *op, dnnl_primitive_desc_t pd, const roles *r, desc_ref a, desc_ref b,
                           desc_ref out) {
    dnnl_engine_t e = op->owner->engine;
    DNNL_TRY(op->what, dnnl_memory_create(&op->a, a, e, DNNL_MEMORY_NONE));
    DNNL_TRY(op->what, dnnl_memory_create(&op->b, b, e, DNNL_MEMORY_NONE));
    DNNL_TRY(op->what, dnnl_memory_create(&op->out, out, e, DNNL_MEMORY_NONE));
    desc_ref have = r->weights_are_out ? out : b;
    desc_ref want = dnnl_primitive_desc_query_md(pd, r->weights_query, 0);
    if (!desc_equal(have, want)) GD_TRY(packed_make(op, want));
    GD_TRY(stage_make(op, pd, &op->main));
    dnnl_memory_t main_b = op->b, main_out = op->out;
    if (op->packed && r->weights_are_out) {
        main_out = op->packed;
        GD_TRY(reorder_make(op, want, op->packed, out, op->out, &op->unpack));
    } else if (op->packed) {
        main_b = op->packed;
        GD_TRY(reorder_make(op, b, op->b, want, op->packed, &op->pack));
    }
    const dnnl_exec_arg_t arg[] = {{r->a, op->a}, {r->b, main_b}, {r->out, main_out}};
    stage_args(&op->main, 3, arg);
    const char *text = NULL;
    DNNL_TRY(op->what, dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&text));
    snprintf(op->text, sizeof op->text, "%s%s", text, op->packed ? " + reorder" : "");
    return GD_OK;
}

static gd_dnnl_op *op_new(gd_dnnl *d) {
    gd_dnnl_op *op = calloc(1, sizeof *op);
    if (!op) return NULL;
    op->owner = d;
    if (dnnl_stream_create(&op->stream, d->engine, dnnl_stream_default_flags) == dnnl_success) return op;
    free(op);
    return NULL;
}

void gd_dnnl_op_free(gd_dnnl_op *op) {
    if (!op) return;
    stage_drop(&op->pack);
    stage_drop(&op->main);
    stage_drop(&op->unpack);
    dnnl_memory_t memory[] = {op->a, op->b, op->out, op->packed};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    dnnl_stream_destroy(op->stream);
    free(op);
}

size_t gd_dnnl_op_scratch(const gd_dnnl_op *op) { return round_up(op->scratch_bytes); }
const char *gd_dnnl_op_text(const gd_dnnl_op *op) { return op->text; }

gd_status gd_dnnl_op_run(gd_dnnl_op *op, const void *a, const void *b, void *out, void *scratch) {
    /* The interface has no const handles; a and b are only read. */
    DNNL_TRY(op->what, dnnl_memory_set_data_handle(op->a, (void *)(uintptr_t)a));
    DNNL_TRY(op->what, dnnl_memory_set_data_handle(op->b, (void *)(uintptr_t)b));
    DNNL_TRY(op->what, dnnl_memory_set_data_handle(op->out, out));
    if (op->packed) DNNL_TRY(op->what, dnnl_memory_set_data_handle(op->packed, scratch));
    GD_TRY(stage_run(op, &op->pack, scratch));
    GD_TRY(stage_run(op, &op->main, scratch));
    GD_TRY(stage_run(op, &op->unpack, scratch));
    return GD_OK;
}

/* ---- convolution ---- */

static void conv_text(const gd_dnnl_conv *c, char *out, size_t room) {
    static const char *const pass[] = {"forward", "backward data", "backward weights"};
    snprintf(out, room,
             "convolution %s %s->%s x [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "] w [%" PRId64 ",%" PRId64
             ",%" PRId64 ",%" PRId64 "] stride %" PRId64,
             pass[c->pass], gd_dtype_text(c->in_type), gd_dtype_text(c->out_type), c->n, c->h, c->w, c->c, c->k, c->r,
             c->s, c->c, c->stride);
}

static void parts_drop(conv_parts *p) {
    desc_drop(&p->x);
    desc_drop(&p->w);
    desc_drop(&p->y);
}

/* weights_tag any lets the library choose. The result has the type out_type, the others in_type. */
static gd_status parts_make(const gd_dnnl_op *op, const gd_dnnl_conv *c, dnnl_format_tag_t weights_tag,
                            conv_parts *out) {
    const dnnl_dims_t x = {c->n, c->c, c->h, c->w}, w = {c->k, c->c, c->r, c->s}, y = {c->n, c->k, c->p, c->q};
    dnnl_data_type_t t = type_of(c->in_type), to = type_of(c->out_type);
    DNNL_TRY(op->what, desc_make(&out->x, 4, x, c->pass == GD_DNNL_BACKWARD_DATA ? to : t, dnnl_nhwc));
    DNNL_TRY(op->what, desc_make(&out->w, 4, w, c->pass == GD_DNNL_BACKWARD_WEIGHTS ? to : t, weights_tag));
    DNNL_TRY(op->what, desc_make(&out->y, 4, y, c->pass == GD_DNNL_FORWARD ? to : t, dnnl_nhwc));
    out->strides[0] = out->strides[1] = c->stride;
    out->low[0] = c->pad[0];
    out->high[0] = c->pad[1];
    out->low[1] = c->pad[2];
    out->high[1] = c->pad[3];
    return GD_OK;
}

/* The library asks backward primitives for a forward one as a hint; types as it would have them. */
static gd_status conv_hint(const gd_dnnl_op *op, const gd_dnnl_conv *c, dnnl_primitive_desc_t *out) {
    gd_dnnl_conv f = *c;
    f.pass = GD_DNNL_FORWARD;
    f.out_type = c->in_type;
    conv_parts p;
    memset(&p, 0, sizeof p);
    gd_status st = parts_make(op, &f, dnnl_format_tag_any, &p);
    if (st == GD_OK) {
        dnnl_status_t s = conv_desc(out, GD_DNNL_FORWARD, &p, NULL, op->owner->attr, op->owner->engine);
        if (s != dnnl_success) st = failed(s, op->what, "forward hint", __LINE__);
    }
    parts_drop(&p);
    return st;
}

static gd_status conv_pd(gd_dnnl_op *op, const gd_dnnl_conv *c, const conv_parts *wish, dnnl_primitive_desc_t *out) {
    dnnl_primitive_desc_t hint = NULL;
    if (c->pass != GD_DNNL_FORWARD) GD_TRY(conv_hint(op, c, &hint));
    dnnl_status_t s = conv_desc(out, c->pass, wish, hint, op->owner->attr, op->owner->engine);
    if (hint) dnnl_primitive_desc_destroy(hint);
    return s == dnnl_success ? GD_OK : failed(s, op->what, "primitive descriptor", __LINE__);
}

static gd_status conv_build(gd_dnnl_op *op, const gd_dnnl_conv *c, conv_parts *wish, conv_parts *have) {
    static const roles role[] = {
        [GD_DNNL_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, dnnl_query_weights_md, false},
        [GD_DNNL_BACKWARD_DATA] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC, dnnl_query_weights_md,
                                   false},
        [GD_DNNL_BACKWARD_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS,
                                      dnnl_query_diff_weights_md, true},
    };
    dnnl_primitive_desc_t pd;
    GD_TRY(parts_make(op, c, dnnl_format_tag_any, wish));
    GD_TRY(parts_make(op, c, dnnl_ohwi, have));
    GD_TRY(conv_pd(op, c, wish, &pd));
    desc_ref x = ref_of(&have->x), w = ref_of(&have->w), y = ref_of(&have->y);
    desc_ref a = c->pass == GD_DNNL_BACKWARD_DATA ? y : x;
    desc_ref b = c->pass == GD_DNNL_BACKWARD_WEIGHTS ? y : w;
    desc_ref out = c->pass == GD_DNNL_FORWARD ? y : c->pass == GD_DNNL_BACKWARD_DATA ? x : w;
    gd_status st = op_finish(op, pd, &role[c->pass], a, b, out);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

gd_status gd_dnnl_conv_make(gd_dnnl *d, const gd_dnnl_conv *c, gd_dnnl_op **out) {
    gd_dnnl_op *op = op_new(d);
    if (!op) GD_FAIL(NOMEM, "oneDNN convolution: no memory");
    conv_text(c, op->what, sizeof op->what);
    conv_parts wish, have;
    memset(&wish, 0, sizeof wish);
    memset(&have, 0, sizeof have);
    gd_status st = conv_build(op, c, &wish, &have);
    parts_drop(&wish);
    parts_drop(&have);
    if (st != GD_OK) {
        gd_dnnl_op_free(op);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = op;
    return GD_OK;
}

/* ---- matrix product ---- */

static gd_status matmul_build(gd_dnnl_op *op, const desc *a, const desc *b, const desc *c) {
    static const roles role = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, dnnl_query_weights_md, false};
    dnnl_primitive_desc_t pd;
    DNNL_TRY(op->what, matmul_desc(&pd, a, b, c, op->owner->attr, op->owner->engine));
    gd_status st = op_finish(op, pd, &role, ref_of(a), ref_of(b), ref_of(c));
    dnnl_primitive_desc_destroy(pd);
    return st;
}

/* A matrix of rows x columns as the product sees it; in memory row by row, or column by column. */
static gd_status matrix_make(const gd_dnnl_op *op, int64_t rows, int64_t columns, bool by_column, int64_t step,
                             gd_dtype t, desc *out) {
    const dnnl_dims_t dims = {rows, columns}, strides = {by_column ? 1 : step, by_column ? step : 1};
    DNNL_TRY(op->what, desc_make_strided(out, 2, dims, type_of(t), strides));
    return GD_OK;
}

static gd_status matmul_parts(const gd_dnnl_op *op, const gd_dnnl_matmul *mm, desc part[3]) {
    GD_TRY(matrix_make(op, mm->m, mm->k, mm->ta, mm->a_row, mm->in_type, &part[0]));
    GD_TRY(matrix_make(op, mm->k, mm->n, mm->tb, mm->b_row, mm->in_type, &part[1]));
    GD_TRY(matrix_make(op, mm->m, mm->n, false, mm->c_row, mm->out_type, &part[2]));
    return GD_OK;
}

gd_status gd_dnnl_matmul_make(gd_dnnl *d, const gd_dnnl_matmul *mm, gd_dnnl_op **out) {
    gd_dnnl_op *op = op_new(d);
    if (!op) GD_FAIL(NOMEM, "oneDNN matmul: no memory");
    snprintf(op->what, sizeof op->what, "matmul %s->%s [%" PRId64 ",%" PRId64 "] x [%" PRId64 ",%" PRId64 "]%s%s",
             gd_dtype_text(mm->in_type), gd_dtype_text(mm->out_type), mm->m, mm->k, mm->k, mm->n,
             mm->ta ? " a transposed" : "", mm->tb ? " b transposed" : "");
    desc part[3];
    memset(part, 0, sizeof part);
    gd_status st = matmul_parts(op, mm, part);
    if (st == GD_OK) st = matmul_build(op, &part[0], &part[1], &part[2]);
    for (int i = 0; i < 3; i++) desc_drop(&part[i]);
    if (st != GD_OK) {
        gd_dnnl_op_free(op);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = op;
    return GD_OK;
}

gd_status gd_dnnl_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c) {
    DNNL_TRY("sgemm",
             dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, ta ? m : k, b, tb ? k : n, 0.0f, c, n));
    return GD_OK;
}
