/* compute/cuda/exchange.h -- compute/exchange.h on a device: buckets that are all-reduced by a provider of comm_device.h on an urgent
 * stream beside the executor's, and sums on the executor's own. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_EXCHANGE_H
#define GANDIST_COMPUTE_CUDA_EXCHANGE_H

#include "compute/cuda/comm_device.h"
#include "compute/cuda/device.h"
#include "compute/exchange.h"

/* As gd_exchanges.open, by `comms`, beside `stream` of d. */
GD_CHECKED gd_status gd__cu_exchange_open(gd__cu_device *d, void *stream, const gd_device_comms *comms,
                                          const gd_exchange_opts *o, gd_exchange **out);
/* The same on a communicator that is open; it is closed with the exchange, or on an error. */
GD_CHECKED gd_status gd__cu_exchange_on(gd__cu_device *d, void *stream, gd_device_comm *comm, const gd_exchange_opts *o,
                                        gd_exchange **out);
GD_CHECKED gd_status gd__cu_exchange_alloc(gd_exchange *x, size_t bytes, void **out);
GD_CHECKED gd_status gd__cu_exchange_begin(gd_exchange *x, float *data, size_t count);
GD_CHECKED gd_status gd__cu_exchange_ready(gd_exchange *x, size_t first, size_t last);
GD_CHECKED gd_status gd__cu_exchange_all_ready(gd_exchange *x);
GD_CHECKED gd_status gd__cu_exchange_end(gd_exchange *x);
GD_CHECKED gd_status gd__cu_exchange_settle(gd_exchange *x, double *waited);
GD_CHECKED gd_status gd__cu_exchange_sum(gd_exchange *x, float *data, size_t count);
GD_CHECKED gd_status gd__cu_exchange_gather(gd_exchange *x, const void *part, size_t bytes, void *all);
GD_CHECKED gd_status gd__cu_exchange_share(gd_exchange *x, float *data, const size_t *border);
void gd__cu_exchange_journal(const gd_exchange *x, gd_exchange_journal *out);
bool gd__cu_exchange_same(const gd_exchange_journal *of_rank, int ranks, char *text, size_t room);
gd_status gd__cu_exchange_close(gd_exchange *x, bool abort);

#endif
