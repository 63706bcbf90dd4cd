#include "dist/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- habits ---- */

static bool is_patient(gd_phase p) {
    switch (p) {
    case GD_PHASE_START:
    case GD_PHASE_LOAD:
    case GD_PHASE_DATA: /* files may come from far away */
    case GD_PHASE_REPORT:
    case GD_PHASE_SAVE:
    case GD_PHASE_END: return true;
    default: return false;
    }
}

static void learn_step(gd__habits *h, int64_t before, int64_t step, double now) {
    if (before > 0 && step > before)
        h->step_s[h->kept++ % GD__STEPS_KEPT] = (now - h->step_since) / (double)(step - before);
    h->step_since = now;
}

void gd__habits_learn(gd__habits *h, uint64_t label, uint64_t steps, double now) {
    gd_phase was = gd__label_phase(h->label), is = gd__label_phase(label);
    int64_t before = gd__label_step(h->label), step = gd__label_step(label);
    if (is != was) {
        if (was < GD_PHASE_COUNT) h->longest[was] = fmax(h->longest[was], now - h->phase_since);
        h->phase_since = now;
    }
    if (step != before) learn_step(h, before, step, now);
    h->label = label;
    h->steps = steps;
}

void gd__habits_skip(gd__habits *h, double seconds) {
    h->phase_since += seconds;
    h->step_since += seconds;
}

static int by_value(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

double gd__usual_limit(const gd__habits *h) {
    double sorted[GD__STEPS_KEPT];
    int n = (int)(h->kept < GD__STEPS_KEPT ? h->kept : GD__STEPS_KEPT);
    if (!n) return h->limit;
    memcpy(sorted, h->step_s, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return fmax(h->limit, h->factor * sorted[n / 2]);
}

double gd__phase_limit(const gd__habits *h, gd_phase p) {
    double usual = gd__usual_limit(h), patience = fmax(usual, h->patience);
    if (p < GD_PHASE_COUNT && is_patient(p)) return fmax(patience, h->factor * h->longest[p]);
    return h->steps < GD__FIRST_STEPS ? patience : usual; /* programs and caches warm up */
}

/* ---- what moves and gets nowhere ---- */

void gd__sight_learn(gd__sight *s, uint64_t arrived, uint64_t label, uint64_t work, uint64_t gain, double now,
                     double apart) {
    bool moves = !s->known || s->arrived != arrived || s->label != label;
    double since = now - s->moved;
    if (moves && s->known && since <= apart) {
        s->endless += since;
        if (!is_patient(gd__label_phase(s->label))) s->fruitless += since;
    }
    if (s->gain != gain) s->endless = s->fruitless = 0;
    if (s->work != work) s->fruitless = 0;
    if (moves) s->moved = now;
    s->known = true;
    s->arrived = arrived;
    s->label = label;
    s->work = work;
    s->gain = gain;
}

/* Twice: a step in which a rank is disturbed again and again is no hang. */
double gd__fruitless_limit(const gd__habits *h) {
    double usual = gd__usual_limit(h);
    return h->steps < GD__FIRST_STEPS ? fmax(usual, h->patience) : 2 * usual;
}

double gd__endless_limit(const gd__habits *h) {
    double limit = fmax(gd__usual_limit(h), h->patience);
    for (int p = 0; p < GD_PHASE_COUNT; p++)
        if (is_patient((gd_phase)p)) limit = fmax(limit, h->factor * h->longest[p]);
    return limit;
}

static bool find_turning(const gd__habits *h, const gd__sight *s, int n, unsigned char *turns) {
    double fruitless = gd__fruitless_limit(h), endless = gd__endless_limit(h);
    bool any = false;
    for (int r = 0; r < n; r++) {
        turns[r] = s[r].known && (s[r].fruitless > fruitless || s[r].endless > endless);
        any = any || turns[r];
    }
    return any;
}

/* ---- verdict ---- */

/* Half of the limit: in a process that runs a thread that sleeps most of the time is not late by so much. */
bool gd__is_silent(const gd__habits *h, const gd__sight *s, double now) {
    return s->watched && now - s->lived > gd__usual_limit(h) / 2;
}

typedef struct range {
    uint64_t least, most; /* of gd__sight.arrived */
} range;

static range arrivals(const gd__sight *s, int n) {
    range a = {UINT64_MAX, 0};
    for (int r = 0; r < n; r++) {
        if (!s[r].known) continue;
        if (s[r].arrived < a.least) a.least = s[r].arrived;
        if (s[r].arrived > a.most) a.most = s[r].arrived;
    }
    return a;
}

/* Of those that are late and have come least far: who has not come into the collective; who has not left it while others
 * have. Where all wait at one place nobody is missing. */
static void keep_missing(const gd__sight *s, int n, range a, bool frozen, unsigned char *late) {
    bool alone = false;
    for (int r = 0; r < n; r++) alone = alone || (late[r] && gd__label_op(s[r].label) == GD__ALONE);
    for (int r = 0; r < n; r++)
        if (gd__label_op(s[r].label) != GD__ALONE && (alone || frozen || a.least == a.most)) late[r] = 0;
}

/* Who has come least far, is not frozen, and has not moved for longer than its limit (or than the usual one). */
static bool find_late(const gd__habits *h, const gd__sight *s, int n, double now, range a, bool patient,
                      const unsigned char *frozen, unsigned char *late) {
    double usual = gd__usual_limit(h);
    bool any = false;
    for (int r = 0; r < n; r++) {
        double limit = patient ? gd__phase_limit(h, gd__label_phase(s[r].label)) : usual;
        late[r] = s[r].known && !frozen[r] && s[r].arrived == a.least && now - s[r].moved > limit;
        any = any || late[r];
    }
    return any;
}

gd__verdict gd__judge_ranks(const gd__habits *h, const gd__sight *s, int n, double now, unsigned char *culprit,
                            unsigned char *frozen) {
    range a = arrivals(s, n);
    double usual = gd__usual_limit(h);
    bool any_frozen = false;
    for (int r = 0; r < n; r++) {
        frozen[r] = s[r].known && now - s[r].moved > usual && gd__is_silent(h, &s[r], now);
        any_frozen = any_frozen || frozen[r];
    }
    bool any_late = find_late(h, s, n, now, a, true, frozen, culprit), hangs = any_frozen || any_late;
    if (!hangs && find_turning(h, s, n, culprit)) return GD__TURNS;
    if (!hangs && !find_late(h, s, n, now, a, false, frozen, culprit)) return GD__FINE;
    keep_missing(s, n, a, any_frozen, culprit);
    for (int r = 0; r < n; r++) culprit[r] |= frozen[r];
    return hangs ? GD__HANGS : GD__SLOW;
}
