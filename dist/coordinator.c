#include "dist/coordinator.h"

/* Critic updates of iteration `step`. WGAN's code counts generator iterations from 0: bursts in the
 * first `warmup_steps` and in every `warmup_every`-th. */
static int64_t d_steps_of(const gd_schedule_spec *s, int64_t step) {
    int64_t done = step - 1;
    bool burst = done < s->warmup_steps || (s->warmup_every > 0 && done % s->warmup_every == 0);
    return burst && s->warmup_d_steps > 0 ? s->warmup_d_steps : s->d_steps;
}

static bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

gd_step_plan gd_plan_make(const gd_plan_rules *r, const gd_counters *start) {
    const gd_schedule_spec *s = &r->schedule;
    gd_step_plan p = {.step = start->step + 1, .d_steps = 1, .g_steps = 1, .start = *start};
    bool last = p.step >= r->until;
    if (!s->simultaneous) {
        p.d_steps = d_steps_of(s, p.step);
        p.g_steps = s->g_steps;
    }
    if (last || due(p.step, r->save_every)) p.flags |= GD_PLAN_SAVE;
    if (last || due(p.step, r->log_every)) p.flags |= GD_PLAN_LOG;
    if (due(p.step, r->sample_every) || (last && r->sample_every > 0)) p.flags |= GD_PLAN_SAMPLE;
    if (due(p.step, r->check_every)) p.flags |= GD_PLAN_CHECK;
    if (last) p.flags |= GD_PLAN_STOP;
    for (int g = 0; g < GD_GROUP_COUNT; g++) p.lr[g] = gd_optimizer_lr(&r->optimizer[g], p.step, start->updates[g]);
    return p;
}

int64_t gd_plan_programs(const gd_step_plan *p, const gd_schedule_spec *s) {
    if (s->simultaneous) return 1;
    return p->d_steps + p->g_steps - (s->share_fake ? 1 : 0);
}

gd_step_kind gd_plan_kind(const gd_step_plan *p, const gd_schedule_spec *s, int64_t i) {
    if (s->simultaneous) return GD_STEP_BOTH;
    if (s->share_fake && i == p->d_steps - 1) return GD_STEP_DG_SHARED;
    return i < p->d_steps ? GD_STEP_D : GD_STEP_G;
}

gd_counters gd_plan_after(const gd_step_plan *p, const gd_plan_rules *r) {
    gd_counters c = p->start;
    int64_t programs = gd_plan_programs(p, &r->schedule);
    c.step = p->step;
    c.updates[GD_GROUP_D] += p->d_steps;
    c.updates[GD_GROUP_G] += p->g_steps;
    c.cursor += (uint64_t)(p->d_steps * r->global_batch); /* only programs that train D read real samples */
    c.draws += (uint64_t)programs;
    return c;
}
