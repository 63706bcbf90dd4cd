/* compute/cuda/dnn.c -- choosing and keeping plans. See dnn.h. */
#include "compute/cuda/dnn.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "compute/cuda/dnn_api.h"
#include "compute/cuda/library.h"

enum { CONFIGS_MAX = 128, PLAN_FILE_MAX = 4 << 20, REASONS = 600 };
static const size_t workspace_default = (size_t)512 << 20;

struct gd__dnn {
    gd__dnn_api f;
    void *library;
    cudnnHandle_t handle; /* NULL: planned for a device that is not here */
    gd__dnn_desc device;
    char *cache;
    uint64_t device_hash;
    bool nondeterministic;
    size_t workspace_max;
};

/* ---- opening ---- */

static gd_status open_device(gd__dnn *d, const char *json) {
    gd__dnn_build b;
    if (!json && d->f.cudnnCreate(&d->handle) != CUDNN_STATUS_SUCCESS) {
        d->handle = NULL;
        GD_FAIL(UNSUP, "cudnn: there is no device that it can use");
    }
    b = gd__dnn_begin(&d->f, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    if (json)
        gd__dnn_set(&b, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json) + 1, json);
    else gd__dnn_set(&b, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &d->handle);
    return gd__dnn_end(&b, "device properties", &d->device);
}

/* The text that a descriptor has; asked twice, since the first answer is its length. owner: caller. */
static gd_status json_of(const gd__dnn *d, gd__dnn_desc desc, cudnnBackendAttributeName_t name, char **out) {
    int64_t n = 0;
    if (d->f.cudnnBackendGetAttribute(desc, name, CUDNN_TYPE_CHAR, 0, &n, NULL) != CUDNN_STATUS_SUCCESS || n <= 0)
        GD_FAIL(UNSUP, "cudnn: a descriptor gives no JSON");
    char *text = calloc(1, (size_t)n + 1);
    if (!text) GD_FAIL(NOMEM, "cudnn: no memory for %lld bytes of JSON", (long long)n);
    if (d->f.cudnnBackendGetAttribute(desc, name, CUDNN_TYPE_CHAR, n, &n, text) != CUDNN_STATUS_SUCCESS) {
        free(text);
        GD_FAIL(UNSUP, "cudnn: a descriptor gives no JSON");
    }
    *out = text;
    return GD_OK;
}

