/* The published networks: parameter counts, keys, sizes of maps, receptive fields. Numbers: counted from the definitions of
 * the public repositories. Values: tests/golden. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/layers.h"
#include "tests/unit/models_rig.h"

static gd_net *make(gd_net_spec s) {
    gd_net *n;
    rig_ok(gd_net_new(&s, &n));
    return n;
}

static gd_net_spec translator(const char *arch, int64_t size, int64_t from, int64_t to, const char *norm) {
    return (gd_net_spec){.arch = arch,
                         .generator = true,
                         .in_channels = from,
                         .height = size,
                         .width_px = size,
                         .channels = to,
                         .norm = norm};
}

static gd_net_spec judge(const char *arch, int64_t size, int64_t channels, const char *norm) {
    return (gd_net_spec){.arch = arch, .height = size, .width_px = size, .channels = channels, .norm = norm};
}

static gd_net_spec maker(const char *arch, int64_t size, int64_t channels, int64_t latent) {
    gd_net_spec s = judge(arch, size, channels, NULL);
    s.generator = true;
    s.latent = latent;
    return s;
}

/* ---- counts ---- */

static void check_count(gd_net_spec s, int64_t want) {
    gd_net *n = make(s);
    assert_int_equal(gd_net_param_count(n), want);
    gd_net_free(n);
}

static void translator_counts(void **state) {
    (void)state;
    check_count(translator("unet", 256, 3, 3, NULL), 54413955);
    check_count(translator("unet", 256, 3, 3, "instance"), 54409603);
    check_count(translator("unet", 256, 1, 2, "batch"), 54409858);
    check_count(translator("unet", 128, 3, 3, NULL), 41828995);
    check_count(translator("unet", 128, 3, 3, "instance"), 41825667);
    check_count(translator("resnet", 256, 3, 3, NULL), 11378179);
    check_count(translator("resnet", 256, 3, 3, "batch"), 11383427);
    check_count(translator("resnet", 256, 3, 3, "none"), 11372931);
    check_count(translator("resnet", 128, 3, 3, "instance"), 7837699);
    check_count(translator("resnet", 128, 3, 3, "batch"), 7841411);
    check_count(translator("resnet", 128, 3, 3, "none"), 7833987);
    check_count(translator("disco", 64, 3, 3, NULL), 5513856);
    check_count(judge("disco", 64, 3, NULL), 2765568);
    gd_net_spec noisy = translator("unet", 256, 3, 3, NULL);
    noisy.dropout = 0.5; /* changes nothing that is counted */
    check_count(noisy, 54413955);
}

static void patch_counts_and_maps(void **state) {
    (void)state;
    static const struct {
        int64_t depth, map, six_batch, three_instance;
    } row[] = {{1, 126, 139585, 136385},  {2, 62, 666433, 662977},    {3, 30, 2768705, 2764737},
               {4, 14, 6964033, 6959553}, {5, 6, 11159361, 11154369}, {6, 2, 15354689, 15349185}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        gd_net_spec six = judge("patchgan", 256, 6, NULL), three = judge("patchgan", 256, 3, "instance");
        six.depth = three.depth = row[i].depth;
        check_count(six, row[i].six_batch);
        check_count(three, row[i].three_instance);
        gd_net *n = make(six);
        gd__dims d = n->layers[n->output].dims;
        assert_true(d.h == row[i].map && d.w == row[i].map && d.c == 1 && !d.flat);
        gd_net_free(n);
    }
    check_count(judge("patchgan", 256, 3, NULL), 2765633);
    check_count(judge("patchgan", 256, 6, "instance"), 2767809);
    check_count(judge("patchgan", 256, 3, "none"), 2763841);
    check_count(judge("patchgan", 256, 6, "none"), 2766913);
    check_count(judge("pixel", 256, 6, NULL), 9024);
    check_count(judge("pixel", 256, 3, "instance"), 8705);
}

