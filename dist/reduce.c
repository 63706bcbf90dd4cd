#include "dist/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "dist/comm_mpi.h"
#include "dist/tree.h"

enum { ALIGN = 64, BUCKET_BYTES = 1 << 20 };

/* One bucket between hosts (or, where hosts are no nodes of the tree, between all ranks): everybody
 * sums one part of it, then all get all parts. */
typedef struct exchange {
    MPI_Comm comm;
    int rank, size;
    size_t bucket;         /* floats, a multiple of size              */
    float *pieces;         /* this one's part, from every other       */
    float *sums;           /* the same, summed                        */
    const float **source;
} exchange;

struct gd_reducer {
    gd_comm *c;
    size_t count;          /* floats                                  */
    float *arena;          /* of this rank                            */
    bool started;
    /* ranks of this host, in shared memory */
    void **part;           /* host_size: arenas                       */
    const float **source;  /* the same, for sums                      */
    exchange out;          /* comm MPI_COMM_NULL: one host, or not the one who exchanges */
};

/* ---- construction ---- */

static gd_status make_exchange(gd_reducer *r, size_t bucket_bytes) {
    const gd_comm *c = r->c;
    if (c->hosts == 1 || (c->mpi->blocks && c->host_rank)) return GD_OK;
    exchange *x = &r->out;
    MPI_Comm comm = c->mpi->blocks ? c->mpi->leaders : c->mpi->world;
    GD_MPI(MPI_Comm_rank(comm, &x->rank));
    GD_MPI(MPI_Comm_size(comm, &x->size));
    size_t unit = (size_t)x->size, floats = (bucket_bytes ? bucket_bytes : BUCKET_BYTES) / sizeof(float);
    x->bucket = (floats + unit - 1) / unit * unit;
    x->pieces = malloc(x->bucket * sizeof(float));
    x->sums = malloc(2 * x->bucket * sizeof(float));
    x->source = malloc(unit * sizeof *x->source);
    if (!x->pieces || !x->sums || !x->source) GD_FAIL(NOMEM, "reduce: no memory for buckets of %zu bytes", bucket_bytes);
    for (int k = 0; k < x->size; k++) x->source[k] = x->pieces + (size_t)k * (x->bucket / unit);
    x->comm = comm;
    return GD_OK;
}

static gd_status make_arena(gd_reducer *r) {
    size_t bytes = (r->count * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
    const gd_comm *c = r->c;
    if (c->size == 1) {
        r->arena = aligned_alloc(ALIGN, bytes ? bytes : ALIGN);
        if (!r->arena) GD_FAIL(NOMEM, "gradients: no memory for %zu bytes", bytes);
        memset(r->arena, 0, bytes);
        return GD_OK;
    }
    r->part = calloc((size_t)c->host_size, sizeof *r->part);
    r->source = calloc((size_t)c->host_size, sizeof *r->source);
    if (!r->part || !r->source) GD_FAIL(NOMEM, "gradients: no memory for %d ranks", c->host_size);
    if (c->mpi->n_windows == GD__WINDOWS_MAX) GD_FAIL(INTERNAL, "gradients: more than %d reducers", GD__WINDOWS_MAX);
    GD_TRY(gd__window_new(c->mpi->host, bytes, &c->mpi->window[c->mpi->n_windows], r->part));
    c->mpi->n_windows++;
    for (int k = 0; k < c->host_size; k++) r->source[k] = r->part[k];
    r->arena = r->part[c->host_rank];
    return GD_OK;
}

gd_status gd_reducer_new(gd_comm *c, size_t count, size_t bucket_bytes, gd_reducer **out) {
    gd_reducer *r = calloc(1, sizeof *r);
    gd_status st = r ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "reduce: no memory");
    GD_TRY(gd_comm_agree(c, st));
    *r = (gd_reducer){.c = c, .count = count, .out = {.comm = MPI_COMM_NULL}};
    st = make_arena(r);
    if (st == GD_OK) st = make_exchange(r, bucket_bytes);
    st = gd_comm_agree(c, st);
    if (st == GD_OK) *out = r;
    else gd_reducer_free(r);
    return st;
}

void gd_reducer_free(gd_reducer *r) {
    if (!r) return;
    if (r->c->size == 1) free(r->arena);
    free(r->part);
    free(r->source);
    free(r->out.pieces);
    free(r->out.sums);
    free(r->out.source);
    free(r);
}

float *gd_reducer_arena(gd_reducer *r) { return r->arena; }

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

/* Sums the share over the host and writes it to everybody: nobody else touches these floats. */
static void sum_share(gd_reducer *r) {
    size_t from, to;
    share(r, &from, &to);
    if (to == from) return;
    gd__tree_sum(r->source, r->c->host_size, from, to - from, r->arena + from);
    for (int k = 0; k < r->c->host_size; k++)
        if (k != r->c->host_rank)
            memcpy((float *)r->part[k] + from, r->arena + from, (to - from) * sizeof(float));
}

/* ---- between hosts ---- */

/* Sums one bucket of `data` over the exchanging ranks, non-blocking calls and a wait that sleeps. */
static gd_status exchange_bucket(exchange *x, float *data, size_t count) {
    size_t part = x->bucket / (size_t)x->size;
    MPI_Request request;
    float *whole = x->sums + x->bucket; /* the bucket, padded */
    memcpy(whole, data, count * sizeof *data);
    memset(whole + count, 0, (x->bucket - count) * sizeof *data);
    GD_MPI(MPI_Ialltoall(whole, (int)part, MPI_FLOAT, x->pieces, (int)part, MPI_FLOAT, x->comm, &request));
    GD_TRY(gd__mpi_wait(&request));
    gd__tree_sum(x->source, x->size, 0, part, x->sums);
    GD_MPI(MPI_Iallgather(x->sums, (int)part, MPI_FLOAT, whole, (int)part, MPI_FLOAT, x->comm, &request));
    GD_TRY(gd__mpi_wait(&request));
    memcpy(data, whole, count * sizeof *data);
    return GD_OK;
}

static gd_status exchange_all(gd_reducer *r) {
    exchange *x = &r->out;
    if (x->comm == MPI_COMM_NULL) return GD_OK;
    for (size_t at = 0; at < r->count; at += x->bucket)
        GD_TRY(exchange_bucket(x, r->arena + at, r->count - at < x->bucket ? r->count - at : x->bucket));
    return GD_OK;
}

/* The leader's sums to the other ranks of its host, each copying its share to itself. */
static void fetch_from_leader(gd_reducer *r) {
    if (r->c->host_rank) memcpy(r->arena, r->part[0], r->count * sizeof(float));
}

/* ---- the whole ---- */

gd_status gd_reducer_start(gd_reducer *r) {
    if (r->started) GD_FAIL(INTERNAL, "reduce: started twice");
    r->started = true;
    return GD_OK;
}

gd_status gd_reducer_finish(gd_reducer *r) {
    gd_comm *c = r->c;
    if (!r->started) GD_FAIL(INTERNAL, "reduce: finished without a start");
    r->started = false;
    if (c->size == 1) return GD_OK;
    if (c->hosts > 1 && !c->mpi->blocks) return exchange_all(r);
    gd__board_meet(c->mpi->board);
    sum_share(r);
    gd__board_meet(c->mpi->board);
    if (c->hosts == 1) return GD_OK;
    gd_status st = exchange_all(r);
    gd__board_meet(c->mpi->board);
    fetch_from_leader(r);
    gd__board_meet(c->mpi->board);
    return st;
}
