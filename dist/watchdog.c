#include "dist/watchdog_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "dist/stack.h"

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double between(double low, double x, double high) { return x < low ? low : x > high ? high : x; }

/* ---- looking ---- */

/* This process was stopped, or its host slept: for that time nobody can be blamed. */
static void skip_gap(gd_watchdog *w, double now) {
    double gap = now - w->last_look - w->interval;
    w->last_look = now;
    if (gap < 1 + w->interval) return;
    gd__habits_skip(&w->habits, gap);
    for (int r = 0; r < w->c->size; r++) {
        w->sight[r].moved += gap;
        w->sight[r].lived += gap;
    }
}

static void look_at(gd_watchdog *w, int host_rank, double now) {
    gd__pulse *p = w->c->pulse[host_rank];
    gd__sight *s = &w->sight[w->rank[host_rank]];
    uint64_t alive = atomic_load_explicit(&p->alive, memory_order_relaxed);
    if (!s->known || w->alive[host_rank] != alive) s->lived = now;
    gd__sight_learn(s, atomic_load_explicit(&p->arrived, memory_order_relaxed),
                    atomic_load_explicit(&p->label, memory_order_relaxed),
                    atomic_load_explicit(&p->work, memory_order_relaxed),
                    atomic_load_explicit(&p->gain, memory_order_relaxed), now, gd__usual_limit(&w->habits) / 4);
    s->watched = alive != 0;
    s->process = atomic_load_explicit(&p->process, memory_order_relaxed);
    w->alive[host_rank] = alive;
}

static void look_at_host(gd_watchdog *w, double now) {
    gd__pulse *own = w->c->pulse[w->c->host_rank];
    uint64_t looks = atomic_load_explicit(&own->alive, memory_order_relaxed);
    atomic_store_explicit(&own->alive, looks + 1, memory_order_relaxed);
    for (int i = 0; i < w->c->host_size; i++) look_at(w, i, now);
    gd__habits_learn(&w->habits, w->sight[w->c->rank].label, atomic_load_explicit(&own->steps, memory_order_relaxed),
                     now);
}

/* ---- other hosts ---- */

static void write_own(gd_watchdog *w, double now) {
    gd__sight *s = w->read;
    if (now - w->last_write < w->pause) return;
    w->last_write = now;
    for (int i = 0; i < w->c->host_size; i++) s[i] = w->sight[w->rank[i]];
    gd_status st = gd__heartbeat_write(&w->beat, w->c->rank, gd_comm_host_name(w->c, w->c->rank), s, w->rank,
                                       w->c->host_size, now);
    if (st != GD_OK) gd_error_clear(); /* others will miss it, and say so */
}

/* Some rank of this host has waited for a while. */
static bool is_suspicious(const gd_watchdog *w, double now) {
    double some = gd__usual_limit(&w->habits) / 4;
    for (int i = 0; i < w->c->host_size; i++) {
        const gd__sight *s = &w->sight[w->rank[i]];
        if (gd__label_op(s->label) != GD__ALONE && now - s->moved > some) return true;
    }
    return false;
}

/* A file that is not written any more says nothing new: what it said grows old. */
static void read_host(gd_watchdog *w, int leader, double now) {
    uint64_t number = 0;
    double age = gd__heartbeat_older(&w->beat, leader, w->c->rank) + now - w->last_write;
    memset(w->read, 0, (size_t)w->c->size * sizeof *w->read);
    if (!gd__heartbeat_read(&w->beat, leader, w->read, w->c->size, now, age, &number)) return;
    if (number == w->number[leader]) return;
    w->number[leader] = number;
    for (int r = 0; r < w->c->size; r++)
        if (w->c->leader[r] == leader && w->read[r].known) w->sight[r] = w->read[r];
}

/* What is not read again grows old: it would look as if those ranks stood still. */
static void forget_hosts(gd_watchdog *w) {
    for (int r = 0; r < w->c->size; r++) {
        if (w->c->leader[r] == w->c->rank) continue;
        w->sight[r].known = false;
        w->number[w->c->leader[r]] = 0;
    }
}

