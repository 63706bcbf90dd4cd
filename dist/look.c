/* dist/look.c -- what the heartbeat files of a run say to somebody outside. Reads only. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "dist/heartbeat.h"
#include "dist/watchdog.h"

enum { RANKS_MAX = 1 << 20 }; /* more is no number of a rank */

static const double FROZEN_S = 4; /* a watchdog looks four times a second, and more often */

typedef struct views {
    gd_rank_view *item;
    int n, room;
} views;

static gd_status add(views *v, const gd_rank_view *one) {
    if (v->n == v->room) {
        int room = v->room ? 2 * v->room : 16;
        gd_rank_view *more = realloc(v->item, (size_t)room * sizeof *more);
        if (!more) GD_FAIL(NOMEM, "heartbeat: no memory for %d ranks", room);
        v->item = more;
        v->room = room;
    }
    v->item[v->n++] = *one;
    return GD_OK;
}

static double age_of(const char *path) {
    struct stat st;
    struct timespec now = {0};
    if (gd_io_get()->stat(path, &st)) return INFINITY;
    clock_gettime(CLOCK_REALTIME, &now);
    return fmax(0, (double)(now.tv_sec - st.st_mtim.tv_sec) + 1e-9 * (double)(now.tv_nsec - st.st_mtim.tv_nsec));
}

static gd_status take_rank(views *v, const gd__heartbeat_head *head, const char *line, double age) {
    gd__sight s;
    gd_rank_view one = {0};
    double still, silent;
    if (!gd__heartbeat_rank_parse(line, &one.rank, &s, &still, &silent) || one.rank >= RANKS_MAX) return GD_OK;
    memcpy(one.host, head->host, sizeof one.host);
    one.process = s.process;
    one.step = gd__label_step(s.label);
    one.frozen = s.watched && silent > FROZEN_S;
    one.waits = gd__label_op(s.label) != GD__ALONE;
    one.still_s = still + age;
    one.silent_s = age;
    gd__label_text(s.label, one.where, sizeof one.where);
    return add(v, &one);
}

/* Files that go away meanwhile, or were never a heartbeat, count for nothing. */
static char *read_text(const char *path) {
    void *text = NULL;
    size_t bytes;
    if (gd_file_read(path, GD__HEARTBEAT_LIMIT, &text, &bytes) == GD_OK) return text;
    gd_error_clear();
    return NULL;
}

/* Of this start; start 0: only *start is found, that of the youngest file. */
static gd_status take_file(views *v, const char *path, uint64_t *start, double *youngest) {
    char *text = read_text(path), *rest = NULL, *line = text ? strtok_r(text, "\n", &rest) : NULL;
    gd__heartbeat_head head;
    gd_status st = GD_OK;
    double age = age_of(path);
    bool known = line && isfinite(age) && gd__heartbeat_head_parse(line, &head);
    if (known && youngest && age < *youngest) {
        *youngest = age;
        *start = head.start;
    }
    if (known && !youngest && head.start == *start)
        while (st == GD_OK && (line = strtok_r(NULL, "\n", &rest))) st = take_rank(v, &head, line, age);
    free(text);
    return st;
}

static gd_status take_all(views *v, const char *folder, char **names, size_t n, uint64_t *start, double *youngest) {
    char path[4096];
    gd_status st = GD_OK;
    for (size_t i = 0; i < n && st == GD_OK; i++) {
        if (strncmp(names[i], "ranks-from-", 11) != 0 || strstr(names[i], ".new")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        st = take_file(v, path, start, youngest);
    }
    return st;
}

static int by_rank(const void *a, const void *b) {
    return ((const gd_rank_view *)a)->rank - ((const gd_rank_view *)b)->rank;
}

gd_status gd_watchdog_look(const char *folder, gd_rank_view **out, int *n) {
    char **names = NULL;
    size_t count = 0;
    uint64_t start = 0;
    double youngest = INFINITY;
    views v = {0};
    *out = NULL;
    *n = 0;
    if (gd_io_get()->list(folder, &names, &count)) return GD_OK;
    gd_status st = take_all(&v, folder, names, count, &start, &youngest);
    if (st == GD_OK) st = take_all(&v, folder, names, count, &start, NULL);
    gd_io_free_names(names, count);
    if (st != GD_OK) {
        free(v.item);
        return gd_trace(st, __FILE__, __LINE__);
    }
    if (v.n) qsort(v.item, (size_t)v.n, sizeof *v.item, by_rank);
    *out = v.item;
    *n = v.n;
    return GD_OK;
}
