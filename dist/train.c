/* dist/train.c -- making a trainer, and the loop. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dist/trainer.h"

/* ---- making ---- */

/* What every rank knows by itself; the metrics of the programs come after them. */
static gd_status add_own_metrics(gd_trainer *t) {
    static const char *const names[] = {"grad_norm_d", "grad_norm_g", "lr_d", "lr_g", "d_steps", "adaptive"};
    size_t count = t->config.schedule.adaptive.kind == GD_ADAPTIVE_NONE ? 4 : 6;
    int index;
    for (size_t i = 0; i < count; i++) GD_TRY(gd__add_metric(t, names[i], &index));
    for (int d = 0; d < GD_WATCH_DIRECTIONS; d++)
        if (gd__spread_metric(t, d)) GD_TRY(gd__add_metric(t, gd__spread_metric(t, d), &index));
    t->n_own = t->n_metrics;
    return GD_OK;
}

static gd_status check_config(const gd_train_config *c) {
    if (c->executor->element_bytes(GD_F32) != sizeof(float))
        GD_FAIL(UNSUP, "executor %s computes in another type than training states are kept in; use cpu",
                c->executor->name);
    return GD_OK;
}

/* What needs no other rank. */
static gd_status prepare(gd_trainer *t) {
    GD_TRY(check_config(&t->config));
    t->arena = gd_arena_new();
    if (!t->arena) GD_FAIL(NOMEM, "trainer: no memory");
    t->space.executor = t->config.executor;
    GD_TRY(gd__divide(t, gd_comm_size(t->comm), gd_comm_rank(t->comm)));
    GD_TRY(gd_gan_new(&t->config.gan, &t->gan));
    GD_TRY(gd__layout_state(t));
    GD_TRY(add_own_metrics(t));
    t->data_fingerprint = gd_dataset_fingerprint(t->data);
    t->overlap = t->config.overlap && gd_comm_size(t->comm) > 1;
    return GD_OK;
}

static gd_status build(gd_trainer *t) {
    GD_TRY(gd__make_programs(t));
    GD_TRY(gd__make_control(t));
    if (gd_comm_rank(t->comm) == 0) GD_TRY(gd__open_sampler(t));
    GD_TRY(gd__open_looks(t));
    gd__initialise_state(t);
    GD_TRY(gd__make_view(t));
    return gd__open_writer(t);
}

gd_status gd_trainer_new(gd_comm *comm, const gd_train_config *c, const gd_dataset *d, const gd_train_hooks *h,
                         gd_trainer **out) {
    gd_trainer *t = calloc(1, sizeof *t);
    gd_status st = t ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "trainer: no memory");
    if (t) {
        t->comm = comm;
        t->config = *c;
        t->data = d;
        t->hooks = *h;
        st = prepare(t);
    }
    st = gd_comm_agree(comm, st);
    if (st == GD_OK) st = gd__allocate_state(t);
    if (st == GD_OK) st = gd_comm_agree(comm, build(t));
    if (st == GD_OK) st = gd__open_statistics(t);
    if (st == GD_OK) st = gd__keep_set(t);
    if (st == GD_OK) st = gd_comm_agree(comm, gd__open_loader(t));
    if (st == GD_OK) st = gd__hash_moments(t);
    if (st == GD_OK) {
        t->well = true;
        *out = t;
    } else gd_trainer_free(t);
    return st;
}

void gd_trainer_free(gd_trainer *t) {
    if (!t) return;
    gd__drop_late(t);
    free(t->late);
    if (!t->well) gd__close_exchanges(t); /* before anything waits for steps that wait for other ranks */
    gd_writer_free(t->writer);
    gd__close_feeds(t);
    gd_loader_close(t->loader);
    gd__free_kept(t);
    gd__free_looks(t);
    gd__free_programs(t);
    gd__free_state(t);
    gd__space_close(&t->space);
    gd__close_exchanges(t);
    gd_gan_free(t->gan);
    gd_arena_free(t->arena);
    gd__free_control(t);
    free(t);
}

int64_t gd_trainer_step(const gd_trainer *t) { return t->counters.step; }
const gd_gan *gd_trainer_gan(const gd_trainer *t) { return t->gan; }

/* ---- one iteration ---- */

static int version_of(const gd_step_plan *plan, const gd_plan_rules *rules, int64_t i) {
    return gd_plan_penalised(plan, rules, i) ? GD__PENALISED : GD__PLAIN;
}

