/* gandist export, import: weights to and from other programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/train.h"
#include "launch/commands.h"
#include "launch/run_folder.h"
#include "launch/session.h"
#include "launch/setup.h"
#include "launch/version.h"
#include "launch/weights.h"

/* A network of a GAN by its prefix. wanted NULL: the generator (the first network). Errors: USAGE. */
static gd_status find_net(const gd_gan *gan, const char *wanted, const gd_gan_net **out) {
    const gd_gan_net *nets;
    int n = gd_gan_nets(gan, &nets);
    char all[128] = "";
    for (int i = 0; i < n; i++) {
        if (!wanted || !strcmp(nets[i].prefix, wanted)) {
            *out = &nets[i];
            return GD_OK;
        }
        size_t at = strlen(all);
        snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", nets[i].prefix);
    }
    GD_FAIL(USAGE, "--network: no network '%s'; one of %s", wanted, all);
}

/* ---- export ---- */

typedef struct export_options {
    const char *format, *out, *names, *network, *weights;
} export_options;

static const gd_option export_table[] = {
    {"format", GD_OPT_TEXT, offsetof(export_options, format), "FORMAT", "safetensors (default)"},
    {"out", GD_OPT_TEXT, offsetof(export_options, out), "FILE", "the file; must be given"},
    {"names", GD_OPT_TEXT, offsetof(export_options, names), "NAMES",
     "pytorch (default): the keys of the public code; wgan: those of WassersteinGAN; gandist: all networks"},
    {"network", GD_OPT_TEXT, offsetof(export_options, network), "NET",
     "G, D, G_AB, G_BA, D_A or D_B (default the generator, G_AB of two)"},
    {"weights", GD_OPT_TEXT, offsetof(export_options, weights), "WHICH", "ema (default where kept) or live"},
};

static gd_status parse_names(const char *text, gd_weight_names *out) {
    *out = GD_NAMES_PYTORCH;
    for (int i = 0; text && i < GD_NAMES_COUNT; i++) {
        if (strcmp(text, gd_weight_names_text((gd_weight_names)i))) continue;
        *out = (gd_weight_names)i;
        return GD_OK;
    }
    if (text) GD_FAIL(USAGE, "--names: no names '%s'; one of pytorch, wgan, gandist", text);
    return GD_OK;
}

static gd_status check_export(const export_options *o, gd_weight_names *names) {
    if (o->format && !strcmp(o->format, "onnx"))
        GD_FAIL(UNSUP, "--format onnx: not in this version; export safetensors and load them into the public PyTorch "
                       "code of the network, which can write ONNX (docs/weights.md)");
    if (o->format && strcmp(o->format, "safetensors"))
        GD_FAIL(USAGE, "--format: no format '%s'; expected safetensors", o->format);
    if (!o->out) GD_FAIL(USAGE, "gandist export: --out FILE must be given");
    GD_TRY(parse_names(o->names, names));
    if (*names == GD_NAMES_GANDIST && o->network)
        GD_FAIL(USAGE, "--names gandist writes all networks and --network one: give one of them");
    return GD_OK;
}

static gd_status export_run(const export_options *o, gd_weight_names names, const char *path) {
    gd_trained *t;
    const gd_gan_net *net = NULL;
    int tensors;
    GD_TRY(gd_trained_open(path, o->weights, &t));
    gd_status st = names == GD_NAMES_GANDIST ? GD_OK : find_net(gd_trained_gan(t), o->network, &net);
    if (st == GD_OK) st = gd_weights_export(t, net ? net->prefix : NULL, names, o->out, &tensors);
    if (st == GD_OK)
        printf("%s: %d tensors of %s, %s\n", o->out, tensors, net ? net->prefix : "all networks", gd_trained_name(t));
    gd_trained_close(t);
    return st;
}

static gd_status run_export(int argc, char **argv) {
    export_options o = {0};
    gd_text_list args;
    gd_weight_names names = GD_NAMES_GANDIST;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_export, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    GD_TRY(check_export(&o, &names));
    return export_run(&o, names, args.item[0]);
}

const gd_command gd_command_export = {
    .name = "export",
    .summary = "writes a network as safetensors that the public PyTorch code loads",
    .usage = "RUN --out FILE [options]",
    .example = "gandist export runs/cyclegan --network G_AB --out latest_net_G_A.safetensors",
    .options = export_table,
    .option_count = sizeof export_table / sizeof *export_table,
    .min_args = 1,
    .max_args = 1,
    .run = run_export,
};

/* ---- import ---- */

typedef struct import_options {
    const char *into, *out;
    gd_text_list network, set;
} import_options;

static const gd_option import_table[] = {
    {"into", GD_OPT_TEXT, offsetof(import_options, into), "RECIPE", "that describes the networks; must be given"},
    {"out", GD_OPT_TEXT, offsetof(import_options, out), "RUN", "new run folder; must be given"},
    {"network", GD_OPT_TEXTS, offsetof(import_options, network), "NET",
     "what a file holds: G, D, G_AB, G_BA, D_A or D_B; once for each file, in order (default the generator)"},
    {"set", GD_OPT_TEXTS, offsetof(import_options, set), "KEY=VALUE", "set a recipe key; may be repeated"},
};

typedef struct import {
    const import_options *opt;
    const gd_text_list *files;
    gd_comm *comm;
    gd_layout layout;
    gd_recipe *recipe;
    char *text;
    gd_dataset *data;
    bool stand_in; /* data are random pixels: the real ones are not here */
    gd_setup setup;
    gd_trainer *trainer;
} import;

