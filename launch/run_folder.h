/* launch/run_folder.h -- runs/<name>/: what a run leaves behind. Written by rank 0 only. */
#ifndef GANDIST_LAUNCH_RUN_FOLDER_H
#define GANDIST_LAUNCH_RUN_FOLDER_H

#include "dist/train.h"
#include "recipes/recipe.h"

/* recipe.yaml build.json metrics.jsonl events.jsonl log.txt samples/ checkpoints/ */
typedef struct gd_run_folder gd_run_folder;

/* Makes the folder and what is in it. fresh: an existing run is first moved aside to <path>.old-<k>,
 * so nothing is lost. Errors: CANTCREAT, IO, NOMEM. */
GD_CHECKED gd_status gd_run_folder_open(const char *path, bool fresh, gd_run_folder **out);
void gd_run_folder_close(gd_run_folder *f);
/* path/name; owner: f, valid until the next call. */
const char *gd_run_folder_path(gd_run_folder *f, const char *name);
/* Drops metrics behind `step`: a resumed run writes them again. Errors: IO. */
GD_CHECKED gd_status gd_run_folder_rewind(gd_run_folder *f, int64_t step);
GD_CHECKED gd_status gd_run_folder_metrics(gd_run_folder *f, const gd_metrics *m);
/* A line of log.txt with the time of day; what cannot be written is dropped. */
void gd_run_folder_note(gd_run_folder *f, const char *format, ...) GD_PRINTF(2, 3);
/* A line of events.jsonl; what cannot be written is dropped, with one warning. Warnings of the log become events,
 * too. */
void gd_run_folder_event(gd_run_folder *f, const gd_event *e);
/* One metrics line as JSON, malloc'ed, with a newline. NaN and infinite values are left out. */
char *gd_metrics_json(const gd_metrics *m);

#endif
