/* tests/cuda/exchange.c -- sums beside the steps and among them (compute/cuda/exchange.h) on the stand-in device, for 1, 2 and 4 simulated
 * ranks: done right, nothing is out of order and nothing is left; one mistake at a time is found; and what fails ends in an abort. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "compute/cuda/exchange.h"
#include "record.h"

enum { COUNT = 1000, BYTES = COUNT * 4, BUCKET = 300, ROUNDS = 3, GROUPS = 2 };

/* One rank: the executor's stream, two networks. */
typedef struct rig {
    gd__cu_device *d;
    int rank, ranks;
    void *steps, *other; /* stream; memory of the device */
    gd_exchange *x[GROUPS];
    float *grad[GROUPS];
    /* optimizer.shard: */
    bool sliced;
    size_t border[9];
    float *param[GROUPS];
} rig;

/* A step that makes gradients, one that uses them, and one that does neither. */
static gd_status make(rig *r, int g) { return r->d->copy(r->d, r->steps, r->grad[g], r->other, BYTES); }
static gd_status use(rig *r, int g) { return r->d->copy(r->d, r->steps, r->other, r->grad[g], BYTES); }
/* Gradients from..to, as a layer's backward step makes them. */
static gd_status make_part(rig *r, int g, size_t from, size_t to) {
    return r->d->copy(r->d, r->steps, r->grad[g] + from, (float *)r->other + from, (to - from) * sizeof(float));
}
static gd_status open_round(rig *r, int g) { return gd__cu_exchange_begin(r->x[g], r->grad[g], COUNT); }
static gd_status ready(rig *r, int g, size_t from, size_t to) { return gd__cu_exchange_ready(r->x[g], from, to); }
/* All of them are there. */
static gd_status begin(rig *r, int g) {
    GD_TRY(open_round(r, g));
    return gd__cu_exchange_all_ready(r->x[g]);
}
static gd_status end(rig *r, int g) { return gd__cu_exchange_end(r->x[g]); }
static gd_status settle(rig *r, int g) {
    double waited = -1;
    GD_TRY(gd__cu_exchange_settle(r->x[g], &waited));
    if (!(waited >= 0)) GD_FAIL(INTERNAL, "waited for %g s", waited);
    return GD_OK;
}

static gd_status open_group(rig *r, int g, size_t bucket) {
    const gd_exchange_opts o = {.name = g ? "D" : "G",
                                .rank = r->rank,
                                .size = r->ranks,
                                .bucket = bucket,
                                .slice = r->sliced ? r->border : NULL};
    void *at;
    GD_TRY(gd__cu_exchange_on(r->d, r->steps, record_comm(r->d, g, r->rank), &o, &r->x[g]));
    GD_TRY(gd__cu_exchange_alloc(r->x[g], BYTES, &at));
    r->grad[g] = at;
    if (!r->sliced) return GD_OK;
    GD_TRY(r->d->alloc(r->d, BYTES, &at)); /* with nothing in it */
    r->param[g] = at;
    return GD_OK;
}

/* Slices end in the midst of buckets. */
static void cut_slices(rig *r) {
    for (int k = 0; k < r->ranks; k++) r->border[k] = (size_t)(COUNT * k / r->ranks);
    r->border[r->ranks] = COUNT;
}

static gd_status open_rank(rig *r, size_t bucket) {
    void *pinned;
    record_rank(r->d, r->rank);
    cut_slices(r);
    GD_TRY(r->d->stream_new(r->d, false, &r->steps));
    GD_TRY(r->d->alloc(r->d, BYTES, &r->other));
    GD_TRY(r->d->alloc_host(r->d, BYTES, &pinned));
    GD_TRY(r->d->host(r->d, pinned, BYTES, true));
    memset(pinned, 0, BYTES);
    GD_TRY(r->d->copy(r->d, r->steps, r->other, pinned, BYTES));
    GD_TRY(r->d->stream_sync(r->d, r->steps));
    GD_TRY(r->d->free(r->d, pinned));
    for (int g = 0; g < GROUPS; g++) GD_TRY(open_group(r, g, bucket));
    return GD_OK;
}

static gd_status close_rank(rig *r, bool abort) {
    GD_TRY(r->d->stream_sync(r->d, r->steps));
    for (int g = 0; g < GROUPS; g++) {
        gd_exchange *x = r->x[g];
        r->x[g] = NULL;
        GD_TRY(gd__cu_exchange_close(x, abort));
        GD_TRY(r->d->free(r->d, r->param[g]));
    }
    GD_TRY(r->d->free(r->d, r->other));
    return r->d->stream_free(r->d, r->steps);
}

/* ---- what a rank does ---- */

