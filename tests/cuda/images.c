/* tests/cuda/images.c -- image pools (compute/cuda/images.c) on the stand-in device: what goes out and what is kept, against plain C, for
 * images of several sizes; nothing is out of order, nobody waits; and one mistake at a time is found. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/cuda/executor.h"
#include "record.h"
#include "shim.h"

enum { ROUNDS = 9, MOST = 16384, NUMBERS = 2048 };

static gd__cu_device *device;
static const gd_executor *cuda;
static int failures;

typedef struct sizes {
    const char *name;
    size_t floats, count, places, given;
} sizes;

static const sizes cases[] = {
    {"grey images", 16 * 16, 6, 11, 6},
    {"one image, one place", 4, 1, 1, 1},
    {"no fours", 3 * 7 * 5, 5, 3, 4},
    {"one number each", 1, 37, 50, 37},
    {"more than a block", 4 * 1024 + 12, 2, 2, 2},
    {"more than a block, no fours", 2051, 3, 4, 3},
    {"more numbers than a note has", 2, 1500, 700, 1500},
};
enum { CASES = sizeof cases / sizeof *cases };

/* A pool there, and the one it has to be. */
typedef struct rig {
    sizes z;
    gd_images u;
    float *made, *pool, *out, *refused;      /* of the device */
    float came[MOST], kept[MOST], got[MOST]; /* of the host   */
    int32_t which[NUMBERS], place[NUMBERS];
} rig;

static gd_status take(size_t floats, float **out) {
    void *at;
    GD_TRY(cuda->alloc(floats * sizeof(float), &at));
    *out = at;
    return GD_OK;
}

static gd_status open_rig(const sizes *z, rig *r) {
    if (z->floats * z->count > MOST || z->floats * z->places > MOST || z->count > NUMBERS)
        GD_FAIL(INTERNAL, "%s is too large", z->name);
    r->z = *z;
    GD_TRY(take(z->floats * z->count, &r->made));
    GD_TRY(take(z->floats * z->places, &r->pool));
    GD_TRY(take(z->floats * z->given, &r->out));
    GD_TRY(take(z->count, &r->refused));
    r->u = (gd_images){z->floats, z->count, z->places, r->made, r->pool};
    for (size_t i = 0; i < z->floats * z->places; i++) r->kept[i] = (float)i * 0.5f;
    return cuda->put(r->pool, r->kept, z->floats * z->places * sizeof(float));
}

static void close_rig(rig *r) {
    cuda->free(r->made);
    cuda->free(r->pool);
    cuda->free(r->out);
    cuda->free(r->refused);
}

/* Round k: images, some of which have one number that is not finite; who gets what; and distinct places. */
static void draw(rig *r, int k) {
    const gd_rng rng = {.seed = 3, .step = (uint64_t)k};
    const sizes *z = &r->z;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    uint64_t n = 0;
    for (size_t i = 0; i < z->floats * z->count; i++) r->came[i] = (float)gd_rng_below(&rng, n++, 1000) - 500;
    for (size_t i = 0; i < z->count; i++)
        if (gd_rng_below(&rng, n++, 4) == 0) {
            size_t at = gd_rng_below(&rng, n, 2) ? z->floats - 1 : (size_t)gd_rng_below(&rng, n + 1, z->floats);
            r->came[i * z->floats + at] = odd[gd_rng_below(&rng, n + 2, 3)];
            n += 3;
        }
    for (size_t i = 0; i < z->given; i++)
        r->which[i] = gd_rng_below(&rng, n++, 2) ? (int32_t)gd_rng_below(&rng, n++, z->count)
                                                 : GD_IMAGE_PLACE + (int32_t)gd_rng_below(&rng, n++, z->places);
    size_t first = (size_t)gd_rng_below(&rng, n++, z->places), next = 0;
    for (size_t i = 0; i < z->count; i++)
        r->place[i] = next < z->places && gd_rng_below(&rng, n++, 3) ? (int32_t)((first + next++) % z->places) : -1;
}

static bool is_bad(const rig *r, size_t image) {
    for (size_t i = 0; i < r->z.floats; i++)
        if (!isfinite(r->came[image * r->z.floats + i])) return true;
    return false;
}

