/* Penalties on the discriminator's slope: second derivatives against finite differences for every kind,
 * critics whose slope is known, every n-th step, a part of the samples, shards, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/models_check.h"

static const gd_layer_spec smooth_d[] = {
    {.kind = "conv", .size = 3, .kernel = 4, .stride = 2, .pad = 1, .norm = "layer", .act = "tanh", .bias = -1},
    {.kind = "avgpool"},
    {.kind = "conv", .size = 1, .pad = -1, .bias = -1}, /* a map of verdicts */
};
static const gd_layer_spec linear_d[] = {{.kind = "dense", .size = 1, .bias = 0}};
enum { PIXELS = 16 };

/* An mlp and a critic; norm: of dcgan's critic, NULL: a list of layers. */
static gd_gan_spec spec_of(const char *arch, const char *norm, gd_penalty_spec p) {
    int64_t side = !strcmp(arch, "mlp") ? 4 : !strcmp(arch, "dcgan") ? 16 : 8;
    gd_net_spec net = {.arch = "mlp", .latent = 5, .height = side, .width_px = side, .channels = 1, .width = 3};
    gd_gan_spec s = {.generator = net, .discriminator = net, .global_batch = CHECK_BATCH, .penalty = p};
    s.loss.kind = GD_LOSS_WASSERSTEIN;
    s.sync = true;
    s.discriminator.arch = arch;
    s.discriminator.norm = norm;
    if (!strcmp(arch, "layers")) {
        s.discriminator.width = 0;
        s.discriminator.layers = smooth_d;
        s.discriminator.layer_count = 3;
    }
    return s;
}

/* D(x) = w.x, for which every point has the slope w. */
static gd_gan_spec linear(gd_penalty_spec p) {
    gd_gan_spec s = spec_of("mlp", NULL, p);
    s.discriminator.arch = "layers";
    s.discriminator.width = 0;
    s.discriminator.layers = linear_d;
    s.discriminator.layer_count = 1;
    return s;
}

static const gd_penalty_spec kinds[] = {
    {.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1},
    {.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 0.5, .at = GD_PENALTY_AT_REAL},
    {.kind = GD_PENALTY_GRADIENT, .lambda = 2, .target = 0, .at = GD_PENALTY_AT_FAKE},
    {.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 0.1, .one_sided = true},
    {.kind = GD_PENALTY_R1, .lambda = 5},
    {.kind = GD_PENALTY_DRAGAN, .lambda = 10, .target = 1},
    {.kind = GD_PENALTY_DRAGAN, .lambda = 3, .target = 0.2, .one_sided = true},
    {.kind = GD_PENALTY_GRADIENT, .lambda = 10, .target = 1, .pick = 2},
    {.kind = GD_PENALTY_DRAGAN, .lambda = 10, .target = 1, .pick = 2, .every = 3},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static void gradients(gd_gan_spec s) {
    gd_gan *m = check_make(s);
    check_gradients_of(m, GD_STEP_D);
    gd_gan_free(m);
}

/* The loss contains a gradient: its own gradient is of second order. */
static void second_order(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) gradients(spec_of("layers", NULL, kinds[k]));
    gradients(spec_of("mlp", NULL, kinds[0]));
    gradients(spec_of("dcgan", "none", kinds[0]));
    gradients(spec_of("dcgan", "layer", kinds[1]));
    gradients(spec_of("dcgan", "instance", kinds[4]));
}

static void shards_change_nothing(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        gd_gan *m = check_make(spec_of("layers", NULL, kinds[k]));
        check_shards_of(m, GD_STEP_D);
        gd_gan_free(m);
    }
}

/* ---- known slopes ---- */

/* The metrics of a critic with weights w; gradient: of D's loss beyond the Wasserstein part. */
static void linear_step(gd_penalty_spec p, const double *w, double *penalty, double *norm, double *gradient) {
    double plain[PIXELS];
    gd_gan *m = check_make(linear(p));
    rig *r = check_open(m, GD_STEP_D, 1);
    rig_set(r, 0, "D/main.0.weight", w);
    check_run(r, m, CHECK_BATCH);
    *penalty = rig_metric(r, "penalty");
    *norm = rig_metric(r, "slope_norm");
    rig_get(r, 0, "grad:D/main.0.weight", gradient);
    rig_free(r);
    gd_gan_free(m);
    m = check_make(linear((gd_penalty_spec){0}));
    r = check_open(m, GD_STEP_D, 1);
    rig_set(r, 0, "D/main.0.weight", w);
    check_run(r, m, CHECK_BATCH);
    assert_int_equal(rig_find(r, "metric:penalty"), -1);
    rig_get(r, 0, "grad:D/main.0.weight", plain);
    for (int i = 0; i < PIXELS; i++) gradient[i] -= plain[i];
    rig_free(r);
    gd_gan_free(m);
}

