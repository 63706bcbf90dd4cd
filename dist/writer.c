/* dist/writer.c */
#include "dist/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "dist/checkpoint_internal.h"

enum { ALIGN = 64 };
static const double STUCK_S = 600;

/* GIVE_UP: rank 0 removes the temporary folder; nobody waits for that but the next save. */
typedef enum phase { IDLE, BEGIN, SHARDS, COMMIT, GIVE_UP } phase;

struct gd_writer {
    gd_comm *comm;
    gd_writer_opts o;
    int rank, size;
    /* Of the save under way. The training thread and the writer thread use them by turns, under mutex. */
    phase now;
    gd__save job;
    gd_state state; /* what job saves: as handed over, with values in the snapshot         */
    gd_state_tensor *tensor;
    double started, blocked;
    bool told_stuck;
    gd_saved last;
    gd_error why; /* of the last save that failed                                        */
    /* snapshot */
    char *buffer;
    size_t room;
    bool refused; /* there was no memory for it                                          */
    /* thread */
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool todo, stop; /* under mutex */
    gd_error result; /* under mutex */
    atomic_int word;
};

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the thread ---- */

static gd_status commit_and_retain(gd_writer *w) {
    GD_TRY(gd__save_commit(&w->job));
    if (gd_checkpoint_retain(w->o.dir, w->o.keep) != GD_OK)
        GD_LOG(DIST, WARN, "older checkpoints stay: %s", gd_error_message());
    return GD_OK;
}

static bool has_work(const gd_writer *w) { return w->now == SHARDS ? gd__save_own(&w->job) >= 0 : w->rank == 0; }

static gd_status run_phase(gd_writer *w) {
    switch (w->now) {
    case BEGIN: return gd__save_begin(&w->job);
    case SHARDS: return gd__save_shard(&w->job, gd__save_own(&w->job));
    case COMMIT: return commit_and_retain(w);
    case GIVE_UP: gd__save_discard(&w->job, GD_OK); return GD_OK;
    case IDLE: break;
    }
    return GD_OK;
}

static void *work(void *ctx) {
    gd_writer *w = ctx;
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (!w->todo && !w->stop) pthread_cond_wait(&w->changed, &w->mutex);
        if (!w->todo) break;
        pthread_mutex_unlock(&w->mutex);
        gd_error_clear();
        gd_status st = run_phase(w);
        pthread_mutex_lock(&w->mutex);
        gd_error_save(st, &w->result);
        w->todo = false;
        atomic_store(&w->word, st == GD_OK ? GD_WRITER_DONE : GD_WRITER_FAILED);
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Signals are for the thread that trains. */
static gd_status start_thread(gd_writer *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) GD_FAIL(NOMEM, "checkpoint writer: no thread (%s)", strerror(error));
    w->running = true;
    return GD_OK;
}

