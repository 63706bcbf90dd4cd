/* tests/ops/compute_parity.c -- every op on every executor and dtype against `ref`.
 *
 * Value and gradients of each case (so the rules' graphs run, too), with the same inputs in both.
 * Error: largest difference over the largest value of the tensor. Each row prints error, limit and
 * verdict. Usage: test_compute_parity [CASE [SEED]] */
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "compute/cpu/choice.h"

typedef struct column {
    const char *executor, *dtype;
    gd_precision precision;
    bool halves; /* f32 may be taken so by convolutions: numerics.tf32 */
    bool heavy_only;
    double limit; /* f32: a few roundings of sums of up to some hundred terms; halves, bf16: of operands */
} column;
static const column columns[] = {
    {"ref", "bf16", GD_PRECISION_BF16, false, true, 1.5e-2},
    {"cpu", "f32", GD_PRECISION_F32, false, false, 4e-6},
    {"cpu", "tf32", GD_PRECISION_F32, true, true, 2e-5},
    {"cpu", "bf16", GD_PRECISION_BF16, false, true, 1.5e-2},
};

static gd_graph *build(const ops_case *c, int *n_out, gd_output out[3]) {
    static const char *const name[2] = {"d_x0", "d_x1"};
    gd_graph *g = ops_graph(1);
    gd_node x[2], dx[2];
    gd_node y = ops_case_build(g, c, x);
    gd_grad(g, y, gd_input(g, "c", GD_F32, gd_node_shape(g, y)), c->n_in, x, dx);
    *n_out = 1 + c->n_in;
    out[0] = (gd_output){"y", y};
    for (int i = 0; i < c->n_in; i++) out[1 + i] = (gd_output){name[i], dx[i]};
    ops_need(gd_graph_status(g), c->name);
    return g;
}

/* Fills every input by its name and runs. c: for fills of x0 and x1; NULL: all normal. */
static ops_prog run(gd_graph *g, int n_out, const gd_output *out, const gd_executor *x, gd_precision precision,
                    const ops_case *c, uint64_t seed) {
    ops_prog p = ops_make(g, x, n_out, out, precision);
    gd_graph_free(g);
    for (int i = 0; i < p.n; i++) {
        ops_buffer *b = &p.buffer[i];
        if (b->is.is_output) continue;
        ops_fill fill = OPS_NORMAL;
        uint64_t key = 0;
        for (const char *s = b->is.name; *s; s++) key = key * 31 + (unsigned char)*s;
        if (c && b->is.name[0] == 'x') fill = c->fill[b->is.name[1] == '1'];
        ops_draw(b->value, b->count, fill, seed, key);
    }
    ops_run(&p);
    return p;
}

static ops_prog evaluate(const ops_case *c, const gd_executor *x, gd_precision precision, uint64_t seed) {
    gd_output out[3];
    int n_out;
    gd_graph *g = build(c, &n_out, out);
    return run(g, n_out, out, x, precision, c, seed);
}

/* Largest error of all outputs; counts the tensors compared. */
static double compare(const ops_prog *p, const ops_prog *ref, int *compared) {
    double worst = 0;
    for (int i = 0; i < ref->n; i++) {
        if (!ref->buffer[i].is.is_output) continue;
        int64_t n;
        const double *is = ops_value(p, ref->buffer[i].is.name, &n);
        double e = ops_distance(is, ref->buffer[i].value, n, 1e-3);
        if (e > worst) worst = e;
        ++*compared;
    }
    return worst;
}

static bool verdict(const char *name, const char *executor, const char *dtype, double error, double limit,
                    const char *program, uint64_t seed) {
    bool good = error <= limit;
    printf("%-28s %-4s %-5s %9.2e %8.1e %s\n", name, executor, dtype, error, limit, good ? "ok" : "FAIL");
    if (!good) printf("  repeat: %s '%s' %llu\n", program, name, (unsigned long long)seed);
    return good;
}

