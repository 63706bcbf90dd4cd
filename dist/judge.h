/* dist/judge.h -- the watchdog's verdict: pure rules over what it has seen. Folder-internal. */
#ifndef GANDIST_DIST_JUDGE_H
#define GANDIST_DIST_JUDGE_H

#include <stdbool.h>

#include "dist/pulse.h"

typedef struct gd__sight { /* of one rank */
    bool known;            /* anything was seen of it                                              */
    bool watched;          /* it has a watchdog: `lived` means something                           */
    uint64_t arrived, label;
    double moved;          /* when arrived or label last changed                                   */
    double lived;          /* when its watchdog last looked                                        */
    int64_t process;
    /* Of this host's ranks only. Waiting counts for neither of the times. */
    uint64_t work, gain;
    double fruitless;      /* for so long it has moved, in phases that should be short, since anything got done */
    double endless;        /* for so long it has moved, in any phase, since a step ended */
} gd__sight;

enum { GD__STEPS_KEPT = 64, GD__FIRST_STEPS = 5 };

/* Limits that follow what was usual so far: of one rank, whose steps are those of all. */
typedef struct gd__habits {
    double limit, patience, factor;       /* of gd_watchdog_spec       */
    double step_s[GD__STEPS_KEPT];        /* seconds of the last steps */
    int64_t kept;
    uint64_t steps;                       /* since the last start or load */
    double longest[GD_PHASE_COUNT];
    /* what was last seen */
    uint64_t label;
    double phase_since, step_since;
} gd__habits;
/* This rank's label, and its steps since the last start or load, at time now. */
void gd__habits_learn(gd__habits *h, uint64_t label, uint64_t steps, double now);
/* A time that did not pass for this process (it was stopped) counts for nothing. */
void gd__habits_skip(gd__habits *h, double seconds);
double gd__usual_limit(const gd__habits *h);
double gd__phase_limit(const gd__habits *h, gd_phase p);

/* What the pulse of a rank of this host says now. Movements further apart than `apart` have a wait in between. */
void gd__sight_learn(gd__sight *s, uint64_t arrived, uint64_t label, uint64_t work, uint64_t gain, double now,
                     double apart);
/* How long a rank may move before anything gets done; before a step ends. */
double gd__fruitless_limit(const gd__habits *h);
double gd__endless_limit(const gd__habits *h);

typedef enum gd__verdict { GD__FINE, GD__SLOW, GD__HANGS, GD__TURNS } gd__verdict;
/* culprit[r]: rank r is missing; frozen[r]: because its process does not run. HANGS without a culprit: all stand in one
 * collective together. SLOW: it would be HANGS by the usual limit. TURNS: the culprits move and get nowhere. */
gd__verdict gd__judge_ranks(const gd__habits *h, const gd__sight *s, int n, double now, unsigned char *culprit,
                            unsigned char *frozen);
/* Its watchdog is silent: the process does not run, or has none. */
bool gd__is_silent(const gd__habits *h, const gd__sight *s, double now);

#endif
