/* tests/cuda/record.h -- a device that is none: kernels run as C code at once, and everything that is put on streams is checked
 * as if it happened later.
 *
 * Order. Every stream and the host have a vector clock; events carry clocks. Two accesses to the same bytes of which one writes
 * must be ordered by them, whatever order they ran in here. A captured graph keeps its operations and is checked
 * again at every launch.
 * A mistake is an error INTERNAL whose message begins with "record:" and says what was done to what. */
#ifndef GANDIST_TESTS_CUDA_RECORD_H
#define GANDIST_TESTS_CUDA_RECORD_H

#include "compute/cuda/comm_device.h"
#include "compute/cuda/device.h"

/* ranks: simulated ones that put collectives on streams; operations belong to the rank of record_rank. */
gd__cu_device *record_new(int ranks);
/* Ends it. Errors: INTERNAL for what was not freed, for collectives that differ between ranks. */
gd_status record_end(gd__cu_device *d);
void record_rank(gd__cu_device *d, int rank);
/* Communicator `number` (below 8) of a rank, closed before record_end. Collectives move nothing; what they read and write is
 * checked, and which ones each rank puts on streams, also by launching graphs, is compared at the end. */
gd_device_comm *record_comm(gd__cu_device *d, int number, int rank);
/* A sum of the rank of record_rank on communicator `number`, put on a stream by itself. */
gd_status record_all_reduce(gd__cu_device *d, void *stream, int number, float *data, int64_t count);
/* Refuses plans whose result is wider than their operands, as a cuDNN without such engines does. */
void record_no_wide(gd__cu_device *d, bool no);
/* Numbers of what was done so far. */
typedef struct record_counts {
    int launches, copies, allocations, syncs, graphs, graph_launches, convolutions;
} record_counts;
record_counts record_get_counts(const gd__cu_device *d);

#endif