static void exchange_hosts(gd_watchdog *w, double now) {
    if (!w->beat.folder || w->c->host_rank) return;
    write_own(w, now); /* of a single host, too: for gd_watchdog_look */
    if (w->c->hosts == 1) return;
    if (!is_suspicious(w, now)) {
        forget_hosts(w);
        return;
    }
    if (now - w->last_read < w->pause) return;
    w->last_read = now;
    for (int r = 0; r < w->c->size; r++)
        if (w->c->leader[r] == r && r != w->c->rank) read_host(w, r, now);
}

/* ---- judging ---- */

/* While a job is being ended ranks fall silent, and stopped ones are woken to die: who looks then sees other culprits. */
static bool is_over(const gd_watchdog *w) {
    for (int i = 0; i < w->c->host_size; i++)
        if (atomic_load_explicit(&w->c->pulse[i]->spoken, memory_order_acquire)) return true;
    return false;
}

/* The lowest rank of the host whose watchdog runs. */
static bool is_judge(const gd_watchdog *w, double now) {
    if (is_over(w)) return false;
    for (int i = 0; i < w->c->host_rank; i++) {
        const gd__sight *s = &w->sight[w->rank[i]];
        if (s->watched && !gd__is_silent(&w->habits, s, now)) return false;
    }
    return true;
}

/* What the culprits have come to, or all when all wait together. It changes when they move, and not when one of the
 * others arrives late where they are waited for: of one slowness is told once. */
static uint64_t standing_of_culprits(const gd_watchdog *w) {
    uint64_t mine = 1, all = 1;
    for (int r = 0; r < w->c->size; r++) {
        uint64_t at = w->sight[r].known ? (uint64_t)(r + 1) * w->sight[r].arrived : 0;
        all += at;
        if (w->culprit[r]) mine += at;
    }
    return mine == 1 ? all : mine;
}

/* Lower hosts speak first; then the job is gone. */
static void let_others_speak(const gd_watchdog *w) {
    int before = 0;
    for (int r = 0; r < w->c->rank && before < 3 && w->c->leader; r++) before += w->c->leader[r] == r;
    if (w->c->hosts > 1 && before) usleep((useconds_t)(before * 500000));
}

/* false: it is over. */
static bool judge(gd_watchdog *w, double now) {
    gd__verdict v = gd__judge_ranks(&w->habits, w->sight, w->c->size, now, w->culprit, w->frozen);
    if (v == GD__HANGS || v == GD__TURNS) {
        let_others_speak(w);
        atomic_store_explicit(&w->c->pulse[w->c->host_rank]->spoken, 1, memory_order_release);
        if (v == GD__HANGS) gd__report_hang(w, now);
        else gd__report_turning(w, now);
        w->spec.tell(w->spec.ctx, true, w->report);
        return false;
    }
    uint64_t standing = v == GD__SLOW ? standing_of_culprits(w) : 0;
    if (standing && standing != w->told) {
        w->told = standing;
        gd__report_slow(w, now);
        if (w->c->hosts == 1 || w->c->rank == 0) w->spec.tell(w->spec.ctx, false, w->report);
    }
    return true;
}

/* ---- the thread ---- */

static bool pause_or_stop(gd_watchdog *w) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    long ns = until.tv_nsec + (long)(w->interval * 1e9);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&w->mutex);
    while (!w->stop && pthread_cond_timedwait(&w->changed, &w->mutex, &until) == 0) {
    }
    bool stop = w->stop;
    pthread_mutex_unlock(&w->mutex);
    return stop;
}

static void *watch(void *arg) {
    gd_watchdog *w = arg;
    bool more = true;
    while (!pause_or_stop(w)) {
        double now = seconds_now();
        skip_gap(w, now);
        look_at_host(w, now);
        gd__hand_over_stack(w);
        exchange_hosts(w, now);
        if (more && is_judge(w, now)) more = judge(w, now);
    }
    return NULL;
}

