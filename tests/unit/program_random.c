/* tests/unit/program_random.c -- random graphs: however a program is planned, it computes the same.
 *
 * The oracle is the same graph without phases on `ref`, one node a step, every value in memory of its
 * own; parameters that are updated at the pause are parameters of their own there. */
#include "program_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { POOL_MAX = 96, OUT_MAX = 8, COUNT_MAX = 3000, GRAPHS = 200 };
static const double TOLERANCE = 1e-3; /* f32 against f64 through some 30 ops of slope about 1 */

typedef struct maker {
    gd_graph *g;
    gd_rng rng;
    uint64_t drawn;
    bool flat; /* no phases; version 1 of a parameter is another parameter */
    int phase;
    int n;
    gd_node pool[POOL_MAX];
    int n_params;
    char name[OUT_MAX][16];
    int n_out;
    gd_output out[OUT_MAX];
    int out_phase[OUT_MAX];
} maker;

static int draw(maker *m, int bound) { return (int)gd_rng_below(&m->rng, m->drawn++, (uint64_t)bound); }
static gd_node any(maker *m) { return m->pool[draw(m, m->n)]; }
static gd_shape shape(const maker *m, gd_node n) { return gd_node_shape(m->g, n); }

static void keep(maker *m, gd_node n) {
    assert_int_not_equal(n, GD_NONE);
    if (m->n < POOL_MAX && gd_shape_count(shape(m, n)) <= COUNT_MAX) m->pool[m->n++] = n;
}

/* A node of this shape; x itself if there is no other. */
static gd_node like(maker *m, gd_node x) {
    int start = draw(m, m->n);
    for (int i = 0; i < m->n; i++) {
        gd_node n = m->pool[(start + i) % m->n];
        if (gd_shape_equal(shape(m, n), shape(m, x))) return n;
    }
    return x;
}

static gd_node of_rank(maker *m, int rank) {
    int start = draw(m, m->n);
    for (int i = 0; i < m->n; i++)
        if (shape(m, m->pool[(start + i) % m->n]).rank == rank) return m->pool[(start + i) % m->n];
    return GD_NONE;
}

/* A parameter that is updated at the pause. */
static gd_node updated(maker *m, int which, int version) {
    const gd_shape s[2] = {gd_shape4(1, 1, 1, 3), gd_shape4(2, 4, 4, 3)};
    char name[16];
    snprintf(name, sizeof name, "u%d%s", which, m->flat && version ? ".1" : "");
    return gd_param(m->g, name, s[which], m->flat ? 0 : version);
}

static gd_node fresh_param(maker *m, gd_shape s) {
    char name[16];
    snprintf(name, sizeof name, "w%d", m->n_params++);
    return gd_param(m->g, name, s, 0);
}

/* All values stay near 1 and all derivatives, too, so that rounding does not grow. */
static gd_node unary(maker *m, gd_node x) {
    switch (draw(m, 9)) {
    case 0: return gd_neg(m->g, x);
    case 1: return gd_abs(m->g, x);
    case 2: return gd_square(m->g, gd_tanh(m->g, x));
    case 3: return gd_sqrt(m->g, gd_shift(m->g, gd_abs(m->g, x), 0.5));
    case 4: return gd_sigmoid(m->g, x);
    case 5: return gd_leaky(m->g, x, 0.2);
    case 6: return gd_clamp(m->g, x, -0.7, 0.9);
    case 7: return gd_exp(m->g, gd_clamp(m->g, x, -2, 0));
    default: return gd_stop(m->g, gd_softplus(m->g, x));
    }
}

static gd_node binary(maker *m, gd_node x) {
    gd_node y = like(m, x);
    switch (draw(m, 6)) {
    case 0: return gd_scale(m->g, gd_add(m->g, x, y), 0.5);
    case 1: return gd_scale(m->g, gd_sub(m->g, x, y), 0.5);
    case 2: return gd_mul(m->g, gd_tanh(m->g, x), y);
    case 3: return gd_max(m->g, x, y);
    case 4: return gd_min(m->g, x, y);
    default: return gd_div(m->g, x, gd_shift(m->g, gd_abs(m->g, y), 1));
    }
}

