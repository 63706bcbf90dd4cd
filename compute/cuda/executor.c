/* compute/cuda/executor.c -- see executor.h. */
#include "compute/cuda/executor.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/cuda/heavy.h"
#include "compute/cuda/kernel.h"

enum { RING = 16, STAGES = 2, STAGE_BYTES = 4 << 20, NOTES = 32, NOTE_BYTES = 4 << 10 };
_Static_assert(sizeof(gd_kernel_run) == sizeof(gd_run_args) &&
                   offsetof(gd_kernel_run, step) == offsetof(gd_run_args, step) &&
                   offsetof(gd_kernel_run, sample) == offsetof(gd_run_args, sample),
               "kernels read gd_run_args as it is");

typedef struct stage { /* pinned memory on the way between the host and the device */
    void *at, *event;  /* when its copy is done */
    bool used;
} stage;

static struct context {
    gd__cu_device *device;
    gd__dnn_math f32_math;
    void *stream;
    stage stage[STAGES], note[NOTES]; /* notes: for what is small, so that the host need not wait for steps before it */
    int next_note;
} here;

static gd_status (*before_wait)(void *stream, void *event);
void gd__cu_before_waits(gd_status (*look)(void *stream, void *event)) { before_wait = look; }

gd_status gd__cu_wait_event(void *event) {
    bool done = false;
    GD_TRY(here.device->event_done(here.device, event, &done));
    if (done) return GD_OK;
    if (before_wait) GD_TRY(before_wait(here.stream, event));
    return here.device->event_sync(here.device, event);
}

/* Before memory of steps goes. What they failed with has been told, or will be, to whoever waits for results. */
static void let_finish(void) {
    if (gd__cu_finish() != GD_OK) gd_error_clear();
    (void)here.device->stream_sync(here.device, here.stream);
}

typedef struct gd__cu_program {
    gd_arena *arena;
    gd__cu_kernels kernels;
    void **function; /* per kernel */
    gd__cu_step *step;
    gd__cu_heavy **heavy; /* per step, or NULL */
    int n_steps, most_args;
    void **arg; /* of one launch */
    gd__cu_access *access;
    gd_run_args *slot; /* pinned ring of keys */
    void *event[RING]; /* when a slot has been copied */
    bool used[RING];
    int next;
    void *run;        /* the device's copy */
    gd_run_args last; /* what it holds */
    bool held, any;
} gd__cu_program;

/* ---- making ---- */

static void release(void *opaque) {
    gd__cu_program *x = opaque;
    gd__cu_device *d = here.device;
    if (!x) return;
    /* What still runs may use it; that a device which failed cannot free is told by whoever uses it next. */
    let_finish();
    for (int s = 0; x->heavy && s < x->n_steps; s++)
        if (x->heavy[s] && x->heavy[s]->plan) (void)d->plan_free(d, x->heavy[s]->plan);
    for (int i = 0; i < RING; i++)
        if (x->event[i]) (void)d->event_free(d, x->event[i]);
    (void)d->free(d, x->slot);
    (void)d->free(d, x->run);
    gd__cu_kernels_free(&x->kernels);
    gd_arena_free(x->arena);
    free(x);
}

static bool is_heavy(const gd_view *v, int s) {
    return gd_op_class_of(gd_graph_at(v->graph, v->step_nodes[v->steps[s].first_node])->op) == GD_CLASS_HEAVY;
}

static void see_args(gd__cu_program *x, const gd__cu_step *s) {
    for (int i = 0; i < s->n_launches; i++)
        if (s->launch[i].n_args > x->most_args) x->most_args = s->launch[i].n_args;
}

static gd_status make_step(gd__cu_program *x, const gd_view *v, int s, size_t *scratch) {
    if (!is_heavy(v, s)) {
        GD_TRY(gd__cu_emit(v, s, x->arena, &x->kernels, &x->step[s]));
        see_args(x, &x->step[s]);
        *scratch = x->step[s].scratch_bytes;
        return GD_OK;
    }
    gd__cu_heavy *h = gd_arena_alloc(x->arena, sizeof *h);
    if (!h) GD_FAIL(NOMEM, "cuda: no memory for step %d", s);
    x->heavy[s] = h;
    GD_TRY(gd__cu_make_heavy(v, s, here.device, here.f32_math, x->arena, &x->kernels, h));
    see_args(x, &h->before);
    see_args(x, &h->after);
    *scratch = h->scratch_bytes;
    return GD_OK;
}