static void expected(rig *r, float *out, float *refused) {
    const size_t bytes = r->z.floats * sizeof *out;
    for (size_t i = 0; i < r->z.given; i++)
        memcpy(out + i * r->z.floats,
               r->which[i] >= GD_IMAGE_PLACE ? r->kept + (size_t)(r->which[i] - GD_IMAGE_PLACE) * r->z.floats
                                             : r->came + (size_t)r->which[i] * r->z.floats,
               bytes);
    for (size_t i = 0; i < r->z.count; i++) {
        refused[i] = r->place[i] >= 0 && is_bad(r, i);
        if (r->place[i] >= 0 && refused[i] == 0)
            memcpy(r->kept + (size_t)r->place[i] * r->z.floats, r->came + i * r->z.floats, bytes);
    }
}

/* As the trainer turns a pool; `which` and `place` change at once. */
static gd_status turn(rig *r) {
    int32_t copy[NUMBERS];
    memcpy(copy, r->which, sizeof copy);
    GD_TRY(cuda->images_out(&r->u, copy, r->z.given, r->out));
    memcpy(copy, r->place, sizeof copy);
    GD_TRY(cuda->images_in(&r->u, copy, r->refused));
    memset(copy, 0x7f, sizeof copy);
    return GD_OK;
}

static gd_status check(rig *r) {
    static float want[MOST], refused[NUMBERS];
    const size_t out = r->z.floats * r->z.given * sizeof *want, pool = r->z.floats * r->z.places * sizeof *want;
    expected(r, want, refused);
    GD_TRY(cuda->get(r->got, r->out, out));
    if (memcmp(r->got, want, out) != 0) GD_FAIL(INTERNAL, "%s: other images went out", r->z.name);
    GD_TRY(cuda->get(r->got, r->pool, pool));
    if (memcmp(r->got, r->kept, pool) != 0) GD_FAIL(INTERNAL, "%s: the pool holds other images", r->z.name);
    GD_TRY(cuda->get(r->got, r->refused, r->z.count * sizeof *refused));
    if (memcmp(r->got, refused, r->z.count * sizeof *refused) != 0)
        GD_FAIL(INTERNAL, "%s: others were refused", r->z.name);
    return GD_OK;
}

static gd_status run(rig *r) {
    for (int k = 0; k < ROUNDS; k++) {
        shim_reverse(k % 2); /* the order of threads changes nothing */
        draw(r, k);
        GD_TRY(cuda->put(r->made, r->came, r->z.floats * r->z.count * sizeof(float)));
        GD_TRY(turn(r));
        GD_TRY(check(r));
    }
    shim_reverse(false);
    /* Some more that nobody looks at: memory is not taken, and the host waits for nothing. */
    const record_counts before = record_get_counts(device);
    for (int k = 0; k < 3; k++) GD_TRY(turn(r));
    const record_counts after = record_get_counts(device);
    if (after.allocations != before.allocations || after.syncs != before.syncs || after.launches - before.launches != 6)
        GD_FAIL(INTERNAL, "%s: %d allocations, %d waits and %d launches in 3 turns", r->z.name,
                after.allocations - before.allocations, after.syncs - before.syncs, after.launches - before.launches);
    return GD_OK;
}

static gd_status begin(void) {
    device = record_new(1);
    if (!device) GD_FAIL(NOMEM, "no memory");
    return gd__cu_executor_open(device, GD__DNN_F32, &cuda);
}

static void tell(const char *name, gd_status st) {
    failures += st != GD_OK;
    printf("%-40s %s%s%s\n", name, st == GD_OK ? "ok" : "FAIL", st == GD_OK ? "" : ": ",
           st == GD_OK ? "" : gd_error_message());
}

static rig rigs[CASES];

static gd_status all_cases(void) {
    GD_TRY(begin());
    for (int i = 0; i < CASES; i++) GD_TRY(open_rig(&cases[i], &rigs[i]));
    for (int i = 0; i < CASES; i++) tell(cases[i].name, run(&rigs[i]));
    for (int i = 0; i < CASES; i++) close_rig(&rigs[i]);
    GD_TRY(gd__cu_executor_close());
    return record_end(device);
}

