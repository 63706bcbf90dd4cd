/* dist/resume.c -- loading a training state. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dist/trainer.h"

/* Overfitting one batch stays with the very first one. */
static uint64_t first_draw(const gd_trainer *t) { return t->config.overfit_batch ? 0 : t->counters.cursor; }

gd_status gd__open_loader(gd_trainer *t) {
    int ranks = gd_comm_size(t->comm), rank = gd_comm_rank(t->comm);
    int64_t local = t->config.gan.global_batch / ranks;
    gd_loader_opts o = {.seed = t->config.seed,
                        .global = t->config.gan.global_batch,
                        .first = local * rank,
                        .local = local,
                        .cursor = first_draw(t),
                        .workers = t->config.loader_workers,
                        .depth = t->config.loader_depth};
    if (t->config.executor->feed_new) GD_TRY(gd__open_feeds(t, &o));
    return gd_loader_open(t->data, &o, &t->loader);
}

static gd_status seek(gd_trainer *t) {
    GD_TRY(gd__stop_feeds(t));
    return gd_loader_seek(t->loader, first_draw(t));
}

gd_status gd__drop_ahead(gd_trainer *t) {
    if (!t->ahead) return GD_OK;
    t->ahead = false;
    return gd_comm_agree(t->comm, seek(t));
}

/* A state goes on only under the recipe and on the data that it came from. */
static gd_status check_origin(const gd_trainer *t, const char *path, const gd_state *s) {
    if (s->recipe_fingerprint != t->config.recipe_fingerprint) {
        char *difference = NULL;
        if (t->config.recipe_difference)
            GD_TRY(t->config.recipe_difference(s->recipe_text, t->config.recipe_text, &difference));
        bool told = difference && *difference;
        gd_status st = gd_raise(
            GD_CONFIG, __FILE__, __LINE__,
            "%s: was trained under another recipe; set %s back, or start anew with --fresh or another --out%s%.*s",
            path, told ? "these keys" : "its keys", told ? ":\n" : "", told ? (int)strlen(difference) - 1 : 0,
            told ? difference : "");
        free(difference);
        return st;
    }
    if (s->data_fingerprint != t->data_fingerprint)
        GD_FAIL(DATA,
                "%s: was trained on other data (fingerprint %016" PRIx64 ", here %016" PRIx64
                ": %s); put the data back, or "
                "start anew with --fresh or another --out",
                path, s->data_fingerprint, t->data_fingerprint, gd_dataset_describe(t->data));
    if (s->seed != t->config.seed)
        GD_FAIL(CONFIG, "%s: was trained with seed %" PRIu64 ", the recipe says %" PRIu64, path, s->seed,
                t->config.seed);
    return GD_OK;
}

static gd_status read_tensors(gd_trainer *t, const char *path, gd_checkpoint *k) {
    const gd_state *s = gd_checkpoint_state(k);
    if (s->count != t->state.count)
        GD_FAIL(DATA, "%s: holds %d tensors, this training state has %d", path, s->count, t->state.count);
    GD_TRY(gd_checkpoint_read_all(k, t->state.tensor, t->state.count));
    gd__params_changed(t);
    t->counters = s->counters;
    return GD_OK;
}

/* *refused: the checkpoint is whole, and of another run. */
static gd_status load_state(gd_trainer *t, const char *path, bool *refused) {
    gd_checkpoint *k;
    GD_TRY(gd_checkpoint_open(path, &k));
    gd_status st = check_origin(t, path, gd_checkpoint_state(k));
    *refused = st != GD_OK;
    if (st == GD_OK) st = read_tensors(t, path, k);
    gd_checkpoint_close(k);
    return st;
}

gd_status gd_trainer_load(gd_trainer *t, const char *checkpoint) {
    gd_comm_label(t->comm, GD_PHASE_LOAD, -1, 0);
    bool refused;
    GD_TRY(gd_comm_agree(t->comm, load_state(t, checkpoint, &refused)));
    gd_status st = seek(t);
    GD_TRY(gd_comm_agree(t->comm, st));
    return gd__hash_moments(t);
}

/* Damage moves on to the next older one; another recipe or other data would be refused there, too. */
static bool is_damage(gd_status st) { return st == GD_DATA || st == GD_NOINPUT || st == GD_IO; }

/* Tries one checkpoint on all ranks. *next: no rank could say more than that it is damaged. */
static gd_status try_one(gd_trainer *t, const char *path, bool *next) {
    bool refused_here = false;
    gd_status mine = load_state(t, path, &refused_here);
    double refused = mine != GD_OK && (refused_here || !is_damage(mine));
    gd_status agreed = gd_comm_agree(t->comm, mine);
    *next = false;
    if (agreed == GD_OK) return gd_comm_agree(t->comm, seek(t));
    GD_TRY(gd_comm_sum_f64(t->comm, &refused, 1));
    *next = refused == 0;
    return agreed;
}

/* list: paths, one NUL behind each, an empty one at the end. */
static gd_status try_all(gd_trainer *t, const char *list, int64_t *step) {
    int count = 0;
    for (const char *path = list; *path; path += strlen(path) + 1, count++) {
        bool next;
        gd_status st = try_one(t, path, &next);
        if (st == GD_OK) *step = t->counters.step;
        if (!next) return st;
        GD_LOG(DIST, WARN, "%s is not usable, going on to an older one: %s", path, gd_error_message());
    }
    if (!count) return GD_OK;
    GD_FAIL(
        NOINPUT,
        "%s: holds %d checkpoints and none of them is usable; look at the warnings above, or start anew with --fresh",
        t->config.checkpoint_dir, count);
}

