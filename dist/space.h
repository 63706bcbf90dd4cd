/* dist/space.h -- the memory that programs work on, where it is the host's and where it is not. Folder-internal.
 *
 * What programs are bound to has a mirror in memory of the executor. The trainer knows host memory only, and says when its
 * content moves: put before programs read it, get after they wrote it. An executor on the host (no
 * gd_executor.alloc) has no mirrors: memory is bound itself, and nothing moves. */
#ifndef GANDIST_DIST_SPACE_H
#define GANDIST_DIST_SPACE_H

#include "compute/exec.h"

typedef struct gd__mirror {
    const char *host;
    size_t bytes;
    char *far;
    bool lent; /* somebody else frees it */
} gd__mirror;

typedef struct gd__space {
    const gd_executor *executor;
    int n, room;
    gd__mirror *mirror;
} gd__space;

static inline bool gd__space_is_far(const gd__space *s) { return s->executor && s->executor->alloc; }
/* Gives host memory a mirror with its content; host NULL is fine. It lives until gd__space_close. Errors: the executor's, NOMEM. */
GD_CHECKED gd_status gd__space_mirror(gd__space *s, const void *host, size_t bytes);
/* The same in memory of the executor's device that is there already, and outlives s. */
GD_CHECKED gd_status gd__space_mirror_at(gd__space *s, const void *host, size_t bytes, void *far);
/* What to bind for `host`, anywhere inside memory that has a mirror; NULL: it has none. */
void *gd__space_at(const gd__space *s, const void *host);
/* Bytes that lie in one mirror, to it and back. Errors: INTERNAL (they do not), the executor's. */
GD_CHECKED gd_status gd__space_put(const gd__space *s, const void *host, size_t bytes);
GD_CHECKED gd_status gd__space_get(const gd__space *s, void *host, size_t bytes);
/* Memory of programs alone, without a mirror; on the host zero. Errors: NOMEM, the executor's. */
GD_CHECKED gd_status gd__space_alloc(const gd__space *s, size_t bytes, void **out);
void gd__space_free(const gd__space *s, void *memory);
void gd__space_close(gd__space *s);

#endif
