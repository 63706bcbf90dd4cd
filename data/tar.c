/* data/tar.c -- the source "tar": shards of pictures in WebDataset layout, read where they lie.
 *
 * Members that follow each other and have the same name up to the first dot of its last part are one sample:
 *     key.png | key.jpg | key.jpeg      a picture          key.cls       its class, a number in text
 *     key.a.png, key.b.png              a pair of pictures
 * Other endings are left out. Opening reads all headers; later a picture is one read at its place. */
#include "data/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "data/folder.h"
#include "data/image_internal.h"
#include "data/source.h"

enum { OPEN_MAX_SHARDS = 256 /* beyond these a shard is opened for each read */, CLASSES_MAX = 65536 };

typedef struct picture {
    uint64_t at, bytes;
    uint32_t shard;
    uint32_t height, width, channels;
    size_t name; /* into tar_set.names */
} picture;

typedef struct shard {
    char *path;
    int fd; /* -1: closed */
    uint64_t bytes;
} shard;

typedef struct tar_set {
    shard *shards;
    uint32_t shard_count;
    picture *pictures; /* parts per sample */
    int32_t *labels;   /* one per sample; -1: none */
    size_t samples, room, parts;
    char *names; /* of all pictures, each ended by a zero */
    size_t names_used, names_room;
    uint64_t left_out;
} tar_set;

/* ---- growing ---- */

static gd_status add_name(tar_set *s, const char *name, size_t *at) {
    const size_t n = strlen(name) + 1;
    if (s->names_used + n > s->names_room) {
        const size_t room = 2 * (s->names_used + n) + 4096;
        char *grown = realloc(s->names, room);
        if (!grown) GD_FAIL(NOMEM, "no memory for the names of %zu samples", s->samples);
        s->names = grown;
        s->names_room = room;
    }
    memcpy(s->names + s->names_used, name, n);
    *at = s->names_used;
    s->names_used += n;
    return GD_OK;
}

static gd_status make_room(tar_set *s) {
    if (s->samples < s->room) return GD_OK;
    const size_t room = s->room ? 2 * s->room : 1024;
    picture *pictures = realloc(s->pictures, room * s->parts * sizeof *pictures);
    if (pictures) s->pictures = pictures;
    int32_t *labels = realloc(s->labels, room * sizeof *labels);
    if (labels) s->labels = labels;
    if (!pictures || !labels) GD_FAIL(NOMEM, "no memory for an index of %zu samples", room);
    s->room = room;
    return GD_OK;
}

/* ---- one shard ---- */

/* What a sample is made of, while its members come by. */
typedef struct gather {
    tar_set *set;
    gd__tar *tar;
    uint32_t shard;
    size_t first; /* sample of this shard */
    bool any;     /* a sample is begun */
    char key[GD__TAR_NAME_MAX + 1];
    picture part[2];
    bool has[2], single;
    int32_t label;
} gather;

#define SAMPLE_FAIL(g, format, ...) GD_FAIL(DATA, "%s: sample '%.200s': " format, (g)->tar->path, (g)->key, __VA_ARGS__)

static gd_status finish_sample(gather *g) {
    tar_set *s = g->set;
    if (!g->any) return GD_OK;
    g->any = false;
    const size_t parts = g->has[0] && !g->single ? 2 : 1;
    if (!g->has[0] && !g->has[1] && g->label < 0) return GD_OK; /* all of it was left out */
    if (!g->has[0] && !g->has[1])
        SAMPLE_FAIL(g, "%s",
                    "has a label but no picture; expected its members next to each other; make the archive again");
    if (!g->single && (!g->has[0] || !g->has[1]))
        SAMPLE_FAIL(g, "has %s but no %s; expected both of a pair", g->has[0] ? "a" : "b", g->has[0] ? "b" : "a");
    if (!s->parts) s->parts = parts;
    if (s->parts != parts)
        SAMPLE_FAIL(g, "is a %s, those before it are %ss; expected one kind", parts == 2 ? "pair" : "single picture",
                    parts == 2 ? "single picture" : "pair");
    if (s->samples && (s->labels[0] < 0) != (g->label < 0))
        SAMPLE_FAIL(g, "has %s, those before it have %s; expected a .cls for all or none",
                    g->label < 0 ? "no label" : "a label", g->label < 0 ? "one" : "none");
    GD_TRY(make_room(s));
    memcpy(s->pictures + s->samples * parts, g->part, parts * sizeof *g->part);
    s->labels[s->samples++] = g->label;
    return GD_OK;
}

