/* Optimisers: 50 steps against references in double that are written from the formulas, values that
 * follow by hand, schedules, and independence of threads, of how a range is cut and of the instruction set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "base/rng.h"
#include "dist/optimizer.h"
#include "dist/rules.h"

enum { N = 5003 /* more than a thread takes at once */, STEPS = 50 };

static float gradient[STEPS][N], start[N];

static int fill(void **state) {
    (void)state;
    gd_rng rng = {.seed = 11, .purpose = GD_PURPOSE_TEST};
    gd_rng_normal(&rng, 0, 0, N, start);
    for (int s = 0; s < STEPS; s++) {
        gd_rng_normal(&rng, (uint64_t)s + 1, 0, N, gradient[s]);
        for (int i = 0; i < N; i++) gradient[s][i] *= powf(10, (float)(i % 9 - 6)); /* 1e-6 .. 100 */
    }
    return 0;
}

/* ---- references ---- */

typedef struct reference {
    double p[N], a[N], b[N];
} reference;

static double decayed(const gd_optimizer_spec *s, const reference *r, int step, int i, double scale) {
    return gradient[step][i] * scale + s->weight_decay * r->p[i];
}

static double clamp(double x, double c) { return c > 0 ? fmin(fmax(x, -c), c) : x; }

/* Kingma and Ba, algorithm 1: moments corrected, eps outside the root. */
static void adam(const gd_optimizer_spec *s, reference *r, int step, double scale, double clip) {
    double t = step + 1;
    for (int i = 0; i < N; i++) {
        double g = decayed(s, r, step, i, scale);
        r->a[i] = s->beta1 * r->a[i] + (1 - s->beta1) * g;
        r->b[i] = s->beta2 * r->b[i] + (1 - s->beta2) * g * g;
        double m = r->a[i] / (1 - pow(s->beta1, t)), v = r->b[i] / (1 - pow(s->beta2, t));
        r->p[i] = clamp(r->p[i] - s->lr * m / (sqrt(v) + s->eps), clip);
    }
}

static void rmsprop(const gd_optimizer_spec *s, reference *r, int step, double scale, double clip) {
    for (int i = 0; i < N; i++) {
        double g = decayed(s, r, step, i, scale);
        r->a[i] = s->alpha * r->a[i] + (1 - s->alpha) * g * g;
        r->p[i] = clamp(r->p[i] - s->lr * g / (sqrt(r->a[i]) + s->eps), clip);
    }
}

static void sgd(const gd_optimizer_spec *s, reference *r, int step, double scale, double clip) {
    for (int i = 0; i < N; i++) {
        r->a[i] = s->momentum * r->a[i] + decayed(s, r, step, i, scale);
        r->p[i] = clamp(r->p[i] - s->lr * r->a[i], clip);
    }
}

typedef void (*reference_step)(const gd_optimizer_spec *, reference *, int, double, double);

typedef struct run {
    float p[N], m[N], v[N];
} run;

static void follow(const gd_optimizer_spec *s, reference_step step, double scale, double clip) {
    static reference want;
    static run got;
    memset(&want, 0, sizeof want);
    memset(&got, 0, sizeof got);
    int moments = gd_optimizer_moments(s);
    for (int i = 0; i < N; i++) want.p[i] = got.p[i] = start[i];
    for (int t = 0; t < STEPS; t++) {
        step(s, &want, t, scale, clip);
        gd_optimizer_update(s, t + 1, t + 1, scale, clip, N, got.p, gradient[t], moments > 0 ? got.m : NULL,
                            moments > 1 ? got.v : NULL);
        for (int i = 0; i < N; i++) {
            /* A rounding of p a step, and of the update. */
            double moved = fabs(want.p[i] - start[i]),
                   limit = 6e-8 * (t + 1) * fmax(1, fabs(want.p[i])) + 2e-6 * moved + 1e-9;
            if (!(fabs(got.p[i] - want.p[i]) <= limit))
                fail_msg("update %d, element %d: %.9g, not %.9g", t + 1, i, (double)got.p[i], want.p[i]);
        }
    }
}

static const gd_optimizer_spec adam_spec = {.kind = GD_ADAM, .lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8};
static const gd_optimizer_spec rmsprop_spec = {.kind = GD_RMSPROP, .lr = 5e-5, .alpha = 0.99, .eps = 1e-8};
static const gd_optimizer_spec sgd_spec = {.kind = GD_SGD, .lr = 0.1, .momentum = 0.5};

