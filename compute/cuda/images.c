/* compute/cuda/images.c -- image pools: gd_executor.images_out and images_in. The host decides which image goes where and sends
 * the numbers along; images themselves are moved here, by two kernels a size of images. */
#include <stdint.h>
#include <stdlib.h>

#include "compute/cuda/executor.h"
#include "compute/cuda/kernel.h"

enum { OUT_ARGS = 4, IN_ARGS = 4, EACH = 4 /* floats that a thread moves at once */, PIECE = 4 << 10 };

typedef struct mover { /* of images of one size */
    struct mover *next;
    size_t floats;
    gd__cu_kernels kernels;
    void *out, *in; /* functions */
} mover;

static struct {
    mover *movers;
    void *which; /* numbers on their way, one call's behind another's on the stream */
    size_t room; /* bytes */
} here;

/* ---- kernels ---- */

static size_t blocks_of(size_t floats) { return (floats + EACH * GD_THREADS - 1) / (EACH * GD_THREADS); }

/* Thread by thread four neighbours; where images are not made of fours, one by one. */
static void print_copy(gd__cu_text *t, size_t floats, const char *indent) {
    if (floats % EACH == 0)
        gd__cu_print(t, "%sif (at < %zuu) *(gd_f4 *)(to + at) = *(const gd_f4 *)(from + at);\n", indent, floats);
    else
        gd__cu_print(t, "%sfor (u32 j = 0; j < %d; j++)\n%s  if (at + j < %zuu) to[at + j] = from[at + j];\n", indent,
                     EACH, indent, floats);
}

