/* dist/reduce.c -- sums of gradient arenas over shards, ranks and hosts, always in tree order. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dist/reduce_internal.h"
#include "dist/tree.h"

enum { ALIGN = 64, REST = 2000000 /* nanoseconds */, LOOKS_APART = 50000 };

static bool advance_all(gd_comm *c);

/* ---- construction ---- */

static size_t flag_bytes(const gd_reducer *r) { return sizeof(gd__sign) + r->n_buckets * sizeof(gd__flags); }

static gd_status make_lists(gd_reducer *r, size_t bucket_bytes) {
    r->n_sources = r->c->host_size * r->parts;
    r->host = calloc((size_t)r->c->host_size, sizeof *r->host);
    r->source = calloc((size_t)r->n_sources, sizeof *r->source);
    if (!r->host || !r->source) GD_FAIL(NOMEM, "gradients: no memory for %d shards", r->n_sources);
    if (r->c->size == 1) return GD_OK;
    GD_TRY(gd__exchange_open(r, bucket_bytes));
    r->missing = calloc(r->n_buckets + 1, sizeof *r->missing);
    r->stage = calloc(r->n_buckets + 1, sizeof *r->stage);
    r->order = calloc(r->n_buckets + 1, sizeof *r->order);
    if (!r->missing || !r->stage || !r->order) GD_FAIL(NOMEM, "gradients: no memory for %zu buckets", r->n_buckets);
    return gd__exchange_make_room(r);
}

/* Collective. */
static gd_status make_arenas(gd_reducer *r) {
    size_t bytes = (size_t)r->parts * r->stride * sizeof(float);
    gd_comm *c = r->c;
    if (c->size == 1) {
        r->host[0] = aligned_alloc(ALIGN, bytes ? bytes : ALIGN);
        if (!r->host[0]) GD_FAIL(NOMEM, "gradients: no memory for %zu bytes", bytes);
        memset(r->host[0], 0, bytes);
    } else {
        GD_TRY(gd__mpi_window(c->mpi, bytes + flag_bytes(r), r->host, &r->window));
        r->sign = (gd__sign *)(void *)((char *)r->host[0] + bytes); /* arenas are whole lines */
        r->flags = (gd__flags *)(void *)(r->sign + 1);
    }
    r->arena = r->host[c->host_rank];
    for (int k = 0; k < r->n_sources; k++)
        r->source[k] = (const float *)r->host[k / r->parts] + (size_t)(k % r->parts) * r->stride;
    return GD_OK;
}

gd_status gd_reducer_new(gd_comm *c, size_t count, int parts, size_t bucket_bytes, gd_reducer **out) {
    const size_t unit = ALIGN / sizeof(float);
    gd_reducer *r = calloc(1, sizeof *r);
    gd_status st = r ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "reduce: no memory");
    if (r) {
        *r = (gd_reducer){
            .c = c, .count = count, .stride = (count + unit - 1) / unit * unit, .parts = parts, .window = -1};
        r->out.comm = MPI_COMM_NULL;
        c->advance = advance_all;
        st = make_lists(r, bucket_bytes);
    }
    if (c->mpi) c->mpi->reducers++;
    st = gd_comm_agree(c, st);
    if (st == GD_OK) st = gd_comm_agree(c, make_arenas(r));
    if (st == GD_OK) *out = r;
    else gd_reducer_free(r);
    return st;
}

static void leave_list(gd_reducer *r) {
    for (gd_reducer **at = &r->c->busy; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            break;
        }
    r->next = NULL;
}

void gd_reducer_free(gd_reducer *r) {
    if (!r) return;
    leave_list(r);
    if (r->window >= 0 && !r->out.in_flight) gd__mpi_give_back(r->c->mpi, r->window);
    if (r->c->size == 1 && r->host) free(r->host[0]);
    gd__exchange_close(r);
    free(r->host);
    free(r->source);
    free(r->missing);
    free(r->stage);
    free(r->order);
    free(r);
}

