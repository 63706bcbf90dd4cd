/* dist/exchange.c -- gradients between hosts: messages of our own rather than collectives, so that many buckets may be
 * under way, each at its own pace. All ranks start them in one order. */
#include <stdlib.h>
#include <string.h>

#include "dist/reduce_internal.h"
#include "dist/tree.h"

enum {
    BUCKET_BYTES = 128 << 10,
    SECTION_BYTES = 16 << 10, /* less of it is all latency */
    SLOTS = 16, /* buckets under way: enough to keep a link busy while a step computes, and so few that what others send
                 * (batch statistics) waits 1 ms behind them; with 8, or with fewer in waits, gradients wait as much more */
    TAGS = 8192,
    REDUCERS = 4 /* of which gradients may be under way at a time: below MPI's least upper bound, 32767 */
};

bool gd__host_is_node(const gd_reducer *r) {
    return r->c->hosts == 1 || (r->c->mpi->blocks && gd__tree_handed(r->parts) == 1);
}

/* ---- who sums what ---- */

/* The slices of the ranks that member k of the exchange speaks for. */
static void slices_of(const gd_reducer *r, int k, size_t *first, size_t *last) {
    int ranks = r->c->size / r->out.size, from = k * ranks;
    size_t unused;
    gd_slice_of(r->count, from, r->c->size, first, &unused);
    gd_slice_of(r->count, from + ranks - 1, r->c->size, &unused, last);
}

size_t gd__section_of(const gd_reducer *r, bool sliced, int k, size_t b, size_t *from) {
    size_t section = r->out.section, last = r->count;
    if (sliced) {
        slices_of(r, k, from, &last);
        *from += b * section;
    } else {
        *from = b * r->bucket + (size_t)k * section;
    }
    size_t left = *from < last ? last - *from : 0;
    if (!left) *from = 0;
    return left < section ? left : section;
}

size_t gd__exchange_buckets(const gd_reducer *r, bool sliced) {
    size_t floats = 0;
    if (!sliced) return r->n_buckets;
    for (int k = 0; k < r->out.size; k++) {
        size_t first, last;
        slices_of(r, k, &first, &last);
        if (last - first > floats) floats = last - first;
    }
    return (floats + r->out.section - 1) / r->out.section;
}

/* ---- construction ---- */

/* Buckets are cut alike on all ranks, those that exchange nothing themselves included. */
static void cut_buckets(gd_reducer *r, size_t bucket_bytes, size_t members) {
    size_t bytes = bucket_bytes ? bucket_bytes : BUCKET_BYTES;
    if (!bucket_bytes && bytes < members * SECTION_BYTES) bytes = members * SECTION_BYTES;
    size_t section = (bytes / sizeof(float) + members - 1) / members;
    r->out.section = (section + GD__LINE - 1) / GD__LINE * GD__LINE;
    if (!r->out.section) r->out.section = GD__LINE;
    r->bucket = r->out.section * members;
    r->n_buckets = (r->count + r->bucket - 1) / r->bucket;
}

gd_status gd__exchange_open(gd_reducer *r, size_t bucket_bytes) {
    gd_comm *c = r->c;
    gd__exchange *x = &r->out;
    bool by_hosts = gd__host_is_node(r);
    cut_buckets(r, bucket_bytes, c->hosts == 1 ? 1 : (size_t)(by_hosts ? c->hosts : c->size));
    if (c->hosts == 1 || (by_hosts && c->host_rank)) return GD_OK;
    x->comm = by_hosts ? c->mpi->bulk_leaders : c->mpi->bulk_world;
    GD_MPI(MPI_Comm_size(x->comm, &x->size));
    GD_MPI(MPI_Comm_rank(x->comm, &x->rank));
    x->parts = by_hosts ? 1 : (size_t)gd__tree_handed(r->parts);
    x->tag = c->mpi->reducers % REDUCERS * TAGS;
    return GD_OK;
}

static gd_status make_slot(gd__exchange *x, gd__transfer *t) {
    size_t others = (size_t)x->size - 1, floats = others * x->parts * x->section;
    t->request = calloc(2 * others, sizeof *t->request);
    t->received = malloc(floats * sizeof *t->received);
    t->sent = x->parts > 1 ? malloc(floats * sizeof *t->sent) : NULL;
    if (!t->request || !t->received || (x->parts > 1 && !t->sent))
        GD_FAIL(NOMEM, "reduce: no memory for buckets of %zu bytes", floats * sizeof *t->received);
    return GD_OK;
}

