/* tests/ops/compute_grad.c -- first, second and (spot) third derivatives against finite differences.
 *
 * For y = op(x): L = <y, c> with a random cotangent c, and s = sum_i <dL/dx_i, v_i> with random v_i.
 * The gradients of L and of s to every x_i (and of s to c) are compared with fourth-order central
 * differences of the values L and s, in double on `ref`, element by element and along random
 * directions.
 *
 * Usage: test_compute_grad [CASE [SEED]] */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

#define LIMIT 1e-7
enum { X_MAX = 3, ELEMENTS = 24 };

/* A scalar problem: variables by name, values L (and s) in one program, gradients in another. */
typedef struct problem {
    int n_var;
    char var[2 * X_MAX][8];
    ops_prog value, grad;
} problem;

static const char *const direction_name[X_MAX] = {"v0", "v1", "v2"};
static uint64_t seed = 1;

/* What one comparison came to. */
typedef struct verdict {
    int compared;
    double worst;
    char where[48];
} verdict;

static void judge(verdict *v, double fd, double analytic, double scale, const char *what) {
    double most = fmax(fabs(analytic), fmax(fabs(fd), fmax(scale, 1e-2)));
    double error = fabs(fd - analytic) / most;
    if (!isfinite(error)) error = INFINITY;
    v->compared++;
    if (error < v->worst) return;
    v->worst = error;
    snprintf(v->where, sizeof v->where, "%s", what);
}

/* Both derivatives of L and s along `direction` of variable x. */
static void differences(problem *p, double *x, const double *direction, int64_t n, double d[2]) {
    static const double step[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    const double h = 1e-4;
    double *keep = malloc((size_t)n * sizeof *keep);
    if (!keep) ops_die("no memory");
    memcpy(keep, x, (size_t)n * sizeof *keep);
    d[0] = d[1] = 0;
    for (int k = 0; k < 4; k++) {
        for (int64_t i = 0; i < n; i++) x[i] = keep[i] + step[k] * h * direction[i];
        ops_run(&p->value);
        d[0] += weight[k] * *ops_value(&p->value, "L", NULL) / (12 * h);
        d[1] += weight[k] * *ops_value(&p->value, "s", NULL) / (12 * h);
    }
    memcpy(x, keep, (size_t)n * sizeof *keep);
    free(keep);
}

static double largest(const double *v, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(v[i]));
    return most;
}

/* Directions 0 .. ELEMENTS-1: single elements (spread over the tensor); then two random ones. */
static bool direction(double *d, int64_t n, int k, int var) {
    int64_t singles = n < ELEMENTS ? n : ELEMENTS;
    if (k >= singles + 2) return false;
    if (k >= singles) {
        ops_draw(d, n, OPS_NORMAL, seed + 99, (uint64_t)(var * 8 + k - singles));
        double norm = sqrt(ops_dot(d, d, n));
        for (int64_t i = 0; i < n; i++) d[i] /= norm;
        return true;
    }
    memset(d, 0, (size_t)n * sizeof *d);
    d[singles == n ? k : (k * 7919 + var) % n] = 1;
    return true;
}

static void check_variable(problem *p, int var, verdict *out) {
    int64_t n;
    double *x = ops_value(&p->value, p->var[var], &n);
    if (!x) return; /* the values do not depend on it; its gradients are checked to be zero below */
    char name[2][16];
    for (int order = 0; order < 2; order++) snprintf(name[order], sizeof name[order], "d%d_%s", order + 1, p->var[var]);
    double *d = malloc((size_t)n * sizeof *d), fd[2];
    if (!d) ops_die("no memory");
    for (int k = 0; direction(d, n, k, var); k++) {
        differences(p, x, d, n, fd);
        for (int order = 0; order < 2; order++) {
            const double *analytic = ops_value(&p->grad, name[order], NULL);
            judge(out, fd[order], ops_dot(analytic, d, n), largest(analytic, n), name[order]);
        }
    }
    free(d);
}

/* A variable that the values do not depend on must have gradient zero. */
static void check_absent(problem *p, int var, verdict *out) {
    for (int order = 1; order <= 2; order++) {
        char name[16];
        int64_t n;
        snprintf(name, sizeof name, "d%d_%s", order, p->var[var]);
        const double *d = ops_value(&p->grad, name, &n);
        for (int64_t i = 0; i < n; i++) judge(out, 0, d[i], 1, name);
    }
}

