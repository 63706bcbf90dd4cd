/* An executor whose memory is not the host's: the executor cpu, on memory that nobody may touch but its steps and copies.
 * Whatever else reads or writes it ends the test with a fault, and a step that is given other memory is an error. */
#ifndef GANDIST_TESTS_FAR_MEMORY_H
#define GANDIST_TESTS_FAR_MEMORY_H

#include <sys/mman.h>

#include "compute/exchange.h"
#include "compute/exec.h"
#include "dist/comm.h"

/* What it offers besides: gd_executor.replay_new, gd_executor.update. */
typedef enum far_can { FAR_PLAIN, FAR_REPLAYS, FAR_UPDATES, FAR_ALL } far_can;
const gd_executor *far_executor(far_can can); /* owner: nobody */
/* What happened since the last call: runs that were replayed, bytes that were copied to and from the host, updates, rounds of
 * sums, gradients that were final before the end of their program, readings that were not waited for, bytes that were asked for, sums
 * among the steps, turns of image pools, parts that were shared. */
typedef struct far_counts {
    int64_t replays, put, got, updates, rounds, early, later, asked, among, turns, shares;
} far_counts;
far_counts far_take_counts(void);

/* Sums of gradients in such memory, through c and in the order of the tree: as on the host, to the bit. Whoever touches gradients
 * between their `ready` and the end of a round, says it twice, or begins a round in another, is found. */
const gd_exchanges *far_exchanges(gd_comm *c);
/* The round-th round from here on (from 1) fails on this rank, at its beginning, or is never over. 0: none does. */
void far_fail_round(int round, bool begin);
void far_fail_sum(int sum); /* the same of sums, and gathers, among the steps: at once */
int far_open_exchanges(void); /* that were not closed */
int far_tickets(void);        /* of gd_executor.get_later that were not taken */
extern bool far_aborted;      /* whether the last one to be closed was aborted */

#endif
