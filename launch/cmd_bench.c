/* gandist bench RECIPE: seconds per D step, G step and iteration, rates, share of the machine's peak; and the same on
 * more and more ranks (--scaling). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/cost.h"
#include "launch/device.h"
#include "launch/kernels.h"
#include "launch/scaling.h"
#include "launch/session.h"
#include "launch/setup.h"

typedef struct bench_options {
    gd_text_list set;
    int64_t steps, warmup, threads, batch, rounds;
    const char *scaling, *launcher, *device;
    bool json;
} bench_options;

static const gd_option table[] = {
    {"set", GD_OPT_TEXTS, offsetof(bench_options, set), "KEY=VALUE", "set a recipe key; may be repeated"},
    {"steps", GD_OPT_INT, offsetof(bench_options, steps), "N", "timed iterations (default 10, at least 5)"},
    {"warmup", GD_OPT_INT, offsetof(bench_options, warmup), "N", "iterations before them (default 2)"},
    {"device", GD_OPT_TEXT, offsetof(bench_options, device), "DEVICE", "auto, cpu (default) or cuda"},
    {"scaling", GD_OPT_TEXT, offsetof(bench_options, scaling), "1,2,4",
     "one run for each of these numbers of ranks, with equal work per rank: efficiency, and what limits it"},
    {"batch", GD_OPT_INT, offsetof(bench_options, batch), "N",
     "scaling: samples of each rank (default: batch.global over the most ranks)"},
    {"threads", GD_OPT_INT, offsetof(bench_options, threads), "N",
     "scaling: of each rank (default: cores over the most ranks)"},
    {"rounds", GD_OPT_INT, offsetof(bench_options, rounds), "N",
     "scaling: so many times all of them in turns; the round with the median efficiency is shown, and the efficiency of "
     "the fastest ones (default 1)"},
    {"launcher", GD_OPT_TEXT, offsetof(bench_options, launcher), "COMMAND",
     "scaling: what starts the ranks (default: \"mpirun --oversubscribe\")"},
    {"json", GD_OPT_FLAG, offsetof(bench_options, json), NULL, "one JSON object"},
};

enum { WAITS_MAX = 4096 /* exchanges an iteration */ };

typedef struct bench_run {
    bench_options opt;
    gd_comm *comm;
    gd_layout layout;
    gd_recipe *recipe;
    gd_dataset *data;
    gd_setup setup;
    gd_device device;
    gd_trainer *trainer;
} bench_run;

/* Over all ranks, medians of iterations. */
typedef struct bench_comm {
    double exposed; /* communication: of each exchange, what even the rank that comes last waits for */
    double wait;    /* what the ranks wait beyond that, for slower ones or for a core: their mean    */
    double data;    /* of the rank that waits longest for data                      */
    bool shared;    /* more threads than cores on some host                         */
} bench_comm;

static int by_value(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Median of n sums of `each` neighbours. */
static double median_sum(const double *x, size_t n, size_t each, double *sums) {
    for (size_t i = 0; i < n; i++) {
        sums[i] = 0;
        for (size_t k = 0; k < each; k++) sums[i] += x[i * each + k];
    }
    qsort(sums, n, sizeof *sums, by_value);
    return n ? 0.5 * (sums[(n - 1) / 2] + sums[n / 2]) : 0;
}

/* all: of every rank, n x each waits. Who comes last to an exchange waits for the exchange alone. */
static gd_status look_at_waits(const float *all, size_t size, size_t n, size_t each, bench_comm *out) {
    size_t count = n * each;
    double *least = calloc(2 * count + n + 1, sizeof *least), *mean = least + count, *sums = mean + count;
    if (!least) GD_FAIL(NOMEM, "bench: no memory");
    for (size_t i = 0; i < count; i++) {
        least[i] = (double)all[i];
        for (size_t r = 0; r < size; r++) {
            double w = (double)all[r * count + i];
            mean[i] += w / (double)size;
            if (w < least[i]) least[i] = w;
        }
    }
    out->exposed = median_sum(least, n, each, sums);
    out->wait = median_sum(mean, n, each, sums) - out->exposed;
    free(least);
    return GD_OK;
}

/* waits: of this rank, in the iterations that count. */
static gd_status look_at_ranks(const bench_run *b, const gd_train_times *t, const float *waits, bench_comm *out) {
    double mine[3] = {(double)gd_comm_waits_written(b->comm), t->data, b->layout.share * 1.0001 < b->layout.threads};
    size_t size = (size_t)gd_comm_size(b->comm), count = size > 1 ? (size_t)mine[0] : 0;
    size_t n = t->iterations > 0 && count % (size_t)t->iterations == 0 ? (size_t)t->iterations : 1;
    double(*all)[3] = calloc(size, sizeof *all);
    float *every = calloc(size * count + 1, sizeof *every);
    gd_status st = all && every ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "bench: no memory");
    if (count > WAITS_MAX * (size_t)b->opt.steps)
        st = gd_raise(GD_INTERNAL, __FILE__, __LINE__, "bench: more than %d exchanges an iteration", WAITS_MAX);
    *out = (bench_comm){.exposed = 0};
    st = gd_comm_agree(b->comm, st);
    if (st == GD_OK) st = gd_comm_allgather(b->comm, mine, sizeof mine, all);
    if (st == GD_OK && count) st = gd_comm_allgather(b->comm, waits, count * sizeof *waits, every);
    for (size_t r = 0; r < size && st == GD_OK; r++) {
        if (all[r][1] > out->data) out->data = all[r][1];
        out->shared = out->shared || all[r][2] > 0;
    }
    if (st == GD_OK) st = look_at_waits(every, size, n, count / n, out);
    if (st == GD_OK && n == 1 && t->iterations > 1) {
        out->exposed /= t->iterations;
        out->wait /= t->iterations;
    }
    free(all);
    free(every);
    return st;
}

