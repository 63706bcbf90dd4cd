/* FID's Inception network against PyTorch: inception.py has the network, the weights and the pictures; this file makes the
 * same weights and pictures. Files that do not fit are refused by the tensor's name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "dist/safetensors.h"
#include "launch/inception.h"
#include "tests/dist/far_memory.h"

enum { PER_UNIT = 5, TENSORS = GD_INCEPTION_UNITS * PER_UNIT, MORE = 8, SHOWN = 3 };
static const char good[] = "inception.safetensors", bad[] = "bad.safetensors";

static void ok(gd_status st) {
    if (st != GD_OK) fail_msg("%s", gd_error_message());
}

static void *need(void *p) {
    assert_non_null(p);
    return p;
}

static const char *golden(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/%s", getenv("GANDIST_SOURCE_DIR"), name);
    return path;
}

/* ---- what inception.py makes ---- */

static uint32_t hashed(uint32_t stream, uint32_t i) {
    uint32_t h = i * 0x9E3779B1u ^ stream * 0x85EBCA77u;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    return h ^ h >> 15;
}

static void numbers(uint32_t stream, int64_t n, double centre, double spread, float *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(centre + spread * ((double)hashed(stream, (uint32_t)i) / 2147483648.0 - 1));
}

static uint8_t *picture(uint32_t stream, int h, int w, int c) {
    uint8_t *p = need(malloc((size_t)h * (size_t)w * (size_t)c));
    for (int y = 0, i = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int k = 0; k < c; k++, i++)
                p[i] = (uint8_t)((x * 192 / w + y * 96 / h * (k + 1)) % 192 + (int)(hashed(stream, (uint32_t)i) >> 26));
    return p;
}

/* ---- files of weights ---- */

static gd_safetensor tensor[TENSORS + MORE]; /* of the good file; more come behind */
static float *data;                          /* their bytes, zeros behind the units' */
static const double centres[PER_UNIT] = {0, 1, 0, 0, 1}, spreads[PER_UNIT] = {0, 0.2, 0.2, 0.2, 0.3};

static void add_unit(int unit, const char *name, gd_shape s) {
    static const char *const keys[PER_UNIT] = {"conv.weight", "bn.weight", "bn.bias", "bn.running_mean",
                                               "bn.running_var"};
    for (int k = 0; k < PER_UNIT; k++) {
        char text[160];
        snprintf(text, sizeof text, "%s.%s", name, keys[k]);
        tensor[unit * PER_UNIT + k] = (gd_safetensor){.name = need(strdup(text)), .shape = k ? gd_shape1(s.dim[0]) : s};
    }
}

/* The list of units, which PyTorch's modules gave. */
static int read_list(void **state) {
    (void)state;
    char *text, *rest, *line;
    size_t bytes;
    int unit = 0;
    int64_t total = 0;
    ok(gd_file_read(golden("inception.txt"), 1 << 16, (void **)&text, &bytes));
    for (rest = text; (line = strsep(&rest, "\n")) && *line; unit++) {
        char name[100];
        long long k, c, r, s;
        assert_int_equal(sscanf(line, "%99s %lld %lld %lld %lld", name, &k, &c, &r, &s), 5);
        assert_true(unit < GD_INCEPTION_UNITS);
        add_unit(unit, name, gd_shape4(k, c, r, s));
        total += k * (c * r * s + 4);
    }
    assert_int_equal(unit, GD_INCEPTION_UNITS);
    free(text);
    data = need(calloc((size_t)total + 1009 * 2048, sizeof *data)); /* and room for the largest classifier */
    float *at = data;
    for (int i = 0; i < TENSORS; i++) {
        gd_shape s = tensor[i].shape;
        int64_t n = gd_shape_count(s);
        double fan = s.rank == 4 ? (double)(s.dim[1] * s.dim[2] * s.dim[3]) : 1;
        numbers((uint32_t)i, n, centres[i % PER_UNIT], s.rank == 4 ? sqrt(6 / fan) : spreads[i % PER_UNIT], at);
        at += n;
    }
    return 0;
}

/* The first `count` tensors; `bytes` may end inside of them. */
static void write_file(const char *path, int count, size_t bytes) {
    char *head;
    size_t head_bytes;
    const char *none[] = {NULL};
    ok(gd_safetensors_head(tensor, count, none, &head, &head_bytes));
    size_t whole = (size_t)tensor[count - 1].end;
    FILE *f = need(fopen(path, "wb"));
    assert_int_equal(fwrite(head, 1, head_bytes, f), head_bytes);
    assert_int_equal(fwrite(data, 1, bytes < whole ? bytes : whole, f), bytes < whole ? bytes : whole);
    assert_int_equal(fclose(f), 0);
    free(head);
}

static gd_safetensor named(const char *name, gd_shape s) {
    return (gd_safetensor){.name = need(strdup(name)), .shape = s};
}

