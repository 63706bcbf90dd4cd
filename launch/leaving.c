#include "launch/leaving.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "launch/progress.h"

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, YEAR = 366 * DAY };

/* ---- how long ---- */

/* Digits up to `end`, at most `most` of them, as a number below `limit`; moves *at behind `end`. */
static bool take_number(const char **at, char end, int most, int64_t limit, int64_t *out) {
    int digits = 0;
    *out = 0;
    for (; **at >= '0' && **at <= '9' && digits <= most; ++*at, digits++) *out = *out * 10 + (**at - '0');
    if (!digits || digits > most || *out >= limit || **at != end) return false;
    if (end) ++*at;
    return true;
}

static bool take_clock(const char *at, int64_t hours_limit, int64_t *seconds) {
    int64_t h, m, s;
    if (!take_number(&at, ':', 4, hours_limit, &h) || !take_number(&at, ':', 2, 60, &m)) return false;
    if (!take_number(&at, '\0', 2, 60, &s)) return false;
    *seconds = h * HOUR + m * MINUTE + s;
    return true;
}

static bool take_duration(const char *text, int64_t *seconds) {
    int64_t n, clock;
    const char *at = text, *dash = strchr(text, '-');
    if (dash) {
        if (!take_number(&at, '-', 3, 367, &n) || !take_clock(at, 24, &clock)) return false;
        *seconds = n * DAY + clock;
        return true;
    }
    if (strchr(text, ':')) return take_clock(text, 8785, seconds);
    if (!take_number(&at, '\0', 6, YEAR / MINUTE + 1, &n)) return false;
    *seconds = n * MINUTE;
    return true;
}

gd_status gd_duration_parse(const char *what, const char *text, int64_t *seconds) {
    if (strnlen(text, 32) == 32 || !take_duration(text, seconds) || *seconds > YEAR)
        GD_FAIL(USAGE, "%s: '%.40s' is no time; give minutes (90), HH:MM:SS (01:30:00) or D-HH:MM:SS, at most a year",
                what, text);
    if (*seconds == 0) GD_FAIL(USAGE, "%s: '%s' leaves no time at all", what, text);
    return GD_OK;
}

/* ---- the limit ---- */

static void limit(gd_leaving *l, double end) {
    if (l->limited && l->end <= end) return;
    l->limited = true;
    l->end = end;
}

static void limit_by_job(gd_leaving *l, const char *job_end) {
    int64_t at;
    time_t now = time(NULL);
    if (!gd_parse_i64(job_end, &at, NULL) || at < 0) {
        GD_LOG(LAUNCH, WARN, "SLURM_JOB_END_TIME is '%.40s', not seconds since 1970: the job's end is not known",
               job_end);
        return;
    }
    if (at == 0 || at - now > YEAR) return; /* no limit */
    if (at <= now) {
        GD_LOG(LAUNCH, WARN, "SLURM_JOB_END_TIME was %lld s ago: it is of another job, and does not count",
               (long long)(now - at));
        return;
    }
    limit(l, gd_seconds() + (double)(at - now));
}

void gd_leaving_begin(gd_leaving *l, double begun, int64_t seconds, const char *job_end, const char *stop_file) {
    *l = (gd_leaving){.begun = begun};
    l->looked = -INFINITY;
    if (stop_file) snprintf(l->stop_file, sizeof l->stop_file, "%s", stop_file);
    if (seconds) limit(l, l->begun + (double)seconds);
    if (job_end && *job_end) limit_by_job(l, job_end);
}

void gd_leaving_saved(gd_leaving *l, double seconds) { l->longest_save = fmax(l->longest_save, seconds); }

/* Before the first save: a tenth of the time, at most a minute. */
double gd_leaving_margin(const gd_leaving *l) {
    double whole = l->end - l->begun;
    double save = l->longest_save > 0 ? l->longest_save : fmin(60, 0.1 * whole);
    return 2 * save + 2 * l->slowest_step + fmin(10, 0.05 * whole);
}

/* ---- asking ---- */

static bool file_is_there(gd_leaving *l, double now) {
    if (!l->stop_file[0] || now - l->looked < 1) return false;
    l->looked = now;
    return gd_path_exists(l->stop_file);
}

int gd_leaving_poll(gd_leaving *l) {
    double now = gd_seconds();
    double step = l->polled > 0 ? now - l->polled : 0;    /* the way to the first one is no step */
    l->slowest_step = fmax(step, 0.99 * l->slowest_step); /* one that was stopped for an hour is no rule */
    l->polled = now;
    if (l->limited && now > l->end - gd_leaving_margin(l)) {
        if (l->reason == GD_LEAVING_NOT)
            GD_LOG(LAUNCH, INFO, "%.0f s of the time limit are left: saving, and leaving", l->end - now);
        l->reason = GD_LEAVING_TIME;
        return 2;
    }
    if (l->reason == GD_LEAVING_STOP_FILE) return 2;
    if (!file_is_there(l, now)) return 0;
    GD_LOG(LAUNCH, INFO, "%s is there: saving, and leaving", l->stop_file);
    l->reason = GD_LEAVING_STOP_FILE;
    return 2;
}

void gd_leaving_obeyed(const gd_leaving *l) {
    if (l->reason != GD_LEAVING_STOP_FILE) return;
    if (gd_io_get()->unlink(l->stop_file) != 0 && errno != ENOENT)
        GD_LOG(LAUNCH, WARN, "%s: cannot be removed (%s); the next start will leave after a step", l->stop_file,
               strerror(errno));
}
