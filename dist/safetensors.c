/* dist/safetensors.c */
#include "dist/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "dist/json_internal.h"

static const struct {
    const char *text;
    size_t bytes;
} types[] = {[GD_SAFETENSOR_F32] = {"F32", 4},
             [GD_SAFETENSOR_F16] = {"F16", 2},
             [GD_SAFETENSOR_BF16] = {"BF16", 2},
             [GD_SAFETENSOR_F64] = {"F64", 8},
             [GD_SAFETENSOR_I64] = {"I64", 8}};
_Static_assert(sizeof types / sizeof *types == GD_SAFETENSOR_TYPE_COUNT, "one row a type");

size_t gd_safetensor_type_bytes(gd_safetensor_type t) { return types[t].bytes; }
const char *gd_safetensor_type_text(gd_safetensor_type t) { return types[t].text; }

/* ---- reading ---- */

static uint64_t read_u64(const unsigned char *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

/* The length word against the file and our own limit. */
static gd_status check_length(const char *where, uint64_t n, uint64_t file_bytes) {
    if (n > GD_SAFETENSORS_HEADER_MAX)
        GD_FAIL(
            DATA,
            "%s: header length %llu; expected at most %d: this is no safetensors file, or its first bytes are damaged",
            where, (unsigned long long)n, GD_SAFETENSORS_HEADER_MAX);
    if (n > file_bytes - 8)
        GD_FAIL(
            DATA,
            "%s: header length %llu reaches behind the end of the file (%llu bytes): the file is cut off or damaged",
            where, (unsigned long long)n, (unsigned long long)file_bytes);
    if (n < 2) GD_FAIL(DATA, "%s: header length %llu; expected at least 2", where, (unsigned long long)n);
    return GD_OK;
}

static gd_status parse_shape(const char *where, const char *name, const json_t *json, size_t unit, gd_shape *out,
                             uint64_t *bytes) {
    size_t rank = json_array_size(json);
    if (!json_is_array(json)) GD_FAIL(DATA, "%s: tensor '%s': shape is no array", where, name);
    if (rank > GD_RANK_MAX)
        GD_FAIL(DATA, "%s: tensor '%s': rank %zu; expected at most %d", where, name, rank, GD_RANK_MAX);
    *out = (gd_shape){.rank = (int)rank};
    uint64_t total = unit;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(json, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            GD_FAIL(DATA, "%s: tensor '%s': dimension %zu is no whole number >= 0", where, name, i);
        out->dim[i] = json_integer_value(dim);
        if (__builtin_mul_overflow(total, (uint64_t)out->dim[i], &total) || total > INT64_MAX)
            GD_FAIL(DATA, "%s: tensor '%s': the product of its shape does not fit 63 bits", where, name);
    }
    *bytes = total;
    return GD_OK;
}

static gd_status parse_offsets(const char *where, const char *name, const json_t *json, gd_safetensor *out) {
    const json_t *begin = json_array_get(json, 0), *end = json_array_get(json, 1);
    if (json_array_size(json) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        GD_FAIL(DATA, "%s: tensor '%s': data_offsets are not two whole numbers", where, name);
    if (json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        GD_FAIL(DATA, "%s: tensor '%s': data_offsets [%lld, %lld]; expected 0 <= begin <= end", where, name,
                (long long)json_integer_value(begin), (long long)json_integer_value(end));
    out->begin = (uint64_t)json_integer_value(begin);
    out->end = (uint64_t)json_integer_value(end);
    return GD_OK;
}

/* any: all types, not only F32. */
static gd_status parse_type(const char *where, const char *name, const char *dtype, bool any, gd_safetensor_type *out) {
    for (int i = 0; i < (any ? GD_SAFETENSOR_TYPE_COUNT : 1); i++) {
        if (strcmp(dtype, types[i].text) != 0) continue;
        *out = (gd_safetensor_type)i;
        return GD_OK;
    }
    GD_FAIL(DATA, "%s: tensor '%s': dtype %.32s is not supported; expected F32%s", where, name, dtype,
            any ? ", F16, BF16, F64 or I64" : "");
}

static gd_status parse_tensor(const char *where, const char *name, json_t *json, bool any, gd_safetensor *out) {
    if (*name == '\0' || strlen(name) > GD_SAFETENSORS_NAME_MAX)
        GD_FAIL(DATA, "%s: a tensor name of %zu bytes; expected 1 to %d", where, strlen(name), GD_SAFETENSORS_NAME_MAX);
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p < 0x20 || *p == 0x7f) GD_FAIL(DATA, "%s: a tensor name holds the control character %u", where, *p);
    const char *dtype = json_string_value(json_object_get(json, "dtype"));
    const json_t *shape = json_object_get(json, "shape"), *offsets = json_object_get(json, "data_offsets");
    if (!dtype || !shape || !offsets || json_object_size(json) != 3)
        GD_FAIL(DATA, "%s: tensor '%s': expected exactly dtype, shape and data_offsets", where, name);
    uint64_t bytes = 0;
    GD_TRY(parse_type(where, name, dtype, any, &out->type));
    GD_TRY(parse_shape(where, name, shape, types[out->type].bytes, &out->shape, &bytes));
    GD_TRY(parse_offsets(where, name, offsets, out));
    if (out->end - out->begin != bytes)
        GD_FAIL(DATA, "%s: tensor '%s': data_offsets span %llu bytes, but its shape wants %llu", where, name,
                (unsigned long long)(out->end - out->begin), (unsigned long long)bytes);
    out->name = strdup(name);
    if (!out->name) GD_FAIL(NOMEM, "%s: no memory for its header", where);
    return GD_OK;
}

static gd_status parse_metadata(const char *where, json_t *json, gd_safetensors *out) {
    const char *key;
    json_t *value;
    if (!json_is_object(json)) GD_FAIL(DATA, "%s: __metadata__ is no object", where);
    json_object_foreach(json, key, value) {
        if (!json_is_string(value)) GD_FAIL(DATA, "%s: __metadata__ '%.64s' is no text", where, key);
        if (strcmp(key, "gandist.step") != 0) continue;
        out->step = strdup(json_string_value(value));
        if (!out->step) GD_FAIL(NOMEM, "%s: no memory for its header", where);
    }
    return GD_OK;
}

static int by_place(const void *a, const void *b) {
    const gd_safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* No holes, no overlap, nothing behind the last one. */
static gd_status check_places(const char *where, const gd_safetensors *h, uint64_t data_bytes) {
    uint64_t at = 0;
    for (int i = 0; i < h->count; i++) {
        const gd_safetensor *t = &h->tensor[i];
        if (t->begin != at)
            GD_FAIL(DATA, "%s: tensor '%s' begins at byte %llu; expected %llu: the data have %s", where, t->name,
                    (unsigned long long)t->begin, (unsigned long long)at, t->begin < at ? "an overlap" : "a hole");
        at = t->end;
    }
    if (at > data_bytes)
        GD_FAIL(DATA, "%s: has %llu bytes of data; expected %llu: the file is cut off", where,
                (unsigned long long)data_bytes, (unsigned long long)at);
    if (at < data_bytes)
        GD_FAIL(DATA, "%s: has %llu bytes behind its last tensor; expected none", where,
                (unsigned long long)(data_bytes - at));
    return GD_OK;
}

static gd_status parse_entries(const char *where, json_t *root, bool any, gd_safetensors *out) {
    size_t entries = json_object_size(root);
    if (entries > GD_SAFETENSORS_TENSORS_MAX)
        GD_FAIL(DATA, "%s: %zu tensors; expected at most %d", where, entries, GD_SAFETENSORS_TENSORS_MAX);
    out->tensor = calloc(entries ? entries : 1, sizeof *out->tensor);
    if (!out->tensor) GD_FAIL(NOMEM, "%s: no memory for %zu tensors", where, entries);
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) {
        if (strcmp(name, "__metadata__") == 0) GD_TRY(parse_metadata(where, value, out));
        else {
            GD_TRY(parse_tensor(where, name, value, any, &out->tensor[out->count]));
            out->count++;
        }
    }
    qsort(out->tensor, (size_t)out->count, sizeof *out->tensor, by_place);
    return GD_OK;
}

static gd_status parse(const char *where, const void *head, size_t bytes, uint64_t file_bytes, bool any,
                       gd_safetensors *out) {
    *out = (gd_safetensors){0};
    if (bytes < 8 || file_bytes < 8)
        GD_FAIL(DATA, "%s: has %llu bytes; expected a safetensors file of at least 8", where,
                (unsigned long long)file_bytes);
    uint64_t n = read_u64(head);
    GD_TRY(check_length(where, n, file_bytes));
    if (n > bytes - 8)
        GD_FAIL(INTERNAL, "%s: %zu bytes were handed over; expected the whole header of %llu", where, bytes,
                (unsigned long long)n);
    const char *text = (const char *)head + 8;
    if (text[0] != '{')
        GD_FAIL(DATA, "%s: the header does not begin with '{': this is no safetensors file, or it is damaged", where);
    json_error_t error;
    bool no_memory;
    json_t *root = gd__json_load(text, (size_t)n, &error, &no_memory);
    if (!root) {
        if (no_memory) GD_FAIL(NOMEM, "%s: no memory for its header", where);
        GD_FAIL(DATA, "%s: header, byte %d: %s", where, error.position + 8, error.text);
    }
    gd_safetensors h = {.data_at = 8 + n, .hash = gd_hash64(head, (size_t)n + 8, 0)};
    gd_status st = parse_entries(where, root, any, &h);
    gd__json_unload(root);
    if (st == GD_OK) st = check_places(where, &h, file_bytes - h.data_at);
    if (st != GD_OK) {
        gd_safetensors_free(&h);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = h;
    return GD_OK;
}

gd_status gd_safetensors_parse(const char *where, const void *head, size_t bytes, uint64_t file_bytes,
                               gd_safetensors *out) {
    return parse(where, head, bytes, file_bytes, false, out);
}

static gd_status read_head(int fd, const char *path, uint64_t file_bytes, bool any, gd_safetensors *out) {
    unsigned char length[8] = {0};
    *out = (gd_safetensors){0};
    if (file_bytes < 8) return parse(path, length, 0, file_bytes, any, out);
    GD_TRY(gd_file_pread(fd, path, length, sizeof length, 0));
    uint64_t n = read_u64(length);
    GD_TRY(check_length(path, n, file_bytes));
    unsigned char *head = malloc((size_t)n + 8);
    if (!head) GD_FAIL(NOMEM, "%s: no memory for its header of %llu bytes", path, (unsigned long long)n);
    gd_status st = GD_OK;
    GD_TRY_TO(done, gd_file_pread(fd, path, head, (size_t)n + 8, 0));
    GD_TRY_TO(done, parse(path, head, (size_t)n + 8, file_bytes, any, out));
done:
    free(head);
    return st;
}

gd_status gd_safetensors_read(int fd, const char *path, uint64_t file_bytes, gd_safetensors *out) {
    return read_head(fd, path, file_bytes, false, out);
}

gd_status gd_safetensors_read_any(int fd, const char *path, uint64_t file_bytes, gd_safetensors *out) {
    return read_head(fd, path, file_bytes, true, out);
}

void gd_safetensors_free(gd_safetensors *h) {
    for (int i = 0; i < h->count; i++) free(h->tensor[i].name);
    free(h->tensor);
    free(h->step);
    *h = (gd_safetensors){0};
}

/* ---- writing ---- */

static json_t *tensor_json(const gd_safetensor *t) {
    json_t *shape = json_array();
    for (int i = 0; shape && i < t->shape.rank; i++)
        if (json_array_append_new(shape, json_integer(t->shape.dim[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", types[t->type].text, "shape", shape, "data_offsets",
                     (json_int_t)t->begin, (json_int_t)t->end);
}

static json_t *header_json(const gd_safetensor *tensor, int count, const char *const *metadata) {
    json_t *root = json_object(), *meta = json_object();
    int bad = json_object_set(root, "__metadata__", meta);
    for (const char *const *m = metadata; m && *m; m += 2) bad |= json_object_set_new(meta, m[0], json_string(m[1]));
    for (int i = 0; i < count; i++) bad |= json_object_set_new(root, tensor[i].name, tensor_json(&tensor[i]));
    json_decref(meta);
    if (bad) {
        json_decref(root);
        return NULL;
    }
    return root;
}

gd_status gd_safetensors_head(gd_safetensor *tensor, int count, const char *const *metadata, char **head,
                              size_t *bytes) {
    uint64_t at = 0;
    for (int i = 0; i < count; i++) {
        if (tensor[i].name[0] == '\0' || strcmp(tensor[i].name, "__metadata__") == 0 ||
            strlen(tensor[i].name) > GD_SAFETENSORS_NAME_MAX)
            GD_FAIL(DATA, "tensor name '%.64s' cannot be stored; expected 1 to %d bytes", tensor[i].name,
                    GD_SAFETENSORS_NAME_MAX);
        tensor[i].begin = at;
        at += (uint64_t)gd_shape_count(tensor[i].shape) * types[tensor[i].type].bytes;
        tensor[i].end = at;
    }
    char *text = gd__json_text(header_json(tensor, count, metadata), JSON_COMPACT);
    if (!text) GD_FAIL(NOMEM, "a safetensors header of %d tensors: no memory, or a name that is no UTF-8", count);
    size_t n = strlen(text), whole = (8 + n + GD_SAFETENSORS_ALIGN - 1) / GD_SAFETENSORS_ALIGN * GD_SAFETENSORS_ALIGN;
    char *out = whole - 8 <= GD_SAFETENSORS_HEADER_MAX ? malloc(whole) : NULL;
    if (out) {
        for (int i = 0; i < 8; i++) out[i] = (char)((uint64_t)(whole - 8) >> 8 * i);
        memcpy(out + 8, text, n);
        memset(out + 8 + n, ' ', whole - 8 - n);
    }
    free(text);
    if (!out)
        GD_FAIL(NOMEM, "a safetensors header of %zu bytes; expected at most %d", whole, GD_SAFETENSORS_HEADER_MAX);
    *head = out;
    *bytes = whole;
    return GD_OK;
}
