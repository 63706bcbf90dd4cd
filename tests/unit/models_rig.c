#include "tests/unit/models_rig.h"

#include <stdlib.h>
#include <string.h>

void rig_ok(gd_status st) {
    if (st != GD_OK) fail_msg("%s: %s [%s]", gd_status_name(st), gd_error_message(), gd_error_trail());
}

void rig_refused(gd_status st, gd_status want, ...) {
    if (st != want) fail_msg("status %s instead of %s", gd_status_name(st), gd_status_name(want));
    va_list v;
    va_start(v, want);
    for (const char *part; (part = va_arg(v, const char *));)
        if (!strstr(gd_error_message(), part)) fail_msg("'%s' is not in: %s", part, gd_error_message());
    va_end(v);
}

/* ---- memory ---- */

static void *aligned(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, bytes);
    return p;
}

static bool doubles(const rig *r) { return !strcmp(r->executor->name, "ref"); }

static void store(const rig *r, int b, void *memory, const double *value) {
    int64_t n = gd_shape_count(r->bindings[b].shape);
    gd_dtype t = r->bindings[b].dtype;
    for (int64_t i = 0; i < n; i++) {
        if (doubles(r)) ((double *)memory)[i] = value[i];
        else if (t == GD_U8) ((uint8_t *)memory)[i] = (uint8_t)value[i];
        else ((float *)memory)[i] = (float)value[i];
    }
}

static void load(const rig *r, int b, const void *memory, double *value) {
    int64_t n = gd_shape_count(r->bindings[b].shape);
    for (int64_t i = 0; i < n; i++)
        value[i] = doubles(r) ? ((const double *)memory)[i] : (double)((const float *)memory)[i];
}

static void make_shard(rig *r, int k) {
    rig_ok(gd_instance_make(r->program, &r->instance[k]));
    r->memory[k] = calloc((size_t)r->n_bindings, sizeof(void *));
    assert_non_null(r->memory[k]);
    for (int b = 0; b < r->n_bindings; b++) {
        const gd_binding *d = &r->bindings[b];
        r->memory[k][b] = aligned((size_t)gd_shape_count(d->shape) * sizeof(double));
        rig_ok(gd_instance_bind(r->instance[k], d->name, r->memory[k][b]));
    }
}

rig *rig_new(const gd_step_graph *s, const char *executor) {
    rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->executor = gd_executor_find(executor);
    assert_non_null(r->executor);
    r->shards = (int)gd_graph_shards(s->graph);
    assert_true(r->shards <= RIG_SHARDS_MAX);
    gd_program_opts o = {.guard = true};
    rig_ok(gd_program_make(s->graph, r->executor, s->n_outputs, s->outputs, &o, &r->program));
    r->n_bindings = gd_program_bindings(r->program, &r->bindings);
    for (int k = 0; k < r->shards; k++) make_shard(r, k);
    return r;
}

void rig_free(rig *r) {
    for (int k = 0; k < r->shards; k++) {
        rig_ok(gd_instance_check(r->instance[k]));
        gd_instance_free(r->instance[k]);
        for (int b = 0; b < r->n_bindings; b++) free(r->memory[k][b]);
        free(r->memory[k]);
    }
    gd_program_free(r->program);
    free(r);
}

/* ---- bindings ---- */

int rig_find(const rig *r, const char *name) {
    for (int b = 0; b < r->n_bindings; b++)
        if (!strcmp(r->bindings[b].name, name)) return b;
    return -1;
}

static int must_find(const rig *r, const char *name) {
    int b = rig_find(r, name);
    if (b < 0) fail_msg("the program has no binding %s", name);
    return b;
}

int64_t rig_count(const rig *r, const char *name) { return gd_shape_count(r->bindings[must_find(r, name)].shape); }

void rig_set(rig *r, int shard, const char *name, const double *value) {
    int b = rig_find(r, name);
    for (int k = 0; b >= 0 && k < r->shards; k++)
        if (shard < 0 || shard == k) store(r, b, r->memory[k][b], value);
}

void rig_get(const rig *r, int shard, const char *name, double *out) {
    int b = must_find(r, name);
    load(r, b, r->memory[shard][b], out);
}

