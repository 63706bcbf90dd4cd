#include "dist/pulse.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dist/comm_internal.h"
#include "dist/watchdog.h"

static const char *const phase_text[GD_PHASE_COUNT] = {
    [GD_PHASE_START] = "start-up",    [GD_PHASE_LOAD] = "loading a checkpoint",
    [GD_PHASE_DATA] = "data",         [GD_PHASE_COMPUTE] = "computing",
    [GD_PHASE_REDUCE] = "gradients",  [GD_PHASE_UPDATE] = "update",
    [GD_PHASE_CONTROL] = "agreement", [GD_PHASE_REPORT] = "metrics and samples",
    [GD_PHASE_SAVE] = "saving",       [GD_PHASE_COMPARE] = "comparing states",
    [GD_PHASE_END] = "the end",
};
static const char *const op_text[GD__OPS] = {
    [GD__ALONE] = "",
    [GD__BARRIER] = "a barrier",
    [GD__BCAST] = "a broadcast",
    [GD__ALLGATHER] = "an all-gather",
    [GD__SUM] = "a sum over ranks",
    [GD__AGREE] = "an agreement",
    [GD__PLAN] = "the broadcast of the plan",
    [GD__REDUCE] = "an all-reduce",
    [GD__SLICES] = "the exchange of slices",
};

const char *gd_phase_name(gd_phase p) { return (unsigned)p < GD_PHASE_COUNT ? phase_text[p] : "an unknown phase"; }

char *gd__label_text(uint64_t label, char *out, size_t room) {
    static const char *const networks[] = {"", " of G", " of D"};
    gd__op op = gd__label_op(label);
    int network = gd__label_network(label) + 1;
    char step[40] = "", bucket[24] = "";
    if (gd__label_step(label)) snprintf(step, sizeof step, "step %lld, ", (long long)gd__label_step(label));
    if (gd__label_bucket(label)) snprintf(bucket, sizeof bucket, ", bucket %zu", gd__label_bucket(label));
    snprintf(out, room, "%s%s%s%s%s%s", step, gd_phase_name(gd__label_phase(label)),
             network < 3 ? networks[network] : "", bucket, op ? ": waits in " : "", op < GD__OPS ? op_text[op] : "?");
    return out;
}

char *gd_ranks_text(const unsigned char *set, int n, char *out, size_t room) {
    size_t at = 0;
    out[0] = 0;
    for (int r = 0; r < n && at + 32 < room; r++) {
        int last = r;
        if (!set[r]) continue;
        while (last + 1 < n && set[last + 1]) last++;
        at += (size_t)snprintf(out + at, room - at, last > r ? "%s%d-%d" : "%s%d", at ? ", " : "", r, last);
        r = last;
    }
    if (at + 32 >= room) snprintf(out + at, room - at, ", ...");
    return out;
}

/* ---- GANDIST_CHECK=collectives ---- */

typedef struct gd__check { /* what a rank is about to do */
    uint64_t label, bytes;
    int64_t root;
} check;

gd_status gd__checks_open(gd_comm *c) {
    const char *wanted = getenv("GANDIST_CHECK");
    bool given = wanted && *wanted, wrong = given && strcmp(wanted, "collectives") != 0, any = false;
    char mine = (char)(wrong ? 2 : given), *all = c->gathered;
    /* A launcher may hand the variable to some ranks only. */
    GD_TRY(c->provider->allgather(c, &mine, 1, all));
    for (int r = 0; r < c->size; r++) {
        wrong = wrong || all[r] == 2;
        any = any || all[r];
    }
    if (wrong)
        GD_FAIL(USAGE, "GANDIST_CHECK: no check '%s'; the one there is: collectives",
                wanted && strcmp(wanted, "collectives") ? wanted : "of another rank");
    if (!any || c->size == 1) return GD_OK;
    c->check = calloc((size_t)c->size, sizeof *c->check);
    if (!c->check) GD_FAIL(NOMEM, "GANDIST_CHECK: no memory for %d ranks", c->size);
    return GD_OK;
}

/* "rank 1: step 3, ...: waits in a broadcast of 8 bytes", for every kind that there is; at most four. */
static void explain(const check *all, int n, unsigned char *told, unsigned char *same, char *out, size_t room) {
    size_t at = 0;
    memset(told, 0, (size_t)n);
    for (int r = 0, kinds = 0; r < n && kinds < 4 && at < room; r++) {
        char ranks[160], label[160];
        if (told[r]) continue;
        for (int k = 0; k < n; k++) {
            same[k] = !memcmp(&all[k], &all[r], sizeof *all);
            told[k] |= same[k];
        }
        kinds++;
        int k =
            snprintf(out + at, room - at, "\n  rank %s: %s of %llu bytes%s",
                     gd_ranks_text(same, n, ranks, sizeof ranks), gd__label_text(all[r].label, label, sizeof label),
                     (unsigned long long)all[r].bytes, all[r].root > 0 ? ", from another rank than 0" : "");
        at += k > 0 ? (size_t)k : 0;
    }
}

gd_status gd__compare(gd_comm *c, gd__op op, int root, size_t bytes) {
    check mine = {.label = gd__label_with(c->label, op, 0), .bytes = bytes, .root = root}, *all = c->check;
    bool equal = true;
    char text[1600] = "";
    GD_TRY(c->provider->allgather(c, &mine, sizeof mine, all));
    for (int r = 0; r < c->size && equal; r++) equal = !memcmp(&all[r], &mine, sizeof mine);
    if (equal) return GD_OK;
    unsigned char *sets = calloc(2, (size_t)c->size);
    if (sets) explain(all, c->size, sets, sets + c->size, text, sizeof text);
    free(sets);
    GD_FAIL(INTERNAL, "ranks come to different collectives (GANDIST_CHECK):%s", text);
}