/* D's round goes on while G's gradients are made, as with overlap; then both are used. */
static gd_status right_round(rig *r) {
    GD_TRY(make(r, 1));
    GD_TRY(begin(r, 1));
    GD_TRY(make(r, 0));
    GD_TRY(end(r, 1));
    GD_TRY(use(r, 1));
    GD_TRY(begin(r, 0));
    GD_TRY(end(r, 0));
    return use(r, 0);
}

static gd_status right(rig *r) {
    for (int k = 0; k < ROUNDS; k++) GD_TRY(right_round(r));
    return GD_OK;
}

/* Calls that were made so far. */
static uint64_t sent(const rig *r, int g) {
    gd_exchange_journal j;
    gd_device_comm_journal calls;
    gd__cu_exchange_journal(r->x[g], &j);
    memcpy(&calls, j.bytes, sizeof calls);
    return calls.calls;
}

/* A backward pass: the last layers come first, one of them in two buckets, one is two buckets and more, the first two share one.
 * Buckets (of 300) begin as soon as they are complete, while the rest is still made; 0 layers: all at the end. */
static gd_status backward(rig *r, int g, const size_t *layer, const int *buckets, int n) {
    uint64_t before = sent(r, g);
    GD_TRY(open_round(r, g));
    for (int k = 0; k < n; k++) {
        GD_TRY(make_part(r, g, layer[k + 1], layer[k]));
        GD_TRY(ready(r, g, layer[k + 1], layer[k]));
        if (sent(r, g) - before != (uint64_t)buckets[k])
            GD_FAIL(INTERNAL, "after layer %d %d buckets are on their way; expected %d", k, (int)(sent(r, g) - before),
                    buckets[k]);
    }
    return GD_OK;
}

static gd_status right_early(rig *r) {
    static const size_t layer[] = {COUNT, 950, 640, 40, 16, 0};
    static const int buckets[] = {0, 1, 3, 3, 4};
    for (int k = 0; k < ROUNDS; k++) {
        GD_TRY(backward(r, 1, layer, buckets, 5));
        GD_TRY(gd__cu_exchange_all_ready(r->x[1])); /* nothing is left */
        GD_TRY(backward(r, 0, layer, buckets, 3));  /* D's round goes on */
        GD_TRY(end(r, 1));
        GD_TRY(use(r, 1));
        GD_TRY(make_part(r, 0, 0, 40)); /* said at the end of the program */
        GD_TRY(gd__cu_exchange_all_ready(r->x[0]));
        GD_TRY(end(r, 0));
        GD_TRY(use(r, 0));
    }
    return GD_OK;
}

/* What has no bucket that is on its way may still be used. */
static gd_status right_beside(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(open_round(r, 0));
    GD_TRY(ready(r, 0, 900, COUNT));
    GD_TRY(make_part(r, 0, 0, 900));
    GD_TRY(gd__cu_exchange_all_ready(r->x[0]));
    return end(r, 0);
}

static gd_status ready_before_it_is_made(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(open_round(r, 0));
    GD_TRY(ready(r, 0, 600, COUNT));
    GD_TRY(make_part(r, 0, 640, COUNT));
    GD_TRY(gd__cu_exchange_all_ready(r->x[0]));
    return end(r, 0);
}

static gd_status used_while_others_are_made(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(open_round(r, 0));
    GD_TRY(ready(r, 0, 900, COUNT));
    return use(r, 0);
}

static gd_status ready_twice(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(open_round(r, 0));
    GD_TRY(ready(r, 0, 700, 880));
    return ready(r, 0, 640, 800);
}

static gd_status ready_too_far(rig *r) {
    GD_TRY(open_round(r, 0));
    return ready(r, 0, 900, COUNT + 1);
}

static gd_status ready_without_a_round(rig *r) { return ready(r, 0, 0, COUNT); }

static gd_status never_ready(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(open_round(r, 0));
    GD_TRY(ready(r, 0, 300, COUNT));
    return end(r, 0);
}

/* Two buckets of one size: only their places differ. */
static gd_status other_buckets_first(rig *r) {
    bool odd = r->rank == r->ranks - 1;
    GD_TRY(right(r));
    GD_TRY(make(r, 0));
    GD_TRY(open_round(r, 0));
    GD_TRY(ready(r, 0, odd ? 300 : 600, odd ? 600 : 900));
    GD_TRY(gd__cu_exchange_all_ready(r->x[0]));
    GD_TRY(end(r, 0));
    return right(r);
}

/* So long ago that only the hash knows. */
static gd_status other_buckets_once(rig *r) {
    GD_TRY(other_buckets_first(r));
    for (int k = 0; k < 8; k++) GD_TRY(right(r));
    return GD_OK;
}

