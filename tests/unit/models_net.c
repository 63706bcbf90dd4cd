/* Architectures: parameter counts, names, shapes and file layouts of the public code; initial values;
 * what is refused. Numbers: variants of the public repositories, counted from their definitions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tests/unit/models_rig.h"

static gd_net *make(gd_net_spec s) {
    gd_net *n;
    rig_ok(gd_net_new(&s, &n));
    return n;
}

static gd_net_spec image(const char *arch, bool generator, int64_t size, int64_t channels) {
    return (gd_net_spec){
        .arch = arch, .generator = generator, .latent = 100, .height = size, .width_px = size, .channels = channels};
}

static void check_count(gd_net_spec s, int64_t want) {
    gd_net *n = make(s);
    assert_int_equal(gd_net_param_count(n), want);
    gd_net_free(n);
}

static void dcgan_counts(void **state) {
    (void)state;
    static const struct {
        int64_t size, channels, g, d, g_without_norm;
    } row[] = {
        {32, 3, 1068928, 663296, 1068032},
        {64, 3, 3576704, 2765568, 3574784},
        {64, 1, 3574656, 2763520, 3572736},
        {128, 3, 12786560, 11164416, 12782592},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        gd_net_spec g = image("dcgan", true, row[i].size, row[i].channels);
        check_count(g, row[i].g);
        check_count(image("dcgan", false, row[i].size, row[i].channels), row[i].d);
        g.norm = "none";
        check_count(g, row[i].g_without_norm);
    }
}

static void mlp_counts(void **state) {
    (void)state;
    gd_net_spec g = image("mlp", true, 28, 1), d = image("mlp", false, 28, 1);
    check_count(g, 2503984);
    check_count(d, 1231441);
    /* TFD of the same code: another size and width. */
    d = image("mlp", false, 48, 1);
    d.width = 1200;
    check_count(d, 21037201);
    /* WGAN's 4-layer perceptrons at 64 pixels RGB. */
    for (int wide = 0; wide < 2; wide++) {
        gd_net_spec s = image("mlp", true, 64, 3);
        s.act = "relu";
        s.depth = 3;
        s.width = wide ? 512 : 64;
        s.output = "none";
        check_count(s, wide ? 6880768 : 813504);
        s.generator = false;
        s.output = NULL;
        check_count(s, wide ? 6817793 : 794881);
    }
    /* WGAN-GP's toy networks: points in the plane. */
    gd_net_spec toy = {.arch = "mlp",
                       .generator = true,
                       .latent = 2,
                       .height = 1,
                       .width_px = 1,
                       .channels = 2,
                       .act = "relu",
                       .width = 512,
                       .depth = 3};
    check_count(toy, 527874);
    toy.generator = false;
    check_count(toy, 527361);
}

typedef struct want {
    const char *name;
    int rank;
    int64_t file[4]; /* as a state_dict has it */
    bool buffer;
} want;

#define BATCH_NORM(key, c)                                                                                             \
    {key ".weight", 1, {c}, false}, {key ".bias", 1, {c}, false}, {key ".running_mean", 1, {c}, true}, {               \
        key ".running_var", 1, {c}, true                                                                               \
    }

static void check_params(gd_net_spec s, const want *w, int n_want) {
    gd_net *n = make(s);
    const gd_param_info *p;
    assert_int_equal(gd_net_params(n, &p), n_want);
    for (int i = 0; i < n_want; i++) {
        assert_string_equal(p[i].name, w[i].name);
        assert_int_equal(p[i].buffer, w[i].buffer);
        assert_int_equal(p[i].shape.rank, w[i].rank);
        for (int k = 0; k < w[i].rank; k++) assert_int_equal(p[i].shape.dim[p[i].file_perm[k]], w[i].file[k]);
    }
    gd_net_free(n);
}
#define CHECK_PARAMS(spec, list) check_params(spec, list, (int)(sizeof(list) / sizeof *(list)))

/* The keys of pytorch/examples' dcgan. */
static void dcgan_keys(void **state) {
    (void)state;
    static const want g[] = {
        {"main.0.weight", 4, {100, 512, 4, 4}, false}, BATCH_NORM("main.1", 512),
        {"main.3.weight", 4, {512, 256, 4, 4}, false}, BATCH_NORM("main.4", 256),
        {"main.6.weight", 4, {256, 128, 4, 4}, false}, BATCH_NORM("main.7", 128),
        {"main.9.weight", 4, {128, 64, 4, 4}, false},  BATCH_NORM("main.10", 64),
        {"main.12.weight", 4, {64, 3, 4, 4}, false},
    };
    static const want d[] = {
        {"main.0.weight", 4, {64, 3, 4, 4}, false},
        {"main.2.weight", 4, {128, 64, 4, 4}, false},
        BATCH_NORM("main.3", 128),
        {"main.5.weight", 4, {256, 128, 4, 4}, false},
        BATCH_NORM("main.6", 256),
        {"main.8.weight", 4, {512, 256, 4, 4}, false},
        BATCH_NORM("main.9", 512),
        {"main.11.weight", 4, {1, 512, 4, 4}, false},
    };
    CHECK_PARAMS(image("dcgan", true, 64, 3), g);
    CHECK_PARAMS(image("dcgan", false, 64, 3), d);
}

