/* data/pack.c -- picture files into one tar. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/folder.h"
#include "data/image.h"
#include "data/output.h"
#include "data/tar.h"
#include "data/tools.h"

static gd_status put_member(gd__output *o, const char *name, char type, const void *bytes, size_t n) {
    uint8_t header[GD__TAR_BLOCK], zeros[GD__TAR_BLOCK] = {0};
    gd__tar_header(name, type, n, header);
    GD_TRY(gd__output_put(o, header, sizeof header));
    GD_TRY(gd__output_put(o, bytes, n));
    GD_TRY(gd__output_put(o, zeros, (GD__TAR_BLOCK - n % GD__TAR_BLOCK) % GD__TAR_BLOCK));
    return GD_OK;
}

/* A name of more than 100 bytes goes before its member, as GNU tar does. */
static gd_status put_file(gd__output *o, const char *name, const void *bytes, size_t n) {
    const size_t length = strlen(name);
    if (length > GD__TAR_NAME_MAX)
        GD_FAIL(DATA, "%s: a name of %zu bytes; the limit is %d", name, length, GD__TAR_NAME_MAX);
    if (length > 100) GD_TRY(put_member(o, "././@LongLink", 'L', name, length + 1));
    GD_TRY(put_member(o, name, '0', bytes, n));
    return GD_OK;
}

/* "cats/my.first.JPG", "a." -> "cats/my_first.a.jpg": the key ends at the first dot. */
static char *member_name(const char *file, const char *part) {
    char *name;
    const char *dot = strrchr(file, '.'), *slash = strrchr(file, '/');
    if (asprintf(&name, "%.*s.%s%s", (int)(dot - file), file, part, dot + 1) < 0) return NULL;
    for (char *c = name + (slash ? slash + 1 - file : 0); c < name + (dot - file); c++)
        if (*c == '.') *c = '_';
    for (char *c = name + strlen(name) - strlen(dot); *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    return name;
}

static gd_status pack_file(gd__output *o, const char *root, const gd__file *f, const char *part) {
    char *path = gd_path_join(root, f->name), *name = member_name(f->name, part);
    void *bytes = NULL;
    size_t n;
    gd_image im = {0};
    gd_status st;
    if (!path || !name) GD_FAIL_TO(done, NOMEM, "%s: no memory for a file name", root);
    GD_TRY_TO(done, gd_file_read(path, (size_t)f->bytes, &bytes, &n));
    GD_TRY_TO(done, gd_image_decode(path, bytes, n, 0, &im)); /* a whole picture, or no archive */
    GD_TRY_TO(done, put_file(o, name, bytes, n));
done:
    gd_image_free(&im);
    free(bytes);
    free(path);
    free(name);
    return st;
}

static int by_member(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Dots become underscores, so two files may come to one key. */
static gd_status check_keys(const char *root, const gd__file_list *l) {
    gd_status st = GD_OK;
    char **keys = calloc(l->count, sizeof *keys);
    if (!keys) GD_FAIL(NOMEM, "%s: no memory for its names", root);
    for (size_t i = 0; i < l->count; i++) {
        keys[i] = member_name(l->files[i].name, "");
        if (!keys[i]) GD_FAIL_TO(done, NOMEM, "%s: no memory for its names", root);
        *strrchr(keys[i], '.') = '\0';
    }
    qsort(keys, l->count, sizeof *keys, by_member);
    for (size_t i = 1; i < l->count; i++)
        if (!strcmp(keys[i - 1], keys[i]))
            GD_FAIL_TO(done, DATA, "%s: two pictures come to the name '%s' (dots become underscores); rename one", root,
                       keys[i]);
done:
    for (size_t i = 0; i < l->count; i++) free(keys[i]);
    free(keys);
    return st;
}

static gd_status pack_single(gd__output *o, const char *folder, int64_t *samples) {
    gd__file_list l;
    gd_status st;
    GD_TRY_TO(done, gd__folder_scan(folder, &l));
    GD_TRY_TO(done, check_keys(folder, &l));
    for (size_t i = 0; i < l.count; i++) GD_TRY_TO(done, pack_file(o, folder, &l.files[i], ""));
    *samples = (int64_t)l.count;
done:
    gd__file_list_free(&l);
    return st;
}

static gd_status pack_pairs(gd__output *o, const char *folder, int64_t *samples) {
    gd__two t = {.root = {gd_path_join(folder, "A"), gd_path_join(folder, "B")}};
    gd_status st;
    if (!t.root[0] || !t.root[1]) GD_FAIL_TO(done, NOMEM, "%s: no memory for a file name", folder);
    GD_TRY_TO(done, gd__two_scan(&t));
    GD_TRY_TO(done, gd__two_match(folder, &t));
    GD_TRY_TO(done, check_keys(t.root[0], &t.list[0]));
    for (size_t i = 0; i < t.list[0].count; i++)
        for (int k = 0; k < 2; k++) GD_TRY_TO(done, pack_file(o, t.root[k], &t.list[k].files[i], k ? "b." : "a."));
    *samples = (int64_t)t.list[0].count;
done:
    gd__two_free(&t);
    return st;
}

gd_status gd_data_pack(const char *folder, const char *file, int64_t *samples) {
    const uint8_t zeros[2 * GD__TAR_BLOCK] = {0};
    const bool pairs = gd__has_folder(folder, "A") && gd__has_folder(folder, "B");
    gd__output o;
    gd_status st;
    GD_TRY(gd__output_open(file, &o));
    GD_TRY_TO(done, pairs ? pack_pairs(&o, folder, samples) : pack_single(&o, folder, samples));
    GD_TRY_TO(done, gd__output_put(&o, zeros, sizeof zeros));
    GD_TRY_TO(done, gd__output_commit(&o));
done:
    gd__output_close(&o);
    return st;
}
