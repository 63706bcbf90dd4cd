/* dist/trainer.h -- the inside of a trainer. Folder-internal.
 *
 *   space.c     the memory that programs work on, where it is not the host's
 *   state.c     tensors and their arenas; the state as a list for checkpoints; hashes
 *   programs.c  one program per step kind, one instance per local shard
 *   choices.c   rank 0's kernels on all ranks
 *   step.c      runs one program: data in, collectives, gradients out
 *   feeding.c   data in, where programs are not on the host: the next batch travels beside the steps
 *   kept.c      sets that stay there whole
 *   update.c    all-reduce, norms, optimiser, moving average: begun and ended, with programs in between
 *   resident.c  the optimiser, and what it works on, in memory of the executor
 *   exchanging.c  gradients, and batch statistics, that are summed there, too
 *   late.c      numbers from there, which the host reads when an iteration ends
 *   slices.c    the same where optimiser state is divided over the ranks
 *   pool.c      image pools; pool_there.c, in memory of the executor        adaptive.c  how many D updates
 *   control.c   what ranks tell each other after an iteration; replica check
 *   watching.c  watchers: looks at samples, and what follows
 *   train.c     the loop: plans, hooks        saving.c  checkpoints
 *   resume.c    loading, going back        sampler.c  pictures
 *   estimate.c  what a run would cost; estimate_there.c, of memory that is not the host's */
#ifndef GANDIST_DIST_TRAINER_H
#define GANDIST_DIST_TRAINER_H

#include "base/arena.h"
#include "data/loader.h"
#include "dist/checkpoint.h"
#include "dist/reduce.h"
#include "dist/space.h"
#include "dist/stragglers.h"
#include "dist/train.h"
#include "dist/writer.h"

enum { GD__METRICS_MAX = 40 };
enum { GD__UNIT = 16 /* floats of one cache line: what arenas are padded to */ };

/* One stored tensor: where it lies in the arenas of its group (or, a buffer, in those of buffers). */
typedef struct gd__slot {
    const char *name; /* "G/main.0.weight" */
    const gd_param_info *info;
    gd_group group;
    size_t offset, count; /* floats */
    int moment[2];        /* its moments in the list of the state */
} gd__slot;

/* Flat arenas of one group, all of the same layout; of moments this rank has a slice. */
typedef struct gd__arenas {
    size_t count;         /* floats, padding included                                    */
    size_t first, last;   /* the slice that this rank updates; without optimizer.shard: all      */
    float *param, *moment[2], *ema;
    gd_reducer *reducer;  /* owns the gradients                                          */
    gd_exchange *exchange; /* there: sums them in its place; NULL: there is one rank      */
    float **grad;         /* per local shard; [0] is the sum after an update (of the slice) */
    double *partial;      /* sums of squares, one a block (GD_SLICE_UNIT)                */
    double *gathered;     /* sliced: those of all ranks                                  */
    size_t *border;       /* sliced: ranks + 1 borders of all slices                     */
    size_t *partial_border; /* of `partial`, in floats, of which a number has two        */
    double *norm;         /* there: one number                                           */
    bool pending;         /* an update has begun and not ended                           */
    bool summing;         /* there: a round of the exchange has begun and not ended      */
    bool changed;         /* the parameters, since their mirror (space.h) got them       */
    bool newer;           /* resident: the mirrors of parameters, moments and average are */
} gd__arenas;

typedef struct gd__kind_programs {
    gd_program *program;  /* NULL: the schedule does not need this kind                  */
    gd_instance **instance; /* per local shard                                           */
    void **replay;        /* per local shard, by which it runs; NULL: as an instance     */
    int *gradient;        /* per binding: the slot whose gradient it is, or -1           */
    bool *begins;         /* per binding: a bucket of the exchange begins when it is complete; NULL: none does */
    struct gd_trainer *trainer;
} gd__kind_programs;

