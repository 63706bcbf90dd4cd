/* compute/cuda/exchange.c -- see exchange.h. */
#include "compute/cuda/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "compute/cuda/executor.h"

static const double seconds_default = 300;
static const size_t bucket_default = (size_t)1 << 20;

/* What the communicator remembers, and which buckets its calls were for: their sizes are alike. */
enum { NO_BUCKET = -1 /* a sum, or a gather, among the steps, or parts that are shared */ };
typedef struct journal {
    gd_device_comm_journal calls;
    uint64_t order; /* of all buckets, a hash */
    int32_t last[GD_DEVICE_COMM_JOURNAL];
} journal;
_Static_assert(sizeof(journal) <= GD_EXCHANGE_JOURNAL, "a journal has room");
_Static_assert((int)GD_EXCHANGE_ID == (int)GD_DEVICE_COMM_ID, "an id is an id");

typedef struct memory {
    struct memory *next;
    void *at;
} memory;

/* That may have ended and not be over; where slices are shared, twice an update, these count, too. */
enum { ROUNDS = 4, SHARES = 2, RING = ROUNDS * (1 + SHARES) };

typedef struct round {
    void *reached, *over; /* events: steps behind it have come; so have the sums */
    uint64_t number;      /* of all rounds of all exchanges, in the order of their ends */
} round;

struct gd_exchange {
    gd_exchange *next; /* of all that are open */
    gd__cu_device *d;
    gd_device_comm *comm;
    void *steps, *beside; /* streams: the executor's, and the one of the sums */
    void *ready;          /* event: gradients are there */
    size_t bucket;        /* floats */
    size_t *slice;        /* borders; NULL: all ranks get all sums */
    int64_t *border;
    double seconds;
    bool under_way, failed, aborted;
    uint64_t among; /* number of its last sum among the steps, from 1 and of all exchanges; 0: there is none */
    memory *given;
    round round[RING];       /* round k (from 0) is round[k % RING] */
    uint64_t ended, settled; /* rounds */
    double waited;
    /* the round under way */
    float *data;
    size_t count, n_buckets, room;
    size_t *missing; /* per bucket: floats that are not final; 0: it is on its way */
    journal journal; /* but for `calls` */
    uint64_t sent;   /* calls, ever     */
};

static gd_exchange *exchanges;
static uint64_t rounds, sums_among;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Later errors are less worth than the first. */
static void keep_first(gd_status *st, gd_error *why, gd_status later) {
    if (*st == GD_OK) {
        *st = later;
        gd_error_save(later, why);
    }
}

/* ---- what fails ---- */

/* Aborts what has failed; then it ends soon. A communicator that is part of a graph is not gone before the graph is: it would be
 * waited for, and a graph that is still being captured is there until the capture ends. */
static void end_failed(void) {
    bool first = true;
    for (gd_exchange *x = exchanges; x && !gd__cu_capturing(); x = x->next) {
        if (!x->failed || x->aborted) continue;
        if (first && gd__cu_drop_graphs() != GD_OK) gd_error_clear(); /* the first error is the one that matters */
        first = false;
        x->aborted = true;
        if (x->comm->abort(x->comm) != GD_OK) gd_error_clear();
    }
}

/* All exchanges beside these steps, which may wait for sums of each of them. */
static void abandon(const void *steps) {
    for (gd_exchange *x = exchanges; x; x = x->next)
        if (x->steps == steps) x->failed = true;
    end_failed();
}

/* What a sum does not survive: others must not wait for this rank's part, nor steps for theirs. */
static gd_status give_up(gd_exchange *x, gd_status st) {
    gd_error why;
    if (st == GD_OK) return GD_OK;
    gd_error_save(st, &why);
    abandon(x->steps);
    return gd_error_restore(&why);
}

/* ---- rounds that have ended ---- */

/* Whose sum is the last of those among these steps; NULL: no step waits for another rank by itself. */
static gd_exchange *last_among(const void *steps) {
    gd_exchange *last = NULL;
    for (gd_exchange *x = exchanges; x; x = x->next)
        if (x->steps == steps && !x->failed && x->among > (last ? last->among : 0)) last = x;
    return last;
}

