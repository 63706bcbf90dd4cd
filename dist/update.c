/* dist/update.c -- from gradients to new parameters: all-reduce, norm, optimiser, moving average. Between the begin of
 * an update and its end a program may run that touches neither the parameters nor the gradients. Where optimiser
 * state is divided (slices.c) each rank does its slice, and all get the new parameters. */
#include <math.h>
#include <string.h>

#include "dist/trainer.h"

_Static_assert((int)GD_SQUARES_BLOCK == (int)GD_SLICE_UNIT, "a slice has whole blocks");

/* Euclidean norm of the sum of gradients, added in a fixed tree of blocks: the same on every rank and thread count, sliced or
 * not, here or where programs are (gd_executor.update). */
static gd_status norm_of(gd_trainer *t, gd__arenas *a, double *norm) {
    gd_square_sums(a->grad[0], a->first, a->last, a->partial);
    if (t->sliced) GD_TRY(gd__share_partials(t, a));
    *norm = sqrt(gd_sum_blocks(a->partial, (a->count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK));
    return GD_OK;
}

static void move_average(float *restrict ema, const float *restrict x, size_t n, float decay) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) ema[i] = decay * ema[i] + (1 - decay) * x[i];
}

/* Before ema_start the average follows the parameters. */
static float ema_decay(const gd_trainer *t) {
    double decay = t->plan.step > t->config.ema_start ? t->config.ema_decay : 0;
    double n = (double)(t->plan.step - t->config.ema_start);
    if (t->config.ema_warmup && decay > 0) decay = fmin(decay, (1 + n) / (10 + n));
    return (float)decay;
}

static bool has_ema(const gd_trainer *t, gd_group g) { return g == GD_GROUP_G && t->group[g].ema; }

void gd__watch(gd_trainer *t, int metric, double value) {
    if (isfinite(value) || t->now.bad) return;
    t->now.bad = metric + 1;
    t->now.bad_value = value;
}

/* A number that every rank has by itself. */
static void set_metric(gd_trainer *t, const char *name, double value) {
    int m = gd__metric_index(t, name);
    t->measured[m * t->handed] = value;
    gd__watch(t, m, value);
}

/* All parameters, after the update of this rank's slice. */
static gd_status share_params(gd_trainer *t, gd__arenas *a) {
    double start = gd__seconds();
    if (!t->sliced) return GD_OK;
    GD_TRY(gd__share_params(t, a));
    double seconds = gd__seconds() - start;
    t->now.reduce += seconds;
    gd_comm_waited(t->comm, seconds);
    t->now.optimizer -= seconds; /* which this is in the middle of */
    return GD_OK;
}

/* A norm whose square no float holds makes moments of squares infinite, and with them the update zero for ever. */
static double usable(const gd_optimizer_spec *o, double norm, double scale) {
    bool squares = o->kind == GD_ADAM || o->kind == GD_RMSPROP;
    return squares && !isfinite((float)(norm * scale) * (float)(norm * scale)) ? INFINITY : norm;
}

/* A batch that makes running statistics infinite or not a number would be with the network for ever. */
static gd_status keep_finite(gd_trainer *t) {
    size_t bytes = t->buffer_count * sizeof(float), kept = 0;
    GD_TRY(gd__space_get(&t->space, t->buffer[0], bytes));
    for (size_t i = 0; i < t->buffer_count; i++) {
        if (isfinite(t->buffer[0][i])) continue;
        t->buffer[0][i] = t->buffer_before[i];
        kept++;
    }
    if (!kept) return GD_OK;
    t->now.skipped |= GD__NO_STATISTICS;
    return gd__space_put(&t->space, t->buffer[0], bytes);
}

static gd_status keep_statistics(gd_trainer *t, gd_group g) {
    bool average = has_ema(t, g);
    if (t->there) return gd__keep_statistics_there(t, g, average, average ? ema_decay(t) : 0);
    GD_TRY(keep_finite(t));
    if (average) move_average(t->buffer_ema, t->buffer[0], t->buffer_count, ema_decay(t));
    return GD_OK;
}

/* To where they are exchanged. */
static gd_status fetch_gradients(gd_trainer *t, const gd__arenas *a) {
    if (t->there) return GD_OK;
    for (int64_t l = 0; l < t->local; l++) GD_TRY(gd__space_get(&t->space, a->grad[l], a->count * sizeof(float)));
    return GD_OK;
}

static gd_status begin_reduction(gd_trainer *t, gd__arenas *a) {
    if (a->exchange) return gd__begin_exchange(t, a);
    GD_TRY(fetch_gradients(t, a));
    if (!gd_reducer_is_open(a->reducer)) GD_TRY(gd_reducer_open(a->reducer, t->sliced));
    gd_reducer_all_ready(a->reducer);
    return GD_OK;
}

