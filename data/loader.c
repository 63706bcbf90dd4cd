/* data/loader.c -- worker threads decode into a ring of batches ahead of the trainer.
 *
 * Batches are numbered from the last seek on; batch k lies in slot k % slots. `held` slots more than
 * `depth`, because the batches that the trainer holds keep theirs. Workers take runs of samples in
 * order, so the earliest batch is finished first and a batch is shared by all workers. One lock
 * guards all positions; samples are decoded outside of it. Nobody ever polls. */
#include "data/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "base/text.h"
#include "data/source.h"

enum { WORKERS_MAX = 256, DEPTH_MAX = 1024, RUNS_PER_WORKER = 4 };

typedef struct slot {
    int64_t batch;  /* -1: none yet                                     */
    int64_t done;   /* samples decoded or given up                      */
    int64_t failed; /* lowest sample that failed; -1: none              */
    gd_error error; /* of that sample                                   */
    void *memory[GD_PARTS_MAX];
    uint8_t *part[GD_PARTS_MAX]; /* in memory, behind the picks */
    gd_pick *pick[GD_PARTS_MAX]; /* NULL: none are wanted       */
} slot;

struct gd_loader {
    const gd_dataset *d;
    gd_loader_opts o;
    size_t sample_bytes[GD_PARTS_MAX];
    int slots, threads; /* threads: started */
    int64_t run;        /* samples that a worker takes at a time */
    slot *ring;
    pthread_t *thread;

    pthread_mutex_t lock;       /* guards all below, and batch, done, failed, error of the slots     */
    pthread_cond_t work, ready; /* for workers: something to take; for the owner: something is done  */
    uint64_t base;              /* cursor of batch 0                                                 */
    int64_t batch, sample;      /* the next run to take begins here                                  */
    int64_t served, released;   /* batches handed out; batches whose slot may be used again          */
    int busy;                   /* workers that decode now                                           */
    bool held, closing;         /* held: nobody takes anything                                       */
};

/* ---- order ---- */

/* Parts that do not belong together have orders, and epochs, of their own. */
static int64_t sample_of(const gd_loader *l, int part, uint64_t draw) {
    const uint64_t n = (uint64_t)l->d->part_count[part];
    const uint32_t stream = l->d->aligned ? 0 : (uint32_t)part << 16;
    const gd_rng r = {.seed = l->o.seed, .purpose = GD_PURPOSE_SHUFFLE | stream, .step = draw / n};
    return (int64_t)gd_rng_permute(&r, n, draw % n);
}

/* ---- workers ---- */

typedef struct piece { /* samples first .. end-1 of a batch */
    slot *s;
    uint64_t cursor; /* of the batch */
    int64_t first, end;
} piece;

static bool may_take(const gd_loader *l) { return !l->held && l->batch < l->released + l->slots; }

/* Called with the lock held; false: the loader closes. */
static bool take(gd_loader *l, piece *out) {
    while (!l->closing && !may_take(l)) pthread_cond_wait(&l->work, &l->lock);
    if (l->closing) return false;
    slot *s = &l->ring[l->batch % l->slots];
    if (!l->sample) {
        s->batch = l->batch;
        s->done = 0;
        s->failed = -1;
    }
    int64_t end = l->sample + l->run < l->o.local ? l->sample + l->run : l->o.local;
    *out = (piece){s, l->base + (uint64_t)l->batch * (uint64_t)l->o.global, l->sample, end};
    l->sample = end;
    if (end == l->o.local) {
        l->batch++;
        l->sample = 0;
    }
    l->busy++;
    return true;
}

static gd_status decode(const gd_loader *l, const piece *p, int64_t i) {
    const uint64_t draw = p->cursor + (uint64_t)l->o.first + (uint64_t)i;
    int64_t index[GD_PARTS_MAX] = {0};
    void *out[GD_PARTS_MAX] = {0};
    for (int part = 0; part < l->d->parts; part++) {
        index[part] = sample_of(l, part, draw);
        out[part] = p->s->part[part] + (size_t)i * l->sample_bytes[part];
    }
    for (int part = 0; part < l->d->parts && l->o.whole; part++) {
        p->s->pick[part][i] = gd_dataset_pick(l->d, part, draw);
        p->s->pick[part][i].index = (uint32_t)(l->o.absent ? index[part] : i);
    }
    if (l->o.absent) return GD_OK;
    return gd__dataset_sample(l->d, index, l->o.whole ? NULL : &draw, out);
}

