/* compute/cpu/group_space.c -- from shapes to a grid of tiles. See group.h. */
#include <string.h>

#include "compute/align.h"
#include "compute/cpu/group.h"

enum {
    TILE = 1024, /* floats: some ten registers of this size fit into a first-level cache */
    SMALL_TILE = 512,
    MANY_MEMBERS = 12,
    TASKS = 64,  /* wanted for one group: what threads can share */
    MIN_RUN = 4, /* tiles of a run, at least, where a place is cut */
};
static const int64_t PARTIAL_LIMIT = 1 << 20; /* doubles of all accumulators together */

static bool joins(const gd__group *x, const int64_t dim[GD__DIMS], int a, int b) {
    for (int i = 0; i < x->n_inputs; i++)
        if (x->input[i].step[a] != dim[b] * x->input[i].step[b]) return false;
    for (int i = 0; i < x->n_sums; i++)
        if (x->sum[i].keep[a] != x->sum[i].keep[b]) return false;
    return true;
}

static void move_dim(gd__group *x, int64_t dim[GD__DIMS], int from, int to, bool join) {
    dim[to] = join ? dim[to] * dim[from] : dim[from];
    for (int i = 0; i < x->n_inputs; i++)
        if (!join) x->input[i].step[to] = x->input[i].step[from];
    for (int i = 0; i < x->n_sums; i++) x->sum[i].keep[to] = x->sum[i].keep[from];
}

static void clear_dim(gd__group *x, int64_t dim[GD__DIMS], int d) {
    dim[d] = 1;
    for (int i = 0; i < x->n_inputs; i++) x->input[i].step[d] = 0;
    for (int i = 0; i < x->n_sums; i++) x->sum[i].keep[d] = true;
}

/* From the last dimension to the first: joined to the one behind it, or moved next to it. */
static void coalesce(gd__group *x, int64_t dim[GD__DIMS]) {
    int to = GD__DIMS;
    for (int d = GD__DIMS - 1; d >= 0; d--) {
        if (dim[d] == 1) continue;
        bool join = to < GD__DIMS && joins(x, dim, d, to);
        if (!join) to--;
        if (join || to != d) move_dim(x, dim, d, to, join);
    }
    for (int d = 0; d < to && d < GD__DIMS; d++) clear_dim(x, dim, d);
}

/* ---- tiles ---- */

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static void make_tiles(gd__space *s, int members) {
    int64_t most = members > MANY_MEMBERS ? SMALL_TILE : TILE;
    int64_t columns = s->dim[GD__COLUMN], rows = s->dim[GD__ROW];
    for (int i = 0; i < GD__DIMS; i++) s->tile[i] = 1;
    if (columns > most) {
        int64_t parts = divide_up(columns, most);
        s->tile[GD__COLUMN] = (divide_up(columns, parts) + 63) / 64 * 64;
    } else {
        s->tile[GD__COLUMN] = columns;
        int64_t fit = most / columns;
        s->tile[GD__ROW] = rows < fit ? rows : fit;
    }
    for (int i = 0; i < GD__DIMS; i++) s->grid[i] = divide_up(s->dim[i], s->tile[i]);
}

static gd__feed feed_of(const gd__input *in, const gd__space *s) {
    bool many_rows = s->tile[GD__ROW] > 1;
    int64_t row = in->step[GD__ROW], column = in->step[GD__COLUMN];
    /* A space of one element: its inputs may share memory with outputs, which only DIRECT minds. */
    if (s->dim[GD__COLUMN] == 1) return in->dtype == GD_F32 ? GD__FEED_DIRECT : GD__FEED_CONVERT;
    if (column == 0) return many_rows && row != 0 ? GD__FEED_EXPAND : GD__FEED_NUMBER;
    if (many_rows && row == 0) return GD__FEED_REPEAT;
    return in->dtype == GD_F32 ? GD__FEED_DIRECT : GD__FEED_CONVERT;
}

/* ---- sums ---- */

static void free_axes(gd__group *x) {
    gd__space *s = &x->space;
    s->places = s->runs_tiles = 1;
    for (int d = 0; d < GD__DIMS; d++) {
        s->free[d] = true;
        for (int i = 0; i < x->n_sums; i++) s->free[d] = s->free[d] && x->sum[i].keep[d];
        if (s->free[d]) s->places *= s->grid[d];
        else s->runs_tiles *= s->grid[d];
    }
}

static void layout_sum(gd__group *x, gd__sum *m) {
    const gd__space *s = &x->space;
    int64_t out = 1, acc = 1;
    for (int d = GD__DIMS - 1; d >= 0; d--) {
        m->extent[d] = !m->keep[d] ? 1 : s->free[d] ? s->tile[d] : s->dim[d];
        m->acc_step[d] = m->keep[d] ? acc : 0;
        m->step[d] = m->keep[d] ? out : 0;
        acc *= m->extent[d];
        if (m->keep[d]) out *= s->dim[d];
    }
    m->acc_at = x->acc_count;
    m->acc_count = acc;
    x->acc_count += acc;
}

static void make_chunks(gd__group *x) {
    gd__space *s = &x->space;
    int64_t wanted = divide_up(TASKS, s->places), most = s->runs_tiles / MIN_RUN;
    if (wanted > most) wanted = most;
    if (x->acc_count && wanted > PARTIAL_LIMIT / (x->acc_count * s->places))
        wanted = PARTIAL_LIMIT / (x->acc_count * s->places);
    s->chunks = wanted < 1 ? 1 : wanted;
}

void gd__group_layout(const gd_graph *g, gd_shape shape, int members, gd__group *x) {
    int64_t own[GD__DIMS];
    int shift = GD__DIMS - shape.rank;
    for (int i = 0; i < x->n_inputs; i++) {
        gd__right_align(gd_node_shape(g, x->input[i].node), own);
        gd__broadcast_steps(own, x->input[i].step);
    }
    for (int i = 0; i < x->n_sums; i++)
        for (int d = 0; d < GD__DIMS; d++) x->sum[i].keep[d] = d < shift || !(x->sum[i].axes >> (d - shift) & 1);
    gd__right_align(shape, x->space.dim);
    coalesce(x, x->space.dim);
    make_tiles(&x->space, members);
    for (int i = 0; i < x->n_inputs; i++) x->input[i].feed = feed_of(&x->input[i], &x->space);
    free_axes(x);
    for (int i = 0; i < x->n_sums; i++) layout_sum(x, &x->sum[i]);
    make_chunks(x);
}
