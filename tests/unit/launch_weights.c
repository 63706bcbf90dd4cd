/* Weights saved by PyTorch (golden/weights.py) become runs that compute what PyTorch computed, and go back to the
 * byte. The program itself does the import, as a user would. */
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
#include "launch/weights.h"

typedef struct file {
    gd_safetensors head;
    char *data;
} file;

static void ok(gd_status st) {
    if (st != GD_OK) fail_msg("%s", gd_error_message());
}

static file read_file(const char *path) {
    file f;
    int fd;
    uint64_t bytes;
    ok(gd_file_open(path, &fd, &bytes));
    ok(gd_safetensors_read_any(fd, path, bytes, &f.head));
    size_t n = (size_t)(bytes - f.head.data_at);
    f.data = malloc(n + 1);
    assert_non_null(f.data);
    ok(gd_file_pread(fd, path, f.data, n, f.head.data_at));
    gd_io_get()->close(fd);
    return f;
}

static void drop(file *f) {
    gd_safetensors_free(&f->head);
    free(f->data);
}

static const char *golden(const char *name) {
    static char path[2][4096];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/tests/golden/%s", getenv("GANDIST_SOURCE_DIR"), name);
    return path[turn];
}

static const gd_safetensor *tensor(const file *f, const char *name) {
    for (int i = 0; i < f->head.count; i++) {
        const char *own = f->head.tensor[i].name;
        if (!strcmp(strncmp(own, "module.", 7) ? own : own + 7, name)) return &f->head.tensor[i];
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static const float *values(const file *f, const char *name, gd_shape *shape) {
    const gd_safetensor *t = tensor(f, name);
    *shape = t->shape;
    return (const float *)(const void *)(f->data + t->begin);
}

/* gandist import, into an empty folder of this test. */
static gd_trained *import(const char *name, const char *recipe, const char *weights) {
    char path[256], command[8192];
    gd_trained *t;
    snprintf(path, sizeof path, "%s.yaml", name);
    ok(gd_dir_remove(name));
    ok(gd_file_write(path, recipe, strlen(recipe)));
    snprintf(command, sizeof command, "%s import %s --into %s --out %s", getenv("GANDIST_BIN"), golden(weights), path,
             name);
    assert_int_equal(system(command), 0);
    ok(gd_trained_open(name, NULL, &t));
    return t;
}

static void close_to(const float *got, const float *want, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    if (!(worst < 1e-5)) fail_msg("%g away from PyTorch", worst);
}

/* What export writes is what PyTorch saved: keys, shapes and bytes; `more` tensors of the original are not kept. */
static void goes_back(const gd_trained *t, const char *prefix, const char *weights, int more) {
    int tensors;
    ok(gd_weights_export(t, prefix, GD_NAMES_PYTORCH, "back.safetensors", &tensors));
    file before = read_file(golden(weights)), after = read_file("back.safetensors");
    assert_int_equal(after.head.count, before.head.count - more);
    assert_int_equal(after.head.count, tensors);
    for (int i = 0; i < tensors; i++) {
        const gd_safetensor *a = &after.head.tensor[i], *b = tensor(&before, a->name);
        assert_true(gd_shape_equal(a->shape, b->shape));
        assert_int_equal(a->type, b->type);
        if (a->type == GD_SAFETENSOR_F32)
            assert_memory_equal(after.data + a->begin, before.data + b->begin, a->end - a->begin);
    }
    drop(&before);
    drop(&after);
}

static const char dcgan[] = "name: dcgan\n"
                            "data: {source: synthetic, image: {size: 32, channels: 1}, count: 64}\n"
                            "batch: {global: 8}\n"
                            "topology: noise\n"
                            "generator: {arch: dcgan, latent: 16, width: 4}\n"
                            "discriminator: {arch: dcgan, width: 4}\n"
                            "loss: {kind: non-saturating}\n"
                            "train: {steps: 4}\n";

static void batch_norm_network(void **state) {
    (void)state;
    gd_trained *t = import("dcgan", dcgan, "weights_dcgan.safetensors");
    file io = read_file(golden("weights_dcgan_io.safetensors"));
    gd_shape in, out;
    const float *x = values(&io, "x", &in), *y = values(&io, "y", &out);
    float *got = malloc((size_t)gd_shape_count(out) * sizeof *got);
    assert_non_null(got);
    ok(gd_trained_generate(t, in.dim[0], x, got));
    close_to(got, y, gd_shape_count(out));
    goes_back(t, "G", "weights_dcgan.safetensors", 0);
    free(got);
    drop(&io);
    gd_trained_close(t);
}

static const char resnet[] = "name: resnet\n"
                             "data: {source: unpaired, path: nowhere, image: {size: 32, channels: 3}}\n"
                             "batch: {global: 1}\n"
                             "topology: two-way\n"
                             "generator: {arch: resnet, width: 4, depth: 2}\n"
                             "discriminator: {arch: patchgan, width: 4, depth: 1}\n"
                             "loss: {kind: least-squares, terms: {cycle_a: 10, cycle_b: 10}}\n"
                             "train: {steps: 4}\n";

/* Its data are not there: the weights are read all the same. */
static void instance_norm_network(void **state) {
    (void)state;
    gd_trained *t = import("resnet", resnet, "weights_resnet.safetensors");
    file io = read_file(golden("weights_resnet_io.safetensors"));
    gd_shape in, out;
    const float *x = values(&io, "x", &in), *y = values(&io, "y", &out);
    gd_translation how = {.direction = 0, .height = in.dim[1], .width = in.dim[2]};
    float *got = malloc((size_t)gd_shape_count(out) * sizeof *got);
    assert_non_null(got);
    ok(gd_trained_translate(t, &how, 0, 1, x, got));
    close_to(got, y, gd_shape_count(out));
    goes_back(t, "G_AB", "weights_resnet.safetensors", 2);
    free(got);
    drop(&io);
    gd_trained_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_norm_network),
        cmocka_unit_test(instance_norm_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
