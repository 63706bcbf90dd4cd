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
    gd_loader_opts o = {.seed = t->config.seed, .global = t->config.gan.global_batch, .first = local * rank, .local = local,
                        .cursor = first_draw(t), .workers = t->config.loader_workers, .depth = t->config.loader_depth};
    return gd_loader_open(t->data, &o, &t->loader);
}

/* A state goes on only under the recipe and on the data that it came from. */
static gd_status check_origin(const gd_trainer *t, const char *path, const gd_state *s) {
    if (s->recipe_fingerprint != t->config.recipe_fingerprint) {
        char *difference = NULL;
        if (t->config.recipe_difference)
            GD_TRY(t->config.recipe_difference(s->recipe_text, t->config.recipe_text, &difference));
        bool told = difference && *difference;
        gd_status st = gd_raise(GD_CONFIG, __FILE__, __LINE__,
                                "%s: was trained under another recipe%s%s; set %s back, or start anew with --fresh or another --out",
                                path, told ? ":\n" : "", told ? difference : "", told ? "these keys" : "its keys");
        free(difference);
        return st;
    }
    if (s->data_fingerprint != t->data_fingerprint)
        GD_FAIL(DATA, "%s: was trained on other data (fingerprint %016" PRIx64 ", here %016" PRIx64 ": %s); put the data back, or "
                "start anew with --fresh or another --out", path, s->data_fingerprint, t->data_fingerprint,
                gd_dataset_describe(t->data));
    if (s->seed != t->config.seed)
        GD_FAIL(CONFIG, "%s: was trained with seed %" PRIu64 ", the recipe says %" PRIu64, path, s->seed, t->config.seed);
    return GD_OK;
}

static gd_status read_tensors(gd_trainer *t, const char *path, gd_checkpoint *k) {
    const gd_state *s = gd_checkpoint_state(k);
    if (s->count != t->state.count)
        GD_FAIL(DATA, "%s: holds %d tensors, this training state has %d", path, s->count, t->state.count);
    for (int i = 0; i < t->state.count; i++) GD_TRY(gd_checkpoint_read(k, &t->state.tensor[i]));
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
    bool refused;
    GD_TRY(gd_comm_agree(t->comm, load_state(t, checkpoint, &refused)));
    gd_status st = gd_loader_seek(t->loader, first_draw(t));
    return gd_comm_agree(t->comm, st);
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
    if (agreed == GD_OK) return gd_comm_agree(t->comm, gd_loader_seek(t->loader, first_draw(t)));
    GD_TRY(gd_comm_sum_f64(t->comm, &refused, 1));
    *next = refused == 0;
    return agreed;
}

static gd_status try_all(gd_trainer *t, char *const *paths, int count, int64_t *step) {
    for (int i = 0; i < count; i++) {
        bool next;
        gd_status st = try_one(t, paths[i], &next);
        if (st == GD_OK) *step = t->counters.step;
        if (!next) return st;
        GD_LOG(DIST, WARN, "%s is not usable, going on to an older one: %s", paths[i], gd_error_message());
    }
    GD_FAIL(NOINPUT, "%s: holds %d checkpoints and none of them is usable; look at the warnings above, or start anew with --fresh",
            t->config.checkpoint_dir, count);
}

gd_status gd_trainer_resume(gd_trainer *t, int64_t *step) {
    char **paths = NULL;
    int count = 0;
    *step = 0;
    if (!t->config.checkpoint_dir) return GD_OK;
    gd_status st = gd_checkpoint_list(t->config.checkpoint_dir, &paths, &count);
    GD_TRY(gd_comm_agree(t->comm, st));
    /* Ranks may see a file system at different moments: all follow rank 0's list. */
    int first = count;
    st = gd_comm_bcast(t->comm, 0, &first, sizeof first);
    if (st == GD_OK && first != count)
        st = gd_raise(GD_IO, __FILE__, __LINE__, "%s: rank 0 sees %d checkpoints, this rank %d; is the folder shared by all hosts?",
                      t->config.checkpoint_dir, first, count);
    st = gd_comm_agree(t->comm, st);
    if (st == GD_OK && count) st = try_all(t, paths, count, step);
    gd_checkpoint_list_free(paths, count);
    return st;
}
