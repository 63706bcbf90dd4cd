#include "launch/measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "launch/metrics/frechet.h"
#include "launch/metrics/kernel.h"
#include "launch/metrics/modes.h"
#include "launch/metrics/neighbours.h"
#include "launch/metrics/parzen.h"
#include "launch/metrics/sliced.h"
#include "launch/metrics/ssim.h"

enum { NEIGHBOURS = 5, SSIM_PAIRS = 1000, PARZEN_VALIDATION = 1000 };

static void put(gd_figures *f, const char *name, double value, double error, double floor) {
    f->figure[f->count++] = (gd_figure){name, value, error, floor};
}

/* Other real samples that a measure of at least `least` samples can use as its floor. */
static bool has_floor(const gd_evaluation *e, int64_t least) {
    return e->held.shape.dim[0] >= least && e->real.shape.dim[0] >= least;
}

/* ---- where measures make sense ---- */

static gd_topology topology(const gd_evaluation *e) { return gd_trained_spec(e->model)->topology; }
static bool generates(const gd_evaluation *e) { return topology(e) != GD_TOPOLOGY_CLASSIFIER; }
static bool makes_images(const gd_evaluation *e) { return generates(e) && gd_trained_range(e->model) != GD_RANGE_RAW; }
static bool classifies(const gd_evaluation *e) { return !generates(e); }
static bool translates(const gd_evaluation *e) { return gd_trained_translates(e->model, 0); }
static bool always(const gd_evaluation *e) { return (void)e, true; }
static bool never(const gd_evaluation *e) { return (void)e, false; }

static bool from_noise(const gd_evaluation *e) { return topology(e) == GD_TOPOLOGY_NOISE && makes_images(e); }

static bool is_stacked(const gd_evaluation *e) {
    return makes_images(e) && !strcmp(gd_trained_recipe(e->model)->data.source, "stacked-fashion");
}

static bool has_modes(const gd_evaluation *e) {
    gd_mixture m;
    return topology(e) == GD_TOPOLOGY_NOISE &&
           (gd_mixture_of(gd_trained_recipe(e->model)->data.source, &m) || is_stacked(e));
}

/* ---- the measures ---- */

static gd_status run_fd(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_points fake = gd_samples_features(&e->fake), real = gd_samples_features(&e->real);
    gd_points held = gd_samples_features(&e->held);
    double value, floor = NAN;
    (void)seed;
    GD_TRY(gd_frechet(&real, &fake, &value));
    if (has_floor(e, 2)) GD_TRY(gd_frechet(&real, &held, &floor));
    put(out, "fd", value, NAN, floor);
    return GD_OK;
}

/* Heusel et al. 2017. The floor tells how much of the value comes from the number of samples. */
static gd_status run_fid(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_points fake = gd_samples_inception(&e->fake), real = gd_samples_inception(&e->real);
    gd_points held = gd_samples_inception(&e->held);
    double value, floor = NAN;
    (void)seed;
    if (fake.n <= fake.d || real.n <= real.d)
        GD_LOG(
            LAUNCH, WARN,
            "fid of %lld samples against %lld: the covariance of %lld features needs more of each; the figure is too "
            "large, and only comparable with others of the same numbers",
            (long long)fake.n, (long long)real.n, (long long)fake.d);
    GD_TRY(gd_frechet(&real, &fake, &value));
    if (has_floor(e, 2)) GD_TRY(gd_frechet(&real, &held, &floor));
    put(out, "fid", value, NAN, floor);
    return GD_OK;
}

static gd_status run_kid(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_points fake = gd_samples_features(&e->fake), real = gd_samples_features(&e->real);
    gd_points held = gd_samples_features(&e->held);
    gd_kid value, floor = {.mean = NAN};
    (void)seed;
    GD_TRY(gd_kernel_distance(&real, &fake, &value));
    if (has_floor(e, 2)) GD_TRY(gd_kernel_distance(&real, &held, &floor));
    put(out, "kid", value.mean, value.error, floor.mean);
    return GD_OK;
}

static gd_status run_prdc(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_points fake = gd_samples_features(&e->fake), real = gd_samples_features(&e->real);
    gd_points held = gd_samples_features(&e->held);
    gd_prdc v, floor = {NAN, NAN, NAN, NAN};
    (void)seed;
    GD_TRY(gd_neighbours(&real, &fake, NEIGHBOURS, &v));
    if (has_floor(e, NEIGHBOURS + 1)) GD_TRY(gd_neighbours(&real, &held, NEIGHBOURS, &floor));
    put(out, "precision", v.precision, NAN, floor.precision);
    put(out, "recall", v.recall, NAN, floor.recall);
    put(out, "density", v.density, NAN, floor.density);
    put(out, "coverage", v.coverage, NAN, floor.coverage);
    return GD_OK;
}

static gd_status run_swd(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_points fake = gd_samples_points(&e->fake), real = gd_samples_points(&e->real);
    gd_points held = gd_samples_points(&e->held);
    double value, floor = NAN;
    GD_TRY(gd_sliced_wasserstein(&real, &fake, GD_SLICED_DIRECTIONS, seed, &value));
    if (has_floor(e, 2)) GD_TRY(gd_sliced_wasserstein(&real, &held, GD_SLICED_DIRECTIONS, seed, &floor));
    put(out, "swd", value, NAN, floor);
    return GD_OK;
}

