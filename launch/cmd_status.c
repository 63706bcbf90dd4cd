/* gandist status: where a run stands, from its folder alone. Takes no lock, writes nothing, needs no MPI. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/text.h"
#include "dist/checkpoint.h"
#include "dist/events.h"
#include "dist/lock.h"
#include "dist/watchdog.h"
#include "launch/commands.h"
#include "launch/history.h"
#include "launch/progress.h"

typedef struct status_options {
    bool json;
} status_options;

static const gd_option table[] = {
    {"json", GD_OPT_FLAG, offsetof(status_options, json), NULL, "one JSON object"},
};

/* Ages in seconds by this host's clock; -1: there is no such thing. */
typedef struct standing {
    const char *folder;
    gd_lock_view lock;
    gd_history history;
    int64_t step;                     /* of the last metrics, or of a newer checkpoint; -1: none yet   */
    double images_per_s, steps_per_s; /* NaN: not known                                             */
    double metrics_age;
    int64_t saved_step;
    double saved_age;
    bool stop_asked;
    gd_rank_view *rank; /* of a run that trains, by number; owner: the standing           */
    int ranks;
} standing;

static const double STILL_S = 5, SILENT_S = 15; /* hosts write every three seconds */

/* ---- reading ---- */

static double age_of(const char *path) {
    struct stat st;
    struct timespec now = {0};
    if (gd_io_get()->stat(path, &st) != 0) return -1;
    clock_gettime(CLOCK_REALTIME, &now);
    return fmax(0, (double)(now.tv_sec - st.st_mtim.tv_sec) + 1e-9 * (double)(now.tv_nsec - st.st_mtim.tv_nsec));
}

/* Steps and images of two lines give the images of a step, and so steps a second. */
static void take_metrics(standing *s, const char *line, double *step, double *images) {
    json_t *o = json_loads(line, 0, NULL);
    const json_t *rate = json_object_get(o, "images_per_s");
    if (json_is_integer(json_object_get(o, "step"))) {
        double now = json_number_value(json_object_get(o, "step")),
               seen = json_number_value(json_object_get(o, "images"));
        s->step = (int64_t)now;
        s->images_per_s = json_is_number(rate) ? json_number_value(rate) : NAN;
        double steps = now - *step, drawn = seen - *images;
        s->steps_per_s = steps > 0 && drawn > 0 ? s->images_per_s * steps / drawn : NAN;
        *step = now;
        *images = seen;
    }
    json_decref(o);
}

static gd_status read_metrics(standing *s) {
    char path[4096], *text = NULL, *rest = NULL;
    double step = 0, images = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", s->folder);
    GD_TRY(gd_lines_tail(path, 64 << 10, &text));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        take_metrics(s, line, &step, &images);
    free(text);
    s->metrics_age = age_of(path);
    return GD_OK;
}

static gd_status read_checkpoints(standing *s) {
    char dir[4096], **paths = NULL;
    int count = 0;
    long long step = -1;
    snprintf(dir, sizeof dir, "%s/checkpoints", s->folder);
    if (!gd_path_is_dir(dir)) return GD_OK;
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    if (count && sscanf(strrchr(paths[0], '/') + 1, "step-%lld", &step) == 1) {
        s->saved_step = step;
        s->saved_age = age_of(paths[0]);
        if (step > s->step) s->step = step;
    }
    gd_checkpoint_list_free(paths, count);
    return GD_OK;
}

static gd_status read_standing(const char *folder, standing *s) {
    char path[4096];
    *s = (standing){.folder = folder,
                    .step = -1,
                    .saved_step = -1,
                    .saved_age = -1,
                    .metrics_age = -1,
                    .images_per_s = NAN,
                    .steps_per_s = NAN};
    if (strlen(folder) > 2048) GD_FAIL(NOINPUT, "%.64s...: the path is too long", folder);
    snprintf(path, sizeof path, "%s/checkpoints", folder);
    if (!gd_path_is_dir(folder)) GD_FAIL(NOINPUT, "%s: no such run folder", folder);
    if (!gd_path_is_dir(path)) GD_FAIL(NOINPUT, "%s: is no run folder (there is no checkpoints/ in it)", folder);
    GD_TRY(gd_run_lock_look(folder, &s->lock));
    GD_TRY(gd_history_read(folder, &s->history));
    GD_TRY(read_metrics(s));
    GD_TRY(read_checkpoints(s));
    snprintf(path, sizeof path, "%s/stop", folder);
    s->stop_asked = gd_path_exists(path);
    snprintf(path, sizeof path, "%s/heartbeat", folder);
    return s->lock.alive ? gd_watchdog_look(path, &s->rank, &s->ranks) : GD_OK;
}