/* Memory that a program may have to leave alone for some time, as sets of gd_instance_group. */
#define GD__SET_PARAMS(group) ((int)(group))
#define GD__SET_GRADS(group) (GD_GROUP_COUNT + (int)(group))

/* A program is looked up by its kind and by whether it computes the penalty; where the penalty is in all
 * of them or in none, only the first of the two exists. */
enum { GD__PLAIN, GD__PENALISED, GD__VERSIONS };

enum { GD__POOLS_MAX = 2 };
typedef struct gd__pool {
    float *image;         /* pool_size images: state, equal on all ranks                 */
    float **made, **given; /* per local shard: this step's images, and those that D sees */
} gd__pool;

/* Batches that travel to the executor's memory beside its steps; two slots there, taken in turn. */
enum { GD__FEED_SLOTS = 2 };
typedef struct gd__feeding {
    void *feed[GD_PARTS_MAX]; /* per part of the data set; NULL: batches are copied as they are needed */
    int slot;                 /* where the last batch went                                      */
    bool ahead;               /* which is the next one, sent before it was needed               */
} gd__feeding;

/* The samples of the data set, before cropping and mirroring, in the executor's memory; part 0 NULL: they are not there. */
typedef struct gd__kept_set {
    void *set[GD_PARTS_MAX];
} gd__kept_set;

/* What control inputs are bound to: each starts a cache line of one piece of memory. */
typedef struct gd__controls {
    float *noise_std, *rate;
    float *pick;          /* one-hot                                                     */
    size_t bytes;         /* of all of it                                                */
} gd__controls;

/* Inputs of the generator of one direction that a watcher looks at, and what it makes of them; rank 0. */
typedef struct gd__look {
    int n;
    float *in, *out;
} gd__look;

/* What an iteration will have measured when the device has come so far: metrics of a program, a round of sums, an update's norm. */
typedef struct gd__late {
    gd_status (*read)(struct gd_trainer *t, const struct gd__late *l);
    void *ticket;         /* of the executor; NULL: none                                 */
    gd_group group;       /* whose step it belongs to                                    */
    const gd_program *program;
    double lr;
} gd__late;

/* What one iteration has measured on this rank. */
enum { GD__NO_STATISTICS = 1 << GD_GROUP_COUNT, GD__NO_IMAGES = 2 << GD_GROUP_COUNT };
typedef struct gd__measured {
    int bad;              /* 1 + the first metric that was not finite; 0: none           */
    double bad_value;
    unsigned skipped;     /* what was not taken since it was not finite: updates of groups (bit g), GD__NO_* */
    double d_step, g_step, reduce, optimizer, data, collective;
    double idle;          /* waited for the data of other ranks                          */
} gd__measured;

enum { GD__TIMES_MAX = 1024 };
enum {
    GD__TIME_D, GD__TIME_G, GD__TIME_REDUCE, GD__TIME_COLLECTIVE, GD__TIME_OPTIMIZER, GD__TIME_DATA, GD__TIME_TOTAL,
    GD__TIMES
};