static gd_status load_kernels(gd__cu_program *x) {
    size_t n = (size_t)x->kernels.n + 1, args = (size_t)x->most_args + 4;
    x->function = gd_arena_alloc(x->arena, n * sizeof *x->function);
    x->arg = gd_arena_alloc(x->arena, args * sizeof *x->arg);
    x->access = gd_arena_alloc(x->arena, args * sizeof *x->access);
    if (!x->function || !x->arg || !x->access) GD_FAIL(NOMEM, "cuda: no memory for %zu kernels", n);
    for (int i = 0; i < x->kernels.n; i++) GD_TRY(here.device->load(here.device, &x->kernels.list[i], &x->function[i]));
    return GD_OK;
}

static gd_status make_keys(gd__cu_program *x) {
    gd__cu_device *d = here.device;
    void *slot;
    GD_TRY(d->alloc(d, sizeof(gd_run_args), &x->run));
    GD_TRY(d->alloc_host(d, RING * sizeof *x->slot, &slot));
    x->slot = slot;
    for (int i = 0; i < RING; i++) GD_TRY(d->event_new(d, &x->event[i]));
    return GD_OK;
}

static gd_status make(gd__cu_program *x, const gd_view *v, size_t *scratch) {
    size_t n = (size_t)v->n_steps + 1;
    x->step = gd_arena_alloc(x->arena, n * sizeof *x->step);
    x->heavy = gd_arena_alloc(x->arena, n * sizeof *x->heavy);
    if (!x->step || !x->heavy) GD_FAIL(NOMEM, "cuda: no memory for %zu steps", n);
    x->n_steps = v->n_steps;
    for (int s = 0; s < v->n_steps; s++) GD_TRY(make_step(x, v, s, &scratch[s]));
    GD_TRY(load_kernels(x));
    return make_keys(x);
}