/* Signals are for the thread that trains. */
static gd_status start_thread(gd_watchdog *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, watch, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) GD_FAIL(NOMEM, "watchdog: its thread cannot be started: %s", strerror(failed));
    w->running = true;
    return GD_OK;
}

/* ---- making ---- */

static gd_status make_lists(gd_watchdog *w) {
    size_t n = (size_t)w->c->size, here = (size_t)w->c->host_size;
    w->sight = calloc(n, sizeof *w->sight);
    w->read = calloc(n, sizeof *w->read);
    w->number = calloc(n, sizeof *w->number);
    w->rank = calloc(here, sizeof *w->rank);
    w->alive = calloc(here, sizeof *w->alive);
    w->culprit = calloc(4, n);
    w->report = malloc(GD__REPORT_ROOM);
    if (!w->sight || !w->read || !w->number || !w->rank || !w->alive || !w->culprit || !w->report)
        GD_FAIL(NOMEM, "watchdog: no memory for %zu ranks", n);
    w->frozen = w->culprit + n;
    w->set = w->frozen + n;
    w->told_of = w->set + n;
    for (int r = 0, i = 0; r < w->c->size && w->c->leader; r++)
        if (w->c->leader[r] == w->c->leader[w->c->rank]) w->rank[i++] = r;
    return GD_OK;
}

static gd_status prepare(gd_watchdog *w) {
    GD_TRY(make_lists(w));
    if (w->beat.folder && w->c->host_rank == 0) GD_TRY(gd_dir_make(w->beat.folder));
    return GD_OK;
}

static void set_times(gd_watchdog *w) {
    const gd_watchdog_spec *s = &w->spec;
    double now = seconds_now();
    w->habits = (gd__habits){.limit = s->limit, .patience = s->patience, .factor = s->factor};
    w->habits.phase_since = w->habits.step_since = w->last_look = now;
    w->interval = between(0.02, s->limit / 20, 0.25);
    w->pause = between(0.1, s->limit / 20, 3);
}

gd_status gd_watchdog_start(gd_comm *c, const gd_watchdog_spec *s, gd_watchdog **out) {
    uint64_t start = (uint64_t)time(NULL) << 24 ^ (uint64_t)getpid();
    *out = NULL;
    if (!(s->limit > 0)) return GD_OK;
    gd_watchdog *w = calloc(1, sizeof *w);
    gd_status st = w ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "watchdog: no memory");
    if (w) {
        pthread_condattr_t attr;
        w->c = c;
        w->spec = *s;
        w->beat.folder = s->folder;
        pthread_mutex_init(&w->mutex, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&w->changed, &attr);
        pthread_condattr_destroy(&attr);
        set_times(w);
        st = prepare(w);
    }
    st = gd_comm_agree(c, st);
    if (st == GD_OK) st = gd_comm_bcast(c, 0, &start, sizeof start);
    if (st == GD_OK) {
        w->beat.start = start;
        atomic_store(&c->pulse[c->host_rank]->process, getpid());
        gd__stack_prepare();
        st = start_thread(w);
    }
    if (st == GD_OK) *out = w;
    else gd_watchdog_stop(w);
    return st;
}

void gd_watchdog_stop(gd_watchdog *w) {
    if (!w) return;
    if (w->running) {
        pthread_mutex_lock(&w->mutex);
        w->stop = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
        atomic_store(&w->c->pulse[w->c->host_rank]->alive, 0);
        atomic_store(&w->c->pulse[w->c->host_rank]->spoken, 0);
        gd__stack_forget();
        if (w->beat.folder && !w->c->host_rank) gd__heartbeat_remove(&w->beat, w->c->rank);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w->sight);
    free(w->read);
    free(w->number);
    free(w->rank);
    free(w->alive);
    free(w->culprit);
    free(w->report);
    free(w);
}
