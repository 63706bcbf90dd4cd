/* launch/metrics/points.h -- what every metric reads: a set of n vectors of d numbers. */
#ifndef GANDIST_LAUNCH_METRICS_POINTS_H
#define GANDIST_LAUNCH_METRICS_POINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Either f32, as they are, or u8, read as x / 127.5 - 1. Borrowed. */
typedef struct gd_points {
    int64_t n, d;
    const float *f32;
    const uint8_t *u8;
} gd_points;

/* Row i as floats: the set's own memory, or `room` (d floats). */
const float *gd_points_row(const gd_points *p, int64_t i, float *room);

/* A set as blocks of 64 transposed rows, in which the distances of one vector to all of them are loops
 * that vectorise. Of the last block the rows behind the set's end are zero. */
enum { GD__TILE = 64 };
typedef struct gd__tiles {
    int64_t n, d, count; /* rows, numbers a row, blocks */
    float *data;         /* [count, d, 64]              */
} gd__tiles;
GD_CHECKED gd_status gd__tiles_make(const gd_points *p, gd__tiles *out);
void gd__tiles_free(gd__tiles *t);
/* Squared distances, or inner products, of x [d] to the rows of block b; sums in double over runs of 128. */
void gd__tiles_distances(const gd__tiles *t, int64_t b, const float *x, double out[GD__TILE]);
void gd__tiles_products(const gd__tiles *t, int64_t b, const float *x, double out[GD__TILE]);
/* Rows of block b that are in the set. */
int gd__tiles_rows(const gd__tiles *t, int64_t b);

#endif
