/* dist/late.c -- numbers that are made where programs are, and that nobody needs before the iteration ends: metrics, norms, and
 * whether sums over ranks are over. The host goes on meanwhile, and reads them in the order in which the device makes them. */
#include <stdlib.h>

#include "dist/trainer.h"

enum { MOST = 64 }; /* then they are read in between: so far ahead of the device there is nothing to gain */

static gd_status remember(gd_trainer *t, const gd__late *l) {
    if (t->n_late == MOST) GD_TRY(gd__take_late(t));
    if (!t->late && !(t->late = calloc(MOST, sizeof *t->late))) GD_FAIL(NOMEM, "metrics: no memory");
    t->late[t->n_late++] = *l;
    return GD_OK;
}

static gd_status remember_bytes(gd_trainer *t, gd__late l, const void *host, size_t bytes) {
    GD_TRY(t->space.executor->get_later(gd__space_at(&t->space, host), bytes, &l.ticket));
    gd_status st = remember(t, &l);
    if (st != GD_OK && t->space.executor->take(l.ticket, NULL) != GD_OK) gd_error_clear();
    return st;
}

/* ---- metrics ---- */

static size_t metric_bytes(const gd_trainer *t) {
    return (size_t)t->local * GD__METRICS_MAX * GD__UNIT * sizeof *t->metric_value;
}

static gd_status read_metrics(gd_trainer *t, const gd__late *l) {
    GD_TRY(t->space.executor->take(l->ticket, t->metric_value));
    gd__read_metrics(t, l->program);
    return GD_OK;
}

gd_status gd__later_metrics(gd_trainer *t, gd_group g, const gd_program *p) {
    const gd__late l = {.read = read_metrics, .group = g, .program = p};
    return remember_bytes(t, l, t->metric_value, metric_bytes(t));
}

/* ---- sums over ranks ---- */

static gd_status read_round(gd_trainer *t, const gd__late *l) {
    double waited = 0;
    gd__label(t, GD_PHASE_REDUCE, l->group);
    GD_TRY(gd__settle_exchange(t, &t->group[l->group], &waited));
    t->now.reduce += waited;
    gd_comm_waited(t->comm, waited);
    return GD_OK;
}

gd_status gd__later_round(gd_trainer *t, gd_group g) {
    const gd__late l = {.read = read_round, .group = g};
    return remember(t, &l);
}

/* ---- norms ---- */

static gd_status read_norm(gd_trainer *t, const gd__late *l) {
    double norm;
    double start = gd__seconds();
    GD_TRY(t->space.executor->take(l->ticket, &norm));
    t->now.optimizer += gd__seconds() - start;
    gd__note_update(t, l->group, norm, l->lr);
    return GD_OK;
}

gd_status gd__later_norm(gd_trainer *t, gd_group g, double lr) {
    const gd__late l = {.read = read_norm, .group = g, .lr = lr};
    return remember_bytes(t, l, t->group[g].norm, sizeof *t->group[g].norm);
}

/* ---- running statistics ---- */

static gd_status read_kept(gd_trainer *t, const gd__late *l) {
    double kept;
    GD_TRY(t->space.executor->take(l->ticket, &kept));
    if (kept > 0) t->now.skipped |= GD__NO_STATISTICS;
    return GD_OK;
}

gd_status gd__later_kept(gd_trainer *t, gd_group g) {
    const gd__late l = {.read = read_kept, .group = g};
    return remember_bytes(t, l, t->buffer_kept, sizeof *t->buffer_kept);
}

/* ---- images of pools ---- */

static gd_status read_refused(gd_trainer *t, const gd__late *l) {
    GD_TRY(t->space.executor->take(l->ticket, t->pool_refused));
    for (int64_t i = 0; i < t->config.gan.global_batch; i++)
        if (t->pool_refused[i] > 0) t->now.skipped |= GD__NO_IMAGES;
    return GD_OK;
}

gd_status gd__later_refused(gd_trainer *t) {
    const gd__late l = {.read = read_refused, .group = GD_GROUP_D};
    return remember_bytes(t, l, t->pool_refused, (size_t)t->config.gan.global_batch * sizeof *t->pool_refused);
}

/* ---- reading ---- */

static gd_status read_one(gd_trainer *t, gd__late *l) {
    double start = gd__seconds();
    GD_TRY(l->read(t, l));
    l->ticket = NULL;
    double seconds = gd__seconds() - start;
    if (l->group == GD_GROUP_G) t->now.g_step += seconds;
    else t->now.d_step += seconds;
    t->mark += seconds; /* whoever runs a program meanwhile did not spend it there */
    return GD_OK;
}

/* Rounds first: who hangs in one is seen to wait for gradients, not for the metrics behind it. */
gd_status gd__take_late(gd_trainer *t) {
    for (int rounds = 1; rounds >= 0; rounds--)
        for (int i = 0; i < t->n_late; i++)
            if (rounds == (t->late[i].read == read_round)) GD_TRY(read_one(t, &t->late[i]));
    t->n_late = 0;
    return GD_OK;
}

void gd__drop_late(gd_trainer *t) {
    for (int i = 0; i < t->n_late; i++)
        if (t->late[i].ticket && t->space.executor->take(t->late[i].ticket, NULL) != GD_OK) gd_error_clear();
    t->n_late = 0;
}
