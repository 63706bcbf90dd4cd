/* tests/unit/program_nomem.c -- planning and instances with the n-th allocation failing, for every n:
 * NOMEM, nothing crashes, nothing leaks (the sanitizer looks). And a step allocates nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/exec.h"

/* The linker sends every allocation of gandist here (--wrap); oneDNN's own do not pass. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t to, size_t n);
int __real_posix_memalign(void **p, size_t to, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t to, size_t n);
int __wrap_posix_memalign(void **p, size_t to, size_t n);
void __wrap_free(void *p);

static long left = -1; /* allocations until the one that fails; negative: none does */
static long calls;
static bool fails(void) {
    calls++;
    return left >= 0 && left-- == 0;
}
void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t each) { return fails() ? NULL : __real_calloc(n, each); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t to, size_t n) { return fails() ? NULL : __real_aligned_alloc(to, n); }
int __wrap_posix_memalign(void **p, size_t to, size_t n) { return fails() ? 12 : __real_posix_memalign(p, to, n); }
void __wrap_free(void *p) {
    calls += p != NULL;
    __real_free(p);
}

typedef struct model {
    gd_graph *g;
    gd_output out[4];
} model;

static int die(const char *what) {
    printf("FAIL %s: %s [%s]\n", what, gd_error_message(), gd_error_trail());
    exit(1);
}

/* Convolution, batch norm, matrix product, versions: every part of planning has something to do. */
static model make_model(void) {
    model m = {0};
    if (gd_graph_new(2, &m.g) != GD_OK) die("graph");
    gd_graph *g = m.g;
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 8, 8, 8)), w = gd_param(g, "w", gd_shape4(8, 3, 3, 8), 0), dw;
    gd_node y = gd_leaky(g, gd_normalize(g, gd_conv(g, x, w, (gd_conv_attr){1, {1, 1, 1, 1}}), 7, 1e-5, true), 0.2);
    gd_node flat =
        gd_matmul(g, gd_reshape(g, y, gd_shape2(2, 512)), gd_param(g, "v", gd_shape2(512, 4), 0), false, false);
    gd_grad(g, gd_sum_all(g, gd_tanh(g, flat)), GD_NONE, 1, &w, &dw);
    m.out[0] = (gd_output){"dw", gd_allreduce(g, dw)};
    gd_graph_set_phase(g, 1);
    m.out[1] = (gd_output){"z", gd_add(g, w, gd_param(g, "w", gd_shape4(8, 3, 3, 8), 1))};
    m.out[2] = (gd_output){"e", w};
    m.out[3] = (gd_output){"v", gd_scale(g, gd_param(g, "v", gd_shape2(512, 4), 0), 0.5)};
    if (gd_graph_status(g) != GD_OK) die("graph");
    return m;
}

static gd_status plan(const model *m, const gd_executor *x, const gd_program_opts *o) {
    gd_program *p = NULL;
    gd_instance *i = NULL;
    gd_status st = gd_program_make(m->g, x, 4, m->out, o, &p);
    if (st == GD_OK) st = gd_instance_make(p, &i);
    gd_instance_free(i);
    gd_program_free(p);
    return st;
}

static int fail_each(const model *m, const gd_executor *x, gd_precision precision) {
    const gd_program_opts o = {.precision = precision};
    for (int n = 0;; n++) {
        left = n;
        gd_status st = plan(m, x, &o);
        bool none_left = left >= 0; /* fewer than n + 1 allocations: done */
        left = -1;
        if (none_left && st == GD_OK) return n;
        if (st == GD_NOMEM) continue;
        printf("%s allocation %d: status %s\n", x->name, n, gd_status_name(st));
        die("expected NOMEM");
    }
}

static void *aligned(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64)) die("no memory");
    return memset(p, 0, bytes);
}

static long count_of_run(const model *m, const gd_executor *x) {
    gd_program *p = NULL;
    gd_instance *i = NULL;
    if (gd_program_make(m->g, x, 4, m->out, NULL, &p) != GD_OK || gd_instance_make(p, &i) != GD_OK) die("program");
    const gd_binding *list;
    int n = gd_program_bindings(p, &list);
    void *memory[16] = {0};
    for (int b = 0; b < n && b < 16; b++) {
        memory[b] = aligned((size_t)gd_shape_count(list[b].shape) * 8);
        if (gd_instance_bind(i, list[b].name, memory[b]) != GD_OK) die("bind");
    }
    long before = calls;
    const gd_run_args a = {.seed = 1};
    for (int k = 0; k < 3; k++)
        if (gd_instance_run(i, &a) != GD_OK) die("run");
    long during = calls - before;
    gd_instance_free(i);
    gd_program_free(p);
    for (int b = 0; b < 16; b++) free(memory[b]);
    return during;
}

int main(void) {
    model m = make_model();
    const gd_executor *const all[] = {gd_executor_ref(), gd_executor_cpu()};
    int bad = 0;
    for (int k = 0; k < 2; k++) {
        if (plan(&m, all[k], &(gd_program_opts){0}) != GD_OK) die("without failures");
        for (int half = 0; half < 2; half++) {
            int failed = fail_each(&m, all[k], half ? GD_PRECISION_BF16 : GD_PRECISION_F32);
            printf("%s %s: %d allocations failed one by one\n", all[k]->name, half ? "bf16" : "f32", failed);
            bad |= failed < 20;
        }
        long during = count_of_run(&m, all[k]);
        printf("%s: %ld allocations and releases in three runs\n", all[k]->name, during);
        bad |= during != 0;
    }
    gd_graph_free(m.g);
    return bad;
}
