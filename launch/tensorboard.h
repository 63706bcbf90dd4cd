/* launch/tensorboard.h -- scalars and sample sheets as TensorBoard event files. Rank 0 only.
 *
 * Every start of a run writes a new file into the folder: a torn last record of a killed run is left
 * alone, and readers drop what lies behind the step that the new file starts at. */
#ifndef GANDIST_LAUNCH_TENSORBOARD_H
#define GANDIST_LAUNCH_TENSORBOARD_H

#include "dist/train.h"

typedef struct gd_tensorboard gd_tensorboard;

/* Makes the folder and starts dir/events.out.tfevents.<seconds>.<host>.<pid> at `step`.
 * *out: owner: caller. Errors: CANTCREAT, IO, NOMEM. */
GD_CHECKED gd_status gd_tensorboard_open(const char *dir, int64_t step, gd_tensorboard **out);
void gd_tensorboard_close(gd_tensorboard *t); /* NULL is fine */
/* Every finite value of m as a scalar. Errors: IO, NOMEM. */
GD_CHECKED gd_status gd_tensorboard_metrics(gd_tensorboard *t, const gd_metrics *m);
/* A PNG file as the image `tag`. Errors: NOINPUT, DATA, IO, NOMEM. */
GD_CHECKED gd_status gd_tensorboard_image(gd_tensorboard *t, int64_t step, const char *tag, const char *png);

#endif
