/* data/folder.h -- the picture files below a folder. Not for other folders. */
#ifndef GANDIST_DATA_FOLDER_H
#define GANDIST_DATA_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct gd__file {
    char *name; /* below the root, with / between */
    uint64_t bytes;
    int height, width, channels; /* as stored; 0 until probed */
} gd__file;

typedef struct gd__file_list {
    gd__file *files; /* sorted by the bytes of their names */
    size_t count, room;
} gd__file_list;

/* All .png, .jpg and .jpeg files (in any case) below root, links followed. Names that begin with a
 * dot and other endings are left out and logged. No file is opened.
 * Errors: NOINPUT (root does not exist), DATA (no picture; FIFO, device, broken link or loop among
 * them; a folder that cannot be read), NOMEM. *out is to be freed after errors too. */
GD_CHECKED gd_status gd__folder_scan(const char *root, gd__file_list *out);
/* Reads the headers of all files, several at a time, and decodes fully what seems cut off.
 * Errors: DATA (the first bad file in order, and how many more there are), NOMEM, IO. */
GD_CHECKED gd_status gd__folder_probe(const char *root, gd__file_list *list);
/* Whole file into memory, within the limit for picture files. *bytes malloc'ed. */
GD_CHECKED gd_status gd__folder_read(const char *root, const gd__file *f, char **path, void **bytes, size_t *n);
void gd__file_list_free(gd__file_list *list);

#endif