/* ---- mistakes ---- */

static gd_status ready(rig *r) {
    draw(r, 1);
    return cuda->put(r->made, r->came, r->z.floats * r->z.count * sizeof(float));
}

static gd_status nothing_wrong(rig *r) { return turn(r); }
static gd_status no_such_image(rig *r) {
    r->which[1] = (int32_t)r->z.count;
    return turn(r);
}
static gd_status no_such_place_out(rig *r) {
    r->which[0] = GD_IMAGE_PLACE + (int32_t)r->z.places;
    return turn(r);
}
static gd_status no_such_place_in(rig *r) {
    r->place[2] = (int32_t)r->z.places;
    return turn(r);
}
static gd_status below_nothing(rig *r) {
    r->place[0] = -2;
    return turn(r);
}
static gd_status out_is_too_small(rig *r) {
    r->out += 4;
    gd_status st = turn(r);
    r->out -= 4;
    return st;
}
static gd_status pool_is_too_small(rig *r) {
    r->u.places++;
    return turn(r);
}
static gd_status pool_is_gone(rig *r) {
    cuda->free(r->pool);
    r->pool = NULL;
    return turn(r);
}
static gd_status refused_are_on_the_host(rig *r) { return cuda->images_in(&r->u, r->place, r->got); }
static gd__cu_device real;
static gd_status done_too_early(gd__cu_device *d, void *event, bool *done) {
    (void)d, (void)event;
    *done = true;
    return GD_OK;
}
static gd_status not_waited_for(rig *r) {
    void *ticket;
    GD_TRY(turn(r));
    GD_TRY(cuda->get_later(r->refused, r->z.count * sizeof(float), &ticket));
    device->event_done = done_too_early;
    return cuda->take(ticket, r->got);
}
/* Whoever puts images on another stream, and orders nothing. */
static gd_status made_elsewhere(rig *r) {
    void *stream, *pinned;
    GD_TRY(device->stream_new(device, false, &stream));
    GD_TRY(device->alloc_host(device, r->z.floats * sizeof(float), &pinned));
    GD_TRY(device->host(device, pinned, r->z.floats * sizeof(float), true));
    memset(pinned, 0, r->z.floats * sizeof(float));
    gd_status st = device->copy(device, stream, r->made, pinned, r->z.floats * sizeof(float));
    if (st == GD_OK) st = turn(r);
    gd_error why;
    gd_error_save(st, &why);
    GD_TRY(device->stream_sync(device, stream));
    GD_TRY(device->free(device, pinned));
    GD_TRY(device->stream_free(device, stream));
    return st == GD_OK ? GD_OK : gd_error_restore(&why);
}

static const struct mistake {
    const char *name;
    gd_status (*run)(rig *r);
    const char *says; /* NULL: it is right */
} mistakes[] = {
    {"nothing wrong", nothing_wrong, NULL},
    {"an image that did not come", no_such_image, "image 1 of a pool is number 5"},
    {"a place that there is not, out", no_such_place_out, "image 0 of a pool is number"},
    {"a place that there is not, in", no_such_place_in, "image 2 of a pool is number 3"},
    {"a place below none", below_nothing, "image 0 of a pool is number -2"},
    {"room for fewer images", out_is_too_small, "of an allocation of"},
    {"a smaller pool", pool_is_too_small, "of an allocation of"},
    {"a pool that is gone", pool_is_gone, "memory that was freed"},
    {"refusals on the host", refused_are_on_the_host, "never allocated"},
    {"refusals read before they are there", not_waited_for, "no event orders the two"},
    {"images that another stream makes", made_elsewhere, "no event orders the two"},
};

static gd_status make(const struct mistake *m) {
    static rig r;
    gd_error why;
    GD_TRY(begin());
    GD_TRY(open_rig(&cases[2], &r));
    GD_TRY(ready(&r));
    real = *device;
    gd_status st = m->run(&r);
    gd_error_save(st, &why);
    *device = real;
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
    tell("all of them", all_cases());
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) check_mistake(&mistakes[i]);
    printf("%zu mistakes planted, %d failures\n", sizeof mistakes / sizeof *mistakes - 1, failures);
    return failures != 0;
}
