/* dist/watchdog_internal.h -- the inside of a watchdog. Folder-internal.
 *
 *   watchdog.c  the thread: looks, judges     report.c  what it says of a hang
 *   judge.c     the rules                     heartbeat.c  files between hosts     stack.c  the stack of another thread */
#ifndef GANDIST_DIST_WATCHDOG_INTERNAL_H
#define GANDIST_DIST_WATCHDOG_INTERNAL_H

#include <pthread.h>

#include "dist/comm_internal.h"
#include "dist/heartbeat.h"
#include "dist/watchdog.h"

enum { GD__REPORT_ROOM = 32 * 1024 };

struct gd_watchdog {
    gd_comm *c;
    gd_watchdog_spec spec;
    gd__habits habits;
    double interval, last_look;
    gd__sight *sight;     /* per rank                                                                */
    int *rank;            /* per rank of this host: its number                                       */
    uint64_t *alive;      /* per rank of this host: gd__pulse.alive when it last changed             */
    /* other hosts; leader of this one only */
    gd__heartbeat beat;   /* folder NULL: no files                                                   */
    gd__sight *read;      /* per rank: scratch                                                       */
    uint64_t *number;     /* per rank, of leaders: what their file last said                         */
    double last_write, last_read, pause;
    /* verdicts */
    unsigned char *culprit, *frozen, *set, *told_of; /* per rank; one piece of memory                    */
    uint64_t told;        /* arrivals of the slow ranks of whom somebody was told                    */
    char *report;         /* nothing is allocated when there is something to tell                    */
    /* the thread */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool running, stop;
};

/* Into w->report. now: of the sights. */
void gd__report_hang(gd_watchdog *w, double now);
void gd__report_turning(gd_watchdog *w, double now); /* of GD__TURNS */
void gd__report_slow(gd_watchdog *w, double now);
/* If another rank of this host wants this one's stack: here it is. */
void gd__hand_over_stack(gd_watchdog *w);

#endif
