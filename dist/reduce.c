/* dist/reduce.c -- sums of gradient arenas over shards, ranks and hosts, always in tree order; slices. */
#include "dist/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "dist/comm_mpi.h"
#include "dist/tree.h"

enum { ALIGN = 64, BUCKET_BYTES = 1 << 20 };

/* Buckets between hosts (or, where hosts are no nodes of the tree, between all ranks): everybody sums
 * one section of a bucket, then all get all sections. */
typedef struct exchange {
    MPI_Comm comm;        /* MPI_COMM_NULL: this rank exchanges nothing              */
    size_t size, rank;    /* ranks in it; this one's number                          */
    size_t parts;         /* arenas that each of them hands over                     */
    size_t bucket;        /* floats, a multiple of size                              */
    float *sent;          /* for every rank its section of every arena               */
    float *received;      /* this rank's section: size x parts of them               */
    float *section;       /* their sum                                               */
    float *whole;         /* the sum of the bucket                                   */
    const float **source; /* received, cut                                           */
} exchange;

struct gd_reducer {
    gd_comm *c;
    size_t count, stride; /* floats of an arena, and from one to the next            */
    int parts;
    float *arena; /* of this rank: parts of them                             */
    bool started;
    int window;           /* number, with more than one rank                         */
    void **host;          /* host_size: the ranks' arenas                            */
    const float **source; /* the arenas of this host (one rank: its own), tree order */
    int n_sources;
    exchange out;
};

/* The sum of a host is a node of the tree: its leader can speak for it. */
static bool host_is_node(const gd_reducer *r) {
    return r->c->hosts == 1 || (r->c->mpi->blocks && gd__tree_handed(r->parts) == 1);
}

/* ---- construction ---- */

static gd_status make_exchange(gd_reducer *r, size_t bucket_bytes) {
    const gd_comm *c = r->c;
    exchange *x = &r->out;
    int size, rank;
    if (c->hosts == 1 || (host_is_node(r) && c->host_rank)) return GD_OK;
    x->comm = host_is_node(r) ? c->mpi->leaders : c->mpi->world;
    GD_MPI(MPI_Comm_size(x->comm, &size));
    GD_MPI(MPI_Comm_rank(x->comm, &rank));
    x->size = (size_t)size;
    x->rank = (size_t)rank;
    x->parts = host_is_node(r) ? 1 : (size_t)gd__tree_handed(r->parts);
    size_t floats = (bucket_bytes ? bucket_bytes : BUCKET_BYTES) / sizeof(float), sources = x->size * x->parts;
    size_t section = (floats + x->size - 1) / x->size;
    if (!section) section = 1;
    x->bucket = section * x->size;
    x->sent = malloc(x->parts * x->bucket * sizeof(float));
    x->received = malloc(x->parts * x->bucket * sizeof(float));
    x->section = malloc(section * sizeof(float));
    x->whole = malloc(x->bucket * sizeof(float));
    x->source = malloc(sources * sizeof *x->source);
    if (!x->sent || !x->received || !x->section || !x->whole || !x->source)
        GD_FAIL(NOMEM, "reduce: no memory for buckets of %zu bytes", x->bucket * sizeof(float));
    for (size_t k = 0; k < sources; k++) x->source[k] = x->received + k * section;
    return GD_OK;
}

static gd_status make_lists(gd_reducer *r, size_t bucket_bytes) {
    r->n_sources = r->c->host_size * r->parts;
    r->host = calloc((size_t)r->c->host_size, sizeof *r->host);
    r->source = calloc((size_t)r->n_sources, sizeof *r->source);
    if (!r->host || !r->source) GD_FAIL(NOMEM, "gradients: no memory for %d shards", r->n_sources);
    return make_exchange(r, bucket_bytes);
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
        GD_TRY(gd__mpi_window(c->mpi, bytes, r->host, &r->window));
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
        st = make_lists(r, bucket_bytes);
    }
    st = gd_comm_agree(c, st);
    if (st == GD_OK) st = gd_comm_agree(c, make_arenas(r));
    if (st == GD_OK) *out = r;
    else gd_reducer_free(r);
    return st;
}

void gd_reducer_free(gd_reducer *r) {
    if (!r) return;
    if (r->window >= 0) gd__mpi_give_back(r->c->mpi, r->window);
    if (r->c->size == 1 && r->host) free(r->host[0]);
    free(r->host);
    free(r->source);
    free(r->out.sent);
    free(r->out.received);
    free(r->out.section);
    free(r->out.whole);
    free(r->out.source);
    free(r);
}

float *gd_reducer_arena(gd_reducer *r, int part) { return r->arena + (size_t)part * r->stride; }

/* ---- within a host ---- */

