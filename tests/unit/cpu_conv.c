/* Own convolution kernels, one by one and on every instruction set of this machine, against double sums:
 * a table of the largest error by implementation, direction and shape class, each held to its limit. Odd
 * sizes, uneven padding and tails; equal bits for every number of threads; the sanitizer sees a step outside. */
#include "compute/cpu/small.h"
#include "compute/cpu/thin.h"
#include "tests/unit/conv_sums.h"

typedef struct conv_case {
    int64_t n, h, w, c, k, r, stride, pad[4];
} conv_case;

static const char *const pass_text[] = {"forward", "data", "weights"};

static gd_dnnl_conv conv_of(const conv_case *c, gd_dnnl_pass pass) {
    gd_dnnl_conv o = {.pass = pass, .in_type = GD_F32, .out_type = GD_F32};
    o.n = c->n, o.h = c->h, o.w = c->w, o.c = c->c, o.k = c->k, o.r = o.s = c->r, o.stride = c->stride;
    memcpy(o.pad, c->pad, sizeof o.pad);
    o.p = (c->h + c->pad[0] + c->pad[1] - c->r) / c->stride + 1;
    o.q = (c->w + c->pad[2] + c->pad[3] - c->r) / c->stride + 1;
    return o;
}

/* ---- one implementation on one case ---- */

/* Plans c for so many threads and runs it; false: it does not take c. name, limit: of what ran, and of its error. */
typedef bool (*runner)(const gd_dnnl_conv *c, const gd__wino_kernels *set, int threads, const float *a, const float *b,
                       float *out, char name[64], double *limit);

/* Largest difference over the largest value; every thread count must give the bits of one. */
static bool check(runner run, const gd_dnnl_conv *c, const gd__wino_kernels *set) {
    int64_t nx = c->n * c->h * c->w * c->c, nw = c->k * c->r * c->s * c->c, ny = c->n * c->p * c->q * c->k;
    int64_t count = c->pass == GD_DNNL_FORWARD ? ny : c->pass == GD_DNNL_BACKWARD_DATA ? nx : nw;
    float *a = conv_numbers(c->pass == GD_DNNL_BACKWARD_DATA ? ny : nx, 1),
          *b = conv_numbers(c->pass == GD_DNNL_BACKWARD_WEIGHTS ? ny : nw, 2), *got[3];
    double *want = calloc((size_t)count, sizeof *want), most = 0, error = 0, limit = 0;
    bool taken = true;
    char name[64], text[64];
    assert_non_null(want);
    for (int i = 0; i < 3; i++) got[i] = rig_alloc((size_t)count * sizeof *got[i]);
    for (int threads = 1; threads <= 3 && taken; threads++) {
        gd__threads_enter(threads);
        taken = run(c, set, threads, a, b, got[threads - 1], text, &limit);
        if (taken && memcmp(got[0], got[threads - 1], (size_t)count * sizeof *got[0]))
            fail_msg("%s: bits differ with %d threads", text, threads);
    }
    gd__threads_enter(gd__threads_wanted());
    if (taken) {
        conv_sums(c, a, b, want);
        for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(want[i]));
        for (int64_t i = 0; i < count; i++) error = fmax(error, fabs((double)got[0][i] - want[i]) / most);
        for (int64_t i = 0; i < count; i++)
            if (!(fabs((double)got[0][i] - want[i]) <= limit * most))
                fail_msg("%s %s x [%d,%d,%d,%d] k %d kernel %d stride %d: element %lld is %.8g; expected %.8g", text,
                         pass_text[c->pass], (int)c->n, (int)c->h, (int)c->w, (int)c->c, (int)c->k, (int)c->r,
                         (int)c->stride, (long long)i, (double)got[0][i], want[i]);
        snprintf(name, sizeof name, "%.40s %s", text, pass_text[c->pass]);
        conv_record(name, error, limit);
    }
    for (int i = 0; i < 3; i++) free(got[i]);
    free(a);
    free(b);
    free(want);
    return taken;
}

/* ---- Winograd ---- */