/* scale: the length of w is scale times 2. */
static void check_linear(gd_penalty_spec p, double scale) {
    double w[PIXELS], gradient[PIXELS], length = 0, penalty, norm;
    rig_numbers(7, PIXELS, 1, 0, w);
    for (int i = 0; i < PIXELS; i++) length += w[i] * w[i];
    for (int i = 0; i < PIXELS; i++) w[i] *= 2 * scale / sqrt(length);
    length = 2 * scale;
    linear_step(p, w, &penalty, &norm, gradient);
    double off = length - p.target, cost = off * off, slope = 2 * off / length;
    if (p.one_sided && off < 0) cost = slope = 0;
    if (p.kind == GD_PENALTY_R1) {
        cost = length * length / 2;
        slope = 1;
    }
    double lambda = p.lambda * (double)(p.every > 1 ? p.every : 1);
    check_near("penalty", penalty, lambda * cost, 1e-9);
    check_near("slope_norm", norm, length, 1e-9);
    for (int i = 0; i < PIXELS; i++) check_near("gradient", gradient[i], lambda * slope * w[i], 1e-8);
}

static void known_slopes(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        check_linear(kinds[k], 1);
        check_linear(kinds[k], 0.03); /* shorter than most targets */
    }
}

/* ---- every n-th program, some of the samples ---- */

static void only_in_some_programs(void **state) {
    (void)state;
    gd_penalty_spec p = kinds[4];
    gd_gan *always = check_make(spec_of("layers", NULL, p));
    p.every = 16;
    gd_gan *lazy = check_make(spec_of("layers", NULL, p));
    gd_gan *never = check_make(spec_of("layers", NULL, (gd_penalty_spec){0}));
    rig *a = check_open(always, GD_STEP_D, 1), *b = check_open(lazy, GD_STEP_D, 1);
    rig *without = check_open_on("ref", lazy, GD_STEP_D, false, 1), *none = check_open(never, GD_STEP_D, 1);
    rig *still = check_open_on("ref", always, GD_STEP_D, false, 1); /* every 1: the flag says nothing */
    check_run(a, always, CHECK_BATCH);
    check_run(b, lazy, CHECK_BATCH);
    check_run(without, lazy, CHECK_BATCH);
    check_run(none, never, CHECK_BATCH);
    check_run(still, always, CHECK_BATCH);
    check_near("penalty", rig_metric(b, "penalty"), 16 * rig_metric(a, "penalty"), 1e-9);
    check_outputs(none, without, 1e-12);
    check_outputs(a, still, 1e-12);
    rig *list[] = {a, b, without, none, still};
    for (int i = 0; i < 5; i++) rig_free(list[i]);
    gd_gan *gans[] = {always, lazy, never};
    for (int i = 0; i < 3; i++) gd_gan_free(gans[i]);
}

static double flops(gd_gan *m, gd_step_kind kind, bool with_penalty) {
    gd_step_graph s;
    rig_ok(gd_gan_step(m, kind, with_penalty, 1, &s));
    rig *r = rig_new(&s, "ref");
    double n = gd_program_get_stats(r->program).flops;
    rig_free(r);
    gd_step_graph_free(&s);
    return n;
}

/* Each choice looks at other samples; together they look at all, and each costs its part only. */
static void part_of_the_samples(void **state) {
    (void)state;
    for (int k = 0; k < 6; k++) {
        gd_penalty_spec p = kinds[k];
        gd_gan *all = check_make(spec_of("layers", NULL, p));
        p.pick = 4;
        gd_gan *some = check_make(spec_of("layers", NULL, p));
        rig *a = check_open(all, GD_STEP_D, 1), *b = check_open(some, GD_STEP_D, 2);
        double sum = 0, norm = 0, first = 0;
        check_run(a, all, CHECK_BATCH);
        for (int i = 0; i < 4; i++) {
            double which[4] = {0};
            which[i] = 1;
            rig_set(b, -1, "control:pick", which);
            rig_fill_gan(b, some, 0.5);
            check_run(b, some, CHECK_BATCH / 2);
            sum += rig_metric(b, "penalty") / 4;
            norm += rig_metric(b, "slope_norm") / 4;
            if (i) assert_true(fabs(first - rig_metric(b, "penalty")) > 1e-6);
            else first = rig_metric(b, "penalty");
        }
        check_near("penalty", sum, rig_metric(a, "penalty"), 1e-9);
        check_near("slope_norm", norm, rig_metric(a, "slope_norm"), 1e-9);
        p.every = 2;
        gd_gan *lazy = check_make(spec_of("layers", NULL, p));
        double without = flops(lazy, GD_STEP_D, false), part = flops(some, GD_STEP_D, true) - without;
        if (k == 0) assert_true(fabs(4 * part - (flops(all, GD_STEP_D, true) - without)) < 1); /* no pass is shared */
        assert_true(part > 0 && part < without);
        rig_free(a);
        rig_free(b);
        gd_gan_free(all);
        gd_gan_free(some);
        gd_gan_free(lazy);
    }
}

