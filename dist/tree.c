/* dist/tree.c -- sums of arrays in tree order, a tile at a time. */
#include "dist/tree.h"

#include <string.h>

void gd__tree_sum_tile(const float *const *source, int n, size_t at, size_t count, float *out,
                       float room[GD__TREE_DEPTH][GD__TREE_TILE], int depth) {
    if (n == 1) {
        memmove(out, source[0] + at, count * sizeof *out);
        return;
    }
    if (n == 2) {
        const float *a = source[0] + at, *b = source[1] + at;
#pragma omp simd
        for (size_t i = 0; i < count; i++) out[i] = a[i] + b[i];
        return;
    }
    int half = gd__tree_half(n);
    float *left = room[depth], *right = room[depth + 1];
    gd__tree_sum_tile(source, half, at, count, left, room, depth + 2);
    gd__tree_sum_tile(source + half, n - half, at, count, right, room, depth + 2);
#pragma omp simd
    for (size_t i = 0; i < count; i++) out[i] = left[i] + right[i];
}

void gd__tree_sum(const float *const *source, int n, size_t at, size_t count, float *out) {
    ptrdiff_t tiles = (ptrdiff_t)((count + GD__TREE_TILE - 1) / GD__TREE_TILE);
#pragma omp parallel for schedule(static) if (tiles > 16)
    for (ptrdiff_t t = 0; t < tiles; t++) {
        float room[GD__TREE_DEPTH][GD__TREE_TILE];
        size_t from = (size_t)t * GD__TREE_TILE, now = count - from < GD__TREE_TILE ? count - from : GD__TREE_TILE;
        gd__tree_sum_tile(source, n, at + from, now, out + from, room, 0);
    }
}