static void adam_follows_its_formula(void **state) {
    (void)state;
    gd_optimizer_spec s = adam_spec;
    follow(&s, adam, 1, 0);
    s.beta1 = 0;
    s.beta2 = 0.9;
    s.weight_decay = 0.01;
    follow(&s, adam, 0.25, 0);
    s.beta1 = 0.9;
    s.eps = 1e-3;
    s.lr = 0.05;
    follow(&s, adam, 1, 0.5);
}

static void rmsprop_follows_its_formula(void **state) {
    (void)state;
    gd_optimizer_spec s = rmsprop_spec;
    follow(&s, rmsprop, 1, 0);
    follow(&s, rmsprop, 1, 0.01);
    s.weight_decay = 0.1;
    s.lr = 1e-2;
    follow(&s, rmsprop, 3, 0);
}

static void sgd_follows_its_formula(void **state) {
    (void)state;
    gd_optimizer_spec s = sgd_spec;
    s.lr = 1e-3;
    follow(&s, sgd, 1, 0);
    s.momentum = 0;
    follow(&s, sgd, 0.5, 0.3);
    s.weight_decay = 0.5;
    follow(&s, sgd, 1, 0);
}

/* ---- by hand ---- */

/* torch.optim.Adam, lr 0.1, betas (0.9, 0.999), p = 1, gradients 0.5 then -0.25:
 * step 1 moves by lr * g/|g|; step 2: m = 0.9*0.05 - 0.025 = 0.02, /0.19 = 0.1052631579;
 * v = 0.999*0.00025 + 0.0000625 = 0.00031225, /0.001999 = 0.1562031016; root 0.3952253808. */