struct gd_trainer {
    gd_comm *comm;
    gd_train_config config;
    const gd_dataset *data;
    gd_train_hooks hooks;
    gd_gan *gan;
    gd_arena *arena;      /* of names and lists                                          */
    gd__space space;      /* of all that programs are bound to                           */
    /* shards */
    int64_t shards, local, first, n; /* all, here, number of the first here, samples each */
    /* state */
    int n_slots;
    gd__slot *slot;
    gd__arenas group[GD_GROUP_COUNT];
    size_t buffer_count;  /* floats                                                      */
    float **buffer;       /* per local shard: running statistics; [0] is the state       */
    float *buffer_before; /* those before the program under way                          */
    float *buffer_ema;
    double *buffer_kept;  /* there: how many of them a program made not finite            */
    bool buffer_changed, buffer_newer; /* as those of gd__arenas                          */
    gd_counters counters;
    gd_state state;       /* view of all of it, for checkpoints                          */
    uint64_t data_fingerprint;
    gd_exchange *statistics; /* there: sums of batch statistics, which steps wait for; NULL: no program has any */
    bool resident;        /* parameters are updated where programs are: resident.c       */
    bool there;           /* resident, and so are the sums of gradients: they never come to the host */
    bool well;            /* whatever all ranks began they have ended: they end exchanges together */
    bool sliced;          /* optimizer.shard, and there are ranks to divide it over      */
    uint64_t moment_terms; /* sliced: what moments add to the state hash, when last looked at */
    /* running */
    bool overlap;         /* updates end when they must: there are other ranks, and the recipe wants it */
    bool ahead;           /* the first program of the next iteration has begun            */
    double ahead_seconds; /* and has run so long                                          */
    double mark;          /* time up to here was booked                                   */
    gd__kind_programs kind[GD_STEP_KIND_COUNT][GD__VERSIONS];
    void **memory;        /* per local shard: activations, shared by all kinds           */
    size_t memory_bytes;
    void **batch[GD_PARTS_MAX]; /* of each part of the data set, per local shard: one batch */
    gd__controls controls;
    int n_pools;
    gd__pool pool[GD__POOLS_MAX];
    gd_shape pool_image;  /* of one image                                                */
    size_t pool_floats;
    int32_t *pool_give, *pool_keep;    /* decisions of one turn                          */
    float *pool_mine, *pool_all;       /* images that this rank, that all ranks made      */
    bool pools_there;     /* pools live where programs are, and so: pool_there.c          */
    int32_t *pool_to;     /* per image of the batch: its place, or -1                     */
    float *pool_refused;  /* of a turn, per image: 1 where it was not finite              */
    void *pool_came;      /* images that all ranks made, there                            */
    bool pool_changed, pool_newer; /* as those of gd__arenas                             */
    gd_pause *pause;      /* per local shard                                             */
    const float **part;   /* scratch for sums over local shards                          */
    float *staged;        /* those sums on the host, where programs are not there        */
    size_t staged_floats; /* of one shard                                                */
    gd_loader *loader;
    gd__feeding feeding;
    gd__kept_set kept;
    bool have_batch;      /* overfit_batch: the one batch is there                       */
    bool together;        /* an error now would be known to all ranks                    */
    bool go_back;         /* the error of this iteration is to be answered by going back */
    int sickness;         /* the gd_watch that it is from; GD_WATCH_COUNT: not finite    */
    gd__look look[GD_WATCH_DIRECTIONS];
    int n_metrics, n_own; /* the first n_own of them every rank knows by itself          */
    const char *metric[GD__METRICS_MAX];
    float *metric_value;  /* local x METRICS_MAX x UNIT                                  */
    double *shard_value;  /* per local shard: scratch                                    */
    /* Of each metric a rank hands over `handed` numbers (tree.h): their sum over the local shards, or one a
     * shard. measured: metric x handed, NaN where this iteration had none. */
    int handed;
    double *measured, *leaf_value;
    gd__measured now;
    gd__late *late;       /* in the order of the device                                  */
    int n_late;
    void *control;        /* one control word per rank, and this one's                   */
    gd__stragglers stragglers; /* rank 0, where there are others                          */
    gd_writer *writer;    /* NULL: no checkpoints                                        */
    gd_error sick_save;   /* NUMERIC: a save found that the state is not finite          */
    uint64_t *hash;       /* per rank                                                    */
    gd_step_plan plan, next;
    bool next_known;      /* the broadcast of `next` has ended                           */
    /* sampling, rank 0 */
    gd_program *sampler[2];            /* of latents in [0], or the translators of both directions */
    gd_instance *sampler_instance[2];
    float *sampler_in, *sampler_image;
    /* times of the last iterations, for medians */
    float times[GD__TIMES][GD__TIMES_MAX];
    int64_t n_times;
    /* since the last log line */
    double log_started, log_seconds, log_wait, log_comm;
    uint64_t log_cursor;
    int64_t log_iterations;
};

