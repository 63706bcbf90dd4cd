/* compute/cuda/feed.c -- batches on their way to the device: gd_executor.feed_new and its like.
 *
 * Copies from pinned memory have a stream of their own, one for all feeds. A slot has two events: `sent`, its copy is done,
 * which takes and the host wait for; `taken`, the takes are, which the next copy waits for. One kernel gathers, cuts out and
 * mirrors. */
#include <stddef.h>
#include <stdlib.h>

#include "compute/cuda/executor.h"
#include "compute/cuda/kernel.h"

_Static_assert(sizeof(gd_kernel_pick) == sizeof(gd_pick) &&
                   offsetof(gd_kernel_pick, mirror) == offsetof(gd_pick, mirror) &&
                   offsetof(gd_kernel_pick, top) == offsetof(gd_pick, top),
               "kernels read gd_pick as it is");

enum { EACH = 4 /* bytes that a thread moves */, ARGS = 3 };

typedef struct slot {
    char *at;
    void *sent, *taken; /* events */
    bool was_sent, was_taken;
} slot;

typedef struct feed {
    gd_feed_opts o;
    gd__cu_kernels kernels;
    void *function;
    size_t bytes; /* of a slot */
    slot *slot;
} feed;

static struct {
    void *stream;
    int feeds;
} here;

/* ---- memory ---- */

gd_status gd__cu_room(size_t *bytes) {
    gd__cu_device *d = gd__cu_get_device();
    return d->room(d, bytes);
}

gd_status gd__cu_pin(size_t bytes, void **out) {
    gd__cu_device *d = gd__cu_get_device();
    return d->alloc_host(d, bytes, out);
}

/* What a device that failed cannot free is told by whoever uses it next. */
void gd__cu_unpin(void *memory) {
    gd__cu_device *d = gd__cu_get_device();
    if (memory && d->free(d, memory) != GD_OK) gd_error_clear();
}

/* ---- the kernel ---- */

static size_t sample_bytes(const gd_feed_opts *o) { return (size_t)o->height * o->width * o->pixel; }
static size_t taken_bytes(const gd_feed_opts *o) { return o->take * o->out_height * o->out_width * o->pixel; }

/* Byte i of the result belongs to pixel (y, x) of sample n. Neighbouring threads read and write neighbouring bytes. */
static void print_kernel(const gd_feed_opts *o, gd__cu_text *t) {
    const size_t total = taken_bytes(o);
    gd__cu_print(t,
                 "  const gd_kernel_pick *const pick = ARG(const gd_kernel_pick, 0);\n"
                 "  const u8 *const from = ARG(const u8, 1);\n  u8 *const out = ARG(u8, 2);\n"
                 "  PHASE {\n    const %s first = (%s)BX * %uu + TX * %uu;\n    gd_b4 v = {{0, 0, 0, 0}};\n    UNROLL\n"
                 "    for (u32 j = 0; j < %u; j++) {\n      const %s i = first + j, p = i / %zuu;\n"
                 "      if (i >= %zuu) continue;\n",
                 total >= INT32_MAX ? "u64" : "u32", total >= INT32_MAX ? "u64" : "u32", EACH * GD_THREADS, EACH, EACH,
                 total >= INT32_MAX ? "u64" : "u32", o->pixel, total);
    gd__cu_print(
        t,
        "      const u32 x = (u32)(p %% %uu), y = (u32)(p / %uu %% %uu);\n"
        "      const gd_kernel_pick k = pick[p / %zuu];\n"
        "      const u32 column = k.left + (k.mirror ? %uu - x : x);\n"
        "      v.v[j] = from[(((u64)k.index * %uu + k.top + y) * %uu + column) * %zuu + (u32)(i %% %zuu)];\n    }\n",
        o->out_width, o->out_width, o->out_height, (size_t)o->out_height * o->out_width, o->out_width - 1, o->height,
        o->width, o->pixel, o->pixel);
    gd__cu_print(t,
                 "    if (first + %u <= %zuu) *(gd_b4 *)(out + first) = v;\n"
                 "    else for (u32 j = 0; first + j < %zuu; j++) out[first + j] = v.v[j];\n  }\n",
                 EACH, total, total);
}

