/* compute/cpu/amx.c -- planning and threading of amx.h.
 *
 * Forward and data pass. By band, where rows of the result fill tiles: the weights are packed once, then a thread
 * takes a band of rows, copies those under it with their padding, and multiplies 16 pixels of a row, which lie evenly
 * spaced under each tap, by all panels of weights. By block, elsewhere: a thread takes a block of pixels and gathers
 * what lies under each of them. By panel, few pixels (batch 1): all are gathered once, and a thread takes panels of
 * weights, which it packs and uses at once. How work is shared changes no sum.
 * Weight pass: dy is turned once; a thread takes a block of columns r s c and a piece of the pixels. */
#include "compute/cpu/amx.h"

#include <omp.h>
#include <string.h>

enum {
    A_BYTES = 1 << 20,       /* gathered rows of one thread, in its cache beside a panel */
    MAX_BLOCK = 256,         /* rows of them                                             */
    LEAST_PART = 16,         /* steps of the depth that are gathered together            */
    PANEL_A_BYTES = 2 << 20, /* all gathered rows, by panel                              */
    SUM_BYTES = 512 << 10,   /* of a task of the weight pass: a block of columns         */
    PACKED_BYTES = 1 << 20,  /* what it gathers together                                 */
    MAX_CHUNKS = 32,         /* of pixels in it                                          */
    MAX_COLUMNS = 1024,
    TASKS = 8,              /* of the weight pass, at least, while ...                  */
    LEAST_CHUNKS = 16,      /* ... each has so many chunks                              */
    BAND_BYTES = 512 << 10, /* of input rows                                            */
    C_FLOATS = AMX_WIDE * AMX_WIDE
};

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Elements of a gathered row: halves lie behind each other. */
static int64_t row_of(const gd__amx *x, int64_t steps) { return x->halves * steps * AMX_DEPTH; }

/* From one to the next: rows a power of two apart would share cache sets. */
static int64_t pitch_of(const gd__amx *x, int64_t steps) {
    return row_of(x, steps) + (x->halves * steps % 2 ? 0 : AMX_DEPTH);
}

/* From a high half to its low one in rows of so many steps. */
static int64_t rest_of(const gd__amx *x, int64_t steps) { return x->halves > 1 ? steps * AMX_DEPTH : 0; }

/* Bytes of the tiles of a panel's step. */
static int64_t step_bytes(const gd__amx *x) { return x->halves * AMX_STEP; }

/* ---- plan ---- */

static void plan_forward(gd__amx *x) {
    const gd_dnnl_conv *c = &x->shape;
    x->phases = 1;
    x->step = 1, x->out_h = c->p, x->out_w = c->q, x->columns = c->k;
    x->phase[0].map = (gd__amx_map){.h = c->h,
                                    .w = c->w,
                                    .c = c->c,
                                    .r = c->r,
                                    .s = c->s,
                                    .step = c->stride,
                                    .top = -c->pad[0],
                                    .left = -c->pad[2],
                                    .p = c->p,
                                    .q = c->q};
}

/* Rows of dx whose taps are a, a + stride, ...: the first of them, how many they are, how many taps they see, and the
 * row of dy under the first and the last of those taps. */
static int64_t side_of(const gd_dnnl_conv *c, int a, int64_t size, int64_t pad, int64_t kernel, int64_t *first,
                       int64_t *taps, int64_t *under) {
    *first = ((a - pad) % c->stride + c->stride) % c->stride;
    *taps = kernel > a ? up(kernel - a, c->stride) : 0;
    *under = (*first + pad) / c->stride - *taps + 1;
    return *first < size ? (size - 1 - *first) / c->stride + 1 : 0;
}

static void plan_data(gd__amx *x) {
    const gd_dnnl_conv *c = &x->shape;
    x->step = c->stride, x->out_h = c->h, x->out_w = c->w, x->columns = c->c;
    for (int a = 0; a < c->stride; a++)
        for (int b = 0; b < c->stride; b++) {
            gd__amx_phase *f = &x->phase[x->phases];
            gd__amx_map *m = &f->map;
            *m = (gd__amx_map){.h = c->p, .w = c->q, .c = c->k, .step = 1};
            m->p = side_of(c, a, c->h, c->pad[0], c->r, &f->top, &m->r, &m->top);
            m->q = side_of(c, b, c->w, c->pad[2], c->s, &f->left, &m->s, &m->left);
            f->tap_h = a, f->tap_w = b;
            x->phases += m->p > 0 && m->q > 0;
        }
}

/* The largest block that leaves every thread two, and so much of the depth that it stays in the cache: each block reads all
 * packed panels, which do not. */
