/* Batches on their way to memory that is not the host's (far_memory.h). They arrive as late as may be: at feed_sent. Whoever writes to
 * memory that a batch has not left, frees it, sends what was not pinned, or a second batch before the first, is found. */
#ifndef GANDIST_TESTS_FAR_FEED_H
#define GANDIST_TESTS_FAR_FEED_H

#include "compute/exec.h"

void far_feed_add(gd_executor *x); /* gd_executor.room to feed_free, on x's memory */
void far_feed_room(size_t bytes);  /* what gd_executor.room says; at first no end of it */
void far_feed_refuse(size_t bytes); /* allocations of so many bytes fail; 0: none does */
/* What happened since the last call; bytes that set out, that were pinned, and that slots take. */
typedef struct far_feed_counts {
    int64_t sends, takes, bytes, pinned, slots;
} far_feed_counts;
far_feed_counts far_feed_take_counts(void);
int far_feed_open(void); /* feeds and pinned memory that are not freed */

#endif
