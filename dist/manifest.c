/* dist/manifest.c */
#include "dist/manifest.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "dist/json_internal.h"
#include "dist/safetensors.h"

static const char format_name[] = "gandist-checkpoint";
static const char seal_head[] = ",\n \"checksum\": \"", seal_tail[] = "\"\n}\n";
enum { SEAL_BYTES = sizeof seal_head - 1 + 32 + sizeof seal_tail - 1 };

/* ---- the seal ---- */

gd_status gd__manifest_seal(const char *body, size_t bytes, char **text, size_t *sealed) {
    while (bytes > 0 && (body[bytes - 1] == '\n' || body[bytes - 1] == ' ')) bytes--;
    if (bytes == 0 || body[bytes - 1] != '}') GD_FAIL(DATA, "a manifest text without a closing brace");
    bytes--;
    while (bytes > 0 && (body[bytes - 1] == '\n' || body[bytes - 1] == ' ')) bytes--;
    char *out = malloc(bytes + SEAL_BYTES + 1), hex[33];
    if (!out) GD_FAIL(NOMEM, "no memory for a manifest of %zu bytes", bytes);
    gd_hash128_text(gd_hash_128(body, bytes), hex);
    memcpy(out, body, bytes);
    snprintf(out + bytes, SEAL_BYTES + 1, "%s%s%s", seal_head, hex, seal_tail);
    *text = out;
    *sealed = bytes + SEAL_BYTES;
    return GD_OK;
}

static gd_status check_seal(const char *where, const char *text, size_t bytes) {
    gd_hash128 written, found;
    char hex[33] = "";
    if (bytes < SEAL_BYTES)
        GD_FAIL(DATA, "%s: has %zu bytes; expected a manifest that ends with its checksum", where, bytes);
    const char *seal = text + bytes - SEAL_BYTES, *digits = seal + sizeof seal_head - 1;
    memcpy(hex, digits, 32);
    if (memcmp(seal, seal_head, sizeof seal_head - 1) != 0 ||
        memcmp(digits + 32, seal_tail, sizeof seal_tail - 1) != 0 || !gd_hash128_parse(hex, &written))
        GD_FAIL(DATA, "%s: does not end with its checksum: it is cut off or damaged", where);
    found = gd_hash_128(text, bytes - SEAL_BYTES);
    if (found.hi != written.hi || found.lo != written.lo)
        GD_FAIL(DATA, "%s: its checksum does not fit its %zu bytes: it is damaged", where, bytes);
    return GD_OK;
}

/* ---- writing ---- */

static json_t *decimal(uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

static json_t *signed_decimal(int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return json_string(text);
}

static json_t *hex64(uint64_t value) {
    char text[17];
    gd_hash64_text(value, text);
    return json_string(text);
}

static json_t *text_or_null(const char *text) { return text ? json_string(text) : json_null(); }

static json_t *bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return decimal(bits);
}

/* Only where something adapts; the sum as the bits of a double. */
static int add_adaptive(json_t *root, const gd_adaptive_state *a) {
    if (a->d_steps == 0) return 0;
    json_t *o = json_object();
    int bad = json_object_set_new(o, "d_steps", signed_decimal(a->d_steps));
    bad |= json_object_set_new(o, "next", signed_decimal(a->next));
    bad |= json_object_set_new(o, "count", signed_decimal(a->count));
    bad |= json_object_set_new(o, "sum", bits_of(a->sum));
    return bad | json_object_set_new(root, "adaptive", o);
}

static int add_counts(json_t *o, const char *name, const int64_t *x, int n) {
    json_t *list = json_array();
    int bad = 0;
    for (int i = 0; i < n; i++) bad |= json_array_append_new(list, signed_decimal(x[i]));
    return bad | json_object_set_new(o, name, list);
}

static int add_doubles(json_t *o, const char *name, const double *x, int n) {
    json_t *list = json_array();
    int bad = 0;
    for (int i = 0; i < n; i++) bad |= json_array_append_new(list, bits_of(x[i]));
    return bad | json_object_set_new(o, name, list);
}

enum { SPREADS = GD_WATCH_DIRECTIONS * GD_WATCH_LOOKS };

