/* tests/gpu/ops.c -- every op of the CPU's parity table (tests/ops/cases.c), value and gradients, on a GPU against `ref`.
 *
 * Norm: |have - ref| / |ref| of each tensor (2-norms, |ref| at least 1e-3), ref having the program's precision in double. Limits:
 * f32 strict 1e-5 for all ops; tf32 1e-3 and bf16 2e-2 for what is multiplied (matmul, convolutions), which alone differs there.
 * Every program runs twice: the same bytes. Prints JSON lines and a table, worst of each op.
 *
 * Usage: [CASE]: only cases whose name begins so. Ends with 77 and the reason where no GPU can be used. What can be
 * run on the fake libraries is so in the default suite. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cuda/on_device.h"
#include "../ops/cases.h"
#include "compute/cuda/driver.h"

enum { MODES = 3, OPS = 128 };

typedef struct mode {
    const char *name;
    gd__dnn_math math;
    gd_precision precision;
    double limit;
    bool only_heavy;
} mode;
static const mode modes[MODES] = {
    {"f32", GD__DNN_F32, GD_PRECISION_F32, 1e-5, false},
    {"tf32", GD__DNN_TF32, GD_PRECISION_F32, 1e-3, true},
    {"bf16", GD__DNN_F32, GD_PRECISION_BF16, 2e-2, true},
};

typedef struct job {
    const ops_case *c;
    prog device;
    ops_prog ref;
} job;

static gd__cu_device *device;
static job *jobs;
static int n_jobs, programs, failures;
static double worst[OPS][MODES]; /* of an op; below 0: not run */

/* ---- making ---- */

static void add(const ops_case *c, const gd_executor *cuda, const mode *m) {
    static const char *const name[2] = {"d_x0", "d_x1"};
    gd_graph *g = ops_graph(1);
    gd_node x[2], dx[2];
    gd_node y = ops_case_build(g, c, x);
    gd_grad(g, y, gd_input(g, "c", GD_F32, gd_node_shape(g, y)), c->n_in, x, dx);
    gd_output out[3] = {{"y", y}};
    for (int i = 0; i < c->n_in; i++) out[1 + i] = (gd_output){name[i], dx[i]};
    ops_need(gd_graph_status(g), c->name);
    gd_step_graph s = {.graph = g, .n_outputs = 1 + c->n_in, .outputs = out};
    jobs = realloc(jobs, (size_t)(n_jobs + 1) * sizeof *jobs);
    if (!jobs) ops_die("no memory");
    jobs[n_jobs++] = (job){c, open_prog(device, cuda, &s, m->precision),
                           ops_make(g, gd_executor_ref(), 1 + c->n_in, out, m->precision)};
    gd_graph_free(g);
}

/* ---- running ---- */

static void draw(ops_prog *p, const ops_case *c) {
    for (int i = 0; i < p->n; i++) {
        ops_buffer *b = &p->buffer[i];
        uint64_t key = 0;
        if (b->is.is_output) continue;
        for (const char *s = b->is.name; *s; s++) key = key * 31 + (unsigned char)*s;
        ops_fill fill = b->is.name[0] == 'x' ? c->fill[b->is.name[1] == '1'] : OPS_NORMAL;
        ops_draw(b->value, b->count, fill, 1, key);
    }
}

/* The reference's values of the device's binding b. */
static void upload(const job *j, int b) {
    const prog *p = &j->device;
    const gd_binding *is = &p->list[b];
    int64_t n;
    const double *value = ops_value(&j->ref, is->name, &n);
    if (!value) ops_die(is->name);
    ops_need(device->host(device, p->pinned, binding_bytes(is), true), "host");
    for (int64_t i = 0; i < n; i++) {
        if (is->dtype == GD_U8) ((uint8_t *)p->pinned)[i] = (uint8_t)value[i];
        else ((float *)p->pinned)[i] = (float)value[i];
    }
    ops_need(device->copy(device, gd__cu_stream(), p->at[b], p->pinned, binding_bytes(is)), "copy");
    ops_need(gd__cu_finish(), "finish");
}

