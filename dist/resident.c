/* dist/resident.c -- the optimiser where programs are. Parameters, moments and the moving average stay there from update to
 * update, and so do running statistics where gradients do; the host's copies are of before, until gd__fetch_state. */
#include "dist/trainer.h"

static size_t slice_bytes(const gd__arenas *a) { return (a->last - a->first) * sizeof(float); }

gd_status gd__mirror_optimizer(gd_trainer *t) {
    if (!t->resident) return GD_OK;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        for (int m = 0; m < 2; m++) GD_TRY(gd__space_mirror(&t->space, a->moment[m], slice_bytes(a)));
        GD_TRY(gd__space_mirror(&t->space, a->ema, a->count * sizeof(float)));
    }
    return GD_OK;
}

gd_status gd__put_optimizer(gd_trainer *t, const gd__arenas *a) {
    for (int m = 0; m < 2; m++)
        if (a->moment[m]) GD_TRY(gd__space_put(&t->space, a->moment[m], slice_bytes(a)));
    return a->ema ? gd__space_put(&t->space, a->ema, a->count * sizeof(float)) : GD_OK;
}

static gd_update_rule rule_of(const gd_optimizer_spec *o) {
    if (o->kind == GD_ADAM) return GD_UPDATE_ADAM;
    if (o->kind == GD_RMSPROP) return GD_UPDATE_RMSPROP;
    return gd_optimizer_moments(o) ? GD_UPDATE_MOMENTUM : GD_UPDATE_SGD;
}

static gd_status put_sum(gd_trainer *t, const gd__arenas *a) {
    if (t->there) return GD_OK;
    return gd__space_put(&t->space, a->grad[0] + a->first, slice_bytes(a));
}

/* Sums of squares of all slices, in the order that they have whole: the norm has the same bits. */
static gd_status sum_squares(gd_trainer *t, gd__arenas *a, gd_update *u) {
    const gd__space *s = &t->space;
    double *sums = gd__space_at(s, a->partial);
    GD_TRY(s->executor->squares(gd__space_at(s, a->grad[0]), a->first, a->last, sums));
    GD_TRY(gd__share_partials(t, a));
    u->sums = sums;
    u->n_sums = (a->count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK;
    return GD_OK;
}

gd_status gd__update_there(gd_trainer *t, gd_group g, const gd_optimizer_numbers *n, float ema_decay,
                           double clip_norm) {
    gd__arenas *a = &t->group[g];
    const gd__space *s = &t->space;
    gd_update u = {.rule = rule_of(&t->config.optimizer[g]),
                   .count = a->last - a->first,
                   .rate = n->rate,
                   .scale = n->scale,
                   .decay = n->decay,
                   .clip = n->clip,
                   .eps = n->eps,
                   .b1 = n->b1,
                   .rest1 = n->rest1,
                   .b2 = n->b2,
                   .rest2 = n->rest2,
                   .root2 = n->root2,
                   .alpha = n->alpha,
                   .rest = n->rest,
                   .momentum = n->momentum,
                   .average = ema_decay,
                   .clip_norm = clip_norm};
    float *first = a->moment[0] ? gd__space_at(s, a->moment[0]) : NULL;
    float *second = a->moment[1] ? gd__space_at(s, a->moment[1]) : NULL;
    bool two = u.rule == GD_UPDATE_ADAM, average = a->ema && !t->sliced;
    if (a->changed) GD_TRY(gd__put_params(t)); /* nothing is pending here that they could be in the way of */
    if (t->there && t->sliced) GD_TRY(sum_squares(t, a, &u)); /* of a slice with nothing in it, too */
    else if (!u.count) return GD_OK;
    GD_TRY(put_sum(t, a));
    GD_TRY(s->executor->update(&u, gd__space_at(s, a->param + a->first), gd__space_at(s, a->grad[0] + a->first),
                               two ? first : NULL, two ? second : first, average ? gd__space_at(s, a->ema) : NULL,
                               t->there ? gd__space_at(s, a->norm) : NULL));
    a->newer = true;
    return GD_OK;
}

gd_status gd__move_average_there(gd_trainer *t, gd__arenas *a, float decay) {
    const gd__space *s = &t->space;
    if (!a->ema || !a->count) return GD_OK;
    GD_TRY(s->executor->average(gd__space_at(s, a->ema), gd__space_at(s, a->param), a->count, decay,
                                t->there ? gd__space_at(s, a->norm) : NULL));
    a->newer = true;
    return GD_OK;
}

/* ---- running statistics ---- */

gd_status gd__remember_statistics(gd_trainer *t) {
    size_t bytes = t->buffer_count * sizeof(float);
    if (!bytes) return GD_OK;
    return t->space.executor->copy(NULL, gd__space_at(&t->space, t->buffer_before),
                                   gd__space_at(&t->space, t->buffer[0]), bytes);
}

gd_status gd__keep_statistics_there(gd_trainer *t, gd_group g, bool average, float decay) {
    const gd__space *s = &t->space;
    if (!t->buffer_count) return GD_OK;
    GD_TRY(s->executor->keep(gd__space_at(s, t->buffer[0]), gd__space_at(s, t->buffer_before),
                             average ? gd__space_at(s, t->buffer_ema) : NULL, t->buffer_count, decay,
                             gd__space_at(s, t->buffer_kept)));
    t->buffer_newer = true;
    return gd__later_kept(t, g);
}

static gd_status fetch_statistics(gd_trainer *t) {
    size_t bytes = t->buffer_count * sizeof(float);
    GD_TRY(gd__space_get(&t->space, t->buffer[0], bytes));
    if (t->buffer_ema) GD_TRY(gd__space_get(&t->space, t->buffer_ema, bytes));
    t->buffer_newer = false;
    return GD_OK;
}

/* ---- the host's copies ---- */

static gd_status fetch(gd_trainer *t, gd__arenas *a) {
    GD_TRY(gd__space_get(&t->space, a->param, a->count * sizeof(float)));
    for (int m = 0; m < 2; m++)
        if (a->moment[m]) GD_TRY(gd__space_get(&t->space, a->moment[m], slice_bytes(a)));
    if (a->ema) GD_TRY(gd__space_get(&t->space, a->ema, a->count * sizeof(float)));
    a->newer = false;
    return GD_OK;
}

gd_status gd__fetch_state(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        if (t->group[g].newer) GD_TRY(fetch(t, &t->group[g]));
    if (t->buffer_newer) GD_TRY(fetch_statistics(t));
    return gd__fetch_pools(t);
}