static gd_node reduce(maker *m, gd_node x) {
    gd_shape s = shape(m, x);
    uint32_t axes = 1 + (uint32_t)draw(m, (1 << s.rank) - 1);
    gd_node mean = gd_mean(m->g, x, axes);
    switch (draw(m, 3)) {
    case 0: return mean;
    case 1: return gd_sub(m->g, x, mean);
    default: return gd_broadcast(m->g, mean, s);
    }
}

static gd_node reshape(maker *m, gd_node x) {
    gd_shape s = shape(m, x);
    if (s.rank == 4) return gd_reshape(m->g, x, gd_shape2(s.dim[0], s.dim[1] * s.dim[2] * s.dim[3]));
    if (s.dim[1] % 4) return gd_reshape(m->g, x, gd_shape4(s.dim[0], 1, 1, s.dim[1]));
    return gd_reshape(m->g, x, gd_shape4(s.dim[0], 2, 2, s.dim[1] / 4));
}

static gd_node move(maker *m, gd_node x) {
    gd_shape s = shape(m, x);
    static const int turn4[4] = {0, 3, 1, 2}, turn2[4] = {1, 0, 0, 0};
    const int64_t none[4] = {0}, one[4] = {0, 1, 0, 0};
    int64_t half[4] = {0};
    for (int i = 0; i < s.rank; i++) half[i] = s.dim[i] > 1 ? s.dim[i] / 2 : 1;
    switch (draw(m, 5)) {
    case 0: return gd_permute(m->g, x, s.rank == 4 ? turn4 : turn2);
    case 1: return gd_slice(m->g, x, none, half);
    case 2: return gd_pad(m->g, x, one, none);
    case 3: return gd_concat(m->g, x, like(m, x), s.rank - 1);
    default: return s.rank == 4 ? gd_upsample(m->g, x, 2) : gd_neg(m->g, x);
    }
}

static gd_node heavy(maker *m) {
    if (draw(m, 2)) {
        gd_node x = of_rank(m, 2);
        if (x == GD_NONE) x = reshape(m, any(m));
        if (shape(m, x).rank != 2) return x;
        int64_t l = shape(m, x).dim[1];
        return gd_scale(m->g, gd_matmul(m->g, x, fresh_param(m, gd_shape2(l, 8)), false, false), 1 / sqrt((double)l));
    }
    gd_node x = of_rank(m, 4);
    int64_t c = shape(m, x).dim[3];
    gd_node w = fresh_param(m, gd_shape4(3, 3, 3, c));
    return gd_scale(m->g, gd_conv(m->g, x, w, (gd_conv_attr){1, {1, 1, 1, 1}}), 1 / sqrt(9 * (double)c));
}

static void next_phase(maker *m) {
    if (m->phase == 1) return;
    m->phase = 1;
    if (!m->flat) gd_graph_set_phase(m->g, 1);
    for (int which = 0; which < 2; which++) keep(m, gd_tanh(m->g, updated(m, which, 1)));
}

static void step(maker *m) {
    gd_node x = any(m);
    switch (draw(m, 16)) {
    case 0:
    case 1:
    case 2: keep(m, unary(m, x)); break;
    case 3:
    case 4:
    case 5: keep(m, binary(m, x)); break;
    case 6:
    case 7:
    case 8: keep(m, reduce(m, x)); break;
    case 9: keep(m, reshape(m, x)); break;
    case 10:
    case 11: keep(m, move(m, x)); break;
    case 12: keep(m, heavy(m)); break;
    case 13: keep(m, gd_scale(m->g, gd_allreduce(m->g, x), 0.5)); break;
    case 14: {
        int version = m->phase && draw(m, 3); /* the old one in the later phase, sometimes */
        gd_node small = updated(m, 0, version), large = updated(m, 1, version);
        keep(m, draw(m, 2) ? reshape(m, large) : gd_add(m->g, gd_broadcast(m->g, small, shape(m, large)), large));
        break;
    }
    default: keep(m, gd_random(m->g, GD_RANDOM_NORMAL, GD_PURPOSE_TEST, gd_shape4(2, 4, 4, 3))); break;
    }
}

