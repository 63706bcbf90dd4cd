#include "launch/tensorboard.h"

#include <isa-l/crc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "events.pb-c.h"

enum { SCALARS_MAX = 64, PNG_HEADER = 26 };
static const size_t png_limit = (size_t)64 << 20;

struct gd_tensorboard {
    char path[4096];
};

/* CRC-32C as TFRecord stores it. ISA-L neither starts nor ends with the inversion. */
static uint32_t masked_crc(const void *data, size_t bytes) {
    uint32_t crc = ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)bytes, 0xFFFFFFFFu);
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

static void put_le(uint8_t *to, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(v >> 8 * i);
}

static double wall_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One TFRecord: length, its checksum, the event, its checksum; in one append, so that a reader never
 * sees two halves of different records. */
static gd_status write_event(gd_tensorboard *t, const GandistTb__Event *e) {
    size_t n = gandist_tb__event__get_packed_size(e);
    uint8_t *record = malloc(n + 16);
    if (!record) GD_FAIL(NOMEM, "%s: event of %zu bytes", t->path, n);
    put_le(record, n, 8);
    put_le(record + 8, masked_crc(record, 8), 4);
    gandist_tb__event__pack(e, record + 12);
    put_le(record + 12 + n, masked_crc(record + 12, n), 4);
    gd_status st = gd_file_append(t->path, record, n + 16);
    free(record);
    return st;
}

static GandistTb__Event new_event(int64_t step) {
    GandistTb__Event e = GANDIST_TB__EVENT__INIT;
    e.wall_time = wall_time();
    e.step = step;
    return e;
}

static gd_status write_start(gd_tensorboard *t, int64_t step) {
    GandistTb__Event version = new_event(0);
    version.what_case = GANDIST_TB__EVENT__WHAT_FILE_VERSION;
    version.file_version = (char *)(uintptr_t) "brain.Event:2";
    GD_TRY(write_event(t, &version));
    GandistTb__SessionLog log = GANDIST_TB__SESSION_LOG__INIT;
    log.status = 1;
    GandistTb__Event start = new_event(step);
    start.what_case = GANDIST_TB__EVENT__WHAT_SESSION_LOG;
    start.session_log = &log;
    return write_event(t, &start);
}

gd_status gd_tensorboard_open(const char *dir, int64_t step, gd_tensorboard **out) {
    GD_TRY(gd_dir_make(dir));
    gd_tensorboard *t = calloc(1, sizeof *t);
    if (!t) GD_FAIL(NOMEM, "%s: event file", dir);
    char host[64] = "host";
    gethostname(host, sizeof host - 1);
    snprintf(t->path, sizeof t->path, "%s/events.out.tfevents.%010lld.%s.%ld", dir, (long long)time(NULL), host,
             (long)getpid());
    gd_status st = write_start(t, step);
    if (st == GD_OK) *out = t;
    else free(t);
    return st;
}

void gd_tensorboard_close(gd_tensorboard *t) { free(t); }

/* TensorBoard groups tags by what stands before the first slash. */
static void tag_of(const char *name, char *out, size_t room) {
    static const char *const groups[] = {"loss", "grad_norm", "lr"};
    const char *group = name[0] == 'd' && name[1] == '_' ? "score" : "other";
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (!strncmp(name, groups[i], strlen(groups[i]))) group = groups[i];
    snprintf(out, room, "%s/%s", group, name);
}

gd_status gd_tensorboard_metrics(gd_tensorboard *t, const gd_metrics *m) {
    if (m->count >= SCALARS_MAX) GD_FAIL(INTERNAL, "%s: %d metrics; at most %d", t->path, m->count, SCALARS_MAX - 1);
    GandistTb__Value value[SCALARS_MAX], *list[SCALARS_MAX];
    char tag[SCALARS_MAX][64];
    GandistTb__Summary summary = GANDIST_TB__SUMMARY__INIT;
    summary.value = list;
    for (int i = 0; i <= m->count; i++) {
        double v = i < m->count ? m->value[i] : m->images_per_s;
        size_t n = summary.n_value;
        if (!isfinite(v)) continue;
        if (i < m->count) tag_of(m->name[i], tag[n], sizeof tag[n]);
        else snprintf(tag[n], sizeof tag[n], "speed/images_per_s");
        gandist_tb__value__init(&value[n]);
        value[n].tag = tag[n];
        value[n].kind_case = GANDIST_TB__VALUE__KIND_SIMPLE_VALUE;
        value[n].simple_value = (float)v;
        list[n] = &value[n];
        summary.n_value++;
    }
    GandistTb__Event e = new_event(m->step);
    e.what_case = GANDIST_TB__EVENT__WHAT_SUMMARY;
    e.summary = &summary;
    return write_event(t, &e);
}

static int32_t big_endian(const uint8_t *p) {
    return (int32_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}

gd_status gd_tensorboard_image(gd_tensorboard *t, int64_t step, const char *tag, const char *png) {
    void *bytes;
    size_t n;
    GD_TRY(gd_file_read(png, png_limit, &bytes, &n));
    gd_status st = GD_OK;
    if (n < PNG_HEADER) st = gd_raise(GD_DATA, __FILE__, __LINE__, "%s: %zu bytes are no PNG file", png, n);
    if (st == GD_OK) {
        const uint8_t *p = bytes; /* IHDR: width and height at 16 and 20, colour type at 25 */
        GandistTb__Image image = GANDIST_TB__IMAGE__INIT;
        image.width = big_endian(p + 16);
        image.height = big_endian(p + 20);
        image.colorspace = p[25] == 0 ? 1 : 3;
        image.encoded.len = n;
        image.encoded.data = bytes;
        GandistTb__Value value = GANDIST_TB__VALUE__INIT, *list = &value;
        value.tag = (char *)(uintptr_t)tag;
        value.kind_case = GANDIST_TB__VALUE__KIND_IMAGE;
        value.image = &image;
        GandistTb__Summary summary = GANDIST_TB__SUMMARY__INIT;
        summary.n_value = 1;
        summary.value = &list;
        GandistTb__Event e = new_event(step);
        e.what_case = GANDIST_TB__EVENT__WHAT_SUMMARY;
        e.summary = &summary;
        st = write_event(t, &e);
    }
    free(bytes);
    return st;
}
