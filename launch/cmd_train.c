/* gandist [train] RECIPE: trains, resumes, or with --dry-run says what training would cost. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "dist/checkpoint.h"
#include "launch/build_id.h"
#include "launch/commands.h"
#include "launch/cost.h"
#include "launch/device.h"
#include "launch/hang.h"
#include "launch/history.h"
#include "launch/kernels.h"
#include "launch/leaving.h"
#include "launch/plugin.h"
#include "launch/progress.h"
#include "launch/report.h"
#include "launch/run_folder.h"
#include "launch/session.h"
#include "launch/setup.h"
#include "launch/shared_recipe.h"
#include "launch/sheets.h"
#include "launch/start.h"
#include "launch/start_table.h"
#include "launch/tensorboard.h"
#include "launch/version.h"

typedef struct train_options {
    gd_text_list set;
    const char *out, *resume, *device, *time;
    int64_t steps, seconds; /* seconds: of time; 0: no limit */
    bool fresh, dry_run, print_config, overfit_batch, quiet, json;
} train_options;

static const gd_option options[] = {
    {"set", GD_OPT_TEXTS, offsetof(train_options, set), "KEY=VALUE",
     "set a recipe key, such as optimizer.g.lr=1e-4; may be repeated"},
    {"out", GD_OPT_TEXT, offsetof(train_options, out), "DIR", "run folder (default runs/<name of the recipe>)"},
    {"steps", GD_OPT_INT, offsetof(train_options, steps), "N",
     "stop after step N of the whole run and save; schedules stay"},
    {"time", GD_OPT_TEXT, offsetof(train_options, time), "TIME",
     "save and leave (exit code 75) in time before this is over: minutes or HH:MM:SS"},
    {"resume", GD_OPT_TEXT, offsetof(train_options, resume), "HOW",
     "auto (default): go on from the newest good checkpoint; never; or a checkpoint folder"},
    {"fresh", GD_OPT_FLAG, offsetof(train_options, fresh), NULL, "start anew; an existing run folder is moved aside"},
    {"device", GD_OPT_TEXT, offsetof(train_options, device), "DEVICE", "auto, cpu or cuda"},
    {"dry-run", GD_OPT_FLAG, offsetof(train_options, dry_run), NULL,
     "print parameters, memory, traffic and time; train nothing"},
    {"print-config", GD_OPT_FLAG, offsetof(train_options, print_config), NULL,
     "print every key, its value and where it came from"},
    {"overfit-batch", GD_OPT_FLAG, offsetof(train_options, overfit_batch), NULL,
     "train on the first batch only, to see whether a model can learn"},
    {"quiet", GD_OPT_FLAG, offsetof(train_options, quiet), NULL, "no progress, only errors and the summary"},
    {"json", GD_OPT_FLAG, offsetof(train_options, json), NULL, "progress and summary as JSON lines"},
};

/* Everything one training command holds; released in reverse order by train_release. */
typedef struct train_run {
    train_options opt;
    const char *recipe_path;
    gd_comm *comm;
    gd_layout layout;
    gd_device device; /* what --device means here */
    gd_recipe *recipe;
    char *recipe_text;
    gd_dataset *data;
    gd_setup setup;
    char out[2048], checkpoints[2100];
    gd_run_folder *folder; /* rank 0, as the next ones */
    gd_start *start;
    gd_leaving leaving;
    double began;
    gd_tensorboard *board;
    gd_progress progress;
    gd_trainer *trainer;
    gd_hang hang;
    gd_sheet *sheet; /* NULL: the topology has none */
    char last_sheet[4096], last_checkpoint[4096];
} train_run;

static void train_release(train_run *t) {
    gd_trainer_free(t->trainer);
    gd_hang_end(&t->hang);
    gd_tensorboard_close(t->board);
    gd_run_folder_close(t->folder);
    gd_setup_free(&t->setup);
    gd_dataset_close(t->data);
    gd_recipe_free(t->recipe);
    free(t->recipe_text);
    gd_sheet_close(t->sheet);
}

static bool is_root(const train_run *t) { return gd_comm_rank(t->comm) == 0; }

/* ---- what the trainer tells us (rank 0) ---- */

static gd_status on_metrics(void *ctx, const gd_metrics *m) {
    train_run *t = ctx;
    gd_progress_show(&t->progress, m);
    GD_TRY(gd_tensorboard_metrics(t->board, m));
    return gd_run_folder_metrics(t->folder, m);
}