/* The keys of WassersteinGAN's MLP_G and MLP_D, with dropout too: it takes no number. */
static void mlp_keys(void **state) {
    (void)state;
    static const want g[] = {
        {"main.0.weight", 2, {64, 100}, false},  {"main.0.bias", 1, {64}, false},
        {"main.2.weight", 2, {64, 64}, false},   {"main.2.bias", 1, {64}, false},
        {"main.4.weight", 2, {64, 64}, false},   {"main.4.bias", 1, {64}, false},
        {"main.6.weight", 2, {3072, 64}, false}, {"main.6.bias", 1, {3072}, false},
    };
    static const want d[] = {
        {"main.0.weight", 2, {1200, 784}, false}, {"main.0.bias", 1, {1200}, false},
        {"main.2.weight", 2, {1200, 240}, false}, {"main.2.bias", 1, {1200}, false},
        {"main.4.weight", 2, {1, 240}, false},    {"main.4.bias", 1, {1}, false},
    };
    gd_net_spec s = image("mlp", true, 32, 3);
    s.width = 64;
    s.depth = 3;
    CHECK_PARAMS(s, g);
    s = image("mlp", false, 28, 1);
    s.dropout_input = 0.2;
    s.dropout = 0.5;
    CHECK_PARAMS(s, d);
}

/* ---- initial values ---- */

static const gd_param_info *find(const gd_net *n, const char *name, int *index) {
    const gd_param_info *p;
    int count = gd_net_params(n, &p);
    for (*index = 0; *index < count; ++*index)
        if (!strcmp(p[*index].name, name)) return &p[*index];
    fail_msg("no parameter %s", name);
    return NULL;
}

typedef struct moments {
    double mean, std, low, high;
    int64_t n;
} moments;

static moments measure(const gd_net *n, const char *name) {
    int index;
    const gd_param_info *p = find(n, name, &index);
    moments m = {.low = HUGE_VAL, .high = -HUGE_VAL, .n = gd_shape_count(p->shape)};
    float *v = malloc((size_t)m.n * sizeof *v);
    assert_non_null(v);
    gd_net_init_param(n, index, 7, GD_PURPOSE_INIT_G, v);
    double sum = 0, sum2 = 0;
    for (int64_t i = 0; i < m.n; i++) {
        sum += v[i];
        sum2 += (double)v[i] * v[i];
        m.low = fmin(m.low, v[i]);
        m.high = fmax(m.high, v[i]);
    }
    m.mean = sum / (double)m.n;
    m.std = sqrt(fmax(0, sum2 / (double)m.n - m.mean * m.mean));
    free(v);
    return m;
}

/* Within five standard errors. */
static void check_normal(const gd_net *n, const char *name, double mean, double std) {
    moments m = measure(n, name);
    double error = 5 * std / sqrt((double)m.n);
    if (fabs(m.mean - mean) > error || fabs(m.std - std) > error)
        fail_msg("%s: mean %g, std %g; expected N(%g, %g)", name, m.mean, m.std, mean, std);
    assert_true(m.high - mean > 2 * std && mean - m.low > 2 * std); /* tails: not uniform */
}

static void check_uniform(const gd_net *n, const char *name, double half) {
    moments m = measure(n, name);
    double std = half / sqrt(3), error = 5 * std / sqrt((double)m.n);
    if (fabs(m.mean) > error || fabs(m.std - std) > error || m.low < -half || m.high > half)
        fail_msg("%s: mean %g, std %g in [%g, %g]; expected U(+-%g)", name, m.mean, m.std, m.low, m.high, half);
}

static void check_constant(const gd_net *n, const char *name, double value) {
    moments m = measure(n, name);
    assert_true(m.low == value && m.high == value);
}

