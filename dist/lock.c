/* dist/lock.c -- run.lock: who trains in a run folder.
 *
 * flock() is not trusted on network file systems, so the lock is a file that appears complete, by a rename
 * that replaces nothing. Ages are differences of two times of the same file system: hosts' clocks may
 * differ. A dead lock is moved to a name made of its own token: of several starts that found the same dead
 * lock one succeeds, and none can move the lock of the winner by mistake. */
#include "dist/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "dist/json_internal.h"

enum { PATH_ROOM = 4096, TEXT_ROOM = 128, LOCK_BYTES_MAX = 1 << 24, STALE_S = 3600 };

typedef struct holder {
    char host[64], boot[TEXT_ROOM], job[64], token[17];
    int64_t pid, pid_start, since;
} holder;

struct gd_run_lock {
    char path[PATH_ROOM], folder[PATH_ROOM - 64];
    holder me;
    int lease_s;
    pthread_t renewer;
    bool renewing;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop; /* under mutex */
    atomic_bool lost;
};

/* ---- who am I ---- */

/* The beginning of a file whose size is not known (/proc). Empty when it cannot be read. */
static void read_text(const char *path, char *out, size_t room) {
    const gd_io *io = gd_io_get();
    out[0] = '\0';
    int fd = io->open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return;
    ssize_t n = io->read(fd, out, room - 1);
    io->close(fd);
    out[n > 0 ? n : 0] = '\0';
}

/* Clock ticks since boot when the process began, which tells it from a later one of the same number. -1:
 * it cannot be seen; -2: it has ended, and only its number is left. Behind the name in brackets, which may hold
 * anything, the state is the first word, the start the 20th. */
static int64_t start_of_process(int64_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    read_text(path, text, sizeof text);
    const char *at = strrchr(text, ')');
    if (!at || strlen(at) < 3) return -1;
    if (at[2] == 'Z' || at[2] == 'X') return -2;
    for (int word = 0; at && word < 20; word++) at = strchr(at + 1, ' ');
    return at ? strtoll(at + 1, NULL, 10) : -1;
}

/* Killed, and still busy in the kernel: with an fsync, say. */
static bool is_dying(int64_t pid) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/status", pid);
    read_text(path, text, sizeof text);
    for (const char *at = text; (at = strstr(at, "Pnd:")); at += 4) /* SigPnd and ShdPnd */
        if (strtoull(at + 4, NULL, 16) & 1ull << (SIGKILL - 1)) return true;
    return false;
}

static void describe_me(holder *me) {
    static atomic_uint serial;
    const char *job = getenv("SLURM_JOB_ID");
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    *me = (holder){.pid = getpid(), .since = now.tv_sec};
    if (gethostname(me->host, sizeof me->host - 1) != 0) snprintf(me->host, sizeof me->host, "unknown");
    read_text("/proc/sys/kernel/random/boot_id", me->boot, sizeof me->boot);
    me->boot[strcspn(me->boot, "\n")] = '\0';
    snprintf(me->job, sizeof me->job, "%s", job ? job : "");
    me->pid_start = start_of_process(me->pid);
    int64_t words[4] = {me->pid, me->pid_start, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
                        atomic_fetch_add(&serial, 1)};
    gd_hash64_text(gd_hash64(words, sizeof words, gd_hash64(me->host, strlen(me->host), 0)), me->token);
}

/* ---- the file ---- */

static char *render(const holder *h) {
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "host", h->host, "boot", h->boot, "job", h->job, "pid",
                          (json_int_t)h->pid, "pid_start", (json_int_t)h->pid_start, "since", (json_int_t)h->since,
                          "token", h->token);
    return gd__json_text(o, 0);
}

static void copy_text(const json_t *o, const char *key, char *out, size_t room) {
    const char *text = json_string_value(json_object_get(o, key));
    snprintf(out, room, "%s", text ? text : "");
}

