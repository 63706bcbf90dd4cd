/* tests/unit/program_passes.c -- what the passes make of graphs, the groups of a batch norm, bf16,
 * dumps, refusals of an executor, and the time that planning takes. */
#include "program_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "compute/plan.h"

static const gd_shape row = {2, {4, 16}};
static const gd_program_opts plain = {0};

static int nodes_of(const prog *p, gd_op op) {
    int n = 0;
    for (gd_node i = 0; i < gd_graph_count(p->p->ir.graph); i++) n += gd_graph_at(p->p->ir.graph, i)->op == op;
    return n;
}

static void zeros_disappear(void **state) {
    (void)state;
    gd_graph *g = prog_graph(2);
    gd_node x = gd_input(g, "x", GD_F32, row), dead = gd_input(g, "dead", GD_F32, row);
    gd_node w = gd_param(g, "w", gd_shape2(16, 16), 0);
    gd_node zero = gd_scale(g, gd_matmul(g, gd_exp(g, dead), w, false, false), 0);
    zero = gd_allreduce(g, gd_matmul(g, gd_concat(g, zero, gd_neg(g, zero), 0), w, false, true));
    gd_node part = gd_slice(g, zero, (const int64_t[4]){0}, (const int64_t[4]){4, 16});
    gd_node y = gd_add(g, gd_mul(g, gd_tanh(g, x), gd_shift(g, gd_div(g, part, gd_exp(g, x)), 1)), gd_const(g, 0, row));
    prog p = prog_make(g, "cpu", 1, &(gd_output){"y", y}, plain);
    assert_int_equal(prog_find(&p, "dead"), -1);
    assert_int_equal(prog_find(&p, "w"), -1);
    assert_int_equal(gd_graph_count(p.p->ir.graph), 2); /* x, tanh */
    prog_run(&p, NULL, NULL);
    for (int64_t i = 0; i < 64; i++) assert_float_equal(prog_get(&p, "y", i), tanh(prog_value_of("x", i)), 1e-6);
    prog_free(&p);
    gd_graph_free(g);
}

static void equals_become_one(void **state) {
    (void)state;
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, row), w = gd_param(g, "w", gd_shape2(16, 16), 0), sum = GD_NONE;
    for (int i = 0; i < 5; i++) {
        gd_node a = gd_exp(g, gd_matmul(g, gd_scale(g, x, 2), w, false, false)), b = gd_sigmoid(g, x);
        gd_node y = i % 2 ? gd_mul(g, a, b) : gd_mul(g, b, a);
        sum = sum == GD_NONE ? y : gd_max(g, sum, y);
    }
    gd_node other = gd_matmul(g, gd_scale(g, x, 2), w, false, true); /* differs in one attribute */
    const gd_output out[] = {{"y", sum}, {"z", other}};
    prog p = prog_make(g, "ref", 2, out, plain);
    assert_int_equal(nodes_of(&p, GD_OP_MATMUL), 2);
    assert_int_equal(nodes_of(&p, GD_OP_EXP), 1);
    assert_int_equal(nodes_of(&p, GD_OP_SIGMOID), 1);
    assert_int_equal(nodes_of(&p, GD_OP_MUL), 2); /* a b, 2 x */
    prog_free(&p);
    gd_graph_free(g);
}

/* Constants fold, except where the result is no number: that is left to the run. */
static void constants(void **state) {
    (void)state;
    gd_graph *g = prog_graph(1);
    gd_node c = gd_square(g, gd_div(g, gd_const(g, 3, row), gd_const(g, -2, row)));
    gd_node bad = gd_sqrt(g, gd_const(g, -1, row)),
            none = gd_sub(g, gd_const(g, INFINITY, row), gd_const(g, INFINITY, row));
    const gd_output out[] = {{"c", gd_add(g, gd_input(g, "x", GD_F32, row), c)}, {"bad", bad}, {"none", none}};
    for (int k = 0; k < 2; k++) {
        prog p = prog_make(g, k ? "cpu" : "ref", 3, out, plain);
        assert_int_equal(nodes_of(&p, GD_OP_SQUARE) + nodes_of(&p, GD_OP_DIV), 0);
        prog_run(&p, NULL, NULL);
        assert_float_equal(prog_get(&p, "c", 7), prog_value_of("x", 7) + 2.25, 1e-6);
        assert_true(isnan(prog_get(&p, "bad", 7)) && isnan(prog_get(&p, "none", 7)));
        prog_free(&p);
    }
    gd_graph_free(g);
}

/* ---- batch norm ---- */

static char *printed(const prog *p) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    assert_non_null(f);
    gd_program_print(p->p, f);
    fclose(f);
    return text;
}

