/* dist/checkpoint_internal.h -- shared by the checkpoint_*.c files. */
#ifndef GANDIST_DIST_CHECKPOINT_INTERNAL_H
#define GANDIST_DIST_CHECKPOINT_INTERNAL_H

#include "dist/checkpoint.h"
#include "dist/manifest.h"
#include "dist/safetensors.h"

#define GD__MANIFEST "manifest.json"
enum {
    GD__PIECE = 16384,       /* floats (64 KiB) that are moved and hashed at a time: part of the format */
    GD__STEP_NAME = 32,      /* room for "step-000000012000"                                          */
    GD__PATH = 4096
};

/* ---- checkpoint_layout.c: memory order and file order ---- */

typedef struct gd__layout {
    int rank;
    int64_t dim[GD_RANK_MAX];    /* as in the file                  */
    int64_t stride[GD_RANK_MAX]; /* floats in memory, per file dimension */
    bool plain;                  /* both orders are the same        */
} gd__layout;

/* false: file_perm is no permutation. */
bool gd__layout_of(const gd_state_tensor *t, gd__layout *out);
gd_shape gd__layout_file_shape(const gd__layout *l);
/* Elements first .. first+n-1 in file order, from and to the tensor's memory. */
void gd__layout_gather(const gd__layout *l, const float *memory, int64_t first, size_t n, float *out);
void gd__layout_scatter(const gd__layout *l, const float *in, int64_t first, size_t n, float *memory);

/* Hash of the bytes of a tensor in file order: XXH3-64 of each piece with the hash of the pieces
 * before it as seed (0 at the start). It needs no state on the heap, so it cannot fail. */
uint64_t gd__data_hash_add(uint64_t so_far, const float *piece, size_t n);
/* What one tensor, and the counters, add to the state hash. */
uint64_t gd__tensor_term(const char *name, gd_shape file_shape, uint64_t data_hash);
uint64_t gd__counter_term(const gd_counters *c);

/* ---- checkpoint_read.c ---- */

/* There is no such path, for certain: another error (EIO, EACCES) does not mean that. */
bool gd__is_missing(const char *path);

/* ---- checkpoint_dir.c: names ---- */

void gd__step_name(int64_t step, char out[GD__STEP_NAME]);
/* Step of a name that is exactly "step-" and 12 digits; -1: another name. */
int64_t gd__step_of(const char *name);
/* folder/name into out. Errors: NOMEM (longer than GD__PATH). */
GD_CHECKED gd_status gd__path(char out[GD__PATH], const char *folder, const char *name);
/* dir/step-N.tmp-HOST-PID-NONCE, new and empty. Errors: CANTCREAT, NOMEM. */
GD_CHECKED gd_status gd__temporary_make(const char *dir, int64_t step, char out[GD__PATH]);
bool gd__is_shard_name(const char *name);

#endif
