/* dist/watch.c -- what counts as sick. Thresholds are far from what healthy runs do: a watcher that cries every day
 * is switched off. */
#include "dist/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- thresholds ---- */

enum {
    /* Samples differ between looks by a factor of two at most once training is under way. The first looks are at a
     * generator that has learnt nothing. One look may be at a bad moment, two are not. */
    COLLAPSE_SETTLED = 4,
    COLLAPSE_ROW = 2,
    /* Gradient norms of one iteration vary by ten; hundreds of iterations average that out. */
    SETTLED = 200,
    VANISHED_ROW = 50,
    EXPLODING_ROW = 5, /* what explodes is soon infinite: there is no time to wait */
    /* A discriminator may be far ahead for a while, at the start above all. */
    SATURATED_ROW = 1000,
};
static const double COLLAPSE_FRACTION = 0.25; /* one mode of eight has less than a tenth of the spread of all */
static const double VANISHED_LOG2 = -6.64;    /* a hundredth of the usual norm: what minimax loses to a perfect D */
static const double VANISHED_RMS = 1e-8;      /* eps of the optimisers: below it they divide by eps, and steps shrink */
static const double EXPLODING_LOG2 = 9.97;    /* a thousand times the usual size */
static const double EXPLODING_LOSS = 1e6;     /* f32 has steps of 1/16 there: differences between scores get lost */
static const double SATURATED_ACCURACY = 0.999;
static const double SATURATED_REST = 0.01; /* of 1.39, the loss of a discriminator that guesses */
static const double MEMORY = 1.0 / 2000;   /* share of one iteration in a usual size */

/* ---- usual sizes ---- */

/* log2, linear between powers of two: made of exact operations, so that hosts with other libraries agree. */
static double log2_of(double x) {
    int exponent;
    double m = frexp(fmax(x, 1e-300), &exponent);
    return exponent + 2 * m - 2;
}

/* At first the mean of all so far, later of about the last 2000. */
static void learn(gd_watch_state *s, int which, double x) {
    if (!isfinite(x)) return;
    double rate = fmax(1.0 / (double)++s->seen[which], MEMORY);
    s->level[which] += rate * (log2_of(x) - s->level[which]);
}

/* x over its usual size, log2; NaN while that is not known, or x is not. */
static double against_usual(const gd_watch_state *s, int which, double x) {
    return s->seen[which] < SETTLED || isnan(x) ? NAN : log2_of(x) - s->level[which];
}

static double usual(const gd_watch_state *s, int which) { return exp2(s->level[which]); }

/* ---- spread of samples ---- */

