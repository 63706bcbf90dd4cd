/* tests/unit/program_phases.c -- what a caller sees of a program: versions of parameters, outputs at
 * pauses, collectives, bindings, memory, refusals. On both executors. */
#include "program_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/plan.h"

static const char *const executors[] = {"ref", "cpu"};
static const gd_shape row = {2, {4, 16}};

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-5 * fmax(1, fabs(want)))) fail_msg("%.9g; expected %.9g", got, want);
}

static void negate_w(prog *p, int phase, void *ctx) {
    int *pauses = ctx;
    assert_int_equal(phase, 1);
    if (pauses) ++*pauses;
    for (int64_t k = 0; k < prog_count(p, "w"); k++) prog_set(p, "w", k, -prog_get(p, "w", k));
}

/* Readers of version 0 see what was there before the pause, readers of version 1 what is there after. */
static void versions(const char *executor) {
    gd_graph *g = prog_graph(1);
    gd_node w = gd_param(g, "w", row, 0), x = gd_input(g, "x", GD_F32, row);
    gd_node view = gd_reshape(g, w, gd_shape2(16, 4));
    gd_node scaled = gd_scale(g, w, 3), twice = gd_neg(g, gd_neg(g, w));
    gd_node wide = gd_broadcast(g, gd_reshape(g, gd_sum(g, w, 1), gd_shape2(1, 16)), row);
    gd_graph_set_phase(g, 1);
    gd_node now = gd_param(g, "w", row, 1);
    const gd_output out[] = {
        {"old", gd_scale(g, w, 2)}, /* written in phase 1, reads version 0        */
        {"new", gd_scale(g, now, 2)},
        {"view", gd_permute(g, view, (const int[4]){1, 0})}, /* the only user of a phase 0 view         */
        {"scaled", gd_scale(g, scaled, 2)},                  /* simplify makes this w * 6, in phase 1      */
        {"twice", gd_mul(g, twice, x)},                      /* and this w * x                             */
        {"wide", gd_sub(g, wide, x)},
        {"as_is", w},
        {"latest", now},
    };
    int n = sizeof out / sizeof *out, pauses = 0;
    for (int k = 0; k < 2; k++) {
        prog p = prog_make(g, executor, n, out, (gd_program_opts){.guard = k});
        prog_run(&p, negate_w, &pauses);
        assert_int_equal(pauses, k + 1);
        for (int64_t i = 0; i < 64; i++) {
            double old = prog_value_of("w", i), sum = 0;
            for (int64_t r = 0; r < 4; r++) sum += prog_value_of("w", 16 * r + i % 16);
            near(prog_get(&p, "old", i), 2 * old);
            near(prog_get(&p, "new", i), -2 * old);
            near(prog_get(&p, "view", i), prog_value_of("w", i % 16 * 4 + i / 16));
            near(prog_get(&p, "scaled", i), 6 * old);
            near(prog_get(&p, "twice", i), old * prog_value_of("x", i));
            near(prog_get(&p, "wide", i), sum - prog_value_of("x", i));
            near(prog_get(&p, "as_is", i), old);
            near(prog_get(&p, "latest", i), -old);
        }
        prog_free(&p);
    }
    gd_graph_free(g);
}

/* An update that nothing in the program reads still tells that version 0 ends at the pause. */
static void unread_version(const char *executor) {
    gd_graph *g = prog_graph(1);
    gd_node w = gd_param(g, "w", row, 0), square = gd_square(g, w);
    gd_graph_set_phase(g, 1);
    (void)gd_param(g, "w", row, 1);
    const gd_output out[] = {{"y", gd_shift(g, square, 1)}, {"z", gd_shift(g, w, 1)}};
    prog p = prog_make(g, executor, 2, out, (gd_program_opts){0});
    prog_run(&p, negate_w, NULL);
    for (int64_t i = 0; i < 64; i++) {
        near(prog_get(&p, "y", i), pow(prog_value_of("w", i), 2) + 1);
        near(prog_get(&p, "z", i), prog_value_of("w", i) + 1);
    }
    prog_free(&p);
    gd_graph_free(g);
}

/* New values come after every read; two parameters can change places; one node can be two outputs. */
static void parameter_outputs(const char *executor) {
    gd_graph *g = prog_graph(1);
    gd_node w = gd_param(g, "w", row, 0), e = gd_param(g, "e", row, 0);
    gd_node a = gd_param(g, "a", row, 0), b = gd_param(g, "b", row, 0);
    gd_node next = gd_tanh(g, w); /* read again by the last step, which could write over it */
    gd_node loss = gd_sum_all(g, gd_mul(g, gd_exp(g, next), w));
    const gd_output out[] = {{"same", next},
                             {"w", next},
                             {"loss", loss},
                             {"e", w},
                             {"a", b},
                             {"b", a},
                             {"last", gd_sigmoid(g, gd_mul(g, next, gd_broadcast(g, loss, row)))}};
    prog p = prog_make(g, executor, sizeof out / sizeof *out, out, (gd_program_opts){0});
    (void)e;
    prog_run(&p, NULL, NULL);
    double want = 0;
    for (int64_t i = 0; i < 64; i++) want += exp(tanh(prog_value_of("w", i))) * prog_value_of("w", i);
    near(prog_get(&p, "loss", 0), want);
    for (int64_t i = 0; i < 64; i++) {
        double old = prog_value_of("w", i);
        near(prog_get(&p, "w", i), tanh(old));
        near(prog_get(&p, "same", i), tanh(old));
        near(prog_get(&p, "e", i), old);
        near(prog_get(&p, "a", i), prog_value_of("b", i));
        near(prog_get(&p, "b", i), prog_value_of("a", i));
        near(prog_get(&p, "last", i), 1 / (1 + exp(-tanh(old) * want)));
    }
    prog_free(&p);
    gd_graph_free(g);
}