/* 64-byte aligned, zero; NULL when memory is out. */
void *gd__aligned(size_t bytes);
double gd__seconds(void);
/* What this rank does from now on, in the iteration under way; network: a gd_group or -1. */
static inline void gd__label(const gd_trainer *t, gd_phase phase, int network) {
    gd_comm_label(t->comm, phase, network, t->plan.step);
}
size_t gd__padded(size_t floats);

/* state.c. What random numbers are keyed by: the recipe's seed, and another one each time the run went back. */
uint64_t gd__seed(const gd_trainer *t);
GD_CHECKED gd_status gd__layout_state(gd_trainer *t);    /* slots and sizes, no memory              */
GD_CHECKED gd_status gd__allocate_state(gd_trainer *t);  /* collective: gradients lie in a window   */
void gd__initialise_state(gd_trainer *t);
void gd__free_state(gd_trainer *t);
GD_CHECKED gd_status gd__make_view(gd_trainer *t);
/* Hash of this rank's arenas as they lie in memory, without slices: equal on replicas. */
uint64_t gd__replica_hash(const gd_trainer *t);
float *gd__slot_data(const gd_trainer *t, const gd__slot *s);
/* Parameters were written, not by an update: programs get them before they run on. */
void gd__params_changed(gd_trainer *t);
/* To the mirrors: parameters that changed, but for those that an update is at work on; statistics of all local shards. */
GD_CHECKED gd_status gd__put_params(gd_trainer *t);
GD_CHECKED gd_status gd__put_statistics(gd_trainer *t);

/* programs.c */
GD_CHECKED gd_status gd__divide(gd_trainer *t, int ranks, int rank);
/* Whether any plan of this schedule runs the kind in this version. */
bool gd__kind_needed(const gd_trainer *t, gd_step_kind k, int version);
GD_CHECKED gd_status gd__make_program(const gd_trainer *t, gd_step_kind k, int version, gd_program **out);
/* The program that makes samples (direction 0) or translates; *out NULL: this topology has none. */
GD_CHECKED gd_status gd__make_sampler(const gd_trainer *t, int direction, gd_program **out);
/* Floats that samplers read and write in one run. */
void gd__sampler_room(const gd_trainer *t, size_t *in, size_t *out);
GD_CHECKED gd_status gd__make_programs(gd_trainer *t);   /* all kinds, memory, bindings             */
void gd__free_programs(gd_trainer *t);
/* choices.c. make(t) makes all programs of this rank: with kernels as rank 0 has chosen them, first if it measures. Collective, but
 * make is not; errors of make are known to its rank alone. */
GD_CHECKED gd_status gd__make_alike(gd_trainer *t, gd_status (*make)(gd_trainer *t));
enum { GD__SAMPLER_BATCH = 32 };
GD_CHECKED gd_status gd__open_sampler(gd_trainer *t);

int gd__metric_index(const gd_trainer *t, const char *name); /* -1: none */
GD_CHECKED gd_status gd__add_metric(gd_trainer *t, const char *name, int *index); /* or finds it */

/* late.c, where t->there. Remember to read, when the device has come so far: the metrics of a program that ends with the gradients
 * of g; whether a round of sums is over; the norm of an update. take: all of it, waiting for it. drop: after an error. */
GD_CHECKED gd_status gd__later_metrics(gd_trainer *t, gd_group g, const gd_program *p);
GD_CHECKED gd_status gd__later_round(gd_trainer *t, gd_group g);
GD_CHECKED gd_status gd__later_norm(gd_trainer *t, gd_group g, double lr);
GD_CHECKED gd_status gd__later_kept(gd_trainer *t, gd_group g); /* of running statistics */
GD_CHECKED gd_status gd__later_refused(gd_trainer *t);          /* of images of a pool   */
GD_CHECKED gd_status gd__take_late(gd_trainer *t);
void gd__drop_late(gd_trainer *t);

