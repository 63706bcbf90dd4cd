/* compute/cuda/space.c -- from shapes to threads. See group.h. */
#include <string.h>

#include "compute/align.h"
#include "compute/cuda/group.h"

enum {
    VECTOR_INPUTS = 8,  /* more dense inputs than this, and a vector of them would not fit into registers */
    SHARED_FLOATS = 48, /* a thread's part of shared memory                                              */
    SERIAL = 16,        /* as few places: one thread adds them                                           */
    COLUMNS = 32,       /* of a block at most: neighbours that make full memory transactions             */
    MIN_RUN = 8,        /* places a lane adds, at least, where the sum is cut                            */
    BLOCKS = 528        /* wanted: a few for every multiprocessor of a large device                      */
};

static bool joins(const gd__cu_part *p, int a, int b) {
    for (int i = 0; i < p->n_inputs; i++)
        if (p->input[i].step[a] != p->space.dim[b] * p->input[i].step[b]) return false;
    return p->space.keep[a] == p->space.keep[b];
}

static void move_dim(gd__cu_part *p, int from, int to, bool join) {
    gd__cu_space *s = &p->space;
    s->dim[to] = join ? s->dim[to] * s->dim[from] : s->dim[from];
    s->keep[to] = s->keep[from];
    for (int i = 0; i < p->n_inputs; i++)
        if (!join) p->input[i].step[to] = p->input[i].step[from];
}

/* From the last dimension to the first: joined to the one behind it, or moved next to it. */
static void coalesce(gd__cu_part *p) {
    int to = GD__CU_DIMS;
    for (int d = GD__CU_DIMS - 1; d >= 0; d--) {
        if (p->space.dim[d] == 1) continue;
        bool join = to < GD__CU_DIMS && joins(p, d, to);
        if (!join) to--;
        if (join || to != d) move_dim(p, d, to, join);
    }
    for (int d = 0; d < to && d < GD__CU_DIMS; d++) {
        p->space.dim[d] = 1;
        p->space.keep[d] = true;
        for (int i = 0; i < p->n_inputs; i++) p->input[i].step[d] = 0;
    }
}

/* ---- vectors ---- */

static bool divides(const gd__cu_part *p, int vector) {
    if (p->space.dim[GD__CU_LAST] % vector) return false;
    for (int i = 0; i < p->n_inputs; i++)
        for (int d = 0; p->input[i].step[GD__CU_LAST] && d < GD__CU_LAST; d++)
            if (p->input[i].step[d] % vector) return false;
    return true;
}

static void choose_vector(gd__cu_part *p) {
    bool half = false, kept = p->space.keep[GD__CU_LAST];
    int dense = 0;
    for (int i = 0; i < p->n_inputs; i++) {
        dense += p->input[i].step[GD__CU_LAST] != 0;
        half |= p->input[i].dense && p->input[i].dtype != GD_F32;
    }
    for (int i = 0; i < p->n_outputs; i++) half |= gd_graph_at(p->v->graph, p->output[i])->dtype != GD_F32;
    int most = dense > VECTOR_INPUTS ? 1 : half && dense <= VECTOR_INPUTS / 2 ? 8 : 4;
    while (kept && most > 1 && most * p->n_sums > SHARED_FLOATS) most = most == 8 ? 4 : 1;
    if (most == 8 && !divides(p, 8)) most = 4;
    if (most == 4 && !divides(p, 4)) most = 1;
    p->space.vector = most;
    p->space.width = kept ? most : 1;
}

/* ---- tiles ---- */

static int power_up(int64_t n, int most) {
    int p = 1;
    while (p < n && p < most) p *= 2;
    return p;
}

static int power_down(int64_t n, int most) {
    int p = 1;
    while (2 * p <= n && p < most) p *= 2;
    return p;
}

void gd__cu_tile(gd__cu_space *s, bool sums) {
    s->lanes_together = !s->keep[GD__CU_LAST];
    s->columns = GD__CU_THREADS;
    s->chunks = 1;
    if (sums && s->summed > SERIAL)
        s->columns =
            s->lanes_together ? GD__CU_THREADS / power_down(s->summed, GD__CU_THREADS) : power_up(s->kept, COLUMNS);
    s->lanes = GD__CU_THREADS / s->columns;
    if (s->lanes == 1) return;
    int64_t most = s->summed / s->lanes / MIN_RUN,
            wanted = gd__cu_divide_up(BLOCKS, gd__cu_divide_up(s->kept, s->columns));
    s->chunks = wanted < most ? wanted : most < 1 ? 1 : most;
}

void gd__cu_layout(const gd_graph *g, gd_shape shape, uint32_t axes, gd__cu_part *p) {
    gd__cu_space *s = &p->space;
    int64_t own[GD__CU_DIMS];
    int shift = GD__CU_DIMS - shape.rank;
    gd__right_align(shape, s->dim);
    for (int d = 0; d < GD__CU_DIMS; d++) s->keep[d] = d < shift || !(axes >> (d - shift) & 1);
    for (int i = 0; i < p->n_inputs; i++) {
        gd__right_align(gd_node_shape(g, p->input[i].node), own);
        p->input[i].dense = !memcmp(own, s->dim, sizeof own);
        gd__broadcast_steps(own, p->input[i].step);
    }
    coalesce(p);
    choose_vector(p);
    s->kept = s->summed = 1;
    for (int d = 0; d < GD__CU_DIMS; d++) {
        int64_t n = d == GD__CU_LAST ? s->dim[d] / s->vector : s->dim[d];
        if (s->keep[d]) s->kept *= n;
        else s->summed *= n;
    }
    s->wide = gd_shape_count(shape) >= INT32_MAX;
    gd__cu_tile(s, p->n_sums > 0);
}