/* One word for all of it. */
static const char *state_of(const standing *s) {
    if (s->lock.there) return s->lock.alive ? "training" : "dead";
    if (!s->history.begun) return s->step >= 0 ? "stopped" : "not started";
    return !s->history.ended ? "dead" : !strcmp(s->history.reason, "done") ? "done" : "stopped";
}

/* ---- as text ---- */

static void age_text(double s, char *out, size_t room) {
    char word[48];
    gd_duration_text(s, word, sizeof word);
    snprintf(out, room, s < 0 ? "at an unknown time" : "%s ago", word);
}

static void print_state(const standing *s) {
    const gd_history *h = &s->history;
    printf("%s: %s", s->folder, state_of(s));
    if (s->lock.there && !s->lock.alive) printf(" (its lock is left: %s)", s->lock.why);
    else if (!s->lock.there && h->ended) printf(" (%s, exit code %lld)", h->reason, (long long)h->exit_code);
    else if (!s->lock.there && h->begun) fputs(" (the last start ended without a word)", stdout);
    putchar('\n');
    if (!s->lock.there && h->said[0]) printf("  said        %s\n", h->said);
    if (s->stop_asked) puts("  stop        is asked for, by the stop file");
}

static void print_progress(const standing *s) {
    char ago[64];
    age_text(s->metrics_age, ago, sizeof ago);
    if (s->step < 0) {
        puts("  step        none reported yet");
    } else {
        printf("  step        %lld", (long long)s->step);
        if (s->history.until) printf(" of %lld", (long long)s->history.until);
        if (s->metrics_age >= 0) printf(", last line of metrics %s", ago);
        putchar('\n');
    }
    if (isfinite(s->images_per_s)) printf("  rate        %.0f images/s", s->images_per_s);
    if (isfinite(s->steps_per_s)) printf(", %.3g steps/s", s->steps_per_s);
    if (isfinite(s->steps_per_s) && s->lock.alive && s->history.until > s->step) {
        gd_duration_text((double)(s->history.until - s->step) / s->steps_per_s, ago, sizeof ago);
        printf(", left %s", ago);
    }
    if (isfinite(s->images_per_s)) putchar('\n');
    age_text(s->saved_age, ago, sizeof ago);
    if (s->saved_step < 0) puts("  last save   none");
    else printf("  last save   step %lld, %s\n", (long long)s->saved_step, ago);
}

static void print_place(const standing *s) {
    char ago[64], job[80] = "";
    if (s->history.begun)
        printf("  ranks       %lld on %s\n", (long long)s->history.ranks, s->history.hosts[0] ? s->history.hosts : "?");
    if (!s->lock.there) return;
    age_text(s->lock.age_s, ago, sizeof ago);
    if (s->lock.job[0]) snprintf(job, sizeof job, ", job %s", s->lock.job);
    printf("  lock        process %lld on %s%s, renewed %s\n", (long long)s->lock.pid, s->lock.host, job, ago);
}