float *gd_reducer_arena(gd_reducer *r, int part) { return r->arena + (size_t)part * r->stride; }

/* ---- within a host ---- */

static bool reached(const _Atomic uint32_t *flag, uint32_t value) {
    return atomic_load_explicit(flag, memory_order_acquire) == value;
}

/* Sums the range over the host and writes it to the first `copies` ranks, tile by tile while it is in the cache:
 * nobody else touches these floats. */
static void sum_range(gd_reducer *r, size_t from, size_t to, int copies) {
    ptrdiff_t tiles = from < to ? (ptrdiff_t)((to - from + GD__TREE_TILE - 1) / GD__TREE_TILE) : 0;
#pragma omp parallel for schedule(static) if (tiles > 16)
    for (ptrdiff_t t = 0; t < tiles; t++) {
        float room[GD__TREE_DEPTH][GD__TREE_TILE];
        size_t at = from + (size_t)t * GD__TREE_TILE, n = to - at < GD__TREE_TILE ? to - at : GD__TREE_TILE;
        gd__tree_sum_tile(r->source, r->n_sources, at, n, r->arena + at, room, 0);
        for (int k = 0; k < copies; k++)
            if (k != r->c->host_rank) memcpy((float *)r->host[k] + at, r->arena + at, n * sizeof(float));
    }
}

static void cut_to(size_t *from, size_t *to, size_t first, size_t last) {
    if (*from < first) *from = first;
    if (*to > last) *to = last;
}

/* What this rank sums of bucket b: a share in whole lines, or what is in its own slice. */
static void sum_share(gd_reducer *r, size_t b) {
    size_t from, to, first, last, size = (size_t)r->c->host_size, rank = (size_t)r->c->host_rank;
    bool one = r->c->hosts == 1;
    gd__bucket_range(r, b, &from, &to);
    if (r->sliced && one) {
        gd_slice_of(r->count, r->c->rank, r->c->size, &first, &last);
    } else {
        size_t lines = (to - from + GD__LINE - 1) / GD__LINE;
        first = from + lines * rank / size * GD__LINE;
        last = from + lines * (rank + 1) / size * GD__LINE;
    }
    cut_to(&from, &to, first, last);
    sum_range(r, from, to, !one ? 1 : r->sliced ? 0 : r->c->host_size);
}

/* A rank that speaks for itself. */
static void sum_own_parts(gd_reducer *r, size_t b) {
    size_t from, to;
    gd__bucket_range(r, b, &from, &to);
    if (r->parts > 1 && r->out.parts == 1)
        gd__tree_sum(r->source + r->c->host_rank * r->parts, r->parts, from, to - from, r->arena + from);
}

/* Nobody is told here of what moves on a single rank. */
static bool sum_what_arrived(gd_reducer *r) {
    uint32_t all = r->round * (uint32_t)r->c->host_size;
    bool by_hosts = gd__host_is_node(r), news = false;
    for (size_t b = r->first; b < r->n_buckets; b++) {
        if (r->stage[b] != GD__ARRIVED) continue;
        if (!by_hosts) {
            sum_own_parts(r, b);
        } else {
            if (!reached(&r->flags[b].arrived, all)) continue;
            sum_share(r, b);
            atomic_fetch_add_explicit(&r->flags[b].summed, 1, memory_order_acq_rel);
            news = true;
        }
        r->stage[b] = GD__SUMMED;
    }
    while (r->summed < r->n_buckets && r->stage[r->summed] >= GD__SUMMED &&
           (!by_hosts || reached(&r->flags[r->summed].summed, all)))
        r->summed++;
    return news;
}

/* ---- between hosts ---- */

/* Sliced, a bucket of the exchange has pieces from everywhere. */
static bool next_to_travel(const gd_reducer *r, size_t i, size_t *b) {
    *b = i;
    if (r->sliced) return r->summed == r->n_buckets;
    if (i >= r->arrived) return false;
    *b = r->order[i];
    if (r->stage[*b] < GD__SUMMED) return false;
    return !gd__host_is_node(r) || reached(&r->flags[*b].summed, r->round * (uint32_t)r->c->host_size);
}

