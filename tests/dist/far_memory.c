/* tests/dist/far_memory.c -- see far_memory.h. */
#include "far_memory.h"

#include "far_feed.h"

#include "dist/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 30, ALIGN = 256 };

static struct {
    char *at;
    size_t used;
    int live, open, tickets;
    far_counts counts;
} far;

/* ---- memory ---- */

static gd_status reach(bool on) {
    far.open += on ? 1 : -1;
    if (far.open > (on ? 1 : 0) || !far.used) return GD_OK;
    if (mprotect(far.at, far.used, on ? PROT_READ | PROT_WRITE : PROT_NONE))
        GD_FAIL(INTERNAL, "far: mprotect of %zu bytes", far.used);
    return GD_OK;
}

static gd_status alloc(size_t bytes, void **out) {
    size_t whole = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!far.at) {
        far.at = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (far.at == MAP_FAILED) GD_FAIL(NOMEM, "far: no address space");
    }
    if (whole > ROOM - far.used) GD_FAIL(NOMEM, "far: no memory for %zu bytes", bytes);
    *out = far.at + far.used;
    far.used += whole;
    far.counts.asked += (int64_t)bytes;
    far.live++;
    GD_TRY(reach(true));
    memset(*out, 0xFF, whole); /* nobody may rely on zeros */
    return reach(false);
}

static void release(void *memory) {
    if (!memory) return;
    if (--far.live) return;
    if (munmap(far.at, ROOM)) abort();
    far.at = NULL;
    far.used = 0;
}

static bool is_far(const void *at) { return (const char *)at >= far.at && (const char *)at < far.at + far.used; }

static gd_status move(void *to, const void *from, size_t bytes, bool to_far, bool from_far) {
    if (is_far(to) != to_far || is_far(from) != from_far) GD_FAIL(INTERNAL, "far: copy between the wrong memories");
    GD_TRY(reach(true));
    memcpy(to, from, bytes);
    return reach(false);
}

static gd_status copy(void *state, void *to, const void *from, size_t bytes) {
    (void)state;
    return move(to, from, bytes, true, true);
}

static gd_status put(void *to, const void *host, size_t bytes) {
    far.counts.put += (int64_t)bytes;
    return move(to, host, bytes, true, false);
}

static gd_status get(void *host, const void *from, size_t bytes) {
    far.counts.got += (int64_t)bytes;
    return move(host, from, bytes, false, true);
}

/* ---- steps ---- */

static gd_status run(void *state, const gd_view *v, int s, const gd_memory *m) {
    for (gd_node n = 0; n < gd_graph_count(v->graph); n++)
        if (m->node[n] && !is_far(m->node[n]))
            GD_FAIL(INTERNAL, "far: %s is on the host", gd_graph_at(v->graph, n)->name);
    if (m->scratch && !is_far(m->scratch)) GD_FAIL(INTERNAL, "far: scratch is on the host");
    GD_TRY(reach(true));
    gd_status st = gd_executor_cpu()->run(state, v, s, m);
    GD_TRY(reach(false));
    return st;
}

/* ---- the optimiser: the host's ---- */

/* As dist/update.c has it, on such memory. */
static double scale_of(const gd_update *u, const float *g, double *norm) {
    double *block = malloc((u->count / GD_SQUARES_BLOCK + 1) * sizeof *block);
    size_t n = u->sums ? u->n_sums : (u->count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK;
    if (!block) abort();
    if (!u->sums) gd_square_sums(g, 0, u->count, block);
    *norm = sqrt(gd_sum_blocks(u->sums ? u->sums : block, n));
    free(block);
    double scale = u->clip_norm > 0 && *norm > u->clip_norm ? u->clip_norm / *norm : 1;
    float f = (float)(*norm * scale);
    if ((u->rule == GD_UPDATE_ADAM || u->rule == GD_UPDATE_RMSPROP) && !isfinite(f * f)) *norm = INFINITY;
    return scale;
}

static void make_update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average,
                        double *norm) {
    static const gd_optimizer_kind kind[] = {GD_ADAM, GD_RMSPROP, GD_SGD, GD_SGD};
    float scale = norm ? (float)scale_of(u, g, norm) : u->scale;
    const gd_optimizer_numbers n = {u->rate, scale,    u->decay, u->clip,  u->eps,  u->b1,      u->rest1,
                                    u->b2,   u->rest2, u->root2, u->alpha, u->rest, u->momentum};
    bool two = u->rule == GD_UPDATE_ADAM;
    if (norm && !isfinite(*norm)) return;
    gd_optimizer_apply(kind[u->rule], &n, u->count, p, g, two ? m : v, two ? v : NULL);
    for (size_t i = 0; average && i < u->count; i++) average[i] = u->average * average[i] + (1 - u->average) * p[i];
}

