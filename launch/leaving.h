/* launch/leaving.h -- when a run leaves before its last step: signals, a time limit, a stop file.
 *
 * Every rank listens to its signals; rank 0 alone looks at the clock and for the stop file. What one rank wishes
 * the control word of the next step boundary makes known to all (gd_train_hooks.poll). */
#ifndef GANDIST_LAUNCH_LEAVING_H
#define GANDIST_LAUNCH_LEAVING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* "90" (minutes), "HH:MM:SS" or Slurm's "D-HH:MM:SS": more than nothing, at most a year. what: the option, for the
 * message. Errors: USAGE. */
GD_CHECKED gd_status gd_duration_parse(const char *what, const char *text, int64_t *seconds);

typedef enum gd_leaving_reason {
    GD_LEAVING_NOT,
    GD_LEAVING_SIGNAL,     /* here or, for all that is known, on another rank */
    GD_LEAVING_TIME,
    GD_LEAVING_STOP_FILE
} gd_leaving_reason;

/* Zero: no limit, no file. Times are gd_seconds(). */
typedef struct gd_leaving {
    bool limited;
    double begun, end;     /* of the time that there is                                        */
    double longest_save;   /* seconds; 0: not known yet                                        */
    double slowest_step;   /* between two polls; forgets slowly                                */
    double polled, looked; /* the last poll, the last look for the file                        */
    char stop_file[2200];  /* "": none                                                         */
    gd_leaving_reason reason;
} gd_leaving;

/* begun: gd_seconds() when the program started; seconds: from then, 0: no limit of the user's. job_end: what
 * SLURM_JOB_END_TIME holds (seconds since 1970), or NULL;
 * the earlier one counts. A job end that is no such number, or is past, comes with a warning and does not count.
 * stop_file: NULL: none. */
void gd_leaving_begin(gd_leaving *l, double begun, int64_t seconds, const char *job_end, const char *stop_file);
/* A save took so long: what the time limit leaves room for. */
void gd_leaving_saved(gd_leaving *l, double seconds);
/* Seconds before the end at which the run leaves: for two saves and two steps, and some to end the processes. */
double gd_leaving_margin(const gd_leaving *l);
/* An answer for gd_train_hooks.poll; once an iteration, on rank 0. Asks the file system at most once a second. */
int gd_leaving_poll(gd_leaving *l);
/* After the run has saved: the stop file goes, if it was what was obeyed. */
void gd_leaving_obeyed(const gd_leaving *l);

#endif
