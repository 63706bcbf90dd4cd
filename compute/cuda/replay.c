/* compute/cuda/replay.c -- an instance as captured graphs. See executor.h.
 *
 * A run is captured in stretches, so that it can stop wherever a run of the instance could, and begins to be told of outputs as
 * soon: a stretch ends at every pause, before the first step of a phase that touches a set of gd_instance_group, and behind
 * outputs that gd_run_hooks.cuts names. While it is captured all sets are held that the phase has not touched yet: so the
 * instance says itself where they are needed. A set can come to be held at pauses of phases and of collectives alone. Collectives that
 * gd_run_hooks.sum puts on the stream are part of the stretch. */
#include <stdlib.h>

#include "compute/cuda/executor.h"
#include "compute/plan.h"

typedef enum stage { EAGER, CAPTURING, CAPTURED } stage;

typedef struct stretch {
    void *graph;
    gd_pause pause;   /* that it ends with */
    unsigned touched; /* sets */
    int n_done, room; /* outputs that are complete behind it */
    int *done;
} stretch;

struct gd__cu_replay {
    gd__cu_replay *next; /* of all */
    bool dropped;        /* its graphs are gone for good */
    struct gd__cu_program *program;
    gd_instance *instance;
    gd_run_args args;
    stage stage;
    int n, room, at;
    stretch *list;
    unsigned armed;     /* while capturing: sets that the phase has not touched */
    gd_run_hooks hooks; /* the instance's, while others stand in for them */
};

static gd__cu_replay *replays;
static bool capturing;

bool gd__cu_capturing(void) { return capturing; }

gd_status gd__cu_replay_new(const gd_program *p, gd_instance *i, gd__cu_replay **out) {
    gd__cu_replay *r = calloc(1, sizeof *r);
    if (!r) GD_FAIL(NOMEM, "cuda: no memory");
    r->program = p->state;
    r->instance = i;
    r->next = replays;
    replays = r;
    *out = r;
    return GD_OK;
}

/* A run that was captured, or in part and left. */
static gd_status forget(gd__cu_replay *r) {
    gd__cu_device *d = gd__cu_get_device();
    gd_status st = GD_OK;
    while (r->n) {
        stretch *s = &r->list[--r->n];
        gd_status one = d->graph_free(d, s->graph);
        if (st == GD_OK) st = one;
        free(s->done);
    }
    return st;
}

gd_status gd__cu_drop_graphs(void) {
    gd_status st = GD_OK;
    for (gd__cu_replay *r = replays; r; r = r->next) {
        gd_status one = forget(r);
        if (st == GD_OK) st = one;
        r->dropped = true;
    }
    return st;
}

gd_status gd__cu_replay_free(gd__cu_replay *r) {
    gd__cu_replay **at = &replays;
    if (!r) return GD_OK;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    gd_status st = gd__cu_finish(), gone = forget(r);
    free(r->list);
    free(r);
    return st == GD_OK ? gone : st;
}

/* ---- hooks ---- */

/* Those of the instance's owner. */
static gd_status tell(const gd_run_hooks *h, const stretch *s) {
    gd_status st = GD_OK;
    if (h->between) st = h->between(h->ctx);
    for (int k = 0; k < s->n_done && st == GD_OK && h->done; k++) st = h->done(h->ctx, s->done[k]);
    return st;
}

/* While a stretch is captured: who acts on an output does so when the stretch is on its way. */
static gd_status note_done(void *replay, int binding) {
    gd__cu_replay *r = replay;
    stretch *s = &r->list[r->n];
    if (s->n_done == s->room) {
        int room = s->room ? 2 * s->room : 16;
        int *more = realloc(s->done, (size_t)room * sizeof *more);
        if (!more) GD_FAIL(NOMEM, "cuda: no memory for %d outputs", room);
        s->done = more;
        s->room = room;
    }
    s->done[s->n_done++] = binding;
    return GD_OK;
}

static bool note_cuts(void *replay, int binding) {
    const gd__cu_replay *r = replay;
    return r->hooks.cuts && r->hooks.cuts(r->hooks.ctx, binding);
}

/* ---- capturing ---- */

static gd_status reserve(gd__cu_replay *r) {
    if (r->n == r->room) {
        int room = r->room ? 2 * r->room : 4;
        stretch *list = realloc(r->list, (size_t)room * sizeof *list);
        if (!list) GD_FAIL(NOMEM, "cuda: no memory for %d graphs", room);
        r->list = list;
        r->room = room;
    }
    r->list[r->n] = (stretch){0};
    return GD_OK;
}

static gd_status put_sum(void *replay, float *data, int64_t count) {
    const gd__cu_replay *r = replay;
    return r->hooks.sum(r->hooks.ctx, data, count);
}