static gd_status on_samples(void *ctx, int64_t step) {
    train_run *t = ctx;
    char name[64], text[128];
    if (!t->sheet) return GD_OK;
    snprintf(name, sizeof name, "samples/step-%09lld.png", (long long)step);
    snprintf(text, sizeof text, "%s, step %lld", t->recipe->name, (long long)step);
    snprintf(t->last_sheet, sizeof t->last_sheet, "%s", gd_run_folder_path(t->folder, name));
    GD_TRY(gd_sheet_write(t->sheet, t->trainer, t->last_sheet, text));
    return gd_tensorboard_image(t->board, step, "samples", t->last_sheet);
}

/* The page is a convenience: that it cannot be written ends no run. */
static void write_report(train_run *t) {
    if (gd_report_write(t->out, t->recipe->name) != GD_OK)
        GD_LOG(LAUNCH, WARN, "the page of this run could not be written: %s", gd_error_message());
}

static int poll(void *ctx) {
    train_run *t = ctx;
    if (gd_start_lost(t->start)) return 3;
    int signal = gd_session_signal(NULL), other = is_root(t) ? gd_leaving_poll(&t->leaving) : 0;
    if (signal >= 2 && t->leaving.reason == GD_LEAVING_NOT) t->leaving.reason = GD_LEAVING_SIGNAL;
    return signal > other ? signal : other;
}

static void on_event(void *ctx, const gd_event *e) { gd_run_folder_event(((train_run *)ctx)->folder, e); }

static void tell_saved(train_run *t, int64_t step, const char *path, double seconds) {
    const char *name = strrchr(path, '/');
    gd_event_field field[] = {GD_EVENT_NUMBER("seconds", seconds), GD_EVENT_TEXT("path", name ? name + 1 : path)};
    gd_run_folder_event(t->folder, &(gd_event){"save", step, field, 2});
    gd_leaving_saved(&t->leaving, seconds);
}

static void on_checkpoint(void *ctx, int64_t step, const char *path, double seconds, gd_status st) {
    train_run *t = ctx;
    if (st == GD_OK) {
        snprintf(t->last_checkpoint, sizeof t->last_checkpoint, "%s", path);
        tell_saved(t, step, path, seconds);
        GD_LOG(LAUNCH, DEBUG, "step %lld saved in %.2f s", (long long)step, seconds);
        write_report(t);
    } else {
        gd_progress_end(&t->progress);
        GD_LOG(LAUNCH, WARN, "saving step %lld failed: %s%s", (long long)step, gd_error_message(),
               st == GD_NUMERIC ? "" : "; training goes on");
    }
}

/* ---- preparation ---- */

static gd_status check_options(train_options *o) {
    GD_TRY(gd_device_check(o->device));
    if (o->time) GD_TRY(gd_duration_parse("--time", o->time, &o->seconds));
    if (o->steps < 0) GD_FAIL(USAGE, "--steps: must not be negative, got %lld", (long long)o->steps);
    if (o->fresh && o->resume && strcmp(o->resume, "never"))
        GD_FAIL(USAGE, "--fresh starts anew and --resume %s goes on: give one of them", o->resume);
    return GD_OK;
}

static gd_status load_recipe(train_run *t) {
    gd_recipe_opts o = {t->opt.set.item, t->opt.set.count};
    return gd_shared_recipe(t->comm, t->recipe_path, &o, &t->recipe, &t->recipe_text);
}

static gd_status open_data(train_run *t) {
    gd_dataset_spec spec;
    GD_TRY(gd_setup_dataset(t->recipe, &spec));
    gd_status st = gd_dataset_open(&spec, &t->data);
    if (st != GD_OK)
        gd_context(st, "data (source %s, given at %s)", t->recipe->data.source,
                   gd_recipe_origin(t->recipe, t->recipe->data.path ? "data.path" : "data.source"));
    return gd_comm_agree(t->comm, st);
}

/* For the message of a run that is resumed under another recipe. */
static gd_status recipe_difference(const char *before, const char *now, char **out) {
    gd_recipe *a = NULL, *b = NULL;
    *out = NULL;
    if (!before || !now) return GD_OK;
    gd_status st = gd_recipe_parse("the checkpoint's recipe", before, strlen(before), NULL, &a);
    if (st == GD_OK) st = gd_recipe_parse("recipe", now, strlen(now), NULL, &b);
    if (st == GD_OK) st = gd_recipe_diff(a, b, true, out);
    gd_recipe_free(a);
    gd_recipe_free(b);
    return st;
}

