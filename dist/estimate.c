/* dist/estimate.c -- what a run would cost, from the same layout and programs, without its memory. */
#include <stdlib.h>

#include "dist/trainer.h"

/* Floats of each moment of a group that a rank keeps: of the rank with the largest slice. */
static size_t moment_floats(const gd_trainer *t, int g, int ranks) {
    return gd__largest_slice(t->group[g].count, t->config.shard_optimizer ? ranks : 1);
}

/* Rank 0 stands for all: it is made the one with the largest slice. */
static void divide(gd_trainer *t, int ranks) {
    gd__divide_arenas(t, ranks, 0);
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        t->group[g].first = 0;
        t->group[g].last = moment_floats(t, g, ranks);
    }
}

static void count_state(const gd_trainer *t, int ranks, gd_train_cost *out) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        size_t bytes = t->group[g].count * sizeof(float);
        out->param_bytes += bytes;
        out->grad_bytes += bytes * (size_t)t->local;
        size_t moments = (size_t)gd_optimizer_moments(&t->config.optimizer[g]);
        out->optimizer_bytes += moments * moment_floats(t, g, ranks) * sizeof(float);
        if (g == GD_GROUP_G && t->config.ema_decay > 0) out->ema_bytes += bytes + t->buffer_count * sizeof(float);
        out->reduce_bytes[g] = bytes;
    }
    out->param_bytes += t->buffer_count * sizeof(float) * (size_t)t->local;
    for (int i = 0; i < t->n_slots; i++)
        if (!t->slot[i].info->buffer) out->params[t->slot[i].group] += (int64_t)t->slot[i].count;
}

/* The share of one rank in the copy of the state that is written in the background; moments that are divided over
 * ranks are copied in any case. */
static size_t snapshot_bytes(const gd_trainer *t, size_t ranks) {
    gd_shape image;
    size_t pools = (size_t)gd_gan_pools(t->gan, &image) * (size_t)gd_shape_count(image), sum = 0;
    bool wait = t->config.checkpoint_wait;
    if (wait && (!t->config.shard_optimizer || ranks == 1)) return 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        bool ema = g == GD_GROUP_G && t->config.ema_decay > 0;
        sum += t->group[g].count * (size_t)((wait ? 0 : 1 + ema) + gd_optimizer_moments(&t->config.optimizer[g]));
    }
    if (wait) return sum * sizeof(float) / ranks;
    sum += t->buffer_count * (t->config.ema_decay > 0 ? 2 : 1) + pools * (size_t)t->config.pool_size;
    return sum * sizeof(float) / ranks;
}

/* Of all programs of a rank: the largest arena, and the most floats that one sums over shards. */
typedef struct room {
    size_t arena, sums;
} room;

static void make_room(room *r, const gd_program_stats *s) {
    if (s->arena_bytes > r->arena) r->arena = s->arena_bytes;
    if (s->collective_bytes > r->sums) r->sums = s->collective_bytes;
}

/* Rank 0 also samples, on the memory of its first shard if that is large enough. */
static gd_status count_sampler(const gd_trainer *t, room *r, gd_train_cost *out) {
    size_t in, made;
    for (int d = 0; d < 2; d++) {
        gd_program *p;
        GD_TRY(gd__make_sampler(t, d, &p));
        if (!p) continue;
        gd_program_stats s = gd_program_get_stats(p);
        gd_program_free(p);
        make_room(r, &s);
        out->activation_bytes += s.shared_bytes;
    }
    gd__sampler_room(t, &in, &made);
    out->activation_bytes += (in + made) * sizeof(float) + gd__looks_bytes(t);
    return GD_OK;
}

/* Two pools' images, what the local shards make and get of them, and, where they are turned on the host, one gathered batch. */
static size_t pool_bytes(const gd_trainer *t, int ranks, size_t *gathered) {
    gd_shape image;
    size_t pools = (size_t)gd_gan_pools(t->gan, &image), bytes = (size_t)gd_shape_count(image) * sizeof(float);
    size_t batch = (size_t)t->config.gan.global_batch, local = (size_t)(t->local * t->n);
    *gathered = pools * batch * bytes;
    if (!pools) return 0;
    size_t images = pools * ((size_t)t->config.pool_size + 2 * local);
    return (images + (gd__pools_are_there(t, ranks) ? 0 : batch + local)) * bytes;
}

