/* launch/checkpoints.h -- what the commands verify and checkpoint say about one checkpoint. */
#ifndef GANDIST_LAUNCH_CHECKPOINTS_H
#define GANDIST_LAUNCH_CHECKPOINTS_H

#include <stdbool.h>
#include <stdio.h>

#include "dist/checkpoint.h"

typedef struct gd_finding {
    const char *path;
    bool deep;             /* every byte was read                                        */
    gd_status st;          /* of gd_checkpoint_verify                                    */
    gd_verify_report report;
    char reason[4096];     /* why it is not good, else ""                                */
    double age_s;          /* since its manifest was written; -1: not known              */
} gd_finding;

/* Verifies; what is wrong with the checkpoint is in *out, not in the result. */
void gd_checkpoint_look(const char *path, bool deep, gd_finding *out);
/* ok, not-finite, damaged, incomplete (no manifest, or no such), unreadable */
const char *gd_finding_state(const gd_finding *f);
/* As one JSON object and a newline. Errors: NOMEM. */
GD_CHECKED gd_status gd_finding_print_json(const gd_finding *f, FILE *out);
/* The status that a command ends with when this is the worst that it found: with a message, unless OK. */
GD_CHECKED gd_status gd_finding_verdict(const gd_finding *f);
/* The folder of checkpoints that a run folder, or that folder itself, stands for. Errors: NOINPUT. */
GD_CHECKED gd_status gd_checkpoints_of(const char *path, char *out, size_t room);

#endif
