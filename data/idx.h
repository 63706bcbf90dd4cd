/* data/idx.h -- images and labels of IDX files (MNIST family), in memory. Not for other folders. */
#ifndef GANDIST_DATA_IDX_H
#define GANDIST_DATA_IDX_H

#include "data/dataset.h"
#include "data/image.h"

typedef struct gd__idx {
    int64_t count;
    int height, width, channels;
    uint8_t *pixels; /* count x height x width x channels */
    uint8_t *labels; /* count; NULL: no file of labels lies beside the images */
    int classes;     /* largest label + 1; 0: no labels   */
} gd__idx;

/* The images at path, gzipped or not, and the labels that lie beside them under the family's custom.
 * Nothing is allocated for the pixels before the file's length says that they can be there.
 * *out is to be freed after errors too. Errors: NOINPUT, DATA, IO, NOMEM. */
gd_status gd__idx_load(const char *path, gd__idx *out);
void gd__idx_free(gd__idx *x);
/* The file of images that `path` stands for: the file itself, or in a folder train-images-idx3-ubyte, gzipped
 * or not. test: its held-out counterpart, with t10k or test in place of train. *out: malloc'ed.
 * Errors: NOINPUT, NOMEM. */
gd_status gd__idx_find(const char *path, bool test, char **out);
/* gd__idx_find and gd__idx_load of Fashion-MNIST: says how to get it when it is not there. */
gd_status gd__fashion_load(const gd_dataset_spec *spec, gd__idx *out);
/* One image of `each` bytes a picture, copied. */
gd_status gd__idx_image(const char *name, const gd__idx *x, int64_t index, gd_image *out);

#endif