/* This rank's share of an all-reduce: whole tiles, so that no two ranks write into one cache line. */
static void share(const gd_reducer *r, size_t *from, size_t *to) {
    size_t tiles = (r->count + GD__TREE_TILE - 1) / GD__TREE_TILE, size = (size_t)r->c->host_size;
    size_t rank = (size_t)r->c->host_rank;
    *from = tiles * rank / size * GD__TREE_TILE;
    *to = tiles * (rank + 1) / size * GD__TREE_TILE;
    if (*to > r->count) *to = r->count;
    if (*from > r->count) *from = r->count;
}

/* Sums the range over the host and writes it to the first `copies` ranks, tile by tile while it is in the cache:
 * nobody else touches these floats. */
static void sum_range(gd_reducer *r, size_t from, size_t to, int copies) {
    ptrdiff_t tiles = (ptrdiff_t)((to - from + GD__TREE_TILE - 1) / GD__TREE_TILE);
#pragma omp parallel for schedule(static) if (tiles > 16)
    for (ptrdiff_t t = 0; t < tiles; t++) {
        float room[GD__TREE_DEPTH][GD__TREE_TILE];
        size_t at = from + (size_t)t * GD__TREE_TILE, n = to - at < GD__TREE_TILE ? to - at : GD__TREE_TILE;
        gd__tree_sum_tile(r->source, r->n_sources, at, n, r->arena + at, room, 0);
        for (int k = 0; k < copies; k++)
            if (k != r->c->host_rank) memcpy((float *)r->host[k] + at, r->arena + at, n * sizeof(float));
    }
}

/* ---- between hosts ---- */

static void own_slice(const gd_reducer *r, size_t *first, size_t *last) {
    gd_slice_of(r->count, r->c->rank, r->c->size, first, last);
}

/* The slices of the ranks that member k of the exchange speaks for. */
static void slices_of(const gd_reducer *r, size_t k, size_t *first, size_t *last) {
    int ranks = r->c->size / (int)r->out.size, from = (int)k * ranks;
    size_t unused;
    gd_slice_of(r->count, from, r->c->size, first, &unused);
    gd_slice_of(r->count, from + ranks - 1, r->c->size, &unused, last);
}

/* What member k sums of bucket b. In an all-reduce a bucket is one piece of the arena; sliced, it has a piece of
 * the slices of each member. Returns how many floats, at most a section. */
static size_t section_of(const gd_reducer *r, bool sliced, size_t k, size_t b, size_t *from) {
    size_t section = r->out.bucket / r->out.size, last = r->count;
    if (sliced) {
        slices_of(r, k, from, &last);
        *from += b * section;
    } else {
        *from = b * r->out.bucket + k * section;
    }
    size_t left = *from < last ? last - *from : 0;
    if (!left) *from = 0;
    return left < section ? left : section;
}

static size_t buckets(const gd_reducer *r, bool sliced) {
    size_t floats = sliced ? 0 : r->count, each = sliced ? r->out.bucket / r->out.size : r->out.bucket;
    for (size_t k = 0; sliced && k < r->out.size; k++) {
        size_t first, last;
        slices_of(r, k, &first, &last);
        if (last - first > floats) floats = last - first;
    }
    return (floats + each - 1) / each;
}

/* What every member is to sum of bucket b: [member][arena][section], zeros at the end. */
static void pack(const gd_reducer *r, bool sliced, size_t b) {
    const exchange *x = &r->out;
    size_t section = x->bucket / x->size, from;
    float *to = x->sent;
    for (size_t k = 0; k < x->size; k++) {
        size_t now = section_of(r, sliced, k, b, &from);
        for (size_t p = 0; p < x->parts; p++, to += section) {
            memcpy(to, r->arena + p * r->stride + from, now * sizeof *to);
            memset(to + now, 0, (section - now) * sizeof *to);
        }
    }
}

/* Non-blocking calls and a wait that sleeps: the ranks that wait leave their core to the others. */
static gd_status sum_bucket(gd_reducer *r, bool sliced, size_t b) {
    exchange *x = &r->out;
    size_t section = x->bucket / x->size;
    int each = (int)(section * x->parts);
    MPI_Request request;
    pack(r, sliced, b);
    GD_MPI(MPI_Ialltoall(x->sent, each, MPI_FLOAT, x->received, each, MPI_FLOAT, x->comm, &request));
    GD_TRY(gd__mpi_wait(&request));
    gd__tree_sum(x->source, (int)(x->size * x->parts), 0, section, x->section);
    return GD_OK;
}

/* Every member's section of bucket b to all, into `to`. */
static gd_status spread_bucket(gd_reducer *r, bool sliced, size_t b, float *to) {
    exchange *x = &r->out;
    size_t section = x->bucket / x->size, from;
    int n = (int)section;
    MPI_Request request;
    GD_MPI(MPI_Iallgather(x->section, n, MPI_FLOAT, x->whole, n, MPI_FLOAT, x->comm, &request));
    GD_TRY(gd__mpi_wait(&request));
    for (size_t k = 0; k < x->size; k++) {
        size_t now = section_of(r, sliced, k, b, &from);
        memcpy(to + from, x->whole + k * section, now * sizeof *to);
    }
    return GD_OK;
}

