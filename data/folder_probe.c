/* data/folder_probe.c -- looks at the header of every picture file, several files at a time.
 *
 * A file costs one open, two short reads and one close. That finds what is no picture, what is too
 * large, and what is cut off: a file that lacks the end of its format is decoded at once, so that a
 * damaged file is named before training and not hours later. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "data/folder.h"
#include "data/image_internal.h"

enum { HEAD = 4096, TAIL = 12, FILE_MAX = 256 << 20, THREADS_MAX = 8, FILES_PER_THREAD = 256 };

typedef struct probe {
    const char *root;
    gd__file *files;
    size_t count;
    atomic_size_t next;
    pthread_mutex_t lock; /* guards what follows */
    size_t bad, first_bad;
    gd_error error; /* of first_bad */
} probe;

gd_status gd__folder_read(const char *root, const gd__file *f, char **path, void **bytes, size_t *n) {
    *path = gd_path_join(root, f->name);
    if (!*path) GD_FAIL(NOMEM, "%s: no memory for a file name", root);
    gd_status st = gd_file_read(*path, FILE_MAX, bytes, n);
    if (st == GD_OK) return GD_OK;
    free(*path);
    *path = NULL;
    return gd_trace(st, __FILE__, __LINE__);
}

static bool ends_well(const uint8_t *end, size_t n, bool jpeg) {
    static const uint8_t iend[12] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
    if (jpeg) return n >= 2 && end[n - 2] == 0xFF && end[n - 1] == 0xD9;
    return n >= sizeof iend && !memcmp(end + n - sizeof iend, iend, sizeof iend);
}

/* Everything about one file that the short way could not tell. */
static gd_status probe_whole(const char *root, const gd__file *f, gd__image_info *info) {
    char *path;
    void *bytes;
    size_t n;
    gd_image im = {0};
    gd_status st;
    GD_TRY(gd__folder_read(root, f, &path, &bytes, &n));
    GD_TRY_TO(done, gd__image_probe(path, bytes, n, info, NULL));
    if (!ends_well(bytes, n, info->jpeg)) GD_TRY_TO(done, gd_image_decode(path, bytes, n, 0, &im));
done:
    gd_image_free(&im);
    free(bytes);
    free(path);
    return st;
}

/* *whole: the answer needs the whole file. */
static gd_status probe_ends(const char *path, gd__image_info *info, bool *whole) {
    uint8_t head[HEAD], tail[TAIL];
    uint64_t size;
    int fd;
    gd_status st;
    *whole = false;
    GD_TRY(gd_file_open(path, &fd, &size));
    const size_t n = size < HEAD ? (size_t)size : HEAD, t = n < TAIL ? n : TAIL;
    GD_TRY_TO(done, gd_file_pread(fd, path, head, n, 0));
    if (size > HEAD) GD_TRY_TO(done, gd_file_pread(fd, path, tail, TAIL, size - TAIL));
    else memcpy(tail, head + n - t, t);
    st = gd__image_probe(path, head, n, info, whole);
    if (st != GD_OK) {
        *whole &= size > HEAD;
        if (!*whole) gd_trace(st, __FILE__, __LINE__);
        goto done;
    }
    *whole = !ends_well(tail, t, info->jpeg);
done:
    gd_io_get()->close(fd);
    return *whole ? GD_OK : st;
}

static gd_status probe_file(const probe *p, gd__file *f) {
    gd__image_info info;
    bool whole;
    char *path = gd_path_join(p->root, f->name);
    if (!path) GD_FAIL(NOMEM, "%s: no memory for a file name", p->root);
    gd_status st = probe_ends(path, &info, &whole);
    free(path);
    if (st == GD_OK && whole) st = probe_whole(p->root, f, &info);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    f->height = info.height;
    f->width = info.width;
    f->channels = info.channels;
    return GD_OK;
}

static void *probe_files(void *arg) {
    probe *p = arg;
    for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->count;) {
        gd_status st = probe_file(p, &p->files[i]);
        if (st == GD_OK) continue;
        pthread_mutex_lock(&p->lock);
        if (!p->bad++ || i < p->first_bad) {
            p->first_bad = i;
            gd_error_save(st, &p->error);
        }
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

/* A file that cannot be opened is a fault of the data set, whatever a single file would mean. */
static gd_status first_error(const probe *p) {
    char n[32];
    gd_status st = gd_error_restore(&p->error);
    if (st == GD_NOINPUT) st = gd_raise(GD_DATA, __FILE__, __LINE__, "%s", p->error.message);
    if (p->bad == 1) return st;
    gd_text_count(p->bad, n, sizeof n);
    return gd_context(st, "%s: %s files are bad; the first", p->root, n);
}

gd_status gd__folder_probe(const char *root, gd__file_list *list) {
    probe p = {.root = root, .files = list->files, .count = list->count};
    pthread_t thread[THREADS_MAX];
    int started = 0;
    size_t helpers = list->count / FILES_PER_THREAD;
    if (helpers > THREADS_MAX) helpers = THREADS_MAX;
    pthread_mutex_init(&p.lock, NULL);
    /* This thread works too, so one that cannot be started costs time only. */
    while (started < (int)helpers && !pthread_create(&thread[started], NULL, probe_files, &p)) started++;
    probe_files(&p);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&p.lock);
    return p.bad ? first_error(&p) : GD_OK;
}
