/* tests/unit/compute_graph_nomem.c -- building and differentiating with the n-th allocation failing,
 * for every n: the graph says NOMEM, nothing crashes, nothing leaks (the sanitizer looks). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/graph.h"

/* The linker sends every malloc, calloc and realloc here (--wrap). */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);

static long left = -1; /* allocations until the one that fails; negative: none does */
static bool fails(void) { return left >= 0 && left-- == 0; }
void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t each) { return fails() ? NULL : __real_calloc(n, each); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }

static gd_status build(void) {
    gd_graph *g = NULL;
    gd_status st = gd_graph_new(1, &g);
    if (st != GD_OK) return st;
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(2, 8, 8, 3)), dx = x;
    for (int layer = 0; layer < 3; layer++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", layer);
        gd_node w = gd_param(g, name, gd_shape4(3, 3, 3, 3), 0);
        gd_node y = gd_conv(g, dx, w, (gd_conv_attr){1, {1, 1, 1, 1}});
        y = gd_sum_all(g, gd_leaky(g, gd_normalize(g, y, 7, 1e-5, false), 0.2));
        gd_grad(g, y, GD_NONE, 1, &x, &dx); /* deeper with each layer: some hundred nodes */
    }
    st = gd_graph_status(g);
    gd_graph_free(g);
    return st;
}

int main(void) {
    if (build() != GD_OK) {
        printf("FAIL without failures: %s\n", gd_error_message());
        return 1;
    }
    int failures = 0;
    for (long n = 0;; n++) {
        left = n;
        gd_status st = build();
        bool none_left = left >= 0; /* fewer than n + 1 allocations: done */
        left = -1;
        if (none_left) break;
        failures++;
        if (st == GD_NOMEM) continue;
        printf("FAIL allocation %ld: status %s, %s; expected NOMEM\n", n, gd_status_name(st), gd_error_message());
        return 1;
    }
    printf("%d allocations failed one by one\n", failures);
    return failures < 10;
}
