#include "dist/stragglers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double MUCH = 1 / 0.7, LEAST_S = 0.002; /* an iteration */

gd_status gd__stragglers_open(gd__stragglers *s, int ranks) {
    size_t n = (size_t)ranks;
    s->n = ranks;
    s->data = calloc(4 * n, sizeof *s->data);
    s->strikes = calloc(n, sizeof *s->strikes);
    if (!s->data || !s->strikes) GD_FAIL(NOMEM, "times of %d ranks: no memory", ranks);
    s->compute = s->data + n;
    s->wait = s->compute + n;
    s->sorted = s->wait + n;
    return GD_OK;
}

void gd__stragglers_close(gd__stragglers *s) {
    free(s->data);
    free(s->strikes);
    *s = (gd__stragglers){0};
}

void gd__stragglers_add(gd__stragglers *s, int rank, double data, double compute, double wait) {
    s->data[rank] += data;
    s->compute[rank] += compute;
    s->wait[rank] += wait;
}

static int by_value(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Of an even number the lower one: of two ranks the faster is the measure. */
static double median(gd__stragglers *s, const double *x, const double *more) {
    for (int r = 0; r < s->n; r++) s->sorted[r] = x[r] + (more ? more[r] : 0);
    qsort(s->sorted, (size_t)s->n, sizeof *s->sorted, by_value);
    return s->sorted[(s->n - 1) / 2];
}

static bool is_round(int strikes) {
    if (strikes < GD__STRAGGLER_STRIKES || strikes % GD__STRAGGLER_STRIKES) return false;
    int times = strikes / GD__STRAGGLER_STRIKES;
    return (times & (times - 1)) == 0;
}

/* Sums become means, strikes are counted. The worst of those who are to be named; -1: none. */
static int find(gd__stragglers *s) {
    double n = s->iterations, own_time = 0;
    int worst = -1;
    for (int i = 0; i < 3 * s->n; i++) s->data[i] /= n;
    double usual = median(s, s->data, s->compute);
    for (int r = 0; r < s->n; r++) {
        double own = s->data[r] + s->compute[r], step = own + s->wait[r];
        bool slow = own > MUCH * usual && own - usual > LEAST_S && own - usual > 0.05 * step;
        s->strikes[r] = slow ? s->strikes[r] + 1 : 0;
        if (!is_round(s->strikes[r]) || own <= own_time) continue;
        worst = r;
        own_time = own;
    }
    return worst;
}

static void explain(gd__stragglers *s, int r, char *out, size_t room) {
    double data = median(s, s->data, NULL), compute = median(s, s->compute, NULL), wait = median(s, s->wait, NULL);
    snprintf(out, room,
             "keeps the others waiting with %s, for %d steps now: of a step it waits %.3g ms for data (the median rank "
             "%.3g), computes %.3g ms (%.3g), and waits %.3g ms for other ranks (%.3g)",
             s->data[r] - data > s->compute[r] - compute ? "its data" : "its computing",
             s->strikes[r] * GD__STRAGGLER_WINDOW, 1e3 * s->data[r], 1e3 * data, 1e3 * s->compute[r], 1e3 * compute,
             1e3 * s->wait[r], 1e3 * wait);
}

bool gd__stragglers_end(gd__stragglers *s, int *rank, char *out, size_t room) {
    if (++s->iterations < GD__STRAGGLER_WINDOW) return false;
    *rank = find(s);
    if (*rank >= 0) explain(s, *rank, out, room);
    memset(s->data, 0, 3 * (size_t)s->n * sizeof *s->data);
    s->iterations = 0;
    return *rank >= 0;
}
