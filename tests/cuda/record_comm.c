/* tests/cuda/record_comm.c -- communicators of the stand-in device. See record.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record_internal.h"

typedef struct recorded {
    gd_device_comm table; /* first */
    recorder *r;
    int number;
    bool aborted;
    gd_device_comm_journal journal;
    char name[32];
} recorded;

static recorded *of(gd_device_comm *c) { return (recorded *)c; }

/* A collective reads `from` and writes `to`, which may be part of each other; only the rank's own half of the work is seen. */
static gd_status put(gd_device_comm *c, void *s, gd_device_collective what, int64_t count, int root, const void *from,
                     int64_t read, void *to, int64_t written) {
    recorded *x = of(c);
    operation o = {.kind = REDUCE, .stream = record_number(s), .n = 2};
    if (x->aborted) MISTAKE("communicator %s is used after its abort", x->name);
    if (count < 0 || root < 0 || root >= c->size)
        MISTAKE("communicator %s: %lld elements, root %d", x->name, (long long)count, root);
    GD_TRY(record_check_stream(x->r, s));
    o.collective = (collective){x->number, (int)what, root, count};
    o.rank = c->rank;
    o.access[0] = (gd__cu_access){from, (size_t)read * sizeof(float), false};
    o.access[1] = (gd__cu_access){to, (size_t)written * sizeof(float), true};
    gd__cu_journal_add(&x->journal, what, count, root);
    return record_put(x->r, &o);
}

static gd_status all_reduce(gd_device_comm *c, void *s, float *data, int64_t count) {
    return put(c, s, GD_DEVICE_ALL_REDUCE, count, 0, data, count, data, count);
}
static gd_status reduce_scatter(gd_device_comm *c, void *s, const float *data, float *mine, int64_t each) {
    return put(c, s, GD_DEVICE_REDUCE_SCATTER, each, 0, data, each * c->size, mine, each);
}
static gd_status all_gather(gd_device_comm *c, void *s, const float *mine, float *all, int64_t each) {
    return put(c, s, GD_DEVICE_ALL_GATHER, each, 0, mine, each, all, each * c->size);
}
static gd_status broadcast(gd_device_comm *c, void *s, float *data, int64_t count, int root) {
    bool sends = root == c->rank;
    return put(c, s, GD_DEVICE_BROADCAST, count, root, data, sends ? count : 0, data, sends ? 0 : count);
}

/* This rank's part, what is in front of it, and what is behind. Of a reduction the others' parts are no sums. */
static gd_status put_parts(gd_device_comm *c, void *s, gd_device_collective what, float *data, const int64_t *border) {
    recorded *x = of(c);
    operation o = {.kind = REDUCE, .stream = record_number(s), .rank = c->rank};
    const int64_t own = border[c->rank], behind = border[c->rank + 1], from[] = {own, border[0], behind},
                  to[] = {behind, own, border[c->size]};
    bool sums = what == GD_DEVICE_REDUCE_PARTS;
    int64_t count;
    int32_t root;
    if (x->aborted) MISTAKE("communicator %s is used after its abort", x->name);
    if (!gd__cu_journal_parts(border, c->size, &count, &root)) MISTAKE("communicator %s: borders go down", x->name);
    GD_TRY(record_check_stream(x->r, s));
    for (int written = 0; written < 2; written++)
        for (int k = 0; k < 3; k++)
            if (sums || (k > 0) == written)
                o.access[o.n++] = (gd__cu_access){data + from[k], (size_t)(to[k] - from[k]) * sizeof *data, written};
    o.lost = sums ? 2 : 0;
    o.collective = (collective){x->number, (int)what, root, count};
    gd__cu_journal_add(&x->journal, what, count, root);
    return record_put(x->r, &o);
}

static gd_status reduce_parts(gd_device_comm *c, void *s, float *data, const int64_t *border) {
    return put_parts(c, s, GD_DEVICE_REDUCE_PARTS, data, border);
}
static gd_status gather_parts(gd_device_comm *c, void *s, float *data, const int64_t *border) {
    return put_parts(c, s, GD_DEVICE_GATHER_PARTS, data, border);
}

static gd_status alloc(gd_device_comm *c, size_t bytes, void **out) {
    return record_alloc(&of(c)->r->table, bytes, out);
}
static gd_status release(gd_device_comm *c, void *p) { return record_free(&of(c)->r->table, p); }

static gd_status poll(gd_device_comm *c) {
    if (of(c)->aborted) MISTAKE("communicator %s is used after its abort", of(c)->name);
    return GD_OK;
}

static gd_status wait(gd_device_comm *c, void *s, double seconds) {
    recorder *r = of(c)->r;
    GD_TRY(poll(c));
    if (!(seconds > 0)) MISTAKE("communicator %s: a wait without a deadline", of(c)->name);
    return r->table.stream_sync(&r->table, s);
}

static gd_status wait_event(gd_device_comm *c, void *what, double seconds) {
    recorder *r = of(c)->r;
    GD_TRY(poll(c));
    if (!(seconds > 0)) MISTAKE("communicator %s: a wait without a deadline", of(c)->name);
    return r->table.event_sync(&r->table, what);
}

static void journal(const gd_device_comm *c, gd_device_comm_journal *out) { *out = ((const recorded *)c)->journal; }

static gd_status end(gd_device_comm *c) {
    const recorded *x = of(c);
    of(c)->aborted = true;
    if (x->r->capturing) MISTAKE("a communicator is aborted while a stream is captured");
    if (x->r->comm_graphs[x->number])
        MISTAKE("a communicator is aborted before %d graphs that hold its collectives", x->r->comm_graphs[x->number]);
    return GD_OK;
}

static gd_status close_comm(gd_device_comm *c) {
    recorded *x = of(c);
    if (!x) return GD_OK;
    recorder *r = x->r;
    int graphs = r->comm_graphs[x->number];
    bool captured = r->capturing;
    r->n_comms--;
    free(x);
    if (captured) MISTAKE("a communicator is closed while a stream is captured");
    if (graphs) MISTAKE("a communicator is closed before %d graphs that hold its collectives", graphs);
    return GD_OK;
}

gd_device_comm *record_comm(gd__cu_device *d, int number, int rank) {
    recorded *x = calloc(1, sizeof *x);
    if (!x || number < 0 || number >= RECORD_COMMS) abort();
    snprintf(x->name, sizeof x->name, "%d of rank %d", number, rank);
    x->r = record_of(d);
    x->number = number;
    x->r->n_comms++;
    x->table = (gd_device_comm){x->name,   rank,         x->r->ranks,  all_reduce, reduce_scatter, all_gather,
                                broadcast, reduce_parts, gather_parts, alloc,      release,        poll,
                                wait,      wait_event,   journal,      end,        close_comm};
    return &x->table;
}