/* The host, for what steps up to the event (NULL: all of them) wait for: sums among them are other ranks' business, too. */
static gd_status wait_for_steps(void *steps, void *event) {
    gd_exchange *x = last_among(steps);
    if (!x) return GD_OK;
    return give_up(x,
                   event ? x->comm->wait_event(x->comm, event, x->seconds) : x->comm->wait(x->comm, steps, x->seconds));
}

static bool has_ended(const gd_exchange *x) { return !x->failed && x->settled < x->ended; }

/* Whose round is the first that ended and is not over, of those beside these steps; NULL: all are. */
static gd_exchange *first_ended(const void *steps) {
    gd_exchange *first = NULL;
    for (gd_exchange *x = exchanges; x; x = x->next) {
        if (x->steps != steps || !has_ended(x)) continue;
        uint64_t mine = x->round[x->settled % RING].number;
        if (!first || mine < first->round[first->settled % RING].number) first = x;
    }
    return first;
}

/* All that ended before it is over: nothing in front of `reached` but sums among the steps waits for another rank. */
static gd_status settle_first(gd_exchange *x) {
    const round *r = &x->round[x->settled % RING];
    GD_TRY(wait_for_steps(x->steps, r->reached));
    GD_TRY(give_up(x, x->d->event_sync(x->d, r->reached)));
    double since = now();
    GD_TRY(give_up(x, x->comm->wait_event(x->comm, r->over, x->seconds)));
    x->waited += now() - since;
    x->settled++;
    return GD_OK;
}

/* The host waits with a deadline for whatever it would next wait for without one. */
static gd_status settle_all(void *steps, void *event) {
    end_failed();
    for (gd_exchange *x; (x = first_ended(steps));) GD_TRY(settle_first(x));
    return wait_for_steps(steps, event);
}

/* Until at most `rest` of its rounds have ended and are not over. */
static gd_status settle(gd_exchange *x, uint64_t rest) {
    while (has_ended(x) && x->ended - x->settled > rest) GD_TRY(settle_first(first_ended(x->steps)));
    return GD_OK;
}

gd_status gd__cu_exchange_settle(gd_exchange *x, double *waited) {
    if (x->failed) GD_FAIL(INTERNAL, "cuda: %s: no round is under way", x->comm->name);
    gd_status st = settle(x, 0);
    *waited = x->waited;
    x->waited = 0;
    return st;
}

/* ---- opening and closing ---- */

static void forget(const gd_exchange *x) {
    gd_exchange **at = &exchanges;
    while (*at && *at != x) at = &(*at)->next;
    if (*at) *at = x->next;
}

static gd_status free_events(gd_exchange *x) {
    gd_status st = x->ready ? x->d->event_free(x->d, x->ready) : GD_OK;
    for (int i = 0; i < 2 * RING; i++) {
        void *event = i % 2 ? x->round[i / 2].over : x->round[i / 2].reached;
        gd_status gone = event ? x->d->event_free(x->d, event) : GD_OK;
        if (st == GD_OK) st = gone;
    }
    return st;
}

gd_status gd__cu_exchange_close(gd_exchange *x, bool abort) {
    gd_status st = GD_OK;
    gd_error why;
    if (!x) return GD_OK;
    gd_error_save(st, &why);
    if (!abort && !x->failed && !x->under_way) keep_first(&st, &why, settle(x, 0));
    if (!abort && !x->failed && x->among) keep_first(&st, &why, wait_for_steps(x->steps, NULL));
    if (abort || x->under_way) abandon(x->steps);
    end_failed();
    if (x->failed) { /* what was under way, or is behind it, has its memory until it ends */
        if (x->beside) keep_first(&st, &why, x->d->stream_sync(x->d, x->beside));
        keep_first(&st, &why, x->d->stream_sync(x->d, x->steps));
    }
    forget(x);
    for (memory *m = x->given, *next; m; m = next) {
        next = m->next;
        keep_first(&st, &why, x->comm->free(x->comm, m->at));
        free(m);
    }
    keep_first(&st, &why, x->comm->close(x->comm));
    keep_first(&st, &why, free_events(x));
    if (x->beside) keep_first(&st, &why, x->d->stream_free(x->d, x->beside));
    free(x->missing);
    free(x->slice);
    free(x->border);
    free(x);
    return st == GD_OK ? GD_OK : gd_error_restore(&why);
}