/* The instance goes on, to where the stretch ends. */
static gd_status run_stretch(gd__cu_replay *r, const gd_run_args *a, stretch *s) {
    gd_run_hooks h = {.ctx = r, .done = note_done, .cuts = note_cuts};
    unsigned held = gd_instance_held(r->instance);
    r->hooks = gd_instance_hooks(r->instance);
    if (r->hooks.sum) h.sum = put_sum;
    gd_instance_set_hooks(r->instance, &h);
    gd_instance_hold(r->instance, r->armed);
    gd_instance_cut(r->instance, true);
    gd__cu_program_hold_keys(r->program, true);
    gd_status st = a ? gd_instance_start(r->instance, a, &s->pause) : gd_instance_resume(r->instance, &s->pause);
    gd__cu_program_hold_keys(r->program, false);
    gd_instance_cut(r->instance, false);
    gd_instance_hold(r->instance, held);
    gd_instance_set_hooks(r->instance, &r->hooks);
    s->touched = gd_instance_take_touched(r->instance);
    return st;
}

/* Puts the next stretch of the instance into a graph. An error inside still ends the capture. */
static gd_status capture(gd__cu_replay *r, const gd_run_args *a) {
    gd__cu_device *d = gd__cu_get_device();
    gd_error inside;
    GD_TRY(reserve(r));
    stretch *s = &r->list[r->n];
    GD_TRY(d->capture(d, gd__cu_stream()));
    capturing = true;
    gd_status st = run_stretch(r, a, s);
    capturing = false;
    gd_error_save(st, &inside);
    gd_status end = d->capture_end(d, gd__cu_stream(), &s->graph);
    if (st == GD_OK && end == GD_OK) {
        r->n++;
        return GD_OK;
    }
    free(s->done);
    if (st == GD_OK) return gd_trace(end, __FILE__, __LINE__);
    if (end == GD_OK && d->graph_free(d, s->graph) != GD_OK)
        gd_error_clear(); /* the first error is the one that matters */
    return gd_error_restore(&inside);
}

/* ---- running ---- */

/* Whether the run cannot go on with what needs these sets. */
static bool stopped(const gd__cu_replay *r, unsigned needs, gd_pause *pause) {
    unsigned kept = needs & gd_instance_held(r->instance);
    if (kept) *pause = (gd_pause){.kind = GD_PAUSE_HELD, .phase = pause->phase, .held = kept};
    return kept != 0;
}

/* Another instance of the program may have run since the start. */
static gd_status launch(gd__cu_replay *r, const stretch *s, const gd_run_hooks *h) {
    gd__cu_device *d = gd__cu_get_device();
    GD_TRY(gd__cu_program_keys(r->program, &r->args));
    GD_TRY(d->graph_launch(d, gd__cu_stream(), s->graph));
    return tell(h, s);
}

/* Ends that only captured runs have. */
static bool is_joint(const gd_pause *p) { return p->kind == GD_PAUSE_HELD || p->kind == GD_PAUSE_CUT; }

static gd_status capture_on(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause) {
    const stretch *s;
    do {
        unsigned needs = gd_instance_needs(r->instance, a != NULL);
        if (stopped(r, needs, pause)) return GD_OK;
        r->armed &= ~needs;
        GD_TRY(capture(r, a));
        a = NULL;
        s = &r->list[r->n - 1];
        r->armed &= ~s->touched;
        if (!is_joint(&s->pause)) r->armed = ~0u;
        gd_run_hooks hooks = gd_instance_hooks(r->instance);
        GD_TRY(launch(r, s, &hooks));
    } while (is_joint(&s->pause));
    *pause = s->pause;
    return GD_OK;
}

static gd_status launch_on(gd__cu_replay *r, gd_pause *pause) {
    const gd_run_hooks hooks = gd_instance_hooks(r->instance);
    const stretch *s;
    do {
        if (r->at == r->n) GD_FAIL(INTERNAL, "cuda: resumed without a start");
        s = &r->list[r->at];
        if (stopped(r, s->touched, pause)) return GD_OK;
        GD_TRY(launch(r, s, &hooks));
        r->at++;
    } while (is_joint(&s->pause));
    *pause = s->pause;
    return GD_OK;
}

/* a: of a run that has not begun. */
static gd_status next(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause) {
    gd_error_clear(); /* what a hook of the instance's owner fails with is in a record of theirs */
    if (r->dropped) GD_FAIL(INTERNAL, "cuda: captured steps are gone, since sums over ranks have failed");
    if (r->stage == EAGER)
        GD_TRY(a ? gd_instance_start(r->instance, a, pause) : gd_instance_resume(r->instance, pause));
    else if (r->stage == CAPTURING) GD_TRY(capture_on(r, a, pause));
    else GD_TRY(launch_on(r, pause));
    if (pause->kind == GD_PAUSE_DONE) r->stage = r->stage == EAGER ? CAPTURING : CAPTURED;
    return GD_OK;
}

gd_status gd__cu_replay_start(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause) {
    r->at = 0;
    r->args = *a;
    r->armed = ~0u;
    pause->phase = 0;
    if (r->stage == CAPTURING) GD_TRY(forget(r));
    return next(r, a, pause);
}

/* A run that was held before its first stretch begins now. */
gd_status gd__cu_replay_resume(gd__cu_replay *r, gd_pause *pause) {
    return next(r, r->stage == CAPTURING && !r->n ? &r->args : NULL, pause);
}
