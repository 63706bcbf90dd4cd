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
/* Of these only what belongs at memory elements from .. to-1; part: where element `from` is. */
void gd__layout_scatter_part(const gd__layout *l, const float *in, int64_t first, size_t n, int64_t from, int64_t to,
                             float *part);

/* Hash of the bytes of a tensor in file order: XXH3-64 of each piece with the hash of the pieces
 * before it as seed (0 at the start). It needs no state on the heap, so it cannot fail. */
uint64_t gd__data_hash_add(uint64_t so_far, const float *piece, size_t n);
bool gd__all_finite(const float *x, size_t n);
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
/* dir/step-N.tmp-HOST-PID-NONCE: a name that nobody else makes up. Errors: NOMEM. */
GD_CHECKED gd_status gd__temporary_name(const char *dir, int64_t step, char out[GD__PATH]);
bool gd__is_shard_name(const char *name);
extern const char gd__replaced[]; /* "replaced-": before the name of a step that a reshard replaces */
/* The manifest goes first: what is half deleted is no checkpoint any more. Errors: IO, NOMEM. */
GD_CHECKED gd_status gd__delete_checkpoint(const char *path);

/* ---- one save, in phases: checkpoint_plan.c, checkpoint_snapshot.c, checkpoint_shard.c, checkpoint_write.c ----
 *
 *   all     gd__save_plan
 *   all     gd__save_copy                         where it is wanted, or tensors are spread
 *   rank 0  gd__save_begin                        its temporary folder name is told to all before
 *   all     gd__save_shard
 *   all     gd__save_report, exchange, gd__save_learn
 *   rank 0  gd__save_commit
 *
 * A phase begins on any rank when the one before has ended well on all. None of them communicates but the copy
 * of spread tensors: who drives them does (gd_checkpoint_save, writer.c). Up to the commit there is a temporary folder at most. */

enum { GD__NAME_ROOM = 256, GD__WRITERS_MAX = 1024 };

typedef struct gd__shard_record {
    uint64_t bytes, head; /* head: XXH3-64 of the header */
    gd_hash128 hash;
} gd__shard_record;

typedef struct gd__save {
    const char *dir;
    const gd_state *s;
    int rank, size, writers;
    int *order;              /* tensors by name: order[i] is an index into s->tensor           */
    int *writer;             /* by position in order                                           */
    uint64_t *hash;          /* by position in order: data hashes, all known after learning     */
    gd__shard_record *shard; /* by writer, the same                                            */
    void *mine, *all;        /* of the exchange: report_bytes of this rank, and of every rank   */
    size_t report_bytes;
    uint64_t data_bytes;     /* of all tensors                                                 */
    char final[GD__PATH], temporary[GD__PATH];
    bool only_finite;        /* another number is an error: NUMERIC                            */
    /* Optional, for tensors that are not in memory: values of tensor i of s, valid until the next call. */
    gd_status (*fetch)(void *ctx, int i, const float **data);
    void *ctx;
} gd__save;

/* dir, s, rank, size set, all else 0; writers 0: min(size, 8). A pure function of the state and these
 * numbers. Errors: INTERNAL, NOMEM. */
GD_CHECKED gd_status gd__save_plan(gd__save *j);
void gd__save_free(gd__save *j);
/* The shard of a rank; -1: it has none. */
int gd__save_own(const gd__save *j);
int gd__save_rank_of(const gd__save *j, int writer);
const gd_state_tensor *gd__save_tensor(const gd__save *j, int i); /* by position in order */
void gd__save_shard_name(const gd__save *j, int writer, char out[GD__NAME_ROOM]);
/* Bytes of a copy of the tensors that this rank writes: of all, or of spread ones. */
size_t gd__save_room(const gd__save *j, bool all);
/* Copies these tensors into `room`. tensor: the list of j->s, which then has the copies. Collective when the state
 * has spread tensors. Errors: MPI. */
GD_CHECKED gd_status gd__save_copy(const gd__save *j, bool all, gd_state_tensor *tensor, char *room);
GD_CHECKED gd_status gd__save_begin(const gd__save *j);
GD_CHECKED gd_status gd__save_shard(gd__save *j, int writer);
void gd__save_report(gd__save *j);        /* what this rank wrote -> mine  */
void gd__save_learn(gd__save *j);         /* all -> hash, shard            */
GD_CHECKED gd_status gd__save_commit(const gd__save *j);
/* Everything of it is there, with all hashes fitting: the manifest too. Errors as gd__save_commit. */
GD_CHECKED gd_status gd__save_seal(const gd__save *j, uint64_t *state_hash);
/* Removes the temporary folder; keeps the error st that led here. */
void gd__save_discard(const gd__save *j, gd_status st);

#endif
