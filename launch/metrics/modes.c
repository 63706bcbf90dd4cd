#include "launch/metrics/modes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WELL = 10 }; /* well hit: a tenth of an equal share */
static const double sure = 0.9;

bool gd_mixture_of(const char *source, gd_mixture *out) {
    if (!strcmp(source, "ring")) { /* the scales of data/synthetic.c */
        *out = (gd_mixture){.modes = 8, .std = 0.02 / 1.414};
        for (int i = 0; i < 8; i++) {
            out->centre[i][0] = 2 / 1.414 * cos(i * M_PI / 4);
            out->centre[i][1] = 2 / 1.414 * sin(i * M_PI / 4);
        }
        return true;
    }
    if (!strcmp(source, "grid")) {
        *out = (gd_mixture){.modes = 25, .std = 0.05 / 2.828};
        for (int i = 0; i < 25; i++) {
            out->centre[i][0] = 2 * (i % 5 - 2) / 2.828;
            out->centre[i][1] = 2 * (i / 5 - 2) / 2.828;
        }
        return true;
    }
    return false;
}

/* Sum of p log(p / (1 / modes)) of the shares p. */
static double kl_to_uniform(const int64_t *count, int modes, int64_t total) {
    double kl = 0;
    for (int i = 0; i < modes && total; i++) {
        double p = (double)count[i] / (double)total;
        if (count[i]) kl += p * log(p * modes);
    }
    return total ? kl : INFINITY;
}

static int nearest(const gd_mixture *m, const float *x, double *squares) {
    int best = 0;
    *squares = INFINITY;
    for (int i = 0; i < m->modes; i++) {
        double dx = (double)x[0] - m->centre[i][0], dy = (double)x[1] - m->centre[i][1], s = dx * dx + dy * dy;
        if (!(s < *squares)) continue;
        *squares = s;
        best = i;
    }
    return best;
}

gd_status gd_modes_mixture(const gd_mixture *m, const gd_points *p, gd_modes *out) {
    int64_t all[32] = {0}, good[32] = {0}, n_all = 0, n_good = 0;
    float room[2];
    if (p->d != 2) GD_FAIL(SHAPE, "modes: samples of %lld numbers; points in the plane have 2", (long long)p->d);
    if (p->n < 1) GD_FAIL(DATA, "modes: no samples");
    for (int64_t i = 0; i < p->n; i++) {
        const float *x = gd_points_row(p, i, room);
        double squares;
        int at = nearest(m, x, &squares);
        if (!isfinite(squares)) continue;
        all[at]++;
        n_all++;
        if (squares > 9 * m->std * m->std) continue;
        good[at]++;
        n_good++;
    }
    *out = (gd_modes){.modes = m->modes, .good = (double)n_good / (double)p->n};
    for (int i = 0; i < m->modes; i++) out->hit += good[i] > 0;
    out->well = out->hit;
    out->reverse_kl = kl_to_uniform(all, m->modes, n_all);
    return GD_OK;
}

gd_status gd_modes_stacked(int classes, int64_t n, const int *label, const float *confidence, gd_modes *out) {
    int modes = classes * classes * classes;
    if (n < 1) GD_FAIL(DATA, "modes: no samples");
    int64_t *all = calloc((size_t)modes * 2, sizeof *all), *certain = all + modes, n_certain = 0;
    if (!all) GD_FAIL(NOMEM, "%d modes", modes);
    for (int64_t i = 0; i < n; i++) {
        const int *l = label + GD_STACK * i;
        const float *c = confidence + GD_STACK * i;
        int mode = (l[0] * classes + l[1]) * classes + l[2];
        bool is_sure = (double)c[0] > sure && (double)c[1] > sure && (double)c[2] > sure;
        all[mode]++;
        certain[mode] += is_sure;
        n_certain += is_sure;
    }
    *out = (gd_modes){.modes = modes, .good = (double)n_certain / (double)n};
    for (int i = 0; i < modes; i++) {
        out->hit += all[i] > 0;
        out->well += certain[i] > 0 && certain[i] * WELL * modes >= n;
    }
    out->reverse_kl = kl_to_uniform(all, modes, n);
    free(all);
    return GD_OK;
}
