#include "tests/unit/models_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

gd_gan *check_make(gd_gan_spec s) {
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    return m;
}

double *check_room(int64_t n) {
    double *p = calloc((size_t)n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

void check_near(const char *what, double got, double want, double error) {
    if (!(fabs(got - want) <= error)) fail_msg("%s: %.15g, expected %.15g", what, got, want);
}

void check_close(const char *what, const double *got, const double *want, int64_t n, double tolerance) {
    double scale = 1e-3;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) check_near(what, got[i], want[i], tolerance * scale);
}

void check_same(const rig *a, const rig *b, const char *name) {
    int64_t n = rig_count(a, name);
    assert_int_equal(n, rig_count(b, name));
    double *x = check_room(n), *y = check_room(n);
    rig_get(a, 0, name, x);
    rig_get(b, 0, name, y);
    check_close(name, x, y, n, 1e-9);
    free(x);
    free(y);
}

/* ---- inputs ---- */

/* Elements first .. of a data part: bytes, points, or one-hot labels. */
static void data_values(const gd_binding *d, bool label, int64_t n, int64_t first, double *v) {
    uint64_t stream = 99 + (uint64_t)(d->name[5] - '0');
    int64_t one = gd_shape_count(d->shape) / d->shape.dim[0];
    for (int64_t i = 0; i < n; i++) {
        double u = rig_number(stream, (uint64_t)(first * one + i));
        v[i] = d->dtype == GD_U8 ? (double)(int)((u + 1) * 128) : u;
    }
    for (int64_t k = 0; label && k < n / one; k++) {
        int64_t which = (int64_t)((rig_number(stream, (uint64_t)(first + k)) + 1) / 2 * (double)one);
        for (int64_t i = 0; i < one; i++) v[k * one + i] = i == which;
    }
}

static double control_value(const char *name, int64_t i) {
    if (!strcmp(name, "control:noise_std")) return 0.3;
    if (!strcmp(name, "control:rate")) return 0.35;
    if (!strcmp(name, "control:pick")) return i == CHECK_PICK;
    fail_msg("nobody knows the input %s", name);
    return 0;
}

void check_set_inputs(rig *r, const gd_gan *m, int64_t first) {
    bool classifier = gd_gan_get_spec(m)->topology == GD_TOPOLOGY_CLASSIFIER;
    for (int b = 0; b < r->n_bindings; b++) {
        const gd_binding *d = &r->bindings[b];
        if (!d->is_input) continue;
        bool control = !strncmp(d->name, "control:", 8);
        int64_t n = gd_shape_count(d->shape) * (control ? 1 : r->shards);
        double *v = check_room(n);
        if (!strncmp(d->name, "data:", 5)) data_values(d, classifier && !strcmp(d->name, "data:1"), n, first, v);
        else if (!strncmp(d->name, "pooled:", 7)) rig_numbers(300 + (uint64_t)(d->name[7] - '0'), n, 1, 0, v);
        else
            for (int64_t i = 0; i < n; i++) v[i] = control_value(d->name, i);
        if (control) rig_set(r, -1, d->name, v);
        else rig_scatter(r, d->name, v);
        free(v);
    }
}

rig *check_open_on(const char *executor, const gd_gan *m, gd_step_kind kind, bool with_penalty, int64_t shards) {
    gd_step_graph s;
    rig_ok(gd_gan_step(m, kind, with_penalty, shards, &s));
    rig *r = rig_new(&s, executor);
    gd_step_graph_free(&s);
    r->kind = kind;
    rig_fill_gan(r, m, 0.5);
    check_set_inputs(r, m, 0);
    return r;
}

rig *check_open(const gd_gan *m, gd_step_kind kind, int64_t shards) {
    return check_open_on("ref", m, kind, true, shards);
}

/* Parameters after an "update" at the pause: other numbers. */
static void update(void *ctx, rig *r, int phase) {
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(ctx, &nets);
    gd_group group = r->kind == GD_STEP_GD_SHARED ? GD_GROUP_G : GD_GROUP_D;
    assert_int_equal(phase, 1);
    for (int k = 0; k < n_nets; k++) {
        const gd_param_info *p;
        int n = gd_net_params(nets[k].net, &p);
        for (int i = 0; nets[k].group == group && i < n; i++) {
            if (p[i].buffer) continue;
            char name[96];
            snprintf(name, sizeof name, "%s/%s", nets[k].prefix, p[i].name);
            int64_t count = gd_shape_count(p[i].shape);
            double *v = check_room(count);
            rig_numbers(5000 + 100 * (uint64_t)k + (uint64_t)i, count, 0.5, 0.1, v);
            rig_set(r, -1, name, v);
            free(v);
        }
    }
}

void check_run(rig *r, gd_gan *m, int64_t n) { rig_run(r, CHECK_SEED, CHECK_STEP, n, update, m); }

/* ---- gradients ---- */

bool check_trains(gd_step_kind kind, gd_group group) { return kind != (group == GD_GROUP_G ? GD_STEP_D : GD_STEP_G); }

static double loss_at(rig *r, gd_gan *m, const char *name, double *v, int64_t i, double x, const char *metric) {
    double old = v[i];
    rig_fill_gan(r, m, 0.5);
    v[i] = x;
    rig_set(r, 0, name, v);
    v[i] = old;
    check_run(r, m, CHECK_BATCH);
    return rig_metric(r, metric);
}

/* Central difference at element i; v: all elements. */
static double difference(rig *r, gd_gan *m, const char *name, double *v, int64_t i, double h, const char *metric) {
    double up = loss_at(r, m, name, v, i, v[i] + h, metric), down = loss_at(r, m, name, v, i, v[i] - h, metric);
    return (up - down) / (2 * h);
}

/* A few elements of each parameter. Absolute values and rectifiers have kinks: a second, smaller step
 * decides where the first one crossed one. */
static void check_param(rig *r, gd_gan *m, const char *prefix, const gd_param_info *p, const char *metric) {
    char name[96], grad_name[112];
    snprintf(name, sizeof name, "%s/%s", prefix, p->name);
    snprintf(grad_name, sizeof grad_name, "grad:%s", name);
    int64_t count = gd_shape_count(p->shape);
    double *v = check_room(count), *grad = check_room(count), scale = 1e-3;
    rig_fill_gan(r, m, 0.5);
    rig_get(r, 0, name, v);
    check_run(r, m, CHECK_BATCH);
    rig_get(r, 0, grad_name, grad);
    for (int64_t i = 0; i < count; i++) scale = fmax(scale, fabs(grad[i]));
    for (int64_t i = 0; i < count; i += count / 2 + 1) {
        double slope = difference(r, m, name, v, i, 1e-5, metric);
        if (fabs(slope - grad[i]) > 1e-6 * scale) slope = difference(r, m, name, v, i, 5e-7, metric);
        if (!(fabs(slope - grad[i]) <= 2e-6 * scale))
            fail_msg("%s, %s[%lld] is %.12g, differences say %.12g (largest %.3g)", gd_step_kind_text(r->kind),
                     grad_name, (long long)i, grad[i], slope, scale);
    }
    free(v);
    free(grad);
}

void check_gradients_of(gd_gan *m, gd_step_kind kind) {
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(m, &nets);
    rig *r = check_open(m, kind, 1);
    for (int i = 0; i < n_nets; i++) {
        if (!check_trains(kind, nets[i].group)) continue;
        const gd_param_info *p;
        int n = gd_net_params(nets[i].net, &p);
        for (int j = 0; j < n; j++)
            if (!p[j].buffer)
                check_param(r, m, nets[i].prefix, &p[j], nets[i].group == GD_GROUP_D ? "loss_d" : "loss_g");
    }
    rig_free(r);
}

void check_gradients(gd_gan *m) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++)
        if (gd_gan_has_step(m, (gd_step_kind)k)) check_gradients_of(m, (gd_step_kind)k);
}

