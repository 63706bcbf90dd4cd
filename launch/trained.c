#include "launch/trained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "compute/exec.h"
#include "launch/kernels.h"
#include "launch/placed.h"
#include "launch/setup.h"

enum { BATCH = 32, ALIGN = 64 };

/* One network ready to run on batches of one size. */
typedef struct machine {
    gd_step_graph graph;
    gd_program *program;
    gd_instance *instance;
    gd_placed in, out, extra;
    int64_t n, in_size, out_size, extra_size; /* samples; floats of one sample */
} machine;

struct gd_trained {
    gd_recipe *recipe;
    gd_setup setup;
    gd_gan *gan;
    gd_checkpoint *checkpoint;
    char path[4096]; /* of the checkpoint                              */
    const gd_executor *executor;
    gd_placed params; /* all tensors that are used, each 64-byte aligned */
    bool ema;
    machine main;       /* generator from latents, or classifier          */
    machine translator; /* for `how`                                      */
    gd_translation how;
    gd_shape shape;
    char name[256];
};

/* ---- finding the run ---- */

static gd_status load_recipe(const char *run, gd_recipe **out) {
    char path[4096];
    snprintf(path, sizeof path, "%s/recipe.yaml", run);
    if (!gd_path_exists(path))
        GD_FAIL(NOINPUT, "%s: no such file; expected a run folder made by 'gandist RECIPE'", path);
    return gd_recipe_load(path, NULL, out);
}

/* Opens the newest checkpoint of a run that passes the checks made on opening. */
static gd_status open_newest(const char *run, gd_trained *t) {
    char dir[4096];
    char **paths;
    int count;
    snprintf(dir, sizeof dir, "%s/checkpoints", run);
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    gd_status st = GD_NOINPUT;
    if (!count) st = gd_raise(GD_NOINPUT, __FILE__, __LINE__, "%s: no checkpoint yet; train first", dir);
    for (int i = 0; i < count; i++) {
        st = gd_checkpoint_open(paths[i], &t->checkpoint);
        if (st == GD_OK) snprintf(t->path, sizeof t->path, "%s", paths[i]);
        if (st == GD_OK) break;
        GD_LOG(LAUNCH, WARN, "%s is not usable: %s", paths[i], gd_error_message());
    }
    gd_checkpoint_list_free(paths, count);
    return st;
}

static gd_status open_checkpoint(const char *path, char *run, size_t room, gd_trained *t) {
    char manifest[4096];
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    if (!gd_path_exists(path)) GD_FAIL(NOINPUT, "%s: no such run folder", path);
    if (!gd_path_exists(manifest)) {
        snprintf(run, room, "%s", path);
        return open_newest(path, t);
    }
    snprintf(run, room, "%s/../..", path);
    snprintf(t->path, sizeof t->path, "%s", path);
    return gd_checkpoint_open(path, &t->checkpoint);
}

/* ---- weights ---- */

static bool has_tensor(const gd_state *s, const char *name) {
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->tensor[i].name, name)) return true;
    return false;
}

gd_status gd_trained_tensor(const gd_trained *t, const char *prefix, const gd_param_info *p, bool ema, float *into) {
    char plain[300], name[320];
    snprintf(plain, sizeof plain, "%s/%s", prefix, p->name);
    snprintf(name, sizeof name, "ema/%s", plain);
    if (!ema || !has_tensor(gd_checkpoint_state(t->checkpoint), name)) snprintf(name, sizeof name, "%s", plain);
    gd_state_tensor tensor = {.name = name, .shape = p->shape, .data = into};
    memcpy(tensor.file_perm, p->file_perm, sizeof tensor.file_perm);
    return gd_checkpoint_read(t->checkpoint, &tensor);
}

static size_t padded(const gd_param_info *p) {
    size_t floats = (size_t)gd_shape_count(p->shape), unit = ALIGN / sizeof(float);
    return (floats + unit - 1) / unit * unit;
}

/* What is run: the generators, or a classifier's one network. */
static bool is_used(const gd_trained *t, const gd_gan_net *net) {
    return (net->group == GD_GROUP_D) == (t->setup.config.gan.topology == GD_TOPOLOGY_CLASSIFIER);
}