/* Only where something is watched. */
static int add_watch(json_t *root, const gd_watch_state *w) {
    static const gd_watch_state nothing;
    if (memcmp(w, &nothing, sizeof nothing) == 0) return 0;
    json_t *o = json_object();
    int bad = add_counts(o, "row", w->row, GD_WATCH_COUNT);
    bad |= json_object_set_new(o, "looks", signed_decimal(w->looks));
    bad |= add_doubles(o, "spread", w->spread[0], SPREADS);
    bad |= add_counts(o, "seen", w->seen, GD_USUAL_COUNT);
    bad |= add_doubles(o, "level", w->level, GD_USUAL_COUNT);
    return bad | json_object_set_new(root, "watch", o);
}

static int add_counters(json_t *root, const gd_counters *c) {
    json_t *updates = json_array();
    int bad = 0;
    for (int i = 0; i < GD_GROUP_COUNT; i++) bad |= json_array_append_new(updates, signed_decimal(c->updates[i]));
    bad |= json_object_set_new(root, "step", signed_decimal(c->step));
    bad |= json_object_set_new(root, "updates", updates);
    bad |= json_object_set_new(root, "cursor", decimal(c->cursor));
    bad |= json_object_set_new(root, "draws", decimal(c->draws));
    if (c->rollbacks) bad |= json_object_set_new(root, "rollbacks", signed_decimal(c->rollbacks));
    if (c->skips) bad |= json_object_set_new(root, "skips", signed_decimal(c->skips));
    return bad | add_adaptive(root, &c->adaptive) | add_watch(root, &c->watch);
}

static int add_files(json_t *root, const gd_manifest *m) {
    json_t *files = json_array();
    int bad = 0;
    for (int i = 0; i < m->file_count; i++) {
        char hex[33];
        gd_hash128_text(m->files[i].hash, hex);
        json_t *f = json_pack("{s:s, s:o, s:s}", "name", m->files[i].name, "bytes", decimal(m->files[i].bytes),
                              "xxh3_128", hex);
        if (m->files[i].has_head) bad |= json_object_set_new(f, "head_xxh3_64", hex64(m->files[i].head));
        bad |= json_array_append_new(files, f);
    }
    return bad | json_object_set_new(root, "files", files);
}

static int add_tensors(json_t *root, const gd_manifest *m) {
    json_t *tensors = json_array();
    int bad = 0;
    for (int i = 0; i < m->tensor_count; i++) {
        const gd_manifest_tensor *t = &m->tensors[i];
        json_t *shape = json_array();
        for (int d = 0; d < t->shape.rank; d++) bad |= json_array_append_new(shape, json_integer(t->shape.dim[d]));
        bad |= json_array_append_new(tensors, json_pack("{s:s, s:o, s:i, s:o}", "name", t->name, "shape", shape, "file",
                                                        t->file, "xxh3_64", hex64(t->hash)));
    }
    return bad | json_object_set_new(root, "tensors", tensors);
}

static json_t *manifest_json(const gd_manifest *m) {
    json_t *root = json_object();
    int bad = json_object_set_new(root, "format", json_string(format_name));
    bad |= json_object_set_new(root, "version", json_integer(GD_MANIFEST_VERSION));
    bad |= json_object_set_new(root, "requires", json_array());
    bad |= add_counters(root, &m->counters);
    bad |= json_object_set_new(root, "seed", decimal(m->seed));
    bad |= json_object_set_new(root, "recipe_fingerprint", hex64(m->recipe_fingerprint));
    bad |= json_object_set_new(root, "data_fingerprint", hex64(m->data_fingerprint));
    bad |= json_object_set_new(root, "state_hash", hex64(m->state_hash));
    bad |= json_object_set_new(root, "run_id", text_or_null(m->run_id));
    bad |= json_object_set_new(root, "recipe", text_or_null(m->recipe_text));
    bad |= add_files(root, m);
    bad |= add_tensors(root, m);
    if (!bad) return root;
    json_decref(root);
    return NULL;
}

