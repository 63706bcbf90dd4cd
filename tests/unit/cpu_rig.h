/* tests/unit/cpu_rig.h -- runs nodes of a graph on the executor cpu, without a planner: every stored
 * node has a buffer of exactly its size, so that the sanitizer sees a step beyond. */
#ifndef GANDIST_TESTS_CPU_RIG_H
#define GANDIST_TESTS_CPU_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants the headers above first
#include <cmocka.h>

#include "base/memory.h"
#include "base/rng.h"
#include "compute/build.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/vmath.h"

typedef struct rig {
    gd_graph *g;
    bool *stored;
    void **buffer;
    gd_view view;
    gd_run_args args;
    void *scratch;
    size_t scratch_bytes;
} rig;

#define rig_ok(call)                                                                                \
    do {                                                                                            \
        if ((call) != GD_OK) fail_msg("%s: %s (%s)", #call, gd_error_message(), gd_error_trail());  \
    } while (0)

static inline void *rig_alloc(size_t bytes) {
    void *p = gd_memory_alloc(bytes);
    assert_non_null(p);
    memset(p, 0xff, bytes); /* NaN in every float: nothing may be read before it is written */
    return p;
}

/* After the graph is built. All nodes are stored until rig_hide. */
static inline void rig_open(rig *r, gd_graph *g) {
    rig_ok(gd_graph_status(g));
    int n = gd_graph_count(g);
    memset(r, 0, sizeof *r);
    r->g = g;
    r->stored = malloc((size_t)n * sizeof *r->stored);
    r->buffer = calloc((size_t)n, sizeof *r->buffer);
    assert_non_null(r->stored);
    assert_non_null(r->buffer);
    for (int i = 0; i < n; i++) {
        const gd_node_info *info = gd_graph_at(g, i);
        r->stored[i] = info->op != GD_OP_CONST;
        r->buffer[i] = rig_alloc((size_t)gd_shape_count(info->shape) * gd_dtype_bytes(info->dtype));
    }
    r->view = (gd_view){.graph = g, .stored = r->stored};
    r->args = (gd_run_args){.seed = 5, .step = 3, .sample = 11};
}

static inline void rig_close(rig *r) {
    for (int i = 0; i < gd_graph_count(r->g); i++) free(r->buffer[i]);
    free(r->buffer);
    free(r->stored);
    free(r->scratch);
    gd_graph_free(r->g);
}

static inline gd_memory rig_memory(rig *r, size_t scratch_bytes) {
    free(r->scratch);
    r->scratch = rig_alloc(scratch_bytes);
    return (gd_memory){.node = r->buffer, .scratch = r->scratch, .args = &r->args};
}

/* One unfused step on the executor. text (of describe_step) may be NULL. */
static inline void rig_run(rig *r, gd_node n, char text[128]) {
    const gd_executor *cpu = gd_executor_cpu();
    char why[256];
    if (!cpu->supports(r->g, n, why, sizeof why)) fail_msg("not supported: %s", why);
    gd_exec_step step = {.first_node = 0, .n_nodes = 1};
    gd_view v = r->view;
    v.n_steps = 1;
    v.steps = &step;
    v.step_nodes = &n;
    void *state;
    size_t scratch = 0, shared = 0;
    rig_ok(cpu->prepare(&v, &scratch, &shared, &state));
    gd_memory m = rig_memory(r, scratch);
    rig_ok(cpu->run(state, &v, 0, &m));
    if (text) snprintf(text, 128, "%s", cpu->describe_step(state, &v, 0));
    cpu->release(state);
}

/* Normal numbers times scale, in the node's own type. */
static inline void rig_fill(rig *r, gd_node n, uint32_t stream, float scale) {
    const gd_node_info *info = gd_graph_at(r->g, n);
    const gd_rng rng = {.seed = 7, .purpose = GD_PURPOSE_TEST | stream << 16};
    uint32_t count = (uint32_t)gd_shape_count(info->shape);
    float *x = malloc(count * sizeof *x);
    assert_non_null(x);
    gd_rng_normal(&rng, 0, 0, count, x);
    for (uint32_t i = 0; i < count; i++) {
        if (info->dtype == GD_U8) ((uint8_t *)r->buffer[n])[i] = (uint8_t)(int)fabsf(x[i] * 50.0f);
        else x[i] *= scale;
    }
    if (info->dtype == GD_F32) memcpy(r->buffer[n], x, count * sizeof *x);
    if (info->dtype == GD_BF16) gd__narrow(x, r->buffer[n], count);
    free(x);
}

static inline double rig_at(const rig *r, gd_node n, int64_t i) {
    const gd_node_info *info = gd_graph_at(r->g, n);
    if (info->op == GD_OP_CONST) return (double)(float)info->attr.value;
    if (info->dtype == GD_U8) return ((const uint8_t *)r->buffer[n])[i];
    if (info->dtype == GD_F32) return (double)((const float *)r->buffer[n])[i];
    return (double)gd__from_bf16(((const uint16_t *)r->buffer[n])[i]);
}

static inline size_t rig_bytes(const rig *r, gd_node n) {
    const gd_node_info *i = gd_graph_at(r->g, n);
    return (size_t)gd_shape_count(i->shape) * gd_dtype_bytes(i->dtype);
}

#endif