static gd_status exchange_all(gd_reducer *r, bool sliced) {
    if (r->out.comm == MPI_COMM_NULL) return GD_OK;
    size_t n = buckets(r, sliced), from;
    for (size_t b = 0; b < n; b++) {
        gd__mark(r->c, GD__REDUCE, b);
        GD_TRY(sum_bucket(r, sliced, b));
        if (!sliced) {
            GD_TRY(spread_bucket(r, false, b, r->arena));
            continue;
        }
        size_t now = section_of(r, true, r->out.rank, b, &from);
        memcpy(r->arena + from, r->out.section, now * sizeof(float));
    }
    return GD_OK;
}

/* Hosts are no nodes of the tree: every rank speaks for itself. */
static gd_status exchange_by_ranks(gd_reducer *r, bool sliced) {
    if (r->parts > 1 && r->out.parts == 1)
        gd__tree_sum(r->source + r->c->host_rank * r->parts, r->parts, 0, r->count, r->arena);
    return exchange_all(r, sliced);
}

/* Between hosts the sum of the host is the leader's to hand over. */
static gd_status exchange_by_hosts(gd_reducer *r, bool sliced) {
    gd__board *board = r->c->mpi->board;
    bool one = r->c->hosts == 1;
    size_t from = 0, to = r->count;
    if (sliced) own_slice(r, &from, &to);
    size_t first = from, last = to;
    if (!sliced || !one) share(r, &first, &last);
    gd__board_meet(board);
    sum_range(r, first, last, !sliced ? r->c->host_size : one ? 0 : 1);
    gd__board_meet(board);
    if (one) return GD_OK;
    gd_status st = exchange_all(r, sliced);
    gd__board_meet(board);
    if (r->c->host_rank) memcpy(r->arena + from, (const float *)r->host[0] + from, (to - from) * sizeof(float));
    gd__board_meet(board);
    return st;
}

/* The slices that lie in `all` of every member, to all. */
static gd_status spread_slices(gd_reducer *r, float *all) {
    if (r->out.comm == MPI_COMM_NULL) return GD_OK;
    size_t n = buckets(r, true), section = r->out.bucket / r->out.size, from;
    for (size_t b = 0; b < n; b++) {
        size_t now = section_of(r, true, r->out.rank, b, &from);
        memcpy(r->out.section, all + from, now * sizeof(float));
        memset(r->out.section + now, 0, (section - now) * sizeof(float));
        GD_TRY(spread_bucket(r, true, b, all));
    }
    return GD_OK;
}

/* ---- the whole ---- */

gd_status gd_reducer_start(gd_reducer *r) {
    if (r->started) GD_FAIL(INTERNAL, "reduce: started twice");
    r->started = true;
    return GD_OK;
}

static gd_status finish(gd_reducer *r, bool sliced) {
    if (!r->started) GD_FAIL(INTERNAL, "reduce: finished without a start");
    r->started = false;
    if (r->c->size > 1) {
        GD_TRY(gd__enter(r->c, GD__REDUCE, 0, r->count * sizeof(float)));
        return gd__leave(r->c, host_is_node(r) ? exchange_by_hosts(r, sliced) : exchange_by_ranks(r, sliced));
    }
    if (r->parts > 1) gd__tree_sum(r->source, r->parts, 0, r->count, r->arena);
    return GD_OK;
}

gd_status gd_reducer_finish(gd_reducer *r) { return finish(r, false); }
gd_status gd_reducer_finish_slice(gd_reducer *r) { return finish(r, true); }

/* ---- slices ---- */

/* Where all slices of this host's ranks come together: the leader's arena, or, where every rank speaks for
 * itself, its own. */
static gd_status gather(gd_reducer *r, const float *slice, const float **whole) {
    bool by_hosts = r->c->size > 1 && host_is_node(r);
    float *all = by_hosts ? r->host[0] : r->arena;
    size_t first, last;
    own_slice(r, &first, &last);
    memcpy(all + first, slice, (last - first) * sizeof(float));
    *whole = all;
    if (!by_hosts) return spread_slices(r, all);
    gd__board_meet(r->c->mpi->board);
    gd_status st = spread_slices(r, all);
    if (r->c->hosts > 1) gd__board_meet(r->c->mpi->board);
    return st;
}

gd_status gd_reducer_gather(gd_reducer *r, const float *slice, const float **whole) {
    GD_TRY(gd__enter(r->c, GD__SLICES, 0, r->count * sizeof(float)));
    return gd__leave(r->c, gather(r, slice, whole));
}

void gd_reducer_release(gd_reducer *r) {
    if (r->c->size == 1 || !host_is_node(r)) return;
    gd__mark(r->c, GD__SLICES, 0);
    gd__board_meet(r->c->mpi->board);
    gd__mark(r->c, GD__ALONE, 0);
}