static gd_status prepare(train_run *t) {
    GD_TRY(load_recipe(t));
    GD_TRY(open_data(t));
    gd_setup_data facts = gd_setup_data_of(t->data);
    gd_status st = gd_setup_train(t->recipe, &facts, &t->setup);
    GD_TRY(gd_comm_agree(t->comm, st));
    st = gd_device_open(t->comm, t->opt.device, t->recipe->numerics.tf32, &t->device);
    if (st != GD_OK && t->opt.dry_run)
        return gd_context(st, "--dry-run: what a training takes of a GPU is asked of it");
    GD_TRY(st);
    gd_kernels_begin(t->recipe, true);
    gd_train_config *c = &t->setup.config;
    GD_TRY(gd_device_use(t->comm, &t->device, c));
    c->overfit_batch = t->opt.overfit_batch;
    c->recipe_text = t->recipe_text;
    c->recipe_difference = recipe_difference;
    c->run_id = t->recipe->name;
    if (t->opt.out) snprintf(t->out, sizeof t->out, "%s", t->opt.out);
    else snprintf(t->out, sizeof t->out, "runs/%s", t->recipe->name);
    snprintf(t->checkpoints, sizeof t->checkpoints, "%s/checkpoints", t->out);
    c->checkpoint_dir = t->checkpoints;
    return GD_OK;
}

static gd_status open_folder(train_run *t) {
    if (t->opt.fresh) GD_TRY(gd_start_check(t->out));
    GD_TRY(gd_run_folder_open(t->out, t->opt.fresh, &t->folder));
    GD_TRY(gd_start_begin(t->out, t->recipe_text, gd_comm_size(t->comm), &t->start));
    gd_leaving_begin(&t->leaving, t->began, t->opt.seconds, getenv("SLURM_JOB_END_TIME"),
                     gd_run_folder_path(t->folder, "stop"));
    GD_TRY(gd_file_write(gd_run_folder_path(t->folder, "recipe.yaml"), t->recipe_text, strlen(t->recipe_text)));
    return gd_version_write(gd_run_folder_path(t->folder, "build.json"), t->comm, &t->layout);
}

/* Where the run stands before its first step: 0, or the step of the checkpoint that was loaded. */
static gd_status resume(train_run *t, int64_t *step) {
    const char *how = t->opt.resume ? t->opt.resume : "auto";
    *step = 0;
    if (t->opt.fresh || !strcmp(how, "never")) {
        char **paths = NULL;
        int count = 0;
        gd_status st = GD_OK;
        if (is_root(t)) {
            st = gd_checkpoint_list(t->checkpoints, &paths, &count);
            if (st == GD_OK && count)
                st = gd_raise(GD_CANTCREAT, __FILE__, __LINE__,
                              "%s: holds %d checkpoints that a run from step 0 would mix with; use --fresh to "
                              "move the folder aside, or --out for another one",
                              t->checkpoints, count);
            gd_checkpoint_list_free(paths, count);
        }
        return gd_comm_agree(t->comm, st);
    }
    if (strcmp(how, "auto")) GD_TRY(gd_trainer_load(t->trainer, how));
    else GD_TRY(gd_trainer_resume(t->trainer, step));
    *step = gd_trainer_step(t->trainer);
    return GD_OK;
}

static void print_start(const train_run *t, int64_t from, int64_t until) {
    gd_run_folder_note(t->folder,
                       "gandist " GANDIST_VERSION " starts at step %lld of %lld, %d ranks on %d hosts, %d threads each",
                       (long long)from, (long long)until, gd_comm_size(t->comm), t->layout.hosts, t->layout.threads);
    char plans[128];
    if (t->opt.quiet || t->opt.json) return;
    gd_plugin_plans(plans, sizeof plans);
    gd_start_facts facts = {t->recipe,      &t->setup.config,
                            t->data,        gd_trainer_gan(t->trainer),
                            t->comm,        &t->layout,
                            from,           until,
                            t->device.text, plans,
                            t->device.sums};
    gd_start_table_print(&facts, stdout);
}

/* ---- events ---- */

/* What the last start left behind: how it ended, and how long its saves took. */
static gd_status read_history(train_run *t, gd_history *h) {
    GD_TRY(gd_history_read(t->out, h));
    gd_leaving_saved(&t->leaving, h->longest_save);
    return GD_OK;
}

