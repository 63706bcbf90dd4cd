/* gandist slurm: a job script for one run, made from launch/slurm/train.sbatch, which is part of the program. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "launch/commands.h"
#include "launch/leaving.h"
#include "launch/plugin.h"
#include "launch/slurm_script.h"
#include "recipes/recipe.h"

enum { NOT_GIVEN = INT_MIN };

typedef struct slurm_options {
    gd_text_list set;
    const char *out, *time, *partition, *account, *name, *launcher;
    int64_t nodes, tasks, cpus, gpus, steps;
} slurm_options;

static const gd_option table[] = {
    {"nodes", GD_OPT_INT, offsetof(slurm_options, nodes), "N", "hosts (needed)"},
    {"tasks-per-node", GD_OPT_INT, offsetof(slurm_options, tasks), "N",
     "ranks a host (default 4; with --gpus: one a GPU)"},
    {"cpus-per-task", GD_OPT_INT, offsetof(slurm_options, cpus), "N", "cores a rank (default: what the site gives)"},
    {"gpus", GD_OPT_INT, offsetof(slurm_options, gpus), "N", "GPUs a host"},
    {"time", GD_OPT_TEXT, offsetof(slurm_options, time), "TIME", "limit of one turn: minutes, HH:MM:SS or D-HH:MM:SS"},
    {"partition", GD_OPT_TEXT, offsetof(slurm_options, partition), "NAME", "of the cluster"},
    {"account", GD_OPT_TEXT, offsetof(slurm_options, account), "NAME", "whom the time is charged to"},
    {"name", GD_OPT_TEXT, offsetof(slurm_options, name), "NAME", "of the job (default: the recipe's)"},
    {"launcher", GD_OPT_TEXT, offsetof(slurm_options, launcher), "WHICH", "srun (default) or mpirun"},
    {"set", GD_OPT_TEXTS, offsetof(slurm_options, set), "KEY=VALUE", "set a recipe key; may be repeated"},
    {"out", GD_OPT_TEXT, offsetof(slurm_options, out), "DIR", "run folder (default runs/<name of the recipe>)"},
    {"steps", GD_OPT_INT, offsetof(slurm_options, steps), "N", "stop after step N of the whole run"},
};

/* ---- checks ---- */

static gd_status check_count(const char *what, int64_t n, int64_t most) {
    if (n < 1 || n > most)
        GD_FAIL(USAGE, "--%s: %lld is out of range; expected 1 to %lld", what, (long long)n, (long long)most);
    return GD_OK;
}

/* What stands in a line of options must not begin another one. */
static gd_status check_name(const char *what, const char *name) {
    if (!name) return GD_OK;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_.,:@+-", *p))
            GD_FAIL(USAGE, "--%s: '%.80s' holds something else than letters, digits and _.,:@+-", what, name);
    if (!*name || *name == '-' || strlen(name) > 200) GD_FAIL(USAGE, "--%s: '%.80s' is no name", what, name);
    return GD_OK;
}

static gd_status check_options(slurm_options *o, int64_t *seconds) {
    if (o->nodes == NOT_GIVEN) GD_FAIL(USAGE, "gandist slurm: --nodes N is needed: on how many hosts?");
    if (o->gpus != NOT_GIVEN) GD_TRY(check_count("gpus", o->gpus, 1024));
    if (o->tasks == NOT_GIVEN) o->tasks = o->gpus != NOT_GIVEN ? o->gpus : 4;
    GD_TRY(check_count("nodes", o->nodes, 100000));
    GD_TRY(check_count("tasks-per-node", o->tasks, 4096));
    if (o->cpus != NOT_GIVEN) GD_TRY(check_count("cpus-per-task", o->cpus, 4096));
    if (o->steps != NOT_GIVEN) GD_TRY(check_count("steps", o->steps, INT64_MAX));
    GD_TRY(check_name("partition", o->partition));
    GD_TRY(check_name("account", o->account));
    GD_TRY(check_name("name", o->name));
    if (!o->launcher) o->launcher = "srun";
    if (strcmp(o->launcher, "srun") && strcmp(o->launcher, "mpirun"))
        GD_FAIL(USAGE, "--launcher: '%s' is not known; expected srun or mpirun", o->launcher);
    *seconds = 0;
    return o->time ? gd_duration_parse("--time", o->time, seconds) : GD_OK;
}

