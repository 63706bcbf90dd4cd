/* gandist verify: checks checkpoints. Needs no MPI, no lock and no write access. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "dist/checkpoint.h"
#include "launch/commands.h"

typedef struct verify_options {
    bool quick, deep, hash, json;
} verify_options;

static const gd_option table[] = {
    {"quick", GD_OPT_FLAG, offsetof(verify_options, quick), NULL, "manifest, sizes and headers only"},
    {"deep", GD_OPT_FLAG, offsetof(verify_options, deep), NULL, "also every hash, coverage, finite values (default)"},
    {"hash", GD_OPT_FLAG, offsetof(verify_options, hash), NULL, "print only the state hash"},
    {"json", GD_OPT_FLAG, offsetof(verify_options, json), NULL, "one JSON object a checkpoint"},
};

static void print_good(const char *path, const gd_verify_report *r, const verify_options *o) {
    char hash[17], bytes[32];
    gd_hash64_text(r->state_hash, hash);
    gd_text_bytes(r->bytes, bytes, sizeof bytes);
    if (o->hash) puts(hash);
    else if (o->json)
        printf("{\"path\":\"%s\",\"state\":\"ok\",\"step\":%lld,\"files\":%d,\"tensors\":%d,\"bytes\":%llu,\"state_"
               "hash\":%s%s%s}\n",
               path, (long long)r->step, r->files, r->tensors, (unsigned long long)r->bytes, o->quick ? "" : "\"",
               o->quick ? "null" : hash, o->quick ? "" : "\"");
    else if (o->quick)
        printf("%s: ok, step %lld, %d files, %d tensors, %s\n", path, (long long)r->step, r->files, r->tensors, bytes);
    else
        printf("%s: ok, step %lld, %d files, %d tensors, %s%s, state_hash %s\n", path, (long long)r->step, r->files,
               r->tensors, bytes, r->finite ? "" : ", NOT FINITE", hash);
}

static gd_status verify_one(const char *path, const verify_options *o) {
    gd_verify_report r;
    gd_status st = gd_checkpoint_verify(path, o->quick ? GD_VERIFY_QUICK : GD_VERIFY_DEEP, &r);
    if (st == GD_OK) {
        print_good(path, &r, o);
        return r.finite || o->quick
                   ? GD_OK
                   : gd_raise(GD_NUMERIC, __FILE__, __LINE__, "%s: holds values that are not finite", path);
    }
    if (o->json) printf("{\"path\":\"%s\",\"state\":\"%s\"}\n", path, gd_status_name(st));
    else if (!o->hash) printf("%s: DAMAGED: %s\n", path, gd_error_message());
    return st;
}

/* A run folder or its checkpoints/ stands for its checkpoints: all of them, or with --hash the newest. */
static gd_status verify_folder(const char *path, const verify_options *o) {
    char manifest[4096], dir[4096], **paths;
    int count;
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    if (!gd_path_exists(path)) GD_FAIL(NOINPUT, "%s: no such checkpoint or run folder", path);
    snprintf(dir, sizeof dir, "%s/checkpoints", path);
    if (gd_path_exists(manifest) || (!gd_path_is_dir(dir) && strstr(path, "step-"))) return verify_one(path, o);
    GD_TRY(gd_checkpoint_list(gd_path_is_dir(dir) ? dir : path, &paths, &count));
    gd_status worst = GD_OK;
    if (!count) worst = gd_raise(GD_NOINPUT, __FILE__, __LINE__, "%s: holds no committed checkpoint", path);
    for (int i = 0; i < count && !(o->hash && i); i++) {
        gd_status st = verify_one(paths[i], o);
        if (worst == GD_OK) worst = st;
    }
    gd_checkpoint_list_free(paths, count);
    return worst;
}

static gd_status run(int argc, char **argv) {
    verify_options o = {0};
    gd_text_list args;
    bool helped;
    GD_TRY(gd_options_parse(&gd_command_verify, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    if (o.quick && (o.deep || o.hash))
        GD_FAIL(USAGE, "--quick reads no tensor: it cannot be combined with --deep or --hash");
    gd_status worst = GD_OK;
    for (int i = 0; i < args.count; i++) {
        gd_status st = verify_folder(args.item[i], &o);
        if (worst == GD_OK) worst = st;
    }
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