gd_status gd__exchange_make_room(gd_reducer *r) {
    gd__exchange *x = &r->out;
    if (x->comm == MPI_COMM_NULL) return GD_OK;
    size_t most = r->n_buckets, sliced = gd__exchange_buckets(r, true);
    if (sliced > most) most = sliced;
    x->n_slots = most < SLOTS ? (int)most : SLOTS;
    x->slot = calloc((size_t)x->n_slots + 1, sizeof *x->slot);
    x->done = calloc(most + 1, 1);
    x->source = calloc((size_t)x->size * x->parts, sizeof *x->source);
    if (!x->slot || !x->done || !x->source) GD_FAIL(NOMEM, "reduce: no memory for %zu buckets", most);
    for (int k = 0; k < x->n_slots; k++) GD_TRY(make_slot(x, &x->slot[k]));
    return GD_OK;
}

void gd__exchange_close(gd_reducer *r) {
    gd__exchange *x = &r->out;
    for (int k = 0; k < x->n_slots && x->slot; k++) {
        gd__transfer *t = &x->slot[k];
        if (t->stage != GD__FREE_SLOT) continue; /* its memory is the library's still */
        free(t->request);
        free(t->received);
        free(t->sent);
    }
    if (!x->in_flight) free(x->slot);
    free(x->done);
    free(x->source);
}

/* ---- one bucket ---- */

/* Neighbours first, everybody another one: d = 1 .. size - 1. */
static int member(const gd__exchange *x, int d) { return (x->rank + d) % x->size; }

static float *received_of(const gd__exchange *x, const gd__transfer *t, int d) {
    return t->received + (size_t)(d - 1) * x->parts * x->section;
}

static gd_status receive(gd__exchange *x, gd__transfer *t, float *to, size_t floats, int from, int tag) {
    if (floats) GD_MPI(MPI_Irecv(to, (int)floats, MPI_FLOAT, from, tag, x->comm, &t->request[t->n++]));
    return GD_OK;
}

static gd_status send(gd__exchange *x, gd__transfer *t, const float *what, size_t floats, int to, int tag) {
    if (floats) GD_MPI(MPI_Isend(what, (int)floats, MPI_FLOAT, to, tag, x->comm, &t->request[t->n++]));
    return GD_OK;
}

/* Two tags a bucket. Messages of equal tag stay in order, and far fewer are under way than there are tags. */
static int tag_of(const gd__exchange *x, size_t b, bool spreading) {
    return x->tag + (int)(b % (TAGS / 2)) * 2 + spreading;
}

/* What member d sums: of every arena, in the arena or packed. */
static const float *handed_to(const gd_reducer *r, gd__transfer *t, int d, size_t from, size_t n) {
    const gd__exchange *x = &r->out;
    if (x->parts == 1) return r->arena + from;
    float *to = t->sent + (size_t)(d - 1) * x->parts * x->section;
    for (size_t p = 0; p < x->parts; p++) memcpy(to + p * n, r->arena + p * r->stride + from, n * sizeof *to);
    return to;
}

static gd_status start_summing(gd_reducer *r, gd__transfer *t, size_t b) {
    gd__exchange *x = &r->out;
    size_t from, mine = gd__section_of(r, r->sliced, x->rank, b, &from);
    int tag = tag_of(x, b, false);
    t->bucket = b;
    t->n = 0;
    t->stage = GD__SUMMING;
    x->in_flight++;
    for (int d = 1; d < x->size; d++) GD_TRY(receive(x, t, received_of(x, t, d), mine * x->parts, member(x, d), tag));
    for (int d = 1; d < x->size; d++) {
        size_t n = gd__section_of(r, r->sliced, member(x, d), b, &from);
        GD_TRY(send(x, t, handed_to(r, t, d, from, n), n * x->parts, member(x, d), tag));
    }
    return GD_OK;
}

/* This member's section, over all members in their order. */
static void sum_section(gd_reducer *r, const gd__transfer *t) {
    gd__exchange *x = &r->out;
    size_t from, n = gd__section_of(r, r->sliced, x->rank, t->bucket, &from);
    for (int d = 0; d < x->size; d++)
        for (size_t p = 0; p < x->parts; p++)
            x->source[(size_t)member(x, d) * x->parts + p] =
                d ? received_of(x, t, d) + p * n : r->arena + p * r->stride + from;
    gd__tree_sum(x->source, x->size * (int)x->parts, 0, n, r->arena + from);
}

