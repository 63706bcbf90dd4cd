/* dist/comm.c -- what all providers share: agreement and sums in tree order. */
#include <stdlib.h>
#include <string.h>

#include "dist/comm_internal.h"
#include "dist/tree.h"

void gd_comm_free(gd_comm *c) {
    if (!c) return;
    free(c->gathered);
    free(c->packed);
    free(c->leaf);
    free(c->check);
    free(c->host_name);
    free(c->leader);
    c->provider->free(c);
}

gd_status gd__comm_make_room(gd_comm *c) {
    c->gathered = malloc((size_t)c->size * c->provider->piece);
    c->packed = malloc(c->provider->piece);
    if (!c->gathered || !c->packed) GD_FAIL(NOMEM, "communicator: no memory for sums over %d ranks", c->size);
    return gd__checks_open(c);
}

void gd_comm_abort(gd_comm *c, int exit_code) {
    c->provider->abort(c, exit_code);
    _Exit(exit_code); /* not reached: a provider's abort ends the process */
}

int gd_comm_rank(const gd_comm *c) { return c->rank; }
int gd_comm_size(const gd_comm *c) { return c->size; }
int gd_comm_host_rank(const gd_comm *c) { return c->host_rank; }
int gd_comm_host_size(const gd_comm *c) { return c->host_size; }
int gd_comm_hosts(const gd_comm *c) { return c->hosts; }
const char *gd_comm_name(const gd_comm *c) { return c->provider->name; }

const char *gd_comm_host_name(const gd_comm *c, int rank) { return c->host_name ? c->host_name[rank] : "this host"; }

void gd_comm_label(gd_comm *c, gd_phase phase, int network, int64_t step) {
    uint64_t label = gd__label_make(phase, network, step);
    if (phase == GD_PHASE_START || phase == GD_PHASE_LOAD) c->steps = 0;
    else c->steps += gd__label_step(label) != gd__label_step(c->label);
    c->label = label;
    atomic_store_explicit(&c->pulse[c->host_rank]->steps, c->steps, memory_order_relaxed);
    gd__mark(c, GD__ALONE, 0);
}

void gd_comm_worked(gd_comm *c) { gd__count(&c->pulse[c->host_rank]->work); }
void gd_comm_gained(gd_comm *c) { gd__count(&c->pulse[c->host_rank]->gain); }

void gd_comm_waits(gd_comm *c, float *room, size_t n) {
    c->waits = room;
    c->waits_room = n;
    if (room) c->n_waits = 0;
}

void gd_comm_waited(gd_comm *c, double seconds) {
    if (!c->waits) return;
    if (c->n_waits < c->waits_room) c->waits[c->n_waits] = (float)seconds;
    c->n_waits++;
}

size_t gd_comm_waits_written(const gd_comm *c) { return c->n_waits; }

bool gd_comm_launched(void) {
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (getenv(signs[i])) return true;
    return false;
}

gd_status gd_comm_bcast(gd_comm *c, int root, void *data, size_t bytes) {
    GD_TRY(gd__enter(c, GD__BCAST, root, bytes));
    return gd__leave(c, c->provider->bcast(c, root, data, bytes));
}

gd_status gd_comm_allgather(gd_comm *c, const void *mine, size_t bytes, void *all) {
    GD_TRY(gd__enter(c, GD__ALLGATHER, 0, bytes));
    return gd__leave(c, c->provider->allgather(c, mine, bytes, all));
}

gd_status gd_comm_barrier(gd_comm *c) {
    char mine = 0, *all = c->gathered;
    GD_TRY(gd__enter(c, GD__BARRIER, 0, 0));
    return gd__leave(c, c->provider->allgather(c, &mine, 1, all));
}

gd_status gd_comm_ibcast_start(gd_comm *c, void *data, size_t bytes) {
    return c->provider->ibcast_start(c, data, bytes);
}

gd_status gd_comm_ibcast_finish(gd_comm *c) {
    GD_TRY(gd__enter(c, GD__PLAN, 0, 0));
    return gd__leave(c, c->provider->ibcast_finish(c));
}

/* ---- sums: everybody gathers all parts and adds them in the same order ---- */

