/* launch/progress.h -- what a person sees while a run goes: a live line on a terminal, a plain line
 * per log interval otherwise, JSON lines with --json. Rank 0 only. */
#ifndef GANDIST_LAUNCH_PROGRESS_H
#define GANDIST_LAUNCH_PROGRESS_H

#include "dist/train.h"

typedef enum gd_progress_mode { GD_PROGRESS_AUTO, GD_PROGRESS_QUIET, GD_PROGRESS_JSON } gd_progress_mode;

typedef struct gd_progress {
    gd_progress_mode mode;
    bool live, colour;
    int64_t first, last;  /* steps this start began at and will end at */
    double started;
} gd_progress;

void gd_progress_begin(gd_progress *p, gd_progress_mode mode, int64_t first, int64_t last);
void gd_progress_show(gd_progress *p, const gd_metrics *m);
/* Ends the live line, so that other text can follow. */
void gd_progress_end(gd_progress *p);
double gd_seconds(void); /* monotonic */
/* "42s", "3m05s", "12h30m". */
void gd_duration_text(double s, char *out, size_t room);

#endif