/* Groups over this space. */
static int groups_over(const prog *p, gd_shape s) {
    int large = 0;
    for (int i = 0; i < p->p->n_steps; i++) {
        const gd_exec_step *step = &p->p->step[i];
        const gd_node_info *n = gd_graph_at(p->p->ir.graph, p->p->step_node[step->first_node]);
        large +=
            step->fused && gd_shape_equal(n->op == GD_OP_SUM ? gd_node_shape(p->p->ir.graph, n->in[0]) : n->shape, s);
    }
    return large;
}

static void batch_norm_groups(void **state) {
    (void)state;
    const gd_shape image = gd_shape4(4, 8, 8, 16);
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, image), p[3], d[3];
    p[0] = x;
    p[1] = gd_param(g, "gamma", gd_shape4(1, 1, 1, 16), 0);
    p[2] = gd_param(g, "beta", gd_shape4(1, 1, 1, 16), 0);
    gd_node y = gd_leaky(g, gd_add(g, gd_mul(g, gd_normalize(g, x, 7, 1e-5, false), p[1]), p[2]), 0.2);
    prog fwd = prog_make(g, "cpu", 1, &(gd_output){"y", y}, plain);
    assert_int_equal(groups_over(&fwd, image), 3); /* sum x, sum of squares, apply */
    assert_int_equal(prog_steps_with(&fwd, GD_OP_SUM), 2);
    char *text = printed(&fwd);
    assert_non_null(strstr(text, "group"));
    assert_non_null(strstr(text, "bound to y"));
    assert_non_null(strstr(text, "inside"));
    free(text);
    prog_free(&fwd);
    gd_node turned = gd_permute(g, y, (const int[4]){0, 3, 1, 2}); /* keeps what follows in groups of its own */
    gd_grad(g, gd_sum_all(g, gd_square(g, turned)), GD_NONE, 3, p, d);
    const gd_output out[] = {{"y", y}, {"dx", d[0]}, {"dgamma", d[1]}, {"dbeta", d[2]}};
    prog both = prog_make(g, "cpu", 4, out, plain);
    assert_int_equal(groups_over(&both, image), 5); /* and all sums together (of dx, dgamma, dbeta), dx */
    assert_int_equal(prog_steps_with(&both, GD_OP_SUM), 3);
    prog_free(&both);
    gd_graph_free(g);
}

/* ---- bf16 ---- */

static void bf16(void **state) {
    (void)state;
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 8, 8, 8)), w = gd_param(g, "w", gd_shape4(8, 3, 3, 8), 0), dw;
    gd_node y = gd_leaky(g, gd_normalize(g, gd_conv(g, x, w, (gd_conv_attr){1, {1, 1, 1, 1}}), 7, 1e-5, false), 0.2);
    gd_node z = gd_matmul(g, gd_reshape(g, y, gd_shape2(2, 512)), gd_param(g, "v", gd_shape2(512, 4), 0), false, false);
    gd_grad(g, gd_sum_all(g, gd_square(g, z)), GD_NONE, 1, &w, &dw);
    const gd_output out[] = {{"z", z}, {"dw", dw}};
    prog full = prog_make(g, "cpu", 2, out, plain),
         half = prog_make(g, "cpu", 2, out, (gd_program_opts){.precision = GD_PRECISION_BF16});
    const gd_graph *h = half.p->ir.graph;
    int products = 0;
    for (gd_node n = 0; n < gd_graph_count(h); n++) {
        const gd_node_info *i = gd_graph_at(h, n);
        if (gd_op_class_of(i->op) == GD_CLASS_HEAVY) {
            bool map = i->op == GD_OP_CONV || i->op == GD_OP_CONV_DX;
            assert_int_equal(i->dtype, map ? GD_BF16 : GD_F32);
            for (int k = 0; k < 2; k++) assert_int_equal(gd_graph_at(h, i->in[k])->dtype, GD_BF16);
            products++;
        } else if (i->op != GD_OP_CAST && gd_op_class_of(i->op) != GD_CLASS_VIEW) assert_int_equal(i->dtype, GD_F32);
    }
    assert_int_equal(products, 4); /* conv, matmul, gradient of its input, of w */
    prog_run(&full, NULL, NULL);
    prog_run(&half, NULL, NULL);
    for (int o = 0; o < 2; o++) {
        double all = 0, off = 0; /* squares */
        for (int64_t i = 0; i < prog_count(&full, out[o].name); i++) {
            double a = prog_get(&full, out[o].name, i), b = prog_get(&half, out[o].name, i);
            all += a * a;
            off += (a - b) * (a - b);
        }
        if (!(off > 0 && sqrt(off / all) < 0.05)) fail_msg("%s: off by %g", out[o].name, sqrt(off / all));
    }
    assert_true(gd_program_get_stats(half.p).flops == gd_program_get_stats(full.p).flops);
    prog_free(&full);
    prog_free(&half);
    gd_graph_free(g);
}

/* ---- dumps ---- */