static void plan_block(const gd__amx *x, gd__amx_phase *f) {
    int64_t share = up(f->pixels * x->phases, 2 * x->threads), step = x->halves * AMX_DEPTH * 2;
    f->block = most(least(share, MAX_BLOCK) / AMX_WIDE, 1) * AMX_WIDE;
    f->part = most(least(A_BYTES / (f->block * step), f->steps), LEAST_PART);
    if (f->steps) f->part = up(f->steps, up(f->steps, f->part)); /* all about as long */
    f->blocks = up(f->pixels, f->block);
}

static size_t a_bytes(const gd__amx *x, int64_t rows, int64_t steps) {
    return (size_t)(up(rows, AMX_WIDE) * AMX_WIDE * pitch_of(x, steps)) * 2;
}

/* Sums of a block that wait for the next part. */
static size_t sums_bytes(const gd__amx *x, const gd__amx_phase *f) {
    return f->part < f->steps ? (size_t)(f->block * x->panels * AMX_WIDE) * sizeof(float) : 0;
}

static size_t panel_bytes(const gd__amx *x, const gd__amx_phase *f) { return (size_t)(f->steps * step_bytes(x)); }

/* Whether tiles of 16 pixels of a row do, or nearly: the last one of a row may overlap the one before. */
static bool rows_fit(const gd__amx *x) {
    for (const gd__amx_phase *f = x->phase; f < x->phase + x->phases; f++) {
        int64_t q = f->map.q;
        if (q < AMX_ROWS || 4 * up(q, AMX_ROWS) * AMX_ROWS > 5 * q || f->map.s * f->map.c % AMX_DEPTH) return false;
    }
    return true;
}

/* Steps of a row of a band, and elements from one to the next. */
static int64_t band_steps(const gd__amx *x) { return up(x->band.s * x->band.c, AMX_DEPTH); }
static int64_t band_pitch(const gd__amx *x) { return row_of(x, band_steps(x)); }

/* The rows under all phases, and where each phase's first pixel lies among them. */
static void plan_band(gd__amx *x) {
    const gd__amx_map *one = &x->phase[0].map;
    int64_t bottom = 0, right = 0, rows = 0, reach = 0;
    gd__amx_map *b = &x->band;
    *b = (gd__amx_map){
        .h = one->h, .w = one->w, .c = one->c, .r = 1, .step = 1, .q = 1, .top = one->top, .left = one->left};
    for (const gd__amx_phase *f = x->phase; f < x->phase + x->phases; f++) {
        b->top = least(b->top, f->map.top);
        b->left = least(b->left, f->map.left);
    }
    for (const gd__amx_phase *f = x->phase; f < x->phase + x->phases; f++) {
        const gd__amx_map *m = &f->map;
        rows = most(rows, m->p);
        reach = most(reach, m->top + m->r - b->top);
        bottom = most(bottom, m->top + (m->p - 1) * m->step + m->r);
        right = most(right, m->left + (m->q - 1) * m->step + m->s);
    }
    b->p = bottom - b->top;
    b->s = right - b->left;
    x->band_reach = reach;
    int64_t fit = BAND_BYTES / (b->s * b->c * 2 * x->halves * one->step), share = up(rows * x->shape.n, 2 * x->threads);
    x->band_rows = most(least(least(fit, rows), share), 1);
    x->bands = up(rows, x->band_rows);
    for (gd__amx_phase *f = x->phase; f < x->phase + x->phases; f++)
        f->a_at = (size_t)((f->map.top - b->top) * band_pitch(x) + (f->map.left - b->left) * b->c) * 2;
}

static int64_t band_inputs(const gd__amx *x) { return (x->band_rows - 1) * x->phase[0].map.step + x->band_reach; }

static void plan_products(gd__amx *x) {
    size_t a = 0, b = 0, block = 0, panel = 0, rows = 0;
    x->panels = up(x->columns, AMX_WIDE);
    for (gd__amx_phase *f = x->phase; f < x->phase + x->phases; f++) {
        f->pixels = x->shape.n * f->map.p * f->map.q;
        f->depth = f->map.r * f->map.s * f->map.c;
        f->steps = up(f->depth, AMX_DEPTH);
        plan_block(x, f);
        f->a_at = a;
        f->b_at = b;
        a += a_bytes(x, f->pixels, f->steps);
        b += (size_t)x->panels * panel_bytes(x, f);
        size_t own = a_bytes(x, f->block, f->part) + sums_bytes(x, f);
        if (own > block) block = own;
        if (panel_bytes(x, f) > panel) panel = panel_bytes(x, f);
        if ((size_t)f->block > rows) rows = (size_t)f->block;
    }
    x->by_panel = a <= PANEL_A_BYTES && a <= b && x->panels > 1;
    x->by_band = !x->by_panel && rows_fit(x);
    if (x->by_band) {
        plan_band(x);
        block = gd__align64((size_t)(band_inputs(x) * band_pitch(x)) * 2);
    }
    if (x->by_panel || x->by_band) rows = AMX_WIDE;
    x->shared_bytes = x->by_panel ? a : b;
    x->own_bytes = C_FLOATS * sizeof(float) + rows * sizeof(int64_t) + (x->by_panel ? panel : block);
}

