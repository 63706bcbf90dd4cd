#include "recipes/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "recipes/recipe.h"
#include "recipes/yaml.h"

#ifndef GANDIST_RECIPES_DIR
#error "GANDIST_RECIPES_DIR: the folder of the installed recipes"
#endif

static const char *const homes[] = {"recipes", GANDIST_RECIPES_DIR};
enum { HOMES = sizeof homes / sizeof *homes };

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static bool has_ending(const char *path) { return ends_with(path, ".yaml") || ends_with(path, ".yml"); }

static bool is_bare(const char *path) { return *path && !strchr(path, '/') && !has_ending(path); }

static bool is_file(const char *path) { return gd_path_exists(path) && !gd_path_is_dir(path); }

const char *gd__source_find(gd_arena *arena, const char *path) {
    if (!is_bare(path) || is_file(path)) return gd_arena_strdup(arena, path);
    for (int i = 0; i < HOMES; i++) {
        const char *found = gd_arena_printf(arena, "%s/%s.yaml", homes[i], path);
        if (!found || is_file(found)) return found;
    }
    return gd_arena_strdup(arena, path);
}

static int folder_bytes(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path) + 1 : 0;
}

const char *gd__source_beside(gd_arena *arena, const char *from, const char *path) {
    const char *whole =
        *path == '/' ? gd_arena_strdup(arena, path) : gd_arena_printf(arena, "%.*s%s", folder_bytes(from), from, path);
    if (!whole || has_ending(whole) || is_file(whole)) return whole;
    return gd_arena_printf(arena, "%s.yaml", whole);
}

const char *gd__source_stem(gd_arena *arena, const char *path) {
    const char *name = path + folder_bytes(path);
    size_t n = strlen(name);
    if (has_ending(name)) n -= ends_with(name, ".yaml") ? 5 : 4;
    return gd_arena_printf(arena, "%.*s", (int)n, name);
}

/* The recipe among the files of a folder whose name is nearest, as "; did you mean 'x.yaml'?", or
 * "". */
static const char *near_file(gd_arena *arena, const char *folder, const char *name) {
    char **names = NULL;
    size_t count = 0;
    if (gd_io_get()->list(*folder ? folder : ".", &names, &count)) return "";
    const char *near = gd_nearest(name, (const char *const *)names, count), *text = "";
    for (size_t i = 0; !near && i < count; i++) /* the ending may be all that is missing */
        if (has_ending(names[i]) && !strncmp(names[i], name, strlen(name)) && names[i][strlen(name)] == '.')
            near = names[i];
    if (near) text = gd_arena_printf(arena, "; did you mean '%s%s'?", folder, near);
    gd_io_free_names(names, count);
    return text ? text : "";
}

static gd_status missing(gd_arena *arena, const char *path) {
    const char *folder = gd_arena_printf(arena, "%.*s", folder_bytes(path), path);
    if (!folder) GD_FAIL(NOMEM, "recipe %s", path);
    const char *near = near_file(arena, folder, path + folder_bytes(path));
    for (int i = 0; !*near && !*folder && i < HOMES; i++) {
        const char *home = gd_arena_printf(arena, "%s/", homes[i]);
        if (home) near = near_file(arena, home, path);
    }
    if (is_bare(path))
        GD_FAIL(NOINPUT, "%s: no such file, and no recipe of that name in %s or %s%s", path, homes[0], homes[1], near);
    GD_FAIL(NOINPUT, "%s: no such file%s", path, near);
}

static gd_status too_large(const char *name, uint64_t bytes) {
    char size[32];
    gd_text_bytes(bytes, size, sizeof size);
    GD_FAIL(CONFIG, "%s: larger than 1 MiB (%s); expected the text of a recipe", name, size);
}

gd_status gd__source_copy(gd_arena *arena, const char *name, const char *text, size_t bytes, gd__source **out) {
    if (bytes > GD__BYTES_MAX) return too_large(name, bytes);
    if (bytes >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) { /* a byte order mark says nothing in UTF-8 */
        text += 3;
        bytes -= 3;
    }
    gd__source *s = gd_arena_alloc(arena, sizeof *s);
    char *copy = gd_arena_alloc(arena, bytes + 1);
    const char *label = gd_arena_strdup(arena, name);
    if (!s || !copy || !label) GD_FAIL(NOMEM, "recipe %s: its text", name);
    if (bytes) memcpy(copy, text, bytes);
    *s = (gd__source){.name = label, .text = copy, .bytes = bytes};
    *out = s;
    return GD_OK;
}

gd_status gd__source_read(gd_arena *arena, const char *path, gd__source **out) {
    struct stat st;
    bool known = gd_io_get()->stat(path, &st) == 0; /* if not, gd_file_read says why */
    if (!known && errno == ENOENT) return missing(arena, path);
    if (known && S_ISDIR(st.st_mode)) {
        const char *inside = gd_arena_printf(arena, "%s/recipe.yaml", path);
        bool run = inside && is_file(inside);
        GD_FAIL(NOINPUT, "%s: is a directory, a recipe is a file%s%s%s", path, run ? "; its recipe is " : "",
                run ? inside : "", run ? " (the run itself goes on with --out)" : "");
    }
    if (known && S_ISREG(st.st_mode) && st.st_size > GD__BYTES_MAX) return too_large(path, (uint64_t)st.st_size);
    void *text;
    size_t bytes;
    GD_TRY(gd_file_read(path, GD__BYTES_MAX, &text, &bytes));
    gd_status result = gd__source_copy(arena, path, text, bytes, out);
    free(text);
    return result;
}

bool gd_recipe_exists(const char *path) {
    gd_arena *arena = gd_arena_new();
    const char *found = arena ? gd__source_find(arena, path) : NULL;
    bool there = found && is_file(found);
    gd_arena_free(arena);
    return there;
}
