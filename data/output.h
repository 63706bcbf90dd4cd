/* data/output.h -- a file that is written piece by piece and appears when it is whole. Not for other folders. */
#ifndef GANDIST_DATA_OUTPUT_H
#define GANDIST_DATA_OUTPUT_H

#include <stddef.h>

#include "base/status.h"

typedef struct gd__output {
    char *path, *partial; /* partial: written under this name first */
    int fd;
} gd__output;

/* Errors: CANTCREAT (also when path is there already), NOMEM. Afterwards gd__output_close is due. */
GD_CHECKED gd_status gd__output_open(const char *path, gd__output *out);
GD_CHECKED gd_status gd__output_put(gd__output *o, const void *bytes, size_t n);
/* Onto the disk, and under its name. Never takes the place of another file. Errors: CANTCREAT, IO. */
GD_CHECKED gd_status gd__output_commit(gd__output *o);
void gd__output_close(gd__output *o); /* without a commit before it nothing is left */

#endif
