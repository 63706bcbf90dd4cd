/* dist/heartbeat.h -- what the watchdogs of different hosts, and people (gd_watchdog_look), know of each rank: a small
 * file per host, in the run folder. Folder-internal.
 *
 * One line for the host, one a rank; written anew in place of the old one every few seconds, never synced. Times are
 * ages, so that clocks need not agree. */
#ifndef GANDIST_DIST_HEARTBEAT_H
#define GANDIST_DIST_HEARTBEAT_H

#include "dist/judge.h"

typedef struct gd__heartbeat {
    const char *folder;
    uint64_t start;   /* of this start of the run: files of earlier ones are of no use */
    uint64_t written; /* how often, by this rank                                       */
} gd__heartbeat;

enum { GD__HEARTBEAT_LIMIT = 1 << 20 }; /* bytes of a file */
typedef struct gd__heartbeat_head {
    uint64_t start, written;
    char host[64];
} gd__heartbeat_head;
/* The two kinds of lines. still, silent: seconds since the rank moved, and since its watchdog looked. false: it is no
 * such line. Of s the members moved and lived are not set. */
bool gd__heartbeat_head_parse(const char *line, gd__heartbeat_head *h);
bool gd__heartbeat_rank_parse(const char *line, int *rank, gd__sight *s, double *still, double *silent);

/* Where the host with this leader writes. Returns out. */
char *gd__heartbeat_path(const gd__heartbeat *h, int leader, char *out, size_t room);
/* Sights of the ranks first .. first + n - 1 in `rank` order of s (n of the host, rank[i] its number). Errors: IO,
 * CANTCREAT. */
GD_CHECKED gd_status gd__heartbeat_write(gd__heartbeat *h, int leader, const char *host, const gd__sight *s,
                                         const int *rank, int n, double now);
/* Brings the sights (by rank, `size` of them) of the host up to date; *number: how often that host has written, to see
 * whether it still does. age: of the file. false: no file of this start is there. */
bool gd__heartbeat_read(const gd__heartbeat *h, int leader, gd__sight *s, int size, double now, double age,
                        uint64_t *number);
/* How many seconds the file of one host is older than that of another, by the file system's clock; 0 where it is not
 * known. */
double gd__heartbeat_older(const gd__heartbeat *h, int leader, int than);
void gd__heartbeat_remove(const gd__heartbeat *h, int leader);

#endif
