/* launch/kernels.h -- which implementations of convolutions a command uses (compute/cpu/choice.h), and their record:
 * kernels.txt in the run folder. */
#ifndef GANDIST_LAUNCH_KERNELS_H
#define GANDIST_LAUNCH_KERNELS_H

#include "dist/train.h"
#include "recipes/recipe.h"

/* As numerics.kernels and numerics.tf32 say. Before any program is made; forgets earlier choices. training false: a command that
 * runs what was trained; it goes by the rule where the recipe says timed, and takes operands of f32 as they are. */
void gd_kernels_begin(const gd_recipe *r, bool training);

/* Settles the choices of a training run, equal on all ranks: those of its record, if there is one; where the recipe
 * says timed, rank 0 then times what is new, with the help of what earlier starts on this machine kept. Nothing is
 * timed afterwards. record: path, of rank 0; NULL: none. Collective. Errors: DATA (damaged record), CONFIG (it does not
 * fit the recipe), IO, NOMEM, those of gd_train_estimate. */
GD_CHECKED gd_status gd_kernels_agree(gd_comm *comm, const gd_recipe *r, const gd_train_config *c, const gd_dataset *d,
                                      const char *record);

/* After the programs were made: writes the record if there are choices that it did not give. Rank 0. Errors: CANTCREAT,
 * IO, NOMEM. */
GD_CHECKED gd_status gd_kernels_record(const char *path);

/* "12 timed in 0.84 s, 3 timed earlier, 7 by the rule" of this rank's programs. */
void gd_kernels_text(char *out, size_t room);
bool gd_kernels_are_timed(const gd_recipe *r);

#endif