/* An unreadable lock has no token and counts as one of an unknown host. */
static gd_status parse(const char *path, const char *text, size_t bytes, holder *out) {
    bool no_memory;
    json_error_t error;
    *out = (holder){.host = "unknown"};
    json_t *o = gd__json_load(text, bytes, &error, &no_memory);
    if (no_memory) GD_FAIL(NOMEM, "%s: no memory to read it", path);
    if (!json_is_object(o)) {
        gd__json_unload(o);
        return GD_OK;
    }
    copy_text(o, "host", out->host, sizeof out->host);
    copy_text(o, "boot", out->boot, sizeof out->boot);
    copy_text(o, "job", out->job, sizeof out->job);
    copy_text(o, "token", out->token, sizeof out->token);
    if (strspn(out->token, "0123456789abcdef") != 16) out->token[0] = '\0'; /* it becomes part of a path */
    out->pid = json_integer_value(json_object_get(o, "pid"));
    out->pid_start = json_integer_value(json_object_get(o, "pid_start"));
    out->since = json_integer_value(json_object_get(o, "since"));
    gd__json_unload(o);
    return GD_OK;
}

/* *there false: there is none any more. */
static gd_status read_holder(const char *path, holder *out, struct timespec *changed, bool *there) {
    void *text = NULL;
    size_t bytes = 0;
    struct stat st_file;
    *there = false;
    if (gd_io_get()->stat(path, &st_file) != 0) {
        if (errno == ENOENT) return GD_OK;
        GD_FAIL(IO, "%s: cannot be looked at (%s)", path, strerror(errno));
    }
    gd_status st = gd_file_read(path, LOCK_BYTES_MAX, &text, &bytes);
    if (st == GD_NOINPUT && !gd_path_exists(path)) return GD_OK;
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    st = parse(path, text, bytes, out);
    free(text);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    *changed = st_file.st_mtim;
    *there = true;
    return GD_OK;
}

/* ---- dead or alive ---- */

static bool process_lives(const holder *h) {
    if (h->pid <= 0 || (kill((pid_t)h->pid, 0) != 0 && errno == ESRCH)) return false;
    int64_t start = start_of_process(h->pid);
    return start == -1 || (start >= 0 && (h->pid_start < 0 || start == h->pid_start));
}

static bool is_here(const gd_run_lock *l, const holder *h) {
    return h->token[0] && strcmp(h->host, l->me.host) == 0 && h->boot[0] && strcmp(h->boot, l->me.boot) == 0;
}

/* age: seconds since the last renewal. why: of a dead one. */
static bool is_dead(const gd_run_lock *l, const holder *h, double age, char why[TEXT_ROOM]) {
    if (is_here(l, h)) {
        snprintf(why, TEXT_ROOM, "process %" PRId64 " is gone", h->pid);
        return !process_lives(h);
    }
    if (h->token[0] && strcmp(h->host, l->me.host) == 0 && h->boot[0] && l->me.boot[0]) {
        snprintf(why, TEXT_ROOM, "host %s was started anew", h->host);
        return true;
    }
    snprintf(why, TEXT_ROOM, "it was last seen %.0f s ago", age);
    return age > l->lease_s;
}

static gd_status refuse(const gd_run_lock *l, const holder *h, double age) {
    char since[32] = "an unknown time", job[TEXT_ROOM] = "";
    struct tm day;
    time_t t = (time_t)h->since;
    if (h->since > 0 && localtime_r(&t, &day)) strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &day);
    if (h->job[0]) snprintf(job, sizeof job, ", job %s", h->job);
    GD_FAIL(CANTCREAT,
            "%s: a training is using this run folder: process %" PRId64
            " on %s%s, since %s (last seen %.0f s ago); wait "
            "for it or give another --out; if it is dead for certain, remove %s",
            l->folder, h->pid, h->host, job, since, age < 0 ? 0 : age, l->path);
}

/* ---- taking ---- */

/* Written whole beside the lock. *now: the file system's own time. */
static gd_status write_own(const gd_run_lock *l, const char *own, struct timespec *now) {
    struct stat st_file;
    char *text = render(&l->me);
    if (!text) GD_FAIL(NOMEM, "%s: no memory for a lock", l->path);
    gd_status st = gd_file_write(own, text, strlen(text));
    free(text);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    if (gd_io_get()->stat(own, &st_file) != 0) GD_FAIL(IO, "%s: cannot be looked at (%s)", own, strerror(errno));
    *now = st_file.st_mtim;
    return GD_OK;
}

