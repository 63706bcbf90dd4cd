#include "launch/inception.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "compute/exec.h"
#include "compute/program.h"
#include "dist/safetensors.h"
#include "launch/placed.h"

enum { BATCH = 8, ALIGN = 64, UNIT_FLOATS = ALIGN / sizeof(float), CLASSES = 1008, TOLD = 1000 };
enum { PIXELS = GD_INCEPTION_SIDE * GD_INCEPTION_SIDE };

struct gd_inception {
    gd_graph *graph;
    gd_program *program;
    gd_instance *instance;
    gd_placed params, in, out; /* folded weights; [BATCH,299,299,3]; [BATCH,2048] */
    char hash[33];
};

/* ---- the file ---- */

typedef struct file {
    const char *path;
    int fd;
    gd_safetensors head;
    bool *used; /* by tensor */
    gd_hasher *hasher;
} file;

/* -1: there is none. */
static int find(const file *f, const char *name) {
    for (int i = 0; i < f->head.count; i++)
        if (!strcmp(f->head.tensor[i].name, name)) return i;
    return -1;
}

static gd_status check_shape(const file *f, const gd_safetensor *t, gd_shape want) {
    char have_text[96], want_text[96];
    if (t->type != GD_SAFETENSOR_F32)
        GD_FAIL(DATA, "%s: tensor '%s' is %s; expected F32: the FID is defined by the weights as they were published",
                f->path, t->name, gd_safetensor_type_text(t->type));
    if (gd_shape_equal(t->shape, want)) return GD_OK;
    gd_shape_text(t->shape, have_text);
    gd_shape_text(want, want_text);
    GD_FAIL(DATA, "%s: tensor '%s' has the shape %s; FID's Inception network has %s", f->path, t->name, have_text,
            want_text);
}

/* Tensor "<unit>.<key>" into `into`, and its bytes into the hash. */
static gd_status read_tensor(const file *f, const char *unit, const char *key, gd_shape shape, float *into) {
    char name[160];
    snprintf(name, sizeof name, "%s.%s", unit, key);
    int index = find(f, name);
    if (index < 0)
        GD_FAIL(DATA,
                "%s: has no tensor '%s'; expected the weights of FID's Inception network with pytorch-fid's names "
                "(docs/evaluate.md)",
                f->path, name);
    const gd_safetensor *t = &f->head.tensor[index];
    f->used[index] = true;
    GD_TRY(check_shape(f, t, shape));
    int64_t count = gd_shape_count(shape);
    GD_TRY(gd_file_pread(f->fd, f->path, into, (size_t)count * sizeof *into, f->head.data_at + t->begin));
    gd_hasher_add(f->hasher, into, (size_t)count * sizeof *into);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(into[i])) GD_FAIL(DATA, "%s: tensor '%s': value %lld is not finite", f->path, name, (long long)i);
    return GD_OK;
}

/* ---- one unit: convolution and batch norm become one convolution ---- */

typedef struct norm {
    float *scale, *shift, *mean, *var; /* [K] each */
} norm;

static gd_status read_norm(const file *f, const char *unit, int64_t channels, float *room, norm *out) {
    gd_shape s = gd_shape1(channels);
    *out = (norm){room, room + channels, room + 2 * channels, room + 3 * channels};
    GD_TRY(read_tensor(f, unit, "bn.weight", s, out->scale));
    GD_TRY(read_tensor(f, unit, "bn.bias", s, out->shift));
    GD_TRY(read_tensor(f, unit, "bn.running_mean", s, out->mean));
    GD_TRY(read_tensor(f, unit, "bn.running_var", s, out->var));
    for (int64_t k = 0; k < channels; k++)
        if (out->var[k] < 0)
            GD_FAIL(DATA, "%s: tensor '%s.bn.running_var': value %lld is %g; a variance is not negative", f->path, unit,
                    (long long)k, (double)out->var[k]);
    return GD_OK;
}

/* s: [K,R,S,C], the shape of `weight`; plain is [K,C,R,S]. */
static void fold(const norm *b, gd_shape s, const float *plain, float *weight, float *bias) {
    int64_t taps = s.dim[1] * s.dim[2], channels = s.dim[3];
    for (int64_t k = 0; k < s.dim[0]; k++) {
        double factor = (double)b->scale[k] / sqrt((double)b->var[k] + GD_INCEPTION_EPS);
        const float *from = plain + k * channels * taps;
        float *to = weight + k * channels * taps;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++) to[t * channels + c] = (float)(factor * (double)from[c * taps + t]);
        bias[k] = (float)((double)b->shift[k] - factor * (double)b->mean[k]);
    }
}

static size_t padded(int64_t floats) { return ((size_t)floats + UNIT_FLOATS - 1) / UNIT_FLOATS * UNIT_FLOATS; }