static void tell_start(const train_run *t, const gd_history *before, int64_t from, int64_t until) {
    char hosts[1024], build[GD_BUILD_ID_ROOM];
    const char *job = getenv("SLURM_JOB_ID");
    bool again = before->n_shown > 0;
    gd_start_table_hosts(&t->layout, hosts, sizeof hosts);
    gd_build_id(build);
    gd_event_field field[] = {
        GD_EVENT_NUMBER("until", until),
        GD_EVENT_NUMBER("ranks", gd_comm_size(t->comm)),
        GD_EVENT_TEXT("hosts", hosts),
        GD_EVENT_NUMBER("threads", t->layout.threads),
        GD_EVENT_NUMBER("batch", t->recipe->batch.global),
        GD_EVENT_TEXT("version", GANDIST_VERSION),
        GD_EVENT_TEXT("build", build),
        GD_EVENT_TEXT("job", job ? job : ""),
        GD_EVENT_TEXT("after", before->ended ? before->reason : "no word (killed, or its host went down)")};
    int count = (int)(sizeof field / sizeof *field) - !again;
    gd_run_folder_event(t->folder, &(gd_event){again ? "restart" : "start", from, field, count});
}

static gd_status open_history(train_run *t, int64_t from, int64_t until) {
    gd_history h;
    gd_status st = read_history(t, &h);
    if (st == GD_OK) tell_start(t, &h, from, until);
    gd_history_free(&h);
    return st;
}

/* How this start ended; who has lost the folder to somebody else writes nothing more. */
static const char *reason_of(const train_run *t, gd_status st) {
    if (st == GD_OK) return "done";
    if (st != GD_REQUEUE) return "error";
    return t->leaving.reason == GD_LEAVING_TIME        ? "time limit"
           : t->leaving.reason == GD_LEAVING_STOP_FILE ? "stop file"
                                                       : "signal";
}

static void tell_end(const train_run *t, int64_t step, gd_status st) {
    char said[4096];
    if (!t->start || gd_start_lost(t->start)) return;
    snprintf(said, sizeof said, "%s", st == GD_OK ? "" : gd_error_message());
    gd_event_field field[] = {GD_EVENT_TEXT("reason", reason_of(t, st)),
                              GD_EVENT_NUMBER("exit", gd_status_exit_code(gd_error_agreed(st))),
                              GD_EVENT_TEXT("said", said)};
    gd_run_folder_event(t->folder, &(gd_event){"stop", step, field, st == GD_OK ? 2 : 3});
}

/* What an earlier start of this run left, for a start that had nothing to do. */
static void find_earlier(train_run *t) {
    char **paths, dir[2100];
    int count;
    size_t n;
    if (!*t->last_checkpoint && gd_checkpoint_list(t->checkpoints, &paths, &count) == GD_OK) {
        if (count) snprintf(t->last_checkpoint, sizeof t->last_checkpoint, "%s", paths[0]);
        gd_checkpoint_list_free(paths, count);
    }
    snprintf(dir, sizeof dir, "%s/samples", t->out);
    if (*t->last_sheet || gd_io_get()->list(dir, &paths, &n)) return;
    if (n) snprintf(t->last_sheet, sizeof t->last_sheet, "%s/%s", dir, paths[n - 1]);
    gd_io_free_names(paths, n);
}

static void print_end(const train_run *t, gd_status st) {
    char hash[17];
    gd_hash64_text(gd_trainer_state_hash(t->trainer), hash);
    gd_run_folder_note(t->folder, "%s at step %lld, state_hash %s", st == GD_REQUEUE ? "saved on request" : "done",
                       (long long)gd_trainer_step(t->trainer), hash);
    if (t->opt.json) {
        printf("{\"run\":\"%s\",\"step\":%lld,\"state_hash\":\"%s\"}\n", t->out, (long long)gd_trainer_step(t->trainer),
               hash);
        return;
    }
    printf("%s at step %lld\n  run folder  %s\n", st == GD_REQUEUE ? "saved on request" : "done",
           (long long)gd_trainer_step(t->trainer), t->out);
    if (*t->last_sheet) printf("  samples     %s\n", t->last_sheet);
    printf("  metrics     %s/metrics.jsonl (curves: %s/index.html)\n", t->out, t->out);
    if (*t->last_checkpoint) printf("  checkpoint  %s\n", t->last_checkpoint);
    printf("  state_hash  %s\n", hash);
}

