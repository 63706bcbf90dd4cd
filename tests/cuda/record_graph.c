/* tests/cuda/record_graph.c -- captures. See record.h. */
#include "record_internal.h"

#include <stdlib.h>
#include <string.h>

gd_status record_keep(graph *g, const operation *o) {
    if (g->n == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        g->op = realloc(g->op, (size_t)g->room * sizeof *g->op);
        if (!g->op) GD_FAIL(NOMEM, "record: no memory");
    }
    g->op[g->n] = malloc(sizeof *o);
    if (!g->op[g->n]) GD_FAIL(NOMEM, "record: no memory");
    *g->op[g->n++] = *o;
    if (o->kind == REDUCE) g->of_comm[o->collective.comm] = true;
    return GD_OK;
}

/* Events take other streams into a capture; the origin waiting for them brings these back. */
gd_status record_capture_event(recorder *r, operation *o) {
    stream *s = &r->stream[o->stream];
    event *e = o->what;
    if (o->kind == RECORD) {
        e->captured = s->capture;
        e->recorded = true;
        memset(&e->clock, 0, sizeof e->clock);
        e->clock.at[o->stream] = 1; /* whose record it was */
        return GD_OK;
    }
    if (e->captured && !s->capture) {
        s->capture = e->captured;
        s->capture->map[o->stream] = o->stream;
    }
    if (!s->capture) return GD_OK;
    if (e->captured != s->capture) MISTAKE("a captured stream waits for an event outside of its capture");
    for (int i = 1; i < STREAMS; i++)
        if (e->clock.at[i] && o->stream == s->capture->origin) s->capture->joined[i] = true;
    return GD_OK;
}

gd_status record_capture(gd__cu_device *d, void *s) {
    recorder *r = record_of(d);
    GD_TRY(record_check_stream(r, s));
    NOT_CAPTURED(r, "a capture begins");
    graph *g = calloc(1, sizeof *g);
    if (!g) GD_FAIL(NOMEM, "record: no memory");
    for (int i = 0; i < STREAMS; i++) g->map[i] = -1;
    g->origin = record_number(s);
    g->map[g->origin] = g->origin;
    r->stream[record_number(s)].capture = g;
    r->capturing = true;
    return GD_OK;
}

gd_status record_capture_end(gd__cu_device *d, void *s, void **out) {
    recorder *r = record_of(d);
    graph *g = r->stream[record_number(s)].capture;
    if (!g) MISTAKE("a capture ends that did not begin");
    if (g->origin != record_number(s)) MISTAKE("a capture ends on another stream than it began");
    int loose = 0;
    for (int i = 1; i < STREAMS; i++) {
        if (g->map[i] >= 0 && i != g->origin && !g->joined[i]) loose = i;
        if (r->stream[i].capture == g) r->stream[i].capture = NULL;
    }
    r->capturing = false;
    g->done = true;
    r->counts.graphs++;
    for (int i = 0; i < RECORD_COMMS; i++) r->comm_graphs[i] += g->of_comm[i];
    *out = g;
    if (loose) MISTAKE("stream %d was forked in a capture and not joined", loose);
    return GD_OK;
}

gd_status record_graph_launch(gd__cu_device *d, void *s, void *what) {
    recorder *r = record_of(d);
    graph *g = what;
    GD_TRY(record_check_stream(r, s));
    NOT_CAPTURED(r, "a graph is launched");
    record_tick(r, record_number(s));
    /* Branches begin behind what the launching stream did, each with a clock of its own. */
    for (int i = 1; i < STREAMS; i++)
        if (g->map[i] >= 0 && i != g->origin) record_merge(&r->clock[g->map[i]], &r->clock[record_number(s)]);
    for (int i = 0; i < g->n; i++) {
        int on = g->op[i]->stream == g->origin ? record_number(s) : g->map[g->op[i]->stream];
        GD_TRY(record_perform(r, on, g->op[i]));
    }
    r->counts.graph_launches++;
    return GD_OK;
}

gd_status record_graph_free(gd__cu_device *d, void *what) {
    recorder *r = record_of(d);
    graph *g = what;
    for (int i = 0; i < RECORD_COMMS && g->done; i++) r->comm_graphs[i] -= g->of_comm[i];
    for (int i = 0; i < g->n; i++) free(g->op[i]);
    free(g->op);
    free(g);
    return GD_OK;
}
