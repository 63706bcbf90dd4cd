/* dist/report.c -- what a watchdog says: who is missing, who waits where, stacks. Allocates nothing. */
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "dist/stack.h"
#include "dist/watchdog_internal.h"

enum { GROUPS = 8, STACKS = 3 };

static void say(gd_watchdog *w, size_t *at, const char *format, ...) GD_PRINTF(3, 4);
static void say(gd_watchdog *w, size_t *at, const char *format, ...) {
    va_list v;
    size_t room = GD__REPORT_ROOM - *at;
    va_start(v, format);
    int n = vsnprintf(w->report + *at, room, format, v);
    va_end(v);
    if (n > 0) *at += (size_t)n < room ? (size_t)n : room - 1;
}

static bool is_here(const gd_watchdog *w, int rank) {
    for (int i = 0; i < w->c->host_size; i++)
        if (w->rank[i] == rank) return true;
    return false;
}

/* What the kernel says of a process of this host. */
static const char *state_of(int64_t process) {
    char path[48], text[512], *name_end;
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)process);
    const gd_io *io = gd_io_get();
    int fd = io->open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return "is gone";
    ssize_t n = io->read(fd, text, sizeof text - 1);
    io->close(fd);
    if (n <= 0) return "is gone";
    text[n] = 0;
    name_end = strrchr(text, ')');
    switch (name_end && name_end[1] ? name_end[2] : '?') {
    case 'T': return "is stopped (SIGSTOP or SIGTSTP)";
    case 't': return "is stopped by a debugger";
    case 'D': return "is in a system call that does not return (file system, disk)";
    case 'Z':
    case 'X': return "has ended";
    case 'R': return "runs";
    default: return "sleeps";
    }
}

static int count(const unsigned char *set, int n) {
    int all = 0;
    for (int r = 0; r < n; r++) all += set[r];
    return all;
}

static int first_of(const unsigned char *set, int n) {
    int r = 0;
    while (r < n && !set[r]) r++;
    return r;
}

static void say_culprit(gd_watchdog *w, size_t *at, int r, double now) {
    const gd__sight *s = &w->sight[r];
    char label[160];
    say(w, at, "\n  rank %d on %s, process %lld, %s: has not moved for %.0f s; %s", r, gd_comm_host_name(w->c, r),
        (long long)s->process,
        is_here(w, r)  ? state_of(s->process)
        : w->frozen[r] ? "gives no sign of life"
                       : "runs",
        now - s->moved, gd__label_text(s->label, label, sizeof label));
}

/* The others, those at one place together. */
static void say_waiting(gd_watchdog *w, size_t *at, double now) {
    int n = w->c->size, groups = 0;
    unsigned char *told = w->told_of;
    char ranks[256], label[160];
    memcpy(told, w->culprit, (size_t)n);
    for (int r = 0; r < n && groups < GROUPS; r++) {
        if (told[r] || !w->sight[r].known) continue;
        for (int k = 0; k < n; k++) {
            w->set[k] = !told[k] && w->sight[k].known && w->sight[k].label == w->sight[r].label;
            told[k] |= w->set[k];
        }
        groups++;
        say(w, at, "\n  rank %s: %s, for %.0f s", gd_ranks_text(w->set, n, ranks, sizeof ranks),
            gd__label_text(w->sight[r].label, label, sizeof label), now - w->sight[r].moved);
    }
    for (int k = 0; k < n; k++) w->set[k] = !w->sight[k].known;
    if (count(w->set, n)) say(w, at, "\n  rank %s: nothing is known", gd_ranks_text(w->set, n, ranks, sizeof ranks));
}

/* ---- stacks ---- */

void gd__hand_over_stack(gd_watchdog *w) {
    gd__pulse *p = w->c->pulse[w->c->host_rank];
    if (atomic_load_explicit(&p->stack_state, memory_order_acquire) != GD__STACK_WANTED) return;
    if (!gd__stack_take(0.5, p->stack, GD__STACK_ROOM)) snprintf(p->stack, GD__STACK_ROOM, "    (no answer)\n");
    atomic_store_explicit(&p->stack_state, GD__STACK_THERE, memory_order_release);
}