/* Points that are real samples need no pass of their own: D's pass over real samples is the same one. */
static void real_points_share_the_pass(void **state) {
    (void)state;
    gd_gan *between = check_make(spec_of("layers", NULL, kinds[0]));
    gd_gan *real = check_make(spec_of("layers", NULL, kinds[4]));
    assert_true(flops(real, GD_STEP_D, true) < flops(between, GD_STEP_D, true));
    assert_true(flops(real, GD_STEP_G, true) == flops(between, GD_STEP_G, true));
    gd_gan_free(between);
    gd_gan_free(real);
}

/* ---- refusals ---- */

static void refuse(gd_gan_spec s, const char *part, const char *part2) {
    gd_gan *m = NULL;
    rig_refused(gd_gan_new(&s, &m), GD_CONFIG, part, part2, NULL);
    assert_null(m);
}

static void refuse_penalty(gd_penalty_spec p, const char *part, const char *part2) {
    refuse(spec_of("layers", NULL, p), part, part2);
}

static void refusals(void **state) {
    (void)state;
    refuse(spec_of("dcgan", "batch", kinds[0]), "loss.penalty", "discriminator.norm none, layer or instance");
    refuse_penalty((gd_penalty_spec){.kind = GD_PENALTY_R1}, "lambda 0", "more than 0");
    refuse_penalty((gd_penalty_spec){.kind = GD_PENALTY_R1, .lambda = (double)NAN}, "lambda nan", NULL);
    refuse_penalty((gd_penalty_spec){.kind = GD_PENALTY_GRADIENT, .lambda = 1, .target = -1}, "target -1", NULL);
    refuse_penalty((gd_penalty_spec){.kind = GD_PENALTY_R1, .lambda = 1, .every = -2}, "every -2", "at least 1");
    refuse_penalty((gd_penalty_spec){.kind = GD_PENALTY_R1, .lambda = 1, .at = GD_PENALTY_AT_REAL}, "loss.penalty.at",
                   "only kind gradient");
    refuse_penalty((gd_penalty_spec){.kind = GD_PENALTY_R1, .lambda = 1, .one_sided = true}, "loss.penalty.one_sided",
                   "r1");
    static const gd_layer_spec drops[] = {{.kind = "dropout"}, {.kind = "dense", .size = 1, .bias = 1}};
    gd_gan_spec s = spec_of("layers", NULL, kinds[7]);
    s.discriminator.layers = drops;
    s.discriminator.layer_count = 2;
    refuse(s, "loss.penalty.fraction", "dropout");
    gd_gan *m = check_make(spec_of("layers", NULL, kinds[7]));
    gd_step_graph step;
    rig_refused(gd_gan_step(m, GD_STEP_D, true, 8, &step), GD_CONFIG, "loss.penalty.fraction", "one of 2 samples",
                "batch.global 16", NULL);
    rig_ok(gd_gan_step(m, GD_STEP_G, true, 8, &step)); /* has no penalty */
    gd_step_graph_free(&step);
    gd_gan_free(m);
    s = spec_of("layers", NULL, kinds[7]);
    s.global_batch = 9;
    s.penalty.pick = 4;
    m = check_make(s);
    rig_refused(gd_gan_step(m, GD_STEP_D, true, 1, &step), GD_CONFIG, "batch.global 8 or 12", NULL);
    gd_gan_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_order),
        cmocka_unit_test(shards_change_nothing),
        cmocka_unit_test(known_slopes),
        cmocka_unit_test(only_in_some_programs),
        cmocka_unit_test(part_of_the_samples),
        cmocka_unit_test(real_points_share_the_pass),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
