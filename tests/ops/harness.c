/* tests/ops/harness.c */
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

void ops_die(const char *what) {
    fflush(stdout);
    fprintf(stderr, "%s: %s [%s]\n", what, gd_error_message(), gd_error_trail());
    exit(1);
}

void ops_need(gd_status st, const char *what) {
    if (st != GD_OK) ops_die(what);
}

gd_graph *ops_graph(int64_t shards) {
    gd_graph *g = NULL;
    ops_need(gd_graph_new(shards, &g), "graph");
    return g;
}

static void *aligned(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (!p) ops_die("no memory");
    return memset(p, 0, bytes);
}

ops_prog ops_make(const gd_graph *g, const gd_executor *x, int n_out, const gd_output *out, gd_precision precision) {
    ops_prog o = {.x = x};
    gd_program_opts opts = {.precision = precision, .guard = true};
    ops_need(gd_program_make(g, x, n_out, out, &opts, &o.p), "program");
    ops_need(gd_instance_make(o.p, &o.i), "instance");
    const gd_binding *list;
    o.n = gd_program_bindings(o.p, &list);
    o.buffer = calloc((size_t)o.n + 1, sizeof *o.buffer);
    if (!o.buffer) ops_die("no memory");
    for (int i = 0; i < o.n; i++) {
        ops_buffer *b = &o.buffer[i];
        b->is = list[i];
        b->count = gd_shape_count(list[i].shape);
        b->value = aligned((size_t)b->count * sizeof(double));
        size_t each = x->element_bytes(list[i].dtype);
        b->raw = each == sizeof(double) ? b->value : aligned((size_t)b->count * each);
        ops_need(gd_instance_bind(o.i, list[i].name, b->raw), list[i].name);
    }
    return o;
}

void ops_free(ops_prog *p) {
    gd_instance_free(p->i);
    gd_program_free(p->p);
    for (int i = 0; i < p->n; i++) {
        if (p->buffer[i].raw != p->buffer[i].value) free(p->buffer[i].raw);
        free(p->buffer[i].value);
    }
    free(p->buffer);
    *p = (ops_prog){0};
}

double *ops_value(const ops_prog *p, const char *name, int64_t *count) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->buffer[i].is.name, name) == 0) {
            if (count) *count = p->buffer[i].count;
            return p->buffer[i].value;
        }
    return NULL;
}

static uint16_t to_bf16(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

void ops_send(ops_prog *p) {
    for (int i = 0; i < p->n; i++) {
        ops_buffer *b = &p->buffer[i];
        if (b->raw == b->value) continue;
        for (int64_t j = 0; j < b->count; j++) {
            if (b->is.dtype == GD_F32) ((float *)b->raw)[j] = (float)b->value[j];
            if (b->is.dtype == GD_BF16) ((uint16_t *)b->raw)[j] = to_bf16(b->value[j]);
            if (b->is.dtype == GD_U8) ((uint8_t *)b->raw)[j] = (uint8_t)b->value[j];
        }
    }
}

void ops_fetch(ops_prog *p) {
    for (int i = 0; i < p->n; i++) {
        ops_buffer *b = &p->buffer[i];
        if (b->raw == b->value || !b->is.is_output) continue;
        for (int64_t j = 0; j < b->count; j++) {
            if (b->is.dtype == GD_F32) b->value[j] = ((float *)b->raw)[j];
            if (b->is.dtype == GD_BF16) b->value[j] = from_bf16(((uint16_t *)b->raw)[j]);
        }
    }
}

void ops_run(ops_prog *p) {
    gd_run_args a = {.seed = 7, .step = 3, .sample = 11};
    ops_send(p);
    ops_need(gd_instance_run(p->i, &a), "run");
    ops_need(gd_instance_check(p->i), "guards");
    ops_fetch(p);
}

void ops_draw(double *to, int64_t count, ops_fill how, uint64_t seed, uint64_t key) {
    const gd_rng r = {seed, GD_PURPOSE_TEST, 0};
    for (int64_t i = 0; i < count; i++) {
        float u[4] = {0}, z[4] = {0};
        if (how == OPS_NORMAL) gd_rng_normal(&r, key, (uint32_t)i * 4, 4, z);
        else gd_rng_uniform(&r, key, (uint32_t)i * 4, 4, u);
        double grid = 0.2 * (floor(u[0] * 10) - 5) + 0.04 * (u[1] - 0.5);
        switch (how) {
        case OPS_NORMAL: to[i] = z[0]; break;
        case OPS_POSITIVE: to[i] = 0.5 + 1.5 * u[0]; break;
        case OPS_AWAY: to[i] = (u[1] < 0.5f ? -1 : 1) * (0.2 + 1.3 * u[0]); break;
        case OPS_EVEN: to[i] = grid; break;
        case OPS_ODD: to[i] = grid + 0.1; break;
        case OPS_BYTE: to[i] = floor(u[0] * 256); break;
        }
        to[i] = (float)to[i];
    }
}

double ops_dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

double ops_distance(const double *a, const double *b, int64_t n, double floor) {
    double most = 0, scale = floor;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (!isfinite(a[i]) || !isfinite(b[i])) return INFINITY;
        if (d > most) most = d;
        if (fabs(b[i]) > scale) scale = fabs(b[i]);
    }
    return most / scale;
}
