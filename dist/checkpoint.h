/* dist/checkpoint.h -- checkpoints: safetensors shards and a manifest, committed by one rename.
 *
 *   checkpoints/step-000000012000/manifest.json  shard-0000-of-0004.safetensors ...
 *
 * The manifest is written last into a temporary folder, which is then renamed: a folder called
 * step-* is complete. Layout, commit order and limits: docs/checkpoints.md. */
#ifndef GANDIST_DIST_CHECKPOINT_H
#define GANDIST_DIST_CHECKPOINT_H

#include "compute/graph.h"
#include "dist/comm.h"
#include "dist/coordinator.h"

/* One tensor of the state. data is float in memory layout; files hold it permuted (net.h). A tensor that is spread
 * over the ranks (on all of them alike) is here from element `first` to before `last` only, in memory order; data
 * is where element `first` lies. */
typedef struct gd_state_tensor {
    const char *name;              /* "G/main.0.weight", "adam.m/G/main.0.weight", "ema/G/..."      */
    gd_shape shape;
    int file_perm[GD_RANK_MAX];
    float *data;
    bool spread;
    int64_t first, last;           /* of a spread one                                               */
} gd_state_tensor;

/* Gets tensor i of a state whole; it is lent for the call alone. */
typedef void (*gd_state_take)(void *ctx, int i, const float *whole);

typedef struct gd_state {
    gd_state_tensor *tensor;
    int count;
    /* With spread tensors, else NULL: hands all of them to `take`, on every rank in the same order. Collective.
     * Errors: MPI. */
    gd_status (*collect)(void *collector, gd_state_take take, void *ctx);
    void *collector;
    gd_counters counters;
    uint64_t seed;
    uint64_t recipe_fingerprint, data_fingerprint;
    const char *recipe_text, *run_id; /* NULL when unknown */
} gd_state;

/* Order-independent over tensors: sum over tensors of xxh3(name, shape, file bytes), and counters. Without spread
 * tensors, which no rank has. */
uint64_t gd_state_hash(const gd_state *s);
/* What tensor t with these values (whole, in memory layout) adds to it. */
uint64_t gd_state_term(const gd_state_tensor *t, const float *data);

/* Collective (equal state on all ranks, but for spread tensors). Writes dir/step-<12 digits>. A good one of that step with
 * the same state is left alone; with another state it is left alone too and CANTCREAT says so; a
 * damaged one is moved aside to damaged-step-* first. *path (may be NULL): malloc'ed.
 * Errors: CANTCREAT (also: not enough space), IO, NOMEM, PEER; older checkpoints are never harmed. */
GD_CHECKED gd_status gd_checkpoint_save(gd_comm *c, const char *dir, const gd_state *s, char **path);
/* What dead runs left in dir: a save that was whole but for its name becomes a checkpoint, the rest is
 * deleted. Before a run looks for its newest one. Not collective (rank 0). Errors: IO, NOMEM. */
GD_CHECKED gd_status gd_checkpoint_recover(const char *dir);
/* Recovers, and deletes what is older than the newest `keep` (at least 1) committed ones that can be opened. Not collective (rank 0, not while a save is going on). Errors: IO, NOMEM. */
GD_CHECKED gd_status gd_checkpoint_retain(const char *dir, int keep);
/* Committed checkpoints of a folder, newest first: malloc'ed paths. No such folder: none. Errors: IO, NOMEM. */
GD_CHECKED gd_status gd_checkpoint_list(const char *dir, char ***paths, int *count);
void gd_checkpoint_list_free(char **paths, int count);
/* Checkpoints of steps after `step` become undone-step-*, where only people look for them: the run goes on from
 * `step` another way. Not collective (rank 0, not while a save is going on). Errors: IO, NOMEM. */
GD_CHECKED gd_status gd_checkpoint_undo(const char *dir, int64_t step);

/* Reading, without MPI. Opens manifest and headers, checks every rule of docs/checkpoints.md.
 * Errors: NOINPUT (no such, not committed), DATA (file and defect), IO. */
typedef struct gd_checkpoint gd_checkpoint;
GD_CHECKED gd_status gd_checkpoint_open(const char *path, gd_checkpoint **out);
void gd_checkpoint_close(gd_checkpoint *k);
/* Its tensors have data == NULL and the shapes of the file (file_perm is 0,1,2,3), names ascending.
 * owner: k. */
const gd_state *gd_checkpoint_state(const gd_checkpoint *k);
/* Reads one tensor into memory layout (into->file_perm), checking its hash: on an error the values are
 * not to be used. Of a spread one it keeps this rank's part; one of which nothing is here is not read. Errors: DATA (no such tensor, damaged), SHAPE, IO. */
GD_CHECKED gd_status gd_checkpoint_read(gd_checkpoint *k, const gd_state_tensor *into);
/* Several, each by one of OpenMP's threads. Errors as above, of the first that has one; others may have been read. */
GD_CHECKED gd_status gd_checkpoint_read_all(gd_checkpoint *k, const gd_state_tensor *into, int count);

typedef enum gd_verify_depth { GD_VERIFY_QUICK, GD_VERIFY_DEEP } gd_verify_depth;
typedef struct gd_verify_report {
    int64_t step;
    int files, tensors;
    uint64_t bytes, state_hash;    /* state_hash: DEEP only                                         */
    bool finite;                   /* DEEP: no NaN or Inf                                           */
} gd_verify_report;
/* Errors: NOINPUT, DATA (first defect: file, tensor, offset), IO. */
GD_CHECKED gd_status gd_checkpoint_verify(const char *path, gd_verify_depth depth, gd_verify_report *out);

/* Rewrites a committed checkpoint with `shards` files (fewer where there are fewer tensors): the same
 * tensors, counters and state hash. It is read with all its hashes; the old files go when the new ones are
 * safe. Not collective, not while its run trains. Errors: NOINPUT, DATA, CANTCREAT, IO, NOMEM. */
GD_CHECKED gd_status gd_checkpoint_reshard(const char *path, int shards);

#endif
