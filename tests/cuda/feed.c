/* tests/cuda/feed.c -- batches that travel beside the steps (compute/cuda/feed.c) on the stand-in device: what is taken of them
 * is what the host would have cut out and mirrored, nothing is out of order, nobody waits; and one mistake at a time is found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/cuda/executor.h"
#include "record.h"

enum { SLOTS = 2, PIECES = SLOTS + 1, ROUNDS = 7, BYTES_MAX = 8192 };

static gd__cu_device *device;
static const gd_executor *cuda;
static int failures;

/* One part of a set, and a ring of pinned memory as the loader has it. */
typedef struct rig {
    gd_feed_opts o;
    size_t bytes, window;
    void *feed, *piece[PIECES];
    char *batch, *other; /* of all takes of a batch; what a step makes of it */
    char *set;           /* on the host, where the feed has one on the device */
    void *there;
} rig;

static size_t align(size_t n) { return (n + 255) / 256 * 256; }

static size_t sample_bytes(const gd_feed_opts *o) { return (size_t)o->height * o->width * o->pixel; }

static gd_status make_set(rig *r) {
    const gd_rng rng = {.seed = 9};
    size_t bytes = r->o.set_count * sample_bytes(&r->o);
    r->set = malloc(bytes);
    if (!r->set) GD_FAIL(NOMEM, "no memory");
    for (size_t i = 0; i < bytes; i++) r->set[i] = (char)gd_rng_below(&rng, i, 256);
    GD_TRY(cuda->alloc(bytes, &r->there));
    return cuda->put(r->there, r->set, bytes);
}

static gd_status open_rig(const gd_feed_opts *o, rig *r) {
    void *at;
    *r = (rig){.o = *o};
    r->o.slots = SLOTS;
    r->bytes = (size_t)gd_pick_bytes(o->count) + (o->set_count ? 0 : o->count * sample_bytes(o));
    r->window = (size_t)o->out_height * o->out_width * o->pixel;
    if (o->set_count) GD_TRY(make_set(r));
    r->o.set = r->there;
    GD_TRY(cuda->feed_new(&r->o, &r->feed));
    for (int i = 0; i < PIECES; i++) GD_TRY(cuda->pin(r->bytes, &r->piece[i]));
    GD_TRY(cuda->alloc(o->count / o->take * align(o->take * r->window), &at));
    r->batch = at;
    GD_TRY(cuda->alloc(align(o->take * r->window), &at));
    r->other = at;
    return GD_OK;
}

static void close_rig(rig *r) {
    cuda->feed_free(r->feed);
    for (int i = 0; i < PIECES; i++) cuda->unpin(r->piece[i]);
    cuda->free(r->batch);
    cuda->free(r->other);
    cuda->free(r->there);
    free(r->set);
}

/* Batch k, as the loader leaves it in a piece. */
static void decode(const rig *r, int k, char *piece) {
    const gd_rng rng = {.seed = 5, .step = (uint64_t)k};
    gd_pick *pick = (gd_pick *)(void *)piece;
    uint64_t draw = 0;
    memset(piece, 0, r->bytes);
    for (size_t i = 0; i < r->o.count; i++)
        pick[i] = (gd_pick){(uint32_t)gd_rng_below(&rng, draw++, r->o.set_count ? r->o.set_count : r->o.count),
                            (uint32_t)gd_rng_below(&rng, draw++, r->o.height - r->o.out_height + 1),
                            (uint32_t)gd_rng_below(&rng, draw++, r->o.width - r->o.out_width + 1),
                            (uint32_t)gd_rng_below(&rng, draw++, 2)};
    for (size_t i = gd_pick_bytes(r->o.count); i < r->bytes; i++) piece[i] = (char)gd_rng_below(&rng, draw++, 256);
}

