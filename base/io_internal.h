/* base/io_internal.h -- shared by io_file.c and io_dir.c. */
#ifndef GANDIST_BASE_IO_INTERNAL_H
#define GANDIST_BASE_IO_INTERNAL_H

#include "base/io.h"

/* The folder that path lies in ("." for a bare name). owner: caller. NULL: no memory. */
char *gd__path_parent(const char *path);
/* Closes fd. Errors: IO (a write that was put off failed). */
GD_CHECKED gd_status gd__close(int fd, const char *path);

#endif