/* ---- shards and executors ---- */

/* Images for pools: every shard has its own part. */
static bool scattered(const char *name) { return !strncmp(name, "pool:", 5); }

static void check_scattered(const rig *one, const rig *many, const char *name, double tolerance) {
    int64_t all = rig_count(one, name), part = rig_count(many, name);
    assert_true(part * many->shards == all);
    double *want = check_room(all), *got = check_room(part);
    rig_get(one, 0, name, want);
    for (int k = 0; k < many->shards; k++) {
        rig_get(many, k, name, got);
        check_close(name, got, want + k * part, part, tolerance);
    }
    free(want);
    free(got);
}

void check_outputs(const rig *one, const rig *many, double tolerance) {
    assert_int_equal(one->n_bindings, many->n_bindings);
    for (int b = 0; b < one->n_bindings; b++) {
        const gd_binding *d = &one->bindings[b];
        if (!d->is_output) continue;
        if (scattered(d->name)) {
            check_scattered(one, many, d->name, tolerance);
            continue;
        }
        int64_t n = gd_shape_count(d->shape);
        double *want = check_room(n), *got = check_room(n);
        rig_get(one, 0, d->name, want);
        bool buffer = !strchr(d->name, ':');
        if (!buffer) rig_sum(many, d->name, got);
        for (int k = 0; k < many->shards; k++) {
            if (buffer) rig_get(many, k, d->name, got); /* all shards hold the same */
            check_close(d->name, got, want, n, tolerance);
        }
        free(want);
        free(got);
    }
}

static void check_against(const rig *one, gd_gan *m, const char *executor, int64_t shards, double tolerance) {
    rig *many = check_open_on(executor, m, one->kind, true, shards);
    check_run(many, m, CHECK_BATCH / shards);
    check_outputs(one, many, tolerance);
    rig_free(many);
}

void check_shards_of(gd_gan *m, gd_step_kind kind) {
    rig *one = check_open(m, kind, 1);
    check_run(one, m, CHECK_BATCH);
    check_against(one, m, "ref", 2, 1e-9);
    check_against(one, m, "ref", 4, 1e-9);
    check_against(one, m, "cpu", 2, 1e-4);
    rig_free(one);
}

void check_shards(gd_gan *m) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++)
        if (gd_gan_has_step(m, (gd_step_kind)k)) check_shards_of(m, (gd_step_kind)k);
}