/* Sample i of the batch in a piece, as the host makes it. */
static void expected(const rig *r, const char *piece, size_t i, char *to) {
    const gd_feed_opts *o = &r->o;
    const gd_pick k = ((const gd_pick *)(const void *)piece)[i];
    const char *from = (r->set ? r->set : piece + gd_pick_bytes(o->count)) + k.index * sample_bytes(o);
    for (uint32_t y = 0; y < o->out_height; y++)
        for (uint32_t x = 0; x < o->out_width; x++, to += o->pixel) {
            const uint32_t column = k.mirror ? k.left + o->out_width - 1 - x : k.left + x;
            memcpy(to, from + ((size_t)(k.top + y) * o->width + column) * o->pixel, o->pixel);
        }
}

/* What the trainer does: batch k + 1 sets out once the takes of batch k, and a step that reads it, are on the stream. */
static gd_status send(rig *r, int k) {
    char *piece = r->piece[k % PIECES];
    GD_TRY(cuda->feed_sent(r->feed, k % SLOTS));
    decode(r, k, piece);
    return cuda->feed_send(r->feed, k % SLOTS, piece);
}

static gd_status take(rig *r, int k) {
    const size_t each = align(r->o.take * r->window);
    for (size_t at = 0, t = 0; at < r->o.count; at += r->o.take, t++) {
        GD_TRY(cuda->feed_take(r->feed, k % SLOTS, at, r->batch + t * each));
        GD_TRY(cuda->copy(NULL, r->other, r->batch + t * each, r->o.take * r->window));
    }
    return GD_OK;
}

static gd_status check(rig *r, int k, const char *name) {
    const size_t each = align(r->o.take * r->window);
    static char have[BYTES_MAX], want[BYTES_MAX], piece[BYTES_MAX];
    if (r->bytes > BYTES_MAX || r->o.count * r->window > BYTES_MAX) GD_FAIL(INTERNAL, "%s is too large", name);
    decode(r, k, piece);
    for (size_t i = 0; i < r->o.count; i++) expected(r, piece, i, want + i * r->window);
    for (size_t t = 0; t < r->o.count / r->o.take; t++)
        GD_TRY(cuda->get(have + t * r->o.take * r->window, r->batch + t * each, r->o.take * r->window));
    if (memcmp(have, want, r->o.count * r->window) != 0) GD_FAIL(INTERNAL, "%s: batch %d has other bytes", name, k);
    return GD_OK;
}

static gd_status run(rig *r, const char *name) {
    GD_TRY(send(r, 0));
    for (int k = 0; k < ROUNDS; k++) {
        GD_TRY(take(r, k));
        GD_TRY(send(r, k + 1));
        GD_TRY(check(r, k, name));
    }
    /* As many again without looking at them: memory is not taken, and the host waits for nothing but pieces it writes to. */
    const record_counts before = record_get_counts(device);
    for (int k = ROUNDS; k < 2 * ROUNDS; k++) {
        GD_TRY(take(r, k));
        GD_TRY(send(r, k + 1));
    }
    const record_counts after = record_get_counts(device);
    if (after.allocations != before.allocations || after.syncs - before.syncs > ROUNDS)
        GD_FAIL(INTERNAL, "%s: %d allocations and %d waits in %d rounds; expected none and one a round at most", name,
                after.allocations - before.allocations, after.syncs - before.syncs, ROUNDS);
    return check(r, 2 * ROUNDS - 1, name);
}