static gd_status written_meanwhile(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    GD_TRY(make(r, 0));
    return end(r, 0);
}

static gd_status used_too_early(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    GD_TRY(use(r, 0));
    return end(r, 0);
}

static gd_status freed_meanwhile(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    GD_TRY(r->d->free(r->d, r->grad[0]));
    return end(r, 0);
}

/* ---- with optimizer.shard: sums of a slice, its update, and the slices of all to all ---- */

static gd_status update_part(rig *r, int g, size_t from, size_t to) {
    return r->d->copy(r->d, r->steps, r->param[g] + from, r->grad[g] + from, (to - from) * sizeof(float));
}
static gd_status update(rig *r, int g) { return update_part(r, g, r->border[r->rank], r->border[r->rank + 1]); }
static gd_status share(rig *r, int g) { return gd__cu_exchange_share(r->x[g], r->param[g], r->border); }
static gd_status read_params(rig *r, int g) { return r->d->copy(r->d, r->steps, r->other, r->param[g], BYTES); }
static gd_status sum_all(rig *r, int g) {
    GD_TRY(make(r, g));
    GD_TRY(begin(r, g));
    return end(r, g);
}

/* The update of D in the midst of G's backward pass. */
static gd_status right_slices(rig *r) {
    static const size_t layer[] = {COUNT, 950, 640, 40, 0};
    static const int buckets[] = {0, 1, 3};
    for (int k = 0; k < ROUNDS; k++) {
        GD_TRY(make(r, 1));
        GD_TRY(begin(r, 1));
        GD_TRY(backward(r, 0, layer, buckets, 3));
        GD_TRY(end(r, 1));
        GD_TRY(update(r, 1));
        GD_TRY(share(r, 1));
        GD_TRY(read_params(r, 1));
        GD_TRY(make_part(r, 0, 0, 40));
        GD_TRY(gd__cu_exchange_all_ready(r->x[0]));
        GD_TRY(end(r, 0));
        GD_TRY(update(r, 0));
        GD_TRY(share(r, 0));
        GD_TRY(read_params(r, 0));
    }
    return GD_OK;
}

static gd_status slices_without_waiting(rig *r) {
    int before = record_get_counts(r->d).syncs;
    for (int k = 0; k < 4; k++) {
        GD_TRY(sum_all(r, 0));
        GD_TRY(update(r, 0));
        GD_TRY(share(r, 0));
        GD_TRY(share(r, 0)); /* sums of squares, say */
        GD_TRY(read_params(r, 0));
    }
    if (record_get_counts(r->d).syncs != before) GD_FAIL(INTERNAL, "the host has waited for the device");
    return settle(r, 0);
}

static gd_status updated_before_its_sum(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    GD_TRY(update(r, 0));
    return end(r, 0);
}

static gd_status updated_by_anothers_sum(rig *r) {
    GD_TRY(sum_all(r, 0));
    return update_part(r, 0, 0, COUNT);
}

static gd_status shared_before_the_update(rig *r) {
    GD_TRY(sum_all(r, 0));
    GD_TRY(share(r, 0));
    return update(r, 0);
}

static gd_status read_before_it_is_shared(rig *r) {
    GD_TRY(sum_all(r, 0));
    GD_TRY(update(r, 0));
    GD_TRY(read_params(r, 0));
    return share(r, 0);
}

/* On a stream that nobody waits for, behind the steps and not. */
static gd_status share_aside(rig *r, bool behind) {
    void *aside, *event;
    gd_device_comm *c = record_comm(r->d, 2, r->rank);
    int64_t border[9];
    for (int k = 0; k <= r->ranks; k++) border[k] = (int64_t)r->border[k];
    GD_TRY(sum_all(r, 0));
    GD_TRY(update(r, 0));
    GD_TRY(r->d->stream_new(r->d, true, &aside));
    GD_TRY(r->d->event_new(r->d, &event));
    GD_TRY(r->d->event_record(r->d, event, r->steps));
    if (behind) GD_TRY(r->d->event_wait(r->d, aside, event));
    gd_status st = c->gather_parts(c, aside, r->param[0], border);
    if (st == GD_OK) st = read_params(r, 0);
    gd_error why;
    gd_error_save(st, &why);
    if (c->close(c) != GD_OK) gd_error_clear();
    return gd_error_restore(&why);
}
static gd_status read_beside_sharing(rig *r) { return share_aside(r, true); }
static gd_status shared_beside_the_update(rig *r) { return share_aside(r, false); }

static gd_status shared_in_a_round(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    return share(r, 0);
}

