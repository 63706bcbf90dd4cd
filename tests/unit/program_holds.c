/* tests/unit/program_holds.c -- memory that a run must leave alone for a while, outputs that are told when they are
 * complete, and the order that waits for late parameters. On both executors. */
#include "program_rig.h"

#include <math.h>
#include <string.h>

#include "compute/plan.h"

enum { SET_A, SET_B, SET_OUT };
static const char *const executors[] = {"ref", "cpu"};

/* 4 x 4 products, which no pass merges: a of A, b of B, both, and a result that needs neither. Written A first. */
static gd_graph *products(gd_output out[4]) {
    gd_graph *g = prog_graph(1);
    gd_shape s = gd_shape2(4, 4);
    gd_node x = gd_input(g, "x", GD_F32, s), a = gd_param(g, "A/w", s, 0), b = gd_param(g, "B/w", s, 0);
    gd_node of_a = gd_matmul(g, x, a, false, false), of_b = gd_matmul(g, x, b, false, false);
    out[0] = (gd_output){"both", gd_matmul(g, of_a, of_b, false, false)};
    out[1] = (gd_output){"a", of_a};
    out[2] = (gd_output){"b", of_b};
    out[3] = (gd_output){"none", gd_matmul(g, x, x, false, false)};
    return g;
}

typedef struct seen {
    const prog *p;
    int between, done;
    char order[64]; /* first letters of outputs */
} seen;

static gd_status count_steps(void *ctx) {
    ((seen *)ctx)->between++;
    return GD_OK;
}

static gd_status note_output(void *ctx, int binding) {
    seen *s = ctx;
    s->order[s->done++] = s->p->list[binding].name[0];
    return GD_OK;
}

static gd_status refuse(void *ctx) {
    (void)ctx;
    GD_FAIL(INTERNAL, "the hook says no");
}

static void group(prog *p) {
    signed char set[16];
    for (int k = 0; k < p->n; k++) {
        const char *name = p->list[k].name;
        set[k] = (signed char)(!strcmp(name, "A/w")    ? SET_A
                               : !strcmp(name, "B/w")  ? SET_B
                               : !strcmp(name, "both") ? SET_OUT
                                                       : -1);
    }
    prog_ok(gd_instance_group(p->i, set));
}

static void poison(prog *p, const char *name, double value) {
    for (int64_t k = 0; k < 16; k++) prog_set(p, name, k, value);
}

static void restore(prog *p, const char *name) {
    for (int64_t k = 0; k < 16; k++) prog_set(p, name, k, prog_value_of(name, k));
}

/* While a set is held its memory holds nonsense: the result shows that nobody looked. */
static void holds(const char *executor) {
    gd_output out[4];
    gd_graph *g = products(out);
    prog p = prog_make(g, executor, 4, out, (gd_program_opts){0});
    gd_run_args args = {.seed = 1};
    gd_pause pause;
    double want[16];
    prog_ok(gd_instance_run(p.i, &args));
    for (int64_t k = 0; k < 16; k++) want[k] = prog_get(&p, "both", k);
    group(&p);
    poison(&p, "A/w", NAN);
    poison(&p, "B/w", NAN);
    gd_instance_hold(p.i, 1u << SET_A | 1u << SET_B | 1u << SET_OUT);
    prog_ok(gd_instance_start(p.i, &args, &pause));
    for (unsigned free = 0; pause.kind == GD_PAUSE_HELD;) {
        assert_true(pause.held && !(pause.held & free));
        if (pause.held & 1u << SET_A) restore(&p, "A/w");
        if (pause.held & 1u << SET_B) restore(&p, "B/w");
        if (pause.held & 1u << SET_OUT) poison(&p, "both", 7);
        prog_ok(gd_instance_resume(p.i, &pause)); /* as it was: it stays */
        assert_int_equal(pause.kind, GD_PAUSE_HELD);
        free |= pause.held;
        gd_instance_hold(p.i, (1u << SET_A | 1u << SET_B | 1u << SET_OUT) & ~free);
        prog_ok(gd_instance_resume(p.i, &pause));
        if (pause.kind == GD_PAUSE_DONE) assert_int_equal(free, 7);
    }
    for (int64_t k = 0; k < 16; k++) assert_true(prog_get(&p, "both", k) == want[k]);
    prog_free(&p);
    gd_graph_free(g);
}

/* Every output once, none before what it is made of; and steps as many as there are, with the start. */
static void tells(const char *executor) {
    gd_output out[4];
    gd_graph *g = products(out);
    prog p = prog_make(g, executor, 4, out, (gd_program_opts){0});
    gd_run_args args = {.seed = 1};
    seen s = {.p = &p};
    gd_run_hooks h = {.ctx = &s, .between = count_steps, .done = note_output};
    gd_instance_set_hooks(p.i, &h);
    prog_ok(gd_instance_run(p.i, &args));
    assert_int_equal(s.done, 4);
    assert_int_equal(s.between, gd_program_get_stats(p.p).steps + 1);
    for (const char *c = "abn"; *c; c++) assert_non_null(strchr(s.order, *c));
    h.between = refuse;
    gd_instance_set_hooks(p.i, &h);
    prog_refused(gd_instance_run(p.i, &args), GD_INTERNAL, "the hook says no", NULL);
    gd_instance_set_hooks(p.i, NULL);
    prog_ok(gd_instance_run(p.i, &args));
    prog_free(&p);
    gd_graph_free(g);
}

