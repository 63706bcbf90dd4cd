/* dist/space.c -- see space.h. */
#include "dist/space.h"

#include <stdlib.h>

#include "dist/trainer.h"

static const gd__mirror *find(const gd__space *s, const void *host) {
    const char *at = host;
    for (int i = 0; i < s->n; i++) {
        const gd__mirror *m = &s->mirror[i];
        if (at >= m->host && at < m->host + m->bytes) return m;
    }
    return NULL;
}

static gd_status reserve(gd__space *s) {
    if (s->n < s->room) return GD_OK;
    int room = s->room ? 2 * s->room : 16;
    gd__mirror *more = realloc(s->mirror, (size_t)room * sizeof *more);
    if (!more) GD_FAIL(NOMEM, "device memory: no memory for a list of %d pieces", room);
    s->mirror = more;
    s->room = room;
    return GD_OK;
}

gd_status gd__space_mirror(gd__space *s, const void *host, size_t bytes) {
    void *far;
    if (!gd__space_is_far(s) || !host || !bytes) return GD_OK;
    GD_TRY(reserve(s));
    gd_status st = s->executor->alloc(bytes, &far);
    if (st != GD_OK) return gd_context(st, "training state on the device, %zu bytes", bytes);
    s->mirror[s->n++] = (gd__mirror){host, bytes, far, false};
    return s->executor->put(far, host, bytes);
}

gd_status gd__space_mirror_at(gd__space *s, const void *host, size_t bytes, void *far) {
    GD_TRY(reserve(s));
    s->mirror[s->n++] = (gd__mirror){host, bytes, far, true};
    return s->executor->put(far, host, bytes);
}

void *gd__space_at(const gd__space *s, const void *host) {
    if (!gd__space_is_far(s)) return (void *)(uintptr_t)host;
    const gd__mirror *m = find(s, host);
    return m ? m->far + ((const char *)host - m->host) : NULL;
}

/* Where the mirror of these bytes is. */
static gd_status locate(const gd__space *s, const void *host, size_t bytes, char **far) {
    const gd__mirror *m = find(s, host);
    size_t offset = m ? (size_t)((const char *)host - m->host) : 0;
    if (!m || bytes > m->bytes - offset) GD_FAIL(INTERNAL, "device memory: %zu bytes have no mirror there", bytes);
    *far = m->far + offset;
    return GD_OK;
}

gd_status gd__space_put(const gd__space *s, const void *host, size_t bytes) {
    char *far;
    if (!gd__space_is_far(s) || !bytes) return GD_OK;
    GD_TRY(locate(s, host, bytes, &far));
    return s->executor->put(far, host, bytes);
}

gd_status gd__space_get(const gd__space *s, void *host, size_t bytes) {
    char *far;
    if (!gd__space_is_far(s) || !bytes) return GD_OK;
    GD_TRY(locate(s, host, bytes, &far));
    return s->executor->get(host, far, bytes);
}

gd_status gd__space_alloc(const gd__space *s, size_t bytes, void **out) {
    if (!gd__space_is_far(s)) {
        *out = gd__aligned(bytes);
        if (!*out) GD_FAIL(NOMEM, "no memory for %zu bytes", bytes);
        return GD_OK;
    }
    return s->executor->alloc(bytes ? bytes : 1, out);
}

void gd__space_free(const gd__space *s, void *memory) {
    if (gd__space_is_far(s)) s->executor->free(memory);
    else free(memory);
}

void gd__space_close(gd__space *s) {
    for (int i = 0; i < s->n; i++)
        if (!s->mirror[i].lent) s->executor->free(s->mirror[i].far);
    free(s->mirror);
    *s = (gd__space){0};
}
