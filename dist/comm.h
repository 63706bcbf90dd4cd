/* dist/comm.h -- communication providers behind one table: self (one rank), MPI, later NCCL.
 *
 * Everything in dist/ that crosses ranks goes through a gd_comm, called from one thread. Every
 * function here is collective unless it says otherwise: all ranks call it in the same order with
 * equal counts. Sums are made in a fixed order, so every rank gets the same bits. */
#ifndef GANDIST_DIST_COMM_H
#define GANDIST_DIST_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct gd_comm gd_comm;

/* One rank, no MPI. Not collective. */
GD_CHECKED gd_status gd_comm_self(gd_comm **out);
/* Initialises MPI (thread level FUNNELED) if that has not happened, MPI_ERRORS_RETURN, splits by
 * host. Falls to `self` semantics when started alone. Errors: MPI. */
GD_CHECKED gd_status gd_comm_mpi(gd_comm **out);
/* True when this process was started by mpirun or srun (environment only). Not collective. */
bool gd_comm_launched(void);
void gd_comm_free(gd_comm *c); /* finalises MPI if gd_comm_mpi initialised it; NULL is fine */
/* Ends all ranks at once with this exit code. Not collective, does not return. main.c only. */
void gd_comm_abort(gd_comm *c, int exit_code) __attribute__((noreturn));

int gd_comm_rank(const gd_comm *c);       /* not collective, as the next ones */
int gd_comm_size(const gd_comm *c);
int gd_comm_host_rank(const gd_comm *c);  /* within this host */
int gd_comm_host_size(const gd_comm *c);
int gd_comm_hosts(const gd_comm *c);
const char *gd_comm_name(const gd_comm *c); /* "self", "mpi" */

/* Name of the host of a rank. owner: c. */
const char *gd_comm_host_name(const gd_comm *c, int rank);

/* What this rank is busy with from now on, for the watchdog (watchdog.h) and for GANDIST_CHECK=collectives, which
 * compares it before every collective: there it must be equal on all ranks. network: a gd_group, -1: none. A store to
 * memory; not collective. */
typedef enum gd_phase {
    GD_PHASE_START,   /* before anything else was said                     */
    GD_PHASE_LOAD,
    GD_PHASE_DATA,
    GD_PHASE_COMPUTE,
    GD_PHASE_REDUCE,
    GD_PHASE_UPDATE,
    GD_PHASE_CONTROL,
    GD_PHASE_REPORT,  /* metrics, samples, looks at samples                */
    GD_PHASE_SAVE,
    GD_PHASE_COMPARE, /* of replicas                                       */
    GD_PHASE_END,
    GD_PHASE_COUNT
} gd_phase;
void gd_comm_label(gd_comm *c, gd_phase phase, int network, int64_t step);
/* Something got done, for the watchdog: labels that change are no proof of that. worked: a piece of a step (a batch, a run of
 * a program, a bucket of gradients); gained: a whole step. Not collective. */
void gd_comm_worked(gd_comm *c);
void gd_comm_gained(gd_comm *c);
const char *gd_phase_name(gd_phase p);

/* For benchmarks: what each exchange of the trainer (batch statistics, gradients, parameters of slices) makes this rank
 * wait, seconds, in their order, which is that of all ranks. waits: from now on, at most n of them are written to room; NULL:
 * no more. waited: the trainer says one. written: how many there were, more than n where room was too small. Not collective. */
void gd_comm_waits(gd_comm *c, float *room, size_t n);
void gd_comm_waited(gd_comm *c, double seconds);
size_t gd_comm_waits_written(const gd_comm *c);

GD_CHECKED gd_status gd_comm_barrier(gd_comm *c);
GD_CHECKED gd_status gd_comm_bcast(gd_comm *c, int root, void *data, size_t bytes);
/* all: size x bytes, rank order. */
GD_CHECKED gd_status gd_comm_allgather(gd_comm *c, const void *mine, size_t bytes, void *all);
/* In place sum of n doubles (or floats) over ranks in the fixed tree of tree.h. */
GD_CHECKED gd_status gd_comm_sum_f64(gd_comm *c, double *x, size_t n);
GD_CHECKED gd_status gd_comm_sum_f32(gd_comm *c, float *x, size_t n);
/* The same where every rank has `parts` (equal on all) neighbouring leaves: sum of size x parts arrays of
 * n floats into out, which may be part[0]. Allocates only when size x parts is larger than ever before. */
GD_CHECKED gd_status gd_comm_sum_parts_f32(gd_comm *c, const float *const *part, int parts, size_t n, float *out);

/* After anything that can fail on one rank: every rank leaves with one answer. The failing rank keeps
 * its own message; the others get PEER with the message and the trail of the lowest failing rank. `local` not OK:
 * the record of this thread is what is sent. gd_error_agreed is on all ranks the status of the lowest failing one. */
GD_CHECKED gd_status gd_comm_agree(gd_comm *c, gd_status local);

/* Non-blocking broadcast from rank 0 of at most GD_IBCAST_MAX bytes: start, later finish. One at a time. Between them data is not
 * touched, so whoever leaves with an error need not finish; c then begins no other. */
enum { GD_IBCAST_MAX = 4096 };
GD_CHECKED gd_status gd_comm_ibcast_start(gd_comm *c, void *data, size_t bytes);
GD_CHECKED gd_status gd_comm_ibcast_finish(gd_comm *c);

#endif
