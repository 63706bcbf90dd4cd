/* Convolutions in three directions and matrix products against plain double sums: the library's
 * primitives, the plain loops for shapes that it does not take, bf16, and equal bits for every number
 * of threads. */
#include "tests/unit/cpu_rig.h"

typedef struct conv_case {
    int64_t n, h, w, c, k, r, s;
    int32_t stride, pad[4];
} conv_case;

static const conv_case cases[] = {
    {2, 8, 8, 3, 16, 4, 4, 2, {1, 1, 1, 1}},  /* DCGAN, first layer        */
    {2, 8, 8, 16, 32, 4, 4, 2, {1, 1, 1, 1}}, /* inner layers              */
    {3, 4, 4, 32, 1, 4, 4, 1, {0, 0, 0, 0}},  /* last layer                */
    {4, 4, 4, 24, 10, 4, 4, 1, {0, 0, 0, 0}}, /* first layer of G, as dx   */
    {1, 9, 7, 5, 6, 3, 3, 1, {1, 1, 1, 1}},   /* odd everything            */
    {2, 7, 9, 8, 7, 3, 3, 2, {1, 1, 1, 1}},
    {2, 8, 8, 4, 8, 3, 3, 2, {0, 1, 0, 1}}, /* asymmetric                */
    {2, 6, 6, 8, 8, 4, 4, 1, {1, 2, 1, 2}},
    {2, 8, 8, 8, 8, 1, 1, 2, {0, 0, 0, 0}},   /* rows that nobody uses     */
    {1, 11, 10, 4, 4, 3, 3, 3, {0, 0, 0, 0}}, /* the same, uneven          */
    {1, 5, 5, 3, 4, 2, 2, 1, {2, 2, 2, 2}},   /* padding as wide as kernel */
    {1, 16, 16, 3, 8, 7, 7, 1, {3, 3, 3, 3}},
    {5, 1, 1, 20, 30, 1, 1, 1, {0, 0, 0, 0}},
    {2, 5, 1, 3, 2, 3, 1, 1, {1, 1, 0, 0}},
    {2, 2, 2, 64, 64, 4, 4, 2, {1, 1, 1, 1}},    /* U-Net bottleneck          */
    {16, 12, 12, 8, 24, 3, 3, 1, {1, 1, 1, 1}},  /* where oneDNN splits dw over the batch */
    {16, 16, 16, 16, 48, 4, 4, 2, {1, 1, 1, 1}}, /* Winograd, m = 4 */
    {16, 32, 32, 1, 32, 4, 4, 2, {1, 1, 1, 1}},  /* one channel: dx of products, split over threads */
    {16, 32, 32, 3, 32, 4, 4, 2, {1, 1, 1, 1}},
};

enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- plain double sums ---- */

typedef struct tensors {
    double *x, *w, *y;
} tensors;

/* Calls add(x element, w element, y element) for every product of the convolution. */
#define EACH_PRODUCT(c, p, q)                                                                                          \
    for (int64_t n = 0; n < (c)->n; n++)                                                                               \
        for (int64_t i = 0; i < (p); i++)                                                                              \
            for (int64_t j = 0; j < (q); j++)                                                                          \
                for (int64_t r = 0; r < (c)->r; r++)                                                                   \
                    for (int64_t s = 0; s < (c)->s; s++)

static void multiply(const conv_case *c, int64_t p, int64_t q, gd_op op, tensors t) {
    EACH_PRODUCT(c, p, q) {
        int64_t h = i * c->stride + r - c->pad[0], v = j * c->stride + s - c->pad[2];
        if (h < 0 || h >= c->h || v < 0 || v >= c->w) continue;
        double *x = t.x + ((n * c->h + h) * c->w + v) * c->c, *y = t.y + ((n * p + i) * q + j) * c->k;
        for (int64_t k = 0; k < c->k; k++) {
            double *w = t.w + ((k * c->r + r) * c->s + s) * c->c;
            for (int64_t z = 0; z < c->c; z++) {
                if (op == GD_OP_CONV) y[k] += x[z] * w[z];
                else if (op == GD_OP_CONV_DX) x[z] += y[k] * w[z];
                else w[z] += x[z] * y[k];
            }
        }
    }
}

static double *values(const rig *r, gd_node n, bool zero) {
    int64_t count = gd_shape_count(gd_node_shape(r->g, n));
    double *v = calloc((size_t)count, sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < count && !zero; i++) v[i] = rig_at(r, n, i);
    return v;
}

