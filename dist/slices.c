/* dist/slices.c -- optimiser state divided over the ranks (optimizer.shard): every rank keeps the moments of its
 * slice of each arena and updates the parameters in it; then all get all parameters. */
#include <stdlib.h>
#include <string.h>

#include "dist/trainer.h"

static size_t units_of(size_t floats) { return (floats + GD_SLICE_UNIT - 1) / GD_SLICE_UNIT; }

void gd__divide_arenas(gd_trainer *t, int size, int rank) {
    t->sliced = t->config.shard_optimizer && size > 1;
    t->resident = t->config.executor->update != NULL;
    t->there = t->resident && (size == 1 ? t->shards == 1 : !gd_train_exchanges(&t->config, size));
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        gd__arenas *a = &t->group[g];
        a->last = a->count;
        if (t->sliced) gd_slice_of(a->count, rank, size, &a->first, &a->last);
    }
}

size_t gd__largest_slice(size_t count, int ranks) {
    size_t largest = 0, first, last;
    for (int r = 0; r < ranks; r++) {
        gd_slice_of(count, r, ranks, &first, &last);
        if (last - first > largest) largest = last - first;
    }
    return largest;
}

gd_status gd__make_borders(gd_trainer *t, gd__arenas *a) {
    size_t ranks = (size_t)gd_comm_size(t->comm), last;
    a->border = gd_arena_alloc(t->arena, 2 * (ranks + 1) * sizeof *a->border);
    if (!a->border) GD_FAIL(NOMEM, "training state: no memory for slices of %zu ranks", ranks);
    a->partial_border = a->border + ranks + 1;
    for (size_t r = 0; r < ranks; r++) gd_slice_of(a->count, (int)r, (int)ranks, &a->border[r], &last);
    a->border[ranks] = a->count;
    for (size_t r = 0; r <= ranks; r++)
        a->partial_border[r] = units_of(a->border[r]) * (sizeof *a->partial / sizeof(float));
    return GD_OK;
}

/* ---- norms ---- */

size_t gd__partials(size_t count, int ranks, size_t *gathered) {
    size_t each = units_of(gd__largest_slice(count, ranks));
    *gathered = (size_t)ranks * each;
    return units_of(count) + each + 1; /* a rank hands over `each` from any of its own on */
}

gd_status gd__share_partials(gd_trainer *t, gd__arenas *a) {
    if (t->there) return gd__share_there(t, a, a->partial, a->partial_border);
    int size = gd_comm_size(t->comm);
    size_t each = units_of(gd__largest_slice(a->count, size)), first, last;
    GD_TRY(gd_comm_allgather(t->comm, a->partial + a->first / GD_SLICE_UNIT, each * sizeof(double), a->gathered));
    for (int r = 0; r < size; r++) {
        gd_slice_of(a->count, r, size, &first, &last);
        memcpy(a->partial + first / GD_SLICE_UNIT, a->gathered + (size_t)r * each,
               units_of(last - first) * sizeof(double));
    }
    return GD_OK;
}

/* ---- parameters ---- */

gd_status gd__share_params(gd_trainer *t, gd__arenas *a) {
    if (t->there) return gd__share_there(t, a, a->param, a->border);
    const float *all;
    size_t before = a->first * sizeof *all, behind = (a->count - a->last) * sizeof *all;
    if (t->resident) GD_TRY(gd__space_get(&t->space, a->param + a->first, (a->last - a->first) * sizeof *all));
    GD_TRY(gd_reducer_gather(a->reducer, a->param + a->first, &all));
    memcpy(a->param, all, before);
    memcpy(a->param + a->last, all + a->last, behind);
    gd_reducer_release(a->reducer);
    if (!t->resident) return GD_OK;
    GD_TRY(gd__space_put(&t->space, a->param, before));
    return gd__space_put(&t->space, a->param + a->last, behind);
}

/* ---- moments, for checkpoints and the state hash ---- */

void gd__spread_tensor(const gd_trainer *t, const gd__slot *s, int m, gd_state_tensor *x) {
    const gd__arenas *a = &t->group[s->group];
    size_t from = s->offset, to = s->offset + s->count;
    if (from < a->first) from = a->first;
    if (to > a->last) to = a->last;
    if (from > to) from = to = s->offset; /* nothing of it */
    x->spread = true;
    x->first = (int64_t)(from - s->offset);
    x->last = (int64_t)(to - s->offset);
    x->data = to > from ? a->moment[m] + (from - a->first) : NULL;
}

static gd_status collect_moment(gd_trainer *t, int g, int m, gd_state_take take, void *ctx) {
    const gd__arenas *a = &t->group[g];
    const float *all;
    GD_TRY(gd_reducer_gather(a->reducer, a->moment[m], &all));
    for (int i = 0; i < t->n_slots; i++)
        if ((int)t->slot[i].group == g && !t->slot[i].info->buffer)
            take(ctx, t->slot[i].moment[m], all + t->slot[i].offset);
    gd_reducer_release(a->reducer);
    return GD_OK;
}

gd_status gd__collect_moments(void *trainer, gd_state_take take, void *ctx) {
    gd_trainer *t = trainer;
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        for (int m = 0; m < 2; m++)
            if (t->group[g].moment[m]) GD_TRY(collect_moment(t, g, m, take, ctx));
    return GD_OK;
}

typedef struct hashing {
    const gd_trainer *t;
    uint64_t sum;
} hashing;

/* The ranks hash tensors by turns. */
static void add_term(void *ctx, int i, const float *whole) {
    hashing *h = ctx;
    if (i % gd_comm_size(h->t->comm) == gd_comm_rank(h->t->comm))
        h->sum += gd_state_term(&h->t->state.tensor[i], whole);
}

gd_status gd__hash_moments(gd_trainer *t) {
    hashing h = {.t = t};
    GD_TRY(gd__fetch_state(t));
    if (!t->sliced) return GD_OK;
    GD_TRY(gd__collect_moments(t, add_term, &h));
    GD_TRY(gd_comm_allgather(t->comm, &h.sum, sizeof h.sum, t->hash));
    t->moment_terms = 0;
    for (int r = 0; r < gd_comm_size(t->comm); r++) t->moment_terms += t->hash[r];
    return GD_OK;
}
