/* An executor whose memory is not the host's: the executor cpu, on memory that nobody may touch but its steps and copies.
 * Whatever else reads or writes it ends the test with a fault, and a step that is given other memory is an error. */
#ifndef GANDIST_TESTS_FAR_MEMORY_H
#define GANDIST_TESTS_FAR_MEMORY_H

#include <sys/mman.h>

#include "compute/exec.h"

/* What it offers besides: gd_executor.replay_new, gd_executor.update. */
typedef enum far_can { FAR_PLAIN, FAR_REPLAYS, FAR_UPDATES, FAR_ALL } far_can;
const gd_executor *far_executor(far_can can); /* owner: nobody */
/* What happened since the last call: runs that were replayed, bytes that were copied to and from the host, updates. */
typedef struct far_counts {
    int64_t replays, put, got, updates;
} far_counts;
far_counts far_take_counts(void);

#endif
