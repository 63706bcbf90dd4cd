/* tests/cuda/record.c -- see record.h. */
#include "record_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record_conv.h"

/* ---- streams and events ---- */

static gd_status stream_new(gd__cu_device *d, bool urgent, void **out) {
    recorder *r = record_of(d);
    for (int i = 1; i < STREAMS; i++)
        if (!r->stream[i].used) {
            r->stream[i] = (stream){.used = true, .urgent = urgent};
            *out = (void *)(intptr_t)i;
            return GD_OK;
        }
    GD_FAIL(NOMEM, "record: too many streams");
}

gd_status record_check_stream(const recorder *r, const void *s) {
    if (record_number(s) <= 0 || record_number(s) >= STREAMS || !r->stream[record_number(s)].used)
        MISTAKE("there is no stream %d", record_number(s));
    return GD_OK;
}

static gd_status stream_free(gd__cu_device *d, void *s) {
    GD_TRY(record_check_stream(record_of(d), s));
    if (record_of(d)->stream[record_number(s)].capture) MISTAKE("a stream is freed while it is captured");
    record_of(d)->stream[record_number(s)].used = false;
    return GD_OK;
}

static gd_status stream_sync(gd__cu_device *d, void *s) {
    recorder *r = record_of(d);
    GD_TRY(record_check_stream(r, s));
    NOT_CAPTURED(r, "the host waits for a stream");
    r->counts.syncs++;
    record_merge(&r->clock[HOST], &r->clock[record_number(s)]);
    return GD_OK;
}

static gd_status event_new(gd__cu_device *d, void **out) {
    event *e = calloc(1, sizeof *e);
    if (!e) GD_FAIL(NOMEM, "record: no memory");
    e->next = record_of(d)->events;
    record_of(d)->events = e;
    record_of(d)->n_events++;
    *out = e;
    return GD_OK;
}

static gd_status event_free(gd__cu_device *d, void *what) {
    event *e = what;
    if (e->dead) MISTAKE("free of an event that was freed");
    e->dead = true;
    record_of(d)->n_events--;
    return GD_OK;
}

static gd_status event_sync(gd__cu_device *d, void *what) {
    recorder *r = record_of(d);
    event *e = what;
    NOT_CAPTURED(r, "the host waits for an event");
    if (!e->recorded) MISTAKE("the host waits for an event that was never recorded");
    if (e->captured) MISTAKE("the host waits for an event of a captured graph");
    r->counts.syncs++;
    record_merge(&r->clock[HOST], &e->clock);
    return GD_OK;
}

/* Only what the host has waited for is known to be done. */
static gd_status event_done(gd__cu_device *d, void *what, bool *done) {
    recorder *r = record_of(d);
    const event *e = what;
    NOT_CAPTURED(r, "the host asks for an event");
    if (!e->recorded) MISTAKE("the host asks for an event that was never recorded");
    *done = true;
    for (int i = 0; i < STREAMS; i++) *done = *done && e->clock.at[i] <= r->clock[HOST].at[i];
    return GD_OK;
}

/* ---- operations ---- */

static gd_status check_accesses(recorder *r, int s, const operation *o, const char *what) {
    for (int i = 0; i < o->n; i++)
        if (o->access[i].bytes) GD_TRY(record_access(r, s, &o->access[i], what));
    return GD_OK;
}

static gd_status note_collective(recorder *r, const operation *o) {
    int *n = &r->n_collectives[o->rank];
    if (*n == COLLECTIVES) GD_FAIL(NOMEM, "record: too many collectives");
    r->list[o->rank][(*n)++] = o->collective;
    return GD_OK;
}

static void run_kernel(const operation *o) {
    loaded *l = o->what;
    if (!l->fn) l->fn = shim_find(l->name);
    shim_run(l->fn, o->grid, o->arg);
}

/* The operation happens on clock s. */
gd_status record_perform(recorder *r, int s, operation *o) {
    event *e = o->what;
    record_tick(r, s);
    switch (o->kind) {
    case RECORD:
        e->clock = r->clock[s];
        e->recorded = true;
        return GD_OK;
    case WAIT: record_merge(&r->clock[s], &e->clock); return GD_OK;
    case LAUNCH:
        GD_TRY(check_accesses(r, s, o, "kernel"));
        r->counts.launches++;
        run_kernel(o);
        return GD_OK;
    case COPY:
        GD_TRY(check_accesses(r, s, o, "copy"));
        r->counts.copies++;
        memmove(o->arg[0], o->arg[1], o->access[0].bytes);
        return GD_OK;
    case CONVOLVE:
        GD_TRY(check_accesses(r, s, o, "convolution"));
        r->counts.convolutions++;
        return record_conv_run(o->what, o->arg[0], o->arg[1], o->arg[2]);
    case REDUCE:
        GD_TRY(check_accesses(r, s, o, "collective"));
        for (int i = o->n - o->lost; i < o->n; i++) record_forget(r, &o->access[i]);
        return note_collective(r, o);
    }
    return GD_OK;
}

