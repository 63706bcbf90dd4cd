#include "dist/coordinator.h"

#include "base/rng.h"

/* Critic updates of iteration `step`. WGAN's code counts generator iterations from 0: bursts in the
 * first `warmup_steps` and in every `warmup_every`-th. */
static int64_t d_steps_of(const gd_schedule_spec *s, const gd_counters *start) {
    int64_t done = start->step;
    bool burst = done < s->warmup_steps || (s->warmup_every > 0 && done % s->warmup_every == 0);
    if (burst && s->warmup_d_steps > 0) return s->warmup_d_steps;
    return start->adaptive.d_steps > 0 ? start->adaptive.d_steps : s->d_steps;
}

static bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

/* From start to end over `steps` iterations, then end. */
static double noise_at(const gd_schedule_spec *s, int64_t done) {
    if (done >= s->noise.steps) return s->noise.end;
    return s->noise.start + (s->noise.end - s->noise.start) * (double)done / (double)s->noise.steps;
}

static uint32_t flags_of(const gd_plan_rules *r, int64_t step) {
    uint32_t flags = 0;
    bool last = step >= r->until;
    if (last || due(step, r->save_every)) flags |= GD_PLAN_SAVE;
    if (last || due(step, r->log_every)) flags |= GD_PLAN_LOG;
    if (due(step, r->sample_every) || (last && r->sample_every > 0)) flags |= GD_PLAN_SAMPLE;
    if (due(step, r->check_every)) flags |= GD_PLAN_CHECK;
    if (due(step, r->look_every)) flags |= GD_PLAN_LOOK;
    return last ? flags | GD_PLAN_STOP : flags;
}

static void plan_updates(const gd_plan_rules *r, gd_step_plan *p) {
    const gd_schedule_spec *s = &r->schedule;
    p->d_steps = p->g_steps = 1;
    if (!s->simultaneous) {
        p->d_steps = d_steps_of(s, &p->start);
        p->g_steps = s->g_steps;
    }
    if (r->no_g) p->g_steps = 0;
    if (s->alternate > 0) { /* D begins */
        bool d = p->start.step / s->alternate % 2 == 0;
        if (d) p->g_steps = 0;
        else p->d_steps = 0;
    }
}

gd_step_plan gd_plan_make(const gd_plan_rules *r, const gd_counters *start) {
    const gd_schedule_spec *s = &r->schedule;
    gd_step_plan p = {.step = start->step + 1, .start = *start};
    plan_updates(r, &p);
    p.flags = flags_of(r, p.step);
    p.noise_std = noise_at(s, start->step);
    p.rate = start->step < s->rate.steps ? s->rate.start : s->rate.end;
    if (r->pick > 1) {
        gd_rng rng = {.seed = r->seed, .purpose = GD_PURPOSE_SUBSET, .step = (uint64_t)start->step};
        p.pick = (int64_t)gd_rng_below(&rng, 0, (uint64_t)r->pick);
    }
    return p;
}

/* The program that serves both groups, if the plan has one. */
static bool shares(const gd_step_plan *p, const gd_schedule_spec *s) {
    return s->share_fake && p->d_steps > 0 && p->g_steps > 0;
}

int64_t gd_plan_programs(const gd_step_plan *p, const gd_schedule_spec *s) {
    if (s->simultaneous && p->g_steps) return 1;
    return p->d_steps + p->g_steps - (shares(p, s) ? 1 : 0);
}

gd_step_kind gd_plan_kind(const gd_step_plan *p, const gd_schedule_spec *s, int64_t i) {
    if (s->simultaneous && p->g_steps) return GD_STEP_BOTH;
    if (shares(p, s) && s->g_first && i == 0) return GD_STEP_GD_SHARED;
    if (shares(p, s) && !s->g_first && i == p->d_steps - 1) return GD_STEP_DG_SHARED;
    return i < p->d_steps ? GD_STEP_D : GD_STEP_G;
}

/* Every program before one that trains D trains D, too: that of program i is update number i of this plan. */
bool gd_plan_penalised(const gd_step_plan *p, const gd_plan_rules *r, int64_t i) {
    if (gd_plan_kind(p, &r->schedule, i) == GD_STEP_G) return false;
    return r->penalty_every <= 1 || (p->start.updates[GD_GROUP_D] + i) % r->penalty_every == 0;
}

gd_counters gd_plan_after(const gd_step_plan *p, const gd_plan_rules *r) {
    gd_counters c = p->start;
    int64_t programs = gd_plan_programs(p, &r->schedule);
    c.step = p->step;
    c.updates[GD_GROUP_D] += p->d_steps;
    c.updates[GD_GROUP_G] += p->g_steps;
    for (int64_t i = 0; i < programs; i++)
        if (r->reads[gd_plan_kind(p, &r->schedule, i)]) c.cursor += (uint64_t)r->global_batch;
    c.draws += (uint64_t)programs;
    c.adaptive.d_steps = c.adaptive.next;
    return c;
}