static void spoil(prog *p, int phase, void *ctx) {
    (void)phase;
    for (int64_t k = 0; k < prog_count(p, "grad"); k++) {
        ((double *)ctx)[k] = prog_get(p, "grad", k);
        prog_set(p, "grad", k, NAN);
    }
}

/* The last step of phase 0 is a collective whose sum is an output that phase 1 reads. */
static void collectives(const char *executor) {
    for (int guard = 0; guard < 2; guard++) {
        gd_graph *g = prog_graph(2);
        gd_node x = gd_input(g, "x", GD_F32, row), sum = gd_allreduce(g, gd_square(g, x));
        gd_graph_set_phase(g, 1);
        gd_node total = gd_allreduce(g, gd_scale(g, sum, 0.5));
        gd_param(g, "w", row, 0);
        const gd_output out[] = {{"grad", sum}, {"w", total}}; /* a copy behind the very last collective */
        prog p = prog_make(g, executor, 2, out, (gd_program_opts){.guard = guard});
        double seen[64];
        assert_int_equal(prog_run(&p, spoil, seen), 2);
        gd_program_stats s = gd_program_get_stats(p.p);
        assert_int_equal(s.collectives, 2);
        assert_int_equal(s.collective_bytes, 2 * 64 * p.x->element_bytes(GD_F32));
        for (int64_t i = 0; i < 64; i++) {
            near(seen[i], 2 * pow(prog_value_of("x", i), 2));
            near(prog_get(&p, "w", i), 2 * pow(prog_value_of("x", i), 2));
            assert_true(isnan(prog_get(&p, "grad", i)));
        }
        prog_free(&p);
        gd_graph_free(g);
    }
}

/* Who serves collectives by a hook is called once for each, in the place of a pause, before anybody reads the sum. */
typedef struct server {
    prog *p;
    int served, refused; /* refused: the call, from 1, that fails */
} server;

static gd_status double_it(void *ctx, float *data, int64_t count) {
    server *s = ctx;
    bool doubles = s->p->x->element_bytes(GD_F32) == sizeof(double);
    if (++s->served == s->refused) GD_FAIL(NCCL, "the sum says no");
    for (int64_t k = 0; k < count; k++) {
        if (doubles) ((double *)(void *)data)[k] *= 2;
        else data[k] *= 2;
    }
    return GD_OK;
}

static void served(const char *executor) {
    gd_graph *g = prog_graph(2);
    gd_node x = gd_input(g, "x", GD_F32, row), sum = gd_allreduce(g, gd_square(g, x));
    const gd_output out = {"y", gd_allreduce(g, gd_square(g, sum))};
    prog p = prog_make(g, executor, 1, &out, (gd_program_opts){.guard = true});
    server s = {.p = &p};
    const gd_run_hooks h = {.ctx = &s, .sum = double_it};
    gd_instance_set_hooks(p.i, &h);
    assert_int_equal(prog_run(&p, NULL, NULL), 0);
    assert_int_equal(s.served, 2);
    for (int64_t i = 0; i < 64; i++) near(prog_get(&p, "y", i), 2 * pow(2 * pow(prog_value_of("x", i), 2), 2));
    s = (server){.p = &p, .refused = 2};
    prog_refused(gd_instance_run(p.i, &(gd_run_args){0}), GD_NCCL, "the sum says no", NULL);
    assert_int_equal(s.served, 2);
    gd_instance_set_hooks(p.i, NULL);
    assert_int_equal(prog_run(&p, NULL, NULL), 2);
    prog_free(&p);
    gd_graph_free(g);
}

