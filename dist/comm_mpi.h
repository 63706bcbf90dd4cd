/* dist/comm_mpi.h -- the MPI side of a communicator, for reduce.c. Folder-internal. */
#ifndef GANDIST_DIST_COMM_MPI_H
#define GANDIST_DIST_COMM_MPI_H

#include "dist/board.h"
#include "dist/comm_internal.h"

enum { GD__WINDOWS_MAX = 64 };

typedef struct gd__mpi {
    bool owns;            /* MPI was initialised here                                                */
    MPI_Comm world, host; /* duplicates of our own                                                   */
    MPI_Comm leaders;     /* host rank 0 of every host; MPI_COMM_NULL on others                      */
    MPI_Comm bulk_world, bulk_leaders; /* the same, for gradients: their messages and those of collectives never mix */
    bool blocks;          /* every host holds equally many neighbouring ranks, a power of two: its
                             sum is a node of the tree                                               */
    gd__board *board;     /* of this host                                                            */
    MPI_Request plan;     /* of the broadcast under way: of passage, and at its end to plan_data      */
    void *plan_data;
    size_t plan_bytes;
    char passage[GD_IBCAST_MAX];
    /* Of reducers. Freeing a window is collective, giving it back is not: those that all ranks of the host
     * have given back are freed when the next one is made, and at the end. */
    MPI_Win window[GD__WINDOWS_MAX];
    uint64_t given_back;  /* a bit a window */
    int reducers;         /* made so far */
} gd__mpi;

/* Waits without keeping the core from ranks that still compute; what is under way in the background goes on. */
GD_CHECKED gd_status gd__mpi_wait(gd_comm *c, MPI_Request *request);
/* Between two looks at something that another host must send; tries: looks so far. */
void gd__mpi_nap(int tries);

/* Shared memory of this host, part: as gd__window_new. *number: for gd__mpi_give_back. Collective. */
GD_CHECKED gd_status gd__mpi_window(gd__mpi *m, size_t bytes, void **part, int *number);
void gd__mpi_give_back(gd__mpi *m, int number);

/* gd_comm_mpi where ranks that give the same number form a host; all of them must really share one
 * machine. Tests run the paths between hosts with it. Collective. */
GD_CHECKED gd_status gd__comm_mpi_as(int host, gd_comm **out);

#endif