static void wgan_gp_counts(void **state) {
    (void)state;
    static const struct {
        const char *arch;
        int64_t size, channels, width, g, d;
    } row[] = {
        {"resnet-gp", 32, 3, 0, 1204483, 1053825}, {"resnet-gp", 64, 3, 0, 8540483, 7491841},
        {"dcgan-k5", 28, 1, 0, 1554177, 1030145},  {"dcgan-k5", 32, 3, 0, 5179907, 4114689},
        {"dcgan-k5", 32, 3, 64, 1565955, 1033345}, {"dcgan-k5", 64, 3, 0, 5364739, 4316545},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        gd_net_spec g = maker(row[i].arch, row[i].size, row[i].channels, 128);
        gd_net_spec d = judge(row[i].arch, row[i].size, row[i].channels, NULL);
        g.width = d.width = row[i].width;
        check_count(g, row[i].g);
        check_count(d, row[i].d);
    }
    check_count(judge("dcgan-k5", 32, 3, "batch"), 4116225);
}

/* ---- keys ---- */

/* Every name, in order, separated by blanks. */
static void check_names(gd_net_spec s, const char *want) {
    gd_net *n = make(s);
    const gd_param_info *p;
    int count = gd_net_params(n, &p);
    for (int i = 0; i < count; i++) {
        size_t len = strlen(p[i].name);
        if (strncmp(want, p[i].name, len) != 0 || (want[len] && want[len] != ' '))
            fail_msg("parameter %d is %s; expected %s", i, p[i].name, want);
        want += len + (want[len] == ' ');
    }
    assert_string_equal(want, "");
    gd_net_free(n);
}

/* One key with its shape in files; rank 1: only the first number. */
static void check_key(const gd_net *n, const char *name, int64_t a, int64_t b, int64_t c, int64_t d) {
    const gd_param_info *p;
    const int64_t want[] = {a, b, c, d};
    int count = gd_net_params(n, &p), i = 0;
    while (i < count && strcmp(p[i].name, name)) i++;
    if (i == count) fail_msg("no parameter %s", name);
    for (int k = 0; k < p[i].shape.rank; k++) assert_int_equal(p[i].shape.dim[p[i].file_perm[k]], want[k]);
}

#define P2 "model.model.1.model"
#define P8 P2 ".3.model.3.model.3.model.3.model.3.model.3.model"

static void unet_keys(void **state) {
    (void)state;
    gd_net *n = make(translator("unet", 256, 3, 3, NULL));
    const gd_param_info *p;
    int count = gd_net_params(n, &p), buffers = 0;
    for (int i = 0; i < count; i++) buffers += p[i].buffer;
    assert_int_equal(count - buffers, 43);
    assert_int_equal(buffers, 26); /* upstream's 39 have num_batches_tracked too */
    check_key(n, "model.model.0.weight", 64, 3, 4, 4);
    check_key(n, "model.model.3.weight", 128, 3, 4, 4);
    check_key(n, "model.model.3.bias", 3, 0, 0, 0);
    check_key(n, P2 ".1.weight", 128, 64, 4, 4);
    check_key(n, P2 ".2.running_mean", 128, 0, 0, 0);
    check_key(n, P2 ".5.weight", 256, 64, 4, 4);
    check_key(n, P2 ".6.bias", 64, 0, 0, 0);
    check_key(n, P2 ".3.model.3.model.3.model.5.weight", 1024, 512, 4, 4);
    check_key(n, P8 ".1.weight", 512, 512, 4, 4);
    check_key(n, P8 ".3.weight", 512, 512, 4, 4);
    check_key(n, P8 ".4.running_var", 512, 0, 0, 0);
    gd_net_free(n);
    gd_net_spec small = translator("unet", 8, 1, 1, "instance");
    small.depth = 3;
    check_names(small, "model.model.0.weight model.model.0.bias " P2 ".1.weight " P2 ".1.bias " P2
                       ".3.model.1.weight " P2 ".3.model.1.bias " P2 ".3.model.3.weight " P2 ".3.model.3.bias " P2
                       ".5.weight " P2 ".5.bias model.model.3.weight model.model.3.bias");
}

