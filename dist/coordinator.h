/* dist/coordinator.h -- rank 0's step plan: what every rank does in one iteration.
 *
 * The plan of iteration i+1 is broadcast while iteration i computes. It is a pure function of the
 * schedule, the counters and reduced numbers, so a resumed run makes the same plans.
 * An iteration is d_steps discriminator updates followed by g_steps generator updates. */
#ifndef GANDIST_DIST_COORDINATOR_H
#define GANDIST_DIST_COORDINATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/optimizer.h"
#include "dist/watch.h"
#include "models/gan.h"

/* d_steps chosen by rank 0 while training, from reduced numbers only, every `every` iterations over which
 * they are averaged. ACCURACY: share of real and generated samples that D tells right; GRAD_RATIO: norm of
 * D's gradient over that of G's. Below `low` D gets one step more, above `high` one less, within min..max. */
typedef enum gd_adaptive_kind { GD_ADAPTIVE_NONE, GD_ADAPTIVE_ACCURACY, GD_ADAPTIVE_GRAD_RATIO } gd_adaptive_kind;
typedef struct gd_adaptive_spec {
    gd_adaptive_kind kind;
    double low, high;
    int64_t min, max, every;
} gd_adaptive_spec;

typedef struct gd_schedule_spec {
    int64_t d_steps, g_steps;      /* k:1 and 1:k; both >= 1                                        */
    bool simultaneous;             /* one GD_STEP_BOTH; d_steps = g_steps = 1                       */
    bool share_fake;               /* the last D step and the first G step are one GD_STEP_DG_SHARED */
    int64_t warmup_steps;          /* WGAN: the first 25 G iterations and every 500th use 100 D steps */
    int64_t warmup_d_steps, warmup_every;
    bool g_first;                  /* share_fake: GD_STEP_GD_SHARED instead, before further D steps   */
    int64_t alternate;             /* n > 0: n iterations train D only, the next n train G only, ... (the
                                      "alternating epochs" of Goodfellow's code)                      */
    gd_adaptive_spec adaptive;
    struct { double start, end; int64_t steps; } noise; /* instance noise: linear from start to end    */
    struct { double start, end; int64_t steps; } rate;  /* terms.rate: start before iteration `steps`,
                                                            end from then on (DiscoGAN: .01, .5, 10000) */
} gd_schedule_spec;

typedef struct gd_adaptive_state {  /* zero where nothing adapts */
    int64_t d_steps;               /* of the plan that comes next                                     */
    int64_t next;                  /* of the plan after it: that one is made while the next one runs  */
    int64_t count;                 /* values since the last decision, and their sum                   */
    double sum;
} gd_adaptive_state;
/* After an iteration that measured `value` (NaN: did not). Pure; equal on all ranks since the value is. */
void gd_adaptive_advance(const gd_adaptive_spec *s, double value, gd_adaptive_state *a);

typedef struct gd_counters {       /* part of the training state */
    int64_t step;                  /* iterations done                */
    int64_t updates[GD_GROUP_COUNT];
    uint64_t cursor;               /* real samples drawn, all ranks  */
    uint64_t draws;                /* programs run: key `step` of RANDOM nodes */
    gd_adaptive_state adaptive;
    int64_t rollbacks;             /* times that the run went back; mixed into the seed of everything random but the
                                      order of samples, so that it does not walk into the same wall again  */
    int64_t skips;                 /* iterations in a row, up to this one, that had numbers which are not finite; not in
                                      the state hash while it is 0                                  */
    gd_watch_state watch;          /* history of the watchers; not in the state hash: they only look  */
} gd_counters;

enum { GD_PLAN_SAVE = 1, GD_PLAN_LOG = 2, GD_PLAN_SAMPLE = 4, GD_PLAN_STOP = 8, GD_PLAN_CHECK = 16, GD_PLAN_LOOK = 32 };

typedef struct gd_step_plan {
    int64_t step;                  /* the iteration, from 1                                         */
    int64_t d_steps, g_steps;      /* updates of each group in it                                   */
    uint32_t flags;                /* GD_PLAN_*: after this iteration                               */
    gd_counters start;             /* counters before the iteration, but for what it decides by itself:
                                      adaptive, skips and watch are newer at each rank                     */
    double noise_std, rate;        /* control inputs of the step graphs                             */
    int64_t pick;                  /* which of every penalty.pick neighbouring samples is penalised */
} gd_step_plan;

typedef struct gd_plan_rules {    /* what else decides a plan                                        */
    gd_schedule_spec schedule;
    gd_optimizer_spec optimizer[GD_GROUP_COUNT];
    uint64_t seed;
    int64_t global_batch;
    int64_t pick, penalty_every;   /* of gd_penalty_spec; 0: 1                                      */
    bool reads[GD_STEP_KIND_COUNT]; /* gd_gan_step_reads                                            */
    bool no_g;                     /* there is no generator: only D is trained                      */
    int64_t until;                 /* the iteration the run stops after                             */
    int64_t save_every, log_every, sample_every, check_every, look_every; /* 0: never               */
} gd_plan_rules;
/* The plan of the iteration after `start`. Pure. */
gd_step_plan gd_plan_make(const gd_plan_rules *r, const gd_counters *start);
/* The counters when it is done. Pure. */
gd_counters gd_plan_after(const gd_step_plan *p, const gd_plan_rules *r);

/* Number of programs of the iteration, and the kind of program i. */
int64_t gd_plan_programs(const gd_step_plan *p, const gd_schedule_spec *s);
gd_step_kind gd_plan_kind(const gd_step_plan *p, const gd_schedule_spec *s, int64_t i);
/* Whether program i is one of those that compute the penalty: every penalty_every-th of D's updates. */
bool gd_plan_penalised(const gd_step_plan *p, const gd_plan_rules *r, int64_t i);

#endif
