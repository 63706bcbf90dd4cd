/* What trained runs are used for, on an executor whose memory is not the host's (far_memory.h): the bytes of the executor cpu. The
 * program itself trains the runs, as a user would. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "launch/trained.h"
#include "tests/dist/far_memory.h"

static void ok(gd_status st) {
    if (st != GD_OK) fail_msg("%s", gd_error_message());
}

static const char head[] = "seed: 3\nbatch: {global: 4}\ntrain: {steps: 1}\n";
static const char noise[] = "data: {source: synthetic, image: {size: 32, channels: 1}, count: 64}\ntopology: noise\n"
                            "generator: {arch: dcgan, latent: 16, width: 4}\ndiscriminator: {arch: dcgan, width: 4}\n"
                            "ema: {decay: 0.9}\n";
static const char two_way[] =
    "data: {source: synthetic-pairs, image: {size: 32, channels: 3}, count: 32}\ntopology: two-way\n"
    "generator: {arch: resnet, width: 4, depth: 1}\ndiscriminator: {arch: patchgan, width: 4, depth: 1}\n"
    "loss: {kind: least-squares}\n";
static const char paired[] =
    "data: {source: synthetic-pairs, image: {size: 64, channels: 3}, count: 32}\ntopology: paired\n"
    "generator: {arch: unet, width: 4, depth: 6, dropout: 0.5}\n"
    "discriminator: {arch: patchgan, width: 4, depth: 1}\n";
static const char classifier[] =
    "data: {source: ring, count: 256}\ntopology: classifier\n"
    "discriminator: {arch: layers, layers: [flatten, {dense: 12, act: relu}, {dense: 8}]}\n";

/* A run of one step, and its recipe's name. */
static const char *train(const char *name, const char *recipe) {
    char text[2048], path[64], command[8192];
    int n = snprintf(text, sizeof text, "name: %s\n%s%s", name, head, recipe);
    snprintf(path, sizeof path, "%s.yaml", name);
    ok(gd_file_write(path, text, (size_t)n));
    snprintf(command, sizeof command, "%s %s --quiet --fresh --out %s --device cpu", getenv("GANDIST_BIN"), path, name);
    assert_int_equal(system(command), 0);
    return name;
}

/* One on either executor. */
static void open_both(const char *run, gd_trained *t[2]) {
    for (int far = 0; far < 2; far++) {
        ok(gd_trained_open(run, NULL, &t[far]));
        if (far) ok(gd_trained_use(t[far], far_executor(FAR_ALL)));
    }
    far_take_counts();
}

/* bytes: what has to have gone there at least, and come back exactly. */
static void close_both(gd_trained *t[2], int64_t put, int64_t got) {
    far_counts c = far_take_counts();
    if (c.put < put || c.got != got)
        fail_msg("%lld bytes went there and %lld came back; expected %lld at least and %lld", (long long)c.put,
                 (long long)c.got, (long long)put, (long long)got);
    for (int far = 0; far < 2; far++) gd_trained_close(t[far]);
}

static void waves(float *x, int n) {
    for (int i = 0; i < n; i++) x[i] = sinf((float)i);
}

static void samples(void **state) {
    enum { N = 40, Z = 16, IMAGE = 32 * 32 };
    static float z[N * Z], out[2][N * IMAGE];
    gd_trained *t[2];
    (void)state;
    waves(z, N * Z);
    open_both(train("noise", noise), t);
    for (int far = 0; far < 2; far++) ok(gd_trained_generate(t[far], N, z, out[far]));
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    close_both(t, sizeof z, sizeof out[0]);
}

static void translations(void **state) {
    enum { N = 2, SIDE = 64, IMAGE = SIDE * SIDE * 3 };
    static float x[N * IMAGE], out[2][N * IMAGE];
    static const struct {
        const char *name, *recipe;
        gd_translation how;
    } way[] = {{"two_way", two_way, {.direction = 1, .height = 32, .width = SIDE}},
               {"paired", paired, {.height = SIDE, .width = SIDE, .noise = true}},
               {"calm", paired, {.height = SIDE, .width = SIDE}}};
    (void)state;
    waves(x, N * IMAGE);
    for (size_t w = 0; w < sizeof way / sizeof *way; w++) {
        size_t bytes = (size_t)(N * way[w].how.height * SIDE * 3) * sizeof *x;
        gd_trained *t[2];
        open_both(train(way[w].name, way[w].recipe), t);
        for (int far = 0; far < 2; far++) ok(gd_trained_translate(t[far], &way[w].how, 5, N, x, out[far]));
        assert_memory_equal(out[0], out[1], bytes);
        close_both(t, (int64_t)bytes, (int64_t)bytes);
    }
}

static void verdicts(void **state) {
    enum { N = 33, CLASSES = 8, FEATURES = 12 };
    static float x[N * 2], logits[2][N * CLASSES], features[2][N * FEATURES];
    gd_trained *t[2];
    (void)state;
    waves(x, N * 2);
    open_both(train("classifier", classifier), t);
    for (int far = 0; far < 2; far++) {
        assert_int_equal(gd_trained_features(t[far]), FEATURES);
        ok(gd_trained_classify(t[far], N, x, logits[far], features[far]));
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    assert_memory_equal(features[0], features[1], sizeof features[0]);
    close_both(t, sizeof x, sizeof logits[0] + sizeof features[0]);
}

static void it_is_chosen_once_and_in_time(void **state) {
    static float z[16], out[32 * 32];
    gd_trained *t;
    (void)state;
    ok(gd_trained_open(train("noise", noise), NULL, &t));
    ok(gd_trained_generate(t, 1, z, out));
    assert_int_equal(gd_trained_use(t, far_executor(FAR_ALL)), GD_INTERNAL);
    gd_error_clear();
    gd_trained_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples),
        cmocka_unit_test(translations),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(it_is_chosen_once_and_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