static gd_status update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average,
                        double *norm) {
    bool two = u->rule == GD_UPDATE_ADAM;
    const void *const all[] = {p, g, m, v, average, norm, u->sums};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && !is_far(all[i])) GD_FAIL(INTERNAL, "far: an array of the update is on the host");
    if (!u->count && !u->sums) GD_FAIL(INTERNAL, "far: an update of nothing");
    if (u->count) far.counts.updates++;
    else m = v = NULL;
    if (u->count && (two != (m != NULL) || (u->rule != GD_UPDATE_SGD) != (v != NULL)))
        GD_FAIL(INTERNAL, "far: other moments");
    GD_TRY(reach(true));
    make_update(u, p, g, m, v, average, norm);
    return reach(false);
}

static gd_status keep(float *x, const float *before, float *average, size_t count, float decay, double *kept) {
    if (!is_far(x) || !is_far(before) || !is_far(kept) || (average && !is_far(average)))
        GD_FAIL(INTERNAL, "far: statistics are on the host");
    GD_TRY(reach(true));
    *kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) x[i] = before[i], ++*kept;
        if (average) average[i] = decay * average[i] + (1 - decay) * x[i];
    }
    return reach(false);
}

static gd_status squares(const float *x, size_t first, size_t last, double *sums) {
    if (!is_far(x) || !is_far(sums)) GD_FAIL(INTERNAL, "far: squares are on the host");
    GD_TRY(reach(true));
    gd_square_sums(x, first, last, sums);
    return reach(false);
}

static gd_status move_average(float *to, const float *x, size_t count, float decay, const double *norm) {
    if (!is_far(to) || !is_far(x) || (norm && !is_far(norm))) GD_FAIL(INTERNAL, "far: an average is on the host");
    GD_TRY(reach(true));
    bool made = !norm || isfinite(*norm);
    for (size_t i = 0; made && i < count; i++) to[i] = decay * to[i] + (1 - decay) * x[i];
    return reach(false);
}

/* ---- what is read later ---- */

typedef struct reading {
    size_t bytes;
    char data[];
} reading;

static gd_status get_later(const void *from, size_t bytes, void **ticket) {
    reading *r = malloc(sizeof *r + bytes);
    if (!r) GD_FAIL(NOMEM, "far: no memory");
    r->bytes = bytes;
    *ticket = r;
    far.counts.later++;
    far.tickets++;
    return move(r->data, from, bytes, false, true);
}

static gd_status take(void *ticket, void *host) {
    reading *r = ticket;
    if (host && is_far(host)) GD_FAIL(INTERNAL, "far: a reading goes to the wrong memory");
    if (host) memcpy(host, r->data, r->bytes);
    free(r);
    far.tickets--;
    return GD_OK;
}

/* ---- image pools ---- */

static gd_status images_out(const gd_images *u, const int32_t *which, size_t n, float *out) {
    if (!is_far(u->made) || !is_far(u->pool) || !is_far(out) || is_far(which))
        GD_FAIL(INTERNAL, "far: images are in the wrong memory");
    GD_TRY(reach(true));
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)which[i] % GD_IMAGE_PLACE;
        const float *from = which[i] >= GD_IMAGE_PLACE ? u->pool : u->made;
        if (k >= (from == u->pool ? u->places : u->count))
            GD_FAIL(INTERNAL, "far: there is no image %d", (int)which[i]);
        memcpy(out + i * u->floats, from + k * u->floats, u->floats * sizeof *out);
    }
    return reach(false);
}

