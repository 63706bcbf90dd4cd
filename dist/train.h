/* dist/train.h -- the training loop: data-parallel, planned by rank 0, resumable.
 *
 * A trainer holds the whole training state of this rank: flat parameter, gradient and optimiser
 * arenas per group, buffers, EMA, counters, cursor. Every iteration follows rank 0's step plan
 * (coordinator.h). Launch code hands over plain settings and callbacks; nothing here prints. */
#ifndef GANDIST_DIST_TRAIN_H
#define GANDIST_DIST_TRAIN_H

#include "compute/exchange.h"
#include "compute/exec.h"
#include "data/dataset.h"
#include "dist/checkpoint.h"
#include "dist/comm.h"
#include "dist/coordinator.h"
#include "dist/events.h"
#include "dist/optimizer.h"
#include "dist/watch.h"
#include "models/gan.h"

/* Strings are borrowed: they outlive the trainer. */
/* What follows an iteration with numbers that are not finite. Whatever it is, an update from such gradients is not made,
 * and running statistics and image pools take no such value. */
typedef enum gd_nonfinite {
    GD_NONFINITE_STOP,           /* NUMERIC                                                          */
    GD_NONFINITE_ROLLBACK,       /* back to the newest checkpoint                                    */
    GD_NONFINITE_SKIP,           /* on without the update; after GD_SKIPS_MAX in a row as ROLLBACK   */
} gd_nonfinite;
enum { GD_SKIPS_MAX = 5 };

/* Whether the decoded data set stays in memory of an executor whose memory is not the host's: the same batches. */
typedef enum gd_resident {
    GD_RESIDENT_AUTO,            /* where it takes at most half of what is free, on every rank, and at
                                    least as many samples as it has will be drawn                    */
    GD_RESIDENT_ALWAYS,          /* CONFIG where it does not fit                                     */
    GD_RESIDENT_NEVER,
} gd_resident;

typedef struct gd_train_config {
    uint64_t seed;
    gd_gan_spec gan;
    gd_optimizer_spec optimizer[GD_GROUP_COUNT];
    gd_schedule_spec schedule;
    double weight_clip;          /* every D parameter to [-c, c] after its update; 0: off           */
    bool shard_optimizer;        /* every rank keeps the moments of a part of the parameters only: the same
                                    results                                                         */
    bool overlap;                /* gradients are exchanged while programs compute that do without them and the
                                    parameters: the same results                                    */
    size_t bucket_bytes;         /* of gradients that travel together; 0: 128 kB                    */
    double ema_decay;            /* of G; 0: off                                                    */
    int64_t ema_start;
    bool ema_warmup;             /* decay t iterations after the start: min(decay, (1 + t) / (10 + t)) */
    int64_t pool_size;           /* images per pool; 0: gan.pool is off too                         */
    int64_t total_steps;         /* what schedules count on                                         */
    int64_t shards;              /* 0: one per rank; else a multiple of the rank count: the same bits on
                                    every number of ranks that divides it                           */
    gd_precision precision;
    const gd_executor *executor;
    const gd_exchanges *exchanges; /* of the executor's device; NULL: gradients are summed on the host. Used where every rank has one
                                    shard (gd_train_exchanges)                                      */
    double exchange_seconds;     /* in which a sum by them has to end; 0: 300                       */
    int loader_workers, loader_depth;
    gd_resident resident;
    int64_t check_every;         /* replica hash check, in steps; 0: only when saving               */
    bool overfit_batch;          /* always the first batch                                          */
    gd_watch_spec watch;
    gd_nonfinite on_nonfinite;   /* a loss, gradient or running statistic that is not finite; see gd_trainer_run */
    /* checkpoints */
    const char *checkpoint_dir;  /* NULL: none                                                      */
    int64_t checkpoint_every;    /* 0: only at the end                                              */
    int checkpoint_keep;
    bool checkpoint_wait;        /* training waits while a checkpoint is written: needs no memory for a copy */
    const char *recipe_text;     /* resolved recipe, stored in the manifest                         */
    uint64_t recipe_fingerprint; /* of what may not change over a resume                            */
    const char *run_id;
    /* Optional: keys that differ between two recipe texts, a line each, malloc'ed; for messages. */
    gd_status (*recipe_difference)(const char *before, const char *now, char **out);
    int64_t log_every, sample_every;
} gd_train_config;

/* What an iteration reported, equal on all ranks. */
typedef struct gd_metrics {
    int64_t step;                /* iterations done, this one included                              */
    uint64_t images;             /* samples drawn so far                                            */
    int count;
    const char *const *name;     /* "loss_d", "d_real", "grad_norm_g", "lr_g", ...                  */
    const double *value;         /* NaN: not measured in this interval                              */
    double images_per_s;         /* real samples drawn, over the log interval                       */
    double seconds, data_wait_s, exposed_comm_s; /* means of an iteration's, slowest rank, over the
                                    log interval                                                    */
} gd_metrics;

typedef struct gd_train_hooks {  /* all optional; called on every rank unless said otherwise        */
    void *ctx;
    /* Every log_every-th iteration and the last one. Rank 0 only. */
    gd_status (*on_metrics)(void *ctx, const gd_metrics *m);
    /* Every sample_every-th iteration: may call gd_trainer_sample. Rank 0 only. */
    gd_status (*on_samples)(void *ctx, int64_t step);
    /* After a checkpoint was committed (or failed: st). Rank 0 only. */
    void (*on_checkpoint)(void *ctx, int64_t step, const char *path, double seconds, gd_status st);
    /* Polled once an iteration on every rank; the strongest answer of all ranks is followed.
     * 0 go on, 1 save and go on, 2 save and leave (status REQUEUE), 3 leave now. */
    int (*poll)(void *ctx);
    /* Something for events.jsonl: "rollback", "plan". Rank 0 only. */
    void (*on_event)(void *ctx, const gd_event *e);
} gd_train_hooks;

