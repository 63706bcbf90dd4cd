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

/* What the settings need to know of the data: without the set itself, runs are opened where it is not. */
typedef struct gd_setup_data {
    int parts;                           /* one, or two of two domains; labels count as a part too */
    gd_sample_shape part[GD_PARTS_MAX];
    int classes;                         /* of labels; 0: none                                     */
} gd_setup_data;
gd_setup_data gd_setup_data_of(const gd_dataset *d);

/* *layers: storage for explicit layer lists, freed with gd_setup_free after the trainer was made. */
typedef struct gd_setup {
    gd_train_config config;
    gd_layer_spec *layers[GD_GROUP_COUNT];
} gd_setup;
/* d: of the set that gd_setup_dataset describes. On failure nothing is left to free. Errors: CONFIG, NOMEM. */
GD_CHECKED gd_status gd_setup_train(const gd_recipe *r, const gd_setup_data *d, gd_setup *out);
void gd_setup_free(gd_setup *s);

#endif