static void drop_from(int first) {
    for (int i = first; i < TENSORS + MORE; i++) {
        free(tensor[i].name);
        tensor[i] = (gd_safetensor){0};
    }
}

static int drop_list(void **state) {
    (void)state;
    drop_from(0);
    free(data);
    remove(good); /* 87 MB each */
    remove(bad);
    return 0;
}

/* ---- tests ---- */

static void near_all(const float *got, const float *want) {
    double most = 0, off = 0;
    for (int i = 0; i < GD_INCEPTION_FEATURES; i++) {
        most = fmax(most, fabs((double)want[i]));
        off = fmax(off, fabs((double)got[i] - (double)want[i]));
    }
    assert_true(most > 1);
    if (!(off <= 1e-4 * most)) fail_msg("%g away from PyTorch, largest feature %g", off, most);
}

static void features_are_those_of_pytorch(void **state) {
    (void)state;
    static const int size[SHOWN][3] = {{40, 33, 3}, {310, 345, 3}, {28, 28, 1}}; /* enlarged, shrunk, grey */
    float *want, *got = need(malloc(GD_INCEPTION_FEATURES * sizeof *got));
    size_t bytes;
    gd_inception *net;
    write_file(good, TENSORS, SIZE_MAX);
    ok(gd_file_read(golden("inception.bin"), 1 << 20, (void **)&want, &bytes));
    assert_int_equal(bytes, SHOWN * GD_INCEPTION_FEATURES * sizeof *want);
    ok(gd_inception_open(good, gd_executor_cpu(), &net));
    for (int i = 0; i < SHOWN; i++) {
        uint8_t *p = picture(1001 + (uint32_t)i, size[i][0], size[i][1], size[i][2]);
        ok(gd_inception_look(net, 1, size[i][0], size[i][1], size[i][2], p, got));
        near_all(got, want + i * GD_INCEPTION_FEATURES);
        free(p);
    }
    assert_int_equal(gd_inception_look(net, 1, 28, 28, 2, (const uint8_t *)want, got), GD_CONFIG);
    gd_inception_close(net);
    free(got);
    free(want);
}

/* More images than a batch: each has its own features, wherever it lies. */
static void batches_do_not_mix(void **state) {
    (void)state;
    enum { N = 10, SIDE = 16, BYTES = SIDE * SIDE * 3 };
    float *got = need(malloc(N * GD_INCEPTION_FEATURES * sizeof *got));
    uint8_t *images = need(malloc(N * BYTES));
    for (uint32_t i = 0; i < N; i++) {
        uint8_t *p = picture(i % 7, SIDE, SIDE, 3); /* 7, 8, 9 are 0, 1, 2 again */
        memcpy(images + i * BYTES, p, BYTES);
        free(p);
    }
    gd_inception *net;
    ok(gd_inception_open(good, gd_executor_cpu(), &net));
    ok(gd_inception_look(net, N, SIDE, SIDE, 3, images, got));
    for (int i = 0; i < 3; i++) near_all(got + (7 + i) * GD_INCEPTION_FEATURES, got + i * GD_INCEPTION_FEATURES);
    assert_true(memcmp(got, got + GD_INCEPTION_FEATURES, GD_INCEPTION_FEATURES * sizeof *got) != 0);
    gd_inception_close(net);
    free(images);
    free(got);
}

/* On an executor whose memory is not the host's: the bytes of the executor cpu. */
static void elsewhere_they_are_the_same(void **state) {
    (void)state;
    enum { N = 2, SIDE = 32 };
    float *got = need(malloc(2 * N * GD_INCEPTION_FEATURES * sizeof *got)), *far = got + N * GD_INCEPTION_FEATURES;
    uint8_t *images = picture(77, N * SIDE, SIDE, 3);
    for (int k = 0; k < 2; k++) {
        gd_inception *net;
        ok(gd_inception_open(good, k ? far_executor(FAR_ALL) : gd_executor_cpu(), &net));
        ok(gd_inception_look(net, N, SIDE, SIDE, 3, images, k ? far : got));
        gd_inception_close(net);
    }
    assert_memory_equal(got, far, N * GD_INCEPTION_FEATURES * sizeof *got);
    assert_true(memcmp(got, got + GD_INCEPTION_FEATURES, GD_INCEPTION_FEATURES * sizeof *got) != 0);
    free(images);
    free(got);
}