gd_status gd_comm_sum_f64(gd_comm *c, double *x, size_t n) {
    size_t most = c->provider->piece / sizeof *x;
    if (c->size == 1) return GD_OK;
    GD_TRY(gd__enter(c, GD__SUM, 0, n * sizeof *x));
    for (size_t at = 0; at < n; at += most) {
        size_t now = n - at < most ? n - at : most;
        const double *all = c->gathered;
        GD_TRY(c->provider->allgather(c, x + at, now * sizeof *x, c->gathered));
        for (size_t i = 0; i < now; i++) x[at + i] = gd__tree_sum_f64(all + i, c->size, now);
    }
    return gd__leave(c, GD_OK);
}

static gd_status room_for_leaves(gd_comm *c, size_t n) {
    if (n <= c->n_leaves) return GD_OK;
    const float **leaf = realloc(c->leaf, n * sizeof *leaf);
    if (!leaf) GD_FAIL(NOMEM, "sum: no memory for %zu parts", n);
    c->leaf = leaf;
    c->n_leaves = n;
    return GD_OK;
}

/* data: `parts` arrays of n floats in a row, at most a piece. */
static gd_status sum_piece(gd_comm *c, const float *data, size_t parts, size_t n, float *out) {
    size_t leaves = (size_t)c->size * parts;
    GD_TRY(c->provider->allgather(c, data, parts * n * sizeof *data, c->gathered));
    for (size_t k = 0; k < leaves; k++) c->leaf[k] = (const float *)c->gathered + k * n;
    gd__tree_sum(c->leaf, (int)leaves, 0, n, out);
    return GD_OK;
}

gd_status gd_comm_sum_f32(gd_comm *c, float *x, size_t n) {
    size_t most = c->provider->piece / sizeof *x;
    if (c->size == 1) return GD_OK;
    GD_TRY(room_for_leaves(c, (size_t)c->size));
    GD_TRY(gd__enter(c, GD__SUM, 0, n * sizeof *x));
    for (size_t at = 0; at < n; at += most) GD_TRY(sum_piece(c, x + at, 1, n - at < most ? n - at : most, x + at));
    return gd__leave(c, GD_OK);
}

gd_status gd_comm_sum_parts_f32(gd_comm *c, const float *const *part, int parts, size_t n, float *out) {
    if (c->size == 1 || gd__tree_handed(parts) == 1) {
        if (parts > 1 || out != part[0]) gd__tree_sum(part, parts, 0, n, out);
        return gd_comm_sum_f32(c, out, n);
    }
    size_t count = (size_t)parts, most = c->provider->piece / sizeof *out / count;
    if (!most) GD_FAIL(INTERNAL, "sum of %d parts a rank", parts);
    GD_TRY(room_for_leaves(c, (size_t)c->size * count));
    GD_TRY(gd__enter(c, GD__SUM, 0, n * count * sizeof *out));
    for (size_t at = 0; at < n; at += most) {
        size_t now = n - at < most ? n - at : most;
        for (size_t k = 0; k < count; k++) memcpy(c->packed + k * now, part[k] + at, now * sizeof *out);
        GD_TRY(sum_piece(c, c->packed, count, now, out + at));
    }
    return gd__leave(c, GD_OK);
}

/* ---- agreement ---- */

static gd_status agree(gd_comm *c, gd_status local) {
    gd_error mine;
    gd_error_save(local, &mine);
    int32_t code = (int32_t)local, *all = c->gathered;
    int worst = 0;
    GD_TRY(c->provider->allgather(c, &code, sizeof code, all));
    while (worst < c->size && all[worst] == GD_OK) worst++;
    if (worst == c->size) return GD_OK;
    gd_error theirs = mine;
    GD_TRY(c->provider->bcast(c, worst, &theirs, sizeof theirs));
    gd_status reason = theirs.agreed != GD_OK ? theirs.agreed : theirs.status;
    if (local != GD_OK) return gd_error_agree(gd_error_restore(&mine), reason);
    theirs.status = GD_PEER;
    theirs.agreed = reason;
    gd_error_restore(&theirs);
    return gd_context(GD_PEER, "rank %d", worst);
}

gd_status gd_comm_agree(gd_comm *c, gd_status local) {
    if (c->size == 1) return local;
    GD_TRY(gd__enter(c, GD__AGREE, 0, 0));
    return gd__leave(c, agree(c, local));
}