/* Mistakes that the job would find hours later, when its turn comes. */
static gd_status check_recipe(const slurm_options *o, const gd_recipe *r) {
    int64_t ranks = o->nodes * o->tasks, batch = r->batch.global, shards = r->numerics.shards;
    if (batch % ranks)
        GD_FAIL(USAGE,
                "%lld ranks (--nodes %lld, --tasks-per-node %lld) do not divide batch.global %lld; give other numbers, "
                "or --set batch.global=%lld",
                (long long)ranks, (long long)o->nodes, (long long)o->tasks, (long long)batch,
                (long long)((batch / ranks + 1) * ranks));
    if (shards && shards % ranks)
        GD_FAIL(USAGE, "numerics.shards is %lld, which %lld ranks do not divide", (long long)shards, (long long)ranks);
    if (o->gpus != NOT_GIVEN && !gd_plugin_is_there())
        GD_LOG(LAUNCH, WARN, "there is no CUDA plug-in beside this program: the job would leave its GPUs idle");
    return GD_OK;
}

/* ---- writing ---- */

/* For bash. */
static void put_quoted(const char *text, FILE *out) {
    bool plain = *text != '\0';
    for (const char *p = text; *p; p++) plain = plain && (isalnum((unsigned char)*p) || strchr("_./=:,@%+-", *p));
    if (plain) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (const char *p = text; *p; p++)
        if (*p == '\'') fputs("'\\''", out);
        else fputc(*p, out);
    fputc('\'', out);
}

static void put_argument(const char *name, const char *value, FILE *out) {
    fprintf(out, " %s ", name);
    put_quoted(value, out);
}

/* What sbatch reads between double quotes. */
static gd_status folder_here(char *out, size_t room) {
    if (!getcwd(out, room)) GD_FAIL(IO, "the folder one is in has no name that can be told");
    for (const char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\' || *p == '%')
            GD_FAIL(USAGE, "%s: a folder with such a name cannot be told to sbatch; work in another one", out);
    return GD_OK;
}

static gd_status put_program(const slurm_options *o, const char *recipe, FILE *out) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 1) GD_FAIL(IO, "/proc/self/exe: cannot be read, so the path of this program is not known");
    self[n] = '\0';
    fputs("\n# What gandist slurm filled in; further options may follow on sbatch's command line.\n", out);
    fputs("if [[ -z ${GANDIST:-} ]]; then GANDIST=", out);
    put_quoted(self, out);
    fprintf(out, "; fi\nGANDIST_LAUNCHER=${GANDIST_LAUNCHER:-%s}\nset -- ", o->launcher);
    put_quoted(recipe, out);
    for (int i = 0; i < o->set.count; i++) put_argument("--set", o->set.item[i], out);
    if (o->out) put_argument("--out", o->out, out);
    if (o->steps != NOT_GIVEN) fprintf(out, " --steps %lld", (long long)o->steps);
    fputs(" \"$@\"\n", out);
    return GD_OK;
}

/* Slurm may send the signal a minute early: short turns would be over before they begin. */
static int64_t signal_lead(int64_t seconds) { return seconds && seconds < 720 ? (seconds + 5) / 6 : 180; }

/* Lines of the script that are written anew. false: this one is not. */
static bool put_option(const slurm_options *o, const char *name, int64_t seconds, const char *line, FILE *out) {
    if (!strncmp(line, "#SBATCH --job-name=", 19)) fprintf(out, "#SBATCH --job-name=%s\n", name);
    else if (!strncmp(line, "#SBATCH --nodes=", 16)) fprintf(out, "#SBATCH --nodes=%lld\n", (long long)o->nodes);
    else if (!strncmp(line, "#SBATCH --ntasks-per-node=", 26))
        fprintf(out, "#SBATCH --ntasks-per-node=%lld\n", (long long)o->tasks);
    else if (!strncmp(line, "#SBATCH --time=", 15) && o->time) fprintf(out, "#SBATCH --time=%s\n", o->time);
    else if (!strncmp(line, "#SBATCH --signal=", 17))
        fprintf(out, "#SBATCH --signal=B:USR2@%lld\n", (long long)signal_lead(seconds));
    else return false;
    return true;
}

