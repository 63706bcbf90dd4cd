/* data/source.h -- what a source of samples provides. Not for other folders.
 *
 * A source opens what the spec names, fills in parts, counts and raw shapes, and then hands out raw
 * samples from any thread. dataset.c does what is equal for all: channel conversion, fitting,
 * mirroring. */
#ifndef GANDIST_DATA_SOURCE_H
#define GANDIST_DATA_SOURCE_H

#include <stdatomic.h>

#include "data/dataset.h"
#include "data/image.h"

/* Pictures that are ready to hand out are kept when all of them take at most this much memory (of
 * each process). Fashion-MNIST at 32 pixels takes 61 MB. */
enum { GD__KEEP_MAX = 256 << 20 };

typedef struct gd__source {
    /* Fills d: parts, part_count, raw, fingerprint, state. On failure leaves d->state such that close
     * may be called. spec's strings are not kept. Required. */
    gd_status (*open)(const gd_dataset_spec *spec, gd_dataset *d);
    /* Raw image, owned by the caller, of d->raw's size where that says one. NULL: a source of points. */
    gd_status (*image)(const gd_dataset *d, int part, int64_t index, gd_image *out);
    /* A whole point. NULL: a source of images. */
    void (*point)(const gd_dataset *d, int part, int64_t index, float *out);
    void (*close)(gd_dataset *d); /* NULL: nothing but free(d->state) */
    bool in_memory;               /* image() only copies: not worth keeping what it gave */
} gd__source;

/* Finished pictures of one part, filled as they are asked for, before mirroring. */
typedef struct gd__kept {
    uint8_t *pixels;            /* part_count x gd_sample_bytes; NULL: nothing is kept */
    _Atomic(uint8_t) *state;    /* part_count: 0 missing, 1 a thread writes, 2 there   */
} gd__kept;

struct gd_dataset {
    const gd__source *source;
    const char *name; /* of the source */
    char *where;      /* for messages: the path, or the name of a source without one */
    int size, channels;
    bool flip, aligned;
    uint64_t seed;
    int parts;
    int64_t part_count[GD_PARTS_MAX];
    gd_sample_shape raw[GD_PARTS_MAX];   /* as stored; height 0: differs from image to image */
    gd_sample_shape shape[GD_PARTS_MAX]; /* as handed out                                    */
    uint64_t fingerprint;
    char describe[320];
    gd__kept kept[GD_PARTS_MAX];
    void *state;
};

#define GD__FASHION_TRAIN "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"

/* C name, name in a recipe, help, default path, synthetic */
#define GD__SOURCE_LIST(X)                                                                         \
    X(fashion, "fashion-mnist", "60,000 grey 28x28 pictures of clothes (Debian: dataset-fashion-mnist)", \
      GD__FASHION_TRAIN, false)                                                                    \
    X(idx, "idx", "a file of byte images in IDX format (MNIST family), gzipped or not", NULL, false) \
    X(folder, "folder", "PNG and JPEG files of a folder and its sub-folders", NULL, false)         \
    X(ring, "ring", "8 Gaussians on a circle, points in the plane", NULL, true)                    \
    X(grid, "grid", "25 Gaussians on a 5 x 5 grid, points in the plane", NULL, true)               \
    X(swiss_roll, "swiss-roll", "a noisy spiral, points in the plane", NULL, true)                 \
    X(synthetic, "synthetic", "random pixels, for measuring speed without a data set", NULL, true)

#define GD__SOURCE_DECLARE(c, name, help, path, synthetic) extern const gd__source gd__source_##c;
GD__SOURCE_LIST(GD__SOURCE_DECLARE)
#undef GD__SOURCE_DECLARE

/* Applies spec->count to *have: only the first `count` are used. Errors: CONFIG (fewer exist). */
gd_status gd__source_limit(const gd_dataset_spec *spec, const char *path, int64_t *have);

#endif