static bool row(const ops_case *c, const column *k, const ops_prog *ref, uint64_t seed, const char *program,
                int *compared) {
    const gd_executor *x = gd_executor_find(k->executor);
    if (!x) {
        printf("%-28s no executor %s FAIL\n", c->name, k->executor);
        return false;
    }
    gd_choice_set_mode(GD_CHOICE_RULE); /* forgets */
    gd_choice_allow_halves(k->halves);
    ops_prog p = evaluate(c, x, k->precision, seed);
    double error = compare(&p, ref, compared);
    ops_free(&p);
    return verdict(c->name, k->executor, k->dtype, error, k->limit, program, seed);
}

/* ---- small nets: what groups of ops make of it, through first and second derivatives ---- */

static gd_node affine(gd_graph *g, gd_node x, const char *scale, const char *shift) {
    gd_shape s = {.rank = gd_node_shape(g, x).rank};
    for (int i = 0; i < s.rank; i++) s.dim[i] = i == s.rank - 1 ? gd_node_shape(g, x).dim[i] : 1;
    return gd_add(g, gd_mul(g, x, gd_param(g, scale, s, 0)), gd_param(g, shift, s, 0));
}

/* A critic with a gradient penalty through batch norm, as WGAN-GP trains it. */
static gd_node critic(gd_graph *g) {
    gd_node x = gd_input(g, "image", GD_F32, gd_shape4(4, 9, 8, 3)), dx;
    gd_node h = gd_conv(g, x, gd_param(g, "w", gd_shape4(8, 4, 4, 3), 0), (gd_conv_attr){2, {1, 2, 1, 1}});
    h = gd_leaky(g, affine(g, gd_normalize(g, h, 7, 1e-5, true), "scale", "shift"), 0.2);
    h = gd_conv(g, h, gd_param(g, "v", gd_shape4(1, 4, 4, 8), 0), (gd_conv_attr){1, {0}});
    gd_grad(g, gd_sum_all(g, h), GD_NONE, 1, &x, &dx);
    gd_node norm = gd_sqrt(g, gd_shift(g, gd_sum(g, gd_square(g, dx), 14), 1e-6));
    gd_node penalty = gd_scale(g, gd_mean(g, gd_square(g, gd_shift(g, norm, -1)), 15), 10);
    return gd_add(g, gd_mean(g, h, 15), penalty);
}

/* A generator with transposed convolution, skip, reflection, upsampling and instance norm. */
static gd_node generator(gd_graph *g) {
    gd_node x = gd_input(g, "image", GD_F32, gd_shape4(2, 8, 10, 3));
    gd_node d = gd_conv(g, gd_pad_reflect(g, x, 1, 2, 2, 1), gd_param(g, "w", gd_shape4(6, 4, 4, 3), 0),
                        (gd_conv_attr){1, {0}});
    gd_node h = gd_leaky(g, affine(g, gd_normalize(g, gd_avgpool(g, d, 2), 6, 1e-5, false), "scale", "shift"), 0);
    h = gd_conv_dx(g, h, gd_param(g, "v", gd_shape4(6, 4, 4, 5), 0), gd_shape4(2, 8, 10, 5),
                   (gd_conv_attr){2, {1, 1, 1, 1}});
    h = gd_concat(g, gd_tanh(g, gd_scale(g, h, 0.1)), gd_upsample(g, gd_sumpool(g, d, 2), 2), 3);
    h = gd_conv(g, h, gd_param(g, "u", gd_shape4(3, 3, 3, 11), 0), (gd_conv_attr){1, {1, 1, 1, 1}});
    /* scaled so that tanh does not saturate: 1 - y^2 would cancel in float */
    return gd_mean(g, gd_abs(g, gd_sub(g, gd_tanh(g, gd_scale(g, h, 0.1)), x)), 15);
}