/* Loads the unit that has weights `name` and binds it to memory from *at on, which moves behind it. */
static gd_status load_unit(gd_inception *net, const file *f, const char *name, gd_shape s, float **at) {
    char unit[128], bias_name[160];
    int64_t count = gd_shape_count(s), channels = s.dim[0];
    snprintf(unit, sizeof unit, "%.*s", (int)(strrchr(name, '.') - name), name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", unit);
    float *weight = *at, *bias = weight + padded(count);
    float *plain = malloc((size_t)(count + 4 * channels) * sizeof *plain);
    if (!plain) GD_FAIL(NOMEM, "%s: unit %s", f->path, unit);
    norm b;
    gd_status st = read_tensor(f, unit, "conv.weight", gd_shape4(channels, s.dim[3], s.dim[1], s.dim[2]), plain);
    if (st == GD_OK) st = read_norm(f, unit, channels, plain + count, &b);
    if (st == GD_OK) fold(&b, s, plain, weight, bias);
    free(plain);
    GD_TRY(st);
    GD_TRY(gd_instance_bind(net->instance, name, gd_placed_at(&net->params, weight)));
    *at = bias + padded(channels);
    return gd_instance_bind(net->instance, bias_name, gd_placed_at(&net->params, bias));
}

/* ---- all of it ---- */

static bool may_ignore(const char *name) {
    static const char tracked[] = ".num_batches_tracked";
    size_t n = strlen(name), t = sizeof tracked - 1;
    return !strncmp(name, "fc.", 3) || !strncmp(name, "AuxLogits.", 10) || (n >= t && !strcmp(name + n - t, tracked));
}

/* Tensors beside those of the units. torchvision's network of 1000 classes has the same names and shapes but for its
 * classifier, and its features give another number than the FID. */
static gd_status check_others(const file *f) {
    int fc = find(f, "fc.weight");
    int64_t classes = fc < 0 ? CLASSES : f->head.tensor[fc].shape.rank ? f->head.tensor[fc].shape.dim[0] : 1;
    if (classes != CLASSES)
        GD_FAIL(DATA,
                "%s: tensor 'fc.weight' is for %lld classes, FID's network has %d: these are the weights of another "
                "Inception network, such as torchvision's; docs/evaluate.md says which are the right ones",
                f->path, (long long)classes, CLASSES);
    for (int i = 0; i < f->head.count; i++)
        if (!f->used[i] && !may_ignore(f->head.tensor[i].name))
            GD_FAIL(DATA, "%s: holds tensor '%s', which FID's Inception network does not have", f->path,
                    f->head.tensor[i].name);
    return GD_OK;
}

static gd_status load_units(gd_inception *net, const file *f) {
    float *at = net->params.host;
    for (gd_node n = 0; n < gd_graph_count(net->graph); n++) {
        const gd_node_info *i = gd_graph_at(net->graph, n);
        if (i->op != GD_OP_PARAM || i->shape.rank != 4) continue; /* biases come with their weights */
        GD_TRY(load_unit(net, f, i->name, i->shape, &at));
    }
    GD_TRY(check_others(f));
    GD_TRY(gd_placed_put(&net->params));
    gd_hash128_text(gd_hasher_128(f->hasher), net->hash);
    return GD_OK;
}

static gd_status load(gd_inception *net, const char *path) {
    file f = {.path = path};
    uint64_t bytes;
    GD_TRY(gd_file_open(path, &f.fd, &bytes));
    gd_status st = gd_safetensors_read_any(f.fd, path, bytes, &f.head);
    if (st != GD_OK)
        gd_context(st, "--inception wants a safetensors file; docs/evaluate.md shows how to convert a .pth");
    if (st == GD_OK) {
        f.hasher = gd_hasher_new();
        f.used = calloc((size_t)f.head.count + 1, sizeof *f.used);
        st = f.hasher && f.used ? load_units(net, &f)
                                : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: its list of tensors", path);
        gd_hasher_free(f.hasher);
        free(f.used);
        gd_safetensors_free(&f.head);
    }
    gd_io_get()->close(f.fd);
    return st;
}

static gd_status room(const gd_executor *x, size_t floats, gd_placed *out) {
    GD_TRY(gd_placed_make(floats, out));
    return gd_placed_on(out, x);
}

static gd_status make(gd_inception *net, const gd_executor *x) {
    gd_program_opts o = {.precision = GD_PRECISION_F32, .name = "inception"};
    size_t params = 0;
    GD_TRY(gd_graph_new(1, &net->graph));
    gd_graph *g = net->graph;
    gd_node in = gd_input(g, "x", GD_F32, gd_shape4(BATCH, GD_INCEPTION_SIDE, GD_INCEPTION_SIDE, 3));
    gd_output y = {"features", gd_inception_features(g, in)};
    GD_TRY(gd_graph_status(g));
    GD_TRY(gd_program_make(g, x, 1, &y, &o, &net->program));
    GD_TRY(gd_instance_make(net->program, &net->instance));
    for (gd_node n = 0; n < gd_graph_count(g); n++)
        if (gd_graph_at(g, n)->op == GD_OP_PARAM) params += padded(gd_shape_count(gd_graph_at(g, n)->shape));
    GD_TRY(room(x, params, &net->params));
    GD_TRY(room(x, (size_t)BATCH * PIXELS * 3, &net->in));
    GD_TRY(room(x, (size_t)BATCH * GD_INCEPTION_FEATURES, &net->out));
    GD_TRY(gd_instance_bind(net->instance, "x", gd_placed_at(&net->in, net->in.host)));
    return gd_instance_bind(net->instance, "features", gd_placed_at(&net->out, net->out.host));
}

gd_status gd_inception_open(const char *path, const gd_executor *x, gd_inception **out) {
    gd_inception *net = calloc(1, sizeof *net);
    if (!net) GD_FAIL(NOMEM, "the Inception network");
    gd_status st = make(net, x);
    if (st == GD_OK) st = load(net, path);
    if (st == GD_OK) *out = net;
    else gd_inception_close(net);
    return st;
}

void gd_inception_close(gd_inception *net) {
    if (!net) return;
    gd_instance_free(net->instance);
    gd_program_free(net->program);
    gd_graph_free(net->graph);
    gd_placed_free(&net->params);
    gd_placed_free(&net->in);
    gd_placed_free(&net->out);
    free(net);
}

const char *gd_inception_hash(const gd_inception *net) { return net->hash; }

/* ---- looking ---- */

/* Pixel centres of 299 lie evenly over those of `size`; outside them the border pixel counts alone. */
typedef struct axis {
    int64_t low[GD_INCEPTION_SIDE], high[GD_INCEPTION_SIDE];
    float part[GD_INCEPTION_SIDE]; /* of `high` */
} axis;

static void make_axis(int64_t size, axis *out) {
    double ratio = (double)size / GD_INCEPTION_SIDE;
    for (int i = 0; i < GD_INCEPTION_SIDE; i++) {
        double at = fmax((i + 0.5) * ratio - 0.5, 0);
        out->low[i] = (int64_t)at;
        out->high[i] = out->low[i] + 1 < size ? out->low[i] + 1 : out->low[i];
        out->part[i] = (float)(at - (double)out->low[i]);
    }
}

/* One image as the network wants it: 299 x 299 pixels, 3 channels, -1 to 1. */
static void enlarge(const uint8_t *image, int64_t w, int64_t c, const axis *rows, const axis *columns, float *out) {
    for (int i = 0; i < GD_INCEPTION_SIDE; i++) {
        const uint8_t *top = image + rows->low[i] * w * c, *bottom = image + rows->high[i] * w * c;
        float down = rows->part[i];
        for (int j = 0; j < GD_INCEPTION_SIDE; j++, out += 3) {
            int64_t left = columns->low[j] * c, right = columns->high[j] * c;
            float across = columns->part[j];
            for (int k = 0; k < 3; k++) {
                int64_t at = c == 1 ? 0 : k;
                float a = (float)top[left + at] * (1 - across) + (float)top[right + at] * across;
                float b = (float)bottom[left + at] * (1 - across) + (float)bottom[right + at] * across;
                out[k] = (a * (1 - down) + b * down) * (2.0f / 255) - 1;
            }
        }
    }
}

gd_status gd_inception_look(gd_inception *net, int64_t n, int64_t h, int64_t w, int64_t c, const uint8_t *images,
                            float *out) {
    axis rows, columns;
    if (c != 1 && c != 3) GD_FAIL(CONFIG, "fid: images of %lld channels; the network takes 1 or 3", (long long)c);
    make_axis(h, &rows);
    make_axis(w, &columns);
    for (int64_t at = 0; at < n; at += BATCH) {
        int64_t now = n - at < BATCH ? n - at : BATCH; /* behind it are images of before; images do not mix */
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < now; i++)
            enlarge(images + (at + i) * h * w * c, w, c, &rows, &columns, net->in.host + i * PIXELS * 3);
        GD_TRY(gd_placed_put(&net->in));
        GD_TRY(gd_instance_run(net->instance, &(gd_run_args){0}));
        GD_TRY(gd_placed_get(&net->out, (size_t)(now * GD_INCEPTION_FEATURES)));
        memcpy(out + at * GD_INCEPTION_FEATURES, net->out.host, (size_t)now * GD_INCEPTION_FEATURES * sizeof *out);
        if ((at + now) / TOLD != at / TOLD)
            GD_LOG(LAUNCH, INFO, "fid: features of %lld of %lld images", (long long)(at + now), (long long)n);
    }
    return GD_OK;
}
