/* dist/saving.c -- the checkpoints of a trainer: when they end somebody is told. */
#include "dist/trainer.h"

static void tell(void *ctx, const gd_saved *s) {
    gd_trainer *t = ctx;
    if (s->st == GD_NUMERIC) gd_error_save(s->st, &t->sick_save);
    if (gd_comm_rank(t->comm) != 0 || !t->hooks.on_checkpoint) return;
    t->hooks.on_checkpoint(t->hooks.ctx, s->step, s->st == GD_OK ? s->path : "", s->seconds, s->st);
}

gd_status gd__open_writer(gd_trainer *t) {
    if (!t->config.checkpoint_dir) return GD_OK;
    gd_writer_opts o = {.dir = t->config.checkpoint_dir,
                        .keep = t->config.checkpoint_keep,
                        .wait = t->config.checkpoint_wait,
                        .on_saved = tell,
                        .ctx = t};
    GD_TRY(gd_writer_new(t->comm, &o, &t->writer));
    gd_writer_prepare(t->writer, &t->state);
    return GD_OK;
}

gd_status gd__heed_save(gd_trainer *t) {
    if (t->sick_save.status == GD_OK) return GD_OK;
    gd_status st = gd_error_restore(&t->sick_save);
    t->sick_save.status = GD_OK;
    t->go_back = t->config.on_nonfinite != GD_NONFINITE_STOP; /* there is no update left to skip */
    t->sickness = GD_WATCH_COUNT;
    return gd_trace(st, __FILE__, __LINE__);
}

/* A save that fails ends the run only when nothing comes after it: older checkpoints stay. */
gd_status gd__save(gd_trainer *t, bool last) {
    gd_status st;
    if (!t->writer) return GD_OK;
    t->state.counters = t->counters;
    GD_TRY(gd__fetch_state(t));
    GD_TRY(gd_writer_start(t->writer, &t->state));
    GD_TRY(gd__heed_save(t)); /* of the save before, which was waited for */
    if (!last) return GD_OK;
    GD_TRY(gd_writer_finish(t->writer, &st));
    GD_TRY(gd__heed_save(t));
    return st;
}

gd_status gd__end_saving(gd_trainer *t, gd_status st) {
    gd_error e;
    gd_status saved;
    if (!t->together || st == GD_MPI || !gd_writer_active(t->writer)) return st;
    gd_error_save(st, &e);
    GD_TRY(gd_writer_finish(t->writer, &saved)); /* how it ended was told */
    t->sick_save.status = GD_OK;
    return gd_error_restore(&e);
}
