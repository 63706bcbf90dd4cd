/* dist/estimate.c -- what a run would cost, from the same layout and programs, without its memory. */
#include <stdlib.h>

#include "dist/trainer.h"

static void count_state(const gd_trainer *t, gd_train_cost *out) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        size_t bytes = t->group[g].count * sizeof(float);
        out->param_bytes += bytes;
        out->grad_bytes += bytes * (size_t)t->local;
        out->optimizer_bytes += bytes * (size_t)gd_optimizer_moments(&t->config.optimizer[g]);
        if (g == GD_GROUP_G && t->config.ema_decay > 0) out->ema_bytes += bytes + t->buffer_count * sizeof(float);
        out->reduce_bytes[g] = bytes;
    }
    out->param_bytes += t->buffer_count * sizeof(float) * (size_t)t->local;
    for (int i = 0; i < t->n_slots; i++)
        if (!t->slot[i].info->buffer) out->params[t->slot[i].group] += (int64_t)t->slot[i].count;
}

/* Rank 0 also samples, on the memory of its first shard if that is large enough. */
static gd_status count_sampler(const gd_trainer *t, size_t *arena, gd_train_cost *out) {
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    gd_program *p;
    GD_TRY(gd__make_sampler(t, &p));
    gd_program_stats s = gd_program_get_stats(p);
    gd_program_free(p);
    if (s.arena_bytes > *arena) *arena = s.arena_bytes;
    out->activation_bytes += s.shared_bytes + GD__SAMPLER_BATCH * sizeof(float) *
                                                  (size_t)(g->latent + g->height * g->width_px * g->channels);
    return GD_OK;
}

static gd_status count_programs(const gd_trainer *t, gd_train_cost *out) {
    gd_plan_rules rules = {
        .schedule = t->config.schedule, .global_batch = t->config.gan.global_batch, .until = INT64_MAX};
    gd_counters usual = {.step = t->config.schedule.warmup_steps + 1}; /* no burst */
    gd_step_plan plan = gd_plan_make(&rules, &usual);
    size_t arena = 0;
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        gd_program *p;
        int64_t times = 0;
        if (!gd__kind_needed(&t->config.schedule, (gd_step_kind)k)) continue;
        for (int64_t i = 0; i < gd_plan_programs(&plan, &rules.schedule); i++)
            times += gd_plan_kind(&plan, &rules.schedule, i) == (gd_step_kind)k;
        GD_TRY(gd__make_program(t, (gd_step_kind)k, &p));
        gd_program_stats s = gd_program_get_stats(p);
        gd_program_free(p);
        if (s.arena_bytes > arena) arena = s.arena_bytes;
        out->activation_bytes += s.shared_bytes;
        out->flops += s.flops * (double)(times * t->local);
        out->collective_bytes += s.collective_bytes * (size_t)times;
    }
    GD_TRY(count_sampler(t, &arena, out));
    out->activation_bytes += arena * (size_t)t->local;
    return GD_OK;
}

static gd_status estimate(gd_trainer *t, int ranks, gd_train_cost *out) {
    GD_TRY(gd_gan_new(&t->config.gan, &t->gan));
    GD_TRY(gd__divide(t, ranks, 0));
    GD_TRY(gd__layout_state(t));
    count_state(t, out);
    GD_TRY(count_programs(t, out));
    /* Batches ahead, the one in use, and each shard's copy. */
    size_t batch = (size_t)(t->n * t->local) * gd_sample_bytes(gd_dataset_shape(t->data, 0));
    size_t ahead = (size_t)(t->config.loader_depth > 0 ? t->config.loader_depth : 2) + 1;
    out->loader_bytes = batch * (ahead + 1);
    out->total_bytes = out->param_bytes + out->grad_bytes + out->optimizer_bytes + out->ema_bytes +
                       out->activation_bytes + out->loader_bytes;
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