/* Every line is "<id> op [shape] ..." and reads ids of lines above only. */
static void check_dump(const char *path) {
    void *bytes;
    size_t n;
    prog_ok(gd_file_read(path, 1 << 20, &bytes, &n));
    int want = 0;
    for (char *line = strtok(bytes, "\n"); line; line = strtok(NULL, "\n"), want++) {
        char op[32], shape[64];
        int id = -1, in = -1;
        assert_int_equal(sscanf(line, "%d %31s [%63[0-9,]]", &id, op, shape), 3);
        assert_int_equal(id, want);
        const char *from = strstr(line, "<- ");
        if (from) assert_true(sscanf(from + 3, "%d", &in) == 1 && in >= 0 && in < id);
    }
    assert_true(want > 0);
    free(bytes);
}

static void dumps(void **state) {
    (void)state;
    const char *tmp = getenv("GANDIST_TEST_TMP");
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/dump", tmp ? tmp : ".");
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, row);
    gd_output out = {
        "y", gd_matmul(g, gd_normalize(g, x, 3, 1e-5, false), gd_param(g, "w", gd_shape2(16, 4), 0), false, false)};
    prog p = prog_make(g, "ref", 1, &out,
                       (gd_program_opts){.dump_dir = folder, .name = "step", .precision = GD_PRECISION_BF16});
    static const char *const passes[] = {"lower", "merge", "simplify", "bf16", "versions"};
    for (size_t k = 0; k < sizeof passes / sizeof *passes; k++) {
        int found = 0;
        for (int number = 1; number < 40; number++) {
            snprintf(path, sizeof path, "%s/step-%02d-%s.txt", folder, number, passes[k]);
            if (!gd_path_exists(path)) continue;
            check_dump(path);
            found++;
        }
        if (!found) fail_msg("no dump of pass %s", passes[k]);
    }
    prog_free(&p);
    gd_program *none = NULL;
    prog_refused(gd_program_make(g, gd_executor_ref(), 1, &out, &(gd_program_opts){.dump_dir = "/dev/null/x"}, &none),
                 GD_CANTCREAT, "/dev/null", NULL);
    gd_graph_free(g);
}

/* ---- an executor that cannot do everything ---- */

static bool no_softplus(const gd_graph *g, gd_node n, char *why, size_t room) {
    if (gd_graph_at(g, n)->op != GD_OP_SOFTPLUS) return true;
    snprintf(why, room, "logarithms are not at hand");
    return false;
}

static void unsupported(void **state) {
    (void)state;
    gd_executor tiny = *gd_executor_ref();
    tiny.name = "tiny";
    tiny.supports = no_softplus;
    gd_graph *g = prog_graph(1);
    gd_node x = gd_input(g, "x", GD_F32, row);
    gd_graph_push(g, "D");
    gd_program *p = NULL;
    gd_output out = {"y", gd_softplus(g, gd_neg(g, x))};
    gd_graph_pop(g);
    prog_refused(gd_program_make(g, &tiny, 1, &out, NULL, &p), GD_UNSUP, "D/softplus", "tiny",
                 "softplus f32 [4,16] of f32 [4,16]", "logarithms are not at hand", NULL);
    assert_null(p);
    out.node = gd_neg(g, x);
    prog_ok(gd_program_make(g, &tiny, 1, &out, NULL, &p));
    gd_program_free(p);
    gd_graph_free(g);
}

/* ---- time ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 10,000 nodes of a deep network; ref prepares nothing, so this is planning alone, here also of groups. */
static void large_graph(void **state) {
    (void)state;
    gd_executor fusing = *gd_executor_ref();
    fusing.fuses = true;
    gd_graph *g = prog_graph(1);
    gd_node h = gd_input(g, "x", GD_F32, gd_shape2(8, 16)), sum = GD_NONE;
    for (int layer = 0; gd_graph_count(g) < 10000; layer++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", layer);
        h = gd_matmul(g, h, gd_param(g, name, gd_shape2(16, 16), 0), false, false);
        gd_node mean = gd_mean(g, h, 1), skip = gd_tanh(g, gd_sub(g, h, mean));
        h = gd_add(g, gd_leaky(g, h, 0.2), skip);
        if (layer % 7 == 0) sum = sum == GD_NONE ? gd_sum_all(g, skip) : gd_add(g, sum, gd_sum_all(g, skip));
    }
    const gd_output out[] = {{"h", h}, {"sum", sum}};
    gd_program *p = NULL;
    double start = now();
    prog_ok(gd_program_make(g, &fusing, 2, out, NULL, &p));
    double took = now() - start;
    printf("%d nodes, %d steps planned in %.3f s\n", gd_graph_count(g), gd_program_get_stats(p).steps, took);
    assert_true(took < 10); /* a square law would take far longer in a sanitized build */
    gd_program_free(p);
    gd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_disappear),
        cmocka_unit_test(equals_become_one),
        cmocka_unit_test(constants),
        cmocka_unit_test(batch_norm_groups),
        cmocka_unit_test(bf16),
        cmocka_unit_test(dumps),
        cmocka_unit_test(unsupported),
        cmocka_unit_test(large_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