static gd_status copy_slices(gd_exchange *x, const size_t *slice) {
    size_t n = (size_t)x->comm->size + 1;
    x->border = malloc(n * sizeof *x->border);
    if (slice) x->slice = malloc(n * sizeof *slice);
    if (!x->border || (slice && !x->slice))
        GD_FAIL(NOMEM, "cuda: no memory for slices of %s on %zu ranks", x->comm->name, n - 1);
    if (slice) memcpy(x->slice, slice, n * sizeof *slice);
    return GD_OK;
}

static gd_status make(gd_exchange *x, const size_t *slice) {
    x->next = exchanges;
    exchanges = x;
    gd__cu_before_waits(settle_all);
    GD_TRY(copy_slices(x, slice));
    GD_TRY(x->d->stream_new(x->d, true, &x->beside));
    for (int i = 0; i < RING; i++) {
        GD_TRY(x->d->event_new(x->d, &x->round[i].reached));
        GD_TRY(x->d->event_new(x->d, &x->round[i].over));
    }
    return x->d->event_new(x->d, &x->ready);
}

gd_status gd__cu_exchange_on(gd__cu_device *d, void *stream, gd_device_comm *comm, const gd_exchange_opts *o,
                             gd_exchange **out) {
    gd_error why;
    gd_exchange *x = calloc(1, sizeof *x);
    if (!x) {
        (void)comm->close(comm); /* the first error is the one that matters */
        GD_FAIL(NOMEM, "cuda: no memory for the exchange of %s", o->name);
    }
    *x = (gd_exchange){.d = d,
                       .comm = comm,
                       .steps = stream,
                       .bucket = o->bucket ? o->bucket : bucket_default,
                       .seconds = o->seconds > 0 ? o->seconds : seconds_default};
    gd_status st = make(x, o->slice);
    if (st == GD_OK) {
        *out = x;
        return GD_OK;
    }
    gd_error_save(st, &why);
    if (gd__cu_exchange_close(x, true) != GD_OK) gd_error_clear();
    return gd_error_restore(&why);
}

gd_status gd__cu_exchange_open(gd__cu_device *d, void *stream, const gd_device_comms *comms, const gd_exchange_opts *o,
                               gd_exchange **out) {
    const gd_device_comm_opts c = {.name = o->name,
                                   .rank = o->rank,
                                   .size = o->size,
                                   .id = o->id,
                                   .open_seconds = o->open_seconds,
                                   .call_seconds = o->seconds,
                                   .idle = o->idle,
                                   .ctx = o->ctx};
    gd_device_comm *comm;
    GD_TRY(comms->open(&c, &comm));
    return gd__cu_exchange_on(d, stream, comm, o, out);
}

gd_status gd__cu_exchange_alloc(gd_exchange *x, size_t bytes, void **out) {
    memory *m = malloc(sizeof *m);
    if (!m) GD_FAIL(NOMEM, "cuda: no memory for the exchange of %s", x->comm->name);
    gd_status st = x->comm->alloc(x->comm, bytes, &m->at);
    if (st != GD_OK) {
        free(m);
        return gd_trace(st, __FILE__, __LINE__);
    }
    m->next = x->given;
    x->given = m;
    *out = m->at;
    return GD_OK;
}

/* ---- buckets ---- */

static size_t end_of(const gd_exchange *x, size_t b) {
    return (b + 1) * x->bucket < x->count ? (b + 1) * x->bucket : x->count;
}

static gd_status open_buckets(gd_exchange *x, size_t count) {
    size_t n = (count + x->bucket - 1) / x->bucket;
    if (n > x->room) { /* in the first round */
        size_t *more = realloc(x->missing, n * sizeof *more);
        if (!more) GD_FAIL(NOMEM, "cuda: no memory for %zu buckets of %s", n, x->comm->name);
        x->missing = more;
        x->room = n;
    }
    x->count = count;
    x->n_buckets = n;
    for (size_t b = 0; b < n; b++) x->missing[b] = end_of(x, b) - b * x->bucket;
    return GD_OK;
}

static void note(gd_exchange *x, int32_t bucket) {
    x->journal.last[x->sent++ % GD_DEVICE_COMM_JOURNAL] = bucket;
    x->journal.order = gd_hash64(&bucket, sizeof bucket, x->journal.order);
}