static void published_init(void **state) {
    (void)state;
    gd_net *n = make(image("dcgan", true, 64, 3));
    check_normal(n, "main.0.weight", 0, 0.02);
    check_normal(n, "main.12.weight", 0, 0.02);
    check_normal(n, "main.1.weight", 1, 0.02);
    check_constant(n, "main.1.bias", 0);
    check_constant(n, "main.1.running_mean", 0);
    check_constant(n, "main.1.running_var", 1);
    gd_net_free(n);
    /* Gulrajani's toy networks: He uniform inside, Glorot at the end. */
    n = make((gd_net_spec){
        .arch = "mlp", .height = 1, .width_px = 1, .channels = 2, .act = "relu", .width = 512, .depth = 3});
    check_uniform(n, "main.2.weight", sqrt(3) * sqrt(2.0 / 512));
    check_uniform(n, "main.6.weight", sqrt(3) * sqrt(2.0 / 513));
    check_constant(n, "main.2.bias", 0);
    gd_net_free(n);
}

static void published_init_of_images(void **state) {
    (void)state;
    gd_net_spec s = image("unet", true, 64, 3);
    s.latent = 0;
    s.in_channels = 3;
    gd_net *n = make(s);
    check_normal(n, "model.model.0.weight", 0, 0.02);
    check_normal(n, "model.model.1.model.6.weight", 1, 0.02);
    check_constant(n, "model.model.3.bias", 0);
    gd_net_free(n);
    /* PyTorch 0.1: transposed convolutions count their input channels, too; norm scales are U(0, 1). */
    s.arch = "disco";
    n = make(s);
    check_uniform(n, "main.2.weight", 1 / sqrt(64 * 16));
    check_uniform(n, "main.11.weight", 1 / sqrt(512 * 16));
    moments m = measure(n, "main.9.weight");
    assert_true(m.low >= 0 && m.high < 1 && m.low < 0.1 && m.high > 0.9 && fabs(m.mean - 0.5) < 0.1);
    check_constant(n, "main.9.bias", 0);
    gd_net_free(n);
    /* WGAN-GP's code: He uniform, Glorot for shortcuts and dense layers. */
    n = make(image("resnet-gp", false, 64, 3));
    check_uniform(n, "Res2.Conv1.weight", sqrt(3) * sqrt(4 / (9 * (128.0 + 128))));
    check_uniform(n, "Res2.Shortcut.weight", sqrt(3) * sqrt(2 / (128.0 + 256)));
    check_uniform(n, "Input.weight", sqrt(3) * sqrt(2 / (9 * (3.0 + 64))));
    check_uniform(n, "Output.weight", sqrt(3) * sqrt(2 / (8192.0 + 1)));
    check_constant(n, "Res2.BN1.weight", 1);
    gd_net_free(n);
    n = make(image("resnet-gp", true, 32, 3));
    check_uniform(n, "Output.weight", sqrt(3) * sqrt(2 / (9 * (128.0 + 3))));
    gd_net_free(n);
    n = make(image("dcgan-k5", true, 64, 3));
    check_uniform(n, "3.weight", sqrt(3) * 0.02);
    check_uniform(n, "Input.weight", sqrt(3) * 0.02);
    gd_net_free(n);
    n = make(image("dcgan-k5", false, 32, 3));
    check_uniform(n, "2.weight", sqrt(3) * sqrt(4 / (25 * (128 + 256.0 / 4))));
    gd_net_free(n);
}