/* step.c: runs a program, and begins its updates. Collective. read_metrics: from t->metric_value. */
void gd__read_metrics(gd_trainer *t, const gd_program *p);
GD_CHECKED gd_status gd__run_program(gd_trainer *t, gd_step_kind k, int version, int64_t draw);
/* Begins with the first program of the next iteration's plan while updates are under way, and ends those that it needs.
 * The training state stays as it is at the end of the iteration. Collective. */
GD_CHECKED gd_status gd__run_ahead(gd_trainer *t, const gd_step_plan *plan, gd_step_kind k, int version, int64_t draw);

/* pool.c. Memory of the pools, if the topology has some; their turn in program run `draw` (collective). */
GD_CHECKED gd_status gd__make_pools(gd_trainer *t);
void gd__free_pools(gd_trainer *t);
GD_CHECKED gd_status gd__turn_pools(gd_trainer *t, int64_t draw);

/* pool_there.c. Whether so many ranks have their pools where programs are; then: what they need there; the turn of one pool as
 * pool_give and pool_keep have it (collective); the images, to the host. */
bool gd__pools_are_there(const gd_trainer *t, int ranks);
GD_CHECKED gd_status gd__mirror_pools(gd_trainer *t);
GD_CHECKED gd_status gd__turn_there(gd_trainer *t, const gd__pool *k);
GD_CHECKED gd_status gd__fetch_pools(gd_trainer *t);

/* slices.c. Where updates are made, and the slices of all arenas; before memory is allocated. */
void gd__divide_arenas(gd_trainer *t, int ranks, int rank);
size_t gd__largest_slice(size_t count, int ranks); /* floats */
/* Numbers that gd__arenas.partial has room for, and gathered. */
size_t gd__partials(size_t count, int ranks, size_t *gathered);
GD_CHECKED gd_status gd__make_borders(gd_trainer *t, gd__arenas *a);
/* The partial sums (there: in their mirror), and the parameters, of the other slices. Collective. Errors: MPI, those of an exchange. */
GD_CHECKED gd_status gd__share_partials(gd_trainer *t, gd__arenas *a);
GD_CHECKED gd_status gd__share_params(gd_trainer *t, gd__arenas *a); /* which are where updates are */
/* Which part of moment m of a slot is here. */
void gd__spread_tensor(const gd_trainer *t, const gd__slot *s, int m, gd_state_tensor *x);
/* gd_state.collect of a trainer. Sums of gradients are lost. */
GD_CHECKED gd_status gd__collect_moments(void *trainer, gd_state_take take, void *ctx);
/* Sliced: brings moment_terms up to date. Collective. Errors: MPI. */
GD_CHECKED gd_status gd__hash_moments(gd_trainer *t);

/* update.c, all collective. begin: the gradients of a group are complete on this rank; between begin and end nobody touches
 * them or the parameters. Without overlap an update ends when it begins. */
GD_CHECKED gd_status gd__begin_update(gd_trainer *t, gd_group g);
GD_CHECKED gd_status gd__end_update(gd_trainer *t, gd_group g);
GD_CHECKED gd_status gd__finish_reduction(gd_trainer *t, gd__arenas *a); /* waits for the sums alone */
GD_CHECKED gd_status gd__end_updates(gd_trainer *t, unsigned groups); /* those of these groups (bit g) that have begun */
bool gd__pending(const gd_trainer *t);
/* What an update has measured; norm: infinite where it was not made. */
void gd__note_update(gd_trainer *t, gd_group g, double norm, double lr);
/* Remembers the first number of the iteration that is not finite. */
void gd__watch(gd_trainer *t, int metric, double value);

/* resident.c: where the executor has an optimiser. Mirrors of what it works on; one
 * update of a group by the sum of gradients on the host, or (t->there) by the one there and its norm, as clip_norm says;
 * what it changed, to the host: before anybody but programs reads it. */