static void add_output(maker *m, const char *name, gd_node n, int phase) {
    snprintf(m->name[m->n_out], sizeof m->name[0], "%s", name);
    m->out_phase[m->n_out] = phase;
    m->out[m->n_out] = (gd_output){m->name[m->n_out], n};
    m->n_out++;
}

static void choose_outputs(maker *m, int *phase_of) {
    int count = 1 + draw(m, OUT_MAX - 2);
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%d", i);
        int at = i ? draw(m, m->n) : m->n - 1;
        add_output(m, name, m->pool[at], phase_of[at]);
    }
    gd_node p = gd_param(m->g, "p", gd_shape4(2, 4, 4, 3), 0), next = like(m, p);
    add_output(m, "p", next, 2); /* a parameter's new value: at the end of the run */
}

static void make(maker *m, uint64_t seed, bool flat) {
    *m = (maker){.g = prog_graph(2), .rng = {seed, GD_PURPOSE_TEST, 0}, .flat = flat};
    int phase_of[POOL_MAX];
    keep(m, gd_input(m->g, "x", GD_F32, gd_shape4(2, 4, 4, 3)));
    keep(m, gd_param(m->g, "p", gd_shape4(2, 4, 4, 3), 0));
    keep(m, gd_tanh(m->g, updated(m, 0, 0)));
    keep(m, updated(m, 1, 0));
    keep(m, gd_reshape(m->g, updated(m, 1, 0), gd_shape2(2, 48)));
    int steps = 5 + draw(m, 40), turn = draw(m, 2) ? steps / 2 : steps + 1, seen = 0;
    for (int i = 0; i < steps; i++) {
        if (i == turn) next_phase(m);
        step(m);
        for (; seen < m->n; seen++) phase_of[seen] = m->phase;
    }
    choose_outputs(m, phase_of);
    prog_ok(gd_graph_status(m->g));
}

/* ---- runs ---- */

typedef struct result {
    double *value[OUT_MAX];
    int64_t count[OUT_MAX];
} result;

typedef struct watch {
    const maker *m;
    result *r;
} watch;

static void take(const prog *p, const maker *m, result *r, int o) {
    const char *name = m->out[o].name;
    r->count[o] = prog_count(p, name);
    r->value[o] = malloc((size_t)r->count[o] * sizeof(double));
    for (int64_t k = 0; k < r->count[o]; k++) r->value[o][k] = prog_get(p, name, k);
}

static double update(double x) { return (float)(0.3 - 0.5 * x); }

/* What a trainer does at a pause: takes what is done, reuses the memory, updates parameters. */
static void at_pause(prog *p, int phase, void *ctx) {
    const watch *w = ctx;
    char name[16];
    for (int o = 0; o < w->m->n_out; o++) {
        if (w->m->out_phase[o] >= phase) continue;
        take(p, w->m, w->r, o);
        for (int64_t k = 0; k < w->r->count[o]; k++) prog_set(p, w->m->out[o].name, k, NAN);
    }
    for (int which = 0; which < 2; which++) {
        snprintf(name, sizeof name, "u%d", which);
        if (prog_find(p, name) < 0) continue;
        for (int64_t k = 0; k < prog_count(p, name); k++) prog_set(p, name, k, update(prog_get(p, name, k)));
    }
}