static gd_status put_more_options(const slurm_options *o, FILE *out) {
    char here[PATH_MAX];
    GD_TRY(folder_here(here, sizeof here));
    fprintf(out, "#SBATCH --chdir=\"%s\"\n", here);
    if (o->partition) fprintf(out, "#SBATCH --partition=%s\n", o->partition);
    if (o->account) fprintf(out, "#SBATCH --account=%s\n", o->account);
    if (o->cpus != NOT_GIVEN) fprintf(out, "#SBATCH --cpus-per-task=%lld\n", (long long)o->cpus);
    if (o->gpus != NOT_GIVEN) fprintf(out, "#SBATCH --gpus-per-node=%lld\n", (long long)o->gpus);
    return GD_OK;
}

/* The head of the script is replaced, options are filled in, the rest stays as it is. */
static gd_status fill_in(const slurm_options *o, const char *recipe, const char *name, int64_t seconds, FILE *out) {
    bool head = true, filled = false;
    fputs("#!/bin/bash\n# Written by gandist slurm. Trains, and is requeued until the run is done: sbatch THIS_FILE\n",
          out);
    for (const char *at = gd_slurm_script; *at;) {
        size_t n = strcspn(at, "\n");
        bool option = !strncmp(at, "#SBATCH", 7), body = !strncmp(at, "set -uo pipefail\n", 17);
        if (body) GD_TRY(put_more_options(o, out));
        head = head && !option;
        if (!head && !put_option(o, name, seconds, at, out)) fprintf(out, "%.*s\n", (int)n, at);
        if (body) GD_TRY(put_program(o, recipe, out));
        filled = filled || body;
        at += n + (at[n] == '\n');
    }
    if (!filled) GD_FAIL(INTERNAL, "launch/slurm/train.sbatch: has no line 'set -uo pipefail' to fill in behind");
    return GD_OK;
}

static gd_status write_script(slurm_options *o, const char *recipe_path, int64_t seconds) {
    gd_recipe_opts how = {o->set.item, o->set.count};
    gd_recipe *r = NULL;
    char *text = NULL, name[128];
    size_t bytes = 0;
    GD_TRY(gd_recipe_load(recipe_path, &how, &r));
    gd_status st = check_recipe(o, r);
    snprintf(name, sizeof name, "%s", o->name ? o->name : r->name);
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_.-", *p)) *p = '_';
    FILE *out = st == GD_OK ? open_memstream(&text, &bytes) : NULL;
    if (st == GD_OK && !out) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "no memory for a script");
    if (st == GD_OK) st = fill_in(o, recipe_path, name, seconds, out);
    if (out && fclose(out) && st == GD_OK) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "no memory for a script");
    if (st == GD_OK) fwrite(text, 1, bytes, stdout);
    free(text);
    gd_recipe_free(r);
    return st;
}

static gd_status run(int argc, char **argv) {
    slurm_options *o = calloc(1, sizeof *o);
    gd_text_list args;
    bool helped;
    int64_t seconds = 0;
    if (!o) GD_FAIL(NOMEM, "no memory for options");
    o->nodes = o->tasks = o->cpus = o->gpus = o->steps = NOT_GIVEN;
    gd_status st = gd_options_parse(&gd_command_slurm, argc, argv, o, &args, &helped);
    if (st == GD_OK && !helped) {
        st = check_options(o, &seconds);
        if (st == GD_OK) st = write_script(o, args.item[0], seconds);
    }
    free(o);
    return st;
}

const gd_command gd_command_slurm = {
    .name = "slurm",
    .summary = "prints a job script for Slurm that trains a recipe and is requeued until it is done",
    .usage = "RECIPE --nodes N [options]",
    .example = "gandist slurm recipes/dcgan.yaml --nodes 4 --time 04:00:00 >dcgan.sbatch && sbatch dcgan.sbatch",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
