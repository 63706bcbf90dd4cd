/* compute/cuda/exchange.c -- see exchange.h. */
#include "compute/cuda/exchange.h"

#include <stdlib.h>
#include <string.h>

static const double seconds_default = 300;
static const size_t bucket_default = (size_t)1 << 20;

_Static_assert(sizeof(gd_device_comm_journal) <= GD_EXCHANGE_JOURNAL, "a journal has room");
_Static_assert((int)GD_EXCHANGE_ID == (int)GD_DEVICE_COMM_ID, "an id is an id");

typedef struct memory {
    struct memory *next;
    void *at;
} memory;

struct gd_exchange {
    gd__cu_device *d;
    gd_device_comm *comm;
    void *steps, *beside; /* streams: the executor's, and the one of the sums */
    void *ready;          /* event: gradients are there */
    size_t bucket;
    double seconds;
    bool under_way, failed;
    memory *given;
};

/* Later errors are less worth than the first. */
static void keep_first(gd_status *st, gd_error *why, gd_status later) {
    if (*st == GD_OK) {
        *st = later;
        gd_error_save(later, why);
    }
}

gd_status gd__cu_exchange_close(gd_exchange *x, bool abort) {
    gd_status st = GD_OK;
    gd_error why;
    if (!x) return GD_OK;
    gd_error_save(st, &why);
    if (abort || x->failed || x->under_way) {
        keep_first(&st, &why, x->comm->abort(x->comm));
        /* What was under way ends soon, and has its memory until then. */
        if (x->beside) keep_first(&st, &why, x->d->stream_sync(x->d, x->beside));
    }
    for (memory *m = x->given, *next; m; m = next) {
        next = m->next;
        keep_first(&st, &why, x->comm->free(x->comm, m->at));
        free(m);
    }
    keep_first(&st, &why, x->comm->close(x->comm));
    if (x->ready) keep_first(&st, &why, x->d->event_free(x->d, x->ready));
    if (x->beside) keep_first(&st, &why, x->d->stream_free(x->d, x->beside));
    free(x);
    return st == GD_OK ? GD_OK : gd_error_restore(&why);
}

static gd_status make(gd_exchange *x) {
    GD_TRY(x->d->stream_new(x->d, true, &x->beside));
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
    gd_status st = make(x);
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

/* From the end to the beginning, as programs make gradients: equal on all ranks. */
static gd_status put_buckets(gd_exchange *x, float *data, size_t count) {
    for (size_t to = count; to > 0;) {
        size_t from = (to - 1) / x->bucket * x->bucket;
        GD_TRY(x->comm->all_reduce(x->comm, x->beside, data + from, (int64_t)(to - from)));
        to = from;
    }
    return GD_OK;
}

/* What a round does not survive: others must not wait for this rank's part. */
static gd_status give_up(gd_exchange *x, gd_status st) {
    gd_error why;
    if (st == GD_OK) return GD_OK;
    gd_error_save(st, &why);
    x->failed = true;
    if (x->comm->abort(x->comm) != GD_OK) gd_error_clear(); /* the first error is the one that matters */
    return gd_error_restore(&why);
}

static gd_status begin(gd_exchange *x, float *data, size_t count) {
    GD_TRY(x->comm->poll(x->comm));
    GD_TRY(x->d->event_record(x->d, x->ready, x->steps));
    GD_TRY(x->d->event_wait(x->d, x->beside, x->ready));
    return put_buckets(x, data, count);
}

gd_status gd__cu_exchange_begin(gd_exchange *x, float *data, size_t count) {
    if (x->under_way || x->failed) GD_FAIL(INTERNAL, "cuda: %s: a round begins in another", x->comm->name);
    x->under_way = true;
    return give_up(x, begin(x, data, count));
}

/* The host waits, with a deadline, for whatever it asks the device next would wait without one; and what it puts on streams
 * from here on comes after the sums. */
gd_status gd__cu_exchange_end(gd_exchange *x) {
    if (!x->under_way || x->failed) GD_FAIL(INTERNAL, "cuda: %s: no round is under way", x->comm->name);
    gd_status st = give_up(x, x->comm->wait(x->comm, x->beside, x->seconds));
    x->under_way = false;
    return st;
}

void gd__cu_exchange_journal(const gd_exchange *x, gd_exchange_journal *out) {
    gd_device_comm_journal j;
    memset(out, 0, sizeof *out);
    x->comm->journal(x->comm, &j);
    memcpy(out->bytes, &j, sizeof j);
}

bool gd__cu_exchange_same(const gd_exchange_journal *of_rank, int ranks, char *text, size_t room) {
    gd_device_comm_journal *all = calloc((size_t)ranks, sizeof *all);
    if (!all) return true; /* a check that cannot be made is none that failed */
    for (int r = 0; r < ranks; r++) memcpy(&all[r], of_rank[r].bytes, sizeof *all);
    bool same = gd__cu_journal_same(all, ranks, text, room);
    free(all);
    return same;
}
