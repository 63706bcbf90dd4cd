/* data/dataset.h -- where training samples come from.
 *
 * A data set is `count` samples with one or two parts (images of one or two domains, or points).
 * Every part has one fixed shape after decoding, so batches are plain arrays. */
#ifndef GANDIST_DATA_DATASET_H
#define GANDIST_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pick.h"
#include "base/status.h"

enum { GD_PARTS_MAX = 2 };

typedef enum gd_sample_type { GD_SAMPLE_U8, GD_SAMPLE_F32 } gd_sample_type;

/* One part of one sample: height x width x channels, channel fastest. U8 is 0..255 as decoded (the
 * network's range is made in the graph); F32 is used as it is (points: 1 x 1 x 2). */
typedef struct gd_sample_shape {
    gd_sample_type type;
    int height, width, channels;
} gd_sample_shape;

typedef struct gd_dataset_spec {
    const char *source; /* a name of gd_dataset_sources(): fashion-mnist, idx, folder, ring, ...    */
    const char *path;   /* file or folder; NULL: the source's default place                        */
    int size;           /* images: side in pixels after resize and centre crop; 0: as stored       */
    int load;           /* images: first resized to load x load (aspect not kept, bicubic as in the public
                           pix2pix code), then a random size x size crop, a draw per sample and pass; a pair
                           is cropped at one place; the held-out half is resized to size x size. 0: no */
    bool swap;          /* two domains: part 0 is b and part 1 is a                                */
    bool labels;        /* part 1 is the label, one-hot: U8 1 x 1 x classes of 0 and 1             */
    bool test;          /* the held-out half of the set; no augmentation. NOINPUT where there is none */
    int channels;       /* 1 or 3; 0: as stored                                                    */
    bool flip;          /* mirror at random, a draw per sample and pass                            */
    uint64_t seed;      /* of flips and synthetic samples                                          */
    int64_t count;      /* synthetic sets: how many samples exist; 0: the source's default.
                           Others: use only the first `count`; 0: all                              */
} gd_dataset_spec;

typedef struct gd_source_info {
    const char *name;         /* as in a recipe                   */
    const char *help;         /* one line                         */
    const char *default_path; /* NULL: data.path must be given    */
    bool synthetic;
} gd_source_info;
const gd_source_info *gd_dataset_sources(int *count); /* static table */

typedef struct gd_dataset gd_dataset;

/* Opens and checks what can be checked without decoding everything: counts, headers, sizes.
 * *out: owner: caller, gd_dataset_close. Not collective. Thread safe afterwards.
 * Errors: NOINPUT (path), DATA (catalogue: names the file, found and expected), CONFIG, NOMEM, IO. */
GD_CHECKED gd_status gd_dataset_open(const gd_dataset_spec *spec, gd_dataset **out);
void gd_dataset_close(gd_dataset *d); /* NULL is fine */

int64_t gd_dataset_count(const gd_dataset *d);
int gd_dataset_parts(const gd_dataset *d);
int64_t gd_dataset_part_count(const gd_dataset *d, int part); /* domains of a set without pairs differ */
bool gd_dataset_aligned(const gd_dataset *d);     /* sample i of both parts belong together            */
int gd_dataset_classes(const gd_dataset *d);      /* 0: the source has no labels                       */
int gd_dataset_label(const gd_dataset *d, int64_t index); /* of part 0; -1: none                       */
/* What sample `index` of part `from` is in the other domain, where the map is known (pairs, mirrored and
 * inverted sets): out as gd_dataset_get. Errors: UNSUP where it is not known; those of gd_dataset_get. */
GD_CHECKED gd_status gd_dataset_truth(const gd_dataset *d, int from, int64_t index, void *out);
gd_sample_shape gd_dataset_shape(const gd_dataset *d, int part);
/* Identity of the content: names, sizes, counts (and all bytes for single-file sources). */
uint64_t gd_dataset_fingerprint(const gd_dataset *d);
/* "fashion-mnist: 60,000 images 28x28x1 -> 32x32x1". owner: d. */
const char *gd_dataset_describe(const gd_dataset *d);
size_t gd_sample_bytes(gd_sample_shape s);

/* Decodes part `part` of sample `index` into out (gd_sample_bytes). `draw` is the number of this
 * sample in the run (cursor position): augmentation is keyed by it. Safe from several threads.
 * Finished pictures are kept when all of them take at most 256 MiB, so each is decoded once.
 * Errors: DATA (names file and defect), NOINPUT (a file went away since opening), IO, NOMEM. */
GD_CHECKED gd_status gd_dataset_get(const gd_dataset *d, int part, int64_t index, uint64_t draw,
                                    void *out);

/* The same in two halves, for who crops and mirrors elsewhere: a whole sample, which is the same for every draw and of
 * gd_dataset_whole_shape, and what of it draw `draw` takes, of the size gd_dataset_shape; its index is left 0. */
gd_sample_shape gd_dataset_whole_shape(const gd_dataset *d, int part);
gd_pick gd_dataset_pick(const gd_dataset *d, int part, uint64_t draw);
/* n whole samples from `first` on, by several threads, for who needs each but once: nothing is kept. Errors: as of
 * gd_dataset_get, of the lowest sample that has one. */
GD_CHECKED gd_status gd_dataset_whole_run(const gd_dataset *d, int part, int64_t first, int64_t n, void *out);

#endif
