/* dist/checkpoint_layout.c -- tensors in memory order and in file order, and their hashes. */
#include <string.h>

#include "base/hash.h"
#include "dist/checkpoint_internal.h"

bool gd__layout_of(const gd_state_tensor *t, gd__layout *out) {
    int64_t stride[GD_RANK_MAX];
    bool seen[GD_RANK_MAX] = {false};
    int rank = t->shape.rank;
    if (rank < 0 || rank > GD_RANK_MAX) return false;
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; d--) {
        if (t->shape.dim[d] < 0) return false;
        stride[d] = step;
        step *= t->shape.dim[d];
    }
    *out = (gd__layout){.rank = rank, .plain = true};
    for (int i = 0; i < rank; i++) {
        int d = t->file_perm[i];
        if (d < 0 || d >= rank || seen[d]) return false;
        seen[d] = true;
        out->dim[i] = t->shape.dim[d];
        out->stride[i] = stride[d];
        out->plain = out->plain && d == i;
    }
    return true;
}

gd_shape gd__layout_file_shape(const gd__layout *l) {
    gd_shape s = {.rank = l->rank};
    memcpy(s.dim, l->dim, sizeof s.dim);
    return s;
}

/* A position in file order, with its place in memory. */
typedef struct walk {
    int64_t index[GD_RANK_MAX], at;
} walk;

static walk walk_to(const gd__layout *l, int64_t element) {
    walk w = {.at = 0};
    for (int i = l->rank - 1; i >= 0; i--) {
        w.index[i] = element % l->dim[i];
        element /= l->dim[i];
        w.at += w.index[i] * l->stride[i];
    }
    return w;
}

/* Behind the end of the last dimension: carry into the ones before. */
static void walk_carry(const gd__layout *l, walk *w) {
    for (int i = l->rank - 1; i > 0 && w->index[i] == l->dim[i]; i--) {
        w->at += l->stride[i - 1] - l->dim[i] * l->stride[i];
        w->index[i] = 0;
        w->index[i - 1]++;
    }
}

/* Dimensions that follow each other in memory as they do in the file are one. l->rank stays at least 2. */
static gd__layout merge(const gd__layout *l) {
    gd__layout m = *l;
    int last = 0;
    for (int i = 1; i < l->rank; i++) {
        bool one = m.stride[last] == l->dim[i] * l->stride[i] && (last > 0 || i < l->rank - 1);
        if (one) m.dim[last] *= l->dim[i];
        else m.dim[++last] = l->dim[i];
        m.stride[last] = l->stride[i];
    }
    m.rank = last + 1;
    return m;
}

/* A part of the last two file dimensions: whole rows, or a piece of one row. */
typedef struct patch {
    int64_t rows, columns, row_stride, stride;
    size_t count;
} patch;

static patch next_patch(const gd__layout *l, const walk *w, size_t n) {
    int last = l->rank - 1;
    int64_t columns = l->dim[last], left = columns - w->index[last];
    patch p = {.rows = 1, .row_stride = l->stride[last - 1], .stride = l->stride[last]};
    if (left < columns || (uint64_t)columns > n) {
        p.columns = (uint64_t)left < n ? left : (int64_t)n;
    } else {
        int64_t rows = l->dim[last - 1] - w->index[last - 1], room = (int64_t)(n / (size_t)columns);
        p.columns = columns;
        p.rows = rows < room ? rows : room;
    }
    p.count = (size_t)(p.rows * p.columns);
    return p;
}

static void walk_over(const gd__layout *l, walk *w, const patch *p) {
    int last = l->rank - 1;
    if (p->columns < l->dim[last]) {
        w->index[last] += p->columns;
        w->at += p->columns * p->stride;
    } else {
        w->index[last - 1] += p->rows;
        w->at += p->rows * p->row_stride;
        for (int i = last - 1; i > 0 && w->index[i] == l->dim[i]; i--) { /* behind the end: carry */
            w->at += l->stride[i - 1] - l->dim[i] * l->stride[i];
            w->index[i] = 0;
            w->index[i - 1]++;
        }
        return;
    }
    walk_carry(l, w);
}

/* Kernels are few numbers, so the number of columns is known in the usual cases: no loop is left of them then. */
static inline void gather_rows(const patch *p, int64_t columns, const float *from, float *out) {
    for (int64_t r = 0; r < p->rows; r++, from += p->row_stride, out += columns)
        for (int64_t c = 0; c < columns; c++) out[c] = from[c * p->stride];
}

static inline void scatter_rows(const patch *p, int64_t columns, const float *in, float *to) {
    for (int64_t r = 0; r < p->rows; r++, to += p->row_stride, in += columns)
        for (int64_t c = 0; c < columns; c++) to[c * p->stride] = in[c];
}

static void gather_patch(const patch *p, const float *from, float *out) {
    switch (p->columns) {
    case 9: gather_rows(p, 9, from, out); break;
    case 16: gather_rows(p, 16, from, out); break;
    default: gather_rows(p, p->columns, from, out);
    }
}

/* Rows that follow each other in memory: a column is written in one go, four numbers at a time. */
static inline void scatter_columns(const patch *p, int64_t columns, const float *in, float *to) {
    for (int64_t c = 0; c < columns; c++, in++, to += p->stride) {
        const float *from = in;
        int64_t r = 0;
        for (; r + 4 <= p->rows; r += 4, from += 4 * columns) {
            const float four[4] = {from[0], from[columns], from[2 * columns], from[3 * columns]};
            memcpy(to + r, four, sizeof four);
        }
        for (; r < p->rows; r++, from += columns) to[r] = *from;
    }
}