/* Of those in the set: "node1, node2". */
static void hosts_text(const standing *s, const unsigned char *set, char *out, size_t room) {
    const char *before = "";
    size_t at = 0;
    for (int i = 0; i < s->ranks && at < room; i++) {
        if (!set[s->rank[i].rank] || !strcmp(before, s->rank[i].host)) continue;
        int n = snprintf(out + at, room - at, "%s%s", at ? ", " : "", s->rank[i].host);
        before = s->rank[i].host;
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Ranks at the same place share a line. */
static void print_group(const standing *s, int first, unsigned char *told, unsigned char *set, int numbers,
                        const char *head) {
    const gd_rank_view *v = &s->rank[first];
    char ranks[256], hosts[256] = "";
    double still = 0;
    memset(set, 0, (size_t)numbers);
    for (int i = first; i < s->ranks; i++) {
        const gd_rank_view *w = &s->rank[i];
        if (told[w->rank] || w->still_s < STILL_S || w->frozen != v->frozen || strcmp(w->where, v->where) != 0)
            continue;
        set[w->rank] = told[w->rank] = 1;
        still = fmax(still, w->still_s);
    }
    hosts_text(s, set, hosts, sizeof hosts);
    printf("  %-11s rank %s on %s: %s, for %.0f s", head, gd_ranks_text(set, numbers, ranks, sizeof ranks), hosts,
           v->where, still);
    if (v->frozen) fputs(" (does not run)", stdout);
    if (v->silent_s > SILENT_S) printf(" (its host has written nothing for %.0f s)", v->silent_s);
    putchar('\n');
}

static gd_status print_still(const standing *s) {
    int numbers = s->ranks ? s->rank[s->ranks - 1].rank + 1 : 0, lines = 0;
    unsigned char *told = calloc(2, (size_t)numbers + 1);
    if (!told) GD_FAIL(NOMEM, "%s: no memory for %d ranks", s->folder, numbers);
    for (int i = 0; i < s->ranks; i++)
        if (!told[s->rank[i].rank] && s->rank[i].still_s >= STILL_S)
            print_group(s, i, told, told + numbers, numbers, lines++ ? "" : "still");
    if (s->ranks && !lines) printf("  still       no rank: all have moved in the last %.0f s\n", STILL_S);
    free(told);
    return GD_OK;
}

/* 2026-03-01T12:00:00Z  save  step 1000, seconds 0.31, path step-000000001000 */
static void print_event(const char *line) {
    json_t *o = json_loads(line, 0, NULL), *value;
    const char *key;
    bool any = false;
    const char *when = json_string_value(json_object_get(o, "time")),
               *kind = json_string_value(json_object_get(o, "event"));
    printf("%s  %-9s", when ? when : "?", kind ? kind : "?");
    json_object_foreach(o, key, value) {
        const char *text = json_string_value(value);
        if (!strcmp(key, "time") || !strcmp(key, "event") || (text && !*text)) continue;
        printf("%s%s ", any ? ", " : "", key);
        if (text) fputs(text, stdout);
        else printf("%.10g", json_number_value(value));
        any = true;
    }
    putchar('\n');
    json_decref(o);
}

static gd_status print_plain(const standing *s) {
    print_state(s);
    print_progress(s);
    print_place(s);
    GD_TRY(print_still(s));
    for (int i = 0; i < s->history.n_shown; i++) {
        printf("  %-11s ", i ? "" : "events");
        print_event(s->history.shown[i]);
    }
    return GD_OK;
}

/* ---- as JSON ---- */

static json_t *number_or_null(double v, bool known) { return known && isfinite(v) ? json_real(v) : json_null(); }

static json_t *events_json(const gd_history *h) {
    json_t *all = json_array();
    for (int i = 0; i < h->n_shown; i++)
        if (json_array_append_new(all, json_loads(h->shown[i], 0, NULL))) break;
    return all;
}

static json_t *lock_json(const gd_lock_view *l) {
    if (!l->there) return json_null();
    return json_pack("{s:b s:s s:I s:s s:I s:f s:s}", "alive", l->alive, "host", l->host, "pid", (json_int_t)l->pid,
                     "job", l->job, "since", (json_int_t)l->since, "age_s", l->age_s, "why", l->why);
}

static json_t *ranks_json(const standing *s) {
    json_t *all = json_array();
    for (int i = 0; i < s->ranks; i++) {
        const gd_rank_view *v = &s->rank[i];
        json_t *one = json_pack("{s:i s:s s:I s:I s:s s:b s:b s:f s:f}", "rank", v->rank, "host", v->host, "pid",
                                (json_int_t)v->process, "step", (json_int_t)v->step, "where", v->where, "waits",
                                v->waits, "frozen", v->frozen, "still_s", v->still_s, "silent_s", v->silent_s);
        if (!one || json_array_append_new(all, one)) break; /* a host name that is no UTF-8 */
    }
    return all;
}

static gd_status print_json(const standing *s) {
    const gd_history *h = &s->history;
    json_t *o = json_pack(
        "{s:s s:s s:I s:I s:o s:o s:o s:I s:o s:I s:s s:o s:s s:I s:s s:b s:o s:o}", "run", s->folder, "state",
        state_of(s), "step", (json_int_t)s->step, "until", (json_int_t)h->until, "images_per_s",
        number_or_null(s->images_per_s, true), "steps_per_s", number_or_null(s->steps_per_s, true), "metrics_age_s",
        number_or_null(s->metrics_age, s->metrics_age >= 0), "saved_step", (json_int_t)s->saved_step, "saved_age_s",
        number_or_null(s->saved_age, s->saved_age >= 0), "ranks", (json_int_t)h->ranks, "hosts", h->hosts, "lock",
        lock_json(&s->lock), "reason", h->ended ? h->reason : "", "exit", (json_int_t)(h->ended ? h->exit_code : -1),
        "said", h->said, "stop_asked", s->stop_asked, "rank", ranks_json(s), "events", events_json(h));
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(o);
    if (!text) GD_FAIL(NOMEM, "%s: no memory for its status, or a name that is no UTF-8", s->folder);
    puts(text);
    free(text);
    return GD_OK;
}

static gd_status run(int argc, char **argv) {
    status_options o = {false};
    gd_text_list args;
    bool helped;
    standing s;
    GD_TRY(gd_options_parse(&gd_command_status, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    gd_status st = read_standing(args.item[0], &s);
    if (st == GD_OK && o.json) st = print_json(&s);
    else if (st == GD_OK) st = print_plain(&s);
    gd_history_free(&s.history);
    free(s.rank);
    return st;
}

const gd_command gd_command_status = {
    .name = "status",
    .summary = "says where a run stands: step, rate, last save, who trains, who waits, what happened",
    .usage = "RUN [--json]",
    .example = "gandist status runs/dcgan",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