static gd_status begin_sample(gather *g, const char *name, size_t key) {
    if (g->any && strlen(g->key) == key && !memcmp(g->key, name, key)) return GD_OK;
    GD_TRY(finish_sample(g));
    snprintf(g->key, sizeof g->key, "%.*s", (int)key, name);
    g->any = true;
    g->has[0] = g->has[1] = g->single = false;
    g->label = -1;
    return GD_OK;
}

static gd_status add_picture(gather *g, int part, bool single) {
    if (g->has[part] || (part == 0 ? g->has[1] && single : g->single))
        SAMPLE_FAIL(g, "has another picture, %s; expected one, or a and b", strrchr(g->tar->name, '.'));
    picture *p = &g->part[part];
    *p = (picture){.at = g->tar->data, .bytes = g->tar->bytes, .shard = g->shard};
    GD_TRY(add_name(g->set, g->tar->name, &p->name));
    g->has[part] = true;
    g->single = single;
    return GD_OK;
}

static gd_status add_label(gather *g) {
    char text[16] = "";
    int64_t label;
    if (g->label >= 0) SAMPLE_FAIL(g, "%s", "has two labels; expected one .cls");
    const size_t n = g->tar->bytes < sizeof text - 1 ? (size_t)g->tar->bytes : sizeof text - 1;
    GD_TRY(gd_file_pread(g->tar->fd, g->tar->path, text, n, g->tar->data));
    text[strcspn(text, " \r\n")] = '\0';
    if (g->tar->bytes >= sizeof text || !gd_parse_i64(text, &label, NULL) || label < 0 || label >= CLASSES_MAX)
        SAMPLE_FAIL(g, "its .cls is no class; expected a number of 0 to %d in text", CLASSES_MAX - 1);
    g->label = (int32_t)label;
    return GD_OK;
}

static bool is_picture(const char *ending) {
    return !strcasecmp(ending, "png") || !strcasecmp(ending, "jpg") || !strcasecmp(ending, "jpeg");
}

static gd_status add_member(gather *g) {
    const char *name = g->tar->name, *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    const char *dot = strchr(base, '.');
    if (g->tar->folder) return GD_OK;
    if (!dot || dot == base) { /* no ending, or hidden */
        g->set->left_out++;
        return GD_OK;
    }
    const char *ending = dot + 1;
    GD_TRY(begin_sample(g, name, (size_t)(dot - name)));
    if (is_picture(ending)) GD_TRY(add_picture(g, 0, true));
    else if (!strncasecmp(ending, "a.", 2) && is_picture(ending + 2)) GD_TRY(add_picture(g, 0, false));
    else if (!strncasecmp(ending, "b.", 2) && is_picture(ending + 2)) GD_TRY(add_picture(g, 1, false));
    else if (!strcasecmp(ending, "cls")) GD_TRY(add_label(g));
    else g->set->left_out++;
    return GD_OK;
}

typedef struct hashed {
    uint64_t hash;
    const char *name;
} hashed;

static int by_hash(const void *a, const void *b) {
    const uint64_t x = ((const hashed *)a)->hash, y = ((const hashed *)b)->hash;
    return (x > y) - (x < y);
}

static size_t key_length(const char *name) {
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    return (size_t)(base - name) + strcspn(base, ".");
}