static void print_text(const bench_run *b, const gd_train_times *t, const bench_comm *c, double flops, double peak) {
    double images = (double)b->recipe->batch.global / t->total;
    printf("%s: global batch %lld, %d rank%s, %d thread%s each, %d iterations, median (min) seconds\n", b->recipe->name,
           (long long)b->recipe->batch.global, gd_comm_size(b->comm), gd_comm_size(b->comm) > 1 ? "s" : "",
           b->layout.threads, b->layout.threads > 1 ? "s" : "", t->iterations);
    printf("  D step     %8.4f (%.4f)\n  G step     %8.4f (%.4f)\n  iteration  %8.4f (%.4f)\n", t->d_step, t->d_min,
           t->g_step, t->g_min, t->total, t->total_min);
    printf("  of it: gradients exposed %.4f, statistics %.4f, optimizer %.4f, data %.4f\n", t->reduce, t->collective,
           t->optimizer, t->data);
    if (gd_comm_size(b->comm) > 1)
        printf("  all ranks: exposed communication %.4f, waiting for slower ranks %.4f%s\n", c->exposed, c->wait,
               c->shared ? " (cores are shared)" : "");
    printf("  %.1f images/s; %.1f GFLOP/s per rank, %.0f %% of %.1f GFLOP/s (matrix product, same threads)\n", images,
           1e-9 * flops / t->total, 100 * flops / t->total / peak, 1e-9 * peak);
}

static void print_json(const bench_run *b, const gd_train_times *t, const bench_comm *c, double flops, double peak) {
    printf("{\"recipe\":\"%s\",\"ranks\":%d,\"threads\":%d,\"global_batch\":%lld,\"iterations\":%d,\"d_step\":%.6f,"
           "\"g_step\":%.6f,\"iteration\":%.6f,\"iteration_min\":%.6f,\"reduce\":%.6f,\"collective\":%.6f,"
           "\"optimizer\":%.6f,"
           "\"data\":%.6f,\"exposed_comm\":%.6f,\"wait\":%.6f,\"oversubscribed\":%s,\"images_per_s\":%.3f,\"flops_per_"
           "s\":%.0f,\"peak_flops_per_s\":%.0f}\n",
           b->recipe->name, gd_comm_size(b->comm), b->layout.threads, (long long)b->recipe->batch.global, t->iterations,
           t->d_step, t->g_step, t->total, t->total_min, t->reduce, t->collective, t->optimizer, c->data, c->exposed,
           c->wait, c->shared ? "true" : "false", (double)b->recipe->batch.global / t->total, flops / t->total, peak);
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

static void print_kernels(void) {
    char text[256];
    gd_kernels_text(text, sizeof text);
    printf("kernels: %s\n", text);
}

static gd_status measure(bench_run *b, gd_train_times *times, bench_comm *of_ranks) {
    size_t room = WAITS_MAX * (size_t)b->opt.steps;
    float *waits = malloc(room * sizeof *waits);
    gd_status st = waits ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "bench: no memory");
    st = gd_comm_agree(b->comm, st);
    gd_comm_waits(b->comm, waits, room);
    if (st == GD_OK) st = gd_trainer_run(b->trainer, b->opt.warmup + b->opt.steps);
    gd_comm_waits(b->comm, NULL, 0);
    gd_trainer_times(b->trainer, times);
    if (st == GD_OK) st = look_at_ranks(b, times, waits, of_ranks);
    free(waits);
    return st;
}

