/* dist/events.h -- events.jsonl of a run: what happened to it, a JSON object a line.
 *
 *   {"time":"2026-03-01T12:00:00Z","event":"save","step":1000,"seconds":0.31,"path":"step-000000001000"}
 *
 * Lines are only ever added, by rank 0 of the start that holds the run folder; anybody may read them at any time.
 * Kinds and their members: docs/cluster.md. Nothing here is collective. */
#ifndef GANDIST_DIST_EVENTS_H
#define GANDIST_DIST_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct gd_event_field { /* a member; text NULL: number */
    const char *key, *text;
    double number;              /* written as an integer where it is one */
} gd_event_field;

#define GD_EVENT_TEXT(k, t) ((gd_event_field){.key = (k), .text = (t)})
#define GD_EVENT_NUMBER(k, n) ((gd_event_field){.key = (k), .number = (double)(n)})

typedef struct gd_event {
    const char *kind;
    int64_t step;               /* -1: of no step */
    const gd_event_field *field;
    int count;
} gd_event;

/* Adds a line. Bytes that are no UTF-8 become '?', numbers that are not finite are left out. Leaves this thread's error
 * record alone when it succeeds. Errors: CANTCREAT, IO, NOMEM. */
GD_CHECKED gd_status gd_events_add(const char *path, const gd_event *e);
/* A line that a crash cut short is ended, so that the next one stands alone. No file is fine. Errors: IO, NOINPUT. */
GD_CHECKED gd_status gd_events_mend(const char *path);

/* The last whole lines of a file of lines that may still be written, from at most `room` bytes of its end. *text:
 * malloc'ed, with a NUL behind; owner: caller. No file: no lines. Errors: NOINPUT, IO, DATA, NOMEM. */
GD_CHECKED gd_status gd_lines_tail(const char *path, size_t room, char **text);

#endif
