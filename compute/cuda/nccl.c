/* compute/cuda/nccl.c -- see nccl.h. */
#include "compute/cuda/nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compute/cuda/library.h"
#include "compute/cuda/nccl_api.h"

static const double open_seconds = 120, call_seconds = 60;

/* ---- the library ---- */

static struct library {
    void *handle, *driver;
    int version;
    gd__nccl_functions f;
} library;

static void version_text(int version, char text[24]) {
    snprintf(text, 24, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

/* Versions before 2.9 count in other steps: 2.8.4 is 2804. */
static gd_status check_version(int version) {
    char is[24], oldest[24];
    if (version >= GD__NCCL_OLDEST) return GD_OK;
    if (version < 10000) snprintf(is, sizeof is, "%d.%d.%d", version / 1000, version / 100 % 10, version % 100);
    else version_text(version, is);
    version_text(GD__NCCL_OLDEST, oldest);
    GD_FAIL(UNSUP, "nccl: libnccl.so.2 is version %s; expected %s or newer", is, oldest);
}

static gd_status open_library(struct library *l) {
    static const char *const names[] = {"libnccl.so.2", NULL}, *const driver[] = {"libcuda.so.1", NULL};
    static const gd__cu_symbol symbols[] = {
#define ROW(type, name, arguments) {#name, offsetof(gd__nccl_functions, name)},
        GD__NCCL_FUNCTIONS(ROW)
#undef ROW
    };
    static const gd__cu_symbol version[] = {{"ncclGetVersion", 0}},
                               query[] = {{"cuStreamQuery", offsetof(gd__nccl_functions, cuStreamQuery)},
                                          {"cuEventQuery", offsetof(gd__nccl_functions, cuEventQuery)}};
    int (*get)(int *) = NULL;
    setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
    GD_TRY(gd__cu_library_open(names, version, 1, &get, &l->handle));
    if (get(&l->version) != GD__NCCL_SUCCESS) GD_FAIL(UNSUP, "nccl: libnccl.so.2 tells no version");
    GD_TRY(check_version(l->version));
    GD_TRY(gd__cu_library_find(l->handle, names[0], symbols, (int)(sizeof symbols / sizeof *symbols), &l->f));
    return gd__cu_library_open(driver, query, 2, &l->f, &l->driver);
}

/* Once a process; what failed is tried again. */
static gd_status use_library(void) {
    struct library l = {0};
    if (library.handle) return GD_OK;
    gd_status st = open_library(&l);
    if (st != GD_OK) {
        gd__cu_library_close(l.handle);
        return gd_trace(st, __FILE__, __LINE__);
    }
    library = l;
    return GD_OK;
}

static gd_status version(int *out) {
    GD_TRY(use_library());
    *out = library.version;
    return GD_OK;
}

/* ---- ids: a mark, rank 0's version, NCCL's id ---- */

typedef struct id {
    char mark[16];
    int32_t version, spare[3];
    gd__nccl_id nccl;
} id;
_Static_assert(sizeof(id) == GD_DEVICE_COMM_ID, "an id has its size");
static const char id_mark[16] = "gandist nccl 1";

static gd_status make_id(unsigned char out[GD_DEVICE_COMM_ID]) {
    id x = {0};
    GD_TRY(use_library());
    memcpy(x.mark, id_mark, sizeof x.mark);
    x.version = library.version;
    int r = library.f.ncclGetUniqueId(&x.nccl);
    if (r != GD__NCCL_SUCCESS)
        GD_FAIL(NCCL, "nccl: ncclGetUniqueId: %s (%s)", library.f.ncclGetErrorString(r),
                library.f.ncclGetLastError(NULL));
    memcpy(out, &x, sizeof x);
    return GD_OK;
}

/* ---- a communicator ---- */

typedef struct communicator {
    gd_device_comm table; /* first: callers have its address */
    gd__nccl_comm comm;   /* NULL: aborted, or not made       */
    double seconds;       /* for a call                       */
    void (*idle)(void *ctx);
    void *ctx;
    bool failed;
    int n_memory, room;
    struct registered {
        void *at, *handle; /* handle NULL: NCCL had no use for it */
    } * memory;
    gd_device_comm_journal journal;
    char name[64];
} communicator;

static communicator *of(gd_device_comm *c) { return (communicator *)c; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A short rest between two looks, in which others get on. */
static void rest(const communicator *x) {
    const struct timespec little = {.tv_nsec = 50000};
    if (x->idle) x->idle(x->ctx);
    nanosleep(&little, NULL);
}

#define WHO       "nccl: communicator %s, rank %d of %d: "
#define WHO_IS(x) (x)->name, (x)->table.rank, (x)->table.size

/* The communicator cannot be used any more. */
static gd_status fail(communicator *x, const char *function, int r) {
    char last[96];
    const char *words = library.f.ncclGetLastError(x->comm);
    x->failed = true;
    gd__cu_journal_last(&x->journal, last);
    GD_FAIL(NCCL, WHO "%s: %d (%s)%s%s; last put on a stream: %s%s", WHO_IS(x), function, r,
            library.f.ncclGetErrorString(r), words && *words ? ", NCCL says: " : "", words && *words ? words : "", last,
            r == GD__NCCL_REMOTE ? "; another rank is gone: look for the message of that rank" : "");
}

static gd_status late(communicator *x, const char *function, double seconds) {
    char last[96];
    x->failed = true;
    gd__cu_journal_last(&x->journal, last);
    GD_FAIL(TIMEOUT,
            WHO "%s did not end within %.3g s; last put on a stream: %s; a rank is gone, or ranks put different "
                "collectives on streams",
            WHO_IS(x), function, seconds, last);
}

static gd_status usable(const communicator *x) {
    if (!x->comm) GD_FAIL(NCCL, WHO "it was aborted", WHO_IS(x));
    if (x->failed) GD_FAIL(NCCL, WHO "it has failed before; only abort and close are left", WHO_IS(x));
    return GD_OK;
}

/* A call that answered `r` has done its part when the communicator is at rest. */
static gd_status settle(communicator *x, const char *function, int r, double seconds) {
    double end = now() + seconds;
    while (r == GD__NCCL_IN_PROGRESS) {
        int got = library.f.ncclCommGetAsyncError(x->comm, &r);
        if (got != GD__NCCL_SUCCESS) return fail(x, "ncclCommGetAsyncError", got);
        if (r != GD__NCCL_IN_PROGRESS) break;
        if (now() > end) return late(x, function, seconds);
        rest(x);
    }
    return r == GD__NCCL_SUCCESS ? GD_OK : fail(x, function, r);
}

/* ---- collectives ---- */

static gd_status begin(communicator *x, gd_device_collective what, int64_t count, int root) {
    GD_TRY(usable(x));
    if (count < 0 || root < 0 || root >= x->table.size)
        GD_FAIL(USAGE, WHO "%lld elements from rank %d", WHO_IS(x), (long long)count, root);
    gd__cu_journal_add(&x->journal, what, count, root);
    return GD_OK;
}

static gd_status all_reduce(gd_device_comm *c, void *stream, float *data, int64_t count) {
    communicator *x = of(c);
    GD_TRY(begin(x, GD_DEVICE_ALL_REDUCE, count, 0));
    int r = library.f.ncclAllReduce(data, data, (size_t)count, GD__NCCL_FLOAT, GD__NCCL_SUM, x->comm, stream);
    return settle(x, "ncclAllReduce", r, x->seconds);
}

static gd_status reduce_scatter(gd_device_comm *c, void *stream, const float *data, float *mine, int64_t each) {
    communicator *x = of(c);
    GD_TRY(begin(x, GD_DEVICE_REDUCE_SCATTER, each, 0));
    int r = library.f.ncclReduceScatter(data, mine, (size_t)each, GD__NCCL_FLOAT, GD__NCCL_SUM, x->comm, stream);
    return settle(x, "ncclReduceScatter", r, x->seconds);
}

static gd_status all_gather(gd_device_comm *c, void *stream, const float *mine, float *all, int64_t each) {
    communicator *x = of(c);
    GD_TRY(begin(x, GD_DEVICE_ALL_GATHER, each, 0));
    int r = library.f.ncclAllGather(mine, all, (size_t)each, GD__NCCL_FLOAT, x->comm, stream);
    return settle(x, "ncclAllGather", r, x->seconds);
}

static gd_status broadcast(gd_device_comm *c, void *stream, float *data, int64_t count, int root) {
    communicator *x = of(c);
    GD_TRY(begin(x, GD_DEVICE_BROADCAST, count, root));
    int r = library.f.ncclBroadcast(data, data, (size_t)count, GD__NCCL_FLOAT, root, x->comm, stream);
    return settle(x, "ncclBroadcast", r, x->seconds);
}

/* One part of a reduction or a gathering, of rank r. */
static int put_part(communicator *x, gd_device_collective what, void *stream, float *part, int64_t n, int r) {
    if (what == GD_DEVICE_REDUCE_PARTS)
        return library.f.ncclReduce(part, part, (size_t)n, GD__NCCL_FLOAT, GD__NCCL_SUM, r, x->comm, stream);
    return library.f.ncclBroadcast(part, part, (size_t)n, GD__NCCL_FLOAT, r, x->comm, stream);
}

/* All parts in one group of calls, which goes on as one. */
static gd_status put_parts(communicator *x, gd_device_collective what, void *stream, float *data,
                           const int64_t *border) {
    const char *name = what == GD_DEVICE_REDUCE_PARTS ? "ncclReduce" : "ncclBroadcast";
    int64_t count;
    int32_t root;
    GD_TRY(usable(x));
    if (!gd__cu_journal_parts(border, x->table.size, &count, &root))
        GD_FAIL(USAGE, WHO "borders of parts go down", WHO_IS(x));
    gd__cu_journal_add(&x->journal, what, count, root);
    if (!count) return GD_OK;
    int put = GD__NCCL_SUCCESS, r = library.f.ncclGroupStart();
    if (r != GD__NCCL_SUCCESS) return fail(x, "ncclGroupStart", r);
    for (int k = 0; k < x->table.size && (put == GD__NCCL_SUCCESS || put == GD__NCCL_IN_PROGRESS); k++)
        if (border[k + 1] > border[k]) put = put_part(x, what, stream, data + border[k], border[k + 1] - border[k], k);
    r = library.f.ncclGroupEnd();
    if (put != GD__NCCL_SUCCESS && put != GD__NCCL_IN_PROGRESS) return fail(x, name, put);
    return settle(x, "ncclGroupEnd", r, x->seconds);
}

static gd_status reduce_parts(gd_device_comm *c, void *stream, float *data, const int64_t *border) {
    return put_parts(of(c), GD_DEVICE_REDUCE_PARTS, stream, data, border);
}

static gd_status gather_parts(gd_device_comm *c, void *stream, float *data, const int64_t *border) {
    return put_parts(of(c), GD_DEVICE_GATHER_PARTS, stream, data, border);
}

/* ---- memory ---- */

static gd_status alloc(gd_device_comm *c, size_t bytes, void **out) {
    communicator *x = of(c);
    void *at, *handle = NULL;
    GD_TRY(usable(x));
    if (x->n_memory == x->room) {
        int room = x->room ? 2 * x->room : 8;
        struct registered *more = realloc(x->memory, (size_t)room * sizeof *more);
        if (!more) GD_FAIL(NOMEM, WHO "no memory for %d entries", WHO_IS(x), room);
        x->memory = more;
        x->room = room;
    }
    int r = library.f.ncclMemAlloc(&at, bytes ? bytes : 1);
    if (r != GD__NCCL_SUCCESS) { /* nothing is wrong with the communicator */
        gd_status st = fail(x, "ncclMemAlloc", r);
        x->failed = false;
        return gd_context(st, "%zu bytes of the device", bytes);
    }
    r = library.f.ncclCommRegister(x->comm, at, bytes ? bytes : 1, &handle);
    gd_status st = settle(x, "ncclCommRegister", r, x->seconds);
    if (st != GD_OK) {
        (void)library.f.ncclMemFree(at); /* the first error is the one that matters */
        return gd_trace(st, __FILE__, __LINE__);
    }
    x->memory[x->n_memory++] = (struct registered){at, handle};
    *out = at;
    return GD_OK;
}

static gd_status release(gd_device_comm *c, void *memory) {
    communicator *x = of(c);
    int i = 0;
    if (!memory) return GD_OK;
    while (i < x->n_memory && x->memory[i].at != memory) i++;
    if (i == x->n_memory) GD_FAIL(INTERNAL, WHO "free of memory that it did not give", WHO_IS(x));
    void *handle = x->memory[i].handle;
    x->memory[i] = x->memory[--x->n_memory];
    int gone = handle && x->comm ? library.f.ncclCommDeregister(x->comm, handle) : GD__NCCL_SUCCESS;
    int r = library.f.ncclMemFree(memory);
    if (gone != GD__NCCL_SUCCESS && gone != GD__NCCL_IN_PROGRESS) return fail(x, "ncclCommDeregister", gone);
    return r == GD__NCCL_SUCCESS ? GD_OK : fail(x, "ncclMemFree", r);
}

/* ---- watching ---- */

static gd_status poll(gd_device_comm *c) {
    communicator *x = of(c);
    int state = GD__NCCL_SUCCESS;
    GD_TRY(usable(x));
    int r = library.f.ncclCommGetAsyncError(x->comm, &state);
    if (r != GD__NCCL_SUCCESS) return fail(x, "ncclCommGetAsyncError", r);
    if (state == GD__NCCL_SUCCESS || state == GD__NCCL_IN_PROGRESS) return GD_OK;
    return fail(x, "what is under way", state);
}

/* Until query(of) says that it is done. */
static gd_status wait_for(communicator *x, int (*query)(void *), void *of_it, const char *name, const char *what,
                          double seconds) {
    double end = now() + seconds;
    for (;;) {
        int r = query(of_it);
        if (r == 0) return poll(&x->table);
        if (r != GD__CU_NOT_READY) {
            x->failed = true;
            GD_FAIL(CUDA, WHO "%s: code %d", WHO_IS(x), name, r);
        }
        GD_TRY(poll(&x->table));
        if (now() > end) return late(x, what, seconds);
        rest(x);
    }
}

static gd_status wait(gd_device_comm *c, void *stream, double seconds) {
    return wait_for(of(c), library.f.cuStreamQuery, stream, "cuStreamQuery", "the work of a stream", seconds);
}

static gd_status wait_event(gd_device_comm *c, void *event, double seconds) {
    return wait_for(of(c), library.f.cuEventQuery, event, "cuEventQuery", "sums, or steps before them,", seconds);
}

static void journal(const gd_device_comm *c, gd_device_comm_journal *out) { *out = ((const communicator *)c)->journal; }

/* ---- the end ---- */

static gd_status end(gd_device_comm *c) {
    communicator *x = of(c);
    gd__nccl_comm comm = x->comm;
    if (!comm) return GD_OK;
    x->comm = NULL; /* it is gone, whatever NCCL answers */
    int r = library.f.ncclCommAbort(comm);
    if (r == GD__NCCL_SUCCESS || r == GD__NCCL_IN_PROGRESS) return GD_OK;
    x->failed = true;
    GD_FAIL(NCCL, WHO "ncclCommAbort: %d (%s)", WHO_IS(x), r, library.f.ncclGetErrorString(r));
}

/* All ranks together. */
static gd_status finish(communicator *x) {
    GD_TRY(settle(x, "ncclCommFinalize", library.f.ncclCommFinalize(x->comm), x->seconds));
    gd__nccl_comm comm = x->comm;
    x->comm = NULL;
    int r = library.f.ncclCommDestroy(comm);
    return r == GD__NCCL_SUCCESS ? GD_OK : fail(x, "ncclCommDestroy", r);
}

static gd_status close_comm(gd_device_comm *c) {
    communicator *x = of(c);
    gd_error why;
    gd_status st = GD_OK;
    if (!x) return GD_OK;
    while (x->n_memory > 0 && st == GD_OK) st = release(c, x->memory[0].at);
    if (st == GD_OK && x->comm && !x->failed) st = finish(x);
    gd_error_save(st, &why);
    gd_status aborted = end(c);
    free(x->memory);
    free(x);
    return st == GD_OK ? aborted : gd_error_restore(&why);
}

/* ---- the beginning ---- */

static gd_status read_id(const gd_device_comm_opts *o, id *out) {
    char own[24], other[24];
    memcpy(out, o->id, sizeof *out);
    if (memcmp(out->mark, id_mark, sizeof id_mark) != 0)
        GD_FAIL(USAGE, "nccl: communicator %s, rank %d of %d: the id is none of rank 0's make_id", o->name, o->rank,
                o->size);
    version_text(library.version, own);
    version_text(out->version, other);
    if (out->version != library.version)
        GD_FAIL(USAGE,
                "nccl: communicator %s, rank %d of %d: this rank has NCCL %s, rank 0 has %s; expected one version on "
                "all ranks",
                o->name, o->rank, o->size, own, other);
    return GD_OK;
}

static gd_status connect(communicator *x, const gd_device_comm_opts *o, const id *i) {
    gd__nccl_config config = {.size = sizeof config,
                              .magic = GD__NCCL_MAGIC,
                              .version = GD__NCCL_VERSION_OF_CONFIG,
                              .blocking = 0,
                              .cga_cluster_size = GD__NCCL_UNDEFINED,
                              .min_ctas = GD__NCCL_UNDEFINED,
                              .max_ctas = o->most_blocks > 0 ? o->most_blocks : GD__NCCL_UNDEFINED,
                              .split_share = GD__NCCL_UNDEFINED};
    int r = library.f.ncclCommInitRankConfig(&x->comm, o->size, i->nccl, o->rank, &config);
    if (!x->comm && r == GD__NCCL_IN_PROGRESS)
        GD_FAIL(NCCL, WHO "ncclCommInitRankConfig gives no communicator", WHO_IS(x));
    return settle(x, "ncclCommInitRankConfig", r, o->open_seconds > 0 ? o->open_seconds : open_seconds);
}

static gd_status open_comm(const gd_device_comm_opts *o, gd_device_comm **out) {
    id i;
    gd_error why;
    GD_TRY(use_library());
    if (o->size < 1 || o->rank < 0 || o->rank >= o->size)
        GD_FAIL(USAGE, "nccl: communicator %s: rank %d of %d", o->name, o->rank, o->size);
    GD_TRY(read_id(o, &i));
    communicator *x = calloc(1, sizeof *x);
    if (!x) GD_FAIL(NOMEM, "nccl: no memory for communicator %s", o->name);
    snprintf(x->name, sizeof x->name, "%s", o->name);
    x->table = (gd_device_comm){x->name,   o->rank,      o->size,      all_reduce, reduce_scatter, all_gather,
                                broadcast, reduce_parts, gather_parts, alloc,      release,        poll,
                                wait,      wait_event,   journal,      end,        close_comm};
    x->seconds = o->call_seconds > 0 ? o->call_seconds : call_seconds;
    x->idle = o->idle;
    x->ctx = o->ctx;
    gd_status st = connect(x, o, &i);
    if (st == GD_OK) {
        *out = &x->table;
        return GD_OK;
    }
    gd_error_save(st, &why);
    if (close_comm(&x->table) != GD_OK) gd_error_clear(); /* the first error is the one that matters */
    return gd_error_restore(&why);
}

const gd_device_comms gd__nccl = {"nccl", version, make_id, open_comm, gd__cu_journal_same};
