/* tests/cuda/text_parity.c -- the text of every generated kernel, compiled by the C compiler, against `ref`.
 *
 * The cases are those of the CPU's parity table (tests/ops/cases.c), value and gradients, fused and one node a step,
 * and groups large enough for vectors, several lanes and cut sums. Every program runs twice, the second time with the
 * threads of a phase and the blocks of a grid in reverse: a byte that differs is a race. Usage: [CASE [SEED]] */
#include <stdlib.h>
#include <string.h>

#include "../ops/cases.h"
#include "compute/cpu/choice.h"
#include "shim.h"
#include "text_executor.h"

static const double limit_f32 = 4e-6, limit_bf16 = 1.5e-2;

/* One program on cuda-text and the same on ref. */
typedef struct job {
    char name[64];
    const ops_case *c; /* NULL: all inputs normal */
    double limit;
    ops_prog text, ref;
} job;

static job *jobs;
static int n_jobs;

static ops_prog make(const gd_graph *g, const gd_executor *x, int n_out, const gd_output *out, gd_precision p,
                     bool fuse) {
    ops_prog o = {.x = x};
    gd_program_opts opts = {.precision = p, .guard = true, .no_fuse = !fuse};
    ops_need(gd_program_make(g, x, n_out, out, &opts, &o.p), "program");
    ops_need(gd_instance_make(o.p, &o.i), "instance");
    const gd_binding *list;
    o.n = gd_program_bindings(o.p, &list);
    o.buffer = calloc((size_t)o.n + 1, sizeof *o.buffer);
    for (int i = 0; i < o.n; i++) {
        ops_buffer *b = &o.buffer[i];
        b->is = list[i];
        b->count = gd_shape_count(list[i].shape);
        size_t doubles = ((size_t)b->count * sizeof(double) + 63) / 64 * 64;
        b->value = aligned_alloc(64, doubles);
        b->raw = x == gd_executor_ref() ? (void *)b->value : aligned_alloc(64, doubles);
        if (!b->value || !b->raw) ops_die("no memory");
        memset(b->value, 0, doubles);
        memset(b->raw, 0, doubles);
        ops_need(gd_instance_bind(o.i, list[i].name, b->raw), list[i].name);
    }
    return o;
}

static void add(const char *name, const ops_case *c, const gd_graph *g, int n_out, const gd_output *out, gd_precision p,
                bool fuse) {
    jobs = realloc(jobs, (size_t)(n_jobs + 1) * sizeof *jobs);
    if (!jobs) ops_die("no memory");
    job *j = &jobs[n_jobs++];
    *j = (job){.c = c, .limit = p == GD_PRECISION_BF16 ? limit_bf16 : limit_f32};
    snprintf(j->name, sizeof j->name, "%s %s%s", name, p == GD_PRECISION_BF16 ? "bf16" : "f32", fuse ? "" : " apart");
    j->text = make(g, text_executor(), n_out, out, p, fuse);
    j->ref = make(g, gd_executor_ref(), n_out, out, p, fuse);
}

/* ---- the ops ---- */

static void add_case(const ops_case *c) {
    static const char *const name[2] = {"d_x0", "d_x1"};
    gd_graph *g = ops_graph(1);
    gd_node x[2], dx[2];
    gd_node y = ops_case_build(g, c, x);
    gd_grad(g, y, gd_input(g, "c", GD_F32, gd_node_shape(g, y)), c->n_in, x, dx);
    gd_output out[3] = {{"y", y}};
    for (int i = 0; i < c->n_in; i++) out[1 + i] = (gd_output){name[i], dx[i]};
    ops_need(gd_graph_status(g), c->name);
    add(c->name, c, g, 1 + c->n_in, out, GD_PRECISION_F32, true);
    add(c->name, c, g, 1 + c->n_in, out, GD_PRECISION_F32, false);
    if (gd_op_class_of(c->op) == GD_CLASS_HEAVY) add(c->name, c, g, 1 + c->n_in, out, GD_PRECISION_BF16, true);
    gd_graph_free(g);
}

/* ---- groups ---- */

typedef struct group {
    const char *name;
    gd_shape x;
    uint32_t axes;
    gd_dtype stored; /* of the input and of what is kept */
} group;

/* Norm, scale, shift and activation, their gradients, and sums of the result over other axes: of one input. */
static void add_group(const group *k) {
    gd_graph *g = ops_graph(1);
    gd_shape channel = k->x;
    for (int i = 0; i < k->x.rank - 1; i++) channel.dim[i] = 1;
    gd_node x = gd_input(g, "x", k->stored, k->x), scale = gd_param(g, "scale", channel, 0);
    gd_node wide = gd_cast(g, x, GD_F32);
    gd_node h = gd_normalize(g, wide, k->axes, 1e-5, false);
    gd_node y = gd_leaky(g, gd_add(g, gd_mul(g, h, scale), gd_param(g, "shift", channel, 0)), 0.2);
    gd_node var[2] = {scale, wide}, d[2];
    gd_grad(g, y, gd_cast(g, gd_input(g, "c", k->stored, k->x), GD_F32), 2, var, d);
    uint32_t last = 1u << (k->x.rank - 1);
    gd_node kept = k->stored == GD_BF16 ? gd_cast(g, y, GD_BF16) : y;
    gd_output out[] = {{"y", kept},
                       {"d_scale", d[0]},
                       {"d_x", gd_cast(g, d[1], k->stored)},
                       {"rows", gd_sum(g, y, last)},
                       {"total", gd_sum_all(g, gd_square(g, y))},
                       {"samples", gd_sum(g, gd_square(g, y), (1u << k->x.rank) - 2)}};
    ops_need(gd_graph_status(g), k->name);
    add(k->name, NULL, g, 6, out, GD_PRECISION_F32, true);
    if (k->stored == GD_BF16) jobs[n_jobs - 1].limit = limit_bf16;
    gd_graph_free(g);
}