gd_status record_put(recorder *r, operation *o) {
    if (o->kind == WAIT && !((event *)o->what)->recorded)
        MISTAKE("a stream waits for an event that was never recorded");
    if (o->kind == RECORD || o->kind == WAIT) {
        bool inside = r->stream[o->stream].capture || (o->kind == WAIT && ((event *)o->what)->captured);
        if (inside) GD_TRY(record_capture_event(r, o));
        else if (o->kind == RECORD) ((event *)o->what)->captured = NULL;
    }
    graph *g = r->stream[o->stream].capture;
    if (!g) return record_perform(r, o->stream, o);
    if (o->kind != RECORD) g->joined[o->stream] = false;
    return record_keep(g, o);
}

static gd_status event_record(gd__cu_device *d, void *e, void *s) {
    operation o = {.kind = RECORD, .stream = record_number(s), .what = e};
    GD_TRY(record_check_stream(record_of(d), s));
    return record_put(record_of(d), &o);
}

static gd_status event_wait(gd__cu_device *d, void *s, void *e) {
    operation o = {.kind = WAIT, .stream = record_number(s), .what = e};
    GD_TRY(record_check_stream(record_of(d), s));
    return record_put(record_of(d), &o);
}

static gd_status copy(gd__cu_device *d, void *s, void *to, const void *from, size_t bytes) {
    recorder *r = record_of(d);
    operation o = {.kind = COPY, .stream = record_number(s), .n = 2, .arg = {to, (void *)(uintptr_t)from}};
    GD_TRY(record_check_stream(r, s));
    o.access[0] = (gd__cu_access){to, bytes, true};
    o.access[1] = (gd__cu_access){from, bytes, false};
    if (!record_find(r, to) || !record_find(r, from)) MISTAKE("copy: memory of the host that is not pinned");
    return record_put(r, &o);
}

static gd_status load(gd__cu_device *d, const gd__cu_kernel *k, void **function) {
    NOT_CAPTURED(record_of(d), "a kernel is loaded");
    const gd__cu_kernels one = {.n = 1, .list = (gd__cu_kernel *)(uintptr_t)k};
    shim_collect(&one);
    /* Its code is made at the first launch, together with that of all kernels loaded by then. */
    loaded *l = calloc(1, sizeof *l);
    if (!l) GD_FAIL(NOMEM, "record: no memory");
    memcpy(l->name, k->name, sizeof l->name);
    l->next = record_of(d)->functions;
    record_of(d)->functions = l;
    *function = l;
    return GD_OK;
}

static gd_status launch(gd__cu_device *d, void *s, void *function, uint32_t grid, int n, void *const *arg,
                        const gd__cu_access *access) {
    recorder *r = record_of(d);
    operation o = {.kind = LAUNCH, .stream = record_number(s), .what = function, .grid = grid, .n = n};
    GD_TRY(record_check_stream(r, s));
    if (n > ARGS) GD_FAIL(NOMEM, "record: too many arguments");
    if (!grid) MISTAKE("a kernel without blocks");
    for (int i = 0; i < n; i++) {
        o.arg[i] = arg[i];
        o.access[i] = access[i];
        if ((uintptr_t)arg[i] % 16) MISTAKE("kernel: argument %d is not aligned to 16 bytes", i);
    }
    return record_put(r, &o);
}

static gd_status plan(gd__cu_device *d, const char *layer, const gd__dnn_conv *c, void **out, size_t *workspace) {
    NOT_CAPTURED(record_of(d), "a convolution is planned");
    if (c->wide && record_of(d)->no_wide) GD_FAIL(UNSUP, "%s: no engine widens", layer);
    *workspace = 0;
    return record_conv_new(c, out);
}

static gd_status plan_free(gd__cu_device *d, void *p) {
    (void)d;
    record_conv_free(p);
    return GD_OK;
}