GD_CHECKED gd_status gd__mirror_optimizer(gd_trainer *t);
GD_CHECKED gd_status gd__put_optimizer(gd_trainer *t, const gd__arenas *a);
GD_CHECKED gd_status gd__update_there(gd_trainer *t, gd_group g, const gd_optimizer_numbers *u, float ema_decay,
                                      double clip_norm);
/* Sliced, behind an update of all slices; else updates do it themselves. */
GD_CHECKED gd_status gd__move_average_there(gd_trainer *t, gd__arenas *a, float decay);
GD_CHECKED gd_status gd__fetch_state(gd_trainer *t);
/* Running statistics, where t->there: remembered before a program; what it made of them, after it, and their average of G. */
GD_CHECKED gd_status gd__remember_statistics(gd_trainer *t);
GD_CHECKED gd_status gd__keep_statistics_there(gd_trainer *t, gd_group g, bool average, float decay);

/* exchanging.c: sums in memory of the executor, of gradients and of batch statistics. open: memory of the gradients' mirrors
 * as well; collective. begin and end: a round of a group that has an exchange; early: these of its gradients are final before
 * it begins. check: all ranks asked for the same sums so far; collective, errors: INTERNAL (says what and of whom). close:
 * together with all ranks where all is well. */
GD_CHECKED gd_status gd__open_exchanges(gd_trainer *t);
/* For batch statistics, when programs are made: collective. sums_statistics: whether they go there at all, rather than by pauses. */
GD_CHECKED gd_status gd__open_statistics(gd_trainer *t);
bool gd__sums_statistics(const gd_trainer *t);
GD_CHECKED gd_status gd__sum_statistics(gd_trainer *t, float *data, int64_t count); /* in order with the steps */
/* By the same way, for pools: parts of all ranks. */
GD_CHECKED gd_status gd__gather_there(gd_trainer *t, const void *part, size_t bytes, void *all);
size_t gd__exchange_bucket(const gd_trainer *t); /* floats */
GD_CHECKED gd_status gd__exchange_early(gd_trainer *t, gd__arenas *a, size_t first, size_t last);
GD_CHECKED gd_status gd__begin_exchange(gd_trainer *t, gd__arenas *a);
GD_CHECKED gd_status gd__end_exchange(gd_trainer *t, gd__arenas *a);
GD_CHECKED gd_status gd__settle_exchange(gd_trainer *t, gd__arenas *a, double *waited); /* waits until it is over */
/* Sliced: what has this mirror, part by part from the ranks whose it is, to all; in order with the steps. */
GD_CHECKED gd_status gd__share_there(gd_trainer *t, gd__arenas *a, const void *host, const size_t *border);
GD_CHECKED gd_status gd__check_exchanges(gd_trainer *t);
void gd__close_exchanges(gd_trainer *t);

/* estimate_there.c: of rank 0, whose state has been laid out and whose largest program takes so much. Not collective. */
GD_CHECKED gd_status gd__count_there(const gd_trainer *t, int ranks, size_t arena_bytes, gd_there_cost *out);

/* control.c. What all ranks know after an iteration. */
typedef struct gd__control {
    int wish;             /* the strongest answer of the poll hook                       */
    int bad, bad_rank;    /* of the lowest rank that saw a number that is not finite: gd__measured.bad */
    int bad_ranks;        /* how many saw one                                            */
    double bad_value;
    unsigned skipped;     /* gd__measured.skipped, of any rank                           */
    double seconds, data, comm; /* slowest rank */
    double metric[GD__METRICS_MAX]; /* over all shards; NaN: not in this iteration */
    int writer;           /* the strongest gd_writer_word                                */
} gd__control;
GD_CHECKED gd_status gd__make_control(gd_trainer *t);
void gd__free_control(gd_trainer *t);
GD_CHECKED gd_status gd__exchange_control(gd_trainer *t, double seconds, gd__control *out); /* collective */
/* Whether the iteration had numbers that are not finite. */
bool gd__is_sick(const gd__control *c);
/* After such an iteration, on all ranks alike: NUMERIC, with go_back set or not, or it is to be skipped. Counts those in
 * a row. Collective. Errors: NUMERIC; DIVERGED, when skipping left ranks with different states. */