/* Weight pass: from one gathered row to the next, and the memory of a chunk of them and of panels of them. */
static int64_t row_pitch(const gd__amx *x) { return x->halves * x->wide + AMX_DEPTH; }
static int64_t rows_bytes(const gd__amx *x) { return AMX_DEPTH * row_pitch(x) * 2; }
static int64_t packed_bytes(const gd__amx *x) { return x->deep * (x->wide / AMX_WIDE) * step_bytes(x); }

static void plan_weights(gd__amx *x) {
    const gd_dnnl_conv *c = &x->shape;
    plan_forward(x);
    gd__amx_phase *f = &x->phase[0];
    f->pixels = c->n * c->p * c->q;
    f->depth = c->r * c->s * c->c;
    x->chunks = up(f->pixels, AMX_DEPTH);
    x->filter_panels = up(c->k, AMX_WIDE);
    /* Every block reads all of dy, and its share of x: the wider, the less. */
    int64_t widest = least(up(f->depth, AMX_WIDE) * AMX_WIDE, MAX_COLUMNS),
            fit = SUM_BYTES / (x->filter_panels * C_FLOATS * (int64_t)sizeof(float)) * AMX_WIDE;
    x->wide = most(least(fit, widest), AMX_WIDE);
    x->deep = least(PACKED_BYTES / (x->wide * AMX_DEPTH * 2 * x->halves), MAX_CHUNKS);
    x->column_blocks = up(f->depth, x->wide);
    x->pieces = most(least(up(TASKS, x->column_blocks), x->chunks / LEAST_CHUNKS), 1);
    size_t turned = (size_t)(x->filter_panels * x->chunks * step_bytes(x));
    size_t sums = (size_t)(x->filter_panels * (x->wide / AMX_WIDE) * C_FLOATS) * sizeof(float);
    x->parts_at = turned;
    x->shared_bytes = turned + (x->pieces > 1 ? (size_t)(x->pieces * x->column_blocks) * sums : 0);
    x->own_bytes =
        C_FLOATS * sizeof(float) + (size_t)rows_bytes(x) + (size_t)packed_bytes(x) + (x->pieces > 1 ? 0 : sums);
}

bool gd__amx_plan(const gd_dnnl_conv *c, int threads, gd__amx *out) {
    memset(out, 0, sizeof *out);
    out->kernels = gd__amx_usable();
    if (!out->kernels || c->stride > AMX_MAX_STRIDE) return false;
    out->shape = *c;
    out->halves = c->in_type == GD_BF16 ? 1 : 2;
    out->bytes = (int)gd_dtype_bytes(c->in_type);
    out->threads = threads;
    if (c->pass == GD_DNNL_BACKWARD_WEIGHTS) plan_weights(out);
    else {
        if (c->pass == GD_DNNL_FORWARD) plan_forward(out);
        else plan_data(out);
        plan_products(out);
    }
    out->own_bytes = gd__align64(out->own_bytes);
    out->scratch_bytes = out->shared_bytes + (size_t)threads * out->own_bytes;
    return true;
}

/* The rules, from tests/bench/ops.c.
 *
 * Halves: three products instead of one, where Winograd makes 2.6 times fewer of 4x4 with stride 2 (ahead by 1.3 to 3), 4 times fewer of
 * 3x3 with stride 1 (ahead only of few pixels and many channels, where Winograd's larger weights cost most), and 4 times of 4x4 with
 * stride 1. Few channels, and small maps of many, have kernels of their own. The batch is not asked: on any number of ranks it is one kind
 * that rounds operands, so that losses stay as near as sums of other orders are. */
static bool halves_pay(const gd__amx *x) {
    enum { FEW = 8, TINY = 16, SMALL = 64, SOME = 256, NOT_MANY = 1024, WIDE = 128, DEEP = 512 };
    const gd_dnnl_conv *c = &x->shape;
    int64_t map = c->p * c->q;
    bool square = c->stride == 1 && c->r == c->s, three = square && c->r == 3, four = square && c->r == 4;
    if (map < TINY || (map <= SMALL && c->c >= DEEP && c->k >= DEEP)) return false;
    if (c->pass == GD_DNNL_BACKWARD_WEIGHTS) return c->c > FEW && c->k > FEW && !three;
    if (four) return false;
    if (three) return map >= SOME && map <= NOT_MANY && c->c >= WIDE && c->k >= WIDE;
    if (c->pass == GD_DNNL_FORWARD) return c->c > FEW && c->k > 1;
    return c->k > FEW && (c->c > FEW || c->stride > 1);
}