static gd_status run_plan(gd_trainer *t, const gd_plan_rules *rules) {
    const gd_schedule_spec *s = &t->config.schedule;
    t->now = (gd__measured){0};
    gd__drop_late(t); /* of an iteration that ended with an error */
    for (int m = 0; m < t->n_metrics * t->handed; m++) t->measured[m] = NAN;
    int64_t programs = gd_plan_programs(&t->plan, s);
    for (int64_t i = 0; i < programs; i++)
        GD_TRY(gd__run_program(t, gd_plan_kind(&t->plan, s, i), version_of(&t->plan, rules, i),
                               (int64_t)t->plan.start.draws + i));
    return GD_OK;
}

static gd_status learn_next(gd_trainer *t) {
    if (!t->next_known) GD_TRY(gd_comm_ibcast_finish(t->comm));
    t->next_known = true;
    return GD_OK;
}

/* Samples are made in the memory of programs. */
static bool may_run_ahead(const gd_trainer *t) {
    return gd__pending(t) && !(t->plan.flags & (GD_PLAN_STOP | GD_PLAN_SAMPLE | GD_PLAN_LOOK));
}

/* All updates end in their iteration, and what they measured is known; the next one may have begun by then. */
static gd_status end_updates(gd_trainer *t, const gd_plan_rules *rules) {
    if (may_run_ahead(t)) {
        gd__label(t, GD_PHASE_CONTROL, -1);
        GD_TRY(learn_next(t));
        GD_TRY(gd__run_ahead(t, &t->next, gd_plan_kind(&t->next, &t->config.schedule, 0),
                             version_of(&t->next, rules, 0), (int64_t)t->next.start.draws));
    }
    GD_TRY(gd__end_updates(t, ~0u));
    return gd__take_late(t);
}

static void keep_times(gd_trainer *t, const gd__control *c) {
    const double now[GD__TIMES] = {t->now.d_step,    t->now.g_step, t->now.reduce, t->now.collective,
                                   t->now.optimizer, t->now.data,   c->seconds};
    for (int k = 0; k < GD__TIMES; k++) t->times[k][t->n_times % GD__TIMES_MAX] = (float)now[k];
    t->n_times++;
    t->log_seconds += c->seconds;
    t->log_wait += c->data;
    t->log_comm += c->comm;
    t->log_iterations++;
}

/* ---- what follows an iteration ---- */

static gd_status tell_metrics(gd_trainer *t, const gd__control *c) {
    double now = gd__seconds(), n = (double)t->log_iterations;
    gd_metrics m = {.step = t->counters.step,
                    .images = t->counters.cursor,
                    .count = t->n_metrics,
                    .name = t->metric,
                    .value = c->metric,
                    .seconds = t->log_seconds / n,
                    .data_wait_s = t->log_wait / n,
                    .exposed_comm_s = t->log_comm / n};
    m.images_per_s = (double)(t->counters.cursor - t->log_cursor) / (now - t->log_started);
    t->log_started = now;
    t->log_cursor = t->counters.cursor;
    t->log_seconds = t->log_wait = t->log_comm = 0;
    t->log_iterations = 0;
    return t->hooks.on_metrics ? t->hooks.on_metrics(t->hooks.ctx, &m) : GD_OK;
}

/* Rank 0 reports; a report that fails ends the run on all ranks. */
static gd_status report(gd_trainer *t, const gd__control *c) {
    gd_status st = GD_OK;
    if (!(t->plan.flags & (GD_PLAN_LOG | GD_PLAN_SAMPLE))) return GD_OK;
    gd__label(t, GD_PHASE_REPORT, -1);
    if (gd_comm_rank(t->comm) == 0) {
        if (t->plan.flags & GD_PLAN_LOG) st = tell_metrics(t, c);
        if (st == GD_OK && (t->plan.flags & GD_PLAN_SAMPLE) && t->hooks.on_samples)
            st = t->hooks.on_samples(t->hooks.ctx, t->counters.step);
    }
    return gd_comm_agree(t->comm, st);
}

/* Wishes: 1 save and go on, 2 save and leave, 3 leave. */
static gd_status finish_iteration(gd_trainer *t, const gd__control *c) {
    bool at_once = c->wish == 3, last = t->plan.flags & GD_PLAN_STOP;
    bool saving = !at_once && (t->plan.flags & GD_PLAN_SAVE || c->wish);
    GD_TRY(report(t, c));
    gd__label(t, GD_PHASE_COMPARE, -1);
    if (saving || t->plan.flags & GD_PLAN_CHECK) GD_TRY(gd__check_replicas(t));
    gd__label(t, GD_PHASE_SAVE, -1);
    GD_TRY(gd_writer_advance(t->writer, c->writer));
    GD_TRY(gd__heed_save(t));
    if (saving) GD_TRY(gd__save(t, last || c->wish == 2));
    if (c->wish > 1) GD_TRY(gd__hash_moments(t)); /* of the state that is left */
    if (at_once)
        GD_FAIL(REQUEUE, "step %lld: left on request without saving; start again to go on from the last checkpoint",
                (long long)t->counters.step);
    if (c->wish == 2 && !last)
        GD_FAIL(REQUEUE, "step %lld: saved on request; start again to go on", (long long)t->counters.step);
    return GD_OK;
}