typedef struct gd_trainer gd_trainer;

/* Why this training sums gradients on the host even where config.exchanges could do it; NULL: they are used. */
const char *gd_train_exchanges(const gd_train_config *c, int ranks);

/* What it takes of memory of an executor that is not the host's; without that all zero. What the device's own libraries take is
 * not counted. */
typedef struct gd_there_cost {
    size_t param_bytes, grad_bytes, optimizer_bytes, ema_bytes;
    size_t activation_bytes;     /* scratch, and what programs are told and tell, included          */
    size_t data_bytes;           /* batches: on their way, and the one in use                       */
    size_t set_bytes;            /* the data set, where it stays there                              */
    size_t pool_bytes;
    size_t total_bytes;
    size_t free_bytes;           /* of the device, now                                              */
    size_t pinned_bytes;         /* of the host, which copies start from and end in                 */
} gd_there_cost;

/* What a run would cost rank 0: filled without allocating training state (for --dry-run). Not collective. */
typedef struct gd_train_cost {
    int64_t params[GD_GROUP_COUNT];
    size_t param_bytes, grad_bytes, optimizer_bytes, ema_bytes, activation_bytes, loader_bytes;
    size_t snapshot_bytes;       /* this rank's share of a checkpoint, written while training goes on */
    size_t total_bytes;          /* of one rank on its host, pinned memory included, the process' own code and
                                    libraries not                                                   */
    gd_there_cost there;
    size_t reduce_bytes[GD_GROUP_COUNT];    /* all-reduced per update of that group                 */
    size_t collective_bytes;     /* of batch statistics per iteration                               */
    double flops;                /* one iteration, this rank                                        */
} gd_train_cost;
GD_CHECKED gd_status gd_train_estimate(const gd_train_config *c, const gd_dataset *d, int ranks,
                                       gd_train_cost *out);

/* Builds programs, allocates state, initialises parameters. Collective; config equal on all ranks.
 * d must outlive it. Errors: CONFIG (batch does not divide: catalogue row 23), UNSUP, NOMEM, PEER. */
GD_CHECKED gd_status gd_trainer_new(gd_comm *comm, const gd_train_config *c, const gd_dataset *d,
                                    const gd_train_hooks *h, gd_trainer **out);
void gd_trainer_free(gd_trainer *t);
/* Loads state from a checkpoint folder. Collective. Errors: DATA (names file, tensor), NOINPUT. */
GD_CHECKED gd_status gd_trainer_load(gd_trainer *t, const char *checkpoint);
/* Newest good checkpoint below checkpoint_dir; *step 0 and OK when there is none at all; damaged ones
 * are skipped with a warning that says why. Collective. Errors: NOINPUT (some, none usable). */
GD_CHECKED gd_status gd_trainer_resume(gd_trainer *t, int64_t *step);
/* Runs until iteration `until` is done, saves, and returns. Collective. Going back (on_nonfinite, or a watcher):
 * the newest checkpoint from before the trouble is loaded, later ones become undone-step-*, and training goes on from
 * there with another seed on the data that follows; hooks see those steps again. At most three times a run.
 * Errors: REQUEUE (saved on request), NUMERIC, DIVERGED, PEER, what hooks return. */
GD_CHECKED gd_status gd_trainer_run(gd_trainer *t, int64_t until);
int64_t gd_trainer_step(const gd_trainer *t);
const gd_gan *gd_trainer_gan(const gd_trainer *t); /* owner: t */
/* Order-independent xxh3 over every tensor and counter of the training state; equal on all ranks. With
 * shard_optimizer moments count as they were when gd_trainer_new, _load, _resume or _run last ended (the last
 * with OK or REQUEUE). Not collective. */
uint64_t gd_trainer_state_hash(const gd_trainer *t);
/* The training state of this rank (with shard_optimizer moments are spread: checkpoint.h), its values where the trainer has
 * them. Before the first step they may be set (weights trained elsewhere). owner: t. Not collective. */
const gd_state *gd_trainer_state(gd_trainer *t);
/* n images of the generator (EMA when there is one and `ema`) for latents z [n,Z]; out
 * [n,H,W,C] in the generator's range. Rank 0 only. Errors: INTERNAL on other ranks, the executor's. */
GD_CHECKED gd_status gd_trainer_sample(gd_trainer *t, int64_t n, const float *z, bool ema, float *out);
/* n images [n,H,W,C], in the generators' range, through the generator of `direction` (gd_gan_translator),
 * image by image. Rank 0 only, topologies paired and two-way. Errors: INTERNAL on other ranks, the executor's. */
GD_CHECKED gd_status gd_trainer_translate(gd_trainer *t, int direction, int64_t n, const float *x, bool ema, float *out);
/* Seconds per phase of the last run, this rank's. For bench. */
typedef struct gd_train_times {
    double d_step, g_step, optimizer, data, total; /* medians per iteration */
    double reduce;               /* waited for the exchange of gradients, beyond what was hidden       */
    double collective;           /* in sums for batch statistics and the like                          */
    double d_min, g_min, total_min;
    int iterations;
} gd_train_times;
void gd_trainer_times(const gd_trainer *t, gd_train_times *out);
/* With GANDIST_PROFILE=1: where the time of each step kind went, by kind of op and step by step. Else nothing. */
void gd_trainer_print_profile(const gd_trainer *t, FILE *out);
void gd_trainer_times_reset(gd_trainer *t); /* forget what was measured so far, warm-up say */

#endif
