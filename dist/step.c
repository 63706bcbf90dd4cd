/* dist/step.c -- one program run: a batch in, sums over shards served, gradients out.
 *
 * An update begins when the gradients are complete and ends when a program needs what it changes: until then the
 * exchange goes on beside the program (gd_train_config.overlap). What a program needs it says itself (gd_instance_hold).
 * At the end of an iteration the next one's first program may begin, as far as it needs nothing that is not there. */
#include <string.h>

#include "dist/trainer.h"
#include "dist/tree.h"

static gd_status copy_batch(gd_trainer *t, const gd_batch *b) {
    for (int p = 0; p < gd_dataset_parts(t->data); p++) {
        size_t bytes = (size_t)t->n * gd_sample_bytes(gd_dataset_shape(t->data, p));
        for (int64_t l = 0; l < t->local; l++) {
            memcpy(t->batch[p][l], (const char *)b->part[p] + (size_t)l * bytes, bytes);
            GD_TRY(gd__space_put(&t->space, t->batch[p][l], bytes));
        }
    }
    return GD_OK;
}

/* The next batch, cut into the local shards. Every rank leaves with one answer. */
static gd_status load_batch(gd_trainer *t) {
    gd_batch b = {.wait_s = 0};
    if (t->have_batch) return GD_OK;
    gd__label(t, GD_PHASE_DATA, -1);
    gd_status st = gd__fed(t) ? gd__feed_fetch(t, &b.wait_s) : gd_loader_next(t->loader, &b);
    double since = gd__seconds();
    st = gd_comm_agree(t->comm, st);
    t->now.idle += gd__seconds() - since;
    if (st != GD_OK) t->together = true;
    GD_TRY(st);
    GD_TRY(gd__fed(t) ? gd__feed_take(t) : copy_batch(t, &b));
    t->now.data += b.wait_s;
    gd_comm_worked(t->comm);
    t->have_batch = t->config.overfit_batch; /* the loader starts at 0 then: gd__open_loader */
    return GD_OK;
}

/* A part of a sum on the host, and the sum to where the part was. */
static gd_status fetch_part(gd_trainer *t, int64_t l, size_t n) {
    t->part[l] = t->pause[l].data;
    if (!gd__space_is_far(&t->space)) return GD_OK;
    float *to = t->staged + (size_t)l * t->staged_floats;
    t->part[l] = to;
    return t->space.executor->get(to, t->pause[l].data, n * sizeof *to);
}

static gd_status return_sum(gd_trainer *t, int64_t l, const float *sum, size_t n) {
    if (gd__space_is_far(&t->space)) return t->space.executor->put(t->pause[l].data, sum, n * sizeof *sum);
    if (l) memcpy(t->pause[l].data, sum, n * sizeof *sum);
    return GD_OK;
}

/* Every local shard waits with its part: the sum over all shards goes to each. */
static gd_status serve(gd_trainer *t) {
    const gd_pause *p = t->pause;
    double start = gd__seconds();
    size_t n = (size_t)p[0].count;
    float *sum = gd__space_is_far(&t->space) ? t->staged : p[0].data;
    for (int64_t l = 0; l < t->local; l++) {
        if (p[l].kind != GD_PAUSE_COLLECTIVE || p[l].count != p[0].count)
            GD_FAIL(INTERNAL, "%s: shards wait for different sums", p[0].name);
        GD_TRY(fetch_part(t, l, n));
    }
    GD_TRY(gd_comm_sum_parts_f32(t->comm, t->part, (int)t->local, n, sum));
    for (int64_t l = 0; l < t->local; l++) GD_TRY(return_sum(t, l, sum, n));
    double seconds = gd__seconds() - start;
    t->now.collective += seconds;
    gd_comm_waited(t->comm, seconds);
    return GD_OK;
}

/* Begins to update the groups whose gradients are complete at a pause (not done) or at the end of kind k. */
static gd_status end_of_phase(gd_trainer *t, gd_step_kind k, bool done, int64_t draw) {
    bool g_first = k == GD_STEP_GD_SHARED;
    if (k == GD_STEP_D || (k == GD_STEP_DG_SHARED && !done) || (g_first && done) || k == GD_STEP_BOTH)
        GD_TRY(gd__begin_update(t, GD_GROUP_D));
    if (k == GD_STEP_G || (k == GD_STEP_DG_SHARED && done) || (g_first && !done) || k == GD_STEP_BOTH)
        GD_TRY(gd__begin_update(t, GD_GROUP_G));
    if (g_first && !done) GD_TRY(gd__turn_pools(t, draw));
    return GD_OK;
}

