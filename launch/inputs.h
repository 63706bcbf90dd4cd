/* launch/inputs.h -- the image files that words of a command line stand for. */
#ifndef GANDIST_LAUNCH_INPUTS_H
#define GANDIST_LAUNCH_INPUTS_H

#include "base/status.h"
#include "launch/options.h"

typedef struct gd_inputs {
    char **path, **stem; /* stem: the file's name without folder and ending */
    int count, room;
} gd_inputs;

/* Files as they are, folders as their .png, .jpg and .jpeg files in order of name. Errors: NOINPUT (no such file, a
 * folder without images), USAGE (two files of one stem, whose results would have one name), IO, NOMEM. */
GD_CHECKED gd_status gd_inputs_find(const gd_text_list *words, int first, gd_inputs *out);
void gd_inputs_free(gd_inputs *in);

#endif
