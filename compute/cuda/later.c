/* compute/cuda/later.c -- gd_executor.get_later: small pieces of memory that the host reads when it gets to it. Each is copied to
 * pinned memory, of which there is as much as was ever on its way at once. */
#include <stdlib.h>
#include <string.h>

#include "compute/cuda/executor.h"

typedef struct reading {
    struct reading *next;
    void *pinned, *event;
    size_t room, bytes;
    bool taken;
} reading;

static reading *readings;

static gd_status make(gd__cu_device *d, size_t bytes, reading **out) {
    reading *r = calloc(1, sizeof *r);
    if (!r) GD_FAIL(NOMEM, "cuda: no memory");
    r->next = readings; /* what is made below is freed at the end, whatever happens */
    readings = r;
    r->taken = true;
    GD_TRY(d->event_new(d, &r->event));
    GD_TRY(d->alloc_host(d, bytes, &r->pinned));
    r->room = bytes;
    *out = r;
    return GD_OK;
}

gd_status gd__cu_get_later(const void *from, size_t bytes, void **ticket) {
    gd__cu_device *d = gd__cu_get_device();
    reading *r = readings;
    while (r && (!r->taken || r->room < bytes)) r = r->next;
    if (!r) GD_TRY(make(d, bytes, &r));
    GD_TRY(d->copy(d, gd__cu_stream(), r->pinned, from, bytes));
    GD_TRY(d->event_record(d, r->event, gd__cu_stream()));
    r->bytes = bytes;
    r->taken = false;
    *ticket = r;
    return GD_OK;
}

/* What nobody wants any more may be overwritten: that comes behind it on the stream. */
gd_status gd__cu_take(void *ticket, void *host) {
    gd__cu_device *d = gd__cu_get_device();
    reading *r = ticket;
    r->taken = true;
    if (!host) return GD_OK;
    GD_TRY(gd__cu_wait_event(r->event));
    GD_TRY(d->host(d, r->pinned, r->bytes, false));
    memcpy(host, r->pinned, r->bytes);
    return GD_OK;
}

gd_status gd__cu_later_close(gd__cu_device *d) {
    gd_status st = GD_OK, gone;
    for (reading *r = readings, *next; r; r = next) {
        next = r->next;
        gone = d->free(d, r->pinned);
        if (st == GD_OK) st = gone;
        gone = r->event ? d->event_free(d, r->event) : GD_OK;
        if (st == GD_OK) st = gone;
        free(r);
    }
    readings = NULL;
    return st;
}
