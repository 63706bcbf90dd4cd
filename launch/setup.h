/* launch/setup.h -- from a recipe to the plain settings of data/, models/ and dist/.
 *
 * The only place that knows both sides. What the engine cannot do is refused here, naming the key. */
#ifndef GANDIST_LAUNCH_SETUP_H
#define GANDIST_LAUNCH_SETUP_H

#include "data/dataset.h"
#include "dist/train.h"
#include "recipes/recipe.h"

/* Specs borrow strings of r. Errors: CONFIG. */
GD_CHECKED gd_status gd_setup_dataset(const gd_recipe *r, gd_dataset_spec *out);
/* image: the shape the data set delivers. *layers: storage for explicit layer lists, freed with
 * gd_setup_free after the trainer was made. Errors: CONFIG, NOMEM. */
typedef struct gd_setup {
    gd_train_config config;
    gd_layer_spec *layers[GD_GROUP_COUNT];
} gd_setup;
GD_CHECKED gd_status gd_setup_train(const gd_recipe *r, gd_sample_shape image, gd_setup *out);
void gd_setup_free(gd_setup *s);

#endif
