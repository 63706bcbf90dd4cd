/* Convolutions of bf16 and of halves of f32 on matrix tiles (compute/cpu/amx.h) against double sums of the same operands: a table
 * of the largest error by direction, types and way of sharing work, each held to its limit. Odd sizes, uneven
 * padding and tails; equal bits for every number of threads; the sanitizer sees a step outside. Skipped, visibly, where
 * the processor has no tiles. */
#include "tests/unit/conv_sums.h"

typedef struct conv_case {
    int64_t n, h, w, c, k, r, s, stride, pad[4];
} conv_case;

static const conv_case cases[] = {
    {2, 16, 16, 3, 64, 4, 4, 2, {1, 1, 1, 1}},  /* DCGAN, first layer                                     */
    {3, 16, 16, 64, 96, 4, 4, 2, {1, 1, 1, 1}}, /* inner layers                                           */
    {19, 8, 8, 32, 40, 4, 4, 2, {1, 1, 1, 1}},  /* columns behind a whole tile                            */
    {64, 4, 4, 64, 1, 4, 4, 1, {0, 0, 0, 0}},   /* last layer                                             */
    {5, 4, 4, 24, 100, 4, 4, 1, {0, 0, 0, 0}},  /* first layer of G, as dx                                */
    {1, 2, 2, 64, 64, 4, 4, 2, {1, 1, 1, 1}},   /* U-Net, innermost                                       */
    {1, 16, 16, 128, 160, 4, 4, 2, {1, 1, 1, 1}},
    {3, 32, 32, 32, 48, 4, 4, 2, {1, 1, 1, 1}}, /* rows of whole tiles                                    */
    {40, 8, 8, 128, 40, 4, 4, 2, {1, 1, 1, 1}}, /* blocks of many rows, in parts of the depth               */
    {1, 36, 63, 32, 96, 3, 3, 2, {0, 1, 1, 1}}, /* tiles that overlap, phases of one tap and of other sizes */
    {2, 33, 62, 8, 64, 4, 4, 2, {2, 1, 0, 3}},  /* a run of one step; channels of no whole step           */
    {1, 64, 64, 3, 64, 4, 4, 2, {1, 1, 1, 1}},
    {1, 70, 48, 5, 64, 1, 1, 3, {0, 0, 0, 0}},  /* phases without taps in bands                           */
    {1, 34, 34, 64, 64, 3, 3, 1, {0, 0, 0, 0}}, /* ResNet block                                           */
    {2, 32, 33, 16, 16, 3, 3, 1, {1, 1, 1, 1}}, /* partial sums over pieces of many pixels                */
    {1, 40, 38, 3, 32, 7, 7, 1, {3, 3, 3, 3}},  /* stem                                                   */
    {1, 38, 40, 32, 3, 7, 7, 1, {3, 3, 3, 3}},  /* head                                                   */
    {1, 15, 15, 96, 1, 4, 4, 1, {1, 1, 1, 1}},  /* PatchGAN, last layer                                   */
    {1, 19, 22, 17, 33, 3, 3, 2, {1, 1, 1, 1}}, /* a phase of one tap; odd channels: pairs across taps    */
    {2, 9, 17, 5, 7, 4, 4, 2, {2, 1, 0, 3}},    /* padding of every kind                                  */
    {1, 5, 4, 8, 8, 5, 3, 1, {4, 4, 2, 2}},     /* a kernel larger than the image                         */
    {2, 10, 10, 31, 65, 3, 3, 3, {0, 0, 0, 0}}, /* stride 3, uneven                                       */
    {1, 7, 6, 32, 8, 1, 1, 2, {0, 0, 0, 0}},    /* phases without taps: pixels that no output uses        */
    {1, 11, 10, 4, 4, 2, 2, 3, {0, 0, 0, 0}},
    {3, 1, 1, 160, 36, 1, 1, 1, {0, 0, 0, 0}},
    {1, 1, 1, 1, 1, 1, 1, 1, {0, 0, 0, 0}},
    {2, 5, 1, 3, 2, 3, 1, 1, {1, 1, 0, 0}}, /* not square                                             */
    {1, 3, 70, 6, 20, 2, 5, 2, {0, 1, 2, 2}},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static const char *const pass_text[] = {"forward", "data", "weights"};

static gd_dnnl_conv conv_of(const conv_case *c, gd_dnnl_pass pass, gd_dtype in, gd_dtype out) {
    gd_dnnl_conv o = {.pass = pass, .in_type = in, .out_type = out};
    o.n = c->n, o.h = c->h, o.w = c->w, o.c = c->c, o.k = c->k, o.r = c->r, o.s = c->s, o.stride = c->stride;
    memcpy(o.pad, c->pad, sizeof o.pad);
    o.p = (c->h + c->pad[0] + c->pad[1] - c->r) / c->stride + 1;
    o.q = (c->w + c->pad[2] + c->pad[3] - c->s) / c->stride + 1;
    return o;
}

/* Normal numbers in a buffer of exactly their size, and as double sums see them. */
static void *numbers(int64_t n, gd_dtype t, uint32_t stream, float **wide) {
    float *x = conv_numbers(n, stream);
    void *out = malloc((size_t)n * gd_dtype_bytes(t));
    assert_non_null(out);
    if (t == GD_BF16) {
        gd__narrow(x, out, n);
        gd__widen(out, x, n);
    } else memcpy(out, x, (size_t)n * sizeof *x);
    *wide = x;
    return out;
}

/* ---- one case ---- */

/* Runs on so many threads, in buffers of exactly the planned size. */
static void *run(const gd_dnnl_conv *c, int threads, const void *a, const void *b, int64_t count, const char **way) {
    gd__amx plan;
    gd__threads_enter(threads);
    assert_true(gd__amx_plan(c, threads, &plan));
    size_t bytes = (size_t)count * gd_dtype_bytes(c->out_type);
    void *out = malloc(bytes);
    char *scratch = rig_alloc(plan.scratch_bytes);
    assert_non_null(out);
    memset(out, 0xff, bytes);
    gd__amx_run(&plan, a, b, out, scratch);
    *way = plan.by_panel ? " by panel" : plan.by_band ? " by band" : "";
    free(scratch);
    gd__threads_enter(gd__threads_wanted());
    return out;
}

static double value(const void *out, gd_dtype t, int64_t i) {
    return t == GD_BF16 ? (double)gd__from_bf16(((const uint16_t *)out)[i]) : (double)((const float *)out)[i];
}

/* bf16: of the rounding of the result, half of 2^-7. f32: of sums of up to some thousand products, which are exact of bf16, and of
 * halves lack up to 2^-16 each. */
static double limit_of(const gd_dnnl_conv *c) {
    return c->out_type == GD_BF16 ? 4e-3 : c->in_type == GD_BF16 ? 2e-6 : 2e-5;
}

static void compare(const gd_dnnl_conv *c, const void *is, const double *want, int64_t count, const char *way) {
    double most = 0, error = 0, limit = limit_of(c);
    char name[64];
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < count; i++) {
        double off = fabs(value(is, c->out_type, i) - want[i]);
        if (!(off <= limit * most))
            fail_msg("%s x [%d,%d,%d,%d] k %d kernel %dx%d stride %d: element %lld is %.8g; expected %.8g",
                     pass_text[c->pass], (int)c->n, (int)c->h, (int)c->w, (int)c->c, (int)c->k, (int)c->r, (int)c->s,
                     (int)c->stride, (long long)i, value(is, c->out_type, i), want[i]);
        error = fmax(error, most > 0 ? off / most : 0);
    }
    snprintf(name, sizeof name, "amx %s %s to %s%s", pass_text[c->pass], gd_dtype_text(c->in_type),
             gd_dtype_text(c->out_type), way);
    conv_record(name, error, limit);
}

