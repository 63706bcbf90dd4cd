/* launch/version.h -- what this build is: shown by --version, written to build.json. */
#ifndef GANDIST_LAUNCH_VERSION_H
#define GANDIST_LAUNCH_VERSION_H

#include <stdio.h>

#include "base/status.h"
#include "dist/comm.h"
#include "launch/session.h"

void gd_version_print(FILE *out);
/* build.json of a run folder. Rank 0 only. Errors: IO, CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd_version_write(const char *path, const gd_comm *c, const gd_layout *l);

#endif
