/* compute/cuda/dnn_choose.c -- engines that fit, and the fastest of them. See dnn_choose.h. */
#include "compute/cuda/dnn_choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "compute/cuda/dnn_tune.h"

enum { CONFIGS_MAX = 128, TIMED_MAX = 8, REASONS = GD__DNN_REASONS };

/* ---- what an engine is ---- */

typedef struct engine {
    int64_t index;
    bool tensor_cores, down_converts, changes_order, transforms, compiles;
} engine;

/* false: they cannot be read, and nobody knows what the engine does. */
static bool read_notes(const gd__dnn *d, gd__dnn_desc e, engine *out) {
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendBehaviorNote_t behaviour[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t n = 0, m = 0;
    if (d->f.cudnnBackendGetAttribute(e, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                      CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note) != CUDNN_STATUS_SUCCESS ||
        d->f.cudnnBackendGetAttribute(e, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                                      CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &m, behaviour) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < n; i++) {
        out->tensor_cores |= note[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
        out->down_converts |= note[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
        out->changes_order |= note[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        out->transforms |= note[i] == CUDNN_NUMERICAL_NOTE_FFT || note[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD ||
                           note[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
    }
    for (int64_t i = 0; i < m; i++) out->compiles |= behaviour[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    return true;
}

static bool engine_of(const gd__dnn *d, gd__dnn_desc config, engine *out) {
    gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    gd__dnn_desc e = b.desc;
    int64_t n = 0;
    *out = (engine){.index = -1};
    bool good = b.status == CUDNN_STATUS_SUCCESS &&
                d->f.cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                                              &e) == CUDNN_STATUS_SUCCESS &&
                d->f.cudnnBackendGetAttribute(e, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n,
                                              &out->index) == CUDNN_STATUS_SUCCESS;
    good = good && read_notes(d, e, out);
    gd__dnn_destroy(&d->f, e);
    return good;
}

/* NULL: the engine does what was asked for; else why not. Engines that compile kernels for one problem take seconds
 * each and are no faster for a convolution alone; only they widen. */
static const char *unfit(const gd__dnn *d, const gd__dnn_conv *c, const engine *e) {
    gd__dnn_math math = c->math;
    if (math == GD__DNN_F32 && (e->tensor_cores || e->down_converts)) return "rounds f32 factors";
    if (math != GD__DNN_F32 && !e->tensor_cores) return "no tensor cores";
    if (e->changes_order && !d->nondeterministic) return "changing order of sums";
    if (e->transforms) return "transforms with other rounding";
    if (e->compiles && !c->wide) return "compiles at run time";
    return NULL;
}

/* ---- plans ---- */

static gd_status plan_of_config(const gd__dnn *d, gd__dnn_desc config, gd__dnn_plan *out) {
    int64_t n = 0, bytes = 0;
    gd__dnn_desc plan;
    gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    gd__dnn_set_desc(&b, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    gd__dnn_set_desc(&b, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, d->device);
    GD_TRY(gd__dnn_end(&b, "plan", &plan));
    if (d->f.cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                                      &bytes) != CUDNN_STATUS_SUCCESS ||
        bytes < 0) {
        gd__dnn_destroy(&d->f, plan);
        GD_FAIL(UNSUP, "cudnn: a plan does not tell its workspace");
    }
    out->plan = plan;
    out->workspace = (size_t)bytes;
    return GD_OK;
}

void gd__dnn_plan_free(const gd__dnn *d, gd__dnn_plan *p) {
    gd__dnn_destroy(&d->f, p->plan);
    *p = (gd__dnn_plan){0};
}

/* Appends "engine 5: too large; " as long as there is room. */
static void note_reason(char reasons[REASONS], int64_t index, const char *why) {
    size_t at = strlen(reasons);
    if (at + 1 < REASONS)
        snprintf(reasons + at, REASONS - at, "%sengine %lld: %.80s", at ? "; " : "", (long long)index, why);
}

/* Whether config gives a plan that fits. */
static bool try_config(const gd__dnn *d, const gd__dnn_conv *c, gd__dnn_desc config, char reasons[REASONS],
                       gd__dnn_plan *out) {
    engine e;
    char large[64];
    if (!engine_of(d, config, &e)) return false;
    const char *why = unfit(d, c, &e);
    if (!why && plan_of_config(d, config, out) != GD_OK) {
        note_reason(reasons, e.index, gd_error_message());
        gd_error_clear();
        return false;
    }
    if (!why && out->workspace > d->workspace_max) {
        snprintf(large, sizeof large, "workspace of %zu bytes", out->workspace);
        gd__dnn_plan_free(d, out);
        why = large;
    }
    if (why) {
        note_reason(reasons, e.index, why);
        return false;
    }
    out->engine = e.index;
    out->tensor_cores = e.tensor_cores;
    out->deterministic = !e.changes_order;
    return true;
}

/* Plans that fit, in the order of the heuristics. */
typedef struct found {
    int n, most;
    gd__dnn_plan plan[CONFIGS_MAX];
    uint64_t text[CONFIGS_MAX]; /* hash of the plan's text */
} found;

/* Whether the next plan of f is one more: modes of the heuristics name the same ones, and what has no text cannot be
 * chosen by time, since nobody else could be told. One that is not is gone. */
static bool is_new(const gd__dnn *d, found *f, char reasons[REASONS]) {
    gd__dnn_plan *p = &f->plan[f->n];
    char *text = NULL;
    bool known = false;
    if (f->most == 1) return true;
    if (gd__dnn_json(d, p->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, &text) != GD_OK) {
        note_reason(reasons, p->engine, gd_error_message());
        gd_error_clear();
        gd__dnn_plan_free(d, p);
        return false;
    }
    f->text[f->n] = gd_hash64(text, strlen(text), 0);
    free(text);
    for (int i = 0; i < f->n && !known; i++) known = f->text[i] == f->text[f->n];
    if (known) gd__dnn_plan_free(d, p);
    return !known;
}

static void try_configs(const gd__dnn *d, const gd__dnn_conv *c, gd__dnn_desc heuristic, char reasons[REASONS],
                        found *out) {
    gd__dnn_desc config[CONFIGS_MAX] = {NULL};
    int64_t n = 0, made = 0;
    if (d->f.cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &n,
                                      NULL) != CUDNN_STATUS_SUCCESS)
        return;
    if (n > CONFIGS_MAX) n = CONFIGS_MAX;
    for (; made < n; made++) {
        gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        if (b.status != CUDNN_STATUS_SUCCESS) break;
        config[made] = b.desc;
    }
    /* The first answer was a bound, this one is the number of those that are there. */
    n = 0;
    if (d->f.cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, made, &n,
                                      config) == CUDNN_STATUS_SUCCESS)
        for (int64_t i = 0; i < n && i < made && out->n < out->most; i++)
            out->n += try_config(d, c, config[i], reasons, &out->plan[out->n]) && is_new(d, out, reasons);
    for (int64_t i = 0; i < made; i++) gd__dnn_destroy(&d->f, config[i]);
}

static gd_status find(const gd__dnn *d, const gd__dnn_conv *c, char reasons[REASONS], found *out) {
    static const cudnnBackendHeurMode_t mode[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK};
    gd__dnn_desc graph, heuristic;
    GD_TRY(gd__dnn_graph(&d->f, c, &graph));
    for (size_t i = 0; i < sizeof mode / sizeof *mode && out->n < out->most; i++) {
        if (mode[i] == CUDNN_HEUR_MODE_FALLBACK && out->n) break; /* what fits without them is better */
        gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        gd__dnn_set_desc(&b, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
        gd__dnn_set(&b, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode[i]);
        gd__dnn_set_desc(&b, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, d->device);
        if (gd__dnn_end(&b, "heuristics", &heuristic) != GD_OK) {
            note_reason(reasons, -1, gd_error_message());
            gd_error_clear();
            continue;
        }
        try_configs(d, c, heuristic, reasons, out);
        gd__dnn_destroy(&d->f, heuristic);
    }
    gd__dnn_destroy(&d->f, graph);
    if (!out->n) GD_FAIL(UNSUP, "no engine fits");
    return GD_OK;
}

/* ---- the fastest ---- */

/* Times within this are equal: the engine with the lower number is taken, so that choices are stable. */
static const double tie = 1.02;

/* What each takes; one that cannot run has no time. */
static gd_status time_all(gd__dnn *d, const gd__dnn_conv *c, char reasons[REASONS], found *f) {
    gd__dnn_timer *t;
    size_t workspace = 0;
    int timed = 0;
    for (int i = 0; i < f->n; i++)
        if (f->plan[i].workspace > workspace) workspace = f->plan[i].workspace;
    GD_TRY(gd__dnn_timer_open(c, workspace, &t));
    for (int i = 0; i < f->n; i++) {
        gd_status st = gd__dnn_timer_run(t, d, &f->plan[i], &f->plan[i].seconds);
        timed += st == GD_OK;
        if (st == GD_OK) continue;
        note_reason(reasons, f->plan[i].engine, gd_error_message());
        f->plan[i].seconds = -1;
    }
    gd__dnn_timer_close(t);
    if (!timed) GD_FAIL(UNSUP, "no engine runs: %s", gd_error_message());
    gd_error_clear();
    for (int i = 0; i < f->n; i++) f->plan[i].candidates = timed;
    return GD_OK;
}

static int fastest(const found *f) {
    double least = -1;
    int best = -1;
    for (int i = 0; i < f->n; i++)
        if (f->plan[i].seconds >= 0 && (least < 0 || f->plan[i].seconds < least)) least = f->plan[i].seconds;
    for (int i = 0; i < f->n; i++)
        if (f->plan[i].seconds >= 0 && f->plan[i].seconds <= tie * least &&
            (best < 0 || f->plan[i].engine < f->plan[best].engine))
            best = i;
    return best;
}

gd_status gd__dnn_choose(gd__dnn *d, const gd__dnn_conv *c, char reasons[REASONS], gd__dnn_plan *out) {
    gd__dnn_tune tune = d->tune;
    found f = {.most = tune == GD__DNN_HEURISTIC ? 1 : tune == GD__DNN_TIMED ? TIMED_MAX : CONFIGS_MAX};
    int best = 0;
    gd_status st = find(d, c, reasons, &f);
    if (st == GD_OK && tune != GD__DNN_HEURISTIC) {
        st = time_all(d, c, reasons, &f);
        best = st == GD_OK ? fastest(&f) : -1;
    }
    for (int i = 0; i < f.n; i++)
        if (st != GD_OK || i != best) gd__dnn_plan_free(d, &f.plan[i]);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    *out = f.plan[best];
    return GD_OK;
}