static gd_status images_in(const gd_images *u, const int32_t *place, float *refused) {
    if (!is_far(u->made) || !is_far(u->pool) || !is_far(refused) || is_far(place))
        GD_FAIL(INTERNAL, "far: images are in the wrong memory");
    far.counts.turns++;
    GD_TRY(reach(true));
    for (size_t i = 0; i < u->count; i++) {
        const float *image = u->made + i * u->floats;
        bool bad = false;
        for (size_t k = 0; k < u->floats && place[i] >= 0; k++) bad |= !isfinite(image[k]);
        refused[i] = bad;
        if (place[i] >= (int32_t)u->places) GD_FAIL(INTERNAL, "far: there is no place %d", (int)place[i]);
        if (place[i] < 0 || bad) continue;
        memcpy(u->pool + (size_t)place[i] * u->floats, image, u->floats * sizeof *image);
    }
    return reach(false);
}

int far_tickets(void) { return far.tickets; }

/* ---- replay: the instance, started by another name ---- */

static gd_status replay_new(const gd_program *p, gd_instance *i, void **replay) {
    (void)p;
    *replay = i;
    return GD_OK;
}

static gd_status replay_start(void *replay, const gd_run_args *a, gd_pause *pause) {
    far.counts.replays++;
    return gd_instance_start(replay, a, pause);
}

static gd_status replay_resume(void *replay, gd_pause *pause) { return gd_instance_resume(replay, pause); }
static void replay_free(void *replay) { (void)replay; }

/* ---- sums over ranks ---- */

struct gd_exchange {
    int rank, size;
    float *data; /* of the round under way */
    size_t count;
    float *before; /* of what is final */
    bool *final;
    uint64_t rounds[2]; /* begun, and the sum of their counts */
    bool late;          /* the last round that ended will never be over */
    size_t *slice;      /* borders; NULL: sums are of all */
};

static gd_comm *exchange_comm;
static int fail_round, fail_among, open_exchanges;
static bool fail_begin;
bool far_aborted;

void far_fail_round(int round, bool begin) {
    fail_round = round;
    fail_begin = begin;
}

void far_fail_sum(int sum) { fail_among = sum; }
int far_open_exchanges(void) { return open_exchanges; }

static gd_status make_id(unsigned char id[GD_EXCHANGE_ID]) {
    memset(id, 42, GD_EXCHANGE_ID);
    return GD_OK;
}

static gd_status open_exchange(const gd_exchange_opts *o, gd_exchange **out) {
    for (int i = 0; i < GD_EXCHANGE_ID; i++)
        if (o->id[i] != 42) GD_FAIL(USAGE, "far: this is no id of rank 0");
    *out = calloc(1, sizeof **out);
    if (!*out) GD_FAIL(NOMEM, "far: no memory");
    (*out)->rank = o->rank;
    (*out)->size = o->size;
    size_t bytes = ((size_t)o->size + 1) * sizeof *o->slice;
    (*out)->slice = o->slice ? malloc(bytes) : NULL;
    if ((*out)->slice) memcpy((*out)->slice, o->slice, bytes);
    open_exchanges++;
    return GD_OK;
}

static gd_status exchange_alloc(gd_exchange *x, size_t bytes, void **out) {
    (void)x;
    GD_TRY(alloc(bytes, out));
    far.live--; /* its mirror is not freed */
    return GD_OK;
}

