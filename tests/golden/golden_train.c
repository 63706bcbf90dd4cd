/* Ten training steps of tiny GANs against the same loop in PyTorch (make.py): step graphs, latents,
 * optimisers and the order of updates together. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dist/optimizer.h"
#include "tests/golden/golden.h"

enum { STEPS = 10, BATCH = 6, SEED = 11, SERIES_MAX = 8, SERIES_ROOM = 64, GROUPS = GD_GROUP_COUNT, PARAMS_MAX = 32 };

typedef struct series {
    char name[32];
    int n;
    double value[SERIES_ROOM];
} series;

typedef struct trainer {
    gd_gan *gan;
    gd_optimizer_spec optimizer;
    double clip;     /* of D */
    uint64_t stream; /* of the networks; real batches: stream + 2000 + draw */
    rig *program[GD_STEP_KIND_COUNT];
    gd_step_graph graph[GD_STEP_KIND_COUNT];
    /* per network and parameter; buffers have no moments */
    double *value[GROUPS][PARAMS_MAX];
    float *m[GROUPS][PARAMS_MAX], *v[GROUPS][PARAMS_MAX];
    int64_t updates[GROUPS];
    uint64_t draws;
    int64_t iteration;
    series log[SERIES_MAX];
} trainer;

static const gd_gan_net *net_of(const trainer *t, int group) {
    const gd_gan_net *nets;
    assert_int_equal(gd_gan_nets(t->gan, &nets), 2);
    assert_int_equal(nets[group].group, group);
    return &nets[group];
}

static int params_of(const trainer *t, int group, const gd_param_info **p) {
    int n = gd_net_params(net_of(t, group)->net, p);
    assert_true(n <= PARAMS_MAX);
    return n;
}

static void full_name(const trainer *t, int group, const char *kind, const char *name, char out[96]) {
    snprintf(out, 96, "%s%s/%s", kind, net_of(t, group)->prefix, name);
}

/* ---- state ---- */

static void open_program(trainer *t, gd_step_kind k, const char *executor) {
    rig_ok(gd_gan_step(t->gan, k, true, 1, &t->graph[k]));
    t->program[k] = rig_new(&t->graph[k], executor);
    for (int i = 0; i < GROUPS; i++)
        golden_fill(t->program[k], net_of(t, i)->net, net_of(t, i)->prefix, t->stream + 1000 * (uint64_t)i);
}

/* Values before step 0, in memory order: the same numbers that every program was filled with. */
static void make_state(trainer *t) {
    for (int i = 0; i < GROUPS; i++) {
        const gd_param_info *p;
        int n = params_of(t, i, &p);
        for (int k = 0; k < n; k++) {
            int64_t count = gd_shape_count(p[k].shape);
            t->value[i][k] = golden_room(count);
            t->m[i][k] = calloc((size_t)count, sizeof(float));
            t->v[i][k] = calloc((size_t)count, sizeof(float));
            assert_true(t->m[i][k] && t->v[i][k]);
            char name[96];
            full_name(t, i, "", p[k].name, name);
            for (int j = 0; j < GD_STEP_KIND_COUNT; j++)
                if (t->program[j] && rig_find(t->program[j], name) >= 0)
                    rig_get(t->program[j], 0, name, t->value[i][k]);
        }
    }
}

static void close_trainer(trainer *t) {
    for (int i = 0; i < GROUPS; i++)
        for (int k = 0; k < PARAMS_MAX; k++) {
            free(t->value[i][k]);
            free(t->m[i][k]);
            free(t->v[i][k]);
        }
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        if (t->program[k]) rig_free(t->program[k]);
        gd_step_graph_free(&t->graph[k]);
    }
    gd_gan_free(t->gan);
}

/* ---- one program ---- */

