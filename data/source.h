/* data/source.h -- what a source of samples provides. Not for other folders.
 *
 * A source opens what the spec names, fills in parts, counts and raw shapes, and then hands out raw
 * samples from any thread. dataset.c and sample.c do what is equal for all: order of the two domains,
 * labels as a part, channel conversion, fitting, cropping, mirroring. A source numbers its parts as
 * they are stored: it never sees spec->swap. */
#ifndef GANDIST_DATA_SOURCE_H
#define GANDIST_DATA_SOURCE_H

#include <stdatomic.h>

#include "data/dataset.h"
#include "data/image.h"

/* Pictures that are ready to hand out are kept when all of them take at most this much memory (of
 * each process). Those of sources that lie in memory already are quick to make again: less is spent on
 * them. Fashion-MNIST at 32 pixels takes 61 MB. */
enum { GD__KEEP_MAX = 256 << 20, GD__KEEP_COPIES_MAX = 64 << 20 };

typedef struct gd__source {
    /* Fills d: parts, part_count, raw, aligned, classes, fingerprint, state. On failure leaves d->state
     * such that close may be called. spec's strings are not kept. Required. */
    gd_status (*open)(const gd_dataset_spec *spec, gd_dataset *d);
    /* Raw image, owned by the caller, of the part's raw size where that says one. NULL: a source of points. */
    gd_status (*image)(const gd_dataset *d, int part, int64_t index, gd_image *out);
    /* Both parts of an aligned set, where that costs less than twice image(). NULL: it does not.
     * On failure out is left as it is: all zero. */
    gd_status (*pair)(const gd_dataset *d, int64_t index, gd_image out[GD_PARTS_MAX]);
    /* The raw image of the other domain for sample `index` of part `from`, of a set that is not aligned.
     * NULL: unknown. UNSUP where it depends on the set. */
    gd_status (*truth)(const gd_dataset *d, int from, int64_t index, gd_image *out);
    /* 0 .. classes-1, or -1. NULL: no labels. */
    int (*label)(const gd_dataset *d, int part, int64_t index);
    /* A whole point. NULL: a source of images. */
    void (*point)(const gd_dataset *d, int part, int64_t index, float *out);
    void (*close)(gd_dataset *d); /* NULL: nothing but free(d->state) */
    bool in_memory;               /* image() only copies: what it gave costs little to get again */
    bool test;                    /* open() knows spec->test: there may be a held-out half */
} gd__source;

/* Finished pictures of one part, filled as they are asked for, before cropping and mirroring. */
typedef struct gd__kept {
    uint8_t *pixels;         /* part_count x gd_sample_bytes(ready); NULL: nothing is kept */
    _Atomic(uint8_t) *state; /* part_count: 0 missing, 1 a thread writes, 2 there          */
} gd__kept;

struct gd_dataset {
    const gd__source *source;
    const char *name; /* of the source */
    char *where;      /* for messages: the path, or the name of a source without one */
    int size, load, channels;
    bool flip, crop; /* crop: at a random place out of load x load pixels */
    bool swap, labels, test;
    bool aligned;
    int classes; /* 0: no labels */
    uint64_t seed;
    int parts;
    int64_t part_count[GD_PARTS_MAX];
    gd_sample_shape raw[GD_PARTS_MAX];   /* as stored; height 0: differs from image to image */
    gd_sample_shape ready[GD_PARTS_MAX]; /* before cropping                                  */
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
    X(fashion32, "fashion32", "fashion-mnist in the middle of 32x32 zeros", GD__FASHION_TRAIN, false) \
    X(edges2fashion, "edges2fashion", "pairs: outlines of fashion32, and fashion32", GD__FASHION_TRAIN, false) \
    X(bags2shoes, "bags2shoes", "two domains: 6,000 bags and 18,000 shoes of fashion32", GD__FASHION_TRAIN, false) \
    X(stacked_fashion, "stacked-fashion", "three pictures of fashion32 as red, green, blue: 1,000 modes", \
      GD__FASHION_TRAIN, false)                                                                    \
    X(fashion_hflip, "fashion-hflip", "two domains: sneakers, and other sneakers mirrored", GD__FASHION_TRAIN, false) \
    X(fashion_invert, "fashion-invert", "two domains: half of fashion32, and the other half inverted", \
      GD__FASHION_TRAIN, false)                                                                    \
    X(idx, "idx", "a file of byte images in IDX format (MNIST family), gzipped or not", NULL, false) \
    X(cifar10, "cifar10", "60,000 colour 32x32 pictures of ten classes, the binary version", NULL, false) \
    X(folder, "folder", "PNG and JPEG files of a folder and its sub-folders", NULL, false)         \
    X(pairs, "pairs", "aligned pairs: side by side in one file, or two folders A and B", NULL, false) \
    X(split_pairs, "split-pairs", "two domains: A of the first half of the pairs, B of the second half", NULL, false) \
    X(unpaired, "unpaired", "two domains: folders trainA and trainB, testA and testB", NULL, false) \
    X(tar, "tar", "tar shards of pictures (WebDataset layout), read without unpacking", NULL, false) \
    X(ring, "ring", "8 Gaussians on a circle, points in the plane", NULL, true)                    \
    X(grid, "grid", "25 Gaussians on a 5 x 5 grid, points in the plane", NULL, true)               \
    X(swiss_roll, "swiss-roll", "a noisy spiral, points in the plane", NULL, true)                 \
    X(synthetic, "synthetic", "random pixels, for measuring speed without a data set", NULL, true) \
    X(synthetic_pairs, "synthetic-pairs", "pairs of random pixels, for measuring speed", NULL, true)

#define GD__SOURCE_DECLARE(c, name, help, path, synthetic) extern const gd__source gd__source_##c;
GD__SOURCE_LIST(GD__SOURCE_DECLARE)
#undef GD__SOURCE_DECLARE

/* Applies spec->count to *have: only the first `count` are used. Errors: CONFIG (fewer exist). */
gd_status gd__source_limit(const gd_dataset_spec *spec, const char *path, int64_t *have);
/* Both domains of a set without pairs: each keeps at most the first `count`. Errors: CONFIG (both have fewer). */
gd_status gd__source_limit_both(const gd_dataset_spec *spec, const char *path, int64_t have[2]);

/* Sample index[p] of every part p for one draw, as gd_dataset_get part by part, but a pair that lies in one
 * file is decoded once. draw NULL: whole samples. */
gd_status gd__dataset_sample(const gd_dataset *d, const int64_t index[GD_PARTS_MAX], const uint64_t *draw,
                             void *const out[GD_PARTS_MAX]);

#endif
