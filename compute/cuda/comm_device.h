/* compute/cuda/comm_device.h -- sums and copies of f32 over ranks, put on streams of a device: one table, several
 * providers. Plain C, no CUDA, no NCCL: who drives a device through the plug-in may include it.
 *
 * gd_device_comms is a provider: nccl.c (one GPU a rank), tests/cuda/record_comm.c (a stand-in that checks order and
 * memory). gd_device_comm is one communicator of it; the gradients of G and of D have one each.
 *
 * Collectives are put on a stream and happen later; they may be put on a stream that is captured, and happen then at every
 * launch. All ranks put the same ones, with equal counts, in the same order, and those of several communicators in
 * one order too. Data is memory of the device, 4-byte aligned, best of the communicator's `alloc`. One thread.
 * A communicator that failed stays failed: only abort and close are of use then, on every rank. */
#ifndef GANDIST_COMPUTE_CUDA_COMM_DEVICE_H
#define GANDIST_COMPUTE_CUDA_COMM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { GD_DEVICE_COMM_ID = 160, GD_DEVICE_COMM_JOURNAL = 64 };

typedef enum gd_device_collective {
    GD_DEVICE_ALL_REDUCE,
    GD_DEVICE_REDUCE_SCATTER,
    GD_DEVICE_ALL_GATHER,
    GD_DEVICE_BROADCAST,
    GD_DEVICE_REDUCE_PARTS,
    GD_DEVICE_GATHER_PARTS,
    GD_DEVICE_COLLECTIVES
} gd_device_collective;

/* What a rank has put on streams so far: plain bytes, to be gathered over another way when ranks wait for each other. */
typedef struct gd_device_comm_call {
    int32_t what, root; /* gd_device_collective; root: 0 but for BROADCAST, and of PARTS a hash of their borders */
    int64_t count;      /* elements, as given                              */
} gd_device_comm_call;
typedef struct gd_device_comm_journal {
    uint64_t calls, hash;                             /* number of them; of all of them              */
    gd_device_comm_call last[GD_DEVICE_COMM_JOURNAL]; /* call k (from 0) is last[k % JOURNAL]        */
} gd_device_comm_journal;

typedef struct gd_device_comm gd_device_comm;
struct gd_device_comm { /* every entry is there. Errors of all: NCCL (says which call and NCCL's words), TIMEOUT */
    const char *name;   /* of the communicator, for messages */
    int rank, size;
    /* In place sum of count floats. */
    gd_status (*all_reduce)(gd_device_comm *c, void *stream, float *data, int64_t count);
    /* data: size x each; mine: each, the sum of part `rank`; may be data + rank * each. */
    gd_status (*reduce_scatter)(gd_device_comm *c, void *stream, const float *data, float *mine, int64_t each);
    /* all: size x each, rank order; mine may be all + rank * each. */
    gd_status (*all_gather)(gd_device_comm *c, void *stream, const float *mine, float *all, int64_t each);
    gd_status (*broadcast)(gd_device_comm *c, void *stream, float *data, int64_t count, int root);
    /* Part r of data, the floats from border[r] to border[r + 1] (0 or more; equal borders on all ranks), is rank r's. reduce_parts: part
     * `rank` becomes its sum over the ranks, the other parts stay as they are. gather_parts: all parts become those of their ranks. */
    gd_status (*reduce_parts)(gd_device_comm *c, void *stream, float *data, const int64_t *border);
    gd_status (*gather_parts)(gd_device_comm *c, void *stream, float *data, const int64_t *border);
    /* Memory that collectives are fastest with, 256-byte aligned; not while a stream is captured. Every rank allocates as
     * much, in the same order. free: of alloc only; NULL is fine. */
    gd_status (*alloc)(gd_device_comm *c, size_t bytes, void **out);
    gd_status (*free)(gd_device_comm *c, void *memory);
    /* Whether something has gone wrong meanwhile; at once, also while a stream is captured. */
    gd_status (*poll)(gd_device_comm *c);
    /* Until the stream has nothing left to do: GD_OK; an error of the communicator; after `seconds` TIMEOUT, which says the
     * last collective that was put on a stream. */
    gd_status (*wait)(gd_device_comm *c, void *stream, double seconds);
    /* The same until an event that was recorded has been reached. */
    gd_status (*wait_event)(gd_device_comm *c, void *event, double seconds);
    void (*journal)(const gd_device_comm *c, gd_device_comm_journal *out);
    /* Ends what is under way without waiting for others. Every rank must. Its graphs are freed by then, which may be running, and no
     * stream is captured. Twice is fine. */
    gd_status (*abort)(gd_device_comm *c);
    /* Ends the communicator, together with all ranks unless it has failed; its graphs are gone by then. Memory it
     * gave and that was not freed is lost to it. c is gone, whatever comes back. NULL is fine. */
    gd_status (*close)(gd_device_comm *c);
};

typedef struct gd_device_comm_opts {
    const char *name; /* "gradients of G"                                           */
    int rank, size;
    const unsigned char *id; /* GD_DEVICE_COMM_ID bytes of rank 0's make_id, one id a communicator */
    int most_blocks;         /* of the device that a collective may occupy; 0: the provider's choice */
    double open_seconds;     /* until all ranks have to be there; 0: 120            */
    double call_seconds;     /* until a call has to have done its part; 0: 60       */
    void (*idle)(void *ctx); /* called now and then while something is waited for, to keep MPI going; NULL: nothing */
    void *ctx;
} gd_device_comm_opts;

typedef struct gd_device_comms {
    const char *name; /* "nccl" */
    /* Whether it is there and new enough: 22809 for 2.28.9. Errors: UNSUP (says what is there and what was expected). */
    gd_status (*version)(int *out);
    /* Rank 0 makes it and hands it to all. Errors: UNSUP, NCCL. */
    gd_status (*make_id)(unsigned char id[GD_DEVICE_COMM_ID]);
    /* Collective, on the calling thread's current device. Errors: UNSUP, NCCL, USAGE (versions of rank 0 and this rank differ,
     * an id that is none), TIMEOUT (not all ranks came), NOMEM; nothing is left then. */
    gd_status (*open)(const gd_device_comm_opts *o, gd_device_comm **out);
    /* Whether all ranks put the same collectives on streams. false: text says the first difference, and of whom. */
    bool (*same)(const gd_device_comm_journal *of_rank, int ranks, char *text, size_t room);
} gd_device_comms;

/* ---- for providers: comm_journal.c ---- */

void gd__cu_journal_add(gd_device_comm_journal *j, gd_device_collective what, int64_t count, int root);
/* Of `ranks` parts. *count: floats of all of them; false: borders go down. */
bool gd__cu_journal_parts(const int64_t *border, int ranks, int64_t *count, int32_t *root);
bool gd__cu_journal_same(const gd_device_comm_journal *of_rank, int ranks, char *text, size_t room);
/* "call 3, all-reduce of 512 floats"; of the newest, "nothing" where there is none. */
void gd__cu_journal_last(const gd_device_comm_journal *j, char text[96]);

#endif