static void adam_as_pytorch_prints_it(void **state) {
    (void)state;
    gd_optimizer_spec s = {.kind = GD_ADAM, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    float p = 1, m = 0, v = 0, g = 0.5f;
    gd_optimizer_update(&s, 1, 1, 1, 0, 1, &p, &g, &m, &v);
    assert_true(fabs(p - 0.9) < 1e-7);
    g = -0.25f;
    gd_optimizer_update(&s, 2, 2, 1, 0, 1, &p, &g, &m, &v);
    assert_true(fabs(p - (0.9 - 0.1 * 0.1052631579 / 0.3952253808)) < 2e-7);
    assert_true(fabs(v - 0.00031225) < 1e-10); /* 1 - beta2 is 0.001, not 1 - 0.999f */
}

/* g = 2: v = 0.01 * 4, root 0.2: p moves by lr * 10. */
static void rmsprop_starts_at_zero(void **state) {
    (void)state;
    gd_optimizer_spec s = {.kind = GD_RMSPROP, .lr = 0.01, .alpha = 0.99, .eps = 1e-8};
    float p = 0, v = 0, g = 2;
    gd_optimizer_update(&s, 1, 1, 1, 0, 1, &p, &g, &v, NULL);
    assert_true(fabs(p + 0.1) < 1e-7);
}

static void momentum_adds_up(void **state) {
    (void)state;
    gd_optimizer_spec s = {.kind = GD_SGD, .lr = 1, .momentum = 0.5};
    float p = 0, v = 0, g = 1;
    static const float want[] = {-1, -2.5f, -4.25f};
    for (int t = 0; t < 3; t++) {
        gd_optimizer_update(&s, t + 1, t + 1, 1, 0, 1, &p, &g, &v, NULL);
        assert_true(p == want[t]);
    }
}

static void clipping_clamps_after_the_update(void **state) {
    (void)state;
    gd_optimizer_spec s = {.kind = GD_SGD, .lr = 1};
    float p[] = {0.005f, 0.5f, -3, 0}, g[] = {-1, 0.495f, 0, NAN};
    gd_optimizer_update(&s, 1, 1, 1, 0.01, 4, p, g, NULL, NULL);
    assert_true(p[0] == 0.01f && fabsf(p[1] - 0.005f) < 1e-6f && p[2] == -0.01f);
    assert_true(isnan(p[3])); /* never hidden */
}

static void padding_stays_zero(void **state) {
    (void)state;
    const gd_optimizer_spec all[] = {adam_spec, rmsprop_spec, sgd_spec};
    for (int k = 0; k < 3; k++) {
        float p[16] = {0}, g[16] = {0}, m[16] = {0}, v[16] = {0};
        for (int t = 1; t <= 3; t++) gd_optimizer_update(&all[k], t, t, 1, 0, 16, p, g, m, v);
        for (int i = 0; i < 16; i++) assert_true(p[i] == 0 && m[i] == 0 && v[i] == 0);
    }
}

/* ---- schedules ---- */

static void learning_rates_decay(void **state) {
    (void)state;
    gd_optimizer_spec s = {.lr = 2e-4};
    assert_true(gd_optimizer_lr(&s, 1000000, 1000000) == 2e-4);
    s.decay = GD_DECAY_LINEAR;
    s.decay_start = 100;
    s.decay_end = 200;
    assert_true(gd_optimizer_lr(&s, 1, 0) == 2e-4 && gd_optimizer_lr(&s, 100, 0) == 2e-4);
    assert_true(fabs(gd_optimizer_lr(&s, 150, 0) - 1e-4) < 1e-18);
    assert_true(fabs(gd_optimizer_lr(&s, 199, 0) - 2e-6) < 1e-18);
    assert_true(gd_optimizer_lr(&s, 200, 0) == 0 && gd_optimizer_lr(&s, 999, 0) == 0);
    /* Goodfellow: 0.1 / 1.000004^update, floor 1e-6 reached after about 2.878 M updates. */
    gd_optimizer_spec e = {.lr = 0.1, .decay = GD_DECAY_EXPONENTIAL, .decay_rate = 1.000004, .lr_floor = 1e-6};
    assert_true(gd_optimizer_lr(&e, 1, 0) == 0.1);
    assert_true(fabs(gd_optimizer_lr(&e, 1, 100000) - 0.1 * exp(-100000 * log(1.000004))) < 1e-12);
    assert_true(gd_optimizer_lr(&e, 1, 2870000) > 1e-6 && gd_optimizer_lr(&e, 1, 2890000) == 1e-6);
}

static void momentum_ramps(void **state) {
    (void)state;
    gd_optimizer_spec s = {.kind = GD_SGD, .momentum = 0.5, .momentum_final = 0.7, .momentum_steps = 100};
    assert_true(gd_optimizer_momentum(&s, 1) == 0.5);
    assert_true(fabs(gd_optimizer_momentum(&s, 51) - 0.6) < 1e-12);
    assert_true(fabs(gd_optimizer_momentum(&s, 101) - 0.7) < 1e-12 &&
                gd_optimizer_momentum(&s, 5000) == gd_optimizer_momentum(&s, 101));
    s.momentum_steps = 0;
    assert_true(gd_optimizer_momentum(&s, 5000) == 0.5);
}

/* The update uses lr and momentum of its own step and number. */
static void updates_use_the_schedules(void **state) {
    (void)state;
    gd_optimizer_spec s = {.kind = GD_SGD,
                           .lr = 1,
                           .decay = GD_DECAY_LINEAR,
                           .decay_start = 0,
                           .decay_end = 4,
                           .momentum = 0,
                           .momentum_final = 1,
                           .momentum_steps = 1};
    float p = 0, v = 8, g = 1;
    gd_optimizer_update(&s, 1, 1, 1, 0, 1, &p, &g, &v, NULL); /* momentum 0, lr 3/4 */
    assert_true(v == 1 && p == -0.75f);
    gd_optimizer_update(&s, 3, 2, 1, 0, 1, &p, &g, &v, NULL); /* momentum 1, lr 1/4 */
    assert_true(v == 2 && p == -1.25f);
    gd_optimizer_spec e = {.kind = GD_SGD, .lr = 1, .decay = GD_DECAY_EXPONENTIAL, .decay_rate = 2};
    p = 0;
    gd_optimizer_update(&e, 9, 3, 1, 0, 1, &p, &g, NULL, NULL); /* third update: 1 / 2^2 */
    assert_true(p == -0.25f);
}

static void moments_by_kind(void **state) {
    (void)state;
    gd_optimizer_spec s = sgd_spec;
    assert_int_equal(gd_optimizer_moments(&adam_spec), 2);
    assert_int_equal(gd_optimizer_moments(&rmsprop_spec), 1);
    assert_int_equal(gd_optimizer_moments(&s), 1);
    s.momentum = 0;
    assert_int_equal(gd_optimizer_moments(&s), 0);
    s.momentum_final = 0.7;
    assert_int_equal(gd_optimizer_moments(&s), 1);
}

/* ---- how a range is cut ---- */

static void update_in_ranges(const gd_optimizer_spec *s, run *r, size_t range) {
    memcpy(r->p, start, sizeof start);
    memset(r->m, 0, sizeof r->m);
    memset(r->v, 0, sizeof r->v);
    for (int t = 0; t < 5; t++)
        for (size_t at = 0; at < N; at += range) {
            size_t n = N - at < range ? N - at : range;
            gd_optimizer_update(s, t + 1, t + 1, 0.7, 0, n, r->p + at, gradient[t] + at, r->m + at, r->v + at);
        }
}

static void ranges_and_threads_do_not_matter(void **state) {
    (void)state;
    const gd_optimizer_spec all[] = {adam_spec, rmsprop_spec, sgd_spec};
    static const size_t ranges[] = {1, 7, 16, 500, N};
    static run whole, other;
    for (int k = 0; k < 3; k++) {
        omp_set_num_threads(1);
        update_in_ranges(&all[k], &whole, N);
        for (int threads = 1; threads <= 3; threads++)
            for (size_t c = 0; c < sizeof ranges / sizeof *ranges; c++) {
                omp_set_num_threads(threads);
                update_in_ranges(&all[k], &other, ranges[c]);
                assert_memory_equal(&whole, &other, sizeof whole);
            }
    }
}

/* ---- instruction sets ---- */

static void follow_rules(const gd__rules *rules, int rule, const gd_optimizer_numbers *u, run *r) {
    memcpy(r->p, start, sizeof start);
    memset(r->m, 0, sizeof r->m);
    memset(r->v, 0, sizeof r->v);
    for (int t = 0; t < 5; t++) {
        if (rule == 0) rules->adam(u, N, r->p, gradient[t], r->m, r->v);
        else if (rule == 1) rules->rmsprop(u, N, r->p, gradient[t], r->m);
        else if (rule == 2) rules->momentum(u, N, r->p, gradient[t], r->m);
        else rules->plain(u, N, r->p, gradient[t]);
    }
}

static void instruction_sets_give_the_same_bits(void **state) {
    (void)state;
    const gd__rules *usable[3];
    int n = gd__rules_usable(usable);
    static run base, other;
    for (int rule = 0; rule < 4; rule++)
        for (int clipped = 0; clipped < 2; clipped++) {
            const gd_optimizer_numbers u =
                gd_optimizer_numbers_of(rule ? &rmsprop_spec : &adam_spec, 3, 3, 0.7, clipped ? 0.5 : 0);
            follow_rules(&gd__rules_base, rule, &u, &base);
            assert_memory_not_equal(base.p, start, sizeof start);
            for (int s = 0; s < n; s++) {
                follow_rules(usable[s], rule, &u, &other);
                assert_memory_equal(&base, &other, sizeof base);
            }
        }
}

/* Sums of blocks: every block once, whatever their number, to a few bits of what extended precision has; and the tree itself, by
 * numbers whose sum in another order is another one. */
static void blocks_are_added_in_a_tree(void **state) {
    (void)state;
    enum { BLOCKS = 1300 };
    static double sum[BLOCKS + 1];
    const gd_rng rng = {.seed = 12, .purpose = GD_PURPOSE_TEST};
    for (size_t n = 0; n <= BLOCKS; n += n < 4 ? 1 : 127) {
        long double want = 0;
        for (size_t i = 0; i < n; i++) want += sum[i] = 1e-3 * (double)(1 + gd_rng_below(&rng, i, 1000000));
        sum[n] = NAN;
        assert_true(fabs(gd_sum_blocks(sum, n) - (double)want) <= 16 * 1.2e-16 * (double)want);
    }
    memset(sum, 0, sizeof sum);
    sum[0] = 1;
    sum[1] = sum[257] = 0x1p-53; /* lane 1 has both before it meets lane 0 */
    assert_true(gd_sum_blocks(sum, 300) == 1 + 0x1p-52);
    sum[257] = 0;
    sum[256] = 0x1p-53; /* lane 0 loses them one by one */
    assert_true(gd_sum_blocks(sum, 300) == 1);
    sum[256] = sum[1] = 0;
    sum[129] = sum[3] = 0x1p-53; /* lanes 129 and 3 go to lane 1 before lane 0 meets that */
    assert_true(gd_sum_blocks(sum, 300) == 1 + 0x1p-52);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_follows_its_formula),
        cmocka_unit_test(rmsprop_follows_its_formula),
        cmocka_unit_test(sgd_follows_its_formula),
        cmocka_unit_test(adam_as_pytorch_prints_it),
        cmocka_unit_test(rmsprop_starts_at_zero),
        cmocka_unit_test(momentum_adds_up),
        cmocka_unit_test(clipping_clamps_after_the_update),
        cmocka_unit_test(padding_stays_zero),
        cmocka_unit_test(learning_rates_decay),
        cmocka_unit_test(momentum_ramps),
        cmocka_unit_test(updates_use_the_schedules),
        cmocka_unit_test(moments_by_kind),
        cmocka_unit_test(ranges_and_threads_do_not_matter),
        cmocka_unit_test(instruction_sets_give_the_same_bits),
        cmocka_unit_test(blocks_are_added_in_a_tree),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