/* The record of kernels is followed where there is one, and completed. */
static gd_status make_trainer(train_run *t, const gd_train_hooks *hooks) {
    char record[2100], text[256];
    snprintf(record, sizeof record, "%s/kernels.txt", t->out);
    GD_TRY(gd_kernels_agree(t->comm, t->recipe, &t->setup.config, t->data, record));
    GD_TRY(gd_trainer_new(t->comm, &t->setup.config, t->data, hooks, &t->trainer));
    gd_status st = is_root(t) ? gd_kernels_record(record) : GD_OK;
    GD_TRY(gd_comm_agree(t->comm, st));
    if (!is_root(t)) return GD_OK;
    gd_kernels_text(text, sizeof text);
    gd_run_folder_note(t->folder, "kernels: %s", text);
    if (gd_kernels_are_timed(t->recipe) && !t->opt.quiet && !t->opt.json) printf("kernels: %s\n", text);
    return GD_OK;
}

static gd_status train(train_run *t) {
    gd_status st = is_root(t) ? open_folder(t) : GD_OK;
    GD_TRY(gd_comm_agree(t->comm, st));
    GD_TRY(gd_hang_begin(&t->hang, t->comm, t->recipe, t->out));
    gd_train_hooks hooks = {t, on_metrics, on_samples, on_checkpoint, poll, on_event};
    GD_TRY(make_trainer(t, &hooks));
    int64_t from, until = t->opt.steps ? t->opt.steps : t->recipe->train.steps;
    GD_TRY(resume(t, &from));
    st = GD_OK;
    if (is_root(t)) {
        st = gd_run_folder_rewind(t->folder, from);
        if (st == GD_OK) st = gd_tensorboard_open(gd_run_folder_path(t->folder, "tb"), from, &t->board);
        if (st == GD_OK) st = gd_sheet_open(t->recipe, &t->setup.config.gan, &t->sheet);
        if (st == GD_OK) st = open_history(t, from, until);
        print_start(t, from, until);
        gd_progress_begin(&t->progress,
                          t->opt.quiet  ? GD_PROGRESS_QUIET
                          : t->opt.json ? GD_PROGRESS_JSON
                                        : GD_PROGRESS_AUTO,
                          from, until);
    }
    GD_TRY(gd_comm_agree(t->comm, st));
    st = gd_trainer_run(t->trainer, until);
    if (is_root(t)) {
        gd_progress_end(&t->progress);
        if (st == GD_OK || st == GD_REQUEUE) {
            write_report(t);
            find_earlier(t);
            print_end(t, st);
            gd_trainer_print_profile(t->trainer, stderr);
        }
    }
    return st;
}

static gd_status print_config(const gd_recipe *r) {
    char *text;
    GD_TRY(gd_recipe_text(r, true, &text));
    fputs(text, stdout);
    free(text);
    return GD_OK;
}

static gd_status run_prepared(train_run *t) {
    if (t->opt.print_config) {
        GD_TRY(load_recipe(t));
        return is_root(t) ? print_config(t->recipe) : GD_OK;
    }
    GD_TRY(prepare(t));
    if (!t->opt.dry_run) return train(t);
    if (!is_root(t)) return GD_OK;
    return gd_cost_print(&t->setup.config, t->data, t->device.text, gd_comm_size(t->comm), t->opt.json, stdout);
}

static gd_status run(int argc, char **argv) {
    train_run t;
    memset(&t, 0, sizeof t);
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_train, argc, argv, &t.opt, &args, &helped));
    if (helped) return GD_OK;
    t.recipe_path = args.item[0];
    GD_TRY(check_options(&t.opt));
    if (t.opt.dry_run || t.opt.print_config) gd_session_block_signals(false);
    else gd_session_watch_signals();
    t.began = gd_seconds();
    GD_TRY(gd_session_begin(&t.comm, &t.layout));
    gd_status st = run_prepared(&t);
    int64_t step = t.trainer ? gd_trainer_step(t.trainer) : -1;
    gd_trainer_free(t.trainer); /* its writer may be at work in the folder */
    t.trainer = NULL;
    gd_device_close(&t.device);
    tell_end(&t, step, st);
    if (st == GD_REQUEUE) gd_leaving_obeyed(&t.leaving);
    gd_start_end(t.start, st);
    train_release(&t);
    return st;
}

const gd_command gd_command_train = {
    .name = "train",
    .summary = "trains the GAN a recipe describes, or goes on where it stopped",
    .usage = "RECIPE [options]",
    .example = "mpirun -np 2 gandist recipes/dcgan.yaml --set seed=7 --out runs/seed7",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .min_args = 1,
    .max_args = 1,
    .ranks = true,
    .run = run,
};
