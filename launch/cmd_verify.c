/* gandist verify: checks checkpoints. Needs no MPI, no lock and no write access. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "launch/checkpoints.h"
#include "launch/commands.h"

typedef struct verify_options {
    bool quick, deep, hash, json;
} verify_options;

static const gd_option table[] = {
    {"quick", GD_OPT_FLAG, offsetof(verify_options, quick), NULL, "manifest, sizes and headers only"},
    {"deep", GD_OPT_FLAG, offsetof(verify_options, deep), NULL, "also every hash, coverage, finite values (default)"},
    {"hash", GD_OPT_FLAG, offsetof(verify_options, hash), NULL, "print only the state hash (of a run: of its newest)"},
    {"json", GD_OPT_FLAG, offsetof(verify_options, json), NULL, "one JSON object a checkpoint"},
};

static void print_plain(const gd_finding *f) {
    char hash[17], bytes[32];
    if (f->st != GD_OK) {
        printf("%s: %s: %s\n", f->path,
               f->st == GD_DATA      ? "DAMAGED"
               : f->st == GD_NOINPUT ? "INCOMPLETE"
                                     : "UNREADABLE",
               f->reason);
        return;
    }
    gd_text_bytes(f->report.bytes, bytes, sizeof bytes);
    printf("%s: ok, step %lld, %d files, %d tensors, %s", f->path, (long long)f->report.step, f->report.files,
           f->report.tensors, bytes);
    gd_hash64_text(f->report.state_hash, hash);
    if (f->deep) printf("%s, state_hash %s", f->report.finite ? "" : ", NOT FINITE", hash);
    putchar('\n');
}

static gd_status verify_one(const char *path, const verify_options *o) {
    gd_finding f;
    char hash[17];
    gd_checkpoint_look(path, !o->quick, &f);
    if (o->json) GD_TRY(gd_finding_print_json(&f, stdout));
    else if (!o->hash) print_plain(&f);
    else if (f.st == GD_OK) {
        gd_hash64_text(f.report.state_hash, hash);
        puts(hash);
    }
    return gd_finding_verdict(&f);
}

/* Two problems in a row: the message of the first is what the command ends with. */
static gd_status first_of(gd_status before, gd_error *why, gd_status now) {
    if (before != GD_OK) return gd_error_restore(why);
    if (now != GD_OK) gd_error_save(now, why);
    return now;
}

/* A run folder or its checkpoints/ stands for its checkpoints: all of them, or with --hash the newest. */
static gd_status verify_folder(const char *path, const verify_options *o) {
    char manifest[4096], dir[4096], **paths;
    gd_error why;
    int count;
    if (!gd_path_exists(path)) GD_FAIL(NOINPUT, "%s: no such checkpoint or run folder", path);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    snprintf(dir, sizeof dir, "%s/checkpoints", path);
    if (gd_path_exists(manifest) || (!gd_path_is_dir(dir) && strstr(path, "step-"))) return verify_one(path, o);
    GD_TRY(gd_checkpoints_of(path, dir, sizeof dir));
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    gd_status worst = GD_OK;
    if (!count) worst = gd_raise(GD_NOINPUT, __FILE__, __LINE__, "%s: holds no committed checkpoint", path);
    for (int i = 0; i < count && !(o->hash && i); i++) worst = first_of(worst, &why, verify_one(paths[i], o));
    gd_checkpoint_list_free(paths, count);
    return worst;
}

static gd_status run(int argc, char **argv) {
    verify_options o = {0};
    gd_text_list args;
    gd_error why;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_verify, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    if (o.quick && (o.deep || o.hash))
        GD_FAIL(USAGE, "--quick reads no tensor: it cannot be combined with --deep or --hash");
    gd_status worst = GD_OK;
    for (int i = 0; i < args.count; i++) worst = first_of(worst, &why, verify_folder(args.item[i], &o));
    return worst;
}

const gd_command gd_command_verify = {
    .name = "verify",
    .summary = "checks checkpoints: complete, undamaged, finite",
    .usage = "PATH... [options]",
    .example = "gandist verify runs/dcgan",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 1,
    .max_args = GD_LIST_MAX,
    .run = run,
};
