/* dist/tree.h -- the order in which sums over shards are made.
 *
 * V leaves, one per virtual shard, in the order of their samples. A sum of n leaves is the sum of the
 * first p plus the sum of the others, p the largest power of two below n:
 *
 *        8 leaves: ((0 1)(2 3))((4 5)(6 7))        6 leaves: ((0 1)(2 3))(4 5)
 *
 * A rank owns L = V / ranks neighbouring leaves. When L is a power of two, its own sum is one node of
 * the tree, so it hands over one number and adding the ranks' numbers in the same order gives the root.
 * For another L its leaves belong to different nodes (6 leaves on 2 ranks: leaf 2 goes with leaf 3), no
 * partial sum would do, and it hands over all L leaves: more traffic, the same bits. So the result is
 * one and the same for every number of ranks that divides V. gd__tree_handed says how many. */
#ifndef GANDIST_DIST_TREE_H
#define GANDIST_DIST_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool gd__is_power_of_two(int64_t n) { return n > 0 && !(n & (n - 1)); }

/* How many numbers a rank with `local` leaves hands over. */
static inline int gd__tree_handed(int64_t local) { return gd__is_power_of_two(local) ? 1 : (int)local; }

static inline int gd__tree_half(int n) {
    int p = 1;
    while (2 * p < n) p *= 2;
    return p;
}

/* Sum of n >= 1 numbers, `stride` apart. */
static inline double gd__tree_sum_f64(const double *x, int n, size_t stride) {
    if (n == 1) return *x;
    int half = gd__tree_half(n);
    return gd__tree_sum_f64(x, half, stride) + gd__tree_sum_f64(x + (size_t)half * stride, n - half, stride);
}

enum {
    GD__TREE_TILE = 1024,
    GD__TREE_DEPTH = 32,        /* two tiles a level below the root */
    GD__TREE_LEAVES = 1 << 16   /* what that depth is enough for    */
};

/* out[i] = sum over the n >= 1 sources of source[k][at + i], i < count <= GD__TREE_TILE. depth: 0; room:
 * GD__TREE_DEPTH tiles. out may be at + i of any source. */
void gd__tree_sum_tile(const float *const *source, int n, size_t at, size_t count, float *out,
                       float room[GD__TREE_DEPTH][GD__TREE_TILE], int depth);
/* The same for any range; uses OpenMP, cut at tiles, so the result does not depend on threads. */
void gd__tree_sum(const float *const *source, int n, size_t at, size_t count, float *out);

#endif