void rig_sum(const rig *r, const char *name, double *out) {
    int64_t n = rig_count(r, name);
    double *part = calloc((size_t)n, sizeof *part);
    assert_non_null(part);
    memset(out, 0, (size_t)n * sizeof *out);
    for (int k = 0; k < r->shards; k++) {
        rig_get(r, k, name, part);
        for (int64_t i = 0; i < n; i++) out[i] += part[i];
    }
    free(part);
}

double rig_metric(const rig *r, const char *name) {
    char full[64];
    double value;
    snprintf(full, sizeof full, "metric:%s", name);
    assert_int_equal(rig_count(r, full), 1);
    rig_sum(r, full, &value);
    return value;
}

void rig_scatter(rig *r, const char *name, const double *value) {
    int b = rig_find(r, name);
    for (int k = 0; b >= 0 && k < r->shards; k++) rig_set(r, k, name, value + k * gd_shape_count(r->bindings[b].shape));
}

/* ---- running ---- */

/* Every shard waits with its part of one sum: puts the sum into all. */
static void serve(const rig *r, const gd_pause *p) {
    for (int k = 1; k < r->shards; k++) {
        assert_string_equal(p[k].name, p[0].name);
        assert_true(p[k].count == p[0].count);
    }
    for (int64_t i = 0; i < p[0].count; i++) {
        double sum = 0;
        for (int k = 0; k < r->shards; k++) sum += doubles(r) ? ((double *)(void *)p[k].data)[i] : (double)p[k].data[i];
        for (int k = 0; k < r->shards; k++) {
            if (doubles(r)) ((double *)(void *)p[k].data)[i] = sum;
            else p[k].data[i] = (float)sum;
        }
    }
}

void rig_run(rig *r, uint64_t seed, uint64_t step, int64_t n, rig_pause_fn hook, void *ctx) {
    gd_pause p[RIG_SHARDS_MAX] = {0};
    for (int k = 0; k < r->shards; k++) {
        gd_run_args a = {.seed = seed, .step = step, .sample = r->first_sample + (uint64_t)(k * n)};
        rig_ok(gd_instance_start(r->instance[k], &a, &p[k]));
    }
    while (p[0].kind != GD_PAUSE_DONE) {
        for (int k = 1; k < r->shards; k++) assert_int_equal(p[k].kind, p[0].kind);
        if (p[0].kind == GD_PAUSE_COLLECTIVE) serve(r, p);
        else if (hook) hook(ctx, r, p[0].phase);
        for (int k = 0; k < r->shards; k++) rig_ok(gd_instance_resume(r->instance[k], &p[k]));
    }
    for (int k = 1; k < r->shards; k++) assert_int_equal(p[k].kind, GD_PAUSE_DONE);
}

/* ---- numbers ---- */

double rig_number(uint64_t stream, uint64_t i) {
    uint64_t z = (stream << 32) + i + 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(int64_t)(z >> 48) / 32768.0 - 1;
}

void rig_numbers(uint64_t stream, int64_t n, double scale, double offset, double *out) {
    for (int64_t i = 0; i < n; i++) out[i] = offset + scale * rig_number(stream, (uint64_t)i);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

void rig_fill_net(rig *r, const gd_net *net, const char *prefix, uint64_t stream, double amplitude) {
    const gd_param_info *p;
    int n = gd_net_params(net, &p);
    for (int i = 0; i < n; i++) {
        char name[300];
        snprintf(name, sizeof name, "%s/%s", prefix, p[i].name);
        int64_t count = gd_shape_count(p[i].shape);
        double *v = malloc((size_t)count * sizeof *v);
        assert_non_null(v);
        bool around_one = ends_with(name, "running_var") || (ends_with(name, "weight") && p[i].shape.rank == 1);
        rig_numbers(stream + (uint64_t)i, count, around_one ? 0.25 : amplitude, around_one ? 1 : 0, v);
        rig_set(r, -1, name, v);
        free(v);
    }
}

void rig_fill_gan(rig *r, const gd_gan *m, double amplitude) {
    const gd_gan_net *nets;
    int n = gd_gan_nets(m, &nets);
    for (int i = 0; i < n; i++) rig_fill_net(r, nets[i].net, nets[i].prefix, 1000 * (uint64_t)i, amplitude);
}
