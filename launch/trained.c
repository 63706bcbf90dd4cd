#include "launch/trained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "compute/exec.h"
#include "dist/checkpoint.h"
#include "launch/setup.h"

enum { BATCH = 32, ALIGN = 64 };

struct gd_trained {
    gd_recipe *recipe;
    gd_setup setup;
    gd_gan *gan;
    gd_step_graph graph;
    gd_program *program;
    gd_instance *instance;
    gd_checkpoint *checkpoint;
    float *params;    /* all tensors of the generator, each 64-byte aligned */
    float *z, *image; /* one batch */
    gd_shape shape;
    char name[256];
};

static gd_status load_recipe(const char *run, gd_recipe **out) {
    char path[4096];
    snprintf(path, sizeof path, "%s/recipe.yaml", run);
    if (!gd_path_exists(path))
        GD_FAIL(NOINPUT, "%s: no such file; expected a run folder made by 'gandist RECIPE'", path);
    return gd_recipe_load(path, NULL, out);
}

/* The image shape without the data set where the recipe says it; else the data set is asked. */
static gd_status image_shape(const gd_recipe *r, gd_sample_shape *out) {
    gd_dataset_spec spec;
    gd_dataset *d;
    if (r->data.image.size > 0 && r->data.image.channels > 0) {
        int side = (int)r->data.image.size;
        *out = (gd_sample_shape){GD_SAMPLE_U8, side, side, (int)r->data.image.channels};
        return GD_OK;
    }
    GD_TRY(gd_setup_dataset(r, &spec));
    GD_TRY(gd_dataset_open(&spec, &d));
    *out = gd_dataset_shape(d, 0);
    gd_dataset_close(d);
    return GD_OK;
}

/* Opens the newest checkpoint of a run that passes the checks made on opening. */
static gd_status open_newest(const char *run, gd_checkpoint **out) {
    char dir[4096];
    char **paths;
    int count;
    snprintf(dir, sizeof dir, "%s/checkpoints", run);
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    gd_status st = GD_NOINPUT;
    if (!count) st = gd_raise(GD_NOINPUT, __FILE__, __LINE__, "%s: no checkpoint yet; train first", dir);
    for (int i = 0; i < count; i++) {
        st = gd_checkpoint_open(paths[i], out);
        if (st == GD_OK) break;
        GD_LOG(LAUNCH, WARN, "%s is not usable: %s", paths[i], gd_error_message());
    }
    gd_checkpoint_list_free(paths, count);
    return st;
}

static gd_status open_checkpoint(const char *path, char *run, size_t room, gd_checkpoint **out) {
    char manifest[4096];
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    if (!gd_path_exists(path)) GD_FAIL(NOINPUT, "%s: no such run folder", path);
    if (!gd_path_exists(manifest)) {
        snprintf(run, room, "%s", path);
        return open_newest(path, out);
    }
    snprintf(run, room, "%s/../..", path);
    return gd_checkpoint_open(path, out);
}

static bool has_tensor(const gd_state *s, const char *name) {
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->tensor[i].name, name)) return true;
    return false;
}

static size_t padded(const gd_param_info *p) {
    size_t floats = (size_t)gd_shape_count(p->shape), unit = ALIGN / sizeof(float);
    return (floats + unit - 1) / unit * unit;
}

/* Reads one parameter (its EMA if there is one and it is wanted) and binds it. */
static gd_status load_param(gd_trained *t, const gd_param_info *p, bool ema, float *into) {
    char plain[300], name[320];
    snprintf(plain, sizeof plain, "G/%s", p->name);
    snprintf(name, sizeof name, "ema/%s", plain);
    if (!ema || !has_tensor(gd_checkpoint_state(t->checkpoint), name)) snprintf(name, sizeof name, "%s", plain);
    gd_state_tensor tensor = {.name = name, .shape = p->shape, .data = into};
    memcpy(tensor.file_perm, p->file_perm, sizeof tensor.file_perm);
    GD_TRY(gd_checkpoint_read(t->checkpoint, &tensor));
    return gd_instance_bind(t->instance, plain, into);
}

static gd_status load_params(gd_trained *t, bool ema) {
    const gd_gan_net *nets;
    const gd_param_info *params;
    gd_gan_nets(t->gan, &nets);
    int n = gd_net_params(nets[0].net, &params);
    size_t total = 0, at = 0;
    for (int i = 0; i < n; i++) total += padded(&params[i]);
    t->params = aligned_alloc(ALIGN, total * sizeof(float));
    if (!t->params) GD_FAIL(NOMEM, "%zu generator values", total);
    for (int i = 0; i < n; i++) {
        GD_TRY(load_param(t, &params[i], ema, t->params + at));
        at += padded(&params[i]);
    }
    return GD_OK;
}