static gd_status other_slices(rig *r) {
    if (r->rank == r->ranks - 1) r->border[1]++;
    GD_TRY(make(r, 0));
    GD_TRY(update(r, 0));
    return share(r, 0);
}

static gd_status one_share_less(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(update(r, 0));
    if (r->rank == r->ranks - 1) return GD_OK;
    return share(r, 0);
}

static gd_status begun_in_capture(rig *r) {
    void *graph = NULL;
    GD_TRY(make(r, 0));
    GD_TRY(r->d->capture(r->d, r->steps));
    GD_TRY(begin(r, 0));
    gd_status st = r->d->capture_end(r->d, r->steps, &graph);
    if (st != GD_OK && graph) (void)r->d->graph_free(r->d, graph);
    return st;
}

static gd_status ended_in_capture(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    GD_TRY(r->d->capture(r->d, r->steps));
    return end(r, 0);
}

static gd_status opened_in_capture(rig *r) {
    void *at;
    GD_TRY(r->d->capture(r->d, r->steps));
    return gd__cu_exchange_alloc(r->x[0], BYTES, &at);
}

static gd_status round_in_a_round(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    return begin(r, 0);
}

/* The host does not wait at all, but for what is four rounds behind. */
static gd_status right_without_waiting(rig *r) {
    int before = record_get_counts(r->d).syncs;
    for (int k = 0; k < 4; k++) GD_TRY(right_round(r));
    if (record_get_counts(r->d).syncs != before) GD_FAIL(INTERNAL, "the host has waited for the device");
    for (int k = 0; k < 4; k++) GD_TRY(right_round(r));
    if (record_get_counts(r->d).syncs == before) GD_FAIL(INTERNAL, "the host is ever further ahead");
    return settle(r, 0);
}

/* What an update behind the sums has written may be freed when all rounds are over and it has run, not before. */
static gd_status freed_behind_a_round(rig *r) {
    GD_TRY(right_round(r));
    GD_TRY(settle(r, 0));
    return r->d->free(r->d, r->other);
}

/* Settled is what has ended: the sums are there for the host, too. */
static gd_status right_settled(rig *r) {
    GD_TRY(right_round(r));
    GD_TRY(settle(r, 1));
    GD_TRY(settle(r, 0));
    GD_TRY(settle(r, 0));
    return right_round(r);
}

static gd_status end_without_a_round(rig *r) { return end(r, 0); }

static gd_status other_order(rig *r) {
    for (int k = 0; k < GROUPS; k++) {
        int g = r->rank == r->ranks - 1 ? 1 - k : k;
        GD_TRY(make(r, g));
        GD_TRY(begin(r, g));
        GD_TRY(end(r, g));
    }
    return GD_OK;
}

static gd_status one_round_less(rig *r) {
    GD_TRY(right(r));
    if (r->rank == r->ranks - 1) return GD_OK;
    GD_TRY(begin(r, 0));
    return end(r, 0);
}

static gd_status other_buckets(rig *r) { return right(r); }

/* ---- sums among the steps ---- */

enum { PART = 64 }; /* floats */

static gd_status sum(rig *r, int g, size_t from) {
    return gd__cu_exchange_sum(r->x[g], (float *)r->other + from, PART);
}
/* The rank's part lies in its own place. */
static gd_status gather(rig *r, int g) {
    float *all = r->other, *mine = all + (size_t)r->rank * PART;
    return gd__cu_exchange_gather(r->x[g], mine, PART * sizeof *mine, all);
}
static gd_status write_part(rig *r, size_t from) {
    float *all = r->other;
    return r->d->copy(r->d, r->steps, all + from, all + 512, PART * sizeof *all);
}

/* Behind the step that made what is summed, before the one that uses it, beside a round of the other exchange. */
static gd_status among_round(rig *r) {
    GD_TRY(make(r, 1));
    GD_TRY(begin(r, 1));
    GD_TRY(write_part(r, 0));
    GD_TRY(sum(r, 0, 0));
    GD_TRY(write_part(r, 128));
    GD_TRY(gather(r, 0));
    GD_TRY(make(r, 0));
    GD_TRY(end(r, 1));
    return use(r, 1);
}

static gd_status right_among(rig *r) {
    int before = record_get_counts(r->d).syncs;
    for (int k = 0; k < ROUNDS; k++) GD_TRY(among_round(r));
    if (record_get_counts(r->d).syncs != before) GD_FAIL(INTERNAL, "the host has waited for the device");
    GD_TRY(right(r)); /* rounds of the same exchange */
    GD_TRY(settle(r, 1));
    return among_round(r);
}