/* What the schedule adapts to, over all ranks; NaN: not measured. */
static double adaptive_value(const gd_trainer *t, const gd__control *c) {
    int accuracy = gd__metric_index(t, "d_accuracy");
    switch (t->config.schedule.adaptive.kind) {
    case GD_ADAPTIVE_ACCURACY: return accuracy >= 0 ? c->metric[accuracy] : NAN;
    case GD_ADAPTIVE_GRAD_RATIO:
        return c->metric[gd__metric_index(t, "grad_norm_d")] / c->metric[gd__metric_index(t, "grad_norm_g")];
    default: return NAN;
    }
}

void gd__tell(const gd_trainer *t, const char *kind, const gd_event_field *field, int count) {
    gd_event e = {kind, t->counters.step, field, count};
    if (gd_comm_rank(t->comm) == 0 && t->hooks.on_event) t->hooks.on_event(t->hooks.ctx, &e);
}

/* Decides how many D steps come, and logs how many there were and why. */
static void adapt(gd_trainer *t, gd__control *c) {
    const gd_adaptive_spec *s = &t->config.schedule.adaptive;
    if (s->kind == GD_ADAPTIVE_NONE) return;
    double value = gd__is_sick(c) ? NAN : adaptive_value(t, c);
    c->metric[gd__metric_index(t, "d_steps")] = (double)t->plan.d_steps;
    c->metric[gd__metric_index(t, "adaptive")] = value;
    int64_t planned = t->counters.adaptive.next;
    gd_adaptive_advance(s, value, &t->counters.adaptive);
    if (t->counters.adaptive.next == planned || !planned) return;
    gd__tell(
        t, "plan",
        (gd_event_field[]){GD_EVENT_NUMBER("d_steps", t->counters.adaptive.next), GD_EVENT_NUMBER("before", planned)},
        2);
}

static gd_status iterate(gd_trainer *t, const gd_plan_rules *rules) {
    gd__control c;
    double start = gd__seconds();
    t->together = t->go_back = false; /* what fails inside a program fails on one rank */
    GD_TRY(run_plan(t, rules));
    GD_TRY(end_updates(t, rules));
    gd__label(t, t->plan.flags & GD_PLAN_LOOK ? GD_PHASE_REPORT : GD_PHASE_CONTROL, -1);
    if (t->plan.flags & GD_PLAN_LOOK) GD_TRY(gd__take_look(t));
    t->together = true;
    /* The plan was made before the iteration in front of it had ended: what it learnt is known here alone. */
    gd_counters before = t->counters;
    t->counters = gd_plan_after(&t->plan, rules);
    GD_TRY(gd__exchange_control(t, gd__seconds() - start, &c));
    t->counters.adaptive = before.adaptive;
    t->counters.watch = before.watch;
    t->counters.skips = before.skips;
    adapt(t, &c);
    keep_times(t, &c);
    GD_TRY(gd__check_finite(t, &c));
    if (!gd__is_sick(&c)) GD_TRY(gd__judge(t, &c)); /* watchers remember usual numbers */
    return finish_iteration(t, &c);
}

/* ---- the loop ---- */

static gd_plan_rules make_rules(const gd_trainer *t, int64_t until) {
    const gd_train_config *c = &t->config;
    gd_plan_rules r = {.schedule = c->schedule,
                       .seed = gd__seed(t),
                       .global_batch = c->gan.global_batch,
                       .pick = c->gan.penalty.pick,
                       .penalty_every = c->gan.penalty.every,
                       .no_g = c->gan.topology == GD_TOPOLOGY_CLASSIFIER,
                       .until = until,
                       .save_every = c->checkpoint_every,
                       .log_every = c->log_every,
                       .sample_every = c->sample_every,
                       .check_every = c->check_every,
                       .look_every = gd__spread_metric(t, 0) ? c->watch.every : 0};
    for (int g = 0; g < GD_GROUP_COUNT; g++) r.optimizer[g] = c->optimizer[g];
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) r.reads[k] = gd_gan_step_reads(t->gan, (gd_step_kind)k);
    return r;
}

_Static_assert(sizeof(((gd_trainer *)0)->next) <= GD_IBCAST_MAX, "a plan travels at once");