static double seconds_between(struct timespec from, struct timespec to) {
    return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

/* What was moved away is kept for a time: a slow start that found the same dead lock must find its name taken,
 * or it would move the lock of the winner. now: of the file system. */
static void remove_stale(const gd_run_lock *l, struct timespec now) {
    static const char head[] = "run.lock.stale-";
    char **names = NULL, path[PATH_ROOM + 256];
    struct stat st_file;
    size_t n = 0;
    if (gd_io_get()->list(l->folder, &names, &n) != 0) return;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], head, sizeof head - 1) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", l->folder, names[i]);
        bool old = gd_io_get()->lstat(path, &st_file) == 0 && seconds_between(st_file.st_ctim, now) > STALE_S;
        if (old) gd_io_get()->unlink(path);
    }
    gd_io_free_names(names, n);
}

/* Moves the dead lock away. Another start may be as far: then the next look at the lock decides. */
static gd_status move_dead(const gd_run_lock *l, const holder *dead, const char *why) {
    const gd_io *io = gd_io_get();
    char to[PATH_ROOM + 32];
    snprintf(to, sizeof to, "%s.stale-%s", l->path, dead->token[0] ? dead->token : "unknown");
    if (io->rename_noreplace(l->path, to) != 0) {
        if (errno == ENOENT) return GD_OK;
        if (errno == EEXIST && dead->token[0]) return GD_OK; /* taken over: what lies there now is another one */
        if (errno == EEXIST && io->rename(l->path, to) == 0) return GD_OK;
        GD_FAIL(CANTCREAT, "%s: its holder is dead (%s), and it cannot be moved away (%s); remove it", l->path, why,
                strerror(errno));
    }
    holder moved;
    struct timespec changed;
    bool there;
    GD_TRY(read_holder(to, &moved, &changed, &there));
    if (there && strcmp(moved.token, dead->token) != 0) { /* the winner's, after all: put it back */
        if (io->rename_noreplace(to, l->path) != 0)
            GD_FAIL(IO, "%s: cannot be put back (%s); is another start under way?", to, strerror(errno));
        return GD_OK;
    }
    GD_LOG(DIST, WARN, "%s: taken over from process %" PRId64 " on %s: %s", l->path, dead->pid, dead->host, why);
    return GD_OK;
}

static gd_status take(gd_run_lock *l, const char *own) {
    enum { TRIES = 16, WAITS = 150 /* of 0.1 s */ };
    char why[TEXT_ROOM];
    for (int i = 0, waits = 0; i < TRIES; i++) {
        struct timespec now = {0}, changed = {0};
        holder other;
        bool there;
        GD_TRY(write_own(l, own, &now));
        if (gd_io_get()->rename_noreplace(own, l->path) == 0) { /* after a power cut nobody holds it: no fsync */
            remove_stale(l, now);
            return GD_OK;
        }
        if (errno != EEXIST)
            GD_FAIL(CANTCREAT, "%s: cannot be created (%s); check that its folder is writable", l->path,
                    strerror(errno));
        GD_TRY(read_holder(l->path, &other, &changed, &there));
        double age = there ? seconds_between(changed, now) : 0;
        bool dead = there && is_dead(l, &other, age, why);
        if (there && !dead && is_here(l, &other) && is_dying(other.pid) && waits++ < WAITS) {
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
            i--;
            continue;
        }
        if (there && !dead) return refuse(l, &other, age);
        if (there) GD_TRY(move_dead(l, &other, why));
    }
    GD_FAIL(CANTCREAT, "%s: cannot be taken: other starts take and lose it all the time", l->path);
}

/* ---- renewing ---- */

/* true: it is (still) mine, or that cannot be told at the moment. */
static bool is_mine(const gd_run_lock *l) {
    holder now;
    struct timespec changed;
    bool there;
    if (read_holder(l->path, &now, &changed, &there) != GD_OK) {
        gd_error_clear();
        return true;
    }
    return there && strcmp(now.token, l->me.token) == 0;
}

