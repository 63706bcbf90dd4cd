/* The schema table, and what is made of it: docs/recipe.md, JSON Schema, terminal text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/io.h"
#include "recipes/reading.h"

static bool word_in(const char *const *words, const char *word, size_t n) {
    for (; words && *words; words++)
        if (strlen(*words) == n && !strncmp(*words, word, n)) return true;
    return false;
}

static void rows_are_sound(void **state) {
    (void)state;
    for (int i = 0; i < gd__key_count; i++) {
        const gd__key *k = &gd__keys[i];
        const char *leaf, *dot = strrchr(k->name, '.');
        char section[64];
        snprintf(section, sizeof section, "%.*s", dot ? (int)(dot - k->name) : 0, k->name);
        if (gd__key_find(k->name) != i) fail_msg("%s stands there twice", k->name);
        if (gd__is_section(k->name)) fail_msg("%s is a section too", k->name);
        if (*section && !gd__is_section(section)) fail_msg("%s: no section '%s'", k->name, section);
        assert_true(gd__key_in(k->name, section, &leaf));
        if (!k->help || !*k->help || k->help[strlen(k->help) - 1] == '.')
            fail_msg("%s: help is half a sentence", k->name);
        if ((k->type == GD__CHOICE) != (k->choices != NULL)) fail_msg("%s: choices", k->name);
        if (k->fallback && (k->flags & GD__REQUIRED)) fail_msg("%s: required and with a default", k->name);
        if (k->type == GD__CHOICE && k->fallback && !word_in(k->choices, k->fallback, strlen(k->fallback)))
            fail_msg("%s: the default is no choice", k->name);
        if ((k->type == GD__INT || k->type == GD__FLOAT) && !(k->low < k->high)) fail_msg("%s: range", k->name);
        if ((k->type == GD__INT || k->type == GD__FLOAT || k->type == GD__BOOL || k->type == GD__FLOATS) &&
            !k->fallback && !(k->flags & GD__REQUIRED))
            fail_msg("%s: numbers have a default", k->name);
    }
}

static void conditions_and_hints_name_what_is_there(void **state) {
    (void)state;
    for (int i = 0; i < gd__key_count; i++) {
        const gd__key *k = &gd__keys[i];
        if (k->needs) {
            size_t n = strcspn(k->needs, "=!");
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)n, k->needs);
            int other = gd__key_find(name);
            if (other < 0 || other == i) fail_msg("%s: needs %s", k->name, k->needs);
            int length = 0;
            for (int j = other; j >= 0 && length < 8; length++) j = gd__key_needed(j);
            if (length == 8) fail_msg("%s: needs run in a circle", k->name);
            for (const char *w = k->needs + n + 1; gd__keys[other].choices && *w; w += strcspn(w, " "), w += *w == ' ')
                if (!word_in(gd__keys[other].choices, w, strcspn(w, " "))) fail_msg("%s: needs %s", k->name, w);
        }
        for (const char *h = k->hints; h && *h; h += strcspn(h, " "), h += *h == ' ') {
            const char *choice = strchr(h, '=');
            if (!choice || !word_in(k->choices, choice + 1, strcspn(choice + 1, " ")))
                fail_msg("%s: hint %s", k->name, h);
        }
    }
    for (int i = 0; i < gd__section_count; i++) {
        const char *leaf;
        bool used = false;
        for (int j = 0; j < gd__key_count; j++) used |= gd__key_in(gd__keys[j].name, gd__sections[i].name, &leaf);
        for (int j = 0; j < gd__section_count; j++)
            used |= gd__key_in(gd__sections[j].name, gd__sections[i].name, &leaf);
        if (!used) fail_msg("section %s is empty", gd__sections[i].name);
    }
}

static void the_page_is_up_to_date(void **state) {
    (void)state;
    const char *source = getenv("GANDIST_SOURCE_DIR");
    char path[2048], *made;
    void *page;
    size_t bytes;
    snprintf(path, sizeof path, "%s/docs/recipe.md", source ? source : ".");
    assert_int_equal(gd_schema_markdown(&made), GD_OK);
    if (gd_file_read(path, 1 << 20, &page, &bytes) != GD_OK) fail_msg("%s", gd_error_message());
    if (strcmp(made, page)) fail_msg("docs/recipe.md is old; run: gandist schema --markdown > docs/recipe.md");
    free(page);
    free(made);
}

/* The JSON value a dotted key has in the schema. owner: root */
static json_t *find(json_t *root, const char *name) {
    json_t *at = root;
    char part[64];
    for (const char *s = name; *s; s += strcspn(s, "."), s += *s == '.') {
        snprintf(part, sizeof part, "%.*s", (int)strcspn(s, "."), s);
        at = json_object_get(json_object_get(at, "properties"), part);
    }
    return at;
}

static void json_schema_lists_every_key(void **state) {
    (void)state;
    char *text;
    json_error_t e;
    assert_int_equal(gd_schema_json(&text), GD_OK);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &e);
    if (!root) fail_msg("not JSON: %s", e.text);
    assert_string_equal(json_string_value(json_object_get(root, "$schema")), "http://json-schema.org/draft-07/schema#");
    for (int i = 0; i < gd__key_count; i++) {
        const gd__key *k = &gd__keys[i];
        json_t *v = find(root, k->name);
        if (!v || !json_string_value(json_object_get(v, "description"))) fail_msg("no %s", k->name);
        assert_string_equal(json_string_value(json_object_get(v, "description")), k->help);
        if (k->type == GD__CHOICE) {
            size_t n = 0;
            while (k->choices[n]) n++;
            bool null = !k->fallback && !(k->flags & GD__REQUIRED);
            assert_int_equal(json_array_size(json_object_get(v, "enum")), n + null);
        }
        assert_true((json_object_get(v, "default") == NULL) == ((k->flags & GD__REQUIRED) != 0));
    }
    for (int i = 0; i < gd__section_count; i++) {
        json_t *v = find(root, gd__sections[i].name);
        assert_string_equal(json_string_value(json_object_get(v, "description")), gd__sections[i].help);
        assert_true(json_is_false(json_object_get(v, "additionalProperties")));
    }
    assert_true(json_is_false(json_object_get(root, "additionalProperties")));
    json_decref(root);
    free(text);
}

static void terminal_text_lists_every_key(void **state) {
    (void)state;
    char *text;
    assert_int_equal(gd_schema_text(&text), GD_OK);
    for (int i = 0; i < gd__key_count; i++) {
        const char *at = strstr(text, gd__keys[i].name);
        while (at && at != text && at[-1] != '\n') at = strstr(at + 1, gd__keys[i].name);
        if (!at) fail_msg("no line of %s", gd__keys[i].name);
        if (!strstr(at, gd__keys[i].help)) fail_msg("no help of %s", gd__keys[i].name);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(conditions_and_hints_name_what_is_there),
        cmocka_unit_test(the_page_is_up_to_date),
        cmocka_unit_test(json_schema_lists_every_key),
        cmocka_unit_test(terminal_text_lists_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