gd_status gd_manifest_render(const gd_manifest *m, char **text, size_t *bytes) {
    char *body = gd__json_text(manifest_json(m), JSON_INDENT(1));
    if (!body) GD_FAIL(NOMEM, "a manifest of %d tensors: no memory, or a text in it is no UTF-8", m->tensor_count);
    gd_status st = gd__manifest_seal(body, strlen(body), text, bytes);
    free(body);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* ---- reading ---- */

/* The text of a member, or NULL and an error. */
static gd_status text_member(const char *where, const json_t *object, const char *name, const char **out) {
    *out = json_string_value(json_object_get(object, name));
    if (!*out) GD_FAIL(DATA, "%s: '%s' is missing or no text", where, name);
    return GD_OK;
}

static gd_status parse_count(const char *where, const char *name, const char *text, int64_t *out) {
    if (!text || !gd_parse_i64(text, out, NULL) || *out < 0)
        GD_FAIL(DATA, "%s: '%s' is \"%.32s\"; expected a decimal number from 0 to 2^63-1 as text", where, name,
                text ? text : "");
    return GD_OK;
}

static gd_status count_member(const char *where, const json_t *object, const char *name, int64_t *out) {
    return parse_count(where, name, json_string_value(json_object_get(object, name)), out);
}

/* Unsigned words use all 64 bits (a seed may be anything). */
static gd_status parse_word(const char *where, const char *name, const char *text, uint64_t *out) {
    uint64_t value = 0;
    bool good = text && *text != '\0' && (text[0] != '0' || text[1] == '\0');
    for (const char *p = text; good && *p; p++)
        good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(value, (uint64_t)10, &value) &&
               !__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    if (!good)
        GD_FAIL(DATA, "%s: '%s' is \"%.32s\"; expected a decimal number from 0 to 2^64-1 as text", where, name,
                text ? text : "");
    *out = value;
    return GD_OK;
}

static gd_status word_member(const char *where, const json_t *object, const char *name, uint64_t *out) {
    const char *text;
    GD_TRY(text_member(where, object, name, &text));
    return parse_word(where, name, text, out);
}

static gd_status hex_member(const char *where, const json_t *object, const char *name, uint64_t *out) {
    const char *text;
    GD_TRY(text_member(where, object, name, &text));
    if (!gd_hash64_parse(text, out)) GD_FAIL(DATA, "%s: '%s' is \"%.32s\"; expected 16 hex digits", where, name, text);
    return GD_OK;
}

static gd_status copy_optional(const char *where, const json_t *object, const char *name, char **out) {
    const json_t *value = json_object_get(object, name);
    if (json_is_null(value)) return GD_OK;
    if (!json_is_string(value)) GD_FAIL(DATA, "%s: '%s' is missing; expected a text or null", where, name);
    *out = strdup(json_string_value(value));
    if (!*out) GD_FAIL(NOMEM, "%s: no memory for '%s'", where, name);
    return GD_OK;
}

static gd_status check_version(const char *where, const json_t *root) {
    const char *format;
    GD_TRY(text_member(where, root, "format", &format));
    if (strcmp(format, format_name) != 0)
        GD_FAIL(DATA, "%s: format is '%.64s'; expected '%s'", where, format, format_name);
    const json_t *version = json_object_get(root, "version"), *required = json_object_get(root, "requires");
    if (!json_is_integer(version)) GD_FAIL(DATA, "%s: 'version' is missing or no whole number", where);
    if (json_integer_value(version) != GD_MANIFEST_VERSION)
        GD_FAIL(DATA, "%s: version %lld; this gandist reads version %d: use the release that wrote it", where,
                (long long)json_integer_value(version), GD_MANIFEST_VERSION);
    if (!json_is_array(required)) GD_FAIL(DATA, "%s: 'requires' is missing or no array", where);
    if (json_array_size(required) > 0) { /* like incompatible feature flags of a file system */
        const char *first = json_string_value(json_array_get(required, 0));
        GD_FAIL(DATA, "%s: needs the feature '%.64s', which this gandist does not have: use a newer release", where,
                first ? first : "?");
    }
    return GD_OK;
}

static gd_status parse_adaptive(const char *where, const json_t *root, gd_adaptive_state *out) {
    const json_t *o = json_object_get(root, "adaptive");
    uint64_t bits;
    *out = (gd_adaptive_state){0};
    if (!o) return GD_OK;
    GD_TRY(count_member(where, o, "d_steps", &out->d_steps));
    GD_TRY(count_member(where, o, "next", &out->next));
    GD_TRY(count_member(where, o, "count", &out->count));
    GD_TRY(word_member(where, o, "sum", &bits));
    memcpy(&out->sum, &bits, sizeof out->sum);
    return GD_OK;
}

static gd_status parse_counts(const char *where, const json_t *o, const char *name, int n, int64_t *out) {
    const json_t *list = json_object_get(o, name);
    if (json_array_size(list) != (size_t)n)
        GD_FAIL(DATA, "%s: '%s' has %zu entries; expected %d", where, name, json_array_size(list), n);
    for (int i = 0; i < n; i++)
        GD_TRY(parse_count(where, name, json_string_value(json_array_get(list, (size_t)i)), &out[i]));
    return GD_OK;
}

static gd_status parse_doubles(const char *where, const json_t *o, const char *name, int n, double *out) {
    const json_t *list = json_object_get(o, name);
    uint64_t bits;
    if (json_array_size(list) != (size_t)n)
        GD_FAIL(DATA, "%s: '%s' has %zu entries; expected %d", where, name, json_array_size(list), n);
    for (int i = 0; i < n; i++) {
        GD_TRY(parse_word(where, name, json_string_value(json_array_get(list, (size_t)i)), &bits));
        memcpy(&out[i], &bits, sizeof bits);
    }
    return GD_OK;
}

/* Checkpoints of runs that watch nothing have none. */
static gd_status parse_watch(const char *where, const json_t *root, gd_watch_state *out) {
    const json_t *o = json_object_get(root, "watch");
    *out = (gd_watch_state){0};
    if (!o) return GD_OK;
    GD_TRY(parse_counts(where, o, "row", GD_WATCH_COUNT, out->row));
    GD_TRY(count_member(where, o, "looks", &out->looks));
    GD_TRY(parse_doubles(where, o, "spread", SPREADS, out->spread[0]));
    GD_TRY(parse_counts(where, o, "seen", GD_USUAL_COUNT, out->seen));
    return parse_doubles(where, o, "level", GD_USUAL_COUNT, out->level);
}

static gd_status parse_counters(const char *where, const json_t *root, gd_counters *out) {
    const json_t *updates = json_object_get(root, "updates");
    if (json_array_size(updates) != GD_GROUP_COUNT)
        GD_FAIL(DATA, "%s: 'updates' has %zu entries; expected %d", where, json_array_size(updates), GD_GROUP_COUNT);
    for (size_t i = 0; i < GD_GROUP_COUNT; i++)
        GD_TRY(parse_count(where, "updates", json_string_value(json_array_get(updates, i)), &out->updates[i]));
    GD_TRY(count_member(where, root, "step", &out->step));
    GD_TRY(word_member(where, root, "cursor", &out->cursor));
    GD_TRY(word_member(where, root, "draws", &out->draws));
    out->rollbacks = out->skips = 0;
    if (json_object_get(root, "rollbacks")) GD_TRY(count_member(where, root, "rollbacks", &out->rollbacks));
    if (json_object_get(root, "skips")) GD_TRY(count_member(where, root, "skips", &out->skips));
    GD_TRY(parse_adaptive(where, root, &out->adaptive));
    return parse_watch(where, root, &out->watch);
}

/* The name goes into a path: nothing but a plain name is let through. */
static gd_status parse_file(const char *where, const json_t *object, gd_manifest_file *out) {
    const char *name, *hash;
    GD_TRY(text_member(where, object, "name", &name));
    GD_TRY(text_member(where, object, "xxh3_128", &hash));
    size_t n = strlen(name);
    bool plain = n > 0 && n <= GD_SAFETENSORS_NAME_MAX && name[0] != '.';
    for (const char *p = name; *p && plain; p++)
        plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '.' || *p == '_';
    if (!plain)
        GD_FAIL(DATA, "%s: file name '%.64s'; expected lower-case letters, digits, '-', '_' and '.'", where, name);
    if (!gd_hash128_parse(hash, &out->hash)) GD_FAIL(DATA, "%s: file '%s': xxh3_128 is not 32 hex digits", where, name);
    GD_TRY(word_member(where, object, "bytes", &out->bytes));
    out->has_head = json_object_get(object, "head_xxh3_64") != NULL;
    if (out->has_head) GD_TRY(hex_member(where, object, "head_xxh3_64", &out->head));
    out->name = strdup(name);
    if (!out->name) GD_FAIL(NOMEM, "%s: no memory for its files", where);
    return GD_OK;
}

static gd_status parse_files(const char *where, const json_t *root, gd_manifest *out) {
    const json_t *files = json_object_get(root, "files");
    size_t n = json_array_size(files);
    if (n < 1 || n > GD_MANIFEST_FILES_MAX)
        GD_FAIL(DATA, "%s: %zu files; expected 1 to %d", where, n, GD_MANIFEST_FILES_MAX);
    out->files = calloc(n, sizeof *out->files);
    if (!out->files) GD_FAIL(NOMEM, "%s: no memory for its files", where);
    for (size_t i = 0; i < n; i++) {
        GD_TRY(parse_file(where, json_array_get(files, i), &out->files[i]));
        out->file_count++;
        if (i > 0 && strcmp(out->files[i - 1].name, out->files[i].name) >= 0)
            GD_FAIL(DATA, "%s: file '%s' is twice there or out of order", where, out->files[i].name);
    }
    return GD_OK;
}

static gd_status parse_tensor(const char *where, const json_t *object, int file_count, gd_manifest_tensor *out) {
    const char *name;
    GD_TRY(text_member(where, object, "name", &name));
    const json_t *shape = json_object_get(object, "shape"), *file = json_object_get(object, "file");
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > GD_RANK_MAX)
        GD_FAIL(DATA, "%s: tensor '%.64s': shape is no array of up to %d", where, name, GD_RANK_MAX);
    out->shape.rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            GD_FAIL(DATA, "%s: tensor '%.64s': dimension %zu is no whole number >= 0", where, name, i);
        out->shape.dim[i] = json_integer_value(dim);
    }
    if (!json_is_integer(file) || json_integer_value(file) < 0 || json_integer_value(file) >= file_count)
        GD_FAIL(DATA, "%s: tensor '%.64s': file is no index from 0 to %d", where, name, file_count - 1);
    out->file = (int)json_integer_value(file);
    GD_TRY(hex_member(where, object, "xxh3_64", &out->hash));
    out->name = strdup(name);
    if (!out->name) GD_FAIL(NOMEM, "%s: no memory for its tensors", where);
    return GD_OK;
}

