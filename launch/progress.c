#include "launch/progress.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "launch/run_folder.h"

double gd_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* mpirun gives rank 0 a terminal of its own making, whatever its own output is: ask what that is. */
static bool on_terminal(void) {
    char path[64];
    if (!isatty(STDOUT_FILENO)) return false;
    if (!gd_comm_launched()) return true;
    snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
    int fd = gd_io_get()->open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC, 0);
    bool terminal = fd >= 0 && isatty(fd);
    if (fd >= 0) gd_io_get()->close(fd);
    return terminal;
}

void gd_progress_begin(gd_progress *p, gd_progress_mode mode, int64_t first, int64_t last) {
    *p = (gd_progress){.mode = mode, .first = first, .last = last, .started = gd_seconds()};
    p->live = mode == GD_PROGRESS_AUTO && on_terminal();
    p->colour = p->live && !getenv("NO_COLOR");
}

void gd_duration_text(double s, char *out, size_t room) {
    long n = s < 1e9 ? (long)(s + 0.5) : 1000000000;
    if (n < 60) snprintf(out, room, "%lds", n);
    else if (n < 3600) snprintf(out, room, "%ldm%02lds", n / 60, n % 60);
    else snprintf(out, room, "%ldh%02ldm", n / 3600, n / 60 % 60);
}

static double value_of(const gd_metrics *m, const char *name) {
    for (int i = 0; i < m->count; i++)
        if (!strcmp(m->name[i], name)) return m->value[i];
    return NAN;
}

static int add(char *line, size_t room, int at, const char *label, double v) {
    if (isnan(v) || at >= (int)room) return at;
    return at + snprintf(line + at, room - (size_t)at, "  %s %.3f", label, v);
}

void gd_progress_show(gd_progress *p, const gd_metrics *m) {
    if (p->mode == GD_PROGRESS_QUIET) return;
    if (p->mode == GD_PROGRESS_JSON) {
        char *line = gd_metrics_json(m);
        if (line) fputs(line, stdout);
        free(line);
        fflush(stdout);
        return;
    }
    char line[512], left[32];
    double rate = (double)(m->step - p->first) / fmax(gd_seconds() - p->started, 1e-9);
    gd_duration_text((double)(p->last - m->step) / fmax(rate, 1e-9), left, sizeof left);
    int n = snprintf(line, sizeof line, "step %lld/%lld  %.0f images/s", (long long)m->step, (long long)p->last,
                     m->images_per_s);
    n = add(line, sizeof line, n, "loss D", value_of(m, "loss_d"));
    n = add(line, sizeof line, n, "G", value_of(m, "loss_g"));
    n = add(line, sizeof line, n, "D(real)", value_of(m, "d_real"));
    n = add(line, sizeof line, n, "D(fake)", value_of(m, "d_fake"));
    n = add(line, sizeof line, n, "L1", value_of(m, "l1"));
    n = add(line, sizeof line, n, "cycle", value_of(m, "cycle_a") + value_of(m, "cycle_b"));
    n = add(line, sizeof line, n, "accuracy", value_of(m, "accuracy"));
    if (m->exposed_comm_s > 0 && m->seconds > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, "  comm %.0f %%", 100 * m->exposed_comm_s / m->seconds);
    snprintf(line + n, sizeof line - (size_t)n, "  left %s", left);
    if (p->live) printf("\r%s%s%s\033[K", p->colour ? "\033[36m" : "", line, p->colour ? "\033[0m" : "");
    else puts(line);
    fflush(stdout);
}

void gd_progress_end(gd_progress *p) {
    if (p->live) putchar('\n');
    p->live = false;
    fflush(stdout);
}