/* What comes beside the steps next is behind all of them so far. */
static gd_status follow(gd_exchange *x) {
    GD_TRY(x->d->event_record(x->d, x->ready, x->steps));
    return x->d->event_wait(x->d, x->beside, x->ready);
}

/* A bucket's share of each slice, to its rank. */
static gd_status reduce_slices(gd_exchange *x, size_t from, size_t to) {
    for (int r = 0; r <= x->comm->size; r++) {
        size_t at = x->slice[r] < from ? from : x->slice[r] > to ? to : x->slice[r];
        x->border[r] = (int64_t)at;
    }
    return x->comm->reduce_parts(x->comm, x->beside, x->data, x->border);
}

static gd_status send(gd_exchange *x, size_t b) {
    size_t from = b * x->bucket, to = end_of(x, b);
    note(x, (int32_t)b);
    GD_TRY(follow(x));
    if (x->slice) return reduce_slices(x, from, to);
    return x->comm->all_reduce(x->comm, x->beside, x->data + from, (int64_t)(to - from));
}

static gd_status take(gd_exchange *x, size_t b, size_t floats) {
    if (floats > x->missing[b])
        GD_FAIL(INTERNAL, "cuda: %s: a gradient in bucket %zu is ready twice", x->comm->name, b);
    x->missing[b] -= floats;
    return x->missing[b] ? GD_OK : send(x, b);
}

/* Programs make gradients from the end to the beginning. */
static gd_status take_range(gd_exchange *x, size_t first, size_t last) {
    for (size_t to = last; to > first;) {
        size_t b = (to - 1) / x->bucket, from = b * x->bucket > first ? b * x->bucket : first;
        GD_TRY(take(x, b, to - from));
        to = from;
    }
    return GD_OK;
}

static gd_status take_rest(gd_exchange *x) {
    for (size_t b = x->n_buckets; b-- > 0;)
        if (x->missing[b]) GD_TRY(take(x, b, x->missing[b]));
    return GD_OK;
}

/* ---- rounds ---- */

static gd_status begin(gd_exchange *x, float *data, size_t count) {
    GD_TRY(settle(x, (x->slice ? RING : ROUNDS) - 1));
    x->data = data;
    GD_TRY(open_buckets(x, count));
    return x->comm->poll(x->comm);
}

gd_status gd__cu_exchange_begin(gd_exchange *x, float *data, size_t count) {
    if (x->under_way || x->failed) GD_FAIL(INTERNAL, "cuda: %s: a round begins in another", x->comm->name);
    x->under_way = true;
    return give_up(x, begin(x, data, count));
}

static gd_status under_way(const gd_exchange *x) {
    if (!x->under_way || x->failed) GD_FAIL(INTERNAL, "cuda: %s: no round is under way", x->comm->name);
    return GD_OK;
}

gd_status gd__cu_exchange_ready(gd_exchange *x, size_t first, size_t last) {
    GD_TRY(under_way(x));
    if (first > last || last > x->count)
        GD_FAIL(INTERNAL, "cuda: %s: gradients %zu..%zu of %zu are ready", x->comm->name, first, last, x->count);
    return give_up(x, take_range(x, first, last));
}

gd_status gd__cu_exchange_all_ready(gd_exchange *x) {
    GD_TRY(under_way(x));
    return give_up(x, take_rest(x));
}

static gd_status all_on_their_way(const gd_exchange *x) {
    for (size_t b = 0; b < x->n_buckets; b++)
        if (x->missing[b]) GD_FAIL(INTERNAL, "cuda: %s: bucket %zu was never ready", x->comm->name, b);
    return GD_OK;
}

/* Steps from here on wait for the sums. */
static gd_status join(gd_exchange *x) {
    round *r = &x->round[x->ended % RING];
    r->number = rounds++;
    GD_TRY(x->d->event_record(x->d, r->reached, x->steps));
    GD_TRY(x->d->event_record(x->d, r->over, x->beside));
    GD_TRY(x->d->event_wait(x->d, x->steps, r->over));
    x->ended++;
    return GD_OK;
}

gd_status gd__cu_exchange_end(gd_exchange *x) {
    GD_TRY(under_way(x));
    GD_TRY(all_on_their_way(x));
    x->under_way = false;
    return give_up(x, join(x));
}

