/* launch/placed.h -- an array of floats that programs are bound to, and its place in memory of the executor where that is not the
 * host's. Who uses it knows host memory, and says when its content moves. */
#ifndef GANDIST_LAUNCH_PLACED_H
#define GANDIST_LAUNCH_PLACED_H

#include "compute/exec.h"

typedef struct gd_placed {
    const gd_executor *executor; /* whose memory `far` is                                     */
    float *host;                 /* 64-byte aligned; owner: gd_placed_free                    */
    char *far;                   /* NULL: programs work on `host` itself                      */
    size_t count;                /* floats                                                    */
} gd_placed;

/* On the host, zero. Errors: NOMEM. */
GD_CHECKED gd_status gd_placed_make(size_t count, gd_placed *out);
/* Gives it memory of x with its content; nothing where x works on the host's. Once. Errors: the executor's. */
GD_CHECKED gd_status gd_placed_on(gd_placed *p, const gd_executor *x);
/* What to bind for host memory inside it. */
void *gd_placed_at(const gd_placed *p, const float *host);
/* All of it to the executor; its first `count` floats back. Errors: the executor's. */
GD_CHECKED gd_status gd_placed_put(const gd_placed *p);
GD_CHECKED gd_status gd_placed_get(const gd_placed *p, size_t count);
void gd_placed_free(gd_placed *p);

#endif