static gd_status capture_among(rig *r, bool joins, void **graph) {
    GD_TRY(r->d->capture(r->d, r->steps));
    gd_status st = sum(r, 0, 0), gathered = gather(r, 0), made = joins ? make(r, 1) : GD_OK;
    gd_status end = r->d->capture_end(r->d, r->steps, graph);
    return st != GD_OK ? st : gathered != GD_OK ? gathered : made != GD_OK ? made : end;
}

static gd_status right_captured(rig *r) {
    void *graph;
    GD_TRY(capture_among(r, true, &graph));
    for (int k = 0; k < ROUNDS; k++) {
        GD_TRY(make(r, 0));
        GD_TRY(begin(r, 0));
        GD_TRY(r->d->graph_launch(r->d, r->steps, graph)); /* a round of another exchange is under way */
        GD_TRY(end(r, 0));
        GD_TRY(use(r, 0));
    }
    GD_TRY(r->d->stream_sync(r->d, r->steps));
    return r->d->graph_free(r->d, graph);
}

/* One rank launches it once less. */
static gd_status captured_once_less(rig *r) {
    void *graph;
    GD_TRY(capture_among(r, false, &graph));
    for (int k = r->rank == r->ranks - 1; k < ROUNDS; k++) GD_TRY(r->d->graph_launch(r->d, r->steps, graph));
    GD_TRY(r->d->stream_sync(r->d, r->steps));
    return r->d->graph_free(r->d, graph);
}

static gd_status closed_before_graphs(rig *r) {
    void *graph;
    gd_error why;
    gd_exchange *x = r->x[0];
    GD_TRY(capture_among(r, false, &graph));
    r->x[0] = NULL;
    gd_status st = gd__cu_exchange_close(x, false);
    gd_error_save(st, &why);
    GD_TRY(r->d->graph_free(r->d, graph));
    return gd_error_restore(&why);
}

static gd_status sum_of_gradients_meanwhile(rig *r) {
    GD_TRY(make(r, 1));
    GD_TRY(begin(r, 1));
    GD_TRY(gd__cu_exchange_sum(r->x[0], r->grad[1], PART));
    return end(r, 1);
}

static gd_status gather_into_gradients(rig *r) {
    GD_TRY(make(r, 1));
    GD_TRY(begin(r, 1));
    GD_TRY(gd__cu_exchange_gather(r->x[0], r->other, PART * sizeof(float), r->grad[1]));
    return end(r, 1);
}

static gd_status sum_of_what_is_gone(rig *r) {
    void *at;
    GD_TRY(r->d->alloc(r->d, BYTES, &at));
    GD_TRY(r->d->copy(r->d, r->steps, at, r->other, BYTES));
    GD_TRY(r->d->stream_sync(r->d, r->steps));
    GD_TRY(r->d->free(r->d, at));
    return gd__cu_exchange_sum(r->x[0], at, PART);
}

/* Its last step is the sum, which nobody has waited for. */
static gd_status freed_behind_a_sum(rig *r) {
    void *at;
    GD_TRY(r->d->alloc(r->d, BYTES, &at));
    GD_TRY(r->d->copy(r->d, r->steps, at, r->other, BYTES));
    GD_TRY(gd__cu_exchange_sum(r->x[0], at, PART));
    return r->d->free(r->d, at);
}

static gd_status sum_in_a_round(rig *r) {
    GD_TRY(make(r, 0));
    GD_TRY(begin(r, 0));
    return sum(r, 0, 0);
}

static gd_status gather_of_half_a_float(rig *r) { return gd__cu_exchange_gather(r->x[0], r->other, 6, r->grad[0]); }

static gd_status other_order_among(rig *r) {
    bool odd = r->rank == r->ranks - 1;
    GD_TRY(odd ? gather(r, 0) : sum(r, 0, 0));
    return odd ? sum(r, 0, 0) : gather(r, 0);
}

static gd_status other_size_among(rig *r) {
    return gd__cu_exchange_sum(r->x[0], r->other, r->rank == r->ranks - 1 ? PART + 1 : PART);
}

static gd_status one_sum_less(rig *r) {
    GD_TRY(among_round(r));
    return r->rank == r->ranks - 1 ? GD_OK : sum(r, 0, 0);
}

/* Of the size of a bucket, which comes behind it on one rank and before it on the others. */
static gd_status round_before_a_sum(rig *r) {
    bool odd = r->rank == r->ranks - 1;
    for (int k = 0; k < 2; k++) {
        if (odd == (k == 0)) {
            GD_TRY(gd__cu_exchange_sum(r->x[0], r->other, BUCKET));
            continue;
        }
        GD_TRY(make(r, 0));
        GD_TRY(gd__cu_exchange_begin(r->x[0], r->grad[0], BUCKET));
        GD_TRY(gd__cu_exchange_all_ready(r->x[0]));
        GD_TRY(end(r, 0));
    }
    return GD_OK;
}