static const conv_case wino_cases[] = {
    {2, 16, 16, 16, 48, 4, 2, {1, 1, 1, 1}}, /* polyphase F(4,2)                        */
    {1, 20, 20, 16, 16, 4, 2, {1, 1, 1, 1}}, /* tiles reach over the edge               */
    {3, 6, 10, 16, 32, 4, 2, {1, 1, 1, 1}},  /* F(2,2), not square                      */
    {5, 4, 4, 48, 80, 4, 2, {1, 1, 1, 1}},
    {2, 9, 17, 16, 16, 4, 2, {2, 1, 0, 3}},  /* padding of every kind, odd              */
    {1, 2, 2, 32, 16, 4, 2, {1, 1, 1, 1}},   /* one output                              */
    {2, 16, 16, 32, 16, 3, 2, {1, 1, 1, 1}}, /* an absent tap                           */
    {1, 19, 22, 16, 48, 3, 2, {1, 1, 1, 1}},
    {1, 5, 6, 16, 16, 3, 2, {0, 1, 0, 1}},
    {2, 10, 10, 32, 32, 3, 1, {0, 0, 0, 0}}, /* F(4,3), padded by a layer before        */
    {1, 34, 34, 32, 64, 3, 1, {0, 0, 0, 0}}, /* by panel                                */
    {2, 8, 8, 48, 32, 3, 1, {1, 1, 1, 1}},
    {1, 13, 7, 16, 80, 3, 1, {1, 1, 1, 1}}, /* edges                                   */
    {9, 5, 6, 16, 16, 3, 1, {1, 1, 1, 1}},  /* F(2,3)                                  */
    {2, 3, 3, 16, 16, 3, 1, {2, 2, 2, 2}},
    {1, 16, 16, 64, 96, 4, 1, {1, 1, 1, 1}}, /* PatchGAN: F(3,4)                        */
    {2, 9, 12, 16, 16, 4, 1, {1, 2, 1, 2}},
    {1, 6, 5, 32, 16, 4, 1, {0, 0, 3, 3}},
};

/* More points to evaluate at: larger numbers that cancel. */
static double wino_limit(const gd__wino_shape *s) { return s->n <= 4 ? 3e-6 : s->n == 5 ? 1e-5 : 2e-5; }

static void run_planned(const gd__wino *plan, const float *a, const float *b, float *out, char name[64],
                        double *limit) {
    snprintf(name, 64, "winograd F(%d,%d)%s %s", plan->shape.m, plan->shape.taps, plan->by_panel ? " by panel" : "",
             plan->kernels->name);
    *limit = wino_limit(&plan->shape);
    char *scratch = rig_alloc(plan->scratch_bytes);
    gd__wino_run(plan, a, b, out, scratch);
    free(scratch);
}

static bool run_wino(const gd_dnnl_conv *c, const gd__wino_kernels *set, int threads, const float *a, const float *b,
                     float *out, char name[64], double *limit) {
    gd__wino plan;
    if (!gd__wino_plan(c, set, threads, &plan)) return false;
    run_planned(&plan, a, b, out, name, limit);
    return true;
}

static bool run_wino_other(const gd_dnnl_conv *c, const gd__wino_kernels *set, int threads, const float *a,
                           const float *b, float *out, char name[64], double *limit) {
    gd__wino plan;
    if (!gd__wino_plan_other(c, set, threads, &plan)) return false;
    run_planned(&plan, a, b, out, name, limit);
    return true;
}

static void test_wino(void **state) {
    (void)state;
    const gd__wino_kernels *set[3];
    int sets = gd__wino_usable(set);
    for (size_t i = 0; i < sizeof wino_cases / sizeof wino_cases[0]; i++)
        for (int s = 0; s < sets; s++)
            for (gd_dnnl_pass pass = GD_DNNL_FORWARD; pass <= GD_DNNL_BACKWARD_WEIGHTS; pass++) {
                gd_dnnl_conv c = conv_of(&wino_cases[i], pass);
                assert_true(check(run_wino, &c, set[s]));
                assert_int_equal(check(run_wino_other, &c, set[s]), c.r == 3 || c.stride == 2);
            }
}

/* ---- few channels ---- */