static gd_status prepare(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **out) {
    gd__cu_program *x = calloc(1, sizeof *x);
    if (!x || !(x->arena = gd_arena_new())) {
        free(x);
        GD_FAIL(NOMEM, "cuda: no memory for a program");
    }
    gd_status st = make(x, v, scratch);
    if (st != GD_OK) {
        release(x);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *shared_bytes = sizeof *x + gd_arena_used(x->arena);
    *out = x;
    return GD_OK;
}

/* ---- running ---- */

gd_status gd__cu_program_keys(gd__cu_program *x, const gd_run_args *a) {
    gd__cu_device *d = here.device;
    int i = x->next;
    if (x->any && !memcmp(&x->last, a, sizeof *a)) return GD_OK;
    if (x->used[i]) GD_TRY(gd__cu_wait_event(x->event[i]));
    GD_TRY(d->host(d, &x->slot[i], sizeof x->slot[i], true));
    x->slot[i] = *a;
    GD_TRY(d->copy(d, here.stream, x->run, &x->slot[i], sizeof *a));
    GD_TRY(d->event_record(d, x->event[i], here.stream));
    x->used[i] = true;
    x->next = (i + 1) % RING;
    x->last = *a;
    x->any = true;
    return GD_OK;
}

void gd__cu_program_hold_keys(gd__cu_program *x, bool hold) { x->held = hold; }

static void resolve(const gd__cu_program *x, const gd_view *v, const gd__cu_arg *a, const gd_memory *m, void **arg,
                    gd__cu_access *access) {
    size_t bytes = a->bytes;
    if (a->kind == GD__CU_RUN) *arg = x->run, bytes = sizeof(gd_run_args);
    else if (a->kind == GD__CU_SCRATCH) *arg = (char *)m->scratch + a->offset;
    else {
        const gd_node_info *n = gd_graph_at(v->graph, a->node);
        *arg = m->node[a->node];
        bytes = (size_t)gd_shape_count(n->shape) * gd_dtype_bytes(n->dtype);
    }
    *access = (gd__cu_access){*arg, bytes, a->written};
}

static gd_status run_launches(gd__cu_program *x, const gd_view *v, const gd__cu_step *s, const gd_memory *m) {
    gd__cu_device *d = here.device;
    for (int i = 0; i < s->n_launches; i++) {
        const gd__cu_launch *l = &s->launch[i];
        for (int k = 0; k < l->n_args; k++) resolve(x, v, &l->arg[k], m, &x->arg[k], &x->access[k]);
        if (l->same_is_done && x->arg[0] == x->arg[1]) continue;
        GD_TRY(d->launch(d, here.stream, x->function[l->kernel], l->grid, l->n_args, x->arg, x->access));
    }
    return GD_OK;
}

static gd_status run_heavy(gd__cu_program *x, const gd_view *v, const gd__cu_heavy *h, const gd_memory *m) {
    gd__cu_device *d = here.device;
    GD_TRY(run_launches(x, v, &h->before, m));
    for (int i = 0; i < 4; i++) {
        resolve(x, v, &h->arg[i], m, &x->arg[i], &x->access[i]);
        x->access[i].bytes = h->bytes[i];
    }
    if (!h->bytes[3]) x->arg[3] = NULL;
    GD_TRY(d->convolve(d, here.stream, h->plan, x->arg, x->access));
    return run_launches(x, v, &h->after, m);
}

static gd_status run(void *opaque, const gd_view *v, int s, const gd_memory *m) {
    gd__cu_program *x = opaque;
    if (!x->held) GD_TRY(gd__cu_program_keys(x, m->args));
    return x->heavy[s] ? run_heavy(x, v, x->heavy[s], m) : run_launches(x, v, &x->step[s], m);
}

static const char *describe_step(void *opaque, const gd_view *v, int s) {
    static const char *const text[] = {"cudnn f32", "cudnn tf32", "cudnn bf16", "cudnn bf16-f32"};
    const gd__cu_program *x = opaque;
    (void)v;
    return x->heavy[s] ? text[x->heavy[s]->conv.math + x->heavy[s]->conv.wide] : x->step[s].text;
}

/* ---- the table ---- */

static size_t element_bytes(gd_dtype t) { return gd_dtype_bytes(t); }

static bool supports(const gd_graph *g, gd_node n, char *why, size_t room) {
    bool heavy = gd_op_class_of(gd_graph_at(g, n)->op) == GD_CLASS_HEAVY;
    return heavy ? gd__cu_heavy_supports(g, n, why, room) : gd__cu_supports(g, n, why, room);
}

static gd_status alloc(size_t bytes, void **out) { return here.device->alloc(here.device, bytes, out); }

/* Nothing that is on the stream uses it any more then. */
static void free_memory(void *memory) {
    if (!memory) return;
    let_finish();
    (void)here.device->free(here.device, memory);
}

static gd_status copy(void *opaque, void *to, const void *from, size_t bytes) {
    (void)opaque;
    return here.device->copy(here.device, here.stream, to, from, bytes);
}

/* ---- between the host and the device: piece by piece through pinned memory, one piece copied while the next is filled ---- */

static size_t piece_of(size_t bytes, size_t at) { return bytes - at < STAGE_BYTES ? bytes - at : STAGE_BYTES; }

static stage *stage_of(size_t piece) { return &here.stage[piece % STAGES]; }

/* When its last copy is done. */
static gd_status wait_for(const stage *s) { return s->used ? gd__cu_wait_event(s->event) : GD_OK; }

static gd_status copy_through(stage *s, void *to, const void *from, size_t bytes) {
    GD_TRY(here.device->copy(here.device, here.stream, to, from, bytes));
    GD_TRY(here.device->event_record(here.device, s->event, here.stream));
    s->used = true;
    return GD_OK;
}

static gd_status put_piece(stage *s, void *to, const void *host, size_t bytes) {
    GD_TRY(wait_for(s));
    GD_TRY(here.device->host(here.device, s->at, bytes, true));
    memcpy(s->at, host, bytes);
    return copy_through(s, to, s->at, bytes);
}

static gd_status put_note(void *to, const void *host, size_t bytes) {
    stage *s = &here.note[here.next_note];
    here.next_note = (here.next_note + 1) % NOTES;
    return put_piece(s, to, host, bytes);
}

gd_status gd__cu_put(void *to, const void *host, size_t bytes) {
    if (bytes && bytes <= NOTE_BYTES) return put_note(to, host, bytes);
    for (size_t at = 0, k = 0; at < bytes; at += STAGE_BYTES, k++)
        GD_TRY(put_piece(stage_of(k), (char *)to + at, (const char *)host + at, piece_of(bytes, at)));
    return GD_OK;
}

static gd_status fetch(const char *from, size_t bytes, size_t k) {
    stage *s = stage_of(k);
    size_t at = k * STAGE_BYTES;
    if (at >= bytes) return GD_OK;
    GD_TRY(wait_for(s));
    return copy_through(s, s->at, from + at, piece_of(bytes, at));
}

gd_status gd__cu_get(void *host, const void *from, size_t bytes) {
    GD_TRY(fetch(from, bytes, 0));
    for (size_t at = 0, k = 0; at < bytes; at += STAGE_BYTES, k++) {
        stage *s = stage_of(k);
        size_t n = piece_of(bytes, at);
        GD_TRY(fetch(from, bytes, k + 1));
        GD_TRY(wait_for(s));
        GD_TRY(here.device->host(here.device, s->at, n, false));
        memcpy((char *)host + at, s->at, n);
    }
    return GD_OK;
}

/* ---- replay.c as the table has it ---- */

static gd_status replay_new(const gd_program *p, gd_instance *i, void **out) {
    gd__cu_replay *r;
    GD_TRY(gd__cu_replay_new(p, i, &r));
    *out = r;
    return GD_OK;
}

static gd_status replay_start(void *r, const gd_run_args *a, gd_pause *pause) {
    return gd__cu_replay_start(r, a, pause);
}

static gd_status replay_resume(void *r, gd_pause *pause) { return gd__cu_replay_resume(r, pause); }

/* What a device that failed cannot free is told by whoever uses it next. */
static void replay_free(void *r) {
    if (gd__cu_replay_free(r) != GD_OK) gd_error_clear();
}

/* ---- opening ---- */

static gd_status open_stages(gd__cu_device *d) {
    for (int i = 0; i < STAGES; i++) {
        GD_TRY(d->alloc_host(d, STAGE_BYTES, &here.stage[i].at));
        GD_TRY(d->event_new(d, &here.stage[i].event));
    }
    for (int i = 0; i < NOTES; i++) {
        GD_TRY(d->alloc_host(d, NOTE_BYTES, &here.note[i].at));
        GD_TRY(d->event_new(d, &here.note[i].event));
    }
    return GD_OK;
}

static gd_status open_here(gd__cu_device *d, gd__dnn_math f32_math) {
    here.device = d;
    here.f32_math = f32_math;
    GD_TRY(d->stream_new(d, false, &here.stream));
    return open_stages(d);
}

gd_status gd__cu_executor_open(gd__cu_device *d, gd__dnn_math f32_math, const gd_executor **out) {
    static const gd_executor cuda = {
        .name = "cuda",
        .fuses = true,
        .element_bytes = element_bytes,
        .supports = supports,
        .prepare = prepare,
        .run = run,
        .release = release,
        .describe_step = describe_step,
        .alloc = alloc,
        .free = free_memory,
        .copy = copy,
        .put = gd__cu_put,
        .get = gd__cu_get,
        .pinned_bytes = (size_t)STAGES * STAGE_BYTES + (size_t)NOTES * NOTE_BYTES,
        .update = gd__cu_update,
        .get_later = gd__cu_get_later,
        .take = gd__cu_take,
        .keep = gd__cu_keep_statistics,
        .squares = gd__cu_sum_squares,
        .average = gd__cu_move_average,
        .images_out = gd__cu_images_out,
        .images_in = gd__cu_images_in,
        .room = gd__cu_room,
        .pin = gd__cu_pin,
        .unpin = gd__cu_unpin,
        .feed_new = gd__cu_feed_new,
        .feed_send = gd__cu_feed_send,
        .feed_sent = gd__cu_feed_sent,
        .feed_take = gd__cu_feed_take,
        .feed_free = gd__cu_feed_free,
        .replay_new = replay_new,
        .replay_start = replay_start,
        .replay_resume = replay_resume,
        .replay_free = replay_free,
    };
    gd_error why;
    if (here.device) GD_FAIL(INTERNAL, "cuda: there is a device already");
    gd_status st = open_here(d, f32_math);
    if (st != GD_OK) {
        gd_error_save(st, &why);
        if (gd__cu_executor_close() != GD_OK) gd_error_clear(); /* the first error is the one that matters */
        return gd_error_restore(&why);
    }
    *out = &cuda;
    return GD_OK;
}

static gd_status close_stages(gd__cu_device *d, stage *list, int n) {
    gd_status st = GD_OK, gone;
    for (int i = 0; i < n; i++) {
        gone = list[i].event ? d->event_free(d, list[i].event) : GD_OK;
        if (st == GD_OK) st = gone;
        gone = d->free(d, list[i].at);
        if (st == GD_OK) st = gone;
    }
    return st;
}

gd_status gd__cu_executor_close(void) {
    struct context was = here;
    gd__cu_device *d = was.device;
    here = (struct context){0};
    gd_status st = was.stream ? d->stream_sync(d, was.stream) : GD_OK;
    const gd_status gone[] = {gd__cu_update_close(d),
                              gd__cu_images_close(d),
                              gd__cu_later_close(d),
                              close_stages(d, was.stage, STAGES),
                              close_stages(d, was.note, NOTES),
                              was.stream ? d->stream_free(d, was.stream) : GD_OK};
    for (size_t i = 0; i < sizeof gone / sizeof *gone && st == GD_OK; i++) st = gone[i];
    return st;
}

void *gd__cu_stream(void) { return here.stream; }
gd__cu_device *gd__cu_get_device(void) { return here.device; }
gd_status gd__cu_finish(void) {
    if (before_wait) GD_TRY(before_wait(here.stream, NULL));
    return here.device->stream_sync(here.device, here.stream);
}