/* ---- journals ---- */

static gd_status compare_journals(const rig *all, int ranks) {
    gd_exchange_journal j[8];
    char text[256] = "";
    for (int g = 0; g < GROUPS; g++) {
        for (int k = 0; k < ranks; k++) gd__cu_exchange_journal(all[k].x[g], &j[k]);
        if (!gd__cu_exchange_same(j, ranks, text, sizeof text)) GD_FAIL(INTERNAL, "journals: %s", text);
    }
    return GD_OK;
}

/* ---- all ranks, one after another ---- */

typedef struct test {
    const char *name;
    gd_status (*work)(rig *r);
    const char *found; /* in the message; NULL: it is right */
    int ranks;         /* at least so many */
} test;

static gd_status run_ranks(gd__cu_device *d, const test *t, bool sliced, rig *all, int ranks) {
    for (int k = 0; k < ranks; k++) {
        bool odd = t->work == other_buckets && k == ranks - 1;
        all[k] = (rig){.d = d, .rank = k, .ranks = ranks, .sliced = sliced};
        GD_TRY(open_rank(&all[k], odd ? BUCKET / 2 : BUCKET));
        GD_TRY(t->work(&all[k]));
    }
    return compare_journals(all, ranks);
}

static int run(const test *t, bool sliced, int ranks) {
    static rig all[8];
    gd_error why;
    gd__cu_device *d = record_new(ranks);
    memset(all, 0, sizeof all);
    gd_status st = run_ranks(d, t, sliced, all, ranks);
    gd_error_save(st, &why);
    for (int k = 0; k < ranks && st == GD_OK; k++) {
        st = close_rank(&all[k], false);
        gd_error_save(st, &why);
    }
    for (int k = 0; k < ranks; k++) /* after a mistake: whatever they say */
        for (int g = 0; g < GROUPS; g++) (void)gd__cu_exchange_close(all[k].x[g], true);
    gd_status last = record_end(d);
    if (st != GD_OK) (void)gd_error_restore(&why);
    else st = last;
    bool good = t->found ? st != GD_OK && strstr(gd_error_message(), t->found) : st == GD_OK;
    printf("%-40s %d ranks %s  %s\n", t->name, ranks, good ? "ok" : "FAIL", st == GD_OK ? "" : gd_error_message());
    return !good;
}

/* ---- what fails ---- */

/* A communicator in front of a recorded one, whose calls fail when told to. */
typedef struct brittle {
    gd_device_comm table; /* first */
    gd_device_comm *inner;
    int calls, fail_call, aborts, closes;
    bool among,
        reads; /* a sum and a gather among the steps instead of a round; then it is read, before the exchange is closed */
    bool fail_wait, fail_poll;
} brittle;

static brittle *of(gd_device_comm *c) { return (brittle *)(void *)c; }

static gd_status brittle_reduce(gd_device_comm *c, void *stream, float *data, int64_t count) {
    if (++of(c)->calls == of(c)->fail_call) GD_FAIL(NCCL, "a cable was pulled");
    return of(c)->inner->all_reduce(of(c)->inner, stream, data, count);
}
static gd_status brittle_gather(gd_device_comm *c, void *stream, const float *mine, float *all, int64_t each) {
    if (++of(c)->calls == of(c)->fail_call) GD_FAIL(NCCL, "a cable was pulled");
    return of(c)->inner->all_gather(of(c)->inner, stream, mine, all, each);
}
static gd_status brittle_wait_stream(gd_device_comm *c, void *stream, double seconds) {
    if (of(c)->fail_wait) GD_FAIL(TIMEOUT, "not within %g s", seconds);
    return of(c)->inner->wait(of(c)->inner, stream, seconds);
}
static gd_status brittle_poll(gd_device_comm *c) {
    if (of(c)->fail_poll) GD_FAIL(NCCL, "a switch was pulled");
    return of(c)->inner->poll(of(c)->inner);
}
static gd_status brittle_wait(gd_device_comm *c, void *event, double seconds) {
    if (of(c)->fail_wait) GD_FAIL(TIMEOUT, "not within %g s", seconds);
    return of(c)->inner->wait_event(of(c)->inner, event, seconds);
}
static gd_status brittle_alloc(gd_device_comm *c, size_t bytes, void **out) {
    return of(c)->inner->alloc(of(c)->inner, bytes, out);
}
static gd_status brittle_free(gd_device_comm *c, void *at) { return of(c)->inner->free(of(c)->inner, at); }
static gd_status brittle_abort(gd_device_comm *c) {
    of(c)->aborts++;
    return of(c)->inner->abort(of(c)->inner);
}
static gd_status brittle_close(gd_device_comm *c) {
    of(c)->closes++;
    return of(c)->inner->close(of(c)->inner);
}