/* Calls `use` with every tensor of the networks that are run and its place in t->params. */
typedef gd_status (*tensor_use)(const gd_trained *t, const char *prefix, const gd_param_info *p, float *at, void *ctx);
static gd_status each_tensor(const gd_trained *t, tensor_use use, void *ctx, size_t *total) {
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(t->gan, &nets);
    *total = 0;
    for (int i = 0; i < n_nets; i++) {
        const gd_param_info *p;
        int n = is_used(t, &nets[i]) ? gd_net_params(nets[i].net, &p) : 0;
        for (int k = 0; k < n; k++) {
            if (use) GD_TRY(use(t, nets[i].prefix, &p[k], t->params.host + *total, ctx));
            *total += padded(&p[k]);
        }
    }
    return GD_OK;
}

static gd_status load_tensor(const gd_trained *t, const char *prefix, const gd_param_info *p, float *at, void *ctx) {
    (void)ctx;
    return gd_trained_tensor(t, prefix, p, t->ema, at);
}

static gd_status bind_tensor(const gd_trained *t, const char *prefix, const gd_param_info *p, float *at, void *ctx) {
    char name[300];
    snprintf(name, sizeof name, "%s/%s", prefix, p->name);
    return gd_instance_bind(ctx, name, gd_placed_at(&t->params, at));
}

