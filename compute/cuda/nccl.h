/* compute/cuda/nccl.h -- the provider of comm_device.h over NCCL, opened at run time. Folder-internal.
 *
 * libnccl.so.2 is looked for as CUDA's other libraries (library.h), stays open until the process ends, since it has threads of
 * its own, and must be 2.19 or newer. Communicators do not block: whatever does not come to an end is found by
 * its deadline and aborted. The environment's NCCL_* settings hold; NCCL_LAUNCH_ORDER_IMPLICIT is 1 unless it is set, so that
 * collectives of several communicators run in the order in which they are put on streams. NCCL's abort and destroy
 * wait for graphs with the communicator's collectives, so those are freed before. */
#ifndef GANDIST_COMPUTE_CUDA_NCCL_H
#define GANDIST_COMPUTE_CUDA_NCCL_H

#include "compute/cuda/comm_device.h"

extern const gd_device_comms gd__nccl;

#endif