static gd_status convolve(gd__cu_device *d, void *s, void *p, void *const arg[4], const gd__cu_access access[4]) {
    operation o = {.kind = CONVOLVE, .stream = record_number(s), .what = p, .n = 4};
    GD_TRY(record_check_stream(record_of(d), s));
    memcpy(o.arg, arg, 4 * sizeof *arg);
    memcpy(o.access, access, 4 * sizeof *access);
    return record_put(record_of(d), &o);
}

gd_status record_all_reduce(gd__cu_device *d, void *s, int number, float *data, int64_t count) {
    operation o = {.kind = REDUCE, .stream = record_number(s), .n = 2, .rank = record_of(d)->rank};
    o.collective = (collective){number, GD_DEVICE_ALL_REDUCE, 0, count};
    GD_TRY(record_check_stream(record_of(d), s));
    o.access[0] = (gd__cu_access){data, (size_t)count * sizeof *data, false};
    o.access[1] = (gd__cu_access){data, (size_t)count * sizeof *data, true};
    return record_put(record_of(d), &o);
}

/* ---- beginning and end ---- */

gd__cu_device *record_new(int ranks) {
    recorder *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->ranks = ranks;
    r->table = (gd__cu_device){.name = "record",
                               .alloc = record_alloc,
                               .alloc_host = record_alloc_host,
                               .free = record_free,
                               .room = record_room,
                               .stream_new = stream_new,
                               .stream_free = stream_free,
                               .stream_sync = stream_sync,
                               .event_new = event_new,
                               .event_free = event_free,
                               .event_record = event_record,
                               .event_wait = event_wait,
                               .event_sync = event_sync,
                               .event_done = event_done,
                               .copy = copy,
                               .host = record_host,
                               .load = load,
                               .launch = launch,
                               .plan = plan,
                               .plan_free = plan_free,
                               .convolve = convolve,
                               .capture = record_capture,
                               .capture_end = record_capture_end,
                               .graph_launch = record_graph_launch,
                               .graph_free = record_graph_free};
    return &r->table;
}

void record_no_wide(gd__cu_device *d, bool no) { record_of(d)->no_wide = no; }
void record_rank(gd__cu_device *d, int rank) { record_of(d)->rank = rank; }
record_counts record_get_counts(const gd__cu_device *d) { return ((const recorder *)d)->counts; }

static gd_status compare_ranks(const recorder *r) {
    for (int k = 1; k < r->ranks; k++) {
        int n = r->n_collectives[0] < r->n_collectives[k] ? r->n_collectives[0] : r->n_collectives[k];
        for (int i = 0; i < n; i++) {
            const collective *a = &r->list[0][i], *b = &r->list[k][i];
            if (a->what != b->what)
                MISTAKE("collective %d is of kind %d on rank 0 and of kind %d on rank %d", i, a->what, b->what, k);
            if (a->root != b->root)
                MISTAKE("collective %d has root %d on rank 0 and root %d on rank %d", i, a->root, b->root, k);
            if (a->comm != b->comm)
                MISTAKE("collective %d is of communicator %d on rank 0 and of %d on rank %d", i, a->comm, b->comm, k);
            if (a->count != b->count)
                MISTAKE("collective %d has %lld elements on rank 0 and %lld on rank %d", i, (long long)a->count,
                        (long long)b->count, k);
        }
        if (r->n_collectives[0] != r->n_collectives[k])
            MISTAKE("rank 0 has %d collectives, rank %d has %d", r->n_collectives[0], k, r->n_collectives[k]);
    }
    return GD_OK;
}

static gd_status find_left(const recorder *r) {
    for (int i = 0; i < r->n_memory; i++)
        if (!r->memory[i].gone) MISTAKE("%zu bytes were never freed", r->memory[i].bytes);
    if (r->n_comms) MISTAKE("%d communicators were never closed", r->n_comms);
    if (r->n_events) MISTAKE("%d events were never freed", r->n_events);
    return GD_OK;
}

gd_status record_end(gd__cu_device *d) {
    recorder *r = record_of(d);
    gd_status st = compare_ranks(r);
    if (st == GD_OK) st = find_left(r);
    for (int i = 0; i < r->n_memory; i++) {
        free(r->memory[i].at);
        free(r->memory[i].known);
        free(r->memory[i].touch);
    }
    free(r->memory);
    for (event *e = r->events, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    for (int i = 0; i < STREAMS; i++) /* a capture that a mistake has ended */
        if (r->stream[i].capture && r->stream[i].capture->origin == i) (void)record_graph_free(d, r->stream[i].capture);
    for (loaded *l = r->functions, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    free(r);
    return st;
}