static void add_groups(int argc, char **argv) {
    const group list[] = {
        {"group/batch 64", gd_shape4(8, 12, 12, 64), 7, GD_F32},
        {"group/batch 64 bf16", gd_shape4(8, 12, 12, 64), 7, GD_BF16},
        {"group/batch 3", gd_shape4(16, 20, 20, 3), 7, GD_F32},
        {"group/batch 516", gd_shape4(5, 3, 3, 516), 7, GD_BF16},
        {"group/instance 16", gd_shape4(3, 33, 17, 16), 6, GD_F32},
        {"group/instance 8 bf16", gd_shape4(3, 33, 17, 8), 6, GD_BF16},
        {"group/layer", gd_shape4(5, 9, 9, 12), 14, GD_F32},
        {"group/layer bf16", gd_shape4(5, 16, 16, 8), 14, GD_BF16},
        {"group/dense", gd_shape2(300, 40), 1, GD_F32},
        {"group/dense layer", gd_shape2(7, 1000), 2, GD_BF16},
        {"group/one row", gd_shape2(1, 40000), 2, GD_F32},
        {"group/one", gd_shape2(1, 1), 2, GD_F32},
        {"group/width", gd_shape4(2, 5, 70, 6), 4, GD_F32},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (argc < 2 || !strncmp(list[i].name, argv[1], strlen(argv[1]))) add_group(&list[i]);
}

/* ---- running ---- */

static void draw(ops_prog *p, const ops_case *c, uint64_t seed) {
    for (int i = 0; i < p->n; i++) {
        ops_buffer *b = &p->buffer[i];
        uint64_t key = 0;
        if (b->is.is_output) continue;
        for (const char *s = b->is.name; *s; s++) key = key * 31 + (unsigned char)*s;
        ops_fill fill = c && b->is.name[0] == 'x' ? c->fill[b->is.name[1] == '1'] : OPS_NORMAL;
        ops_draw(b->value, b->count, fill, seed, key);
        for (int64_t j = 0; b->is.dtype == GD_BF16 && j < b->count; j++) { /* the same numbers in both */
            float f = (float)b->value[j];
            uint32_t bits;
            memcpy(&bits, &f, sizeof bits);
            bits &= 0xffff0000u;
            memcpy(&f, &bits, sizeof f);
            b->value[j] = f;
        }
    }
}

static double *copy_of_output(const ops_buffer *b) {
    double *v = malloc(((size_t)b->count + 1) * sizeof *v);
    if (!v) ops_die("no memory");
    return memcpy(v, b->value, (size_t)b->count * sizeof *v);
}

/* Error of all outputs; *same: whether the reversed run gave the same. */
static double evaluate(job *j, uint64_t seed, bool *same) {
    double worst = 0, **first = calloc((size_t)j->text.n + 1, sizeof *first);
    if (!first) ops_die("no memory");
    draw(&j->text, j->c, seed);
    draw(&j->ref, j->c, seed);
    shim_reverse(false);
    ops_run(&j->text);
    for (int i = 0; i < j->text.n; i++) first[i] = copy_of_output(&j->text.buffer[i]);
    shim_reverse(true);
    ops_run(&j->text);
    ops_run(&j->ref);
    *same = true;
    for (int i = 0; i < j->text.n; i++) {
        ops_buffer *b = &j->text.buffer[i];
        int64_t n;
        *same = *same && !memcmp(first[i], b->value, (size_t)b->count * sizeof *b->value);
        double e = b->is.is_output ? ops_distance(b->value, ops_value(&j->ref, b->is.name, &n), b->count, 1e-3) : 0;
        if (e > worst) worst = e;
        free(first[i]);
    }
    free(first);
    return worst;
}

int main(int argc, char **argv) {
    uint64_t seed = ops_seed(argc, argv);
    gd_choice_set_mode(GD_CHOICE_DIRECT); /* convolutions are those of cpu: every product as it is */
    int n, failed = 0;
    const ops_case *list = ops_cases(&n);
    for (int i = 0; i < n; i++)
        if (ops_case_wanted(&list[i], argc, argv)) add_case(&list[i]);
    add_groups(argc, argv);
    shim_build();
    for (int i = 0; i < n_jobs; i++) {
        bool same;
        double e = evaluate(&jobs[i], seed, &same);
        bool good = e <= jobs[i].limit && same;
        failed += !good;
        if (!good || argc > 1)
            printf("%-36s %9.2e %8.1e %s%s\n", jobs[i].name, e, jobs[i].limit, good ? "ok" : "FAIL",
                   same ? "" : ", other bytes in reverse order");
        ops_free(&jobs[i].text);
        ops_free(&jobs[i].ref);
    }
    printf("%d programs on %d kernels, %d failed\n", n_jobs, shim_count(), failed);
    if (!n_jobs) printf("FAIL no such case\n");
    free(jobs);
    return failed || !n_jobs;
}