/* Of a rank of this host whose watchdog runs; what it hands over may have been cut. */
static bool fetch_stack(gd_watchdog *w, int host_rank, char *out, size_t room) {
    gd__pulse *p = w->c->pulse[host_rank];
    if (host_rank == w->c->host_rank) return gd__stack_take(0.5, out, room);
    atomic_store_explicit(&p->stack_state, GD__STACK_WANTED, memory_order_release);
    for (int tries = 0; atomic_load_explicit(&p->stack_state, memory_order_acquire) != GD__STACK_THERE; tries++) {
        if (tries > 120) return false;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    memcpy(out, p->stack, room < GD__STACK_ROOM ? room : GD__STACK_ROOM);
    out[room - 1] = 0;
    return true;
}

/* Of missing ranks that run; where nobody is missing, this one's. */
static void say_stacks(gd_watchdog *w, size_t *at) {
    char stack[GD__STACK_ROOM];
    bool nobody = count(w->culprit, w->c->size) == 0;
    for (int i = 0, told = 0; i < w->c->host_size && told < STACKS; i++) {
        int r = w->rank[i];
        if (nobody ? r != w->c->rank : !w->culprit[r] || w->frozen[r] || !w->sight[r].watched) continue;
        told++;
        if (fetch_stack(w, i, stack, sizeof stack)) say(w, at, "\n  stack of rank %d, innermost first:\n%s", r, stack);
        else say(w, at, "\n  stack of rank %d: no answer", r);
    }
    while (*at && w->report[*at - 1] == '\n') w->report[--*at] = 0;
}

/* ---- the whole ---- */

void gd__report_hang(gd_watchdog *w, double now) {
    int n = w->c->size, missing = count(w->culprit, n), told = 0, first = first_of(w->culprit, n);
    size_t at = 0;
    char ranks[256];
    if (missing)
        say(w, &at, "the job hangs: rank %s %s", gd_ranks_text(w->culprit, n, ranks, sizeof ranks),
            missing > 1                           ? "do not go on"
            : w->frozen[first]                    ? "does not run any more"
            : gd__label_op(w->sight[first].label) ? "does not come out of a collective"
            : n > 1                               ? "does not come to where the others wait"
                                                  : "does not go on");
    else say(w, &at, "the job hangs: all ranks that are known wait at one place, and nothing arrives (network?)");
    say(w, &at, "; limit %.3g s (watchdog.limit, watchdog.patience)",
        missing && !w->frozen[first] ? gd__phase_limit(&w->habits, gd__label_phase(w->sight[first].label))
                                     : gd__usual_limit(&w->habits));
    for (int r = 0; r < n && told < GROUPS; r++) {
        if (!w->culprit[r]) continue;
        say_culprit(w, &at, r, now);
        told++;
    }
    say_waiting(w, &at, now);
    say_stacks(w, &at);
}

/* Ranks that keep each other busy, or one that does so with itself. */
void gd__report_turning(gd_watchdog *w, double now) {
    int n = w->c->size, first = first_of(w->culprit, n);
    const gd__sight *s = &w->sight[first];
    bool fruitless = s->fruitless > gd__fruitless_limit(&w->habits);
    size_t at = 0;
    char ranks[256], label[160];
    say(w, &at, "the job hangs: rank %s %s, but %s", gd_ranks_text(w->culprit, n, ranks, sizeof ranks),
        count(w->culprit, n) > 1 ? "move" : "moves", fruitless ? "nothing gets done" : "no step ends");
    say(w, &at, "; limit %.3g s (%s)", fruitless ? gd__fruitless_limit(&w->habits) : gd__endless_limit(&w->habits),
        fruitless ? "twice watchdog.limit, watchdog.factor steps" : "watchdog.patience");
    for (int r = 0, told = 0; r < n && told < GROUPS; r++) {
        if (!w->culprit[r]) continue;
        say(w, &at, "\n  rank %d on %s, process %lld, %s: has moved for %.0f s in vain; now %s", r,
            gd_comm_host_name(w->c, r), (long long)w->sight[r].process, state_of(w->sight[r].process),
            fmax(w->sight[r].fruitless, w->sight[r].endless), gd__label_text(w->sight[r].label, label, sizeof label));
        told++;
    }
    say_waiting(w, &at, now);
    say_stacks(w, &at);
}

void gd__report_slow(gd_watchdog *w, double now) {
    int n = w->c->size, r = first_of(w->culprit, n);
    char ranks[256], label[160];
    size_t at = 0;
    if (r == n) { /* all wait together: of any of them */
        for (r = 0; r < n - 1 && !w->sight[r].known; r++) {
        }
        memset(w->culprit, 1, (size_t)n);
    }
    say(w, &at, "rank %s: %s, for %.0f s now; this counts as a hang after %.0f s (watchdog.patience)",
        gd_ranks_text(w->culprit, n, ranks, sizeof ranks), gd__label_text(w->sight[r].label, label, sizeof label),
        now - w->sight[r].moved, gd__phase_limit(&w->habits, gd__label_phase(w->sight[r].label)));
}