/* A sum and a gather among the steps, and a round behind them: it is the steps that the host waits for. */
static gd_status do_among(rig *r, const brittle *b) {
    GD_TRY(gd__cu_exchange_sum(r->x[0], r->grad[0], PART));
    GD_TRY(gd__cu_exchange_gather(r->x[0], r->grad[0], PART * sizeof(float), r->grad[0]));
    if (!b->reads) {
        GD_TRY(begin(r, 0));
        GD_TRY(end(r, 0));
        return settle(r, 0);
    }
    gd_exchange *x = r->x[0];
    r->x[0] = NULL;
    return gd__cu_exchange_close(x, false);
}

static gd_status do_round(rig *r) {
    GD_TRY(begin(r, 0));
    GD_TRY(end(r, 0));
    return settle(r, 0);
}

/* What a round does, and how often it was aborted when all is gone. */
static int fail_one(const char *name, brittle b, gd_status wanted, const char *words) {
    gd__cu_device *d = record_new(1);
    rig r = {.d = d, .ranks = 1};
    const gd_exchange_opts o = {.name = "G", .size = 1, .bucket = BUCKET, .seconds = 7};
    void *at;
    b.inner = record_comm(d, 0, 0);
    b.table = (gd_device_comm){.name = "brittle",
                               .size = 1,
                               .all_reduce = brittle_reduce,
                               .all_gather = brittle_gather,
                               .alloc = brittle_alloc,
                               .free = brittle_free,
                               .poll = brittle_poll,
                               .wait = brittle_wait_stream,
                               .wait_event = brittle_wait,
                               .abort = brittle_abort,
                               .close = brittle_close};
    bool good = d->stream_new(d, false, &r.steps) == GD_OK && d->alloc(d, BYTES, &r.other) == GD_OK &&
                gd__cu_exchange_on(d, r.steps, &b.table, &o, &r.x[0]) == GD_OK &&
                gd__cu_exchange_alloc(r.x[0], BYTES, &at) == GD_OK;
    void *pinned = NULL;
    r.grad[0] = at;
    good = good && d->alloc_host(d, BYTES, &pinned) == GD_OK && d->host(d, pinned, BYTES, true) == GD_OK;
    memset(pinned, 0, BYTES);
    good = good && d->copy(d, r.steps, at, pinned, BYTES) == GD_OK && d->stream_sync(d, r.steps) == GD_OK &&
           d->free(d, pinned) == GD_OK;
    gd_status st = b.among ? do_among(&r, &b) : do_round(&r);
    good = good && st == wanted && strstr(gd_error_message(), words) && b.aborts == 1;
    printf("%-40s %s\n", name, gd_error_message());
    if (!b.closes) /* it has failed for good */
        good = good && begin(&r, 0) == GD_INTERNAL && end(&r, 0) == GD_INTERNAL && settle(&r, 0) == GD_INTERNAL &&
               gd__cu_exchange_sum(r.x[0], r.grad[0], PART) == GD_INTERNAL &&
               gd__cu_exchange_gather(r.x[0], r.grad[0], 4, r.grad[0]) == GD_INTERNAL;
    good = good && d->stream_sync(d, r.steps) == GD_OK; /* what did not end has no part in the memory any more */
    good = good && gd__cu_exchange_close(r.x[0], false) == GD_OK && b.aborts >= 1 && b.closes == 1;
    good = good && d->free(d, r.other) == GD_OK && d->stream_free(d, r.steps) == GD_OK && record_end(d) == GD_OK;
    if (!good)
        printf("FAIL %s: %s, %s, %d aborts, %d closes\n", name, gd_status_name(st), gd_error_message(), b.aborts,
               b.closes);
    return !good;
}

