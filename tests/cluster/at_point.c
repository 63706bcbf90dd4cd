/* Preloaded into the ranks of a job (LD_PRELOAD): at one point of one rank's work it sends a signal, or sleeps. So tests hit
 * a phase exactly, with the program as it is shipped: points are calls that it makes into its libraries.
 *
 *   AT_POINT   start load compute meet plan save write sync commit samples
 *   AT_COUNT   the how-manieth of these calls of the process; 0: each of them
 *   AT_RANK    of this rank (OMPI_COMM_WORLD_RANK)
 *   AT_SIGNAL  number of a signal, to AT_TARGET: self, launcher, or a rank's number      AT_SLEEP  or: seconds
 *   AT_FOLDER  gets pid.<rank> of each rank, and `hit` when it has happened */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char point[16], target[16], folder[512];
static long count, rank, sig;
static double seconds;
static atomic_long calls;
static __thread int busy; /* what is called from here is no point */

static long number(const char *name) { return getenv(name) ? atol(getenv(name)) : 0; }
static void text(const char *name, char *out, size_t room) {
    snprintf(out, room, "%s", getenv(name) ? getenv(name) : "");
}

static void put(const char *name, long value) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f) return;
    fprintf(f, "%ld\n", value);
    fclose(f);
}

static long get(const char *name) {
    char path[600];
    long value = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%ld", &value) != 1) value = 0;
    fclose(f);
    return value;
}

__attribute__((constructor)) static void begin(void) {
    char name[32];
    const char *me = getenv("OMPI_COMM_WORLD_RANK");
    if (!me) return; /* env, mpirun */
    busy = 1;
    text("AT_FOLDER", folder, sizeof folder);
    snprintf(name, sizeof name, "pid.%s", me);
    put(name, getpid());
    if (atol(me) == number("AT_RANK")) {
        text("AT_TARGET", target, sizeof target);
        text("AT_POINT", point, sizeof point);
        count = number("AT_COUNT");
        rank = atol(me);
        sig = number("AT_SIGNAL");
        seconds = getenv("AT_SLEEP") ? atof(getenv("AT_SLEEP")) : 0;
    }
    busy = 0;
}

static void act(void) {
    char name[32];
    put("hit", atomic_load(&calls));
    if (seconds > 0) {
        struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
        while (nanosleep(&t, &t)) {
        }
        return;
    }
    snprintf(name, sizeof name, "pid.%s", target);
    long process = !strcmp(target, "self") ? getpid() : !strcmp(target, "launcher") ? getppid() : get(name);
    if (process > 0) kill((pid_t)process, (int)sig);
}

static void at(const char *where) {
    if (busy || strcmp(where, point) != 0) return;
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (count && n != count) return;
    busy = 1;
    act();
    busy = 0;
}

/* The function that would have been called. */
#define NEXT(name)                                                                                                     \
    static __typeof__(name) *next;                                                                                     \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided);
int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
    NEXT(MPI_Init_thread);
    int code = next(argc, argv, required, provided);
    at("start");
    return code;
}

int MPI_Ibcast(void *buffer, int n, void *type, int root, void *comm, void *request);
int MPI_Ibcast(void *buffer, int n, void *type, int root, void *comm, void *request) {
    NEXT(MPI_Ibcast);
    at("plan");
    return next(buffer, n, type, root, comm, request);
}

/* Asked before every loop that several threads could share: many times in each program. */
int omp_get_max_threads(void);
int omp_get_max_threads(void) {
    NEXT(omp_get_max_threads);
    at("compute");
    return next();
}

/* Ranks of a host sleep with a futex while they wait for each other. */
long syscall(long n, ...) {
    va_list v;
    long a[6];
    NEXT(syscall);
    va_start(v, n);
    for (int i = 0; i < 6; i++) a[i] = va_arg(v, long);
    va_end(v);
    if (n == SYS_futex) at("meet");
    return next(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void opening(const char *path, int flags) {
    if (!*point) return;
    if (strstr(path, ".safetensors")) at(flags & O_CREAT ? "save" : "load");
    else if (strstr(path, "samples/")) at("samples");
}

int open(const char *path, int flags, ...) {
    va_list v;
    NEXT(open);
    va_start(v, flags);
    int mode = va_arg(v, int);
    va_end(v);
    opening(path, flags);
    return next(path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t n) {
    char link[32], path[512];
    NEXT(write);
    if (!busy && !strcmp(point, "write")) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length > 0 ? length : 0] = 0;
        if (strstr(path, ".safetensors")) at("write");
    }
    return next(fd, data, n);
}

int fsync(int fd) {
    NEXT(fsync);
    at("sync");
    return next(fd);
}

static void renaming(const char *to) {
    const char *name = strrchr(to, '/');
    if (name && !strncmp(name, "/step-", 6)) at("commit");
}

int rename(const char *from, const char *to) {
    NEXT(rename);
    renaming(to);
    return next(from, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    NEXT(renameat2);
    renaming(to);
    return next(from_fd, from, to_fd, to, flags);
}
