/* gandist bench RECIPE: seconds per D step, G step and iteration, rates, share of the machine's peak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/cost.h"
#include "launch/session.h"
#include "launch/setup.h"

typedef struct bench_options {
    gd_text_list set;
    int64_t steps, warmup;
    bool json;
} bench_options;

static const gd_option table[] = {
    {"set", GD_OPT_TEXTS, offsetof(bench_options, set), "KEY=VALUE", "set a recipe key; may be repeated"},
    {"steps", GD_OPT_INT, offsetof(bench_options, steps), "N", "timed iterations (default 10, at least 5)"},
    {"warmup", GD_OPT_INT, offsetof(bench_options, warmup), "N", "iterations before them (default 2)"},
    {"json", GD_OPT_FLAG, offsetof(bench_options, json), NULL, "one JSON object"},
};

typedef struct bench_run {
    bench_options opt;
    gd_comm *comm;
    gd_layout layout;
    gd_recipe *recipe;
    gd_dataset *data;
    gd_setup setup;
    gd_trainer *trainer;
} bench_run;

static void print_text(const bench_run *b, const gd_train_times *t, double flops, double peak) {
    double images = (double)b->recipe->batch.global / t->total;
    printf("%s: global batch %lld, %d rank%s, %d thread%s each, %d iterations, median (min) seconds\n", b->recipe->name,
           (long long)b->recipe->batch.global, gd_comm_size(b->comm), gd_comm_size(b->comm) > 1 ? "s" : "",
           b->layout.threads, b->layout.threads > 1 ? "s" : "", t->iterations);
    printf("  D step     %8.4f (%.4f)\n  G step     %8.4f (%.4f)\n  iteration  %8.4f (%.4f)\n", t->d_step, t->d_min,
           t->g_step, t->g_min, t->total, t->total_min);
    printf("  of it: exchange %.4f, optimizer %.4f, data %.4f\n", t->reduce, t->optimizer, t->data);
    printf("  %.1f images/s; %.1f GFLOP/s per rank, %.0f %% of %.1f GFLOP/s (matrix product, same threads)\n", images,
           1e-9 * flops / t->total, 100 * flops / t->total / peak, 1e-9 * peak);
}

static void print_json(const bench_run *b, const gd_train_times *t, double flops, double peak) {
    printf("{\"recipe\":\"%s\",\"ranks\":%d,\"threads\":%d,\"global_batch\":%lld,\"iterations\":%d,\"d_step\":%.6f,"
           "\"g_step\":%.6f,\"iteration\":%.6f,\"iteration_min\":%.6f,\"reduce\":%.6f,\"optimizer\":%.6f,"
           "\"data\":%.6f,\"images_per_s\":%.3f,\"flops_per_s\":%.0f,\"peak_flops_per_s\":%.0f}\n",
           b->recipe->name, gd_comm_size(b->comm), b->layout.threads, (long long)b->recipe->batch.global, t->iterations,
           t->d_step, t->g_step, t->total, t->total_min, t->reduce, t->optimizer, t->data,
           (double)b->recipe->batch.global / t->total, flops / t->total, peak);
}

static gd_status prepare(bench_run *b, const char *path) {
    gd_recipe_opts o = {b->opt.set.item, b->opt.set.count};
    gd_dataset_spec spec;
    gd_status st = gd_recipe_load(path, &o, &b->recipe);
    if (st == GD_OK) st = gd_setup_dataset(b->recipe, &spec);
    if (st == GD_OK) st = gd_dataset_open(&spec, &b->data);
    if (st == GD_OK) {
        gd_setup_data facts = gd_setup_data_of(b->data);
        st = gd_setup_train(b->recipe, &facts, &b->setup);
    }
    return gd_comm_agree(b->comm, st);
}

static gd_status bench(bench_run *b, const char *path) {
    GD_TRY(prepare(b, path));
    gd_train_config *c = &b->setup.config;
    c->executor = gd_executor_cpu();
    c->checkpoint_dir = NULL;
    c->log_every = c->sample_every = 0;
    c->schedule.warmup_steps = c->schedule.warmup_every = 0; /* the usual iteration, without bursts of D steps */
    gd_train_hooks none = {0};
    gd_train_cost cost;
    gd_train_times times;
    GD_TRY(gd_train_estimate(c, b->data, gd_comm_size(b->comm), &cost));
    GD_TRY(gd_trainer_new(b->comm, c, b->data, &none, &b->trainer));
    GD_TRY(gd_trainer_run(b->trainer, b->opt.warmup));
    gd_trainer_times_reset(b->trainer);
    GD_TRY(gd_trainer_run(b->trainer, b->opt.warmup + b->opt.steps));
    gd_trainer_times(b->trainer, &times);
    if (gd_comm_rank(b->comm)) return GD_OK;
    double peak = gd_peak_flops();
    (b->opt.json ? print_json : print_text)(b, &times, cost.flops, peak);
    gd_trainer_print_profile(b->trainer, stderr);
    return GD_OK;
}

static gd_status run(int argc, char **argv) {
    bench_run b;
    memset(&b, 0, sizeof b);
    b.opt.steps = 10;
    b.opt.warmup = 2;
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_bench, argc, argv, &b.opt, &args, &helped));
    if (helped) return GD_OK;
    if (b.opt.steps < 5) GD_FAIL(USAGE, "--steps: a median needs at least 5, got %lld", (long long)b.opt.steps);
    if (b.opt.warmup < 1) GD_FAIL(USAGE, "--warmup: at least 1, got %lld", (long long)b.opt.warmup);
    GD_TRY(gd_session_begin(&b.comm, &b.layout));
    gd_status st = bench(&b, args.item[0]);
    gd_trainer_free(b.trainer);
    gd_setup_free(&b.setup);
    gd_dataset_close(b.data);
    gd_recipe_free(b.recipe);
    return st;
}

const gd_command gd_command_bench = {
    .name = "bench",
    .summary = "measures a recipe's step times on this machine",
    .usage = "RECIPE [options]",
    .example = "gandist bench recipes/dcgan-64.yaml --steps 10",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
