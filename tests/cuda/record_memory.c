/* tests/cuda/record_memory.c -- clocks, memory, and the order of accesses. See record.h. */
#include "record_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- clocks ---- */

void record_merge(clock *to, const clock *from) {
    for (int i = 0; i < STREAMS; i++)
        if (from->at[i] > to->at[i]) to->at[i] = from->at[i];
}

/* Whether t is behind what clock s has seen. */
static bool ordered(const recorder *r, const touch *t, int s) { return r->clock[s].at[t->stream] >= t->when; }

/* An operation begins on a stream: behind all that the host has waited for. */
void record_tick(recorder *r, int s) {
    if (s != HOST) record_merge(&r->clock[s], &r->clock[HOST]);
    r->clock[s].at[s]++;
}

/* ---- memory ---- */

memory *record_find(const recorder *r, const void *p) {
    memory *gone = NULL;
    for (int i = r->n_memory - 1; i >= 0; i--) {
        memory *m = &r->memory[i];
        if ((const unsigned char *)p < m->at || (const unsigned char *)p >= m->at + m->bytes) continue;
        if (!m->gone) return m;
        gone = m;
    }
    return gone;
}

static gd_status check_order(const recorder *r, const memory *m, const touch *t, const char *what) {
    for (int i = 0; i < m->n; i++) {
        const touch *o = &m->touch[i];
        bool apart = o->to <= t->from || t->to <= o->from;
        if (apart || (!o->written && !t->written) || ordered(r, o, t->stream)) continue;
        MISTAKE("%s: stream %d %s bytes %zu..%zu that stream %d %s, and no event orders the two", what, t->stream,
                t->written ? "writes" : "reads", t->from, t->to, o->stream, o->written ? "writes" : "reads");
    }
    return GD_OK;
}

/* Keeps t, and forgets what it makes superfluous: whatever must be behind those is checked against t. */
static gd_status keep(const recorder *r, memory *m, const touch *t) {
    int n = 0;
    for (int i = 0; i < m->n; i++) {
        const touch *o = &m->touch[i];
        bool inside = o->from >= t->from && o->to <= t->to && ordered(r, o, t->stream);
        bool stale = inside && (t->written || (!o->written && o->stream == t->stream));
        if (!stale) m->touch[n++] = *o;
    }
    m->n = n;
    if (n == m->room) {
        m->room = m->room ? 2 * m->room : 16;
        m->touch = realloc(m->touch, (size_t)m->room * sizeof *m->touch);
        if (!m->touch) GD_FAIL(NOMEM, "record: no memory");
    }
    m->touch[m->n++] = *t;
    return GD_OK;
}

static gd_status look(const recorder *r, const gd__cu_access *a, const char *what, memory **out) {
    memory *m = record_find(r, a->at);
    if (!m) MISTAKE("%s: memory that was never allocated", what);
    if (m->gone) MISTAKE("%s: memory that was freed", what);
    if ((const unsigned char *)a->at + a->bytes > m->at + m->bytes)
        MISTAKE("%s: %zu bytes from byte %zu of an allocation of %zu", what, a->bytes,
                (size_t)((const unsigned char *)a->at - m->at), m->bytes);
    *out = m;
    return GD_OK;
}

gd_status record_access(recorder *r, int s, const gd__cu_access *a, const char *what) {
    memory *m = NULL;
    GD_TRY(look(r, a, what, &m));
    size_t from = (size_t)((const unsigned char *)a->at - m->at);
    const touch t = {from, from + a->bytes, s, r->clock[s].at[s], a->written};
    GD_TRY(check_order(r, m, &t, what));
    for (size_t i = from; !a->written && i < t.to; i++)
        if (!m->known[i]) MISTAKE("%s: reads byte %zu, which nobody wrote", what, i);
    if (a->written) memset(m->known + from, 1, a->bytes);
    return keep(r, m, &t);
}

void record_forget(recorder *r, const gd__cu_access *a) {
    memory *m = a->bytes ? record_find(r, a->at) : NULL;
    if (m && !m->gone) memset(m->known + ((const unsigned char *)a->at - m->at), 0, a->bytes);
}

static gd_status new_memory(recorder *r, size_t bytes, bool host, void **out) {
    NOT_CAPTURED(r, "memory is allocated");
    memory *list = realloc(r->memory, (size_t)(r->n_memory + 1) * sizeof *list);
    if (!list) GD_FAIL(NOMEM, "record: no memory");
    r->memory = list;
    memory *m = &list[r->n_memory];
    size_t room = (bytes + 255) / 256 * 256 + 256;
    *m = (memory){.bytes = bytes, .host = host, .at = aligned_alloc(256, room), .known = calloc(1, bytes + 1)};
    if (!m->at || !m->known) GD_FAIL(NOMEM, "record: no memory for %zu bytes", bytes);
    memset(m->at, 0xff, room);
    r->n_memory++;
    r->counts.allocations++;
    *out = m->at;
    return GD_OK;
}

gd_status record_alloc(gd__cu_device *d, size_t bytes, void **out) {
    return new_memory(record_of(d), bytes, false, out);
}
gd_status record_alloc_host(gd__cu_device *d, size_t bytes, void **out) {
    return new_memory(record_of(d), bytes, true, out);
}

gd_status record_room(gd__cu_device *d, size_t *bytes) {
    (void)d;
    *bytes = (size_t)1 << 30;
    return GD_OK;
}

/* The bytes stay until the end, so that what still points there is found, not followed. */
gd_status record_free(gd__cu_device *d, void *p) {
    recorder *r = record_of(d);
    if (!p) return GD_OK;
    NOT_CAPTURED(r, "memory is freed");
    memory *m = record_find(r, p);
    if (!m || m->at != p) MISTAKE("free of something that was not allocated");
    if (m->gone) MISTAKE("free of memory that was freed");
    record_tick(r, HOST);
    for (int i = 0; i < m->n; i++)
        if (!ordered(r, &m->touch[i], HOST)) MISTAKE("free of memory that stream %d may still use", m->touch[i].stream);
    m->gone = true;
    memset(m->at, 0xff, m->bytes);
    return GD_OK;
}

gd_status record_host(gd__cu_device *d, const void *at, size_t bytes, bool written) {
    recorder *r = record_of(d);
    const gd__cu_access a = {at, bytes, written};
    memory *m = record_find(r, at);
    if (m && !m->host) MISTAKE("the host touches memory of the device");
    record_tick(r, HOST);
    return record_access(r, HOST, &a, "host");
}