/* A dense net with dropout, layer norm and a logistic loss. */
static gd_node dense(gd_graph *g) {
    gd_node x = gd_input(g, "image", GD_F32, gd_shape2(7, 20));
    gd_node h = gd_matmul(g, x, gd_param(g, "w", gd_shape2(33, 20), 0), false, true);
    h = gd_softplus(g, affine(g, gd_normalize(g, h, 2, 1e-5, false), "scale", "shift"));
    gd_node keep = gd_step(g, gd_shift(g, gd_random(g, GD_RANDOM_UNIFORM, 6, gd_shape2(7, 33)), -0.3));
    h = gd_matmul(g, gd_scale(g, gd_mul(g, h, keep), 1 / 0.7), gd_param(g, "v", gd_shape2(33, 1), 0), false, false);
    return gd_mean(g, gd_add(g, gd_softplus(g, gd_neg(g, h)), gd_sigmoid(g, h)), 3);
}

typedef struct net {
    const char *name;
    gd_node (*build)(gd_graph *g);
} net;
static const net nets[] = {{"net/critic penalty", critic}, {"net/generator", generator}, {"net/dense", dense}};

/* Loss and its gradient to every input and parameter. */
static ops_prog evaluate_net(const net *t, const gd_executor *x, gd_precision precision, uint64_t seed) {
    enum { VAR_MAX = 12 };
    gd_graph *g = ops_graph(1);
    gd_node loss = t->build(g), var[VAR_MAX], dx[VAR_MAX];
    gd_output out[VAR_MAX + 1] = {{"loss", loss}};
    char name[VAR_MAX][16];
    int n = 0;
    for (gd_node i = 0; i < loss && n < VAR_MAX; i++) {
        const gd_node_info *v = gd_graph_at(g, i);
        if (v->op == GD_OP_INPUT || v->op == GD_OP_PARAM) var[n++] = i;
    }
    gd_grad(g, loss, GD_NONE, n, var, dx);
    ops_need(gd_graph_status(g), t->name);
    for (int i = 0; i < n; i++) {
        snprintf(name[i], sizeof name[i], "d_%.12s", gd_graph_at(g, var[i])->name);
        out[1 + i] = (gd_output){name[i], dx[i]};
    }
    return run(g, n + 1, out, x, precision, NULL, seed);
}

/* f32: some hundred roundings in a row, and second derivatives of a square root. */
static int check_nets(int argc, char **argv, uint64_t seed, int *compared) {
    const double limit = 1e-5;
    int failed = 0;
    gd_choice_set_mode(GD_CHOICE_RULE);
    gd_choice_allow_halves(false);
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        if (argc > 1 && strncmp(nets[i].name, argv[1], strlen(argv[1])) != 0) continue;
        ops_prog ref = evaluate_net(&nets[i], gd_executor_ref(), GD_PRECISION_F32, seed);
        ops_prog cpu = evaluate_net(&nets[i], gd_executor_cpu(), GD_PRECISION_F32, seed);
        failed += !verdict(nets[i].name, "cpu", "f32", compare(&cpu, &ref, compared), limit, argv[0], seed);
        ops_free(&cpu);
        ops_free(&ref);
    }
    return failed;
}

int main(int argc, char **argv) {
    uint64_t seed = ops_seed(argc, argv);
    int n, compared = 0, failed = 0;
    const ops_case *list = ops_cases(&n);
    printf("%-28s %-4s %-5s %9s %8s verdict\n", "op/case", "on", "dtype", "error", "limit");
    for (int i = 0; i < n; i++) {
        const ops_case *c = &list[i];
        if (!ops_case_wanted(c, argc, argv)) continue;
        ops_prog ref = evaluate(c, gd_executor_ref(), GD_PRECISION_F32, seed);
        for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
            if (columns[k].heavy_only && gd_op_class_of(c->op) != GD_CLASS_HEAVY) continue;
            failed += !row(c, &columns[k], &ref, seed, argv[0], &compared);
        }
        ops_free(&ref);
    }
    failed += check_nets(argc, argv, seed, &compared);
    printf("%d tensors compared, %d rows failed\n", compared, failed);
    if (compared == 0) printf("FAIL nothing was compared: no such case\n");
    return failed || compared == 0;
}