static gd_status begin_round(gd_exchange *x, float *data, size_t count) {
    if (x->data || !is_far(data)) GD_FAIL(INTERNAL, "far: a round begins in another, or on the host");
    if (fail_round && fail_begin && !--fail_round) GD_FAIL(NCCL, "far: this round was told to fail");
    x->before = malloc(count * sizeof *data + 1);
    x->final = calloc(count + 1, sizeof *x->final);
    if (!x->before || !x->final) GD_FAIL(NOMEM, "far: no memory");
    x->data = data;
    x->count = count;
    x->rounds[0]++;
    x->rounds[1] += count;
    far.counts.rounds++;
    return GD_OK;
}

static gd_status ready(gd_exchange *x, size_t first, size_t last) {
    if (!x->data || first > last || last > x->count) GD_FAIL(INTERNAL, "far: no such gradients, or no round");
    far.counts.early += (int64_t)(last - first);
    for (size_t i = first; i < last; i++) {
        if (x->final[i]) GD_FAIL(INTERNAL, "far: a gradient is ready twice");
        x->final[i] = true;
    }
    return move(x->before + first, x->data + first, (last - first) * sizeof *x->data, false, true);
}

static gd_status all_ready(gd_exchange *x) {
    if (!x->data) GD_FAIL(INTERNAL, "far: no round is under way");
    for (size_t i = 0, j; i < x->count; i = j) {
        for (j = i; j < x->count && x->final[j] == x->final[i]; j++) continue;
        if (!x->final[i]) GD_TRY(move(x->before + i, x->data + i, (j - i) * sizeof *x->data, false, true));
        if (!x->final[i]) memset(x->final + i, true, j - i);
    }
    return GD_OK;
}

static bool all_final(const gd_exchange *x) {
    for (size_t i = 0; i < x->count; i++)
        if (!x->final[i]) return false;
    return true;
}

static gd_status end_round(gd_exchange *x) {
    float *data = x->data, *sum = malloc(x->count * sizeof *sum + 1);
    size_t bytes = x->count * sizeof *data;
    if (!data || !sum || !all_final(x)) GD_FAIL(INTERNAL, "far: no round is under way, or gradients are missing");
    x->data = NULL;
    gd_status st = move(sum, data, bytes, false, true);
    if (st == GD_OK && memcmp(sum, x->before, bytes) != 0)
        st = gd_raise(GD_INTERNAL, __FILE__, __LINE__, "far: gradients were touched");
    if (fail_round && !fail_begin && !--fail_round) x->late = true;
    if (st == GD_OK) st = gd_comm_sum_f32(exchange_comm, sum, x->count);
    size_t first = x->slice ? x->slice[x->rank] : 0, last = x->slice ? x->slice[x->rank + 1] : x->count;
    if (st == GD_OK) st = move(data + first, sum + first, (last - first) * sizeof *data, true, false);
    free(x->before);
    free(x->final);
    free(sum);
    x->before = NULL;
    x->final = NULL;
    return st;
}

/* What others' parts were is of no use to anybody. */
static gd_status share(gd_exchange *x, float *data, const size_t *border) {
    size_t all = border[x->size] - border[0];
    float *whole = malloc(all * sizeof *whole + 1);
    if (!whole || x->data || !is_far(data)) GD_FAIL(INTERNAL, "far: parts are shared in a round, or on the host");
    far.counts.shares++;
    for (size_t i = 0; i < all; i++) whole[i] = NAN;
    size_t own = border[x->rank] - border[0], n = border[x->rank + 1] - border[x->rank];
    gd_status st = move(whole + own, data + border[x->rank], n * sizeof *data, false, true);
    for (int r = 0; r < x->size && st == GD_OK; r++)
        st = gd_comm_bcast(exchange_comm, r, whole + (border[r] - border[0]),
                           (border[r + 1] - border[r]) * sizeof *whole);
    if (st == GD_OK) st = move(data + border[0], whole, all * sizeof *data, true, false);
    free(whole);
    return st;
}

static gd_status settle(gd_exchange *x, double *waited) {
    *waited = 0;
    if (x->late) GD_FAIL(TIMEOUT, "far: this round was told to fail");
    return GD_OK;
}

/* ---- sums among the steps ---- */

