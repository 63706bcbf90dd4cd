/* tests/cuda/record_internal.h -- between the files of the stand-in device: record.c what is put on streams and happens,
 * record_memory.c clocks and accesses, record_graph.c captures. */
#ifndef GANDIST_TESTS_CUDA_RECORD_INTERNAL_H
#define GANDIST_TESTS_CUDA_RECORD_INTERNAL_H

#include "record.h"
#include "shim.h"

enum { STREAMS = 48, HOST = 0, ARGS = 256, RANKS = 8, COLLECTIVES = 16384, RECORD_COMMS = 8 };

typedef struct clock {
    uint32_t at[STREAMS];
} clock;

typedef struct touch { /* an access that later ones must be ordered behind */
    size_t from, to;
    int stream;
    uint32_t when;
    bool written;
} touch;

typedef struct memory {
    unsigned char *at, *known; /* known: which bytes somebody wrote */
    size_t bytes;
    bool host, gone;
    int n, room;
    touch *touch;
} memory;

typedef enum kind { LAUNCH, COPY, CONVOLVE, RECORD, WAIT, REDUCE } kind;

typedef struct event {
    struct event *next; /* of all: what is freed stays until the end, so that its use is found */
    clock clock;
    bool recorded, dead;
    struct graph *captured; /* recorded inside this capture */
} event;

typedef struct collective {
    int comm, what, root; /* what: gd_device_collective */
    int64_t count;
} collective;

typedef struct operation {
    kind kind;
    int stream;
    void *what; /* function, plan, event */
    uint32_t grid;
    int n, rank;
    int lost; /* the last accesses: of what is no sum and must not be taken for one */
    collective collective;
    void *arg[ARGS];
    gd__cu_access access[ARGS];
} operation;

typedef struct graph {
    int n, room;
    operation **op;
    int origin;           /* stream that was captured */
    int map[STREAMS];     /* stream while capturing -> clock of a launch; -1: not part of it */
    bool joined[STREAMS]; /* nothing after the last operation that the origin waited for     */
    bool done, of_comm[RECORD_COMMS];
} graph;

typedef struct stream {
    bool used, urgent;
    graph *capture;
    bool origin;
} stream;

typedef struct loaded { /* a kernel */
    struct loaded *next;
    char name[24];
    shim_fn fn;
} loaded;

typedef struct recorder {
    gd__cu_device table;
    stream stream[STREAMS];
    clock clock[STREAMS];
    int n_memory;
    memory *memory;
    int rank, ranks, n_events, n_comms;
    int comm_graphs[RECORD_COMMS]; /* graphs that hold collectives of it */
    int n_collectives[RANKS];
    collective list[RANKS][COLLECTIVES];
    record_counts counts;
    loaded *functions;
    event *events;
    bool capturing, no_wide;
} recorder;

static inline recorder *record_of(gd__cu_device *d) { return (recorder *)d; }
static inline int record_number(const void *s) { return (int)(intptr_t)s; }

#define MISTAKE(...) GD_FAIL(INTERNAL, "record: " __VA_ARGS__)
#define NOT_CAPTURED(r, what)                                                                       \
    do {                                                                                            \
        if ((r)->capturing) MISTAKE("%s while a stream is captured", what);                         \
    } while (0)

/* ---- record_memory.c ---- */

void record_merge(clock *to, const clock *from);
/* An operation begins on a stream: behind all that the host has waited for. */
void record_tick(recorder *r, int s);
memory *record_find(const recorder *r, const void *p);
gd_status record_access(recorder *r, int s, const gd__cu_access *a, const char *what);
void record_forget(recorder *r, const gd__cu_access *a); /* its bytes are as if nobody had written them */
gd_status record_alloc(gd__cu_device *d, size_t bytes, void **out);
gd_status record_alloc_host(gd__cu_device *d, size_t bytes, void **out);
gd_status record_free(gd__cu_device *d, void *p);
gd_status record_room(gd__cu_device *d, size_t *bytes);
gd_status record_host(gd__cu_device *d, const void *at, size_t bytes, bool written);

/* ---- record.c ---- */

gd_status record_check_stream(const recorder *r, const void *s);
/* Now, or into the graph that is captured. */
gd_status record_put(recorder *r, operation *o);
/* The operation happens on clock s. */
gd_status record_perform(recorder *r, int s, operation *o);

/* ---- record_graph.c ---- */

gd_status record_keep(graph *g, const operation *o);
/* A RECORD or WAIT that a capture may be concerned with. */
gd_status record_capture_event(recorder *r, operation *o);
gd_status record_capture(gd__cu_device *d, void *s);
gd_status record_capture_end(gd__cu_device *d, void *s, void **out);
gd_status record_graph_launch(gd__cu_device *d, void *s, void *graph);
gd_status record_graph_free(gd__cu_device *d, void *graph);

#endif