double gd_watch_spread(const float *image, int n, int64_t count) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) {
            const float *a = image + i * count, *b = image + k * count;
            double squares = 0;
            for (int64_t e = 0; e < count; e++) squares += ((double)a[e] - b[e]) * ((double)a[e] - b[e]);
            sum += sqrt(squares / (double)count);
        }
    }
    return sum / (0.5 * n * (n - 1));
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the looks that are remembered; NaN: too few. */
static double median(const gd_watch_state *s, int direction) {
    double sorted[GD_WATCH_LOOKS];
    int64_t n = s->looks < GD_WATCH_LOOKS ? s->looks : GD_WATCH_LOOKS;
    if (n < COLLAPSE_SETTLED) return NAN;
    for (int64_t i = 0; i < n; i++) sorted[i] = s->spread[direction][i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

/* The direction whose spread is least beside its median, and how much that is; NaN: not known. */
static double least_spread(const gd_watch_sight *v, const gd_watch_state *s, int *direction) {
    double least = NAN;
    *direction = 0;
    for (int d = 0; d < GD_WATCH_DIRECTIONS; d++) {
        double part = v->spread[d] / median(s, d);
        if (isnan(part) || part >= least) continue;
        least = part;
        *direction = d;
    }
    return least;
}

static void remember_look(const gd_watch_sight *v, gd_watch_state *s) {
    if (!isfinite(v->spread[0])) return;
    for (int d = 0; d < GD_WATCH_DIRECTIONS; d++)
        s->spread[d][s->looks % GD_WATCH_LOOKS] = isfinite(v->spread[d]) ? v->spread[d] : 0;
    s->looks++;
}

/* ---- sick or not ---- */

static bool is_measured(gd_watch w, const gd_watch_sight *v) {
    switch (w) {
    case GD_WATCH_COLLAPSE: return isfinite(v->spread[0]);
    case GD_WATCH_VANISHED: return isfinite(v->grad_g);
    case GD_WATCH_EXPLODING: return isfinite(v->grad_d) || isfinite(v->loss_d);
    case GD_WATCH_SATURATED: return isfinite(v->accuracy) && isfinite(v->rest);
    default: return false;
    }
}

/* 1 + |loss|: a loss near 0 has no size. */
static double loss_size(const gd_watch_sight *v) { return 1 + fabs(v->loss_d); }

static bool is_sick(gd_watch w, const gd_watch_sight *v, const gd_watch_state *s) {
    int direction;
    switch (w) {
    case GD_WATCH_COLLAPSE: return least_spread(v, s, &direction) < COLLAPSE_FRACTION;
    case GD_WATCH_VANISHED:
        return v->grad_g_rms < VANISHED_RMS || against_usual(s, GD_USUAL_GRAD_G, v->grad_g) < VANISHED_LOG2;
    case GD_WATCH_EXPLODING:
        return fabs(v->loss_d) > EXPLODING_LOSS || against_usual(s, GD_USUAL_GRAD_D, v->grad_d) > EXPLODING_LOG2 ||
               against_usual(s, GD_USUAL_LOSS_D, loss_size(v)) > EXPLODING_LOG2;
    case GD_WATCH_SATURATED: return v->accuracy >= SATURATED_ACCURACY && v->rest < SATURATED_REST;
    default: return false;
    }
}

void gd_watch_advance(const gd_watch_spec *spec, const gd_watch_sight *v, gd_watch_state *s,
                      bool begun[GD_WATCH_COUNT]) {
    static const int64_t row[GD_WATCH_COUNT] = {
        [GD_WATCH_COLLAPSE] = COLLAPSE_ROW,
        [GD_WATCH_VANISHED] = VANISHED_ROW,
        [GD_WATCH_EXPLODING] = EXPLODING_ROW,
        [GD_WATCH_SATURATED] = SATURATED_ROW,
    };
    const gd_watch_action *action = spec->action;
    for (int w = 0; w < GD_WATCH_COUNT; w++) {
        begun[w] = false;
        if (action[w] == GD_WATCH_OFF || !is_measured((gd_watch)w, v)) continue;
        s->row[w] = is_sick((gd_watch)w, v, s) ? s->row[w] + 1 : 0;
        begun[w] = s->row[w] == row[w];
    }
    if (action[GD_WATCH_COLLAPSE] != GD_WATCH_OFF) remember_look(v, s);
    if (action[GD_WATCH_VANISHED] != GD_WATCH_OFF) learn(s, GD_USUAL_GRAD_G, v->grad_g);
    if (action[GD_WATCH_EXPLODING] != GD_WATCH_OFF) {
        learn(s, GD_USUAL_GRAD_D, v->grad_d);
        learn(s, GD_USUAL_LOSS_D, loss_size(v));
    }
}

/* ---- words ---- */

const char *gd_watch_name(gd_watch w) {
    static const char *const names[GD_WATCH_COUNT] = {"collapse", "vanished", "exploding", "saturated"};
    return (unsigned)w < GD_WATCH_COUNT ? names[w] : "unknown";
}

void gd_watch_explain(gd_watch w, const gd_watch_sight *v, const gd_watch_state *s, char *out, int room) {
    size_t n = (size_t)room;
    int d = 0;
    switch (w) {
    case GD_WATCH_COLLAPSE:
        least_spread(v, s, &d);
        snprintf(out, n,
                 "generated samples grow alike: the mean distance between two is %.3g, in the looks before about "
                 "%.3g",
                 v->spread[d], median(s, d));
        break;
    case GD_WATCH_VANISHED:
        snprintf(out, n, "hardly any gradient reaches the generator: its norm is %.3g, usually about %.3g", v->grad_g,
                 usual(s, GD_USUAL_GRAD_G));
        break;
    case GD_WATCH_EXPLODING:
        snprintf(out, n,
                 "the discriminator grows without bound: its loss is %.3g and the norm of its gradient %.3g, "
                 "usually about %.3g",
                 v->loss_d, v->grad_d, usual(s, GD_USUAL_GRAD_D));
        break;
    case GD_WATCH_SATURATED:
        snprintf(out, n,
                 "the discriminator has not been wrong for %d iterations (accuracy %.4g, loss %.3g above the "
                 "least that it can be)",
                 SATURATED_ROW, v->accuracy, v->rest);
        break;
    default: snprintf(out, n, "unknown");
    }
}
