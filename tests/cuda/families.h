/* tests/cuda/families.h -- a small GAN of every family of networks and losses that recipes can ask for. */
#ifndef GANDIST_TESTS_CUDA_FAMILIES_H
#define GANDIST_TESTS_CUDA_FAMILIES_H

#include "models/gan.h"

typedef struct family {
    const char *name;
    gd_gan_spec spec;
} family;

const family *families(int *count);

#endif