/* Until here running statistics are those of before, and the end may be behind their next ones. */
gd_status gd__begin_update(gd_trainer *t, gd_group g) {
    gd__arenas *a = &t->group[g];
    gd__label(t, GD_PHASE_REDUCE, g);
    GD_TRY(begin_reduction(t, a));
    a->pending = true;
    GD_TRY(keep_statistics(t, g));
    return t->overlap ? GD_OK : gd__end_update(t, g);
}

gd_status gd__finish_reduction(gd_trainer *t, gd__arenas *a) {
    return a->exchange ? gd__end_exchange(t, a) : gd_reducer_finish(a->reducer);
}

/* Waits for the sum of all gradients; where it is made there, the device does. */
static gd_status end_reduction(gd_trainer *t, gd_group g) {
    double start = gd__seconds();
    gd__label(t, GD_PHASE_REDUCE, g);
    GD_TRY(gd__finish_reduction(t, &t->group[g]));
    t->group[g].pending = false;
    if (t->group[g].exchange) return gd__later_round(t, g);
    double seconds = gd__seconds() - start;
    t->now.reduce += seconds;
    gd_comm_waited(t->comm, seconds);
    return GD_OK;
}

void gd__note_update(gd_trainer *t, gd_group g, double norm, double lr) {
    set_metric(t, g == GD_GROUP_G ? "grad_norm_g" : "grad_norm_d", norm);
    set_metric(t, g == GD_GROUP_G ? "lr_g" : "lr_d", lr);
    if (!isfinite(norm)) t->now.skipped |= 1u << g;
}

/* Where all parameters are not there before they are shared, the average follows them behind that. */
static gd_status update_there(gd_trainer *t, gd_group g, const gd_optimizer_numbers *u, double clip_norm) {
    gd__arenas *a = &t->group[g];
    float decay = has_ema(t, g) ? ema_decay(t) : 0;
    GD_TRY(gd__update_there(t, g, u, decay, clip_norm));
    if (!t->sliced) return GD_OK;
    GD_TRY(share_params(t, a));
    return gd__move_average_there(t, a, decay);
}

/* Where the sum is: what the norm decides is decided there, and told later. */
static gd_status apply_there(gd_trainer *t, gd_group g, int64_t number, double clip) {
    const gd_optimizer_spec *o = &t->config.optimizer[g];
    const gd_optimizer_numbers u = gd_optimizer_numbers_of(o, t->plan.step, number, 1, clip);
    GD_TRY(update_there(t, g, &u, o->clip_norm));
    return gd__later_norm(t, g, gd_optimizer_lr(o, t->plan.step, number - 1));
}

/* All ranks have the same sum, and so the same norm: an update is made by all of them or by none. */
static gd_status apply(gd_trainer *t, gd_group g) {
    gd__arenas *a = &t->group[g];
    const gd_optimizer_spec *o = &t->config.optimizer[g];
    double norm = 0, clip = g == GD_GROUP_D ? t->config.weight_clip : 0;
    int64_t number = ++t->counters.updates[g]; /* made or not: plans count on it */
    if (t->there && a->count) return apply_there(t, g, number, clip);
    GD_TRY(norm_of(t, a, &norm));
    double scale = o->clip_norm > 0 && norm > o->clip_norm ? o->clip_norm / norm : 1;
    norm = usable(o, norm, scale);
    gd__note_update(t, g, norm, gd_optimizer_lr(o, t->plan.step, number - 1));
    if (!isfinite(norm)) return GD_OK;
    if (t->resident) {
        gd_optimizer_numbers u = gd_optimizer_numbers_of(o, t->plan.step, number, scale, clip);
        return update_there(t, g, &u, 0);
    }
    gd_optimizer_update(o, t->plan.step, number, scale, clip, a->last - a->first, a->param + a->first,
                        a->grad[0] + a->first, a->moment[0], a->moment[1]);
    GD_TRY(share_params(t, a));
    a->changed = true;
    if (has_ema(t, g)) move_average(a->ema, a->param, a->count, ema_decay(t));
    return GD_OK;
}

gd_status gd__end_update(gd_trainer *t, gd_group g) {
    double start = gd__seconds();
    GD_TRY(end_reduction(t, g));
    gd__label(t, GD_PHASE_UPDATE, g);
    double reduced = gd__seconds();
    GD_TRY(apply(t, g));
    double end = gd__seconds();
    t->now.optimizer += end - reduced;
    if (g == GD_GROUP_G) t->now.g_step += end - start;
    else t->now.d_step += end - start;
    t->mark += end - start; /* whoever runs a program meanwhile did not spend it there */
    return GD_OK;
}

bool gd__pending(const gd_trainer *t) { return t->group[GD_GROUP_G].pending || t->group[GD_GROUP_D].pending; }

gd_status gd__end_updates(gd_trainer *t, unsigned groups) {
    for (int g = GD_GROUP_COUNT - 1; g >= 0; g--)
        if (t->group[g].pending && groups >> g & 1) GD_TRY(gd__end_update(t, (gd_group)g));
    return GD_OK;
}