/* What the plan says to the graphs. */
static gd_status set_controls(gd_trainer *t, const gd_step_plan *plan) {
    int64_t pick = t->config.gan.penalty.pick;
    t->controls.noise_std[0] = (float)plan->noise_std;
    t->controls.rate[0] = (float)plan->rate;
    for (int64_t i = 0; i < pick; i++) t->controls.pick[i] = i == plan->pick;
    return gd__space_put(&t->space, t->controls.noise_std, t->controls.bytes);
}

/* What a run may not touch now. Ahead of its iteration it also leaves all gradients as they are. */
static unsigned holds(const gd_trainer *t, bool ahead) {
    unsigned sets = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        bool pending = t->group[g].pending;
        if (pending) sets |= 1u << GD__SET_PARAMS(g);
        if (pending || ahead) sets |= 1u << GD__SET_GRADS(g);
    }
    return sets;
}

/* The groups that a hold is about. */
static unsigned groups_of(unsigned sets) {
    unsigned groups = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        if (sets & (1u << GD__SET_PARAMS(g) | 1u << GD__SET_GRADS(g))) groups |= 1u << g;
    return groups;
}

static unsigned pending_groups(const gd_trainer *t) {
    unsigned groups = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        if (t->group[g].pending) groups |= 1u << g;
    return groups;
}

static gd_status start_all(gd_trainer *t, const gd__kind_programs *p, int64_t draw, bool ahead) {
    const gd_executor *x = t->config.executor;
    unsigned sets = holds(t, ahead);
    if (!t->there) memcpy(t->buffer_before, t->buffer[0], t->buffer_count * sizeof(float));
    for (int64_t l = 1; l < t->local; l++) memcpy(t->buffer[l], t->buffer[0], t->buffer_count * sizeof(float));
    GD_TRY(gd__put_params(t));
    GD_TRY(gd__put_statistics(t));
    if (t->there) GD_TRY(gd__remember_statistics(t));
    for (int64_t l = 0; l < t->local; l++) {
        gd_run_args a = {.seed = gd__seed(t), .step = (uint64_t)draw, .sample = (uint64_t)((t->first + l) * t->n)};
        gd_instance_hold(p->instance[l], sets);
        GD_TRY(p->replay ? x->replay_start(p->replay[l], &a, &t->pause[l])
                         : gd_instance_start(p->instance[l], &a, &t->pause[l]));
    }
    return GD_OK;
}

static gd_status resume_all(gd_trainer *t, const gd__kind_programs *p, bool ahead) {
    const gd_executor *x = t->config.executor;
    unsigned sets = holds(t, ahead);
    GD_TRY(gd__put_params(t));
    for (int64_t l = 0; l < t->local; l++) {
        gd_instance_hold(p->instance[l], sets);
        GD_TRY(p->replay ? x->replay_resume(p->replay[l], &t->pause[l])
                         : gd_instance_resume(p->instance[l], &t->pause[l]));
    }
    return GD_OK;
}

/* What this rank hands over of each metric that this kind has; the others stay as they are. */
void gd__read_metrics(gd_trainer *t, const gd_program *p) {
    const gd_binding *b;
    int n = gd_program_bindings(p, &b);
    for (int i = 0; i < n; i++) {
        if (!b[i].is_output || strncmp(b[i].name, "metric:", 7)) continue;
        int m = gd__metric_index(t, b[i].name + 7);
        for (int64_t l = 0; l < t->local; l++)
            t->shard_value[l] = t->metric_value[((size_t)l * GD__METRICS_MAX + (size_t)m) * GD__UNIT];
        double sum = gd__tree_sum_f64(t->shard_value, (int)t->local, 1);
        if (t->handed == 1) t->measured[m] = sum;
        else memcpy(t->measured + m * t->handed, t->shard_value, (size_t)t->local * sizeof(double));
        gd__watch(t, m, sum);
    }
}