/* Called with the lock held. The lowest failing sample counts, whoever came across it first: every
 * run is worked on up to its own first failure, so the outcome does not depend on timing. */
static void finish(gd_loader *l, const piece *p, gd_status st, int64_t at) {
    slot *s = p->s;
    if (st != GD_OK && (s->failed < 0 || at < s->failed)) {
        s->failed = at;
        gd_error_save(st, &s->error);
    }
    s->done += p->end - p->first;
    l->busy--;
    if (s->done == l->o.local || (l->held && !l->busy)) pthread_cond_signal(&l->ready);
}

static void *worker(void *arg) {
    gd_loader *l = arg;
    piece p;
    pthread_mutex_lock(&l->lock);
    while (take(l, &p)) {
        gd_status st = GD_OK;
        int64_t i = p.first;
        pthread_mutex_unlock(&l->lock);
        for (; i < p.end; i++)
            if ((st = decode(l, &p, i)) != GD_OK) break;
        pthread_mutex_lock(&l->lock);
        finish(l, &p, st, i);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals are for the thread that trains: workers block all of them. */
static gd_status start_workers(gd_loader *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (!error && l->threads < l->o.workers) {
        error = pthread_create(&l->thread[l->threads], NULL, worker, l);
        l->threads += !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        GD_FAIL(NOMEM, "loader: decoding thread %d of %d cannot be started (%s); lower data.workers", l->threads + 1,
                l->o.workers, strerror(error));
    return GD_OK;
}

/* ---- opening and closing ---- */

static gd_status check_opts(const gd_dataset *d, const gd_loader_opts *o) {
    if (o->global < 1 || o->local < 1 || o->first < 0 || o->local > o->global || o->first > o->global - o->local)
        GD_FAIL(CONFIG,
                "loader: samples %" PRId64 " to %" PRId64 " of a global batch of %" PRId64 "; expected a part "
                "of it",
                o->first, o->first + o->local - 1, o->global);
    if (o->workers < 0 || o->workers > WORKERS_MAX || o->depth < 0 || o->depth > DEPTH_MAX || o->held < 0)
        GD_FAIL(CONFIG, "loader: %d workers, %d batches ahead; expected at most %d and %d, or 0 for the default",
                o->workers, o->depth, WORKERS_MAX, DEPTH_MAX);
    for (int p = 0; p < d->parts; p++) {
        if (d->part_count[p] >= o->global) continue;
        char have[32], want[32];
        gd_text_count((uint64_t)d->part_count[p], have, sizeof have);
        gd_text_count((uint64_t)o->global, want, sizeof want);
        GD_FAIL(CONFIG,
                "%s: %s samples; expected at least one global batch of %s; lower batch.global or give more "
                "data",
                d->where, have, want);
    }
    return GD_OK;
}

static gd_status take_memory(const gd_loader *l, size_t bytes, void **out) {
    *out = NULL;
    if (l->o.alloc) {
        gd_status st = l->o.alloc(bytes, out);
        return st == GD_OK ? GD_OK : gd_context(st, "loader: %d batches of %" PRId64 " samples", l->slots, l->o.local);
    }
    *out = calloc(bytes, 1);
    if (!*out)
        GD_FAIL(NOMEM, "loader: no memory for %d batches of %" PRId64 " samples; lower batch.global", l->slots,
                l->o.local);
    return GD_OK;
}

static gd_status make_slot(gd_loader *l, slot *s) {
    const size_t picks = l->o.whole ? (size_t)gd_pick_bytes((uint64_t)l->o.local) : 0;
    s->batch = -1;
    for (int p = 0; p < l->d->parts; p++) {
        void *at;
        GD_TRY(take_memory(l, picks + (size_t)l->o.local * l->sample_bytes[p], &at));
        s->memory[p] = at;
        s->part[p] = (uint8_t *)at + picks;
        s->pick[p] = l->o.whole ? at : NULL;
    }
    return GD_OK;
}

static void free_slot(const gd_loader *l, const slot *s) {
    for (int p = 0; p < GD_PARTS_MAX; p++) {
        if (l->o.alloc && s->memory[p]) l->o.free(s->memory[p]);
        if (!l->o.alloc) free(s->memory[p]);
    }
}

static gd_status make_ring(gd_loader *l) {
    l->ring = calloc((size_t)l->slots, sizeof *l->ring);
    l->thread = calloc((size_t)l->o.workers, sizeof *l->thread);
    if (!l->ring || !l->thread) GD_FAIL(NOMEM, "loader: no memory for %d batches", l->slots);
    for (int i = 0; i < l->slots; i++) GD_TRY(make_slot(l, &l->ring[i]));
    return GD_OK;
}

static gd_loader *loader_new(const gd_dataset *d, const gd_loader_opts *o) {
    gd_loader *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->d = d;
    l->o = *o;
    if (!l->o.workers) l->o.workers = 1;
    if (!l->o.depth) l->o.depth = 2;
    if (!l->o.held) l->o.held = 1;
    l->slots = l->o.depth + l->o.held;
    l->base = o->cursor;
    for (int p = 0; p < d->parts; p++)
        l->sample_bytes[p] = o->absent ? 0 : gd_sample_bytes(o->whole ? d->ready[p] : d->shape[p]);
    const int64_t runs = (int64_t)RUNS_PER_WORKER * l->o.workers;
    l->run = (l->o.local + runs - 1) / runs;
    pthread_mutex_init(&l->lock, NULL); /* with default attributes these cannot fail on Linux */
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    return l;
}

gd_status gd_loader_open(const gd_dataset *d, const gd_loader_opts *o, gd_loader **out) {
    GD_TRY(check_opts(d, o));
    gd_loader *l = loader_new(d, o);
    if (!l) GD_FAIL(NOMEM, "loader: no memory");
    gd_status st;
    GD_TRY_TO(fail, make_ring(l));
    GD_TRY_TO(fail, start_workers(l));
    *out = l;
    return GD_OK;
fail:
    gd_loader_close(l);
    return st;
}

void gd_loader_close(gd_loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++) pthread_join(l->thread[i], NULL);
    for (int i = 0; l->ring && i < l->slots; i++) free_slot(l, &l->ring[i]);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    free(l->thread);
    free(l->ring);
    free(l);
}

/* ---- the owner's side ---- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Called with the lock held. */
static void wait_for(gd_loader *l, const slot *s) {
    while (s->batch != l->served || s->done != l->o.local) pthread_cond_wait(&l->ready, &l->lock);
}

/* Called with the lock held. The batch of the held-th last call goes back. */
static void release(gd_loader *l) {
    const int64_t released = l->served - l->o.held + 1;
    if (released <= l->released) return;
    l->released = released;
    pthread_cond_broadcast(&l->work);
}

bool gd_loader_ready(gd_loader *l) {
    pthread_mutex_lock(&l->lock);
    const slot *s = &l->ring[l->served % l->slots];
    const bool ready = s->batch == l->served && s->done == l->o.local && s->failed < 0;
    pthread_mutex_unlock(&l->lock);
    return ready;
}

gd_status gd_loader_next(gd_loader *l, gd_batch *b) {
    gd_status st = GD_OK;
    const double start = seconds();
    pthread_mutex_lock(&l->lock);
    release(l);
    slot *s = &l->ring[l->served % l->slots];
    wait_for(l, s);
    if (s->failed >= 0) {
        st = gd_error_restore(&s->error);
    } else {
        *b = (gd_batch){.cursor = gd_loader_cursor(l)};
        for (int p = 0; p < l->d->parts; p++) {
            b->part[p] = s->part[p];
            b->pick[p] = s->pick[p];
        }
        l->served++;
    }
    pthread_mutex_unlock(&l->lock);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    b->wait_s = seconds() - start;
    return GD_OK;
}

/* base and served are written by the owner's thread only, so it may read them without the lock. */
uint64_t gd_loader_cursor(const gd_loader *l) { return l->base + (uint64_t)l->served * (uint64_t)l->o.global; }

gd_status gd_loader_seek(gd_loader *l, uint64_t cursor) {
    pthread_mutex_lock(&l->lock);
    l->held = true;
    while (l->busy) pthread_cond_wait(&l->ready, &l->lock);
    for (int i = 0; i < l->slots; i++) l->ring[i].batch = -1;
    l->base = cursor;
    l->batch = l->sample = l->served = l->released = 0;
    l->held = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return GD_OK;
}
