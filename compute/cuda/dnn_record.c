/* compute/cuda/dnn_record.c -- see dnn_record.h. */
#include "compute/cuda/dnn_record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { CANDIDATES_MAX = 1 << 20, ENGINE_MAX = 1 << 20 };

void gd__dnn_record_free(gd__dnn_record *r) {
    free(r->key);
    free(r->plan);
    *r = (gd__dnn_record){0};
}

/* Of everything that the text says. */
static void hash_of(const gd__dnn_record *r, char out[33]) {
    char numbers[160];
    snprintf(numbers, sizeof numbers, "%lld %zu %d %d %.17g %d", (long long)r->engine, r->workspace, r->tensor_cores,
             r->deterministic, r->seconds, r->candidates);
    const char *part[] = {r->key, numbers, r->plan};
    uint64_t low = 0, high = 1;
    for (int i = 0; i < 3; i++) {
        low = gd_hash64(part[i], strlen(part[i]) + 1, low);
        high = gd_hash64(part[i], strlen(part[i]) + 1, high);
    }
    gd_hash64_text(low, out);
    gd_hash64_text(high, out + 16);
}

/* ---- writing ---- */

static json_t *object_of(const gd__dnn_record *r) {
    char hash[33];
    hash_of(r, hash);
    return json_pack("{s:s, s:I, s:I, s:b, s:b, s:f, s:i, s:s, s:s}", "key", r->key, "engine", (json_int_t)r->engine,
                     "workspace", (json_int_t)r->workspace, "tensor_cores", r->tensor_cores, "deterministic",
                     r->deterministic, "seconds", r->seconds, "candidates", r->candidates, "plan", r->plan, "hash",
                     hash);
}

/* Takes j over. */
static gd_status dump(json_t *j, char **text) {
    *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(j);
    if (!*text) GD_FAIL(NOMEM, "cudnn: no memory for the text of a plan");
    return GD_OK;
}

gd_status gd__dnn_record_print(const gd__dnn_record *r, char **text) { return dump(object_of(r), text); }

gd_status gd__dnn_records_print(const gd__dnn_records *r, char **text) {
    json_t *list = json_array();
    for (int i = 0; i < r->n; i++)
        if (json_array_append_new(list, object_of(&r->list[i]))) {
            json_decref(list);
            list = NULL;
            break;
        }
    return dump(list, text);
}

/* ---- reading ---- */

static gd_status read_object(json_t *j, gd__dnn_record *out) {
    const char *key, *plan, *hash;
    json_int_t engine, workspace;
    int tensor_cores, deterministic, candidates;
    double seconds;
    char is[33];
    json_error_t e;
    *out = (gd__dnn_record){0};
    if (json_unpack_ex(j, &e, JSON_STRICT, "{s:s, s:I, s:I, s:b, s:b, s:F, s:i, s:s, s:s}", "key", &key, "engine",
                       &engine, "workspace", &workspace, "tensor_cores", &tensor_cores, "deterministic", &deterministic,
                       "seconds", &seconds, "candidates", &candidates, "plan", &plan, "hash", &hash))
        GD_FAIL(DATA, "cudnn: a plan's record: %s", e.text);
    if (!*key || !*plan || engine < 0 || engine > ENGINE_MAX || workspace < 0 || !(seconds >= 0 && seconds < 1e9) ||
        candidates < 0 || candidates > CANDIDATES_MAX)
        GD_FAIL(DATA, "cudnn: a plan's record has a number that cannot be");
    *out = (gd__dnn_record){.key = strdup(key),
                            .plan = strdup(plan),
                            .engine = engine,
                            .workspace = (size_t)workspace,
                            .tensor_cores = tensor_cores,
                            .deterministic = deterministic,
                            .seconds = seconds,
                            .candidates = candidates};
    if (!out->key || !out->plan) {
        gd__dnn_record_free(out);
        GD_FAIL(NOMEM, "cudnn: no memory for a plan");
    }
    hash_of(out, is);
    if (!strcmp(is, hash)) return GD_OK;
    gd__dnn_record_free(out);
    GD_FAIL(DATA, "cudnn: a plan's record does not have its hash: it is damaged");
}

static gd_status load(const void *text, size_t bytes, json_t **out) {
    json_error_t e;
    *out = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &e);
    if (!*out) GD_FAIL(DATA, "cudnn: a plan's record is no JSON: line %d: %s", e.line, e.text);
    return GD_OK;
}

gd_status gd__dnn_record_parse(const void *text, size_t bytes, gd__dnn_record *out) {
    json_t *j;
    *out = (gd__dnn_record){0};
    GD_TRY(load(text, bytes, &j));
    gd_status st = read_object(j, out);
    json_decref(j);
    return st;
}

static gd_status read_list(const json_t *j, gd__dnn_records *out) {
    if (!json_is_array(j)) GD_FAIL(DATA, "cudnn: expected a list of plans");
    for (size_t i = 0; i < json_array_size(j); i++) {
        gd__dnn_record one;
        GD_TRY(read_object(json_array_get(j, i), &one));
        if (gd__dnn_records_find(out, one.key)) {
            gd__dnn_record_free(&one);
            GD_FAIL(DATA, "cudnn: plan %zu of the list is there twice", i);
        }
        GD_TRY(gd__dnn_records_put(out, &one));
    }
    return GD_OK;
}

gd_status gd__dnn_records_parse(const void *text, size_t bytes, gd__dnn_records *out) {
    json_t *j;
    *out = (gd__dnn_records){0};
    GD_TRY(load(text, bytes, &j));
    gd_status st = read_list(j, out);
    json_decref(j);
    if (st != GD_OK) gd__dnn_records_free(out);
    return st;
}

/* ---- lists ---- */

void gd__dnn_records_free(gd__dnn_records *r) {
    for (int i = 0; i < r->n; i++) gd__dnn_record_free(&r->list[i]);
    free(r->list);
    *r = (gd__dnn_records){0};
}

gd__dnn_record *gd__dnn_records_find(const gd__dnn_records *r, const char *key) {
    for (int i = 0; i < r->n; i++)
        if (!strcmp(r->list[i].key, key)) return &r->list[i];
    return NULL;
}

gd_status gd__dnn_records_put(gd__dnn_records *r, gd__dnn_record *one) {
    gd__dnn_record *old = gd__dnn_records_find(r, one->key);
    if (!old && r->n == r->room) {
        int room = r->room ? 2 * r->room : 32;
        gd__dnn_record *list = realloc(r->list, (size_t)room * sizeof *list);
        if (!list) {
            gd__dnn_record_free(one);
            GD_FAIL(NOMEM, "cudnn: no memory for %d plans", room);
        }
        r->list = list;
        r->room = room;
    }
    if (old) gd__dnn_record_free(old);
    else old = &r->list[r->n++];
    *old = *one;
    *one = (gd__dnn_record){0};
    return GD_OK;
}