/* A program without steps, one whose first phase is empty. */
static void nothing_to_do(const char *executor) {
    gd_graph *g = prog_graph(1);
    gd_output out = {"y", gd_input(g, "x", GD_F32, row)};
    prog p = prog_make(g, executor, 1, &out, (gd_program_opts){0});
    assert_int_equal(gd_program_get_stats(p.p).steps, 0);
    prog_run(&p, NULL, NULL);
    for (int64_t i = 0; i < 64; i++) near(prog_get(&p, "y", i), prog_value_of("x", i));
    prog_free(&p);
    gd_graph_set_phase(g, 1);
    out.node = gd_exp(g, out.node);
    p = prog_make(g, executor, 1, &out, (gd_program_opts){0});
    int pauses = 0;
    gd_param(g, "w", row, 0);
    gd_pause pause;
    prog_ok(gd_instance_start(p.i, &(gd_run_args){0}, &pause));
    for (; pause.kind != GD_PAUSE_DONE; pauses++) prog_ok(gd_instance_resume(p.i, &pause));
    assert_int_equal(pauses, 1);
    near(prog_get(&p, "y", 1), exp(prog_value_of("x", 1)));
    prog_refused(gd_instance_resume(p.i, &pause), GD_INTERNAL, "without a start", NULL);
    prog_free(&p);
    gd_graph_free(g);
}

static void refusals(const char *executor) {
    const gd_executor *x = gd_executor_find(executor);
    gd_graph *g = prog_graph(1);
    gd_node in = gd_input(g, "x", GD_F32, row), y = gd_exp(g, in), w = gd_param(g, "w", row, 0);
    gd_node narrow = gd_sum(g, gd_mul(g, y, w), 1);
    gd_program *p = NULL;
    gd_output out[2] = {{"y", y}, {"y", narrow}};
    prog_refused(gd_program_make(g, x, 2, out, NULL, &p), GD_INTERNAL, "two outputs", "y", NULL);
    prog_refused(gd_program_make(g, x, 1, &(gd_output){"z", 99}, NULL, &p), GD_INTERNAL, "z", "no node", NULL);
    prog_refused(gd_program_make(g, x, 1, &(gd_output){"x", y}, NULL, &p), GD_INTERNAL, "x", "input", NULL);
    prog_refused(gd_program_make(g, x, 1, &(gd_output){"w", narrow}, NULL, &p), GD_SHAPE, "w", "differs", NULL);
    assert_null(p);
    prog_ok(gd_program_make(g, x, 1, out, NULL, &p));
    gd_instance *i = NULL;
    _Alignas(64) char memory[4096];
    prog_refused(gd_instance_make_on(p, memory + 8, &i), GD_INTERNAL, "aligned", NULL);
    prog_ok(gd_instance_make(p, &i));
    prog_refused(gd_instance_bind(i, "x", memory + 4), GD_INTERNAL, "x", "aligned", NULL);
    prog_ok(gd_instance_bind(i, "no such name", memory));
    prog_ok(gd_instance_bind(i, "x", memory));
    prog_refused(gd_instance_run(i, &(gd_run_args){0}), GD_INTERNAL, "nothing is bound to y", NULL);
    gd_instance_free(i);
    gd_program_free(p);
    gd_graph_set_phase(g, 1);
    gd_node late = gd_param(g, "v", row, 1);
    out[0].node = gd_add(g, late, gd_param(g, "v", row, 0));
    prog_refused(gd_program_make(g, x, 1, out, NULL, &p), GD_INTERNAL, "v", "later version", NULL);
    gd_graph_free(g);
    assert_null(gd_executor_find("abacus"));
}

/* Guard bands notice a byte written behind a tensor. */
static void guards(const char *executor) {
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, row), y = gd_permute(g, x, (const int[4]){1, 0});
    gd_output out = {"y", gd_permute(g, gd_exp(g, y), (const int[4]){1, 0})};
    gd_graph_set_phase(g, 1);
    gd_output both[2] = {out, {"z", gd_concat(g, y, y, 0)}};
    prog p = prog_make(g, executor, 2, both, (gd_program_opts){.guard = true});
    gd_pause pause;
    prog_ok(gd_instance_start(p.i, &(gd_run_args){0}, &pause));
    assert_int_equal(pause.kind, GD_PAUSE_PHASE);
    for (int b = 0; b < p.p->n_buffers; b++) /* one that lives across the pause */
        if (p.p->buffer[b].last == p.p->n_steps - 1)
            ((char *)p.arena)[p.p->buffer[b].offset + p.p->buffer[b].bytes] ^= 1;
    prog_ok(gd_instance_resume(p.i, &pause));
    prog_refused(gd_instance_check(p.i), GD_INTERNAL, "permute", "behind", NULL);
    prog_free(&p);
    gd_graph_free(g);
}

static void on_all(void (*test)(const char *)) {
    for (size_t i = 0; i < sizeof executors / sizeof *executors; i++) test(executors[i]);
}
#define ON_ALL(name)                                                                                                   \
    static void test_##name(void **state) {                                                                            \
        (void)state;                                                                                                   \
        on_all(name);                                                                                                  \
    }
ON_ALL(versions)
ON_ALL(unread_version)
ON_ALL(parameter_outputs)
ON_ALL(collectives)
ON_ALL(served)
ON_ALL(nothing_to_do)
ON_ALL(refusals)
ON_ALL(guards)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_unread_version),
        cmocka_unit_test(test_parameter_outputs),
        cmocka_unit_test(test_collectives),
        cmocka_unit_test(test_served),
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_guards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
