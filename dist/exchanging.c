/* dist/exchanging.c -- gradients, and batch statistics, that are summed over ranks where programs are (compute/exchange.h). */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dist/trainer.h"

const char *gd_train_exchanges(const gd_train_config *c, int ranks) {
    if (ranks == 1) return "there is one rank";
    if (!c->exchanges || !c->executor->update) return "the device has none";
    if (c->shards) return "numerics.shards asks for sums in one order on every number of ranks";
    return NULL;
}

enum { BUCKET_BYTES = 4 << 20 }; /* smaller ones cost a GPU more than they hide; the recipe's may be larger */

size_t gd__exchange_bucket(const gd_trainer *t) {
    size_t bytes = t->config.bucket_bytes;
    return (bytes > BUCKET_BYTES ? bytes : BUCKET_BYTES) / sizeof(float);
}

/* Rank 0's, on all ranks. */
static gd_status share_id(gd_trainer *t, unsigned char id[GD_EXCHANGE_ID]) {
    memset(id, 0, GD_EXCHANGE_ID);
    gd_status st = gd_comm_rank(t->comm) == 0 ? t->config.exchanges->make_id(id) : GD_OK;
    GD_TRY(gd_comm_agree(t->comm, st));
    return gd_comm_bcast(t->comm, 0, id, GD_EXCHANGE_ID);
}

/* slice: borders of what each rank gets the sums of; NULL: all get all. */
static gd_status open_one(gd_trainer *t, const char *name, const unsigned char id[GD_EXCHANGE_ID], const size_t *slice,
                          gd_exchange **out) {
    const gd_exchange_opts o = {.name = name,
                                .rank = gd_comm_rank(t->comm),
                                .size = gd_comm_size(t->comm),
                                .id = id,
                                .bucket = gd__exchange_bucket(t),
                                .slice = slice,
                                .seconds = t->config.exchange_seconds};
    return t->config.exchanges->open(&o, out);
}

static gd_status open_group(gd_trainer *t, gd__arenas *a, const char *name, const unsigned char id[GD_EXCHANGE_ID]) {
    void *far;
    GD_TRY(open_one(t, name, id, t->sliced ? a->border : NULL, &a->exchange));
    GD_TRY(t->config.exchanges->alloc(a->exchange, a->count * sizeof(float), &far));
    return gd__space_mirror_at(&t->space, a->grad[0], a->count * sizeof(float), far);
}

static const char *const name[] = {[GD_GROUP_G] = "gradients of G", [GD_GROUP_D] = "gradients of D"};

/* Two after another in one order, so that no two ranks wait in different ones. */
gd_status gd__open_exchanges(gd_trainer *t) {
    if (!t->there || gd_comm_size(t->comm) == 1) return GD_OK;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        unsigned char id[GD_EXCHANGE_ID];
        gd__arenas *a = &t->group[g];
        if (!a->count) continue;
        GD_TRY(share_id(t, id));
        GD_TRY(gd_comm_agree(t->comm, open_group(t, a, name[g], id)));
    }
    return GD_OK;
}

/* ---- batch statistics ---- */

static const char *statistics(const gd_trainer *t) {
    return t->n_pools ? "batch statistics and image pools" : "batch statistics";
}

bool gd__sums_statistics(const gd_trainer *t) { return t->there && gd_comm_size(t->comm) > 1; }

static bool any_statistics(const gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++)
        for (int v = 0; v < GD__VERSIONS; v++) {
            const gd_program *p = t->kind[k][v].program;
            if (p && gd_program_get_stats(p).collectives) return true;
        }
    return false;
}

gd_status gd__open_statistics(gd_trainer *t) {
    unsigned char id[GD_EXCHANGE_ID];
    if (!gd__sums_statistics(t) || (!any_statistics(t) && !t->n_pools)) return GD_OK;
    GD_TRY(share_id(t, id));
    return gd_comm_agree(t->comm, open_one(t, statistics(t), id, NULL, &t->statistics));
}

gd_status gd__sum_statistics(gd_trainer *t, float *data, int64_t count) {
    return t->config.exchanges->sum(t->statistics, data, (size_t)count);
}

gd_status gd__gather_there(gd_trainer *t, const void *part, size_t bytes, void *all) {
    return t->config.exchanges->gather(t->statistics, part, bytes, all);
}

/* ---- rounds of gradients ---- */

static gd_status open_round(gd_trainer *t, gd__arenas *a) {
    if (a->summing) return GD_OK;
    a->summing = true;
    return t->config.exchanges->begin(a->exchange, gd__space_at(&t->space, a->grad[0]), a->count);
}

gd_status gd__exchange_early(gd_trainer *t, gd__arenas *a, size_t first, size_t last) {
    GD_TRY(open_round(t, a));
    return t->config.exchanges->ready(a->exchange, first, last);
}

gd_status gd__begin_exchange(gd_trainer *t, gd__arenas *a) {
    GD_TRY(open_round(t, a));
    return t->config.exchanges->all_ready(a->exchange);
}

gd_status gd__end_exchange(gd_trainer *t, gd__arenas *a) {
    a->summing = false;
    return t->config.exchanges->end(a->exchange);
}

gd_status gd__settle_exchange(gd_trainer *t, gd__arenas *a, double *waited) {
    return t->config.exchanges->settle(a->exchange, waited);
}

gd_status gd__share_there(gd_trainer *t, gd__arenas *a, const void *host, const size_t *border) {
    return t->config.exchanges->share(a->exchange, gd__space_at(&t->space, host), border);
}

/* ---- checking and closing ---- */

static gd_status check_one(gd_trainer *t, const gd_exchange *x, const char *what) {
    int size = gd_comm_size(t->comm);
    char text[256] = "";
    if (!x) return GD_OK;
    gd_exchange_journal mine, *all = malloc((size_t)size * sizeof *all);
    gd_status st = all ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "exchange: no memory for %d journals", size);
    t->config.exchanges->journal(x, &mine);
    st = gd_comm_agree(t->comm, st);
    if (st == GD_OK) st = gd_comm_allgather(t->comm, &mine, sizeof mine, all);
    bool same = st != GD_OK || t->config.exchanges->same(all, size, text, sizeof text);
    free(all);
    if (!same)
        GD_FAIL(INTERNAL, "step %lld: ranks ask for different sums, %s: %s", (long long)t->counters.step, what, text);
    return st;
}

gd_status gd__check_exchanges(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) GD_TRY(check_one(t, t->group[g].exchange, name[g]));
    return check_one(t, t->statistics, statistics(t));
}

static void close_one(gd_trainer *t, gd_exchange **at, bool abort, const char *what) {
    gd_exchange *x = *at;
    *at = NULL;
    if (!x || t->config.exchanges->close(x, abort) == GD_OK) return;
    GD_LOG(DIST, WARN, "closing the exchange of %s: %s", what, gd_error_message());
    gd_error_clear();
}

void gd__close_exchanges(gd_trainer *t) {
    bool abort = !t->well || t->group[GD_GROUP_G].summing || t->group[GD_GROUP_D].summing;
    for (int g = 0; g < GD_GROUP_COUNT; g++) close_one(t, &t->group[g].exchange, abort, name[g]);
    close_one(t, &t->statistics, abort, statistics(t));
}
