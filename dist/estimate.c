/* dist/estimate.c -- what a run would cost, from the same layout and programs, without its memory. */
#include <stdlib.h>

#include "dist/trainer.h"

/* Floats of each moment of a group that a rank keeps: of the rank with the largest slice. */
static size_t moment_floats(const gd_trainer *t, int g, int ranks) {
    return gd__largest_slice(t->group[g].count, t->config.shard_optimizer ? ranks : 1);
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

/* Rank 0 also samples, on the memory of its first shard if that is large enough. */
static gd_status count_sampler(const gd_trainer *t, size_t *arena, gd_train_cost *out) {
    size_t in, made;
    for (int d = 0; d < 2; d++) {
        gd_program *p;
        GD_TRY(gd__make_sampler(t, d, &p));
        if (!p) continue;
        gd_program_stats s = gd_program_get_stats(p);
        gd_program_free(p);
        if (s.arena_bytes > *arena) *arena = s.arena_bytes;
        out->activation_bytes += s.shared_bytes;
    }
    gd__sampler_room(t, &in, &made);
    out->activation_bytes += (in + made) * sizeof(float) + gd__looks_bytes(t);
    return GD_OK;
}

/* Two pools' images, what the local shards make and get of them, and one gathered batch. */
static size_t pool_bytes(const gd_trainer *t, size_t *gathered) {
    gd_shape image;
    size_t pools = (size_t)gd_gan_pools(t->gan, &image), floats = (size_t)gd_shape_count(image);
    size_t batch = (size_t)t->config.gan.global_batch, local = (size_t)(t->local * t->n);
    *gathered = pools * batch * floats * sizeof(float);
    if (!pools) return 0;
    return (pools * ((size_t)t->config.pool_size + 2 * local) + batch + local) * floats * sizeof(float);
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

static gd_status count_programs(const gd_trainer *t, gd_train_cost *out) {
    gd_plan_rules rules = {.schedule = t->config.schedule,
                           .global_batch = t->config.gan.global_batch,
                           .penalty_every = t->config.gan.penalty.every,
                           .no_g = t->config.gan.topology == GD_TOPOLOGY_CLASSIFIER,
                           .until = INT64_MAX};
    rules.schedule.alternate = 0;
    gd_counters usual = {.step = t->config.schedule.warmup_steps + 1}; /* no burst */
    gd_step_plan plan = gd_plan_make(&rules, &usual);
    size_t arena = 0, gathered;
    for (int kv = 0; kv < GD_STEP_KIND_COUNT * GD__VERSIONS; kv++) {
        gd_step_kind k = (gd_step_kind)(kv / GD__VERSIONS);
        int version = kv % GD__VERSIONS;
        gd_program *p;
        if (!gd__kind_needed(t, k, version)) continue;
        double times = times_of(t, &rules, &plan, k, version);
        GD_TRY(gd__make_program(t, k, version, &p));
        gd_program_stats s = gd_program_get_stats(p);
        gd_program_free(p);
        if (s.arena_bytes > arena) arena = s.arena_bytes;
        out->activation_bytes += s.shared_bytes;
        out->flops += s.flops * times * (double)t->local;
        out->collective_bytes += (size_t)((double)s.collective_bytes * times);
    }
    out->loader_bytes += pool_bytes(t, &gathered);
    out->collective_bytes += gathered;
    GD_TRY(count_sampler(t, &arena, out));
    out->activation_bytes += arena * (size_t)t->local;
    return GD_OK;
}

static gd_status estimate(gd_trainer *t, int ranks, gd_train_cost *out) {
    GD_TRY(gd_gan_new(&t->config.gan, &t->gan));
    GD_TRY(gd__divide(t, ranks, 0));
    GD_TRY(gd__layout_state(t));
    count_state(t, ranks, out);
    GD_TRY(count_programs(t, out));
    /* Batches ahead, the one in use, and each shard's copy. */
    size_t sample = 0;
    for (int p = 0; p < gd_dataset_parts(t->data); p++) sample += gd_sample_bytes(gd_dataset_shape(t->data, p));
    size_t batch = (size_t)(t->n * t->local) * sample;
    size_t ahead = (size_t)(t->config.loader_depth > 0 ? t->config.loader_depth : 2) + 1;
    out->loader_bytes += batch * (ahead + 1);
    out->snapshot_bytes = snapshot_bytes(t, (size_t)ranks);
    out->total_bytes = out->param_bytes + out->grad_bytes + out->optimizer_bytes + out->ema_bytes +
                       out->activation_bytes + out->loader_bytes + out->snapshot_bytes;
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
