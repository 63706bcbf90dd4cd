/* dist/comm_mpi.h -- the MPI side of a communicator, for reduce.c. Folder-internal. */
#ifndef GANDIST_DIST_COMM_MPI_H
#define GANDIST_DIST_COMM_MPI_H

#include "dist/board.h"
#include "dist/comm_internal.h"

enum { GD__WINDOWS_MAX = 16 };

typedef struct gd__mpi {
    bool owns;            /* MPI was initialised here                                                */
    MPI_Comm world, host; /* duplicates of our own                                                   */
    MPI_Comm leaders;     /* host rank 0 of every host; MPI_COMM_NULL on others                      */
    bool blocks;          /* every host holds equally many neighbouring ranks, a power of two: its
                             sum is a node of the tree                                               */
    gd__board *board;     /* of this host                                                            */
    MPI_Request plan;     /* of the broadcast under way                                              */
    MPI_Win window[GD__WINDOWS_MAX]; /* of reducers: freeing one is collective, so it waits for the end,
                             which all ranks reach together                                          */
    int n_windows;
} gd__mpi;

/* Waits without keeping the core from ranks that still compute. */
GD_CHECKED gd_status gd__mpi_wait(MPI_Request *request);

#endif