gd_status gd__cu_feed_kernel(const gd_feed_opts *o, gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    print_kernel(o, &t);
    gd_status st = gd__cu_kernels_add(k, ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

static gd_status load_kernel(gd__cu_device *d, feed *f) {
    int index;
    GD_TRY(gd__cu_feed_kernel(&f->o, &f->kernels, &index));
    return d->load(d, &f->kernels.list[index], &f->function);
}

/* ---- making ---- */

static gd_status make_slot(gd__cu_device *d, size_t bytes, slot *s) {
    void *at;
    GD_TRY(d->alloc(d, bytes, &at));
    s->at = at;
    GD_TRY(d->event_new(d, &s->sent));
    return d->event_new(d, &s->taken);
}

static gd_status make(gd__cu_device *d, feed *f) {
    f->bytes = (size_t)gd_pick_bytes(f->o.count) + (f->o.set ? 0 : f->o.count * sample_bytes(&f->o));
    f->slot = calloc((size_t)f->o.slots, sizeof *f->slot);
    if (!f->slot) GD_FAIL(NOMEM, "cuda: no memory for %d slots", f->o.slots);
    if (!here.stream) GD_TRY(d->stream_new(d, false, &here.stream));
    GD_TRY(load_kernel(d, f));
    for (int i = 0; i < f->o.slots; i++) GD_TRY(make_slot(d, f->bytes, &f->slot[i]));
    return GD_OK;
}

gd_status gd__cu_feed_new(const gd_feed_opts *o, void **out) {
    gd_error why;
    if (o->slots < 1 || !o->take || o->count % o->take || o->out_height > o->height || o->out_width > o->width ||
        !taken_bytes(o))
        GD_FAIL(INTERNAL, "cuda: a feed of %zu samples, %zu at a time", o->count, o->take);
    feed *f = calloc(1, sizeof *f);
    if (!f) GD_FAIL(NOMEM, "cuda: no memory for a feed");
    f->o = *o;
    here.feeds++;
    gd_status st = make(gd__cu_get_device(), f);
    if (st == GD_OK) {
        *out = f;
        return GD_OK;
    }
    gd_error_save(st, &why);
    gd__cu_feed_free(f);
    return gd_error_restore(&why);
}

static bool free_slot(gd__cu_device *d, const slot *s) {
    bool good = !s->sent || d->event_free(d, s->sent) == GD_OK;
    good = (!s->taken || d->event_free(d, s->taken) == GD_OK) && good;
    return d->free(d, s->at) == GD_OK && good;
}

/* What a device that failed cannot free is told by whoever uses it next. */
void gd__cu_feed_free(void *opaque) {
    feed *f = opaque;
    gd__cu_device *d = gd__cu_get_device();
    if (!f) return;
    bool good = gd__cu_finish() == GD_OK; /* first, since it ends whatever ranks do: batches wait for takes */
    good = (!here.stream || d->stream_sync(d, here.stream) == GD_OK) && good;
    for (int i = 0; f->slot && i < f->o.slots; i++) good = free_slot(d, &f->slot[i]) && good;
    if (!--here.feeds && here.stream) {
        good = d->stream_free(d, here.stream) == GD_OK && good;
        here.stream = NULL;
    }
    if (!good) gd_error_clear();
    gd__cu_kernels_free(&f->kernels);
    free(f->slot);
    free(f);
}

/* ---- on their way ---- */

gd_status gd__cu_feed_send(void *opaque, int number, const void *pinned) {
    feed *f = opaque;
    slot *s = &f->slot[number];
    gd__cu_device *d = gd__cu_get_device();
    GD_TRY(d->host(d, pinned, f->bytes, true)); /* it has written there */
    if (s->was_taken) GD_TRY(d->event_wait(d, here.stream, s->taken));
    GD_TRY(d->copy(d, here.stream, s->at, pinned, f->bytes));
    GD_TRY(d->event_record(d, s->sent, here.stream));
    s->was_sent = true;
    return GD_OK;
}

gd_status gd__cu_feed_sent(void *opaque, int number) {
    const slot *s = &((feed *)opaque)->slot[number];
    return s->was_sent ? gd__cu_wait_event(s->sent) : GD_OK; /* behind takes, and so behind all steps before those */
}

gd_status gd__cu_feed_take(void *opaque, int number, size_t first, void *out) {
    feed *f = opaque;
    slot *s = &f->slot[number];
    gd__cu_device *d = gd__cu_get_device();
    if (!s->was_sent) GD_FAIL(INTERNAL, "cuda: nothing was sent to slot %d", number);
    if (first + f->o.take > f->o.count)
        GD_FAIL(INTERNAL, "cuda: samples from %zu on of a batch of %zu", first, f->o.count);
    const bool here_too = f->o.set == NULL;
    char *pick = s->at + first * sizeof(gd_pick);
    void *from = here_too ? s->at + gd_pick_bytes(f->o.count) : (void *)(uintptr_t)f->o.set;
    void *arg[ARGS] = {pick, from, out};
    const gd__cu_access access[ARGS] = {{pick, f->o.take * sizeof(gd_pick), false},
                                        {from, (here_too ? f->o.count : f->o.set_count) * sample_bytes(&f->o), false},
                                        {out, taken_bytes(&f->o), true}};
    const size_t each = (size_t)EACH * GD_THREADS;
    GD_TRY(d->event_wait(d, gd__cu_stream(), s->sent));
    GD_TRY(d->launch(d, gd__cu_stream(), f->function, (uint32_t)((taken_bytes(&f->o) + each - 1) / each), ARGS, arg,
                     access));
    GD_TRY(d->event_record(d, s->taken, gd__cu_stream()));
    s->was_taken = true;
    return GD_OK;
}
