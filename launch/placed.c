#include "launch/placed.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

gd_status gd_placed_make(size_t count, gd_placed *out) {
    size_t bytes = (count * sizeof(float) + ALIGN) / ALIGN * ALIGN;
    float *host = aligned_alloc(ALIGN, bytes);
    if (!host) GD_FAIL(NOMEM, "no memory for %zu values", count);
    memset(host, 0, bytes);
    *out = (gd_placed){.host = host, .count = count};
    return GD_OK;
}

gd_status gd_placed_on(gd_placed *p, const gd_executor *x) {
    void *far;
    if (!x->alloc) return GD_OK;
    if (p->far) GD_FAIL(INTERNAL, "an array is placed twice");
    gd_status st = x->alloc(p->count * sizeof *p->host + ALIGN, &far);
    if (st != GD_OK) return gd_context(st, "%zu values on the device", p->count);
    p->executor = x;
    p->far = far;
    return gd_placed_put(p);
}

void *gd_placed_at(const gd_placed *p, const float *host) {
    return p->far ? (void *)(p->far + (size_t)(host - p->host) * sizeof *host) : (void *)(uintptr_t)host;
}

gd_status gd_placed_put(const gd_placed *p) {
    return p->far ? p->executor->put(p->far, p->host, p->count * sizeof *p->host) : GD_OK;
}

gd_status gd_placed_get(const gd_placed *p, size_t count) {
    return p->far ? p->executor->get(p->host, p->far, count * sizeof *p->host) : GD_OK;
}

void gd_placed_free(gd_placed *p) {
    if (p->far) p->executor->free(p->far);
    free(p->host);
    *p = (gd_placed){0};
}
