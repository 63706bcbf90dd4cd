/* tests/cuda/fake_nccl.c -- NCCL between processes of one host: a communicator is a file that all map. See fake.h.
 *
 * As the real one it never compares what ranks do: collectives that do not fit wait for ever, and so do those of a rank
 * that is gone. FAKE_NCCL: old (2.18.5), newer (2.29.7), wrong (a number of every sum is one too much), stuck (this rank
 * does its part of two collectives of each communicator), never (communicators are never complete), async (the third
 * collective makes the communicator fail), notice (a rank whose process is gone is an error of all others), no-register
 * (memory cannot be). A communicator that ends before graphs with its collectives do, for which the real one waits, ends
 * the process. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compute/cuda/nccl_api.h"
#include "fake.h"

enum { RANKS = 8, SLOTS = 2, FLOATS = 2 << 20, GROUP = 64, INVALID = 4, SYSTEM = 2, CUDA_FAILED = 1 };

typedef enum op { SUM, SCATTER, GATHER, SEND, REDUCE } op;
typedef struct head {
    int op, root;
    size_t count;
} head;

typedef struct shared {                              /* in the file */
    atomic_int pid[RANKS];                           /* 0: not there yet */
    atomic_int size;                                 /* as the first rank has it */
    _Atomic uint64_t posted[RANKS], finished[RANKS]; /* collectives */
    head head[SLOTS][RANKS];
    float data[SLOTS][RANKS][FLOATS];
} shared;

typedef struct comm {
    struct comm *next; /* work may know it until the end */
    shared *at;
    int rank, size, calls, registered, in_graphs;
    bool aborted;
    uint64_t begun;
    char path[GD__NCCL_ID];
} comm;

static comm *comms;
static char last_error[128];

static bool mode(const char *what) {
    const char *is = getenv("FAKE_NCCL");
    return is && !strcmp(is, what);
}

#define MAY_FAIL                                                                                                       \
    if (fake_call(__func__)) return snprintf(last_error, sizeof last_error, "the fake was told to"), CUDA_FAILED

/* Prototypes as the library under test has them. */
#define DECLARE(type, name, arguments) type name arguments;
GD__NCCL_FUNCTIONS(DECLARE)
int ncclGetVersion(int *version);

int ncclGetVersion(int *version) {
    MAY_FAIL;
    *version = mode("old") ? 21805 : mode("newer") ? 22907 : 22809;
    return GD__NCCL_SUCCESS;
}

const char *ncclGetErrorString(int result) {
    return result == GD__NCCL_REMOTE ? "remote process exited" : result == SYSTEM ? "unhandled system error" : "failed";
}

const char *ncclGetLastError(gd__nccl_comm c) {
    (void)c;
    return last_error;
}

/* ---- communicators ---- */

int ncclGetUniqueId(gd__nccl_id *id) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    MAY_FAIL;
    snprintf(id->bytes, sizeof id->bytes, "%s/nccl-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(id->bytes);
    bool good = fd >= 0 && !ftruncate(fd, sizeof(shared));
    if (fd >= 0) close(fd);
    return good ? GD__NCCL_SUCCESS : SYSTEM;
}

static shared *map(const char *path) {
    int fd = open(path, O_RDWR);
    if (fd < 0) return NULL;
    void *at = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

int ncclCommInitRankConfig(gd__nccl_comm *out, int size, gd__nccl_id id, int rank, gd__nccl_config *config) {
    int none = 0, nobody = 0;
    MAY_FAIL;
    if (config->magic != GD__NCCL_MAGIC || config->size < sizeof *config || config->blocking != 0 || size > RANKS ||
        rank < 0 || rank >= size)
        return INVALID;
    comm *c = calloc(1, sizeof *c);
    if (!c || !(c->at = map(id.bytes))) return free(c), SYSTEM;
    c->rank = rank;
    c->size = size;
    memcpy(c->path, id.bytes, sizeof c->path);
    c->next = comms;
    comms = c;
    bool fits = atomic_compare_exchange_strong(&c->at->size, &none, size) || none == size;
    if (!fits || !atomic_compare_exchange_strong(&c->at->pid[rank], &nobody, (int)getpid())) return INVALID;
    fake_count_live(1);
    *out = c;
    return GD__NCCL_IN_PROGRESS;
}

static bool complete(comm *c) {
    for (int r = 0; r < c->size; r++)
        if (!c->at->pid[r]) return false;
    if (c->path[0]) unlink(c->path); /* all have it */
    c->path[0] = 0;
    return !mode("never");
}

/* No process, or one that nobody has waited for yet. */
static bool is_gone(int pid) {
    char path[64], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) return true;
    bool known = fscanf(f, "%*d (%*[^)]) %c", &state) == 1;
    fclose(f);
    return !known || state == 'Z' || state == 'X';
}