/* Rank 0 decides what comes after the plan under way; the others learn it while they compute. */
static gd_status announce(gd_trainer *t, const gd_plan_rules *rules, const gd_counters *start) {
    if (gd_comm_rank(t->comm) == 0) t->next = gd_plan_make(rules, start);
    return gd_comm_ibcast_start(t->comm, &t->next, sizeof t->next);
}

/* After an error: sums and a plan that are under way are not needed. When all ranks are here they end, and the
 * communicator is as good as before. When this one is alone the others may wait in a sum and would
 * not pass it on: waiting for it could last for ever. */
static gd_status take_back(gd_trainer *t, bool more, gd_status st) {
    gd_error e;
    if (!t->together || st == GD_MPI) return st;
    gd_error_save(st, &e);
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        if (t->group[g].pending) GD_TRY(gd__finish_reduction(t, &t->group[g]));
        t->group[g].pending = false;
    }
    if (more) GD_TRY(learn_next(t));
    return gd_error_restore(&e);
}

/* Who looks at the state after an error finds it on the host, if the device still gives it. */
static gd_status fetch_after(gd_trainer *t, gd_status st) {
    gd_error e;
    gd_error_save(st, &e);
    if (gd__fetch_state(t) != GD_OK) gd_error_clear(); /* the first error is the one that matters */
    return gd_error_restore(&e);
}

static gd_status run(gd_trainer *t, int64_t until) {
    gd_plan_rules rules = make_rules(t, until);
    if (t->counters.step >= until) return GD_OK;
    GD_TRY(gd__drop_ahead(t));
    t->log_started = gd__seconds();
    t->log_cursor = t->counters.cursor;
    t->next_known = false;
    GD_TRY(announce(t, &rules, &t->counters));
    for (bool more = true; more;) {
        gd_comm_label(t->comm, GD_PHASE_CONTROL, -1, t->counters.step);
        GD_TRY(learn_next(t));
        t->plan = t->next;
        t->next_known = false;
        t->plan.start.adaptive = t->counters.adaptive; /* decided after this plan was made: it is for the next one */
        more = !(t->plan.flags & GD_PLAN_STOP);
        gd_counters after = gd_plan_after(&t->plan, &rules);
        if (more) GD_TRY(announce(t, &rules, &after));
        gd_status st = iterate(t, &rules);
        if (st == GD_OK) gd_comm_gained(t->comm);
        if (st != GD_OK) st = take_back(t, more, st);
        if (st == GD_NUMERIC && t->go_back) {
            t->ahead = t->next_known = false;
            st = gd__go_back(t);
            if (st != GD_OK) return fetch_after(t, st);
            rules = make_rules(t, until);
            GD_TRY(announce(t, &rules, &t->counters));
            more = true;
            continue;
        }
        if (st != GD_OK) st = fetch_after(t, st);
        if (st != GD_OK && st != GD_REQUEUE) st = gd__end_saving(t, st); /* who leaves at once does not wait */
        GD_TRY(st);
    }
    gd_comm_label(t->comm, GD_PHASE_END, -1, t->counters.step);
    return gd__hash_moments(t);
}

gd_status gd_trainer_run(gd_trainer *t, int64_t until) {
    t->well = false;
    gd_status st = run(t, until);
    t->well = st == GD_OK || st == GD_REQUEUE;
    return st;
}

/* ---- times ---- */

static int by_value(const void *a, const void *b) {
    return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

static void median_of(const gd_trainer *t, int which, double *median, double *least) {
    float sorted[GD__TIMES_MAX];
    size_t n = (size_t)(t->n_times < GD__TIMES_MAX ? t->n_times : GD__TIMES_MAX);
    memcpy(sorted, t->times[which], n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    *median = n ? n % 2 ? sorted[n / 2] : 0.5 * ((double)sorted[n / 2 - 1] + sorted[n / 2]) : 0;
    if (least) *least = n ? sorted[0] : 0;
}

void gd_trainer_times(const gd_trainer *t, gd_train_times *out) {
    *out = (gd_train_times){.iterations = (int)(t->n_times < GD__TIMES_MAX ? t->n_times : GD__TIMES_MAX)};
    median_of(t, GD__TIME_D, &out->d_step, &out->d_min);
    median_of(t, GD__TIME_G, &out->g_step, &out->g_min);
    median_of(t, GD__TIME_REDUCE, &out->reduce, NULL);
    median_of(t, GD__TIME_COLLECTIVE, &out->collective, NULL);
    median_of(t, GD__TIME_OPTIMIZER, &out->optimizer, NULL);
    median_of(t, GD__TIME_DATA, &out->data, NULL);
    median_of(t, GD__TIME_TOTAL, &out->total, &out->total_min);
}

void gd_trainer_times_reset(gd_trainer *t) { t->n_times = 0; }
