/* Step graphs: every kind x loss x architecture x number of shards builds, with exactly the outputs
 * that gan.h promises; what does not fit is refused. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tests/unit/models_rig.h"

static const gd_layer_spec list_g[] = {
    {.kind = "dense", .size = 4 * 4 * 4, .norm = "batch", .act = "relu", .bias = -1},
    {.kind = "reshape", .shape = {4, 4, 4}},
    {.kind = "upsample", .size = 4},
    {.kind = "conv", .size = 1, .pad = -1, .act = "tanh", .bias = -1},
};
static const gd_layer_spec list_d[] = {
    {.kind = "conv", .size = 4, .stride = 4, .pad = -1, .norm = "layer", .act = "leaky", .bias = -1},
    {.kind = "dropout"},
    {.kind = "conv", .size = 1, .pad = -1, .bias = -1}, /* a map of verdicts */
};

static gd_gan_spec spec_of(const char *arch) {
    gd_net_spec net = {.arch = arch, .latent = 6, .height = 16, .width_px = 16, .channels = 1};
    if (strcmp(arch, "layers")) net.width = 4;
    gd_gan_spec s = {.generator = net, .discriminator = net, .global_batch = 8, .sync = true};
    s.generator.generator = true;
    if (!strcmp(arch, "layers")) {
        s.generator.layers = list_g;
        s.generator.layer_count = sizeof list_g / sizeof *list_g;
        s.discriminator.layers = list_d;
        s.discriminator.layer_count = sizeof list_d / sizeof *list_d;
    }
    return s;
}

static const gd_output *find(const gd_step_graph *s, const char *name) {
    for (int i = 0; i < s->n_outputs; i++)
        if (!strcmp(s->outputs[i].name, name)) return &s->outputs[i];
    return NULL;
}

/* Outputs of one network: gradients if `trained`, all buffers. Returns how many there must be. */
static int check_net(const gd_step_graph *s, const gd_gan_net *n, bool trained) {
    const gd_param_info *p;
    int count = gd_net_params(n->net, &p), wanted = 0;
    for (int i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s/%s", p[i].buffer ? "" : "grad:", n->prefix, p[i].name);
        const gd_output *o = find(s, name);
        bool want = p[i].buffer || trained;
        if (want != (o != NULL)) fail_msg("%s is %s", name, want ? "missing" : "there but not of this step");
        if (!o) continue;
        assert_true(gd_shape_equal(gd_node_shape(s->graph, o->node), p[i].shape));
        wanted++;
    }
    return wanted;
}

static const char *const d_metrics[] = {"loss_d", "loss_d_real", "loss_d_fake", "d_real", "d_fake", "d_accuracy", NULL};
static const char *const g_metrics[] = {"loss_g", "d_fake_g", NULL};

static int check_metrics(const gd_step_graph *s, const char *const *list, bool want) {
    int n = 0;
    for (; list[n]; n++) {
        char name[64];
        snprintf(name, sizeof name, "metric:%s", list[n]);
        const gd_output *o = find(s, name);
        assert_true(want == (o != NULL));
        if (o) assert_int_equal(gd_shape_count(gd_node_shape(s->graph, o->node)), 1);
    }
    return want ? n : 0;
}

static void check_step(const gd_gan *m, gd_step_kind kind, int64_t shards) {
    gd_step_graph s;
    rig_ok(gd_gan_step(m, kind, true, shards, &s));
    bool d = kind != GD_STEP_G, g = kind != GD_STEP_D;
    const gd_gan_net *nets;
    assert_int_equal(gd_gan_nets(m, &nets), 2);
    int outputs = check_net(&s, &nets[0], g) + check_net(&s, &nets[1], d);
    outputs += check_metrics(&s, d_metrics, d) + check_metrics(&s, g_metrics, g);
    assert_int_equal(s.n_outputs, outputs); /* and nothing else */
    assert_int_equal(s.n_phases, kind == GD_STEP_DG_SHARED || kind == GD_STEP_GD_SHARED ? 2 : 1);
    assert_int_equal(gd_graph_shards(s.graph), shards);
    gd_step_graph_free(&s);
    assert_null(s.graph);
}

static void every_step_builds(void **state) {
    (void)state;
    static const char *const archs[] = {"mlp", "dcgan", "layers"};
    for (int a = 0; a < 3; a++)
        for (int loss = 0; loss <= GD_LOSS_BLEND; loss++)
            for (int sync = 0; sync < 2; sync++) {
                gd_gan_spec s = spec_of(archs[a]);
                s.loss.kind = (gd_loss_kind)loss;
                s.sync = sync;
                gd_gan *m;
                rig_ok(gd_gan_new(&s, &m));
                for (int k = 0; k < GD_STEP_KIND_COUNT; k++)
                    for (int64_t shards = 1; shards <= 4; shards *= 2) check_step(m, (gd_step_kind)k, shards);
                gd_gan_free(m);
            }
}

static int count_ops(const gd_step_graph *s, gd_op op) {
    int n = 0;
    for (int i = 0; i < gd_graph_count(s->graph); i++) n += gd_graph_at(s->graph, i)->op == op;
    return n;
}

/* The public order draws latents once when D and G share images. */
static void latents_are_drawn_once(void **state) {
    (void)state;
    gd_gan_spec s = spec_of("dcgan");
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        gd_step_graph step;
        rig_ok(gd_gan_step(m, (gd_step_kind)k, true, 2, &step));
        assert_int_equal(count_ops(&step, GD_OP_RANDOM), 1);
        for (int i = 0; i < gd_graph_count(step.graph); i++) {
            const gd_node_info *n = gd_graph_at(step.graph, i);
            if (n->op != GD_OP_RANDOM) continue;
            assert_int_equal(n->attr.purpose, k == GD_STEP_G ? GD_PURPOSE_LATENT_G : GD_PURPOSE_LATENT_D);
            assert_int_equal(n->shape.dim[0], 4);
        }
        gd_step_graph_free(&step);
    }
    gd_gan_free(m);
}