static gd_status modes_of(const gd_evaluation *e, const gd_samples *s, gd_modes *out) {
    gd_mixture m;
    if (!gd_mixture_of(e->source, &m)) {
        if (s->parts != GD_STACK) GD_FAIL(CONFIG, "modes: a stacked set is classified channel by channel");
        return gd_modes_stacked(gd_trained_classes(e->classifier), s->shape.dim[0], s->label, s->confidence, out);
    }
    gd_points p = gd_samples_points(s);
    return gd_modes_mixture(&m, &p, out);
}

static gd_status run_modes(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_modes v, r = {0};
    (void)seed;
    GD_TRY(modes_of(e, &e->fake, &v));
    bool floor = e->held.shape.dim[0] > 0, stacked = is_stacked(e);
    if (floor) GD_TRY(modes_of(e, &e->held, &r));
    put(out, "modes", v.modes, NAN, NAN);
    put(out, "modes_hit", v.hit, NAN, floor ? r.hit : NAN);
    if (stacked) put(out, "modes_well_hit", v.well, NAN, floor ? r.well : NAN);
    put(out, stacked ? "sure_share" : "high_quality", v.good, NAN, floor ? r.good : NAN);
    put(out, "reverse_kl", v.reverse_kl, NAN, floor ? r.reverse_kl : NAN);
    return GD_OK;
}

/* Mean absolute difference of what was made and what it should be, on the scale 0 to 1. */
static gd_status run_l1(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    (void)seed;
    if (!e->truth.u8) return GD_OK;
    int64_t n = gd_shape_count(e->truth.shape);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += abs((int)e->fake.u8[i] - (int)e->truth.u8[i]);
    put(out, "l1", sum / 255 / (double)n, NAN, 0);
    return GD_OK;
}

static gd_status run_parzen(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    gd_points fake = gd_samples_points(&e->fake), validation = gd_samples_points(&e->real);
    gd_points test = gd_samples_points(&e->held);
    gd_parzen p;
    (void)seed;
    if (!test.n) GD_FAIL(DATA, "parzen: %s has no samples beside those that choose the width of the window", e->source);
    if (validation.n > PARZEN_VALIDATION) validation.n = PARZEN_VALIDATION;
    GD_TRY(gd_parzen_window(&fake, &validation, &test, &p));
    put(out, "parzen", p.mean, p.error, NAN);
    put(out, "parzen_sigma", p.sigma, NAN, NAN);
    return GD_OK;
}

/* Mean over pairs of neighbouring samples of a set, which are in random order. */
static gd_status mean_ssim(const gd_samples *s, double *out) {
    int64_t size = gd_samples_points(s).d, pairs = s->shape.dim[0] / 2;
    if (pairs > SSIM_PAIRS) pairs = SSIM_PAIRS;
    *out = NAN;
    if (!pairs) return GD_OK;
    double sum = 0;
    for (int64_t i = 0; i < pairs; i++) {
        double v;
        GD_TRY(gd_ms_ssim((int)s->shape.dim[1], (int)s->shape.dim[2], (int)s->shape.dim[3], s->u8 + 2 * i * size,
                          s->u8 + (2 * i + 1) * size, &v));
        sum += v;
    }
    *out = sum / (double)pairs;
    return GD_OK;
}

static gd_status run_ms_ssim(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    double value, floor;
    (void)seed;
    GD_TRY(mean_ssim(&e->fake, &value));
    GD_TRY(mean_ssim(&e->real, &floor));
    put(out, "ms-ssim", value, NAN, floor);
    return GD_OK;
}

static gd_status run_accuracy(const gd_evaluation *e, uint64_t seed, gd_figures *out) {
    (void)seed;
    put(out, e->held_out ? "accuracy" : "train_accuracy", e->accuracy, NAN, NAN); /* never the one for the other */
    return GD_OK;
}

static const gd_measure measures[] = {
    {"accuracy", "share of other samples that a classifier tells right", true, classifies, never, false, run_accuracy},
    {"fd", "Frechet distance of classifier features", true, makes_images, always, false, run_fd},
    {"fid", "FID: the Frechet distance of Inception features, with --inception FILE", false, makes_images, never, true,
     run_fid},
    {"kid", "kernel distance of classifier features, with standard error", true, makes_images, always, false, run_kid},
    {"prdc", "precision, recall, density, coverage of classifier features, k = 5", true, makes_images, always, false,
     run_prdc},
    {"swd", "sliced Wasserstein distance of pixels or points, 512 directions, scale -1 to 1", true, generates, never,
     false, run_swd},
    {"modes", "modes found, and reverse KL: ring, grid, stacked-fashion (by the classifier)", true, has_modes,
     is_stacked, false, run_modes},
    {"l1", "distance of translations to the true ones, scale 0 to 1, where the data know them", true, translates, never,
     false, run_l1},
    {"ms-ssim", "likeness of pairs of samples: near 1 means collapse; the floor is that of real samples", true,
     from_noise, never, false, run_ms_ssim},
    {"parzen", "Parzen-window log-likelihood of other samples, nats", false, from_noise, never, false, run_parzen},
};

const gd_measure *gd_measures(int *count) {
    *count = sizeof measures / sizeof *measures;
    return measures;
}