/* Every member's section to all. */
static gd_status start_spreading(gd_reducer *r, gd__transfer *t, size_t b, bool sliced, float *all) {
    gd__exchange *x = &r->out;
    size_t from, n;
    int tag = tag_of(x, b, true);
    t->bucket = b;
    t->n = 0;
    if (t->stage == GD__FREE_SLOT) x->in_flight++;
    t->stage = GD__SPREADING;
    for (int d = 1; d < x->size; d++) {
        n = gd__section_of(r, sliced, member(x, d), b, &from);
        GD_TRY(receive(x, t, all + from, n, member(x, d), tag));
    }
    n = gd__section_of(r, sliced, x->rank, b, &from);
    for (int d = 1; d < x->size; d++) GD_TRY(send(x, t, all + from, n, member(x, d), tag));
    return GD_OK;
}

static gd_status messages_there(gd__transfer *t, bool *there) {
    int all;
    GD_MPI(MPI_Testall(t->n, t->request, &all, MPI_STATUSES_IGNORE));
    *there = all;
    return GD_OK;
}

static void end_bucket(gd_reducer *r, gd__transfer *t) {
    gd__exchange *x = &r->out;
    gd_comm_worked(r->c);
    x->done[t->bucket] = true;
    t->stage = GD__FREE_SLOT;
    x->in_flight--;
    x->left--;
}

static gd_status go_on(gd_reducer *r, gd__transfer *t) {
    bool there = false;
    GD_TRY(messages_there(t, &there));
    if (!there) return GD_OK;
    if (t->stage == GD__SUMMING) {
        sum_section(r, t);
        if (!r->sliced) return start_spreading(r, t, t->bucket, false, r->arena);
    }
    end_bucket(r, t);
    return GD_OK;
}

/* ---- all of them ---- */

static void begin(gd__exchange *x, size_t buckets) {
    if (x->comm == MPI_COMM_NULL) return;
    memset(x->done, 0, buckets);
    x->begun = 0;
    x->left = buckets;
}

void gd__exchange_begin(gd_reducer *r) { begin(&r->out, gd__exchange_buckets(r, r->sliced)); }

gd_status gd__exchange_advance(gd_reducer *r, gd__next_bucket next) {
    gd__exchange *x = &r->out;
    size_t buckets = gd__exchange_buckets(r, r->sliced), b;
    for (int k = 0; k < x->n_slots; k++)
        if (x->slot[k].stage != GD__FREE_SLOT) GD_TRY(go_on(r, &x->slot[k]));
    for (int k = 0; k < x->n_slots && x->begun < buckets; k++) {
        if (x->slot[k].stage != GD__FREE_SLOT) continue;
        if (!next(r, x->begun, &b)) break;
        x->begun++;
        GD_TRY(start_summing(r, &x->slot[k], b));
    }
    return GD_OK;
}

static gd_status spread_some(gd_reducer *r, size_t buckets, float *all) {
    gd__exchange *x = &r->out;
    bool there = false;
    for (int k = 0; k < x->n_slots; k++) {
        gd__transfer *t = &x->slot[k];
        if (t->stage != GD__FREE_SLOT) {
            GD_TRY(messages_there(t, &there));
            if (!there) continue;
            end_bucket(r, t);
        }
        if (x->begun < buckets) GD_TRY(start_spreading(r, t, x->begun++, true, all));
    }
    return GD_OK;
}

gd_status gd__exchange_slices(gd_reducer *r, float *all) {
    gd__exchange *x = &r->out;
    size_t buckets = x->comm == MPI_COMM_NULL ? 0 : gd__exchange_buckets(r, true);
    if (!buckets) return GD_OK;
    begin(x, buckets);
    for (int tries = 0;; tries++) {
        size_t before = x->left;
        GD_TRY(spread_some(r, buckets, all));
        if (!x->left) return GD_OK;
        if (x->left != before) tries = 0;
        gd__mark(r->c, GD__SLICES, buckets - x->left);
        gd__comm_advance(r->c);
        gd__mpi_nap(tries);
    }
}