/* Of output b. */
static double distance(job *j, int b, const float *have) {
    int64_t n;
    const double *want = ops_value(&j->ref, j->device.list[b].name, &n);
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)have[i] - want[i];
        difference += d * d;
        size += want[i] * want[i];
    }
    double e = sqrt(difference) / fmax(sqrt(size), 1e-3);
    return isfinite(e) ? e : INFINITY;
}

static void run(job *j, const mode *m) {
    static const gd_run_args args = {.seed = 7, .step = 3, .sample = 11}; /* those of ops_run */
    double e = 0;
    bool same = true;
    prog *p = &j->device;
    void **first = calloc((size_t)p->n + 1, sizeof *first);
    if (!first) ops_die("no memory");
    draw(&j->ref, j->c);
    for (int b = 0; b < p->n; b++)
        if (!p->list[b].is_output) upload(j, b);
    ops_run(&j->ref);
    for (int pass = 0; pass < 2; pass++) {
        ops_need(gd_instance_run(p->i, &args), j->c->name);
        for (int b = 0; b < p->n; b++) {
            if (!p->list[b].is_output) continue;
            void *have = download(p, b);
            if (pass == 0) {
                double d = distance(j, b, have);
                if (d > e) e = d;
                first[b] = have;
                continue;
            }
            same = same && !memcmp(first[b], have, binding_bytes(&p->list[b]));
            free(have);
            free(first[b]);
        }
    }
    free(first);
    bool good = e <= m->limit && same;
    failures += !good;
    programs++;
    if (e > worst[j->c->op][m - modes]) worst[j->c->op][m - modes] = e;
    printf("{\"stage\":\"ops\",\"case\":\"%s\",\"mode\":\"%s\",\"error\":%.3g,\"limit\":%g,\"repeats\":%s,\"ok\":%s}\n",
           j->c->name, m->name, isfinite(e) ? e : 1e300, m->limit, same ? "true" : "false", good ? "true" : "false");
}

/* All programs are made before the first one runs. */
static void run_mode(const mode *m, int argc, char **argv) {
    const gd_executor *cuda;
    int n;
    const ops_case *list = ops_cases(&n);
    ops_need(gd__cu_executor_open(device, m->math, &cuda), "executor");
    for (int i = 0; i < n; i++) {
        bool heavy = gd_op_class_of(list[i].op) == GD_CLASS_HEAVY;
        if ((heavy || !m->only_heavy) && ops_case_wanted(&list[i], argc, argv)) add(&list[i], cuda, m);
    }
    for (int i = 0; i < n_jobs; i++) run(&jobs[i], m);
    for (int i = 0; i < n_jobs; i++) {
        close_prog(&jobs[i].device);
        ops_free(&jobs[i].ref);
    }
    n_jobs = 0;
    ops_need(gd__cu_executor_close(), "close");
}

static void print_table(void) {
    printf("%-20s %10s %10s %10s\n", "op", modes[0].name, modes[1].name, modes[2].name);
    for (int op = 0; op < OPS; op++) {
        if (worst[op][0] < 0) continue;
        printf("%-20s", gd_op_text((gd_op)op));
        for (int m = 0; m < MODES; m++) {
            if (worst[op][m] < 0) printf(" %10s", "-");
            else printf(" %10.1e", worst[op][m]);
        }
        printf("\n");
    }
}

int main(int argc, char **argv) {
    const gd__cu_driver_opts o = {.cache = getenv("GANDIST_CUDA_CACHE")};
    gd_status st = gd__cu_driver_open(&o, &device);
    if (st == GD_UNSUP) {
        printf("skipped: %s\n", gd_error_message());
        return 77;
    }
    ops_need(st, "GPU");
    for (int op = 0; op < OPS; op++)
        for (int m = 0; m < MODES; m++) worst[op][m] = -1;
    for (int m = 0; m < MODES; m++) run_mode(&modes[m], argc, argv);
    free(jobs);
    ops_need(gd__cu_driver_close(device), "close");
    print_table();
    printf("%d programs, %d failures\n", programs, failures);
    return failures || !programs;
}
