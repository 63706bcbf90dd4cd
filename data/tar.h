/* data/tar.h -- the members of a tar archive, one after the other. Not for other folders.
 *
 * Knows ustar, GNU long names and pax records; reads 512 bytes a member and skips the content. Nothing is
 * ever unpacked, so names are names only; those that would leave the folder are refused nevertheless. */
#ifndef GANDIST_DATA_TAR_H
#define GANDIST_DATA_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { GD__TAR_BLOCK = 512, GD__TAR_NAME_MAX = 4096 };

typedef struct gd__tar {
    const char *path; /* for messages; not kept */
    int fd;
    uint64_t size, at; /* of the file; the next header */
    uint64_t number;   /* of the member, from 1 */
    /* The member: */
    bool folder;
    uint64_t data, bytes; /* where its content begins; length */
    char name[GD__TAR_NAME_MAX + 1];
} gd__tar;

/* Opens the file and looks at its start. fd: to be closed by the caller when this returns GD_OK.
 * Errors: NOINPUT, DATA (empty, packed), IO. */
GD_CHECKED gd_status gd__tar_open(const char *path, gd__tar *t);
/* The next regular file or folder. *end: there is none, and the archive ends as it should.
 * Errors: DATA (names archive, member and defect), IO, NOMEM. */
GD_CHECKED gd_status gd__tar_next(gd__tar *t, bool *end);

/* A whole header block. type: '0' for a regular file, 'L' for the long name of the member behind it. At most
 * 100 bytes of the name are used; bytes: below 8 GiB. */
void gd__tar_header(const char *name, char type, uint64_t bytes, uint8_t out[GD__TAR_BLOCK]);

#endif