static void patch_keys(void **state) {
    (void)state;
    gd_net_spec s = judge("patchgan", 16, 6, "instance");
    s.depth = 2;
    check_names(s, "model.0.weight model.0.bias model.2.weight model.2.bias model.5.weight model.5.bias model.8.weight "
                   "model.8.bias");
    gd_net *n = make(judge("patchgan", 256, 6, NULL));
    check_key(n, "model.0.weight", 64, 6, 4, 4);
    check_key(n, "model.3.running_var", 128, 0, 0, 0);
    check_key(n, "model.8.weight", 512, 256, 4, 4);
    check_key(n, "model.11.weight", 1, 512, 4, 4);
    check_key(n, "model.11.bias", 1, 0, 0, 0);
    gd_net_free(n);
    check_names(judge("pixel", 16, 6, NULL),
                "net.0.weight net.0.bias net.2.weight net.3.weight net.3.bias net.3.running_mean "
                "net.3.running_var net.5.weight");
    check_names(judge("pixel", 16, 6, "instance"),
                "net.0.weight net.0.bias net.2.weight net.2.bias net.5.weight net.5.bias");
}

#define BOTH(key) key ".weight " key ".bias "

static void resnet_keys(void **state) {
    (void)state;
    gd_net_spec s = translator("resnet", 16, 3, 3, NULL);
    s.depth = 1;
    check_names(s, BOTH("model.1") BOTH("model.4") BOTH("model.7") BOTH("model.10.conv_block.1")
                       BOTH("model.10.conv_block.5") BOTH("model.11") BOTH("model.14") "model.18.weight model.18.bias");
    s.dropout = 0.5;
    check_names(s, BOTH("model.1") BOTH("model.4") BOTH("model.7") BOTH("model.10.conv_block.1")
                       BOTH("model.10.conv_block.6") BOTH("model.11") BOTH("model.14") "model.18.weight model.18.bias");
    s.norm = "none";
    check_names(s, "model.1.weight model.4.weight model.7.weight model.10.conv_block.1.weight "
                   "model.10.conv_block.6.weight model.11.weight model.14.weight model.18.weight model.18.bias");
    gd_net *n = make(translator("resnet", 256, 3, 3, "batch"));
    check_key(n, "model.2.weight", 64, 0, 0, 0);
    check_key(n, "model.18.conv_block.6.running_mean", 256, 0, 0, 0);
    check_key(n, "model.19.weight", 256, 128, 3, 3);
    check_key(n, "model.20.weight", 128, 0, 0, 0);
    check_key(n, "model.22.weight", 128, 64, 3, 3);
    check_key(n, "model.26.weight", 3, 64, 7, 7);
    gd_net_free(n);
    n = make(translator("resnet", 128, 3, 3, NULL));
    assert_int_equal(gd_net_params(n, NULL), 36);
    check_key(n, "model.15.conv_block.5.weight", 256, 256, 3, 3);
    check_key(n, "model.16.weight", 256, 128, 3, 3);
    check_key(n, "model.23.weight", 3, 64, 7, 7);
    gd_net_free(n);
}

static void other_keys(void **state) {
    (void)state;
    gd_net *n = make(translator("disco", 64, 3, 3, NULL));
    check_key(n, "main.0.weight", 64, 3, 4, 4);
    check_key(n, "main.9.running_mean", 512, 0, 0, 0);
    check_key(n, "main.11.weight", 512, 256, 4, 4);
    check_key(n, "main.18.bias", 64, 0, 0, 0);
    check_key(n, "main.20.weight", 64, 3, 4, 4);
    gd_net_free(n);
    n = make(judge("disco", 64, 3, NULL));
    check_key(n, "conv5.weight", 1, 512, 4, 4);
    check_key(n, "bn4.running_var", 512, 0, 0, 0);
    assert_int_equal(n->n_taps, 3);
    static const int64_t side[] = {16, 8, 4}, channels[] = {128, 256, 512};
    for (int i = 0; i < 3; i++) {
        gd__dims d = n->layers[n->tap[i]].dims;
        assert_true(d.h == side[i] && d.w == side[i] && d.c == channels[i]);
    }
    gd_net_free(n);
    n = make(judge("disco", 32, 1, NULL)); /* a level fewer */
    assert_int_equal(n->n_taps, 2);
    check_key(n, "conv4.weight", 1, 256, 4, 4);
    gd_net_free(n);
    n = make(maker("resnet-gp", 64, 3, 128));
    check_key(n, "Input.weight", 8192, 128, 0, 0);
    check_key(n, "Res1.BN1.weight", 512, 0, 0, 0);
    check_key(n, "Res4.Shortcut.weight", 64, 128, 1, 1);
    check_key(n, "OutputN.bias", 64, 0, 0, 0);
    check_key(n, "Output.weight", 3, 64, 3, 3);
    gd_net_free(n);
    gd_net_spec k5 = judge("dcgan-k5", 28, 1, NULL);
    check_names(k5, BOTH("1") BOTH("2") BOTH("3") "Output.weight Output.bias");
}

