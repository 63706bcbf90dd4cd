/* dist/pulse.h -- what a rank shows to the watchdogs of its host, and the comparison of collectives. Folder-internal.
 *
 * Every rank has a pulse in memory that its host shares. The training thread writes where it is: a store or two where
 * a phase or a collective begins, no lock, no system call. Watchdogs read. */
#ifndef GANDIST_DIST_PULSE_H
#define GANDIST_DIST_PULSE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "dist/comm.h"

/* Collectives, as labels name them; GD__ALONE: in none. */
typedef enum gd__op {
    GD__ALONE,
    GD__BARRIER,
    GD__BCAST,
    GD__ALLGATHER,
    GD__SUM,
    GD__AGREE,
    GD__PLAN,   /* the broadcast of a step plan */
    GD__REDUCE, /* of gradients, within and between hosts */
    GD__SLICES, /* parameters or moments of all slices */
    GD__OPS
} gd__op;

enum { GD__STACK_ROOM = 3072 };
enum { GD__STACK_NONE, GD__STACK_WANTED, GD__STACK_THERE };

typedef struct gd__pulse {
    _Alignas(64) _Atomic uint64_t arrived; /* how often this rank has come to a place where all meet: equal on all ranks
                                              that are at the same place                                             */
    _Atomic uint64_t label;                /* see below                                                              */
    _Atomic uint64_t steps;                /* begun since the start, or the last load                                */
    _Atomic uint64_t work, gain;           /* gd_comm_worked, gd_comm_gained                                         */
    _Alignas(64) _Atomic uint64_t alive;   /* how often its watchdog has looked; 0: it has none                      */
    _Atomic int64_t process;
    _Atomic int spoken;                    /* it has found a hang and ends the job: nobody else need                 */
    _Atomic int stack_state;               /* GD__STACK_*: another watchdog may ask for it                           */
    char stack[GD__STACK_ROOM];
} gd__pulse;

/* A label is one word: step 36 bits, bucket 10, network 4 (0: none), phase 6, op 8. What is too large for its bits is
 * cut: labels are for people and for comparisons. */
static inline uint64_t gd__label_make(gd_phase phase, int network, int64_t step) {
    return ((uint64_t)step & 0xfffffffff) << 28 | ((uint64_t)(network + 1) & 15) << 14 | ((uint64_t)phase & 63) << 8;
}
static inline uint64_t gd__label_with(uint64_t label, gd__op op, size_t bucket) {
    return label | (bucket < 1023 ? bucket : 1023) << 18 | (uint64_t)op;
}
static inline gd__op gd__label_op(uint64_t label) { return (gd__op)(label & 255); }
static inline gd_phase gd__label_phase(uint64_t label) { return (gd_phase)(label >> 8 & 63); }
static inline int gd__label_network(uint64_t label) { return (int)(label >> 14 & 15) - 1; }
static inline size_t gd__label_bucket(uint64_t label) { return label >> 18 & 1023; }
static inline int64_t gd__label_step(uint64_t label) { return (int64_t)(label >> 28); }
/* "step 12, reduction of D's gradients, bucket 3: waits in an all-reduce"; at most room bytes. Returns out. */
char *gd__label_text(uint64_t label, char *out, size_t room);

static inline void gd__count(_Atomic uint64_t *x) { /* one writer */
    atomic_store_explicit(x, atomic_load_explicit(x, memory_order_relaxed) + 1, memory_order_relaxed);
}
static inline void gd__pulse_arrive(gd__pulse *p) { gd__count(&p->arrived); }

#endif