static void enter(gd_writer *w, phase p) {
    w->now = p;
    if (p == IDLE || !has_work(w)) {
        atomic_store(&w->word, p == IDLE ? GD_WRITER_IDLE : GD_WRITER_DONE);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    atomic_store(&w->word, GD_WRITER_BUSY);
    w->todo = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static void wait_for_thread(gd_writer *w) {
    pthread_mutex_lock(&w->mutex);
    while (w->todo) pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

/* ---- making ---- */

gd_status gd_writer_new(gd_comm *c, const gd_writer_opts *o, gd_writer **out) {
    gd_writer *w = calloc(1, sizeof *w);
    if (!w) GD_FAIL(NOMEM, "checkpoint writer: no memory");
    w->comm = c;
    w->o = *o;
    w->rank = gd_comm_rank(c);
    w->size = gd_comm_size(c);
    atomic_init(&w->word, GD_WRITER_IDLE);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    gd_status st = start_thread(w);
    if (st == GD_OK) *out = w;
    else gd_writer_free(w);
    return st;
}

void gd_writer_free(gd_writer *w) {
    if (!w) return;
    if (w->running) {
        pthread_mutex_lock(&w->mutex);
        w->stop = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
    }
    gd__save_free(&w->job);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w->tensor);
    free(w->buffer);
    free(w);
}

/* ---- snapshot ---- */

/* false: there is not enough memory. */
static bool get_room(gd_writer *w, size_t bytes) {
    if (bytes <= w->room) return true;
    free(w->buffer);
    w->room = 0;
    w->buffer = aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN);
    if (!w->buffer) return false;
    memset(w->buffer, 0, bytes); /* now the pages are there */
    w->room = bytes;
    return true;
}

/* For all that this rank writes; else at least for what is spread over the ranks. */
static gd_status make_room(gd_writer *w, const gd__save *j) {
    size_t all = gd__save_room(j, true), spread = gd__save_room(j, false);
    if (!w->o.wait && !w->refused && !get_room(w, all)) {
        w->refused = true;
        GD_LOG(DIST, WARN, "no memory for a copy of the state (%zu MB): training waits while checkpoints are written",
               all >> 20);
    }
    if (!get_room(w, spread))
        GD_FAIL(NOMEM, "checkpoint: no memory to collect this rank's share of the optimizer's state (%zu MB)",
                spread >> 20);
    return GD_OK;
}

void gd_writer_prepare(gd_writer *w, const gd_state *s) {
    gd__save j = {.dir = w->o.dir, .s = s, .rank = w->rank, .size = w->size};
    gd_status st = gd__save_plan(&j);
    if (st == GD_OK) st = make_room(w, &j);
    if (st != GD_OK) gd_error_clear(); /* the first save says it */
    gd__save_free(&j);
}

/* ---- a save ---- */

static gd_status plan(gd_writer *w, const gd_state *s) {
    gd__save_free(&w->job);
    gd_state_tensor *t = realloc(w->tensor, ((size_t)s->count + 1) * sizeof *t);
    if (!t) GD_FAIL(NOMEM, "checkpoint: no memory for a list of %d tensors", s->count);
    w->tensor = t;
    memcpy(t, s->tensor, (size_t)s->count * sizeof *t);
    w->state = *s;
    w->state.tensor = t;
    w->job = (gd__save){.dir = w->o.dir, .s = &w->state, .rank = w->rank, .size = w->size, .only_finite = true};
    GD_TRY(gd__save_plan(&w->job));
    if (w->rank == 0) GD_TRY(gd__temporary_name(w->o.dir, s->counters.step, w->job.temporary));
    return make_room(w, &w->job);
}

static void tell(gd_writer *w, gd_status st) {
    w->last = (gd_saved){.step = w->state.counters.step,
                         .path = w->job.final,
                         .seconds = seconds_now() - w->started,
                         .blocked = w->blocked,
                         .st = st};
    gd_error_save(st, &w->why);
    if (w->o.on_saved) w->o.on_saved(w->o.ctx, &w->last);
}

/* Collective. What every rank must know before it copies. *direct: some rank has no snapshot. */
static gd_status agree_on_start(gd_writer *w, bool *direct) {
    double without = w->o.wait || w->refused;
    GD_TRY(gd_comm_sum_f64(w->comm, &without, 1));
    *direct = without > 0;
    return gd_comm_bcast(w->comm, 0, w->job.temporary, sizeof w->job.temporary);
}

static gd_status wait_for_last(gd_writer *w, int64_t step) {
    gd_status ignored; /* it was told */
    if (w->rank == 0 && w->now != IDLE && w->now != GIVE_UP)
        GD_LOG(DIST, INFO, "step %lld: training waits until the checkpoint of step %lld is written", (long long)step,
               (long long)w->state.counters.step);
    return gd_writer_finish(w, &ignored);
}

gd_status gd_writer_start(gd_writer *w, const gd_state *s) {
    bool direct = false;
    gd_status st;
    GD_TRY(wait_for_last(w, s->counters.step));
    w->told_stuck = false;
    w->started = seconds_now();
    w->blocked = 0;
    st = gd_comm_agree(w->comm, plan(w, s));
    if (st == GD_MPI) return gd_trace(st, __FILE__, __LINE__);
    if (st != GD_OK) {
        tell(w, st);
        return GD_OK;
    }
    GD_TRY(agree_on_start(w, &direct));
    if (!direct || s->collect) GD_TRY(gd__save_copy(&w->job, !direct, w->tensor, w->buffer));
    enter(w, BEGIN);
    w->blocked = seconds_now() - w->started;
    return direct ? gd_writer_finish(w, &st) : GD_OK;
}

int gd_writer_word(const gd_writer *w) { return w ? atomic_load(&((gd_writer *)(uintptr_t)w)->word) : GD_WRITER_IDLE; }
bool gd_writer_active(const gd_writer *w) { return w && w->now != IDLE; }

/* A file system that does not answer holds up its thread alone; somebody should know. */
static void watch_stuck(gd_writer *w) {
    if (w->told_stuck || seconds_now() - w->started < STUCK_S || gd_writer_word(w) != GD_WRITER_BUSY) return;
    w->told_stuck = true;
    GD_LOG(DIST, WARN, "the checkpoint of step %lld is being written for %.0f s now; does %s still answer?",
           (long long)w->state.counters.step, seconds_now() - w->started, w->o.dir);
}

/* Collective: some rank failed. All give up and know the reason. */
static gd_status give_up(gd_writer *w) {
    gd_status mine = gd_writer_word(w) == GD_WRITER_FAILED ? gd_error_restore(&w->result) : GD_OK;
    gd_status st = gd_comm_agree(w->comm, mine);
    if (st == GD_MPI) return gd_trace(st, __FILE__, __LINE__);
    double sick = mine == GD_NUMERIC; /* of the state, which is one: so all ranks say it */
    GD_TRY(gd_comm_sum_f64(w->comm, &sick, 1));
    if (st == GD_PEER && sick > 0) {
        gd_error e;
        gd_error_save(GD_NUMERIC, &e);
        st = gd_error_agree(gd_error_restore(&e), GD_NUMERIC);
    }
    tell(w, st);
    enter(w, GIVE_UP);
    return GD_OK;
}

/* Collective. */
static gd_status exchange_reports(gd_writer *w) {
    gd__save_report(&w->job);
    GD_TRY(gd_comm_allgather(w->comm, w->job.mine, w->job.report_bytes, w->job.all));
    gd__save_learn(&w->job);
    return GD_OK;
}

gd_status gd_writer_advance(gd_writer *w, int strongest) {
    if (!w || strongest == GD_WRITER_IDLE) return GD_OK;
    if (strongest == GD_WRITER_BUSY) {
        watch_stuck(w);
        return GD_OK;
    }
    wait_for_thread(w); /* it said that it is done, and lets go of the mutex now */
    if (strongest == GD_WRITER_FAILED) return give_up(w);
    switch (w->now) {
    case BEGIN: enter(w, SHARDS); break;
    case SHARDS:
        GD_TRY(exchange_reports(w));
        enter(w, COMMIT);
        break;
    case COMMIT:
        tell(w, GD_OK);
        enter(w, IDLE);
        break;
    case GIVE_UP: enter(w, IDLE); break;
    case IDLE: break;
    }
    return GD_OK;
}

gd_status gd_writer_finish(gd_writer *w, gd_status *st) {
    double start = seconds_now();
    *st = GD_OK;
    if (!w) return GD_OK;
    while (w->now != IDLE) {
        wait_for_thread(w);
        double word = gd_writer_word(w) == GD_WRITER_FAILED; /* never BUSY here */
        GD_TRY(gd_comm_sum_f64(w->comm, &word, 1));
        w->blocked += seconds_now() - start;
        start = seconds_now();
        GD_TRY(gd_writer_advance(w, word > 0 ? GD_WRITER_FAILED : GD_WRITER_DONE));
    }
    *st = w->last.st;
    if (*st != GD_OK) gd_error_restore(&w->why);
    return GD_OK;
}
