/* tests/dist/far_feed.c -- see far_feed.h. */
#include "far_feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 4, PINS = 64 };

typedef struct feed {
    gd_feed_opts o;
    size_t bytes;
    const char *from[SLOTS]; /* where what is under way lies; NULL: nothing is */
    char *seen[SLOTS];       /* what was there when it set out                 */
} feed;

static gd_executor memory; /* its alloc, free, put */
static char *pinned[PINS];
static size_t pinned_bytes[PINS];
static feed *feeds[PINS];
static far_feed_counts counts;

static size_t sample(const gd_feed_opts *o) { return (size_t)o->height * o->width * o->pixel; }
static size_t window(const gd_feed_opts *o) { return (size_t)o->out_height * o->out_width * o->pixel; }

/* ---- memory ---- */

static size_t free_bytes = SIZE_MAX;
void far_feed_room(size_t bytes) { free_bytes = bytes; }

static size_t refused_bytes;
void far_feed_refuse(size_t bytes) { refused_bytes = bytes; }

static gd_status alloc(size_t bytes, void **out) {
    if (refused_bytes && bytes == refused_bytes) GD_FAIL(NOMEM, "far: %zu bytes are refused", bytes);
    return memory.alloc(bytes, out);
}

static gd_status room(size_t *bytes) {
    *bytes = free_bytes;
    return GD_OK;
}

static gd_status pin(size_t bytes, void **out) {
    int i = 0;
    while (i < PINS && pinned[i]) i++;
    if (i == PINS) GD_FAIL(NOMEM, "far: more than %d pieces of pinned memory", PINS);
    pinned[i] = aligned_alloc(GD_PICK_ALIGN, (bytes + GD_PICK_ALIGN) / GD_PICK_ALIGN * GD_PICK_ALIGN);
    if (!pinned[i]) GD_FAIL(NOMEM, "far: no memory");
    memset(pinned[i], 0xFF, bytes);
    pinned_bytes[i] = bytes;
    counts.pinned += (int64_t)bytes;
    *out = pinned[i];
    return GD_OK;
}

static void unpin(void *at) {
    if (!at) return;
    for (int k = 0; k < PINS; k++)
        for (int s = 0; feeds[k] && s < feeds[k]->o.slots; s++)
            if (feeds[k]->from[s] == at) fputs("far: a batch has not left memory that is freed\n", stderr), abort();
    for (int i = 0; i < PINS; i++)
        if (pinned[i] == at) pinned[i] = NULL;
    free(at);
}

static gd_status check_pinned(const void *at, size_t bytes) {
    for (int i = 0; i < PINS; i++)
        if (pinned[i] == at && pinned_bytes[i] >= bytes) return GD_OK;
    GD_FAIL(INTERNAL, "far: a batch of %zu bytes sets out from memory that is not pinned", bytes);
}

/* ---- feeds ---- */

static void feed_free(void *opaque) {
    feed *f = opaque;
    for (int i = 0; i < PINS; i++)
        if (f && feeds[i] == f) feeds[i] = NULL;
    for (int s = 0; f && s < SLOTS; s++) free(f->seen[s]);
    free(f);
}

static gd_status feed_new(const gd_feed_opts *o, void **out) {
    int i = 0;
    while (i < PINS && feeds[i]) i++;
    feed *f = calloc(1, sizeof *f);
    if (i == PINS || !f || o->slots > SLOTS) GD_FAIL(NOMEM, "far: no memory for a feed");
    f->o = *o;
    f->bytes = (size_t)gd_pick_bytes(o->count) + (o->set ? 0 : o->count * sample(o));
    feeds[i] = f;
    counts.slots += (int64_t)o->slots * (int64_t)f->bytes;
    for (int s = 0; s < o->slots; s++)
        if (!(f->seen[s] = malloc(f->bytes))) GD_FAIL(NOMEM, "far: no memory for a feed");
    *out = f;
    return GD_OK;
}

static gd_status feed_send(void *opaque, int slot, const void *from) {
    feed *f = opaque;
    GD_TRY(check_pinned(from, f->bytes));
    if (f->from[slot]) GD_FAIL(INTERNAL, "far: a second batch sets out for slot %d", slot);
    f->from[slot] = from;
    memcpy(f->seen[slot], from, f->bytes);
    counts.sends++;
    counts.bytes += (int64_t)f->bytes;
    return GD_OK;
}

static gd_status feed_sent(void *opaque, int slot) {
    feed *f = opaque;
    const char *from = f->from[slot];
    f->from[slot] = NULL;
    if (from && memcmp(from, f->seen[slot], f->bytes) != 0)
        GD_FAIL(INTERNAL, "far: somebody wrote to memory that a batch had not left");
    return GD_OK;
}

static void cut_out(const gd_feed_opts *o, const gd_pick *k, const char *from, char *to) {
    from += k->index * sample(o);
    for (uint32_t y = 0; y < o->out_height; y++)
        for (uint32_t x = 0; x < o->out_width; x++, to += o->pixel) {
            uint32_t column = k->left + (k->mirror ? o->out_width - 1 - x : x);
            memcpy(to, from + ((size_t)(k->top + y) * o->width + column) * o->pixel, o->pixel);
        }
}

static gd_status feed_take(void *opaque, int slot, size_t first, void *out) {
    const feed *f = opaque;
    const gd_pick *pick = (const gd_pick *)(const void *)f->seen[slot] + first;
    const char *from = f->seen[slot] + gd_pick_bytes(f->o.count);
    size_t there = f->o.set ? f->o.set_count : f->o.count, bytes = f->o.take * window(&f->o);
    if (first + f->o.take > f->o.count) GD_FAIL(INTERNAL, "far: samples beyond the batch");
    for (size_t i = 0; i < f->o.take; i++)
        if (pick[i].index >= there) GD_FAIL(INTERNAL, "far: sample %u of %zu", (unsigned)pick[i].index, there);
    char *batch = malloc(bytes), *set = malloc(there * sample(&f->o));
    gd_status st = batch && set ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "far: no memory");
    if (st == GD_OK && f->o.set) st = memory.get(set, f->o.set, there * sample(&f->o));
    for (size_t i = 0; i < f->o.take && st == GD_OK; i++)
        cut_out(&f->o, &pick[i], f->o.set ? set : from, batch + i * window(&f->o));
    if (st == GD_OK) st = memory.put(out, batch, bytes);
    free(set);
    free(batch);
    counts.takes++;
    return st;
}

void far_feed_add(gd_executor *x) {
    memory = *x;
    x->alloc = alloc;
    x->room = room;
    x->pin = pin;
    x->unpin = unpin;
    x->feed_new = feed_new;
    x->feed_send = feed_send;
    x->feed_sent = feed_sent;
    x->feed_take = feed_take;
    x->feed_free = feed_free;
}

far_feed_counts far_feed_take_counts(void) {
    far_feed_counts c = counts;
    counts = (far_feed_counts){0};
    return c;
}

int far_feed_open(void) {
    int n = 0;
    for (int i = 0; i < PINS; i++) n += (pinned[i] != NULL) + (feeds[i] != NULL);
    return n;
}
