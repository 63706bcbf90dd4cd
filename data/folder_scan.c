/* data/folder_scan.c -- finds the picture files below a folder, in an order that all hosts agree on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "data/folder.h"

enum { ENDINGS = 8, ENDING_ROOM = 12, DEPTH_MAX = 64 };

/* Files that are left out, by ending, for messages. */
typedef struct ending_count {
    char ending[ENDING_ROOM];
    uint64_t count;
} ending_count;

typedef struct scan {
    const char *root;
    gd__file_list *list;
    uint64_t others, hidden;
    ending_count ending[ENDINGS];
    int endings;
} scan;

/* The folders above the one that is read: a link back to one of them would never end. */
typedef struct above {
    const struct above *up;
    dev_t dev;
    ino_t ino;
    int depth;
} above;

void gd__file_list_free(gd__file_list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->files[i].name);
    free(list->files);
    *list = (gd__file_list){0};
}

static bool is_picture(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

static void count_other(scan *s, const char *name) {
    const char *dot = strrchr(name, '.');
    char ending[ENDING_ROOM];
    int i = 0;
    s->others++;
    snprintf(ending, sizeof ending, "%s", dot ? dot : "no ending");
    while (i < s->endings && strcmp(s->ending[i].ending, ending) != 0) i++;
    if (i == ENDINGS) return;
    if (i == s->endings) memcpy(s->ending[s->endings++].ending, ending, sizeof ending);
    s->ending[i].count++;
}

/* ".txt 312, .gif 2" */
static void others_text(const scan *s, char *out, size_t room) {
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < s->endings && used < room; i++) {
        char n[32];
        gd_text_count(s->ending[i].count, n, sizeof n);
        used += (size_t)snprintf(out + used, room - used, "%s%s %s", i ? ", " : "", s->ending[i].ending, n);
    }
}

static gd_status add_file(scan *s, const char *name, uint64_t bytes) {
    gd__file_list *l = s->list;
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 1024;
        gd__file *files = realloc(l->files, room * sizeof *files);
        if (!files) GD_FAIL(NOMEM, "%s: no memory for %zu file names", s->root, room);
        l->files = files;
        l->room = room;
    }
    char *copy = strdup(name);
    if (!copy) GD_FAIL(NOMEM, "%s: no memory for a file name", s->root);
    l->files[l->count++] = (gd__file){.name = copy, .bytes = bytes};
    return GD_OK;
}

static const char *kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFIFO: return "a FIFO (named pipe)";
    case S_IFSOCK: return "a socket";
    case S_IFCHR:
    case S_IFBLK: return "a device";
    default: return "no regular file";
    }
}

static gd_status read_folder(scan *s, const char *path, const char *below, const struct stat *st, const above *up);

/* path: from here; name: below the root. */
static gd_status look_at(scan *s, const char *path, const char *name, const above *up) {
    struct stat st;
    const bool picture = is_picture(name);
    if (gd_io_get()->stat(path, &st) != 0) {
        const int error = errno;
        if (!picture) { /* a dangling link, or gone since: nothing that would be read */
            count_other(s, name);
            return GD_OK;
        }
        GD_FAIL(DATA, "%s: cannot be looked at (%s); expected a picture file; repair or remove it", path,
                error == ENOENT ? "a link to nothing" : strerror(error));
    }
    if (S_ISDIR(st.st_mode)) return read_folder(s, path, name, &st, up);
    if (!picture) {
        count_other(s, name);
        return GD_OK;
    }
    if (!S_ISREG(st.st_mode)) GD_FAIL(DATA, "%s: is %s; expected a picture file; remove it", path, kind_of(st.st_mode));
    return add_file(s, name, (uint64_t)st.st_size);
}

static gd_status check_loop(const char *path, const above *here) {
    for (const above *a = here->up; a; a = a->up)
        if (a->dev == here->dev && a->ino == here->ino)
            GD_FAIL(DATA, "%s: is a link to a folder that it lies in (a loop); remove the link", path);
    if (here->depth > DEPTH_MAX)
        GD_FAIL(DATA, "%s: more than %d folders deep; expected a flatter tree; move the pictures up", path, DEPTH_MAX);
    return GD_OK;
}

static gd_status read_folder(scan *s, const char *path, const char *below, const struct stat *st, const above *up) {
    const above here = {up, st->st_dev, st->st_ino, up ? up->depth + 1 : 0};
    char **names = NULL;
    size_t count = 0;
    gd_status status = GD_OK;
    GD_TRY(check_loop(path, &here));
    GD_TRY(gd__folder_names(path, &names, &count));
    for (size_t i = 0; i < count && status == GD_OK; i++) {
        if (names[i][0] == '.') {
            s->hidden++;
            continue;
        }
        char *child = gd_path_join(path, names[i]), *name = gd_path_join(below, names[i]);
        if (child && name) status = look_at(s, child, name, &here);
        else status = gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: no memory for a file name", path);
        free(child);
        free(name);
    }
    gd_io_free_names(names, count);
    return status == GD_OK ? GD_OK : gd_trace(status, __FILE__, __LINE__);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const gd__file *)a)->name, ((const gd__file *)b)->name);
}

static void tell_what_is_left_out(const scan *s) {
    char others[256], n[32], h[32];
    others_text(s, others, sizeof others);
    gd_text_count(s->others, n, sizeof n);
    gd_text_count(s->hidden, h, sizeof h);
    if (s->others) GD_LOG(DATA, INFO, "%s: files left out: %s (%s); supported: .png .jpg .jpeg", s->root, n, others);
    if (s->hidden) GD_LOG(DATA, INFO, "%s: names left out that begin with a dot: %s", s->root, h);
}

static gd_status no_picture(const scan *s) {
    char others[256], n[32];
    others_text(s, others, sizeof others);
    gd_text_count(s->others, n, sizeof n);
    if (!s->others)
        GD_FAIL(DATA, "%s: 0 images; the folder is empty; supported: .png .jpg .jpeg; check data.path", s->root);
    GD_FAIL(DATA, "%s: 0 images; %s files seen, endings: %s; supported: .png .jpg .jpeg; check data.path", s->root, n,
            others);
}

gd_status gd__folder_scan(const char *root, gd__file_list *out) {
    struct stat st;
    scan s = {.root = root, .list = out};
    *out = (gd__file_list){0};
    if (gd_io_get()->stat(root, &st) != 0)
        GD_FAIL(NOINPUT, "%s: %s; expected a folder of pictures; check data.path", root,
                errno == ENOENT ? "does not exist" : strerror(errno));
    if (!S_ISDIR(st.st_mode))
        GD_FAIL(DATA,
                "%s: is no folder; expected a folder of .png, .jpg or .jpeg files; check data.path and "
                "data.source",
                root);
    GD_TRY(read_folder(&s, root, "", &st, NULL));
    if (!out->count) return no_picture(&s);
    tell_what_is_left_out(&s);
    qsort(out->files, out->count, sizeof *out->files, by_name);
    return GD_OK;
}