/* The network whose gradients a phase ends with; what both share goes to the first. */
static gd_group group_of(gd_step_kind k, bool done) {
    bool g = k == GD_STEP_G || (k == GD_STEP_DG_SHARED && done) || (k == GD_STEP_GD_SHARED && !done);
    return g ? GD_GROUP_G : GD_GROUP_D;
}

static gd_status collect_metrics(gd_trainer *t, gd_step_kind k, const gd_program *p) {
    if (t->there) return gd__later_metrics(t, group_of(k, true), p);
    GD_TRY(gd__space_get(&t->space, t->metric_value,
                         (size_t)t->local * GD__METRICS_MAX * GD__UNIT * sizeof *t->metric_value));
    gd__read_metrics(t, p);
    return GD_OK;
}

/* Adds to the time of that group. */
static void book(gd_trainer *t, gd_step_kind k, bool done) {
    double now = gd__seconds();
    if (group_of(k, done) == GD_GROUP_G) t->now.g_step += now - t->mark;
    else t->now.d_step += now - t->mark;
    t->mark = now;
}

static void label_compute(const gd_trainer *t, gd_step_kind k) {
    gd__label(t, GD_PHASE_COMPUTE, k == GD_STEP_D ? GD_GROUP_D : k == GD_STEP_G ? GD_GROUP_G : -1);
}

static const gd__kind_programs *programs_of(const gd_trainer *t, gd_step_kind k, int version) {
    return &t->kind[k][t->kind[k][version].program ? version : GD__PLAIN];
}

static gd_status begin(gd_trainer *t, const gd_step_plan *plan, const gd__kind_programs *p, gd_step_kind k,
                       int64_t draw, bool ahead) {
    t->mark = gd__seconds();
    if (gd_gan_step_reads(t->gan, k)) GD_TRY(load_batch(t));
    label_compute(t, k);
    GD_TRY(set_controls(t, plan));
    GD_TRY(start_all(t, p, draw, ahead));
    return gd__feed_ahead(t);
}

/* What a pause is for. */
static gd_status answer(gd_trainer *t, gd_step_kind k, int64_t draw) {
    switch (t->pause[0].kind) {
    case GD_PAUSE_COLLECTIVE: return serve(t);
    case GD_PAUSE_HELD:
        GD_TRY(gd__end_updates(t, groups_of(t->pause[0].held)));
        label_compute(t, k);
        return GD_OK;
    default:
        GD_TRY(end_of_phase(t, k, false, draw));
        book(t, k, false);
        label_compute(t, k);
        return GD_OK;
    }
}

gd_status gd__run_program(gd_trainer *t, gd_step_kind k, int version, int64_t draw) {
    const gd__kind_programs *p = programs_of(t, k, version);
    if (t->ahead) t->mark = gd__seconds() - t->ahead_seconds;
    else GD_TRY(begin(t, &t->plan, p, k, draw, false));
    t->ahead = false;
    while (t->pause[0].kind != GD_PAUSE_DONE) {
        GD_TRY(answer(t, k, draw));
        GD_TRY(resume_all(t, p, false));
    }
    GD_TRY(gd__feed_ahead(t)); /* where it was not decoded yet at the start: from here on the host may wait */
    GD_TRY(collect_metrics(t, k, p->program));
    gd_comm_worked(t->comm);
    GD_TRY(end_of_phase(t, k, true, draw));
    book(t, k, true);
    return GD_OK;
}

gd_status gd__run_ahead(gd_trainer *t, const gd_step_plan *plan, gd_step_kind k, int version, int64_t draw) {
    const gd__kind_programs *p = programs_of(t, k, version);
    GD_TRY(begin(t, plan, p, k, draw, true));
    t->ahead = true;
    while (gd__pending(t)) {
        const gd_pause *pause = &t->pause[0];
        if (pause->kind == GD_PAUSE_COLLECTIVE) {
            GD_TRY(serve(t));
        } else {
            /* Gradients of a group that is not pending are held as well: then the run ahead ends here. */
            unsigned groups = pause->kind == GD_PAUSE_HELD ? groups_of(pause->held) & pending_groups(t) : 0;
            GD_TRY(gd__end_updates(t, groups ? groups : ~0u));
            label_compute(t, k);
            if (pause->kind != GD_PAUSE_HELD) break;
        }
        if (gd__pending(t)) GD_TRY(resume_all(t, p, true));
    }
    t->ahead_seconds = gd__seconds() - t->mark;
    return GD_OK;
}