/* bf16: of stride 1 and of the forward pass the library is slower only where the sums are long enough to pay for the tiles' way to
 * the result (by band), or where many columns share what is gathered. */
bool gd__amx_pays(const gd__amx *x) {
    enum { FEW = 8, SOME = 128, MANY = 256, LONG = 32, TOO_LONG = 256 };
    const gd_dnnl_conv *c = &x->shape;
    int64_t steps = x->phase[0].steps;
    if (c->p == 1 && c->q == 1 && (x->halves > 1 || c->pass != GD_DNNL_BACKWARD_WEIGHTS))
        return false; /* a plain product */
    if (x->halves > 1) return halves_pay(x);
    if (c->pass == GD_DNNL_BACKWARD_WEIGHTS) return c->k > FEW;
    if (c->pass == GD_DNNL_FORWARD) return c->c > FEW && (x->by_band ? steps >= LONG : x->columns >= MANY);
    if (c->stride > 1) return x->by_band || x->columns > FEW;
    return x->by_band ? steps >= LONG : x->columns >= SOME && steps < TOO_LONG;
}

/* ---- forward and data pass ---- */

typedef struct job {
    const gd__amx *x;
    const char *in, *w;
    char *out, *shared;
    float *c;    /* of this thread */
    int64_t *at; /* likewise       */
    char *own;   /* likewise       */
} job;

static bool to_bf16(const gd__amx *x) { return x->shape.out_type == GD_BF16; }

static int64_t columns_of(const gd__amx *x, int64_t panel) { return least(x->columns - panel * AMX_WIDE, AMX_WIDE); }

/* Row l of the data pass's packed matrix, from column on: filter l % k at one of the phase's taps, of which the last
 * comes first. NULL behind the last row. */
static const char *data_row(const gd__amx *x, const gd__amx_phase *f, const char *w, int64_t l, int64_t column) {
    const gd_dnnl_conv *c = &x->shape;
    if (l >= f->depth) return NULL;
    int64_t tap = l / c->k, r = f->tap_h + c->stride * (f->map.r - 1 - tap / f->map.s),
            s = f->tap_w + c->stride * (f->map.s - 1 - tap % f->map.s);
    return w + (((l % c->k * c->r + r) * c->s + s) * c->c + column) * x->bytes;
}

/* The halves of rows of f32 that are packed next, or bf16 as it lies. */
typedef struct taken {
    const uint16_t *half[2][AMX_DEPTH]; /* NULL: zeros */
    _Alignas(64) uint16_t room[2][AMX_DEPTH][AMX_DEPTH];
} taken;

/* n rows, NULL for zeros, of so many numbers that are read. */
static void take_rows(const gd__amx *x, const char *const *from, int64_t n, int64_t columns, taken *r) {
    for (int64_t i = 0; i < AMX_DEPTH; i++) {
        bool there = i < n && from[i];
        r->half[0][i] = there ? (const uint16_t *)(const void *)from[i] : NULL;
        if (x->halves == 1) continue;
        x->kernels->split((const float *)(const void *)from[there ? i : 0], there ? columns : 0, AMX_DEPTH,
                          r->room[0][i], r->room[1][i]);
        for (int h = 0; h < 2; h++) r->half[h][i] = there ? r->room[h][i] : NULL;
    }
}

/* One step of a panel of filters, which lie in rows. */
static void pack_filters(const gd__amx *x, const gd__amx_phase *f, const char *w, int64_t columns, int64_t step,
                         char *to) {
    const char *from[AMX_WIDE];
    int64_t at = step * AMX_DEPTH, deep = least(f->depth - at, AMX_DEPTH);
    taken r;
    for (int64_t i = 0; i < columns; i++) from[i] = w + (i * f->depth + at) * x->bytes;
    take_rows(x, from, columns, deep, &r);
    for (int h = 0; h < x->halves; h++)
        x->kernels->pack_across(r.room[h][0], AMX_DEPTH, columns, deep, to + h * AMX_STEP);
}