static const conv_case thin_cases[] = {
    {2, 16, 16, 3, 64, 4, 2, {1, 1, 1, 1}}, /* DCGAN, first layer                 */
    {1, 38, 22, 3, 64, 7, 1, {0, 0, 0, 0}}, /* ResNet stem and head               */
    {1, 38, 22, 64, 3, 7, 1, {0, 0, 0, 0}}, {1, 40, 13, 32, 3, 7, 1, {3, 3, 3, 3}},
    {2, 15, 15, 96, 1, 4, 1, {1, 1, 1, 1}}, /* PatchGAN, last layer               */
    {3, 12, 12, 6, 64, 4, 2, {1, 1, 1, 1}}, /* two images side by side            */
    {2, 9, 11, 3, 96, 3, 1, {1, 1, 1, 1}},  {2, 9, 11, 96, 5, 3, 1, {1, 1, 1, 1}},
    {1, 40, 7, 8, 32, 3, 3, {2, 1, 0, 2}}, /* uneven, rows that no output uses   */
    {1, 5, 4, 32, 8, 5, 1, {4, 4, 4, 4}},  /* narrower than a group of pixels    */
    {4, 4, 4, 1, 32, 4, 1, {0, 0, 0, 0}},  /* one output                         */
    {1, 6, 6, 2, 32, 2, 1, {1, 1, 1, 1}},
};

static bool run_thin(const gd_dnnl_conv *c, const gd__wino_kernels *set, int threads, const float *a, const float *b,
                     float *out, char name[64], double *limit) {
    gd__thin plan;
    if (!gd__thin_plan(c, set, threads, &plan)) return false;
    snprintf(name, 64, "%s channels %s", plan.flip ? "to few" : "from few", set->name);
    *limit = 2e-6;
    char *scratch = rig_alloc(plan.scratch_bytes);
    gd__thin_run(&plan, a, b, out, scratch);
    free(scratch);
    return true;
}

static void test_thin(void **state) {
    (void)state;
    const gd__wino_kernels *set[3];
    int sets = gd__wino_usable(set);
    for (size_t i = 0; i < sizeof thin_cases / sizeof thin_cases[0]; i++)
        for (int s = 0; s < sets; s++)
            for (gd_dnnl_pass pass = GD_DNNL_FORWARD; pass <= GD_DNNL_BACKWARD_WEIGHTS; pass++) {
                gd_dnnl_conv c = conv_of(&thin_cases[i], pass);
                /* The wide result of a thin operand is left to oneDNN. */
                bool mine = pass == GD_DNNL_BACKWARD_WEIGHTS || (pass == GD_DNNL_FORWARD) == (c.k < c.c);
                assert_int_equal(check(run_thin, &c, set[s]), mine);
            }
}

/* ---- small maps ---- */

/* Channels are whole columns of every instruction set's kernel: of 32. */
static const conv_case small_cases[] = {
    {1, 2, 2, 64, 32, 4, 2, {1, 1, 1, 1}}, /* U-Net, innermost: most taps fall into the padding        */
    {1, 4, 4, 96, 68, 4, 2, {1, 1, 1, 1}}, /* filters behind a whole block of the data pass            */
    {1, 16, 16, 32, 64, 4, 2, {1, 1, 1, 1}},
    {3, 5, 7, 32, 20, 4, 2, {2, 1, 0, 3}}, /* padding of every kind, odd                               */
    {2, 3, 5, 64, 12, 4, 1, {1, 2, 1, 2}},
    {1, 7, 7, 32, 4, 3, 1, {1, 1, 1, 1}},
    {1, 9, 4, 32, 28, 3, 2, {0, 1, 0, 1}},
    {5, 1, 1, 160, 36, 1, 1, {0, 0, 0, 0}},
    {2, 7, 6, 32, 8, 1, 2, {0, 0, 0, 0}}, /* pixels that no output uses */
    {1, 3, 3, 32, 132, 2, 1, {0, 0, 0, 0}},
    {2, 5, 5, 32, 12, 2, 2, {0, 0, 0, 0}},
    {1, 6, 5, 32, 16, 2, 1, {1, 1, 1, 1}},
    {1, 10, 10, 32, 8, 3, 3, {0, 0, 0, 0}}, /* stride 3, uneven         */
    {1, 1, 1, 32, 4, 4, 2, {2, 2, 2, 2}},   /* one pixel, more of the padding                           */
    {1, 4, 4, 512, 8, 4, 1, {0, 0, 0, 0}},  /* one output                                               */
    {1, 2, 2, 32, 7, 4, 2, {1, 1, 1, 1}},
    {1, 5, 3, 64, 67, 3, 2, {1, 1, 1, 1}}, /* filters of no even number */
};