/* The leader tells what came back. */
static bool tell_what_is_done(gd_reducer *r) {
    bool news = false;
    for (size_t b = r->first; b < r->n_buckets && !r->sliced; b++) {
        if (r->stage[b] != GD__SUMMED || !r->out.done[b]) continue;
        r->stage[b] = GD__HERE;
        if (!gd__host_is_node(r)) continue;
        atomic_store_explicit(&r->flags[b].done, r->round, memory_order_release);
        news = true;
    }
    if (r->out.left || reached(&r->sign->ended, r->round) || !gd__host_is_node(r)) return news;
    atomic_store_explicit(&r->sign->ended, r->round, memory_order_release);
    return true;
}

static void copy_from_leader(gd_reducer *r, size_t from, size_t to) {
    if (to > from) memcpy(r->arena + from, (const float *)r->host[0] + from, (to - from) * sizeof(float));
}

/* The others copy it. */
static bool copy_what_is_done(gd_reducer *r) {
    size_t from, to;
    for (size_t b = r->first; b < r->n_buckets && !r->sliced; b++) {
        if (r->stage[b] != GD__SUMMED || !reached(&r->flags[b].done, r->round)) continue;
        gd__bucket_range(r, b, &from, &to);
        copy_from_leader(r, from, to);
        r->stage[b] = GD__HERE;
    }
    if (r->copied || !reached(&r->sign->ended, r->round)) return false;
    for (size_t b = r->first; b < r->n_buckets && !r->sliced; b++)
        if (r->stage[b] != GD__HERE) return false;
    if (r->sliced) {
        gd_slice_of(r->count, r->c->rank, r->c->size, &from, &to);
        copy_from_leader(r, from, to);
    }
    r->copied = true;
    atomic_fetch_add_explicit(&r->sign->copied, 1, memory_order_acq_rel);
    return true;
}

/* ---- going on ---- */

static void move_first(gd_reducer *r) {
    int end = r->c->hosts == 1 || r->sliced ? GD__SUMMED : GD__HERE;
    size_t before = r->first;
    while (r->first < r->n_buckets && r->stage[r->first] >= end) r->first++;
    if (r->first > before) gd_comm_worked(r->c);
}

static gd_status advance(gd_reducer *r) {
    bool news = sum_what_arrived(r);
    if (r->out.comm != MPI_COMM_NULL) {
        GD_TRY(gd__exchange_advance(r, next_to_travel));
        news |= tell_what_is_done(r);
    } else if (r->c->hosts > 1) {
        news |= copy_what_is_done(r);
    }
    if (news) gd__board_tell(r->c->mpi->board);
    move_first(r);
    return GD_OK;
}

/* Nothing of this rank's round is left to do, for it or for others. */
static bool complete(const gd_reducer *r) {
    if (r->summed < r->n_buckets) return false;
    if (r->c->hosts == 1) return true;
    if (r->out.comm == MPI_COMM_NULL) return r->copied;
    if (r->out.left || r->out.in_flight) return false;
    if (!gd__host_is_node(r)) return true;
    return reached(&r->sign->copied, r->round * (uint32_t)(r->c->host_size - 1));
}