/* A classifier and counters may be there; the hash is that of the weights alone. */
static void what_is_beside_is_passed_over(void **state) {
    (void)state;
    char hash[33];
    gd_inception *net;
    ok(gd_inception_open(good, gd_executor_cpu(), &net));
    snprintf(hash, sizeof hash, "%s", gd_inception_hash(net));
    assert_int_equal(strlen(hash), 32);
    gd_inception_close(net);
    tensor[TENSORS] = named("fc.weight", gd_shape2(1008, 2048));
    tensor[TENSORS + 1] = named("fc.bias", gd_shape1(1008));
    tensor[TENSORS + 2] = named("AuxLogits.fc.bias", gd_shape1(10));
    tensor[TENSORS + 3] = named("Conv2d_1a_3x3.bn.num_batches_tracked", gd_shape1(1));
    write_file(bad, TENSORS + 4, SIZE_MAX);
    ok(gd_inception_open(bad, gd_executor_cpu(), &net));
    assert_string_equal(gd_inception_hash(net), hash);
    gd_inception_close(net);
    data[0] += 1;
    write_file(bad, TENSORS + 4, SIZE_MAX);
    data[0] -= 1;
    ok(gd_inception_open(bad, gd_executor_cpu(), &net));
    assert_string_not_equal(gd_inception_hash(net), hash);
    gd_inception_close(net);
    drop_from(TENSORS);
}

static void refused(const char *path, gd_status st, const char *says, const char *also) {
    gd_inception *net = NULL;
    assert_int_equal(gd_inception_open(path, gd_executor_cpu(), &net), st);
    assert_null(net);
    if (!strstr(gd_error_message(), says) || !strstr(gd_error_message(), also))
        fail_msg("'%s' does not say '%s' and '%s'", gd_error_message(), says, also);
}

/* Writes the first `count` tensors with tensor i changed for the moment. */
static void with(int i, gd_safetensor changed, int count) {
    gd_safetensor before = tensor[i];
    tensor[i] = changed;
    write_file(bad, count, SIZE_MAX);
    tensor[i] = before;
}

static void other_files_are_refused(void **state) {
    (void)state;
    char *keep = tensor[1].name, other[] = "Conv2d_1a_3x3.batchnorm.weight";
    gd_shape s = tensor[0].shape, wide = gd_shape4(s.dim[0], s.dim[1], s.dim[2], s.dim[3] + 1);
    refused("nowhere.safetensors", GD_NOINPUT, "nowhere.safetensors", "");
    with(1, (gd_safetensor){.name = other, .shape = tensor[1].shape}, PER_UNIT);
    refused(bad, GD_DATA, "has no tensor 'Conv2d_1a_3x3.bn.weight'", "docs/evaluate.md");
    with(0, (gd_safetensor){.name = tensor[0].name, .shape = wide}, PER_UNIT);
    refused(bad, GD_DATA, "'Conv2d_1a_3x3.conv.weight' has the shape [32,3,3,4]", "has [32,3,3,3]");
    with(1, (gd_safetensor){.name = keep, .shape = tensor[1].shape, .type = GD_SAFETENSOR_F16}, PER_UNIT);
    refused(bad, GD_DATA, "'Conv2d_1a_3x3.bn.weight' is F16", "expected F32");
    write_file(bad, PER_UNIT, SIZE_MAX);
    refused(bad, GD_DATA, "has no tensor 'Conv2d_2a_3x3.conv.weight'", "pytorch-fid");
    write_file(bad, PER_UNIT, 100);
    refused(bad, GD_DATA, bad, "");
    FILE *f = need(fopen(bad, "wb"));
    fputs("PK\003\004 a pickle of PyTorch, as torch.save writes it", f);
    fclose(f);
    refused(bad, GD_DATA, "--inception wants a safetensors file", "docs/evaluate.md");
}

static void bad_values_are_refused(void **state) {
    (void)state;
    int64_t var = gd_shape_count(tensor[0].shape) + 3 * tensor[0].shape.dim[0] + 5;
    float before = data[7];
    data[7] = NAN;
    write_file(bad, PER_UNIT, SIZE_MAX);
    data[7] = before;
    refused(bad, GD_DATA, "'Conv2d_1a_3x3.conv.weight': value 7 is not finite", "");
    before = data[var];
    data[var] = -1;
    write_file(bad, PER_UNIT, SIZE_MAX);
    data[var] = before;
    refused(bad, GD_DATA, "'Conv2d_1a_3x3.bn.running_var': value 5 is -1", "");
}

/* Whole files that only what lies beside the units gives away. */
static void other_networks_are_refused(void **state) {
    (void)state;
    tensor[TENSORS] = named("fc.weight", gd_shape2(1000, 2048)); /* torchvision's */
    write_file(bad, TENSORS + 1, SIZE_MAX);
    refused(bad, GD_DATA, "'fc.weight' is for 1000 classes", "torchvision");
    drop_from(TENSORS);
    tensor[TENSORS] = named("Mixed_8a.conv.weight", gd_shape1(4));
    write_file(bad, TENSORS + 1, SIZE_MAX);
    refused(bad, GD_DATA, "holds tensor 'Mixed_8a.conv.weight'", "does not have");
    drop_from(TENSORS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_those_of_pytorch), /* leaves the good file for those below */
        cmocka_unit_test(batches_do_not_mix),
        cmocka_unit_test(elsewhere_they_are_the_same),
        cmocka_unit_test(what_is_beside_is_passed_over),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(other_networks_are_refused),
    };
    return cmocka_run_group_tests(tests, read_list, drop_list);
}