/* Optimiser step of a group with the gradients that r holds; the new values go into r. */
static void update(trainer *t, rig *r, int group) {
    const gd_param_info *p;
    int n = params_of(t, group, &p);
    t->updates[group]++;
    for (int k = 0; k < n; k++) {
        if (p[k].buffer) continue;
        char name[96];
        int64_t count = gd_shape_count(p[k].shape);
        double *grad = golden_room(count);
        float *g32 = calloc((size_t)count, sizeof *g32), *p32 = calloc((size_t)count, sizeof *p32);
        assert_true(g32 && p32);
        full_name(t, group, "grad:", p[k].name, name);
        rig_get(r, 0, name, grad);
        for (int64_t i = 0; i < count; i++) {
            g32[i] = (float)grad[i];
            p32[i] = (float)t->value[group][k][i];
        }
        int moments = gd_optimizer_moments(&t->optimizer);
        gd_optimizer_update(&t->optimizer, t->iteration, t->updates[group], 1, group == GD_GROUP_D ? t->clip : 0,
                            (size_t)count, p32, g32, moments > 0 ? t->m[group][k] : NULL,
                            moments > 1 ? t->v[group][k] : NULL);
        for (int64_t i = 0; i < count; i++) t->value[group][k][i] = p32[i];
        full_name(t, group, "", p[k].name, name);
        rig_set(r, 0, name, t->value[group][k]);
        free(grad);
        free(g32);
        free(p32);
    }
}

static void update_d_at_pause(void *ctx, rig *r, int phase) {
    assert_int_equal(phase, 1);
    update(ctx, r, GD_GROUP_D);
}

static void bind_state(trainer *t, rig *r) {
    for (int i = 0; i < GROUPS; i++) {
        const gd_param_info *p;
        int n = params_of(t, i, &p);
        for (int k = 0; k < n; k++) {
            char name[96];
            full_name(t, i, "", p[k].name, name);
            rig_set(r, 0, name, t->value[i][k]);
        }
    }
}

static void keep_buffers(trainer *t, const rig *r) {
    for (int i = 0; i < GROUPS; i++) {
        const gd_param_info *p;
        int n = params_of(t, i, &p);
        for (int k = 0; k < n; k++) {
            char name[96];
            full_name(t, i, "", p[k].name, name);
            if (p[k].buffer) rig_get(r, 0, name, t->value[i][k]);
        }
    }
}

static void log_metrics(trainer *t, const rig *r) {
    static const char *const names[SERIES_MAX] = {"loss_d", "loss_d_real", "loss_d_fake", "loss_g",
                                                  "d_real", "d_fake",      "d_fake_g",    NULL};
    for (int i = 0; names[i]; i++) {
        char full[64];
        snprintf(full, sizeof full, "metric:%s", names[i]);
        series *s = &t->log[i];
        snprintf(s->name, sizeof s->name, "%s", names[i]);
        if (rig_find(r, full) < 0) continue;
        assert_true(s->n < SERIES_ROOM);
        s->value[s->n++] = rig_metric(r, names[i]);
    }
}

static void set_real(trainer *t, rig *r) {
    int b = rig_find(r, "data:0");
    if (b < 0) return;
    gd_shape s = r->bindings[b].shape;
    int64_t n = gd_shape_count(s);
    double *file = golden_room(n), *memory = golden_room(n);
    for (int64_t i = 0; i < n; i++)
        file[i] = (double)(int)((rig_number(t->stream + 2000 + t->draws, (uint64_t)i) + 1) * 128);
    golden_to_memory(s, golden_image_perm, file, memory);
    rig_set(r, 0, "data:0", memory);
    free(file);
    free(memory);
}

static void run(trainer *t, gd_step_kind kind) {
    rig *r = t->program[kind];
    bind_state(t, r);
    set_real(t, r);
    rig_run(r, SEED, t->draws++, BATCH, kind == GD_STEP_DG_SHARED ? update_d_at_pause : NULL, t);
    if (kind == GD_STEP_D || kind == GD_STEP_BOTH) update(t, r, GD_GROUP_D);
    if (kind != GD_STEP_D) update(t, r, GD_GROUP_G);
    keep_buffers(t, r);
    log_metrics(t, r);
}

static void check(trainer *t, const char *file, double tolerance) {
    golden *f = golden_open(file);
    int series_seen = 0;
    for (int i = 0; i < f->n; i++) series_seen += !strchr(f->record[i].name, '/');
    for (int i = 0; i < SERIES_MAX; i++) {
        bool wanted = false;
        for (int k = 0; k < f->n; k++) wanted |= t->log[i].n && !strcmp(f->record[k].name, t->log[i].name);
        if (!wanted) continue;
        golden_check(f, t->log[i].name, t->log[i].n, t->log[i].value, tolerance);
        series_seen--;
    }
    assert_int_equal(series_seen, 0); /* every series of the file was compared */
    for (int i = 0; i < GROUPS; i++) {
        const gd_param_info *p;
        int n = params_of(t, i, &p);
        for (int k = 0; k < n; k++) {
            char name[96];
            full_name(t, i, "", p[k].name, name);
            golden_check_param(f, name, &p[k], t->value[i][k], tolerance);
        }
    }
    golden_close(f);
}