gd_status gd__dnn_device(gd__dnn *d, char **json) {
    return json_of(d, d->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
}

static gd_status set_up(gd__dnn *d, const gd__dnn_opts *o) {
    char *json = NULL;
    GD_TRY(open_device(d, o->device));
    if (!o->device) GD_TRY(gd__dnn_device(d, &json));
    const char *text = json ? json : o->device;
    d->device_hash = gd_hash64(text, strlen(text), 0);
    free(json);
    d->nondeterministic = o->nondeterministic;
    d->workspace_max = o->workspace_max ? o->workspace_max : workspace_default;
    if (!o->cache) return GD_OK;
    GD_TRY(gd_dir_make(o->cache));
    d->cache = strdup(o->cache);
    if (!d->cache) GD_FAIL(NOMEM, "cudnn: no memory");
    return GD_OK;
}

gd_status gd__dnn_open(const gd__dnn_opts *o, gd__dnn **out) {
    static const char *const names[] = {"libcudnn_graph.so.9", NULL};
    static const gd__cu_symbol symbols[] = {
#define ROW(f) {#f, offsetof(gd__dnn_api, f)},
        GD__DNN_FUNCTIONS(ROW)
#undef ROW
    };
    gd__dnn *d = calloc(1, sizeof *d);
    if (!d) GD_FAIL(NOMEM, "cudnn: no memory");
    gd_status st = gd__cu_library_open(names, symbols, (int)(sizeof symbols / sizeof *symbols), &d->f, &d->library);
    if (st == GD_OK) st = set_up(d, o);
    if (st != GD_OK) {
        gd__dnn_close(d);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = d;
    return GD_OK;
}

void gd__dnn_close(gd__dnn *d) {
    if (!d) return;
    if (d->library) gd__dnn_destroy(&d->f, d->device);
    if (d->handle) d->f.cudnnDestroy(d->handle);
    gd__cu_library_close(d->library);
    free(d->cache);
    free(d);
}

size_t gd__dnn_version(const gd__dnn *d) { return d->f.cudnnGetVersion(); }

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

static bool try_configs(const gd__dnn *d, const gd__dnn_conv *c, gd__dnn_desc heuristic, char reasons[REASONS],
                        gd__dnn_plan *out) {
    gd__dnn_desc config[CONFIGS_MAX] = {NULL};
    int64_t n = 0, made = 0;
    bool found = false;
    if (d->f.cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &n,
                                      NULL) != CUDNN_STATUS_SUCCESS)
        return false;
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
        for (int64_t i = 0; i < n && i < made && !found; i++) found = try_config(d, c, config[i], reasons, out);
    for (int64_t i = 0; i < made; i++) gd__dnn_destroy(&d->f, config[i]);
    return found;
}

static gd_status choose(gd__dnn *d, const gd__dnn_conv *c, char reasons[REASONS], gd__dnn_plan *out) {
    static const cudnnBackendHeurMode_t mode[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK};
    gd__dnn_desc graph, heuristic;
    GD_TRY(gd__dnn_graph(&d->f, c, &graph));
    bool found = false;
    for (size_t i = 0; i < sizeof mode / sizeof *mode && !found; i++) {
        gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        gd__dnn_set_desc(&b, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
        gd__dnn_set(&b, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode[i]);
        gd__dnn_set_desc(&b, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, d->device);
        if (gd__dnn_end(&b, "heuristics", &heuristic) != GD_OK) {
            note_reason(reasons, -1, gd_error_message());
            gd_error_clear();
            continue;
        }
        found = try_configs(d, c, heuristic, reasons, out);
        gd__dnn_destroy(&d->f, heuristic);
    }
    gd__dnn_destroy(&d->f, graph);
    if (!found) GD_FAIL(UNSUP, "no engine fits");
    return GD_OK;
}

/* ---- the cache: {"key": ..., "engine": ..., "plan": cuDNN's JSON as a string} ---- */

static void key_of(const gd__dnn *d, const gd__dnn_conv *c, char key[320]) {
    char text[192];
    gd__dnn_text(c, text);
    snprintf(key, 320, "cudnn %zu device %016llx %s workspace %zu%s", gd__dnn_version(d),
             (unsigned long long)d->device_hash, text, d->workspace_max, d->nondeterministic ? " any order" : "");
}

static char *path_of(const gd__dnn *d, const char *key) {
    char hex[33], name[48];
    if (!d->cache) return NULL;
    gd_hash128_text(gd_hash_128(key, strlen(key)), hex);
    snprintf(name, sizeof name, "%s.json", hex);
    return gd_path_join(d->cache, name);
}

/* A plan from its JSON; finalised with the device, without which cuDNN 9.19 crashes. */
static gd_status revive(const gd__dnn *d, const char *json, gd__dnn_plan *out) {
    gd__dnn_desc plan;
    gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    gd__dnn_set_desc(&b, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, d->device);
    gd__dnn_set(&b, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json) + 1, json);
    GD_TRY(gd__dnn_end(&b, "a plan from the cache", &plan));
    out->plan = plan;
    return GD_OK;
}

static bool read_plan(const gd__dnn *d, const char *path, const char *key, gd__dnn_plan *out) {
    void *file;
    size_t bytes;
    const char *own = NULL, *plan = NULL;
    json_int_t engine_index, workspace;
    int tensor_cores, deterministic;
    if (!path || !gd_path_exists(path)) return false;
    if (gd_file_read(path, PLAN_FILE_MAX, &file, &bytes) != GD_OK) {
        gd_error_clear();
        return false;
    }
    json_t *j = json_loadb(file, bytes, JSON_REJECT_DUPLICATES, NULL);
    bool good =
        j && !json_unpack(j, "{s:s, s:I, s:I, s:b, s:b, s:s}", "key", &own, "engine", &engine_index, "workspace",
                          &workspace, "tensor_cores", &tensor_cores, "deterministic", &deterministic, "plan", &plan);
    good = good && !strcmp(own, key) && workspace >= 0 && (size_t)workspace <= d->workspace_max;
    if (good && revive(d, plan, out) != GD_OK) {
        gd_error_clear();
        good = false;
    }
    if (good) {
        out->engine = engine_index;
        out->workspace = (size_t)workspace;
        out->tensor_cores = tensor_cores;
        out->deterministic = deterministic;
        out->cached = true;
    }
    json_decref(j);
    free(file);
    return good;
}

/* That a plan cannot be kept is no error. */
static void write_plan(const gd__dnn *d, const char *path, const char *key, const gd__dnn_plan *p) {
    char *json = NULL, *text = NULL;
    if (!path || json_of(d, p->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, &json) != GD_OK) {
        gd_error_clear();
        return;
    }
    json_t *j = json_pack("{s:s, s:I, s:I, s:b, s:b, s:s}", "key", key, "engine", (json_int_t)p->engine, "workspace",
                          (json_int_t)p->workspace, "tensor_cores", p->tensor_cores, "deterministic", p->deterministic,
                          "plan", json);
    if (j) text = json_dumps(j, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    if (text && gd_file_write(path, text, strlen(text)) != GD_OK) gd_error_clear();
    free(text);
    json_decref(j);
    free(json);
}

gd_status gd__dnn_make(gd__dnn *d, const char *name, const gd__dnn_conv *c, gd__dnn_plan *out) {
    char key[320], reasons[REASONS] = "", text[192];
    *out = (gd__dnn_plan){0};
    key_of(d, c, key);
    char *path = path_of(d, key);
    gd_status st = GD_OK;
    if (!read_plan(d, path, key, out)) {
        st = choose(d, c, reasons, out);
        if (st == GD_OK) write_plan(d, path, key, out);
    }
    free(path);
    if (st == GD_OK) return GD_OK;
    gd__dnn_text(c, text);
    GD_FAIL(UNSUP, "%s: cuDNN %zu has no plan for %s: %s", name, gd__dnn_version(d), text,
            *reasons ? reasons : gd_error_message());
}

/* ---- running ---- */

gd_status gd__dnn_run(gd__dnn *d, const gd__dnn_plan *p, void *stream, void *x, void *w, void *y, void *workspace) {
    const int64_t id[3] = {GD__DNN_X, GD__DNN_W, GD__DNN_Y};
    void *const pointer[3] = {x, w, y};
    gd__dnn_desc pack;
    if (!d->handle) GD_FAIL(UNSUP, "cudnn: plans of a saved device cannot run");
    gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    gd__dnn_set(&b, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, id);
    gd__dnn_set(&b, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointer);
    gd__dnn_set(&b, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    GD_TRY(gd__dnn_end(&b, "variant pack", &pack));
    cudnnStatus_t s = d->f.cudnnSetStream(d->handle, stream);
    if (s == CUDNN_STATUS_SUCCESS) s = d->f.cudnnBackendExecute(d->handle, p->plan, pack);
    gd__dnn_destroy(&d->f, pack);
    if (s != CUDNN_STATUS_SUCCESS) GD_FAIL(CUDA, "cudnn: %s", d->f.cudnnGetErrorString(s));
    return GD_OK;
}
