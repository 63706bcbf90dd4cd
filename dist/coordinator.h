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
#include "models/gan.h"

typedef struct gd_schedule_spec {
    int64_t d_steps, g_steps;      /* k:1 and 1:k; both >= 1                                        */
    bool simultaneous;             /* one GD_STEP_BOTH; d_steps = g_steps = 1                       */
    bool share_fake;               /* the last D step and the first G step are one GD_STEP_DG_SHARED */
    int64_t warmup_steps;          /* WGAN: the first 25 G iterations and every 500th use 100 D steps */
    int64_t warmup_d_steps, warmup_every;
} gd_schedule_spec;

typedef struct gd_counters {       /* part of the training state */
    int64_t step;                  /* iterations done                */
    int64_t updates[GD_GROUP_COUNT];
    uint64_t cursor;               /* real samples drawn, all ranks  */
    uint64_t draws;                /* programs run: key `step` of RANDOM nodes */
} gd_counters;

enum { GD_PLAN_SAVE = 1, GD_PLAN_LOG = 2, GD_PLAN_SAMPLE = 4, GD_PLAN_STOP = 8, GD_PLAN_CHECK = 16 };

typedef struct gd_step_plan {
    int64_t step;                  /* the iteration, from 1                                         */
    int64_t d_steps, g_steps;      /* updates of each group in it                                   */
    uint32_t flags;                /* GD_PLAN_*: after this iteration                               */
    gd_counters start;             /* counters before the iteration                                 */
    double lr[GD_GROUP_COUNT];     /* of the first update of the iteration; see optimizer.h         */
} gd_step_plan;

typedef struct gd_plan_rules {    /* what else decides a plan                                        */
    gd_schedule_spec schedule;
    gd_optimizer_spec optimizer[GD_GROUP_COUNT];
    int64_t global_batch;
    int64_t until;                 /* the iteration the run stops after                             */
    int64_t save_every, log_every, sample_every, check_every; /* 0: never                           */
} gd_plan_rules;
/* The plan of the iteration after `start`. Pure. */
gd_step_plan gd_plan_make(const gd_plan_rules *r, const gd_counters *start);
/* The counters when it is done. Pure. */
gd_counters gd_plan_after(const gd_step_plan *p, const gd_plan_rules *r);

/* Number of programs of the iteration, and the kind of program i. */
int64_t gd_plan_programs(const gd_step_plan *p, const gd_schedule_spec *s);
gd_step_kind gd_plan_kind(const gd_step_plan *p, const gd_schedule_spec *s, int64_t i);

#endif