static gd_status parse_tensors(const char *where, const json_t *root, gd_manifest *out) {
    const json_t *tensors = json_object_get(root, "tensors");
    size_t n = json_array_size(tensors);
    if (!json_is_array(tensors) || n > GD_SAFETENSORS_TENSORS_MAX)
        GD_FAIL(DATA, "%s: %zu tensors; expected an array of at most %d", where, n, GD_SAFETENSORS_TENSORS_MAX);
    out->tensors = calloc(n ? n : 1, sizeof *out->tensors);
    if (!out->tensors) GD_FAIL(NOMEM, "%s: no memory for its tensors", where);
    for (size_t i = 0; i < n; i++) {
        GD_TRY(parse_tensor(where, json_array_get(tensors, i), out->file_count, &out->tensors[i]));
        out->tensor_count++;
        if (i > 0 && strcmp(out->tensors[i - 1].name, out->tensors[i].name) >= 0)
            GD_FAIL(DATA, "%s: tensor '%.64s' is twice there or out of order", where, out->tensors[i].name);
    }
    return GD_OK;
}

static gd_status parse_all(const char *where, const json_t *root, gd_manifest *out) {
    GD_TRY(check_version(where, root));
    GD_TRY(parse_counters(where, root, &out->counters));
    GD_TRY(word_member(where, root, "seed", &out->seed));
    GD_TRY(hex_member(where, root, "recipe_fingerprint", &out->recipe_fingerprint));
    GD_TRY(hex_member(where, root, "data_fingerprint", &out->data_fingerprint));
    GD_TRY(hex_member(where, root, "state_hash", &out->state_hash));
    GD_TRY(copy_optional(where, root, "run_id", &out->run_id));
    GD_TRY(copy_optional(where, root, "recipe", &out->recipe_text));
    GD_TRY(parse_files(where, root, out));
    return parse_tensors(where, root, out);
}

gd_status gd_manifest_parse(const char *where, const char *text, size_t bytes, gd_manifest *out) {
    *out = (gd_manifest){0};
    GD_TRY(check_seal(where, text, bytes));
    json_error_t error;
    bool no_memory;
    json_t *root = gd__json_load(text, bytes, &error, &no_memory);
    if (!root) {
        if (no_memory) GD_FAIL(NOMEM, "%s: no memory for it", where);
        GD_FAIL(DATA, "%s:%d:%d: %s", where, error.line, error.column, error.text);
    }
    gd_manifest m = {0};
    gd_status st = parse_all(where, root, &m);
    gd__json_unload(root);
    if (st != GD_OK) {
        gd_manifest_free(&m);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = m;
    return GD_OK;
}

void gd_manifest_free(gd_manifest *m) {
    for (int i = 0; i < m->file_count; i++) free(m->files[i].name);
    for (int i = 0; i < m->tensor_count; i++) free(m->tensors[i].name);
    free(m->files);
    free(m->tensors);
    free(m->recipe_text);
    free(m->run_id);
    *m = (gd_manifest){0};
}