/* One step of a panel of taps, from column `first` on. */
static void pack_taps(const gd__amx *x, const gd__amx_phase *f, const char *w, int64_t first, int64_t columns,
                      int64_t step, char *to) {
    const char *from[AMX_DEPTH];
    taken r;
    for (int i = 0; i < AMX_DEPTH; i++) from[i] = data_row(x, f, w, step * AMX_DEPTH + i, first);
    take_rows(x, from, AMX_DEPTH, columns, &r);
    for (int h = 0; h < x->halves; h++) x->kernels->pack(r.half[h], columns, to + h * AMX_STEP);
}

static void pack_panel(const gd__amx *x, const gd__amx_phase *f, const char *w, int64_t panel, char *to) {
    int64_t first = panel * AMX_WIDE, columns = columns_of(x, panel);
    bool filters = x->shape.pass == GD_DNNL_FORWARD;
    const char *mine = w + first * f->depth * x->bytes;
    if (filters && x->halves == 1) {
        x->kernels->pack_across((const uint16_t *)(const void *)mine, f->depth, columns, f->depth, to);
        return;
    }
    for (int64_t step = 0; step < f->steps; step++, to += step_bytes(x)) {
        if (filters) pack_filters(x, f, mine, columns, step, to);
        else pack_taps(x, f, w, first, columns, step, to);
    }
}

/* Where pixels [first, first + count) of a phase lie in the result. */
static void place(const gd__amx *x, const gd__amx_phase *f, int64_t first, int64_t count, int64_t *at) {
    for (int64_t n = 0; n < count; n++) {
        int64_t j = (first + n) % f->map.q, i = (first + n) / f->map.q % f->map.p,
                image = (first + n) / f->map.q / f->map.p;
        at[n] = ((image * x->out_h + f->top + x->step * i) * x->out_w + f->left + x->step * j) * x->columns;
    }
}

static gd__amx_tiles panel_tiles(const gd__amx *x, const char *b, int64_t steps) {
    return (gd__amx_tiles){.at = b,
                           .pitch = AMX_TILE / AMX_ROWS,
                           .next = AMX_TILE,
                           .step = (size_t)step_bytes(x),
                           .jump = (size_t)(steps * step_bytes(x)),
                           .low = AMX_STEP};
}

static void product(const gd__amx *x, const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t runs, int64_t steps,
                    bool tall, bool wide, bool add, float *c) {
    x->kernels->product[x->halves - 1](a, b, runs, steps, tall, wide, add, c);
}

/* Columns [low, high) under some pixels; rows of so many steps, `pitch` elements apart. */
static void gather(const job *j, const gd__amx_map *m, int64_t first, int64_t count, int64_t low, int64_t high,
                   int64_t steps, int64_t pitch, uint16_t *out) {
    const gd__amx *x = j->x;
    x->kernels->gather[x->halves - 1](m, j->in, first, count, low, high, out, pitch, rest_of(x, steps));
}

/* A part of the depth of gathered rows and of a panel, and where sums are: those of AMX_WIDE rows, the next ones `next` on. */
typedef struct slice {
    const uint16_t *a;
    const char *b;
    int64_t steps, next;
    float *sums;
    bool first, last;
} slice;

/* Rows [0, count) by one panel. at: of those rows. */
static void multiply(const job *j, const slice *s, int64_t panel, int64_t count, const int64_t *at) {
    const gd__amx *x = j->x;
    int64_t pitch = pitch_of(x, s->steps), columns = columns_of(x, panel);
    char *out = j->out + panel * AMX_WIDE * (to_bf16(x) ? 2 : 4);
    gd__amx_tiles right = panel_tiles(x, s->b, 0);
    for (int64_t row = 0; row < count; row += AMX_WIDE) {
        int64_t rows = least(count - row, AMX_WIDE);
        float *c = s->sums + row / AMX_WIDE * s->next;
        gd__amx_tiles left = {.at = (const char *)(s->a + row * pitch),
                              .pitch = (size_t)pitch * 2,
                              .next = (size_t)pitch * 2 * AMX_ROWS,
                              .step = AMX_DEPTH * 2,
                              .low = (size_t)rest_of(x, s->steps) * 2};
        product(x, &left, &right, 1, s->steps, rows > AMX_ROWS, columns > AMX_ROWS, !s->first, c);
        if (s->last) x->kernels->put(c, rows, columns, at + row, to_bf16(x), out);
    }
}

static void pack_all(const job *j) {
    const gd__amx *x = j->x;
    for (int i = 0; i < x->phases; i++) {
        const gd__amx_phase *f = &x->phase[i];
#pragma omp for schedule(static) nowait
        for (int64_t panel = 0; panel < x->panels; panel++)
            pack_panel(x, f, j->w, panel, j->shared + f->b_at + (size_t)panel * panel_bytes(x, f));
    }
#pragma omp barrier
}