static const struct {
    const char *name;
    gd_feed_opts o;
} cases[] = {
    {"grey, whole", {.count = 6, .take = 6, .pixel = 1, .height = 9, .width = 8, .out_height = 9, .out_width = 8}},
    {"grey, in 3 shards",
     {.count = 6, .take = 2, .pixel = 1, .height = 7, .width = 5, .out_height = 7, .out_width = 5}},
    {"colour, cut", {.count = 5, .take = 5, .pixel = 3, .height = 7, .width = 9, .out_height = 5, .out_width = 4}},
    {"colour, in shards of 1",
     {.count = 3, .take = 1, .pixel = 3, .height = 11, .width = 8, .out_height = 3, .out_width = 7}},
    {"points", {.count = 9, .take = 9, .pixel = 8, .height = 1, .width = 1, .out_height = 1, .out_width = 1}},
    {"labels", {.count = 4, .take = 2, .pixel = 11, .height = 1, .width = 1, .out_height = 1, .out_width = 1}},
    {"of a set, cut",
     {.count = 6, .take = 3, .pixel = 3, .height = 6, .width = 7, .out_height = 4, .out_width = 5, .set_count = 50}},
    {"of a set of points",
     {.count = 5, .take = 5, .pixel = 8, .height = 1, .width = 1, .out_height = 1, .out_width = 1, .set_count = 3}},
    {"more than a block",
     {.count = 4, .take = 4, .pixel = 3, .height = 12, .width = 14, .out_height = 12, .out_width = 13}},
};
enum { CASES = sizeof cases / sizeof *cases, CUT = 2 };

static gd_status begin(void) {
    device = record_new(1);
    if (!device) GD_FAIL(NOMEM, "no memory");
    return gd__cu_executor_open(device, GD__DNN_F32, &cuda);
}

static void tell(const char *name, gd_status st, const char *message) {
    failures += st != GD_OK;
    printf("%-40s %s%s%s\n", name, st == GD_OK ? "ok" : "FAIL", st == GD_OK ? "" : ": ", st == GD_OK ? "" : message);
}

/* All at once: their copies share a stream. */
static gd_status all_cases(void) {
    rig r[CASES];
    GD_TRY(begin());
    for (size_t i = 0; i < CASES; i++) GD_TRY(open_rig(&cases[i].o, &r[i]));
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < CASES; i++) tell(cases[i].name, run(&r[i], cases[i].name), gd_error_message());
    for (size_t i = 0; i < CASES; i++) close_rig(&r[i]);
    GD_TRY(gd__cu_executor_close());
    return record_end(device);
}

/* ---- mistakes ---- */

static gd__cu_device real;
static int drop; /* the drop-th call of what is hooked, from 1, is left out */

static bool left_out(void) { return drop && !--drop; }
static gd_status wait_hook(gd__cu_device *d, void *stream, void *event) {
    return left_out() ? GD_OK : real.event_wait(d, stream, event);
}
static gd_status record_hook(gd__cu_device *d, void *event, void *stream) {
    return left_out() ? GD_OK : real.event_record(d, event, stream);
}
static gd_status sync_hook(gd__cu_device *d, void *event) { return left_out() ? GD_OK : real.event_sync(d, event); }
static gd_status stream_hook(gd__cu_device *d, void *stream) {
    return left_out() ? GD_OK : real.stream_sync(d, stream);
}

/* With one case and one take a batch, every round waits for `sent`, records `taken`, waits for `taken` and records `sent`. */
static gd_status rounds(rig *r) {
    GD_TRY(send(r, 0));
    for (int k = 0; k < 4; k++) {
        GD_TRY(take(r, k));
        GD_TRY(send(r, k + 1));
    }
    return cuda->feed_sent(r->feed, 0);
}

