/* dist/reduce.c -- sums of gradient arenas over shards, ranks and hosts, always in tree order. */
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
    size_t size;          /* ranks in it                                             */
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
    int size;
    if (c->hosts == 1 || (host_is_node(r) && c->host_rank)) return GD_OK;
    x->comm = host_is_node(r) ? c->mpi->leaders : c->mpi->world;
    GD_MPI(MPI_Comm_size(x->comm, &size));
    x->size = (size_t)size;
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

/* This rank's share of the arenas: whole tiles, so that no two ranks write into one cache line. */
static void share(const gd_reducer *r, size_t *from, size_t *to) {
    size_t tiles = (r->count + GD__TREE_TILE - 1) / GD__TREE_TILE, size = (size_t)r->c->host_size;
    size_t rank = (size_t)r->c->host_rank;
    *from = tiles * rank / size * GD__TREE_TILE;
    *to = tiles * (rank + 1) / size * GD__TREE_TILE;
    if (*to > r->count) *to = r->count;
    if (*from > r->count) *from = r->count;
}

/* Sums the share over the host and writes it to everybody, tile by tile while it is in the cache: nobody
 * else touches these floats. */
static void sum_share(gd_reducer *r) {
    size_t from, to;
    share(r, &from, &to);
    ptrdiff_t tiles = (ptrdiff_t)((to - from + GD__TREE_TILE - 1) / GD__TREE_TILE);
#pragma omp parallel for schedule(static) if (tiles > 16)
    for (ptrdiff_t t = 0; t < tiles; t++) {
        float room[GD__TREE_DEPTH][GD__TREE_TILE];
        size_t at = from + (size_t)t * GD__TREE_TILE, n = to - at < GD__TREE_TILE ? to - at : GD__TREE_TILE;
        gd__tree_sum_tile(r->source, r->n_sources, at, n, r->arena + at, room, 0);
        for (int k = 0; k < r->c->host_size; k++)
            if (k != r->c->host_rank) memcpy((float *)r->host[k] + at, r->arena + at, n * sizeof(float));
    }
}

/* ---- between hosts ---- */

/* What every rank is to sum of the bucket that starts at `at`: [rank][arena][section], zeros at the end. */
static void pack(const gd_reducer *r, size_t at) {
    const exchange *x = &r->out;
    size_t section = x->bucket / x->size;
    float *to = x->sent;
    for (size_t k = 0; k < x->size; k++) {
        size_t from = at + k * section, left = from < r->count ? r->count - from : 0;
        size_t now = left < section ? left : section;
        for (size_t p = 0; p < x->parts; p++, to += section) {
            memcpy(to, r->arena + p * r->stride + (now ? from : 0), now * sizeof *to);
            memset(to + now, 0, (section - now) * sizeof *to);
        }
    }
}

/* Non-blocking calls and a wait that sleeps: the ranks that wait leave their core to the others. */
static gd_status exchange_bucket(gd_reducer *r, size_t at) {
    exchange *x = &r->out;
    size_t section = x->bucket / x->size, count = r->count - at < x->bucket ? r->count - at : x->bucket;
    int n = (int)section, each = (int)(section * x->parts);
    MPI_Request request;
    pack(r, at);
    GD_MPI(MPI_Ialltoall(x->sent, each, MPI_FLOAT, x->received, each, MPI_FLOAT, x->comm, &request));
    GD_TRY(gd__mpi_wait(&request));
    gd__tree_sum(x->source, (int)(x->size * x->parts), 0, section, x->section);
    GD_MPI(MPI_Iallgather(x->section, n, MPI_FLOAT, x->whole, n, MPI_FLOAT, x->comm, &request));
    GD_TRY(gd__mpi_wait(&request));
    memcpy(r->arena + at, x->whole, count * sizeof(float));
    return GD_OK;
}

static gd_status exchange_all(gd_reducer *r) {
    if (r->out.comm == MPI_COMM_NULL) return GD_OK;
    for (size_t at = 0; at < r->count; at += r->out.bucket) GD_TRY(exchange_bucket(r, at));
    return GD_OK;
}

/* Hosts are no nodes of the tree: every rank speaks for itself. */
static gd_status exchange_by_ranks(gd_reducer *r) {
    if (r->parts > 1 && r->out.parts == 1)
        gd__tree_sum(r->source + r->c->host_rank * r->parts, r->parts, 0, r->count, r->arena);
    return exchange_all(r);
}

static gd_status exchange_by_hosts(gd_reducer *r) {
    gd__board *board = r->c->mpi->board;
    gd__board_meet(board);
    sum_share(r);
    gd__board_meet(board);
    if (r->c->hosts == 1) return GD_OK;
    gd_status st = exchange_all(r);
    gd__board_meet(board);
    if (r->c->host_rank) memcpy(r->arena, r->host[0], r->count * sizeof(float));
    gd__board_meet(board);
    return st;
}

/* ---- the whole ---- */

gd_status gd_reducer_start(gd_reducer *r) {
    if (r->started) GD_FAIL(INTERNAL, "reduce: started twice");
    r->started = true;
    return GD_OK;
}

gd_status gd_reducer_finish(gd_reducer *r) {
    if (!r->started) GD_FAIL(INTERNAL, "reduce: finished without a start");
    r->started = false;
    if (r->c->size > 1) return host_is_node(r) ? exchange_by_hosts(r) : exchange_by_ranks(r);
    if (r->parts > 1) gd__tree_sum(r->source, r->parts, 0, r->count, r->arena);
    return GD_OK;
}