/* A byte more: changes the time of the file, whoever's clock that is. Blanks behind JSON are harmless. */
static void renew(gd_run_lock *l) {
    if (!is_mine(l)) {
        atomic_store(&l->lost, true);
        GD_LOG(DIST, ERROR, "%s: was taken over by another start while this one did not renew it", l->path);
        return;
    }
    int fd = gd_io_get()->open(l->path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (fd < 0) return;
    ssize_t put = gd_io_get()->write(fd, "\n", 1);
    if (put != 1) GD_LOG(DIST, WARN, "%s: cannot be renewed (%s)", l->path, strerror(errno));
    gd_io_get()->close(fd);
}

static void *renew_until_stopped(void *ctx) {
    gd_run_lock *l = ctx;
    pthread_mutex_lock(&l->mutex);
    while (!l->stop && !atomic_load(&l->lost)) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t wait_ms = (int64_t)l->lease_s * 1000 / 3;
        until.tv_sec += wait_ms / 1000;
        until.tv_nsec += wait_ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
        int woken = pthread_cond_timedwait(&l->wake, &l->mutex, &until);
        if (l->stop || woken != ETIMEDOUT) continue;
        pthread_mutex_unlock(&l->mutex);
        renew(l);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* Signals are for the thread that trains. */
static gd_status start_renewer(gd_run_lock *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&l->renewer, NULL, renew_until_stopped, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) GD_FAIL(NOMEM, "%s: no thread to renew it (%s)", l->path, strerror(error));
    l->renewing = true;
    return GD_OK;
}

/* ---- the public functions ---- */

static gd_run_lock *new_lock(const char *folder, int lease_s) {
    gd_run_lock *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&l->mutex, NULL);
    atomic_init(&l->lost, false);
    l->lease_s = lease_s > 0 ? lease_s : GD_LOCK_LEASE_S;
    snprintf(l->folder, sizeof l->folder, "%s", folder);
    snprintf(l->path, sizeof l->path, "%s/run.lock", folder);
    describe_me(&l->me);
    return l;
}

static void free_lock(gd_run_lock *l) {
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

gd_status gd_run_lock_take(const char *folder, int lease_s, gd_run_lock **out) {
    char own[PATH_ROOM + 32];
    if (strlen(folder) >= sizeof((gd_run_lock *)0)->folder)
        GD_FAIL(CANTCREAT, "%.64s...: the path is too long", folder);
    gd_run_lock *l = new_lock(folder, lease_s);
    if (!l) GD_FAIL(NOMEM, "%s: no memory for a lock", folder);
    snprintf(own, sizeof own, "%s.%s", l->path, l->me.token);
    gd_status st = take(l, own);
    bool taken = st == GD_OK;
    if (taken) st = start_renewer(l);
    if (st != GD_OK) {
        gd_error why;
        gd_error_save(st, &why);
        gd_io_get()->unlink(taken ? l->path : own);
        free_lock(l);
        return gd_error_restore(&why);
    }
    *out = l;
    return GD_OK;
}

static void describe_holder(const gd_run_lock *l, const holder *h, struct timespec changed, gd_lock_view *out) {
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (gd_lock_view){.there = true, .pid = h->pid, .since = h->since, .age_s = seconds_between(changed, now)};
    snprintf(out->host, sizeof out->host, "%s", h->host);
    snprintf(out->job, sizeof out->job, "%s", h->job);
    out->alive = !is_dead(l, h, out->age_s, out->why);
    if (out->alive) out->why[0] = '\0';
}

gd_status gd_run_lock_look(const char *folder, gd_lock_view *out) {
    holder h;
    struct timespec changed;
    bool there = false;
    *out = (gd_lock_view){.there = false};
    if (strlen(folder) >= sizeof((gd_run_lock *)0)->folder)
        GD_FAIL(NOINPUT, "%.64s...: the path is too long", folder);
    gd_run_lock *l = new_lock(folder, 0);
    if (!l) GD_FAIL(NOMEM, "%s: no memory to look at its lock", folder);
    gd_status st = read_holder(l->path, &h, &changed, &there);
    if (st == GD_OK && there) describe_holder(l, &h, changed, out);
    free_lock(l);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

bool gd_run_lock_lost(const gd_run_lock *l) { return l && atomic_load(&l->lost); }

void gd_run_lock_release(gd_run_lock *l) {
    if (!l) return;
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
    if (l->renewing) pthread_join(l->renewer, NULL);
    if (!atomic_load(&l->lost) && is_mine(l)) gd_io_get()->unlink(l->path);
    free_lock(l);
}
