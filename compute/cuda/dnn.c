/* compute/cuda/dnn.c -- making and keeping plans. See dnn.h. */
#include "compute/cuda/dnn.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "compute/cuda/dnn_choose.h"
#include "compute/cuda/library.h"

enum { PLAN_FILE_MAX = 4 << 20, KEY = 320, REASONS = GD__DNN_REASONS };
static const size_t workspace_default = (size_t)512 << 20;

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

/* Asked twice, since the first answer is its length. */
gd_status gd__dnn_json(const gd__dnn *d, gd__dnn_desc desc, cudnnBackendAttributeName_t name, char **out) {
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
    return gd__dnn_json(d, d->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
}

static gd_status read_tune(gd__dnn *d, const gd__dnn_opts *o) {
    static const struct {
        const char *word;
        gd__dnn_tune tune;
    } words[] = {
        {"", GD__DNN_HEURISTIC}, {"heuristic", GD__DNN_HEURISTIC}, {"timed", GD__DNN_TIMED}, {"all", GD__DNN_ALL}};
    const char *is = getenv("GANDIST_CUDA_TUNE");
    d->tune = o->tune;
    for (size_t i = 0; i < sizeof words / sizeof *words && !d->tune; i++)
        if (!strcmp(is ? is : "", words[i].word)) d->tune = words[i].tune;
    if (!d->tune) GD_FAIL(USAGE, "cudnn: GANDIST_CUDA_TUNE=%s; expected heuristic, timed or all", is);
    if (d->tune != GD__DNN_HEURISTIC && !d->handle)
        GD_FAIL(UNSUP, "cudnn: plans for a device that is not here cannot be timed; expected heuristic");
    return GD_OK;
}

/* Of what a device is, not of which of several it is: what one chose holds for its likes. */
static uint64_t hash_device(const char *text) {
    json_t *o = json_loads(text, 0, NULL);
    json_object_del(o, "cudaDeviceId");
    json_object_del(o, "pciDeviceId");
    char *kind = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    const char *known = kind ? kind : text;
    uint64_t hash = gd_hash64(known, strlen(known), 0);
    free(kind);
    json_decref(o);
    return hash;
}

static gd_status set_up(gd__dnn *d, const gd__dnn_opts *o) {
    char *json = NULL;
    GD_TRY(open_device(d, o->device));
    if (!o->device) GD_TRY(gd__dnn_device(d, &json));
    d->device_hash = hash_device(json ? json : o->device);
    free(json);
    GD_TRY(read_tune(d, o));
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
    gd__dnn_records_free(&d->made);
    free(d->cache);
    free(d);
}

size_t gd__dnn_version(const gd__dnn *d) { return d->f.cudnnGetVersion(); }

/* ---- records: on disk, and of all that was made ---- */

/* What all choices of a device share. */
static void device_of(const gd__dnn *d, char out[96]) {
    snprintf(out, 96, "cudnn %zu device %016llx ", gd__dnn_version(d), (unsigned long long)d->device_hash);
}

static void key_of(const gd__dnn *d, const gd__dnn_conv *c, char key[KEY]) {
    char text[192], device[96];
    gd__dnn_text(c, text);
    device_of(d, device);
    snprintf(key, KEY, "%s%s workspace %zu%s", device, text, d->workspace_max, d->nondeterministic ? " any order" : "");
}

/* Choices that were timed are in files of their own: what was chosen without is not what a timing start looks for. */
static char *path_of(const gd__dnn *d, const char *key) {
    static const char *const suffix[] = {"", "", "-timed", "-all"};
    char hex[33], name[48];
    if (!d->cache) return NULL;
    gd_hash128_text(gd_hash_128(key, strlen(key)), hex);
    snprintf(name, sizeof name, "%s%s.json", hex, suffix[d->tune]);
    return gd_path_join(d->cache, name);
}

/* A plan from its JSON; finalised with the device, without which cuDNN 9.19 crashes. What cuDNN says its workspace is must be
 * what the record says. */
static gd_status revive(const gd__dnn *d, const gd__dnn_record *r, gd__dnn_plan *out) {
    gd__dnn_desc plan;
    int64_t n = 0, bytes = -1;
    gd__dnn_build b = gd__dnn_begin(&d->f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    gd__dnn_set_desc(&b, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, d->device);
    gd__dnn_set(&b, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(r->plan) + 1,
                r->plan);
    GD_TRY(gd__dnn_end(&b, "a plan from its text", &plan));
    if (d->f.cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                                      &bytes) != CUDNN_STATUS_SUCCESS ||
        bytes != (int64_t)r->workspace || r->workspace > d->workspace_max) {
        gd__dnn_destroy(&d->f, plan);
        GD_FAIL(UNSUP, "cudnn: a plan from its text has a workspace of %lld bytes; expected %zu, at most %zu",
                (long long)bytes, r->workspace, d->workspace_max);
    }
    *out = (gd__dnn_plan){.plan = plan,
                          .engine = r->engine,
                          .workspace = r->workspace,
                          .tensor_cores = r->tensor_cores,
                          .deterministic = r->deterministic,
                          .seconds = r->seconds,
                          .candidates = r->candidates};
    return GD_OK;
}

/* Whatever cannot be used is made anew. */
static bool read_plan(const gd__dnn *d, const char *path, const char *key, gd__dnn_record *r, gd__dnn_plan *out) {
    void *file;
    size_t bytes;
    *r = (gd__dnn_record){0};
    if (!path || !gd_path_exists(path)) return false;
    gd_status st = gd_file_read(path, PLAN_FILE_MAX, &file, &bytes);
    if (st == GD_OK) {
        st = gd__dnn_record_parse(file, bytes, r);
        free(file);
    }
    bool wanted = st == GD_OK && !strcmp(r->key, key) && (r->deterministic || d->nondeterministic) &&
                  (r->candidates > 0) == (d->tune != GD__DNN_HEURISTIC);
    if (wanted && revive(d, r, out) == GD_OK) {
        out->cached = true;
        return true;
    }
    gd_error_clear();
    gd__dnn_record_free(r);
    return false;
}

/* owner of *out: caller. */
static gd_status record_of(const gd__dnn *d, const char *key, const gd__dnn_plan *p, gd__dnn_record *out) {
    *out = (gd__dnn_record){.engine = p->engine,
                            .workspace = p->workspace,
                            .tensor_cores = p->tensor_cores,
                            .deterministic = p->deterministic,
                            .seconds = p->seconds,
                            .candidates = p->candidates};
    GD_TRY(gd__dnn_json(d, p->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, &out->plan));
    out->key = strdup(key);
    if (out->key) return GD_OK;
    gd__dnn_record_free(out);
    GD_FAIL(NOMEM, "cudnn: no memory for a plan");
}

/* That a plan cannot be kept is no error. */
static void write_plan(const char *path, const gd__dnn_record *r) {
    char *text = NULL;
    if (!path || gd__dnn_record_print(r, &text) != GD_OK || gd_file_write(path, text, strlen(text)) != GD_OK)
        gd_error_clear();
    free(text);
}

/* A plan that has no text can be used, but nobody else can be told: in that case heuristics, which say the same on
 * every rank, are all that there is. */
static gd_status remember(gd__dnn *d, const char *path, const char *key, const gd__dnn_plan *p) {
    gd__dnn_record r;
    gd_status st = record_of(d, key, p, &r);
    if (st == GD_UNSUP && !p->candidates) {
        gd_error_clear();
        return GD_OK;
    }
    GD_TRY(st);
    write_plan(path, &r);
    return gd__dnn_records_put(&d->made, &r);
}

static gd_status make_new(gd__dnn *d, const gd__dnn_conv *c, const char *path, const char *key, char reasons[REASONS],
                          gd__dnn_plan *out) {
    GD_TRY(gd__dnn_choose(d, c, reasons, out));
    gd_status st = remember(d, path, key, out);
    if (st == GD_OK) {
        d->timed += out->candidates > 0;
        return GD_OK;
    }
    gd__dnn_plan_free(d, out);
    return gd_trace(st, __FILE__, __LINE__);
}

static gd_status make_plan(gd__dnn *d, const gd__dnn_conv *c, char reasons[REASONS], gd__dnn_plan *out) {
    char key[KEY];
    gd__dnn_record r;
    key_of(d, c, key);
    const gd__dnn_record *known = gd__dnn_records_find(&d->made, key);
    if (known && (known->imported || known->candidates)) { /* what was timed once holds for the process */
        GD_TRY(revive(d, known, out));
        out->imported = known->imported;
        d->imported += known->imported;
        return GD_OK;
    }
    char *path = path_of(d, key);
    gd_status st;
    if (read_plan(d, path, key, &r, out)) {
        d->cached++;
        st = gd__dnn_records_put(&d->made, &r);
        if (st != GD_OK) gd__dnn_plan_free(d, out);
    } else st = make_new(d, c, path, key, reasons, out);
    free(path);
    return st;
}

/* Why there is no plan of what rank 0 has chosen for c; GD_OK: it did not choose for it. */
static gd_status refuse_import(const gd__dnn *d, const char *name, const gd__dnn_conv *c) {
    char key[KEY], text[192], why[400];
    key_of(d, c, key);
    const gd__dnn_record *r = gd__dnn_records_find(&d->made, key);
    if (!r || !r->imported) return GD_OK;
    gd__dnn_text(c, text);
    snprintf(why, sizeof why, "%s", gd_error_message());
    GD_FAIL(
        UNSUP,
        "%s: cuDNN %zu has no plan for %s by engine %lld, which rank 0 has chosen: %s; expected GPUs and drivers that "
        "are alike on all ranks, or GANDIST_CUDA_TUNE=heuristic",
        name, gd__dnn_version(d), text, (long long)r->engine, why);
}

gd_status gd__dnn_make(gd__dnn *d, const char *name, const gd__dnn_conv *c, gd__dnn_plan *out) {
    char reasons[REASONS] = "", text[192];
    *out = (gd__dnn_plan){0};
    gd_status st = make_plan(d, c, reasons, out);
    if (st == GD_OK) return GD_OK;
    if (st == GD_NOMEM) return gd_context(st, "%s", name);
    GD_TRY(refuse_import(d, name, c));
    gd__dnn_text(c, text);
    return gd_raise(st == GD_CUDA ? GD_CUDA : GD_UNSUP, __FILE__, __LINE__, "%s: cuDNN %zu has no plan for %s: %s",
                    name, gd__dnn_version(d), text, *reasons ? reasons : gd_error_message());
}

/* ---- from rank to rank ---- */

bool gd__dnn_times(const gd__dnn *d) { return d->tune != GD__DNN_HEURISTIC; }

static bool all_by_heuristics(const gd__dnn *d) {
    for (int i = 0; i < d->made.n; i++)
        if (d->made.list[i].candidates || d->made.list[i].imported) return false;
    return !gd__dnn_times(d);
}

gd_status gd__dnn_export(const gd__dnn *d, char **text) {
    const gd__dnn_records none = {0};
    return gd__dnn_records_print(all_by_heuristics(d) ? &none : &d->made, text);
}

static gd_status check_foreign(const gd__dnn *d, const gd__dnn_record *r) {
    char device[96], asked[64];
    device_of(d, device);
    snprintf(asked, sizeof asked, " workspace %zu%s", d->workspace_max, d->nondeterministic ? " any order" : "");
    size_t n = strlen(r->key), tail = strlen(asked);
    if (strncmp(r->key, device, strlen(device)) != 0)
        GD_FAIL(
            CONFIG,
            "cudnn: the plans are for '%.40s'; this rank has '%s'; expected one GPU model and one cuDNN on all ranks",
            r->key, device);
    if (n < tail || strcmp(r->key + n - tail, asked) != 0)
        GD_FAIL(CONFIG, "cudnn: the plan '%.200s' was not asked for with '%s'; expected the same settings on all ranks",
                r->key, asked + 1);
    return GD_OK;
}

gd_status gd__dnn_import(gd__dnn *d, const void *text, size_t bytes) {
    gd__dnn_records list;
    gd_status st = GD_OK;
    GD_TRY(gd__dnn_records_parse(text, bytes, &list));
    for (int i = 0; i < list.n && st == GD_OK; i++) st = check_foreign(d, &list.list[i]);
    if (st == GD_OK) d->tune = GD__DNN_HEURISTIC;
    for (int i = 0; i < list.n && st == GD_OK; i++) {
        list.list[i].imported = true;
        st = gd__dnn_records_put(&d->made, &list.list[i]);
    }
    gd__dnn_records_free(&list);
    return st;
}

void gd__dnn_summary(const gd__dnn *d, char out[128]) {
    out[0] = '\0';
    if (all_by_heuristics(d)) return;
    snprintf(out, 128, "%d convolutions: %d timed, %d from the cache, %d imported", d->made.n, d->timed, d->cached,
             d->imported);
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