static void check(const gd_dnnl_conv *c) {
    int64_t nx = c->n * c->h * c->w * c->c, nw = c->k * c->r * c->s * c->c, ny = c->n * c->p * c->q * c->k;
    int64_t count = c->pass == GD_DNNL_FORWARD ? ny : c->pass == GD_DNNL_BACKWARD_DATA ? nx : nw;
    int64_t na = c->pass == GD_DNNL_BACKWARD_DATA ? ny : nx, nb = c->pass == GD_DNNL_BACKWARD_WEIGHTS ? ny : nw;
    float *wide_a, *wide_b;
    void *a = numbers(na, c->in_type, 1, &wide_a), *b = numbers(nb, c->in_type, 2, &wide_b);
    double *want = calloc((size_t)count, sizeof *want);
    const char *way, *again;
    assert_non_null(want);
    conv_sums(c, wide_a, wide_b, want);
    void *is = run(c, 1, a, b, count, &way);
    compare(c, is, want, count, way);
    for (int threads = 2; threads <= 7; threads++) {
        void *other = run(c, threads, a, b, count, &again);
        if (memcmp(is, other, (size_t)count * gd_dtype_bytes(c->out_type)))
            fail_msg("%s: bits differ with %d threads", pass_text[c->pass], threads);
        free(other);
    }
    free(is);
    free(want);
    free(wide_a);
    free(wide_b);
    free(a);
    free(b);
}

static void test_all(void **state) {
    (void)state;
    if (!gd__amx_usable()) skip();
    for (int i = 0; i < CASES; i++)
        for (gd_dnnl_pass pass = GD_DNNL_FORWARD; pass <= GD_DNNL_BACKWARD_WEIGHTS; pass++) {
            const gd_dtype in[] = {GD_BF16, GD_BF16, GD_F32}, out[] = {GD_F32, GD_BF16, GD_F32};
            for (int t = 0; t < 3; t++) {
                gd_dnnl_conv c = conv_of(&cases[i], pass, in[t], out[t]);
                check(&c);
            }
        }
    assert_int_equal(n_conv_errors, 21); /* every row of the table was reached */
}

/* What it does not take; where there are no tiles, nothing. */
static void test_refuses(void **state) {
    (void)state;
    gd__amx plan;
    gd_dnnl_conv c = conv_of(&cases[1], GD_DNNL_FORWARD, GD_BF16, GD_F32), far = c;
    far.stride = AMX_MAX_STRIDE + 1;
    assert_int_equal(gd__amx_plan(&c, 1, &plan), gd__amx_usable() != NULL);
    assert_false(gd__amx_plan(&far, 1, &plan));
}

static int print_table(void **state) {
    if (!gd__amx_usable()) printf("this processor has no matrix tiles: amx was compiled, if at all, and not run\n");
    return conv_print_errors(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, NULL, print_table);
}
