/* dist/reduce_internal.h -- the inside of a reducer. Folder-internal.
 *
 *   reduce.c     rounds, what ranks of a host do with each other, waiting
 *   exchange.c   between hosts
 *   gather.c     slices, to all
 *
 * An arena is cut into buckets. Of each, within a host: all ranks arrive (their gradients are final), each sums its share,
 * and the bucket is summed when all have. With one host that is all. Between hosts the leaders then exchange it, with
 * many buckets under way at a time, and what they are done with the others of the host copy. All of it goes on in
 * steps that never wait (gd__comm_advance), whenever anybody has time: between the steps of a program, and in every wait. */
#ifndef GANDIST_DIST_REDUCE_INTERNAL_H
#define GANDIST_DIST_REDUCE_INTERNAL_H

#include "dist/comm_mpi.h"
#include "dist/reduce.h"

enum { GD__LINE = 16 /* floats of a cache line: no two ranks write into one */ };

/* One bucket on its way between hosts. */
typedef struct gd__transfer {
    enum { GD__FREE_SLOT, GD__SUMMING, GD__SPREADING } stage;
    size_t bucket;
    int n;                 /* requests                                            */
    MPI_Request *request;
    float *received;       /* of every other member: its part of this one's section */
    float *sent;           /* parts > 1: what others sum, packed                  */
} gd__transfer;

/* Between hosts, or, where hosts are no nodes of the tree, between all ranks: everybody sums one section of a bucket,
 * then all get all sections. */
typedef struct gd__exchange {
    MPI_Comm comm;         /* MPI_COMM_NULL: this rank exchanges nothing          */
    int size, rank, tag;
    size_t parts;          /* arenas that each member hands over                  */
    size_t section;        /* floats, a multiple of GD__LINE                      */
    int n_slots, in_flight;
    gd__transfer *slot;
    const float **source;  /* scratch: size x parts                               */
    unsigned char *done;   /* per bucket of the round                             */
    size_t begun, left;    /* so many were begun; so many are not done            */
} gd__exchange;

/* In memory of the host. Counters go up from round to round and are never set back. */
typedef struct gd__flags {
    _Atomic uint32_t arrived, summed, done; /* ranks; ranks; rounds */
} gd__flags;
typedef struct gd__sign { /* in front of them */
    _Alignas(64) _Atomic uint32_t copied, ended; /* ranks; rounds */
} gd__sign;

/* Of a bucket, on this rank. */
enum { GD__OPEN, GD__ARRIVED, GD__SUMMED, GD__HERE };

struct gd_reducer {
    gd_comm *c;
    size_t count, stride;  /* floats of an arena, and from one to the next            */
    int parts;
    float *arena;          /* of this rank: parts of them                             */
    int window;            /* number, with more than one rank                         */
    void **host;           /* host_size: the ranks' arenas                            */
    const float **source;  /* the arenas of this host (one rank: its own), tree order */
    int n_sources;
    size_t bucket, n_buckets;
    gd__flags *flags;
    gd__sign *sign;
    /* the round under way */
    bool open, sliced, copied;
    uint32_t round;        /* number of it */
    size_t *missing;       /* per bucket: floats that are not final yet */
    unsigned char *stage;  /* per bucket */
    size_t *order, arrived; /* buckets as they arrived, which is as the program has it: the same order everywhere */
    size_t first;          /* buckets before it need nothing more from this rank */
    size_t summed;         /* buckets before it are summed over the host */
    gd_status st;
    gd_error error;
    gd__exchange out;
    gd_reducer *next;      /* in gd_comm.busy */
};

/* The sum of a host is a node of the tree: its leader can speak for it. */
bool gd__host_is_node(const gd_reducer *r);
/* The floats of bucket b. */
static inline void gd__bucket_range(const gd_reducer *r, size_t b, size_t *from, size_t *to) {
    *from = b * r->bucket;
    *to = *from + r->bucket < r->count ? *from + r->bucket : r->count;
}

/* exchange.c. Members and sizes; before buckets are cut. All of the following not collective but for what they send. */
GD_CHECKED gd_status gd__exchange_open(gd_reducer *r, size_t bucket_bytes);
GD_CHECKED gd_status gd__exchange_make_room(gd_reducer *r);
void gd__exchange_close(gd_reducer *r); /* memory of messages that are under way stays */
void gd__exchange_begin(gd_reducer *r);
/* Starts and ends what can be. next(r, i, &b): the bucket that travels after i others, if it may already. All members
 * must name the same ones: only so many travel at a time. */
typedef bool (*gd__next_bucket)(const gd_reducer *r, size_t i, size_t *b);
GD_CHECKED gd_status gd__exchange_advance(gd_reducer *r, gd__next_bucket next);
/* What member k sums of bucket b. In an all-reduce a bucket is one piece of the arena; sliced, it has a piece of the
 * slices of each member. Returns how many floats, at most a section. */
size_t gd__section_of(const gd_reducer *r, bool sliced, int k, size_t b, size_t *from);
size_t gd__exchange_buckets(const gd_reducer *r, bool sliced);
/* The slices that lie in `all` of every member, to all. Waits. */
GD_CHECKED gd_status gd__exchange_slices(gd_reducer *r, float *all);

#endif