/* A key twice within a shard: members of one sample that were torn apart, or written twice. */
static gd_status check_twice(const tar_set *s, size_t first, const char *path) {
    const size_t n = s->samples - first;
    hashed *all = malloc((n ? n : 1) * sizeof *all);
    if (!all) GD_FAIL(NOMEM, "%s: no memory to check the names of %zu samples", path, n);
    for (size_t i = 0; i < n; i++) {
        const char *name = s->names + s->pictures[(first + i) * s->parts].name;
        all[i] = (hashed){gd_hash64(name, key_length(name), 0), name};
    }
    qsort(all, n, sizeof *all, by_hash);
    const char *twice = NULL;
    for (size_t i = 1; i < n && !twice; i++)
        if (all[i].hash == all[i - 1].hash) twice = all[i].name;
    free(all);
    if (twice)
        GD_FAIL(
            DATA,
            "%s: two samples '%.*s'; expected each once, with its members next to each other; make the archive again",
            path, (int)key_length(twice), twice);
    return GD_OK;
}

static gd_status index_shard(tar_set *s, uint32_t number) {
    shard *sh = &s->shards[number];
    gd__tar t;
    GD_TRY(gd__tar_open(sh->path, &t));
    sh->fd = t.fd;
    sh->bytes = t.size;
    gather *g = calloc(1, sizeof *g);
    if (!g) GD_FAIL(NOMEM, "%s: no memory to read it", sh->path);
    *g = (gather){.set = s, .tar = &t, .shard = number, .first = s->samples};
    gd_status st;
    for (bool end = false;;) {
        GD_TRY_TO(done, gd__tar_next(&t, &end));
        if (end) break;
        GD_TRY_TO(done, add_member(g));
    }
    GD_TRY_TO(done, finish_sample(g));
    GD_TRY_TO(done, check_twice(s, g->first, sh->path));
done:
    free(g);
    return st;
}

/* ---- the pictures themselves ---- */

static gd_status shard_fd(const shard *sh, int *fd) {
    uint64_t size;
    *fd = sh->fd;
    if (sh->fd >= 0) return GD_OK;
    GD_TRY(gd_file_open(sh->path, fd, &size));
    if (size == sh->bytes) return GD_OK;
    gd_io_get()->close(*fd);
    GD_FAIL(DATA, "%s: changed since the data set was opened; do not change files while they are in use", sh->path);
}

static void shard_done(const shard *sh, int fd) {
    if (sh->fd < 0) gd_io_get()->close(fd);
}

static char *picture_name(const tar_set *s, const picture *p) {
    char *name;
    if (asprintf(&name, "%s: %s", s->shards[p->shard].path, s->names + p->name) < 0) return NULL;
    return name;
}

static gd_status probe_picture(void *arg, size_t i) {
    const tar_set *s = arg;
    picture *p = &s->pictures[i];
    const shard *sh = &s->shards[p->shard];
    gd__image_info info;
    int fd;
    char *name = picture_name(s, p);
    if (!name) GD_FAIL(NOMEM, "%s: no memory for a name", sh->path);
    gd_status st = shard_fd(sh, &fd);
    if (st == GD_OK) {
        st = gd__span_probe(fd, name, p->at, p->bytes, &info);
        shard_done(sh, fd);
    }
    free(name);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    p->height = (uint32_t)info.height;
    p->width = (uint32_t)info.width;
    p->channels = (uint32_t)info.channels;
    return GD_OK;
}

static gd_status common_shape(const gd_dataset_spec *spec, const tar_set *s, size_t part, gd_sample_shape *out) {
    const picture *first = &s->pictures[part];
    *out = (gd_sample_shape){GD_SAMPLE_U8, (int)first->height, (int)first->width, 1};
    for (size_t i = part; i < s->samples * s->parts; i += s->parts) {
        const picture *p = &s->pictures[i];
        if ((int)p->channels > out->channels) out->channels = (int)p->channels;
        if (p->height == first->height && p->width == first->width) continue;
        if (!spec->size)
            GD_FAIL(DATA,
                    "%s: pictures of different sizes: %.200s has %ux%u, %.200s %ux%u; expected one size; set "
                    "data.image.size to resize them",
                    spec->path, s->names + first->name, first->width, first->height, s->names + p->name, p->width,
                    p->height);
        out->height = out->width = 0;
    }
    return GD_OK;
}