static gd_status begin_among(gd_exchange *x, const void *at) {
    if (x->data || !is_far(at)) GD_FAIL(INTERNAL, "far: a sum among the steps in the midst of a round, or on the host");
    if (fail_among && !--fail_among) GD_FAIL(NCCL, "far: this sum was told to fail");
    far.counts.among++;
    return GD_OK;
}

static gd_status sum_among(gd_exchange *x, float *data, size_t count) {
    GD_TRY(begin_among(x, data));
    x->rounds[0]++;
    x->rounds[1] += count;
    if (!count) return GD_OK; /* it is asked for, all the same */
    float *sum = malloc(count * sizeof *sum + 1);
    if (!sum) GD_FAIL(NOMEM, "far: no memory");
    gd_status st = move(sum, data, count * sizeof *sum, false, true);
    const float *part = sum;
    if (st == GD_OK) st = gd_comm_sum_parts_f32(exchange_comm, &part, 1, count, sum);
    if (st == GD_OK) st = move(data, sum, count * sizeof *sum, true, false);
    free(sum);
    return st;
}

static gd_status gather_among(gd_exchange *x, const void *part, size_t bytes, void *all) {
    GD_TRY(begin_among(x, part));
    char *mine = malloc(bytes + 1), *out = malloc(bytes * (size_t)x->size + 1);
    x->rounds[1] += bytes;
    gd_status st = mine && out ? GD_OK : GD_NOMEM;
    if (st == GD_OK) st = move(mine, part, bytes, false, true);
    if (st == GD_OK) st = gd_comm_allgather(exchange_comm, mine, bytes, out);
    if (st == GD_OK) st = move(all, out, bytes * (size_t)x->size, true, false);
    free(mine);
    free(out);
    return st;
}

static void exchange_journal(const gd_exchange *x, gd_exchange_journal *out) {
    memset(out, 0, sizeof *out);
    memcpy(out->bytes, x->rounds, sizeof x->rounds);
}

static bool exchange_same(const gd_exchange_journal *of_rank, int ranks, char *text, size_t room) {
    for (int r = 1; r < ranks; r++) {
        if (!memcmp(of_rank, &of_rank[r], sizeof *of_rank)) continue;
        snprintf(text, room, "rank %d summed something else", r);
        return false;
    }
    return true;
}

static gd_status close_exchange(gd_exchange *x, bool abort) {
    far_aborted = abort;
    if (x && x->data && !abort) GD_FAIL(INTERNAL, "far: an exchange is closed in the middle of a round");
    open_exchanges -= x != NULL;
    if (x) free(x->before), free(x->final), free(x->slice);
    free(x);
    return GD_OK;
}

const gd_exchanges *far_exchanges(gd_comm *c) {
    static const gd_exchanges table = {make_id,   open_exchange,    exchange_alloc, begin_round,   ready,
                                       all_ready, end_round,        settle,         sum_among,     gather_among,
                                       share,     exchange_journal, exchange_same,  close_exchange};
    exchange_comm = c;
    return &table;
}

const gd_executor *far_executor(far_can can) {
    static gd_executor table[4];
    gd_executor *x = &table[can];
    *x = *gd_executor_cpu();
    x->name = "far";
    x->run = run;
    x->alloc = alloc;
    x->free = release;
    x->copy = copy;
    x->put = put;
    x->get = get;
    if (can & FAR_UPDATES) far_feed_add(x);
    if (can & FAR_UPDATES) {
        x->update = update;
        x->get_later = get_later;
        x->take = take;
        x->keep = keep;
        x->squares = squares;
        x->average = move_average;
        x->images_out = images_out;
        x->images_in = images_in;
    }
    if (!(can & FAR_REPLAYS)) return x;
    x->replay_new = replay_new;
    x->replay_start = replay_start;
    x->replay_resume = replay_resume;
    x->replay_free = replay_free;
    return x;
}

far_counts far_take_counts(void) {
    far_counts c = far.counts;
    far.counts = (far_counts){0};
    return c;
}
