#include "launch/metrics/points.h"

#include <stdlib.h>
#include <string.h>

enum { RUN = 128 };

const float *gd_points_row(const gd_points *p, int64_t i, float *room) {
    if (p->f32) return p->f32 + i * p->d;
    const uint8_t *x = p->u8 + i * p->d;
    for (int64_t j = 0; j < p->d; j++) room[j] = (float)x[j] / 127.5f - 1;
    return room;
}

gd_status gd__tiles_make(const gd_points *p, gd__tiles *out) {
    gd__tiles t = {.n = p->n, .d = p->d, .count = (p->n + GD__TILE - 1) / GD__TILE};
    t.data = calloc((size_t)(t.count * t.d), GD__TILE * sizeof *t.data);
    float *room = malloc((size_t)p->d * sizeof *room);
    if (!t.data || !room) {
        free(t.data);
        free(room);
        GD_FAIL(NOMEM, "metric: %lld vectors of %lld numbers", (long long)p->n, (long long)p->d);
    }
    for (int64_t i = 0; i < p->n; i++) {
        const float *row = gd_points_row(p, i, room);
        float *column = t.data + i / GD__TILE * t.d * GD__TILE + i % GD__TILE;
        for (int64_t j = 0; j < p->d; j++) column[j * GD__TILE] = row[j];
    }
    free(room);
    *out = t;
    return GD_OK;
}

void gd__tiles_free(gd__tiles *t) {
    free(t->data);
    t->data = NULL;
}

int gd__tiles_rows(const gd__tiles *t, int64_t b) {
    int64_t left = t->n - b * GD__TILE;
    return left < GD__TILE ? (int)left : GD__TILE;
}

void gd__tiles_distances(const gd__tiles *t, int64_t b, const float *x, double out[GD__TILE]) {
    const float *block = t->data + b * t->d * GD__TILE;
    memset(out, 0, GD__TILE * sizeof *out);
    for (int64_t at = 0; at < t->d; at += RUN) {
        int64_t end = at + RUN < t->d ? at + RUN : t->d;
        float sum[GD__TILE] = {0};
        for (int64_t j = at; j < end; j++) {
            const float *row = block + j * GD__TILE, v = x[j];
#pragma omp simd
            for (int k = 0; k < GD__TILE; k++) sum[k] += (v - row[k]) * (v - row[k]);
        }
        for (int k = 0; k < GD__TILE; k++) out[k] += (double)sum[k];
    }
}

void gd__tiles_products(const gd__tiles *t, int64_t b, const float *x, double out[GD__TILE]) {
    const float *block = t->data + b * t->d * GD__TILE;
    memset(out, 0, GD__TILE * sizeof *out);
    for (int64_t at = 0; at < t->d; at += RUN) {
        int64_t end = at + RUN < t->d ? at + RUN : t->d;
        float sum[GD__TILE] = {0};
        for (int64_t j = at; j < end; j++) {
            const float *row = block + j * GD__TILE, v = x[j];
#pragma omp simd
            for (int k = 0; k < GD__TILE; k++) sum[k] += v * row[k];
        }
        for (int k = 0; k < GD__TILE; k++) out[k] += (double)sum[k];
    }
}