static void compare(const rig *r, gd_node n, const double *want, const char *what) {
    int64_t count = gd_shape_count(gd_node_shape(r->g, n));
    double most = 1e-3, limit = gd_graph_at(r->g, n)->dtype == GD_BF16 ? 1.0 / 200 : 1e-5;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(rig_at(r, n, i) - want[i]) <= limit * most))
            fail_msg("%s: element %lld is %.8g; expected %.8g", what, (long long)i, rig_at(r, n, i), want[i]);
}

/* ---- one case ---- */

typedef struct conv_nodes {
    gd_node x, w, y; /* one of them is the result, the others are inputs */
    gd_node out;
} conv_nodes;

static gd_node leaf(gd_graph *g, const char *name, gd_shape s, gd_dtype t) {
    gd_attr a = {.shape = s, .kind = (int32_t)t};
    return gd__add_leaf(g, GD_OP_INPUT, name, &a);
}

static conv_nodes build(gd_graph *g, const conv_case *c, gd_op op, gd_dtype in, gd_dtype out, gd_shape *y) {
    char why[160];
    gd_shape x = gd_shape4(c->n, c->h, c->w, c->c), w = gd_shape4(c->k, c->r, c->s, c->c);
    gd_attr a = {.stride = c->stride, .kind = (int32_t)out};
    memcpy(a.pad, c->pad, sizeof a.pad);
    assert_true(gd__conv_shape(x, w, &a, y, why));
    conv_nodes n = {GD_NONE, GD_NONE, GD_NONE, GD_NONE};
    if (op != GD_OP_CONV_DX) n.x = leaf(g, "x", x, in);
    if (op != GD_OP_CONV_DW) n.w = leaf(g, "w", w, in);
    if (op != GD_OP_CONV) n.y = leaf(g, "y", *y, in);
    if (op == GD_OP_CONV) n.out = n.y = gd__add(g, op, n.x, n.w, &a);
    a.shape = op == GD_OP_CONV_DX ? x : w;
    if (op == GD_OP_CONV_DX) n.out = n.x = gd__add(g, op, n.y, n.w, &a);
    if (op == GD_OP_CONV_DW) n.out = n.w = gd__add(g, op, n.x, n.y, &a);
    return n;
}

static void check_conv(const conv_case *c, gd_op op, gd_dtype in, gd_dtype out) {
    gd_graph *g;
    gd_shape y;
    rig r;
    rig_ok(gd_graph_new(1, &g));
    conv_nodes n = build(g, c, op, in, out, &y);
    rig_open(&r, g);
    gd_node all[] = {n.x, n.w, n.y};
    for (int i = 0; i < 3; i++)
        if (all[i] != n.out) rig_fill(&r, all[i], (uint32_t)i, 1.0f);
    char text[128], what[256];
    gd_cpu_set_threads(1);
    rig_run(&r, n.out, text);
    snprintf(what, sizeof what, "%s case %d %s->%s (%s)", gd_op_text(op), (int)(c - cases), gd_dtype_text(in),
             gd_dtype_text(out), text);
    tensors t = {values(&r, n.x, n.x == n.out), values(&r, n.w, n.w == n.out), values(&r, n.y, n.y == n.out)};
    multiply(c, y.dim[1], y.dim[2], op, t);
    compare(&r, n.out, op == GD_OP_CONV ? t.y : op == GD_OP_CONV_DX ? t.x : t.w, what);
    uint8_t *first = malloc(rig_bytes(&r, n.out));
    assert_non_null(first);
    memcpy(first, r.buffer[n.out], rig_bytes(&r, n.out));
    for (int threads = 2; threads <= 3; threads++) {
        gd_cpu_set_threads(threads);
        memset(r.buffer[n.out], 0xff, rig_bytes(&r, n.out));
        rig_run(&r, n.out, NULL);
        if (memcmp(first, r.buffer[n.out], rig_bytes(&r, n.out)))
            fail_msg("%s: bits differ with %d threads", what, threads);
    }
    gd_cpu_set_threads(0);
    free(first);
    free(t.x);
    free(t.w);
    free(t.y);
    rig_close(&r);
}

static void test_conv_f32(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_conv(&cases[i], GD_OP_CONV, GD_F32, GD_F32);
        check_conv(&cases[i], GD_OP_CONV_DX, GD_F32, GD_F32);
        check_conv(&cases[i], GD_OP_CONV_DW, GD_F32, GD_F32);
    }
}

