/* launch/trained.h -- a trained generator from a run folder: reads the recipe and the newest good
 * checkpoint, needs neither MPI nor the data set. */
#ifndef GANDIST_LAUNCH_TRAINED_H
#define GANDIST_LAUNCH_TRAINED_H

#include "models/gan.h"

typedef struct gd_trained gd_trained;

/* path: a run folder or one checkpoint folder inside it. weights: "ema" or "live"; NULL: EMA where the
 * run keeps one. Errors: NOINPUT, DATA, CONFIG, NOMEM, what loading reports. */
GD_CHECKED gd_status gd_trained_open(const char *path, const char *weights, gd_trained **out);
void gd_trained_close(gd_trained *t);
int64_t gd_trained_latent(const gd_trained *t);          /* Z                                         */
bool gd_trained_latent_uniform(const gd_trained *t);
gd_shape gd_trained_image(const gd_trained *t);          /* [1,H,W,C]                                 */
gd_range gd_trained_range(const gd_trained *t);
const char *gd_trained_name(const gd_trained *t);        /* "dcgan, step 4000, ema weights"           */
/* z [n,Z] -> out [n,H,W,C]. Errors: NUMERIC, what the executor reports. */
GD_CHECKED gd_status gd_trained_generate(gd_trained *t, int64_t n, const float *z, float *out);

#endif