static gd_status nothing_wrong(rig *r) { return rounds(r); }
static gd_status taken_too_early(rig *r) {
    device->event_wait = wait_hook;
    drop = 1; /* before the first take */
    return rounds(r);
}
static gd_status sent_too_early(rig *r) {
    device->event_wait = wait_hook;
    drop = 3; /* takes 0 and 1, then the send behind take 0 */
    return rounds(r);
}
static gd_status arrival_is_not_told(rig *r) {
    device->event_record = record_hook;
    drop = 5; /* sent, taken; sent, taken; the arrival of batch 2 */
    return rounds(r);
}
static gd_status take_is_not_told(rig *r) {
    device->event_record = record_hook;
    drop = 6; /* and take 2; the event still tells of take 0 */
    return rounds(r);
}
static gd_status written_too_early(rig *r) {
    device->event_sync = sync_hook;
    drop = 2; /* with fewer pieces than the loader has, the one of batch 1 is written to while it is under way */
    for (int i = 1; i < PIECES; i++) {
        cuda->unpin(r->piece[i]);
        r->piece[i] = r->piece[0];
    }
    gd_status st = rounds(r);
    for (int i = 1; i < PIECES; i++) r->piece[i] = NULL;
    return st;
}
static gd_status too_small(rig *r) {
    void *piece;
    GD_TRY(cuda->pin(r->bytes - 1, &piece));
    gd_status st = cuda->feed_send(r->feed, 0, piece);
    cuda->unpin(piece);
    return st;
}
static gd_status not_pinned(rig *r) {
    static char pageable[BYTES_MAX];
    return cuda->feed_send(r->feed, 0, pageable);
}
static gd_status never_sent(rig *r) { return cuda->feed_take(r->feed, 1, 0, r->batch); }
static gd_status beyond(rig *r) {
    GD_TRY(send(r, 0));
    return cuda->feed_take(r->feed, 0, 1, r->batch);
}
static gd_status no_feed(rig *r) {
    gd_feed_opts o = r->o;
    void *feed;
    o.take = o.count + 1;
    return cuda->feed_new(&o, &feed);
}
/* Memory that cannot be freed is left at the end. */
static gd_status piece_is_freed(rig *r) {
    GD_TRY(send(r, 0));
    cuda->unpin(r->piece[0]);
    r->piece[0] = NULL;
    return GD_OK;
}
static gd_status feed_is_not_waited_for(rig *r) {
    GD_TRY(send(r, 0));
    device->stream_sync = stream_hook;
    drop = 2; /* the steps', then that of batches */
    cuda->feed_free(r->feed);
    r->feed = NULL;
    return GD_OK;
}

static const struct mistake {
    const char *name;
    gd_status (*run)(rig *r);
    const char *says; /* NULL: it is right */
} mistakes[] = {
    {"nothing wrong", nothing_wrong, NULL},
    {"taken before it arrives", taken_too_early, "no event orders the two"},
    {"sent over what is still taken", sent_too_early, "no event orders the two"},
    {"arrival is not recorded", arrival_is_not_told, "no event orders the two"},
    {"take is not recorded", take_is_not_told, "no event orders the two"},
    {"written to while under way", written_too_early, "no event orders the two"},
    {"piece smaller than a batch", too_small, "of an allocation of"},
    {"piece that is not pinned", not_pinned, "never allocated"},
    {"slot that nothing was sent to", never_sent, "nothing was sent to slot 1"},
    {"samples beyond the batch", beyond, "samples from 1 on of a batch of 5"},
    {"more samples at a time than there are", no_feed, "a feed of 5 samples, 6 at a time"},
    {"piece freed while under way", piece_is_freed, "never freed"},
    {"feed freed while a batch is under way", feed_is_not_waited_for, "never freed"},
};

static gd_status make(const struct mistake *m) {
    rig r;
    gd_error why;
    GD_TRY(begin());
    GD_TRY(open_rig(&cases[CUT].o, &r));
    real = *device;
    gd_status st = m->run(&r);
    gd_error_save(st, &why);
    *device = real;
    drop = 0;
    close_rig(&r);
    gd_status closed = gd__cu_executor_close(), end = record_end(device);
    if (st != GD_OK) return gd_error_restore(&why);
    return closed != GD_OK ? closed : end;
}

static void check_mistake(const struct mistake *m) {
    gd_status st = make(m);
    char words[512];
    snprintf(words, sizeof words, "%s", st == GD_OK ? "no mistake was found" : gd_error_message());
    bool good = m->says ? st != GD_OK && strstr(words, m->says) : st == GD_OK;
    failures += !good;
    printf("%-40s %s%s%s\n", m->name, good ? "ok" : "FAIL", m->says || !good ? ": " : "",
           m->says || !good ? words : "");
}

int main(void) {
    tell("all of them", all_cases(), gd_error_message());
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) check_mistake(&mistakes[i]);
    printf("%zu mistakes planted, %d failures\n", sizeof mistakes / sizeof *mistakes - 1, failures);
    return failures != 0;
}