/* ---- maps ---- */

/* The innermost map of a U-Net is one pixel, and skips come before what was computed below them. */
static void unet_maps(void **state) {
    (void)state;
    static const int64_t sizes[] = {32, 128, 256};
    for (int i = 0; i < 3; i++) {
        static const int dropouts[] = {1, 2, 3};
        gd_net_spec spec = translator("unet", sizes[i], 3, 3, NULL);
        spec.dropout = 0.5;
        gd_net *n = make(spec);
        assert_int_equal(n->n_draws, dropouts[i]);
        int64_t least = sizes[i];
        int skips = 0, depth = (int)lround(log2((double)sizes[i]));
        for (int k = 0; k < n->n_layers; k++) {
            const gd__layer *l = &n->layers[k];
            if (l->dims.h < least) least = l->dims.h;
            if (l->kind != GD__LAYER_CONCAT) continue;
            skips++;
            assert_true(l->in[0] < l->in[1]);
            assert_true(n->layers[l->in[0]].dims.h == n->layers[l->in[1]].dims.h);
        }
        assert_int_equal(least, 1);
        assert_int_equal(skips, depth - 1);
        gd_net_free(n);
    }
}

/* Rows of x [1,size,size,1] whose pixels the middle verdict of the map depends on. */
static int64_t receptive_field(gd_net_spec s) {
    gd_net *n = make(s);
    gd_graph *g;
    gd_net_use *u;
    int64_t size = s.height, rows = 0;
    rig_ok(gd_graph_new(1, &g));
    rig_ok(gd_net_use_new(n, g, "D", 0, &u));
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(1, size, size, 1)), dx;
    gd_node y = gd_net_apply(u, x, NULL);
    int64_t middle = gd_node_shape(g, y).dim[1] / 2;
    int64_t lo[GD_RANK_MAX] = {0, middle, middle, 0}, hi[GD_RANK_MAX] = {1, middle + 1, middle + 1, 1};
    gd_grad(g, gd_slice(g, y, lo, hi), GD_NONE, 1, &x, &dx);
    rig_ok(gd_graph_status(g));
    gd_output out = {"dx", dx};
    rig *r = rig_new(&(gd_step_graph){.graph = g, .outputs = &out, .n_outputs = 1, .n_phases = 1}, "ref");
    rig_fill_net(r, n, "D", 5, 0.5);
    double *v = malloc((size_t)(size * size) * sizeof *v);
    assert_non_null(v);
    rig_numbers(9, size * size, 1, 0, v);
    rig_set(r, 0, "x", v);
    rig_run(r, 0, 0, 1, NULL, NULL);
    rig_get(r, 0, "dx", v);
    for (int64_t i = 0; i < size; i++) {
        bool any = false;
        for (int64_t k = 0; k < size; k++) any |= v[i * size + k] != 0;
        rows += any;
    }
    free(v);
    rig_free(r);
    gd_net_use_free(u);
    gd_graph_free(g);
    gd_net_free(n);
    return rows;
}

static void receptive_fields(void **state) {
    (void)state;
    static const int64_t want[] = {1, 16, 34, 70};
    for (int depth = 0; depth < 4; depth++) {
        gd_net_spec s = judge(depth ? "patchgan" : "pixel", depth == 3 ? 128 : 64, 1, "none");
        s.depth = depth;
        s.width = 1;
        assert_int_equal(receptive_field(s), want[depth]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translator_counts), cmocka_unit_test(patch_counts_and_maps),
        cmocka_unit_test(wgan_gp_counts),    cmocka_unit_test(unet_keys),
        cmocka_unit_test(patch_keys),        cmocka_unit_test(resnet_keys),
        cmocka_unit_test(other_keys),        cmocka_unit_test(unet_maps),
        cmocka_unit_test(receptive_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