/* ---- the three loops ---- */

static gd_net_spec net(const char *arch, bool generator, int64_t size, int64_t width) {
    return (gd_net_spec){.arch = arch,
                         .generator = generator,
                         .latent = generator ? 5 : 0,
                         .height = size,
                         .width_px = size,
                         .channels = 1,
                         .width = width};
}

static void train_dcgan(const char *executor, double tolerance) {
    trainer t = {.stream = 60000,
                 .optimizer = {.kind = GD_ADAM, .lr = 2e-3, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8}};
    gd_gan_spec s = {.generator = net("dcgan", true, 16, 4),
                     .discriminator = net("dcgan", false, 16, 4),
                     .latent = GD_LATENT_UNIFORM,
                     .global_batch = BATCH,
                     .sync = true};
    rig_ok(gd_gan_new(&s, &t.gan));
    open_program(&t, GD_STEP_DG_SHARED, executor);
    make_state(&t);
    for (t.iteration = 1; t.iteration <= STEPS; t.iteration++) run(&t, GD_STEP_DG_SHARED);
    check(&t, "train_dcgan.bin", tolerance);
    close_trainer(&t);
}

static void train_simultaneous(const char *executor, double tolerance) {
    trainer t = {.stream = 70000, .optimizer = {.kind = GD_SGD, .lr = 0.1, .momentum = 0.5}};
    gd_gan_spec s = {.generator = net("mlp", true, 4, 10),
                     .discriminator = net("mlp", false, 4, 4),
                     .latent = GD_LATENT_UNIFORM,
                     .global_batch = BATCH,
                     .sync = true,
                     .range = GD_RANGE_UNIT,
                     .loss = {.d_scale = 0.5}};
    s.generator.output = "sigmoid";
    rig_ok(gd_gan_new(&s, &t.gan));
    open_program(&t, GD_STEP_BOTH, executor);
    make_state(&t);
    for (t.iteration = 1; t.iteration <= STEPS; t.iteration++) run(&t, GD_STEP_BOTH);
    check(&t, "train_simultaneous.bin", tolerance);
    close_trainer(&t);
}

static void train_wgan(const char *executor, double tolerance) {
    trainer t = {
        .stream = 80000, .clip = 0.2, .optimizer = {.kind = GD_RMSPROP, .lr = 1e-3, .alpha = 0.99, .eps = 1e-8}};
    gd_gan_spec s = {.generator = net("mlp", true, 6, 12),
                     .discriminator = net("mlp", false, 6, 12),
                     .latent = GD_LATENT_UNIFORM,
                     .global_batch = BATCH,
                     .sync = true,
                     .loss = {.kind = GD_LOSS_WASSERSTEIN}};
    s.generator.depth = s.discriminator.depth = 3;
    s.generator.output = "none";
    s.discriminator.act = "relu";
    rig_ok(gd_gan_new(&s, &t.gan));
    open_program(&t, GD_STEP_D, executor);
    open_program(&t, GD_STEP_G, executor);
    make_state(&t);
    for (t.iteration = 1; t.iteration <= STEPS; t.iteration++) {
        run(&t, GD_STEP_D);
        run(&t, GD_STEP_D);
        run(&t, GD_STEP_G);
    }
    check(&t, "train_wgan.bin", tolerance);
    close_trainer(&t);
}

/* Parameters and moments are floats here and doubles there: that bounds the agreement. */
static void ref_agrees(void **state) {
    (void)state;
    train_dcgan("ref", 1e-5);
    train_simultaneous("ref", 1e-5);
    train_wgan("ref", 1e-5);
}

static void cpu_agrees(void **state) {
    (void)state;
    train_dcgan("cpu", 1e-3);
    train_simultaneous("cpu", 1e-3);
    train_wgan("cpu", 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ref_agrees), cmocka_unit_test(cpu_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