static gd_status check_pairs(const gd_dataset_spec *spec, const tar_set *s) {
    for (size_t i = 0; s->parts == 2 && i < s->samples; i++) {
        const picture *a = &s->pictures[2 * i], *b = a + 1;
        if (a->height != b->height || a->width != b->width)
            GD_FAIL(DATA, "%s: %.200s: %ux%u pixels, but its partner has %ux%u; expected equal sizes", spec->path,
                    s->names + a->name, a->width, a->height, b->width, b->height);
    }
    return GD_OK;
}

/* ---- which shards ---- */

static bool named_tar(const char *name) {
    const size_t n = strlen(name);
    return n > 4 && name[0] != '.' && !strcmp(name + n - 4, ".tar");
}

static gd_status add_shard(tar_set *s, char *path) {
    shard *grown = realloc(s->shards, (s->shard_count + 1) * sizeof *grown);
    if (!path || !grown) {
        free(path);
        if (grown) s->shards = grown;
        GD_FAIL(NOMEM, "no memory for a list of shards");
    }
    s->shards = grown;
    s->shards[s->shard_count++] = (shard){.path = path, .fd = -1};
    return GD_OK;
}

static gd_status list_shards(tar_set *s, const char *folder) {
    char **names = NULL;
    size_t count = 0;
    gd_status st = GD_OK;
    GD_TRY(gd__folder_names(folder, &names, &count));
    for (size_t i = 0; i < count && st == GD_OK; i++)
        if (named_tar(names[i])) st = add_shard(s, gd_path_join(folder, names[i]));
    gd_io_free_names(names, count);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* path/half if it is there: *out malloc'ed or NULL. */
static gd_status half_folder(const char *path, const char *half, char **out) {
    *out = gd_path_join(path, half);
    if (!*out) GD_FAIL(NOMEM, "%s: no memory for a file name", path);
    if (gd_path_is_dir(*out)) return GD_OK;
    free(*out);
    *out = NULL;
    return GD_OK;
}

static gd_status find_shards(tar_set *s, const char *path, bool test) {
    static const char *const halves[2][2] = {{"train", "train"}, {"test", "val"}};
    char *folder = NULL;
    if (!gd_path_exists(path))
        GD_FAIL(NOINPUT, "%s: does not exist; expected a .tar or a folder of them; check data.path", path);
    const bool is_folder = gd_path_is_dir(path);
    for (int i = 0; i < 2 && is_folder && !folder; i++) GD_TRY(half_folder(path, halves[test][i], &folder));
    if (test && !folder)
        GD_FAIL(NOINPUT, "%s: no held-out half; expected a folder with sub-folders train and test or val", path);
    if (!is_folder) {
        GD_TRY(add_shard(s, strdup(path)));
        return GD_OK;
    }
    gd_status st = list_shards(s, folder ? folder : path);
    free(folder);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    if (!s->shard_count) GD_FAIL(DATA, "%s: no file named .tar in it; expected shards; check data.path", path);
    return GD_OK;
}

/* ---- the source ---- */

static void close_many(tar_set *s) {
    for (uint32_t i = OPEN_MAX_SHARDS; i < s->shard_count; i++) {
        if (s->shards[i].fd >= 0) gd_io_get()->close(s->shards[i].fd);
        s->shards[i].fd = -1;
    }
}

/* Names, places and lengths of all pictures, and the lengths of the shards. */
static uint64_t identify(const gd_dataset_spec *spec, const tar_set *s) {
    uint64_t h = s->samples;
    for (uint32_t i = 0; i < s->shard_count; i++) h = gd_hash64(&s->shards[i].bytes, sizeof s->shards[i].bytes, h);
    for (size_t i = 0; i < s->samples * s->parts; i++) {
        const picture *p = &s->pictures[i];
        const uint64_t facts[] = {p->shard, p->at, p->bytes};
        const char *name = s->names + p->name;
        h = gd_hash64(name, strlen(name), gd_hash64(facts, sizeof facts, h));
    }
    return spec->labels ? gd_hash64(s->labels, s->samples * sizeof *s->labels, h) : h;
}

static gd_status index_all(const gd_dataset_spec *spec, tar_set *s) {
    for (uint32_t i = 0; i < s->shard_count; i++) {
        GD_TRY(index_shard(s, i));
        if (i >= OPEN_MAX_SHARDS) close_many(s);
    }
    if (!s->samples)
        GD_FAIL(DATA,
                "%s: no pictures; expected members named key.png, key.jpg or key.jpeg; %" PRIu64
                " others were left out",
                spec->path, s->left_out);
    if (s->left_out)
        GD_LOG(DATA, INFO, "%s: members left out: %" PRIu64 "; supported: .png .jpg .jpeg .cls", spec->path,
               s->left_out);
    return GD_OK;
}

static gd_status tar_open(const gd_dataset_spec *spec, gd_dataset *d) {
    tar_set *s = calloc(1, sizeof *s);
    if (!s) GD_FAIL(NOMEM, "%s: no memory for the data set", spec->path);
    d->state = s;
    GD_TRY(find_shards(s, spec->path, spec->test));
    GD_TRY(index_all(spec, s));
    int64_t count = (int64_t)s->samples;
    GD_TRY(gd__source_limit(spec, spec->path, &count));
    s->samples = (size_t)count;
    GD_TRY(gd__check_all(spec->path, s->samples * s->parts, probe_picture, s));
    GD_TRY(check_pairs(spec, s));
    d->parts = (int)s->parts;
    d->aligned = s->parts == 2;
    for (size_t p = 0; p < s->parts; p++) {
        d->part_count[p] = count;
        GD_TRY(common_shape(spec, s, p, &d->raw[p]));
    }
    for (size_t i = 0; i < s->samples; i++)
        if (s->labels[i] >= d->classes) d->classes = s->labels[i] + 1;
    d->fingerprint = identify(spec, s);
    return GD_OK;
}

static gd_status tar_image(const gd_dataset *d, int part, int64_t index, gd_image *out) {
    const tar_set *s = d->state;
    const picture *p = &s->pictures[(size_t)index * s->parts + (size_t)part];
    const shard *sh = &s->shards[p->shard];
    void *bytes = NULL;
    int fd;
    gd_status st;
    char *name = picture_name(s, p);
    if (!name) GD_FAIL(NOMEM, "%s: no memory for a name", sh->path);
    GD_TRY_TO(named, shard_fd(sh, &fd));
    GD_TRY_TO(done, gd__span_read(fd, name, p->at, p->bytes, &bytes));
    GD_TRY_TO(done, gd_image_decode(name, bytes, (size_t)p->bytes, 0, out));
done:
    shard_done(sh, fd);
named:
    free(bytes);
    free(name);
    return st;
}

static int tar_label(const gd_dataset *d, int part, int64_t index) {
    (void)part;
    return ((const tar_set *)d->state)->labels[index];
}

static void tar_close(gd_dataset *d) {
    tar_set *s = d->state;
    if (!s) return;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        if (s->shards[i].fd >= 0) gd_io_get()->close(s->shards[i].fd);
        free(s->shards[i].path);
    }
    free(s->shards);
    free(s->pictures);
    free(s->labels);
    free(s->names);
}

const gd__source gd__source_tar = {
    .open = tar_open, .image = tar_image, .label = tar_label, .close = tar_close, .test = true};