static bool somebody_is_gone(const comm *c) {
    for (int r = 0; r < c->size; r++)
        if (c->at->pid[r] && is_gone(c->at->pid[r])) return true;
    return false;
}

int ncclCommGetAsyncError(gd__nccl_comm what, int *result) {
    comm *c = what;
    MAY_FAIL;
    *result = complete(c) ? GD__NCCL_SUCCESS : GD__NCCL_IN_PROGRESS;
    last_error[0] = 0;
    if (mode("async") && c->calls >= 3) {
        snprintf(last_error, sizeof last_error, "a cable was pulled");
        *result = SYSTEM;
    }
    if (mode("notice") && somebody_is_gone(c)) *result = GD__NCCL_REMOTE;
    return GD__NCCL_SUCCESS;
}

int ncclCommFinalize(gd__nccl_comm what) {
    (void)what;
    MAY_FAIL;
    return GD__NCCL_IN_PROGRESS;
}

static void end(comm *c) {
    if (c->in_graphs) { /* the real one waits for them */
        fprintf(stderr, "fake NCCL: a communicator ends before graphs with %d collectives of it\n", c->in_graphs);
        abort();
    }
    if (!c->aborted) fake_count_live(-1 - c->registered);
    c->registered = 0;
    c->aborted = true; /* what waits on a stream does nothing any more */
    if (c->path[0]) unlink(c->path);
    c->path[0] = 0;
}

int ncclCommDestroy(gd__nccl_comm what) {
    end(what);
    MAY_FAIL;
    return GD__NCCL_SUCCESS;
}

int ncclCommAbort(gd__nccl_comm what) {
    end(what);
    MAY_FAIL;
    return GD__NCCL_SUCCESS;
}

/* ---- memory ---- */

int ncclMemAlloc(void **out, size_t bytes) {
    MAY_FAIL;
    *out = fake_take(bytes);
    return *out ? GD__NCCL_SUCCESS : CUDA_FAILED;
}

int ncclMemFree(void *at) {
    bool given = fake_give(at);
    MAY_FAIL;
    return given ? GD__NCCL_SUCCESS : CUDA_FAILED;
}

static void count_registered(comm *c, int change) {
    c->registered += change;
    fake_count_live(change);
}

int ncclCommRegister(gd__nccl_comm c, void *at, size_t bytes, void **handle) {
    (void)bytes;
    MAY_FAIL;
    *handle = mode("no-register") ? NULL : at;
    count_registered(c, *handle != NULL);
    return GD__NCCL_SUCCESS;
}

int ncclCommDeregister(gd__nccl_comm c, void *handle) {
    (void)handle;
    count_registered(c, -1);
    MAY_FAIL;
    return GD__NCCL_SUCCESS;
}

/* ---- collectives: arg is from, to, count, op, root, number + 1 ---- */

static size_t sent(const comm *c, const head *h) {
    if (h->op == SEND && h->root != c->rank) return 0;
    return h->op == SCATTER ? h->count * (size_t)c->size : h->count;
}

static head head_of(const fake_work *w) {
    return (head){(int)(uintptr_t)w->arg[3], (int)(uintptr_t)w->arg[4], (size_t)w->arg[2]};
}

static bool begin(comm *c, fake_work *w) {
    const head h = head_of(w);
    uint64_t n = c->begun;
    for (int r = 0; r < c->size; r++)
        if (c->at->finished[r] + SLOTS <= n) return false; /* somebody still needs the slot */
    memcpy(c->at->data[n % SLOTS][c->rank], w->arg[0], sent(c, &h) * sizeof(float));
    c->at->head[n % SLOTS][c->rank] = h;
    c->begun++;
    atomic_store(&c->at->posted[c->rank], n + 1);
    w->arg[5] = (void *)(uintptr_t)(n + 1);
    return true;
}

static bool all_there(fake_work *w) {
    comm *c = w->what;
    const head mine = head_of(w);
    if (c->aborted) return true;
    if (mode("stuck") && c->begun >= 2) return false;
    if (!w->arg[5] && !begin(c, w)) return false;
    uint64_t n = (uint64_t)(uintptr_t)w->arg[5] - 1;
    for (int r = 0; r < c->size; r++) {
        if (atomic_load(&c->at->posted[r]) <= n) return false;
        const head *h = &c->at->head[n % SLOTS][r];
        if (h->op != mine.op || h->root != mine.root || h->count != mine.count) return false;
    }
    return true;
}

/* In the order of dist/tree.h, as sums on the host have it: trainings by either way can be compared to the bit. */
static float sum_of(const comm *c, int slot, size_t at, int first, int n) {
    int half = 1;
    if (n == 1) return c->at->data[slot][first][at];
    while (2 * half < n) half *= 2;
    return sum_of(c, slot, at, first, half) + sum_of(c, slot, at, first + half, n - half);
}

