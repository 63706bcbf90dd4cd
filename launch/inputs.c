#include "launch/inputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_image_name(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && dot != name && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

/* path: malloc'ed, taken. */
static gd_status add(gd_inputs *in, char *path) {
    if (in->count == in->room) {
        int room = in->room ? 2 * in->room : 64;
        char **p = realloc(in->path, (size_t)room * sizeof *p);
        if (p) in->path = p;
        char **s = p ? realloc(in->stem, (size_t)room * sizeof *s) : NULL;
        if (s) in->stem = s;
        if (!s) {
            free(path);
            GD_FAIL(NOMEM, "a list of %d images", room);
        }
        in->room = room;
    }
    char *stem = path ? strdup(file_name(path)) : NULL;
    if (!stem) {
        free(path);
        GD_FAIL(NOMEM, "a list of %d images", in->count + 1);
    }
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem) *dot = 0;
    in->path[in->count] = path;
    in->stem[in->count++] = stem;
    return GD_OK;
}

static gd_status add_folder(gd_inputs *in, const char *folder) {
    char **names;
    size_t n;
    int before = in->count;
    if (gd_io_get()->list(folder, &names, &n))
        GD_FAIL(IO, "%s: its files cannot be listed (%s)", folder, strerror(errno));
    gd_status st = GD_OK;
    for (size_t i = 0; i < n && st == GD_OK; i++)
        if (is_image_name(names[i])) st = add(in, gd_path_join(folder, names[i]));
    gd_io_free_names(names, n);
    if (st == GD_OK && in->count == before) GD_FAIL(NOINPUT, "%s: this folder has no .png, .jpg or .jpeg file", folder);
    return st;
}

static int by_stem(const void *a, const void *b, void *ctx) {
    char **stem = ctx;
    return strcmp(stem[*(const int *)a], stem[*(const int *)b]);
}

static gd_status check_stems(const gd_inputs *in) {
    int *order = malloc((size_t)in->count * sizeof *order);
    if (!order) GD_FAIL(NOMEM, "a list of %d images", in->count);
    for (int i = 0; i < in->count; i++) order[i] = i;
    qsort_r(order, (size_t)in->count, sizeof *order, by_stem, in->stem);
    gd_status st = GD_OK;
    for (int i = 1; i < in->count && st == GD_OK; i++)
        if (!strcmp(in->stem[order[i - 1]], in->stem[order[i]]))
            st = gd_raise(GD_USAGE, __FILE__, __LINE__,
                          "%s and %s: both results would be called %s.png; translate them into two folders",
                          in->path[order[i - 1]], in->path[order[i]], in->stem[order[i]]);
    free(order);
    return st;
}

gd_status gd_inputs_find(const gd_text_list *words, int first, gd_inputs *out) {
    gd_inputs in = {0};
    gd_status st = GD_OK;
    for (int i = first; i < words->count && st == GD_OK; i++) {
        const char *word = words->item[i];
        if (!gd_path_exists(word)) st = gd_raise(GD_NOINPUT, __FILE__, __LINE__, "%s: no such file or folder", word);
        else st = gd_path_is_dir(word) ? add_folder(&in, word) : add(&in, strdup(word));
    }
    if (st == GD_OK) st = check_stems(&in);
    if (st == GD_OK) *out = in;
    else gd_inputs_free(&in);
    return st;
}

void gd_inputs_free(gd_inputs *in) {
    for (int i = 0; i < in->count; i++) {
        free(in->path[i]);
        free(in->stem[i]);
    }
    free(in->path);
    free(in->stem);
    *in = (gd_inputs){0};
}
