#include "launch/start.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "dist/checkpoint.h"
#include "dist/lock.h"

struct gd_start {
    gd_run_lock *lock;
    char folder[2048];
};

gd_status gd_start_check(const char *folder) {
    gd_run_lock *lock = NULL;
    if (!gd_path_exists(folder)) return GD_OK;
    GD_TRY(gd_run_lock_take(folder, 0, &lock));
    gd_run_lock_release(lock);
    return GD_OK;
}

/* Step of the newest committed checkpoint; -1: none. */
static gd_status newest_step(const char *dir, int64_t *step) {
    char **paths = NULL;
    int count = 0;
    long long found = -1;
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    if (count) sscanf(strrchr(paths[0], '/') + 1, "step-%lld", &found);
    gd_checkpoint_list_free(paths, count);
    *step = found;
    return GD_OK;
}

/* What somebody would change who mends a run that stops. */
static uint64_t what_runs(const char *recipe_text, int ranks) {
    uint64_t h = gd_hash64(recipe_text, strlen(recipe_text), (uint64_t)ranks);
    return gd_hash64(GANDIST_VERSION, sizeof GANDIST_VERSION, h);
}

static gd_status begin(const gd_start *s, uint64_t what) {
    char dir[4096];
    int64_t newest = -1;
    snprintf(dir, sizeof dir, "%s/checkpoints", s->folder);
    GD_TRY(gd_checkpoint_recover(dir));
    GD_TRY(newest_step(dir, &newest));
    return gd_starts_begin(s->folder, newest, what);
}

static void release(gd_start *s) {
    gd_run_lock_release(s->lock);
    free(s);
}

gd_status gd_start_begin(const char *folder, const char *recipe_text, int ranks, gd_start **out) {
    if (strlen(folder) >= sizeof((gd_start *)0)->folder) GD_FAIL(CANTCREAT, "%.64s...: the path is too long", folder);
    gd_start *s = calloc(1, sizeof *s);
    if (!s) GD_FAIL(NOMEM, "%s: no memory for its lock", folder);
    snprintf(s->folder, sizeof s->folder, "%s", folder);
    gd_status st = gd_run_lock_take(folder, 0, &s->lock);
    if (st == GD_OK) st = begin(s, what_runs(recipe_text, ranks));
    if (st == GD_OK) *out = s;
    else release(s);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

bool gd_start_lost(const gd_start *s) { return s && gd_run_lock_lost(s->lock); }

void gd_start_end(gd_start *s, gd_status st) {
    gd_error why;
    char said[4096];
    if (!s) return;
    gd_error_save(st, &why);
    snprintf(said, sizeof said, "%s", st == GD_OK ? "" : gd_error_message());
    if (!gd_run_lock_lost(s->lock) && gd_starts_end(s->folder, st == GD_OK ? NULL : said) != GD_OK)
        GD_LOG(LAUNCH, WARN, "how this start ended is not remembered: %s", gd_error_message());
    release(s);
    if (st != GD_OK) gd_error_restore(&why);
}