/* Steps that a run does before it needs set A. */
static int before_a(const prog *p) {
    seen s = {.p = p};
    gd_run_args args = {.seed = 1};
    gd_run_hooks h = {.ctx = &s, .between = count_steps};
    gd_pause pause;
    gd_instance_set_hooks(p->i, &h);
    gd_instance_hold(p->i, 1u << SET_A);
    prog_ok(gd_instance_start(p->i, &args, &pause));
    assert_int_equal(pause.kind, GD_PAUSE_HELD);
    return s.between - 1;
}

static void waits(const char *executor) {
    gd_output out[4];
    gd_graph *g = products(out);
    prog as_written = prog_make(g, executor, 4, out, (gd_program_opts){0});
    prog late = prog_make(g, executor, 4, out, (gd_program_opts){.late = "A"});
    group(&as_written);
    group(&late);
    assert_int_equal(before_a(&late), 2); /* b and none */
    assert_true(before_a(&as_written) < 2);
    gd_instance_hold(late.i, 0);
    gd_instance_hold(as_written.i, 0);
    prog_run(&late, NULL, NULL);
    prog_run(&as_written, NULL, NULL);
    for (int64_t k = 0; k < 16; k++) assert_true(prog_get(&late, "both", k) == prog_get(&as_written, "both", k));
    prog_free(&late);
    prog_free(&as_written);
    gd_graph_free(g);
}

/* Products in a row, a sum of each as an output that was written last. */
static void hastens(const char *executor) {
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape2(4, 4)), y[3];
    for (int k = 0; k < 3; k++) y[k] = gd_matmul(g, k ? y[k - 1] : x, x, false, false);
    const char *const names[] = {"1", "2", "3"};
    gd_output out[3];
    for (int k = 0; k < 3; k++) out[k] = (gd_output){names[k], gd_matmul(g, y[k], y[k], false, false)};
    for (int eager = 0; eager < 2; eager++) {
        prog p = prog_make(g, executor, 3, out, (gd_program_opts){.eager = eager});
        gd_run_args args = {.seed = 1};
        gd_pause pause;
        seen s = {.p = &p};
        gd_run_hooks h = {.ctx = &s, .between = count_steps};
        signed char set[8];
        for (int k = 0; k < p.n; k++) set[k] = p.list[k].name[0] == '1' ? 0 : -1;
        prog_ok(gd_instance_group(p.i, set));
        gd_instance_set_hooks(p.i, &h);
        gd_instance_hold(p.i, 1);
        prog_ok(gd_instance_start(p.i, &args, &pause));
        assert_int_equal(pause.kind, GD_PAUSE_HELD);
        if (eager) assert_int_equal(s.between - 1, 1); /* right behind the first product */
        prog_free(&p);
    }
    gd_graph_free(g);
}

static bool cuts_a(void *ctx, int binding) {
    const seen *s = ctx;
    return s->p->list[binding].name[0] == 'a' || s->p->list[binding].name[0] == 'b';
}

/* What a run that is captured is asked for: pauses behind outputs that somebody acts on, but for one that ends the run; which sets it
 * has touched on the way, and which come next; and the order of outputs is known before. */
static void is_cut(const char *executor) {
    gd_output out[4];
    gd_graph *g = products(out);
    prog p = prog_make(g, executor, 4, out, (gd_program_opts){0});
    gd_run_args args = {.seed = 1};
    gd_pause pause;
    seen s = {.p = &p};
    gd_run_hooks h = {.ctx = &s, .done = note_output, .cuts = cuts_a};
    unsigned touched = 0;
    int cuts = 0;
    group(&p);
    gd_instance_set_hooks(p.i, &h);
    assert_true(gd_instance_hooks(p.i).cuts == cuts_a);
    gd_instance_cut(p.i, true);
    unsigned needs = gd_instance_needs(p.i, true);
    for (prog_ok(gd_instance_start(p.i, &args, &pause)); pause.kind == GD_PAUSE_CUT; cuts++) {
        unsigned now = gd_instance_take_touched(p.i);
        assert_true((now & needs) == needs && !gd_instance_take_touched(p.i));
        assert_true(cuts_a(&s, gd_program_done(p.p, s.done - 1)));
        touched |= now;
        needs = gd_instance_needs(p.i, false);
        prog_ok(gd_instance_resume(p.i, &pause));
    }
    assert_int_equal(pause.kind, GD_PAUSE_DONE);
    assert_int_equal(touched | gd_instance_take_touched(p.i), 1u << SET_A | 1u << SET_B | 1u << SET_OUT);
    assert_int_equal(gd_instance_needs(p.i, false), 0);
    assert_int_equal(s.done, 4);
    char last = s.order[3];
    assert_int_equal(cuts, 3 - (last == 'a' || last == 'b')); /* "a", "b" and "both", of which one may be the last */
    for (int k = 0; k < 4; k++) assert_int_equal(p.list[gd_program_done(p.p, k)].name[0], s.order[k]);
    assert_int_equal(gd_program_done(p.p, 4), -1);
    gd_instance_cut(p.i, false);
    prog_run(&p, NULL, NULL);
    prog_free(&p);
    gd_graph_free(g);
}

#define ON_BOTH(name, function)                                                                                        \
    static void name(void **state) {                                                                                   \
        (void)state;                                                                                                   \
        for (int k = 0; k < 2; k++) function(executors[k]);                                                            \
    }
ON_BOTH(held_memory_is_left_alone, holds)
ON_BOTH(complete_outputs_are_told, tells)
ON_BOTH(late_parameters_come_late, waits)
ON_BOTH(outputs_come_early, hastens)
ON_BOTH(captured_runs_are_cut, is_cut)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_memory_is_left_alone), cmocka_unit_test(complete_outputs_are_told),
        cmocka_unit_test(late_parameters_come_late), cmocka_unit_test(outputs_come_early),
        cmocka_unit_test(captured_runs_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
