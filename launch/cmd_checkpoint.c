/* gandist checkpoint: lists, deletes and reshards the checkpoints of a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "dist/lock.h"
#include "launch/checkpoints.h"
#include "launch/commands.h"

typedef struct checkpoint_options {
    int64_t keep, shards;
    bool quick, json, dry_run;
} checkpoint_options;

static const gd_option table[] = {
    {"keep", GD_OPT_INT, offsetof(checkpoint_options, keep), "N", "prune: keep the newest N that can be opened"},
    {"dry-run", GD_OPT_FLAG, offsetof(checkpoint_options, dry_run), NULL, "prune: only say what would go"},
    {"shards", GD_OPT_INT, offsetof(checkpoint_options, shards), "N", "reshard: the number of files of the newest one"},
    {"quick", GD_OPT_FLAG, offsetof(checkpoint_options, quick), NULL, "ls: look at manifest, sizes and headers only"},
    {"json", GD_OPT_FLAG, offsetof(checkpoint_options, json), NULL, "one JSON object a checkpoint"},
};

/* ---- ls ---- */

static void age_text(double s, char out[32]) {
    if (s < 0) snprintf(out, 32, "?");
    else if (s < 120) snprintf(out, 32, "%.0f s", s);
    else if (s < 7200) snprintf(out, 32, "%.0f min", s / 60);
    else if (s < 172800) snprintf(out, 32, "%.0f h", s / 3600);
    else snprintf(out, 32, "%.0f days", s / 86400);
}

static void print_line(const gd_finding *f) {
    char age[32], bytes[32] = "?";
    const char *name = strrchr(f->path, '/');
    long long step = -1;
    name = name ? name + 1 : f->path;
    sscanf(name, "step-%lld", &step);
    if (f->st == GD_OK) gd_text_bytes(f->report.bytes, bytes, sizeof bytes);
    age_text(f->age_s, age);
    printf("%12lld  %9s  %9s  %s%s%s\n", step, bytes, age,
           f->reason[0] ? ""
           : f->deep    ? "good"
                        : "complete",
           f->reason[0] ? "damaged: " : "", f->reason);
}

/* Folders beside the checkpoints that are none: being written, damaged, moved aside. */
static gd_status print_others(const char *dir) {
    char **names = NULL;
    size_t n = 0;
    if (gd_io_get()->list(dir, &names, &n) != 0) GD_FAIL(IO, "%s: cannot be listed", dir);
    for (size_t i = 0; i < n; i++) {
        const char *what = strstr(names[i], ".tmp-")                  ? "being written, or left by a run that died"
                           : !strncmp(names[i], "damaged-step-", 13)  ? "was damaged and moved aside"
                           : !strncmp(names[i], "replaced-step-", 14) ? "left by a reshard that did not end"
                           : !strncmp(names[i], "undone-step-", 12)   ? "from steps that a rollback undid"
                                                                      : NULL;
        if (what) printf("%s: %s\n", names[i], what);
    }
    gd_io_free_names(names, n);
    return GD_OK;
}

static gd_status list(const char *dir, const checkpoint_options *o) {
    char **paths;
    int count, bad = 0;
    gd_status st = GD_OK;
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    if (!o->json) printf("%12s  %9s  %9s  %s\n", "step", "size", "age", "state");
    for (int i = 0; i < count && st == GD_OK; i++) {
        gd_finding f;
        gd_checkpoint_look(paths[i], !o->quick, &f);
        bad += f.reason[0] != '\0';
        if (o->json) st = gd_finding_print_json(&f, stdout);
        else print_line(&f);
    }
    gd_checkpoint_list_free(paths, count);
    GD_TRY(st);
    if (!o->json) GD_TRY(print_others(dir));
    if (!count) GD_FAIL(NOINPUT, "%s: holds no committed checkpoint", dir);
    if (bad) GD_FAIL(DATA, "%s: %d of %d checkpoints are damaged", dir, bad, count);
    return GD_OK;
}

/* ---- prune ---- */

static bool is_in(char **paths, int count, const char *path) {
    for (int i = 0; i < count; i++)
        if (!strcmp(paths[i], path)) return true;
    return false;
}

/* As retention counts: those that cannot be opened stay, and do not count. */
static void say_what_would_go(char **paths, int count, int64_t keep) {
    int64_t good = 0;
    for (int i = 0; i < count; i++) {
        gd_finding f;
        if (good >= keep) {
            printf("would remove %s\n", paths[i]);
            continue;
        }
        gd_checkpoint_look(paths[i], false, &f);
        good += f.st == GD_OK;
    }
}

