/* launch/history.h -- what the events of a run say about its starts. Reads only. */
#ifndef GANDIST_LAUNCH_HISTORY_H
#define GANDIST_LAUNCH_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { GD_HISTORY_SHOWN = 8 };

typedef struct gd_history {
    bool begun, ended;      /* there was a start; and it told how it ended                        */
    char reason[32];        /* of the end: done, signal, time limit, stop file, error, ...        */
    char said[512];         /* the message of an error; "": none                                  */
    int64_t exit_code;
    int64_t until;          /* of the last start; 0: not known                                    */
    char hosts[1024];       /* of the last start, blanks between                                  */
    int64_t ranks;
    double longest_save;    /* of those that are still in sight; 0: none                          */
    char *shown[GD_HISTORY_SHOWN]; /* the last events as they stand, oldest first; owner: the history */
    int n_shown;
} gd_history;

/* From events.jsonl of a run folder; what is no event is skipped. gd_history_free in any case.
 * Errors: NOINPUT, IO, DATA, NOMEM. */
GD_CHECKED gd_status gd_history_read(const char *folder, gd_history *out);
void gd_history_free(gd_history *h);

#endif
