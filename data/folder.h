/* data/folder.h -- the picture files below a folder. Not for other folders. */
#ifndef GANDIST_DATA_FOLDER_H
#define GANDIST_DATA_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/dataset.h"
#include "data/image.h"

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
/* One of them, with channels as stored. Errors: DATA, NOINPUT (went away since), IO, NOMEM. */
GD_CHECKED gd_status gd__folder_decode(const char *root, const gd__file *f, gd_image *out);
/* What all have in common: grey and colour together count as colour; height and width 0 where sizes differ,
 * which needs any_size. Errors: DATA (different sizes, with a table of them). */
GD_CHECKED gd_status gd__folder_shape(const char *root, const gd__file_list *l, bool any_size, gd_sample_shape *out);
/* Hash of names and lengths, in order. */
uint64_t gd__folder_identify(const gd__file_list *l);
void gd__folder_cut(gd__file_list *l, int64_t count); /* to the first `count` */
void gd__file_list_free(gd__file_list *list);

/* ---- names ---- */

bool gd__has(const char *folder, const char *name);        /* anything of this name */
bool gd__has_folder(const char *folder, const char *name); /* a folder of this name */
/* All names in a folder; owner: caller, gd_io_free_names. Errors: DATA (cannot be read), NOMEM. */
GD_CHECKED gd_status gd__folder_names(const char *path, char ***names, size_t *count);

/* ---- two folders, one of each domain ---- */

typedef struct gd__two {
    char *root[2]; /* malloc'ed */
    gd__file_list list[2];
} gd__two;

/* Fills the lists from the roots. Errors: those of gd__folder_scan, and which domain it is. */
GD_CHECKED gd_status gd__two_scan(gd__two *t);
/* Sorts both lists by their names without endings: files i of both belong together. path: for messages.
 * Errors: DATA (names without a partner: the first of them and how many; names that differ in the ending only). */
GD_CHECKED gd_status gd__two_match(const char *path, gd__two *t);
void gd__two_free(gd__two *t);

#endif
