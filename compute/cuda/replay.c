/* compute/cuda/replay.c -- an instance as captured graphs. See executor.h. */
#include <stdlib.h>

#include "compute/cuda/executor.h"
#include "compute/plan.h"

typedef enum stage { EAGER, CAPTURING, CAPTURED } stage;

typedef struct stretch { /* from the start or a pause to the next pause */
    void *graph;
    gd_pause pause;
} stretch;

struct gd__cu_replay {
    struct gd__cu_program *program;
    gd_instance *instance;
    stage stage;
    int n, room, at;
    stretch *list;
};

gd_status gd__cu_replay_new(const gd_program *p, gd_instance *i, gd__cu_replay **out) {
    gd__cu_replay *r = calloc(1, sizeof *r);
    if (!r) GD_FAIL(NOMEM, "cuda: no memory");
    r->program = p->state;
    r->instance = i;
    *out = r;
    return GD_OK;
}

gd_status gd__cu_replay_free(gd__cu_replay *r) {
    if (!r) return GD_OK;
    gd__cu_device *d = gd__cu_get_device();
    gd_status st = gd__cu_finish();
    for (int i = 0; i < r->n; i++) {
        gd_status one = d->graph_free(d, r->list[i].graph);
        if (st == GD_OK) st = one;
    }
    free(r->list);
    free(r);
    return st;
}

static gd_status reserve(gd__cu_replay *r) {
    if (r->n < r->room) return GD_OK;
    int room = r->room ? 2 * r->room : 4;
    stretch *list = realloc(r->list, (size_t)room * sizeof *list);
    if (!list) GD_FAIL(NOMEM, "cuda: no memory for %d graphs", room);
    r->list = list;
    r->room = room;
    return GD_OK;
}

/* Puts the next stretch of the instance into a graph. An error inside still ends the capture. */
static gd_status capture(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause) {
    gd__cu_device *d = gd__cu_get_device();
    stretch *s;
    gd_error inside;
    GD_TRY(reserve(r));
    s = &r->list[r->n];
    GD_TRY(d->capture(d, gd__cu_stream()));
    gd__cu_program_hold_keys(r->program, true);
    gd_status st = a ? gd_instance_start(r->instance, a, &s->pause) : gd_instance_resume(r->instance, &s->pause);
    gd__cu_program_hold_keys(r->program, false);
    gd_error_save(st, &inside);
    gd_status end = d->capture_end(d, gd__cu_stream(), &s->graph);
    if (st != GD_OK) {
        if (end == GD_OK) end = d->graph_free(d, s->graph);
        return gd_error_restore(&inside);
    }
    if (end != GD_OK) return gd_trace(end, __FILE__, __LINE__);
    r->n++;
    *pause = s->pause;
    return d->graph_launch(d, gd__cu_stream(), s->graph);
}

static gd_status next(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause) {
    gd__cu_device *d = gd__cu_get_device();
    if (r->stage == EAGER)
        GD_TRY(a ? gd_instance_start(r->instance, a, pause) : gd_instance_resume(r->instance, pause));
    else if (r->stage == CAPTURING) GD_TRY(capture(r, a, pause));
    else {
        if (r->at == r->n) GD_FAIL(INTERNAL, "cuda: resumed without a start");
        GD_TRY(d->graph_launch(d, gd__cu_stream(), r->list[r->at].graph));
        *pause = r->list[r->at++].pause;
    }
    if (pause->kind == GD_PAUSE_DONE) r->stage = r->stage == EAGER ? CAPTURING : CAPTURED;
    return GD_OK;
}

/* A run that was captured in part, and left. */
static gd_status forget(gd__cu_replay *r) {
    gd__cu_device *d = gd__cu_get_device();
    while (r->n) GD_TRY(d->graph_free(d, r->list[--r->n].graph));
    return GD_OK;
}

gd_status gd__cu_replay_start(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause) {
    r->at = 0;
    if (r->stage == CAPTURING) GD_TRY(forget(r));
    if (r->stage != EAGER) GD_TRY(gd__cu_program_keys(r->program, a));
    return next(r, a, pause);
}

gd_status gd__cu_replay_resume(gd__cu_replay *r, gd_pause *pause) { return next(r, NULL, pause); }