static void set_flat(prog *p) {
    for (int which = 0; which < 2; which++) {
        char name[16], old[16];
        snprintf(name, sizeof name, "u%d.1", which);
        snprintf(old, sizeof old, "u%d", which);
        for (int64_t k = 0; prog_find(p, name) >= 0 && k < prog_count(p, name); k++)
            prog_set(p, name, k, update(prog_value_of(old, k)));
    }
}

static result run(const maker *m, const char *executor, gd_program_opts o) {
    result r = {0};
    watch w = {m, &r};
    prog p = prog_make(m->g, executor, m->n_out, m->out, o);
    if (m->flat) set_flat(&p);
    if (getenv("GANDIST_TEST_GRAPH")) gd_program_print(p.p, stdout);
    prog_check_memory(&p);
    int served = prog_run(&p, m->flat ? NULL : at_pause, &w);
    assert_int_equal(served, gd_program_get_stats(p.p).collectives);
    for (int i = 0; i < m->n_out; i++)
        if (!r.value[i]) take(&p, m, &r, i);
    prog_free(&p);
    return r;
}

static void release(result *r) {
    for (int o = 0; o < OUT_MAX; o++) free(r->value[o]);
}

/* |a - b| <= tolerance * max(1, |b|); NaN nowhere. Releases a. */
static void compare(uint64_t seed, const char *what, const maker *m, result a, const result *b, double tolerance) {
    for (int o = 0; o < m->n_out; o++) {
        assert_int_equal(a.count[o], b->count[o]);
        for (int64_t k = 0; k < a.count[o]; k++) {
            double x = a.value[o][k], y = b->value[o][k];
            if (fabs(x - y) <= tolerance * fmax(1, fabs(y))) continue;
            fail_msg("graph %d, %s: output %s element %d is %.9g; expected %.9g", (int)seed, what, m->out[o].name,
                     (int)k, x, y);
        }
    }
    release(&a);
}

static void one_graph(uint64_t seed) {
    maker flat, m;
    make(&flat, seed, true);
    make(&m, seed, false);
    result oracle = run(&flat, "ref", (gd_program_opts){.no_fuse = true, .no_reuse = true});
    const gd_program_opts reuse = {0}, no_reuse = {.no_reuse = true}, guard = {.guard = true};
    compare(seed, "ref, phases", &m, run(&m, "ref", no_reuse), &oracle, 0);
    compare(seed, "ref, reuse", &m, run(&m, "ref", reuse), &oracle, 0);
    compare(seed, "ref, guard", &m, run(&m, "ref", guard), &oracle, 0);
    compare(seed, "cpu, single ops", &m, run(&m, "cpu", (gd_program_opts){.no_fuse = true}), &oracle, TOLERANCE);
    result fused = run(&m, "cpu", no_reuse);
    compare(seed, "cpu, reuse", &m, run(&m, "cpu", reuse), &fused, 0);
    compare(seed, "cpu, guard", &m, run(&m, "cpu", guard), &fused, 0);
    compare(seed, "cpu, fused", &m, fused, &oracle, TOLERANCE);
    /* bf16 rounds by 1/256 at every product: only the planning is compared. */
    result half = run(&m, "cpu", (gd_program_opts){.no_reuse = true, .precision = GD_PRECISION_BF16});
    compare(seed, "bf16, guard", &m, run(&m, "cpu", (gd_program_opts){.guard = true, .precision = GD_PRECISION_BF16}),
            &half, 0);
    release(&half);
    release(&oracle);
    gd_graph_free(flat.g);
    gd_graph_free(m.g);
}

static void plans_agree(void **state) {
    (void)state;
    const char *only = getenv("GANDIST_TEST_GRAPH"); /* one graph, to look into a failure */
    printf("graphs 0 to %d; repeat one: GANDIST_TEST_GRAPH=n ctest -R '^program_random$' -V\n", GRAPHS - 1);
    if (only) one_graph((uint64_t)atoi(only));
    for (uint64_t seed = 0; !only && seed < GRAPHS; seed++) one_graph(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