static verdict check_problem(problem *p) {
    verdict out = {0};
    ops_run(&p->grad);
    for (int i = 0; i < p->n_var; i++) {
        if (ops_value(&p->value, p->var[i], NULL)) check_variable(p, i, &out);
        else check_absent(p, i, &out);
    }
    ops_free(&p->value);
    ops_free(&p->grad);
    return out;
}

/* Both programs hold the same values of a variable. */
static void fill(problem *p, const char *name, ops_fill how, uint64_t key) {
    ops_prog *both[2] = {&p->value, &p->grad};
    for (int i = 0; i < 2; i++) {
        int64_t n;
        double *x = ops_value(both[i], name, &n);
        if (x) ops_draw(x, n, how, seed, key);
    }
}

/* L = <y, c>, s = sum_i <dL/dx_i, v_i>, the gradients of both to x_0.. and c, as two programs. */
static problem make_problem(gd_graph *g, gd_node y, int n_x, const gd_node *x) {
    problem p = {.n_var = n_x + 1};
    gd_node var[X_MAX + 1], d1[X_MAX + 1], d2[X_MAX + 1];
    for (int i = 0; i < n_x; i++) {
        var[i] = x[i];
        snprintf(p.var[i], sizeof p.var[i], "%s", gd_graph_at(g, x[i])->name);
    }
    var[n_x] = gd_input(g, "c", GD_F32, gd_node_shape(g, y));
    snprintf(p.var[n_x], sizeof p.var[n_x], "c");
    gd_node L = gd_sum_all(g, gd_mul(g, y, var[n_x]));
    gd_grad(g, L, GD_NONE, n_x + 1, var, d1);
    gd_node s = GD_NONE;
    for (int i = 0; i < n_x; i++) {
        gd_node v = gd_input(g, direction_name[i], GD_F32, gd_node_shape(g, d1[i]));
        gd_node part = gd_reshape(g, gd_sum_all(g, gd_mul(g, d1[i], v)), gd_shape1(1));
        s = i ? gd_add(g, s, part) : part;
    }
    gd_grad(g, s, GD_NONE, n_x + 1, var, d2);
    gd_output value[2] = {{"L", L}, {"s", s}}, grad[2 * X_MAX + 2];
    char name[2 * X_MAX + 2][16];
    for (int i = 0; i <= n_x; i++)
        for (int order = 0; order < 2; order++) {
            int at = 2 * i + order;
            snprintf(name[at], sizeof name[at], "d%d_%s", order + 1, p.var[i]);
            grad[at] = (gd_output){name[at], order ? d2[i] : d1[i]};
        }
    ops_need(gd_graph_status(g), "graph");
    p.value = ops_make(g, gd_executor_ref(), 2, value, GD_PRECISION_F32);
    p.grad = ops_make(g, gd_executor_ref(), 2 * (n_x + 1), grad, GD_PRECISION_F32);
    gd_graph_free(g);
    fill(&p, "c", OPS_NORMAL, 100);
    for (int i = 0; i < n_x; i++) fill(&p, direction_name[i], OPS_NORMAL, 200 + (uint64_t)i);
    return p;
}

static bool report(const char *name, verdict v, const char *program) {
    bool good = v.compared > 0 && v.worst <= LIMIT;
    if (!good)
        printf("FAIL %s: worst error %.3g at %s, limit %g, %d comparisons, seed %llu\n"
               "     repeat: %s '%s' %llu\n",
               name, v.worst, v.where, LIMIT, v.compared, (unsigned long long)seed, program, name,
               (unsigned long long)seed);
    return good;
}

static verdict check_case(const ops_case *c) {
    gd_graph *g = ops_graph(1);
    gd_node x[2];
    gd_node y = ops_case_build(g, c, x);
    problem p = make_problem(g, y, c->n_in, x);
    fill(&p, "x0", c->fill[0], 1);
    fill(&p, "x1", c->fill[1], 2);
    return check_problem(&p);
}

/* ---- a gradient penalty on a small critic: L is a penalty (second order), so the gradients of s
 * are third derivatives ---- */

