/* base/log.c -- levels are read without a lock on every call; lines are written under one. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static const char *const room_names[GD_ROOM_COUNT] = {
#define GD_ROOM_NAME(name, text) text,
    GD_ROOM_LIST(GD_ROOM_NAME)
#undef GD_ROOM_NAME
};
static const char *const level_names[GD_LEVEL_COUNT] = {
#define GD_LEVEL_NAME(name, text) text,
    GD_LEVEL_LIST(GD_LEVEL_NAME)
#undef GD_LEVEL_NAME
};
#define GD_ROOM_DEFAULT(name, text) GD_LEVEL_INFO,
static atomic_int levels[GD_ROOM_COUNT] = {GD_ROOM_LIST(GD_ROOM_DEFAULT)};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* everything below */
static int own_rank = -1;
static bool to_stderr = true;
static void (*second_sink)(void *ctx, gd_level level, const char *line);
static void *second_ctx;

enum { LINE_ROOM = 8192, WORD_ROOM = 32 };

/* ---- configuration ---- */

static int find(const char *const *names, int count, const char *word) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], word) == 0) return i;
    return -1;
}

static void join_names(const char *const *names, int count, char *out, size_t room) {
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < count && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s", i ? ", " : "", names[i]);
}

static gd_status unknown(const char *what, const char *word, const char *const *names, int count) {
    char all[256];
    join_names(names, count, all, sizeof all);
    const char *near = gd_nearest(word, names, (size_t)count);
    if (near)
        GD_FAIL(USAGE, "GANDIST_LOG: unknown %s '%s'; did you mean '%s'? expected one of %s", what, word, near, all);
    GD_FAIL(USAGE, "GANDIST_LOG: unknown %s '%s'; expected one of %s", what, word, all);
}

/* One item: "level" (all rooms) or "room=level". */
static gd_status configure_item(const char *item, size_t n, int into[GD_ROOM_COUNT]) {
    char word[2 * WORD_ROOM];
    if (n == 0 || n >= sizeof word)
        GD_FAIL(USAGE, "GANDIST_LOG: '%.*s' is no level; expected e.g. info,dist=trace", (int)(n > 64 ? 64 : n), item);
    memcpy(word, item, n);
    word[n] = '\0';
    char *equals = strchr(word, '=');
    const char *level_word = equals ? equals + 1 : word;
    int room = -1;
    if (equals) {
        *equals = '\0';
        room = find(room_names, GD_ROOM_COUNT, word);
        if (room < 0) return unknown("room", word, room_names, GD_ROOM_COUNT);
    }
    int level = find(level_names, GD_LEVEL_COUNT, level_word);
    if (level < 0) return unknown("level", level_word, level_names, GD_LEVEL_COUNT);
    for (int i = 0; i < GD_ROOM_COUNT; i++)
        if (room < 0 || room == i) into[i] = level;
    return GD_OK;
}

gd_status gd_log_configure(const char *spec) {
    int wanted[GD_ROOM_COUNT]; /* set only when all of it is right */
    for (int i = 0; i < GD_ROOM_COUNT; i++) wanted[i] = GD_LEVEL_INFO;
    for (const char *p = spec; p && *p;) {
        size_t n = strcspn(p, ",");
        GD_TRY(configure_item(p, n, wanted));
        if (p[n] == ',' && p[n + 1] == '\0')
            GD_FAIL(USAGE, "GANDIST_LOG: '%s' ends with a comma; expected e.g. info,dist=trace", spec);
        p += n + (p[n] == ',');
    }
    for (int i = 0; i < GD_ROOM_COUNT; i++) atomic_store_explicit(&levels[i], wanted[i], memory_order_relaxed);
    return GD_OK;
}

void gd_log_set_rank(int rank) {
    pthread_mutex_lock(&lock);
    own_rank = rank;
    pthread_mutex_unlock(&lock);
}

void gd_log_set_stderr(bool on) {
    pthread_mutex_lock(&lock);
    to_stderr = on;
    pthread_mutex_unlock(&lock);
}

void gd_log_set_sink(void (*sink)(void *ctx, gd_level level, const char *line), void *ctx) {
    pthread_mutex_lock(&lock);
    second_sink = sink;
    second_ctx = ctx;
    pthread_mutex_unlock(&lock);
}

/* ---- writing ---- */

bool gd_log_on(gd_room room, gd_level level) {
    return (int)level <= atomic_load_explicit(&levels[room], memory_order_relaxed);
}

/* Seconds since the first call. Under the lock. */
static double seconds(void) {
    static struct timespec start;
    static bool started;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!started) {
        start = now;
        started = true;
    }
    return (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
}

/* A line is one line, and names from files must not reach a terminal as control sequences. */
static void make_printable(char *text) {
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f) *p = *p == '\n' || *p == '\t' ? ' ' : '?';
}

static size_t write_head(char *line, gd_room room, gd_level level, double now) {
    size_t used = 0;
    if (own_rank >= 0) used += (size_t)snprintf(line, LINE_ROOM, "[%d] ", own_rank);
    used += (size_t)snprintf(line + used, LINE_ROOM - used, "%s %s", level_names[level], room_names[room]);
    if (level > GD_LEVEL_INFO) used += (size_t)snprintf(line + used, LINE_ROOM - used, " %.3fs", now);
    return used + (size_t)snprintf(line + used, LINE_ROOM - used, ": ");
}

void gd_log_write(gd_room room, gd_level level, const char *format, ...) {
    if (!gd_log_on(room, level)) return;
    static const char cut[] = " ...";
    char line[LINE_ROOM + 1]; /* one more for the newline of stderr */
    pthread_mutex_lock(&lock);
    size_t used = write_head(line, room, level, seconds());
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + used, LINE_ROOM - used, format, args);
    va_end(args);
    if (n >= (int)(LINE_ROOM - used)) memcpy(line + LINE_ROOM - sizeof cut, cut, sizeof cut);
    size_t end = strlen(line);
    while (end > used && line[end - 1] == '\n') line[--end] = '\0';
    make_printable(line);
    if (second_sink) second_sink(second_ctx, level, line);
    if (to_stderr) {
        line[end] = '\n';
        fwrite(line, 1, end + 1, stderr); /* one call: lines of several ranks do not mix */
    }
    pthread_mutex_unlock(&lock);
}