/* Goes on with every reduction under way. True: something is left to do. */
static bool advance_all(gd_comm *c) {
    bool more = false;
    c->advancing = true;
    for (gd_reducer *r = c->busy; r; r = r->next) {
        gd_status st = r->st == GD_OK ? advance(r) : GD_OK;
        if (st != GD_OK) {
            r->st = st;
            gd_error_save(st, &r->error);
        }
        more |= r->st == GD_OK && !complete(r);
    }
    c->advancing = false;
    return more;
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

/* Steps of a small program are shorter than a look at messages. */
void gd_reducer_progress(gd_comm *c) {
    if (!c->busy) return;
    int64_t now = nanoseconds();
    if (now - c->looked < LOOKS_APART) return;
    gd__comm_advance(c);
    c->looked = now;
}

/* ---- a round ---- */

gd_status gd_reducer_open(gd_reducer *r, bool sliced) {
    if (r->open) GD_FAIL(INTERNAL, "reduce: started twice");
    r->open = true;
    r->sliced = sliced;
    if (r->c->size == 1) return GD_OK;
    GD_TRY(gd__enter(r->c, GD__REDUCE, 0, r->count * sizeof(float)));
    r->round++;
    r->first = r->summed = r->arrived = 0;
    r->copied = false;
    r->st = GD_OK;
    for (size_t b = 0; b < r->n_buckets; b++) {
        size_t from, to;
        gd__bucket_range(r, b, &from, &to);
        r->missing[b] = to - from;
        r->stage[b] = GD__OPEN;
    }
    gd__exchange_begin(r);
    r->next = r->c->busy;
    r->c->busy = r;
    return gd__leave(r->c, GD_OK);
}

bool gd_reducer_is_open(const gd_reducer *r) { return r->open; }

static void arrive(gd_reducer *r, size_t b) {
    r->stage[b] = GD__ARRIVED;
    r->order[r->arrived++] = b;
    if (gd__host_is_node(r)) atomic_fetch_add_explicit(&r->flags[b].arrived, 1, memory_order_acq_rel);
}

void gd_reducer_ready(gd_reducer *r, size_t first, size_t last) {
    bool news = false;
    if (r->c->size == 1 || last > r->count) return;
    for (size_t b = first / r->bucket; b < r->n_buckets && b * r->bucket < last; b++) {
        size_t from, to;
        gd__bucket_range(r, b, &from, &to);
        cut_to(&from, &to, first, last);
        if (from >= to || r->stage[b] != GD__OPEN) continue;
        r->missing[b] -= to - from;
        if (r->missing[b]) continue;
        arrive(r, b);
        news = true;
    }
    if (news) gd__board_tell(r->c->mpi->board);
}

gd_status gd_reducer_start(gd_reducer *r, bool sliced) {
    GD_TRY(gd_reducer_open(r, sliced));
    gd_reducer_ready(r, 0, r->count);
    return GD_OK;
}

void gd_reducer_all_ready(gd_reducer *r) {
    if (r->c->size == 1) return;
    for (size_t b = 0; b < r->n_buckets; b++)
        if (r->stage[b] == GD__OPEN) arrive(r, b);
    gd__board_tell(r->c->mpi->board);
}

/* Sleeps until this host has news, or looks again soon where messages of others are awaited. */
static void rest(gd_reducer *r, unsigned news, int tries) {
    bool messages = false;
    for (gd_reducer *k = r->c->busy; k; k = k->next) messages |= k->out.in_flight > 0;
    gd__mark(r->c, GD__REDUCE, r->first);
    if (messages) gd__mpi_nap(tries);
    else gd__board_sleep(r->c->mpi->board, news, REST);
}

static gd_status wait_for(gd_reducer *r) {
    gd__board *board = r->c->mpi->board;
    size_t before = 0;
    for (int tries = 0;; tries++) {
        unsigned news = gd__board_news(board);
        gd__comm_advance(r->c);
        if (r->st != GD_OK) return gd_error_restore(&r->error);
        if (complete(r)) return GD_OK;
        if (r->out.left != before) tries = 0;
        before = r->out.left;
        rest(r, news, tries);
    }
}

gd_status gd_reducer_finish(gd_reducer *r) {
    if (!r->open) GD_FAIL(INTERNAL, "reduce: finished without a start");
    r->open = false;
    if (r->c->size == 1) {
        if (r->parts > 1) gd__tree_sum(r->source, r->parts, 0, r->count, r->arena);
        return GD_OK;
    }
    gd_status st = gd__enter(r->c, GD__REDUCE, 0, r->count * sizeof(float));
    if (st == GD_OK) st = wait_for(r);
    leave_list(r);
    return gd__leave(r->c, st);
}
