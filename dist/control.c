/* dist/control.c -- what ranks tell each other after an iteration: one small exchange that carries the
 * metrics and all agreement. And the comparison of replicas. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dist/trainer.h"
#include "dist/tree.h"

typedef struct word { /* of one rank */
    int64_t wish, bad, skipped, writer;
    double bad_value, seconds, data, comm, idle;
    double metric[]; /* as gd_trainer.measured */
} word;

static size_t word_bytes(const gd_trainer *t) {
    return sizeof(word) + (size_t)(t->n_metrics * t->handed) * sizeof(double);
}

static const word *word_of(const gd_trainer *t, int rank) {
    return (const word *)(const void *)((const char *)t->control + (size_t)rank * word_bytes(t));
}

gd_status gd__make_control(gd_trainer *t) {
    size_t size = (size_t)gd_comm_size(t->comm);
    t->control = calloc(size + 1, word_bytes(t));
    t->leaf_value = calloc(size * (size_t)t->handed, sizeof *t->leaf_value);
    t->hash = calloc(size, sizeof *t->hash);
    if (!t->control || !t->leaf_value || !t->hash) GD_FAIL(NOMEM, "control word: no memory for %zu ranks", size);
    if (size > 1 && gd_comm_rank(t->comm) == 0) GD_TRY(gd__stragglers_open(&t->stragglers, (int)size));
    return GD_OK;
}

void gd__free_control(gd_trainer *t) {
    free(t->control);
    free(t->leaf_value);
    free(t->hash);
    gd__stragglers_close(&t->stragglers);
}

static double sum_metric(gd_trainer *t, int m) {
    int size = gd_comm_size(t->comm), n = t->handed;
    for (int r = 0; r < size; r++)
        memcpy(t->leaf_value + r * n, word_of(t, r)->metric + m * n, (size_t)n * sizeof(double));
    return gd__tree_sum_f64(t->leaf_value, size * n, 1);
}

/* Through sums what is bad on one rank is soon bad on all: a rank that saw it in its own share of a loss
 * is nearer to the cause than one that saw it in the sum of all gradients. */
static void combine_bad(const word *w, int r, int n_own, gd__control *out) {
    bool own = w->bad > n_own, nearer = own && out->bad <= n_own;
    if (!w->bad) return;
    if (!out->bad || nearer) {
        out->bad = (int)w->bad;
        out->bad_value = w->bad_value;
        out->bad_rank = r;
        out->bad_ranks = 1;
    } else if (own == (out->bad > n_own)) {
        out->bad_ranks++;
    }
}

/* The strongest wish, who saw something bad, the slowest times, sums over shards. */
static void combine(gd_trainer *t, gd__control *out) {
    *out = (gd__control){.wish = 0};
    for (int r = 0; r < gd_comm_size(t->comm); r++) {
        const word *w = word_of(t, r);
        if (w->wish > out->wish) out->wish = (int)w->wish;
        if (w->writer > out->writer) out->writer = (int)w->writer;
        combine_bad(w, r, t->n_own, out);
        out->skipped |= (unsigned)w->skipped;
        out->seconds = fmax(out->seconds, w->seconds);
        out->data = fmax(out->data, w->data);
        out->comm = fmax(out->comm, w->comm);
    }
    for (int m = 0; m < t->n_metrics; m++)
        out->metric[m] = m < t->n_own ? word_of(t, 0)->metric[m * t->handed] : sum_metric(t, m);
}

/* On rank 0: who keeps the others waiting. */
static void note_stragglers(gd_trainer *t) {
    char text[320];
    int slow;
    if (!t->stragglers.n) return;
    for (int r = 0; r < t->stragglers.n; r++) {
        const word *w = word_of(t, r);
        double wait = w->comm + w->idle;
        gd__stragglers_add(&t->stragglers, r, w->data, fmax(0, w->seconds - w->data - wait), wait);
    }
    if (gd__stragglers_end(&t->stragglers, &slow, text, sizeof text))
        GD_LOG(DIST, WARN, "step %lld: rank %d on %s %s", (long long)t->counters.step, slow,
               gd_comm_host_name(t->comm, slow), text);
}

gd_status gd__exchange_control(gd_trainer *t, double seconds, gd__control *out) {
    word *mine = (word *)(uintptr_t)word_of(t, gd_comm_size(t->comm));
    mine->wish = t->hooks.poll ? t->hooks.poll(t->hooks.ctx) : 0;
    mine->writer = gd_writer_word(t->writer);
    mine->bad = t->now.bad;
    mine->bad_value = t->now.bad_value;
    mine->skipped = t->now.skipped;
    mine->seconds = seconds;
    mine->data = t->now.data;
    mine->comm = t->now.reduce + t->now.collective;
    mine->idle = t->now.idle;
    memcpy(mine->metric, t->measured, word_bytes(t) - sizeof *mine);
    GD_TRY(gd_comm_allgather(t->comm, mine, word_bytes(t), t->control));
    combine(t, out);
    note_stragglers(t);
    return GD_OK;
}

