/* dist/resident.c -- the optimiser where programs are. Parameters, moments and the moving average stay there from update to
 * update, and so do running statistics where gradients do; the host's copies are of before, until gd__fetch_state. */
#include "dist/trainer.h"

static gd_status mirror(gd_trainer *t, const gd__arenas *a, const float *x) {
    return gd__space_mirror(&t->space, x, a->count * sizeof *x);
}

gd_status gd__mirror_optimizer(gd_trainer *t) {
    if (!t->resident) return GD_OK;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        for (int m = 0; m < 2; m++) GD_TRY(mirror(t, a, a->moment[m]));
        GD_TRY(mirror(t, a, a->ema));
    }
    return GD_OK;
}

gd_status gd__put_optimizer(gd_trainer *t, const gd__arenas *a) {
    const float *const part[] = {a->moment[0], a->moment[1], a->ema};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (part[i]) GD_TRY(gd__space_put(&t->space, part[i], a->count * sizeof(float)));
    return GD_OK;
}

static gd_update_rule rule_of(const gd_optimizer_spec *o) {
    if (o->kind == GD_ADAM) return GD_UPDATE_ADAM;
    if (o->kind == GD_RMSPROP) return GD_UPDATE_RMSPROP;
    return gd_optimizer_moments(o) ? GD_UPDATE_MOMENTUM : GD_UPDATE_SGD;
}

static gd_status put_sum(gd_trainer *t, const gd__arenas *a) {
    if (t->there) return GD_OK;
    return gd__space_put(&t->space, a->grad[0], a->count * sizeof(float));
}

gd_status gd__update_there(gd_trainer *t, gd_group g, const gd_optimizer_numbers *n, float ema_decay,
                           double clip_norm) {
    gd__arenas *a = &t->group[g];
    const gd__space *s = &t->space;
    const gd_update u = {.rule = rule_of(&t->config.optimizer[g]),
                         .count = a->count,
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
    bool two = u.rule == GD_UPDATE_ADAM;
    if (!a->count) return GD_OK;
    if (a->changed) GD_TRY(gd__put_params(t)); /* nothing is pending here that they could be in the way of */
    GD_TRY(put_sum(t, a));
    GD_TRY(s->executor->update(&u, gd__space_at(s, a->param), gd__space_at(s, a->grad[0]), two ? first : NULL,
                               two ? second : first, a->ema ? gd__space_at(s, a->ema) : NULL,
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
    float *const part[] = {a->param, a->moment[0], a->moment[1], a->ema};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (part[i]) GD_TRY(gd__space_get(&t->space, part[i], a->count * sizeof(float)));
    a->newer = false;
    return GD_OK;
}

gd_status gd__fetch_state(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        if (t->group[g].newer) GD_TRY(fetch(t, &t->group[g]));
    return t->buffer_newer ? fetch_statistics(t) : GD_OK;
}
