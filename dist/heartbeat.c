#include "dist/heartbeat.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

enum { PATH_ROOM = 4096, LINE_ROOM = 160 };

char *gd__heartbeat_path(const gd__heartbeat *h, int leader, char *out, size_t room) {
    snprintf(out, room, "%s/ranks-from-%06d", h->folder, leader);
    return out;
}

/* Replaced, so that readers see the old or the new one; not synced: it is of no use after a crash. */
static gd_status replace(const char *path, const char *text, size_t bytes) {
    const gd_io *io = gd_io_get();
    char temporary[PATH_ROOM + 8];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int fd = io->open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) GD_FAIL(CANTCREAT, "%s: cannot be written", temporary);
    gd_status st = gd_file_write_fd(fd, temporary, text, bytes);
    if (io->close(fd) && st == GD_OK) st = gd_raise(GD_IO, __FILE__, __LINE__, "%s: cannot be closed", temporary);
    if (st == GD_OK && io->rename(temporary, path))
        st = gd_raise(GD_IO, __FILE__, __LINE__, "%s: cannot be renamed to %s", temporary, path);
    return st;
}

gd_status gd__heartbeat_write(gd__heartbeat *h, int leader, const char *host, const gd__sight *s, const int *rank,
                              int n, double now) {
    char path[PATH_ROOM];
    size_t room = ((size_t)n + 1) * LINE_ROOM, at;
    char *text = malloc(room);
    if (!text) GD_FAIL(NOMEM, "heartbeat: no memory");
    at = (size_t)snprintf(text, room, "gandist-heartbeat 1 %" PRIx64 " %" PRIu64 " %s\n", h->start, ++h->written, host);
    for (int i = 0; i < n; i++)
        at +=
            (size_t)snprintf(text + at, room - at, "%d %" PRIu64 " %" PRIx64 " %.3f %.3f %d %" PRId64 "\n", rank[i],
                             s[i].arrived, s[i].label, now - s[i].moved, now - s[i].lived, s[i].watched, s[i].process);
    gd_status st = replace(gd__heartbeat_path(h, leader, path, sizeof path), text, at);
    free(text);
    return st;
}

bool gd__heartbeat_head_parse(const char *line, gd__heartbeat_head *h) {
    h->host[0] = '\0';
    return sscanf(line, "gandist-heartbeat 1 %" SCNx64 " %" SCNu64 " %63[^\n]", &h->start, &h->written, h->host) >= 2;
}

bool gd__heartbeat_rank_parse(const char *line, int *rank, gd__sight *s, double *still, double *silent) {
    gd__sight x = {.known = true};
    int watched;
    if (sscanf(line, "%d %" SCNu64 " %" SCNx64 " %lf %lf %d %" SCNd64, rank, &x.arrived, &x.label, still, silent,
               &watched, &x.process) != 7 ||
        *rank < 0 || !(*still >= 0) || !(*silent >= 0))
        return false;
    x.watched = watched;
    *s = x;
    return true;
}

/* How old the file is counts for when the rank moved. It does not for when it lived: a file system that was away for a
 * while makes all files old; only a file that stays as it is while others can be read says something. */
static bool read_rank(const char *line, gd__sight *s, int size, double now, double age) {
    gd__sight x;
    double still, silent;
    int rank;
    if (!gd__heartbeat_rank_parse(line, &rank, &x, &still, &silent) || rank >= size) return false;
    x.moved = now - still - age;
    x.lived = now - silent;
    s[rank] = x;
    return true;
}

bool gd__heartbeat_read(const gd__heartbeat *h, int leader, gd__sight *s, int size, double now, double age,
                        uint64_t *number) {
    char path[PATH_ROOM], *line, *rest = NULL;
    void *text = NULL;
    size_t bytes;
    gd__heartbeat_head head;
    gd__heartbeat_path(h, leader, path, sizeof path);
    if (gd_file_read(path, GD__HEARTBEAT_LIMIT, &text, &bytes) != GD_OK) {
        gd_error_clear();
        return false;
    }
    line = strtok_r(text, "\n", &rest);
    bool ok = line && gd__heartbeat_head_parse(line, &head) && head.start == h->start;
    if (ok) *number = head.written;
    for (line = ok ? strtok_r(NULL, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
        ok = read_rank(line, s, size, now, age) && ok;
    free(text);
    return ok;
}

static double written_at(const gd__heartbeat *h, int leader) {
    char path[PATH_ROOM];
    struct stat st;
    if (gd_io_get()->stat(gd__heartbeat_path(h, leader, path, sizeof path), &st)) return -1;
    return (double)st.st_mtim.tv_sec + 1e-9 * (double)st.st_mtim.tv_nsec;
}

double gd__heartbeat_older(const gd__heartbeat *h, int leader, int than) {
    double it = written_at(h, leader), other = written_at(h, than);
    return it < 0 || other < it ? 0 : other - it;
}

void gd__heartbeat_remove(const gd__heartbeat *h, int leader) {
    char path[PATH_ROOM];
    gd_io_get()->unlink(gd__heartbeat_path(h, leader, path, sizeof path));
}