/* Weights are read without the data that trained them: random pixels of the same shape take their place. A
 * checkpoint made so knows that it is not of the real data. */
static gd_status open_stand_in(import *m, gd_dataset_spec spec) {
    const gd_recipe *r = m->recipe;
    bool pairs = !strcmp(r->topology, "paired") || !strcmp(r->topology, "two-way");
    if (!strcmp(r->topology, "classifier") || r->data.image.size <= 0 || r->data.image.channels <= 0)
        return GD_NOINPUT; /* the message of the data set that is not here stands */
    GD_LOG(LAUNCH, WARN, "the recipe's data are not here (%s): the run will sample and translate, but not train",
           gd_error_message());
    spec.source = pairs ? "synthetic-pairs" : "synthetic";
    spec.path = NULL;
    spec.load = 0;
    spec.count = r->batch.global;
    m->stand_in = true;
    return gd_dataset_open(&spec, &m->data);
}

static gd_status open_data(import *m) {
    gd_dataset_spec spec;
    GD_TRY(gd_setup_dataset(m->recipe, &spec));
    gd_status st = gd_dataset_open(&spec, &m->data);
    return st == GD_NOINPUT ? open_stand_in(m, spec) : st;
}

/* A training state as it is before the first step. */
static gd_status make_state(import *m) {
    gd_recipe_opts o = {m->opt->set.item, m->opt->set.count};
    GD_TRY(gd_recipe_load(m->opt->into, &o, &m->recipe));
    GD_TRY(gd_recipe_text(m->recipe, false, &m->text));
    GD_TRY(open_data(m));
    gd_setup_data facts = gd_setup_data_of(m->data);
    GD_TRY(gd_setup_train(m->recipe, &facts, &m->setup));
    gd_train_config *c = &m->setup.config;
    c->executor = gd_executor_cpu();
    c->recipe_text = m->text;
    c->run_id = m->recipe->name;
    gd_train_hooks none = {0};
    GD_TRY(gd_session_begin(&m->comm, &m->layout));
    return gd_trainer_new(m->comm, c, m->data, &none, &m->trainer);
}

static gd_status import_files(import *m) {
    for (int i = 0; i < m->files->count; i++) {
        const gd_gan_net *net;
        int tensors, ignored;
        GD_TRY(find_net(gd_trainer_gan(m->trainer), m->opt->network.count ? m->opt->network.item[i] : NULL, &net));
        GD_TRY(gd_weights_import(net, m->files->item[i], gd_trainer_state(m->trainer), &tensors, &ignored));
        printf("%s: %d tensors of %s", m->files->item[i], tensors, net->prefix);
        if (ignored) printf(", %d passed over", ignored);
        putchar('\n');
    }
    return GD_OK;
}

static gd_status write_run(import *m) {
    gd_run_folder *f;
    char *path = NULL, checkpoints[2100];
    GD_TRY(gd_run_folder_open(m->opt->out, false, &f));
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", m->opt->out);
    gd_status st = gd_file_write(gd_run_folder_path(f, "recipe.yaml"), m->text, strlen(m->text));
    if (st == GD_OK) st = gd_version_write(gd_run_folder_path(f, "build.json"), m->comm, &m->layout);
    if (st == GD_OK) st = gd_checkpoint_save(m->comm, checkpoints, gd_trainer_state(m->trainer), &path);
    if (st == GD_OK) {
        gd_run_folder_note(f, "gandist " GANDIST_VERSION " imported weights: %s", path);
        bool makes = !strcmp(m->recipe->topology, "noise");
        printf("%s: a run at step 0\n  use    gandist %s %s%s\n", m->opt->out, makes ? "sample" : "translate",
               m->opt->out, makes ? "" : " IMAGES --out DIR");
        if (!m->stand_in) printf("  train  gandist %s/recipe.yaml --out %s\n", m->opt->out, m->opt->out);
    }
    free(path);
    gd_run_folder_close(f);
    return st;
}

static gd_status check_import(const import_options *o, const gd_text_list *files) {
    char path[4096];
    if (!o->into || !o->out)
        GD_FAIL(USAGE, "gandist import: --into RECIPE and --out RUN must be given; usage: gandist import %s",
                gd_command_import.usage);
    if (o->network.count ? o->network.count != files->count : files->count > 1)
        GD_FAIL(USAGE, "--network: %d for %d files; give one for each file, in order", o->network.count, files->count);
    snprintf(path, sizeof path, "%s/recipe.yaml", o->out);
    if (gd_path_exists(path)) GD_FAIL(CANTCREAT, "%s: a run is there already; use another --out", o->out);
    return GD_OK;
}

static gd_status run_import(int argc, char **argv) {
    import_options o = {0};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_import, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    GD_TRY(check_import(&o, &args));
import m = {.opt = & o, .files = & args };
    gd_status st = make_state(&m);
    if (st == GD_OK) st = import_files(&m);
    if (st == GD_OK) st = write_run(&m);
    gd_trainer_free(m.trainer);
    gd_setup_free(&m.setup);
    gd_dataset_close(m.data);
    free(m.text);
    gd_recipe_free(m.recipe);
    return st;
}

const gd_command gd_command_import = {
    .name = "import",
    .summary = "makes a run from weights trained elsewhere",
    .usage = "FILE.safetensors... --into RECIPE --out RUN [options]",
    .example = "gandist import latest_net_G.safetensors --into recipes/cyclegan.yaml --out runs/horse2zebra",
    .options = import_table,
    .option_count = sizeof import_table / sizeof *import_table,
    .min_args = 1,
    .max_args = GD_LIST_MAX,
    .run = run_import,
};