static void test_conv_bf16(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i += 2) {
        check_conv(&cases[i], GD_OP_CONV, GD_BF16, i % 4 ? GD_F32 : GD_BF16);
        check_conv(&cases[i], GD_OP_CONV_DX, GD_BF16, i % 4 ? GD_BF16 : GD_F32);
        check_conv(&cases[i], GD_OP_CONV_DW, GD_BF16, GD_F32);
    }
}

/* ---- matrices ---- */

static void check_matmul(int64_t m, int64_t n, int64_t k, bool ta, bool tb, gd_dtype in, gd_dtype out) {
    gd_graph *g;
    rig r;
    rig_ok(gd_graph_new(1, &g));
    gd_attr attr = {.ta = ta, .tb = tb, .kind = (int32_t)out};
    gd_node a = leaf(g, "a", ta ? gd_shape2(k, m) : gd_shape2(m, k), in);
    gd_node b = leaf(g, "b", tb ? gd_shape2(n, k) : gd_shape2(k, n), in);
    gd_node c = gd__add(g, GD_OP_MATMUL, a, b, &attr);
    rig_open(&r, g);
    rig_fill(&r, a, 1, 1.0f);
    rig_fill(&r, b, 2, 1.0f);
    double *want = values(&r, c, true);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t l = 0; l < k; l++)
                want[i * n + j] +=
                    rig_at(&r, a, ta ? l * m + i : i * k + l) * rig_at(&r, b, tb ? j * k + l : l * n + j);
    char what[128];
    snprintf(what, sizeof what, "matmul %lldx%lldx%lld %d %d", (long long)m, (long long)n, (long long)k, ta, tb);
    uint8_t *first = malloc(rig_bytes(&r, c));
    assert_non_null(first);
    for (int threads = 1; threads <= 3; threads++) {
        gd_cpu_set_threads(threads);
        memset(r.buffer[c], 0xff, rig_bytes(&r, c));
        rig_run(&r, c, NULL);
        compare(&r, c, want, what);
        if (threads == 1) memcpy(first, r.buffer[c], rig_bytes(&r, c));
        else if (memcmp(first, r.buffer[c], rig_bytes(&r, c)))
            fail_msg("%s: bits differ with %d threads", what, threads);
    }
    gd_cpu_set_threads(0);
    free(first);
    free(want);
    rig_close(&r);
}

static void test_matmul(void **state) {
    (void)state;
    static const int64_t size[][3] = {{1, 1, 1},    {5, 7, 3},    {64, 512, 100}, {100, 64, 513},
                                      {3, 1, 2000}, {1, 300, 65}, {33, 17, 1}};
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++)
        for (int t = 0; t < 4; t++) {
            check_matmul(size[i][0], size[i][1], size[i][2], t & 1, t >> 1, GD_F32, GD_F32);
            if (i % 2)
                check_matmul(size[i][0], size[i][1], size[i][2], t & 1, t >> 1, GD_BF16, t & 1 ? GD_F32 : GD_BF16);
        }
}

static void test_sgemm(void **state) {
    (void)state;
    const float a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, 0, 2, 1, 0, 1};
    float c[4];
    rig_ok(gd_dnnl_sgemm(false, false, 2, 2, 3, a, b, c)); /* [2,3] [3,2] */
    const float plain[] = {5, 5, 14, 11};
    assert_memory_equal(c, plain, sizeof c);
    rig_ok(gd_dnnl_sgemm(true, true, 2, 2, 3, a, b, c)); /* [3,2]^T [2,3]^T */
    const float transposed[] = {11, 6, 14, 8};
    assert_memory_equal(c, transposed, sizeof c);
}

static void test_refusals(void **state) {
    (void)state;
    gd_graph *g;
    char why[200];
    rig_ok(gd_graph_new(1, &g));
    gd_node x = leaf(g, "x", gd_shape2(2, 2), GD_U8);
    gd_attr one = {.shape = gd_shape2(2, 2)};
    gd_node wide = gd__add(g, GD_OP_BROADCAST, x, GD_NONE, &one);
    rig_ok(gd_graph_status(g));
    assert_false(gd_executor_cpu()->supports(g, wide, why, sizeof why));
    assert_non_null(strstr(why, "u8"));
    gd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv_f32),  cmocka_unit_test(test_conv_bf16),
                                       cmocka_unit_test(test_matmul),
                                       cmocka_unit_test(test_sgemm),     cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
