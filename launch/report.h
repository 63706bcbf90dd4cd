/* launch/report.h -- index.html of a run folder: curves, sample sheets through time, configuration.
 *
 * One static page without scripts or outside references; it can be opened from disk and copied away
 * with the folder. Made anew from metrics.jsonl, samples/ and recipe.yaml whenever it is asked for. */
#ifndef GANDIST_LAUNCH_REPORT_H
#define GANDIST_LAUNCH_REPORT_H

#include "base/status.h"

/* Writes run/index.html. Rank 0 only. Errors: NOINPUT, IO, CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd_report_write(const char *run, const char *title);

#endif