GD_CHECKED gd_status gd__check_finite(gd_trainer *t, const gd__control *c);
/* DIVERGED, on all ranks alike, when replicas do not hold the same bytes. Collective. */
GD_CHECKED gd_status gd__check_replicas(gd_trainer *t);

/* watching.c. Inputs to look at; rank 0 has them, a run without that watcher has none. */
GD_CHECKED gd_status gd__open_looks(gd_trainer *t);
void gd__free_looks(gd_trainer *t);
size_t gd__looks_bytes(const gd_trainer *t);
const char *gd__spread_metric(const gd_trainer *t, int direction); /* NULL: is not looked at */
/* Measures the spread of samples. Not collective. */
GD_CHECKED gd_status gd__take_look(gd_trainer *t);
/* Adds an iteration to the watchers' history. NUMERIC, on all ranks alike, with go_back set or not, when one of them
 * says so. */
GD_CHECKED gd_status gd__judge(gd_trainer *t, const gd__control *c);

/* To the event hook, on rank 0. */
void gd__tell(const gd_trainer *t, const char *kind, const gd_event_field *field, int count);

/* saving.c, all collective. Starts a save; last: and waits for it. */
GD_CHECKED gd_status gd__open_writer(gd_trainer *t);
GD_CHECKED gd_status gd__save(gd_trainer *t, bool last);
/* NUMERIC, on all ranks alike, after a save that was refused because the state is not finite. */
GD_CHECKED gd_status gd__heed_save(gd_trainer *t);
/* Waits for the save under way and returns st, with its message. */
GD_CHECKED gd_status gd__end_saving(gd_trainer *t, gd_status st);

/* feeding.c. open: before the loader, which is opened with o then. fetch: the next batch sets out, if it has not yet; wait_s:
 * how long it was waited for. take: it goes to what programs are bound to, in order with them. ahead: the batch after it sets
 * out, if it is there. stop: nothing is under way any more, before a seek; close: before the loader. Not collective. */
GD_CHECKED gd_status gd__open_feeds(gd_trainer *t, gd_loader_opts *o);
GD_CHECKED gd_status gd__feed_fetch(gd_trainer *t, double *wait_s);
GD_CHECKED gd_status gd__feed_take(gd_trainer *t);
GD_CHECKED gd_status gd__feed_ahead(gd_trainer *t);
GD_CHECKED gd_status gd__stop_feeds(gd_trainer *t);
void gd__close_feeds(gd_trainer *t);
static inline bool gd__fed(const gd_trainer *t) { return t->feeding.feed[0] != NULL; }

/* kept.c: sends the set to the executor's memory if it is to stay there (gd_train_config.resident), before gd__open_loader.
 * Collective. Errors: CONFIG (it has to, and does not fit), those of the data set and the executor. */
GD_CHECKED gd_status gd__keep_set(gd_trainer *t);
void gd__free_kept(gd_trainer *t);
size_t gd__set_bytes(const gd_trainer *t);
/* Why the set does not stay on a device where so many bytes are free; "": it does. */
void gd__judge_set(const gd_trainer *t, size_t there, char *why, size_t room);

/* resume.c */
GD_CHECKED gd_status gd__open_loader(gd_trainer *t);
/* Drops what ran ahead of its iteration, if anything did: its batch will be drawn again. Collective. */
GD_CHECKED gd_status gd__drop_ahead(gd_trainer *t);
/* After a NUMERIC, whose message is this thread's record. Loads the newest checkpoint from before the sickness began, and moves on from it
 * with another seed, on data that was not seen since. Collective. Errors: NUMERIC where that cannot be done. */
GD_CHECKED gd_status gd__go_back(gd_trainer *t);

#endif