/* ---- numbers that are not finite ---- */

bool gd__is_sick(const gd__control *c) { return c->bad || c->skipped; }

static const char *what_is_sick(const gd_trainer *t, const gd__control *c) {
    if (c->bad) return t->metric[c->bad - 1];
    return c->skipped & GD__NO_STATISTICS ? "a running statistic" : "an image for the pool";
}

static const char *what_is_skipped(unsigned skipped) {
    bool d = skipped & 1u << GD_GROUP_D, g = skipped & 1u << GD_GROUP_G;
    if (d && g) return "no update of D and G";
    return d ? "no update of D" : g ? "no update of G" : "gradients are finite, updates are made";
}

enum { SICKNESS = 160 };
/* "step 27: loss_d is not a number on rank 1 alone" */
static void describe(const gd_trainer *t, const gd__control *c, char text[SICKNESS]) {
    const char *how = !c->bad ? "not finite" : isnan(c->bad_value) ? "not a number" : "infinite";
    int n = snprintf(text, SICKNESS, "step %lld: %s is %s", (long long)t->plan.step, what_is_sick(t, c), how);
    if (c->bad && c->bad_ranks == 1 && gd_comm_size(t->comm) > 1)
        snprintf(text + n, SICKNESS - (size_t)n, " on rank %d alone", c->bad_rank);
}

static gd_status skip(gd_trainer *t, const gd__control *c, const char *text) {
    if (gd_comm_rank(t->comm) == 0)
        GD_LOG(DIST, WARN, "%s: %s (%lld of at most %d such steps in a row)", text, what_is_skipped(c->skipped),
               (long long)t->counters.skips, GD_SKIPS_MAX);
    gd__tell(t, "skip", (gd_event_field[]){GD_EVENT_TEXT("why", text), GD_EVENT_NUMBER("in_row", t->counters.skips)},
             2);
    return gd__check_replicas(t); /* a sum that only some ranks have wrong is an update that only some have made */
}

gd_status gd__check_finite(gd_trainer *t, const gd__control *c) {
    char text[SICKNESS];
    t->counters.skips = gd__is_sick(c) ? t->counters.skips + 1 : 0;
    if (!gd__is_sick(c)) return GD_OK;
    describe(t, c, text);
    if (t->config.on_nonfinite == GD_NONFINITE_SKIP && t->counters.skips <= GD_SKIPS_MAX) return skip(t, c, text);
    t->go_back = t->config.on_nonfinite != GD_NONFINITE_STOP;
    t->sickness = GD_WATCH_COUNT;
    GD_FAIL(NUMERIC,
            "%s; lower the learning rate, clip gradients (optimizer.*.clip_norm), or go on from an older checkpoint "
            "with another seed",
            text);
}

/* ---- replicas ---- */

static int times_seen(const uint64_t *hash, int n, uint64_t h) {
    int times = 0;
    for (int r = 0; r < n; r++) times += hash[r] == h;
    return times;
}

/* The hash that most ranks have; of equally many the lowest rank's. */
static uint64_t usual_hash(const uint64_t *hash, int n, int *times) {
    uint64_t usual = hash[0];
    *times = 0;
    for (int r = 0; r < n; r++) {
        int seen = times_seen(hash, n, hash[r]);
        if (seen <= *times) continue;
        *times = seen;
        usual = hash[r];
    }
    return usual;
}

gd_status gd__check_replicas(gd_trainer *t) {
    int size = gd_comm_size(t->comm), most;
    if (size == 1) return GD_OK;
    GD_TRY(gd__check_exchanges(t));
    GD_TRY(gd__fetch_state(t));
    uint64_t mine = gd__replica_hash(t);
    GD_TRY(gd_comm_allgather(t->comm, &mine, sizeof mine, t->hash));
    uint64_t usual = usual_hash(t->hash, size, &most);
    if (most == size) return GD_OK;
    char odd[256] = "";
    for (int r = 0, at = 0; r < size && at < (int)sizeof odd - 16; r++)
        if (t->hash[r] != usual) at += snprintf(odd + at, sizeof odd - (size_t)at, "%s%d", at ? ", " : "", r);
    GD_FAIL(DIVERGED,
            "step %lld: the training state of rank %s differs from that of the other ranks%s; suspect memory or "
            "processor of that host, and go on from an older checkpoint",
            (long long)t->counters.step, odd,
            2 * most > size ? "" : " (no majority: it may be the others that are wrong)");
}
