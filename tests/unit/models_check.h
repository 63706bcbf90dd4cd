/* Checks that every step graph must pass, whatever its topology: gradients against finite differences,
 * any number of shards against one, the executor cpu against ref. Failures fail the running test. */
#ifndef GANDIST_TESTS_MODELS_CHECK_H
#define GANDIST_TESTS_MODELS_CHECK_H

#include "tests/unit/models_rig.h"

enum { CHECK_BATCH = 8, CHECK_SEED = 3, CHECK_STEP = 17, CHECK_PICK = 1 /* index in control:pick */ };

gd_gan *check_make(gd_gan_spec s);
double *check_room(int64_t n); /* n zeros */

void check_near(const char *what, double got, double want, double error);
/* Within `tolerance` of the largest value. */
void check_close(const char *what, const double *got, const double *want, int64_t n, double tolerance);
/* The binding of this name holds the same in shard 0 of both, to 1e-9. */
void check_same(const rig *a, const rig *b, const char *name);

/* A step with parameters of +-0.5 and all its inputs set. */
rig *check_open(const gd_gan *m, gd_step_kind kind, int64_t shards);
rig *check_open_on(const char *executor, const gd_gan *m, gd_step_kind kind, bool with_penalty, int64_t shards);
/* Data, controls and pooled images of the whole batch; first: sample that the data starts with. */
void check_set_inputs(rig *r, const gd_gan *m, int64_t first);
/* Runs it; at a pause the group that the kind updates gets other parameters. */
void check_run(rig *r, gd_gan *m, int64_t n);

/* Whether the kind has gradients of the group. */
bool check_trains(gd_step_kind kind, gd_group group);
/* A few elements of every parameter's gradient, in all kinds that the topology has, with the penalty. */
void check_gradients(gd_gan *m);
void check_gradients_of(gd_gan *m, gd_step_kind kind);
/* All outputs of all kinds on 2 and 4 shards, and on 2 of the executor cpu, are those of one. */
void check_shards(gd_gan *m);
void check_shards_of(gd_gan *m, gd_step_kind kind);
/* Outputs of `many`, each summed over its shards (buffers: of each shard), are those of `one`. */
void check_outputs(const rig *one, const rig *many, double tolerance);

#endif
