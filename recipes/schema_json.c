/* The schema as JSON Schema (draft 7, which editors' YAML servers know best). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "recipes/reading.h"

static json_t *strings(const char *const *words, bool with_null) {
    json_t *list = json_array();
    for (; *words; words++) json_array_append_new(list, json_string(*words));
    if (with_null) json_array_append_new(list, json_null());
    return list;
}

static bool nullable(const gd__key *k) { return !k->fallback && !(k->flags & GD__REQUIRED); }

static json_t *type_name(const char *name, bool with_null) {
    return with_null ? json_pack("[ss]", name, "null") : json_string(name);
}

static json_t *number(const gd__key *k) {
    const char *type = k->type == GD__INT ? "integer" : "number";
    const char *low = k->flags & GD__LOW_OPEN ? "exclusiveMinimum" : "minimum";
    const char *high = k->flags & GD__HIGH_OPEN ? "exclusiveMaximum" : "maximum";
    json_t *range = json_pack("{ss sf sf}", "type", type, low, k->low, high, k->high);
    if (!(k->flags & GD__OFF)) return range;
    return json_pack("{s[{sf}o]}", "anyOf", "const", k->off, range);
}

static json_t *value_schema(const gd__key *k) {
    switch (k->type) {
    case GD__TEXT: return json_pack("{so si}", "type", type_name("string", nullable(k)), "minLength", 1);
    case GD__CHOICE: return json_pack("{so}", "enum", strings(k->choices, nullable(k)));
    case GD__BOOL: return json_pack("{ss}", "type", "boolean");
    case GD__FLOATS:
        return json_pack("{ss so si si}", "type", "array", "items", number(k), "minItems", k->count, "maxItems",
                         k->count);
    case GD__LAYERS:
        return json_pack("{so s{s[ss]} si}", "type", type_name("array", true), "items", "type", "object", "string",
                         "minItems", 1);
    case GD__INT:
    case GD__FLOAT: return number(k);
    }
    return NULL;
}

static json_t *default_value(const gd__key *k) {
    const char *s = k->fallback;
    if (!s) return json_null();
    if (k->type == GD__INT) return json_integer(strtoll(s, NULL, 10));
    if (k->type == GD__TEXT || k->type == GD__CHOICE) return json_string(s);
    return json_loads(s, JSON_DECODE_ANY, NULL); /* numbers, true and lists are written as in JSON */
}

static json_t *map_schema(void) {
    return json_pack("{ss sb s{}}", "type", "object", "additionalProperties", 0, "properties");
}

/* The schema of the section a dotted name lies in, made where it is not there yet. *leaf: its last
 * part. */
static json_t *section_of(json_t *root, const char *name, const char **leaf) {
    json_t *map = root;
    for (const char *dot; (dot = strchr(name, '.')); name = dot + 1) {
        char part[64];
        size_t n = (size_t)(dot - name) < sizeof part - 1 ? (size_t)(dot - name) : sizeof part - 1;
        memcpy(part, name, n);
        part[n] = 0;
        json_t *all = json_object_get(map, "properties"), *next = json_object_get(all, part);
        if (!next) {
            next = map_schema();
            json_object_set_new(all, part, next);
        }
        map = next;
    }
    *leaf = name;
    return map;
}

static void add_key(json_t *root, const gd__key *k) {
    const char *leaf;
    json_t *map = section_of(root, k->name, &leaf), *value = value_schema(k);
    json_object_set_new(value, "description", json_string(k->help));
    if (!(k->flags & GD__REQUIRED)) json_object_set_new(value, "default", default_value(k));
    json_object_set_new(json_object_get(map, "properties"), leaf, value);
}

static void add_section(json_t *root, const gd__section *s) {
    const char *leaf;
    json_t *map = section_of(root, s->name, &leaf);
    json_t *section = json_object_get(json_object_get(map, "properties"), leaf);
    json_object_set_new(section, "description", json_string(s->help));
}

/* Both in one step: {required: [data], properties: {data: {required: [source]}}}. All required keys lie in a section of
 * the top. */
static void add_required(json_t *branch, const char *name) {
    const char *dot = strchr(name, '.');
    char section[64];
    size_t n = (size_t)(dot - name) < sizeof section - 1 ? (size_t)(dot - name) : sizeof section - 1;
    memcpy(section, name, n);
    section[n] = 0;
    json_array_append_new(json_object_get(branch, "required"), json_string(section));
    json_object_set_new(json_object_get(branch, "properties"), section, json_pack("{s[s]}", "required", dot + 1));
}

/* What a recipe without `extends` has. Where a key is required with some values of another one only ("topology!classifier"),
 * there are two kinds of such recipes: with the key, or (`without`) with one of the other values. */
static json_t *required(bool without) {
    json_t *branch = json_pack("{s[] s{}}", "required", "properties");
    for (int i = 0; i < gd__key_count; i++) {
        const gd__key *k = &gd__keys[i];
        if (!(k->flags & GD__REQUIRED) || !strchr(k->name, '.')) continue;
        int other = gd__key_needed(i);
        if (!without || other < 0) {
            add_required(branch, k->name);
            continue;
        }
        json_t *words = json_array();
        const char *listed = k->needs + strcspn(k->needs, "=!");
        for (const char *const *w = gd__keys[other].choices; *w; w++)
            if (gd__listed(listed + 1, *w) == (*listed == '!')) json_array_append_new(words, json_string(*w));
        json_array_append_new(json_object_get(branch, "required"), json_string(gd__keys[other].name));
        json_object_set_new(json_object_get(branch, "properties"), gd__keys[other].name,
                            json_pack("{so}", "enum", words));
    }
    return branch;
}

/* Whether every key is there: jansson answers a lack of memory by leaving things out. */
static bool is_complete(json_t *root) {
    for (int i = 0; i < gd__key_count; i++) {
        const char *leaf;
        json_t *map = section_of(root, gd__keys[i].name, &leaf);
        json_t *value = json_object_get(json_object_get(map, "properties"), leaf);
        if (!json_object_get(value, "description") || json_object_size(value) < 2) return false;
    }
    return json_array_size(json_object_get(root, "anyOf")) == 3;
}

gd_status gd_schema_json(char **text) {
    json_t *root = map_schema(), *all = json_object_get(root, "properties");
    json_object_set_new(root, "$schema", json_string("http://json-schema.org/draft-07/schema#"));
    json_object_set_new(root, "title", json_string("gandist recipe"));
    json_object_set_new(all, "gandist",
                        json_pack("{ss si}", "description", "format of the recipe", "const", GD__FORMAT));
    json_object_set_new(
        all, "extends",
        json_pack("{ss ss}", "type", "string", "description", "path of the recipe whose values are taken over"));
    for (int i = 0; i < gd__key_count; i++) add_key(root, &gd__keys[i]);
    for (int i = 0; i < gd__section_count; i++) add_section(root, &gd__sections[i]);
    json_object_set_new(root, "anyOf",
                        json_pack("[{s[s]} o o]", "required", "extends", required(false), required(true)));
    char *dump = is_complete(root) ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(root);
    if (!dump) GD_FAIL(NOMEM, "recipe schema as JSON");
    *text = dump;
    return GD_OK;
}