/* Steps [from, from + steps) of a block by all panels. */
static void multiply_part(const job *j, const gd__amx_phase *f, int64_t first, int64_t count, int64_t from,
                          int64_t steps) {
    const gd__amx *x = j->x;
    bool whole = f->part >= f->steps;
    float *sums = (float *)(void *)(j->own + a_bytes(x, f->block, f->part));
    slice s = {.a = (uint16_t *)(void *)j->own,
               .steps = steps,
               .next = whole ? 0 : C_FLOATS,
               .first = from == 0,
               .last = from + steps == f->steps};
    gather(j, &f->map, first, count, from * AMX_DEPTH, least((from + steps) * AMX_DEPTH, f->depth), steps,
           pitch_of(x, steps), (uint16_t *)(void *)j->own);
    for (int64_t panel = 0; panel < x->panels; panel++) {
        s.b = j->shared + f->b_at + (size_t)panel * panel_bytes(x, f) + from * step_bytes(x);
        s.sums = whole ? j->c : sums + panel * f->block * AMX_WIDE;
        multiply(j, &s, panel, count, j->at);
    }
}

static void run_blocks(const job *j) {
    const gd__amx *x = j->x;
    int64_t tasks = 0;
    for (int i = 0; i < x->phases; i++) tasks += x->phase[i].blocks;
    pack_all(j);
#pragma omp for schedule(dynamic, 1)
    for (int64_t t = 0; t < tasks; t++) {
        const gd__amx_phase *f = x->phase;
        int64_t block = t;
        for (; block >= f->blocks; f++) block -= f->blocks;
        int64_t first = block * f->block, count = least(f->pixels - first, f->block);
        place(x, f, first, count, j->at);
        int64_t from = 0; /* a phase without taps has one part, too */
        do multiply_part(j, f, first, count, from, least(f->steps - from, f->part));
        while ((from += f->part) < f->steps);
    }
}

/* Tile number t of the rows from `first` on: its place under the phase's first tap in the band, and in the result. */
static const char *tile_at(const job *j, const gd__amx_phase *f, int64_t image, int64_t first, int64_t t, int64_t *at) {
    const gd__amx *x = j->x;
    int64_t across = up(f->map.q, AMX_ROWS), row = t / across,
            column = least(t % across * AMX_ROWS, f->map.q - AMX_ROWS);
    int64_t out =
        ((image * x->out_h + f->top + x->step * (first + row)) * x->out_w + f->left + x->step * column) * x->columns;
    for (int i = 0; i < AMX_ROWS; i++) at[i] = out + i * x->step * x->columns;
    return j->own + f->a_at + (size_t)(f->map.step * (row * band_pitch(x) + column * x->band.c)) * 2;
}

/* Rows [first, first + rows) of an image of one phase. What lies under two tiles stays near while all panels pass. */
static void multiply_band(const job *j, const gd__amx_phase *f, int64_t image, int64_t first, int64_t rows) {
    const gd__amx *x = j->x;
    int64_t tiles = rows * up(f->map.q, AMX_ROWS), steps = f->map.s * f->map.c / AMX_DEPTH;
    for (int64_t t = 0; t < tiles; t += 2) {
        bool two = t + 1 < tiles;
        const char *one = tile_at(j, f, image, first, t, j->at),
                   *other = two ? tile_at(j, f, image, first, t + 1, j->at + AMX_ROWS) : one;
        gd__amx_tiles left = {.at = one,
                              .pitch = (size_t)(f->map.step * x->band.c) * 2,
                              .next = (size_t)(other - one),
                              .step = AMX_DEPTH * 2,
                              .jump = (size_t)band_pitch(x) * 2,
                              .low = (size_t)rest_of(x, band_steps(x)) * 2};
        for (int64_t panel = 0; panel < x->panels; panel++) {
            gd__amx_tiles right = panel_tiles(x, j->shared + f->b_at + (size_t)panel * panel_bytes(x, f), steps);
            int64_t columns = columns_of(x, panel);
            product(x, &left, &right, f->map.r, steps, two, columns > AMX_ROWS, false, j->c);
            x->kernels->put(j->c, two ? AMX_WIDE : AMX_ROWS, columns, j->at, to_bf16(x),
                            j->out + panel * AMX_WIDE * (to_bf16(x) ? 2 : 4));
        }
    }
}