static void sum(const comm *c, int slot, size_t from, size_t count, float *out) {
    for (size_t i = 0; i < count; i++) out[i] = sum_of(c, slot, from + i, 0, c->size);
    if (mode("wrong")) out[count / 2] += 1;
}

static bool exchange(fake_work *w) {
    comm *c = w->what;
    const head h = head_of(w);
    uint64_t n = (uint64_t)(uintptr_t)w->arg[5] - 1;
    int slot = (int)(n % SLOTS);
    float *to = w->arg[1];
    if (c->aborted) return true;
    if (h.op == SUM) sum(c, slot, 0, h.count, to);
    else if (h.op == SCATTER) sum(c, slot, h.count * (size_t)c->rank, h.count, to);
    else if (h.op == REDUCE) {
        if (h.root == c->rank) sum(c, slot, 0, h.count, to); /* the others' memory is not looked at */
    } else if (h.op == SEND) memcpy(to, c->at->data[slot][h.root], h.count * sizeof *to);
    else
        for (int r = 0; r < c->size; r++) memcpy(to + (size_t)r * h.count, c->at->data[slot][r], h.count * sizeof *to);
    atomic_store(&c->at->finished[c->rank], n + 1);
    return true;
}

/* Calls of a group set out when it ends. */
static struct {
    int open, n;
    void *stream[GROUP];
    fake_work work[GROUP];
} group;

static bool set_out(void *stream, const fake_work *w) {
    if (!group.open) return fake_put(stream, w);
    if (group.n == GROUP) return false;
    group.stream[group.n] = stream;
    group.work[group.n++] = *w;
    return true;
}

int ncclGroupStart(void) {
    MAY_FAIL;
    group.open++;
    return GD__NCCL_SUCCESS;
}

int ncclGroupEnd(void) {
    int n = group.n;
    bool good = group.open > 0;
    if (!good || --group.open) return good ? GD__NCCL_SUCCESS : INVALID;
    group.n = 0;
    for (int i = 0; i < n && good; i++) good = fake_put(group.stream[i], &group.work[i]);
    MAY_FAIL;
    return good ? GD__NCCL_IN_PROGRESS : CUDA_FAILED;
}

static void count_in_graphs(fake_work *w, int change) { ((comm *)w->what)->in_graphs += change; }

/* What is larger than a slot goes piece by piece, where pieces are alike. */
static int put(gd__nccl_comm what, void *stream, op o, const void *from, void *to, size_t count, int type, int root) {
    comm *c = what;
    const head h = {(int)o, root, count};
    bool pieces = o != SCATTER && o != GATHER;
    if (type != GD__NCCL_FLOAT || c->aborted || !stream || (!pieces && sent(c, &h) > FLOATS)) return INVALID;
    c->calls++;
    for (size_t at = 0, n; at < count || !at; at += n) {
        n = pieces && count - at > FLOATS ? FLOATS : count - at;
        const fake_work w = {.run = exchange,
                             .ready = all_there,
                             .in_graph = count_in_graphs,
                             .what = c,
                             .arg = {(void *)((uintptr_t)from + at * sizeof(float)), (float *)to + at, (void *)n,
                                     (void *)(uintptr_t)o, (void *)(uintptr_t)root}};
        if (!set_out(stream, &w)) return CUDA_FAILED;
        if (!n) break;
    }
    return group.open ? GD__NCCL_SUCCESS : GD__NCCL_IN_PROGRESS;
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int how, gd__nccl_comm c, void *stream) {
    MAY_FAIL;
    return how == GD__NCCL_SUM ? put(c, stream, SUM, from, to, count, type, 0) : INVALID;
}

int ncclReduceScatter(const void *from, void *to, size_t count, int type, int how, gd__nccl_comm c, void *stream) {
    MAY_FAIL;
    return how == GD__NCCL_SUM ? put(c, stream, SCATTER, from, to, count, type, 0) : INVALID;
}

int ncclAllGather(const void *from, void *to, size_t count, int type, gd__nccl_comm c, void *stream) {
    MAY_FAIL;
    return put(c, stream, GATHER, from, to, count, type, 0);
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, gd__nccl_comm c, void *stream) {
    MAY_FAIL;
    return put(c, stream, SEND, from, to, count, type, root);
}

int ncclReduce(const void *from, void *to, size_t count, int type, int how, int root, gd__nccl_comm c, void *stream) {
    MAY_FAIL;
    return how == GD__NCCL_SUM ? put(c, stream, REDUCE, from, to, count, type, root) : INVALID;
}
