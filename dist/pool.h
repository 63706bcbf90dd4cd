/* dist/pool.h -- image pools. Shrivastava et al. 2017, section 2.3; the rule is that of CycleGAN's public code.
 *
 * A pool holds up to `size` generated images. Until it is full it stores each image and gives it back. Then, for each
 * image, with probability 1/2 it gives the image as it is, else a stored one, drawn uniformly, whose place the new image
 * takes. Images of a global batch come one after the other, in order: an image may get one that came just before it.
 *
 * There is one pool over all ranks, whatever their number: which image gets what is a pure function of (seed, pool,
 * draw, global sample), every rank computes it, and every rank keeps a copy of the images. */
#ifndef GANDIST_DIST_POOL_H
#define GANDIST_DIST_POOL_H

#include <stdint.h>

typedef struct gd_pool_rules {
    uint64_t seed;
    uint32_t pool;      /* number of the pool                                    */
    int64_t size;       /* images it holds when full, >= 1                       */
} gd_pool_rules;

/* What sample i of a batch gets, and what is in each place afterwards: a sample of this batch, or what was in a place
 * before (PLACE + its number). */
enum { GD_POOL_PLACE = 1 << 30 };
/* before: images that the pool has been given so far. give: batch entries, keep: size entries; a place that is not
 * filled yet keeps itself. Pure. */
void gd_pool_decide(const gd_pool_rules *r, uint64_t draw, int64_t before, int64_t batch, int32_t *give, int32_t *keep);

#endif