/* ---- parts that are shared: a round of their own ---- */

static gd_status put_share(gd_exchange *x, float *data, const size_t *border) {
    GD_TRY(settle(x, RING - 1));
    for (int r = 0; r <= x->comm->size; r++) x->border[r] = (int64_t)border[r];
    note(x, NO_BUCKET);
    GD_TRY(follow(x));
    GD_TRY(x->comm->gather_parts(x->comm, x->beside, data, x->border));
    return join(x);
}

gd_status gd__cu_exchange_share(gd_exchange *x, float *data, const size_t *border) {
    if (x->under_way || x->failed)
        GD_FAIL(INTERNAL, "cuda: %s: parts are shared %s", x->comm->name, x->failed ? "after an error" : "in a round");
    return give_up(x, put_share(x, data, border));
}

/* ---- sums among the steps ---- */

static gd_status begin_among(gd_exchange *x) {
    if (x->under_way || x->failed)
        GD_FAIL(INTERNAL, "cuda: %s: a sum among the steps %s", x->comm->name,
                x->failed ? "after an error" : "in the midst of a round");
    note(x, NO_BUCKET);
    x->among = ++sums_among;
    return GD_OK;
}

gd_status gd__cu_exchange_sum(gd_exchange *x, float *data, size_t count) {
    GD_TRY(begin_among(x));
    return give_up(x, x->comm->all_reduce(x->comm, x->steps, data, (int64_t)count));
}

gd_status gd__cu_exchange_gather(gd_exchange *x, const void *part, size_t bytes, void *all) {
    if (bytes % sizeof(float)) GD_FAIL(INTERNAL, "cuda: %s: a gather of %zu bytes", x->comm->name, bytes);
    GD_TRY(begin_among(x));
    return give_up(x, x->comm->all_gather(x->comm, x->steps, part, all, (int64_t)(bytes / sizeof(float))));
}

/* ---- journals ---- */

void gd__cu_exchange_journal(const gd_exchange *x, gd_exchange_journal *out) {
    journal j = x->journal;
    memset(out, 0, sizeof *out);
    x->comm->journal(x->comm, &j.calls);
    memcpy(out->bytes, &j, sizeof j);
}

static void describe_bucket(int32_t bucket, char text[32]) {
    if (bucket == NO_BUCKET) snprintf(text, 32, "among the steps");
    else snprintf(text, 32, "for bucket %d", (int)bucket);
}

/* Of equally many calls, which the communicator found alike. */
static void describe_order(const journal *a, const journal *b, int rank, char *text, size_t room) {
    uint64_t n = a->calls.calls, known = GD_DEVICE_COMM_JOURNAL;
    for (uint64_t k = n > known ? n - known : 0; k < n; k++) {
        char mine[32], other[32];
        if (a->last[k % known] == b->last[k % known]) continue;
        describe_bucket(a->last[k % known], mine);
        describe_bucket(b->last[k % known], other);
        snprintf(text, room, "call %llu is %s on rank 0 and %s on rank %d", (unsigned long long)k, mine, other, rank);
        return;
    }
    snprintf(text, room, "ranks 0 and %d took buckets in different orders before the last %d calls of %llu", rank,
             (int)known, (unsigned long long)n);
}

static bool same(const journal *j, gd_device_comm_journal *calls, int ranks, char *text, size_t room) {
    for (int r = 0; r < ranks; r++) calls[r] = j[r].calls;
    if (!gd__cu_journal_same(calls, ranks, text, room)) return false;
    for (int r = 1; r < ranks; r++) {
        if (j[r].order == j[0].order) continue;
        describe_order(&j[0], &j[r], r, text, room);
        return false;
    }
    return true;
}

bool gd__cu_exchange_same(const gd_exchange_journal *of_rank, int ranks, char *text, size_t room) {
    journal *all = calloc((size_t)ranks, sizeof *all);
    gd_device_comm_journal *calls = calloc((size_t)ranks, sizeof *calls);
    bool good = true; /* a check that cannot be made is none that failed */
    for (int r = 0; all && r < ranks; r++) memcpy(&all[r], of_rank[r].bytes, sizeof *all);
    if (all && calls) good = same(all, calls, ranks, text, room);
    free(all);
    free(calls);
    return good;
}
