/* tests/dist/far_memory.c -- see far_memory.h. */
#include "far_memory.h"

#include "dist/optimizer.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 256 << 20, ALIGN = 256 };

static struct {
    char *at;
    size_t used;
    int live, open;
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

static gd_status update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average) {
    static const gd_optimizer_kind kind[] = {GD_ADAM, GD_RMSPROP, GD_SGD, GD_SGD};
    const gd_optimizer_numbers n = {u->rate, u->scale, u->decay, u->clip,  u->eps,  u->b1,      u->rest1,
                                    u->b2,   u->rest2, u->root2, u->alpha, u->rest, u->momentum};
    bool two = u->rule == GD_UPDATE_ADAM;
    const void *const all[] = {p, g, m, v, average};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && !is_far(all[i])) GD_FAIL(INTERNAL, "far: an array of the update is on the host");
    if (two != (m != NULL) || (u->rule != GD_UPDATE_SGD) != (v != NULL)) GD_FAIL(INTERNAL, "far: other moments");
    far.counts.updates++;
    GD_TRY(reach(true));
    gd_optimizer_apply(kind[u->rule], &n, u->count, p, g, two ? m : v, two ? v : NULL);
    for (size_t i = 0; average && i < u->count; i++) average[i] = u->average * average[i] + (1 - u->average) * p[i];
    return reach(false);
}

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
    if (can & FAR_UPDATES) x->update = update;
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