static gd_status prune(const char *dir, const checkpoint_options *o) {
    char **before, **after = NULL;
    int n_before, n_after = 0;
    if (o->keep < 1) GD_FAIL(USAGE, "checkpoint prune: --keep N with N at least 1; how many shall stay?");
    GD_TRY(gd_checkpoint_list(dir, &before, &n_before));
    gd_status st = GD_OK;
    if (o->dry_run) {
        say_what_would_go(before, n_before, o->keep);
    } else {
        st = gd_checkpoint_retain(dir, (int)(o->keep < 1 << 30 ? o->keep : 1 << 30));
        if (st == GD_OK) st = gd_checkpoint_list(dir, &after, &n_after);
        for (int i = 0; i < n_before && st == GD_OK; i++)
            if (!is_in(after, n_after, before[i])) printf("removed %s\n", before[i]);
        if (st == GD_OK) printf("%d left\n", n_after);
        gd_checkpoint_list_free(after, n_after);
    }
    gd_checkpoint_list_free(before, n_before);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* ---- reshard ---- */

static gd_status reshard(const char *dir, const checkpoint_options *o) {
    char **paths, hash[17];
    int count;
    if (o->shards < 1 || o->shards > 1024)
        GD_FAIL(USAGE, "checkpoint reshard: --shards N with N from 1 to 1024; how many files shall it have?");
    GD_TRY(gd_checkpoint_recover(dir));
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    gd_status st = GD_OK;
    if (!count) GD_FAIL_TO(done, NOINPUT, "%s: holds no committed checkpoint", dir);
    GD_TRY_TO(done, gd_checkpoint_reshard(paths[0], (int)o->shards));
    gd_finding f;
    gd_checkpoint_look(paths[0], true, &f);
    if (o->json) {
        GD_TRY_TO(done, gd_finding_print_json(&f, stdout));
    } else if (f.st == GD_OK) {
        gd_hash64_text(f.report.state_hash, hash);
        printf("%s: %d files now, state_hash %s\n", paths[0], f.report.files, hash);
    }
    st = gd_finding_verdict(&f);
done:
    gd_checkpoint_list_free(paths, count);
    return st;
}

/* ---- the command ---- */

/* What changes files keeps trainings out, and is kept out by them. */
static gd_status alone(const char *dir, const checkpoint_options *o,
                       gd_status (*work)(const char *, const checkpoint_options *)) {
    char folder[4200];
    gd_run_lock *lock = NULL;
    const char *end = strrchr(dir, '/');
    bool below = !strcmp(end ? end + 1 : dir, "checkpoints");
    snprintf(folder, sizeof folder, below ? "%s/.." : "%s", dir);
    GD_TRY(gd_run_lock_take(folder, 0, &lock));
    gd_status st = work(dir, o);
    gd_run_lock_release(lock);
    return st;
}

static gd_status run(int argc, char **argv) {
    checkpoint_options o = {.keep = -1, .shards = -1};
    gd_text_list args;
    char dir[4096];
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_checkpoint, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    static const char *const words[] = {"ls", "prune", "reshard"};
    const char *word = args.item[0];
    bool is_prune = !strcmp(word, "prune"), is_reshard = !strcmp(word, "reshard");
    if (strcmp(word, "ls") && !is_prune && !is_reshard) {
        const char *near = gd_nearest(word, words, 3);
        GD_FAIL(USAGE, "checkpoint: no action '%s'; one of ls, prune, reshard%s%s%s", word,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    if ((o.keep != -1 || o.dry_run) && !is_prune)
        GD_FAIL(USAGE, "checkpoint %s: --keep and --dry-run belong to prune", word);
    if (o.shards != -1 && !is_reshard) GD_FAIL(USAGE, "checkpoint %s: --shards belongs to reshard", word);
    GD_TRY(gd_checkpoints_of(args.item[1], dir, sizeof dir));
    if (is_reshard) return alone(dir, &o, reshard);
    if (is_prune && !o.dry_run) return alone(dir, &o, prune);
    return is_prune ? prune(dir, &o) : list(dir, &o);
}

const gd_command gd_command_checkpoint = {
    .name = "checkpoint",
    .summary = "lists, prunes or reshards the checkpoints of a run",
    .usage = "ls|prune|reshard RUN [options]",
    .example = "gandist checkpoint ls runs/dcgan",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
