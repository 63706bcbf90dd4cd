/* dist/board.h -- the ranks of one host around a piece of shared memory.
 *
 * Every rank has a slot; all meet, then each may read all slots. Waiting spins briefly when there is
 * a core for everybody and otherwise sleeps in the kernel at once, so that more ranks than cores do
 * not steal the time of those who still compute. */
#ifndef GANDIST_DIST_BOARD_H
#define GANDIST_DIST_BOARD_H

#include <mpi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "dist/pulse.h"

enum { GD__SLOT = 64 * 1024 };

typedef struct gd__meeting { /* in shared memory */
    _Alignas(64) _Atomic unsigned arrived;
    _Alignas(64) _Atomic unsigned round;
    _Alignas(64) _Atomic unsigned news; /* counts calls of gd__board_tell */
    _Atomic unsigned sleepers;          /* who waits for news             */
} gd__meeting;

typedef struct gd__board {
    MPI_Win window;
    int rank, size;
    bool spin;
    gd__meeting *meeting;
    gd__pulse **pulse; /* per rank */
    char **slot;    /* per rank: two slots, used in turn */
    unsigned turn;
    /* While a rank waits here: goes on with what is under way in the background. True: there is more to do, so
     * it must not sleep for long. NULL: nothing ever is. */
    bool (*meanwhile)(void *ctx);
    void *ctx;
} gd__board;

/* Collective over host. Errors: MPI, NOMEM. */
GD_CHECKED gd_status gd__board_new(MPI_Comm host, gd__board **out);
void gd__board_free(gd__board *b); /* collective over host */
/* Returns when all ranks of the host have called it; what they wrote before is visible. */
void gd__board_meet(gd__board *b);
/* Waiting for something else than a meeting: read the count of news, look whether the thing is there, and if not, sleep
 * until there are other news (somebody told) or `nanoseconds` have passed. */
unsigned gd__board_news(const gd__board *b);
void gd__board_tell(gd__board *b); /* what this rank wrote before is seen by those who wake */
void gd__board_sleep(gd__board *b, unsigned news, long nanoseconds);
/* all: size x bytes, in host rank order. bytes <= GD__SLOT. */
void gd__board_allgather(gd__board *b, const void *mine, size_t bytes, void *all);

/* Shared memory of the host: one part a rank. part: size pointers, owner: caller. Collective. */
GD_CHECKED gd_status gd__window_new(MPI_Comm host, size_t bytes, MPI_Win *window, void **part);

/* Raises MPI with the call's name and the library's words unless code is MPI_SUCCESS. */
gd_status gd__mpi_check(int code, const char *call, const char *file, int line);
#define GD_MPI(call)                                                                                \
    do {                                                                                            \
        int code_ = (call);                                                                         \
        if (code_ != MPI_SUCCESS) return gd__mpi_check(code_, #call, __FILE__, __LINE__);           \
    } while (0)

#endif
