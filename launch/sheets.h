/* launch/sheets.h -- the sheet of pictures that a run makes of itself while it trains, always of the same samples.
 *
 *   noise      images of fixed latents
 *   paired     groups of input | output | target
 *   two-way    groups of a | G_AB(a) | G_BA(G_AB(a)) | b | G_BA(b) | G_AB(G_BA(b))
 *   classifier none */
#ifndef GANDIST_LAUNCH_SHEETS_H
#define GANDIST_LAUNCH_SHEETS_H

#include "dist/train.h"
#include "recipes/recipe.h"

typedef struct gd_sheet gd_sheet;

/* Chooses log.samples.n samples: for translations of the held-out images where the set has some, else of the
 * training images, without augmentation. *out: owner: caller; NULL where the topology has no sheet. Errors: what opening and reading the data set reports, NOMEM. */
GD_CHECKED gd_status gd_sheet_open(const gd_recipe *r, const gd_gan_spec *gan, gd_sheet **out);
void gd_sheet_close(gd_sheet *s); /* NULL is fine */
/* Rank 0 only, in a hook of t. Errors: CANTCREAT, IO, NOMEM, what the executor reports. */
GD_CHECKED gd_status gd_sheet_write(gd_sheet *s, gd_trainer *t, const char *path, const char *text);

#endif