static void chosen_init(void **state) {
    (void)state;
    gd_net_spec s = image("dcgan", true, 32, 3);
    const double taps = 16;
    const struct {
        const char *rule;
        double gain, normal, uniform, scale_std;
    } row[] = {
        {"normal", 0.05, 0.05, 0, 0.02},
        {"xavier", 0, sqrt(2 / ((256 + 128) * taps)), 0, 0.02},
        {"xavier", 2, 2 * sqrt(2 / ((256 + 128) * taps)), 0, 0.02},
        {"kaiming", 0, sqrt(2 / (128 * taps)), 0, 0.02}, /* PyTorch: fan of the stored dimension 1 */
        {"uniform", 0, 0, 0.05, 0},
        {"pytorch", 0, 0, 1 / sqrt(128 * taps), 0},
        /* stride 2: a quarter of the taps meet in a pixel of the larger map */
        {"he_uniform", 0, 0, sqrt(3) * sqrt(4 / (256 * taps / 4 + 128 * taps)), 0},
        {"glorot_uniform", 0, 0, sqrt(3) * sqrt(2 / (256 * taps / 4 + 128 * taps)), 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        s.init = row[i].rule;
        s.init_gain = row[i].gain;
        gd_net *n = make(s);
        if (row[i].normal > 0) check_normal(n, "main.3.weight", 0, row[i].normal);
        else check_uniform(n, "main.3.weight", row[i].uniform);
        if (row[i].scale_std > 0) check_normal(n, "main.1.weight", 1, row[i].scale_std);
        else check_constant(n, "main.1.weight", 1);
        gd_net_free(n);
    }
    gd_net_spec mlp = image("mlp", true, 28, 1);
    mlp.init = "pytorch"; /* biases too */
    gd_net *n = make(mlp);
    check_uniform(n, "main.2.weight", 1 / sqrt(1200));
    check_uniform(n, "main.2.bias", 1 / sqrt(1200));
    gd_net_free(n);
}

/* A value depends on seed, purpose and name only. */
static void init_is_pure(void **state) {
    (void)state;
    gd_net *n = make(image("dcgan", true, 32, 1)), *wider = make(image("dcgan", true, 64, 1));
    int a, b, c;
    const gd_param_info *p = find(n, "main.3.weight", &a);
    int64_t count = gd_shape_count(p->shape);
    find(n, "main.6.weight", &b);
    float *x = malloc((size_t)count * sizeof *x), *y = malloc((size_t)count * sizeof *y);
    assert_non_null(x);
    assert_non_null(y);
    gd_net_init_param(n, a, 1, GD_PURPOSE_INIT_G, x);
    gd_net_init_param(n, a, 1, GD_PURPOSE_INIT_G, y);
    assert_memory_equal(x, y, (size_t)count * sizeof *x);
    const struct {
        uint64_t seed;
        uint32_t purpose;
    } other[] = {{2, GD_PURPOSE_INIT_G}, {1, GD_PURPOSE_INIT_D}};
    for (int i = 0; i < 2; i++) {
        gd_net_init_param(n, a, other[i].seed, other[i].purpose, y);
        assert_memory_not_equal(x, y, 64);
    }
    gd_net_init_param(n, b, 1, GD_PURPOSE_INIT_G, y);
    assert_memory_not_equal(x, y, 64);
    /* the first numbers of a tensor of the same name in another network are the same */
    const gd_param_info *q = find(wider, "main.6.weight", &c);
    float *z = malloc((size_t)gd_shape_count(q->shape) * sizeof *z);
    assert_non_null(z);
    gd_net_init_param(wider, c, 1, GD_PURPOSE_INIT_G, z);
    assert_memory_equal(y, z, 64);
    free(x);
    free(y);
    free(z);
    gd_net_free(n);
    gd_net_free(wider);
}

/* ---- refusals ---- */

static void refuse(gd_net_spec s, const char *part, const char *part2) {
    gd_net *n = NULL;
    rig_refused(gd_net_new(&s, &n), GD_CONFIG, part, part2, NULL);
    assert_null(n);
}

static void refusals(void **state) {
    (void)state;
    gd_net_spec s = image("dcgna", true, 64, 3);
    refuse(s, "generator.arch", "did you mean 'dcgan'");
    refuse(image("dcgan", false, 100, 3), "100 is not a multiple of 16", "nearest 96 or 112");
    refuse(image("dcgan", true, 4, 3), "from 8 to 1024", NULL);
    s = image("dcgan", true, 64, 3);
    s.width_px = 32;
    refuse(s, "square", "64x32");
    s = image("dcgan", false, 64, 3);
    s.depth = 3;
    refuse(s, "discriminator.depth", "remove the key");
    s = image("dcgan", true, 64, 3);
    s.norm = "bathc";
    refuse(s, "norm is 'bathc'", "batch");
    s.norm = NULL;
    s.latent = 0;
    refuse(s, "generator.latent", "at least 1");
    s = image("dcgan", true, 64, 3);
    s.init = "orthogonal";
    refuse(s, "generator.init", "xavier");
    s = image("mlp", false, 28, 1);
    s.act = "sigmoid";
    refuse(s, "act is 'sigmoid'", "maxout");
    s = image("mlp", false, 28, 1);
    s.dropout = 1;
    refuse(s, "dropout 1", "less than 1");
    s = image("mlp", true, 28, 1);
    s.norm = "instance";
    refuse(s, "generator.norm", "batch or layer");
    s = image("mlp", true, 28, 0);
    refuse(s, "28x28x0", NULL);
    int count;
    const char *const *names = gd_net_archs(&count);
    assert_true(count >= 10);
    assert_string_equal(names[1], "dcgan");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dcgan_counts), cmocka_unit_test(mlp_counts),     cmocka_unit_test(dcgan_keys),
        cmocka_unit_test(mlp_keys),     cmocka_unit_test(published_init), cmocka_unit_test(chosen_init),
        cmocka_unit_test(init_is_pure), cmocka_unit_test(refusals),       cmocka_unit_test(published_init_of_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