static gd_status load_params(gd_trained *t) {
    size_t total;
    GD_TRY(each_tensor(t, NULL, NULL, &total));
    gd_status st = gd_placed_make(total, &t->params);
    if (st != GD_OK) return gd_context(st, "parameters of the networks");
    return each_tensor(t, load_tensor, NULL, &total);
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

/* ---- networks ready to run ---- */

static void machine_free(machine *m) {
    gd_instance_free(m->instance);
    gd_program_free(m->program);
    gd_step_graph_free(&m->graph);
    gd_placed_free(&m->in);
    gd_placed_free(&m->out);
    gd_placed_free(&m->extra);
    *m = (machine){0};
}

/* Memory of one bound array of the program; *size: floats of one of its n samples. A name that the program does
 * not have gets none. */
static gd_status bind_array(const gd_trained *t, machine *m, const char *name, gd_placed *data, int64_t *size) {
    const gd_binding *list;
    int count = gd_program_bindings(m->program, &list);
    for (int i = 0; i < count; i++) {
        if (strcmp(list[i].name, name)) continue;
        gd_status st = gd_placed_make((size_t)gd_shape_count(list[i].shape), data);
        if (st == GD_OK) st = gd_placed_on(data, t->executor);
        if (st != GD_OK) return gd_context(st, "a batch of %lld samples", (long long)m->n);
        *size = gd_shape_count(list[i].shape) / m->n;
        return gd_instance_bind(m->instance, name, gd_placed_at(data, data->host));
    }
    return GD_OK;
}

/* m->graph was built for m->n samples. */
static gd_status machine_make(gd_trained *t, machine *m, const char *in, const char *out, const char *extra) {
    gd_program_opts o = {.precision = GD_PRECISION_F32};
    size_t total;
    GD_TRY(gd_program_make(m->graph.graph, t->executor, m->graph.n_outputs, m->graph.outputs, &o, &m->program));
    GD_TRY(gd_instance_make(m->program, &m->instance));
    GD_TRY(each_tensor(t, bind_tensor, m->instance, &total));
    GD_TRY(bind_array(t, m, in, &m->in, &m->in_size));
    GD_TRY(bind_array(t, m, out, &m->out, &m->out_size));
    if (extra) GD_TRY(bind_array(t, m, extra, &m->extra, &m->extra_size));
    return GD_OK;
}

/* The first n samples of a bound array. */
static gd_status fetch(const gd_placed *a, int64_t n, int64_t size, float *to) {
    GD_TRY(gd_placed_get(a, (size_t)(n * size)));
    memcpy(to, a->host, (size_t)(n * size) * sizeof *to);
    return GD_OK;
}

/* n samples through the machine, a batch at a time. */
static gd_status machine_run(machine *m, gd_run_args args, int64_t n, const float *in, float *out, float *extra) {
    for (int64_t at = 0; at < n; at += m->n) {
        int64_t now = n - at < m->n ? n - at : m->n;
        memset(m->in.host, 0, (size_t)(m->n * m->in_size) * sizeof *in);
        memcpy(m->in.host, in + at * m->in_size, (size_t)(now * m->in_size) * sizeof *in);
        GD_TRY(gd_placed_put(&m->in));
        GD_TRY(gd_instance_run(m->instance, &args));
        GD_TRY(fetch(&m->out, now, m->out_size, out + at * m->out_size));
        if (extra) GD_TRY(fetch(&m->extra, now, m->extra_size, extra + at * m->extra_size));
        args.sample += (uint64_t)now;
    }
    return GD_OK;
}

/* ---- opening ---- */

/* What the networks need to know of the data: from the recipe where it says it, else the data set is asked. */
static gd_status data_facts(const gd_recipe *r, gd_setup_data *out) {
    gd_dataset_spec spec;
    gd_dataset *d;
    bool two = !strcmp(r->topology, "paired") || !strcmp(r->topology, "two-way");
    if (r->data.image.size > 0 && r->data.image.channels > 0 && strcmp(r->topology, "classifier")) {
        int side = (int)r->data.image.size;
        gd_sample_shape image = {GD_SAMPLE_U8, side, side, (int)r->data.image.channels};
        *out = (gd_setup_data){.parts = two ? 2 : 1, .part = {image, image}};
        return GD_OK;
    }
    GD_TRY(gd_setup_dataset(r, &spec));
    gd_status st = gd_dataset_open(&spec, &d);
    if (st != GD_OK)
        return gd_context(st, "the data set is needed, since the recipe does not give data.image.size and "
                              "data.image.channels");
    *out = gd_setup_data_of(d);
    gd_dataset_close(d);
    return GD_OK;
}

static gd_status open_run(gd_trained *t, const char *path, const char *weights) {
    char run[2048];
    gd_setup_data facts;
    t->executor = gd_executor_cpu();
    GD_TRY(open_checkpoint(path, run, sizeof run, t));
    GD_TRY(load_recipe(run, &t->recipe));
    GD_TRY(data_facts(t->recipe, &facts));
    GD_TRY(gd_setup_train(t->recipe, &facts, &t->setup));
    GD_TRY(gd_gan_new(&t->setup.config.gan, &t->gan));
    gd_kernels_begin(t->recipe, false);
    const gd_gan_spec *s = &t->setup.config.gan;
    bool classifier = s->topology == GD_TOPOLOGY_CLASSIFIER;
    const gd_net_spec *shown = classifier ? &s->discriminator : &s->generator;
    t->shape = gd_shape4(1, shown->height, shown->width_px, shown->channels);
    if (!classifier) GD_TRY(choose_weights(t->checkpoint, weights, &t->ema));
    GD_TRY(load_params(t));
    snprintf(t->name, sizeof t->name, "%s, step %lld, %s weights", t->recipe->name, (long long)gd_trained_step(t),
             t->ema ? "ema" : "live");
    return GD_OK;
}

gd_status gd_trained_open(const char *path, const char *weights, gd_trained **out) {
    gd_trained *t = calloc(1, sizeof *t);
    if (!t) GD_FAIL(NOMEM, "%s: networks", path);
    gd_status st = open_run(t, path, weights);
    if (st == GD_OK) *out = t;
    else gd_trained_close(t);
    return st;
}

void gd_trained_close(gd_trained *t) {
    if (!t) return;
    machine_free(&t->main);
    machine_free(&t->translator);
    gd_gan_free(t->gan);
    gd_setup_free(&t->setup);
    gd_recipe_free(t->recipe);
    gd_checkpoint_close(t->checkpoint);
    gd_placed_free(&t->params);
    free(t);
}

gd_status gd_trained_use(gd_trained *t, const gd_executor *x) {
    if (t->main.instance || t->translator.instance) GD_FAIL(INTERNAL, "%s: its networks have run already", t->name);
    t->executor = x;
    return gd_placed_on(&t->params, x);
}

/* ---- facts ---- */

const gd_recipe *gd_trained_recipe(const gd_trained *t) { return t->recipe; }
const gd_gan_spec *gd_trained_spec(const gd_trained *t) { return &t->setup.config.gan; }
const gd_gan *gd_trained_gan(const gd_trained *t) { return t->gan; }
int64_t gd_trained_latent(const gd_trained *t) {
    return t->setup.config.gan.topology == GD_TOPOLOGY_NOISE ? t->setup.config.gan.generator.latent : 0;
}
gd_latent gd_trained_law(const gd_trained *t) { return t->setup.config.gan.latent; }
gd_shape gd_trained_image(const gd_trained *t) { return t->shape; }
gd_range gd_trained_range(const gd_trained *t) { return t->setup.config.gan.range; }
const char *gd_trained_name(const gd_trained *t) { return t->name; }
const char *gd_trained_topology(const gd_trained *t) { return t->recipe->topology; }
bool gd_trained_is_ema(const gd_trained *t) { return t->ema; }
int64_t gd_trained_step(const gd_trained *t) { return gd_checkpoint_state(t->checkpoint)->counters.step; }

gd_status gd_trained_hash(const gd_trained *t, uint64_t *out) {
    gd_verify_report r;
    GD_TRY(gd_checkpoint_verify(t->path, GD_VERIFY_DEEP, &r));
    *out = r.state_hash;
    return GD_OK;
}

/* ---- use ---- */

static gd_status wrong_topology(const gd_trained *t, const char *what) {
    GD_FAIL(CONFIG, "%s: its topology is '%s', which %s", t->recipe->name, t->recipe->topology, what);
}

gd_status gd_trained_generate(gd_trained *t, int64_t n, const float *z, float *out) {
    if (!gd_trained_latent(t)) return wrong_topology(t, "makes nothing from latents; see 'gandist translate'");
    if (!t->main.instance) {
        t->main.n = BATCH;
        GD_TRY(gd_gan_sampler(t->gan, BATCH, false, &t->main.graph));
        GD_TRY(machine_make(t, &t->main, "z", "image", NULL));
    }
    return machine_run(&t->main, (gd_run_args){.seed = t->recipe->seed}, n, z, out, NULL);
}

bool gd_trained_translates(const gd_trained *t, int direction) {
    gd_topology k = t->setup.config.gan.topology;
    return k == GD_TOPOLOGY_TWO_WAY || (k == GD_TOPOLOGY_PAIRED && direction == 0);
}

bool gd_trained_fits(const gd_trained *t, int direction, int64_t height, int64_t width) {
    const gd_gan_net *nets;
    int n = gd_gan_nets(t->gan, &nets);
    for (int i = 0; i < n; i++) /* generators are in the order of their directions */
        if (nets[i].group == GD_GROUP_G && direction-- == 0) return gd_net_fits(nets[i].net, height, width) == GD_OK;
    return false;
}

int gd_trained_channels_in(const gd_trained *t, int direction) {
    const gd_net_spec *g = &t->setup.config.gan.generator;
    return (int)(direction ? g->channels : g->in_channels);
}

int gd_trained_channels_out(const gd_trained *t, int direction) {
    const gd_net_spec *g = &t->setup.config.gan.generator;
    return (int)(direction ? g->in_channels : g->channels);
}

static bool same_translation(const gd_translation *a, const gd_translation *b) {
    return a->direction == b->direction && a->height == b->height && a->width == b->width && a->noise == b->noise;
}

gd_status gd_trained_translate(gd_trained *t, const gd_translation *how, int64_t first, int64_t n, const float *x,
                               float *out) {
    if (!gd_trained_translates(t, how->direction))
        return wrong_topology(t, how->direction ? "has no way from b to a" : "translates no images");
    machine *m = &t->translator;
    if (!m->instance || !same_translation(&t->how, how)) {
        machine_free(m);
        m->n = 1; /* statistics are those of each image */
        gd_status st =
            gd_gan_translator(t->gan, how->direction, 1, how->height, how->width, how->noise, how->noise, &m->graph);
        if (st == GD_OK) st = machine_make(t, m, "x", "image", NULL);
        if (st != GD_OK) {
            machine_free(m);
            return gd_trace(st, __FILE__, __LINE__);
        }
        t->how = *how;
    }
    return machine_run(m, (gd_run_args){.seed = t->recipe->seed, .sample = (uint64_t)first}, n, x, out, NULL);
}

int gd_trained_classes(const gd_trained *t) { return (int)t->setup.config.gan.discriminator.classes; }

static gd_status make_classifier(gd_trained *t) {
    if (t->main.instance) return GD_OK;
    if (t->setup.config.gan.topology != GD_TOPOLOGY_CLASSIFIER)
        return wrong_topology(t, "is no classifier; train recipes/classifier.yaml");
    t->main.n = BATCH;
    GD_TRY(gd_gan_judge(t->gan, 0, BATCH, &t->main.graph));
    return machine_make(t, &t->main, "x", "verdict", "features");
}

int64_t gd_trained_features(gd_trained *t) { return make_classifier(t) == GD_OK ? t->main.extra_size : 0; }

gd_status gd_trained_classify(gd_trained *t, int64_t n, const float *x, float *logits, float *features) {
    GD_TRY(make_classifier(t));
    if (features && !t->main.extra_size)
        GD_FAIL(CONFIG, "%s: its network has no layer of features; use an architecture that has one", t->recipe->name);
    return machine_run(&t->main, (gd_run_args){.seed = t->recipe->seed}, n, x, logits, features);
}
