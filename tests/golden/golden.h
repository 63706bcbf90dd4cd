/* Reader of the files that make.py writes. Failures fail the running cmocka test. */
#ifndef GANDIST_TESTS_GOLDEN_H
#define GANDIST_TESTS_GOLDEN_H

#include "tests/unit/models_rig.h"

typedef struct golden_record {
    char name[128];
    int64_t stride, elements; /* of the tensor */
    int64_t n;                /* stored: elements 0, stride, 2 stride, ... */
    double *value;
} golden_record;

typedef struct golden {
    char file[64];
    int n;
    golden_record *record;
} golden;

golden *golden_open(const char *file); /* "dcgan32.bin", beside make.py */
void golden_close(golden *g);
/* got: the whole tensor, elements as PyTorch orders them. Deviations are relative to the tensor's
 * largest stored value (at least 0.1; 10 where all are 0 but for rounding, as gradients of biases in front of a norm are:
 * sums of large numbers that cancel). */
void golden_check(const golden *g, const char *name, int64_t elements, const double *got, double tolerance);
const golden_record *golden_find(const golden *g, const char *name);

/* From PyTorch's order of a tensor to ours, and back. shape: ours; perm: as gd_param_info.file_perm. */
void golden_to_memory(gd_shape shape, const int *perm, const double *file, double *memory);
void golden_to_file(gd_shape shape, const int *perm, const double *memory, double *file);
extern const int golden_image_perm[GD_RANK_MAX]; /* of NCHW images */

/* Fills a network's parameters and buffers with the numbers of `stream`, as make.py's fill(). */
void golden_fill(rig *r, const gd_net *net, const char *prefix, uint64_t stream);
/* Checks one parameter-shaped binding against record `record`. */
void golden_check_param(const golden *g, const char *record, const gd_param_info *p, const double *memory,
                        double tolerance);
double *golden_room(int64_t n); /* n zeros */

#endif