static void run_bands(const job *j) {
    const gd__amx *x = j->x;
    pack_all(j);
#pragma omp for schedule(dynamic, 1)
    for (int64_t t = 0; t < x->shape.n * x->bands; t++) {
        int64_t image = t / x->bands, first = t % x->bands * x->band_rows, input = first * x->phase[0].map.step;
        gather(j, &x->band, image * x->band.p + input, least(band_inputs(x), x->band.p - input), 0,
               x->band.s * x->band.c, band_steps(x), band_pitch(x), (uint16_t *)(void *)j->own);
        for (int i = 0; i < x->phases; i++) {
            int64_t rows = least(x->phase[i].map.p - first, x->band_rows);
            if (rows > 0) multiply_band(j, &x->phase[i], image, first, rows);
        }
    }
}

static void run_panels(const job *j) {
    const gd__amx *x = j->x;
    for (int i = 0; i < x->phases; i++) {
        const gd__amx_phase *f = &x->phase[i];
        uint16_t *a = (uint16_t *)(void *)(j->shared + f->a_at);
        int64_t pitch = pitch_of(x, f->steps);
#pragma omp for schedule(static) nowait
        for (int64_t row = 0; row < f->pixels; row += AMX_ROWS)
            gather(j, &f->map, row, least(f->pixels - row, AMX_ROWS), 0, f->depth, f->steps, pitch, a + row * pitch);
    }
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
    for (int64_t t = 0; t < x->phases * x->panels; t++) {
        const gd__amx_phase *f = &x->phase[t / x->panels];
        const uint16_t *a = (const uint16_t *)(const void *)(j->shared + f->a_at);
        int64_t panel = t % x->panels;
        pack_panel(x, f, j->w, panel, j->own);
        for (int64_t row = 0; row < f->pixels; row += AMX_WIDE) {
            int64_t count = least(f->pixels - row, AMX_WIDE);
            place(x, f, row, count, j->at);
            const slice s = {a + row * pitch_of(x, f->steps), j->own, f->steps, 0, j->c, true, true};
            multiply(j, &s, panel, count, j->at);
        }
    }
}

/* ---- weight pass ---- */

static int64_t block_columns(const gd__amx *x, int64_t block) {
    return least(x->phase[0].depth - block * x->wide, x->wide);
}

/* Chunks [first, first + count) of what lies under the pixels, columns of one block, as panels. */
static void pack_chunks(const job *j, int64_t block, int64_t first, int64_t count, uint16_t *rows, char *b) {
    const gd__amx *x = j->x;
    const gd__amx_phase *f = &x->phase[0];
    int64_t columns = block_columns(x, block), low = block * x->wide, pitch = row_pitch(x);
    for (int64_t chunk = 0; chunk < count; chunk++) {
        int64_t pixel = (first + chunk) * AMX_DEPTH, pixels = least(f->pixels - pixel, AMX_DEPTH);
        gather(j, &f->map, pixel, pixels, low, low + columns, x->wide / AMX_DEPTH, pitch, rows);
        for (int64_t panel = 0; panel * AMX_WIDE < columns; panel++)
            for (int64_t half = 0; half < x->halves; half++) {
                const uint16_t *list[AMX_DEPTH], *from = rows + half * x->wide + panel * AMX_WIDE;
                for (int64_t i = 0; i < AMX_DEPTH; i++) list[i] = i < pixels ? from + i * pitch : NULL;
                x->kernels->pack(list, AMX_WIDE, b + (panel * x->deep + chunk) * step_bytes(x) + half * AMX_STEP);
            }
    }
}

/* Sums of one block of columns over a piece of the pixels: c [filter panel][panel] blocks. */
static void sum_piece(const job *j, int64_t block, int64_t piece, uint16_t *rows, char *b, float *c) {
    const gd__amx *x = j->x;
    int64_t start = piece * x->chunks / x->pieces, end = (piece + 1) * x->chunks / x->pieces;
    int64_t columns = block_columns(x, block);
    for (int64_t first = start; first < end; first += x->deep) {
        int64_t count = least(end - first, x->deep);
        pack_chunks(j, block, first, count, rows, b);
        for (int64_t filters = 0; filters < x->filter_panels; filters++) {
            gd__amx_tiles left = panel_tiles(x, j->shared + (filters * x->chunks + first) * step_bytes(x), 0);
            bool tall = x->shape.k - filters * AMX_WIDE > AMX_ROWS;
            for (int64_t at = 0; at < columns; at += AMX_WIDE) {
                gd__amx_tiles right = panel_tiles(x, b + at / AMX_WIDE * x->deep * step_bytes(x), 0);
                product(x, &left, &right, 1, count, tall, columns - at > AMX_ROWS, first > start,
                        c + (filters * (x->wide / AMX_WIDE) + at / AMX_WIDE) * C_FLOATS);
            }
        }
    }
}

