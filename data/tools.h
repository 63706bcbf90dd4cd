/* data/tools.h -- makes files of data sets: what `gandist data` does. */
#ifndef GANDIST_DATA_TOOLS_H
#define GANDIST_DATA_TOOLS_H

#include <stddef.h>

#include "data/dataset.h"

/* The source that what lies at path is most likely meant for, by its names and its first bytes. owner: static.
 * Errors: NOINPUT (not there), DATA (a file of no kind that is known). */
GD_CHECKED gd_status gd_data_guess(const char *path, const char **source);

typedef struct gd_data_report {
    int64_t samples, bad; /* over all parts */
    char *errors;         /* the first ten, one a line; malloc'ed, NULL: none */
} gd_data_report;
/* Decodes every sample of every part. *out is to be freed (free(errors)) after errors too. A sample that
 * cannot be had is counted and is no error of this function. Errors: NOMEM. */
GD_CHECKED gd_status gd_data_check(const gd_dataset *d, gd_data_report *out);

/* Writes the samples of d, as they are without augmentation, below `folder`: one domain as train-images-idx3-ubyte
 * with its labels beside it (test-... for the held-out half); pairs as PNG files side by side below train/ (test/);
 * two domains as PNG files below trainA/ and trainB/ (testA/, testB/). The sources idx, pairs and unpaired read
 * the same bytes back. Labels above 255 go to train-modes-idx1-short, 16 bits each.
 * Errors: UNSUP (points, labels as a part), CANTCREAT (also when it is there already), IO, NOMEM, those of
 * gd_dataset_get. */
GD_CHECKED gd_status gd_data_derive(const gd_dataset *d, const char *folder);

/* Packs the pictures below `folder` into one tar for the source "tar", bytes unchanged, in the order of their
 * names. folder/A and folder/B become pairs. *samples: how many. The archive appears when it is whole.
 * Errors: those of the sources folder and pairs, CANTCREAT (also when `file` is there already), IO. */
GD_CHECKED gd_status gd_data_pack(const char *folder, const char *file, int64_t *samples);

#endif