gd_status gd__cu_images_out_kernel(size_t floats, gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(&t,
                 "  const i32 *const which = ARG(const i32, 0);\n  const float *const made = ARG(const float, 1);\n"
                 "  const float *const pool = ARG(const float, 2);\n  float *const out = ARG(float, 3);\n"
                 "  const u32 i = BX / %zuu;\n  const i32 n = which[i];\n"
                 "  const float *const from = n >= %d ? pool + (u64)(n - %d) * %zuu : made + (u64)n * %zuu;\n"
                 "  float *const to = out + (u64)i * %zuu;\n"
                 "  PHASE {\n    const u64 at = ((u64)(BX %% %zuu) * GD_THREADS + TX) * %d;\n",
                 blocks_of(floats), GD_IMAGE_PLACE, GD_IMAGE_PLACE, floats, floats, floats, blocks_of(floats), EACH);
    print_copy(&t, floats, "    ");
    gd__cu_print(&t, "  }\n");
    gd_status st = gd__cu_kernels_add(k, OUT_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

/* A block an image: all of it is looked at before any of it is kept. */
gd_status gd__cu_images_in_kernel(size_t floats, gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(&t,
                 "  const i32 *const place = ARG(const i32, 0);\n  const float *const made = ARG(const float, 1);\n"
                 "  float *const pool = ARG(float, 2);\n  float *const refused = ARG(float, 3);\n"
                 "  SHARED(u32, found, 256)\n  SHARED(u32, bad, 1)\n  const i32 n = place[BX];\n"
                 "  const float *const from = made + (u64)BX * %zuu;\n"
                 "  PHASE {\n    u32 here = 0;\n    if (n >= 0)\n"
                 "      for (u64 i = TX; i < %zuu; i += GD_THREADS) here |= !(from[i] - from[i] == 0);\n"
                 "    found[TX] = here;\n  }\n  SYNC\n",
                 floats, floats);
    gd__cu_print(&t,
                 "  PHASE {\n    if (TX == 0) {\n      u32 any = 0;\n"
                 "      for (u32 i = 0; i < GD_THREADS; i++) any |= found[i];\n      bad[0] = any;\n"
                 "      refused[BX] = any ? 1.0f : 0.0f;\n    }\n  }\n  SYNC\n"
                 "  if (n >= 0 && !bad[0]) {\n    float *const to = pool + (u64)n * %zuu;\n"
                 "    PHASE {\n      for (u64 at = (u64)TX * %d; at < %zuu; at += (u64)GD_THREADS * %d) {\n",
                 floats, EACH, floats, EACH);
    print_copy(&t, floats, "        ");
    gd__cu_print(&t, "      }\n    }\n  }\n");
    gd_status st = gd__cu_kernels_add(k, IN_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

static gd_status load(gd__cu_device *d, mover *m) {
    int out, in;
    GD_TRY(gd__cu_images_out_kernel(m->floats, &m->kernels, &out));
    GD_TRY(gd__cu_images_in_kernel(m->floats, &m->kernels, &in));
    GD_TRY(d->load(d, &m->kernels.list[out], &m->out));
    return d->load(d, &m->kernels.list[in], &m->in);
}

static gd_status mover_of(gd__cu_device *d, size_t floats, mover **out) {
    for (*out = here.movers; *out; *out = (*out)->next)
        if ((*out)->floats == floats) return GD_OK;
    mover *m = calloc(1, sizeof *m);
    if (!m) GD_FAIL(NOMEM, "cuda: no memory");
    m->floats = floats;
    m->next = here.movers; /* freed at the end, whatever happens */
    here.movers = m;
    *out = m;
    return load(d, m);
}

/* ---- numbers ---- */

/* They are read behind whatever read those before them. Piece by piece as notes, for which the host need not wait. */
static gd_status send(gd__cu_device *d, const int32_t *which, size_t n) {
    const size_t bytes = n * sizeof *which;
    if (bytes > here.room) {
        void *old = here.which, *more;
        GD_TRY(d->alloc(d, bytes, &more));
        here.which = more;
        here.room = bytes;
        if (old) GD_TRY(gd__cu_finish());
        GD_TRY(d->free(d, old));
    }
    for (size_t at = 0; at < bytes; at += PIECE)
        GD_TRY(gd__cu_put((char *)here.which + at, (const char *)which + at, bytes - at < PIECE ? bytes - at : PIECE));
    return GD_OK;
}

static gd_status check(const gd_images *u, const int32_t *which, size_t n, bool out) {
    for (size_t i = 0; i < n; i++) {
        const bool kept = which[i] >= GD_IMAGE_PLACE;
        const bool good = out ? (kept ? (size_t)(which[i] - GD_IMAGE_PLACE) < u->places
                                      : which[i] >= 0 && (size_t)which[i] < u->count)
                              : which[i] == -1 || (which[i] >= 0 && (size_t)which[i] < u->places);
        if (!good) GD_FAIL(INTERNAL, "cuda: image %zu of a pool is number %d", i, (int)which[i]);
    }
    return GD_OK;
}

/* ---- the table ---- */

gd_status gd__cu_images_out(const gd_images *u, const int32_t *which, size_t n, float *out) {
    gd__cu_device *d = gd__cu_get_device();
    const size_t bytes = u->floats * sizeof *out;
    mover *m = NULL;
    if (!n || !u->floats) return GD_OK;
    GD_TRY(check(u, which, n, true));
    GD_TRY(mover_of(d, u->floats, &m));
    GD_TRY(send(d, which, n));
    void *arg[OUT_ARGS] = {here.which, (void *)(uintptr_t)u->made, u->pool, out};
    const gd__cu_access access[OUT_ARGS] = {{here.which, n * sizeof *which, false},
                                            {u->made, u->count * bytes, false},
                                            {u->pool, u->places * bytes, false},
                                            {out, n * bytes, true}};
    return d->launch(d, gd__cu_stream(), m->out, (uint32_t)(n * blocks_of(u->floats)), OUT_ARGS, arg, access);
}

gd_status gd__cu_images_in(const gd_images *u, const int32_t *place, float *refused) {
    gd__cu_device *d = gd__cu_get_device();
    const size_t bytes = u->floats * sizeof *refused;
    mover *m = NULL;
    if (!u->count || !u->floats) return GD_OK;
    GD_TRY(check(u, place, u->count, false));
    GD_TRY(mover_of(d, u->floats, &m));
    GD_TRY(send(d, place, u->count));
    void *arg[IN_ARGS] = {here.which, (void *)(uintptr_t)u->made, u->pool, refused};
    const gd__cu_access access[IN_ARGS] = {{here.which, u->count * sizeof *place, false},
                                           {u->made, u->count * bytes, false},
                                           {u->pool, u->places * bytes, true},
                                           {refused, u->count * sizeof *refused, true}};
    return d->launch(d, gd__cu_stream(), m->in, (uint32_t)u->count, IN_ARGS, arg, access);
}

gd_status gd__cu_images_close(gd__cu_device *d) {
    gd_status st = d ? d->free(d, here.which) : GD_OK;
    for (mover *m = here.movers, *next; m; m = next) {
        next = m->next;
        gd__cu_kernels_free(&m->kernels);
        free(m);
    }
    here.movers = NULL;
    here.which = NULL;
    here.room = 0;
    return st;
}
