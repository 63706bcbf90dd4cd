/* dist/exchanging.c -- gradients that are summed over ranks where programs are (compute/exchange.h). */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dist/trainer.h"

const char *gd_train_exchanges(const gd_train_config *c, int ranks) {
    if (ranks == 1) return "there is one rank";
    if (!c->exchanges || !c->executor->update) return "the device has none";
    if (c->shards) return "numerics.shards asks for sums in one order on every number of ranks";
    if (c->shard_optimizer) return "optimizer.shard updates on the host";
    return NULL;
}

enum { BUCKET_BYTES = 4 << 20 }; /* smaller ones cost a GPU more than they hide; the recipe's may be larger */

size_t gd__exchange_bucket(const gd_trainer *t) {
    size_t bytes = t->config.bucket_bytes;
    return (bytes > BUCKET_BYTES ? bytes : BUCKET_BYTES) / sizeof(float);
}

static gd_status open_group(gd_trainer *t, gd__arenas *a, const char *name, const unsigned char id[GD_EXCHANGE_ID]) {
    void *far;
    const gd_exchange_opts o = {.name = name,
                                .rank = gd_comm_rank(t->comm),
                                .size = gd_comm_size(t->comm),
                                .id = id,
                                .bucket = gd__exchange_bucket(t),
                                .seconds = t->config.exchange_seconds};
    GD_TRY(t->config.exchanges->open(&o, &a->exchange));
    GD_TRY(t->config.exchanges->alloc(a->exchange, a->count * sizeof(float), &far));
    return gd__space_mirror_at(&t->space, a->grad[0], a->count * sizeof(float), far);
}

/* Two after another in one order, so that no two ranks wait in different ones. */
gd_status gd__open_exchanges(gd_trainer *t) {
    static const char *const name[] = {[GD_GROUP_G] = "gradients of G", [GD_GROUP_D] = "gradients of D"};
    if (!t->there || gd_comm_size(t->comm) == 1) return GD_OK;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        unsigned char id[GD_EXCHANGE_ID] = {0};
        gd__arenas *a = &t->group[g];
        if (!a->count) continue;
        gd_status st = gd_comm_rank(t->comm) == 0 ? t->config.exchanges->make_id(id) : GD_OK;
        GD_TRY(gd_comm_agree(t->comm, st));
        GD_TRY(gd_comm_bcast(t->comm, 0, id, sizeof id));
        GD_TRY(gd_comm_agree(t->comm, open_group(t, a, name[g], id)));
    }
    return GD_OK;
}

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

static gd_status check_group(gd_trainer *t, const gd__arenas *a) {
    int size = gd_comm_size(t->comm);
    char text[256] = "";
    gd_exchange_journal mine, *all = malloc((size_t)size * sizeof *all);
    gd_status st = all ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "exchange: no memory for %d journals", size);
    t->config.exchanges->journal(a->exchange, &mine);
    st = gd_comm_agree(t->comm, st);
    if (st == GD_OK) st = gd_comm_allgather(t->comm, &mine, sizeof mine, all);
    bool same = st != GD_OK || t->config.exchanges->same(all, size, text, sizeof text);
    free(all);
    if (!same) GD_FAIL(INTERNAL, "step %lld: ranks sum different gradients: %s", (long long)t->counters.step, text);
    return st;
}

gd_status gd__check_exchanges(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++)
        if (t->group[g].exchange) GD_TRY(check_group(t, &t->group[g]));
    return GD_OK;
}

void gd__close_exchanges(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        gd_exchange *x = t->group[g].exchange;
        t->group[g].exchange = NULL;
        if (!x || t->config.exchanges->close(x, !t->well || t->group[g].summing) == GD_OK) continue;
        GD_LOG(DIST, WARN, "closing the exchange of gradients: %s", gd_error_message());
        gd_error_clear();
    }
}