enum { NOT_SICK = -1 };

/* Whether a checkpoint is from when sickness `sick` had begun already (as its history says). */
static bool is_sick(const char *path, int sick) {
    gd_checkpoint *k;
    if (sick == NOT_SICK) return false;
    if (gd_checkpoint_open(path, &k) != GD_OK) {
        gd_error_clear();
        return false; /* loading it will say what is wrong with it */
    }
    const gd_counters *c = &gd_checkpoint_state(k)->counters;
    bool begun = (sick < GD_WATCH_COUNT ? c->watch.row[sick] : c->skips) > 0;
    gd_checkpoint_close(k);
    return begun;
}

/* The checkpoints that this rank sees, newest first, as try_all wants them; without those of a sickness (a gd_watch;
 * GD_WATCH_COUNT: not finite; NOT_SICK: all). */
static gd_status make_list(const char *dir, int sick, char **list, uint64_t *bytes) {
    char **paths;
    int count;
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    *bytes = 1;
    for (int i = 0; i < count; i++) *bytes += strlen(paths[i]) + 1;
    char *at = *list = calloc(1, *bytes);
    for (int i = 0; at && i < count; i++)
        if (!is_sick(paths[i], sick)) at = stpcpy(at, paths[i]) + 1;
    gd_checkpoint_list_free(paths, count);
    if (!*list) GD_FAIL(NOMEM, "%s: no memory for a list of checkpoints", dir);
    return GD_OK;
}

/* Ranks may see a file system at different moments: all follow rank 0's list. */
static gd_status share_list(gd_trainer *t, int sick, char **list) {
    bool first = gd_comm_rank(t->comm) == 0;
    uint64_t bytes = 0;
    GD_TRY(gd_comm_agree(t->comm, first ? make_list(t->config.checkpoint_dir, sick, list, &bytes) : GD_OK));
    GD_TRY(gd_comm_bcast(t->comm, 0, &bytes, sizeof bytes));
    if (!first) *list = malloc(bytes);
    gd_status st = *list ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "list of checkpoints: no memory");
    GD_TRY(gd_comm_agree(t->comm, st));
    return gd_comm_bcast(t->comm, 0, *list, bytes);
}

gd_status gd_trainer_resume(gd_trainer *t, int64_t *step) {
    gd_comm_label(t->comm, GD_PHASE_LOAD, -1, 0);
    char *list = NULL;
    *step = 0;
    if (!t->config.checkpoint_dir) return GD_OK;
    gd_status st = share_list(t, NOT_SICK, &list);
    if (st == GD_OK) st = try_all(t, list, step);
    free(list);
    GD_TRY(st);
    return gd__hash_moments(t);
}

/* ---- going back ---- */

enum { ROLLBACKS_MAX = 3 /* of a run: what comes back each time is no accident */, REASON = 512 };

/* Loads the newest checkpoint that will do. *found: there was one. */
static gd_status load_earlier(gd_trainer *t, bool *found) {
    char *list = NULL;
    int64_t step = 0;
    *found = false;
    if (!t->config.checkpoint_dir) return GD_OK;
    gd_status st = share_list(t, t->sickness, &list);
    if (st == GD_OK) {
        *found = *list;
        st = try_all(t, list, &step);
    }
    free(list);
    GD_TRY(st);
    if (!*found) return GD_OK;
    return gd_comm_agree(t->comm,
                         gd_comm_rank(t->comm) == 0 ? gd_checkpoint_undo(t->config.checkpoint_dir, step) : GD_OK);
}

gd_status gd__go_back(gd_trainer *t) {
    gd__label(t, GD_PHASE_LOAD, -1);
    gd_counters now = t->counters;
    char reason[REASON];
    bool found;
    snprintf(reason, sizeof reason, "%s", gd_error_message());
    GD_TRY(gd__end_saving(t, GD_OK));
    if (now.rollbacks >= ROLLBACKS_MAX)
        GD_FAIL(NUMERIC, "%s; the run went back %d times already", reason, ROLLBACKS_MAX);
    GD_TRY(load_earlier(t, &found));
    if (!found) GD_FAIL(NUMERIC, "%s; there is no checkpoint from before to go back to", reason);
    t->counters.rollbacks = now.rollbacks + 1;
    t->counters.cursor = now.cursor;
    if (gd_comm_rank(t->comm) == 0)
        GD_LOG(DIST, WARN,
               "%s: back to the checkpoint of step %lld, and on with other random numbers and data (%lld of %d)",
               reason, (long long)t->counters.step, (long long)t->counters.rollbacks, ROLLBACKS_MAX);
    gd__tell(t, "rollback",
             (gd_event_field[]){GD_EVENT_NUMBER("from", now.step), GD_EVENT_NUMBER("rollbacks", t->counters.rollbacks),
                                GD_EVENT_TEXT("why", reason)},
             3);
    return gd_comm_agree(t->comm, seek(t));
}