int main(void) {
    static const test tests[] = {
        {"done right", right, NULL, 1},
        {"gradients are written meanwhile", written_meanwhile, "record:", 1},
        {"sums are used too early", used_too_early, "record:", 1},
        {"gradients are freed meanwhile", freed_meanwhile, "record:", 1},
        {"a round begins in a capture", begun_in_capture, "record:", 1},
        {"a round ends in a capture", ended_in_capture, "outside of its capture", 1},
        {"memory in a capture", opened_in_capture, "allocated while", 1},
        {"buckets begin early", right_early, NULL, 1},
        {"what is not ready is made", right_beside, NULL, 1},
        {"nobody waits", right_without_waiting, NULL, 1},
        {"rounds are settled", right_settled, NULL, 1},
        {"freed behind a round", freed_behind_a_round, "record:", 1},
        {"ready before it is made", ready_before_it_is_made, "record:", 1},
        {"used while others are made", used_while_others_are_made, "record:", 1},
        {"ready twice", ready_twice, "bucket 2 is ready twice", 1},
        {"ready too far", ready_too_far, "gradients 900..1001 of 1000", 1},
        {"ready without a round", ready_without_a_round, "no round is under way", 1},
        {"an end without a bucket", never_ready, "bucket 0 was never ready", 1},
        {"buckets in another order", other_buckets_first, "call 12 is for bucket 2 on rank 0 and for bucket 1 on rank",
         2},
        {"buckets in another order, long ago", other_buckets_once, "in different orders before the last 64", 2},
        {"a round in a round", round_in_a_round, "begins in another", 1},
        {"an end without a round", end_without_a_round, "no round is under way", 1},
        {"networks in another order", other_order, "communicator", 2},
        {"a round less", one_round_less, "journals: ", 2},
        {"other buckets", other_buckets, "journals: ", 2},
        {"sums among the steps", right_among, NULL, 1},
        {"captured among the steps", right_captured, NULL, 1},
        {"gradients are summed meanwhile", sum_of_gradients_meanwhile, "record:", 1},
        {"a gather into gradients meanwhile", gather_into_gradients, "record:", 1},
        {"a sum of what is gone", sum_of_what_is_gone, "record:", 1},
        {"freed behind a sum", freed_behind_a_sum, "record:", 1},
        {"a sum in a round", sum_in_a_round, "in the midst of a round", 1},
        {"a gather of half a float", gather_of_half_a_float, "a gather of 6 bytes", 1},
        {"an exchange is closed before graphs", closed_before_graphs, "before 1 graphs that hold", 1},
        {"a sum and a gather in another order", other_order_among, "all-reduce of 64 floats on rank 0 and all-gather",
         2},
        {"sums of another size", other_size_among, "all-reduce of 65 floats on rank", 2},
        {"a sum less", one_sum_less, "never came to call 2, all-reduce of 64", 2},
        {"a round before a sum", round_before_a_sum, "call 0 is for bucket 0 on rank 0 and among the steps on rank", 2},
        {"a graph is launched once less", captured_once_less, "rank 0 has 6 collectives, rank ", 2},
    };
    static const test sliced[] = {
        {"slices, done right", right_slices, NULL, 1},
        {"slices, nobody waits", slices_without_waiting, NULL, 1},
        {"updated before its sum", updated_before_its_sum, "no event orders the two", 1},
        {"updated by another's sum", updated_by_anothers_sum, "which nobody wrote", 2},
        {"shared before the update", shared_before_the_update, "which nobody wrote", 1},
        {"read before it is shared", read_before_it_is_shared, "which nobody wrote", 2},
        {"read beside sharing", read_beside_sharing, "no event orders the two", 2},
        {"shared beside the update", shared_beside_the_update, "no event orders the two", 1},
        {"shared in a round", shared_in_a_round, "in a round", 1},
        {"other slices", other_slices, "in parts", 2},
        {"a share less", one_share_less, "journals: ", 2},
    };
    static const int worlds[] = {1, 2, 4};
    int failed = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        for (int w = 0; w < 3; w++)
            if (worlds[w] >= tests[i].ranks) failed += run(&tests[i], false, worlds[w]);
    for (size_t i = 0; i < sizeof sliced / sizeof *sliced; i++)
        for (int w = 0; w < 3; w++)
            if (worlds[w] >= sliced[i].ranks) failed += run(&sliced[i], true, worlds[w]);
    failed += fail_one("the third bucket fails", (brittle){.fail_call = 3}, GD_NCCL, "a cable was pulled");
    failed += fail_one("it has failed before", (brittle){.fail_poll = true}, GD_NCCL, "a switch was pulled");
    failed += fail_one("a sum among the steps fails", (brittle){.among = true, .fail_call = 1}, GD_NCCL,
                       "a cable was pulled");
    failed += fail_one("a gather fails", (brittle){.among = true, .fail_call = 2}, GD_NCCL, "a cable was pulled");
    failed += fail_one("steps behind a sum do not end", (brittle){.among = true, .fail_wait = true}, GD_TIMEOUT,
                       "not within 7 s");
    failed += fail_one("nor before an exchange is closed", (brittle){.among = true, .reads = true, .fail_wait = true},
                       GD_TIMEOUT, "not within 7 s");
    failed += fail_one("a round does not end", (brittle){.fail_wait = true}, GD_TIMEOUT, "not within 7 s");
    printf("%d failures\n", failed);
    return failed != 0;
}