static inline void scatter_known(const patch *p, int64_t columns, const float *in, float *to) {
    if (p->row_stride == 1) scatter_columns(p, columns, in, to);
    else scatter_rows(p, columns, in, to);
}

static void scatter_patch(const patch *p, const float *in, float *to) {
    switch (p->columns) {
    case 9: scatter_known(p, 9, in, to); break;
    case 16: scatter_known(p, 16, in, to); break;
    default: scatter_known(p, p->columns, in, to);
    }
}

void gd__layout_gather(const gd__layout *whole, const float *memory, int64_t first, size_t n, float *out) {
    if (whole->plain) {
        memcpy(out, memory + first, n * sizeof *out);
        return;
    }
    const gd__layout l = merge(whole); /* not plain: the rank is 2 at least */
    walk w = walk_to(&l, first);
    while (n > 0) {
        const patch p = next_patch(&l, &w, n);
        gather_patch(&p, memory + w.at, out);
        out += p.count;
        n -= p.count;
        walk_over(&l, &w, &p);
    }
}

void gd__layout_scatter(const gd__layout *whole, const float *in, int64_t first, size_t n, float *memory) {
    if (whole->plain) {
        memcpy(memory + first, in, n * sizeof *in);
        return;
    }
    const gd__layout l = merge(whole);
    walk w = walk_to(&l, first);
    while (n > 0) {
        const patch p = next_patch(&l, &w, n);
        scatter_patch(&p, in, memory + w.at);
        in += p.count;
        n -= p.count;
        walk_over(&l, &w, &p);
    }
}

void gd__layout_scatter_part(const gd__layout *l, const float *in, int64_t first, size_t n, int64_t from, int64_t to,
                             float *part) {
    if (!n) return;
    walk w = walk_to(l, first);
    for (size_t k = 0; k < n; k++) {
        if (w.at >= from && w.at < to) part[w.at - from] = in[k];
        if (!l->rank) return; /* one number */
        w.index[l->rank - 1]++;
        w.at += l->stride[l->rank - 1];
        walk_carry(l, &w);
    }
}

/* ---- hashes ---- */

uint64_t gd__data_hash_add(uint64_t so_far, const float *piece, size_t n) {
    return gd_hash64(piece, n * sizeof *piece, so_far);
}

static uint64_t data_hash(const gd__layout *l, int64_t count, const float *data) {
    float piece[GD__PIECE];
    uint64_t hash = 0;
    for (int64_t at = 0; at < count; at += GD__PIECE) {
        size_t n = count - at < GD__PIECE ? (size_t)(count - at) : GD__PIECE;
        gd__layout_gather(l, data, at, n, piece);
        hash = gd__data_hash_add(hash, piece, n);
    }
    return hash;
}

static void put_u64(unsigned char *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(value >> 8 * i);
}

uint64_t gd__tensor_term(const char *name, gd_shape file_shape, uint64_t hash) {
    unsigned char words[8 * (GD_RANK_MAX + 2)];
    put_u64(words, (uint64_t)file_shape.rank);
    for (int i = 0; i < GD_RANK_MAX; i++)
        put_u64(words + 8 * (i + 1), i < file_shape.rank ? (uint64_t)file_shape.dim[i] : 0);
    put_u64(words + 8 * (GD_RANK_MAX + 1), hash);
    return gd_hash64(words, sizeof words, gd_hash64(name, strlen(name), 0));
}

uint64_t gd__counter_term(const gd_counters *c) {
    unsigned char words[8 * (3 + GD_GROUP_COUNT)];
    put_u64(words, (uint64_t)c->step);
    put_u64(words + 8, c->cursor);
    put_u64(words + 16, c->draws);
    for (int i = 0; i < GD_GROUP_COUNT; i++) put_u64(words + 24 + 8 * i, (uint64_t)c->updates[i]);
    uint64_t hash = gd_hash64(words, sizeof words, 1);
    if (c->rollbacks) {
        put_u64(words, (uint64_t)c->rollbacks);
        hash = gd_hash64(words, 8, hash);
    }
    if (c->skips) {
        put_u64(words, (uint64_t)c->skips);
        hash = gd_hash64(words, 8, hash + 1); /* not as that many rollbacks */
    }
    if (c->adaptive.d_steps == 0) return hash; /* nothing adapts */
    put_u64(words, (uint64_t)c->adaptive.d_steps);
    put_u64(words + 8, (uint64_t)c->adaptive.next);
    put_u64(words + 16, (uint64_t)c->adaptive.count);
    memcpy(words + 24, &c->adaptive.sum, sizeof c->adaptive.sum);
    return gd_hash64(words, 32, hash);
}

/* 0: no file order. Such a state cannot be saved: see gd_checkpoint_save. */
uint64_t gd_state_term(const gd_state_tensor *t, const float *data) {
    gd__layout l;
    if (!gd__layout_of(t, &l)) return 0;
    return gd__tensor_term(t->name, gd__layout_file_shape(&l), data_hash(&l, gd_shape_count(t->shape), data));
}

uint64_t gd_state_hash(const gd_state *s) {
    uint64_t sum = gd__counter_term(&s->counters);
    for (int i = 0; i < s->count; i++)
        if (!s->tensor[i].spread) sum += gd_state_term(&s->tensor[i], s->tensor[i].data);
    return sum;
}

/* All bits of the exponent are set in NaN and infinity alone, so they are the largest as numbers, too. */
bool gd__all_finite(const float *x, size_t n) {
    int32_t largest = 0;
#pragma omp simd reduction(max : largest)
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    return largest < 0x7f800000;
}