/* A block of sums to dw. */
static void put_sums(const job *j, const float *c, int64_t filters, int64_t column) {
    const gd__amx *x = j->x;
    int64_t at[AMX_WIDE], depth = x->phase[0].depth, first = filters * AMX_WIDE,
                          rows = least(x->shape.k - first, AMX_WIDE);
    for (int64_t i = 0; i < rows; i++) at[i] = (first + i) * depth;
    x->kernels->put(c, rows, least(depth - column, AMX_WIDE), at, to_bf16(x), j->out + column * (to_bf16(x) ? 2 : 4));
}

/* AMX_DEPTH pixels of dy, AMX_WIDE filters from `first` on. */
static void turn_step(const gd__amx *x, const char *dy, int64_t pixels, int64_t filters, char *to) {
    int64_t k = x->shape.k;
    if (x->halves == 1) {
        x->kernels->turn((const uint16_t *)(const void *)dy, k, pixels, filters, to);
        return;
    }
    const char *from[AMX_DEPTH];
    taken r;
    for (int64_t i = 0; i < pixels; i++) from[i] = dy + i * k * x->bytes;
    take_rows(x, from, pixels, filters, &r);
    for (int h = 0; h < 2; h++) x->kernels->turn(r.room[h][0], AMX_DEPTH, pixels, filters, to + h * AMX_STEP);
}

static void turn_dy(const job *j) {
    const gd__amx *x = j->x;
    const gd_dnnl_conv *c = &x->shape;
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < x->chunks; chunk++)
        for (int64_t filters = 0; filters < x->filter_panels; filters++) {
            int64_t pixel = chunk * AMX_DEPTH, first = filters * AMX_WIDE;
            turn_step(x, j->w + (pixel * c->k + first) * x->bytes, least(x->phase[0].pixels - pixel, AMX_DEPTH),
                      least(c->k - first, AMX_WIDE), j->shared + (filters * x->chunks + chunk) * step_bytes(x));
        }
}

static void run_weights(const job *j) {
    const gd__amx *x = j->x;
    int64_t across = x->wide / AMX_WIDE, blocks = x->filter_panels * across, each = blocks * C_FLOATS;
    uint16_t *rows = (uint16_t *)(void *)j->own;
    char *b = j->own + rows_bytes(x);
    float *own = (float *)(void *)(b + packed_bytes(x)), *parts = (float *)(void *)(j->shared + x->parts_at);
    turn_dy(j);
#pragma omp for schedule(dynamic, 1)
    for (int64_t t = 0; t < x->pieces * x->column_blocks; t++) {
        int64_t block = t % x->column_blocks, columns = block_columns(x, block);
        float *c = x->pieces > 1 ? parts + t * each : own;
        sum_piece(j, block, t / x->column_blocks, rows, b, c);
        for (int64_t i = 0; i < blocks && x->pieces == 1; i++)
            if (i % across * AMX_WIDE < columns)
                put_sums(j, c + i * C_FLOATS, i / across, block * x->wide + i % across * AMX_WIDE);
    }
    if (x->pieces == 1) return;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < x->column_blocks * blocks; t++) {
        int64_t block = t / blocks, i = t % blocks, column = block * x->wide + i % across * AMX_WIDE;
        if (column >= x->phase[0].depth) continue;
        const float *part = parts + block * each + i * C_FLOATS;
        memcpy(j->c, part, C_FLOATS * sizeof *part);
        for (int64_t piece = 1; piece < x->pieces; piece++) {
            part += x->column_blocks * each;
            for (int k = 0; k < C_FLOATS; k++) j->c[k] += part[k];
        }
        put_sums(j, j->c, i / across, column);
    }
}

void gd__amx_run(const gd__amx *x, const void *a, const void *b, void *out, char *scratch) {
#pragma omp parallel num_threads(omp_get_max_threads() < x->threads ? omp_get_max_threads() : x->threads)
    {
        char *own = scratch + x->shared_bytes + (size_t)omp_get_thread_num() * x->own_bytes;
        job j = {.x = x, .in = a, .w = b, .out = out, .shared = scratch, .c = (float *)(void *)own};
        x->kernels->enter();
        j.own = own + C_FLOATS * sizeof(float);
        if (x->shape.pass == GD_DNNL_BACKWARD_WEIGHTS) run_weights(&j);
        else {
            int64_t rows = AMX_WIDE;
            for (int i = 0; i < x->phases && !x->by_panel && !x->by_band; i++) rows = most(rows, x->phase[i].block);
            j.at = (int64_t *)(void *)j.own;
            j.own += (size_t)rows * sizeof *j.at;
            if (x->by_panel) run_panels(&j);
            else if (x->by_band) run_bands(&j);
            else run_blocks(&j);
        }
        x->kernels->leave();
    }
}