static gd_status bench(bench_run *b, const char *path) {
    GD_TRY(prepare(b, path));
    GD_TRY(gd_device_open(b->comm, b->opt.device ? b->opt.device : "cpu", b->recipe->numerics.tf32, &b->device));
    gd_train_config *c = &b->setup.config;
    GD_TRY(gd_device_use(b->comm, &b->device, c));
    c->checkpoint_dir = NULL;
    c->log_every = c->sample_every = 0;
    c->schedule.warmup_steps = c->schedule.warmup_every = 0; /* the usual iteration, without bursts of D steps */
    gd_train_hooks none = {0};
    gd_train_cost cost;
    gd_train_times times;
    gd_kernels_begin(b->recipe, true);
    GD_TRY(gd_kernels_agree(b->comm, b->recipe, c, b->data, NULL));
    GD_TRY(gd_train_estimate(c, b->data, gd_comm_size(b->comm), &cost));
    GD_TRY(gd_trainer_new(b->comm, c, b->data, &none, &b->trainer));
    GD_TRY(gd_trainer_run(b->trainer, b->opt.warmup));
    gd_trainer_times_reset(b->trainer);
    bench_comm of_ranks;
    GD_TRY(measure(b, &times, &of_ranks));
    if (gd_comm_rank(b->comm)) return GD_OK;
    double peak = gd_peak_flops();
    if (gd_kernels_are_timed(b->recipe) && !b->opt.json) print_kernels();
    (b->opt.json ? print_json : print_text)(b, &times, &of_ranks, cost.flops, peak);
    gd_trainer_print_profile(b->trainer, stderr);
    return GD_OK;
}

/* The recipe's batch is that of the largest run. */
static gd_status scale(const bench_options *o, const char *path) {
    gd_recipe_opts keys = {o->set.item, o->set.count};
    gd_scaling s = {.counts = o->scaling,
                    .launcher = o->launcher,
                    .recipe = path,
                    .set = &o->set,
                    .batch = o->batch,
                    .threads = o->threads,
                    .steps = o->steps,
                    .warmup = o->warmup,
                    .rounds = o->rounds ? o->rounds : 1,
                    .json = o->json};
    int counts[GD_SCALING_MAX], n;
    gd_recipe *r;
    if (gd_comm_launched())
        GD_FAIL(USAGE, "--scaling: starts mpirun itself; run it without one (--launcher says how ranks are started)");
    if (o->batch < 0 || o->threads < 0) GD_FAIL(USAGE, "--batch, --threads: expected at least 1");
    if (s.rounds < 1 || s.rounds > GD_SCALING_ROUNDS)
        GD_FAIL(USAGE, "--rounds: expected 1 to %d, got %lld", GD_SCALING_ROUNDS, (long long)s.rounds);
    GD_TRY(gd_scaling_counts(o->scaling, &n, counts));
    GD_TRY(gd_recipe_load(path, &keys, &r));
    if (!s.batch) s.batch = r->batch.global / counts[n - 1] > 0 ? r->batch.global / counts[n - 1] : 1;
    gd_recipe_free(r);
    return gd_scaling_run(&s);
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
    GD_TRY(gd_device_check(b.opt.device));
    if (b.opt.scaling && b.opt.device) GD_FAIL(USAGE, "--scaling: on the CPU only; leave --device out");
    if (b.opt.scaling) return scale(&b.opt, args.item[0]);
    if (b.opt.batch || b.opt.threads || b.opt.launcher || b.opt.rounds)
        GD_FAIL(USAGE, "--batch, --threads, --rounds, --launcher: only with --scaling");
    GD_TRY(gd_session_begin(&b.comm, &b.layout));
    gd_status st = bench(&b, args.item[0]);
    gd_trainer_free(b.trainer);
    gd_device_close(&b.device);
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
    .ranks = true,
    .run = run,
};