static verdict check_penalty(uint32_t axes) {
    gd_graph *g = ops_graph(1);
    gd_node x[X_MAX] = {gd_param(g, "x0", gd_shape4(2, 5, 4, 2), 0), gd_param(g, "x1", gd_shape4(3, 3, 3, 2), 0),
                        gd_param(g, "x2", gd_shape4(2, 2, 2, 3), 0)};
    gd_node h = gd_conv(g, x[0], x[1], (gd_conv_attr){1, {1, 0, 1, 1}});
    h = gd_leaky(g, gd_normalize(g, h, axes, 1e-2, false), 0.2);
    h = gd_tanh(g, gd_conv(g, h, x[2], (gd_conv_attr){2, {0, 1, 0, 0}}));
    gd_node dx;
    gd_grad(g, gd_sum_all(g, h), GD_NONE, 1, x, &dx);
    gd_node norm = gd_sqrt(g, gd_shift(g, gd_sum(g, gd_square(g, dx), 14), 1e-3));
    gd_node penalty = gd_square(g, gd_shift(g, norm, -1));
    problem p = make_problem(g, penalty, 3, x);
    fill(&p, "x0", OPS_NORMAL, 1);
    fill(&p, "x1", OPS_NORMAL, 2);
    fill(&p, "x2", OPS_NORMAL, 3);
    return check_problem(&p);
}

/* The one op whose gradient finite differences cannot see: it passes the cotangent on, rounded to
 * what a bf16 tensor can hold. And one whose gradient is zero although its value moves. */
static int check_declared(void) {
    gd_graph *g = ops_graph(1);
    gd_node x = gd_param(g, "x", gd_shape1(9), 0), c = gd_input(g, "c", GD_F32, gd_shape1(9)), d[2];
    gd_grad(g, gd_cast(g, gd_cast(g, x, GD_BF16), GD_F32), c, 1, &x, &d[0]);
    gd_grad(g, gd_stop(g, x), c, 1, &x, &d[1]);
    gd_output out[2] = {{"cast", d[0]}, {"stop", d[1]}};
    ops_prog p = ops_make(g, gd_executor_ref(), 2, out, GD_PRECISION_F32);
    gd_graph_free(g);
    double *cot = ops_value(&p, "c", NULL);
    for (int i = 0; i < 9; i++) cot[i] = 1 + i / 128.0; /* eight significant bits: bf16 holds them */
    ops_run(&p);
    int bad = 0;
    for (int i = 0; i < 9; i++) bad += ops_value(&p, "cast", NULL)[i] != cot[i] || ops_value(&p, "stop", NULL)[i] != 0;
    ops_free(&p);
    if (bad) printf("FAIL declared gradients of cast and stop_gradient: %d of 9 differ\n", bad);
    return bad != 0;
}

int main(int argc, char **argv) {
    seed = ops_seed(argc, argv);
    int n, ran = 0, failed = 0, compared = 0;
    double worst = 0;
    const ops_case *list = ops_cases(&n);
    for (int i = 0; i < n; i++) {
        if ((list[i].traits & (OPS_NO_FD | OPS_LARGE)) || !ops_case_wanted(&list[i], argc, argv)) continue;
        verdict v = check_case(&list[i]);
        failed += !report(list[i].name, v, argv[0]);
        ran++;
        compared += v.compared;
        worst = fmax(worst, v.worst);
    }
    static const struct {
        const char *name;
        uint32_t axes;
    } penalty[] = {{"penalty/batch", 7}, {"penalty/instance", 6}, {"penalty/layer", 14}};
    for (int i = 0; i < 3; i++) {
        if (argc > 1 && strncmp(penalty[i].name, argv[1], strlen(argv[1])) != 0) continue;
        verdict v = check_penalty(penalty[i].axes);
        failed += !report(penalty[i].name, v, argv[0]);
        ran++;
        compared += v.compared;
        worst = fmax(worst, v.worst);
    }
    if (argc < 2) failed += check_declared();
    printf("%d cases, %d comparisons, worst error %.2g (limit %g), %d failed\n", ran, compared, worst, LIMIT, failed);
    if (compared == 0) printf("FAIL nothing was compared: no such case\n");
    return failed || compared == 0;
}
