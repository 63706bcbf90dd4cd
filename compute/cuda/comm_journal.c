/* compute/cuda/comm_journal.c -- which collectives a rank put on streams, and where ranks differ. See comm_device.h. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "compute/cuda/comm_device.h"

void gd__cu_journal_add(gd_device_comm_journal *j, gd_device_collective what, int64_t count, int root) {
    const gd_device_comm_call call = {(int32_t)what, (int32_t)root, count};
    j->last[j->calls % GD_DEVICE_COMM_JOURNAL] = call;
    j->hash = gd_hash64(&call, sizeof call, j->hash);
    j->calls++;
}

bool gd__cu_journal_parts(const int64_t *border, int ranks, int64_t *count, int32_t *root) {
    uint64_t hash = 0;
    for (int r = 0; r < ranks; r++) {
        int64_t each = border[r + 1] - border[r];
        if (each < 0) return false;
        hash = gd_hash64(&each, sizeof each, hash);
    }
    *count = border[ranks] - border[0];
    *root = (int32_t)(hash & INT32_MAX);
    return true;
}

static void describe(const gd_device_comm_call *c, char text[64]) {
    static const char *const name[GD_DEVICE_COLLECTIVES] = {"all-reduce", "reduce-scatter", "all-gather",
                                                            "broadcast",  "reduction",      "gathering"};
    const char *what = c->what >= 0 && c->what < GD_DEVICE_COLLECTIVES ? name[c->what] : "an unknown collective";
    if (c->what == GD_DEVICE_REDUCE_PARTS || c->what == GD_DEVICE_GATHER_PARTS)
        snprintf(text, 64, "%s of %lld floats in parts %08x", what, (long long)c->count, (unsigned)c->root);
    else if (c->what == GD_DEVICE_BROADCAST)
        snprintf(text, 64, "%s of %lld floats from %d", what, (long long)c->count, (int)c->root);
    else snprintf(text, 64, "%s of %lld floats", what, (long long)c->count);
}

void gd__cu_journal_last(const gd_device_comm_journal *j, char text[96]) {
    char call[64];
    if (!j->calls) {
        snprintf(text, 96, "nothing");
        return;
    }
    describe(&j->last[(j->calls - 1) % GD_DEVICE_COMM_JOURNAL], call);
    snprintf(text, 96, "call %llu, %s", (unsigned long long)j->calls - 1, call);
}

/* The first call that both still know and that differs; -1: none. */
static int64_t first_difference(const gd_device_comm_journal *a, const gd_device_comm_journal *b) {
    uint64_t less = a->calls < b->calls ? a->calls : b->calls, more = a->calls < b->calls ? b->calls : a->calls;
    uint64_t from = more > GD_DEVICE_COMM_JOURNAL ? more - GD_DEVICE_COMM_JOURNAL : 0;
    for (uint64_t k = from; k < less; k++) {
        const gd_device_comm_call *x = &a->last[k % GD_DEVICE_COMM_JOURNAL], *y = &b->last[k % GD_DEVICE_COMM_JOURNAL];
        if (x->what != y->what || x->count != y->count || x->root != y->root) return (int64_t)k;
    }
    return -1;
}

static void describe_difference(const gd_device_comm_journal *a, const gd_device_comm_journal *b, int rank, char *text,
                                size_t room) {
    char mine[64], other[64];
    int64_t k = first_difference(a, b);
    if (k >= 0) {
        describe(&a->last[k % GD_DEVICE_COMM_JOURNAL], mine);
        describe(&b->last[k % GD_DEVICE_COMM_JOURNAL], other);
        snprintf(text, room, "call %lld is %s on rank 0 and %s on rank %d", (long long)k, mine, other, rank);
    } else if (a->calls != b->calls) {
        bool behind = b->calls < a->calls;
        const gd_device_comm_journal *more = behind ? a : b;
        uint64_t at = behind ? b->calls : a->calls;
        if (more->calls - at > GD_DEVICE_COMM_JOURNAL) at = more->calls - GD_DEVICE_COMM_JOURNAL;
        describe(&more->last[at % GD_DEVICE_COMM_JOURNAL], mine);
        snprintf(text, room, "rank %d made %llu calls and rank 0 %llu: rank %d never came to call %llu, %s", rank,
                 (unsigned long long)b->calls, (unsigned long long)a->calls, behind ? rank : 0, (unsigned long long)at,
                 mine);
    } else
        snprintf(text, room, "ranks 0 and %d differ in a call before the last %d of %llu", rank, GD_DEVICE_COMM_JOURNAL,
                 (unsigned long long)a->calls);
}

bool gd__cu_journal_same(const gd_device_comm_journal *of_rank, int ranks, char *text, size_t room) {
    for (int r = 1; r < ranks; r++) {
        if (of_rank[r].calls == of_rank[0].calls && of_rank[r].hash == of_rank[0].hash) continue;
        describe_difference(&of_rank[0], &of_rank[r], r, text, room);
        return false;
    }
    return true;
}
