/* dist/stragglers.h -- ranks that keep the others waiting, and with what: pure rules over times that rank 0 has anyway.
 * Folder-internal. */
#ifndef GANDIST_DIST_STRAGGLERS_H
#define GANDIST_DIST_STRAGGLERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { GD__STRAGGLER_WINDOW = 100 /* iterations */, GD__STRAGGLER_STRIKES = 3 };

typedef struct gd__stragglers {
    int n, iterations;
    double *data, *compute, *wait; /* per rank: seconds, summed over the window; one piece of memory */
    double *sorted;                /* scratch                                                        */
    int *strikes;                  /* windows in a row in which the rank was slow                    */
} gd__stragglers;

GD_CHECKED gd_status gd__stragglers_open(gd__stragglers *s, int ranks); /* s zero. Errors: NOMEM */
void gd__stragglers_close(gd__stragglers *s);
/* An iteration of one rank: waiting for data, computing, waiting for others; seconds. */
void gd__stragglers_add(gd__stragglers *s, int rank, double data, double compute, double wait);
/* When all ranks were added. At the end of a window: true, and the rank in *rank and a sentence in out, if a rank has had
 * 1.4 times the own work of the median one for three windows, or 6, 12, 24, ... The worst one, if there are several. */
bool gd__stragglers_end(gd__stragglers *s, int *rank, char *out, size_t room);

#endif