static bool run_small(const gd_dnnl_conv *c, const gd__wino_kernels *set, int threads, const float *a, const float *b,
                      float *out, char name[64], double *limit) {
    gd__small plan;
    if (!gd__small_plan(c, set, threads, &plan)) return false;
    snprintf(name, 64, "products by tap %s", set->name);
    *limit = 2e-6;
    char *scratch = rig_alloc(plan.scratch_bytes);
    gd__small_run(&plan, a, b, out, scratch);
    free(scratch);
    return true;
}

static void test_small(void **state) {
    (void)state;
    const gd__wino_kernels *set[3];
    int sets = gd__wino_usable(set);
    for (size_t i = 0; i < sizeof small_cases / sizeof small_cases[0]; i++)
        for (int s = 0; s < sets; s++)
            for (gd_dnnl_pass pass = GD_DNNL_FORWARD; pass <= GD_DNNL_BACKWARD_WEIGHTS; pass++) {
                gd_dnnl_conv c = conv_of(&small_cases[i], pass);
                /* The forward pass takes four filters together. */
                assert_int_equal(check(run_small, &c, set[s]), pass != GD_DNNL_FORWARD || c.k % 4 == 0);
            }
}

/* More threads than there is work: some get none, every element is written. */
static void test_many_threads(void **state) {
    (void)state;
    const gd__wino_kernels *set[3];
    gd__wino_usable(set);
    for (gd_dnnl_pass pass = GD_DNNL_FORWARD; pass <= GD_DNNL_BACKWARD_WEIGHTS; pass++) {
        gd_dnnl_conv c = conv_of(&(conv_case){1, 2, 2, 32, 4, 4, 1, {1, 2, 1, 2}}, pass);
        int64_t count = pass == GD_DNNL_FORWARD ? 4 * 4 : pass == GD_DNNL_BACKWARD_DATA ? 4 * 32 : 4 * 16 * 32;
        float *a = conv_numbers(4 * 32, 1), *b = conv_numbers(4 * 16 * 32, 2), *out[2];
        const int threads[2] = {1, 61};
        char name[64];
        double limit;
        for (int i = 0; i < 2; i++) {
            out[i] = rig_alloc((size_t)count * sizeof *out[i]);
            gd__threads_enter(threads[i]);
            assert_true(run_small(&c, set[0], threads[i], a, b, out[i], name, &limit));
        }
        assert_memory_equal(out[0], out[1], (size_t)count * sizeof *out[0]);
        for (int i = 0; i < 2; i++) free(out[i]);
        free(a);
        free(b);
    }
    gd__threads_enter(gd__threads_wanted());
}

/* What it does not take. */
static void test_small_refuses(void **state) {
    (void)state;
    const gd__wino_kernels *set[3];
    int sets = gd__wino_usable(set);
    gd__small plan;
    static const conv_case never[] = {{1, 4, 4, 33, 8, 4, 2, {1, 1, 1, 1}},    /* channels of no whole columns */
                                      {2, 65, 64, 32, 8, 1, 1, {0, 0, 0, 0}}}; /* too many pixels              */
    for (int s = 0; s < sets; s++)
        for (int i = 0; i < 2; i++) {
            gd_dnnl_conv c = conv_of(&never[i], GD_DNNL_BACKWARD_DATA);
            assert_false(gd__small_plan(&c, set[s], 1, &plan));
        }
}

/* Every set above is one that this processor has: say so where the widest was only compiled. */
static void test_avx512_ran(void **state) {
    (void)state;
    const gd__wino_kernels *set[3];
    gd__wino_usable(set);
    if (strcmp(set[0]->name, "avx512")) {
        print_message("this processor has no AVX-512: those kernels were compiled and not run\n");
        skip();
    }
    for (int i = 0; i < n_conv_errors; i++)
        if (strstr(conv_errors[i].name, "avx512")) return;
    fail_msg("no case ran with AVX-512");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wino),          cmocka_unit_test(test_thin),
                                       cmocka_unit_test(test_small),         cmocka_unit_test(test_many_threads),
                                       cmocka_unit_test(test_small_refuses), cmocka_unit_test(test_avx512_ran)};
    return cmocka_run_group_tests(tests, NULL, conv_print_errors);
}