static bool run_has_ema(const gd_checkpoint *k) {
    const gd_state *s = gd_checkpoint_state(k);
    for (int i = 0; i < s->count; i++)
        if (!strncmp(s->tensor[i].name, "ema/", 4)) return true;
    return false;
}

static gd_status choose_weights(const gd_checkpoint *k, const char *weights, bool *ema) {
    *ema = run_has_ema(k);
    if (!weights) return GD_OK;
    if (!strcmp(weights, "live")) {
        *ema = false;
        return GD_OK;
    }
    if (strcmp(weights, "ema")) GD_FAIL(USAGE, "--weights: no weights '%s'; one of ema, live", weights);
    if (!*ema) GD_FAIL(NOINPUT, "--weights ema: this run keeps no moving average (ema.decay is 0); use --weights live");
    return GD_OK;
}

static gd_status build(gd_trained *t) {
    gd_sample_shape s;
    GD_TRY(image_shape(t->recipe, &s));
    t->shape = gd_shape4(1, s.height, s.width, s.channels);
    GD_TRY(gd_setup_train(t->recipe, s, &t->setup));
    GD_TRY(gd_gan_new(&t->setup.config.gan, &t->gan));
    GD_TRY(gd_gan_sampler(t->gan, BATCH, false, &t->graph));
    gd_program_opts o = {.precision = GD_PRECISION_F32};
    GD_TRY(gd_program_make(t->graph.graph, gd_executor_cpu(), t->graph.n_outputs, t->graph.outputs, &o, &t->program));
    GD_TRY(gd_instance_make(t->program, &t->instance));
    size_t z = (size_t)(BATCH * gd_trained_latent(t)) * sizeof(float);
    size_t image = (size_t)(BATCH * gd_shape_count(t->shape)) * sizeof(float);
    t->z = aligned_alloc(ALIGN, (z + ALIGN - 1) / ALIGN * ALIGN);
    t->image = aligned_alloc(ALIGN, (image + ALIGN - 1) / ALIGN * ALIGN);
    if (!t->z || !t->image) GD_FAIL(NOMEM, "a batch of %d images", BATCH);
    memset(t->z, 0, z);
    GD_TRY(gd_instance_bind(t->instance, "z", t->z));
    return gd_instance_bind(t->instance, "image", t->image);
}

gd_status gd_trained_open(const char *path, const char *weights, gd_trained **out) {
    gd_trained *t = calloc(1, sizeof *t);
    if (!t) GD_FAIL(NOMEM, "%s: generator", path);
    char run[2048];
    bool ema;
    gd_status st;
    GD_TRY_TO(fail, open_checkpoint(path, run, sizeof run, &t->checkpoint));
    GD_TRY_TO(fail, load_recipe(run, &t->recipe));
    GD_TRY_TO(fail, choose_weights(t->checkpoint, weights, &ema));
    GD_TRY_TO(fail, build(t));
    GD_TRY_TO(fail, load_params(t, ema));
    snprintf(t->name, sizeof t->name, "%s, step %lld, %s weights", t->recipe->name,
             (long long)gd_checkpoint_state(t->checkpoint)->counters.step, ema ? "ema" : "live");
    *out = t;
    return GD_OK;
fail:
    gd_trained_close(t);
    return st;
}

void gd_trained_close(gd_trained *t) {
    if (!t) return;
    gd_instance_free(t->instance);
    gd_program_free(t->program);
    gd_step_graph_free(&t->graph);
    gd_gan_free(t->gan);
    gd_setup_free(&t->setup);
    gd_recipe_free(t->recipe);
    gd_checkpoint_close(t->checkpoint);
    free(t->params);
    free(t->z);
    free(t->image);
    free(t);
}

int64_t gd_trained_latent(const gd_trained *t) { return t->setup.config.gan.generator.latent; }
bool gd_trained_latent_uniform(const gd_trained *t) { return t->setup.config.gan.latent_uniform; }
gd_shape gd_trained_image(const gd_trained *t) { return t->shape; }
gd_range gd_trained_range(const gd_trained *t) { return t->setup.config.gan.range; }
const char *gd_trained_name(const gd_trained *t) { return t->name; }

gd_status gd_trained_generate(gd_trained *t, int64_t n, const float *z, float *out) {
    size_t latent = (size_t)gd_trained_latent(t), image = (size_t)gd_shape_count(t->shape);
    gd_run_args args = {.seed = t->recipe->seed};
    for (int64_t at = 0; at < n; at += BATCH) {
        size_t now = (size_t)(n - at < BATCH ? n - at : BATCH);
        memcpy(t->z, z + (size_t)at * latent, now * latent * sizeof *z);
        GD_TRY(gd_instance_run(t->instance, &args));
        memcpy(out + (size_t)at * image, t->image, now * image * sizeof *out);
    }
    return GD_OK;
}