/* In the G step the discriminator's weights get no gradient: only G's two strided convolutions do
 * (its first layer is a matrix product). */
static void g_step_leaves_d_alone(void **state) {
    (void)state;
    gd_gan_spec s = spec_of("dcgan");
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    static const int wanted[GD_STEP_KIND_COUNT] = {
        [GD_STEP_D] = 4, [GD_STEP_G] = 2, [GD_STEP_DG_SHARED] = 6, [GD_STEP_GD_SHARED] = 6, [GD_STEP_BOTH] = 6};
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        gd_step_graph step;
        rig_ok(gd_gan_step(m, (gd_step_kind)k, true, 1, &step));
        assert_int_equal(count_ops(&step, GD_OP_CONV_DW), wanted[k]); /* D: two, for real and generated */
        gd_step_graph_free(&step);
    }
    gd_gan_free(m);
}

/* Each forward pass of one program has dropout masks of its own. */
static void dropout_streams_differ(void **state) {
    (void)state;
    gd_gan_spec s = spec_of("layers");
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    gd_step_graph step;
    rig_ok(gd_gan_step(m, GD_STEP_DG_SHARED, true, 1, &step));
    uint32_t seen[8];
    int n = 0;
    for (int i = 0; i < gd_graph_count(step.graph); i++) {
        const gd_node_info *node = gd_graph_at(step.graph, i);
        if (node->op != GD_OP_RANDOM || (node->attr.purpose & 0xffff) != GD_PURPOSE_DROPOUT) continue;
        for (int k = 0; k < n; k++) assert_int_not_equal(seen[k], node->attr.purpose);
        assert_true(n < 8);
        seen[n++] = node->attr.purpose;
    }
    assert_int_equal(n, 3); /* D on real, on generated, and again after the update */
    gd_step_graph_free(&step);
    gd_gan_free(m);
}

/* ---- refusals ---- */

static void refuse(gd_gan_spec s, const char *part, const char *part2) {
    gd_gan *m = NULL;
    rig_refused(gd_gan_new(&s, &m), GD_CONFIG, part, part2, NULL);
    assert_null(m);
}

static void refusals(void **state) {
    (void)state;
    gd_gan_spec s = spec_of("dcgan");
    s.global_batch = 0;
    refuse(s, "batch.global", "at least 1");
    s = spec_of("dcgan");
    s.discriminator.channels = 3;
    refuse(s, "16x16x1", "16x16x3");
    s = spec_of("dcgan");
    s.range = GD_RANGE_UNIT;
    refuse(s, "generator.output", "use sigmoid");
    s.range = GD_RANGE_SIGNED;
    s.generator.output = "sigmoid";
    refuse(s, "generator.output", "use tanh");
    s = spec_of("dcgan");
    s.loss.d_scale = -1;
    refuse(s, "d_scale -1", NULL);
    s = spec_of("dcgan");
    s.loss.label_real = 0.9;
    s.loss.kind = GD_LOSS_HINGE;
    refuse(s, "loss.label_real", "non-saturating");
    s = spec_of("dcgan");
    s.discriminator.arch = "dcgann";
    refuse(s, "discriminator.arch", "dcgan");
    s = spec_of("dcgan");
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    gd_step_graph step;
    rig_refused(gd_gan_step(m, GD_STEP_D, true, 3, &step), GD_CONFIG, "8 samples", "3 equal shards", NULL);
    rig_refused(gd_gan_step(m, GD_STEP_D, true, 0, &step), GD_CONFIG, "0 equal shards", NULL);
    rig_refused(gd_gan_sampler(m, 0, false, &step), GD_CONFIG, "at least 1", NULL);
    gd_gan_free(m);
    /* statistics of one value: an mlp with batch norm and one sample a shard */
    s = spec_of("mlp");
    s.generator.norm = "batch";
    s.sync = false;
    rig_ok(gd_gan_new(&s, &m));
    rig_refused(gd_gan_step(m, GD_STEP_D, true, 8, &step), GD_CONFIG, "single value", NULL);
    gd_gan_free(m);
}

/* The caller's strings and layers may go away. */
static void spec_is_copied(void **state) {
    (void)state;
    char arch[] = "dcgan", norm[] = "batch";
    gd_gan_spec s = spec_of("dcgan");
    s.generator.arch = arch;
    s.discriminator.norm = norm;
    gd_gan *m;
    rig_ok(gd_gan_new(&s, &m));
    memset(arch, 'x', sizeof arch - 1);
    memset(norm, 'x', sizeof norm - 1);
    assert_string_equal(gd_gan_get_spec(m)->generator.arch, "dcgan");
    assert_string_equal(gd_gan_get_spec(m)->discriminator.norm, "batch");
    assert_true(gd_gan_get_spec(m)->generator.generator);
    gd_gan_free(m);
    assert_string_equal(gd_step_kind_text(GD_STEP_BOTH), "both_step");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_builds),
        cmocka_unit_test(latents_are_drawn_once),
        cmocka_unit_test(g_step_leaves_d_alone),
        cmocka_unit_test(dropout_streams_differ),
        cmocka_unit_test(refusals),
        cmocka_unit_test(spec_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
