/* What a recipe's data set would say, for tests that build its networks without data. */
#ifndef GANDIST_TESTS_RECIPE_FACTS_H
#define GANDIST_TESTS_RECIPE_FACTS_H

#include <string.h>

#include "launch/setup.h"

static inline gd_setup_data facts_of(const gd_recipe *r) {
    bool two = !strcmp(r->topology, "paired") || !strcmp(r->topology, "two-way");
    int side = (int)r->data.image.size;
    gd_sample_shape image = {GD_SAMPLE_U8, side, side, (int)r->data.image.channels};
    if (!side) image = (gd_sample_shape){GD_SAMPLE_F32, 1, 1, 2};
    return (gd_setup_data){.parts = two ? 2 : 1, .part = {image, image}, .classes = 10};
}

#endif