/* Programs of one usual iteration: how often kind k runs; a penalty in every n-th counts for its share. */
static double times_of(const gd_trainer *t, const gd_plan_rules *rules, const gd_step_plan *plan, gd_step_kind k,
                       int version) {
    double times = 0, every = (double)rules->penalty_every;
    for (int64_t i = 0; i < gd_plan_programs(plan, &rules->schedule); i++)
        times += gd_plan_kind(plan, &rules->schedule, i) == k;
    if (!gd__kind_needed(t, k, GD__PENALISED)) return times;
    return version == GD__PENALISED ? times / every : times * (every - 1) / every;
}

static gd_status count_programs(const gd_trainer *t, int ranks, room *r, gd_train_cost *out) {
    gd_plan_rules rules = {.schedule = t->config.schedule,
                           .global_batch = t->config.gan.global_batch,
                           .penalty_every = t->config.gan.penalty.every,
                           .no_g = t->config.gan.topology == GD_TOPOLOGY_CLASSIFIER,
                           .until = INT64_MAX};
    rules.schedule.alternate = 0;
    gd_counters usual = {.step = t->config.schedule.warmup_steps + 1}; /* no burst */
    gd_step_plan plan = gd_plan_make(&rules, &usual);
    size_t gathered;
    for (int kv = 0; kv < GD_STEP_KIND_COUNT * GD__VERSIONS; kv++) {
        gd_step_kind k = (gd_step_kind)(kv / GD__VERSIONS);
        int version = kv % GD__VERSIONS;
        gd_program *p;
        if (!gd__kind_needed(t, k, version)) continue;
        double times = times_of(t, &rules, &plan, k, version);
        GD_TRY(gd__make_program(t, k, version, &p));
        gd_program_stats s = gd_program_get_stats(p);
        gd_program_free(p);
        make_room(r, &s);
        out->activation_bytes += s.shared_bytes;
        out->flops += s.flops * times * (double)t->local;
        out->collective_bytes += (size_t)((double)s.collective_bytes * times);
    }
    out->loader_bytes += pool_bytes(t, ranks, &gathered);
    out->collective_bytes += gathered;
    return count_sampler(t, r, out);
}

/* Batches ahead, the one in use, and each shard's copy. */
static size_t batch_bytes(const gd_trainer *t) {
    size_t sample = 0, ahead = (size_t)(t->config.loader_depth > 0 ? t->config.loader_depth : 2) + 1;
    for (int p = 0; p < gd_dataset_parts(t->data); p++) sample += gd_sample_bytes(gd_dataset_shape(t->data, p));
    if (t->config.executor->feed_new) ahead = 0; /* in pinned memory */
    return (size_t)(t->n * t->local) * sample * (ahead + 1);
}

static gd_status estimate(gd_trainer *t, int ranks, gd_train_cost *out) {
    room r = {0};
    GD_TRY(gd_gan_new(&t->config.gan, &t->gan));
    GD_TRY(gd__divide(t, ranks, 0));
    GD_TRY(gd__layout_state(t));
    divide(t, ranks);
    count_state(t, ranks, out);
    GD_TRY(count_programs(t, ranks, &r, out));
    bool far = t->config.executor->alloc != NULL; /* then of sums alone there is room on the host, if they come there */
    if (far && t->there && ranks > 1) r.sums = 0;
    out->activation_bytes += (far ? r.sums : r.arena) * (size_t)t->local;
    if (far) GD_TRY(gd__count_there(t, ranks, r.arena, &out->there));
    out->loader_bytes += batch_bytes(t);
    out->snapshot_bytes = snapshot_bytes(t, (size_t)ranks);
    out->total_bytes = out->param_bytes + out->grad_bytes + out->optimizer_bytes + out->ema_bytes +
                       out->activation_bytes + out->loader_bytes + out->snapshot_bytes + out->there.pinned_bytes;
    return GD_OK;
}

gd_status gd_train_estimate(const gd_train_config *c, const gd_dataset *d, int ranks, gd_train_cost *out) {
    *out = (gd_train_cost){0};
    gd_trainer *t = calloc(1, sizeof *t);
    if (!t || !(t->arena = gd_arena_new())) {
        free(t);
        GD_FAIL(NOMEM, "estimate: no memory");
    }
    t->config = *c;
    t->data = d;
    gd_status st = estimate(t, ranks, out);
    gd_gan_free(t->gan);
    gd_arena_free(t->arena);
    free(t);
    return st;
}
